//! Is this a page to keep, or the wreck of one?
//!
//! A server in trouble answers 200 more often than one thinks: the database is gone and the theme is still there, PHP died in the middle of
//! the page, an update left "Maintenance" at every address, somebody broke in and every headline is the same. The copy exists for exactly
//! that moment, so it must not learn it. A version is held back when, against the one before, it has collapsed; when it speaks as a
//! broken program speaks; or when many pages changed their titles together.
//!
//! Held back is not refused for ever: a page that says the same for a day means it. Only an error's own words are never kept.

use std::collections::VecDeque;
use std::time::Duration;

use super::reading::Reading;
use crate::clock::UnixMillis;

/// What is still so after this long is meant so: a relaunch, a page cut down on purpose.
pub const MEANT_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Changes closer together than this may be one change.
pub const TOGETHER: Duration = Duration::from_secs(15 * 60);
/// So many pages with new titles, and more than half of all that were looked at, are no editor's work: the busiest newsroom
/// corrects a headline or two in that time.
pub const MANY: usize = 8;
/// Pages that were different and are now called the same, this one included.
pub const SAME_TITLE: usize = 3;
/// Looks remembered a site; refreshes come to 450 in that time at most, and half a minute's worth of them shows it.
const LOOKS_MAX: usize = 256;
/// Text less than a third of what it was.
const COLLAPSE: u32 = 3;
/// Of less text nothing can be said.
const TEXT_BYTES_MIN: u32 = 512;
/// A page that quotes an error in an article has more text around it than this.
const ERROR_PAGE_BYTES_MAX: u32 = 2_000;

/// No article fits into so little HTML.
const BARE_ERROR_BYTES_MAX: usize = 1_000;
/// Headlines are shorter.
const TITLE_BYTES_MAX: usize = 1_024;

/// In the bytes of the page, wherever: no editor writes these.
const WRECKS: [&str; 4] = [
    "<b>Fatal error</b>:",
    "<b>Parse error</b>:",
    "SQLSTATE[",
    "Stack trace:\n#0 ",
];
/// In a title, or as most of what a page says.
const ERRORS: [&str; 16] = [
    "error establishing a database connection",
    "there has been a critical error on this website",
    "briefly unavailable for scheduled maintenance",
    "на сайте возникла критическая ошибка",
    "ошибка установки соединения с базой данных",
    "the website encountered an unexpected error",
    "database error",
    "could not connect to mysql",
    "too many connections",
    "fatal error:",
    "internal server error",
    "bad gateway",
    "gateway time-out",
    "service unavailable",
    "error displaying the error page",
    "uncaught exception",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotGood {
    #[error("its status is not 200")]
    Status,
    #[error("it is coded, or not a kind that is kept")]
    Kind,
    #[error("it says what a broken program says")]
    ErrorText,
    #[error("it ends in the middle")]
    Cut,
    #[error("its title is gone")]
    TitleGone,
    #[error("most of its text is gone")]
    Collapsed,
    #[error("many pages changed together")]
    ManyChanged,
    #[error("where a page was there is something else")]
    OtherKind,
}

/// What is remembered of a version, to compare the next one with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sketch {
    /// A keyed hash; 0: there is none.
    pub title: u64,
    pub text_bytes: u32,
    pub closes: bool,
}

/// By itself and beside the version before. `is_expected`: staff have just written, and what they cut they meant to cut. Nobody means a page
/// that ends in the middle, or is empty.
///
/// # Errors
/// Why it is held back.
pub fn judge(
    reading: &Reading,
    body: &[u8],
    now: &Sketch,
    before: Option<&Sketch>,
    is_expected: bool,
) -> Result<(), NotGood> {
    if speaks_of_errors(reading, body) {
        return Err(NotGood::ErrorText);
    }
    let Some(before) = before else {
        return Ok(());
    };
    if before.closes && !now.closes {
        return Err(NotGood::Cut);
    }
    if before.text_bytes > 0 && now.text_bytes == 0 {
        return Err(NotGood::Collapsed);
    }
    if is_expected {
        return Ok(());
    }
    if before.title != 0 && now.title == 0 {
        return Err(NotGood::TitleGone);
    }
    if before.text_bytes >= TEXT_BYTES_MIN && now.text_bytes < before.text_bytes / COLLAPSE {
        return Err(NotGood::Collapsed);
    }
    Ok(())
}

