//! How many requests the origin may have at once.
//!
//! An origin with W workers answers W requests at once at its usual pace; whatever is beyond waits inside it, unseen, and every
//! latency grows by the same factor: with N > W in flight, latency is N/W times the baseline (Little's law). So latency over
//! baseline, measured while the limit is used up, says whether the origin is over its capacity, and by how much, whatever mix of
//! cheap and dear pages is running: *ratio* = sum of latencies ÷ sum of their shapes' baselines, *capacity* = in flight ÷ ratio.
//!
//! One cannot learn W without exceeding it, and exceeding it is the harm we are here to prevent. The choices follow from that:
//!
//! - Steps up are large (two fifths). A queue of 40 % shows within a dozen samples, one of 5 % needs a thousand: the small step spends
//!   far longer over capacity before it is noticed.
//! - Doubt goes up, not down. A level that is neither clearly at ease nor clearly over is left upwards, where the answer is
//!   clear, and the answer gives the capacity directly: no search.
//! - The level then held lies a little below the capacity measured, and lower the less certain the measurement was.
//! - Probing again is rare: first after ten seconds, then ever rarer up to a minute, and never so often that the time over
//!   capacity becomes more than a few hundredths.
//!
//! Latency also grows when the origin became slower, with nothing queued: a nightly import, a cold database. Cutting the limit
//! does not help then, and strangling a slow origin would be an attack of our own. So each cut asks a question: did latency follow?
//! If it did, capacity was exceeded. If not, the pace changed: the baselines are learned anew and the level is restored.
//!
//! Shapes without a baseline say nothing. When they are most of the traffic (first start under attack; a flood of a page nobody asks
//! for in calm), the level is lowered for a moment to where the origin is surely at ease, to learn their baseline.
//!
//! Only requests that started with the limit used up count, after the limit in force was reached; those started under the level
//! before carry its queue. Time is an argument.

use std::time::Duration;

use super::Micros;

/// Where an origin nobody has measured starts: PHP hosting for small sites gives 4 to 10 workers.
pub(super) const LEVEL_START: usize = 4;

/// The factor of one step up; the reason is above.
const STEP: f64 = 1.4;

/// Between 1 (at ease) and [`STEP`] (one step over). A level whose ratio is clearly below this is at ease.
const EASE_RATIO_MAX: f64 = 1.15;

/// In a level already proven, this ratio is worth a cut.
const HELD_RATIO_MAX: f64 = 1.10;

/// Below this the baselines are too high: the origin became faster, or the pages of a shape cheaper.
const FASTER_RATIO: f64 = 0.85;

/// Of the measured capacity, held.
const HEADROOM: f64 = 0.95;

/// Standard errors a verdict must be away from its threshold. Two while climbing, where a mistake costs one probe; three while
/// holding, where thousands of windows a day each have a chance to be wrong.
const SURE: f64 = 2.0;
const VERY_SURE: f64 = 3.0;

/// A window is judged from this many samples on...
const SAMPLES_MIN: u32 = 8;
/// ...and this age: scheduling on a busy machine delays a whole batch of responses at once.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// While climbing, a level still in doubt after this many samples is left upwards.
const DOUBT_SAMPLES_MAX: u32 = 48;
/// While holding, a window without a verdict starts over after this many samples and this time: what it saw must be recent.
const HOLD_SAMPLES: u32 = 96;
const HOLD_WINDOW: Duration = Duration::from_millis(500);
/// Samples after which the question put by a cut is answered by the nearer answer.
const VERIFY_SAMPLES_MAX: u32 = 96;
/// Samples of shapes without a baseline after which we lower the level to learn it, and samples learned from then.
const CALIBRATE_SAMPLES: u32 = 24;

const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed probe in multiples of what it took.
const PAUSE_PER_PROBE: u32 = 40;
/// An attacker who finds pages we know nothing of must not keep us at the low level.
const CALIBRATE_PAUSE: Duration = Duration::from_secs(10);

/// Overload answers (503, timeout, no connection) in one window that lower the level, and their least share.
const OVERLOADS_MIN: u32 = 3;
const OVERLOADS_SHARE: f64 = 0.2;
const OVERLOAD_CUT: f64 = 0.7;
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Errors alone cut no further: a page that answers 503 to everybody would otherwise close the origin for all.
const OVERLOAD_LEVEL_MIN: usize = 2;

