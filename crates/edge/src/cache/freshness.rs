//! May it be stored, and until when is it fresh: RFC 9111 §3 and §4.2, RFC 5861.
//!
//! Everything about time is worked out once, when the response arrives, and kept as the instant its age was zero. A hit then
//! compares two numbers. Where an origin contradicts itself the shorter life counts; where it says nothing a tenth of the time
//! since the last change does, up to five minutes, and from the first minute on whoever asks has the page looked after.
//!
//! Two rules go beyond the RFC, both for the sake of who reads and who is read about. A response that sets a cookie is shared only
//! when its origin says so in as many words, and then without the cookie. And when an origin cannot answer, what it last said is
//! good for a day unless it forbade that: being reachable is what we are for.
//!
//! A third is the site's profile ([`House`]): how long a page lasts whose system says nothing, and which of its words are a habit. What
//! is kept by that alone is for anonymous readers ([`Reach`]).

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use super::control::{Control, Seconds, whole_seconds};
use super::vary;
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::profile::{House, Standing};

/// Without a word from the origin a page is asked for anew after this long, however old it is: articles are corrected years later too,
/// and a newsroom that has corrected one looks at the site a minute afterwards. For the origin that is one request a minute for a page
/// that is read, and most are 304s.
pub const HEURISTIC_FRESH_MAX_SECS: u64 = 60;
/// RFC 9111 §4.2.2 leaves the life to us, a tenth of the page's age being usual. What of it lies behind the minute above is
/// spent as under `stale-while-revalidate`: nobody waits, and the first reader brings the new page for the next. Here it ends, so that
/// a page nobody asked for all night is not shown in the morning as it was.
pub const HEURISTIC_MAX_SECS: u64 = 300;
/// How long a stale copy stands in for a failing origin that said nothing about it: longer than any outage we know of that an
/// editor slept through.
pub const STALE_IF_ERROR_DEFAULT_SECS: u64 = 24 * 3600;
/// However long an origin allows: news of last week presented as today's misleads.
pub const STALE_IF_ERROR_MAX_SECS: u64 = 7 * 24 * 3600;
pub const STALE_WHILE_REVALIDATE_MAX_SECS: u64 = 24 * 3600;

/// When the request left and when the response head was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub request: UnixMillis,
    pub response: UnixMillis,
}

/// The request a response answers, as the origin saw it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// The client's `no-store`, where it is honoured.
    pub no_store: bool,
}

/// Why a response is not stored. [`Unstorable::lasts`] tells whether the next one will fare the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unstorable {
    Method,
    RequestNoStore,
    /// 1xx, 206, 304, and errors that carry no freshness.
    Status,
    NotUnderstood,
    NoStore,
    Private,
    Authorization,
    SetCookie,
    VaryAny,
    /// No freshness, no validator, nothing said about errors: storing it would never help anybody.
    NothingToReuse,
    /// Longer than a store's largest object.
    TooLong,
    /// The origin broke off.
    Truncated,
    /// An unsafe request changed the resource meanwhile.
    Invalidated,
    /// An error that would have replaced a good copy.
    WorseThanStale,
    /// It repeats what one reader's request said besides its key.
    Echo,
    /// A form in it belongs to one reader's session.
    FormToken,
}

/// Who may be answered from a copy, by what its origin said of it. In order: each reaches farther.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Its lifetime is a guess, ours or the profile's.
    Anonymous,
    /// The origin says how long it lasts: everybody but who has a session.
    Everybody,
    /// The origin says that it may be shared: `public`, `s-maxage`, a field for caches like us.
    All,
}

impl Reach {
    /// Credentials have a rule of their own (RFC 9111 §3.5).
    pub fn includes(self, standing: Standing) -> bool {
        match standing {
            Standing::Anonymous => true,
            Standing::Unsure => self >= Self::Everybody,
            Standing::Session => self == Self::All,
            Standing::Credentials => true,
        }
    }
}

