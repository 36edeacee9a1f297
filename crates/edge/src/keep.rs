//! The always-online copy: what readers get when there is no server any more.
//!
//! A cache keeps what was asked for lately and for as long as its origin allows. This keeps the newspaper: the last two good versions of every
//! public page for days, with the style sheets, scripts, fonts and first images that make it readable, and hands them out, marked with their date
//! ([`banner`]), when the origin is down or has no room.
//!
//! A copy is only worth having if it is good, and a server in trouble is when bad pages are made. [`good`] holds back what looks like
//! a wreck; should many pages turn out to have changed together, those that were believed are taken back to the version before, which
//! is what the second version is for. A page that was withdrawn (410, 451) goes at once; one that is merely not found goes when it
//! has not been found for ten minutes and is not one of many.
//!
//! One thread reads, judges and writes; one hands out. Shards look things up in a table in memory, offer what passes by through a bounded
//! queue, and ask now and then what is [`Keep::due`]: the front page, feeds, what is most read, and assets that are missing. So the copy is fresh
//! for what matters and costs the origin one request at a time.

pub mod banner;
pub mod good;
pub mod reading;
pub mod refresh;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;

pub use self::good::NotGood;
use self::good::{Looks, MEANT_AFTER, Sketch, TOGETHER};
use self::reading::Reading;
use self::refresh::Refresh;
use crate::cache::freshness::{Asked, Times, judge};
use crate::cache::key::Scheme;
use crate::cache::stored::{Draft, Stored};
use crate::cache::vary::Selection;
use crate::clock::UnixMillis;
use crate::disk::permitted::Permitted;
use crate::disk::record::{self, Address, Identity, Record, Response};
use crate::disk::shelf::{ReadFault, Shelf, ShelfError};
use crate::known::links::{self, Kind, Role};
use crate::plan::Language;

/// All sites together, unless the settings say otherwise.
pub const BYTES_MAX_DEFAULT: u64 = 5 * 1024 * 1024 * 1024;
/// A page nobody has found good for so long is not today's newspaper.
pub const AGE_MAX_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Pages and assets of a site. At 500 bytes of memory each they take 16 MB.
pub const ENTRIES_MAX: usize = 32_768;
/// Offers that wait, and bytes with them: half a second's work of the one thread.
pub const OFFERS_MAX: usize = 128;
pub const OFFER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Copies that wait to be read.
pub const READS_MAX: usize = 64;
/// Copies at hand in memory: what an outage's readers ask for again and again.
const AT_HAND_BYTES: u64 = 32 * 1024 * 1024;
/// Of one page. A theme of WordPress loads 20 to 40.
const ASSETS_MAX: usize = 64;
/// Below the headline nobody misses a picture in an emergency.
const IMAGES_MAX: usize = 8;
/// Assets that are missing, of all pages of a site.
const WANTED_MAX: usize = 1_024;
/// A page not found for so long is gone, if it is alone in that.
pub const GONE_AFTER: Duration = Duration::from_secs(600);
/// So many of them together are a server in trouble.
const GONE_TOGETHER: usize = 8;
/// When room is needed, so much is made: sorting every page is worth it once, not for each.
const ROOM_SHARE: u64 = 20;
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// A look that changes nothing is noted on disk no more often.
const NOTE_EVERY: Duration = Duration::from_secs(300);
/// The older version lies beside the newer, under its name with these bits turned.
const OLDER: u64 = 0x00ff_00ff_00ff_00ff;

#[derive(Debug, Clone)]
pub struct KeepPlan {
    pub sites: Vec<KeepSite>,
    pub age_max: Duration,
}

#[derive(Debug, Clone)]
pub struct KeepSite {
    /// As in the settings.
    pub name: Box<[u8]>,
    pub bytes_max: u64,
    /// Where the front page is, for the copy of it to be made before any reader asks. `None`: a site of any name.
    pub front: Option<(Scheme, Box<[u8]>)>,
    /// Of banners on pages that name none of ours.
    pub language: Language,
}

/// What a site's profile says about a request and its answer. One that is true, and there is no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    pub preview: bool,
    /// Its address or its fields carry something that is valid once.
    pub nonce: bool,
    pub password_protected: bool,
    /// Its address lets in whoever has it.
    pub token: bool,
    pub search: bool,
}

impl Traits {
    fn forbid(self) -> bool {
        self.preview || self.nonce || self.password_protected || self.token || self.search
    }
}

/// What the search index hears of.
#[derive(Debug)]
pub enum Event<'a> {
    Kept(Version<'a>),
    Gone(&'a Address),
}

/// A page as it is kept now.
#[derive(Debug)]
pub struct Version<'a> {
    pub address: &'a Address,
    pub title: &'a str,
    pub text: &'a str,
    pub language: Option<Language>,
    pub seen: UnixMillis,
}

/// Runs on the keeping thread; what it does delays the next copy, no reader.
pub type Listener = Box<dyn Fn(Event<'_>) + Send + Sync>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepStats {
    pub pages: u64,
    pub assets: u64,
    pub bytes: u64,
    pub bytes_max: u64,
    /// New versions.
    pub kept: u64,
    /// Looked like the version before.
    pub unchanged: u64,
    /// Not believed, for now.
    pub held_back: u64,
    /// Believed, and taken back.
    pub taken_back: u64,
    pub removed: u64,
    pub dropped: u64,
    pub broken: u64,
    pub served: u64,
    pub resting: bool,
}

