//! GET and HEAD: from the store, from a fetch under way, or by a fetch of our own.
//!
//! A fetch for the cache runs as a task that belongs to nobody: the client that caused it may leave, everybody else who wants the page
//! reads along, and the origin's slot is free as soon as its last byte is here. When the origin fails, breaks off or has no room, a copy
//! that may be served stale is; so a client whose page has one waits for all of the new one.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request,
};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use saqta_detect::facts::Served;

use tokio::time::{timeout, timeout_at};

use crate::admission::{Class, Outcome, Starved};
use crate::asked::Asked;
use crate::body::Body;
use crate::brief::{self, Watch};
use crate::cache::fetch::{Fetch, Reception, Terms};
use crate::cache::flight::{Alone, Arrival, FetchFault, Streaming};
use crate::cache::freshness::{self, Times, Unstorable};
use crate::cache::key::{KeyRef, Scheme};
use crate::cache::status::{CacheStatus, Forward};
use crate::cache::stored::{Doubt, Stored};
use crate::cache::{Cache, Join, Lookup, RequestDirectives, Stale, vary};
use crate::clock::UnixMillis;
use crate::compress::passing::{self, Wish};
use crate::forward;
use crate::origin::OriginError;
use crate::pass::{self, PassError};
use crate::place::Place;
use crate::plan::ForwardClientAddress;
use crate::profile::{self, House, Standing, Use};
use crate::reduced;
use crate::saved::Public;
use crate::searching;
use crate::serve::{self, Client, Failure};
use crate::shard::Shard;

/// A response chosen by fields we learn of only when it arrives makes a follower join once more; after this often it asks alone.
const JOINS_MAX: usize = 3;

/// How long a reader waits for a page we have a stale copy of, from when somebody began to fetch it to its last byte, while the origin
/// keeps its readers waiting. Whoever asks next gets what arrives later. So an origin that hangs is not noticed, and but for the first
/// of them nobody waits for it at all.
const STALE_PATIENCE: Duration = Duration::from_millis(60);
/// The same while the origin has not done so since its last page that came in time: most pages of a healthy one take less, and what
/// is new is worth the wait. With it the 99th percentile of the drill `origin-dies` stays at 63 ms.
const STALE_PATIENCE_TRUSTED: Duration = Duration::from_millis(200);

/// How long a reader waits for a page of which there is a saved copy, until its head is here. Longer than a healthy origin takes for its heaviest
/// page, and not long enough for a reader to give up.
pub(crate) const SAVED_PATIENCE: Duration = Duration::from_secs(3);

/// A page that has been out of date for longer says so, even while its origin is only full: readers take what says nothing for today's news.
const UNMARKED_SECS_MAX: i64 = 600;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(crate) fn key<'a>(cache: &Cache, asked: &'a Asked) -> KeyRef<'a> {
    cache.key_with(
        asked.site_id,
        scheme(asked.scheme),
        asked.authority.as_str().as_bytes(),
        asked.target.as_str().as_bytes(),
        asked.reading.keyed(),
    )
}

pub(crate) fn scheme(scheme: forward::Scheme) -> Scheme {
    match scheme {
        forward::Scheme::Http => Scheme::Http,
        forward::Scheme::Https => Scheme::Https,
    }
}

/// Staff who reload want the origin's version; a stranger's `no-cache` would be a switch for turning the shield off.
pub(crate) fn directives(class: Class) -> RequestDirectives {
    if class == Class::Staff {
        RequestDirectives::Honour
    } else {
        RequestDirectives::Ignore
    }
}

/// The page, or what stands in for it: a saved copy where there is one, once the origin is out of reach, has no room, fails or is too slow.
pub(crate) async fn read(
    client: &Client,
    asked: &Asked,
    request: Request<()>,
) -> Result<Response<Body>, Failure> {
    let (parts, ()) = request.into_parts();
    if !has_saved(client, asked) {
        if client.shard.shared.saved.is_listed() {
            return live(client, asked, parts, First::Memory).await;
        }
        // Just started: what is not known to be saved may be.
        let live = live(client, asked, parts.clone(), First::Memory).await;
        let listed = client.shard.shared.saved.listed();
        if is_poor(&live)
            && timeout(SAVED_PATIENCE, listed).await.is_ok()
            && has_saved(client, asked)
            && let Some(copy) = saved_copy(client, asked, &parts).await
        {
            return Ok(copy);
        }
        return live;
    }
    if is_without_room(client, asked, &parts) {
        let key = key(&client.shard.shared.cache, asked);
        if !from_disk(client, asked, &key, &parts).await
            && let Some(copy) = saved_copy(client, asked, &parts).await
        {
            ask_behind(client, asked, &key, &parts);
            return Ok(copy);
        }
    }
    let live = live(client, asked, parts.clone(), First::Saved);
    match timeout(SAVED_PATIENCE, live).await {
        Ok(live) if !is_poor(&live) => live,
        _ => match saved_copy(client, asked, &parts).await {
            Some(copy) => Ok(copy),
            // Removed meanwhile, or not to be read after all.
            None => self::live(client, asked, parts, First::Memory).await,
        },
    }
}

