//! What outlives a restart and the origin: the door between a request's way and [`crate::keep`], [`crate::disk`] and [`crate::known`].
//!
//! Those three know folders, files and filters and nothing of requests. Here is decided what may go to them. A page is on disk when three
//! things are true of it: an anonymous reader got it and the cache stored it; its address is nobody's own ([`Permitted`]); and the site itself
//! names it, in a link, a feed or a sitemap, or readers of several networks asked for it. The last keeps out what strangers make up: a site that
//! answers every path would otherwise fill the folder with a flood's paths, and with what a single reader typed.
//!
//! A shard only hands over: bodies are shared and queues bounded. Links are looked for by one thread, because a page takes it a millisecond.
//!
//! Without a data folder all of this is absent, and every question is answered "no".

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::{fs, io};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode};
use saqta_detect::network::Group;
use serde::Serialize;

use crate::asked::Asked;
use crate::background::{self, Nice};
use crate::cache::key::Scheme;
use crate::cache::purge::{MayStore, Tags, What};
use crate::cache::stored::Stored;
use crate::clock::UnixMillis;
use crate::disk::permitted::{Ground, NETWORKS_MIN, Permitted};
use crate::disk::record::{Address, Identity, Response};
use crate::disk::shelf::ShelfError;
use crate::disk::{Disk, DiskPlan, Share, Worth};
use crate::head::without_port;
use crate::keep::crawl::SITEMAPS;
use crate::keep::{AGE_MAX_DEFAULT, Keep, KeepPlan, KeepSite, Traits};
use crate::known::links::{self, Base, Kind};
use crate::known::{Known, Source};
use crate::plan::{Plan, Site};
use crate::profile::{House, Use};
use crate::read;
use crate::whole;

/// So many networks asked for an address that the site does not name: it is not one reader's invention.
const VOUCHERS_MIN: usize = 3;
/// Below so many linked addresses a site is not known well enough to call the others strange.
const KNOWN_MIN: u64 = 32;
/// What programs ask of every site without a link to it. A site's list of its own pages is worth as much as a page that links to them.
const ASKED_OF_EVERY_SITE: [&str; 3] = ["/robots.txt", "/favicon.ico", "/feed/"];
/// Bodies that wait for their links to be looked at. A busy origin makes 50 pages a second.
const LESSONS_MAX: usize = 16;
/// The longest of them: a sitemap of 50,000 addresses.
const LESSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A site's part of the cache's disk that no neighbour's flood takes, of an equal part.
const FLOOR_SHARE: u64 = 2;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("cannot use the folder {path}")]
    Folder { path: PathBuf, source: io::Error },
}

/// What of the data folder is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SavedStats {
    /// Of the always-online copies; absent: none are kept.
    pub saved_pages: Option<u64>,
    pub saved_assets: Option<u64>,
    pub saved_bytes: Option<u64>,
    pub saved_bytes_max: Option<u64>,
    pub saved_served: Option<u64>,
    /// Looked like a wreck.
    pub saved_held_back: Option<u64>,
    /// Of the cache's second tier; absent: there is none.
    pub disk_files: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub disk_bytes_max: Option<u64>,
    pub disk_read: Option<u64>,
    /// The disk takes nothing at present.
    pub disk_resting: bool,
    pub known_addresses: u64,
}

#[derive(Default)]
pub(crate) struct Saved {
    sites: Vec<SavedSite>,
    keep: Option<Keep>,
    disk: Option<Disk>,
    networks: Networks,
    lessons: Option<mpsc::SyncSender<Lesson>>,
    teacher: Option<JoinHandle<()>>,
}

struct SavedSite {
    name: String,
    known: Arc<Known>,
    file: PathBuf,
}

enum Lesson {
    Body {
        known: Arc<Known>,
        kind: Kind,
        host: Box<[u8]>,
        target: Box<[u8]>,
        body: Bytes,
        now: UnixMillis,
    },
    Save,
    Write {
        file: PathBuf,
        text: String,
    },
    Settle(mpsc::SyncSender<()>),
}

