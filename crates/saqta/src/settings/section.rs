//! One table of the file, read key by key.
//!
//! Taking a key checks the kind of its value and nothing else; what is left when all keys are taken is unknown. A key that was
//! mistyped is answered with the one that was probably meant, a key in the wrong section with the section it belongs to.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Texts, Written};
use crate::duration;
use crate::problem::{Place, Problems};

/// Byte offsets to line numbers.
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        Place::Line(self.starts.partition_point(|start| *start <= offset).max(1))
    }
}

pub(super) struct Section<'a, 'i> {
    /// As a sentence can name it: `[limits]`.
    name: &'static str,
    known: &'static [&'static str],
    table: DeTable<'i>,
    lines: &'a Lines,
    problems: &'a mut Problems,
    /// Keys that were written and not understood: a problem each, so that nobody need be told that they are missing.
    misread: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(
        name: &'static str,
        known: &'static [&'static str],
        table: DeTable<'i>,
        lines: &'a Lines,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            name,
            known,
            table,
            lines,
            problems,
            misread: Vec::new(),
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Written<String>> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::String(text) => Some(self.written(text.into_owned(), span)),
            other => self.wrong_kind(
                key,
                &span,
                &other,
                format!("{key} = \"{}\"", plain(&other).unwrap_or("…")),
            ),
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Option<Texts> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::String(text) => {
                let text = self.written(text.into_owned(), span.clone());
                Some(self.written(vec![text], span))
            }
            DeValue::Array(list) => {
                let mut texts = Vec::with_capacity(list.len());
                for item in list {
                    let item_span = item.span();
                    match item.into_inner() {
                        DeValue::String(text) => {
                            texts.push(self.written(text.into_owned(), item_span))
                        }
                        other => {
                            let remedy = format!("\"…\"{SEE_EXAMPLE}");
                            self.wrong_kind::<()>(key, &item_span, &other, remedy);
                        }
                    }
                }
                Some(self.written(texts, span))
            }
            other => self.wrong_kind(key, &span, &other, format!("{key} = [\"…\"]{SEE_EXAMPLE}")),
        }
    }

    pub(super) fn whole_number(&mut self, key: &'static str) -> Option<Written<i64>> {
        let (value, span) = self.take(key)?;
        match &value {
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) => Some(self.written(number, span)),
                    Err(_) => self.fault(
                        &span,
                        format!("`{key}` is too large to count"),
                        format!("write fewer digits after {key} ="),
                    ),
                }
            }
            other => {
                let digits = plain(other)
                    .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                    .unwrap_or("a whole number");
                let remedy = format!("{key} = {digits}");
                self.wrong_kind(key, &span, other, remedy)
            }
        }
    }

    pub(super) fn switch(&mut self, key: &'static str) -> Option<Written<bool>> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::Boolean(on) => Some(self.written(on, span)),
            other => self.wrong_kind(
                key,
                &span,
                &other,
                format!("{key} = true, or {key} = false"),
            ),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Written<Duration>> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::String(text) => match duration::parse(&text) {
                Ok(duration) => Some(self.written(duration, span)),
                Err(how) => self.fault(
                    &span,
                    format!("`{key}` is {text:?}, which is not a span of time"),
                    how,
                ),
            },
            other => self.wrong_kind(
                key,
                &span,
                &other,
                format!("{key} = \"{}s\"", plain(&other).unwrap_or("30")),
            ),
        }
    }

    pub(super) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        known: &'static [&'static str],
    ) -> Option<(Place, Section<'_, 'i>)> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::Table(table) => Some((
                self.lines.place(span.start),
                Section::new(name, known, table, self.lines, self.problems),
            )),
            other => self.wrong_kind(
                key,
                &span,
                &other,
                format!("a section: {name} on a line of its own"),
            ),
        }
    }

    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        name: &'static str,
        known: &'static [&'static str],
        mut read: impl FnMut(Place, Section<'_, 'i>) -> T,
    ) -> Vec<T> {
        let Some((value, span)) = self.take(key) else {
            return Vec::new();
        };
        let items = match value {
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| (item.span(), item.into_inner()))
                .collect(),
            table @ DeValue::Table(_) => {
                // `[site]` for `[[site]]`: the meaning is plain, but a second one would be a syntax error, so it is said now.
                self.fault::<()>(
                    &span,
                    format!("`[{key}]` has single brackets"),
                    format!("write {name}: there may be several"),
                );
                vec![(span, table)]
            }
            other => {
                self.wrong_kind::<()>(
                    key,
                    &span,
                    &other,
                    format!("a section: {name} on a line of its own"),
                );
                Vec::new()
            }
        };
        let mut read_tables = Vec::with_capacity(items.len());
        for (span, item) in items {
            match item {
                DeValue::Table(table) => {
                    let place = self.lines.place(span.start);
                    read_tables.push(read(
                        place,
                        Section::new(name, known, table, self.lines, self.problems),
                    ));
                }
                other => {
                    self.wrong_kind::<()>(
                        key,
                        &span,
                        &other,
                        format!("a section: {name} on a line of its own"),
                    );
                }
            }
        }
        read_tables
    }

    /// Whatever was not taken is unknown. `sections`: all of them with their keys. Gives the keys that are meant by what is a problem.
    pub(super) fn finish(
        mut self,
        sections: &[(&'static str, &'static [&'static str])],
    ) -> Vec<&'static str> {
        for key in self.table.keys() {
            let place = self.lines.place(key.span().start);
            let key = key.get_ref().as_ref();
            let elsewhere = sections
                .iter()
                .find(|(name, keys)| *name != self.name && keys.contains(&key));
            let meant = nearest(key, self.known);
            if elsewhere.is_none() {
                self.misread.extend(meant);
            }
            let remedy = match (meant, elsewhere, elsewhere_called(key)) {
                (_, Some((section, _)), _) => {
                    format!("`{key}` belongs to {section}; move it there")
                }
                (Some(meant), _, _) => format!("did you mean `{meant}`?"),
                (None, _, Some(ours)) => format!("did you mean {ours}?"),
                (None, _, None) => format!(
                    "take it out; {} knows: {}",
                    self.name,
                    self.known.join(", ")
                ),
            };
            self.problems.add(
                place,
                format!("`{}` is not a setting of {}", shown(key), self.name),
                remedy,
            );
        }
        self.misread
    }

    fn take(&mut self, key: &'static str) -> Option<(DeValue<'i>, Range<usize>)> {
        debug_assert!(
            self.known.contains(&key),
            "{key} is read but not among the known keys of {}",
            self.name
        );
        let value: Spanned<DeValue<'i>> = self.table.remove(key)?;
        let span = value.span();
        Some((value.into_inner(), span))
    }

    fn written<T>(&self, value: T, span: Range<usize>) -> Written<T> {
        Written {
            value,
            place: self.lines.place(span.start),
        }
    }

    fn wrong_kind<T>(
        &mut self,
        key: &'static str,
        span: &Range<usize>,
        value: &DeValue<'_>,
        right: impl Display,
    ) -> Option<T> {
        let kind = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.misread.push(key);
        self.fault(
            span,
            format!("`{key}` cannot be {kind}"),
            format!("write {right}"),
        )
    }

    /// Notes a problem there; nothing was read.
    fn fault<T>(&mut self, span: &Range<usize>, what: String, remedy: String) -> Option<T> {
        let place = self.lines.place(span.start);
        self.problems.add(place, what, remedy);
        None
    }
}

/// The lists are of addresses, networks and names: a number would be none of them in quotes either.
const SEE_EXAMPLE: &str = "; `saqta settings` has an example";

/// The value as it would stand between quotes, when that is short and safe to show.
fn plain<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(digits) => digits.as_str(),
        _ => return None,
    };
    (text.len() <= 32
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '"' && c != '\\'))
    .then_some(text)
}

