//! One word at a time: what of it counts.
//!
//! Text is cut at white space. Attributes and scripts are cut at quotes, brackets and what parts the pairs of a link as well, so that a name
//! stands right before its value: `"nonce":"3f9a…"`, `_wpnonce=3f9a…`.

use super::Sum;

/// A longer word is no token and no time; it counts as it stands.
const WORD_BYTES_MAX: usize = 512;

/// A number that may turn out to be seconds: `0.0123456789` and shorter.
const NUMBER_BYTES_MAX: usize = 16;

/// Stand in for what is left out, so that its being there still counts. No text has them.
const CLOCK: u8 = 1;
const UNIX_TIME: u8 = 2;
const TOKEN: u8 = 3;

/// WordPress' nonces have 10 hexadecimal digits, nobody's words have both ten of them and a number in between.
const HEX_TOKEN_BYTES_MIN: usize = 10;
/// Upper case, lower case and digits without a break; the shortest of Laravel's, Drupal's and Google's have 20 and more.
const MIXED_TOKEN_BYTES_MIN: usize = 16;
/// One in 1,300 of Drupal's (43 bytes of base64) happens to have no digit. Names in scripts are shorter.
const UNNUMBERED_TOKEN_BYTES_MIN: usize = 32;

const TOKEN_NAMES: [&str; 19] = [
    "nonce",
    "token",
    "csrf",
    "xsrf",
    "captcha",
    "requestid",
    "request_id",
    "request-id",
    "traceid",
    "trace_id",
    "sessionid",
    "session_id",
    "session-id",
    "uuid",
    "guid",
    "uniqid",
    "timestamp",
    "cachebust",
    "form_build_id",
];
const TOKEN_NAMES_WHOLE: [&str; 9] = ["_", "t", "ts", "rnd", "rand", "random", "cb", "sid", "rid"];

/// Elements that hold what is not the page's: with one of these in their class or as their id.
const SLOT_NAMES: [&str; 20] = [
    "ad",
    "ads",
    "adv",
    "advert",
    "advertisement",
    "adsbygoogle",
    "adslot",
    "ad-slot",
    "ad-container",
    "ad-banner",
    "adfox",
    "banner",
    "banners",
    "reklama",
    "hits",
    "views",
    "post-views",
    "entry-views",
    "views-count",
    "view-count",
];
const SLOT_NAMES_BEGIN: [&str; 4] = ["yandex_rtb", "div-gpt-ad", "adfox_", "google_ads"];

/// Only these are taken for a slot: a whole `<body>` or `<main>` is the page, whatever its class says.
pub(super) fn can_be_slot(tag: &[u8]) -> bool {
    matches!(
        tag,
        b"div"
            | b"ins"
            | b"aside"
            | b"iframe"
            | b"section"
            | b"span"
            | b"p"
            | b"a"
            | b"li"
            | b"dd"
            | b"time"
    )
}

pub(super) fn names_slot(word: &[u8]) -> bool {
    SLOT_NAMES
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        || SLOT_NAMES_BEGIN.iter().any(|begin| {
            word.get(..begin.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(begin.as_bytes()))
        })
}

/// What goes by this name is made anew for each answer.
pub(super) fn names_token(word: &[u8]) -> bool {
    TOKEN_NAMES_WHOLE
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        || TOKEN_NAMES.iter().any(|name| {
            word.windows(name.len())
                .any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
        })
}

/// Parts words in attributes and scripts. `:`, `=`, `/`, `.`, `-` and `%` do not: they stand inside times, tokens and paths.
pub(super) fn is_code_delimiter(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'`<>(){}[],;&?#|\\".contains(&byte)
}

#[derive(Debug)]
pub(super) struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    len: usize,
    /// Its beginning has been counted already.
    cut: bool,
    /// A number held back until the next word says whether it is seconds.
    number: [u8; NUMBER_BYTES_MAX],
    number_len: usize,
    /// In attributes and scripts: the last word was the name of a token; its value comes next.
    named_token: bool,
    value_next: bool,
    after: u8,
    code_words: u32,
}

impl Default for Word {
    fn default() -> Self {
        Self {
            bytes: [0; WORD_BYTES_MAX],
            len: 0,
            cut: false,
            number: [0; NUMBER_BYTES_MAX],
            number_len: 0,
            named_token: false,
            value_next: false,
            after: 0,
            code_words: 0,
        }
    }
}

