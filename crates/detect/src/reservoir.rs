//! Requests kept to compare with: ordinary ones for a day or so, the newest for two minutes.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use crate::columns::Columns;
use crate::look::Sample;

/// Ordinary requests kept. With none of them hit, the upper bound of a rule's share is 0.05 %; 4 MB.
pub const BASELINE_MAX: usize = 8_192;
/// And of clients that are known. One of them is a tenth of a percent, the aim of a rule's gates.
const REGULARS_MAX: usize = 1_024;
/// What is a day old counts for half.
const HALF_LIFE_S: f64 = 86_400.0;
/// Kept of one second. Ten of them are what a rule is searched in; more would cost time and say the same.
pub const PER_SECOND_MAX: usize = 800;
/// The same in calm, where what is kept is what an attack would begin with and what teaches.
pub const PER_CALM_SECOND_MAX: usize = 200;
/// Kept of one second's tries at what is guessed at, beside these.
pub const SENSITIVE_PER_SECOND_MAX: usize = 100;
/// The newest requests are kept this long, for a site where few come.
pub const CURRENT_S: u64 = 120;
/// Where many come a rule is searched in no more than these.
pub const FRESH_S: u64 = 10;
/// A second that has not taught by then is thinned as well.
const TAUGHT_LATE_S: u64 = 2 * FRESH_S;
/// Kept of a second that is older.
const OLD_MAX: usize = 100;

/// Ordinary requests, each kept with a probability that halves with every [`HALF_LIFE_S`] of its age.
///
/// Clients that are known have a part of their own: among all requests they may be few, and a rule that hits a tenth of them would
/// look as if it hit nobody.
#[derive(Debug)]
pub struct Baseline {
    all: Reservoir,
    regulars: Reservoir,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            all: Reservoir::new(BASELINE_MAX),
            regulars: Reservoir::new(REGULARS_MAX),
        }
    }
}

impl Baseline {
    /// `weight`: how many requests this one stands for.
    pub fn offer(&mut self, sample: &Arc<Sample>, weight: f64) {
        self.all.offer(sample, weight);
        if sample.known.is_some() {
            self.regulars.offer(sample, weight);
        }
    }

    pub fn all(&self) -> &Columns {
        &self.all.samples
    }

    /// Of clients that were known.
    pub fn regulars(&self) -> &Columns {
        &self.regulars.samples
    }

    /// Share of those that no copy could answer.
    pub fn share_needing_origin(&self) -> f64 {
        self.all.needing_origin as f64 / self.all.samples.len().max(1) as f64
    }
}

/// A sample by exponential keys (Efraimidis and Spirakis 2006): what is held at any time is what a sample of all that was ever offered
/// would be.
#[derive(Debug)]
struct Reservoir {
    most: usize,
    /// The largest key is on top and leaves first.
    held: BinaryHeap<Held>,
    samples: Columns,
    offered: u64,
    /// Of those held.
    needing_origin: usize,
}

#[derive(Debug)]
struct Held {
    key: f64,
    /// Tells equal keys apart.
    number: u64,
    /// Among the samples.
    place: usize,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = self.key.total_cmp(&other.key);
        by_key.then(self.number.cmp(&other.number))
    }
}

impl Reservoir {
    fn new(most: usize) -> Self {
        Self {
            most,
            held: BinaryHeap::new(),
            samples: Columns::default(),
            offered: 0,
            needing_origin: 0,
        }
    }

    fn offer(&mut self, sample: &Arc<Sample>, weight: f64) {
        self.offered += 1;
        let chance = (mix(self.offered) >> 11) as f64 / (1_u64 << 53) as f64;
        let rate = weight.ln() + sample.at_s as f64 * std::f64::consts::LN_2 / HALF_LIFE_S;
        // The logarithm of an exponential variate of rate `weight × growth`, which itself would overflow within months.
        let key = (-(1.0 - chance).ln()).max(f64::MIN_POSITIVE).ln() - rate;
        let place = if self.held.len() < self.most {
            self.held.len()
        } else {
            let Some(largest) = self.held.peek().filter(|largest| key < largest.key) else {
                return;
            };
            let place = largest.place;
            self.held.pop();
            let gone = &self.samples.samples()[place];
            self.needing_origin -= usize::from(gone.needs_origin);
            place
        };
        self.needing_origin += usize::from(sample.needs_origin);
        self.samples.put(place, Arc::clone(sample));
        self.held.push(Held {
            key,
            number: self.offered,
            place,
        });
    }
}

