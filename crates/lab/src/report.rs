//! The report of a drill: one page that explains itself, to be opened anywhere and sent to anybody.
//!
//! No script, no font, no request: the charts are drawn here, as SVG. A phone is as wide as one chart, a desk as two. Colours are
//! chosen to be told apart by most people, in light and in dark, and every chart says in words what it shows.

use crate::load::AttackTally;
use crate::referee::{GroupResult, Outcome, millis, percent, plain, thousands};

/// Of a chart's own coordinates; the page scales them.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1c1b1a;--soft:#66625c;--line:#dedad3;--good:#0a7d55;--bad:#c2331f;
--cache:#2a9d78;--origin:#c2331f;--wait:#d99a1c;--refuse:#6d6a8f;--gone:#a9a59d;--reader:#1f6fb5;--band:#c2331f14}
@media(prefers-color-scheme:dark){:root{--ground:#161514;--card:#1f1e1c;--ink:#ece9e4;--soft:#a39e96;--line:#3a3733;--good:#4cc796;--bad:#ff7a63;
--cache:#3fbf93;--origin:#ff7a63;--wait:#e8b04a;--refuse:#9a96c8;--gone:#6f6b64;--reader:#6cb2ee;--band:#ff7a6322}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .5rem}
p{margin:.25rem 0 1rem;max-width:70ch}
.soft{color:var(--soft)}
.verdict{font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0;padding:0}
.figures div,figure,section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.figures dt{color:var(--soft);font-size:.85rem}
.figures dd{margin:0;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}
.figures dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:12px;margin:12px 0}
/* What stands beside the last chart fills its row, and a row of its own when there is no such chart. */
.charts>section{margin:0;min-width:0}
.charts>section:nth-child(odd){grid-column:1/-1}
figure{margin:0;min-width:0}
figcaption{font-size:.85rem;color:var(--soft);margin-top:.35rem}
svg{display:block;width:100%;height:auto}
svg text{font:10.5px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line);stroke-width:1}
.bound{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:5 4}
.key{display:flex;flex-wrap:wrap;gap:4px 14px;list-style:none;margin:0 0 .4rem;padding:0;font-size:.85rem;color:var(--soft)}
.key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500;font-size:.85rem}
tr:last-child td{border-bottom:0}
section{margin-top:12px}
section p{max-width:none;columns:2 340px;column-gap:32px}
@media(max-width:700px){
svg text{font-size:12px}
.groups tr:first-child{display:none}
.groups tr{display:grid;grid-template-columns:1fr 1fr;gap:2px 16px;padding:8px 0;border-bottom:1px solid var(--line)}
.groups tr:last-child{border:0;padding-bottom:0}
.groups td{display:flex;justify-content:space-between;gap:8px;padding:0;border:0}
.groups td::before{content:attr(data-is);color:var(--soft);font-size:.85rem}
.groups td:first-child{grid-column:1/-1;font-weight:600}
.groups td:first-child::before{content:none}
}
";

/// What became of an attack's requests: the colour, the words, the number.
type FateOf = (&'static str, &'static str, fn(&AttackTally) -> u64);

const FATES: [FateOf; 5] = [
    ("cache", "from the cache", |tally| tally.from_cache),
    ("wait", "waiting page", |tally| tally.challenged),
    ("refuse", "refused", |tally| tally.refused),
    ("gone", "given up", |tally| tally.abandoned),
    ("origin", "other answers", |tally| tally.forwarded),
];

