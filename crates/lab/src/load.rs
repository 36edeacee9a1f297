//! Readers and attackers, each a process of their own.
//!
//! Separate, because the crowd that attacks must not slow down the hand that measures: attackers run at a lower priority than
//! edge, origin and readers, as in life their machines are not ours. Open loop (`load/schedule.rs`): what is due is sent, and when this
//! machine cannot send it, the books say so instead of the server looking good.
//!
//! A generator stops by itself: at its last moment, which its orders state; when its standard input closes, which happens
//! whenever its parent dies; and never later than two minutes and a little after it began.

mod attack;
mod books;
mod h2;
mod heads;
mod judge;
mod mixed;
mod readers;
mod schedule;
mod slow;
mod tokens;
mod upload;

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

pub(crate) use books::PATIENCE;
pub use books::{AttackBook, AttackTally, Books, GroupBook, Line, Progress, Tally};
pub(crate) use mixed::names as mixed_names;
pub use tokens::{Mint, Tokens};

use crate::clock;
use crate::corpus::Grade;
use crate::guard::Target;
use crate::network::Range;
use crate::origin::Dialect;
use crate::scenario;
use crate::wire::{Event, Wire};

/// Half of the files a hardened Linux gives a process.
const CONNECTIONS_MAX: usize = 8_000;
/// Of the orders: a scenario and a dozen numbers.
const ORDERS_BYTES_MAX: u64 = 4 * scenario::FILE_BYTES_MAX as u64;
/// Beyond the last moment of a drill: patience for the last answers, and a little.
const OVERTIME_MAX: Duration = Duration::from_secs(15);
const DRILL_MAX: Duration = Duration::from_secs(121);

/// What a generator process is told, on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    pub role: Role,
    /// The scenario's text.
    pub scenario: String,
    /// All phases together.
    pub seconds: f64,
    /// `127.0.0.1:8080`; `None`: the other end of the cable of the drill's own network.
    pub target: Option<String>,
    pub grade: Grade,
    /// How staff log in and publish.
    pub dialect: Dialect,
    pub seed: u64,
    /// Of [`clock::monotonic`].
    pub starts_at_us: u64,
    /// The neighbour's readers visit the same newsroom: there is one origin only.
    pub one_newsroom: bool,
    /// With which the edge of the drill signs what it gives to readers; `None`: another server.
    pub keys: Option<String>,
    /// How long answers are waited for after the last phase.
    pub patience_s: f64,
    /// Added to the priority number of the process: 0 as others, 10 after everybody else.
    pub nice: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Readers,
    Attackers,
}

impl Orders {
    fn tokens(&self, mint: &Mint, host: &str) -> Option<Box<dyn Tokens>> {
        (mint.tokens)(self.keys.as_deref()?, host)
    }

    fn range(&self) -> Range {
        match self.target {
            Some(_) => Range::Loopback,
            None => Range::Cable,
        }
    }
}

/// The generator process: orders on standard input, [`Line`]s on standard output.
pub fn load_main(mint: &Mint) -> anyhow::Result<()> {
    let mut line = String::new();
    let mut input = io::BufReader::new(io::stdin().take(ORDERS_BYTES_MAX));
    input
        .read_line(&mut line)
        .context("cannot read the orders")?;
    let orders: Orders = serde_json::from_str(&line).context("the orders cannot be read")?;
    let stop = Arc::new(AtomicBool::new(false));
    {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            // Whatever ends it, the parent has let go of us.
            drop(io::copy(&mut io::stdin(), &mut io::sink()));
            stop.store(true, Ordering::Relaxed);
        });
    }
    if orders.nice != 0 {
        rustix::process::nice(orders.nice).context("cannot lower the priority")?;
    }
    run(&orders, mint, &stop, &mut io::stdout().lock())
}

/// What a population does when time passes and when the wire speaks. Moments count from the drill's start.
trait Population {
    /// Sends what is due. Bounded, so that answers are heard in between.
    fn fire(&mut self, now: Duration, wire: &mut Wire);
    fn hear(&mut self, now: Duration, event: Event, wire: &mut Wire);
    /// When to fire next at the latest.
    fn next(&self) -> Option<Duration>;
    fn is_over(&self, now: Duration) -> bool;
    fn progress(&mut self) -> Progress;
    fn close(self: Box<Self>) -> Books;
    /// Sends that fall into one stretch of this length go out together: each batch wakes the server once, which costs the kernel as
    /// much as the sending.
    fn grain(&self) -> Duration;
}

/// Runs one generator to its end, or until `stop`.
pub fn run(
    orders: &Orders,
    mint: &Mint,
    stop: &AtomicBool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let scenario = match scenario::parse(&orders.scenario) {
        Ok(scenario) => scenario.lasting(Duration::from_secs_f64(
            orders.seconds.clamp(0.0, DRILL_MAX.as_secs_f64()),
        )),
        Err(problems) => match problems.first() {
            Some(problem) => bail!("{problem}"),
            None => bail!("the scenario cannot be read"),
        },
    };
    let targets = match &orders.target {
        Some(target) => Target::parse(target).map(|target| vec![target]),
        None => Target::across_the_cable(),
    };
    let targets = targets.context("cannot attack this address")?;
    let mut wire = Wire::new(&targets, CONNECTIONS_MAX).context("cannot make an event queue")?;
    let mut population: Box<dyn Population> = match orders.role {
        Role::Readers => Box::new(readers::Readers::new(&scenario, orders, mint)?),
        Role::Attackers => Box::new(attack::Attackers::new(&scenario, orders, mint)?),
    };
    let start = Duration::from_micros(orders.starts_at_us);
    let last = start + scenario.phases.total() + OVERTIME_MAX;
    let mut next_second = match orders.role {
        Role::Readers => Duration::from_secs(1),
        Role::Attackers => scenario.phases.calm + Duration::from_secs(1),
    };
    let cpu_before = cpu_seconds();
    let mut events = Vec::new();
    let mut next_fire = Duration::ZERO;
    loop {
        let clock = clock::monotonic();
        let now = clock.saturating_sub(start);
        if stop.load(Ordering::Relaxed)
            || clock > last
            || (clock > start && population.is_over(now))
        {
            break;
        }
        if clock >= start && now >= next_fire {
            population.fire(now, &mut wire);
            next_fire = now + population.grain();
        }
        if now >= next_second {
            let progress = Progress {
                at_s: now.as_secs_f64(),
                open_connections: wire.open_connections() as u64,
                ..population.progress()
            };
            say(out, &Line::Progress(Box::new(progress)))?;
            next_second = Duration::from_secs(now.as_secs() + 1);
        }
        let due = population
            .next()
            .unwrap_or(Duration::MAX)
            .max(next_fire)
            .min(next_second);
        wire.poll(start + due, &mut events)
            .context("cannot wait for the network")?;
        let now = clock::monotonic().saturating_sub(start);
        for event in events.drain(..) {
            population.hear(now, event, &mut wire);
        }
    }
    let traffic = wire.traffic();
    let books = Books {
        cpu_seconds: cpu_seconds() - cpu_before,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        connections_opened: traffic.opened,
        ..population.close()
    };
    say(out, &Line::Books(Box::new(books)))
}

fn say(out: &mut impl Write, line: &Line) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
