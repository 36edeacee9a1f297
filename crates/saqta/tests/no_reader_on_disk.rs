//! Nothing about a reader is ever written: not their address, cookie, browser, search or comment.
//!
//! A newsroom's disks are seized, its logs are asked for, its hoster is pressed. Who read what must not be there. So the program runs
//! as it does in earnest, readers with conspicuous data go through everything it can do and everything that can go wrong, and then
//! all it wrote is searched for each of them, in every form a program writes text in by accident: as it stands, escaped, percent-
//! encoded, in base64 at any offset, in hexadecimal, as an unsalted hash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kit::Folder;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use socket2::{Domain, Protocol, Socket, Type};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Readers' addresses. Nothing else on this machine uses their network.
const READER: Ipv4Addr = Ipv4Addr::new(127, 83, 19, 201);
const REFUSED_READER: Ipv4Addr = Ipv4Addr::new(127, 85, 77, 203);
/// A proxy that is believed when it says who asks.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 84, 6, 5);

/// What identifies a reader, and where the requests below carry it.
const PLANTS: &[(&str, &str)] = &[
    ("address", "127.83.19.201"),
    ("its network", "127.83.19"),
    ("address as a number", "2136150985"),
    ("address of who is refused", "127.85.77.203"),
    ("address behind the proxy", "198.51.100.77"),
    ("address of version 6", "2001:db8:5eca:7::77"),
    ("address a stranger claims", "203.0.113.88"),
    ("cookie", "qPnB2x7Lr0KcVw5TzY"),
    ("staff session", "aigerim|1893456000|Zt8kFq3mHs"),
    ("browser", "Shybyn/7.31 (Qarapaiym telefon)"),
    ("search", "жасырынқұпиядерек"),
    ("search in Latin", "zhasyryn-derek-izdeu"),
    ("path", "maqala-turaly-qupiya-9914"),
    ("referrer", "feed.qupiya-okyrman.example"),
    ("user", "okyrman-serik"),
    ("password", "Qulyp!4471-sandyq"),
    (
        "credentials",
        "b2t5cm1hbi1zZXJpazpRdWx5cCE0NDcxLXNhbmR5cQ==",
    ),
    ("comment", "Мен осында жазамын: Өскемен"),
    ("e-mail", "serik.okyrman@poshta.example"),
    ("host nobody serves", "qate-mekenjai.example"),
    ("method", "QUPIYA"),
    ("nonsense", "magynasyz-zhol-5512"),
    ("field name", "x-zhasyryn-belgi"),
    ("application's key", "qoldanba-kilti-84120977"),
    ("websocket key", "c2VyaWstd2Vic29ja2V0LWtpbHQ="),
    ("websocket message", "habarlama-veb-uyashyq"),
    ("over HTTP/2", "ekinshi-hattama-izi"),
    ("TLS name", "sni-okyrman.example"),
    ("upload", "zhukteme-mazmuny-3320"),
    ("in the origin's answer", "zhauap-ishindegi-esim"),
];

/// Of the front page, which is everybody's.
const PUBLIC_PAGE: &str = "<!doctype html><html><head><title>News</title></head><body><a href=/stored/a>ashyq-habar</a></body></html>";

/// The origin must have been asked with these, or the readers never came through.
const FORWARDED: &[&str] = &[
    "address",
    "address behind the proxy",
    "cookie",
    "browser",
    "search in Latin",
    "path",
    "referrer",
    "credentials",
    "websocket message",
    "over HTTP/2",
    "upload",
];

fn plant(name: &str) -> &'static str {
    PLANTS.iter().find(|(plant, _)| *plant == name).unwrap().1
}

// ---- Forms.

