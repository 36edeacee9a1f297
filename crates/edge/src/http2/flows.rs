//! Whom each stream of a connection waits for, and whether that takes too long.
//!
//! A floor in bytes a second, judged over [`PACE_WINDOW`] of waiting for the client and nothing else: time in which we wait for the
//! origin, or the origin for us, does not count. A body's bytes count when they leave the socket, since a frame of 16 KB is handed on
//! only when it is whole. PINGs, window updates and frames of other streams count for nothing.
//!
//! Each upload has to keep the floor. Answers share it: a hundred pictures on one slow line are each slow, so the streams
//! whose client leaves no room are held to their part of it, and none of them while the socket itself is full, which is judged
//! where it is written to.
//!
//! One timer for all of it, in the connection's loop, which looks here when it fires.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::body::BodyError;
use crate::head::ClientFault;
use crate::occupancy::{Claim, Patience};
use crate::plan::Limits;
use crate::wire::PACE_WINDOW;

/// Of one connection.
pub(super) struct Flows {
    /// No more than `h2_streams_max`, and those whose end the frame library has yet to send.
    open: RefCell<HashMap<u32, Arc<Flow>, foldhash::fast::RandomState>>,
    body_rate_min: u64,
    write_rate_min: u64,
    /// When the last stream ended; before the first, when the connection began.
    last: Cell<Instant>,
    used: Cell<bool>,
    claim: Cell<Claim>,
    block_since: Cell<Option<Instant>>,
    socket_full: Cell<bool>,
    fault: Cell<Option<ClientFault>>,
}

/// Of one stream; its body may be read by the origin's connection.
pub(super) struct Flow(Mutex<State>);

#[derive(Default)]
struct State {
    body: Pace,
    answer: Pace,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The stream was too slow.
pub(super) struct Cut;

/// A stream, until it is answered.
pub(super) struct Open {
    pub(super) flow: Arc<Flow>,
    flows: Rc<Flows>,
    stream: u32,
}

/// Bytes moved and time waited since the last judgement.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    waited: Duration,
    moved: u64,
}

