//! One fetch for everybody who asks for the same page now.
//!
//! The first request for a key that is not stored leads, the others follow. The fetch belongs to neither: it is written by a task of
//! its own, so a leader who hangs up or reads slowly stalls nobody. Followers learn at the head whether they may share. If so they
//! stream while the body arrives, each at its own pace, from chunks kept until the end, which then become the stored response.
//!
//! A body that outgrows what may be stored stops being kept: nobody new joins, and a window slides at the pace of the slowest reader,
//! which is what a proxy without a cache does. The same holds from the first byte for a response only its leader may have.
//!
//! What bounds memory: flights, followers, bytes kept in one flight, bytes kept in all. A flight that finds no room left slides.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::freshness::Unstorable;
use super::key::{BuildHashed, Key, KeyRef, Keyring};
use super::stored::{Doubt, Stored};
use super::vary::Selection;
use crate::body::BodyError;
use crate::fields::Fields;

/// Fetches under way that can be joined. The origin admits a few hundred; the rest wait for it and weigh a kilobyte each. Beyond, requests fetch alone.
pub const FLIGHTS_MAX: usize = 4096;
/// Readers of one flight: more than the connections an edge accepts, so that only HTTP/2 streams can reach it. Beyond, alone.
pub const FOLLOWERS_MAX: usize = 16_384;
/// Read ahead of the slowest reader in a body that is not kept. Admission counts on it: responses up to this size leave the origin at
/// full speed.
pub const WINDOW_BYTES: usize = 2 * 1024 * 1024;
/// The same when all flights together hold more than their share of memory.
pub const WINDOW_BYTES_SCARCE: usize = 64 * 1024;
/// A chunk's own cost. Counted, so that an origin that sends byte by byte cannot make the list outweigh the body.
const CHUNK_OVERHEAD_BYTES: usize = 64;
/// Smaller chunks are copied: a slice would keep the whole read buffer alive.
const CHUNK_COPIED_BYTES: usize = 1024;

/// As many as make a table with all of [`FLIGHTS_MAX`] in the air one of 64.
const TABLES: usize = 64;

/// Why there is no response to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FetchFault {
    #[error("the origin could not be reached")]
    Unreachable,
    #[error("the origin took too long")]
    TimedOut,
    #[error("the origin sent something that is not HTTP, or broke off")]
    BrokeOff,
    #[error("the request was not admitted to the origin")]
    Shed,
    /// A follower is not shown another client's error page.
    #[error("the origin answered {0}")]
    Failed(StatusCode),
    /// The task that fetched is gone.
    #[error("the fetch was abandoned")]
    Abandoned,
}

/// Why a follower must fetch for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    Unstorable(Unstorable),
    /// Stored, but already stale: good for one.
    NotFresh,
    /// What it holds may be the leader's own.
    NotLookedThrough,
    /// The response was chosen by field values that are not this request's. Join again with this number.
    OtherVariant {
        flight: u64,
    },
}

/// What a reader of a flight gets.
#[derive(Debug)]
pub enum Arrival {
    /// Complete and stored: answer from it as from a hit.
    Stored(Arc<Stored>),
    /// The origin vouched for the copy with a 304: answer from it as from a hit.
    Freshened(Arc<Stored>),
    Streaming(Streaming),
    Alone(Alone),
    Failed(FetchFault),
}

#[derive(Debug)]
pub struct Streaming {
    pub status: StatusCode,
    /// For the leader the response's own fields; for followers those that may be shared. Nothing that belongs to a connection.
    pub headers: HeaderMap,
    pub body: FlightBody,
    /// `Ok`: it will be stored if its body arrives whole.
    pub stored: Result<(), Unstorable>,
    pub is_leader: bool,
}