/// Everything is compared in lower case, so each form stands for its upper-case twin too. Short ones are left out where chance
/// could make them.
fn forms(plant: &str) -> Vec<(String, Vec<u8>)> {
    const BYTES_MIN: usize = 7;
    let bytes = plant.as_bytes();
    let mut forms = vec![
        ("as it stands".to_owned(), bytes.to_vec()),
        ("percent-encoded where needed".into(), percent(bytes, false)),
        ("percent-encoded".into(), percent(bytes, true)),
        (
            "plus for space".into(),
            percent(plant.replace(' ', "+").as_bytes(), false)
                .into_iter()
                .map(char::from)
                .collect::<String>()
                .replace("%2B", "+")
                .into(),
        ),
        (
            "bytes escaped".into(),
            bytes.escape_ascii().to_string().into(),
        ),
        ("debug".into(), plant.escape_debug().to_string().into()),
        (
            "unicode escaped".into(),
            plant.escape_unicode().to_string().into(),
        ),
        ("JSON escaped".into(), json(plant).into()),
        ("hexadecimal".into(), hex(bytes).into()),
        (
            "list of numbers".into(),
            format!("{bytes:?}").trim_matches(['[', ']']).into(),
        ),
        (
            "little-endian words".into(),
            plant.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "reversed".into(),
            plant.chars().rev().collect::<String>().into(),
        ),
    ];
    for offset in 0..3 {
        for (name, alphabet) in [("base64", BASE64), ("base64 for URLs", BASE64_URL)] {
            let form = base64_inside(bytes, offset, alphabet);
            forms.push((format!("{name} at {offset}"), form));
        }
    }
    for (name, hashed) in [
        ("as it is", plant.to_owned()),
        ("in lower case", plant.to_lowercase()),
        ("with a line's end", format!("{plant}\n")),
    ] {
        let digest: [u8; 32] = Sha256::digest(hashed.as_bytes()).into();
        // Cut short, as fingerprints are.
        let digest = &digest[..8];
        forms.push((format!("SHA-256 {name}, hexadecimal"), hex(digest).into()));
        forms.push((format!("SHA-256 {name}, raw"), digest.to_vec()));
        forms.push((
            format!("SHA-256 {name}, base64"),
            base64_inside(digest, 0, BASE64),
        ));
    }
    for (name, hash) in [
        ("FNV-1a", fnv1a(bytes)),
        ("std's SipHash without a key", siphash(plant)),
    ] {
        forms.push((
            format!("{name}, hexadecimal"),
            format!("{hash:016x}").into(),
        ));
        forms.push((format!("{name}, decimal"), hash.to_string().into()));
    }
    let mut distinct = BTreeMap::new();
    for (name, mut form) in forms {
        form.make_ascii_lowercase();
        if form.len() >= BYTES_MIN {
            distinct.entry(form).or_insert(name);
        }
    }
    distinct
        .into_iter()
        .map(|(form, name)| (name, form))
        .collect()
}

fn percent(bytes: &[u8], all: bool) -> Vec<u8> {
    let mut encoded = Vec::new();
    for byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        if unreserved && !all {
            encoded.push(*byte);
        } else {
            encoded.extend(format!("%{byte:02X}").bytes());
        }
    }
    encoded
}

