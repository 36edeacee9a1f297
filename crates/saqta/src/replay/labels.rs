//! What somebody who knows says of parts of a log, to measure against.
//!
//! Tab-separated columns `id start end class method path_contains address agent_contains lines note`; `-` stands for any. Times are those
//! the log shows, both included; `address` may list several with commas, `agent_contains` with `|`.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use jiff::civil::{self, DateTime};
use saqta_detect::look::Field;

use super::line::Line;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Attack,
    /// Looks like one and is not.
    Trap,
    Crawler,
}

impl Class {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Trap => "trap",
            Self::Crawler => "crawler",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub id: String,
    pub class: Class,
    start_s: i64,
    end_s: i64,
    method: Option<String>,
    path_contains: Option<String>,
    addresses: Vec<IpAddr>,
    agents: Vec<String>,
}

impl Label {
    /// Did a rule that stood from `from_s` to `until_s`, in seconds since 1970, stand while this label's lines came? `line` is one of them: its
    /// clock says what the label's means.
    pub(super) fn overlaps(&self, line: &Line, from_s: u64, until_s: Option<u64>) -> bool {
        let ahead = line.at_s as i64 - line.local_s;
        let is_before = until_s.is_some_and(|until_s| (until_s as i64) < self.start_s + ahead);
        !is_before && from_s as i64 <= self.end_s + ahead
    }

    pub(super) fn holds(&self, line: &Line, text: &[u8]) -> bool {
        let contains =
            |text: &[u8], part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
        let is_any_agent = || match line.agent.field(text) {
            Field::Is(agent) => self.agents.iter().any(|part| contains(agent, part)),
            Field::Absent | Field::Unknown => false,
        };
        (self.start_s..=self.end_s).contains(&line.local_s)
            && self
                .method
                .as_ref()
                .is_none_or(|method| text[line.method.clone()] == *method.as_bytes())
            && self
                .path_contains
                .as_ref()
                .is_none_or(|part| contains(&text[line.target.clone()], part))
            && (self.addresses.is_empty() || self.addresses.contains(&line.source))
            && (self.agents.is_empty() || is_any_agent())
    }
}

/// All of a file, or its first fault: line and what is wrong.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Label>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut labels = Vec::new();
    for (at, row) in text.lines().enumerate() {
        if row.trim().is_empty() || at == 0 && row.starts_with("id\t") {
            continue;
        }
        let label = label(row);
        labels.push(label.map_err(|what| anyhow!("{}:{}: {what}", file.display(), at + 1))?);
    }
    Ok(labels)
}

fn label(row: &str) -> Result<Label, String> {
    let columns: Vec<&str> = row.split('\t').map(str::trim).collect();
    let [id, start, end, class, method, path, address, agent, ..] = columns[..] else {
        return Err(format!(
            "{} columns; write at least 8, separated by tabs: id start end class method path_contains address agent_contains",
            columns.len()
        ));
    };
    let given = |text: &str| (!matches!(text, "-" | "")).then(|| text.to_owned());
    let list = |text: &str, by: char| {
        given(text)
            .iter()
            .flat_map(|text| text.split(by))
            .map(|part| part.trim().to_owned())
            .collect::<Vec<_>>()
    };
    Ok(Label {
        id: id.to_owned(),
        start_s: moment(start)?,
        end_s: moment(end)?,
        class: match class {
            "attack" => Class::Attack,
            "trap" => Class::Trap,
            "crawler" => Class::Crawler,
            other => return Err(format!("class {other:?}; write attack, trap or crawler")),
        },
        method: given(method),
        path_contains: given(path),
        addresses: list(address, ',')
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|_| format!("address {text:?}; write one such as 203.0.113.7"))
            })
            .collect::<Result<_, _>>()?,
        agents: list(agent, '|'),
    })
}

fn moment(text: &str) -> Result<i64, String> {
    let time: DateTime = text
        .parse()
        .map_err(|_| format!("time {text:?}; write one such as 2016-02-24 13:12:00"))?;
    Ok(time
        .duration_since(civil::datetime(1970, 1, 1, 0, 0, 0, 0))
        .as_secs())
}
