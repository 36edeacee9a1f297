//! Guesses at passwords and comments by the hundred, over real sockets: who guesses is asked for a pass, whoever signs in is in.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::net::Ipv4Addr;

use kit::attack::BROWSER;
use kit::browser::{Browser, READER, URLENCODED, carried};
use kit::{Asked, Origin, page, plan, until};
use saqta_edge::Edge;
use saqta_edge::clock::UnixMillis;
use saqta_edge::plan::{Mode, Networks, Plan};

const LOGIN: &str = "/wp-login.php";
const CALL: &str = "Content-Type: text/xml\r\n";
const PROGRAM: &str = "Accept: */*\r\n";

/// As WordPress answers.
fn newsroom() -> Origin {
    Origin::start(|asked, _| {
        let sent = String::from_utf8_lossy(&asked.body);
        if asked.line.starts_with("POST /xmlrpc.php") {
            assert_eq!(asked.field("accept-encoding"), None);
            let answer = if sent.contains("right") {
                "params"
            } else {
                "fault><value><struct><member><name>faultCode</name"
            };
            let xml = format!("<?xml version=\"1.0\"?><methodResponse><{answer}>");
            return page("200 OK", "Content-Type: text/xml\r\n", &xml);
        }
        if asked.line.starts_with("POST /wp-comments-post.php") {
            return page("302 Found", "Location: /news/story#comment-1\r\n", "");
        }
        if asked.line.starts_with("POST /wp-login.php") && sent.contains("pwd=right") {
            let fields = "Location: /wp-admin/\r\nSet-Cookie: wordpress_logged_in_abc=editor%7Cx; path=/; HttpOnly\r\n";
            return page("302 Found", fields, "");
        }
        page("200 OK", "Content-Type: text/html\r\n", "the form")
    })
}

fn begin(origin: &Origin, change: impl FnOnce(&mut Plan)) -> Edge {
    let mut plan = plan(origin.address);
    change(&mut plan);
    Edge::start(plan).unwrap()
}

/// Until the second is.
fn over() {
    let second = UnixMillis::now().secs();
    until("the second is over", || UnixMillis::now().secs() > second);
}

/// From a network of its own.
fn from(edge: &Edge, number: u8) -> Browser<'_> {
    Browser {
        from: Ipv4Addr::new(127, 9, number, 1),
        ..Browser::new(edge, BROWSER)
    }
}

fn guess(browser: &mut Browser<'_>, name: &str) -> u16 {
    let form = format!("log={name}&pwd=wrong");
    browser.post(LOGIN, URLENCODED, form.as_bytes()).status
}

#[test]
fn who_guesses_is_asked_for_a_pass_and_whoever_signs_in_is_in() {
    let origin = newsroom();
    let edge = begin(&origin, |_| {});
    let mut reader = from(&edge, 1);
    for number in 0..20 {
        assert_eq!(guess(&mut reader, &format!("name-{number}")), 200);
    }
    // An editor behind the same address: what she typed waits with her.
    let mut editor = from(&edge, 1);
    let held = editor.post(LOGIN, URLENCODED, b"log=editor&pwd=right");
    assert_eq!(held.status, 503);
    let form = carried(&held);
    editor.work();
    let in_at_last = editor.post(LOGIN, URLENCODED, form.as_bytes());
    assert_eq!(in_at_last.status, 302, "{}", in_at_last.head);
    assert!(editor.has("wordpress_logged_in_abc"));
    assert_eq!(origin.asked().last().unwrap().body, b"log=editor&pwd=right");
    // She is asked for nothing more.
    for _ in 0..50 {
        let saved = editor.post("/wp-admin/post.php", URLENCODED, b"action=editpost");
        assert_eq!(saved.status, 200);
    }
    // A letter of the path that is encoded changes nothing, for servers read it alike.
    for login in ["/wp-login%2ephp", "/%77p-login.php", "/WP-Login.php"] {
        let guessed = from(&edge, 1).post(login, URLENCODED, b"log=a&pwd=wrong");
        assert_eq!(guessed.status, 503, "{login}");
    }
    // Programs are told to come back, and others read and sign in as ever.
    let mut program = from(&edge, 1);
    program.fields = PROGRAM;
    let told = program.post(LOGIN, URLENCODED, b"log=a&pwd=b");
    assert_eq!((told.status, told.field("retry-after")), (429, Some("600")));
    assert_eq!(from(&edge, 1).get("/news/story").status, 200);
    assert_eq!(guess(&mut from(&edge, 2), "name-1"), 200);
}

