//! HTTP/2 with prior knowledge, frame by frame: what a browser does, and what an attacker does.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::io::{Read, Write};
use std::net::TcpStream;

use kit::{Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields without indexing, without Huffman: what the attacker wants is what goes out.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let string = |text: &str, block: &mut Vec<u8>| {
        let mut length = text.len();
        if length < 127 {
            block.push(u8::try_from(length).unwrap());
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push(u8::try_from(length % 128 + 128).unwrap());
                length /= 128;
            }
            block.push(u8::try_from(length).unwrap());
        }
        block.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.kz"),
    (":path", "/a"),
];

fn with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    GET.iter().copied().chain(fields.iter().copied()).collect()
}

struct Http2 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    fn connect(edge: &Edge) -> Self {
        let mut stream = TcpStream::connect(edge.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(PREFACE).unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// `None`: the edge has closed.
    fn next(&mut self) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 9 {
                let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]])
                    as usize;
                if self.buffer.len() >= 9 + length {
                    let rest = self.buffer.split_off(9 + length);
                    let frame = std::mem::replace(&mut self.buffer, rest);
                    return Some(Frame {
                        kind: frame[3],
                        flags: frame[4],
                        stream: u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]]),
                        payload: frame[9..].to_vec(),
                    });
                }
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(bytes) => self.buffer.extend_from_slice(&chunk[..bytes]),
            }
        }
    }

    /// How a stream ends: the body of its answer, or a refusal.
    fn end_of(&mut self, stream: u32) -> End {
        let mut body = Vec::new();
        let mut status = None;
        while let Some(frame) = self.next() {
            match frame.kind {
                GOAWAY => return End::GoneAway,
                _ if frame.stream != stream => continue,
                RST_STREAM => return End::Reset,
                HEADERS => status = status_of(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return End::Answer(
                    status.unwrap_or(0),
                    String::from_utf8_lossy(&body).into_owned(),
                );
            }
        }
        End::Closed
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Answer(u16, String),
    Reset,
    GoneAway,
    Closed,
}

/// The first field of every answer: indexed, or a literal with an indexed name.
fn status_of(block: &[u8]) -> Option<u16> {
    match block {
        [first @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)])
        }
        [_, 3, a, b, c, ..] => std::str::from_utf8(&[*a, *b, *c]).ok()?.parse().ok(),
        _ => None,
    }
}

#[test]
fn a_browser_is_served_from_the_same_copy_as_http1() {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "Cache-Control: public, max-age=60\r\n",
            &asked.line,
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    assert_eq!(Client::connect(&edge).get("/a").text(), "GET /a HTTP/1.1");
    let mut client = Http2::connect(&edge);
    for stream in [1, 3, 5] {
        client.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block(GET),
        ));
        assert_eq!(
            client.end_of(stream),
            End::Answer(200, "GET /a HTTP/1.1".into())
        );
    }
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn a_form_sent_over_http2_reaches_the_origin() {
    let origin =
        Origin::start(|asked, _| page("200 OK", "", &String::from_utf8_lossy(&asked.body)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.kz"),
        (":path", "/a"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    client.send(&frame(DATA, END_STREAM, 1, b"text=hello"));
    assert_eq!(client.end_of(1), End::Answer(200, "text=hello".into()));
    assert_eq!(origin.asked()[0].field("content-length"), Some("10"));
}

/// (what, fields of the request, payload of a DATA frame behind it)
type Smuggled = (
    &'static str,
    Vec<(&'static str, &'static str)>,
    Option<&'static str>,
);

fn corpus() -> Vec<Smuggled> {
    let post = |more: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.kz"),
            (":path", "/a"),
        ];
        fields.extend_from_slice(more);
        fields
    };
    vec![
        (
            "H2.CL: a length shorter than the body",
            post(&[("content-length", "1")]),
            Some("GET /admin HTTP/1.1\r\n\r\n"),
        ),
        (
            "H2.CL: a length longer than the body",
            post(&[("content-length", "99")]),
            Some("x"),
        ),
        (
            "H2.CL: two lengths",
            post(&[("content-length", "1"), ("content-length", "2")]),
            Some("x"),
        ),
        (
            "H2.TE",
            post(&[("transfer-encoding", "chunked")]),
            Some("0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"),
        ),
        (
            "CRLF in a value",
            with(&[("x-a", "b\r\ntransfer-encoding: chunked")]),
            None,
        ),
        ("LF in a value", with(&[("x-a", "b\nhost: evil")]), None),
        ("NUL in a value", with(&[("x-a", "b\0c")]), None),
        ("CRLF in a name", with(&[("x-a: b\r\nx-c", "d")]), None),
        ("colon in a name", with(&[("x-a:b", "d")]), None),
        ("upper case in a name", with(&[("X-A", "d")]), None),
        (
            "space in a name",
            with(&[("transfer-encoding ", "chunked")]),
            None,
        ),
        ("connection", with(&[("connection", "close")]), None),
        ("upgrade", with(&[("upgrade", "h2c")]), None),
        ("keep-alive", with(&[("keep-alive", "5")]), None),
        ("te of another kind", with(&[("te", "gzip")]), None),
        ("authority and host differ", with(&[("host", "b.kz")]), None),
        (
            "two hosts",
            with(&[("host", "a.kz"), ("host", "a.kz")]),
            None,
        ),
        ("two paths", with(&[(":path", "/b")]), None),
        ("two methods", with(&[(":method", "POST")]), None),
        ("unknown pseudo field", with(&[(":admin", "1")]), None),
        (
            "pseudo field behind others",
            {
                let mut fields = vec![("x-a", "b")];
                fields.extend_from_slice(GET);
                fields
            },
            None,
        ),
        (
            "CRLF in the path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a HTTP/1.1\r\nx: y"),
            ],
            None,
        ),
        (
            "space in the path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a b"),
            ],
            None,
        ),
        (
            "no path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
            ],
            None,
        ),
        (
            "CRLF in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz\r\nx: y"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "user in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "u@a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "method with a space",
            vec![
                (":method", "GET /admin HTTP/1.1\r\nx: y"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "tunnel",
            vec![(":method", "CONNECT"), (":authority", "a.kz:80")],
            None,
        ),
        (
            "trace",
            vec![
                (":method", "TRACE"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "unknown host",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "evil.kz"),
                (":path", "/a"),
            ],
            None,
        ),
    ]
}