fn speaks_of_errors(reading: &Reading, body: &[u8]) -> bool {
    is_wrecked(body)
        || names_an_error(&reading.title)
        || reading.text_bytes < ERROR_PAGE_BYTES_MAX && names_an_error(&reading.text)
}

fn is_wrecked(body: &[u8]) -> bool {
    WRECKS
        .iter()
        .any(|words| memchr::memmem::find(body, words.as_bytes()).is_some())
}

fn names_an_error(text: &str) -> bool {
    let text = text.to_lowercase();
    ERRORS.iter().any(|words| text.contains(words))
}

/// A page's bytes alone, for who has no time to read it. What it takes for a wreck nobody keeps, so it misses some rather than take a headline
/// about an error for one: a title has to begin with the error's own words.
pub fn is_error_page(body: &[u8]) -> bool {
    let title = memchr::memmem::find(body, b"<title").and_then(|at| {
        let rest = &body[at..];
        let start = memchr::memchr(b'>', rest)? + 1;
        let end = memchr::memmem::find(rest, b"</title")?;
        rest.get(start..end.min(start + TITLE_BYTES_MAX))
    });
    let is_an_error = |title: &[u8]| {
        let title = String::from_utf8_lossy(title).to_lowercase();
        ERRORS
            .iter()
            .any(|words| title.trim_start().starts_with(words))
    };
    is_wrecked(body)
        || title.is_some_and(is_an_error)
        || body.len() < BARE_ERROR_BYTES_MAX && names_an_error(&String::from_utf8_lossy(body))
}

/// A site's pages of the last minutes, seen together.
#[derive(Debug, Default)]
pub struct Looks(VecDeque<Look>);

#[derive(Debug, Clone, Copy)]
struct Look {
    at: UnixMillis,
    page: u64,
    title: u64,
    changed: bool,
}

