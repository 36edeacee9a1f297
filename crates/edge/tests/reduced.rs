//! A flood of addresses nobody has seen: the article's copy answers, and nothing that chooses another page is ever answered with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use kit::{Answer, Client, Origin, PATIENCE, connect_from, page, plan};
use saqta_edge::Edge;
use saqta_edge::plan::{Mode, Plan};
use saqta_edge::profile::{Profile, System};
use saqta_edge::stats::Stats;
use tokio::time::Instant;

/// More than can be served in time.
const WAITERS: usize = 20;

const KEPT: &str = "Cache-Control: public, max-age=600\r\nCDN-Cache-Control: max-age=600\r\nContent-Type: text/html\r\n";

fn wait_until(edge: &Edge, is_so: impl Fn(&Stats) -> bool) {
    let started = Instant::now();
    while !is_so(&edge.stats()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", edge.stats());
        std::thread::yield_now();
    }
}

/// An edge whose origin has one slot, and hangs whatever is asked for as `slow` until it is let go.
struct Site {
    edge: Edge,
    origin: Origin,
    /// Dropped, the origin goes on.
    hold: Mutex<Option<SyncSender<()>>>,
}

impl Site {
    fn start(change: impl FnOnce(&mut Plan)) -> Self {
        let (hold, held) = sync_channel::<()>(0);
        let held = Mutex::new(held);
        let turns = AtomicU32::new(0);
        let origin = Origin::start(move |asked, _| {
            let target = asked.line.split(' ').nth(1).unwrap_or_default();
            if target.contains("slow") {
                let _let_go = held.lock().unwrap().recv();
            }
            let is_another = target
                .split_once("?nomer=")
                .is_some_and(|(_, value)| value.len() == 1);
            let text = if is_another { "Another" } else { "The" };
            let body = format!(
                "<!--{target}--><p>{text} article {}</p><a href='/list?rubric=7'>more</a>",
                "and what it says ".repeat(20)
            );
            match target {
                "/gone" => page("404 Not Found", KEPT, "gone"),
                "/article/house" => page("200 OK", "", &body),
                "/proven" | "/unproven" => page("200 OK", "Cache-Control: no-store\r\n", &body),
                "/by-turns" => {
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    page("200 OK", "", &format!("{body}<p>{turn}</p>"))
                }
                "/personal" => page(
                    "200 OK",
                    "Set-Cookie: visitor=1\r\nCache-Control: no-store\r\n",
                    &body,
                ),
                _ => page("200 OK", KEPT, &body),
            }
        });
        let mut plan = plan(origin.address);
        plan.sites[0].origin.concurrency_max = 1;
        change(&mut plan);
        let edge = Edge::start(plan).unwrap();
        Self {
            edge,
            origin,
            hold: Mutex::new(Some(hold)),
        }
    }

    fn let_go(&self) {
        drop(self.hold.lock().unwrap().take());
    }

    /// In calm. Past admission, which goes on believing that a page takes a hundred milliseconds: twenty have a chance.
    fn keep(&self, target: &str) -> Answer {
        self.edge.bypass(true);
        let kept = Client::connect(&self.edge).get(target);
        self.edge.bypass(false);
        kept
    }

    /// A crowd that asks for addresses of the same kind as the flood's. The origin has no room for one more of them.
    fn starve(&self) -> Vec<Client> {
        self.starve_with("?a=1")
    }

    fn starve_with(&self, query: &str) -> Vec<Client> {
        let mut crowd: Vec<Client> = (0..=WAITERS).map(|_| Client::connect(&self.edge)).collect();
        for (place, client) in crowd.iter_mut().enumerate() {
            client.send(format!(
                "GET /article/slow{place}{query} HTTP/1.1\r\nHost: a.kz\r\n\r\n"
            ));
            if place == 0 {
                wait_until(&self.edge, |stats| stats.sites[0].in_flight == 1);
            }
        }
        wait_until(&self.edge, |stats| {
            let has_begun = self
                .origin
                .asked()
                .iter()
                .any(|asked| asked.line.contains("slow"));
            stats.sites[0].queued == WAITERS && has_begun
        });
        crowd
    }

