//! The answer as a page: when it was calm and when not, and for each incident what distinguished it, in three languages.
//!
//! No script, no font, no request: the time line is drawn here. It can be opened anywhere and sent to anybody who may see the log: it names
//! networks, programs and parameters out of it.

use std::fmt::Write;

use saqta_detect::engine::{Incident, Standing};
use saqta_detect::sentence::{Language, sentence};
use saqta_lab::report::escaped;

use super::tell::{about, from_to, share, time};
use super::timeline::TimeLine;
use super::{Measured, Told};
use crate::check::counted;

/// Of the picture's own coordinates; the page scales it.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// An incident is at least so wide, to be seen.
const BAND_MIN: f64 = 3.0;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1c1b1a;--soft:#66625c;--line:#dedad3;--all:#1f6fb5;--hit:#c2331f;--band:#c2331f22}
@media(prefers-color-scheme:dark){:root{--ground:#161514;--card:#1f1e1c;--ink:#ece9e4;--soft:#a39e96;--line:#3a3733;--all:#6cb2ee;--hit:#ff7a63;--band:#ff7a6333}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.05rem;margin:0 0 .25rem}
p{margin:.25rem 0 .75rem;max-width:75ch;overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:.9rem}
figure,section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:12px 0}
figcaption{color:var(--soft);font-size:.85rem;margin-top:.35rem}
svg{display:block;width:100%;height:auto}
svg text{font:14px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line)}
.all{fill:var(--all)}.hit{fill:var(--hit)}.band{fill:var(--band)}
.key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin:0 .4em 0 1em}
.key i:first-child{margin-left:0}
.rule{border-left:3px solid var(--hit);padding-left:12px;margin:.75rem 0}
.rule p{margin:.15rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:500;font-size:.85rem}
tr:last-child td{border-bottom:0}
@media(max-width:700px){svg text{font-size:30px}.wide{display:none}}
";

pub(super) fn html(told: &Told) -> String {
    let mut page = String::with_capacity(64 * 1024);
    // Writing to a String cannot fail.
    _ = write(&mut page, told);
    page
}

fn write(page: &mut String, told: &Told) -> std::fmt::Result {
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>What Saqta would have done</title>\n<style>{STYLE}</style>\n<main>\n\
         <h1>What Saqta would have done</h1>\n<p class=\"soft\">{} lines, {} of them requests; {} of no log. A log does not tell what ran \
         short: that something did is taken for granted from an alarm on.</p>",
        told.lines,
        told.parsed,
        counted(told.junk.lines as usize, "line")
    )?;
    picture(page, &told.time_line, &told.incidents)?;
    match told.incidents.len() {
        0 => writeln!(
            page,
            "<section><h2>No incident</h2>\n<p>Nothing came that was more than normal.</p></section>"
        )?,
        count => writeln!(page, "<h2>{}</h2>", counted(count, "incident"))?,
    }
    for incident in &told.incidents {
        section(page, incident)?;
    }
    labels(page, told)?;
    writeln!(page, "</main>\n</html>")
}

