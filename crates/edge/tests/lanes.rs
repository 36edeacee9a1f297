//! Visitors who are no readers, over real sockets: who shows that he is the one he says is let in, and whoever only says so is not.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};

use kit::attack::BROWSER;
use kit::http2::{END_HEADERS, END_STREAM, End, HEADERS, Http2, block, frame};
use kit::{Answer, Client, Origin, connect_from, page, plan, stand_a_rule, until};
use saqta_edge::Edge;
use saqta_edge::lanes::LaneStats;
use saqta_edge::plan::{LanePlan, Networks, Resolver};

/// What the rules of these tests are about, and all visitors as well.
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CRAWLER: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const OTHER_CRAWLER: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 8);
const FAKE: Ipv4Addr = Ipv4Addr::new(127, 8, 8, 8);

/// A resolver: knows names of addresses and addresses of names, and writes down what it was asked.
struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// `zone`: a question as `PTR 7.7.7.127.in-addr.arpa` or `A name`, and what is said to it; everything else does not exist.
    fn start(zone: &'static [(&'static str, &'static str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let book = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((bytes, from)) = socket.recv_from(&mut message) {
                let question = question(&message[..bytes]);
                book.lock().unwrap().push(question.clone());
                let data = zone.iter().find(|(asked, _)| *asked == question);
                let reply = reply(&message[..bytes], data.map(|(_, data)| *data));
                socket.send_to(&reply, from).unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn question(message: &[u8]) -> String {
    let (mut name, mut at) = (Vec::new(), 12);
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        name.push(String::from_utf8(message[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = match message[at + 2] {
        1 => "A",
        12 => "PTR",
        _ => "AAAA",
    };
    format!("{kind} {}", name.join("."))
}

fn reply(question: &[u8], data: Option<&str>) -> Vec<u8> {
    let mut reply = question.to_vec();
    reply[2] |= 0x80;
    let Some(data) = data else {
        reply[3] = 3;
        return reply;
    };
    reply[7] = 1;
    let data = match data.parse::<Ipv4Addr>() {
        Ok(address) => address.octets().to_vec(),
        Err(_) => {
            let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
            let labels: Vec<u8> = data.split('.').flat_map(label).collect();
            [labels, vec![0]].concat()
        }
    };
    let kind = question[question.len() - 3];
    reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
    reply.extend(data);
    reply
}

const ZONE: &[(&str, &str)] = &[
    ("PTR 7.7.7.127.in-addr.arpa", "crawl-7.googlebot.com"),
    ("A crawl-7.googlebot.com", "127.7.7.7"),
    ("PTR 8.7.7.127.in-addr.arpa", "crawl-9.googlebot.com"),
    ("A crawl-9.googlebot.com", "127.7.7.8"),
    // Whoever has an address gives it any name.
    ("PTR 8.8.8.127.in-addr.arpa", "crawl-8.googlebot.com"),
    ("A crawl-8.googlebot.com", "192.0.2.1"),
    ("PTR 9.8.8.127.in-addr.arpa", "host.example"),
    ("A host.example", "127.8.8.9"),
];

fn newsroom() -> Origin {
    Origin::start(|asked, _| {
        page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: max-age=600\r\n",
            &asked.line,
        )
    })
}

fn get(edge: &Edge, from: Ipv4Addr, agent: &str, target: &str) -> Answer {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {agent}\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"
    );
    Client::of(connect_from(from, edge.addresses()[0]))
        .send(head)
        .answer()
        .unwrap()
}

fn granted_to_lanes(edge: &Edge) -> u64 {
    let site = edge.stats().sites.swap_remove(0);
    let lane = site.classes.iter().find(|class| class.name == "lane");
    lane.unwrap().granted
}

#[test]
fn who_has_the_name_is_let_in_and_who_takes_it_waits() {
    let origin = newsroom();
    let dns = Dns::start(ZONE);
    let mut plan = plan(origin.address);
    plan.resolver = Resolver::At(vec![dns.address]);
    let edge = Edge::start(plan).unwrap();
    // The first request of each is a stranger's, and has it asked for.
    let fakes = [
        FAKE,
        Ipv4Addr::new(127, 8, 8, 9),
        Ipv4Addr::new(127, 8, 8, 10),
    ];
    for from in fakes.into_iter().chain([CRAWLER]) {
        let first = get(&edge, from, GOOGLEBOT, &format!("/news/first-of-{from}"));
        assert_eq!(first.status, 200);
    }
    // A hit asks for nobody.
    let hits = Ipv4Addr::new(127, 8, 8, 11);
    let stored = format!("/news/first-of-{CRAWLER}");
    until("it is stored", || {
        get(&edge, hits, BROWSER, &stored).cache().contains("hit")
    });
    let hit = get(&edge, hits, GOOGLEBOT, &stored);
    assert!(hit.cache().contains("hit"), "{}", hit.head);
    until("all are asked for", || {
        let lanes = edge.stats().lanes;
        lanes.lookups_verified + lanes.lookups_refuted == 4
    });
    // Beside one who is verified: of the other queue.
    get(&edge, OTHER_CRAWLER, GOOGLEBOT, "/news/first-of-another");
    until("it is asked for", || edge.stats().lanes.visitors_known == 2);
    stand_a_rule(&edge, GOOGLEBOT);

    let crawled = get(&edge, CRAWLER, GOOGLEBOT, "/news/new-1");
    assert_eq!(crawled.status, 200, "{}", crawled.head);
    assert_eq!(crawled.field("set-cookie"), None);
    assert_eq!(granted_to_lanes(&edge), 1);
    until("it is stored", || {
        get(&edge, hits, BROWSER, "/news/new-1")
            .cache()
            .contains("hit")
    });
    for from in fakes {
        let turned_away = get(&edge, from, GOOGLEBOT, "/news/new-2");
        assert_eq!(turned_away.status, 503, "{from}");
        // What is stored is everybody's.
        assert_eq!(get(&edge, from, GOOGLEBOT, "/news/new-1").status, 200);
    }
    // The address alone is nothing: whoever shares it is not the crawler.
    get(&edge, CRAWLER, BROWSER, "/news/new-3");
    assert_eq!(granted_to_lanes(&edge), 1);
    // The attack's own addresses are asked for as well.
    let asked = dns.asked();
    let times = |question: &str| asked.iter().filter(|asked| *asked == question).count();
    assert_eq!(times("PTR 7.7.7.127.in-addr.arpa"), 1);
    assert_eq!(times("A crawl-7.googlebot.com"), 1);
    assert_eq!(times("A crawl-8.googlebot.com"), 1);
    assert_eq!(times("A host.example"), 0, "nobody we know");
    assert_eq!(times("PTR 11.8.8.127.in-addr.arpa"), 0, "a hit");
}

#[test]
fn a_visitor_is_metered_and_gets_no_page_that_says_to_wait() {
    let origin = newsroom();
    let mut plan = plan(origin.address);
    plan.lanes = vec![LanePlan {
        agent: "ourprobe".to_owned(),
        networks: Networks(vec!["127.7.7.0/24".parse().unwrap()]),
    }];
    const PROBE: &str = "OurProbe/1.0";
    let edge = Edge::start(plan).unwrap();
    stand_a_rule(&edge, PROBE);
    let uses = (0..200).take_while(|number| {
        let answer = get(&edge, CRAWLER, PROBE, &format!("/news/new-{number}"));
        assert_eq!(answer.status, 200);
        granted_to_lanes(&edge) == number + 1
    });
    assert_eq!(uses.count(), 120, "in ten minutes");
    // A stranger from now on, of whom the rule knows: last in line, and told so by no page.
    let last = get(&edge, CRAWLER, PROBE, "/news/last");
    assert!(last.status == 200 || last.field("content-type") == Some("application/problem+json"));
    assert_eq!(last.field("set-cookie"), None);
    // Of another network the meter is another.
    assert_eq!(get(&edge, FAKE, PROBE, "/news/of-nobody").status, 503);
    assert_eq!(granted_to_lanes(&edge), 120);
}

/// A page that says to wait would be found in search engines instead of the article.
#[test]
fn where_there_is_no_room_a_visitor_is_told_so_and_shown_no_page() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opened = Arc::clone(&gate);
    let origin = Origin::start(move |asked, _| {
        let (open, changed) = &*opened;
        let is_shut = asked.line.contains("/slow");
        drop(changed.wait_while(open.lock().unwrap(), |open| is_shut && !*open));
        page("200 OK", "", "")
    });
    let mut plan = plan(origin.address);
    plan.sites[0].origin.concurrency_max = 1;
    plan.lanes = vec![LanePlan {
        agent: "ourprobe".to_owned(),
        networks: Networks(vec!["127.7.7.0/24".parse().unwrap()]),
    }];
    let edge = Edge::start(plan).unwrap();
    let mut slow = Client::connect(&edge);
    slow.send("GET /slow HTTP/1.1\r\nHost: a.kz\r\n\r\n");
    until("the only place is taken", || !origin.asked().is_empty());
    for (from, expected) in [(CRAWLER, "application/problem+json"), (FAKE, "text/html")] {
        let answer = get(&edge, from, "OurProbe/1.0", "/news/story");
        let (kind, status) = (answer.field("content-type").unwrap(), answer.status);
        assert!(
            status == 503 && kind.starts_with(expected),
            "{}",
            answer.head
        );
        assert!(answer.field("retry-after").is_some());
        assert_eq!(answer.field("set-cookie").is_some(), from == FAKE);
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(slow.answer().unwrap().status, 200);
}

#[test]
fn a_flood_under_a_good_name_floods_no_resolver() {
    let origin = newsroom();
    let dns = Dns::start(&[]);
    let mut plan = plan(origin.address);
    plan.resolver = Resolver::At(vec![dns.address]);
    let edge = Edge::start(plan).unwrap();
    for number in 0..120 {
        let from = Ipv4Addr::new(127, 9, 9, number + 1);
        get(&edge, from, GOOGLEBOT, &format!("/news/{number}"));
    }
    until("what is asked for is found", || {
        edge.stats().lanes.lookups_refuted == 32
    });
    // Again from all of them.
    for number in 0..120 {
        let from = Ipv4Addr::new(127, 9, 9, number + 1);
        get(&edge, from, GOOGLEBOT, &format!("/news/again-{number}"));
    }
    let expected = LaneStats {
        visitors_known: 0,
        lookups_verified: 0,
        lookups_refuted: 32,
        lookups_failed: 0,
        lookups_dropped: 2 * (120 - 32),
    };
    assert_eq!(edge.stats().lanes, expected);
    assert_eq!(dns.asked().len(), 32);
}

#[test]
fn without_a_resolver_nobody_is_asked_for_and_nobody_waits() {
    let origin = newsroom();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    for resolver in [
        Resolver::Off,
        Resolver::At(vec![silent.local_addr().unwrap()]),
    ] {
        let mut plan = plan(origin.address);
        plan.resolver = resolver;
        let edge = Edge::start(plan).unwrap();
        assert_eq!(get(&edge, CRAWLER, GOOGLEBOT, "/news/a").status, 200);
        assert_eq!(get(&edge, CRAWLER, GOOGLEBOT, "/news/b").status, 200);
        let lanes = edge.stats().lanes;
        assert_eq!((lanes.visitors_known, lanes.lookups_dropped), (0, 0));
    }
}

/// Previews and feed readers cannot show who they are. What is stored they get, fresh or stale, whatever a rule says of them.
#[test]
fn previews_and_feed_readers_get_copies() {
    const PREVIEW: &str = "TelegramBot (like TwitterBot)";
    for lifetime in ["max-age=600", "max-age=0, stale-if-error=600"] {
        let origin = Origin::start(move |asked, _| {
            let kind = match asked.line.split(' ').nth(1).unwrap() {
                "/feed/" => "application/rss+xml",
                "/robots.txt" | "/.well-known/security.txt" => "text/plain",
                "/favicon.ico" => "image/x-icon",
                _ => "text/html",
            };
            let fields = format!("Content-Type: {kind}\r\nCache-Control: {lifetime}\r\n");
            page("200 OK", &fields, &asked.line)
        });
        let edge = Edge::start(plan(origin.address)).unwrap();
        let targets = [
            "/news/shared",
            "/feed/",
            "/robots.txt",
            "/favicon.ico",
            "/.well-known/security.txt",
        ];
        for target in targets {
            assert_eq!(get(&edge, FAKE, BROWSER, target).status, 200);
        }
        stand_a_rule(&edge, PREVIEW);
        for target in targets {
            let answer = get(&edge, CRAWLER, PREVIEW, target);
            assert_eq!(answer.status, 200, "{lifetime} {target}: {}", answer.head);
        }
        assert_eq!(
            get(&edge, CRAWLER, PREVIEW, "/news/nobody-read").status,
            503
        );
    }
}

#[test]
fn over_http2_too() {
    let origin = newsroom();
    let mut plan = plan(origin.address);
    plan.lanes = vec![LanePlan {
        agent: "ourprobe".to_owned(),
        networks: Networks(vec!["127.7.7.0/24".parse().unwrap()]),
    }];
    const PROBE: &str = "OurProbe/1.0";
    let edge = Edge::start(plan).unwrap();
    stand_a_rule(&edge, PROBE);
    for (from, expected) in [(CRAWLER, 200), (FAKE, 503)] {
        let mut client = Http2::over(connect_from(from, edge.addresses()[0]), &[]);
        let fields = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.kz"),
            (":path", &format!("/news/{from}")),
            ("user-agent", PROBE),
            ("accept", "text/html"),
        ]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields));
        let End::Answer(status, _) = client.end_of(1) else {
            panic!("no answer");
        };
        assert_eq!(status, expected, "{from}");
    }
    assert_eq!(granted_to_lanes(&edge), 1);
}