impl Pace {
    fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    fn goes_on(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// `None`: nobody waits.
    fn judged_at(&self) -> Option<Instant> {
        Some(self.since? + PACE_WINDOW.saturating_sub(self.waited))
    }

    /// Begins a new window when this one is over.
    fn is_too_slow(&mut self, now: Instant, bytes_min: u64) -> bool {
        if self.judged_at().is_none_or(|at| at > now) {
            return false;
        }
        let too_slow = self.moved < bytes_min;
        self.begin_again(now);
        too_slow
    }

    fn begin_again(&mut self, now: Instant) {
        *self = Self {
            since: Some(now),
            ..Self::default()
        };
    }
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of the body is here. Ready when it was waited for too long.
    pub(super) fn waits_for_body(&self, cx: &Context<'_>) -> Poll<BodyError> {
        let mut state = self.lock();
        if state.cut {
            return Poll::Ready(BodyError::TooSlow);
        }
        state.body.waits(Instant::now());
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn body_came(&self) {
        self.lock().body.goes_on(Instant::now());
    }

    /// The rest of the body is nobody's business any more.
    pub(super) fn body_unwanted(&self) {
        let mut state = self.lock();
        state.body = Pace::default();
        state.reader = None;
    }

    /// The client, or the socket, has no room for more of the answer. Ready when it was waited for too long.
    pub(super) fn waits_for_room(&self, cx: &Context<'_>) -> Poll<Cut> {
        let mut state = self.lock();
        if state.cut {
            return Poll::Ready(Cut);
        }
        state.answer.waits(Instant::now());
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn answer_went(&self, bytes: usize) {
        let mut state = self.lock();
        state.answer.moved += bytes as u64;
        state.answer.goes_on(Instant::now());
    }
}

impl Flows {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            open: RefCell::default(),
            body_rate_min: limits.body_rate_min,
            write_rate_min: limits.write_rate_min,
            last: Cell::new(now),
            used: Cell::new(false),
            claim: Cell::default(),
            block_since: Cell::new(None),
            socket_full: Cell::new(false),
            fault: Cell::new(None),
        }
    }

    pub(super) fn open(self: &Rc<Self>, stream: u32, now: Instant) -> Open {
        self.used.set(true);
        self.last.set(now);
        let flow = Arc::new(Flow(Mutex::default()));
        self.open.borrow_mut().insert(stream, Arc::clone(&flow));
        Open {
            flow,
            flows: Rc::clone(self),
            stream,
        }
    }

    /// Payload of a DATA frame, perhaps a part of it.
    pub(super) fn received(&self, stream: u32, bytes: usize) {
        if let Some(flow) = self.open.borrow().get(&stream) {
            flow.lock().body.moved += bytes as u64;
        }
    }

    pub(super) fn note_block(&self, since: Option<Instant>) {
        self.block_since.set(since);
    }

    pub(super) fn note_socket_full(&self, full: bool) {
        self.socket_full.set(full);
    }

    pub(super) fn broken_by(&self, fault: ClientFault) {
        self.fault.set(Some(fault));
    }

    /// What the connection ended for.
    pub(super) fn fault(&self) -> Option<ClientFault> {
        self.fault.get()
    }

    /// What speaks for keeping it.
    pub(super) fn claim(&self) -> Claim {
        self.claim.get()
    }

    /// When the header block that is on its way must be complete.
    pub(super) fn block_deadline(&self, header: Duration) -> Option<Instant> {
        Some(self.block_since.get()? + header)
    }

    /// When a connection without a stream is over. A header block on its way is no quiet, and has a deadline of its own.
    pub(super) fn quiet_until(&self, patience: Patience) -> Option<Instant> {
        if !self.open.borrow().is_empty() || self.block_since.get().is_some() {
            return None;
        }
        let quiet = if self.used.get() {
            patience.keep_alive
        } else {
            patience.header
        };
        Some(self.last.get() + quiet)
    }

    /// Cuts the streams that are too slow and says when to look again.
    ///
    /// # Errors
    /// When the whole connection is over, and for which fault if for any.
    pub(super) fn look(
        &self,
        now: Instant,
        patience: Patience,
        cut: &mut dyn FnMut(ClientFault),
    ) -> Result<Instant, Option<ClientFault>> {
        let block = self.block_deadline(patience.header);
        if block.is_some_and(|deadline| deadline <= now) {
            self.broken_by(ClientFault::HeadTooSlow);
            return Err(Some(ClientFault::HeadTooSlow));
        }
        if let Some(end) = self.quiet_until(patience) {
            return if end <= now { Err(None) } else { Ok(end) };
        }
        let open = self.open.borrow();
        let answers = open
            .values()
            .filter(|flow| flow.lock().answer.since.is_some())
            .count();
        let window = PACE_WINDOW.as_secs();
        let body_bytes_min = self.body_rate_min * window;
        let answer_bytes_min = (self.write_rate_min * window / (answers as u64).max(1)).max(1);
        let mut next = now + PACE_WINDOW;
        for flow in open.values() {
            let mut state = flow.lock();
            if self.socket_full.get() && state.answer.since.is_some() {
                state.answer.begin_again(now);
            }
            let fault = if state.body.is_too_slow(now, body_bytes_min) {
                Some(ClientFault::BodyTooSlow)
            } else if state.answer.is_too_slow(now, answer_bytes_min) {
                Some(ClientFault::AnswerTooSlow)
            } else {
                None
            };
            if let Some(fault) = fault.filter(|_| !state.cut) {
                state.cut = true;
                cut(fault);
                let wakers = [state.reader.take(), state.writer.take()];
                wakers.into_iter().flatten().for_each(Waker::wake);
            }
            let judged = [state.body.judged_at(), state.answer.judged_at()];
            next = judged.into_iter().flatten().fold(next, Instant::min);
        }
        Ok(next)
    }
}

impl Open {
    /// What came of it.
    pub(super) fn note(&self, claim: Claim) {
        self.flows.claim.set(claim);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.flows.last.set(Instant::now());
        self.flows.open.borrow_mut().remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MIN: u64 = 5_000;

    /// (second, what happens)
    enum Line {
        Waits,
        Moves(u64),
        GoesOn,
        TooSlow(bool),
    }
    use Line::{GoesOn, Moves, TooSlow, Waits};

    #[test]
    fn only_what_we_wait_for_is_judged() {
        let table: &[(&str, &[(u64, Line)])] = &[
            (
                "silence",
                &[(0, Waits), (9, TooSlow(false)), (10, TooSlow(true))],
            ),
            (
                "a byte a second",
                &[(0, Waits), (1, Moves(9)), (10, TooSlow(true))],
            ),
            (
                "at the floor, and then no more",
                &[
                    (0, Waits),
                    (5, Moves(5_000)),
                    (10, TooSlow(false)),
                    (19, TooSlow(false)),
                    (20, TooSlow(true)),
                ],
            ),
            (
                "a long pause that was not the client's",
                &[
                    (0, Waits),
                    (1, Moves(1)),
                    (1, GoesOn),
                    (60, Waits),
                    (68, TooSlow(false)),
                    (69, TooSlow(true)),
                ],
            ),
            ("nobody waits", &[(0, Moves(1)), (60, TooSlow(false))]),
        ];
        let start = Instant::now();
        for (what, story) in table {
            let mut pace = Pace::default();
            for (second, line) in *story {
                let now = start + Duration::from_secs(*second);
                match line {
                    Waits => pace.waits(now),
                    Moves(bytes) => pace.moved += bytes,
                    GoesOn => pace.goes_on(now),
                    TooSlow(expected) => {
                        assert_eq!(
                            pace.is_too_slow(now, BYTES_MIN),
                            *expected,
                            "{what}, {second} s"
                        );
                    }
                }
            }
        }
    }
}
