//! As much of an HTTP/1.1 answer as judging it needs, from whatever pieces it comes in.

use std::mem::MaybeUninit;

/// Of an answer's head; nginx and Apache send a tenth.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Of a body that is kept to be judged; the newsroom's largest page has a twentieth. Longer ones are counted to their end.
pub(super) const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Of fields in a head.
const FIELDS_MAX: usize = 64;

/// Who says they answered, as far as the head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheStatus {
    /// No `Cache-Status`.
    #[default]
    Silent,
    Hit,
    /// Sent on to the origin for this request.
    Forwarded,
    /// Waited for another request's answer.
    Collapsed,
    /// Neither found nor sent on.
    Other,
}

/// What the edge's own pages say of themselves in `Saqta-Answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnAnswer {
    #[default]
    None,
    Waiting,
    Challenge,
    /// Results of a search, found by the shield itself.
    Search,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    #[default]
    Identity,
    Gzip,
    Brotli,
    Zstd,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Of HTTP/2, which of a connection's requests it answers; 0 over HTTP/1.1.
    pub stream: u32,
    /// Of HTTP/2: the server took the request back, and nothing else above is true.
    pub is_reset: bool,
    pub keep_alive: bool,
    pub cache: CacheStatus,
    pub own: OwnAnswer,
    pub retry_after_s: Option<u32>,
    /// The edge says that a rule hit the request.
    pub is_hit: bool,
    pub encoding: Encoding,
    /// `name=value` of each `Set-Cookie`, joined as a `Cookie` field wants them. Of kept answers only.
    pub cookies: String,
    /// Where a redirection leads. Of kept answers only.
    pub location: String,
    /// Of kept answers only.
    pub body: Vec<u8>,
    /// As they came over the wire, framing aside.
    pub body_bytes: u64,
}

impl Answer {
    fn clear(&mut self) {
        let mut kept = Self {
            body: std::mem::take(&mut self.body),
            cookies: std::mem::take(&mut self.cookies),
            location: std::mem::take(&mut self.location),
            ..Self::default()
        };
        kept.body.clear();
        kept.cookies.clear();
        kept.location.clear();
        *self = kept;
    }
}

/// Reads the answers of one connection, one after the other.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// Keep bodies and cookies, to be judged.
    pub(super) keeps: bool,
    /// A request is out and its answer is not complete.
    waiting: bool,
    /// The answer to a HEAD has no body whatever it says.
    head_only: bool,
    state: State,
    /// The part of a head that came without its end.
    head: Vec<u8>,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Head,
    Counted {
        left: u64,
    },
    ChunkSize {
        size: u64,
        digits: u8,
        in_extension: bool,
    },
    Chunk {
        left: u64,
    },
    /// The line break after a chunk.
    ChunkEnd,
    /// Trailer fields, up to an empty line.
    Trailers {
        line_empty: bool,
    },
    UntilClose,
}

/// What a stretch of bytes amounted to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    More,
    Answer,
    Broken,
}

impl Parser {
    /// A request goes out.
    pub(super) fn expect(&mut self, head_only: bool) {
        self.waiting = true;
        self.head_only = head_only;
        self.state = State::Head;
        self.head.clear();
        self.answer.clear();
    }

    /// Some of the answer has come, not all.
    pub(super) fn is_answering(&self) -> bool {
        self.waiting && (self.state != State::Head || !self.head.is_empty())
    }

    /// The server has closed. `true`: that completed an answer.
    pub(super) fn close(&mut self) -> bool {
        let complete = self.waiting && self.state == State::UntilClose;
        if complete {
            self.finish();
        }
        complete
    }

    /// For another connection.
    pub(super) fn clear(&mut self) {
        self.finish();
        self.answer.clear();
    }

    pub(super) fn capacity(&self) -> usize {
        self.head.capacity() + self.answer.body.capacity()
    }

    fn finish(&mut self) {
        self.waiting = false;
        self.state = State::Head;
        self.head.clear();
    }

