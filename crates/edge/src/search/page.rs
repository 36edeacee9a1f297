//! What a page says, without what surrounds it.
//!
//! The input is whatever the newsroom's CMS, its theme and ten years of plugins made, so nothing is taken for granted: tags that never
//! close, closings of what never opened, bytes of an older encoding. A tokenizer of the standard reads it as browsers do; on top of it
//! lies only a list of open elements, in which a closing tag closes everything inside, so an open `<nav>` ends with what it stands in.
//!
//! Text in navigation, headers, footers, forms, and in blocks that call themselves related, shared or comments is not the article's.
//! When the page marks its article, nothing else counts. A page that is mostly links is a list: it is found by its title alone, or the
//! front page would be the answer to everything.

use std::borrow::Cow;
use std::convert::Infallible;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
use jiff::civil;

use super::text;
use crate::clock::UnixMillis;
use crate::date::LOCAL_TIME;
use crate::plan::Language;

/// Twenty times the HTML of a usual article with its theme; the end of a longer page is not what it is found by.
pub const HTML_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Five thousand words, a long read.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// A headline of three lines on a phone.
pub const TITLE_BYTES_MAX: usize = 400;
/// What a search engine shows is half of it.
pub const DESCRIPTION_BYTES_MAX: usize = 800;

/// Depth at which browsers themselves stop nesting.
const OPEN_MAX: usize = 512;
/// Of an attribute's value; class lists of page builders have a few hundred.
const VALUE_BYTES_MAX: usize = 1024;
/// Less than this in `<article>` or `<main>` is a teaser or a mistake, and everything else counts too.
const ARTICLE_BYTES_MIN: usize = 200;
/// An empty date, or one beyond what a newsroom's clock may be ahead, is no date: 1995, before there were news sites here.
const PUBLISHED_SECS_MIN: i64 = 788_918_400;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageText {
    pub title: String,
    pub description: String,
    /// Empty for a page that is a list of others.
    pub text: String,
    pub language: Language,
    pub published: Option<UnixMillis>,
}

/// `None`: nothing to find it by, or the page itself says that another one is meant (`canonical`) or that it is not to be found
/// (`noindex`). `path`: of the page's URL, with its query.
pub fn read(html: &[u8], path: &str) -> Option<PageText> {
    let html = decoded(&html[..html.len().min(HTML_BYTES_MAX)]);
    let mut reading = Reading::default();
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| {
        reading.event(event);
        None::<Infallible>
    });
    emitter.naively_switch_states(true);
    match Tokenizer::new_with_emitter(&*html, emitter).finish() {
        Ok(()) => {}
    }
    reading.page(path)
}

/// Sites of before 2010 may still be in windows-1251; of everything else the letters that can be read are.
fn decoded(html: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(html) {
        Ok(html) => Cow::Borrowed(html),
        // The cut may have gone through a letter.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(html),
        Err(_) if names_windows_1251(html) => Cow::Owned(windows_1251(html)),
        Err(_) => String::from_utf8_lossy(html),
    }
}

fn names_windows_1251(html: &[u8]) -> bool {
    // Browsers look for the name of the encoding in the first 1024 bytes.
    html[..html.len().min(1024)]
        .windows(12)
        .any(|name| name.eq_ignore_ascii_case(b"windows-1251"))
}

