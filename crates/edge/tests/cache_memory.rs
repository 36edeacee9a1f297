//! What the cache holds, what it lets go first, and what a hit costs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use saqta_edge::cache::fetch::Reception;
use saqta_edge::cache::freshness::{Asked, Times};
use saqta_edge::cache::key::{KeyRef, Scheme};
use saqta_edge::cache::status::CacheStatus;
use saqta_edge::cache::{Cache, Join, Lookup, RequestDirectives};
use saqta_edge::clock::UnixMillis;
use saqta_edge::compress::Compressible;
use saqta_edge::fields::Fields;

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const MIB: u64 = 1024 * 1024;

fn key<'a>(cache: &Cache, site: usize, target: &'a str) -> KeyRef<'a> {
    cache.key(site, Scheme::Http, b"kaztag.kz", target.as_bytes())
}

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            )
        })
        .collect()
}

/// A response as an article's.
fn store(cache: &Arc<Cache>, site: usize, target: &str, body: &Bytes) {
    let headers = HeaderMap::new();
    let Join::Lead(fetch, reader) = cache.join(&key(cache, site, target), 0, None, &headers, NOW)
    else {
        return;
    };
    drop(reader);
    let asked = Asked {
        method: &Method::GET,
        headers: &headers,
        no_store: false,
    };
    let response = fields(&[
        ("date", "Sun, 15 Jun 2025 15:06:40 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=600"),
        ("etag", "\"5f3a-61b2c8\""),
        ("last-modified", "Sun, 15 Jun 2025 12:00:00 GMT"),
        ("x-frame-options", "SAMEORIGIN"),
        ("strict-transport-security", "max-age=31536000"),
        ("link", "</wp-json/>; rel=\"https://api.w.org/\""),
    ]);
    let times = Times {
        request: NOW,
        response: NOW,
    };
    let Reception::Body(mut receiving) = fetch.head(&asked, StatusCode::OK, response, None, times)
    else {
        panic!("not a 304")
    };
    // Never waits: a cacheable body is kept, not windowed, until it is too long; then nobody reads.
    let waker = std::task::Waker::noop();
    let mut cx = std::task::Context::from_waker(waker);
    let written = std::pin::pin!(receiving.chunk(body.clone())).poll(&mut cx);
    if let std::task::Poll::Ready(Ok(())) = written {
        receiving.done();
    }
}

fn is_held(cache: &Cache, site: usize, target: &str) -> bool {
    matches!(
        cache.lookup(
            &key(cache, site, target),
            &HeaderMap::new(),
            RequestDirectives::Ignore,
            NOW
        ),
        Lookup::Fresh(_)
    )
}

fn held(cache: &Cache, site: usize, targets: &[String]) -> usize {
    targets
        .iter()
        .filter(|target| is_held(cache, site, target))
        .count()
}

/// A hundred thousand URLs asked for once each (a flood with a counter in the query) leave the articles that readers come back to.
#[test]
fn a_scan_does_not_evict_what_is_read() {
    let cache = Cache::new(1, 32 * MIB).unwrap();
    let page = Bytes::from(vec![b'a'; 4_000]);
    let hot: Vec<String> = (0..500)
        .map(|number| format!("/article/{number}"))
        .collect();
    for target in &hot {
        store(&cache, 0, target, &page);
    }
    assert_eq!(held(&cache, 0, &hot), hot.len());
    let mut lost = 0;
    for number in 0..100_000 {
        store(&cache, 0, &format!("/?s={number}"), &page);
        // Readers come by, far less often than the flood: each article once in 5,000 requests.
        if number % 10 == 0 && !is_held(&cache, 0, &hot[(number / 10) % hot.len()]) {
            lost += 1;
        }
        if number % 1_000 == 0 {
            let stats = cache.stats();
            assert!(
                stats.bytes <= stats.bytes_max && stats.bytes_max <= 32 * MIB,
                "{stats:?}"
            );
        }
    }
    assert_eq!(lost, 0);
    let stats = cache.stats();
    assert!(
        stats.evicted > 90_000 && stats.stored == 100_500,
        "{stats:?}"
    );
}

#[test]
fn a_scan_of_large_objects_evicts_only_its_like() {
    let cache = Cache::new(1, 64 * MIB).unwrap();
    let page = Bytes::from(vec![b'a'; 4_000]);
    let film = Bytes::from(vec![b'a'; 7 * MIB as usize]);
    let hot: Vec<String> = (0..2_000)
        .map(|number| format!("/article/{number}"))
        .collect();
    for target in &hot {
        store(&cache, 0, target, &page);
    }
    for round in 0..20 {
        assert_eq!(held(&cache, 0, &hot), hot.len(), "{round}");
        store(&cache, 0, &format!("/film/{round}"), &film);
        let stats = cache.stats();
        assert!(stats.bytes <= stats.bytes_max, "{stats:?}");
    }
}

