//! Which of several stored responses a request may have (RFC 9111 §4.1).
//!
//! A response keeps the values its `Vary` names had in the request it answered, in a normal form: lines joined, blanks around commas
//! gone. `Accept-Language` also matches when only order or case differ, or when the stored page's own language is what the client
//! likes best. Absent and empty are different values. Comparing walks the request's bytes and allocates nothing but for languages.
//!
//! What the origin was sent is not always what the client said. `Accept-Encoding` is `identity` for every fetch, because we compress
//! ourselves; `X-Forwarded-Proto` is ours and in the key. Such a field is the same in all requests for one key, so it selects nothing:
//! compared with the client's own words, a page that varies by one would never be found again.

use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, HeaderName};

use super::key::Keyring;
use crate::fields::Fields;
use crate::forward;

/// A response that varies on more is not worth storing: hardly two clients agree on so many fields.
const NAMES_MAX: usize = 16;

/// Of one site. A content system names two or three, an application of its own a few more.
const VARIED_MAX: usize = 32;

/// Languages a client is taken to ask for; browsers send two to six.
const LANGUAGES_MAX: usize = 16;

/// What the edge says of the client's address: a response chosen by it is one client's.
const NEVER_ALIKE: [&str; 2] = ["x-forwarded-for", "x-real-ip"];

/// Beside what no client may say, the fields a fetch for the cache does not take from the client.
const ALWAYS_ALIKE: [&str; 14] = [
    "accept-encoding",
    "cache-control",
    "connection",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    "te",
    "upgrade",
];

/// The same in every fetch for one key, whatever the client sent.
pub fn is_always_alike(name: &HeaderName) -> bool {
    ALWAYS_ALIKE.contains(&name.as_str()) || forward::is_dropped(name.as_str())
}

/// Fields by which the pages of one site differ, as its origin has said of any of them; outlives reloads.
#[derive(Debug, Default)]
pub struct Varied(RwLock<Vec<HeaderName>>);

impl Varied {
    pub fn note(&self, response: &HeaderMap) {
        let names = names(response).unwrap_or_default();
        for name in names {
            if self.has(&name) || is_always_alike(&name) {
                continue;
            }
            let mut varied = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if varied.len() < VARIED_MAX && !varied.contains(&name) {
                varied.push(name);
            }
        }
    }

    pub fn has(&self, name: &HeaderName) -> bool {
        let varied = self.0.read().unwrap_or_else(PoisonError::into_inner);
        varied.contains(name)
    }
}

/// The names in `Vary`, sorted, each once. `None`: `*`, or nothing one could ever match.
pub fn names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in response.get_all(http::header::VARY) {
        for name in line
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
        {
            let name = HeaderName::from_bytes(name).ok()?;
            if name == "*" || NEVER_ALIKE.contains(&name.as_str()) {
                return None;
            }
            names.push(name);
        }
    }
    names.sort_by(|one, two| one.as_str().cmp(two.as_str()));
    names.dedup();
    (names.len() <= NAMES_MAX).then_some(names)
}

/// The field values a stored response was chosen by. Empty: it answers every request for its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    chosen_by: Box<[(HeaderName, Value)]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Absent,
    Text(Box<[u8]>),
    Language {
        text: Box<[u8]>,
        ordered: Box<[u8]>,
        content: Option<Box<[u8]>>,
    },
}

impl Selection {
    /// `None` for `Vary: *`.
    pub fn of<F: Fields + ?Sized>(response: &HeaderMap, request: &F) -> Option<Self> {
        let chosen_by = names(response)?
            .into_iter()
            .filter(|name| !is_always_alike(name))
            .map(|name| {
                let value = value_of(&name, request, response);
                (name, value)
            })
            .collect();
        Some(Self { chosen_by })
    }

    pub fn is_empty(&self) -> bool {
        self.chosen_by.is_empty()
    }

