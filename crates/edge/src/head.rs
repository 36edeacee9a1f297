//! The head of an HTTP/1.1 request, read more strictly than any server behind us might.
//!
//! Request smuggling lives where two parsers disagree, so everything two parsers could disagree about is refused here, before
//! hyper or the origin sees a byte: both framings at once, a repeated or odd length, bare LF or CR, folded lines, a second Host,
//! an absolute target that names another host. What passes is framed in exactly one way.
//!
//! The parse borrows: a cache hit is answered from these slices without building a `HeaderMap`. Names with `_` are kept in the
//! list, because hyper will see them again, but no lookup finds them; the forwarding rules drop them.

use std::mem::MaybeUninit;

use crate::fields::Fields;
use crate::plan::Limits;

/// Room for the parsed fields; [`Limits::header_fields_max`] may be lower, never higher.
pub const FIELDS_MAX: usize = 128;

/// A fault of the client: data for the tally and a short answer, never an error of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ClientFault {
    #[error("the request head is longer than {bytes_max} bytes")]
    HeadTooLong { bytes_max: usize },
    #[error("the request has more than {fields_max} header fields")]
    TooManyFields { fields_max: usize },
    #[error("the request head was not complete in time")]
    HeadTooSlow,
    #[error("a line ends in a bare LF or holds a bare CR")]
    BareLineEnd,
    #[error("a header line is folded")]
    FoldedLine,
    #[error("the request head is not HTTP/1.1")]
    Malformed,
    #[error("the method is not a token or is one we do not pass on")]
    Method,
    #[error("the request target is not one a reader's browser sends")]
    Target,
    #[error("the Host field is missing, repeated or not a host name")]
    Host,
    #[error("the request target and the Host field name different hosts")]
    HostMismatch,
    #[error("the body has two framings")]
    FramedTwice,
    #[error("Content-Length is repeated or not a number")]
    Length,
    #[error("Transfer-Encoding is not exactly chunked")]
    Coding,
    #[error("the chunked framing of the body is broken")]
    Chunk,
    #[error("the body arrives more slowly than the floor")]
    BodyTooSlow,
    #[error("the answer is taken more slowly than the floor")]
    AnswerTooSlow,
    #[error("the HTTP/2 connection floods us with control frames")]
    FrameFlood,
    #[error("the HTTP/2 request holds a field that only HTTP/1.1 has")]
    ConnectionField,
}

/// How the request's body is delimited; decided once, here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

pub struct Storage<'b>([MaybeUninit<httparse::Header<'b>>; FIELDS_MAX]);

impl Storage<'_> {
    pub fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; FIELDS_MAX])
    }
}

impl Default for Storage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
pub struct Head<'b, 'h> {
    /// Bytes of the head in the buffer, the blank line included.
    pub len: usize,
    pub method: &'b str,
    /// Path and query, without the host an absolute target names.
    pub target: &'b str,
    /// As sent, port included; empty when an HTTP/1.0 client sent none.
    pub host: &'b str,
    pub framing: Framing,
    /// False for HTTP/1.0 without keep-alive and after `Connection: close`.
    pub keep_alive: bool,
    pub http_10: bool,
    /// `Upgrade: websocket`; any other upgrade is ignored, h2c above all.
    pub websocket: bool,
    /// A bit for each length a name here has: most fields we look for are absent, and one look tells.
    name_lengths: u64,
    fields: &'h [httparse::Header<'b>],
}

impl Head<'_, '_> {
    fn may_have(&self, name: &str) -> bool {
        self.name_lengths & length_bit(name) != 0
    }

    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name)
    }
}

fn length_bit(name: &str) -> u64 {
    1 << (name.len() % 64)
}

impl Fields for Head<'_, '_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        if !self.may_have(name) {
            return None;
        }
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    fn each_line<'a>(&'a self, name: &str, line: &mut dyn FnMut(&'a [u8])) {
        if !self.may_have(name) {
            return;
        }
        for field in self.fields {
            if field.name.eq_ignore_ascii_case(name) {
                line(field.value);
            }
        }
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        for field in self.fields {
            name(field.name);
        }
    }
}

