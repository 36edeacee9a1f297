//! The page of results.
//!
//! What a reader needs to know first is that this is not the site's own search, and of when the copy is; then what was found; and at the end
//! a way on, whatever was found. It asks for nothing, as all our own pages; only the form may be sent, to the site itself. The words
//! come from a stranger and the titles from a CMS: both are escaped in the one place where text enters the page.
//!
//! A flood asks for the same words with something made up beside each: what no page has changes the heading and the links, not the list, and
//! the list is made and packed once ([`Listed`]).

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::form::{LIVE_PARAMETER, PAGE_PARAMETER, Question};
use super::index::{Found, HITS_MAX, Hits, Query};
use super::text::Passage;
use crate::cache::status::CacheStatus;
use crate::clock::UnixMillis;
use crate::date;
use crate::pages::{self, Asker, Prebuilt};
use crate::plan::Language::{self, English, Kazakh, Russian};
use crate::splice::{self, Packed, Piece};

/// Two or three screens of a phone.
pub const HITS_PER_PAGE: usize = 10;

const STYLE: &str = include_str!("results.css");

/// SHA-256 of [`STYLE`]; a test holds them together.
const STYLE_HASH: &str = "ese3LnEqKv6RHkBBIibR8fXSYqkJsmSvs8nijzB6TTo=";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What many answers have in common: what the words found that any page has.
pub(super) struct Listed {
    pub(super) made: UnixMillis,
    /// [`super::Inner::taken_out`] when it was made.
    pub(super) taken_out: u64,
    /// That there were then.
    pub(super) pages: usize,
    found: usize,
    /// The page of results that this is, and the last.
    at: usize,
    last: usize,
    /// What is said before the list.
    note: Packed,
    list: Packed,
}

pub(super) struct ToList<'a> {
    /// The host the reader asked: links to it need not name it.
    pub(super) host: &'a str,
    pub(super) language: Language,
    pub(super) query: &'a Query,
    /// The first is 0.
    pub(super) page: usize,
    pub(super) hits: &'a Hits,
    /// Instead, when there are no hits.
    pub(super) newest: &'a [Arc<Found>],
    /// When the newest copy was made.
    pub(super) saved: UnixMillis,
    pub(super) taken_out: u64,
    pub(super) pages: usize,
    pub(super) now: UnixMillis,
}

impl Listed {
    pub(super) fn of(to_list: &ToList<'_>) -> Self {
        let (hits, said) = (to_list.hits, said(to_list.language));
        // A page beyond the last is the last.
        let last = hits.best.len().saturating_sub(1) / HITS_PER_PAGE;
        let at = to_list.page.min(last);
        let mut note = String::new();
        if hits.total > 0 {
            write(
                &mut note,
                format_args!("<p class=\"soft\">{} {}</p>\n", said.found, hits.total),
            );
        }
        write(
            &mut note,
            format_args!(
                "<p class=\"note\">{} {} {}.<br>",
                said.busy,
                if hits.total > 0 {
                    said.copy
                } else {
                    said.searched
                },
                date::with_time(to_list.saved, to_list.language),
            ),
        );
        let mut page = String::with_capacity(8 * 1024);
        if hits.total > 0 {
            let first = at * HITS_PER_PAGE;
            let shown = &hits.best[first..hits.best.len().min(first + HITS_PER_PAGE)];
            list(&mut page, "found", to_list, shown);
        } else if !to_list.newest.is_empty() {
            write(
                &mut page,
                format_args!("<p class=\"more\">{}</p>\n", said.newest),
            );
            list(&mut page, "newest", to_list, to_list.newest);
        }
        Self {
            made: to_list.now,
            taken_out: to_list.taken_out,
            pages: to_list.pages,
            found: hits.total,
            at,
            last,
            note: Packed::new(note),
            list: Packed::new(page),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.note.bytes() + self.list.bytes()
    }
}

pub(super) fn prebuilt(question: &Question<'_>, asker: Asker, listed: &Listed) -> Prebuilt {
    let said = said(asker.language);
    let asked = &question.words;
    let heading = if asked.is_empty() {
        said.empty.to_owned()
    } else {
        let (open, close) = said.quotes;
        format!("{} {open}{}{close}", said.results, escaped(asked))
    };
    let again = again(question);
    let mut top = format!("<title>{heading}</title>\n</head>\n<body>\n<main>\n");
    form(&mut top, question, &said);
    write(&mut top, format_args!("<h1>{heading}</h1>\n"));
    let mut way_to_the_site = format!(
        "<a href=\"{again}&amp;{LIVE_PARAMETER}=1\">{}</a></p>\n",
        said.live
    );
    if listed.found == 0 && !asked.is_empty() {
        write(
            &mut way_to_the_site,
            format_args!("<p>{} {}</p>\n", said.nothing, said.other_words),
        );
    }
    let mut end = String::new();
    ways(&mut end, &again, listed, &said);
    end.push_str("</main>\n</body>\n</html>\n");
    let shared = &SHARED[asker.language as usize];
    let pieces = [
        Piece::Shared(&shared.top),
        Piece::Own(&top),
        Piece::Shared(&listed.note),
        Piece::Own(&way_to_the_site),
        Piece::Shared(&listed.list),
        Piece::Own(&end),
    ];
    let (fields, body) = if asker.packed {
        (&shared.packed_fields, splice::gzip(&pieces))
    } else {
        (&shared.fields, splice::plain(&pieces))
    };
    Prebuilt::new(StatusCode::OK, Arc::clone(fields), body)
}

/// What all pages of results in one language have in common.
struct Shared {
    top: Packed,
    fields: Arc<HeaderMap>,
    packed_fields: Arc<HeaderMap>,
}

/// By language.
static SHARED: LazyLock<[Shared; 3]> = LazyLock::new(|| {
    [Kazakh, Russian, English].map(|language| {
        let top = format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n",
            pages::tag(language)
        );
        let fields = fields(language);
        let mut packed_fields = fields.clone();
        packed_fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Shared {
            top: Packed::new(top),
            fields: Arc::new(fields),
            packed_fields: Arc::new(packed_fields),
        }
    })
});

