//! What `Cache-Control`, `CDN-Cache-Control` and `Surrogate-Control` say.
//!
//! They are read by different rules. `Cache-Control` (RFC 9111 §5.2) has no failing parse: whatever a CMS, a plugin and a
//! hosting panel between them produced must come out as *some* set of directives, so every doubt is settled against reuse: a
//! number that is not one makes the response stale, of two numbers the smaller counts, a directive with stray blanks or a
//! semicolon still counts where it forbids. `CDN-Cache-Control` (RFC 9213) is a structured dictionary: one syntax error and the
//! whole field is as if it were not there, which falls back to the next. `Surrogate-Control`, its elder from the Edge Architecture
//! note, is what Drupal and many a Varnish or Fastly recipe still send; of its directives those count that are for every surrogate
//! or for us by name.

use http::HeaderName;

use crate::fields::Fields;

/// RFC 9111 §1.2.2: a larger number of seconds is taken as this one.
pub const SECONDS_MAX: u64 = 1 << 31;

/// What requests to an origin carry as `Surrogate-Capability`, for origins that speak to surrogates one by one.
pub const SURROGATE_CAPABILITY: &str = "saqta=\"Surrogate/1.0\"";
const SURROGATE_TARGET: &[u8] = b"saqta";

/// Longest list of field names read from `no-cache="…"` or `private="…"`; a longer one counts as the plain directive, which
/// forbids more.
const NAMES_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seconds {
    #[default]
    Absent,
    /// Present without a number in it.
    Invalid,
    /// At most [`SECONDS_MAX`].
    Of(u64),
}

impl Seconds {
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    /// `Some(0)` for what nobody can read: a lifetime that is not a number is over.
    pub fn cautious(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Invalid => Some(0),
            Self::Of(secs) => Some(secs),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, one) | (one, Self::Absent) => one,
            (Self::Of(one), Self::Of(two)) => Self::Of(one.min(two)),
            _ => Self::Invalid,
        }
    }
}

/// `no-cache` and `private` apply to the whole response or to the fields they name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    #[default]
    Absent,
    Whole,
    Fields(Vec<HeaderName>),
}

impl Scope {
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    pub fn names(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Absent | Self::Whole => &[],
        }
    }

    fn and(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Absent) | (Self::Whole, _) => {}
            (Self::Fields(mine), Self::Fields(more)) if mine.len() + more.len() <= NAMES_MAX => {
                mine.extend(more)
            }
            (Self::Absent, other) => *self = other,
            _ => *self = Self::Whole,
        }
    }
}

/// Directives of requests and responses alike; who reads it knows which of them mean something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub only_if_cached: bool,
    pub max_age: Seconds,
    pub s_maxage: Seconds,
    pub stale_while_revalidate: Seconds,
    pub stale_if_error: Seconds,
    /// Request only. `Some(Seconds::Absent)`: any staleness will do.
    pub max_stale: Option<Seconds>,
    /// Request only.
    pub min_fresh: Seconds,
    /// Read from a field meant for caches like us, so that `Cache-Control` and `Expires` say nothing.
    pub targeted: bool,
}

/// One line of `Cache-Control`.
pub fn parse(line: &[u8]) -> Control {
    let mut control = Control::default();
    control.read(line);
    control
}

