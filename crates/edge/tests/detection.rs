//! Detection over real sockets: a flood gets a rule, and the rule gets what it hits a copy. Nobody else notices.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use kit::attack::{BROWSER, LIBRARY, calm};
use kit::http2::{END_HEADERS, END_STREAM, End, HEADERS, Http2, PING, block, frame};
use kit::{Client, Origin, PATIENCE, connect_from, page, plan, until};
use saqta_edge::Edge;
use saqta_edge::budget::HTTP2_BYTES_MAX;
use saqta_edge::plan::{Mode, Networks, RULE_FIELD};
use saqta_edge::stats::{DetectionStats, IncidentStats};

const STAFF: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

fn detection(edge: &Edge) -> DetectionStats {
    edge.stats().sites.swap_remove(0).detection
}

fn get(edge: &Edge, from: Ipv4Addr, target: &str, agent: &str) -> kit::Answer {
    Client::of(connect_from(from, edge.addresses()[0]))
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {agent}\r\n\r\n"
        ))
        .answer()
        .unwrap()
}

/// Tries passwords until the newsroom is under attack and a rule stands.
fn guess_passwords(edge: &Edge) -> IncidentStats {
    let mut bots: Vec<Client> = (1..20)
        .map(|n| {
            Client::of(connect_from(
                Ipv4Addr::new(127, 66, n, 1),
                edge.addresses()[0],
            ))
        })
        .collect();
    let mut found = None;
    until("a rule stands", || {
        for bot in &mut bots {
            let form = "log=admin&pwd=123456";
            let answer = bot
                .send(format!(
                    "POST /wp-login.php HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {LIBRARY}\r\nContent-Length: {}\r\n\r\n{form}",
                    form.len()
                ))
                .answer_to("POST")
                .unwrap();
            // Told to come back in ten minutes, in the end: that is for so many failures, and no rule's doing.
            assert!(matches!(answer.status, 200 | 429), "{}", answer.head);
        }
        let detection = detection(edge);
        found = detection
            .incidents
            .into_iter()
            .find(|incident| !incident.rules.is_empty());
        detection.posture == "under attack" && found.is_some()
    });
    found.unwrap()
}

/// Every answer with a number of its own, so that a copy is told from a new one.
fn newsroom() -> Origin {
    let asked = std::sync::atomic::AtomicU32::new(0);
    Origin::start(move |_, _| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: max-age=600\r\n",
            &format!("answer {number}"),
        )
    })
}

#[test]
fn whoever_a_rule_hits_gets_a_copy_where_the_site_is_protected() {
    const READER: Ipv4Addr = Ipv4Addr::new(127, 5, 5, 5);
    const BOT: Ipv4Addr = Ipv4Addr::new(127, 66, 1, 1);
    for mode in [Mode::Observe, Mode::Protect] {
        let origin = newsroom();
        let mut plan = plan(origin.address);
        plan.is_drill = true;
        plan.sites[0].mode = mode;
        plan.sites[0].staff = Networks(vec![format!("{STAFF}/32").parse().unwrap()]);
        let edge = Edge::start(plan).unwrap();
        edge.teach(0, calm);
        let story = get(&edge, READER, "/news/story", BROWSER);
        assert_eq!(detection(&edge).posture, "calm");

        let incident = guess_passwords(&edge);
        let mut changes = Vec::new();
        until("it is told when the posture changed", || {
            changes = detection(&edge).changes;
            changes
                .first()
                .is_some_and(|change| change.posture == "under attack")
        });
        assert!(changes.is_sorted_by(|newer, older| newer.at_ms >= older.at_ms));
        assert_eq!((incident.trigger, incident.end_s), ("sensitive", None));
        let [rule] = &incident.rules[..] else {
            panic!("{incident:?}")
        };
        assert!(rule.sentence.en.contains(LIBRARY), "{}", rule.sentence.en);

        // Client, target, is it told that a rule hits it, does it get the copy that is there.
        let acts = mode == Mode::Protect;
        for (from, agent, target, is_hit, is_copy) in [
            (READER, BROWSER, "/news/story", false, true),
            (READER, BROWSER, "/news/story?x=1", false, false),
            (READER, BROWSER, "/news/other", false, false),
            (BOT, LIBRARY, "/news/story", true, true),
            (BOT, LIBRARY, "/news/story?x=2", true, acts),
            // With the agent of a browser it is somebody else: no rule is about an address.
            (BOT, BROWSER, "/news/story?x=3", false, false),
            (STAFF, LIBRARY, "/news/story?x=4", true, false),
        ] {
            let answer = get(&edge, from, target, agent);
            let case = format!("{mode:?} {from} {agent} {target}: {}", answer.cache());
            assert_eq!(answer.status, 200, "{case}");
            assert_eq!(answer.field(RULE_FIELD).is_some(), is_hit, "{case}");
            assert_eq!(answer.body == story.body, is_copy, "{case}");
        }
    }
}