#[derive(Debug)]
pub struct Keep {
    shared: Arc<Shared>,
    jobs: Option<mpsc::SyncSender<Job>>,
    reads: Option<mpsc::SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    shelf: Shelf,
    sites: Vec<Site>,
    age_max: Duration,
    at_hand: quick_cache::sync::Cache<(u64, u64), Arc<Stored>, Weights>,
    listener: Option<Listener>,
    waiting_bytes: AtomicU64,
    resting: AtomicBool,
    counts: Counts,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct Site {
    plan: KeepSite,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry, foldhash::fast::RandomState>,
    bytes: u64,
    /// Assets that pages need and we do not have.
    wanted: HashMap<u64, Wanted, foldhash::fast::RandomState>,
    looks: Looks,
    refresh: Refresh,
}

#[derive(Debug)]
struct Wanted {
    address: Address,
    asked: Option<UnixMillis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Page,
    Feed,
    Asset,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    class: Class,
    sketch: Sketch,
    /// Of kind and body, to know the same page again.
    sum: u64,
    /// Last found good, as it is.
    seen: UnixMillis,
    /// This version became the newest.
    since: UnixMillis,
    bytes: u64,
    /// 0: there is none.
    older_bytes: u64,
    assets: Box<[u64]>,
    /// Pages that need this asset.
    users: u32,
    reads: u32,
    asked: UnixMillis,
    not_found_since: Option<UnixMillis>,
    held_since: Option<UnixMillis>,
}

#[derive(Clone, Copy)]
struct Weights;

impl quick_cache::Weighter<(u64, u64), Arc<Stored>> for Weights {
    fn weight(&self, _: &(u64, u64), copy: &Arc<Stored>) -> u64 {
        copy.weight()
    }
}

#[derive(Default)]
struct Counts {
    kept: AtomicU64,
    unchanged: AtomicU64,
    held_back: AtomicU64,
    taken_back: AtomicU64,
    removed: AtomicU64,
    dropped: AtomicU64,
    broken: AtomicU64,
    served: AtomicU64,
}

enum Job {
    Offer(Box<Offer>),
    /// Of one variant.
    Remove {
        site: usize,
        name: u64,
    },
    NotFound {
        site: usize,
        name: u64,
        now: UnixMillis,
    },
    /// Its file cannot be read.
    Mend {
        site: usize,
        name: u64,
    },
    Forget {
        site: usize,
        target: Box<[u8]>,
        done: mpsc::SyncSender<u64>,
    },
    Settle(mpsc::SyncSender<()>),
}

struct Offer {
    site: usize,
    address: Address,
    response: Response,
    now: UnixMillis,
}

struct Read {
    site: usize,
    name: u64,
    address: Address,
    seen: UnixMillis,
    answer: oneshot::Sender<Option<Arc<Stored>>>,
}

impl Keep {
    /// What the folder holds is gone through in the background. `chance`: the folder's key, if it is new.
    ///
    /// # Errors
    /// When the folder cannot be used, or the system gives no thread.
    pub fn open(
        folder: &Path,
        plan: &KeepPlan,
        chance: [u8; 16],
        listener: Option<Listener>,
    ) -> Result<Self, ShelfError> {
        let shelf = Shelf::open(folder, chance)?;
        let shared = Arc::new(Shared {
            shelf,
            sites: plan
                .sites
                .iter()
                .map(|plan| Site {
                    plan: plan.clone(),
                    state: Mutex::default(),
                })
                .collect(),
            age_max: plan.age_max,
            at_hand: quick_cache::sync::Cache::with_weighter(256, AT_HAND_BYTES, Weights),
            listener,
            waiting_bytes: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            counts: Counts::default(),
        });
        let failed = |source| ShelfError::Folder {
            path: folder.to_owned(),
            source,
        };
        let (jobs, queue) = mpsc::sync_channel(OFFERS_MAX);
        let (reads, asked) = mpsc::sync_channel::<Read>(READS_MAX);
        let (keeper, reader, mends) = (Arc::clone(&shared), Arc::clone(&shared), jobs.clone());
        let threads = vec![
            thread::Builder::new()
                .name("keep-write".to_owned())
                .spawn(move || keeper.work(&queue))
                .map_err(failed)?,
            thread::Builder::new()
                .name("keep-read".to_owned())
                .spawn(move || {
                    for read in asked {
                        let copy = reader.copy(&read, &mends);
                        // The client may have left.
                        drop(read.answer.send(copy));
                    }
                })
                .map_err(failed)?,
        ];
        Ok(Self {
            shared,
            jobs: Some(jobs),
            reads: Some(reads),
            threads,
        })
    }

    /// Is a response of this kind worth offering? Pages and feeds are; of everything else what a kept page needs.
    pub fn wants(&self, page: &Identity<'_>, headers: &HeaderMap) -> bool {
        match kind_of(headers) {
            Some(Kind::Html | Kind::Xml) => true,
            Some(Kind::Css) | None => self.shared.site(page.site).is_some_and(|(_, site)| {
                let name = self.shared.asset_name(page);
                let state = lock(&site.state);
                state.wanted.contains_key(&name) || state.entries.contains_key(&name)
            }),
        }
    }

