//! Who gets through, over real sockets: nobody is asked for anything in calm; whoever a rule hits waits or works, once, and then reads.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kit::attack::{BROWSER, LIBRARY};
use kit::browser::{Browser, PAGE, PART, READER, URLENCODED, carried};
use kit::http2::{END_HEADERS, END_STREAM, End, HEADERS, Http2, block, frame};
use kit::{Client, Origin, connect_from, page, plan, stand_a_rule, until};
use saqta_edge::Edge;
use saqta_edge::clock::UnixMillis;
use saqta_edge::ladder::{Keys, Reader, SiteMark};
use saqta_edge::plan::Mode;

fn newsroom() -> Origin {
    Origin::start(|asked, _| {
        let kind = if asked.line.contains(".css") {
            "text/css"
        } else {
            "text/html"
        };
        page(
            "200 OK",
            &format!("Content-Type: {kind}\r\nCache-Control: max-age=600\r\n"),
            &asked.line,
        )
    })
}

/// Removed when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("saqta-ladder-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn in_calm_nobody_is_asked_for_anything() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (fields, is_greeted) in [
        (PAGE, true),
        (PART, false),
        ("Accept: */*\r\n", false),
        ("Accept: text/html\r\n", true),
        ("Accept: text/html\r\nDNT: 1\r\n", false),
        ("Accept: text/html\r\nSec-GPC: 1\r\n", false),
        ("Accept: text/html\r\nSec-Fetch-Dest: iframe\r\n", false),
    ] {
        let mut reader = Browser::new(&edge, BROWSER);
        reader.fields = fields;
        // From the origin, and from memory.
        for target in ["/news/story", "/news/story"] {
            let answer = reader.get(target);
            assert_eq!(answer.status, 200, "{fields}");
            assert_eq!(reader.has("saqta-reader"), is_greeted, "{fields}");
            assert!(!reader.has("saqta-ticket") && !reader.has("saqta-pass"));
        }
        // Who has been greeted is not greeted again.
        let again = reader.get("/news/story");
        assert_eq!(again.field("set-cookie"), None, "{fields}");
    }
    let mut plan = plan(origin.address);
    plan.sites[0].known_readers = false;
    let edge = Edge::start(plan).unwrap();
    assert_eq!(
        Browser::new(&edge, BROWSER)
            .get("/news/story")
            .field("set-cookie"),
        None
    );
}

#[test]
fn whoever_a_rule_hits_works_once_and_reads_on() {
    for mode in [Mode::Protect, Mode::Observe] {
        let origin = newsroom();
        let mut plan = plan(origin.address);
        plan.sites[0].mode = mode;
        let edge = Edge::start(plan).unwrap();
        stand_a_rule(&edge, LIBRARY);
        // Whom no rule hits, and who takes no page, is asked for nothing.
        let mut other = Browser::new(&edge, BROWSER);
        assert_eq!(other.get("/news/other").status, 200);
        let mut program = Browser::new(&edge, LIBRARY);
        program.fields = "Accept: */*\r\n";
        assert_eq!(program.get("/news/feed-of-it").status, 200);
        assert!(!program.has("saqta-ticket"));

        let mut reader = Browser::new(&edge, LIBRARY);
        let first = reader.get("/news/new-1");
        if mode == Mode::Observe {
            assert_eq!(first.status, 200);
            let site = edge.stats().sites.swap_remove(0);
            assert!(site.would_wait > 0 && site.would_be_spared == 0);
            continue;
        }
        assert_eq!(
            (first.status, first.field("saqta-answer")),
            (503, Some("waiting"))
        );
        assert_eq!(first.field("cache-control"), Some("no-store"));
        let ticket = reader.cookie("saqta-ticket").unwrap().to_owned();
        // Looking again, or in another tab, changes nothing.
        let second = reader.get("/news/new-2");
        assert_eq!((second.status, second.field("set-cookie")), (503, None));
        assert_eq!(reader.cookie("saqta-ticket"), Some(ticket.as_str()));
        // What is in memory is read meanwhile.
        assert_eq!(reader.get("/news/other").status, 200);

        reader.work();
        let in_at_last = reader.get("/news/new-1");
        assert_eq!(in_at_last.status, 200, "{}", in_at_last.head);
        assert!(in_at_last.text().starts_with("GET /news/new-1 "));
        assert!(reader.has("saqta-pass"));
        reader.cookies.retain(|(name, _)| name == "saqta-pass");
        let next = reader.get("/news/new-2");
        assert_eq!(next.status, 200);
        assert!(!next.head.contains("saqta-pass"));
        for asked in origin.asked() {
            assert_eq!(asked.field("cookie"), None, "{}", asked.head);
        }
    }
}

