//! Kazakh words without their endings.
//!
//! A Kazakh noun carries number, owner and case as endings one after another: қала, қалалар, қалаларымыздағы. A reader who
//! types one form means all of them. No library on hand knows the language, so its table of endings stands here: plural, possessive
//! (without the first and second person singular, which news does not speak in and which look like the ends of many roots), case, and
//! the past participle. Each has up to six spellings, by two rules of the language: the vowels of an ending agree with the last vowel of
//! the word, and its first consonant with the word's last letter. Both are checked, so little comes off that is not an ending.
//!
//! Many readers type on a Russian keyboard: `кызылорда`, `казак`. So a word is written with Russian letters first, and its endings come off
//! from what they are then, in pages and queries alike: however it is typed, it has one stem. Two Kazakh words that only such a letter tells
//! apart (тұр, түр) are one word to the search; a table of all words would know better, and there is none.
//!
//! Behind a vowel an ending may begin with the root's own с or н: облыс, облысы is no "облы" with an owner, as қала, қаласы is қала.
//! No list of roots is needed: no root is one consonant and one open vowel (тас, тасы; заң, заңы), few that end in ы or і
//! have a possessive in с, and those by the letter before it (оқушы, оқушысы; облыс, облысы). Behind the other vowels nothing tells
//! (кеңес, кеңесі; мекеме, мекемесі), so the с and н go from the bare word as well, and both meet in one stem.
//!
//! Endings come off until none is left. Some roots lose a piece that only looks like one (Қызылорда: "-да"), but every form of the word
//! loses it, and that is all a search needs: the stem is a key, not a word.
//!
//! The endings and where they stand follow the tables of noun endings in the Polish Wiktionary (*Aneks:Kazachski – końcówki
//! rzeczowników*) and of *Kazakh language* in the English Wikipedia; the tests hold the table to whole paradigms.

/// What an ending may stand behind, as bits of the classes of letters below.
type Behind = u8;

/// Vowels.
const V: Behind = 1;
/// р, й, у: a plural in л, cases in д.
const R: Behind = 2;
/// л: as ж and з, but -мен.
const L: Behind = 4;
/// ж, з
const Z: Behind = 8;
/// м, н, ң
const N: Behind = 16;
/// Voiceless consonants, and those that count as such at the end of a word.
const T: Behind = 32;
/// ы, і: the third person's possessive, behind which the cases have an н of their own.
const I: Behind = 64;

/// The back spelling, in Russian letters; [`front`] makes the other. Longest first: the table is searched in order.
const ENDINGS: &[(&str, Behind)] = &[
    ("ндагы", I),
    ("ымыз", R | L | Z | N | T),
    ("ыныз", R | L | Z | N | T),
    ("дагы", V | R | L | Z | N),
    ("тагы", T),
    ("лар", V | R),
    ("дар", L | Z | N),
    ("тар", T),
    ("мыз", V),
    ("ныз", V),
    ("нын", V | N),
    ("дын", R | L | Z),
    ("тын", T),
    ("нда", I),
    ("дан", V | R | L | Z),
    ("нан", N | I),
    ("тан", T),
    ("ган", V | R | L | Z | N),
    ("кан", T),
    ("сы", V),
    ("ны", V),
    ("ды", R | L | Z | N),
    ("ты", T),
    ("га", V | R | L | Z | N),
    ("ка", T),
    ("на", I),
    ("да", V | R | L | Z | N),
    ("та", T),
    ("ы", R | L | Z | N | T),
    ("н", I),
];

/// The instrumental, which has one spelling for both kinds of vowels.
const NEUTRAL: &[(&str, Behind)] = &[("мен", V | R | L | N), ("бен", Z), ("пен", T)];

/// Ел, іс, су, үй, ай are what news is about; one letter is no root.
const STEM_CHARS_MIN: usize = 2;

/// `word`: lower case. Leaves in it what every form of the word has in common.
pub(super) fn stem(word: &mut String) {
    *word = word.chars().map(typed).collect();
    while let Some(len) = without_ending(word) {
        word.truncate(len);
    }
    without_the_last_vowel(word);
    // журналист, журналистер: one т is written for two, and процесс, процесі one с. Орын lost its н to a look-alike ending, орны must
    // lose it too.
    if ["ст", "сс", "рн", "йн"]
        .iter()
        .any(|end| word.ends_with(end))
    {
        word.pop();
    }
    without_what_looks_owned(word);
    // кітап, кітабы; мемлекеттік, мемлекеттігі.
    if let Some(hard) = match word.chars().next_back() {
        Some('б') => Some('п'),
        Some('г') => Some('к'),
        _ => None,
    } {
        word.pop();
        word.push(hard);
    }
}