/// Keys are the operator's own words, but a terminal is not shown their control characters.
fn shown(key: &str) -> String {
    key.chars().take(64).flat_map(char::escape_debug).collect()
}

/// What nginx, HAProxy, Caddy and their kin call it, and what it is called here.
fn elsewhere_called(key: &str) -> Option<&'static str> {
    Some(match key.to_lowercase().as_str() {
        "backend" | "backends" | "upstream" | "proxy_pass" | "reverse_proxy" | "target" => {
            "`origin` under [[site]]"
        }
        "server_name" | "server_names" | "domain" | "domains" | "vhost" => "`hosts` under [[site]]",
        "bind" | "address" | "addresses" => "`listen` at the top of the file",
        "deny" | "block" | "blocklist" | "blacklist" | "ban" => "`refuse` at the top of the file",
        "real_ip_from" | "set_real_ip_from" | "trusted_proxies" => {
            "`trust_forwarded` at the top of the file"
        }
        "threads" | "workers" | "worker_processes" | "nbthread" => {
            "`shards` at the top of the file"
        }
        "maxconn" | "worker_connections" | "max_connections" => "`connections_max` under [limits]",
        "client_max_body_size" => "`body_mb_max` under [limits]",
        _ => return None,
    })
}

/// The known key that was probably meant: at most a third of its letters apart.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    // A key twice as long as any of ours resembles none; this also bounds the work below.
    if key.len() > 64 {
        return None;
    }
    let (apart, meant) = known
        .iter()
        .map(|known| (letters_apart(key, known), *known))
        .min()?;
    (apart <= meant.len().div_ceil(3)).then_some(meant)
}

/// Letters to add, drop or change to turn one word into the other (Levenshtein).
fn letters_apart(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, from) in from.chars().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row + 1);
        for (column, to) in to.iter().enumerate() {
            let changed = above[column] + usize::from(from != *to);
            current.push(changed.min(above[column + 1] + 1).min(current[column] + 1));
        }
        above = current;
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_apart_counts_edits() {
        for (from, to, apart) in [
            ("", "", 0),
            ("", "abc", 3),
            ("hosts", "hosts", 0),
            ("host", "hosts", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(letters_apart(from, to), apart, "{from} {to}");
            assert_eq!(letters_apart(to, from), apart, "{to} {from}");
        }
    }

    #[test]
    fn nearest_is_near_or_nothing() {
        let known = &["hosts", "origin", "listen"];
        for (key, meant) in [
            ("host", Some("hosts")),
            ("lsiten", Some("listen")),
            ("backend", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, known), meant, "{key}");
        }
    }

    #[test]
    fn lines_count_from_one() {
        let lines = Lines::of("a\nbc\n\nd");
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (6, 4), (99, 4)] {
            assert_eq!(lines.place(offset), Place::Line(line), "{offset}");
        }
    }
}
