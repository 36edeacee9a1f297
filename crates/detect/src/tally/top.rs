//! The heaviest of many keys, in a table of fixed size.
//!
//! SpaceSaving (Metwally, Agrawal, El Abbadi 2005): a key that has no place takes that of the lightest and inherits its count as
//! possible error. So a count is never too low, too high by at most the total divided by the number of places, and every key
//! with more than that share is in the table. A flood of keys seen once cannot push a heavy one out.
//!
//! Tables merge: a key missing from one may have been there with that table's least count, which is added as error. The bound holds
//! for the merged total.

/// Places. An attack is carried by a handful of shapes and, when it has a handful of networks, by those; 1.5 KB.
pub const PLACES: usize = 64;

/// One key of a [`Top`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heavy {
    pub key: u64,
    /// At least what was added for this key.
    pub count: u64,
    /// At most this much of it was added for others.
    pub error: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    keys: [u64; PLACES],
    counts: [u64; PLACES],
    errors: [u64; PLACES],
    used: usize,
    total: u64,
}

impl Default for Top {
    fn default() -> Self {
        Self::new()
    }
}

impl Top {
    pub fn new() -> Self {
        Self {
            keys: [0; PLACES],
            counts: [0; PLACES],
            errors: [0; PLACES],
            used: 0,
            total: 0,
        }
    }

    pub fn add(&mut self, key: u64, count: u64) {
        self.total += count;
        if let Some(place) = self.find(key) {
            self.counts[place] += count;
        } else if self.used < PLACES {
            self.set(
                self.used,
                Heavy {
                    key,
                    count,
                    error: 0,
                },
            );
            self.used += 1;
        } else {
            let (place, least) = self.lightest();
            self.set(
                place,
                Heavy {
                    key,
                    count: least + count,
                    error: least,
                },
            );
        }
    }

    /// Everything added, whatever the key.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// From the heaviest down; equal counts by key.
    pub fn heaviest(&self) -> Vec<Heavy> {
        let mut all = (0..self.used)
            .map(|place| self.at(place))
            .collect::<Vec<_>>();
        all.sort_by_key(|heavy| (std::cmp::Reverse(heavy.count), heavy.key));
        all
    }

    pub fn merge(&mut self, other: &Self) {
        let (our_least, their_least) = (self.least_if_full(), other.least_if_full());
        let mut all = [Heavy {
            key: 0,
            count: 0,
            error: 0,
        }; 2 * PLACES];
        let mut len = 0;
        for place in 0..self.used {
            let ours = self.at(place);
            let (count, error) = match other.find(ours.key) {
                Some(theirs) => (other.counts[theirs], other.errors[theirs]),
                None => (their_least, their_least),
            };
            all[len] = Heavy {
                key: ours.key,
                count: ours.count + count,
                error: ours.error + error,
            };
            len += 1;
        }
        for place in 0..other.used {
            let theirs = other.at(place);
            if self.find(theirs.key).is_none() {
                all[len] = Heavy {
                    key: theirs.key,
                    count: theirs.count + our_least,
                    error: theirs.error + our_least,
                };
                len += 1;
            }
        }
        all[..len].sort_unstable_by_key(|heavy| (std::cmp::Reverse(heavy.count), heavy.key));
        self.used = len.min(PLACES);
        for (place, heavy) in all[..self.used].iter().enumerate() {
            self.set(place, *heavy);
        }
        self.total += other.total;
    }

    pub fn clear(&mut self) {
        self.used = 0;
        self.total = 0;
    }

    fn at(&self, place: usize) -> Heavy {
        Heavy {
            key: self.keys[place],
            count: self.counts[place],
            error: self.errors[place],
        }
    }

    fn set(&mut self, place: usize, heavy: Heavy) {
        self.keys[place] = heavy.key;
        self.counts[place] = heavy.count;
        self.errors[place] = heavy.error;
    }

    fn find(&self, key: u64) -> Option<usize> {
        self.keys[..self.used].iter().position(|held| *held == key)
    }

    fn lightest(&self) -> (usize, u64) {
        let mut lightest = (0, u64::MAX);
        for (place, count) in self.counts.iter().enumerate() {
            if *count < lightest.1 {
                lightest = (place, *count);
            }
        }
        lightest
    }

    /// What a key that is not here may have had.
    fn least_if_full(&self) -> u64 {
        if self.used < PLACES {
            0
        } else {
            self.lightest().1
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A few heavy keys among many light ones, in any order.
    fn stream() -> impl Strategy<Value = Vec<u64>> {
        let key = prop_oneof![3 => 0..5_u64, 2 => 0..100_u64, 3 => any::<u64>()];
        proptest::collection::vec(key, 0..2_000)
    }

    fn top(keys: &[u64]) -> Top {
        let mut top = Top::new();
        for key in keys {
            top.add(*key, 1);
        }
        top
    }

    fn bounds_hold(top: &Top, keys: &[u64]) -> Result<(), TestCaseError> {
        let mut truth = HashMap::<u64, u64>::new();
        for key in keys {
            *truth.entry(*key).or_default() += 1;
        }
        let error_max = keys.len() as u64 / PLACES as u64;
        prop_assert_eq!(top.total(), keys.len() as u64);
        let heaviest = top.heaviest();
        for heavy in &heaviest {
            let had = truth.get(&heavy.key).copied().unwrap_or(0);
            prop_assert!(
                heavy.count >= had && heavy.count - heavy.error <= had,
                "{heavy:?} had {had}"
            );
            prop_assert!(heavy.error <= error_max, "{heavy:?}, at most {error_max}");
        }
        for (key, had) in truth {
            if had > error_max {
                prop_assert!(
                    heaviest.iter().any(|heavy| heavy.key == key),
                    "{key} had {had}"
                );
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn counts_are_within_their_error(keys in stream()) {
            bounds_hold(&top(&keys), &keys)?;
        }

        #[test]
        fn merged_counts_are_within_the_merged_error(ours in stream(), theirs in stream(), more in stream()) {
            let mut merged = top(&ours);
            merged.merge(&top(&theirs));
            merged.merge(&top(&more));
            bounds_hold(&merged, &[ours, theirs, more].concat())?;
        }
    }

    #[test]
    fn the_heaviest_come_first() {
        let mut top = Top::new();
        for (key, count) in [(5, 10), (1, 30), (9, 10), (1, 5)] {
            top.add(key, count);
        }
        let keys = top
            .heaviest()
            .iter()
            .map(|heavy| (heavy.key, heavy.count))
            .collect::<Vec<_>>();
        assert_eq!(keys, [(1, 35), (5, 10), (9, 10)]);
        top.clear();
        assert!(top.heaviest().is_empty());
    }
}
