//! The gate: the limit, the costs and the queue put together. Deterministic: no clock, no locks, no async; what waits is any `W`.
//!
//! Rules kept here, each with its test below:
//! - a request other than staff's starts only while fewer than the limit are in flight, or when none but staff are running;
//! - staff start at once while fewer than [`Gate::reserve`] of them are running, whatever the limit;
//! - while a slot is free for somebody who waits, somebody starts (work conserving), except the slots kept free for staff who
//!   were here in the last minute;
//! - each waiter ends in exactly one [`Wake`] or in a cancellation;
//! - an abandoned request keeps its slot until its learned cost has elapsed: PHP does not notice that nobody listens;
//! - requests that an origin which hangs has forgotten count no more, at most [`FORSAKEN_MAX`] of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use saqta_detect::facts::Class;
use saqta_detect::shape::Shape;

use super::cost::{Costs, Learned};
use super::limit::{Lesson, Limit, Sample};
use super::queue::{Queue, Ticket};
use super::{Ask, ClassStats, Micros, Outcome, Stats};

/// One slot in so many is kept for staff, at least one: an editor saving, its autosave and a media upload beside each other
/// need three on an origin that can serve them.
const RESERVE_PART: usize = 8;

/// Staff who asked within this time may be about to publish; editors autosave once a minute.
const STAFF_PRESENT: Duration = Duration::from_secs(70);

/// Waiters of one bucket, however cheap its shape: at 10 ms a page and a limit of 5 it is what two seconds can serve.
const BUCKET_WAITERS_MAX: usize = 1_024;

/// Requests that count no more and have not ended, at most: one a second for the minute a request may go unanswered is sixty. A web server's
/// queue holds hundreds, so as many beside the limit drown nobody.
pub(super) const FORSAKEN_MAX: usize = 64;

/// The right to one slot. Must come back by [`Gate::finish`], [`Gate::abandon`] or [`Gate::release`].
#[derive(Debug)]
pub(super) struct Grant {
    class: Class,
    shape: Shape,
    window: u32,
    full: bool,
    concurrency: usize,
    era: u32,
}

/// What became of a waiter.
#[derive(Debug)]
pub(super) enum Wake {
    Granted(Grant),
    Starved,
}

pub(super) type Wakes<W> = Vec<(W, Wake)>;

#[derive(Debug)]
pub(super) struct Gate<W> {
    limit: Limit,
    costs: Costs,
    queue: Queue<W>,
    /// Requests the origin is working on, abandoned ones included.
    in_flight: usize,
    staff_in_flight: usize,
    staff_seen: Option<Micros>,
    /// When abandoned requests are taken to end, and whose they were. Never more than were in flight.
    abandoned: BinaryHeap<Reverse<(Micros, Class)>>,
    /// Goes up when all that run are forsaken.
    era: u32,
    /// Of earlier eras, and not ended yet.
    forsaken: usize,
    counts: [ClassStats; Class::ALL.len()],
}

impl<W> Gate<W> {
    pub(super) fn new(concurrency_max: usize, seed: u64) -> Self {
        Self {
            limit: Limit::new(concurrency_max),
            costs: Costs::new(),
            queue: Queue::new(seed),
            in_flight: 0,
            staff_in_flight: 0,
            staff_seen: None,
            abandoned: BinaryHeap::new(),
            era: 0,
            forsaken: 0,
            counts: [ClassStats::default(); Class::ALL.len()],
        }
    }

    pub(super) fn set_concurrency_max(
        &mut self,
        now: Micros,
        concurrency_max: usize,
        wakes: &mut Wakes<W>,
    ) {
        self.limit.set_ceiling(now, concurrency_max);
        self.advance(now, wakes);
    }

    /// A slot at once, or `None`: then [`Gate::wait`].
    pub(super) fn try_start(
        &mut self,
        now: Micros,
        ask: &Ask,
        wakes: &mut Wakes<W>,
    ) -> Option<Grant> {
        if ask.class == Class::Staff {
            self.staff_seen = Some(now);
        }
        self.advance(now, wakes);
        // Whoever waits in a class that may start has been served by `advance`: nobody is overtaken.
        if !self.may_start(now, ask.class) || self.queue.len_of(ask.class) > 0 {
            return None;
        }
        Some(self.start(now, ask))
    }

    /// Queues a waiter. Whoever cannot be served in time any more because of it is turned away now.
    pub(super) fn wait(
        &mut self,
        now: Micros,
        ask: Ask,
        waiter: W,
        wakes: &mut Wakes<W>,
    ) -> Ticket {
        let expires = now.plus(ask.deadline);
        if self.queue.is_full()
            && let Some(next) = self.queue.turn_away_anyone(expires)
        {
            self.turn_away(next.ask.class, next.waiter, wakes);
        }
        let ticket = self.queue.push(ask, expires, waiter);
        self.count(ask.class).queued_total += 1;
        self.trim_beside(&ask, expires, wakes);
        ticket
    }

