//! What a site's content system does out of the box, so that its pages can be kept from the first day.
//!
//! By RFC 9111 alone the cache of a newsroom stays empty. WordPress says nothing about how long a page lasts, Joomla forbids keeping
//! any and gives a session to everybody, Drupal varies on `Cookie`, and every reader carries the cookies of analytics and consent.
//! A profile knows which cookies make a page somebody's own, which choose one of several pages and which mean nothing to the origin;
//! which parameters say where a reader came from; what a system says out of habit and how long its pages last all the same.
//!
//! One law keeps this safe: **what is not in the key is not sent to the origin, and what was sent is in the key.** It is kept in two
//! places, which must say the same: [`Reading`] makes of a request's fields what the key and `Vary` are compared with, and
//! [`Reading::for_shared_fetch`] makes of them what the origin hears. How far a stored response may go is decided by [`Standing`]
//! (who asks) and [`Reach`](crate::cache::freshness::Reach) (what the origin said of it): a page kept on a guess is for anonymous
//! readers only, and a name we do not know makes a reader somebody.
//!
//! The operator's own lists come before all of it. Data is in [`data`]; the login cookies and paths of staff are in
//! [`crate::staff::PROFILES`] and nowhere else.

mod data;
mod names;
mod reading;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use self::names::{matches, matches_folded};
use crate::ladder;
use crate::search::SearchForm;
use crate::staff;

pub use reading::{AsSent, Reading, asks_as_usual, brought, has_too_many_unkeyed, unkeyed};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum System {
    /// Nothing is known: RFC 9111, and what all systems share.
    #[default]
    Generic,
    WordPress,
    Drupal,
    Joomla,
}

impl System {
    pub const ALL: [Self; 4] = [Self::Generic, Self::WordPress, Self::Drupal, Self::Joomla];

    /// As it stands in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::WordPress => "wordpress",
            Self::Drupal => "drupal",
            Self::Joomla => "joomla",
        }
    }
}

/// What runs for a site: its system, and the operator's word, which comes first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    pub system: System,
    pub own: Own,
}

/// The operator's lists. Names and paths that end in `*` stand for all that begin so.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Own {
    pub session_cookies: Vec<String>,
    pub keyed_cookies: Vec<String>,
    pub ignored_cookies: Vec<String>,
    pub private_paths: Vec<String>,
    pub content_parameters: Vec<String>,
    pub ignored_parameters: Vec<String>,
    /// Lower-case tags, the site's first language first. Empty: `Accept-Language` is forwarded as it is.
    pub languages: Vec<String>,
    /// Of a page whose origin says nothing, instead of the profile's own.
    pub lifetime: Option<Duration>,
    /// A system's `no-store` counts even where it is a habit.
    pub obey_no_store: bool,
}

/// What a cookie's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CookieKind {
    /// Makes a request its sender's own.
    Session,
    /// A session that the system gives to everybody; whether somebody has logged in with it only the origin knows.
    Guest,
    /// Chooses one of several pages: part of the key, and sent.
    Keyed,
    /// Means nothing to a page: neither in the key nor sent.
    Ignored,
    Unknown,
}

/// Who asks, as far as it decides what may answer. In order: each may have less than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Standing {
    /// No session cookie, no `Authorization`, no field like it, and nothing we do not know: as anybody.
    #[default]
    Anonymous,
    /// A cookie nobody listed, or a path or parameter that is often one person's.
    Unsure,
    /// Sends a session cookie.
    Session,
    /// Sends `Authorization`, or a field that looks like it.
    Credentials,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    Front,
    Page,
    Search,
    Feed,
    Login,
    Comment,
    Payment,
    Callback,
    Staff,
    /// The operator says so.
    Private,
}

impl Use {
    /// A page anybody may be shown, unless its origin or its reader says otherwise.
    pub fn is_public(self) -> bool {
        matches!(self, Self::Front | Self::Page | Self::Search | Self::Feed)
    }
}

/// Seconds a page lasts whose origin does not say; `None`: as RFC 9111 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    pub front: Option<u64>,
    pub page: Option<u64>,
    pub search: Option<u64>,
    pub feed: Option<u64>,
    pub asset: Option<u64>,
    /// 404 and 410.
    pub missing: Option<u64>,
}