fn json(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters that depend on nothing but `bytes` when they stand `offset` behind a group's begin.
fn base64_inside(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |at: usize| -> Option<u8> {
        let byte = (at / 8).checked_sub(offset)?;
        Some(bytes.get(byte)? >> (7 - at % 8) & 1)
    };
    let characters = (offset + bytes.len()) * 8 / 6;
    (0..characters)
        .filter_map(|character| {
            let mut value = 0;
            for at in character * 6..character * 6 + 6 {
                value = value << 1 | bit(at)?;
            }
            Some(alphabet[usize::from(value)])
        })
        .collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn siphash(text: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What of `plants` is in `written`, and how.
fn found(plants: &[(&str, &str)], written: &[u8]) -> Vec<String> {
    let written = written.to_ascii_lowercase();
    let mut found = Vec::new();
    for (name, plant) in plants {
        for (form, needle) in forms(plant) {
            if written.windows(needle.len()).any(|part| part == needle) {
                found.push(format!("{name}, {form}"));
            }
        }
    }
    found
}

#[test]
fn the_search_finds_what_is_planted() {
    for (name, plant) in PLANTS {
        let forms = forms(plant);
        assert!(forms.len() > 15, "{name}: {}", forms.len());
        for (form, needle) in forms {
            let mut written = b"2025-06-15T12:00:00Z  WARN 0x7f: ".to_vec();
            written.extend(needle.to_ascii_uppercase());
            written.extend(b" and so on\n");
            let said = format!("{name}, {form}");
            assert!(found(PLANTS, &written).contains(&said), "{said}");
        }
    }
}

/// Written down by other programs.
#[test]
fn the_search_knows_the_forms_others_write() {
    let plants = [("plant", "Құпия-7 okyrman")];
    for (form, written) in [
        ("as it stands", "Құпия-7 okyrman"),
        (
            "percent-encoded",
            "q=%D2%9A%D2%B1%D0%BF%D0%B8%D1%8F-7%20okyrman&x",
        ),
        (
            "percent-encoded",
            "q=%d2%9a%d2%b1%d0%bf%d0%b8%d1%8f-7%20okyrman",
        ),
        ("base64 at 0", "0prSsdC/0LjRjy03IG9reXJtYW4="),
        ("base64 at 1", "eNKa0rHQv9C40Y8tNyBva3lybWFu"),
        ("base64 at 2", "eHjSmtKx0L/QuNGPLTcgb2t5cm1hbg=="),
        ("hexadecimal", "d29ad2b1d0bfd0b8d18f2d37206f6b79726d616e"),
        ("hexadecimal", "D29AD2B1D0BFD0B8D18F2D37206F6B79726D616E"),
        ("JSON", r"\u049a\u04b1\u043f\u0438\u044f-7 okyrman"),
        (
            "bytes",
            r"\xd2\x9a\xd2\xb1\xd0\xbf\xd0\xb8\xd1\x8f-7 okyrman",
        ),
        (
            "SHA-256",
            "1ee1515faf8a1a56750fc2a52b84781eb20ca2458adae58776f662cd61fd516c",
        ),
    ] {
        assert_ne!(
            found(&plants, written.as_bytes()),
            Vec::<String>::new(),
            "{form}"
        );
    }
    assert_eq!(
        found(&plants, "Құпия-8 okyrman".as_bytes()),
        Vec::<String>::new()
    );
}

// ---- The origin.

/// All it was sent, heads and bodies.
type Book = Arc<Mutex<Vec<u8>>>;

fn origin() -> (SocketAddr, Book) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let book = Book::default();
    let noted = Arc::clone(&book);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&noted);
            std::thread::spawn(move || talk(&stream, &book));
        }
    });
    (address, book)
}

fn talk(stream: &TcpStream, book: &Book) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let from = head.len();
            if !matches!(reader.read_until(b'\n', &mut head), Ok(1..)) {
                return;
            }
            let line = String::from_utf8_lossy(&head[from..]).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let mut noted = book.lock().unwrap();
        noted.extend(&head);
        noted.extend(&body);
        drop(noted);
        let target = String::from_utf8_lossy(&head)
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned();
        if !answer(stream, &target, book) {
            return;
        }
    }
}

