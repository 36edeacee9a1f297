//! The HTTP cache, in memory: what makes a flood cheap.
//!
//! A reader who asks for an article during an attack must get it without the origin hearing of it. So a cache hit is the product's
//! most used path, and the rules of RFC 9111 are worked out when a response arrives, not when it is asked for. A lookup borrows the
//! request, hashes once, compares two numbers and hands out a reference: no allocation, no lock but the store's own.
//!
//! The way of a request:
//!
//! [`Cache::lookup`] says fresh, stale, miss. A miss or a stale copy [`Cache::join`]s the one fetch for its key, as leader or
//! follower. The leader's task holds the [`fetch::Fetch`] and tells it what the origin says; followers read along; at the end the
//! response is stored. [`Cache::shape`] and [`stored::Stored::write_head`] turn a stored response into an answer: whole, 304, ranges.
//!
//! What strangers can do to it is bounded: bytes by the stores, fetches and followers by [`flight`], remembered refusals by a table
//! of fixed size, compression by one thread. A client's `no-cache` does not reach the origin unless the caller says so, because that
//! would be a switch for turning the shield off.

pub mod conditional;
pub mod control;
pub mod fetch;
pub mod flight;
pub mod freshness;
pub mod key;
pub mod memory;
pub mod purge;
pub mod range;
pub mod spelling;
pub mod status;
pub mod stored;
pub mod vary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use quick_cache::UnitWeighter;

use self::control::{Control, Seconds};
use self::fetch::Fetch;
use self::flight::{FlightReader, FlightWriter, Flights, Joined, NotKept};
use self::freshness::{Freshness, Reach, Unstorable};
use self::key::{BuildHashed, Key, KeyRef, Keyring, Scheme};
use self::memory::{Found, NotTaken, Store};
use self::purge::{MayStore, What};
use self::status::Forward;
use self::stored::{Doubt, Shape, Stored};
use crate::clock::UnixMillis;
use crate::compress::Compressor;
use crate::disk::record::Response;
use crate::fields::Fields;
use crate::plan::SiteId;
use crate::profile::{House, Standing};

/// Keys known not to be storable. 40 bytes each; a flood of new ones pushes out others of its kind first.
pub const REFUSED_MAX: usize = 65_536;
/// How long a key is taken not to be storable. Requests for it do not wait for each other meanwhile; should it become storable, the
/// next response is stored and the key forgotten.
pub const REFUSED_MILLIS: u64 = 60_000;

/// The same for a page with a form that belongs to a session: found only when its head, without the session, is with a reader.
const FORM_TOKEN_MILLIS: u64 = 3_600_000;

/// Keys somebody's own request has shown to be everybody's: the next such request fetches for all. 32 bytes each; forgotten, it is
/// learned again from one request.
const OPEN_MAX: usize = 16_384;
const OPEN_MILLIS: u64 = 3_600_000;
/// Keys whose response has repeated something a reader said: fetched with nothing that is not in the key. 24 bytes each.
const BARE_MAX: usize = 16_384;
const BARE_MILLIS: u64 = 3_600_000;

/// Share of the cache's bytes that responses on their way may hold besides, at least and at most this much.
const FLIGHT_SHARE: u64 = 4;
const FLIGHT_BYTES_MIN: u64 = 16 * 1024 * 1024;
const FLIGHT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Are the client's own `Cache-Control` and `Pragma` obeyed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestDirectives {
    /// Of staff: an editor who reloads wants the origin's version.
    Honour,
    /// Of everybody else.
    Ignore,
}

/// Who sent an unsafe request. Whoever it was, what it changed is asked for anew; whose word it is decides what readers get meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// An editor who corrects an article must see the correction, and so must everybody after.
    Staff,
    /// Anybody can write: at most answers to POST are 200s that changed nothing.
    Stranger,
}

#[derive(Debug)]
pub enum Lookup {
    Fresh(Arc<Stored>),
    Stale(Stale),
    Miss(Miss),
    /// The key is known not to be storable: fetch alone, at once.
    HitForMiss(Unstorable),
    /// This request must not share a fetch: it carries credentials, or asks for `no-store`. Fetch alone.
    Bypass(Forward),
    /// The client wants nothing from the origin (`only-if-cached`) and there is nothing else: 504.
    NotCached,
}

