//! One response as it lies in a file.
//!
//! A file outlives the program that wrote it, the power, and sometimes the disk's honesty. So it begins with what it is and in which
//! version, says how long its parts are, and carries a sum over each; the body's sum takes in the head's, so that the body of one file
//! never passes for that of another. Whatever does not add up is no record, and its reader treats it as if it had never been there.
//!
//! Sums and names are SipHash under a key of this folder's own: it is quick, the same on every machine and in every version, and nobody
//! outside can find two addresses with one name, or tell from a name which address it stands for.
//!
//! What a file holds of a request is the page's address and the mark of its variant, no more. Which addresses may stand in a file at
//! all is [`super::permitted`]'s to say.

use std::hash::Hasher;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use siphasher::sip::SipHasher13;

use crate::cache::key::Scheme;
use crate::clock::UnixMillis;

/// Another layout, another number: what an older or newer program wrote is a miss.
pub const VERSION: u8 = 1;
const MAGIC: [u8; 7] = *b"saqta-r";

/// Magic and version, two lengths, two sums.
pub const PRELUDE_BYTES: usize = 32;
/// Fields of a response and its address: origins send 1 to 4 KB, a policy of an ambitious kind 16.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Twice what the memory's largest object may be, so that a larger one there needs no other format here.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Responses have 10 to 30.
const FIELDS_MAX: usize = 256;

/// What a page is found by, in bytes the caller has already put into their one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// The site's name in the settings: numbers change when a site is added.
    pub site: &'a [u8],
    pub scheme: Scheme,
    /// With its port, unless that is the scheme's own.
    pub host: &'a [u8],
    pub target: &'a [u8],
    /// Tells variants of one address apart; empty for most pages. Never a reader's own value.
    pub mark: &'a [u8],
}

impl Identity<'_> {
    /// The same page for a reader who has not chosen a language or a currency.
    pub fn without_choice(self) -> Self {
        Self { mark: b"", ..self }
    }
}

/// The same with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub site: Box<[u8]>,
    pub scheme: Scheme,
    pub host: Box<[u8]>,
    pub target: Box<[u8]>,
    pub mark: Box<[u8]>,
}

/// A response without anything about when it may be used: that is judged anew from its fields when it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When its head arrived here.
    pub received: UnixMillis,
    /// How old it was then.
    pub age_secs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub address: Address,
    pub response: Response,
    /// What its keeper noted beside it.
    pub note: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("it is not one of our files")]
    Foreign,
    #[error("it is of version {0}")]
    Version(u8),
    #[error("it is not as long as it says")]
    Length,
    #[error("its head does not add up")]
    HeadSum,
    #[error("its body does not add up")]
    BodySum,
    #[error("its head cannot be read")]
    Head,
}

/// Names and sums of one folder.
#[derive(Clone, Copy)]
pub struct Seal(u64, u64);

impl Seal {
    pub fn new(key: [u8; 16]) -> Self {
        let (one, two) = key.split_at(8);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        Self(number(one), number(two))
    }

    /// Of the file a page lies in.
    pub fn name(self, page: &Identity<'_>) -> u64 {
        let parts = [page.site, page.host, page.target, page.mark];
        let length: usize = parts.iter().map(|part| size_of::<u64>() + part.len()).sum();
        // In one piece it costs a third.
        let mut bytes = Vec::with_capacity(1 + length);
        bytes.push(scheme_byte(page.scheme));
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        SipHasher13::new_with_keys(self.0, self.1).hash(&bytes)
    }

    /// Not comparable with a name: a sum's key is another.
    pub fn sum(self, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(!self.0, self.1);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Seal")
    }
}

impl<'a> Identity<'a> {
    pub fn to_address(&self) -> Address {
        Address {
            site: self.site.into(),
            scheme: self.scheme,
            host: self.host.into(),
            target: self.target.into(),
            mark: self.mark.into(),
        }
    }
}

impl Address {
    pub fn as_identity(&self) -> Identity<'_> {
        Identity {
            site: &self.site,
            scheme: self.scheme,
            host: &self.host,
            target: &self.target,
            mark: &self.mark,
        }
    }
}

/// Everything before the body. `None`: longer than a record may be.
pub fn encode(
    seal: Seal,
    page: &Identity<'_>,
    response: &Response,
    note: &[u8],
) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    head.push(scheme_byte(page.scheme));
    for part in [page.site, page.host, page.target, page.mark] {
        put_short(&mut head, part)?;
    }
    head.extend_from_slice(&response.status.as_u16().to_le_bytes());
    head.extend_from_slice(&response.received.0.to_le_bytes());
    head.extend_from_slice(&response.age_secs.to_le_bytes());
    put_long(&mut head, note)?;
    if response.headers.len() > FIELDS_MAX {
        return None;
    }
    head.extend_from_slice(&u16::try_from(response.headers.len()).ok()?.to_le_bytes());
    for (name, value) in &response.headers {
        put_short(&mut head, name.as_str().as_bytes())?;
        put_long(&mut head, value.as_bytes())?;
    }
    frame(seal, &head, &response.body)
}