fn is_poor(answered: &Result<Response<Body>, Failure>) -> bool {
    match answered {
        Ok(response) => freshness::is_origin_failure(response.status()),
        Err(failure) => fault_of_failure(failure).is_some(),
    }
}

/// Which of two copies stands in for an origin that does not answer, where there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Memory,
    /// The saved one, if that is better: see [`saved_is_better`].
    Saved,
}

/// What memory has was shown by the origin, whatever it was, and nothing in it says how old it is. The saved copy was found good, has its date on
/// it and forms that say that they cannot be sent. So memory is for an origin that is only slow or full: its copy is minutes old, and the same
/// but for that.
fn saved_is_better(
    client: &Client,
    asked: &Asked,
    first: First,
    stale: &Stale,
    fault: FetchFault,
    now: UnixMillis,
) -> bool {
    let is_down = match fault {
        FetchFault::Unreachable
        | FetchFault::BrokeOff
        | FetchFault::Abandoned
        | FetchFault::Failed(_) => true,
        FetchFault::Shed | FetchFault::TimedOut => false,
    };
    let staleness = stale.stored.freshness().ttl_secs(now).saturating_neg();
    first == First::Saved
        && (is_down || staleness > UNMARKED_SECS_MAX || client.shard.shared.saved.is_better(asked))
}

/// Is there a saved copy that may stand in for this page? Staff see what is there, whoever brings credentials asks for his own, and a
/// script that asks for a part of a page reads an error better than a page.
fn has_saved(client: &Client, asked: &Asked) -> bool {
    let shared = &client.shard.shared;
    asked.class != Class::Staff
        && asked.reading.standing != Standing::Credentials
        && asked.reading.asks_for_the_page()
        && !shared.bypassed()
        && shared.saved.has_stand_in(asked)
}

/// Nothing in memory answers, and the origin would keep this reader waiting in vain.
fn is_without_room(client: &Client, asked: &Asked, parts: &request::Parts) -> bool {
    let cache = &client.shard.shared.cache;
    let fields = asked.reading.sent(&asked.site().profile, &parts.headers);
    asked.state().admission.is_starved(&asked.ask())
        && cache.needs_origin(&key(cache, asked), &fields, UnixMillis::now())
}

/// Has the page asked for while its reader has the saved copy: whoever comes next may find it in memory.
fn ask_behind(client: &Client, asked: &Asked, key: &KeyRef<'_>, parts: &request::Parts) {
    let cache = &client.shard.shared.cache;
    let fields = asked.reading.sent(&asked.site().profile, &parts.headers);
    let is_alike = parts.method == Method::GET
        && asked.reading.may_fetch_for_all()
        && !parts.headers.contains_key(header::RANGE)
        && beside_the_key(cache, asked, &parts.headers) == 0;
    let found = cache.lookup(key, &fields, RequestDirectives::Ignore, UnixMillis::now());
    let fetch = match found {
        Lookup::Miss(miss) if is_alike => cache.begin(key, miss.flight, None),
        Lookup::Stale(stale) if is_alike => cache.begin(key, stale.flight, Some(stale.stored)),
        _ => None,
    };
    if let Some(fetch) = fetch {
        spawn_fetch(client, asked, parts, fetch);
    }
}

pub(crate) async fn saved_copy(
    client: &Client,
    asked: &Asked,
    parts: &request::Parts,
) -> Option<Response<Body>> {
    let shared = &client.shard.shared;
    let copy = shared.saved.copy(asked).await?;
    client.shard.counters.saved_shown.add(1);
    Some(answer(
        &shared.cache,
        &copy,
        parts,
        UnixMillis::now(),
        CacheStatus::SAVED,
        Served::Stale,
    ))
}

/// Nothing in memory answers: the cache's disk may. True: it does from now on.
async fn from_disk(
    client: &Client,
    asked: &Asked,
    key: &KeyRef<'_>,
    parts: &request::Parts,
) -> bool {
    let shared = &client.shard.shared;
    let purge_number = shared.cache.purge_number(asked.site_id);
    let Some(response) = shared.saved.stored(asked).await else {
        return false;
    };
    let house = house(asked, &response.headers);
    let fields = asked.reading.sent(&asked.site().profile, &parts.headers);
    shared
        .cache
        .restore(key, &fields, house.as_ref(), response, purge_number)
        .is_some()
}