/// Reads one head from the front of `buffer`. `Ok(None)`: not complete yet.
///
/// `scanned` is how much of `buffer` an earlier call has already searched for the end, so that a head arriving byte by byte
/// costs linear time; it is updated.
pub fn parse<'b, 'h>(
    buffer: &'b [u8],
    scanned: &mut usize,
    storage: &'h mut Storage<'b>,
    limits: &Limits,
) -> Result<Option<Head<'b, 'h>>, ClientFault> {
    let too_long = ClientFault::HeadTooLong {
        bytes_max: limits.header_bytes_max,
    };
    // A browser that was told https sends the greeting of TLS, which has no end that we would know: it need not wait for us to
    // lose patience.
    if buffer.first().is_some_and(|first| !begins_head(*first)) {
        return Err(ClientFault::Malformed);
    }
    let Some(len) = end_of_head(buffer, scanned)? else {
        return if buffer.len() > limits.header_bytes_max {
            Err(too_long)
        } else {
            Ok(None)
        };
    };
    if len > limits.header_bytes_max {
        return Err(too_long);
    }
    let bytes = &buffer[..len];

    let mut request = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        bytes,
        &mut storage.0,
    );
    let fields_max = limits.header_fields_max.min(FIELDS_MAX);
    match status {
        Ok(httparse::Status::Complete(parsed)) if parsed == len => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ClientFault::TooManyFields { fields_max });
        }
        _ if has_bare_cr(bytes) => return Err(ClientFault::BareLineEnd),
        _ => return Err(ClientFault::Malformed),
    }
    let fields: &'h [httparse::Header<'b>] = request.headers;
    if fields.len() > fields_max {
        return Err(ClientFault::TooManyFields { fields_max });
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(ClientFault::Malformed);
    };
    assemble(len, method, target, version, fields).map(Some)
}

/// The index just past the blank line. Every LF must follow a CR: parsers differ about the rest. A CR without its LF no parser
/// of ours takes; it is not looked for here, because every line of every request would pay for it.
fn end_of_head(buffer: &[u8], scanned: &mut usize) -> Result<Option<usize>, ClientFault> {
    let from = (*scanned).min(buffer.len());
    for at in memchr::memchr_iter(b'\n', &buffer[from..]).map(|at| at + from) {
        if at == 0 || buffer[at - 1] != b'\r' {
            return Err(ClientFault::BareLineEnd);
        }
        // A stray CRLF before the request line is an old browsers' habit after a POST; it is dropped by `skip_empty_line`.
        if at >= 3 && buffer[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
        if matches!(buffer.get(at + 1), Some(b' ' | b'\t')) {
            return Err(ClientFault::FoldedLine);
        }
    }
    // The last byte may be an LF whose next byte decides; look at it again next time.
    *scanned = buffer.len().saturating_sub(1);
    Ok(None)
}

/// A method does, and half of an empty line before it.
fn begins_head(byte: u8) -> bool {
    is_token(byte) || matches!(byte, b'\r' | b'\n')
}

fn has_bare_cr(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'))
}

/// How many bytes of an empty line stand before the request line (RFC 9112 §2.2 asks servers to ignore one).
pub fn empty_line(buffer: &[u8]) -> usize {
    if buffer.starts_with(b"\r\n") { 2 } else { 0 }
}

fn assemble<'b, 'h>(
    len: usize,
    method: &'b str,
    target: &'b str,
    version: u8,
    fields: &'h [httparse::Header<'b>],
) -> Result<Head<'b, 'h>, ClientFault> {
    let http_10 = version == 0;
    let mut hosts = 0;
    let mut host: &'b str = "";
    let mut framing = Framing::None;
    let mut close = false;
    let mut keep = false;
    let mut upgrade_named = false;
    let mut websocket = false;
    let mut name_lengths = 0;

    for field in fields {
        name_lengths |= length_bit(field.name);
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                hosts += 1;
                host = std::str::from_utf8(field.value).map_err(|_| ClientFault::Host)?;
            }
            7 if field.name.eq_ignore_ascii_case("upgrade") => {
                websocket = field.value.eq_ignore_ascii_case(b"websocket");
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                for option in list(field.value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep |= option.eq_ignore_ascii_case(b"keep-alive");
                    upgrade_named |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                framing = match framing {
                    Framing::None => Framing::Length(length(field.value)?),
                    Framing::Length(_) => return Err(ClientFault::Length),
                    Framing::Chunked => return Err(ClientFault::FramedTwice),
                };
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                framing = match framing {
                    Framing::None if !http_10 && field.value.eq_ignore_ascii_case(b"chunked") => {
                        Framing::Chunked
                    }
                    Framing::Length(_) => return Err(ClientFault::FramedTwice),
                    _ => return Err(ClientFault::Coding),
                };
            }
            // Some servers read these as their hyphened twins.
            14 | 17
                if field.name.eq_ignore_ascii_case("content_length")
                    || field.name.eq_ignore_ascii_case("transfer_encoding") =>
            {
                return Err(ClientFault::FramedTwice);
            }
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && !http_10) || !is_host(host) {
        return Err(ClientFault::Host);
    }
    let target = origin_form(method, target, &mut host, hosts)?;
    Ok(Head {
        len,
        method,
        target,
        host,
        framing,
        keep_alive: !close && (!http_10 || keep),
        http_10,
        websocket: websocket
            && upgrade_named
            && method == "GET"
            && framing == Framing::None
            && !http_10,
        name_lengths,
        fields,
    })
}

