//! A saved page says that it is one.
//!
//! Yesterday's news presented as today's misleads, so a copy carries the time it is from at the lower edge of the window, in the
//! page's own language, without a script and without asking anybody for anything. What cannot work on a copy is switched off where it stands: a form
//! that would be posted says so and its buttons rest. Of several sizes of an image only one is left, and images that are not kept are not asked for:
//! their words stand in their place.
//!
//! The page is rewritten by `lol_html`, which changes what it was told to and passes every other byte through. A page it cannot read is
//! served as it is: a copy without a mark is worth more to a reader than none, and its fields still say what it is. AMP pages are not
//! touched, because one that is not valid is not shown at all.

use std::cell::{Cell, RefCell};

use encoding_rs::Encoding;
use lol_html::html_content::{ContentType, Element};
use lol_html::{AsciiCompatibleEncoding, HtmlRewriter, Settings, doctype, element, end};

use crate::clock::UnixMillis;
use crate::date;
use crate::known::links;
use crate::plan::Language;

/// Of an HTML page. `is_kept`: may an image with this address be asked for? `None`: not to be marked, or not to be read.
pub fn mark(
    body: &[u8],
    content_type: &[u8],
    saved: UnixMillis,
    site: Language,
    is_kept: &dyn Fn(&str) -> bool,
) -> Option<Vec<u8>> {
    let language = Cell::new(site);
    // A piece of a page, JSON or a feed under a page's type: what a script expects to find as it was.
    let is_page = Cell::new(false);
    let leave_alone = Cell::new(false);
    let marked = Cell::new(false);
    let out = RefCell::new(Vec::with_capacity(body.len() + 1024));
    let root = |tag: &mut Element<'_, '_>| {
        is_page.set(true);
        let is_amp = tag.has_attribute("amp") || tag.has_attribute("⚡");
        leave_alone.set(leave_alone.get() || is_amp);
        if let Some(named) = tag.get_attribute("lang").and_then(|tag| language_of(&tag)) {
            language.set(named);
        }
        Ok(())
    };
    let first = |tag: &mut Element<'_, '_>| {
        is_page.set(true);
        if tag.can_have_content() && !marked.replace(true) {
            tag.prepend(&banner(language.get(), saved), ContentType::Html);
        }
        Ok(())
    };
    let form = |tag: &mut Element<'_, '_>| {
        tag.prepend(
            &format!("<p role=\"note\">{}</p>", not_now(language.get())),
            ContentType::Html,
        );
        Ok(())
    };
    let button = |tag: &mut Element<'_, '_>| {
        tag.set_attribute("disabled", "disabled")
            .map_err(Into::into)
    };
    let sizes = |tag: &mut Element<'_, '_>| {
        tag.remove_attribute("srcset");
        tag.remove_attribute("imagesrcset");
        Ok(())
    };
    // Addresses start somewhere else then, and it is not known what they are.
    let is_moved = Cell::new(false);
    let moves = |_: &mut Element<'_, '_>| {
        is_moved.set(true);
        Ok(())
    };
    let image = |tag: &mut Element<'_, '_>| {
        let src = tag.get_attribute("src").unwrap_or_default();
        if !is_moved.get() && !is_kept(&links::decoded(&src)) {
            tag.remove_attribute("src");
        }
        Ok(())
    };
    let settings = Settings::new()
        .append_element_content_handler(element!("html", root))
        .append_element_content_handler(element!("body", first))
        .append_element_content_handler(element!("form[method=post i]", form))
        .append_element_content_handler(element!(
            "form[method=post i] button, form[method=post i] input[type=submit i], form[method=post i] input[type=image i]",
            button
        ))
        .append_element_content_handler(element!(
            "img[srcset], source[srcset], link[imagesrcset]",
            sizes
        ))
        .append_element_content_handler(element!("base[href]", moves))
        .append_element_content_handler(element!("img[src]", image))
        .append_document_content_handler(doctype!(|_| {
            is_page.set(true);
            Ok(())
        }))
        // A page may leave `<body>` to the browser; then its end is the one place that surely is inside.
        .append_document_content_handler(end!(|end| {
            if !marked.get() && is_page.get() {
                end.append(&banner(language.get(), saved), ContentType::Html);
            }
            Ok(())
        }))
        .with_memory_settings(links::memory())
        .with_adjust_charset_on_meta_tag(true)
        .with_encoding(encoding(content_type)?);
    let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| {
        out.borrow_mut().extend_from_slice(chunk);
    });
    rewriter.write(body).ok()?;
    rewriter.end().ok()?;
    (is_page.get() && !leave_alone.get()).then(|| out.take())
}