/// What there is without a saved copy.
pub(crate) async fn live(
    client: &Client,
    asked: &Asked,
    parts: request::Parts,
    first: First,
) -> Result<Response<Body>, Failure> {
    let counters = &client.shard.counters;
    let cache = &client.shard.shared.cache;
    let key = key(cache, asked);
    let now = UnixMillis::now();
    let fields = asked.reading.sent(&asked.site().profile, &parts.headers);
    let mut found = cache.lookup(&key, &fields, directives(asked.class), now);
    if matches!(found, Lookup::Miss(_)) && from_disk(client, asked, &key, &parts).await {
        found = cache.lookup(&key, &fields, directives(asked.class), now);
    }
    match found {
        Lookup::Fresh(stored) => {
            counters.hits.add(1);
            if stored.wants_vouchers() {
                vouch(client, asked, &key, &parts);
            }
            Ok(answer(
                cache,
                &stored,
                &parts,
                now,
                CacheStatus::hit(stored.freshness().ttl_secs(now)),
                Served::Hit,
            ))
        }
        Lookup::Stale(stale) if stale.only_if_cached || stale.while_revalidating => {
            counters.stale.add(1);
            if !stale.only_if_cached {
                revalidate(client, asked, &key, &parts, &stale);
            }
            let status = CacheStatus::hit(stale.stored.freshness().ttl_secs(now));
            Ok(answer(
                cache,
                &stale.stored,
                &parts,
                now,
                status,
                Served::Stale,
            ))
        }
        Lookup::Stale(stale) => {
            let starved = stale.on_error
                && !stale.invalid
                && !client.shard.shared.bypassed()
                && asked.state().admission.is_starved(&asked.ask());
            if starved {
                revalidate(client, asked, &key, &parts, &stale);
                if saved_is_better(client, asked, first, &stale, FetchFault::Shed, now) {
                    return Err(failure(FetchFault::Shed));
                }
                counters.stale.add(1);
                return Ok(answer(
                    cache,
                    &stale.stored,
                    &parts,
                    now,
                    stale_status(&stale, now, FetchFault::Shed),
                    Served::Stale,
                ));
            }
            if !asked.reading.may_fetch_for_all() {
                let status = CacheStatus::forward(stale.why);
                let answered = alone(client, asked, parts.clone(), status).await;
                return or_stale(client, asked, &parts, answered, Some(&stale), first);
            }
            let (why, flight) = (stale.why, stale.flight);
            let stale = Some((stale, first));
            shared(client, asked, &key, flight, &parts, why, stale).await
        }
        // A part of something we do not have is the origin's to cut: it may be a film.
        Lookup::Miss(_)
            if parts.method == Method::HEAD
                || parts.headers.contains_key(header::RANGE)
                || !asked.reading.may_fetch_for_all() =>
        {
            alone(client, asked, parts, CacheStatus::forward(Forward::UriMiss)).await
        }
        Lookup::Miss(miss) => {
            shared(client, asked, &key, miss.flight, &parts, miss.why, None).await
        }
        // Not to be kept in calm; what is proven to be everybody's is fetched once for all of them now.
        Lookup::HitForMiss(_)
            if is_plain_get(&parts)
                && brief::lasts(&client.shard.shared, asked, &parts.headers).is_some() =>
        {
            shared(client, asked, &key, 0, &parts, Forward::Miss, None).await
        }
        Lookup::HitForMiss(why) => {
            let status = CacheStatus::forward(Forward::Miss).with_detail(why.as_token());
            alone(client, asked, parts, status).await
        }
        // Nobody shares this fetch, but what its answer declares to be everybody's is kept. Cookies would have to be left out of it.
        Lookup::Bypass(why @ Forward::Bypass)
            if parts.headers.contains_key(header::AUTHORIZATION)
                && !parts.headers.contains_key(header::COOKIE)
                && is_plain_get(&parts) =>
        {
            shared(client, asked, &key, 0, &parts, why, None).await
        }
        Lookup::Bypass(why) => alone(client, asked, parts, CacheStatus::forward(why)).await,
        Lookup::NotCached => Ok(not_cached()),
    }
}

/// A fetch for the cache asks for all of a page, unconditionally, and brings no cookies: does this client?
fn is_plain_get(parts: &request::Parts) -> bool {
    let narrowed = [
        header::COOKIE,
        header::RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ];
    parts.method == Method::GET && !narrowed.iter().any(|name| parts.headers.contains_key(name))
}

/// RFC 9111 §5.2.1.7. Whoever sends this is a program, and reads English.
fn not_cached() -> Response<Body> {
    let mut response = Response::new(Body::full(
        "There is no stored copy of this page, and the request asked for nothing else (only-if-cached).\n",
    ));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let status = CacheStatus::default().with_detail("only-if-cached");
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(CACHE_STATUS, status.to_value());
    serve::served(response, Served::Refused)
}

