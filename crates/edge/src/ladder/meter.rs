//! How much of the origin each pass has used in this period.
//!
//! A count-min sketch: four rows of counters, a pass adds to one of each, and what it has used is the least of its four. It never says
//! less than was used, it has the same size for ten passes as for ten million, and nothing in it can be pushed out, so that whoever
//! farms passes cannot make room for himself. What he can do by using more passes in a period than there is room for is to make others
//! seem to have used what they did not; they are then asked to wait again, as everybody without a pass is.
//!
//! Of a cell nobody can tell whose it is: passes are found by a keyed sum of a random number.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::UnixMillis;

const ROWS: usize = 4;
/// Of 100,000 passes used in one period, one in twelve shares all its four cells with others (1 − e^(−100,000 ÷ 131,072) = 53 % of a row) and seems to
/// have used what the least used of them did. 4 MB.
const CELLS: usize = 1 << 17;

pub struct Meter {
    period_s: u64,
    cells: Box<[AtomicU64]>,
}

/// What a cell holds: the period it counts in, which makes what was counted in another nothing without anybody clearing it, 16 bits of
/// uses and 32 of origin-milliseconds. Periods of ten minutes come round again after fifteen months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    period: u16,
    uses: u16,
    origin_ms: u32,
}

impl Count {
    fn from_bits(bits: u64) -> Self {
        Self {
            period: (bits >> 48) as u16,
            uses: (bits >> 32) as u16,
            origin_ms: bits as u32,
        }
    }

    fn bits(self) -> u64 {
        u64::from(self.period) << 48 | u64::from(self.uses) << 32 | u64::from(self.origin_ms)
    }

    fn is_empty(self) -> bool {
        (self.uses, self.origin_ms) == (0, 0)
    }

    /// As it is in `period`.
    fn within(self, period: u16) -> Self {
        if self.period == period {
            self
        } else {
            Self {
                period,
                uses: 0,
                origin_ms: 0,
            }
        }
    }

    /// What is full stays so until the period ends.
    fn plus(self, uses: u16, origin_ms: u32) -> Self {
        Self {
            period: self.period,
            uses: self.uses.saturating_add(uses),
            origin_ms: self.origin_ms.saturating_add(origin_ms),
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("period_s", &self.period_s)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub uses: u32,
    pub origin_ms: u64,
}

/// What a pass may use in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub uses: u32,
    pub origin_ms: u64,
}

impl Allowance {
    pub const ANY: Self = Self {
        uses: u32::MAX,
        origin_ms: u64::MAX,
    };