#[test]
fn passes_that_are_shown_by_a_flood_keep_nobody_from_its_rule() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let granted = |name: &str| {
        let classes = edge.stats().sites.swap_remove(0).classes;
        classes
            .iter()
            .find(|class| class.name == name)
            .unwrap()
            .granted
    };
    let with_pass = |n: u32| {
        let mut solver = Browser::new(&edge, LIBRARY);
        solver.get(&format!("/news/{n}"));
        solver.work();
        solver
    };
    let before = granted("signature");
    for n in 0..7 {
        let mut solver = with_pass(n);
        for page in 0..30 {
            assert_eq!(solver.get(&format!("/news/{n}/{page}")).status, 200);
        }
    }
    // All are answered while there is room, the last ones behind everybody.
    assert_eq!(granted("passed"), 200);
    assert_eq!(granted("signature") - before, 10);
    // Whom no rule hits notices nothing.
    let mut reader = with_pass(8);
    reader.agent = BROWSER;
    assert_eq!(reader.get("/news/8").status, 200);
    assert_eq!(granted("passed"), 201);
}

#[test]
fn over_http2_too() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let mut client = Http2::over(connect_from(READER, edge.addresses()[0]), &[]);
    let mut stream = 1;
    let mut get = |target: &str, accept: &str, cookie: &str| {
        let fields = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.kz"),
            (":path", target),
            ("user-agent", LIBRARY),
            ("accept", accept),
            ("cookie", cookie),
        ]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields));
        let end = client.end_of(stream);
        stream += 2;
        end
    };
    let status = |end: End| match end {
        End::Answer(status, _) => Some(status),
        _ => None,
    };
    assert_eq!(status(get("/news/one", "*/*", "_ga=1")), Some(200));
    assert_eq!(status(get("/news/two", "text/html", "_ga=1")), Some(503));
    assert_eq!(
        status(get("/news/one", "text/html", "a=b")),
        Some(200),
        "a copy"
    );
    // The ticket and the pass are the same over both.
    let mut reader = Browser::new(&edge, LIBRARY);
    reader.get("/news/three");
    reader.work();
    reader.get("/news/three");
    let pass = format!("_ga=1; saqta-pass={}", reader.cookie("saqta-pass").unwrap());
    assert_eq!(status(get("/news/four", "text/html", &pass)), Some(200));
}