    /// Offers what the origin answered to an anonymous request. Returns at once; false: it is not to be kept, or there is no room in
    /// the queue. A page that may no longer be kept is removed.
    pub fn offer(
        &self,
        permitted: &Permitted<'_>,
        traits: Traits,
        response: &Response,
        now: UnixMillis,
    ) -> bool {
        let page = permitted.page();
        let Some((at, _)) = self.shared.site(page.site) else {
            return false;
        };
        if traits.forbid() {
            self.remove(page);
            return false;
        }
        if response.status != StatusCode::OK || !self.wants(page, &response.headers) {
            return false;
        }
        let length = response.body.len() as u64;
        if self
            .shared
            .waiting_bytes
            .fetch_add(length, Ordering::Relaxed)
            + length
            > OFFER_BYTES_MAX
        {
            self.shared
                .waiting_bytes
                .fetch_sub(length, Ordering::Relaxed);
            count(&self.shared.counts.dropped);
            return false;
        }
        let sent = self.send(Job::Offer(Box::new(Offer {
            site: at,
            address: page.to_address(),
            response: response.clone(),
            now,
        })));
        if !sent {
            self.shared
                .waiting_bytes
                .fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }

    /// The origin answered with this instead of the page: 410 and 451 remove it, a lasting 404 does when it is alone.
    pub fn answered(&self, page: &Identity<'_>, status: StatusCode, now: UnixMillis) {
        match status {
            StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => self.remove(page),
            StatusCode::NOT_FOUND => {
                if let Some((site, _)) = self.shared.site(page.site)
                    && let Some((name, _)) = self.shared.find(page)
                {
                    self.send(Job::NotFound { site, name, now });
                }
            }
            _ => {}
        }
    }

    fn remove(&self, page: &Identity<'_>) {
        let Some((site, _)) = self.shared.site(page.site) else {
            return;
        };
        let Some((name, _)) = self.shared.find(page) else {
            return;
        };
        if !self.send(Job::Remove { site, name }) {
            // Withdrawn is withdrawn, however busy we are.
            self.shared.remove(site, name);
        }
    }

    fn send(&self, job: Job) -> bool {
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !sent {
            count(&self.shared.counts.dropped);
        }
        sent
    }

    /// When the copy of this page was last found good. `None`: there is none.
    pub fn seen(&self, page: &Identity<'_>) -> Option<UnixMillis> {
        self.shared.find(page).map(|(_, seen)| seen)
    }

    /// The copy, ready to be sent and marked with its date. Waits for the disk, and no shard does while this is awaited.
    pub async fn copy(&self, page: &Identity<'_>) -> Option<Arc<Stored>> {
        let (at, _) = self.shared.site(page.site)?;
        let (name, seen) = self.shared.find(page)?;
        if let Some(copy) = self.shared.at_hand.get(&(name, seen.0)) {
            count(&self.shared.counts.served);
            return Some(copy);
        }
        let (answer, answered) = oneshot::channel();
        let address = lock(&self.shared.sites[at].state)
            .entries
            .get(&name)?
            .address
            .clone();
        let read = Read {
            site: at,
            name,
            address,
            seen,
            answer,
        };
        self.reads.as_ref()?.try_send(read).ok()?;
        let copy = answered.await.ok().flatten()?;
        count(&self.shared.counts.served);
        Some(copy)
    }

    /// A reader got this page, from wherever. Tells which are the most read; costs one lookup, and may be told of one read in several.
    pub fn read(&self, page: &Identity<'_>) {
        if let Some((_, site)) = self.shared.site(page.site)
            && let Some((name, _)) = self.shared.find(page)
            && let Some(entry) = lock(&site.state).entries.get_mut(&name)
        {
            entry.reads = entry.reads.saturating_add(1);
        }
    }

    /// What to fetch next, anonymously and last in the queue: one at a time, and not before the one before has come to
    /// [`Keep::fetched`] or is given up.
    pub fn due(&self, site: &[u8], now: UnixMillis) -> Option<Address> {
        let (_, site) = self.shared.site(site)?;
        lock(&site.state).due(&site.plan, now)
    }

    /// What was due has been answered, or could not be had.
    pub fn fetched(&self, site: &[u8], now: UnixMillis) {
        if let Some((_, site)) = self.shared.site(site) {
            lock(&site.state).refresh.fetched(now);
        }
    }

    /// Removes every trace of an address: each variant and version, what only they needed, and what lies in memory. Blocks until the files
    /// are gone; returns how many pages and assets there were.
    pub fn forget(&self, site: &[u8], target: &[u8]) -> u64 {
        let Some((site, _)) = self.shared.site(site) else {
            return 0;
        };
        let (done, told) = mpsc::sync_channel(1);
        let job = Job::Forget {
            site,
            target: target.into(),
            done,
        };
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { told.recv().unwrap_or(0) } else { 0 }
    }

    /// Every page of a site as it is kept now. Reads each from disk, on the caller's thread.
    pub fn for_each_copy(&self, site: &[u8], mut each: impl FnMut(Version<'_>)) {
        let Some((_, site)) = self.shared.site(site) else {
            return;
        };
        let pages: Vec<(u64, Address, UnixMillis)> = lock(&site.state)
            .entries
            .iter()
            .filter(|(_, entry)| entry.class == Class::Page)
            .map(|(name, entry)| (*name, entry.address.clone(), entry.seen))
            .collect();
        for (name, address, seen) in pages {
            if let Ok(record) = self.shared.shelf.read_named(&address.as_identity(), name) {
                let reading = read_page(&record.response);
                each(version(&address, &reading, seen));
            }
        }
    }

    /// Blocks until everything offered so far is kept or not.
    pub fn settle(&self) {
        let (done, told) = mpsc::sync_channel(1);
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(Job::Settle(done)).is_ok());
        if sent {
            _ = told.recv();
        }
    }

    pub fn stats(&self) -> KeepStats {
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut stats = KeepStats {
            kept: read(&counts.kept),
            unchanged: read(&counts.unchanged),
            held_back: read(&counts.held_back),
            taken_back: read(&counts.taken_back),
            removed: read(&counts.removed),
            dropped: read(&counts.dropped),
            broken: read(&counts.broken),
            served: read(&counts.served),
            resting: self.shared.resting.load(Ordering::Relaxed),
            ..KeepStats::default()
        };
        for site in &self.shared.sites {
            let state = lock(&site.state);
            let assets = state
                .entries
                .values()
                .filter(|entry| entry.class == Class::Asset)
                .count();
            stats.assets += assets as u64;
            stats.pages += (state.entries.len() - assets) as u64;
            stats.bytes += state.bytes;
            stats.bytes_max += site.plan.bytes_max;
        }
        stats
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        // Who reads holds a sender to who writes, and so ends first.
        drop(self.reads.take());
        drop(self.jobs.take());
        for thread in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a thread of the saved copies had panicked");
            }
        }
    }
}

