//! What a kind of page costs the origin, learned from what it took.
//!
//! Two numbers a shape. Its *cost* is the origin-milliseconds a request holds a slot for: what fairness is counted in, and how
//! long an abandoned request goes on working. Its *baseline* is how long it takes when the origin is at ease: what a latency is
//! compared with to see whether requests queue inside the origin.
//!
//! Both are means, because capacity is a sum: concurrency = rate × mean latency, whatever the distribution (Little's law).
//! Outliers are clipped so that one stuck request does not become the mean.

use saqta_detect::shape::Shape;

/// Kinds of page a large newsroom serves, several times over; 64 bytes each.
const SHAPES_MAX: usize = SETS * WAYS;
const SETS: usize = 128;
const WAYS: usize = 4;

/// Before anything is learned: a WordPress page without a cache takes 50 to 300 ms.
const COST_UNKNOWN_MS: f64 = 100.0;

/// Nothing holds a slot for less: a free page would never advance the virtual clock of its queue.
const COST_MIN_MS: f64 = 0.1;

/// Longer than any response timeout in use; a clock that jumped must not become a cost.
const LATENCY_MAX_MS: f64 = 120_000.0;

/// The mean of the first samples, then an EWMA with this weight.
const COST_MEMORY: f64 = 16.0;
/// For the mean over all shapes.
const MEAN_MEMORY: f64 = 64.0;
const BASELINE_MEMORY: f64 = 256.0;

/// Between identical answers there is still this much spread, as a part of their mean.
pub(super) const DEVIATION_MIN: f64 = 0.05;

/// Until a baseline is the mean of this many, samples taken near the capacity make it better; then they would make it follow what it is
/// there to show.
const YOUNG_SAMPLES: u32 = 64;

/// A baseline is not used before. A mean of four with the usual spread of page times (deviation half the mean) is off by a quarter, and
/// whoever uses it is told of how many it is.
const BASELINE_SAMPLES_MIN: u32 = 4;

/// How far above the mean one sample may count.
const CLIP: f64 = 8.0;

/// How often a shape must have been seen for a newcomer to have to wear it down.
const SEEN_MAX: u32 = 4_096;

#[derive(Debug, Clone, Default)]
struct Entry {
    shape: u64,
    /// 0: the slot is free.
    seen: u32,
    cost_ms: f64,
    baseline_ms: f64,
    /// Mean of squares of what the samples of the baseline were off by.
    baseline_variance: f64,
    baseline_samples: u32,
    /// Sums and count of the samples of one window of the limit, for [`Costs::relearn`].
    window: u32,
    window_samples: u32,
    window_ms: f64,
    window_squares: f64,
}

#[derive(Debug)]
pub(super) struct Costs {
    entries: Vec<Entry>,
    /// Over all shapes: what a shape never seen is taken to cost.
    mean_ms: f64,
    samples: u32,
}

/// Mean latency with the origin at ease.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Baseline {
    pub(super) ms: f64,
    /// Standard error.
    pub(super) error_ms: f64,
    /// It is the mean of this many, counted up to [`BASELINE_MEMORY`].
    pub(super) samples: u32,
}

/// How the origin was when a request ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ease {
    /// Far below its capacity: this is what a baseline is.
    Light,
    /// Near its capacity and, by what we know, not over it. Good for making a young baseline exact; later it must not count, or a
    /// capacity that sinks slowly would pass for a page that became slow.
    Held,
    Busy,
}

/// What a finished request says about its shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learned {
    pub(super) latency_ms: f64,
    pub(super) ease: Ease,
    /// The window of the limit it belongs to.
    pub(super) window: u32,
}

impl Baseline {
    /// Of as many samples as said, at most those remembered. Few samples that agree are not certainty.
    pub(super) fn of(ms: f64, variance: f64, samples: u32) -> Self {
        let samples = samples.clamp(1, BASELINE_MEMORY as u32);
        let deviation_ms = variance.sqrt().max(ms * DEVIATION_MIN);
        Self {
            ms,
            error_ms: deviation_ms / f64::from(samples).sqrt(),
            samples,
        }
    }
}

