//! What goes over the wire: the requests of readers, editors and attackers.

use crate::chance::Chance;
use crate::corpus::{Corpus, Grade, Visitor};
use crate::newsroom::Newsroom;
use crate::origin::{Form, cookies_after};
use crate::scenario::{Piece, Template};
use crate::wire::PseudoFields;

/// What a newsroom's channel opens its links in.
const IN_APP: &str = "telegram-android";
/// As whoever has it solve puzzles leaves it.
const HEADLESS: &str = "headless-chrome";
const EDITOR: &str = "chrome-windows";

/// Somebody with a browser, cookies and a language; the same number is always the same person.
#[derive(Debug, Clone)]
pub(super) struct Person {
    number: usize,
    visitor: Visitor,
}

impl Person {
    pub(super) fn reader(seed: u64, number: usize) -> Self {
        Self {
            number,
            visitor: Corpus::shipped().reader(seed, number as u64),
        }
    }

    /// A library that does not pretend to be a browser.
    pub(super) fn is_crude(&self) -> bool {
        !self.visitor.client.kind().reads()
    }

    /// A reader whose browser is the one inside a messenger.
    pub(super) fn in_app(seed: u64, number: usize) -> Self {
        Self::reader(seed, number).with(IN_APP)
    }

    pub(super) fn with_client(seed: u64, number: usize, client: &str) -> Self {
        Self::reader(seed, number).with(client)
    }

    /// Where a library would show what it is: the browser without a window that does as readers' browsers do.
    pub(super) fn with_browser(self) -> Self {
        if self.is_crude() {
            self.with(HEADLESS)
        } else {
            self
        }
    }

    #[cfg(test)]
    pub(super) fn client_name(&self) -> &'static str {
        self.visitor.client.name()
    }

    pub(super) fn editor(seed: u64, number: usize) -> Self {
        Self::reader(seed, number).with(EDITOR)
    }

    pub(super) fn attacker(seed: u64, grade: Grade, is_http2: bool, number: usize) -> Self {
        Self {
            number,
            visitor: Corpus::shipped().attacker(seed, grade, is_http2, number as u64),
        }
    }

    pub(super) fn pseudo_fields(&self) -> PseudoFields {
        self.visitor.client.pseudo_fields()
    }

    fn with(mut self, client: &str) -> Self {
        if let Some(client) = Corpus::shipped().client(client) {
            self.visitor.client = client;
        }
        self
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Where somebody comes from who was not on the site before.
    pub(super) fn referer(&self, chance: &mut Chance, host: &str) -> Option<String> {
        self.visitor.referer(chance, host)
    }

    pub(super) fn cookies(&self) -> &str {
        self.visitor.cookie.as_deref().unwrap_or_default()
    }

    /// `name=value` pairs that a server has set.
    pub(super) fn take_cookies(&mut self, pairs: &str) {
        let pairs: Vec<&str> = pairs.split("; ").collect();
        let before = self.visitor.cookie.as_deref().unwrap_or_default();
        self.visitor.cookie = Some(cookies_after(before, &pairs));
    }

    pub(super) fn write_view(
        &self,
        out: &mut Vec<u8>,
        host: &str,
        path: &str,
        referer: Option<&str>,
    ) {
        let Visitor {
            client,
            language,
            cookie,
        } = &self.visitor;
        client.write_get(out, path, host, referer, cookie.as_deref(), *language);
    }
}

/// As a reader types it: words of the newsroom's languages, alone or in pairs.
pub(super) fn search_term(chance: &mut Chance) -> String {
    let mut term = word(chance).to_owned();
    if chance.happens(0.5) {
        term.push(' ');
        term.push_str(word(chance));
    }
    term
}

/// Of the titles of [`crate::newsroom`]: who searches a newsroom has read it.
const WORDS: [&str; 32] = [
    "Алматы",
    "Астана",
    "Шымкент",
    "автобус",
    "саябақ",
    "көпір",
    "кітапхана",
    "домбыра",
    "көрме",
    "театр",
    "жәрмеңке",
    "мектеп",
    "маршрут",
    "парк",
    "ремонт",
    "моста",
    "двор",
    "библиотека",
    "выставка",
    "ярмарка",
    "овощи",
    "мастерская",
    "сад",
    "bus",
    "robots",
    "bridge",
    "library",
    "exhibition",
    "theatre",
    "fair",
    "school",
    "garden",
];

