//! A form that there was no room for, given back to its reader to be sent again.
//!
//! Nothing of it is kept here. The page that says "wait" carries what was sent, signed, and the browser sends that; what comes back is
//! opened and goes to the origin byte for byte, with the fields that the page in between has changed. So a comment in any encoding and a
//! small picture arrive as they were, and nobody can have us send for him what a browser would not have let him.
//!
//! Once. Numbers of what was sent are remembered, and no two at a time are let through; a form given out before the oldest of them was is
//! not sent by itself any more but shown to its reader again, who knows whether it arrived.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::keys::{Keys, SUM_BYTES};
use super::token::{self, Kind, SiteMark};
use crate::clock::UnixMillis;

/// A long comment, or a small picture with it.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// A longer one is no form's.
const CONTENT_TYPE_BYTES_MAX: usize = 200;
const ORIGIN_BYTES_MAX: usize = 255;
/// Browsers cut what is longer to the site's name themselves (4,096); a form gets along without.
const REFERER_BYTES_MAX: usize = 1_024;

/// Somebody who left the page open comes back to it within an hour, or asks himself whether he sent it.
const LASTS_S: u32 = 3_600;

/// Numbers of forms that were sent. So many in an hour are eighteen a second; 1.5 MB.
const SENT_MAX: usize = 65_536;

/// What a browser sends without asking whether it may.
const MEDIA: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// A form as its reader sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub content_type: Bytes,
    pub origin: Option<Bytes>,
    pub referer: Option<Bytes>,
    pub body: Bytes,
    /// Times it has been given back.
    pub tries: u8,
}

/// One that was given back, as it came again.
#[derive(Debug, PartialEq, Eq)]
pub struct Again {
    pub form: Form,
    pub(super) number: u64,
    since_s: u32,
}

/// Of what it is a form: the same fields to another address would be another form.
#[derive(Debug, Clone, Copy)]
pub struct Whither<'a> {
    pub site: SiteMark,
    pub host: &'a str,
    pub target: &'a str,
}

impl Form {
    /// `None`: a browser would not have sent it by itself, or it is too long to be held.
    pub fn new(content_type: &[u8], body: Bytes) -> Option<Self> {
        let media = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let is_form = MEDIA
            .iter()
            .any(|form| media.eq_ignore_ascii_case(form.as_bytes()));
        let fits = content_type.len() <= CONTENT_TYPE_BYTES_MAX && body.len() <= FORM_BYTES_MAX;
        (is_form && fits).then(|| Self {
            content_type: Bytes::copy_from_slice(content_type),
            origin: None,
            referer: None,
            body,
            tries: 0,
        })
    }

    #[must_use]
    pub fn with(self, origin: Option<&[u8]>, referer: Option<&[u8]>) -> Self {
        let within = |field: Option<&[u8]>, bytes_max| {
            field
                .filter(|field| (1..=bytes_max).contains(&field.len()))
                .map(Bytes::copy_from_slice)
        };
        Self {
            origin: within(origin, ORIGIN_BYTES_MAX),
            referer: within(referer, REFERER_BYTES_MAX),
            ..self
        }
    }

    /// What the page carries. `number`: nobody else's.
    pub fn seal(&self, keys: &Keys, number: u64, whither: Whither<'_>, now: UnixMillis) -> String {
        let mut record = Vec::with_capacity(self.body.len() + 64);
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(&token::secs(now).to_le_bytes());
        record.push(self.tries.saturating_add(1));
        for field in [
            Some(&self.content_type),
            self.origin.as_ref(),
            self.referer.as_ref(),
        ] {
            let field = field.map(Bytes::as_ref).unwrap_or_default();
            record.extend_from_slice(&(field.len() as u16).to_le_bytes());
            record.extend_from_slice(field);
        }
        record.extend_from_slice(&self.body);
        let said = said(whither, &record);
        let (week, sum) = keys.sum(|week| token::message(Kind::Form, whither.site, week, &said));
        let mut whole = Vec::with_capacity(1 + SUM_BYTES + record.len());
        whole.push(week);
        whole.extend_from_slice(&sum);
        whole.extend_from_slice(&record);
        BASE64.encode(whole)
    }

