//! HTTP/2 with prior knowledge, on the client's side: several requests at once on one connection.
//!
//! Callers write a request as it would be over HTTP/1.1; here it is said in frames, with the fields that belong to a connection of
//! HTTP/1.1 left out, names in lower case and each cookie a field of its own, as browsers do (RFC 9113 §8.2). Windows are opened once and
//! so wide, as Go's library does it, that no answer of a newsroom ever waits for more.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use super::answer::{self, Answer, KEPT_BYTES_MAX};
use super::hpack::{self, Table};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Odd numbers up to 2^31 - 1 (RFC 9113 §5.1.1); an honest client opens a new connection then, as we do.
pub(crate) const STREAM_MAX: u32 = 0x7fff_fff0;

const FRAME_HEAD_BYTES: usize = 9;
/// What a server may send as long as nobody has allowed it more.
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// Of an answer's fields, all frames together: as much as over HTTP/1.1.
const BLOCK_BYTES_MAX: usize = 32 * 1024;
/// ENABLE_PUSH 0, INITIAL_WINDOW_SIZE 4 MiB: identifier and value.
const OUR_SETTINGS: [(u16, u32); 2] = [(2, 0), (4, 4 << 20)];
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;
/// Of a request; browsers send a third.
const FIELDS_MAX: usize = 64;

/// What a connection of HTTP/1.1 is told, and one of HTTP/2 must not be (RFC 9113 §8.2.2).
const LEFT_OUT: [&str; 7] = [
    "host",
    "connection",
    "keep-alive",
    "upgrade",
    "http2-settings",
    "te",
    "transfer-encoding",
];

/// In which order a client says method, authority, scheme and path, a letter each.
pub type PseudoFields = [u8; 4];

pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = payload.len() as u32;
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What came is not HTTP/2, or what was to go out is not HTTP/1.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A request whose answer is not complete.
#[derive(Debug)]
struct Stream {
    number: u32,
    head_only: bool,
    /// The answer's fields have come.
    begun: bool,
    answer: Answer,
}

impl Stream {
    fn new(number: u32, head_only: bool) -> Self {
        Self {
            number,
            head_only,
            begun: false,
            answer: Answer {
                stream: number,
                ..Answer::default()
            },
        }
    }
}

/// Fields that are not complete.
#[derive(Debug)]
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    /// Keep bodies and cookies, to be judged.
    keeps: bool,
    pseudo: PseudoFields,
    /// Of the next request; 1 before the first.
    next: u32,
    /// The server takes no more.
    is_going: bool,
    streams: Vec<Stream>,
    answered: VecDeque<Answer>,
    table: Table,
    block: Option<Block>,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// To be sent: answers to the server's settings and pings.
    owed: Vec<u8>,
    fields: Vec<u8>,
}

