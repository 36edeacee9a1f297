//! What a reader sees when we cannot give the page at once.
//!
//! Each page is one sentence about what happened and one about what to do, in the reader's language, and a way on. It asks
//! for nothing: no picture, no font, no second request to a site that is short of them; a policy forbids even
//! what a mistake might let in. Those that say to wait have a script, which shortens the wait ([`crate::ladder`]). It is never stored, by caches or search engines: the status says "come back", and no
//! `noindex` tells a search engine to forget an article because it called during an attack.
//!
//! The waiting page reloads itself by `meta refresh`, which works in Lynx and in Tor at its safest. WCAG 2.2 warns of such
//! reloads because they take time from the reader; here there is nothing yet to read, the reload *is* the content (2.2.1,
//! essential exception), and a link does the same at once.
//!
//! Navigations get HTML. Programs (feeds, apps, `fetch`) get the same status with `application/problem+json` (RFC 9457).
//!
//! A form gets a page that carries it, for a reload would lose it ([`Held`]).
//!
//! All else is built once, head included and packed with gzip, which everybody's browser takes: refusing must cost less than serving, the line
//! as well. A flood of ten thousand a second that is told to wait would otherwise fill a third of a gigabit.
//!
//! What stops somebody shows him a short code ([`crate::ladder::code`]), which is another one each time. It has a place of its own in the page
//! ([`Hole`]), and nothing is packed anew for it.

mod words;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};

use self::words::{Words, words};
use crate::body::Body;
use crate::fields::Fields;
use crate::ladder::code::{self, CodeText, Stop};
use crate::plan::Language;
use crate::splice::{self, Hole, Packed, Piece};

/// Sooner than 5 s a screen reader has not read the page out; a reader left longer than 20 s between two tries believes it
/// broken. The bar fills in the same time: it is the wait made visible, and moves for nothing else (WCAG 2.2.2, essential).
pub const RELOAD_SECS: std::ops::RangeInclusive<u16> = 5..=20;

/// Languages looked at in `Accept-Language`; browsers send up to 10.
const LANGUAGES_MAX: usize = 16;

/// Media ranges looked at in `Accept`; browsers send up to 8.
const RANGES_MAX: usize = 16;

/// Codings looked at in `Accept-Encoding`; browsers send up to 5.
const CODINGS_MAX: usize = 8;

/// Names our own answers.
pub(crate) const ANSWER: HeaderName = HeaderName::from_static("saqta-answer");

const STYLE: &str = include_str!("pages/style.css");

/// Finds the number that is asked for with a ticket, and comes back with it before the reload does.
const SCRIPT: &str = include_str!("pages/wait.js");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// A page that reloads itself after so many seconds, held within [`RELOAD_SECS`]; status 503. The caller spreads
    /// them, so that readers told to wait together do not come back together.
    Waiting { reload_secs: u16 },
    /// 503 to a request that a reload would not repeat: a form.
    NotTaken,
    /// 400
    NotUnderstood,
    /// 403: a network the newsroom refuses.
    Refused,
    /// 404
    UnknownHost,
    /// 408
    TooSlow,
    /// 413
    TooLarge,
    /// 429: too many passwords or comments came from there.
    TooMany,
    /// 431
    FieldsTooLarge,
    /// 508
    Loop,
    /// 502
    OriginDown,
    /// 502 to a request that a reload would not repeat.
    NotSent,
    /// 504
    OriginSlow,
    /// To whoever opens an invitation's link, with a button.
    Invitation,
    /// 200 to whoever pressed it.
    Invited,
    /// 410: too late, or too many browsers.
    InvitationOver,
}

impl Page {
    /// All but the waiting page, which exists once for each of [`RELOAD_SECS`].
    const STILL: [Self; 15] = [
        Self::NotTaken,
        Self::NotUnderstood,
        Self::Refused,
        Self::UnknownHost,
        Self::TooSlow,
        Self::TooLarge,
        Self::TooMany,
        Self::FieldsTooLarge,
        Self::Loop,
        Self::OriginDown,
        Self::NotSent,
        Self::OriginSlow,
        Self::Invitation,
        Self::Invited,
        Self::InvitationOver,
    ];

