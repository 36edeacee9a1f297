//! Logs as they lie about: plain, gzip or zstd, several in a row, cut off in the middle, a megabyte in one line.
//!
//! Whatever cannot be read is counted with its place and never ends the reading of the rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// nginx cuts a request line at 32 KB and a head at as much again; what is longer is no line of a log.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// Places of junk that are remembered; the rest is counted.
pub(super) const PLACES_MAX: usize = 20;

/// A place in a file, and what is wrong there.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Place {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: u64,
    pub what: &'static str,
}

/// Lines that were no lines.
#[derive(Debug, Default)]
pub(super) struct Junk {
    pub lines: u64,
    pub places: Vec<Place>,
}

impl Junk {
    pub(super) fn note(&mut self, file: &Path, line: u64, what: &'static str) {
        self.lines += 1;
        if self.places.len() < PLACES_MAX {
            self.places.push(Place {
                file: file.to_path_buf(),
                line,
                what,
            });
        }
    }
}

/// Calls `each` with every line of `file` and its number. An archive that breaks off is junk at the line it breaks off in.
pub(super) fn lines(
    file: &Path,
    read: &Arc<AtomicU64>,
    junk: &mut Junk,
    mut each: impl FnMut(&[u8], u64, &mut Junk),
) -> io::Result<()> {
    let counted = Counted {
        file: File::open(file)?,
        read: Arc::clone(read),
    };
    let mut packed = BufReader::with_capacity(BUFFER_BYTES, counted);
    let start = packed.fill_buf()?;
    let unpacked: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(packed))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(packed)?)
    } else {
        Box::new(packed)
    };
    let mut text = BufReader::with_capacity(BUFFER_BYTES, unpacked);
    let (mut carried, mut number, mut too_long) = (Vec::new(), 0, false);
    loop {
        let buffer = match text.fill_buf() {
            Ok([]) => break,
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => {
                junk.note(
                    file,
                    number + 1,
                    "the archive breaks off or is damaged here",
                );
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
                each(without_return(piece), number, junk);
            } else {
                carried.extend_from_slice(piece);
                each(without_return(&carried), number, junk);
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
    if too_long {
        junk.note(file, number + 1, "longer than 128 KB");
    } else if !carried.is_empty() {
        each(without_return(&carried), number + 1, junk);
    }
    Ok(())
}

fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Says how much of the file has been read, for whoever waits.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
