//! A flood of addresses nobody has seen: the article's copy answers, and nothing that chooses another page is ever answered with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say so when they fail"
)]

mod kit;

use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use kit::{Client, Origin, PATIENCE, page, plan};
use saqta_edge::Edge;
use saqta_edge::plan::Mode;
use saqta_edge::stats::Stats;
use tokio::time::Instant;

/// More than can be served in time.
const WAITERS: usize = 20;

fn wait_until(edge: &Edge, is_so: impl Fn(&Stats) -> bool) {
    let started = Instant::now();
    while !is_so(&edge.stats()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", edge.stats());
        std::thread::yield_now();
    }
}

#[test]
fn a_starved_origin_is_spared_addresses_made_up_for_a_known_page() {
    for mode in [Mode::Protect, Mode::Observe] {
        let (release, released) = sync_channel::<()>(0);
        let released = Mutex::new(released);
        let origin = Origin::start(move |asked, _| {
            if asked.line.contains("slow") {
                // Ends when the test lets go of the other end.
                let _ended = released.lock().unwrap().recv();
            }
            page("200 OK", "Cache-Control: max-age=600\r\n", &asked.line)
        });
        let mut plan = plan(origin.address);
        plan.sites[0].mode = mode;
        plan.sites[0].origin.concurrency_max = 1;
        let edge = Edge::start(plan).unwrap();
        let mut reader = Client::connect(&edge);
        // Admission does not see it, and goes on believing that a page takes a hundred milliseconds: twenty have a chance.
        edge.bypass(true);
        let kept = reader.get("/article/x");
        assert_eq!(kept.status, 200);
        edge.bypass(false);
        let mut crowd: Vec<Client> = (0..=WAITERS).map(|_| Client::connect(&edge)).collect();
        for (place, client) in crowd.iter_mut().enumerate() {
            client.send(format!(
                "GET /article/slow{place}?a=1 HTTP/1.1\r\nHost: a.kz\r\n\r\n"
            ));
            if place == 0 {
                wait_until(&edge, |stats| stats.sites[0].in_flight == 1);
            }
        }
        wait_until(&edge, |stats| stats.sites[0].queued == WAITERS);
        for target in [
            "/article/x?u=8f3a",
            "/article/x?4711",
            "/article/x?u=1&v=2&w",
        ] {
            let answer = reader.get(target);
            if mode == Mode::Observe {
                assert_eq!(answer.status, 503, "{target}");
                continue;
            }
            assert_eq!(
                (answer.status, answer.body),
                (200, kept.body.clone()),
                "{target}"
            );
            assert!(answer.head.contains("detail=reduced"), "{}", answer.head);
            assert!(answer.head.contains("no-store"), "{}", answer.head);
        }
        for target in [
            "/article/x?confirm=1",
            "/article/x?u=5f4dcc3b5aa765d61d8327deb882cf99",
            "/article/unknown?u=1",
        ] {
            assert_eq!(reader.get(target).status, 503, "{target}");
        }
        // Of another kind, these have a turn of their own.
        for target in [
            "/article/x?page=2",
            "/article/x?lang=kk",
            "/article/x?code=4711",
        ] {
            let mut other = Client::connect(&edge);
            other.send(format!("GET {target} HTTP/1.1\r\nHost: a.kz\r\n\r\n"));
            crowd.push(other);
        }
        drop(release);
        for (client, target) in
            crowd[WAITERS + 1..]
                .iter_mut()
                .zip(["page=2", "lang=kk", "code=4711"])
        {
            let answer = client.answer().unwrap();
            assert!(
                answer.status == 503 || answer.text().contains(target),
                "{}",
                answer.text()
            );
        }
    }
}