impl Costs {
    pub(super) fn new() -> Self {
        Self {
            entries: vec![Entry::default(); SHAPES_MAX],
            mean_ms: COST_UNKNOWN_MS,
            samples: 0,
        }
    }

    /// Origin-milliseconds one request of this shape is expected to hold a slot.
    pub(super) fn cost_ms(&self, shape: Shape) -> f64 {
        self.find(shape).map_or(self.mean_ms, |entry| entry.cost_ms)
    }

    /// `None` until enough was seen of this shape.
    pub(super) fn baseline(&self, shape: Shape) -> Option<Baseline> {
        self.find(shape)
            .filter(|entry| entry.baseline_samples >= BASELINE_SAMPLES_MIN)
            .map(|entry| {
                Baseline::of(
                    entry.baseline_ms,
                    entry.baseline_variance,
                    entry.baseline_samples,
                )
            })
    }

    pub(super) fn learn(&mut self, shape: Shape, learned: Learned) {
        let latency_ms = learned.latency_ms.clamp(COST_MIN_MS, LATENCY_MAX_MS);
        self.samples = self.samples.saturating_add(1);
        self.mean_ms = mean(self.mean_ms, self.samples, latency_ms, MEAN_MEMORY, CLIP);
        let Some(entry) = self.entry(shape) else {
            return;
        };
        entry.seen = (entry.seen + 1).min(SEEN_MAX);
        entry.cost_ms =
            mean(entry.cost_ms, entry.seen, latency_ms, COST_MEMORY, CLIP).max(COST_MIN_MS);
        let young = entry.baseline_samples < YOUNG_SAMPLES;
        if learned.ease == Ease::Light || learned.ease == Ease::Held && young {
            entry.baseline_samples = entry.baseline_samples.saturating_add(1);
            let off_ms = latency_ms.min(entry.baseline_ms * CLIP) - entry.baseline_ms;
            entry.baseline_variance = match entry.baseline_samples {
                1 => 0.0,
                count => mean(
                    entry.baseline_variance,
                    count - 1,
                    off_ms * off_ms,
                    BASELINE_MEMORY,
                    f64::MAX,
                ),
            };
            entry.baseline_ms = mean(
                entry.baseline_ms,
                entry.baseline_samples,
                latency_ms,
                BASELINE_MEMORY,
                CLIP,
            );
        }
        if entry.window != learned.window {
            entry.window = learned.window;
            entry.window_samples = 0;
            entry.window_ms = 0.0;
            entry.window_squares = 0.0;
        }
        entry.window_samples += 1;
        entry.window_ms += latency_ms;
        entry.window_squares += latency_ms * latency_ms;
    }

    /// The origin's pace changed while its queue did not: what the shapes of this window took is their baseline now.
    pub(super) fn relearn(&mut self, window: u32) {
        for entry in &mut self.entries {
            if entry.seen > 0 && entry.window == window && entry.window_samples > 0 {
                let count = f64::from(entry.window_samples);
                entry.baseline_ms = entry.window_ms / count;
                entry.baseline_variance =
                    (entry.window_squares / count - entry.baseline_ms * entry.baseline_ms).max(0.0);
                entry.baseline_samples = entry.window_samples.min(BASELINE_MEMORY as u32);
            }
        }
    }

    fn find(&self, shape: Shape) -> Option<&Entry> {
        let first = set_of(shape);
        self.entries[first..first + WAYS]
            .iter()
            .find(|entry| entry.seen > 0 && entry.shape == shape.bits())
    }