/// The page.
pub fn html(outcome: &Outcome) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let name = escaped(&outcome.scenario);
    let (class, verdict) = match outcome.exit_code() {
        0 => ("good", "Held: every expectation was met."),
        1 => ("bad", "Did not hold: at least one expectation was not met."),
        _ => (
            "bad",
            "Not offered: this machine could not send the load, so the drill shows nothing.",
        ),
    };
    page.push_str(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>Drill {name}</title>\n<style>{STYLE}</style>\n<main>\n\
         <h1>Drill {name}</h1>\n<p class=\"soft\">{}</p>\n<p class=\"verdict {class}\">{verdict}</p>\n",
        escaped(&outcome.says),
    ));
    for why in &outcome.not_offered {
        page.push_str(&format!("<p class=\"bad\">{}.</p>\n", escaped(why)));
    }
    let measured = measured(outcome);
    figures(&mut page, outcome);
    page.push_str("<div class=\"charts\">\n");
    charts(&mut page, outcome);
    if outcome.expectations.is_empty() {
        page.push_str(&measured);
    } else {
        expectations(&mut page, outcome);
    }
    page.push_str("</div>\n");
    groups(&mut page, outcome);
    if !outcome.expectations.is_empty() {
        page.push_str(&measured);
    }
    page.push_str("</main>\n</html>\n");
    page
}

fn measured(outcome: &Outcome) -> String {
    format!(
        "<section><h2>How it was measured</h2>\n<p class=\"soft\">{:.0} seconds on one machine; the attackers' grade is {}, the origin's dialect {}. Readers and \
         attackers come from the same networks and nothing in a request tells them apart; each reader knows what they asked for, and \
         <em>served</em> means that page, complete, within ten seconds. Times count from the moment a request was due, whether or not \
         it could be sent, and one that was not served weighs as ten seconds. Figures are of the {}, {:.0} s to {:.0} s; starting and the last answers are not among the {:.0} seconds.</p></section>\n",
        outcome.seconds,
        outcome.grade,
        outcome.dialect,
        what_happens(outcome),
        outcome.timeline.onset_s,
        outcome.timeline.attack_end_s,
        outcome.seconds,
    )
}

/// Between onset and end.
fn what_happens(outcome: &Outcome) -> &'static str {
    if outcome.attack.requests > 0 {
        "attack"
    } else {
        "event"
    }
}

fn figures(page: &mut String, outcome: &Outcome) {
    let readers = &outcome.readers;
    page.push_str("<dl class=\"figures\">\n");
    let mut figure = |name: &str, value: String, more: String| {
        page.push_str(&format!(
            "<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>\n"
        ));
    };
    figure(
        "Readers served",
        percent(readers.served_share),
        outcome.claim(),
    );
    figure(
        "Readers waited",
        millis(readers.p50_ms),
        format!("{} the slowest of a hundred", millis(readers.p99_ms)),
    );
    if outcome.attack.requests > 0 {
        figure(
            "Flood",
            format!("{}/s", thousands(outcome.offered_per_s as u64)),
            format!("from {} addresses", thousands(outcome.attack.addresses)),
        );
        if let Some(reached) = outcome.attack.reached_origin {
            figure(
                "Reached the origin",
                thousands(reached),
                format!("of {} requests", thousands(outcome.attack.requests)),
            );
        }
    }
    figure(
        "Origin over capacity",
        millis(Some(outcome.origin.over_capacity_ms as f64)),
        format!(
            "{} at once, it can do {}",
            outcome.origin.peak_in_flight, outcome.origin.capacity
        ),
    );
    if let (Some(cpu), Some(rss)) = (outcome.edge.cpu_seconds, outcome.edge.rss_peak_bytes) {
        figure(
            "Edge",
            format!("{cpu:.1} s"),
            format!("of processor, {} MB of memory", rss / 1_000_000),
        );
    }
    page.push_str("</dl>\n");
}

