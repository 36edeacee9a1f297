//! What the cache's disk takes, gives back, and costs to open: the numbers of docs/decisions/0007.
//!
//! `cargo run --release -p saqta-edge --example disk_throughput -- FOLDER PAGES`: the folder is made, filled and removed.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement ends at the first surprise"
)]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use saqta_edge::cache::key::Scheme;
use saqta_edge::clock::UnixMillis;
use saqta_edge::disk::permitted::{Ground, Permitted};
use saqta_edge::disk::record::{Identity, Response};
use saqta_edge::disk::{Disk, DiskPlan, Put, Share, Worth};
use tokio::time::Instant;

const BODY_BYTES: usize = 20_000;
const READS: u64 = 20_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let pages: u64 = arguments.next().unwrap().parse().unwrap();
    let disk = open(&folder);
    let response = article();
    let begun = Instant::now();
    for number in 0..pages {
        let target = target(number);
        let page = page(&target);
        let permitted = Permitted::new(page, Ground::NoQuery, &response.headers, &[]).unwrap();
        // As fast as it takes them: a full queue is waited for.
        while disk.put(&permitted, Worth::Known, &response, UnixMillis(0)) == Put::Dropped {
            disk.settle();
        }
    }
    disk.settle();
    let took = begun.elapsed();
    let stats = disk.stats();
    println!(
        "write: {pages} pages of {BODY_BYTES} bytes in {took:.1?}: {:.0} pages/s, {:.0} MB/s",
        rate(pages, took),
        rate(stats.written_bytes, took) / 1e6
    );
    println!(
        "index: {} files, {:.1} bytes of memory each",
        stats.files,
        stats.index_bytes as f64 / stats.files as f64
    );
    drop(disk);

    let begun = Instant::now();
    let disk = open(&folder);
    let opened = begun.elapsed();
    disk.settle();
    println!(
        "open: returns after {opened:.1?}, all {} files known after {:.1?}",
        disk.stats().files,
        begun.elapsed()
    );

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let reads = READS.min(pages);
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    for number in 0..reads {
        let target = target(number.wrapping_mul(7_919) % pages);
        let one = Instant::now();
        let got = runtime.block_on(disk.get(&page(&target)));
        slowest = slowest.max(one.elapsed());
        assert_eq!(got.map(|got| got.body.len()), Some(BODY_BYTES));
    }
    let took = begun.elapsed();
    println!(
        "read, one after another: {:.0} pages/s, {:.1?} each, slowest {slowest:.1?}",
        rate(reads, took),
        took / u32::try_from(reads).unwrap()
    );
    let begun = Instant::now();
    for number in 0..1_000_000_u64 {
        let target = target(number % pages);
        assert!(disk.has(&page(&target)));
    }
    println!(
        "look-up: {:.0} ns each",
        begun.elapsed().as_nanos() as f64 / 1e6
    );
    drop(disk);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn open(folder: &std::path::Path) -> Disk {
    let share = Share {
        floor: 0,
        ceiling: u64::MAX,
    };
    let plan = DiskPlan {
        bytes_max: u64::MAX,
        sites: vec![(b"kaztag"[..].into(), share)],
    };
    Disk::open(folder, &plan, *b"sixteen of these").unwrap()
}

fn target(number: u64) -> String {
    format!("/2024/01/an-article-of-the-usual-length-{number}/")
}

fn page(target: &str) -> Identity<'_> {
    Identity {
        site: b"kaztag",
        scheme: Scheme::Https,
        host: b"kaztag.kz",
        target: target.as_bytes(),
        mark: b"",
    }
}

fn article() -> Response {
    let fields = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("last-modified", "Sun, 15 Jun 2025 12:00:00 GMT"),
        ("etag", "\"5f3a-61b2c8\""),
        ("x-frame-options", "SAMEORIGIN"),
        (
            "link",
            "<https://kaztag.kz/wp-json/>; rel=\"https://api.w.org/\"",
        ),
    ];
    let headers: HeaderMap = fields
        .into_iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    Response {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(vec![b'x'; BODY_BYTES]),
        received: UnixMillis(1_750_000_000_000),
        age_secs: 0,
    }
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
