//! The origin is dead, the program has just started, and readers get the newspaper: real sockets, a real folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::{Answer, Asked, Client, Origin, page, plan, until};
use saqta_edge::Edge;
use saqta_edge::cache::purge::What;
use saqta_edge::plan::{Networks, Plan};
use saqta_edge::profile::{Profile, System};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("saqta-saved-{}-{number}", std::process::id()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What the newsroom's server does.
#[derive(Default)]
struct Newsroom {
    dead: AtomicBool,
    withdrawn: AtomicBool,
    /// What it shows at the story's address instead, with status 200.
    wreck: Mutex<Option<&'static str>>,
}

const STORY: &str = "<!doctype html><html lang=ru><head><title>Паводок в Атырау</title><link rel=stylesheet href=/style.css></head>\
     <body><h1>Паводок</h1><p>Вода поднялась на метр.</p><p>Жителей двух улиц у реки вывезли ночью в школу на холме, где для них поставили кровати и \
     полевую кухню. К утру дождь кончился, но до вечера вода, по словам спасателей, ещё прибудет: выше по течению открыли шлюзы. Занятия в трёх \
     школах города отменены до понедельника, поезда идут в объезд, мост закрыт.</p><form method=post action=/comment><button>Send</button></form></body></html>";

fn newsroom(state: Arc<Newsroom>) -> Origin {
    Origin::start(move |asked: &Asked, stream| {
        if state.dead.load(Ordering::Relaxed) {
            // Hangs up on everybody.
            drop(stream.shutdown(std::net::Shutdown::Both));
            return Vec::new();
        }
        let target = asked.line.split(' ').nth(1).unwrap_or("/");
        let html = "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=1\r\n";
        let ok = |fields: &str, body: &str| page("200 OK", fields, body);
        if asked
            .field("cookie")
            .is_some_and(|cookie| cookie.contains("wordpress_logged_in_"))
        {
            return ok(html, "<html><body>Salem, planted-editor</body></html>");
        }
        match target {
            "/" => ok(
                html,
                "<!doctype html><html lang=kk><head><title>Жаңалықтар</title><link rel=stylesheet href=/style.css>\
                 <link rel=alternate type=application/rss+xml href=/feed></head>\
                 <body><a href=/story>Паводок</a> <a href='/?p=7'>7</a> <a href=/feed>RSS</a><p>Бүгінгі жаңалықтар осында.</p></body></html>",
            ),
            "/story" if state.withdrawn.load(Ordering::Relaxed) => page("410 Gone", html, "gone"),
            "/story" => ok(html, state.wreck.lock().unwrap().unwrap_or(STORY)),
            "/?p=7" => ok(html, STORY),
            "/style.css" => ok(
                "Content-Type: text/css\r\nCache-Control: max-age=60\r\n",
                "body{color:#111}",
            ),
            "/sitemap.xml" => ok(
                "Content-Type: application/xml\r\nCache-Control: max-age=60\r\n",
                "<urlset><url><loc>https://a.kz/listed</loc></url></urlset>",
            ),
            "/feed" => ok(
                "Content-Type: application/rss+xml\r\nCache-Control: max-age=1\r\n",
                "<rss><channel><item><link>https://a.kz/story</link></item></channel></rss>",
            ),
            _ => ok(
                html,
                &format!(
                    "<html lang=en><head><title>Found</title></head><body>{target} planted</body></html>"
                ),
            ),
        }
    })
}

/// An origin that hangs up on everybody once it is dead.
fn mortal(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Origin, Arc<AtomicBool>) {
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let origin = Origin::start(move |asked: &Asked, stream| {
        if is_dead.load(Ordering::Relaxed) {
            drop(stream.shutdown(std::net::Shutdown::Both));
            return Vec::new();
        }
        answer(asked)
    });
    (origin, dead)
}

fn plan_with_disk(origin: SocketAddr) -> Plan {
    let mut plan = plan(origin);
    plan.saved_bytes_max = 256 * 1024 * 1024;
    plan.sites[0].profile = Profile::of(System::WordPress);
    plan
}

fn get(edge: &Edge, target: &str) -> Answer {
    Client::connect(edge).get(target)
}

fn get_with(edge: &Edge, target: &str, fields: &str) -> Answer {
    Client::connect(edge)
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n"
        ))
        .answer()
        .expect("an answer")
}

/// What is known once the front page is read: itself, the three paths it links to, and the value in a link's query.
const FRONT_AND_LINKS: u64 = 5;
/// Pages kept once all of it is read: the front page, two articles, the feed.
const NEWSPAPER: u64 = 4;

