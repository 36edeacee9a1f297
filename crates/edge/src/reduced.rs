//! An address nobody has seen, answered with the copy of the page it is most likely of, while the origin has no room for it; and in calm the few
//! requests of our own by which we learn what may be left out. The decisions are [`crate::relevance`]'s.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::BodyExt;
use saqta_detect::facts::Served;

use crate::admission::{Class, Outcome};
use crate::asked::Asked;
use crate::body::Body;
use crate::cache::key::KeyRef;
use crate::cache::status::CacheStatus;
use crate::cache::stored::Stored;
use crate::cache::{Cache, Lookup, RequestDirectives};
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::forward::{self, Outbound};
use crate::likeness::{Likeness, Reading};
use crate::pass;
use crate::place::Place;
use crate::plan::{ForwardClientAddress, Mode, Site};
use crate::read;
use crate::relevance::{Decision, Pressure, Sighting, With};
use crate::serve::Client;
use crate::shard::{Shard, SiteState};

/// The copy that answers instead of the one asked for. `key`: of the request as asked.
pub(crate) fn copy<F: Fields + ?Sized>(
    cache: &Cache,
    key: &KeyRef<'_>,
    site: &Site,
    state: &SiteState,
    fields: &F,
    pressure: Pressure,
) -> Option<Arc<Stored>> {
    if site.mode == Mode::Observe {
        return None;
    }
    let now = UnixMillis::now();
    let relevance = state
        .relevance
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    let decision = relevance.decide(
        state.shapes.shape(path_of(key.target())),
        key.target(),
        pressure,
        now,
        |name| is_kept(site, name),
        |target| !cache.needs_origin(&cache.beside(key, target), fields, now),
    );
    drop(relevance);
    let Decision::Reduced(target) = decision else {
        return None;
    };
    let stored = match cache.lookup(
        &cache.beside(key, &target),
        fields,
        RequestDirectives::Ignore,
        now,
    ) {
        Lookup::Fresh(stored) => stored,
        Lookup::Stale(stale) if stale.on_error => stale.stored,
        _ => return None,
    };
    (stored.status() == StatusCode::OK).then_some(stored)
}

/// Never stored by anybody: it is another address's page.
pub(crate) fn answer<F: Fields + ?Sized>(
    client: &Client,
    asked: &Asked,
    key: &KeyRef<'_>,
    parts: &request::Parts,
    fields: &F,
) -> Option<Response<Body>> {
    let shared = &client.shard.shared;
    if shared.bypassed() || asked.class == Class::Staff || parts.headers.contains_key(header::RANGE)
    {
        return None;
    }
    let state = asked.state();
    let pressure = Pressure {
        starved: state.admission.is_starved(&asked.ask()),
        ..Pressure::default()
    };
    let stored = copy(&shared.cache, key, asked.site(), state, fields, pressure)?;
    client.shard.counters.stale.add(1);
    let now = UnixMillis::now();
    let status = CacheStatus::hit(stored.freshness().ttl_secs(now)).with_detail("reduced");
    let mut response = read::answer(&shared.cache, &stored, parts, now, status, Served::Stale);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// A request that goes to the origin: is there something to learn from its parameters?
pub(crate) fn sighted<F: Fields + ?Sized>(
    client: &Client,
    asked: &Asked,
    key: &KeyRef<'_>,
    fields: &F,
) {
    if asked.target.query().is_none() || client.shard.shared.bypassed() {
        return;
    }
    let (state, site) = (asked.state(), asked.site());
    let cache = &client.shard.shared.cache;
    let stats = state.admission.stats();
    let now = UnixMillis::now();
    let sighting = Sighting {
        path_shape: state.shapes.shape(asked.target.path().as_bytes()),
        target: asked.target.as_str().as_bytes(),
        group: asked.group,
        // Three fetches more must not be what fills it.
        at_ease: stats.in_flight * 2 < stats.limit,
        now,
    };
    let probe = state
        .relevance
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .sighted(
            &sighting,
            |name| is_kept(site, name),
            |target| !cache.needs_origin(&cache.beside(key, target), fields, now),
        );
    let Some(probe) = probe else { return };
    let (shard, asked) = (Rc::clone(&client.shard), asked.clone());
    tokio::task::spawn_local(async move {
        let _busy = shard.shared.busy();
        let without = fetch(&shard, &asked, &probe.without, &probe.pair).await;
        let with = fetch(&shard, &asked, &probe.with, &probe.pair).await;
        let again = fetch(&shard, &asked, &probe.without, &probe.pair).await;
        let with = match with {
            Some((StatusCode::OK, Some(page))) => With::Page(page),
            Some((StatusCode::NOT_FOUND | StatusCode::GONE, _)) => With::Missing,
            _ => With::Nothing,
        };
        let page = |answer: Option<(StatusCode, Option<Likeness>)>| match answer {
            Some((StatusCode::OK, page)) => page,
            _ => None,
        };
        let state = asked.state();
        state
            .relevance
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .learn(&probe, page(without), with, page(again), UnixMillis::now());
    });
}

/// As a reader without cookies, whose address is nobody's.
async fn fetch(
    shard: &Rc<Shard>,
    asked: &Asked,
    target: &[u8],
    pair: &[u8],
) -> Option<(StatusCode, Option<Likeness>)> {
    let place = Place::enter(shard, asked).await.ok()?;
    let mut headers = HeaderMap::new();
    let outbound = Outbound {
        client_address: ForwardClientAddress::None,
        ..asked.outbound()
    };
    forward::request(&Method::GET, &mut headers, &asked.inbound(), &outbound).ok()?;
    forward::for_cache_fetch(&mut headers);
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = http::Uri::try_from(target).ok()?;
    *request.headers_mut() = headers;
    let origin = shard.origin(&asked.running, asked.site_id);
    let response = match origin.send(request).await {
        Ok(response) => response,
        Err(error) => {
            place.finish(pass::outcome_of(&error));
            return None;
        }
    };
    let (head, mut body) = response.into_parts();
    let kind = head.headers.field("content-type").unwrap_or_default();
    let mut reading = Reading::new(kind, Some(pair));
    let mut left = crate::likeness::PAGE_BYTES_MAX;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            place.finish(Outcome::FAILED);
            return None;
        };
        if let Some(chunk) = frame.data_ref() {
            // Dropped without an end, the slot stays taken for what such a page costs.
            left = left.checked_sub(chunk.len() as u64)?;
            reading.push(chunk);
        }
    }
    place.finish(pass::outcome_of_status(head.status));
    Some((head.status, reading.finish()))
}

fn is_kept(site: &Site, name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| site.profile.selects_content(name))
}

fn path_of(target: &[u8]) -> &[u8] {
    target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default()
}
