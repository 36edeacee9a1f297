//! Words and what they are found by.
//!
//! Readers type what they heard, in any form of the word, in either case, with or without ё. So a word is folded (lower case, ё as е,
//! no stress marks, no soft hyphens) and stemmed, and what is left becomes a number, the *term*. Which stemmer is decided by the
//! letters first: Latin letters are English, the letters that only Kazakh has are Kazakh; other Cyrillic words are of the page's language.
//! A query has no page, so such a word is looked up as both, and each page answers in its own language.
//!
//! A term is a hash with a key made at the start: nothing here can be turned back into a word, and strangers cannot aim at collisions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use foldhash::quality::RandomState;
use rust_stemmers::{Algorithm, Stemmer};

use super::{kazakh, russian};
use crate::plan::Language;

/// The longest Kazakh forms in use have about thirty letters; what is longer is not language, and its rest is left out.
const WORD_CHARS_MAX: usize = 40;

/// Of a text's Cyrillic letters, those that only Kazakh has: 14 in a hundred in the Kazakh text of the tests, 2.4 in a Russian one that spells
/// a name the Kazakh way.
const KAZAKH_PERCENT_MIN: usize = 3;

/// Fewer letters than a headline prove nothing against what the page says of itself.
const LETTERS_MIN: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Term(pub(super) u64);

/// What one word of a query may be found by: in most pages at most one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    pub(super) first: Term,
    pub(super) other: Option<Term>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Kazakh,
    Russian,
    English,
    Other,
}

pub(super) struct Stems {
    key: RandomState,
    russian: Stemmer,
    english: Stemmer,
}

impl Default for Stems {
    fn default() -> Self {
        Self {
            key: RandomState::default(),
            russian: Stemmer::create(Algorithm::Russian),
            english: Stemmer::create(Algorithm::English),
        }
    }
}

impl Stems {
    /// Of a word of a page in that language. `word`: folded.
    pub(super) fn of_page(&self, word: &str, language: Language) -> Term {
        let kind = kind(word).unwrap_or(match language {
            Language::Kazakh => Kind::Kazakh,
            Language::Russian | Language::English => Kind::Russian,
        });
        self.term(word, kind)
    }

    /// Of a word of a query. `word`: folded.
    pub(super) fn of_query(&self, word: &str) -> Terms {
        match kind(word) {
            Some(kind) => Terms {
                first: self.term(word, kind),
                other: None,
            },
            None => Terms {
                first: self.term(word, Kind::Russian),
                other: Some(self.term(word, Kind::Kazakh)),
            },
        }
    }

    /// Anything that is looked up again by what it says.
    pub(super) fn hash(&self, value: impl Hash) -> u64 {
        self.key.hash_one(value)
    }

    fn term(&self, word: &str, kind: Kind) -> Term {
        let mut hasher = self.key.build_hasher();
        kind.hash(&mut hasher);
        match kind {
            Kind::Kazakh => {
                let mut word = word.to_owned();
                kazakh::stem(&mut word);
                word.hash(&mut hasher);
            }
            Kind::Russian => russian::stem(&self.russian, word).hash(&mut hasher),
            Kind::English => self.english.stem(word).hash(&mut hasher),
            Kind::Other => word.hash(&mut hasher),
        }
        Term(hasher.finish())
    }
}

/// `None`: Cyrillic, Kazakh or Russian.
fn kind(word: &str) -> Option<Kind> {
    let mut cyrillic = false;
    let mut latin = false;
    for letter in word.chars() {
        if is_kazakh(letter) {
            return Some(Kind::Kazakh);
        }
        cyrillic |= is_cyrillic(letter);
        latin |= letter.is_ascii_alphabetic();
    }
    match (cyrillic, latin) {
        (true, _) => None,
        (false, true) => Some(Kind::English),
        (false, false) => Some(Kind::Other),
    }
}

fn is_cyrillic(letter: char) -> bool {
    matches!(letter, '\u{400}'..='\u{52f}')
}

