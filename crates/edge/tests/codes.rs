//! Whoever is stopped is shown a code, over real sockets, and it says why to whoever has the key, and to nobody else.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use kit::attack::{BROWSER, LIBRARY};
use kit::browser::{Browser, PAGE, READER, URLENCODED};
use kit::http2::{END_HEADERS, END_STREAM, End, HEADERS, Http2, block, frame};
use kit::{Answer, Client, Origin, connect_from, page, plan, stand_a_rule};
use saqta_detect::watch::Posture;
use saqta_edge::clock::UnixMillis;
use saqta_edge::ladder::code::{AsksFor, CodeFault, Holds, Protocol, Stop};
use saqta_edge::plan::{Networks, Plan};
use saqta_edge::{CodeRead, Edge};

const CODE_BYTES: usize = 19;

/// The only one in a page, whatever it is packed in.
fn code_in(answer: &Answer) -> String {
    let mut text = answer.text();
    if answer.field("content-encoding") == Some("gzip") {
        text.clear();
        GzDecoder::new(&answer.body[..])
            .read_to_string(&mut text)
            .unwrap();
    }
    code_in_text(&text)
}

fn code_in_text(text: &str) -> String {
    let marks = ["<code translate=\"no\">", "\"code\":\""];
    let found: Vec<&str> = marks
        .iter()
        .flat_map(|mark| text.split(mark).skip(1))
        .map(|rest| &rest[..CODE_BYTES])
        .collect();
    assert_eq!(found.len(), 1, "{text}");
    found[0].to_owned()
}

fn read(edge: &Edge, answer: &Answer) -> CodeRead {
    let code = code_in(answer);
    let read = edge.read_code(code.parse().unwrap()).unwrap();
    assert_eq!(read.site, "newsroom");
    let now = UnixMillis::now().secs();
    assert!((now.saturating_sub(120)..=now).contains(&read.at.secs()));
    read
}

fn refusing(origin: &Origin) -> Plan {
    let mut plan = plan(origin.address);
    plan.refuse = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    plan
}

fn newsroom() -> Origin {
    Origin::start(|asked, _| page("200 OK", "Content-Type: text/html\r\n", &asked.line))
}

#[test]
fn every_form_of_a_page_has_a_code_and_the_length_it_says() {
    let edge = Edge::start(refusing(&newsroom())).unwrap();
    let mut client = Client::connect(&edge);
    let mut seen = HashSet::new();
    let packed = "Accept-Encoding: gzip\r\n";
    let table = [
        (PAGE, "", "/?s=flood", AsksFor::Search, Holds::NoCookies),
        (PAGE, packed, "/", AsksFor::Page, Holds::NoCookies),
        (
            "Accept: */*\r\n",
            packed,
            "/",
            AsksFor::Page,
            Holds::NoCookies,
        ),
        (
            PAGE,
            "Cookie: _ga=1\r\n",
            "/",
            AsksFor::Page,
            Holds::OtherCookies,
        ),
    ];
    for (fields, more, target, asks_for, holds) in table {
        // On one connection: a length that is wrong would be the next answer's.
        let request =
            |method| format!("{method} {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}{more}\r\n");
        let head = client.send(request("HEAD")).answer_to("HEAD").unwrap();
        let answer = client.send(request("GET")).answer().unwrap();
        assert_eq!((head.status, answer.status), (403, 403));
        let length = answer.body.len().to_string();
        for one in [&head, &answer] {
            assert_eq!(one.field("content-length"), Some(&*length));
            assert_eq!(one.field("saqta-answer"), Some("refused"));
        }
        assert!(seen.insert(code_in(&answer)));
        let why = read(&edge, &answer).why;
        assert_eq!(
            (why.stop, why.posture, why.holds, why.asks_for),
            (Stop::Refused, Posture::Calm, holds, asks_for)
        );
        assert_eq!(
            (why.version, why.rule, why.is_suspect),
            (Protocol::Http11, None, false)
        );
    }
    let old = "GET / HTTP/1.0\r\nHost: a.kz\r\n\r\n";
    let answer = Client::connect(&edge).send(old).answer().unwrap();
    assert_eq!(read(&edge, &answer).why.version, Protocol::Http10);
}

#[test]
fn over_http2_too() {
    let edge = Edge::start(refusing(&newsroom())).unwrap();
    let mut http2 = Http2::connect(&edge);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.kz"),
        (":path", "/"),
        ("accept", "text/html"),
    ];
    http2.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields),
    ));
    let End::Answer(403, text) = http2.end_of(1) else {
        unreachable!("refused")
    };
    let code = code_in_text(&text).parse().unwrap();
    let why = edge.read_code(code).unwrap().why;
    assert_eq!((why.stop, why.version), (Stop::Refused, Protocol::Http2));
}

