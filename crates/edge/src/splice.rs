//! Pages put together from pieces, packed or not.
//!
//! Ten thousand answers a second that differ in one word would each cost a tenth of a millisecond to pack. A deflate stream may be cut
//! into blocks that know nothing of each other (RFC 1951 §3.2.4), so what many answers share is packed once, what is one's own goes
//! between as it is, and the sum of the whole follows from the sums of its pieces.

use std::io::Write;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// No name, no time, from no known system (RFC 1952 §2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The last block, with nothing in it: fixed codes, and the end.
const LAST_BLOCK: [u8; 2] = [3, 0];
/// What says that a block is not packed, and its length twice.
const STORED_HEAD: usize = 5;
/// Of a block that is not packed.
const STORED_MAX: usize = u16::MAX as usize;

/// What many answers share.
#[derive(Debug)]
pub(crate) struct Packed {
    text: Box<str>,
    /// Whole blocks, none of them the last.
    blocks: Box<[u8]>,
    sum: Crc,
}

pub(crate) enum Piece<'a> {
    Own(&'a str),
    Shared(&'a Packed),
}

impl Packed {
    pub(crate) fn new(text: String) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        // Memory takes what is written to it. Flushing ends a block at a whole byte.
        let written = encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.flush());
        let mut blocks = Vec::new();
        match written {
            Ok(()) => blocks.extend_from_slice(encoder.get_ref()),
            Err(_) => store(text.as_bytes(), &mut blocks),
        }
        let mut sum = Crc::new();
        sum.update(text.as_bytes());
        Self {
            text: text.into_boxed_str(),
            blocks: blocks.into_boxed_slice(),
            sum,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.blocks.len()
    }
}

