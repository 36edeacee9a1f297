//! The first minute of the product: a newsroom, its readers, a flood, and the shield between them, on one screen.
//!
//! Nothing is staged: the processes, the load and the books are those of a drill (`stage`), and the figures are what they wrote
//! down in the last second. What is shown answers an impatient person in the order of their questions: do readers get their
//! page, how long do they wait, how much is coming in, who answers it, how is the newsroom's own server.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::chart::{bar, sparkline};
use crate::clock;
use crate::corpus::Grade;
use crate::load::Mint;
use crate::load::{AttackTally, Tally};
use crate::newsroom::Newsroom;
use crate::origin::Dialect;
use crate::referee::{self, Evidence, Outcome, millis, percent, thousands, wrapped};
use crate::scenario::{self, Phases, Scenario};
use crate::stage::{self, Interrupted, Live, Play, Who};

const SCENARIO: &str = include_str!("../scenarios/demo.toml");
/// The same newsroom every time.
const SEED: u64 = 1;
/// A terminal's, less one: some wrap at the last.
const COLUMNS: usize = 79;
/// Seconds drawn, one letter each; with the words before them they fill 80 columns.
const HISTORY: usize = 44;

/// Taken by starting the processes and by the last answers, out of the time that was asked for.
const AROUND: Duration = Duration::from_millis(1_500);
/// Of that, by the last books.
const ENDING: Duration = Duration::from_millis(300);

pub const LASTING: Duration = Duration::from_secs(40);

/// What `saqta demo` is told.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// From the first picture to the last word, 3 to 120 s; [`LASTING`] unless told otherwise.
    pub lasting: Duration,
    /// Where the edge keeps its files; a temporary folder when `None`.
    pub data: Option<PathBuf>,
    /// This program.
    pub saqta_exe: PathBuf,
    pub mint: Mint,
}

