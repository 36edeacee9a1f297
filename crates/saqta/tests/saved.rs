//! A newsroom's server dies, Saqta is started anew, and readers still get the newspaper: the program itself, as an operator runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

const FRONT: &str = "<!doctype html><html lang=ru><head><title>Газета</title><link rel=stylesheet href=/s.css></head>\
     <body><a href=/story/>Паводок</a><p>Главное за день.</p></body></html>";
const STORY: &str = "<!doctype html><html lang=ru><head><title>Паводок</title><link rel=stylesheet href=/s.css></head>\
     <body><p>Вода поднялась на метр.</p></body></html>";

/// A server that can be killed: its port is closed afterwards.
struct Newsroom {
    address: SocketAddr,
    dead: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Newsroom {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dead = Arc::new(AtomicBool::new(false));
        let killed = Arc::clone(&dead);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if killed.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::spawn(move || answer(stream));
            }
        });
        Self {
            address,
            dead,
            thread: Some(thread),
        }
    }

    fn kill(&mut self) {
        self.dead.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let target = head.split(' ').nth(1).unwrap();
    let (status, kind, body) = match target {
        "/" => ("200 OK", "text/html; charset=utf-8", FRONT),
        "/story/" => ("200 OK", "text/html; charset=utf-8", STORY),
        "/s.css" => ("200 OK", "text/css", "p{margin:1em}"),
        _ => ("404 Not Found", "text/plain", "nothing here"),
    };
    let _left = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nCache-Control: max-age=1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
        drop(fs::remove_file(self.0.with_extension("toml")));
        drop(fs::remove_dir(self.0.with_extension("disk")));
    }
}

struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(folder: &Folder, origin: SocketAddr) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_saqta")), folder, origin)
    }

    /// With its folder on a disk of its own, on which not a byte is left.
    fn start_on_a_full_disk(folder: &Folder, origin: SocketAddr) -> Self {
        let mut disk = Command::new("unshare");
        disk.args(["--user", "--map-root-user", "--mount", "sh", "-ec"])
            .arg(
                "data=$1; program=$2; shift 2
                 mkdir \"$data.disk\"; mount -t tmpfs -o size=16m,mode=700 saqta-test \"$data.disk\"
                 cp -a \"$data/.\" \"$data.disk\"; mount --bind \"$data.disk\" \"$data\"
                 ! cat /dev/zero > \"$data/fills-it\" 2> /dev/null
                 exec \"$program\" \"$@\"",
            )
            .arg("sh")
            .args([folder.0.as_os_str(), env!("CARGO_BIN_EXE_saqta").as_ref()]);
        Self::start_by(disk, folder, origin)
    }

    fn start_by(mut program: Command, folder: &Folder, origin: SocketAddr) -> Self {
        let settings = folder.0.with_extension("toml");
        // Without the cache's own disk, which would answer first while its copies are fresh.
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndisk_cache_gb = 0\nsaved_gb = 1\n[[site]]\nhosts = \"news.example\"\norigin = \"http://{origin}\"\n"
        );
        fs::write(&settings, text).unwrap();
        let mut child = program
            .args(["run", "-c"])
            .arg(&settings)
            .arg("--data")
            .arg(&folder.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let address = first.trim().strip_prefix("listening http://").unwrap();
        Self {
            child,
            address: address.parse().unwrap(),
        }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn said(folder: &Folder, arguments: &[&str]) -> String {
    told(folder, arguments).1
}

/// With the exit code.
fn told(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_saqta"))
        .args(arguments)
        .arg("--data")
        .arg(&folder.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// Copies are made behind readers' backs.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
    }
}

/// The disk is full, the server is dead, and Saqta has to start: the newspaper is there, so its readers get it.
#[test]
fn a_newspaper_is_read_from_a_full_disk() {
    let path = std::env::temp_dir().join(format!("saqta-full-disk-{}", std::process::id()));
    let folder = Folder(path);
    let mut newsroom = Newsroom::start();
    let running = Running::start(&folder, newsroom.address);
    until("the story is kept", || {
        running.get("/");
        running.get("/story/");
        said(&folder, &["status"]).contains("2 pages")
    });
    newsroom.kill();
    running.stop();
    let running = Running::start_on_a_full_disk(&folder, newsroom.address);
    until("the story is there", || {
        running.get("/story/").contains("Вода поднялась")
    });
    assert!(running.get("/nothing").starts_with("HTTP/1.1 502"));
    running.stop();
}

#[test]
fn a_newspaper_outlives_its_server_and_a_restart() {
    let path = std::env::temp_dir().join(format!("saqta-newspaper-{}", std::process::id()));
    let folder = Folder(path);
    let mut newsroom = Newsroom::start();
    let running = Running::start(&folder, newsroom.address);
    until("the story and its style sheet are kept", || {
        running.get("/");
        running.get("/story/");
        running.get("/s.css");
        let status = said(&folder, &["status"]);
        status.contains("2 pages, 1 files for them")
    });
    newsroom.kill();
    running.stop();

    let running = Running::start(&folder, newsroom.address);
    // The folder is listed while readers come.
    until("the front page is there", || {
        running.get("/").starts_with("HTTP/1.1 200")
    });
    let front = running.get("/");
    assert!(front.contains("Главное за день.") && front.contains("сохранённая копия"));
    assert!(
        front.contains("cache-status: saqta; hit; detail=saved"),
        "{front}"
    );
    let story = running.get("/story/");
    assert!(story.contains("Вода поднялась") && story.contains("(время Астаны)</time>"));
    assert!(running.get("/s.css").contains("p{margin:1em}"));
    assert!(running.get("/?s=word").starts_with("HTTP/1.1 50"));
    assert!(said(&folder, &["status"]).contains("shown "));

    // Withdrawn by the newsroom, with its server dead: every trace goes, and whoever has mistyped it is told.
    for (address, code, words) in [
        ("http://news.example/story", 1, "nothing was found"),
        ("http://news.example/sto%72y/?utm_source=x", 0, "on disk"),
        ("http://news.example/story/", 1, "nothing was found"),
        (
            "http://other.example/story/",
            2,
            "no site here has the host",
        ),
    ] {
        let (exited, forgotten) = told(&folder, &["purge", "--forget", address]);
        assert_eq!(exited, Some(code), "{address}: {forgotten}");
        assert!(forgotten.contains(words), "{address}: {forgotten}");
    }
    let (exited, _) = told(&folder, &["purge", "http://news.example/nothing"]);
    assert_eq!(exited, Some(0));
    assert!(running.get("/story/").starts_with("HTTP/1.1 50"));
    running.stop();
    let running = Running::start(&folder, newsroom.address);
    until("the front page is there", || {
        running.get("/").starts_with("HTTP/1.1 200")
    });
    assert!(running.get("/story/").starts_with("HTTP/1.1 50"));
}