/// What a system says to everybody, to the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habit {
    /// Of 404 and 410 only.
    pub only_missing: bool,
    /// All of `Cache-Control`, in any order.
    pub directives: &'static [&'static str],
    pub expires: &'static str,
    /// ... but not when this field says this.
    pub unless: Option<(&'static str, &'static str)>,
}

/// What a profile says about the answer to one anonymous request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct House {
    pub usage: Use,
    lifetimes: Lifetimes,
    habits: &'static [Habit],
    /// Its `Set-Cookie` lines say nothing about who reads.
    pub sets_nothing_personal: bool,
}

impl House {
    /// Seconds, for a response whose origin names none.
    pub fn lifetime(&self, status: StatusCode, fields: &HeaderMap) -> Option<u64> {
        let lifetimes = &self.lifetimes;
        match status.as_u16() {
            200 if is_asset(fields) => lifetimes.asset,
            200 => match self.usage {
                Use::Front => lifetimes.front,
                Use::Search => lifetimes.search,
                Use::Feed => lifetimes.feed,
                _ => lifetimes.page,
            },
            301 | 308 => lifetimes.page,
            404 | 410 => lifetimes.missing,
            _ => None,
        }
    }

    /// Does the system say this to everybody?
    pub fn is_habit(&self, status: StatusCode, fields: &HeaderMap) -> bool {
        let missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        // Anything else it answers so may be one reader's: the way back from a form, an error with what was typed.
        (missing || status == StatusCode::OK)
            && self
                .habits
                .iter()
                .any(|habit| (missing || !habit.only_missing) && habit.is_in(fields))
    }
}

impl Habit {
    fn is_in(&self, fields: &HeaderMap) -> bool {
        let one = |name: &header::HeaderName| {
            let mut lines = fields.get_all(name).iter();
            lines.next().filter(|_| lines.next().is_none())
        };
        let targeted = ["cdn-cache-control", "surrogate-control"]
            .iter()
            .any(|name| fields.contains_key(*name));
        let said = one(&header::CACHE_CONTROL).is_some_and(|line| {
            let mut said = 0;
            let all_known = line
                .as_bytes()
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .inspect(|_| said += 1)
                .all(|directive| {
                    self.directives
                        .iter()
                        .any(|known| directive.eq_ignore_ascii_case(known.as_bytes()))
                });
            all_known && said == self.directives.len()
        });
        let excepted = self.unless.is_some_and(|(name, value)| {
            fields
                .get_all(name)
                .iter()
                .any(|line| line.as_bytes().starts_with(value.as_bytes()))
        });
        said && !targeted
            && !excepted
            && one(&header::EXPIRES).is_some_and(|line| line == self.expires)
    }
}

/// Files that are the same for everybody, by what they are and never by what their names end in: a path that ends in `.css` may be
/// answered with a reader's own page.
fn is_asset(fields: &HeaderMap) -> bool {
    const KINDS: [&[u8]; 7] = [
        b"image/",
        b"font/",
        b"video/",
        b"audio/",
        b"text/css",
        b"text/javascript",
        b"application/javascript",
    ];
    fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| KINDS.iter().any(|kind| value.as_bytes().starts_with(kind)))
}

/// A target without the parameters that say where its reader came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    pub kept: Cow<'a, str>,
    /// `utm_source=x&fbclid=y`: what redirects get back. Empty: nothing was taken.
    pub taken: String,
}

impl Profile {
    pub fn of(system: System) -> Self {
        Self {
            system,
            own: Own::default(),
        }
    }

    pub fn cookie(&self, name: &[u8]) -> CookieKind {
        let own = &self.own;
        if name.starts_with(ladder::COOKIES.as_bytes()) {
            CookieKind::Ignored
        } else if is_among(&own.session_cookies, name) {
            CookieKind::Session
        } else if is_among(&own.keyed_cookies, name) {
            CookieKind::Keyed
        } else if is_among(&own.ignored_cookies, name) {
            CookieKind::Ignored
        } else if name.first() != Some(&b'_') && staff::is_session_name(name) {
            // No system's own session begins with an underscore, and half of what readers carry does.
            // Joomla's own name for a guest's session and an editor's is the same.
            if self.system == System::Joomla && name.len() == 32 {
                CookieKind::Guest
            } else {
                CookieKind::Session
            }
        } else {
            data::cookie(name)
        }
    }

    pub fn system(&self) -> System {
        self.system
    }

