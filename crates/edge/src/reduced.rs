//! A request of which there is no copy, answered with the copy of what it most likely asks for; and in calm, the few requests of our own by
//! which we learn what may be left out of an address. Each step takes away more of the request:
//!
//! - the cookies of a reader we only cannot place: the page as everybody is shown it;
//! - the language or currency he has chosen: the page as it is for who has not. One reader in five has chosen, and for most pages his is
//!   the first request with that choice, so without this step his article waits behind a flood although a copy of it is there;
//! - parameters of an address nobody has seen, as far as [`crate::relevance`] allows.
//!
//! This is asked for three kinds of request:
//!
//! - one whose answer the cache has not, while the origin has no room for it: [`at_once`] for HTTP/1.1, at about the price of a hit, because a
//!   flood consists of these, and [`read`] for the rest;
//! - one that the origin was to answer and could not: its reader would get a page that tells him to wait;
//! - one in calm, which may be worth a [`Probe`].
//!
//! Never staff, nor whoever has a session or brings credentials. The answer is `no-store`, so that a mistake lasts for one request.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::BodyExt;
use saqta_detect::facts::Served;
use saqta_detect::watch::Posture;
use tokio::time::timeout;

use crate::admission::{Ask, Class, Outcome, Starved};
use crate::asked::Asked;
use crate::body::Body;
use crate::cache::Cache;
use crate::cache::flight::FetchFault;
use crate::cache::freshness;
use crate::cache::key::KeyRef;
use crate::cache::status::CacheStatus;
use crate::cache::stored::{KEEPING_FIELDS, Stored};
use crate::clock::UnixMillis;
use crate::disk::record::Identity;
use crate::fields::Fields;
use crate::forward::{self, Outbound};
use crate::known::links;
use crate::likeness::{self, Likeness};
use crate::pass;
use crate::place::Place;
use crate::plan::{ForwardClientAddress, Site};
use crate::profile::{Reading, Standing, Use};
use crate::read::{self, First, SAVED_PATIENCE};
use crate::relevance::{Decision, Pressure, Probe, Relevance, Sighting, With};
use crate::saved;
use crate::serve::{Client, Failure};
use crate::shard::{Shard, SiteState};

/// A site counts as under attack for this long after its origin had no room for somebody. While copies answer a flood the origin is idle again, and
/// each time it is would otherwise be a gap through which the flood comes back.
const ATTACK_LASTS: Duration = Duration::from_secs(30);
/// No need to say more often that it is.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// Pages whose links are still to be read, each of [`PAGE_BYTES_MAX`](likeness::PAGE_BYTES_MAX) at most. One takes milliseconds; past this the next
/// refresh of a page will do.
const PAGES_WAITING_MAX: usize = 16;
/// Links with parameters of one page. A front page has 200 links, few of them with any.
const LINKS_OF_PAGE_MAX: usize = 4_096;

/// What one site has learned of its parameters; outlives reloads.
pub(crate) struct Learned {
    relevance: RwLock<Relevance>,
    /// When the origin last had no room. 0: never.
    starved_at: AtomicU64,
    unread: Mutex<Unread>,
}

/// One thread at a time reads them.
#[derive(Default)]
struct Unread {
    pages: VecDeque<Page>,
    is_reading: bool,
}

struct Page {
    host: String,
    target: String,
    stored: Arc<Stored>,
}

impl Learned {
    pub(crate) fn new(secret: std::hash::RandomState) -> Self {
        Self {
            relevance: RwLock::new(Relevance::new(secret)),
            starved_at: AtomicU64::new(0),
            unread: Mutex::default(),
        }
    }

    pub(crate) fn is_under_attack(&self, now: UnixMillis) -> bool {
        let starved_at = UnixMillis(self.starved_at.load(Ordering::Relaxed));
        now.since(starved_at) < ATTACK_LASTS
    }

