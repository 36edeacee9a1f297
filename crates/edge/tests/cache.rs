//! Conversations with the cache: at this second the client says, the origin says, the client sees.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use saqta_edge::body::BodyError;
use saqta_edge::cache::fetch::{Fetch, Reception};
use saqta_edge::cache::flight::{Arrival, FetchFault, FlightBody};
use saqta_edge::cache::freshness::{Asked, Times, is_origin_failure};
use saqta_edge::cache::key::Scheme;
use saqta_edge::cache::status::CacheStatus;
use saqta_edge::cache::stored::Stored;
use saqta_edge::cache::{Author, Cache, Join, Lookup, RequestDirectives};
use saqta_edge::clock::UnixMillis;

const START: u64 = 1_750_000_000;
const MIB: u64 = 1024 * 1024;

/// `origin`: what it answers, `-` when it must not be asked, `dead` when it cannot be reached. `sees`: status, body, how.
struct Step {
    at: u64,
    client: &'static str,
    origin: &'static str,
    sees: &'static str,
    /// Response fields; an empty value means absent.
    with: &'static [(&'static str, &'static str)],
    /// Request fields at the origin.
    origin_hears: &'static [(&'static str, &'static str)],
}

const STEP: Step = Step {
    at: 0,
    client: "",
    origin: "-",
    sees: "",
    with: &[],
    origin_hears: &[],
};

struct Client {
    cache: Arc<Cache>,
    now: UnixMillis,
    directives: RequestDirectives,
}

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    how: &'static str,
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let value = match value.trim().strip_prefix('@') {
            Some(offset) => date(offset.parse().unwrap()),
            None => value.trim().to_owned(),
        };
        map.append(
            HeaderName::from_bytes(name.trim().as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    map
}

fn date(offset: i64) -> String {
    let secs = START.checked_add_signed(offset).unwrap();
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs))
}

impl Client {
    fn new() -> Self {
        Self {
            cache: Cache::new(1, 64 * MIB).unwrap(),
            now: UnixMillis::from_secs(START),
            directives: RequestDirectives::Ignore,
        }
    }

    fn answered(
        &self,
        stored: &Arc<Stored>,
        method: &Method,
        request: &HeaderMap,
        how: &'static str,
    ) -> Seen {
        let shape = self.cache.shape(stored, method, request);
        let answer = stored.answer(&shape, method, self.now, &CacheStatus::hit(0));
        Seen {
            status: answer.status,
            headers: answer.headers,
            body: answer.body.concat(),
            how,
        }
    }

    /// Plays the origin to a fetch; false when it could not be reached.
    async fn play(
        &self,
        fetch: Fetch,
        request: &HeaderMap,
        origin: &str,
    ) -> (HeaderMap, &'static str) {
        assert_ne!(origin, "-", "the origin was asked");
        let mut asked = request.clone();
        let mut validated = "fetched";
        if let Some(stale) = fetch.stale() {
            for (name, value) in &stale.validation_fields() {
                asked.insert(name, value.clone());
            }
        }
        if origin == "dead" {
            fetch.fail(FetchFault::Unreachable);
            return (asked, "dead");
        }
        let (status, headers, body) = response(origin);
        let length = headers
            .get("content-length")
            .map_or(Some(body.len() as u64), |value| {
                value.to_str().unwrap().parse().ok()
            });
        let asked_of = Asked {
            method: &Method::GET,
            headers: &asked,
            no_store: false,
        };
        match fetch.head(
            &asked_of,
            status,
            headers,
            length,
            Times {
                request: self.now,
                response: self.now,
            },
        ) {
            Reception::Freshened(_) => validated = "validated",
            Reception::Body(mut receiving) => {
                for chunk in body.as_bytes().chunks(3) {
                    receiving
                        .chunk(Bytes::copy_from_slice(chunk))
                        .await
                        .unwrap();
                }
                receiving.done();
            }
        }
        (asked, validated)
    }

