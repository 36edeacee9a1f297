//! Programs that fetch: curl and wget with their cookie jars, a feed reader, and those that look at a link before it is sent.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use saqta_edge::Edge;
use saqta_lab::corpus::Corpus;
use saqta_lab::newsroom::Lang;

use crate::attack::LIBRARY;
use crate::server::Folder;
use crate::{
    HEADLINE, HELD, HOST, Hit, Newsroom, PATIENCE, TICKET_WAIT, after, attack, calm_edge, edge,
    program, run, until,
};

const HTML: &str = "Accept: text/html";
const JSON: &str = "Accept: application/json";

/// Longer than what is called brief is fresh.
const BRIEF: Duration = Duration::from_secs(2);

fn url(edge: &Edge, target: &str) -> String {
    format!("http://{}{target}", edge.addresses()[0])
}

/// What it prints.
fn printed(command: &mut Command) -> String {
    let output = run(command);
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

/// Whoever takes a page waits by its rules, by himself or with a jar from one call to the next; a program that takes none is let through
/// last in line and asked for nothing.
#[test]
fn curl_and_wget_come_in() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let home = Folder::new("fetched");
    let jar = home.0.join("jar");
    let jar = jar.to_str().unwrap();
    let waits: [(&str, &[&str]); 2] = [
        // As long as `Retry-After` says.
        ("curl", &["-s", "-L", "-b", "", "--retry", "2", "-H", HTML]),
        // One second more each time, up to six; its cookies last as long as it does.
        (
            "wget",
            &[
                "-q",
                "-O-",
                "--tries=5",
                "--retry-on-http-error=503",
                "--waitretry=6",
                "--header",
                HTML,
            ],
        ),
    ];
    std::thread::scope(|threads| {
        for (name, options) in waits {
            let (home, edge, newsroom) = (&home, &edge, &newsroom);
            threads.spawn(move || {
                let target = format!("/news/{name}");
                let said = printed(program(name, home).args(options).arg(url(edge, &target)));
                assert!(
                    said.contains(&format!("<h1>{target}</h1>")),
                    "{name}: {said}"
                );
                assert_eq!(newsroom.times(&target), 1, "{name}");
            });
        }
        threads.spawn(|| {
            let target = "/news/jar";
            let ask = || {
                let mut curl = program("curl", &home);
                curl.args(["-s", "-i", "-L", "-c", jar, "-b", jar, "-H", HTML]);
                printed(curl.arg(url(&edge, target)))
            };
            let first = ask();
            assert!(first.starts_with("HTTP/1.1 503 ") && first.contains("\r\nretry-after: "));
            assert_eq!(newsroom.times(target), 0);
            after(TICKET_WAIT);
            let second = ask();
            assert!(second.starts_with("HTTP/1.1 200 "), "{second}");
            assert_eq!(newsroom.times(target), 1);
        });
    });
    // Each was stopped before it was let in; wget, which counts for itself, more than once.
    assert!(edge.stats().totals.waiting > waits.len() as u64 + 1);
    let before = edge.stats().totals.waiting;
    for (name, options) in [
        ("curl", ["-s", "-H", JSON]),
        ("wget", ["-q", "-O-", "--header=Accept: application/json"]),
    ] {
        let target = format!("/wp-json/{name}");
        let said = printed(program(name, &home).args(options).arg(url(&edge, &target)));
        assert!(said.contains(&target), "{name}: {said}");
        assert_eq!(newsroom.times(&target), 1);
    }
    assert_eq!(edge.stats().totals.waiting, before);
}

