//! A rehearsed attack: put up the stage, let it run, let the referee decide.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::corpus::Grade;
use crate::guard::Target;
use crate::load::{Mint, PATIENCE};
use crate::origin::Dialect;
use crate::referee::{self, Evidence, Outcome, millis, thousands, wrapped};
use crate::scenario::Written;
use crate::stage::{self, ATTACKERS_NICE, Live, Play, Who};
use crate::{chart, report};

/// On loopback an answer takes microseconds; a server that is busy starting gets a moment.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Room for a report: that of a drill of two minutes has 30 KB.
const REPORT_BYTES: usize = 64 * 1024;

/// Of a terminal's 80.
const COLUMNS: usize = 78;

/// What `saqta drill` is told.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    pub scenario: Written,
    pub grade: Grade,
    pub dialect: Dialect,
    /// A server that is there already, instead of an edge of our own; needs `origin_listen`.
    pub against: Option<Target>,
    /// Where that server expects the origin.
    pub origin_listen: Option<SocketAddr>,
    /// In network namespaces of the drill's own, with IPv6 and a cable, instead of on loopback.
    pub netns: bool,
    /// All phases together, 3 to 120 s; as the scenario says when `None`. Starting and the last answers are not part of it.
    pub lasting: Option<Duration>,
    pub seed: u64,
    /// Print one JSON object instead of a table.
    pub json: bool,
    /// Where the edge keeps its files; a temporary folder when `None`.
    pub data: Option<PathBuf>,
    /// Folder for the HTML report.
    pub report: Option<PathBuf>,
    /// This program.
    pub saqta_exe: PathBuf,
    pub mint: Mint,
    /// Judge only what does not depend on what else the machine does.
    pub untimed: bool,
}

/// Runs a drill; progress goes to standard error, the result to standard output.
pub fn run_drill(options: &DrillOptions) -> anyhow::Result<Outcome> {
    let against = match (options.against, options.origin_listen) {
        (Some(target), Some(listen)) => {
            answers(target)?;
            Some((target, listen))
        }
        (None, None) => None,
        (Some(_), None) => {
            bail!("--against needs --origin ADDR: where that server expects its origin")
        }
        (None, Some(_)) => bail!("--origin is for --against URL"),
    };
    if options.netns && against.is_some() {
        bail!("--netns has no way to another server: leave out --against or --netns");
    }
    let mut scenario = options.scenario.scenario.clone();
    if let Some(lasting) = options.lasting {
        scenario = scenario.lasting(lasting);
    }
    let play = Play {
        text: options.scenario.text.clone(),
        scenario,
        grade: options.grade,
        dialect: options.dialect,
        seed: options.seed,
        against,
        exe: options.saqta_exe.clone(),
        mint: options.mint,
        ends_at: None,
        netns: options.netns,
        data: options.data.clone(),
    };
    let report = options.report.as_deref().map(|folder| {
        folder.join(format!(
            "{}-{}.html",
            play.scenario.name,
            options.grade.name()
        ))
    });
    if let Some(file) = &report {
        // A minute from now would be late to find out.
        report_can_be_written(file).map_err(|cause| cannot_report(file, &cause))?;
    }
    let mut ticker = Ticker::new(&play);
    ticker.begin(&play);
    let performed = stage::perform(&play, |live| ticker.show(live));
    ticker.end();
    let performed = performed?;

    let mut scenario = play.scenario;
    if options.dialect != Dialect::Generic {
        // What is expected of speed and shares is expected of an origin that helps its caches; nobody's page is anybody else's with any.
        scenario
            .expectations
            .retain(|expectation| expectation.measure.is_of_every_dialect());
    }
    if options.grade == Grade::Perfect {
        scenario
            .expectations
            .retain(|expectation| !expectation.measure.is_of_a_rule());
    }
    let outcome = referee::judge(&Evidence {
        scenario: &scenario,
        grade: options.grade.name(),
        dialect: options.dialect.name(),
        readers: &performed.readers,
        attackers: performed.attackers.as_ref(),
        origin: performed.origin,
        edge: performed.edge,
        untimed: options.untimed,
    });
    if options.json {
        say(
            &mut io::stdout(),
            &format!("{}\n", serde_json::to_string(&outcome)?),
        )?;
    } else {
        say(&mut io::stdout(), &outcome.table())?;
    }
    if let Some(file) = &report {
        fs::write(file, report::html(&outcome)).map_err(|cause| cannot_report(file, &cause))?;
        say(&mut io::stderr(), &format!("report: {}\n", file.display()))?;
    }
    Ok(outcome)
}

