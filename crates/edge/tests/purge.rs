//! What an editor, a plugin or the operator purges is fetched anew, and nobody else can have it purged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say so when they fail"
)]

mod kit;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use kit::{Asked, Client, Origin, page, plan};
use saqta_edge::Edge;
use saqta_edge::cache::fetch::{Fetch, Reception};
use saqta_edge::cache::freshness::{self, Times};
use saqta_edge::cache::key::{KeyRef, Scheme};
use saqta_edge::cache::purge::{TARGETS_MAX, What};
use saqta_edge::cache::{Cache, Join, Lookup, RequestDirectives};
use saqta_edge::clock::UnixMillis;
use saqta_edge::plan::{Networks, Plan};
use saqta_edge::profile::{Profile, System};

const TOKEN: &str = "a word of sixteen";
const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

/// Every page may be kept for a minute; an article says its number and its tag.
fn newsroom() -> Origin {
    Origin::start(|asked, _| match asked.line.as_str() {
        line if line.starts_with("POST /wp-admin/post.php") => page(
            "302 Found",
            "Location: http://a.kz/wp-admin/post.php?post=12&action=edit&message=1\r\n",
            "",
        ),
        line if line.starts_with("POST /wp-admin/admin-ajax.php") => {
            page("200 OK", "", "<tr id='post-12'></tr>")
        }
        line if line.starts_with("GET /wp-admin/post.php") => page(
            "302 Found",
            "Location: http://a.kz/wp-admin/edit.php?trashed=1&ids=12\r\n",
            "",
        ),
        line if line.contains("/2026/05/title/") => page(
            "200 OK",
            "Cache-Control: max-age=60\r\nLink: <http://a.kz/?p=12>; rel=shortlink\r\nCache-Tags: node:1 node_list\r\n",
            "article",
        ),
        _ => page("200 OK", "Cache-Control: max-age=60\r\n", "page"),
    })
}

fn lines(asked: &[Asked], target: &str) -> usize {
    asked
        .iter()
        .filter(|asked| asked.line.starts_with(&format!("GET {target} ")))
        .count()
}

/// Staff wait for the origin however long it takes, so that nothing here depends on the machine's speed.
fn of_staff(mut plan: Plan) -> Plan {
    plan.sites[0].staff = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    plan
}

fn with_token(origin: &Origin) -> Plan {
    let mut plan = plan(origin.address);
    plan.sites[0].purge.token = Some(TOKEN.into());
    plan
}

#[test]
fn orders_of_plugins_are_obeyed() {
    // What is asked for, the order and its fields, and whether it is asked for again.
    let table = [
        ("/2026/05/title/", "PURGE /2026/05/title/", "", true),
        ("/2026/05/title/", "PURGE /2026/05/other/", "", false),
        ("/2026/05/title/?page=2", "PURGE /2026/05/title/", "", true),
        (
            "/2026/05/title/?page=2",
            "PURGE /2026/05/title/",
            "X-Purge-Method: exact\r\n",
            false,
        ),
        (
            "/2026/05/title/",
            "PURGE /2026/.*",
            "X-Purge-Method: regex\r\n",
            true,
        ),
        (
            "/2026/05/title/",
            "BAN /",
            "Cache-Tags: node:1|node:2\r\n",
            true,
        ),
        ("/2026/05/title/", "BAN /", "Cache-Tags: node:10\r\n", false),
        ("/section/", "BAN /", "Cache-Tags: node:1\r\n", false),
    ];
    for (target, order, fields, again) in table {
        let origin = newsroom();
        let edge = Edge::start(of_staff(with_token(&origin))).unwrap();
        let mut client = Client::connect(&edge);
        client.get(target);
        let said = client
            .send(format!(
                "{order} HTTP/1.1\r\nHost: a.kz\r\nX-VC-Purge-Key: {TOKEN}\r\n{fields}\r\n"
            ))
            .answer()
            .unwrap();
        assert_eq!(
            (said.status, said.text().as_str()),
            (200, "Purged.\n"),
            "{order}"
        );
        client.get(target);
        assert_eq!(
            lines(&origin.asked(), target) == 2,
            again,
            "{target} {order} {fields}"
        );
        assert!(
            origin
                .asked()
                .iter()
                .all(|asked| asked.line.starts_with("GET"))
        );
    }
}

