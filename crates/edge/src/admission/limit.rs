//! How many requests the origin may have at once.
//!
//! An origin with W workers answers W requests at once at its usual pace; whatever is beyond waits inside it, unseen, and every
//! latency grows by the same factor: with N > W in flight, latency is N/W times the baseline (Little's law). So latency over
//! baseline, of requests that started with N in flight, says whether the origin is over its capacity, and by how much, whatever mix of
//! cheap and dear pages is running: *ratio* = sum of latencies ÷ sum of their shapes' baselines, *capacity* = in flight ÷ ratio.
//!
//! One cannot learn W without exceeding it, and exceeding it is the harm we are here to prevent. But until somebody has exceeded it, a
//! low limit is a harm of our own, done to readers in peace. The choices follow from both:
//!
//! - While nobody knows the capacity, each round of answers that does not forbid it doubles the level. A calm site has what it
//!   needs within two rounds; under a flood the level goes from at most all workers to at most twice as many, where a dozen answers are
//!   enough to tell.
//! - Until then nobody is turned away: there is no verdict without knowledge ([`Limit::is_learning`]).
//! - What started above goes on ending after the cut, and goes on counting: the answers that are already paid for make the
//!   measurement three times as good as the one that decided.
//! - The level then held lies a little below the capacity measured, and lower the less certain the measurement was.
//! - Looking again is short: up to twice the capacity for as long as one page takes, back down, and only then are the answers
//!   read. So it costs the same whatever they say. Above them lies more: the next look starts there.
//! - Looking again is rare: after two measurements that agree, half a minute, then a minute; sooner after one that was uncertain
//!   or that said capacity was lost.
//!
//! Latency also grows when the origin became slower, with nothing queued: a nightly import, a cold database. Cutting the limit
//! does not help then, and strangling a slow origin would be an attack of our own. So each cut asks a question: did latency follow?
//! If it did, capacity was exceeded. If not, the pace changed: the baselines are learned anew and the level is restored. One kind of page
//! may hold quick pages and slow ones, so this happens on a calm site too, and until the question is answered nobody is turned away for it
//! ([`Limit::promised`]). Latency over baseline that is more than what is in flight is never a queue alone, since even one worker would have
//! been through sooner: what is wrong there are the baselines, however many samples they are the mean of.
//!
//! Baselines are means of few samples at first, and their error is counted in. A capacity that was measured against such is corrected at
//! once: at half of it the origin is at ease, what it takes there is the baseline, and what the old one was off by is what the
//! measurement was off by. Shapes without any are compared, together, with what they took one level below.
//!
//! Only requests that started above the level before, under the level in force, count; those started earlier carry its queue. Time is an
//! argument.

use std::time::Duration;

use super::Micros;
use super::cost::{Baseline, DEVIATION_MIN, Ease};

/// Where an origin nobody has measured starts: PHP hosting for small sites gives 4 to 10 workers, and a site whose pages take a second
/// cannot wait for many doublings. Origins of four are over capacity for as long as two pages take.
pub(super) const LEVEL_START: usize = 8;

/// With one place, whatever is in it is all there is: nothing at a higher level is ever seen, and one slow answer closes the origin
/// for everybody. An origin that cannot work on two requests at once has no readers.
const LEVEL_MIN: usize = 2;

/// The factor of one step up while nobody knows the capacity: a level twice over it shows within the answers of one round, and the level
/// before was at least half of it.
const STEP: f64 = 2.0;

/// Between 1 (at ease) and half of [`LOOK`] (surely over, on average of those that started above). A level whose ratio is clearly below this is at ease.
const EASE_RATIO_MAX: f64 = 1.15;

/// While climbing, a level that may be over by this much is given a whole round of answers before it is left upwards.
const DOUBT_RATIO: f64 = 1.25;
/// If a round takes no longer: readers who wait for pages of a second have no time for our doubts.
const DOUBT_MAX: Duration = Duration::from_millis(300);

/// What a slow origin's answers are over their baselines when no doubt about these explains it.
const FAR_RATIO: f64 = 3.0;

/// In a level already proven, this ratio is worth a cut.
const HELD_RATIO_MAX: f64 = 1.10;

/// Below this the baselines are too high: the origin became faster, or the pages of a shape cheaper.
const FASTER_RATIO: f64 = 0.85;

/// Of the measured capacity, held. The measurement is off by a few hundredths, and service times that vary fill W places
/// now and then well before the mean reaches W.
const HEADROOM: f64 = 0.84;

/// An error of this much is what [`HEADROOM`] is for; of what is beyond, a level lies so many times lower.
const ERROR_ALLOWED: f64 = 0.03;
const ERRORS_BELOW: f64 = 1.5;

/// A level is a whole number; rounding down would cost an origin of four workers a quarter of them.
const ROUND_UP: f64 = 0.5;

/// Of the measured capacity, tried by a look: of little more, what was measured and what would be at ease differ too little.
const LOOK: f64 = 2.0;

/// Two measurements of capacity this far apart, as a factor, are of the same capacity.
const SAME_CAPACITY: f64 = 1.3;

/// A measurement with a standard error above this is repeated soon.
const UNCERTAIN: f64 = 0.06;

/// What takes less is no harm to anybody, and what varies below it is our own scheduling rather than the origin's queue. Counts as this
/// much, baseline and latency alike.
const HARMLESS_MS: f64 = 5.0;

/// Slot time after which it is forgotten who held the slots: of eight, a quarter of a second. A quick answer hardly counts in it.
const HELD_MEMORY_MS: f64 = 2_000.0;

