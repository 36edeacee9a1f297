//! The answer as a page: when it was calm and when not, and for each incident what distinguished it, in three languages.
//!
//! No script, no font, no request: the time line is drawn here, once for a desk and once for a phone. It can be opened anywhere and sent to
//! anybody who may see the log: it names networks, programs and parameters out of it. The whole page stands in it three times, and the
//! address chooses: `replay.html#kk`.

use std::fmt::Write;

use saqta_detect::engine::Incident;
use saqta_detect::sentence::{Language, no_rule, sentence, shown, trigger};
use saqta_lab::referee::thousands;
use saqta_lab::report::escaped;

use super::axis::{Unit, lines, ticks};
use super::labels::Class;
use super::tell::{ESTIMATED_FROM, Rule, from_to, rules, share};
use super::timeline::{Bar, TimeLine};
use super::{Measured, Told};

/// The last one is shown where the address names none.
const LANGUAGES: [(Language, &str, &str); 3] = [
    (Language::Kazakh, "kk", "Қазақша"),
    (Language::Russian, "ru", "Русский"),
    (Language::English, "en", "English"),
];

/// A picture's own coordinates; the page scales it little.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    /// Between two words on the axis.
    gap: f64,
}

const FRAMES: [Frame; 2] = [
    Frame {
        class: "wide",
        width: 1_056.0,
        height: 260.0,
        gap: 110.0,
    },
    Frame {
        class: "phone",
        width: 340.0,
        height: 210.0,
        gap: 68.0,
    },
];
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 20.0;
/// Two lines of words.
const BOTTOM: f64 = 36.0;
/// An incident is at least so wide, to be seen.
const BAND_MIN: f64 = 2.0;
/// Of an incident's number, with room beside it.
const NUMBER_WIDTH: f64 = 20.0;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1c1b1a;--soft:#66625c;--line:#dedad3;--all:#1f6fb5;--hit:#c2331f;--band:#c2331f26}
@media(prefers-color-scheme:dark){:root{--ground:#161514;--card:#1f1e1c;--ink:#ece9e4;--soft:#a39e96;--line:#3a3733;--all:#6cb2ee;--hit:#ff7a63;--band:#ff7a633a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:16px 16px 48px}
.in{display:none}
.in:target,#en{display:block}
.in:target~#en{display:none}
nav{display:flex;flex-wrap:wrap;gap:0 4px;margin:0 -8px 8px;font-size:.95rem}
nav a,nav b{padding:8px;color:var(--soft)}
nav b{color:var(--ink)}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.05rem;margin:0 0 .25rem;font-variant-numeric:tabular-nums}
h2.all{margin:24px 0 .25rem}
p{margin:.25rem 0 .75rem;max-width:75ch;overflow-wrap:anywhere}
section p::first-letter{text-transform:uppercase}
.soft{color:var(--soft);font-size:.9rem;max-width:90ch}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0;padding:0}
.figures div,figure,section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.figures dt{color:var(--soft);font-size:.85rem}
.figures dd{margin:0;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}
.figures dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
figure,section{margin:12px 0}
figcaption{color:var(--soft);font-size:.85rem;margin-top:.35rem}
svg{width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg .n{font-weight:600;fill:var(--hit)}
svg.phone{display:none}
svg.wide{display:block}
.grid{stroke:var(--line)}
.all{fill:var(--all)}.hit{fill:var(--hit)}.band{fill:var(--band)}
.key{display:flex;flex-wrap:wrap;gap:4px 14px;list-style:none;margin:0 0 .4rem;padding:0;font-size:.85rem;color:var(--soft)}
.key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
.rule{border-left:3px solid var(--hit);padding-left:12px;margin:.75rem 0}
.rule p{margin:.15rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:left;vertical-align:top;padding:6px 16px 6px 0;border-bottom:1px solid var(--line)}
td.n{text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:.85rem}
tr:last-child td{border-bottom:0}
@media(max-width:700px){
main{padding:8px 12px 40px}
svg.phone{display:block}
svg.wide{display:none}
tr:first-child:has(th){display:none}
tr{display:block;padding:6px 0;border-bottom:1px solid var(--line)}
tr:last-child{border:0}
td,td.n{display:inline;text-align:left;padding:0 .6em 0 0;border:0;white-space:normal}
td:first-child{font-weight:600}
td:nth-last-child(2)::before{content:\"· \"}
td:last-child{display:block;color:var(--soft)}
}
";

pub(super) fn html(told: &Told) -> String {
    let mut page = String::with_capacity(256 * 1024);
    // Writing to a String cannot fail.
    _ = write(&mut page, told);
    page
}

fn write(page: &mut String, told: &Told) -> std::fmt::Result {
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>Saqta: replay</title>\n<style>{STYLE}</style>\n<main>"
    )?;
    for (language, code, _) in LANGUAGES {
        writeln!(page, "<div class=\"in\" id=\"{code}\" lang=\"{code}\">")?;
        Telling { told, language }.all(page)?;
        writeln!(page, "</div>")?;
    }
    writeln!(page, "</main>\n</html>")
}

/// The page in one language.
struct Telling<'a> {
    told: &'a Told,
    language: Language,
}