    async fn ask(&self, client: &str, origin: &str) -> (Seen, HeaderMap) {
        let mut lines = client.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let request = fields(lines);
        let key = self
            .cache
            .key(0, Scheme::Http, b"kaztag.kz", target.as_bytes());
        if method != Method::GET && method != Method::HEAD {
            let (status, headers, body) = response(origin);
            self.cache
                .invalidate_after(&key, &method, status, &headers, Author::Stranger);
            return (
                Seen {
                    status,
                    headers,
                    body: body.into(),
                    how: "passed",
                },
                request,
            );
        }
        let (join, stale) = match self.cache.lookup(&key, &request, self.directives, self.now) {
            Lookup::Fresh(stored) => {
                assert_eq!(origin, "-", "the origin was not asked");
                return (self.answered(&stored, &method, &request, "hit"), request);
            }
            Lookup::NotCached => {
                let seen = Seen {
                    status: StatusCode::GATEWAY_TIMEOUT,
                    headers: HeaderMap::new(),
                    body: Vec::new(),
                    how: "not cached",
                };
                return (seen, request);
            }
            Lookup::Stale(stale) if stale.only_if_cached => {
                assert_eq!(origin, "-", "the origin was not asked");
                let seen = self.answered(&stale.stored, &method, &request, "stale");
                return (seen, request);
            }
            Lookup::Stale(stale) if stale.while_revalidating => {
                let seen = self.answered(&stale.stored, &method, &request, "stale");
                let fetch = self
                    .cache
                    .revalidate(&key, stale.flight, stale.stored)
                    .unwrap();
                let (asked, _) = self.play(fetch, &request, origin).await;
                return (seen, asked);
            }
            Lookup::Stale(stale) => (
                self.cache.join(
                    &key,
                    stale.flight,
                    Some(Arc::clone(&stale.stored)),
                    &request,
                    self.now,
                ),
                stale.on_error.then_some(stale.stored),
            ),
            Lookup::Miss(miss) => (
                self.cache.join(&key, miss.flight, None, &request, self.now),
                None,
            ),
            Lookup::HitForMiss(_) | Lookup::Bypass(_) => {
                let (fetch, reader) = self.cache.alone(&key, None);
                (Join::Lead(fetch, reader), None)
            }
        };
        let Join::Lead(fetch, reader) = join else {
            panic!("somebody else fetches")
        };
        let (asked, how) = self.play(fetch, &request, origin).await;
        let arrival = if stale.is_some() {
            reader.whole(&request).await
        } else {
            reader.arrival(&request).await
        };
        let seen = match arrival {
            Arrival::Stored(stored) | Arrival::Freshened(stored) => {
                self.answered(&stored, &method, &request, how)
            }
            Arrival::Streaming(streaming)
                if stale.is_some() && is_origin_failure(streaming.status) =>
            {
                self.answered(stale.as_ref().unwrap(), &method, &request, "stale on error")
            }
            Arrival::Streaming(streaming) => {
                let body = match all(streaming.body).await {
                    Ok(body) => body,
                    Err(_) => b"broken off".to_vec(),
                };
                Seen {
                    status: streaming.status,
                    headers: streaming.headers,
                    body,
                    how,
                }
            }
            Arrival::Failed(_) if stale.is_some() => {
                self.answered(stale.as_ref().unwrap(), &method, &request, "stale on error")
            }
            Arrival::Failed(_) => Seen {
                status: StatusCode::BAD_GATEWAY,
                headers: HeaderMap::new(),
                body: Vec::new(),
                how,
            },
            Arrival::Alone(why) => panic!("a leader told to go alone: {why:?}"),
        };
        (seen, asked)
    }
}

async fn all(mut body: FlightBody) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(bytes)
}

/// `200 body`, then fields.
fn response(text: &str) -> (StatusCode, HeaderMap, String) {
    let mut lines = text.lines();
    let (status, body) = lines.next().unwrap().split_once(' ').unwrap();
    (status.parse().unwrap(), fields(lines), body.to_owned())
}

async fn converse(directives: RequestDirectives, steps: &[Step]) {
    let mut client = Client {
        directives,
        ..Client::new()
    };
    for (number, step) in steps.iter().enumerate() {
        client.now = UnixMillis(START * 1000 + step.at * 1000);
        let (seen, asked) = client.ask(step.client, step.origin).await;
        let text = format!(
            "{} {} {}",
            seen.status.as_u16(),
            String::from_utf8_lossy(&seen.body),
            seen.how
        );
        assert_eq!(
            text.replace("  ", " "),
            step.sees,
            "step {number}: {}",
            step.client
        );
        for (map, expected, whose) in [
            (&seen.headers, step.with, "response"),
            (&asked, step.origin_hears, "request"),
        ] {
            for (name, value) in expected {
                let lines: Vec<_> = map
                    .get_all(*name)
                    .iter()
                    .map(|value| value.to_str().unwrap())
                    .collect();
                assert_eq!(
                    lines.join(", "),
                    *value,
                    "step {number}: {whose} field {name}"
                );
            }
        }
    }
}

/// Braces keep the tables as they are written.
macro_rules! conversation {
    ($(#[$doc:meta])* $name:ident, $directives:ident, [$($step:expr),* $(,)?]) => {
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            converse(RequestDirectives::$directives, &[$($step),*]).await;
        }
    };
}

conversation! {a_page_is_fetched_once, Ignore, [
    Step { client: "GET /a", origin: "200 hello\nCache-Control: max-age=60\nX-A: 1", sees: "200 hello fetched",
        with: &[("x-a", "1")], ..STEP },
    Step { at: 30, client: "GET /a", sees: "200 hello hit",
        with: &[("age", "30"), ("x-a", "1"), ("content-length", "5"), ("date", "Sun, 15 Jun 2025 15:06:40 GMT")],
        ..STEP },
    Step { at: 59, client: "HEAD /a", sees: "200 hit", with: &[("content-length", "5"), ("age", "59")], ..STEP },
    Step { at: 59, client: "GET /a?b", origin: "200 other\nCache-Control: max-age=60", sees: "200 other fetched", ..STEP },
    Step { at: 60, client: "GET /a", origin: "200 newer\nCache-Control: max-age=60", sees: "200 newer fetched", ..STEP },
    Step { at: 61, client: "GET /a", sees: "200 newer hit", with: &[("x-a", "")], ..STEP },
]}

