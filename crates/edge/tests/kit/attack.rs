//! A calm that nobody has to wait for.

use std::net::Ipv4Addr;

use saqta_detect::engine::{Engine, Kind, Role, Scarce};
use saqta_detect::look::{Field, Head, Look};
use saqta_detect::shape::Shape;
use saqta_edge::clock::UnixMillis;

pub const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36";
/// What the rules of these tests are about.
pub const LIBRARY: &str = "python-requests/2.31.0";

const CALM_S: u64 = 120;
const READERS_PER_S: u32 = 20;

/// Two minutes of readers that end now. `beside`: what else comes in each second, and how many seconds are left.
pub fn calm_with(engine: &mut Engine, beside: impl Fn(&mut Engine, u64, u64)) {
    let now_s = UnixMillis::now().secs();
    for second in now_s - CALM_S..now_s {
        for number in 0..READERS_PER_S {
            let turn = (second % 86_400) as u32 * READERS_PER_S + number;
            let target = format!("/news/story-{}", turn % 40);
            let source = 0x0a00_0000 + turn.wrapping_mul(77) % 200_000;
            observe(engine, second, (source, BROWSER), &target, false);
        }
        beside(engine, second, now_s - second);
        engine.tick(second, Scarce::NOTHING);
    }
}

pub fn calm(engine: &mut Engine) {
    calm_with(engine, |_, _, _| {});
}

/// One request, or one try at a login.
pub fn observe(
    engine: &mut Engine,
    second: u64,
    (source, agent): (u32, &str),
    target: &str,
    is_try: bool,
) {
    let look = Look {
        method: if is_try { b"POST" } else { b"GET" },
        target: target.as_bytes(),
        shape: Shape::of(target.as_bytes()),
        version: 11,
        agent: Field::Is(agent.as_bytes()),
        referer: Field::Absent,
        head: Head {
            accept: Field::Absent,
            accept_language: Field::Absent,
            accept_encoding: Field::Absent,
            names: Field::Is(b"Host,User-Agent"),
        },
        source: Ipv4Addr::from_bits(source).into(),
        asn: None,
        country: None,
    };
    let kind = Kind {
        needs_origin: is_try,
        is_sensitive: is_try,
        role: Role::Page,
        known: None,
    };
    engine.observe(second, &look, kind);
}
