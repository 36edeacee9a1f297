//! A request that is a search: its words are short and printable, and asking for them again asks for the same.

use saqta_edge::search::{Question, SearchForm, WORDS_CHARS_MAX};

pub fn check(input: &[u8]) {
    let target = String::from_utf8_lossy(input);
    let forms = [
        form("/search", "q", &[]),
        form("/index.php", "q", &[("option", "com_finder")]),
        form("/*", "s", &[]),
    ];
    let Some(question) = Question::of(&forms, &target) else {
        return;
    };
    let words = &question.words;
    assert!(target.starts_with(question.path));
    assert!(words.chars().count() <= WORDS_CHARS_MAX);
    assert!(!words.chars().any(char::is_control) && !words.contains("  "));
    assert_eq!(words.trim(), words);

    let mut query: Vec<String> = question
        .form
        .with
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    query.push(format!("{}={}", question.form.parameter, encoded(words)));
    let again = format!("{}?{}", question.path, query.join("&"));
    let again = Question::of(&forms, &again);
    assert_eq!(again.map(|again| again.words).as_ref(), Some(words));
}

fn form(path: &str, parameter: &str, with: &[(&str, &str)]) -> SearchForm {
    SearchForm {
        path: path.to_owned(),
        parameter: parameter.to_owned(),
        with: with
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn encoded(words: &str) -> String {
    words.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
