//! Requests kept to compare with: ordinary ones for a day or so, the newest for two minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::look::Sample;

/// Ordinary requests kept. With none of them hit, the upper bound of a rule's share is 0.05 %; 3 MB.
pub const BASELINE_MAX: usize = 8_192;
/// What is a day old counts for half.
const HALF_LIFE_S: f64 = 86_400.0;
/// Kept of one second. Ten of them are what a rule is searched in; more would cost time and say the same.
pub const PER_SECOND_MAX: usize = 800;
/// The newest requests are kept this long, for a site where few come.
pub const CURRENT_S: u64 = 120;

/// Ordinary requests, each kept with a probability that halves with every [`HALF_LIFE_S`] of its age. A sample by exponential keys
/// (Efraimidis and Spirakis 2006): what is held at any time is what a sample of all that was ever offered would be.
#[derive(Debug, Default)]
pub struct Baseline {
    /// By key: the largest leaves first. The second part only tells equal keys apart.
    held: BTreeMap<(Key, u64), Arc<Sample>>,
    offered: u64,
    /// Of those held.
    needing_origin: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Key(f64);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Baseline {
    /// `weight`: how many requests this one stands for.
    pub fn offer(&mut self, sample: Arc<Sample>, weight: f64) {
        self.offered += 1;
        let chance = (mix(self.offered) >> 11) as f64 / (1_u64 << 53) as f64;
        let rate = weight.ln() + sample.at_s as f64 * std::f64::consts::LN_2 / HALF_LIFE_S;
        // The logarithm of an exponential variate of rate `weight × growth`, which itself would overflow within months.
        let key = (-(1.0 - chance).ln()).max(f64::MIN_POSITIVE).ln() - rate;
        self.needing_origin += usize::from(sample.needs_origin);
        self.held.insert((Key(key), self.offered), sample);
        if self.held.len() > BASELINE_MAX
            && let Some((_, gone)) = self.held.pop_last()
        {
            self.needing_origin -= usize::from(gone.needs_origin);
        }
    }

    /// Share of those that no copy could answer.
    pub fn share_needing_origin(&self) -> f64 {
        self.needing_origin as f64 / self.held.len().max(1) as f64
    }

    pub fn samples(&self) -> Vec<Arc<Sample>> {
        self.held.values().cloned().collect()
    }
}

/// The requests of one second: all of them, or as many drawn evenly.
#[derive(Debug)]
pub struct Second {
    pub second: u64,
    pub seen: u64,
    pub kept: Vec<Arc<Sample>>,
    taught: bool,
}

impl Second {
    /// How many requests each of the kept ones stands for.
    pub fn weight(&self) -> f64 {
        self.seen as f64 / self.kept.len().max(1) as f64
    }
}

/// The newest requests.
#[derive(Debug, Default)]
pub struct Current {
    seconds: VecDeque<Second>,
}

impl Current {
    /// `sample` is made only if this request is drawn.
    pub fn offer(&mut self, second: u64, sample: impl FnOnce() -> Sample) {
        let is_new = self.seconds.back().is_none_or(|last| last.second < second);
        if is_new {
            while self
                .seconds
                .front()
                .is_some_and(|first| first.second + CURRENT_S <= second)
            {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second {
                second,
                seen: 0,
                kept: Vec::new(),
                taught: false,
            });
        }
        let Some(last) = self.seconds.back_mut() else {
            return;
        };
        last.seen += 1;
        if last.kept.len() < PER_SECOND_MAX {
            last.kept.push(Arc::new(sample()));
            return;
        }
        let place = (mix(last.seen ^ last.second << 32) % last.seen) as usize;
        if let Some(kept) = last.kept.get_mut(place) {
            *kept = Arc::new(sample());
        }
    }

    /// Seconds of `from..=to`.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Second> {
        self.seconds
            .iter()
            .filter(move |second| (from..=to).contains(&second.second))
    }

    /// Seconds before `before` that have not taught yet, each once.
    pub fn teach(&mut self, before: u64, mut lesson: impl FnMut(&Second)) {
        for second in &mut self.seconds {
            if second.second < before && !second.taught {
                second.taught = true;
                lesson(second);
            }
        }
    }
}

/// SplitMix64's finisher: chance that is the same in every run.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::tests::reader;

    fn sample(at_s: u64) -> Arc<Sample> {
        Arc::new(Sample::of(&reader(1, "/"), at_s))
    }

    #[test]
    fn a_day_old_request_counts_for_half() {
        let mut baseline = Baseline::default();
        // As many each day, for a week.
        const DAY_S: u64 = 86_400;
        for number in 0..70_000 {
            baseline.offer(sample(number / 10_000 * DAY_S), 1.0);
        }
        assert_eq!(baseline.held.len(), BASELINE_MAX);
        let of_day = |day: u64| {
            let samples = baseline.samples();
            samples
                .iter()
                .filter(|sample| sample.at_s == day * DAY_S)
                .count() as f64
        };
        for day in 1..6 {
            let ratio = of_day(day) / of_day(day + 1);
            assert!((0.35..0.65).contains(&ratio), "day {day}: {ratio}");
        }
    }

    #[test]
    fn a_busy_second_is_drawn_from_evenly() {
        let mut current = Current::default();
        for number in 0..80_000_u32 {
            current.offer(7, || Sample::of(&reader(number, "/"), 7));
        }
        let seconds: Vec<_> = current.range(0, 10).collect();
        let [second] = seconds[..] else {
            panic!("one second")
        };
        assert_eq!((second.seen, second.kept.len()), (80_000, PER_SECOND_MAX));
        assert_eq!(second.weight(), 100.0);
        let late = second
            .kept
            .iter()
            .filter(|sample| sample.source() >= reader(40_000, "/").source)
            .count();
        assert!((320..480).contains(&late), "{late} of {PER_SECOND_MAX}");
    }

    #[test]
    fn each_second_teaches_once_and_old_ones_go() {
        let mut current = Current::default();
        for second in 0..500 {
            current.offer(second, || Sample::of(&reader(1, "/"), second));
            let mut taught = Vec::new();
            current.teach(second.saturating_sub(10), |second| {
                taught.push(second.second)
            });
            let expected: Vec<u64> = (second > 10).then(|| second - 11).into_iter().collect();
            assert_eq!(taught, expected, "{second}");
        }
        assert_eq!(current.range(0, 1_000).count() as u64, CURRENT_S);
    }
}
