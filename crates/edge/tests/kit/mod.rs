//! Both ends of the edge, over real sockets: an origin that answers what a test tells it and writes down what it was asked,
//! and a client that sends bytes as they stand in the test.

#![allow(unreachable_pub, reason = "a module of each test program")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]
#![allow(dead_code, reason = "each test file uses its part of the kit")]

pub mod attack;
pub mod browser;
pub mod http2;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saqta_edge::Edge;
use saqta_edge::lanes::AppKeys;
use saqta_edge::plan::{
    ForwardClientAddress, Language, Limits, Mode, Networks, OriginPlan, Plan, PurgePlan, Resolver,
    Site,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    /// `answer` returns the bytes to send; the connection stays open unless they are empty.
    pub fn start(
        answer: impl Fn(&Asked, &mut TcpStream) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer = Arc::new(answer);
        let book = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                let book = Arc::clone(&book);
                std::thread::spawn(move || talk(stream, &*answer, &book));
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn talk(
    mut stream: TcpStream,
    answer: &dyn Fn(&Asked, &mut TcpStream) -> Vec<u8>,
    book: &Mutex<Vec<Asked>>,
) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = Vec::new();
    loop {
        let Some(head_len) = read_until(&mut stream, &mut buffer, b"\r\n\r\n") else {
            return;
        };
        let head = String::from_utf8_lossy(&buffer[..head_len]).into_owned();
        buffer.drain(..head_len);
        let mut asked = Asked {
            line: head.lines().next().unwrap_or("").to_owned(),
            head,
            body: Vec::new(),
        };
        if let Some(length) = asked
            .field("content-length")
            .and_then(|length| length.parse::<usize>().ok())
        {
            while buffer.len() < length {
                if !more(&mut stream, &mut buffer) {
                    return;
                }
            }
            asked.body = buffer.drain(..length).collect();
        } else if asked.field("transfer-encoding").is_some() {
            let Some(last) = read_until(&mut stream, &mut buffer, b"0\r\n") else {
                return;
            };
            // Trailers, if any, end like a head.
            let mut tail = buffer.split_off(last - 2);
            let Some(end) = read_until(&mut stream, &mut tail, b"\r\n\r\n") else {
                return;
            };
            buffer.extend_from_slice(&tail);
            let end = last - 2 + end;
            asked.body = buffer.drain(..end).collect();
        }
        book.lock().unwrap().push(asked.clone());
        let bytes = answer(&asked, &mut stream);
        if bytes.is_empty() || stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) | Err(_) => false,
        Ok(bytes) => {
            buffer.extend_from_slice(&chunk[..bytes]);
            true
        }
    }
}

fn read_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            return Some(at + mark.len());
        }
        if !more(stream, buffer) {
            return None;
        }
    }
}

/// A page with its length; fields as given, each ended by CRLF.
pub fn page(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn plan(origin: SocketAddr) -> Plan {
    Plan {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 2,
        sites: vec![Site {
            name: "newsroom".into(),
            hosts: vec!["a.kz".into()],
            origin: OriginPlan {
                authority: origin.to_string().parse().unwrap(),
                keep_host: true,
                connect_timeout: Duration::from_secs(2),
                response_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                concurrency_max: 64,
                health_path: None,
            },
            staff: Networks::default(),
            mode: Mode::Protect,
            language: Language::English,
            forward_client_address: ForwardClientAddress::Full,
            profile: saqta_edge::profile::Profile::default(),
            purge: PurgePlan::default(),
            saved: true,
            known_readers: true,
            app_keys: AppKeys::default(),
        }],
        any_host: None,
        refuse: Networks::default(),
        trust_forwarded: Networks::default(),
        limits: Limits::default(),
        cache_bytes_max: 32 * 1024 * 1024,
        disk_cache_bytes_max: 0,
        saved_bytes_max: 0,
        line_mbit: 1_000,
        bypass: false,
        registry: saqta_edge::registry::Registry::default(),
        lanes: Vec::new(),
        // Tests ask nobody outside.
        resolver: Resolver::Off,
        is_drill: false,
    }
}

/// From an address of its own.
pub fn connect_from(address: Ipv4Addr, edge: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&edge.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The part of Cache-Status that says hit or forward.
    pub fn cache(&self) -> String {
        self.field("cache-status").unwrap_or("").to_owned()
    }
}

impl Client {
    pub fn connect(edge: &Edge) -> Self {
        let stream = TcpStream::connect(edge.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::of(stream)
    }

    pub fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Errors are for the read that follows: the edge may have hung up already.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _hung_up = self.stream.write_all(bytes.as_ref());
        self
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n\r\n"))
            .answer()
            .expect("an answer")
    }

    /// `None`: the edge closed without one.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET")
    }

    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let head_len = read_until(&mut self.stream, &mut self.buffer, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.buffer[..head_len]).into_owned();
        self.buffer.drain(..head_len);
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        if method == "HEAD" || status == 304 || status == 204 || status < 200 {
            return Some(answer);
        }
        if let Some(length) = answer
            .field("content-length")
            .map(|length| length.parse::<usize>().unwrap())
        {
            while self.buffer.len() < length && more(&mut self.stream, &mut self.buffer) {}
            let length = length.min(self.buffer.len());
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.field("transfer-encoding").is_some() {
            loop {
                let line_len = read_until(&mut self.stream, &mut self.buffer, b"\r\n")?;
                let line = String::from_utf8_lossy(&self.buffer[..line_len - 2]).into_owned();
                self.buffer.drain(..line_len);
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                if size == 0 {
                    while read_until(&mut self.stream, &mut self.buffer, b"\r\n")? > 2 {
                        let line_len = read_until(&mut self.stream, &mut self.buffer, b"\r\n")?;
                        answer
                            .head
                            .push_str(&String::from_utf8_lossy(&self.buffer[..line_len]));
                        self.buffer.drain(..line_len);
                    }
                    self.buffer.drain(..2);
                    break;
                }
                while self.buffer.len() < size + 2 {
                    if !more(&mut self.stream, &mut self.buffer) {
                        return None;
                    }
                }
                answer.body.extend(self.buffer.drain(..size));
                self.buffer.drain(..2);
            }
        } else {
            while more(&mut self.stream, &mut self.buffer) {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    /// True when the edge has closed the connection and sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        let mut one = [0];
        match self.stream.read(&mut one) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }

    /// What has arrived so far and at least this many bytes more.
    pub fn bytes(&mut self, at_least: usize) -> Vec<u8> {
        while self.buffer.len() < at_least && more(&mut self.stream, &mut self.buffer) {}
        std::mem::take(&mut self.buffer)
    }
}

/// What is counted, learned and kept, other threads do.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Until a rule stands against all that calls itself so.
pub fn stand_a_rule(edge: &Edge, agent: &str) {
    edge.teach(0, attack::calm);
    let mut bots: Vec<Client> = (1..20)
        .map(|n| {
            let from = Ipv4Addr::new(127, 66, n, 1);
            Client::of(connect_from(from, edge.addresses()[0]))
        })
        .collect();
    let form = "log=admin&pwd=123456";
    let post = format!(
        "POST /wp-login.php HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {agent}\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    until("a rule stands", || {
        for bot in &mut bots {
            bot.send(&post).answer_to("POST").unwrap();
        }
        let detection = edge.stats().sites.swap_remove(0).detection;
        let has_rule = detection.incidents.iter().any(|one| !one.rules.is_empty());
        has_rule && detection.posture == "under attack"
    });
}