conversation! {a_stranger_cannot_force_a_fetch, Ignore, [
    Step { client: "GET /a", origin: "200 hello\nCache-Control: max-age=60", sees: "200 hello fetched", ..STEP },
    Step { client: "GET /a\nCache-Control: no-cache, no-store, max-age=0, min-fresh=9999\nPragma: no-cache",
        sees: "200 hello hit", ..STEP },
]}

conversation! {whoever_wants_nothing_but_a_copy_spares_the_origin, Ignore, [
    Step { client: "GET /a\nCache-Control: only-if-cached", sees: "504 not cached", ..STEP },
    Step { client: "GET /a", origin: "200 one\nCache-Control: max-age=60", sees: "200 one fetched", ..STEP },
    Step { client: "GET /a\nCache-Control: only-if-cached, no-cache", sees: "200 one hit", ..STEP },
    Step { at: 100, client: "GET /a\nCache-Control: no-cache, Only-If-Cached", sees: "200 one stale",
        with: &[("age", "100")], ..STEP },
    Step { client: "GET /strict", origin: "200 one\nCache-Control: max-age=60, must-revalidate",
        sees: "200 one fetched", ..STEP },
    Step { at: 100, client: "GET /strict\nCache-Control: only-if-cached", sees: "504 not cached", ..STEP },
    Step { client: "GET /private", origin: "200 one\nCache-Control: private", sees: "200 one fetched", ..STEP },
    Step { client: "GET /private\nCache-Control: only-if-cached", sees: "504 not cached", ..STEP },
]}

conversation! {staff_can, Honour, [
    Step { client: "GET /a\nCache-Control: only-if-cached", sees: "504 not cached", ..STEP },
    Step { client: "GET /a", origin: "200 one\nCache-Control: max-age=60\nETag: \"1\"", sees: "200 one fetched", ..STEP },
    Step { at: 5, client: "GET /a\nCache-Control: nothing-to-see-here\nPragma: no-cache", sees: "200 one hit", ..STEP },
    Step { at: 5, client: "GET /a\nCache-Control: only-if-cached", sees: "200 one hit", ..STEP },
    Step { at: 5, client: "GET /a\nCache-Control: max-age=30", sees: "200 one hit", ..STEP },
    Step { at: 5, client: "GET /a\nCache-Control: min-fresh=55", sees: "200 one hit", ..STEP },
    Step { at: 5, client: "GET /a\nPragma: no-cache", origin: "304 \nETag: \"1\"", sees: "200 one validated",
        origin_hears: &[("if-none-match", "\"1\"")], ..STEP },
    Step { at: 9, client: "GET /a\nCache-Control: max-age=0", origin: "200 two\nCache-Control: max-age=60",
        sees: "200 two fetched", ..STEP },
    Step { at: 10, client: "GET /a\nCache-Control: no-store", origin: "200 three\nCache-Control: max-age=60",
        sees: "200 three fetched", ..STEP },
    Step { at: 11, client: "GET /a\nCache-Control: min-fresh=60",
        origin: "200 four\nCache-Control: max-age=2, must-revalidate", sees: "200 four fetched", ..STEP },
    Step { at: 20, client: "GET /a\nCache-Control: max-stale", origin: "200 five\nCache-Control: max-age=2",
        sees: "200 five fetched", ..STEP },
    Step { at: 30, client: "GET /a\nCache-Control: max-stale=8", sees: "200 five hit", ..STEP },
    Step { at: 31, client: "GET /a\nCache-Control: max-stale=8", origin: "200 six\nCache-Control: max-age=2",
        sees: "200 six fetched", ..STEP },
]}

conversation! {a_304_freshens, Ignore, [
    Step { client: "GET /a",
        origin: "200 hello\nCache-Control: max-age=2\nETag: \"1\"\nLast-Modified: @-100\nX-A: 1\nX-B: 1\nContent-Type: text/plain",
        sees: "200 hello fetched", ..STEP },
    Step {
        at: 3,
        client: "GET /a",
        origin: "304 \nCache-Control: max-age=10\nETag: \"other\"\nX-A: 2\nContent-Length: 99\nContent-Encoding: br\nContent-Type: text/html\nConnection: x-b\nX-B: 2\nSet-Cookie: a=b",
        sees: "200 hello validated",
        origin_hears: &[("if-none-match", "\"1\""), ("if-modified-since", "Sun, 15 Jun 2025 15:05:00 GMT")],
        with: &[("age", "0"), ("x-a", "2"), ("x-b", "1"), ("etag", "\"1\""), ("content-length", "5"), ("content-encoding", ""), ("content-type", "text/html"), ("set-cookie", "")],
    },
    Step { at: 12, client: "GET /a", sees: "200 hello hit", with: &[("age", "9"), ("cache-control", "max-age=10")],
        ..STEP },
    Step { at: 13, client: "GET /a", origin: "304 \nCache-Control: no-store", sees: "200 hello validated", ..STEP },
    Step { at: 14, client: "GET /a", origin: "200 new\nCache-Control: no-store", sees: "200 new fetched",
        origin_hears: &[("if-none-match", "")], ..STEP },
]}