/// From a stored response: whole, not modified, or parts.
pub(crate) fn answer(
    cache: &Cache,
    stored: &Arc<Stored>,
    parts: &request::Parts,
    now: UnixMillis,
    status: CacheStatus,
    served: Served,
) -> Response<Body> {
    let shape = cache.shape(stored, &parts.method, &parts.headers);
    serve::served(
        stored
            .answer(&shape, &parts.method, now, &status)
            .into_response(),
        served,
    )
}

/// Of a copy that stands in for the origin's answer (RFC 9211 §2): a hit when the origin was never asked.
fn stale_status(stale: &Stale, now: UnixMillis, fault: FetchFault) -> CacheStatus {
    let ttl_secs = stale.stored.freshness().ttl_secs(now);
    let (detail, forward_status) = match fault {
        FetchFault::Shed => return CacheStatus::hit(ttl_secs).with_detail("starved"),
        FetchFault::TimedOut => ("origin-slow", None),
        FetchFault::Failed(status) => ("origin-error", Some(status)),
        FetchFault::Unreachable | FetchFault::BrokeOff | FetchFault::Abandoned => {
            ("origin-down", None)
        }
    };
    CacheStatus {
        ttl_secs: Some(ttl_secs),
        forward_status,
        ..CacheStatus::forward(stale.why).with_detail(detail)
    }
}

/// Behind the client's back; one at a time for each page.
fn revalidate(
    client: &Client,
    asked: &Asked,
    key: &KeyRef<'_>,
    parts: &request::Parts,
    stale: &Stale,
) {
    let cache = &client.shard.shared.cache;
    if let Some(fetch) = cache.revalidate(key, stale.flight, Arc::clone(&stale.stored)) {
        spawn_fetch(client, asked, parts, fetch);
    }
}

/// Readers of several networks vouch for a page that the site does not name, and most of them find it in memory.
fn vouch(client: &Client, asked: &Asked, key: &KeyRef<'_>, parts: &request::Parts) {
    let shared = &client.shard.shared;
    let (cache, now) = (&shared.cache, UnixMillis::now());
    let purge_number = cache.purge_number(asked.site_id);
    let fields = asked.reading.sent(&asked.site().profile, &parts.headers);
    let found = cache.lookup(key, &fields, directives(asked.class), now);
    let (Lookup::Fresh(stored), false) = (found, parts.headers.contains_key(header::AUTHORIZATION))
    else {
        return;
    };
    if let Some(house) = house(asked, stored.headers())
        && let Some(leave) = cache.may_store(asked.site_id, purge_number)
    {
        let public = Public {
            asked,
            house,
            as_usual: profile::asks_as_usual(&asked.site().profile, &parts.headers),
            is_expected: false,
            now,
        };
        let enough = shared.saved.offer(&leave, &public, &stored);
        stored.vouched(enough);
        if enough {
            let to_find = Some((&*stored, &leave));
            searching::fetched(
                asked,
                &shared.saved,
                &parts.headers,
                stored.status(),
                to_find,
            );
        }
    }
}

/// Without the cache: the client's own request, and an answer only it gets.
async fn alone(
    client: &Client,
    asked: &Asked,
    mut parts: request::Parts,
    status: CacheStatus,
) -> Result<Response<Body>, Failure> {
    client.shard.counters.passed.add(1);
    if asked.reading.standing == Standing::Anonymous {
        asked.reading.keep_keyed_cookies(&mut parts.headers);
    }
    let place = Place::enter(&client.shard, asked).await?;
    let wish = Wish::of(&parts.method, &parts.headers);
    let request = serve::outgoing(asked, parts, Body::Empty)?;
    let mut response = pass::pass(client, asked.clone(), request, (place, None)).await?;
    response
        .headers_mut()
        .append(CACHE_STATUS, status.to_value());
    Ok(passing::passed(wish, response, &client.shard.shared.coders))
}

