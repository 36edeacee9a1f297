//! The head of a request: the same verdict however the bytes are cut, and one framing that nobody can read otherwise.

use saqta_edge::head::{self, ClientFault, Framing, Storage};
use saqta_edge::plan::Limits;

/// Small, so that the fuzzer's short inputs reach them.
fn limits() -> Limits {
    Limits {
        header_bytes_max: 1_024,
        header_fields_max: 16,
        ..Limits::default()
    }
}

/// What a later part of the edge decides by; borrowed slices are compared as what they say.
#[derive(Debug, PartialEq)]
struct Read {
    len: usize,
    method: String,
    target: String,
    host: String,
    framing: Framing,
    keep_alive: bool,
    http_10: bool,
    websocket: bool,
    names: Vec<String>,
}

fn parse(buffer: &[u8], scanned: &mut usize) -> Result<Option<Read>, ClientFault> {
    let mut storage = Storage::new();
    let head = head::parse(buffer, scanned, &mut storage, &limits())?;
    Ok(head.map(|head| Read {
        len: head.len,
        method: head.method.to_owned(),
        target: head.target.to_owned(),
        host: head.host.to_owned(),
        framing: head.framing,
        keep_alive: head.keep_alive,
        http_10: head.http_10,
        websocket: head.websocket,
        names: head.field_names().map(str::to_owned).collect(),
    }))
}

pub fn check(input: &[u8]) {
    let whole = parse(input, &mut 0);

    // Byte by byte, as a slow client sends it, remembering how far the search for the end has come.
    let mut scanned = 0;
    for arrived in 1..=input.len() {
        match parse(&input[..arrived], &mut scanned) {
            Ok(None) => assert!(scanned <= arrived, "searched {scanned} of {arrived} bytes"),
            Ok(Some(read)) => {
                assert_eq!(read.len, arrived, "complete later than its last byte");
                assert_eq!(
                    whole.as_ref(),
                    Ok(&Some(read)),
                    "read differently in one piece"
                );
                break;
            }
            // Refused early or late, but refused: which fault is named first may depend on what has arrived.
            Err(_) => {
                assert!(
                    whole.is_err(),
                    "refused at byte {arrived}, taken in one piece"
                );
                break;
            }
        }
    }

    let Ok(Some(read)) = whole else { return };
    assert!(read.len <= input.len().min(limits().header_bytes_max));
    assert!(read.names.len() <= limits().header_fields_max);
    assert!(!read.method.is_empty() && !read.target.is_empty());

    let head = &input[..read.len];
    assert_eq!(
        parse(head, &mut 0).as_ref(),
        Ok(&Some(read)),
        "bytes after the head changed how it was read"
    );
    let feeds = head.iter().filter(|&&byte| byte == b'\n').count();
    let ends = head.windows(2).filter(|pair| pair == b"\r\n").count();
    assert_eq!(feeds, ends, "a bare LF was taken for a line's end");
    assert_framed_once(head);
}

/// Read again the way a careless server would, line by line: whatever it takes for a length or a coding must be the one framing.
fn assert_framed_once(head: &[u8]) {
    let framing = match parse(head, &mut 0) {
        Ok(Some(read)) => read.framing,
        other => unreachable!("{other:?} for a head that was just read"),
    };
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let fields = text
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'));
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for (name, value) in fields {
        match name.trim() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_owned()),
            _ => {}
        }
    }
    match framing {
        Framing::None => assert!(
            lengths.is_empty() && codings.is_empty(),
            "{lengths:?} {codings:?}"
        ),
        Framing::Length(length) => {
            assert!(codings.is_empty(), "{codings:?}");
            assert_eq!(lengths.len(), 1, "{lengths:?}");
            assert_eq!(lengths[0].parse(), Ok(length));
        }
        Framing::Chunked => {
            assert!(lengths.is_empty(), "{lengths:?}");
            assert_eq!(codings, ["chunked"]);
        }
    }
}
