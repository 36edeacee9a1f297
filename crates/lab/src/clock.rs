//! The one place where the lab reads a clock.
//!
//! Edge, origin, readers and attackers are processes of one machine, and a latency counts from a moment that another process may
//! have chosen: so time here is the kernel's monotonic clock, whose zero all of them share, and not an `Instant`, which means
//! nothing outside of its process.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Since boot. Comparable between processes.
pub fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

/// Milliseconds since 1970, for people and for books that are put beside others'.
pub fn unix_ms() -> u64 {
    duration(clock_gettime(ClockId::Realtime)).as_millis() as u64
}

fn duration(time: Timespec) -> Duration {
    Duration::new(
        time.tv_sec.max(0) as u64,
        time.tv_nsec.clamp(0, 999_999_999) as u32,
    )
}