fn word(chance: &mut Chance) -> &'static str {
    WORDS[chance.below(WORDS.len())]
}

pub(super) fn write_head(out: &mut Vec<u8>, person: &Person, host: &str, path: &str) {
    let at = out.len();
    person.write_view(out, host, path, None);
    // HEAD has a letter more than GET.
    out.splice(at..at + 3, *b"HEAD");
}

pub(super) fn write_post_head(
    out: &mut Vec<u8>,
    person: &Person,
    host: &str,
    path: &str,
    media_type: &str,
    body_bytes: u64,
) {
    let at = out.len();
    person.write_view(out, host, path, None);
    out.splice(at..at + 3, *b"POST");
    out.truncate(out.len() - 2);
    for part in [
        "Content-Type: ",
        media_type,
        "\r\nContent-Length: ",
        &body_bytes.to_string(),
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

pub(super) fn write_post(out: &mut Vec<u8>, person: &Person, host: &str, path: &str, form: &str) {
    let Visitor {
        client,
        language,
        cookie,
    } = &person.visitor;
    let from = format!("https://{host}{path}");
    let referer = client.kind().reads().then_some(from.as_str());
    client.write_post(
        out,
        path,
        host,
        referer,
        cookie.as_deref(),
        *language,
        form.as_bytes(),
    );
}

/// What a member of staff sends, with the cookies of their session.
pub(super) fn write_form(out: &mut Vec<u8>, person: &Person, host: &str, form: &Form) {
    write_post(out, person, host, &form.target, &form.body);
}

/// What the holes of a scenario's paths are filled with.
pub(super) struct Fill {
    articles: Vec<String>,
    sections: Vec<String>,
}

impl Fill {
    pub(super) fn new(newsroom: &Newsroom) -> Self {
        Self {
            articles: newsroom
                .articles()
                .iter()
                .map(|article| article.path.clone())
                .collect(),
            sections: newsroom.section_paths(),
        }
    }

    pub(super) fn article(&self, chance: &mut Chance) -> &str {
        chance.pick(&self.articles).map_or("/", String::as_str)
    }

    pub(super) fn fill(
        &self,
        template: &Template,
        counter: u64,
        chance: &mut Chance,
        out: &mut String,
    ) {
        for piece in &template.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Counter => out.push_str(&counter.to_string()),
                Piece::Random => letters(chance, out),
                Piece::Term => {
                    for byte in word(chance).bytes() {
                        if byte.is_ascii_alphanumeric() {
                            out.push(char::from(byte));
                        } else {
                            percent(byte, out);
                        }
                    }
                    // No two alike: a term that comes back would be answered from the cache.
                    out.push('+');
                    letters(chance, out);
                }
                Piece::Article => out.push_str(self.article(chance)),
                Piece::OneArticle => {
                    out.push_str(self.articles.first().map_or("/", String::as_str));
                }
                Piece::Section => {
                    out.push_str(chance.pick(&self.sections).map_or("/", String::as_str))
                }
            }
        }
    }
}

fn letters(chance: &mut Chance, out: &mut String) {
    let mut drawn = chance.draw();
    for _ in 0..8 {
        out.push(char::from(b'a' + (drawn % 26) as u8));
        drawn /= 26;
    }
}

fn percent(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::newsroom::Newsroom;

    #[test]
    fn what_readers_look_for_is_in_a_title() {
        let newsroom = Newsroom::new(1);
        let missing: Vec<_> = WORDS
            .iter()
            .filter(|word| {
                let word = word.to_lowercase();
                let is_in = |title: &str| title.to_lowercase().contains(&word);
                !newsroom
                    .articles()
                    .iter()
                    .any(|article| is_in(&article.title))
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