/// Of these, those the search reads: a feed is no page.
const SEARCHED: usize = 3;

/// Reads the front page, then what it links to, as a browser does.
fn read_everything(edge: &Edge) {
    assert_eq!(get(edge, "/").status, 200);
    // The answer is read before the page has been handed over, and who asks before its links are known asks for nothing to keep.
    until("the front page and its links are known", || {
        edge.settle();
        edge.stats().saved.known_addresses >= FRONT_AND_LINKS
    });
    for target in ["/story", "/?p=7", "/feed", "/style.css"] {
        assert_eq!(get(edge, target).status, 200, "{target}");
    }
    until("the newspaper and its style sheet are kept", || {
        edge.settle();
        let saved = edge.stats().saved;
        // What nobody has asked for comes by itself, in time.
        saved.saved_pages >= Some(NEWSPAPER) && saved.saved_assets == Some(1)
    });
}

/// An edge whose newspaper has been read once, and all of it kept.
fn read_once() -> (Folder, Arc<Newsroom>, Origin, Edge) {
    let (folder, state, origin, edge, _) = read_once_with(|_| ());
    (folder, state, origin, edge)
}

/// The same with other settings.
fn read_once_with(change: impl FnOnce(&mut Plan)) -> (Folder, Arc<Newsroom>, Origin, Edge, Plan) {
    let folder = Folder::new();
    let state = Arc::new(Newsroom::default());
    let origin = newsroom(Arc::clone(&state));
    let mut plan = plan_with_disk(origin.address);
    change(&mut plan);
    let edge = Edge::start_in(plan.clone(), &folder.0).unwrap();
    read_everything(&edge);
    (folder, state, origin, edge, plan)
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found
}

fn holds(folder: &Path, text: &str) -> bool {
    files(folder)
        .iter()
        .any(|(_, bytes)| memchr_find(bytes, text.as_bytes()))
}

fn memchr_find(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn assert_is_saved(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.cache(), "saqta; hit; detail=saved");
    assert!(answer.text().contains(words), "{}", answer.text());
}

#[test]
fn a_restart_with_a_dead_origin_serves_the_newspaper() {
    let (folder, state, origin, edge) = read_once();
    // A search, a stranger's invention and an editor's page are read too.
    assert!(get(&edge, "/?s=planted-term").text().contains("planted"));
    assert!(get(&edge, "/planted-path").text().contains("planted"));
    let own = get_with(
        &edge,
        "/story",
        "Cookie: wordpress_logged_in_a=planted-cookie\r\nUser-Agent: planted-agent\r\n",
    );
    assert!(own.text().contains("planted-editor"));
    edge.settle();
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    assert!(!holds(&folder.0, "planted"));

    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    edge.settle();
    let front = get(&edge, "/");
    assert_is_saved(&front, "Бүгінгі жаңалықтар");
    assert!(front.text().contains("сақталған көшірмесі"));
    assert_eq!(front.field("cache-control"), Some("no-store"));
    let story = get(&edge, "/story");
    assert_is_saved(&story, "Вода поднялась");
    assert!(story.text().contains("сохранённая копия") && story.text().contains("(время Астаны)"));
    assert!(story.text().contains("Сейчас отправить нельзя."));
    assert_is_saved(&get(&edge, "/?p=7"), "Вода поднялась");
    let style = get(&edge, "/style.css");
    assert_eq!(
        (style.status, style.text().as_str()),
        (200, "body{color:#111}")
    );
    let feed = get(&edge, "/feed");
    assert_is_saved(&feed, "<rss><channel><item>");
    assert!(!feed.text().contains("role="));
    // The entity tag is the copy's, and so is its length.
    let etag = story.field("etag").unwrap();
    let again = get_with(&edge, "/story", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!(again.status, 304);
    // Whoever has chosen a language in which nobody has read it gets it as it is.
    let chosen = get_with(&edge, "/story", "Cookie: pll_language=en\r\n");
    assert_is_saved(&chosen, "Вода поднялась");
    // A script wants to know that there is no answer.
    for program in [
        "Accept: application/json\r\n",
        "X-Requested-With: XMLHttpRequest\r\n",
    ] {
        assert_eq!(get_with(&edge, "/story", program).status, 502, "{program}");
    }
    // What is nobody's newspaper is not there.
    assert_eq!(get(&edge, "/planted-path").status, 502);
    // Standing aside takes the copies along.
    edge.bypass(true);
    assert_eq!(get(&edge, "/story").status, 502);
    edge.bypass(false);
    // Forms do not go to copies.
    let posted = Client::connect(&edge)
        .send("POST /story HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 1\r\n\r\nx")
        .answer()
        .unwrap();
    assert_eq!(posted.status, 502);
    assert!(posted.text().contains("Sending is not possible now"));
    assert!(edge.stats().totals.saved_shown >= 6);
}

/// A dead server cannot send `http://www.…:8080` on to the name it likes; the page is there all the same. Another name of the operator's is
/// another newspaper until he says otherwise.
#[test]
fn a_page_is_found_by_the_names_that_readers_type() {
    let (folder, state, _origin, edge, mut plan) = read_once_with(|plan| {
        for name in ["www.a.kz", "kk.a.kz", "www.kk.a.kz"] {
            plan.sites[0].hosts.push(name.into());
        }
    });
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    plan.trust_forwarded = Networks(vec!["127.0.0.0/8".parse().unwrap()]);

    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    let ask = |host: &str, target: &str, fields: &str| {
        Client::connect(&edge)
            .send(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
            ))
            .answer()
            .expect("an answer")
    };
    for (host, fields) in [
        ("a.kz", ""),
        ("A.KZ:8080", ""),
        ("www.a.kz", ""),
        ("www.a.kz:8080", ""),
        ("a.kz", "X-Forwarded-Proto: https\r\n"),
        ("www.a.kz", "X-Forwarded-Proto: https\r\n"),
        ("www.a.kz", "Cookie: pll_language=en\r\n"),
    ] {
        assert_is_saved(&ask(host, "/story", fields), "Вода поднялась");
        let style = ask(host, "/style.css", fields);
        assert_eq!(style.text(), "body{color:#111}", "{host} {fields}");
        assert_eq!(ask(host, "/planted-path", fields).status, 502, "{host}");
    }
    for host in ["kk.a.kz", "www.kk.a.kz", "kk.a.kz:8080"] {
        assert_eq!(ask(host, "/story", "").status, 502, "{host}");
    }
}

