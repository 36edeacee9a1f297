//! How many requests the origin may have at once.
//!
//! An origin with W workers answers W requests at once at its usual pace; whatever is beyond waits inside it, unseen, and every
//! latency grows by the same factor: with N > W in flight, latency is N/W times the baseline (Little's law). So latency over
//! baseline, measured while the limit is used up, says whether the origin is over its capacity, and by how much, whatever mix of
//! cheap and dear pages is running: *ratio* = sum of latencies ÷ sum of their shapes' baselines, *capacity* = in flight ÷ ratio.
//!
//! Over its capacity all workers are at work, and what they get done says the same without waiting for the dear requests to
//! end: baseline milliseconds finished per millisecond. The smaller of the two is believed.
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
use super::cost::Ease;

/// Where an origin nobody has measured starts: PHP hosting for small sites gives 4 to 10 workers.
pub(super) const LEVEL_START: usize = 4;

/// With one place, whatever is in it is all there is: nothing at a higher level is ever seen, and one slow answer closes the origin
/// for everybody. An origin that cannot work on two requests at once has no readers.
const LEVEL_MIN: usize = 2;

/// The factor of one step up; the reason is above.
const STEP: f64 = 1.4;

/// Between 1 (at ease) and [`STEP`] (one step over). A level whose ratio is clearly below this is at ease.
const EASE_RATIO_MAX: f64 = 1.15;

/// In a level already proven, this ratio is worth a cut.
const HELD_RATIO_MAX: f64 = 1.10;

/// Below this the baselines are too high: the origin became faster, or the pages of a shape cheaper.
const FASTER_RATIO: f64 = 0.85;

/// Of the measured capacity, held. The measurement is off by a few hundredths, and service times that vary fill W places
/// now and then well before the mean reaches W.
const HEADROOM: f64 = 0.86;

/// A level is a whole number; rounding down would cost an origin of four workers a quarter of them.
const ROUND_UP: f64 = 0.6;

/// Of the measured capacity, tried by a probe: from a held level [`STEP`] would end where the answer is in doubt.
const PROBE: f64 = 1.35;

/// Two measurements of capacity this far apart, as a factor, are of the same capacity.
const SAME_CAPACITY: f64 = 1.3;

/// A measurement with a standard error above this is repeated soon.
const UNCERTAIN: f64 = 0.06;

/// Standard errors a verdict must be away from its threshold. Two while climbing, where a mistake costs one probe; three while
/// holding, where thousands of windows a day each have a chance to be wrong.
const SURE: f64 = 2.0;
const VERY_SURE: f64 = 3.0;

/// A window is judged from this many samples on...
const SAMPLES_MIN: u32 = 8;
/// ...and this age: scheduling on a busy machine delays a whole batch of responses at once.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// What fills the limit now and then in calm must not add up to a verdict over minutes.
const WINDOW_MAX: Duration = Duration::from_secs(5);
/// When it is clear that the origin is over its capacity, half of that will do.
const WINDOW_OVER_MIN: Duration = Duration::from_millis(50);
/// While climbing, a level still in doubt after this many samples is left upwards.
const DOUBT_SAMPLES_MAX: u32 = 32;
/// While holding, a window without a verdict starts over after this many samples and this time: what it saw must be recent.
const HOLD_SAMPLES: u32 = 96;
const HOLD_WINDOW: Duration = Duration::from_millis(500);
/// Samples after which the question put by a cut is answered by the nearer answer.
const VERIFY_SAMPLES_MAX: u32 = 96;
/// A baseline learned anew is wrong for long, so it must be the mean of this many: with the usual spread, off by 6 %.
const RELEARN_SAMPLES_MIN: u32 = 64;
/// Samples of shapes without a baseline after which we lower the level to learn it, and after which we look whether we have.
const CALIBRATE_SAMPLES: u32 = 16;

/// An uncertain measurement may have been chance, and a level too low would be held long: it is repeated once, soon.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed probe in multiples of what it took.
const PAUSE_PER_PROBE: u32 = 40;
/// An attacker who finds pages we know nothing of must not keep us at the low level.
const CALIBRATE_PAUSE: Duration = Duration::from_secs(10);
/// At two in flight and 50 ms a page, enough for three shapes; a flood has one or two.
const CALIBRATE_MAX: Duration = Duration::from_millis(1_500);

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
    /// Cut: does latency follow? If not, back to `resume`.
    Verify {
        before: Before,
        resume: usize,
        climbing: bool,
        pause: Duration,
    },
    /// Lowered to learn baselines.
    Calibrate { resume: usize, until: Micros },
}

