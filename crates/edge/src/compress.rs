//! Text is sent compressed, and compressed once.
//!
//! A stored page is squeezed for the first client that likes a coding and comes back to it: not on the request's path but by one
//! thread of its own, fed through a short queue that drops when full. Whoever asks before it is done gets the page as it is. One
//! thread and a short queue are a promise to the shards: an attacker who walks through the archive can keep that thread busy and
//! nothing else. What is not stored goes through [`passing`].
//!
//! Brotli at 5 and gzip at 6 are where more effort stops paying for text; zstd at 9 keeps its window under the 8 MiB browsers accept.

pub(crate) mod passing;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::background::{self, Nice};
use crate::fields::Fields;

/// Below this a frame and a header field cost what compressing saves.
pub const BODY_BYTES_MIN: usize = 1024;
/// Above this it is no page: brotli would keep the thread for a second.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Jobs waiting for the thread. At 10 ms a page this is two and a half seconds of work; who comes later asks again with the next
/// hit.
const QUEUE_MAX: usize = 256;

const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW_BITS: u32 = 20;
const ZSTD_LEVEL: i32 = 9;
const GZIP_LEVEL: u32 = 6;

/// What a form of a page is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Coding {
    Identity,
    Gzip,
    Zstd,
    Brotli,
}

/// Best first: brotli's files are the smallest, gzip's the largest.
pub const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// The `Content-Encoding` token; empty for identity.
    pub fn token(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// Appended inside an entity tag, so that each coding has its own.
    pub fn tag_suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "-gz",
            Self::Zstd => "-zs",
            Self::Brotli => "-br",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What a request says of each coding (RFC 9110 §12.5.3), in thousandths; 0 is "not this one".
///
/// A client that accepts nothing we have, not even identity, gets identity: a page it may be able to read is better than a 406.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    qualities: [u16; 4],
}

/// Codings nobody named are worth less than any that was.
const UNNAMED_IDENTITY: u16 = 1;

impl Accepted {
    pub fn of<F: Fields + ?Sized>(request: &F) -> Self {
        let mut named: [Option<u16>; 4] = [None; 4];
        let mut any = None;
        request.each_line("accept-encoding", &mut |line| {
            for item in line.split(|byte| *byte == b',') {
                let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let name = parts.next().unwrap_or_default();
                let place = if name.eq_ignore_ascii_case(b"br") {
                    &mut named[Coding::Brotli.index()]
                } else if name.eq_ignore_ascii_case(b"zstd") {
                    &mut named[Coding::Zstd.index()]
                } else if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip")
                {
                    &mut named[Coding::Gzip.index()]
                } else if name.eq_ignore_ascii_case(b"identity") {
                    &mut named[Coding::Identity.index()]
                } else if name == b"*" {
                    &mut any
                } else {
                    continue;
                };
                let mut thousandths = 1000;
                for part in parts {
                    if let [b'q' | b'Q', b'=', value @ ..] = part {
                        thousandths = quality(value).unwrap_or(0);
                    }
                }
                // Named twice: the kinder one.
                *place = Some(place.map_or(thousandths, |other| thousandths.max(other)));
            }
        });
        let mut qualities = named.map(|quality| quality.or(any).unwrap_or(0));
        if named[Coding::Identity.index()].or(any).is_none() {
            qualities[Coding::Identity.index()] = UNNAMED_IDENTITY;
        }
        Self { qualities }
    }

    /// The best of what there is: by what the client thinks of it, then in the order of [`CODINGS`].
    pub fn best_of(self, there_is: impl Fn(Coding) -> bool) -> Coding {
        let mut best = (0, Coding::Identity);
        for coding in CODINGS.into_iter().chain([Coding::Identity]) {
            let quality = self.qualities[coding.index()];
            if quality > best.0 && there_is(coding) {
                best = (quality, coding);
            }
        }
        best.1
    }

    pub fn best(self) -> Coding {
        self.best_of(|_| true)
    }
}