#[test]
fn strangers_give_no_orders() {
    let origin = newsroom();
    let edge = Edge::start(with_token(&origin)).unwrap();
    let mut client = Client::connect(&edge);
    client.get("/section/");
    for fields in [
        "",
        "X-VC-Purge-Key: another\r\n",
        "Authorization: Basic eA==\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
    ] {
        for method in ["PURGE", "BAN"] {
            let said = client
                .send(format!(
                    "{method} /section/ HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
                ))
                .answer()
                .unwrap();
            assert_eq!(said.status, 403, "{method} {fields}");
        }
    }
    assert!(client.get("/section/").cache().starts_with("saqta; hit"));
    assert_eq!(origin.asked().len(), 1, "the origin hears of none of it");
}

#[test]
fn networks_named_for_it_give_orders_unless_somebody_else_speaks_through_them() {
    let origin = newsroom();
    let mut plan = plan(origin.address);
    plan.sites[0].purge.from = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let edge = Edge::start(plan).unwrap();
    for (fields, status) in [
        ("", 200),
        ("X-Forwarded-For: 203.0.113.9\r\n", 403),
        ("Via: 1.1 x\r\n", 403),
    ] {
        let said = Client::connect(&edge)
            .send(format!("PURGE / HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"))
            .answer()
            .unwrap();
        assert_eq!(said.status, status, "{fields}");
    }
}

#[test]
fn what_staff_save_shows_at_once() {
    const FORM: &str =
        "POST /wp-admin/post.php HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 3\r\n\r\na=b";
    const LIST: &str = "POST /wp-admin/admin-ajax.php HTTP/1.1\r\nHost: a.kz\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: 30\r\n\r\naction=inline-save&post_ID=12&";
    const BEAT: &str = "POST /wp-admin/admin-ajax.php HTTP/1.1\r\nHost: a.kz\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16\r\n\r\naction=heartbeat";
    const BIN: &str = "GET /wp-admin/post.php?post=12&action=trash HTTP/1.1\r\nHost: a.kz\r\n\r\n";
    // Where it is known how WordPress turns strangers away, its answer shows that none wrote.
    let table = [
        (FORM, true, System::Generic, 2),
        (FORM, false, System::Generic, 1),
        (FORM, false, System::WordPress, 2),
        (LIST, true, System::WordPress, 2),
        (LIST, false, System::WordPress, 1),
        (BEAT, true, System::WordPress, 1),
        (BIN, true, System::WordPress, 2),
        (BIN, false, System::WordPress, 2),
        (BIN, false, System::Generic, 1),
    ];
    for (request, staff, system, again) in table {
        let origin = newsroom();
        let mut plan = plan(origin.address);
        plan.sites[0].profile = Profile::of(system);
        let edge = Edge::start(if staff { of_staff(plan) } else { plan }).unwrap();
        let mut client = Client::connect(&edge);
        let targets = [
            "/",
            "/kk/sport/",
            "/feed/",
            "/sitemap.xml",
            "/2026/05/title/",
        ];
        for target in targets.iter().chain(&["/2026/05/other/"]) {
            client.get(target);
        }
        assert!(client.send(request).answer().unwrap().status < 400);
        for target in targets.iter().chain(&["/2026/05/other/"]) {
            client.get(target);
        }
        for target in targets {
            assert_eq!(lines(&origin.asked(), target), again, "{target} {request}");
        }
        assert_eq!(lines(&origin.asked(), "/2026/05/other/"), 1);
    }
}