impl Shared {
    fn site(&self, name: &[u8]) -> Option<(usize, &Site)> {
        self.sites
            .iter()
            .enumerate()
            .find(|(_, site)| site.plan.name.as_ref() == name)
    }

    /// Assets are the same for every variant of a page.
    fn asset_name(&self, page: &Identity<'_>) -> u64 {
        self.shelf.seal().name(&Identity { mark: b"", ..*page })
    }

    fn find(&self, page: &Identity<'_>) -> Option<(u64, UnixMillis)> {
        let (_, site) = self.site(page.site)?;
        let names = [self.shelf.seal().name(page), self.asset_name(page)];
        let state = lock(&site.state);
        let found = state
            .entries
            .get(&names[0])
            .map(|entry| (names[0], entry.seen));
        found.or_else(|| {
            // Another variant is not this reader's page; an asset is.
            let entry = state.entries.get(&names[1])?;
            (entry.class == Class::Asset).then_some((names[1], entry.seen))
        })
    }

    fn work(&self, jobs: &mpsc::Receiver<Job>) {
        self.list();
        let mut rested_since: Option<UnixMillis> = None;
        let mut swept: Option<UnixMillis> = None;
        for job in jobs {
            match job {
                Job::Offer(offer) => {
                    let length = offer.response.body.len() as u64;
                    let now = offer.now;
                    let rests =
                        rested_since.is_some_and(|since| now.since(since) < crate::disk::REST);
                    if !rests {
                        rested_since = self.take(*offer, rested_since.is_some()).err();
                        self.resting
                            .store(rested_since.is_some(), Ordering::Relaxed);
                    }
                    self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
                    if swept.is_none_or(|swept| now.since(swept) >= SWEEP_EVERY) {
                        swept = Some(now);
                        self.sweep(now);
                    }
                }
                Job::Remove { site, name } => {
                    self.remove(site, name);
                }
                Job::NotFound { site, name, now } => self.not_found(site, name, now),
                Job::Mend { site, name } => self.mend(&self.sites[site], name),
                Job::Forget { site, target, done } => {
                    _ = done.try_send(self.forget(site, &target));
                }
                Job::Settle(done) => _ = done.try_send(()),
            }
        }
    }

    /// Fails with the time at which the disk did not take it.
    fn take(&self, offer: Offer, was_resting: bool) -> Result<(), UnixMillis> {
        let now = offer.now;
        let site = &self.sites[offer.site];
        let Some(page) = self.weigh(site, offer) else {
            return Ok(());
        };
        match self.keep(site, page, now) {
            Ok(()) => {
                if was_resting {
                    tracing::info!("the disk takes saved copies again");
                }
                Ok(())
            }
            Err(error) => {
                if !was_resting {
                    tracing::warn!(%error, "the disk takes no more saved copies; the ones it has are used on, and it is tried again in {} minutes", crate::disk::REST.as_secs() / 60);
                }
                Err(now)
            }
        }
    }