    /// The waiter left. `None`: its [`Wake`] came first.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<W> {
        self.queue.remove(ticket)
    }

    /// The waiter's deadline passed. `None`: its [`Wake`] came first.
    pub(super) fn expire(&mut self, ticket: Ticket, class: Class) -> Option<W> {
        let waiter = self.queue.remove(ticket)?;
        self.count(class).expired += 1;
        Some(waiter)
    }

    /// Would this ask, made now, push somebody of its kind out, or be pushed out? Cheap: no queueing, nothing changes.
    ///
    /// The bound alone does not say: it is five times as high while no other class waits, and falls as soon as one does. Filled up in
    /// between, it would be hundreds of places taken for nothing, many times a second.
    pub(super) fn is_starved(&self, now: Micros, ask: &Ask) -> bool {
        !self.may_start(now, ask.class)
            && (self.queue.waiting_beside(ask) >= self.waiters_max(ask)
                || self.queue.overflows(now, ask))
    }

    /// The origin has answered, `latency_ms` after the request was sent.
    pub(super) fn finish(
        &mut self,
        now: Micros,
        grant: Grant,
        latency_ms: f64,
        outcome: Outcome,
        wakes: &mut Wakes<W>,
    ) {
        self.count(grant.class).origin_ms += latency_ms;
        if !self.give_back(&grant) {
            // What it was stuck in says nothing about what the origin bears.
        } else if outcome.overload {
            self.limit.overloaded(now, grant.window);
        } else if !outcome.failed {
            let lesson = self.limit.observe(
                now,
                Sample {
                    window: grant.window,
                    full: grant.full,
                    pressed: !self.queue.is_empty(),
                    concurrency: grant.concurrency,
                    latency_ms,
                    baseline: self.costs.baseline(grant.shape),
                },
            );
            let ease = self.limit.ease(grant.concurrency);
            self.costs.learn(
                grant.shape,
                Learned {
                    latency_ms,
                    ease,
                    window: grant.window,
                },
            );
            if let Lesson::Relearn { window } = lesson {
                self.costs.relearn(window);
            }
        }
        self.advance(now, wakes);
    }

    /// The client went away after `latency_ms`; the origin works on. Says when it is taken to be done.
    pub(super) fn abandon(
        &mut self,
        now: Micros,
        grant: Grant,
        latency_ms: f64,
        wakes: &mut Wakes<W>,
    ) -> Option<Micros> {
        let cost_ms = self.costs.cost_ms(grant.shape);
        self.count(grant.class).abandoned += 1;
        self.count(grant.class).origin_ms += cost_ms.max(latency_ms);
        if latency_ms >= cost_ms || grant.era != self.era {
            self.give_back(&grant);
            self.advance(now, wakes);
            return None;
        }
        let ends = now.plus_ms(cost_ms - latency_ms);
        self.abandoned.push(Reverse((ends, grant.class)));
        Some(ends)
    }

    /// The slot was never used.
    pub(super) fn release(&mut self, now: Micros, grant: Grant, wakes: &mut Wakes<W>) {
        self.give_back(&grant);
        self.advance(now, wakes);
    }

    /// The origin hangs: what it holds it may never answer, and as long as that takes every slot nobody can find out whether it is back.
    pub(super) fn forsake(&mut self, now: Micros, wakes: &mut Wakes<W>) {
        let running = self.in_flight - self.abandoned.len();
        if self.in_flight < self.limit.level() || self.forsaken + running > FORSAKEN_MAX {
            return;
        }
        self.era = self.era.wrapping_add(1);
        self.forsaken += running;
        (self.in_flight, self.staff_in_flight) = (0, 0);
        self.abandoned.clear();
        self.advance(now, wakes);
    }

    /// Ends abandoned requests whose time is up and starts whoever may.
    pub(super) fn advance(&mut self, now: Micros, wakes: &mut Wakes<W>) {
        while let Some(Reverse((ends, class))) = self.abandoned.peek().copied()
            && ends <= now
        {
            self.abandoned.pop();
            self.leave(class);
        }
        while !self.queue.is_empty() {
            let allowed = Class::ALL.map(|class| self.may_start(now, class));
            let costs = &self.costs;
            let Some(next) = self.queue.pop(
                now,
                |class| allowed[class.index()],
                |shape| costs.cost_ms(shape),
            ) else {
                break;
            };
            if next.expires <= now {
                self.count(next.ask.class).expired += 1;
                wakes.push((next.waiter, Wake::Starved));
            } else {
                let grant = self.start(now, &next.ask);
                wakes.push((next.waiter, Wake::Granted(grant)));
            }
        }
    }

    /// When the slots kept for staff become free for those who wait, if none come: then somebody must [`Gate::advance`].
    pub(super) fn staff_gone(&self, now: Micros) -> Option<Micros> {
        self.staff_seen
            .map(|seen| seen.plus(STAFF_PRESENT))
            .filter(|gone| *gone > now)
    }

    pub(super) fn stats(&self) -> Stats {
        let mut classes = self.counts;
        for class in Class::ALL {
            classes[class.index()].queued = self.queue.len_of(class);
        }
        Stats {
            limit: self.limit.level(),
            in_flight: self.in_flight,
            abandoned: self.abandoned.len(),
            forsaken: self.forsaken,
            streams: 0,
            streams_refused: 0,
            classes,
        }
    }

    fn may_start(&self, now: Micros, class: Class) -> bool {
        let (level, others) = (self.limit.level(), self.in_flight - self.staff_in_flight);
        if class == Class::Staff {
            return self.in_flight < level || self.staff_in_flight < self.reserve();
        }
        others == 0
            || self.in_flight < level && others < level.saturating_sub(self.kept_for_staff(now))
    }

    fn reserve(&self) -> usize {
        (self.limit.level() / RESERVE_PART).max(1)
    }

    /// Nothing when no staff were here lately: a newsroom asleep needs no slot.
    fn kept_for_staff(&self, now: Micros) -> usize {
        if self.staff_gone(now).is_some() {
            self.reserve()
        } else {
            0
        }
    }

    /// What the bucket of this ask can be served within its deadline, by its learned cost and its share of the slots. While nobody
    /// knows how many slots there are, nobody is told that there are too few.
    fn waiters_max(&self, ask: &Ask) -> usize {
        if self.limit.is_learning() {
            return BUCKET_WAITERS_MAX;
        }
        let slots_ms = ask.deadline.as_secs_f64() * 1000.0 * self.limit.promised() as f64;
        let served = slots_ms * self.queue.share(ask) / self.costs.cost_ms(ask.shape);
        (served as usize).clamp(1, BUCKET_WAITERS_MAX)
    }

    fn start(&mut self, now: Micros, ask: &Ask) -> Grant {
        self.in_flight += 1;
        self.staff_in_flight += usize::from(ask.class == Class::Staff);
        self.count(ask.class).granted += 1;
        Grant {
            class: ask.class,
            shape: ask.shape,
            window: self.limit.window(),
            full: self.in_flight + self.kept_for_staff(now) >= self.limit.level(),
            concurrency: self.in_flight,
            era: self.era,
        }
    }

    /// False: it counted no more.
    fn give_back(&mut self, grant: &Grant) -> bool {
        let counts = grant.era == self.era;
        if counts {
            self.leave(grant.class);
        } else {
            self.forsaken -= 1;
        }
        counts
    }

    fn leave(&mut self, class: Class) {
        self.in_flight -= 1;
        self.staff_in_flight -= usize::from(class == Class::Staff);
    }

    fn turn_away(&mut self, class: Class, waiter: W, wakes: &mut Wakes<W>) {
        self.count(class).turned_away += 1;
        wakes.push((waiter, Wake::Starved));
    }

    fn count(&mut self, class: Class) -> &mut ClassStats {
        &mut self.counts[class.index()]
    }

    /// Turns this ask away before it is queued, when queueing it would only push out another of its own lane, now or before its next turn:
    /// which of the two is told to come back is the same to every other network. Whose lane is emptier than others is queued, so that the
    /// crowd makes room. So a flood costs a few places in the queue for each who is served, and not one a request.
    pub(super) fn turn_away_at_once(
        &mut self,
        now: Micros,
        ask: &Ask,
        wakes: &mut Wakes<W>,
    ) -> bool {
        let is_vain = self.is_starved(now, ask)
            && (self.queue.crowds_its_bucket(ask) || self.queue.comes_too_soon(ask));
        if !is_vain {
            return false;
        }
        self.queue.overflowed(ask, now.plus(ask.deadline));
        self.count(ask.class).turned_away += 1;
        // The bound sinks when pages become slower; nobody else may come to notice.
        self.trim_beside(ask, now.plus(ask.deadline), wakes);
        true
    }

    /// Turns away those of this ask's bucket who cannot be served in time any more.
    fn trim_beside(&mut self, ask: &Ask, expires: Micros, wakes: &mut Wakes<W>) {
        let bound = self.waiters_max(ask);
        while self.queue.waiting_beside(ask) > bound {
            let Some(next) = self.queue.turn_away_beside(ask, expires) else {
                break;
            };
            self.turn_away(next.ask.class, next.waiter, wakes);
        }
    }
}