/// False: the connection ends here.
fn answer(mut stream: &TcpStream, target: &str, book: &Book) -> bool {
    let name = plant("in the origin's answer");
    let page = |status: &str, fields: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // A page that greets its reader by name.
    let greeting = format!("{name}: {target}");
    let said = match target.split(['?', '/']).nth(1).unwrap_or("") {
        "stored" => page("200 OK", "Cache-Control: public, max-age=60\r\n", &greeting),
        // What anybody may have: it lies in the data folder, and shows that this test would find it there.
        "" => page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: public, max-age=1\r\n",
            PUBLIC_PAGE,
        ),
        "wp-login.php" => page(
            "302 Found",
            &format!(
                "Location: /wp-admin/\r\nSet-Cookie: wordpress_logged_in_5f={}; path=/; HttpOnly\r\n",
                plant("staff session")
            ),
            "",
        ),
        "not-http" => format!("{name} {target} is no status line\r\n\r\n"),
        "odd-fields" => format!("HTTP/1.1 200 OK\r\n{name} without a colon\r\n\r\n"),
        "long-head" => format!(
            "HTTP/1.1 200 OK\r\nX-Reader: {}\r\n\r\n",
            name.repeat(8_000)
        ),
        "two-lengths" => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: {name}\r\n\r\n")
        }
        "cut-off" => format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9999\r\n\r\n{greeting}"
        ),
        "bad-chunk" => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{name}\r\n"),
        "error" => page("500 Internal Server Error", "", &greeting),
        "hang-up" => return false,
        "silent" => {
            // Until the edge has lost patience and hung up.
            let _ended = stream.read(&mut [0]);
            return false;
        }
        "socket" => {
            let _left = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
            let mut message = [0; 256];
            while let Ok(bytes @ 1..) = stream.read(&mut message) {
                book.lock().unwrap().extend(&message[..bytes]);
                let _left = stream.write_all(&message[..bytes]);
            }
            return false;
        }
        _ => page("200 OK", "Cache-Control: no-store\r\n", &greeting),
    };
    let keeps = [
        "not-http",
        "odd-fields",
        "two-lengths",
        "cut-off",
        "bad-chunk",
    ];
    stream.write_all(said.as_bytes()).is_ok() && !keeps.iter().any(|kind| target.contains(kind))
}

// ---- Readers.

fn connect_from(address: Ipv4Addr, edge: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&edge.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends and reads until the edge closes; the edge may well hang up before it has read everything.
fn say(address: Ipv4Addr, edge: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect_from(address, edge);
    let _hung_up = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Everything a browser says about its reader, and more.
fn reader_fields() -> String {
    format!(
        "User-Agent: {}\r\nCookie: sid={}; wordpress_logged_in_5f={}; email={}\r\nReferer: https://{}/{}?s={}\r\nAuthorization: Basic {}\r\nX-Forwarded-For: {}\r\nForwarded: for=\"[{}]\"\r\nX-Real-IP: {}\r\nSaqta-App: {}\r\n{}: {}\r\nConnection: close\r\n",
        plant("browser"),
        plant("cookie"),
        plant("staff session"),
        plant("e-mail"),
        plant("referrer"),
        plant("path"),
        plant("search in Latin"),
        plant("credentials"),
        plant("address a stranger claims"),
        plant("address of version 6"),
        plant("address a stranger claims"),
        plant("application's key"),
        plant("field name"),
        plant("nonsense"),
    )
}

fn get(host: &str, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\n{}\r\n",
        reader_fields()
    )
}

fn post(host: &str, target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{}\r\n{body}",
        body.len(),
        reader_fields()
    )
}

fn search() -> String {
    String::from_utf8(percent(plant("search").as_bytes(), false)).unwrap()
}

fn form() -> String {
    let encoded = |name| String::from_utf8(percent(plant(name).as_bytes(), false)).unwrap();
    format!(
        "log={}&pwd={}&comment={}&email={}&file={}",
        encoded("user"),
        encoded("password"),
        encoded("comment"),
        encoded("e-mail"),
        plant("upload")
    )
}

