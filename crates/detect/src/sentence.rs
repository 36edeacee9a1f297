//! A signature as a sentence, in the languages of the newsrooms it protects.

use crate::engine::Trigger;
use crate::look::Attribute;
use crate::signature::{Predicate, Signature, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Kazakh,
    Russian,
    English,
}

impl Language {
    /// Of what is said in Kazakh, Russian and English.
    pub fn pick<T>(self, [kazakh, russian, english]: [T; 3]) -> T {
        match self {
            Self::Kazakh => kazakh,
            Self::Russian => russian,
            Self::English => english,
        }
    }
}

/// Longer values are cut for reading: browsers' names differ at their end, which is about here.
const VALUE_CHARS_MAX: usize = 140;

/// What the attack has in common and how many ordinary requests have it too.
pub fn sentence(signature: &Signature, language: Language) -> String {
    let conditions: Vec<String> = signature
        .rule
        .iter()
        .map(|predicate| condition(predicate, language))
        .collect();
    let conditions = conditions.join(", ");
    let attack = number(signature.attack_share, language);
    let ordinary = number(signature.baseline_share_upper, language);
    match language {
        Language::English => {
            format!(
                "{attack} % of the attack and at most {ordinary} % of ordinary requests: {conditions}"
            )
        }
        Language::Russian => {
            format!("{attack} % атаки и не более {ordinary} % обычных запросов: {conditions}")
        }
        // The word takes the ending that a sign could not.
        Language::Kazakh => {
            format!(
                "Шабуылдың {attack} пайызына, ал әдеттегі сұраулардың көп дегенде {ordinary} пайызына ортақ: {conditions}"
            )
        }
    }
}

/// What raised the alarm.
pub fn trigger(trigger: Trigger, language: Language) -> &'static str {
    language.pick(match trigger {
        Trigger::Load => [
            "сұраулар әдеттегіден көп",
            "запросов больше обычного",
            "more requests than usual",
        ],
        Trigger::Sensitive => [
            "сайтқа кіру мен пікір жазу әрекеттері әдеттегіден көп",
            "попыток войти и оставить комментарий больше обычного",
            "more tries at logins and comments than usual",
        ],
        Trigger::Demand => [
            "сервер көтере алмайтындай көп",
            "больше, чем выдерживает сервер",
            "more than its server can do",
        ],
    })
}

/// Why an incident has no rule.
pub fn no_rule(verdict: Verdict, language: Language) -> &'static str {
    language.pick(match verdict {
        Verdict::Generated => [
            "табылған ереже енді қажет емес",
            "найденное правило больше не нужно",
            "one was found and is no longer needed",
        ],
        Verdict::TooLittleBaseline => [
            "салыстыруға әдеттегі сұраулар тым аз болды",
            "обычных запросов было слишком мало для сравнения",
            "too few ordinary requests came before to compare with",
        ],
        Verdict::NothingSignificant => [
            "бұл сұрауларды қалғандарынан ажырататын ортақ белгі жоқ",
            "у этих запросов нет ничего общего, чего не было бы у остальных",
            "these requests have nothing in common that others have not",
        ],
        Verdict::NoRuleUnderTheGate => [
            "бұл сұраулардың ортақ белгілері оқырмандарда да бар",
            "всё общее у этих запросов есть и у читателей",
            "readers share what these requests have in common",
        ],
        Verdict::CopiesAnswer => [
            "кэші бар сервер оларға беттердің көшірмесімен жауап береді",
            "сервер с кэшем отвечает на них копиями страниц",
            "a server with a cache answers them from copies of pages",
        ],
        Verdict::NobodyKnown => [
            "мұнда оқырманды ажырату мүмкін емес (суреттер мен стильдер сұралмайды), ал көпшілігі оқырманша бір-екі рет қана келеді",
            "читателя здесь не отличить (картинок и стилей никто не запрашивает), а большинство приходит раз-другой, как читатели",
            "nobody here can be told to be a reader (no pictures or style sheets are asked for), and most come once or twice, as readers do",
        ],
    })
}

/// A share in per cent.
fn number(share: f64, language: Language) -> String {
    let share = share * 100.0;
    let digits = if share >= 10.0 { 0 } else { 2 };
    let text = format!("{share:.digits$}");
    match language {
        Language::English => text,
        Language::Russian | Language::Kazakh => text.replace('.', ","),
    }
}

fn condition(predicate: &Predicate, language: Language) -> String {
    if predicate.value.is_empty() {
        return language.pick(absence(predicate.attribute)).to_owned();
    }
    let noun = language.pick(noun(predicate.attribute));
    let mut value: String = predicate.value.chars().take(VALUE_CHARS_MAX).collect();
    if value.len() < predicate.value.len() {
        value.push('…');
    }
    // A stranger's words are marked as such, or they could pass for ours.
    let (open, close) = match language {
        Language::English => ('“', '”'),
        Language::Russian | Language::Kazakh => ('«', '»'),
    };
    format!("{noun} {open}{}{close}", shown(&value))
}

/// Strangers' words on a screen: what would steer a terminal or turn letters round is written out.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' | '\\' => out.push(letter),
            letter => out.extend(letter.escape_debug()),
        }
    }
    out
}