    pub(super) fn parse(&mut self, mut bytes: &[u8]) -> Parsed {
        if !self.waiting {
            // An answer nobody asked for, a 408 before a close mostly.
            return Parsed::Broken;
        }
        if self.state == State::Head {
            if self.head.is_empty() {
                match self.parse_head(bytes) {
                    Ok(Some(used)) => bytes = &bytes[used..],
                    Ok(None) => {
                        self.head.extend_from_slice(bytes);
                        return Parsed::More;
                    }
                    Err(NotHttp) => return Parsed::Broken,
                }
            } else {
                if self.head.len() + bytes.len() > 2 * HEAD_BYTES_MAX {
                    return Parsed::Broken;
                }
                let before = self.head.len();
                let mut head = std::mem::take(&mut self.head);
                head.extend_from_slice(bytes);
                let parsed = self.parse_head(&head);
                self.head = head;
                match parsed {
                    Ok(Some(used)) => {
                        self.head.clear();
                        // The head ended in the new bytes, or it would have been parsed before.
                        bytes = &bytes[used.saturating_sub(before).min(bytes.len())..];
                    }
                    Ok(None) if self.head.len() > HEAD_BYTES_MAX => return Parsed::Broken,
                    Ok(None) => return Parsed::More,
                    Err(NotHttp) => return Parsed::Broken,
                }
            }
        }
        self.parse_body(bytes)
    }