/// What one reader sends, whole, and what the status must be; 0 where the edge may hang up without one.
fn requests() -> Vec<(u16, Vec<u8>)> {
    let path = plant("path");
    let latin = plant("search in Latin");
    let kazakh = search();
    let nonsense = plant("nonsense");
    let text = |status: u16, text: String| (status, text.into_bytes());
    let bare = |line: &str, fields: &str| format!("{line}\r\nHost: live.example\r\n{fields}\r\n");
    let mut requests = vec![
        // All is well: a miss, a hit, a search in both scripts, a comment, a login, an upload.
        text(200, get("live.example", &format!("/stored/{path}"))),
        text(200, get("live.example", &format!("/stored/{path}"))),
        text(200, get("live.example", &format!("/?s={latin}"))),
        text(200, get("live.example", &format!("/?s={kazakh}&lang=kk"))),
        text(
            200,
            post("live.example", &format!("/comment/{path}"), &form()),
        ),
        text(302, post("live.example", "/wp-login.php", &form())),
        text(200, get("live.example", &format!("/wp-admin/?s={kazakh}"))),
        text(
            200,
            get("live.example", &format!("/stored/{path}?fbclid={latin}")).replace("GET", "HEAD"),
        ),
        // The origin misbehaves.
        text(0, get("live.example", &format!("/not-http/{latin}"))),
        text(0, get("live.example", &format!("/odd-fields/{latin}"))),
        text(0, get("live.example", &format!("/long-head/{latin}"))),
        text(0, get("live.example", &format!("/two-lengths/{latin}"))),
        text(0, get("live.example", &format!("/cut-off/{latin}"))),
        text(0, get("live.example", &format!("/bad-chunk/{latin}"))),
        text(500, get("live.example", &format!("/error/{latin}"))),
        // Somebody without a name searches where it fails: the copy answers.
        text(
            0,
            format!(
                "GET /error/{path}?s={latin} HTTP/1.1\r\nHost: live.example\r\nAccept: text/html\r\nUser-Agent: {}\r\nConnection: close\r\n\r\n",
                plant("browser")
            ),
        ),
        text(0, get("live.example", &format!("/hang-up/{latin}"))),
        text(
            0,
            post("live.example", &format!("/hang-up/{latin}"), &form()),
        ),
        // ... and the reader's browser is given back what he wrote.
        text(
            503,
            post("live.example", &format!("/hang-up/{latin}"), &form()).replacen(
                "\r\nContent-Type:",
                "\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nContent-Type:",
                1,
            ),
        ),
        text(504, get("live.example", &format!("/silent/{latin}"))),
        // There is no origin, again and again, until the edge stops asking.
        text(
            0,
            post("dead.example", &format!("/{path}?s={kazakh}"), &form()),
        ),
        // The reader misbehaves, or somebody between.
        text(0, get(plant("host nobody serves"), &format!("/{path}"))),
        text(
            400,
            bare(&format!("GET /{nonsense} HTTP/9.1"), &reader_fields()),
        ),
        text(400, bare(&format!("GET /{latin} {nonsense} HTTP/1.1"), "")),
        text(
            0,
            bare(
                &format!("{} /{latin} HTTP/1.1", plant("method")),
                &reader_fields(),
            ),
        ),
        text(
            400,
            bare(
                &format!("GET /{latin} HTTP/1.1"),
                &format!("{} : {nonsense}\r\n", plant("field name")),
            ),
        ),
        text(
            400,
            bare(
                &format!("GET /{latin} HTTP/1.1"),
                &format!("Host: {}\r\n", plant("host nobody serves")),
            ),
        ),
        text(
            400,
            bare(
                &format!("POST /{latin} HTTP/1.1"),
                &format!("Content-Length: {nonsense}\r\n"),
            ),
        ),
        text(
            0,
            bare(
                &format!("POST /{latin} HTTP/1.1"),
                &format!("Transfer-Encoding: {nonsense}\r\n"),
            ),
        ),
        text(
            400,
            bare(
                &format!("POST /{latin} HTTP/1.1"),
                &format!("Transfer-Encoding: chunked\r\n\r\n{nonsense}\r\n"),
            ),
        ),
        text(400, format!("{nonsense} {latin}\r\n\r\n")),
        text(
            0,
            format!(
                "PROXY TCP4 {} 127.0.0.1 4711 80\r\n{}",
                plant("address behind the proxy"),
                get("live.example", "/")
            ),
        ),
        text(
            0,
            format!("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}{}", plant("TLS name")),
        ),
        text(
            431,
            bare(
                &format!("GET /{latin} HTTP/1.1"),
                &format!("Cookie: {}\r\n", plant("cookie").repeat(400)),
            ),
        ),
        text(
            431,
            bare(
                &format!("GET /{latin} HTTP/1.1"),
                &format!("{}: 1\r\n", plant("field name")).repeat(60),
            ),
        ),
        text(
            413,
            bare(
                &format!("POST /{path} HTTP/1.1"),
                &format!(
                    "Content-Length: 99999999\r\nX-File: {}\r\n",
                    plant("upload")
                ),
            ),
        ),
        // A head and a body that never end.
        text(
            408,
            format!(
                "GET /?s={latin} HTTP/1.1\r\nHost: live.example\r\nCookie: sid={}\r\n",
                plant("cookie")
            ),
        ),
    ];
    for _ in 0..12 {
        requests.push(text(0, get("dead.example", &format!("/{path}?s={latin}"))));
    }
    requests
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block in which every field is spelt out.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(
                u8::try_from(text.len())
                    .ok()
                    .filter(|length| *length < 127)
                    .unwrap(),
            );
            block.extend(text.as_bytes());
        }
    }
    block
}

