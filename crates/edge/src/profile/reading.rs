//! One request, read by its site's profile: who asks, and what of the request the origin may hear when the answer is for everybody.
//!
//! A fetch for the cache speaks for all readers of its page, so it says of the one who caused it only what the key says too, or
//! `Vary` can. Cookies: the keyed ones. Languages: one of the site's. The browser: a phone or not. What it takes: a page, a picture,
//! anything. How a browser came to ask (`Referer`, `Sec-Fetch-…`) is left out. A field we know nothing of is forwarded, so that a
//! page may vary by it; its value is then part of which fetch a reader joins, and a response that repeats it is not kept.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{CookieKind, Profile, Standing};
use crate::cache::vary;
use crate::fields::Fields;
use crate::staff;

/// Four languages' and currencies' worth of names and values. More is somebody's own page.
const KEYED_BYTES_MAX: usize = 96;
const KEYED_MAX: usize = 4;

/// A language, a currency, a region. What is longer says more than which of a few pages is meant.
const KEYED_VALUE_BYTES_MAX: usize = 24;

/// Browsers keep 50 to 180 for a site. Whoever sends more is nobody we know.
const COOKIES_MAX: usize = 180;

/// Fields we know nothing of, in one fetch. Apps send one or two; a response is searched for each of them.
const UNKEYED_MAX: usize = 8;

/// Shorter values stand in any page by chance.
const ECHO_BYTES_MIN: usize = 6;

/// What stands for every phone and for every other browser: pages that vary by `User-Agent` ask for these words.
const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";
const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

const TAKES_PAGES: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const TAKES_AVIF: &str = "image/avif,image/webp,image/*,*/*;q=0.8";
const TAKES_WEBP: &str = "image/webp,image/*,*/*;q=0.8";
const TAKES_PICTURES: &str = "image/*,*/*;q=0.8";
const TAKES_STYLES: &str = "text/css,*/*;q=0.1";
const TAKES_ANYTHING: &str = "*/*";

/// Always passed on: without it two edges that take each other for the origin would wait for themselves.
const CDN_LOOP: &str = "cdn-loop";

/// Scripts say `XMLHttpRequest` here, and want a part of a page; browsers inside Android's apps name the app, and want the page.
const REQUESTED_WITH: &str = "x-requested-with";

/// A part of a page is asked for, at the page's own address.
const FRAGMENT: [&str; 6] = [
    REQUESTED_WITH,
    "x-pjax",
    "x-inertia",
    "hx-request",
    "turbo-frame",
    "rsc",
];

#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub standing: Standing,
    /// Its `Accept`, or a field beside it, asks for something else than the page: it never fetches for others.
    is_odd: bool,
    keyed: [u8; KEYED_BYTES_MAX],
    keyed_bytes: u8,
}

impl Reading {
    /// By its fields. What its path allows, [`Profile::standing_of_target`] knows: no copy is ever made where that is less, so a hit
    /// need not ask.
    pub fn of<F: Fields + ?Sized>(profile: &Profile, fields: &F) -> Self {
        let mut reading = Self {
            standing: Standing::Anonymous,
            is_odd: false,
            keyed: [0; KEYED_BYTES_MAX],
            keyed_bytes: 0,
        };
        reading.read_cookies(profile, fields);
        let mut credentials = false;
        let mut odd = false;
        fields.each_name(&mut |name| match beginning(name) {
            Beginning::Usual => {}
            Beginning::Accept => {
                odd |= name.len() == 6 && accept(fields.field("accept")).is_none();
            }
            Beginning::Rare => {
                credentials |= is_credential(name);
                odd |= FRAGMENT
                    .iter()
                    .any(|field| name.eq_ignore_ascii_case(field))
                    && !(name.eq_ignore_ascii_case(REQUESTED_WITH) && is_app(fields));
            }
        });
        reading.is_odd = odd;
        if credentials {
            reading.standing = Standing::Credentials;
        } else if odd {
            reading.standing = reading.standing.max(Standing::Unsure);
        }
        reading
    }