#[test]
fn what_stops_nobody_has_no_code() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    let answers = [
        client.get("/"),
        Client::connect(&edge)
            .send("GET / HTTP/1.1\r\nHost: a.kz\r\nHost: b.kz\r\n\r\n")
            .answer()
            .unwrap(),
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 400]);
    for answer in answers {
        let text = answer.text();
        assert!(
            !text.contains("<code") && !text.contains("\"code\""),
            "{text}"
        );
    }
}

#[test]
fn a_server_that_is_gone_is_what_the_code_says() {
    let mut plan = plan("127.0.0.1:1".parse().unwrap());
    plan.limits.body_bytes_max = 10;
    let edge = Edge::start(plan).unwrap();
    let mut reader = Browser::new(&edge, BROWSER);
    let why = read(&edge, &reader.get("/news/story")).why;
    assert_eq!((why.stop, why.posture), (Stop::OriginDown, Posture::Calm));
    let json = "Content-Type: application/json\r\n";
    let why = read(&edge, &reader.post("/news/story", json, b"{}")).why;
    assert_eq!(why.stop, Stop::NotSent);
    let why = read(&edge, &reader.post("/news/story", json, b"{\"a\":123456}")).why;
    assert_eq!(why.stop, Stop::TooLarge);
    // What may have arrived.
    let why = read(&edge, &reader.post("/comment", URLENCODED, b"a=b")).why;
    assert_eq!(why.stop, Stop::FormPerhaps);
}

#[test]
fn whom_a_rule_hits_is_told_by_his_code_which_and_what_he_held() {
    let edge = Edge::start(plan(newsroom().address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let mut reader = Browser::new(&edge, LIBRARY);
    let first = reader.get("/news/new-1");
    assert_eq!(first.status, 503);
    let code = read(&edge, &first);
    let why = code.why;
    assert_eq!(
        (why.stop, why.posture, why.holds, why.is_suspect),
        (Stop::Waits, Posture::UnderAttack, Holds::NoCookies, true)
    );
    let rules = &edge.stats().sites.swap_remove(0).detection.incidents[0].rules;
    let (said, stands) = code.rule.unwrap();
    assert!(stands && rules.iter().any(|rule| rule.sentence.en == said));
    // Now he holds a ticket, and waits.
    let why = read(&edge, &reader.get("/news/new-1")).why;
    assert_eq!((why.stop, why.holds), (Stop::Waits, Holds::Ticket));
    let mut other = Browser::new(&edge, LIBRARY);
    let why = read(&edge, &other.post("/comment", URLENCODED, b"a=b")).why;
    assert_eq!((why.stop, why.is_suspect), (Stop::FormWaits, true));
    // A ticket that nobody gave.
    let mut liar = Browser::new(&edge, LIBRARY);
    let invented = ("saqta-ticket".to_owned(), "A".repeat(48));
    liar.cookies.push(invented);
    let why = read(&edge, &liar.get("/news/new-1")).why;
    assert_eq!((why.stop, why.holds), (Stop::Waits, Holds::Spent));
    // A use is charged as its holder is let in, so thirty pages use up a pass.
    reader.work();
    let mut number = 1;
    let stopped = loop {
        number += 1;
        let answer = reader.get(&format!("/news/new-{number}"));
        if answer.status == 503 {
            break answer;
        }
        assert!(number < 100);
    };
    let why = read(&edge, &stopped).why;
    assert_eq!((why.stop, why.holds), (Stop::Waits, Holds::UsedUp));
}

/// Removed when the test is over.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_code_outlives_a_restart_and_says_nothing_to_others() {
    let folder = Folder(std::env::temp_dir().join(format!("saqta-codes-{}", std::process::id())));
    let origin = newsroom();
    let edge = Edge::start_in(refusing(&origin), &folder.0).unwrap();
    edge.settle();
    let answer = Client::of(connect_from(READER, edge.addresses()[0]))
        .send("GET / HTTP/1.1\r\nHost: a.kz\r\n\r\n")
        .answer()
        .unwrap();
    drop(edge);
    let edge = Edge::start_in(refusing(&origin), &folder.0).unwrap();
    assert_eq!(read(&edge, &answer).why.stop, Stop::Refused);
    let other = Edge::start(refusing(&origin)).unwrap();
    let code = code_in(&answer).parse().unwrap();
    assert_eq!(other.read_code(code), Err(CodeFault::NotOurs));
}
