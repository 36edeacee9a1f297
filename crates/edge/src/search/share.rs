//! How much of the machine and of its line searches may have.
//!
//! A search costs hundreds of microseconds, and its answer is several times as long as a page that says wait: a flood of searches is a
//! way to take the edge, or its line, from its readers. All sites' searches together get a share of one core, counted in the
//! processor's time, and one of the line, counted in bytes. What was not used is kept for a short while, and what was used beyond it is
//! paid back before the next. Time by the clock would charge searches for the index being written and for other programs' turns: on a
//! machine that stood still for half a second, one search would cost readers the next four seconds of theirs.

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Of one core. Enough for 300 different searches a second in 20,000 pages (docs/decisions/0009), little enough to be missed by nobody.
pub const PERCENT: u32 = 10;

/// Of the line: as much is left for readers. On a gigabit that is 15,000 answers of 4 KB a second.
pub const LINE_PERCENT: u32 = 50;
/// What a small newsroom rents.
pub const LINE_MBIT_DEFAULT: u32 = 1_000;

/// A few dozen readers at once, after a quiet while: this long a core, and this long the share of the line.
const KEPT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Share {
    nanos: Mutex<Balance>,
    bytes: Mutex<Balance>,
}

/// In billionths, so that nothing is lost to rounding however often it is asked.
#[derive(Debug)]
struct Balance {
    per_s: i128,
    kept: i128,
    /// Negative: owed.
    left: i128,
    at: Instant,
}

const BILLION: i128 = 1_000_000_000;

impl Share {
    pub fn new(now: Instant) -> Self {
        let kept_nanos = i128::from(KEPT.as_nanos() as u64);
        let nanos_per_s = BILLION / 100 * i128::from(PERCENT);
        let (bytes_per_s, bytes_kept) = of_line(LINE_MBIT_DEFAULT);
        Self {
            nanos: Mutex::new(Balance::new(nanos_per_s, kept_nanos, now)),
            bytes: Mutex::new(Balance::new(bytes_per_s, bytes_kept, now)),
        }
    }

    /// What the machine's line carries. What is owed stays owed.
    pub fn set_line(&self, mbit_per_s: u32) {
        let mut bytes = lock(&self.bytes);
        (bytes.per_s, bytes.kept) = of_line(mbit_per_s);
        bytes.kept *= BILLION;
    }

    /// Whether another search may begin.
    pub fn allows(&self, now: Instant) -> bool {
        self.allows_to_send(now) && lock(&self.nanos).has_any(now)
    }

    /// Another search, if one may begin; it is charged when the guard goes.
    pub fn begin(&self, now: Instant) -> Option<Work<'_>> {
        self.allows(now).then(|| Work {
            share: self,
            began: of_this_thread(),
            one_thread: PhantomData,
        })
    }

    /// Whether an answer that is made already may be given.
    pub fn allows_to_send(&self, now: Instant) -> bool {
        lock(&self.bytes).has_any(now)
    }

    /// Whether an answer that found nothing may be given: half of what is kept is for those that found something, or random words would
    /// take every reader's search.
    pub fn allows_to_send_nothing(&self, now: Instant) -> bool {
        let mut bytes = lock(&self.bytes);
        bytes.has_any(now) && bytes.left > bytes.kept / 2
    }

    pub fn charge(&self, spent: Duration) {
        lock(&self.nanos).take(spent.as_nanos());
    }

    pub fn sent(&self, bytes: usize) {
        lock(&self.bytes).take(bytes as u128);
    }
}

/// A search that is being made, on the thread that began it.
#[must_use = "it is charged when it goes"]
#[derive(Debug)]
pub struct Work<'a> {
    share: &'a Share,
    began: Duration,
    one_thread: PhantomData<*const ()>,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.share
            .charge(of_this_thread().saturating_sub(self.began));
    }
}

fn of_this_thread() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Bytes a second, and of them what is kept.
fn of_line(mbit_per_s: u32) -> (i128, i128) {
    let per_s = i128::from(mbit_per_s) * 1_000_000 / 8 * i128::from(LINE_PERCENT) / 100;
    (per_s, per_s * KEPT.as_nanos() as i128 / BILLION)
}