/// One line of a targeted field; `None` when it must be ignored: a syntax error, or nothing in it.
pub fn parse_targeted(line: &[u8]) -> Option<Control> {
    let mut control = Control {
        targeted: true,
        ..Control::default()
    };
    let mut members: Vec<(&[u8], Member<'_>)> = Vec::new();
    let mut rest = Dictionary { bytes: line, at: 0 };
    while let Some((key, member)) = rest.next_member()? {
        // The last of equal keys counts (RFC 9651 §3.2).
        members.retain(|(earlier, _)| *earlier != key);
        if members.len() == MEMBERS_MAX {
            return None;
        }
        members.push((key, member));
    }
    if members.is_empty() {
        return None;
    }
    for (key, member) in members {
        if member == Member::False {
            continue;
        }
        let seconds = match member {
            Member::Integer(secs) => u64::try_from(secs)
                .map_or(Seconds::Invalid, |secs| Seconds::Of(secs.min(SECONDS_MAX))),
            _ => Seconds::Invalid,
        };
        let scope = || match member {
            Member::String(names) => field_names(names),
            _ => Scope::Whole,
        };
        match key {
            b"no-store" => control.no_store = true,
            b"no-cache" => control.no_cache = scope(),
            b"private" => control.private = scope(),
            b"public" => control.public = true,
            b"must-revalidate" => control.must_revalidate = true,
            b"proxy-revalidate" => control.proxy_revalidate = true,
            b"must-understand" => control.must_understand = true,
            b"no-transform" => control.no_transform = true,
            b"max-age" => control.max_age = seconds,
            b"s-maxage" => control.s_maxage = seconds,
            b"stale-while-revalidate" => control.stale_while_revalidate = seconds,
            b"stale-if-error" => control.stale_if_error = seconds,
            _ => {}
        }
    }
    Some(control)
}

/// One line of `Surrogate-Control`; `None` when nothing in it is for us.
pub fn parse_surrogate(line: &[u8]) -> Option<Control> {
    let mut control = Control {
        targeted: true,
        ..Control::default()
    };
    let mut is_for_us = false;
    let mut quoted = false;
    let directives = line.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    for directive in directives {
        let mut parts = directive
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii);
        let directive = parts.next().unwrap_or_default();
        let mut targets = parts.peekable();
        if targets.peek().is_some() && !targets.any(|target| target == SURROGATE_TARGET) {
            continue;
        }
        if directive.eq_ignore_ascii_case(b"no-store") {
            control.no_store = true;
            is_for_us = true;
        } else if let Some((name, value)) = directive.split_at_checked(b"max-age=".len())
            && name.eq_ignore_ascii_case(b"max-age=")
        {
            // `3600+600`: fresh for an hour, usable for ten minutes more.
            let mut seconds = value.split(|byte| *byte == b'+');
            control.max_age = control
                .max_age
                .and(whole_seconds(seconds.next().unwrap_or_default()));
            if let Some(extension) = seconds.next() {
                control.stale_while_revalidate = whole_seconds(extension);
            }
            is_for_us = true;
        }
    }
    is_for_us.then_some(control)
}

impl Control {
    /// Every `Cache-Control` line of a message.
    pub fn of<F: Fields + ?Sized>(fields: &F) -> Self {
        let mut control = Self::default();
        fields.each_line("cache-control", &mut |line| control.read(line));
        control
    }

    /// What a response tells a cache of our kind: the most particular field that can be read, alone.
    pub fn of_response<F: Fields + ?Sized>(fields: &F) -> Self {
        let line = |name: &str| fields.field(name).and_then(|_| fields.joined(name));
        let targeted = line("cdn-cache-control").and_then(|line| parse_targeted(&line));
        targeted
            .or_else(|| line("surrogate-control").and_then(|line| parse_surrogate(&line)))
            .unwrap_or_else(|| Self::of(fields))
    }