fn picture(page: &mut String, line: &TimeLine, incidents: &[Incident]) -> std::fmt::Result {
    let bars = line.bars();
    let Some((from, until)) = line.span() else {
        return Ok(());
    };
    let most = bars.iter().map(|bar| bar.all).max().unwrap_or(0).max(1);
    let seconds = (until - from).max(1) as f64;
    let x = |second: u64| {
        let part = second.clamp(from, until) - from;
        LEFT + part as f64 / seconds * (WIDTH - LEFT - RIGHT)
    };
    let height = |count: u64| count as f64 / most as f64 * (HEIGHT - TOP - BOTTOM);
    let floor = HEIGHT - BOTTOM;
    writeln!(
        page,
        "<figure>\n<p class=\"soft key\"><i style=\"background:var(--all)\"></i>requests<i style=\"background:var(--hit)\"></i>hit by a rule\
         <i style=\"background:var(--band)\"></i>incident</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Requests over time; {} \
         incidents are marked\">",
        incidents.len()
    )?;
    for incident in incidents {
        let (start, end) = (x(incident.onset_s), x(incident.end_s.unwrap_or(until)));
        writeln!(
            page,
            "<rect class=\"band\" x=\"{start:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (end - start).max(BAND_MIN),
            floor - TOP
        )?;
    }
    let width = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
    for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.all > 0) {
        let left = LEFT + at as f64 * width;
        for (class, count) in [("all", bar.all), ("hit", bar.hit)] {
            if count > 0 {
                let tall = height(count).max(0.5);
                writeln!(
                    page,
                    "<rect class=\"{class}\" x=\"{left:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{tall:.1}\"/>",
                    floor - tall,
                    width.max(0.8)
                )?;
            }
        }
    }
    writeln!(
        page,
        "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{WIDTH}\" y2=\"{floor}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most}</text>\n<text x=\"{}\" y=\"{floor}\" text-anchor=\"end\">0</text>\n\
         <text x=\"{LEFT}\" y=\"{y}\">{}</text>\n<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n</svg>\n\
         <figcaption>Requests in {} s; times are UTC.</figcaption>\n</figure>",
        LEFT - 6.0,
        TOP + 14.0,
        LEFT - 6.0,
        day(from),
        WIDTH - RIGHT,
        day(until),
        line.bar_s(),
        y = HEIGHT - 8.0,
    )
}

fn day(second: u64) -> String {
    time(second).chars().take(10).collect()
}

fn section(page: &mut String, incident: &Incident) -> std::fmt::Result {
    writeln!(
        page,
        "<section>\n<h2>{}</h2>\n<p class=\"soft\">{}, {} in {}: {}.</p>",
        from_to(incident.onset_s, incident.end_s),
        counted(incident.requests as usize, "request"),
        about(incident.sources, "address"),
        about(incident.networks, "network"),
        incident.trigger.says(),
    )?;
    if incident.signatures.is_empty() {
        writeln!(
            page,
            "<p>No rule: {}. Copies and admission would have protected the server.</p>",
            incident.verdict.name()
        )?;
    }
    for rule in &incident.signatures {
        told_rule(page, rule)?;
    }
    writeln!(page, "</section>")
}

fn told_rule(page: &mut String, rule: &Standing) -> std::fmt::Result {
    let say = |language| escaped(&sentence(&rule.signature, language));
    writeln!(
        page,
        "<div class=\"rule\">\n<p>{}</p>\n<p class=\"soft\" lang=\"kk\">{}</p>\n<p class=\"soft\" lang=\"ru\">{}</p>\n\
         <p class=\"soft\">Stood {}; hit {} meanwhile; confidence {:.3}.</p>\n</div>",
        say(Language::English),
        say(Language::Kazakh),
        say(Language::Russian),
        from_to(rule.generated_s, rule.expired_s),
        counted(rule.hits as usize, "request"),
        rule.signature.confidence,
    )
}

fn labels(page: &mut String, told: &Told) -> std::fmt::Result {
    if told.labels.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<section>\n<h2>Against the labels</h2>\n<div class=\"scroll\"><table>\n<tr><th>label</th><th>class</th><th>lines</th><th>found after</th><th>lines hit</th></tr>"
    )?;
    for Measured {
        label,
        lines,
        found,
        first_s,
        hit,
        ..
    } in &told.labels
    {
        let delay = match found {
            Some(found) => format!("{} s", found.generated_s.saturating_sub(*first_s)),
            None => "not found".to_owned(),
        };
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{lines}</td><td>{delay}</td><td>{:.1} %</td></tr>",
            escaped(&label.id),
            label.class.name(),
            share(*hit, *lines).unwrap_or_default() * 100.0
        )?;
    }
    writeln!(page, "</table></div>")?;
    if let Some(benign) = &told.benign {
        writeln!(
            page,
            "<p class=\"soft\">Of {} lines under no attack and no crawler {} were hit while a rule stood ({:.3} %).</p>",
            benign.lines,
            benign.challenged,
            share(benign.challenged, benign.lines).unwrap_or_default() * 100.0
        )?;
    }
    writeln!(page, "</section>")
}
