//! What a running Saqta notices about itself from one second to the next.
//!
//! Nobody looks at `saqta status` in a quiet week, so what an administrator must hear of comes into the log by itself: requests
//! for hosts no site names, which are closed without an answer and would otherwise look like a broken network, and purges that were
//! refused, without which nobody knows why corrections do not show. The log must not become the flood, so they are told of ever more
//! rarely. What was asked for is a client's word and stays out; a count is enough to know where to look.
//!
//! The same seconds answer "and now?" for `saqta status`: sums since the start say little about an attack that began a minute ago.
//!
//! Pure: time and figures are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use saqta_edge::stats::Totals;
use tokio::time::Instant;

/// How often it looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What "now" means on the screen: one slow second does not make it jump, and an onset is plain after three.
const RECENT_LOOKS: usize = 10;

/// Between two lines about the same: at first a minute, doubled each time. Scanners ask by address every day.
const WAIT_MIN: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Watch {
    /// The oldest first.
    looks: VecDeque<(Instant, Totals)>,
    unknown_hosts: Rarely,
    purges_refused: Rarely,
}

/// So many since they were last told of; `None`: not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) unknown_hosts: Option<u64>,
    pub(crate) purges_refused: Option<u64>,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            looks: VecDeque::with_capacity(RECENT_LOOKS),
            unknown_hosts: Rarely::from(now),
            purges_refused: Rarely::from(now),
        }
    }

    /// Once every [`LOOK_EVERY`].
    pub(crate) fn look(&mut self, now: Instant, totals: &Totals) -> Told {
        if self.looks.len() == RECENT_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, totals.clone()));
        Told {
            unknown_hosts: self.unknown_hosts.due(now, totals.unknown_hosts),
            purges_refused: self.purges_refused.due(now, totals.purges_refused),
        }
    }

    /// The oldest sums still remembered, and how long ago they were taken.
    pub(crate) fn before(&self, now: Instant) -> Option<(Duration, &Totals)> {
        let (at, totals) = self.looks.front()?;
        Some((now.saturating_duration_since(*at), totals))
    }
}

#[derive(Debug)]
struct Rarely {
    told: u64,
    again_at: Instant,
    wait: Duration,
}

impl Rarely {
    fn from(now: Instant) -> Self {
        Self {
            told: 0,
            again_at: now,
            wait: WAIT_MIN,
        }
    }

    fn due(&mut self, now: Instant, sum: u64) -> Option<u64> {
        let count = sum.saturating_sub(self.told);
        if count == 0 || now < self.again_at {
            return None;
        }
        self.told = sum;
        self.again_at = now + self.wait;
        self.wait = (2 * self.wait).min(WAIT_MAX);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(unknown_hosts: u64) -> Totals {
        Totals {
            unknown_hosts,
            ..Totals::default()
        }
    }

    #[test]
    fn unknown_hosts_are_counted_and_ever_more_rarely_told() {
        // A request every second for a day.
        let start = Instant::now();
        let mut watch = Watch::new(start);
        let told: Vec<(u64, u64)> = (0..86_400)
            .filter_map(|second| {
                let told = watch.look(start + Duration::from_secs(second), &unknown(second + 1));
                assert_eq!(told.purges_refused, None);
                Some((second, told.unknown_hosts?))
            })
            .collect();
        assert_eq!(told[..4], [(0, 1), (60, 60), (180, 120), (420, 240)]);
        assert!(told.len() <= 30, "{} lines a day", told.len());
        let sum: u64 = told.iter().map(|(_, count)| count).sum();
        assert_eq!(told.last().map(|(second, _)| second + 1), Some(sum));
    }

    #[test]
    fn silence_is_not_told() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        for (second, unknown_hosts, purges_refused, expected) in [
            (0, 0, 0, (None, None)),
            (0, 3, 0, (Some(3), None)),
            (3600, 3, 0, (None, None)),
            (3601, 3, 2, (None, Some(2))),
            (3602, 3, 4, (None, None)),
        ] {
            let totals = Totals {
                unknown_hosts,
                purges_refused,
                ..Totals::default()
            };
            let told = watch.look(start + Duration::from_secs(second), &totals);
            assert_eq!(
                (told.unknown_hosts, told.purges_refused),
                expected,
                "{second}"
            );
        }
    }

    #[test]
    fn before_is_the_oldest_of_the_last_looks() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert!(watch.before(start).is_none());
        for second in 0..100 {
            watch.look(start + Duration::from_secs(second), &unknown(second));
        }
        let (ago, totals) = watch.before(start + Duration::from_secs(99)).unwrap();
        assert_eq!((ago.as_secs(), totals.unknown_hosts), (9, 90));
    }
}
