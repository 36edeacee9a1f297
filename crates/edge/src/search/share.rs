//! How much of the machine searches may have.
//!
//! A search costs a hundred times what a cache hit does, so a flood of searches is a way to take the edge from its readers. All sites'
//! searches together get a share of one core, counted in time spent: what was not used is kept for a short while, and what was used
//! beyond it is paid back before the next search.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Of one core. Enough for hundreds of different searches a second (docs/decisions/0009), little enough to be missed by nobody.
pub const PERCENT: u32 = 20;

/// A few dozen readers at once, after a quiet while.
const KEPT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Share {
    balance: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    /// Negative: owed.
    left_ns: i64,
    at: Instant,
}

impl Share {
    pub fn new(now: Instant) -> Self {
        Self {
            balance: Mutex::new(Balance {
                left_ns: nanos(KEPT),
                at: now,
            }),
        }
    }

    /// Whether another search may begin.
    pub fn allows(&self, now: Instant) -> bool {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = nanos(now.saturating_duration_since(balance.at)) / 100 * i64::from(PERCENT);
        balance.left_ns = balance.left_ns.saturating_add(gained).min(nanos(KEPT));
        balance.at = balance.at.max(now);
        balance.left_ns > 0
    }

    pub fn charge(&self, spent: Duration) {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        balance.left_ns = balance.left_ns.saturating_sub(nanos(spent));
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
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
    fn what_is_owed_is_paid_back_and_little_is_kept() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let share = Share::new(start);
        assert!(share.allows(start));
        share.charge(Duration::from_millis(300));
        // 200 ms are owed: a second's share.
        for (millis, allowed) in [(0, false), (999, false), (1_001, true), (500, true)] {
            assert_eq!(share.allows(after(millis)), allowed, "{millis}");
        }
        assert!(share.allows(after(3_600_000)));
        share.charge(KEPT);
        assert!(!share.allows(after(3_600_000)));
    }
}
