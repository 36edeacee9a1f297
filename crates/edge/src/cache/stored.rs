//! One stored response, ready to be sent.
//!
//! What a hit needs is made when the response is stored: the HTTP/1.1 head as bytes, the 304 head, the parsed validators. Answering
//! a plain hit is then a copy of the head, three short fields, and a reference to the body. Field values live in that same head, so
//! that a stored response keeps nothing of the buffer it was read from.
//!
//! Codings (br, zstd, gzip) join later, each once, in places that are empty until then; readers never wait for them. Their room is
//! counted from the start, and a coding that does not fit into it is not kept.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::conditional::{self, Tag, Validators};
use super::control::Control;
use super::freshness::{Freshness, date_secs, is_shared_with_authorized};
use super::purge::Tags;
use super::range::{self, Wanted};
use super::status::CacheStatus;
use super::vary::Selection;
use crate::body::Body;
use crate::clock::UnixMillis;
use crate::compress::{self, Accepted, CODINGS, Coding, Compressible};
use crate::fields::Fields;

/// Everything about an entry that is not its bytes: the struct, the reference counts, the table's slot, what a map of fields has spare.
/// `weights_cover_what_is_allocated` in `tests/cache_memory.rs` compares with what the process really holds.
pub const OVERHEAD_BYTES: u64 = 2048;

/// A slot in `HeaderMap`: name, value, hash, links.
const FIELD_OVERHEAD_BYTES: u64 = 128;

/// What a coding's head has more than the plain one.
const CODED_HEAD_EXTRA_BYTES: u64 = 48;

/// One representation: identity or a coding of it.
#[derive(Debug)]
pub struct Form {
    head: Head,
    body: Bytes,
}

/// `HTTP/1.1 200 OK` and every field, up to where `age` follows; no blank line.
#[derive(Debug)]
struct Head {
    bytes: Bytes,
    /// Where [`KEEPING_FIELDS`] begin: they come last, so that an answer nobody may keep is a part of this one.
    unkept: usize,
}

impl Form {
    pub fn head(&self) -> &Bytes {
        &self.head.bytes
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// What unsafe requests have said against a response since it was asked for (RFC 9111 §4.4), the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Doubt {
    #[default]
    None,
    /// A stranger wrote to its address and the origin did not mind. It is asked for anew, and serves until then as a stale copy does.
    Suspect,
    /// Staff wrote. Who asks next waits for the origin's word; the copy is for an origin that has none.
    Invalid,
}

#[derive(Debug)]
pub struct Stored {
    status: StatusCode,
    /// As to be sent, without `Age`, `Cache-Status` and whatever belongs to a connection.
    headers: HeaderMap,
    identity: Form,
    /// By [`Coding::index`] less one. `None` inside: tried, and not worth it.
    coded: [OnceLock<Option<Form>>; 3],
    asked: AtomicU8,
    doubt: AtomicU8,
    /// How many of its readers are still looked at; 0: none are wanted.
    vouchers: AtomicU8,
    tags: Tags,
    /// Of the newest purge it has been compared with.
    purge_number: AtomicU64,
    not_modified: Head,
    validators: Validators,
    selection: Selection,
    freshness: Freshness,
    shared_with_authorized: bool,
    serial: u64,
    weight: u64,
}

/// Nobody has said yet whether vouchers are wanted.
const NOT_VOUCHED: u8 = u8::MAX;
/// Readers who may vouch for a page before it is left where it is: it takes three networks, and one that reads it again and again must not
/// make each of its hits dear.
const VOUCHERS_MAX: u8 = 64;

/// What is needed to store a response.
#[derive(Debug)]
pub struct Draft {
    pub status: StatusCode,
    /// Cleaned by [`shared_fields`].
    pub headers: HeaderMap,
    pub body: Bytes,
    pub selection: Selection,
    pub freshness: Freshness,
    /// Nobody outside can foresee it; part of the boundary of multipart answers.
    pub serial: u64,
}

/// The answer a request gets from a stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Whole(Coding),
    /// With the entity tag of this coding.
    NotModified(Coding),
    Parts(Vec<Range<usize>>),
    Unsatisfiable,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Slices of the stored body, and part heads between them.
    pub body: Vec<Bytes>,
}

