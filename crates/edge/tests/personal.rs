//! What an origin says to one reader reaches nobody else.
//!
//! A cache that mixes up two readers shows one of them the other's name, and in an attack that is when everybody asks for the same
//! page at the same instant. The origin here writes the cookie of whoever asks into its answer and forbids sharing in every way
//! there is; the clients look for anybody's cookie but their own, in heads and bodies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Barrier, Mutex};

use kit::{Answer, Asked, Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;

const MARK: &str = "marker-";
const MARK_DIGITS: usize = 6;

/// What the origin says about an answer that is one reader's; `{}` is the reader's mark. Each is a path of its name.
const PERSONAL: &[(&str, &str)] = &[
    ("private", "Cache-Control: private, max-age=60\r\n"),
    (
        "private-field",
        "Cache-Control: max-age=60, private=\"set-cookie\", no-store\r\nSet-Cookie: id={}\r\n",
    ),
    ("no-store", "Cache-Control: no-store\r\n"),
    (
        "no-cache",
        "Cache-Control: no-cache\r\nVary: Cookie\r\nETag: \"{}\"\r\n",
    ),
    (
        "wordpress",
        "Cache-Control: no-cache, must-revalidate, max-age=0, no-store, private\r\nExpires: Wed, 11 Jan 1984 05:00:00 GMT\r\n",
    ),
    (
        "both-ways",
        "Cache-Control: public, max-age=60\r\nCache-Control: private\r\n",
    ),
    ("misspelt", "Cache-Control: max-age=60,, PRIVATE\r\n"),
    (
        "set-cookie",
        "Cache-Control: max-age=60\r\nSet-Cookie: id={}; Path=/\r\n",
    ),
    (
        "set-cookie-heuristic",
        "Last-Modified: Sun, 15 Jun 2025 12:00:00 GMT\r\nSet-Cookie: id={}; Path=/\r\n",
    ),
    (
        "vary-cookie",
        "Cache-Control: public, max-age=60\r\nVary: Cookie\r\n",
    ),
    (
        "vary-many",
        "Cache-Control: public, max-age=60\r\nVary: Accept-Encoding\r\nVary: X-Any, cookie\r\n",
    ),
    (
        "vary-any",
        "Cache-Control: public, max-age=60\r\nVary: *\r\n",
    ),
    ("nothing-said", ""),
    (
        "expired",
        "Expires: 0\r\nPragma: no-cache\r\nCache-Control: private\r\n",
    ),
];

/// Answers that may be shared although they came with something that may not.
const SHARED: &[(&str, &str)] = &[
    (
        "public-set-cookie",
        "Cache-Control: public, max-age=60\r\nSet-Cookie: id={}; Path=/\r\n",
    ),
    (
        "s-maxage-set-cookie",
        "Cache-Control: s-maxage=60\r\nSet-Cookie: id={}; Path=/\r\nSet-Cookie: other={}\r\n",
    ),
];

/// Who asks: the mark in a cookie or in credentials.
fn mark_of(asked: &Asked) -> String {
    marks(&asked.head).into_iter().next().unwrap_or_default()
}

fn marks(text: &str) -> BTreeSet<String> {
    text.match_indices(MARK)
        .map(|(at, _)| text[at..].chars().take(MARK.len() + MARK_DIGITS).collect())
        .collect()
}

fn mark(number: usize) -> String {
    format!("{MARK}{number:0MARK_DIGITS$}")
}

fn kind_of(line: &str) -> &str {
    line.split(['/', ' ', '?']).nth(2).unwrap_or("")
}

fn answer(asked: &Asked, stream: &mut TcpStream) -> Vec<u8> {
    // Several writes for one answer wait for each other's ACK otherwise.
    stream.set_nodelay(true).unwrap();
    let kind = kind_of(&asked.line);
    let mark = mark_of(asked);
    if let Some((_, fields)) = SHARED.iter().find(|(name, _)| *name == kind) {
        return page("200 OK", &fields.replace("{}", &mark), "for everybody");
    }
    let fields = match PERSONAL.iter().find(|(name, _)| *name == kind) {
        Some((_, fields)) => fields.replace("{}", &mark),
        // Credentials in the request, and an origin that says how long an answer lasts but not for whom.
        None => "Cache-Control: max-age=60\r\n".into(),
    };
    let body = format!("{mark} {}", "is logged in. ".repeat(40));
    // Three ways to frame it, so that no connection is reused by the same rule each time.
    match mark.bytes().last().unwrap_or(0) % 3 {
        0 => page("200 OK", &fields, &body),
        1 => {
            let (first, second) = body.split_at(5);
            let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
            // In pieces: whoever joined after the head would read along from here.
            let _left = stream.write_all(head.as_bytes());
            std::thread::yield_now();
            let _left = stream.write_all(format!("{:x}\r\n{first}\r\n", first.len()).as_bytes());
            std::thread::yield_now();
            format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).into_bytes()
        }
        _ => {
            let whole = format!("HTTP/1.1 200 OK\r\n{fields}Connection: close\r\n\r\n{body}");
            let _left = stream.write_all(whole.as_bytes());
            Vec::new()
        }
    }
}

