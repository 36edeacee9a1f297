//! What lies in a file beside the response: what the next version is compared with, and what the page needs.

use super::good::Sketch;
use super::table::{Class, Rank};

pub(super) struct Note {
    pub(super) class: Class,
    pub(super) sketch: Sketch,
    pub(super) sum: u64,
    /// In the order of their ranks.
    pub(super) assets: Vec<(Rank, Box<[u8]>)>,
}

impl Note {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = vec![self.class as u8, u8::from(self.sketch.closes)];
        out.extend_from_slice(&self.sketch.text_bytes.to_le_bytes());
        out.extend_from_slice(&self.sketch.title.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        let mut ranks = 0;
        for (rank, target) in &self.assets {
            // No address is empty: an empty one stands where the next rank begins, and files from before ranks are read all the same.
            while ranks < *rank as usize {
                out.extend_from_slice(&[0, 0]);
                ranks += 1;
            }
            // Links are shorter than 2 KiB.
            let length = u16::try_from(target.len()).unwrap_or(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&target[..usize::from(length)]);
        }
        out
    }

    pub(super) fn of(note: &[u8]) -> Option<Self> {
        let (&[class, closes], rest) = note.split_first_chunk()?;
        let (text_bytes, rest) = rest.split_first_chunk()?;
        let (title, rest) = rest.split_first_chunk()?;
        let (sum, mut rest) = rest.split_first_chunk()?;
        let mut assets = Vec::new();
        let mut ranks = Rank::ALL.into_iter();
        let mut rank = ranks.next()?;
        while let Some((length, after)) = rest.split_first_chunk() {
            let (target, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            if target.is_empty() {
                rank = ranks.next()?;
            } else {
                assets.push((rank, target.into()));
            }
            rest = after;
        }
        Some(Self {
            class: match class {
                0 => Class::Page,
                1 => Class::Feed,
                2 => Class::Asset,
                _ => return None,
            },
            sketch: Sketch {
                title: u64::from_le_bytes(*title),
                text_bytes: u32::from_le_bytes(*text_bytes),
                closes: closes == 1,
            },
            sum: u64::from_le_bytes(*sum),
            assets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_less_is_not() {
        let note = Note {
            class: Class::Feed,
            sketch: Sketch {
                title: 7,
                text_bytes: 9,
                closes: true,
            },
            sum: 11,
            assets: vec![
                (Rank::Style, b"/s.css"[..].into()),
                (Rank::Script, b"/j.js?v=1"[..].into()),
                (Rank::Size, b"/i-300.jpg"[..].into()),
            ],
        };
        let written = note.write();
        let read = Note::of(&written).unwrap();
        assert_eq!(
            (read.class, read.sketch, read.sum),
            (note.class, note.sketch, note.sum)
        );
        assert_eq!(read.assets, note.assets);
        assert!(Note::of(&written[..written.len() - 1]).is_none());
        assert!(Note::of(b"").is_none());
    }
}
