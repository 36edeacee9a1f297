//! What each content system's pages come to behind the edge, and the law that keeps it safe: what is not in the key is not sent to the
//! origin, and what was sent is in the key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use kit::{Answer, Asked, Client, Origin, connect_from, page, plan, until};
use proptest::prelude::*;
use saqta_edge::Edge;
use saqta_edge::plan::ForwardClientAddress;
use saqta_edge::profile::{Profile, System};

const SESSION: &str = "0123456789abcdef0123456789abcdef";

fn edge_with(origin: &Origin, profile: Profile) -> Edge {
    let mut plan = plan(origin.address);
    // What one connection fetched is stored when the next one asks.
    plan.shards = 1;
    // The origin below that repeats all it hears would repeat this too, and nothing of it would ever be kept.
    plan.sites[0].forward_client_address = ForwardClientAddress::None;
    plan.sites[0].profile = profile;
    Edge::start(plan).unwrap()
}

fn edge(origin: &Origin, system: System) -> Edge {
    edge_with(origin, Profile::of(system))
}

/// One request on a connection of its own; `fields` are whole lines.
fn ask(edge: &Edge, target: &str, fields: &str) -> Answer {
    Client::connect(edge)
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
        ))
        .answer()
        .expect("an answer")
}

fn is_hit(answer: &Answer) -> bool {
    answer.cache().starts_with("saqta; hit")
}

/// What a system says on an article's page, out of the box.
fn out_of_the_box(system: System, asked: &Asked) -> String {
    match system {
        System::Generic => "Cache-Control: public, max-age=60\r\n".into(),
        System::WordPress => "Link: <http://a.kz/wp-json/>; rel=\"https://api.w.org/\"\r\n".into(),
        System::Drupal => "Cache-Control: must-revalidate, no-cache, private\r\nExpires: Sun, 19 Nov 1978 05:00:00 GMT\r\nVary: Cookie\r\nX-Drupal-Dynamic-Cache: MISS\r\n".into(),
        System::Joomla => {
            let session = if asked.head.contains(SESSION) {
                String::new()
            } else {
                format!("Set-Cookie: {SESSION}=guest; path=/; HttpOnly\r\n")
            };
            format!("{session}Cache-Control: no-store, no-cache, must-revalidate\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\nPragma: no-cache\r\nLast-Modified: Tue, 25 Nov 2025 00:00:00 GMT\r\n")
        }
    }
}

#[test]
fn readers_with_analytics_share_a_page_and_nobody_else_does() {
    for system in System::ALL {
        let origin = Origin::start(move |asked, _| {
            let cookies = asked.field("cookie").unwrap_or("none");
            page(
                "200 OK",
                &out_of_the_box(system, asked),
                &format!("cookies: {cookies}"),
            )
        });
        let edge = edge(&origin, system);
        let first = ask(
            &edge,
            "/news/1",
            "Cookie: _ga=GA1.1.1; _ym_uid=17; cookie_consent=accepted\r\n",
        );
        assert_eq!(first.text(), "cookies: none", "{system:?}");
        assert_eq!(first.field("set-cookie"), None, "{system:?}");
        let second = ask(
            &edge,
            "/news/1",
            "Cookie: _ga=GA1.1.2; _fbp=fb.1.2; OptanonConsent=x\r\n",
        );
        assert!(is_hit(&second), "{system:?}: {}", second.head);
        assert_eq!(second.text(), "cookies: none");
        assert_eq!(second.field("set-cookie"), None, "{system:?}");

        let language = ask(&edge, "/news/1", "Cookie: _ga=1; pll_language=kk\r\n");
        assert_eq!(language.text(), "cookies: pll_language=kk", "{system:?}");
        assert!(
            is_hit(&ask(
                &edge,
                "/news/1",
                "Cookie: pll_language=kk; _gid=2\r\n"
            )),
            "{system:?}"
        );

        // By a guess of ours nobody is shown a page who may be somebody.
        for own in [
            "wordpress_logged_in_abc=me%7C1".to_owned(),
            "wp-postpass_abc=x".to_owned(),
            "comment_author_abc=me".to_owned(),
            format!("SESS{SESSION}=me"),
            format!("{SESSION}=me"),
            "never_heard_of=1".to_owned(),
            "pll_language=kk; pll_language=ru".to_owned(),
        ] {
            if system == System::Generic {
                continue;
            }
            for _ in 0..2 {
                let answer = ask(&edge, "/news/1", &format!("Cookie: _ga=1; {own}\r\n"));
                assert_eq!(
                    answer.text(),
                    format!("cookies: _ga=1; {own}"),
                    "{system:?}"
                );
                assert!(!is_hit(&answer), "{system:?}");
            }
        }
        for own in [
            "Authorization: Basic x",
            "X-Api-Key: 1",
            "X-My-Token: 1",
            "X-Auth-User: me",
        ] {
            let answer = ask(&edge, "/news/1", &format!("{own}\r\n"));
            assert_eq!(
                is_hit(&answer),
                system == System::Generic,
                "{system:?} {own}"
            );
        }
        assert!(is_hit(&ask(&edge, "/news/1", "")), "{system:?}");
    }
}

