//! Is the origin alive? One opinion, shared by every shard.
//!
//! Two mistakes are possible and both cost readers. Believing a dead origin alive makes each of them wait for a timeout.
//! Believing a living one dead cuts off the editors, and an attacker who can cause that has found our off switch: a flood on
//! one address that always answers 500 must not look like a dead server merely because readers, served from the cache,
//! send nothing to contradict it.
//!
//! So evidence is weighed by who can make it. A refused connection is the origin's own doing and three in a row suffice.
//! Silence and overload can be provoked, so they take a long unbroken run; where the operator named a health path, that run
//! only raises a suspicion, and the probe, which no client can steer, decides. A 500 is an answer: without a health path it
//! proves nothing.
//!
//! While the breaker is open no reader pays for finding out whether the origin is back: the probe does, once a second. Its
//! first success half-opens the breaker, one real request at a time passes, and the first answer closes it.
//!
//! [`Breaker`] is pure, time is its argument. [`OriginHealth`] puts it behind a lock that a healthy origin's requests
//! never take, and says in the log when the origin goes down, why, and when it is back: once each, however many requests fail.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

/// A refused connection is the kernel's word that nobody listens; three, because a restarting server refuses for some
/// milliseconds.
const UNREACHABLE_RUN_MAX: u32 = 3;

/// Silence, overload and errors without one good answer between them. An origin under attack answers some of twenty.
const SICK_RUN_MAX: u32 = 20;

/// ... and spread over this long, so that twenty requests which died in one hiccup are one hiccup.
const SICK_SPAN_MIN: Duration = Duration::from_secs(2);

/// Probes that must fail one after the other: with a suspicion to confirm, and with none.
const PROBE_FAILURES_SUSPECT: u32 = 2;
const PROBE_FAILURES_MAX: u32 = 3;

/// Recovery is promised to be seen within 2 s; a probe a second leaves one for the probe itself.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A living origin nobody asked for this long is probed this often, so that death in the night is known in the morning.
const PROBE_INTERVAL_QUIET: Duration = Duration::from_secs(10);

/// Half-open: a trial that hangs must not keep the breaker from trying another.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// Open without news from any probe for this long, a real request is let through: probing is the better way to learn, not
/// the only one.
const PROBE_NEWS_MAX: Duration = Duration::from_secs(2);

/// No answer at all for this long, with this many requests waiting, is a hang. One slow export is not.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const SILENCE_WAITING_MIN: usize = 8;

/// A fifth of requests may be sent twice. More would double the load of an origin that is failing because of its load.
const RETRY_EARN: u64 = 1;
const RETRY_COST: u64 = 5;
/// So that a quiet site may retry at all: ten retries saved up.
const RETRY_SAVED_MAX: u64 = 10 * RETRY_COST;

/// What became of a request, as far as it says anything about the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A response that is neither of the two below.
    Answered,
    /// 500 and its kind: alive, though not well.
    ServerError,
    /// The origin, or what stands before it, says it has too much to do.
    Overloaded,
    Unreachable(NoConnection),
    /// Connected and then no response head: closed, reset, timed out, or not HTTP.
    Silent,
    ProbeAnswered,
    ProbeFailed,
}

/// Why there was no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// Nobody listens there.
    Refused,
    TimedOut,
    /// The name has no address.
    NoAddress,
    /// No route, a reset, a firewall's word.
    Failed,
}

/// Why the breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Unreachable {
        run: u32,
        last: NoConnection,
    },
    Sick(SickRun),
    ProbesFailed {
        run: u32,
    },
    /// Requests wait and nothing has come back for [`SILENCE_MAX`].
    Hang,
}

/// Requests one after the other without one good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SickRun {
    pub silent: u32,
    pub overloaded: u32,
    pub server_errors: u32,
}

