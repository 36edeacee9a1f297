//! What cannot be read as an access log, and what it is instead.
//!
//! An answer of "0 incidents" about a file of which nothing was understood would calm somebody who has every reason not to be. So
//! no answer is given, and whoever gave the wrong file learns what it looks like: most often the right one lies beside it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use saqta_detect::sentence::shown;
use saqta_lab::referee::thousands;

use super::source::{self, DAMAGED, FileRead, Place};
use crate::machine::plainly;

/// What is asked for where nothing was understood.
pub(super) const FORMATS: &str = "Known are combined and common lines of nginx and Apache, with or without a virtual host in front; JSON as \
     Caddy writes it, or nginx with time, address, request and status; and counts a minute (`period,count`). Plain, gzip or zstd.";
/// Of a file's lines, one in so many has to be of an access log, or it is another kind of file in which something resembles one.
const READ_ONE_IN: u64 = 100;
/// Enough for the first lines of anything.
const START_BYTES: u64 = 4_096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("{}: {}\n{}", shown(&file.to_string_lossy()), plainly(error), remedy(error))]
    Closed { file: PathBuf, error: io::Error },
    #[error("standard input can be read only once; give the log as a file")]
    OnlyOnce,
    #[error("{}: given twice; its requests would count twice", shown(&file.to_string_lossy()))]
    Twice { file: PathBuf },
    #[error("{}: no line in it\nGive a log in which requests were written down.", shown(&file.to_string_lossy()))]
    Empty { file: PathBuf },
    #[error(
        "{}:{}: {DAMAGED}\nNo line lies before that place; fetch or copy the file again.",
        shown(&first.file.to_string_lossy()),
        first.line
    )]
    Damaged { first: Place },
    #[error(
        "{}:{}: {}{}\n{} of {} lines could be read, too few to answer anything.\n{FORMATS}",
        shown(&first.file.to_string_lossy()),
        first.line,
        first.what,
        looks_like(&first.file),
        thousands(*read),
        thousands(*lines)
    )]
    Strange { first: Place, lines: u64, read: u64 },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => "Name the logs in it, in the order of their time.",
        io::ErrorKind::PermissionDenied => {
            "Have it read by a user who may (sudo, or a member of the group adm)."
        }
        _ => "Name a log, or - for standard input.",
    }
}

/// Whether hardly a line of this file was understood.
pub(super) fn is_strange(file: &FileRead) -> bool {
    file.lines > 0 && file.read() * READ_ONE_IN < file.lines
}

/// `Some`: there is nothing to answer about.
pub(super) fn unread(files: &[FileRead], parsed: u64) -> Option<Unread> {
    let has_log = files.iter().any(|file| file.lines > 0 && !is_strange(file));
    // A file of counts may have its heading alone.
    if has_log && parsed > 0 {
        return None;
    }
    let lines = files.iter().map(|file| file.lines).sum();
    let first = files.iter().find_map(|file| file.first_junk.clone());
    Some(match first {
        None => Unread::Empty {
            file: files.first()?.file.clone(),
        },
        Some(first) if lines == 0 => Unread::Damaged { first },
        Some(first) => Unread::Strange {
            first,
            lines,
            read: files.iter().map(FileRead::read).sum(),
        },
    })
}

/// `; it looks like …`, or nothing.
pub(super) fn looks_like(file: &Path) -> String {
    let mut start = Vec::new();
    // What stood on standard input is gone.
    let is_file = file.is_file();
    let opened = is_file
        .then(|| source::unpacked(file, &std::sync::Arc::default()).ok())
        .flatten();
    if let Some(opened) = opened {
        // A damaged archive gives what it can.
        _ = opened.take(START_BYTES).read_to_end(&mut start);
    }
    kind(&start).map_or_else(String::new, |kind| format!("; it looks like {kind}"))
}

/// Told by the first bytes.
fn kind(start: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 11] = [
        (
            b"\xff\xfe",
            "text in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
        ),
        (
            b"\xfe\xff",
            "text in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
        ),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"BZh", "bzip2: unpack it first"),
        (b"\xfd7zXZ", "xz: unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
        (b"%PDF", "a PDF"),
        (
            b"#Software:",
            "the W3C's extended format (IIS), which is not read",
        ),
        (
            b"#Version:",
            "the W3C's extended format (IIS, CloudFront), which is not read",
        ),
        (
            b"{",
            "JSON without the fields that are needed, or with other names",
        ),
        (b"<", "HTML or XML"),
    ];
    if let Some((_, kind)) = KINDS.iter().find(|(first, _)| start.starts_with(first)) {
        return Some(kind);
    }
    // `2026/01/01 12:00:00 [error] 12#12: …` of nginx, `[Wed Oct 11 14:32:52 2000] [core:error] …` of Apache.
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let has = |part: &[u8]| memchr::memmem::find(line, part).is_some();
    let is_error_log = [&b"error]"[..], b"warn]", b"notice]", b"crit]", b"alert]"]
        .iter()
        .any(|level| has(level));
    if is_error_log {
        return Some("an error log: the access log most often lies beside it");
    }
    start.contains(&0).then_some("binary data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_start() {
        for (start, expected) in [
            (&b""[..], None),
            (b"date,user\n", None),
            (b"%PDF-1.7", Some("a PDF")),
            (b"\xff\xfe1\x002\x00", Some("UTF-16")),
            (b"PK\x03\x04..", Some("unpack it first")),
            (b"#Version: 1.0\n#Fields: date", Some("W3C")),
            (b"{\"message\":1}", Some("JSON")),
            (b"<!doctype html>", Some("HTML")),
            (
                b"2026/01/01 12:00:00 [error] 1#1: *1 connect() failed",
                Some("an error log"),
            ),
            (
                b"[Wed Oct 11 14:32:52 2000] [core:error] [pid 1] x",
                Some("an error log"),
            ),
            (b"\x7fELF\0\0", Some("binary")),
        ] {
            let kind = kind(start);
            assert_eq!(kind.is_some(), expected.is_some(), "{start:?}");
            assert!(
                kind.unwrap_or_default()
                    .contains(expected.unwrap_or_default()),
                "{start:?}: {kind:?}"
            );
        }
    }

    #[test]
    fn one_log_among_strangers_is_enough() {
        let file = |lines, junk| FileRead {
            file: "x".into(),
            lines,
            junk,
            first_junk: (junk > 0).then(|| Place {
                file: "x".into(),
                line: 1,
                what: "no line of an access log",
            }),
        };
        for (files, expected) in [
            (vec![file(0, 0)], "x: no line in it"),
            (vec![file(0, 0), file(500, 500)], "0 of 500 lines"),
            (vec![file(500, 496)], "4 of 500 lines"),
            (vec![file(500, 495)], ""),
            (vec![file(500, 500), file(1, 0)], ""),
            // What is damaged is junk without a line of its own.
            (vec![file(0, 1)], "x:1: the archive breaks off"),
        ] {
            let parsed = files.iter().map(FileRead::read).sum();
            let said = unread(&files, parsed).map_or_else(String::new, |unread| unread.to_string());
            assert!(
                said.contains(expected) && said.is_empty() == expected.is_empty(),
                "{said}"
            );
        }
    }
}