#[test]
fn a_form_that_has_to_wait_arrives_once_and_as_it_was() {
    let long = [b"comment=".as_slice(), &[b'x'; 64 * 1024 - 8]].concat();
    let mixed: Vec<u8> = (0..30_000_u32).map(|at| (at * 7 % 256) as u8).collect();
    let same = "Origin: http://a.kz\r\nSec-Fetch-Site: same-origin\r\nReferer: http://a.kz/news/story?p=1\r\n";
    let table: [(&str, &[u8], &str); 4] = [
        (
            "Content-Type: application/x-www-form-urlencoded; charset=windows-1251",
            "author=%C0%E9&comment=\u{49b}\u{430}\u{437}&saqta-form=x".as_bytes(),
            same,
        ),
        (
            "Content-Type: multipart/form-data; boundary=----q",
            &mixed,
            same,
        ),
        ("Content-Type: text/plain", &long, ""),
        (
            "Content-Type: application/x-www-form-urlencoded",
            b"a",
            "Origin: http://a.kz\r\n",
        ),
    ];
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    for (at, (content_type, body, fields)) in table.into_iter().enumerate() {
        let before = origin.asked().len();
        let target = format!("/wp-comments-post.php?n={at}");
        let mut reader = Browser::new(&edge, LIBRARY);
        let first = reader.post(&target, &format!("{content_type}\r\n{fields}"), body);
        assert_eq!(
            (first.status, first.field("saqta-answer")),
            (503, Some("waiting"))
        );
        assert!(first.text().contains("data-wait="));
        let form = carried(&first);
        let ours = format!(
            "{URLENCODED}Origin: http://a.kz\r\nSec-Fetch-Site: same-origin\r\nReferer: http://a.kz/\r\n"
        );
        // Too early: it is carried on, and its ticket is kept.
        let second = reader.post(&target, &ours, form.as_bytes());
        assert_eq!(
            (second.status, second.field("set-cookie")),
            (503, None),
            "{at} {}",
            second.head
        );
        let form = carried(&second);
        assert_eq!(origin.asked().len(), before);
        reader.work();
        let sent = reader.post(&target, &ours, form.as_bytes());
        assert_eq!(sent.status, 200, "{}", sent.head);
        // Whoever sends it once more is asked whether it arrived.
        for _ in 0..2 {
            let again = reader.post(&target, &ours, form.as_bytes());
            assert_eq!(again.status, 503, "{}", again.head);
            assert!(!again.text().contains("data-wait="));
        }
        let asked = origin.asked().split_off(before);
        let [asked] = asked.as_slice() else {
            panic!("{} times", asked.len())
        };
        assert!(asked.body == body, "{at}");
        let kind = content_type.split_once(": ").unwrap().1;
        assert_eq!(asked.field("content-type"), Some(kind));
        for name in ["Origin", "Referer"] {
            let sent = fields
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")));
            assert_eq!(asked.field(name), sent, "{at} {name}");
        }
        assert_eq!(asked.field("cookie"), None);
    }
}

#[test]
fn forms_that_are_not_given_back() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let target = "/wp-comments-post.php";
    let long = [b'x'; 64 * 1024 + 1];
    let table: [(&str, &str, &[u8]); 6] = [
        (PAGE, "Content-Type: application/json\r\n", b"{}"),
        (PAGE, URLENCODED, &long),
        ("Accept: */*\r\n", URLENCODED, b"a=b"),
        // A page of another site sends it.
        (
            PAGE,
            &format!("{URLENCODED}Sec-Fetch-Site: cross-site\r\n"),
            b"a=b",
        ),
        (
            PAGE,
            &format!("{URLENCODED}Origin: http://b.kz\r\n"),
            b"a=b",
        ),
        (PAGE, &format!("{URLENCODED}Origin: null\r\n"), b"a=b"),
    ];
    for (kind, fields, body) in table {
        let mut reader = Browser::new(&edge, LIBRARY);
        reader.fields = kind;
        let answer = reader.post(target, fields, body);
        // The origin has room, behind everybody.
        assert_eq!(answer.status, 200, "{fields}");
    }
    let mut reader = Browser::new(&edge, LIBRARY);
    let form = carried(&reader.post(target, URLENCODED, b"a=b"));
    reader.work();
    let before = origin.asked().len();
    let mut touched = form.clone();
    touched.replace_range(20..21, if &form[20..21] == "A" { "B" } else { "A" });
    let stranger = format!("{URLENCODED}Origin: http://b.kz\r\nSec-Fetch-Site: cross-site\r\n");
    let table = [
        (target, URLENCODED, touched.as_str()),
        (target, URLENCODED, "saqta-form="),
        (target, URLENCODED, "saqta-form=abc&x=y"),
        ("/wp-login.php", URLENCODED, &form),
        (target, &stranger, &form),
    ];
    for (target, fields, body) in table {
        let answer = reader.post(target, fields, body.as_bytes());
        assert_eq!(answer.status, 400, "{target} {fields}");
    }
    assert_eq!(origin.asked().len(), before);
    assert_eq!(reader.post(target, URLENCODED, form.as_bytes()).status, 200);
}

