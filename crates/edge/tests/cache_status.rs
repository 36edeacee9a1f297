//! What `Cache-Status` (RFC 9211) says on every way an answer can take, and that it is true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use kit::{Asked, Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;
use saqta_edge::plan::Networks;
use tokio::time::Instant;

/// What the origin says the first time and from then on: status, fields, body; `cut` breaks off, `-` says nothing at all.
const PAGES: &[(&str, [&str; 3], [&str; 3])] = &[
    (
        "/kept",
        ["200 OK", "max-age=60", "one"],
        ["200 OK", "max-age=60", "two"],
    ),
    (
        "/private",
        ["200 OK", "private", "one"],
        ["200 OK", "private", "two"],
    ),
    (
        "/vary",
        ["200 OK", "max-age=60\r\nVary: Foo", "one"],
        ["200 OK", "max-age=60\r\nVary: Foo", "two"],
    ),
    (
        "/encoded",
        ["200 OK", "max-age=60\r\nVary: Accept-Encoding", "one"],
        ["200 OK", "max-age=60", "two"],
    ),
    (
        "/renewed",
        ["200 OK", "max-age=0\r\nETag: \"1\"", "one"],
        ["200 OK", "max-age=0\r\nETag: \"1\"", "two"],
    ),
    (
        "/same",
        ["200 OK", "max-age=0\r\nETag: \"1\"", "one"],
        ["304 Not Modified", "max-age=60", ""],
    ),
    (
        "/failing",
        ["200 OK", "max-age=0\r\nETag: \"1\"", "one"],
        ["500 Oh", "max-age=60", "sorry"],
    ),
    (
        "/cut",
        ["200 OK", "max-age=0\r\nETag: \"1\"", "one"],
        ["cut", "max-age=60", "half"],
    ),
    (
        "/gone",
        ["200 OK", "max-age=0\r\nETag: \"1\"", "one"],
        ["-", "", ""],
    ),
    (
        "/swr",
        [
            "200 OK",
            "max-age=0, stale-while-revalidate=60\r\nETag: \"1\"",
            "one",
        ],
        ["-", "", ""],
    ),
    ("/dead", ["-", "", ""], ["-", "", ""]),
];

fn answer(asked: &Asked, stream: &mut TcpStream, times: usize) -> Vec<u8> {
    let target = asked.line.split(' ').nth(1).unwrap();
    let (_, first, later) = PAGES.iter().find(|(path, ..)| *path == target).unwrap();
    match if times == 1 { first } else { later } {
        ["-", ..] => Vec::new(),
        ["cut", control, body] => cut_off(
            stream,
            &format!(
                "Cache-Control: {control}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{body}\r\n"
            ),
        ),
        ["304 Not Modified", control, _] => {
            format!("HTTP/1.1 304 Not Modified\r\nCache-Control: {control}\r\n\r\n").into_bytes()
        }
        [status, control, body] => page(status, &format!("Cache-Control: {control}\r\n"), body),
    }
}

/// Says 200 and so much, and hangs up.
fn cut_off(stream: &mut TcpStream, rest: &str) -> Vec<u8> {
    let _left = stream.write_all(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes());
    Vec::new()
}

/// Asked for in this order: target, more request fields, status, body, `Cache-Status` without its numbers of seconds.
const ASKED: &[(&str, &str, u16, &str, &str)] = &[
    (
        "/kept",
        "Cache-Control: only-if-cached\r\n",
        504,
        "There is",
        "saqta; detail=only-if-cached",
    ),
    ("/kept", "", 200, "one", "saqta; fwd=uri-miss"),
    ("/kept", "", 200, "one", "saqta; hit; ttl"),
    (
        "/kept",
        "Cache-Control: only-if-cached\r\n",
        200,
        "one",
        "saqta; hit; ttl",
    ),
    (
        "/kept",
        "Range: bytes=0-1\r\n",
        206,
        "on",
        "saqta; hit; ttl",
    ),
    (
        "/kept",
        "Authorization: me\r\n",
        200,
        "two",
        "saqta; fwd=bypass; detail=authorization",
    ),
    (
        "/kept",
        "Cache-Control: no-store\r\n",
        200,
        "two",
        "saqta; fwd=request",
    ),
    (
        "/private",
        "",
        200,
        "one",
        "saqta; fwd=uri-miss; detail=private",
    ),
    (
        "/private",
        "",
        200,
        "two",
        "saqta; fwd=miss; detail=private",
    ),
    ("/vary", "Foo: 1\r\n", 200, "one", "saqta; fwd=uri-miss"),
    ("/vary", "Foo: 2\r\n", 200, "two", "saqta; fwd=vary-miss"),
    ("/vary", "Foo: 1\r\n", 200, "one", "saqta; hit; ttl"),
    (
        "/encoded",
        "Accept-Encoding: gzip, br\r\n",
        200,
        "one",
        "saqta; fwd=uri-miss",
    ),
    (
        "/encoded",
        "Accept-Encoding: gzip, br\r\n",
        200,
        "one",
        "saqta; hit; ttl",
    ),
    (
        "/encoded",
        "Accept-Encoding: zstd\r\n",
        200,
        "one",
        "saqta; hit; ttl",
    ),
    ("/renewed", "", 200, "one", "saqta; fwd=uri-miss"),
    ("/renewed", "", 200, "two", "saqta; fwd=stale; stored"),
    ("/same", "", 200, "one", "saqta; fwd=uri-miss"),
    ("/same", "", 200, "one", "saqta; fwd=stale; fwd-status=304"),
    ("/same", "", 200, "one", "saqta; hit; ttl"),
    ("/failing", "", 200, "one", "saqta; fwd=uri-miss"),
    (
        "/failing",
        "",
        200,
        "one",
        "saqta; fwd=stale; fwd-status=500; ttl; detail=origin-error",
    ),
    ("/cut", "", 200, "one", "saqta; fwd=uri-miss"),
    (
        "/cut",
        "",
        200,
        "one",
        "saqta; fwd=stale; ttl; detail=origin-down",
    ),
    ("/gone", "", 200, "one", "saqta; fwd=uri-miss"),
    (
        "/gone",
        "",
        200,
        "one",
        "saqta; fwd=stale; ttl; detail=origin-down",
    ),
    ("/swr", "", 200, "one", "saqta; fwd=uri-miss"),
    ("/swr", "", 200, "one", "saqta; hit; ttl"),
    // Our own page: no cache had a part in it.
    ("/dead", "", 502, "", ""),
];