/// Joins the one fetch for this page, or begins it.
async fn shared(
    client: &Client,
    asked: &Asked,
    key: &KeyRef<'_>,
    mut flight: u64,
    parts: &request::Parts,
    why: Forward,
    stale: Option<(Stale, First)>,
) -> Result<Response<Body>, Failure> {
    let (mut stale, first) =
        stale.map_or((None, First::Memory), |(stale, first)| (Some(stale), first));
    let counters = &client.shard.counters;
    let cache = &client.shard.shared.cache;
    let profile = &asked.site().profile;
    let fields = asked.reading.sent(profile, &parts.headers);
    let beside = beside_the_key(cache, asked, &parts.headers);
    for join in 1..=JOINS_MAX {
        let copy = stale.as_ref().map(|stale| Arc::clone(&stale.stored));
        // Staff do not wait behind the stranger who happened to ask first, what is known not to be shared is not waited for, and
        // nobody reads along with what credentials get.
        let joined = if asked.class == Class::Staff
            || parts.headers.contains_key(header::AUTHORIZATION)
            || stale.as_ref().is_some_and(|stale| stale.refused.is_some())
        {
            let (fetch, reader) = cache.alone(key, copy);
            Join::Lead(fetch, reader)
        } else {
            cache.join(key, flight ^ beside, copy, &fields, UnixMillis::now())
        };
        let (reader, status) = match joined {
            Join::Stored(stored) => {
                counters.collapsed.add(1);
                let now = UnixMillis::now();
                let status = CacheStatus {
                    collapsed: true,
                    ..CacheStatus::forward(why)
                };
                return Ok(answer(
                    cache,
                    &stored,
                    parts,
                    now,
                    status,
                    Served::Coalesced,
                ));
            }
            Join::Lead(fetch, reader) => {
                counters.misses.add(1);
                spawn_fetch(client, asked, parts, fetch);
                (reader, CacheStatus::forward(why))
            }
            Join::Follow(reader) => {
                counters.collapsed.add(1);
                (
                    reader,
                    CacheStatus {
                        collapsed: true,
                        ..CacheStatus::forward(why)
                    },
                )
            }
        };
        let is_doubted = reader.is_doubted();
        // A copy at hand is better than a slow answer or none.
        let copy = stale
            .as_ref()
            .filter(|stale| stale.on_error && !client.shard.shared.bypassed());
        let arrival = match copy {
            Some(stale) if stale.invalid || asked.class == Class::Staff => {
                Ok(reader.whole(&fields).await)
            }
            Some(_) => {
                let until = reader.began() + patience(asked);
                timeout_at(until, reader.whole(&fields)).await
            }
            None => Ok(reader.arrival(&fields).await),
        };
        let served = if status.collapsed {
            Served::Coalesced
        } else {
            Served::Miss
        };
        let fault = match arrival {
            // It may be older than what this very reader has just written; and is a newer copy than the one we had.
            Ok(Arrival::Stored(stored) | Arrival::Freshened(stored))
                if is_doubted && join < JOINS_MAX && copy.is_some() =>
            {
                if let Some(stale) = &mut stale {
                    stale.stored = stored;
                }
                continue;
            }
            Ok(Arrival::Stored(stored)) => {
                let status = CacheStatus {
                    stored: true,
                    ..status
                };
                let now = UnixMillis::now();
                return Ok(answer(cache, &stored, parts, now, status, served));
            }
            Ok(Arrival::Freshened(stored)) => {
                let status = CacheStatus {
                    forward_status: Some(StatusCode::NOT_MODIFIED),
                    ..status
                };
                let now = UnixMillis::now();
                return Ok(answer(cache, &stored, parts, now, status, served));
            }
            Ok(Arrival::Streaming(streaming)) => {
                if copy.is_none() || !freshness::is_origin_failure(streaming.status) {
                    return Ok(stream(client, parts, streaming, status, served));
                }
                FetchFault::Failed(streaming.status)
            }
            Ok(Arrival::Alone(Alone::OtherVariant { flight: other })) => {
                flight = other;
                continue;
            }
            // Staff changed the page while it was on its way: there is one fetch for all who still want it.
            Ok(Arrival::Alone(Alone::Unstorable(Unstorable::Invalidated))) => continue,
            Ok(Arrival::Alone(_)) => break,
            Ok(Arrival::Failed(fault)) => fault,
            Err(_) => {
                asked.state().kept_waiting.store(true, Ordering::Relaxed);
                FetchFault::TimedOut
            }
        };
        let Some(stale) = copy else {
            return Err(failure(fault));
        };
        let now = UnixMillis::now();
        if saved_is_better(client, asked, first, stale, fault, now) {
            return Err(failure(fault));
        }
        counters.stale.add(1);
        return Ok(answer(
            cache,
            &stale.stored,
            parts,
            now,
            stale_status(stale, now, fault),
            Served::Stale,
        ));
    }
    let answered = alone(client, asked, parts.clone(), CacheStatus::forward(why)).await;
    or_stale(client, asked, parts, answered, stale.as_ref(), first)
}

/// The origin's answer to a reader who asked it alone, or the copy there is when it gave none.
fn or_stale(
    client: &Client,
    asked: &Asked,
    parts: &request::Parts,
    answered: Result<Response<Body>, Failure>,
    stale: Option<&Stale>,
    first: First,
) -> Result<Response<Body>, Failure> {
    let shared = &client.shard.shared;
    let Some(stale) = stale.filter(|stale| stale.on_error && !shared.bypassed()) else {
        return answered;
    };
    let fault = match &answered {
        Ok(response) if freshness::is_origin_failure(response.status()) => {
            Some(FetchFault::Failed(response.status()))
        }
        Ok(_) => None,
        Err(failure) => fault_of_failure(failure),
    };
    let Some(fault) = fault else { return answered };
    let now = UnixMillis::now();
    if saved_is_better(client, asked, first, stale, fault, now) {
        return answered;
    }
    client.shard.counters.stale.add(1);
    Ok(answer(
        &shared.cache,
        &stale.stored,
        parts,
        now,
        stale_status(stale, now, fault),
        Served::Stale,
    ))
}

