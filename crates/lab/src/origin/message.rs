//! As much of HTTP/1.1 as an origin behind a proxy meets.
//!
//! A few hundred lines instead of a library, because the origin must be able to misbehave on purpose (stop in the middle of a
//! body, close without a word, never answer) and must cost next to nothing beside the edge it is there to measure.

use std::io;
use std::time::Duration;

use flate2::Crc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Twice what Apache allows a whole head by default.
const HEAD_BYTES_MAX: usize = 128 * 1024;
const FIELDS_MAX: usize = 128;
/// A login or an article; larger bodies are counted, not kept.
const BODY_KEPT_BYTES_MAX: usize = 256 * 1024;
/// A chunk's size line with extensions nobody sends, or a trailer.
const LINE_BYTES_MAX: usize = 8 * 1024;
const TRAILERS_MAX: usize = 64;
/// Longest silence inside a request.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Read,
    /// HEAD: the answer has no body.
    Head,
    Post,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyLength {
    Bytes(u64),
    Chunked,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) http_1_1: bool,
    pub(super) keep_alive: bool,
    /// Lines joined by `; `, as HTTP/2 splits them.
    pub(super) cookie: String,
    pub(super) if_none_match: Option<String>,
    pub(super) if_modified_since: Option<String>,
    pub(super) websocket_key: Option<String>,
    expects_continue: bool,
    length: BodyLength,
}

#[derive(Debug, Default)]
pub(super) struct Body {
    /// The first [`BODY_KEPT_BYTES_MAX`] bytes.
    pub(super) kept: Vec<u8>,
    pub(super) bytes: u64,
    /// Of all bytes.
    pub(super) sum: Crc,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("closed by the peer")]
    Closed,
    #[error("not a request")]
    Malformed,
    #[error("silent for too long")]
    Silent,
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Read and not yet consumed.
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Cancel-safe until the first byte has arrived; the caller stops waiting only between requests.
    pub(super) async fn request(&mut self) -> Result<Request, Ended> {
        loop {
            if let Some((request, bytes)) = parse(&self.buffer)? {
                self.buffer.drain(..bytes);
                return Ok(request);
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(Ended::Malformed);
            }
            self.fill().await?;
        }
    }

    /// Says `100 Continue` first when the client waits for it.
    pub(super) async fn body(&mut self, request: &Request) -> Result<Body, Ended> {
        let mut body = Body::default();
        if request.expects_continue
            && self.buffer.is_empty()
            && request.length != BodyLength::Bytes(0)
        {
            self.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        match request.length {
            BodyLength::Bytes(bytes) => self.take(bytes, &mut body).await?,
            BodyLength::Chunked => loop {
                let line = self.line().await?;
                let digits = line
                    .split(|&byte| byte == b';')
                    .next()
                    .unwrap_or_default()
                    .trim_ascii();
                let size = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .ok_or(Ended::Malformed)?;
                if size == 0 {
                    for _ in 0..TRAILERS_MAX {
                        if self.line().await?.is_empty() {
                            return Ok(body);
                        }
                    }
                    return Err(Ended::Malformed);
                }
                self.take(size, &mut body).await?;
                if !self.line().await?.is_empty() {
                    return Err(Ended::Malformed);
                }
            },
        }
        Ok(body)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match timeout(READ_TIMEOUT, self.stream.write_all(bytes)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Ended::Silent),
        }
    }

    /// For protocols that are no longer HTTP: exactly `bytes` bytes.
    pub(super) async fn exactly(&mut self, bytes: usize) -> Result<Vec<u8>, Ended> {
        while self.buffer.len() < bytes {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    /// Resolves when the peer has closed or sent something.
    pub(super) async fn stirred(&self) {
        let mut byte = [0];
        self.stream
            .peek(&mut byte)
            .await
            .map(drop)
            .unwrap_or_default();
    }

    async fn take(&mut self, mut bytes: u64, body: &mut Body) -> Result<(), Ended> {
        body.bytes += bytes;
        while bytes > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let here = self
                .buffer
                .len()
                .min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let kept = here.min(BODY_KEPT_BYTES_MAX - body.kept.len());
            body.kept.extend_from_slice(&self.buffer[..kept]);
            body.sum.update(&self.buffer[..here]);
            self.buffer.drain(..here);
            bytes -= here as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<Vec<u8>, Ended> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let mut line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Ended::Malformed);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Ended> {
        match timeout(READ_TIMEOUT, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(Ended::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Ended::Silent),
        }
    }
}

/// The request and the length of its head; `None` when the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Ended> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Ended::Malformed),
    };
    let http_1_1 = head.version == Some(1);
    let mut request = Request {
        method: match head.method {
            Some("GET") => Method::Read,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => Method::Other,
        },
        target: head.path.unwrap_or_default().to_owned(),
        http_1_1,
        keep_alive: http_1_1,
        cookie: String::new(),
        if_none_match: None,
        if_modified_since: None,
        websocket_key: None,
        expects_continue: false,
        length: BodyLength::Bytes(0),
    };
    for field in head.headers.iter() {
        let value = String::from_utf8_lossy(field.value);
        let value = value.trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("cookie") {
            if !request.cookie.is_empty() {
                request.cookie.push_str("; ");
            }
            request.cookie.push_str(value);
        } else if is("if-none-match") {
            request.if_none_match = Some(value.to_owned());
        } else if is("if-modified-since") {
            request.if_modified_since = Some(value.to_owned());
        } else if is("content-length") {
            request.length = BodyLength::Bytes(value.parse().map_err(|_| Ended::Malformed)?);
        } else if is("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(Ended::Malformed);
            }
            request.length = BodyLength::Chunked;
        } else if is("connection") {
            let mut options = value.split(',').map(str::trim);
            if options
                .clone()
                .any(|option| option.eq_ignore_ascii_case("close"))
            {
                request.keep_alive = false;
            } else if options.any(|option| option.eq_ignore_ascii_case("keep-alive")) {
                request.keep_alive = true;
            }
        } else if is("expect") {
            request.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if is("sec-websocket-key") {
            request.websocket_key = Some(value.to_owned());
        }
    }
    Ok(Some((request, length)))
}

#[cfg(test)]
pub(super) fn parsed(text: &str) -> Request {
    parse(text.as_bytes()).unwrap().unwrap().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_understood() {
        let request = parsed(
            "POST /x?s=1 HTTP/1.1\r\nHost: a\r\ncookie: a=1\r\nCookie: b=2\r\nContent-Length: 7\r\nIF-NONE-MATCH: \"x\"\r\n\r\n",
        );
        assert_eq!(
            (
                request.method,
                request.target.as_str(),
                request.cookie.as_str()
            ),
            (Method::Post, "/x?s=1", "a=1; b=2")
        );
        assert_eq!(
            (request.length, request.keep_alive),
            (BodyLength::Bytes(7), true)
        );
        assert_eq!(request.if_none_match.as_deref(), Some("\"x\""));

        let table = [
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
            (
                "GET / HTTP/1.1\r\nConnection: Upgrade, Keep-Alive\r\n\r\n",
                true,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ];
        for (head, keep_alive) in table {
            assert_eq!(parsed(head).keep_alive, keep_alive, "{head}");
        }
        assert!(parse(b"GET / HTTP/1.1\r\nHost: a").unwrap().is_none());
        for malformed in [
            "\0\0\0\0 \r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert!(parse(malformed.as_bytes()).is_err(), "{malformed}");
        }
    }
}
