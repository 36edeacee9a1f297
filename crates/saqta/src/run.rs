//! `saqta run`: from a plan to a program that serves, obeys and ends well.
//!
//! The order matters: first what may fail without anybody noticing (folder, ports), then the edge, then the control socket and
//! the signals, and only then `listening …` on standard output, so that whoever waits for that line can give orders at once.
//! Everything else we say goes to standard error, and none of it is about a reader.
//!
//! `bypass` is an order, not a setting: somebody in trouble gave it, and a reload, perhaps by a timer, must not quietly take it
//! back. It ends with `bypass off` or with the process, so that nobody forgets it for good.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use saqta_edge::Edge;
use saqta_edge::clock::UnixMillis;
use saqta_edge::plan::{Mode, Plan, Site};
use saqta_edge::stats::Totals;
use saqta_evidence::archive::Archive;
use saqta_evidence::disk;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::bundling;
use crate::check::{self, counted};
use crate::cli::{self, Failure};
use crate::control::{self, Answer, Control, Order};
use crate::decoding;
use crate::folder::Folder;
use crate::inviting;
use crate::machine::{self, FewFiles};
use crate::purging;
use crate::recording::Recorder;
use crate::status::{self, Recent, SiteStatus, Status};
use crate::watch::{self, Watch};

/// A page takes the origin seconds at worst; systemd gives a stopping service 90.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Where the plan came from.
pub(crate) enum Source {
    File(PathBuf),
    Flags,
}

pub(crate) fn run(source: Source, mut plan: Plan, data: &Path) -> Result<ExitCode, Failure> {
    log_to_standard_error();
    // Whatever we write is for our own user.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Err(error) = machine::keep_memory_private() {
        tracing::warn!(%error, "cannot turn core dumps off: a crash could write requests to disk; set LimitCORE=0");
    }
    let few_files = grant_open_files(&mut plan);

    // Before readers are served: the order to stand aside must find its way.
    control::socket_path(data)?;
    let folder = Folder::open(data)?;
    for address in plan.listen.iter().filter(|address| address.port() != 0) {
        machine::try_listening(*address).map_err(|error| {
            let remedy = machine::listening_remedy(*address, &error);
            anyhow::anyhow!(
                "cannot listen on {address}: {}\n{remedy}",
                machine::plainly(&error)
            )
        })?;
    }
    let started = Instant::now();
    let data_flag = match data {
        data if data == Path::new(cli::DATA_DEFAULT) => String::new(),
        data => format!(" --data {}", data.display()),
    };
    let edge = Edge::start_in(plan.clone(), folder.path())?;
    let listening: Vec<String> = edge
        .addresses()
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let running = Arc::new(Running {
        edge,
        source,
        started,
        listening,
        now: Mutex::new(plan),
        watch: Mutex::new(Watch::new(started)),
        few_files: Mutex::new(few_files),
        archive: OnceLock::new(),
    });
    let recording = Recording::start(&running, data);
    let obeying = Arc::clone(&running);
    let control = Control::serve(&folder, move |order| obeying.obey(order))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ends = Ends {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        running.announce(&data_flag)?;
        let mut looks = tokio::time::interval(watch::LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ends.told_to_end() => break,
                _ = hangup.recv() => running.reload_and_log(),
                now = looks.tick() => running.look(now),
            }
        }
        drop(control);
        // What attacks go on is sealed before the edge, which knows of them, ends.
        if let Some(recording) = recording {
            recording.end();
        }
        finish(running, &mut ends).await;
        io::Result::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Beside everything else: a disk that hangs keeps no reader waiting.
struct Recording {
    end: mpsc::SyncSender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Recording {
    /// `None`: the evidence cannot be opened, which is said.
    fn start(running: &Arc<Running>, data: &Path) -> Option<Self> {
        let recorder = match Recorder::open(data) {
            Ok(recorder) => recorder,
            Err(error) => {
                tracing::error!(
                    "attacks are not recorded as evidence, readers are served all the same: {error:#}"
                );
                return None;
            }
        };
        // Nobody else sets it.
        _ = running.archive.set(recorder.archive());
        let (end, ended) = mpsc::sync_channel(1);
        let running = Arc::clone(running);
        let thread = std::thread::spawn(move || record(recorder, &running, &ended));
        Some(Self { end, thread })
    }

    fn end(self) {
        drop(self.end);
        if self.thread.join().is_err() {
            tracing::error!("the recording of attacks ended by a fault of ours");
        }
    }
}

/// Until the other end is dropped.
fn record(mut recorder: Recorder, running: &Running, ended: &mpsc::Receiver<()>) {
    let now = || UnixMillis::now().secs();
    let is_drill = || {
        let now = running.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.is_drill
    };
    while ended.recv_timeout(watch::LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        recorder.look(now(), &running.edge.stats().sites, is_drill());
    }
    recorder.end(now(), &running.edge.stats().sites, is_drill());
}

/// SIGTERM from a service manager, SIGINT from Ctrl-C.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    async fn told_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn finish(running: Arc<Running>, ends: &mut Ends) {
    tracing::info!(
        "finishing requests in flight, up to {} s, then open streams are cut; Ctrl-C again ends at once",
        FINISH_WITHIN.as_secs()
    );
    let stopping = tokio::task::spawn_blocking(move || {
        if let Some(running) = Arc::into_inner(running) {
            running.edge.stop(FINISH_WITHIN);
        }
    });
    tokio::select! {
        _ = stopping => tracing::info!("ended"),
        () = ends.told_to_end() => {
            tracing::info!("ended at once");
            // The runtime would wait for the blocking thread, which waits for the requests.
            std::process::exit(0);
        }
    }
}