/// A complete answer to a fetch that asked as anybody would.
pub(crate) struct Public<'a> {
    pub asked: &'a Asked,
    pub house: House,
    /// [`profile::asks_as_usual`].
    pub as_usual: bool,
    /// Its staff, or whoever may purge, had the page asked for anew.
    pub is_expected: bool,
    /// When it came.
    pub now: UnixMillis,
}

impl Saved {
    ///
    /// # Errors
    /// When the folder cannot be used, or the system gives no thread.
    pub(crate) fn open(
        folder: &Path,
        plan: &Plan,
        secret: &RandomState,
    ) -> Result<Self, OpenError> {
        let now = UnixMillis::now();
        let chance = |what: &str| {
            let mut chance = [0; 16];
            for (half, part) in chance.chunks_exact_mut(8).zip(0_u8..) {
                half.copy_from_slice(&secret.hash_one((what, part)).to_le_bytes());
            }
            chance
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        let known = folder.join("known");
        make_private(&known).map_err(failed(&known))?;
        let sites: Vec<SavedSite> = plan
            .sites
            .iter()
            .map(|site| {
                let file = known.join(file_name(&site.name));
                SavedSite {
                    name: site.name.clone(),
                    known: Arc::new(Known::open(&file, chance(&site.name), now)),
                    file,
                }
            })
            .collect();
        let keep = (plan.saved_bytes_max > 0)
            .then(|| {
                let plan = keep_plan(plan);
                Keep::open(&folder.join("saved"), &plan, chance("saved"))
            })
            .transpose()?;
        let disk = (plan.disk_cache_bytes_max > 0)
            .then(|| Disk::open(&folder.join("cache"), &disk_plan(plan), chance("cache")))
            .transpose()?;
        let (lessons, queue) = mpsc::sync_channel(LESSONS_MAX);
        let files: Vec<(Arc<Known>, PathBuf)> = sites
            .iter()
            .map(|site| (Arc::clone(&site.known), site.file.clone()))
            .collect();
        let teacher =
            background::spawn("learn-links", Nice::Whenever, move || teach(&queue, &files))
                .map_err(failed(folder))?;
        Ok(Self {
            sites,
            keep,
            disk,
            networks: Networks::new(),
            lessons: Some(lessons),
            teacher: Some(teacher),
        })
    }

    pub(crate) fn keep(&self) -> Option<&Keep> {
        self.keep.as_ref()
    }

    fn site(&self, name: &str) -> Option<&SavedSite> {
        self.sites.iter().find(|site| site.name == name)
    }

    /// Is there a saved copy of this page? Asks a table in memory.
    pub(crate) fn has_copy(&self, site: &Site, page: &Identity<'_>) -> bool {
        site.saved
            && self
                .keep
                .as_ref()
                .is_some_and(|keep| keep.seen(page).is_some())
    }

    /// The same of the page, or of the page as it is for a reader who has chosen no language.
    pub(crate) fn has_copy_of_any(&self, site: &Site, page: &Identity<'_>) -> bool {
        self.has_copy(site, page) || self.has_usual_copy(site, page)
    }

    /// For whom there is no copy of the version chosen: is there one of the version that nobody chose?
    pub(crate) fn has_usual_copy(&self, site: &Site, page: &Identity<'_>) -> bool {
        let usual = page.without_choice();
        usual.mark != page.mark && self.has_copy(site, &usual)
    }

    /// May a saved copy stand in for what is asked? The page's own, or that of another name it is known by.
    pub(crate) fn has_stand_in(&self, asked: &Asked) -> bool {
        let page = page(asked);
        self.has_copy_of_any(asked.site(), &page)
            || self.of_other_name(asked).is_some()
            || self.language_front(asked).is_some()
    }

    /// Is the saved copy better than a newer one in memory?
    pub(crate) fn is_better(&self, asked: &Asked) -> bool {
        self.is_better_of(&page(asked))
    }

    pub(crate) fn is_better_of(&self, page: &Identity<'_>) -> bool {
        self.keep.as_ref().is_some_and(|keep| keep.is_better(page))
    }

    /// After a start it takes a while until it is known what is saved.
    pub(crate) fn is_listed(&self) -> bool {
        self.keep.as_ref().is_none_or(Keep::is_listed)
    }

    pub(crate) async fn listed(&self) {
        if let Some(keep) = &self.keep {
            keep.listed().await;
        }
    }

    pub(crate) async fn copy(&self, asked: &Asked) -> Option<Arc<Stored>> {
        let keep = self.keep.as_ref().filter(|_| asked.site().saved)?;
        let page = page(asked);
        let mut copy = keep.copy(&page).await;
        if copy.is_none() && !page.mark.is_empty() {
            copy = keep.copy(&page.without_choice()).await;
        }
        if copy.is_none()
            && let Some(other) = self.of_other_name(asked)
        {
            copy = keep.copy(&other.as_identity()).await;
        }
        if copy.is_none()
            && let Some(front) = self.language_front(asked)
        {
            copy = keep.copy(&front.as_identity()).await;
        }
        copy
    }

    /// Links to Cyrillic addresses are encoded in lower case by WordPress, in upper case by browsers. They are one address, and its server would have
    /// answered either.
    pub(crate) fn other_spelling(&self, site: &Site, page: &Identity<'_>) -> Option<Vec<u8>> {
        memchr::memchr(b'%', page.target)?;
        [u8::to_ascii_lowercase, u8::to_ascii_uppercase]
            .into_iter()
            .map(|letter| encoded_in(page.target, letter))
            .find(|target| {
                let other = Identity {
                    target,
                    ..page.without_choice()
                };
                *target != page.target && self.has_copy(site, &other)
            })
    }

    /// Some servers send whoever types an outlet's name on to the front page of a language.
    fn language_front(&self, asked: &Asked) -> Option<Address> {
        let keep = self
            .keep
            .as_ref()
            .filter(|_| asked.target.as_str() == "/")?;
        keep.language_front(asked.site().name.as_bytes())
    }

    /// Readers type an outlet's name with `www.` and without, over `http` too and with a port; its server sends them on to the one it likes,
    /// and only that one's pages are kept. When it cannot send them on any more, they get the page they would have been sent to.
    fn of_other_name(&self, asked: &Asked) -> Option<Address> {
        let (site, page) = (asked.site(), page(asked));
        if let Some(target) = self.other_spelling(site, &page) {
            let other = Identity {
                target: &target,
                ..page.without_choice()
            };
            return Some(other.to_address());
        }
        let name = without_port(asked.authority.as_str());
        let other_name = match name.strip_prefix("www.") {
            Some(bare) => bare.to_owned(),
            None => format!("www.{name}"),
        };
        // A name that the operator has not given to this site may be anybody's.
        let is_ours = site.hosts.contains(&other_name);
        let names = [name, other_name.as_str()];
        names[..1 + usize::from(is_ours)]
            .iter()
            .flat_map(|host| [Scheme::Https, Scheme::Http].map(|scheme| (*host, scheme)))
            .map(|(host, scheme)| Identity {
                scheme,
                host: host.as_bytes(),
                ..page.without_choice()
            })
            .find(|other| self.has_copy(site, other))
            .map(|other| other.to_address())
    }

    /// What the cache's disk has of it. No shard waits while this is awaited, and next to nothing when there is nothing.
    pub(crate) async fn stored(&self, asked: &Asked) -> Option<Response> {
        let disk = self.disk.as_ref()?;
        let page = page(asked);
        if !disk.has(&page) {
            return None;
        }
        disk.get(&page).await
    }

    /// Does nobody but its sender know this address? Then it waits behind those that the site itself names.
    pub(crate) fn is_strange(&self, site: &str, target: &[u8]) -> bool {
        self.site(site)
            .is_some_and(|site| site.known.stats().items >= KNOWN_MIN && !site.known.knows(target))
    }

    /// Does the site name this page, or do readers of several networks? Without a folder nobody is counted.
    pub(crate) fn is_vouched_for(&self, asked: &Asked) -> bool {
        let Some(site) = self.site(&asked.site().name) else {
            return true;
        };
        let page = page(asked);
        asked.usage == Use::Front
            || site.known.is_known(asked.target.path().as_bytes())
            || self.keep.as_ref().is_some_and(|keep| keep.lacks(&page))
            || self.networks.note(&page, asked.group) >= VOUCHERS_MIN
    }

    /// Our own request was answered with this `Location`: another address of the site's own may be the page's.
    pub(crate) fn sent_on(&self, public: &Public<'_>, location: &[u8]) {
        let (asked, page) = (public.asked, page(public.asked));
        let Some(keep) = self.keep.as_ref().filter(|_| asked.site().saved) else {
            return;
        };
        let moved = Url::of(location);
        let (scheme, host) = match &moved {
            Some(url) => (url.scheme, url.host),
            None => (page.scheme, asked.authority.as_str()),
        };
        let is_ours = asked
            .site()
            .hosts
            .iter()
            .any(|own| own.eq_ignore_ascii_case(without_port(host)));
        let base = Base {
            host: host.as_bytes(),
            target: page.target,
        };
        if let Some(target) = links::resolve(base, location).filter(|_| is_ours) {
            let host = host.to_ascii_lowercase();
            let to = Identity {
                scheme,
                host: host.as_bytes(),
                target: &target,
                ..page
            };
            keep.sent_on(&page, to.to_address());
        }
    }

    /// A reader's request has begun a fetch of this page. One reader in several, and enough to tell which pages are read the most: what
    /// is read more runs out more often while somebody wants it.
    pub(crate) fn read(&self, asked: &Asked) {
        if let Some(keep) = self.keep.as_ref().filter(|_| asked.site().saved) {
            keep.read(&page(asked));
        }
    }

    /// A whole response has been stored, or found unchanged. False: more of its readers may change what is done with it.
    pub(crate) fn offer(
        &self,
        _leave: &MayStore<'_>,
        public: &Public<'_>,
        stored: &Stored,
    ) -> bool {
        let asked = public.asked;
        let Some(site) = self.site(&asked.site().name) else {
            return true;
        };
        if public.house.usage == Use::Search || !is_worth_a_place(stored.status()) {
            return true;
        }
        let page = page(asked);
        let networks = self.networks.note(&page, asked.group);
        let path = asked.target.path().as_bytes();
        let now = public.now;
        // What a kept page needs is linked from it, whether or not its links have been looked at yet.
        let is_needed = self.keep.as_ref().is_some_and(|keep| keep.lacks(&page));
        let is_linked = is_needed
            || public.house.usage == Use::Front
            || ASKED_OF_EVERY_SITE.contains(&asked.target.as_str())
            || SITEMAPS.contains(&asked.target.as_str())
            || site.known.is_known(path);
        let wants_more = || {
            if kind_of(stored).is_some() {
                stored.want_vouchers();
            }
            false
        };
        if !is_linked && networks < VOUCHERS_MIN {
            return wants_more();
        }
        if stored.status() == StatusCode::OK && !is_linked {
            // Its path only: a value in its query may be one reader's.
            site.known.learn(path, Source::Answered, now);
        }
        let is_public_link = || is_needed || site.known.knows(page.target);
        let Some(ground) = ground(is_public_link, asked, &page, networks) else {
            return wants_more();
        };
        let fields = said_of_this_page(stored);
        // The newspaper has one version of a page that varies, the usual one; the cache's disk has none, since it answers for the origin.
        let chosen_by = [header::COOKIE, header::USER_AGENT, header::ACCEPT_LANGUAGE];
        let marked = if public.as_usual {
            &chosen_by[..]
        } else {
            &chosen_by[..1]
        };
        let Ok(permitted) = Permitted::new(page, ground, &fields, marked) else {
            return true;
        };
        let Some(response) = Response::of(stored, now) else {
            return true;
        };
        if let Some(keep) = self.keep.as_ref().filter(|_| asked.site().saved) {
            let is_expected = public.is_expected;
            keep.offer(&permitted, traits(stored), &response, is_expected, now);
        }
        let for_all = Permitted::new(page, ground, &fields, &chosen_by[..1]);
        if let Some(disk) = &self.disk
            && let Ok(permitted) = for_all
        {
            let worth = if is_linked {
                Worth::Known
            } else {
                Worth::ReadAgain
            };
            disk.put(&permitted, worth, &response, now);
        }
        self.teach(site, asked, stored, now);
        true
    }

    /// The origin answered with this status instead of the page.
    pub(crate) fn answered(&self, public: &Public<'_>, status: StatusCode) {
        let page = page(public.asked);
        if let Some(keep) = &self.keep {
            keep.answered(&page, status, public.now);
        }
        let is_gone = matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
        );
        if let Some(disk) = self.disk.as_ref().filter(|_| is_gone) {
            disk.remove(&page);
        }
    }