pub(crate) fn plain(pieces: &[Piece<'_>]) -> Bytes {
    let texts = || {
        pieces.iter().map(|piece| match piece {
            Piece::Own(text) => *text,
            Piece::Shared(packed) => &packed.text,
        })
    };
    let mut page = Vec::with_capacity(texts().map(str::len).sum());
    for text in texts() {
        page.extend_from_slice(text.as_bytes());
    }
    Bytes::from(page)
}

pub(crate) fn gzip(pieces: &[Piece<'_>]) -> Bytes {
    let length = pieces.iter().map(|piece| match piece {
        Piece::Own(text) => text.len() + 8,
        Piece::Shared(packed) => packed.blocks.len(),
    });
    let mut page = Vec::with_capacity(length.sum::<usize>() + 20);
    page.extend_from_slice(&GZIP_HEAD);
    let mut sum = Crc::new();
    for piece in pieces {
        match piece {
            Piece::Own(text) => {
                store(text.as_bytes(), &mut page);
                sum.update(text.as_bytes());
            }
            Piece::Shared(packed) => {
                page.extend_from_slice(&packed.blocks);
                sum.combine(&packed.sum);
            }
        }
    }
    page.extend_from_slice(&LAST_BLOCK);
    page.extend_from_slice(&sum.sum().to_le_bytes());
    page.extend_from_slice(&sum.amount().to_le_bytes());
    Bytes::from(page)
}

/// A place in a page for so many bytes of its own. Filling it costs a copy of the page: what is around it is packed once, it lies in a block that
/// is not packed, and what each of its bits does to the sum of the whole is known.
#[derive(Debug)]
pub(crate) struct Hole<const BYTES: usize> {
    at: usize,
    filler: [u8; BYTES],
    /// By byte and bit; of a page in gzip.
    sums: Option<Box<[[u32; 8]; BYTES]>>,
}

impl<const BYTES: usize> Hole<BYTES> {
    /// Where a page has this, in its plain form.
    pub(crate) fn plain(page: &str, filler: [u8; BYTES]) -> Option<Self> {
        let at = memchr::memmem::find(page.as_bytes(), &filler)?;
        Some(Self {
            at,
            filler,
            sums: None,
        })
    }

    /// The page in gzip, and its hole.
    pub(crate) fn gzip(page: &str, filler: [u8; BYTES]) -> Option<(Bytes, Self)> {
        let at = Self::plain(page, filler)?.at;
        let (before, rest) = page.split_at_checked(at)?;
        let (own, after) = rest.split_at_checked(BYTES)?;
        let before = Packed::new(before.to_owned());
        let shared = Packed::new(after.to_owned());
        let pieces = [
            Piece::Shared(&before),
            Piece::Own(own),
            Piece::Shared(&shared),
        ];
        let hole = Self {
            at: GZIP_HEAD.len() + before.blocks.len() + STORED_HEAD,
            filler,
            sums: Some(Box::new(sums(after.len()))),
        };
        Some((gzip(&pieces), hole))
    }

    /// The page with this in its hole.
    pub(crate) fn filled(&self, page: &[u8], text: &[u8; BYTES]) -> Bytes {
        let mut page = page.to_vec();
        if let Some(hole) = page.get_mut(self.at..self.at + BYTES) {
            hole.copy_from_slice(text);
        }
        if let Some(sums) = &self.sums {
            let changed = text.iter().zip(&self.filler).zip(&**sums);
            let change = changed.fold(0, |change, ((new, old), sums)| {
                let bits = sums.iter().enumerate();
                bits.fold(change, |change, (bit, sum)| {
                    change ^ (sum & (u32::from((new ^ old) >> bit) & 1).wrapping_neg())
                })
            });
            // The sum, and the length after it, end the page (RFC 1952 §2.3.1).
            if let Some((_, end)) = page.split_last_chunk_mut::<8>() {
                let [a, b, c, d, ..] = end;
                let sum = u32::from_le_bytes([*a, *b, *c, *d]) ^ change;
                [*a, *b, *c, *d] = sum.to_le_bytes();
            }
        }
        Bytes::from(page)
    }
}

/// What each bit of so many bytes does to the sum of a text in which `after` bytes follow them: a sum is linear in the bits of a text of
/// one length (RFC 1952 §8).
fn sums<const BYTES: usize>(after: usize) -> [[u32; 8]; BYTES] {
    /// The polynomial, lowest power first; what one bit does that comes last.
    const LAST_BIT: u32 = 0xedb8_8320;
    let mut sum = LAST_BIT;
    let mut next = || {
        let this = sum;
        sum = (sum >> 1) ^ (LAST_BIT & (sum & 1).wrapping_neg());
        this
    };
    for _ in 0..8 * after {
        next();
    }
    let mut sums = [[0; 8]; BYTES];
    for bits in sums.iter_mut().rev() {
        // A byte's highest bit is its last.
        for bit in bits.iter_mut().rev() {
            *bit = next();
        }
    }
    sums
}

/// As it is, in blocks of their own.
fn store(text: &[u8], page: &mut Vec<u8>) {
    for part in text.chunks(STORED_MAX) {
        let length = part.len() as u16;
        page.push(0);
        page.extend_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&(!length).to_le_bytes());
        page.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(page: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(page).read_to_string(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn a_reader_gets_the_same_packed_or_not(texts in prop::collection::vec((".{0,300}", any::<bool>()), 0..8)) {
            let shared: Vec<_> = texts.iter().map(|(text, _)| Packed::new(text.clone())).collect();
            let pieces: Vec<_> = texts
                .iter()
                .zip(&shared)
                .map(|((text, own), packed)| if *own { Piece::Own(text) } else { Piece::Shared(packed) })
                .collect();
            let whole: String = texts.iter().map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(&plain(&pieces)[..], whole.as_bytes());
            prop_assert_eq!(unpacked(&gzip(&pieces)), whole);
        }
    }

    #[test]
    fn a_hole_is_filled_as_if_the_page_had_been_made_with_it() {
        const FILLER: [u8; 9] = *b"0000-0000";
        let script = "қ".repeat(5_000);
        for (before, after) in [("<p>", "</p>"), ("", ""), (&*script, &*script)] {
            let page = format!("{before}0000-0000{after}");
            let plain = Hole::plain(&page, FILLER).unwrap();
            let (packed, hole) = Hole::gzip(&page, FILLER).unwrap();
            for text in [b"0000-0000", b"ZX81-ABCD", b"\xff\x00\x80\x01\x7e~~~~"] {
                let expected = [before.as_bytes(), text, after.as_bytes()].concat();
                assert_eq!(plain.filled(page.as_bytes(), text), expected);
                // The decoder checks the sum.
                let filled = hole.filled(&packed, text);
                assert_eq!(filled.len(), packed.len());
                let mut unpacked = Vec::new();
                let mut decoder = GzDecoder::new(&filled[..]);
                decoder.read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, expected);
            }
        }
        assert!(Hole::plain("no such place", FILLER).is_none());
    }

    #[test]
    fn what_is_shared_takes_little_room_and_long_pieces_stay_whole() {
        let long = "Алматы қаласында ".repeat(10_000);
        let packed = Packed::new(long.clone());
        let pieces = [Piece::Own("<b>"), Piece::Shared(&packed), Piece::Own(&long)];
        let page = gzip(&pieces);
        assert_eq!(unpacked(&page), format!("<b>{long}{long}"));
        assert!(page.len() < long.len() * 102 / 100, "{}", page.len());
        assert!(packed.bytes() < long.len() * 102 / 100);
    }
}
