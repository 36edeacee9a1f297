//! Searches the origin has no room for are answered from the pages that readers have read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};

use kit::attack::BROWSER;
use kit::browser::Browser;
use kit::{Answer, Asked, Client, Origin, PATIENCE, connect_from, page, plan};
use saqta_edge::Edge;
use saqta_edge::cache::purge::What;
use saqta_edge::plan::Plan;
use saqta_edge::stats::Stats;
use tokio::time::Instant;

const PUBLIC: &str =
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: public, max-age=600\r\n";
const HTML: &str = "Accept: text/html\r\n";
/// A member of staff, by the operator's word.
const EDITOR: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// Where the flood comes from.
const CROWDED: Ipv4Addr = Ipv4Addr::new(127, 66, 6, 6);

const ARTICLES: [(&str, &str, &str); 3] = [
    ("/kk/1", "kk", "Қалада жаңа мектептер ашылды"),
    ("/ru/1", "ru", "В городе открыли новые школы"),
    ("/en/1", "en", "New schools opened in the city"),
];

/// Searches wait here until it is opened, but for staff's.
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
            .wait_timeout_while(open, 3 * PATIENCE, |open| !*open)
            .unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn article(language: &str, title: &str) -> String {
    format!(
        "<html lang=\"{language}\"><title>{title}</title><article><h1>{title}</h1><p>{}</p></article>",
        format!("{title}. ").repeat(10)
    )
}

fn answer(asked: &Asked, gate: &Gate) -> Vec<u8> {
    let target = asked.line.split(' ').nth(1).unwrap();
    if target.contains("s=") || target.contains("q=") {
        if !target.contains("staff") {
            gate.pass();
        }
        return page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: no-store\r\n",
            "live results",
        );
    }
    let said = |fields: &str, title: &str| page("200 OK", fields, &article("ru", title));
    match ARTICLES.iter().find(|(path, ..)| *path == target) {
        Some((_, language, title)) => page("200 OK", PUBLIC, &article(language, title)),
        None => match target.split(['?', '/']).nth(1).unwrap() {
            "no-store" => said(
                "Content-Type: text/html\r\nCache-Control: no-store\r\n",
                "Тайна первая",
            ),
            "private" => said(
                "Content-Type: text/html\r\nCache-Control: private, max-age=60\r\n",
                "Тайна вторая",
            ),
            "mine" => said(
                &format!("{PUBLIC}Vary: Cookie\r\n"),
                &format!("Тайна третья {}", asked.field("cookie").unwrap_or("ничья")),
            ),
            "plain" => said(
                "Content-Type: text/plain\r\nCache-Control: max-age=60\r\n",
                "Тайна пятая",
            ),
            "withdrawn" => said(PUBLIC, "Новость, которую отозвали"),
            other => said(PUBLIC, &format!("Страница {other}")),
        },
    }
}

fn newsroom(gate: &Arc<Gate>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::start(move |asked, _| answer(asked, &gate))
}

fn plan_of(origin: SocketAddr) -> Plan {
    let mut plan = plan(origin);
    plan.shards = 1;
    plan.sites[0].origin.concurrency_max = 2;
    // Nobody gives up at the gate before it is opened.
    plan.sites[0].origin.response_timeout = 3 * PATIENCE;
    plan.sites[0].staff.0.push("127.9.9.9/32".parse().unwrap());
    plan
}

fn ask(edge: &Edge, target: &str, fields: &str) -> Answer {
    get(&mut Client::connect(edge), "a.kz", target, fields)
}

fn get(client: &mut Client, host: &str, target: &str, fields: &str) -> Answer {
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
        ))
        .answer()
        .expect("an answer")
}

/// Percent-encoded, as browsers do.
fn search(words: &str) -> String {
    let words: String = words.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/?s={words}")
}

fn is_from_copy(answer: &Answer) -> bool {
    answer.status == 200
        && answer.cache() == "saqta; detail=search-copy"
        && answer.field("cache-control") == Some("no-store")
        && answer.field("saqta-answer") == Some("search")
}

fn wait_until(edge: &Edge, is_so: impl Fn(&Stats) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so(&edge.stats()) {
        assert!(Instant::now() < end, "{:?}", edge.stats());
        std::thread::yield_now();
    }
}

