//! Conversations with origins of every kind: what the edge asks, what the origin does, what the caller sees.

#![expect(
    clippy::unwrap_used,
    reason = "a conversation ends where it goes wrong"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use saqta_edge::body::{Body, BodyError};
use saqta_edge::origin::health::State;
use saqta_edge::origin::{
    BadResponse, Fault, Origin, OriginError, OriginHealth, Retry, SpliceEnd, SpliceLimits, splice,
};
use saqta_edge::plan::OriginPlan;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Long enough for two cores that build something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// A deadline the tests wait for.
const SHORT: Duration = Duration::from_millis(60);

struct Scene {
    listener: TcpListener,
    origin: Origin,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut OriginPlan)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = origin_at(listener.local_addr().unwrap(), change);
        Self { listener, origin }
    }

    async fn peer(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer {
            stream,
            read: Vec::new(),
        }
    }
}

fn origin_at(address: SocketAddr, change: impl FnOnce(&mut OriginPlan)) -> Origin {
    let mut plan = OriginPlan {
        authority: address.to_string().parse().unwrap(),
        keep_host: true,
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        concurrency_max: 100,
        health_path: None,
    };
    change(&mut plan);
    let health = OriginHealth::new(String::new(), plan.health_path.is_some(), Instant::now());
    Origin::new(plan, Arc::new(health))
}

