//! Russian words without their endings: Snowball's rules, and what they leave apart.
//!
//! Snowball takes for the end of a verb or of a plural what some nouns end in, and only in some cases of theirs: Казахстан loses its н as
//! "сделан" does, Казахстане keeps it; Токаев loses its -ев as "музеев" does, Токаева keeps it; паводка lost its о before Snowball saw it.
//! What the one form lost, the others lose here. Most words that so become one were one already in the
//! form that Snowball cut.

use rust_stemmers::Stemmer;

/// Before "-ов" and "-ев" behind a consonant: ахмет-ов. With fewer letters roots that have nothing in common meet: гол-ов(а), кор-ов(а),
/// стол-ов(ая), груз-ов(ой).
const SURNAME_CHARS_MIN: usize = 5;

/// What endings of verbs begin with: остановить is not остаться.
const VERBAL: [char; 6] = ['и', 'л', 'н', 'ь', 'ю', 'я'];

/// Of nouns in -н, -на and -л. Soft ones in -нь and -ние never lose their н: with theirs they would meet other words (Казань, "казалось";
/// создание, создать).
const HARD_ENDINGS: [&str; 11] = ["", "а", "у", "ы", "е", "ом", "ой", "ов", "ам", "ами", "ах"];

/// Of nouns in -ль besides: феврале has the ending of журнале.
const SOFT_ENDINGS: [&str; 9] = ["ь", "ью", "я", "ю", "ем", "ей", "ям", "ями", "ях"];

/// `word`: folded.
pub(super) fn stem(snowball: &Stemmer, word: &str) -> String {
    let mut stem = snowball.stem(word).into_owned();
    let mut ending = word.strip_prefix(&*stem).unwrap_or_default();
    if !ending.starts_with(VERBAL)
        && let Some(rest) = without_surname(&stem)
    {
        stem.truncate(rest.len());
        // Султанова comes to where Snowball brings Султанов, and Султан.
        ending = "";
    }
    if let Some(rest) = without_participle(&stem, ending) {
        stem.truncate(rest.len());
    }
    if let Some((rest, last)) = without_fleeting_vowel(&stem) {
        let len = rest.len();
        stem.truncate(len);
        stem.push(last);
    }
    stem
}

/// Токаев, Токаева; Ахметов, Ахметова.
fn without_surname(stem: &str) -> Option<&str> {
    if let Some(rest) = stem.strip_suffix("ев")
        && rest.ends_with(is_vowel)
    {
        return Some(rest);
    }
    let rest = stem
        .strip_suffix("ов")
        .or_else(|| stem.strip_suffix("ев"))?;
    (rest.chars().count() >= SURNAME_CHARS_MIN && rest.contains(is_vowel)).then_some(rest)
}

/// Астана, Астане; Казахстан, Казахстане; журнал, журнале. Snowball leaves the word's first vowel and what is before it alone (план, зал).
fn without_participle<'a>(stem: &'a str, ending: &str) -> Option<&'a str> {
    let rest = stem.strip_suffix(['н', 'л'])?;
    let before = rest.strip_suffix(['а', 'я'])?;
    // нефтяной is an adjective, and its other forms keep their н.
    let is_adjective = stem.ends_with("ян") && ending == "ой";
    let of_noun = HARD_ENDINGS.contains(&ending) && !is_adjective
        || stem.ends_with('л') && SOFT_ENDINGS.contains(&ending);
    (of_noun && before.contains(is_vowel)).then_some(rest)
}

/// паводок, паводка; выборка, выборок; казахстанец, казахстанца.
fn without_fleeting_vowel(stem: &str) -> Option<(&str, char)> {
    let (ends, last) = [("ок", 'к'), ("ек", 'к'), ("ец", 'ц')]
        .into_iter()
        .find(|(end, _)| stem.ends_with(end))?;
    let rest = &stem[..stem.len() - ends.len()];
    (rest.contains(is_vowel) && !rest.ends_with(is_vowel)).then_some((rest, last))
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'а' | 'е' | 'и' | 'о' | 'у' | 'ы' | 'э' | 'ю' | 'я')
}

#[cfg(test)]
mod tests {
    use rust_stemmers::Algorithm;

    use super::*;

    fn stemmed(word: &str) -> String {
        stem(&Stemmer::create(Algorithm::Russian), word)
    }

    #[test]
    fn every_form_of_a_word_has_one_stem() {
        let paradigms = [
            "астана астаны астане астану астаной",
            "казахстан казахстана казахстану казахстаном казахстане",
            "журнал журнала журналу журналом журнале журналы журналов журналам журналами журналах",
            "нефтяной нефтяная нефтяного нефтяных",
            "медаль медали медалью",
            "февраль февраля февралю февралем феврале",
            "фестиваль фестиваля фестивале фестивали фестивалей",
            "токаев токаева токаеву токаевым токаеве токаевой",
            "назарбаев назарбаева назарбаеву назарбаевым назарбаеве",
            "ахметов ахметова ахметову ахметовым ахметове ахметовой ахметовых",
            "бектенов бектенова бектенову бектеновым бектенове",
            "султанов султанова султанову султановым султановой",
            "путин путина путину путиным путине",
            "паводок паводка паводку паводком паводке паводки паводков паводками",
            "рынок рынка рынке рынки рынков",
            "участок участка участке участки участков",
            "восток востока востоке востоком",
            "выборка выборки выборку выборок",
            "казахстанец казахстанца казахстанцу казахстанцы казахстанцев",
            "налоговый налоговая налоговой налоговых",
            "казань казани казанью",
            "компания компании компанию компаний",
        ];
        for paradigm in paradigms {
            let mut forms = paradigm.split_whitespace();
            let root = stemmed(forms.next().unwrap());
            for form in forms {
                assert_eq!(stemmed(form), root, "{form} is not a form of its word");
            }
        }
    }

    #[test]
    fn other_words_stay_other_words() {
        let table = [
            ("план", "плата"),
            ("голову", "гол"),
            ("столовая", "стол"),
            ("казань", "казалось"),
            ("создание", "создать"),
            ("остановить", "остаться"),
            ("урок", "ура"),
            ("срок", "сорок"),
            ("токаева", "ток"),
            ("паводок", "повод"),
            ("выборы", "выборок"),
        ];
        for (one, other) in table {
            assert_ne!(stemmed(one), stemmed(other), "{one} {other}");
        }
    }
}