conversation! {no_cache_is_stored_and_always_validated, Ignore, [
    Step { client: "GET /a", origin: "200 hello\nCache-Control: no-cache\nETag: \"1\"", sees: "200 hello fetched", ..STEP },
    Step { client: "GET /a", origin: "304 \nETag: \"1\"", sees: "200 hello validated",
        origin_hears: &[("if-none-match", "\"1\"")], ..STEP },
    Step { client: "GET /a", origin: "dead", sees: "502 dead", ..STEP },
]}

conversation! {the_client_has_it_already, Ignore, [
    Step { client: "GET /a",
        origin: "200 hello\nCache-Control: max-age=60\nETag: \"1\"\nLast-Modified: @-100\nContent-Type: text/plain\nVary: X",
        sees: "200 hello fetched", ..STEP },
    Step { client: "GET /a\nIf-None-Match: \"0\", W/\"1\"", sees: "304 hit",
        with: &[("etag", "\"1\""), ("vary", "X"), ("cache-control", "max-age=60"), ("age", "0"), ("content-type", ""), ("content-length", "")],
        ..STEP },
    Step { client: "GET /a\nIf-None-Match: \"0\"\nIf-Modified-Since: @0", sees: "200 hello hit", ..STEP },
    Step { client: "GET /a\nIf-Modified-Since: @-100", sees: "304 hit", ..STEP },
    Step { client: "HEAD /a\nIf-Modified-Since: @-101", sees: "200 hit", ..STEP },
    Step { client: "GET /gone", origin: "404 gone\nCache-Control: max-age=60\nETag: \"1\"", sees: "404 gone fetched",
        ..STEP },
    Step { client: "GET /gone\nIf-None-Match: \"1\"", sees: "404 gone hit", ..STEP },
    Step { at: 61, client: "GET /a\nIf-None-Match: \"1\"", origin: "304 \nETag: \"1\"", sees: "304 validated", ..STEP },
]}

conversation! {ranges, Ignore, [
    Step { client: "GET /a", origin: "200 0123456789\nCache-Control: max-age=60\nETag: \"1\"\nContent-Type: a/b",
        sees: "200 0123456789 fetched", ..STEP },
    Step { client: "GET /a\nRange: bytes=0-1", sees: "206 01 hit",
        with: &[("content-range", "bytes 0-1/10"), ("content-length", "2"), ("etag", "\"1\"")], ..STEP },
    Step { client: "GET /a\nRange: bytes=-1", sees: "206 9 hit", with: &[("content-range", "bytes 9-9/10")], ..STEP },
    Step { client: "HEAD /a\nRange: bytes=0-1", sees: "200 hit", with: &[("content-length", "10")], ..STEP },
    Step { client: "GET /a\nRange: bytes=10-", sees: "416 hit", with: &[("content-range", "bytes */10"), ("etag", "")],
        ..STEP },
    Step { client: "GET /a\nRange: bytes=0-1,1-2", sees: "200 0123456789 hit", ..STEP },
    Step { client: "GET /a\nRange: bytes=0-1\nIf-Range: \"1\"", sees: "206 01 hit", ..STEP },
    Step { client: "GET /a\nRange: bytes=0-1\nIf-Range: \"0\"", sees: "200 0123456789 hit", ..STEP },
    Step { client: "GET /a\nRange: bytes=0-1\nIf-None-Match: \"1\"", sees: "304 hit", ..STEP },
    Step { client: "GET /part\nRange: bytes=0-1",
        origin: "206 01\nCache-Control: max-age=60\nContent-Range: bytes 0-1/10", sees: "206 01 fetched", ..STEP },
    Step { client: "GET /part\nRange: bytes=0-1",
        origin: "206 01\nCache-Control: max-age=60\nContent-Range: bytes 0-1/10", sees: "206 01 fetched", ..STEP },
]}

conversation! {variants, Ignore, [
    Step { client: "GET /a\nFoo: 1", origin: "200 one\nCache-Control: max-age=60\nVary: Foo", sees: "200 one fetched",
        ..STEP },
    Step { client: "GET /a\nFoo: 2", origin: "200 two\nCache-Control: max-age=60\nVary: Foo", sees: "200 two fetched",
        ..STEP },
    Step { client: "GET /a", origin: "200 none\nCache-Control: max-age=60\nVary: Foo", sees: "200 none fetched", ..STEP },
    Step { client: "GET /a\nFoo: 1", sees: "200 one hit", ..STEP },
    Step { client: "GET /a\nFoo: 2\nOther: 3", sees: "200 two hit", ..STEP },
    Step { client: "GET /a", sees: "200 none hit", ..STEP },
    Step { at: 60, client: "GET /a\nFoo: 2", origin: "200 now the same\nCache-Control: max-age=60",
        sees: "200 now the same fetched", ..STEP },
    Step { at: 60, client: "GET /a\nFoo: 1", sees: "200 now the same hit", ..STEP },
    Step { client: "GET /any", origin: "200 x\nCache-Control: max-age=60\nVary: *", sees: "200 x fetched", ..STEP },
    Step { client: "GET /any", origin: "200 y\nCache-Control: max-age=60\nVary: *", sees: "200 y fetched", ..STEP },
]}