    /// `None`: it is as it was, or not good enough.
    fn weigh(&self, site: &Site, offer: Offer) -> Option<NewVersion> {
        let Offer {
            mut address,
            response,
            now,
            ..
        } = offer;
        let class = match kind_of(&response.headers) {
            Some(Kind::Html) => Class::Page,
            Some(Kind::Xml) => Class::Feed,
            Some(Kind::Css) | None => Class::Asset,
        };
        if class == Class::Asset {
            address.mark = Box::default();
        }
        let seal = self.shelf.seal();
        let name = seal.name(&address.as_identity());
        // What is coded already cannot be read or marked.
        if response.headers.contains_key(header::CONTENT_ENCODING) {
            return None;
        }
        let kind = response
            .headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let sum = seal.sum(&[kind, &[0], &response.body]);
        let mut state = lock(&site.state);
        if class == Class::Asset
            && !state.entries.contains_key(&name)
            && (!state.wanted.contains_key(&name) || state.users(name) == 0)
        {
            return None;
        }
        let mut before = None;
        if let Some(entry) = state.entries.get_mut(&name) {
            entry.not_found_since = None;
            if entry.sum == sum {
                entry.held_since = None;
                let noted = entry.seen;
                let note = now.since(noted) >= NOTE_EVERY;
                if note {
                    entry.seen = now;
                }
                drop(state);
                count(&self.counts.unchanged);
                if note {
                    self.at_hand.remove(&(name, noted.0));
                    // Lost, it looks older than it is after a restart.
                    drop(self.shelf.set_modified(&address.site, name, now));
                }
                return None;
            }
            before = Some(entry.sketch);
        }
        drop(state);
        if class != Class::Page {
            return Some(NewVersion {
                name,
                class,
                sketch: Sketch::default(),
                sum,
                assets: assets_of(class, &response, &address),
                address,
                response,
                reading: Reading::default(),
            });
        }
        let reading = read_page(&response);
        let sketch = Sketch {
            title: match reading.title.as_bytes() {
                b"" => 0,
                title => seal.sum(&[title]).max(1),
            },
            text_bytes: reading.text_bytes,
            closes: reading.closes,
        };
        let verdict = self.judge(
            site,
            name,
            &reading,
            &response.body,
            &sketch,
            before.as_ref(),
            now,
        );
        if verdict.is_err() {
            count(&self.counts.held_back);
            return None;
        }
        let assets = assets_of(class, &response, &address);
        Some(NewVersion {
            name,
            address,
            class,
            sketch,
            sum,
            assets,
            response,
            reading,
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing the judgement looks at"
    )]
    fn judge(
        &self,
        site: &Site,
        name: u64,
        reading: &Reading,
        body: &[u8],
        sketch: &Sketch,
        before: Option<&Sketch>,
        now: UnixMillis,
    ) -> Result<(), NotGood> {
        let mut verdict = good::judge(reading, body, sketch, before);
        let mut state = lock(&site.state);
        state.looks.add(name, before, sketch, now);
        let together = state.looks.together(sketch.title, now);
        let is_one_of_them = together.contains(&name);
        if verdict.is_ok() && is_one_of_them {
            verdict = Err(NotGood::ManyChanged);
        }
        if let Some(entry) = state.entries.get_mut(&name) {
            let meant = entry
                .held_since
                .is_some_and(|since| now.since(since) >= MEANT_AFTER);
            match verdict {
                Ok(()) => entry.held_since = None,
                Err(NotGood::ErrorText) => {}
                Err(_) if meant => {
                    entry.held_since = None;
                    return Ok(());
                }
                Err(_) => {
                    entry.held_since.get_or_insert(now);
                }
            }
        }
        drop(state);
        if is_one_of_them {
            for other in together.into_iter().filter(|other| *other != name) {
                self.take_back(site, other, now);
            }
        }
        verdict
    }

    /// To the version before, if this one is of the last minutes.
    fn take_back(&self, site: &Site, name: u64, now: UnixMillis) {
        let is_new = lock(&site.state)
            .entries
            .get(&name)
            .is_some_and(|entry| now.since(entry.since) < TOGETHER);
        if is_new && self.fall_back(site, name, Some(now)) {
            count(&self.counts.taken_back);
        }
    }

    /// The newest version cannot be read: the one before takes its place, or there is none.
    fn mend(&self, site: &Site, name: u64) {
        let Some(address) = lock(&site.state)
            .entries
            .get(&name)
            .map(|entry| entry.address.clone())
        else {
            return;
        };
        let is_whole = self.shelf.read_named(&address.as_identity(), name).is_ok();
        if is_whole {
            return;
        }
        count(&self.counts.broken);
        if !self.fall_back(site, name, None) {
            self.remove_from(site, name);
        }
    }

    /// False: there is no version before. `held`: since when the newest is not believed.
    fn fall_back(&self, site: &Site, name: u64, held: Option<UnixMillis>) -> bool {
        let older = {
            let state = lock(&site.state);
            let Some(entry) = state.entries.get(&name) else {
                return false;
            };
            if entry.older_bytes == 0 {
                return false;
            }
            entry.address.clone()
        };
        let Ok(older) = self.shelf.read_named(&older.as_identity(), name ^ OLDER) else {
            return false;
        };
        let Some(note) = Note::of(&older.note) else {
            return false;
        };
        if self
            .shelf
            .rename(&site.plan.name, name ^ OLDER, name)
            .is_err()
        {
            return false;
        }
        let seen = older.response.received;
        {
            let mut state = lock(&site.state);
            let Some(entry) = state.entries.get_mut(&name) else {
                return false;
            };
            self.at_hand.remove(&(name, entry.seen.0));
            let gone = entry.bytes;
            entry.bytes = entry.older_bytes;
            entry.older_bytes = 0;
            entry.sketch = note.sketch;
            entry.sum = note.sum;
            entry.seen = seen;
            entry.since = seen;
            entry.held_since = held;
            state.bytes -= gone;
        }
        let reading = read_page(&older.response);
        self.tell(Event::Kept(version(&older.address, &reading, seen)));
        true
    }

    fn keep(&self, site: &Site, page: NewVersion, now: UnixMillis) -> std::io::Result<()> {
        let names: Vec<u64> = page
            .assets
            .iter()
            .map(|asset| self.shelf.seal().name(&asset.as_identity()))
            .collect();
        let note = Note {
            class: page.class,
            sketch: page.sketch,
            sum: page.sum,
            assets: page
                .assets
                .iter()
                .map(|asset| asset.target.clone())
                .collect(),
        };
        let Some(head) = record::encode(
            self.shelf.seal(),
            &page.address.as_identity(),
            &page.response,
            &note.write(),
        ) else {
            return Ok(());
        };
        let bytes = Shelf::bytes_on_disk(head.len(), page.response.body.len());
        if bytes > site.plan.bytes_max / ROOM_SHARE {
            return Ok(());
        }
        self.make_room(site, page.name, bytes);
        let has_one = lock(&site.state).entries.contains_key(&page.name);
        let older = page.class != Class::Asset
            && has_one
            && self
                .shelf
                .link(&site.plan.name, page.name, page.name ^ OLDER)
                .is_ok();
        if let Err(error) =
            self.shelf
                .write(&site.plan.name, page.name, &head, &page.response.body, now)
        {
            // The older one has gone for nothing.
            self.remove_older(site, page.name);
            return Err(error);
        }
        self.enter(site, &page, bytes, names, older, now);
        count(&self.counts.kept);
        if page.class == Class::Page {
            self.tell(Event::Kept(version(&page.address, &page.reading, now)));
        }
        Ok(())
    }

    /// Into the table.
    fn enter(
        &self,
        site: &Site,
        page: &NewVersion,
        bytes: u64,
        assets: Vec<u64>,
        older: bool,
        now: UnixMillis,
    ) {
        let mut state = lock(&site.state);
        state.wanted.remove(&page.name);
        let before = state.entries.remove(&page.name);
        let mut entry = Entry {
            address: page.address.clone(),
            class: page.class,
            sketch: page.sketch,
            sum: page.sum,
            seen: now,
            since: now,
            bytes,
            older_bytes: 0,
            assets: assets.into_boxed_slice(),
            users: 0,
            reads: 0,
            asked: now,
            not_found_since: None,
            held_since: None,
        };
        state.bytes += bytes;
        if let Some(before) = &before {
            self.at_hand.remove(&(page.name, before.seen.0));
            state.bytes -= before.older_bytes;
            if older {
                entry.older_bytes = before.bytes;
            } else {
                state.bytes -= before.bytes;
            }
            entry.reads = before.reads;
        }
        state.use_assets(&entry.assets, &page.assets);
        if page.class == Class::Asset {
            entry.users = state.users(page.name);
        }
        state.entries.insert(page.name, entry);
        let unused = before.map(|before| state.release(&before.assets));
        drop(state);
        for asset in unused.into_iter().flatten() {
            self.remove_from(site, asset);
        }
    }

    /// Older versions of what was seen longest ago, then pages.
    fn make_room(&self, site: &Site, spared: u64, bytes: u64) {
        let state = lock(&site.state);
        let bytes_max = site.plan.bytes_max;
        if state.bytes + bytes <= bytes_max && state.entries.len() < ENTRIES_MAX {
            return;
        }
        let mut oldest: Vec<(UnixMillis, u64)> = state
            .entries
            .iter()
            .filter(|(name, entry)| **name != spared && entry.class != Class::Asset)
            .map(|(name, entry)| (entry.seen, *name))
            .collect();
        drop(state);
        oldest.sort_unstable();
        let enough = |entries_max: usize| {
            let state = lock(&site.state);
            state.bytes + bytes <= bytes_max - bytes_max / ROOM_SHARE
                && state.entries.len() < entries_max
        };
        for (_, name) in &oldest {
            if enough(usize::MAX) {
                break;
            }
            self.remove_older(site, *name);
        }
        let room = ENTRIES_MAX - ENTRIES_MAX / ROOM_SHARE as usize;
        for (_, name) in oldest {
            if enough(room) {
                break;
            }
            self.remove_from(site, name);
        }
    }

    fn remove_older(&self, site: &Site, name: u64) {
        let mut state = lock(&site.state);
        if let Some(entry) = state.entries.get_mut(&name) {
            let bytes = std::mem::take(&mut entry.older_bytes);
            state.bytes -= bytes;
        }
        drop(state);
        self.unlink(site, name ^ OLDER);
    }

    fn remove(&self, site: usize, name: u64) -> u64 {
        self.remove_from(&self.sites[site], name)
    }

    /// With its versions and with what only it needed. How many entries went.
    fn remove_from(&self, site: &Site, name: u64) -> u64 {
        let mut left = vec![name];
        let mut removed = 0;
        while let Some(name) = left.pop() {
            let mut state = lock(&site.state);
            state.wanted.remove(&name);
            let Some(entry) = state.entries.remove(&name) else {
                continue;
            };
            state.bytes -= entry.bytes + entry.older_bytes;
            left.extend(state.release(&entry.assets));
            drop(state);
            self.at_hand.remove(&(name, entry.seen.0));
            self.unlink(site, name);
            self.unlink(site, name ^ OLDER);
            removed += 1;
            count(&self.counts.removed);
            if entry.class == Class::Page {
                self.tell(Event::Gone(&entry.address));
            }
        }
        removed
    }

    fn unlink(&self, site: &Site, name: u64) {
        if let Err(error) = self.shelf.remove(&site.plan.name, name) {
            tracing::warn!(%error, "a saved copy could not be removed");
        }
    }

    fn not_found(&self, site: usize, name: u64, now: UnixMillis) {
        let site = &self.sites[site];
        let mut state = lock(&site.state);
        let Some(entry) = state.entries.get_mut(&name) else {
            return;
        };
        let since = *entry.not_found_since.get_or_insert(now);
        if now.since(since) < GONE_AFTER {
            return;
        }
        let together = state
            .entries
            .values()
            .filter(|entry| entry.not_found_since.is_some())
            .count();
        drop(state);
        if together < GONE_TOGETHER {
            self.remove_from(site, name);
        }
    }

    fn forget(&self, site: usize, target: &[u8]) -> u64 {
        let site = &self.sites[site];
        let mut state = lock(&site.state);
        state
            .wanted
            .retain(|_, wanted| wanted.address.target.as_ref() != target);
        state.refresh.forget(target);
        let names: Vec<u64> = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.address.target.as_ref() == target)
            .map(|(name, _)| *name)
            .collect();
        drop(state);
        names
            .into_iter()
            .map(|name| self.remove_from(site, name))
            .sum()
    }

