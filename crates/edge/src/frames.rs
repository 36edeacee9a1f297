//! What an HTTP/2 client does with its connection, seen frame by frame beneath hyper.
//!
//! The attacks of RFC 9113 §10.5 and their successors (rapid reset, MadeYouReset, CONTINUATION, SETTINGS and PING floods) are
//! frames that cost the sender nothing and us something. h2 bounds most of them itself, each in its own way; this watch bounds
//! them all alike, before h2 works on them: each kind has a purse that refills with time, and a connection that empties one is
//! closed. Browsers stay far below every line of the table.

use std::time::Duration;

use tokio::time::Instant;

use crate::head::ClientFault;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The highest bit is reserved.
const STREAM_BITS: u32 = 0x7fff_ffff;

const FLAG_END_STREAM: u8 = 1;
const FLAG_END_HEADERS: u8 = 4;
const FLAG_PADDED: u8 = 8;

/// Frames a second that refill a purse, and how many it holds.
struct Allowance {
    per_second: u32,
    burst: u32,
}

/// In the order of `Kind`. A browser on a page of 100 images that the reader leaves: 100 resets once, some 200 window updates,
/// a SETTINGS at the start, a PING now and then.
const ALLOWANCES: [Allowance; 6] = [
    Allowance {
        per_second: 50,
        burst: 200,
    }, // resets
    Allowance {
        per_second: 1,
        burst: 10,
    }, // settings
    Allowance {
        per_second: 5,
        burst: 20,
    }, // pings
    Allowance {
        per_second: 1000,
        burst: 2000,
    }, // window updates
    Allowance {
        per_second: 5,
        burst: 20,
    }, // data frames without data
    Allowance {
        per_second: 100,
        burst: 200,
    }, // priority and kinds nobody knows
];

#[derive(Clone, Copy)]
enum Kind {
    Reset,
    Settings,
    Ping,
    WindowUpdate,
    EmptyData,
    Other,
}

/// A header block of 32 KB fits into two frames; some libraries cut at 4 KB.
const CONTINUATIONS_MAX: u32 = 8;

/// No more than this in one header block, before HPACK unpacks it.
const HEADER_BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Follows the frames of one connection in the bytes the client sends, however they are cut.
pub struct FrameWatch {
    preface_left: usize,
    head: [u8; FRAME_HEAD_BYTES],
    head_len: usize,
    payload_left: usize,
    /// The stream whose DATA the payload is.
    data_of: Option<u32>,
    spent: [u32; ALLOWANCES.len()],
    refilled: Option<Instant>,
    continuations: u32,
    block_bytes: usize,
    block_since: Option<Instant>,
    /// The payload on its way is the last of its block.
    block_ends: bool,
}

impl FrameWatch {
    pub fn new() -> Self {
        Self {
            preface_left: PREFACE.len(),
            head: [0; FRAME_HEAD_BYTES],
            head_len: 0,
            payload_left: 0,
            data_of: None,
            spent: [0; ALLOWANCES.len()],
            refilled: None,
            continuations: 0,
            block_bytes: 0,
            block_since: None,
            block_ends: false,
        }
    }

    /// When a header block began that is not complete yet.
    pub fn block_since(&self) -> Option<Instant> {
        self.block_since
    }

    /// `data` hears of every payload byte of a DATA frame, and of the stream it is for.
    ///
    /// # Errors
    /// When a purse is empty.
    pub fn advance(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        mut data: impl FnMut(u32, usize),
    ) -> Result<(), ClientFault> {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let step = self.payload_left.min(bytes.len());
                self.payload_left -= step;
                bytes = &bytes[step..];
                if let Some(stream) = self.data_of {
                    data(stream, step);
                }
                self.end_block();
                continue;
            }
            let step = (FRAME_HEAD_BYTES - self.head_len).min(bytes.len());
            self.head[self.head_len..self.head_len + step].copy_from_slice(&bytes[..step]);
            self.head_len += step;
            bytes = &bytes[step..];
            if self.head_len == FRAME_HEAD_BYTES {
                self.head_len = 0;
                self.frame(now)?;
                self.end_block();
            }
        }
        Ok(())
    }

    fn end_block(&mut self) {
        if self.block_ends && self.payload_left == 0 {
            self.block_ends = false;
            self.block_since = None;
        }
    }

    fn frame(&mut self, now: Instant) -> Result<(), ClientFault> {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.payload_left = len;
        self.data_of = (kind == DATA).then(|| u32::from_be_bytes(stream) & STREAM_BITS);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block_since.get_or_insert(now);
            self.block_ends = flags & FLAG_END_HEADERS != 0;
        }
        match kind {
            HEADERS => {
                self.continuations = 0;
                self.block_bytes = len;
            }
            CONTINUATION => {
                self.continuations += 1;
                self.block_bytes += len;
                // An empty CONTINUATION that does not end the block has no use but harm.
                let idle = len == 0 && flags & FLAG_END_HEADERS == 0;
                if idle
                    || self.continuations > CONTINUATIONS_MAX
                    || self.block_bytes > HEADER_BLOCK_BYTES_MAX
                {
                    return Err(ClientFault::FrameFlood);
                }
            }
            RST_STREAM => self.spend(Kind::Reset, now)?,
            SETTINGS => self.spend(Kind::Settings, now)?,
            PING => self.spend(Kind::Ping, now)?,
            WINDOW_UPDATE => self.spend(Kind::WindowUpdate, now)?,
            DATA if flags & FLAG_END_STREAM == 0
                && (len == 0 || flags & FLAG_PADDED != 0 && len < 256) =>
            {
                self.spend(Kind::EmptyData, now)?;
            }
            DATA => {}
            _ => self.spend(Kind::Other, now)?,
        }
        Ok(())
    }

    fn spend(&mut self, kind: Kind, now: Instant) -> Result<(), ClientFault> {
        let refilled = *self.refilled.get_or_insert(now);
        let seconds = now.saturating_duration_since(refilled).as_secs();
        if seconds > 0 {
            for (spent, allowance) in self.spent.iter_mut().zip(&ALLOWANCES) {
                let back = u64::from(allowance.per_second).saturating_mul(seconds);
                *spent = spent.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
            }
            self.refilled = Some(refilled + Duration::from_secs(seconds));
        }
        let spent = &mut self.spent[kind as usize];
        *spent += 1;
        if *spent > ALLOWANCES[kind as usize].burst {
            Err(ClientFault::FrameFlood)
        } else {
            Ok(())
        }
    }
}