    /// Has its links looked at. A queue that is full loses nothing: the page comes by again.
    fn teach(&self, site: &SavedSite, asked: &Asked, stored: &Stored, now: UnixMillis) {
        let Some(kind) = kind_of(stored).filter(|_| stored.body().len() <= LESSON_BYTES_MAX) else {
            return;
        };
        if let Some(lessons) = &self.lessons {
            let _full = lessons.try_send(Lesson::Body {
                known: Arc::clone(&site.known),
                kind,
                host: asked.authority.as_str().as_bytes().into(),
                target: asked.target.as_str().as_bytes().into(),
                body: stored.body().clone(),
                now,
            });
        }
    }

    /// Makes copies on the cache's disk unusable, and has saved ones looked at anew. Returns at once.
    pub(crate) fn purge(&self, site: &str, what: &What) {
        if let Some(disk) = &self.disk
            && let Err(fault) = disk.purge(matching(site, what))
        {
            tracing::error!("copies on disk were not purged: {fault}; give the order again");
        }
        if let Some(keep) = &self.keep {
            keep.look_again(site.as_bytes(), &|target| {
                what.concerns(target, &Tags::default())
            });
        }
    }

    /// Removes every trace of what is concerned from the disk and from all that waits for it, and says how many addresses that were. Blocks until
    /// it is gone. What is handed over meanwhile is none of this: [`Saved::offer`] has no leave for it.
    pub(crate) fn forget(&self, site: &str, what: &What) -> u64 {
        self.settle_lessons();
        let disk = self.disk.as_ref().map(|disk| {
            disk.forget(matching(site, what)).unwrap_or_else(|fault| {
                tracing::error!("copies on disk were not forgotten: {fault}");
                0
            })
        });
        let keep = self.keep.as_ref().map(|keep| {
            let what = what.clone();
            keep.forget(
                site.as_bytes(),
                Box::new(move |target| what.concerns(target, &Tags::default())),
            )
        });
        disk.unwrap_or(0) + keep.unwrap_or(0)
    }

