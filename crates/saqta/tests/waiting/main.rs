//! Who has to wait comes in, whatever he reads with: real browsers, text browsers, programs and feed readers, each stopped at its first
//! request and each asked at the end what it shows, as the newsroom is asked what it heard.
//!
//! What comes of it stands in `docs/clients.md`. Pictures of the browsers are left in `target/tmp/pictures`, for people to look at.

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
mod chromium;
mod firefox;
mod programs;
mod text;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use attack::{BROWSER, LIBRARY, calm_with, observe};
use rustix::process::{Pid, Signal, kill_process};
use saqta_detect::engine::Engine;
use saqta_edge::Edge;
use server::Folder;
use tokio::time::Instant;

/// What the browser's module needs of the one it was written for.
mod server {
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            static MADE: AtomicU32 = AtomicU32::new(0);
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("saqta-{name}-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

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

/// Between two looks: whoever looks without a pause takes the core that a browser needs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const HOST: &str = "news.example";
/// What the comments' form sends, as browsers write it: a line break, letters of Kazakh, a sign outside the first plane, markup.
const COMMENT: &str = "Сәлем, «Ақ жол»!\r\n<b>Шын ба?</b> 100% 😀 a=b&c";
/// In the newsroom's feed.
const HEADLINE: &str = "Паводок в Атырау";

/// Addresses that begin so are answered when the gate is open.
const HELD: &str = "/held/";

/// One who asked, and what he sent.
struct Asked {
    target: String,
    body: Vec<u8>,
}

/// Answers every address with its own name; says which were asked for.
struct Newsroom {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Newsroom {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            gate: Arc::default(),
        };
        let (book, gate) = (Arc::clone(&room.asked), Arc::clone(&room.gate));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, gate) = (Arc::clone(&book), Arc::clone(&gate));
                std::thread::spawn(move || answer(stream, &book, &gate));
            }
        });
        room
    }

    /// How often it was asked for this.
    fn times(&self, target: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| one.target == target).count()
    }

    fn open_the_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

fn answer(mut stream: TcpStream, book: &Mutex<Vec<Asked>>, gate: &(Mutex<bool>, Condvar)) {
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
        if reader.read_exact(&mut sent).is_err() {
            return;
        }
        let (fields, body) = shown(&target);
        let is_held = target.starts_with(HELD);
        book.lock().unwrap().push(Asked { target, body: sent });
        if is_held {
            let open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(open, |open| !*open).unwrap());
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Fields and body. What is called kept may be kept for ten minutes, what is called brief for a second, and nothing else at all.
fn shown(target: &str) -> (String, String) {
    let kept = match target {
        kept if kept.contains("kept") => "Cache-Control: max-age=600\r\n",
        brief if brief.contains("brief") => "Cache-Control: max-age=1\r\n",
        _ => "",
    };
    if target.ends_with(".xml") {
        let feed = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><rss version=\"2.0\"><channel><title>News</title><link>http://{HOST}/</link>\
             <description>News</description><item><title>{HEADLINE}</title><link>http://{HOST}/news/flood</link><guid>1</guid></item></channel></rss>"
        );
        return (format!("Content-Type: application/rss+xml\r\n{kept}"), feed);
    }
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
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>opened</title><meta property=\"og:title\" content=\"{HEADLINE}\"><h1>{target}</h1>{form}</html>"
    );
    (format!("Content-Type: text/html\r\n{kept}"), body)
}

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

/// Whom the rule hits that stands at the start.
#[derive(Debug, Clone, Copy)]
enum Hit {
    /// Who calls himself [`LIBRARY`].
    Agent,
    /// Whoever comes from 127.0.0.0/24, as the clients here do, each under his own name and with his own fields.
    Network,
}

impl Hit {
    /// Calm, and at its end guesses at passwords, until the rule stands.
    fn teach(self, engine: &mut Engine) {
        calm_with(engine, |engine, second, left_s| {
            for number in 0..if left_s > 20 { 0 } else { 20 } {
                let who = match self {
                    Self::Agent => (0x0b00_0000 + number % 5, LIBRARY),
                    Self::Network => (0x7f00_0001 + number % 5, BROWSER),
                };
                observe(engine, second, who, "/wp-login.php", true);
            }
        });
    }
}

/// By IPv4 and by IPv6, with no more than so many requests at the newsroom at once.
fn calm_edge(newsroom: &Newsroom, concurrency_max: usize) -> Edge {
    let settings = format!(
        "listen = [\"127.0.0.1:0\", \"[::1]:0\"]\n[[site]]\nhosts = [\"{HOST}\", \"127.0.0.1\"]\norigin = \"http://{}\"\nmode = \"protect\"\nconcurrency_max = {concurrency_max}\n",
        newsroom.address
    );
    let plan = saqta::settings::read(&settings, Path::new("saqta.toml")).unwrap();
    Edge::start(plan).unwrap()
}

fn edge(newsroom: &Newsroom, hit: Hit) -> Edge {
    let edge = calm_edge(newsroom, 64);
    attack(&edge, hit);
    edge
}

fn attack(edge: &Edge, hit: Hit) {
    edge.teach(0, |engine| hit.teach(engine));
    let detection = edge.stats().sites.swap_remove(0).detection;
    assert!(
        detection.incidents.iter().any(|one| !one.rules.is_empty()),
        "{hit:?}: {detection:?}"
    );
}

/// Looks until it is so, with a pause between.
fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_or(is_so, || what.to_owned());
}

/// ... and says what is so instead.
fn until_or(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", what());
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn after(wait: Duration) {
    let began = Instant::now();
    until("it is time", || began.elapsed() >= wait);
}

/// Where pictures are left.
fn pictures() -> PathBuf {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}

/// A command of Debian's, in a home of its own.
fn program(name: &str, home: &Folder) -> Command {
    let mut command = Command::new(name);
    command
        .env("HOME", &home.0)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    command
}

/// To its end.
fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo x test` installs it",
            command.get_program().display()
        )
    })
}

/// Ended by its id when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo x test` installs it",
                command.get_program().display()
            )
        });
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        let _its_end = self.0.wait();
    }
}