impl SickRun {
    fn len(self) -> u32 {
        self.silent
            .saturating_add(self.overloaded)
            .saturating_add(self.server_errors)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { run, last } => {
                let last = match last {
                    NoConnection::Refused => "refused",
                    NoConnection::TimedOut => "timed out",
                    NoConnection::NoAddress => "its name has no address",
                    NoConnection::Failed => "no route or reset",
                };
                write!(f, "no connection, {run} times in a row ({last})")
            }
            Self::Sick(run) => write!(
                f,
                "{} requests in a row without a good answer: {} timed out or broke off, {} told to come back later (502, 503, 504), \
                 {} failed (500)",
                run.len(),
                run.silent,
                run.overloaded,
                run.server_errors
            ),
            Self::ProbesFailed { run } => write!(f, "its health path failed {run} times in a row"),
            Self::Hang => write!(
                f,
                "requests wait and nothing came back for {} s",
                SILENCE_MAX.as_secs()
            ),
        }
    }
}

impl Event {
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            // 508 and 529 are what shared hosting and CDNs in front of an origin say for "resource limit reached".
            502 | 503 | 504 | 508 | 529 => Self::Overloaded,
            500..=599 => Self::ServerError,
            _ => Self::Answered,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

/// May this request go to the origin?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Pass,
    /// Yes, and its outcome decides.
    Trial,
    Shut,
}

#[derive(Debug)]
pub struct Breaker {
    /// The operator named a health path, so suspicion can be checked.
    probed: bool,
    state: State,
    /// Of the last opening.
    why: Option<Why>,
    unreachable_run: u32,
    sick_run: SickRun,
    sick_since: Option<Instant>,
    suspect: bool,
    probe_failures: u32,
    /// When the breaker opened or a probe last spoke.
    news_at: Option<Instant>,
    trial_at: Option<Instant>,
}

