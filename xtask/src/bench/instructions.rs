//! Instructions of one hot hit, counted by callgrind.
//!
//! Time a request needs the machine to itself; instructions don't, so this figure can be held on a build machine that does ten
//! other things. The program is run twice under callgrind and asked for a few and for many hits; the difference between the two
//! totals is those hits alone, without start, settings and shutdown.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::load::Browser;
use super::server::{self, Server};
use super::{ARTICLES, LOAD_CORE, NGINX_COMMAND, PRIMED, SERVER_CORE, body, built};
use crate::{root, tools};

const FEW: u64 = 200;
const MANY: u64 = 2_200;

pub(crate) fn run() -> Result<()> {
    println!("program: {}", built()?);
    println!("callgrind: {}", tools::VALGRIND.have()?.version);
    tools::NGINX.have()?;
    println!("hit-1k: {} instructions", of_a_hit()?);
    Ok(())
}

pub(crate) fn of_a_hit() -> Result<u64> {
    let folder = server::folder("origin")?;
    for (size, bytes) in [("1k", 1_024), ("20k", 20_480)] {
        fs::write(folder.join(size), body(bytes)).context("writing the origin's pages")?;
    }
    let origin =
        Server::start(NGINX_COMMAND, "origin.conf", 0, &folder, LOAD_CORE).context("the origin")?;
    let few = total(&origin, FEW)?;
    let many = total(&origin, MANY)?;
    origin.stop()?;
    Ok(many.saturating_sub(few) / (MANY - FEW))
}

/// Instructions of a whole run that answers `hits` hits of one page after the cache was filled.
fn total(origin: &Server, hits: u64) -> Result<u64> {
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
    let server = Server::start(&command, "saqta.toml", origin.port, &folder, SERVER_CORE)?;
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
    let text = fs::read_to_string(&counts).context("reading callgrind's counts")?;
    text.lines()
        .filter_map(|line| line.strip_prefix("totals: "))
        .next_back()
        .and_then(|total| total.trim().parse().ok())
        .context("callgrind's counts have no total")
}