#[derive(Debug)]
pub struct Stale {
    pub stored: Arc<Stored>,
    /// [`Forward::Stale`], or [`Forward::Request`] when it is fresh but the client, honoured, wants it validated.
    pub why: Forward,
    /// Send it now and revalidate behind the client's back.
    pub while_revalidating: bool,
    /// Send it if the origin fails or does not admit the request.
    pub on_error: bool,
    /// Staff changed it: wait for the origin as long as it takes, unless it fails.
    pub invalid: bool,
    /// The last response for this key could not be stored: fetch alone, at once.
    pub refused: Option<Unstorable>,
    /// The client wants nothing from the origin: send it, and ask nobody.
    pub only_if_cached: bool,
    /// For [`Cache::join`].
    pub flight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss {
    pub why: Forward,
    /// For [`Cache::join`].
    pub flight: u64,
}

/// The part a request has in a fetch.
pub enum Join {
    /// Give the fetch to a task of its own and read along.
    Lead(Fetch, FlightReader),
    Follow(FlightReader),
    /// It was stored between lookup and now.
    Stored(Arc<Stored>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    pub keys: u64,
    pub bytes: u64,
    pub bytes_max: u64,
    pub hits: u64,
    pub stale: u64,
    pub misses: u64,
    pub stored: u64,
    pub freshened: u64,
    pub invalidated: u64,
    /// Orders to purge.
    pub purges: u64,
    pub evicted: u64,
    /// Complete responses the store did not take for their weight, and bodies that proved too long on their way.
    pub too_heavy: u64,
    /// Fetches under way that can be joined.
    pub flights: u64,
    /// Bytes of responses on their way.
    pub flight_bytes: u64,
    /// Requests that shared another's fetch.
    pub collapsed: u64,
    /// Requests that fetched alone because [`flight::FLIGHTS_MAX`] or [`flight::FOLLOWERS_MAX`] was reached.
    pub turned_away: u64,
    /// Bodies not kept because flights held their share of memory.
    pub flights_without_room: u64,
    /// Keys remembered as not storable.
    pub refused_keys: u64,
    pub compressions_dropped: u64,
}

pub struct Cache {
    keyring: Keyring,
    stores: Box<[Store]>,
    flights: Arc<Flights>,
    refused: quick_cache::sync::Cache<u64, Refused, UnitWeighter, BuildHashed>,
    open: quick_cache::sync::Cache<u64, Open, UnitWeighter, BuildHashed>,
    bare: quick_cache::sync::Cache<u64, UnixMillis, UnitWeighter, BuildHashed>,
    compressor: Compressor<Stored>,
    serials: AtomicU64,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    why: Unstorable,
    until: UnixMillis,
}

/// A key whose origin, asked by somebody in particular, said that everybody may have the answer.
#[derive(Debug, Clone, Copy)]
struct Open {
    reach: Reach,
    until: UnixMillis,
}

#[derive(Default)]
struct Counts {
    hits: Striped,
    stale: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    freshened: AtomicU64,
    invalidated: AtomicU64,
    purges: AtomicU64,
    too_heavy: AtomicU64,
    flights_without_room: AtomicU64,
}

impl Cache {
    /// `sites` stores with equal parts of `bytes_max`, and the compressing thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(sites: usize, bytes_max: u64) -> std::io::Result<Arc<Self>> {
        let keyring = Keyring::default();
        let part = bytes_max / sites.max(1) as u64;
        let flight_bytes_max = (bytes_max / FLIGHT_SHARE).clamp(FLIGHT_BYTES_MIN, FLIGHT_BYTES_MAX);
        Ok(Arc::new(Self {
            flights: Arc::new(Flights::new(keyring.clone(), flight_bytes_max)),
            stores: (0..sites.max(1)).map(|_| Store::new(part)).collect(),
            refused: remembered(REFUSED_MAX),
            open: remembered(OPEN_MAX),
            bare: remembered(BARE_MAX),
            compressor: Compressor::start()?,
            serials: AtomicU64::new(0),
            counts: Counts::default(),
            keyring,
        }))
    }