    pub fn all() -> impl Iterator<Item = Self> {
        let waiting = RELOAD_SECS.map(|reload_secs| Self::Waiting { reload_secs });
        Self::STILL.into_iter().chain(waiting)
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::Waiting { .. } | Self::NotTaken => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotUnderstood => StatusCode::BAD_REQUEST,
            Self::Refused => StatusCode::FORBIDDEN,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::FieldsTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::OriginDown | Self::NotSent => StatusCode::BAD_GATEWAY,
            Self::OriginSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Invitation | Self::Invited => StatusCode::OK,
            Self::InvitationOver => StatusCode::GONE,
        }
    }

    /// Tells our own answers from the origin's, for whoever counts or debugs.
    fn answer(self) -> &'static str {
        match self {
            Self::Waiting { .. } | Self::NotTaken => "waiting",
            Self::OriginDown | Self::NotSent | Self::OriginSlow | Self::Loop => "origin-failed",
            Self::Invitation | Self::Invited | Self::InvitationOver => "invitation",
            _ => "refused",
        }
    }

    fn retry_after_secs(self) -> Option<u16> {
        match self {
            Self::Waiting { reload_secs } => Some(reload_secs),
            // As the pages say it.
            Self::TooMany => Some(600),
            Self::NotTaken | Self::NotSent | Self::Loop | Self::OriginDown | Self::OriginSlow => {
                Some(60)
            }
            _ => None,
        }
    }

    /// Where the reader may go from here.
    fn ways(self) -> &'static [Way] {
        match self {
            Self::Waiting { .. } | Self::TooMany | Self::TooSlow => &[Way::Again],
            Self::OriginDown | Self::OriginSlow => &[Way::Again, Way::Front],
            Self::NotUnderstood | Self::TooLarge | Self::NotTaken | Self::NotSent => &[Way::Front],
            // A reload would be refused again, and the front page as well.
            Self::FieldsTooLarge | Self::Loop => &[Way::Again],
            Self::Invitation => &[Way::Accept],
            Self::Invited => &[Way::Front],
            Self::Refused | Self::UnknownHost | Self::InvitationOver => &[],
        }
    }

    /// Where its forms may go, as a content policy says it.
    fn forms(self) -> &'static str {
        if self == Self::Invitation {
            "'self'"
        } else {
            "'none'"
        }
    }

    /// As its code says it. `None`: it stops nobody, or nothing is known of what it stops.
    pub(crate) fn stop(self) -> Option<Stop> {
        match self {
            Self::Waiting { .. } => Some(Stop::Waits),
            Self::NotTaken => Some(Stop::NotTaken),
            Self::Refused => Some(Stop::Refused),
            Self::TooMany => Some(Stop::TooMany),
            Self::TooLarge => Some(Stop::TooLarge),
            Self::OriginDown => Some(Stop::OriginDown),
            Self::OriginSlow => Some(Stop::OriginSlow),
            Self::NotSent => Some(Stop::NotSent),
            Self::Loop => Some(Stop::Loop),
            Self::NotUnderstood
            | Self::UnknownHost
            | Self::TooSlow
            | Self::FieldsTooLarge
            | Self::Invitation
            | Self::Invited
            | Self::InvitationOver => None,
        }
    }

    fn has_script(self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    fn index(self) -> Option<usize> {
        Self::STILL.iter().position(|page| *page == self)
    }
}

/// How a form is given back to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is sent again by itself after so many seconds, held within [`RELOAD_SECS`].
    Soon { secs: u16 },
    /// That was tried, and there was no room: its reader sends it.
    Waiting,
    /// It may have arrived: its reader decides.
    Perhaps,
}

impl Held {
    /// One number of seconds stands for all.
    pub const KINDS: [Self; 3] = [Self::Soon { secs: 5 }, Self::Waiting, Self::Perhaps];

    fn index(self) -> usize {
        match self {
            Self::Soon { .. } => 0,
            Self::Waiting => 1,
            Self::Perhaps => 2,
        }
    }
}

/// The field that carries a form which was given back.
pub(crate) const FORM: &str = "saqta-form";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Whoever opens the page without pressing this has done nothing.
    Accept,
    Again,
    Front,
}

/// A person's browser opening a page, or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Html,
    Problem,
}

/// Who asks, as far as a page depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub language: Language,
    pub format: Format,
    /// Takes gzip.
    pub packed: bool,
}

impl Asker {
    /// `site`: the language for a reader whose browser asks for none of ours.
    pub fn of(fields: &impl Fields, site: Language) -> Self {
        Self {
            language: language(fields.field(ACCEPT_LANGUAGE.as_str()), site),
            format: format(fields),
            packed: takes_gzip(fields),
        }
    }
}

/// One answer, ready to be sent.
#[derive(Debug)]
pub struct Prebuilt {
    status: StatusCode,
    fields: Arc<HeaderMap>,
    head: Bytes,
    body: Bytes,
    /// For a code.
    hole: Option<Hole<{ code::TEXT_BYTES }>>,
}

/// Where a code goes.
const FILLER: CodeText = CodeText::BLANK;

