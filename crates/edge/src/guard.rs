//! Guesses at passwords, and comments by the hundred.
//!
//! What is counted is what the origin has turned down: by the network it came from, by the name it was for, and by the pass it was sent
//! with, in each ten minutes. Whoever mistypes his password twice never hears of it. Where there is too much of it, whoever sends the
//! next is asked for a pass, which costs a reader five seconds and a guesser five seconds for each [`PASS_FAILURES_MAX`] passwords. A name is never
//! locked: that would let anybody keep an editor out by guessing badly.
//!
//! Names are counted under a keyed sum, in memory alone, in a table of fixed size.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::admission::Class;
use crate::asked::Asked;
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::ladder::{Ladder, Meter};
use crate::plan::Mode;
use crate::profile::{Use, path_and_query};
use crate::search::decoded_value;
use crate::staff;

const PERIOD_S: u32 = 600;

/// As many as would be counted of a short one before it is one too many.
const LONG_CALL_TIMES: u32 = NETWORK_FAILURES_MAX;

/// An office or a street behind one address, where several have forgotten their passwords.
const NETWORK_FAILURES_MAX: u32 = 20;
/// One person tries four or five passwords, and then asks for a new one.
const NAME_FAILURES_MAX: u32 = 10;
/// One guess each from two hundred networks, at two hundred names.
const SITE_FAILURES_MAX: u32 = 200;
/// What waiting once is worth.
const PASS_FAILURES_MAX: u32 = 5;
/// Passes are had in parallel. 1,200 guesses an hour are all that a network gets, with however many.
const NETWORK_FAILURES_REFUSED: u32 = 200;
/// The liveliest thread of a city behind one carrier's address.
const COMMENTS_MAX: u32 = 20;

/// Fields by which forms name whoever signs in.
const NAMES: [&str; 12] = [
    "log",
    "username",
    "user_login",
    "login",
    "user",
    "email",
    "name",
    "USER_LOGIN",
    "mail",
    "nickname",
    "wpName",
    "account",
];
/// Looked at in a form; a decoy is counted as well, so that none hides the name.
const NAMES_MAX: usize = 4;
/// As many as PHP reads of a form (`max_input_vars`).
const PAIRS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 100;
/// Of a path; what makes it longer stands before the name of what is asked.
const PATH_BYTES_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Login,
    /// XML-RPC: each call carries a name and a password.
    Call,
    Comment,
}

/// What all sites and shards share.
#[derive(Debug)]
pub(crate) struct Guard {
    counts: Meter,
    /// Nobody can tell whose counts share cells.
    secret: RandomState,
}

/// A request that may be a guess.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    kind: Kind,
    /// Of passwords; one request may bring many.
    times: u32,
    is_long: bool,
    network: u64,
    site: u64,
    pass: Option<u64>,
    names: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Free,
    /// Not without a pass.
    Pass,
    /// Not in this period.
    Refuse,
}

impl Attempt {
    /// Of several calls in one request the answer's beginning does not tell.
    fn is_told_by_its_answer(&self) -> bool {
        self.kind == Kind::Call && (self.times == 1 || self.is_long)
    }

