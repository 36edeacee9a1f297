//! Nanoseconds a request costs here: its shape, its tally.
//!
//! `cargo run --release -p saqta-detect --example cost`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use saqta_detect::facts::{Class, Facts, Method, Outcome, Served};
use saqta_detect::shape::ShapeBook;
use saqta_detect::tally::Tally;

const ROUNDS: u32 = 2_000_000;

fn main() {
    let book = ShapeBook::default();
    for target in ["/news/x", "/search/x"] {
        for _ in 0..3 {
            book.learn(target.as_bytes(), 200);
        }
    }
    let targets: [&[u8]; 4] = [
        b"/",
        b"/news/2024/02/17/a-title-of-usual-length-for-an-article",
        b"/search?q=1&page=2",
        b"/invented/path?x=1",
    ];
    measure("shape", |n| {
        black_box(book.shape(black_box(targets[n as usize % targets.len()])));
    });

    let mut tally = Tally::new(1, 1);
    let shapes = targets.map(|target| book.shape(target));
    let facts = |n: u32, spread: u32| Facts {
        site: 0,
        method: Method::Read,
        shape: shapes[n as usize % shapes.len()],
        source: IpAddr::V4(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9) % spread)),
        class: Class::Unknown,
        is_navigation: true,
    };
    let outcome = Outcome {
        site: 0,
        served: Served::Hit,
        status: 200,
        bytes_out: 20_000,
    };
    for (name, spread) in [("50 networks", 50 << 8), ("all networks", u32::MAX)] {
        measure(&format!("arrived, {name}"), |n| {
            tally.arrived(u64::from(n / 50_000), black_box(&facts(n, spread)))
        });
    }
    measure("answered", |n| {
        tally.answered(u64::from(n / 50_000), black_box(&outcome))
    });
}

fn measure(name: &str, mut work: impl FnMut(u32)) {
    #[expect(
        clippy::disallowed_methods,
        reason = "an example may look at the clock; the library does not"
    )]
    let start = std::time::Instant::now();
    for n in 0..ROUNDS {
        work(n);
    }
    println!(
        "{name}: {:.0} ns",
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    );
}