    fn sweep(&self, now: UnixMillis) {
        for site in &self.sites {
            let old: Vec<u64> = lock(&site.state)
                .entries
                .iter()
                .filter(|(_, entry)| {
                    let unused = entry.class == Class::Asset && entry.users == 0;
                    unused || entry.class != Class::Asset && now.since(entry.seen) > self.age_max
                })
                .map(|(name, _)| *name)
                .collect();
            for name in old {
                self.remove_from(site, name);
            }
        }
    }

    /// What is there already: heads only, bodies are proved when they are read.
    fn list(&self) {
        let names: Vec<&[u8]> = self
            .sites
            .iter()
            .map(|site| site.plan.name.as_ref())
            .collect();
        self.shelf.keep_only(&names);
        for site in &self.sites {
            let mut found = Vec::new();
            self.shelf
                .look_through(&site.plan.name, |seen| found.push(seen));
            let mut needed = Vec::new();
            let there: HashSet<u64> = found.iter().map(|seen| seen.name).collect();
            for seen in found {
                let known = self
                    .shelf
                    .read_head(&site.plan.name, seen.name)
                    .ok()
                    .and_then(|record| Some((Note::of(&record.note)?, record)));
                let Some((note, record)) = known else {
                    count(&self.counts.broken);
                    self.unlink(site, seen.name);
                    continue;
                };
                let name = self.shelf.seal().name(&record.address.as_identity());
                let mut file = seen.name;
                if file == name ^ OLDER && !there.contains(&name) {
                    // The end came between two steps.
                    if self.shelf.rename(&site.plan.name, file, name).is_err() {
                        continue;
                    }
                    file = name;
                }
                let assets = lock(&site.state).found(&self.shelf, file, name, seen, note, record);
                needed.extend(assets);
            }
            let mut state = lock(&site.state);
            state.entries.retain(|_, entry| entry.bytes > 0);
            state.count_users();
            for (name, address) in needed {
                if !state.entries.contains_key(&name) {
                    state.want(name, address);
                }
            }
        }
    }

