//! Which requests are searches, and for what.
//!
//! WordPress asks `/?s=word`, Drupal `/search/node?keys=word`, Joomla `/index.php?option=com_finder&q=word`: a path, a parameter that
//! carries the words, and sometimes others that must be there. The site's profile has the table; this file reads a request by it.

use std::borrow::Cow;

use super::index::HITS_MAX;
use super::page::windows_1251;
use super::results::HITS_PER_PAGE;
use crate::profile::{path_and_query, pieces};

/// A site has one search, now and then a second.
pub const FORMS_MAX: usize = 16;
/// Of the words: three headlines.
pub const WORDS_CHARS_MAX: usize = 120;
/// Of the same before decoding, each letter four bytes of three characters.
const VALUE_BYTES_MAX: usize = 12 * WORDS_CHARS_MAX;
/// Parameters looked at; the forms of CMSs send up to five, a link from a newsletter ten more.
const PARAMETERS_MAX: usize = 32;

/// Names the page of our results; the site's own search knows nothing of it and need not.
pub(super) const PAGE_PARAMETER: &str = "saqta-page";
/// On the link to the site's own search.
pub(super) const LIVE_PARAMETER: &str = "saqta-live";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchForm {
    /// As in a request, without a query. A `*` at the end stands for anything: WordPress searches from every path.
    pub path: String,
    /// Carries the words.
    pub parameter: String,
    /// Parameters that must be there with these values: `option`, `com_finder`.
    pub with: Vec<(String, String)>,
}

/// A search somebody asked for. Its words are in memory alone, and what is made of them as well.
#[derive(Clone, PartialEq, Eq)]
pub struct Question<'a> {
    pub form: &'a SearchForm,
    /// The request's.
    pub path: &'a str,
    pub words: String,
    /// From 0.
    pub page: usize,
    /// The reader has seen our results and would rather wait for the site's own.
    pub live: bool,
}

impl<'a> Question<'a> {
    /// `target`: path and query of a GET. `None`: it is no search.
    pub fn of(forms: &'a [SearchForm], target: &'a str) -> Option<Self> {
        let (path, query) = path_and_query(target);
        let query = query?;
        let forms = &forms[..forms.len().min(FORMS_MAX)];
        // Of a flood that is none of searches, nearly every request ends here.
        if !parameters(query).any(|(name, _)| forms.iter().any(|form| name == form.parameter)) {
            return None;
        }
        let form = forms
            .iter()
            .find(|form| form.is_at(path) && form.is_asked(query))?;
        let words = parameters(query)
            .filter(|(name, _)| *name == form.parameter)
            .last()
            .map(|(_, value)| words(value))?;
        let page = parameters(query)
            .find(|(name, _)| name == PAGE_PARAMETER)
            .and_then(|(_, value)| value.parse::<usize>().ok())
            .unwrap_or(1)
            .saturating_sub(1)
            .min(HITS_MAX / HITS_PER_PAGE - 1);
        let live = parameters(query).any(|(name, _)| name == LIVE_PARAMETER);
        Some(Self {
            form,
            path,
            words,
            page,
            live,
        })
    }
}

impl SearchForm {
    fn is_at(&self, path: &str) -> bool {
        let is_at = |path: &str| match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => without_slash(path) == without_slash(&self.path),
        };
        is_at(path) || without_language(path).is_some_and(is_at)
    }

    fn is_asked(&self, query: &str) -> bool {
        let has = |name: &str, value: Option<&str>| {
            parameters(query).any(|(own, own_value)| {
                own == name && value.is_none_or(|value| decoded(own_value) == value)
            })
        };
        has(&self.parameter, None) && self.with.iter().all(|(name, value)| has(name, Some(value)))
    }
}

/// Asked of every request in a flood: bytes cost a tenth of characters.
fn without_slash(path: &str) -> &[u8] {
    let mut path = path.as_bytes();
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// `/kk/search` is `/search` in Kazakh.
fn without_language(path: &str) -> Option<&str> {
    match path.as_bytes() {
        [b'/', one, two] | [b'/', one, two, b'/', ..] if *one != b'/' && *two != b'/' => {
            path.get(3..)
        }
        _ => None,
    }
}

/// Decoded names with values as they came.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    pieces(query, b'&').take(PARAMETERS_MAX).map(|pair| {
        let equals = memchr::memchr(b'=', pair.as_bytes());
        let (name, value) = equals.map_or((pair, ""), |at| (&pair[..at], &pair[at + 1..]));
        (decoded(name), value)
    })
}

