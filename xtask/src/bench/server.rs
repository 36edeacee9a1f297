//! One server under measurement: started from its checked-in configuration, pinned to a core, its processor time read, stopped.
//!
//! Only what was started here is stopped, by its process id; a machine may well run an nginx of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::root;

/// A cold Varnish compiles its VCL with a C compiler first.
const START_SECONDS_MAX: u64 = 20;
/// What a server gets to finish in after SIGTERM, before SIGKILL.
const STOP_SECONDS_MAX: u64 = 5;
/// Between two looks at a server that starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts `command` with `configuration` (a file of `bench/peers`) on a port from the kernel, on `core`, and waits until it
    /// accepts connections. In the configuration and in the command's words `@PORT@`, `@ORIGIN@`, `@DIR@` and
    /// `@FILE@` are filled in.
    pub(crate) fn start(
        command: &[&str],
        configuration: &str,
        origin: u16,
        folder: &Path,
        core: usize,
    ) -> Result<Self> {
        let port = free_port()?;
        let template = root::path().join("bench/peers").join(configuration);
        let file = folder.join(configuration);
        let fill = |text: &str| {
            text.replace("@PORT@", &port.to_string())
                .replace("@ORIGIN@", &origin.to_string())
                .replace("@DIR@", &folder.display().to_string())
                .replace("@FILE@", &file.display().to_string())
        };
        let text = fs::read_to_string(&template)
            .with_context(|| format!("reading {}", template.display()))?;
        fs::write(&file, fill(&text)).with_context(|| format!("writing {}", file.display()))?;

        let log = folder.join(format!("{configuration}.log"));
        let output = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            // Whatever ends us ends the server too.
            .args(["setpriv", "--pdeathsig", "TERM"])
            .args(command.iter().map(|word| fill(word)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing a log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", command[0]))?;
        let mut server = Self { child, port };
        server.wait_until_ready(&log)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let begun = root::now();
        while begun.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
            if TcpStream::connect(self.address()).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("watching a server start")? {
                let told = fs::read_to_string(log).unwrap_or_default();
                bail!("the server ended at once ({status}): {}", told.trim());
            }
            sleep(LOOK_EVERY);
        }
        bail!(
            "the server does not listen after {START_SECONDS_MAX} s; see {}",
            log.display()
        );
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time of the server and all its processes since they started, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> Result<u64> {
        let mut ticks = 0;
        for pid in tree(self.pid())? {
            ticks += stat(pid).map_or(0, |stat| stat.ticks);
        }
        Ok(ticks)
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.end().context("stopping a server")
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pids = tree(self.pid())?;
        signal(self.pid(), Signal::TERM);
        let begun = root::now();
        while begun.elapsed() < Duration::from_secs(STOP_SECONDS_MAX) {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
        for pid in pids {
            signal(pid, Signal::KILL);
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("process {} may still run: {error:#}", self.pid());
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Already gone is as good as stopped.
        kill_process(pid, signal).ok();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("asking for a port")?;
    Ok(listener.local_addr().context("asking for a port")?.port())
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// The fields of `/proc/PID/stat` that matter here; `None` when the process is gone.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces and parentheses of its own.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

/// `root` and all its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("listing /proc")? {
        let name = entry.context("listing /proc")?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Some(stat) = stat(pid)
        {
            parents.push((pid, stat.parent));
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| pid),
        );
        at += 1;
    }
    Ok(tree)
}

/// Ticks in a second, as `/proc` counts them.
pub(crate) fn ticks_per_second() -> Result<u64> {
    let output = Command::new("getconf").arg("CLK_TCK").output();
    let text = output.context("starting getconf")?.stdout;
    String::from_utf8_lossy(&text)
        .trim()
        .parse()
        .context("getconf CLK_TCK prints no number")
}

/// Busy ticks of one core since boot, whoever was busy.
pub(crate) fn core_busy_ticks(core: usize) -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let name = format!("cpu{core}");
    text.lines()
        .find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(&name)).then(|| {
                let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
                // user nice system idle iowait irq softirq steal; idle and iowait are not busy.
                ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>()
            })
        })
        .with_context(|| format!("this machine has no core {core}"))
}

/// A fresh folder for one server's files.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = root::target().join("bench").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_its_own_tree_and_uses_the_processor() {
        let ours = std::process::id();
        assert!(tree(ours).unwrap().contains(&ours));
        assert!(stat(ours).is_some());
        assert!(stat(u32::MAX).is_none());
        assert!(core_busy_ticks(0).unwrap() > 0);
        assert!(ticks_per_second().unwrap() > 0);
    }
}
