//! One fetch for everybody: who leads, who follows, who is told to go alone, and what a slow or broken party costs the others.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use proptest::prelude::*;
use saqta_edge::body::BodyError;
use saqta_edge::cache::fetch::{Fetch, Receiving, Reception};
use saqta_edge::cache::flight::{
    Alone, Arrival, FLIGHTS_MAX, FOLLOWERS_MAX, FetchFault, FlightBody, FlightReader, JOINED_FOR,
    Streaming, WINDOW_BYTES,
};
use saqta_edge::cache::freshness::{Asked, Times, Unstorable};
use saqta_edge::cache::key::{KeyRef, Scheme};
use saqta_edge::cache::stored::Doubt;
use saqta_edge::cache::{Author, Cache, Join, Lookup, RequestDirectives};
use saqta_edge::clock::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const MIB: usize = 1024 * 1024;
const CACHEABLE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn cache() -> Arc<Cache> {
    Cache::new(1, 64 * MIB as u64).unwrap()
}

fn key<'a>(cache: &Cache, target: &'a str) -> KeyRef<'a> {
    cache.key(0, Scheme::Http, b"kaztag.kz", target.as_bytes())
}

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    map
}

fn join(cache: &Arc<Cache>, target: &str) -> Join {
    cache.join(&key(cache, target), 0, None, &HeaderMap::new(), NOW)
}

fn lead(cache: &Arc<Cache>, target: &str) -> (Fetch, FlightReader) {
    match join(cache, target) {
        Join::Lead(fetch, reader) => (fetch, reader),
        _ => panic!("somebody else leads"),
    }
}

fn follow(cache: &Arc<Cache>, target: &str) -> FlightReader {
    match join(cache, target) {
        Join::Follow(reader) => reader,
        _ => panic!("nobody leads"),
    }
}

fn head(fetch: Fetch, status: u16, response: &[(&str, &str)], request: &HeaderMap) -> Receiving {
    let asked = Asked {
        method: &Method::GET,
        headers: request,
        no_store: false,
    };
    let times = Times {
        request: NOW,
        response: NOW,
    };
    match fetch.head(
        &asked,
        StatusCode::from_u16(status).unwrap(),
        fields(response),
        None,
        times,
    ) {
        Reception::Body(receiving) => *receiving,
        Reception::Freshened(_) => panic!("nothing to freshen"),
    }
}

async fn streaming(reader: FlightReader) -> Streaming {
    match reader.arrival(&HeaderMap::new()).await {
        Arrival::Streaming(streaming) => streaming,
        other => panic!("{other:?}"),
    }
}

async fn all(mut body: FlightBody) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(bytes)
}

fn is_stored(cache: &Cache, target: &str) -> bool {
    matches!(
        cache.lookup(
            &key(cache, target),
            &HeaderMap::new(),
            RequestDirectives::Ignore,
            NOW
        ),
        Lookup::Fresh(_)
    )
}

