//! What somebody who knows says of parts of a log, to measure against.
//!
//! Tab-separated columns `id start end class method path_contains address agent_contains lines note`; `-` stands for any. Times are those
//! the log shows, both included; `address` may list several with commas, `agent_contains` with `|`.

use std::net::IpAddr;
use std::path::Path;

use jiff::civil::{self, DateTime};
use saqta_detect::look::Field;

use super::line::Line;
use crate::cli::Failure;
use crate::machine::plainly;
use crate::problem::{Place, Problems};

/// What a line has to meet beside the time.
const CONDITIONS: [&str; 4] = ["method", "path_contains", "address", "agent_contains"];

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
    /// In its file, counted from 1.
    pub row: usize,
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

    pub(super) fn holds(&self, line: &Line, text: &[u8], met: &mut Met) -> bool {
        if !(self.start_s..=self.end_s).contains(&line.local_s) {
            return false;
        }
        let contains =
            |text: &[u8], part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
        let is_any_agent = || match line.agent.field(text) {
            Field::Is(agent) => self.agents.iter().any(|part| contains(agent, part)),
            Field::Absent | Field::Unknown => false,
        };
        // In the order of `CONDITIONS`.
        let meets = [
            self.method
                .as_ref()
                .is_none_or(|method| text[line.method.clone()] == *method.as_bytes()),
            self.path_contains
                .as_ref()
                .is_none_or(|part| contains(&text[line.target.clone()], part)),
            self.addresses.is_empty() || self.addresses.contains(&line.source),
            self.agents.is_empty() || is_any_agent(),
        ];
        met.in_time += 1;
        for (met, meets) in met.each.iter_mut().zip(meets) {
            *met += u64::from(meets);
        }
        meets.iter().all(|meets| *meets)
    }

    /// Why no line carries it. `clock`: the first and last time the log shows.
    pub(super) fn unmatched(&self, met: &Met, clock: Option<(i64, i64)>) -> String {
        if met.in_time == 0 {
            let span = |from, until| format!("{} to {}", clock_time(from), clock_time(until));
            let log = clock.map_or_else(
                || "it has no line at all".to_owned(),
                |(from, until)| format!("its own clock goes from {}", span(from, until)),
            );
            return format!(
                "no line of the log is from {}: {log}",
                span(self.start_s, self.end_s)
            );
        }
        let missed: Vec<&str> = CONDITIONS
            .iter()
            .zip(met.each)
            .filter_map(|(name, met)| (met == 0).then_some(*name))
            .collect();
        let what = match missed[..] {
            [] => "all of its columns together".to_owned(),
            _ => format!("what stands in {}", missed.join(", in ")),
        };
        format!(
            "of {} lines in its time none has {what}; write - for any",
            met.in_time
        )
    }
}

/// How near lines came to a label.
#[derive(Debug, Default)]
pub(super) struct Met {
    in_time: u64,
    each: [u64; CONDITIONS.len()],
}

fn clock_time(second: i64) -> String {
    jiff::Timestamp::from_second(second).map_or_else(
        |_| second.to_string(),
        |at| at.to_string().replace('T', " ").replace('Z', ""),
    )
}

/// All of a file, or all its faults.
pub(super) fn read(file: &Path) -> Result<Vec<Label>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the labels {}: {}",
            file.display(),
            plainly(&error)
        )
    })?;
    let mut labels = Vec::new();
    let mut problems = Problems::of_file(file);
    for (at, row) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if row.trim().is_empty() || at == 0 && row.starts_with("id\t") {
            continue;
        }
        match label(row, at + 1) {
            Ok(label) => labels.push(label),
            Err((what, remedy)) => problems.add(Place::Line(at + 1), what, remedy),
        }
    }
    if problems.is_empty() {
        Ok(labels)
    } else {
        Err(Failure::Problems(problems.into_list()))
    }
}

/// What is wrong and what to do about it.
type Fault = (String, &'static str);

fn label(row: &str, at: usize) -> Result<Label, Fault> {
    let columns: Vec<&str> = row.split('\t').map(str::trim).collect();
    let [id, start, end, class, method, path, address, agent, ..] = columns[..] else {
        return Err((
            format!("{} columns", columns.len()),
            "write at least 8, separated by tabs: id start end class method path_contains address agent_contains",
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
    let (start_s, end_s) = (moment(start)?, moment(end)?);
    if end_s < start_s {
        return Err((
            format!("it ends at {end}, before it starts at {start}"),
            "write the earlier time first",
        ));
    }
    Ok(Label {
        id: id.to_owned(),
        row: at,
        start_s,
        end_s,
        class: match class {
            "attack" => Class::Attack,
            "trap" => Class::Trap,
            "crawler" => Class::Crawler,
            other => {
                return Err((
                    format!("class {other:?} is not known"),
                    "write attack, trap or crawler",
                ));
            }
        },
        method: given(method),
        path_contains: given(path),
        addresses: list(address, ',')
            .iter()
            .map(|text| {
                text.parse().map_err(|_| {
                    (
                        format!("{text:?} is no address"),
                        "write one such as 203.0.113.7, several with commas, or - for any",
                    )
                })
            })
            .collect::<Result<_, _>>()?,
        agents: list(agent, '|'),
    })
}

fn moment(text: &str) -> Result<i64, Fault> {
    let time: DateTime = text.parse().map_err(|_| {
        (
            format!("{text:?} is no time"),
            "write one as the log's clock showed it, such as 2016-02-24 13:12:00",
        )
    })?;
    Ok(time
        .duration_since(civil::datetime(1970, 1, 1, 0, 0, 0, 0))
        .as_secs())
}