    pub fn matches<F: Fields + ?Sized>(&self, request: &F) -> bool {
        self.chosen_by.iter().all(|(name, value)| match value {
            Value::Absent => request.field(name.as_str()).is_none(),
            Value::Text(text) => text_equals(request, name.as_str(), text),
            Value::Language {
                text,
                ordered,
                content,
            } => {
                text_equals(request, name.as_str(), text)
                    || language_matches(request, ordered, content.as_deref())
            }
        })
    }

    /// The same number for requests this selection tells apart from others but not from each other. Tells flights of one key apart
    /// once its `Vary` is known. Never 0.
    pub fn flight<F: Fields + ?Sized>(&self, keyring: &Keyring, request: &F) -> u64 {
        let mut text = Vec::new();
        for (name, _) in &self.chosen_by {
            text.extend_from_slice(name.as_str().as_bytes());
            let present = normalise(request, name.as_str(), &mut |byte| text.push(byte));
            text.push(u8::from(present));
            text.push(0);
        }
        keyring.hash_of(text).max(1)
    }

    /// Bytes on the heap, about.
    pub fn weight(&self) -> usize {
        self.chosen_by
            .iter()
            .map(|(_, value)| {
                size_of::<(HeaderName, Value)>()
                    + match value {
                        Value::Absent => 0,
                        Value::Text(text) => text.len(),
                        Value::Language {
                            text,
                            ordered,
                            content,
                        } => {
                            text.len()
                                + ordered.len()
                                + content.as_ref().map_or(0, |content| content.len())
                        }
                    }
            })
            .sum()
    }
}

fn value_of<F: Fields + ?Sized>(name: &HeaderName, request: &F, response: &HeaderMap) -> Value {
    let mut text = Vec::new();
    if !normalise(request, name.as_str(), &mut |byte| text.push(byte)) {
        return Value::Absent;
    }
    let text = text.into_boxed_slice();
    if *name != http::header::ACCEPT_LANGUAGE {
        return Value::Text(text);
    }
    let mut languages = response.get_all(http::header::CONTENT_LANGUAGE).iter();
    let content = match (languages.next(), languages.next()) {
        (Some(one), None) => {
            let tag = one.as_bytes().trim_ascii().to_ascii_lowercase();
            (!tag.is_empty() && !tag.contains(&b',')).then(|| tag.into_boxed_slice())
        }
        _ => None,
    };
    Value::Language {
        ordered: in_order(&text),
        text,
        content,
    }
}

/// Feeds the normal form of a field to `emit`; false when the field is absent.
fn normalise<F: Fields + ?Sized>(fields: &F, name: &str, emit: &mut dyn FnMut(u8)) -> bool {
    let mut present = false;
    fields.each_line(name, &mut |line| {
        if present {
            emit(b',');
        }
        present = true;
        let mut blanks = 0usize;
        let mut item_begun = false;
        let mut quoted = false;
        let mut escaped = false;
        for byte in line {
            match byte {
                b' ' | b'\t' if !quoted => blanks += 1,
                b',' if !quoted => {
                    blanks = 0;
                    item_begun = false;
                    emit(b',');
                }
                _ => {
                    if item_begun {
                        (0..blanks).for_each(|_| emit(b' '));
                    }
                    blanks = 0;
                    item_begun = true;
                    emit(*byte);
                    quoted ^= *byte == b'"' && !escaped;
                    escaped = quoted && *byte == b'\\' && !escaped;
                }
            }
        }
    });
    present
}

fn text_equals<F: Fields + ?Sized>(fields: &F, name: &str, text: &[u8]) -> bool {
    let mut at = 0;
    let mut equal = true;
    let present = normalise(fields, name, &mut |byte| {
        equal &= text.get(at) == Some(&byte);
        at += 1;
    });
    present && equal && at == text.len()
}

fn language_matches<F: Fields + ?Sized>(
    request: &F,
    ordered: &[u8],
    content: Option<&[u8]>,
) -> bool {
    let mut text = Vec::new();
    if !normalise(request, "accept-language", &mut |byte| text.push(byte)) {
        return false;
    }
    *in_order(&text) == *ordered
        || content.is_some_and(|content| liked_best(&text).as_deref() == Some(content))
}