/// Shows the demo on standard output. Ctrl-C ends it well.
pub fn run_demo(options: &DemoOptions) -> anyhow::Result<()> {
    let ends_at = clock::monotonic() + options.lasting.saturating_sub(ENDING);
    let scenario = match scenario::parse(SCENARIO) {
        Ok(scenario) => scenario.lasting(options.lasting.saturating_sub(AROUND)),
        Err(problems) => anyhow::bail!(
            "the demo's scenario: {}",
            problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        ),
    };
    let play = Play {
        text: SCENARIO.to_owned(),
        scenario: scenario.clone(),
        grade: Grade::Crude,
        dialect: Dialect::Generic,
        seed: SEED,
        against: None,
        exe: options.saqta_exe.clone(),
        mint: options.mint,
        ends_at: Some(ends_at),
        netns: false,
        data: options.data.clone(),
    };
    let mut screen = Screen::new(&scenario);
    let performed = stage::perform(&play, |live| screen.show(live));
    screen.close();
    match performed {
        Ok(performed) => {
            let outcome = referee::judge(&Evidence {
                scenario: &scenario,
                grade: Grade::Crude.name(),
                dialect: Dialect::Generic.name(),
                readers: &performed.readers,
                attackers: performed.attackers.as_ref(),
                origin: performed.origin,
                edge: performed.edge,
                untimed: false,
            });
            say_last(&summary(&outcome, &scenario));
        }
        Err(error) if error.is::<Interrupted>() => {
            say_last(&screen.ended_early(options.data.as_deref()));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whoever does not read any more has seen enough.
fn say(text: &str) {
    let _reader_left = write(&mut io::stdout().lock(), text);
}

/// Ctrl-C also ends what stands behind a pipe (`saqta demo | tee log`), and whoever pressed it still wants to hear how it went.
fn say_last(text: &str) {
    if write(&mut io::stdout().lock(), text).is_err() {
        let _nobody_is_left = write(&mut io::stderr().lock(), text);
    }
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Three sentences and what to do next.
fn summary(outcome: &Outcome, scenario: &Scenario) -> String {
    let readers = &outcome.readers;
    let offered = if outcome.offered {
        String::new()
    } else {
        format!(
            "This machine could not send all of it ({} a second of {}), so take the figures with care.\n",
            thousands(outcome.offered_per_s as u64),
            thousands(scenario.attack_rate_at(Duration::ZERO) as u64),
        )
    };
    let staff = outcome.groups.iter().find(|group| group.name == "staff");
    let text = format!(
        "\n{} requests came from {} addresses, {} a second, and {} of them reached the newsroom's server, which can work on {} at \
         a time. Meanwhile {} of {} readers' requests got their page, half of them within {}, all but one in a hundred within {}. \
         The editors published {} of {} times.\n",
        thousands(outcome.attack.requests),
        thousands(outcome.attack.addresses),
        thousands(outcome.offered_per_s as u64),
        outcome
            .attack
            .reached_origin
            .map_or("few".to_owned(), thousands),
        outcome.origin.capacity,
        percent(readers.served_share),
        thousands(readers.requests),
        millis(readers.p50_ms),
        millis(readers.p99_ms),
        staff.map_or(0, |staff| staff.served),
        staff.map_or(0, |staff| staff.requests),
    );
    format!(
        "\n{}{offered}\nNext, before your own site:  saqta run --origin http://127.0.0.1:8081\nOr another attack:           saqta drill meduza-search --report .\n",
        wrapped(&text, 78)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Soft,
    Good,
    Warn,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "0",
            Tone::Strong => "1",
            Tone::Soft => "2",
            Tone::Good => "1;32",
            Tone::Warn => "1;33",
            Tone::Bad => "1;31",
        }
    }
}

struct Screen {
    terminal: bool,
    colours: bool,
    outlet: &'static str,
    phases: Phases,
    addresses: u64,
    /// Lines on the terminal that the next picture is drawn over.
    drawn: usize,
    second: Option<u64>,
    at: Duration,
    /// The last second of everybody's.
    readers: Tally,
    attack: AttackTally,
    /// Since the flood began.
    served: u64,
    requests: u64,
    served_each: VecDeque<f64>,
    flood_each: VecDeque<f64>,
}

impl Screen {
    fn new(scenario: &Scenario) -> Self {
        let terminal = io::stdout().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if terminal {
            // The cursor would flicker about.
            say("\x1b[?25l");
        }
        Self {
            terminal,
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            outlet: Newsroom::new(SEED).name(),
            phases: scenario.phases,
            addresses: scenario
                .attacks
                .iter()
                .map(|attack| u64::from(attack.addresses))
                .sum(),
            drawn: 0,
            second: None,
            at: Duration::ZERO,
            readers: Tally::default(),
            attack: AttackTally::default(),
            served: 0,
            requests: 0,
            served_each: VecDeque::with_capacity(HISTORY),
            flood_each: VecDeque::with_capacity(HISTORY),
        }
    }

    fn show(&mut self, live: &Live) {
        self.note(live);
        if self.terminal {
            self.draw(live);
        } else {
            self.line(live);
        }
    }

    fn note(&mut self, live: &Live) {
        self.at = live.at;
        match live.news {
            Some(Who::Readers) => {
                if live.readers.readers.requests == 0 {
                    // Nobody is due any more: the last picture stays.
                    return;
                }
                self.readers = live.readers.readers.clone();
                if live.at > self.phases.calm
                    && live.at <= self.phases.attack_end() + Duration::from_secs(1)
                {
                    self.served += self.readers.served;
                    self.requests += self.readers.requests;
                }
                push(&mut self.served_each, self.readers.served as f64);
                push(&mut self.flood_each, self.attack.requests as f64);
            }
            Some(Who::Attackers) => self.attack = live.attackers.attack,
            _ => {}
        }
        if !self.under_attack(live.at) {
            self.attack = AttackTally::default();
        }
    }

    fn under_attack(&self, at: Duration) -> bool {
        at >= self.phases.calm && at <= self.phases.attack_end() + Duration::from_millis(1_500)
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colours && tone != Tone::Plain {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    fn draw(&mut self, live: &Live) {
        let lines = self.picture(live);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        self.drawn = lines.len();
        say(&text);
    }

    /// Every line fits into 80 columns.
    fn picture(&self, live: &Live) -> Vec<String> {
        let seconds = live.at.as_secs();
        let total = self.phases.total().as_secs();
        let (tone, phase) = if live.at.is_zero() {
            (Tone::Soft, "starting".to_owned())
        } else if live.at < self.phases.calm {
            let left = (self.phases.calm - live.at).as_secs() + 1;
            (Tone::Good, format!("calm; the flood begins in {left} s"))
        } else if live.at < self.phases.attack_end() {
            (
                Tone::Bad,
                format!(
                    "FLOOD: searches for \"1\" from {} addresses",
                    thousands(self.addresses)
                ),
            )
        } else if live.at < self.phases.total() {
            (Tone::Good, "the flood is over".to_owned())
        } else {
            (Tone::Soft, "waiting for the last answers".to_owned())
        };
        let served = if self.requests > 0 {
            (self.served, self.requests)
        } else {
            (self.readers.served, self.readers.requests)
        };
        let share = (served.1 > 0).then(|| served.0 as f64 / served.1 as f64);
        let readers_tone = match share {
            None => Tone::Soft,
            Some(share) if share >= 0.999 => Tone::Good,
            Some(share) if share >= 0.99 => Tone::Warn,
            Some(_) => Tone::Bad,
        };
        let (answered, attack) = (self.attack, self.attack.requests > 0);
        let shield = answered.challenged + answered.refused + answered.abandoned;
        let origin = &live.origin;
        let load = origin.peak_in_flight as f64 / live.origin_capacity.max(1) as f64;
        let (origin_tone, origin_word) = match load {
            load if load <= 0.9 => (Tone::Good, "with room to spare"),
            load if load <= 1.1 => (Tone::Good, "busy"),
            load if load <= 2.0 => (Tone::Warn, "over its capacity"),
            _ => (Tone::Bad, "drowning"),
        };
        let label = |text: &str| self.paint(Tone::Soft, &format!("  {text:<16}"));
        let spark = |values: &VecDeque<f64>| {
            sparkline(&values.iter().copied().collect::<Vec<_>>(), HISTORY)
        };
        let title = format!(
            "{}, its readers, a flood, and Saqta between them",
            self.outlet
        );
        let width = COLUMNS.saturating_sub(2 + title.chars().count());
        vec![
            String::new(),
            format!(
                "  {}{:>width$}",
                self.paint(Tone::Strong, &title),
                format!("{}/{total} s", seconds.min(total))
            ),
            format!("  {}", self.paint(tone, &phase)),
            String::new(),
            format!(
                "{}{:<11}{} {}",
                label("readers served"),
                self.paint(readers_tone, &format!("{:<11}", percent(share))),
                bar(share.unwrap_or_default(), 24),
                self.paint(Tone::Soft, &format!("of {}", thousands(served.1))),
            ),
            format!(
                "{}{:<11}median     {} for the slowest of a hundred",
                label("readers wait"),
                millis(self.readers.p50_ms),
                millis(self.readers.p99_ms),
            ),
            format!(
                "{}{}",
                label("pages a second"),
                self.paint(Tone::Good, &spark(&self.served_each))
            ),
            String::new(),
            format!(
                "{}{:<11}{}",
                label("flood a second"),
                thousands(answered.requests),
                self.paint(Tone::Bad, &spark(&self.flood_each))
            ),
            if attack {
                format!(
                    "{}cache {}   shield {}   origin {}",
                    label("answered by"),
                    thousands(answered.from_cache),
                    self.paint(Tone::Strong, &thousands(shield)),
                    thousands(answered.forwarded),
                )
            } else {
                format!(
                    "{}{}",
                    label("answered by"),
                    self.paint(Tone::Soft, "nothing to answer")
                )
            },
            String::new(),
            format!(
                "{}{:<11}{} {}",
                label("origin's work"),
                format!("{} of {}", origin.peak_in_flight, live.origin_capacity),
                self.paint(origin_tone, &bar(load, 24)),
                origin_word,
            ),
            String::new(),
            format!(
                "  {}",
                self.paint(
                    Tone::Soft,
                    "Everything runs on this machine. Ctrl-C ends it."
                )
            ),
        ]
    }

    /// For a file or a pipe.
    fn line(&mut self, live: &Live) {
        if live.at.is_zero() && self.second.is_none() {
            self.second = Some(0);
            return say(&format!(
                "{}, its readers, a flood, and Saqta between them\n",
                self.outlet
            ));
        }
        let second = live.at.as_secs();
        if live.news != Some(Who::Readers)
            || self.second == Some(second)
            || live.readers.readers.requests == 0
        {
            return;
        }
        self.second = Some(second);
        let share = (self.readers.requests > 0)
            .then(|| self.readers.served as f64 / self.readers.requests as f64);
        say(&format!(
            "{second:>3} s  readers served {} of {}, p50 {}, p99 {}; flood {}/s; origin {} of {}\n",
            percent(share),
            self.readers.requests,
            millis(self.readers.p50_ms),
            millis(self.readers.p99_ms),
            thousands(self.attack.requests),
            live.origin.peak_in_flight,
            live.origin_capacity,
        ));
    }

    /// The last words when somebody does not wait for the end. `data`: the folder that was chosen for the edge's files.
    fn ended_early(&self, data: Option<&Path>) -> String {
        let flood = if self.requests > 0 {
            format!(
                " Since the flood began {} of {} readers' requests got their page.",
                thousands(self.served),
                thousands(self.requests)
            )
        } else {
            String::new()
        };
        let files = data.map_or("no file is left behind".to_owned(), |data| {
            format!("the files of Saqta are in {}", data.display())
        });
        let text = format!(
            "Ended after {} of {} s.{flood} Nothing is left running, and {files}.",
            self.at.as_secs(),
            self.phases.total().as_secs()
        );
        format!("\n{}", wrapped(&text, 78))
    }

    fn close(&mut self) {
        if self.terminal {
            say("\x1b[?25h");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

fn push(history: &mut VecDeque<f64>, value: f64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Progress;
    use crate::referee::OriginLine;

    fn screen(colours: bool) -> Screen {
        let mut screen = Screen::new(&scenario::parse(SCENARIO).unwrap());
        (screen.terminal, screen.colours) = (false, colours);
        screen
    }

    fn live(at_s: u64, news: Option<Who>) -> Live {
        Live {
            at: Duration::from_secs(at_s),
            readers: Progress {
                readers: Tally {
                    requests: 123_456,
                    served: 123_455,
                    p50_ms: Some(12.3),
                    p99_ms: Some(9_876.5),
                    ..Tally::default()
                },
                ..Progress::default()
            },
            attackers: Progress {
                attack: AttackTally {
                    requests: 123_456,
                    from_cache: 100_000,
                    challenged: 100_000,
                    forwarded: 100_000,
                    ..AttackTally::default()
                },
                ..Progress::default()
            },
            origin_capacity: 16,
            origin: OriginLine {
                peak_in_flight: 1_234,
                ..OriginLine::default()
            },
            news,
        }
    }

    #[test]
    fn every_picture_fits_a_terminal_and_has_the_same_height() {
        let mut screen = screen(false);
        let height = screen.picture(&Live::default()).len();
        for at in 0..50 {
            for news in [Who::Attackers, Who::Readers] {
                let live = live(at, Some(news));
                screen.note(&live);
                let picture = screen.picture(&live);
                assert_eq!(picture.len(), height);
                for line in picture {
                    assert!(
                        line.chars().count() <= COLUMNS,
                        "{}: {line}",
                        line.chars().count()
                    );
                }
            }
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let picture = screen(false).picture(&live(10, None)).concat();
        assert!(!picture.contains('\x1b'), "{picture}");
        assert!(
            screen(true)
                .picture(&live(10, None))
                .concat()
                .contains("\x1b[1;31m")
        );
    }
}