/// `0`, `1`, `0.123`, `1.000` as thousandths.
pub(crate) fn quality(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &value[1..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (at, digit) in fraction.iter().enumerate() {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * [100, 10, 1][at];
    }
    (thousandths <= 1000).then_some(thousandths)
}

/// Text, by the name of its type.
pub fn is_text(content_type: &[u8]) -> bool {
    let essence = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    essence.starts_with(b"text/")
        || essence.ends_with(b"+xml")
        || essence.ends_with(b"+json")
        || matches!(
            &essence[..],
            b"application/javascript"
                | b"application/x-javascript"
                | b"application/json"
                | b"application/xml"
                | b"application/wasm"
                | b"application/vnd.ms-fontobject"
                | b"font/ttf"
                | b"font/otf"
                | b"image/x-icon"
                | b"image/vnd.microsoft.icon"
        )
}

/// `None` when the result would not be smaller than `bytes_max`, or the encoder failed (out of memory).
pub fn compress(coding: Coding, body: &[u8], bytes_max: usize) -> Option<Bytes> {
    let mut out = Vec::with_capacity(body.len() / 3);
    match coding {
        Coding::Identity => return None,
        Coding::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(&mut out, flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?;
        }
        Coding::Zstd => {
            let mut encoder = zstd::stream::Encoder::new(&mut out, ZSTD_LEVEL).ok()?;
            encoder.set_pledged_src_size(Some(body.len() as u64)).ok()?;
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?;
        }
        Coding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(
                &mut out,
                64 * 1024,
                BROTLI_QUALITY,
                BROTLI_WINDOW_BITS,
            );
            encoder.write_all(body).ok()?;
            encoder.flush().ok()?;
            drop(encoder);
        }
    }
    (out.len() < bytes_max).then(|| Bytes::copy_from_slice(&out))
}

/// What an origin compressed without being asked to: by `gzip` or `deflate`, which programs of 2005 knew. `None`: it is not whole, longer than
/// `bytes_max`, or of another coding.
pub fn decompress(coding: &[u8], body: &[u8], bytes_max: usize) -> Option<Bytes> {
    let mut out = Vec::new();
    let limit = bytes_max as u64 + 1;
    match coding.trim_ascii().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => flate2::read::MultiGzDecoder::new(body)
            .take(limit)
            .read_to_end(&mut out),
        b"deflate" => flate2::read::ZlibDecoder::new(body)
            .take(limit)
            .read_to_end(&mut out),
        _ => return None,
    }
    .ok()?;
    (out.len() <= bytes_max).then(|| Bytes::from(out))
}

/// Something that can be compressed in place by the thread.
pub trait Compressible: Send + Sync + 'static {
    fn compress(&self, coding: Coding);
    /// The job was not taken; it may be asked for again.
    fn refused(&self, coding: Coding);
}

/// The thread. Dropping it lets the thread finish the job in its hands and end.
pub struct Compressor<T> {
    jobs: SyncSender<Job<T>>,
    dropped: AtomicU64,
}

enum Job<T> {
    /// The queue keeps nothing alive that the cache has let go.
    Compress(Weak<T>, Coding),
    Tell(SyncSender<()>),
}