#[test]
fn a_neighbour_keeps_its_part() {
    let cache = Cache::new(2, 32 * MIB).unwrap();
    let page = Bytes::from(vec![b'a'; 4_000]);
    let quiet: Vec<String> = (0..1_000)
        .map(|number| format!("/article/{number}"))
        .collect();
    for target in &quiet {
        store(&cache, 1, target, &page);
    }
    for number in 0..20_000 {
        store(&cache, 0, &format!("/?s={number}"), &page);
    }
    assert_eq!(held(&cache, 1, &quiet), quiet.len());
    assert!(!is_held(&cache, 0, "/article/1"));
}

#[test]
fn too_heavy_is_counted_and_not_held() {
    let cache = Cache::new(1, 16 * MIB).unwrap();
    store(
        &cache,
        0,
        "/film",
        &Bytes::from(vec![b'a'; 3 * MIB as usize]),
    );
    assert!(!is_held(&cache, 0, "/film"));
    assert_eq!(cache.stats().too_heavy, 1);
}

/// The weights the budget is kept by are no less than what the process holds for them, codings included.
#[test]
fn weights_cover_what_is_allocated() {
    for (count, length) in [(1_000, 300), (200, 5_000), (10, 200_000)] {
        let cache = Cache::new(1, 256 * MIB).unwrap();
        let text: String = (0..length / 8)
            .map(|number| format!("{:07} ", number * 7919 % 99_991))
            .collect();
        let text = Bytes::from(text);
        let mut stored = Vec::with_capacity(count);
        let allocated = allocation_counter::measure(|| {
            for number in 0..count {
                let target = format!("/an/address/of/the/usual/length/{number}");
                store(&cache, 0, &target, &text);
                let Lookup::Fresh(one) = cache.lookup(
                    &key(&cache, 0, &target),
                    &HeaderMap::new(),
                    RequestDirectives::Ignore,
                    NOW,
                ) else {
                    panic!("not held")
                };
                for coding in saqta_edge::compress::CODINGS {
                    one.compress(coding);
                }
                stored.push(one);
            }
        });
        let weight = cache.stats().bytes;
        let held = u64::try_from(allocated.bytes_current).unwrap();
        assert!(
            held <= weight,
            "{count} × {length}: {held} bytes held, {weight} counted"
        );
    }
}

/// A head as it lies in the read buffer.
struct RawHead<'a>(&'a [(&'a str, &'a [u8])]);

impl Fields for RawHead<'_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn each_line<'a>(&'a self, name: &str, line: &mut dyn FnMut(&'a [u8])) {
        self.0
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .for_each(|(_, value)| line(value));
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        self.0.iter().for_each(|(other, _)| name(other));
    }
}

/// What a phone's browser sends.
const READER: RawHead<'static> = RawHead(&[
    ("Host", b"kaztag.kz"),
    ("Connection", b"keep-alive"),
    ("Cache-Control", b"max-age=0"),
    ("sec-ch-ua", b"\"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", b"?1"),
    ("sec-ch-ua-platform", b"\"Android\""),
    ("Upgrade-Insecure-Requests", b"1"),
    ("User-Agent", b"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"),
    ("Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("Sec-Fetch-Site", b"none"),
    ("Sec-Fetch-Mode", b"navigate"),
    ("Accept-Encoding", b"gzip, deflate, br, zstd"),
    ("Accept-Language", b"ru-RU,ru;q=0.9,kk;q=0.8,en;q=0.7"),
    ("Cookie", b"_ga=GA1.1.1111111111.1111111111; _ym_uid=1111111111111111111"),
]);

#[test]
fn a_fresh_hit_allocates_nothing() {
    let cache = Cache::new(1, 64 * MIB).unwrap();
    for length in [500, 20_000] {
        store(&cache, 0, "/", &Bytes::from("сақта ".repeat(length / 11)));
        let Lookup::Fresh(stored) = cache.lookup(
            &key(&cache, 0, "/"),
            &READER,
            RequestDirectives::Ignore,
            NOW,
        ) else {
            panic!("no hit")
        };
        saqta_edge::compress::CODINGS
            .into_iter()
            .for_each(|coding| stored.compress(coding));
        drop(stored);
        let mut out = BytesMut::with_capacity(4096);
        let mut hit = || {
            let Lookup::Fresh(stored) = cache.lookup(
                &key(&cache, 0, "/"),
                &READER,
                RequestDirectives::Ignore,
                NOW,
            ) else {
                panic!("no hit")
            };
            let shape = cache.shape(&stored, &Method::GET, &READER);
            out.clear();
            let body = stored.write_head(
                &shape,
                NOW,
                &CacheStatus::hit(stored.freshness().ttl_secs(NOW)),
                b"",
                &mut out,
            );
            assert!(body.is_some_and(|body| !body.is_empty()));
        };
        hit();
        let allocated = allocation_counter::measure(|| (0..100).for_each(|_| hit()));
        assert_eq!(allocated.count_total, 0, "{length}");
    }
}
