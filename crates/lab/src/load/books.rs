//! What a generator writes down, and says when it is done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::Phases;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The page asked for, complete and right, in time.
    Served,
    /// A waiting page or a challenge was the last answer.
    Challenged,
    /// 403, 429, or 503 without a word about when to come back.
    Refused,
    /// No answer in time, half an answer, an error, the wrong page.
    Failed,
}

/// Requests that were due in one stretch of time, and what became of them. `served + refused + failed` and those that were
/// challenged to the end are all `requests`; a reader who was challenged and then served counts in both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub requests: u64,
    pub served: u64,
    /// Met a waiting page or a challenge at least once.
    pub challenged: u64,
    pub refused: u64,
    pub failed: u64,
    /// Answers with what is another reader's in them.
    pub leaked: u64,
    /// Answers with what is their reader's own.
    pub own: u64,
    /// A rule hit them, as a server that rehearses says.
    pub hit: u64,
    /// Said by `Cache-Status`.
    pub from_cache: u64,
    pub forwarded: u64,
    /// From the moment a request was due; one that was not served counts as ten seconds. `None` of no requests.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// One group of readers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupBook {
    pub name: String,
    /// The first quarter of calm, while the server's cache fills.
    pub warming: Tally,
    /// The rest of it.
    pub calm: Tally,
    pub attack: Tally,
    pub after: Tally,
    /// By the second in which a request was due.
    pub seconds: Vec<Tally>,
}

/// Attack requests that were due in one stretch of time, and who answered them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttackTally {
    /// Tried: written to an open connection, or a connection begun.
    pub requests: u64,
    pub from_cache: u64,
    pub challenged: u64,
    /// 403, 429, 503, or the connection closed instead of an answer.
    pub refused: u64,
    /// Any other answer: the origin's, as far as can be told from here.
    pub forwarded: u64,
    /// Given up by the attacker, who has only so many connections.
    pub abandoned: u64,
    /// Answers of any kind.
    pub answered: u64,
    /// Of these, to requests that a rule hit.
    pub hit: u64,
    /// The same two of what a library sent that does not pretend to be a browser.
    pub crude_answered: u64,
    pub crude_hit: u64,
}

impl AttackTally {
    pub fn add(&mut self, other: &AttackTally) {
        self.requests += other.requests;
        self.from_cache += other.from_cache;
        self.challenged += other.challenged;
        self.refused += other.refused;
        self.forwarded += other.forwarded;
        self.abandoned += other.abandoned;
        self.answered += other.answered;
        self.hit += other.hit;
        self.crude_answered += other.crude_answered;
        self.crude_hit += other.crude_hit;
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackBook {
    /// How many the schedule held.
    pub due: u64,
    /// Not sent because this machine had no connection to give.
    pub exhausted: u64,
    pub addresses: u64,
    pub seconds: Vec<AttackTally>,
    /// At least one answer had a `Cache-Status`.
    pub cache_status_seen: bool,
    /// When the first request that a rule hit was sent, since the drill's start.
    pub first_hit_s: Option<f64>,
}

/// All a generator knows in the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Books {
    pub groups: Vec<GroupBook>,
    pub attack: Option<AttackBook>,
    /// How late the latest of a hundred requests was sent.
    pub send_lag_p99_ms: f64,
    pub cpu_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections_opened: u64,
}

/// The last second, while the drill runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Since the drill's start.
    pub at_s: f64,
    /// Of articles and front pages.
    pub readers: Tally,
    pub search: Tally,
    pub staff: Tally,
    pub neighbour: Tally,
    pub attack: AttackTally,
    pub open_connections: u64,
}

/// A line of a generator's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Progress(Box<Progress>),
    Books(Box<Books>),
}

/// Longer than this is not served, whatever comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The same of whoever has been told that it takes a while, and why.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Stretch {
    tally: Tally,
    /// Microseconds; four bytes a request, of which a drill has at most some millions.
    latencies: Vec<u32>,
}

impl Stretch {
    fn note(&mut self, entry: &Entry) {
        self.tally.requests += 1;
        match entry.fate {
            Fate::Served => self.tally.served += 1,
            Fate::Refused => self.tally.refused += 1,
            Fate::Failed => self.tally.failed += 1,
            Fate::Challenged => {}
        }
        self.tally.challenged += u64::from(entry.challenged || entry.fate == Fate::Challenged);
        self.tally.leaked += u64::from(entry.leaked);
        self.tally.own += u64::from(entry.own);
        self.tally.hit += u64::from(entry.hit);
        self.tally.from_cache += u64::from(entry.from_cache);
        self.tally.forwarded += u64::from(entry.forwarded);
        let latency = if entry.fate == Fate::Served {
            entry.latency.min(entry.patience)
        } else {
            entry.patience
        };
        self.latencies.push(latency.as_micros() as u32);
    }

    fn close(mut self) -> Tally {
        self.latencies.sort_unstable();
        self.tally.p50_ms = quantile_ms(&self.latencies, 0.5);
        self.tally.p99_ms = quantile_ms(&self.latencies, 0.99);
        self.tally
    }
}

