//! The one place that reads the wall clock.
//!
//! HTTP dates and ages need wall time in seconds; reading it for every request costs a system call's worth of time for a
//! value that changes once a second. Durations and deadlines use `tokio::time::Instant`, which tests pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time as milliseconds since 1970, an argument everywhere below this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    pub fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Zero when `earlier` is later: wall clocks step back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