/// The letters of Russian; its few others become a space, which parts words.
pub(super) fn windows_1251(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            0x00..=0x7f => char::from(*byte),
            0xa8 => 'Ё',
            0xb8 => 'ё',
            0xc0..=0xff => char::from_u32(u32::from(*byte) - 0xc0 + 0x410).unwrap_or(' '),
            _ => ' ',
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Open {
    name: u64,
    /// What is inside is not the article's.
    skipped: bool,
    article: bool,
    link: bool,
    title: bool,
    heading: bool,
    /// `<script type="application/ld+json">`
    data: bool,
}

/// The attributes that say something about the element they are on.
#[derive(Default)]
struct Attributes {
    class: String,
    id: String,
    role: String,
    name: String,
    property: String,
    itemprop: String,
    content: String,
    datetime: String,
    rel: String,
    href: String,
    lang: String,
    kind: String,
}

impl Attributes {
    fn slot(&mut self, name: &[u8]) -> Option<&mut String> {
        Some(match name {
            b"class" => &mut self.class,
            b"id" => &mut self.id,
            b"role" => &mut self.role,
            b"name" => &mut self.name,
            b"property" => &mut self.property,
            b"itemprop" => &mut self.itemprop,
            b"content" => &mut self.content,
            b"datetime" => &mut self.datetime,
            b"rel" => &mut self.rel,
            b"href" => &mut self.href,
            b"lang" => &mut self.lang,
            b"type" => &mut self.kind,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    element: Vec<u8>,
    attribute: Vec<u8>,
    attributes: Attributes,

    title: String,
    heading: String,
    /// The article's own, which a logo or a section's name in another `<h1>` must not hide.
    heading_of_article: bool,
    social_title: String,
    description: String,
    article: String,
    body: String,
    link_bytes: usize,
    language: Option<Language>,
    published: Option<UnixMillis>,
    canonical: Option<String>,
    not_to_be_found: bool,
}

impl Reading {
    fn event(&mut self, event: CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.element.clear();
                self.element.extend_from_slice(name);
                self.attribute.clear();
                self.attributes = Attributes::default();
            }
            CallbackEvent::AttributeName { name } => {
                self.attribute.clear();
                self.attribute.extend_from_slice(name);
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some(slot) = self.attributes.slot(&self.attribute) {
                    append(slot, value, VALUE_BYTES_MAX);
                }
            }
            CallbackEvent::CloseStartTag { .. } => self.start(),
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { value } => self.text(value),
            CallbackEvent::Comment { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
    }

    fn start(&mut self) {
        let name = std::mem::take(&mut self.element);
        match name.as_slice() {
            b"meta" => self.meta(),
            b"link" => self.link(),
            b"html" => self.language = said(&self.attributes.lang),
            b"time" if self.published.is_none() && !self.inside(|open| open.skipped) => {
                self.published = date(&self.attributes.datetime);
            }
            _ => {}
        }
        if !is_inline(&name) {
            self.part();
        }
        let heading = name == b"h1" && self.takes_heading();
        if !is_void(&name) && self.open.len() < OPEN_MAX {
            let attributes = &self.attributes;
            self.open.push(Open {
                name: hash(&name),
                skipped: is_never_the_article(&name) || says_it_is_beside(&name, attributes),
                article: matches!(name.as_slice(), b"article" | b"main")
                    || attributes.itemprop == "articleBody"
                    || attributes.role == "main",
                link: name == b"a",
                title: name == b"title",
                heading,
                data: name == b"script" && attributes.kind == "application/ld+json",
            });
        }
        self.element = name;
    }

    fn takes_heading(&mut self) -> bool {
        if self.heading_of_article {
            return false;
        }
        if self.inside(|open| open.article) {
            self.heading_of_article = true;
            self.heading.clear();
        }
        self.heading.is_empty()
    }

    fn end(&mut self, name: &[u8]) {
        if !is_inline(name) {
            self.part();
        }
        let name = hash(name);
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.open.truncate(at);
        }
    }

    fn text(&mut self, value: &[u8]) {
        if self.inside(|open| open.data) {
            if self.published.is_none() {
                self.published = published_in_data(value);
            }
            return;
        }
        // An icon may have a title; the page's is the first.
        if self.inside(|open| open.title) {
            if !self.inside(|open| open.skipped) {
                append(&mut self.title, value, TITLE_BYTES_MAX);
            }
            return;
        }
        if self.inside(|open| open.heading) {
            append(&mut self.heading, value, TITLE_BYTES_MAX);
        }
        if self.inside(|open| open.skipped) {
            return;
        }
        let into = if self.inside(|open| open.article) {
            &mut self.article
        } else {
            &mut self.body
        };
        let before = into.len();
        append(into, value, TEXT_BYTES_MAX);
        let added = into.len() - before;
        if self.inside(|open| open.link) {
            self.link_bytes += added;
        }
    }

    /// Words on both sides of a block's edge are two.
    fn part(&mut self) {
        for text in [&mut self.article, &mut self.body, &mut self.heading] {
            if !text.is_empty() && !text.ends_with(' ') {
                text.push(' ');
            }
        }
    }

    fn inside(&self, what: impl Fn(&Open) -> bool) -> bool {
        self.open.iter().any(what)
    }

    fn meta(&mut self) {
        let Attributes {
            name,
            property,
            itemprop,
            content,
            ..
        } = &self.attributes;
        let is = |wanted: &str| {
            [name, property, itemprop]
                .into_iter()
                .any(|it| it.eq_ignore_ascii_case(wanted))
        };
        if is("robots") {
            self.not_to_be_found |= content.split(',').any(|word| {
                matches!(
                    word.trim().to_ascii_lowercase().as_str(),
                    "noindex" | "none"
                )
            });
        } else if is("description") || is("og:description") && self.description.is_empty() {
            self.description.clear();
            append(
                &mut self.description,
                content.as_bytes(),
                DESCRIPTION_BYTES_MAX,
            );
        } else if is("og:title") {
            self.social_title.clear();
            append(&mut self.social_title, content.as_bytes(), TITLE_BYTES_MAX);
        } else if is("article:published_time") || is("datePublished") {
            self.published = date(content).or(self.published);
        }
    }

    fn link(&mut self) {
        if self.attributes.rel.eq_ignore_ascii_case("canonical") && self.canonical.is_none() {
            self.canonical = Some(self.attributes.href.clone());
        }
    }

    fn page(mut self, path: &str) -> Option<PageText> {
        if self.not_to_be_found
            || self
                .canonical
                .as_deref()
                .is_some_and(|canonical| !is_same_page(canonical, path))
        {
            return None;
        }
        let read = self.article.len() + self.body.len();
        let list = is_front(path) || self.link_bytes * 2 > read;
        let text = if list {
            String::new()
        } else if self.article.len() >= ARTICLE_BYTES_MIN {
            self.article
        } else {
            append(&mut self.article, self.body.as_bytes(), TEXT_BYTES_MAX);
            self.article
        };
        let title = [self.heading, self.social_title, self.title]
            .into_iter()
            .map(trimmed)
            .find(|title| title.chars().any(char::is_alphanumeric))?;
        let description = trimmed(self.description);
        let text = trimmed(text);
        let sample = if text.is_empty() { &title } else { &text };
        Some(PageText {
            language: text::language(sample, self.language),
            title,
            description,
            text,
            published: self.published,
        })
    }
}

fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text
}

/// White space and control characters become one space; what does not fit stays out, at a letter's edge.
fn append(to: &mut String, value: &[u8], bytes_max: usize) {
    for letter in String::from_utf8_lossy(value).chars() {
        if to.len() + letter.len_utf8() > bytes_max {
            return;
        }
        if letter.is_whitespace() || letter.is_control() || is_hidden(letter) {
            if !to.is_empty() && !to.ends_with(' ') {
                to.push(' ');
            }
        } else {
            to.push(letter);
        }
    }
}

/// Marks that turn the direction of writing reach beyond the text they come from.
fn is_hidden(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
}

fn hash(name: &[u8]) -> u64 {
    // FNV-1a: names of elements are short, and who makes two collide loses the end of his own text.
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

fn is_inline(name: &[u8]) -> bool {
    matches!(
        name,
        b"a" | b"abbr"
            | b"b"
            | b"bdi"
            | b"bdo"
            | b"cite"
            | b"code"
            | b"em"
            | b"font"
            | b"i"
            | b"mark"
            | b"q"
            | b"s"
            | b"small"
            | b"span"
            | b"script"
            | b"strong"
            | b"style"
            | b"sub"
            | b"sup"
            | b"u"
            | b"wbr"
    )
}

fn is_never_the_article(name: &[u8]) -> bool {
    matches!(
        name,
        b"script"
            | b"style"
            | b"noscript"
            | b"template"
            | b"svg"
            | b"math"
            | b"nav"
            | b"header"
            | b"footer"
            | b"aside"
            | b"form"
            | b"button"
            | b"select"
            | b"textarea"
            | b"iframe"
            | b"object"
            | b"dialog"
            | b"audio"
            | b"video"
            | b"canvas"
    )
}

/// Blocks that themes build of `<div>`, by the names they give them.
fn says_it_is_beside(name: &[u8], attributes: &Attributes) -> bool {
    const BESIDE: [&str; 10] = [
        "related",
        "sidebar",
        "comments",
        "breadcrumb",
        "breadcrumbs",
        "share",
        "sharing",
        "menu",
        "widget",
        "pagination",
    ];
    if matches!(
        attributes.role.as_str(),
        "navigation" | "search" | "banner" | "contentinfo"
    ) {
        return true;
    }
    // `<body class="has-sidebar">` says it of something else.
    if !matches!(name, b"div" | b"section" | b"ul" | b"ol") {
        return false;
    }
    attributes
        .class
        .split_ascii_whitespace()
        .chain([attributes.id.as_str()])
        .any(|word| {
            BESIDE.iter().any(|beside| {
                word.strip_prefix(beside)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
            })
        })
}

fn said(lang: &str) -> Option<Language> {
    let primary = lang.split(['-', '_']).next().unwrap_or_default();
    match primary.to_ascii_lowercase().as_str() {
        "kk" | "kz" => Some(Language::Kazakh),
        "ru" => Some(Language::Russian),
        "en" => Some(Language::English),
        _ => None,
    }
}

fn is_front(path: &str) -> bool {
    matches!(path_of(path), "" | "/")
}

/// Compared by path: a canonical URL leaves out parameters and may be on another of the site's names.
fn is_same_page(canonical: &str, path: &str) -> bool {
    let canonical = canonical.trim();
    canonical.is_empty()
        || path_of(canonical).trim_end_matches('/') == path_of(path).trim_end_matches('/')
}

/// Without scheme, host, query and fragment.
pub(super) fn path_of(url: &str) -> &str {
    let path = match url.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
            rest.find('/').map_or("", |at| &rest[at..])
        }
        _ => url,
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    &path[..end]
}

/// RFC 3339 and what is near it: a date alone, no seconds, no zone.
fn date(text: &str) -> Option<UnixMillis> {
    let text = text.trim();
    let secs = if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        moment.as_second()
    } else {
        let local: civil::DateTime = text.parse().ok()?;
        // Without a zone it is the newsroom's.
        LOCAL_TIME.to_timestamp(local).ok()?.as_second()
    };
    (secs >= PUBLISHED_SECS_MIN).then(|| UnixMillis::from_secs(secs.unsigned_abs()))
}

/// schema.org's, which most CMSs write as a script nobody runs. Only the one value is wanted of it.
fn published_in_data(data: &[u8]) -> Option<UnixMillis> {
    let data = std::str::from_utf8(data).ok()?;
    let (_, rest) = data.split_once("\"datePublished\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    date(rest.strip_prefix('"')?.split('"').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "Сот журналистің шағымын қанағаттандырды. Шешім заңды күшіне енген жоқ, тараптар оған шағымдана алады. \
        Бұл туралы редакцияға адвокат хабарлады. Іс бойынша келесі отырыс екі аптадан кейін өтеді деп күтілуде.";

    fn text_of(html: &str) -> String {
        read(html.as_bytes(), "/a").unwrap().text
    }

    #[test]
    fn an_article_is_read_without_what_surrounds_it() {
        let html = format!(
            "<!doctype html><html lang=\"ru-RU\"><head><title>Сот шешімі &ndash; Сайт</title>\
             <meta name=description content=\"Қысқаша\n мазмұны\"><link rel=canonical href=\"https://a.kz/sot/\">\
             <meta property=\"article:published_time\" content=\"2026-11-20T10:00:00+05:00\">\
             <style>p{{}}</style><script>var жасырын=1</script></head><body class=\"has-sidebar\"><header>Мәзір</header>\
             <h1>Сайт</h1><article><header><h1>Сот <em>шешімі</em> шықты</h1></header><p>{LONG}</p><p>Соң<b>ы</b>&nbsp;&laquo;осы&raquo;</p>\
             <div class=\"related-posts\">Тағы оқыңыз</div></article><aside>Жарнама</aside><footer>Байланыс</footer></body>"
        );
        let page = read(html.as_bytes(), "/sot?utm_source=x").unwrap();
        assert_eq!(page.title, "Сот шешімі шықты");
        assert_eq!(page.description, "Қысқаша мазмұны");
        assert_eq!(page.text, format!("{LONG} Соңы «осы»"));
        assert_eq!(page.language, Language::Kazakh);
        assert_eq!(page.published, Some(UnixMillis::from_secs(1_795_150_800)));
    }

    #[test]
    fn broken_pages_are_read_as_far_as_they_go() {
        let table = [
            ("<h1>a</h1><div><nav>menu<li>item</div>text", "a text"),
            ("<h1>a</h1><p>one<p>two", "a one two"),
            ("<h1>a</h1></div></p></article>text</span>", "a text"),
            ("<h1>a</h1><b><i>x</b>y</i>z", "a xyz"),
            ("<h1>a</h1>x<!-- no > -->y<!", "a xy"),
            ("<h1>a</h1>x<script>if (a</script>y", "a xy"),
            ("<h1>a</h1>x<script>never closed", "a x"),
            (
                "<h1>a</h1>1 < 2 &amp; 3 &nosuch; &#1171;",
                "a 1 < 2 & 3 &nosuch; ғ",
            ),
            ("<h1>a</h1>x<p hidden class='x' class=\"y\" =>y", "a x y"),
            ("<h1>a</h1>x\u{202e}y\u{0}", "a x y"),
            ("<h1>a", "a"),
        ];
        for (html, expected) in table {
            assert_eq!(text_of(html), expected, "{html}");
        }
        let deep = format!("<h1>a</h1>{}x", "<div>".repeat(100_000));
        assert_eq!(text_of(&deep), "a x");
    }

    #[test]
    fn pages_that_are_not_meant_are_left_out() {
        let table = [
            ("<h1>a</h1>", true),
            ("<title>a</title>", true),
            ("", false),
            ("<p>text without a name", false),
            ("<h1>…</h1>", false),
            (
                "<h1>a</h1><meta name=robots content='NOINDEX, follow'>",
                false,
            ),
            ("<h1>a</h1><meta name=robots content='index, follow'>", true),
            (
                "<h1>a</h1><link rel=canonical href='https://a.kz/other'>",
                false,
            ),
            (
                "<h1>a</h1><link rel=canonical href='https://www.a.kz/a/?x#y'>",
                true,
            ),
            ("<h1>a</h1><link rel=canonical href='/a'>", true),
            ("<h1>a</h1><link rel=canonical href=''>", true),
        ];
        for (html, expected) in table {
            assert_eq!(
                read(html.as_bytes(), "/a?page=1").is_some(),
                expected,
                "{html}"
            );
        }
    }

    #[test]
    fn lists_are_found_by_their_names_alone() {
        let list = "<h1>Саясат</h1><a href=/1>Бірінші мақаланың ұзын атауы</a><a href=/2>Екінші мақаланың ұзын атауы</a>";
        assert_eq!(text_of(list), "");
        let front = format!("<title>Сайт</title><p>{LONG}");
        assert_eq!(read(front.as_bytes(), "/").unwrap().text, "");
        assert!(!read(front.as_bytes(), "/x").unwrap().text.is_empty());
    }

    #[test]
    fn dates_are_those_the_page_names() {
        let secs = |text: &str| date(text).map(UnixMillis::secs);
        let table = [
            ("2026-11-25T00:00:00Z", Some(1_795_564_800)),
            ("2026-11-25T05:00:00+05:00", Some(1_795_564_800)),
            ("2026-11-25T05:00", Some(1_795_564_800)),
            (" 2026-11-25 05:00:00 ", Some(1_795_564_800)),
            ("2026-11-25", Some(1_795_564_800 - 5 * 3600)),
            ("0000-00-00", None),
            ("1970-01-01T00:00:00Z", None),
            ("25 қараша", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(secs(text), expected, "{text}");
        }
        let data = "<h1>a</h1><script type=\"application/ld+json\">{\"datePublished\" : \"2026-11-25T00:00:00Z\"}</script>";
        let page = read(data.as_bytes(), "/a").unwrap();
        assert_eq!(page.published, Some(UnixMillis::from_secs(1_795_564_800)));
        assert_eq!(page.text, "a");
    }

    #[test]
    fn old_encodings_are_read_where_they_are_named() {
        let mut html = b"<meta charset=windows-1251><h1>".to_vec();
        html.extend_from_slice(&[0xcd, 0xee, 0xe2, 0xee, 0xf1, 0xf2, 0xe8, b' ', 0xb8]);
        assert_eq!(read(&html, "/a").unwrap().title, "Новости ё");
    }

    #[test]
    fn everything_is_bounded() {
        let long = "ғ".repeat(HTML_BYTES_MAX);
        let html = format!("<title>{long}</title>");
        assert!(read(html.as_bytes(), "/a").unwrap().title.len() <= TITLE_BYTES_MAX);
        let letters = "ғ".repeat(10_000);
        let html = format!("<title>a</title><meta name=description content=\"{letters}\">");
        assert!(read(html.as_bytes(), "/a").unwrap().description.len() == DESCRIPTION_BYTES_MAX);
        let html = format!("<title>a</title><p>{long}");
        assert!(read(html.as_bytes(), "/a").unwrap().text.len() <= TEXT_BYTES_MAX);
    }
}
