//! The cache's second tier: what readers read stays when memory is too small, and when the program starts anew.
//!
//! After a restart in the middle of an attack memory is empty, and every reader would go to the origin at the worst moment. So pages that
//! were asked for more than once, or are known to be the site's, also lie on disk, and a miss in memory looks there first.
//!
//! No shard ever waits for a disk. One thread writes, from a queue bounded in jobs and bytes: what does not fit is dropped and counted, a
//! page that matters comes by again. Two threads read. What shards touch is an index in memory, which says whether a page is there. It is made
//! by listing the folder when the program starts, behind everybody's back: names and sizes are all it needs, so it takes one `stat` a file
//! instead of one read, and no file of its own that could disagree with the folder. That a file is whole and the right one is proved
//! when it is read, every time, before a byte of it is sent; one that is not is a miss, and is removed.
//!
//! What strangers can do to it: a page asked for once is noted in a table of fixed size and not written. A site pays for its own flood with
//! its own pages ([`index`]). When the disk is full or broken nothing is written for a while, which is said once, and everything else goes on.
//!
//! A copy on disk is no fresher than its fields say. Its fields are judged again when it comes back, under the rules of that day.

mod index;
pub mod permitted;
pub mod record;
mod revive;
pub mod shelf;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use tokio::sync::oneshot;

use self::index::Index;
pub use self::index::Share;
use self::permitted::Permitted;
use self::record::{Address, Identity, Record, Response};
use self::shelf::{ReadFault, Shelf, ShelfError};
use crate::background::{self, Nice};
use crate::clock::UnixMillis;

/// Writes that wait. A disk that takes 100 a second clears them in 3 s.
pub const WRITES_MAX: usize = 256;
/// Bytes that wait with them, on top of the cache's own: eight of the largest pages.
pub const WRITE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Reads that wait. Each is a reader before an empty page; behind so many the origin is quicker.
pub const READS_MAX: usize = 64;
/// A disk that seeks answers two at once about as fast as one.
const READERS: usize = 2;
/// Purges under way. Each is one person's order.
pub const PURGES_MAX: usize = 64;
/// Pages remembered as asked for once: 256 KiB. One asked for again within the next 40,000 others is most likely still known.
const NOTED: usize = 65_536;
/// Removals that cancel queued writes, told apart by this many places: sharing one costs a write, never a page that was purged.
const REMOVALS: usize = 1024;
/// How long a disk that did not take a file is left alone.
pub const REST: Duration = Duration::from_secs(600);

/// What of a disk the cache may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    pub bytes_max: u64,
    /// Names as in the settings. Floors together are at most `bytes_max`.
    pub sites: Vec<(Box<[u8]>, Share)>,
}

/// Why a page is worth its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// A known URL, or a page that is kept anyway.
    Known,
    /// It was asked for again while it lay in memory.
    ReadAgain,
    /// Nothing is known of it. Written when it comes a second time.
    Unproven,
}

/// What became of a page that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Queued,
    /// Asked for once; noted.
    Noted,
    /// The queue is full.
    Dropped,
    /// Too long, a site we have no room for, or a disk that takes nothing.
    Refused,
}

/// Matches what is to be removed.
pub type Matches = Arc<dyn Fn(&Address, &http::HeaderMap) -> bool + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurgeFault {
    #[error("too many purges are under way")]
    TooMany,
    #[error("the disk's thread has ended")]
    Ended,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStats {
    pub files: u64,
    pub bytes: u64,
    pub bytes_max: u64,
    /// Of memory, for knowing what is there.
    pub index_bytes: u64,
    pub written: u64,
    pub written_bytes: u64,
    pub read: u64,
    /// Looked for and not there, or not to be had in time.
    pub missed: u64,
    /// Torn, truncated or flipped, and removed.
    pub broken: u64,
    pub evicted: u64,
    /// Noted only, having been asked for once.
    pub noted: u64,
    /// The queue was full.
    pub dropped: u64,
    /// Nothing is written at present: the disk is full or fails.
    pub resting: bool,
    /// The folder has been listed.
    pub listed: bool,
}

#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    writes: Option<mpsc::SyncSender<Job>>,
    reads: Option<mpsc::SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    shelf: Shelf,
    sites: Vec<Box<[u8]>>,
    bytes_max: u64,
    index: Mutex<Index>,
    noted: Mutex<Box<[u32]>>,
    /// Under way: what is not to be served although it may still be there.
    purges: Mutex<Vec<(u64, Matches)>>,
    /// Counts removals; at each place the last one.
    removals: AtomicU64,
    removed_at: Box<[AtomicU64]>,
    waiting_bytes: AtomicU64,
    resting: AtomicBool,
    listed: AtomicBool,
    counts: Counts,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    written_bytes: AtomicU64,
    read: AtomicU64,
    missed: AtomicU64,
    broken: AtomicU64,
    evicted: AtomicU64,
    noted: AtomicU64,
    dropped: AtomicU64,
}