    /// `None`: not one of ours, or of another address.
    pub fn open(keys: &Keys, whither: Whither<'_>, text: &[u8]) -> Option<Again> {
        // Longer than any of ours need not be decoded.
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let whole = Bytes::from(BASE64.decode(text).ok()?);
        let (week, rest) = whole.split_first()?;
        let (sum, record) = rest.split_first_chunk::<SUM_BYTES>()?;
        let message = token::message(Kind::Form, whither.site, *week, &said(whither, record));
        if !token::is_same(&keys.sum_again(*week, &message)?, sum) {
            return None;
        }
        let (number, rest) = record.split_first_chunk()?;
        let (since_s, rest) = rest.split_first_chunk()?;
        let (tries, mut rest) = rest.split_first()?;
        let mut field = || {
            let (length, after) = rest.split_first_chunk()?;
            let (field, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            rest = after;
            Some(Some(whole.slice_ref(field)).filter(|field| !field.is_empty()))
        };
        let (content_type, origin, referer) = (field()??, field()?, field()?);
        Some(Again {
            form: Self {
                content_type,
                origin,
                referer,
                body: whole.slice_ref(rest),
                tries: *tries,
            },
            number: u64::from_le_bytes(*number),
            since_s: u32::from_le_bytes(*since_s),
        })
    }
}

/// A record's fields with their lengths, its body, and what signs them, in base64.
pub(crate) const TEXT_BYTES_MAX: usize = (1
    + SUM_BYTES
    + 19
    + CONTENT_TYPE_BYTES_MAX
    + ORIGIN_BYTES_MAX
    + REFERER_BYTES_MAX
    + FORM_BYTES_MAX)
    * 4
    / 3
    + 2;

/// Of a sum that nobody finds a second record for, as much as a token has room for.
fn said(whither: Whither<'_>, record: &[u8]) -> token::Said {
    let sum = Sha256::new()
        .chain_update((whither.host.len() as u64).to_le_bytes())
        .chain_update(whither.host)
        .chain_update((whither.target.len() as u64).to_le_bytes())
        .chain_update(whither.target)
        .chain_update(record)
        .finalize();
    token::part(&sum, 0)
}

/// What became of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody sent it before.
    Unsent,
    /// It went to the origin.
    Sent,
    /// Nobody knows any more.
    Unknown,
}

/// The numbers of forms that were sent.
#[derive(Debug)]
pub(super) struct Sent(Mutex<Numbers>);

#[derive(Debug)]
struct Numbers {
    sent: HashSet<u64>,
    /// As they were sent, with when they were given out.
    order: VecDeque<(u64, u32)>,
    /// Of forms given out until then some are not remembered.
    forgotten_s: u32,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Numbers {
            sent: HashSet::new(),
            order: VecDeque::new(),
            forgotten_s: 0,
        }))
    }

    pub(super) fn fate(&self, again: &Again, now: UnixMillis) -> Fate {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.fate(again, now)
    }

    /// It goes to the origin now, unless it has gone.
    pub(super) fn send(&self, again: &Again, now: UnixMillis) -> Fate {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = numbers.fate(again, now);
        if fate == Fate::Unsent {
            if numbers.order.len() == SENT_MAX
                && let Some((number, since_s)) = numbers.order.pop_front()
            {
                numbers.sent.remove(&number);
                numbers.forgotten_s = numbers.forgotten_s.max(since_s);
            }
            numbers.sent.insert(again.number);
            numbers.order.push_back((again.number, again.since_s));
        }
        fate
    }
}