fn is_kazakh(letter: char) -> bool {
    matches!(
        letter,
        'ә' | 'ғ'
            | 'қ'
            | 'ң'
            | 'ө'
            | 'ұ'
            | 'ү'
            | 'һ'
            | 'і'
            | 'Ә'
            | 'Ғ'
            | 'Қ'
            | 'Ң'
            | 'Ө'
            | 'Ұ'
            | 'Ү'
            | 'Һ'
            | 'І'
    )
}

/// What the letters say, and for a few words what the page says. Themes are often set to one language on sites in two.
pub(super) fn language(text: &str, said: Option<Language>) -> Language {
    let (mut kazakh, mut cyrillic, mut latin) = (0_usize, 0_usize, 0_usize);
    for letter in text.chars() {
        if is_kazakh(letter) {
            kazakh += 1;
            cyrillic += 1;
        } else if is_cyrillic(letter) {
            cyrillic += 1;
        } else if letter.is_ascii_alphabetic() {
            latin += 1;
        }
    }
    let seen = if cyrillic * 2 < latin {
        Language::English
    } else if kazakh * 100 >= cyrillic * KAZAKH_PERCENT_MIN && kazakh > 0 {
        Language::Kazakh
    } else {
        Language::Russian
    };
    match said {
        Some(said) if cyrillic + latin < LETTERS_MIN => said,
        _ => seen,
    }
}

/// What is shown of a page, and where its words stand: to find them anew for each who asks would cost more than finding the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Passage {
    text: Box<str>,
    words: Box<[Place]>,
}

/// Half of a term is enough: a word marked by chance is one in millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    term: u32,
    start: u16,
    end: u16,
}

impl Passage {
    pub(super) fn of(stems: &Stems, text: &str, language: Language) -> Self {
        let mut words = Vec::new();
        each_word(text, |word, at| {
            let place = u16::try_from(at.start).and_then(|start| {
                Ok(Place {
                    term: half(stems.of_page(word, language)),
                    start,
                    end: u16::try_from(at.end)?,
                })
            });
            place.is_ok_and(|place| {
                words.push(place);
                true
            })
        });
        Self {
            text: text.into(),
            words: words.into(),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where words stand that one of these finds.
    pub(super) fn places_of<'a>(
        &'a self,
        terms: &'a [Terms],
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        self.words
            .iter()
            .filter(|place| {
                let is_it = |term: Term| half(term) == place.term;
                terms
                    .iter()
                    .any(|terms| is_it(terms.first) || terms.other.is_some_and(is_it))
            })
            .map(|place| usize::from(place.start)..usize::from(place.end))
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.words)
    }
}

fn half(term: Term) -> u32 {
    term.0 as u32
}

/// Calls `each` with every folded word and where it stands, until it says to stop.
pub(super) fn each_word(text: &str, mut each: impl FnMut(&str, Range<usize>) -> bool) {
    let mut word = String::with_capacity(2 * WORD_CHARS_MAX);
    let mut chars = 0;
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        if letter.is_alphanumeric() {
            if word.is_empty() {
                start = at;
            }
            if chars < WORD_CHARS_MAX {
                fold(letter, &mut word);
                chars += 1;
            }
        } else if !is_silent(letter) && !word.is_empty() {
            if !each(&word, start..at) {
                return;
            }
            word.clear();
            chars = 0;
        }
    }
    if !word.is_empty() {
        each(&word, start..text.len());
    }
}

fn fold(letter: char, word: &mut String) {
    match letter {
        'Ё' | 'ё' => word.push('е'),
        _ => word.extend(letter.to_lowercase()),
    }
}