impl Telling<'_> {
    fn say<T>(&self, said: [T; 3]) -> T {
        self.language.pick(said)
    }

    fn all(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "<nav>")?;
        for (language, code, name) in LANGUAGES {
            if language == self.language {
                writeln!(page, "<b>{name}</b>")?;
            } else {
                writeln!(page, "<a href=\"#{code}\" lang=\"{code}\">{name}</a>")?;
            }
        }
        let title = self.say([
            "Saqta не істер еді",
            "Что сделала бы Saqta",
            "What Saqta would have done",
        ]);
        let span = self.told.time_line.first_and_last();
        let span = span.map_or_else(String::new, |(from, to)| self.span(from, Some(to)) + ". ");
        let assumed = self.say([
            "Журнал ненің жетпегенін айтпайды: дабыл көтерілген сәттен бір нәрсе жетіспеді деп есептеледі.",
            "Журнал не говорит, чего не хватало: считается, что с начала тревоги чего-то не хватало.",
            "A log does not tell what ran short: from an alarm on it is taken for granted that something did.",
        ]);
        writeln!(
            page,
            "</nav>\n<h1>{title}</h1>\n<p class=\"soft\">{span}{assumed}</p>"
        )?;
        self.figures(page)?;
        self.picture(page)?;
        self.incidents(page)?;
        self.labels(page)
    }

    fn figures(&self, page: &mut String) -> std::fmt::Result {
        let told = self.told;
        let bars = told.time_line.bars();
        let all: u64 = bars.iter().map(|bar| bar.all).sum();
        let hit: u64 = bars.iter().map(|bar| bar.hit).sum();
        let with_rule = told
            .incidents
            .iter()
            .filter(|incident| !incident.signatures.is_empty())
            .count();
        let with_rule = self.number(with_rule as u64);
        let hits = self.number(hit);
        let mut figures = vec![
            (
                self.say(["Сұраулар", "Запросы", "Requests"]),
                self.number(all),
                String::new(),
            ),
            (
                self.say(["Оқылмаған жолдар", "Непрочитанные строки", "Lines not read"]),
                self.number(told.junk.lines),
                String::new(),
            ),
        ];
        // Counts tell load and nothing else.
        if let Some((minutes, guarded)) = told.minutes {
            figures.push((
                self.say(["Сақ тұрған минуттар", "Минуты настороже", "Minutes guarded"]),
                self.number(guarded),
                self.percent(share(guarded, minutes), 2),
            ));
        } else {
            figures.push((
                self.say(["Оқыс оқиғалар", "Инциденты", "Incidents"]),
                self.number(told.incidents.len() as u64),
                self.say([
                    format!("ережесі бары: {with_rule}"),
                    format!("с правилом: {with_rule}"),
                    format!("with a rule: {with_rule}"),
                ]),
            ));
            figures.push((
                self.say(["Ережеге ілінгені", "Попало под правила", "Hit by a rule"]),
                self.percent(share(hit, all), 2),
                self.say([
                    format!("сұраулар: {hits}"),
                    format!("запросы: {hits}"),
                    format!("requests: {hits}"),
                ]),
            ));
        }
        writeln!(page, "<dl class=\"figures\">")?;
        for (name, value, more) in figures {
            writeln!(
                page,
                "<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>"
            )?;
        }
        writeln!(page, "</dl>")
    }

    fn picture(&self, page: &mut String) -> std::fmt::Result {
        let line = &self.told.time_line;
        let Some((from, until)) = line.span() else {
            return Ok(());
        };
        let bar_s = line.bar_s() as f64;
        let most = line.bars().iter().map(|bar| bar.all).max().unwrap_or(0) as f64 / bar_s;
        let unit = Unit::of(most);
        let bar = self.lasting(line.bar_s());
        let caption = self.say([
            format!(
                "{} сұрау саны, {bar} ішіндегі орташа. Уақыт UTC бойынша.",
                match unit {
                    Unit::Second => "Секундына",
                    Unit::Minute => "Минутына",
                    Unit::Hour => "Сағатына",
                }
            ),
            format!(
                "Запросов в {}, в среднем за {bar}. Время UTC.",
                match unit {
                    Unit::Second => "секунду",
                    Unit::Minute => "минуту",
                    Unit::Hour => "час",
                }
            ),
            format!(
                "Requests {}, the mean of {bar}. Times are UTC.",
                match unit {
                    Unit::Second => "a second",
                    Unit::Minute => "a minute",
                    Unit::Hour => "an hour",
                }
            ),
        ]);
        writeln!(page, "<figure>\n<ul class=\"key\">")?;
        for (colour, words) in [
            ("all", self.say(["сұраулар", "запросы", "requests"])),
            (
                "hit",
                self.say(["ережеге ілінгені", "попали под правило", "hit by a rule"]),
            ),
            ("band", self.say(["оқыс оқиға", "инцидент", "incident"])),
        ] {
            writeln!(
                page,
                "<li><i style=\"background:var(--{colour})\"></i>{words}</li>"
            )?;
        }
        writeln!(page, "</ul>")?;
        for frame in FRAMES {
            let drawn = Drawn {
                frame: &frame,
                from,
                until,
                top: lines(most * unit.seconds()),
                per_bar: unit.seconds() / bar_s,
            };
            self.chart(page, &drawn, line, &caption)?;
        }
        writeln!(page, "<figcaption>{caption}</figcaption>\n</figure>")
    }

    fn chart(
        &self,
        page: &mut String,
        drawn: &Drawn<'_>,
        line: &TimeLine,
        caption: &str,
    ) -> std::fmt::Result {
        let Frame {
            class,
            width,
            height,
            gap,
        } = drawn.frame;
        let floor = height - BOTTOM;
        writeln!(
            page,
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{caption}\">"
        )?;
        let mut free = 0.0;
        for (at, incident) in self.told.incidents.iter().enumerate() {
            let (start, end) = (
                drawn.x(incident.onset_s),
                drawn.x(incident.end_s.unwrap_or(drawn.until)),
            );
            writeln!(
                page,
                "<rect class=\"band\" x=\"{start:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                (end - start).max(BAND_MIN),
                floor - TOP,
                self.span(incident.onset_s, incident.end_s),
            )?;
            // Numbers that would run into each other are left out; the list has them all.
            if start >= free && !incident.signatures.is_empty() {
                writeln!(
                    page,
                    "<text class=\"n\" x=\"{start:.1}\" y=\"{:.1}\">{}</text>",
                    TOP - 6.0,
                    at + 1
                )?;
                free = start + NUMBER_WIDTH;
            }
        }
        for value in &drawn.top {
            let y = drawn.y(*value as f64);
            writeln!(
                page,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                width - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                self.number(*value)
            )?;
        }
        drawn.bars(page, "all", line.bars(), |bar| bar.all)?;
        drawn.bars(page, "hit", line.bars(), |bar| bar.hit)?;
        for tick in ticks(drawn.from, drawn.until, (width / gap) as usize) {
            let x = drawn.x(tick.second);
            let anchor = if x + gap / 2.0 > *width {
                "end"
            } else if x - gap / 2.0 < 0.0 {
                "start"
            } else {
                "middle"
            };
            write!(
                page,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{floor}\" y2=\"{}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                floor + 4.0,
                floor + 17.0,
                tick.says
            )?;
            if let Some(of) = tick.of {
                write!(
                    page,
                    "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{of}</text>",
                    floor + 32.0
                )?;
            }
            writeln!(page)?;
        }
        writeln!(page, "</svg>")
    }

    fn incidents(&self, page: &mut String) -> std::fmt::Result {
        let numbered = || (1..).zip(&self.told.incidents);
        let has_rule = |incident: &Incident| !incident.signatures.is_empty();
        if self.told.incidents.is_empty() && self.told.minutes.is_some() {
            return Ok(());
        }
        if self.told.incidents.is_empty() {
            let calm = self.say([
                "Әдеттегіден көп сұрау келген жоқ.",
                "Запросов больше обычного не было.",
                "Nothing came that was more than usual.",
            ]);
            return writeln!(page, "<section><p>{calm}</p></section>");
        }
        for (number, incident) in numbered().filter(|(_, incident)| has_rule(incident)) {
            self.incident(page, number, incident)?;
        }
        if numbered().all(|(_, incident)| has_rule(incident)) {
            return Ok(());
        }
        let title = self.say(["Ережесіз", "Без правила", "Without a rule"]);
        let protected = self.say([
            "Серверді беттердің көшірмелері мен кезек қорғар еді.",
            "Сервер защитили бы копии страниц и очередь.",
            "Copies of pages and the queue would have protected the server.",
        ]);
        writeln!(
            page,
            "<section>\n<h2>{title}</h2>\n<p class=\"soft\">{protected}</p>\n<table>"
        )?;
        for (number, incident) in numbered().filter(|(_, incident)| !has_rule(incident)) {
            writeln!(
                page,
                "<tr><td>{number}<td>{}<td>{}<td>{}</tr>",
                self.span(incident.onset_s, incident.end_s),
                self.came(incident),
                no_rule(incident.verdict, self.language)
            )?;
        }
        writeln!(page, "</table>\n</section>")
    }

    fn incident(&self, page: &mut String, number: usize, incident: &Incident) -> std::fmt::Result {
        writeln!(
            page,
            "<section>\n<h2>{number} · {}</h2>\n<p class=\"soft\">{}: {}</p>",
            self.span(incident.onset_s, incident.end_s),
            trigger(incident.trigger, self.language),
            self.came(incident)
        )?;
        for rule in rules(incident) {
            self.rule(page, &rule)?;
        }
        writeln!(page, "</section>")
    }

    fn rule(&self, page: &mut String, told: &Rule<'_>) -> std::fmt::Result {
        let stood = self.span(told.from_s, told.until_s);
        let hits = self.number(told.hits);
        let confidence = self.percent(Some(told.rule.signature.confidence), 1);
        let times = match told.times {
            1 => String::new(),
            times => self.say([
                format!(" ({times} рет табылды)"),
                format!(" (найдено раз: {times})"),
                format!(" (found {times} times)"),
            ]),
        };
        let withdrawn = if told.is_withdrawn {
            self.say([
                "; қайтарып алынды: бұрыннан белгілі оқырмандарға тиді",
                "; отменено: задевало читателей, известных раньше",
                "; withdrawn: it hit readers who were known before",
            ])
        } else {
            ""
        };
        let more = self.say([
            format!("Қолданылды: {stood}{times}; сол кезде ілінгені: {hits}; сенімділігі: {confidence}{withdrawn}"),
            format!("Действовало: {stood}{times}; за это время попало: {hits}; уверенность: {confidence}{withdrawn}"),
            format!("Stood {stood}{times}; hit {hits} meanwhile; confidence {confidence}{withdrawn}"),
        ]);
        writeln!(
            page,
            "<div class=\"rule\">\n<p>{}</p>\n<p class=\"soft\">{more}</p>\n</div>",
            escaped(&sentence(&told.rule.signature, self.language))
        )
    }

    /// How many requests came, and from whom.
    fn came(&self, incident: &Incident) -> String {
        let about = |count: u64| {
            let about = self.say(["шамамен ", "примерно ", "about "]);
            let about = if count < ESTIMATED_FROM { "" } else { about };
            format!("{about}{}", self.number(count))
        };
        let requests = self.requests(incident.requests);
        let hit = match incident.signatures.is_empty() {
            true => String::new(),
            false => {
                let hit = self.number(incident.hit);
                let rest = self.number(incident.requests.saturating_sub(incident.hit));
                self.say([
                    format!(", ережеге сай келетіні: {hit}, қалған {rest} — қалыпты сұраулар мен олардан ажыратылмайтындар"),
                    format!(", под правила подходят: {hit}, остальные {rest} — обычные и те, что от них не отличить"),
                    format!(", {hit} fit a rule, the other {rest} are ordinary ones and what cannot be told from them"),
                ])
            }
        };
        let (sources, networks) = (about(incident.sources), about(incident.networks));
        let from = self.say([
            format!("мекенжайлар: {sources}, желілер: {networks}"),
            format!("адресов: {sources}, сетей: {networks}"),
            format!("addresses: {sources}, networks: {networks}"),
        ]);
        format!("{requests}{hit}; {from}")
    }

    fn labels(&self, page: &mut String) -> std::fmt::Result {
        let told = self.told;
        if told.labels.is_empty() {
            return Ok(());
        }
        writeln!(
            page,
            "<section>\n<h2>{}</h2>\n<table>\n<tr><th>{}<th>{}<th>{}<th>{}</tr>",
            self.say([
                "Белгілермен салыстыру",
                "Сравнение с разметкой",
                "Against the labels"
            ]),
            self.say(["Белгі", "Метка", "Label"]),
            self.say(["Түрі", "Вид", "Class"]),
            self.say(["Жолдар", "Строк", "Lines"]),
            self.say(["Нәтиже", "Итог", "Result"]),
        )?;
        for measured in &told.labels {
            let class = self.say(match measured.label.class {
                Class::Attack => ["шабуыл", "атака", "attack"],
                Class::Trap => ["шабуылға ұқсайды", "похоже на атаку", "trap"],
                Class::Crawler => ["робот", "робот", "crawler"],
            });
            writeln!(
                page,
                "<tr><td>{}<td>{class}<td>{}<td>{}</tr>",
                escaped(&shown(&measured.label.id)),
                self.number(measured.lines),
                self.done(measured)
            )?;
        }
        writeln!(page, "</table>")?;
        if let Some(benign) = &told.benign {
            let (lines, hit) = (self.number(benign.lines), self.number(benign.challenged));
            let percent = self.percent(share(benign.challenged, benign.lines), 2);
            let others = self.say([
                format!("Шабуыл да, робот та емес {lines} жолдың ережеге ілінгені: {hit} ({percent})."),
                format!("Из {lines} строк не от атак и не от роботов под правила попало: {hit} ({percent})."),
                format!("Of {lines} lines of no attack and no crawler {hit} were hit while a rule stood ({percent})."),
            ]);
            writeln!(page, "<p class=\"soft\">{others}</p>")?;
        }
        writeln!(page, "</section>")
    }

    /// An attack is to be found; of everything else a hit is a fault.
    fn done(&self, measured: &Measured) -> String {
        let percent = self.percent(share(measured.hit, measured.lines), 1);
        if measured.lines == 0 {
            let nothing = self.say([
                "бірде-бір жол сәйкес келмейді",
                "не подходит ни одна строка",
                "matches no line",
            ]);
            return nothing.to_owned();
        }
        match (&measured.found, measured.label.class) {
            (Some(found), Class::Attack) => {
                let after = found.generated_s.saturating_sub(measured.first_s);
                self.say([
                    format!("{after} секундтан кейін табылды, ережеге ілінгені: {percent}"),
                    format!("найдена через {after} с, под правила попало {percent}"),
                    format!("found after {after} s, {percent} hit"),
                ])
            }
            (None, Class::Attack) => self.say([
                format!("табылмады, ережеге ілінгені: {percent}"),
                format!("не найдена, под правила попало {percent}"),
                format!("not found, {percent} hit"),
            ]),
            (_, Class::Trap | Class::Crawler) => {
                let hit = self.number(measured.hit);
                self.say([
                    format!("қате ілінгені: {hit} ({percent})"),
                    format!("задето по ошибке: {hit} ({percent})"),
                    format!("hit by mistake: {hit} ({percent})"),
                ])
            }
        }
    }

    fn requests(&self, count: u64) -> String {
        let number = self.number(count);
        let russian = match (count % 10, count % 100) {
            (1, last) if last != 11 => "запрос",
            (2..=4, last) if !(12..=14).contains(&last) => "запроса",
            _ => "запросов",
        };
        let plural = if count == 1 { "" } else { "s" };
        self.say([
            format!("{number} сұрау"),
            format!("{number} {russian}"),
            format!("{number} request{plural}"),
        ])
    }

    fn number(&self, number: u64) -> String {
        let english = thousands(number);
        // A space that does not break.
        let spaced = english.replace(',', "\u{a0}");
        self.say([spaced.clone(), spaced, english])
    }

    fn decimal(&self, number: f64, digits: usize) -> String {
        let english = format!("{number:.digits$}");
        let comma = english.replace('.', ",");
        self.say([comma.clone(), comma, english])
    }

    fn percent(&self, share: Option<f64>, digits: usize) -> String {
        let percent = share.unwrap_or_default() * 100.0;
        format!("{}\u{a0}%", self.decimal(percent, digits))
    }

    fn span(&self, from: u64, to: Option<u64>) -> String {
        from_to(from, to).replace(" to ", " – ")
    }

    fn lasting(&self, seconds: u64) -> String {
        match seconds {
            ..120 => format!("{seconds} {}", self.say(["с", "с", "s"])),
            120..7_200 => format!("{} {}", seconds / 60, self.say(["мин", "мин", "min"])),
            _ => format!("{} {}", seconds / 3_600, self.say(["сағ", "ч", "h"])),
        }
    }
}

