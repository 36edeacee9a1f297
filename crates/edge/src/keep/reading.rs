//! What a page says, in so far as it is needed to tell a good page from a broken one, and to search in it.

use std::cell::{Cell, RefCell};

use lol_html::html_content::{Element, TextType};
use lol_html::{HtmlRewriter, Settings, doc_text, element, text};

use super::banner::{encoding, language_of};
use crate::known::links;
use crate::plan::Language;

/// A headline has 60 to 120.
pub const TITLE_BYTES_MAX: usize = 512;
/// A long report has 60 KB of text; what comes after this is not searched.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub title: String,
    pub language: Option<Language>,
    /// As shown, blanks joined.
    pub text: String,
    /// Of all text, kept or not.
    pub text_bytes: u32,
    /// It goes as far as `</html>`.
    pub closes: bool,
}

/// Of an HTML page; empty where it cannot be read.
pub fn read(body: &[u8], content_type: &[u8]) -> Reading {
    let title = RefCell::new(String::new());
    let visible = RefCell::new(String::new());
    let language = Cell::new(None);
    let text_bytes = Cell::new(0_usize);
    let root = |tag: &mut Element<'_, '_>| {
        language.set(tag.get_attribute("lang").and_then(|tag| language_of(&tag)));
        Ok(())
    };
    let settings = Settings::new()
        .append_element_content_handler(element!("html", root))
        .append_element_content_handler(text!("head > title", |chunk| {
            push(&mut title.borrow_mut(), chunk.as_str(), TITLE_BYTES_MAX);
            Ok(())
        }))
        .append_document_content_handler(doc_text!(|chunk| {
            if chunk.text_type() == TextType::Data {
                text_bytes.set(text_bytes.get() + chunk.as_str().trim().len());
                push(&mut visible.borrow_mut(), chunk.as_str(), TEXT_BYTES_MAX);
                if chunk.last_in_text_node() {
                    push(&mut visible.borrow_mut(), " ", TEXT_BYTES_MAX);
                }
            }
            Ok(())
        }))
        .with_memory_settings(links::memory())
        .with_adjust_charset_on_meta_tag(true)
        .with_encoding(
            encoding(content_type).unwrap_or_else(lol_html::AsciiCompatibleEncoding::utf_8),
        );
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    if rewriter.write(body).is_ok() {
        _ = rewriter.end();
    }
    let tail = &body[body.len().saturating_sub(1024)..];
    let closes = tail
        .windows(7)
        .any(|window| window.eq_ignore_ascii_case(b"</html>"));
    Reading {
        title: tidy(&title.take()),
        language: language.get(),
        text: tidy(&visible.take()),
        text_bytes: u32::try_from(text_bytes.get()).unwrap_or(u32::MAX),
        closes,
    }
}

/// Character references read, blanks joined.
fn tidy(text: &str) -> String {
    let text = links::decoded(text);
    let mut tidy = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !tidy.is_empty() {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

fn push(text: &mut String, more: &str, bytes_max: usize) {
    let room = bytes_max.saturating_sub(text.len());
    let mut end = room.min(more.len());
    while !more.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(&more[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_is_shown() {
        let page = "<!doctype html><html lang=ru><head><title>Заголовок\n &amp; ещё</title><style>p{}</style></head>\
                    <body><script>var x='no';</script><h1>Слово</h1><p>и  &laquo;дело&raquo;&nbsp;</p></body></html>\n";
        let reading = read(page.as_bytes(), b"text/html; charset=utf-8");
        assert_eq!(reading.title, "Заголовок & ещё");
        assert_eq!(reading.language, Some(Language::Russian));
        assert_eq!(reading.text, "Слово и «дело»");
        assert!(!reading.text.contains("no") && reading.closes);
        assert!(reading.text_bytes > 10);
    }

    #[test]
    fn bounds_hold_at_letters() {
        let long = "ә".repeat(TEXT_BYTES_MAX);
        let page = format!("<head><title>{long}</title></head><body>{long}");
        let reading = read(page.as_bytes(), b"text/html");
        assert!(reading.title.len() <= TITLE_BYTES_MAX && reading.text.len() <= TEXT_BYTES_MAX);
        assert_eq!(reading.text_bytes as usize, 2 * TEXT_BYTES_MAX);
        assert!(!reading.closes);
    }
}
