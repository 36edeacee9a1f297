//! As much of an HTTP client as the judge needs: one request a connection, everything it says in sight.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than a page of a WordPress that has just been installed takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields(name).first().copied().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").contains("hit")
    }

    /// What was wrong, in a line.
    pub(crate) fn told(&self) -> String {
        format!(
            "{} ({}; of {}) {:.60}",
            self.status,
            self.field("cache-status"),
            self.field("date"),
            self.text().trim().replace('\n', " ")
        )
    }
}

/// A browser, or whatever else has cookies.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) to: SocketAddr,
    pub(crate) from: Ipv4Addr,
    pub(crate) cookies: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self {
            to,
            from: Ipv4Addr::new(127, 20, 0, 1),
            cookies: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, cookies: &str) -> Self {
        self.take(cookies);
        self
    }

    fn take(&mut self, pairs: &str) {
        for pair in pairs.split("; ") {
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, "", b"")
    }

    pub(crate) fn form(&mut self, target: &str, pairs: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        self.send(
            "POST",
            target,
            "Content-Type: application/x-www-form-urlencoded\r\n",
            body.join("&").as_bytes(),
        )
    }

    /// `fields`: whole lines. An answer that does not come is one with status 0.
    pub(crate) fn send(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/143.0\r\n\
             Accept: text/html,*/*;q=0.8\r\nConnection: close\r\n{fields}",
            super::HOST
        );
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        if !body.is_empty() || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        let answer =
            exchange(self.from, self.to, &[request.as_bytes(), body].concat()).unwrap_or_default();
        for line in answer.fields("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            self.take(pair);
        }
        answer
    }
}

fn exchange(from: Ipv4Addr, to: SocketAddr, request: &[u8]) -> Option<Answer> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    socket.connect_timeout(&to.into(), PATIENCE).ok()?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut answer = Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        body: bytes.split_off(end + 4),
        head,
    };
    if answer.field("transfer-encoding") == "chunked" {
        answer.body = unchunked(&answer.body)?;
    }
    Some(answer)
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