/// Whoever searches after a restart finds what was published before it.
#[test]
fn saved_pages_are_found_by_the_search_after_a_restart() {
    let (folder, state, origin, edge) = read_once();
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    let pages = || edge.stats().sites[0].pages_to_search;
    until("saved pages are read", || pages() == SEARCHED);
    let found = get_with(
        &edge,
        "/?s=%D0%9F%D0%B0%D0%B2%D0%BE%D0%B4%D0%BE%D0%BA",
        "Accept: text/html\r\n",
    );
    assert_eq!(found.status, 200, "{}", found.head);
    assert!(found.text().contains("href=\"/story\""), "{}", found.text());
    // Who looks for what no page has is told so once all have been read.
    until("it is known that nothing is found", || {
        get_with(&edge, "/?s=zhoq", "Accept: text/html\r\n").status == 200
    });
    let gone = edge.forget(None, &What::path(b"/story")).unwrap();
    assert!(gone.on_disk >= 1, "{gone:?}");
    assert_eq!(pages(), SEARCHED - 1);
}

/// A server that breaks shows its breakage first, with status 200, to whoever asks; and then nothing. What memory has learned of it is not the
/// newspaper.
#[test]
fn what_a_breaking_server_showed_last_is_not_what_its_readers_get() {
    let table = [
        "<html><title>Database Error</title><body>Error establishing a database connection</body></html>",
        "<html><title>Defaced</title><body>Another headline, and no news.</body></html>",
        "",
    ];
    for wreck in table {
        let (_folder, state, _origin, edge) = read_once();
        *state.wreck.lock().unwrap() = Some(wreck);
        until("the story has been asked for again", || {
            let answer = get(&edge, "/story");
            answer.text() == wreck || answer.cache() == "saqta; hit; detail=saved"
        });
        dies(&edge, &state, "/story");
        assert_is_saved(&get(&edge, "/story"), "Вода поднялась");
    }
}

/// And what its readers have of the page in memory runs out.
fn dies(edge: &Edge, state: &Newsroom, target: &str) {
    edge.settle();
    state.dead.store(true, Ordering::Relaxed);
    until("a page's lifetime of a second is over", || {
        get(edge, target).cache() == "saqta; hit; detail=saved"
    });
}