impl Prebuilt {
    /// `fields`: without `Content-Length`.
    pub(crate) fn new(status: StatusCode, fields: impl Into<Arc<HeaderMap>>, body: Bytes) -> Self {
        let fields = fields.into();
        let mut head = format!(
            "HTTP/1.1 {} {}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        )
        .into_bytes();
        let length = HeaderValue::from(body.len());
        for (name, value) in fields.iter().chain([(&CONTENT_LENGTH, &length)]) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        Self {
            status,
            fields,
            head: Bytes::from(head),
            body,
            hole: None,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The HTTP/1.1 status line and fields with `Content-Length`, each line ended, without `Date`, `Connection` and the
    /// empty line, which are the sender's to add.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// As long with a code as without one.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// With this code, if it has a place for one.
    pub fn body_with(&self, code: &CodeText) -> Bytes {
        match &self.hole {
            Some(hole) => hole.filled(&self.body, code.as_bytes()),
            None => self.body.clone(),
        }
    }

    pub fn response(&self) -> Response<Body> {
        self.response_of(self.body.clone())
    }

    fn response_of(&self, body: Bytes) -> Response<Body> {
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = HeaderMap::clone(&self.fields);
        response
    }
}

/// Every page in every language and format, built at the start.
#[derive(Debug)]
pub struct Pages {
    still: Vec<Translations>,
    waiting: Vec<Translations>,
    held: [[HeldPage; 3]; 3],
}

/// A page around a form.
#[derive(Debug)]
struct HeldPage {
    fields: HeaderMap,
    before: Packed,
    /// What sends it.
    button: &'static str,
    /// What to do with the code.
    code: &'static str,
    after: Packed,
}

/// By language, then by [`form`].
type Translations = [[Prebuilt; 3]; 3];

/// (format, packed)
const FORMS: [(Format, bool); 3] = [
    (Format::Html, false),
    (Format::Html, true),
    // Shorter than what packing adds to the head.
    (Format::Problem, false),
];

fn form(asker: Asker) -> usize {
    match (asker.format, asker.packed) {
        (Format::Html, packed) => usize::from(packed),
        (Format::Problem, _) => 2,
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::new()
    }
}

impl Pages {
    pub fn new() -> Self {
        Self {
            still: Page::STILL.map(translations).into(),
            waiting: RELOAD_SECS
                .map(|reload_secs| translations(Page::Waiting { reload_secs }))
                .collect(),
            held: Held::KINDS.map(|held| LANGUAGES.map(|language| HeldPage::new(held, language))),
        }
    }

    pub fn page(&self, page: Page, asker: Asker) -> &Prebuilt {
        let translations = match page {
            Page::Waiting { reload_secs } => {
                let secs = reload_secs.clamp(*RELOAD_SECS.start(), *RELOAD_SECS.end());
                &self.waiting[usize::from(secs - RELOAD_SECS.start())]
            }
            still => &self.still[still.index().unwrap_or_default()],
        };
        &translations[place(asker.language)][form(asker)]
    }

    /// `text`: the form, as its page carries it.
    pub fn held(&self, held: Held, text: &str, code: &CodeText, asker: Asker) -> Response<Body> {
        let page = &self.held[held.index()][place(asker.language)];
        let (bar, wait, retry_after) = match held {
            Held::Soon { secs } => {
                let secs = secs.clamp(*RELOAD_SECS.start(), *RELOAD_SECS.end());
                (bar(secs), format!(" data-wait=\"{secs}\""), secs)
            }
            _ => (String::new(), String::new(), *RELOAD_SECS.start()),
        };
        let own = format!(
            "{bar}<form method=\"post\"{wait}>\n<input type=\"hidden\" name=\"{FORM}\" value=\"{text}\">\n<button>{}</button>\n</form>\n{}",
            page.button,
            code_line(page.code, code.as_str())
        );
        let pieces = [
            Piece::Shared(&page.before),
            Piece::Own(&own),
            Piece::Shared(&page.after),
        ];
        let body = if asker.packed {
            splice::gzip(&pieces)
        } else {
            splice::plain(&pieces)
        };
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        *response.headers_mut() = page.fields.clone();
        let fields = response.headers_mut();
        fields.insert(RETRY_AFTER, HeaderValue::from(retry_after));
        if asker.packed {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    pub fn response(&self, page: Page, asker: Asker, code: Option<&CodeText>) -> Response<Body> {
        let page = self.page(page, asker);
        let body = code.map_or_else(|| page.body.clone(), |code| page.body_with(code));
        page.response_of(body)
    }
}

const LANGUAGES: [Language; 3] = [Language::Kazakh, Language::Russian, Language::English];

fn place(language: Language) -> usize {
    match language {
        Language::Kazakh => 0,
        Language::Russian => 1,
        Language::English => 2,
    }
}

impl HeldPage {
    fn new(held: Held, language: Language) -> Self {
        let words = words::held(held, language);
        let said = format!(
            "<p>{}</p>\n<p class=\"soft\">{}</p>\n",
            words.first, words.second
        );
        let head = referrer(SAME_ORIGIN);
        let before = html_until(language, words.title, &head, &said);
        let after = html_after(true);
        // A site may answer a form with a redirect to another name of its own.
        let mut fields = fields(
            "text/html; charset=utf-8",
            (language, "waiting"),
            Some(&policy(true, "http: https:")),
        );
        // Browsers then say that the form is of a page of the site.
        fields.insert(REFERRER_POLICY, HeaderValue::from_static(SAME_ORIGIN));
        Self {
            fields,
            before: Packed::new(before),
            button: words.button,
            code: words::code(false, language),
            after: Packed::new(after),
        }
    }
}

fn translations(page: Page) -> Translations {
    LANGUAGES.map(|language| {
        FORMS.map(|(format, packed)| {
            let asker = Asker {
                language,
                format,
                packed,
            };
            build(page, asker)
        })
    })
}

fn build(page: Page, asker: Asker) -> Prebuilt {
    let status = page.status();
    let words = words(page, asker.language);
    let (media, body) = match asker.format {
        Format::Html => (
            "text/html; charset=utf-8",
            html(page, asker.language, &words),
        ),
        Format::Problem => ("application/problem+json", problem(page, &words)),
    };
    let has_code = page.stop().is_some();
    let policy = (asker.format == Format::Html).then(|| policy(page.has_script(), page.forms()));
    let mut fields = fields(media, (asker.language, page.answer()), policy.as_deref());
    if let Some(secs) = page.retry_after_secs() {
        fields.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    if asker.packed && asker.format == Format::Html {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some((body, hole)) = has_code
            .then(|| Hole::gzip(&body, *FILLER.as_bytes()))
            .flatten()
        {
            return Prebuilt {
                hole: Some(hole),
                ..Prebuilt::new(status, fields, body)
            };
        }
        let packed = Packed::new(body);
        return Prebuilt::new(status, fields, splice::gzip(&[Piece::Shared(&packed)]));
    }
    Prebuilt {
        hole: has_code
            .then(|| Hole::plain(&body, *FILLER.as_bytes()))
            .flatten(),
        ..Prebuilt::new(status, fields, Bytes::from(body))
    }
}

fn fields(
    media: &'static str,
    (language, answer): (Language, &'static str),
    policy: Option<&str>,
) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    fields.insert(CONTENT_LANGUAGE, HeaderValue::from_static(tag(language)));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(ANSWER, HeaderValue::from_static(answer));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(REFERRER_POLICY, HeaderValue::from_static(NO_REFERRER));
    if let Some(Ok(policy)) = policy.map(HeaderValue::from_str) {
        fields.insert(CONTENT_SECURITY_POLICY, policy);
    }
    fields
}

/// What may be in a page. `forms`: where its forms may go.
fn policy(has_script: bool, forms: &str) -> String {
    // The empty icon in the page is a `data:` URL; without it the browser would ask for /favicon.ico.
    let scripts = if has_script {
        format!(" script-src {}; worker-src blob:;", hash(SCRIPT))
    } else {
        String::new()
    };
    format!(
        "default-src 'none'; style-src {};{scripts} img-src data:; base-uri 'none'; form-action {forms}; frame-ancestors 'none'",
        hash(STYLE)
    )
}

/// As a content policy names what may stand in a page.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)))
}

fn html(page: Page, language: Language, words: &Words) -> String {
    let (head, bar) = match page {
        Page::Waiting { reload_secs } => (
            referrer(NO_REFERRER)
                + &format!("<meta http-equiv=\"refresh\" content=\"{reload_secs}\">\n"),
            bar(reload_secs),
        ),
        _ => (referrer(NO_REFERRER), String::new()),
    };
    let second = words
        .second
        .map(|second| format!("<p class=\"soft\">{second}</p>\n"))
        .unwrap_or_default();
    let links: String = page
        .ways()
        .iter()
        .map(|way| match way {
            // An empty reference is the address the reader is at, and needs no echo of it in the page.
            Way::Again => format!("<a href=\"\">{}</a>\n", words.again),
            Way::Front => format!("<a href=\"/\">{}</a>\n", words.front),
            Way::Accept => format!(
                "<form method=\"post\"><button>{}</button></form>\n",
                words.accept
            ),
        })
        .collect();
    let nav = if links.is_empty() {
        String::new()
    } else {
        format!("<nav>\n{links}</nav>\n")
    };
    let code = match page.stop() {
        Some(stop) => code_line(words::code(stop == Stop::Waits, language), FILLER.as_str()),
        None => String::new(),
    };
    let said = format!("{bar}<p>{}</p>\n{second}{nav}{code}", words.first);
    html_until(language, words.title, &head, &said) + &html_after(page.has_script())
}

/// Taken whole by whoever touches it, and not translated by what translates pages.
fn code_line(words: &str, code: &str) -> String {
    format!("<p class=\"soft end\">{words} <code translate=\"no\">{code}</code></p>\n")
}

/// The wait, made visible.
fn bar(secs: u16) -> String {
    format!("<div class=\"bar s{secs}\" aria-hidden=\"true\"><i></i></div>\n")
}

const NO_REFERRER: &str = "no-referrer";
const SAME_ORIGIN: &str = "same-origin";

fn referrer(policy: &str) -> String {
    format!("<meta name=\"referrer\" content=\"{policy}\">\n")
}

fn html_until(language: Language, title: &str, head: &str, said: &str) -> String {
    // ELinks hears no reload that is said after the letters' encoding, for which browsers look in the first kilobyte.
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n{head}<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{said}",
        tag(language),
    )
}

fn html_after(has_script: bool) -> String {
    let script = if has_script {
        format!("<script>{SCRIPT}</script>\n")
    } else {
        String::new()
    };
    format!("</main>\n{script}</body>\n</html>\n")
}

fn problem(page: Page, words: &Words) -> String {
    let status = page.status();
    let code = match page.stop() {
        Some(_) => format!(",\"code\":\"{}\"", FILLER.as_str()),
        None => String::new(),
    };
    // Our own words have nothing that JSON would escape; a test holds them to it.
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{}\",\"status\":{},\"detail\":\"{}\"{code}}}\n",
        status.canonical_reason().unwrap_or_default(),
        status.as_u16(),
        words.title,
    )
}

pub(crate) fn tag(language: Language) -> &'static str {
    match language {
        Language::Kazakh => "kk",
        Language::Russian => "ru",
        Language::English => "en",
    }
}

/// The language among ours the browser wants most (RFC 9110 §12.5.4); the site's when it names none.
pub fn language(accept: Option<&[u8]>, site: Language) -> Language {
    let mut best: Option<(Language, u16)> = None;
    for (range, weight) in weighted(accept.unwrap_or_default()).take(LANGUAGES_MAX) {
        let primary = range.split(|byte| *byte == b'-').next().unwrap_or_default();
        let language = match primary.to_ascii_lowercase().as_slice() {
            b"kk" => Language::Kazakh,
            b"ru" => Language::Russian,
            b"en" => Language::English,
            _ => continue,
        };
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((language, weight));
        }
    }
    best.map_or(site, |(language, _)| language)
}

/// Text browsers that ask for a page as programs ask for data, with `Accept: */*`: what their `User-Agent` begins with. A person sits
/// before them, and a problem in JSON tells him nothing. Whoever borrows the name gets what naming HTML would have given him.
const TEXT_BROWSERS: [&[u8]; 2] = [b"ELinks/", b"Links ("];

/// HTML for a navigation. Browsers of today say so; of others, those that name HTML and do not prefer JSON, and [`TEXT_BROWSERS`].
pub fn format<F: Fields + ?Sized>(fields: &F) -> Format {
    if let Some(mode) = fields.field("sec-fetch-mode") {
        return if mode == b"navigate" {
            Format::Html
        } else {
            Format::Problem
        };
    }
    let (mut html, mut json, mut anything) = (0, 0, 0);
    for (range, weight) in
        weighted(fields.field(ACCEPT.as_str()).unwrap_or_default()).take(RANGES_MAX)
    {
        match range.to_ascii_lowercase().as_slice() {
            b"text/html" | b"application/xhtml+xml" => html = html.max(weight),
            b"application/json" | b"application/problem+json" => json = json.max(weight),
            b"*/*" => anything = anything.max(weight),
            _ => {}
        }
    }
    let shows_pages = if html == 0 && json == 0 {
        anything > 0 && is_text_browser(fields)
    } else {
        html > 0 && html >= json
    };
    if shows_pages {
        Format::Html
    } else {
        Format::Problem
    }
}

fn is_text_browser<F: Fields + ?Sized>(fields: &F) -> bool {
    let agent = fields.field(USER_AGENT.as_str()).unwrap_or_default();
    TEXT_BROWSERS.iter().any(|name| agent.starts_with(name))
}

fn takes_gzip(fields: &impl Fields) -> bool {
    weighted(fields.field(ACCEPT_ENCODING.as_str()).unwrap_or_default())
        .take(CODINGS_MAX)
        .any(|(coding, weight)| weight > 0 && coding.eq_ignore_ascii_case(b"gzip"))
}

/// List members with their `q` in thousandths; one that cannot be read counts as 0, as not wanted.
fn weighted(list: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    list.split(|byte| *byte == b',').filter_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts
            .find_map(|part| {
                part.strip_prefix(b"q=")
                    .or_else(|| part.strip_prefix(b"Q="))
            })
            .map_or(1000, thousandths);
        Some((name, weight))
    })
}