#[tokio::test]
async fn followers_read_while_it_fills() {
    let cache = cache();
    let (fetch, leader) = lead(&cache, "/");
    let early = follow(&cache, "/");
    let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
    receiving.chunk(Bytes::from_static(b"one ")).await.unwrap();
    let mut early = streaming(early).await;
    assert!(!early.is_leader && early.stored.is_ok());
    assert_eq!(
        early
            .body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap(),
        "one "
    );
    let late = streaming(follow(&cache, "/")).await;
    assert_eq!(late.headers["age"], "0");
    receiving.chunk(Bytes::from_static(b"two")).await.unwrap();
    assert!(!is_stored(&cache, "/"));
    receiving.done();
    assert!(is_stored(&cache, "/"));
    assert_eq!(all(early.body).await.unwrap(), b"two");
    assert_eq!(all(late.body).await.unwrap(), b"one two");
    assert_eq!(all(streaming(leader).await.body).await.unwrap(), b"one two");
    assert!(matches!(join(&cache, "/"), Join::Stored(_)));
    let stats = cache.stats();
    assert_eq!(
        (stats.flights, stats.flight_bytes, stats.collapsed),
        (0, 0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_leaves_or_sleeps_stalls_nobody() {
    for leaves in [true, false] {
        let cache = cache();
        let (fetch, leader) = lead(&cache, "/");
        let leader = (!leaves).then_some(leader);
        let follower = follow(&cache, "/");
        let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
        for _ in 0..48 {
            receiving
                .chunk(Bytes::from(vec![b'x'; MIB / 8]))
                .await
                .unwrap();
        }
        receiving.done();
        assert!(is_stored(&cache, "/"));
        assert_eq!(
            cache.stats().flight_bytes,
            0,
            "a slow reader reads from the stored body"
        );
        let Arrival::Stored(stored) = follower.arrival(&HeaderMap::new()).await else {
            panic!("not stored")
        };
        assert_eq!(stored.body().len(), 6 * MIB);
        if let Some(leader) = leader {
            assert_eq!(
                all(streaming(leader).await.body).await.unwrap().len(),
                6 * MIB
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_leader_may_have() {
    let cache = cache();
    let (fetch, leader) = lead(&cache, "/");
    let follower = follow(&cache, "/");
    let mut receiving = head(
        fetch,
        200,
        &[("cache-control", "private"), ("set-cookie", "a=b")],
        &HeaderMap::new(),
    );
    assert!(matches!(
        follower.arrival(&HeaderMap::new()).await,
        Arrival::Alone(Alone::Unstorable(Unstorable::Private))
    ));
    assert!(
        matches!(join(&cache, "/"), Join::Lead(..)),
        "nobody joins it now"
    );
    let looked = cache.lookup(
        &key(&cache, "/"),
        &HeaderMap::new(),
        RequestDirectives::Ignore,
        NOW,
    );
    assert!(matches!(looked, Lookup::HitForMiss(Unstorable::Private)));
    let mut leader = streaming(leader).await;
    assert_eq!(leader.headers["set-cookie"], "a=b");

    // A window, not a store: the writer waits for the leader, and goes on when it reads.
    let mut written = 0;
    let full = loop {
        let chunk = receiving.chunk(Bytes::from(vec![b'x'; 64 * 1024]));
        match tokio::time::timeout(Duration::from_secs(60), chunk).await {
            Ok(taken) => taken.unwrap(),
            Err(_) => break written,
        }
        written += 64 * 1024;
    };
    assert!(
        (WINDOW_BYTES - 128 * 1024..=WINDOW_BYTES).contains(&full),
        "{full}"
    );
    let read = async { while leader.body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    let write = async {
        for _ in 0..100 {
            receiving
                .chunk(Bytes::from(vec![b'x'; 64 * 1024]))
                .await
                .unwrap();
        }
        receiving.done();
    };
    tokio::join!(read, write);
    assert!(!is_stored(&cache, "/"));
    assert_eq!(cache.stats().flight_bytes, 0);
}

/// Once.
macro_rules! poll {
    ($future:ident) => {
        std::future::poll_fn(|cx| std::task::Poll::Ready($future.as_mut().poll(cx))).await
    };
}

#[tokio::test]
async fn a_body_that_outgrows_the_store_slides() {
    let cache = cache();
    let (fetch, leader) = lead(&cache, "/film");
    let follower = follow(&cache, "/film");
    let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
    let (leader, follower) = (streaming(leader).await, streaming(follower).await);
    let chunks = 12 * MIB / 65_536;
    let mut write = std::pin::pin!(async {
        for number in 0..chunks {
            receiving
                .chunk(Bytes::from(vec![number as u8; 65_536]))
                .await
                .unwrap();
        }
        assert!(!receiving.is_kept());
        receiving.done();
    });
    let mut fast = std::pin::pin!(all(leader.body));
    // The slow one has not begun when the fast one has read a window's worth.
    for _ in 0..3 {
        assert!(poll!(write).is_pending());
        assert!(poll!(fast).is_pending());
    }
    let ((), fast, slow) = tokio::join!(write, fast, all(follower.body));
    let slow = slow.unwrap();
    let expected: Vec<u8> = (0..chunks)
        .flat_map(|number| vec![number as u8; 65_536])
        .collect();
    assert!(fast.unwrap() == expected && slow == expected);
    assert!(!is_stored(&cache, "/film"));
    let stats = cache.stats();
    assert_eq!((stats.flight_bytes, stats.too_heavy), (0, 1));
    let looked = cache.lookup(
        &key(&cache, "/film"),
        &HeaderMap::new(),
        RequestDirectives::Ignore,
        NOW,
    );
    assert!(matches!(looked, Lookup::HitForMiss(Unstorable::TooLong)));
}

#[tokio::test]
async fn an_announced_length_decides_at_the_head() {
    let cache = cache();
    let (fetch, leader) = lead(&cache, "/film");
    let follower = follow(&cache, "/film");
    let headers = HeaderMap::new();
    let asked = Asked {
        method: &Method::GET,
        headers: &headers,
        no_store: false,
    };
    let times = Times {
        request: NOW,
        response: NOW,
    };
    let Reception::Body(mut receiving) = fetch.head(
        &asked,
        StatusCode::OK,
        fields(CACHEABLE),
        Some(9 * MIB as u64),
        times,
    ) else {
        panic!("not a 304")
    };
    assert!(!receiving.is_kept());
    assert!(matches!(
        follower.arrival(&headers).await,
        Arrival::Alone(Alone::Unstorable(Unstorable::TooLong))
    ));
    let streaming = streaming(leader).await;
    assert_eq!(streaming.body.size_hint().exact(), Some(9 * MIB as u64));
    drop(streaming);
    assert!(
        receiving.chunk(Bytes::from_static(b"x")).await.is_err(),
        "nobody reads"
    );
}

#[tokio::test]
async fn followers_recheck_vary() {
    let cache = cache();
    let request = |foo: &'static str| fields(&[("foo", foo)]);
    let page = key(&cache, "/");
    let (fetch, _leader) = lead(&cache, "/");
    let same = follow(&cache, "/");
    let others = [follow(&cache, "/"), follow(&cache, "/")];
    let response = &[("cache-control", "max-age=60"), ("vary", "Foo")];
    let mut receiving = head(fetch, 200, response, &request("1"));
    assert!(matches!(
        same.arrival(&request("1")).await,
        Arrival::Streaming(_)
    ));
    let mut joined = Vec::new();
    for other in others {
        let Arrival::Alone(Alone::OtherVariant { flight }) = other.arrival(&request("2")).await
        else {
            panic!("not another variant")
        };
        joined.push(cache.join(&page, flight, None, &request("2"), NOW));
    }
    assert!(
        matches!(&joined[..], [Join::Lead(..), Join::Follow(_)]),
        "those alike share one"
    );
    receiving.chunk(Bytes::from_static(b"one")).await.unwrap();
    receiving.done();
    let Join::Lead(second, _reader) = joined.swap_remove(0) else {
        panic!("leads")
    };
    head(second, 200, response, &request("2")).done();
    for (foo, body) in [("1", "one"), ("2", "")] {
        let Lookup::Fresh(stored) =
            cache.lookup(&page, &request(foo), RequestDirectives::Ignore, NOW)
        else {
            panic!("not stored")
        };
        assert_eq!(stored.body(), body);
    }
    // From now on the lookup itself knows which flight.
    let Lookup::Miss(one) = cache.lookup(&page, &request("3"), RequestDirectives::Ignore, NOW)
    else {
        panic!("stored")
    };
    let Lookup::Miss(two) = cache.lookup(&page, &request("4"), RequestDirectives::Ignore, NOW)
    else {
        panic!("stored")
    };
    assert!(one.flight != two.flight && one.flight != 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_not_waited_for_by_newcomers() {
    const MOMENT: Duration = Duration::from_millis(1);
    let cache = cache();
    let (hung, first) = lead(&cache, "/a");
    tokio::time::advance(JOINED_FOR - MOMENT).await;
    let second = follow(&cache, "/a");
    tokio::time::advance(MOMENT).await;
    let (fetch, third) = lead(&cache, "/a");
    assert_eq!(cache.stats().flights, 1);
    // One whose head is here is joined however long its body takes.
    let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
    tokio::time::advance(10 * JOINED_FOR).await;
    let fourth = follow(&cache, "/a");
    assert!(receiving.chunk(Bytes::from_static(b"new")).await.is_ok());
    receiving.done();
    for reader in [third, fourth] {
        let arrival = reader.arrival(&HeaderMap::new()).await;
        assert!(matches!(
            arrival,
            Arrival::Streaming(_) | Arrival::Stored(_)
        ));
    }
    assert!(is_stored(&cache, "/a"));
    // It comes after all: who waited for it has it, and whoever asks next has it looked after first.
    let mut receiving = head(hung, 200, CACHEABLE, &HeaderMap::new());
    assert!(receiving.chunk(Bytes::from_static(b"old")).await.is_ok());
    receiving.done();
    for reader in [first, second] {
        let arrival = reader.arrival(&HeaderMap::new()).await;
        assert!(matches!(
            arrival,
            Arrival::Streaming(_) | Arrival::Stored(_)
        ));
    }
    assert_eq!(cache.stats().flights, 0);
    assert!(!is_stored(&cache, "/a"));
}

#[tokio::test]
async fn what_breaks_off_breaks_off_for_all() {
    type Breaks = fn(Fetch, &Arc<Cache>);
    let before_head: &[(Breaks, FetchFault)] = &[
        (|fetch, _| drop(fetch), FetchFault::Abandoned),
        (
            |fetch, _| fetch.fail(FetchFault::TimedOut),
            FetchFault::TimedOut,
        ),
        (
            |fetch, _| drop(head(fetch, 503, &[], &HeaderMap::new())),
            FetchFault::Failed(StatusCode::SERVICE_UNAVAILABLE),
        ),
    ];
    for (breaks, expected) in before_head {
        let cache = cache();
        let (fetch, _leader) = lead(&cache, "/");
        let follower = follow(&cache, "/");
        breaks(fetch, &cache);
        let Arrival::Failed(fault) = follower.arrival(&HeaderMap::new()).await else {
            panic!("it did not fail")
        };
        assert_eq!(fault, *expected);
        assert_eq!(cache.stats().flights, 0);
    }
    for finishes in [false, true] {
        let cache = cache();
        let (fetch, leader) = lead(&cache, "/");
        let follower = follow(&cache, "/");
        let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
        receiving.chunk(Bytes::from_static(b"half")).await.unwrap();
        let (leader, follower) = (streaming(leader).await, streaming(follower).await);
        if finishes {
            drop(receiving.done());
        } else {
            drop(receiving);
        }
        for body in [leader.body, follower.body] {
            assert_eq!(all(body).await.is_ok(), finishes);
        }
        assert_eq!(is_stored(&cache, "/"), finishes);
    }
}

#[tokio::test]
async fn a_change_by_staff_keeps_the_old_version_out() {
    let cache = cache();
    let (fetch, leader) = lead(&cache, "/");
    let follower = follow(&cache, "/");
    cache.invalidate_after(
        &key(&cache, "/"),
        &Method::POST,
        StatusCode::OK,
        &HeaderMap::new(),
        Author::Staff,
    );
    let (_newer, _reader) = lead(&cache, "/");
    let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
    receiving.chunk(Bytes::from_static(b"old")).await.unwrap();
    let leader = streaming(leader).await;
    receiving.done();
    assert_eq!(all(leader.body).await.unwrap(), b"old");
    assert!(matches!(
        follower.arrival(&HeaderMap::new()).await,
        Arrival::Alone(Alone::Unstorable(Unstorable::Invalidated))
    ));
    assert!(!is_stored(&cache, "/"));
    assert_eq!(cache.stats().flights, 1, "the newer one is still listed");
}

/// However often strangers write: one fetch at a time, and what it brings is doubted until a fetch has come after the last write.
#[tokio::test]
async fn a_strangers_writes_do_not_stack_fetches() {
    let cache = cache();
    let write = || {
        cache.invalidate_after(
            &key(&cache, "/"),
            &Method::POST,
            StatusCode::OK,
            &HeaderMap::new(),
            Author::Stranger,
        );
    };
    let (mut fetch, mut leader) = lead(&cache, "/");
    for round in 0..3 {
        let before = follow(&cache, "/");
        write();
        let after = follow(&cache, "/");
        write();
        assert_eq!(cache.stats().flights, 1);
        assert_eq!(
            [&leader, &before, &after].map(FlightReader::is_doubted),
            [false, false, true]
        );
        let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
        receiving.chunk(Bytes::from_static(b"page")).await.unwrap();
        receiving.done();
        for reader in [leader, before, after] {
            let Arrival::Stored(stored) = reader.whole(&HeaderMap::new()).await else {
                panic!("nobody is sent away")
            };
            assert_eq!(stored.doubt(), Doubt::Suspect, "round {round}");
        }
        (fetch, leader) = lead(&cache, "/");
    }
    head(fetch, 200, CACHEABLE, &HeaderMap::new()).done();
    drop(leader);
    assert!(is_stored(&cache, "/"), "nobody has written since");
}

#[tokio::test]
async fn only_one_revalidates_in_the_background() {
    let cache = cache();
    let (fetch, _leader) = lead(&cache, "/");
    head(
        fetch,
        200,
        &[
            ("cache-control", "max-age=1, stale-while-revalidate=60"),
            ("etag", "\"1\""),
        ],
        &HeaderMap::new(),
    )
    .done();
    let later = UnixMillis(NOW.0 + 5_000);
    let page = key(&cache, "/");
    let Lookup::Stale(stale) =
        cache.lookup(&page, &HeaderMap::new(), RequestDirectives::Ignore, later)
    else {
        panic!("not stale")
    };
    assert!(stale.while_revalidating);
    let fetch = cache
        .revalidate(&page, stale.flight, Arc::clone(&stale.stored))
        .unwrap();
    assert!(
        cache
            .revalidate(&page, stale.flight, Arc::clone(&stale.stored))
            .is_none()
    );
    let headers = fetch.stale().unwrap().validation_fields();
    let asked = Asked {
        method: &Method::GET,
        headers: &headers,
        no_store: false,
    };
    let times = Times {
        request: later,
        response: later,
    };
    assert!(matches!(
        fetch.head(
            &asked,
            StatusCode::NOT_MODIFIED,
            fields(&[("etag", "\"1\"")]),
            None,
            times
        ),
        Reception::Freshened(_)
    ));
    assert!(matches!(
        cache.lookup(&page, &HeaderMap::new(), RequestDirectives::Ignore, later),
        Lookup::Fresh(_)
    ));
    assert_eq!(cache.stats().freshened, 1);
}

#[tokio::test]
async fn flights_are_bounded() {
    let cache = cache();
    let targets: Vec<String> = (0..FLIGHTS_MAX + 5)
        .map(|number| format!("/{number}"))
        .collect();
    let leads: Vec<_> = targets.iter().map(|target| lead(&cache, target)).collect();
    let stats = cache.stats();
    assert_eq!((stats.flights, stats.turned_away), (FLIGHTS_MAX as u64, 5));
    assert!(
        matches!(join(&cache, &targets[FLIGHTS_MAX]), Join::Lead(..)),
        "alone, each"
    );
    drop(leads);
    assert_eq!(cache.stats().flights, 0);
}

#[tokio::test]
async fn followers_are_bounded() {
    let cache = cache();
    let (_fetch, _leader) = lead(&cache, "/");
    let mut followers: Vec<_> = (0..FOLLOWERS_MAX).map(|_| follow(&cache, "/")).collect();
    assert!(matches!(join(&cache, "/"), Join::Lead(..)));
    assert_eq!(cache.stats().turned_away, 1);
    followers.pop();
    follow(&cache, "/");
}

/// Memory: what all flights keep together has an end, after which they slide.
#[tokio::test]
async fn kept_bytes_are_bounded_over_all_flights() {
    let cache = Cache::new(1, 64 * MIB as u64).unwrap();
    let mut held = Vec::new();
    for number in 0..40 {
        let (fetch, leader) = lead(&cache, &format!("/{number}"));
        let mut receiving = head(fetch, 200, CACHEABLE, &HeaderMap::new());
        for _ in 0..32 {
            let chunk = receiving.chunk(Bytes::from(vec![b'x'; 128 * 1024]));
            if tokio::time::timeout(Duration::from_millis(1), chunk)
                .await
                .is_err()
            {
                break;
            }
        }
        held.push((receiving, leader));
    }
    let (kept, sliding): (Vec<_>, Vec<_>) =
        held.iter().partition(|(receiving, _)| receiving.is_kept());
    assert!(
        kept.len() >= 3 && sliding.len() >= 30,
        "{} {}",
        kept.len(),
        sliding.len()
    );
    let stats = cache.stats();
    assert_eq!(
        (stats.flights_without_room, stats.refused_keys),
        (sliding.len() as u64, 0)
    );
    let bytes = stats.flight_bytes;
    assert!(bytes < 16 * MIB as u64 + 40 * 256 * 1024, "{bytes}");
    drop(held);
    assert_eq!(cache.stats().flight_bytes, 0);
}

/// Eight threads, a runtime each, as the shards are.
#[test]
fn one_fetch_for_all_shards() {
    const SHARDS: usize = 8;
    const READERS: usize = 50;
    let cache = cache();
    let fetches = Arc::new(AtomicUsize::new(0));
    let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    std::thread::scope(|scope| {
        for _ in 0..SHARDS {
            let (cache, fetches, body) = (Arc::clone(&cache), Arc::clone(&fetches), &body);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async {
                    let mut readers = Vec::new();
                    for _ in 0..READERS {
                        let cache = Arc::clone(&cache);
                        let (fetches, origin) = (Arc::clone(&fetches), body.clone());
                        readers.push(tokio::task::spawn_local(async move {
                            let reader = match join(&cache, "/") {
                                Join::Lead(fetch, reader) => {
                                    fetches.fetch_add(1, Ordering::Relaxed);
                                    tokio::task::spawn_local(async move {
                                        tokio::task::yield_now().await;
                                        let mut receiving =
                                            head(fetch, 200, CACHEABLE, &HeaderMap::new());
                                        for chunk in origin.chunks(1000) {
                                            receiving
                                                .chunk(Bytes::copy_from_slice(chunk))
                                                .await
                                                .unwrap();
                                            tokio::task::yield_now().await;
                                        }
                                        receiving.done();
                                    });
                                    reader
                                }
                                Join::Follow(reader) => reader,
                                Join::Stored(stored) => return stored.body().to_vec(),
                            };
                            match reader.arrival(&HeaderMap::new()).await {
                                Arrival::Streaming(streaming) => all(streaming.body).await.unwrap(),
                                Arrival::Stored(stored) => stored.body().to_vec(),
                                other => panic!("{other:?}"),
                            }
                        }));
                    }
                    for reader in readers {
                        assert!(reader.await.unwrap() == body[..]);
                    }
                });
            });
        }
    });
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[derive(Debug, Clone)]
enum Move {
    Write(usize),
    Join,
    Read(usize),
    Leave(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        4 => (1usize..3000).prop_map(Move::Write),
        1 => Just(Move::Join),
        6 => (0usize..6).prop_map(Move::Read),
        1 => (0usize..6).prop_map(Move::Leave),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order of writing, joining, reading and leaving: every reader who stays sees every byte once and in order, whether
    /// the body is kept or slides, and nothing is held afterwards.
    #[test]
    fn everybody_reads_the_same(moves in moves(), kept in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let checked: Result<(), TestCaseError> = runtime.block_on(async {
            let cache = cache();
            let (fetch, leader) = lead(&cache, "/");
            let mut waiting = Vec::new();
            // Who joined before the head of what is not kept goes alone; there the leader reads by itself.
            if kept {
                waiting.push(follow(&cache, "/"));
            }
            let control = if kept { CACHEABLE } else { &[("cache-control", "private")] };
            let mut receiving = head(fetch, 200, control, &HeaderMap::new());
            let mut readers = Vec::new();
            for reader in std::iter::once(leader).chain(waiting) {
                readers.push(Some((streaming(reader).await.body, Vec::new())));
            }
            let mut written = Vec::new();
            for step in moves {
                match step {
                    Move::Write(length) => {
                        let chunk: Vec<u8> = (written.len()..written.len() + length).map(|at| (at % 251) as u8).collect();
                        written.extend_from_slice(&chunk);
                        if receiving.chunk(Bytes::from(chunk)).await.is_err() {
                            prop_assert!(!kept && readers.iter().all(Option::is_none));
                            return Ok(());
                        }
                    }
                    Move::Join if kept => readers.push(Some((streaming(follow(&cache, "/")).await.body, Vec::new()))),
                    Move::Join => {}
                    Move::Read(who) => {
                        if let Some(Some((body, read))) = readers.get_mut(who)
                            && let Ok(frame) = tokio::time::timeout(Duration::from_millis(1), body.frame()).await
                        {
                            read.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
                        }
                    }
                    Move::Leave(who) => {
                        if let Some(reader) = readers.get_mut(who) {
                            *reader = None;
                        }
                    }
                }
            }
            receiving.done();
            for (body, mut read) in readers.into_iter().flatten() {
                read.extend_from_slice(&all(body).await.unwrap());
                prop_assert!(read == written);
            }
            let stats = cache.stats();
            prop_assert_eq!((stats.flights, stats.flight_bytes), (0, 0));
            prop_assert_eq!(is_stored(&cache, "/"), kept);
            Ok(())
        });
        checked?;
    }
}
