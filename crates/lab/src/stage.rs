//! Origin, edge, readers and attackers, each a process of their own, put up and taken down again.
//!
//! A drill and the demo differ in what they show, not in what happens. This file starts the processes in order, lets them run by
//! the clock, carries what they report to whoever watches, and leaves nothing behind: no process and no folder, whether the
//! play ends, fails or is interrupted. Processes get no signal from the terminal, so that Ctrl-C reaches this one alone and the
//! others end in order; and they end by themselves when this one is killed. The temporary folder it could not take away then
//! is taken away by whichever play comes next.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Resource, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::addresses::STAFF_NETWORK;
use crate::clock;
use crate::corpus::Grade;
use crate::guard::Target;
use crate::load::{Books, Line, Mint, Orders, PATIENCE, Progress, Role};
use crate::network::{self, Network, Side};
use crate::newsroom::Newsroom;
use crate::origin::{self, Dialect, OriginSpec, OriginStats};
use crate::referee::{EdgeBook, Found, OriginBook, OriginLine};
use crate::scenario::{FaultKind, Scenario};

/// Lines not yet looked at: four processes write one a second.
const SAID_MAX: usize = 256;
/// A process that has not begun by then never will.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the readers' orders and their first request.
const LEAD: Duration = Duration::from_millis(250);
/// Attackers are started this long before they are due.
const ATTACKERS_LEAD: Duration = Duration::from_secs(1);
/// How long a process may take to end when asked to.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond the last moment: readers' patience and the last reports.
const OVERTIME_MAX: Duration = Duration::from_secs(30);
/// Whoever watches is told at least this often.
const TICK: Duration = Duration::from_millis(250);
/// Attackers run after everybody else: in life their machines are not ours.
pub const ATTACKERS_NICE: i32 = 10;
/// The kernel reports processor time in hundredths of a second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Of a dead process's last words.
const WORDS_BYTES_MAX: u64 = 2_000;

/// How a play's temporary folder is called, before the number of its process and the time.
const FOLDER: &str = "saqta-drill-";
/// In that folder, beside the edge's own `lock`.
const LOCK: &str = "play.lock";
/// Left-over folders taken away at a start: more would keep whoever waits for the drill.
const SWEPT_MAX: usize = 64;

/// What is to be performed.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    /// As written.
    pub(crate) text: String,
    /// The same, at its length.
    pub(crate) scenario: Scenario,
    pub(crate) grade: Grade,
    pub(crate) dialect: Dialect,
    pub(crate) seed: u64,
    /// A server that is there already, and where it expects the origin.
    pub(crate) against: Option<(Target, SocketAddr)>,
    pub(crate) exe: PathBuf,
    pub(crate) mint: Mint,
    /// In a network of its own, not on loopback.
    pub(crate) netns: bool,
    /// Of [`clock::monotonic`]: who is still waiting for an answer then has waited in vain. `None`: everybody's patience is waited out.
    pub(crate) ends_at: Option<Duration>,
    /// Where the edge keeps its files; a temporary folder when `None`.
    pub(crate) data: Option<PathBuf>,
}

/// What everybody wrote down.
#[derive(Debug, Clone)]
pub(crate) struct Performed {
    pub(crate) readers: Books,
    pub(crate) attackers: Option<Books>,
    pub(crate) origin: OriginBook,
    pub(crate) edge: Option<EdgeBook>,
}

/// What can be seen while it goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// Since the start; zero while the stage is set.
    pub(crate) at: Duration,
    pub(crate) readers: Progress,
    pub(crate) attackers: Progress,
    pub(crate) origin_capacity: u64,
    pub(crate) origin: OriginLine,
    /// Something above is new.
    pub(crate) news: Option<Who>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Origin,
    Neighbour,
    Edge,
    Readers,
    Attackers,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Origin => "the origin",
            Who::Neighbour => "the neighbour's origin",
            Who::Edge => "the edge",
            Who::Readers => "the readers",
            Who::Attackers => "the attackers",
        }
    }
}