impl Session {
    pub(super) fn new(keeps: bool, pseudo: PseudoFields) -> Self {
        Self {
            keeps,
            pseudo,
            next: 1,
            is_going: false,
            streams: Vec::new(),
            answered: VecDeque::new(),
            table: Table::default(),
            block: None,
            partial: Vec::new(),
            owed: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// The oldest answer that nobody has dealt with.
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.answered.front()
    }

    pub(super) fn forget_answer(&mut self) {
        self.answered.pop_front();
    }

    /// Some of an answer has come, not all.
    pub(super) fn is_answering(&self) -> bool {
        self.block.is_some() || self.streams.iter().any(|stream| stream.begun)
    }

    pub(super) fn take_owed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.owed)
    }

    /// Says in frames a request that is written as over HTTP/1.1, with all of its body; on which stream.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        head_only: bool,
        out: &mut Vec<u8>,
    ) -> Result<u32, Broken> {
        let number = self.next;
        if number == 1 {
            out.extend_from_slice(PREFACE);
            let settings = OUR_SETTINGS.map(|(identifier, value)| {
                let [high, low] = identifier.to_be_bytes();
                let [a, b, c, d] = value.to_be_bytes();
                [high, low, a, b, c, d]
            });
            frame(out, SETTINGS, 0, 0, settings.as_flattened());
            let window = CONNECTION_WINDOW_BYTES.to_be_bytes();
            frame(out, WINDOW_UPDATE, 0, 0, &window);
        }
        self.fields.clear();
        let head = write_fields(&mut self.fields, request, self.pseudo)?;
        let body = &request[head..];
        let ends = if body.is_empty() { END_STREAM } else { 0 };
        let flags = END_HEADERS | ends;
        frame(out, HEADERS, flags, number, &self.fields);
        let pieces = body.chunks(FRAME_BYTES_MAX);
        let last = pieces.len();
        for (n, piece) in pieces.enumerate() {
            let ends = if n + 1 == last { END_STREAM } else { 0 };
            frame(out, DATA, ends, number, piece);
        }
        self.next += 2;
        self.streams.push(Stream::new(number, head_only));
        Ok(number)
    }

    /// Reads what came; tells each answer that is complete.
    pub(super) fn parse(&mut self, bytes: &[u8], mut tell: impl FnMut()) -> Result<(), Broken> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut left = bytes;
        if !partial.is_empty() {
            partial.extend_from_slice(bytes);
            left = &partial;
        }
        while let Some((head, rest)) = left.split_first_chunk::<FRAME_HEAD_BYTES>() {
            let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
            if length > FRAME_BYTES_MAX {
                return Err(Broken);
            }
            let Some((payload, rest)) = rest.split_at_checked(length) else {
                break;
            };
            left = rest;
            let before = self.answered.len();
            self.frame(kind, flags, stream, payload)?;
            for _ in before..self.answered.len() {
                tell();
            }
        }
        self.partial = left.to_owned();
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Broken> {
        if self.block.is_some() != (kind == CONTINUATION) {
            return Err(Broken);
        }
        match kind {
            DATA => {
                self.body(stream, unpadded(flags, payload)?);
                if flags & END_STREAM != 0 {
                    self.complete(stream);
                }
            }
            HEADERS => {
                let payload = unpadded(flags, payload)?;
                let skipped = if flags & PRIORITY != 0 { 5 } else { 0 };
                self.block = Some(Block {
                    stream,
                    ends_stream: flags & END_STREAM != 0,
                    bytes: payload.get(skipped..).ok_or(Broken)?.to_owned(),
                });
                self.fields_came(flags)?;
            }
            CONTINUATION => {
                let block = self.block.as_mut().ok_or(Broken)?;
                if block.stream != stream || block.bytes.len() + payload.len() > BLOCK_BYTES_MAX {
                    return Err(Broken);
                }
                block.bytes.extend_from_slice(payload);
                self.fields_came(flags)?;
            }
            RST_STREAM => {
                if let Some(stream) = self.find(stream) {
                    stream.answer.is_reset = true;
                }
                self.complete(stream);
            }
            SETTINGS if flags & ACK == 0 => frame(&mut self.owed, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(&mut self.owed, PING, ACK, 0, payload),
            GOAWAY => self.is_going = true,
            PUSH_PROMISE => return Err(Broken),
            // What answers ours, windows, which the little we send never fills, and what is not known, which is to be passed over.
            _ => {}
        }
        Ok(())
    }

    fn find(&mut self, number: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|one| one.number == number)
    }

    fn body(&mut self, number: u32, bytes: &[u8]) {
        let keeps = self.keeps;
        if let Some(stream) = self.find(number) {
            let answer = &mut stream.answer;
            answer.body_bytes += bytes.len() as u64;
            if keeps && !stream.head_only && answer.body.len() + bytes.len() <= KEPT_BYTES_MAX {
                answer.body.extend_from_slice(bytes);
            }
        }
    }

    fn fields_came(&mut self, flags: u8) -> Result<(), Broken> {
        if flags & END_HEADERS == 0 {
            return Ok(());
        }
        let block = self.block.take().ok_or(Broken)?;
        // Of a stream that is over they are read too, or the table would not be the server's any more.
        let mut over = Stream::new(block.stream, false);
        let stream = self
            .streams
            .iter_mut()
            .find(|one| one.number == block.stream)
            .unwrap_or(&mut over);
        let (keeps, is_head) = (self.keeps, !stream.begun);
        let read = self.table.read(&block.bytes, |name, value| {
            // What follows a body says nothing about it that we ask.
            if is_head {
                answer::read_http2_field(&mut stream.answer, name, value, keeps);
            }
        });
        read.map_err(|hpack::NotHpack| Broken)?;
        if (100..200).contains(&stream.answer.status) {
            stream.answer.status = 0;
        } else {
            stream.begun = true;
        }
        if block.ends_stream {
            self.complete(block.stream);
        }
        Ok(())
    }

    fn complete(&mut self, number: u32) {
        let Some(at) = self.streams.iter().position(|one| one.number == number) else {
            return;
        };
        let mut answer = self.streams.swap_remove(at).answer;
        answer.keep_alive = !self.is_going && self.next < STREAM_MAX;
        self.answered.push_back(answer);
    }
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], Broken> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Broken)?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(Broken)?;
    Ok(&rest[..length])
}

