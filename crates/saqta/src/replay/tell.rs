//! The answer: for people, and as JSON for programs.

use std::fmt::Write;

use jiff::Timestamp;
use saqta_detect::engine::{Incident, Standing};
use saqta_detect::sentence::{Language, no_rule, sentence, shown, trigger};
use saqta_lab::referee::thousands;
use serde_json::{Value, json};

use super::labels::Class;
use super::source::Place;
use super::unread::{is_strange, looks_like};
use super::{Measured, Told};
use crate::screen;

/// Distinct addresses below this are counted exactly, as good as always.
pub(super) const ESTIMATED_FROM: u64 = 10;

pub(super) fn time(second: u64) -> String {
    Timestamp::from_second(second as i64).map_or_else(|_| second.to_string(), |at| at.to_string())
}

/// For people: day and time once, then the time alone while the day is the same.
pub(super) fn from_to(from: u64, to: Option<u64>) -> String {
    let plain = |second| time(second).replace('T', " ").replace('Z', "");
    let from = plain(from);
    let Some(to) = to.map(plain) else {
        return format!("{from} UTC");
    };
    let shown = match to.strip_prefix(&from[..from.len().min(11)]) {
        Some(hours) => hours,
        None => &to,
    };
    format!("{from} to {shown} UTC")
}

/// `1 address`, `6,300 addresses`.
fn counted(count: u64, what: &str) -> String {
    let plural = match count {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {what}{plural}", thousands(count))
}

/// Many are an estimate.
fn about(count: u64, what: &str) -> String {
    let counted = counted(count, what);
    if count < ESTIMATED_FROM {
        counted
    } else {
        format!("about {counted}")
    }
}

pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Of what was too much in an incident, what its rules hit.
fn coverage(incident: &Incident) -> Option<f64> {
    let too_much = incident.requests as f64 - incident.expected;
    (too_much > 0.0).then(|| (incident.hit as f64 / too_much).min(1.0))
}

/// Upper bound of the share of ordinary requests that any of its rules hits.
fn collateral(incident: &Incident) -> f64 {
    incident
        .signatures
        .iter()
        .fold(0.0, |sum, rule| sum + rule.signature.baseline_share_upper)
        .min(1.0)
}

/// One rule, however often it was found anew.
pub(super) struct Rule<'a> {
    /// When it hit the most.
    pub rule: &'a Standing,
    pub times: usize,
    pub from_s: u64,
    /// `None`: it stands.
    pub until_s: Option<u64>,
    pub hits: u64,
    /// It turned out to hit readers.
    pub is_withdrawn: bool,
}

/// A rule that goes with its attack and comes back with it is told once.
pub(super) fn rules(incident: &Incident) -> Vec<Rule<'_>> {
    let mut told: Vec<Rule<'_>> = Vec::new();
    for rule in &incident.signatures {
        let same = told
            .iter_mut()
            .find(|told| told.rule.signature.rule == rule.signature.rule);
        match same {
            Some(told) => {
                if rule.hits > told.rule.hits {
                    told.rule = rule;
                }
                told.times += 1;
                told.from_s = told.from_s.min(rule.generated_s);
                told.until_s = told
                    .until_s
                    .zip(rule.expired_s)
                    .map(|(one, other)| one.max(other));
                told.hits += rule.hits;
                told.is_withdrawn |= rule.is_withdrawn;
            }
            None => told.push(Rule {
                rule,
                times: 1,
                from_s: rule.generated_s,
                until_s: rule.expired_s,
                hits: rule.hits,
                is_withdrawn: rule.is_withdrawn,
            }),
        }
    }
    told
}

