//! Who works here, as the origin itself has said.
//!
//! Publishing must never stop, so the newsroom's own people have slots at the origin that no flood can take. Whoever can
//! pass for one of them has those slots too, and a cookie's name is known to everybody. What only the origin can do is to
//! issue a session in answer to a login; the edge sees that answer go by and remembers the session it carried, as a keyed
//! hash, in memory only.
//!
//! What counts as such an answer differs by CMS ([`PROFILES`]). WordPress and Drupal give a session cookie to nobody but a
//! successful login. Joomla gives one to everybody and replaces it at login, so there the replacement is the proof, and
//! only of a session the edge saw the origin issue on its login page shortly before: of an invented one Joomla replaces the
//! value too.
//!
//! Where strangers may register, a subscriber has a session like an editor's. WordPress sends subscribers to their profile
//! rather than to the dashboard, and that redirect earns nothing; what else a site does for registered readers the
//! operator knows, and such a site lists its staff's networks.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::clock::UnixMillis;

/// How a CMS names its session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieName {
    Prefix(&'static str),
    /// Nothing but 32 hexadecimal digits.
    Hex32,
    /// This, and then 32 hexadecimal digits or more.
    PrefixHex(&'static str),
}

impl CookieName {
    fn matches(self, name: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix.as_bytes()),
            Self::Hex32 => name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit),
            Self::PrefixHex(prefix) => name
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| rest.len() >= 32 && rest.iter().all(u8::is_ascii_hexdigit)),
        }
    }
}

/// What makes a session cookie in the answer to a login POST the proof of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That it was issued at all.
    Issued,
    /// That it replaces one which the origin had issued on its login page.
    Replaced,
}

#[derive(Debug)]
pub struct Profile {
    pub name: &'static str,
    /// Ends of paths: a CMS may live in a folder, and a language may stand before it.
    pub login_paths: &'static [&'static str],
    /// A login in a window over the editor is answered 200 instead of a redirect.
    pub login_in_place: Option<&'static str>,
    pub logout_paths: &'static [&'static str],
    /// ... or a login path with this in its query.
    pub logout_query: Option<&'static str>,
    pub session: &'static [CookieName],
    pub proof: Proof,
    /// Where a login leads those who may not publish.
    pub reader_landings: &'static [&'static str],
    /// Parts of paths by which articles are written.
    pub publish_paths: &'static [&'static str],
}

pub const PROFILES: &[Profile] = &[
    Profile {
        name: "wordpress",
        login_paths: &["/wp-login.php"],
        login_in_place: Some("interim-login=1"),
        logout_paths: &[],
        logout_query: Some("action=logout"),
        session: &[CookieName::Prefix("wordpress_logged_in_")],
        proof: Proof::Issued,
        reader_landings: &["/wp-admin/profile.php"],
        publish_paths: &[
            "/wp-admin/post.php",
            "/wp-admin/async-upload.php",
            "/wp-json/wp/v2/",
        ],
    },
    Profile {
        name: "joomla",
        login_paths: &[
            "/administrator/index.php",
            "/administrator/",
            "/administrator",
        ],
        login_in_place: None,
        logout_paths: &[],
        logout_query: Some("task=logout"),
        session: &[CookieName::Hex32],
        proof: Proof::Replaced,
        reader_landings: &[],
        publish_paths: &["/administrator/index.php"],
    },
    Profile {
        name: "drupal",
        login_paths: &["/user/login"],
        login_in_place: None,
        logout_paths: &["/user/logout", "/user/logout/confirm"],
        logout_query: None,
        session: &[
            CookieName::PrefixHex("SESS"),
            CookieName::PrefixHex("SSESS"),
        ],
        proof: Proof::Issued,
        reader_landings: &[],
        publish_paths: &["/node/add/", "/edit", "/jsonapi/node/"],
    },
];

/// Three hundred people with three devices each. Full, the session that would have ended first makes room.
const SESSIONS_MAX: usize = 1_024;

/// From one day's work to the next morning's, and not over a weekend.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// WordPress's "remember me"; after it the origin asks for the password again, and so the edge learns again.
const SESSION_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Sessions issued on a login page and not logged in yet: 8 bytes each for whoever opens it. A flood of such visits pushes
/// out the oldest; an editor needs hers for the half minute of typing a password.
const GUESTS_MAX: usize = 16_384;