#[test]
fn what_is_said_on_purpose_is_obeyed() {
    let table: &[(System, &str, &str, bool)] = &[
        (
            System::Joomla,
            "200 OK",
            "Cache-Control: no-store\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\n",
            false,
        ),
        (
            System::Joomla,
            "200 OK",
            "Cache-Control: private, no-store, no-cache, must-revalidate\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\n",
            false,
        ),
        (
            System::Joomla,
            "200 OK",
            "Cache-Control: no-store, no-cache, must-revalidate\r\n",
            false,
        ),
        (
            System::Joomla,
            "302 Found",
            "Location: /\r\nCache-Control: no-store, no-cache, must-revalidate\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\n",
            false,
        ),
        (
            System::Joomla,
            "200 OK",
            "Set-Cookie: basket=1\r\nCache-Control: no-store, no-cache, must-revalidate\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\n",
            false,
        ),
        (
            System::Drupal,
            "200 OK",
            "Cache-Control: must-revalidate, no-cache, private\r\nExpires: Sun, 19 Nov 1978 05:00:00 GMT\r\nX-Drupal-Dynamic-Cache: UNCACHEABLE (poor cacheability)\r\n",
            false,
        ),
        (
            System::Drupal,
            "200 OK",
            "Cache-Control: must-revalidate, no-cache, private\r\nExpires: Sun, 19 Nov 1978 05:00:00 GMT\r\nCDN-Cache-Control: no-store\r\n",
            false,
        ),
        (
            System::WordPress,
            "200 OK",
            "Cache-Control: no-cache, must-revalidate, max-age=0, no-store, private\r\nExpires: Wed, 11 Jan 1984 05:00:00 GMT\r\n",
            false,
        ),
        (
            System::WordPress,
            "404 Not Found",
            "Cache-Control: no-cache, must-revalidate, max-age=0, no-store, private\r\nExpires: Wed, 11 Jan 1984 05:00:00 GMT\r\n",
            true,
        ),
        (System::WordPress, "200 OK", "Set-Cookie: cart=1\r\n", false),
        (
            System::WordPress,
            "200 OK",
            "Set-Cookie: pll_language=kk\r\n",
            true,
        ),
        (System::WordPress, "200 OK", "Pragma: no-cache\r\n", false),
        (System::WordPress, "500 Internal Server Error", "", false),
        (System::Generic, "200 OK", "", false),
    ];
    for (system, status, fields, kept) in table {
        let origin = Origin::start(|_, _| page(status, fields, "page"));
        let edge = edge(&origin, *system);
        ask(&edge, "/a", "");
        assert_eq!(
            is_hit(&ask(&edge, "/a", "")),
            *kept,
            "{system:?} {status} {fields}"
        );
        let mut obedient = Profile::of(*system);
        obedient.own.obey_no_store = true;
        let edge = edge_with(&origin, obedient);
        ask(&edge, "/a", "");
        let kept = *kept && !fields.contains("no-store");
        assert_eq!(
            is_hit(&ask(&edge, "/a", "")),
            kept,
            "obeying: {system:?} {status} {fields}"
        );
    }
}

