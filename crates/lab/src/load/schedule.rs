//! When requests are due, whatever the server does.
//!
//! A generator that waits for answers before it sends more slows down exactly when the server does, and so hides what it was
//! built to show. Here the moments are drawn from the seed beforehand; a request that cannot be sent on time is sent late, and
//! its latency counts from when it was due.

use std::time::Duration;

use crate::chance::Chance;
use crate::scenario::Arrivals;

/// While nothing is due, the rate is looked at again this often.
const PAUSE: Duration = Duration::from_millis(10);

/// Moments from `next` to `end`, at a rate that may change with time.
pub(crate) struct Schedule<R> {
    /// Requests a second at a moment.
    rate: R,
    arrivals: Arrivals,
    burst: u32,
    chance: Chance,
    next: Duration,
    /// How many more are due at `next`.
    together: u32,
    end: Duration,
}

impl<R: Fn(Duration) -> f64> Schedule<R> {
    /// `end` is not part of it.
    pub(crate) fn new(
        rate: R,
        arrivals: Arrivals,
        burst: u32,
        start: Duration,
        end: Duration,
        chance: Chance,
    ) -> Self {
        let mut schedule = Self {
            rate,
            arrivals,
            burst: burst.max(1),
            chance,
            next: start,
            together: 0,
            end,
        };
        schedule.advance();
        schedule
    }

    /// When the next request is due.
    pub(crate) fn peek(&self) -> Option<Duration> {
        (self.next < self.end).then_some(self.next)
    }

    /// The next request that is due by `now`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Duration> {
        let due = self.peek().filter(|due| *due <= now)?;
        self.together -= 1;
        if self.together == 0 {
            self.advance();
        }
        Some(due)
    }

    /// How many are still due; none after this.
    pub(crate) fn left(&mut self) -> u64 {
        std::iter::from_fn(|| self.pop(self.end)).count() as u64
    }

    fn advance(&mut self) {
        self.together = self.burst;
        while self.next < self.end {
            let rate = (self.rate)(self.next) / f64::from(self.burst);
            if rate <= 0.0 {
                self.next += PAUSE;
                continue;
            }
            let gap = match self.arrivals {
                Arrivals::Even => 1.0 / rate,
                // `1 - unit` keeps the logarithm away from 0.
                Arrivals::Poisson => -(1.0 - self.chance.unit()).ln() / rate,
            };
            // A rate that falls to nothing must not leave one request due after the end of time.
            self.next += Duration::from_secs_f64(gap.min(3_600.0));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(
        arrivals: Arrivals,
        rate: impl Fn(Duration) -> f64,
        burst: u32,
        seconds: u64,
        seed: u64,
    ) -> Vec<Duration> {
        let end = Duration::from_secs(seconds);
        let mut schedule = Schedule::new(
            rate,
            arrivals,
            burst,
            Duration::ZERO,
            end,
            Chance::new(seed),
        );
        std::iter::from_fn(|| schedule.pop(end)).collect()
    }

    #[test]
    fn as_many_are_due_as_the_rate_says() {
        for (arrivals, rate, burst, tolerance) in [
            (Arrivals::Even, 1_000.0, 1, 0.001),
            (Arrivals::Even, 1_000.0, 50, 0.003),
            (Arrivals::Poisson, 1_000.0, 1, 0.03),
        ] {
            let count = due(arrivals, |_| rate, burst, 20, 1).len() as f64;
            assert!(
                (count / 20_000.0 - 1.0).abs() <= tolerance,
                "{arrivals:?} by {burst}: {count}"
            );
        }
    }

    #[test]
    fn poisson_arrivals_are_as_uneven_as_readers_are() {
        // Counts in tenths of a second have a variance equal to their mean; even arrivals have none.
        let mut counts = [0u32; 200];
        for moment in due(Arrivals::Poisson, |_| 400.0, 1, 20, 7) {
            counts[(moment.as_millis() / 100) as usize] += 1;
        }
        let mean = f64::from(counts.iter().sum::<u32>()) / 200.0;
        let variance = counts
            .iter()
            .map(|&count| (f64::from(count) - mean).powi(2))
            .sum::<f64>()
            / 199.0;
        assert!(
            (0.7..1.4).contains(&(variance / mean)),
            "mean {mean}, variance {variance}"
        );
    }

    #[test]
    fn the_rate_may_change_and_stop() {
        let rate = |at: Duration| match at.as_secs() {
            0..5 => 100.0,
            5..8 => 0.0,
            _ => 1_000.0,
        };
        let moments = due(Arrivals::Even, rate, 1, 10, 1);
        let between = |from, to| {
            moments
                .iter()
                .filter(|moment| (from..to).contains(&moment.as_secs()))
                .count()
        };
        assert!((498..=501).contains(&between(0, 5)), "{}", between(0, 5));
        assert!(between(5, 8) <= 1);
        assert!(
            (1_990..=2_001).contains(&between(8, 10)),
            "{}",
            between(8, 10)
        );
    }

    #[test]
    fn nothing_is_due_early_and_lateness_moves_nothing() {
        let end = Duration::from_secs(1);
        let mut schedule = Schedule::new(
            |_| 10.0,
            Arrivals::Even,
            1,
            Duration::ZERO,
            end,
            Chance::new(1),
        );
        assert_eq!(schedule.pop(Duration::from_millis(99)), None);
        // Looked at late: both are due, each at its own moment.
        assert_eq!(
            schedule.pop(Duration::from_millis(250)),
            Some(Duration::from_millis(100))
        );
        assert_eq!(
            schedule.pop(Duration::from_millis(250)),
            Some(Duration::from_millis(200))
        );
        assert_eq!(schedule.pop(Duration::from_millis(250)), None);
    }

    #[test]
    fn one_seed_one_schedule() {
        let moments = |seed| due(Arrivals::Poisson, |_| 100.0, 1, 2, seed);
        assert_eq!(moments(3), moments(3));
        assert_ne!(moments(3), moments(4));
    }
}