conversation! {connection_fields_and_cookies_stay_behind, Ignore, [
    Step {
        client: "GET /a",
        origin: "200 hello\nCache-Control: public, max-age=60, no-cache=\"x-n\", private=\"x-p\"\nConnection: a, b\nA: 1\nB: 2\nC: 3\nKeep-Alive: x\nProxy-Authenticate: x\nTE: x\nUpgrade: x\nX-N: 1\nX-P: 1\nSet-Cookie: s=1\nSet-Cookie2: t=1",
        sees: "200 hello fetched",
        with: &[("a", ""), ("c", "3"), ("set-cookie", "s=1"), ("x-p", "1"), ("connection", ""), ("keep-alive", "")],
        ..STEP
    },
    Step {
        client: "GET /a",
        sees: "200 hello hit",
        with: &[("a", ""), ("b", ""), ("c", "3"), ("keep-alive", ""), ("proxy-authenticate", ""), ("te", ""), ("upgrade", ""), ("x-n", ""), ("x-p", ""), ("set-cookie", ""), ("set-cookie2", "t=1")],
        ..STEP
    },
    Step { client: "GET /own", origin: "200 mine\nCache-Control: max-age=60\nSet-Cookie: s=1", sees: "200 mine fetched",
        ..STEP },
    Step { client: "GET /own", origin: "200 yours\nCache-Control: max-age=60\nSet-Cookie: s=2", sees: "200 yours fetched",
        with: &[("set-cookie", "s=2")], ..STEP },
]}

conversation! {credentials, Ignore, [
    Step { client: "GET /a\nAuthorization: x", origin: "200 mine\nCache-Control: max-age=60", sees: "200 mine fetched",
        ..STEP },
    Step { client: "GET /a", origin: "200 all\nCache-Control: max-age=60", sees: "200 all fetched", ..STEP },
    Step { client: "GET /a\nAuthorization: x", origin: "200 mine\nCache-Control: max-age=60", sees: "200 mine fetched",
        ..STEP },
    Step { client: "GET /a", sees: "200 all hit", ..STEP },
    Step { client: "GET /b\nAuthorization: x", origin: "200 public\nCache-Control: max-age=60, public",
        sees: "200 public fetched", ..STEP },
    Step { client: "GET /b", sees: "200 public hit", ..STEP },
    Step { client: "GET /b\nAuthorization: y", sees: "200 public hit", ..STEP },
]}

conversation! {stale_while_revalidating_and_on_error, Ignore, [
    Step { client: "GET /a", origin: "200 one\nCache-Control: max-age=10, stale-while-revalidate=10\nETag: \"1\"",
        sees: "200 one fetched", ..STEP },
    Step { at: 15, client: "GET /a", origin: "200 two\nCache-Control: max-age=10", sees: "200 one stale",
        with: &[("age", "15")], origin_hears: &[("if-none-match", "\"1\"")] },
    Step { at: 16, client: "GET /a", sees: "200 two hit", ..STEP },
    Step { at: 30, client: "GET /a", origin: "dead", sees: "200 two stale on error", ..STEP },
    Step { at: 30, client: "GET /a", origin: "503 sorry\nCache-Control: max-age=100", sees: "200 two stale on error",
        ..STEP },
    Step { at: 31, client: "GET /a", origin: "500 sorry", sees: "200 two stale on error", ..STEP },
    Step { client: "GET /withdrawn", origin: "200 secret\nCache-Control: max-age=10", sees: "200 secret fetched", ..STEP },
    Step { at: 20, client: "GET /withdrawn", origin: "451 ", sees: "451 fetched", ..STEP },
    Step { at: 21, client: "GET /withdrawn", origin: "dead", sees: "502 dead", ..STEP },
    Step { at: 32, client: "GET /a", origin: "404 gone\nCache-Control: max-age=1", sees: "404 gone fetched", ..STEP },
    Step { client: "GET /strict", origin: "200 one\nCache-Control: max-age=10, must-revalidate", sees: "200 one fetched",
        ..STEP },
    Step { at: 20, client: "GET /strict", origin: "dead", sees: "502 dead", ..STEP },
    Step { client: "GET /shared", origin: "200 one\nCache-Control: s-maxage=10", sees: "200 one fetched", ..STEP },
    Step { at: 20, client: "GET /shared", origin: "dead", sees: "502 dead", ..STEP },
]}