/// No latency counts for more than this many times its baseline.
const CLIP: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Each window at ease raises the level.
    Climb,
    /// A proven level. A probe may start after `until`.
    Hold { until: Micros },
    /// Cut from `concurrency` at `ratio`: does latency follow?
    Verify {
        ratio: f64,
        concurrency: f64,
        resume: usize,
    },
    /// Lowered to learn baselines.
    Calibrate { resume: usize },
}

/// One finished request, as the limit sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// [`Limit::window`] when it started.
    pub(super) window: u32,
    /// The limit was used up when it started.
    pub(super) full: bool,
    /// Somebody waits for a slot now.
    pub(super) pressed: bool,
    /// In flight when it started, itself included.
    pub(super) concurrency: usize,
    pub(super) latency_ms: f64,
    pub(super) baseline_ms: Option<f64>,
}

/// What the other tables must do after a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    Nothing,
    /// The origin's pace changed: baselines are what this window saw.
    Relearn {
        window: u32,
    },
}

#[derive(Debug)]
pub(super) struct Limit {
    level: usize,
    ceiling: usize,
    /// The highest level proven to be at ease.
    trusted: usize,
    phase: Phase,
    window: u32,
    seen: Window,
    pause: Duration,
    calibrate_after: Micros,
}

impl Limit {
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let level = LEVEL_START.min(ceiling);
        Self {
            level,
            ceiling,
            trusted: level,
            phase: Phase::Climb,
            window: 1,
            seen: Window::default(),
            pause: PAUSE_MIN,
            calibrate_after: Micros(0),
        }
    }

    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// Changes with every change of the level. Requests carry it so that a level is judged by its own requests.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// With this many in flight the origin is at ease, as far as anybody knows.
    pub(super) fn is_light(&self, concurrency: usize) -> bool {
        concurrency <= (self.trusted / 2).max(1)
            || matches!(self.phase, Phase::Calibrate { .. }) && concurrency <= self.level
    }

    pub(super) fn set_ceiling(&mut self, ceiling: usize) {
        self.ceiling = ceiling.max(1);
        self.trusted = self.trusted.min(self.ceiling);
        if self.level > self.ceiling {
            self.set_level(self.ceiling);
            self.phase = Phase::Climb;
        }
    }

    /// A request was answered by an overloaded origin or not at all.
    pub(super) fn overloaded(&mut self, now: Micros, window: u32) {
        if window != self.window {
            return;
        }
        self.seen.overloads += 1;
        let answers = f64::from(self.seen.overloads + self.seen.samples + self.seen.unknown);
        let many = self.seen.overloads >= OVERLOADS_MIN
            && f64::from(self.seen.overloads) >= answers * OVERLOADS_SHARE;
        if many && self.level > OVERLOAD_LEVEL_MIN {
            self.set_level(((self.level as f64 * OVERLOAD_CUT) as usize).max(OVERLOAD_LEVEL_MIN));
            self.trusted = self.trusted.min(self.level);
            self.pause = PAUSE_MIN;
            self.phase = Phase::Hold {
                until: now.plus(OVERLOAD_PAUSE),
            };
        }
    }

    pub(super) fn observe(&mut self, now: Micros, sample: Sample) -> Lesson {
        if sample.window != self.window || !sample.full {
            return Lesson::Nothing;
        }
        self.seen.add(now, sample);
        if self.seen.answers() < SAMPLES_MIN || now.since(self.seen.since) < WINDOW_MIN {
            return Lesson::Nothing;
        }
        match self.phase {
            Phase::Climb => self.climb(now),
            Phase::Hold { until } => self.hold(now, until),
            Phase::Verify {
                ratio,
                concurrency,
                resume,
            } => self.verify(now, ratio, concurrency, resume),
            Phase::Calibrate { resume } => {
                if self.seen.answers() >= CALIBRATE_SAMPLES {
                    self.set_level(resume);
                    self.phase = Phase::Climb;
                }
                Lesson::Nothing
            }
        }
    }

    fn climb(&mut self, now: Micros) -> Lesson {
        if self.lacks_baselines() {
            self.calibrate(now);
            return Lesson::Nothing;
        }
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        if ratio.is_above(EASE_RATIO_MAX, SURE) {
            return self.cut(now, ratio);
        }
        let at_ease = ratio.is_below(EASE_RATIO_MAX, SURE);
        if !at_ease && self.seen.samples < DOUBT_SAMPLES_MAX {
            return Lesson::Nothing;
        }
        if at_ease {
            if self.level > self.trusted {
                self.pause = PAUSE_MIN;
            }
            self.trusted = self.trusted.max(self.level);
        }
        let lesson = self.faster(ratio);
        if !self.seen.is_pressed() {
            self.seen = Window::default();
        } else if self.level < self.ceiling {
            self.set_level(self.one_step_up());
        } else if at_ease {
            self.seen = Window::default();
            self.phase = Phase::Hold {
                until: now.plus(self.pause),
            };
        } else {
            // Nowhere to go up to: in doubt at the ceiling, more samples decide.
            self.seen.forget_half();
        }
        lesson
    }

    fn hold(&mut self, now: Micros, until: Micros) -> Lesson {
        if self.lacks_baselines() {
            self.calibrate(now);
            return Lesson::Nothing;
        }
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        if ratio.is_above(HELD_RATIO_MAX, VERY_SURE) {
            self.pause = PAUSE_MIN;
            return self.cut(now, ratio);
        }
        if now >= until && self.seen.is_pressed() && self.level < self.ceiling {
            self.set_level(self.one_step_up());
            self.phase = Phase::Climb;
            return Lesson::Nothing;
        }
        if self.seen.samples >= HOLD_SAMPLES && now.since(self.seen.since) >= HOLD_WINDOW {
            let lesson = self.faster(ratio);
            self.seen = Window::default();
            return lesson;
        }
        Lesson::Nothing
    }

    /// Over capacity, or slower: go to where the origin would be at ease if it is the former, and see.
    fn cut(&mut self, now: Micros, ratio: Ratio) -> Lesson {
        let probe = now.since(self.seen.since);
        let concurrency = self.seen.concurrency();
        let capacity = concurrency / ratio.value;
        let certain = (1.0 - ratio.error / ratio.value).clamp(0.5, 1.0);
        let target = (capacity * HEADROOM * certain).round() as usize;
        self.pause = (self.pause * 2)
            .max(probe * PAUSE_PER_PROBE)
            .clamp(PAUSE_MIN, PAUSE_MAX);
        let resume = if self.phase == Phase::Climb {
            self.trusted.min(self.level)
        } else {
            self.level
        };
        if self.level == 1 {
            // One at a time and still slow: nothing of ours queues there.
            let lesson = Lesson::Relearn {
                window: self.window,
            };
            self.set_level(1);
            self.phase = Phase::Hold {
                until: now.plus(PAUSE_MIN),
            };
            return lesson;
        }
        self.set_level(target.clamp(1, self.level - 1));
        self.phase = Phase::Verify {
            ratio: ratio.value,
            concurrency,
            resume,
        };
        Lesson::Nothing
    }

    fn verify(
        &mut self,
        now: Micros,
        ratio_before: f64,
        concurrency_before: f64,
        resume: usize,
    ) -> Lesson {
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        let had_queued = (ratio_before * self.seen.concurrency() / concurrency_before).max(1.0);
        let between = (had_queued * ratio_before).sqrt();
        let answered = self.seen.samples >= VERIFY_SAMPLES_MAX;
        if ratio.is_above(between, SURE) || answered && ratio.value > between {
            let lesson = Lesson::Relearn {
                window: self.window,
            };
            self.set_level(resume);
            self.phase = Phase::Hold {
                until: now.plus(PAUSE_MIN),
            };
            lesson
        } else if ratio.is_below(between, SURE) || answered {
            self.trusted = self.level;
            self.seen = Window::default();
            self.phase = Phase::Hold {
                until: now.plus(self.pause),
            };
            Lesson::Nothing
        } else {
            Lesson::Nothing
        }
    }

    fn calibrate(&mut self, now: Micros) {
        if now < self.calibrate_after || self.level <= 1 {
            self.seen = Window::default();
            return;
        }
        self.calibrate_after = now.plus(CALIBRATE_PAUSE);
        let resume = self.level.min(self.trusted);
        self.set_level((self.trusted / 2).clamp(1, self.level));
        self.phase = Phase::Calibrate { resume };
    }

    fn lacks_baselines(&self) -> bool {
        self.seen.unknown >= CALIBRATE_SAMPLES && self.seen.unknown > self.seen.samples
    }

    fn faster(&self, ratio: Ratio) -> Lesson {
        if ratio.is_below(FASTER_RATIO, SURE) {
            Lesson::Relearn {
                window: self.window,
            }
        } else {
            Lesson::Nothing
        }
    }

    fn one_step_up(&self) -> usize {
        ((self.level as f64 * STEP).ceil() as usize)
            .clamp(self.level + 1, self.ceiling.max(self.level + 1))
    }

    fn set_level(&mut self, level: usize) {
        self.level = level.clamp(1, self.ceiling);
        self.window = self.window.wrapping_add(1);
        self.seen = Window::default();
    }
}