    /// From an address in this network.
    fn ask_from(&self, network: u8, target: &str) -> Answer {
        let address = Ipv4Addr::new(127, 1, network, 1);
        Client::of(connect_from(address, self.edge.addresses()[0])).get(target)
    }

    fn times_asked(&self, target: &str) -> usize {
        let line = format!("GET {target} HTTP/1.1");
        let asked = self.origin.asked();
        asked.iter().filter(|asked| asked.line == line).count()
    }

    fn ask(&self, target: &str) -> Answer {
        Client::connect(&self.edge).get(target)
    }
}

/// A language cookie of WordPress' plugins, one nobody has heard of, and both.
const COOKIES: [&str; 3] = [
    "pll_language=kk",
    "never_heard_of=1",
    "pll_language=kk; never_heard_of=1",
];

#[test]
fn where_there_is_no_room_a_chosen_language_and_a_strange_cookie_are_left_out() {
    let site = Site::start(|plan| plan.sites[0].profile = Profile::of(System::WordPress));
    // Of it the origin says nothing.
    let house = "/article/house";
    assert_eq!(site.keep("/article/one").status, 200);
    assert_eq!(site.keep(house).status, 200);
    let crowd = site.starve_with("");
    for cookie in COOKIES {
        for target in ["/article/one", house] {
            let answer = ask_with(&site.edge, target, &format!("Cookie: {cookie}\r\n"));
            assert_eq!(answer.status, 200, "{cookie} {target} {}", answer.head);
            // What its origin calls public is a hit for whoever has chosen nothing.
            let is_own = target == "/article/one" && cookie == "never_heard_of=1";
            assert_eq!(
                is_reduced(&answer),
                !is_own,
                "{cookie} {target} {}",
                answer.head
            );
        }
    }
    // All at once: each waits as long as it may.
    let own = [
        (
            "/article/one",
            "X-Requested-With: XMLHttpRequest\r\nCookie: pll_language=kk\r\n",
        ),
        ("/article/two", "Cookie: pll_language=kk\r\n"),
        ("/article/one?confirm=1", "Cookie: pll_language=kk\r\n"),
        (house, "Cookie: PHPSESSID=abcdef0123456789\r\n"),
        (house, "X-Api-Key: abcdef0123456789\r\n"),
    ];
    let mut waiting = own.map(|(target, fields)| {
        let mut client = Client::connect(&site.edge);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
        ));
        client
    });
    for (client, (target, fields)) in waiting.iter_mut().zip(own) {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.status, 503, "{target} {fields} {}", answer.head);
    }
    site.let_go();
    drop(crowd);
}

/// What a reader is told who brings these cookies, once the origin answers no more: with an error, or not at all.
#[test]
fn a_page_that_failed_is_shown_as_it_is_to_everybody() {
    let broken = Arc::new(AtomicU32::new(0));
    let is_broken = Arc::clone(&broken);
    let origin = Origin::start(move |asked, _| {
        let is_html = !asked.head.contains("application/json");
        match is_broken.load(Ordering::Relaxed) {
            0 => page("200 OK", KEPT, if is_html { "the page" } else { "{}" }),
            1 => page("500 Internal Server Error", "", "a stack trace"),
            _ => Vec::new(),
        }
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    assert_eq!(Client::connect(&edge).get("/a").status, 200);
    for trouble in [1, 2] {
        broken.store(trouble, Ordering::Relaxed);
        for cookie in COOKIES {
            let fields = format!("Cookie: {cookie}\r\n");
            let answer = ask_with(&edge, "/a", &fields);
            assert_eq!(answer.status, 200, "{trouble} {cookie} {}", answer.head);
            assert_eq!(answer.text(), "the page");
            let nothing = ask_with(&edge, "/b", &fields);
            assert!(nothing.status >= 500, "{trouble} {cookie} {}", nothing.head);
        }
    }
}

fn ask_with(edge: &Edge, target: &str, fields: &str) -> Answer {
    let mut client = Client::connect(edge);
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
    ));
    client.answer().expect("an answer")
}

fn is_reduced(answer: &Answer) -> bool {
    answer.cache().contains("detail=reduced")
}