fn http2(edge: SocketAddr) {
    let trace = plant("over HTTP/2");
    let path = format!("/{}?s={trace}", plant("path"));
    let cookie = format!("sid={}; h={trace}", plant("cookie"));
    let good = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "live.example"),
        (":path", path.as_str()),
        ("user-agent", plant("browser")),
        ("cookie", cookie.as_str()),
    ];
    let smuggling = [good.as_slice(), &[("transfer-encoding", trace)]].concat();
    let twice = [good.as_slice(), &[(":path", trace)]].concat();
    let headers = |fields: &[(&str, &str)]| frame(1, 5, 1, &block(fields));
    let mut reset_storm = Vec::new();
    for stream in 0..60 {
        reset_storm.extend(frame(1, 5, 2 * stream + 1, &block(&good)));
        reset_storm.extend(frame(3, 0, 2 * stream + 1, &[0, 0, 0, 8]));
    }
    let go_away = frame(7, 0, 0, &[&[0; 8], trace.as_bytes()].concat());
    for rest in [
        [headers(&good), go_away.clone()].concat(),
        [headers(&smuggling), go_away.clone()].concat(),
        [headers(&twice), go_away.clone()].concat(),
        frame(1, 5, 1, trace.as_bytes()),
        frame(250, 0, 1, trace.as_bytes()),
        reset_storm,
        go_away,
        trace.as_bytes().to_vec(),
    ] {
        let mut stream = connect_from(READER, edge);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(rest);
        let _hung_up = stream.write_all(&bytes);
        // Everything it has to say until it closes, or until it has answered our side's end.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _reset = stream.read_to_end(&mut Vec::new());
    }
}

fn websocket(edge: SocketAddr) {
    let mut stream = connect_from(READER, edge);
    let message = plant("websocket message");
    let fields = reader_fields().replace("close", "Upgrade");
    let request = format!(
        "GET /socket/{} HTTP/1.1\r\nHost: live.example\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n{fields}\r\n",
        plant("path"),
        plant("websocket key"),
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = String::new();
    let mut chunk = [0; 1024];
    while !seen.contains("\r\n\r\n") {
        let bytes = stream.read(&mut chunk).unwrap();
        assert!(bytes > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..bytes]));
    }
    assert!(seen.starts_with("HTTP/1.1 101"), "{seen}");
    stream.write_all(message.as_bytes()).unwrap();
    while !seen.contains(message) {
        let bytes = stream.read(&mut chunk).unwrap();
        assert!(bytes > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..bytes]));
    }
}

/// Everybody before us holds a place for a second at most.
const ASKED_AGAIN_MAX: usize = 50;

