//! What the engine costs: `cargo run --release -p saqta-detect --example engine`.
//!
//! A site of 350 readers a second, learned for a minute, then a flood of 10,000 a second for twenty seconds. Prints the mean time of
//! [`Engine::observe`] in calm and in the flood, the longest [`Engine::tick`] (a search over up to 8,000 new and 8,192 ordinary requests is
//! in it), and what ten million addresses leave behind.

#![allow(
    clippy::disallowed_methods,
    reason = "an example that measures needs a clock"
)]

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use saqta_detect::engine::{Engine, Kind, Posture, Role, Scarce};
use saqta_detect::look::{Field, Head, Look};
use saqta_detect::shape::Shape;

const READERS_PER_S: u64 = 350;
const FLOOD_PER_S: u64 = 10_000;
const CALM_S: u64 = 60;
const FLOOD_S: u64 = 20;
const ADDRESSES: u128 = 10_000_000;

fn main() {
    let mut engine = Engine::new(1, 1);
    let kind = Kind {
        needs_origin: true,
        is_sensitive: false,
        role: Role::Page,
        known: None,
    };
    let (mut calm, mut flood, mut tick) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for second in 0..CALM_S + FLOOD_S {
        let began = Instant::now();
        for number in 0..READERS_PER_S {
            let turn = second * READERS_PER_S + number;
            let target = format!("/news/2026/story-{}", turn % 400);
            engine.observe(
                second,
                &look(u128::from(turn * 7_919), &target, READER),
                kind,
            );
        }
        if second < CALM_S {
            calm += began.elapsed();
        } else {
            let began = Instant::now();
            for number in 0..FLOOD_PER_S {
                let turn = second * FLOOD_PER_S + number;
                let target = format!("/?s=term{turn}");
                engine.observe(
                    second,
                    &look(u128::from(turn * 104_729), &target, CRUDE),
                    kind,
                );
            }
            flood += began.elapsed();
        }
        let began = Instant::now();
        let scarce = match engine.posture() {
            Posture::Calm => Scarce::NOTHING,
            Posture::Guarded | Posture::UnderAttack => Scarce {
                origin: true,
                edge: true,
                demand: false,
            },
        };
        engine.tick(second, scarce);
        tick = tick.max(began.elapsed());
    }
    let mean = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / count as f64;
    println!(
        "observe, calm:  {:.2} µs",
        mean(calm, CALM_S * READERS_PER_S)
    );
    println!(
        "observe, flood: {:.2} µs",
        mean(flood, FLOOD_S * FLOOD_PER_S)
    );
    println!("longest tick:   {:.1} ms", tick.as_secs_f64() * 1e3);
    let before = memory();
    let second = CALM_S + FLOOD_S;
    for number in 0..ADDRESSES {
        let address = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        engine.observe(second, &look(address, "/", CRUDE), kind);
    }
    println!(
        "{ADDRESSES} addresses: {} KB more than before",
        memory().saturating_sub(before)
    );
}

const READER: &[u8] = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36";
const CRUDE: &[u8] = b"python-requests/2.31.0";

fn look<'a>(address: u128, target: &'a str, agent: &'a [u8]) -> Look<'a> {
    Look {
        method: b"GET",
        target: target.as_bytes(),
        shape: Shape::of(target.as_bytes()),
        version: 11,
        agent: Field::Is(agent),
        referer: Field::Absent,
        head: Head::default(),
        source: IpAddr::V6(Ipv6Addr::from_bits(address)),
        asn: None,
        country: None,
    }
}

/// Resident, in KB; 0 where nobody says.
fn memory() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find(|line| line.starts_with("VmRSS"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