    /// `host` as in the request, `target` in origin form.
    pub fn key<'a>(
        &self,
        site: SiteId,
        scheme: Scheme,
        host: &'a [u8],
        target: &'a [u8],
    ) -> KeyRef<'a> {
        self.keyring.key(site, scheme, host, target)
    }

    /// `cookies`: [`crate::profile::Reading::keyed`].
    pub fn key_with<'a>(
        &self,
        site: SiteId,
        scheme: Scheme,
        host: &'a [u8],
        target: &'a [u8],
        cookies: &'a [u8],
    ) -> KeyRef<'a> {
        self.keyring.key_with(site, scheme, host, target, cookies)
    }

    /// Of a request's values that are not in its key: who brings others reads along with others.
    pub fn number_of(&self, values: &[&[u8]]) -> u64 {
        self.keyring.hash_of(values)
    }

    /// Somebody's own request got an answer that its origin lets reach this far, whoever asks.
    pub fn note_open(&self, key: &KeyRef<'_>, reach: Reach, now: UnixMillis) {
        let until = UnixMillis(now.0.saturating_add(OPEN_MILLIS));
        self.open.insert(key.hash(), Open { reach, until });
    }

    fn is_open(&self, key: &KeyRef<'_>, standing: Standing, now: UnixMillis) -> bool {
        standing == Standing::Anonymous
            || self
                .open
                .get(&key.hash())
                .is_some_and(|open| now < open.until && open.reach.includes(standing))
    }

    fn fetch_bare(&self, key: &Key, now: UnixMillis) {
        let until = UnixMillis(now.0.saturating_add(BARE_MILLIS));
        self.bare.insert(key.hash(), until);
    }

    /// Is this key fetched with nothing that is not in it?
    pub fn is_bare(&self, key: &KeyRef<'_>, now: UnixMillis) -> bool {
        self.bare.get(&key.hash()).is_some_and(|until| now < until)
    }

    /// For GET and HEAD.
    pub fn lookup<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        directives: RequestDirectives,
        now: UnixMillis,
    ) -> Lookup {
        let wishes = match directives {
            RequestDirectives::Ignore => None,
            RequestDirectives::Honour => Some(wishes_of(request)),
        };
        let found = self.find(key, request, wishes.as_ref(), now);
        match &found {
            Lookup::Fresh(_) => self.counts.hits.add(),
            Lookup::Stale(_) => count(&self.counts.stale),
            Lookup::Miss(_) | Lookup::HitForMiss(_) | Lookup::Bypass(_) | Lookup::NotCached => {
                count(&self.counts.misses)
            }
        }
        match found {
            Lookup::Fresh(stored) => Lookup::Fresh(stored),
            // Of all a stranger may wish, this one spares the origin.
            found if Control::of(request).only_if_cached => match found {
                Lookup::Stale(stale) if stale.while_revalidating || stale.on_error => {
                    Lookup::Stale(Stale {
                        only_if_cached: true,
                        ..stale
                    })
                }
                _ => Lookup::NotCached,
            },
            found => found,
        }
    }

    /// The key of another target of the same host, for the same reader.
    pub fn beside<'a>(&self, key: &KeyRef<'a>, target: &'a [u8]) -> KeyRef<'a> {
        self.keyring.key_beside(key, key.scheme(), target)
    }

    /// The key of the same page for a reader who has not chosen a language or a currency.
    pub fn without_choice<'a>(&self, key: &KeyRef<'a>) -> KeyRef<'a> {
        self.keyring.key_without_cookies(key)
    }

    /// The copy that spares the origin: fresh, or stale and good enough for an origin in trouble. Counts nothing.
    pub fn sparing<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        now: UnixMillis,
    ) -> Option<Arc<Stored>> {
        match self.find(key, request, None, now) {
            Lookup::Fresh(stored) => Some(stored),
            Lookup::Stale(stale) if stale.on_error && !stale.invalid => Some(stale.stored),
            _ => None,
        }
    }

    /// Nothing here answers this request, now or soon: no copy that may be sent, no fetch under way to read along with.
    pub fn needs_origin<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        now: UnixMillis,
    ) -> bool {
        self.leaves_to_origin(key, &self.find(key, request, None, now))
    }

    /// The same of what [`Cache::fresh`] found instead of a fresh copy.
    pub fn leaves_to_origin(&self, key: &KeyRef<'_>, found: &Lookup) -> bool {
        match found {
            Lookup::Miss(miss) => !self.flights.is_flying(key, miss.flight),
            // A copy that may not be sent unasked is no answer.
            Lookup::Stale(stale) if !stale.while_revalidating && !stale.on_error => {
                !self.flights.is_flying(key, stale.flight)
            }
            Lookup::HitForMiss(_) | Lookup::Bypass(_) => true,
            Lookup::Fresh(_) | Lookup::Stale(_) | Lookup::NotCached => false,
        }
    }

    /// A fresh copy, or what there is instead. Counts the first only; the other, [`Cache::lookup`] does.
    pub fn fresh<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        directives: RequestDirectives,
        now: UnixMillis,
    ) -> Result<Arc<Stored>, Lookup> {
        let wishes = match directives {
            RequestDirectives::Ignore => None,
            RequestDirectives::Honour => Some(wishes_of(request)),
        };
        match self.find(key, request, wishes.as_ref(), now) {
            Lookup::Fresh(stored) => {
                self.counts.hits.add();
                Ok(stored)
            }
            other => Err(other),
        }
    }

    fn find<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        wishes: Option<&Control>,
        now: UnixMillis,
    ) -> Lookup {
        if wishes.is_some_and(|wishes| wishes.no_store) {
            return Lookup::Bypass(Forward::Request);
        }
        let standing = request.standing();
        let authorized =
            standing == Standing::Credentials || request.field("authorization").is_some();
        let miss = match self.store(key).find(key, request) {
            Found::Stored(stored) if authorized && !stored.is_shared_with_authorized() => {
                return Lookup::Bypass(Forward::Bypass);
            }
            Found::Stored(stored) if !stored.freshness().reach().includes(standing) => {
                return Lookup::Bypass(Forward::Bypass);
            }
            Found::Stored(stored) => return self.judge(key, stored, request, wishes, now),
            Found::OtherVariants(other) => Miss {
                why: Forward::VaryMiss,
                flight: other.selection().flight(&self.keyring, request),
            },
            Found::Nothing => Miss {
                why: Forward::UriMiss,
                flight: 0,
            },
        };
        if authorized || !self.is_open(key, standing, now) {
            return Lookup::Bypass(Forward::Bypass);
        }
        match self.refusal(key, now) {
            Some(why) => Lookup::HitForMiss(why),
            None => Lookup::Miss(miss),
        }
    }

    fn refusal(&self, key: &KeyRef<'_>, now: UnixMillis) -> Option<Unstorable> {
        self.refused
            .get(&key.hash())
            .filter(|refused| now < refused.until)
            .map(|refused| refused.why)
    }

    fn judge<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        stored: Arc<Stored>,
        request: &F,
        wishes: Option<&Control>,
        now: UnixMillis,
    ) -> Lookup {
        let fresh = stored.is_fresh(now);
        let freshness = stored.freshness();
        let doubt = stored.doubt();
        let accepted = match wishes {
            None => fresh,
            Some(wishes) => accepts(wishes, &stored, now),
        };
        if accepted {
            return Lookup::Fresh(stored);
        }
        let flight = if stored.selection().is_empty() {
            0
        } else {
            stored.selection().flight(&self.keyring, request)
        };
        Lookup::Stale(Stale {
            why: if fresh {
                Forward::Request
            } else {
                Forward::Stale
            },
            while_revalidating: !fresh
                && doubt == Doubt::None
                && freshness.serves_while_revalidating(now),
            // Doubted, it counts as stale before its time. An origin that forbids stale answers forbids this one; one that says no
            // more than `s-maxage` has granted the time itself, and only a writer speaks against it.
            on_error: freshness.serves_on_error(now)
                && (doubt == Doubt::None || !freshness.forbids_stale()),
            invalid: doubt == Doubt::Invalid,
            refused: self.refusal(key, now),
            only_if_cached: false,
            flight,
            stored,
        })
    }

    /// Joins the fetch for a key, or begins it. `flight` is from the lookup or from [`flight::Alone::OtherVariant`]; `stale` is what
    /// the fetch is to validate.
    pub fn join<F: Fields + ?Sized>(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        flight: u64,
        stale: Option<Arc<Stored>>,
        request: &F,
        now: UnixMillis,
    ) -> Join {
        // A flight that lands is in the store before it leaves the list, so whoever finds neither is the first.
        let landed = || match self.store(key).find(key, request) {
            Found::Stored(stored)
                if stored.is_fresh(now)
                    && stale
                        .as_ref()
                        .is_none_or(|stale| !Arc::ptr_eq(stale, &stored)) =>
            {
                Some(stored)
            }
            _ => None,
        };
        let (fetch, reader) = match self.flights.join(key, flight, landed) {
            Joined::Follow(reader) => return Join::Follow(reader),
            Joined::Landed(stored) => return Join::Stored(stored),
            Joined::Lead(writer) => self.lead(key, writer, stale),
            Joined::Full => self.alone(key, stale),
        };
        Join::Lead(fetch, reader)
    }

    /// A fetch nobody else has a part in; its response may still be stored.
    pub fn alone(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        stale: Option<Arc<Stored>>,
    ) -> (Fetch, FlightReader) {
        self.lead(key, self.flights.alone(), stale)
    }

    fn lead(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        writer: FlightWriter,
        stale: Option<Arc<Stored>>,
    ) -> (Fetch, FlightReader) {
        let fetch = Fetch::new(Arc::clone(self), key.to_key(), writer, stale);
        let reader = fetch.leader();
        (fetch, reader)
    }

    /// A fetch in the background. `None`: one is under way, or there are too many.
    pub fn revalidate(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        flight: u64,
        stale: Arc<Stored>,
    ) -> Option<Fetch> {
        self.begin(key, flight, Some(stale))
    }

    /// The same for a page of which there may be no copy yet.
    pub fn begin(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        flight: u64,
        stale: Option<Arc<Stored>>,
    ) -> Option<Fetch> {
        let writer = self.flights.begin(key, flight)?;
        Some(Fetch::new(Arc::clone(self), key.to_key(), writer, stale))
    }

    /// How to answer a request from a stored response. Has a better coding made where there is none yet.
    pub fn shape<F: Fields + ?Sized>(
        &self,
        stored: &Arc<Stored>,
        method: &Method,
        request: &F,
    ) -> Shape {
        let (shape, wanted) = stored.shape(method, request);
        if let Some(coding) = wanted
            && stored.claim(coding)
        {
            self.compressor.ask(stored, coding);
        }
        shape
    }

    /// After the answer to an unsafe request (RFC 9111 §4.4): what it changed is no longer fresh, nor is what is on its way for it.
    /// Copies stay for validation and for an origin in trouble, or anybody could empty the cache with a form; of a stranger's write
    /// see `docs/decisions/0005-a-strangers-write.md`.
    pub fn invalidate_after(
        &self,
        key: &KeyRef<'_>,
        method: &Method,
        status: StatusCode,
        response: &HeaderMap,
        author: Author,
    ) {
        let is_safe = method.is_safe();
        if is_safe || !(status.is_success() || status.is_redirection()) {
            return;
        }
        let doubt = match author {
            Author::Staff => Doubt::Invalid,
            Author::Stranger => Doubt::Suspect,
        };
        self.cast_doubt(key, doubt);
        for name in [LOCATION, CONTENT_LOCATION] {
            if let Some(target) = response
                .get(name)
                .and_then(|value| same_host_target(key, value.as_bytes()))
            {
                self.cast_doubt(&self.keyring.key_beside(key, key.scheme(), &target), doubt);
            }
        }
    }

    /// Both schemes: they are one resource to whoever changed it.
    fn cast_doubt(&self, key: &KeyRef<'_>, doubt: Doubt) {
        for scheme in [Scheme::Http, Scheme::Https] {
            let own = self.keyring.key_beside(key, scheme, key.target());
            let plain = self.keyring.key_without_cookies(&own);
            for key in [own, plain]
                .into_iter()
                .take(if own == plain { 1 } else { 2 })
            {
                self.flights.cast_doubt(&key, doubt);
                if self.store(&key).cast_doubt(&key, doubt) {
                    count(&self.counts.invalidated);
                }
            }
        }
    }

    /// Makes copies of a site stale: asked for again when next wanted, until then good only for an origin in trouble. Returns at once.
    pub fn purge(&self, site: SiteId, what: What) {
        count(&self.counts.purges);
        self.store_at(site).purges().order(what);
    }

    /// Takes copies of a site away, and says how many addresses they had. Walks the whole store. Of its fetches that have begun none is stored.
    pub fn forget(&self, site: SiteId, what: &What) -> u64 {
        count(&self.counts.purges);
        let gone = self.store_at(site).forget(what);
        self.flights
            .close(|key| key.site() == site && what.may_concern(key.target()));
        gone
    }

    /// The newest order to a site, for whoever is about to read what he will store.
    pub fn purge_number(&self, site: SiteId) -> u64 {
        self.store_at(site).purges().newest()
    }

    /// Asked before anything of a fetch is put away outside of this cache. `None`: something of the site has been forgotten since it began.
    pub fn may_store(&self, site: SiteId, purge_number: u64) -> Option<MayStore<'_>> {
        self.store_at(site).purges().may_store(purge_number)
    }

    /// Carries out what was ordered since the last time; to be called [`purge::SWEEP_EVERY`].
    pub fn sweep_purges(&self) {
        self.stores.iter().for_each(Store::sweep);
    }

    /// Blocks until every coding asked for so far has been made, or found not worth it: for whoever measures or tests coded answers.
    pub fn settle(&self) {
        self.compressor.settle();
    }

    pub fn stats(&self) -> CacheStats {
        let sum = |of: fn(&Store) -> u64| self.stores.iter().map(of).sum();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheStats {
            keys: sum(Store::keys),
            bytes: sum(Store::bytes),
            bytes_max: sum(Store::bytes_max),
            hits: self.counts.hits.sum(),
            stale: read(&self.counts.stale),
            misses: read(&self.counts.misses),
            stored: read(&self.counts.stored),
            freshened: read(&self.counts.freshened),
            invalidated: read(&self.counts.invalidated),
            purges: read(&self.counts.purges),
            evicted: sum(Store::evicted),
            too_heavy: read(&self.counts.too_heavy),
            flights: self.flights.flying() as u64,
            flight_bytes: self.flights.held_bytes(),
            collapsed: self.flights.collapsed(),
            turned_away: self.flights.turned_away(),
            flights_without_room: read(&self.counts.flights_without_room),
            refused_keys: self.refused.len() as u64,
            compressions_dropped: self.compressor.dropped(),
        }
    }

    fn store(&self, key: &KeyRef<'_>) -> &Store {
        self.store_at(key.site())
    }

    fn store_at(&self, site: SiteId) -> &Store {
        // A site that came with a reload shares the last store until the cache is made anew.
        &self.stores[site.min(self.stores.len() - 1)]
    }

    fn store_of(&self, key: &Key) -> &Store {
        self.store(&key.as_ref())
    }

    /// False: too heavy, or forgotten.
    fn insert(&self, key: &Key, stored: &Arc<Stored>) -> bool {
        match self.store_of(key).insert(&key.as_ref(), Arc::clone(stored)) {
            Ok(()) => count(&self.counts.stored),
            Err(NotTaken::TooHeavy) => {
                count(&self.counts.too_heavy);
                return false;
            }
            Err(NotTaken::Forgotten) => return false,
        }
        true
    }

    /// `fresh` takes the place of `stale`, whatever each was chosen by.
    fn replace(&self, key: &Key, stale: &Arc<Stored>, fresh: &Arc<Stored>) {
        let store = self.store_of(key);
        if fresh.selection() != stale.selection() {
            store.remove_variant(&key.as_ref(), stale);
        }
        if store.insert(&key.as_ref(), Arc::clone(fresh)).is_ok() {
            count(&self.counts.freshened);
        }
    }

    fn remember(&self, key: &Key, verdict: &Result<Freshness, Unstorable>, now: UnixMillis) {
        match verdict {
            Err(why) if why.lasts() => {
                let lasting = if *why == Unstorable::FormToken {
                    FORM_TOKEN_MILLIS
                } else {
                    REFUSED_MILLIS
                };
                let until = UnixMillis(now.0.saturating_add(lasting));
                self.refused
                    .insert(key.hash(), Refused { why: *why, until });
            }
            Err(_) => {}
            Ok(_) => drop(self.refused.remove(&key.hash())),
        }
    }

    fn not_kept(&self, key: &Key, why: NotKept, now: UnixMillis) {
        match why {
            NotKept::TooLong => {
                count(&self.counts.too_heavy);
                self.remember(key, &Err(Unstorable::TooLong), now);
            }
            NotKept::NoRoom => count(&self.counts.flights_without_room),
        }
    }

    /// Takes in what the disk has of a key. Its fields are judged again, under today's rules. `None`: they no longer allow it, or it has been
    /// forgotten meanwhile. `purge_number`: from before it was read.
    pub fn restore<F: Fields + ?Sized>(
        &self,
        key: &KeyRef<'_>,
        request: &F,
        house: Option<&House>,
        response: Response,
        purge_number: u64,
    ) -> Option<Arc<Stored>> {
        let stored = response
            .into_stored(house, request, self.serial())
            .ok()
            .map(Arc::new)?;
        stored.compared_with(purge_number);
        self.insert(&key.to_key(), &stored).then_some(stored)
    }

    /// Different each time, and nobody outside can foresee it.
    fn serial(&self) -> u64 {
        self.keyring
            .hash_of(self.serials.fetch_add(1, Ordering::Relaxed))
    }
}

