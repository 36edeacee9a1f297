//! Strangers write to pages that readers read: comments in calm, a flood of forms in an attack. The pages stay readable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use kit::{Answer, Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;

const PUBLIC: &str = "Cache-Control: public, max-age=600\r\nContent-Type: text/html\r\n";

fn write(client: &mut Client, target: &str, cookie: &str) -> Answer {
    client
        .send(format!(
            "POST {target} HTTP/1.1\r\nHost: a.kz\r\n{cookie}Content-Length: 3\r\n\r\nx=1"
        ))
        .answer()
        .expect("an answer")
}

#[test]
fn a_reader_sees_what_was_just_written() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::start(move |asked, _| {
        if asked.line.starts_with("POST") {
            count.fetch_add(1, Ordering::SeqCst);
            return page("200 OK", "", "thanks");
        }
        let text = format!("{} comments", count.load(Ordering::SeqCst));
        page("200 OK", PUBLIC, &text)
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut reader = Client::connect(&edge);
    for comments in 0..3 {
        for _ in 0..3 {
            assert_eq!(
                reader.get("/article").text(),
                format!("{comments} comments")
            );
        }
        assert_eq!(write(&mut reader, "/article", "").status, 200);
    }
    assert_eq!(origin.asked().len(), 3 + 3, "one fetch for each write");
}

/// The origin is asked once for the page it was written to, and hangs. Nobody waits for it, and nobody asks it again.
#[test]
fn a_page_written_to_is_read_while_the_origin_hangs() {
    const WRITES: usize = 30;
    let (heard, hears) = sync_channel(WRITES);
    let (tell, told) = sync_channel::<()>(1);
    let told = Mutex::new(told);
    let fetches = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fetches);
    let origin = Origin::start(move |asked, _| {
        if asked.line.starts_with("POST") {
            return page("200 OK", "", "thanks");
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => page("200 OK", PUBLIC, "old"),
            1 => {
                heard.send(()).unwrap();
                let _told = told.lock().unwrap().recv_timeout(PATIENCE);
                page("200 OK", PUBLIC, "meanwhile")
            }
            _ => page("200 OK", PUBLIC, "new"),
        }
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut reader = Client::connect(&edge);
    let mut stranger = Client::connect(&edge);
    assert_eq!(reader.get("/article").text(), "old");
    for round in 0..WRITES {
        assert_eq!(write(&mut stranger, "/article", "").status, 200);
        let answer = reader.get("/article");
        assert_eq!((answer.status, answer.text()), (200, "old".into()));
        assert!(answer.cache().contains("origin-slow"), "{}", answer.head);
        if round == 0 {
            hears.recv_timeout(PATIENCE).unwrap();
        }
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
    drop(tell);
    // What was on its way may be older than the last write, so that it is asked for once more and then no longer.
    let mut seen = String::new();
    for _ in 0..1000 {
        seen = reader.get("/article").text();
        if seen == "new" {
            break;
        }
    }
    assert_eq!(seen, "new");
    assert!(reader.get("/article").cache().starts_with("saqta; hit"));
    assert_eq!(fetches.load(Ordering::SeqCst), 3);
}

/// A drill in small: many write to every article as fast as they can, to an origin that takes two requests at a time.
#[test]
fn a_flood_of_forms_takes_no_article_from_its_readers() {
    const ARTICLES: usize = 4;
    const STRANGERS: usize = 12;
    const READS: usize = 300;
    const READS_MAX: usize = 1000 * READS;
    let busy: Arc<[AtomicUsize; ARTICLES]> = Arc::default();
    let at_once_max = Arc::new(AtomicUsize::new(0));
    let (mine, max) = (Arc::clone(&busy), Arc::clone(&at_once_max));
    let origin = Origin::start(move |asked, _| {
        if asked.line.starts_with("POST") {
            return page("200 OK", "", "thanks");
        }
        let article: usize = asked.line["GET /news/".len()..][..1].parse().unwrap();
        max.fetch_max(
            mine[article].fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );
        let answer = page("200 OK", PUBLIC, &format!("article {article}"));
        std::thread::yield_now();
        mine[article].fetch_sub(1, Ordering::SeqCst);
        answer
    });
    let mut plan = plan(origin.address);
    plan.sites[0].origin.concurrency_max = 2;
    let edge = Edge::start(plan).unwrap();
    let target = |number: usize| format!("/news/{}", number % ARTICLES);
    let mut reader = Client::connect(&edge);
    for article in 0..ARTICLES {
        assert_eq!(reader.get(&target(article)).status, 200);
    }
    let over = AtomicUsize::new(0);
    let writes = AtomicUsize::new(0);
    let (served, reads) = std::thread::scope(|scope| {
        for stranger in 0..STRANGERS {
            let (edge, over, writes) = (&edge, &over, &writes);
            scope.spawn(move || {
                let mut client = Client::connect(edge);
                let mut number = stranger;
                while over.load(Ordering::SeqCst) == 0 {
                    let answer = write(&mut client, &target(number), "");
                    assert!(matches!(answer.status, 200 | 503), "{}", answer.head);
                    writes.fetch_add(1, Ordering::SeqCst);
                    number += 1;
                }
            });
        }
        // Reads that outrun the flood show nothing: it goes on until as much was written.
        let mut reads = 0;
        let mut served = 0;
        while reads < READS || (writes.load(Ordering::SeqCst) <= READS && reads < READS_MAX) {
            let answer = reader.get(&target(reads));
            let expected = format!("article {}", reads % ARTICLES);
            served += usize::from((answer.status, answer.text()) == (200, expected));
            reads += 1;
        }
        over.store(1, Ordering::SeqCst);
        (served, reads)
    });
    assert_eq!(served, reads);
    assert!(writes.load(Ordering::SeqCst) > READS, "it was no flood");
    assert_eq!(
        at_once_max.load(Ordering::SeqCst),
        1,
        "fetches of one page were stacked"
    );
}

/// An editor's correction is not followed by the uncorrected page, however slow the origin.
#[test]
fn what_staff_write_is_waited_for() {
    const COOKIE: &str = "wordpress_logged_in_abc=editor%7Csecret";
    let (heard, hears) = sync_channel(1);
    let (tell, told) = sync_channel::<()>(1);
    let told = Mutex::new(told);
    let corrected = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&corrected);
    let origin = Origin::start(move |asked, _| {
        if asked.line.starts_with("POST /wp-login.php") {
            let fields =
                format!("Location: /wp-admin/\r\nSet-Cookie: {COOKIE}; path=/; HttpOnly\r\n");
            return page("302 Found", &fields, "");
        }
        if asked.line.starts_with("POST") {
            count.fetch_add(1, Ordering::SeqCst);
            return page("200 OK", "", "saved");
        }
        if count.load(Ordering::SeqCst) == 0 {
            return page("200 OK", PUBLIC, "wrong");
        }
        heard.send(()).unwrap();
        let _told = told.lock().unwrap().recv_timeout(PATIENCE);
        page("200 OK", PUBLIC, "right")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut editor = Client::connect(&edge);
    let mut reader = Client::connect(&edge);
    assert_eq!(reader.get("/article").text(), "wrong");
    assert_eq!(write(&mut editor, "/wp-login.php", "").status, 302);
    let cookie = format!("Cookie: {COOKIE}\r\n");
    assert_eq!(write(&mut editor, "/article", &cookie).status, 200);
    reader.send("GET /article HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    hears.recv_timeout(PATIENCE).unwrap();
    drop(tell);
    assert_eq!(reader.answer().unwrap().text(), "right");
}