fn read_all(edge: &Edge) {
    for (target, ..) in ARTICLES {
        assert_eq!(ask(edge, target, HTML).status, 200);
    }
    wait_until(edge, |stats| {
        stats.sites[0].pages_to_search == ARTICLES.len()
    });
}

/// A crowd at the gate, of which nobody leaves: more than have a chance to be served.
fn starve(edge: &Edge) -> Vec<Client> {
    const CROWD: usize = 250;
    let crowd = (0..CROWD)
        .map(|number| {
            let mut one = Client::of(connect_from(CROWDED, edge.addresses()[0]));
            one.send(format!(
                "GET /?s=crowd{number} HTTP/1.1\r\nHost: a.kz\r\n\r\n"
            ));
            one
        })
        .collect();
    wait_until(edge, |stats| stats.sites[0].turned_away > 0);
    crowd
}

#[test]
fn what_readers_have_read_is_found_in_each_language() {
    let gate = Arc::default();
    let origin = newsroom(&gate);
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    read_all(&edge);
    let _crowd = starve(&edge);
    for (words, language, found, not) in [
        ("мектебі", "kk", "/kk/1", "/en/1"),
        ("школа", "ru", "/ru/1", "/kk/1"),
        ("school city", "en", "/en/1", "/ru/1"),
    ] {
        let fields = format!("{HTML}Accept-Language: {language}\r\n");
        let answer = ask(&edge, &search(words), &fields);
        assert!(is_from_copy(&answer), "{words}: {}", answer.head);
        assert_eq!(answer.field("content-language"), Some(language));
        let text = answer.text();
        assert!(
            text.contains(&format!("href=\"{found}\"")),
            "{words}: {text}"
        );
        assert!(
            !text.contains(&format!("href=\"{not}\"")),
            "{words}: {text}"
        );
        assert!(text.contains("saqta-live=1"), "{text}");
    }
    assert!(edge.stats().totals.searched >= 3);
    // Whoever would rather have the site's own search is told to wait for a pass; one with a pass is queued before strangers, and given
    // results when there is no time.
    let mut reader = Browser::new(&edge, BROWSER);
    let waits = reader.get("/?s=school&saqta-live=1");
    assert_eq!(waits.field("saqta-answer"), Some("waiting"));
    reader.work();
    let answer = reader.get("/?s=school&saqta-live=1");
    assert!(is_from_copy(&answer), "{}", answer.head);
    assert!(reader.has("saqta-pass"));
    // Nothing of ours is in what the origin was asked.
    gate.open();
    assert_eq!(
        ask(&edge, "/?s=staff&saqta-live=1&saqta-page=2", HTML).text(),
        "live results"
    );
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| !asked.line.contains("saqta-"))
    );
}

#[test]
fn programs_and_whoever_is_somebody_wait_for_the_sites_own_search() {
    let gate = Arc::default();
    let origin = newsroom(&gate);
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    read_all(&edge);
    let _crowd = starve(&edge);
    for fields in [
        "Accept: application/json\r\n".to_owned(),
        format!("{HTML}Authorization: Basic x\r\n"),
        format!("{HTML}Cookie: wordpress_logged_in_abc=me\r\n"),
        format!("{HTML}X-Requested-With: XMLHttpRequest\r\n"),
    ] {
        let answer = ask(&edge, "/?s=school", &fields);
        assert_eq!(answer.status, 503, "{fields}: {}", answer.head);
    }
    let unsure = format!("{HTML}Cookie: never_heard_of=1\r\n");
    assert!(is_from_copy(&ask(&edge, "/?s=school", &unsure)));
    let head = Client::connect(&edge)
        .send(format!(
            "HEAD /?s=school HTTP/1.1\r\nHost: a.kz\r\n{HTML}\r\n"
        ))
        .answer_to("HEAD")
        .unwrap();
    assert!(is_from_copy(&head), "{}", head.head);
    // Out of the way: neither results nor a waiting page.
    edge.bypass(true);
    gate.open();
    assert_eq!(ask(&edge, "/?s=school", HTML).text(), "live results");
}