    pub fn covers(self, used: Used) -> bool {
        used.uses < self.uses && used.origin_ms < self.origin_ms
    }
}

impl Meter {
    pub fn new(period_s: u32) -> Self {
        Self {
            period_s: u64::from(period_s),
            cells: (0..ROWS * CELLS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn used(&self, number: u64, now: UnixMillis) -> Used {
        let period = self.period_of(now);
        let [first, others @ ..] = places(number)
            .map(|place| Count::from_bits(self.cells[place].load(Ordering::Relaxed)))
            .map(|count| count.within(period));
        let least = |one: Used, other: Count| Used {
            uses: one.uses.min(other.uses.into()),
            origin_ms: one.origin_ms.min(other.origin_ms.into()),
        };
        let first = Used {
            uses: first.uses.into(),
            origin_ms: first.origin_ms.into(),
        };
        others.into_iter().fold(first, least)
    }

    /// The origin is asked on this pass.
    pub fn note_use(&self, number: u64, now: UnixMillis) {
        self.note_uses(number, 1, now);
    }

    pub fn note_uses(&self, number: u64, uses: u32, now: UnixMillis) {
        self.add(number, u16::try_from(uses).unwrap_or(u16::MAX), 0, now);
    }

    /// ... and was at it for so long.
    pub fn note_ms(&self, number: u64, origin_ms: u64, now: UnixMillis) {
        self.add(number, 0, u32::try_from(origin_ms).unwrap_or(u32::MAX), now);
    }

    fn add(&self, number: u64, uses: u16, origin_ms: u32, now: UnixMillis) {
        let period = self.period_of(now);
        for place in places(number) {
            let plus = |bits| {
                let count = Count::from_bits(bits).within(period);
                Some(count.plus(uses, origin_ms).bits())
            };
            // It always changes.
            _ = self.cells[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, plus);
        }
    }

    /// Cells that are not empty, a line each, under the period they are of. `None`: nothing was counted in this one.
    pub fn written(&self, now: UnixMillis) -> Option<String> {
        let period = self.period_of(now);
        let mut text = format!("{} {}\n", self.period_s, self.period_number(now));
        let head = text.len();
        for (place, cell) in self.cells.iter().enumerate() {
            let count = Count::from_bits(cell.load(Ordering::Relaxed)).within(period);
            if !count.is_empty() {
                _ = writeln!(text, "{place:x} {:x} {:x}", count.uses, count.origin_ms);
            }
        }
        (text.len() > head).then_some(text)
    }

    /// Takes up counts of the period it is now; others are over.
    ///
    /// # Errors
    /// When the text is none of a meter's. What came before the line it names counts.
    pub fn recall(&self, text: &str, now: UnixMillis) -> Result<(), MeterFault> {
        let mut lines = text.lines().zip(1..);
        let fault = |line| MeterFault { line };
        let (period_s, number) = lines
            .next()
            .and_then(|(line, _)| line.split_once(' '))
            .ok_or(fault(1))?;
        let period_s: u64 = period_s.parse().map_err(|_| fault(1))?;
        let number: u64 = number.parse().map_err(|_| fault(1))?;
        if (period_s, number) != (self.period_s, self.period_number(now)) {
            return Ok(());
        }
        let period = self.period_of(now);
        for (line, at) in lines {
            let (place, uses, origin_ms) = cell_of(line).ok_or(fault(at))?;
            let cell = self.cells.get(place).ok_or(fault(at))?;
            let most = |bits| {
                let count = Count::from_bits(bits).within(period);
                let most = Count {
                    period,
                    uses: count.uses.max(uses),
                    origin_ms: count.origin_ms.max(origin_ms),
                };
                Some(most.bits())
            };
            _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, most);
        }
        Ok(())
    }

    fn period_number(&self, now: UnixMillis) -> u64 {
        now.secs() / self.period_s
    }

    fn period_of(&self, now: UnixMillis) -> u16 {
        self.period_number(now) as u16
    }
}

fn cell_of(line: &str) -> Option<(usize, u16, u32)> {
    let mut parts = line.split(' ');
    let mut next = || parts.next();
    let (place, uses, origin_ms) = (next()?, next()?, next()?);
    next().is_none().then_some(())?;
    Some((
        usize::from_str_radix(place, 16).ok()?,
        u16::from_str_radix(uses, 16).ok()?,
        u32::from_str_radix(origin_ms, 16).ok()?,
    ))
}

/// Numbers are keyed sums, as good as random; two halves of one give all four places (Kirsch and Mitzenmacher 2006).
fn places(number: u64) -> [usize; ROWS] {
    let (one, other) = ((number >> 32) as usize, number as u32 as usize | 1);
    [0, 1, 2, 3].map(|row| row * CELLS + one.wrapping_add(row.wrapping_mul(other)) % CELLS)
}

/// Why a text is no meter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not what a meter writes")]
pub struct MeterFault {
    pub line: usize,
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_000_200_000);
    const PERIOD_S: u32 = 600;

    fn number(n: u64) -> u64 {
        foldhash::quality::FixedState::with_seed(1).hash_one(n)
    }

    #[test]
    fn what_is_used_is_counted_and_forgotten_with_its_period() {
        let meter = Meter::new(PERIOD_S);
        assert_eq!(meter.used(number(1), NOW), Used::default());
        for _ in 0..3 {
            meter.note_use(number(1), NOW);
            meter.note_ms(number(1), 250, NOW);
        }
        let used = Used {
            uses: 3,
            origin_ms: 750,
        };
        assert_eq!(meter.used(number(1), NOW), used);
        assert_eq!(meter.used(number(2), NOW), Used::default());
        let next = NOW.plus(Duration::from_secs(u64::from(PERIOD_S)));
        assert_eq!(meter.used(number(1), next), Used::default());
        meter.note_use(number(2), next);
        assert_eq!(meter.used(number(1), next), Used::default());
        assert_eq!(meter.used(number(2), next).uses, 1);
    }

    #[test]
    fn either_of_the_two_ends_an_allowance() {
        let allowance = Allowance {
            uses: 2,
            origin_ms: 100,
        };
        let table = [
            ((0, 0), true),
            ((1, 99), true),
            ((2, 0), false),
            ((0, 100), false),
        ];
        for ((uses, origin_ms), expected) in table {
            let used = Used { uses, origin_ms };
            assert_eq!(allowance.covers(used), expected, "{used:?}");
        }
    }

    #[test]
    fn a_million_passes_are_never_said_to_have_used_less_and_are_given_no_more_room() {
        let meter = Meter::new(PERIOD_S);
        const PASSES: u64 = 1_000_000;
        for n in 0..PASSES {
            meter.note_use(number(n), NOW);
        }
        assert!((0..PASSES).all(|n| meter.used(number(n), NOW).uses >= 1));
        assert_eq!(meter.cells.len(), ROWS * CELLS);
    }

    #[test]
    fn of_a_hundred_thousand_passes_few_seem_to_have_used_what_they_did_not() {
        let meter = Meter::new(PERIOD_S);
        for n in 0..100_000 {
            meter.note_use(number(n), NOW);
        }
        let wrong = (200_000..210_000_u64)
            .filter(|n| meter.used(number(*n), NOW).uses > 0)
            .count();
        let badly = (200_000..210_000_u64)
            .filter(|n| meter.used(number(*n), NOW).uses >= 3)
            .count();
        assert!(wrong < 1_200 && badly < 20, "{wrong} {badly}");
    }

    #[test]
    fn all_cores_count_on_one_meter() {
        let meter = Meter::new(PERIOD_S);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        meter.note_use(number(1), NOW);
                        meter.note_ms(number(1), 3, NOW);
                    }
                });
            }
        });
        let used = Used {
            uses: 40_000,
            origin_ms: 120_000,
        };
        assert_eq!(meter.used(number(1), NOW), used);
    }

    #[test]
    fn what_was_used_is_used_after_a_restart() {
        let meter = Meter::new(PERIOD_S);
        assert_eq!(meter.written(NOW), None);
        for n in 0..1_000 {
            meter.note_use(number(n), NOW);
            meter.note_ms(number(n), n, NOW);
        }
        let text = meter.written(NOW).unwrap();
        let again = Meter::new(PERIOD_S);
        again.recall(&text, NOW).unwrap();
        assert_eq!(again.written(NOW), Some(text.clone()));
        assert!((0..1_000).all(|n| again.used(number(n), NOW) == meter.used(number(n), NOW)));
        // What is of another period, or of a meter with longer ones, is over.
        let later = NOW.plus(Duration::from_secs(u64::from(PERIOD_S)));
        for (meter, now) in [(Meter::new(PERIOD_S), later), (Meter::new(60), NOW)] {
            meter.recall(&text, now).unwrap();
            assert_eq!(meter.written(now), None);
        }
    }

    #[test]
    fn what_no_meter_writes_says_where() {
        let period = NOW.secs() / u64::from(PERIOD_S);
        let table = [
            ("".to_owned(), 1),
            ("600".to_owned(), 1),
            (format!("600 {period}x"), 1),
            (format!("600 {period}\n1 1 1\n2 1"), 3),
            (format!("600 {period}\nx 1 1"), 2),
            (format!("600 {period}\n1 g 1"), 2),
            (format!("600 {period}\n1 1 1 1"), 2),
            (format!("600 {period}\n80000 1 1"), 2),
        ];
        for (text, line) in table {
            let read = Meter::new(PERIOD_S).recall(&text, NOW);
            assert_eq!(read, Err(MeterFault { line }), "{text}");
        }
    }

    #[test]
    fn a_full_cell_stays_full() {
        let meter = Meter::new(PERIOD_S);
        for _ in 0..100_000 {
            meter.note_ms(number(1), u64::MAX, NOW);
            meter.note_use(number(1), NOW);
        }
        let full = Used {
            uses: u16::MAX.into(),
            origin_ms: u32::MAX.into(),
        };
        assert_eq!(meter.used(number(1), NOW), full);
    }

    /// Whoever comes first in a new period takes nothing of it from the others.
    #[test]
    fn nothing_is_lost_when_a_period_begins() {
        for round in 0..100 {
            let meter = Meter::new(PERIOD_S);
            let now = NOW.plus(Duration::from_secs(u64::from(PERIOD_S) * round));
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for n in 0..2 {
                    let (meter, start) = (&meter, &start);
                    scope.spawn(move || {
                        start.wait();
                        meter.note_use(number(n), now);
                    });
                }
            });
            assert!((0..2).all(|n| meter.used(number(n), now).uses == 1));
        }
    }
}
