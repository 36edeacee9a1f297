//! Bytes that many may hold together.
//!
//! A bound on each of ten thousand connections is no bound on memory: what one client may hold times all clients is more than any
//! machine has. So what clients can make us hold is counted in one sum for each kind, and past it everybody gets less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A hundred and twenty-eight full-size comments or articles at the same moment; what comes beyond is not taken in but streamed, and
/// streams are few.
pub const UPLOADS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A thousand pages of 256 KB that slow clients have not read; beyond, origins wait for their clients.
pub const RELAYED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// HTTP/2 connections and what their open streams hold: some 25,000 requests at once, where admission lets a few hundred wait.
pub const HTTP2_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A quarter of it: a carrier or an office behind one address, and room for three more when that one is an attacker.
pub const HTTP2_BYTES_PER_ADDRESS_MAX: u64 = HTTP2_BYTES_MAX / 4;
/// Eighty pages being compressed with zstd, or three times as many with gzip, for readers who take them slowly; who comes beyond gets the
/// page as it is.
pub const CODERS_BYTES_MAX: u64 = 128 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicU64,
    bytes_max: u64,
}

/// One holder's part, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            bytes_max,
        })
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.bytes_max
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        Held {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    /// `None`: so much is not left.
    pub(crate) fn try_hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let bytes = bytes as u64;
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes)
                    .filter(|held| *held <= self.bytes_max)
            })
            .ok()?;
        Some(Held {
            budget: Arc::clone(self),
            bytes,
        })
    }

    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Held {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.budget.held.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sub(&mut self, bytes: usize) {
        self.bytes -= bytes as u64;
        self.budget.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_given_back() {
        let budget = Budget::new(10);
        let mut first = budget.hold();
        let mut second = budget.hold();
        first.add(6);
        assert!(!budget.is_spent());
        second.add(4);
        assert!(first.is_spent());
        second.sub(1);
        assert!(!budget.is_spent());
        assert!(budget.try_hold(2).is_none());
        let third = budget.try_hold(1);
        assert!(third.is_some() && budget.is_spent());
        drop((first, second, third));
        assert_eq!(budget.held(), 0);
    }
}
