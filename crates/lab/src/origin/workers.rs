//! What a content system can do at once, and the books that say when it was asked for more.
//!
//! PHP behind a web server is a fixed number of workers with a bounded queue before them. A request takes a worker for as long
//! as its page needs and *keeps it when the client has gone*: nobody tells PHP. Above capacity everything gets slower, because
//! the workers share a database and a processor. The lab holds the worker by a timer instead of burning a processor, since a
//! drill has two cores for the edge, the load and the origin together, and what the origin would burn the edge could not use.
//!
//! In flight is every request that wants a worker, running or waiting. The books integrate the time during which that was
//! more than the workers, exact to the event.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How much longer a page takes for every full set of workers that waits behind it.
const CONTENTION: f64 = 0.25;
/// A database that is asked for twelve times its capacity takes four times as long, and no longer than that.
const CONTENTION_MAX: f64 = 4.0;

/// What a request costs and is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Front,
    Article,
    Section,
    Tag,
    Search,
    Feed,
    Missing,
    Login,
    Publish,
    Admin,
    Account,
    Upload,
    /// Served by the web server itself: no worker.
    Asset,
    /// WebSocket and server-sent events: no worker.
    Stream,
}

impl Kind {
    /// The median; `None` takes no worker. Uncached WordPress pages on small machines, a password hash for a login.
    pub fn service_ms(self) -> Option<f64> {
        match self {
            Self::Front => Some(12.0),
            Self::Article => Some(15.0),
            Self::Section => Some(20.0),
            Self::Tag => Some(40.0),
            Self::Search => Some(60.0),
            Self::Feed => Some(20.0),
            Self::Missing => Some(25.0),
            Self::Login => Some(80.0),
            Self::Publish => Some(60.0),
            Self::Admin => Some(40.0),
            Self::Account => Some(20.0),
            Self::Upload => Some(60.0),
            Self::Asset | Self::Stream => None,
        }
    }
}

/// The queue before the workers is full; a web server answers 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BacklogFull;

/// Clones share the same workers.
#[derive(Debug, Clone)]
pub(super) struct Workers(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    backlog: usize,
    /// Fair: first come, first served.
    places: Semaphore,
    load: RefCell<Load>,
}

impl Workers {
    pub(super) fn new(workers: usize, backlog: usize, now: Instant) -> Self {
        Self(Rc::new(Shared {
            backlog,
            places: Semaphore::new(workers),
            load: RefCell::new(Load::new(workers, now)),
        }))
    }

    /// Waits for a worker and keeps it busy. Must not be cancelled by a client's disconnect: that is the point.
    pub(super) async fn hold(&self, service: Duration) -> Result<(), BacklogFull> {
        {
            let mut load = self.0.load.borrow_mut();
            if load.waiting() >= self.0.backlog {
                return Err(BacklogFull);
            }
            load.enter(Instant::now());
        }
        let leave = Leave(&self.0.load);
        // The semaphore is never closed; were it, the request would be served at once.
        let place = self.0.places.acquire().await.ok();
        let slower = self.0.load.borrow().contention();
        tokio::time::sleep(service.mul_f64(slower)).await;
        drop(leave);
        drop(place);
        Ok(())
    }

    pub(super) fn load_at(&self, now: Instant) -> LoadAt {
        self.0.load.borrow_mut().at(now)
    }
}

/// Takes the request off the books however its task ends.
struct Leave<'a>(&'a RefCell<Load>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().leave(Instant::now());
    }
}

#[derive(Debug)]
struct Load {
    workers: usize,
    in_flight: usize,
    peak: usize,
    /// Since the books were last read.
    recent_peak: usize,
    over_capacity: Duration,
    /// When `in_flight` last changed.
    changed: Instant,
}

/// The books at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoadAt {
    pub(super) in_flight: usize,
    /// Since the start.
    pub(super) peak: usize,
    /// Since the books were last read.
    pub(super) recent_peak: usize,
    /// Since the start.
    pub(super) over_capacity: Duration,
}

impl Load {
    fn new(workers: usize, now: Instant) -> Self {
        Self {
            workers,
            in_flight: 0,
            peak: 0,
            recent_peak: 0,
            over_capacity: Duration::ZERO,
            changed: now,
        }
    }

    fn waiting(&self) -> usize {
        self.in_flight.saturating_sub(self.workers)
    }

    fn contention(&self) -> f64 {
        (1.0 + CONTENTION * self.waiting() as f64 / self.workers.max(1) as f64).min(CONTENTION_MAX)
    }

    fn enter(&mut self, now: Instant) {
        self.settle(now);
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        self.recent_peak = self.recent_peak.max(self.in_flight);
    }

    fn leave(&mut self, now: Instant) {
        self.settle(now);
        self.in_flight -= 1;
    }

    fn at(&mut self, now: Instant) -> LoadAt {
        self.settle(now);
        let recent_peak = std::mem::replace(&mut self.recent_peak, self.in_flight);
        LoadAt {
            in_flight: self.in_flight,
            peak: self.peak,
            recent_peak,
            over_capacity: self.over_capacity,
        }
    }

    fn settle(&mut self, now: Instant) {
        if self.in_flight > self.workers {
            self.over_capacity += now.saturating_duration_since(self.changed);
        }
        self.changed = now;
    }
}