/// Standard errors a verdict must be away from its threshold. Two where a level was just raised and a mistake costs one look; three
/// where one is held, and thousands of windows a day each have a chance to be wrong.
const SURE: f64 = 2.0;
const VERY_SURE: f64 = 3.0;

/// A window is judged from this many samples on...
const SAMPLES_MIN: u32 = 8;
/// ...and this age: scheduling on a busy machine delays a whole batch of responses at once.
const WINDOW_MIN: Duration = Duration::from_millis(50);
/// At this age half of them are enough: an origin so slow answers a handful a second, and each is seconds of readers waiting inside it.
const WINDOW_LONG: Duration = Duration::from_secs(1);
/// What fills the limit now and then in calm must not add up to a verdict over minutes...
const WINDOW_MAX: Duration = Duration::from_secs(5);
/// ...but where an answer takes seconds, a window is as long as so many of them take: fewer never come together in it.
const WINDOW_LATENCIES: f64 = 3.0;
/// A step up needs no proof, only that a round of answers has come and does not forbid it: so many, and half as many as the level.
const ROUND_SAMPLES_MIN: u32 = 4;
/// After a look from above, what started there has ended within this many usual latencies: twice its share of the queue.
const RECALL: u32 = 3;
/// While holding, a window without a verdict starts over after this many samples and this time: what it saw must be recent.
const HOLD_SAMPLES: u32 = 96;
const HOLD_WINDOW: Duration = Duration::from_millis(500);
/// Samples after which the question put by a cut is answered by the nearer answer.
const VERIFY_SAMPLES_MAX: u32 = 96;
/// A baseline learned anew is wrong for long, so it must be the mean of this many: with the usual spread, off by 6 %.
const RELEARN_SAMPLES_MIN: u32 = 64;
/// Of answers that hardly differ fewer are as good: a burst of readers is over before 64 of a slow page have come. A climb needs neither, it
/// makes its baselines exact as it goes and carries their error until then.
const RELEARN_ERROR_MAX: f64 = 0.06;
/// Rounds of answers, at the level of a cut, that may say whether latency followed: where two places are left, eight answers are four pages
/// one after the other, and who waits for the fifth has left.
const QUESTION_ROUNDS: u32 = 2;
/// Answers of pages nobody knows that are enough for the first step: there is nothing to judge them by, and readers wait.
const STRANGERS_MIN: u32 = 2;
/// Pages of different shapes vary by this much around their common mean.
const STRANGERS_DEVIATION: f64 = 0.5;
/// Samples of shapes without a baseline after which a level not proven is left to learn it.
const UNKNOWN_SAMPLES_MAX: u32 = 16;

/// A capacity measured against baselines of fewer samples than this is corrected when they are better known.
const SETTLED_SAMPLES: f64 = 64.0;
const SETTLE_SAMPLES: u32 = 96;
/// Of the capacity as corrected: a level above this may not have been at ease.
const SETTLED_PART: f64 = 0.75;
/// At two in flight and 50 ms a page, [`SETTLE_SAMPLES`].
const SETTLE_MAX: Duration = Duration::from_millis(1_200);

/// An uncertain measurement may have been chance, and a level too low would be held long: it is repeated once, soon. So is one that
/// says the origin lost capacity: what was lost may come back.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// Two measurements that agree.
const PAUSE_AGREED: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// And never sooner than after this many times what the look took: time over capacity is a few hundredths at most.
const PAUSE_PER_LOOK: u32 = 40;

/// Overload answers (503, timeout, no connection) in one window that lower the level, and their least share.
const OVERLOADS_MIN: u32 = 3;
const OVERLOADS_SHARE: f64 = 0.2;
const OVERLOAD_CUT: f64 = 0.7;
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Errors alone cut no further: a page that answers 503 to everybody would otherwise close the origin for all.
const OVERLOAD_LEVEL_MIN: usize = 2;

/// No latency counts for more than this many times its baseline, except where a question is asked: there, all that is cut off would look
/// alike, whether it followed or not.
const CLIP: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Each round of answers that does not forbid it raises the level.
    Climb,
    /// A proven level. A look from above may be taken after `until`.
    Hold { until: Micros },
    /// Above what was measured last, for as long as a page takes.
    Look { usual: Duration },
    /// Back from there. What started above has ended by `until` and tells.
    Recall { until: Micros },
    /// Cut: does latency follow? If not, back to `resume`.
    Verify {
        before: Before,
        resume: usize,
        climbing: bool,
    },
    /// At half of a capacity measured against baselines of few samples, to learn these well and correct it.
    Settle {
        until: Micros,
        correction: f64,
        before: Before,
        resume: usize,
    },
}

/// Requests the origin works on at once.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Capacity {
    workers: f64,
    /// Standard error, as a part of it.
    error: f64,
}

impl Capacity {
    fn is_about(self, other: Self) -> bool {
        self.workers < other.workers * SAME_CAPACITY && other.workers < self.workers * SAME_CAPACITY
    }

    /// Both measured the same thing.
    fn joined(self, other: Self) -> Self {
        let (mine, others) = (self.error.powi(-2), other.error.powi(-2));
        Self {
            workers: (self.workers * mine + other.workers * others) / (mine + others),
            error: (mine + others).sqrt().recip(),
        }
    }

    /// What may be held.
    fn level(self) -> usize {
        let certain = (1.0 - ERRORS_BELOW * (self.error - ERROR_ALLOWED)).clamp(0.5, 1.0);
        ((self.workers * HEADROOM * certain + ROUND_UP) as usize).max(1)
    }
}

/// How it was before a cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Before {
    ratio: Ratio,
    concurrency: f64,
    /// Measured at a level that was itself the answer to a change, so that nothing older is mixed in.
    steady: bool,
    /// More than all that was in flight: not a queue alone.
    unexplained: bool,
}

