//! HTTP/2 with prior knowledge, frame by frame: what a browser does, and what an attacker does.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use kit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, GOAWAY, HEADERS, Http2, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, status_of,
};
use kit::{Client, Origin, PATIENCE, page, plan, until};
use saqta_edge::Edge;
use saqta_edge::budget::{HTTP2_BYTES_MAX, HTTP2_BYTES_PER_ADDRESS_MAX};

/// What a reset says that lets a client send the request again.
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.kz"),
    (":path", "/a"),
];

fn with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    GET.iter().copied().chain(fields.iter().copied()).collect()
}

#[test]
fn a_browser_is_served_from_the_same_copy_as_http1() {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "Cache-Control: public, max-age=60\r\n",
            &asked.line,
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    assert_eq!(Client::connect(&edge).get("/a").text(), "GET /a HTTP/1.1");
    let mut client = Http2::connect(&edge);
    for stream in [1, 3, 5] {
        client.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block(GET),
        ));
        assert_eq!(
            client.end_of(stream),
            End::Answer(200, "GET /a HTTP/1.1".into())
        );
    }
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn a_form_sent_over_http2_reaches_the_origin() {
    let origin =
        Origin::start(|asked, _| page("200 OK", "", &String::from_utf8_lossy(&asked.body)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.kz"),
        (":path", "/a"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    client.send(&frame(DATA, END_STREAM, 1, b"text=hello"));
    assert_eq!(client.end_of(1), End::Answer(200, "text=hello".into()));
    assert_eq!(origin.asked()[0].field("content-length"), Some("10"));
}

/// (what, fields of the request, payload of a DATA frame behind it)
type Smuggled = (
    &'static str,
    Vec<(&'static str, &'static str)>,
    Option<&'static str>,
);

fn corpus() -> Vec<Smuggled> {
    let post = |more: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.kz"),
            (":path", "/a"),
        ];
        fields.extend_from_slice(more);
        fields
    };
    vec![
        (
            "H2.CL: a length shorter than the body",
            post(&[("content-length", "1")]),
            Some("GET /admin HTTP/1.1\r\n\r\n"),
        ),
        (
            "H2.CL: a length longer than the body",
            post(&[("content-length", "99")]),
            Some("x"),
        ),
        (
            "H2.CL: two lengths",
            post(&[("content-length", "1"), ("content-length", "2")]),
            Some("x"),
        ),
        (
            "H2.CL: two lengths alike",
            post(&[("content-length", "1"), ("content-length", "1")]),
            Some("x"),
        ),
        (
            "H2.TE",
            post(&[("transfer-encoding", "chunked")]),
            Some("0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"),
        ),
        (
            "CRLF in a value",
            with(&[("x-a", "b\r\ntransfer-encoding: chunked")]),
            None,
        ),
        ("LF in a value", with(&[("x-a", "b\nhost: evil")]), None),
        ("NUL in a value", with(&[("x-a", "b\0c")]), None),
        ("CRLF in a name", with(&[("x-a: b\r\nx-c", "d")]), None),
        ("colon in a name", with(&[("x-a:b", "d")]), None),
        ("upper case in a name", with(&[("X-A", "d")]), None),
        (
            "space in a name",
            with(&[("transfer-encoding ", "chunked")]),
            None,
        ),
        ("connection", with(&[("connection", "close")]), None),
        ("upgrade", with(&[("upgrade", "h2c")]), None),
        ("keep-alive", with(&[("keep-alive", "5")]), None),
        ("te of another kind", with(&[("te", "gzip")]), None),
        ("authority and host differ", with(&[("host", "b.kz")]), None),
        (
            "two hosts",
            with(&[("host", "a.kz"), ("host", "a.kz")]),
            None,
        ),
        ("two paths", with(&[(":path", "/b")]), None),
        ("two methods", with(&[(":method", "POST")]), None),
        ("unknown pseudo field", with(&[(":admin", "1")]), None),
        (
            "pseudo field behind others",
            {
                let mut fields = vec![("x-a", "b")];
                fields.extend_from_slice(GET);
                fields
            },
            None,
        ),
        (
            "CRLF in the path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a HTTP/1.1\r\nx: y"),
            ],
            None,
        ),
        (
            "space in the path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a b"),
            ],
            None,
        ),
        (
            "no path",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz"),
            ],
            None,
        ),
        (
            "CRLF in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.kz\r\nx: y"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "user in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "u@a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "method with a space",
            vec![
                (":method", "GET /admin HTTP/1.1\r\nx: y"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "tunnel",
            vec![(":method", "CONNECT"), (":authority", "a.kz:80")],
            None,
        ),
        (
            "trace",
            vec![
                (":method", "TRACE"),
                (":scheme", "http"),
                (":authority", "a.kz"),
                (":path", "/a"),
            ],
            None,
        ),
        (
            "unknown host",
            vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "evil.kz"),
                (":path", "/a"),
            ],
            None,
        ),
    ]
}