    fn copy(&self, read: &Read, jobs: &mpsc::SyncSender<Job>) -> Option<Arc<Stored>> {
        let site = &self.sites[read.site];
        let identity = read.address.as_identity();
        let record = match self.shelf.read_named(&identity, read.name) {
            Ok(record) => record,
            Err(ReadFault::Absent) => return None,
            Err(_) => {
                let (site, name) = (read.site, read.name);
                // When the queue is full its next reader tells.
                drop(jobs.try_send(Job::Mend { site, name }));
                self.shelf.read_named(&identity, name ^ OLDER).ok()?
            }
        };
        let copy = Arc::new(self.marked(site, record, read.seen)?);
        let key = (read.name, read.seen.0);
        self.at_hand.insert(key, Arc::clone(&copy));
        // Removed or renewed meanwhile: nothing of it stays.
        let is_current = lock(&site.state)
            .entries
            .get(&read.name)
            .is_some_and(|entry| entry.seen == read.seen);
        if !is_current {
            self.at_hand.remove(&key);
        }
        Some(copy)
    }

    /// As it is sent.
    fn marked(&self, site: &Site, record: Record, seen: UnixMillis) -> Option<Stored> {
        let Response {
            status,
            mut headers,
            mut body,
            received,
            age_secs,
        } = record.response;
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let kind = Kind::of(content_type);
        if kind == Some(Kind::Html)
            && let Some(page) = banner::mark(&body, content_type, seen, site.plan.language)
        {
            body = Bytes::from(page);
        }
        let sum = self.shelf.seal().sum(&[&body]);
        if matches!(kind, Some(Kind::Html | Kind::Xml)) {
            // They spoke of other bytes, or let a browser keep what is only for now.
            const OF_THE_ORIGINAL: [&str; 10] = [
                "etag",
                "last-modified",
                "expires",
                "pragma",
                "cdn-cache-control",
                "surrogate-control",
                "content-md5",
                "digest",
                "content-digest",
                "repr-digest",
            ];
            for name in OF_THE_ORIGINAL {
                headers.remove(name);
            }
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let etag = Bytes::from(format!("\"copy-{sum:016x}\""));
            headers.insert(header::ETAG, HeaderValue::from_maybe_shared(etag).ok()?);
        }
        let mut judged = HeaderMap::with_capacity(3);
        judged.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
        judged.insert(header::ETAG, HeaderValue::from_static("\"copy\""));
        judged.insert(header::AGE, HeaderValue::from(age_secs));
        let asked = Asked {
            method: &Method::GET,
            headers: &HeaderMap::new(),
            no_store: false,
        };
        let times = Times {
            request: received,
            response: received,
        };
        Some(Stored::new(Draft {
            status,
            headers,
            body,
            selection: Selection::default(),
            freshness: judge(&asked, StatusCode::OK, &judged, times).ok()?,
            serial: sum,
        }))
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }
}

struct NewVersion {
    name: u64,
    address: Address,
    class: Class,
    sketch: Sketch,
    sum: u64,
    assets: Vec<Address>,
    response: Response,
    reading: Reading,
}

/// What lies in a file beside the response.
struct Note {
    class: Class,
    sketch: Sketch,
    sum: u64,
    assets: Vec<Box<[u8]>>,
}