fn remembered<T: Clone>(max: usize) -> quick_cache::sync::Cache<u64, T, UnitWeighter, BuildHashed> {
    quick_cache::sync::Cache::with(
        max,
        max as u64,
        UnitWeighter,
        BuildHashed::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    )
}

/// `Cache-Control` of a request, or what `Pragma` says in its absence (RFC 9111 §5.4).
fn wishes_of<F: Fields + ?Sized>(request: &F) -> Control {
    let mut wishes = Control::of(request);
    if request.field("cache-control").is_none() {
        request.each_line("pragma", &mut |line| {
            if line
                .split(|byte| *byte == b',')
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            {
                wishes.no_cache = control::Scope::Whole;
            }
        });
    }
    wishes
}

/// RFC 9111 §5.2.1.
fn accepts(wishes: &Control, stored: &Stored, now: UnixMillis) -> bool {
    let freshness = stored.freshness();
    if wishes.no_cache != control::Scope::Absent {
        return false;
    }
    let age = i64::try_from(freshness.age_secs(now)).unwrap_or(i64::MAX);
    let limit = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
    if wishes
        .max_age
        .cautious()
        .is_some_and(|secs| age >= limit(secs).max(1) || secs == 0)
    {
        return false;
    }
    let ttl = freshness.ttl_secs(now);
    if wishes
        .min_fresh
        .cautious()
        .is_some_and(|secs| ttl < limit(secs))
    {
        return false;
    }
    if stored.is_fresh(now) {
        return true;
    }
    let staleness = ttl.saturating_neg();
    let tolerated = match wishes.max_stale {
        None => false,
        Some(Seconds::Absent) => true,
        Some(Seconds::Invalid) => false,
        Some(Seconds::Of(secs)) => staleness <= limit(secs),
    };
    tolerated && !freshness.needs_validation_when_stale() && stored.doubt() == Doubt::None
}