pub(super) fn json(told: &Told) -> String {
    let signature = |rule: &Standing| {
        let signature = &rule.signature;
        json!({
            "sentence": sentence(signature, Language::English),
            "rule": signature.rule.iter().map(|predicate| json!({
                "attribute": predicate.attribute.name(),
                "op": if predicate.value.is_empty() { "absent" } else { "is" },
                "value": predicate.value,
            })).collect::<Vec<_>>(),
            "attack_share": signature.attack_share,
            "baseline_share": signature.baseline_share,
            "baseline_share_upper": signature.baseline_share_upper,
            "confidence": signature.confidence,
            "generated": time(rule.generated_s),
            "expired": rule.expired_s.map(time),
            "withdrawn": rule.is_withdrawn,
            "hits": rule.hits,
        })
    };
    let incident = |incident: &Incident| {
        json!({
            "onset": time(incident.onset_s),
            "end": incident.end_s.map(time),
            "requests": incident.requests,
            "sources": incident.sources,
            "networks": incident.networks,
            "trigger": incident.trigger.name(),
            "state": incident.verdict.name(),
            "signatures": incident.signatures.iter().map(signature).collect::<Vec<_>>(),
            "coverage": coverage(incident),
            "collateral": collateral(incident),
        })
    };
    let label = |measured: &Measured| {
        let Measured {
            label,
            lines,
            found,
            ..
        } = measured;
        json!({
            "id": label.id,
            "row": label.row,
            "class": label.class.name(),
            "lines": lines,
            "detected": found.is_some(),
            "delay_s": found.as_ref().map(|found| found.generated_s.saturating_sub(measured.first_s)),
            "coverage": share(measured.hit, *lines),
            "unmatched": unmatched(told, measured),
            "coverage_live": found.as_ref().and_then(|found| share(found.after_hit, found.after)),
        })
    };
    let mut out = json!({
        "lines": told.lines,
        "parsed": told.parsed,
        "junk": told.junk.lines,
        "junk_places": told.junk.places.iter().map(|place| json!({
            // Not every name of a file is UTF-8.
            "file": place.file.to_string_lossy(),
            "line": place.line,
            "what": place.what,
        })).collect::<Vec<_>>(),
        "files": told.junk.files.iter().map(|file| json!({
            "file": file.file.to_string_lossy(),
            "lines": file.lines,
            "junk": file.junk,
        })).collect::<Vec<_>>(),
        "error": told.unread.as_ref().map(ToString::to_string),
        "late": told.late,
        "ahead": told.ahead,
        "out_of_order": told.is_out_of_order(),
        "seconds": told.seconds,
        "lines_per_second": told.lines as f64 / told.seconds.max(1e-9),
        "assumed": "something is scarce from an alarm on; what was answered 200, 301 or 304 could be answered from a copy for 10 minutes",
        "incidents": told.incidents.iter().map(incident).collect::<Vec<_>>(),
        "labels": told.labels.iter().map(label).collect::<Vec<_>>(),
        "benign": told.benign.as_ref().map(|benign| json!({
            "lines": benign.lines,
            "challenged": benign.challenged,
            "challenged_share": share(benign.challenged, benign.lines),
        })),
    });
    if let (Some((minutes, guarded)), Some(fields)) = (told.minutes, out.as_object_mut()) {
        fields.insert(
            "counts".into(),
            json!({"minutes": minutes, "guarded": guarded, "guarded_share": share(guarded, minutes)}),
        );
    }
    serde_json::to_string_pretty(&out).unwrap_or_else(|_| Value::Null.to_string())
}

/// Why a label holds no line, where it holds none.
fn unmatched(told: &Told, measured: &Measured) -> Option<String> {
    (measured.lines == 0).then(|| measured.label.unmatched(&measured.met, told.clock))
}

pub(super) fn text(told: &Told, explain: bool) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    _ = tell(&mut out, told, explain);
    out
}