#[test]
fn a_starved_origin_is_spared_addresses_made_up_for_a_known_page() {
    for mode in [Mode::Protect, Mode::Observe] {
        let site = Site::start(|plan| plan.sites[0].mode = mode);
        let kept = site.keep("/article/x");
        assert_eq!(kept.status, 200);
        let _crowd = site.starve();
        let asked_before = site.origin.asked().len();
        let targets = [
            "/article/x?u=8f3a",
            "/article/x?4711",
            "/article/x?u=1&v=2&w",
            "/article/x?utm_source=t&u=9",
            "/article/x?",
        ];
        for target in targets {
            let answer = site.ask(target);
            assert_eq!((answer.status, &answer.body), (200, &kept.body), "{target}");
            assert!(is_reduced(&answer), "{target}: {}", answer.head);
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert_eq!(answer.field("cdn-cache-control"), None, "{}", answer.head);
        }
        let mut reader = Client::connect(&site.edge);
        reader.send("HEAD /article/x?u=1 HTTP/1.1\r\nHost: a.kz\r\n\r\n");
        let head = reader.answer_to("HEAD").unwrap();
        assert!(is_reduced(&head) && head.status == 200, "{}", head.head);
        // The connection is in step: what came was a head alone.
        assert!(is_reduced(&reader.get("/article/x?u=2")));
        assert_eq!(site.edge.stats().totals.reduced, targets.len() as u64 + 2);
        assert_eq!(site.origin.asked().len(), asked_before);
        // It is the copy of the bare address still, and of that alone.
        assert!(site.ask("/article/x").cache().contains("hit; ttl"));
    }
}

#[test]
fn no_other_address_stands_in_for_one_that_may_mean_something() {
    let site = Site::start(|plan| {
        plan.sites[0].profile.own.content_parameters = vec!["Nomer.Id".into()];
    });
    for target in ["/article/x", "/gone", "/", "/article/y?page=2"] {
        site.keep(target);
    }
    let crowd = site.starve();
    let own = site.ask("/article/y?page=2&u=8");
    assert!(is_reduced(&own) && own.text().contains("<!--/article/y?page=2-->"));
    let session =
        "GET /article/x?u=1 HTTP/1.1\r\nHost: a.kz\r\nCookie: wordpress_logged_in_1=x\r\n\r\n";
    let targets = [
        "/article/x?confirm=1",
        "/article/x?u=5f4dcc3b5aa765d61d8327deb882cf99",
        "/article/x?code=4711&state=1",
        "/article/x?nomer_id=4",
        "/article/unknown?u=1",
        "/gone?u=1",
        "/article/x?page=2",
        "/article/x?lang=kk",
        "/?p=123",
        "/?s=fire",
        "/article/x?page=2&u=1",
        "/login?u=1",
    ];
    let asked_before = site.edge.stats().totals.requests;
    let mut readers: Vec<Client> = targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n\r\n"))
        .chain([session.to_owned()])
        .map(|request| {
            let mut reader = Client::connect(&site.edge);
            reader.send(request);
            reader
        })
        .collect();
    // All have met an origin without room, and those of another kind than the flood wait for a turn of their own.
    wait_until(&site.edge, |stats| {
        stats.totals.requests == asked_before + readers.len() as u64
    });
    site.let_go();
    for (target, reader) in targets.iter().chain(&["/article/x?u=1"]).zip(&mut readers) {
        let answer = reader.answer().unwrap();
        let is_own = answer.text().contains(&format!("<!--{target}-->"));
        assert!(
            answer.status == 503 || is_own,
            "{target}: {}",
            answer.text()
        );
    }
    assert_eq!(site.edge.stats().totals.reduced, 1);
    drop(crowd);
}

#[test]
fn names_in_links_of_stored_pages_are_never_left_out() {
    let site = Site::start(|_| ());
    site.keep("/article/x");
    let _crowd = site.starve();
    // They are read on a thread of their own.
    let started = Instant::now();
    while is_reduced(&site.ask("/article/x?rubric=9")) {
        assert!(started.elapsed() < PATIENCE, "it is still left out");
        std::thread::yield_now();
    }
    assert_eq!(site.ask("/article/x?rubric=9").status, 503);
    assert!(is_reduced(&site.ask("/article/x?rubrik=9")));
}