/// Inside a word and not part of it: soft hyphens, zero-width joiners, stress marks.
fn is_silent(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, Kazakh, Russian};

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        each_word(text, |word, at| {
            assert!(!text[at].is_empty());
            words.push(word.to_owned());
            true
        });
        words
    }

    #[test]
    fn words_are_folded() {
        let table: [(&str, &[&str]); 8] = [
            ("Ёлка, ЕЛКА!", &["елка", "елка"]),
            ("за\u{301}мок", &["замок"]),
            ("прави\u{ad}тельство", &["правительство"]),
            ("Қазақстан–2050", &["қазақстан", "2050"]),
            ("ӘҒҚҢӨҰҮҺІ", &["әғқңөұүһі"]),
            ("AT&T's news", &["at", "t", "s", "news"]),
            ("«… — …»", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), expected, "{text}");
        }
        assert_eq!(words(&"ж".repeat(1000)), ["ж".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn a_query_finds_other_forms_in_pages_of_each_language() {
        let stems = Stems::default();
        let table = [
            ("выборы", "выборов", Russian, true),
            ("выборах", "выборами", Russian, true),
            ("выборы", "выборка", Russian, false),
            ("журналиста", "журналисты", Russian, true),
            ("қалалар", "қаласында", Kazakh, true),
            ("Алматыда", "Алматының", Kazakh, true),
            ("Алматы", "Алматыда", Kazakh, true),
            ("президент", "президентінің", Kazakh, true),
            ("сот", "соттың", Kazakh, true),
            ("кызылорда", "Қызылордада", Kazakh, true),
            ("кызылордада", "Қызылорданың", Kazakh, true),
            ("Кызылорда", "Қызылордада", Russian, true),
            ("Қызылорда", "Кызылордада", Kazakh, true),
            ("казак", "қазақтың", Kazakh, true),
            ("казақ", "қазақ", Kazakh, true),
            ("укимет", "үкіметі", Kazakh, true),
            ("онери", "өнерін", Kazakh, true),
            ("жихан", "жиһанда", Kazakh, true),
            ("казак", "қазақстан", Kazakh, false),
            ("облыс", "облысында", Kazakh, true),
            ("облысы", "облыс", Kazakh, true),
            ("заң", "заңның", Kazakh, true),
            ("кенес", "кеңесінде", Kazakh, true),
            ("орман", "ормандар", Kazakh, true),
            ("Тоқаев", "Тоқаевтың", Kazakh, true),
            ("Назарбаев", "Назарбаевқа", Kazakh, true),
            ("Назарбаевқа", "Назарбаев", Kazakh, true),
            ("Астана", "Астане", Russian, true),
            ("Токаев", "Токаева", Russian, true),
            ("паводок", "паводка", Russian, true),
            ("Казахстан", "Казахстане", Russian, true),
            ("elections", "election", English, true),
            ("attacked", "attacks", Russian, true),
            ("2024", "2024", Kazakh, true),
            ("2024", "2025", Kazakh, false),
        ];
        for (query, in_page, language, found) in table {
            let (query_words, page_words) = (words(query), words(in_page));
            let term = stems.of_page(&page_words[0], language);
            let terms = stems.of_query(&query_words[0]);
            let finds = terms.first == term || terms.other == Some(term);
            assert_eq!(finds, found, "{query} {in_page}");
        }
    }

    #[test]
    fn languages_are_told_by_their_letters() {
        let kazakh = "Алматыда өткен жиында журналистердің құқықтары туралы мәселе көтерілді, қаладағы жағдай талқыланды";
        let russian = "На встрече в Алматы обсудили права журналистов Қазақстан и положение в городе за последние месяцы";
        let english = "A meeting in Almaty discussed the rights of journalists and what has changed in the city this year";
        let table = [
            (kazakh, None, Kazakh),
            (kazakh, Some(Russian), Kazakh),
            (russian, Some(Kazakh), Russian),
            (english, Some(Russian), English),
            ("Сот", Some(Kazakh), Kazakh),
            ("Сот", None, Russian),
            ("", Some(English), English),
            ("", None, Russian),
        ];
        for (text, said, expected) in table {
            assert_eq!(language(text, said), expected, "{text} {said:?}");
        }
    }
}