    /// `path` without its query.
    pub fn use_of(&self, path: &str, query: Option<&str>) -> Use {
        if self
            .own
            .private_paths
            .iter()
            .any(|own| matches(own, path.as_bytes()))
        {
            return Use::Private;
        }
        if staff::is_login_path(path) {
            return Use::Login;
        }
        if self.is_cron(path) {
            return Use::Callback;
        }
        if staff::is_publish_path(path) {
            return Use::Staff;
        }
        let mut segments = pieces(path, b'/')
            // What a system without rewritten addresses puts before them.
            .filter(|segment| !segment.is_empty() && *segment != "index.php");
        let is_joomla = self.system == System::Joomla;
        let first = segments.next();
        let first = match first {
            // `/kk/search` is a search.
            Some(language) if is_language(language) => segments.next().or(first),
            first => first,
        };
        // Joomla's parts have their names behind this word, also where it lies in a folder.
        let behind = segments.next();
        let first = match (first, behind) {
            (Some("component"), part) => part,
            (Some(_), Some("component")) if is_joomla => segments.next(),
            (Some(_), Some("login" | "cart" | "checkout")) if is_joomla => behind,
            (first, _) => first,
        };
        if is_joomla && query.is_some_and(is_of_joomlas_users) {
            return Use::Login;
        }
        let lists = [
            (data::STAFF_SEGMENTS, Use::Staff),
            (data::LOGIN_SEGMENTS, Use::Login),
            (data::PAYMENT_SEGMENTS, Use::Payment),
            (data::CALLBACK_SEGMENTS, Use::Callback),
            (data::COMMENT_SEGMENTS, Use::Comment),
            (data::SEARCH_SEGMENTS, Use::Search),
        ];
        let listed = first.and_then(|first| {
            lists
                .iter()
                .find(|(segments, _)| segments.contains(&first))
                .map(|(_, usage)| *usage)
        });
        if let Some(listed) = listed {
            return listed;
        }
        let searches = query.is_some_and(|query| {
            names_of(query).any(|name| data::SEARCH_PARAMETERS.contains(&name))
        });
        let last = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if searches {
            Use::Search
        } else if matches!(
            last,
            "feed" | "rss" | "atom" | "rss.xml" | "feed.xml" | "sitemap.xml"
        ) {
            Use::Feed
        } else if path.len() <= 1 || first.is_some_and(is_language) && path.len() <= 4 {
            Use::Front
        } else {
            Use::Page
        }
    }

    /// Does this start the system's own work? However it is spelled: a letter encoded or of the other case would go round all of it, and
    /// so would what PHP takes for a path behind its name.
    pub fn is_cron(&self, path: &str) -> bool {
        if self.system != System::WordPress {
            return false;
        }
        let mut bytes = decoded_bytes(path.as_bytes()).peekable();
        let mut matched = 0;
        while let Some(byte) = bytes.next() {
            // A slash stands nowhere else in it.
            matched = match byte.to_ascii_lowercase() {
                byte if byte == data::CRON[matched] => matched + 1,
                b'/' => 1,
                _ => 0,
            };
            if matched == data::CRON.len() {
                if matches!(bytes.peek(), None | Some(b'/')) {
                    return true;
                }
                matched = 0;
            }
        }
        false
    }

    pub fn is_search(&self, path: &str, query: Option<&str>) -> bool {
        self.use_of(path, query) == Use::Search
    }

    pub fn is_login(&self, path: &str) -> bool {
        self.use_of(path, None) == Use::Login
    }

    /// Searches that the edge may answer from its copy.
    pub fn searches(&self) -> Vec<SearchForm> {
        data::searches(self.system)
            .iter()
            .chain(data::SEARCHES)
            .map(|(path, parameter, with)| SearchForm {
                path: (*path).to_owned(),
                parameter: (*parameter).to_owned(),
                with: with
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            })
            .collect()
    }

    /// A parameter that says which page is meant: no copy under another value may stand in for it.
    pub fn selects_content(&self, name: &str) -> bool {
        is_among(&self.own.content_parameters, name.as_bytes())
            || data::CONTENT_PARAMETERS.have(name.as_bytes())
            || self.is_private_parameter(name)
    }

    /// The same for a name as [`crate::relevance`] spells it: in lower case, `_` for a dot.
    pub fn selects_content_folded(&self, name: &[u8]) -> bool {
        let mut own = self.own.content_parameters.iter();
        own.any(|pattern| matches_folded(pattern, name))
            || data::CONTENT_PARAMETERS.have_folded(name)
            || data::PRIVATE_PARAMETERS.have_folded(name)
    }