impl<T: Compressible> Compressor<T> {
    /// # Errors
    /// When the system gives us no thread.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        background::spawn("compress", Nice::Soon, move || work(&queue))?;
        Ok(Self {
            jobs,
            dropped: AtomicU64::new(0),
        })
    }

    pub fn ask(&self, item: &Arc<T>, coding: Coding) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self
            .jobs
            .try_send(Job::Compress(Arc::downgrade(item), coding))
        {
            item.refused(coding);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Blocks until everything asked for so far is done.
    pub fn settle(&self) {
        let (tell, told) = sync_channel(1);
        if self.jobs.send(Job::Tell(tell)).is_ok() {
            // An error: the thread is gone, and nothing more will be made.
            let _gone = told.recv();
        }
    }

    /// Jobs a full queue turned away.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn work<T: Compressible>(queue: &Receiver<Job<T>>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Compress(item, coding) => {
                if let Some(item) = item.upgrade() {
                    item.compress(coding);
                }
            }
            Job::Tell(who) => {
                // Whoever asked may have stopped waiting.
                let _gone = who.send(());
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;
    use std::io::Read;

    fn request(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append("accept-encoding", line.parse().unwrap());
        }
        map
    }

    #[test]
    fn what_a_client_likes_best() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        let table: &[(&[&str], Coding)] = &[
            (&[], Identity),
            (&[""], Identity),
            (&["gzip, deflate, br, zstd"], Brotli),
            (&["gzip, deflate"], Gzip),
            (&["X-GZip"], Gzip),
            (&["gzip", "BR"], Brotli),
            (&["zstd;q=0.2, gzip"], Gzip),
            (&["gzip;q=0.5, br;q=0.4, zstd;q=0.5"], Zstd),
            (&["*;q=0.5, gzip"], Gzip),
            (&["gzip;q=0.8, *"], Brotli),
            (&["br;q=0, gzip"], Gzip),
            (&["br;q=0.000, gzip;Q=0.0"], Identity),
            (&["br; q=0.001"], Brotli),
            (&["br; q=0.01; x=y"], Brotli),
            (&["br;q=x"], Identity),
            (&["*"], Brotli),
            (&["br;q=0, *"], Zstd),
            (&["*;q=0"], Identity),
            (&["identity"], Identity),
            (&["identity, br"], Brotli),
            (&["identity, br;q=0.9"], Identity),
            (&["identity;q=0.5, gzip;q=0.4, br;q=0"], Identity),
            (&["identity;q=0, gzip;q=0.001"], Gzip),
            (&["br;q=0, br"], Brotli),
            // Nothing we have is wanted.
            (&["identity;q=0"], Identity),
            (&["*;q=0, identity;q=0, br;q=0"], Identity),
            (&["deflate, compress"], Identity),
            (&["brotli"], Identity),
        ];
        for (lines, expected) in table {
            assert_eq!(Accepted::of(&request(lines)).best(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn the_best_of_what_there_is() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        let table: &[(&str, &[Coding], Coding)] = &[
            ("gzip, br, zstd", &[Gzip, Identity], Gzip),
            ("gzip, br, zstd", &[Identity], Identity),
            ("br;q=0, gzip", &[Brotli, Identity], Identity),
            ("identity;q=0.9, gzip;q=0.5", &[Gzip, Identity], Identity),
            (
                "identity;q=0, gzip;q=0.5, zstd",
                &[Gzip, Zstd, Identity],
                Zstd,
            ),
        ];
        for (line, there_is, expected) in table {
            assert_eq!(
                Accepted::of(&request(&[line])).best_of(|coding| there_is.contains(&coding)),
                *expected,
                "{line}"
            );
        }
    }

    #[test]
    fn qualities() {
        let table: &[(&str, Option<u16>)] = &[
            ("1", Some(1000)),
            ("1.0", Some(1000)),
            ("1.001", None),
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.123", Some(123)),
            ("0.1234", None),
            ("2", None),
            ("", None),
            (".5", None),
            ("0,5", None),
        ];
        for (value, expected) in table {
            assert_eq!(quality(value.as_bytes()), *expected, "{value}");
        }
    }

    #[test]
    fn types() {
        let table = [
            ("text/html; charset=utf-8", true),
            ("TEXT/CSS", true),
            ("application/rss+xml", true),
            ("application/ld+json", true),
            ("image/svg+xml", true),
            ("application/javascript", true),
            ("image/webp", false),
            ("font/woff2", false),
            ("application/octet-stream", false),
            ("", false),
        ];
        for (name, text) in table {
            assert_eq!(is_text(name.as_bytes()), text, "{name}");
        }
    }

    pub(super) fn unpacked(coding: Coding, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(packed),
            Coding::Gzip => {
                flate2::read::GzDecoder::new(packed)
                    .read_to_end(&mut out)
                    .unwrap();
            }
            Coding::Zstd => out = zstd::stream::decode_all(packed).unwrap(),
            Coding::Brotli => {
                brotli::Decompressor::new(packed, 4096)
                    .read_to_end(&mut out)
                    .unwrap();
            }
        }
        out
    }

    #[test]
    fn what_does_not_shrink_is_not_kept() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        for coding in CODINGS {
            assert_eq!(compress(coding, &noise, noise.len()), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn codings_give_back_what_they_took(text in "[a-e ]{0,5000}") {
            for coding in CODINGS {
                let packed = compress(coding, text.as_bytes(), usize::MAX).unwrap();
                prop_assert_eq!(unpacked(coding, &packed), text.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_a_class(line in proptest::collection::vec(32u8..127, 0..60)) {
            let mut map = HeaderMap::new();
            map.insert("accept-encoding", http::HeaderValue::from_bytes(&line).unwrap());
            Accepted::of(&map).best();
        }
    }
}
