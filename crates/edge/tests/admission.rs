//! The shell of admission: waiting, waking, leaving. Time is paused; the core's laws are tested beside it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use saqta_detect::network::Group;
use saqta_detect::shape::Shape;
use saqta_edge::admission::{Admission, Ask, Class, Config, Outcome, STREAMS_MAX, Slot};
use tokio::task::{JoinHandle, spawn, yield_now};
use tokio::time::{Instant, sleep};

fn one_at_a_time() -> Admission {
    Admission::new(Config { concurrency_max: 1 })
}

fn reader(deadline_ms: u64) -> Ask {
    Ask {
        class: Class::Unknown,
        shape: Shape::of(b"/news/x"),
        group: Group::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        deadline: Duration::from_millis(deadline_ms),
    }
}

fn enter(admission: &Admission, ask: Ask) -> JoinHandle<Option<Slot>> {
    let admission = admission.clone();
    spawn(async move { admission.enter(ask).await.ok() })
}

async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_starts_when_the_slot_comes_back() {
    let admission = one_at_a_time();
    let first = admission.enter(reader(2_000)).await.unwrap();
    let second = enter(&admission, reader(2_000));
    sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished());
    first.finish(Outcome::ANSWERED);
    second
        .await
        .unwrap()
        .expect("its turn")
        .finish(Outcome::ANSWERED);
    let stats = admission.stats();
    assert_eq!(
        (
            stats.of(Class::Unknown).granted,
            stats.of(Class::Unknown).queued_total
        ),
        (2, 1)
    );
    assert!(
        (stats.of(Class::Unknown).origin_ms - 300.0).abs() <= 2.0,
        "{stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_starved_at_its_deadline() {
    let admission = one_at_a_time();
    let running = admission.enter(reader(2_000)).await.unwrap();
    let asked = Instant::now();
    let starved = admission.enter(reader(500)).await.unwrap_err();
    assert!(
        (500..=502).contains(&asked.elapsed().as_millis()),
        "{:?}",
        asked.elapsed()
    );
    assert!(starved.waited >= Duration::from_millis(500));
    assert_eq!(admission.stats().of(Class::Unknown).expired, 1);
    running.finish(Outcome::ANSWERED);
    assert_eq!(admission.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let admission = one_at_a_time();
    let _running = admission.enter(reader(2_000)).await.unwrap();
    let asked = Instant::now();
    let waiters = (0..100)
        .map(|_| enter(&admission, reader(2_000)))
        .collect::<Vec<_>>();
    settle().await;
    let told = waiters.iter().filter(|waiter| waiter.is_finished()).count();
    assert_eq!(
        told, 80,
        "a hundred milliseconds each until learned: twenty have a chance"
    );
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(admission.is_starved(&reader(2_000)));
    assert_eq!(admission.stats().of(Class::Unknown).turned_away, 80);
}

/// Whoever asks before the others' tasks run must see that the places are taken; a place nobody waits for is free again.
#[tokio::test(start_paused = true)]
async fn a_place_is_taken_before_anybody_waits_for_it() {
    let admission = one_at_a_time();
    let running = admission.enter(reader(2_000));
    assert_eq!(admission.stats().in_flight, 1);
    let waiting = (0..20)
        .map(|_| {
            assert!(!admission.is_starved(&reader(2_000)));
            admission.enter(reader(2_000))
        })
        .collect::<Vec<_>>();
    assert!(admission.is_starved(&reader(2_000)));
    drop((waiting, running));
    let stats = admission.stats();
    assert_eq!((stats.in_flight, stats.of(Class::Unknown).queued), (0, 0));
}

/// The crowd is told before it is queued; a network that is not of the crowd is queued, and one of the crowd makes room.
#[tokio::test(start_paused = true)]
async fn only_those_who_would_push_out_their_own_are_turned_away_unqueued() {
    let admission = one_at_a_time();
    let crowd = reader(2_000);
    let running = admission.enter(crowd).await.unwrap();
    assert!(!admission.turn_away_at_once(&crowd), "the queue has room");
    let waiting = (0..20)
        .map(|_| enter(&admission, crowd))
        .collect::<Vec<_>>();
    settle().await;
    let queued_total = || admission.stats().of(Class::Unknown).queued_total;
    let turned_away = || admission.stats().of(Class::Unknown).turned_away;
    assert_eq!((queued_total(), turned_away()), (20, 0));
    for told in 1..=50 {
        assert!(admission.turn_away_at_once(&crowd));
        assert_eq!((queued_total(), turned_away()), (20, told));
    }
    // Which networks share the crowd's lane is chance: of 64, not all do.
    let rare = (1..=64_u32)
        .map(|network| Ask {
            group: Group::of(IpAddr::V4(Ipv4Addr::from_bits(network << 8))),
            ..crowd
        })
        .find(|ask| !admission.turn_away_at_once(ask))
        .expect("a lane of its own");
    let told = turned_away();
    let rare = enter(&admission, rare);
    settle().await;
    assert_eq!(turned_away(), told + 1);
    assert_eq!(waiting.iter().filter(|one| one.is_finished()).count(), 1);
    let staff = Ask {
        class: Class::Staff,
        ..crowd
    };
    assert!(!admission.turn_away_at_once(&staff));
    drop((running, rare));
}

/// A thousand networks between two turns: a few are queued for each who is served, and whoever is served is not much older than they.
#[tokio::test(start_paused = true)]
async fn a_flood_from_everywhere_costs_a_few_places_a_turn() {
    const LANES: u64 = 32;
    const TURNS: u32 = 24;
    /// Newcomers of a lane between two, and how many could be served in time.
    const TURNS_BETWEEN: u64 = 8;
    const ROOM: u64 = 20;
    let admission = one_at_a_time();
    let of = |network: u32| Ask {
        group: Group::of(IpAddr::V4(Ipv4Addr::from_bits(network << 8))),
        ..reader(2_000)
    };
    let mut running = admission.enter(of(0)).await.unwrap();
    let mut waiting = Vec::new();
    let stats = || *admission.stats().of(Class::Unknown);
    for turn in 1..=TURNS {
        for network in 0..1_000 {
            let ask = of(turn * 1_000 + network);
            if !admission.turn_away_at_once(&ask) {
                waiting.push(enter(&admission, ask));
                settle().await;
            }
        }
        assert_eq!(stats().queued as u64, ROOM);
        sleep(Duration::from_millis(100)).await;
        running.finish(Outcome::ANSWERED);
        settle().await;
        let mut served = None;
        for one in waiting.extract_if(.., |one: &mut JoinHandle<_>| one.is_finished()) {
            served = served.or(one.await.unwrap());
        }
        running = served.expect("whose turn it is");
    }
    let turns = u64::from(TURNS);
    // Each turn leaves room for one more besides.
    let bound = ROOM + turns + (turns / TURNS_BETWEEN + 1) * LANES;
    assert!(stats().queued_total >= turns + ROOM, "{:?}", stats());
    assert!(stats().queued_total <= bound, "{:?}", stats());
}

#[tokio::test(start_paused = true)]
async fn leaving_the_queue_leaves_nothing_behind() {
    let admission = one_at_a_time();
    let running = admission.enter(reader(2_000)).await.unwrap();
    let leaving = enter(&admission, reader(2_000));
    let staying = enter(&admission, reader(2_000));
    settle().await;
    leaving.abort();
    settle().await;
    assert_eq!(admission.stats().of(Class::Unknown).queued, 1);
    running.finish(Outcome::ANSWERED);
    assert!(staying.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_slot_granted_to_someone_gone_goes_to_the_next() {
    let admission = one_at_a_time();
    let running = admission.enter(reader(2_000)).await.unwrap();
    let gone = enter(&admission, reader(2_000));
    settle().await;
    let next = enter(&admission, reader(2_000));
    settle().await;
    // Granted and aborted before its task runs again.
    running.finish(Outcome::ANSWERED);
    gone.abort();
    let next = next.await.unwrap().expect("the slot was never used");
    let stats = admission.stats();
    assert_eq!((stats.in_flight, stats.abandoned), (1, 0));
    next.finish(Outcome::ANSWERED);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_slot_wakes_the_next_when_its_cost_has_elapsed() {
    let admission = one_at_a_time();
    for _ in 0..20 {
        let slot = admission.enter(reader(2_000)).await.unwrap();
        sleep(Duration::from_millis(400)).await;
        slot.finish(Outcome::ANSWERED);
    }
    let abandoned = admission.enter(reader(2_000)).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    drop(abandoned);
    let slot = admission.enter(reader(2_000)).await.unwrap();
    let waited_ms = asked.elapsed().as_millis();
    assert!((295..=305).contains(&waited_ms), "{waited_ms} ms");
    slot.finish(Outcome::ANSWERED);
}

#[tokio::test(start_paused = true)]
async fn staff_never_wait_behind_readers() {
    let admission = one_at_a_time();
    let _running = admission.enter(reader(2_000)).await.unwrap();
    let _waiters = (0..50)
        .map(|_| enter(&admission, reader(2_000)))
        .collect::<Vec<_>>();
    settle().await;
    let asked = Instant::now();
    let slot = admission
        .enter(Ask {
            class: Class::Staff,
            ..reader(20_000)
        })
        .await
        .unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    slot.finish(Outcome::ANSWERED);
}

#[tokio::test(start_paused = true)]
async fn the_slot_kept_for_staff_goes_to_a_waiter_when_they_are_gone() {
    let admission = Admission::new(Config { concurrency_max: 2 });
    let visit = Ask {
        class: Class::Staff,
        ..reader(20_000)
    };
    let arrived = Instant::now();
    let slot = admission.enter(visit).await.unwrap();
    slot.finish(Outcome::ANSWERED);
    let running = admission.enter(reader(2_000)).await.unwrap();
    // Nothing else happens: the other slot becomes free by the clock alone.
    let waiter = admission.enter(reader(200_000)).await.unwrap();
    assert_eq!(arrived.elapsed().as_secs(), 70);
    running.finish(Outcome::ANSWERED);
    waiter.finish(Outcome::ANSWERED);
}

#[tokio::test(start_paused = true)]
async fn a_raised_ceiling_lets_the_limit_grow() {
    let admission = one_at_a_time();
    let mut waiting = Vec::new();
    let mut limits = Vec::new();
    for _ in 0..400 {
        waiting.push(enter(&admission, reader(2_000)));
        settle().await;
        sleep(Duration::from_millis(10)).await;
        let mut still = Vec::new();
        for task in waiting.drain(..) {
            if !task.is_finished() {
                still.push(task);
            } else if let Some(slot) = task.await.unwrap() {
                // Each page takes 50 ms, however many run.
                spawn(async move {
                    sleep(Duration::from_millis(50)).await;
                    slot.finish(Outcome::ANSWERED);
                });
            }
        }
        waiting = still;
        limits.push(admission.stats().limit);
        if limits.len() == 200 {
            assert_eq!(limits.iter().max(), Some(&1));
            admission.set_config(Config { concurrency_max: 3 });
        }
    }
    assert_eq!(limits.last(), Some(&3));
}

#[tokio::test]
async fn streams_have_their_own_bound() {
    let admission = one_at_a_time();
    let readers = std::iter::from_fn(|| admission.enter_stream(Class::Unknown).ok())
        .take(2 * STREAMS_MAX)
        .collect::<Vec<_>>();
    let staff = std::iter::from_fn(|| admission.enter_stream(Class::Staff).ok())
        .take(2 * STREAMS_MAX)
        .collect::<Vec<_>>();
    assert_eq!(readers.len() + staff.len(), STREAMS_MAX);
    assert!(!staff.is_empty(), "the last are for staff");
    let stats = admission.stats();
    assert_eq!(
        (stats.in_flight, stats.streams, stats.streams_refused),
        (0, STREAMS_MAX, 2)
    );
    drop(readers);
    assert!(admission.enter_stream(Class::Unknown).is_ok());
}

/// Two threads with a runtime each, as shards are: nobody is lost, nothing stays taken.
#[test]
fn shards_share_one_admission() {
    const ASKS: u32 = 2_000;
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let admission = Admission::new(Config { concurrency_max: 8 });
    let shard = |shard: u32| {
        let admission = admission.clone();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let tasks = (0..ASKS)
                    .map(|n| spawn(visit(admission.clone(), shard * ASKS + n)))
                    .collect::<Vec<_>>();
                let mut granted = 0;
                for task in tasks {
                    granted += u64::from(task.await.unwrap());
                }
                granted
            })
        })
    };
    let granted = [shard(0), shard(1)]
        .map(|thread| thread.join().unwrap())
        .iter()
        .sum::<u64>();
    let stats = admission.stats();
    let class = stats.of(Class::Unknown);
    assert_eq!(class.granted, granted);
    assert_eq!(
        class.granted + class.turned_away + class.expired,
        2 * u64::from(ASKS)
    );
    assert_eq!(class.queued, 0);
    assert_eq!(stats.in_flight, stats.abandoned);
}

/// Enters, works a moment, and finishes unless the client went away.
async fn visit(admission: Admission, n: u32) -> bool {
    let ask = Ask {
        group: Group::of(IpAddr::V4(Ipv4Addr::from_bits(n << 8))),
        ..reader(1_000)
    };
    let Ok(slot) = admission.enter(ask).await else {
        return false;
    };
    yield_now().await;
    if !n.is_multiple_of(7) {
        slot.finish(Outcome::ANSWERED);
    }
    true
}