/// The origin's word that nothing changed is as fine as its clock: WordPress's feed is tagged with a second.
#[test]
fn what_is_purged_is_asked_for_in_full() {
    let origin = Origin::start(|_, _| {
        let fields = "Cache-Control: max-age=60\r\nETag: \"this second\"\r\n";
        page("200 OK", fields, "feed")
    });
    let edge = Edge::start(of_staff(plan(origin.address))).unwrap();
    let mut client = Client::connect(&edge);
    client.get("/feed/");
    edge.purge(None, &What::target(b"/feed/"));
    client.get("/feed/");
    let asked = origin.asked();
    assert_eq!(lines(&asked, "/feed/"), 2);
    assert_eq!(asked[1].field("if-none-match"), None);
}

#[test]
fn the_operator_purges_and_forgets() {
    let origin = newsroom();
    let edge = Edge::start(of_staff(plan(origin.address))).unwrap();
    let mut client = Client::connect(&edge);
    let path = What::path(b"/section/");
    client.get("/section/");
    assert_eq!(edge.purge(Some("other.kz"), &path), 0);
    assert_eq!(edge.purge(Some("A.kz"), &path), 1);
    client.get("/section/");
    assert_eq!(lines(&origin.asked(), "/section/"), 2);
    assert_eq!(edge.forget(Some("other.kz"), &path), None);
    assert_eq!(edge.forget(None, &path).map(|gone| gone.in_memory), Some(1));
    assert_eq!(edge.forget(None, &path).map(|gone| gone.in_memory), Some(0));
    client.get("/section/");
    assert_eq!(lines(&origin.asked(), "/section/"), 3);
}

/// The copy lies under the spelling that its reader sent; whoever has it purged pastes another.
#[test]
fn an_address_is_one_however_it_is_spelled() {
    let there = "/%d0%b6%d0%b0/~a/";
    let tracked = format!("{there}?utm_source=x");
    for spelling in [
        there,
        "/\u{436}\u{430}/%7Ea/",
        "/%D0%B6%D0%B0/%7ea/",
        tracked.as_str(),
    ] {
        let origin = newsroom();
        let edge = Edge::start(of_staff(with_token(&origin))).unwrap();
        let mut client = Client::connect(&edge);
        let asked = || lines(&origin.asked(), there);
        client.get(there);
        assert_eq!(edge.purge(None, &What::address(spelling.as_bytes())), 1);
        client.get(there);
        assert_eq!(asked(), 2, "{spelling}");
        edge.purge(None, &What::prefix(spelling.as_bytes()));
        client.get(there);
        assert_eq!(asked(), 3, "{spelling}");
        if spelling.is_ascii() {
            let said = client
                .send(format!(
                    "PURGE {spelling} HTTP/1.1\r\nHost: a.kz\r\nX-VC-Purge-Key: {TOKEN}\r\n\r\n"
                ))
                .answer()
                .unwrap();
            assert_eq!(said.status, 200);
            client.get(there);
            assert_eq!(asked(), 4, "{spelling}");
        }
        let gone = edge.forget(None, &What::address(spelling.as_bytes()));
        assert_eq!(gone.map(|gone| gone.in_memory), Some(1), "{spelling}");
    }
}

fn key<'a>(cache: &Cache, target: &'a str) -> KeyRef<'a> {
    cache.key(0, Scheme::Http, b"a.kz", target.as_bytes())
}

fn begin(cache: &Arc<Cache>, target: &str) -> Fetch {
    match cache.join(&key(cache, target), 0, None, &HeaderMap::new(), NOW) {
        Join::Lead(fetch, _) => fetch,
        Join::Follow(_) | Join::Stored(_) => panic!("nobody else asks"),
    }
}