impl Before {
    /// Half way, as a factor, from what the ratio is if it followed to so many in flight, to what it is if it did not.
    fn between(self, concurrency: f64) -> f64 {
        let had_queued = (self.ratio.value * concurrency / self.concurrency).max(1.0);
        (had_queued * self.ratio.value).sqrt()
    }

    /// Latency did not follow to so many in flight, surely: a window of quick pages and slow ones says little by its mean.
    fn stays(self, ratio: Ratio, concurrency: f64) -> bool {
        let between = self.between(concurrency);
        let error = between * self.ratio.error / self.ratio.value;
        ratio.value - SURE * ratio.error.hypot(error) > between
    }
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
    pub(super) baseline: Option<Baseline>,
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
    /// When this level was set, and the level it was raised from: a request that started above that is evidence while climbing.
    set_at: Micros,
    raised_from: usize,
    seen: Window,
    /// The window that was over capacity: what started in it goes on ending, and counting.
    above: Above,
    /// What shapes without a baseline took at the level this climb came from.
    strangers: Option<Baseline>,
    held: Held,
    /// Measured when it was last exceeded.
    capacity: Option<Capacity>,
    /// The origin has been over its capacity at least once.
    exceeded: bool,
    /// Capacity was lost and may come back.
    lost: bool,
    /// After the last look.
    pause: Duration,
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
            set_at: Micros(0),
            raised_from: 0,
            seen: Window::default(),
            above: Above::default(),
            strangers: None,
            held: Held::default(),
            capacity: None,
            exceeded: false,
            lost: false,
            pause: PAUSE_FIRST,
        }
    }

    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// Nobody knows yet how much the origin can do: only that it has not been too much so far.
    pub(super) fn is_learning(&self) -> bool {
        !self.exceeded && self.level < self.ceiling
    }

    /// What those who wait may count on. A cut that a queue alone does not explain is a question, and as long as it has no answer nobody is
    /// turned away because of it.
    pub(super) fn promised(&self) -> usize {
        match self.phase {
            Phase::Verify { resume, .. } => self.level.max(resume),
            Phase::Settle { before, resume, .. } if before.unexplained => self.level.max(resume),
            _ => self.level,
        }
    }

    /// Changes with every change of the level. Requests carry it so that a level is judged by its own requests.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// With this many in flight, is the origin at ease as far as anybody knows?
    pub(super) fn ease(&self, concurrency: usize) -> Ease {
        match self.phase {
            Phase::Hold { .. } | Phase::Climb if concurrency <= (self.trusted / 2).max(1) => {
                Ease::Light
            }
            Phase::Hold { .. } | Phase::Climb if concurrency <= self.trusted => Ease::Held,
            // What latencies are compared with stays as it is until a question is answered.
            _ => Ease::Busy,
        }
    }

    pub(super) fn set_ceiling(&mut self, now: Micros, ceiling: usize) {
        let was_at_ceiling = self.level == self.ceiling;
        self.ceiling = ceiling.max(1);
        self.trusted = self.trusted.min(self.ceiling);
        if self.level > self.ceiling || was_at_ceiling {
            self.set_level(now, self.level);
            self.phase = Phase::Climb;
        }
    }

    /// A request was answered by an overloaded origin or not at all.
    pub(super) fn overloaded(&mut self, now: Micros, window: u32) {
        if window != self.window {
            return;
        }
        self.seen.overloads += 1;
        let answers = f64::from(self.seen.overloads + self.seen.samples() + self.seen.unknown);
        let many = self.seen.overloads >= OVERLOADS_MIN
            && f64::from(self.seen.overloads) >= answers * OVERLOADS_SHARE;
        if many && self.level > OVERLOAD_LEVEL_MIN {
            let level = ((self.level as f64 * OVERLOAD_CUT) as usize).max(OVERLOAD_LEVEL_MIN);
            self.set_level(now, level);
            self.trusted = self.trusted.min(self.level);
            self.capacity = None;
            self.exceeded = true;
            self.phase = Phase::Hold {
                until: now.plus(OVERLOAD_PAUSE),
            };
        }
    }

    pub(super) fn observe(&mut self, now: Micros, sample: Sample) -> Lesson {
        let asking = !matches!(self.phase, Phase::Climb | Phase::Hold { .. });
        if now.since(self.seen.opened) > self.seen.age_max() && !asking {
            self.seen = Window::default();
        }
        // Of a level many quick answers have ended before the first slow one: they must not be compared with what the slow ones took.
        let stranger = self.strangers.filter(|_| sample.latency_ms >= HARMLESS_MS);
        let baseline = sample.baseline.or(stranger);
        if let Some(baseline) = baseline {
            self.held.add(sample.latency_ms, baseline);
        }
        let hears_quick = self.held.mostly_quick();
        self.seen.hears_quick = hears_quick;
        self.above.seen.hears_quick = hears_quick;
        self.seen.count(now, sample.latency_ms, baseline);
        if sample.window == self.above.window && sample.concurrency > self.above.raised_from {
            self.above.seen.add(now, sample, baseline);
        }
        let raised = matches!(self.phase, Phase::Climb | Phase::Look { .. })
            && sample.concurrency > self.raised_from;
        let own = sample.window == self.window && (sample.full || raised);
        if own {
            self.seen.add(now, sample, baseline);
        }
        // While something is asked, whatever ends shows what time it is.
        if !own && !asking {
            return Lesson::Nothing;
        }
        match self.phase {
            Phase::Climb => self.climb(now),
            Phase::Hold { until } => self.hold(now, until),
            Phase::Look { usual } => {
                self.look(now, usual);
                Lesson::Nothing
            }
            Phase::Recall { until } => {
                self.recall(now, until);
                Lesson::Nothing
            }
            Phase::Verify {
                before,
                resume,
                climbing,
            } => self.verify(now, before, resume, climbing),
            Phase::Settle {
                until,
                correction,
                before,
                resume,
            } => self.settle(now, until, correction, before, resume),
        }
    }

    fn climb(&mut self, now: Micros) -> Lesson {
        if self.seen.is_mostly_unknown() {
            self.climb_unknown(now);
            return Lesson::Nothing;
        }
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        let round = self.seen.usual_latency() + WINDOW_MIN;
        // A level just raised is suspect. One that has been there for long is judged again and again, and chance has as many chances.
        let just_raised = now.since(self.set_at) < round * 4;
        let sure = if just_raised { SURE } else { VERY_SURE };
        let far_above = self.seen.is_long(now) && ratio.is_far_above();
        if (ratio.is_above(EASE_RATIO_MAX, sure) || far_above) && self.seen.is_pressed() {
            if self.seen.is_ripe(now) {
                return self.cut(now, ratio);
            }
            return Lesson::Nothing;
        }
        if self.seen.samples() >= HOLD_SAMPLES
            && ratio.value > DOUBT_RATIO
            && self.seen.is_pressed()
        {
            // More answers would not help: the doubt is about the baselines, and below is where they are learned.
            return self.cut(now, ratio);
        }
        let at_ease = self.seen.samples() >= SAMPLES_MIN && ratio.is_below(EASE_RATIO_MAX, SURE);
        let rounds = if round > DOUBT_MAX {
            u32::from(ratio.value > DOUBT_RATIO)
        } else if ratio.value > EASE_RATIO_MAX {
            2
        } else {
            u32::from(ratio.value + ratio.error > DOUBT_RATIO)
        };
        let in_doubt = self.seen.samples() < rounds * self.level as u32;
        if in_doubt || !self.has_round() || now.since(self.set_at) < round {
            return Lesson::Nothing;
        }
        if at_ease {
            let proven = self.seen.concurrency().round() as usize;
            self.trusted = self.trusted.max(proven.min(self.level));
        }
        let faster = ratio.is_below(FASTER_RATIO, SURE);
        if faster && self.seen.samples() < RELEARN_SAMPLES_MIN {
            return Lesson::Nothing;
        }
        let lesson = self.relearn_if(faster);
        if self.seen.pressed == 0 {
            self.seen = Window::default();
        } else if self.level < self.ceiling {
            self.step_up(now);
        } else if at_ease {
            self.seen = Window::default();
            self.phase = Phase::Hold {
                until: now.plus(PAUSE_MIN),
            };
        } else {
            // Nowhere to go up to: in doubt at the ceiling, more samples decide.
            self.seen.forget_half();
        }
        lesson
    }

    /// Most of what finishes has no baseline. A proven level is where one is learned, and a round of answers there is something to
    /// compare the next level with; any other level is left for the proven one.
    fn climb_unknown(&mut self, now: Micros) {
        if self.level <= self.trusted {
            let few = self.seen.answers() >= STRANGERS_MIN;
            if few && self.seen.pressed > 0 && self.level < self.ceiling {
                self.step_up(now);
            }
        } else if self.seen.unknown >= UNKNOWN_SAMPLES_MAX {
            self.set_level(now, self.trusted);
            self.phase = Phase::Hold { until: now };
        }
    }

    fn hold(&mut self, now: Micros, until: Micros) -> Lesson {
        if !self.seen.is_ripe(now) {
            return Lesson::Nothing;
        }
        if self.seen.is_mostly_unknown() {
            // A proven level: their baseline is being learned.
            self.seen = Window::default();
            return Lesson::Nothing;
        }
        let Some(ratio) = self.seen.ratio() else {
            return Lesson::Nothing;
        };
        let far_above = self.seen.is_long(now) && ratio.is_far_above();
        if (ratio.is_above(HELD_RATIO_MAX, VERY_SURE) || far_above) && self.seen.is_pressed() {
            return self.cut(now, ratio);
        }
        if now >= until && self.seen.is_pressed() && self.level < self.ceiling {
            let usual = self.seen.usual_latency();
            self.step_up(now);
            self.phase = match self.capacity {
                Some(capacity) => {
                    self.raised_from = self.raised_from.max(capacity.workers as usize);
                    Phase::Look { usual }
                }
                None => Phase::Climb,
            };
            return Lesson::Nothing;
        }
        if self.seen.samples() >= HOLD_SAMPLES && now.since(self.seen.since) >= HOLD_WINDOW {
            let lesson = self.relearn_if(ratio.is_below(FASTER_RATIO, SURE));
            self.seen = Window::default();
            return lesson;
        }
        Lesson::Nothing
    }

    fn look(&mut self, now: Micros, usual: Duration) {
        if now.since(self.set_at) < usual {
            return;
        }
        self.above = self.as_above(now);
        self.set_level(now, self.trusted);
        self.phase = Phase::Recall {
            until: now.plus(usual * RECALL),
        };
    }

    /// What was measured before says what to expect, so the nearer answer is believed.
    fn recall(&mut self, now: Micros, until: Micros) {
        if now < until {
            return;
        }
        let Some(ratio) = self.above.seen.ratio() else {
            self.phase = Phase::Hold {
                until: now.plus(self.pause),
            };
            return;
        };
        if ratio.value > EASE_RATIO_MAX {
            let measured = self.above.seen.measured();
            let pause = self.believe(measured);
            let level = self.capacity.map_or(self.level, Capacity::level);
            self.set_level(now, level);
            self.trusted = self.level;
            self.phase = Phase::Hold {
                until: now.plus(pause),
            };
        } else {
            // At ease: it can do at least that, and what it can do is above.
            let concurrency = self.above.seen.concurrency();
            self.capacity = Some(Capacity {
                workers: concurrency,
                error: 1.0,
            });
            self.lost = false;
            self.set_level(now, (concurrency as usize).max(self.level));
            self.trusted = self.level;
            self.phase = Phase::Hold {
                until: now.plus(WINDOW_MIN),
            };
        }
    }

    fn as_above(&self, now: Micros) -> Above {
        Above {
            window: self.window,
            raised_from: self.raised_from,
            took: now.since(self.seen.opened.max(self.set_at)),
            seen: self.seen,
        }
    }

    /// Over capacity, or slower: go to where the origin would be at ease if it is the former, and see.
    fn cut(&mut self, now: Micros, ratio: Ratio) -> Lesson {
        if self.level <= LEVEL_MIN {
            // As few as can be and still slow: nothing of ours queues there.
            self.exceeded = true;
            let lesson = self.relearn_if(true);
            self.set_level(now, self.level);
            self.phase = Phase::Hold {
                until: now.plus(PAUSE_MIN),
            };
            return lesson;
        }
        let climbing = self.phase == Phase::Climb;
        let measured = self.seen.measured_early(now);
        self.above = self.as_above(now);
        let resume = if climbing {
            self.trusted.min(self.level)
        } else {
            self.level
        };
        let whole = self.seen.whole_ratio().unwrap_or(ratio);
        let before = Before {
            ratio: whole,
            concurrency: self.seen.concurrency(),
            steady: false,
            unexplained: whole.is_above(self.level as f64, SURE),
        };
        if climbing && (before.unexplained || self.seen.baseline_samples() < SETTLED_SAMPLES) {
            self.exceeded |= !before.unexplained;
            self.settle_below(now, measured, 1.0, before, resume);
            return Lesson::Nothing;
        }
        // A held level answered well a moment ago; if it is the pace that changed, half is bad enough.
        let least = if climbing { 1 } else { self.level / 2 };
        self.ask(
            now,
            measured.level().clamp(least, self.level - 1),
            Phase::Verify {
                before,
                resume,
                climbing,
            },
        );
        Lesson::Nothing
    }

    /// Goes to this level to see what latency does.
    fn ask(&mut self, now: Micros, level: usize, question: Phase) {
        self.set_level(now, level);
        self.phase = question;
    }

    /// How it was before the cut, with what has ended since: the first to end of a burst are those that had the fewest beside them.
    fn above_by_now(&self, before: Before) -> Before {
        match self.above.seen.whole_ratio() {
            Some(ratio) => Before {
                ratio,
                concurrency: self.above.seen.concurrency(),
                ..before
            },
            None => before,
        }
    }

    fn settle_below(
        &mut self,
        now: Micros,
        measured: Capacity,
        correction: f64,
        before: Before,
        resume: usize,
    ) {
        let strangers = self.strangers;
        self.ask(
            now,
            (measured.workers / 2.0).round() as usize,
            Phase::Settle {
                until: now.plus(SETTLE_MAX),
                correction,
                before,
                resume,
            },
        );
        self.strangers = strangers;
    }

    /// Half of the capacity measured is at ease, so what this window took is the baseline, and what the old one was off by is what the
    /// measurement was off by. If it was off by all there was, nothing was exceeded.
    fn settle(
        &mut self,
        now: Micros,
        until: Micros,
        correction: f64,
        before: Before,
        resume: usize,
    ) -> Lesson {
        let enough = self.seen.answers() >= SETTLE_SAMPLES;
        let few = now >= until && self.seen.answers() >= SAMPLES_MIN;
        let ended = enough || few;
        if !(ended || before.unexplained && self.has_question_rounds(now)) {
            return Lesson::Nothing;
        }
        let above = self.above_by_now(before);
        // In units of the baselines as they are now.
        let above = Before {
            ratio: above.ratio.over(correction),
            ..above
        };
        let whole = self.seen.whole_ratio();
        if whole.is_some_and(|ratio| above.stays(ratio, self.seen.concurrency())) {
            let lesson = self.relearn_if(true);
            self.set_level(now, resume);
            self.phase = Phase::Climb;
            return lesson;
        }
        if !ended {
            return Lesson::Nothing;
        }
        let off = whole.map_or(1.0, |ratio| ratio.value);
        let correction = correction * off;
        let lesson = self.relearn_if(true);
        let measured = self.above.seen.measured_against(correction);
        if self.level > LEVEL_MIN && self.level as f64 > measured.workers * SETTLED_PART {
            // It was not at ease even here.
            self.settle_below(now, measured, correction, before, resume);
            return lesson;
        }
        self.exceeded = true;
        let pause = self.believe(measured);
        self.set_level(now, measured.level());
        self.trusted = self.level;
        self.phase = Phase::Hold {
            until: now.plus(pause),
        };
        lesson
    }

    /// Did latency follow the cut? A window that saw the change itself is a mixture of before and after, and its ratio says too little: a
    /// pace that seems to have changed after such a window is believed only after a second cut, between two steady levels.
    fn verify(&mut self, now: Micros, before: Before, resume: usize, climbing: bool) -> Lesson {
        if !(self.seen.is_ripe(now) || self.has_question_rounds(now)) {
            return Lesson::Nothing;
        }
        let Some(ratio) = self.seen.whole_ratio() else {
            return Lesson::Nothing;
        };
        let before = if climbing && !before.steady {
            self.above_by_now(before)
        } else {
            before
        };
        let concurrency = self.seen.concurrency();
        let between = before.between(concurrency);
        let answered = self.seen.samples() >= VERIFY_SAMPLES_MAX;
        if ratio.is_below(between, SURE) || answered && ratio.value <= between {
            self.exceeded = true;
            let still_over = if climbing {
                ratio.is_above(HELD_RATIO_MAX, SURE)
            } else {
                ratio.value > EASE_RATIO_MAX
            };
            let measured = if still_over {
                // Still over: this is the better look, since nothing changed while it was taken.
                self.seen.measured_early(now)
            } else {
                self.above.seen.measured()
            };
            let pause = if climbing {
                self.believe(measured)
            } else {
                // Something changed; the window saw both sides of the change and measured neither well.
                self.capacity = Some(measured);
                self.lost = true;
                self.pause = PAUSE_FIRST;
                PAUSE_FIRST
            };
            let target = self.capacity.map_or(self.level, Capacity::level);
            // From a change, what is held is what has been seen to be at ease.
            let level = if climbing {
                target
            } else {
                target.min(self.level)
            };
            self.set_level(now, level);
            self.trusted = self.level;
            self.phase = Phase::Hold {
                until: now.plus(pause),
            };
            return Lesson::Nothing;
        }
        if !(answered || before.stays(ratio, concurrency)) {
            return Lesson::Nothing;
        }
        if !before.steady && self.level > LEVEL_MIN {
            let before = Before {
                ratio,
                concurrency,
                steady: true,
                ..before
            };
            let target = self.seen.measured_early(now).level();
            self.ask(
                now,
                target.clamp(self.level / 2, self.level - 1),
                Phase::Verify {
                    before,
                    resume,
                    climbing,
                },
            );
            return Lesson::Nothing;
        }
        let exact = self.seen.samples() >= RELEARN_SAMPLES_MIN
            || ratio.error <= ratio.value * RELEARN_ERROR_MAX;
        if !(climbing || exact) {
            return Lesson::Nothing;
        }
        let lesson = self.relearn_if(true);
        self.set_level(now, resume);
        self.lost = false;
        self.phase = if climbing {
            Phase::Climb
        } else {
            Phase::Hold {
                until: now.plus(PAUSE_MIN),
            }
        };
        lesson
    }

    /// Says for how long the next look can wait.
    fn believe(&mut self, measured: Capacity) -> Duration {
        match self.capacity {
            Some(before) if before.is_about(measured) => {
                self.capacity = Some(before.joined(measured));
                let longer = self.pause * 2;
                self.pause = if self.lost {
                    longer
                } else {
                    longer.max(PAUSE_AGREED)
                };
            }
            _ => {
                self.capacity = Some(measured);
                self.lost = false;
                self.pause = if measured.error > UNCERTAIN {
                    PAUSE_FIRST
                } else {
                    PAUSE_MIN
                };
            }
        }
        self.pause = self.pause.min(PAUSE_MAX);
        (self.above.took * PAUSE_PER_LOOK).clamp(self.pause, PAUSE_MAX)
    }

    /// Enough answers to say that nothing speaks against a step up.
    fn has_round(&self) -> bool {
        self.seen.answers() >= ROUND_SAMPLES_MIN.max(self.level as u32 / 2)
    }

    fn has_question_rounds(&self, now: Micros) -> bool {
        let rounds = self.level as u32 * QUESTION_ROUNDS;
        self.seen.samples() >= rounds.max(ROUND_SAMPLES_MIN)
            && now.since(self.seen.since) >= WINDOW_MIN
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

    fn step_up(&mut self, now: Micros) {
        let from = self.level;
        let strangers = self.strangers.or_else(|| self.seen.strangers());
        let to = match self.capacity {
            Some(capacity) => (capacity.workers * LOOK).ceil(),
            None => from as f64 * STEP,
        };
        self.set_level(now, (to as usize).max(from + 1));
        self.raised_from = from;
        self.strangers = strangers;
    }

    fn set_level(&mut self, now: Micros, level: usize) {
        self.level = level.clamp(LEVEL_MIN.min(self.ceiling), self.ceiling);
        self.window = self.window.wrapping_add(1);
        self.set_at = now;
        self.raised_from = self.level - 1;
        self.strangers = None;
        self.seen = Window::default();
    }
}