#[test]
fn a_form_that_belongs_to_a_session_is_not_kept() {
    let origin = Origin::start(|asked, _| {
        let form = format!("<form><input type=\"hidden\" name=\"{SESSION}\" value=\"1\"></form>");
        page("200 OK", &out_of_the_box(System::Joomla, asked), &form)
    });
    let edge = edge(&origin, System::Joomla);
    ask(&edge, "/contact", "");
    let second = ask(&edge, "/contact", "");
    assert!(!is_hit(&second));
    assert!(
        second.field("set-cookie").is_some(),
        "the form's own session comes with it: {}",
        second.head
    );
}

#[test]
fn paths_and_parameters_that_are_one_persons_are_not_kept_on_a_guess() {
    let origin = Origin::start(|asked, _| page("200 OK", "", &asked.line));
    let mut profile = Profile::of(System::WordPress);
    profile.own.private_paths = vec!["/club/*".into()];
    let edge = edge_with(&origin, profile);
    for target in [
        "/wp-login.php",
        "/wp-admin/",
        "/my-account/",
        "/checkout/",
        "/kk/cart",
        "/oauth/callback",
        "/?preview=true&p=1",
        "/?confirm=TOKEN",
        "/?code=1&state=2",
        "/?_wpnonce=1",
        "/club/news",
    ] {
        for _ in 0..2 {
            assert!(!is_hit(&ask(&edge, target, "")), "{target}");
        }
    }
    for target in [
        "/",
        "/kk/",
        "/?s=1",
        "/kk/news/",
        "/editors-pick",
        "/feed/",
        "/?p=1",
    ] {
        ask(&edge, target, "");
        assert!(is_hit(&ask(&edge, target, "")), "{target}");
    }
}

#[test]
fn no_page_stands_in_for_another() {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "Cache-Control: public, max-age=60\r\n",
            &asked.line,
        )
    });
    for system in System::ALL {
        let edge = edge(&origin, system);
        let targets = [
            "/a",
            "/a?",
            "/a?page=2",
            "/a?page=3",
            "/a?p=123",
            "/a?p=124",
            "/a?lang=kk",
            "/a?lang=ru",
            "/a?confirm=TOKEN",
            "/a?confirm=OTHER",
            "/a?code=1&state=2",
            "/a?code=2&state=2",
            "/a?unheard=1",
            "/A",
            "/a/",
            "/a%2f",
            "//a",
        ];
        for _ in 0..2 {
            for target in targets {
                let answer = ask(&edge, target, "Cookie: _ga=1\r\n");
                assert_eq!(
                    answer.text(),
                    format!("GET {target} HTTP/1.1"),
                    "{system:?}"
                );
            }
        }
    }
}

