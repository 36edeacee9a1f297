//! The waiting page in a real browser: it opens by itself what was asked for, with scripts and without, on a phone and on a desk; and
//! a comment that had to wait arrives once, as it was written.
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

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attack::{BROWSER, LIBRARY, calm_with, observe};
use saqta_detect::engine::Engine;
use saqta_edge::Edge;
use saqta_edge::body::Body;
use saqta_edge::pages::{Asker, Format, Held, Page, Pages};
use saqta_edge::plan::Language;
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

/// What is asked of whoever only waits, and a second more for clocks that show whole ones.
const TICKET_WAIT: Duration = Duration::from_secs(6);

/// Longer than any wait here.
const PATIENCE: Duration = Duration::from_secs(30);

const HOST: &str = "news.example";
/// What the comments' form sends, as browsers write it: a line break, letters of Kazakh, a sign outside the first plane, markup.
const COMMENT: &str = "Сәлем, «Ақ жол»!\r\n<b>Шын ба?</b> 100% 😀 a=b&c";

/// One who asked, and what he sent.
struct Asked {
    target: String,
    body: Vec<u8>,
}

/// Answers every address with its own name; says which were asked for.
fn newsroom() -> (SocketAddr, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let book = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&book);
            std::thread::spawn(move || answer(stream, &book));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, book: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut lines = reader.by_ref().lines().map_while(Result::ok);
        let Some(line) = lines.next() else { return };
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let fields: Vec<String> = lines.take_while(|field| !field.is_empty()).collect();
        let length = fields.iter().find_map(|field| {
            let (name, value) = field.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        });
        let mut sent = vec![0; length.unwrap_or_default()];
        reader.read_exact(&mut sent).unwrap();
        let form = if target.contains("with-a-form") {
            // A field takes what its markup says, so that nothing has to be typed.
            let comment = COMMENT
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace("\r\n", "&#10;");
            format!(
                "<form method=\"post\" action=\"/comment{}\"><textarea name=\"comment\">{comment}</textarea><button>Send</button></form>",
                target.replace('/', "-")
            )
        } else {
            String::new()
        };
        let body = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>opened</title><h1>{target}</h1>{form}</html>"
        );
        book.lock().unwrap().push(Asked { target, body: sent });
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
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"{HOST}\", \"127.0.0.1\"]\norigin = \"http://{origin}\"\nmode = \"protect\"\n"
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
    let mut last = json!(null);
    loop {
        assert!(began.elapsed() < PATIENCE, "{target}: {last}");
        // Between two pages there is none.
        let Ok(history) = browser.ask("Page.getNavigationHistory", json!({})) else {
            continue;
        };
        let here = history["currentIndex"].as_u64().unwrap() as usize;
        let entry = &history["entries"][here];
        if entry["title"] == "opened" && entry["url"] == format!("http://{HOST}{target}") {
            return;
        }
        last = history;
    }
}

/// Scripts or none, language, and how wide its window is.
const BROWSERS: [(&str, bool, &str, u32); 3] = [
    ("with-scripts", true, "en", 1280),
    ("on-a-phone", false, "kk", 390),
    ("on-a-desk", false, "ru", 1280),
];

/// As a form sends it.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// As if it were new.
fn dress(browser: &mut browser::Browser, agent: &str, scripts: bool, language: &str) {
    let agent = json!({"userAgent": agent, "acceptLanguage": language});
    browser.ask("Network.setUserAgentOverride", agent).unwrap();
    browser
        .ask("Network.clearBrowserCookies", json!({}))
        .unwrap();
    let disabled = json!({"value": !scripts});
    browser
        .ask("Emulation.setScriptExecutionDisabled", disabled)
        .unwrap();
}

fn pictures() -> PathBuf {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}

fn press_button(browser: &mut browser::Browser) {
    let press = json!({"expression": "document.querySelector('button').click()"});
    browser.ask("Runtime.evaluate", press).unwrap();
}

/// Browsers of one process share a folder.
static BROWSING: Mutex<()> = Mutex::new(());