    fn read(&mut self, line: &[u8]) {
        let mut scan = Scan { bytes: line, at: 0 };
        while let Some(Directive {
            name,
            value,
            broken,
        }) = scan.next_directive()
        {
            let seconds = || match (&value, broken) {
                (Some(value), false) => whole_seconds(value),
                _ => Seconds::Invalid,
            };
            let scope = || match &value {
                Some(names) if !broken => field_names(names),
                _ => Scope::Whole,
            };
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("max-age") {
                self.max_age = self.max_age.and(seconds());
            } else if is("s-maxage") {
                self.s_maxage = self.s_maxage.and(seconds());
            } else if is("public") {
                self.public = true;
            } else if is("no-cache") {
                self.no_cache.and(scope());
            } else if is("no-store") {
                self.no_store = true;
            } else if is("private") {
                self.private.and(scope());
            } else if is("must-revalidate") {
                self.must_revalidate = true;
            } else if is("proxy-revalidate") {
                self.proxy_revalidate = true;
            } else if is("must-understand") {
                self.must_understand = true;
            } else if is("no-transform") {
                self.no_transform = true;
            } else if is("stale-while-revalidate") {
                self.stale_while_revalidate = self.stale_while_revalidate.and(seconds());
            } else if is("stale-if-error") {
                self.stale_if_error = self.stale_if_error.and(seconds());
            } else if is("only-if-cached") {
                self.only_if_cached = true;
            } else if is("max-stale") {
                let given = if value.is_none() && !broken {
                    Seconds::Absent
                } else {
                    seconds()
                };
                self.max_stale = Some(self.max_stale.map_or(given, |earlier| earlier.and(given)));
            } else if is("min-fresh") {
                self.min_fresh = self.min_fresh.and(seconds());
            }
        }
    }
}

struct Directive<'a> {
    name: &'a [u8],
    /// Without quotes; backslashes are kept, no directive we read has any.
    value: Option<&'a [u8]>,
    /// Blanks around `=`, a quote that never ends, text after a value, a semicolon: it counts only where it forbids.
    broken: bool,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let from = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        &self.bytes[from..self.at]
    }

    fn blanks(&mut self) -> bool {
        !self.skip(|byte| byte == b' ' || byte == b'\t').is_empty()
    }

    fn next_directive(&mut self) -> Option<Directive<'a>> {
        loop {
            self.skip(|byte| matches!(byte, b' ' | b'\t' | b',' | b';'));
            self.peek()?;
            let name = self.skip(|byte| !matches!(byte, b' ' | b'\t' | b',' | b';' | b'=' | b'"'));
            let mut broken = self.blanks();
            let mut value = None;
            if self.peek() == Some(b'=') {
                self.at += 1;
                broken |= self.blanks();
                if self.peek() == Some(b'"') {
                    let (quoted, closed) = self.quoted();
                    value = Some(quoted);
                    broken |= !closed;
                } else {
                    value =
                        Some(self.skip(|byte| !matches!(byte, b' ' | b'\t' | b',' | b';' | b'"')));
                }
            } else {
                // `no-store ,`: blanks before a comma are in order.
                broken = false;
            }
            self.blanks();
            // Up to the comma, past quotes: `max-age=1 "a, b"` is one broken directive.
            while let Some(byte) = self.peek() {
                match byte {
                    b',' => break,
                    b';' => {
                        broken = true;
                        break;
                    }
                    b'"' => {
                        self.quoted();
                    }
                    _ => self.at += 1,
                }
                broken = true;
            }
            if !name.is_empty() {
                return Some(Directive {
                    name,
                    value,
                    broken,
                });
            }
        }
    }

    /// From the opening quote to behind the closing one.
    fn quoted(&mut self) -> (&'a [u8], bool) {
        self.at += 1;
        let from = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return (&self.bytes[from..self.at - 1], true);
                }
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                _ => self.at += 1,
            }
        }
        (&self.bytes[from..], false)
    }
}

/// `1*DIGIT`, capped.
pub(super) fn whole_seconds(digits: &[u8]) -> Seconds {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Seconds::Invalid;
    }
    let secs = digits.iter().fold(0u64, |secs, digit| {
        (secs * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)
    });
    Seconds::Of(secs)
}

fn field_names(list: &[u8]) -> Scope {
    let mut names = Vec::new();
    for name in list
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
    {
        match HeaderName::from_bytes(name) {
            Ok(name) if names.len() < NAMES_MAX => names.push(name),
            _ => return Scope::Whole,
        }
    }
    if names.is_empty() {
        Scope::Whole
    } else {
        Scope::Fields(names)
    }
}