fn tell(out: &mut String, told: &Told, explain: bool) -> std::fmt::Result {
    read(out, told)?;
    for incident in &told.incidents {
        writeln!(
            out,
            "\n{}",
            screen::entry(&incident_told(incident, explain)?)
        )?;
    }
    let with_rule = told
        .incidents
        .iter()
        .filter(|incident| !incident.signatures.is_empty())
        .count() as u64;
    let incidents = counted(told.incidents.len() as u64, "incident");
    match (told.minutes, told.incidents.len()) {
        // Counts tell load and nothing else.
        (Some((minutes, guarded)), 0) => writeln!(
            out,
            "{}, {} of them guarded ({:.2} %)",
            counted(minutes, "minute"),
            thousands(guarded),
            share(guarded, minutes).unwrap_or_default() * 100.0
        )?,
        // What a log begins with is usual in it.
        (_, 0) => writeln!(
            out,
            "{incidents}: nothing came that was more than usual in this log"
        )?,
        (_, 1) => writeln!(out, "\n{incidents}")?,
        _ => writeln!(
            out,
            "\n{incidents}, {} of them with a rule",
            thousands(with_rule)
        )?,
    }
    labels(out, told)
}

/// What was read and what was not.
fn read(out: &mut String, told: &Told) -> std::fmt::Result {
    let requests = match told.parsed {
        parsed if parsed == told.lines => "all of them read".to_owned(),
        parsed => format!("{} of them read", thousands(parsed)),
    };
    let span = told
        .time_line
        .first_and_last()
        .map_or_else(String::new, |(from, to)| {
            format!("\n{}", from_to(from, Some(to)))
        });
    let lines = format!(
        "{}, {requests}, in {:.1} s{span}",
        counted(told.lines, "line"),
        told.seconds
    );
    writeln!(out, "{}", screen::entry(&lines))?;
    for file in told.junk.files.iter().filter(|file| is_strange(file)) {
        let strange = format!(
            "{}: next to nothing in it could be read{}",
            shown(&file.file.to_string_lossy()),
            looks_like(&file.file)
        );
        writeln!(out, "{}", screen::entry(&strange))?;
    }
    if told.junk.lines > 0 {
        let mut junk = format!("{} could not be read", counted(told.junk.lines, "line"));
        // What is another kind of file has been said to be one.
        let is_said = |place: &&Place| {
            let mut files = told.junk.files.iter();
            !files.any(|file| file.file == place.file && is_strange(file))
        };
        for place in told.junk.places.iter().filter(is_said) {
            write!(
                junk,
                "\n{}:{}: {}",
                shown(&place.file.to_string_lossy()),
                place.line,
                place.what
            )?;
        }
        if told.junk.lines > told.junk.places.len() as u64 {
            junk.push_str("\n…");
        }
        writeln!(out, "{}", screen::entry(&junk))?;
    }
    if told.late > 0 {
        let why = match told.junk.files.len() {
            1 => "The clock was put back, or several logs are in one.",
            _ => "Give several files in the order of their time.",
        };
        let late = format!(
            "{} more than two minutes behind the ones before, judged as if of that time.\n{why}",
            counted(told.late, "line")
        );
        writeln!(out, "{}", screen::entry(&late))?;
    }
    if told.is_out_of_order() {
        let warning = format!(
            "The clock of this log jumps about: where {:.0} % of its lines belong is a guess, and what follows is not to be relied on.",
            (told.late + told.ahead) as f64 / told.parsed as f64 * 100.0
        );
        writeln!(out, "{}", screen::entry(&warning))?;
    }
    if told.ahead > 0 {
        let ahead = format!(
            "{} more than two minutes ahead of the one after, judged as if of the time before.\nA clock was wrong for a moment, or several logs are in one.",
            counted(told.ahead, "line")
        );
        writeln!(out, "{}", screen::entry(&ahead))?;
    }
    Ok(())
}

