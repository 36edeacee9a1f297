//! What a request costs: processor time of the server per request, ours beside nginx's, HAProxy's and Varnish's, in one run.
//!
//! Requests per second say little on a machine where the load generator is as busy as the server; processor time a request
//! is what decides how much flood a core can stand. One core is the server's, the other the load's and the origin's. In every round each
//! server is started, asked whether its answers are right (status, bytes, from its cache or not, as the origin counts),
//! measured and stopped, so that whatever else the machine does falls on all of them alike. A ratio is taken inside a round; what is
//! printed are medians over rounds.
//!
//! All servers run from `bench/peers`, ours with the defaults it ships with. Debian's packages are installed when absent.

pub(crate) mod instructions;
mod load;
mod server;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::options::Options;
use crate::{root, tools};
use load::Browser;
use server::Server;

const HELP: &str = "\
cargo x bench [WHAT]… [--rounds N] [--seconds N] [--servers a,b]

  WHAT        rows whose name begins so: hit-1k hit-20k connect-1k query-1k pass-1k busted-none busted-article busted-paths
              busted-values refuse refuse-connect; all unless told
  --rounds    how often each server is started and measured (5)
  --seconds   of each measurement (3)
  --servers   of saqta, nginx, nginx-drop-arguments, varnish, haproxy; all unless told
  --instructions
              instead: instructions of one hot hit under callgrind, which no other load changes

  Figures go to the terminal and to bench/out/. Measure on a machine with nothing else to do: the column `other` is
  the share of the server's core that somebody else used.
";

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// A page, several scripts and pictures each for a dozen readers; the number the shared figures were taken with.
const CONNECTIONS: u32 = 64;
/// A flood that gets past a cache has more bots, and wrk asks anew only when it has an answer: with 64 it could have no more in hand than a
/// slow origin will answer within a reader's patience. Below the 512 that Saqta takes from one address.
const FLOOD_CONNECTIONS: u32 = 480;
/// What such a flood asks for costs, a server learns in its first second; the drills measure that.
const ONSET_SECONDS: u32 = 2;

/// How long a measurement waits for others to leave the server's core, before it is taken all the same and says so.
const QUIET_SECONDS_MAX: u64 = 4;
/// A core that others use less is quiet.
const QUIET: f64 = 0.1;

/// Hot pages of `bench/load.lua`.
const ARTICLES: usize = 16;
/// How often each hot page is asked for before measuring: a cache may want to see a page twice before it keeps it.
const PRIMED: usize = 3;
/// Searches asked of each server to see whether it gives the page that was asked for.
const SEARCHES: usize = 20;

struct Contestant {
    name: &'static str,
    /// Caching and passing on; then refusing 127.0.0.0/8.
    serving: &'static str,
    refusing: Option<&'static str>,
    command: &'static [&'static str],
    debian: Option<&'static tools::Debian>,
}

const SAQTA: &str = "saqta";
const NGINX: &str = "nginx";

/// In every command `@FILE@` is the filled-in configuration and `@SAQTA@` our program.
const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: NGINX,
        serving: "nginx.conf",
        refusing: Some("nginx-refuse.conf"),
        command: NGINX_COMMAND,
        debian: Some(&tools::NGINX),
    },
    Contestant {
        name: "nginx-drop-arguments",
        serving: "nginx-drop-arguments.conf",
        refusing: None,
        command: NGINX_COMMAND,
        debian: Some(&tools::NGINX),
    },
    Contestant {
        name: SAQTA,
        serving: "saqta.toml",
        refusing: Some("saqta-refuse.toml"),
        command: &["@SAQTA@", "--data", "@DIR@/data", "run", "-c", "@FILE@"],
        debian: None,
    },
    Contestant {
        name: "varnish",
        serving: "varnish.vcl",
        refusing: Some("varnish-refuse.vcl"),
        // One pool because there is one core; the jail wants users that only Debian's service has.
        command: &[
            "/usr/sbin/varnishd",
            "-F",
            "-j",
            "none",
            "-n",
            "@DIR@/varnish",
            "-a",
            "127.0.0.1:@PORT@",
            "-T",
            "none",
            "-f",
            "@FILE@",
            "-s",
            "malloc,512m",
            "-p",
            "thread_pools=1",
            "-p",
            "listen_depth=4096",
        ],
        debian: Some(&tools::VARNISH),
    },
    Contestant {
        name: "haproxy",
        serving: "haproxy.cfg",
        refusing: Some("haproxy-refuse.cfg"),
        command: &["/usr/sbin/haproxy", "-db", "-f", "@FILE@"],
        debian: Some(&tools::HAPROXY),
    },
];