/// Neither is a comment lost where the origin dies over it, nor is it sent again by itself.
#[test]
fn a_form_that_the_origin_dies_over_is_given_back() {
    let origin = Origin::start(|asked, _| {
        let sent = String::from_utf8_lossy(&asked.body);
        match sent.contains("dies") {
            // Hangs up.
            true if asked.line.contains("n=1") => Vec::new(),
            _ => page("200 OK", "Content-Type: text/html\r\n", &asked.line),
        }
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut reader = Browser::new(&edge, BROWSER);
    let target = "/wp-comments-post.php?n=1";
    let answer = reader.post(target, URLENCODED, b"comment=dies");
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("data-wait="));
    let asked = origin.asked().len();
    carried(&answer);
    assert_eq!(origin.asked().len(), asked);
    // What no browser sends by itself gets the page it always got.
    let json = reader.post(
        target,
        "Content-Type: application/json\r\n",
        b"{\"dies\":1}",
    );
    assert_eq!(json.status, 502);
    assert_eq!(edge.stats().totals.origin_failures, 2);
}

/// The page may have been open while this was started anew.
#[test]
fn a_form_from_before_a_restart_is_asked_about() {
    let folder = Folder::new("form");
    let origin = newsroom();
    let begin = || Edge::start_in(plan(origin.address), &folder.0).unwrap();
    let target = "/wp-comments-post.php";
    let edge = begin();
    stand_a_rule(&edge, LIBRARY);
    let mut reader = Browser::new(&edge, LIBRARY);
    let form = carried(&reader.post(target, URLENCODED, b"comment=salem"));
    edge.stop(Duration::ZERO);

    let edge = begin();
    let mut reader = Browser::new(&edge, BROWSER);
    let before = origin.asked().len();
    let asked = reader.post(target, URLENCODED, form.as_bytes());
    assert_eq!(asked.status, 503);
    assert!(!asked.text().contains("data-wait="));
    assert_eq!(origin.asked().len(), before);
    let form = carried(&asked);
    let answer = reader.post(target, URLENCODED, form.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(origin.asked().last().unwrap().body, b"comment=salem");
}

#[test]
fn a_purse_is_empty_when_it_is_empty_and_a_restart_does_not_fill_it() {
    let folder = Folder::new("purse");
    let origin = newsroom();
    let begin = || Edge::start_in(plan(origin.address), &folder.0).unwrap();
    let edge = begin();
    stand_a_rule(&edge, LIBRARY);
    let mut reader = Browser::new(&edge, LIBRARY);
    reader.get("/news/new");
    let before = reader.cookie("saqta-ticket").unwrap().to_owned();
    reader.work();
    let uses = (0..100)
        .take_while(|number| reader.get(&format!("/news/new-{number}")).status == 200)
        .count();
    assert_eq!(uses, 30);
    // And has been given another ticket.
    assert_ne!(reader.cookie("saqta-ticket"), Some(before.as_str()));
    let pass = (
        "saqta-pass".to_owned(),
        reader.cookie("saqta-pass").unwrap().to_owned(),
    );
    edge.stop(Duration::ZERO);

    let edge = begin();
    stand_a_rule(&edge, LIBRARY);
    let mut reader = Browser::new(&edge, LIBRARY);
    reader.cookies.push(pass);
    assert_eq!(reader.get("/news/new-300").status, 503);
}

/// A pass that a whole botnet shows at once.
#[test]
fn a_pass_shown_by_many_at_once_is_used_up_as_soon() {
    // A pass's thirty, one of them used before; what cores look at in the same moment may be one too many for each.
    const USES_MAX: usize = 29 + 2;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |asked, _| {
        if asked.line.contains("/news/held-") {
            let opened = held.0.lock().unwrap();
            drop(held.1.wait_while(opened, |opened| !*opened).unwrap());
        }
        page("200 OK", "Content-Type: text/html\r\n", &asked.line)
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let mut reader = Browser::new(&edge, LIBRARY);
    reader.get("/news/new");
    reader.work();
    assert_eq!(reader.get("/news/new").status, 200);
    let pass = reader.cookie("saqta-pass").unwrap();
    let before = edge.stats().totals.requests;
    let mut bots: Vec<Client> = (0..60)
        .map(|number| {
            let from = Ipv4Addr::new(127, 7, number, 1);
            let mut bot = Client::of(connect_from(from, edge.addresses()[0]));
            bot.send(format!(
                "GET /news/held-{number} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {LIBRARY}\r\n{PAGE}Cookie: saqta-pass={pass}\r\n\r\n"
            ));
            bot
        })
        .collect();
    until("all have been looked at", || {
        edge.stats().totals.requests >= before + bots.len() as u64
    });
    // Nobody has been answered, and no more than the pass allows ask the origin or wait to.
    let site = edge.stats().sites.swap_remove(0);
    assert!(site.in_flight + site.queued <= USES_MAX, "{site:?}");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let answered = bots
        .iter_mut()
        .filter_map(Client::answer)
        .filter(|answer| answer.status == 200)
        .count();
    assert!((1..=USES_MAX).contains(&answered), "{answered}");
}

#[test]
fn who_has_read_here_on_two_days_is_let_in_and_keys_outlive_a_restart() {
    let folder = Folder::new("reader");
    let origin = newsroom();
    let edge = Edge::start_in(plan(origin.address), &folder.0).unwrap();
    edge.stop(Duration::ZERO);
    let file = folder.0.join("passes/keys");
    let keys: Keys = fs::read_to_string(&file).unwrap().parse().unwrap();

    let edge = Edge::start_in(plan(origin.address), &folder.0).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let (site, now) = (SiteMark::of("newsroom"), UnixMillis::now());
    let days_ago = |days: u64| UnixMillis(now.0 - days * 86_400_000);
    let once = Reader::new(1, (site, READER.into()), days_ago(5));
    let once = once.fetches(days_ago(5)).unwrap();
    let twice = once.reads(&keys, site, days_ago(3)).unwrap();
    let twice = twice.fetches(days_ago(3)).unwrap();
    for (reader, status) in [(once, 503), (twice, 200)] {
        let mut browser = Browser::new(&edge, LIBRARY);
        let text = String::from_utf8(reader.seal(&keys, site).to_vec()).unwrap();
        browser.cookies.push(("saqta-reader".to_owned(), text));
        assert_eq!(browser.get(&format!("/news/new-{status}")).status, status);
    }
    edge.stop(Duration::ZERO);

    // What is no file of keys is no reason not to begin.
    fs::write(&file, "nonsense").unwrap();
    let edge = Edge::start_in(plan(origin.address), &folder.0).unwrap();
    edge.stop(Duration::ZERO);
    assert!(fs::read_to_string(&file).unwrap().parse::<Keys>().is_ok());

    // Nor is it that nothing can be written there.
    fs::remove_dir_all(folder.0.join("passes")).unwrap();
    fs::write(folder.0.join("passes"), "").unwrap();
    let edge = Edge::start_in(plan(origin.address), &folder.0).unwrap();
    assert_eq!(Browser::new(&edge, BROWSER).get("/news/new").status, 200);
    edge.stop(Duration::ZERO);
}
