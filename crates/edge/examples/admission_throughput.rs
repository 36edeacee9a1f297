//! What a flood costs at the gate: asks that are turned away, on one thread.
//!
//! `cargo run --release -p saqta-edge --example admission_throughput`

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use saqta_detect::network::Group;
use saqta_detect::shape::Shape;
use saqta_edge::admission::{Admission, Ask, Class, Config, Outcome, READER_DEADLINE};
use tokio::task::LocalSet;
use tokio::time::Instant;

const ROUNDS: u32 = 200;
const ASKS_PER_ROUND: u32 = 5_000;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(flood()));
    Ok(())
}

async fn flood() {
    let admission = Admission::new(Config { concurrency_max: 8 });
    let ask = |n: u32| Ask {
        class: Class::Unknown,
        shape: Shape::of(b"/?s=1"),
        group: Group::of(IpAddr::V4(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9)))),
        deadline: READER_DEADLINE,
    };
    let mut held = Vec::new();
    while admission.stats().of(Class::Unknown).queued == 0 {
        match tokio::time::timeout(Duration::ZERO, admission.enter(ask(0))).await {
            Ok(Ok(slot)) => held.push(slot),
            _ => break,
        }
    }

    let start = Instant::now();
    for round in 0..ROUNDS {
        for n in 0..ASKS_PER_ROUND {
            let admission = admission.clone();
            let ask = ask(round * ASKS_PER_ROUND + n);
            drop(tokio::task::spawn_local(async move {
                admission.enter(ask).await.is_ok()
            }));
        }
        while admission.stats().of(Class::Unknown).queued_total
            < u64::from((round + 1) * ASKS_PER_ROUND)
        {
            tokio::task::yield_now().await;
        }
    }
    let stats = admission.stats();
    report(
        "asked, queued, turned away (a task each)",
        start,
        stats.of(Class::Unknown).turned_away,
    );

    let start = Instant::now();
    let asks = u64::from(ROUNDS * ASKS_PER_ROUND);
    let starved = (0..asks)
        .filter(|n| admission.is_starved(&ask(*n as u32)))
        .count();
    report("is_starved", start, starved as u64);

    for slot in held {
        slot.finish(Outcome::ANSWERED);
    }
    let quiet = Admission::new(Config { concurrency_max: 8 });
    let start = Instant::now();
    for n in 0..asks {
        if let Ok(slot) = quiet.enter(ask(n as u32)).await {
            slot.finish(Outcome::ANSWERED);
        }
    }
    report("entered and finished, nobody waiting", start, asks);
}

fn report(what: &str, start: Instant, count: u64) {
    let elapsed = start.elapsed();
    println!(
        "{what}: {count} in {elapsed:.2?}, {:.0} ns each",
        elapsed.as_nanos() as f64 / count as f64
    );
}
