//! Readers and attackers as processes run them, against servers of the test's own on real sockets, in drills of three seconds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says so when it fails"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use saqta_lab::clock;
use saqta_lab::corpus::Grade;
use saqta_lab::load::{self, Books, Line, Mint, Orders, Role};
use saqta_lab::origin::{Dialect, Origin, OriginSpec, OriginStats};

const PHASES: &str = "name = 'test'\n[phases]\ncalm_s = 1\nattack_s = 1\nafter_s = 1\n";

fn orders(role: Role, scenario: &str, target: SocketAddr) -> Orders {
    Orders {
        role,
        scenario: format!("{PHASES}{scenario}"),
        seconds: 3.0,
        target: Some(target.to_string()),
        grade: Grade::Perfect,
        dialect: Dialect::Generic,
        seed: 1,
        starts_at_us: clock::monotonic().as_micros() as u64,
        one_newsroom: true,
        keys: None,
        patience_s: 10.0,
        nice: 0,
    }
}

/// Runs a generator to its end.
fn run(orders: &Orders) -> Books {
    let mut out = Vec::new();
    load::run(orders, &Mint::NONE, &AtomicBool::new(false), &mut out).unwrap();
    let last = out
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty())
        .unwrap();
    match serde_json::from_slice(last).unwrap() {
        Line::Books(books) => *books,
        Line::Progress(_) => panic!("a generator's last line is its books"),
    }
}

/// A newsroom's server for as long as `during` takes, and its last books.
fn with_origin<T>(spec: OriginSpec, during: impl FnOnce(SocketAddr) -> T) -> (T, OriginStats) {
    let (tell, told) = mpsc::sync_channel(1);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (_faults, commands) = tokio::sync::mpsc::channel(1);
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut last = OriginStats::default();
        runtime.block_on(tokio::task::LocalSet::new().run_until(async {
            let origin = Origin::bind(spec).unwrap();
            tell.send(origin.address()).unwrap();
            origin
                .run(commands, async { drop(ended.await) }, |stats| last = stats)
                .await;
        }));
        last
    });
    let result = during(told.recv().unwrap());
    drop(end);
    (result, server.join().unwrap())
}

fn closed_port() -> SocketAddr {
    // Bound and dropped: nobody listens there, and the kernel does not give it away again soon.
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn readers_are_served_and_staff_publish_in_every_dialect() {
    for dialect in Dialect::ALL {
        let spec = OriginSpec {
            dialect,
            workers: 100,
            service_factor: 0.1,
            ..OriginSpec::default()
        };
        let (books, origin) = with_origin(spec, |address| {
            let scenario = "[readers]\nrate = 300\n[neighbour]\nrate = 50\n[staff]\npublish_every_s = 0.2\nupload_every_s = 1\nupload_mb = 3\n";
            run(&Orders {
                dialect,
                ..orders(Role::Readers, scenario, address)
            })
        });
        let groups: BTreeMap<&str, _> = books
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group))
            .collect();
        assert_eq!(
            groups.keys().copied().collect::<Vec<_>>(),
            ["neighbour", "readers", "search", "staff", "uploads"]
        );
        for (name, group) in &groups {
            let all: u64 = group.seconds.iter().map(|second| second.requests).sum();
            let served: u64 = group.seconds.iter().map(|second| second.served).sum();
            assert_eq!(served, all, "{dialect}: {name}");
        }
        let during = groups["readers"].attack.requests;
        assert!(
            (220..380).contains(&during),
            "{dialect}: {during} views in the attack's second"
        );
        assert_eq!(origin.logins, 2, "{dialect}");
        let served = |name: &str| -> u64 {
            let seconds = &groups[name].seconds;
            seconds.iter().map(|second| second.served).sum()
        };
        // After 1.6, 2.1 and 2.6 s.
        assert_eq!((origin.uploads, served("uploads")), (3, 3), "{dialect}");
        assert!(origin.upload_bytes > 3 * 3_000_000);
        let published = served("staff") + served("uploads");
        assert_eq!(origin.publishes, published, "{dialect}");
    }
}

#[test]
fn what_the_origin_has_lost_is_not_served() {
    // One worker at its usual speed is asked for a hundred times what it can do.
    let spec = OriginSpec {
        workers: 1,
        backlog: 2,
        ..OriginSpec::default()
    };
    let (books, origin) = with_origin(spec, |address| {
        run(&orders(Role::Readers, "[readers]\nrate = 300\n", address))
    });
    let readers = books
        .groups
        .iter()
        .find(|group| group.name == "readers")
        .unwrap();
    let served: u64 = readers.seconds.iter().map(|second| second.served).sum();
    let refused: u64 = readers.seconds.iter().map(|second| second.refused).sum();
    assert!(
        served > 10 && refused > served,
        "{served} served, {refused} refused"
    );
    assert!(refused <= origin.backlog_full);
    assert_eq!(readers.attack.p99_ms, Some(10_000.0));
}