impl Answer {
    pub fn into_response(self) -> http::Response<Body> {
        let mut response = http::Response::new(body_of(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

fn body_of(mut slices: Vec<Bytes>) -> Body {
    match slices.len() {
        0 => Body::Empty,
        1 => Body::full(slices.swap_remove(0)),
        _ => Body::stream(Slices {
            slices: slices.into_iter(),
        }),
    }
}

struct Slices {
    slices: std::vec::IntoIter<Bytes>,
}

impl http_body::Body for Slices {
    type Data = Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(
            self.get_mut()
                .slices
                .next()
                .map(|slice| Ok(http_body::Frame::data(slice))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.slices.as_slice().is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(
            self.slices
                .as_slice()
                .iter()
                .map(|slice| slice.len() as u64)
                .sum(),
        )
    }
}

const NO_STORE_LINE: &[u8] = b"cache-control: no-store\r\n";

/// Fields that say how long a response may be kept, by us or by whoever stands between us and its reader.
pub const KEEPING_FIELDS: [&str; 4] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "expires",
];

fn says_how_long(name: &HeaderName) -> bool {
    KEEPING_FIELDS.contains(&name.as_str())
}

impl Stored {
    pub fn new(draft: Draft) -> Self {
        Self::with_codings(draft, [None, None, None])
    }

    /// `codings`: bodies already compressed, kept over a revalidation.
    fn with_codings(draft: Draft, codings: [Option<Bytes>; 3]) -> Self {
        let Draft {
            status,
            mut headers,
            body,
            selection,
            freshness,
            serial,
        } = draft;
        let control = Control::of_response(&headers);
        let coded = may_be_coded(status, &headers, Some(body.len() as u64));
        if coded {
            add_vary(&mut headers);
        }
        if has_length(status) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        } else {
            headers.remove(header::CONTENT_LENGTH);
        }
        let (head, headers) = serialise(status, &headers);
        let not_modified = Head::new(
            StatusCode::NOT_MODIFIED,
            ordered(&headers).filter(|(name, _)| !is_about_content(name)),
        );
        let validators = Validators {
            etag: headers
                .get(header::ETAG)
                .map(|etag| Tag::new(bytes_of(etag))),
            last_modified: date_secs(&headers, "last-modified"),
            date: date_secs(&headers, "date"),
            coded,
        };
        let fields = headers.len() as u64 * FIELD_OVERHEAD_BYTES;
        let head_bytes = head.bytes.len() as u64;
        let heads = head_bytes + not_modified.bytes.len() as u64;
        let room_for_codings = if coded {
            body.len() as u64 + CODINGS.len() as u64 * (head_bytes + CODED_HEAD_EXTRA_BYTES)
        } else {
            0
        };
        let tags = Tags::of(&headers);
        let weight = OVERHEAD_BYTES
            + tags.weight()
            + fields
            + heads
            + body.len() as u64
            + room_for_codings
            + selection.weight() as u64;
        let stored = Self {
            status,
            headers,
            identity: Form { head, body },
            coded: Default::default(),
            asked: AtomicU8::new(0),
            vouchers: AtomicU8::new(NOT_VOUCHED),
            doubt: AtomicU8::new(Doubt::None as u8),
            tags,
            purge_number: AtomicU64::new(0),
            not_modified,
            validators,
            selection,
            freshness,
            // What is said of every page out of habit was not said of this one.
            shared_with_authorized: is_shared_with_authorized(&control)
                && !freshness.overrules_a_habit(),
            serial,
            weight,
        };
        if coded {
            for (coding, body) in [Coding::Gzip, Coding::Zstd, Coding::Brotli]
                .into_iter()
                .zip(codings)
            {
                if let Some(body) = body {
                    stored.keep(coding, Some(body));
                }
            }
        }
        stored
    }

    /// The same body under the fields of a 304 (RFC 9111 §3.2 and §4.3.4). `selection`: by the request that was validated, if the
    /// 304 names other fields in `Vary`.
    pub fn freshened(
        &self,
        headers: HeaderMap,
        selection: Option<Selection>,
        freshness: Freshness,
        serial: u64,
    ) -> Self {
        let codings = [Coding::Gzip, Coding::Zstd, Coding::Brotli]
            .map(|coding| self.form(coding).map(|form| form.body.clone()));
        let draft = Draft {
            status: self.status,
            headers,
            body: self.identity.body.clone(),
            selection: selection.unwrap_or_else(|| self.selection.clone()),
            freshness,
            serial,
        };
        Self::with_codings(draft, codings)
    }

    /// The site does not name this page: its next readers are to be looked at.
    pub(crate) fn want_vouchers(&self) {
        let (before, after) = (NOT_VOUCHED, VOUCHERS_MAX);
        // Wanted before, or had.
        _ = self
            .vouchers
            .compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn wants_vouchers(&self) -> bool {
        (1..=VOUCHERS_MAX).contains(&self.vouchers.load(Ordering::Relaxed))
    }

    /// One reader more has been looked at.
    pub(crate) fn vouched(&self, enough: bool) {
        let left = self.vouchers.load(Ordering::Relaxed);
        let left = if enough { 0 } else { left.saturating_sub(1) };
        self.vouchers.store(left, Ordering::Relaxed);
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Without `Age` and `Cache-Status`.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub fn body(&self) -> &Bytes {
        &self.identity.body
    }

    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        self.freshness.is_fresh(now) && self.doubt() == Doubt::None
    }

    pub fn doubt(&self) -> Doubt {
        match self.doubt.load(Ordering::Relaxed) {
            0 => Doubt::None,
            1 => Doubt::Suspect,
            _ => Doubt::Invalid,
        }
    }

    /// A graver doubt takes the place of a lesser one, never the other way.
    pub(super) fn cast_doubt(&self, doubt: Doubt) {
        self.doubt.fetch_max(doubt as u8, Ordering::Relaxed);
    }

    pub(super) fn tags(&self) -> &Tags {
        &self.tags
    }

    pub(super) fn purge_number(&self) -> u64 {
        self.purge_number.load(Ordering::Relaxed)
    }

    pub(super) fn compared_with(&self, purge_number: u64) {
        self.purge_number.fetch_max(purge_number, Ordering::Relaxed);
    }

    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Bytes it counts for, codings to come included.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// May it answer a request with `Authorization`?
    pub fn is_shared_with_authorized(&self) -> bool {
        self.shared_with_authorized
    }

    /// `If-None-Match` and `If-Modified-Since` for the origin: its own tag, its own date. Empty: there is nothing to validate by, or the
    /// copy is known to be wrong. WordPress makes both of a feed's from the second in which a post was last changed, so the
    /// second change within a second would be told apart by neither.
    pub fn validation_fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if self.doubt() == Doubt::Invalid {
            return fields;
        }
        if let Some(etag) = self.headers.get(header::ETAG) {
            fields.insert(header::IF_NONE_MATCH, etag.clone());
        }
        if let Some(date) = self.headers.get(header::LAST_MODIFIED) {
            fields.insert(header::IF_MODIFIED_SINCE, date.clone());
        }
        fields
    }

    /// How to answer, and a coding the client would have liked better.
    pub(super) fn shape<F: Fields + ?Sized>(
        &self,
        method: &Method,
        request: &F,
    ) -> (Shape, Option<Coding>) {
        if self.status.is_success()
            && let Some(coding) = conditional::not_modified(request, &self.validators)
        {
            return (Shape::NotModified(coding), None);
        }
        if self.status == StatusCode::OK
            && *method == Method::GET
            && let Some(specs) = request.field("range").and_then(range::parse)
            && conditional::range_applies(request, &self.validators)
        {
            match range::resolve(&specs, self.identity.body.len()) {
                Wanted::Whole => {}
                Wanted::Parts(parts) => return (Shape::Parts(parts), None),
                Wanted::Unsatisfiable => return (Shape::Unsatisfiable, None),
            }
        }
        if !self.validators.coded {
            return (Shape::Whole(Coding::Identity), None);
        }
        let accepted = Accepted::of(request);
        let made = accepted.best_of(|coding| self.form(coding).is_some());
        let best = accepted.best();
        let wanted = (best != Coding::Identity && made != best).then_some(best);
        (Shape::Whole(made), wanted)
    }

    /// True once for each coding, until [`Compressible::refused`].
    pub(super) fn claim(&self, coding: Coding) -> bool {
        let bit = 1 << coding.index();
        self.asked.load(Ordering::Relaxed) & bit == 0
            && self.asked.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub fn form(&self, coding: Coding) -> Option<&Form> {
        match coding.index().checked_sub(1) {
            None => Some(&self.identity),
            Some(at) => self.coded[at].get()?.as_ref(),
        }
    }

    /// Appends the complete HTTP/1.1 head of a plain answer, blank line included, and returns the body that follows it (for HEAD,
    /// the caller leaves it out). `more`: whole lines, like `connection: close\r\n`. `None` and nothing appended: a range, which
    /// [`Stored::answer`] knows.
    pub fn write_head(
        &self,
        shape: &Shape,
        now: UnixMillis,
        status: &CacheStatus,
        more: &[u8],
        out: &mut BytesMut,
    ) -> Option<Bytes> {
        self.write(shape, now, status, |head| &head.bytes, [more, b""], out)
    }

    /// As [`Stored::write_head`], for an answer to another address than its own, which nobody may keep.
    pub fn write_head_unkept<'a>(
        &'a self,
        shape: &Shape,
        now: UnixMillis,
        status: &CacheStatus,
        more: &[u8],
        out: &mut BytesMut,
    ) -> Option<Bytes> {
        let unkept = |head: &'a Head| &head.bytes[..head.unkept];
        self.write(shape, now, status, unkept, [more, NO_STORE_LINE], out)
    }

    fn write<'a>(
        &'a self,
        shape: &Shape,
        now: UnixMillis,
        status: &CacheStatus,
        part: impl Fn(&'a Head) -> &'a [u8],
        more: [&[u8]; 2],
        out: &mut BytesMut,
    ) -> Option<Bytes> {
        let lines: usize = more.iter().map(|lines| lines.len()).sum();
        let body = match shape {
            Shape::Whole(coding) => {
                let form = self.form(*coding)?;
                let head = part(&form.head);
                out.reserve(head.len() + lines + 128);
                out.put_slice(head);
                form.body.clone()
            }
            Shape::NotModified(coding) => {
                let head = part(&self.not_modified);
                out.reserve(head.len() + lines + 192);
                out.put_slice(head);
                if let Some(etag) = &self.validators.etag {
                    out.put_slice(b"etag: ");
                    out.put_slice(&etag.of_coding(*coding));
                    out.put_slice(b"\r\n");
                }
                Bytes::new()
            }
            Shape::Parts(_) | Shape::Unsatisfiable => return None,
        };
        out.put_slice(b"age: ");
        out.put_slice(
            itoa::Buffer::new()
                .format(self.freshness.age_secs(now))
                .as_bytes(),
        );
        out.put_slice(b"\r\ncache-status: ");
        status.write(out);
        out.put_slice(b"\r\n");
        more.iter().for_each(|lines| out.put_slice(lines));
        out.put_slice(b"\r\n");
        Some(body)
    }

    /// The same for whoever wants fields one by one (HTTP/2), and for ranges. HEAD has no body.
    pub fn answer(
        &self,
        shape: &Shape,
        method: &Method,
        now: UnixMillis,
        status: &CacheStatus,
    ) -> Answer {
        let mut answer = match shape {
            Shape::Whole(coding) => self.whole(*coding),
            Shape::NotModified(coding) => self.unmodified(*coding),
            Shape::Parts(parts) => self.partial(parts),
            Shape::Unsatisfiable => self.unsatisfiable(),
        };
        if *method == Method::HEAD {
            answer.body.clear();
        }
        answer
            .headers
            .insert(header::AGE, HeaderValue::from(self.freshness.age_secs(now)));
        answer
            .headers
            .append(HeaderName::from_static("cache-status"), status.to_value());
        answer
    }

    fn whole(&self, coding: Coding) -> Answer {
        let mut headers = self.headers.clone();
        let body = match self.form(coding) {
            Some(form) if coding != Coding::Identity => {
                coded_fields(
                    &mut headers,
                    coding,
                    self.validators.etag.as_ref(),
                    form.body.len(),
                );
                form.body.clone()
            }
            _ => self.identity.body.clone(),
        };
        let body = if body.is_empty() {
            Vec::new()
        } else {
            vec![body]
        };
        Answer {
            status: self.status,
            headers,
            body,
        }
    }

    fn unmodified(&self, coding: Coding) -> Answer {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| !is_about_content(name))
        {
            headers.append(name, value.clone());
        }
        if let Some(etag) = &self.validators.etag
            && let Ok(value) = HeaderValue::from_maybe_shared(etag.of_coding(coding))
        {
            headers.insert(header::ETAG, value);
        }
        Answer {
            status: StatusCode::NOT_MODIFIED,
            headers,
            body: Vec::new(),
        }
    }

    fn partial(&self, parts: &[Range<usize>]) -> Answer {
        let total = self.identity.body.len();
        let mut headers = self.headers.clone();
        let mut body = Vec::with_capacity(2 * parts.len() + 1);
        if let [part] = parts {
            headers.insert(header::CONTENT_RANGE, content_range(part, total));
            body.push(self.identity.body.slice(part.clone()));
        } else {
            let content_type = headers.get(header::CONTENT_TYPE).map(bytes_of);
            let boundary = format!("{:016x}", self.serial);
            for part in parts {
                let mut head = BytesMut::with_capacity(160);
                head.put_slice(format!("\r\n--{boundary}\r\n").as_bytes());
                if let Some(content_type) = &content_type {
                    head.put_slice(b"content-type: ");
                    head.put_slice(content_type);
                    head.put_slice(b"\r\n");
                }
                head.put_slice(b"content-range: ");
                head.put_slice(content_range(part, total).as_bytes());
                head.put_slice(b"\r\n\r\n");
                body.push(head.freeze());
                body.push(self.identity.body.slice(part.clone()));
            }
            body.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
            let value = format!("multipart/byteranges; boundary={boundary}");
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_maybe_shared(Bytes::from(value))
                    .unwrap_or(HeaderValue::from_static("multipart/byteranges")),
            );
        }
        let length: usize = body.iter().map(Bytes::len).sum();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Answer {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            body,
        }
    }

    fn unsatisfiable(&self) -> Answer {
        let mut headers = HeaderMap::with_capacity(4);
        if let Some(date) = self.headers.get(header::DATE) {
            headers.insert(header::DATE, date.clone());
        }
        let value = format!("bytes */{}", self.identity.body.len());
        headers.insert(
            header::CONTENT_RANGE,
            HeaderValue::from_maybe_shared(Bytes::from(value))
                .unwrap_or(HeaderValue::from_static("bytes */*")),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        Answer {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            body: Vec::new(),
        }
    }

    fn keep(&self, coding: Coding, body: Option<Bytes>) {
        let Some(at) = coding.index().checked_sub(1) else {
            return;
        };
        let form = body.map(|body| {
            let mut headers = self.headers.clone();
            coded_fields(
                &mut headers,
                coding,
                self.validators.etag.as_ref(),
                body.len(),
            );
            Form {
                head: Head::new(self.status, ordered(&headers)),
                body,
            }
        });
        self.asked.fetch_or(1 << coding.index(), Ordering::Relaxed);
        // Somebody else may have been first; theirs is as good.
        drop(self.coded[at].set(form));
    }

    /// Bytes of codings there are.
    fn coded_bytes(&self) -> usize {
        CODINGS
            .into_iter()
            .filter_map(|coding| self.form(coding))
            .map(|form| form.body.len())
            .sum()
    }
}

impl Compressible for Stored {
    fn compress(&self, coding: Coding) {
        let room = self.identity.body.len().saturating_sub(self.coded_bytes());
        self.keep(
            coding,
            compress::compress(coding, &self.identity.body, room),
        );
    }

    fn refused(&self, coding: Coding) {
        self.asked
            .fetch_and(!(1 << coding.index()), Ordering::Relaxed);
    }
}

/// Will it be compressed for who likes that, once it is stored? `length`: where it is known.
pub(crate) fn may_be_coded(status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> bool {
    const CHECKSUMS: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];
    let fits = |length| {
        (compress::BODY_BYTES_MIN as u64..=compress::BODY_BYTES_MAX as u64).contains(&length)
    };
    status == StatusCode::OK
        && length.is_none_or(fits)
        && !Control::of_response(headers).no_transform
        && !Control::of(headers).no_transform
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && CHECKSUMS.iter().all(|name| !headers.contains_key(*name))
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| compress::is_text(value.as_bytes()))
}

/// Says, on every form of a page, that there are others.
pub(crate) fn add_vary(headers: &mut HeaderMap) {
    let says_so =
        super::vary::names(headers).is_some_and(|names| names.contains(&header::ACCEPT_ENCODING));
    if !says_so {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn coded_fields(headers: &mut HeaderMap, coding: Coding, etag: Option<&Tag>, length: usize) {
    headers.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(coding.token()),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(etag) = etag
        && let Ok(value) = HeaderValue::from_maybe_shared(etag.of_coding(coding))
    {
        headers.insert(header::ETAG, value);
    }
}

fn content_range(part: &Range<usize>, total: usize) -> HeaderValue {
    let value = format!(
        "bytes {}-{}/{total}",
        part.start,
        part.end.saturating_sub(1)
    );
    HeaderValue::from_maybe_shared(Bytes::from(value))
        .unwrap_or(HeaderValue::from_static("bytes */*"))
}

fn bytes_of(value: &HeaderValue) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// 1xx, 204 and 304 have no body and must not claim one.
fn has_length(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// Describes the content a 304 does not carry (RFC 9110 §15.4.5), or is added by hand.
fn is_about_content(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type"
            | "content-length"
            | "content-encoding"
            | "content-language"
            | "content-range"
            | "content-md5"
            | "content-disposition"
            | "etag"
            | "accept-ranges"
    )
}

fn put_status_line(out: &mut BytesMut, status: StatusCode) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

type Line<'a> = (&'a HeaderName, &'a HeaderValue);

/// In the order they have in a [`Head`].
fn ordered(headers: &HeaderMap) -> impl Iterator<Item = Line<'_>> {
    let of_kind = |keeps: bool| {
        headers
            .iter()
            .filter(move |(name, _)| says_how_long(name) == keeps)
    };
    of_kind(false).chain(of_kind(true))
}

impl Head {
    fn new<'a>(status: StatusCode, fields: impl Iterator<Item = Line<'a>>) -> Self {
        let mut out = BytesMut::with_capacity(1024);
        put_status_line(&mut out, status);
        let mut unkept = out.len();
        for (name, value) in fields {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
            if !says_how_long(name) {
                unkept = out.len();
            }
        }
        Self {
            bytes: Bytes::copy_from_slice(&out),
            unkept,
        }
    }
}

/// The head, and the same fields as a map whose values lie in it.
fn serialise(status: StatusCode, headers: &HeaderMap) -> (Head, HeaderMap) {
    let head = Head::new(status, ordered(headers));
    let mut map = HeaderMap::with_capacity(headers.len());
    // Past the status line, then from field to field.
    let mut at = memchr::memchr(b'\n', &head.bytes).map_or(head.bytes.len(), |end| end + 1);
    for (name, value) in ordered(headers) {
        let from = at + name.as_str().len() + 2;
        let to = from + value.len();
        let shared = HeaderValue::from_maybe_shared(head.bytes.slice(from..to))
            .unwrap_or_else(|_| value.clone());
        map.append(name, shared);
        at = to + 2;
    }
    (head, map)
}

/// Fields that belong to one connection (RFC 9110 §7.6.1), and those `Connection` names.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 10] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("proxy-authentication-info"),
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    for line in headers.get_all(header::CONNECTION) {
        for name in line
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            if let Ok(name) = HeaderName::from_bytes(name) {
                kept.remove(name);
            }
        }
    }
    kept
}

/// What of a response more than one client may see: no cookies, nothing the origin calls private or not to be reused unasked.
pub fn shared_fields(headers: &HeaderMap) -> HeaderMap {
    let mut kept = end_to_end(headers);
    let control = Control::of_response(headers);
    for name in control
        .private
        .names()
        .iter()
        .chain(control.no_cache.names())
    {
        kept.remove(name);
    }
    kept.remove(header::SET_COOKIE);
    kept.remove(header::AGE);
    kept
}

/// The fields of a stored response after a 304: each the 304 carries replaces all its lines, but what describes the stored bytes
/// stays.
pub fn merged(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    let fresh = shared_fields(not_modified);
    for name in fresh.keys() {
        let kept = matches!(
            name.as_str(),
            "content-encoding" | "content-length" | "content-md5" | "content-range" | "etag"
        );
        if kept {
            continue;
        }
        fields.remove(name);
        for value in fresh.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    fields
}
