//! An editor's file on its way: the parts of a form, and a film that no two bytes of which may change places.
//!
//! It is sent at the pace of a good line, piece by piece, and none of it is kept: what the newsroom's server says it got is compared with
//! the sum of what was sent.

use std::time::Duration;

use flate2::Crc;

use crate::chance::Chance;
use crate::origin;

/// 200 Mbit/s: fibre in an office, and 50 MB in two seconds.
const BYTES_PER_S: f64 = 25e6;
/// Handed to the kernel at once.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) const MEDIA_TYPE: &str =
    "multipart/form-data; boundary=----WebKitFormBoundaryQalaExample2026";
const BEFORE: &[u8] = b"------WebKitFormBoundaryQalaExample2026\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\nupload-attachment\r\n\
    ------WebKitFormBoundaryQalaExample2026\r\nContent-Disposition: form-data; name=\"async-upload\"; filename=\"report.mp4\"\r\n\
    Content-Type: video/mp4\r\n\r\n";
const AFTER: &[u8] = b"\r\n------WebKitFormBoundaryQalaExample2026--\r\n";

/// A form with a file of so many bytes.
pub(super) struct Upload {
    began: Duration,
    file_bytes: u64,
    sent: u64,
    sum: Crc,
    /// Of the file; its first eight bytes count the pieces.
    piece: Vec<u8>,
}

/// The length of the form.
pub(super) fn form_bytes(file_bytes: u64) -> u64 {
    BEFORE.len() as u64 + file_bytes + AFTER.len() as u64
}

impl Upload {
    pub(super) fn new(now: Duration, file_bytes: u64, chance: &mut Chance) -> Self {
        let words = std::iter::repeat_with(|| chance.draw().to_le_bytes());
        Self {
            began: now,
            file_bytes,
            sent: 0,
            sum: Crc::new(),
            piece: words.take(PIECE_BYTES / 8).flatten().collect(),
        }
    }

    /// What is due by now and was not sent; `None`: nothing, or all has been.
    pub(super) fn next(&mut self, now: Duration) -> Option<&[u8]> {
        let due = BYTES_PER_S * now.saturating_sub(self.began).as_secs_f64();
        if self.sent as f64 > due {
            return None;
        }
        let (before, file) = (BEFORE.len() as u64, self.file_bytes);
        let bytes = match self.sent {
            0 => BEFORE,
            sent if sent < before + file => {
                let at = sent - before;
                self.piece[..8].copy_from_slice(&at.to_le_bytes());
                let left = usize::try_from(file - at).unwrap_or(PIECE_BYTES);
                &self.piece[..left.min(PIECE_BYTES)]
            }
            sent if sent == before + file => AFTER,
            _ => return None,
        };
        self.sent += bytes.len() as u64;
        self.sum.update(bytes);
        Some(bytes)
    }

    /// Did the server get all of it, every byte in its place?
    pub(super) fn arrived(&self, answer: &[u8]) -> bool {
        self.sent == form_bytes(self.file_bytes)
            && answer == origin::received(self.sent, &self.sum).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(upload: &mut Upload, by: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = upload.next(by) {
            all.extend_from_slice(bytes);
        }
        all
    }

    #[test]
    fn a_form_is_as_long_as_it_says() {
        for file in [1, PIECE_BYTES as u64, 1_000_000] {
            let mut upload = Upload::new(Duration::ZERO, file, &mut Chance::new(1));
            let form = sent(&mut upload, Duration::from_secs(1));
            assert_eq!(form.len() as u64, form_bytes(file));
            assert!(form.starts_with(BEFORE) && form.ends_with(AFTER));
        }
    }

    #[test]
    fn it_goes_no_faster_than_the_line() {
        let began = Duration::from_secs(5);
        let mut upload = Upload::new(began, 50_000_000, &mut Chance::new(1));
        let first = sent(&mut upload, began).len();
        assert!(first <= BEFORE.len() + PIECE_BYTES, "{first}");
        let second = first + sent(&mut upload, began + Duration::from_secs(1)).len();
        assert!(
            (25_000_000..25_000_000 + 2 * PIECE_BYTES).contains(&second),
            "{second}"
        );
    }

    #[test]
    fn only_all_of_it_in_its_order_has_arrived() {
        let mut upload = Upload::new(Duration::ZERO, 200_000, &mut Chance::new(1));
        let early = origin::received(0, &Crc::new());
        assert!(!upload.arrived(early.as_bytes()));
        let form = sent(&mut upload, Duration::from_secs(1));
        let says = |form: &[u8]| {
            let mut sum = Crc::new();
            sum.update(form);
            upload.arrived(origin::received(form.len() as u64, &sum).as_bytes())
        };
        assert!(says(&form));
        let mut swapped = form.clone();
        swapped[BEFORE.len()..BEFORE.len() + 2 * PIECE_BYTES].rotate_left(PIECE_BYTES);
        for (name, other) in [("short", &form[1..]), ("swapped", &swapped)] {
            assert!(!says(other), "{name}");
        }
    }
}