/// Prelude and head around these bytes, whatever they say.
pub fn frame(seal: Seal, head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    if head.len() > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(PRELUDE_BYTES + head.len());
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    let head_sum = seal.sum(&[&out, head]).to_le_bytes();
    out.extend_from_slice(&head_sum);
    out.extend_from_slice(&seal.sum(&[&head_sum, body]).to_le_bytes());
    out.extend_from_slice(head);
    Some(out)
}

/// A whole file.
///
/// # Errors
/// Whatever is wrong with it.
pub fn decode(seal: Seal, file: &Bytes) -> Result<Record, RecordFault> {
    let prelude = Prelude::of(file)?;
    if file.len() != prelude.file_bytes() {
        return Err(RecordFault::Length);
    }
    let mut record = prelude.head(seal, file)?;
    let body = file.slice(PRELUDE_BYTES + prelude.head_bytes..);
    if seal.sum(&[&prelude.head_sum, &body]) != prelude.body_sum {
        return Err(RecordFault::BodySum);
    }
    record.response.body = body;
    Ok(record)
}

/// What a file's beginning says: its head with an empty body. `start` holds at least [`head_bytes`] of it.
///
/// # Errors
/// Whatever is wrong with what can be seen.
pub fn decode_head(seal: Seal, start: &Bytes, file_bytes: u64) -> Result<Record, RecordFault> {
    let prelude = Prelude::of(start)?;
    if file_bytes != prelude.file_bytes() as u64 {
        return Err(RecordFault::Length);
    }
    prelude.head(seal, start)
}

/// How much of a file is to be read for its head, from its first [`PRELUDE_BYTES`].
///
/// # Errors
/// When they are no prelude of ours.
pub fn head_bytes(start: &[u8]) -> Result<usize, RecordFault> {
    Prelude::of(start).map(|prelude| PRELUDE_BYTES + prelude.head_bytes)
}

struct Prelude {
    head_bytes: usize,
    body_bytes: usize,
    head_sum: [u8; 8],
    body_sum: u64,
}

impl Prelude {
    fn of(start: &[u8]) -> Result<Self, RecordFault> {
        let mut rest = Reader(start);
        if rest.take(MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(RecordFault::Foreign);
        }
        match rest.take(1) {
            Some([VERSION]) => {}
            Some([other]) => return Err(RecordFault::Version(*other)),
            _ => return Err(RecordFault::Length),
        }
        let mut read = || {
            let (head_bytes, body_bytes) = (rest.u32()? as usize, rest.u32()? as usize);
            let (head_sum, body_sum) = (rest.array()?, u64::from_le_bytes(rest.array()?));
            Some(Self {
                head_bytes,
                body_bytes,
                head_sum,
                body_sum,
            })
        };
        read()
            .filter(|prelude| {
                prelude.head_bytes <= HEAD_BYTES_MAX && prelude.body_bytes <= BODY_BYTES_MAX
            })
            .ok_or(RecordFault::Length)
    }

    fn file_bytes(&self) -> usize {
        PRELUDE_BYTES + self.head_bytes + self.body_bytes
    }

    fn head(&self, seal: Seal, file: &Bytes) -> Result<Record, RecordFault> {
        let end = PRELUDE_BYTES + self.head_bytes;
        if file.len() < end {
            return Err(RecordFault::Length);
        }
        let head = file.slice(PRELUDE_BYTES..end);
        if seal.sum(&[&file[..16], &head]) != u64::from_le_bytes(self.head_sum) {
            return Err(RecordFault::HeadSum);
        }
        record_of(&head).ok_or(RecordFault::Head)
    }
}

fn record_of(head: &Bytes) -> Option<Record> {
    let mut rest = Reader(head);
    let scheme = match rest.take(1)? {
        [0] => Scheme::Http,
        [1] => Scheme::Https,
        _ => return None,
    };
    let mut part = || rest.short().map(Box::<[u8]>::from);
    let address = Address {
        site: part()?,
        scheme,
        host: part()?,
        target: part()?,
        mark: part()?,
    };
    let status = StatusCode::from_u16(u16::from_le_bytes(rest.array()?)).ok()?;
    let received = UnixMillis(u64::from_le_bytes(rest.array()?));
    let age_secs = u64::from_le_bytes(rest.array()?);
    let note = head.slice_ref(rest.long()?);
    let count = usize::from(u16::from_le_bytes(rest.array()?));
    if count > FIELDS_MAX {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(count);
    for _ in 0..count {
        let name = HeaderName::from_bytes(rest.short()?).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(rest.long()?)).ok()?;
        headers.append(name, value);
    }
    rest.0.is_empty().then_some(Record {
        address,
        response: Response {
            status,
            headers,
            body: Bytes::new(),
            received,
            age_secs,
        },
        note,
    })
}

