//! Questions to a resolver and its answers: of RFC 1035 as much as it takes to learn an address's names and a name's addresses.
//!
//! The answers are bytes from the network, though from a resolver the operator trusts: whoever owns a zone chooses what is in them. So a
//! name is one of a host or none, pointers lead backwards only, and no more is read than a bounded number of records. What does not
//! fit into a datagram is not asked for again over TCP: nobody with so many names is one whom we look for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// RFC 1035 §2.3.4, with a byte before each label and one at the end.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// Each leads further back, so they end anyway; nobody needs more.
const POINTERS_MAX: usize = 16;
/// Of one answer. An address has one name, a name some addresses.
const RECORDS_MAX: usize = 32;
/// An address's zone may be somebody else's (RFC 2317), which takes one alias.
const ALIASES_MAX: usize = 4;
const HEADER_BYTES: usize = 12;
/// RFC 1035 §4.2.1, without the extension that would allow for more.
pub const MESSAGE_BYTES_MAX: usize = 512;

const IN: u16 = 1;
const RECURSION_DESIRED: u8 = 1;
/// Of the third byte: it is an answer, the kind of question is the usual one.
const IS_ANSWER: u8 = 0x80;
const KIND_OF_QUESTION: u8 = 0x78;
const IS_CUT: u8 = 0x02;
const NO_SUCH_NAME: u8 = 3;

/// In lower case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    A = 1,
    Alias = 5,
    Ptr = 12,
    Aaaa = 28,
}

/// What was asked for. Both are empty when there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Those that a host can have.
    pub names: Vec<Name>,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    #[error("it answers another question")]
    Another,
    #[error("it is no answer that can be read")]
    Malformed,
    #[error("it does not fit into a datagram")]
    Cut,
    #[error("the resolver could not find out (code {code})")]
    Failed { code: u8 },
}

impl Name {
    /// Where an address's names are kept.
    pub fn of_address(address: IpAddr) -> Self {
        use std::fmt::Write as _;
        let mut text = String::new();
        // Writing to a text cannot fail.
        match address.to_canonical() {
            IpAddr::V4(address) => {
                for byte in address.octets().iter().rev() {
                    _ = write!(text, "{byte}.");
                }
                text.push_str("in-addr.arpa");
            }
            IpAddr::V6(address) => {
                for byte in address.octets().iter().rev() {
                    _ = write!(text, "{:x}.{:x}.", byte & 15, byte >> 4);
                }
                text.push_str("ip6.arpa");
            }
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Letters, digits, hyphens and, as some name their machines, underscores.
    fn is_hosts(&self) -> bool {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !self.0.is_empty() && self.0.bytes().all(fits)
    }
}

/// A question for a resolver that asks others in our place.
pub fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + name.0.len() + 6);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.0.split('.') {
        // Names of ours are of addresses, or were read here.
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&IN.to_be_bytes());
    message
}

/// Reads what came for a question.
///
/// # Errors
/// [`AnswerFault::Another`]: somebody else's datagram, or an old one; the answer may still come. All others are the end of it.
pub fn answer(message: &[u8], id: u16, name: &Name, kind: Kind) -> Result<Answer, AnswerFault> {
    let header = message
        .first_chunk::<HEADER_BYTES>()
        .ok_or(AnswerFault::Another)?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if number(0) != id || header[2] & IS_ANSWER == 0 {
        return Err(AnswerFault::Another);
    }
    if header[2] & KIND_OF_QUESTION != 0 || number(4) != 1 {
        return Err(AnswerFault::Malformed);
    }
    let mut reader = Reader {
        message,
        at: HEADER_BYTES,
    };
    let asked = reader.name()?;
    if asked.as_ref() != Some(name) || reader.number()? != kind as u16 || reader.number()? != IN {
        return Err(AnswerFault::Another);
    }
    if header[2] & IS_CUT != 0 {
        return Err(AnswerFault::Cut);
    }
    match header[3] & 15 {
        0 => {}
        NO_SUCH_NAME => return Ok(Answer::default()),
        code => return Err(AnswerFault::Failed { code }),
    }
    let records = usize::from(number(6)).min(RECORDS_MAX);
    let records: Vec<Record> = (0..records)
        .map(|_| reader.record())
        .collect::<Result<_, _>>()?;
    // What the name is another name for, and that one: in whatever order they stand.
    let mut owner = name.clone();
    for _ in 0..ALIASES_MAX {
        match records.iter().find(|one| one.is(&owner, Kind::Alias)) {
            Some(alias) => match reader.name_in(alias)? {
                Some(other) => owner = other,
                None => return Ok(Answer::default()),
            },
            None => break,
        }
    }
    let mut answer = Answer::default();
    for record in records.iter().filter(|one| one.is(&owner, kind)) {
        let data = &message[record.data.clone()];
        match kind {
            Kind::Ptr => {
                let name = reader.name_in(record)?;
                answer.names.extend(name.filter(Name::is_hosts));
            }
            Kind::A => answer.addresses.push(Ipv4Addr::from(sized(data)?).into()),
            Kind::Aaaa => answer.addresses.push(Ipv6Addr::from(sized(data)?).into()),
            Kind::Alias => {}
        }
    }
    Ok(answer)
}

