//! Logs as they lie about: plain, gzip or zstd, several in a row, cut off in the middle, a megabyte in one line.
//!
//! Whatever cannot be read is counted with its place and never ends the reading of the rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::unread::Unread;

/// nginx cuts a request line at 32 KB and a head at as much again; what is longer is no line of a log.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
pub(super) const DAMAGED: &str = "the archive breaks off or is damaged here";
/// A log that comes through a pipe.
const STANDARD_INPUT: &str = "-";
/// Places of junk that are remembered; the rest is counted.
pub(super) const PLACES_MAX: usize = 20;

/// A place in a file, and what is wrong there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: u64,
    pub what: &'static str,
}

/// What became of one file.
#[derive(Debug, Clone)]
pub(super) struct FileRead {
    pub file: PathBuf,
    /// Empty ones are none.
    pub lines: u64,
    pub junk: u64,
    pub first_junk: Option<Place>,
}

impl FileRead {
    /// An archive that breaks off is junk without a line of its own.
    pub(super) fn read(&self) -> u64 {
        self.lines.saturating_sub(self.junk)
    }
}

/// Lines that were no lines.
#[derive(Debug, Default)]
pub(super) struct Junk {
    pub lines: u64,
    pub places: Vec<Place>,
    pub files: Vec<FileRead>,
}

impl Junk {
    pub(super) fn note(&mut self, file: &Path, line: u64, what: &'static str) {
        self.lines += 1;
        let place = || Place {
            file: file.to_path_buf(),
            line,
            what,
        };
        if self.places.len() < PLACES_MAX {
            self.places.push(place());
        }
        if let Some(current) = self.files.last_mut() {
            current.junk += 1;
            current.first_junk.get_or_insert_with(place);
        }
    }
}

/// Calls `each` with every line of `file` that is not empty, and its number. An archive that breaks off is junk at the line it breaks off in.
pub(super) fn lines(
    file: &Path,
    read: &Arc<AtomicU64>,
    junk: &mut Junk,
    mut each: impl FnMut(&[u8], u64, &mut Junk),
) -> Result<(), Unread> {
    let closed = |error| Unread::Closed {
        file: file.to_path_buf(),
        error,
    };
    let unpacked = unpacked(file, read).map_err(closed)?;
    junk.files.push(FileRead {
        file: file.to_path_buf(),
        lines: 0,
        junk: 0,
        first_junk: None,
    });
    let mut text = BufReader::with_capacity(BUFFER_BYTES, unpacked);
    let (mut carried, mut number, mut too_long) = (Vec::new(), 0, false);
    let mut empty = 0;
    let mut hand_over = |piece: &[u8], number: u64, junk: &mut Junk| {
        let line = without_marks(piece, number);
        if line.is_empty() {
            empty += 1;
        } else {
            each(line, number, junk);
        }
    };
    loop {
        let buffer = match text.fill_buf() {
            Ok([]) => break,
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => {
                junk.note(file, number + 1, DAMAGED);
                break;
            }
        };
        let length = buffer.len();
        let mut rest = buffer;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            number += 1;
            let piece = &rest[..end];
            rest = &rest[end + 1..];
            if too_long || carried.len() + piece.len() > LINE_BYTES_MAX {
                junk.note(file, number, "longer than 128 KB");
            } else if carried.is_empty() {
                hand_over(piece, number, junk);
            } else {
                carried.extend_from_slice(piece);
                hand_over(&carried, number, junk);
            }
            (too_long, carried) = (false, emptied(carried));
        }
        if carried.len() + rest.len() > LINE_BYTES_MAX {
            (too_long, carried) = (true, emptied(carried));
        } else if !too_long {
            carried.extend_from_slice(rest);
        }
        text.consume(length);
    }
    if too_long || !carried.is_empty() {
        number += 1;
    }
    if too_long {
        junk.note(file, number, "longer than 128 KB");
    } else if !carried.is_empty() {
        hand_over(&carried, number, junk);
    }
    if let Some(current) = junk.files.last_mut() {
        current.lines = number - empty;
    }
    Ok(())
}

pub(super) fn is_piped(file: &Path) -> bool {
    file == Path::new(STANDARD_INPUT)
}

/// The bytes of a file, or of standard input for `-`, unpacked.
pub(super) fn unpacked(file: &Path, read: &Arc<AtomicU64>) -> io::Result<Box<dyn Read>> {
    let bytes: Box<dyn Read> = if is_piped(file) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file)?)
    };
    let counted = Counted {
        bytes,
        read: Arc::clone(read),
    };
    let mut packed = BufReader::with_capacity(BUFFER_BYTES, counted);
    let start = packed.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(packed))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(packed)?)
    } else {
        Box::new(packed)
    })
}

/// The first lines of a file, as many as fit a buffer.
pub(super) fn start(file: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    let unpacked = unpacked(file, &Arc::default())?;
    // An archive that breaks off begins all the same.
    _ = unpacked.take(BUFFER_BYTES as u64).read_to_end(&mut start);
    Ok(start)
}

fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer
}

/// Without what Windows puts at the end of a line and at the start of a file.
fn without_marks(line: &[u8], number: u64) -> &[u8] {
    let line = match number {
        1 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        _ => line,
    };
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Says how much of the file has been read, for whoever waits.
struct Counted {
    bytes: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
