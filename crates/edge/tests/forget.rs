//! A page is withdrawn while somebody's request for it is on its way: what that brings is put nowhere.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use kit::{Asked, Client, Origin, PATIENCE, page, plan, until};
use saqta_edge::Edge;
use saqta_edge::cache::purge::What;
use saqta_edge::plan::Plan;
use saqta_edge::profile::{Profile, System};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("saqta-forget-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn holds(&self, text: &str) -> bool {
        fn holds(folder: &Path, text: &[u8]) -> bool {
            fs::read_dir(folder).unwrap().flatten().any(|entry| {
                let path = entry.path();
                if path.is_dir() {
                    return holds(&path, text);
                }
                let bytes = fs::read(path).unwrap_or_default();
                bytes.windows(text.len()).any(|part| part == text)
            })
        }
        holds(&self.0, text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// An origin that holds one answer until it is told what to say.
struct Newsroom {
    dead: AtomicBool,
    held: Mutex<Option<&'static str>>,
    arrived: mpsc::SyncSender<()>,
    said: Mutex<mpsc::Receiver<Vec<u8>>>,
}

const SECRET: &str = "planted";

fn html(fields: &str, body: &str) -> Vec<u8> {
    let fields = format!("Content-Type: text/html; charset=utf-8\r\n{fields}");
    let head = "<!doctype html><html lang=ru><head><title>Паводок</title>";
    page(
        "200 OK",
        &fields,
        &format!("{head}</head><body>{body}</body></html>"),
    )
}

impl Newsroom {
    fn answer(&self, asked: &Asked, cache_control: &str) -> Vec<u8> {
        let target = asked.line.split(' ').nth(1).unwrap();
        let is_held = self.held.lock().unwrap().take_if(|held| *held == target);
        if is_held.is_some() {
            self.arrived.send(()).unwrap();
            return self.said.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        if self.dead.load(Ordering::Relaxed) {
            return Vec::new();
        }
        match target {
            "/" => html(
                "Cache-Control: max-age=60\r\n",
                "<link rel=stylesheet href=/style.css><a href=/story>1</a> <a href=/other>2</a>",
            ),
            "/style.css" => style("red"),
            "/story" => story(cache_control),
            _ => html(
                "Cache-Control: max-age=60\r\n",
                "<p>Вода поднялась на метр.",
            ),
        }
    }
}

fn style(colour: &str) -> Vec<u8> {
    let fields = "Content-Type: text/css\r\nCache-Control: max-age=60\r\n";
    page("200 OK", fields, &format!("p{{color:{colour}}}"))
}

fn story(cache_control: &str) -> Vec<u8> {
    html(
        &format!("Cache-Control: {cache_control}\r\nETag: \"1\"\r\n"),
        &format!("<p>Вода поднялась, говорит {SECRET}."),
    )
}

/// What is asked for before the order comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    /// Somebody asks for what nobody has read yet.
    First,
    /// The copy may be used after asking only.
    Validation,
    /// Nobody asks; the saved copy is kept young.
    Keepers,
}

fn plan_of(origin: &Origin) -> Plan {
    let mut plan = plan(origin.address);
    // What one task does without waiting is done before the next answer.
    plan.shards = 1;
    plan.saved_bytes_max = 256 * 1024 * 1024;
    plan.disk_cache_bytes_max = 64 * 1024 * 1024;
    plan.sites[0].profile = Profile::of(System::WordPress);
    plan.sites[0].origin.response_timeout = 3 * PATIENCE;
    plan
}

fn status(edge: &Edge, target: &str) -> u16 {
    Client::connect(edge).get(target).status
}

/// How many pages are found in the copies, once pages are searched there.
fn found(edge: &Edge, words: &str) -> Option<usize> {
    let answer = Client::connect(edge)
        .send(format!(
            "GET /?s={words} HTTP/1.1\r\nHost: a.kz\r\nAccept: text/html\r\n\r\n"
        ))
        .answer()?;
    (answer.status == 200).then(|| answer.text().matches("<h2>").count())
}

fn is_nowhere(edge: &Edge, target: &str) {
    assert_eq!(status(edge, target), 502, "{target}");
    assert_eq!(
        status(edge, "/other"),
        200,
        "what was not forgotten is there"
    );
    // "Вода": of two pages that have it, the one that was not forgotten.
    until("the other page is found", || {
        found(edge, "%D0%B2%D0%BE%D0%B4%D0%B0") >= Some(1)
    });
    until("all pages are read", || found(edge, SECRET).is_some());
    assert_eq!(found(edge, SECRET), Some(0), "{target}");
}

#[test]
fn what_was_asked_for_before_a_page_was_forgotten_is_put_nowhere() {
    let not_modified = || page("304 Not Modified", "ETag: \"1\"\r\n", "");
    for (target, fetch, cache_control, answer) in [
        ("/story", Fetch::First, "max-age=60", story("max-age=60")),
        ("/style.css", Fetch::First, "max-age=60", style(SECRET)),
        ("/story", Fetch::Validation, "max-age=0", story("max-age=0")),
        ("/story", Fetch::Validation, "max-age=0", not_modified()),
        ("/story", Fetch::Keepers, "max-age=60", story("max-age=60")),
    ] {
        let case = format!("{target} {fetch:?}");
        let folder = Folder::new();
        let (arrived, arrives) = mpsc::sync_channel(1);
        let (say, said) = mpsc::sync_channel(1);
        let newsroom = Arc::new(Newsroom {
            dead: AtomicBool::new(false),
            held: Mutex::new((fetch == Fetch::First).then_some(target)),
            arrived,
            said: Mutex::new(said),
        });
        let origin = Origin::start({
            let newsroom = Arc::clone(&newsroom);
            move |asked, _| newsroom.answer(asked, cache_control)
        });
        let edge = Edge::start_in(plan_of(&origin), &folder.0).unwrap();
        assert_eq!(status(&edge, "/"), 200);
        until("the links of the front page are known", || {
            edge.settle();
            edge.stats().saved.known_addresses >= 3
        });
        assert_eq!(status(&edge, "/other"), 200);
        let what = What::path(target.as_bytes());
        if fetch != Fetch::First {
            assert_eq!(status(&edge, target), 200);
            until("it is kept", || {
                edge.settle();
                folder.holds(SECRET)
            });
            *newsroom.held.lock().unwrap() = Some(target);
        }

        let mut reader = Client::connect(&edge);
        if fetch == Fetch::Keepers {
            edge.purge(None, &what);
        } else {
            reader.send(format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n\r\n"));
        }
        arrives.recv_timeout(PATIENCE).unwrap();
        if fetch != Fetch::Keepers {
            // The keeper may have been first to ask, and the reader shares its fetch: he came before whoever is answered now.
            assert_eq!(status(&edge, "/other"), 200);
        }
        // From here on nobody gets it again, the keeper neither.
        newsroom.dead.store(true, Ordering::Relaxed);
        // As it was pasted: in another spelling, with what a messenger has added.
        let pasted = format!("/%73{}?utm_source=x", &target[2..]);
        edge.forget(None, &What::address(pasted.as_bytes()))
            .unwrap();
        assert!(!folder.holds(SECRET), "{case}");
        say.send(answer).unwrap();
        if fetch != Fetch::Keepers {
            assert_eq!(reader.answer().unwrap().status, 200, "who waits gets it");
        }
        until("the fetch has ended", || {
            edge.stats().sites[0].in_flight == 0
        });
        // And whatever that task has handed over with it.
        status(&edge, "/other");
        edge.settle();
        assert!(!folder.holds(SECRET), "{case}");
        is_nowhere(&edge, target);

        edge.stop(Duration::ZERO);
        assert!(!folder.holds(SECRET), "{case}");
        let edge = Edge::start_in(plan_of(&origin), &folder.0).unwrap();
        edge.settle();
        is_nowhere(&edge, target);
    }
}