/// What is typed for a letter by who has only the Russian ones.
fn typed(letter: char) -> char {
    match letter {
        'ә' => 'а',
        'ғ' => 'г',
        'қ' => 'к',
        'ң' => 'н',
        'ө' => 'о',
        'ұ' | 'ү' => 'у',
        'һ' => 'х',
        'і' => 'и',
        same => same,
    }
}

/// халық, халқы; орын, орны; ауыз, аузы: the vowel is there or not, so it goes from both.
fn without_the_last_vowel(word: &mut String) {
    let mut back = word.chars().rev();
    let (Some(last), Some('ы' | 'и'), Some(before), Some(_)) =
        (back.next(), back.next(), back.next(), back.next())
    else {
        return;
    };
    if matches!(last, 'к' | 'г' | 'н' | 'з' | 'р' | 'л') && class(before) & V == 0 {
        word.pop();
        word.pop();
        word.push(last);
    }
}

/// кеңес, кеңесі; заман, заманы; проект, проектісі: with -сы, -ны and -ты the owned forms lost a letter of the root, so the bare ones must
/// lose it too.
fn without_what_looks_owned(word: &mut String) {
    let Some(last) = word.chars().next_back() else {
        return;
    };
    let rest = &word[..word.len() - last.len_utf8()];
    let looks_owned = match last {
        'с' | 'н' => last_class(rest) & (V | I | R) == V,
        'т' => rest.ends_with('к'),
        _ => false,
    };
    if looks_owned && !is_one_syllable(rest) {
        word.pop();
    }
}

fn is_one_syllable(stem: &str) -> bool {
    stem.chars()
        .filter(|letter| is_vowel(*letter))
        .nth(1)
        .is_none()
}

fn is_vowel(letter: char) -> bool {
    letter == 'у' || class(letter) & V != 0
}

/// Whether a root in ы or і may have a possessive in с: оқушысы, ақысы, қорытындысы, мықтысы, соңғысы. Others (облысы, жұмысы,
/// соғысы) are a root in с.
fn owns_with_s(stem: &str) -> bool {
    let mut back = stem.chars().rev();
    let (_, before, third) = (back.next(), back.next(), back.next());
    let third = third.map_or(0, class);
    match before {
        Some('ш' | 'к' | 'д') => true,
        // "-ғы" makes adjectives behind consonants and loan words end in "нг"; соғыс, шығыс have a vowel there.
        Some('г') => third & V == 0,
        // "-ты" makes adjectives behind voiceless letters, and loan words end in "кт"; айтыс, қатыс, тартыс have another letter.
        Some('т') => third & T != 0,
        _ => false,
    }
}

/// What may stand behind this stem. `ending`: what would be taken off.
fn takes(stem: &str, ending: &str) -> Behind {
    let class = last_class(stem);
    // No root is a consonant and an open vowel: what follows is its own (тас-ы, баға). Nor is it an owner's vowel without a root (дін).
    // What also counts as a consonant (ми, су) may be one.
    if is_one_syllable(stem) {
        return class & !(V | I);
    }
    if ending == "сы" && class & I != 0 && !owns_with_s(stem) {
        return class & !(V | I);
    }
    class
}

fn without_ending(word: &str) -> Option<usize> {
    let both = ENDINGS.iter().map(|ending| (ending, true));
    let neutral = NEUTRAL.iter().map(|ending| (ending, false));
    for ((ending, behind), agrees) in both.chain(neutral) {
        let back = word.strip_suffix(ending).map(|stem| (stem, Vowels::Back));
        let found = back.or_else(|| {
            let stem = agrees.then(|| strip_front(word, ending)).flatten()?;
            Some((stem, Vowels::Front))
        });
        let Some((stem, vowels)) = found else {
            continue;
        };
        if stem.chars().count() < STEM_CHARS_MIN || takes(stem, ending) & behind == 0 {
            continue;
        }
        let harmony = last_vowels(stem);
        // An ending of one letter н has no vowel to agree.
        let agrees = agrees && *ending != "н";
        if harmony == Vowels::None || agrees && harmony != Vowels::Either && harmony != vowels {
            continue;
        }
        return Some(stem.len());
    }
    None
}