/// All that one reader and the others do. Returns how many requests there were.
fn everything(edge: SocketAddr) -> usize {
    let requests = requests();
    let count = requests.len();
    std::thread::scope(|scope| {
        for (status, request) in requests {
            // Those that are told to wait do so beside each other.
            scope.spawn(move || {
                let mut answer = say(READER, edge, &request);
                if status != 0 {
                    // The waiting page asks again by itself, and so do we: the origin has few places and all come at once.
                    for _ in 0..ASKED_AGAIN_MAX {
                        if !answer.starts_with("HTTP/1.1 503") {
                            break;
                        }
                        answer = say(READER, edge, &request);
                    }
                    let line = String::from_utf8_lossy(&request)
                        .lines()
                        .next()
                        .unwrap()
                        .to_owned();
                    assert!(
                        answer.starts_with(&format!("HTTP/1.1 {status}")),
                        "{line}\n{answer}"
                    );
                }
            });
        }
    });
    let refused = say(REFUSED_READER, edge, get("live.example", "/").as_bytes());
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let behind = |address| {
        format!(
            "GET /{}?from=proxy HTTP/1.1\r\nHost: live.example\r\nX-Forwarded-For: {address}\r\nUser-Agent: {}\r\nConnection: close\r\n\r\n",
            plant("path"),
            plant("browser")
        )
    };
    for name in [
        "address behind the proxy",
        "address of version 6",
        "nonsense",
    ] {
        say(PROXY, edge, behind(plant(name)).as_bytes());
    }
    let refused = say(
        PROXY,
        edge,
        behind(plant("address of who is refused")).as_bytes(),
    );
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    websocket(edge);
    http2(edge);
    // More connections than one address may have, each with half a request that nobody ends.
    let held: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect_from(READER, edge);
            let _hung_up = stream.write_all(
                format!(
                    "GET /?s={} HTTP/1.1\r\nCookie: {}",
                    search(),
                    plant("cookie")
                )
                .as_bytes(),
            );
            stream
        })
        .collect();
    count + held.len()
}

// ---- The program.

impl Folder {
    fn saqta(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_saqta"));
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.0)
            // Whatever could be asked to say more is; whatever likes to write elsewhere writes here.
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("HOME", &self.0)
            .env("TMPDIR", &self.0)
            .env("XDG_STATE_HOME", &self.0)
            .env_remove("JOURNAL_STREAM");
        command
    }

    /// Both outputs of a command that ends.
    fn say(&self, arguments: &str) -> Vec<u8> {
        let output = self.saqta(arguments).output().unwrap();
        [output.stdout, output.stderr].concat()
    }

    /// Every file below, with its name.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    files.push((entry.path(), fs::read(entry.path()).unwrap()));
                } else {
                    files.push((entry.path(), Vec::new()));
                }
            }
        }
        files
    }
}

struct Running {
    child: Child,
    address: SocketAddr,
    /// Its standard output into a file, until it ends.
    copying: Option<JoinHandle<()>>,
}