impl Word {
    pub(super) fn push(&mut self, byte: u8, sum: &mut Sum) {
        if self.len == WORD_BYTES_MAX {
            sum.exact(&self.bytes);
            self.len = 0;
            self.cut = true;
        }
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    pub(super) fn code_words(&self) -> u32 {
        self.code_words
    }

    /// A name in one attribute or script says nothing about the next.
    pub(super) fn forget_name(&mut self) {
        self.named_token = false;
        self.value_next = false;
        self.after = 0;
    }

    /// Counts a number that nothing follows.
    pub(super) fn settle(&mut self, sum: &mut Sum) {
        if self.number_len > 0 {
            sum.word(b'w', &self.number[..self.number_len]);
            sum.words = sum.words.saturating_add(1);
            self.number_len = 0;
        }
    }

    pub(super) fn end_text(&mut self, sum: &mut Sum) {
        let bytes = self.bytes;
        let word = &bytes[..self.len];
        let cut = self.cut;
        self.clear();
        if word.is_empty() && !cut {
            return;
        }
        if is_unit_of_seconds(word) {
            self.number_len = 0;
        }
        self.settle(sum);
        if !cut && is_fraction(word) && word.len() <= NUMBER_BYTES_MAX {
            self.number[..word.len()].copy_from_slice(word);
            self.number_len = word.len();
            return;
        }
        let mut scrubbed = Scrubbed::default();
        let word = if cut {
            word
        } else {
            scrubbed.times(word, true)
        };
        sum.word(b'w', word);
        sum.words = sum.words.saturating_add(1);
    }

    /// What parted two words of an attribute or a script.
    pub(super) fn delimiter(&mut self, byte: u8) {
        // `&#038;` begins with two.
        if !(byte == b'#' && self.after == b'&') {
            self.after = byte;
        }
    }

    /// `asked_with`: not counted where a link repeats it; as a pair, and as it stands inside another link.
    pub(super) fn end_code(&mut self, sum: &mut Sum, asked_with: [&[u8]; 2]) {
        let bytes = self.bytes;
        let mut word = &bytes[..self.len];
        let cut = self.cut;
        let after = self.after;
        self.clear();
        if cut {
            sum.word(b'c', word);
            self.forget_name();
            return;
        }
        if after == b'&' && matches!(word, b"amp" | b"038" | b"38" | b"x26") {
            return;
        }
        if after == b'\\' {
            word = word.strip_prefix(b"u0026").unwrap_or(word);
        }
        while !word.is_empty() {
            let (part, rest) = split_encoded(word);
            word = rest;
            let repeats = asked_with
                .iter()
                .any(|pair| !pair.is_empty() && part.eq_ignore_ascii_case(pair));
            if !part.is_empty() && !repeats {
                self.code_part(part, sum);
            }
        }
    }

    fn code_part(&mut self, part: &[u8], sum: &mut Sum) {
        if part.iter().all(|byte| b":=".contains(byte)) {
            self.value_next = self.named_token;
            return;
        }
        self.code_words = self.code_words.saturating_add(1);
        if self.value_next {
            self.forget_name();
            sum.word(b'c', &[TOKEN]);
            return;
        }
        let named = |byte: u8| part.iter().position(|other| *other == byte);
        let (name, value) = match named(b'=').or_else(|| {
            // `14:32:05` is no name with a value, `nonce:3f9a` is.
            named(b':').filter(|colon| names_token(&part[..*colon]) || *colon + 1 == part.len())
        }) {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => {
                self.named_token = names_token(part);
                return code_value(part, sum);
            }
        };
        self.named_token = names_token(name) || name.is_empty() && self.named_token;
        code_value(name, sum);
        if value.is_empty() {
            self.value_next = self.named_token;
        } else if self.named_token {
            sum.word(b'c', &[TOKEN]);
            self.forget_name();
        } else {
            code_value(value, sum);
        }
    }
}

fn code_value(value: &[u8], sum: &mut Sum) {
    let mut scrubbed = Scrubbed::default();
    let is_path = value.contains(&b'/');
    if !is_path && is_token(value) {
        return sum.word(b'c', &[TOKEN]);
    }
    sum.word(b'c', scrubbed.times(value, !is_path));
}

/// Up to `?` or `&` as they are spelt inside another link's value.
fn split_encoded(word: &[u8]) -> (&[u8], &[u8]) {
    let at = word
        .windows(3)
        .position(|three| three.eq_ignore_ascii_case(b"%3f") || three == b"%26");
    match at {
        Some(at) => (&word[..at], &word[at + 3..]),
        None => (word, &[]),
    }
}

/// Made by chance, by the look of it: hexadecimal as a whole or from one dash to the next, or all three kinds of characters without a break.
fn is_token(word: &[u8]) -> bool {
    if !word
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
    {
        return false;
    }
    let has = |test: fn(&u8) -> bool| word.iter().any(test);
    let is_hex = |part: &[u8]| {
        part.len() >= HEX_TOKEN_BYTES_MIN
            && part.iter().all(|byte| byte.is_ascii_hexdigit())
            && part.iter().any(u8::is_ascii_digit)
            && part.iter().any(u8::is_ascii_alphabetic)
    };
    let is_mixed = word.len() >= MIXED_TOKEN_BYTES_MIN
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && (has(u8::is_ascii_digit) || word.len() >= UNNUMBERED_TOKEN_BYTES_MIN);
    is_mixed || word.split(|byte| b"_-".contains(byte)).any(is_hex)
}

/// `0.31` and `0,31`.
fn is_fraction(word: &[u8]) -> bool {
    let mut halves = word.split(|byte| b".,".contains(byte));
    let digits = |half: Option<&[u8]>, at_least: usize| {
        half.is_some_and(|half| half.len() >= at_least && half.iter().all(u8::is_ascii_digit))
    };
    digits(halves.next(), 1) && digits(halves.next(), 2) && halves.next().is_none()
}

/// Not the Russian "с", which after a price means "from".
fn is_unit_of_seconds(word: &[u8]) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    [
        "s",
        "sec",
        "secs",
        "seconds",
        "ms",
        "сек",
        "секунд",
        "секунды",
        "секунда",
    ]
    .iter()
    .any(|unit| word == unit.as_bytes())
}

