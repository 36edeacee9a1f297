//! Many requests, one attribute at a time: what a search counts.
//!
//! A search asks the same few questions of thousands of requests ("who of these has that agent?") some hundred times. Held as
//! requests, each answer is a walk through memory; held as columns of hashes, it is one pass over neighbours, and its result a bit
//! a request.

use std::sync::Arc;

use crate::look::{Attribute, Sample, Token};

/// Requests and, for each [`Attribute`], its values in their order.
#[derive(Debug, Default)]
pub struct Columns {
    samples: Vec<Arc<Sample>>,
    tokens: [Vec<Token>; Attribute::ALL.len()],
}

impl Columns {
    pub fn of(samples: Vec<Arc<Sample>>) -> Self {
        let mut tokens = Attribute::ALL.map(|_| Vec::with_capacity(samples.len()));
        for sample in &samples {
            for (column, token) in tokens.iter_mut().zip(sample.tokens()) {
                column.push(*token);
            }
        }
        Self { samples, tokens }
    }

    /// In the place of another, or behind all.
    pub fn put(&mut self, place: usize, sample: Arc<Sample>) {
        let tokens = *sample.tokens();
        for (column, token) in self.tokens.iter_mut().zip(tokens) {
            match column.get_mut(place) {
                Some(held) => *held = token,
                None => column.push(token),
            }
        }
        match self.samples.get_mut(place) {
            Some(held) => *held = sample,
            None => self.samples.push(sample),
        }
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub fn samples(&self) -> &[Arc<Sample>] {
        &self.samples
    }

    pub fn column(&self, attribute: Attribute) -> &[Token] {
        &self.tokens[attribute as usize]
    }

    /// Those of which this is so.
    pub fn are(&self, is: impl Fn(&Sample) -> bool) -> Bits {
        Bits::of(&self.samples, |sample| is(sample))
    }

    pub fn having(&self, attribute: Attribute, token: Token) -> Bits {
        Bits::of(self.column(attribute), |held| *held == token)
    }

    /// The same without these.
    pub fn without(&self, gone: &Bits) -> Self {
        let kept = self.samples.iter().enumerate();
        let kept = kept.filter(|(at, _)| !gone.has(*at));
        Self::of(kept.map(|(_, sample)| Arc::clone(sample)).collect())
    }
}

/// Some of so many, a bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    pub fn none(of: usize) -> Self {
        Self(vec![0; of.div_ceil(64)])
    }

    fn of<T>(all: &[T], is: impl Fn(&T) -> bool) -> Self {
        let word = |some: &[T]| {
            let bits = some.iter().enumerate();
            bits.fold(0, |word, (at, one)| word | u64::from(is(one)) << at)
        };
        Self(all.chunks(64).map(word).collect())
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// The first there is.
    pub fn first(&self) -> Option<usize> {
        let place = self.0.iter().position(|word| *word != 0)?;
        Some(place * 64 + self.0[place].trailing_zeros() as usize)
    }

    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    pub fn less(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & !b)
    }

    pub fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn with(&self, other: &Self, mix: impl Fn(u64, u64) -> u64) -> Self {
        let words = self.0.iter().zip(&other.0);
        Self(words.map(|(a, b)| mix(*a, *b)).collect())
    }

    /// How many of these are in all of `sets` that `which` names.
    pub fn count_in(&self, sets: &[Self], which: &[usize]) -> usize {
        let word = |(at, word): (usize, &u64)| {
            let all = which
                .iter()
                .fold(*word, |held, set| held & sets[*set].0[at]);
            all.count_ones() as usize
        };
        self.0.iter().enumerate().map(word).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_sets(
            one in proptest::collection::vec(any::<bool>(), 0..200),
            turn in 0..200_usize,
        ) {
            let count = one.len();
            let mut other = one.clone();
            other.rotate_left(turn.min(count));
            let both = || one.iter().zip(&other);
            let (a, b) = (Bits::of(&one, |is| *is), Bits::of(&other, |is| *is));
            prop_assert_eq!(a.len(), one.iter().filter(|is| **is).count());
            prop_assert_eq!(a.first(), one.iter().position(|is| *is));
            prop_assert_eq!(a.is_empty(), !one.contains(&true));
            for (at, is) in one.iter().enumerate() {
                prop_assert_eq!(a.has(at), *is);
            }
            let shared = both().filter(|(a, b)| **a && **b).count();
            prop_assert_eq!(a.and(&b).len(), shared);
            prop_assert_eq!(a.count_in(&[b.clone(), a.clone()], &[1, 0]), shared);
            prop_assert_eq!(a.count_in(std::slice::from_ref(&b), &[]), a.len());
            prop_assert_eq!(a.less(&b).len(), both().filter(|(a, b)| **a && !**b).count());
            let mut all = Bits::none(count);
            all.add(&a);
            all.add(&b);
            prop_assert_eq!(all.len(), both().filter(|(a, b)| **a || **b).count());
        }
    }
}
