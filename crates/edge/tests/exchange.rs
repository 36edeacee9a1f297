//! Conversations through the whole edge: a client says, the origin says, and what each must see of the other.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::{Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;
use saqta_edge::plan::{Limits, Networks};
use saqta_edge::stats::Stats;
use tokio::time::Instant;

const PUBLIC: &str = "Cache-Control: public, max-age=60\r\nContent-Type: text/html\r\n";

/// Stored, and never fresh.
const STALE: &str = "Cache-Control: public, max-age=0\r\nETag: \"v1\"\r\n";

#[test]
fn a_page_is_asked_for_once_and_served_to_everybody() {
    let origin = Origin::start(|asked, _| page("200 OK", PUBLIC, &format!("page {}", asked.line)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut first = Client::connect(&edge);
    let answer = first.get("/a");
    assert_eq!(
        (answer.status, answer.text()),
        (200, "page GET /a HTTP/1.1".into())
    );
    assert!(
        answer.cache().contains("fwd=uri-miss"),
        "{}",
        answer.cache()
    );
    for _ in 0..3 {
        let mut client = Client::connect(&edge);
        let answer = client.get("/a");
        assert!(
            answer.cache().starts_with("saqta; hit"),
            "{}",
            answer.cache()
        );
        assert_eq!(answer.text(), "page GET /a HTTP/1.1");
    }
    // Kept connections, and a client's wish for a fresh copy is not the origin's burden.
    let again = first
        .send("GET /a HTTP/1.1\r\nHost: A.KZ:80\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n\r\n")
        .answer()
        .unwrap();
    assert!(again.cache().starts_with("saqta; hit"), "{}", again.cache());
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let origin = Origin::start(|asked, _| {
        let kind = if asked.line.contains("/kept") {
            PUBLIC
        } else {
            "Cache-Control: no-store\r\n"
        };
        page("200 OK", kind, &asked.line)
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.get("/kept");
    let targets = ["/kept", "/1", "/kept", "/2", "/3", "/kept"];
    let sent: String = targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n\r\n"))
        .collect();
    client.send(sent);
    for target in targets {
        assert_eq!(
            client.answer().unwrap().text(),
            format!("GET {target} HTTP/1.1")
        );
    }
}

#[test]
fn bodies_reach_the_origin_whole_however_they_are_framed() {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "",
            &format!("{} {}", asked.line, asked.body.len()),
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.send("POST /a HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().unwrap().text(), "POST /a HTTP/1.1 5");
    client.send("POST /b HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.answer().unwrap().text(), "POST /b HTTP/1.1 11");
    // Longer than what is buffered: streamed, and the connection goes on behind it.
    let long = vec![b'x'; 3 * 1024 * 1024];
    client
        .send(format!(
            "PUT /c HTTP/1.1\r\nHost: a.kz\r\nContent-Length: {}\r\n\r\n",
            long.len()
        ))
        .send(&long);
    assert_eq!(
        client.answer().unwrap().text(),
        format!("PUT /c HTTP/1.1 {}", long.len())
    );
    assert_eq!(client.get("/d").text(), "GET /d HTTP/1.1 0");
    // What a client adds to its chunks is between it and us.
    client.send("POST /e HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n5;sum=abc\r\nhello\r\n6 ; q=\"a;b\"\r\n world\r\n0;last\r\n\r\n");
    assert_eq!(client.answer().unwrap().text(), "POST /e HTTP/1.1 11");
    assert_eq!(client.get("/f").text(), "GET /f HTTP/1.1 0");
    for asked in origin.asked() {
        assert!(!asked.body.contains(&b';'), "{}", asked.line);
    }
}

#[test]
fn a_client_that_expects_100_gets_it_before_its_body() {
    let origin =
        Origin::start(|asked, _| page("200 OK", "", &String::from_utf8_lossy(&asked.body)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.send(
        "POST /a HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer().unwrap().status, 100);
    client.send("hello");
    assert_eq!(client.answer().unwrap().text(), "hello");
    assert_eq!(origin.asked()[0].field("expect"), None);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let mut plan = plan(origin.address);
    plan.limits.body_bytes_max = 100;
    let edge = Edge::start(plan).unwrap();
    let mut client = Client::connect(&edge);
    client.send(
        "POST /a HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n",
    );
    let answer = client.answer().unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (413, Some("close")),
        "the rest would be taken for a request"
    );
    assert!(client.is_closed());
    // Found out, not declared.
    let mut client = Client::connect(&edge);
    client.send(format!(
        "POST /a HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x65)
    ));
    assert_eq!(client.answer().unwrap().status, 413);
    assert!(origin.asked().is_empty());
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::start(|_, _| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nCache-Control: no-store\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n".to_vec()
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.send(
        "POST /a HTTP/1.1\r\nHost: a.kz\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n2\r\nhi\r\n0\r\nX-In: 5\r\n\r\n",
    );
    let answer = client.answer().unwrap();
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.field("x-sum"), Some("7"), "{}", answer.head);
}

/// What is stored has none, for who reads along as for who comes later; what is not has them, whichever way it takes.
#[test]
fn trailers_of_pages_pass_unless_the_page_is_stored() {
    let origin = Origin::start(|asked, _| {
        let control = if asked.line.contains("/kept") {
            "max-age=60"
        } else {
            "no-store"
        };
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nCache-Control: {control}\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n").into_bytes()
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    for (target, passed) in [("/kept", None), ("/own", Some("7"))] {
        for time in ["first", "second"] {
            client.send(format!(
                "GET {target} HTTP/1.1\r\nHost: a.kz\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
            ));
            let answer = client.answer().unwrap();
            assert_eq!(answer.text(), "ok");
            assert_eq!(answer.field("x-sum"), passed, "{time} {}", answer.head);
            assert_eq!(answer.field("trailer").is_some(), passed.is_some());
        }
        // Who does not say that he takes them gets none.
        assert_eq!(client.get(target).field("x-sum"), None);
    }
}

#[test]
fn events_arrive_as_they_happen() {
    let (tell, told) = sync_channel::<&'static str>(4);
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while let Ok(event) = told.lock().unwrap().recv() {
            if stream.write_all(event.as_bytes()).is_err() {
                break;
            }
        }
        Vec::new()
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.send("GET /events HTTP/1.1\r\nHost: a.kz\r\nAccept: text/event-stream\r\n\r\n");
    let mut seen = String::new();
    for event in ["data: one\n\n", "data: two\n\n"] {
        tell.send(event).unwrap();
        while !seen.contains(event) {
            let bytes = client.bytes(1);
            assert!(!bytes.is_empty(), "the stream ended early: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    drop(tell);
}

#[test]
fn a_websocket_is_spliced_to_the_origin() {
    let origin = Origin::start(|asked, stream| {
        assert_eq!(asked.field("upgrade"), Some("websocket"));
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
            .unwrap();
        let mut echo = [0; 64];
        while let Ok(bytes) = stream.read(&mut echo) {
            if bytes == 0 || stream.write_all(&echo[..bytes]).is_err() {
                break;
            }
        }
        Vec::new()
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    // The first frame is sent along with the handshake.
    client.send("GET /ws HTTP/1.1\r\nHost: a.kz\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\nearly");
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(client.bytes(5), b"early");
    client.send("frame");
    assert_eq!(client.bytes(5), b"frame");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
}

#[test]
fn a_slow_reader_gets_every_byte_and_holds_no_slot() {
    const BYTES: usize = 6 * 1024 * 1024;
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let body: String = (0..BYTES / 8).map(|at| format!("{at:08}")).collect();
    let expected = body.clone();
    let origin = Origin::start(move |asked, _| {
        count.fetch_add(1, Ordering::SeqCst);
        if asked.line.contains("/big") {
            return page("200 OK", PUBLIC, &body);
        }
        page("200 OK", "Cache-Control: no-store\r\n", "small")
    });
    let mut plan = plan(origin.address);
    plan.cache_bytes_max = 512 * 1024 * 1024;
    let edge = Edge::start(plan).unwrap();
    let mut slow: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::connect(&edge);
            client.send("GET /big HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n");
            client
        })
        .collect();
    // None of them reads yet; the origin is free for others all the same.
    let mut other = Client::connect(&edge);
    for _ in 0..20 {
        assert_eq!(other.get("/small").text(), "small");
    }
    for client in &mut slow {
        let answer = client.answer().unwrap();
        assert_eq!(answer.body.len(), BYTES);
        assert!(answer.body == expected.as_bytes(), "a byte differs");
    }
    assert_eq!(served.load(Ordering::SeqCst), 21, "one fetch for all eight");
}

#[test]
fn a_truncated_page_is_neither_stored_nor_passed_off_as_whole() {
    let origin = Origin::start(|asked, stream| {
        if asked.line.contains("/cut") {
            stream
                .write_all(
                    format!("HTTP/1.1 200 OK\r\n{PUBLIC}Content-Length: 100\r\n\r\nhalf")
                        .as_bytes(),
                )
                .unwrap();
            return Vec::new();
        }
        page("200 OK", PUBLIC, "whole")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    for _ in 0..2 {
        let mut client = Client::connect(&edge);
        client.send("GET /cut HTTP/1.1\r\nHost: a.kz\r\n\r\n");
        let answer = client.answer();
        assert!(
            answer.is_none_or(|answer| answer.status == 502 || answer.body.len() < 100),
            "passed off as whole"
        );
    }
    assert!(
        origin
            .asked()
            .iter()
            .filter(|asked| asked.line.contains("/cut"))
            .count()
            >= 2,
        "stored"
    );
}

#[test]
fn a_dead_origin_leaves_the_stale_copy_and_a_page_that_says_so() {
    let alive = Arc::new(AtomicUsize::new(1));
    let state = Arc::clone(&alive);
    let origin = Origin::start(move |_, _| {
        if state.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        page("200 OK", STALE, "article")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    assert_eq!(client.get("/a").text(), "article");
    alive.store(0, Ordering::SeqCst);
    let stale = client.get("/a");
    assert_eq!((stale.status, stale.text()), (200, "article".into()));
    let never_seen = client.get("/b");
    assert!(matches!(never_seen.status, 502..=504), "{never_seen:?}");
    assert_eq!(never_seen.field("cache-control"), Some("no-store"));
}

#[test]
fn refused_networks_are_refused_on_every_request_and_after_a_reload() {
    let origin = Origin::start(|_, _| page("200 OK", PUBLIC, "reached"));
    let mut refusing = plan(origin.address);
    refusing.refuse = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let edge = Edge::start(refusing.clone()).unwrap();
    let mut client = Client::connect(&edge);
    for _ in 0..3 {
        assert_eq!(client.get("/a").status, 403);
    }
    assert!(origin.asked().is_empty());
    refusing.refuse = Networks::default();
    edge.reload(refusing.clone()).unwrap();
    assert_eq!(
        client.get("/a").status,
        200,
        "the kept connection follows the new plan"
    );
    refusing.refuse = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    edge.reload(refusing).unwrap();
    assert_eq!(client.get("/a").status, 403);
}

#[test]
fn slow_heads_are_cut_off_as_a_whole_and_not_byte_by_byte() {
    let origin = Origin::start(|_, _| page("200 OK", PUBLIC, "reached"));
    let mut plan = plan(origin.address);
    plan.limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let edge = Edge::start(plan).unwrap();
    let mut client = Client::connect(&edge);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a.kz\r\n");
    let mut answer = Vec::new();
    let mut one = [0; 512];
    for _ in 0..100 {
        client.send("X");
        match client.stream.read(&mut one) {
            Ok(0) => break,
            Ok(bytes) => answer.extend_from_slice(&one[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(origin.asked().is_empty());
}

#[test]
fn connections_over_the_bound_are_turned_away_and_the_rest_served() {
    let origin = Origin::start(|_, _| page("200 OK", PUBLIC, "page"));
    let mut plan = plan(origin.address);
    plan.limits = Limits {
        connections_per_address_max: 5,
        ..Limits::default()
    };
    let edge = Edge::start(plan).unwrap();
    let mut seated: Vec<Client> = (0..5).map(|_| Client::connect(&edge)).collect();
    for client in &mut seated {
        assert_eq!(client.get("/").status, 200);
    }
    let mut sixth = Client::connect(&edge);
    sixth.send("GET / HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    assert!(sixth.answer().is_none());
    drop(seated.pop());
    assert_eq!(seated[0].get("/").status, 200);
}

#[test]
fn head_and_conditions_are_answered_from_the_copy() {
    let origin =
        Origin::start(|_, _| page("200 OK", &format!("{PUBLIC}ETag: \"v1\"\r\n"), "0123456789"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.get("/a");
    client.send("HEAD /a HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    let head = client.answer_to("HEAD").unwrap();
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("10"))
    );
    client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\nIf-None-Match: \"v1\"\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 304);
    client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\nRange: bytes=2-4\r\n\r\n");
    let part = client.answer().unwrap();
    assert_eq!((part.status, part.text()), (206, "234".into()));
    client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\nRange: bytes=99-\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 416);
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn a_login_the_origin_confirmed_makes_staff_and_a_cookie_alone_does_not() {
    let origin = Origin::start(|asked, _| {
        if asked.line.starts_with("POST /wp-login.php") {
            return page(
                "302 Found",
                "Location: /wp-admin/\r\nSet-Cookie: wordpress_logged_in_abc=editor%7Csecret; path=/; HttpOnly\r\n",
                "",
            );
        }
        page("200 OK", PUBLIC, "page")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.get("/a");
    let reload = |cookie: &str| {
        format!(
            "GET /a HTTP/1.1\r\nHost: a.kz\r\nCache-Control: no-cache\r\nCookie: {cookie}\r\n\r\n"
        )
    };
    // Only staff may ask past the cache, which is how it shows here.
    client.send(reload("wordpress_logged_in_abc=editor%7Csecret"));
    assert!(client.answer().unwrap().cache().starts_with("saqta; hit"));
    client.send("POST /wp-login.php HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 5\r\n\r\nlog=x");
    assert_eq!(client.answer().unwrap().status, 302);
    client.send(reload("wordpress_logged_in_abc=editor%7Csecret"));
    assert!(client.answer().unwrap().cache().contains("fwd=request"));
    client.send(reload("wordpress_logged_in_abc=editor%7Cforged"));
    assert!(client.answer().unwrap().cache().starts_with("saqta; hit"));
}

#[test]
fn a_page_asked_for_with_a_cookie_is_not_shared_on_a_guess() {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
            asked.field("cookie").unwrap_or("nobody"),
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    for reader in ["sess=one", "sess=two"] {
        client.send(format!(
            "GET /mine HTTP/1.1\r\nHost: a.kz\r\nCookie: {reader}\r\n\r\n"
        ));
        assert_eq!(client.answer().unwrap().text(), reader);
    }
    assert_eq!(client.get("/mine").text(), "nobody");
}

#[test]
fn a_stop_lets_the_answer_under_way_finish() {
    let (go, gone) = sync_channel::<()>(1);
    let gone = Mutex::new(gone);
    let (reached, at_origin) = sync_channel::<()>(1);
    let origin = Origin::start(move |_, _| {
        reached.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
        page("200 OK", "", "finished")
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Client::connect(&edge);
    client.send("GET /a HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    at_origin.recv().unwrap();
    let stopping = std::thread::spawn(move || edge.stop(PATIENCE));
    go.send(()).unwrap();
    assert_eq!(client.answer().unwrap().text(), "finished");
    stopping.join().unwrap();
}

/// An origin that says when it hears of a page with `slow` in its address, and answers it when told to.
fn slow_origin(fields: &'static str) -> (Origin, Receiver<()>, SyncSender<()>) {
    let (hears, heard) = sync_channel(64);
    let (tell, told) = sync_channel(64);
    let told = Mutex::new(told);
    let origin = Origin::start(move |asked, _| {
        if asked.line.contains("slow") {
            hears.send(()).unwrap();
            let _told = told.lock().unwrap().recv_timeout(PATIENCE);
        }
        page("200 OK", fields, &asked.line)
    });
    (origin, heard, tell)
}

/// A client that closes its side behind the request still listens, whoever answers it.
#[test]
fn a_client_that_has_said_all_it_will_say_gets_its_answer() {
    let (origin, heard, tell) = slow_origin(PUBLIC);
    let mut plan = plan(origin.address);
    plan.any_host = Some(0);
    let edge = Edge::start(plan).unwrap();
    let table = [
        ("GET /slow HTTP/1.1\r\nHost: a.kz\r\n\r\n", true),
        ("GET /slow HTTP/1.1\r\nHost: a.kz\r\n\r\n", false),
        ("GET /slow/2 HTTP/1.0\r\nHost: a.kz\r\n\r\n", true),
        ("GET /slow/2 HTTP/1.0\r\nHost: a.kz\r\n\r\n", false),
        (
            "POST /slow HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 2\r\n\r\nhi",
            true,
        ),
    ];
    for (request, reaches_origin) in table {
        let mut client = Client::connect(&edge);
        client.send(request);
        client.stream.shutdown(Shutdown::Write).unwrap();
        if reaches_origin {
            heard.recv_timeout(PATIENCE).expect(request);
            tell.send(()).unwrap();
        }
        let answer = client.answer().expect(request);
        assert_eq!(answer.status, 200, "{request}");
        assert!(client.is_closed(), "{request}");
    }
}

/// All that admission has is taken: who must wait in vain is told at the head of the connection, and only who must.
#[test]
fn who_is_turned_away_hears_it_at_once_and_goes_on() {
    const WAITERS: usize = 20;
    let (origin, heard, tell) = slow_origin(STALE);
    let mut plan = plan(origin.address);
    plan.sites[0].origin.concurrency_max = 1;
    let edge = Edge::start(plan).unwrap();
    let mut reader = Client::connect(&edge);
    // Admission does not see it, and goes on believing that a search takes a hundred milliseconds: twenty have a chance.
    edge.bypass(true);
    assert_eq!(reader.get("/search?q=kept").status, 200);
    edge.bypass(false);
    let mut crowd: Vec<Client> = (0..=WAITERS).map(|_| Client::connect(&edge)).collect();
    for (place, client) in crowd.iter_mut().enumerate() {
        client.send(format!(
            "GET /search?q=slow{place} HTTP/1.1\r\nHost: a.kz\r\n\r\n"
        ));
        if place == 0 {
            heard.recv_timeout(PATIENCE).unwrap();
        }
    }
    wait_until(&edge, |stats| stats.sites[0].queued == WAITERS);
    let before = edge.stats();
    let ask = |method: &str, target: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: a.kz\r\nSec-Fetch-Mode: navigate\r\n\r\n")
    };
    // One behind the other on one connection: nothing of an answer may be left over for the next.
    reader.send(ask("HEAD", "/search?q=slow") + &ask("GET", "/search?q=slow"));
    for method in ["HEAD", "GET"] {
        let answer = reader.answer_to(method).unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").is_some(), "{}", answer.head);
        assert_eq!(answer.field("saqta-answer"), Some("waiting"));
    }
    let after = edge.stats();
    assert_eq!(after.totals.waiting - before.totals.waiting, 2);
    assert_eq!(after.totals.requests - before.totals.requests, 2);
    assert_eq!(after.sites[0].turned_away - before.sites[0].turned_away, 2);
    // A stale copy comes before the waiting page, and so does a page that somebody is being served already.
    reader.send(ask("GET", "/search?q=kept"));
    let answer = reader.answer().unwrap();
    assert!(answer.cache().contains("starved"), "{}", answer.head);
    reader.send(ask("GET", "/search?q=slow0"));
    wait_until(&edge, |stats| stats.totals.collapsed == 1);
    drop(tell);
    assert_eq!(reader.answer().unwrap().status, 200);
}

/// The breaker opens at the third; what readers are told is what is so, before and after.
#[test]
fn a_server_that_does_not_answer_is_not_called_busy() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let edge = Edge::start(plan(nobody)).unwrap();
    let mut reader = Client::connect(&edge);
    for place in 0..6 {
        let answer = reader.get(&format!("/news/{place}"));
        assert_eq!(answer.status, 502, "{}", answer.head);
        assert_eq!(answer.field("saqta-answer"), Some("origin-failed"));
    }
    assert_eq!(edge.stats().totals.waiting, 0);
}

/// A server of many names is asked after its health by the name readers use; its own may have nothing to say.
#[test]
fn a_probe_asks_for_the_site_by_name() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut plan = plan(address);
    plan.sites[0].origin.health_path = Some("/health".into());
    let edge = Edge::start(plan).unwrap();
    let mut reader = Client::connect(&edge);
    for place in 0..3 {
        assert_eq!(reader.get(&format!("/news/{place}")).status, 502);
    }
    let listener = std::net::TcpListener::bind(address).unwrap();
    let (mut probe, _) = listener.accept().unwrap();
    probe.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut asked = [0; 1024];
    let read = probe.read(&mut asked).unwrap();
    let asked = String::from_utf8_lossy(&asked[..read]).to_ascii_lowercase();
    assert!(asked.starts_with("get /health "), "{asked}");
    assert!(asked.contains("host: a.kz\r\n"), "{asked}");
}

fn wait_until(edge: &Edge, is_so: impl Fn(&Stats) -> bool) {
    let started = Instant::now();
    while !is_so(&edge.stats()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", edge.stats());
        std::thread::yield_now();
    }
}

/// Two Saqtas that take each other for the newsroom's server, and one that takes itself for it.
#[test]
fn a_request_that_comes_back_is_told_so() {
    let address = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (one, other) = (address(), address());
    for (first, second) in [(one, other), (one, one)] {
        let edge_at = |listen, origin| {
            let mut plan = plan(origin);
            plan.listen = vec![listen];
            Edge::start(plan).unwrap()
        };
        let edge = edge_at(first, second);
        let _other = (first != second).then(|| edge_at(second, first));
        let mut client = Client::connect(&edge);
        for request in [
            "GET /a HTTP/1.1\r\nHost: a.kz\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a.kz\r\nCDN-Loop: saqta-0\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 2\r\n\r\nhi",
        ] {
            client.send(request);
            let answer = client.answer().expect(request);
            assert_eq!(answer.status, 508, "{request}");
            assert_eq!(answer.field("saqta-answer"), Some("origin-failed"));
        }
    }
}