fn fields(language: Language) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    );
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_LANGUAGE, pages::tag(language)),
        (CACHE_CONTROL, "no-store"),
        (pages::ANSWER, "search"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    // Neither a stored response nor the origin's: the answer is made here.
    let status = CacheStatus::default().with_detail("search-copy");
    fields.insert(CACHE_STATUS, status.to_value());
    fields
}

fn form(page: &mut String, question: &Question<'_>, said: &Said) {
    write(
        page,
        format_args!(
            "<form role=\"search\" action=\"{}\"><label for=\"q\">{}</label>\
             <input type=\"search\" id=\"q\" name=\"{}\" value=\"{}\" autocomplete=\"off\">",
            escaped(question.path),
            said.label,
            escaped(&question.form.parameter),
            escaped(&question.words)
        ),
    );
    for (name, value) in &question.form.with {
        write(
            page,
            format_args!(
                "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
                escaped(name),
                escaped(value)
            ),
        );
    }
    write(
        page,
        format_args!("<button>{}</button></form>\n", said.button),
    );
}

fn list(page: &mut String, kind: &str, to_list: &ToList<'_>, found: &[Arc<Found>]) {
    write(page, format_args!("<ol class=\"{kind}\">\n"));
    for found in found {
        let lang = if found.language == to_list.language {
            String::new()
        } else {
            format!(" lang=\"{}\"", pages::tag(found.language))
        };
        write(
            page,
            format_args!(
                "<li{lang}><h2><a href=\"{}\">",
                escaped(link(&found.url, to_list.host))
            ),
        );
        marked(page, to_list.query, &found.title);
        page.push_str("</a></h2>");
        if !found.lead.as_str().is_empty() {
            page.push_str("<p>");
            marked(page, to_list.query, &found.lead);
            page.push_str("</p>");
        }
        if let Some(published) = found.published {
            write(
                page,
                format_args!("<time>{}</time>", date::day(published, to_list.language)),
            );
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol>\n");
}

fn ways(page: &mut String, again: &str, listed: &Listed, said: &Said) {
    page.push_str("<nav>\n");
    let mut way = |number: usize, words: &str| {
        write(
            page,
            format_args!(
                "<a href=\"{again}&amp;{PAGE_PARAMETER}={}\">{words}</a>\n",
                number + 1
            ),
        );
    };
    let (at, last) = (listed.at, listed.last);
    if at > 0 {
        way(at - 1, said.previous);
    }
    if at < last {
        way(at + 1, said.next);
    }
    write(
        page,
        format_args!("<a href=\"/\">{}</a>\n</nav>\n", said.front),
    );
    if at == last && listed.found > HITS_MAX {
        write(page, format_args!("<p class=\"soft\">{}</p>\n", said.more));
    }
}

/// The same search, for an attribute.
fn again(question: &Question<'_>) -> String {
    let mut link = escaped(question.path);
    link.push('?');
    for (name, value) in &question.form.with {
        write(
            &mut link,
            format_args!("{}={}&amp;", encoded(name), encoded(value)),
        );
    }
    write(
        &mut link,
        format_args!(
            "{}={}",
            encoded(&question.form.parameter),
            encoded(&question.words)
        ),
    );
    link
}

/// On the host the reader is at, the path is enough, and right behind whatever scheme the reader came by.
fn link<'a>(url: &'a str, host: &str) -> &'a str {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match rest.and_then(|rest| rest.strip_prefix(host)) {
        Some(path) if path.starts_with('/') => path,
        Some("") => "/",
        _ => url,
    }
}