impl Looks {
    /// `page`: its name. Counts one look at a page a quarter of an hour, the newest.
    pub fn add(&mut self, page: u64, before: Option<&Sketch>, now: &Sketch, at: UnixMillis) {
        let changed = before.is_some_and(|before| before.title != now.title);
        let old = self.0.iter().position(|look| look.page == page);
        let was_changed = old
            .and_then(|old| self.0.remove(old))
            .is_some_and(|old| old.changed && at.since(old.at) < TOGETHER);
        if self.0.len() == LOOKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Look {
            at,
            page,
            title: now.title,
            changed: changed || was_changed,
        });
    }

    /// Pages that changed together, when they are too many to believe: to be held back, and taken back where they were believed.
    pub fn together(&self, title: u64, at: UnixMillis) -> Vec<u64> {
        let recent = || self.0.iter().filter(|look| at.since(look.at) < TOGETHER);
        let changed: Vec<&Look> = recent().filter(|look| look.changed).collect();
        let same: Vec<u64> = changed
            .iter()
            .filter(|look| look.title == title)
            .map(|look| look.page)
            .collect();
        if same.len() >= SAME_TITLE {
            return same;
        }
        if changed.len() >= MANY && 2 * changed.len() > recent().count() {
            return changed.iter().map(|look| look.page).collect();
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

    fn reading(title: &str, text: &str) -> Reading {
        Reading {
            title: title.to_owned(),
            text: text.to_owned(),
            text_bytes: text.len() as u32,
            ..Reading::default()
        }
    }

    #[test]
    fn wrecks_are_told_from_articles() {
        let article = "A long report. ".repeat(300);
        let quoting = format!("{article} The page said Fatal error: out of memory.");
        let table: [(&str, &str, &str, bool); 7] = [
            ("News", "Short but fine.", "", true),
            ("News", &article, "", true),
            ("How a site broke", &quoting, "", true),
            ("Database Error", "x", "", false),
            ("", "Error establishing a database connection", "", false),
            ("Сайт", "На сайте возникла критическая ошибка.", "", false),
            ("News", &article, "<b>Fatal error</b>:  Uncaught", false),
        ];
        for (title, text, body, good) in table {
            let got = judge(
                &reading(title, text),
                body.as_bytes(),
                &Sketch::default(),
                None,
                true,
            );
            assert_eq!(got.is_ok(), good, "{title} {text:.40}");
            let page = format!("<html><title>{title}</title><p>{text}</p>{body}</html>");
            assert_eq!(!is_error_page(page.as_bytes()), good, "{title} {text:.40}");
        }
    }

    #[test]
    fn a_headline_about_an_error_is_no_error() {
        let article = "A long report. ".repeat(300);
        let table = [
            ("Why the bank answered \"internal server error\"", false),
            ("Bank: bad gateway, again", false),
            (" Database Error", true),
            ("503 Service Unavailable", false),
        ];
        for (title, is_one) in table {
            let page = format!("<html><head><title data-x=1>{title}</title></head><p>{article}");
            assert_eq!(is_error_page(page.as_bytes()), is_one, "{title}");
        }
        for odd in [
            "<title",
            "<title></title",
            "</title><title>",
            "<title</title>",
        ] {
            assert!(!is_error_page(odd.as_bytes()), "{odd}");
        }
    }

    #[test]
    fn a_collapse_is_held_back() {
        let sketch = |title, text_bytes, closes| Sketch {
            title,
            text_bytes,
            closes,
        };
        let before = sketch(7, 9000, true);
        // And whether it is held back although staff have just written.
        let table = [
            (before, sketch(7, 8000, true), Ok(()), false),
            (before, sketch(8, 3001, true), Ok(()), false),
            (
                before,
                sketch(7, 2900, true),
                Err(NotGood::Collapsed),
                false,
            ),
            (before, sketch(7, 0, true), Err(NotGood::Collapsed), true),
            (
                before,
                sketch(0, 9000, true),
                Err(NotGood::TitleGone),
                false,
            ),
            (before, sketch(7, 9000, false), Err(NotGood::Cut), true),
            (sketch(7, 400, false), sketch(7, 10, false), Ok(()), false),
        ];
        for (before, now, expected, whoever_wrote) in table {
            let judged =
                |is_expected| judge(&reading("t", "text"), b"", &now, Some(&before), is_expected);
            assert_eq!(judged(false), expected, "{now:?}");
            let of_staff = if whoever_wrote { expected } else { Ok(()) };
            assert_eq!(judged(true), of_staff, "{now:?}");
        }
    }

    #[test]
    fn many_changes_together_are_noticed_and_an_editors_are_not() {
        let sketch = |title| Sketch {
            title,
            ..Sketch::default()
        };
        // An editor corrects two headlines while forty pages stay as they are.
        let mut looks = Looks::default();
        for page in 0..40 {
            let title = 100 + page + if page < 2 { 1000 } else { 0 };
            looks.add(page, Some(&sketch(100 + page)), &sketch(title), NOW);
            assert!(looks.together(title, NOW).is_empty());
        }
        // One title everywhere.
        let mut looks = Looks::default();
        for page in 0..3 {
            looks.add(page, Some(&sketch(100 + page)), &sketch(5), NOW);
        }
        assert_eq!(looks.together(5, NOW), [0, 1, 2]);
        assert!(looks.together(6, NOW).is_empty());
        assert!(looks.together(5, NOW.plus(TOGETHER)).is_empty());
        // Every title another.
        let mut looks = Looks::default();
        for page in 0..8 {
            assert!(looks.together(200 + page, NOW).is_empty());
            looks.add(page, Some(&sketch(100 + page)), &sketch(200 + page), NOW);
        }
        assert_eq!(looks.together(207, NOW).len(), 8);
        // New pages are no changes.
        let mut looks = Looks::default();
        for page in 0..50 {
            looks.add(page, None, &sketch(5), NOW);
        }
        assert!(looks.together(5, NOW).is_empty());
    }
}