impl Default for FrameWatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![
            (len >> 16) as u8,
            (len >> 8) as u8,
            len as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        frame.resize(FRAME_HEAD_BYTES + len, 0);
        frame
    }

    /// (what, frame kind, flags, payload bytes, how many in one second pass)
    const TABLE: &[(&str, u8, u8, usize, usize)] = &[
        ("rapid reset", RST_STREAM, 0, 4, 200),
        ("settings flood", SETTINGS, 0, 0, 10),
        ("ping flood", PING, 0, 8, 20),
        ("window update flood", WINDOW_UPDATE, 0, 4, 2000),
        ("data without data", DATA, 0, 0, 20),
        ("data of padding", DATA, FLAG_PADDED, 255, 20),
        ("priority churn", 2, 0, 5, 200),
        ("empty continuation", CONTINUATION, 0, 0, 0),
        ("continuation flood", CONTINUATION, 0, 100, 8),
    ];

    #[test]
    fn each_flood_is_cut_off_where_the_table_says() {
        let now = Instant::now();
        for (what, kind, flags, len, pass) in TABLE {
            let mut watch = FrameWatch::new();
            watch.advance(PREFACE, now, |_, _| {}).unwrap();
            let one = frame(*kind, *flags, *len);
            for sent in 1..=*pass {
                assert_eq!(
                    watch.advance(&one, now, |_, _| {}),
                    Ok(()),
                    "{what}, frame {sent}"
                );
            }
            assert_eq!(
                watch.advance(&one, now, |_, _| {}),
                Err(ClientFault::FrameFlood),
                "{what}"
            );
        }
    }

    #[test]
    fn what_has_come_of_a_body_and_of_a_header_block_is_known() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut watch = FrameWatch::new();
        let mut told = 0;
        let mut advance = |watch: &mut FrameWatch, bytes: &[u8], now| {
            for piece in bytes.chunks(7) {
                let data = |stream, bytes| {
                    assert_eq!(stream, 1);
                    told += bytes;
                };
                watch.advance(piece, now, data).unwrap();
            }
        };
        advance(&mut watch, PREFACE, start);
        assert_eq!(watch.block_since(), None);
        advance(&mut watch, &frame(HEADERS, 0, 100), start);
        assert_eq!(watch.block_since(), Some(start));
        let last = frame(CONTINUATION, FLAG_END_HEADERS, 100);
        advance(&mut watch, &last[..108], later);
        assert_eq!(watch.block_since(), Some(start), "a byte is missing");
        advance(&mut watch, &last[108..], later);
        assert_eq!(watch.block_since(), None);
        advance(&mut watch, &frame(HEADERS, FLAG_END_HEADERS, 0), later);
        assert_eq!(watch.block_since(), None);
        advance(&mut watch, &frame(DATA, 0, 1000)[..509], later);
        assert_eq!(told, 500);
    }

    #[test]
    fn purses_refill() {
        let start = Instant::now();
        let mut watch = FrameWatch::new();
        watch.advance(PREFACE, start, |_, _| {}).unwrap();
        let ping = frame(PING, 0, 8);
        for second in 0..100 {
            for _ in 0..5 {
                assert_eq!(
                    watch.advance(&ping, start + Duration::from_secs(second), |_, _| {}),
                    Ok(())
                );
            }
        }
    }

    #[test]
    fn ordinary_requests_spend_nothing() {
        let now = Instant::now();
        let mut watch = FrameWatch::new();
        watch.advance(PREFACE, now, |_, _| {}).unwrap();
        for _ in 0..10_000 {
            watch
                .advance(
                    &frame(HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 300),
                    now,
                    |_, _| {},
                )
                .unwrap();
            watch
                .advance(&frame(DATA, 0, 1000), now, |_, _| {})
                .unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_same_however_the_bytes_are_cut(kinds in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..400), cut in 1usize..50) {
            let now = Instant::now();
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, len) in kinds {
                bytes.extend(frame(kind, flags, len));
            }
            let whole = FrameWatch::new().advance(&bytes, now, |_, _| {});
            let mut watch = FrameWatch::new();
            let pieces = bytes.chunks(cut).try_for_each(|piece| watch.advance(piece, now, |_, _| {}));
            prop_assert_eq!(whole, pieces);
        }
    }
}