/// A level that has been left downwards.
#[derive(Debug, Default)]
struct Above {
    window: u32,
    /// Only what started with more than this in flight counts.
    raised_from: usize,
    /// How long the level was held.
    took: Duration,
    seen: Window,
}

/// What holds the slots, of late: pages, or answers too quick to be heard ([`HARMLESS_MS`]).
///
/// Files of the web server and the like hold a slot for a moment, and their number would drown the pages that queue, so pages alone
/// are heard wherever they hold most of the slots. This cannot be told from one window: of what a level begins with, quick answers
/// end first.
#[derive(Debug, Default)]
struct Held {
    pages_ms: f64,
    quick_ms: f64,
}

impl Held {
    fn add(&mut self, latency_ms: f64, baseline: Baseline) {
        let remembered = (-latency_ms / HELD_MEMORY_MS).exp();
        self.pages_ms *= remembered;
        self.quick_ms *= remembered;
        if baseline.is_quick() {
            self.quick_ms += latency_ms;
        } else {
            self.pages_ms += latency_ms;
        }
    }

    fn mostly_quick(&self) -> bool {
        self.quick_ms > self.pages_ms
    }
}

/// What was seen of one level.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// When the first request of any level ended in it, and what those after that one took, had as baselines, and lacked of
    /// [`HARMLESS_MS`].
    opened: Micros,
    ended: u32,
    ended_ms: f64,
    ended_unknown: u32,
    ended_baseline_ms: f64,
    ended_lacked_ms: f64,
    /// When the first of its own requests ended, and how many did.
    since: Micros,
    own: u32,
    /// With [`CLIP`] and without.
    clipped: Heard,
    whole: Heard,
    /// [`Held::mostly_quick`], when last looked at.
    hears_quick: bool,
    /// Without a baseline; of these the slow ones, and what they took.
    unknown: u32,
    slow_unknown: u32,
    slow_unknown_ms: f64,
    pressed: u32,
    overloads: u32,
    concurrency: f64,
}

