//! A stop takes no answer from anybody who has asked, and keeps nobody who has not.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use kit::{Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;
use tokio::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// The kind of the next HTTP/2 frame.
fn next_kind(client: &mut Client) -> u8 {
    let mut head = [0; FRAME_HEAD_BYTES];
    client.stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    client.stream.read_exact(&mut payload).unwrap();
    head[3]
}

#[test]
fn a_stop_ends_what_is_under_way_and_closes_what_is_idle() {
    let (reached, at_origin) = sync_channel::<()>(1);
    let (go, gone) = sync_channel::<()>(1);
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |asked, _| {
        if asked.line.contains("/slow") {
            reached.send(()).unwrap();
            let _told = gone.lock().unwrap().recv_timeout(PATIENCE);
        }
        page("200 OK", "Cache-Control: max-age=60\r\n", &asked.line)
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut idle = Client::connect(&edge);
    assert_eq!(idle.get("/kept").field("connection"), None);
    let mut http2 = Client::connect(&edge);
    http2.stream.write_all(PREFACE).unwrap();
    assert_eq!(next_kind(&mut http2), SETTINGS);
    let mut waiting = Client::connect(&edge);
    waiting.send("GET /slow HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    at_origin.recv_timeout(PATIENCE).unwrap();
    let mut silent = Client::connect(&edge);
    let started = Instant::now();
    while edge.stats().connections < 4 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let stopping = std::thread::spawn(move || edge.stop(PATIENCE));
    assert!(idle.is_closed());
    while next_kind(&mut http2) != GOAWAY {}
    let last = |client: &mut Client, target: &str| {
        let answer = client.answer().unwrap();
        assert_eq!(answer.text(), format!("GET {target} HTTP/1.1"));
        assert_eq!(answer.field("connection"), Some("close"), "{target}");
        assert!(client.is_closed(), "{target}");
    };
    // Had connected, and asks only now: a browser does not ask twice on a new connection.
    let request = "GET /kept HTTP/1.1\r\nHost: a.kz\r\n\r\n";
    silent.send(request.repeat(2));
    last(&mut silent, "/kept");
    drop(go);
    last(&mut waiting, "/slow");
    stopping.join().unwrap();
}