/// Of a page as its fields name it; UTF-8 where they name none. `None`: one that our rewriter cannot write.
pub(super) fn encoding(content_type: &[u8]) -> Option<AsciiCompatibleEncoding> {
    let charset = content_type.split(|byte| *byte == b';').find_map(|part| {
        let (name, value) = part.split_at(part.iter().position(|byte| *byte == b'=')?);
        name.trim_ascii()
            .eq_ignore_ascii_case(b"charset")
            .then(|| value[1..].trim_ascii())
    });
    match charset {
        None => Some(AsciiCompatibleEncoding::utf_8()),
        Some(label) => {
            let label = label.strip_prefix(b"\"").unwrap_or(label);
            let label = label.strip_suffix(b"\"").unwrap_or(label);
            AsciiCompatibleEncoding::new(Encoding::for_label_no_replacement(label)?)
        }
    }
}

/// `kk-KZ` is Kazakh.
pub(super) fn language_of(tag: &str) -> Option<Language> {
    let primary = tag.trim().split(['-', '_']).next()?;
    match primary.to_ascii_lowercase().as_str() {
        "kk" | "kz" => Some(Language::Kazakh),
        "ru" => Some(Language::Russian),
        "en" => Some(Language::English),
        _ => None,
    }
}

fn banner(language: Language, saved: UnixMillis) -> String {
    // In front of everything at the lower edge of the window: above, a site's own bar would cover it, and in the page's flow it would be
    // a column of some layouts. Colours of its own; where a policy forbids the style the words still stand.
    const STYLE: &str = "all:initial;display:block!important;position:fixed!important;left:0;right:0;bottom:0;z-index:2147483647;box-sizing:border-box;\
         padding:.6em 1em;background:#fff3c4!important;color:#1f1f1f!important;font:16px/1.4 sans-serif;text-align:center;\
         box-shadow:0 0 .4em rgba(0,0,0,.4)";
    const TIME_STYLE: &str = "all:unset;color:#1f1f1f!important";
    let (date, machine) = (date::with_time(saved, language), date::machine(saved));
    let time = format!("<time datetime=\"{machine}\" style=\"{TIME_STYLE}\">{date}</time>");
    let words = match language {
        Language::Kazakh => format!(
            "Бұл — беттің сақталған көшірмесі: {time}. Қазір сайтқа жету қиын, сондықтан кейінгі өзгерістер көрінбеуі мүмкін."
        ),
        Language::Russian => format!(
            "Это сохранённая копия страницы: {time}. Сейчас до сайта трудно достучаться, поэтому более поздних изменений здесь может не быть."
        ),
        Language::English => format!(
            "This is a saved copy of the page: {time}. The site is hard to reach right now, so later changes may not show here."
        ),
    };
    let tag = match language {
        Language::Kazakh => "kk",
        Language::Russian => "ru",
        Language::English => "en",
    };
    format!("<div role=\"status\" lang=\"{tag}\" dir=\"ltr\" style=\"{STYLE}\">{words}</div>")
}