/// Shorter than Joomla's 15 minutes, after which it replaces a session because it forgot it.
const GUEST_AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// Cookies looked up per request. A browser sends one or two; a header full of forged ones shall not cost a hash each.
const LOOKUPS_MAX: usize = 4;

/// One exchange with the origin, as far as it can tell a login.
#[derive(Debug, Clone, Copy)]
pub struct LoginExchange<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub request: &'a HeaderMap,
    pub status: StatusCode,
    pub response: &'a HeaderMap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Mark(u64, u64);

#[derive(Debug)]
struct Session {
    /// Unix milliseconds; moved forward by use.
    expires: AtomicU64,
    ends: UnixMillis,
}

type Sessions = HashMap<Mark, Arc<Session>>;

/// Counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StaffCounts {
    pub sessions: usize,
    pub learned: u64,
    /// Sessions that made room for others before their time.
    pub evicted: u64,
}

/// The sessions of one site's staff. Shared by all shards; asking takes no lock.
pub struct StaffSessions {
    key: RandomState,
    sessions: ArcSwap<Sessions>,
    /// Held to change `sessions`, which is copied for it: logins are rare.
    guests: Mutex<VecDeque<(u64, UnixMillis)>>,
    learned: AtomicU64,
    evicted: AtomicU64,
}