    /// A parameter that is often one person's, or good once.
    fn is_private_parameter(&self, name: &str) -> bool {
        data::PRIVATE_PARAMETERS.have(name.as_bytes())
            && !is_among(&self.own.content_parameters, name.as_bytes())
    }

    /// A parameter that says where a reader came from.
    pub fn is_tracking(&self, name: &str) -> bool {
        let own = &self.own;
        is_among(&own.ignored_parameters, name.as_bytes())
            || data::TRACKING_PARAMETERS.have(name.as_bytes())
                && !is_among(&own.content_parameters, name.as_bytes())
    }

    /// Takes out of a target what says where its reader came from. Ways back from a sign-in or a payment stay whole: some are signed
    /// to the last letter.
    pub fn target<'a>(&self, target: &'a str) -> Target<'a> {
        let whole = Target {
            kept: Cow::Borrowed(target),
            taken: String::new(),
        };
        let Some(at) = memchr::memchr(b'?', target.as_bytes()) else {
            return whole;
        };
        let (path, query) = (&target[..at], &target[at + 1..]);
        if !names_of(query).any(|name| self.is_tracking(name))
            || !self.use_of(path, None).is_public()
        {
            return whole;
        }
        let mut kept = String::with_capacity(target.len());
        kept.push_str(path);
        let mut taken = String::new();
        let mut before = '?';
        for pair in query.split('&') {
            if self.is_tracking(name_of(pair)) {
                if !taken.is_empty() {
                    taken.push('&');
                }
                taken.push_str(pair);
            } else {
                kept.push(before);
                kept.push_str(pair);
                before = '&';
            }
        }
        Target {
            kept: Cow::Owned(kept),
            taken,
        }
    }

    /// At most what a path and its parameters allow, whoever asks.
    pub fn standing_of_target(&self, path: &str, query: Option<&str>) -> Standing {
        self.standing_of_use(self.use_of(path, query), query)
    }

    /// The same where it is known what the path is for.
    pub fn standing_of_use(&self, usage: Use, query: Option<&str>) -> Standing {
        let one_persons =
            query.is_some_and(|query| names_of(query).any(|name| self.is_private_parameter(name)));
        if one_persons || !usage.is_public() {
            Standing::Unsure
        } else {
            Standing::Anonymous
        }
    }

    /// A page that anybody gets: 200, to a request that says nothing of who sent it.
    pub fn is_public_page(&self, standing: Standing, status: StatusCode) -> bool {
        standing == Standing::Anonymous && status == StatusCode::OK
    }

    /// What the profile adds to the RFC for the answer to an anonymous request.
    pub fn house(&self, usage: Use, answer: &HeaderMap) -> House {
        let mut lifetimes = *data::lifetimes(self.system);
        if let Some(own) = self.own.lifetime {
            let secs = Some(own.as_secs());
            (
                lifetimes.front,
                lifetimes.page,
                lifetimes.search,
                lifetimes.feed,
            ) = (secs, secs, secs, secs);
        }
        let sets_nothing_personal = answer.get_all(header::SET_COOKIE).iter().all(|line| {
            let name = line
                .as_bytes()
                .split(|byte| matches!(byte, b'=' | b';'))
                .next()
                .unwrap_or_default();
            matches!(
                self.cookie(name.trim_ascii()),
                CookieKind::Guest | CookieKind::Ignored | CookieKind::Keyed
            )
        });
        House {
            usage,
            lifetimes,
            habits: if self.own.obey_no_store {
                &[]
            } else {
                data::habits(self.system)
            },
            sets_nothing_personal,
        }
    }
}

fn decoded_bytes(path: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        rest = after;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, after) {
            (b'%', [high, low, after @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    Some((high << 4 | low) as u8)
                }
                _ => Some(b'%'),
            },
            _ => Some(*first),
        }
    })
}

/// A page of Joomla's with a form in it that only the session it was made for may send. Whoever sent it from a copy would be told
/// that his session has expired.
pub fn holds_form_token(body: &[u8]) -> bool {
    const DIGITS: usize = 32;
    memchr::memmem::find_iter(body, b"name=\"").any(|at| {
        let rest = &body[at + b"name=\"".len()..];
        rest.get(DIGITS) == Some(&b'"') && rest[..DIGITS].iter().all(u8::is_ascii_hexdigit)
    })
}