/// From one address to the other between the ticket and its coming back.
#[test]
fn a_jar_is_good_at_another_address() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Agent);
    let home = Folder::new("moved");
    let jar = home.0.join("jar");
    let jar = jar.to_str().unwrap();
    let ask = |way: &SocketAddr| {
        let mut curl = program("curl", &home);
        curl.args(["-s", "-i", "-c", jar, "-b", jar, "-H", HTML])
            .args(["-A", LIBRARY])
            .args(["--connect-to", &format!("::{way}")]);
        printed(curl.arg(format!("http://{HOST}/news/moved")))
    };
    let [v4, v6] = edge.addresses() else {
        panic!("two addresses")
    };
    assert!(ask(v4).starts_with("HTTP/1.1 503 "));
    after(TICKET_WAIT);
    let moved = ask(v6);
    assert!(moved.starts_with("HTTP/1.1 200 "), "{moved}");
    assert_eq!(newsroom.times("/news/moved"), 1);
}

/// Strangers at the gate who do not leave, more than have a chance to be served.
fn starve(edge: &Edge) -> Vec<TcpStream> {
    const CROWD: usize = 250;
    let crowd = (0..CROWD)
        .map(|number| {
            let mut one = TcpStream::connect(edge.addresses()[0]).unwrap();
            let ask = format!("GET {HELD}{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            one.write_all(ask.as_bytes()).unwrap();
            one
        })
        .collect();
    until("the crowd is turned away", || {
        edge.stats().sites[0].turned_away > 0
    });
    crowd
}

/// No rule hits anybody, and there is no room: each is told when to come back, in the form it takes, and is let in when there is.
#[test]
fn who_finds_no_room_comes_in_when_there_is_some() {
    let newsroom = Newsroom::start();
    let edge = calm_edge(&newsroom, 1);
    let home = Folder::new("starved");
    let crowd = starve(&edge);
    for (target, accept, kind) in [
        ("/news/once", HTML, "text/html"),
        ("/wp-json/once", JSON, "application/problem+json"),
    ] {
        let mut curl = program("curl", &home);
        let said = printed(
            curl.args(["-s", "-i", "-H", accept])
                .arg(url(&edge, target)),
        );
        let is_told = said.starts_with("HTTP/1.1 503 ") && said.contains("\r\nretry-after: ");
        assert!(
            is_told && said.contains(&format!("content-type: {kind}")),
            "{said}"
        );
        let has_ticket = said.contains("\r\nset-cookie: saqta-ticket=");
        assert_eq!(has_ticket, accept == HTML, "{said}");
    }
    let before = edge.stats().totals.waiting;
    let takers = [("/news/page", HTML), ("/wp-json/data", JSON)];
    std::thread::scope(|threads| {
        for (target, accept) in takers {
            let (home, edge, newsroom) = (&home, &edge, &newsroom);
            threads.spawn(move || {
                let mut curl = program("curl", home);
                curl.args([
                    "--no-progress-meter",
                    "-b",
                    "",
                    "--retry",
                    "3",
                    "-H",
                    accept,
                ]);
                let said = printed(curl.arg(url(edge, target)));
                assert!(said.contains(&format!("<h1>{target}</h1>")), "{said}");
                // As the answer said, and not by a rule of its own, which begins with a second.
                assert!(!said.contains("retry in 1 second"), "{said}");
                assert_eq!(newsroom.times(target), 1);
            });
        }
        until("both are told to wait", || {
            edge.stats().totals.waiting >= before + takers.len() as u64
        });
        assert!(takers.iter().all(|(target, _)| newsroom.times(target) == 0));
        newsroom.open_the_gate();
        drop(crowd);
    });
}

/// One call, and what the feed reader has in its store afterwards.
fn reload(edge: &Edge, home: &Folder, target: &str) -> bool {
    let [urls, config, store] = ["urls", "config", "store"].map(|name| home.0.join(name));
    fs::write(&urls, url(edge, target) + "\n").unwrap();
    fs::write(&config, "reload-threads 1\n").unwrap();
    let mut newsboat = program("newsboat", home);
    newsboat
        .arg("-u")
        .arg(urls)
        .arg("-C")
        .arg(config)
        .arg("-c")
        .arg(&store);
    run(newsboat.args(["-x", "reload"]));
    let store = fs::read(store).unwrap();
    store
        .windows(HEADLINE.len())
        .any(|some| some == HEADLINE.as_bytes())
}

/// Somebody whom no rule hits has read these by IPv6, under the name that whoever follows calls the site by.
fn read_before(edge: &Edge, host: &str, targets: &[&str]) {
    for target in targets {
        let ask = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = answer(edge.addresses()[1], ask.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// The whole answer to a client that has nothing more to ask.
fn answer(edge: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(edge).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What was read before is there for strangers as well, fresh or not; what nobody read comes last in line, or with the next reload.
#[test]
fn a_feed_reader_gets_its_feed() {
    let newsroom = Newsroom::start();
    let edge = calm_edge(&newsroom, 1);
    attack(&edge, Hit::Network);
    let targets = ["/kept.xml", "/brief.xml"];
    read_before(&edge, &edge.addresses()[0].to_string(), &targets);
    after(BRIEF);
    let gets = |target: &str| reload(&edge, &Folder::new("feeds"), target);
    assert!(targets.iter().all(|target| gets(target)));
    assert_eq!(newsroom.times("/kept.xml"), 1);
    assert!(gets("/not-read-before.xml"));
    after(BRIEF);
    let crowd = starve(&edge);
    let before = targets.map(|target| newsroom.times(target));
    assert!(targets.iter().all(|target| gets(target)));
    assert_eq!(targets.map(|target| newsroom.times(target)), before);
    let (home, target) = (Folder::new("feeds"), "/never-read.xml");
    assert!(!reload(&edge, &home, target));
    let said = printed(
        program("curl", &home)
            .args(["-s", "-i"])
            .arg(url(&edge, target)),
    );
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("\r\nretry-after: ") && said.contains("application/problem+json"));
    newsroom.open_the_gate();
    drop(crowd);
    until("the next reload brings it", || reload(&edge, &home, target));
}

/// Who looks at a link before it is sent. The corpus knows how two of them write; of the others no more is known here than their names.
const PREVIEWS: [(&str, Option<&str>); 5] = [
    ("takes pages", Some("Accept: text/html, */*;q=0.5\r\n")),
    ("telegram-preview", None),
    ("facebook-preview", None),
    ("WhatsApp/2.23.20.0", Some("Accept: */*\r\n")),
    ("Twitterbot/1.0", Some("Accept: */*\r\n")),
];

fn preview(edge: &Edge, (name, fields): (&str, Option<&str>), target: &str) -> String {
    let mut request = Vec::new();
    match fields {
        Some(fields) => {
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {name}\r\n{fields}\r\n"
            );
            request.extend(head.bytes());
        }
        None => {
            let client = Corpus::shipped().client(name).unwrap();
            client.write_get(&mut request, target, HOST, None, None, Lang::Russian);
        }
    }
    answer(edge.addresses()[0], &request)
}

/// What a link shows before it is opened is the article's headline, fresh or not, and not that there is something to wait for.
#[test]
fn a_link_shows_its_article() {
    let newsroom = Newsroom::start();
    let edge = calm_edge(&newsroom, 1);
    let targets = ["/news/kept", "/news/brief"];
    let shown = |when: &str| {
        for of in PREVIEWS {
            for target in targets {
                let answer = preview(&edge, of, target);
                let is_good = ["HTTP/1.1 200 ", "HTTP/1.1 206 "]
                    .iter()
                    .any(|status| answer.starts_with(status));
                assert!(
                    is_good && answer.contains(HEADLINE),
                    "{when}: {of:?}: {answer}"
                );
            }
        }
    };
    attack(&edge, Hit::Network);
    read_before(&edge, HOST, &targets);
    after(BRIEF);
    shown("a rule hits");
    after(BRIEF);
    let _crowd = starve(&edge);
    let before = targets.map(|target| newsroom.times(target));
    shown("starved");
    assert_eq!(targets.map(|target| newsroom.times(target)), before);
}