    /// Its answer is read, and must not be packed for that.
    pub(crate) fn is_call(&self) -> bool {
        self.kind == Kind::Call
    }
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            counts: Meter::new(PERIOD_S),
            secret: RandomState::new(),
        }
    }

    /// `body`: `None` of one that is too long to be taken in. The answer is `None`: nothing is guessed at, or it is the newsroom's own people who ask.
    pub(crate) fn attempt(
        &self,
        asked: &Asked,
        ladder: &Ladder,
        (method, fields): (&Method, &HeaderMap),
        body: Option<&Bytes>,
    ) -> Option<Attempt> {
        if *method != Method::POST
            || asked.class == Class::Staff
            || asked.site().mode != Mode::Protect
        {
            return None;
        }
        let (path, query) = path_and_query(asked.target.as_str());
        // As servers read it: an encoded letter, or one of the other case, would go round all of this.
        let end = &path[path.ceil_char_boundary(path.len().saturating_sub(PATH_BYTES_MAX))..];
        let path = decoded_value(end).to_lowercase();
        let kind = match asked.site().profile.use_of(&path, query) {
            _ if path.ends_with("/xmlrpc.php") => Kind::Call,
            Use::Login => Kind::Login,
            Use::Comment => Kind::Comment,
            _ => return None,
        };
        let site = &asked.site().name;
        let key = |what: &str, of: u64| self.secret.hash_one((what, site, of));
        let is_comment = kind == Kind::Comment;
        let names = match body {
            Some(body) if kind == Kind::Login => names(fields, body, |name| {
                self.secret.hash_one(("name", site, name))
            }),
            _ => Vec::new(),
        };
        Some(Attempt {
            kind,
            times: match (kind, body) {
                (Kind::Call, Some(body)) => calls(body),
                // A picture, or a thousand guesses: its answer tells.
                (Kind::Call, None) => LONG_CALL_TIMES,
                _ => 1,
            },
            is_long: body.is_none(),
            network: key(
                if is_comment { "comments" } else { "network" },
                asked.group.bits(),
            ),
            site: key("site", 0),
            pass: ladder
                .pass_of(
                    (asked.state().mark, asked.client),
                    fields,
                    UnixMillis::now(),
                )
                .map(|number| key("pass", number)),
            names,
        })
    }

    pub(crate) fn verdict(&self, attempt: &Attempt, now: UnixMillis) -> Verdict {
        let used = |key| self.counts.used(key, now).uses;
        let from_there = used(attempt.network).saturating_add(attempt.times);
        if attempt.kind == Kind::Comment {
            return match attempt.pass {
                None if from_there > COMMENTS_MAX => Verdict::Pass,
                _ => Verdict::Free,
            };
        }
        if from_there > NETWORK_FAILURES_REFUSED {
            return Verdict::Refuse;
        }
        let is_guessing = from_there > NETWORK_FAILURES_MAX
            // Programs cannot wait: strangers' guesses must not keep the newsroom's own application out.
            || attempt.kind == Kind::Login && used(attempt.site) >= SITE_FAILURES_MAX
            || attempt
                .names
                .iter()
                .any(|name| used(*name) >= NAME_FAILURES_MAX);
        let has_passed = attempt
            .pass
            .is_some_and(|pass| used(pass) < PASS_FAILURES_MAX);
        if is_guessing && !has_passed {
            Verdict::Pass
        } else {
            Verdict::Free
        }
    }

    /// What the head of the origin's answer says of it.
    pub(crate) fn answered(
        &self,
        attempt: &Attempt,
        (status, fields): (StatusCode, &HeaderMap),
        is_login: impl Fn(&str) -> bool,
        now: UnixMillis,
    ) {
        let counts = match attempt.kind {
            // Turned down or waiting to be read, it was written.
            Kind::Comment => !status.is_server_error(),
            Kind::Login => has_failed(status, fields, is_login),
            Kind::Call => !attempt.is_told_by_its_answer() || status.is_client_error(),
        };
        if counts {
            self.note(attempt, now);
        }
    }

    /// The first bytes of the origin's answer to a call.
    pub(crate) fn answer_begins(&self, attempt: &Attempt, bytes: &[u8], now: UnixMillis) {
        let start = &bytes[..bytes.len().min(FAULT_WITHIN)];
        if attempt.is_told_by_its_answer() && memchr::memmem::find(start, b"faultCode").is_some() {
            self.note(attempt, now);
        }
    }

    fn note(&self, attempt: &Attempt, now: UnixMillis) {
        let count = |key| self.counts.note_uses(key, attempt.times, now);
        count(attempt.network);
        // A lively thread makes nobody's password a guess.
        if attempt.kind != Kind::Comment {
            count(attempt.site);
            attempt
                .names
                .iter()
                .chain(&attempt.pass)
                .copied()
                .for_each(count);
        }
    }
}

/// An answer to a call that failed names its fault behind a declaration and eight tags; one to several calls behind five more.
const FAULT_WITHIN: usize = 1_024;

/// Content systems answer a wrong password with the form again, or lead back to it; a right one with a session, or lead away.
fn has_failed(status: StatusCode, fields: &HeaderMap, is_login: impl Fn(&str) -> bool) -> bool {
    let gives_session = fields.get_all(SET_COOKIE).iter().any(|line| {
        let line = line.as_bytes();
        let name = line.split(|byte| matches!(byte, b'=' | b';')).next();
        staff::is_session_name(name.unwrap_or_default().trim_ascii())
    });
    if gives_session {
        return false;
    }
    if status.is_redirection() {
        let to = fields.field(LOCATION.as_str()).unwrap_or_default();
        let to = String::from_utf8_lossy(to);
        let path = to.split_once("://").map_or(&*to, |(_, rest)| {
            rest.find('/').map_or("/", |at| &rest[at..])
        });
        return is_login(path_and_query(path).0);
    }
    if status.is_success() {
        let kind = fields.field(CONTENT_TYPE.as_str()).unwrap_or_default();
        return kind.starts_with(b"text/html");
    }
    status.is_client_error()
}

