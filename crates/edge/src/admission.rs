//! The right to use the origin.
//!
//! The newsroom's own server is the scarcest thing there is: a WordPress with eight PHP workers answers a hundred searches a second
//! and a flood asks for ten thousand. Whatever could be answered from the cache has been; what arrives here needs the origin. This
//! module alone keeps that server alive and its articles readable, knowing nothing about who is good or bad:
//!
//! - `limit` learns how many requests the origin can work on at once and never holds it above that for long;
//! - `queue` shares the slots: by class, then by kind of page, then by network, so that a flood of one kind competes with itself;
//! - `cost` learns what each kind of page takes, in origin-milliseconds, the unit everything is counted in;
//! - `gate` puts them together under fixed rules.
//!
//! Those four are pure: time is an argument, and the tests replay minutes of attack in simulated time. This file is the thin
//! shell: one mutex per origin shared by all shards, one wake-up per waiter.
//!
//! A request that cannot be served within its deadline is told so at once ([`Starved`]), not after the deadline: the caller still has
//! a stale copy or a waiting page to give, and a reader who waited two seconds for a refusal has been refused twice.
//!
//! What ends without [`Slot::finish`] was abandoned, and the origin does not know: its slot stays taken until the learned
//! cost of its kind of page has elapsed.

mod cost;
mod gate;
#[cfg(test)]
mod laws;
mod limit;
mod queue;
#[cfg(test)]
mod simulation;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use saqta_detect::facts::Class;
use saqta_detect::network::Group;
use saqta_detect::shape::Shape;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::plan::OriginPlan;
use gate::{Gate, Grant, Wake, Wakes};
use queue::Ticket;

/// How long a reader's request may wait for a slot. Half of readers leave a page that takes three seconds; two leave one for
/// the origin to answer.
pub const READER_DEADLINE: Duration = Duration::from_secs(2);

/// How long staff wait: longer than a reader would, shorter than an editor's browser gives up on an autosave.
pub const STAFF_DEADLINE: Duration = Duration::from_secs(20);

/// Streams and WebSockets to one origin: live blogs hold one per open page, and each costs the origin a connection and
/// no worker. nginx as shipped has 768 connections a worker; a third is for these.
pub const STREAMS_MAX: usize = 256;
/// Of these, only staff get the last.
const STREAMS_FOR_STAFF: usize = 32;

/// Simulated or real microseconds since the gate was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Micros(u64);

impl Micros {
    fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    fn plus_ms(self, ms: f64) -> Self {
        Self(self.0.saturating_add((ms * 1000.0).ceil() as u64))
    }

    fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A wish to use the origin once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub class: Class,
    pub shape: Shape,
    pub group: Group,
    /// How long it may wait for a slot.
    pub deadline: Duration,
}

/// What the origin made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The origin or the connection failed: nothing is learned from its latency.
    pub failed: bool,
    /// It failed because there was too much: 503, 504, timeout, connection refused. Lowers the limit when it happens often.
    pub overload: bool,
}

impl Outcome {
    /// A complete answer, whatever its status below 500.
    pub const ANSWERED: Self = Self {
        failed: false,
        overload: false,
    };
    /// Broken off, malformed, 500.
    pub const FAILED: Self = Self {
        failed: true,
        overload: false,
    };
    /// 503, 504, timeout, connection refused.
    pub const OVERLOADED: Self = Self {
        failed: true,
        overload: true,
    };
}

/// The origin has no slot for this request in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the origin has no room for this request within its deadline")]
pub struct Starved {
    /// How long it was queued.
    pub waited: Duration,
}

impl Starved {
    /// It was not queued.
    pub const AT_ONCE: Self = Self {
        waited: Duration::ZERO,
    };
}

/// The origin has as many streams as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the origin has {streams_max} streams open already")]
pub struct StreamsFull {
    pub streams_max: usize,
}

/// Counted since the start, except where said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClassStats {
    /// Waiting now.
    pub queued: usize,
    pub queued_total: u64,
    pub granted: u64,
    /// Told at once that they would wait too long.
    pub turned_away: u64,
    /// Waited until their deadline.
    pub expired: u64,
    /// Slots dropped without an answer.
    pub abandoned: u64,
    /// Slot time used.
    pub origin_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Requests the origin may work on at once, now.
    pub limit: usize,
    /// Requests it works on now, abandoned ones included.
    pub in_flight: usize,
    /// Of these, abandoned by their clients.
    pub abandoned: usize,
    /// Beside these, such as a hanging origin has forgotten.
    pub forsaken: usize,
    /// Streams open now.
    pub streams: usize,
    pub streams_refused: u64,
    /// By [`Class::index`].
    pub classes: [ClassStats; Class::ALL.len()],
}

