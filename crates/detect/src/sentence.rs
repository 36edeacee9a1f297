//! A signature as a sentence, in the languages of the newsrooms it protects.

use crate::look::Attribute;
use crate::signature::{Predicate, Signature};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Kazakh,
    Russian,
    English,
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
    let attack = percent(signature.attack_share, language);
    let ordinary = percent(signature.baseline_share_upper, language);
    match language {
        Language::English => {
            format!(
                "{attack} of the attack and at most {ordinary} of ordinary requests: {conditions}"
            )
        }
        Language::Russian => {
            format!("{attack} атаки и не более {ordinary} обычных запросов: {conditions}")
        }
        Language::Kazakh => {
            format!("шабуылдың {attack} және әдеттегі сұраулардың ең көбі {ordinary}: {conditions}")
        }
    }
}

fn percent(share: f64, language: Language) -> String {
    let share = share * 100.0;
    let digits = if share >= 10.0 { 0 } else { 2 };
    let text = format!("{share:.digits$} %");
    match language {
        Language::English => text,
        Language::Russian | Language::Kazakh => text.replace('.', ","),
    }
}

fn condition(predicate: &Predicate, language: Language) -> String {
    let [kazakh, russian, english] = noun(predicate.attribute);
    let (noun, absent) = match language {
        Language::Kazakh => (kazakh, "жоқ"),
        Language::Russian => (russian, "нет"),
        Language::English => (english, "absent"),
    };
    if predicate.value.is_empty() {
        return format!("{noun}: {absent}");
    }
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

fn noun(attribute: Attribute) -> [&'static str; 3] {
    match attribute {
        Attribute::Method => ["әдіс", "метод", "method"],
        Attribute::Shape => ["бет түрі", "вид страницы", "kind of page"],
        Attribute::Section => ["бөлім", "раздел", "section"],
        Attribute::Path => ["жол", "путь", "path"],
        Attribute::Keys => ["параметрлер", "параметры", "parameters"],
        Attribute::Value => ["параметр мәні", "значение параметра", "parameter"],
        Attribute::Agent => [
            "бағдарлама (User-Agent)",
            "программа (User-Agent)",
            "program (User-Agent)",
        ],
        Attribute::AgentFamily => [
            "бағдарлама тегі (User-Agent)",
            "семейство программ (User-Agent)",
            "family of programs (User-Agent)",
        ],
        Attribute::RefererHost => [
            "қай сайттан (Referer)",
            "с сайта (Referer)",
            "from site (Referer)",
        ],
        Attribute::Version => ["HTTP нұсқасы", "версия HTTP", "HTTP version"],
        Attribute::Accept => ["Accept", "Accept", "Accept"],
        Attribute::AcceptLanguage => ["Accept-Language", "Accept-Language", "Accept-Language"],
        Attribute::AcceptEncoding => ["Accept-Encoding", "Accept-Encoding", "Accept-Encoding"],
        Attribute::FieldNames => ["тақырып өрістері", "поля заголовка", "header fields"],
        Attribute::FieldOrder => ["өрістер реті", "порядок полей", "order of fields"],
        Attribute::Network => ["желі", "сеть", "network"],
        Attribute::Asn => ["автономды жүйе", "автономная система", "autonomous system"],
        Attribute::Country => ["ел", "страна", "country"],
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
                "99 % of the attack and at most 0.12 % of ordinary requests: method “POST”, program (User-Agent): absent",
            ),
            (
                Language::Russian,
                "99 % атаки и не более 0,12 % обычных запросов: метод «POST», программа (User-Agent): нет",
            ),
            (
                Language::Kazakh,
                "шабуылдың 99 % және әдеттегі сұраулардың ең көбі 0,12 %: әдіс «POST», бағдарлама (User-Agent): жоқ",
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