    fn read_cookies<F: Fields + ?Sized>(&mut self, profile: &Profile, fields: &F) {
        let mut standing = Standing::Anonymous;
        let mut keyed: [(&[u8], &[u8]); KEYED_MAX] = [(b"", b""); KEYED_MAX];
        let mut keyed_count = 0;
        let mut seen = 0;
        fields.each_line("cookie", &mut |line| {
            for (name, value) in staff::pairs(line) {
                seen += 1;
                if seen > COOKIES_MAX || standing == Standing::Session {
                    standing = standing.max(Standing::Unsure);
                    return;
                }
                match profile.cookie(name) {
                    CookieKind::Ignored => {}
                    CookieKind::Session => standing = Standing::Session,
                    CookieKind::Guest | CookieKind::Unknown => {
                        standing = standing.max(Standing::Unsure)
                    }
                    CookieKind::Keyed => {
                        let again = keyed[..keyed_count].iter().any(|(known, _)| *known == name);
                        if keyed_count == KEYED_MAX || again || !is_choice(value) {
                            standing = standing.max(Standing::Unsure);
                        } else {
                            keyed[keyed_count] = (name, value);
                            keyed_count += 1;
                        }
                    }
                }
            }
        });
        self.standing = standing;
        let keyed = &mut keyed[..keyed_count];
        // Browsers send them in the order they were set.
        keyed.sort_unstable();
        for (name, value) in keyed {
            let separator: &[u8] = if self.keyed_bytes == 0 { b"" } else { b"; " };
            for part in [separator, name, b"=", value] {
                self.push(part);
            }
        }
    }

    fn push(&mut self, part: &[u8]) {
        let at = usize::from(self.keyed_bytes);
        match self.keyed.get_mut(at..at + part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.keyed_bytes += part.len() as u8;
            }
            None => self.standing = self.standing.max(Standing::Unsure),
        }
    }

    /// As they stand in the key, and as they are sent: by name, `a=1; b=2`.
    pub fn keyed(&self) -> &[u8] {
        &self.keyed[..usize::from(self.keyed_bytes)]
    }

    /// May a fetch on its behalf be everybody's?
    pub fn may_fetch_for_all(&self) -> bool {
        !self.is_odd && self.standing < Standing::Credentials
    }

    /// With what its path and parameters allow.
    pub fn at_most(mut self, standing: Standing) -> Self {
        self.standing = self.standing.max(standing);
        self
    }

    /// The same request as anybody's: for whoever may be shown what everybody is shown.
    pub fn as_anybody(&self) -> Self {
        Self {
            standing: Standing::Anonymous,
            ..*self
        }
    }

    /// The same request as of a reader who has not chosen a language or a currency.
    pub fn without_choice(&self) -> Self {
        Self {
            keyed_bytes: 0,
            ..*self
        }
    }

    /// Not a part of it, and nothing else that stands at its address.
    pub fn asks_for_the_page(&self) -> bool {
        !self.is_odd
    }

    /// The request's fields as keys and `Vary` know them.
    pub fn sent<'a, F: Fields + ?Sized>(
        &'a self,
        profile: &'a Profile,
        fields: &'a F,
    ) -> AsSent<'a, F> {
        AsSent {
            fields,
            reading: self,
            profile,
        }
    }

    /// Leaves of all cookies those that choose between pages.
    pub fn keep_keyed_cookies(&self, fields: &mut HeaderMap) {
        fields.remove(header::COOKIE);
        if !self.keyed().is_empty()
            && let Ok(keyed) = HeaderValue::from_bytes(self.keyed())
        {
            fields.insert(header::COOKIE, keyed);
        }
    }

    /// Makes of a request's fields those of a fetch for everybody. `bare`: nothing is forwarded that is not in the key, because a
    /// response has repeated such a field.
    ///
    /// `hears`: does the origin get a field of which nothing is known?
    pub fn for_shared_fetch(
        &self,
        profile: &Profile,
        fields: &mut HeaderMap,
        mut hears: impl FnMut(&HeaderName) -> bool,
    ) {
        let phone = is_phone(fields);
        let takes = accept(fields.field("accept")).unwrap_or(TAKES_ANYTHING);
        let language = language(profile, fields);
        let out: Vec<HeaderName> = fields
            .keys()
            .filter(|name| {
                is_left_out(name.as_str())
                    || *name == header::VIA
                    || is_unkeyed(profile, name)
                        && *name != CDN_LOOP
                        && *name != header::AUTHORIZATION
                        && !hears(name)
            })
            .cloned()
            .collect();
        for name in out {
            fields.remove(name);
        }
        self.keep_keyed_cookies(fields);
        let agent = if phone { PHONE } else { DESKTOP };
        fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        fields.insert(header::ACCEPT, HeaderValue::from_static(takes));
        if let Some(language) = language
            && let Ok(language) = HeaderValue::from_str(&language)
        {
            fields.insert(header::ACCEPT_LANGUAGE, language);
        }
    }
}