/// One of an answer: its data are still bytes of the message.
struct Record {
    owner: Option<Name>,
    kind: u16,
    class: u16,
    data: Range<usize>,
}

impl Record {
    fn is(&self, owner: &Name, kind: Kind) -> bool {
        self.class == IN && self.kind == kind as u16 && self.owner.as_ref() == Some(owner)
    }
}

fn sized<const N: usize>(data: &[u8]) -> Result<[u8; N], AnswerFault> {
    data.try_into().map_err(|_| AnswerFault::Malformed)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, AnswerFault> {
        let byte = self.message.get(self.at).copied();
        self.at += 1;
        byte.ok_or(AnswerFault::Malformed)
    }

    fn number(&mut self) -> Result<u16, AnswerFault> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn skip(&mut self, bytes: usize) -> Result<(), AnswerFault> {
        self.at += bytes;
        (self.at <= self.message.len())
            .then_some(())
            .ok_or(AnswerFault::Malformed)
    }

    fn record(&mut self) -> Result<Record, AnswerFault> {
        let owner = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        // How long it holds: we have our own times.
        self.skip(4)?;
        let length = usize::from(self.number()?);
        let start = self.at;
        self.skip(length)?;
        let data = start..self.at;
        Ok(Record {
            owner,
            kind,
            class,
            data,
        })
    }

    /// That is a record's data, all of them.
    fn name_in(&self, record: &Record) -> Result<Option<Name>, AnswerFault> {
        let mut inner = Reader {
            message: self.message,
            at: record.data.start,
        };
        let name = inner.name()?;
        (inner.at == record.data.end)
            .then_some(name)
            .ok_or(AnswerFault::Malformed)
    }

    /// `None`: a name that is not written in plain letters and signs. It is skipped, and is nobody's.
    fn name(&mut self) -> Result<Option<Name>, AnswerFault> {
        let mut text = Vec::new();
        let mut is_plain = true;
        let (mut at, mut end, mut pointers) = (self.at, None, 0);
        loop {
            let length = *self.message.get(at).ok_or(AnswerFault::Malformed)?;
            at += 1;
            match (usize::from(length), length >> 6) {
                (0, _) => break,
                (length, 0) => {
                    debug_assert!(length <= LABEL_BYTES_MAX);
                    let label = self
                        .message
                        .get(at..at + length)
                        .ok_or(AnswerFault::Malformed)?;
                    at += length;
                    if !text.is_empty() {
                        text.push(b'.');
                    }
                    is_plain &= label
                        .iter()
                        .all(|byte| byte.is_ascii_graphic() && *byte != b'.');
                    text.extend(label.iter().map(u8::to_ascii_lowercase));
                    if text.len() + 2 > NAME_BYTES_MAX {
                        return Err(AnswerFault::Malformed);
                    }
                }
                (high, 3) => {
                    let low = *self.message.get(at).ok_or(AnswerFault::Malformed)?;
                    let before = at - 1;
                    end.get_or_insert(at + 1);
                    at = (high & 0x3f) << 8 | usize::from(low);
                    pointers += 1;
                    if at >= before || pointers > POINTERS_MAX {
                        return Err(AnswerFault::Malformed);
                    }
                }
                _ => return Err(AnswerFault::Malformed),
            }
        }
        self.at = end.unwrap_or(at);
        let text = String::from_utf8(text).ok().filter(|_| is_plain);
        Ok(text.map(Name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    fn name(text: &str) -> Name {
        Name(text.to_owned())
    }

    fn labels(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in text.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    /// `owner`: as bytes, so that it may be a pointer.
    fn record(owner: &[u8], kind: Kind, data: &[u8]) -> Vec<u8> {
        let mut bytes = owner.to_vec();
        bytes.extend_from_slice(&(kind as u16).to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn reply(question: &[u8], code: u8, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2] |= IS_ANSWER;
        bytes[3] = code;
        bytes[7] = records.len() as u8;
        bytes.extend(records.concat());
        bytes
    }

    /// Where the question's name stands.
    const ASKED: [u8; 2] = [0xc0, 12];

    #[test]
    fn addresses_have_their_names_in_two_zones() {
        let table = [
            ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
            ("::ffff:192.0.2.7", "7.2.0.192.in-addr.arpa"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ];
        for (address, expected) in table {
            assert_eq!(Name::of_address(address.parse().unwrap()), name(expected));
        }
    }

    #[test]
    fn a_question_is_what_the_wire_wants() {
        let asked = question(ID, &name("a.kz"), Kind::A);
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02kz\x00\x00\x01\x00\x01";
        assert_eq!(asked, expected);
    }

    #[test]
    fn names_and_addresses_are_read() {
        let address = Name::of_address("192.0.2.7".parse().unwrap());
        let asked = question(ID, &address, Kind::Ptr);
        let host = record(&ASKED, Kind::Ptr, &labels("Crawl-7.Googlebot.com"));
        let read = |records: &[Vec<u8>]| {
            answer(&reply(&asked, 0, records), ID, &address, Kind::Ptr).map(|answer| answer.names)
        };
        assert_eq!(
            read(std::slice::from_ref(&host)),
            Ok(vec![name("crawl-7.googlebot.com")])
        );
        // A zone that is another's: by an alias, with a slash in it.
        let alias = labels("7.0/25.2.0.192.in-addr.arpa");
        let handed_on = [
            record(&ASKED, Kind::Alias, &alias),
            record(&alias, Kind::Ptr, &labels("a.example")),
        ];
        assert_eq!(read(&handed_on), Ok(vec![name("a.example")]));
        // Resolvers give them in any order, and an alias may lead back to itself.
        let [first, second] = handed_on;
        assert_eq!(read(&[second, first]), Ok(vec![name("a.example")]));
        let own = labels(address.as_str());
        let round = [
            record(&ASKED, Kind::Alias, &alias),
            record(&alias, Kind::Alias, &own),
        ];
        assert_eq!(read(&round), Ok(Vec::new()));
        // Of somebody else; of another kind; no host's name; half a name.
        let others = [
            record(&labels("b.example"), Kind::Ptr, &labels("a.example")),
            record(&ASKED, Kind::A, &[192, 0, 2, 1]),
            record(&ASKED, Kind::Ptr, &labels("a b.example")),
            record(&ASKED, Kind::Ptr, &labels("a/b.example")),
            record(&ASKED, Kind::Ptr, b"\x03a.b\x00"),
            record(&ASKED, Kind::Ptr, b"\x00"),
        ];
        assert_eq!(read(&others), Ok(Vec::new()));
        let torn = record(&ASKED, Kind::Ptr, b"\x01a\x00\x00");
        assert_eq!(read(&[torn]), Err(AnswerFault::Malformed));

        let host = name("a.example");
        for (kind, data, expected) in [
            (Kind::A, vec![192, 0, 2, 7], "192.0.2.7"),
            (Kind::Aaaa, [0; 15].into_iter().chain([1]).collect(), "::1"),
        ] {
            let asked = question(ID, &host, kind);
            let records = [record(&ASKED, kind, &data)];
            let read = answer(&reply(&asked, 0, &records), ID, &host, kind).unwrap();
            assert_eq!(read.addresses, [expected.parse::<IpAddr>().unwrap()]);
            let records = [record(&ASKED, kind, &data[1..])];
            let read = answer(&reply(&asked, 0, &records), ID, &host, kind);
            assert_eq!(read, Err(AnswerFault::Malformed));
        }
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let host = name("a.example");
        let asked = question(ID, &host, Kind::A);
        let read = |message: &[u8]| answer(message, ID, &host, Kind::A);
        let other = question(ID, &name("b.example"), Kind::A);
        let late = question(ID + 1, &host, Kind::A);
        let mut cut = reply(&asked, 0, &[]);
        cut[2] |= IS_CUT;
        let table = [
            (asked.clone(), Err(AnswerFault::Another)),
            (reply(&other, 0, &[]), Err(AnswerFault::Another)),
            (reply(&late, 0, &[]), Err(AnswerFault::Another)),
            (Vec::new(), Err(AnswerFault::Another)),
            (cut, Err(AnswerFault::Cut)),
            (reply(&asked, 2, &[]), Err(AnswerFault::Failed { code: 2 })),
            (reply(&asked, 3, &[]), Ok(Answer::default())),
            (reply(&asked, 0, &[]), Ok(Answer::default())),
        ];
        for (message, expected) in table {
            assert_eq!(read(&message), expected, "{message:02x?}");
        }
        // Whatever it is cut to.
        let whole = reply(&asked, 0, &[record(&ASKED, Kind::A, &[192, 0, 2, 7])]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn pointers_lead_back_and_end() {
        let host = name("a.example");
        let asked = question(ID, &host, Kind::A);
        let here = (asked.len() as u16 | 0xc000).to_be_bytes();
        let forward = ((asked.len() + 2) as u16 | 0xc000).to_be_bytes();
        for owner in [here, forward, [0xff, 0xff], [0x80, 0], [0x40, 0]] {
            let message = reply(&asked, 0, &[record(&owner, Kind::A, &[192, 0, 2, 7])]);
            let read = answer(&message, ID, &host, Kind::A);
            assert_eq!(read, Err(AnswerFault::Malformed), "{owner:02x?}");
        }
        let long = [[63; 64].as_slice(); 4].concat();
        let message = reply(&asked, 0, &[record(&long, Kind::A, &[192, 0, 2, 7])]);
        assert_eq!(
            answer(&message, ID, &host, Kind::A),
            Err(AnswerFault::Malformed)
        );
    }

    #[test]
    fn no_more_records_are_read_than_may_be() {
        let host = name("a.example");
        let asked = question(ID, &host, Kind::A);
        let records = vec![record(&ASKED, Kind::A, &[192, 0, 2, 7]); 200];
        let read = answer(&reply(&asked, 0, &records), ID, &host, Kind::A).unwrap();
        assert_eq!(read.addresses.len(), RECORDS_MAX);
    }
}