/// An article that is cut to a line because a court said so has lost most of its text on purpose.
#[test]
fn what_staff_cut_is_cut() {
    let (_folder, state, _origin, edge) = read_once();
    *state.wreck.lock().unwrap() =
        Some("<html><title>Паводок в Атырау</title><body>Удалено.</body></html>");
    edge.purge(None, &What::target(b"/story"));
    assert!(get(&edge, "/story").text().contains("Удалено."));
    dies(&edge, &state, "/story");
    assert_is_saved(&get(&edge, "/story"), "Удалено.");
}

/// One that is passed on in messengers: its second reader finds it in memory already.
#[test]
fn a_page_that_readers_of_three_networks_find_in_memory_is_saved() {
    let folder = Folder::new();
    let origin = Origin::start(|_: &Asked, _| {
        let fields = "Content-Type: text/html\r\nCache-Control: max-age=600\r\n";
        page("200 OK", fields, STORY)
    });
    let mut plan = plan_with_disk(origin.address);
    plan.sites[0].hosts.push("b.kz".to_owned());
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    let reads = |target: &str, network: u8| {
        let mut client = Client::connect(&edge);
        client.stream = kit::connect_from(Ipv4Addr::new(127, 66, network, 9), edge.addresses()[0]);
        assert_eq!(client.get(target).status, 200);
    };
    let is_saved = |target: &str| {
        edge.settle();
        files(&folder.0.join("saved")).iter().any(|(_, file)| {
            file.windows(target.len())
                .any(|part| part == target.as_bytes())
        })
    };
    for target in ["/pushed", "/read-by-one"] {
        reads(target, 1);
        until("it is in memory", || {
            edge.settle();
            let mut client = Client::connect(&edge);
            client.stream = kit::connect_from(Ipv4Addr::new(127, 66, 1, 8), edge.addresses()[0]);
            client.get(target).cache().starts_with("saqta; hit")
        });
    }
    reads("/pushed", 2);
    assert!(!is_saved("/pushed"));
    reads("/pushed", 3);
    assert!(is_saved("/pushed"));
    // A network that reads it all the time is one network, and soon a reader like any other.
    for _ in 0..100 {
        reads("/read-by-one", 1);
    }
    for network in 2..5 {
        reads("/read-by-one", network);
    }
    assert!(!is_saved("/read-by-one"));
    let asked = origin.asked();
    for target in ["/pushed", "/read-by-one"] {
        let line = format!("GET {target} ");
        let times = asked.iter().filter(|asked| asked.line.starts_with(&line));
        assert_eq!(times.count(), 1, "{target}");
    }
}

/// Where a link was shared is often said in a parameter of its own. The page is what its reader wants, and when the server is gone it is saved.
#[test]
fn an_address_with_a_parameter_nobody_knows_gets_the_saved_copy_too() {
    let (folder, state, _origin, edge, plan) = read_once_with(|_| ());
    // What a breaking server shows last is no better under such an address.
    *state.wreck.lock().unwrap() = Some("<html><head><title>x</title></head><body></body></html>");
    until("what memory has is old", || {
        get(&edge, "/story").text().contains("<title>x</title>")
    });
    edge.settle();
    state.dead.store(true, Ordering::Relaxed);
    until("it is known to be down", || {
        get(&edge, "/nobody-knows").status == 502
    });
    assert_is_saved(&get(&edge, "/story?from=tg"), "Вода поднялась");
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    for target in ["/story?from=tg", "/story?", "/story?a=1&b=2"] {
        assert_is_saved(&get(&edge, target), "Вода поднялась");
    }
    for target in ["/story?page=2", "/?p=8", "/story?confirm=0123456789abcdef"] {
        assert_eq!(get(&edge, target).status, 502, "{target}");
    }
    // A program reads an error better than a page.
    let asks = "Accept: application/json\r\nX-Requested-With: XMLHttpRequest\r\n";
    assert_eq!(get_with(&edge, "/story?from=tg", asks).status, 502);
}