fn charts(page: &mut String, outcome: &Outcome) {
    let timeline = &outcome.timeline;
    let frame = Frame {
        seconds: outcome.seconds.max(1.0),
        what_happens: what_happens(outcome),
        onset: timeline.onset_s,
        attack_end: timeline.attack_end_s,
    };
    if outcome.attack.requests > 0 {
        let most = timeline
            .attack
            .iter()
            .map(|tally| FATES.iter().map(|(_, _, count)| count(tally)).sum::<u64>())
            .max()
            .unwrap_or(0);
        let scale = Scale::linear(most as f64);
        let mut below = vec![0u64; timeline.attack.len()];
        let mut layers = String::new();
        let mut key = String::new();
        for (colour, words, count) in FATES {
            let above: Vec<u64> = below
                .iter()
                .zip(&timeline.attack)
                .map(|(below, tally)| below + count(tally))
                .collect();
            if above != below {
                layers.push_str(&frame.area(&below, &above, &scale, colour));
                key.push_str(&format!(
                    "<li><i style=\"background:var(--{colour})\"></i>{words}</li>"
                ));
            }
            below = above;
        }
        let caption = "Who answered the attackers, requests a second.";
        figure(
            page,
            "The flood",
            &format!("<ul class=\"key\">{key}</ul>"),
            &frame.chart(&scale, caption, &layers, |v| thousands(v as u64)),
            caption,
        );
    }

    let share = |tally: &crate::load::Tally| {
        (tally.requests > 0).then(|| 100.0 * tally.served as f64 / tally.requests as f64)
    };
    let shares: Vec<Option<f64>> = timeline.readers.iter().map(share).collect();
    let scale = Scale::linear(100.0);
    let caption = "Of the readers' requests due in each second, how many got their page.";
    figure(
        page,
        "Readers served",
        "",
        &frame.chart(
            &scale,
            caption,
            &frame.line(&shares, &scale, "reader"),
            |v| format!("{v} %"),
        ),
        caption,
    );

    let slowest: Vec<Option<f64>> = timeline.readers.iter().map(|tally| tally.p99_ms).collect();
    let scale = Scale::decades();
    let mut lines = frame.line(&slowest, &scale, "reader");
    if let Some(bound) = outcome
        .expectations
        .iter()
        .find(|expectation| expectation.name == "readers.p99_ms_max")
    {
        lines.push_str(&frame.bound(bound.bound, &scale));
    }
    let caption = "What the slowest of a hundred readers waited, each second; every line is ten times the one below.";
    figure(
        page,
        "Readers waited",
        "",
        &frame.chart(&scale, caption, &lines, |v| millis(Some(v))),
        caption,
    );

    let peaks: Vec<(f64, f64)> = timeline
        .origin_in_flight
        .iter()
        .map(|(at, peak)| (*at, *peak as f64))
        .collect();
    let most = peaks
        .iter()
        .map(|(_, peak)| *peak)
        .fold(outcome.origin.capacity as f64 * 1.25, f64::max);
    let scale = Scale::linear(most);
    let mut lines = frame.polyline(&peaks, &scale, "origin");
    lines.push_str(&frame.bound(outcome.origin.capacity as f64, &scale));
    let caption = "Most requests the origin had at once, each second; dashed: what it can work on.";
    figure(
        page,
        "The origin",
        "",
        &frame.chart(&scale, caption, &lines, |v| thousands(v as u64)),
        caption,
    );

    if !timeline.edge_cpu.is_empty() {
        let used: Vec<Option<f64>> = timeline
            .edge_cpu
            .iter()
            .map(|used| Some(100.0 * used))
            .collect();
        let most = used.iter().flatten().copied().fold(100.0, f64::max);
        let scale = Scale::linear(most);
        let caption = "Processor time of the edge, per cent of one core.";
        figure(
            page,
            "The edge",
            "",
            &frame.chart(&scale, caption, &frame.line(&used, &scale, "cache"), |v| {
                format!("{v} %")
            }),
            caption,
        );
    }
}

fn figure(page: &mut String, title: &str, key: &str, svg: &str, caption: &str) {
    page.push_str(&format!(
        "<figure><h2>{title}</h2>{key}{svg}<figcaption>{caption}</figcaption></figure>\n"
    ));
}