impl Breaker {
    pub fn new(probed: bool) -> Self {
        Self {
            probed,
            state: State::Closed,
            why: None,
            unreachable_run: 0,
            sick_run: SickRun::default(),
            sick_since: None,
            suspect: false,
            probe_failures: 0,
            news_at: None,
            trial_at: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Why it opened; `None` while closed.
    pub fn why(&self) -> Option<Why> {
        self.why
    }

    /// A suspicion or an open breaker: probe every [`PROBE_INTERVAL`].
    pub fn wants_probe(&self) -> bool {
        self.suspect || self.state != State::Closed
    }

    /// Nothing to remember: the next good answer would change nothing.
    pub fn is_calm(&self) -> bool {
        self.state == State::Closed
            && !self.suspect
            && self.sick_run.len() == 0
            && self.unreachable_run == 0
            && self.probe_failures == 0
    }

    pub fn ask(&mut self, now: Instant) -> Gate {
        if self.state == State::Open && elapsed(self.news_at, now) >= PROBE_NEWS_MAX {
            self.half_open();
        }
        match self.state {
            State::Closed => Gate::Pass,
            State::Open => Gate::Shut,
            State::HalfOpen
                if self.trial_at.is_none() || elapsed(self.trial_at, now) >= TRIAL_INTERVAL =>
            {
                self.trial_at = Some(now);
                Gate::Trial
            }
            State::HalfOpen => Gate::Shut,
        }
    }

    /// The client left before its trial was decided; the next one may try.
    pub fn trial_abandoned(&mut self) {
        self.trial_at = None;
    }

    pub fn note(&mut self, now: Instant, event: Event) {
        match event {
            Event::Answered => self.well(),
            Event::ServerError => {
                self.unreachable_run = 0;
                match self.state {
                    State::Closed if self.probed => self.sick(now, |run| &mut run.server_errors),
                    State::Closed => {}
                    State::HalfOpen | State::Open => self.well(),
                }
            }
            Event::Overloaded => {
                self.unreachable_run = 0;
                self.sick(now, |run| &mut run.overloaded);
            }
            Event::Silent => self.sick(now, |run| &mut run.silent),
            Event::Unreachable(last) => {
                self.unreachable_run = self.unreachable_run.saturating_add(1);
                let run = self.unreachable_run;
                if self.state == State::HalfOpen || run >= UNREACHABLE_RUN_MAX {
                    self.open(now, Why::Unreachable { run, last });
                } else {
                    self.sick(now, |run| &mut run.silent);
                }
            }
            Event::ProbeAnswered => {
                self.probe_failures = 0;
                if self.state == State::Closed {
                    self.well();
                } else if self.state == State::Open {
                    self.half_open();
                }
            }
            Event::ProbeFailed => {
                self.probe_failures = self.probe_failures.saturating_add(1);
                let enough = if self.suspect {
                    PROBE_FAILURES_SUSPECT
                } else {
                    PROBE_FAILURES_MAX
                };
                let run = self.probe_failures;
                if self.state != State::Closed || run >= enough {
                    self.open(now, Why::ProbesFailed { run });
                }
            }
        }
    }

    /// Requests wait and nothing has come back for [`SILENCE_MAX`].
    pub fn note_hang(&mut self, now: Instant) {
        if self.state != State::Closed {
            return;
        }
        if self.probed {
            self.suspect = true;
        } else {
            self.open(now, Why::Hang);
        }
    }

    fn well(&mut self) {
        match self.state {
            // An answer to a request sent before the breaker opened. Good news, but old.
            State::Open => self.half_open(),
            State::HalfOpen | State::Closed => *self = Self::new(self.probed),
        }
    }

    fn sick(&mut self, now: Instant, kind: impl Fn(&mut SickRun) -> &mut u32) {
        match self.state {
            State::Open => {}
            State::HalfOpen => self.open(now, Why::Sick(self.sick_run)),
            State::Closed => {
                let of_kind = kind(&mut self.sick_run);
                *of_kind = of_kind.saturating_add(1);
                let since = *self.sick_since.get_or_insert(now);
                if self.sick_run.len() < SICK_RUN_MAX || now.duration_since(since) < SICK_SPAN_MIN {
                    return;
                }
                if self.probed {
                    self.suspect = true;
                } else {
                    self.open(now, Why::Sick(self.sick_run));
                }
            }
        }
    }

    fn open(&mut self, now: Instant, why: Why) {
        self.why.get_or_insert(why);
        self.state = State::Open;
        self.suspect = false;
        self.news_at = Some(now);
        self.trial_at = None;
    }

    fn half_open(&mut self) {
        self.state = State::HalfOpen;
        self.trial_at = None;
    }
}

fn elapsed(since: Option<Instant>, now: Instant) -> Duration {
    since.map_or(Duration::MAX, |since| now.saturating_duration_since(since))
}

/// Counted since the start; each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OriginCounts {
    /// Requests the breaker let through, retries apart.
    pub requests: u64,
    pub answered: u64,
    pub server_errors: u64,
    pub overloaded: u64,
    pub unreachable: u64,
    pub silent: u64,
    pub retries: u64,
    /// Retries the budget did not allow.
    pub retries_refused: u64,
    pub connections: u64,
    pub connections_reused: u64,
    /// Idle connections found dead, too old, or more than the pool keeps.
    pub connections_retired: u64,
    pub bodies_broken: u64,
    /// Times the breaker opened.
    pub opened: u64,
    /// Requests it then refused.
    pub refused: u64,
    pub probes: u64,
    pub probes_failed: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: AtomicU64),* }
        impl Counters {
            fn read(&self) -> OriginCounts {
                OriginCounts { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters!(
    requests,
    answered,
    server_errors,
    overloaded,
    unreachable,
    silent,
    retries,
    retries_refused,
    connections,
    connections_reused,
    connections_retired,
    bodies_broken,
    opened,
    refused,
    probes,
    probes_failed,
);

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The shared opinion. One per site, held by every shard's [`Origin`](super::Origin).
#[derive(Debug)]
pub struct OriginHealth {
    /// What the log calls it.
    name: String,
    breaker: Mutex<Breaker>,
    probed: bool,
    /// Copies of what the breaker says, read without its lock.
    state: AtomicU8,
    calm: AtomicBool,
    pub(super) counters: Counters,
    waiting: AtomicUsize,
    /// Of those, the ones whose client has not sent its body. The origin owes them nothing.
    with_clients: AtomicUsize,
    /// Milliseconds since `started`.
    answered_at: AtomicU64,
    asked_at: AtomicU64,
    probe_at: AtomicU64,
    retry_saved: AtomicU64,
    changes: watch::Sender<State>,
    /// Milliseconds since `started`; when the breaker last opened after having been closed.
    down_at: AtomicU64,
    started: Instant,
}

impl OriginHealth {
    /// `name`: what the log calls this origin. `probed`: the plan names a health path. Without one, a dead origin is probed
    /// by connecting to it and a living one not at all.
    pub fn new(name: String, probed: bool, now: Instant) -> Self {
        Self {
            name,
            breaker: Mutex::new(Breaker::new(probed)),
            probed,
            state: AtomicU8::new(State::Closed as u8),
            calm: AtomicBool::new(true),
            counters: Counters::default(),
            waiting: AtomicUsize::new(0),
            with_clients: AtomicUsize::new(0),
            answered_at: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            probe_at: AtomicU64::new(0),
            retry_saved: AtomicU64::new(RETRY_SAVED_MAX),
            changes: watch::Sender::new(State::Closed),
            down_at: AtomicU64::new(0),
            started: now,
        }
    }

    /// Closed: the origin is believed alive. A load, no lock.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            closed if closed == State::Closed as u8 => State::Closed,
            half if half == State::HalfOpen as u8 => State::HalfOpen,
            _ => State::Open,
        }
    }

    /// Down, or perhaps back, because nothing came back any more.
    pub fn is_hung(&self) -> bool {
        self.state() != State::Closed
            && self
                .breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .why()
                == Some(Why::Hang)
    }

    /// For whoever waits until the origin goes down or comes back.
    pub fn changes(&self) -> watch::Receiver<State> {
        self.changes.subscribe()
    }

    pub fn counts(&self) -> OriginCounts {
        self.counters.read()
    }

    /// Requests sent and not answered yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Something about the origin became known outside of [`Origin::send`](super::Origin::send).
    pub fn note(&self, now: Instant, event: Event) {
        count(match event {
            Event::Answered => &self.counters.answered,
            Event::ServerError => &self.counters.server_errors,
            Event::Overloaded => &self.counters.overloaded,
            Event::Unreachable(_) => &self.counters.unreachable,
            Event::Silent => &self.counters.silent,
            Event::ProbeAnswered => &self.counters.probes,
            Event::ProbeFailed => &self.counters.probes_failed,
        });
        if !matches!(
            event,
            Event::Unreachable(_) | Event::Silent | Event::ProbeFailed
        ) {
            self.answered_at.store(self.millis(now), Ordering::Relaxed);
        }
        if matches!(event, Event::Answered | Event::ProbeAnswered)
            && self.calm.load(Ordering::Relaxed)
        {
            return;
        }
        self.change(now, |breaker| breaker.note(now, event));
    }

    pub(super) fn ask(&self, now: Instant) -> Gate {
        let gate = if self.state() == State::Closed {
            Gate::Pass
        } else {
            self.change(now, |breaker| breaker.ask(now))
        };
        if gate == Gate::Shut {
            count(&self.counters.refused);
            return gate;
        }
        count(&self.counters.requests);
        self.begin_waiting(now);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.asked_at.store(self.millis(now), Ordering::Relaxed);
        let earned = self.retry_saved.load(Ordering::Relaxed);
        if earned < RETRY_SAVED_MAX {
            self.retry_saved.fetch_add(RETRY_EARN, Ordering::Relaxed);
        }
        gate
    }

    /// Requests for which it is the origin's turn.
    fn waiting_for_origin(&self) -> usize {
        self.waiting()
            .saturating_sub(self.with_clients.load(Ordering::Relaxed))
    }

    /// Silence is measured from here when nobody was waiting before.
    fn begin_waiting(&self, now: Instant) {
        if self.waiting_for_origin() == 0 {
            self.answered_at
                .fetch_max(self.millis(now), Ordering::Relaxed);
        }
    }

    pub(super) fn done_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn trial_abandoned(&self, now: Instant) {
        self.change(now, Breaker::trial_abandoned);
    }

    /// One retry, if the budget has one.
    pub(super) fn take_retry(&self) -> bool {
        let taken = self
            .retry_saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                saved.checked_sub(RETRY_COST)
            })
            .is_ok();
        count(if taken {
            &self.counters.retries
        } else {
            &self.counters.retries_refused
        });
        taken
    }

    /// Called by every shard about once a second; true for the one that shall probe now.
    pub(super) fn claim_probe(&self, now: Instant) -> bool {
        let now_millis = self.millis(now);
        let silent_millis = now_millis.saturating_sub(self.answered_at.load(Ordering::Relaxed));
        if self.waiting_for_origin() >= SILENCE_WAITING_MIN
            && u128::from(silent_millis) >= SILENCE_MAX.as_millis()
        {
            self.change(now, |breaker| breaker.note_hang(now));
        }
        let urgent = !self.calm.load(Ordering::Relaxed)
            && self
                .breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .wants_probe();
        let quiet_millis = now_millis.saturating_sub(self.asked_at.load(Ordering::Relaxed));
        let interval = if urgent {
            PROBE_INTERVAL
        } else if self.probed && u128::from(quiet_millis) >= PROBE_INTERVAL_QUIET.as_millis() {
            PROBE_INTERVAL_QUIET
        } else {
            return false;
        };
        let last = self.probe_at.load(Ordering::Relaxed);
        // Half an interval of grace: ticks of different shards do not fall together.
        let due =
            u128::from(now_millis.saturating_sub(last)) >= interval.as_millis() / 2 || last == 0;
        due && self
            .probe_at
            .compare_exchange(
                last,
                now_millis.max(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    fn change<T>(&self, now: Instant, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        let out = act(&mut breaker);
        let after = breaker.state();
        if after == State::Open && before != State::Open {
            count(&self.counters.opened);
        }
        self.calm.store(breaker.is_calm(), Ordering::Relaxed);
        if after != before {
            self.state.store(after as u8, Ordering::Relaxed);
            self.changes.send_replace(after);
            self.say(now, before, after, breaker.why());
        }
        out
    }

    /// A trial that fails is no news: the origin was down before it and is down after it.
    fn say(&self, now: Instant, before: State, after: State, why: Option<Why>) {
        let now = self.millis(now);
        match (before, after, why) {
            (State::Closed, _, Some(why)) => {
                self.down_at.store(now, Ordering::Relaxed);
                tracing::warn!("{} is down: {why}", self.name);
            }
            (_, State::Closed, _) => {
                let down_s = now.saturating_sub(self.down_at.load(Ordering::Relaxed)) / 1_000;
                tracing::info!("{} is back after {down_s} s", self.name);
            }
            _ => {}
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A request whose client has not sent its body yet. Eight clients that hold back their bodies must not make the origin look as
/// if it hung.
pub(super) struct WithClient(Arc<OriginHealth>);

impl WithClient {
    pub(super) fn new(health: Arc<OriginHealth>) -> Self {
        health.with_clients.fetch_add(1, Ordering::Relaxed);
        Self(health)
    }
}

impl Drop for WithClient {
    fn drop(&mut self) {
        self.0.begin_waiting(Instant::now());
        self.0.with_clients.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Closed, HalfOpen, Open};

    const REFUSED: Event = Event::Unreachable(NoConnection::Refused);

    /// Milliseconds, what happens, the state after it.
    enum Line {
        Note(Event),
        Times(u32, Event),
        Ask(Gate),
        Hang,
        Abandon,
    }
    use Line::{Abandon, Ask, Hang, Note, Times};

    fn check(probed: bool, story: &[(u64, Line, State)]) {
        let start = Instant::now();
        let mut breaker = Breaker::new(probed);
        for (index, (millis, line, state)) in story.iter().enumerate() {
            let now = start + Duration::from_millis(*millis);
            match line {
                Note(event) => breaker.note(now, *event),
                Times(times, event) => (0..*times).for_each(|_| breaker.note(now, *event)),
                Ask(gate) => assert_eq!(breaker.ask(now), *gate, "line {index}"),
                Hang => breaker.note_hang(now),
                Abandon => breaker.trial_abandoned(),
            }
            assert_eq!(breaker.state(), *state, "line {index}, probed: {probed}");
        }
    }

    #[test]
    fn three_refused_connections_in_a_row_open_it() {
        use Event::Answered;
        for probed in [false, true] {
            check(
                probed,
                &[
                    (0, Times(2, REFUSED), Closed),
                    (1, Note(Answered), Closed),
                    (2, Times(2, REFUSED), Closed),
                    (3, Note(REFUSED), Open),
                    (4, Ask(Gate::Shut), Open),
                ],
            );
        }
    }

    #[test]
    fn a_flood_on_one_failing_page_is_not_a_dead_origin() {
        use Event::{Overloaded, ProbeAnswered, ProbeFailed, ServerError};
        // Without a health path a 500 proves nothing.
        check(
            false,
            &[
                (0, Times(10_000, ServerError), Closed),
                (9_000, Times(10_000, ServerError), Closed),
            ],
        );
        // With one, the probe decides, either way.
        check(
            true,
            &[
                (0, Times(100, ServerError), Closed),
                (2_000, Times(100, Overloaded), Closed),
                (2_500, Note(ProbeAnswered), Closed),
                (2_600, Times(19, ServerError), Closed),
                (2_700, Note(ProbeFailed), Closed),
            ],
        );
        check(
            true,
            &[
                (0, Times(100, ServerError), Closed),
                (2_000, Note(ServerError), Closed),
                (2_500, Note(ProbeFailed), Closed),
                (3_500, Note(ProbeFailed), Open),
            ],
        );
    }

    #[test]
    fn silence_and_overload_need_twenty_in_a_row_over_two_seconds() {
        use Event::{Answered, Overloaded, Silent};
        for sick in [Overloaded, Silent] {
            check(
                false,
                &[
                    (0, Times(500, sick), Closed),
                    (1_999, Note(sick), Closed),
                    (1_999, Note(Answered), Closed),
                    (2_000, Times(19, sick), Closed),
                    (5_000, Note(sick), Open),
                ],
            );
        }
    }

    #[test]
    fn half_open_lets_one_try_at_a_time() {
        use Event::{Answered, ProbeAnswered, Silent};
        check(
            true,
            &[
                (0, Times(3, REFUSED), Open),
                (900, Note(ProbeAnswered), HalfOpen),
                (901, Ask(Gate::Trial), HalfOpen),
                (902, Ask(Gate::Shut), HalfOpen),
                // Its client left: the next one is the trial.
                (903, Abandon, HalfOpen),
                (904, Ask(Gate::Trial), HalfOpen),
                // It hangs: another after a second.
                (1_903, Ask(Gate::Shut), HalfOpen),
                (1_904, Ask(Gate::Trial), HalfOpen),
                (1_905, Note(Silent), Open),
                (2_900, Note(ProbeAnswered), HalfOpen),
                (2_901, Ask(Gate::Trial), HalfOpen),
                (2_902, Note(REFUSED), Open),
                (3_900, Note(ProbeAnswered), HalfOpen),
                (3_901, Ask(Gate::Trial), HalfOpen),
                (3_902, Note(Answered), Closed),
                (3_903, Ask(Gate::Pass), Closed),
                (3_904, Times(2, REFUSED), Closed),
            ],
        );
    }

    #[test]
    fn an_error_page_in_a_trial_is_an_answer() {
        use Event::{Overloaded, ProbeAnswered, ServerError};
        check(
            true,
            &[
                (0, Times(3, REFUSED), Open),
                (1, Note(ProbeAnswered), HalfOpen),
                (2, Note(Overloaded), Open),
                (3, Note(ProbeAnswered), HalfOpen),
                (4, Note(ServerError), Closed),
            ],
        );
    }

    #[test]
    fn without_news_from_a_probe_a_reader_finds_out() {
        use Event::{Answered, ProbeFailed};
        check(
            false,
            &[
                (0, Times(3, REFUSED), Open),
                (1_999, Ask(Gate::Shut), Open),
                (2_000, Ask(Gate::Trial), HalfOpen),
                (2_001, Note(REFUSED), Open),
                // While probes speak, no reader pays.
                (3_000, Note(ProbeFailed), Open),
                (4_500, Ask(Gate::Shut), Open),
                // An answer to an older request is news too.
                (4_600, Note(Answered), HalfOpen),
            ],
        );
    }

    #[test]
    fn a_hang_is_confirmed_by_the_probe_where_there_is_one() {
        use Event::{ProbeAnswered, ProbeFailed};
        check(false, &[(0, Hang, Open)]);
        check(
            true,
            &[
                (0, Hang, Closed),
                (1, Note(ProbeFailed), Closed),
                (2, Note(ProbeFailed), Open),
            ],
        );
        check(
            true,
            &[
                (0, Hang, Closed),
                (1, Note(ProbeAnswered), Closed),
                (2, Note(ProbeFailed), Closed),
            ],
        );
    }

    #[test]
    fn death_in_the_night_takes_three_failed_probes() {
        check(
            true,
            &[
                (0, Times(2, Event::ProbeFailed), Closed),
                (1, Note(Event::ProbeFailed), Open),
            ],
        );
    }

    #[test]
    fn a_fifth_of_requests_may_be_retried() {
        let now = Instant::now();
        let health = OriginHealth::new(String::new(), false, now);
        let saved = (0..100).filter(|_| health.take_retry()).count();
        assert_eq!(saved, 10);
        let retried = (0..1_000)
            .filter(|_| {
                assert_eq!(health.ask(now), Gate::Pass);
                health.done_waiting();
                health.take_retry()
            })
            .count();
        assert_eq!(retried, 200);
        assert_eq!(health.counts().retries_refused, 890);
    }

    #[test]
    fn one_shard_probes_for_all_and_only_with_a_reason() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let health = OriginHealth::new(String::new(), true, start);
        assert_eq!(health.ask(at(20_000)), Gate::Pass);
        // Busy and healthy.
        assert!(!health.claim_probe(at(21_000)));
        for _ in 0..3 {
            health.note(at(22_000), REFUSED);
        }
        let claims = |millis| (0..8).filter(|_| health.claim_probe(at(millis))).count();
        // Down: one of eight shards, each second.
        assert_eq!((claims(22_001), claims(22_100), claims(23_001)), (1, 0, 1));
        health.note(at(23_100), Event::ProbeAnswered);
        health.note(at(23_200), Event::Answered);
        assert_eq!(health.state(), Closed);
        assert_eq!(
            (
                claims(24_000),
                claims(30_001),
                claims(31_000),
                claims(41_000)
            ),
            (0, 1, 0, 1)
        );
    }

    #[test]
    fn without_a_health_path_a_living_origin_is_left_alone() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let health = OriginHealth::new(String::new(), false, start);
        assert!((1..1_000).all(|secs| !health.claim_probe(at(secs))));
        for _ in 0..3 {
            health.note(at(1_000), REFUSED);
        }
        assert!(health.claim_probe(at(1_001)));
    }

    #[test]
    fn clients_that_hold_back_their_bodies_are_not_a_hang() {
        let start = Instant::now();
        let health = Arc::new(OriginHealth::new("here".into(), false, start));
        let at = |secs| start + Duration::from_secs(secs);
        let held: Vec<_> = (0..100)
            .map(|_| {
                health.ask(start);
                WithClient::new(Arc::clone(&health))
            })
            .collect();
        health.claim_probe(at(60));
        assert_eq!(health.state(), Closed);
        // Readers who ask now are waiting from now.
        for _ in 0..8 {
            health.ask(at(60));
        }
        health.claim_probe(at(69));
        assert_eq!(health.state(), Closed);
        health.claim_probe(at(70));
        assert_eq!(health.state(), Open, "theirs is the origin's silence");
        drop(held);
        assert_eq!(health.waiting_for_origin(), 108);
    }

    #[test]
    fn eight_waiting_and_ten_seconds_without_an_answer_are_a_hang() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let health = OriginHealth::new(String::new(), false, start);
        for _ in 0..8 {
            health.ask(at(100));
        }
        health.claim_probe(at(109));
        assert_eq!(health.state(), Closed);
        health.claim_probe(at(110));
        assert_eq!(health.state(), Open);
        assert_eq!(health.counts().opened, 1);
    }

    /// What is logged while it lives.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(
                &mut |field: &tracing::field::Field, value: &dyn fmt::Debug| {
                    assert_eq!(field.name(), "message");
                    self.0
                        .lock()
                        .unwrap()
                        .push(format!("{} {value:?}", event.metadata().level()));
                },
            );
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn going_down_and_coming_back_are_said_once_each() {
        use Event::{Answered, Overloaded, ProbeAnswered, ProbeFailed, ServerError, Silent};
        let sick = |event, times: usize| vec![(0, event); times];
        let back = [(60_000, ProbeAnswered), (61_000, Answered)];
        type Story = Vec<(u64, Event)>;
        let table: [(bool, Story, &str, u64); 4] = [
            (
                false,
                [sick(REFUSED, 5), sick(Silent, 100)].concat(),
                "no connection, 3 times in a row (refused)",
                61,
            ),
            (
                false,
                [
                    sick(Silent, 7),
                    sick(Overloaded, 12),
                    vec![(5_000, Silent), (5_000, Silent)],
                ]
                .concat(),
                "20 requests in a row without a good answer: 8 timed out or broke off, 12 told to come back later \
                 (502, 503, 504), 0 failed (500)",
                56,
            ),
            (
                true,
                vec![(0, ProbeFailed), (1_000, ProbeFailed), (2_000, ProbeFailed)],
                "its health path failed 3 times in a row",
                59,
            ),
            // A trial that fails is no news.
            (
                true,
                [
                    sick(REFUSED, 3),
                    vec![
                        (10_000, ProbeAnswered),
                        (10_001, ServerError),
                        (10_002, Answered),
                    ],
                ]
                .concat(),
                "no connection, 3 times in a row (refused)",
                10,
            ),
        ];
        for (probed, events, why, back_after_s) in table {
            let log = Log::default();
            let start = Instant::now();
            tracing::subscriber::with_default(log.clone(), || {
                let health = OriginHealth::new("newsroom".to_owned(), probed, start);
                for (millis, event) in events.iter().chain(&back) {
                    health.note(start + Duration::from_millis(*millis), *event);
                }
            });
            assert_eq!(
                *log.0.lock().unwrap(),
                [
                    format!("WARN newsroom is down: {why}"),
                    format!("INFO newsroom is back after {back_after_s} s"),
                ]
            );
        }
    }
}
