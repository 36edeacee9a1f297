//! What goes over the wire: a person's requests, written without allocation.

use crate::chance::Chance;
use crate::corpus::{self, Client, Grade};
use crate::newsroom::Newsroom;
use crate::origin::Form;
use crate::scenario::{Piece, Template};

/// Somebody with a browser, cookies and a language.
#[derive(Debug, Clone)]
pub(super) struct Person {
    number: usize,
    client: &'static Client,
    cookie: String,
    language: &'static str,
}

const LANGUAGES: [&str; 4] = ["ru", "kk", "ru", "en"];

impl Person {
    pub(super) fn reader(number: usize, chance: &mut Chance) -> Self {
        let clients = corpus::readers();
        Self {
            number,
            client: &clients[chance.below(clients.len())],
            cookie: analytics(chance),
            language: LANGUAGES[chance.below(LANGUAGES.len())],
        }
    }

    pub(super) fn in_app(number: usize, chance: &mut Chance) -> Self {
        Self { client: corpus::in_app(), ..Self::reader(number, chance) }
    }

    pub(super) fn editor() -> Self {
        Self { number: 0, client: &corpus::readers()[0], cookie: String::new(), language: LANGUAGES[0] }
    }

    pub(super) fn attacker(grade: Grade, number: usize, chance: &mut Chance) -> Self {
        match grade.client(chance) {
            None => Self::reader(number, chance),
            Some(client) => Self { number, client, cookie: String::new(), language: "" },
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// `name=value` pairs the server sets replace those of the same name.
    pub(super) fn take_cookies(&mut self, pairs: &str) {
        for pair in pairs.split("; ") {
            let name = pair.split('=').next().unwrap_or_default();
            let mut kept: Vec<&str> = self
                .cookie
                .split("; ")
                .filter(|old| !old.is_empty() && old.split('=').next() != Some(name))
                .collect();
            kept.push(pair);
            self.cookie = kept.join("; ");
        }
    }

    pub(super) fn write_view(&self, out: &mut Vec<u8>, host: &str, path: &str, referer: Option<&str>) {
        self.client.write_get(out, path, host, referer, &self.cookie, self.language);
    }
}

/// What nearly every reader carries, and what must not keep a page out of the cache.
fn analytics(chance: &mut Chance) -> String {
    let mut number = |digits: u32| 10u64.pow(digits - 1) + chance.draw() % (9 * 10u64.pow(digits - 1));
    format!("_ga=GA1.1.{}.{}; _ym_uid={}; _ym_d={}; _ym_isad=2", number(9), number(10), number(18), number(10))
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

fn word(chance: &mut Chance) -> &'static str {
    const WORDS: [&str; 32] = [
        "Алматы", "Астана", "Шымкент", "қала", "мектеп", "су", "жол", "бюджет", "сайлау", "баға", "жаңалық", "спорт",
        "город", "школа", "вода", "дорога", "бюджет", "выборы", "цены", "новости", "погода", "суд", "врач", "завод",
        "city", "school", "water", "road", "budget", "prices", "court", "river",
    ];
    WORDS[chance.below(WORDS.len())]
}

pub(super) fn write_head(out: &mut Vec<u8>, person: &Person, host: &str, path: &str) {
    let at = out.len();
    person.write_view(out, host, path, None);
    // HEAD has a letter more than GET.
    out.splice(at..at + 3, *b"HEAD");
}

pub(super) fn write_post_head(out: &mut Vec<u8>, person: &Person, host: &str, path: &str, body_bytes: usize) {
    let at = out.len();
    person.write_view(out, host, path, None);
    out.splice(at..at + 3, *b"POST");
    out.truncate(out.len() - 2);
    out.extend_from_slice(b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ");
    out.extend_from_slice(body_bytes.to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

pub(super) fn write_post(out: &mut Vec<u8>, person: &Person, host: &str, path: &str, form: &str) {
    write_post_head(out, person, host, path, form.len());
    out.extend_from_slice(form.as_bytes());
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
            articles: newsroom.articles().iter().map(|article| article.path.clone()).collect(),
            sections: newsroom.section_paths(),
        }
    }

    pub(super) fn article(&self, chance: &mut Chance) -> &str {
        chance.pick(&self.articles).map_or("/", String::as_str)
    }

    pub(super) fn fill(&self, template: &Template, counter: u64, chance: &mut Chance, out: &mut String) {
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
                Piece::Section => out.push_str(chance.pick(&self.sections).map_or("/", String::as_str)),
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