/// Escaped, and the words that were asked for marked.
fn marked(page: &mut String, query: &Query, passage: &Passage) {
    let text = passage.as_str();
    let mut done = 0;
    for at in passage.places_of(query.words()) {
        escape(page, &text[done..at.start]);
        page.push_str("<mark>");
        escape(page, &text[at.clone()]);
        page.push_str("</mark>");
        done = at.end;
    }
    escape(page, &text[done..]);
}

/// In text and in quoted attributes.
fn escape(page: &mut String, text: &str) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        page.push_str(&text[done..at]);
        page.push_str(entity);
        done = at + 1;
    }
    page.push_str(&text[done..]);
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape(&mut escaped, text);
    escaped
}

/// As a form's field in a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            other => write(&mut encoded, format_args!("%{other:02X}")),
        }
    }
    encoded
}

/// A `String` takes everything.
fn write(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).unwrap_or_default();
}

/// The same rules as for the words of our other pages.
struct Said {
    label: &'static str,
    button: &'static str,
    results: &'static str,
    quotes: (&'static str, &'static str),
    empty: &'static str,
    busy: &'static str,
    /// Before the date, when there are results and when there are none.
    copy: &'static str,
    searched: &'static str,
    live: &'static str,
    found: &'static str,
    nothing: &'static str,
    other_words: &'static str,
    newest: &'static str,
    previous: &'static str,
    next: &'static str,
    more: &'static str,
    front: &'static str,
}

fn said(language: Language) -> Said {
    match language {
        Kazakh => Said {
            label: "Іздейтін сөз",
            button: "Іздеу",
            results: "Іздеу нәтижесі:",
            quotes: ("«", "»"),
            empty: "Не іздейсіз?",
            busy: "Сайттың өз іздеуі қазір жауап бере алмайды.",
            copy: "Бұл нәтижелер сайттың сақталған көшірмесінен алынды:",
            searched: "Іздеу сайттың сақталған көшірмесі бойынша жүреді:",
            live: "Сайттың өз іздеуін қайталап көру",
            found: "Табылған беттер:",
            nothing: "Сақталған көшірмеден ештеңе табылмады.",
            other_words: "Сөздің жазылуын тексеріңіз немесе басқа сөзбен іздеп көріңіз.",
            newest: "Соңғы жарияланғандар",
            previous: "Алдыңғы нәтижелер",
            next: "Келесі нәтижелер",
            more: "Алғашқы 100 нәтиже көрсетілді. Іздеуді нақтылау үшін сөз қосыңыз.",
            front: "Басты бетке өту",
        },
        Russian => Said {
            label: "Что искать",
            button: "Найти",
            results: "Результаты поиска:",
            quotes: ("«", "»"),
            empty: "Что ищете?",
            busy: "Поиск на самом сайте сейчас не отвечает.",
            copy: "Эти результаты — из сохранённой копии сайта:",
            searched: "Поиск идёт по сохранённой копии сайта:",
            live: "Попробовать поиск на сайте ещё раз",
            found: "Найдено страниц:",
            nothing: "В сохранённой копии ничего не нашлось.",
            other_words: "Проверьте, нет ли опечатки, или попробуйте другие слова.",
            newest: "Последние публикации",
            previous: "Предыдущие результаты",
            next: "Следующие результаты",
            more: "Показаны первые 100. Добавьте слово, чтобы уточнить поиск.",
            front: "Перейти на главную",
        },
        English => Said {
            label: "Search for",
            button: "Search",
            results: "Search results:",
            quotes: ("“", "”"),
            empty: "What are you looking for?",
            busy: "The site’s own search cannot answer now.",
            copy: "These results are from the copy of this site saved on",
            searched: "This search looks in the copy of the site saved on",
            live: "Try the live search again",
            found: "Pages found:",
            nothing: "Nothing was found in the saved copy.",
            other_words: "Check the spelling, or try other words.",
            newest: "Latest articles",
            previous: "Previous results",
            next: "More results",
            more: "The first 100 are shown. Add a word to narrow the search.",
            front: "Go to the front page",
        },
    }
}