/// A page whose links carry the session of the reader it was made for, as PHP and Java write them for browsers without cookies.
pub fn holds_session_links(body: &[u8]) -> bool {
    /// PHP's ids have 22 characters or more, Java's 32; an article about them has none.
    const ID_CHARS_MIN: usize = 16;
    [&b"PHPSESSID="[..], b";jsessionid="].iter().any(|mark| {
        memchr::memmem::find_iter(body, mark).any(|at| {
            let id = &body[at + mark.len()..];
            id.len() >= ID_CHARS_MIN && id[..ID_CHARS_MIN].iter().all(u8::is_ascii_alphanumeric)
        })
    })
}

/// A target in its two parts.
pub(crate) fn path_and_query(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// Names of parameters, as they stand.
pub fn names_of(query: &str) -> impl Iterator<Item = &str> {
    pieces(query, b'&').map(name_of)
}

fn name_of(pair: &str) -> &str {
    pieces(pair, b'=').next().unwrap_or_default()
}

/// As `split` by a character, whose searcher took a third of [`Profile::use_of`]'s instructions: pieces of a target are short.
pub(crate) fn pieces(text: &str, mark: u8) -> impl Iterator<Item = &str> {
    debug_assert!(mark.is_ascii(), "between letters");
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = memchr::memchr(mark, text.as_bytes()) else {
            return rest.take();
        };
        rest = Some(&text[at + 1..]);
        Some(&text[..at])
    })
}

/// `kk`, `ru`.
fn is_language(segment: &str) -> bool {
    segment.len() == 2 && segment.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Its addresses without rewriting: `?option=com_users&view=profile`.
fn is_of_joomlas_users(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "option=com_users" | "view=login" | "view=profile"))
}