conversation! {unsafe_methods_invalidate, Ignore, [
    Step { client: "GET /a/b", origin: "200 old\nCache-Control: max-age=60", sees: "200 old fetched", ..STEP },
    Step { client: "GET /a/c?d", origin: "200 old\nCache-Control: max-age=60", sees: "200 old fetched", ..STEP },
    Step { client: "GET /e", origin: "200 old\nCache-Control: max-age=60, stale-while-revalidate=600",
        sees: "200 old fetched", ..STEP },
    Step { client: "POST /a/b", origin: "500 no", sees: "500 no passed", ..STEP },
    Step { client: "OPTIONS /a/b", origin: "200 yes", sees: "200 yes passed", ..STEP },
    Step { client: "POST /x", origin: "200 yes\nLocation: http://nege.kz/e", sees: "200 yes passed", ..STEP },
    Step { client: "GET /a/b", sees: "200 old hit", ..STEP },
    Step { client: "GET /e", sees: "200 old hit", ..STEP },
    Step { client: "M-SEARCH /a/b", origin: "201 yes\nLocation: c?d#f\nContent-Location: http://KazTAG.kz:80/z/.././e",
        sees: "201 yes passed", ..STEP },
    Step { client: "GET /a/b", origin: "dead", sees: "200 old stale on error", ..STEP },
    Step { client: "GET /a/b", origin: "200 new\nCache-Control: max-age=60", sees: "200 new fetched", ..STEP },
    Step { client: "GET /a/c?d", origin: "200 new\nCache-Control: max-age=60", sees: "200 new fetched", ..STEP },
    Step { client: "GET /e", origin: "200 new\nCache-Control: max-age=60", sees: "200 new fetched", ..STEP },
    Step { client: "GET /e", sees: "200 new hit", ..STEP },
    // Who forbids stale copies forbids a doubted one; who only says how long caches may keep it has granted that time.
    Step { client: "GET /strict", origin: "200 old\nCache-Control: max-age=60, must-revalidate", sees: "200 old fetched", ..STEP },
    Step { client: "POST /strict", origin: "200 yes", sees: "200 yes passed", ..STEP },
    Step { client: "GET /strict", origin: "dead", sees: "502 dead", ..STEP },
    Step { client: "GET /shared", origin: "200 old\nCache-Control: s-maxage=60", sees: "200 old fetched", ..STEP },
    Step { client: "POST /shared", origin: "200 yes", sees: "200 yes passed", ..STEP },
    Step { client: "GET /shared", origin: "dead", sees: "200 old stale on error", ..STEP },
    // The origin's word that nothing changed takes the doubt away.
    Step { client: "GET /same", origin: "200 same\nCache-Control: max-age=60\nETag: \"1\"", sees: "200 same fetched", ..STEP },
    Step { client: "POST /same", origin: "204 ", sees: "204 passed", ..STEP },
    Step { client: "GET /same", origin: "304 \nETag: \"1\"\nCache-Control: max-age=60", sees: "200 same validated", ..STEP },
    Step { client: "GET /same", sees: "200 same hit", ..STEP },
]}

conversation! {what_is_not_whole_is_not_stored, Ignore, [
    Step { client: "GET /a", origin: "200 hello\nCache-Control: max-age=60\nContent-Length: 9",
        sees: "200 broken off fetched", ..STEP },
    Step { client: "GET /a", origin: "200 hello\nCache-Control: max-age=60", sees: "200 hello fetched", ..STEP },
    Step { client: "GET /a", sees: "200 hello hit", ..STEP },
    Step { client: "GET /empty", origin: "204 \nCache-Control: max-age=60", sees: "204 fetched", ..STEP },
    Step { client: "GET /empty", sees: "204 hit", with: &[("content-length", "")], ..STEP },
]}

conversation! {what_is_not_whole_takes_no_copys_place, Ignore, [
    Step { client: "GET /a", origin: "200 whole\nCache-Control: max-age=10", sees: "200 whole fetched", ..STEP },
    Step { at: 20, client: "GET /a", origin: "200 half\nCache-Control: max-age=10\nContent-Length: 9",
        sees: "200 whole stale on error", ..STEP },
    Step { at: 21, client: "GET /a", origin: "200 newer\nCache-Control: max-age=10", sees: "200 newer fetched", ..STEP },
    Step { at: 22, client: "GET /a", sees: "200 newer hit", ..STEP },
    Step { client: "GET /b", origin: "200 whole\nCache-Control: max-age=10, stale-while-revalidate=10",
        sees: "200 whole fetched", ..STEP },
    Step { at: 15, client: "GET /b", origin: "200 half\nCache-Control: max-age=10\nContent-Length: 9",
        sees: "200 whole stale", ..STEP },
    Step { at: 16, client: "GET /b", origin: "200 newer\nCache-Control: max-age=10", sees: "200 whole stale", ..STEP },
    Step { at: 17, client: "GET /b", sees: "200 newer hit", ..STEP },
    Step { client: "GET /strict", origin: "200 whole\nCache-Control: max-age=10, must-revalidate",
        sees: "200 whole fetched", ..STEP },
    Step { at: 20, client: "GET /strict", origin: "200 half\nCache-Control: max-age=10\nContent-Length: 9",
        sees: "200 broken off fetched", ..STEP },
]}