/// The serving edge with what is needed to obey orders about it.
struct Running {
    edge: Edge,
    source: Source,
    started: Instant,
    listening: Vec<String>,
    /// The plan that runs, bypass included. Held while an order changes it, so that two reloads do not interleave.
    now: Mutex<Plan>,
    watch: Mutex<Watch>,
    few_files: Mutex<Option<FewFiles>>,
    /// Where it could be opened.
    archive: OnceLock<Arc<Archive<disk::Folder>>>,
}

impl Running {
    /// `data_flag`: what other commands need to find this one.
    fn announce(&self, data_flag: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for address in &self.listening {
            writeln!(out, "listening {address}")?;
        }
        out.flush()?;
        let plan = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for site in &plan.sites {
            tracing::info!(
                "{} is served from {}, mode {}",
                site.name,
                site.origin.authority,
                mode(site.mode)
            );
        }
        if let (Source::Flags, Some(_)) = (&self.source, plan.any_host) {
            tracing::info!(
                "without --host every host is answered as this one site: open {} in a browser",
                self.edge
                    .addresses()
                    .first()
                    .map_or_else(String::new, browsable)
            );
        }
        if plan.listen.iter().all(|address| address.ip().is_loopback()) {
            tracing::info!("reachable from this machine only; listen on 0.0.0.0:80 to change that");
        }
        if let Source::Flags = self.source {
            tracing::info!(
                "`saqta status{data_flag}` shows what it does; to keep it: `saqta settings > newsroom.toml`, edit, `saqta run -c newsroom.toml`"
            );
        }
        let sites = plan.sites.clone();
        // Names are looked up and connections tried for seconds: nobody waits for it, and nobody need hear of its end.
        std::thread::spawn(move || say_which_origins_are_silent(&sites));
        Ok(())
    }

    fn look(&self, now: Instant) {
        let totals = self.edge.totals();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = |count, what| counted(usize::try_from(count).unwrap_or(usize::MAX), what);
        let told = watch.look(now, &totals);
        if let Some(count) = told.unknown_hosts {
            tracing::warn!(
                "{} for a host that no site names, and so no answer; if readers see this, add the name to `hosts`, or any_host = true to one site",
                counted(count, "request")
            );
        }
        if let Some(count) = told.purges_refused {
            tracing::warn!(
                "{} refused, and what was corrected may show late; if your site's plugin sends them, name its address in `purge_from` or its token in `purge_token`",
                counted(count, "purge")
            );
        }
    }