/// A provider closes a server, and only then switches it off.
#[test]
fn what_a_provider_closed_is_shown_and_found() {
    let folder = Folder::new();
    let closed = Arc::new(AtomicBool::new(false));
    let is_closed = Arc::clone(&closed);
    let (origin, dead) = mortal(move |asked| {
        let fields = "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=1\r\n";
        if is_closed.load(Ordering::Relaxed) {
            return page(
                "451 Unavailable For Legal Reasons",
                "Cache-Control: no-store\r\n",
                "",
            );
        }
        let target = asked.line.split(' ').nth(1).unwrap_or("/");
        let text = format!("Вода у {target} поднялась. ").repeat(20);
        page(
            "200 OK",
            fields,
            &format!(
                "<!doctype html><html lang=ru><head><title>Паводок {target}</title></head><body><a href=/story>Паводок</a><article><p>{text}</article></body></html>"
            ),
        )
    });
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    assert_eq!(get(&edge, "/").status, 200);
    until("the front page's link is known", || {
        edge.settle();
        edge.stats().saved.known_addresses >= 1
    });
    assert_eq!(get(&edge, "/story").status, 200);
    until("front page and story are kept", || {
        edge.settle();
        edge.stats().saved.saved_pages >= Some(2)
    });
    closed.store(true, Ordering::Relaxed);
    for target in ["/", "/story"] {
        until("what it says now is passed on", || {
            get(&edge, target).status == 451
        });
    }
    dead.store(true, Ordering::Relaxed);
    until("it is known to be down", || {
        get(&edge, "/nobody-knows").status == 502
    });
    assert_is_saved(&get(&edge, "/story"), "Вода у /story поднялась");
    const SEARCH: &str = "/?s=%D0%BF%D0%B0%D0%B2%D0%BE%D0%B4%D0%BE%D0%BA";
    until("the story is found", || {
        get_with(&edge, SEARCH, "Accept: text/html\r\n")
            .text()
            .contains("href=\"/story\"")
    });
}

/// To its server all readers are one client, and it may have a limit for clients.
#[test]
fn readers_of_a_server_that_limits_them_get_the_copy() {
    for status in ["429 Too Many Requests", "520 Unknown", "503 Busy"] {
        let folder = Folder::new();
        let limited = Arc::new(AtomicBool::new(false));
        let is_limited = Arc::clone(&limited);
        let (origin, _dead) = mortal(move |_| {
            let fields = "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=1\r\n";
            if is_limited.load(Ordering::Relaxed) {
                return page(status, "Cache-Control: max-age=3600\r\n", "too many");
            }
            let text = "Вода поднялась. ".repeat(20);
            page(
                "200 OK",
                fields,
                &format!(
                    "<!doctype html><html lang=ru><head><title>Паводок</title></head><body><p>{text}</body></html>"
                ),
            )
        });
        let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
        assert_eq!(get(&edge, "/").status, 200);
        until("the front page is kept", || {
            edge.settle();
            edge.stats().saved.saved_pages >= Some(1)
        });
        limited.store(true, Ordering::Relaxed);
        edge.purge(Some("a.kz"), &What::path(b"/"));
        let answer = get(&edge, "/");
        assert_eq!(answer.status, 200, "{status}");
        assert!(answer.text().contains("Вода поднялась"), "{status}");
    }
}

/// WordPress links in lower case, browsers write upper case.
#[test]
fn a_cyrillic_address_is_saved_in_every_spelling() {
    let folder = Folder::new();
    let (origin, dead) = mortal(|asked| {
        let fields = "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=1\r\n";
        let target = asked.line.split(' ').nth(1).unwrap_or("/");
        if !["/", "/%d2%9bala"].contains(&target) {
            return page("404 Not Found", fields, "no such page");
        }
        let text = "Вода поднялась. ".repeat(20);
        page(
            "200 OK",
            fields,
            &format!(
                "<!doctype html><html lang=ru><head><title>{target}</title></head><body><a href=/%d2%9bala>қала</a><p>{text}</body></html>"
            ),
        )
    });
    let plan = plan_with_disk(origin.address);
    let edge = Edge::start_in(plan.clone(), &folder.0).unwrap();
    assert_eq!(get(&edge, "/").status, 200);
    until("the front page's link is known", || {
        edge.settle();
        edge.stats().saved.known_addresses >= 1
    });
    assert_eq!(get(&edge, "/%d2%9bala").status, 200);
    until("front page and article are kept", || {
        edge.settle();
        edge.stats().saved.saved_pages >= Some(2)
    });
    dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    for target in ["/%d2%9bala", "/%D2%9Bala", "/%D2%9Bala?utm_source=tg"] {
        assert_is_saved(&get(&edge, target), "Вода поднялась");
    }
    for target in ["/%D2%9BALA", "/%D2%9Aala", "/%"] {
        assert_ne!(get(&edge, target).status, 200, "{target}");
    }
}