/// A word with its times taken out.
struct Scrubbed {
    bytes: [u8; WORD_BYTES_MAX],
    len: usize,
}

impl Default for Scrubbed {
    fn default() -> Self {
        Self {
            bytes: [0; WORD_BYTES_MAX],
            len: 0,
        }
    }
}

impl Scrubbed {
    /// `unix`: seconds and milliseconds since 1970 as well. Never longer than `word`, which fits.
    fn times(&mut self, word: &[u8], unix: bool) -> &[u8] {
        let mut at = 0;
        while at < word.len() {
            let rest = &word[at..];
            let begins = at == 0 || !word[at - 1].is_ascii_digit();
            let (stands_for, taken) = match (begins, clock_bytes(rest), unix_time_bytes(rest)) {
                (true, Some(bytes), _) => (CLOCK, bytes),
                (true, None, Some(bytes))
                    if unix && (at == 0 || !word[at - 1].is_ascii_alphanumeric()) =>
                {
                    (UNIX_TIME, bytes)
                }
                _ => (rest[0], 1),
            };
            self.bytes[self.len] = stands_for;
            self.len += 1;
            at += taken;
        }
        &self.bytes[..self.len]
    }
}

/// `14:32:05`, `9:05:59.123`.
fn clock_bytes(text: &[u8]) -> Option<usize> {
    let hour = digits(text);
    if !(1..=2).contains(&hour) {
        return None;
    }
    let mut at = hour;
    for _ in 0..2 {
        if text.get(at) != Some(&b':') || digits(&text[at + 1..]) != 2 {
            return None;
        }
        at += 3;
    }
    if text.get(at) == Some(&b':') {
        return None;
    }
    if text.get(at) == Some(&b'.') {
        let fraction = digits(&text[at + 1..]);
        if fraction > 0 {
            at += 1 + fraction;
        }
    }
    Some(at)
}

/// Of the years 2014 to 2036, in seconds, milliseconds or microseconds; with a fraction. `1612345678.jpg` is a file.
fn unix_time_bytes(text: &[u8]) -> Option<usize> {
    let long = digits(text);
    let in_time = matches!(text, [b'1', b'4'..=b'9', ..] | [b'2', b'0', ..]);
    if !in_time || !matches!(long, 10 | 13 | 16) {
        return None;
    }
    match text.get(long) {
        Some(b'.') => match digits(&text[long + 1..]) {
            0 if text.get(long + 1).is_some() => None,
            fraction => Some(long + if fraction == 0 { 0 } else { 1 + fraction }),
        },
        Some(byte) if byte.is_ascii_alphanumeric() => None,
        _ => Some(long),
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}
