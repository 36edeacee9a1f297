//! What it costs to tell who gets through: cookies checked, passes given out and pages with a code made in a second, on one core.
//!
//!     cargo run --release -p saqta-edge --example passes
//!
//! Medians of rounds that take turns, so that a noisy machine is noisy for all alike. A check is all of it: the cookie's line searched, text
//! to bytes, HMAC-SHA-256, its time, and what the pass has used.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use saqta_detect::facts::Class;
use saqta_detect::watch::Posture;
use saqta_edge::clock::UnixMillis;
use saqta_edge::ladder::code::{AsksFor, Holds, Protocol, Stop, Why};
use saqta_edge::ladder::{Bearer, Ladder, SiteMark};
use saqta_edge::pages::{Asker, Format, Page, Pages};
use saqta_edge::plan::Language;
use tokio::time::Instant;

const ROUNDS: usize = 9;
const EACH: usize = 200_000;
/// As browsers carry them to a newsroom.
const OTHERS: &str = "_ga=GA1.1.1732612345.1763800000; _ym_uid=1763800000123456789; _ym_d=1763800000; cookie-consent=yes";

fn main() {
    let now = UnixMillis::now();
    let (ladder, site) = (Ladder::new(now), SiteMark::of("newsroom"));
    let later = UnixMillis(now.0 + 6_000);
    let address = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(0x0500_0000 + number as u32));
    let line = |cookie: String| {
        let pair = cookie.split(';').next().unwrap_or_default();
        let mut fields = HeaderMap::new();
        if let Ok(line) = HeaderValue::try_from(format!("{OTHERS}; {pair}")) {
            fields.append("cookie", line);
        }
        fields
    };
    let ticket = |number: usize| {
        let (_, ticket) = ladder.waits(&Bearer::NOBODY, (site, address(number)), now);
        ticket.map(|ticket| ticket.cookie(true)).unwrap_or_default()
    };
    let pass = |ticket: &HeaderMap, number: usize| {
        let bearer = ladder.bearer((site, address(number)), ticket, || later);
        bearer
            .and_then(|bearer| bearer.new_pass)
            .map(|pass| {
                ladder
                    .give(&pass, (site, address(number)), later)
                    .cookie(true)
            })
            .unwrap_or_default()
    };
    let networks = || (0..1_000).map(|number| number * 256);
    let tickets: Vec<HeaderMap> = networks().map(|number| line(ticket(number))).collect();
    let passes: Vec<String> = networks()
        .zip(&tickets)
        .map(|(number, ticket)| pass(ticket, number))
        .collect();
    let valid: Vec<HeaderMap> = passes.iter().cloned().map(line).collect();
    // One character of the sum is another one, so that all of it has to be done to tell.
    let touched = |cookie: String| {
        let mut bytes = cookie.into_bytes();
        bytes[30] = if bytes[30] == b'A' { b'B' } else { b'A' };
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let forged: Vec<HeaderMap> = passes
        .iter()
        .map(|pass| line(touched(pass.clone())))
        .collect();
    let check = |all: &[HeaderMap], expected: Class| {
        let began = Instant::now();
        for turn in 0..EACH {
            let bearer = ladder.bearer((site, address(turn)), &all[turn % all.len()], || later);
            assert!(black_box(bearer).is_some_and(|bearer| bearer.class == expected));
        }
        EACH as f64 / began.elapsed().as_secs_f64()
    };
    let give_tickets = || {
        let began = Instant::now();
        for number in 0..EACH {
            black_box(ticket(number * 256));
        }
        EACH as f64 / began.elapsed().as_secs_f64()
    };
    let give_passes = || {
        let began = Instant::now();
        for turn in 0..EACH {
            let number = turn % tickets.len();
            assert!(!black_box(pass(&tickets[number], number * 256)).is_empty());
        }
        EACH as f64 / began.elapsed().as_secs_f64()
    };
    let pages = Pages::new();
    let why = Why {
        stop: Stop::Waits,
        posture: Posture::UnderAttack,
        holds: Holds::NoCookies,
        version: Protocol::Http11,
        asks_for: AsksFor::Search,
        rule: Some(7),
        is_suspect: true,
        is_strange: false,
    };
    let seal = || {
        let began = Instant::now();
        for _ in 0..EACH {
            black_box(ladder.code(site, &why, now));
        }
        EACH as f64 / began.elapsed().as_secs_f64()
    };
    let show = |format, packed| {
        let asker = Asker {
            language: Language::Russian,
            format,
            packed,
        };
        let page = pages.page(Page::Waiting { reload_secs: 7 }, asker);
        let code = ladder.code(site, &why, now);
        let began = Instant::now();
        for _ in 0..EACH {
            black_box(page.body_with(&code));
        }
        EACH as f64 / began.elapsed().as_secs_f64()
    };
    let mut figures: [Vec<f64>; 8] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(check(&valid, Class::Passed));
        figures[1].push(check(&forged, Class::Unknown));
        figures[2].push(give_tickets());
        figures[3].push(give_passes());
        figures[4].push(seal());
        figures[5].push(show(Format::Html, true));
        figures[6].push(show(Format::Html, false));
        figures[7].push(show(Format::Problem, false));
    }
    for (what, of_all) in [
        "valid passes checked",
        "forged passes checked",
        "tickets given",
        "tickets shown and made passes",
        "codes sealed",
        "codes put into a page in gzip",
        "codes put into a plain page",
        "codes put into a problem",
    ]
    .into_iter()
    .zip(&mut figures)
    {
        of_all.sort_by(f64::total_cmp);
        println!(
            "{what:<40}{:>12.0} a second ({:.0} to {:.0})",
            of_all[ROUNDS / 2],
            of_all[0],
            of_all[ROUNDS - 1]
        );
    }
}