#[test]
fn a_comment_that_has_to_wait_arrives_once() {
    let _alone = BROWSING.lock().unwrap_or_else(PoisonError::into_inner);
    let (origin, asked) = newsroom();
    let edge = edge(origin);
    let mut browser = browser::Browser::start(edge.addresses()[0]).unwrap();
    browser.ask("Network.enable", json!({})).unwrap();
    for (name, scripts, language, width) in BROWSERS {
        dress(&mut browser, BROWSER, scripts, language);
        let page = format!("/with-a-form/{name}");
        browser.open(&page, width).unwrap();
        // From now on a rule hits.
        dress(&mut browser, LIBRARY, scripts, language);
        press_button(&mut browser);
        let target = format!("/comment{}", page.replace('/', "-"));
        if !scripts {
            browser
                .hear(|message| message["method"] == "Page.loadEventFired")
                .unwrap();
            browser
                .picture(&pictures().join(format!("held-{name}.png")))
                .unwrap();
            // Whoever presses at once is given the page again and loses nothing.
            press_button(&mut browser);
            browser
                .hear(|message| message["method"] == "Page.loadEventFired")
                .unwrap();
            let began = Instant::now();
            while began.elapsed() < TICKET_WAIT {
                std::thread::yield_now();
            }
            press_button(&mut browser);
        }
        opened(&mut browser, &target);
        let asked = asked.lock().unwrap();
        let sent: Vec<&Asked> = asked.iter().filter(|one| one.target == target).collect();
        let [sent] = sent.as_slice() else {
            panic!("{name}: {} times", sent.len())
        };
        let body = String::from_utf8_lossy(&sent.body);
        assert_eq!(body, format!("comment={}", encoded(COMMENT)), "{name}");
    }
}