#[test]
fn none_of_the_corpus_reaches_the_origin() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (what, fields, body) in corpus() {
        let mut client = Http2::connect(&edge);
        let flags = if body.is_some() {
            END_HEADERS
        } else {
            END_HEADERS | END_STREAM
        };
        client.send(&frame(HEADERS, flags, 1, &block(&fields)));
        if let Some(body) = body {
            client.send(&frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        let end = client.end_of(1);
        assert!(!matches!(&end, End::Answer(200, _)), "{what}: {end:?}");
        assert!(
            !matches!(&end, End::Answer(_, body) if body.contains("reached")),
            "{what}: {end:?}"
        );
    }
    let reached: Vec<_> = origin.asked().into_iter().map(|asked| asked.head).collect();
    assert!(reached.is_empty(), "{reached:?}");
}

#[test]
fn names_with_underscores_do_not_pass() {
    let origin = Origin::start(|_, _| page("200 OK", "", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    client.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&with(&[
            ("x_forwarded_for", "6.6.6.6"),
            ("content_length", "5"),
        ])),
    ));
    assert_eq!(client.end_of(1), End::Answer(200, "ok".into()));
    let head = origin.asked()[0].head.to_lowercase();
    assert!(!head.contains("6.6.6.6"), "{head}");
    let mut names = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    assert!(!names.any(|(name, _)| name.contains('_')), "{head}");
}

type Flood = (&'static str, Box<dyn Fn(u32) -> Vec<u8>>, u32);

/// (what, frames of one round, rounds after which the edge must have hung up)
fn floods() -> Vec<Flood> {
    let request = |round: u32| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * round + 1,
            &block(GET),
        )
    };
    vec![
        (
            "rapid reset",
            Box::new(move |round| {
                let mut frames = request(round);
                frames.extend(frame(RST_STREAM, 0, 2 * round + 1, &[0, 0, 0, 8]));
                frames
            }),
            2000,
        ),
        (
            "window updates of nothing, so that we reset (MadeYouReset)",
            Box::new(move |round| {
                let mut frames = request(round);
                frames.extend(frame(WINDOW_UPDATE, 0, 2 * round + 1, &[0, 0, 0, 0]));
                frames
            }),
            2000,
        ),
        (
            "settings",
            Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
            2000,
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8])), 2000),
        (
            "window updates",
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            20_000,
        ),
        (
            "continuations",
            Box::new(|round| {
                if round == 0 {
                    frame(HEADERS, 0, 1, &block(GET))
                } else {
                    frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")]))
                }
            }),
            2000,
        ),
        (
            "empty data",
            Box::new(|round| {
                if round == 0 {
                    frame(
                        HEADERS,
                        END_HEADERS,
                        1,
                        &block(&[
                            (":method", "POST"),
                            (":scheme", "http"),
                            (":authority", "a.kz"),
                            (":path", "/a"),
                        ]),
                    )
                } else {
                    frame(DATA, 0, 1, &[])
                }
            }),
            2000,
        ),
        (
            "priorities",
            Box::new(|_| frame(2, 0, 1, &[0, 0, 0, 0, 1])),
            20_000,
        ),
    ]
}