/// A time line in its frame.
struct Drawn<'a> {
    frame: &'a Frame,
    from: u64,
    until: u64,
    /// Numbers beside the lines, from 0 on.
    top: Vec<u64>,
    /// From a bar's requests to those of the axis.
    per_bar: f64,
}

impl Drawn<'_> {
    fn x(&self, second: u64) -> f64 {
        let part = second.clamp(self.from, self.until) - self.from;
        let seconds = (self.until - self.from).max(1);
        LEFT + part as f64 / seconds as f64 * (self.frame.width - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let top = self.top.last().map_or(1.0, |top| *top as f64);
        TOP + (1.0 - value / top) * (self.frame.height - BOTTOM - TOP)
    }

    /// As one path: a thousand rectangles would be five times the page.
    fn bars(
        &self,
        page: &mut String,
        class: &str,
        bars: &[Bar],
        count: impl Fn(&Bar) -> u64,
    ) -> std::fmt::Result {
        let floor = self.frame.height - BOTTOM;
        let width = (self.frame.width - LEFT - RIGHT) / bars.len().max(1) as f64;
        write!(page, "<path class=\"{class}\" d=\"")?;
        for (at, bar) in bars.iter().enumerate() {
            let count = count(bar);
            if count > 0 {
                let tall = (floor - self.y(count as f64 * self.per_bar)).max(0.5);
                write!(
                    page,
                    "M{:.1} {floor}v-{tall:.1}h{:.1}v{tall:.1}z",
                    LEFT + at as f64 * width,
                    width.max(0.8)
                )?;
            }
        }
        writeln!(page, "\"/>")
    }
}