/// Does a fetch for everybody ask as it does for a reader who says nothing of himself: no phone, and the site's first language? `sent`: from
/// [`Reading::for_shared_fetch`].
pub fn asks_as_usual(profile: &Profile, sent: &HeaderMap) -> bool {
    let first = profile.own.languages.first();
    let is_first =
        |language: &HeaderValue| first.is_some_and(|first| language.as_bytes() == first.as_bytes());
    !is_phone(sent) && sent.get(header::ACCEPT_LANGUAGE).is_none_or(is_first)
}

/// What a request brings beside its key. Two that differ in it do not read along with each other.
pub fn brought<'a>(
    profile: &'a Profile,
    fields: &'a HeaderMap,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    fields.iter().filter(|(name, _)| is_unkeyed(profile, name))
}

/// Those whose value stands in no page by chance: a response that repeats one is not kept.
pub fn unkeyed<'a>(
    profile: &'a Profile,
    fields: &'a HeaderMap,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    brought(profile, fields).filter(|(_, value)| value.len() >= ECHO_BYTES_MIN)
}

/// So many that searching a response for each would cost more than the response.
pub fn has_too_many_unkeyed(profile: &Profile, fields: &HeaderMap) -> bool {
    unkeyed(profile, fields).nth(UNKEYED_MAX).is_some()
}

fn is_unkeyed(profile: &Profile, name: &HeaderName) -> bool {
    let normalised = match *name {
        header::COOKIE | header::USER_AGENT | header::ACCEPT | header::VIA => true,
        header::ACCEPT_LANGUAGE => !profile.own.languages.is_empty(),
        _ => name == "keep-alive",
    };
    !normalised && !is_left_out(name.as_str()) && !vary::is_always_alike(name)
}

/// How a browser came to ask, or what it would like of the way: a page is the same for all of it.
fn is_left_out(name: &str) -> bool {
    match name.as_bytes() {
        [b's', b'e', b'c', b'-', ..] => true,
        [b'r' | b'd' | b's' | b'p' | b'u' | b'x', ..] => matches!(
            name,
            "referer"
                | "dnt"
                | "save-data"
                | "priority"
                | "purpose"
                | "upgrade-insecure-requests"
                | REQUESTED_WITH
        ),
        _ => false,
    }
}

/// `org.telegram.messenger`, `com.instagram.android`.
fn is_app(fields: &(impl Fields + ?Sized)) -> bool {
    fields.field(REQUESTED_WITH).is_some_and(|app| {
        app.contains(&b'.')
            && app
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    })
}

/// A choice among a few: letters, digits and what joins them.
fn is_choice(value: &[u8]) -> bool {
    value.len() <= KEYED_VALUE_BYTES_MAX
        && value.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'%')
        })
}

enum Beginning {
    /// Of no field we look for.
    Usual,
    Accept,
    Rare,
}

/// All but a few fields of a browser's are told by their first letters.
fn beginning(name: &str) -> Beginning {
    match name.as_bytes() {
        [one, two, three, rest @ ..] => match &[one | 0x20, two | 0x20, three | 0x20] {
            b"acc" => Beginning::Accept,
            // `Sec-…` is the browser's own; a secret is spelt on.
            b"sec" if rest.first() == Some(&b'-') => Beginning::Usual,
            b"hx-" | b"rsc" => Beginning::Rare,
            [b'x' | b'a' | b'p' | b't' | b's', ..] => Beginning::Rare,
            _ => Beginning::Usual,
        },
        _ => Beginning::Usual,
    }
}

/// `Authorization`, `X-Api-Key`, `X-Auth-…`, `X-…-Token` and their kin.
fn is_credential(name: &str) -> bool {
    const PARTS: [&[u8]; 9] = [
        b"token",
        b"auth",
        b"api-key",
        b"apikey",
        b"secret",
        b"session",
        b"nonce",
        b"signature",
        b"credential",
    ];
    const LENGTH_MAX: usize = 64;
    let name = name.as_bytes();
    let name = &name[..name.len().min(LENGTH_MAX)];
    PARTS.iter().any(|part| {
        name.windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
    })
}