    /// How many bytes the head took, interim answers before it included.
    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, NotHttp> {
        let mut skipped = 0;
        loop {
            let mut fields = [MaybeUninit::<httparse::Header<'_>>::uninit(); FIELDS_MAX];
            let mut response = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                &bytes[skipped..],
                &mut fields,
            );
            let used = match parsed {
                Ok(httparse::Status::Complete(used)) => used,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err(NotHttp),
            };
            let status = response.code.ok_or(NotHttp)?;
            if (100..200).contains(&status) {
                if status == 101 {
                    return Err(NotHttp);
                }
                skipped += used;
                continue;
            }
            let keep = self.keeps;
            let answer = &mut self.answer;
            answer.status = status;
            answer.keep_alive = response.version == Some(1);
            let mut length = None;
            let mut chunked = false;
            for field in response.headers.iter() {
                read_field(answer, field, keep, &mut length, &mut chunked);
            }
            self.state = if self.head_only || matches!(status, 204 | 304) {
                State::Counted { left: 0 }
            } else if chunked {
                State::ChunkSize {
                    size: 0,
                    digits: 0,
                    in_extension: false,
                }
            } else if let Some(left) = length {
                State::Counted { left: left? }
            } else {
                answer.keep_alive = false;
                State::UntilClose
            };
            return Ok(Some(skipped + used));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.answer.body_bytes += bytes.len() as u64;
        if self.keeps && self.answer.body.len() + bytes.len() <= KEPT_BYTES_MAX {
            self.answer.body.extend_from_slice(bytes);
        }
    }

    fn parse_body(&mut self, mut bytes: &[u8]) -> Parsed {
        loop {
            match self.state {
                State::Counted { left } => {
                    let take = left.min(bytes.len() as u64);
                    self.keep(&bytes[..take as usize]);
                    if take < left {
                        self.state = State::Counted { left: left - take };
                        return Parsed::More;
                    }
                    bytes = &bytes[take as usize..];
                    break;
                }
                State::ChunkSize {
                    size,
                    digits,
                    in_extension,
                } => {
                    let Some((&byte, rest)) = bytes.split_first() else {
                        return Parsed::More;
                    };
                    bytes = rest;
                    self.state = match (byte, char::from(byte).to_digit(16)) {
                        (b'\n', _) if digits == 0 => return Parsed::Broken,
                        (b'\n', _) if size == 0 => State::Trailers { line_empty: true },
                        (b'\n', _) => State::Chunk { left: size },
                        (_, Some(digit)) if !in_extension && digits < 12 => State::ChunkSize {
                            size: size << 4 | u64::from(digit),
                            digits: digits + 1,
                            in_extension,
                        },
                        (b';' | b'\r' | b' ' | b'\t', _) => State::ChunkSize {
                            size,
                            digits,
                            in_extension: true,
                        },
                        _ if in_extension => State::ChunkSize {
                            size,
                            digits,
                            in_extension,
                        },
                        _ => return Parsed::Broken,
                    };
                }
                State::Chunk { left } => {
                    let take = left.min(bytes.len() as u64);
                    self.keep(&bytes[..take as usize]);
                    if take < left {
                        self.state = State::Chunk { left: left - take };
                        return Parsed::More;
                    }
                    bytes = &bytes[take as usize..];
                    self.state = State::ChunkEnd;
                }
                State::ChunkEnd => {
                    let Some((&byte, rest)) = bytes.split_first() else {
                        return Parsed::More;
                    };
                    bytes = rest;
                    match byte {
                        b'\r' => {}
                        b'\n' => {
                            self.state = State::ChunkSize {
                                size: 0,
                                digits: 0,
                                in_extension: false,
                            }
                        }
                        _ => return Parsed::Broken,
                    }
                }
                State::Trailers { line_empty } => {
                    let Some((&byte, rest)) = bytes.split_first() else {
                        return Parsed::More;
                    };
                    bytes = rest;
                    match byte {
                        b'\r' => {}
                        b'\n' if line_empty => break,
                        b'\n' => self.state = State::Trailers { line_empty: true },
                        _ => self.state = State::Trailers { line_empty: false },
                    }
                }
                State::UntilClose => {
                    self.keep(bytes);
                    return Parsed::More;
                }
                State::Head => return Parsed::Broken,
            }
        }
        if !bytes.is_empty() {
            self.answer.keep_alive = false;
        }
        self.finish();
        Parsed::Answer
    }
}

struct NotHttp;

fn read_field(
    answer: &mut Answer,
    field: &httparse::Header<'_>,
    keep: bool,
    length: &mut Option<Result<u64, NotHttp>>,
    chunked: &mut bool,
) {
    let (name, value) = (field.name, field.value);
    // By length first: most fields are none of ours.
    match name.len() {
        14 if name.eq_ignore_ascii_case("content-length") => {
            *length = Some(decimal(value).ok_or(NotHttp))
        }
        17 if name.eq_ignore_ascii_case("transfer-encoding") => {
            *chunked = contains(value, b"chunked")
        }
        10 if name.eq_ignore_ascii_case("connection") => {
            answer.keep_alive &= !contains(value, b"close")
        }
        10 if name.eq_ignore_ascii_case("saqta-rule") => answer.is_hit = true,
        12 if name.eq_ignore_ascii_case("cache-status") => answer.cache = cache_status(value),
        12 if name.eq_ignore_ascii_case("saqta-answer") => {
            answer.own = if contains(value, b"waiting") {
                OwnAnswer::Waiting
            } else if contains(value, b"challenge") {
                OwnAnswer::Challenge
            } else if contains(value, b"search") {
                OwnAnswer::Search
            } else {
                OwnAnswer::Refused
            }
        }
        11 if name.eq_ignore_ascii_case("retry-after") => {
            answer.retry_after_s =
                Some(decimal(value).map_or(1, |seconds| seconds.min(86_400) as u32));
        }
        16 if keep && name.eq_ignore_ascii_case("content-encoding") => {
            answer.encoding = match value.trim_ascii() {
                b"identity" | b"" => Encoding::Identity,
                b"gzip" => Encoding::Gzip,
                b"br" => Encoding::Brotli,
                b"zstd" => Encoding::Zstd,
                _ => Encoding::Unknown,
            }
        }
        8 if keep && name.eq_ignore_ascii_case("location") => {
            answer.location = String::from_utf8_lossy(value).into_owned();
        }
        10 if keep && name.eq_ignore_ascii_case("set-cookie") => {
            let pair = value.split(|&byte| byte == b';').next().unwrap_or_default();
            if let Ok(pair) = std::str::from_utf8(pair) {
                if !answer.cookies.is_empty() {
                    answer.cookies.push_str("; ");
                }
                answer.cookies.push_str(pair.trim());
            }
        }
        _ => {}
    }
}

/// The same over HTTP/2, where the status is a field and frames say how long the body is.
pub(super) fn read_http2_field(answer: &mut Answer, name: &[u8], value: &[u8], keep: bool) {
    if name == b":status" {
        answer.status = decimal(value).map_or(0, |status| status.min(999) as u16);
    } else if let Ok(name) = std::str::from_utf8(name) {
        let field = httparse::Header { name, value };
        read_field(answer, &field, keep, &mut None, &mut false);
    }
}

/// RFC 9211: the cache nearest to us is the last of the list.
fn cache_status(value: &[u8]) -> CacheStatus {
    let nearest = value
        .rsplit(|&byte| byte == b',')
        .next()
        .unwrap_or_default();
    let mut status = CacheStatus::Other;
    for parameter in nearest.split(|&byte| byte == b';').skip(1) {
        let parameter = parameter.trim_ascii();
        if parameter == b"hit" {
            return CacheStatus::Hit;
        }
        if parameter.starts_with(b"collapsed") {
            status = CacheStatus::Collapsed;
        } else if parameter.starts_with(b"fwd=") && status == CacheStatus::Other {
            status = CacheStatus::Forwarded;
        }
    }
    status
}

fn decimal(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        value
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}

fn contains(value: &[u8], lower_word: &[u8]) -> bool {
    value
        .windows(lower_word.len())
        .any(|window| window.eq_ignore_ascii_case(lower_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize, head_only: bool) -> (Parsed, Parser) {
        let mut parser = Parser {
            keeps: true,
            ..Parser::default()
        };
        parser.expect(head_only);
        for piece in bytes.chunks(piece) {
            match parser.parse(piece) {
                Parsed::More => {}
                end => return (end, parser),
            }
        }
        let end = if parser.close() {
            Parsed::Answer
        } else {
            Parsed::More
        };
        (end, parser)
    }

    /// What comes, whether it ends, the status, the body, whether the connection can be used again.
    #[test]
    fn answers_are_read_whatever_pieces_they_come_in() {
        for (wire, end, status, body, keep_alive) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                Parsed::Answer,
                200,
                "hello",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
                Parsed::Answer,
                200,
                "hello",
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
                Parsed::Answer,
                200,
                "",
                false,
            ),
            (
                "HTTP/1.1 204 No Content\r\n\r\n",
                Parsed::Answer,
                204,
                "",
                true,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                Parsed::Answer,
                304,
                "",
                true,
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Parsed::Answer,
                200,
                "ok",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;name=1\r\nhello\r\n1\r\n!\r\n0\r\nDigest: x\r\n\r\n",
                Parsed::Answer,
                200,
                "hello!",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nuntil the end",
                Parsed::Answer,
                200,
                "until the end",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
                Parsed::More,
                200,
                "hello",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
                Parsed::More,
                200,
                "hello",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                Parsed::Broken,
                200,
                "",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
                Parsed::Broken,
                200,
                "",
                true,
            ),
            ("<html>", Parsed::Broken, 0, "", false),
        ] {
            for piece in [1, 2, 7, 1_000] {
                let (ended, parser) = read(wire.as_bytes(), piece, false);
                assert_eq!(
                    (&ended, parser.answer.status),
                    (&end, status),
                    "{wire} by {piece}"
                );
                assert_eq!(parser.answer.body, body.as_bytes(), "{wire} by {piece}");
                assert_eq!(parser.answer.keep_alive, keep_alive, "{wire} by {piece}");
            }
        }
        let (end, parser) = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 3, true);
        assert_eq!(
            (end, parser.answer.keep_alive),
            (Parsed::Answer, true),
            "an answer to HEAD"
        );
    }

    #[test]
    fn fields_say_who_answered() {
        for (field, cache, own, retry_after_s) in [
            (
                "Cache-Status: Saqta; hit; ttl=40",
                CacheStatus::Hit,
                OwnAnswer::None,
                None,
            ),
            (
                "Cache-Status: Varnish; hit, Saqta; fwd=uri-miss; stored",
                CacheStatus::Forwarded,
                OwnAnswer::None,
                None,
            ),
            (
                "Cache-Status: Saqta; fwd=uri-miss; collapsed",
                CacheStatus::Collapsed,
                OwnAnswer::None,
                None,
            ),
            (
                "Cache-Status: Saqta; detail=waiting",
                CacheStatus::Other,
                OwnAnswer::None,
                None,
            ),
            (
                "Saqta-Answer: waiting\r\nRetry-After: 3",
                CacheStatus::Silent,
                OwnAnswer::Waiting,
                Some(3),
            ),
            (
                "saqta-answer: Challenge",
                CacheStatus::Silent,
                OwnAnswer::Challenge,
                None,
            ),
            (
                "Saqta-Answer: refused",
                CacheStatus::Silent,
                OwnAnswer::Refused,
                None,
            ),
            (
                "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT",
                CacheStatus::Silent,
                OwnAnswer::None,
                Some(1),
            ),
        ] {
            let wire = format!("HTTP/1.1 503 X\r\nContent-Length: 0\r\n{field}\r\n\r\n");
            let (end, Parser { answer, .. }) = read(wire.as_bytes(), 1_000, false);
            assert_eq!(end, Parsed::Answer, "{field}");
            assert_eq!(
                (answer.cache, answer.own, answer.retry_after_s),
                (cache, own, retry_after_s),
                "{field}"
            );
        }
    }

    #[test]
    fn cookies_come_back_as_a_browser_returns_them() {
        let wire = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(wire, 1_000, false).1.answer.cookies, "a=1; b=2");
    }

    #[test]
    fn bytes_nobody_asked_for_are_a_fault() {
        let mut parser = Parser::default();
        assert_eq!(
            parser.parse(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
            Parsed::Broken
        );
    }
}