fn end(fetch: Fetch, tag: &str) {
    let headers = HeaderMap::new();
    let asked = freshness::Asked {
        method: &Method::GET,
        headers: &headers,
        no_store: false,
    };
    let mut response = HeaderMap::new();
    for (name, value) in [("cache-control", "max-age=600"), ("surrogate-key", tag)] {
        response.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let times = Times {
        request: NOW,
        response: NOW,
    };
    let Reception::Body(mut receiving) = fetch.head(&asked, StatusCode::OK, response, None, times)
    else {
        panic!("not a 304")
    };
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let chunk = Bytes::from_static(b"page");
    let written = std::pin::pin!(receiving.chunk(chunk)).poll(&mut cx);
    assert!(written.is_ready(), "kept, so nobody is waited for");
    receiving.done();
}

fn state(cache: &Cache, target: &str) -> &'static str {
    match cache.lookup(
        &key(cache, target),
        &HeaderMap::new(),
        RequestDirectives::Ignore,
        NOW,
    ) {
        Lookup::Fresh(_) => "fresh",
        Lookup::Stale(stale) if stale.on_error && !stale.while_revalidating => "stale",
        _ => "gone",
    }
}

#[test]
fn orders_hold_before_and_after_the_sweep() {
    for sweep in [false, true] {
        let cache = Cache::new(1, 32 << 20).unwrap();
        for (target, tag) in [("/a/b/c", "x"), ("/a/b/d?e=1", "y"), ("/f/g/h", "z")] {
            end(begin(&cache, target), tag);
        }
        for what in [What::tag(b"x"), What::path(b"/a/b/d")] {
            cache.purge(0, what);
        }
        if sweep {
            cache.sweep_purges();
        }
        assert_eq!(state(&cache, "/a/b/c"), "stale");
        assert_eq!(state(&cache, "/a/b/d?e=1"), "stale");
        assert_eq!(state(&cache, "/f/g/h"), "fresh");
        end(begin(&cache, "/a/b/c"), "x");
        assert_eq!(state(&cache, "/a/b/c"), "fresh", "fetched since");
        assert_eq!(cache.stats().purges, 2);
    }
}

#[test]
fn a_fetch_under_way_brings_nothing_older_than_the_order() {
    for sweep in [false, true] {
        let cache = Cache::new(1, 32 << 20).unwrap();
        let (purged, other) = (begin(&cache, "/a/b/c"), begin(&cache, "/d/e/f"));
        cache.purge(0, What::tag(b"x"));
        if sweep {
            cache.sweep_purges();
        }
        end(purged, "x");
        end(other, "y");
        assert_eq!(state(&cache, "/a/b/c"), "stale");
        // Cleared from the list, the order can no longer say what it meant.
        assert_eq!(
            state(&cache, "/d/e/f"),
            if sweep { "stale" } else { "fresh" }
        );

        let on_its_way = begin(&cache, "/g/h/i");
        assert_eq!(cache.forget(0, &What::path(b"/g/h/i")), 0);
        end(on_its_way, "z");
        assert_eq!(state(&cache, "/g/h/i"), "gone");
    }
}

#[test]
fn a_flood_of_orders_makes_all_stale_and_ends() {
    let cache = Cache::new(2, 32 << 20).unwrap();
    end(begin(&cache, "/a/b/c"), "x");
    let neighbour = cache.key(1, Scheme::Http, b"b.kz", b"/a/b/c");
    let Join::Lead(fetch, _) = cache.join(&neighbour, 0, None, &HeaderMap::new(), NOW) else {
        panic!("nobody else asks")
    };
    end(fetch, "x");
    for number in 0..=TARGETS_MAX {
        cache.purge(0, What::target(format!("/other/one/{number}").as_bytes()));
    }
    assert_eq!(state(&cache, "/a/b/c"), "stale");
    let found = cache.lookup(
        &neighbour,
        &HeaderMap::new(),
        RequestDirectives::Ignore,
        NOW,
    );
    assert!(
        matches!(found, Lookup::Fresh(_)),
        "a neighbour has a list of its own"
    );
    cache.sweep_purges();
    end(begin(&cache, "/a/b/c"), "x");
    assert_eq!(state(&cache, "/a/b/c"), "fresh");
}