#[test]
fn none_of_the_corpus_reaches_the_origin() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (what, fields, body) in corpus() {
        let mut client = Http2::connect(&edge);
        let flags = if body.is_some() {
            END_HEADERS
        } else {
            END_HEADERS | END_STREAM
        };
        client.send(&frame(HEADERS, flags, 1, &block(&fields)));
        if let Some(body) = body {
            client.send(&frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        let end = client.end_of(1);
        assert!(!matches!(&end, End::Answer(200, _)), "{what}: {end:?}");
        assert!(
            !matches!(&end, End::Answer(_, body) if body.contains("reached")),
            "{what}: {end:?}"
        );
    }
    let reached: Vec<_> = origin.asked().into_iter().map(|asked| asked.head).collect();
    assert!(reached.is_empty(), "{reached:?}");
}

#[test]
fn names_with_underscores_do_not_pass() {
    let origin = Origin::start(|_, _| page("200 OK", "", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    client.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&with(&[
            ("x_forwarded_for", "6.6.6.6"),
            ("content_length", "5"),
        ])),
    ));
    assert_eq!(client.end_of(1), End::Answer(200, "ok".into()));
    let head = origin.asked()[0].head.to_lowercase();
    assert!(!head.contains("6.6.6.6") && !head.contains('_'), "{head}");
}

type Flood = (&'static str, Box<dyn Fn(u32) -> Vec<u8>>, u32);

/// (what, frames of one round, rounds after which the edge must have hung up)
fn floods() -> Vec<Flood> {
    let request = |round: u32| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * round + 1,
            &block(GET),
        )
    };
    vec![
        (
            "rapid reset",
            Box::new(move |round| {
                let mut frames = request(round);
                frames.extend(frame(RST_STREAM, 0, 2 * round + 1, &[0, 0, 0, 8]));
                frames
            }),
            2000,
        ),
        (
            "window updates of nothing, so that we reset (MadeYouReset)",
            Box::new(move |round| {
                let mut frames = request(round);
                frames.extend(frame(WINDOW_UPDATE, 0, 2 * round + 1, &[0, 0, 0, 0]));
                frames
            }),
            2000,
        ),
        (
            "settings",
            Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
            2000,
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8])), 2000),
        (
            "window updates",
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            20_000,
        ),
        (
            "continuations",
            Box::new(|round| {
                if round == 0 {
                    frame(HEADERS, 0, 1, &block(GET))
                } else {
                    frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")]))
                }
            }),
            2000,
        ),
        (
            "empty data",
            Box::new(|round| {
                if round == 0 {
                    frame(
                        HEADERS,
                        END_HEADERS,
                        1,
                        &block(&[
                            (":method", "POST"),
                            (":scheme", "http"),
                            (":authority", "a.kz"),
                            (":path", "/a"),
                        ]),
                    )
                } else {
                    frame(DATA, 0, 1, &[])
                }
            }),
            2000,
        ),
        (
            "priorities",
            Box::new(|_| frame(2, 0, 1, &[0, 0, 0, 0, 1])),
            20_000,
        ),
    ]
}

#[test]
fn a_connection_that_floods_us_with_frames_is_closed_and_others_are_served() {
    let origin = Origin::start(|_, _| page("200 OK", "Cache-Control: no-store\r\n", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (what, flood, rounds) in floods() {
        let mut client = Http2::connect(&edge);
        let sent = (0..rounds).find(|round| !client.send(&flood(*round)));
        let gone = sent.is_some()
            || std::iter::from_fn(|| client.next())
                .take(100_000)
                .any(|frame| frame.kind == GOAWAY)
            || client.next().is_none();
        assert!(gone, "{what}: still open after {rounds} rounds");
        assert_eq!(
            Client::connect(&edge).get("/b").text(),
            "ok",
            "after {what}"
        );
    }
}

#[test]
fn a_header_list_that_unpacks_too_large_is_refused() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    // One field of 3,000 bytes into the dynamic table, then 1,000 references of one byte each: 3 MB unpacked.
    let mut bomb = block(GET);
    bomb.push(0x40);
    bomb.extend(&block(&[("x-a", &"b".repeat(3000))])[1..]);
    bomb.extend(std::iter::repeat_n(0xbe, 1000));
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    let end = client.end_of(1);
    assert!(!matches!(&end, End::Answer(200, _)), "{end:?}");
    assert!(origin.asked().is_empty());
}