/// How it was before a cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Before {
    ratio: f64,
    concurrency: f64,
    /// Measured at a level that was itself the answer to a change, so that nothing older is mixed in.
    steady: bool,
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
    /// Measured when it was last exceeded.
    capacity: Option<f64>,
    /// After the next probe that measures the same capacity.
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
            capacity: None,
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

    /// With this many in flight, is the origin at ease as far as anybody knows?
    pub(super) fn ease(&self, concurrency: usize) -> Ease {
        if concurrency <= (self.trusted / 2).max(1) {
            Ease::Light
        } else if matches!(self.phase, Phase::Hold { .. }) && concurrency <= self.trusted {
            Ease::Held
        } else {
            Ease::Busy
        }
    }

    pub(super) fn set_ceiling(&mut self, ceiling: usize) {
        let was_at_ceiling = self.level == self.ceiling;
        self.ceiling = ceiling.max(1);
        self.trusted = self.trusted.min(self.ceiling);
        if self.level > self.ceiling || was_at_ceiling {
            self.set_level(self.level);
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
            self.capacity = None;
            self.phase = Phase::Hold {
                until: now.plus(OVERLOAD_PAUSE),
            };
        }
    }

    pub(super) fn observe(&mut self, now: Micros, sample: Sample) -> Lesson {
        if now.since(self.seen.opened) > WINDOW_MAX && !matches!(self.phase, Phase::Verify { .. }) {
            self.seen = Window::default();
        }
        self.seen.count(now, sample.baseline_ms);
        if sample.window != self.window || !sample.full {
            return Lesson::Nothing;
        }
        self.seen.add(now, sample);
        let age = now.since(self.seen.since);
        if self.seen.answers() < SAMPLES_MIN || age < WINDOW_OVER_MIN {
            return Lesson::Nothing;
        }
        match self.phase {
            Phase::Climb => self.climb(now),
            Phase::Hold { until } => self.hold(now, until),
            Phase::Verify {
                before,
                resume,
                climbing,
                pause,
            } => self.verify(now, before, resume, climbing, pause),
            Phase::Calibrate { resume, until } => {
                self.calibrating(now, resume, until);
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
        if ratio.is_above(EASE_RATIO_MAX, SURE) && self.seen.is_pressed() {
            return self.cut(now, ratio);
        }
        let at_ease = ratio.is_below(EASE_RATIO_MAX, SURE);
        let in_doubt = !at_ease && self.seen.samples < DOUBT_SAMPLES_MAX;
        if in_doubt || now.since(self.seen.opened) < WINDOW_MIN + self.seen.usual_latency() * 3 / 2
        {
            return Lesson::Nothing;
        }
        if at_ease {
            self.trusted = self.trusted.max(self.level);
        }
        let faster = ratio.is_below(FASTER_RATIO, SURE);
        if faster && self.seen.samples < RELEARN_SAMPLES_MIN {
            return Lesson::Nothing;
        }
        let lesson = self.relearn_if(faster);
        if self.seen.pressed == 0 {
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
        if ratio.is_above(HELD_RATIO_MAX, VERY_SURE) && self.seen.is_pressed() {
            return self.cut(now, ratio);
        }
        if now >= until && self.seen.is_pressed() && self.level < self.ceiling {
            self.set_level(self.probe());
            self.phase = Phase::Climb;
            return Lesson::Nothing;
        }
        if self.seen.samples >= HOLD_SAMPLES && now.since(self.seen.since) >= HOLD_WINDOW {
            let lesson = self.relearn_if(ratio.is_below(FASTER_RATIO, SURE));
            self.seen = Window::default();
            return lesson;
        }
        Lesson::Nothing
    }

    /// Over capacity, or slower: go to where the origin would be at ease if it is the former, and see.
    fn cut(&mut self, now: Micros, ratio: Ratio) -> Lesson {
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
        let climbing = self.phase == Phase::Climb;
        let resume = if climbing {
            self.trusted.min(self.level)
        } else {
            self.level
        };
        let before = Before {
            ratio: ratio.value,
            concurrency: self.seen.concurrency(),
            steady: false,
        };
        let (target, pause) = self.measure(now, ratio);
        // A held level was left because something changed; the window saw both sides of the change and measured neither well.
        let pause = if climbing { pause } else { PAUSE_FIRST };
        self.set_level(target.min(self.level - 1));
        self.phase = Phase::Verify {
            before,
            resume,
            climbing,
            pause,
        };
        Lesson::Nothing
    }

    /// Did latency follow the cut? A window that saw the change itself is a mixture of before and after, and its ratio says too little: a
    /// pace that seems to have changed after such a window is believed only after a second cut, between two steady levels.
    fn verify(
        &mut self,
        now: Micros,
        before: Before,
        resume: usize,
        climbing: bool,
        pause: Duration,
    ) -> Lesson {
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        let concurrency = self.seen.concurrency();
        let had_queued = (before.ratio * concurrency / before.concurrency).max(1.0);
        let between = (had_queued * before.ratio).sqrt();
        let answered = self.seen.samples >= VERIFY_SAMPLES_MAX;
        if ratio.is_below(between, SURE) || answered && ratio.value <= between {
            let still_over = ratio.value > EASE_RATIO_MAX;
            let target = if still_over {
                self.measure(now, ratio).0
            } else {
                self.level
            };
            self.set_level(target.min(self.level));
            self.trusted = self.level;
            self.phase = Phase::Hold {
                until: now.plus(pause),
            };
            return Lesson::Nothing;
        }
        if !(answered || ratio.is_above(between, SURE)) {
            return Lesson::Nothing;
        }
        if !before.steady && self.level > 1 {
            let before = Before {
                ratio: ratio.value,
                concurrency,
                steady: true,
            };
            let (target, pause) = self.measure(now, ratio);
            self.set_level(target.clamp(self.level / 2, self.level - 1));
            self.phase = Phase::Verify {
                before,
                resume,
                climbing,
                pause,
            };
            return Lesson::Nothing;
        }
        if self.seen.samples < RELEARN_SAMPLES_MIN {
            return Lesson::Nothing;
        }
        let lesson = Lesson::Relearn {
            window: self.window,
        };
        self.set_level(resume);
        self.phase = if climbing {
            Phase::Climb
        } else {
            Phase::Hold {
                until: now.plus(PAUSE_MIN),
            }
        };
        lesson
    }

    /// The level to hold and the pause before the next probe, by a window over capacity.
    fn measure(&mut self, now: Micros, ratio: Ratio) -> (usize, Duration) {
        let capacity = self
            .seen
            .throughput(now)
            .unwrap_or(f64::MAX)
            .min(self.seen.concurrency() / ratio.value);
        let error = ratio.error / ratio.value;
        let same = self.capacity.is_some_and(|before| {
            before < capacity * SAME_CAPACITY && capacity < before * SAME_CAPACITY
        });
        self.pause = match (same, error > UNCERTAIN) {
            (true, _) => (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX),
            (false, true) => PAUSE_FIRST,
            (false, false) => PAUSE_MIN,
        };
        self.capacity = Some(capacity);
        let certain = (1.0 - error).clamp(0.5, 1.0);
        let target = (capacity * HEADROOM * certain + ROUND_UP) as usize;
        let probe = now.since(self.seen.opened);
        (
            target.max(1),
            self.pause.max(probe * PAUSE_PER_PROBE).min(PAUSE_MAX),
        )
    }

    fn calibrate(&mut self, now: Micros) {
        if now < self.calibrate_after || self.level <= 1 {
            self.seen = Window::default();
            return;
        }
        self.calibrate_after = now.plus(CALIBRATE_PAUSE);
        let resume = self.level.min(self.trusted);
        self.set_level((self.trusted / 2).clamp(1, self.level));
        self.phase = Phase::Calibrate {
            resume,
            until: now.plus(CALIBRATE_MAX),
        };
    }

    /// Ends when most of what finishes has a baseline.
    fn calibrating(&mut self, now: Micros, resume: usize, until: Micros) {
        if self.seen.answers() < CALIBRATE_SAMPLES {
            return;
        }
        if self.seen.samples > self.seen.unknown || now >= until {
            self.set_level(resume);
            self.phase = Phase::Climb;
        } else {
            self.seen = Window::default();
        }
    }

    fn lacks_baselines(&self) -> bool {
        self.seen.unknown >= CALIBRATE_SAMPLES && self.seen.unknown > self.seen.samples
    }

    fn relearn_if(&self, pace_changed: bool) -> Lesson {
        if pace_changed {
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

    fn probe(&self) -> usize {
        let clear = (self.capacity.unwrap_or(0.0) * PROBE).ceil() as usize;
        clear.max(self.one_step_up()).min(self.ceiling)
    }

    fn set_level(&mut self, level: usize) {
        self.level = level.clamp(LEVEL_MIN.min(self.ceiling), self.ceiling);
        self.window = self.window.wrapping_add(1);
        self.seen = Window::default();
    }
}

/// Sums over the samples of one level.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// When the first request of any level ended in it, and what those after that one ended in it had as baselines.
    opened: Micros,
    ended: u32,
    ended_unknown: u32,
    ended_baseline_ms: f64,
    /// When the first of its own requests ended.
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
    fn count(&mut self, now: Micros, baseline_ms: Option<f64>) {
        if self.opened == Micros::default() {
            self.opened = now;
            return;
        }
        self.ended += 1;
        match baseline_ms {
            Some(baseline_ms) => self.ended_baseline_ms += baseline_ms,
            None => self.ended_unknown += 1,
        }
    }

    /// Workers at work, by what they got done: baseline milliseconds per millisecond. For an origin with all workers at work this
    /// is its capacity, and unlike a mean of latencies it is not misled by dear requests that have not ended yet. `None` when
    /// slots may have been idle or too many ended that we know nothing of.
    fn throughput(&self, now: Micros) -> Option<f64> {
        let elapsed_ms = now.since(self.opened).as_secs_f64() * 1000.0;
        let known = self.ended_unknown * 5 <= self.ended;
        (self.is_pressed() && known && self.ended >= SAMPLES_MIN && elapsed_ms > 0.0)
            .then(|| self.ended_baseline_ms / elapsed_ms)
    }

    fn usual_latency(&self) -> Duration {
        Duration::from_secs_f64(self.baseline_ms / f64::from(self.samples.max(1)) / 1000.0)
    }

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

    /// Others waited for a slot most of the time. Without that a cut would help nobody: what the origin has, is what was asked for.
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