enum Job {
    Write(Box<Write>),
    Remove {
        site: usize,
        name: u64,
    },
    Purge {
        id: u64,
        matches: Matches,
        done: Option<mpsc::SyncSender<u64>>,
    },
    Settle(mpsc::SyncSender<()>),
}

struct Write {
    site: usize,
    name: u64,
    head: Vec<u8>,
    body: Bytes,
    /// Removals before it was queued.
    after: u64,
    now: UnixMillis,
}

struct Read {
    site: usize,
    name: u64,
    address: Address,
    answer: oneshot::Sender<Option<Record>>,
}

impl Disk {
    /// The folder is listed in the background; until that is done, not everything in it is found. `chance`: the folder's key, if it
    /// is new.
    ///
    /// # Errors
    /// When the folder cannot be used, or the system gives no thread.
    pub fn open(folder: &Path, plan: &DiskPlan, chance: [u8; 16]) -> Result<Self, ShelfError> {
        let shelf = Shelf::open(folder, chance)?;
        let shares: Vec<Share> = plan.sites.iter().map(|(_, share)| *share).collect();
        let shared = Arc::new(Shared {
            shelf,
            sites: plan.sites.iter().map(|(name, _)| name.clone()).collect(),
            bytes_max: plan.bytes_max,
            index: Mutex::new(Index::new(plan.bytes_max, &shares)),
            noted: Mutex::new(vec![0; NOTED].into_boxed_slice()),
            purges: Mutex::default(),
            removals: AtomicU64::new(0),
            removed_at: (0..REMOVALS).map(|_| AtomicU64::new(0)).collect(),
            waiting_bytes: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            counts: Counts::default(),
        });
        let failed = |source| ShelfError::Folder {
            path: folder.to_owned(),
            source,
        };
        let (writes, jobs) = mpsc::sync_channel(WRITES_MAX);
        let (reads, asked) = mpsc::sync_channel::<Read>(READS_MAX);
        let mut threads = Vec::with_capacity(1 + READERS);
        let writer = Arc::clone(&shared);
        threads.push(
            background::spawn("disk-write", Nice::Whenever, move || {
                writer.write_all(&jobs)
            })
            .map_err(failed)?,
        );
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..READERS {
            let (reader, asked, writes) = (Arc::clone(&shared), Arc::clone(&asked), writes.clone());
            threads.push(
                start("disk-read", move || reader.read_all(&asked, &writes)).map_err(failed)?,
            );
        }
        Ok(Self {
            shared,
            writes: Some(writes),
            reads: Some(reads),
            threads,
        })
    }

    /// Is there a file for it? Says nothing about whether it is whole.
    pub fn has(&self, page: &Identity<'_>) -> bool {
        self.shared.site(page.site).is_some_and(|site| {
            let name = self.shared.shelf.seal().name(page);
            self.shared.index().has(site, name)
        })
    }

    /// The page, if it is there and whole. Waits for the disk, and no shard does while this is awaited.
    pub async fn get(&self, page: &Identity<'_>) -> Option<Response> {
        let found = match self.ask(page) {
            Some(answer) => answer.await.ok().flatten(),
            None => None,
        };
        count(if found.is_some() {
            &self.shared.counts.read
        } else {
            &self.shared.counts.missed
        });
        found.map(|record| record.response)
    }