/// Requests that bring the same beside their key, and only those, may read along with each other: what one of them brings may be
/// repeated to all. 0 for nothing, which is what browsers bring.
fn beside_the_key(cache: &Cache, asked: &Asked, fields: &HeaderMap) -> u64 {
    let mut brought: Vec<&[u8]> = Vec::new();
    for (name, value) in profile::brought(&asked.site().profile, fields) {
        if asked.tells(name) {
            brought.push(name.as_str().as_bytes());
            brought.push(value.as_bytes());
        }
    }
    if brought.is_empty() {
        return 0;
    }
    cache.number_of(&brought)
}

fn patience(asked: &Asked) -> Duration {
    if asked.state().kept_waiting.load(Ordering::Relaxed) {
        STALE_PATIENCE
    } else {
        STALE_PATIENCE_TRUSTED
    }
}

/// A page has come whole. Judged by how long it took, not by when: one that was asked for before the origin fell silent says nothing.
fn came(asked: &Asked, sent: UnixMillis) {
    let took_ms = UnixMillis::now().0.saturating_sub(sent.0);
    if u128::from(took_ms) <= STALE_PATIENCE_TRUSTED.as_millis() {
        asked.state().kept_waiting.store(false, Ordering::Relaxed);
    }
}

/// Whether it will be stored is not known before its last byte, so nothing is said of that; why it will not, is.
fn stream(
    client: &Client,
    parts: &request::Parts,
    streaming: Streaming,
    mut status: CacheStatus,
    served: Served,
) -> Response<Body> {
    status.detail = streaming.stored.err().map(Unstorable::as_token);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = streaming.status;
    *response.headers_mut() = streaming.headers;
    response
        .headers_mut()
        .append(CACHE_STATUS, status.to_value());
    let is_own = streaming.stored.is_err();
    if parts.method != Method::HEAD && !streaming.body.is_end_stream() {
        *response.body_mut() = Body::stream(streaming.body);
    }
    if is_own {
        let wish = Wish::of(&parts.method, &parts.headers);
        response = passing::passed(wish, response, &client.shard.shared.coders);
    }
    serve::served(response, served)
}

fn failure(fault: FetchFault) -> Failure {
    match fault {
        FetchFault::Shed => Failure::Starved(Starved {
            waited: Duration::ZERO,
        }),
        FetchFault::TimedOut => Failure::Pass(PassError::Origin(OriginError::ResponseTimedOut)),
        FetchFault::Unreachable => Failure::Pass(PassError::Origin(OriginError::BreakerOpen)),
        FetchFault::Failed(_) | FetchFault::BrokeOff | FetchFault::Abandoned => {
            Failure::Pass(PassError::Origin(OriginError::ClosedBeforeResponse))
        }
    }
}

/// `None`: the client's fault, which no copy mends.
pub(crate) fn fault_of_failure(failure: &Failure) -> Option<FetchFault> {
    match failure {
        Failure::Starved(_) | Failure::Pass(PassError::StreamsFull(_)) => Some(FetchFault::Shed),
        Failure::Pass(PassError::Origin(error)) => Some(fault_of(error)),
        Failure::Upload(_) | Failure::Form(_) | Failure::TooManyTries | Failure::Forward(_) => None,
    }
}

fn fault_of(error: &OriginError) -> FetchFault {
    match error {
        OriginError::BreakerOpen
        | OriginError::Resolve
        | OriginError::Connect(_)
        | OriginError::ConnectTimedOut
        | OriginError::NoSocket(_) => FetchFault::Unreachable,
        OriginError::ResponseTimedOut | OriginError::RequestNotTaken => FetchFault::TimedOut,
        OriginError::ClosedBeforeResponse
        | OriginError::ClosedOnClient
        | OriginError::RequestBody(_)
        | OriginError::BadResponse(_) => FetchFault::BrokeOff,
    }
}

fn spawn_fetch(client: &Client, asked: &Asked, parts: &request::Parts, fetch: Fetch) {
    let shard = Rc::clone(&client.shard);
    let asked = asked.clone();
    let headers = parts.headers.clone();
    shard.shared.saved.read(&asked);
    let place = Place::enter(&shard, &asked);
    tokio::task::spawn_local(async move {
        let _busy = shard.shared.busy();
        run_fetch(&shard, &asked, headers, place, fetch).await;
    });
}