fn front(back: char) -> char {
    match back {
        'а' => 'е',
        'ы' => 'и',
        same => same,
    }
}

fn strip_front<'a>(word: &'a str, ending: &str) -> Option<&'a str> {
    let mut rest = word.chars();
    for back in ending.chars().rev() {
        if rest.next_back()? != front(back) {
            return None;
        }
    }
    Some(rest.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Vowels {
    Back,
    Front,
    /// и and у go with both, я and ю are of borrowed words, and who typed а, о, у may have meant ә, ө, ү.
    Either,
    None,
}

fn last_vowels(stem: &str) -> Vowels {
    // Surnames keep their Russian spelling and take endings as they sound: Тоқаевтың, Медведевтің.
    if stem.ends_with("ев") {
        return Vowels::Either;
    }
    stem.chars()
        .rev()
        .find_map(|letter| match letter {
            'ы' => Some(Vowels::Back),
            'е' | 'э' => Some(Vowels::Front),
            'а' | 'о' | 'у' | 'и' | 'я' | 'ю' => Some(Vowels::Either),
            _ => None,
        })
        .unwrap_or(Vowels::None)
}

fn last_class(stem: &str) -> Behind {
    stem.chars()
        .rev()
        .find(|letter| !matches!(letter, 'ь' | 'ъ'))
        .map_or(0, class)
}

fn class(letter: char) -> Behind {
    match letter {
        'ы' => V | I,
        // As і a vowel; такси, такситің is not written: таксидің.
        'и' => V | I | R,
        'а' | 'е' | 'о' | 'э' | 'я' | 'ю' => V,
        'р' | 'й' | 'у' => R,
        'л' => L,
        'ж' | 'з' => Z,
        'м' | 'н' => N,
        'б' | 'в' | 'г' | 'д' | 'к' | 'п' | 'с' | 'т' | 'ф' | 'х' | 'ц' | 'ч' | 'ш' | 'щ' => {
            T
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stemmed(word: &str) -> String {
        let mut word = word.to_owned();
        stem(&mut word);
        word
    }

    #[test]
    fn every_form_of_a_word_has_one_stem() {
        // Singular and plural, owners, cases, as the grammars write them out.
        let paradigms = [
            "қала қалалар қаланың қалаға қаланы қалада қаладан қаламен қаласы қаласына қаласын қаласында қаласынан \
             қаласының қаласымен қалалары қалаларында қалаларымыздағы қаладағы қаласындағы қаламыз",
            "ел елдер елдің елге елді елде елден елмен елі еліне елінің еліміз еліміздің еліміздегі елдегі елдерінде",
            "кітап кітаптар кітаптың кітапқа кітапты кітапта кітаптан кітаппен кітабы кітабын кітаптары кітабымыз",
            "мектеп мектептер мектептің мектепке мектепті мектепте мектептен мектеппен мектебі мектебінде",
            "халық халықтар халықтың халыққа халықты халықтан халықпен халқы халқына халқының халқымыз халқымыздың",
            "президент президенттің президентке президентті президентте президенттен президентпен президенті президентінің",
            "алматы алматыда алматыдан алматыға алматының алматыны алматымен алматыдағы",
            "қызылорда қызылордада қызылордадан қызылордаға қызылорданың қызылордамен",
            "қазақстан қазақстанның қазақстанға қазақстанды қазақстанда қазақстаннан қазақстанмен қазақстандағы",
            "сот соттар соттың сотқа сотты сотта соттан сотпен соты сотында",
            "журналист журналистер журналистің журналистке",
            "сайлау сайлаудың сайлауға сайлауды сайлауда сайлаудан сайлаумен сайлауы сайлауында",
            "тіл тілдер тілдің тілге тілді тілде тілден тілмен тілі тілінде",
            "қыз қыздар қыздың қызға қызды қызда қыздан қызбен",
            "министрлік министрліктер министрліктің министрлікке министрлігі министрлігінің министрлігінде",
            "орын орындар орны орнында орнына",
            "үй үйлер үйдің үйге үйді үйде үйден үймен үйі үйінде",
            "айт айтқан айтты",
            "бер берген берді",
            "кінә кінәсі кінәнің кінәні кінәге",
            "сөз сөздер сөздің сөзге сөзді сөзі сөзінде",
            "облыс облыстар облыстың облысқа облыстағы облысы облысын облысына облысында облысынан облысының облысындағы",
            "жұмыс жұмысы жұмысқа жұмыстар жұмысымыз",
            "соғыс соғысы соғысты соғыста",
            "құрылыс құрылысы құрылысында құрылыстың",
            "дауыс дауысы дауыстар",
            "табыс табысы табысын",
            "жеңіс жеңісі жеңіске",
            "келіс келісі",
            "айтыс айтысы айтыстың",
            "қыс қысы қыста",
            "тыныс тынысы",
            "түс түсі түсінде",
            "іс ісі ісін ісінде істер",
            "ас асы астың",
            "бас басы басында бастар",
            "тас тасы тасын тастың",
            "мас масы",
            "қас қасы қасында",
            "кеңес кеңесі кеңесінде кеңестің кеңеске кеңестер",
            "күрес күресі күресте",
            "процесс процесі процестің процестер",
            "космос космосы космоста",
            "заң заңы заңын заңында заңның заңға заңды заңдар заңдары заңымыз",
            "таң таңы таңда",
            "аң аңы аңдар",
            "шаң шаңы",
            "тең теңі",
            "жең жеңі",
            "кен кені кенін кеннің",
            "дін діні дінін дінде діндер",
            "өзен өзені өзенін өзенінде өзеннің өзенге өзендер",
            "орман орманы орманын орманда ормандар орманның",
            "заман заманы заманында заманымыз",
            "мекен мекені мекендер",
            "неген негені",
            "бекен бекені",
            "чемпион чемпионы чемпиондар",
            "тұрғын тұрғыны тұрғындар",
            "түркістан түркістаны түркістанда",
            "оқушы оқушысы оқушысының оқушылар",
            "зейнетақы зейнетақысы зейнетақыны",
            "қорытынды қорытындысы қорытындылар",
            "проект проектісі проектісінің",
            "баға бағасы бағалар бағаны бағада",
            "мекеме мекемесі мекеменің",
            "дене денесі",
            "тоқаев тоқаевтың тоқаевқа тоқаевты тоқаевпен",
            "назарбаев назарбаевқа назарбаевтың",
            "бектенов бектеновке",
        ];
        for paradigm in paradigms {
            let mut forms = paradigm.split_whitespace();
            let root = stemmed(forms.next().unwrap());
            for form in forms {
                assert_eq!(stemmed(form), root, "{form} is not a form of its word");
                let typed: String = form.chars().map(typed).collect();
                assert_eq!(stemmed(&typed), root, "{form} typed as {typed}");
            }
        }
    }

    #[test]
    fn other_words_stay_other_words() {
        let table = [
            ("қала", "қалам"),
            ("қазақ", "қазақстан"),
            ("ел", "елу"),
            ("тас", "тау"),
            ("алма", "алматы"),
            ("сот", "соттау"),
            ("бала", "балық"),
            ("жер", "жел"),
            ("дауысы", "дау"),
            ("орысы", "орын"),
            ("теңізі", "тең"),
            ("жеңісі", "жең"),
            ("тасы", "таңы"),
            ("басы", "баға"),
            ("қасы", "қан"),
            ("табысы", "тап"),
            ("құрылысы", "құрал"),
            ("акт", "ақ"),
        ];
        for (one, other) in table {
            assert_ne!(stemmed(one), stemmed(other), "{one} {other}");
        }
    }

    #[test]
    fn what_only_looks_like_an_ending_stays() {
        // Wrong vowels, wrong letter before it, or nothing left of the word.
        let table = [
            ("ауылге", "ауылге"),
            ("орта", "орта"),
            ("астана", "астана"),
            ("павлодар", "павлодар"),
            ("дан", "дан"),
            ("да", "да"),
            ("стр", "стр"),
            ("", ""),
        ];
        for (word, expected) in table {
            assert_eq!(stemmed(word), expected);
        }
    }
}