    /// Writes down what is known of addresses, behind whoever asks.
    pub(crate) fn note_known(&self) {
        if let Some(lessons) = &self.lessons {
            // Full: it is noted the next time.
            let _full = lessons.try_send(Lesson::Save);
        }
    }

    /// Writes this down, whole or not at all, behind whoever asks: a disk that hangs is to keep nobody from what he does.
    pub(crate) fn write_down(&self, file: PathBuf, text: String) {
        if let Some(lessons) = &self.lessons {
            // Full: there is a next time.
            let _full = lessons.try_send(Lesson::Write { file, text });
        }
    }

    /// Blocks until the links of all pages that wait have been looked at, and all is written that was to be before.
    pub(crate) fn settle_lessons(&self) {
        let (done, told) = mpsc::sync_channel(1);
        if let Some(lessons) = &self.lessons
            && lessons.send(Lesson::Settle(done)).is_ok()
        {
            _ = told.recv();
        }
    }

    /// Blocks until everything handed over so far is on disk or not.
    pub(crate) fn settle(&self) {
        self.settle_lessons();
        if let Some(keep) = &self.keep {
            keep.settle();
        }
        if let Some(disk) = &self.disk {
            disk.settle();
        }
    }

    pub(crate) fn stats(&self) -> SavedStats {
        let keep = self.keep.as_ref().map(Keep::stats);
        let disk = self.disk.as_ref().map(Disk::stats);
        SavedStats {
            saved_pages: keep.map(|keep| keep.pages),
            saved_assets: keep.map(|keep| keep.assets),
            saved_bytes: keep.map(|keep| keep.bytes),
            saved_bytes_max: keep.map(|keep| keep.bytes_max),
            saved_served: keep.map(|keep| keep.served),
            saved_held_back: keep.map(|keep| keep.held_back),
            disk_files: disk.map(|disk| disk.files),
            disk_bytes: disk.map(|disk| disk.bytes),
            disk_bytes_max: disk.map(|disk| disk.bytes_max),
            disk_read: disk.map(|disk| disk.read),
            disk_resting: keep.is_some_and(|keep| keep.resting)
                || disk.is_some_and(|disk| disk.resting),
            known_addresses: self.sites.iter().map(|site| site.known.stats().items).sum(),
        }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        drop(self.lessons.take());
        if let Some(teacher) = self.teacher.take()
            && teacher.join().is_err()
        {
            tracing::error!("the thread that looks for links had panicked");
        }
    }
}