fn expectations(page: &mut String, outcome: &Outcome) {
    if outcome.expectations.is_empty() {
        return;
    }
    page.push_str(
        "<section><h2>Expectations</h2><table><tr><th>What<th>Measured<th>Bound<th></tr>\n",
    );
    for expectation in &outcome.expectations {
        let value = expectation.value.map_or("nothing".to_owned(), plain);
        let (class, word) = if expectation.ok {
            ("good", "met")
        } else {
            ("bad", "not met")
        };
        page.push_str(&format!(
            "<tr><td>{}<td>{value}<td>{}<td class=\"{class}\">{word}</tr>\n",
            // A phone breaks the name where its words end.
            expectation.name.replace('_', "_<wbr>"),
            plain(expectation.bound)
        ));
    }
    page.push_str("</table></section>\n");
}

/// On a phone each group is a block, its figures named one by one.
fn groups(page: &mut String, outcome: &Outcome) {
    const COLUMNS: [&str; 7] = [
        "Group",
        "Requests",
        "Served",
        "At least (95 %)",
        "Slowest of 100",
        "Waiting page",
        "Refused",
    ];
    let readers = GroupResult::from(&outcome.readers);
    page.push_str("<section><h2>Who was served</h2><table class=\"groups\"><tr>");
    for column in COLUMNS {
        page.push_str(&format!("<th>{column}"));
    }
    page.push_str("</tr>\n");
    for group in std::iter::once(&readers).chain(&outcome.groups) {
        let cells = [
            escaped(&group.name),
            thousands(group.requests),
            percent(group.served_share),
            percent(group.served_share_lower),
            millis(group.p99_ms),
            thousands(group.challenged),
            thousands(group.refused),
        ];
        page.push_str("<tr>");
        for (column, cell) in COLUMNS.iter().zip(cells) {
            page.push_str(&format!("<td data-is=\"{column}\">{cell}"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></section>\n");
}

/// Where seconds lie on a chart.
struct Frame {
    seconds: f64,
    what_happens: &'static str,
    onset: f64,
    attack_end: f64,
}

/// Where values lie on a chart.
enum Scale {
    Linear {
        top: f64,
        step: f64,
    },
    /// From a millisecond to ten seconds.
    Decades,
}

impl Scale {
    /// Up to a round number with two to five lines below it.
    fn linear(most: f64) -> Self {
        let most = most.max(1.0);
        let decade = 10f64.powf(most.log10().floor());
        let step = [0.2, 0.25, 0.5, 1.0, 2.0, 2.5]
            .map(|part| part * decade)
            .into_iter()
            .find(|step| most / step <= 5.0)
            .unwrap_or(decade);
        let step = step.max(1.0);
        Scale::Linear {
            top: (most / step).ceil() * step,
            step,
        }
    }

    fn decades() -> Self {
        Scale::Decades
    }

    fn y(&self, value: f64) -> f64 {
        let part = match self {
            Scale::Linear { top, .. } => value / top,
            Scale::Decades => value.max(1.0).log10() / 4.0,
        };
        TOP + (1.0 - part.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
    }

    fn lines(&self) -> Vec<f64> {
        match self {
            Scale::Linear { top, step } => (0..=(top / step).round() as usize)
                .map(|n| n as f64 * step)
                .collect(),
            Scale::Decades => vec![1.0, 10.0, 100.0, 1_000.0, 10_000.0],
        }
    }
}

impl Frame {
    fn x(&self, second: f64) -> f64 {
        LEFT + (second / self.seconds).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn chart(
        &self,
        scale: &Scale,
        says: &str,
        inside: &str,
        label: impl Fn(f64) -> String,
    ) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(says)
        );
        let (from, to) = (self.x(self.onset), self.x(self.attack_end));
        let bottom = HEIGHT - BOTTOM;
        svg.push_str(&format!(
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"var(--band)\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (to - from).max(0.0),
            bottom - TOP,
            from + 4.0,
            bottom - 5.0,
            self.what_happens,
        ));
        for value in scale.lines() {
            let y = scale.y(value);
            svg.push_str(&format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                y + 3.5,
                label(value)
            ));
        }
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0]
            .into_iter()
            .find(|step| self.seconds / step <= 7.0)
            .unwrap_or(60.0);
        let mut second = 0.0;
        while second <= self.seconds {
            let (x, anchor) = (
                self.x(second),
                if second + step > self.seconds {
                    "end"
                } else {
                    "middle"
                },
            );
            svg.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{second} s</text>",
                HEIGHT - 7.0
            ));
            second += step;
        }
        svg.push_str(inside);
        svg.push_str("</svg>");
        svg
    }

    /// Steps: each second as high as it was.
    fn area(&self, below: &[u64], above: &[u64], scale: &Scale, colour: &str) -> String {
        let step = |(second, value): (usize, &u64)| {
            let y = scale.y(*value as f64);
            let (from, to) = (self.x(second as f64), self.x(second as f64 + 1.0));
            [format!("{from:.1},{y:.1} "), format!("{to:.1},{y:.1} ")]
        };
        let mut points: Vec<String> = above.iter().enumerate().flat_map(step).collect();
        let mut back: Vec<String> = below.iter().enumerate().flat_map(step).collect();
        back.reverse();
        points.append(&mut back);
        format!(
            "<polygon points=\"{}\" fill=\"var(--{colour})\"/>",
            points.concat().trim_end()
        )
    }

    /// A line with gaps where nothing was measured.
    fn line(&self, values: &[Option<f64>], scale: &Scale, colour: &str) -> String {
        let points: Vec<Option<(f64, f64)>> = values
            .iter()
            .enumerate()
            .map(|(second, value)| value.map(|value| (second as f64 + 0.5, value)))
            .collect();
        points
            .split(Option::is_none)
            .map(|run| {
                self.polyline(
                    &run.iter().flatten().copied().collect::<Vec<_>>(),
                    scale,
                    colour,
                )
            })
            .collect()
    }

    fn polyline(&self, points: &[(f64, f64)], scale: &Scale, colour: &str) -> String {
        if points.is_empty() {
            return String::new();
        }
        let points: String = points
            .iter()
            .filter(|(at, _)| *at <= self.seconds)
            .map(|(at, value)| format!("{:.1},{:.1} ", self.x(*at), scale.y(*value)))
            .collect();
        format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"var(--{colour})\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            points.trim_end()
        )
    }

    fn bound(&self, value: f64, scale: &Scale) -> String {
        let y = scale.y(value);
        format!(
            "<line class=\"bound\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            WIDTH - RIGHT
        )
    }
}

/// Anybody's words as text in a page.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_s_words_cannot_become_markup() {
        assert_eq!(escaped("<b>&\"'x"), "&lt;b&gt;&amp;&quot;&#39;x");
    }

    #[test]
    fn scales_end_on_round_numbers() {
        for (most, top, lines) in [
            (0.0, 1.0, 2),
            (1.0, 1.0, 2),
            (7.0, 8.0, 5),
            (20.0, 20.0, 5),
            (100.0, 100.0, 6),
            (9_998.0, 10_000.0, 6),
            (11_592.0, 12_500.0, 6),
        ] {
            let scale = Scale::linear(most);
            assert_eq!(
                (scale.lines().last().copied(), scale.lines().len()),
                (Some(top), lines),
                "{most}"
            );
            assert_eq!(scale.y(top), TOP);
        }
    }

    #[test]
    fn gaps_stay_gaps() {
        let frame = Frame {
            seconds: 10.0,
            what_happens: "attack",
            onset: 2.0,
            attack_end: 6.0,
        };
        let line = frame.line(
            &[Some(1.0), Some(2.0), None, Some(3.0)],
            &Scale::linear(4.0),
            "reader",
        );
        assert_eq!(line.matches("<polyline").count(), 2);
    }
}
