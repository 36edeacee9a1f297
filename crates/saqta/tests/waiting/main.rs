//! The waiting page in a real browser: it opens by itself what was asked for, with scripts and without, on a phone and on a desk.
//!
//! Pictures of it are left in `target/tmp/pictures`, for people to look at.

#![allow(unreachable_pub, dead_code, reason = "modules of other tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

#[path = "../../../edge/tests/kit/attack.rs"]
mod attack;
#[path = "../wordpress/browser.rs"]
mod browser;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attack::{LIBRARY, calm_with, observe};
use saqta_detect::engine::Engine;
use saqta_edge::Edge;
use serde_json::json;
use tokio::time::Instant;

/// What the browser's module needs of the one it was written for.
mod server {
    use std::path::PathBuf;
    use std::process::Command;

    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            // A browser's helpers outlive it for a moment, and write.
            for _ in 0..100 {
                if std::fs::remove_dir_all(&self.0).is_ok() {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn run(command: &mut Command) {
        assert!(command.status().unwrap().success(), "{command:?}");
    }
}

/// Longer than any wait here.
const PATIENCE: Duration = Duration::from_secs(30);

const HOST: &str = "news.example";
/// Answers every address with its own name; says which were asked for.
fn newsroom() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let book = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&book);
            std::thread::spawn(move || answer(stream, &book));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, book: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        for field in lines.by_ref() {
            if field.is_ok_and(|field| field.is_empty()) {
                break;
            }
        }
        let body = format!(
            "<!doctype html><html lang=\"en\"><title>opened</title><h1>{target}</h1></html>"
        );
        book.lock().unwrap().push(target);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Calm, and at its end guesses at passwords, until a rule stands against [`LIBRARY`].
fn attacked(engine: &mut Engine) {
    calm_with(engine, |engine, second, left_s| {
        for number in 0..if left_s > 20 { 0 } else { 20 } {
            let source = 0x0b00_0000 + number % 5;
            observe(engine, second, (source, LIBRARY), "/wp-login.php", true);
        }
    });
}

fn edge(origin: SocketAddr) -> Edge {
    let settings = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"{HOST}\"]\norigin = \"http://{origin}\"\nmode = \"protect\"\n"
    );
    let plan = saqta::settings::read(&settings, Path::new("saqta.toml")).unwrap();
    let edge = Edge::start(plan).unwrap();
    edge.teach(0, attacked);
    edge
}

fn navigate(browser: &mut browser::Browser, target: &str) {
    let url = format!("http://{HOST}{target}");
    browser.ask("Page.navigate", json!({"url": url})).unwrap();
}

/// Looks until the newsroom's page is there. Events are not waited for: one page follows the other too fast.
fn opened(browser: &mut browser::Browser, target: &str) {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "{target}");
        // Between two pages there is none.
        let Ok(history) = browser.ask("Page.getNavigationHistory", json!({})) else {
            continue;
        };
        let here = history["currentIndex"].as_u64().unwrap() as usize;
        let entry = &history["entries"][here];
        if entry["title"] == "opened" && entry["url"] == format!("http://{HOST}{target}") {
            return;
        }
    }
}

#[test]
fn the_waiting_page_opens_what_was_asked_for() {
    let (origin, asked) = newsroom();
    let edge = edge(origin);
    let mut browser = browser::Browser::start(edge.addresses()[0]).unwrap();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    browser.ask("Network.enable", json!({})).unwrap();
    let times = |target: &String| {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|one| *one == target).count()
    };
    for (name, scripts, language, width) in [
        ("with-scripts", true, "en", 1280),
        ("on-a-phone", false, "kk", 390),
        ("on-a-desk", false, "ru", 1280),
    ] {
        let agent = json!({"userAgent": LIBRARY, "acceptLanguage": language});
        browser.ask("Network.setUserAgentOverride", agent).unwrap();
        browser
            .ask("Network.clearBrowserCookies", json!({}))
            .unwrap();
        let disabled = json!({"value": !scripts});
        browser
            .ask("Emulation.setScriptExecutionDisabled", disabled)
            .unwrap();
        let target = format!("/news/{name}");
        if scripts {
            // It is gone before it can be looked at.
            navigate(&mut browser, &target);
        } else {
            let page = browser.open(&target, width).unwrap();
            // It asks for no sheet of its own.
            assert!(page.fits && !page.has_style, "{name}");
            browser
                .picture(&pictures.join(format!("waiting-{name}.png")))
                .unwrap();
        }
        // By itself it becomes what was asked for, at the same address.
        opened(&mut browser, &target);
        assert_eq!(times(&target), 1, "{name}");
        let cookies = browser.ask("Network.getCookies", json!({})).unwrap();
        let names: Vec<_> = cookies["cookies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cookie| cookie["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"saqta-pass"), "{names:?}");
        // And the next page is there at once.
        let next = format!("/news/{name}-next");
        navigate(&mut browser, &next);
        opened(&mut browser, &next);
        assert_eq!(times(&next), 1, "{name}");
    }
}