const NGINX_COMMAND: &[&str] = &[
    "/usr/sbin/nginx",
    "-e",
    "stderr",
    "-p",
    "@DIR@",
    "-c",
    "@FILE@",
];

struct Row {
    name: &'static str,
    refuses: bool,
    /// For `bench/load.lua`: kind and size.
    kind: &'static str,
    size: &'static str,
    connect_each: bool,
    connections: u32,
    /// It asks for what no cache has seen, and a reader asks for known pages meanwhile. The part of its requests that a copy can answer.
    busts: Option<f64>,
    /// We promise to cost at most this many times what that server costs.
    promises: &'static [(&'static str, f64)],
}

const ROWS: &[Row] = &[
    Row {
        name: "hit-1k",
        refuses: false,
        kind: "hit",
        size: "1k",
        connect_each: false,
        connections: CONNECTIONS,
        busts: None,
        promises: &[(NGINX, 0.7), ("varnish", 0.5), ("haproxy", 1.1)],
    },
    Row {
        name: "hit-20k",
        refuses: false,
        kind: "hit",
        size: "20k",
        connect_each: false,
        connections: CONNECTIONS,
        busts: None,
        promises: &[(NGINX, 0.85), ("varnish", 0.5), ("haproxy", 0.8)],
    },
    Row {
        name: "connect-1k",
        refuses: false,
        kind: "hit",
        size: "1k",
        connect_each: true,
        connections: CONNECTIONS,
        busts: None,
        promises: &[],
    },
    Row {
        name: "query-1k",
        refuses: false,
        kind: "query",
        size: "1k",
        connect_each: false,
        connections: CONNECTIONS,
        busts: None,
        promises: &[],
    },
    Row {
        name: "pass-1k",
        refuses: false,
        kind: "pass",
        size: "1k",
        connect_each: false,
        connections: CONNECTIONS,
        busts: None,
        promises: &[],
    },
    // What the three that follow are compared with: plain hits, over as many connections.
    Row {
        name: PLAIN,
        refuses: false,
        kind: "hot",
        size: "1k",
        connect_each: false,
        connections: FLOOD_CONNECTIONS,
        busts: None,
        promises: &[],
    },
    // Last of those that are served: what an origin that was overrun has taught a server lasts into the next row.
    Row {
        name: "busted-article",
        refuses: false,
        kind: "busted-article",
        size: "1k",
        connect_each: false,
        connections: FLOOD_CONNECTIONS,
        busts: Some(1.0),
        promises: &[],
    },
    Row {
        name: "busted-paths",
        refuses: false,
        kind: "busted-paths",
        size: "1k",
        connect_each: false,
        connections: FLOOD_CONNECTIONS,
        busts: Some(0.5),
        promises: &[],
    },
    Row {
        name: "busted-values",
        refuses: false,
        kind: "busted-values",
        size: "1k",
        connect_each: false,
        connections: FLOOD_CONNECTIONS,
        busts: Some(0.5),
        promises: &[],
    },
    Row {
        name: "refuse",
        refuses: true,
        kind: "refuse",
        size: "1k",
        connect_each: false,
        connections: CONNECTIONS,
        busts: None,
        promises: &[(NGINX, 1.15)],
    },
    Row {
        name: "refuse-connect",
        refuses: true,
        kind: "refuse",
        size: "1k",
        connect_each: true,
        connections: CONNECTIONS,
        busts: None,
        promises: &[(NGINX, 1.3)],
    },
];

/// While a cache is busted it gives at least this part of the answers that it gives of plain hits, which this row measures.
const BUSTED_RATE_MIN: f64 = 0.8;
const PLAIN: &str = "busted-none";
/// And of what a reader asks for meanwhile, this part of known pages is served.
const KNOWN_SERVED_MIN: f64 = 0.999;
/// Between two of that reader's requests.
const READER_PAUSE: Duration = Duration::from_millis(1);

