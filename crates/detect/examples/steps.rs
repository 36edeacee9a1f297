//! How the load alarm does on a real trace of counts: `zcat counts.csv.gz | cargo run --release -p saqta-detect --example steps`.
//!
//! Lines are `period,count`, a minute each. Prints how many minutes are guarded when the trace is as it is, and how many of 200
//! steps to five times the load, each spliced in at a random minute for two minutes, raise the alarm within these two.

use std::io::{self, BufRead};

use saqta_detect::load::{Channel, Limits, Teaching};

const MINUTE_S: u64 = 60;
const STEPS: usize = 200;
const FACTORS: [u64; 5] = [2, 3, 4, 5, 8];
/// So much of the trace is learned from before the first step.
const LEARNED: usize = 2_000;

fn main() -> io::Result<()> {
    let mut counts = Vec::new();
    for line in io::stdin().lock().lines() {
        if let Some(count) = line?
            .split(',')
            .nth(1)
            .and_then(|count| count.trim().parse().ok())
        {
            counts.push(count);
        }
    }
    let mut at: Vec<usize> = (0..STEPS)
        .map(|step| LEARNED + place(step as u64) as usize % (counts.len() - LEARNED - 2))
        .collect();
    at.sort_unstable();
    let mut channel = Channel::new(MINUTE_S, Limits::REQUESTS);
    let (mut guarded, mut alarms) = (0, 0);
    let mut found = [0; FACTORS.len()];
    let mut was = false;
    for (minute, count) in counts.iter().enumerate() {
        let now_s = minute as u64 * MINUTE_S;
        for _ in at.iter().filter(|at| **at == minute) {
            for (factor, found) in FACTORS.iter().zip(&mut found) {
                let mut spliced = channel.clone();
                for more in 0..2 {
                    let second = now_s + more * MINUTE_S;
                    spliced.add(
                        second,
                        counts[minute + more as usize] * factor,
                        Teaching::Calm,
                    );
                }
                let end = now_s + 2 * MINUTE_S;
                spliced.advance(end, Teaching::Calm);
                *found += usize::from(spliced.alarm(end).is_some());
            }
        }
        channel.add(now_s, *count, Teaching::Calm);
        let is = channel.alarm(now_s).is_some();
        guarded += usize::from(is);
        alarms += usize::from(is && !was);
        was = is;
    }
    println!(
        "{} minutes, {guarded} guarded ({:.2} %) in {alarms} alarms",
        counts.len(),
        guarded as f64 * 100.0 / counts.len() as f64
    );
    for (factor, found) in FACTORS.iter().zip(found) {
        println!("steps to {factor} times the load found within two minutes: {found} of {STEPS}");
    }
    Ok(())
}

/// SplitMix64: the same places in every run.
fn place(step: u64) -> u64 {
    let mut mixed = step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
