//! Instructions of one hot hit, and of what detection does, counted by callgrind and held below ceilings by the test command.
//!
//! Time a request needs the machine to itself; instructions don't: ten runs on a machine with both cores busy lay
//! within ten instructions. The program is run twice under callgrind and asked for a few and for many hits; the difference between the two
//! totals is those hits alone, without start, settings and shutdown. What the kernel does is not counted. Detection alone is counted in the
//! same way, of `crates/detect/examples/engine`.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::load::Browser;
use super::server::{self, Server};
use super::{ARTICLES, PRIMED, SERVER_CORE, body, built};
use crate::{root, tools};

/// What the hit measured with everything counted that ships, 21,600, and a little less than a tenth more: another processor takes other paths
/// through memory routines. 1,800 of them are detection, which sees every request and keeps up to 100 a second of them, and 2,700 that a reader
/// is known again by a cookie, who is let in first when there is not room for all. Whoever raises it says in the commit what readers get for it.
const CEILING: u64 = 23_500;

const FEW: u64 = 200;
const MANY: u64 = 2_200;

/// The edge asks its origin over this many connections at most while the cache fills.
const ORIGIN_CONNECTIONS_MAX: usize = 16;

/// What a hit or a part of detection costs.
pub(crate) struct Price {
    pub what: &'static str,
    pub instructions: u64,
    pub ceiling: u64,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            instructions,
            ceiling,
        } = self;
        write!(f, "{what} {instructions} instructions, at most {ceiling}")
    }
}

/// All of them.
pub(crate) fn prices() -> Result<Vec<Price>> {
    let hit = Price {
        what: "a hot hit",
        instructions: of_a_hit()?,
        ceiling: CEILING,
    };
    let mut prices = vec![hit];
    prices.extend(of_detection()?);
    Ok(prices)
}

/// Seconds of the shorter run and of the longer one.
const SECONDS: (u64, u64) = (5, 25);
/// Of `crates/detect/examples/engine/site.rs`.
const READERS_PER_S: u64 = 350;
const FLOOD_PER_S: u64 = 10_000;

pub(crate) fn run() -> Result<()> {
    println!("program: {}", built()?);
    println!("callgrind: {}", tools::VALGRIND.have()?.version);
    for price in prices()? {
        println!("{price}");
    }
    Ok(())
}

/// Ceilings are a tenth above what was measured.
fn of_detection() -> Result<[Price; 3]> {
    let status = root::cargo()
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--package", "saqta-detect", "--example", "engine"])
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "the example `engine` does not build");
    let folder = server::folder("callgrind-engine")?;
    let total = |arguments: &[&str]| -> Result<u64> {
        let counts = folder.join("counts");
        let status = Command::new("valgrind")
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(root::target().join("release/examples/engine"))
            .args(arguments)
            .status()
            .context("valgrind")?;
        ensure!(status.success(), "engine {arguments:?} failed");
        total_of(&counts)
    };
    let a_request = |what: &str, per_s: u64| -> Result<u64> {
        let of = |seconds: u64| total(&[what, &seconds.to_string()]);
        let (few, many) = (of(SECONDS.0)?, of(SECONDS.1)?);
        Ok(many.saturating_sub(few) / ((SECONDS.1 - SECONDS.0) * per_s))
    };
    let search = total(&["search"])?.saturating_sub(total(&["wait"])?);
    Ok([
        Price {
            what: "what detection does for a request in calm",
            instructions: a_request("calm", READERS_PER_S)?,
            ceiling: 1_620,
        },
        Price {
            what: "in a flood",
            instructions: a_request("flood", READERS_PER_S + FLOOD_PER_S)?,
            ceiling: 1_210,
        },
        Price {
            what: "a search for rules",
            instructions: search,
            ceiling: 73_000_000,
        },
    ])
}

fn of_a_hit() -> Result<u64> {
    let origin = origin()?;
    let few = total(origin, FEW)?;
    let many = total(origin, MANY)?;
    Ok(many.saturating_sub(few) / (MANY - FEW))
}

/// A server of one page, on a port from the kernel, until this program ends. Not nginx, because the test command needs it too
/// and should not ask for a web server on every machine.
fn origin() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("asking for a port")?;
    let port = listener.local_addr().context("asking for a port")?.port();
    thread::spawn(move || {
        for stream in listener.incoming().take(ORIGIN_CONNECTIONS_MAX).flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(port)
}

/// Answers every request on a connection until the other side closes it.
fn answer(mut stream: TcpStream) -> Result<()> {
    let mut page = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1024\r\n\
        Cache-Control: public, max-age=3600\r\n\r\n"
        .to_vec();
    page.extend(body(1_024));
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            stream.write_all(&page)?;
        }
    }
    Ok(())
}

/// Instructions of a whole run that answers `hits` hits of one page after the cache was filled.
fn total(origin: u16, hits: u64) -> Result<u64> {
    let folder = server::folder("callgrind")?;
    let program = root::target().join("release/saqta").display().to_string();
    let counts = folder.join("counts");
    let out = format!("--callgrind-out-file={}", counts.display());
    let command = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        &out,
        &program,
        "--data",
        "@DIR@/data",
        "run",
        "-c",
        "@FILE@",
    ];
    let server = Server::start(&command, "saqta.toml", origin, &folder, SERVER_CORE)?;
    let mut browser = Browser::connect(server.address())?;
    for _ in 0..PRIMED {
        for article in 0..ARTICLES {
            browser.get(&format!("/article/{article}/1k"))?;
        }
    }
    for _ in 0..hits {
        let answer = browser.get("/article/0/1k")?;
        ensure!(answer.status == 200, "a hit has status {}", answer.status);
    }
    server.stop()?;
    total_of(&counts)
}

fn total_of(counts: &Path) -> Result<u64> {
    let text = fs::read_to_string(counts).context("reading callgrind's counts")?;
    text.lines()
        .filter_map(|line| line.strip_prefix("totals: "))
        .next_back()
        .and_then(|total| total.trim().parse().ok())
        .context("callgrind's counts have no total")
}