/// What one reader opened may be his alone: the address in a letter that lets him choose a new password.
#[test]
fn a_page_that_one_reader_opened_is_not_found() {
    let folder = Folder::new();
    let (origin, dead) = mortal(|asked| {
        let target = asked.line.split(' ').nth(1).unwrap_or("/");
        let fields = "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=60\r\n";
        let text = format!("Вода у {target} поднялась. ").repeat(20);
        page(
            "200 OK",
            fields,
            &format!(
                "<!doctype html><html lang=ru><head><title>Паводок {target}</title></head><body><article><p>{text}</article></body></html>"
            ),
        )
    });
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    let reads = |target: &str, network: u8| {
        let mut client = Client::connect(&edge);
        client.stream = kit::connect_from(Ipv4Addr::new(127, 66, network, 9), edge.addresses()[0]);
        assert_eq!(client.get(target).status, 200);
        edge.settle();
    };
    reads("/for-one", 1);
    for network in 1..=3 {
        reads("/passed-on", network);
    }
    dead.store(true, Ordering::Relaxed);
    const SEARCH: &str = "/?s=%D0%BF%D0%B0%D0%B2%D0%BE%D0%B4%D0%BE%D0%BA";
    let found = || get_with(&edge, SEARCH, "Accept: text/html\r\n").text();
    // Read in the order in which they came.
    until("what was passed on is found", || {
        found().contains("/passed-on")
    });
    assert!(!found().contains("/for-one"));
}

/// Nobody links to a sitemap; what it lists is the site's own word of what is public.
#[test]
fn a_page_that_only_the_sitemap_names_is_saved() {
    let (_folder, state, _origin, edge) = read_once();
    assert_eq!(get(&edge, "/sitemap.xml").status, 200);
    until("what it lists is known", || {
        edge.settle();
        edge.stats().saved.known_addresses > FRONT_AND_LINKS
    });
    assert_eq!(get(&edge, "/listed").status, 200);
    until("it is saved", || {
        edge.settle();
        edge.stats().saved.saved_pages >= Some(NEWSPAPER + 2)
    });
    dies(&edge, &state, "/listed");
}

#[test]
fn staff_see_what_is_there_and_not_a_copy() {
    let folder = Folder::new();
    let state = Arc::new(Newsroom::default());
    let origin = newsroom(Arc::clone(&state));
    let mut plan = plan_with_disk(origin.address);
    plan.sites[0].staff = Networks(vec!["127.66.0.0/24".parse().unwrap()]);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    read_everything(&edge);
    state.dead.store(true, Ordering::Relaxed);
    // Past its second in memory, which may stand in for staff too.
    edge.forget(None, &What::path(b"/nothing"));
    edge.purge(None, &What::path(b"/style.css"));
    let editor = |target: &str| {
        let mut client = Client::connect(&edge);
        client.stream = kit::connect_from(Ipv4Addr::new(127, 66, 0, 9), edge.addresses()[0]);
        client.get(target)
    };
    assert!(!editor("/story").cache().contains("saved"));
}

#[test]
fn what_is_withdrawn_or_forgotten_leaves_no_trace() {
    let folder = Folder::new();
    let state = Arc::new(Newsroom::default());
    let origin = newsroom(Arc::clone(&state));
    let mut plan = plan_with_disk(origin.address);
    plan.disk_cache_bytes_max = 64 * 1024 * 1024;
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    read_everything(&edge);
    assert!(holds(&folder.0, "Вода поднялась"));
    let gone = edge.forget(Some("a.kz"), &What::path(b"/story")).unwrap();
    assert!(gone.on_disk >= 1, "{gone:?}");
    let gone = edge.forget(Some("a.kz"), &What::target(b"/?p=7")).unwrap();
    assert!(gone.on_disk >= 1, "{gone:?}");
    assert!(!holds(&folder.0, "Вода поднялась"));
    // Read once more it is kept once more; withdrawn by the newsroom it goes by itself.
    assert_eq!(get(&edge, "/story").status, 200);
    until("it is kept once more", || {
        edge.settle();
        holds(&folder.0, "Вода поднялась")
    });
    state.withdrawn.store(true, Ordering::Relaxed);
    edge.purge(Some("a.kz"), &What::path(b"/story"));
    until("the withdrawal is seen", || {
        get(&edge, "/story").status == 410
    });
    // Its file goes in a minute, if the whole site has not gone by then: `keep.rs` shows it.
    state.dead.store(true, Ordering::Relaxed);
    edge.settle();
    until("the server is known to be dead", || {
        get(&edge, "/nobody-knows").status == 502
    });
    assert_ne!(get(&edge, "/story").status, 200);
}