/// Items of a comma-separated list, trimmed.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn length(value: &[u8]) -> Result<u64, ClientFault> {
    // 19 digits cannot overflow; "+5", "5, 5" and "0x5" are numbers to some parsers only.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(ClientFault::Length);
    }
    Ok(value
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A name, an address or nothing, with an optional port. No user, no path, no spaces.
pub fn is_host(host: &str) -> bool {
    const HOST_BYTES_MAX: usize = 255 + 6; // a DNS name and a port
    let (name, port) = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, ""),
    };
    let name_ok = match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
    };
    host.len() <= HOST_BYTES_MAX
        && name_ok
        && (port.is_empty()
            || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Host name without port, brackets kept. `host` has passed [`is_host`].
pub fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    }
}

fn origin_form<'b>(
    method: &str,
    target: &'b str,
    host: &mut &'b str,
    hosts: usize,
) -> Result<&'b str, ClientFault> {
    // A connection tunnelled through a newsroom's server is never wanted; TRACE echoes cookies.
    if method == "CONNECT" || method == "TRACE" {
        return Err(ClientFault::Method);
    }
    if target
        .bytes()
        .any(|byte| byte <= b' ' || byte == b'#' || byte == 0x7f)
    {
        return Err(ClientFault::Target);
    }
    if target.starts_with('/') {
        return Ok(target);
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(target);
    }
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            target
                .get(..scheme.len())
                .filter(|s| s.eq_ignore_ascii_case(scheme))
                .map(|_| &target[scheme.len()..])
        })
        .ok_or(ClientFault::Target)?;
    let slash = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    if authority.is_empty() || !is_host(authority) {
        return Err(ClientFault::Target);
    }
    if hosts == 1 && !authority.eq_ignore_ascii_case(host) {
        return Err(ClientFault::HostMismatch);
    }
    *host = authority;
    match path {
        "" => Ok("/"),
        path if path.starts_with('/') => Ok(path),
        _ => Err(ClientFault::Target),
    }
}