#[test]
fn a_connection_that_floods_us_with_frames_is_closed_and_others_are_served() {
    let origin = Origin::start(|_, _| page("200 OK", "Cache-Control: no-store\r\n", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (what, flood, rounds) in floods() {
        let mut client = Http2::connect(&edge);
        let sent = (0..rounds).find(|round| !client.send(&flood(*round)));
        let gone = sent.is_some()
            || std::iter::from_fn(|| client.next())
                .take(100_000)
                .any(|frame| frame.kind == GOAWAY)
            || client.next().is_none();
        assert!(gone, "{what}: still open after {rounds} rounds");
        assert_eq!(
            Client::connect(&edge).get("/b").text(),
            "ok",
            "after {what}"
        );
    }
}

#[test]
fn a_header_list_that_unpacks_too_large_is_refused() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    // One field of 3,000 bytes into the dynamic table, then 1,000 references of one byte each: 3 MB unpacked.
    let mut bomb = block(GET);
    bomb.push(0x40);
    bomb.extend(&block(&[("x-a", &"b".repeat(3000))])[1..]);
    bomb.extend(std::iter::repeat_n(0xbe, 1000));
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    let end = client.end_of(1);
    assert!(!matches!(&end, End::Answer(200, _)), "{end:?}");
    assert!(origin.asked().is_empty());
}

const POST: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a.kz"),
    (":path", "/a"),
];

/// How a connection goes on after its preface: with what, and with what again as long as nothing ends it.
struct Slow {
    what: &'static str,
    settings: Vec<u8>,
    begins: Vec<u8>,
    goes_on: Vec<u8>,
    /// The status of the answer, where there is one.
    ends: fn(&End) -> bool,
}

fn slow_ones() -> Vec<Slow> {
    let pings = frame(PING, 0, 0, &[0; 8]);
    let post = frame(HEADERS, END_HEADERS, 1, &block(POST));
    let no_window = vec![0, 4, 0, 0, 0, 0];
    let too_slow = |end: &End| matches!(end, End::Answer(408, _) | End::Reset);
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET));
    let one = |what, settings: &[u8], begins: &[u8], goes_on, ends| Slow {
        what,
        settings: settings.to_vec(),
        begins: begins.to_vec(),
        goes_on,
        ends,
    };
    let declared = |length| {
        let mut fields = POST.to_vec();
        fields.push(("content-length", length));
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    vec![
        one("a body that never comes", &[], &post, Vec::new(), too_slow),
        one(
            "pings instead of a body",
            &[],
            &post,
            pings.clone(),
            too_slow,
        ),
        one(
            "a byte at a time",
            &[],
            &post,
            frame(DATA, 0, 1, b"x"),
            too_slow,
        ),
        one(
            "a frame a byte at a time",
            &[],
            &[&post[..], &[0, 64, 0, DATA, 0, 0, 0, 0, 1]].concat(),
            b"x".to_vec(),
            too_slow,
        ),
        one(
            "a body that is streamed to the origin",
            &[],
            &declared("2000000"),
            frame(DATA, 0, 1, b"x"),
            too_slow,
        ),
        one(
            "an answer nobody reads",
            &no_window,
            &get,
            Vec::new(),
            too_slow,
        ),
        one(
            "an answer read a byte at a time",
            &no_window,
            &get,
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            too_slow,
        ),
        one(
            "fields that do not end",
            &[],
            &frame(HEADERS, 0, 1, &block(GET)),
            Vec::new(),
            |end| matches!(end, End::GoneAway | End::Closed),
        ),
        one(
            "fields a byte at a time",
            &[],
            &[0, 1, 0, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 1],
            b"\x82".to_vec(),
            |end| matches!(end, End::GoneAway | End::Closed),
        ),
        one("nothing but pings", &[], &[], pings, |end| {
            matches!(end, End::GoneAway | End::Closed)
        }),
    ]
}