/// The origin's end of one connection.
struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    /// Everything up to and with `end`.
    async fn hears_until(&mut self, end: &str) -> String {
        let wanted = end.as_bytes();
        loop {
            if let Some(at) = self
                .read
                .windows(wanted.len())
                .position(|window| window == wanted)
            {
                let rest = self.read.split_off(at + wanted.len());
                let heard = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(heard).unwrap();
            }
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(
                read > 0,
                "the edge closed; heard {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    async fn hears_head(&mut self) -> String {
        self.hears_until("\r\n\r\n").await
    }

    async fn says(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Until the edge closes, whatever it still sends.
    async fn hears_end(&mut self) {
        let mut buffer = [0; 4096];
        while self
            .stream
            .read(&mut buffer)
            .await
            .is_ok_and(|read| read > 0)
        {}
    }

    fn resets(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "news.example")
        .body(Body::Empty)
        .unwrap()
}

fn post(body: &'static str) -> Request<Body> {
    Request::post("/form")
        .header("host", "news.example")
        .body(Body::full(body))
        .unwrap()
}

/// A request body the test writes frame by frame; unknown length.
struct Feed(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

fn feed() -> (mpsc::Sender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (sender, receiver) = mpsc::channel(8);
    (sender, Body::stream(Feed(receiver)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

async fn read(response: Response<Body>) -> Result<(String, HeaderMap), BodyError> {
    let mut body = response.into_body();
    let (mut text, mut trailers) = (String::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    Ok((text, trailers))
}

async fn text(response: Result<Response<Body>, OriginError>) -> String {
    read(response.unwrap()).await.unwrap().0
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let scene = Scene::new().await;
    let asked = async {
        for n in 0..5 {
            assert_eq!(
                text(scene.origin.send(get(&format!("/{n}?q=1"))).await).await,
                format!("page {n}")
            );
        }
        assert_eq!(scene.origin.idle_connections(), 1);
    };
    let served = async {
        let mut peer = scene.peer().await;
        for n in 0..5 {
            let head = peer.hears_head().await;
            assert!(
                head.starts_with(&format!("GET /{n}?q=1 HTTP/1.1\r\n")),
                "{head}"
            );
            peer.says(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npage {n}"
            ))
            .await;
        }
        peer
    };
    let ((), _peer) = tokio::join!(asked, served);
    let counts = scene.origin.health().counts();
    assert_eq!(
        (
            counts.connections,
            counts.connections_reused,
            counts.answered
        ),
        (1, 4, 5)
    );
}

#[tokio::test]
async fn answers_without_content_leave_the_connection_usable() {
    let answers = [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        ),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let scene = Scene::new().await;
    let asked = async {
        for (method, _) in &answers {
            let mut request = get("/");
            *request.method_mut() = method.clone();
            assert_eq!(text(scene.origin.send(request).await).await, "");
        }
    };
    let served = async {
        let mut peer = scene.peer().await;
        for (method, answer) in &answers {
            assert!(peer.hears_head().await.starts_with(method.as_str()));
            peer.says(answer).await;
        }
    };
    tokio::join!(asked, served);
    assert_eq!(scene.origin.health().counts().connections, 1);
}

#[tokio::test]
async fn connections_are_not_kept_when_the_origin_says_so_or_speaks_http_1_0() {
    let answers = [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ];
    let scene = Scene::new().await;
    for answer in answers {
        let asked = async { text(scene.origin.send(get("/")).await).await };
        let served = async {
            let mut peer = scene.peer().await;
            peer.hears_head().await;
            peer.says(answer).await;
            peer.hears_end().await;
        };
        tokio::join!(asked, served);
    }
    assert_eq!(scene.origin.health().counts().connections, 3);
}

#[tokio::test]
async fn a_pooled_connection_found_dead_costs_nobody_anything() {
    // Not even a POST: it is sent whole on a new connection.
    let scene = Scene::new().await;
    let asked = async {
        assert_eq!(text(scene.origin.send(get("/")).await).await, "ok");
        assert_eq!(text(scene.origin.send(post("a=1")).await).await, "posted");
    };
    let served = async {
        let mut first = scene.peer().await;
        first.hears_head().await;
        first
            .says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        drop(first);
        let mut second = scene.peer().await;
        let request = second.hears_until("a=1").await;
        assert!(
            request.starts_with("POST /form HTTP/1.1\r\n")
                && request.contains("content-length: 3\r\n"),
            "{request}"
        );
        second
            .says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nposted")
            .await;
    };
    tokio::join!(asked, served);
    let counts = scene.origin.health().counts();
    assert_eq!(
        (counts.connections, counts.retries, counts.silent),
        (2, 0, 0)
    );
}

/// The first connection is used once and kept; then the origin takes a request and closes without a word.
async fn after_a_silent_close(
    request: Request<Body>,
    again: Option<&str>,
) -> Result<String, OriginError> {
    let scene = Scene::new().await;
    let asked = async {
        text(scene.origin.send(get("/warm")).await).await;
        match scene.origin.send(request).await {
            Ok(response) => Ok(read(response).await.unwrap().0),
            Err(error) => Err(error),
        }
    };
    let served = async {
        let mut first = scene.peer().await;
        first.hears_head().await;
        first
            .says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        first.hears_head().await;
        drop(first);
        if let Some(answer) = again {
            let mut second = scene.peer().await;
            second.hears_head().await;
            second.says(answer).await;
        }
    };
    let (result, ()) = tokio::join!(asked, served);
    assert_eq!(
        scene.origin.health().counts().connections,
        1 + again.iter().count() as u64
    );
    result
}

#[tokio::test]
async fn a_safe_request_is_sent_once_more_when_the_origin_closed_without_a_word() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain";
    assert_eq!(
        after_a_silent_close(get("/"), Some(answer)).await.unwrap(),
        "again"
    );
}

#[tokio::test]
async fn a_post_is_not_sent_again_once_a_byte_was_written() {
    for request in [
        post("a=1"),
        Request::delete("/1").body(Body::Empty).unwrap(),
    ] {
        let error = after_a_silent_close(request, None).await.unwrap_err();
        assert!(
            matches!(error, OriginError::ClosedBeforeResponse),
            "{error}"
        );
        assert_eq!(
            (error.fault(), error.retry()),
            (Fault::Origin, Retry::SafeMethod)
        );
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn a_request_is_retried_once_and_not_after_the_first_byte_of_an_answer() {
    // What the origin says on each connection before it closes, and how many connections it sees.
    let tables: [(&[&str], u64); 3] = [
        (&["", ""], 2),
        (&["HTTP/1.1 200 OK\r\nContent-"], 1),
        (&["HTTP/1.1 100 Continue\r\n\r\n"], 1),
    ];
    for (sayings, connections) in tables {
        let scene = Scene::new().await;
        let asked = async { scene.origin.send(get("/")).await.map(drop).unwrap_err() };
        let served = async {
            for saying in sayings {
                let mut peer = scene.peer().await;
                peer.hears_head().await;
                peer.says(saying).await;
            }
        };
        let (error, ()) = tokio::join!(asked, served);
        assert!(
            matches!(error, OriginError::ClosedBeforeResponse),
            "{sayings:?}: {error}"
        );
        assert_eq!(
            scene.origin.health().counts().connections,
            connections,
            "{sayings:?}"
        );
    }
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_left_in_time_and_not_asked_twice() {
    let scene = Scene::with(|plan| plan.response_timeout = SHORT).await;
    let asked = async { scene.origin.send(get("/slow")).await.map(drop).unwrap_err() };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer.says("HTTP/1.1 200 OK\r\nX-Slow: ").await;
        peer.hears_end().await;
    };
    let (error, ()) = tokio::join!(asked, served);
    assert!(matches!(error, OriginError::ResponseTimedOut), "{error}");
    assert_eq!(
        (error.retry(), error.status()),
        (Retry::Never, StatusCode::GATEWAY_TIMEOUT)
    );
    assert_eq!(
        (
            scene.origin.health().counts().connections,
            scene.origin.health().waiting()
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn a_client_who_leaves_closes_the_origins_connection() {
    let scene = Scene::new().await;
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer
    };
    let mut peer = tokio::select! {
        _ = scene.origin.send(get("/")) => unreachable!("nobody answered"),
        peer = served => peer,
    };
    peer.hears_end().await;
    assert_eq!(scene.origin.health().waiting(), 0);
}

#[tokio::test]
async fn bodies_end_as_the_origin_framed_them_or_break() {
    let head = "HTTP/1.1 200 OK\r\n";
    let table: [(&str, Option<&str>); 11] = [
        ("Content-Length: 4\r\n\r\nfull", Some("full")),
        ("Content-Length: 4, 4\r\n\r\nfull", Some("full")),
        ("Content-Length: 9\r\n\r\nfull", None),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n",
            Some("full"),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n4\r\nfull\r\n0\r\n\r\n",
            Some("full"),
        ),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n", None),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nfu", None),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nfull\r\nzz\r\n",
            None,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
            None,
        ),
        (
            "Connection: close\r\n\r\nuntil the end",
            Some("until the end"),
        ),
        ("\r\nuntil the end", Some("until the end")),
    ];
    for (answer, expected) in table {
        let scene = Scene::new().await;
        let asked = async { read(scene.origin.send(get("/")).await.unwrap()).await };
        let served = async {
            let mut peer = scene.peer().await;
            peer.hears_head().await;
            peer.says(&format!("{head}{answer}")).await;
        };
        let (got, ()) = tokio::join!(asked, served);
        match expected {
            Some(text) => assert_eq!(got.unwrap().0, text, "{answer:?}"),
            None => assert!(
                matches!(got, Err(BodyError::OriginBrokeOff)),
                "{answer:?}: {got:?}"
            ),
        }
        let broken = u64::from(expected.is_none());
        assert_eq!(
            scene.origin.health().counts().bodies_broken,
            broken,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_falls_silent_breaks() {
    let scene = Scene::with(|plan| plan.idle_timeout = SHORT).await;
    let asked = async { read(scene.origin.send(get("/")).await.unwrap()).await };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer.says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        peer.hears_end().await;
    };
    let (got, ()) = tokio::join!(asked, served);
    assert!(matches!(got, Err(BodyError::OriginBrokeOff)), "{got:?}");
}

#[tokio::test]
async fn an_event_stream_passes_event_by_event() {
    let scene = Scene::new().await;
    let (seen, mut see) = mpsc::channel::<()>(1);
    let asked = async {
        let response = scene.origin.send(get("/live")).await.unwrap();
        let mut body = response.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event.as_bytes());
            seen.send(()).await.unwrap();
        }
        assert!(body.frame().await.is_none());
    };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer.says("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .await;
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            peer.says(event).await;
            // The next is not written before this one has arrived.
            see.recv().await.unwrap();
        }
    };
    tokio::join!(asked, served);
}

#[tokio::test]
async fn heads_are_bounded_and_only_certain_framing_passes() {
    let many_fields: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long_field = format!("X-Long: {}\r\n", "y".repeat(80_000));
    let early_hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".repeat(6_000);
    let table: [(String, Option<BadResponse>); 12] = [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
                .into(),
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nX-Spaced : c\r\n\r\n".into(),
            None,
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{many_fields}\r\n"),
            Some(BadResponse::HeadTooLarge),
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{long_field}\r\n"),
            Some(BadResponse::HeadTooLarge),
        ),
        (early_hints, Some(BadResponse::Flood)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".into(),
            Some(BadResponse::TransferCoding),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(),
            Some(BadResponse::TransferCoding),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".into(),
            Some(BadResponse::Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".into(),
            Some(BadResponse::Malformed),
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            Some(BadResponse::Malformed),
        ),
        (
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(),
            Some(BadResponse::Malformed),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".into(),
            Some(BadResponse::UnaskedSwitch),
        ),
    ];
    for (answer, expected) in table {
        let shown = &answer[..answer.len().min(80)];
        let scene = Scene::new().await;
        let asked = async {
            let response = scene.origin.send(get("/")).await?;
            let folded = response
                .headers()
                .get("x-folded")
                .map(|value| value.to_str().unwrap().to_owned());
            assert!(folded.is_none_or(|value| value.starts_with('a') && value.ends_with('b')));
            Ok(response.status())
        };
        let served = async {
            let mut peer = scene.peer().await;
            peer.hears_head().await;
            // The edge may have closed before it has heard everything.
            drop(peer.stream.write_all(answer.as_bytes()).await);
            drop(peer.stream.shutdown().await);
            peer.hears_end().await;
        };
        let (got, ()) = tokio::join!(asked, served);
        match (got, expected) {
            (Ok(status), None) => assert_eq!(status, StatusCode::OK, "{shown:?}"),
            (Err(OriginError::BadResponse(bad)), Some(expected)) => {
                assert_eq!(bad, expected, "{shown:?}")
            }
            (got, expected) => panic!("{shown:?}: {got:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn the_edge_states_the_length_of_what_it_sends_exactly_once() {
    // Method, content, whether its length is known, the length the client stated, then what the origin must read.
    let table = [
        (Method::GET, "", true, Some("5"), None, ""),
        (
            Method::GET,
            "abc",
            true,
            None,
            Some("content-length: 3"),
            "abc",
        ),
        (
            Method::POST,
            "",
            true,
            Some("7"),
            Some("content-length: 0"),
            "",
        ),
        (
            Method::POST,
            "abc",
            true,
            Some("9"),
            Some("content-length: 3"),
            "abc",
        ),
        (
            Method::POST,
            "abc",
            false,
            Some("9"),
            Some("transfer-encoding: chunked"),
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            Method::GET,
            "abc",
            false,
            None,
            Some("transfer-encoding: chunked"),
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (Method::DELETE, "", true, None, None, ""),
    ];
    for (method, content, known, stated, framing, sent) in table {
        let scene = Scene::new().await;
        let asked = async {
            let (sender, stream) = feed();
            sender.send(data(content)).await.unwrap();
            drop(sender);
            let body = if known { Body::full(content) } else { stream };
            let mut request = Request::builder()
                .method(method.clone())
                .uri("https://reader.example/a?b")
                .body(body)
                .unwrap();
            if let Some(stated) = stated {
                request
                    .headers_mut()
                    .insert("content-length", stated.parse().unwrap());
            }
            text(scene.origin.send(request).await).await
        };
        let served = async {
            let mut peer = scene.peer().await;
            let head = peer.hears_head().await;
            if !sent.is_empty() {
                peer.hears_until(sent).await;
            }
            peer.says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .await;
            drop(peer.stream.shutdown().await);
            peer.hears_end().await;
            assert!(peer.read.is_empty());
            head
        };
        let (_, head) = tokio::join!(asked, served);
        let lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines[0], format!("{method} /a?b HTTP/1.1"));
        let host = format!("host: {}", scene.listener.local_addr().unwrap());
        assert!(lines.contains(&host.as_str()), "{head}");
        let framings: Vec<&str> = lines
            .into_iter()
            .filter(|line| {
                line.starts_with("content-length") || line.starts_with("transfer-encoding")
            })
            .collect();
        assert_eq!(
            framings,
            framing.into_iter().collect::<Vec<_>>(),
            "{method} {content:?} {known}"
        );
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_without_those_that_would_decide_anything() {
    let scene = Scene::new().await;
    let (sender, body) = feed();
    let asked = async {
        let request = Request::post("/upload")
            .header("host", "news.example")
            .header("trailer", "digest, x-forwarded-for, content-length")
            .body(body)
            .unwrap();
        sender.send(data("abc")).await.unwrap();
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("digest", "d1"),
            ("x-forwarded-for", "203.0.113.1"),
            ("content-length", "9"),
        ] {
            trailers.insert(name, value.parse().unwrap());
        }
        sender.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(sender);
        let (content, trailers) = read(scene.origin.send(request).await.unwrap())
            .await
            .unwrap();
        assert_eq!(content, "stored");
        assert_eq!(trailers.get("server-timing").unwrap(), "db;dur=5");
        assert_eq!(trailers.len(), 1);
    };
    let served = async {
        let mut peer = scene.peer().await;
        assert!(peer.hears_head().await.contains("\r\ntrailer: digest"));
        assert_eq!(peer.hears_until("0\r\n").await, "3\r\nabc\r\n0\r\n");
        assert_eq!(peer.hears_until("\r\n\r\n").await, "digest: d1\r\n\r\n");
        peer.says(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing\r\n\r\n",
        )
        .await;
        peer.says("6\r\nstored\r\n0\r\nServer-Timing: db;dur=5\r\nSet-Cookie: a=b\r\n\r\n")
            .await;
        peer
    };
    let ((), _peer) = tokio::join!(asked, served);
    assert_eq!(scene.origin.idle_connections(), 1);
}

#[tokio::test]
async fn an_upload_arrives_as_it_is_written() {
    let scene = Scene::new().await;
    let (sender, body) = feed();
    let (heard, mut hear) = mpsc::channel::<()>(1);
    let asked = async {
        let request = Request::post("/upload")
            .header("host", "news.example")
            .body(body)
            .unwrap();
        text(scene.origin.send(request).await).await
    };
    let client = async move {
        for part in ["one", "two"] {
            sender.send(data(part)).await.unwrap();
            // The next part is not written before this one has reached the origin.
            hear.recv().await.unwrap();
        }
    };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        for part in ["3\r\none\r\n", "3\r\ntwo\r\n"] {
            peer.hears_until(part).await;
            heard.send(()).await.unwrap();
        }
        peer.hears_until("0\r\n\r\n").await;
        peer.says("HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone")
            .await;
    };
    let (got, (), ()) = tokio::join!(asked, client, served);
    assert_eq!(got, "done");
}

#[tokio::test]
async fn an_answer_before_the_request_is_complete_arrives_and_the_connection_is_not_kept() {
    // The origin refuses an upload: by closing politely, by closing with unread bytes (a reset), by keeping open.
    for way in ["close", "reset", "keep"] {
        let scene = Scene::new().await;
        let (sender, body) = feed();
        let asked = async {
            let request = Request::post("/upload")
                .header("host", "news.example")
                .body(body)
                .unwrap();
            let response = scene.origin.send(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{way}");
            assert_eq!(read(response).await.unwrap().0, "too large", "{way}");
        };
        let client = async {
            // Until the edge no longer takes any; far beyond what buffers hold.
            for _ in 0..10_000 {
                let chunk = Bytes::from(vec![b'x'; 16 * 1024]);
                if sender.send(Ok(Frame::data(chunk))).await.is_err() {
                    return;
                }
            }
        };
        let served = async {
            let mut peer = scene.peer().await;
            peer.hears_head().await;
            peer.says("HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
                .await;
            match way {
                "close" => drop(peer.stream.shutdown().await),
                "reset" => return,
                _ => {}
            }
            peer.hears_end().await;
        };
        tokio::join!(asked, client, served);
        assert_eq!(scene.origin.idle_connections(), 0, "{way}");
    }
}

#[tokio::test]
async fn uploads_that_stall_or_break_are_named_for_whom_they_wait() {
    // A client that breaks off: its fault, and no word against the origin.
    let scene = Scene::new().await;
    let (sender, body) = feed();
    let asked = async {
        let request = Request::post("/")
            .header("host", "news.example")
            .body(body)
            .unwrap();
        scene.origin.send(request).await.map(drop).unwrap_err()
    };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        sender.send(data("abc")).await.unwrap();
        peer.hears_until("abc").await;
        sender.send(Err(BodyError::ClientBrokeOff)).await.unwrap();
        peer.hears_end().await;
    };
    let (error, ()) = tokio::join!(asked, served);
    assert!(
        matches!(error, OriginError::RequestBody(BodyError::ClientBrokeOff)),
        "{error}"
    );
    assert_eq!(
        (error.fault(), scene.origin.health().counts().silent),
        (Fault::Client, 0)
    );

    // An origin that stops reading.
    let scene = Scene::with(|plan| plan.idle_timeout = SHORT).await;
    let (sender, body) = feed();
    let asked = async {
        let request = Request::post("/")
            .header("host", "news.example")
            .body(body)
            .unwrap();
        scene.origin.send(request).await.map(drop).unwrap_err()
    };
    let client = async {
        while sender
            .send(Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))))
            .await
            .is_ok()
        {}
    };
    let (error, (), peer) = tokio::join!(asked, client, scene.peer());
    assert!(matches!(error, OriginError::RequestNotTaken), "{error}");
    drop(peer);
}

#[tokio::test]
async fn a_websocket_is_spliced_byte_for_byte() {
    let scene = Scene::new().await;
    let (mut reader, edge) = tokio::io::duplex(64);
    let asked = async {
        let mut request = get("/socket");
        request
            .headers_mut()
            .insert("connection", "upgrade".parse().unwrap());
        request
            .headers_mut()
            .insert("upgrade", "websocket".parse().unwrap());
        let response = scene.origin.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        splice(
            edge,
            TokioIo::new(upgraded),
            SpliceLimits {
                idle_timeout: PATIENCE,
            },
        )
        .await
    };
    let client = async {
        let mut first = [0; 5];
        reader.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"hello");
        reader.write_all(&[7; 1000]).await.unwrap();
        let mut echo = vec![0; 1000];
        reader.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [8; 1000]);
        reader.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut first).await.unwrap(), 0);
    };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        // The protocol's first bytes may come with the head.
        peer.says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello").await;
        let mut message = vec![0; 1000];
        peer.stream.read_exact(&mut message).await.unwrap();
        assert_eq!(message, [7; 1000]);
        peer.stream.write_all(&[8; 1000]).await.unwrap();
        peer.hears_end().await;
    };
    let (spliced, (), ()) = tokio::join!(asked, client, served);
    assert_eq!(
        (spliced.to_origin_bytes, spliced.to_client_bytes),
        (1000, 1005)
    );
    assert_eq!(spliced.end, SpliceEnd::ClientClosed);
    assert_eq!(scene.origin.idle_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_splice_ends_when_nobody_speaks() {
    let limits = SpliceLimits {
        idle_timeout: Duration::from_secs(60),
    };
    let (client, edge_client) = tokio::io::duplex(64);
    let (mut server, edge_server) = tokio::io::duplex(64);
    let started = Instant::now();
    let talk = async {
        tokio::time::advance(Duration::from_secs(50)).await;
        server.write_all(b"ping").await.unwrap();
    };
    let (spliced, ()) = tokio::join!(splice(edge_client, edge_server, limits), talk);
    assert_eq!((spliced.end, spliced.to_client_bytes), (SpliceEnd::Idle, 4));
    assert_eq!(started.elapsed().as_secs(), 110);
    drop(client);

    // One side ended and the other keeps silent: ten seconds more.
    let (client, edge_client) = tokio::io::duplex(64);
    let (server, edge_server) = tokio::io::duplex(64);
    drop(server);
    let started = Instant::now();
    let spliced = splice(edge_client, edge_server, limits).await;
    assert_eq!(
        (spliced.end, started.elapsed().as_secs()),
        (SpliceEnd::OriginClosed, 10)
    );
    drop(client);
}

#[tokio::test]
async fn an_idle_connection_grows_too_old_first_for_posts_and_then_for_all() {
    let scene = Scene::new().await;
    let served = async {
        loop {
            let mut peer = scene.peer().await;
            tokio::task::spawn(async move {
                loop {
                    if !peer.hears_head().await.starts_with("GET") {
                        peer.hears_until("a=1").await;
                    }
                    peer.says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
            });
        }
    };
    // Seconds idle, what is asked, connections made since the start.
    let table = [
        (0, "GET", 1),
        (3, "POST", 1),
        (5, "GET", 1),
        (5, "POST", 2),
        (61, "GET", 3),
    ];
    let asked = async {
        for (idle_secs, method, connections) in table {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(idle_secs)).await;
            tokio::time::resume();
            let request = if method == "GET" {
                get("/")
            } else {
                post("a=1")
            };
            text(scene.origin.send(request).await).await;
            assert_eq!(
                scene.origin.health().counts().connections,
                connections,
                "{idle_secs} {method}"
            );
        }
    };
    tokio::select! { () = asked => {}, () = served => {} }
}

#[tokio::test]
async fn no_more_than_64_connections_lie_idle() {
    let scene = Scene::new().await;
    let asked = async {
        let mut all = Vec::new();
        for _ in 0..80 {
            all.push(scene.origin.send(get("/")));
        }
        // All at once, so that none can use another's connection.
        for sent in join_all(all).await {
            text(sent).await;
        }
    };
    let served = async {
        let mut peers = Vec::new();
        for _ in 0..80 {
            let mut peer = scene.peer().await;
            peer.hears_head().await;
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
        peers
    };
    let ((), peers) = tokio::join!(asked, served);
    assert_eq!(scene.origin.idle_connections(), 64);
    assert_eq!(scene.origin.health().counts().connections_retired, 16);
    drop(peers);
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(got) => *output = Some(got),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

#[tokio::test]
async fn names_are_resolved_and_unknown_ones_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let origin = origin_at(listener.local_addr().unwrap(), |plan| {
        plan.authority = format!("localhost:{port}").parse().unwrap();
    });
    let scene = Scene { listener, origin };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer.says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    };
    let (got, ()) = tokio::join!(
        async { text(scene.origin.send(get("/")).await).await },
        served
    );
    assert_eq!(got, "ok");

    // RFC 6761 §6.4: `.invalid` has no addresses anywhere.
    let lost = origin_at(([127, 0, 0, 1], 9).into(), |plan| {
        plan.authority = "nowhere.invalid:80".parse().unwrap()
    });
    let error = lost.send(get("/")).await.map(drop).unwrap_err();
    assert!(matches!(error, OriginError::Resolve), "{error}");
    assert_eq!(error.retry(), Retry::Any);
}

/// A dead origin, a watch over it, and its return; with a health path and without.
#[tokio::test]
async fn the_breaker_opens_for_a_dead_origin_and_closes_within_two_seconds_of_its_return() {
    for health_path in [Some("/health".to_owned()), None] {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let origin = origin_at(address, |plan| plan.health_path = health_path.clone())
            .probing_as(HeaderValue::from_static("a.kz"));
        let health = origin.health().clone();
        let story = async {
            for _ in 0..3 {
                let error = origin.send(get("/")).await.map(drop).unwrap_err();
                assert!(matches!(error, OriginError::Connect(_)), "{error}");
            }
            assert_eq!(health.state(), State::Open);
            let error = origin.send(get("/")).await.map(drop).unwrap_err();
            assert!(matches!(error, OriginError::BreakerOpen), "{error}");
            assert_eq!(
                (error.retry(), error.status()),
                (Retry::Any, StatusCode::SERVICE_UNAVAILABLE)
            );

            let listener = TcpListener::bind(address).await.unwrap();
            let back_at = Instant::now();
            let server = tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let mut peer = Peer {
                        stream,
                        read: Vec::new(),
                    };
                    tokio::spawn(async move {
                        let mut bytes = [0; 1024];
                        let Ok(read @ 1..) = peer.stream.read(&mut bytes).await else {
                            return;
                        };
                        let asked = String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase();
                        // A server of many names, which has nothing to say under its own.
                        let status = if asked.starts_with("get /health")
                            && !asked.contains("host: a.kz\r\n")
                        {
                            "500 Internal Server Error"
                        } else {
                            "200 OK"
                        };
                        peer.says(&format!(
                            "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
                        ))
                        .await;
                    });
                }
            });
            health
                .changes()
                .wait_for(|state| *state != State::Open)
                .await
                .unwrap();
            assert!(
                back_at.elapsed() <= Duration::from_secs(2),
                "{:?}",
                back_at.elapsed()
            );
            assert_eq!(text(origin.send(get("/")).await).await, "ok");
            assert_eq!(health.state(), State::Closed);
            server.abort();
        };
        tokio::select! { () = story => {}, () = origin.watch() => {} }
        let counts = health.counts();
        assert_eq!((counts.opened, counts.unreachable), (1, 3));
        assert!(counts.probes >= 1);
    }
}

#[tokio::test]
async fn a_response_survives_an_origin_that_resets_after_it() {
    let scene = Scene::new().await;
    let asked = async { text(scene.origin.send(get("/")).await).await };
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_head().await;
        peer.says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        peer
    };
    let (got, peer) = tokio::join!(asked, served);
    assert_eq!(got, "ok");
    peer.resets();
    // The reset lies in the kernel; the next request must not be sent into it.
    let served = async {
        let mut peer = scene.peer().await;
        peer.hears_until("a=1").await;
        peer.says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    };
    let (got, ()) = tokio::join!(
        async { text(scene.origin.send(post("a=1")).await).await },
        served
    );
    assert_eq!(got, "ok");
}