#[test]
fn a_difference_in_calm_is_for_good_whatever_is_asked_afterwards() {
    let site = Site::start(|_| ());
    site.keep("/article/x");
    // Two networks, then our own three requests.
    assert!(
        site.ask_from(1, "/article/x?nomer=5")
            .text()
            .contains("Another")
    );
    assert!(
        site.ask_from(2, "/article/x?nomer=6")
            .text()
            .contains("Another")
    );
    let probe = |asked: &[kit::Asked]| {
        asked.len() == 6
            && asked
                .iter()
                .skip(3)
                .all(|asked| asked.field("user-agent").is_some())
    };
    let started = Instant::now();
    while !probe(&site.origin.asked()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", site.origin.asked());
        std::thread::yield_now();
    }
    // What is not there is the page itself, for this site.
    for network in 3..12 {
        let answer = site.ask_from(network, &format!("/article/x?nomer=99{network}"));
        assert!(!answer.text().contains("Another"));
    }
    let _crowd = site.starve();
    assert!(is_reduced(&site.ask("/article/x?number=5")));
    assert_eq!(site.ask("/article/x?nomer=99999999").status, 503);
}

#[test]
fn whoever_has_waited_in_vain_gets_the_copy() {
    let site = Site::start(|_| ());
    let kept = site.keep("/article/x");
    let mut first = Client::connect(&site.edge);
    first.send("GET /article/slow HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    wait_until(&site.edge, |stats| stats.sites[0].in_flight == 1);
    let mut second = Client::connect(&site.edge);
    second.send("GET /article/x?u=1 HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    wait_until(&site.edge, |stats| stats.sites[0].queued == 1);
    let answer = second.answer().unwrap();
    assert_eq!((answer.status, &answer.body), (200, &kept.body));
    assert!(is_reduced(&answer), "{}", answer.head);
}

#[test]
fn bypassed_it_asks_the_origin() {
    let site = Site::start(|_| ());
    site.keep("/article/x");
    let _crowd = site.starve();
    assert!(is_reduced(&site.ask("/article/x?u=1")));
    site.edge.bypass(true);
    let own = site.ask("/article/x?u=1");
    assert!(own.text().contains("<!--/article/x?u=1-->"), "{}", own.head);
}

#[test]
fn what_three_networks_were_shown_alike_in_calm_is_shared_for_seconds_under_attack() {
    let site = Site::start(|_| ());
    let targets = ["/proven", "/unproven", "/by-turns", "/personal"];
    for network in 1..=4 {
        for target in targets {
            if target != "/unproven" || network < 3 {
                assert_eq!(site.ask_from(network, target).status, 200, "{target}");
            }
        }
    }
    let in_calm = site.ask("/proven");
    assert!(!in_calm.cache().contains("hit"), "{}", in_calm.head);
    let crowd = site.starve();
    // It counts as under attack from now on.
    assert_eq!(site.ask("/article/x?u=1").status, 503);
    drop(crowd);
    site.let_go();
    wait_until(&site.edge, |stats| {
        stats.sites[0].in_flight == 0 && stats.sites[0].queued == 0
    });
    for target in targets {
        let before = site.times_asked(target);
        for _ in 0..3 {
            let answer = site.ask(target);
            assert_eq!(answer.status, 200, "{target}: {}", answer.head);
        }
        let expected = if target == "/proven" { 1 } else { 3 };
        assert_eq!(site.times_asked(target) - before, expected, "{target}");
    }
    // What everybody gets is made for nobody's address.
    let asked = site.origin.asked();
    let proven: Vec<_> = asked
        .iter()
        .filter(|asked| asked.line.contains("/proven"))
        .map(|asked| asked.field("x-forwarded-for").is_some())
        .collect();
    assert!(proven[0] && !proven[proven.len() - 1], "{proven:?}");
    let mut other = Client::connect(&site.edge);
    let before = site.times_asked("/proven");
    let script = "GET /proven HTTP/1.1\r\nHost: a.kz\r\nOrigin: https://b.kz\r\n\r\n";
    assert_eq!(other.send(script).answer().unwrap().status, 200);
    assert_eq!(site.times_asked("/proven") - before, 1, "another's script");
}