/// How a request's page is known on disk.
pub(crate) fn page(asked: &Asked) -> Identity<'_> {
    Identity {
        site: asked.site().name.as_bytes(),
        scheme: read::scheme(asked.scheme),
        host: asked.authority.as_str().as_bytes(),
        target: asked.target.as_str().as_bytes(),
        mark: asked.reading.keyed(),
    }
}

fn teach(queue: &mpsc::Receiver<Lesson>, files: &[(Arc<Known>, PathBuf)]) {
    let mut has_failed = false;
    for lesson in queue {
        match lesson {
            Lesson::Body {
                known,
                kind,
                host,
                target,
                body,
                now,
            } => {
                let base = Base {
                    host: &host,
                    target: &target,
                };
                known.learn_links(kind, base, &body, now);
            }
            Lesson::Save => save(files),
            Lesson::Write { file, text } => {
                let written = write_down(&file, &text);
                // Said once, not every five minutes.
                if let Err(error) = &written
                    && !has_failed
                {
                    tracing::warn!(%error, "{} cannot be written; what it would say is learned anew after a restart", file.display());
                }
                has_failed = written.is_err();
            }
            Lesson::Settle(done) => _ = done.try_send(()),
        }
    }
    save(files);
}

fn write_down(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        make_private(folder)?;
    }
    whole::write(file, |open| open.write_all(text.as_bytes()))
}