#[test]
fn where_a_reader_came_from_never_reaches_the_origin_and_comes_back_on_redirects() {
    let origin = Origin::start(|asked, _| {
        if asked.line.contains("/old") {
            return page(
                "301 Moved Permanently",
                "Location: http://a.kz/new#top\r\nCache-Control: public, max-age=60\r\n",
                "",
            );
        }
        page("200 OK", "", &asked.line)
    });
    let edge = edge(&origin, System::WordPress);
    for tail in [
        "",
        "?utm_source=telegram",
        "?fbclid=1&yclid=2",
        "?_openstat=x",
    ] {
        assert_eq!(
            ask(&edge, &format!("/a{tail}"), "").text(),
            "GET /a HTTP/1.1",
            "{tail}"
        );
    }
    assert_eq!(
        ask(&edge, "/a?utm_medium=x&p=1&gclid=2", "").text(),
        "GET /a?p=1 HTTP/1.1"
    );
    for _ in 0..2 {
        let moved = ask(&edge, "/old?utm_source=x", "");
        assert_eq!(
            moved.field("location"),
            Some("http://a.kz/new?utm_source=x#top")
        );
        assert_eq!(
            ask(&edge, "/old", "").field("location"),
            Some("http://a.kz/new#top")
        );
    }
    // The way back from a payment may be signed to the last letter.
    let back = ask(&edge, "/checkout?order=1&utm_source=x&sign=2", "");
    assert_eq!(
        back.text(),
        "GET /checkout?order=1&utm_source=x&sign=2 HTTP/1.1"
    );
    assert_eq!(origin.asked().len(), 4, "one for each page");
}

#[test]
fn languages_and_browsers_are_a_few() {
    let origin = Origin::start(|asked, _| {
        let said = |name| asked.field(name).unwrap_or("nothing").to_owned();
        page(
            "200 OK",
            "Cache-Control: public, max-age=60\r\nVary: Accept-Language, User-Agent\r\n",
            &format!(
                "{} {}",
                said("accept-language"),
                said("user-agent").contains("Mobile")
            ),
        )
    });
    let mut profile = Profile::of(System::Generic);
    profile.own.languages = vec!["kk".into(), "ru".into()];
    let edge = edge_with(&origin, profile);
    let table = [
        ("Accept-Language: kk-KZ,kk;q=0.9,ru;q=0.8\r\n", "kk false"),
        (
            "Accept-Language: en,ru;q=0.7\r\nUser-Agent: Mobile Safari\r\n",
            "ru true",
        ),
        ("Accept-Language: fr\r\n", "kk false"),
        ("", "kk false"),
        ("Accept-Language: ru\r\nUser-Agent: one\r\n", "ru false"),
        ("Accept-Language: ru\r\nUser-Agent: two\r\n", "ru false"),
    ];
    for (fields, expected) in table {
        assert_eq!(ask(&edge, "/a", fields).text(), expected, "{fields}");
    }
    assert_eq!(origin.asked().len(), 3);
}

#[test]
fn what_somebody_says_is_not_repeated_to_others() {
    // It writes a field nobody lists into every page, and varies by nothing.
    let origin = Origin::start(|asked, _| {
        let said = asked.field("x-strange").unwrap_or("nothing");
        let fields = if asked.line.contains("/head") {
            format!("Cache-Control: public, max-age=60\r\nX-Said: {said}\r\n")
        } else {
            "Cache-Control: public, max-age=60\r\n".into()
        };
        page("200 OK", &fields, said)
    });
    let edge = edge(&origin, System::Generic);
    for target in ["/body", "/head"] {
        let own = ask(&edge, target, "X-Strange: marker-1\r\n");
        assert_eq!(own.text(), "marker-1");
        let other = ask(&edge, target, "");
        assert_eq!(other.text(), "nothing");
        // Fetched once more, with nothing that could be repeated.
        assert!(is_hit(&ask(&edge, target, "X-Strange: marker-2\r\n")));
    }
}

/// An origin that obeys fields nobody lists, and says so for one of them.
fn obeys(asked: &Asked, says: &str) -> Vec<u8> {
    let heard = |name: &str| asked.field(name).unwrap_or("nothing").to_owned();
    let body = format!("{} {}", heard("x-debug"), heard("x-app"));
    page(
        "200 OK",
        &format!("Content-Type: text/html\r\n{says}"),
        &body,
    )
}