fn scheme_byte(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::Http => 0,
        Scheme::Https => 1,
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(bytes.len()).ok()?.to_le_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let count = u16::from_le_bytes(self.array()?);
        self.take(usize::from(count))
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.take(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: Seal = Seal(7, 11);

    fn response(fields: &[(&str, &str)], body: &[u8]) -> Response {
        Response {
            status: StatusCode::OK,
            headers: fields
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_bytes(name.as_bytes()).unwrap(),
                        HeaderValue::from_str(value).unwrap(),
                    )
                })
                .collect(),
            body: Bytes::copy_from_slice(body),
            received: UnixMillis(1_750_000_000_123),
            age_secs: 17,
        }
    }

    fn page(target: &[u8]) -> Identity<'_> {
        Identity {
            site: b"kaztag",
            scheme: Scheme::Https,
            host: b"kaztag.kz",
            target,
            mark: b"lang=kk",
        }
    }

    fn file(body: &[u8]) -> (Record, Vec<u8>) {
        let response = response(&[("content-type", "text/html"), ("etag", "\"1\"")], body);
        let mut file = encode(SEAL, &page(b"/2024/01/statement/"), &response, b"a note").unwrap();
        file.extend_from_slice(body);
        let record = Record {
            address: page(b"/2024/01/statement/").to_address(),
            response,
            note: Bytes::from_static(b"a note"),
        };
        (record, file)
    }

    #[test]
    fn what_was_written_is_read() {
        for body in [&b""[..], b"<p>Text", &[0; 70_000]] {
            let (record, file) = file(body);
            assert_eq!(decode(SEAL, &Bytes::from(file)), Ok(record));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (_, file) = file(b"<p>An article of a few words");
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                assert!(decode(SEAL, &Bytes::from(flipped)).is_err(), "{at} {bit}");
            }
            let cut = Bytes::copy_from_slice(&file[..at]);
            assert!(decode(SEAL, &cut).is_err(), "{at}");
        }
        let mut longer = file;
        longer.push(0);
        assert_eq!(decode(SEAL, &Bytes::from(longer)), Err(RecordFault::Length));
    }

    #[test]
    fn a_body_of_another_file_does_not_pass() {
        let (_, one) = file(b"first body");
        let other = response(&[], b"other body");
        let mut mixed = encode(SEAL, &page(b"/"), &other, b"").unwrap();
        mixed.extend_from_slice(&one[one.len() - 10..]);
        assert_eq!(decode(SEAL, &Bytes::from(mixed)), Err(RecordFault::BodySum));
    }

    #[test]
    fn another_folder_and_another_version_are_no_records() {
        let (_, mut file) = file(b"text");
        let file_bytes = Bytes::from(file.clone());
        assert_eq!(decode(Seal(7, 12), &file_bytes), Err(RecordFault::HeadSum));
        file[7] = 2;
        assert_eq!(
            decode(SEAL, &Bytes::from(file)),
            Err(RecordFault::Version(2))
        );
    }

    #[test]
    fn a_head_is_read_without_its_body() {
        let (mut record, file) = file(&[b'x'; 9000]);
        let needed = head_bytes(&file[..PRELUDE_BYTES]).unwrap();
        let start = Bytes::copy_from_slice(&file[..needed]);
        record.response.body = Bytes::new();
        assert_eq!(decode_head(SEAL, &start, file.len() as u64), Ok(record));
        assert_eq!(
            decode_head(SEAL, &start, file.len() as u64 - 1),
            Err(RecordFault::Length)
        );
    }

    #[test]
    fn no_two_addresses_have_one_spelling() {
        let one = Identity {
            host: b"kaztag.kz",
            target: b"/a",
            ..page(b"")
        };
        let other = Identity {
            host: b"kaztag.k",
            target: b"z/a",
            ..page(b"")
        };
        assert_ne!(SEAL.name(&one), SEAL.name(&other));
        assert_ne!(
            SEAL.name(&one),
            SEAL.name(&Identity {
                scheme: Scheme::Http,
                ..one
            })
        );
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(head in prop::collection::vec(any::<u8>(), 0..200), body in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut file = frame(SEAL, &head, &body).unwrap();
            file.extend_from_slice(&body);
            if let Ok(record) = decode(SEAL, &Bytes::from(file)) {
                let mut again = encode(SEAL, &record.address.as_identity(), &record.response, &record.note).unwrap();
                again.extend_from_slice(&record.response.body);
                prop_assert_eq!(decode(SEAL, &Bytes::from(again)), Ok(record));
            }
        }
    }
}