fn not_now(language: Language) -> &'static str {
    match language {
        Language::Kazakh => "Қазір жіберу мүмкін емес.",
        Language::Russian => "Сейчас отправить нельзя.",
        Language::English => "Sending is not possible now.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, Kazakh, Russian};

    /// 15 June 2025, 15:06:40.
    const SAVED: UnixMillis = UnixMillis(1_750_000_000_000);
    const ALL: fn(&str) -> bool = |_| true;

    fn marked(page: &str) -> Option<String> {
        mark(
            page.as_bytes(),
            b"text/html; charset=utf-8",
            SAVED,
            Kazakh,
            &ALL,
        )
        .map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn the_banner_stands_first_and_speaks_the_pages_language() {
        let table = [
            (
                "<html lang=\"ru-RU\"><body class=x><p>Text</body></html>",
                "<body class=x><div role=\"status\" lang=\"ru\"",
                "сохранённая копия",
            ),
            (
                "<html lang=en><body><p>Text",
                "<body><div role=\"status\" lang=\"en\"",
                "saved copy",
            ),
            (
                "<html><body><p>Text",
                "<body><div role=\"status\" lang=\"kk\"",
                "сақталған",
            ),
            (
                "<html lang=de><head></head><BODY>x",
                "<BODY><div role=\"status\" lang=\"kk\"",
                "сақталған",
            ),
            (
                "<!doctype html><title>t</title><p>no body tag",
                "<p>no body tag<div role=\"status\"",
                "2025 ж. 15 маусым, 20:06 (Астана уақыты)",
            ),
        ];
        for (page, start, words) in table {
            let out = marked(page).unwrap();
            assert!(out.contains(start) && out.contains(words), "{out}");
            assert!(out.contains("datetime=\"2025-06-15T15:06Z\""), "{out}");
            assert_eq!(out.matches("role=\"status\"").count(), 1);
        }
    }

    #[test]
    fn it_asks_for_nothing_and_leaves_the_rest_as_it_was() {
        let page = "<html lang=en><head><script>if(a<b){}</script></head><body><p class='x'  id=y>T&eacute;xt &amp; <b>more</body></html>";
        let out = marked(page).unwrap();
        let (start, end) = (
            out.find("<div role").unwrap(),
            out.find("</div>").unwrap() + 6,
        );
        let added = &out[start..end];
        assert_eq!(out.replacen(added, "", 1), page);
        for other in ["http", "//", "src", "url(", "<script", "href"] {
            assert!(!added.contains(other), "{other}");
        }
    }

    #[test]
    fn posting_is_switched_off_and_reading_is_not() {
        let out = marked(
            "<html lang=en><body><form method=POST action=/c><input name=a><button>Send</button><input type=submit></form>\
             <form action=/search><button>Find</button></form><img src=/a.jpg srcset='/b.jpg 2x'>",
        )
        .unwrap();
        assert_eq!(out.matches("Sending is not possible now.").count(), 1);
        assert!(out.contains("<button disabled=\"disabled\">Send"));
        assert!(out.contains("<input type=submit disabled=\"disabled\">"));
        assert!(out.contains("<button>Find"));
        assert!(
            out.contains("<img src=/a.jpg>") || out.contains("<img src=/a.jpg >"),
            "{out}"
        );
    }

    #[test]
    fn amp_pages_are_left_alone() {
        assert_eq!(marked("<html amp lang=en><body>x"), None);
        assert_eq!(marked("<html ⚡ lang=en><body>x"), None);
    }

    #[test]
    fn what_is_no_page_is_left_as_it_was() {
        for body in [
            "{\"title\":\"<b>x</b>\"}",
            "<?xml version=\"1.0\"?><rss><channel><title>T</title></channel></rss>",
            "<li><a href=/a>more</a></li>",
            "",
        ] {
            assert_eq!(marked(body), None, "{body}");
        }
    }

    #[test]
    fn an_older_encoding_is_kept() {
        let page = b"<html lang=ru><body>\xcf\xf0\xe8\xe2\xe5\xf2".as_slice();
        let out = mark(
            page,
            b"text/html; charset=windows-1251",
            SAVED,
            English,
            &ALL,
        )
        .unwrap();
        let (text, _, broken) = encoding_rs::WINDOWS_1251.decode(&out);
        assert!(
            !broken && text.contains("Привет") && text.contains("сохранённая копия"),
            "{text}"
        );
        // Letters the encoding does not have are written as references.
        let out = mark(
            b"<html lang=kk><body>x",
            b"text/html; charset=windows-1251",
            SAVED,
            Russian,
            &ALL,
        )
        .unwrap();
        let (text, ..) = encoding_rs::WINDOWS_1251.decode(&out);
        assert!(text.contains("&#1201;"), "{text}");
        assert_eq!(
            mark(page, b"text/html; charset=utf-16", SAVED, English, &ALL),
            None
        );
        assert_eq!(
            mark(page, b"text/html; charset=none-such", SAVED, English, &ALL),
            None
        );
    }
}