    /// What was counted lately.
    fn recent(&self, totals: &Totals) -> Option<Recent> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let (ago, before) = watch.before(Instant::now())?;
        let (now, before) = (serde_json::to_value(totals), serde_json::to_value(before));
        Some(Recent {
            seconds: ago.as_secs_f64(),
            counts: status::difference(now.ok()?, &before.ok()?),
        })
    }

    fn obey(&self, order: Order) -> Answer {
        match order {
            Order::Reload => self.reload(),
            Order::Bypass { on } => self.bypass(on),
            Order::Purge { which, text } => purging::purge(&self.edge, which, &text),
            Order::Invite { site, label, days } => {
                let sites = {
                    let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
                    now.sites.clone()
                };
                inviting::invite(&self.edge, &sites, site.as_deref(), &label, days)
            }
            Order::Invited => inviting::list(&self.edge),
            Order::Revoke { label } => inviting::revoke(&self.edge, &label),
            Order::Decode { code } => decoding::decode(&self.edge, &code),
            Order::Keep { case, record, of } => {
                let archive = self.archive.get().map(Arc::as_ref);
                bundling::keep_as_asked(archive, &case, &record, of)
            }
            Order::Status => Answer::Status {
                status: Box::new(self.status()),
            },
        }
    }

    fn reload(&self) -> Answer {
        let refused = |problem: String| Answer::Refused {
            problems: vec![problem],
        };
        let Source::File(file) = &self.source else {
            return refused(
                "this Saqta was started with --origin and has no settings file\n    start it with -c FILE, then it can be reloaded"
                    .into(),
            );
        };
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = match cli::read_file_again(file, &now) {
            Ok(plan) => plan,
            Err(Failure::Problems(problems)) => {
                return Answer::Refused {
                    problems: problems.iter().map(ToString::to_string).collect(),
                };
            }
            Err(Failure::Refused(problems)) => return Answer::Refused { problems },
            Err(Failure::Other(error)) => return refused(format!("{error:#}")),
        };
        plan.bypass = now.bypass;
        plan.is_drill = now.is_drill;
        let few_files = machine::leave_files_for_origins(&mut plan, machine::open_files_granted());
        if let Err(error) = self.edge.reload(plan.clone()) {
            return refused(format!("{:#}", anyhow::Error::new(error)));
        }
        *now = plan;
        *self
            .few_files
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = few_files;
        let bypass = if now.bypass {
            "; bypass is still on"
        } else {
            ""
        };
        let said = format!(
            "{} runs now: {}{bypass}",
            file.display(),
            counted(now.sites.len(), "site")
        );
        tracing::info!("{said}");
        Answer::Done { said }
    }

    /// For SIGHUP, which has nobody to answer.
    fn reload_and_log(&self) {
        if let Answer::Refused { problems } = self.reload() {
            for problem in problems {
                tracing::error!("not reloaded: {problem}");
            }
        }
    }

    fn bypass(&self, on: bool) -> Answer {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.bypass = on;
        self.edge.bypass(on);
        let said = if on {
            "bypass is on: requests pass through the cache only, the origin is not protected"
        } else {
            "bypass is off: the origin is protected"
        };
        tracing::info!("{said}");
        Answer::Done { said: said.into() }
    }

    fn status(&self) -> Status {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = self.edge.stats();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            process: std::process::id(),
            up_seconds: self.started.elapsed().as_secs(),
            listening: self.listening.clone(),
            settings: match &self.source {
                Source::File(file) => Some(file.display().to_string()),
                Source::Flags => None,
            },
            bypass: now.bypass,
            sites: now
                .sites
                .iter()
                .map(|site| SiteStatus {
                    name: site.name.clone(),
                    hosts: site.hosts.clone(),
                    origin: format!("http://{}", site.origin.authority),
                    mode: mode(site.mode).into(),
                })
                .collect(),
            memory_bytes: machine::memory_bytes(),
            connections_max: Some(now.limits.connections_max as u64),
            few_files: *self
                .few_files
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            recent: self.recent(&stats.totals),
            edge: serde_json::to_value(stats).unwrap_or_default(),
        }
    }
}

/// A silent origin is no reason not to start: stored pages and a page that says so are better than nothing. But whoever starts
/// us wants to know before the first reader does.
fn say_which_origins_are_silent(sites: &[Site]) {
    for site in sites {
        let authority = &site.origin.authority;
        if let Err(error) = check::reach(authority.as_str(), site.origin.connect_timeout) {
            tracing::warn!(
                "{}: its origin http://{authority} does not answer yet: {}; until it does, readers get stored pages where there are any, else a page that says so",
                site.name,
                machine::plainly(&error)
            );
        }
    }
}

/// How a browser on this machine reaches a listener: nobody can go to "every address".
fn browsable(listener: &SocketAddr) -> String {
    let mut address = *listener;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    format!("http://{address}/")
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Protect => "protect",
    }
}

fn grant_open_files(plan: &mut Plan) -> Option<FewFiles> {
    if let Err(error) = machine::raise_open_files() {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
    let wanted = plan.limits.connections_max;
    let few = machine::leave_files_for_origins(plan, machine::open_files_granted())?;
    tracing::warn!(
        "{} open files are granted, {} needed at worst: clients get {} connections instead of {wanted}, {} of them for one \
         address; set LimitNOFILE={}, or lower connections_max",
        few.granted,
        few.needed,
        plan.limits.connections_max,
        plan.limits.connections_per_address_max,
        few.needed
    );
    Some(few)
}

/// Ours only: the HTTP libraries trace header fields, and those are readers'.
fn log_to_standard_error() {
    let ours = Targets::new()
        .with_target("saqta", LevelFilter::INFO)
        .with_target("saqta_edge", LevelFilter::INFO);
    let person = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false);
    // A person sees when it happens and journald notes it; a file has no clock of its own.
    let registry = tracing_subscriber::registry().with(ours);
    let started = if person || std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(lines.without_time()).try_init()
    } else {
        registry.with(lines).try_init()
    };
    // Only a second call in one process could fail, and then the first one's lines go on.
    let _already_logging = started;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_an_address_it_can_open() {
        for (listener, said) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:80", "http://[::1]:80/"),
            ("192.0.2.1:80", "http://192.0.2.1:80/"),
        ] {
            assert_eq!(browsable(&listener.parse().unwrap()), said);
        }
    }
}
