//! Programs of the newsroom's own, over real sockets: its application, which shows a key, and its server, which asks itself for work.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::net::Ipv4Addr;

use kit::attack::LIBRARY;
use kit::http2::{END_HEADERS, END_STREAM, End, HEADERS, Http2, block, frame};
use kit::{Answer, Client, Origin, connect_from, page, plan, stand_a_rule, until};
use saqta_edge::Edge;
use saqta_edge::lanes::AppKeys;
use saqta_edge::plan::{Networks, Plan};
use saqta_edge::profile::{Profile, System};

const KEY: &str = "q8Xn2vB7kR4sT1mZ";
const PHONE: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const OTHER_PHONE: Ipv4Addr = Ipv4Addr::new(127, 7, 8, 7);
/// Whose word about its clients is taken: who comes this way may be from anywhere.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 1, 1, 1);
/// An address of this machine, where these origins are.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 2, 2, 2);
const STRANGER: &str = "X-Forwarded-For: 203.0.113.9\r\n";

/// In ten minutes.
const APP_USES_MAX: u64 = 240;
const SERVER_USES_MAX: u64 = 60;

fn newsroom() -> Origin {
    Origin::start(|asked, _| {
        page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: max-age=600\r\nVary: Saqta-App\r\n",
            &asked.line,
        )
    })
}

fn with_app(origin: &Origin) -> Plan {
    let mut plan = plan(origin.address);
    plan.sites[0].app_keys = AppKeys::of(["an older key of it", KEY]);
    plan
}

fn wordpress(origin: &Origin) -> Plan {
    let mut plan = plan(origin.address);
    plan.sites[0].profile = Profile::of(System::WordPress);
    plan.trust_forwarded = Networks(vec!["127.1.1.1/32".parse().unwrap()]);
    plan
}

/// `fields`: beside those that all have.
fn ask(edge: &Edge, from: Ipv4Addr, request: &str, fields: &str) -> Answer {
    let head = format!(
        "{request} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {LIBRARY}\r\nAccept: text/html,*/*;q=0.8\r\n{fields}Content-Length: 0\r\n\r\n"
    );
    Client::of(connect_from(from, edge.addresses()[0]))
        .send(head)
        .answer()
        .unwrap()
}

fn read(edge: &Edge, from: Ipv4Addr, target: &str, key: &str) -> Answer {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {LIBRARY}\r\nAccept: text/html,*/*;q=0.8\r\nSaqta-App: {key}\r\n\r\n"
    );
    Client::of(connect_from(from, edge.addresses()[0]))
        .send(head)
        .answer()
        .unwrap()
}

fn granted(edge: &Edge, class: &str) -> u64 {
    let site = edge.stats().sites.swap_remove(0);
    let found = site.classes.iter().find(|one| one.name == class);
    found.unwrap().granted
}

#[test]
fn the_application_is_let_in_by_its_key_for_as_much_as_its_network_may_use() {
    let origin = newsroom();
    let edge = Edge::start(with_app(&origin)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    for wrong in ["", "q8Xn2vB7kR4sT1mz", "q8Xn2vB7kR4sT1mZ0"] {
        let turned_away = read(&edge, PHONE, "/news/wrong", wrong);
        assert_eq!(turned_away.status, 503, "{wrong}");
        assert!(turned_away.field("set-cookie").is_some());
    }
    let mut uses = 0;
    loop {
        let answer = read(&edge, PHONE, &format!("/news/new-{uses}"), KEY);
        if granted(&edge, "lane") == uses {
            // Told so by no page: it could not show one.
            let kind = answer.field("content-type");
            assert!(answer.status == 200 || kind == Some("application/problem+json"));
            assert_eq!(answer.field("set-cookie"), None);
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert_eq!(answer.field("set-cookie"), None);
        uses += 1;
    }
    assert_eq!(uses, APP_USES_MAX);
    // Of another network the meter is another.
    let elsewhere = read(&edge, OTHER_PHONE, "/news/elsewhere", KEY);
    assert_eq!(
        (elsewhere.status, granted(&edge, "lane")),
        (200, APP_USES_MAX + 1)
    );
    // A stored page is the same for whoever shows the key and whoever does not, and the origin hears of none.
    until("it is stored", || {
        let hit = read(&edge, OTHER_PHONE, "/news/new-0", KEY);
        hit.cache().contains("hit")
    });
    let hit = ask(&edge, SERVER, "GET /news/new-0", "");
    assert!(hit.cache().contains("hit"), "{}", hit.head);
    for asked in origin.asked() {
        assert_eq!(asked.field("saqta-app"), None, "{}", asked.head);
        assert!(!asked.head.contains(KEY));
    }
}

#[test]
fn over_http2_too() {
    let origin = newsroom();
    let edge = Edge::start(with_app(&origin)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    for (key, expected) in [(KEY, 200), ("another key of 16", 503)] {
        let mut client = Http2::over(connect_from(PHONE, edge.addresses()[0]), &[]);
        let fields = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.kz"),
            (":path", &format!("/news/{expected}")),
            ("user-agent", LIBRARY),
            ("accept", "text/html"),
            ("saqta-app", key),
        ]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields));
        let End::Answer(status, _) = client.end_of(1) else {
            panic!("no answer");
        };
        assert_eq!(status, expected);
    }
    assert_eq!(granted(&edge, "lane"), 1);
}

#[test]
fn the_server_asks_itself_for_work_as_staff_and_all_others_come_last() {
    const WORK: &str = "POST /wp-cron.php?doing_wp_cron=1795000200.1234567890123456789012";
    let origin = newsroom();
    let edge = Edge::start(wordpress(&origin)).unwrap();
    assert_eq!(ask(&edge, SERVER, WORK, "").status, 200);
    assert_eq!(
        (granted(&edge, "staff"), granted(&edge, "signature")),
        (1, 0)
    );
    // From elsewhere, by whatever spelling; and who is sent on by somebody whose word is not taken.
    let others = [
        (PROXY, WORK, STRANGER),
        (PROXY, "GET /wp-cron.php", STRANGER),
        (PROXY, "POST /WP-cron%2Ephp/x", STRANGER),
        (SERVER, WORK, STRANGER),
    ];
    for (number, (from, request, fields)) in (1..).zip(others) {
        assert_eq!(ask(&edge, from, request, fields).status, 200);
        assert_eq!(granted(&edge, "signature"), number, "{request}");
    }
    assert_eq!(granted(&edge, "staff"), 1);
    // By way of a proxy that says so, and no oftener than it does it.
    for used in 1..SERVER_USES_MAX {
        assert_eq!(granted(&edge, "staff"), used);
        let own = format!("X-Forwarded-For: {SERVER}\r\n");
        assert_eq!(ask(&edge, PROXY, WORK, &own).status, 200);
    }
    ask(&edge, SERVER, WORK, "");
    assert_eq!(
        (granted(&edge, "staff"), granted(&edge, "signature")),
        (SERVER_USES_MAX, 5)
    );
    // What else it asks for it asks as anybody.
    ask(&edge, SERVER, "GET /news/story", "");
    assert_eq!(granted(&edge, "staff"), SERVER_USES_MAX);
}

#[test]
fn publishing_goes_on_while_a_rule_hits_all_that_looks_like_the_server() {
    let origin = newsroom();
    let edge = Edge::start(wordpress(&origin)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    assert_eq!(ask(&edge, SERVER, "GET /wp-cron.php", "").status, 200);
    assert_eq!(ask(&edge, PROXY, "GET /wp-cron.php", STRANGER).status, 503);
}