fn save(files: &[(Arc<Known>, PathBuf)]) {
    for (known, file) in files {
        if let Err(error) = known.save(file) {
            tracing::warn!(%error, "what is known of a site's addresses cannot be written; it is learned anew after a restart");
        }
    }
}

struct Url<'a> {
    scheme: Scheme,
    host: &'a str,
}

impl<'a> Url<'a> {
    /// `None`: a reference without a host.
    fn of(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = &rest[..end];
        Some(Self { scheme, host })
    }
}

/// With the digits of encoded bytes in this case.
fn encoded_in(target: &[u8], letter: fn(&u8) -> u8) -> Vec<u8> {
    let mut out = target.to_vec();
    for at in memchr::memchr_iter(b'%', target) {
        if let Some(digits) = out.get_mut(at + 1..at + 3)
            && digits.iter().all(u8::is_ascii_hexdigit)
        {
            digits.iter_mut().for_each(|digit| *digit = letter(digit));
        }
    }
    out
}

fn kind_of(stored: &Stored) -> Option<Kind> {
    let value = stored.headers().get(header::CONTENT_TYPE)?;
    Kind::of(value.as_bytes())
}

/// A mark that says more than a language counts as a reader's own until as many ask for it as for a query.
fn ground(
    is_public_link: impl Fn() -> bool,
    asked: &Asked,
    page: &Identity<'_>,
    networks: usize,
) -> Option<Ground> {
    if networks < NETWORKS_MIN && !is_language(page.mark, &asked.site().profile.own.languages) {
        return None;
    }
    if !page.target.contains(&b'?') {
        return Some(Ground::NoQuery);
    }
    if is_public_link() {
        return Some(Ground::PublicLink);
    }
    (networks >= NETWORKS_MIN).then_some(Ground::Networks(networks))
}