/// Of sorted microseconds; nearest rank, so that it is a latency somebody had.
pub(crate) fn quantile_ms(sorted: &[u32], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map(|&micros| f64::from(micros) / 1_000.0)
}

/// One request of a reader, when it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// When it was due, since the drill's start.
    pub(crate) due: Duration,
    pub(crate) latency: Duration,
    pub(crate) patience: Duration,
    pub(crate) fate: Fate,
    pub(crate) challenged: bool,
    pub(crate) leaked: bool,
    pub(crate) own: bool,
    pub(crate) hit: bool,
    pub(crate) from_cache: bool,
    pub(crate) forwarded: bool,
}

/// A group's book while it is written.
#[derive(Debug)]
pub(crate) struct OpenBook {
    name: &'static str,
    phases: Phases,
    warming: Stretch,
    calm: Stretch,
    attack: Stretch,
    after: Stretch,
    seconds: Vec<Stretch>,
    /// What ended since the last look, for [`Progress`].
    recent: Stretch,
}

impl OpenBook {
    pub(crate) fn new(name: &'static str, phases: Phases) -> Self {
        let seconds = phases.total().as_secs_f64().ceil() as usize;
        Self {
            name,
            phases,
            warming: Stretch::default(),
            calm: Stretch::default(),
            attack: Stretch::default(),
            after: Stretch::default(),
            seconds: (0..seconds).map(|_| Stretch::default()).collect(),
            recent: Stretch::default(),
        }
    }

    pub(crate) fn note(&mut self, entry: &Entry) {
        if entry.due < self.phases.calm / 4 {
            self.warming.note(entry);
        } else if entry.due < self.phases.calm {
            self.calm.note(entry);
        } else if entry.due < self.phases.attack_end() {
            self.attack.note(entry);
        } else {
            self.after.note(entry);
        }
        if let Some(second) = self.seconds.get_mut(entry.due.as_secs() as usize) {
            second.note(entry);
        }
        self.recent.note(entry);
    }

    pub(crate) fn take_recent(&mut self) -> Tally {
        std::mem::take(&mut self.recent).close()
    }

    pub(crate) fn close(self) -> GroupBook {
        GroupBook {
            name: self.name.to_owned(),
            warming: self.warming.close(),
            calm: self.calm.close(),
            attack: self.attack.close(),
            after: self.after.close(),
            seconds: self.seconds.into_iter().map(Stretch::close).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_where_it_was_due_and_unserved_ones_weigh_ten_seconds() {
        let phases = Phases {
            calm: Duration::from_secs(2),
            attack: Duration::from_secs(2),
            after: Duration::from_secs(1),
        };
        let mut book = OpenBook::new("readers", phases);
        // due in ms, latency in ms, fate, challenged on the way
        for (due, latency, fate, challenged) in [
            (499, 3, Fate::Served, false),
            (500, 3, Fate::Served, false),
            (1_999, 4_000, Fate::Served, true),
            (2_000, 5, Fate::Served, false),
            (2_500, 1, Fate::Refused, false),
            (3_999, 1, Fate::Challenged, false),
            (4_000, 1, Fate::Failed, false),
        ] {
            book.note(&Entry {
                due: Duration::from_millis(due),
                latency: Duration::from_millis(latency),
                patience: PATIENCE,
                fate,
                challenged,
                leaked: false,
                own: false,
                hit: fate == Fate::Challenged,
                from_cache: false,
                forwarded: false,
            });
        }
        let book = book.close();
        let counts = |tally: &Tally| {
            (
                tally.requests,
                tally.served,
                tally.challenged,
                tally.refused,
                tally.failed,
            )
        };
        assert_eq!(counts(&book.warming), (1, 1, 0, 0, 0));
        assert_eq!(counts(&book.calm), (2, 2, 1, 0, 0));
        assert_eq!(counts(&book.attack), (3, 1, 1, 1, 0));
        assert_eq!(counts(&book.after), (1, 0, 0, 0, 1));
        assert_eq!(
            book.seconds
                .iter()
                .map(|second| second.requests)
                .collect::<Vec<_>>(),
            [2, 1, 2, 1, 1]
        );
        assert_eq!(
            (book.calm.p50_ms, book.calm.p99_ms),
            (Some(3.0), Some(4_000.0))
        );
        assert_eq!(
            (book.attack.p50_ms, book.attack.p99_ms),
            (Some(10_000.0), Some(10_000.0))
        );
        assert_eq!(book.seconds[2].p50_ms, Some(5.0));
    }

    #[test]
    fn a_quantile_is_a_latency_somebody_had() {
        let sorted: Vec<u32> = (1..=100).map(|millis| millis * 1_000).collect();
        for (quantile, millis) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(quantile_ms(&sorted, quantile), Some(millis), "{quantile}");
        }
        assert_eq!(quantile_ms(&[], 0.5), None);
    }
}