#[test]
fn slow_clients_are_cut_off_and_the_origin_is_not_blamed() {
    let origin = Origin::start(|_, _| page("200 OK", "", &"x".repeat(200_000)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    std::thread::scope(|scope| {
        for slow in slow_ones() {
            let edge = &edge;
            scope.spawn(move || {
                let stream = std::net::TcpStream::connect(edge.addresses()[0]).unwrap();
                let mut client = Http2::over(stream, &slow.settings);
                let mut writer = client.stream.try_clone().unwrap();
                client.send(&slow.begins);
                let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
                let dripping = std::thread::spawn(move || {
                    use std::io::Write;
                    let pause = std::time::Duration::from_millis(250);
                    while stopped
                        .recv_timeout(pause)
                        .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
                    {
                        if !slow.goes_on.is_empty() && writer.write_all(&slow.goes_on).is_err() {
                            return;
                        }
                    }
                });
                let end = client.end_of(1);
                assert!((slow.ends)(&end), "{}: {end:?}", slow.what);
                drop(stop);
                dripping.join().unwrap();
            });
        }
    });
    // All but the last, who said nothing wrong. A connection is told that it ends before it is counted.
    let at_fault = slow_ones().len() as u64 - 1;
    until("all who were at fault are counted", || {
        edge.stats().totals.client_faults >= at_fault
    });
    let stats = edge.stats();
    assert_eq!(stats.totals.client_faults, at_fault, "{stats:?}");
    assert_eq!(stats.sites[0].origin, "up");
    assert_eq!(stats.totals.origin_failures, 0);
}

#[test]
fn a_client_that_expects_100_hears_it_before_it_sends() {
    let origin =
        Origin::start(|asked, _| page("200 OK", "", &String::from_utf8_lossy(&asked.body)));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for length in [Some("5"), None] {
        let mut fields = POST.to_vec();
        fields.push(("expect", "100-continue"));
        fields.extend(length.map(|length| ("content-length", length)));
        let mut client = Http2::connect(&edge);
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        let told = std::iter::from_fn(|| client.next())
            .find(|frame| frame.kind == HEADERS)
            .unwrap();
        assert_eq!(status_of(&told.payload), Some(100));
        assert_eq!(told.flags & END_STREAM, 0);
        client.send(&frame(DATA, END_STREAM, 1, b"hello"));
        assert_eq!(client.end_of(1), End::Answer(200, "hello".into()));
    }
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.field("expect").is_none())
    );
}

#[test]
fn a_browser_may_ask_for_a_hundred_things_at_once() {
    assert_eq!(asked_at_once(100), (100, 0));
}

/// Until it has read our settings, a client may open as many streams as it likes. What is refused it asks for again.
#[test]
fn a_client_that_asks_for_more_before_it_knows_our_bound_keeps_its_connection() {
    let (answered, refused) = asked_at_once(200);
    assert!(
        answered >= 100 && refused > 0,
        "{answered} answered, {refused} refused"
    );
}

