//! `If-None-Match`, `If-Modified-Since`, `If-Range`: does the client already have it? (RFC 9110 §13, RFC 9111 §4.3.2)
//!
//! A page we compress has one entity tag per coding: the origin's with a suffix inside the quotes. Any of them in `If-None-Match` is
//! the same page, and the 304 repeats the one that matched. A weak tag already says "equivalent, not identical" and serves all codings
//! unchanged. What the origin is asked with is always its own tag.

use bytes::Bytes;

use super::freshness::{date_secs, parse_date};
use crate::compress::{CODINGS, Coding};
use crate::fields::Fields;

/// A tag as the origin sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    raw: Bytes,
    weak: bool,
}

impl Tag {
    pub fn new(raw: Bytes) -> Self {
        let weak = raw.starts_with(b"W/");
        Self { raw, weak }
    }

    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Suffixed before the closing quote. Weak and unquoted tags are the same for every coding.
    pub fn of_coding(&self, coding: Coding) -> Bytes {
        match self.raw.strip_suffix(b"\"") {
            Some(open) if coding != Coding::Identity && self.has_codings() => {
                let mut tag = Vec::with_capacity(self.raw.len() + 3);
                tag.extend_from_slice(open);
                tag.extend_from_slice(coding.tag_suffix().as_bytes());
                tag.push(b'"');
                tag.into()
            }
            _ => self.raw.clone(),
        }
    }

    fn has_codings(&self) -> bool {
        !self.weak
            && self.raw.len() >= 2
            && self.raw.starts_with(b"\"")
            && self.raw.ends_with(b"\"")
    }

    fn opaque(&self) -> &[u8] {
        opaque(&self.raw)
    }
}

/// Without `W/` and quotes. Some CMS forget the quotes; both sides lose them here.
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    tag.strip_prefix(b"\"")
        .and_then(|tag| tag.strip_suffix(b"\""))
        .unwrap_or(tag)
}

/// What a stored response can be recognised by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    pub etag: Option<Tag>,
    /// Seconds since 1970, as `date`.
    pub last_modified: Option<u64>,
    pub date: Option<u64>,
    /// Our own codings of it exist or may come to.
    pub coded: bool,
}

/// `Some`: answer 304, with the tag of this coding.
pub fn not_modified<F: Fields + ?Sized>(request: &F, validators: &Validators) -> Option<Coding> {
    if request.field("if-none-match").is_some() {
        let mut matched = None;
        request.each_line("if-none-match", &mut |line| {
            matched = matched.or_else(|| none_match(line, validators))
        });
        return matched;
    }
    let since = date_secs(request, "if-modified-since")?;
    let modified = validators.last_modified.or(validators.date)?;
    (modified <= since).then_some(Coding::Identity)
}

/// May a range be cut from the stored bytes? Without `If-Range` always.
pub fn range_applies<F: Fields + ?Sized>(request: &F, validators: &Validators) -> bool {
    let Some(condition) = request.field("if-range") else {
        return true;
    };
    let condition = condition.trim_ascii();
    if condition.starts_with(b"\"") {
        return validators
            .etag
            .as_ref()
            .is_some_and(|etag| !etag.weak && *etag.raw == *condition);
    }
    // A date is exact, and strong only when the page had stood for a second (RFC 9110 §8.8.2.2).
    match (
        parse_date(condition),
        validators.last_modified,
        validators.date,
    ) {
        (Some(asked), Some(modified), Some(date)) => asked == modified && modified < date,
        _ => false,
    }
}

fn none_match(line: &[u8], validators: &Validators) -> Option<Coding> {
    if line.trim_ascii() == b"*" {
        return Some(Coding::Identity);
    }
    let etag = validators.etag.as_ref()?;
    tags(line).find_map(|tag| matches(opaque(tag), etag, validators.coded))
}

fn matches(presented: &[u8], etag: &Tag, coded: bool) -> Option<Coding> {
    let stored = etag.opaque();
    if presented == stored {
        return Some(Coding::Identity);
    }
    if !coded || !etag.has_codings() {
        return None;
    }
    let suffix = presented.strip_prefix(stored)?;
    CODINGS
        .into_iter()
        .find(|coding| coding.tag_suffix().as_bytes() == suffix)
}