/// Fields of a response head, as the writer hands them over.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) leader: HeaderMap,
    pub(super) shared: HeaderMap,
    /// Of the body, where the origin said.
    pub(super) length: Option<u64>,
    /// `Err`: only the leader may have it.
    pub(super) share: Result<(), Alone>,
    pub(super) stored: Result<(), Unstorable>,
    /// What followers are compared with.
    pub(super) selection: Selection,
    /// The leader is compared too: a field of his was left out, and the origin says now that it matters.
    pub(super) is_of_another: bool,
    /// Until all of it is stored nobody knows whether it repeats what the origin heard of the leader: followers wait so long.
    pub(super) is_looked_through: bool,
    /// Followers of an origin's failure get no copy of its page.
    pub(super) fault: Option<FetchFault>,
}

/// How long a fetch without a head is joined by newcomers: two seconds for its place at the origin and three for an answer. A server that
/// hangs at one request may answer the next, and whoever began the fetch may be gone. One more is sent every so often at most.
pub const JOINED_FOR: Duration = Duration::from_secs(5);

pub struct Flights {
    tables: Box<[Mutex<Table>]>,
    keyring: Keyring,
    held_bytes: AtomicU64,
    held_bytes_max: u64,
    flying: AtomicUsize,
    collapsed: AtomicU64,
    turned_away: AtomicU64,
}

/// Flights of keys with the same low hash bits; a key's variants fly apart by their number.
type Table = HashMap<(Key, u64), Arc<Flight>, BuildHashed>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Streaming,
    /// Behind the last byte.
    Done,
    BrokeOff,
}

struct Reader {
    /// Number of the next chunk.
    next: u64,
    waker: Option<Waker>,
}

struct State {
    stage: Stage,
    /// All chunks stay, to be stored; otherwise those the slowest reader has not had.
    keeps_all: bool,
    /// Cast meanwhile, and on what will be stored. [`Doubt::Invalid`]: nobody may join, nothing may be stored.
    doubt: Doubt,
    head: Option<Arc<Head>>,
    fault: Option<FetchFault>,
    /// The complete response, from a 304 or from the chunks, which are gone then.
    stored: Option<Arc<Stored>>,
    stored_share: Result<(), Alone>,
    chunks: VecDeque<Bytes>,
    /// Number of the first chunk still here.
    first: u64,
    /// Held now, overhead included.
    held: usize,
    received: u64,
    trailers: Option<HeaderMap>,
    readers: Vec<Option<Reader>>,
    free: Vec<usize>,
    /// Readers whose next chunk is the first one here.
    behind: usize,
    writer: Option<Waker>,
}

impl State {
    fn reader_count(&self) -> usize {
        self.readers.len() - self.free.len()
    }

    /// Lets go of what every reader of a window has had; the bytes freed.
    fn slide(&mut self) -> usize {
        if self.keeps_all || self.behind > 0 {
            return 0;
        }
        let end = self.first + self.chunks.len() as u64;
        let slowest = self
            .readers
            .iter()
            .flatten()
            .map(|reader| reader.next)
            .min()
            .unwrap_or(end);
        let mut freed = 0;
        while self.first < slowest
            && let Some(chunk) = self.chunks.pop_front()
        {
            freed += cost(&chunk);
            self.first += 1;
        }
        self.held -= freed;
        self.behind = self
            .readers
            .iter()
            .flatten()
            .filter(|reader| reader.next == self.first)
            .count();
        freed
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        self.readers
            .iter_mut()
            .flatten()
            .filter_map(|reader| reader.waker.take())
            .collect()
    }
}

struct Flight {
    flights: Arc<Flights>,
    began: Instant,
    state: Mutex<State>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let held = self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .held;
        self.flights.release(held);
    }
}

