//! How the commands look: a word, a subject and a sentence, aligned, folded to 80 columns, with colour only where a person
//! looks and has not asked for none (`NO_COLOR`).

use std::io::IsTerminal;

const COLUMNS: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
}

/// Whether standard output is looked at by somebody who wants colours.
pub(crate) fn coloured() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `word`, then `subject` in its column, then `text` folded under itself.
pub(crate) fn row(word: &str, tone: Tone, subject: &str, text: &str, coloured: bool) -> String {
    const WORD_COLUMNS: usize = 4;
    const SUBJECT_COLUMNS: usize = 15;
    let indent = if word.is_empty() {
        SUBJECT_COLUMNS
    } else {
        WORD_COLUMNS + SUBJECT_COLUMNS
    };
    let word = match (tone, coloured) {
        _ if word.is_empty() => String::new(),
        (Tone::Good, true) => format!("\x1b[32m{word:WORD_COLUMNS$}\x1b[0m"),
        (Tone::Bad, true) => format!("\x1b[1;33m{word:WORD_COLUMNS$}\x1b[0m"),
        _ => format!("{word:WORD_COLUMNS$}"),
    };
    let folded = fold(text, COLUMNS - indent).join(&format!("\n{}", " ".repeat(indent)));
    format!("{word}{subject:SUBJECT_COLUMNS$}{folded}\n")
}

/// A first line and what belongs to it on lines of their own, folded, everything after the first line set in.
pub(crate) fn entry(text: &str) -> String {
    const INDENT: &str = "    ";
    let paragraphs = text
        .split('\n')
        .map(|line| fold(line.trim_start(), COLUMNS - INDENT.len()));
    paragraphs
        .flatten()
        .collect::<Vec<_>>()
        .join(&format!("\n{INDENT}"))
}

/// Lines of at most `columns` characters where the words allow; a line break in the text stays one.
fn fold(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_align_and_fold() {
        assert_eq!(
            row("ok", Tone::Good, "listen", "free", false),
            "ok  listen         free\n"
        );
        assert_eq!(
            row("ok", Tone::Good, "listen", "free", true),
            "\x1b[32mok  \x1b[0mlisten         free\n"
        );
        assert_eq!(
            row("", Tone::Plain, "listen", "a\nb", true),
            "listen         a\n               b\n"
        );
        let long = row("do", Tone::Bad, "listen", &"word ".repeat(40), false);
        assert!(
            long.lines().all(|line| line.chars().count() <= COLUMNS),
            "{long}"
        );
        assert_eq!(entry("f:1: what\n    do this"), "f:1: what\n    do this");
        assert!(
            entry(&"word ".repeat(40))
                .lines()
                .all(|line| line.chars().count() <= COLUMNS)
        );
        assert_eq!(fold("aaa bb c", 6), ["aaa bb", "c"]);
        assert_eq!(fold("unbreakable", 3), ["unbreakable"]);
    }
}
