//! The answer: for people, and as JSON for programs.

use std::fmt::Write;

use jiff::Timestamp;
use saqta_detect::engine::{Incident, Standing};
use saqta_detect::sentence::{Language, sentence, shown};
use serde_json::{Value, json};

use super::{Measured, Told};
use crate::check::counted;
use crate::screen;

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

/// `1 address`, `about 6,300 addresses`: few are counted exactly, as good as always.
pub(super) fn about(count: u64, what: &str) -> String {
    let counted = counted(count as usize, what);
    if count < 10 {
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
        .map(|rule| rule.signature.baseline_share_upper)
        .sum::<f64>()
        .min(1.0)
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
            "class": label.class.name(),
            "lines": lines,
            "detected": found.is_some(),
            "delay_s": found.as_ref().map(|found| found.generated_s.saturating_sub(measured.first_s)),
            "coverage": share(measured.hit, *lines),
            "coverage_live": found.as_ref().and_then(|found| share(found.after_hit, found.after)),
        })
    };
    let mut out = json!({
        "lines": told.lines,
        "parsed": told.parsed,
        "junk": told.junk.lines,
        "junk_places": told.junk.places,
        "late": told.late,
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

pub(super) fn text(told: &Told, explain: bool) -> String {
    let mut out = String::new();
    _ = tell(&mut out, told, explain);
    out
}

fn tell(out: &mut String, told: &Told, explain: bool) -> std::fmt::Result {
    writeln!(
        out,
        "{} lines, {} of them requests, in {:.1} s",
        told.lines, told.parsed, told.seconds
    )?;
    if told.junk.lines > 0 {
        let mut junk = format!("{} of no log:", counted(told.junk.lines as usize, "line"));
        for place in &told.junk.places {
            write!(
                junk,
                "\n{}:{}: {}",
                shown(&place.file.to_string_lossy()),
                place.line,
                place.what
            )?;
        }
        writeln!(out, "{}", screen::entry(&junk))?;
    }
    if told.parsed == 0 && told.lines > 0 {
        writeln!(
            out,
            "{}",
            screen::entry(
                "None of it is a log that can be read.\nWhat can: combined and common lines of nginx and Apache, with or without a virtual host, Caddy's JSON, and counts a minute (`period,count`)."
            )
        )?;
    }
    if told.late > 0 {
        let late = format!(
            "{} more than two minutes behind the others, judged later than they came.\nGive several files in the order of their time.",
            counted(told.late as usize, "line")
        );
        writeln!(out, "{}", screen::entry(&late))?;
    }
    if let Some((minutes, guarded)) = told.minutes {
        let share = share(guarded, minutes).unwrap_or_default() * 100.0;
        writeln!(
            out,
            "{minutes} minutes, {guarded} of them guarded ({share:.2} %)"
        )?;
    }
    writeln!(out, "{}", counted(told.incidents.len(), "incident"))?;
    for incident in &told.incidents {
        let mut entry = format!(
            "{}\n{}, {} in {}: {}",
            from_to(incident.onset_s, incident.end_s),
            counted(incident.requests as usize, "request"),
            about(incident.sources, "address"),
            about(incident.networks, "network"),
            incident.trigger.says(),
        );
        if incident.signatures.is_empty() {
            write!(entry, "\nno rule: {}", incident.verdict.name())?;
        }
        for rule in &incident.signatures {
            write!(entry, "\n{}", sentence(&rule.signature, Language::English))?;
            if explain {
                write!(
                    entry,
                    "\nstood {}, hit {} meanwhile, confidence {:.3}",
                    from_to(rule.generated_s, rule.expired_s),
                    rule.hits,
                    rule.signature.confidence
                )?;
            }
        }
        writeln!(out, "\n{}", screen::entry(&entry))?;
    }
    for measured in &told.labels {
        let percent = share(measured.hit, measured.lines).unwrap_or_default() * 100.0;
        let delay = match &measured.found {
            Some(found) => format!(
                "found after {} s",
                found.generated_s.saturating_sub(measured.first_s)
            ),
            None => "not found".to_owned(),
        };
        writeln!(
            out,
            "{:4} {:8} {:>7} lines: {delay}, {percent:.1} % hit",
            measured.label.id,
            measured.label.class.name(),
            measured.lines,
        )?;
    }
    if let Some(benign) = &told.benign {
        let percent = share(benign.challenged, benign.lines).unwrap_or_default() * 100.0;
        writeln!(
            out,
            "benign: {} lines, {} of them hit while a rule stood ({percent:.4} %)",
            benign.lines, benign.challenged
        )?;
    }
    Ok(())
}