    /// Its origin has no room for somebody.
    pub(crate) fn has_starved(&self, now: UnixMillis) {
        let before = UnixMillis(self.starved_at.load(Ordering::Relaxed));
        if now.since(before) >= SAID_EVERY {
            self.starved_at.store(now.0, Ordering::Relaxed);
        }
    }

    fn teach(&self, teach: impl FnOnce(&mut Relevance)) {
        teach(
            &mut self
                .relevance
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// What speaks for sparing the origin this request.
pub(crate) fn pressure(
    state: &SiteState,
    ask: &Ask,
    is_suspect: bool,
    now: UnixMillis,
) -> Pressure {
    let starved = state.admission.is_starved(ask);
    if starved {
        state.learned.has_starved(now);
    }
    Pressure {
        starved,
        under_attack: starved
            || is_suspect
            || state.learned.is_under_attack(now)
            || state.detection.stance().posture != Posture::Calm,
        matches_signature: is_suspect,
    }
}

/// What answers instead of the page that was asked for.
struct StandIn {
    stored: Arc<Stored>,
    /// It is of the very address.
    of_its_address: bool,
}

/// What was asked for, and where a copy of it would be.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub cache: &'a Cache,
    pub key: &'a KeyRef<'a>,
    pub usage: Use,
    pub query: Option<&'a str>,
    /// Is the saved copy of this address better than what memory has?
    pub is_better: &'a dyn Fn(&[u8]) -> bool,
}

/// The copy that answers instead of what was asked for, for which there is none. `reading`, `fields`: of the request as it was asked.
fn copy<F: Fields + ?Sized>(
    wanted: Wanted<'_>,
    (site, state): (&Site, &SiteState),
    (reading, fields): (&Reading, &F),
    pressure: Pressure,
    now: UnixMillis,
) -> Option<StandIn> {
    let Wanted {
        cache,
        key,
        is_better,
        ..
    } = wanted;
    if reading.standing > Standing::Unsure
        || !reading.asks_for_the_page()
        || fields.field("range").is_some()
    {
        return None;
    }
    let anybody = reading.as_anybody();
    let undecided = anybody.without_choice();
    let page = |target: &[u8]| {
        let own = cache.beside(key, target);
        let found = cache.sparing(&own, &anybody.sent(&site.profile, fields), now);
        if found.is_some() || reading.keyed().is_empty() || !pressure.spares_unknown() {
            return found;
        }
        let plain = cache.without_choice(&own);
        cache.sparing(&plain, &undecided.sent(&site.profile, fields), now)
    };
    let target = key.target();
    // Who is anybody and has chosen nothing has been looked for.
    let takes_less = reading.standing == Standing::Unsure || !reading.keyed().is_empty();
    if takes_less
        && pressure.spares_unknown()
        && let Some(stored) = page(target)
    {
        return Some(StandIn {
            stored,
            of_its_address: true,
        });
    }
    let found = Cell::new(None);
    let is_known = |target: &[u8]| {
        let stored = page(target)
            .filter(|stored| stored.status() == StatusCode::OK)
            .filter(|_| !is_better(target));
        let is_known = stored.is_some();
        found.set(stored);
        is_known
    };
    target_of(wanted, (site, state), pressure, now, is_known)?;
    found.take().map(|stored| StandIn {
        stored,
        of_its_address: false,
    })
}

/// The address of which a copy may answer. `is_known`: is there one?
fn target_of(
    Wanted {
        key, usage, query, ..
    }: Wanted<'_>,
    (site, state): (&Site, &SiteState),
    pressure: Pressure,
    now: UnixMillis,
    is_known: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let target = key.target();
    let path = &target[..memchr::memchr(b'?', target)?];
    if site.profile.standing_of_use(usage, query) != Standing::Anonymous {
        return None;
    }
    let relevance = &state.learned.relevance;
    let relevance = relevance.read().unwrap_or_else(PoisonError::into_inner);
    let decision = relevance.decide(
        || state.shapes.shape(path),
        target,
        pressure,
        now,
        |name| site.profile.selects_content_folded(name),
        is_known,
    );
    match decision {
        Decision::Reduced(target) => Some(target),
        Decision::AsAsked(_) => None,
    }
}

fn status(stored: &Stored, now: UnixMillis) -> CacheStatus {
    CacheStatus::hit(stored.freshness().ttl_secs(now)).with_detail("reduced")
}

/// The body, its whole head in `out`; nothing in `out` when no copy may answer.
pub(crate) fn at_once<F: Fields + ?Sized>(
    wanted: Wanted<'_>,
    of: (&Site, &SiteState),
    (method, reading, fields): (&Method, &Reading, &F),
    pressure: Pressure,
    now: UnixMillis,
    connection: &[u8],
    out: &mut BytesMut,
) -> Option<Bytes> {
    let stored = copy(wanted, of, (reading, fields), pressure, now)?.stored;
    let shape = wanted.cache.shape(&stored, method, fields);
    stored.write_head_unkept(&shape, now, &status(&stored, now), connection, out)
}

/// Is this one whom a rule hits, and who can be told by a page to wait for a pass? What over HTTP/1.1 is decided at once.
fn waits_for_pass(client: &Client, asked: &Asked, fields: &HeaderMap) -> bool {
    let saved = &client.shard.shared.saved;
    asked.is_suspect
        && asked.account.is_none()
        && client.takes_pages(fields)
        && !client.shard.shared.bypassed()
        && !saved.has_usual_copy(asked.site(), &saved::page(asked))
        && saved
            .other_spelling(asked.site(), &saved::page(asked))
            .is_none()
}

/// As [`read::read`]; a page that would tell its reader to wait is replaced by a copy where one may be.
pub(crate) async fn read(
    client: &Client,
    asked: &Asked,
    request: Request<()>,
) -> Result<Response<Body>, Failure> {
    let shared = &client.shard.shared;
    let reading = &asked.reading;
    let takes_less = asked.target.query().is_some()
        || reading.standing == Standing::Unsure
        || !reading.keyed().is_empty();
    let is_concerned = takes_less
        && reading.standing <= Standing::Unsure
        && asked.class != Class::Staff
        && !shared.bypassed();
    let key = read::key(&shared.cache, asked);
    let now = UnixMillis::now();
    let fields = reading.sent(&asked.site().profile, request.headers());
    // The page as it was saved, of this address and this choice, is nearer to what was asked for.
    let is_answered = shared.saved.has_copy(asked.site(), &saved::page(asked))
        || !shared.cache.needs_origin(&key, &fields, now);
    let waits_for_pass = !is_answered && waits_for_pass(client, asked, request.headers());
    if !is_concerned || is_answered {
        return if waits_for_pass {
            Err(Failure::Starved(Starved::AT_ONCE))
        } else {
            read::read(client, asked, request).await
        };
    }
    let page = saved::page(asked);
    let wanted = Wanted {
        cache: &shared.cache,
        key: &key,
        usage: asked.usage,
        query: asked.target.query(),
        is_better: &|target| shared.saved.is_better_of(&Identity { target, ..page }),
    };
    let of = (asked.site(), asked.state().as_ref());
    let said = (reading, request.headers());
    let pressure = pressure(asked.state(), &asked.ask(), asked.is_suspect, now);
    if let Some(stand_in) = copy(wanted, of, said, pressure, now) {
        return Ok(answer(
            client,
            &stand_in.stored,
            request.into_parts().0,
            now,
        ));
    }
    if waits_for_pass {
        return Err(Failure::Starved(Starved::AT_ONCE));
    }
    if !pressure.under_attack && *request.method() == Method::GET {
        sighted(client, asked, wanted, request.headers(), now);
    }
    let forsaken = Pressure {
        starved: true,
        ..pressure
    };
    let stand_in = copy(wanted, of, said, forsaken, now);
    let has_saved = |target: &[u8]| {
        let page = Identity { target, ..page };
        shared.saved.has_copy_of_any(asked.site(), &page)
    };
    // A script that asks for a part of a page reads an error better than a page.
    let saved = target_of(wanted, of, forsaken, now, has_saved)
        .filter(|_| reading.asks_for_the_page())
        .and_then(|target| PathAndQuery::try_from(target).ok())
        .map(|target| Asked {
            target,
            ..asked.clone()
        });
    let (parts, ()) = request.into_parts();
    let is_poor = |answered: &Result<Response<Body>, Failure>| match answered {
        Ok(response) => freshness::is_origin_failure(response.status()),
        Err(failure) => read::fault_of_failure(failure).is_some(),
    };
    if let Some(stand_in) = stand_in.as_ref().filter(|it| it.of_its_address) {
        // Newer than any saved copy of it.
        let live = read::live(client, asked, parts.clone(), First::Memory);
        return match timeout(SAVED_PATIENCE, live).await {
            Ok(live) if !is_poor(&live) => live,
            _ => Ok(answer(client, &stand_in.stored, parts, UnixMillis::now())),
        };
    }
    // What the page is without a parameter nobody knows, its reader is told only when there is no other answer.
    let answered = read::read(client, asked, Request::from_parts(parts.clone(), ())).await;
    if !is_poor(&answered) {
        return answered;
    }
    // Between memory and the saved copy it is as for the address itself.
    let fault = answered.as_ref().err().and_then(read::fault_of_failure);
    let is_up = matches!(fault, Some(FetchFault::Shed | FetchFault::TimedOut));
    if let Some(saved) = saved.filter(|_| stand_in.is_none() || !is_up)
        && let Some(copy) = read::saved_copy(client, &saved, &parts).await
    {
        return Ok(copy);
    }
    match stand_in {
        Some(stand_in) => Ok(answer(client, &stand_in.stored, parts, UnixMillis::now())),
        None => answered,
    }
}

fn answer(
    client: &Client,
    stored: &Arc<Stored>,
    parts: request::Parts,
    now: UnixMillis,
) -> Response<Body> {
    client.shard.counters.reduced.add(1);
    let (cache, status) = (&client.shard.shared.cache, status(stored, now));
    let mut response = read::answer(cache, stored, &parts, now, status, Served::Stale);
    let fields = response.headers_mut();
    for name in KEEPING_FIELDS {
        fields.remove(name);
    }
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A request that goes to the origin in calm: is there something to learn from its parameters?
fn sighted<F: Fields + ?Sized>(
    client: &Client,
    asked: &Asked,
    Wanted { cache, key, .. }: Wanted<'_>,
    fields: &F,
    now: UnixMillis,
) {
    if asked.target.query().is_none() || asked.reading.standing != Standing::Anonymous {
        return;
    }
    let (state, site) = (asked.state(), asked.site());
    let fields = asked.reading.sent(&site.profile, fields);
    let stats = state.admission.stats();
    let sighting = Sighting {
        path_shape: state.shapes.shape(asked.target.path().as_bytes()),
        target: key.target(),
        group: asked.group,
        // Three fetches more, one after the other, must not be what fills it.
        at_ease: stats.in_flight * 2 < stats.limit.max(2),
        now,
    };
    let mut probe = None;
    state.learned.teach(|relevance| {
        probe = relevance.sighted(
            &sighting,
            |name| site.profile.selects_content_folded(name),
            |target| {
                let page = cache.sparing(&cache.beside(key, target), &fields, now);
                page.is_some_and(|page| page.status() == StatusCode::OK)
            },
        );
    });
    if let Some(probe) = probe {
        let (shard, mut asked) = (Rc::clone(&client.shard), asked.clone());
        // Behind everybody who wants to read something.
        asked.class = Class::Signature;
        tokio::task::spawn_local(async move {
            let _busy = shard.shared.busy();
            probe_origin(&shard, &asked, &probe).await;
        });
    }
}

async fn probe_origin(shard: &Rc<Shard>, asked: &Asked, probe: &Probe) {
    let without = fetch(shard, asked, &probe.without, &probe.pair).await;
    let with = fetch(shard, asked, &probe.with, &probe.pair).await;
    let again = fetch(shard, asked, &probe.without, &probe.pair).await;
    let with = match with {
        Some((StatusCode::OK, Some(page))) => With::Page(page),
        Some((StatusCode::NOT_FOUND | StatusCode::GONE, _)) => With::Missing,
        _ => With::Nothing,
    };
    let page = |answer: Option<(StatusCode, Option<Likeness>)>| match answer {
        Some((StatusCode::OK, page)) => page,
        _ => None,
    };
    asked.state().learned.teach(|relevance| {
        relevance.learn(probe, page(without), with, page(again), UnixMillis::now());
    });
}

/// As a reader without cookies whose address is nobody's. `None`: no answer, or one that says nothing.
async fn fetch(
    shard: &Rc<Shard>,
    asked: &Asked,
    target: &[u8],
    pair: &[u8],
) -> Option<(StatusCode, Option<Likeness>)> {
    let place = Place::enter(shard, asked).await.ok()?;
    let profile = &asked.site().profile;
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
    Reading::of(profile, &headers).for_shared_fetch(profile, &mut headers, |_| false);
    let outbound = Outbound {
        client_address: ForwardClientAddress::None,
        ..asked.outbound()
    };
    let request = forward::request(&Method::GET, &mut headers, &asked.inbound(), &outbound)
        .ok()
        .and_then(|_| http::Uri::try_from(target).ok())
        .map(|uri| {
            forward::for_cache_fetch(&mut headers);
            let mut request = Request::new(Body::Empty);
            *request.uri_mut() = uri;
            *request.headers_mut() = headers;
            request
        });
    let Some(request) = request else {
        place.finish(Outcome::FAILED);
        return None;
    };
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
    let mut reading = likeness::Reading::new(kind, Some(pair));
    let mut left = likeness::PAGE_BYTES_MAX;
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

/// A page has been stored: names of parameters in its links are never left out. Read on another thread, soon.
pub(crate) fn note_links(asked: &Asked, stored: &Arc<Stored>) {
    let kind = stored
        .headers()
        .field("content-type")
        .and_then(links::Kind::of);
    let is_read = stored.status() == StatusCode::OK
        && kind.is_some_and(|kind| kind != links::Kind::Css)
        && stored.body().len() as u64 <= likeness::PAGE_BYTES_MAX;
    if !is_read {
        return;
    }
    let state = asked.state();
    let mut unread = lock(&state.learned.unread);
    if unread.pages.len() == PAGES_WAITING_MAX {
        return;
    }
    unread.pages.push_back(Page {
        host: asked.authority.as_str().to_owned(),
        target: asked.target.as_str().to_owned(),
        stored: Arc::clone(stored),
    });
    if !unread.is_reading {
        unread.is_reading = true;
        let state = Arc::clone(state);
        tokio::task::spawn_blocking(move || read_links(&state.learned));
    }
}

fn read_links(learned: &Learned) {
    loop {
        let page = {
            let mut unread = lock(&learned.unread);
            let page = unread.pages.pop_front();
            unread.is_reading = page.is_some();
            page
        };
        let Some(page) = page else { return };
        let kind = page.stored.headers().field("content-type");
        let Some(kind) = kind.and_then(links::Kind::of) else {
            continue;
        };
        let base = links::Base {
            host: page.host.as_bytes(),
            target: page.target.as_bytes(),
        };
        let mut targets: Vec<Vec<u8>> = Vec::new();
        links::extract(kind, base, page.stored.body(), &mut |_, target| {
            if target.contains(&b'?') && targets.len() < LINKS_OF_PAGE_MAX {
                targets.push(target.to_vec());
            }
        });
        if targets.is_empty() {
            continue;
        }
        learned.teach(|relevance| {
            for target in &targets {
                relevance.linked(page.target.as_bytes(), target);
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