impl StaffSessions {
    /// `key` must be random: with a known one, a cookie could be made to fit a mark.
    pub fn new(key: RandomState) -> Self {
        Self {
            key,
            sessions: ArcSwap::from_pointee(Sessions::new()),
            guests: Mutex::new(VecDeque::new()),
            learned: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    pub fn counts(&self) -> StaffCounts {
        StaffCounts {
            sessions: self.sessions.load().len(),
            learned: self.learned.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// Nobody has logged in: most of the time, and no cookie need be looked at.
    pub fn is_empty(&self) -> bool {
        self.sessions.load().is_empty()
    }

    /// Does this `Cookie` line carry a session the origin gave to staff?
    pub fn is_staff(&self, cookie: &[u8], now: UnixMillis) -> bool {
        let sessions = self.sessions.load();
        for (name, value) in session_cookies(cookie).take(LOOKUPS_MAX) {
            let Some(session) = sessions.get(&self.mark(name, value)) else {
                continue;
            };
            let expires = session.expires.load(Ordering::Relaxed);
            if now.0 >= expires {
                continue;
            }
            session.expires.store(
                now.plus(SESSION_IDLE_MAX).min(session.ends).0,
                Ordering::Relaxed,
            );
            return true;
        }
        false
    }

    /// Looks at an answer of the origin. To be called for every one that is not from the cache; all but logins, logouts and
    /// staff's own answers are told apart at the cost of a few comparisons.
    pub fn learn(&self, exchange: &LoginExchange<'_>, now: UnixMillis) {
        let Some(profile) = PROFILES.iter().find(|profile| profile.concerns(exchange)) else {
            return;
        };
        if profile.is_logout(exchange) {
            self.forget(profile, exchange.request);
            return;
        }
        let was_staff = exchange
            .request
            .get_all(COOKIE)
            .iter()
            .any(|line| self.is_staff(line.as_bytes(), now));
        let logged_in = profile.is_login(exchange);
        for line in exchange.response.get_all(SET_COOKIE) {
            let Some(set) = SetCookie::parse(line.as_bytes(), now) else {
                continue;
            };
            if !profile.names_session(set.name) {
                continue;
            }
            if set.ended {
                self.forget_cookie(exchange.request, set.name);
                continue;
            }
            let before = sent(exchange.request, set.name);
            if set.value.is_empty() || before == Some(set.value) {
                continue;
            }
            let proven = match profile.proof {
                Proof::Issued => logged_in,
                Proof::Replaced => {
                    logged_in
                        && before
                            .is_some_and(|before| self.take_guest(self.mark(set.name, before), now))
                }
            };
            if proven || was_staff {
                self.remember(self.mark(set.name, set.value), now);
            } else if profile.proof == Proof::Replaced && profile.is_login_path(exchange.path) {
                self.greet(self.mark(set.name, set.value), now);
            }
        }
    }

    fn mark(&self, name: &[u8], value: &[u8]) -> Mark {
        Mark(
            self.key.hash_one(Keyed(0, name, value)),
            self.key.hash_one(Keyed(1, name, value)),
        )
    }

    fn remember(&self, mark: Mark, now: UnixMillis) {
        let session = Arc::new(Session {
            expires: AtomicU64::new(now.plus(SESSION_IDLE_MAX).0),
            ends: now.plus(SESSION_AGE_MAX),
        });
        self.learned.fetch_add(1, Ordering::Relaxed);
        self.change(|sessions| {
            sessions.retain(|_, session| session.expires.load(Ordering::Relaxed) > now.0);
            if sessions.len() >= SESSIONS_MAX {
                let first = sessions
                    .iter()
                    .min_by_key(|(_, session)| session.expires.load(Ordering::Relaxed));
                if let Some(first) = first.map(|(mark, _)| *mark) {
                    sessions.remove(&first);
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
            }
            sessions.insert(mark, session);
        });
    }

    fn forget(&self, profile: &Profile, request: &HeaderMap) {
        for line in request.get_all(COOKIE) {
            for (name, value) in session_cookies(line.as_bytes()).take(LOOKUPS_MAX) {
                if profile.names_session(name) {
                    self.forget_mark(self.mark(name, value));
                }
            }
        }
    }

    fn forget_cookie(&self, request: &HeaderMap, name: &[u8]) {
        if let Some(value) = sent(request, name) {
            self.forget_mark(self.mark(name, value));
        }
    }

    fn forget_mark(&self, mark: Mark) {
        // Anyone may ask to log out; only a session we hold is worth a copy.
        if self.sessions.load().contains_key(&mark) {
            self.change(|sessions| drop(sessions.remove(&mark)));
        }
    }

    fn change(&self, act: impl FnOnce(&mut Sessions)) {
        let _turn = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = Sessions::clone(&self.sessions.load());
        act(&mut sessions);
        self.sessions.store(Arc::new(sessions));
    }

    fn greet(&self, mark: Mark, now: UnixMillis) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.len() >= GUESTS_MAX {
            guests.pop_front();
        }
        guests.push_back((mark.0, now));
    }

    /// A guest logs in once.
    fn take_guest(&self, mark: Mark, now: UnixMillis) -> bool {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = guests.iter().rposition(|(guest, _)| *guest == mark.0) else {
            return false;
        };
        guests
            .remove(at)
            .is_some_and(|(_, since)| now.since(since) <= GUEST_AGE_MAX)
    }
}

impl Profile {
    fn names_session(&self, name: &[u8]) -> bool {
        self.session.iter().any(|pattern| pattern.matches(name))
    }

    fn is_login_path(&self, path: &str) -> bool {
        self.login_paths.iter().any(|login| path.ends_with(login))
    }

    /// A logout, or an answer that sets a session cookie of this CMS.
    fn concerns(&self, exchange: &LoginExchange<'_>) -> bool {
        let sets_session = || {
            exchange.response.get_all(SET_COOKIE).iter().any(|line| {
                let name = line
                    .as_bytes()
                    .split(|byte| matches!(byte, b'=' | b';'))
                    .next()
                    .unwrap_or_default();
                self.names_session(name.trim_ascii())
            })
        };
        self.is_logout(exchange) || sets_session()
    }

    fn is_logout(&self, exchange: &LoginExchange<'_>) -> bool {
        let by_query = self.logout_query.is_some_and(|wanted| {
            self.is_login_path(exchange.path) && has_parameter(exchange.query, wanted)
        });
        let asked = by_query
            || self
                .logout_paths
                .iter()
                .any(|path| exchange.path.ends_with(path));
        asked && exchange.status.is_redirection()
    }

    fn is_login(&self, exchange: &LoginExchange<'_>) -> bool {
        if exchange.method != Method::POST || !self.is_login_path(exchange.path) {
            return false;
        }
        if exchange.status == StatusCode::OK {
            return self
                .login_in_place
                .is_some_and(|wanted| has_parameter(exchange.query, wanted));
        }
        if !matches!(exchange.status.as_u16(), 302 | 303) {
            return false;
        }
        let Some(Ok(location)) = exchange
            .response
            .get(LOCATION)
            .map(|location| location.to_str())
        else {
            return false;
        };
        let (path, query) = split_reference(location);
        // Joomla's dashboard has the path of its login form; there the replaced session decides.
        let back_to_login = self.proof == Proof::Issued && self.is_login_path(path);
        let with_error =
            query.is_some_and(|query| query.split('&').any(|part| part.starts_with("error")));
        !back_to_login
            && !with_error
            && !self
                .reader_landings
                .iter()
                .any(|landing| path.ends_with(landing))
    }
}

/// Is a session cookie's name in this `Cookie` line? Says nothing about whose it is.
pub fn names_session(cookie: &[u8]) -> bool {
    session_cookies(cookie).next().is_some()
}

/// A request by which articles are written, should it come from staff.
pub fn publishes(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && PROFILES
            .iter()
            .any(|profile| profile.publish_paths.iter().any(|part| path.contains(part)))
}

/// A session cookie's name, of whichever system. Says nothing about whose it is.
pub(crate) fn is_session_name(name: &[u8]) -> bool {
    PROFILES.iter().any(|profile| profile.names_session(name))
}

pub(crate) fn is_login_path(path: &str) -> bool {
    PROFILES.iter().any(|profile| profile.is_login_path(path))
}

/// A path by whose end articles are written.
pub(crate) fn is_publish_path(path: &str) -> bool {
    PROFILES
        .iter()
        .any(|profile| profile.publish_paths.iter().any(|end| path.ends_with(end)))
}

fn session_cookies(cookie: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(cookie).filter(|(name, value)| !value.is_empty() && is_session_name(name))
}

/// Names and values of a `Cookie` line.
pub(crate) fn pairs(cookie: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    // Analytics leave half a kilobyte of cookies with every reader: worth looking for the ends of pairs many bytes at a time.
    let ends = memchr::memchr_iter(b';', cookie).chain([cookie.len()]);
    let mut start = 0;
    let pairs = ends.map(move |end| &cookie[std::mem::replace(&mut start, end + 1)..end]);
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = memchr::memchr(b'=', pair)?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

fn sent<'a>(request: &'a HeaderMap, wanted: &[u8]) -> Option<&'a [u8]> {
    request
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| pairs(line.as_bytes()))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

fn has_parameter(query: Option<&str>, wanted: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == wanted))
}

fn split_reference(reference: &str) -> (&str, Option<&str>) {
    let reference = reference.split('#').next().unwrap_or_default();
    match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    }
}