/// One line of the origin's books. Sums count from the start, so that the referee can cut anywhere: onset to end is one
/// line subtracted from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginStats {
    pub unix_ms: u64,
    /// The kernel's monotonic clock ([`crate::clock::monotonic`]), comparable between processes.
    pub monotonic_ms: u64,
    /// Workers.
    pub capacity: usize,
    /// Requests that want a worker now, running and waiting.
    pub in_flight: usize,
    pub peak_in_flight: usize,
    /// The peak since the last line.
    pub recent_peak_in_flight: usize,
    /// Time during which more requests were in flight than there are workers.
    pub over_capacity_ms: u64,
    /// All that arrived, assets included.
    pub requests: u64,
    pub by_kind: BTreeMap<Kind, u64>,
    /// Answered 5xx, never, or cut short.
    pub errors: u64,
    /// Of these: no room in the queue before the workers.
    pub backlog_full: u64,
    /// Different targets asked for, counted to 100,000.
    pub distinct_targets: u64,
    /// The client had gone when the answer was ready.
    pub unwanted: u64,
    pub logins: u64,
    pub logins_refused: u64,
    pub publishes: u64,
    pub uploads: u64,
    pub upload_bytes: u64,
    pub connections: u64,
    /// Over the bound on open ones.
    pub connections_refused: u64,
    pub fault: super::Fault,
    /// Nothing follows.
    pub last: bool,
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_books_integrate_time_over_capacity() {
        // Two workers. (at ms, +1 enters or -1 leaves), then (in flight, peak, over capacity so far).
        let story = [
            ((0, 1), (1, 1, 0)),
            ((10, 1), (2, 2, 0)),
            ((30, 1), (3, 3, 0)),
            ((35, 1), (4, 4, 5)),
            ((50, -1), (3, 4, 20)),
            ((60, -1), (2, 4, 30)),
            ((90, -1), (1, 4, 30)),
            ((95, 1), (2, 4, 30)),
            ((100, 1), (3, 4, 30)),
            ((101, -1), (2, 4, 31)),
        ];
        let start = Instant::now();
        let mut load = Load::new(2, start);
        for ((at, change), (in_flight, peak, over)) in story {
            let now = start + MS(at);
            if change > 0 {
                load.enter(now)
            } else {
                load.leave(now)
            }
            let books = load.at(now);
            assert_eq!(
                (books.in_flight, books.peak, books.over_capacity),
                (in_flight, peak, MS(over)),
                "at {at} ms"
            );
        }
        assert_eq!(
            load.at(start + MS(500)).recent_peak,
            2,
            "since the last reading"
        );
    }

    #[test]
    fn reading_while_over_capacity_counts_up_to_now() {
        let start = Instant::now();
        let mut load = Load::new(1, start);
        load.enter(start);
        load.enter(start);
        assert_eq!(load.at(start + MS(7)).over_capacity, MS(7));
        assert_eq!(load.at(start + MS(9)).over_capacity, MS(9));
    }

    /// Offers `requests` at (ms, service ms) to `workers` and says when each was done, `None` for 503.
    async fn offer(workers: &Workers, requests: &[(u64, u64)]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let local = LocalSet::new();
        let tasks: Vec<_> = requests
            .iter()
            .map(|&(at, service)| {
                let workers = workers.clone();
                local.spawn_local(async move {
                    tokio::time::sleep_until(start + MS(at)).await;
                    workers
                        .hold(MS(service))
                        .await
                        .ok()
                        .map(|()| start.elapsed().as_millis() as u64)
                })
            })
            .collect();
        local.await;
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap());
        }
        done
    }

    #[tokio::test(start_paused = true)]
    async fn workers_serve_in_turn_and_slow_down_when_many_wait() {
        let workers = Workers::new(1, 10, Instant::now());
        // Two wait behind the first: 40 ms × (1 + 0.25 × 1) for the second, since one still waits; the last is alone.
        let done = offer(&workers, &[(0, 40), (1, 40), (2, 40)]).await;
        assert_eq!(done, [Some(40), Some(40 + 50), Some(40 + 50 + 40)]);
        let books = workers.load_at(Instant::now());
        assert_eq!(
            (books.in_flight, books.peak, books.over_capacity),
            (0, 3, MS(90 - 1))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_backlog_refuses() {
        let workers = Workers::new(2, 1, Instant::now());
        let done = offer(
            &workers,
            &[(0, 100), (0, 100), (5, 100), (6, 100), (150, 100)],
        )
        .await;
        assert_eq!(done, [Some(100), Some(100), Some(200), None, Some(250)]);
        assert_eq!(workers.load_at(Instant::now()).over_capacity, MS(95));
    }

    #[tokio::test(start_paused = true)]
    async fn within_capacity_nothing_is_over() {
        let workers = Workers::new(8, 511, Instant::now());
        let requests: Vec<(u64, u64)> = (0..80).map(|n| (n * 10, 79)).collect();
        let done = offer(&workers, &requests).await;
        assert!(
            done.iter()
                .zip(&requests)
                .all(|(done, (at, _))| *done == Some(at + 79))
        );
        let books = workers.load_at(Instant::now());
        assert_eq!((books.peak, books.over_capacity), (8, Duration::ZERO));
    }
}