impl Stats {
    pub fn of(&self, class: Class) -> &ClassStats {
        &self.classes[class.index()]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Hard ceiling of the limit, whatever is learned. 0 counts as 1.
    pub concurrency_max: usize,
}

impl From<&OriginPlan> for Config {
    fn from(plan: &OriginPlan) -> Self {
        Self {
            concurrency_max: plan.concurrency_max,
        }
    }
}

/// Admission to one origin. Clones are the same admission; all shards share one.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gate: Mutex<Gate<Waiter>>,
    start: Instant,
    streams: AtomicUsize,
    streams_refused: AtomicU64,
}

type Waiter = oneshot::Sender<Result<Slot, Starved>>;

impl Admission {
    pub fn new(config: Config) -> Self {
        let seed = foldhash::fast::RandomState::default().hash_one(0_u8);
        Self {
            shared: Arc::new(Shared {
                gate: Mutex::new(Gate::new(config.concurrency_max, seed)),
                start: Instant::now(),
                streams: AtomicUsize::new(0),
                streams_refused: AtomicU64::new(0),
            }),
        }
    }

    /// Keeps everything learned and everybody waiting.
    pub fn set_config(&self, config: Config) {
        self.shared
            .with(|gate, now, wakes| gate.set_concurrency_max(now, config.concurrency_max, wakes));
    }

    /// Takes a slot, or a place in the queue, before it returns; the future waits for the slot, at most as long as the ask says. Dropping
    /// it leaves the queue.
    ///
    /// Were the place taken only when the future is first polled, every free place would be promised to all who ask before that: to 425 of the
    /// 480 connections of a flood, all but one of which came for nothing.
    ///
    /// # Errors
    /// [`Starved`] as soon as it is clear that no slot comes in time.
    pub fn enter(&self, ask: Ask) -> impl Future<Output = Result<Slot, Starved>> + use<> {
        let entered = self.start_or_queue(ask);
        async move {
            let mut queued = match entered {
                Ok(slot) => return Ok(slot.begin()),
                Err(queued) => queued,
            };
            let expires = queued.since + ask.deadline;
            let answer = loop {
                let until = queued.look_at.map_or(expires, |at| at.min(expires));
                match timeout_at(until, &mut queued.answer).await {
                    Ok(answer) => break answer.ok(),
                    Err(_) if until < expires => queued.look(),
                    Err(_) => break queued.expire(),
                }
            };
            let waited = queued.since.elapsed();
            match answer {
                Some(Ok(slot)) => Ok(slot.begin()),
                Some(Err(_)) | None => Err(Starved { waited }),
            }
        }
    }

    /// Would this ask have to push another of its kind out of the queue? Then something better than waiting should be tried first.
    pub fn is_starved(&self, ask: &Ask) -> bool {
        self.shared.lock().is_starved(self.shared.now(), ask)
    }

    /// A place for a stream or WebSocket: not a slot, since it holds a connection of the origin but no worker.
    ///
    /// # Errors
    /// [`StreamsFull`] when [`STREAMS_MAX`] are open, a few fewer for all but staff.
    pub fn enter_stream(&self, class: Class) -> Result<Stream, StreamsFull> {
        let streams_max = if class == Class::Staff {
            STREAMS_MAX
        } else {
            STREAMS_MAX - STREAMS_FOR_STAFF
        };
        let taken =
            self.shared
                .streams
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                    (open < streams_max).then_some(open + 1)
                });
        match taken {
            Ok(_) => Ok(Stream {
                shared: Arc::clone(&self.shared),
            }),
            Err(_) => {
                self.shared.streams_refused.fetch_add(1, Ordering::Relaxed);
                Err(StreamsFull { streams_max })
            }
        }
    }

    /// The origin hangs. If what it was sent takes every slot, that counts no more: its clients wait on, and others may ask whether it is back.
    pub fn forsake(&self) {
        self.shared
            .with(|gate, now, wakes| gate.forsake(now, wakes));
    }

    pub fn stats(&self) -> Stats {
        let mut stats = self.shared.lock().stats();
        stats.streams = self.shared.streams.load(Ordering::Relaxed);
        stats.streams_refused = self.shared.streams_refused.load(Ordering::Relaxed);
        stats
    }

    /// True: counted as turned away, as [`Admission::enter`] would have, at a hundredth of its price. False: ask there.
    /// Never true for an ask of a network that has fewer waiters than others, which has others make room.
    pub fn turn_away_at_once(&self, ask: &Ask) -> bool {
        self.shared
            .with(|gate, now, wakes| gate.turn_away_at_once(now, ask, wakes))
    }

    fn start_or_queue(&self, ask: Ask) -> Result<Slot, Queued> {
        let since = Instant::now();
        self.shared
            .with(|gate, now, wakes| match gate.try_start(now, &ask, wakes) {
                Some(grant) => Ok(self.shared.slot(grant)),
                None => {
                    let (waiter, answer) = oneshot::channel();
                    let ticket = gate.wait(now, ask, waiter, wakes);
                    Err(Queued {
                        shared: Arc::clone(&self.shared),
                        ticket,
                        class: ask.class,
                        since,
                        look_at: gate.staff_gone(now).map(|at| self.shared.at(at)),
                        answer,
                    })
                }
            })
    }
}

