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
//! queue, and ask now and then what is [`Keep::due`]: assets that are missing, the front page, feeds, and what is most read. So the copy is fresh
//! for what matters, and in time of everything the site names ([`crawl`]), and costs the origin one request at a time.

pub mod banner;
mod copy;
pub mod crawl;
pub mod good;
mod note;
pub mod reading;
pub mod refresh;
mod table;
mod work;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use tokio::sync::{oneshot, watch};

pub use self::good::NotGood;
use self::reading::Reading;
use self::table::{Class, State, Withdrawal, name_of};
use crate::background::{self, Nice};
use crate::cache::key::Scheme;
use crate::cache::stored::Stored;
use crate::clock::UnixMillis;
use crate::disk::permitted::Permitted;
use crate::disk::record::{Address, Identity, Response};
use crate::disk::shelf::{Shelf, ShelfError};
use crate::known::links::Kind;
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
/// Below the headline nobody misses a picture in an emergency: those further down come when pages leave room.
const IMAGES_MAX: usize = 8;
/// Assets that are missing, of all pages of a site.
const WANTED_MAX: usize = 1_024;
/// A page not found for so long is gone, if it is alone in that.
pub const GONE_AFTER: Duration = Duration::from_secs(600);
/// So many of them together are a server in trouble.
const GONE_TOGETHER: usize = 8;
/// A page withdrawn is hidden at once, and its file removed after this: if by then as many have been withdrawn as are never withdrawn
/// together, whoever runs the server's machine has closed it, and all of them are shown again.
pub const WITHDRAWN_FOR: Duration = Duration::from_secs(60);
/// When room is needed, so much is made: sorting every page is worth it once, not for each.
const ROOM_SHARE: u64 = 20;
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// A look that changes nothing is noted on disk no more often.
const NOTE_EVERY: Duration = Duration::from_secs(300);
/// Changes when more is looked for in a page, so that each is read once more though it is as it was.
const READ_AS: u8 = 1;
/// Names of newest versions are even; the one before has the odd name beside it.
const OLDER: u64 = 1;

#[derive(Debug, Clone)]
pub struct KeepPlan {
    pub sites: Vec<KeepSite>,
    /// Names and hosts of sites that want no copies: what is saved of them goes.
    pub unwanted: Vec<Box<[u8]>>,
    pub age_max: Duration,
}

#[derive(Debug, Clone)]
pub struct KeepSite {
    /// As in the settings.
    pub name: Box<[u8]>,
    pub bytes_max: u64,
    /// All its names. What was saved under one of them is this site's, whatever the site was called then. Empty: a site of any name.
    pub hosts: Vec<Box<[u8]>>,
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

/// A page as it is kept now.
#[derive(Debug)]
pub struct Copy<'a> {
    pub address: &'a Address,
    pub response: &'a Response,
    /// Last found good.
    pub seen: UnixMillis,
}

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
    unwanted: Vec<Box<[u8]>>,
    age_max: Duration,
    at_hand: quick_cache::sync::Cache<(u64, u64), Arc<Stored>, Weights>,
    waiting_bytes: AtomicU64,
    resting: AtomicBool,
    listed: watch::Sender<bool>,
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
    /// Some copy has been better than what the origin showed since. On most days none is, and requests in a flood, each of which
    /// asks, are spared naming their page.
    had_better: AtomicBool,
}

impl Site {
    fn front(&self) -> Option<Address> {
        let (scheme, host) = self.plan.front.as_ref()?;
        Some(Address {
            site: self.plan.name.clone(),
            scheme: *scheme,
            host: host.clone(),
            target: Box::from(&b"/"[..]),
            mark: Box::default(),
        })
    }
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

/// Of a target: is it to be forgotten?
pub type IsGone = Box<dyn Fn(&[u8]) -> bool + Send>;

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
    Withdrawn {
        site: usize,
        withdrawal: Withdrawal,
        now: UnixMillis,
    },
    /// Its file cannot be read.
    Mend {
        site: usize,
        name: u64,
    },
    Forget {
        site: usize,
        is_gone: IsGone,
        done: mpsc::SyncSender<u64>,
    },
    Settle(mpsc::SyncSender<()>),
}