/// Pages with a baseline that is heard, and those that take less.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    pages: Sums,
    quick: Sums,
}

impl Heard {
    fn add(&mut self, latency_ms: f64, baseline: Baseline) {
        if baseline.is_quick() {
            self.quick.add(latency_ms, baseline);
        } else {
            self.pages.add(latency_ms, baseline);
        }
    }

    fn sums(self, hears_quick: bool) -> Sums {
        if hears_quick {
            self.pages.and(self.quick)
        } else {
            self.pages
        }
    }

    fn halved(self) -> Self {
        Self {
            pages: self.pages.halved(),
            quick: self.quick.halved(),
        }
    }
}

/// Of samples with a baseline.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    samples: u32,
    latency_ms: f64,
    baseline_ms: f64,
    /// Baselines over the number of samples each is the mean of, and times the square of what each may be off by as a part of itself.
    baseline_rarity_ms: f64,
    baseline_doubt_ms: f64,
    // Sums of products, for the error of the ratio.
    latency_latency: f64,
    latency_baseline: f64,
    baseline_baseline: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    value: f64,
    /// Standard error.
    error: f64,
}

impl Ratio {
    fn is_above(self, threshold: f64, errors: f64) -> bool {
        self.value - errors * self.error > threshold
    }

    /// What is uncertain of a ratio like this is mostly what the baselines are, below the line: it is a factor, and not a distance.
    fn is_far_above(self) -> bool {
        self.value > FAR_RATIO
            && self.value > EASE_RATIO_MAX * (1.0 + VERY_SURE * self.error / self.value)
    }