/// Opens that many streams in one go: (answered in full, refused).
fn asked_at_once(streams: u32) -> (usize, usize) {
    let origin = Origin::start(|asked, _| {
        page(
            "200 OK",
            "Cache-Control: no-store\r\n",
            &asked.line.repeat(2000),
        )
    });
    let edge = Edge::start(plan(origin.address)).unwrap();
    let mut client = Http2::connect(&edge);
    let mut opening = frame(WINDOW_UPDATE, 0, 0, &[0, 0x40, 0, 0]);
    for stream in 0..streams {
        let fields = [GET[0], GET[1], GET[2], (":path", "/many")];
        let flags = END_HEADERS | END_STREAM;
        opening.extend(frame(HEADERS, flags, 2 * stream + 1, &block(&fields)));
    }
    client.send(&opening);
    let (mut answered, mut refused, mut bytes) = (0, 0, 0);
    while answered + refused < streams as usize {
        // The connection stays.
        let frame = client.next().unwrap();
        assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        match frame.kind {
            RST_STREAM => {
                assert_eq!(frame.payload, REFUSED_STREAM, "{frame:?}");
                refused += 1;
            }
            HEADERS | DATA if frame.flags & END_STREAM != 0 => answered += 1,
            _ => {}
        }
        if frame.kind == DATA {
            bytes += frame.payload.len();
        }
    }
    assert_eq!(bytes, answered * 2000 * "GET /many HTTP/1.1".len());
    (answered, refused)
}

#[test]
fn one_address_cannot_open_streams_without_end() {
    let origin = Origin::start(|_, _| page("200 OK", "", "page"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let held = std::iter::repeat_with(|| {
        let mut client = Http2::connect(&edge);
        for stream in 0..100 {
            client.send(&frame(HEADERS, END_HEADERS, 2 * stream + 1, &block(POST)));
        }
        // Answered when all before it has been read.
        client.send(&frame(PING, 0, 0, &[7; 8]));
        let mut refused = false;
        let lives = loop {
            match client.next() {
                Some(frame) if frame.kind == PING => break true,
                Some(frame) => refused |= frame.kind == RST_STREAM,
                None => break false,
            }
        };
        (client, refused || !lives)
    });
    let mut clients = Vec::new();
    for (client, refused) in held {
        clients.push(client);
        if refused {
            break;
        }
    }
    let stats = edge.stats();
    let turned_away = stats.totals.turned_away_streams + stats.totals.turned_away_connections;
    assert!(turned_away > 0, "{stats:?}");
    assert!(
        stats.http2_bytes <= HTTP2_BYTES_PER_ADDRESS_MAX,
        "{stats:?}"
    );
    assert!(clients.len() > 50, "{} connections", clients.len());
    // Another address.
    let stream = kit::connect_from("127.0.0.77".parse().unwrap(), edge.addresses()[0]);
    let mut reader = Http2::over(stream, &[]);
    reader.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)));
    assert_eq!(reader.end_of(1), End::Answer(200, "page".into()));
    drop((clients, reader));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while edge.stats().http2_bytes > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", edge.stats());
        std::thread::yield_now();
    }
}

/// Each of thousands of bots may keep a connection and ask for something now and then.
#[test]
fn quiet_connections_make_room_when_http2_runs_short() {
    let origin = Origin::start(|_, _| page("200 OK", "", "page"));
    let mut plan = plan(origin.address);
    plan.limits.keep_alive_timeout = PATIENCE * 6;
    let edge = Edge::start(plan).unwrap();
    let connect = |last: u8| {
        let from = std::net::Ipv4Addr::new(127, 0, 5, last);
        Http2::over(kit::connect_from(from, edge.addresses()[0]), &[])
    };
    let mut held = Vec::new();
    while edge.stats().http2_bytes < HTTP2_BYTES_MAX / 100 * 85 {
        let mut client = connect(held.len() as u8);
        for stream in 0..100 {
            client.send(&frame(HEADERS, END_HEADERS, 2 * stream + 1, &block(POST)));
        }
        // Answered when all before it has been read.
        client.send(&frame(PING, 0, 0, &[7; 8]));
        while client.next().unwrap().kind != PING {}
        held.push(client);
    }
    let mut quiet = connect(255);
    quiet.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)));
    assert_eq!(quiet.end_of(1), End::Answer(200, "page".into()));
    assert_eq!(quiet.end_of(3), End::GoneAway);
    drop(quiet);
    // Who has something under way is not quiet.
    until("all others are there", || {
        edge.stats().connections == held.len()
    });
}