/// Directives are a dozen; a dictionary longer than this is not one.
const MEMBERS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member<'a> {
    Integer(i64),
    /// Without quotes, backslashes kept.
    String(&'a [u8]),
    False,
    /// True, and every type no directive uses.
    Other,
}

/// A dictionary of RFC 9651 §4.2.2. Errors are `None`; the end is `Some(None)`.
struct Dictionary<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Dictionary<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let from = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        &self.bytes[from..self.at]
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn next_member(&mut self) -> Option<Option<(&'a [u8], Member<'a>)>> {
        if self.at == 0 {
            self.skip(|byte| byte == b' ');
            if self.peek().is_none() {
                return Some(None);
            }
        } else {
            self.skip(|byte| byte == b' ' || byte == b'\t');
            if self.peek().is_none() {
                return Some(None);
            }
            self.expect(b',')?;
            self.skip(|byte| byte == b' ' || byte == b'\t');
            // A trailing comma is an error.
            self.peek()?;
        }
        let key = self.key()?;
        let member = if self.peek() == Some(b'=') {
            self.at += 1;
            if self.peek() == Some(b'(') {
                self.inner_list()?
            } else {
                self.bare_item()?
            }
        } else {
            Member::Other
        };
        self.parameters()?;
        Some(Some((key, member)))
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        self.peek()
            .filter(|byte| byte.is_ascii_lowercase() || *byte == b'*')?;
        Some(self.skip(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        }))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.peek() == Some(b';') {
            self.at += 1;
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.peek() == Some(b'=') {
                self.at += 1;
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn inner_list(&mut self) -> Option<Member<'a>> {
        self.expect(b'(')?;
        loop {
            self.skip(|byte| byte == b' ');
            if self.peek()? == b')' {
                self.at += 1;
                return Some(Member::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn bare_item(&mut self) -> Option<Member<'a>> {
        match self.peek()? {
            b'?' => {
                self.at += 1;
                let member = match self.peek()? {
                    b'0' => Member::False,
                    b'1' => Member::Other,
                    _ => return None,
                };
                self.at += 1;
                Some(member)
            }
            b'"' => {
                self.at += 1;
                let from = self.at;
                loop {
                    match self.peek()? {
                        b'"' => break,
                        b'\\' => {
                            self.at += 1;
                            if !matches!(self.peek()?, b'"' | b'\\') {
                                return None;
                            }
                        }
                        0x20..=0x7e => {}
                        _ => return None,
                    }
                    self.at += 1;
                }
                self.at += 1;
                Some(Member::String(&self.bytes[from..self.at - 1]))
            }
            b':' => {
                self.at += 1;
                self.skip(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.expect(b':')?;
                Some(Member::Other)
            }
            b'@' => {
                self.at += 1;
                match self.number()? {
                    Member::Integer(_) => Some(Member::Other),
                    _ => None,
                }
            }
            byte if byte == b'-' || byte.is_ascii_digit() => self.number(),
            byte if byte == b'*' || byte.is_ascii_alphabetic() => {
                self.skip(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(Member::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Member<'a>> {
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let digits = self.skip(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            let fraction = self.skip(|byte| byte.is_ascii_digit());
            let in_order = digits.len() <= 12 && (1..=3).contains(&fraction.len());
            return in_order.then_some(Member::Other);
        }
        let magnitude = digits
            .iter()
            .fold(0i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(Member::Integer(if negative {
            -magnitude
        } else {
            magnitude
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(list: &[&str]) -> Scope {
        Scope::Fields(
            list.iter()
                .map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
                .collect(),
        )
    }

    #[test]
    fn lifetimes() {
        use Seconds::{Absent, Invalid, Of};
        let table: &[(&str, Seconds, Seconds)] = &[
            ("", Absent, Absent),
            ("max-age=60", Of(60), Absent),
            ("MaX-AgE=60", Of(60), Absent),
            ("max-age=\"60\"", Of(60), Absent),
            ("max-age='60'", Invalid, Absent),
            ("max-age=0060", Of(60), Absent),
            ("max-age", Invalid, Absent),
            ("max-age=", Invalid, Absent),
            ("max-age=-1", Invalid, Absent),
            ("max-age=+1", Invalid, Absent),
            ("max-age=60.0", Invalid, Absent),
            ("max-age=a60", Invalid, Absent),
            ("max-age=60a", Invalid, Absent),
            ("max-age =60", Invalid, Absent),
            ("max-age= 60", Invalid, Absent),
            ("max-age=60 60", Invalid, Absent),
            ("max-age=60; no-store", Invalid, Absent),
            ("max-age=2147483647", Of(2_147_483_647), Absent),
            ("max-age=99999999999", Of(SECONDS_MAX), Absent),
            (
                "max-age=999999999999999999999999999999",
                Of(SECONDS_MAX),
                Absent,
            ),
            ("max-age=60, max-age=60", Of(60), Absent),
            ("max-age=1800, max-age=1", Of(1), Absent),
            ("max-age=1, max-age=1800", Of(1), Absent),
            ("max-age=60, max-age=x", Invalid, Absent),
            ("extension=\"max-age=3600\", max-age=1", Of(1), Absent),
            ("max-age=1, extension=\"max-age=3600\"", Of(1), Absent),
            ("extension=\"a\\\"max-age=3600\", max-age=1", Of(1), Absent),
            ("extension=\"max-age=3600, max-age=1", Absent, Absent),
            ("max-age=10,s-maxage=5", Of(10), Of(5)),
            (",, ,s-maxage=5 , ,max-age=10,", Of(10), Of(5)),
            ("\"max-age=3600\"", Absent, Absent),
            ("=3600", Absent, Absent),
        ];
        for (line, max_age, s_maxage) in table {
            let control = parse(line.as_bytes());
            assert_eq!(
                (control.max_age, control.s_maxage),
                (*max_age, *s_maxage),
                "{line}"
            );
        }
    }

    #[test]
    fn what_forbids_counts_even_when_broken() {
        type Has = fn(&Control) -> bool;
        let table: &[(&str, Has)] = &[
            ("no-store", |control| control.no_store),
            ("No-StOrE", |control| control.no_store),
            ("no-store ,public", |control| {
                control.no_store && control.public
            }),
            ("private; no-store", |control| {
                control.private.is_whole() && control.no_store
            }),
            ("no-store=1", |control| control.no_store),
            ("no-cache", |control| control.no_cache.is_whole()),
            ("no-cache=\"", |control| control.no_cache.is_whole()),
            ("no-cache=\"a b\"", |control| control.no_cache.is_whole()),
            ("no-cache=\"a\", no-cache", |control| {
                control.no_cache.is_whole()
            }),
            ("no-cache=\"a, B\"", |control| {
                control.no_cache == names(&["a", "b"])
            }),
            ("no-cache=\"a\",no-cache=\"b\"", |control| {
                control.no_cache == names(&["a", "b"])
            }),
            ("private=x-user", |control| {
                control.private == names(&["x-user"])
            }),
            ("must-revalidate,proxy-revalidate", |control| {
                control.must_revalidate && control.proxy_revalidate
            }),
            ("max-stale", |control| {
                control.max_stale == Some(Seconds::Absent)
            }),
            ("max-stale=5", |control| {
                control.max_stale == Some(Seconds::Of(5))
            }),
            ("extension=\"no-store\"", |control| !control.no_store),
        ];
        for (line, has) in table {
            assert!(
                has(&parse(line.as_bytes())),
                "{line}: {:?}",
                parse(line.as_bytes())
            );
        }
    }

    #[test]
    fn targeted_fields_are_dictionaries_or_nothing() {
        let max_age = |secs| {
            Some(Control {
                max_age: secs,
                targeted: true,
                ..Control::default()
            })
        };
        let table: &[(&str, Option<Control>)] = &[
            ("", None),
            ("  ", None),
            ("max-age=60", max_age(Seconds::Of(60))),
            (" max-age=60 ", max_age(Seconds::Of(60))),
            ("max-age=10, max-age=60", max_age(Seconds::Of(60))),
            ("max-age=60;x=1;y", max_age(Seconds::Of(60))),
            ("max-age=60,", None),
            ("max-age=60 public", None),
            ("MAX-AGE=60", None),
            ("max-age=\"60\"", max_age(Seconds::Invalid)),
            ("max-age=60.5", max_age(Seconds::Invalid)),
            ("max-age=-60", max_age(Seconds::Invalid)),
            ("max-age", max_age(Seconds::Invalid)),
            ("max-age=600000000000000", max_age(Seconds::Of(SECONDS_MAX))),
            ("max-age=6000000000000000", None),
            ("max-age=60, &", None),
            (
                "max-age=60, other=(1 \"a\" tok;q=1)",
                max_age(Seconds::Of(60)),
            ),
            ("max-age=60, other=(1 \"a\"", None),
            (
                "max-age=60, b=:aGk=:, d=@1659578233",
                max_age(Seconds::Of(60)),
            ),
            ("max-age=60, no-store=?0", max_age(Seconds::Of(60))),
            ("unknown", max_age(Seconds::Absent)),
        ];
        for (line, expected) in table {
            assert_eq!(parse_targeted(line.as_bytes()), *expected, "{line}");
        }
        assert!(parse_targeted(b"no-store").is_some_and(|control| control.no_store));
        assert!(
            parse_targeted(b"private=\"a, b\"")
                .is_some_and(|control| control.private == names(&["a", "b"]))
        );
    }

    #[test]
    fn the_targeted_field_replaces_the_plain_one() {
        let mut fields = http::HeaderMap::new();
        fields.insert("cache-control", "no-store".parse().unwrap());
        fields.append("cdn-cache-control", "max-age=60".parse().unwrap());
        fields.append("cdn-cache-control", "must-revalidate".parse().unwrap());
        let control = Control::of_response(&fields);
        assert!(control.targeted && !control.no_store && control.must_revalidate);
        assert_eq!(control.max_age, Seconds::Of(60));
        fields.append("cdn-cache-control", "!".parse().unwrap());
        assert!(Control::of_response(&fields).no_store);
    }

    #[test]
    fn surrogate_control() {
        let lives = |secs| {
            Some(Control {
                max_age: Seconds::Of(secs),
                targeted: true,
                ..Control::default()
            })
        };
        let table: &[(&str, Option<Control>)] = &[
            ("max-age=60", lives(60)),
            ("foobar, MaX-aGe=60", lives(60)),
            ("max-age=60;saqta", lives(60)),
            ("max-age=60;other", None),
            ("max-age=60;other, max-age=10", lives(10)),
            ("content=\"ESI/1.0, no-store\"", None),
            ("max-age =60", None),
            ("foo", None),
            ("", None),
            (
                "no-store",
                Some(Control {
                    no_store: true,
                    targeted: true,
                    ..Control::default()
                }),
            ),
            (
                "max-age=60+5",
                lives(60).map(|lives| Control {
                    stale_while_revalidate: Seconds::Of(5),
                    ..lives
                }),
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse_surrogate(line.as_bytes()), *expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&line);
            parse_targeted(&line);
            parse_surrogate(&line);
        }

        #[test]
        fn any_almost_directives_parse(line in "[a-z0-9=,;\" \\\\-]{0,80}") {
            parse(line.as_bytes());
            parse_targeted(line.as_bytes());
            parse_surrogate(line.as_bytes());
        }

        /// Adding a directive never makes a response live longer.
        #[test]
        fn more_words_never_lengthen_life(one in 0u64..5000, other in "max-age=[0-9a-z\"]{0,6}") {
            let alone = parse(format!("max-age={one}").as_bytes()).max_age.cautious().unwrap();
            let both = parse(format!("max-age={one}, {other}").as_bytes()).max_age.cautious().unwrap();
            prop_assert!(both <= alone);
        }
    }
}
