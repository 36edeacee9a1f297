//! Work for whoever counts what the engine costs: `cargo x bench --instructions` counts instructions of this under callgrind.
//!
//! `cargo run --release -p saqta-detect --example engine -- WHAT`, where WHAT is
//!
//! - `calm N`: N seconds of [`site::READERS_PER_S`] readers each;
//! - `flood N`: the same and [`site::FLOOD_PER_S`] of a flood, whose rule stands;
//! - `wait`, `search`: a second in which a rule is not looked for, or is, among as many requests as are ever kept;
//! - `addresses`: what ten million addresses leave behind, printed.

mod site;

use std::net::{IpAddr, Ipv6Addr};

use saqta_detect::engine::Scarce;

const ADDRESSES: u128 = 10_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let seconds = arguments.next().and_then(|count| count.parse().ok());
    let traffic = site::Traffic::new();
    match (&*what, seconds) {
        ("calm", Some(seconds)) => {
            let mut engine = traffic.learned();
            for second in 0..seconds {
                traffic.calm(&mut engine, site::CALM_S + second);
                engine.tick(site::CALM_S + second, Scarce::NOTHING);
            }
        }
        ("flood", Some(seconds)) => {
            let (mut engine, from) = traffic.with_rule();
            for second in 0..seconds {
                traffic.flood(&mut engine, from + second);
                engine.tick(from + second, site::ORIGIN);
            }
        }
        ("wait", None) => {
            let (mut engine, second) = traffic.before_search();
            engine.tick(second, Scarce::NOTHING);
        }
        ("search", None) => {
            let (mut engine, second) = traffic.before_search();
            engine.tick(second, site::ORIGIN);
        }
        ("addresses", None) => addresses(&traffic),
        _ => println!("calm N, flood N, wait, search or addresses"),
    }
}

fn addresses(traffic: &site::Traffic) {
    let (mut engine, second) = traffic.with_rule();
    let before = memory();
    for number in 0..ADDRESSES {
        let address = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let mut look = traffic.bot(number as usize);
        look.source = IpAddr::V6(Ipv6Addr::from_bits(address));
        engine.observe(second, &look, site::PAGE);
    }
    let more = memory().saturating_sub(before);
    println!("{ADDRESSES} addresses: {more} KB more than before");
}

/// Resident, in KB; 0 where nobody says.
fn memory() -> u64 {
    let of = |status: String| {
        let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(of)
        .unwrap_or(0)
}