/// Ctrl-C, or a polite request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

enum Said {
    Line(Who, String),
    /// It will say no more.
    Silent(Who),
    Interrupted,
}

/// What `saqta lab …` does: the processes of a drill. Not for people.
///
/// `hold` (a namespace), `origin SPEC`, `load` (orders on standard input), `edge PARENT ARGUMENTS…`: the last one is `saqta ARGUMENTS…` that ends with
/// its parent.
pub fn lab_main(arguments: &[OsString], mint: &Mint) -> anyhow::Result<()> {
    // Most shells start with 1,024 files and allow more; a generator needs one for each connection.
    let mut files = rustix::process::getrlimit(Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(Resource::Nofile, files)
        .context("cannot ask for more open files")?;
    match arguments {
        [word, spec] if word == "origin" => {
            let spec = spec
                .to_str()
                .context("the origin's specification is not text")?;
            origin::origin_main(
                serde_json::from_str(spec).context("the origin's specification cannot be read")?,
            )
        }
        [word] if word == "load" => crate::load::load_main(mint),
        [word] if word == "hold" => network::hold_main(),
        [word, parent, rest @ ..] if word == "edge" => {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
                .context("cannot follow the parent")?;
            // It may have died before the line above.
            let alive =
                rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
            if alive.as_deref() != parent.to_str() {
                return Ok(());
            }
            let exe = std::env::current_exe().context("cannot find this program")?;
            Err(Command::new(exe).args(rest).exec()).context("cannot become the edge")
        }
        _ => bail!("`saqta lab` is how a drill starts its own processes; see `saqta drill --help`"),
    }
}

/// Performs a play, telling `watch` how it goes, first that it begins. Ctrl-C ends it with [`Interrupted`].
pub(crate) fn perform(play: &Play, mut watch: impl FnMut(&Live)) -> anyhow::Result<Performed> {
    let (said, hear) = sync_channel(SAID_MAX);
    // Before anything is shown or made: whoever ends it early hears an answer too, and finds nothing left.
    let _signals = Signals::catch(said.clone())?;
    let folder = Folder::new(play.data.as_deref())?;
    watch(&Live::default());
    let network = if play.netns {
        Some(Network::make(&play.exe, play.scenario.link_mbit_per_s)?)
    } else {
        None
    };
    let mut stage = Stage {
        network: network.as_ref(),
        folder: &folder,
        said,
        hear,
        exe: &play.exe,
        actors: Vec::new(),
        early: Vec::new(),
    };

    let listen = play.against.as_ref().map(|(_, listen)| *listen);
    let origin = stage.origin(Who::Origin, play, listen)?;
    let one_newsroom = play.against.is_some();
    let neighbour = match play.scenario.neighbour_rate {
        Some(_) if !one_newsroom => Some(stage.origin(Who::Neighbour, play, None)?),
        _ => None,
    };
    let target = match &play.against {
        Some((target, _)) if target.address().is_ipv4() => Some(target.to_string()),
        Some(_) => bail!(
            "readers and attackers come from 127.0.0.0/8; give the server's address as 127.0.0.1:PORT"
        ),
        None => stage.edge(play, origin, neighbour)?,
    };
    stage.run(play, target, one_newsroom, &mut watch)
}

struct Stage<'a> {
    /// Of the play's own; loopback when `None`.
    network: Option<&'a Network>,
    folder: &'a Folder,
    said: SyncSender<Said>,
    hear: Receiver<Said>,
    exe: &'a Path,
    actors: Vec<Actor>,
    /// Said while somebody else was waited for.
    early: Vec<(Who, String)>,
}