/// The fields of a request over HTTP/1.1, as over HTTP/2; says where its body begins.
fn write_fields(out: &mut Vec<u8>, request: &[u8], pseudo: PseudoFields) -> Result<usize, Broken> {
    let mut fields = [MaybeUninit::<httparse::Header<'_>>::uninit(); FIELDS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut head,
        request,
        &mut fields,
    );
    let Ok(httparse::Status::Complete(used)) = parsed else {
        return Err(Broken);
    };
    let (method, path) = head.method.zip(head.path).ok_or(Broken)?;
    let host = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("host"))
        .ok_or(Broken)?;
    for letter in pseudo {
        match letter {
            b'm' => hpack::field(out, b":method", method.as_bytes()),
            b'a' => hpack::field(out, b":authority", host.value),
            b's' => hpack::field(out, b":scheme", b"http"),
            _ => hpack::field(out, b":path", path.as_bytes()),
        }
    }
    for field in head.headers.iter() {
        let name = field.name.to_ascii_lowercase();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        if name == "cookie" {
            let pairs = field.value.split(|byte| *byte == b';');
            for pair in pairs.map(<[u8]>::trim_ascii) {
                hpack::field(out, name.as_bytes(), pair);
            }
        } else {
            hpack::field(out, name.as_bytes(), field.value);
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: a.kz\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0\r\nCookie: a=1; b=2\r\n\r\n";
    const POST: &[u8] =
        b"POST /wp-login.php HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 5\r\n\r\nlog=a";

    /// What is in the frames after the preface: kind, flags, stream, payload.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push((head[3], head[4], stream, rest[..length].to_vec()));
            bytes = &rest[length..];
        }
        frames
    }

    fn session(requests: &[&[u8]]) -> (Session, Vec<u8>) {
        let mut session = Session::new(true, *b"amps");
        let mut out = Vec::new();
        for (n, request) in requests.iter().enumerate() {
            let stream = session.ask(request, false, &mut out);
            assert_eq!(stream, Ok(2 * n as u32 + 1));
        }
        (session, out)
    }

    /// `:status` and a field, not coded.
    fn fields(status: &str, name: &str, value: &str) -> Vec<u8> {
        let mut block = Vec::new();
        hpack::field(&mut block, b":status", status.as_bytes());
        hpack::field(&mut block, name.as_bytes(), value.as_bytes());
        block
    }

    #[test]
    fn a_request_says_the_same_as_over_http_1_1() {
        let (_, out) = session(&[GET, POST]);
        let frames = frames(out.strip_prefix(PREFACE).unwrap());
        let heads: Vec<_> = frames
            .iter()
            .map(|(kind, flags, stream, _)| (*kind, *flags, *stream))
            .collect();
        assert_eq!(
            heads,
            [
                (SETTINGS, 0, 0),
                (WINDOW_UPDATE, 0, 0),
                (HEADERS, END_HEADERS | END_STREAM, 1),
                (HEADERS, END_HEADERS, 3),
                (DATA, END_STREAM, 3),
            ]
        );
        let mut said = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Table::default()
            .read(&frames[2].3, |name, value| {
                said.push(format!("{}: {}", text(name), text(value)));
            })
            .unwrap();
        assert_eq!(
            said,
            [
                ":authority: a.kz",
                ":method: GET",
                ":path: /a?b=c",
                ":scheme: http",
                "user-agent: Mozilla/5.0",
                "cookie: a=1",
                "cookie: b=2",
            ]
        );
        assert_eq!(frames[4].3, b"log=a");
    }

    /// Two answers, the second first, in pieces of every length.
    #[test]
    fn answers_come_in_any_order_and_in_any_pieces() {
        let mut server = Vec::new();
        frame(&mut server, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        frame(&mut server, SETTINGS, ACK, 0, &[]);
        let first = fields("503", "saqta-rule", "1");
        // Padded by two, and in two frames.
        let (begins, ends) = first.split_at(9);
        let padded = [&[2], begins, &[0, 0]].concat();
        frame(&mut server, HEADERS, PADDED, 1, &padded);
        frame(&mut server, CONTINUATION, END_HEADERS, 1, ends);
        let early = fields("103", "link", "x");
        frame(&mut server, HEADERS, END_HEADERS, 3, &early);
        let second = fields("200", "cache-status", "Saqta; hit");
        frame(&mut server, HEADERS, END_HEADERS, 3, &second);
        frame(&mut server, DATA, 0, 3, b"a who");
        frame(&mut server, PING, 0, 0, b"12345678");
        frame(&mut server, DATA, END_STREAM, 3, b"le page");
        // What nobody knows is passed over.
        frame(&mut server, 0xbe, 0, 0, b"?");
        frame(&mut server, DATA, END_STREAM, 1, b"wait");
        for piece in 1..server.len() {
            let (mut session, _) = session(&[GET, GET]);
            let mut told = 0;
            for bytes in server.chunks(piece) {
                session.parse(bytes, || told += 1).unwrap();
            }
            assert_eq!(told, 2, "{piece}");
            let answer = session.answer().unwrap();
            assert_eq!(
                (answer.stream, answer.status, answer.is_hit),
                (3, 200, false)
            );
            assert_eq!(answer.cache, answer::CacheStatus::Hit);
            assert_eq!(answer.body, b"a whole page");
            session.forget_answer();
            let answer = session.answer().unwrap();
            assert_eq!(
                (answer.stream, answer.status, answer.is_hit),
                (1, 503, true)
            );
            assert!(answer.keep_alive);
            session.forget_answer();
            assert!(session.answer().is_none());
            let owed = session.take_owed();
            let owed: Vec<_> = frames(&owed)
                .into_iter()
                .map(|(kind, flags, _, payload)| (kind, flags, payload))
                .collect();
            assert_eq!(
                owed,
                [
                    (SETTINGS, ACK, Vec::new()),
                    (PING, ACK, b"12345678".to_vec())
                ]
            );
        }
    }

    #[test]
    fn a_server_may_take_requests_back_and_go() {
        let (mut session, _) = session(&[GET, GET]);
        let mut server = Vec::new();
        frame(&mut server, RST_STREAM, 0, 3, &7u32.to_be_bytes());
        frame(&mut server, GOAWAY, 0, 0, &[0; 8]);
        let fields = fields("200", "age", "1");
        let flags = END_HEADERS | END_STREAM;
        frame(&mut server, HEADERS, flags, 1, &fields);
        session.parse(&server, || {}).unwrap();
        let answers: Vec<_> = session
            .answered
            .iter()
            .map(|one| (one.stream, one.is_reset, one.keep_alive))
            .collect();
        assert_eq!(answers, [(3, true, true), (1, false, false)]);
    }

    #[test]
    fn what_is_not_http_2_is_said_to_be_none() {
        let framed = |kind, flags, payload: &[u8]| {
            let mut bytes = Vec::new();
            frame(&mut bytes, kind, flags, 1, payload);
            bytes
        };
        let block = fields("200", "a", "b");
        let unended = framed(HEADERS, 0, &block);
        for (name, bytes) in [
            ("HTTP/1.1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            ("a continuation of nothing", framed(CONTINUATION, 0, &block)),
            (
                "something within fields",
                [unended.clone(), framed(PING, 0, &[0; 8])].concat(),
            ),
            (
                "fields without end",
                [
                    unended,
                    framed(CONTINUATION, 0, &[0; FRAME_BYTES_MAX]).repeat(3),
                ]
                .concat(),
            ),
            ("a push", framed(PUSH_PROMISE, 0, &[0; 8])),
            ("more padding than there is", framed(DATA, PADDED, &[9, 0])),
            ("not HPACK", framed(HEADERS, END_HEADERS, &[0x80])),
        ] {
            let (mut session, _) = session(&[GET]);
            assert_eq!(session.parse(&bytes, || {}), Err(Broken), "{name}");
        }
    }
}