#[test]
fn a_field_that_no_page_differs_by_makes_none_differ() {
    let origin =
        Origin::start(|asked, _| obeys(asked, "Cache-Control: max-age=60\r\nVary: X-App\r\n"));
    let edge = edge(&origin, System::WordPress);
    let table = [
        ("X-Debug: 1\r\nX-App: 2\r\n", "nothing 2"),
        ("X-Debug: 1\r\n", "nothing nothing"),
        ("", "nothing nothing"),
        ("X-App: 2\r\n", "nothing 2"),
        ("X-App: 3\r\n", "nothing 3"),
    ];
    for target in ["/a", "/b"] {
        for (fields, expected) in table {
            assert_eq!(
                ask(&edge, target, fields).text(),
                expected,
                "{target} {fields}"
            );
        }
    }
    // Each version once: what came without the field was the one for everybody else.
    assert_eq!(origin.asked().len(), 2 * 3);
}

/// Six readers ask at once for a page that says who asks. Whoever reads along with the first must not read his address.
#[test]
fn nobody_reads_the_address_of_who_asked_first() {
    const READERS: u8 = 6;
    for system in System::ALL {
        let waiting = Arc::new(Barrier::new(2));
        let origin = Origin::start({
            let (waiting, first) = (Arc::clone(&waiting), AtomicBool::new(true));
            move |asked, _| {
                if first.swap(false, Ordering::Relaxed) {
                    waiting.wait();
                }
                let address = asked.field("x-forwarded-for").unwrap_or("nobody");
                let fields = "Content-Type: text/html\r\nCache-Control: max-age=60\r\n";
                page("200 OK", fields, &format!("<p>You are {address}.</p>"))
            }
        });
        let mut plan = plan(origin.address);
        plan.shards = 1;
        plan.sites[0].profile = Profile::of(system);
        let edge = Edge::start(plan).unwrap();
        let address = |reader: u8| Ipv4Addr::new(127, 7, reader, 1);
        let mut readers: Vec<Client> = (0..READERS)
            .map(|reader| {
                let mut client = Client::of(connect_from(address(reader), edge.addresses()[0]));
                client.send("GET /who HTTP/1.1\r\nHost: a.kz\r\n\r\n");
                client
            })
            .collect();
        until("all but one read along", || {
            edge.stats().totals.collapsed == u64::from(READERS) - 1
        });
        waiting.wait();
        for (reader, client) in (0..READERS).zip(&mut readers) {
            let text = client.answer().unwrap().text();
            let others = (0..READERS).filter(|other| *other != reader);
            for other in others {
                assert!(
                    !text.contains(&address(other).to_string()),
                    "{system:?} {reader}: {text}"
                );
            }
        }
        // What repeats an address is fetched without one from now on, and kept.
        let later = ask(&edge, "/who", "");
        assert_eq!(later.text(), "<p>You are nobody.</p>");
        assert!(is_hit(&ask(&edge, "/who", "")));
    }
}

/// A marker of six letters and more, nowhere else in a request.
const MARKER: &str = "q7marker";

/// Where a request may carry it: one line, or one part of the target.
const PLACES: &[&str] = &[
    "?utm_source=q7marker",
    "?fbclid=q7marker",
    "?s=q7marker",
    "?page=q7marker",
    "?strange=q7marker",
    "Cookie: _ga=q7marker",
    "Cookie: pll_language=q7marker",
    "Cookie: strange=q7marker",
    "Cookie: wordpress_logged_in_1=q7marker",
    "Cookie: q7marker=1",
    "Cookie: q7marker",
    "Referer: http://a.kz/q7marker",
    "User-Agent: q7marker Mobile",
    "Accept: text/html, q7marker/x",
    "Accept: application/q7marker",
    "Accept-Language: kk, q7marker",
    "Accept-Language: q7marker",
    "Origin: http://q7marker.kz",
    "Sec-Fetch-Mode: q7marker",
    "X-Requested-With: q7marker",
    "X-Strange: q7marker",
    "X-Strange-Token: q7marker",
    "X-Forwarded-Host: q7marker.kz",
    "X-Forwarded-For: q7marker",
    "X-Original-URL: /q7marker",
    "X-HTTP-Method-Override: q7marker",
    "Forwarded: host=q7marker",
    "Authorization: Bearer q7marker",
    "Cache-Control: no-cache, q7marker",
    "Range: bytes=0-1, q7marker",
    "If-None-Match: \"q7marker\"",
    "TE: q7marker",
    "Connection: q7marker",
    "Via: 1.1 q7marker",
    "CDN-Loop: q7marker",
    "Priority: q7marker",
    "DNT: q7marker",
    "Save-Data: q7marker",
    "From: q7marker@a.kz",
];