#[test]
fn what_is_not_everybodys_is_never_found() {
    let gate = Arc::default();
    let origin = newsroom(&gate);
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    let session = format!("{HTML}Cookie: wordpress_logged_in_abc=serik\r\n");
    for (target, fields) in [
        ("/no-store", HTML),
        ("/private", HTML),
        ("/mine", session.as_str()),
        ("/plain", HTML),
        ("/page?preview=true", HTML),
        ("/page?from=serik@poshta.example", HTML),
        ("/page?id=serik-okyrman", HTML),
        ("/my-account/1", HTML),
    ] {
        assert_eq!(ask(&edge, target, fields).status, 200, "{target}");
    }
    // They went the same way, before this one.
    assert_eq!(ask(&edge, "/page?p=12", HTML).status, 200);
    wait_until(&edge, |stats| stats.sites[0].pages_to_search == 1);
    let _crowd = starve(&edge);
    for words in ["тайна", "serik", "страница"] {
        let answer = ask(&edge, &search(words), HTML);
        assert!(is_from_copy(&answer), "{}", answer.head);
        let text = answer.text();
        let links: Vec<_> = text.match_indices("<h2>").collect();
        assert_eq!(
            links.len(),
            usize::from(words == "страница"),
            "{words}: {text}"
        );
    }
    gate.open();
}

#[test]
fn what_was_withdrawn_is_not_found_any_more() {
    let gate = Arc::<Gate>::default();
    let gone = Arc::new(Mutex::new("200 OK"));
    let origin = Origin::start({
        let (gate, gone) = (Arc::clone(&gate), Arc::clone(&gone));
        move |asked, _| {
            if asked.line.contains("/withdrawn") {
                return page(*gone.lock().unwrap(), PUBLIC, &article("ru", "Новость"));
            }
            answer(asked, &gate)
        }
    });
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    read_all(&edge);
    let pages = |edge: &Edge| edge.stats().sites[0].pages_to_search;
    for status in ["410 Gone", "404 Not Found", "451 Unavailable"] {
        *gone.lock().unwrap() = "200 OK";
        let target = format!("/withdrawn/{}", &status[..3]);
        ask(&edge, &target, HTML);
        wait_until(&edge, |stats| {
            stats.sites[0].pages_to_search == ARTICLES.len() + 1
        });
        *gone.lock().unwrap() = status;
        edge.purge(None, &What::target(target.as_bytes()));
        assert_eq!(
            ask(&edge, &target, HTML).head.split(' ').nth(1),
            Some(&status[..3])
        );
        assert_eq!(pages(&edge), ARTICLES.len(), "{status}");
    }
    edge.forget(Some("a.kz"), &What::target(b"/en/1"));
    assert_eq!(pages(&edge), ARTICLES.len() - 1);
    edge.forget(None, &What::prefix(b"/"));
    assert_eq!(pages(&edge), 0);
    // Nothing to find anything in: the waiting page.
    let _crowd = starve(&edge);
    assert_eq!(ask(&edge, "/?s=school", HTML).status, 503);
    gate.open();
}

#[test]
fn each_newsroom_finds_its_own() {
    let newsroom = || {
        Origin::start(|asked, _| {
            if asked.line.contains("s=") || asked.line.contains("q=") {
                return Vec::new();
            }
            answer(asked, &Gate::default())
        })
    };
    let (first, second) = (newsroom(), newsroom());
    let mut plan = plan_of(first.address);
    let mut site = plan.sites[0].clone();
    site.name = "neighbour".into();
    site.hosts = vec!["b.kz".into()];
    site.origin.authority = second.address.to_string().parse().unwrap();
    plan.sites.push(site);
    let edge = Edge::start(plan).unwrap();
    let mut reader = Client::connect(&edge);
    get(&mut reader, "a.kz", "/en/1", HTML);
    get(&mut reader, "b.kz", "/other", HTML);
    wait_until(&edge, |stats| {
        stats.sites.iter().all(|site| site.pages_to_search == 1)
    });
    let mut reader = Client::connect(&edge);
    for (host, target, found, other) in [
        ("a.kz", "/?s=schools", "/en/1", "/other"),
        (
            "b.kz",
            "/?s=%D1%81%D1%82%D1%80%D0%B0%D0%BD%D0%B8%D1%86%D1%8B",
            "/other",
            "/en/1",
        ),
    ] {
        let answer = get(&mut reader, host, target, HTML);
        assert!(is_from_copy(&answer), "{host}: {}", answer.head);
        let text = answer.text();
        assert!(
            text.contains(&format!("href=\"{found}\"")),
            "{host}: {text}"
        );
        assert!(!text.contains(other), "{host}: {text}");
    }
}