/// One measurement of one row on one server in one round.
struct Sample {
    row: &'static str,
    server: &'static str,
    round: u32,
    cpu_us: f64,
    requests_per_second: f64,
    p99_us: u64,
    /// Share of the answers with a status of 400 or more, and of those that never came.
    refused: f64,
    broken: f64,
    /// Known pages a reader got, and asked for, while the row busts the cache.
    known: Option<Known>,
    /// Share of the server's core that others used meanwhile.
    other: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    served: u64,
    asked: u64,
}

pub(crate) fn run(mut options: Options) -> Result<()> {
    if options.flag("--help") {
        print!("{HELP}");
        return Ok(());
    }
    if options.flag("--instructions") {
        ensure!(options.words()?.is_empty(), "--instructions goes alone");
        return instructions::run();
    }
    let rounds = options.count("--rounds", 5)?;
    let seconds = options.count("--seconds", 3)?;
    let servers = options.value("--servers")?;
    let asked = options.words()?;

    let contestants = contestants(servers.as_deref())?;
    let rows: Vec<_> = ROWS
        .iter()
        .filter(|row| {
            asked.is_empty() || asked.iter().any(|word| row.name.starts_with(word.as_str()))
        })
        .collect();
    ensure!(
        !rows.is_empty(),
        "no row begins with {}",
        asked.join(" or ")
    );

    let machine = machine(&contestants)?;
    for line in &machine {
        println!("{line}");
    }
    let mut samples = Vec::new();
    let mut wrong = Vec::new();
    for round in 0..rounds {
        let origin_folder = server::folder("origin")?;
        for (size, bytes) in [("1k", 1_024), ("20k", 20_480)] {
            fs::write(origin_folder.join(size), body(bytes))
                .context("writing the origin's pages")?;
        }
        let origin = Server::start(NGINX_COMMAND, "origin.conf", 0, &origin_folder, LOAD_CORE)
            .context("the origin")?;
        for at in 0..contestants.len() {
            // Another one begins each round, so that nobody always runs after the same neighbour.
            let contestant = contestants[(at + round as usize) % contestants.len()];
            let mut measure = Measure {
                contestant,
                origin: &origin,
                round,
                seconds,
                samples: &mut samples,
                wrong: &mut wrong,
            };
            measure
                .serving(&rows)
                .and_then(|()| measure.refusing(&rows))
                .with_context(|| format!("{} in round {}", contestant.name, round + 1))?;
        }
        origin.stop()?;
    }

    let table = table(&rows, &contestants, &samples);
    println!("\n{table}");
    wrong.sort();
    wrong.dedup();
    for line in &wrong {
        println!("{line}");
    }
    let file = save(&machine, seconds, &samples, &wrong)?;
    println!("\nevery sample: {file}");
    Ok(())
}

fn contestants(servers: Option<&str>) -> Result<Vec<&'static Contestant>> {
    let Some(servers) = servers else {
        return Ok(CONTESTANTS.iter().collect());
    };
    servers
        .split(',')
        .map(|name| {
            CONTESTANTS
                .iter()
                .find(|contestant| contestant.name == name)
                .with_context(|| format!("there is no server {name:?} to measure"))
        })
        .collect()
}

/// What the figures were taken on and with; installs what is absent and builds our program.
fn machine(contestants: &[&Contestant]) -> Result<Vec<String>> {
    let first = |path: &str, begins: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(begins))
            .unwrap_or_default();
        line.split_once(':')
            .map_or(line, |(_, value)| value)
            .trim()
            .to_owned()
    };
    let cores = std::thread::available_parallelism().context("counting cores")?;
    ensure!(
        cores.get() >= 2,
        "two cores are wanted, one for the server and one for the load"
    );
    let mut lines = vec![
        format!("{}, {cores} cores", first("/proc/cpuinfo", "model name")),
        format!("Linux {}", first("/proc/sys/kernel/osrelease", "")),
        format!("origin: {}", tools::NGINX.have()?.version),
        format!("load: {}", tools::WRK.have()?.version),
    ];
    for contestant in contestants {
        let version = match contestant.debian {
            Some(debian) => debian.have()?.version,
            None => built()?,
        };
        lines.push(format!("{}: {version}", contestant.name));
    }
    Ok(lines)
}

