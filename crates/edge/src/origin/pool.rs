//! Idle connections to the origin.
//!
//! Last in, first out: the warm one is used again and the surplus of a busy hour grows old and is closed. Apache and Node.js
//! close an idle connection after 5 s, nginx after 75 s, and a request that meets such a close is lost without our knowing
//! whether it was acted upon. A safe method is then simply sent again, so it may use any idle connection; every other method
//! gets one that was used a moment ago, or a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::health::{OriginHealth, count};
use super::message::Upload;
use super::wire::Wire;

/// A connection is 20 KB of ours and perhaps a whole process of the origin's (Apache prefork). What a shard keeps beyond
/// 64 was needed once, not now.
const IDLE_MAX: usize = 64;

/// nginx keeps 75 s; below it, we close first.
const IDLE_AGE_MAX: Duration = Duration::from_secs(60);

/// Below the 5 s after which Apache and Node.js close.
const IDLE_AGE_UNSAFE_MAX: Duration = Duration::from_secs(4);

/// A connection with a request on it. Dropping it closes the connection; [`Lease::release`] keeps it.
pub(super) struct Lease {
    pub(super) sender: SendRequest<Upload>,
    pub(super) wire: Arc<Wire>,
    /// It lay idle before, so it may have died unseen.
    pub(super) reused: bool,
    task: Task,
    home: Weak<Pool>,
}

impl Lease {
    pub(super) fn new(
        sender: SendRequest<Upload>,
        wire: Arc<Wire>,
        task: AbortHandle,
        home: &Arc<Pool>,
    ) -> Self {
        let task = Task {
            handle: task,
            abort: true,
        };
        Self {
            sender,
            wire,
            reused: false,
            task,
            home: Arc::downgrade(home),
        }
    }

    /// The exchange went well to its end.
    pub(super) fn release(self, now: Instant) {
        if let Some(pool) = self.home.upgrade() {
            pool.put(self, now);
        }
    }

    /// The connection is no longer HTTP and belongs to whoever holds the upgrade.
    pub(super) fn surrender(mut self) {
        self.task.abort = false;
    }
}

/// The connection task; with it ends the socket.
struct Task {
    handle: AbortHandle,
    abort: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.abort {
            self.handle.abort();
        }
    }
}

struct Idle {
    sender: SendRequest<Upload>,
    // Weak: the socket closes when the connection task ends, not when somebody looks here again.
    wire: Weak<Wire>,
    task: Task,
    since: Instant,
}

/// One per shard, so its lock is never waited for. It has one because a response body may end on another shard.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    health: Arc<OriginHealth>,
}

impl Pool {
    pub(super) fn new(health: Arc<OriginHealth>) -> Self {
        Self {
            idle: Mutex::default(),
            health,
        }
    }

    /// The connection used last, if it lives and is young enough for a request that cannot be repeated.
    pub(super) fn take(self: &Arc<Self>, repeatable: bool, now: Instant) -> Option<Lease> {
        let age_max = if repeatable {
            IDLE_AGE_MAX
        } else {
            IDLE_AGE_UNSAFE_MAX
        };
        loop {
            let Idle {
                sender, wire, task, ..
            } = {
                let mut idle = self.lock();
                let youngest = idle.last()?;
                if now.saturating_duration_since(youngest.since) > age_max {
                    return None;
                }
                idle.pop()?
            };
            let alive = sender
                .is_ready()
                .then(|| wire.upgrade())
                .flatten()
                .filter(|wire| wire.is_idle_and_alive());
            if let Some(wire) = alive {
                count(&self.health.counters.connections_reused);
                return Some(Lease {
                    sender,
                    wire,
                    reused: true,
                    task,
                    home: Arc::downgrade(self),
                });
            }
            count(&self.health.counters.connections_retired);
        }
    }

    fn put(&self, lease: Lease, now: Instant) {
        let Lease {
            sender, wire, task, ..
        } = lease;
        if sender.is_closed() {
            return;
        }
        let wire = Arc::downgrade(&wire);
        let mut idle = self.lock();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
            count(&self.health.counters.connections_retired);
        }
        idle.push(Idle {
            sender,
            wire,
            task,
            since: now,
        });
    }

    /// Closes what grew old. Called about once a second.
    pub(super) fn retire(&self, now: Instant) {
        self.lock().retain(|idle| {
            let keep = !idle.sender.is_closed()
                && now.saturating_duration_since(idle.since) <= IDLE_AGE_MAX;
            if !keep {
                count(&self.health.counters.connections_retired);
            }
            keep
        });
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