/// Without scripts, pictures or a reload of their own: the page is left and asked for again.
#[test]
fn text_browsers_come_in() {
    let (origin, asked) = newsroom();
    let edge = edge(origin);
    let folder =
        server::Folder(std::env::temp_dir().join(format!("saqta-text-{}", std::process::id())));
    std::fs::create_dir(&folder.0).unwrap();
    let jar = folder.0.join("cookies");
    let jar = jar.to_str().unwrap();
    let kept = folder.0.join("lynx.cfg");
    std::fs::write(
        &kept,
        "INCLUDE:/etc/lynx/lynx.cfg\nPERSISTENT_COOKIES:TRUE\n",
    )
    .unwrap();
    let kept = format!("-cfg={}", kept.display());
    let (agent, to, keeps) = (
        format!("-useragent={LIBRARY}"),
        format!("user_agent={LIBRARY}"),
        [
            format!("-cookie_file={jar}"),
            format!("-cookie_save_file={jar}"),
        ],
    );
    let table: [(&str, Vec<&str>); 2] = [
        (
            "lynx",
            vec![
                "-dump",
                &kept,
                "-accept_all_cookies",
                &keeps[0],
                &keeps[1],
                &agent,
            ],
        ),
        (
            "w3m",
            vec![
                "-dump",
                "-o",
                "use_cookie=1",
                "-o",
                "accept_cookie=1",
                "-o",
                &to,
            ],
        ),
    ];
    for (program, options) in table {
        let target = format!("/news/{program}");
        let url = format!("http://{}{target}", edge.addresses()[0]);
        let look = || {
            let output = Command::new(program)
                .args(&options)
                .arg(&url)
                .env("HOME", &folder.0)
                .env("LANG", "C.UTF-8")
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let times = || {
            let asked = asked.lock().unwrap();
            asked.iter().filter(|one| one.target == target).count()
        };
        let first = look();
        assert_eq!(times(), 0, "{program}");
        // It says what is so and where to go on.
        assert!(
            first.contains("Your page will open shortly"),
            "{program}: {first}"
        );
        assert!(first.contains("Try again"), "{program}: {first}");
        let began = Instant::now();
        while began.elapsed() < TICKET_WAIT {
            std::thread::yield_now();
        }
        let second = look();
        assert!(!second.contains("Try again"), "{program}: {second}");
        assert!(second.contains(&target), "{program}: {second}");
        assert_eq!(times(), 1, "{program}");
    }
}

/// Judges every page of ours, light and dark, as axe-core does for whoever reads by ear, by keyboard or in large print.
#[test]
fn no_page_of_ours_shuts_anybody_out() {
    const TOOL: &str = "SAQTA_AXE";
    let _alone = BROWSING.lock().unwrap_or_else(PoisonError::into_inner);
    let axe = std::env::var_os(TOOL).unwrap_or_else(|| {
        panic!("run `cargo x test`, which installs axe-core, or set {TOOL} to the path of its axe.min.js")
    });
    let axe = std::fs::read_to_string(axe).unwrap();
    let (origin, _) = newsroom();
    let edge = edge(origin);
    let mut browser = browser::Browser::start(edge.addresses()[0]).unwrap();
    let pages = Pages::new();
    let mut all = Vec::new();
    for language in [Language::Kazakh, Language::Russian, Language::English] {
        let asker = Asker {
            language,
            format: Format::Html,
            packed: false,
        };
        // Waiting pages differ in a number alone.
        let others =
            |page: &Page| !matches!(page, Page::Waiting { reload_secs } if *reload_secs > 5);
        for page in Page::all().filter(others) {
            let body = pages.page(page, asker).body();
            let text = String::from_utf8(body.to_vec()).unwrap();
            all.push((format!("{page:?} {language:?}"), text));
        }
        for held in Held::KINDS {
            let Body::Full(Some(body)) = pages.held(held, "form", asker).into_body() else {
                panic!("no page")
            };
            let text = String::from_utf8(body.to_vec()).unwrap();
            all.push((format!("{held:?} {language:?}"), text));
        }
    }
    // What has no name is found, or the judge is asleep.
    all.push((
        "bad".to_owned(),
        "<html><button></button></html>".to_owned(),
    ));
    let frames = browser.ask("Page.getFrameTree", json!({})).unwrap();
    let frame = frames["frameTree"]["frame"]["id"].clone();
    for scheme in ["light", "dark"] {
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.ask("Emulation.setEmulatedMedia", scheme).unwrap();
        for (name, text) in &all {
            // Their scripts and reloads lead away from what is looked at. A reload is the purpose of the page that has it: there is
            // nothing yet to read (WCAG 2.2.1, essential).
            let (before, rest) = text.split_once("<script>").unwrap_or((text, ""));
            let after = rest.split_once("</script>").map_or("", |(_, after)| after);
            let text = format!("{before}{after}")
                .replace("http-equiv=\"refresh\"", "name=\"was-refresh\"");
            let content = json!({"frameId": frame, "html": text});
            browser.ask("Page.setDocumentContent", content).unwrap();
            let judge = json!({"awaitPromise": true, "returnByValue": true, "expression": format!(
                "window.axe || (() => {{ {axe} }})(); axe.run().then((found) => [found.passes.length, ...found.violations.map((one) => `${{one.id}}: ${{one.help}}`)])"
            )});
            let judged = browser.ask("Runtime.evaluate", judge).unwrap();
            let found = judged["result"]["value"].as_array().unwrap();
            if name == "bad" {
                assert!(found.len() > 1, "{judged}");
            } else {
                assert!(found[0].as_u64().unwrap() > 5, "{name}: {judged}");
                assert_eq!(found.len(), 1, "{name}: {judged}");
            }
        }
    }
}

#[test]
fn the_waiting_page_opens_what_was_asked_for() {
    let _alone = BROWSING.lock().unwrap_or_else(PoisonError::into_inner);
    let (origin, asked) = newsroom();
    let edge = edge(origin);
    let mut browser = browser::Browser::start(edge.addresses()[0]).unwrap();
    browser.ask("Network.enable", json!({})).unwrap();
    let times = |target: &str| {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|one| one.target == target).count()
    };
    for (name, scripts, language, width) in BROWSERS {
        dress(&mut browser, LIBRARY, scripts, language);
        let target = format!("/news/{name}");
        if scripts {
            // It is gone before it can be looked at.
            navigate(&mut browser, &target);
        } else {
            let page = browser.open(&target, width).unwrap();
            // It asks for no sheet of its own.
            assert!(page.fits && !page.has_style, "{name}");
            browser
                .picture(&pictures().join(format!("waiting-{name}.png")))
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