    fn ask(&self, page: &Identity<'_>) -> Option<oneshot::Receiver<Option<Record>>> {
        let site = self.shared.site(page.site)?;
        let name = self.shared.shelf.seal().name(page);
        if !self.shared.index().read(site, name) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let read = Read {
            site,
            name,
            address: page.to_address(),
            answer,
        };
        self.reads.as_ref()?.try_send(read).ok()?;
        Some(answered)
    }

    /// Offers a page. Copies its head, holds on to its body until it is written, and returns at once.
    pub fn put(
        &self,
        permitted: &Permitted<'_>,
        worth: Worth,
        response: &Response,
        now: UnixMillis,
    ) -> Put {
        let shared = &self.shared;
        let page = permitted.page();
        let Some(site) = shared.site(page.site) else {
            return Put::Refused;
        };
        let name = shared.shelf.seal().name(page);
        if worth == Worth::Unproven && !shared.index().has(site, name) && !shared.asked_before(name)
        {
            count(&shared.counts.noted);
            return Put::Noted;
        }
        let after = shared.removals.load(Ordering::SeqCst);
        let Some(head) = record::encode(shared.shelf.seal(), page, response, b"") else {
            return Put::Refused;
        };
        let bytes = Shelf::bytes_on_disk(head.len(), response.body.len());
        if !shared.index().takes(site, bytes) {
            return Put::Refused;
        }
        let length = (head.len() + response.body.len()) as u64;
        if shared.waiting_bytes.fetch_add(length, Ordering::Relaxed) + length > WRITE_BYTES_MAX {
            shared.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            count(&shared.counts.dropped);
            return Put::Dropped;
        }
        let job = Job::Write(Box::new(Write {
            site,
            name,
            head,
            body: response.body.clone(),
            after,
            now,
        }));
        if self
            .writes
            .as_ref()
            .is_none_or(|writes| writes.try_send(job).is_err())
        {
            shared.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            count(&shared.counts.dropped);
            return Put::Dropped;
        }
        Put::Queued
    }

    /// Not served from now on, written copies under way included; the file goes as soon as the writer comes to it.
    pub fn remove(&self, page: &Identity<'_>) {
        let Some(site) = self.shared.site(page.site) else {
            return;
        };
        let name = self.shared.shelf.seal().name(page);
        self.shared.cancel(name);
        let known = self.shared.index().remove(site, name);
        let listed = self.shared.listed.load(Ordering::Relaxed);
        let queued = (known || !listed)
            && self
                .writes
                .as_ref()
                .is_some_and(|writes| writes.try_send(Job::Remove { site, name }).is_ok());
        if known && !queued {
            // Seldom, and a file that stays would be back after a restart.
            drop(self.shared.shelf.remove(page.site, name));
        }
    }

    /// Removes what matches: not served from now on, gone when the folder has been gone through.
    ///
    /// # Errors
    /// When [`PURGES_MAX`] are under way, or the queue is full.
    pub fn purge(&self, matches: Matches) -> Result<(), PurgeFault> {
        let id = self.shared.begin_purge(&matches, PURGES_MAX)?;
        let job = Job::Purge {
            id,
            matches,
            done: None,
        };
        let writes = self.writes.as_ref().ok_or(PurgeFault::Ended)?;
        writes.try_send(job).map_err(|error| {
            self.shared.purged(id);
            match error {
                mpsc::TrySendError::Full(_) => PurgeFault::TooMany,
                mpsc::TrySendError::Disconnected(_) => PurgeFault::Ended,
            }
        })
    }

    /// The same, and what waits to be written. Blocks until the files are gone, and first for its place in the queue: this order is not to be
    /// lost in a flood of the others. Returns how many there were.
    ///
    /// # Errors
    /// When the disk's thread has ended.
    pub fn forget(&self, matches: Matches) -> Result<u64, PurgeFault> {
        let (done, told) = mpsc::sync_channel(1);
        // Whoever orders this waits for it, so there are as many more as such callers.
        let id = self.shared.begin_purge(&matches, usize::MAX)?;
        let job = Job::Purge {
            id,
            matches,
            done: Some(done),
        };
        let writes = self.writes.as_ref().ok_or(PurgeFault::Ended)?;
        writes.send(job).map_err(|_| PurgeFault::Ended)?;
        told.recv().map_err(|_| PurgeFault::Ended)
    }