fn is_among(patterns: &[String], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_with_somebodys_session_in_its_links_is_known() {
        let table = [
            ("<a href=\"/a?PHPSESSID=q3k5l8m2n4p6r8s0t2u4v6w8\">", true),
            (
                "<a href=/b;jsessionid=1A530637289A03B07199A44E8D531427?x=1>",
                true,
            ),
            ("<p>PHP calls it PHPSESSID=… in addresses", false),
            ("<a href=/a?PHPSESSID=>", false),
            ("ends with PHPSESSID=abc", false),
        ];
        for (body, expected) in table {
            assert_eq!(holds_session_links(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn what_paths_are_for() {
        let table = [
            ("/", Use::Front),
            ("/kk/", Use::Front),
            ("/2026/11/a-story/", Use::Page),
            ("/node/12", Use::Page),
            ("/node/12/edit", Use::Staff),
            ("/editors-pick", Use::Page),
            ("/feed/", Use::Feed),
            ("/kk/rss", Use::Feed),
            ("/reset-password/9f8eb1a0", Use::Login),
            ("/ru/confirm/9f8eb1a0/", Use::Callback),
            ("/news/confirm-or-deny/", Use::Page),
            ("/search/node", Use::Search),
            ("/kk/?s=1", Use::Search),
            ("/component/finder/search", Use::Search),
            ("/component/users/login", Use::Login),
            ("/wp-login.php", Use::Login),
            ("/kk/user/login", Use::Login),
            ("/wp-admin/edit.php", Use::Staff),
            ("/cart/", Use::Payment),
            ("/xmlrpc.php", Use::Callback),
            ("/wp-comments-post.php", Use::Comment),
            ("/index.php", Use::Page),
            ("/index.php/login", Use::Login),
            ("/index.php/kk/cart/", Use::Payment),
            ("/index.php/2026/a-story", Use::Page),
            ("/index.php?option=com_users&view=profile", Use::Login),
            ("/index.php?option=com_content&view=article&id=7", Use::Page),
            ("/joomla/login", Use::Login),
            ("/joomla/cart", Use::Payment),
            ("/joomla/component/users/profile", Use::Login),
            ("/joomla/?option=com_users&task=logout", Use::Login),
            ("/tag/users", Use::Page),
            ("/w1/", Use::Page),
            ("/members/a", Use::Private),
            ("/membership", Use::Page),
        ];
        let mut profile = Profile::of(System::Joomla);
        profile.own.private_paths = vec!["/members/*".into()];
        for (target, expected) in table {
            let (path, query) = path_and_query(target);
            assert_eq!(profile.use_of(path, query), expected, "{target}");
        }
    }

    #[test]
    fn what_starts_wordpress_own_work_is_known_however_it_is_spelled() {
        let table = [
            ("/wp-cron.php", true),
            ("/blog/wp-cron.php", true),
            ("//WP-Cron.PHP", true),
            ("/a/../wp-cron.php", true),
            ("/w%70%2Dcron%2ephp", true),
            ("/x%2fwp-cron.php", true),
            ("/wp-cron.php/any", true),
            ("/wp-cron.php%2Fany", true),
            ("/wp-cron.phpx/wp-cron.php", true),
            ("/wp-cro/wp-cron.php", true),
            ("/wp-cron.phpx", false),
            ("/wp-cron.php.html", false),
            ("/my-wp-cron.php", false),
            ("/%2", false),
            ("/%zzwp-cron.php", false),
            ("/", false),
            ("", false),
        ];
        let wordpress = Profile::of(System::WordPress);
        for (path, expected) in table {
            assert_eq!(wordpress.is_cron(path), expected, "{path}");
            assert!(!Profile::of(System::Drupal).is_cron(path), "{path}");
            let usage = wordpress.use_of(path, None);
            assert!(!expected || usage == Use::Callback, "{path}");
        }
    }

    #[test]
    fn the_operators_word_comes_first() {
        let mut profile = Profile::of(System::WordPress);
        assert_eq!(profile.cookie(b"_ga"), CookieKind::Ignored);
        assert!(profile.is_tracking("utm_source") && !profile.is_tracking("from"));
        assert!(profile.selects_content("paged") && !profile.selects_content("from"));
        profile.own = Own {
            session_cookies: vec!["_ga".into()],
            keyed_cookies: vec!["town".into()],
            ignored_cookies: vec!["SESSviews*".into()],
            content_parameters: vec!["utm_source".into()],
            ignored_parameters: vec!["from".into()],
            ..Own::default()
        };
        assert_eq!(profile.cookie(b"_ga"), CookieKind::Session);
        assert_eq!(profile.cookie(b"town"), CookieKind::Keyed);
        assert_eq!(profile.cookie(b"SESSviews1"), CookieKind::Ignored);
        assert!(!profile.is_tracking("utm_source") && profile.is_tracking("from"));
        assert!(profile.selects_content("utm_source"));
    }

    proptest! {
        #[test]
        fn pieces_are_those_of_split(text in "[a&яя]{0,9}") {
            prop_assert!(pieces(&text, b'&').eq(text.split('&')));
        }

        /// Nothing is lost and nothing stays that was to go, whatever a query looks like.
        #[test]
        fn a_target_is_taken_apart_without_loss(pairs in proptest::collection::vec("(utm_[a-c]|gclid|p|q|)(=[a-z=]{0,3})?", 0..6)) {
            let profile = Profile::of(System::WordPress);
            let query = pairs.join("&");
            let target = if pairs.is_empty() { "/a".to_owned() } else { format!("/a?{query}") };
            let Target { kept, taken } = profile.target(&target);
            let kept = kept.split_once('?').map_or("", |(_, query)| query);
            prop_assert!(names_of(kept).all(|name| !profile.is_tracking(name)));
            prop_assert!(taken.is_empty() || names_of(&taken).all(|name| profile.is_tracking(name)));
            let is_taken = |pair: &&String| profile.is_tracking(name_of(pair));
            let joined = |pairs: Vec<&String>| pairs.iter().map(|pair| pair.as_str()).collect::<Vec<_>>().join("&");
            let (out, rest): (Vec<_>, Vec<_>) = pairs.iter().partition(is_taken);
            prop_assert_eq!(&taken, &joined(out));
            prop_assert_eq!(kept, joined(rest));
        }

        #[test]
        fn any_cookies_are_read(line in proptest::collection::vec(0_u8.., 0..400)) {
            let profile = Profile::of(System::Joomla);
            let mut fields = HeaderMap::new();
            if let Ok(line) = http::HeaderValue::from_bytes(&line) {
                fields.append(header::COOKIE, line);
            }
            let reading = Reading::of(&profile, &fields);
            reading.keep_keyed_cookies(&mut fields);
            let kept = fields.get(header::COOKIE).map(|line| line.as_bytes().to_vec());
            prop_assert_eq!(kept.unwrap_or_default(), reading.keyed().to_vec());
        }
    }
}