/// Sums over the samples of one level.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Micros,
    /// With a baseline.
    samples: u32,
    /// Without.
    unknown: u32,
    pressed: u32,
    overloads: u32,
    concurrency: f64,
    latency_ms: f64,
    baseline_ms: f64,
    // Sums of products, for the error of the ratio.
    latency_latency: f64,
    latency_baseline: f64,
    baseline_baseline: f64,
}

#[derive(Debug, Clone, Copy)]
struct Ratio {
    value: f64,
    /// Standard error.
    error: f64,
}

impl Ratio {
    fn is_above(self, threshold: f64, errors: f64) -> bool {
        self.value - errors * self.error > threshold
    }

    fn is_below(self, threshold: f64, errors: f64) -> bool {
        self.value + errors * self.error < threshold
    }
}

/// Between identical responses there is still this much spread, of the ratio: a few equal samples are not certainty.
const SPREAD_MIN: f64 = 0.05;

impl Window {
    fn add(&mut self, now: Micros, sample: Sample) {
        if self.answers() == 0 {
            self.since = now;
        }
        self.pressed += u32::from(sample.pressed);
        self.concurrency += sample.concurrency as f64;
        let Some(baseline_ms) = sample.baseline_ms else {
            self.unknown += 1;
            return;
        };
        let latency_ms = sample.latency_ms.min(baseline_ms * CLIP);
        self.samples += 1;
        self.latency_ms += latency_ms;
        self.baseline_ms += baseline_ms;
        self.latency_latency += latency_ms * latency_ms;
        self.latency_baseline += latency_ms * baseline_ms;
        self.baseline_baseline += baseline_ms * baseline_ms;
    }