/// Builds our program as it ships and says which source it is.
pub(crate) fn built() -> Result<String> {
    let status = root::cargo()
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--package",
            "saqta",
        ])
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "the program does not build");
    let commit = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(root::path())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    Ok(format!("release build of {commit}"))
}

/// Bytes that a compressor would not shorten to nothing, and that tell a page that is cut or shifted.
fn body(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

struct Measure<'a> {
    contestant: &'static Contestant,
    origin: &'a Server,
    round: u32,
    seconds: u32,
    samples: &'a mut Vec<Sample>,
    wrong: &'a mut Vec<String>,
}

impl Measure<'_> {
    fn serving(&mut self, rows: &[&'static Row]) -> Result<()> {
        if rows.iter().all(|row| row.refuses) {
            return Ok(());
        }
        let server = self.start(self.contestant.serving)?;
        self.answers_are_right(&server)?;
        for row in rows.iter().filter(|row| !row.refuses) {
            self.sample(row, &server)?;
        }
        server.stop()
    }

    fn refusing(&mut self, rows: &[&'static Row]) -> Result<()> {
        let Some(configuration) = self.contestant.refusing else {
            return Ok(());
        };
        if rows.iter().all(|row| !row.refuses) {
            return Ok(());
        }
        let server = self.start(configuration)?;
        let before = asked_of(self.origin)?;
        // Twice on one connection: the row is about connections that are kept.
        let mut browser = Browser::connect(server.address())?;
        for _ in 0..2 {
            let answer = browser.get("/article/0/1k")?;
            ensure!(answer.status == 403, "refuses with {}", answer.status);
        }
        ensure!(
            asked_since(before, self.origin)? == 0,
            "asks the origin what it refuses"
        );
        for row in rows.iter().filter(|row| row.refuses) {
            self.sample(row, &server)?;
        }
        server.stop()
    }

    fn start(&self, configuration: &str) -> Result<Server> {
        let program = root::target().join("release/saqta").display().to_string();
        let command: Vec<_> = self
            .contestant
            .command
            .iter()
            .map(|word| {
                if *word == "@SAQTA@" {
                    program.as_str()
                } else {
                    word
                }
            })
            .collect();
        let folder = server::folder(self.contestant.name)?;
        Server::start(
            &command,
            configuration,
            self.origin.port,
            &folder,
            SERVER_CORE,
        )
    }

    /// A figure for wrong answers is worth nothing: the right bytes, hits that the origin never sees, passes that it always sees.
    fn answers_are_right(&mut self, server: &Server) -> Result<()> {
        let mut browser = Browser::connect(server.address())?;
        let mut right = |target: &str, bytes: usize| {
            let answer = browser.get(target)?;
            ensure!(answer.status == 200, "{target}: status {}", answer.status);
            ensure!(
                answer.body == body(bytes),
                "{target}: not the page that was asked for"
            );
            Ok(())
        };
        // Those that floods are aimed at come from a part of the origin that makes a thousand pages a second.
        let pages = |size| {
            ["article", "page"].into_iter().flat_map(move |part| {
                (0..ARTICLES).map(move |page| format!("/{part}/{page}/{size}"))
            })
        };
        for (size, bytes) in [("1k", 1_024), ("20k", 20_480)] {
            for _ in 0..PRIMED {
                for page in pages(size) {
                    right(&page, bytes)?;
                }
            }
            let before = asked_of(self.origin)?;
            for page in pages(size) {
                right(&page, bytes)?;
            }
            let asked = asked_since(before, self.origin)?;
            ensure!(
                asked == 0,
                "{asked} of the hot pages of {size} came from the origin"
            );

            let before = asked_of(self.origin)?;
            right(&format!("/pass/0/{size}"), bytes)?;
            right(&format!("/pass/0/{size}"), bytes)?;
            let asked = asked_since(before, self.origin)?;
            ensure!(
                asked == 2,
                "the origin saw {asked} of 2 requests that had to pass"
            );
        }

        let mut wrong = 0;
        for search in 0..SEARCHES {
            let target = format!("/search?q={search}");
            let answer = browser.get(&target)?;
            wrong += usize::from(answer.body != target.as_bytes());
        }
        if wrong > 0 {
            self.wrong.push(format!(
                "{}: {wrong} of {SEARCHES} searches were answered with another search's page",
                self.contestant.name
            ));
        }
        Ok(())
    }

    fn sample(&mut self, row: &'static Row, server: &Server) -> Result<()> {
        let seed = self.round.to_string();
        let mut words = vec![row.kind, row.size, &seed];
        if row.connect_each {
            words.push("close");
        }
        let address = server.address();
        if row.busts.is_some() {
            load::wrk(address, row.connections, ONSET_SECONDS, LOAD_CORE, &words)?;
        }
        wait_for_quiet()?;
        let (ticks, busy) = (server.cpu_ticks()?, server::core_busy_ticks(SERVER_CORE)?);
        let (seen, known) = if row.busts.is_some() {
            let (seen, known) = beside_a_reader(address, || {
                load::wrk(address, row.connections, self.seconds, LOAD_CORE, &words)
            })?;
            (seen?, Some(known))
        } else {
            let seen = load::wrk(address, row.connections, self.seconds, LOAD_CORE, &words)?;
            (seen, None)
        };
        let ticks = server.cpu_ticks()?.saturating_sub(ticks);
        let busy = server::core_busy_ticks(SERVER_CORE)?.saturating_sub(busy);
        ensure!(seen.requests > 0, "{}: no request was answered", row.name);

        let per_second = server::ticks_per_second()?;
        let requests = seen.requests as f64;
        let seconds = seen.microseconds as f64 / 1e6;
        let sample = Sample {
            row: row.name,
            server: self.contestant.name,
            round: self.round,
            cpu_us: ticks as f64 * 1e6 / per_second as f64 / requests,
            requests_per_second: requests / seconds,
            p99_us: seen.p99_microseconds,
            refused: seen.refused as f64 / requests,
            broken: seen.broken as f64 / requests,
            known,
            other: busy.saturating_sub(ticks) as f64 / per_second as f64 / seconds,
        };
        println!(
            "round {} {:<15} {:<21} {:>7.2} µs {:>8.0}/s other {:>3.0} %",
            self.round + 1,
            sample.row,
            sample.server,
            sample.cpu_us,
            sample.requests_per_second,
            sample.other * 100.0
        );
        self.samples.push(sample);
        Ok(())
    }
}

/// Does `work` while one reader asks for known pages, one after the other.
fn beside_a_reader<T>(address: SocketAddr, work: impl FnOnce() -> T) -> Result<(T, Known)> {
    let page_bytes = body(1_024);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<Known> {
            let mut browser = Browser::connect(address)?;
            let mut known = Known::default();
            while !stop.load(Ordering::Relaxed) {
                let page = known.asked % ARTICLES as u64;
                let answer = browser.get(&format!("/page/{page}/1k"))?;
                known.asked += 1;
                known.served += u64::from(answer.status == 200 && answer.body == page_bytes);
                std::thread::sleep(READER_PAUSE);
            }
            Ok(known)
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let known = reader
            .join()
            .map_err(|_| anyhow!("the reader's thread panicked"))?
            .context("the reader beside the flood")?;
        Ok((done, known))
    })
}

