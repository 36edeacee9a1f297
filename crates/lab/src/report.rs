//! The report of a drill: one page that explains itself, to be opened anywhere and sent to anybody.
//!
//! No script, no font, no request: the charts are drawn here, as SVG. A phone is as wide as one chart, a desk as two. Colours are
//! chosen to be told apart by most people, in light and in dark, and every chart says in words what it shows.

use crate::load::AttackTally;
use crate::referee::{
    DetectionResult, GroupResult, Outcome, millis, percent, percent_upwards, plain, thousands,
};

/// Of a chart's own coordinates; the page scales them.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1c1b1a;--soft:#66625c;--line:#dedad3;--good:#0a7d55;--bad:#c2331f;
--cache:#2a9d78;--origin:#c2331f;--wait:#d99a1c;--refuse:#6d6a8f;--gone:#a9a59d;--reader:#1f6fb5;--band:#c2331f14;--hit:#6d6a8f}
@media(prefers-color-scheme:dark){:root{--ground:#161514;--card:#1f1e1c;--ink:#ece9e4;--soft:#a39e96;--line:#3a3733;--good:#4cc796;--bad:#ff7a63;
--cache:#3fbf93;--origin:#ff7a63;--wait:#e8b04a;--refuse:#9a96c8;--gone:#6f6b64;--reader:#6cb2ee;--band:#ff7a6322;--hit:#9a96c8}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .5rem}
p{margin:.25rem 0 1rem;max-width:70ch}
.soft{color:var(--soft)}
.verdict{font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;margin:20px 0;padding:0}
.figures div,figure,section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.figures div{padding:14px 12px}
.figures dt{color:var(--soft);font-size:.85rem}
.figures dd{margin:0;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25;white-space:nowrap}
.figures dd small{display:block;white-space:normal;font-size:.8rem;font-weight:400;color:var(--soft)}
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
.key .line{width:2px;height:1em;border-radius:0;vertical-align:-.15em}
.moment{stroke:var(--ink);stroke-width:2}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:break-word}
th{color:var(--soft);font-weight:500;font-size:.85rem}
tr:last-child td{border-bottom:0}
section{margin-top:12px}
section p{max-width:none;columns:2 340px;column-gap:32px}
.saw{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:0 40px}
.saw>h2{grid-column:1/-1}
.saw>div{min-width:0}
.saw p{columns:auto}
.saw h3{font-size:.95rem;margin:.5rem 0 .25rem}
.saw ul{margin:.25rem 0 1rem;padding-left:1.2em}
.saw li{margin:.15rem 0;overflow-wrap:anywhere}
@media(max-width:700px){
svg text{font-size:12px}
td:first-child{width:99%}
.figures div:last-child:nth-child(odd){grid-column:1/-1}
.groups tr:first-child{display:none}
.groups tr{display:grid;grid-template-columns:1fr 1fr;gap:2px 12px;padding:8px 0;border-bottom:1px solid var(--line)}
.groups tr:last-child{border:0;padding-bottom:0}
.groups td{display:flex;justify-content:space-between;align-items:baseline;gap:6px;padding:0;border:0;font-size:.9rem}
.groups td::before{content:attr(data-is);color:var(--soft);font-size:.75rem}
.groups td:first-child{grid-column:1/-1;font-weight:600;font-size:1rem}
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

/// What Saqta takes the newsroom for: its word, the colour. In calm nothing is drawn.
const POSTURES: [(&str, &str); 2] = [("guarded", "soft"), ("under attack", "ink")];

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
    saw(&mut page, outcome);
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
    if let Some(coverage) = outcome.detection.coverage {
        figure(
            "Rules hit",
            percent(Some(coverage)),
            format!(
                "of {}, {} of everybody else",
                the_attack(outcome),
                percent_upwards(outcome.detection.collateral_share)
            ),
        );
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

/// What is claimed to be hit.
fn the_attack(outcome: &Outcome) -> &'static str {
    let found = &outcome.detection;
    if found.crude_hit_share.is_some() && found.alike_hit_share.is_some() {
        "the crude attackers"
    } else {
        "the attack"
    }
}

fn charts(page: &mut String, outcome: &Outcome) {
    let timeline = &outcome.timeline;
    let frame = Frame {
        seconds: outcome.seconds.max(1.0),
        what_happens: what_happens(outcome),
        onset: timeline.onset_s,
        attack_end: timeline.attack_end_s,
    };
    let marks = Marks::of(outcome);
    // Drawn on the first chart, and where the rules are.
    let mut first = Some(&marks);
    if outcome.attack.requests > 0 {
        flood(page, outcome, &frame, first.take());
    }

    let share = |tally: &crate::load::Tally| {
        (tally.requests > 0).then(|| 100.0 * tally.served as f64 / tally.requests as f64)
    };
    let shares: Vec<Option<f64>> = timeline.readers.iter().map(share).collect();
    let scale = Scale::linear(100.0);
    let mut lines = frame.line(&shares, &scale, "reader");
    let mut key = String::new();
    if let Some(marks) = first.take().filter(|marks| !marks.postures.is_empty()) {
        lines.push_str(&marks.drawn(&frame));
        key = format!("<ul class=\"key\">{}</ul>", marks.key());
    }
    let caption = "Of the readers' requests due in each second, how many got their page.";
    figure(
        page,
        "Readers served",
        &key,
        &frame.chart(&scale, caption, &lines, |v| format!("{v} %")),
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

    if outcome.detection.onset_to_signature_ms.is_some() {
        rules_hit(page, outcome, &frame, &marks);
    }

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

fn flood(page: &mut String, outcome: &Outcome, frame: &Frame, marks: Option<&Marks>) {
    let timeline = &outcome.timeline;
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
    if let Some(marks) = marks {
        layers.push_str(&marks.drawn(frame));
        key.push_str(&marks.key());
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

fn rules_hit(page: &mut String, outcome: &Outcome, frame: &Frame, marks: &Marks) {
    let timeline = &outcome.timeline;
    let zero = vec![0; timeline.attack.len()];
    let hit: Vec<u64> = timeline.attack.iter().map(|tally| tally.hit).collect();
    let answered: Vec<u64> = timeline.attack.iter().map(|tally| tally.answered).collect();
    let scale = Scale::linear(answered.iter().copied().max().unwrap_or(0) as f64);
    let layers = [
        frame.area(&zero, &hit, &scale, "hit"),
        frame.area(&hit, &answered, &scale, "gone"),
        marks.drawn(frame),
    ];
    let caption = "Of the attackers' requests that got an answer, those that a rule hit; a second.";
    figure(
        page,
        "What the rules hit",
        &format!(
            "<ul class=\"key\"><li><i style=\"background:var(--hit)\"></i>hit</li>\
             <li><i style=\"background:var(--gone)\"></i>not hit</li>{}</ul>",
            marks.key()
        ),
        &frame.chart(&scale, caption, &layers.concat(), |v| thousands(v as u64)),
        caption,
    );
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
            expectation
                .name
                .replace('_', "_<wbr>")
                .replace('.', ".<wbr>"),
            plain(expectation.bound)
        ));
    }
    page.push_str("</table></section>\n");
}

/// What detection made of it, in words.
fn saw(page: &mut String, outcome: &Outcome) {
    let found = &outcome.detection;
    page.push_str("<section class=\"saw\"><h2>What Saqta saw</h2>\n");
    if found.baseline.is_none() {
        page.push_str(
            "<p class=\"soft\">Nothing can be seen: the drill was against another server, and whether that notices an attack shows nowhere \
             from outside.</p></section>\n",
        );
        return;
    }
    page.push_str(&format!("<div><p>{}</p>\n", escaped(&verdict(outcome))));
    if found.postures.len() > 1 {
        page.push_str("<ul>\n");
        for change in &found.postures {
            page.push_str(&format!(
                "<li>{} {}</li>\n",
                escaped(&change.posture),
                since_onset(change.after_onset_ms)
            ));
        }
        page.push_str("</ul>\n");
    }
    page.push_str(&format!("<h3>Rules</h3>\n<p>{}</p>\n", about_rules(found)));
    if found.signatures.is_empty() {
        page.push_str("</div></section>\n");
        return;
    }
    page.push_str("<ul>\n");
    for rule in &found.signatures {
        page.push_str(&format!("<li>{}</li>\n", escaped(rule)));
    }
    page.push_str("</ul></div>\n<div>\n");
    whom_rules_hit(page, outcome);
    page.push_str("</div></section>\n");
}

/// Was it an attack, and how soon was that known?
fn verdict(outcome: &Outcome) -> String {
    let found = &outcome.detection;
    match found.onset_to_attack_ms {
        Some(after_ms) => {
            let because = found.because.as_deref();
            format!(
                "An attack, known as one {}{}.",
                since_onset(after_ms),
                because.map_or(String::new(), |because| format!(": {because}"))
            )
        }
        None if found.postures.is_empty() => {
            "Nothing out of the ordinary: Saqta was calm throughout.".to_owned()
        }
        None => "No attack: more was asked for than usual, and nothing ran short. Nobody is held back for that."
            .to_owned(),
    }
}

/// What there are, or why there are none and why that is right.
fn about_rules(found: &DetectionResult) -> String {
    const BY_TURNS: &str = "The server is shared out by turns, and searches and pages come from copies where it has no room.";
    if !found.signatures.is_empty() {
        return match found.onset_to_signature_ms {
            Some(after_ms) => format!(
                "The first request that a rule hit was due {}. Whoever a rule hits gets copies and waits behind everybody else. What the requests have in common:",
                since_onset(after_ms)
            ),
            None => "No request of the attack came that they hit.".to_owned(),
        };
    }
    match (found.onset_to_attack_ms, found.verdict.as_deref()) {
        (None, _) => "None: without an attack none is made.".to_owned(),
        (_, Some("copies answer it")) => {
            "None, and none is needed: copies answer these requests, and the server hears little of them.".to_owned()
        }
        (_, Some("too little baseline")) => {
            format!("None: too little had been seen before it began to know what is ordinary. {BY_TURNS}")
        }
        (_, Some("no rule under the gate")) => {
            format!("None: what these requests have in common readers have too, and a rule would hit them. {BY_TURNS}")
        }
        _ => format!("None: these requests have nothing in common. {BY_TURNS}"),
    }
}

/// Shares of the attack are floors and of everybody else ceilings, so that neither looks better than it was.
fn whom_rules_hit(page: &mut String, outcome: &Outcome) {
    let found = &outcome.detection;
    page.push_str("<h3>Whom they hit</h3>\n<table><tr><th>Requests of<th>Hit</tr>\n");
    let mut row = |who: &str, hit: String| {
        page.push_str(&format!("<tr><td>{who}<td>{hit}</tr>\n"));
    };
    for (who, share) in [
        ("attackers with a library's fields", found.crude_hit_share),
        (
            "attackers like readers in everything",
            found.alike_hit_share,
        ),
    ] {
        if share.is_some() {
            row(who, percent(share));
        }
    }
    row("everybody else", percent_upwards(found.collateral_share));
    row(
        "everybody else, at most (95 %)",
        percent_upwards(found.collateral_upper),
    );
    page.push_str(
        "</table>\n<p class=\"soft\">Of the attack from the second after the first hit on; of everybody else from the attack's beginning to the drill's end. \
         At most: the upper end of the Wilson interval, which is wide where requests were few; each group is in the table below.</p>\n",
    );
}

fn since_onset(after_ms: f64) -> String {
    let time = millis(Some(after_ms.abs()));
    if after_ms < 0.0 {
        format!("{time} before it began")
    } else {
        format!("{time} after it began")
    }
}

/// On a phone each group is a block, its figures named one by one. Nobody but Saqta says whom its rules hit.
fn groups(page: &mut String, outcome: &Outcome) {
    const COLUMNS: [&str; 9] = [
        "Group",
        "Requests",
        "Served",
        "At least (95 %)",
        "Slowest of 100",
        "Waiting page",
        "Refused",
        "Hit by rules",
        "At most (95 %)",
    ];
    const SEEN_FROM_OUTSIDE: usize = 7;
    let columns = match outcome.detection.baseline {
        Some(_) => &COLUMNS[..],
        None => &COLUMNS[..SEEN_FROM_OUTSIDE],
    };
    let readers = GroupResult::from(&outcome.readers);
    page.push_str("<section><h2>Who was served</h2><table class=\"groups\"><tr>");
    for column in columns {
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
            percent_upwards(group.hit_share),
            percent_upwards(group.hit_share_upper),
        ];
        page.push_str("<tr>");
        for (column, cell) in columns.iter().zip(cells) {
            page.push_str(&format!("<td data-is=\"{column}\">{cell}"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></section>\n");
}

/// What Saqta took the newsroom for, along the top of a chart, and when the first request that a rule hit was due.
struct Marks {
    /// From, to, in seconds; which of [`POSTURES`].
    postures: Vec<(f64, f64, usize)>,
    first_hit_s: Option<f64>,
}

impl Marks {
    fn of(outcome: &Outcome) -> Self {
        let found = &outcome.detection;
        let at_s = |after_onset_ms: f64| outcome.timeline.onset_s + after_onset_ms / 1_000.0;
        let ends = found.postures.iter().skip(1);
        let ends = ends
            .map(|next| at_s(next.after_onset_ms))
            .chain([outcome.seconds]);
        let postures = found.postures.iter().zip(ends).filter_map(|(change, end)| {
            let which = POSTURES
                .iter()
                .position(|(word, _)| *word == change.posture)?;
            Some((at_s(change.after_onset_ms), end, which))
        });
        Self {
            postures: postures.collect(),
            first_hit_s: found.onset_to_signature_ms.map(at_s),
        }
    }

    fn drawn(&self, frame: &Frame) -> String {
        let mut svg = String::new();
        for (from, to, which) in &self.postures {
            let (from, to) = (frame.x(*from), frame.x(*to));
            svg.push_str(&format!(
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"5\" fill=\"var(--{})\"/>",
                TOP - 7.0,
                (to - from).max(1.0),
                POSTURES[*which].1,
            ));
        }
        if let Some(at) = self.first_hit_s.map(|at| frame.x(at)) {
            svg.push_str(&format!(
                "<line class=\"moment\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                TOP - 9.0,
                HEIGHT - BOTTOM
            ));
        }
        svg
    }

    /// Of what is drawn.
    fn key(&self) -> String {
        let mut key = String::new();
        for (which, (word, colour)) in POSTURES.iter().enumerate() {
            if self.postures.iter().any(|(_, _, drawn)| *drawn == which) {
                key.push_str(&format!(
                    "<li><i style=\"background:var(--{colour})\"></i>{word}</li>"
                ));
            }
        }
        if self.first_hit_s.is_some() {
            key.push_str(
                "<li><i class=\"line\" style=\"background:var(--ink)\"></i>first request hit</li>",
            );
        }
        key
    }
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
    use crate::load::Books;
    use crate::referee::{self, EdgeBook, Evidence, OriginBook, PostureResult};
    use crate::scenario;

    /// Of a drill in which nothing happened. `is_ours`: against Saqta, which says what it saw.
    fn outcome(is_ours: bool) -> Outcome {
        let scenario = scenario::parse(scenario::embedded("mixed").unwrap()).unwrap();
        referee::judge(&Evidence {
            scenario: &scenario,
            grade: "half",
            dialect: "generic",
            readers: &Books::default(),
            attackers: None,
            origin: OriginBook::default(),
            edge: is_ours.then(EdgeBook::default),
            untimed: false,
        })
    }

    fn attacked() -> Outcome {
        let mut outcome = outcome(true);
        let posture = |after_onset_ms, posture: &str| PostureResult {
            after_onset_ms,
            posture: posture.to_owned(),
        };
        outcome.detection = DetectionResult {
            postures: vec![posture(-500.0, "guarded"), posture(1_000.0, "under attack")],
            because: Some("more requests than usual".to_owned()),
            verdict: Some("generated".to_owned()),
            onset_to_attack_ms: Some(1_000.0),
            onset_to_signature_ms: Some(1_500.0),
            coverage: Some(0.99999),
            crude_hit_share: Some(0.99999),
            alike_hit_share: Some(0.25),
            collateral_share: Some(0.00001),
            collateral_upper: Some(0.00042),
            signatures: vec!["100 % of the attack: program <b>x</b>".to_owned()],
            ..outcome.detection
        };
        outcome.groups = vec![GroupResult {
            name: "tor".to_owned(),
            requests: 1_042,
            hit_share: Some(0.0),
            hit_share_upper: Some(0.00276),
            ..GroupResult::from(&outcome.readers)
        }];
        outcome
    }

    fn said(outcome: &Outcome) -> String {
        let mut page = String::new();
        saw(&mut page, outcome);
        page
    }

    #[test]
    fn what_was_seen_is_said() {
        let page = said(&attacked());
        for part in [
            "<p>An attack, known as one 1.0 s after it began: more requests than usual.</p>",
            "<li>guarded 500 ms before it began</li>\n<li>under attack 1.0 s after it began</li>",
            "was due 1.5 s after it began.",
            // Whatever attackers call themselves.
            "<li>100 % of the attack: program &lt;b&gt;x&lt;/b&gt;</li>",
            // No share of the attack is rounded up, none of anybody else's down.
            "<tr><td>attackers with a library's fields<td>99.99 %</tr>",
            "<tr><td>attackers like readers in everything<td>25.00 %</tr>",
            "<tr><td>everybody else<td>0.01 %</tr>",
            "<tr><td>everybody else, at most (95 %)<td>0.05 %</tr>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_guessed() {
        let page = said(&outcome(false));
        assert!(page.contains("Nothing can be seen"), "{page}");
        assert!(!page.contains("Rules"), "{page}");
    }

    #[test]
    fn each_group_has_its_share_where_saqta_says_it() {
        for (is_ours, has) in [(true, true), (false, false)] {
            let mut page = String::new();
            let baseline = outcome(is_ours).detection.baseline;
            let mut outcome = attacked();
            outcome.detection.baseline = baseline;
            groups(&mut page, &outcome);
            let shares =
                "<td data-is=\"Hit by rules\">0.00 %<td data-is=\"At most (95 %)\">0.28 %</tr>";
            assert_eq!(page.contains(shares), has, "{page}");
            assert!(page.contains("<td data-is=\"Group\">tor"), "{page}");
        }
    }

    /// When it was an attack, what Saqta found; what the page says of that.
    #[test]
    fn that_there_is_no_rule_has_a_reason() {
        for (after_ms, verdict, says) in [
            (None, None, "None: without an attack none is made."),
            (Some(1.0), Some("copies answer it"), "none is needed"),
            (
                Some(1.0),
                Some("too little baseline"),
                "too little had been seen",
            ),
            (
                Some(1.0),
                Some("no rule under the gate"),
                "readers have too",
            ),
            (Some(1.0), Some("nothing significant"), "nothing in common"),
        ] {
            let found = DetectionResult {
                onset_to_attack_ms: after_ms,
                verdict: verdict.map(str::to_owned),
                ..DetectionResult::default()
            };
            let said = about_rules(&found);
            assert!(said.contains(says), "{verdict:?}: {said}");
        }
    }

    #[test]
    fn marks_lie_where_it_happened() {
        let marks = Marks::of(&attacked());
        // The attack begins at 20 s of 60.
        assert_eq!(marks.postures, [(19.5, 21.0, 0), (21.0, 60.0, 1)]);
        assert_eq!(marks.first_hit_s, Some(21.5));
        let key = marks.key();
        for word in ["guarded", "under attack", "first request hit"] {
            assert!(key.contains(word), "{key}");
        }
        let nothing = Marks::of(&outcome(false));
        assert_eq!(nothing.key(), "");
    }

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