/// `(tag, thousandths)` of each language.
pub(crate) fn languages(list: &[u8]) -> Option<Vec<(Vec<u8>, u16)>> {
    let mut languages = Vec::new();
    for item in list
        .split(|byte| *byte == b',')
        .filter(|item| !item.trim_ascii().is_empty())
    {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let tag = parts.next()?.to_ascii_lowercase();
        let mut thousandths = 1000;
        for part in parts {
            let part = part.to_ascii_lowercase();
            thousandths = crate::compress::quality(part.strip_prefix(b"q=")?)?;
        }
        if languages.len() == LANGUAGES_MAX {
            return None;
        }
        languages.push((tag, thousandths));
    }
    Some(languages)
}

/// Lower case, sorted; a list we cannot read stays as it is.
fn in_order(text: &[u8]) -> Box<[u8]> {
    let Some(mut languages) = languages(text) else {
        return text.into();
    };
    languages.sort();
    let mut ordered = Vec::with_capacity(text.len());
    for (tag, thousandths) in languages {
        ordered.extend_from_slice(&tag);
        ordered.push(b';');
        ordered.extend_from_slice(thousandths.to_string().as_bytes());
        ordered.push(b',');
    }
    ordered.into_boxed_slice()
}

/// The one language above all others; `None` when two share the first place.
fn liked_best(text: &[u8]) -> Option<Vec<u8>> {
    let languages = languages(text)?;
    let best = languages
        .iter()
        .map(|(_, thousandths)| *thousandths)
        .max()
        .filter(|best| *best > 0)?;
    let mut first = languages
        .into_iter()
        .filter(|(_, thousandths)| *thousandths == best);
    match (first.next(), first.next()) {
        (Some((tag, _)), None) => Some(tag),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn star_and_lists() {
        let table: &[(&[&str], Option<&[&str]>)] = &[
            (&[], Some(&[])),
            (&[""], Some(&[])),
            (&["Foo"], Some(&["foo"])),
            (&["b, A", "a,,c"], Some(&["a", "b", "c"])),
            (&["*"], None),
            (&["*, *"], None),
            (&[", *"], None),
            (&["", "*"], None),
            (&["*, Foo"], None),
            (&["Foo, *"], None),
            (&["Foo Bar"], None),
        ];
        for (lines, expected) in table {
            let response = fields(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>());
            let names = names(&response);
            let names = names
                .as_ref()
                .map(|names| names.iter().map(HeaderName::as_str).collect::<Vec<_>>());
            assert_eq!(names.as_deref(), *expected, "{lines:?}");
        }
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("x-{n}")).collect();
        assert_eq!(names(&fields(&[("vary", &many.join(","))])), None);
    }

    #[test]
    fn who_may_have_it() {
        type Lines = &'static [(&'static str, &'static str)];
        let table: &[(&str, Lines, Lines, bool)] = &[
            ("foo", &[("foo", "1")], &[("foo", "1")], true),
            ("foo", &[("foo", "1")], &[("foo", "2")], false),
            ("foo", &[("foo", "1")], &[], false),
            ("foo", &[], &[("foo", "1")], false),
            ("foo", &[], &[], true),
            ("foo", &[], &[("foo", "")], false),
            ("foo", &[("foo", "")], &[], false),
            ("foo", &[("foo", "")], &[("foo", "")], true),
            (
                "foo",
                &[("foo", "1, 2")],
                &[("foo", "1"), ("foo", "2")],
                true,
            ),
            ("foo", &[("foo", "1,2")], &[("foo", " 1,  2 ")], true),
            ("foo", &[("foo", "1 2")], &[("foo", "12")], false),
            ("foo", &[("foo", "\"1,2\"")], &[("foo", "\"1, 2\"")], false),
            ("foo", &[("foo", "12")], &[("foo", "1")], false),
            ("foo", &[("foo", "1")], &[("foo", "12")], false),
            (
                "foo, bar",
                &[("foo", "1"), ("bar", "2")],
                &[("bar", "2"), ("foo", "1")],
                true,
            ),
            (
                "foo, bar",
                &[("foo", "1"), ("bar", "2")],
                &[("foo", "2"), ("bar", "1")],
                false,
            ),
            (
                "foo",
                &[("foo", "1"), ("other", "2")],
                &[("foo", "1"), ("other", "3")],
                true,
            ),
            (
                "accept-encoding",
                &[("accept-encoding", "identity")],
                &[("accept-encoding", "gzip, br")],
                true,
            ),
            (
                "X-Forwarded-Proto, Accept-Encoding",
                &[("x-forwarded-proto", "http")],
                &[],
                true,
            ),
            (
                "Accept-Encoding, X-Forwarded-Host, foo",
                &[("x-forwarded-host", "a.kz"), ("foo", "1")],
                &[("foo", "2")],
                false,
            ),
            (
                "Range, If-None-Match, Cache-Control",
                &[],
                &[("range", "bytes=0-1"), ("cache-control", "no-cache")],
                true,
            ),
            (
                "accept-language",
                &[("accept-language", "en, de")],
                &[("accept-language", " dE ,  eN")],
                true,
            ),
            (
                "accept-language",
                &[("accept-language", "ru, kk;q=0.9")],
                &[("accept-language", "kk;q=0.9,ru;q=1.0")],
                true,
            ),
            (
                "accept-language",
                &[("accept-language", "ru, kk;q=0.9")],
                &[("accept-language", "kk, ru;q=0.9")],
                false,
            ),
            (
                "accept-language",
                &[("accept-language", "ru;a")],
                &[("accept-language", "ru;b")],
                false,
            ),
        ];
        for (vary, stored, presented, expected) in table {
            let selection = Selection::of(&fields(&[("vary", vary)]), &fields(stored)).unwrap();
            assert_eq!(
                selection.matches(&fields(presented)),
                *expected,
                "{vary}: {stored:?} {presented:?}"
            );
        }
    }

    #[test]
    fn the_pages_own_language_serves_who_likes_it_best() {
        let response = fields(&[("vary", "Accept-Language"), ("content-language", "DE")]);
        let selection =
            Selection::of(&response, &fields(&[("accept-language", "en, de")])).unwrap();
        for (list, expected) in [
            ("fr;q=0.5, de;q=1.0", true),
            ("de", true),
            ("fr, de;q=0.5", false),
            ("fr, de", false),
            ("de;q=0", false),
        ] {
            assert_eq!(
                selection.matches(&fields(&[("accept-language", list)])),
                expected,
                "{list}"
            );
        }
    }

    proptest! {
        /// A match means equal values in the normal form, field by field, and equal flights.
        #[test]
        fn a_match_is_equality(
            stored in proptest::collection::vec("[a-c,\" ]{0,5}", 0..3),
            presented in proptest::collection::vec("[a-c,\" ]{0,5}", 0..3),
        ) {
            let lines = |values: &[String]| fields(&values.iter().map(|value| ("x-a", value.as_str())).collect::<Vec<_>>());
            let (stored, presented) = (lines(&stored), lines(&presented));
            let normal = |map: &HeaderMap| {
                let mut text = Vec::new();
                normalise(map, "x-a", &mut |byte| text.push(byte)).then_some(text)
            };
            let keyring = Keyring::default();
            let selection = Selection::of(&fields(&[("vary", "x-a")]), &stored).unwrap();
            let same = normal(&stored) == normal(&presented);
            prop_assert_eq!(selection.matches(&presented), same);
            prop_assert_eq!(selection.flight(&keyring, &stored) == selection.flight(&keyring, &presented), same);
            prop_assert!(selection.matches(&stored));
        }

        #[test]
        fn any_languages(text in "[a-zA-Z0-9,;=. *-]{0,60}") {
            let map = fields(&[("accept-language", &text)]);
            let response = fields(&[("vary", "accept-language"), ("content-language", "kk")]);
            prop_assert!(Selection::of(&response, &map).unwrap().matches(&map));
        }
    }
}