#[test]
fn a_name_is_guarded_against_many_networks() {
    let origin = newsroom();
    let edge = begin(&origin, |_| {});
    for network in 0..10 {
        assert_eq!(guess(&mut from(&edge, network), "Editor"), 200);
    }
    assert_eq!(guess(&mut from(&edge, 50), "editor"), 503);
    assert_eq!(guess(&mut from(&edge, 50), "other"), 200);
    // It is not locked.
    let mut editor = from(&edge, 51);
    let form = carried(&editor.post(LOGIN, URLENCODED, b"log=editor&pwd=right"));
    editor.work();
    let in_at_last = editor.post(LOGIN, URLENCODED, form.as_bytes());
    assert_eq!(in_at_last.status, 302);
}

#[test]
fn waiting_once_is_worth_five_guesses() {
    let origin = newsroom();
    let edge = begin(&origin, |_| {});
    let mut guesser = from(&edge, 1);
    for number in 0..20 {
        guess(&mut guesser, &format!("name-{number}"));
    }
    let mut form = carried(&guesser.post(LOGIN, URLENCODED, b"log=n&pwd=wrong"));
    guesser.work();
    assert_eq!(guesser.post(LOGIN, URLENCODED, form.as_bytes()).status, 200);
    let more = (0..30)
        .take_while(|number| guess(&mut guesser, &format!("other-{number}")) == 200)
        .count();
    assert_eq!(more, 4);
    // He still holds the pass, and is given a ticket for another, if it is not of the same second as the first.
    over();
    form = carried(&guesser.post(LOGIN, URLENCODED, b"log=n&pwd=wrong"));
    guesser.work();
    assert_eq!(guesser.post(LOGIN, URLENCODED, form.as_bytes()).status, 200);
}

#[test]
fn calls_are_guesses_when_they_fail() {
    let origin = newsroom();
    let edge = begin(&origin, |_| {});
    let call = |password: &str| {
        format!(
            "<methodCall><methodName>wp.getPosts</methodName><params>{password}</params></methodCall>"
        )
    };
    let app = |number| Browser {
        fields: PROGRAM,
        ..from(&edge, number)
    };
    let ask =
        |app: &mut Browser<'_>, body: &str| app.post("/xmlrpc.php", CALL, body.as_bytes()).status;
    let mut phone = app(1);
    for _ in 0..60 {
        assert_eq!(ask(&mut phone, &call("right")), 200);
    }
    let mut guesser = app(2);
    let guesses = (0..100)
        .take_while(|_| ask(&mut guesser, &call("wrong")) == 200)
        .count();
    assert_eq!(guesses, 20);
    // What many calls in one would have tried is counted before they are.
    let inner = "<struct><member><name>methodName</name></member></struct>";
    let several = |times| {
        format!(
            "<methodCall><methodName>system.multicall</methodName>{}</methodCall>",
            inner.repeat(times)
        )
    };
    let asked = origin.asked().len();
    assert_eq!(ask(&mut app(3), &several(21)), 429);
    assert_eq!(origin.asked().len(), asked);
    assert_eq!(ask(&mut app(3), &several(20)), 200);
    assert_eq!(ask(&mut app(3), &call("right")), 429);
}

#[test]
fn comments_by_the_hundred_wait() {
    let origin = newsroom();
    let edge = begin(&origin, |_| {});
    let mut writer = from(&edge, 1);
    let mut write = || {
        writer
            .post("/wp-comments-post.php", URLENCODED, b"comment=salem")
            .status
    };
    let written = (0..100).take_while(|_| write() == 302).count();
    assert_eq!(written, 20);
    // They are no guesses.
    assert_eq!(guess(&mut from(&edge, 1), "editor"), 200);
}

#[test]
fn whom_nobody_counts() {
    let staff: fn(&mut Plan) =
        |plan| plan.sites[0].staff = Networks(vec!["127.5.5.0/24".parse().unwrap()]);
    let bypassed: fn(&mut Plan) = |plan| plan.bypass = true;
    let observed: fn(&mut Plan) = |plan| plan.sites[0].mode = Mode::Observe;
    for change in [staff, bypassed, observed] {
        let origin = newsroom();
        let edge = begin(&origin, change);
        let mut browser = Browser::new(&edge, BROWSER);
        assert_eq!(browser.from, READER);
        for _ in 0..300 {
            assert_eq!(guess(&mut browser, "editor"), 200);
        }
        let wrong = |asked: &Asked| asked.body == b"log=editor&pwd=wrong";
        assert_eq!(
            origin.asked().iter().filter(|asked| wrong(asked)).count(),
            300
        );
    }
}