    fn over(self, factor: f64) -> Self {
        Self {
            value: self.value / factor,
            error: self.error / factor,
        }
    }

    fn is_below(self, threshold: f64, errors: f64) -> bool {
        self.value + errors * self.error < threshold
    }
}

impl Baseline {
    fn is_quick(self) -> bool {
        self.ms < HARMLESS_MS
    }
}

impl Sums {
    fn add(&mut self, latency_ms: f64, baseline: Baseline) {
        let baseline_ms = baseline.ms.max(HARMLESS_MS);
        let latency_ms = latency_ms.max(HARMLESS_MS);
        self.samples += 1;
        self.latency_ms += latency_ms;
        self.baseline_ms += baseline_ms;
        self.baseline_rarity_ms += baseline_ms / f64::from(baseline.samples);
        self.baseline_doubt_ms += baseline.error_ms * baseline.error_ms / baseline_ms;
        self.latency_latency += latency_ms * latency_ms;
        self.latency_baseline += latency_ms * baseline_ms;
        self.baseline_baseline += baseline_ms * baseline_ms;
    }

    fn ratio(self) -> Option<Ratio> {
        if self.samples < ROUND_SAMPLES_MIN || self.baseline_ms <= 0.0 {
            return None;
        }
        let value = self.latency_ms / self.baseline_ms;
        let squares = self.latency_latency - 2.0 * value * self.latency_baseline
            + value * value * self.baseline_baseline;
        let n = f64::from(self.samples);
        let spread = (squares.max(0.0) * n / (n - 1.0)).sqrt() / self.baseline_ms;
        Some(Ratio {
            value,
            error: spread.max(DEVIATION_MIN * value / n.sqrt()),
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            latency_ms: self.latency_ms + other.latency_ms,
            baseline_ms: self.baseline_ms + other.baseline_ms,
            baseline_rarity_ms: self.baseline_rarity_ms + other.baseline_rarity_ms,
            baseline_doubt_ms: self.baseline_doubt_ms + other.baseline_doubt_ms,
            latency_latency: self.latency_latency + other.latency_latency,
            latency_baseline: self.latency_baseline + other.latency_baseline,
            baseline_baseline: self.baseline_baseline + other.baseline_baseline,
        }
    }

    fn halved(self) -> Self {
        Self {
            samples: self.samples / 2,
            latency_ms: self.latency_ms / 2.0,
            baseline_ms: self.baseline_ms / 2.0,
            baseline_rarity_ms: self.baseline_rarity_ms / 2.0,
            baseline_doubt_ms: self.baseline_doubt_ms / 2.0,
            latency_latency: self.latency_latency / 2.0,
            latency_baseline: self.latency_baseline / 2.0,
            baseline_baseline: self.baseline_baseline / 2.0,
        }
    }
}

impl Window {
    fn age_max(&self) -> Duration {
        let latency_ms = self.ended_ms / f64::from(self.ended.max(1));
        WINDOW_MAX.max(Duration::from_secs_f64(
            WINDOW_LATENCIES * latency_ms / 1000.0,
        ))
    }