/// Bots that each keep a connection of HTTP/2 would leave readers none.
#[test]
fn connections_of_those_a_rule_hits_go_first_where_http2_runs_short() {
    let origin = newsroom();
    let mut plan = plan(origin.address);
    plan.limits.keep_alive_timeout = PATIENCE * 6;
    let mut neighbour = plan.sites[0].clone();
    neighbour.name = "neighbour".into();
    neighbour.hosts = vec!["b.kz".into()];
    plan.sites.push(neighbour);
    let edge = Edge::start(plan).unwrap();
    edge.teach(0, calm);
    guess_passwords(&edge);
    let fields = |method, host, path, agent| {
        block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", host),
            (":path", path),
            ("user-agent", agent),
        ])
    };
    let connect = |network: u8, last: u8| {
        let from = Ipv4Addr::new(127, network, 5, last);
        Http2::over(connect_from(from, edge.addresses()[0]), &[])
    };
    // Uploads to the neighbour: what readers do there is in nobody's way here.
    let upload = fields("POST", "b.kz", "/a", BROWSER);
    let mut held = Vec::new();
    while edge.stats().http2_bytes < HTTP2_BYTES_MAX / 100 * 55 {
        let mut client = connect(0, held.len() as u8);
        for stream in 0..100 {
            client.send(&frame(HEADERS, END_HEADERS, 2 * stream + 1, &upload));
        }
        // Answered when all before it has been read.
        client.send(&frame(PING, 0, 0, &[7; 8]));
        while client.next().unwrap().kind != PING {}
        held.push(client);
    }
    let (mut reader, mut bot) = (connect(5, 1), connect(66, 1));
    let ask = |client: &mut Http2, stream, agent| {
        let story = fields("GET", "a.kz", "/news/story", agent);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &story));
        client.end_of(stream)
    };
    let is_answered = |end| matches!(end, End::Answer(200, _));
    assert!(is_answered(ask(&mut reader, 1, BROWSER)));
    assert!(is_answered(ask(&mut bot, 1, LIBRARY)));
    assert_eq!(bot.end_of(3), End::GoneAway);
    assert!(
        is_answered(ask(&mut reader, 3, BROWSER)),
        "on the same connection"
    );
}

/// What is told in a rehearsal would tell an attacker what to change.
#[test]
fn nobody_is_told_of_a_rule_outside_a_rehearsal() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    edge.teach(0, calm);
    guess_passwords(&edge);
    for target in ["/news/story", "/news/story?x=1"] {
        let answer = get(&edge, Ipv4Addr::new(127, 66, 1, 1), target, LIBRARY);
        assert_eq!(answer.field(RULE_FIELD), None, "{target}");
    }
}

/// Whoever restarts in the middle of an attack must not learn it as normal.
#[test]
fn how_much_is_normal_outlives_a_restart() {
    let folder = std::env::temp_dir().join(format!("saqta-normal-{}", std::process::id()));
    let origin = newsroom();
    let begin = || Edge::start_in(plan(origin.address), &folder).unwrap();
    let learned = |edge: &Edge| {
        let mut text = String::new();
        edge.teach(0, |engine| text = engine.written());
        text
    };
    let edge = begin();
    let nothing = learned(&edge);
    edge.teach(0, calm);
    until("a second has been judged", || learned(&edge) != nothing);
    edge.stop(Duration::ZERO);

    let files: Vec<_> = fs::read_dir(folder.join("normal")).unwrap().collect();
    let [Ok(file)] = &files[..] else {
        panic!("{files:?}")
    };
    let written = fs::read_to_string(file.path()).unwrap();
    assert!(
        !written.contains("127.") && !written.contains("story"),
        "{written}"
    );
    // The hours of the week do not change with a second's silence.
    let hours = |text: &str| text.lines().nth(2).map(str::to_owned);
    let numbers = |text: &str| text.lines().nth(1)?.split(' ').nth(2)?.parse::<f64>().ok();
    let edge = begin();
    until("it is recalled", || learned(&edge) != nothing);
    let again = learned(&edge);
    assert_eq!(hours(&again), hours(&written));
    assert!(numbers(&again) > Some(10.0), "{again}");
    edge.stop(Duration::ZERO);

    // What somebody else wrote there is no reason not to begin, nor is it that nothing can be written there.
    fs::write(file.path(), "1\n".repeat(10_000)).unwrap();
    begin().stop(Duration::ZERO);
    fs::remove_dir_all(folder.join("normal")).unwrap();
    fs::write(folder.join("normal"), "").unwrap();
    let edge = begin();
    edge.teach(0, calm);
    edge.stop(Duration::ZERO);
    assert_eq!(fs::read(folder.join("normal")).unwrap(), b"");
    fs::remove_dir_all(&folder).unwrap();
}