impl Flight {
    fn new(flights: &Arc<Flights>) -> Arc<Self> {
        Arc::new(Self {
            flights: Arc::clone(flights),
            began: Instant::now(),
            state: Mutex::new(State {
                stage: Stage::Waiting,
                keeps_all: true,
                doubt: Doubt::None,
                head: None,
                fault: None,
                stored: None,
                stored_share: Ok(()),
                chunks: VecDeque::new(),
                first: 0,
                held: 0,
                received: 0,
                trailers: None,
                readers: Vec::new(),
                free: Vec::new(),
                behind: 0,
                writer: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_overdue(&self) -> bool {
        self.began.elapsed() >= JOINED_FOR && self.lock().stage == Stage::Waiting
    }

    /// Changes the state, then wakes every reader.
    fn tell_readers<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// `None`: full, or past joining.
    fn follow(self: &Arc<Self>) -> Option<FlightReader> {
        let mut state = self.lock();
        let joinable =
            state.keeps_all && state.doubt < Doubt::Invalid && state.stage != Stage::BrokeOff;
        (joinable && state.reader_count() <= FOLLOWERS_MAX).then(|| self.seat(&mut state, false))
    }

    fn seat(self: &Arc<Self>, state: &mut State, is_leader: bool) -> FlightReader {
        let reader = Some(Reader {
            next: state.first,
            waker: None,
        });
        state.behind += 1;
        let place = match state.free.pop() {
            Some(place) => {
                state.readers[place] = reader;
                place
            }
            None => {
                state.readers.push(reader);
                state.readers.len() - 1
            }
        };
        FlightReader {
            flight: Arc::clone(self),
            place,
            is_leader,
            is_doubted: state.doubt != Doubt::None,
        }
    }
}

fn cost(chunk: &Bytes) -> usize {
    chunk.len() + CHUNK_OVERHEAD_BYTES
}

impl Flights {
    /// `held_bytes_max`: what all flights together may keep before they slide.
    pub fn new(keyring: Keyring, held_bytes_max: u64) -> Self {
        Self {
            tables: (0..TABLES).map(|_| Mutex::default()).collect(),
            keyring,
            held_bytes: AtomicU64::new(0),
            held_bytes_max,
            flying: AtomicUsize::new(0),
            collapsed: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    fn table(&self, hash: u64) -> MutexGuard<'_, Table> {
        self.tables[(hash % TABLES as u64) as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// `variant`: 0, or a number from [`Selection::flight`]. `landed` is asked when there is no flight, while none can begin or end.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        variant: u64,
        landed: impl FnOnce() -> Option<Arc<Stored>>,
    ) -> Joined {
        let listed = (key.to_key(), variant);
        let mut table = self.table(key.hash());
        self.drop_overdue(&mut table, &listed);
        if let Some(flight) = table.get(&listed) {
            let reader = flight.follow();
            drop(table);
            let counted = if reader.is_some() {
                &self.collapsed
            } else {
                &self.turned_away
            };
            counted.fetch_add(1, Ordering::Relaxed);
            return reader.map_or(Joined::Full, Joined::Follow);
        }
        if let Some(stored) = landed() {
            return Joined::Landed(stored);
        }
        self.list(&mut table, listed)
            .map_or(Joined::Full, Joined::Lead)
    }

    /// Could a request for this key read along now?
    pub(super) fn is_flying(&self, key: &KeyRef<'_>, variant: u64) -> bool {
        // Looked through, not looked up: there are few in a table, and a key to look up by would have to be made.
        let table = self.table(key.hash());
        table.iter().any(|((listed, number), flight)| {
            *number == variant && listed.as_ref() == *key && !flight.is_overdue()
        })
    }

    /// Readers it has go on. What it brings is stored, so that what a slow origin makes is kept at all, but with doubt: a
    /// change by staff does not find it here any more, and it may be older than what the next fetch has brought.
    fn drop_overdue(&self, table: &mut Table, listed: &(Key, u64)) {
        if table.get(listed).is_some_and(|flight| flight.is_overdue())
            && let Some(flight) = table.remove(listed)
        {
            self.flying.fetch_sub(1, Ordering::Relaxed);
            let mut state = flight.lock();
            state.doubt = state.doubt.max(Doubt::Suspect);
        }
    }

    /// `None`: there is one, or there are too many.
    pub(super) fn begin(self: &Arc<Self>, key: &KeyRef<'_>, variant: u64) -> Option<FlightWriter> {
        let listed = (key.to_key(), variant);
        let mut table = self.table(key.hash());
        self.drop_overdue(&mut table, &listed);
        if table.contains_key(&listed) {
            return None;
        }
        self.list(&mut table, listed)
    }

    fn list(self: &Arc<Self>, table: &mut Table, listed: (Key, u64)) -> Option<FlightWriter> {
        if self.flying.load(Ordering::Relaxed) >= FLIGHTS_MAX {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let flight = Flight::new(self);
        table.insert(listed.clone(), Arc::clone(&flight));
        self.flying.fetch_add(1, Ordering::Relaxed);
        Some(FlightWriter {
            flight,
            listed: Some(listed),
        })
    }

    /// A flight nobody can join.
    pub(super) fn alone(self: &Arc<Self>) -> FlightWriter {
        FlightWriter {
            flight: Flight::new(self),
            listed: None,
        }
    }

    /// What is on its way for this key may be older than a change the origin has just made. [`Doubt::Suspect`]: it is stored with that
    /// doubt. [`Doubt::Invalid`]: it serves who waits for it already, nobody later, and is not stored.
    ///
    /// A stranger's doubt leaves the flight where it is: were it to make room for the next, every write would put one more fetch of
    /// the same page before the origin.
    pub(super) fn cast_doubt(&self, key: &KeyRef<'_>, doubt: Doubt) {
        let mut doubted = Vec::new();
        let mut unlisted = 0;
        self.table(key.hash()).retain(|(listed, _), flight| {
            let same = listed.as_ref() == *key;
            if same {
                doubted.push(Arc::clone(flight));
            }
            let stays = !same || doubt < Doubt::Invalid;
            unlisted += usize::from(!stays);
            stays
        });
        self.flying.fetch_sub(unlisted, Ordering::Relaxed);
        for flight in doubted {
            let mut state = flight.lock();
            state.doubt = state.doubt.max(doubt);
        }
    }

    /// Who reads along in one of these goes on; who comes from now on begins a fetch of his own.
    pub(super) fn close(&self, is_closed: impl Fn(&KeyRef<'_>) -> bool) {
        for table in &self.tables {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            let before = table.len();
            table.retain(|(key, _), _| !is_closed(&key.as_ref()));
            self.flying
                .fetch_sub(before - table.len(), Ordering::Relaxed);
        }
    }

    pub fn flying(&self) -> usize {
        self.flying.load(Ordering::Relaxed)
    }

    /// Bytes all flights hold.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Requests that shared another's fetch.
    pub fn collapsed(&self) -> u64 {
        self.collapsed.load(Ordering::Relaxed)
    }

    /// Requests that fetched alone because a bound was reached.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    fn hold(&self, bytes: usize) {
        self.held_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn is_scarce(&self) -> bool {
        self.held_bytes() > self.held_bytes_max
    }
}

pub(super) enum Joined {
    Lead(FlightWriter),
    Follow(FlightReader),
    Landed(Arc<Stored>),
    Full,
}

/// Nobody is left who wants the rest of a body that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads this response any more")]
pub struct Unread;

/// Why a body stopped being kept on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotKept {
    TooLong,
    /// All flights together hold their share.
    NoRoom,
}

/// The writing end. Dropped before [`FlightWriter::done`], it has broken off.
pub(super) struct FlightWriter {
    flight: Arc<Flight>,
    listed: Option<(Key, u64)>,
}

impl FlightWriter {
    pub(super) fn leader(&self) -> FlightReader {
        self.flight.seat(&mut self.flight.lock(), true)
    }

    pub(super) fn doubt(&self) -> Doubt {
        self.flight.lock().doubt
    }

    pub(super) fn received(&self) -> u64 {
        self.flight.lock().received
    }

    /// Nobody joins it any more. Readers it has go on.
    fn unlist(&mut self) {
        let Some(listed) = self.listed.take() else {
            return;
        };
        let flights = &self.flight.flights;
        let mut table = flights.table(listed.0.hash());
        if table
            .get(&listed)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            table.remove(&listed);
            flights.flying.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn head(&mut self, head: Head) {
        let keeps_all = head.stored.is_ok();
        if !keeps_all || head.share.is_err() || head.fault.is_some() {
            self.unlist();
        }
        self.flight.tell_readers(|state| {
            state.stage = Stage::Streaming;
            state.keeps_all = keeps_all;
            state.head = Some(Arc::new(head));
        });
    }

    /// Hands a chunk to all readers. `body_bytes_max`: what can be stored. `Some`: from this chunk on the body is kept no longer.
    pub(super) fn push(&mut self, chunk: Bytes, body_bytes_max: u64) -> Option<NotKept> {
        if chunk.is_empty() {
            return None;
        }
        let chunk = if chunk.len() < CHUNK_COPIED_BYTES {
            Bytes::copy_from_slice(&chunk)
        } else {
            chunk
        };
        let flights = Arc::clone(&self.flight.flights);
        let not_kept = self.flight.tell_readers(|state| {
            let cost = cost(&chunk);
            let not_kept = if !state.keeps_all {
                None
            } else if (state.held + cost) as u64 > body_bytes_max {
                Some(NotKept::TooLong)
            } else if flights.is_scarce() {
                Some(NotKept::NoRoom)
            } else {
                None
            };
            state.keeps_all &= not_kept.is_none();
            state.received += chunk.len() as u64;
            state.held += cost;
            flights.hold(cost);
            state.chunks.push_back(chunk);
            flights.release(state.slide());
            not_kept
        });
        if not_kept.is_some() {
            self.unlist();
        }
        not_kept
    }

    /// Behind the last chunk.
    pub(super) fn trailers(&self, trailers: HeaderMap) {
        self.flight.lock().trailers = Some(trailers);
    }

    /// Waits while the window of a body that is not kept is full.
    pub(super) async fn room(&self) -> Result<(), Unread> {
        std::future::poll_fn(|cx| {
            let mut state = self.flight.lock();
            if state.keeps_all {
                return Poll::Ready(Ok(()));
            }
            if state.reader_count() == 0 {
                return Poll::Ready(Err(Unread));
            }
            let window = if self.flight.flights.is_scarce() {
                WINDOW_BYTES_SCARCE
            } else {
                WINDOW_BYTES
            };
            if state.held < window {
                return Poll::Ready(Ok(()));
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The body in one piece, if all of it was kept.
    pub(super) fn whole(&self) -> Option<Bytes> {
        let state = self.flight.lock();
        if !state.keeps_all || state.doubt == Doubt::Invalid {
            return None;
        }
        let mut body = BytesMut::with_capacity(usize::try_from(state.received).ok()?);
        state
            .chunks
            .iter()
            .for_each(|chunk| body.extend_from_slice(chunk));
        Some(body.freeze())
    }

    /// `stored` must be in the cache by now: whoever finds no flight then finds the response.
    pub(super) fn done(mut self, stored: Option<Arc<Stored>>, share: Result<(), Alone>) {
        self.unlist();
        let freed = self.flight.tell_readers(|state| {
            state.stage = Stage::Done;
            state.stored_share = share;
            // Readers go on in the stored body: a slow one then costs what a slow hit costs.
            if stored.is_some() {
                state.stored = stored;
                state.chunks.clear();
                std::mem::take(&mut state.held)
            } else {
                0
            }
        });
        self.flight.flights.release(freed);
    }

    /// The message is complete, and says in a way of its own that the origin has failed.
    pub(super) fn done_in_vain(self, fault: FetchFault) {
        self.flight.lock().fault = Some(fault);
        self.done(None, Ok(()));
    }

    pub(super) fn fail(mut self, fault: FetchFault) {
        self.break_off(fault);
    }

    fn break_off(&mut self, fault: FetchFault) {
        self.unlist();
        self.flight.tell_readers(|state| {
            if state.stage != Stage::Done && state.stage != Stage::BrokeOff {
                state.stage = Stage::BrokeOff;
                state.fault = Some(fault);
            }
        });
    }
}

impl Drop for FlightWriter {
    fn drop(&mut self) {
        self.break_off(FetchFault::Abandoned);
    }
}

/// A place among the readers of a flight. Dropping it gives the place up.
pub struct FlightReader {
    flight: Arc<Flight>,
    place: usize,
    is_leader: bool,
    is_doubted: bool,
}

impl FlightReader {
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// When the fetch began, whoever began it.
    pub fn began(&self) -> Instant {
        self.flight.began
    }

    /// A write came between the fetch and this reader: what arrives may be older than what the reader wrote.
    pub fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Waits for the head.
    pub async fn arrival<F: Fields + ?Sized>(self, request: &F) -> Arrival {
        match self.head(request).await {
            Ok(head) if self.must_wait(&head) => match self.all_of(&head).await {
                // An error's words under status 200. Without anything better, each asks for himself what the origin says.
                Arrival::Failed(FetchFault::Failed(_)) => Arrival::Alone(Alone::NotLookedThrough),
                arrival => arrival,
            },
            Ok(head) => self.streaming(&head),
            Err(arrival) => arrival,
        }
    }

    /// Waits for all of a response that is being kept; of any other, for the head. For who has a copy to fall back on: what breaks off
    /// must not take its place.
    pub async fn whole<F: Fields + ?Sized>(self, request: &F) -> Arrival {
        match self.head(request).await {
            Ok(head) => self.all_of(&head).await,
            Err(arrival) => arrival,
        }
    }

    async fn all_of(self, head: &Head) -> Arrival {
        match std::future::poll_fn(|cx| self.poll_whole(cx)).await {
            Some(Ok(stored)) => Arrival::Stored(stored),
            Some(Err(fault)) => Arrival::Failed(fault),
            None if self.must_wait(head) => Arrival::Alone(Alone::NotLookedThrough),
            None => self.streaming(head),
        }
    }

    fn must_wait(&self, head: &Head) -> bool {
        head.is_looked_through && !self.is_leader
    }

    /// The head, when this reader may have what follows it and it is not stored yet.
    async fn head<F: Fields + ?Sized>(&self, request: &F) -> Result<Arc<Head>, Arrival> {
        let head = std::future::poll_fn(|cx| self.poll_head(cx)).await?;
        if !self.is_leader {
            if let Some(fault) = head.fault {
                return Err(Arrival::Failed(fault));
            }
            if let Err(alone) = head.share {
                return Err(Arrival::Alone(alone));
            }
        }
        if (!self.is_leader || head.is_of_another) && !head.selection.matches(request) {
            let flight = head.selection.flight(&self.flight.flights.keyring, request);
            return Err(Arrival::Alone(Alone::OtherVariant { flight }));
        }
        if !self.is_leader {
            // Complete by now: ranges, conditions and codings work as for any hit.
            if let Some(stored) = self.flight.lock().stored.clone() {
                return Err(Arrival::Stored(stored));
            }
        }
        Ok(head)
    }

    fn streaming(self, head: &Head) -> Arrival {
        let headers = if self.is_leader {
            head.leader.clone()
        } else {
            head.shared.clone()
        };
        Arrival::Streaming(Streaming {
            status: head.status,
            headers,
            stored: head.stored,
            is_leader: self.is_leader,
            body: FlightBody {
                left: head.length,
                reader: Some(self),
                read: 0,
            },
        })
    }

    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Head>, Arrival>> {
        let mut state = self.flight.lock();
        if let Some(head) = &state.head {
            return Poll::Ready(Ok(Arc::clone(head)));
        }
        match (state.stage, &state.stored) {
            // After a 304 there is no head, only what it freshened.
            (Stage::Done, Some(stored)) => Poll::Ready(Err(match state.stored_share {
                Err(alone) if !self.is_leader => Arrival::Alone(alone),
                _ => Arrival::Freshened(Arc::clone(stored)),
            })),
            (Stage::Done | Stage::BrokeOff, _) => Poll::Ready(Err(Arrival::Failed(
                state.fault.unwrap_or(FetchFault::Abandoned),
            ))),
            _ => {
                state.wait(self.place, cx);
                Poll::Pending
            }
        }
    }

    /// `None`: it is not being kept, so that only a reader moves it on.
    fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<Stored>, FetchFault>>> {
        let mut state = self.flight.lock();
        match state.stage {
            Stage::Done => Poll::Ready(match &state.stored {
                Some(stored) => Some(Ok(Arc::clone(stored))),
                None => state.fault.map(Err),
            }),
            Stage::BrokeOff => Poll::Ready(Some(Err(state.fault.unwrap_or(FetchFault::Abandoned)))),
            Stage::Waiting | Stage::Streaming if state.keeps_all => {
                state.wait(self.place, cx);
                Poll::Pending
            }
            Stage::Waiting | Stage::Streaming => Poll::Ready(None),
        }
    }

    /// `read`: bytes this reader has had.
    fn poll_chunk(
        &self,
        read: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.flight.lock();
        if let (Stage::Done, Some(stored)) = (state.stage, &state.stored) {
            let from = usize::try_from(read).unwrap_or(usize::MAX);
            let rest = if from < stored.body().len() {
                stored.body().slice(from..)
            } else {
                Bytes::new()
            };
            return Poll::Ready((!rest.is_empty()).then_some(Ok(rest)));
        }
        let State {
            readers,
            first,
            chunks,
            ..
        } = &mut *state;
        let Some(reader) = readers.get_mut(self.place).and_then(Option::as_mut) else {
            return Poll::Ready(None);
        };
        let at = usize::try_from(reader.next - *first).unwrap_or(usize::MAX);
        if let Some(chunk) = chunks.get(at) {
            let chunk = chunk.clone();
            reader.next += 1;
            if at == 0 {
                state.behind -= 1;
            }
            let freed = state.slide();
            let writer = if freed > 0 { state.writer.take() } else { None };
            drop(state);
            self.flight.flights.release(freed);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match state.stage {
            Stage::Done => Poll::Ready(None),
            Stage::BrokeOff => Poll::Ready(Some(Err(BodyError::OriginBrokeOff))),
            Stage::Waiting | Stage::Streaming => {
                state.wait(self.place, cx);
                Poll::Pending
            }
        }
    }
}

impl State {
    fn wait(&mut self, place: usize, cx: &mut Context<'_>) {
        if let Some(Some(reader)) = self.readers.get_mut(place)
            && !reader
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            reader.waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for FlightReader {
    fn drop(&mut self) {
        let mut state = self.flight.lock();
        let Some(reader) = state.readers.get_mut(self.place).and_then(Option::take) else {
            return;
        };
        state.free.push(self.place);
        if reader.next == state.first {
            state.behind -= 1;
        }
        let freed = state.slide();
        // Also when nothing was freed: the last reader's leaving ends the fetch.
        let writer = state.writer.take();
        drop(state);
        self.flight.flights.release(freed);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl std::fmt::Debug for FlightReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlightReader")
            .field("place", &self.place)
            .field("is_leader", &self.is_leader)
            .finish_non_exhaustive()
    }
}

/// The body of a response in flight, for one reader.
#[derive(Debug)]
pub struct FlightBody {
    /// `None` once it has ended.
    reader: Option<FlightReader>,
    read: u64,
    /// Where the origin said how long it is.
    left: Option<u64>,
}

impl http_body::Body for FlightBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(reader) = &this.reader else {
            return Poll::Ready(None);
        };
        match std::task::ready!(reader.poll_chunk(this.read, cx)) {
            Some(Ok(chunk)) => {
                let length = chunk.len() as u64;
                this.read += length;
                this.left = this.left.map(|left| left.saturating_sub(length));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(fault)) => {
                this.reader = None;
                Poll::Ready(Some(Err(fault)))
            }
            None => {
                let trailers = reader.flight.lock().trailers.clone();
                this.reader = None;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none() || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