fn wait_for_quiet() -> Result<()> {
    let looked = Duration::from_millis(200);
    let begun = root::now();
    while begun.elapsed() < Duration::from_secs(QUIET_SECONDS_MAX) {
        let busy = server::core_busy_ticks(SERVER_CORE)?;
        std::thread::sleep(looked);
        let busy = server::core_busy_ticks(SERVER_CORE)?.saturating_sub(busy);
        if (busy as f64) < QUIET * looked.as_secs_f64() * server::ticks_per_second()? as f64 {
            break;
        }
    }
    Ok(())
}

/// How many requests the origin has answered, this one among them.
fn asked_of(origin: &Server) -> Result<u64> {
    let answer = Browser::connect(origin.address())?.get("/requests")?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    // The third line holds three counters: accepted, handled, requests.
    text.lines()
        .nth(2)
        .and_then(|line| line.split_whitespace().nth(2))
        .and_then(|count| count.parse().ok())
        .with_context(|| format!("the origin's count is not understood: {text}"))
}

/// How many it has answered since it was asked `before`, the asking itself not counted.
fn asked_since(before: u64, origin: &Server) -> Result<u64> {
    Ok(asked_of(origin)?.saturating_sub(before + 1))
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

/// The median over rounds of what `of` costs as a multiple of what `beside` costs in the same round.
fn ratio(samples: &[Sample], row: &str, of: &str, beside: &str) -> Option<f64> {
    let cost = |server: &str, round| {
        samples
            .iter()
            .find(|sample| sample.row == row && sample.server == server && sample.round == round)
            .map(|sample| sample.cpu_us)
    };
    let rounds = samples.iter().map(|sample| sample.round).max()? + 1;
    median(
        (0..rounds)
            .filter_map(|round| Some(cost(of, round)? / cost(beside, round)?))
            .collect(),
    )
}

/// How many of the answers that a copy can give a server gave in a row that busts its cache, as a part of what it gives of plain hits; in the
/// same round.
fn part_of_plain(samples: &[Sample], row: &Row, server: &str) -> Option<f64> {
    let answerable = row.busts?;
    let answered = |name: &str, round| {
        samples
            .iter()
            .find(|sample| sample.row == name && sample.server == server && sample.round == round)
            .map(|sample| sample.requests_per_second * (1.0 - sample.refused))
    };
    let rounds = samples.iter().map(|sample| sample.round).max()? + 1;
    median(
        (0..rounds)
            .filter_map(|round| {
                Some(answered(row.name, round)? / answerable / answered(PLAIN, round)?)
            })
            .collect(),
    )
}

/// What a reader got of known pages, all rounds together.
fn known(samples: &[Sample], row: &str, server: &str) -> Option<Known> {
    samples
        .iter()
        .filter(|sample| sample.row == row && sample.server == server)
        .filter_map(|sample| sample.known)
        .reduce(|all, one| Known {
            served: all.served + one.served,
            asked: all.asked + one.asked,
        })
}

fn table(rows: &[&Row], contestants: &[&Contestant], samples: &[Sample]) -> String {
    let mut text = String::from(
        "| row | server | CPU µs/request, median (min–max) | × nginx | requests/s | p99 ms | other | note |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        for contestant in contestants {
            let of = |what: fn(&Sample) -> f64| -> Vec<f64> {
                samples
                    .iter()
                    .filter(|sample| sample.row == row.name && sample.server == contestant.name)
                    .map(what)
                    .collect()
            };
            let middle = |what| median(of(what)).unwrap_or(f64::NAN);
            let costs = of(|sample| sample.cpu_us);
            if costs.is_empty() {
                continue;
            }
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            let most = costs.iter().copied().fold(0.0, f64::max);
            let mut notes = Vec::new();
            let refused = middle(|sample| sample.refused);
            if !row.refuses && refused > 0.0 {
                notes.push(format!("{:.1} % refused", refused * 100.0));
            }
            let broken = middle(|sample| sample.broken);
            if broken > 0.0 {
                notes.push(format!("{:.1} % broken", broken * 100.0));
            }
            if let Some(part) = part_of_plain(samples, row, contestant.name) {
                notes.push(format!("answers {part:.2} × as many as in {PLAIN}"));
            }
            if let Some(known) = known(samples, row.name, contestant.name) {
                notes.push(format!("known pages {} of {}", known.served, known.asked));
            }
            text += &format!(
                "| {} | {} | {:.1} ({least:.1}–{most:.1}) | {} | {:.0} | {:.2} | {:.0} % | {} |\n",
                row.name,
                contestant.name,
                middle(|sample| sample.cpu_us),
                ratio(samples, row.name, contestant.name, NGINX)
                    .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
                middle(|sample| sample.requests_per_second),
                middle(|sample| sample.p99_us as f64) / 1e3,
                middle(|sample| sample.other) * 100.0,
                notes.join(", "),
            );
        }
    }

    let mut promises = String::new();
    for row in rows {
        for (beside, at_most) in row.promises {
            if let Some(ratio) = ratio(samples, row.name, SAQTA, beside) {
                let kept = if ratio <= *at_most {
                    "kept"
                } else {
                    "NOT KEPT"
                };
                promises += &format!(
                    "| {} | {beside} | {ratio:.2} | {at_most} | {kept} |\n",
                    row.name
                );
            }
        }
    }
    if !promises.is_empty() {
        text += "\n| row | beside | saqta costs × | at most | |\n|---|---|---|---|---|\n";
        text += &promises;
    }
    let mut floods = String::new();
    for row in rows.iter().filter(|row| row.busts.is_some()) {
        let mut kept = |what: &str, value: Option<f64>, least: f64| {
            if let Some(value) = value {
                let kept = if value >= least { "kept" } else { "NOT KEPT" };
                floods += &format!(
                    "| {} | {what} | {value:.3} | {least} | {kept} |\n",
                    row.name
                );
            }
        };
        let rate = part_of_plain(samples, row, SAQTA);
        kept(
            "answers from copies, as a part of busted-none's",
            rate,
            BUSTED_RATE_MIN,
        );
        let served = known(samples, row.name, SAQTA)
            .map(|known| known.served as f64 / known.asked.max(1) as f64);
        kept("known pages served", served, KNOWN_SERVED_MIN);
    }
    if !floods.is_empty() {
        text += "\n| row | of saqta | share | at least | |\n|---|---|---|---|---|\n";
        text += &floods;
    }
    text
}