fn words(value: &str) -> String {
    let mut words = String::new();
    for letter in decoded(value).chars().take(WORDS_CHARS_MAX) {
        if !letter.is_whitespace() && !letter.is_control() {
            words.push(letter);
        } else if !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words.truncate(words.trim_end().len());
    words
}

/// `application/x-www-form-urlencoded`. Links of before 2010 still come in windows-1251, which is not valid UTF-8 by chance.
pub(crate) fn decoded(value: &str) -> Cow<'_, str> {
    let value = &value[..value.floor_char_boundary(VALUE_BYTES_MAX)];
    if memchr::memchr2(b'%', b'+', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match after {
                [high, low, after @ ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => {
                        bytes.push(high << 4 | low);
                        rest = after;
                    }
                    _ => bytes.push(b'%'),
                },
                _ => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    // The bound may have cut a letter in two.
    let whole = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    bytes.truncate(whole);
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| windows_1251(error.as_bytes())))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(path: &str, parameter: &str, with: &[(&str, &str)]) -> SearchForm {
        SearchForm {
            path: path.to_owned(),
            parameter: parameter.to_owned(),
            with: with
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn forms() -> Vec<SearchForm> {
        vec![
            form("/*", "s", &[]),
            form("/search", "q", &[]),
            form("/search/node", "keys", &[]),
            form("/index.php", "searchword", &[("option", "com_search")]),
            form("/index.php", "q", &[("option", "com_finder")]),
        ]
    }

    #[test]
    fn searches_are_told_from_other_requests() {
        let table = [
            ("/?s=1", Some("1")),
            ("/kk/?s=%D1%81%D0%BE%D1%82+2024", Some("сот 2024")),
            ("/?p=1&s=a&s=b", Some("b")),
            ("/?%73=a", Some("a")),
            ("/?s=", Some("")),
            ("/?s", Some("")),
            ("/search?q=a", Some("a")),
            ("/search/?q=a", Some("a")),
            ("/ru/search?q=a", Some("a")),
            ("/rus/search?q=a", None),
            ("/ru?q=a", None),
            ("/search/other?q=a", None),
            ("/search/node?keys=a%20%20b%0A", Some("a b")),
            ("/index.php?option=com_search&searchword=a", Some("a")),
            ("/index.php?searchword=a", None),
            ("/index.php?option=com_content&q=a", None),
            ("/index.php?q=a&option=com%5Ffinder", Some("a")),
            ("/?s=%F1%EE%F2", Some("сот")),
            ("/?s=%", Some("%")),
            ("/?s=%zz%2", Some("%zz%2")),
            ("/?s=қ", Some("қ")),
            ("/", None),
            ("/s=a", None),
            ("/?S=a", None),
        ];
        let forms = forms();
        for (target, expected) in table {
            let question = Question::of(&forms, target);
            assert_eq!(
                question.as_ref().map(|it| it.words.as_str()),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn pages_are_counted_from_one() {
        let forms = forms();
        for (target, page) in [
            ("/?s=a", 0),
            ("/?s=a&saqta-page=1", 0),
            ("/?s=a&saqta-page=3", 2),
            ("/?s=a&saqta-page=10", 9),
            ("/?s=a&saqta-page=11", 9),
            ("/?s=a&saqta-page=0", 0),
            ("/?s=a&saqta-page=-1", 0),
            ("/?s=a&saqta-page=99999999999999999999999", 0),
        ] {
            assert_eq!(Question::of(&forms, target).unwrap().page, page, "{target}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_bounded_and_printable(query in "[%+&=sa0-9A-Fa-f\u{400}-\u{4ff}\u{0}-\u{20}]{0,3000}") {
            let forms = forms();
            if let Some(question) = Question::of(&forms, &format!("/?s={query}")) {
                prop_assert!(question.words.chars().count() <= WORDS_CHARS_MAX);
                prop_assert!(!question.words.chars().any(char::is_control));
                prop_assert_eq!(question.words.trim(), &question.words);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(words in "[а-яә-ө0-9&=+% ]{0,40}") {
            let encoded: String = words.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decoded(&encoded), words);
        }
    }
}