impl Job {
    /// When it was given, where that matters.
    fn time(&self) -> Option<UnixMillis> {
        match self {
            Self::Offer(offer) => Some(offer.now),
            Self::NotFound { now, .. } | Self::Withdrawn { now, .. } => Some(*now),
            Self::Remove { .. } | Self::Mend { .. } | Self::Forget { .. } | Self::Settle(_) => None,
        }
    }
}

struct Offer {
    site: usize,
    address: Address,
    response: Response,
    is_expected: bool,
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
    pub fn open(folder: &Path, plan: &KeepPlan, chance: [u8; 16]) -> Result<Self, ShelfError> {
        let shelf = Shelf::open(folder, chance)?;
        let shared = Arc::new(Shared {
            shelf,
            sites: plan
                .sites
                .iter()
                .map(|plan| Site {
                    plan: plan.clone(),
                    state: Mutex::default(),
                    had_better: AtomicBool::new(false),
                })
                .collect(),
            unwanted: plan.unwanted.clone(),
            age_max: plan.age_max,
            at_hand: quick_cache::sync::Cache::with_weighter(256, AT_HAND_BYTES, Weights),
            waiting_bytes: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            listed: watch::Sender::new(false),
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
            background::spawn("keep-write", Nice::Whenever, move || keeper.work(&queue))
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

    /// Does a kept page need this asset, or does the site name this page, and it is not here?
    pub fn lacks(&self, page: &Identity<'_>) -> bool {
        self.shared.site(page.site).is_some_and(|(_, site)| {
            let name = self.shared.asset_name(page);
            let state = lock(&site.state);
            state.wanted.contains_key(&name) || state.crawl.leads_to(name)
        })
    }

    /// Offers what the origin answered to an anonymous request. `is_expected`: its staff have just changed it. Returns at once; false: it is not to be kept, or there is no room in
    /// the queue. A page that may no longer be kept is removed.
    pub fn offer(
        &self,
        permitted: &Permitted<'_>,
        traits: Traits,
        response: &Response,
        is_expected: bool,
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
            is_expected,
            now,
        })));
        if !sent {
            self.shared
                .waiting_bytes
                .fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }

    /// The origin answered with this instead of the page: 410 and 451 hide it at once and remove it soon, unless it is a front page or one
    /// of many; a lasting 404 removes it when it is alone.
    pub fn answered(&self, page: &Identity<'_>, status: StatusCode, now: UnixMillis) {
        match status {
            StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
                if let Some((at, site)) = self.shared.site(page.site)
                    && let Some((name, _)) = self.shared.find(page)
                {
                    let withdrawal = lock(&site.state).withdraw(name, now);
                    let sent = self.send(Job::Withdrawn {
                        site: at,
                        withdrawal: withdrawal.clone(),
                        now,
                    });
                    if !sent {
                        // Withdrawn is withdrawn, however busy we are.
                        self.shared.mark(at, &withdrawal);
                    }
                }
            }
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

    /// There is a copy of this page, and what the origin showed last was not good.
    pub fn is_better(&self, page: &Identity<'_>) -> bool {
        let Some((_, site)) = self
            .shared
            .site(page.site)
            .filter(|(_, site)| site.had_better.load(Ordering::Relaxed))
        else {
            return false;
        };
        self.shared.find(page).is_some_and(|(name, _)| {
            let state = lock(&site.state);
            state
                .entries
                .get(&name)
                .is_some_and(|entry| entry.is_better)
        })
    }

    /// Waits until what the folder held at the start is known.
    pub async fn listed(&self) {
        let mut listed = self.shared.listed.subscribe();
        // The keeping thread may have died: then no more is coming.
        drop(listed.wait_for(|listed| *listed).await);
    }

    pub fn is_listed(&self) -> bool {
        *self.shared.listed.borrow()
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
        lock(&site.state).due(site.front(), site.plan.bytes_max, now)
    }

    /// What was due has been answered.
    pub fn fetched(&self, address: &Address, now: UnixMillis) {
        if let Some((_, site)) = self.shared.site(&address.site) {
            let name = name_of(&self.shared.shelf, &address.as_identity());
            let mut state = lock(&site.state);
            state.refresh.fetched(now);
            state.crawl.answered(name);
        }
    }

    /// What was due could not be had: there was no answer, or it was that the server cannot.
    pub fn failed(&self, site: &[u8], now: UnixMillis) {
        if let Some((_, site)) = self.shared.site(site) {
            lock(&site.state).refresh.failed(now);
        }
    }

    /// The origin says that what was due is to be had under another address of its own.
    pub fn sent_on(&self, page: &Identity<'_>, to: Address) {
        if let Some((_, site)) = self.shared.site(page.site) {
            let names = [page, &to.as_identity()].map(|page| self.shared.asset_name(page));
            let mut state = lock(&site.state);
            if !state.entries.contains_key(&names[1]) {
                state.crawl.sent_on(names[0], names[1], to);
            }
        }
    }

    /// The front page of one of the site's languages: what whoever types the site's name was sent on to.
    pub fn language_front(&self, site: &[u8]) -> Option<Address> {
        let (_, site) = self.shared.site(site)?;
        let own: &[u8] = match site.plan.language {
            Language::Kazakh => b"/kk",
            Language::Russian => b"/ru",
            Language::English => b"/en",
        };
        let state = lock(&site.state);
        state
            .fronts
            .iter()
            .filter_map(|name| Some(&state.entries.get(name)?.address))
            .filter(|address| address.mark.is_empty())
            .min_by_key(|address| (!address.target.starts_with(own), &address.target))
            .cloned()
    }

    /// Removes every trace of some addresses: each variant and version, what only they needed, what lies in memory, and what was offered
    /// before and waits to be looked at. Blocks until the files are gone; returns how many pages and assets there were.
    pub fn forget(&self, site: &[u8], is_gone: IsGone) -> u64 {
        let Some((site, _)) = self.shared.site(site) else {
            return 0;
        };
        let (done, told) = mpsc::sync_channel(1);
        let job = Job::Forget {
            site,
            is_gone,
            done,
        };
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { told.recv().unwrap_or(0) } else { 0 }
    }

    /// What matches has changed: it is due before everything else.
    pub fn look_again(&self, site: &[u8], matches: &dyn Fn(&[u8]) -> bool) {
        if let Some((_, site)) = self.shared.site(site) {
            lock(&site.state).look_again(matches);
        }
    }

    /// Every kept page of a site, in the order in which they were found good, as long as `each` wants more. Reads the disk.
    pub fn for_each_copy(
        &self,
        site: &[u8],
        mut each: impl FnMut(Copy<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((_, site)) = self.shared.site(site) else {
            return ControlFlow::Continue(());
        };
        let mut pages: Vec<(UnixMillis, u64, Address)> = lock(&site.state)
            .entries
            .iter()
            .filter(|(_, entry)| entry.class == Class::Page)
            .map(|(name, entry)| (entry.seen, *name, entry.address.clone()))
            .collect();
        pages.sort_unstable_by_key(|(seen, name, _)| (*seen, *name));
        for (seen, name, address) in pages {
            if let Ok(record) = self.shared.shelf.read_named(&address.as_identity(), name) {
                each(Copy {
                    address: &address,
                    response: &record.response,
                    seen,
                })?;
            }
        }
        ControlFlow::Continue(())
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
        name_of(&self.shelf, &Identity { mark: b"", ..*page })
    }

    fn find(&self, page: &Identity<'_>) -> Option<(u64, UnixMillis)> {
        let (_, site) = self.site(page.site)?;
        let own = name_of(&self.shelf, page);
        // Another variant is not this reader's page; an asset is.
        let of_asset = (!page.mark.is_empty()).then(|| self.asset_name(page));
        let state = lock(&site.state);
        let shown = |name| {
            let entry = state.entries.get(&name)?;
            entry.withdrawn.is_none().then_some(entry)
        };
        if let Some(entry) = shown(own) {
            return Some((own, entry.seen));
        }
        let name = of_asset?;
        let entry = shown(name)?;
        (entry.class == Class::Asset).then_some((name, entry.seen))
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