fn incident_told(incident: &Incident, explain: bool) -> Result<String, std::fmt::Error> {
    let who = format!(
        "{} in {}",
        about(incident.sources, "address"),
        about(incident.networks, "network")
    );
    let mut entry = from_to(incident.onset_s, incident.end_s);
    write!(
        entry,
        "\n{}: {}",
        trigger(incident.trigger, Language::English),
        counted(incident.requests, "request")
    )?;
    if incident.signatures.is_empty() {
        let why = no_rule(incident.verdict, Language::English);
        return Ok(format!("{entry} from {who}\nno rule: {why}"));
    }
    write!(
        entry,
        ", {} fit a rule, from {who}",
        thousands(incident.hit)
    )?;
    for told in rules(incident) {
        write!(
            entry,
            "\n{}",
            sentence(&told.rule.signature, Language::English)
        )?;
        if told.is_withdrawn {
            entry.push_str("\nwithdrawn: it hit readers who were known before");
        }
        if explain {
            let times = match told.times {
                1 => String::new(),
                times => format!(" (found {times} times)"),
            };
            write!(
                entry,
                "\nstood {}{times}, hit {} meanwhile, confidence {:.1} %",
                from_to(told.from_s, told.until_s),
                thousands(told.hits),
                told.rule.signature.confidence * 100.0
            )?;
        }
    }
    let rest = incident.requests.saturating_sub(incident.hit);
    if rest > 0 {
        write!(
            entry,
            "\n{} fit none: ordinary ones, and what cannot be told from them",
            counted(rest, "request")
        )?;
    }
    Ok(entry)
}

fn labels(out: &mut String, told: &Told) -> std::fmt::Result {
    if told.labels.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut row = |name: &str, class: &str, lines: u64, what: &str| {
        let text = format!("{class:<8} {:>9} lines  {what}", thousands(lines));
        out.push_str(&screen::row("", screen::Tone::Plain, name, &text, false));
    };
    for measured in &told.labels {
        let Measured { label, lines, .. } = measured;
        let what = match unmatched(told, measured) {
            Some(_) => "matches nothing, see below".to_owned(),
            None => done(measured),
        };
        row(&shown(&label.id), label.class.name(), *lines, &what);
    }
    if let Some(benign) = &told.benign {
        row(
            "benign",
            "",
            benign.lines,
            &format!(
                "{} hit while a rule stood ({:.2} %)",
                thousands(benign.challenged),
                share(benign.challenged, benign.lines).unwrap_or_default() * 100.0
            ),
        );
    }
    for measured in &told.labels {
        if let Some(why) = unmatched(told, measured) {
            let label = &measured.label;
            let problem = format!(
                "{}, line {} of the labels:\n{why}",
                shown(&label.id),
                label.row
            );
            writeln!(out, "\n{}", screen::entry(&problem))?;
        }
    }
    Ok(())
}

/// An attack is to be found; of everything else a hit is a fault.
fn done(measured: &Measured) -> String {
    let percent = share(measured.hit, measured.lines).unwrap_or_default() * 100.0;
    match (&measured.found, measured.label.class) {
        (Some(found), Class::Attack) => format!(
            "found after {} s, {percent:.1} % hit",
            found.generated_s.saturating_sub(measured.first_s)
        ),
        (None, Class::Attack) if measured.hit == 0 => "not found".to_owned(),
        (None, Class::Attack) => format!("not found, {percent:.1} % hit"),
        (_, Class::Trap | Class::Crawler) if measured.hit == 0 => "none hit".to_owned(),
        (_, Class::Trap | Class::Crawler) => {
            format!(
                "{} hit by mistake ({percent:.1} %)",
                thousands(measured.hit)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (from, to, expected) in [
            (0, None, "1970-01-01 00:00:00 UTC"),
            (0, Some(59), "1970-01-01 00:00:00 to 00:00:59 UTC"),
            (
                0,
                Some(86_400),
                "1970-01-01 00:00:00 to 1970-01-02 00:00:00 UTC",
            ),
        ] {
            assert_eq!(from_to(from, to), expected);
        }
    }

    #[test]
    fn few_are_exact() {
        assert_eq!(about(1, "address"), "1 address");
        assert_eq!(about(9, "network"), "9 networks");
        assert_eq!(about(6_300, "address"), "about 6,300 addresses");
    }
}