conversation! {one_copy_serves_all_who_differ_in_what_the_origin_never_hears, Ignore, [
    Step { client: "GET /a\nAccept-Encoding: gzip, br",
        origin: "200 one\nCache-Control: max-age=60\nVary: Accept-Encoding, X-Forwarded-Proto",
        sees: "200 one fetched", ..STEP },
    Step { client: "GET /a\nAccept-Encoding: zstd", sees: "200 one hit", ..STEP },
    Step { client: "GET /a\nX-Forwarded-Proto: gopher", sees: "200 one hit", ..STEP },
    Step { client: "GET /own", origin: "200 one\nCache-Control: max-age=60\nVary: X-Forwarded-For",
        sees: "200 one fetched", ..STEP },
    Step { client: "GET /own", origin: "200 two\nCache-Control: max-age=60\nVary: X-Forwarded-For",
        sees: "200 two fetched", ..STEP },
]}

conversation! {what_may_not_be_stored_is_remembered, Ignore, [
    Step { client: "GET /a", origin: "200 one\nCache-Control: private", sees: "200 one fetched", ..STEP },
    Step { client: "GET /a", origin: "200 two\nCache-Control: max-age=60", sees: "200 two fetched", ..STEP },
    Step { client: "GET /a", sees: "200 two hit", ..STEP },
]}

#[tokio::test]
async fn a_refused_key_is_remembered_for_a_minute() {
    let mut client = Client::new();
    let key = client.cache.key(0, Scheme::Http, b"kaztag.kz", b"/a");
    let remembered = |client: &Client| match client.cache.lookup(
        &key,
        &HeaderMap::new(),
        RequestDirectives::Ignore,
        client.now,
    ) {
        Lookup::HitForMiss(_) => true,
        Lookup::Stale(stale) => stale.refused.is_some(),
        _ => false,
    };
    for (origin, expected) in [
        ("200 x\nCache-Control: private", true),
        ("200 x\nCache-Control: max-age=1", false),
        ("503 x", false),
        ("200 x\nCache-Control: no-store", true),
    ] {
        client.now = UnixMillis(client.now.0 + 5_000);
        client.ask("GET /a", origin).await;
        client.now = UnixMillis(client.now.0 + 2_000);
        assert_eq!(remembered(&client), expected, "{origin}");
    }
    client.now = UnixMillis(client.now.0 + 58_000);
    assert!(!remembered(&client));
}

/// As the second reader who likes this coding gets it.
async fn coded(client: &Client, encodings: &str, expected: &str) -> Seen {
    let request = format!("GET /page\nAccept-Encoding: {encodings}");
    client.ask(&request, "-").await;
    client.cache.settle();
    let (seen, _) = client.ask(&request, "-").await;
    assert_eq!(seen.headers["content-encoding"], expected);
    seen
}

#[tokio::test]
async fn text_is_compressed_once_with_a_tag_each() {
    let page: &'static str = Box::leak(
        format!(
            "200 {}\nCache-Control: max-age=60\nETag: \"1\"\nContent-Type: text/html",
            "сақта ".repeat(2000)
        )
        .into_boxed_str(),
    );
    let client = Client::new();
    let (first, _) = client.ask("GET /page", page).await;
    assert_eq!(first.headers["vary"], "Accept-Encoding");
    let (plain, _) = client.ask("GET /page", "-").await;
    assert_eq!(
        (
            plain.headers["etag"].as_bytes(),
            plain.headers["vary"].as_bytes()
        ),
        (&b"\"1\""[..], &b"Accept-Encoding"[..])
    );
    for (encodings, coding, tag) in [
        ("gzip, deflate", "gzip", "\"1-gz\""),
        ("zstd", "zstd", "\"1-zs\""),
        ("gzip, br, zstd", "br", "\"1-br\""),
    ] {
        let seen = coded(&client, encodings, coding).await;
        assert_eq!(seen.headers["etag"], tag);
        assert_eq!(seen.headers["vary"], "Accept-Encoding");
        assert_eq!(
            seen.headers["content-length"],
            seen.body.len().to_string().as_str()
        );
        assert!(seen.body.len() < plain.body.len() / 10);
        let (unmodified, _) = client
            .ask(
                &format!("GET /page\nAccept-Encoding: {encodings}\nIf-None-Match: {tag}"),
                "-",
            )
            .await;
        assert_eq!(
            (
                unmodified.status.as_u16(),
                unmodified.headers["etag"].to_str().unwrap()
            ),
            (304, tag)
        );
    }
    let (part, _) = client
        .ask("GET /page\nAccept-Encoding: br\nRange: bytes=0-4", "-")
        .await;
    assert_eq!(
        (
            part.status.as_u16(),
            part.headers.get("content-encoding"),
            &part.body[..]
        ),
        (206, None, &plain.body[..5])
    );
    // What a 304 freshens keeps its codings; the origin is asked with its own tag.
    let later = Client {
        now: UnixMillis(client.now.0 + 61_000),
        ..client
    };
    let (seen, asked) = later
        .ask(
            "GET /page\nAccept-Encoding: br\nIf-None-Match: \"1-br\"",
            "304 \nETag: \"1\"",
        )
        .await;
    assert_eq!(
        (seen.status.as_u16(), asked["if-none-match"].as_bytes()),
        (304, &b"\"1\""[..])
    );
    let (seen, _) = later.ask("GET /page\nAccept-Encoding: br", "-").await;
    assert_eq!(seen.headers["content-encoding"], "br");
}