    fn count(&mut self, now: Micros, latency_ms: f64, baseline: Option<Baseline>) {
        if self.opened == Micros::default() {
            self.opened = now;
            return;
        }
        self.ended += 1;
        self.ended_ms += latency_ms;
        match baseline {
            Some(baseline) => {
                self.ended_baseline_ms += baseline.ms;
                self.ended_lacked_ms += (HARMLESS_MS - baseline.ms).max(0.0);
            }
            None => self.ended_unknown += 1,
        }
    }

    fn heard(&self) -> Sums {
        self.clipped.sums(self.hears_quick)
    }

    fn samples(&self) -> u32 {
        self.heard().samples
    }

    /// Workers at work, by what they got done: baseline milliseconds per millisecond. For an origin with all workers at work this
    /// is its capacity, and unlike a mean of latencies it is not misled by dear requests that have not ended yet. `None` when
    /// slots may have been idle or too many ended that we know nothing of.
    fn throughput(&self, now: Micros) -> Option<f64> {
        let elapsed_ms = now.since(self.opened).as_secs_f64() * 1000.0;
        let known = self.ended_unknown * 5 <= self.ended;
        let lacked_ms = if self.hears_quick {
            self.ended_lacked_ms
        } else {
            0.0
        };
        (self.is_pressed() && known && self.ended >= SAMPLES_MIN && elapsed_ms > 0.0)
            .then(|| (self.ended_baseline_ms + lacked_ms) / elapsed_ms)
    }