impl Stage<'_> {
    fn start(&mut self, who: Who, arguments: &[OsString]) -> anyhow::Result<()> {
        let log = fs::File::create(self.folder.log(who))
            .context("cannot write into the temporary folder")?;
        let side = match who {
            Who::Readers | Who::Attackers => Side::Clients,
            Who::Origin | Who::Neighbour | Who::Edge => Side::Server,
        };
        let mut command = match self.network {
            Some(network) => network.command(side, self.exe),
            None => Command::new(self.exe),
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in the terminal is for us; we end them in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", who.name()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        self.actors.push(Actor { who, child, stdin });
        let said = self.said.clone();
        let stdout = stdout.context("a process without standard output")?;
        std::thread::Builder::new()
            .name(who.name().to_owned())
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if said.send(Said::Line(who, line)).is_err() {
                        return;
                    }
                }
                // Nobody listens any more when this fails.
                drop(said.send(Said::Silent(who)));
            })?;
        Ok(())
    }

    /// The next line of a process that has just been started.
    fn first_line(&mut self, who: Who) -> anyhow::Result<String> {
        let deadline = clock::monotonic() + START_TIMEOUT;
        loop {
            match self
                .hear
                .recv_timeout(deadline.saturating_sub(clock::monotonic()))
            {
                Ok(Said::Line(of, line)) if of == who => return Ok(line),
                Ok(Said::Line(of, line)) => self.early.push((of, line)),
                Ok(Said::Interrupted) => return Err(Interrupted.into()),
                Ok(Said::Silent(of)) => {
                    bail!("{} ended: {}", of.name(), self.folder.last_words(of))
                }
                Err(_) => bail!(
                    "{} does not start: {}",
                    who.name(),
                    self.folder.last_words(who)
                ),
            }
        }
    }

    fn origin(
        &mut self,
        who: Who,
        play: &Play,
        listen: Option<SocketAddr>,
    ) -> anyhow::Result<SocketAddr> {
        let spec = OriginSpec {
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            seed: play.seed,
            neighbour: who == Who::Neighbour,
            dialect: play.dialect,
            max_age_s: play.scenario.origin.max_age_s,
            workers: play.scenario.origin.workers as usize,
            ..OriginSpec::default()
        };
        self.start(
            who,
            &[
                "lab".into(),
                "origin".into(),
                serde_json::to_string(&spec)?.into(),
            ],
        )?;
        let line = self.first_line(who)?;
        match serde_json::from_str(&line) {
            Ok(origin::Line::Listening { listening }) => Ok(listening),
            _ => bail!("{} does not say where it listens", who.name()),
        }
    }

    fn edge(
        &mut self,
        play: &Play,
        origin: SocketAddr,
        neighbour: Option<SocketAddr>,
    ) -> anyhow::Result<Option<String>> {
        let (listens, staff) = match self.network {
            Some(_) => (network::listens(), network::STAFF_NETWORK),
            None => ("\"127.0.0.1:0\"".to_owned(), STAFF_NETWORK),
        };
        // Addresses of a drill are nobody's, and no resolver is asked about them.
        let mut settings = format!("listen = {listens}\nresolver = \"none\"\n");
        let sites = [
            (Newsroom::new(play.seed), Some(origin)),
            (Newsroom::neighbour(play.seed), neighbour),
        ];
        for (newsroom, origin) in sites {
            if let Some(origin) = origin {
                settings.push_str(&format!(
                    "\n[[site]]\nhosts = [\"{}\"]\norigin = \"http://{origin}\"\nstaff = [\"{staff}\"]\nmode = \"protect\"\nprofile = \"{}\"\n",
                    newsroom.host(),
                    play.dialect.name()
                ));
            }
        }
        // Before it starts, so that there are readers it has known for days.
        let keys = self.folder.keys();
        if !keys.exists() {
            let parent = keys.parent().context("the keys have no folder")?;
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .and_then(|()| fs::write(&keys, (play.mint.keys)()))
                .context("cannot write the edge's keys")?;
        }
        let file = self.folder.path.join("drill.toml");
        fs::write(&file, settings).context("cannot write the edge's settings")?;
        let me = rustix::process::getpid().as_raw_nonzero().get().to_string();
        let arguments: [OsString; 9] = [
            "lab".into(),
            "edge".into(),
            me.into(),
            "--data".into(),
            self.folder.path.clone().into(),
            "run".into(),
            "-c".into(),
            file.into(),
            "--drill".into(),
        ];
        self.start(Who::Edge, &arguments)?;
        let line = self.first_line(Who::Edge)?;
        let url = line
            .strip_prefix("listening ")
            .with_context(|| format!("the edge said: {line}"))?;
        if self.network.is_some() {
            return Ok(None);
        }
        Ok(Some(Target::parse(url)?.to_string()))
    }

    fn load(&mut self, who: Who, orders: &Orders) -> anyhow::Result<()> {
        self.start(who, &["lab".into(), "load".into()])?;
        let mut orders = serde_json::to_vec(orders)?;
        orders.push(b'\n');
        self.tell(who, &orders)
            .with_context(|| format!("{} ended: {}", who.name(), self.folder.last_words(who)))
    }

    fn tell(&mut self, who: Who, bytes: &[u8]) -> io::Result<()> {
        match self
            .actors
            .iter_mut()
            .find(|actor| actor.who == who)
            .and_then(|actor| actor.stdin.as_mut())
        {
            Some(stdin) => stdin.write_all(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn run(
        mut self,
        play: &Play,
        target: Option<String>,
        one_newsroom: bool,
        watch: &mut dyn FnMut(&Live),
    ) -> anyhow::Result<Performed> {
        let phases = play.scenario.phases;
        let start = clock::monotonic() + LEAD;
        let keys = match play.against {
            None => fs::read_to_string(self.folder.keys()).ok(),
            Some(_) => None,
        };
        let orders = |role, nice| Orders {
            role,
            scenario: play.text.clone(),
            seconds: phases.total().as_secs_f64(),
            target: target.clone(),
            grade: play.grade,
            dialect: play.dialect,
            seed: play.seed,
            starts_at_us: start.as_micros() as u64,
            one_newsroom,
            keys: keys.clone(),
            patience_s: match play.ends_at {
                Some(ends_at) => ends_at.saturating_sub(start + phases.total()).as_secs_f64(),
                None => PATIENCE.as_secs_f64(),
            },
            nice,
        };
        self.load(Who::Readers, &orders(Role::Readers, 0))?;

        let mut cues = cues(&play.scenario);
        let mut live = Live::default();
        let mut performed = Performed {
            readers: Books::default(),
            attackers: None,
            origin: OriginBook::default(),
            edge: None,
        };
        let edge = self
            .actors
            .iter()
            .find(|actor| actor.who == Who::Edge)
            .map(Actor::pid);
        let mut meter = edge.map(|pid| Meter {
            pid,
            book: EdgeBook::default(),
            before: cpu_seconds(pid).unwrap_or_default(),
        });
        for (who, line) in std::mem::take(&mut self.early) {
            note(&mut live, &mut performed, who, &line, start);
        }
        let (mut readers_done, mut attackers_done) = (false, play.scenario.attacks.is_empty());
        while !(readers_done && attackers_done) {
            let clock = clock::monotonic();
            live.at = clock.saturating_sub(start);
            if live.at > phases.total() + OVERTIME_MAX {
                bail!("the drill does not end");
            }
            while cues.last().is_some_and(|(at, _)| *at <= live.at) {
                match cues.pop() {
                    Some((_, Cue::Attackers)) => {
                        self.load(Who::Attackers, &orders(Role::Attackers, ATTACKERS_NICE))?
                    }
                    Some((_, Cue::Fault(fault))) => {
                        let mut command = serde_json::to_vec(&origin::Command { fault })?;
                        command.push(b'\n');
                        self.tell(Who::Origin, &command)
                            .context("the origin does not listen to its orders")?;
                    }
                    None => {}
                }
            }
            if let Some(meter) = &mut meter {
                meter.read(live.at);
            }
            let next = cues
                .last()
                .map_or(TICK, |(at, _)| at.saturating_sub(live.at).min(TICK));
            live.news = None;
            match self.hear.recv_timeout(next.max(Duration::from_millis(1))) {
                Ok(Said::Line(who, line)) => {
                    note(&mut live, &mut performed, who, &line, start);
                    live.news = Some(who);
                }
                Ok(Said::Silent(Who::Readers)) => readers_done = true,
                Ok(Said::Silent(Who::Attackers)) => attackers_done = true,
                Ok(Said::Silent(who)) => {
                    bail!("{} ended: {}", who.name(), self.folder.last_words(who))
                }
                Ok(Said::Interrupted) => return Err(Interrupted.into()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody is left"),
            }
            live.at = clock::monotonic().saturating_sub(start);
            watch(&live);
        }
        if performed.readers.groups.is_empty() {
            bail!(
                "the readers never reported: {}",
                self.folder.last_words(Who::Readers)
            );
        }
        if let Some(mut meter) = meter {
            meter.read(live.at);
            meter.book.disk_bytes = disk_bytes(&self.folder.path);
            let began_ms = clock::unix_ms() as f64 - 1_000.0 * live.at.as_secs_f64();
            meter.book.found = self.found(began_ms);
            performed.edge = Some(meter.book);
        }
        // The last line of the origin's books comes when it is let go.
        for actor in self
            .actors
            .iter_mut()
            .filter(|actor| actor.who == Who::Origin)
        {
            actor.stdin = None;
        }
        let deadline = clock::monotonic() + END_TIMEOUT;
        while let Ok(said) = self
            .hear
            .recv_timeout(deadline.saturating_sub(clock::monotonic()))
        {
            match said {
                Said::Line(who, line) => note(&mut live, &mut performed, who, &line, start),
                Said::Silent(Who::Origin) => break,
                Said::Interrupted => return Err(Interrupted.into()),
                Said::Silent(_) => {}
            }
        }
        self.end();
        Ok(performed)
    }

    /// What the edge says of the first newsroom, where it says anything. `began_ms`: the drill, in milliseconds since 1970.
    fn found(&self, began_ms: f64) -> Found {
        let status = Command::new(self.exe)
            .arg("--data")
            .arg(&self.folder.path)
            .args(["status", "--json"])
            .stdin(Stdio::null())
            .output();
        let said = status
            .ok()
            .and_then(|said| serde_json::from_slice::<serde_json::Value>(&said.stdout).ok());
        let Some(said) = said else {
            return Found::default();
        };
        let site = &said["edge"]["sites"][0];
        let detection = &site["detection"];
        let mut classes = site["classes"].as_array().into_iter().flatten();
        let passed = classes.find(|class| class["name"] == "passed");
        let since_start_s = |at_ms: f64| (at_ms - began_ms) / 1_000.0;
        // The newest is the first of both.
        let oldest_first = |list: &str| detection[list].as_array().into_iter().flatten().rev();
        let postures = oldest_first("changes").filter_map(|change| {
            let at_s = since_start_s(change["at_ms"].as_f64()?);
            Some((at_s, change["posture"].as_str()?.to_owned()))
        });
        let attacks = || {
            oldest_first("incidents").filter_map(|one| Some((one["attacked_at_ms"].as_f64()?, one)))
        };
        let word = |key: &str| Some(attacks().next()?.1[key].as_str()?.to_owned());
        let rules = attacks().filter_map(|(_, incident)| incident["rules"].as_array());
        Found {
            attacked_s: attacks().next().map(|(at_ms, _)| since_start_s(at_ms)),
            because: word("because"),
            verdict: word("state"),
            postures: postures.collect(),
            on_passes: passed.and_then(|class| class["granted"].as_u64()),
            signatures: rules
                .flatten()
                .filter_map(|rule| Some(rule["sentence"]["en"].as_str()?.to_owned()))
                .collect(),
        }
    }

    /// Asks everybody to end, last started first, and waits.
    fn end(&mut self) {
        while let Some(actor) = self.actors.pop() {
            drop(actor);
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

enum Cue {
    Attackers,
    Fault(origin::Fault),
}

/// What happens by the clock, the last first.
fn cues(scenario: &Scenario) -> Vec<(Duration, Cue)> {
    let onset = scenario.phases.calm;
    let mut cues = Vec::new();
    if !scenario.attacks.is_empty() {
        cues.push((onset.saturating_sub(ATTACKERS_LEAD), Cue::Attackers));
    }
    for fault in &scenario.origin.faults {
        let kind = match fault.kind {
            FaultKind::Errors => origin::Fault::Error500,
            FaultKind::Hangs => origin::Fault::Hang,
            FaultKind::Refuses => origin::Fault::Refuse,
            FaultKind::Truncates => origin::Fault::Truncate,
            FaultKind::ErrorPage => origin::Fault::Error200,
        };
        cues.push((onset + fault.at, Cue::Fault(kind)));
        cues.push((
            onset + fault.at + fault.lasting,
            Cue::Fault(origin::Fault::None),
        ));
    }
    // A fault that ends when the next begins must not end the next.
    cues.sort_by_key(|(at, cue)| {
        std::cmp::Reverse((*at, !matches!(cue, Cue::Fault(origin::Fault::None))))
    });
    cues
}

fn note(live: &mut Live, performed: &mut Performed, who: Who, line: &str, start: Duration) {
    match who {
        Who::Readers | Who::Attackers => match serde_json::from_str(line) {
            Ok(Line::Progress(progress)) if who == Who::Readers => live.readers = *progress,
            Ok(Line::Progress(progress)) => live.attackers = *progress,
            Ok(Line::Books(books)) if who == Who::Readers => performed.readers = *books,
            Ok(Line::Books(books)) => performed.attackers = Some(*books),
            Err(_) => {}
        },
        Who::Origin => {
            if let Ok(origin::Line::Stats(stats)) = serde_json::from_str(line) {
                let line = origin_line(&stats, start);
                performed.origin.capacity = stats.capacity as u64;
                live.origin_capacity = stats.capacity as u64;
                live.origin = line;
                performed.origin.lines.push(line);
            }
        }
        Who::Neighbour | Who::Edge => {}
    }
}

fn origin_line(stats: &OriginStats, start: Duration) -> OriginLine {
    OriginLine {
        at_s: (Duration::from_millis(stats.monotonic_ms).as_secs_f64() - start.as_secs_f64())
            .max(0.0),
        peak_in_flight: stats.recent_peak_in_flight as u64,
        over_capacity_ms: stats.over_capacity_ms,
        requests: stats.requests,
        errors: stats.errors,
    }
}

/// A process, which ends when this goes.
struct Actor {
    who: Who,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Actor {
    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stdin = None;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            rustix::process::kill_process(pid, Signal::TERM).ok();
        }
        let deadline = clock::monotonic() + END_TIMEOUT;
        while clock::monotonic() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the kernel knows of the edge.
struct Meter {
    pid: u32,
    book: EdgeBook,
    before: f64,
}

impl Meter {
    fn read(&mut self, at: Duration) {
        let (Some(cpu), Some(rss)) = (cpu_seconds(self.pid), rss_peak_bytes(self.pid)) else {
            return;
        };
        let used = cpu - self.before;
        let by_second = &mut self.book.cpu_by_second;
        let second = at.as_secs() as usize;
        if second >= by_second.len() {
            by_second.resize(second + 1, 0.0);
        }
        by_second[second] += used - self.book.cpu_seconds;
        self.book.cpu_seconds = used;
        self.book.rss_peak_bytes = rss;
    }
}

/// User and system time of all threads.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

fn rss_peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(
        kilobytes
            .trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()?
            * 1024,
    )
}

/// Of the edge's own files: everything but the logs, which are the drill's.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(_)
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "log") =>
        {
            0
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Where the processes of a play keep their files. A temporary one goes with the play, and if the play is killed, with the next.
struct Folder {
    path: PathBuf,
    /// Held while the play goes on, so that no other takes its temporary folder for a dead one's; `None` when it stays anyway.
    lock: Option<fs::File>,
}

impl Folder {
    fn new(data: Option<&Path>) -> anyhow::Result<Self> {
        let make = |path: &Path| {
            fs::DirBuilder::new()
                .recursive(data.is_some())
                .mode(0o700)
                .create(path)
                .map_err(|cause| cannot_keep_files(path, &cause))
        };
        if let Some(path) = data {
            make(path)?;
            return Ok(Self {
                path: path.to_owned(),
                lock: None,
            });
        }
        let temporary = std::env::temp_dir();
        sweep(&temporary);
        let unique = format!("{FOLDER}{}-{}", std::process::id(), clock::unix_ms());
        let path = temporary.join(unique);
        make(&path)?;
        let lock = fs::File::create(path.join(LOCK)).and_then(|lock| {
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(lock)
        });
        let lock = lock.map_err(|cause| cannot_keep_files(&path, &cause))?;
        Ok(Self {
            path,
            lock: Some(lock),
        })
    }

    /// Where the edge keeps what it signs with.
    fn keys(&self) -> PathBuf {
        self.path.join("passes/keys")
    }

    fn log(&self, who: Who) -> PathBuf {
        self.path.join(match who {
            Who::Origin => "origin.log",
            Who::Neighbour => "neighbour.log",
            Who::Edge => "edge.log",
            Who::Readers => "readers.log",
            Who::Attackers => "attackers.log",
        })
    }

    /// The end of what a process said on standard error.
    fn last_words(&self, who: Who) -> String {
        let text = fs::read(self.log(who)).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(WORDS_BYTES_MAX as usize)..];
        let words = String::from_utf8_lossy(tail).trim().to_owned();
        if words.is_empty() {
            "without a word".to_owned()
        } else {
            words
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // What cannot be removed is the system's temporary folder's to clean.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

fn cannot_keep_files(path: &Path, cause: &io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot keep the files of the drill in {}: {cause}\nmake room or give rights there, or choose another folder with --data DIR",
        path.display()
    )
}

/// Takes away the folders of plays that were killed: ours, of a process that is gone, and locked by nobody.
fn sweep(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else {
        return;
    };
    let left = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_left_behind))
        .map(|entry| entry.path());
    for path in left.take(SWEPT_MAX) {
        // Not through a link: it is the folder itself that must be ours.
        let ours = fs::symlink_metadata(&path).is_ok_and(|metadata| {
            metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw()
        });
        if ours && nobody_locks(&path.join(LOCK)) {
            // What cannot be removed is the system's temporary folder's to clean.
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// Whether a folder of this name belongs to a process that is gone.
fn is_left_behind(name: &str) -> bool {
    let Some((process, made)) = name
        .strip_prefix(FOLDER)
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    match (process.parse::<u32>(), made.parse::<u64>()) {
        // One that lives may not have come to its lock yet.
        (Ok(process), Ok(_)) => !Path::new(&format!("/proc/{process}")).exists(),
        _ => false,
    }
}

/// Processes of a container that shares our temporary folder are not in our `/proc`; their locks hold here too.
fn nobody_locks(lock: &Path) -> bool {
    match fs::File::open(lock) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Ctrl-C and SIGTERM, until this goes.
struct Signals {
    _stop: oneshot::Sender<()>,
}

impl Signals {
    fn catch(said: SyncSender<Said>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (_stop, stopped) = oneshot::channel::<()>();
        let (mut interrupt, mut terminate, mut hangup) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                        _ = stopped => return,
                    }
                    // Nobody listens any more when this fails.
                    drop(said.send(Said::Interrupted));
                });
            })?;
        Ok(Self { _stop })
    }
}