impl Unstorable {
    /// Worth remembering, so that requests for this key stop waiting for each other.
    pub fn lasts(self) -> bool {
        matches!(
            self,
            Self::NoStore
                | Self::Private
                | Self::SetCookie
                | Self::VaryAny
                | Self::NothingToReuse
                | Self::TooLong
                | Self::NotUnderstood
                | Self::FormToken
        )
    }

    /// For `detail` in `Cache-Status`.
    pub fn as_token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::NotUnderstood => "not-understood",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary-any",
            Self::NothingToReuse => "no-freshness",
            Self::TooLong => "too-long",
            Self::Truncated => "truncated",
            Self::Invalidated => "invalidated",
            Self::WorseThanStale => "error",
            Self::Echo => "echo",
            Self::FormToken => "form-token",
        }
    }
}

/// Milliseconds since 1970 throughout, signed because an `Age` may reach back before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    born: i64,
    fresh_until: i64,
    revalidate_until: i64,
    error_until: i64,
    validate_always: bool,
    reuse_needs_validation: bool,
    reach: Reach,
    is_habit: bool,
    forbids_stale: bool,
}

impl Freshness {
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Kept although its system says `no-store` to everybody, or its origin said so of this one and everybody is shown the same.
    pub fn overrules_a_habit(&self) -> bool {
        self.is_habit
    }

    /// §4.2.3: `corrected_age_value` or `apparent_age`, whichever is more, plus the time since.
    pub fn age_secs(&self, now: UnixMillis) -> u64 {
        u64::try_from(signed(now).saturating_sub(self.born)).unwrap_or(0) / 1000
    }

    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        signed(now) < self.fresh_until && !self.validate_always
    }

    /// Whole seconds left; negative once stale.
    pub fn ttl_secs(&self, now: UnixMillis) -> i64 {
        self.fresh_until
            .saturating_sub(signed(now))
            .div_euclid(1000)
    }

    /// Stale, and the origin lets it be used while somebody asks for a newer one.
    pub fn serves_while_revalidating(&self, now: UnixMillis) -> bool {
        signed(now) < self.revalidate_until && !self.validate_always
    }

    /// Stale, and good enough when the origin fails.
    pub fn serves_on_error(&self, now: UnixMillis) -> bool {
        signed(now) < self.error_until
    }

    /// `must-revalidate` and its like, in so many words: not even when the origin fails.
    pub fn forbids_stale(&self) -> bool {
        self.forbids_stale
    }

    /// `no-cache`, `must-revalidate` or `proxy-revalidate`: no request may have it stale.
    pub fn needs_validation_when_stale(&self) -> bool {
        self.validate_always || self.reuse_needs_validation
    }
}