/// Names in a form that somebody signs in with, each as `of` sums it.
fn names(fields: &HeaderMap, body: &[u8], of: impl Fn(&str) -> u64) -> Vec<u64> {
    let kind = fields.field(CONTENT_TYPE.as_str()).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let name = |field: &str, value: &str| {
        // `LoginForm[username]`
        let inner = field.trim_end_matches(']').rsplit('[').next();
        NAMES.contains(&inner.unwrap_or_default()).then(|| {
            let value = value.trim().to_lowercase();
            of(&value[..value.floor_char_boundary(NAME_BYTES_MAX)])
        })
    };
    if kind.starts_with(b"application/x-www-form-urlencoded") {
        text.split('&')
            .take(PAIRS_MAX)
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(field, value)| name(&decoded_value(field), &decoded_value(value)))
            .take(NAMES_MAX)
            .collect()
    } else if kind.starts_with(b"multipart/form-data") {
        text.split(" name=")
            .skip(1)
            .take(PAIRS_MAX)
            .filter_map(|part| {
                let (head, value) = part.split_once("\r\n\r\n")?;
                let field = head.split([';', '\r']).next()?.trim().trim_matches('"');
                name(field, value.split("\r\n--").next()?)
            })
            .take(NAMES_MAX)
            .collect()
    } else {
        Vec::new()
    }
}

/// How many passwords an XML-RPC request tries: `system.multicall` carries as many calls as it likes, each in a `struct`. The name of what
/// is called may be spelled with entities; tags may not.
fn calls(body: &[u8]) -> u32 {
    let between = |text: &str| {
        let (_, rest) = text.split_once("<methodName>")?;
        let (name, _) = rest.split_once("</methodName>")?;
        Some(name.trim().to_owned())
    };
    // In two bytes a letter nothing of it would be found.
    if body.contains(&0) {
        return LONG_CALL_TIMES;
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(CALL_WITHIN)]);
    let is_plain = between(&start).is_some_and(|name| {
        name != "system.multicall"
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    });
    if is_plain {
        return 1;
    }
    let inner = memchr::memmem::find_iter(body, b"<struct").count();
    u32::try_from(inner).unwrap_or(u32::MAX).max(1)
}