fn credentials(kind: &str, mark: &str) -> String {
    if kind == "authorization" {
        format!("Authorization: Bearer {mark}\r\n")
    } else {
        format!("Cookie: session={mark}\r\n")
    }
}

fn request(kind: &str, round: usize, mark: &str) -> String {
    format!(
        "GET /{kind}/{round} HTTP/1.1\r\nHost: a.kz\r\n{}\r\n",
        credentials(kind, mark)
    )
}

fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    PERSONAL
        .iter()
        .map(|(kind, _)| *kind)
        .chain(["authorization"])
}

#[test]
fn each_reader_gets_their_own_one_after_the_other() {
    let origin = Origin::start(answer);
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (round, kind) in kinds().enumerate() {
        for reader in 0..4 {
            // Twice the same reader: what is kept for one must be theirs too.
            let mark = mark(reader / 2);
            let answer = Client::connect(&edge)
                .send(request(kind, round, &mark))
                .answer()
                .unwrap();
            assert_eq!(answer.status, 200, "{kind}");
            let seen = marks(&(answer.head.clone() + &answer.text()));
            assert_eq!(seen, BTreeSet::from([mark]), "{kind}: {}", answer.head);
        }
        let nobody = Client::connect(&edge).get(&format!("/{kind}/{round}"));
        let seen = marks(&(nobody.head.clone() + &nobody.text()));
        assert_eq!(seen, BTreeSet::new(), "{kind}: {}", nobody.head);
    }
}

#[test]
fn what_may_be_shared_is_shared_without_its_cookie() {
    let origin = Origin::start(answer);
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (kind, _) in SHARED {
        let first = Client::connect(&edge)
            .send(request(kind, 0, &mark(1)))
            .answer()
            .unwrap();
        assert!(
            first.field("set-cookie").is_some(),
            "{kind}: {}",
            first.head
        );
        // What was fetched with somebody's cookie is nobody else's; but it tells that the next one may be fetched for all.
        let second = Client::connect(&edge)
            .send(request(kind, 0, &mark(2)))
            .answer()
            .unwrap();
        assert!(second.cache().contains("fwd"), "{kind}: {}", second.head);
        assert_eq!(marks(&second.head), BTreeSet::new(), "{kind}");
        assert_eq!(mark_of(origin.asked().last().unwrap()), "", "{kind}");
        let third = Client::connect(&edge)
            .send(request(kind, 0, &mark(3)))
            .answer()
            .unwrap();
        assert!(third.cache().contains("hit"), "{kind}: {}", third.head);
        assert_eq!(third.text(), "for everybody");
        assert_eq!(third.field("set-cookie"), None, "{kind}");
    }
    assert_eq!(origin.asked().len(), 2 * SHARED.len());
}