    /// The slot of this shape. A newcomer takes a free slot or wears the least-seen shape of its set down by one, so that a
    /// parade of invented shapes needs as many requests as the shape it displaces had.
    fn entry(&mut self, shape: Shape) -> Option<&mut Entry> {
        let first = set_of(shape);
        let set = &mut self.entries[first..first + WAYS];
        let place = match set
            .iter()
            .position(|entry| entry.seen > 0 && entry.shape == shape.bits())
        {
            Some(held) => held,
            None => {
                let weakest = (0..WAYS).min_by_key(|index| set[*index].seen)?;
                if set[weakest].seen > 1 {
                    set[weakest].seen -= 1;
                    return None;
                }
                set[weakest] = Entry {
                    shape: shape.bits(),
                    ..Entry::default()
                };
                weakest
            }
        };
        set.get_mut(place)
    }
}

fn set_of(shape: Shape) -> usize {
    let mixed = shape.bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed as usize % SETS) * WAYS
}

/// `sample` joins a mean of `count` samples, itself included.
fn mean(old: f64, count: u32, sample: f64, memory: f64, clip: f64) -> f64 {
    if count <= 1 {
        return sample;
    }
    let clipped = sample.min(old * clip);
    old + (clipped - old) / f64::from(count).min(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light(latency_ms: f64) -> Learned {
        Learned {
            latency_ms,
            ease: Ease::Light,
            window: 1,
        }
    }

    fn busy(latency_ms: f64, window: u32) -> Learned {
        Learned {
            latency_ms,
            ease: Ease::Busy,
            window,
        }
    }

    #[test]
    fn a_baseline_needs_samples_taken_at_ease() {
        let mut costs = Costs::new();
        let shape = Shape::of(b"/search?q=1");
        assert_eq!(costs.cost_ms(shape), COST_UNKNOWN_MS);
        for _ in 0..100 {
            costs.learn(shape, busy(300.0, 1));
        }
        assert_eq!(
            (costs.cost_ms(shape).round(), costs.baseline(shape)),
            (300.0, None)
        );
        for _ in 0..BASELINE_SAMPLES_MIN {
            costs.learn(shape, light(50.0));
        }
        let baseline = costs.baseline(shape).unwrap();
        assert_eq!(
            (baseline.ms, baseline.samples),
            (50.0, BASELINE_SAMPLES_MIN)
        );
    }

    #[test]
    fn one_stuck_request_is_not_the_mean() {
        let mut costs = Costs::new();
        let shape = Shape::of(b"/news/x");
        for _ in 0..200 {
            costs.learn(shape, light(50.0));
        }
        costs.learn(shape, light(60_000.0));
        let baseline_ms = costs.baseline(shape).unwrap().ms;
        assert!(baseline_ms < 60.0, "{baseline_ms}");
        // What is unknown is taken to cost what is usual here.
        assert!((40.0..80.0).contains(&costs.cost_ms(Shape::of(b"/other/x/y"))));
    }

    #[test]
    fn relearning_takes_the_window_named() {
        let mut costs = Costs::new();
        let [slower, absent] = [Shape::of(b"/news/x"), Shape::of(b"/?s=1")];
        for _ in 0..40 {
            costs.learn(slower, light(50.0));
            costs.learn(absent, light(80.0));
        }
        for _ in 0..20 {
            costs.learn(slower, busy(150.0, 7));
        }
        costs.relearn(7);
        let baseline_ms = |shape| costs.baseline(shape).unwrap().ms;
        assert_eq!((baseline_ms(slower), baseline_ms(absent)), (150.0, 80.0));
    }

    #[test]
    fn invented_shapes_do_not_displace_a_busy_one() {
        let mut costs = Costs::new();
        let busy_shape = Shape::of(b"/news/x");
        for _ in 0..1_000 {
            costs.learn(busy_shape, light(50.0));
        }
        for bits in 0..50_000 {
            costs.learn(Shape::from_bits(bits << 20 | 7), light(1.0));
        }
        assert_eq!(costs.baseline(busy_shape).unwrap().ms, 50.0);
        assert_eq!(costs.entries.len(), SHAPES_MAX);
    }
}
