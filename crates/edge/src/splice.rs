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