/// A request begins with an XML declaration and the name of what is called.
const CALL_WITHIN: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_000_200_000);

    fn attempt(network: u64, name: u64) -> Attempt {
        Attempt {
            kind: Kind::Login,
            times: 1,
            is_long: false,
            network: network + 1_000_000,
            site: 1,
            pass: None,
            names: vec![name + 2_000_000],
        }
    }

    fn fail(guard: &Guard, attempt: &Attempt, times: u32) {
        for _ in 0..times {
            guard.answered(attempt, (StatusCode::OK, &html()), |_| false, NOW);
        }
    }

    fn html() -> HeaderMap {
        fields(&[("content-type", "text/html; charset=UTF-8")])
    }

    type Lines = &'static [(&'static str, &'static str)];

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().unwrap());
        }
        fields
    }

    #[test]
    fn a_network_is_asked_for_a_pass_after_twenty_and_refused_after_two_hundred() {
        let guard = Guard::new();
        let of = |number| attempt(7, number);
        for number in 0..20 {
            assert_eq!(guard.verdict(&of(number), NOW), Verdict::Free, "{number}");
            fail(&guard, &of(number), 1);
        }
        assert_eq!(guard.verdict(&of(100), NOW), Verdict::Pass);
        assert_eq!(guard.verdict(&attempt(8, 100), NOW), Verdict::Free);
        // With passes: five each.
        let mut failures = 20;
        for pass in 0.. {
            let passed = Attempt {
                pass: Some(pass + 3_000_000),
                ..of(1_000 + pass)
            };
            for _ in 0..5 {
                if guard.verdict(&passed, NOW) == Verdict::Free {
                    fail(&guard, &passed, 1);
                    failures += 1;
                }
            }
            match guard.verdict(&passed, NOW) {
                Verdict::Pass => {}
                Verdict::Refuse => break,
                Verdict::Free => panic!("{pass}"),
            }
        }
        assert_eq!(failures, 200);
        let next = NOW.plus(Duration::from_secs(u64::from(PERIOD_S)));
        assert_eq!(guard.verdict(&of(1), next), Verdict::Free);
    }

    #[test]
    fn a_name_that_many_guess_at_is_asked_for_a_pass_and_never_locked() {
        let guard = Guard::new();
        for network in 0..10 {
            assert_eq!(guard.verdict(&attempt(network, 5), NOW), Verdict::Free);
            fail(&guard, &attempt(network, 5), 1);
        }
        assert_eq!(guard.verdict(&attempt(50, 5), NOW), Verdict::Pass);
        assert_eq!(guard.verdict(&attempt(50, 6), NOW), Verdict::Free);
        fail(&guard, &attempt(60, 5), 1_000);
        let passed = Attempt {
            pass: Some(9),
            ..attempt(50, 5)
        };
        assert_eq!(guard.verdict(&passed, NOW), Verdict::Free);
    }

    #[test]
    fn one_guess_from_each_of_many_networks_is_a_guess_as_well() {
        let guard = Guard::new();
        for number in 0..200 {
            assert_eq!(guard.verdict(&attempt(number, number), NOW), Verdict::Free);
            fail(&guard, &attempt(number, number), 1);
        }
        assert_eq!(guard.verdict(&attempt(500, 500), NOW), Verdict::Pass);
        let call = Attempt {
            kind: Kind::Call,
            names: Vec::new(),
            ..attempt(500, 500)
        };
        assert_eq!(guard.verdict(&call, NOW), Verdict::Free);
        let elsewhere = Attempt {
            site: 2,
            ..attempt(500, 500)
        };
        assert_eq!(guard.verdict(&elsewhere, NOW), Verdict::Free);
    }

    #[test]
    fn comments_are_counted_as_they_are_written() {
        let guard = Guard::new();
        let comment = Attempt {
            kind: Kind::Comment,
            names: Vec::new(),
            ..attempt(7, 0)
        };
        for _ in 0..20 {
            assert_eq!(guard.verdict(&comment, NOW), Verdict::Free);
            let led_back = fields(&[("location", "/news/story#comment-1")]);
            guard.answered(&comment, (StatusCode::FOUND, &led_back), |_| false, NOW);
        }
        assert_eq!(guard.verdict(&comment, NOW), Verdict::Pass);
        let passed = Attempt {
            pass: Some(9),
            ..comment.clone()
        };
        assert_eq!(guard.verdict(&passed, NOW), Verdict::Free);
        // However many are written, with passes or from everywhere, passwords are none the worse.
        for network in 0..1_000 {
            let written = Attempt {
                network: network + 5_000_000,
                ..passed.clone()
            };
            guard.answered(&written, (StatusCode::OK, &html()), |_| false, NOW);
        }
        assert_eq!(guard.verdict(&attempt(8, 1), NOW), Verdict::Free);
        assert_eq!(guard.counts.used(9, NOW).uses, 0);
    }

    #[test]
    fn what_answers_say_of_a_password() {
        const JSON: Lines = &[("content-type", "application/json")];
        const FORM: Lines = &[("content-type", "text/html")];
        const SESSION: Lines = &[
            ("set-cookie", "wordpress_logged_in_abc=x; path=/"),
            ("content-type", "text/html"),
        ];
        let table: [(u16, Lines, bool); 14] = [
            // WordPress: the form again; a session and away; in a window, a session and a page.
            (200, FORM, true),
            (302, &[("location", "http://a.kz/wp-admin/")], false),
            (302, &[("location", "/wp-login.php?reauth=1")], true),
            (200, SESSION, false),
            // Joomla leads to the same place either way.
            (303, &[("location", "/administrator/index.php")], true),
            (
                303,
                &[
                    ("location", "/administrator/index.php"),
                    ("set-cookie", "0123456789abcdef0123456789abcdef=new; path=/"),
                ],
                false,
            ),
            (
                303,
                &[("location", "https://a.kz/user/login?error=1")],
                true,
            ),
            (303, &[("location", "https://a.kz")], false),
            (303, &[], false),
            // Whoever logs in by script.
            (200, JSON, false),
            (401, JSON, true),
            (422, JSON, true),
            (204, &[], false),
            // The origin had no time for it.
            (503, FORM, false),
        ];
        let is_login = |path: &str| {
            path.ends_with("/wp-login.php")
                || path.ends_with("/administrator/index.php")
                || path.ends_with("/user/login")
        };
        for (status, lines, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let failed = has_failed(status, &fields(lines), is_login);
            assert_eq!(failed, expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        let found = |kind: &str, body: &str| {
            let mut all = Vec::new();
            let kind = fields(&[("content-type", kind)]);
            let of = std::cell::RefCell::new(&mut all);
            names(&kind, body.as_bytes(), |name| {
                of.borrow_mut().push(name.to_owned());
                0
            });
            all
        };
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        let table: [(&str, &[&str]); 8] = [
            ("log=admin&pwd=x&testcookie=1", &["admin"]),
            ("pwd=x&log=+A%64min%20", &["admin"]),
            ("LoginForm%5Busername%5D=%D0%90%D0%B9&x=y", &["ай"]),
            ("name=a&log=b&user=c&email=d&login=e", &["a", "b", "c", "d"]),
            ("log", &[]),
            ("", &[]),
            ("&&=&=x", &[]),
            ("catalog=admin", &[]),
        ];
        for (body, expected) in table {
            assert_eq!(found(form, body), expected, "{body}");
        }
        assert_eq!(found("application/json", "log=admin"), Vec::<String>::new());
        let decoys = format!("{}log=admin", "x=y&".repeat(900));
        assert_eq!(found(form, &decoys), ["admin"]);
        let parts = "--q\r\nContent-Disposition: form-data; name=\"pwd\"\r\n\r\nx\r\n--q\r\nContent-Disposition: form-data; name=\"log\"\r\n\r\nAdmin\r\n--q--\r\n";
        for parts in [parts.to_owned(), parts.replace("\"log\"", "log")] {
            assert_eq!(found("multipart/form-data; boundary=q", &parts), ["admin"]);
        }
        let long = format!("log={}", "ж".repeat(5_000));
        assert!(found(form, &long)[0].len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn several_calls_in_one_request_are_several_guesses() {
        let call = |name: &str, inner: usize| {
            let inner = "<value><struct ><member><name>methodName</name></member></struct></value>"
                .repeat(inner);
            format!(
                "<?xml version=\"1.0\"?>\n<methodCall><methodName>{name}</methodName><params>{inner}</params></methodCall>"
            )
        };
        let table = [
            (call("wp.getUsersBlogs", 0), 1),
            // A picture's or a post's own structs are no calls.
            (call("wp.newPost", 3), 1),
            (call("system.multicall", 50), 50),
            (call(" system.multicall ", 2), 2),
            (call("system.multi&#99;all", 40), 40),
            (call("system.multicall", 0), 1),
            (String::new(), 1),
            ("<\0m\0e\0".to_owned(), LONG_CALL_TIMES),
            ("<methodCall><methodName>a.b".to_owned(), 1),
        ];
        for (body, expected) in table {
            assert_eq!(calls(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn calls_are_told_by_their_answers() {
        let fault = b"<?xml version=\"1.0\"?><methodResponse><fault><value><struct><member><name>faultCode</name>";
        let fine = b"<?xml version=\"1.0\"?><methodResponse><params><param><value><array>";
        let call = |times, is_long| Attempt {
            kind: Kind::Call,
            times,
            is_long,
            names: Vec::new(),
            ..attempt(7, 0)
        };
        // Counted for one answer.
        let table: [(Attempt, &[u8], u32); 5] = [
            (call(1, false), fault, 1),
            (call(1, false), fine, 0),
            (call(8, false), fine, 8),
            (call(LONG_CALL_TIMES, true), fine, 0),
            (call(LONG_CALL_TIMES, true), fault, LONG_CALL_TIMES),
        ];
        for (call, answer, expected) in table {
            let guard = Guard::new();
            let xml = fields(&[("content-type", "text/xml")]);
            guard.answered(&call, (StatusCode::OK, &xml), |_| false, NOW);
            guard.answer_begins(&call, answer, NOW);
            let counted = guard.counts.used(call.network, NOW).uses;
            assert_eq!(counted, expected, "{call:?}");
        }
    }
}