/// A page everybody had, until the origin answers its revalidation with something for one reader.
#[test]
fn a_page_that_becomes_personal_stays_with_its_reader() {
    let revalidations: &[(&str, &str, &str)] = &[
        (
            "200 OK",
            "Cache-Control: private, max-age=60\r\n",
            "must-revalidate, max-age=0",
        ),
        (
            "200 OK",
            "Cache-Control: no-store\r\nSet-Cookie: id={}\r\n",
            "max-age=0, stale-while-revalidate=60",
        ),
        (
            "200 OK",
            "Cache-Control: max-age=60\r\nSet-Cookie: id={}\r\n",
            "max-age=0, stale-if-error=60",
        ),
        (
            "304 Not Modified",
            "Cache-Control: max-age=60\r\nSet-Cookie: id={}\r\nETag: \"1\"\r\n",
            "max-age=0",
        ),
        (
            "304 Not Modified",
            "Cache-Control: private\r\nSet-Cookie: id={}\r\nX-Reader: {}\r\nETag: \"1\"\r\n",
            "max-age=0",
        ),
        (
            "500 Internal Server Error",
            "X-Reader: {}\r\n",
            "max-age=0, stale-if-error=60",
        ),
        (
            "404 Not Found",
            "X-Reader: {}\r\nCache-Control: private\r\n",
            "max-age=0",
        ),
    ];
    for (case, (status, fields, first)) in revalidations.iter().enumerate() {
        let origin = Origin::start(move |asked, _| {
            let mark = mark_of(asked);
            if mark.is_empty() && asked.field("if-none-match").is_none() {
                let fields = format!("Cache-Control: public, {first}\r\nETag: \"1\"\r\n");
                return page("200 OK", &fields, "for everybody");
            }
            let fields = fields.replace("{}", &mark);
            if status.starts_with("304") {
                return format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
            }
            page(status, &fields, &format!("only {mark}"))
        });
        let edge = Edge::start(plan(origin.address)).unwrap();
        assert_eq!(Client::connect(&edge).get("/a").text(), "for everybody");
        for reader in (1..=6).chain(1..=6) {
            let own = mark(reader);
            let answer = Client::connect(&edge)
                .send(request("a", 0, &own).replace("/a/0", "/a"))
                .answer()
                .unwrap();
            let mut seen = marks(&(answer.head.clone() + &answer.text()));
            seen.remove(&own);
            assert!(
                seen.is_empty(),
                "case {case}: {} {}",
                answer.head,
                answer.text()
            );
        }
        let nobody = Client::connect(&edge).get("/a");
        let seen = marks(&(nobody.head.clone() + &nobody.text()));
        assert!(seen.is_empty(), "case {case}: {}", nobody.head);
    }
}

#[derive(Default)]
struct Seen {
    own: AtomicUsize,
    foreign: AtomicUsize,
    waiting: AtomicUsize,
    neither: AtomicUsize,
}

impl Seen {
    fn note(&self, answer: &Answer, own: &str) {
        let seen = marks(&(answer.head.clone() + &answer.text()));
        let count = if seen.iter().any(|mark| mark != own) {
            &self.foreign
        } else if seen.contains(own) {
            &self.own
        } else if answer.field("saqta-answer").is_some() {
            // Our own page: no cache had a part in it.
            assert_eq!(answer.cache(), "");
            &self.waiting
        } else {
            &self.neither
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

const READERS: usize = 40;
const ROUNDS: usize = 50;

/// All readers at the same instant, the same page, each with a cookie of their own; some leave before their answer, and all keep
/// their connections from round to round.
fn everybody_at_once(concurrency_max: usize) -> Seen {
    let origin = Origin::start(answer);
    let mut plan = plan(origin.address);
    plan.sites[0].origin.concurrency_max = concurrency_max;
    let edge = Edge::start(plan).unwrap();
    let together = Barrier::new(READERS);
    let seen = Seen::default();
    let kinds: Vec<_> = kinds().collect();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (edge, together, seen, kinds) = (&edge, &together, &seen, &kinds);
            scope.spawn(move || {
                let mut client = Client::connect(edge);
                for round in 0..ROUNDS {
                    let own = mark(round * READERS + reader);
                    let request = request(kinds[round % kinds.len()], round, &own);
                    together.wait();
                    client.send(&request);
                    if (reader + round) % 10 == 0 {
                        client = Client::connect(edge);
                        client.send(&request);
                    }
                    match client.answer() {
                        Some(answer) => seen.note(&answer, &own),
                        None => {
                            seen.neither.fetch_add(1, Ordering::Relaxed);
                            client = Client::connect(edge);
                        }
                    }
                }
            });
        }
    });
    seen
}