struct Keyed<'a>(u8, &'a [u8], &'a [u8]);

impl Hash for Keyed<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Slices hash their length first, so name and value cannot be shifted against each other.
        (self.0, self.1, self.2).hash(state);
    }
}

struct SetCookie<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// Its lifetime is over: this is how a cookie is taken back.
    ended: bool,
}

impl<'a> SetCookie<'a> {
    fn parse(line: &'a [u8], now: UnixMillis) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == b';');
        let pair = parts.next()?;
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let mut max_age: Option<i64> = None;
        let mut expires: Option<UnixMillis> = None;
        for attribute in parts {
            let Some(at) = memchr::memchr(b'=', attribute) else {
                continue;
            };
            let (key, text) = (
                attribute[..at].trim_ascii(),
                attribute[at + 1..].trim_ascii(),
            );
            let Ok(text) = std::str::from_utf8(text) else {
                continue;
            };
            if key.eq_ignore_ascii_case(b"max-age") {
                max_age = text.parse().ok().or(max_age);
            } else if key.eq_ignore_ascii_case(b"expires") {
                expires = http_date(text).or(expires);
            }
        }
        // RFC 6265 §5.3: Max-Age before Expires.
        let ended = match (max_age, expires) {
            (Some(seconds), _) => seconds <= 0,
            (None, Some(at)) => at <= now,
            (None, None) => false,
        };
        Some(Self { name, value, ended })
    }
}