/// Requests of one second: all of them, or as many drawn evenly.
#[derive(Debug, Default)]
pub struct Drawn {
    pub seen: u64,
    pub kept: Vec<Arc<Sample>>,
}

impl Drawn {
    /// How many requests each of the kept ones stands for.
    pub fn weight(&self) -> f64 {
        self.seen as f64 / self.kept.len().max(1) as f64
    }

    /// Counts a request. Where it goes, if it is drawn: among the kept ones or behind them. At most `most` are kept.
    pub(crate) fn place(&mut self, most: usize, seed: u64) -> Option<usize> {
        self.seen += 1;
        if self.kept.len() < most {
            return Some(self.kept.len());
        }
        let drawn = mix(self.seen ^ seed << 32) % self.seen;
        usize::try_from(drawn)
            .ok()
            .filter(|place| *place < self.kept.len())
    }

    pub(crate) fn put(&mut self, place: usize, sample: Arc<Sample>) {
        match self.kept.get_mut(place) {
            Some(kept) => *kept = sample,
            None => self.kept.push(sample),
        }
    }

    /// Another shard's; afterwards each request of both was drawn with the same chance.
    pub(crate) fn merge(&mut self, mut other: Self, most: usize) {
        let together = (self.seen + other.seen) as f64 / most as f64;
        let weight = together.max(self.weight()).max(other.weight()).max(1.0);
        for drawn in [&mut *self, &mut other] {
            drawn.kept.truncate((drawn.seen as f64 / weight) as usize);
        }
        self.seen += other.seen;
        self.kept.append(&mut other.kept);
    }

    fn thin(&mut self, most: usize) {
        if self.kept.len() > most {
            self.kept.truncate(most);
            self.kept.shrink_to_fit();
        }
    }
}

#[derive(Debug)]
pub struct Second {
    pub second: u64,
    pub all: Drawn,
    /// Of these, tries at what is guessed at: a few a minute are an attack, and must not get lost among thousands.
    pub sensitive: Drawn,
    taught: bool,
}

/// The newest requests.
#[derive(Debug, Default)]
pub struct Current {
    seconds: VecDeque<Second>,
}

impl Current {
    /// What was drawn of this second, which comes after all there are.
    pub fn push(&mut self, second: u64, all: Drawn, sensitive: Drawn) {
        while self
            .seconds
            .front()
            .is_some_and(|first| first.second + CURRENT_S <= second)
        {
            self.seconds.pop_front();
        }
        for old in &mut self.seconds {
            let has_taught = old.taught && old.second + FRESH_S <= second;
            if has_taught || old.second + TAUGHT_LATE_S <= second {
                old.all.thin(OLD_MAX);
            }
        }
        self.seconds.push_back(Second {
            second,
            all,
            sensitive,
            taught: false,
        });
    }

    /// What the newest second saw: requests, and tries at what is guessed at.
    pub fn newest_seen(&self) -> (u64, u64) {
        self.seconds
            .back()
            .map_or((0, 0), |newest| (newest.all.seen, newest.sensitive.seen))
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
            baseline.offer(&sample(number / 10_000 * DAY_S), 1.0);
        }
        let all = baseline.all();
        assert_eq!(all.len(), BASELINE_MAX);
        let of_day = |day: u64| {
            all.samples()
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
    fn of_older_seconds_less_is_kept() {
        // Seconds before `taught` have taught.
        for (taught, thinned) in [(0, FRESH_S), (100, 2 * FRESH_S)] {
            let mut current = Current::default();
            let last = 3 * FRESH_S - 1;
            for second in 0..=last {
                let kept = (0..PER_SECOND_MAX).map(|_| sample(second)).collect();
                let sensitive = Drawn {
                    seen: 1,
                    kept: vec![sample(second)],
                };
                current.push(second, Drawn { seen: 8_000, kept }, sensitive);
                current.teach(second.min(taught), |_| {});
            }
            for second in current.range(0, last) {
                let (kept, weight) = if second.second < thinned {
                    (OLD_MAX, 80.0)
                } else {
                    (PER_SECOND_MAX, 10.0)
                };
                assert_eq!(
                    (second.all.kept.len(), second.all.weight()),
                    (kept, weight),
                    "{taught} {}",
                    second.second
                );
                assert_eq!(second.sensitive.kept.len(), 1);
            }
        }
    }

    #[test]
    fn each_second_teaches_once_and_old_ones_go() {
        let mut current = Current::default();
        for second in 0..500 {
            let all = Drawn {
                seen: 1,
                kept: vec![sample(second)],
            };
            current.push(second, all, Drawn::default());
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