#[cfg(test)]
mod tests {
    use html5gum::{Token, Tokenizer};
    use proptest::prelude::*;

    use std::sync::LazyLock;

    use super::super::form::SearchForm;
    use super::super::text::Stems;
    use super::*;
    use crate::pages::Format;

    /// Terms of one are nothing to another.
    static STEMS: LazyLock<Stems> = LazyLock::new(Stems::default);

    const SAVED: UnixMillis = UnixMillis(1_795_564_800_000);

    fn form() -> SearchForm {
        SearchForm {
            path: "/*".to_owned(),
            parameter: "s".to_owned(),
            with: vec![("option".to_owned(), "com_finder".to_owned())],
        }
    }

    fn found(title: &str, lead: &str) -> Arc<Found> {
        Arc::new(Found {
            url: "https://a.kz/1?x=1&y='\"".into(),
            title: Passage::of(&STEMS, title, Russian),
            lead: Passage::of(&STEMS, lead, Russian),
            language: Russian,
            published: Some(SAVED),
            saved: SAVED,
        })
    }

    fn render(
        words: &str,
        page: usize,
        hits: &Hits,
        newest: &[Arc<Found>],
        language: Language,
    ) -> String {
        let form = form();
        let question = Question {
            form: &form,
            path: "/kk/",
            words: words.to_owned(),
            page,
            live: false,
        };
        let listed = Listed::of(&ToList {
            host: "a.kz",
            language,
            query: &Query::of(&STEMS, words),
            page,
            hits,
            newest,
            saved: SAVED,
            taken_out: 0,
            pages: 1,
            now: SAVED,
        });
        let asker = |packed| Asker {
            language,
            format: Format::Html,
            packed,
        };
        let packed = prebuilt(&question, asker(true), &listed).response();
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        let built = prebuilt(&question, asker(false), &listed);
        let response = built.response();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers()["cache-status"],
            "saqta; detail=search-copy"
        );
        assert_eq!(response.headers()["content-language"], pages::tag(language));
        String::from_utf8(built.body().to_vec()).unwrap()
    }

    fn hits(count: usize, total: usize) -> Hits {
        Hits {
            best: vec![found("Сот", "Шешім"); count],
            total,
        }
    }

    #[test]
    fn the_page_says_what_it_is_and_where_to_go() {
        for (language, busy, date, nothing) in [
            (
                Kazakh,
                "жауап бере алмайды",
                "2026 ж. 25 қараша, 05:00 (Астана уақыты)",
                "табылмады",
            ),
            (
                Russian,
                "не отвечает",
                "25 ноября 2026, 05:00 (время Астаны)",
                "ничего не нашлось",
            ),
            (
                English,
                "cannot answer",
                "25 November 2026, 05:00 (Astana time)",
                "Nothing was found",
            ),
        ] {
            for (words, count) in [("сот", 3), ("сот", 0), ("", 0)] {
                let page = render(
                    words,
                    0,
                    &hits(count, count),
                    &[found("Жаңа", "")],
                    language,
                );
                for expected in [
                    busy,
                    date,
                    "&amp;saqta-live=1\">",
                    "action=\"/kk/\"",
                    "name=\"s\"",
                    "<a href=\"/\">",
                ] {
                    assert!(page.contains(expected), "{expected}: {page}");
                }
                assert_eq!(page.contains(nothing), count == 0 && !words.is_empty());
                assert_eq!(page.contains("Жаңа"), count == 0);
                for other in [
                    "http:",
                    "src=",
                    "@import",
                    "url(",
                    "<script",
                    "noindex",
                    "style=\"",
                    "<form role=\"search\" action=\"//",
                ] {
                    assert!(!page.contains(other), "{other}: {page}");
                }
            }
        }
    }

    #[test]
    fn results_come_in_pages() {
        let table: [(usize, usize, usize, &[&str], usize); 6] = [
            (5, 5, 0, &[], 5),
            (10, 10, 0, &[], 10),
            (11, 11, 0, &["saqta-page=2\""], 10),
            (11, 11, 1, &["saqta-page=1\""], 1),
            (100, 4_000, 4, &["saqta-page=4\"", "saqta-page=6\""], 10),
            (
                100,
                4_000,
                usize::MAX,
                &["saqta-page=9\"", "Показаны первые 100"],
                10,
            ),
        ];
        for (count, total, page, ways, shown) in table {
            let page = render("сот 1", page, &hits(count, total), &[], Russian);
            assert_eq!(
                page.matches("saqta-page").count(),
                ways.iter().filter(|way| way.starts_with("saqta")).count()
            );
            for way in ways {
                assert!(page.contains(way), "{way}: {page}");
            }
            assert_eq!(page.matches("<li>").count(), shown);
            assert!(page.contains(&format!("Найдено страниц: {total}")));
        }
        let page = render("сот 1", 0, &hits(11, 11), &[], Russian);
        assert!(page.contains(
            "href=\"/kk/?option=com_finder&amp;s=%D1%81%D0%BE%D1%82+1&amp;saqta-page=2\""
        ));
    }

    #[test]
    fn the_page_is_small() {
        let page = render("сот", 0, &hits(0, 0), &[], Kazakh);
        assert!(page.len() < 10 * 1024, "{}", page.len());
    }

    #[test]
    fn links_stay_on_the_host() {
        let table = [
            ("https://a.kz/1", "a.kz", "/1"),
            ("http://a.kz/1", "a.kz", "/1"),
            ("https://a.kz", "a.kz", "/"),
            ("https://a.kz:8443/1", "a.kz:8443", "/1"),
            (
                "https://a.kz.evil.example/1",
                "a.kz",
                "https://a.kz.evil.example/1",
            ),
            ("https://b.kz/1", "a.kz", "https://b.kz/1"),
            ("/1", "a.kz", "/1"),
        ];
        for (url, host, expected) in table {
            assert_eq!(link(url, host), expected, "{url} {host}");
        }
    }

    #[test]
    fn the_policy_admits_the_style() {
        use sha2::{Digest, Sha256};
        let mut bytes = Vec::new();
        for group in STYLE_HASH.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = group.iter().fold(0_u32, |bits, letter| {
                let value = match letter {
                    b'A'..=b'Z' => letter - b'A',
                    b'a'..=b'z' => letter - b'a' + 26,
                    b'0'..=b'9' => letter - b'0' + 52,
                    b'+' => 62,
                    _ => 63,
                };
                bits << 6 | u32::from(value)
            }) << (6 * (4 - group.len()));
            bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
        }
        assert_eq!(bytes, Sha256::digest(STYLE.as_bytes()).to_vec());
    }

    proptest! {
        /// Whatever a stranger asks and a CMS calls its pages, the page has the elements and attributes that we gave it.
        #[test]
        fn nothing_gets_out_of_its_place(words in "[<>&\"'/=a-zа-яқ -]{0,60}", title in "[<>&\"'/=a-zа-яқ -]{0,60}") {
            let words = words.trim();
            let many = Hits { best: vec![found(&title, &title); 11], total: 11 };
            let page = render(words, 0, &many, &[], Kazakh);
            let mut text = String::new();
            for Ok(token) in Tokenizer::new(&page) {
                match token {
                    Token::StartTag(tag) => {
                        let name = String::from_utf8(tag.name.to_vec()).unwrap();
                        prop_assert!(
                            ["html", "head", "meta", "title", "link", "style", "body", "main", "form", "label", "input",
                             "button", "h1", "h2", "p", "br", "a", "ol", "li", "mark", "time", "nav"].contains(&name.as_str()),
                            "{}", name
                        );
                        for attribute in tag.attributes.keys() {
                            let attribute = String::from_utf8(attribute.to_vec()).unwrap();
                            prop_assert!(
                                ["lang", "charset", "name", "content", "rel", "href", "class", "role", "action", "for",
                                 "type", "id", "value", "autocomplete"].contains(&attribute.as_str()),
                                "{}", attribute
                            );
                        }
                        if name == "input" && tag.attributes.contains_key(&b"id"[..]) {
                            let value = tag.attributes.get(&b"value"[..]).unwrap();
                            prop_assert_eq!(&value[..], words.as_bytes());
                        }
                    }
                    Token::String(string) => text.push_str(std::str::from_utf8(&string).unwrap()),
                    _ => {}
                }
            }
            prop_assert!(text.contains(&*title) && text.contains(words));
        }
    }
}