#[test]
fn an_attack_is_sent_at_its_rate_and_answers_are_told_apart() {
    let spec = OriginSpec {
        workers: 4,
        backlog: 4,
        ..OriginSpec::default()
    };
    let scenario = "[[attack]]\naddresses = 500\nrate = 2000\nrequests_per_connection = 5\n[[attack.target]]\npath = '/?s={term}'\n";
    let (books, origin) = with_origin(spec, |address| {
        run(&orders(Role::Attackers, scenario, address))
    });
    let attack = books.attack.unwrap();
    let sent: u64 = attack.seconds.iter().map(|second| second.requests).sum();
    assert!((1_990..=2_000).contains(&attack.due), "{} due", attack.due);
    // A machine with other work may be too late for some.
    assert!(sent > attack.due / 2 && sent <= attack.due, "{sent} sent");
    assert_eq!((attack.exhausted, attack.addresses), (0, 500));
    let answered: u64 = attack.seconds.iter().map(|second| second.forwarded).sum();
    let refused: u64 = attack.seconds.iter().map(|second| second.refused).sum();
    assert!(
        answered > 0 && refused > answered,
        "{answered} answered, {refused} refused"
    );
    assert!(!attack.cache_status_seen);
    assert!(
        origin.distinct_targets > 500,
        "{} different searches",
        origin.distinct_targets
    );
    // Each fifth request opens a connection, and each that was given up.
    assert!(
        (sent / 5..=sent / 2).contains(&books.connections_opened),
        "{} connections",
        books.connections_opened
    );
}

#[test]
fn nobody_there_is_the_server_s_fault_not_the_load_s() {
    let address = closed_port();
    let readers = run(&orders(Role::Readers, "[readers]\nrate = 100\n", address));
    let group = &readers.groups[0];
    assert_eq!(
        (group.attack.served, group.attack.failed),
        (0, group.attack.requests)
    );
    let scenario = "[[attack]]\naddresses = 5\nrate = 500\n[[attack.target]]\npath = '/'\n";
    let attack = run(&orders(Role::Attackers, scenario, address))
        .attack
        .unwrap();
    let sent: u64 = attack.seconds.iter().map(|second| second.requests).sum();
    // Five bots may ask again before they hear the refusal.
    let ended: u64 = attack
        .seconds
        .iter()
        .map(|second| second.refused + second.abandoned)
        .sum();
    assert_eq!((ended, attack.exhausted), (sent, 0));
    assert!(sent > 100, "{sent} of {} sent", attack.due);
}

/// Accepts connections and keeps what comes first on each.
fn listening(connections: usize) -> (SocketAddr, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = thread::spawn(move || {
        let open: Vec<_> = (0..connections)
            .map(|_| listener.accept().unwrap().0)
            .collect();
        open.into_iter()
            .map(|mut connection| {
                connection
                    .set_read_timeout(Some(Duration::from_secs(10)))
                    .unwrap();
                let mut first = Vec::new();
                // The attack ends by resetting its connections.
                drop(connection.by_ref().take(64 * 1024).read_to_end(&mut first));
                first
            })
            .collect()
    });
    (address, heard)
}

#[test]
fn a_drill_that_is_cut_short_serves_nobody_who_still_waits() {
    // Connections are taken by the kernel and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut orders = orders(
        Role::Readers,
        "[readers]\nrate = 20\n",
        silent.local_addr().unwrap(),
    );
    orders.patience_s = 0.1;
    let group = run(&orders).groups.swap_remove(0);
    let all = [group.warming, group.calm, group.attack, group.after];
    assert!(all.iter().map(|tally| tally.requests).sum::<u64>() > 20);
    for tally in all {
        assert_eq!((tally.served, tally.failed), (0, tally.requests));
    }
}

#[test]
fn who_comes_for_the_news_is_counted_apart_and_among_the_readers() {
    let scenario = "[readers]\nrate = 50\n[crowd]\nfactor = 4\none_article_share = 0.5\n";
    let (books, _) = with_origin(OriginSpec::default(), |address| {
        run(&orders(Role::Readers, scenario, address))
    });
    let requests = |name| {
        let group = books.groups.iter().find(|group| group.name == name);
        group.unwrap().attack.requests
    };
    let (readers, news) = (requests("readers"), requests("news"));
    // Three quarters are the crowd's, half of them for the news.
    assert!(
        readers / 4 < news && news < readers * 5 / 9,
        "{news} of {readers}"
    );
}

#[test]
fn slow_connections_say_little_for_long() {
    let (address, heard) = listening(9);
    let scenario =
        "[[attack]]\nkind = 'slow'\naddresses = 9\nconnections = 9\ndrop_every_s = 0.1\n";
    let mut orders = orders(Role::Attackers, scenario, address);
    // Long enough for the last to be opened.
    orders.seconds = 9.0;
    let books = run(&orders);
    assert_eq!(books.connections_opened, 9);
    let heard = heard.join().unwrap();
    let ways = [
        heard
            .iter()
            .filter(|bytes| bytes.ends_with(b"X-a: b\r\n"))
            .count(),
        heard
            .iter()
            .filter(|bytes| {
                bytes.starts_with(b"POST ")
                    && bytes.ends_with(b"comment=aaa") | bytes.ends_with(b"aaa")
            })
            .count(),
        heard
            .iter()
            .filter(|bytes| bytes.starts_with(b"GET ") && bytes.ends_with(b"\r\n\r\n"))
            .count(),
    ];
    assert_eq!(ways, [3, 3, 3]);
    assert!(!heard.iter().any(|bytes| bytes.starts_with(b"GET /")
        && bytes.ends_with(b"X-a: b\r\n")
        && bytes.windows(4).any(|w| w == b"\r\n\r\n")));
}

#[test]
fn frames_follow_the_preface() {
    let (address, heard) = listening(7);
    let scenario = "[[attack]]\nkind = 'h2'\naddresses = 7\nconnections = 7\nrate = 700\n";
    run(&orders(Role::Attackers, scenario, address));
    // The first frame of each trick after SETTINGS.
    let mut kinds: Vec<u8> = heard
        .join()
        .unwrap()
        .iter()
        .map(|bytes| {
            let frames = bytes
                .strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .expect("a preface");
            assert_eq!(frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0], "SETTINGS first");
            frames[9 + 3]
        })
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [1, 1, 1, 1, 4, 6, 8]);
}