/// Nothing, or one cookie that says one of the site's languages.
fn is_language(mark: &[u8], own: &[String]) -> bool {
    const USUAL: [&str; 4] = ["kk", "kz", "ru", "en"];
    let value = mark.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
    mark.is_empty()
        || USUAL
            .iter()
            .copied()
            .chain(own.iter().map(String::as_str))
            .any(|language| value.eq_ignore_ascii_case(language.as_bytes()))
}

fn is_worth_a_place(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK | StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
    )
}

/// What a system says to everybody it has not said of this page.
fn said_of_this_page(stored: &Stored) -> HeaderMap {
    let mut fields = stored.headers().clone();
    if stored.freshness().overrules_a_habit() {
        const OUT_OF_HABIT: [HeaderName; 3] =
            [header::CACHE_CONTROL, header::EXPIRES, header::PRAGMA];
        for name in OUT_OF_HABIT {
            fields.remove(name);
        }
    }
    fields
}

/// What a profile tells by the address never comes here: such a request is not anybody's ([`crate::profile::Profile::standing_of_target`]).
fn traits(stored: &Stored) -> Traits {
    // The form in which WordPress asks for a page's password.
    const ASKS_FOR_A_PASSWORD: &[u8] = b"action=postpass";
    Traits {
        password_protected: memchr::memmem::find(stored.body(), ASKS_FOR_A_PASSWORD).is_some(),
        ..Traits::default()
    }
}

fn matching(site: &str, what: &What) -> crate::disk::Matches {
    let (site, what) = (site.to_owned(), what.clone());
    Arc::new(move |address, fields| {
        address.site.as_ref() == site.as_bytes()
            && what.concerns(&address.target, &Tags::of(fields))
    })
}

fn keep_plan(plan: &Plan) -> KeepPlan {
    let sites: Vec<&Site> = plan.sites.iter().filter(|site| site.saved).collect();
    let part = plan.saved_bytes_max / sites.len().max(1) as u64;
    // Readers of a site behind a proxy come by TLS; without one they do not.
    let scheme = if plan.trust_forwarded.is_empty() {
        Scheme::Http
    } else {
        Scheme::Https
    };
    let unwanted = plan.sites.iter().filter(|site| !site.saved);
    KeepPlan {
        unwanted: unwanted
            .flat_map(|site| site.hosts.iter().chain([&site.name]))
            .map(|name| name.as_bytes().into())
            .collect(),
        sites: sites
            .into_iter()
            .map(|site| KeepSite {
                name: site.name.as_bytes().into(),
                bytes_max: part,
                hosts: site
                    .hosts
                    .iter()
                    .map(|host| host.as_bytes().into())
                    .collect(),
                front: site
                    .hosts
                    .first()
                    .map(|host| (scheme, host.as_bytes().into())),
                language: site.language,
            })
            .collect(),
        age_max: AGE_MAX_DEFAULT,
    }
}

fn disk_plan(plan: &Plan) -> DiskPlan {
    let part = plan.disk_cache_bytes_max / plan.sites.len().max(1) as u64;
    DiskPlan {
        bytes_max: plan.disk_cache_bytes_max,
        sites: plan
            .sites
            .iter()
            .map(|site| {
                let share = Share {
                    floor: part / FLOOR_SHARE,
                    ceiling: plan.disk_cache_bytes_max,
                };
                (site.name.as_bytes().into(), share)
            })
            .collect(),
    }
}

pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Names of sites are any text.
pub(crate) fn file_name(site: &str) -> String {
    use std::fmt::Write;
    site.bytes().fold(String::new(), |mut name, byte| {
        // Writing to a string does not fail.
        _ = write!(name, "{byte:02x}");
        name
    })
}

/// How many networks asked for an address, up to [`NETWORKS_MIN`]. In memory only, and of fixed size: who asks for many addresses pushes out what
/// was counted of others, which delays their copies and nothing else.
struct Networks {
    secret: RandomState,
    places: Mutex<Box<[Seen]>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    page: u64,
    count: u8,
    groups: [u32; NETWORKS_MIN],
}

impl Networks {
    /// 96 bytes each. Twice what a busy site has of addresses in an hour.
    const PLACES: usize = 8_192;

    fn new() -> Self {
        Self {
            secret: RandomState::new(),
            places: Mutex::new(vec![Seen::default(); Self::PLACES].into_boxed_slice()),
        }
    }

    fn note(&self, page: &Identity<'_>, group: Group) -> usize {
        let page = self.secret.hash_one(page);
        let group = self.secret.hash_one(group) as u32;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = places.get_mut(page as usize % Self::PLACES) else {
            return 0;
        };
        if seen.page != page {
            *seen = Seen {
                page,
                ..Seen::default()
            };
        }
        let count = usize::from(seen.count);
        if count < NETWORKS_MIN && !seen.groups[..count].contains(&group) {
            seen.groups[count] = group;
            seen.count += 1;
        }
        usize::from(seen.count)
    }
}

impl Default for Networks {
    /// Of a Saqta without a folder, which counts nothing.
    fn default() -> Self {
        Self {
            secret: RandomState::new(),
            places: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(target: &str) -> Identity<'_> {
        Identity {
            site: b"newsroom",
            scheme: Scheme::Https,
            host: b"a.kz",
            target: target.as_bytes(),
            mark: b"",
        }
    }

    fn group(number: u64) -> Group {
        Group::from_bits(number)
    }

    #[test]
    fn only_encoded_bytes_have_two_spellings() {
        for (target, lower, upper) in [
            ("/%D2%9bala", "/%d2%9bala", "/%D2%9Bala"),
            ("/100%Off%", "/100%Off%", "/100%Off%"),
            ("/A?q=%2F%zZ%a", "/A?q=%2f%zZ%a", "/A?q=%2F%zZ%a"),
        ] {
            let encoded = |letter| encoded_in(target.as_bytes(), letter);
            assert_eq!(
                encoded(u8::to_ascii_lowercase),
                lower.as_bytes(),
                "{target}"
            );
            assert_eq!(
                encoded(u8::to_ascii_uppercase),
                upper.as_bytes(),
                "{target}"
            );
        }
    }

    #[test]
    fn networks_are_counted_once_each_and_never_beyond_what_matters() {
        let networks = Networks::new();
        for turn in 1..=2 {
            assert_eq!(networks.note(&page("/a"), group(1)), 1, "{turn}");
        }
        for number in 2..100 {
            let count = networks.note(&page("/a"), group(number));
            assert_eq!(count, NETWORKS_MIN.min(number as usize));
        }
    }

    #[test]
    fn without_a_folder_nothing_is_counted() {
        let saved = Saved::default();
        assert_eq!(saved.networks.note(&page("/a"), group(1)), 0);
        assert!(!saved.is_strange("newsroom", b"/a"));
        assert_eq!(saved.stats(), SavedStats::default());
    }

    #[test]
    fn only_a_language_marks_a_page_of_few_readers() {
        let own = ["uz-Latn".to_owned()];
        for (mark, expected) in [
            ("", true),
            ("pll_language=kk", true),
            ("lang=RU", true),
            ("lang=uz-Latn", true),
            ("lang=uz", false),
            ("lang=serik-okyrman", false),
            ("lang=kk; region=serik", false),
            ("lang", false),
        ] {
            assert_eq!(is_language(mark.as_bytes(), &own), expected, "{mark}");
        }
    }
}