/// Members of a list of tags; commas inside quotes belong to the tag.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            let mut quoted = false;
            let end = rest.iter().position(|byte| {
                quoted ^= *byte == b'"';
                *byte == b',' && !quoted
            });
            let (tag, after) = match end {
                Some(comma) => (&rest[..comma], &rest[comma + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = after;
            let tag = tag.trim_ascii_end();
            if !tag.is_empty() {
                return Some(tag);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn request(name: &'static str, value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            http::HeaderValue::from_bytes(value).unwrap(),
        )])
    }

    fn validators(etag: &str, coded: bool) -> Validators {
        let etag = (!etag.is_empty()).then(|| Tag::new(Bytes::copy_from_slice(etag.as_bytes())));
        Validators {
            etag,
            last_modified: Some(784_111_777),
            date: Some(784_111_800),
            coded,
        }
    }

    #[test]
    fn none_matches() {
        use Coding::{Brotli, Identity};
        let table: &[(&str, &str, bool, Option<Coding>)] = &[
            ("\"a\"", "\"a\"", true, Some(Identity)),
            ("\"a\"", "W/\"a\"", true, Some(Identity)),
            ("W/\"a\"", "\"a\"", true, Some(Identity)),
            ("W/\"a\"", "W/\"a\"", true, Some(Identity)),
            ("\"a\"", "\"b\"", true, None),
            ("\"a\"", "\"x\", \"a\"", true, Some(Identity)),
            ("\"a\"", "\"x\",\"a\",\"y\"", true, Some(Identity)),
            ("\"a\"", "*", true, Some(Identity)),
            ("", "*", true, Some(Identity)),
            ("\"a\"", "", true, None),
            ("", "\"a\"", true, None),
            ("\"a,b\"", "\"a,b\"", true, Some(Identity)),
            ("\"b\"", "\"a,b\"", true, None),
            ("\"a\"", "a", true, Some(Identity)),
            ("a", "\"a\"", true, Some(Identity)),
            ("\"a\"", "\"a-br\"", true, Some(Brotli)),
            ("\"a\"", "W/\"a-br\"", true, Some(Brotli)),
            ("\"a\"", "\"a-br\"", false, None),
            ("\"a\"", "\"a-xx\"", true, None),
            ("W/\"a\"", "W/\"a-br\"", true, None),
        ];
        for (etag, list, coded, expected) in table {
            let verdict = not_modified(
                &request("if-none-match", list.as_bytes()),
                &validators(etag, *coded),
            );
            assert_eq!(verdict, *expected, "{etag} {list}");
        }
    }

    #[test]
    fn modified_since() {
        let table = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", true),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("nonsense", false),
        ];
        for (date, unmodified) in table {
            let request = request("if-modified-since", date.as_bytes());
            assert_eq!(
                not_modified(&request, &validators("", true)).is_some(),
                unmodified,
                "{date}"
            );
        }
        let mut both = request("if-modified-since", b"Sun, 06 Nov 1994 08:49:37 GMT");
        both.insert("if-none-match", "\"b\"".parse().unwrap());
        assert_eq!(
            not_modified(&both, &validators("\"a\"", true)),
            None,
            "the tag decides"
        );
        let undated = Validators {
            last_modified: None,
            ..validators("", true)
        };
        let date = |text: &str| {
            not_modified(&request("if-modified-since", text.as_bytes()), &undated).is_some()
        };
        assert!(
            date("Sun, 06 Nov 1994 08:50:00 GMT") && !date("Sun, 06 Nov 1994 08:49:59 GMT"),
            "its Date stands in"
        );
    }

    #[test]
    fn if_range() {
        let table = [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("\"a\"", "W/\"a\"", false),
            ("W/\"a\"", "W/\"a\"", false),
            ("\"a\"", "\"a-br\"", false),
            ("\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("\"a\"", "Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("\"a\"", "nonsense", false),
        ];
        for (etag, condition, applies) in table {
            assert_eq!(
                range_applies(
                    &request("if-range", condition.as_bytes()),
                    &validators(etag, true)
                ),
                applies,
                "{condition}"
            );
        }
        assert!(range_applies(&HeaderMap::new(), &validators("\"a\"", true)));
    }

    #[test]
    fn suffixes() {
        let table = [
            ("\"a\"", "\"a-br\""),
            ("W/\"a\"", "W/\"a\""),
            ("a", "a"),
            ("\"", "\""),
            ("\"\"", "\"-br\""),
        ];
        for (etag, coded) in table {
            assert_eq!(
                Tag::new(Bytes::from_static(etag.as_bytes())).of_coding(Coding::Brotli),
                coded
            );
        }
    }

    proptest! {
        #[test]
        fn any_list(line in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b' '), 33u8..127, 128u8..=255], 0..60)) {
            not_modified(&request("if-none-match", &line), &validators("\"a\"", true));
        }

        /// Every coding's own tag is recognised as that coding.
        #[test]
        fn own_tags_come_back(opaque in "[a-z-]{0,8}") {
            let validators = validators(&format!("\"{opaque}\""), true);
            for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd, Coding::Brotli] {
                let tag = validators.etag.as_ref().unwrap().of_coding(coding);
                prop_assert_eq!(not_modified(&request("if-none-match", &tag), &validators), Some(coding));
            }
        }
    }
}