fn without_seconds(status: &str) -> String {
    status
        .split("; ")
        .map(|part| {
            if part.starts_with("ttl=") {
                "ttl"
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn every_way_an_answer_takes() {
    let times: Mutex<Vec<String>> = Mutex::default();
    let origin = Origin::start(move |asked, stream| {
        let mut times = times.lock().unwrap();
        times.push(asked.line.clone());
        answer(
            asked,
            stream,
            times.iter().filter(|line| **line == asked.line).count(),
        )
    });
    let mut plan = plan(origin.address);
    // Staff wait for the origin however long it takes, so that nothing here depends on the machine's speed.
    plan.sites[0].staff = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let edge = Edge::start(plan).unwrap();
    for (target, fields, status, body, cache) in ASKED {
        let seen = Client::connect(&edge)
            .send(format!(
                "GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
            ))
            .answer()
            .unwrap();
        assert_eq!(
            (seen.status, without_seconds(&seen.cache()).as_str()),
            (*status, *cache),
            "{target} {fields}"
        );
        assert!(
            seen.text().starts_with(body),
            "{target} {fields}: {}",
            seen.text()
        );
    }
}

#[test]
fn who_shares_a_fetch_is_told_so() {
    let (release, released) = sync_channel::<()>(0);
    let released = Mutex::new(released);
    let origin = Origin::start(move |_, _| {
        let _released = released.lock().unwrap().recv_timeout(PATIENCE);
        page("200 OK", "Cache-Control: max-age=60\r\n", "one")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut clients = [(); 2].map(|()| {
        let mut client = Client::connect(&edge);
        client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\n\r\n");
        client
    });
    let deadline = Instant::now() + PATIENCE;
    while edge.stats().totals.collapsed == 0 {
        assert!(Instant::now() < deadline, "nobody follows");
        std::thread::yield_now();
    }
    release.send(()).unwrap();
    let mut seen = clients
        .each_mut()
        .map(|client| client.answer().unwrap().cache());
    seen.sort();
    assert_eq!(seen[0], "saqta; fwd=uri-miss");
    assert!(
        [
            "saqta; fwd=uri-miss; collapsed",
            "saqta; fwd=uri-miss; stored; collapsed"
        ]
        .contains(&seen[1].as_str()),
        "{seen:?}"
    );
}

/// Twice: once trusted, once known to keep readers waiting.
#[test]
fn who_waits_in_vain_gets_the_copy() {
    let (release, released) = sync_channel::<()>(0);
    let released = Mutex::new(released);
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_, _| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            let _released = released.lock().unwrap().recv_timeout(PATIENCE);
        }
        page(
            "200 OK",
            "Cache-Control: max-age=0\r\nETag: \"1\"\r\n",
            "one",
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    for cache in [
        "saqta; fwd=uri-miss",
        "saqta; fwd=stale; ttl; detail=origin-slow",
        "saqta; fwd=stale; ttl; detail=origin-slow",
    ] {
        let seen = client.get("/a");
        assert_eq!(without_seconds(&seen.cache()), cache);
        assert_eq!(seen.text(), "one");
    }
    drop(release);
}

/// A page that breaks off after its first byte, and no copy to fall back on: the client must be able to tell.
#[test]
fn what_breaks_off_ends_without_an_end() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_, stream| {
        let framing = match count.fetch_add(1, Ordering::SeqCst) {
            0 => "Content-Length: 100",
            _ => "Transfer-Encoding: chunked",
        };
        cut_off(
            stream,
            &format!("Cache-Control: max-age=60\r\n{framing}\r\n\r\n4\r\nhalf\r\n"),
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut client = Client::connect(&edge);
        client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\n\r\n");
        let mut seen = Vec::new();
        loop {
            let bytes = client.bytes(1);
            if bytes.is_empty() {
                break;
            }
            seen.extend(bytes);
        }
        let seen = String::from_utf8(seen).unwrap();
        assert!(
            seen.contains("half") || seen.starts_with("HTTP/1.1 502"),
            "{seen}"
        );
        assert!(
            seen.contains(framing) || seen.starts_with("HTTP/1.1 502"),
            "{seen}"
        );
        assert!(!seen.ends_with("0\r\n\r\n"), "passed off as whole: {seen}");
        assert!(!seen.contains("; stored"), "{seen}");
    }
}
