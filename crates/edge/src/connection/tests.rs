//! Time is paused: what takes a client ten seconds takes the test none.

use std::hash::RandomState;
use std::sync::{Arc, Mutex};

use saqta_detect::tally::Tally;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::*;
use crate::cache::Cache;
use crate::plan::{Limits, Networks, Plan};
use crate::shard::{Running, Shared};

/// In front of an origin nobody gets to.
fn shard() -> Rc<Shard> {
    let plan = Plan {
        listen: Vec::new(),
        shards: 1,
        sites: vec![crate::plan::tests::site("127.0.0.1:9")],
        any_host: None,
        refuse: Networks::default(),
        trust_forwarded: Networks::default(),
        limits: Limits::default(),
        cache_bytes_max: 1024 * 1024,
        disk_cache_bytes_max: 0,
        saved_bytes_max: 0,
        line_mbit: 1_000,
        bypass: false,
        registry: crate::registry::Registry::default(),
        lanes: Vec::new(),
        resolver: crate::plan::Resolver::Off,
        is_drill: false,
    };
    let cache = Cache::new(1, plan.cache_bytes_max).unwrap();
    let running = Running::new(plan, None, &RandomState::new());
    Rc::new(Shard::new(
        0,
        Arc::new(Shared::new(running, cache, crate::saved::Saved::default())),
        Arc::default(),
        Arc::new(Mutex::new(Tally::new(1, 1))),
    ))
}

/// All that a client hears who sends this and then nothing.
async fn heard(sent: &[u8]) -> String {
    let (mut client, io) = tokio::io::duplex(64 * 1024);
    LocalSet::new()
        .run_until(async move {
            let peer: SocketAddr = "127.0.0.1:4711".parse().unwrap();
            let shard = shard();
            let limits = &shard.running().plan.limits;
            let seat = shard.shared.occupancy.sit(peer.ip(), limits).unwrap();
            let served = tokio::task::spawn_local(serve(io, peer, Rc::clone(&shard), seat));
            client.write_all(sent).await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            served.await.unwrap();
            heard
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_408_and_the_connection_ends() {
    let heard = heard(b"POST /a HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 100\r\n\r\nhel").await;
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_framing_is_answered_400_and_the_connection_ends() {
    let heard =
        heard(b"POST /a HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
}