#[test]
fn nobody_gets_anothers_answer_when_all_ask_at_once() {
    let seen = everybody_at_once(64);
    let [own, foreign, waiting, neither] = totals(&seen);
    println!("{own} their own, {foreign} foreign, {waiting} waiting pages, {neither} neither");
    assert_eq!((foreign, neither), (0, 0));
    assert_eq!(own + waiting, READERS * ROUNDS);
    assert!(own > READERS * ROUNDS / 2, "{own}");
}

#[test]
fn nobody_gets_anothers_answer_when_the_origin_takes_one_at_a_time() {
    let seen = everybody_at_once(1);
    let [own, foreign, waiting, neither] = totals(&seen);
    println!("{own} their own, {foreign} foreign, {waiting} waiting pages, {neither} neither");
    assert_eq!((foreign, neither), (0, 0));
    assert_eq!(own + waiting, READERS * ROUNDS);
    assert!(own > 0);
}

/// The only place is taken and stays so: everybody waits, in vain, and then the same readers ask again on the same connections.
#[test]
fn nobody_gets_anothers_answer_after_waiting_in_vain() {
    let (arrived, arrivals) = sync_channel(1);
    let (release, released) = sync_channel::<()>(1);
    let released = Mutex::new(released);
    let origin = Origin::start(move |asked, stream| {
        if kind_of(&asked.line) == "slow" {
            arrived.send(()).unwrap();
            let _released = released.lock().unwrap().recv_timeout(PATIENCE);
        }
        answer(asked, stream)
    });
    let mut plan = plan(origin.address);
    plan.sites[0].origin.concurrency_max = 1;
    plan.sites[0].origin.response_timeout = PATIENCE;
    let edge = Edge::start(plan).unwrap();
    let mut slow = Client::connect(&edge);
    slow.send(request("slow", 0, &mark(0)));
    arrivals.recv_timeout(PATIENCE).unwrap();

    let seen = Seen::default();
    let kinds: Vec<_> = kinds().collect();
    let ask = |clients: Vec<(usize, Client)>| -> Vec<(usize, Client)> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = clients
                .into_iter()
                .map(|(reader, mut client)| {
                    let kind = kinds[reader % kinds.len()];
                    let seen = &seen;
                    scope.spawn(move || {
                        let own = mark(reader);
                        let answer = client.send(request(kind, 0, &own)).answer().unwrap();
                        seen.note(&answer, &own);
                        (reader, client)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    };
    let clients = (1..=READERS)
        .map(|reader| (reader, Client::connect(&edge)))
        .collect();
    let clients = ask(clients);
    assert_eq!(totals(&seen), [0, 0, READERS, 0]);
    release.send(()).unwrap();
    assert_eq!(
        marks(&slow.answer().unwrap().text()),
        BTreeSet::from([mark(0)])
    );
    ask(clients);
    let [own, foreign, waiting, neither] = totals(&seen);
    assert_eq!((foreign, neither), (0, 0));
    assert_eq!(own + waiting, 2 * READERS);
    assert!(own > 0);
}

/// Their own, foreign, waiting pages, neither.
fn totals(seen: &Seen) -> [usize; 4] {
    [&seen.own, &seen.foreign, &seen.waiting, &seen.neither]
        .map(|count| count.load(Ordering::Relaxed))
}