#[test]
fn an_origin_that_is_down_leaves_its_readers_a_search() {
    let origin = Origin::start(|asked, _| {
        if asked.line.contains("/?s=") {
            return Vec::new();
        }
        if asked.line.contains("/search") {
            return page("502 Bad Gateway", "", "nginx");
        }
        page(
            "200 OK",
            PUBLIC,
            &article("en", "New schools opened in the city"),
        )
    });
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    assert_eq!(ask(&edge, "/en/1", HTML).status, 200);
    wait_until(&edge, |stats| stats.sites[0].pages_to_search == 1);
    for target in ["/search?q=school", "/en/search/?q=school", "/?s=school"] {
        for _ in 0..10 {
            let answer = ask(&edge, target, HTML);
            assert!(is_from_copy(&answer), "{target}: {}", answer.head);
            assert!(answer.text().contains("href=\"/en/1\""));
        }
    }
    // Staff see what is the matter.
    let editor = |target: &str| {
        let mut client = Client::of(connect_from(EDITOR, edge.addresses()[0]));
        get(&mut client, "a.kz", target, HTML)
    };
    assert!(editor("/?s=school").status >= 500);
    assert_eq!(editor("/search?q=school").field("saqta-answer"), None);
}

/// Counts, not times: whatever a flood of searches for random words does, each reader has results, articles and staff's search go on.
#[test]
fn a_flood_of_random_searches_takes_nobodys_search() {
    /// Each asks for five words, one after the other.
    const AT_ONCE: u8 = 200;
    const FLOOD: usize = 5 * 2 * AT_ONCE as usize;
    const READERS: u8 = 10;
    let gate = Arc::default();
    let origin = newsroom(&gate);
    let edge = Edge::start(plan_of(origin.address)).unwrap();
    read_all(&edge);
    let mut editor = Client::of(connect_from(EDITOR, edge.addresses()[0]));
    // Before the flood, and no search: nothing is known of what a search costs.
    assert_eq!(get(&mut editor, "a.kz", "/no-store", HTML).status, 200);
    let address = edge.addresses()[0];
    let mut crowd: Vec<_> = (0..AT_ONCE)
        .flat_map(|number| [(6, number), (7, number)])
        .map(|(network, number)| {
            let mut one = Client::of(connect_from(Ipv4Addr::new(127, 66, network, 6), address));
            for word in 0..5 {
                one.send(format!(
                    "GET /?s=w{word}x{number}x{network} HTTP/1.1\r\nHost: a.kz\r\n{HTML}\r\n"
                ));
            }
            one
        })
        .collect();
    let read = |number: u8| {
        let mut reader = Client::of(connect_from(Ipv4Addr::new(127, 1, number, 1), address));
        let answer = get(&mut reader, "a.kz", "/?s=schools", HTML);
        assert!(is_from_copy(&answer), "{number}: {}", answer.head);
        assert!(answer.text().contains("href=\"/en/1\""), "{number}");
        for (target, ..) in ARTICLES {
            let answer = get(&mut reader, "a.kz", target, HTML);
            assert!(answer.cache().starts_with("saqta; hit"), "{}", answer.head);
        }
    };
    std::thread::scope(|scope| {
        for number in 1..=READERS {
            let read = &read;
            scope.spawn(move || read(number));
        }
        for number in 0..3 {
            let answer = get(&mut editor, "a.kz", &format!("/?s=staff{number}"), HTML);
            assert_eq!(answer.text(), "live results", "{}", answer.head);
        }
    });
    // Some are at the origin by now.
    gate.open();
    let answered = crowd
        .iter_mut()
        .flat_map(|one| (0..5).map_while(|_| one.answer()).collect::<Vec<_>>())
        .filter(|answer| matches!(answer.status, 200 | 503))
        .count();
    assert_eq!(answered, FLOOD);
    assert!(edge.stats().totals.searched >= u64::from(READERS));
}