    /// The capacity of an origin that is over it, while much of the window has yet to end.
    fn measured_early(&self, now: Micros) -> Capacity {
        let by_latency = self.measured();
        Capacity {
            workers: self
                .throughput(now)
                .unwrap_or(f64::MAX)
                .min(by_latency.workers)
                .max(1.0),
            ..by_latency
        }
    }

    /// The same when most of it has.
    fn measured(&self) -> Capacity {
        let unknown = Capacity {
            workers: 1.0,
            error: 1.0,
        };
        self.ratio().map_or(unknown, |ratio| Capacity {
            workers: (self.concurrency() / ratio.value).max(1.0),
            error: ratio.error / ratio.value,
        })
    }

    /// The same when the baselines were found to be off by this factor.
    fn measured_against(&self, off: f64) -> Capacity {
        let measured = self.measured();
        let whole = self.whole_ratio().map_or(1.0, |ratio| ratio.value);
        Capacity {
            workers: (self.concurrency() * off / whole).max(1.0),
            ..measured
        }
    }

    fn usual_latency(&self) -> Duration {
        let heard = self.heard();
        Duration::from_secs_f64(heard.baseline_ms / f64::from(heard.samples.max(1)) / 1000.0)
    }

    fn add(&mut self, now: Micros, sample: Sample, baseline: Option<Baseline>) {
        if self.own == 0 {
            self.since = now;
        }
        self.own += 1;
        self.pressed += u32::from(sample.pressed);
        self.concurrency += sample.concurrency as f64;
        match baseline {
            None => {
                self.unknown += 1;
                if sample.latency_ms >= HARMLESS_MS {
                    self.slow_unknown += 1;
                    self.slow_unknown_ms += sample.latency_ms;
                }
            }
            Some(baseline) => {
                let most_ms = baseline.ms.max(HARMLESS_MS) * CLIP;
                self.clipped.add(sample.latency_ms.min(most_ms), baseline);
                self.whole.add(sample.latency_ms, baseline);
            }
        }
    }

    fn answers(&self) -> u32 {
        self.samples() + self.unknown
    }

    fn is_ripe(&self, now: Micros) -> bool {
        let least = if self.is_long(now) {
            SAMPLES_MIN / 2
        } else {
            SAMPLES_MIN
        };
        self.answers() >= least && now.since(self.since) >= WINDOW_MIN
    }

    fn is_long(&self, now: Micros) -> bool {
        now.since(self.since) >= WINDOW_LONG
    }

    fn is_mostly_unknown(&self) -> bool {
        self.unknown > self.samples()
    }

    /// Others waited for a slot most of the time. Without that a cut would help nobody: what the origin has, is what was asked for.
    fn is_pressed(&self) -> bool {
        self.pressed * 2 >= self.own
    }

    fn concurrency(&self) -> f64 {
        self.concurrency / f64::from(self.own.max(1))
    }

    /// How many samples the baselines used are the mean of.
    fn baseline_samples(&self) -> f64 {
        let heard = self.heard();
        heard.baseline_ms / heard.baseline_rarity_ms.max(f64::MIN_POSITIVE)
    }

    fn strangers(&self) -> Option<Baseline> {
        (self.slow_unknown >= STRANGERS_MIN).then(|| {
            let ms = self.slow_unknown_ms / f64::from(self.slow_unknown);
            Baseline::of(ms, (ms * STRANGERS_DEVIATION).powi(2), self.slow_unknown)
        })
    }

    /// `None` until there are a few samples with a baseline. The baselines are means themselves, of the same spread.
    fn ratio(&self) -> Option<Ratio> {
        let heard = self.heard();
        let itself = heard.ratio()?;
        let doubt = heard.baseline_doubt_ms / heard.baseline_ms;
        Some(Ratio {
            error: (itself.error * itself.error + itself.value * itself.value * doubt).sqrt(),
            ..itself
        })
    }

    /// For comparing it with another ratio to the same baselines: whatever these are off by, both are.
    fn whole_ratio(&self) -> Option<Ratio> {
        self.whole.sums(self.hears_quick).ratio()
    }

    fn forget_half(&mut self) {
        for count in [
            &mut self.own,
            &mut self.unknown,
            &mut self.slow_unknown,
            &mut self.pressed,
            &mut self.overloads,
        ] {
            *count /= 2;
        }
        self.slow_unknown_ms /= 2.0;
        self.concurrency /= 2.0;
        self.clipped = self.clipped.halved();
        self.whole = self.whole.halved();
    }
}