/// Follows the chunked framing of a body without changing it, so that the next request starts where we say it does and
/// nowhere else. Chunk extensions are skipped, as RFC 9112 §7.1.1 wants of those nobody knows, and do not reach the origin: hyper
/// takes them away. Stricter than the RFC about where a line ends, and about lengths.
#[derive(Debug, Clone, Default)]
pub struct ChunkScan {
    state: ChunkState,
    size: u64,
    digits: u8,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ChunkState {
    #[default]
    Size,
    /// Blanks before a `;`.
    ExtensionSoon,
    /// Behind the `;`, before the name it must have.
    ExtensionName,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Of all chunks of a body together: sixty signatures of 128 bytes. A megabyte of them before each byte of content is an attack that
/// costs us reading and the origin a slot (CVE-2023-39326 in Go's server). hyper stops at 16 KiB, and the refusal shall be ours.
const EXTENSION_BYTES_MAX: usize = 8 * 1024;

/// Trailers carry a checksum or a signature, seldom 1 KB.
const TRAILER_BYTES_MAX: usize = 4 * 1024;

impl ChunkScan {
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// How many bytes of `bytes` belong to this body.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, ClientFault> {
        let mut at = 0;
        while at < bytes.len() && self.state != ChunkState::Done {
            if self.state == ChunkState::Data {
                let step = self.size.min((bytes.len() - at) as u64);
                self.size -= step;
                at += usize::try_from(step).unwrap_or(bytes.len() - at);
                if self.size == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, ClientFault> {
        use ChunkState::{
            Data, DataCr, DataLf, Done, EndLf, Extension, ExtensionName, ExtensionSoon, Size,
            SizeLf, Trailer, TrailerLf, TrailerStart,
        };
        Ok(match (self.state, byte) {
            (Size, b'\r') if self.digits > 0 => SizeLf,
            (Size, b' ' | b'\t') if self.digits > 0 => self.extended(ExtensionSoon)?,
            (Size, b';') if self.digits > 0 => self.extended(ExtensionName)?,
            (ExtensionSoon | ExtensionName, b' ' | b'\t') => self.extended(self.state)?,
            (ExtensionSoon, b';') => self.extended(ExtensionName)?,
            (ExtensionName, byte) if is_token(byte) => self.extended(Extension)?,
            (Extension, b'\r') => SizeLf,
            // Whatever may stand in a quoted string or outside of one. Line ends may not, in either.
            (Extension, byte) if byte == b'\t' || byte >= b' ' && byte != 0x7f => {
                self.extended(Extension)?
            }
            (Size, digit) => {
                let value = char::from(digit).to_digit(16).ok_or(ClientFault::Chunk)?;
                self.digits += 1;
                // 15 hexadecimal digits cannot overflow.
                if self.digits > 15 {
                    return Err(ClientFault::Chunk);
                }
                self.size = self.size * 16 + u64::from(value);
                Size
            }
            (SizeLf, b'\n') => {
                self.digits = 0;
                if self.size == 0 { TrailerStart } else { Data }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size,
            (TrailerStart, b'\r') => EndLf,
            (Trailer, b'\r') => TrailerLf,
            (TrailerLf, b'\n') => TrailerStart,
            (EndLf, b'\n') => Done,
            (TrailerStart, b' ' | b'\t') => return Err(ClientFault::FoldedLine),
            (TrailerStart | Trailer, byte) if byte != b'\n' && byte != 0 => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(ClientFault::Chunk);
                }
                Trailer
            }
            _ => return Err(ClientFault::Chunk),
        })
    }

    /// One byte more of extensions.
    fn extended(&mut self, then: ChunkState) -> Result<ChunkState, ClientFault> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(ClientFault::Chunk);
        }
        Ok(then)
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(request: &str) -> Option<ClientFault> {
        parse(
            request.as_bytes(),
            &mut 0,
            &mut Storage::new(),
            &Limits::default(),
        )
        .err()
    }

    #[test]
    fn what_two_parsers_could_disagree_about_is_refused() {
        use ClientFault::*;
        let table: &[(&str, ClientFault)] = &[
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                FramedTwice,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                FramedTwice,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
                Coding,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
                Coding,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Coding,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                Coding,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
                Malformed,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
                Malformed,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
                FramedTwice,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n",
                FramedTwice,
            ),
            (
                "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                Coding,
            ),
            ("GET / HTTP/1.1\nHost: a\n\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineEnd),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
                FoldedLine,
            ),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", FoldedLine),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nX: a\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Host),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
            ("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Method),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Malformed),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Malformed),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Malformed),
            ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Malformed),
        ];
        for (request, expected) in table {
            assert_eq!(fault(request), Some(*expected), "{request:?}");
        }
    }

    #[test]
    fn what_browsers_send_passes() {
        let table: &[(&str, &str, &str, Framing, bool)] = &[
            (
                "GET / HTTP/1.1\r\nHost: a.kz\r\n\r\n",
                "/",
                "a.kz",
                Framing::None,
                true,
            ),
            (
                "GET /?s=%D2%9B HTTP/1.1\r\nHost: a.kz:8080\r\n\r\n",
                "/?s=%D2%9B",
                "a.kz:8080",
                Framing::None,
                true,
            ),
            (
                "GET / HTTP/1.1\r\nhost: [::1]:80\r\nConnection: close\r\n\r\n",
                "/",
                "[::1]:80",
                Framing::None,
                false,
            ),
            (
                "GET http://a.kz/x HTTP/1.1\r\nHost: A.kz\r\n\r\n",
                "/x",
                "a.kz",
                Framing::None,
                true,
            ),
            (
                "GET http://a.kz HTTP/1.0\r\n\r\n",
                "/",
                "a.kz",
                Framing::None,
                false,
            ),
            (
                "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "/",
                "",
                Framing::None,
                true,
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                "*",
                "a",
                Framing::None,
                true,
            ),
            (
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
                "/x",
                "a",
                Framing::Length(12),
                true,
            ),
            (
                "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
                "/x",
                "a",
                Framing::Chunked,
                true,
            ),
        ];
        for (request, target, host, framing, keep_alive) in table {
            let mut storage = Storage::new();
            let head = parse(request.as_bytes(), &mut 0, &mut storage, &Limits::default())
                .unwrap()
                .unwrap();
            assert_eq!(
                (head.target, head.host, head.framing, head.keep_alive),
                (*target, *host, *framing, *keep_alive)
            );
            assert_eq!(head.len, request.len());
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_not_waited_for() {
        use ClientFault::Malformed;
        const TABLE: &[(&str, Option<ClientFault>)] = &[
            ("\x16\x03\x01\x02\0\x01", Some(Malformed)), // TLS
            ("\0", Some(Malformed)),
            (" GET", Some(Malformed)),
            ("", None),
            ("\r", None),
            ("G", None),
            ("!odd", None),
        ];
        for (begun, expected) in TABLE {
            assert_eq!(fault(begun), *expected, "{begun:?}");
        }
    }

    #[test]
    fn bounds_hold() {
        let limits = Limits {
            header_bytes_max: 64,
            header_fields_max: 2,
            ..Limits::default()
        };
        let check =
            |request: &str| parse(request.as_bytes(), &mut 0, &mut Storage::new(), &limits).err();
        assert_eq!(
            check(&format!("GET /{} ", "a".repeat(64))),
            Some(ClientFault::HeadTooLong { bytes_max: 64 })
        );
        assert_eq!(
            check("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n"),
            Some(ClientFault::TooManyFields { fields_max: 2 })
        );
        assert_eq!(check("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"), None);
    }

    #[test]
    fn websocket_is_the_only_upgrade() {
        let check = |upgrade: &str, connection: &str| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: {upgrade}\r\nConnection: {connection}\r\n\r\n"
            );
            parse(
                text.as_bytes(),
                &mut 0,
                &mut Storage::new(),
                &Limits::default(),
            )
            .unwrap()
            .unwrap()
            .websocket
        };
        assert!(check("websocket", "Upgrade"));
        assert!(check("WebSocket", "keep-alive, upgrade"));
        assert!(!check("h2c", "Upgrade, HTTP2-Settings"));
        assert!(!check("websocket", "keep-alive"));
    }

    #[test]
    fn chunked_bodies_end_where_they_say() {
        let table: &[(&str, Result<usize, ClientFault>)] = &[
            ("5\r\nhello\r\n0\r\n\r\n", Ok(15)),
            ("5\r\nhello\r\n0\r\n\r\nGET /", Ok(15)),
            ("A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n", Ok(30)),
            ("5;ext=1\r\nhello\r\n0\r\n\r\n", Ok(21)),
            ("5 ;\ta = \"b; c\" ;d\r\nhello\r\n0;e\r\n\r\n", Ok(33)),
            ("5;a=\"\u{49b}\"\r\nhello\r\n0\r\n\r\n", Ok(22)),
            ("5;\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5;=a\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            (";a\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5;a\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5;a\rhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            (
                "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
                Err(ClientFault::Chunk),
            ),
            ("5;a\0\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5 5\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("5 \r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("0x5\r\nhello\r\n0\r\n\r\n", Err(ClientFault::Chunk)),
            ("\r\nhello", Err(ClientFault::Chunk)),
            ("5\r\nhelloX", Err(ClientFault::Chunk)),
            ("fffffffffffffffff\r\n", Err(ClientFault::Chunk)),
            ("0\r\nX: a\n\r\n", Err(ClientFault::Chunk)),
            ("0\r\n folded: a\r\n\r\n", Err(ClientFault::FoldedLine)),
        ];
        for (body, expected) in table {
            let mut scan = ChunkScan::default();
            let result = scan.advance(body.as_bytes());
            assert_eq!(result, *expected, "{body:?}");
            if result.is_ok() {
                assert!(scan.is_done(), "{body:?}");
            }
        }
    }

    #[test]
    fn extensions_are_bounded_over_all_chunks() {
        let body = |chunks: usize| "1;signature=abc\r\nx\r\n".repeat(chunks) + "0\r\n\r\n";
        let fitting = EXTENSION_BYTES_MAX / ";signature=abc".len();
        for (chunks, fits) in [(fitting, true), (fitting + 1, false)] {
            let mut scan = ChunkScan::default();
            let result = scan.advance(body(chunks).as_bytes());
            assert_eq!((result.is_ok(), scan.is_done()), (fits, fits), "{chunks}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_the_same_however_it_arrives(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let mut with_line = b"GET /a HTTP/1.1\r\nHost: a\r\n".to_vec();
            with_line.extend_from_slice(&bytes);
            with_line.extend_from_slice(b"\r\n\r\n");
            for text in [&bytes, &with_line] {
                let whole = parse(text, &mut 0, &mut Storage::new(), &Limits::default()).map(|head| head.map(|head| head.len));
                let mut scanned = 0;
                let cut = cut.min(text.len());
                let first = parse(&text[..cut], &mut scanned, &mut Storage::new(), &Limits::default()).map(|head| head.map(|head| head.len));
                if let Ok(None) = first {
                    let then = parse(text, &mut scanned, &mut Storage::new(), &Limits::default()).map(|head| head.map(|head| head.len));
                    prop_assert_eq!(then, whole);
                }
            }
        }

        #[test]
        fn chunk_scan_is_the_same_however_it_is_cut(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0usize..200) {
            let mut body = format!("{:x} ;a=\"b\"\r\n", bytes.len().max(1)).into_bytes();
            body.extend_from_slice(&bytes);
            body.extend_from_slice(b"\r\n0\r\n\r\ntail");
            let mut whole = ChunkScan::default();
            let expected = whole.advance(&body);
            let cut = cut.min(body.len());
            let mut halves = ChunkScan::default();
            let got = halves.advance(&body[..cut]).and_then(|first| halves.advance(&body[first..]).map(|second| first + second));
            prop_assert_eq!(got, expected);
        }
    }
}