/// Cookies are the last place where `Thu, 01-Jan-1970 00:00:01 GMT` is still written, by PHP before 8.2.
fn http_date(text: &str) -> Option<UnixMillis> {
    let date = httpdate::parse_http_date(text)
        .or_else(|_| httpdate::parse_http_date(&text.replace('-', " ")))
        .ok()?;
    let since = date
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Some(UnixMillis::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_763_800_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// One exchange as lines: `POST /path?query`, request fields, the status, response fields.
    struct Told {
        method: Method,
        path: String,
        query: Option<String>,
        request: HeaderMap,
        status: StatusCode,
        response: HeaderMap,
    }

    fn told(line: &str, cookie: &str, status: u16, response: &[&str]) -> Told {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = split_reference(target);
        let mut request = HeaderMap::new();
        if !cookie.is_empty() {
            request.append(COOKIE, cookie.parse().unwrap());
        }
        let mut fields = HeaderMap::new();
        for line in response {
            let (name, value) = line.split_once(": ").unwrap();
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Told {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            request,
            status: StatusCode::from_u16(status).unwrap(),
            response: fields,
        }
    }

    fn learn(staff: &StaffSessions, told: &Told, now: UnixMillis) {
        let exchange = LoginExchange {
            method: &told.method,
            path: &told.path,
            query: told.query.as_deref(),
            request: &told.request,
            status: told.status,
            response: &told.response,
        };
        staff.learn(&exchange, now);
    }

    fn sessions() -> StaffSessions {
        StaffSessions::new(RandomState::new())
    }

    const WP: &str = "wordpress_logged_in_0123456789abcdef0123456789abcdef";
    const JOOMLA: &str = "0123456789abcdef0123456789abcdef";
    const DRUPAL: &str = "SSESS0123456789abcdef0123456789abcdef";

    #[test]
    fn a_cookies_name_alone_grants_nothing() {
        let staff = sessions();
        let login = told(
            "POST /wp-login.php",
            "",
            302,
            &[
                "location: /wp-admin/",
                &format!("set-cookie: {WP}=true; path=/"),
            ],
        );
        learn(&staff, &login, NOW);
        assert!(staff.is_staff(format!("{WP}=true").as_bytes(), NOW));
        let strangers = [
            format!("{WP}=forged"),
            format!("{WP}="),
            WP.to_owned(),
            format!("{WP}=true2"),
            "wordpress_logged_in_=true".to_owned(),
            format!("x{WP}=true"),
            format!("a=b, {WP}=true"),
            format!("{JOOMLA}=true"),
            format!("{DRUPAL}=true"),
            String::new(),
        ];
        for cookie in strangers {
            assert!(!staff.is_staff(cookie.as_bytes(), NOW), "{cookie}");
        }
        // Of a header full of forged ones only the first few are looked at.
        let many = (0..LOOKUPS_MAX)
            .map(|n| format!("{WP}={n}; "))
            .collect::<String>()
            + &format!("{WP}=true");
        assert!(!staff.is_staff(many.as_bytes(), NOW));
        assert!(staff.is_staff(format!("_ga=1; {WP}=true ; b").as_bytes(), NOW));
    }

    #[test]
    fn what_proves_a_login_and_what_does_not() {
        let set = |name: &str| format!("set-cookie: {name}=new; path=/; HttpOnly");
        let (wp, drupal, joomla) = (set(WP), set(DRUPAL), set(JOOMLA));
        let home = "location: https://news.example/wp-admin/";
        // What is asked, with which cookie, how it is answered; the session cookie; whether it is staff's then.
        type Row<'a> = (&'a str, &'a str, u16, &'a [&'a str], &'a str, bool);
        let table: [Row; 17] = [
            ("POST /wp-login.php", "", 302, &[home, &wp], WP, true),
            (
                "POST /blog/wp-login.php?x=1",
                "wordpress_test_cookie=1",
                303,
                &[home, &wp],
                WP,
                true,
            ),
            (
                "POST /wp-login.php?interim-login=1",
                "",
                200,
                &[&wp],
                WP,
                true,
            ),
            ("POST /wp-login.php", "", 200, &[&wp], WP, false),
            ("GET /wp-login.php", "", 302, &[home, &wp], WP, false),
            ("POST /search", "", 302, &[home, &wp], WP, false),
            (
                "POST /wp-login.php",
                "",
                302,
                &["location: /wp-login.php?failed=1", &wp],
                WP,
                false,
            ),
            (
                "POST /wp-login.php",
                "",
                302,
                &["location: /?error=1", &wp],
                WP,
                false,
            ),
            ("POST /wp-login.php", "", 302, &[&wp], WP, false),
            // A subscriber.
            (
                "POST /wp-login.php",
                "",
                302,
                &["location: /wp-admin/profile.php", &wp],
                WP,
                false,
            ),
            // What the client itself sent is not issued.
            (
                "POST /wp-login.php",
                "COOKIE=new",
                302,
                &[home, &wp],
                WP,
                false,
            ),
            (
                "POST /wp-login.php",
                "",
                302,
                &[home, "set-cookie: other=new"],
                WP,
                false,
            ),
            (
                "POST /wp-login.php",
                "",
                302,
                &[home, "set-cookie: COOKIE=new; Max-Age=0"],
                WP,
                false,
            ),
            (
                "POST /wp-login.php",
                "",
                302,
                &[
                    home,
                    "set-cookie: COOKIE=new; expires=Thu, 01-Jan-1970 00:00:01 GMT",
                ],
                WP,
                false,
            ),
            (
                "POST /kk/user/login",
                "",
                303,
                &["location: /user/1", &drupal],
                DRUPAL,
                true,
            ),
            ("POST /user/login", "", 200, &[&drupal], DRUPAL, false),
            // Joomla replaces sessions it never issued as well.
            (
                "POST /administrator/index.php",
                "COOKIE=invented",
                303,
                &["location: index.php", &joomla],
                JOOMLA,
                false,
            ),
        ];
        for (line, cookie, status, response, name, expected) in table {
            let staff = sessions();
            let response: Vec<String> = response
                .iter()
                .map(|line| line.replace("COOKIE", name))
                .collect();
            let response: Vec<&str> = response.iter().map(String::as_str).collect();
            learn(
                &staff,
                &told(line, &cookie.replace("COOKIE", name), status, &response),
                NOW,
            );
            assert_eq!(
                staff.is_staff(format!("{name}=new").as_bytes(), NOW),
                expected,
                "{line} {cookie} {response:?}"
            );
        }
    }

    #[test]
    fn joomlas_login_is_the_replacement_of_a_session_it_issued() {
        let form = told(
            "GET /administrator/",
            "",
            200,
            &[&format!("set-cookie: {JOOMLA}=guest; path=/; HttpOnly")],
        );
        let login = told(
            "POST /administrator/index.php",
            &format!("{JOOMLA}=guest"),
            303,
            &[
                "location: /administrator/index.php",
                &format!("set-cookie: {JOOMLA}=editor; path=/"),
            ],
        );
        let failed = told(
            "POST /administrator/index.php",
            &format!("{JOOMLA}=guest"),
            303,
            &["location: index.php"],
        );
        let is_staff =
            |staff: &StaffSessions, now| staff.is_staff(format!("{JOOMLA}=editor").as_bytes(), now);

        let staff = sessions();
        learn(&staff, &form, NOW);
        learn(&staff, &failed, NOW);
        assert!(!staff.is_staff(format!("{JOOMLA}=guest").as_bytes(), NOW));
        learn(&staff, &login, NOW);
        assert!(is_staff(&staff, NOW));
        // The same guest does not log in twice.
        let again = told(
            "POST /administrator/index.php",
            &format!("{JOOMLA}=guest"),
            303,
            &[
                "location: index.php",
                &format!("set-cookie: {JOOMLA}=second"),
            ],
        );
        learn(&staff, &again, NOW);
        assert!(!staff.is_staff(format!("{JOOMLA}=second").as_bytes(), NOW));

        // So long afterwards that Joomla may have forgotten the guest.
        let staff = sessions();
        learn(&staff, &form, NOW);
        learn(
            &staff,
            &login,
            NOW.plus(GUEST_AGE_MAX + Duration::from_millis(1)),
        );
        assert!(!is_staff(&staff, NOW));
    }

    #[test]
    fn a_rotated_session_is_learned_and_a_logout_forgets() {
        let staff = sessions();
        let login = told(
            "POST /user/login",
            "",
            303,
            &["location: /user/1", &format!("set-cookie: {DRUPAL}=one")],
        );
        learn(&staff, &login, NOW);
        let rotated = format!("set-cookie: {DRUPAL}=two; Max-Age=3600; path=/");
        learn(
            &staff,
            &told(
                "GET /node/1/edit",
                &format!("{DRUPAL}=stranger"),
                200,
                &[&rotated],
            ),
            NOW,
        );
        assert!(!staff.is_staff(format!("{DRUPAL}=two").as_bytes(), NOW));
        learn(
            &staff,
            &told(
                "GET /node/1/edit",
                &format!("{DRUPAL}=one"),
                200,
                &[&rotated],
            ),
            NOW,
        );
        // Requests under way carry the old one still.
        for value in ["one", "two"] {
            assert!(
                staff.is_staff(format!("{DRUPAL}={value}").as_bytes(), NOW),
                "{value}"
            );
        }
        // A stranger's logout takes nobody else's session.
        learn(
            &staff,
            &told(
                "GET /user/logout",
                &format!("{DRUPAL}=stranger"),
                302,
                &["location: /"],
            ),
            NOW,
        );
        assert!(staff.is_staff(format!("{DRUPAL}=two").as_bytes(), NOW));
        learn(
            &staff,
            &told(
                "GET /user/logout",
                &format!("{DRUPAL}=two"),
                302,
                &["location: /"],
            ),
            NOW,
        );
        assert!(!staff.is_staff(format!("{DRUPAL}=two").as_bytes(), NOW));

        let login = told(
            "POST /wp-login.php",
            "",
            302,
            &["location: /wp-admin/", &format!("set-cookie: {WP}=one")],
        );
        for logout in [
            told(
                "GET /wp-login.php?action=logout&_wpnonce=1",
                &format!("{WP}=one"),
                302,
                &["location: /"],
            ),
            told(
                "GET /any",
                &format!("{WP}=one"),
                200,
                &[&format!("set-cookie: {WP}=%20; Max-Age=0")],
            ),
        ] {
            learn(&staff, &login, NOW);
            assert!(staff.is_staff(format!("{WP}=one").as_bytes(), NOW));
            learn(&staff, &logout, NOW);
            assert!(
                !staff.is_staff(format!("{WP}=one").as_bytes(), NOW),
                "{}",
                logout.path
            );
        }
    }

    #[test]
    fn sessions_end_after_a_day_unused_and_two_weeks_at_most() {
        let staff = sessions();
        let login = told(
            "POST /wp-login.php",
            "",
            302,
            &["location: /wp-admin/", &format!("set-cookie: {WP}=one")],
        );
        let cookie = format!("{WP}=one");
        learn(&staff, &login, NOW);
        let mut now = NOW;
        while now.since(NOW) < SESSION_AGE_MAX {
            assert!(
                staff.is_staff(cookie.as_bytes(), now),
                "{:?}",
                now.since(NOW)
            );
            now = now.plus(23 * HOUR);
        }
        assert!(!staff.is_staff(cookie.as_bytes(), now));
        let staff = sessions();
        learn(&staff, &login, NOW);
        assert!(!staff.is_staff(cookie.as_bytes(), NOW.plus(24 * HOUR)));
    }

    #[test]
    fn memory_does_not_grow_with_logins_or_visits_to_the_login_page() {
        let staff = sessions();
        for n in 0..SESSIONS_MAX + 100 {
            let set = format!("set-cookie: {WP}={n}");
            learn(
                &staff,
                &told(
                    "POST /wp-login.php",
                    "",
                    302,
                    &["location: /wp-admin/", &set],
                ),
                NOW.plus(Duration::from_millis(n as u64)),
            );
        }
        let counts = staff.counts();
        assert_eq!((counts.sessions, counts.evicted), (SESSIONS_MAX, 100));
        // The oldest made room.
        assert!(!staff.is_staff(format!("{WP}=99").as_bytes(), NOW));
        assert!(staff.is_staff(format!("{WP}=100").as_bytes(), NOW));
        for n in 0..GUESTS_MAX + 100 {
            learn(
                &staff,
                &told(
                    "GET /administrator/",
                    "",
                    200,
                    &[&format!("set-cookie: {JOOMLA}={n}")],
                ),
                NOW,
            );
        }
        assert_eq!(staff.guests.lock().unwrap().len(), GUESTS_MAX);
    }

    #[test]
    fn writing_an_article_is_recognised() {
        let table = [
            (Method::POST, "/wp-admin/post.php", true),
            (Method::POST, "/wp-json/wp/v2/posts/5", true),
            (Method::GET, "/wp-admin/post.php", false),
            (Method::POST, "/administrator/index.php", true),
            (Method::POST, "/node/5/edit", true),
            (Method::POST, "/search", false),
        ];
        for (method, path, expected) in table {
            assert_eq!(publishes(&method, path), expected, "{method} {path}");
        }
    }

    proptest::proptest! {
        /// No cookie line of a stranger's making is staff's, nor ends in a panic.
        #[test]
        fn strangers_stay_strangers(cookie in proptest::collection::vec(0_u8.., 0..200)) {
            let staff = sessions();
            let login = told("POST /wp-login.php", "", 302, &["location: /wp-admin/", &format!("set-cookie: {WP}=secret")]);
            learn(&staff, &login, NOW);
            proptest::prop_assert!(!staff.is_staff(&cookie, NOW));
            SetCookie::parse(&cookie, NOW);
        }
    }
}
