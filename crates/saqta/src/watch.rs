//! What a running Saqta notices about itself from one second to the next.
//!
//! Nobody looks at `saqta status` in a quiet week, so what an administrator must hear of comes into the log by itself: an origin
//! that went down and came up, and requests for hosts no site names, which are closed without an answer and would otherwise look
//! like a broken network. The log must not become the flood: an origin changes once a look at most, unknown hosts are told of ever
//! more rarely. The host that was asked for is a client's word and stays out; a count is enough to know that `hosts` lacks one.
//!
//! The same seconds answer "and now?" for `saqta status`: sums since the start say little about an attack that began a minute ago.
//!
//! Pure: time and figures are arguments.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use saqta_edge::stats::Totals;
use tokio::time::Instant;

/// How often it looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What "now" means on the screen: one slow second does not make it jump, and an onset is plain after three.
const RECENT_LOOKS: usize = 10;

/// Between two lines about unknown hosts: at first a minute, doubled each time. Scanners ask by address every day.
const UNKNOWN_HOSTS_WAIT_MIN: Duration = Duration::from_secs(60);
const UNKNOWN_HOSTS_WAIT_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    OriginDown { site: String },
    OriginUp { site: String, down_for: Duration },
    UnknownHosts { count: u64 },
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OriginDown { site } => write!(
                f,
                "the origin of {site} is down: stored pages are served, everything else gets a page that says so"
            ),
            Self::OriginUp { site, down_for } => {
                write!(
                    f,
                    "the origin of {site} is up again after {} s",
                    down_for.as_secs()
                )
            }
            Self::UnknownHosts { count } => write!(
                f,
                "{count} requests were for hosts that no site names and got no answer; if readers see this, add the name to `hosts`, or any_host = true to one site"
            ),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Watch {
    /// The oldest first.
    looks: VecDeque<(Instant, Totals)>,
    down: Vec<(String, Instant)>,
    unknown_hosts_told: u64,
    unknown_hosts_again_at: Instant,
    unknown_hosts_wait: Duration,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            looks: VecDeque::with_capacity(RECENT_LOOKS),
            down: Vec::new(),
            unknown_hosts_told: 0,
            unknown_hosts_again_at: now,
            unknown_hosts_wait: UNKNOWN_HOSTS_WAIT_MIN,
        }
    }

    /// Once every [`LOOK_EVERY`]. `origins`: each site with the edge's word for its origin: up, recovering or down.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        totals: &Totals,
        origins: &[(&str, &str)],
    ) -> Vec<Noticed> {
        if self.looks.len() == RECENT_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, totals.clone()));
        let mut noticed = self.origins(now, origins);
        noticed.extend(self.unknown_hosts(now, totals.unknown_hosts));
        noticed
    }

    fn origins(&mut self, now: Instant, origins: &[(&str, &str)]) -> Vec<Noticed> {
        let mut noticed = Vec::new();
        // A reload may have taken a site away or renamed it.
        self.down
            .retain(|(name, _)| origins.iter().any(|(site, _)| site == name));
        for (site, origin) in origins {
            let known = self.down.iter().position(|(name, _)| name == site);
            match (*origin, known) {
                ("down", None) => {
                    self.down.push(((*site).into(), now));
                    noticed.push(Noticed::OriginDown {
                        site: (*site).into(),
                    });
                }
                ("up", Some(at)) => {
                    let (site, since) = self.down.swap_remove(at);
                    noticed.push(Noticed::OriginUp {
                        site,
                        down_for: now.saturating_duration_since(since),
                    });
                }
                // Recovering: one request is on its way to find out.
                _ => {}
            }
        }
        noticed
    }

    fn unknown_hosts(&mut self, now: Instant, sum: u64) -> Option<Noticed> {
        let count = sum.saturating_sub(self.unknown_hosts_told);
        if count == 0 || now < self.unknown_hosts_again_at {
            return None;
        }
        self.unknown_hosts_told = sum;
        self.unknown_hosts_again_at = now + self.unknown_hosts_wait;
        self.unknown_hosts_wait = (2 * self.unknown_hosts_wait).min(UNKNOWN_HOSTS_WAIT_MAX);
        Some(Noticed::UnknownHosts { count })
    }

    /// The oldest sums still remembered, and how long ago they were taken.
    pub(crate) fn before(&self, now: Instant) -> Option<(Duration, &Totals)> {
        let (at, totals) = self.looks.front()?;
        Some((now.saturating_duration_since(*at), totals))
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

    /// (second, what the edge says of each origin, what we say)
    type Row<'t> = (u64, &'t [(&'t str, &'t str)], &'t [&'t str]);

    #[test]
    fn an_origin_is_told_of_when_it_changes() {
        let table: &[Row<'_>] = &[
            (0, &[("a", "up"), ("b", "up")], &[]),
            (
                1,
                &[("a", "down"), ("b", "up")],
                &["the origin of a is down"],
            ),
            (2, &[("a", "down"), ("b", "up")], &[]),
            (3, &[("a", "recovering"), ("b", "up")], &[]),
            (
                4,
                &[("a", "down"), ("b", "down")],
                &["the origin of b is down"],
            ),
            (
                9,
                &[("a", "up"), ("b", "up")],
                &[
                    "the origin of a is up again after 8 s",
                    "the origin of b is up again after 5 s",
                ],
            ),
            (
                10,
                &[("a", "down"), ("b", "up")],
                &["the origin of a is down"],
            ),
            // A reload renamed it: the new one is told of anew, and the old name never comes up again.
            (
                11,
                &[("c", "down"), ("b", "up")],
                &["the origin of c is down"],
            ),
            (
                12,
                &[("c", "up"), ("b", "up")],
                &["the origin of c is up again after 1 s"],
            ),
            (13, &[("a", "up"), ("b", "up")], &[]),
        ];
        let start = Instant::now();
        let mut watch = Watch::new(start);
        for (second, origins, said) in table {
            let noticed = watch.look(start + Duration::from_secs(*second), &unknown(0), origins);
            let heard: Vec<String> = noticed.iter().map(ToString::to_string).collect();
            assert_eq!(heard.len(), said.len(), "{second}: {heard:?}");
            for (heard, said) in heard.iter().zip(*said) {
                assert!(heard.starts_with(said), "{second}: {heard}");
            }
        }
    }

    #[test]
    fn unknown_hosts_are_counted_and_ever_more_rarely_told() {
        // A request every second for a day, and a line for each wait that passed: 1, 2, 4 … 60 minutes.
        let start = Instant::now();
        let mut watch = Watch::new(start);
        let mut told = Vec::new();
        for second in 0..86_400 {
            let noticed = watch.look(
                start + Duration::from_secs(second),
                &unknown(second + 1),
                &[],
            );
            told.extend(noticed.into_iter().map(|noticed| (second, noticed)));
        }
        let counts = |count| Noticed::UnknownHosts { count };
        assert_eq!(
            told[..4],
            [
                (0, counts(1)),
                (60, counts(60)),
                (180, counts(120)),
                (420, counts(240))
            ]
        );
        assert!(told.len() < 31, "{}", told.len());
        let last = told.last().map(|(second, _)| *second + 1);
        let sum: u64 = told
            .iter()
            .map(|(_, noticed)| match noticed {
                Noticed::UnknownHosts { count } => *count,
                _ => 0,
            })
            .sum();
        assert_eq!(Some(sum), last, "every one is in one line");
    }

    #[test]
    fn before_is_the_oldest_of_the_last_looks() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert!(watch.before(start).is_none());
        for second in 0..100 {
            watch.look(start + Duration::from_secs(second), &unknown(second), &[]);
        }
        let (ago, totals) = watch.before(start + Duration::from_secs(99)).unwrap();
        assert_eq!((ago.as_secs(), totals.unknown_hosts), (9, 90));
    }
}