#[test]
fn what_memory_lost_is_found_on_the_caches_disk() {
    let folder = Folder::new();
    let state = Arc::new(Newsroom::default());
    let origin = newsroom(Arc::clone(&state));
    let mut plan = plan_with_disk(origin.address);
    plan.saved_bytes_max = 0;
    plan.disk_cache_bytes_max = 64 * 1024 * 1024;
    let edge = Edge::start_in(plan.clone(), &folder.0).unwrap();
    for (place, target) in ["/", "/style.css"].into_iter().enumerate() {
        assert_eq!(get(&edge, target).status, 200);
        until("it is written", || {
            edge.settle();
            edge.stats().saved.disk_files > Some(place as u64)
        });
    }
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    let asked = origin.asked().len();
    let style = get(&edge, "/style.css");
    assert!(style.cache().starts_with("saqta; hit"), "{}", style.cache());
    assert_eq!(origin.asked().len(), asked);
    assert_eq!(edge.stats().saved.disk_read, Some(1));
}

#[test]
fn copies_are_made_and_renewed_before_any_reader_asks() {
    let folder = Folder::new();
    let state = Arc::new(Newsroom::default());
    let origin = newsroom(Arc::clone(&state));
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    // Nobody asks for anything: the front page and its style sheet come by themselves, from an anonymous reader, then what it links to.
    let was_asked = |target: &str| {
        let line = format!("GET {target} ");
        origin
            .asked()
            .iter()
            .any(|asked| asked.line.starts_with(&line))
    };
    until("the site's own pages are saved", || {
        edge.settle();
        edge.stats().saved.saved_assets >= Some(1)
            && holds(&folder.0.join("saved"), "Вода поднялась")
    });
    // Elsewhere than in a list, a query does something.
    assert!(!was_asked("/?p=7"));
    for asked in origin.asked() {
        // Nor from this machine, which may be shown more than readers are.
        for field in ["cookie", "x-forwarded-for", "x-real-ip", "forwarded"] {
            assert_eq!(asked.field(field), None, "{}", asked.head);
        }
    }
    edge.settle();
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    edge.settle();
    assert_is_saved(&get(&edge, "/"), "Бүгінгі жаңалықтар");
    assert_is_saved(&get(&edge, "/story"), "Вода поднялась");
    assert_eq!(get(&edge, "/style.css").status, 200);
}

/// It takes a while until it is known what a folder of thousands of files holds. Whoever asks before that waits, instead of being told that there
/// is nothing.
#[test]
fn who_asks_before_it_is_known_what_is_saved_waits_for_it() {
    const MORE_FILES: u32 = 4_000;
    let (folder, state, _origin, edge, plan) = read_once_with(|_| ());
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let is_copy = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 16);
    let (copy, _) = files(&folder.0.join("saved"))
        .into_iter()
        .find(|(path, _)| is_copy(path))
        .unwrap();
    let site = copy.parent().and_then(Path::parent).unwrap();
    // Names of the right kind, with nothing in them: each is opened, found to be no copy, and removed.
    for number in 0..MORE_FILES {
        let (folder, name) = (site.join(format!("{:02x}", number % 256)), number >> 8);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{:02x}{name:014x}", number % 256)), "").unwrap();
    }
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    let answer = get(&edge, "/story");
    assert_is_saved(&answer, "Вода поднялась");
}

#[test]
fn a_site_that_wants_no_copies_has_none() {
    let (folder, state, _origin, edge, mut plan) = read_once_with(|plan| plan.shards = 1);
    plan.sites[0].saved = false;
    edge.reload(plan.clone()).unwrap();
    state.dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    assert_eq!(get(&edge, "/story").status, 502);
    assert!(!holds(&folder.0, "Вода поднялась"));
}

