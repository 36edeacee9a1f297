//! What holds for every request and every response.

#![expect(
    clippy::unwrap_used,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use proptest::prelude::*;
use saqta_edge::cache::fetch::{Fetch, Reception};
use saqta_edge::cache::flight::Arrival;
use saqta_edge::cache::freshness::{Asked, Times};
use saqta_edge::cache::key::{KeyRef, Scheme};
use saqta_edge::cache::status::CacheStatus;
use saqta_edge::cache::{Cache, Join, Lookup, RequestDirectives};
use saqta_edge::clock::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

fn cache() -> Arc<Cache> {
    Cache::new(1, 64 * 1024 * 1024).unwrap()
}

fn page(cache: &Cache) -> KeyRef<'static> {
    cache.key(0, Scheme::Https, b"kaztag.kz", b"/")
}

fn fields(lines: &[(&str, String)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            )
        })
        .collect()
}

fn write(fetch: Fetch, request: &HeaderMap, response: HeaderMap, body: &[u8]) {
    let asked = Asked {
        method: &Method::GET,
        headers: request,
        no_store: false,
    };
    let times = Times {
        request: NOW,
        response: NOW,
    };
    let Reception::Body(mut receiving) = fetch.head(&asked, StatusCode::OK, response, None, times)
    else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    if runtime
        .block_on(receiving.chunk(Bytes::copy_from_slice(body)))
        .is_ok()
    {
        receiving.done();
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn directives() -> impl Strategy<Value = String> {
    let directive = prop_oneof![
        Just("max-age=60"),
        Just("s-maxage=60"),
        Just("public"),
        Just("private"),
        Just("no-store"),
        Just("no-cache"),
        Just("must-revalidate"),
        Just("proxy-revalidate"),
        Just("must-understand"),
        Just("max-age=0"),
        Just("stale-while-revalidate=60"),
    ];
    proptest::collection::vec(directive, 0..5).prop_map(|list| list.join(", "))
}

proptest! {
    #![proptest_config(config())]

    /// A range answer is the slice of the whole it says it is.
    #[test]
    fn ranges_are_slices(body in proptest::collection::vec(any::<u8>(), 1..200), range in "bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,3}-[0-9]{0,3}){0,3}") {
        let cache = cache();
        let Join::Lead(fetch, _reader) = cache.join(&page(&cache), 0, None, &HeaderMap::new(), NOW) else { panic!("leads") };
        write(fetch, &HeaderMap::new(), fields(&[("cache-control", "max-age=60".into()), ("content-type", "a/b".into())]), &body);
        let request = fields(&[("range", range)]);
        let Lookup::Fresh(stored) = cache.lookup(&page(&cache), &request, RequestDirectives::Ignore, NOW) else { panic!("fresh") };
        let shape = cache.shape(&stored, &Method::GET, &request);
        let answer = stored.answer(&shape, &Method::GET, NOW, &CacheStatus::hit(60));
        let sent = answer.body.concat();
        prop_assert_eq!(answer.headers["content-length"].to_str().unwrap(), sent.len().to_string());
        let said = |text: &str| {
            let (span, total) = text.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
            let (first, last) = span.split_once('-').unwrap();
            assert_eq!(total, body.len().to_string());
            first.parse::<usize>().unwrap()..last.parse::<usize>().unwrap() + 1
        };
        match (answer.status.as_u16(), answer.headers.get("content-range")) {
            (200, None) => prop_assert_eq!(sent, body),
            (416, Some(range)) => {
                let total = format!("bytes */{}", body.len());
                prop_assert!(sent.is_empty() && range.as_bytes() == total.as_bytes());
            }
            (206, Some(range)) => prop_assert_eq!(&sent[..], &body[said(range.to_str().unwrap())]),
            (206, None) => {
                // Slices of the body stand between the part heads.
                let parts: Vec<_> = answer.body.chunks_exact(2).collect();
                prop_assert!(parts.len() >= 2);
                for part in parts {
                    let head = String::from_utf8(part[0].to_vec()).unwrap();
                    let range = head.lines().find_map(|line| line.strip_prefix("content-range: ")).unwrap();
                    prop_assert_eq!(&part[1][..], &body[said(range)]);
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// A response whose `Vary` fields had other values is never given, neither from the store nor from a flight.
    #[test]
    fn nobody_gets_anothers_variant(
        vary in prop_oneof![Just("x-a"), Just("X-B"), Just("x-a, x-b"), Just("")],
        stored in (proptest::option::of("[a-c]{0,2}"), proptest::option::of("[a-c]{0,2}")),
        presented in (proptest::option::of("[a-c]{0,2}"), proptest::option::of("[a-c]{0,2}")),
        in_flight in any::<bool>(),
    ) {
        let request = |values: &(Option<String>, Option<String>)| {
            let lines = [("x-a", &values.0), ("x-b", &values.1)];
            fields(&lines.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect::<Vec<_>>())
        };
        let (ours, theirs) = (request(&stored), request(&presented));
        let allowed = (!vary.contains("x-a") || stored.0 == presented.0) && (!vary.to_lowercase().contains("x-b") || stored.1 == presented.1);
        let cache = cache();
        let Join::Lead(fetch, _reader) = cache.join(&page(&cache), 0, None, &ours, NOW) else { panic!("leads") };
        let follower = match cache.join(&page(&cache), 0, None, &theirs, NOW) {
            Join::Follow(reader) if in_flight => Some(reader),
            _ => None,
        };
        write(fetch, &ours, fields(&[("cache-control", "max-age=60".into()), ("vary", vary.into())]), b"ours");
        let given = match follower {
            Some(reader) => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                !matches!(runtime.block_on(reader.arrival(&theirs)), Arrival::Alone(_))
            }
            None => matches!(cache.lookup(&page(&cache), &theirs, RequestDirectives::Ignore, NOW), Lookup::Fresh(_)),
        };
        prop_assert_eq!(given, allowed);
    }

    /// What was said to somebody's credentials reaches others only if its origin declared it shareable; and a cookie never does.
    #[test]
    fn credentials_and_cookies_stay_private(control in directives(), authorized in any::<bool>(), sets_cookie in any::<bool>(), asks_with in any::<bool>()) {
        let cache = cache();
        let credentials = |given: bool| if given { fields(&[("authorization", "Basic x".into())]) } else { HeaderMap::new() };
        let request = credentials(authorized);
        let (fetch, _reader) = cache.alone(&page(&cache), None);
        let mut response = fields(&[("cache-control", control.clone()), ("etag", "\"1\"".into())]);
        if sets_cookie {
            response.insert("set-cookie", "session=1".parse().unwrap());
        }
        write(fetch, &request, response, b"page");
        let has = |directive: &str| control.split(", ").any(|one| one == directive);
        let declared = has("public") || has("s-maxage=60");
        let looked = cache.lookup(&page(&cache), &credentials(asks_with), RequestDirectives::Ignore, NOW);
        let stored = match &looked {
            Lookup::Fresh(stored) => Some(stored),
            Lookup::Stale(stale) => Some(&stale.stored),
            _ => None,
        };
        if let Some(stored) = stored {
            prop_assert!(!stored.headers().contains_key("set-cookie"));
            prop_assert!(!has("private") && (!has("no-store") || has("must-understand")));
            prop_assert!(!(authorized || asks_with) || declared || has("must-revalidate"));
            prop_assert!(!sets_cookie || declared);
        }
        if let Lookup::Fresh(_) = looked {
            prop_assert!(!has("no-cache") && (has("max-age=60") || has("s-maxage=60")));
        }
    }
}