fn signed(time: UnixMillis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn millis(secs: u64) -> i64 {
    i64::try_from(secs.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// Judges a response head by the RFC alone. `Ok` says how long it lives; its body may still prove too long.
///
/// # Errors
/// Why it is not stored.
pub fn judge(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    times: Times,
) -> Result<Freshness, Unstorable> {
    judge_for(asked, None, status, headers, times)
}

/// `house`: for the answer to an anonymous request, which said nothing of its sender; its cookies, if any, are in the key.
///
/// # Errors
/// Why it is not stored.
pub fn judge_for(
    asked: &Asked<'_>,
    house: Option<&House>,
    status: StatusCode,
    headers: &HeaderMap,
    times: Times,
) -> Result<Freshness, Unstorable> {
    let is_habit = house.is_some_and(|house| house.is_habit(status, headers));
    // What it says to everybody it has not said of this page.
    let control = if is_habit {
        Control::default()
    } else {
        Control::of_response(headers)
    };
    if *asked.method != Method::GET {
        return Err(Unstorable::Method);
    }
    if asked.no_store {
        return Err(Unstorable::RequestNoStore);
    }
    if status.is_informational()
        || status == StatusCode::PARTIAL_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || is_refusal(status)
    {
        return Err(Unstorable::Status);
    }
    let understood = status.canonical_reason().is_some();
    if control.must_understand && !understood {
        return Err(Unstorable::NotUnderstood);
    }
    if control.no_store && !control.must_understand {
        return Err(Unstorable::NoStore);
    }
    if control.private.is_whole() {
        return Err(Unstorable::Private);
    }
    let declared_shared = control.public || control.s_maxage.is_present();
    let explicit = explicit_lifetime(&control, headers, times);
    // §3.5. A stranger's credentials may get him an error of his own making, so nothing but a 200 is shared; and `must-revalidate`
    // beside no lifetime is what frameworks say to everybody, not leave to show it to others.
    let is_lasting = control.must_revalidate && explicit.is_some_and(|secs| secs > 0);
    let may_share_authorized = status == StatusCode::OK && (declared_shared || is_lasting);
    if asked.headers.contains_key(AUTHORIZATION) && !may_share_authorized {
        return Err(Unstorable::Authorization);
    }
    let is_personal =
        headers.contains_key(SET_COOKIE) && !house.is_some_and(|house| house.sets_nothing_personal);
    if is_personal && !declared_shared && !control.targeted {
        return Err(Unstorable::SetCookie);
    }
    if vary::names(headers).is_none() {
        return Err(Unstorable::VaryAny);
    }

    let explicit = explicit.filter(|_| !is_habit);
    // A guess must not share what a cookie may have made personal.
    let is_anonymous = house.is_some() || !asked.headers.contains_key(COOKIE);
    let guess_is_safe = control.public || is_anonymous;
    let heuristic_allowed = (control.public || is_heuristically_cacheable(status)) && guess_is_safe;
    let heuristic = if heuristic_allowed {
        // A system's own `Last-Modified` beside a habit is the time of the request.
        let changed = if is_habit {
            None
        } else {
            heuristic_lifetime(headers, times)
        };
        let says_nothing = is_habit || control == Control::default() && !has_pragma(headers);
        let by_house = house
            .filter(|_| says_nothing)
            .and_then(|house| house.lifetime(status, headers));
        by_house.or(changed)
    } else {
        None
    };
    if explicit.is_none() && !heuristic_allowed {
        return Err(Unstorable::Status);
    }
    let age = match age_field(headers) {
        AgeField::Absent => Some(0),
        AgeField::Secs(secs) => Some(secs),
        AgeField::Unreadable => None,
    };
    // An age nobody can read may be any age.
    let (lifetime, looked_after) = match (age, explicit, heuristic) {
        (None, ..) | (_, None, None) => (0, 0),
        (_, Some(secs), _) => (secs, 0),
        (_, None, Some(secs)) => {
            let fresh = secs.min(HEURISTIC_FRESH_MAX_SECS);
            (fresh, secs - fresh)
        }
    };
    let has_validator = headers.contains_key(http::header::ETAG)
        || headers.contains_key(http::header::LAST_MODIFIED);
    let stale_if_error = control.stale_if_error.cautious();
    if lifetime == 0
        && !has_validator
        && stale_if_error.unwrap_or(0) == 0
        && control.stale_while_revalidate.cautious().unwrap_or(0) == 0
    {
        return Err(Unstorable::NothingToReuse);
    }

    let validate_always =
        control.no_cache.is_whole() || !is_habit && pragma_forbids(&control, headers);
    let response = signed(times.response);
    let apparent_age =
        date_secs(headers, "date").map_or(0, |date| response.saturating_sub(millis(date)).max(0));
    let delay = response.saturating_sub(signed(times.request)).max(0);
    let corrected = millis(age.unwrap_or(0)).saturating_add(delay);
    let born = response.saturating_sub(apparent_age.max(corrected));
    let fresh_until = born.saturating_add(millis(lifetime));

    let forbidden = validate_always || control.must_revalidate || control.proxy_revalidate;
    // `s-maxage` alone forbids stale answers too (§5.2.2.10), but an origin that also names a window means the window.
    let default_if_error = if control.s_maxage.is_present() {
        0
    } else if lifetime > 0 || control.public || is_anonymous {
        STALE_IF_ERROR_DEFAULT_SECS
    } else {
        // Nobody declared it shareable and a cookie was sent: it may be somebody's own page.
        0
    };
    let window = |allowed: u64, max: u64| {
        if forbidden {
            0
        } else {
            millis(allowed.min(max))
        }
    };
    let while_revalidate = window(
        control
            .stale_while_revalidate
            .cautious()
            .unwrap_or(looked_after),
        STALE_WHILE_REVALIDATE_MAX_SECS,
    );
    let if_error = window(
        stale_if_error.unwrap_or(default_if_error),
        STALE_IF_ERROR_MAX_SECS,
    );
    Ok(Freshness {
        born,
        fresh_until,
        revalidate_until: fresh_until.saturating_add(while_revalidate),
        error_until: fresh_until.saturating_add(if_error),
        validate_always,
        reuse_needs_validation: control.must_revalidate
            || control.proxy_revalidate
            || control.s_maxage.is_present(),
        reach: if declared_shared || control.targeted && explicit.is_some() {
            Reach::All
        } else if explicit.is_some() {
            Reach::Everybody
        } else {
            Reach::Anonymous
        },
        is_habit,
        forbids_stale: forbidden,
    })
}

/// Of a response that `house` alone vouches for and that has been proven to be everybody's: its origin forbids keeping it, or says nothing, and
/// has no room for all who want it. Never stale, and for nobody but anonymous readers.
///
/// # Errors
/// `why`, where it is one that stays a reason.
pub fn judge_briefly(
    why: Unstorable,
    house: Option<&House>,
    (status, headers): (StatusCode, &HeaderMap),
    times: Times,
    lasting: std::time::Duration,
) -> Result<Freshness, Unstorable> {
    let is_overruled = matches!(
        why,
        Unstorable::NoStore | Unstorable::Private | Unstorable::NothingToReuse
    );
    let house =
        house.filter(|house| house.sets_nothing_personal || !headers.contains_key(SET_COOKIE));
    if !is_overruled
        || house.is_none()
        || status != StatusCode::OK
        || vary::names(headers).is_none()
    {
        return Err(why);
    }
    let born = signed(times.response);
    let until = born.saturating_add(i64::try_from(lasting.as_millis()).unwrap_or(0));
    Ok(Freshness {
        born,
        fresh_until: until,
        revalidate_until: until,
        error_until: until,
        validate_always: false,
        reuse_needs_validation: true,
        reach: Reach::Anonymous,
        is_habit: true,
        forbids_stale: true,
    })
}

/// May a copy made for one client answer a request that carries credentials, and be made from one?
pub fn is_shared_with_authorized(control: &Control) -> bool {
    control.public || control.s_maxage.is_present() || control.must_revalidate
}

fn explicit_lifetime(control: &Control, headers: &HeaderMap, times: Times) -> Option<u64> {
    if let Some(secs) = control.s_maxage.cautious().or(control.max_age.cautious()) {
        return Some(secs);
    }
    if control.targeted {
        return None;
    }
    headers.get(http::header::EXPIRES)?;
    // Several lines are never right; `0` and `-1` are dates that are over.
    let expires = date_secs(headers, "expires");
    let date = date_secs(headers, "date").unwrap_or(times.response.secs());
    Some(expires.map_or(0, |expires| expires.saturating_sub(date)))
}

fn heuristic_lifetime(headers: &HeaderMap, times: Times) -> Option<u64> {
    let modified = date_secs(headers, "last-modified")?;
    let date = date_secs(headers, "date").unwrap_or(times.response.secs());
    Some((date.saturating_sub(modified) / 10).min(HEURISTIC_MAX_SECS))
}

/// RFC 9110 §15.1, without 206.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// What an overloaded or dead origin answers: a stale copy is better (RFC 5861 §4).
pub fn is_origin_failure(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        // To its server all readers are one client, ours: 429 says that there are too many of them. 520 and up are what a service in
        // front of it says when it gets no answer.
        500 | 502 | 503 | 504 | 508 | 429 | 520..=527 | 530
    )
}

/// Says something of who asks, whatever lifetime it carries. RFC 6585 §4 forbids it for 429.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 429)
}

/// `Pragma: no-cache` in a response means nothing by the RFC; old CMS pages say it instead of `Cache-Control`, never beside a
/// wish to be cached.
fn pragma_forbids(control: &Control, headers: &HeaderMap) -> bool {
    !control.targeted && !headers.contains_key(http::header::CACHE_CONTROL) && has_pragma(headers)
}

fn has_pragma(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::PRAGMA).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
    })
}

