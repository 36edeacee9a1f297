//! Connections that are held, not used.
//!
//! A third each: a head that never ends (slowloris), the body of a POST drop by drop, and an answer read drop by drop, all of
//! them just fast enough to look alive. A connection the server closes is opened again from the next address.

use std::collections::VecDeque;
use std::time::Duration;

use super::attack::{Field, Span};
use crate::chance::Chance;
use crate::scenario::Slow;
use crate::wire::{Key, Use};

/// All connections are opened in this time, as fast as the slowest of such tools does.
const OPENED_WITHIN: Duration = Duration::from_secs(2);
/// Opened or dripped before the wire is heard again.
const FIRED_AT_ONCE: usize = 256;
/// Asked for at once by a slow reader, so that the kernel's buffers do not take the whole answer for it.
const PIPELINED: usize = 16;
/// Read at each drop.
const SIP_BYTES: usize = 64;
/// Announced by a slow body; one byte of it comes at a time.
const BODY_BYTES: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Head,
    Body,
    Read,
}

pub(super) struct SlowAttack {
    slow: Slow,
    span: Span,
    chance: Chance,
    /// When each connection is dripped next; all have the same pace, so the first is due first.
    drips: VecDeque<(Duration, Option<Key>, Way)>,
    opened: usize,
    turns: usize,
    request: Vec<u8>,
}

impl SlowAttack {
    pub(super) fn new(slow: Slow, span: Span, chance: Chance) -> Self {
        Self {
            slow,
            span,
            chance,
            drips: VecDeque::new(),
            opened: 0,
            turns: 0,
            request: Vec::new(),
        }
    }

    pub(super) fn next(&self) -> Option<Duration> {
        let open =
            (self.opened < self.slow.connections as usize).then(|| self.opening(self.opened));
        open.into_iter()
            .chain(self.drips.front().map(|(at, ..)| *at))
            .min()
    }

    fn opening(&self, n: usize) -> Duration {
        self.span.start + OPENED_WITHIN.mul_f64(n as f64 / f64::from(self.slow.connections))
    }

    pub(super) fn fire(&mut self, now: Duration, field: &mut Field<'_>) {
        if now >= self.span.end {
            return;
        }
        for _ in 0..FIRED_AT_ONCE {
            if self.opened >= self.slow.connections as usize || self.opening(self.opened) > now {
                break;
            }
            let way = [Way::Head, Way::Body, Way::Read][self.opened % 3];
            self.opened += 1;
            let key = self.open(way, now, field);
            self.drips.push_back((now + self.slow.drop_every, key, way));
        }
        for _ in 0..FIRED_AT_ONCE {
            let Some((at, key, way)) = self.drips.front().copied() else {
                return;
            };
            if at > now {
                return;
            }
            self.drips.pop_front();
            let key = match key.filter(|key| field.wire.has(*key)) {
                Some(key) => {
                    self.drip(key, way, field);
                    Some(key)
                }
                None => self.open(way, now, field),
            };
            self.drips.push_back((now + self.slow.drop_every, key, way));
        }
    }

    fn open(&mut self, way: Way, now: Duration, field: &mut Field<'_>) -> Option<Key> {
        let bot = self.span.address(self.turns);
        self.turns += 1;
        field.notes.due += 1;
        let usage = if way == Way::Read {
            Use::Ignore
        } else {
            Use::Drain
        };
        let key = field.open(field.ground.address(bot), usage, now)?;
        field.notes.note(now, |tally| tally.requests += 1);
        let person = field.ground.person(bot, false);
        self.request.clear();
        match way {
            Way::Head => {
                person.write_view(&mut self.request, field.ground.host, "/", None);
                // Without the empty line that would end it.
                self.request.truncate(self.request.len().saturating_sub(2));
            }
            Way::Body => {
                super::heads::write_post_head(
                    &mut self.request,
                    &person,
                    field.ground.host,
                    "/wp-comments-post.php",
                    "application/x-www-form-urlencoded",
                    BODY_BYTES,
                );
                self.request.extend_from_slice(b"comment=");
            }
            Way::Read => {
                for _ in 0..PIPELINED {
                    let article = field.ground.article(&mut self.chance).to_owned();
                    person.write_view(&mut self.request, field.ground.host, &article, None);
                }
            }
        }
        field.wire.push(key, &self.request);
        Some(key)
    }

    fn drip(&mut self, key: Key, way: Way, field: &mut Field<'_>) {
        match way {
            Way::Head => drop(field.wire.push(key, b"X-a: b\r\n")),
            Way::Body => drop(field.wire.push(key, b"a")),
            Way::Read => field.wire.sip(key, SIP_BYTES),
        }
    }

    /// The server closed it; it is opened again when its next drop is due.
    pub(super) fn hear(&mut self, now: Duration, key: Key, field: &mut Field<'_>) {
        field.notes.note(now, |tally| tally.refused += 1);
        field.wire.close(key, true);
    }
}