/// Themes for phones send `Vary: User-Agent` with every page. Any version is better than none when the server is gone, and the cache's disk
/// must not take one for the other when it is not.
#[test]
fn of_a_page_that_varies_the_usual_version_is_saved() {
    const PHONE: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14) Mobile\r\n";
    const DESK: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n";
    let folder = Folder::new();
    let (origin, dead) = mortal(|asked| {
        let agent = asked.field("user-agent").unwrap_or_default().to_owned();
        let reader = if agent.contains("Mobile") {
            "phone"
        } else {
            "desk"
        };
        let fields = "Content-Type: text/html\r\nCache-Control: max-age=60\r\nVary: User-Agent\r\n";
        let body = format!(
            "<!doctype html><html lang=ru><head><title>Паводок</title></head><body><a href=/story>{reader}</a></body></html>"
        );
        page("200 OK", fields, &body)
    });
    let mut plan = plan_with_disk(origin.address);
    plan.disk_cache_bytes_max = 64 * 1024 * 1024;
    let edge = Edge::start_in(plan.clone(), &folder.0).unwrap();
    until("the front page's link is known", || {
        edge.settle();
        edge.stats().saved.known_addresses >= 1
    });
    let reads = |edge: &Edge, agent: &str| get_with(edge, "/story", agent).text();
    assert!(reads(&edge, PHONE).contains("phone"));
    assert!(reads(&edge, DESK).contains("desk"));
    until("front page and story are kept", || {
        edge.settle();
        edge.stats().saved.saved_pages >= Some(2)
    });
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan.clone(), &folder.0).unwrap();
    assert!(reads(&edge, PHONE).contains("phone"));
    dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan, &folder.0).unwrap();
    edge.settle();
    for agent in [PHONE, DESK] {
        assert_is_saved(&get_with(&edge, "/story", agent), "desk");
    }
}

/// A copy of this minute is better than one with a date on it.
#[test]
fn memory_comes_before_the_saved_copy_for_who_has_chosen_a_language() {
    let (_folder, state, _origin, edge) = read_once();
    state.dead.store(true, Ordering::Relaxed);
    let answer = get_with(&edge, "/story", "Cookie: pll_language=kk\r\n");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.cache().contains("detail=reduced"), "{}", answer.head);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert!(!answer.text().contains("сохранённая копия"));
}

/// A stranger's words in a cookie of a language's name would otherwise lie on disk as the mark of a page.
#[test]
fn a_choice_that_is_no_language_is_not_written() {
    let folder = Folder::new();
    let origin = newsroom(Arc::default());
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    read_everything(&edge);
    for value in ["planted-choice", "kk"] {
        let answer = get_with(
            &edge,
            "/story",
            &format!("Cookie: pll_language={value}\r\n"),
        );
        assert_eq!(answer.status, 200);
    }
    until("the language's page is written", || {
        edge.settle();
        holds(&folder.0, "pll_language=kk")
    });
    assert!(!holds(&folder.0, "planted-choice"));
}

/// A browser that opens the copy loads what the page names anywhere: in its own styles, for its own width, for its icon. No reader has asked for any
/// of it before the server died.
#[test]
fn whatever_a_browser_loads_with_the_copy_is_there() {
    const FRONT: &str = "<!doctype html><html lang=ru><head><title>Паводок</title><link rel=manifest href=/m.json>\
        <style>@import '/inline.css'; b{background:url(/b.png)}</style></head>\
        <body><p style=\"background:url('/hero.jpg')\">Вода</p><img src=/a.jpg srcset='/a-300.jpg 300w'></body></html>";
    const LOADED: [&str; 7] = [
        "/m.json",
        "/inline.css",
        "/b.png",
        "/hero.jpg",
        "/a.jpg",
        "/a-300.jpg",
        "/of-the-style.woff2",
    ];
    let folder = Folder::new();
    let (origin, dead) = mortal(|asked| {
        let (kind, body) = match asked.line.split(' ').nth(1).unwrap_or("/") {
            "/" => ("text/html; charset=utf-8", FRONT),
            "/inline.css" => ("text/css", "@font-face{src:url(/of-the-style.woff2)}"),
            "/m.json" => ("application/manifest+json", "{}"),
            _ => ("application/octet-stream", "bytes"),
        };
        let fields = format!("Content-Type: {kind}\r\nCache-Control: max-age=60\r\n");
        page("200 OK", &fields, body)
    });
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    until("all of it is kept", || {
        edge.settle();
        edge.stats().saved.saved_assets == Some(LOADED.len() as u64)
    });
    let asked: Vec<String> = origin
        .asked()
        .iter()
        .filter_map(|asked| Some(asked.line.split(' ').nth(1)?.to_owned()))
        .filter(|target| LOADED.contains(&target.as_str()))
        .collect();
    assert_eq!(asked.first().map(String::as_str), Some("/inline.css"));
    assert_eq!(asked.last().map(String::as_str), Some("/a-300.jpg"));
    dead.store(true, Ordering::Relaxed);
    edge.stop(Duration::ZERO);
    let edge = Edge::start_in(plan_with_disk(origin.address), &folder.0).unwrap();
    edge.settle();
    assert_is_saved(&get(&edge, "/"), "Вода");
    for target in LOADED {
        assert_eq!(get(&edge, target).status, 200, "{target}");
    }
}