/// Asks the origin for what everybody may have. What it answered with; `None`: it did not.
pub(crate) async fn run_fetch(
    shard: &Rc<Shard>,
    asked: &Asked,
    mut headers: HeaderMap,
    place: impl Future<Output = Result<Place, Starved>>,
    fetch: Fetch,
) -> Option<StatusCode> {
    let place = match place.await {
        Ok(place) => place,
        Err(Starved { .. }) => {
            fetch.fail(FetchFault::Shed);
            return None;
        }
    };
    let cache = &shard.shared.cache;
    let profile = &asked.site().profile;
    let bare = profile::has_too_many_unkeyed(profile, &headers)
        || cache.is_bare(&key(cache, asked), UnixMillis::now());
    let mut left_out = Vec::new();
    asked
        .reading
        .for_shared_fetch(profile, &mut headers, |name| {
            let tells = !bare && asked.tells(name);
            if !tells {
                left_out.push(name.clone());
            }
            tells
        });
    let briefly = brief::lasts(&shard.shared, asked, &headers);
    let mut outbound = asked.outbound();
    if bare || briefly.is_some() || asked.is_our_own {
        // What its origin lets nobody keep may be made for one address, and what repeats an address must not repeat anybody's.
        outbound.client_address = ForwardClientAddress::None;
    }
    if forward::request(&Method::GET, &mut headers, &asked.inbound(), &outbound).is_err() {
        place.finish(Outcome::FAILED);
        fetch.fail(FetchFault::Abandoned);
        return None;
    }
    forward::for_cache_fetch(&mut headers);
    let asked_headers = headers.clone();
    let unkeyed = unkeyed(asked, &headers);
    // Front pages and feeds are asked for anew with every article, which says nothing of them.
    let is_expected = asked.usage == Use::Page
        && fetch
            .stale()
            .is_some_and(|stale| stale.doubt() == Doubt::Invalid);
    let purge_number = fetch.purge_number();
    if let Some(stale) = fetch.stale() {
        headers.extend(stale.validation_fields());
    }
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = http::Uri::from(asked.target.clone());
    *request.headers_mut() = headers;

    let sent = UnixMillis::now();
    let response = match shard
        .origin(&asked.running, asked.site_id)
        .send(request)
        .await
    {
        Ok(response) => response,
        Err(error) => {
            place.finish(pass::outcome_of(&error));
            fetch.fail(fault_of(&error));
            return None;
        }
    };
    let times = Times {
        request: sent,
        response: UnixMillis::now(),
    };
    pass::learn(asked, &Method::GET, &asked_headers, &response);
    let (mut head, body) = response.into_parts();
    forward::response(head.status, &mut head.headers, &asked.inbound(), &outbound);
    let house = house(asked, &head.headers);
    // What is kept for seconds only is nothing to save.
    let public = house
        .filter(|_| briefly.is_none() && !asked_headers.contains_key(header::AUTHORIZATION))
        .map(|house| Public {
            asked,
            house,
            as_usual: profile::asks_as_usual(profile, &asked_headers),
            is_expected,
            now: times.response,
        });
    let fetch = fetch.on_terms(Terms {
        house,
        unkeyed,
        left_out,
        briefly,
    });
    let saved = &shard.shared.saved;
    if let Some(public) = &public {
        saved.answered(public, head.status);
        if let Some(location) = head
            .headers
            .get(header::LOCATION)
            .filter(|_| asked.is_our_own)
        {
            saved.sent_on(public, location.as_bytes());
        }
    }
    let status = head.status;
    let stored = receive(asked, &asked_headers, fetch, (head, body), place, times).await;
    if let (Some(public), Some(stored)) = (&public, stored)
        && let Some(leave) = cache.may_store(asked.site_id, purge_number)
    {
        saved.offer(&leave, public, &stored);
    }
    Some(status)
}

/// What the site's profile says of the answer to anybody who asks for this. `None`: not anybody does.
pub(crate) fn house(asked: &Asked, answer: &HeaderMap) -> Option<House> {
    let profile = &asked.site().profile;
    let as_anonymous = asked.reading.standing < Standing::Credentials
        && profile.standing_of_use(asked.usage, asked.target.query()) == Standing::Anonymous;
    as_anonymous.then(|| profile.house(asked.usage, answer))
}

/// What the origin hears of the one reader who caused this fetch.
fn unkeyed(asked: &Asked, sent: &HeaderMap) -> Vec<HeaderValue> {
    let address = sent.get("x-forwarded-for").cloned();
    profile::unkeyed(&asked.site().profile, sent)
        .filter(|(name, _)| *name != "surrogate-capability")
        .map(|(_, value)| value.clone())
        .filter(|value| *value != asked.running.signature)
        .chain(address)
        .collect()
}