impl Numbers {
    fn fate(&self, again: &Again, now: UnixMillis) -> Fate {
        let is_old = token::age_s(again.since_s, now).is_none_or(|age_s| age_s > LASTS_S);
        if self.sent.contains(&again.number) {
            Fate::Sent
        } else if is_old || again.since_s <= self.forgotten_s {
            Fate::Unknown
        } else {
            Fate::Unsent
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::token::tests::{NOW, later, site};
    use super::*;

    const URLENCODED: &[u8] = b"application/x-www-form-urlencoded";

    fn whither() -> Whither<'static> {
        Whither {
            site: site(),
            host: "a.kz",
            target: "/wp-comments-post.php",
        }
    }

    fn form(body: &'static [u8]) -> Form {
        Form::new(URLENCODED, Bytes::from_static(body)).unwrap()
    }

    fn again(keys: &Keys, number: u64, now: UnixMillis) -> Again {
        let text = form(b"comment=salem").seal(keys, number, whither(), now);
        Form::open(keys, whither(), text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_browser_sends_by_itself_is_a_form() {
        let table: [(&[u8], usize, bool); 9] = [
            (URLENCODED, 10, true),
            (
                b"Application/X-WWW-Form-Urlencoded; charset=windows-1251",
                0,
                true,
            ),
            (b"multipart/form-data; boundary=x", FORM_BYTES_MAX, true),
            (b"text/plain", 1, true),
            (b"application/json", 10, false),
            (b"", 10, false),
            (b"text/plainer", 1, false),
            (URLENCODED, FORM_BYTES_MAX + 1, false),
            (&[b'x'; CONTENT_TYPE_BYTES_MAX + 1], 10, false),
        ];
        for (content_type, bytes, expected) in table {
            let made = Form::new(content_type, Bytes::from(vec![b'x'; bytes]));
            assert_eq!(made.is_some(), expected, "{content_type:?} {bytes}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_back_comes_as_it_was(
            body in proptest::collection::vec(any::<u8>(), 0..2_000),
            origin in proptest::option::of("[ -~]{1,300}"),
            referer in proptest::option::of("[ -~]{1,1200}"),
        ) {
            let keys = Keys::new(NOW);
            let form = Form::new(b"multipart/form-data; boundary=qazaq", Bytes::from(body)).unwrap();
            let form = form.with(origin.as_deref().map(str::as_bytes), referer.as_deref().map(str::as_bytes));
            let text = form.seal(&keys, 7, whither(), NOW);
            prop_assert!(text.len() <= TEXT_BYTES_MAX);
            let again = Form::open(&keys, whither(), text.as_bytes()).unwrap();
            prop_assert_eq!(again.form.tries, 1);
            prop_assert_eq!(Form { tries: 0, ..again.form }, form);
        }

        #[test]
        fn whatever_is_sent_as_a_form_of_ours_is_read_or_not(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let keys = Keys::new(NOW);
            prop_assert_eq!(Form::open(&keys, whither(), &text), None);
            prop_assert_eq!(Form::open(&keys, whither(), BASE64.encode(&text).as_bytes()), None);
        }
    }

    #[test]
    fn the_longest_form_fits_and_a_longer_text_is_not_read() {
        let keys = Keys::new(NOW);
        let content_type = [
            b"text/plain;".as_slice(),
            &[b'x'; CONTENT_TYPE_BYTES_MAX - 11],
        ]
        .concat();
        let form = Form::new(&content_type, Bytes::from(vec![0xff; FORM_BYTES_MAX])).unwrap();
        let form = form.with(
            Some(&[b'o'; ORIGIN_BYTES_MAX]),
            Some(&[b'r'; REFERER_BYTES_MAX]),
        );
        let text = form.seal(&keys, 7, whither(), NOW);
        assert!(text.len() <= TEXT_BYTES_MAX);
        assert!(Form::open(&keys, whither(), text.as_bytes()).is_some());
        let cut = form.clone().with(
            Some(&[b'o'; ORIGIN_BYTES_MAX + 1]),
            Some(&[b'r'; REFERER_BYTES_MAX + 1]),
        );
        assert_eq!((cut.origin, cut.referer), (None, None));
    }

    #[test]
    fn whoever_touches_a_form_has_none() {
        let keys = Keys::new(NOW);
        let text = form(b"comment=salem").seal(&keys, 7, whither(), NOW);
        for at in 0..text.len() {
            for other in [b'A', b'B', b'_'] {
                let mut touched = text.clone().into_bytes();
                if touched[at] != other {
                    touched[at] = other;
                    assert_eq!(Form::open(&keys, whither(), &touched), None, "{at}");
                }
            }
            assert_eq!(Form::open(&keys, whither(), &text.as_bytes()[..at]), None);
        }
        let others = [
            Whither {
                target: "/wp-login.php",
                ..whither()
            },
            Whither {
                host: "b.kz",
                ..whither()
            },
            Whither {
                site: SiteMark::of("other"),
                ..whither()
            },
        ];
        for other in others {
            assert_eq!(Form::open(&keys, other, text.as_bytes()), None, "{other:?}");
        }
        assert_eq!(
            Form::open(&Keys::new(NOW), whither(), text.as_bytes()),
            None
        );
    }

    #[test]
    fn a_form_is_sent_once() {
        let keys = Keys::new(NOW);
        let sent = Sent::new();
        let now = later(1);
        let again = again(&keys, 7, now);
        // Looking is not sending.
        for _ in 0..3 {
            assert_eq!(sent.fate(&again, now), Fate::Unsent);
        }
        assert_eq!(sent.send(&again, now), Fate::Unsent);
        assert_eq!(sent.send(&again, now), Fate::Sent);
        assert_eq!(
            sent.fate(&again, later(10 * u64::from(LASTS_S))),
            Fate::Sent
        );
    }

    #[test]
    fn what_nobody_knows_any_more_is_not_sent() {
        let keys = Keys::new(NOW);
        let (hour, sent) = (u64::from(LASTS_S), Sent::new());
        let table = [
            (20, 20, Fate::Unsent),
            (20, 20 + hour, Fate::Unsent),
            (20, 21 + hour, Fate::Unknown),
            // Of a clock that was set back.
            (1_000, 20, Fate::Unknown),
        ];
        for (given, shown, expected) in table {
            let again = again(&keys, 7, later(given));
            assert_eq!(sent.fate(&again, later(shown)), expected, "{given} {shown}");
            if expected == Fate::Unknown {
                assert_eq!(sent.send(&again, later(shown)), Fate::Unknown);
            }
        }
    }

    #[test]
    fn many_forms_are_sent_once_each_and_take_no_more_room() {
        let keys = Keys::new(NOW);
        let sent = Sent::new();
        let at = |number: u64| NOW.plus(std::time::Duration::from_millis(1_000 + number * 10));
        let given: Vec<Again> = (0..SENT_MAX as u64 + 1_000)
            .map(|number| again(&keys, number, at(number)))
            .collect();
        let now = at(given.len() as u64);
        let first = given
            .iter()
            .filter(|again| sent.send(again, now) == Fate::Unsent)
            .count();
        // Those given out within a second of what had to be forgotten are asked about.
        assert!(first > given.len() - 1_100, "{first}");
        assert!(
            given
                .iter()
                .all(|again| sent.send(again, now) != Fate::Unsent)
        );
        let numbers = sent.0.lock().unwrap();
        assert_eq!(
            (numbers.sent.len(), numbers.order.len()),
            (SENT_MAX, SENT_MAX)
        );
    }
}