/// Seconds since 1970 of a date field with exactly one line.
pub fn date_secs<F: Fields + ?Sized>(fields: &F, name: &str) -> Option<u64> {
    let mut lines = 0;
    let mut date = None;
    fields.each_line(name, &mut |line| {
        lines += 1;
        date = parse_date(line);
    });
    if lines == 1 { date } else { None }
}

/// The three formats of RFC 9110 §5.6.7; times before 1970 are over and count as 0.
pub fn parse_date(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii();
    let time = httpdate::parse_http_date(text).ok()?;
    Some(
        time.duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AgeField {
    Absent,
    Secs(u64),
    Unreadable,
}

/// The first member of a list counts (§5.1). But several lines, or one that reads like lines joined on the way, come from caches
/// that did not see each other, and which of them is right nobody can tell.
fn age_field(headers: &HeaderMap) -> AgeField {
    let mut lines = headers.get_all(http::header::AGE).iter();
    let Some(line) = lines.next() else {
        return AgeField::Absent;
    };
    let line = line.as_bytes();
    if lines.next().is_some() || memchr::memmem::find(line, b", ").is_some() {
        return AgeField::Unreadable;
    }
    let first = line.split(|byte| *byte == b',').next().unwrap_or_default();
    match whole_seconds(first.trim_ascii()) {
        Seconds::Of(secs) => AgeField::Secs(secs),
        _ => AgeField::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_500);

    fn date(secs_from_now: i64) -> String {
        let secs = NOW.secs().checked_add_signed(secs_from_now).unwrap();
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs))
    }

    /// `Field: value` lines; `@-60` is the date a minute before now.
    fn fields(lines: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim();
            let value = value
                .strip_prefix('@')
                .map_or(value.to_owned(), |offset| date(offset.parse().unwrap()));
            map.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        map
    }

    fn judged(status: u16, request: &str, response: &str) -> Result<Freshness, Unstorable> {
        let headers = fields(request);
        let asked = Asked {
            method: &Method::GET,
            headers: &headers,
            no_store: false,
        };
        judge(
            &asked,
            StatusCode::from_u16(status).unwrap(),
            &fields(response),
            Times {
                request: NOW,
                response: NOW,
            },
        )
    }

    /// Lifetime left, in seconds, of a response that arrives now; 0: stored, stale.
    fn left(status: u16, response: &str) -> Result<i64, Unstorable> {
        judged(status, "", response).map(|freshness| {
            if freshness.is_fresh(NOW) {
                freshness.ttl_secs(NOW) + 1
            } else {
                0
            }
        })
    }

    #[test]
    fn lifetimes() {
        use Unstorable::{
            NoStore, NotUnderstood, NothingToReuse, Private, SetCookie, Status, VaryAny,
        };
        let table: &[(u16, &str, Result<i64, Unstorable>)] = &[
            (200, "Cache-Control: max-age=60", Ok(61)),
            (200, "Cache-Control: max-age=60\nDate: @0", Ok(60)),
            (200, "Cache-Control: max-age=60\nDate: @-30", Ok(30)),
            (200, "Cache-Control: max-age=60\nDate: @30", Ok(61)),
            (200, "Cache-Control: max-age=60\nDate: @-61", Ok(0)),
            (200, "Cache-Control: max-age=60\nAge: 20", Ok(41)),
            (
                200,
                "Cache-Control: max-age=60\nAge: 20\nDate: @-30",
                Ok(30),
            ),
            (200, "Cache-Control: max-age=60\nAge: 2147483648", Ok(0)),
            (
                200,
                "Cache-Control: max-age=99999999999\nAge: 99999999999",
                Ok(0),
            ),
            (200, "Cache-Control: max-age=10, s-maxage=60", Ok(61)),
            (200, "Cache-Control: max-age=60, s-maxage=10", Ok(11)),
            (200, "Cache-Control: max-age=60\nExpires: @-100", Ok(61)),
            (200, "Cache-Control: max-age=60\nExpires: 0", Ok(61)),
            (
                200,
                "Cache-Control: max-age=0\nExpires: @100\nETag: \"a\"",
                Ok(0),
            ),
            (200, "Cache-Control: max-age=0", Err(NothingToReuse)),
            (200, "Cache-Control: max-age='60'\nETag: \"a\"", Ok(0)),
            (200, "Expires: @60", Ok(61)),
            (200, "Expires: @60\nDate: @0", Ok(60)),
            (200, "Expires: @60\nDate: nonsense", Ok(61)),
            (200, "Expires: @0\nETag: \"a\"", Ok(0)),
            (200, "Expires: @100\nDate: @200\nETag: \"a\"", Ok(0)),
            (200, "Expires: @60\nExpires: @90\nETag: \"a\"", Ok(0)),
            (200, "Expires: 0\nLast-Modified: @-10000", Ok(0)),
            (200, "Last-Modified: @-500\nDate: @0", Ok(50)),
            (200, "Last-Modified: @-1000000000\nDate: @0", Ok(60)),
            (200, "Last-Modified: @1000\nDate: @0", Ok(0)),
            (404, "Last-Modified: @-500\nDate: @0", Ok(50)),
            (403, "Last-Modified: @-1000\nDate: @0", Err(Status)),
            (401, "Cache-Control: max-age=60", Err(Status)),
            (403, "Cache-Control: max-age=60", Err(Status)),
            (429, "Cache-Control: public, max-age=60", Err(Status)),
            (410, "Cache-Control: max-age=60", Ok(61)),
            (
                599,
                "Last-Modified: @-500\nDate: @0\nCache-Control: public",
                Ok(50),
            ),
            (599, "Cache-Control: max-age=60", Ok(61)),
            (
                599,
                "Cache-Control: max-age=60, must-understand",
                Err(NotUnderstood),
            ),
            (
                200,
                "Cache-Control: max-age=60, must-understand, no-store",
                Ok(61),
            ),
            (200, "Cache-Control: max-age=60, no-store", Err(NoStore)),
            (200, "Cache-Control: max-age=60, private", Err(Private)),
            (200, "Cache-Control: max-age=60, private=\"x-user\"", Ok(61)),
            (200, "Cache-Control: max-age=60, no-cache", Ok(0)),
            (
                200,
                "Cache-Control: max-age=60, no-cache=\"x-user\"",
                Ok(61),
            ),
            (200, "Cache-Control: max-age=60\nPragma: no-cache", Ok(61)),
            (200, "Last-Modified: @-1000\nPragma: no-cache", Ok(0)),
            (200, "Cache-Control: max-age=60\nVary: a, *", Err(VaryAny)),
            (
                200,
                "Cache-Control: max-age=60\nSet-Cookie: a=b",
                Err(SetCookie),
            ),
            (
                200,
                "Cache-Control: max-age=60, public\nSet-Cookie: a=b",
                Ok(61),
            ),
            (200, "Cache-Control: s-maxage=60\nSet-Cookie: a=b", Ok(61)),
            (206, "Cache-Control: max-age=60", Err(Status)),
            (302, "Cache-Control: max-age=60", Ok(61)),
            (302, "Last-Modified: @-1000", Err(Status)),
            (500, "", Err(Status)),
            (200, "", Err(NothingToReuse)),
            (200, "ETag: \"a\"", Ok(0)),
            (
                200,
                "Cache-Control: no-store\nCDN-Cache-Control: max-age=60",
                Ok(61),
            ),
            (
                200,
                "Cache-Control: max-age=60\nCDN-Cache-Control: no-store",
                Err(NoStore),
            ),
            (
                200,
                "Cache-Control: max-age=60\nCDN-Cache-Control: max-age=10",
                Ok(11),
            ),
            (
                200,
                "Cache-Control: max-age=60\nCDN-Cache-Control: max-age=\"x",
                Ok(61),
            ),
            (
                200,
                "Expires: @60\nCDN-Cache-Control: public\nETag: \"a\"",
                Ok(0),
            ),
        ];
        for (status, response, expected) in table {
            assert_eq!(left(*status, response), *expected, "{status} {response}");
        }
    }

    #[test]
    fn ages() {
        let table: &[(&str, i64)] = &[
            ("", 3600),
            ("Age: 0", 3600),
            ("Age: 30", 3571),
            ("Age: 0,7200", 3600),
            ("Age: 7200,0", 0),
            ("Age: 0, 0", 0),
            ("Age: 0\nAge: 0", 0),
            ("Age: abc", 0),
            ("Age: -7200", 0),
            ("Age: 7200.0", 0),
            ("Age: 7200;foo=bar", 0),
        ];
        for (age, expected) in table {
            let response = format!("Cache-Control: max-age=3600\nDate: @0\nETag: \"a\"\n{age}");
            assert_eq!(left(200, &response), Ok(*expected), "{age}");
        }
    }

    #[test]
    fn the_way_counts_as_age() {
        let headers = HeaderMap::new();
        let asked = Asked {
            method: &Method::GET,
            headers: &headers,
            no_store: false,
        };
        let times = Times {
            request: UnixMillis(NOW.0 - 4_000),
            response: NOW,
        };
        let freshness = judge(
            &asked,
            StatusCode::OK,
            &fields("Cache-Control: max-age=60\nAge: 10"),
            times,
        )
        .unwrap();
        assert_eq!(freshness.age_secs(NOW), 14);
        assert_eq!(freshness.age_secs(UnixMillis(NOW.0 + 3_500)), 17);
        assert_eq!(freshness.age_secs(UnixMillis(0)), 0, "a clock set back");
    }

    #[test]
    fn credentials_are_shared_only_when_declared() {
        let table = [
            (200, "max-age=60", false),
            (200, "max-age=60, public", true),
            (200, "s-maxage=60", true),
            (200, "max-age=60, must-revalidate", true),
            (200, "max-age=0, must-revalidate", false),
            (200, "max-age=60, proxy-revalidate", false),
            (401, "max-age=60, public", false),
            (404, "max-age=60, public", false),
        ];
        for (status, control, stored) in table {
            let verdict = judged(
                status,
                "Authorization: Basic x",
                &format!("Cache-Control: {control}\nETag: \"1\""),
            );
            assert_eq!(verdict.is_ok(), stored, "{status} {control}");
        }
    }

    #[test]
    fn stale_windows() {
        let day = 24 * 3600;
        // Request, directives, then the windows after the end of freshness in seconds.
        let table: &[(&str, &str, u64, u64)] = &[
            ("", "max-age=60", 0, day),
            ("Cookie: a=b", "max-age=60", 0, day),
            ("", "max-age=60, stale-while-revalidate=30", 30, day),
            ("", "max-age=60, stale-if-error=30", 0, 30),
            ("", "max-age=60, stale-if-error=x", 0, 0),
            ("", "max-age=60, stale-if-error=99999999", 0, 7 * day),
            ("", "max-age=60, stale-while-revalidate=99999999", day, day),
            (
                "",
                "max-age=60, must-revalidate, stale-if-error=30, stale-while-revalidate=30",
                0,
                0,
            ),
            ("", "max-age=60, proxy-revalidate", 0, 0),
            ("", "max-age=60, no-cache, stale-if-error=30", 0, 0),
            ("", "s-maxage=60", 0, 0),
            (
                "",
                "s-maxage=60, stale-if-error=30, stale-while-revalidate=20",
                20,
                30,
            ),
            ("", "max-age=0", 0, day),
            ("Cookie: a=b", "max-age=0", 0, 0),
            ("Cookie: a=b", "max-age=0, public", 0, day),
        ];
        for (request, control, while_revalidating, on_error) in table {
            let freshness = judged(
                200,
                request,
                &format!("ETag: \"a\"\nCache-Control: {control}"),
            )
            .unwrap();
            let end = if control.contains("=60") { 60 } else { 0 };
            let at = |secs: u64| UnixMillis(NOW.0 + (end + secs) * 1000);
            for (window, serves) in [
                (
                    *while_revalidating,
                    Freshness::serves_while_revalidating as fn(&Freshness, UnixMillis) -> bool,
                ),
                (*on_error, Freshness::serves_on_error),
            ] {
                assert!(
                    window == 0 || serves(&freshness, at(window - 1)),
                    "{control}"
                );
                assert!(
                    !serves(&freshness, at(window)) || freshness.is_fresh(at(window)),
                    "{control}"
                );
            }
        }
    }

    #[test]
    fn a_guess_is_looked_after_from_the_first_minute_on() {
        // Seconds since the last change and the request, what the origin says besides; fresh, and served while somebody asks.
        let table = [
            (500, "", 50, 50),
            (2_000, "", 60, 200),
            (1_000_000_000, "", 60, 300),
            (2_000, "Cache-Control: stale-while-revalidate=1", 60, 61),
            (2_000, "Cache-Control: must-revalidate", 60, 60),
        ];
        for (changed, more, fresh, served) in table {
            let response = format!("Last-Modified: @-{changed}\nDate: @0\n{more}");
            let freshness = judged(200, "", &response).unwrap();
            let at = |secs: u64| UnixMillis(NOW.secs() * 1000 + secs * 1000);
            assert!(freshness.is_fresh(at(fresh - 1)), "{response}");
            assert!(!freshness.is_fresh(at(fresh)), "{response}");
            assert!(
                freshness.serves_while_revalidating(at(served - 1)),
                "{response}"
            );
            assert!(
                !freshness.serves_while_revalidating(at(served)),
                "{response}"
            );
        }
    }

    #[test]
    fn dates() {
        let table: &[(&str, Option<u64>)] = &[
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("0", None),
            ("-1", None),
            ("", None),
        ];
        for (text, secs) in table {
            assert_eq!(parse_date(text.as_bytes()), *secs, "{text}");
        }
    }

    proptest! {
        /// Once stale, stale for good; ages only grow; a window never outlasts the longer one.
        #[test]
        fn time_only_runs_forward(
            max_age in 0u64..10_000, age in 0u64..10_000, revalidate in 0u64..10_000, error in 0u64..10_000,
            one in 0u64..40_000_000, two in 0u64..40_000_000,
        ) {
            let response = format!(
                "ETag: \"a\"\nAge: {age}\nCache-Control: max-age={max_age}, stale-while-revalidate={revalidate}, stale-if-error={error}"
            );
            let freshness = judged(200, "", &response).unwrap();
            let (earlier, later) = (UnixMillis(NOW.0 + one.min(two)), UnixMillis(NOW.0 + one.max(two)));
            prop_assert!(!freshness.is_fresh(later) || freshness.is_fresh(earlier));
            prop_assert!(!freshness.serves_while_revalidating(later) || freshness.serves_while_revalidating(earlier));
            prop_assert!(!freshness.serves_on_error(later) || freshness.serves_on_error(earlier));
            prop_assert!(freshness.age_secs(earlier) <= freshness.age_secs(later));
            prop_assert!(!freshness.is_fresh(later) || freshness.serves_on_error(later));
            prop_assert_eq!(freshness.is_fresh(later), max_age * 1000 > age * 1000 + (later.0 - NOW.0));
        }

        #[test]
        fn any_fields_are_judged(control in "[ -~]{0,60}", age in "[ -~]{0,20}", expires in "[ -~]{0,40}", vary in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            for (name, value) in [("cache-control", control), ("age", age), ("expires", expires), ("vary", vary)] {
                headers.insert(name, value.parse().unwrap());
            }
            let request = HeaderMap::new();
            let asked = Asked { method: &Method::GET, headers: &request, no_store: false };
            if let Ok(freshness) = judge(&asked, StatusCode::OK, &headers, Times { request: NOW, response: NOW }) {
                prop_assert!(!freshness.is_fresh(UnixMillis(u64::MAX)));
            }
        }
    }
}