    /// Blocks until everything queued so far is done.
    pub fn settle(&self) {
        let (done, told) = mpsc::sync_channel(1);
        let sent = self
            .writes
            .as_ref()
            .is_some_and(|writes| writes.send(Job::Settle(done)).is_ok());
        if sent {
            _ = told.recv();
        }
    }

    pub fn stats(&self) -> DiskStats {
        let shared = &self.shared;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let index = shared.index();
        DiskStats {
            files: index.len() as u64,
            bytes: index.bytes(),
            bytes_max: shared.bytes_max,
            index_bytes: index.memory_bytes() as u64,
            written: read(&shared.counts.written),
            written_bytes: read(&shared.counts.written_bytes),
            read: read(&shared.counts.read),
            missed: read(&shared.counts.missed),
            broken: read(&shared.counts.broken),
            evicted: read(&shared.counts.evicted),
            noted: read(&shared.counts.noted),
            dropped: read(&shared.counts.dropped),
            resting: shared.resting.load(Ordering::Relaxed),
            listed: shared.listed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Disk {
    /// Writes what is queued: [`WRITE_BYTES_MAX`] at most.
    fn drop(&mut self) {
        // Readers hold a sender to the writer, so they go first.
        drop(self.reads.take());
        drop(self.writes.take());
        for thread in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a thread of the disk cache had panicked");
            }
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    fn site(&self, name: &[u8]) -> Option<usize> {
        self.sites.iter().position(|site| site.as_ref() == name)
    }

    /// And notes that it was asked for now.
    fn asked_before(&self, name: u64) -> bool {
        let mark = (name >> 32) as u32 | 1;
        let place = name as usize % NOTED;
        let mut noted = lock(&self.noted);
        std::mem::replace(&mut noted[place], mark) == mark
    }

    fn cancel(&self, name: u64) {
        let at = self.removals.fetch_add(1, Ordering::SeqCst) + 1;
        self.removed_at[name as usize % REMOVALS].store(at, Ordering::SeqCst);
    }

    fn cancel_all(&self) -> u64 {
        let at = self.removals.fetch_add(1, Ordering::SeqCst) + 1;
        for place in &self.removed_at {
            place.store(at, Ordering::SeqCst);
        }
        at
    }

    fn is_cancelled(&self, write: &Write) -> bool {
        self.removed_at[write.name as usize % REMOVALS].load(Ordering::SeqCst) > write.after
    }

    fn begin_purge(&self, matches: &Matches, purges_max: usize) -> Result<u64, PurgeFault> {
        let mut purges = lock(&self.purges);
        if purges.len() >= purges_max {
            return Err(PurgeFault::TooMany);
        }
        let id = self.cancel_all();
        purges.push((id, Arc::clone(matches)));
        Ok(id)
    }

    fn purged(&self, id: u64) {
        lock(&self.purges).retain(|(other, _)| *other != id);
    }

    fn is_being_purged(&self, record: &Record) -> bool {
        lock(&self.purges)
            .iter()
            .any(|(_, matches)| matches(&record.address, &record.response.headers))
    }

    fn write_all(&self, jobs: &mpsc::Receiver<Job>) {
        self.list();
        let mut rested_since: Option<UnixMillis> = None;
        for job in jobs {
            match job {
                Job::Write(write) => {
                    let length = (write.head.len() + write.body.len()) as u64;
                    if rested_since.is_none_or(|since| write.now.since(since) >= REST) {
                        rested_since = self.write(&write, rested_since.is_some()).err();
                        self.resting
                            .store(rested_since.is_some(), Ordering::Relaxed);
                    }
                    self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
                }
                Job::Remove { site, name } => {
                    self.index().remove(site, name);
                    self.unlink(site, name);
                }
                Job::Purge { id, matches, done } => {
                    let gone = self.purge(&matches);
                    self.purged(id);
                    if let Some(done) = done {
                        // Whoever asked may have left.
                        _ = done.try_send(gone);
                    }
                }
                Job::Settle(done) => _ = done.try_send(()),
            }
        }
    }

    /// What is there already. Oldest first, so that age goes on counting; what no longer fits goes.
    fn list(&self) {
        let names: Vec<&[u8]> = self.sites.iter().map(AsRef::as_ref).collect();
        self.shelf.keep_only(&names);
        for (site, name) in names.iter().enumerate() {
            let mut found = Vec::new();
            self.shelf.look_through(name, |seen| found.push(seen));
            found.sort_unstable_by_key(|seen| seen.modified);
            // A few hundred at a time, so that no shard waits for the lock.
            for some in found.chunks(256) {
                let mut gone = Vec::new();
                let mut index = self.index();
                for seen in some {
                    if index.make_room(site, seen.name, seen.bytes, &mut gone) {
                        index.insert(site, seen.name, seen.bytes);
                    } else {
                        gone.push((site, seen.name));
                    }
                }
                drop(index);
                self.unlink_all(gone);
            }
        }
        self.listed.store(true, Ordering::Relaxed);
    }

    /// Fails with the time the disk's rest begins.
    fn write(&self, write: &Write, was_resting: bool) -> Result<(), UnixMillis> {
        if self.is_cancelled(write) {
            return Ok(());
        }
        let bytes = Shelf::bytes_on_disk(write.head.len(), write.body.len());
        let mut gone = Vec::new();
        let fits = self
            .index()
            .make_room(write.site, write.name, bytes, &mut gone);
        self.unlink_all(gone);
        if !fits {
            return Ok(());
        }
        let site = &self.sites[write.site];
        if let Err(error) = self
            .shelf
            .write(site, write.name, &write.head, &write.body, write.now)
        {
            if !was_resting {
                tracing::warn!(%error, "the disk takes no more pages; the ones it has are used on, and it is tried again in {} minutes", REST.as_secs() / 60);
            }
            return Err(write.now);
        }
        if was_resting {
            tracing::info!("the disk takes pages again");
        }
        self.index().insert(write.site, write.name, bytes);
        // Removed while it was being written.
        if self.is_cancelled(write) {
            self.index().remove(write.site, write.name);
            self.unlink(write.site, write.name);
            return Ok(());
        }
        count(&self.counts.written);
        let length = (write.head.len() + write.body.len()) as u64;
        self.counts
            .written_bytes
            .fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn purge(&self, matches: &Matches) -> u64 {
        let mut gone = 0;
        for (site, text) in self.sites.iter().enumerate() {
            let names = self.index().names(site);
            for name in names {
                let matched = match self.shelf.read_head(text, name) {
                    Ok(record) => matches(&record.address, &record.response.headers),
                    Err(ReadFault::Absent) => false,
                    // What cannot be read cannot be shown not to match.
                    Err(_) => true,
                };
                if matched {
                    self.index().remove(site, name);
                    self.unlink(site, name);
                    gone += 1;
                }
            }
        }
        gone
    }

    fn unlink_all(&self, files: Vec<(usize, u64)>) {
        self.counts
            .evicted
            .fetch_add(files.len() as u64, Ordering::Relaxed);
        for (site, name) in files {
            self.unlink(site, name);
        }
    }

    fn unlink(&self, site: usize, name: u64) {
        if let Err(error) = self.shelf.remove(&self.sites[site], name) {
            tracing::warn!(%error, "a page could not be removed from the disk");
        }
    }

    fn read_all(&self, asked: &Mutex<mpsc::Receiver<Read>>, writes: &mpsc::SyncSender<Job>) {
        loop {
            let Ok(read) = lock(asked).recv() else {
                return;
            };
            if read.answer.is_closed() {
                continue;
            }
            let found = match self
                .shelf
                .read_named(&read.address.as_identity(), read.name)
            {
                Ok(record) if !self.is_being_purged(&record) => Some(record),
                // Evicted since it was looked up.
                Ok(_) | Err(ReadFault::Absent) => None,
                Err(_) => {
                    count(&self.counts.broken);
                    let (site, name) = (read.site, read.name);
                    self.index().remove(site, name);
                    // When the queue is full its next reader finds it again, after a restart.
                    drop(writes.try_send(Job::Remove { site, name }));
                    None
                }
            };
            // The client may have left.
            drop(read.answer.send(found));
        }
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