impl Shared {
    fn now(&self) -> Micros {
        Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn at(&self, at: Micros) -> Instant {
        self.start + Duration::from_micros(at.0)
    }

    fn lock(&self) -> MutexGuard<'_, Gate<Waiter>> {
        // The gate's invariants are counters kept in one step each; a panic elsewhere in the process leaves them whole.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the gate, then tells those who waited, outside the lock: waking a task of another shard is a system call.
    fn with<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Gate<Waiter>, Micros, &mut Wakes<Waiter>) -> T,
    ) -> T {
        let mut wakes = Vec::new();
        let now = self.now();
        let result = change(&mut self.lock(), now, &mut wakes);
        for (waiter, wake) in wakes {
            let answer = match wake {
                Wake::Granted(grant) => Ok(self.slot(grant)),
                Wake::Starved => Err(Starved {
                    waited: Duration::ZERO,
                }),
            };
            // Whoever stopped listening drops the answer, and a slot that was never used is released by its drop.
            drop(waiter.send(answer));
        }
        result
    }

    fn slot(self: &Arc<Self>, grant: Grant) -> Slot {
        Slot {
            shared: Arc::clone(self),
            grant: Some(grant),
            began: None,
        }
    }
}

/// A place in the queue; leaving is dropping it.
#[derive(Debug)]
struct Queued {
    shared: Arc<Shared>,
    ticket: Ticket,
    class: Class,
    since: Instant,
    /// When a slot becomes free though nothing happens: the one kept for staff who are gone.
    look_at: Option<Instant>,
    answer: oneshot::Receiver<Result<Slot, Starved>>,
}

impl Queued {
    fn look(&mut self) {
        self.look_at = self.shared.with(|gate, now, wakes| {
            gate.advance(now, wakes);
            gate.staff_gone(now).map(|at| self.shared.at(at))
        });
    }

    /// The deadline has passed; an answer may have come at the same moment.
    fn expire(&mut self) -> Option<Result<Slot, Starved>> {
        let left = self.shared.lock().expire(self.ticket, self.class);
        match left {
            Some(_) => None,
            None => self.answer.try_recv().ok(),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // A waiter taken out here has nobody to tell: its receiver is this.
        drop(self.shared.lock().cancel(self.ticket));
    }
}

/// One request at the origin. Call [`Slot::finish`] when its answer is complete; dropped before, it counts as abandoned.
#[derive(Debug)]
#[must_use = "the origin is in use until the slot is finished"]
pub struct Slot {
    shared: Arc<Shared>,
    /// Gone once given back.
    grant: Option<Grant>,
    /// When the request was free to go; `None` while the answer is still on its way to the waiter.
    began: Option<Instant>,
}

impl Slot {
    fn begin(mut self) -> Self {
        self.began = Some(Instant::now());
        self
    }

    /// The origin is done with this request, now. Its latency counts from when [`Admission::enter`] returned.
    pub fn finish(mut self, outcome: Outcome) {
        let latency_ms = self.latency_ms();
        if let Some(grant) = self.grant.take() {
            self.shared
                .with(|gate, now, wakes| gate.finish(now, grant, latency_ms, outcome, wakes));
        }
    }

    fn latency_ms(&self) -> f64 {
        self.began
            .map_or(0.0, |began| began.elapsed().as_secs_f64() * 1000.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(grant) = self.grant.take() else {
            return;
        };
        if self.began.is_none() {
            self.shared
                .with(|gate, now, wakes| gate.release(now, grant, wakes));
            return;
        }
        let latency_ms = self.latency_ms();
        let ends = self
            .shared
            .with(|gate, now, wakes| gate.abandon(now, grant, latency_ms, wakes));
        // Somebody must look again when the origin is done. Without a runtime (shutting down) the next event does.
        if let (Some(ends), Ok(runtime)) = (ends, tokio::runtime::Handle::try_current()) {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move {
                sleep_until(shared.at(ends)).await;
                shared.with(|gate, now, wakes| gate.advance(now, wakes));
            });
        }
    }
}

/// An open stream or WebSocket; closing is dropping it.
#[derive(Debug)]
#[must_use = "the stream counts as open until this is dropped"]
pub struct Stream {
    shared: Arc<Shared>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