fn save(machine: &[String], seconds: u32, samples: &[Sample], wrong: &[String]) -> Result<String> {
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| {
            json!({
                "row": sample.row,
                "server": sample.server,
                "round": sample.round + 1,
                "cpu_us": sample.cpu_us,
                "requests_per_second": sample.requests_per_second,
                "p99_us": sample.p99_us,
                "refused": sample.refused,
                "broken": sample.broken,
                "known_served": sample.known.map(|known| known.served),
                "known_asked": sample.known.map(|known| known.asked),
                "other": sample.other,
            })
        })
        .collect();
    let report = json!({
        "machine": machine,
        "seconds": seconds,
        "samples": samples,
        "wrong": wrong,
    });
    let folder = root::path().join("bench/out");
    fs::create_dir_all(&folder).context("making bench/out")?;
    let file = unused(&folder)?;
    fs::write(&file, format!("{report:#}\n")).with_context(|| format!("writing {file}"))?;
    Ok(file)
}

/// `run-1.json`, `run-2.json`, …: a run never overwrites another's figures.
fn unused(folder: &Path) -> Result<String> {
    /// Nobody compares more; clear the folder.
    const RUNS_MAX: u32 = 10_000;
    (1..=RUNS_MAX)
        .map(|run| folder.join(format!("run-{run}.json")))
        .find(|file| !file.exists())
        .map(|file| file.display().to_string())
        .with_context(|| format!("{} holds {RUNS_MAX} runs", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let table: &[(&[f64], Option<f64>)] = &[
            (&[], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ];
        for (numbers, expected) in table {
            assert_eq!(median(numbers.to_vec()), *expected, "{numbers:?}");
        }
    }

    #[test]
    fn a_ratio_is_taken_inside_a_round() {
        // A machine three times slower in the second round tells nothing about the two servers.
        let costs = [(0, 10.0, 20.0), (1, 30.0, 60.0), (2, 11.0, 20.0)];
        let samples: Vec<_> = costs
            .iter()
            .flat_map(|&(round, ours, theirs)| [(round, SAQTA, ours), (round, NGINX, theirs)])
            .map(|(round, server, cpu_us)| Sample {
                row: "hit-1k",
                server,
                round,
                cpu_us,
                requests_per_second: 0.0,
                p99_us: 0,
                refused: 0.0,
                broken: 0.0,
                known: None,
                other: 0.0,
            })
            .collect();
        assert_eq!(ratio(&samples, "hit-1k", SAQTA, NGINX), Some(0.5));
        assert_eq!(ratio(&samples, "hit-1k", SAQTA, "varnish"), None);
        assert_eq!(ratio(&samples, "hit-20k", SAQTA, NGINX), None);
    }
}
