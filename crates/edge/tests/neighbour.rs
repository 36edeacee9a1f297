//! Two newsrooms behind one edge: an attack on one costs the other nothing it has stored and no place at its origin.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex};

use kit::{Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;
use saqta_edge::plan::Plan;
use saqta_edge::stats::SiteStats;

const MIB: usize = 1024 * 1024;

/// Half of it is each newsroom's.
const CACHE_BYTES_MAX: usize = 8 * MIB;

const PUBLIC: &str = "Cache-Control: public, max-age=600\r\nContent-Type: text/html\r\n";
const NO_STORE: &str = "Cache-Control: no-store\r\n";

/// A front page and what it links to.
const QUIET_PAGES: usize = 30;

/// Several times the whole cache.
const FLOOD_PAGES: usize = 2_000;
const PAGE_BYTES: usize = 16 * 1024;

/// Slow requests to one origin, of which it takes four.
const SLOW_REQUESTS: usize = 60;
const SLOW_AT_ONCE: usize = 4;

fn two_newsrooms(flooded: &Origin, quiet: &Origin) -> Plan {
    let mut plan = plan(flooded.address);
    plan.cache_bytes_max = CACHE_BYTES_MAX as u64;
    plan.sites[0].name = "flooded".into();
    plan.sites[0].origin.concurrency_max = SLOW_AT_ONCE;
    let mut second = plan.sites[0].clone();
    second.name = "quiet".into();
    second.hosts = vec!["b.kz".into()];
    second.origin.authority = quiet.address.to_string().parse().unwrap();
    plan.sites.push(second);
    plan
}

fn get(client: &mut Client, host: &str, target: &str) -> kit::Answer {
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .answer()
        .expect("an answer")
}

fn site(edge: &Edge, name: &str) -> SiteStats {
    let stats = edge.stats();
    stats
        .sites
        .into_iter()
        .find(|site| site.name == name)
        .unwrap()
}

#[test]
fn a_flood_of_pages_evicts_none_of_the_neighbours() {
    let body = "а".repeat(PAGE_BYTES / 2);
    let flooded = Origin::start(move |_, _| page("200 OK", PUBLIC, &body));
    let quiet = Origin::start(|asked, _| page("200 OK", PUBLIC, &asked.line));
    let edge = Edge::start(two_newsrooms(&flooded, &quiet)).unwrap();
    let mut reader = Client::connect(&edge);
    for number in 0..QUIET_PAGES {
        get(&mut reader, "b.kz", &format!("/{number}"));
    }
    let mut attacker = Client::connect(&edge);
    for number in 0..FLOOD_PAGES {
        let answer = get(&mut attacker, "a.kz", &format!("/{number}?bust"));
        assert_eq!(answer.status, 200);
    }
    for number in 0..QUIET_PAGES {
        let answer = get(&mut reader, "b.kz", &format!("/{number}"));
        assert!(answer.cache().starts_with("saqta; hit"), "{}", answer.head);
    }
    assert_eq!(quiet.asked().len(), QUIET_PAGES);
    let stats = edge.stats();
    // The flood has pushed out its own: it does not fit into the half it has.
    assert!(stats.cache_entries < FLOOD_PAGES as u64 / 2, "{stats:?}");
    assert!(stats.cache_bytes <= CACHE_BYTES_MAX as u64, "{stats:?}");
    assert!(flooded.asked().len() >= FLOOD_PAGES);
}

/// Closed until opened; whoever passes waits.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        let (_open, waited) = self
            .opened
            .wait_timeout_while(open, PATIENCE, |open| !*open)
            .unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

#[test]
fn an_origin_that_is_full_takes_no_place_from_the_neighbours() {
    let gate = Arc::new(Gate::default());
    let (arrived, arrivals) = sync_channel(SLOW_REQUESTS);
    let flooded = Origin::start({
        let gate = Arc::clone(&gate);
        move |_, _| {
            arrived.send(()).unwrap();
            gate.pass();
            page("200 OK", NO_STORE, "slow")
        }
    });
    let quiet = Origin::start(|asked, _| {
        let fields = if asked.line.contains("/stored") {
            PUBLIC
        } else {
            NO_STORE
        };
        page("200 OK", fields, &asked.line)
    });
    let edge = Edge::start(two_newsrooms(&flooded, &quiet)).unwrap();
    let mut reader = Client::connect(&edge);
    get(&mut reader, "b.kz", "/stored");

    let attackers: Vec<_> = (0..SLOW_REQUESTS)
        .map(|number| {
            let mut attacker = Client::connect(&edge);
            attacker.send(format!("GET /?s={number} HTTP/1.1\r\nHost: a.kz\r\n\r\n"));
            attacker
        })
        .collect();
    arrivals.recv_timeout(PATIENCE).unwrap();

    for number in 0..50 {
        let answer = get(&mut reader, "b.kz", &format!("/?s={number}"));
        assert_eq!(answer.status, 200, "{}", answer.head);
        let answer = get(&mut reader, "b.kz", "/stored");
        assert!(answer.cache().starts_with("saqta; hit"), "{}", answer.head);
    }
    let busy = site(&edge, "flooded");
    assert!((1..=SLOW_AT_ONCE).contains(&busy.in_flight), "{busy:?}");
    assert!(flooded.asked().len() <= SLOW_AT_ONCE);
    let calm = site(&edge, "quiet");
    assert_eq!((calm.queued, calm.turned_away), (0, 0), "{calm:?}");
    assert_eq!(quiet.asked().len(), 51);
    gate.open();
    // Each gets the page or is asked to wait for it; nobody is left without an answer.
    for mut attacker in attackers {
        let answer = attacker.answer().expect("an answer");
        assert!(matches!(answer.status, 200 | 503), "{}", answer.head);
    }
}

/// A dead origin opens its own breaker.
#[test]
fn an_origin_that_is_down_leaves_the_neighbours_up() {
    let flooded = Origin::start(|_, _| Vec::new());
    let quiet = Origin::start(|_, _| page("200 OK", NO_STORE, "up"));
    let edge = Edge::start(two_newsrooms(&flooded, &quiet)).unwrap();
    let mut client = Client::connect(&edge);
    for number in 0..40 {
        let answer = get(&mut client, "a.kz", &format!("/{number}"));
        assert!(answer.status >= 500, "{}", answer.head);
        let answer = get(&mut client, "b.kz", &format!("/{number}"));
        assert_eq!(answer.status, 200, "{}", answer.head);
    }
    assert_eq!(site(&edge, "quiet").origin, "up");
    assert_eq!(site(&edge, "quiet").turned_away, 0);
}