/// Makes the folder. What is there already is opened and left as it is; a new file is written, at its length, and taken away.
fn report_can_be_written(file: &Path) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    match File::options().write(true).create_new(true).open(file) {
        Ok(mut probe) => {
            let written = probe
                .write_all(&vec![b' '; REPORT_BYTES])
                .and_then(|()| probe.sync_data());
            fs::remove_file(file).and(written)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().write(true).open(file).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn cannot_report(file: &Path, cause: &io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot write the report {}: {cause}\nmake room or give rights there, or choose another folder with --report DIR",
        file.display()
    )
}

/// A drill against nobody would run to its end and show that nobody was served.
fn answers(target: Target) -> anyhow::Result<()> {
    TcpStream::connect_timeout(&target.address(), CONNECT_TIMEOUT).with_context(|| {
        format!("nobody answers at {target}: start that server first, or leave out --against to drill Saqta")
    })?;
    Ok(())
}

/// A reader who has left has seen enough.
fn say(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Progress on standard error: one line that changes, or a line a second for a file.
struct Ticker {
    terminal: bool,
    onset: Duration,
    attack_end: Duration,
    total: Duration,
    second: u64,
}

impl Ticker {
    fn new(play: &Play) -> Self {
        let phases = play.scenario.phases;
        Self {
            terminal: io::stderr().is_terminal(),
            onset: phases.calm,
            attack_end: phases.attack_end(),
            total: phases.total(),
            second: 0,
        }
    }

    fn begin(&self, play: &Play) {
        let attackers = if play.scenario.attacks.is_empty() {
            String::new()
        } else {
            format!(
                " Attackers run at priority +{ATTACKERS_NICE}, so that they take nothing from the edge."
            )
        };
        let phases = play.scenario.phases;
        let network = match (play.netns, play.scenario.link_mbit_per_s) {
            (false, _) => String::new(),
            (true, None) => {
                " In network namespaces of its own, half of the networks IPv6.".to_owned()
            }
            (true, Some(mbit)) => format!(
                " In network namespaces of its own, half of the networks IPv6, over a link of {mbit:.0} Mbit/s."
            ),
        };
        // Progress that cannot be shown stops nothing.
        let says = format!(
            "{}: {}{attackers}{network} {:.0} s calm, {:.0} s attack, {:.0} s after, then up to {:.0} s for the last answers.",
            play.scenario.name,
            play.scenario.says,
            phases.calm.as_secs_f64(),
            phases.attack.as_secs_f64(),
            phases.after.as_secs_f64(),
            PATIENCE.as_secs_f64(),
        );
        drop(io::stderr().write_all(wrapped(&says, COLUMNS).as_bytes()));
    }

    fn show(&mut self, live: &Live) {
        let second = live.at.as_secs();
        if live.news != Some(Who::Readers) || second == self.second {
            return;
        }
        self.second = second;
        let phase = match live.at {
            at if at < self.onset => "calm  ",
            at if at < self.attack_end => "ATTACK",
            _ => "after ",
        };
        let (readers, attack) = (&live.readers.readers, &live.attackers.attack);
        if readers.requests == 0 {
            // Nobody is due any more; some still wait for searches.
            return;
        }
        let attack = if live.at > self.onset && live.at <= self.attack_end + Duration::from_secs(1)
        {
            format!("  flood {:>6}/s", thousands(attack.requests))
        } else {
            String::new()
        };
        let line = format!(
            "{second:>3}/{:.0} s {phase} {} readers served {}/{} p99 {:<7} origin {:>2}/{}{attack}",
            self.total.as_secs_f64(),
            chart::bar(live.at.as_secs_f64() / self.total.as_secs_f64(), 10),
            readers.served,
            readers.requests,
            millis(readers.p99_ms),
            live.origin.peak_in_flight,
            live.origin_capacity,
        );
        let line = if self.terminal {
            format!("\r\x1b[K{line}")
        } else {
            format!("{line}\n")
        };
        drop(io::stderr().write_all(line.as_bytes()));
    }

    fn end(&self) {
        if self.terminal {
            drop(io::stderr().write_all(b"\r\x1b[K"));
        }
    }
}