const SAYS: &[&str] = &[
    "",
    "Cache-Control: public, max-age=60\r\n",
    "Cache-Control: max-age=60\r\n",
    "Cache-Control: s-maxage=60\r\nVary: X-Strange, Accept-Language\r\n",
    "Cache-Control: public, max-age=60\r\nVary: Cookie, User-Agent, Accept, Referer\r\n",
    "Cache-Control: public, max-age=60\r\nSet-Cookie: a=b\r\n",
    "Cache-Control: must-revalidate, no-cache, private\r\nExpires: Sun, 19 Nov 1978 05:00:00 GMT\r\nVary: Cookie\r\n",
    "Cache-Control: no-store, no-cache, must-revalidate\r\nExpires: Wed, 17 Aug 2005 00:00:00 GMT\r\n",
];

fn planted(path: &str, places: &[&str]) -> String {
    let mut target = path.to_owned();
    let mut fields = String::new();
    for place in places {
        match place.strip_prefix('?') {
            Some(pair) => {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(pair);
            }
            None => fields.push_str(&format!("{place}\r\n")),
        }
    }
    format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n")
}

/// The worst origin there is: it repeats all it hears, in head and body.
fn repeats_everything(asked: &Asked) -> Vec<u8> {
    let says: usize = asked
        .line
        .split(['/', ' ', '?'])
        .nth(2)
        .and_then(|says| says.parse().ok())
        .unwrap_or(0);
    let cookie = asked.field("cookie").unwrap_or("none");
    page(
        "200 OK",
        &format!("{}X-Heard: {cookie}\r\n", SAYS[says]),
        &asked.head,
    )
}

#[test]
fn nothing_one_reader_says_reaches_another() {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    static HITS: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|asked, _| repeats_everything(asked));
    let edges = System::ALL.map(|system| edge(&origin, system));
    let config = ProptestConfig {
        cases: 192,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let strategy = (
        0..System::ALL.len(),
        0..SAYS.len(),
        proptest::collection::vec(proptest::collection::vec(0..PLACES.len(), 1..4), 1..4),
    );
    proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |(system, says, strangers)| {
            let path = format!("/{says}/{}", CASES.fetch_add(1, Ordering::Relaxed));
            let edge = &edges[system];
            for places in &strangers {
                let places: Vec<&str> = places.iter().map(|place| PLACES[*place]).collect();
                // Some of it is refused, which is as good.
                let _answer = Client::connect(edge).send(planted(&path, &places)).answer();
            }
            for reader in [
                "",
                "Cookie: _ga=1\r\n",
                "Cookie: pll_language=kk\r\n",
                "User-Agent: Mobile\r\n",
            ] {
                let answer = ask(edge, &path, reader);
                prop_assert_eq!(answer.status, 200);
                HITS.fetch_add(usize::from(is_hit(&answer)), Ordering::Relaxed);
                let seen = answer.head.clone() + &answer.text();
                prop_assert!(
                    !seen.contains(MARKER),
                    "{:?} {} {:?}: {}",
                    System::ALL[system],
                    says,
                    strangers,
                    seen
                );
            }
            Ok(())
        })
        .unwrap();
    let hits = HITS.load(Ordering::Relaxed);
    assert!(hits > 100, "copies were hardly asked for: {hits}");
}