impl Note {
    fn write(&self) -> Vec<u8> {
        let mut out = vec![self.class as u8, u8::from(self.sketch.closes)];
        out.extend_from_slice(&self.sketch.text_bytes.to_le_bytes());
        out.extend_from_slice(&self.sketch.title.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        for target in &self.assets {
            // Links are shorter than 2 KiB.
            let length = u16::try_from(target.len()).unwrap_or(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&target[..usize::from(length)]);
        }
        out
    }

    fn of(note: &[u8]) -> Option<Self> {
        let (&[class, closes], rest) = note.split_first_chunk()?;
        let (text_bytes, rest) = rest.split_first_chunk()?;
        let (title, rest) = rest.split_first_chunk()?;
        let (sum, mut rest) = rest.split_first_chunk()?;
        let mut assets = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (target, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            assets.push(target.into());
            rest = after;
        }
        Some(Self {
            class: match class {
                0 => Class::Page,
                1 => Class::Feed,
                2 => Class::Asset,
                _ => return None,
            },
            sketch: Sketch {
                title: u64::from_le_bytes(*title),
                text_bytes: u32::from_le_bytes(*text_bytes),
                closes: closes == 1,
            },
            sum: u64::from_le_bytes(*sum),
            assets,
        })
    }
}

impl State {
    /// A page needs these.
    fn use_assets(&mut self, names: &[u64], addresses: &[Address]) {
        for (name, address) in names.iter().zip(addresses) {
            match self.entries.get_mut(name) {
                Some(asset) => asset.users += 1,
                None => self.want(*name, address.clone()),
            }
        }
    }

    fn want(&mut self, name: u64, address: Address) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.entry(name).or_insert(Wanted {
                address,
                asked: None,
            });
        }
    }

    /// Looks at every entry, for an asset that has just come or is missing.
    fn users(&self, asset: u64) -> u32 {
        let users = self
            .entries
            .values()
            .filter(|entry| entry.assets.contains(&asset));
        u32::try_from(users.count()).unwrap_or(u32::MAX)
    }

    /// A page that is no longer in the table needs these no more; those that nobody needs.
    fn release(&mut self, names: &[u64]) -> Vec<u64> {
        let mut unused = Vec::new();
        for name in names {
            match self.entries.get_mut(name) {
                Some(asset) if asset.class == Class::Asset => {
                    asset.users = asset.users.saturating_sub(1);
                    if asset.users == 0 {
                        unused.push(*name);
                    }
                }
                Some(_) => {}
                None => {
                    if self.wanted.contains_key(name) && self.users(*name) == 0 {
                        self.wanted.remove(name);
                    }
                }
            }
        }
        unused
    }

    fn found(
        &mut self,
        shelf: &Shelf,
        file: u64,
        name: u64,
        seen: crate::disk::shelf::Seen,
        note: Note,
        record: Record,
    ) -> Vec<(u64, Address)> {
        let entry = self.entries.entry(name).or_insert_with(|| Entry {
            address: record.address.clone(),
            class: note.class,
            sketch: Sketch::default(),
            sum: 0,
            seen: UnixMillis::default(),
            since: UnixMillis::default(),
            bytes: 0,
            older_bytes: 0,
            assets: Box::default(),
            users: 0,
            reads: 0,
            asked: UnixMillis::default(),
            not_found_since: None,
            held_since: None,
        });
        self.bytes += seen.bytes;
        if file != name {
            entry.older_bytes = seen.bytes;
            return Vec::new();
        }
        entry.bytes = seen.bytes;
        entry.sketch = note.sketch;
        entry.sum = note.sum;
        entry.seen = seen.modified;
        entry.since = record.response.received;
        let assets: Vec<(u64, Address)> = note
            .assets
            .into_iter()
            .map(|target| {
                let asset = beside(&record.address, target);
                (shelf.seal().name(&asset.as_identity()), asset)
            })
            .collect();
        entry.assets = assets.iter().map(|(name, _)| *name).collect();
        assets
    }

    /// After the folder has been listed.
    fn count_users(&mut self) {
        let mut users: HashMap<u64, u32> = HashMap::new();
        for entry in self.entries.values() {
            for asset in &entry.assets {
                *users.entry(*asset).or_default() += 1;
            }
        }
        for (name, entry) in &mut self.entries {
            entry.users = users.get(name).copied().unwrap_or(0);
        }
    }
}

/// Same-site styles, scripts, fonts, and the first images of a page; fonts and imports of a style.
fn assets_of(class: Class, response: &Response, page: &Address) -> Vec<Address> {
    let kind = match (class, kind_of(&response.headers)) {
        (Class::Page, Some(Kind::Html)) => Kind::Html,
        (Class::Asset, Some(Kind::Css)) => Kind::Css,
        _ => return Vec::new(),
    };
    let mut found: Vec<Address> = Vec::new();
    let mut images = 0;
    let base = links::Base {
        host: &page.host,
        target: &page.target,
    };
    links::extract(kind, base, &response.body, &mut |role, target| {
        let is_image = role == Role::Image;
        let is_asset = matches!(role, Role::Style | Role::Script | Role::Font)
            || is_image && images < IMAGES_MAX;
        if is_asset
            && found.len() < ASSETS_MAX
            && target != page.target.as_ref()
            && !found.iter().any(|other| other.target.as_ref() == target)
        {
            images += usize::from(is_image);
            found.push(beside(page, target.into()));
        }
    });
    found
}

fn beside(page: &Address, target: Box<[u8]>) -> Address {
    Address {
        target,
        mark: Box::default(),
        ..page.clone()
    }
}

fn kind_of(headers: &HeaderMap) -> Option<Kind> {
    Kind::of(headers.get(header::CONTENT_TYPE)?.as_bytes())
}

fn read_page(response: &Response) -> Reading {
    let content_type = response
        .headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    reading::read(&response.body, content_type)
}

fn version<'a>(address: &'a Address, reading: &'a Reading, seen: UnixMillis) -> Version<'a> {
    Version {
        address,
        title: &reading.title,
        text: &reading.text,
        language: reading.language,
        seen,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
