//! Pages no cache may keep, compressed on their way.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use flate2::read::GzDecoder;
use kit::{Answer, Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;

const OWN: &str = "Cache-Control: private, no-store\r\nContent-Type: text/html\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\n";

fn ask(client: &mut Client, request: &str, fields: &str) -> Answer {
    client.send(format!("{request} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"));
    client
        .answer_to(request.split(' ').next().unwrap())
        .unwrap()
}

fn unpacked(answer: &Answer) -> String {
    let mut text = String::new();
    match answer.field("content-encoding") {
        None => return answer.text(),
        Some("gzip") => GzDecoder::new(&answer.body[..]).read_to_string(&mut text),
        Some("zstd") => zstd::stream::read::Decoder::new(&answer.body[..])
            .unwrap()
            .read_to_string(&mut text),
        Some(other) => return other.to_owned(),
    }
    .unwrap();
    text
}

#[test]
fn an_editors_page_is_compressed_whichever_way_it_takes() {
    let text = "сақта ".repeat(2000);
    let sent = text.clone();
    let origin = Origin::start(move |asked, _| {
        let mut answer = page("200 OK", OWN, &sent);
        if asked.line.starts_with("HEAD") {
            answer.truncate(answer.len() - sent.len());
        }
        answer
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    // A page asked for first goes through a flight, then past it; a form never does.
    for request in ["GET /own", "GET /own", "GET /own?a", "POST /own"] {
        for (accepted, coding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br", Some("gzip")),
            ("br", None),
            ("gzip;q=0.5, zstd", Some("zstd")),
            ("deflate", None),
        ] {
            let length = if request.starts_with("POST") {
                "Content-Length: 0\r\n"
            } else {
                ""
            };
            let fields = format!("Accept-Encoding: {accepted}\r\n{length}");
            let answer = ask(&mut client, request, &fields);
            assert_eq!(answer.field("content-encoding"), coding, "{}", answer.head);
            assert_eq!(unpacked(&answer), text);
            assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
            let (tag, length) = (answer.field("etag"), answer.field("content-length"));
            if coding.is_some() {
                assert_eq!((tag, length), (Some("W/\"1\""), None), "{}", answer.head);
                assert!(answer.body.len() < text.len() / 5);
            } else {
                assert_eq!(tag, Some("\"1\""), "{}", answer.head);
                assert!(length.is_some());
            }
        }
    }
    for (request, fields) in [
        ("HEAD /own", ""),
        ("GET /own", "Range: bytes=0-99\r\n"),
        (
            "GET /own",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        ),
    ] {
        let fields = format!("Accept-Encoding: gzip\r\n{fields}");
        let answer = ask(&mut client, request, &fields);
        assert_eq!(answer.field("content-encoding"), None, "{request} {fields}");
        assert_eq!(answer.field("content-length"), Some("22000"));
    }
    // HTTP/1.0 knows no chunks: the end of the answer is the end of the connection.
    client.send("GET /own HTTP/1.0\r\nHost: a.kz\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n");
    let answer = client.answer().unwrap();
    assert_eq!(answer.field("connection"), Some("close"), "{}", answer.head);
    assert_eq!(unpacked(&answer), text);
}

/// A page that thinks between its head and its end, as WordPress does while plugins ask other servers.
#[test]
fn a_slow_pages_first_bytes_are_not_held_back() {
    let (go, gone) = sync_channel::<()>(1);
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |_, stream| {
        let head =
            format!("HTTP/1.1 200 OK\r\n{OWN}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let _told = gone.lock().unwrap().recv_timeout(PATIENCE);
        b"5\r\n last\r\n0\r\n\r\n".to_vec()
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    for _ in 0..2 {
        let mut client = Client::connect(&edge);
        client.send(
            "GET /own HTTP/1.1\r\nHost: a.kz\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        );
        let mut heard = Vec::new();
        // Chunks of what is coded; until the origin is told to go on there is no other.
        while !first_of(&heard).starts_with("first") {
            let more = client.bytes(1);
            assert!(!more.is_empty(), "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&more);
        }
        go.send(()).unwrap();
        while !client.bytes(1).is_empty() {}
    }
}

/// What a browser shows of a chunked, gzipped answer that has not ended.
fn first_of(heard: &[u8]) -> String {
    let Some(end) = heard.windows(4).position(|window| window == b"\r\n\r\n") else {
        return String::new();
    };
    let mut packed = Vec::new();
    let mut rest = &heard[end + 4..];
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let chunk = &rest[line + 2..];
        packed.extend_from_slice(&chunk[..size.min(chunk.len())]);
        if chunk.len() < size + 2 {
            break;
        }
        rest = &chunk[size + 2..];
    }
    let mut decoder = GzDecoder::new(&packed[..]);
    let mut text = String::new();
    let mut one = [0];
    while let Ok(1) = decoder.read(&mut one) {
        text.push(char::from(one[0]));
    }
    text
}