impl Running {
    /// What it says goes to files in its folder, as a service's may.
    fn start(folder: &Folder) -> Self {
        let mut child = folder
            .saqta("run -c newsroom.toml --data data")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.0.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let address = first
            .strip_prefix("listening http://")
            .unwrap_or_else(|| panic!("{first}"));
        let address = address.trim_end().parse().unwrap();
        let mut file = fs::File::create(folder.0.join("stdout")).unwrap();
        file.write_all(first.as_bytes()).unwrap();
        let copying = std::thread::spawn(move || {
            std::io::copy(&mut stdout, &mut file).unwrap();
        });
        Self {
            child,
            address,
            copying: Some(copying),
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Files it has open.
    fn open_files(&self) -> Vec<PathBuf> {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.child.id()));
        fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|path| path.is_absolute() && path.is_file())
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn settings(live: SocketAddr, dead: SocketAddr, more: &str) -> String {
    let [refused, proxy] = [REFUSED_READER, PROXY].map(|address| {
        let [a, b, ..] = address.octets();
        format!("{a}.{b}.0.0/16")
    });
    format!(
        "listen = \"127.0.0.1:0\"\nshards = 2\nrefuse = \"{refused}\"\ntrust_forwarded = \"{proxy}\"\ncache_mb = 8\n
[limits]\nconnections_per_address_max = 70\nheader_bytes_max = 4096\nheader_fields_max = 40\nheader_timeout = \"1s\"\nbody_mb_max = 1\n
[[site]]\nhosts = \"live.example\"\norigin = \"http://{live}\"\nresponse_timeout = \"1s\"\nidle_timeout = \"1s\"\nmode = \"protect\"\napp_keys = \"basqa-kilt-1234567890\"\n{more}
[[site]]\nhosts = \"dead.example\"\norigin = \"http://{dead}\"\nhealth_path = \"/robots.txt\"\n"
    )
}

fn contains(all: &[u8], part: &str) -> bool {
    all.windows(part.len())
        .any(|window| window == part.as_bytes())
}

#[test]
fn nothing_about_a_reader_is_written() {
    let folder = Folder::new();
    let (live, book) = origin();
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let file = folder.0.join("newsroom.toml");
    fs::write(&file, settings(live, dead, "")).unwrap();
    let mut running = Running::start(&folder);

    let mut said: Vec<(String, Vec<u8>)> = Vec::new();
    let mut command = |arguments: &str| {
        let output = folder.say(&format!("{arguments} --data data"));
        said.push((arguments.to_owned(), output));
    };
    let mut requests = everything(running.address);
    command("status");
    command("status --json");
    // Other settings while they read, a file with a mistake, and out of the way.
    fs::write(
        &file,
        settings(
            live,
            dead,
            "concurrency_max = 1\nforward_client_address = \"prefix\"\n",
        ),
    )
    .unwrap();
    command("reload");
    requests += everything(running.address);
    fs::write(&file, "listen = 5").unwrap();
    command("reload");
    running.signal(Signal::HUP);
    command("bypass on");
    requests += everything(running.address);
    command("status --json");
    command("bypass off");
    let open_files = running.open_files();

    // It is told to end while a reader still waits.
    let mut last = connect_from(READER, running.address);
    let get = get("live.example", &format!("/silent/{}", plant("path")));
    last.write_all(get.as_bytes()).unwrap();
    command("status --json");
    running.signal(Signal::TERM);
    let _reset = last.read_to_end(&mut Vec::new());
    assert!(running.child.wait().unwrap().success());
    running.copying.take().unwrap().join().unwrap();

    for name in FORWARDED {
        assert!(
            contains(&book.lock().unwrap(), plant(name)),
            "the origin was not asked with: {name}"
        );
    }
    let mut written: Vec<(String, Vec<u8>)> = folder
        .files()
        .into_iter()
        .map(|(path, bytes)| (path.display().to_string(), bytes))
        .collect();
    let names = written
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    written.push(("the names of the files".into(), names.clone().into_bytes()));
    written.append(&mut said);
    // It does speak, of itself.
    let stderr = fs::read(folder.0.join("stderr")).unwrap();
    for part in ["is served from", "not reloaded", "bypass is on", "ended"] {
        assert!(
            contains(&stderr, part),
            "{}",
            String::from_utf8_lossy(&stderr)
        );
    }
    let status = &written
        .iter()
        .find(|(name, _)| name == "status --json")
        .unwrap()
        .1;
    assert!(
        contains(status, "\"client_faults\""),
        "{}",
        String::from_utf8_lossy(status)
    );

    let last = written
        .iter()
        .rfind(|(name, _)| name == "status --json")
        .unwrap();
    let last: serde_json::Value = serde_json::from_slice(&last.1).unwrap();
    assert!(last["edge"]["searched"].as_u64() > Some(0), "{last}");

    let bytes: usize = written.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{requests} requests; {bytes} bytes written in {} places:\n{names}",
        written.len()
    );
    // Copies are kept, or this would say nothing of them.
    for part in ["data/saved", "data/cache", "data/known"] {
        assert!(names.contains(part), "{part}");
    }
    let is_copy = |(name, bytes): &&(String, Vec<u8>)| {
        name.contains("data/saved/") && contains(bytes, "ashyq-habar")
    };
    assert!(written.iter().any(|file| is_copy(&file)));
    for (place, bytes) in &written {
        assert_eq!(
            found(PLANTS, bytes),
            Vec::<String>::new(),
            "{place}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
    // What was not in those folders would be open.
    let ours = |path: &Path| path.starts_with(&folder.0);
    assert!(open_files.iter().all(|path| ours(path)), "{open_files:?}");
}