/// RFC 9110 §12.4.2: `0` or `1`, and three decimals at most.
fn thousandths(weight: &[u8]) -> u16 {
    let (whole, decimals) = match weight {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return 0,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let fraction = (0..3).fold(0, |sum, at| {
        sum * 10 + decimals.get(at).map_or(0, |digit| u16::from(digit - b'0'))
    });
    match (whole, fraction) {
        (b'1', 0) => 1000,
        (b'0', fraction) => fraction,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::header::VARY;

    use super::*;
    use Language::{English, Kazakh, Russian};

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn every() -> Vec<(Page, Asker, Prebuilt)> {
        let mut all = Vec::new();
        for page in Page::all() {
            for language in [Kazakh, Russian, English] {
                for (format, packed) in FORMS {
                    let asker = Asker {
                        language,
                        format,
                        packed,
                    };
                    all.push((page, asker, build(page, asker)));
                }
            }
        }
        all
    }

    fn code() -> CodeText {
        let ladder = crate::ladder::Ladder::new(code::tests::NOW);
        ladder.code(code::tests::site(), &code::tests::WHY, code::tests::NOW)
    }

    #[test]
    fn what_stops_somebody_shows_a_code_in_every_form_and_nothing_else_changes() {
        let code = code();
        for (page, asker, built) in every() {
            let with = Prebuilt::new(built.status, built.fields.clone(), built.body_with(&code));
            // As it was announced.
            assert_eq!(with.head, built.head, "{page:?}");
            let (text, before) = (text(&with), text(&built));
            assert_eq!(
                text,
                before.replace(FILLER.as_str(), code.as_str()),
                "{page:?}"
            );
            let shown = match asker.format {
                Format::Html => format!("<code translate=\"no\">{}</code>", code.as_str()),
                Format::Problem => format!(",\"code\":\"{}\"}}", code.as_str()),
            };
            let times = usize::from(page.stop().is_some());
            assert_eq!(text.matches(&shown).count(), times, "{page:?}");
            assert_eq!(text.matches(code.as_str()).count(), times, "{page:?}");
        }
    }

    fn text(built: &Prebuilt) -> String {
        let mut text = String::new();
        match built.fields.get(CONTENT_ENCODING) {
            Some(coding) => {
                assert_eq!(coding, "gzip");
                let mut decoder = flate2::read::GzDecoder::new(&built.body[..]);
                decoder.read_to_string(&mut text).unwrap();
            }
            None => text.push_str(std::str::from_utf8(&built.body).unwrap()),
        }
        text
    }

    #[test]
    fn who_takes_gzip_gets_three_fifths_of_the_bytes_at_most() {
        let browser = ("accept", "text/html");
        for (accepted, is_packed) in [
            (Some("gzip, deflate, br, zstd"), true),
            (Some("br;q=1.0, GZIP;q=0.5"), true),
            (Some("gzip;q=0, br"), false),
            (Some("br"), false),
            (Some(""), false),
            (None, false),
        ] {
            let lines: Vec<_> = accepted
                .map(|accepted| ("accept-encoding", accepted))
                .into_iter()
                .chain([browser])
                .collect();
            let asker = Asker::of(&fields(&lines), Kazakh);
            assert_eq!((asker.format, asker.packed), (Format::Html, is_packed));
        }
        for (page, asker, built) in every() {
            let plain = build(
                page,
                Asker {
                    packed: false,
                    ..asker
                },
            );
            assert_eq!(text(&built), text(&plain));
            assert!(
                !asker.packed || built.body.len() * 5 <= plain.body.len() * 3,
                "{page:?}: {} of {} bytes",
                built.body.len(),
                plain.body.len()
            );
        }
    }

    #[test]
    fn languages_are_those_the_browser_wants_most() {
        let table = [
            (None, Kazakh),
            (Some(""), Kazakh),
            (Some("de-DE,fr;q=0.9"), Kazakh),
            (Some("ru"), Russian),
            (Some("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7"), Russian),
            (Some("en-US,en;q=0.9,ru;q=0.8"), English),
            (Some("KK-Cyrl-KZ, ru;q=0.9"), Kazakh),
            (Some("en;q=0.5, ru;q=0.7, kk;q=0.6"), Russian),
            (Some("en;q=0, ru;q=0.001"), Russian),
            (Some("en;q=0"), Kazakh),
            (Some("en;q=zwei, ru;q=0.1"), Russian),
            (Some("en;q=1.5, ru;q=0.1"), Russian),
            (Some("*"), Kazakh),
            (Some("english, rus"), Kazakh),
        ];
        for (accept, expected) in table {
            assert_eq!(
                language(accept.map(str::as_bytes), Kazakh),
                expected,
                "{accept:?}"
            );
        }
    }

    #[test]
    fn navigations_get_html_and_programs_get_a_problem() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let (elinks, links) = (
            "ELinks/0.13.2 (textmode; Linux; 80x25-2)",
            "Links (2.28; Linux)",
        );
        let table: [(&[(&'static str, &str)], Format); 14] = [
            (&[("accept", "*/*"), ("user-agent", elinks)], Format::Html),
            (&[("accept", "*/*"), ("user-agent", links)], Format::Html),
            (
                &[("accept", "*/*"), ("user-agent", "Linkschecker/10.2")],
                Format::Problem,
            ),
            (
                &[("accept", "application/json, */*"), ("user-agent", links)],
                Format::Problem,
            ),
            (&[("user-agent", elinks)], Format::Problem),
            (
                &[("sec-fetch-mode", "navigate"), ("accept", "*/*")],
                Format::Html,
            ),
            (
                &[("sec-fetch-mode", "cors"), ("accept", firefox)],
                Format::Problem,
            ),
            (
                &[("sec-fetch-mode", "no-cors"), ("accept", "image/avif,*/*")],
                Format::Problem,
            ),
            (&[("accept", firefox)], Format::Html),
            (&[("accept", "text/html, application/json")], Format::Html),
            (
                &[("accept", "application/json, text/html;q=0.5")],
                Format::Problem,
            ),
            (&[("accept", "text/html;q=0")], Format::Problem),
            (&[("accept", "*/*")], Format::Problem),
            (&[], Format::Problem),
        ];
        for (lines, expected) in table {
            assert_eq!(format(&fields(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn every_page_is_small_and_asks_for_nothing() {
        for (page, asker, built) in every() {
            let text = text(&built);
            assert!(built.body.len() < 10 * 1024, "{page:?}");
            for other in [
                "http:", "https:", "//", "src=", "@import", "url(", "noindex", "style=\"", "fetch(",
            ] {
                assert!(!text.contains(other), "{page:?} {other}");
            }
            assert_eq!(
                text.contains("<form"),
                asker.format == Format::Html && page == Page::Invitation,
                "{page:?}"
            );
            assert_eq!(
                text.contains("<script"),
                asker.format == Format::Html && matches!(page, Page::Waiting { .. }),
                "{page:?}"
            );
            let field =
                |name: HeaderName| built.fields.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(field(CACHE_CONTROL), Some("no-store"));
            assert_eq!(field(REFERRER_POLICY), Some("no-referrer"));
            assert_eq!(field(CONTENT_LANGUAGE), Some(tag(asker.language)));
            // Nothing stores these, so nobody needs to know what they vary by.
            assert_eq!(field(VARY), None);
            assert!(
                !built.status.is_server_error() || field(RETRY_AFTER).is_some(),
                "{page:?}"
            );
            if asker.format == Format::Html {
                assert!(text.starts_with(&format!(
                    "<!doctype html>\n<html lang=\"{}\">",
                    tag(asker.language)
                )));
                assert_eq!(
                    (
                        text.matches("<h1>").count(),
                        text.matches("<title>").count()
                    ),
                    (1, 1)
                );
            }
        }
    }

    #[test]
    fn a_page_around_a_form_is_small_and_sends_what_it_carries() {
        const TEXT: &str = "Abc-_9";
        let pages = Pages::new();
        for held in Held::KINDS {
            for language in LANGUAGES {
                let response = |packed| {
                    let asker = Asker {
                        language,
                        format: Format::Html,
                        packed,
                    };
                    let (head, body) = pages.held(held, TEXT, &code(), asker).into_parts();
                    let Body::Full(Some(body)) = body else {
                        panic!("no page")
                    };
                    Prebuilt::new(head.status, head.headers, body)
                };
                let (plain, packed) = (response(false), response(true));
                let text = text(&plain);
                assert_eq!(text.matches("<code translate=\"no\">").count(), 1);
                // Each has a code of its own.
                assert_eq!(text.len(), self::text(&packed).len());
                assert!(plain.body.len() < 10 * 1024, "{}", plain.body.len());
                assert_eq!(plain.status, StatusCode::SERVICE_UNAVAILABLE);
                let field = format!("<input type=\"hidden\" name=\"{FORM}\" value=\"{TEXT}\">");
                assert!(text.contains(&field), "{text}");
                assert_eq!(
                    text.contains("data-wait=\"5\""),
                    held == Held::Soon { secs: 5 }
                );
                for other in [
                    "http:",
                    "https:",
                    "//",
                    "src=",
                    "refresh",
                    "no-referrer",
                    "action=",
                ] {
                    assert!(!text.contains(other), "{held:?} {other}");
                }
                let policy = plain.fields.get(CONTENT_SECURITY_POLICY).unwrap();
                let policy = policy.to_str().unwrap();
                for inside in [STYLE, SCRIPT] {
                    assert!(text.contains(inside) && policy.contains(&hash(inside)));
                }
                let fields = [
                    (CACHE_CONTROL, "no-store"),
                    (REFERRER_POLICY, "same-origin"),
                    (RETRY_AFTER, "5"),
                    (CONTENT_LANGUAGE, tag(language)),
                ];
                for (name, value) in fields {
                    assert_eq!(plain.fields.get(&name).unwrap(), value);
                }
            }
        }
    }

    #[test]
    fn only_the_waiting_page_reloads_itself_and_says_the_same_in_its_field() {
        for (page, asker, built) in every() {
            let text = text(&built);
            let reloads = text.contains("http-equiv=\"refresh\"");
            match page {
                Page::Waiting { reload_secs } => {
                    assert_eq!(
                        built.fields.get(RETRY_AFTER).unwrap(),
                        reload_secs.to_string().as_str()
                    );
                    assert_eq!(built.status, StatusCode::SERVICE_UNAVAILABLE);
                    assert_eq!(reloads, asker.format == Format::Html);
                    let place = |what: &str| text.find(what);
                    let said = place(&format!("content=\"{reload_secs}\""));
                    assert!(!reloads || said.is_some() && said < place("charset="));
                }
                _ => assert!(!reloads, "{page:?}"),
            }
        }
        let pages = Pages::new();
        let asker = Asker {
            language: English,
            format: Format::Html,
            packed: false,
        };
        for (asked, given) in [(0, "5"), (5, "5"), (13, "13"), (20, "20"), (u16::MAX, "20")] {
            let page = pages.page(Page::Waiting { reload_secs: asked }, asker);
            assert_eq!(page.fields.get(RETRY_AFTER).unwrap(), given);
        }
    }

    #[test]
    fn pages_are_found_by_kind_language_and_format() {
        let pages = Pages::new();
        for (page, asker, built) in every() {
            let found = pages.page(page, asker);
            assert_eq!(
                (&found.body, found.status),
                (&built.body, page.status()),
                "{page:?} {asker:?}"
            );
            let response = pages.response(page, asker, None);
            assert_eq!(
                (response.status(), response.headers()),
                (page.status(), &*built.fields)
            );
        }
    }

    #[test]
    fn heads_are_http() {
        for (page, _, built) in every() {
            let mut text = built.head.to_vec();
            text.extend_from_slice(b"\r\n");
            let mut lines = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Response::new(&mut lines);
            assert!(head.parse(&text).unwrap().is_complete(), "{page:?}");
            assert_eq!(head.code, Some(page.status().as_u16()));
            let length = head
                .headers
                .iter()
                .find(|line| line.name == "content-length")
                .unwrap();
            assert_eq!(length.value, built.body.len().to_string().as_bytes());
        }
    }

    #[test]
    fn weights_are_read_as_written() {
        let table: [(&str, u16); 11] = [
            ("1", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.8", 800),
            ("0.05", 50),
            ("0.125", 125),
            ("0.", 0),
            ("1.1", 0),
            ("0.1234", 0),
            ("-1", 0),
            ("", 0),
        ];
        for (text, expected) in table {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn our_words_need_no_escaping_and_are_whole_sentences() {
        for (page, asker, _) in every() {
            let words = words(page, asker.language);
            for text in [Some(words.title), Some(words.first), words.second]
                .into_iter()
                .flatten()
            {
                assert!(
                    !text.contains(['"', '\\', '<', '>', '&', '\n']) && !text.contains("  "),
                    "{text}"
                );
            }
            assert!(
                words.first.ends_with('.') && !words.title.ends_with('.'),
                "{page:?}"
            );
        }
    }

    #[test]
    fn the_policy_admits_what_stands_in_the_page_and_nothing_else() {
        for (page, asker, built) in every() {
            if asker.format != Format::Html {
                continue;
            }
            let text = text(&built);
            let policy = built.fields.get(CONTENT_SECURITY_POLICY).unwrap();
            let policy = policy.to_str().unwrap();
            for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
                let (begins, ends) = (format!("<{tag}>"), format!("</{tag}>"));
                let inside = text
                    .split_once(&begins)
                    .and_then(|(_, rest)| rest.split_once(&ends));
                let expected = inside.map(|(inside, _)| format!("{directive} {};", hash(inside)));
                assert_eq!(
                    expected.as_deref(),
                    expected.as_deref().filter(|one| policy.contains(one)),
                    "{page:?}"
                );
                assert_eq!(inside.is_some(), policy.contains(directive), "{page:?}");
            }
        }
    }
}