impl Balance {
    fn new(per_s: i128, kept: i128, now: Instant) -> Self {
        Self {
            per_s,
            kept: kept * BILLION,
            left: kept * BILLION,
            at: now,
        }
    }

    fn has_any(&mut self, now: Instant) -> bool {
        let gone = now.saturating_duration_since(self.at).as_nanos();
        let gained = i128::try_from(gone).map_or(self.kept, |gone| gone.saturating_mul(self.per_s));
        self.left = self.left.saturating_add(gained).min(self.kept);
        self.at = self.at.max(now);
        self.left > 0
    }

    fn take(&mut self, amount: u128) {
        let taken =
            i128::try_from(amount).map_or(i128::MAX, |amount| amount.saturating_mul(BILLION));
        self.left = self.left.saturating_sub(taken);
    }
}

fn lock(balance: &Mutex<Balance>) -> std::sync::MutexGuard<'_, Balance> {
    balance.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_its_share_and_no_more() {
        let start = Instant::now();
        let share = Share::new(start);
        // Ten thousand a second for ten seconds, a millisecond each.
        let cost = Duration::from_millis(1);
        let mut spent = Duration::ZERO;
        for n in 0..100_000_u32 {
            if share.allows(start + n * Duration::from_micros(100)) {
                share.charge(cost);
                spent += cost;
            }
        }
        let most = Duration::from_secs(10) * PERCENT / 100 + KEPT + cost;
        assert!(spent <= most && spent >= most - 2 * cost, "{spent:?}");
    }

    #[test]
    fn answers_of_a_flood_leave_most_of_the_line() {
        let start = Instant::now();
        for mbit_per_s in [100, 500, LINE_MBIT_DEFAULT] {
            let share = Share::new(start);
            share.set_line(mbit_per_s);
            let mut sent = 0;
            for n in 0..1_000_000_u32 {
                if share.allows_to_send(start + n * Duration::from_micros(10)) {
                    share.sent(12_000);
                    sent += 12_000_u64;
                }
            }
            // Half of it for ten seconds, and what is kept from before.
            let most = u64::from(mbit_per_s) * 125_000 / 2 * 101 / 10 + 12_000;
            let kept_of_the_default = u64::from(LINE_MBIT_DEFAULT - mbit_per_s) * 125_000 / 2 / 10;
            assert!(sent <= most + kept_of_the_default, "{mbit_per_s}: {sent}");
            assert!(sent >= most - 24_000, "{mbit_per_s}: {sent}");
            assert!(!share.allows(start + Duration::from_secs(10)));
        }
    }

    #[test]
    fn what_found_nothing_leaves_room_for_what_did() {
        let start = Instant::now();
        let share = Share::new(start);
        for n in 0..1_000_000_u32 {
            let now = start + n * Duration::from_micros(10);
            if share.allows_to_send_nothing(now) {
                share.sent(5_000);
            }
            if n % 1_000 == 0 {
                assert!(share.allows_to_send(now));
                share.sent(12_000);
            }
        }
        assert!(!share.allows_to_send_nothing(start + Duration::from_secs(10)));
    }

    #[test]
    fn work_is_charged_and_waiting_is_not() {
        let works = || {
            let began = of_this_thread();
            while of_this_thread() < began + 2 * KEPT {
                std::hint::spin_loop();
            }
        };
        let now = Instant::now();
        let share = Share::new(now);
        let work = share.begin(now).unwrap();
        // Others have the processor meanwhile.
        std::thread::spawn(works).join().unwrap();
        drop(work);
        assert!(share.allows(now));
        let work = share.begin(now).unwrap();
        works();
        assert!(share.allows(now), "before it is charged");
        drop(work);
        assert!(share.begin(now).is_none());
    }

    #[test]
    fn what_is_owed_is_paid_back_and_little_is_kept() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let share = Share::new(start);
        assert!(share.allows(start));
        share.charge(Duration::from_millis(300));
        // 200 ms are owed: two seconds' share.
        for (millis, allowed) in [(0, false), (1_999, false), (2_001, true), (500, true)] {
            assert_eq!(share.allows(after(millis)), allowed, "{millis}");
        }
        assert!(share.allows(after(3_600_000)));
        share.charge(KEPT);
        assert!(!share.allows(after(3_600_000)));
    }
}