/// `Location` and `Content-Location` as a target on the key's own host; `None` for another host, or what is no reference.
fn same_host_target(key: &KeyRef<'_>, reference: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.split(|byte| *byte == b'#').next()?;
    let prefixes = [
        ("http://", Scheme::Http),
        ("https://", Scheme::Https),
        ("//", key.scheme()),
    ];
    let after_scheme = prefixes.iter().find_map(|(prefix, scheme)| {
        let (start, rest) = reference.split_at_checked(prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix.as_bytes())
            .then_some((*scheme, rest))
    });
    let reference = match after_scheme {
        Some((scheme, rest)) => {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(rest.len());
            let (authority, target) = rest.split_at(end);
            if !key.is_of_host(scheme, authority) {
                return None;
            }
            if target.is_empty() { b"/" } else { target }
        }
        None => reference,
    };
    let base = key.target().split(|byte| *byte == b'?').next()?;
    let mut target = match reference.first() {
        None => return None,
        Some(b'/') => Vec::new(),
        Some(b'?') => base.to_vec(),
        Some(_) => base[..=base.iter().rposition(|byte| *byte == b'/')?].to_vec(),
    };
    target.extend_from_slice(reference);
    Some(without_dots(&target))
}

/// `/a/./b/../c` is `/a/c` (RFC 3986 §5.2.4); the query stays as it is.
fn without_dots(target: &[u8]) -> Vec<u8> {
    let end = target
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            b"." | b".." => {
                if part == b".." {
                    segments.pop();
                }
                if is_last {
                    segments.push(b"");
                }
            }
            _ => segments.push(part),
        }
    }
    let mut clean = Vec::with_capacity(target.len());
    for segment in segments {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    if clean.is_empty() {
        clean.push(b'/');
    }
    clean.extend_from_slice(query);
    clean
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A counter every thread adds to in a cache line of its own: hits are counted a hundred thousand times a second.
#[derive(Default)]
struct Striped([Line; 16]);

#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Striped {
    fn add(&self) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % 16;
        }
        count(&self.0[MINE.with(|mine| *mine)].0);
    }

    fn sum(&self) -> u64 {
        self.0
            .iter()
            .map(|line| line.0.load(Ordering::Relaxed))
            .sum()
    }
}