    fn answers(&self) -> u32 {
        self.samples + self.unknown
    }

    fn is_pressed(&self) -> bool {
        self.pressed * 2 >= self.answers()
    }

    fn concurrency(&self) -> f64 {
        self.concurrency / f64::from(self.answers().max(1))
    }

    /// `None` until there are enough samples with a baseline.
    fn ratio(&self) -> Option<Ratio> {
        if self.samples < SAMPLES_MIN || self.baseline_ms <= 0.0 {
            return None;
        }
        let value = self.latency_ms / self.baseline_ms;
        let squares = self.latency_latency - 2.0 * value * self.latency_baseline
            + value * value * self.baseline_baseline;
        let n = f64::from(self.samples);
        let spread = (squares.max(0.0) * n / (n - 1.0)).sqrt() / self.baseline_ms;
        Some(Ratio {
            value,
            error: spread.max(SPREAD_MIN * value / n.sqrt()),
        })
    }

    fn forget_half(&mut self) {
        self.samples /= 2;
        self.unknown /= 2;
        self.pressed /= 2;
        self.overloads /= 2;
        for sum in [
            &mut self.concurrency,
            &mut self.latency_ms,
            &mut self.baseline_ms,
            &mut self.latency_latency,
            &mut self.latency_baseline,
            &mut self.baseline_baseline,
        ] {
            *sum /= 2.0;
        }
    }
}