/// What somebody's own answer says of everybody's: the next who asks like him may be answered with all others.
pub(crate) fn learn_openness(
    cache: &Cache,
    asked: &Asked,
    method: &Method,
    status: StatusCode,
    fields: &HeaderMap,
) {
    let standing = asked.reading.standing;
    let of_somebody = matches!(standing, Standing::Unsure | Standing::Session);
    if method != Method::GET || !of_somebody {
        return;
    }
    let now = UnixMillis::now();
    let nobody = HeaderMap::new();
    let question = freshness::Asked {
        method,
        headers: &nobody,
        no_store: false,
    };
    let times = Times {
        request: now,
        response: now,
    };
    let Ok(freshness) = freshness::judge(&question, status, fields, times) else {
        return;
    };
    let by_cookie = vary::names(fields).is_none_or(|names| names.contains(&header::COOKIE));
    if freshness.is_fresh(now) && freshness.reach().includes(standing) && !by_cookie {
        cache.note_open(&key(cache, asked), freshness.reach(), now);
    }
}

/// Hands out what arrives. What is stored at the end, if anything.
async fn receive(
    asked: &Asked,
    asked_headers: &HeaderMap,
    fetch: Fetch,
    (head, mut body): (http::response::Parts, Body),
    mut place: Place,
    times: Times,
) -> Option<Arc<Stored>> {
    let status = head.status;
    let outcome = pass::outcome_of_status(status);
    if pass::is_stream(&head.headers, &body) {
        place = match place.into_stream(asked, outcome) {
            Ok(place) => place,
            Err(_) => {
                fetch.fail(FetchFault::Shed);
                return None;
            }
        };
    }
    let (shared, purge_number) = (Arc::clone(&place.shard().shared), fetch.purge_number());
    let length = body.size_hint().exact();
    let question = freshness::Asked {
        method: &Method::GET,
        headers: asked_headers,
        no_store: false,
    };
    let mut look = Watch::of(&shared, asked, &Method::GET, asked_headers)
        .and_then(|watch| watch.look(asked, head.status, &head.headers));
    let mut receiving = match fetch.head(&question, head.status, head.headers, length, times) {
        Reception::Freshened(stored) => {
            came(asked, times.request);
            place.finish(outcome);
            return Some(stored);
        }
        Reception::Body(receiving) => receiving,
    };
    // What is stored by the rules needs no proof.
    look = look
        .filter(|_| !receiving.is_kept())
        .and_then(|look| look.afforded(asked));
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let chunk = match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            receiving.trailers(trailers);
                        }
                        continue;
                    }
                };
                if place.is_long_held() {
                    place = match place.into_stream(asked, outcome) {
                        Ok(place) => place,
                        Err(_) => {
                            receiving.fail(FetchFault::Shed);
                            return None;
                        }
                    };
                }
                if let Some(look) = &mut look {
                    look.push(&chunk);
                }
                if receiving.chunk(chunk).await.is_err() {
                    // Nobody wants the rest. Its slot stays taken for the learned cost: the origin does not know.
                    return None;
                }
            }
            Some(Err(_)) => {
                place.finish(Outcome::FAILED);
                receiving.fail(FetchFault::BrokeOff);
                return None;
            }
            None => {
                came(asked, times.request);
                place.finish(outcome);
                if let Some(look) = look {
                    look.done(asked);
                }
                let stored = receiving.done();
                if let Some(stored) = stored.as_ref().filter(|_| !is_of_the_flood(asked)) {
                    reduced::note_links(asked, stored);
                }
                let leave = shared.cache.may_store(asked.site_id, purge_number);
                let to_find = stored.as_deref().zip(leave.as_ref());
                searching::fetched(asked, &shared.saved, asked_headers, status, to_find);
                return stored;
            }
        }
    }
}

/// Under attack, pages at addresses that the site does not name are most of what is stored. To read them for their links and words would
/// cost more than to serve them; what is worth it will be named.
pub(crate) fn is_of_the_flood(asked: &Asked) -> bool {
    asked.is_strange && asked.state().learned.is_under_attack(UnixMillis::now())
}

/// The body of a fresh stored response, its whole head in `out`; what there is instead, and nothing in `out`, when it is not to be had
/// without waiting. `is_whole`: nothing was taken from the target, which a redirect would have to give back.
pub(crate) fn at_once<F: crate::fields::Fields>(
    cache: &Cache,
    key: &KeyRef<'_>,
    method: &Method,
    (fields, is_whole): (&F, bool),
    directives: RequestDirectives,
    connection: &[u8],
    out: &mut bytes::BytesMut,
) -> Result<Bytes, Lookup> {
    let now = UnixMillis::now();
    let stored = cache.fresh(key, fields, directives, now)?;
    if !is_whole && stored.status().is_redirection() || stored.wants_vouchers() {
        return Err(Lookup::Fresh(stored));
    }
    let shape = cache.shape(&stored, method, fields);
    let status = CacheStatus::hit(stored.freshness().ttl_secs(now));
    stored
        .write_head(&shape, now, &status, connection, out)
        .ok_or(Lookup::Fresh(stored))
}