#[tokio::test]
async fn what_must_not_be_transformed_is_not() {
    let body = "a".repeat(5000);
    let client = Client::new();
    for (path, field) in [
        (
            "/1",
            "Cache-Control: no-transform, max-age=60\nContent-Type: text/html",
        ),
        ("/2", "Cache-Control: max-age=60\nContent-Type: image/png"),
        (
            "/3",
            "Cache-Control: max-age=60\nContent-Type: text/html\nContent-Encoding: x",
        ),
        (
            "/4",
            "Cache-Control: max-age=60\nContent-Type: text/html\nContent-Digest: x",
        ),
    ] {
        let (first, _) = client
            .ask(&format!("GET {path}"), &format!("200 {body}\n{field}"))
            .await;
        assert!(!first.headers.contains_key("vary"), "{field}");
        let (seen, _) = client
            .ask(&format!("GET {path}\nAccept-Encoding: br"), "-")
            .await;
        assert!(!seen.headers.contains_key("vary"), "{field}");
    }
}

#[tokio::test]
async fn several_ranges_are_parts_of_the_whole() {
    let client = Client::new();
    client
        .ask(
            "GET /a",
            "200 0123456789\nCache-Control: max-age=60\nContent-Type: text/plain",
        )
        .await;
    let (seen, _) = client.ask("GET /a\nRange: bytes=7-,0-1", "-").await;
    let content_type = seen.headers["content-type"].to_str().unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    assert_eq!(
        String::from_utf8(seen.body.clone()).unwrap(),
        format!(
            "{}{}\r\n--{boundary}--\r\n",
            part("7-9", "789"),
            part("0-1", "01")
        )
    );
    assert_eq!(
        (
            seen.status.as_u16(),
            seen.headers["content-length"].to_str().unwrap()
        ),
        (206, seen.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn the_written_head_is_the_answer() {
    let client = Client::new();
    client
        .ask(
            "GET /a",
            "200 hello\nCache-Control: max-age=60\nETag: \"1\"\nX-A: 1\nX-A: 2",
        )
        .await;
    let key = client.cache.key(0, Scheme::Http, b"KAZTAG.kz:80", b"/a");
    let now = UnixMillis(client.now.0 + 7_000);
    for (request, line) in [
        ("", "HTTP/1.1 200 OK"),
        ("If-None-Match: \"1\"", "HTTP/1.1 304 Not Modified"),
    ] {
        let request = fields(request.lines());
        let Lookup::Fresh(stored) =
            client
                .cache
                .lookup(&key, &request, RequestDirectives::Ignore, now)
        else {
            panic!("not fresh")
        };
        let shape = client.cache.shape(&stored, &Method::GET, &request);
        let status = CacheStatus::hit(stored.freshness().ttl_secs(now));
        let mut wire = bytes::BytesMut::new();
        let body = stored
            .write_head(&shape, now, &status, b"connection: close\r\n", &mut wire)
            .unwrap();
        let text = String::from_utf8(wire.to_vec()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(rest, "");
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some(line));
        let mut written = fields(lines);
        assert_eq!(written.remove("connection").unwrap(), "close");
        let answer = stored.answer(&shape, &Method::GET, now, &status);
        assert_eq!(written, answer.headers);
        assert_eq!(written["age"], "7");
        assert_eq!(written["cache-status"], "saqta; hit; ttl=53");
        assert_eq!(answer.body.concat(), body);
        let response = answer.into_response();
        assert_eq!(response.body().size_hint().exact(), Some(body.len() as u64));
    }
}

#[tokio::test]
async fn at_most_sixteen_variants_and_the_oldest_goes() {
    let client = Client::new();
    for n in 0..17 {
        client
            .ask(
                &format!("GET /a\nFoo: {n}"),
                &format!("200 {n}\nCache-Control: max-age=60\nVary: Foo"),
            )
            .await;
    }
    let (seen, _) = client.ask("GET /a\nFoo: 1", "-").await;
    assert_eq!(seen.body, b"1");
    let key = client.cache.key(0, Scheme::Http, b"kaztag.kz", b"/a");
    let first = fields(["Foo: 0"].into_iter());
    assert!(matches!(
        client
            .cache
            .lookup(&key, &first, RequestDirectives::Ignore, client.now),
        Lookup::Miss(_)
    ));
}