/// Stands before a value in quotes, which takes no ending in any of the three.
fn noun(attribute: Attribute) -> [&'static str; 3] {
    match attribute {
        Attribute::Method => ["HTTP әдісі", "метод HTTP", "method"],
        Attribute::Shape => ["бет түрі", "вид страницы", "kind of page"],
        Attribute::Section => ["бөлім", "раздел", "section"],
        Attribute::Path => ["URL жолы", "путь", "path"],
        Attribute::Keys => ["параметрлер", "параметры", "parameters"],
        Attribute::Value => ["параметр", "параметр", "parameter"],
        Attribute::Agent => [
            "бағдарлама (User-Agent)",
            "программа (User-Agent)",
            "program (User-Agent)",
        ],
        Attribute::AgentFamily => [
            "бағдарламалар тобы (User-Agent)",
            "семейство программ (User-Agent)",
            "family of programs (User-Agent)",
        ],
        Attribute::RefererHost => [
            "сілтеме берген сайт (Referer)",
            "источник перехода (Referer)",
            "from site (Referer)",
        ],
        Attribute::Version => ["HTTP нұсқасы", "версия HTTP", "HTTP version"],
        Attribute::Accept => ["Accept", "Accept", "Accept"],
        Attribute::AcceptLanguage => ["Accept-Language", "Accept-Language", "Accept-Language"],
        Attribute::AcceptEncoding => ["Accept-Encoding", "Accept-Encoding", "Accept-Encoding"],
        Attribute::FieldNames => ["сұрау өрістері", "поля запроса", "header fields"],
        Attribute::FieldOrder => ["өрістердің реті", "порядок полей", "order of fields"],
        Attribute::Network => ["желі", "сеть", "network"],
        Attribute::Asn => ["автономды жүйе", "автономная система", "autonomous system"],
        Attribute::Country => ["ел", "страна", "country"],
    }
}

/// Where a request has none of it.
fn absence(attribute: Attribute) -> [&'static str; 3] {
    match attribute {
        Attribute::Method => ["HTTP әдісі жоқ", "метода HTTP нет", "no method"],
        Attribute::Shape => [
            "бет түрі белгісіз",
            "вид страницы неизвестен",
            "no kind of page",
        ],
        Attribute::Section => [
            "бөлімсіз (басты бет)",
            "без раздела (главная страница)",
            "no section (front page)",
        ],
        Attribute::Path => ["URL жолы жоқ", "пути нет", "no path"],
        Attribute::Keys | Attribute::Value => ["параметрсіз", "без параметров", "no parameters"],
        Attribute::Agent | Attribute::AgentFamily => [
            "бағдарлама аталмаған (User-Agent жоқ)",
            "программа не названа (нет User-Agent)",
            "no program named (User-Agent)",
        ],
        Attribute::RefererHost => [
            "сілтеме берген сайт аталмаған (Referer жоқ)",
            "без источника перехода (нет Referer)",
            "from no site (Referer)",
        ],
        Attribute::Version => [
            "HTTP нұсқасы көрсетілмеген",
            "версия HTTP не указана",
            "no HTTP version",
        ],
        Attribute::Accept => ["Accept жоқ", "нет Accept", "no Accept"],
        Attribute::AcceptLanguage => [
            "Accept-Language жоқ",
            "нет Accept-Language",
            "no Accept-Language",
        ],
        Attribute::AcceptEncoding => [
            "Accept-Encoding жоқ",
            "нет Accept-Encoding",
            "no Accept-Encoding",
        ],
        Attribute::FieldNames | Attribute::FieldOrder => [
            "сұрауда өріс жоқ",
            "в запросе нет полей",
            "no header fields",
        ],
        Attribute::Network => ["желісі белгісіз", "сеть неизвестна", "no network known"],
        Attribute::Asn => [
            "автономды жүйесі белгісіз",
            "автономная система неизвестна",
            "no autonomous system known",
        ],
        Attribute::Country => ["елі белгісіз", "страна неизвестна", "no country known"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::tests::reader;

    #[test]
    fn an_attack_is_said_in_three_languages() {
        let look = reader(0x0a00_0001, "/?s=1");
        let predicate = |attribute, value: &str| Predicate {
            attribute,
            token: look.token(attribute),
            value: value.to_owned(),
        };
        let signature = Signature {
            rule: vec![
                predicate(Attribute::Method, "POST"),
                predicate(Attribute::Agent, ""),
            ],
            attack_share: 0.994,
            baseline_share: 0.0,
            baseline_share_upper: 0.0012,
            confidence: 0.99,
        };
        for (language, expected) in [
            (
                Language::English,
                "99 % of the attack and at most 0.12 % of ordinary requests: method “POST”, no program named (User-Agent)",
            ),
            (
                Language::Russian,
                "99 % атаки и не более 0,12 % обычных запросов: метод HTTP «POST», программа не названа (нет User-Agent)",
            ),
            (
                Language::Kazakh,
                "Шабуылдың 99 пайызына, ал әдеттегі сұраулардың көп дегенде 0,12 пайызына ортақ: HTTP әдісі «POST», бағдарлама аталмаған (User-Agent жоқ)",
            ),
        ] {
            assert_eq!(sentence(&signature, language), expected);
        }
    }

    #[test]
    fn a_strangers_words_steer_nothing() {
        for (text, expected) in [
            ("Mozilla/5.0 \"x\" \\ қала", "Mozilla/5.0 \"x\" \\ қала"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\u{202e}b\u{9b}", "a\\u{202e}b\\u{9b}"),
            ("two\nlines", "two\\nlines"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