/// What a browser means by its `Accept`; `None`: it means something of its own.
fn accept(value: Option<&[u8]>) -> Option<&'static str> {
    let Some(value) = value else {
        return Some(TAKES_ANYTHING);
    };
    let holds = |part: &[u8]| memchr::memmem::find(value, part).is_some();
    Some(match value {
        b"*/*" | b"" => TAKES_ANYTHING,
        value if value.starts_with(b"text/html") || value.starts_with(b"application/xhtml") => {
            TAKES_PAGES
        }
        value if value.starts_with(b"image/") && holds(b"image/avif") => TAKES_AVIF,
        value if value.starts_with(b"image/") && holds(b"image/webp") => TAKES_WEBP,
        value if value.starts_with(b"image/") => TAKES_PICTURES,
        value if value.starts_with(b"text/css") => TAKES_STYLES,
        value if value.starts_with(b"*/*") => TAKES_ANYTHING,
        _ => return None,
    })
}

fn is_phone(fields: &(impl Fields + ?Sized)) -> bool {
    fields.field("user-agent").is_some_and(|agent| {
        memchr::memmem::find(agent, b"Mobi").is_some()
            || memchr::memmem::find(agent, b"iPhone").is_some()
    })
}

/// The one of the site's languages this reader likes best; its first when none is liked. `None`: the site has named none.
fn language(profile: &Profile, fields: &(impl Fields + ?Sized)) -> Option<String> {
    let ours = &profile.own.languages;
    let first = ours.first()?;
    let list = fields.joined("accept-language").unwrap_or_default();
    let liked = vary::languages(&list).unwrap_or_default();
    let best = liked
        .iter()
        .filter(|(_, thousandths)| *thousandths > 0)
        .filter_map(|(tag, thousandths)| {
            let ours = ours.iter().position(|own| is_of(tag, own))?;
            // The earlier of two liked as well.
            Some((*thousandths, std::cmp::Reverse(ours)))
        })
        .max();
    Some(best.map_or_else(|| first.clone(), |(_, at)| ours[at.0].clone()))
}

/// `kk-KZ` is of `kk`.
fn is_of(tag: &[u8], language: &str) -> bool {
    tag.strip_prefix(language.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
}

/// A request's fields as the origin hears them when it is asked for everybody, without a copy.
pub struct AsSent<'a, F: ?Sized> {
    fields: &'a F,
    reading: &'a Reading,
    profile: &'a Profile,
}

enum Heard<'a> {
    AsItIs,
    Absent,
    As(&'a [u8]),
}

impl<F: Fields + ?Sized> AsSent<'_, F> {
    fn heard(&self, name: &str) -> Heard<'_> {
        match name {
            // Somebody's own cookies are compared as they are: they match no copy that varies by them.
            "cookie" if self.reading.standing > Standing::Anonymous => Heard::AsItIs,
            "cookie" if self.reading.keyed().is_empty() => Heard::Absent,
            "cookie" => Heard::As(self.reading.keyed()),
            "user-agent" if is_phone(self.fields) => Heard::As(PHONE.as_bytes()),
            "user-agent" => Heard::As(DESKTOP.as_bytes()),
            "accept" => match accept(self.fields.field("accept")) {
                Some(takes) => Heard::As(takes.as_bytes()),
                None => Heard::AsItIs,
            },
            "accept-language" => match language(self.profile, self.fields) {
                Some(language) => self
                    .profile
                    .own
                    .languages
                    .iter()
                    .find(|own| **own == language)
                    .map_or(Heard::Absent, |own| Heard::As(own.as_bytes())),
                None => Heard::AsItIs,
            },
            name if is_left_out(name) => Heard::Absent,
            _ => Heard::AsItIs,
        }
    }
}

impl<F: Fields + ?Sized> Fields for AsSent<'_, F> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        match self.heard(name) {
            Heard::AsItIs => self.fields.field(name),
            Heard::Absent => None,
            Heard::As(value) => Some(value),
        }
    }

    fn each_line<'a>(&'a self, name: &str, line: &mut dyn FnMut(&'a [u8])) {
        match self.heard(name) {
            Heard::AsItIs => self.fields.each_line(name, line),
            Heard::Absent => {}
            Heard::As(value) => line(value),
        }
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        self.fields.each_name(name);
    }

    fn standing(&self) -> Standing {
        self.reading.standing
    }
}
