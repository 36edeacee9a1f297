//! What is written once and never again: each entry is safe on the disk before anybody is told that it is in, and whatever is taken out,
//! changed or put between is noticed by whoever has an older checkpoint.
//!
//! One file, `log`, is the truth: batches of entries, each with a sum over itself and where it stands. Everything else (tiles, bundles
//! of entries) is computed from it and written for others to read; at the start it is checked and made anew where it is wrong. A start
//! reads the whole file.
//!
//! *Crashes.* A batch is written, synced, and only then acknowledged; the next one is written after that. So only the last batch can be torn. What
//! is torn is cut off and kept beside the file, and the start says so. A batch that does not hold together before others that do was not torn by
//! a crash: that is damage, nothing is cut, and the ledger does not open. Neither does it when the log is shorter than its own checkpoint.
//!
//! *A full disk.* What was begun is taken back, and those who wait are told. After a sync that failed nothing is known of what lies on the disk:
//! the ledger is closed until it is opened again.
//!
//! *Many at once.* Who appends puts his entry down. One of them writes all that have been put down, with one sync, while the others wait and
//! new ones gather; then one of those does.

#[cfg(test)]
mod crash;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::disk::{Disk, OpenFile, put, replace};
use crate::merkle::{self, Hash};
use crate::note::{
    Checkpoint, CheckpointFault, KeyName, NOTE_BYTES_MAX, Note, NoteFault, Signed, SignerKey,
    VerifierKey,
};
use crate::tiles::{self, Edge, TileId, WIDTH};

const LOG: &str = "log";
const CHECKPOINT: &str = "checkpoint";
/// What a crash left of the last batch. Of several the last one is kept.
const TORN: &str = "log.torn";

const BEGINNING: &[u8; 16] = b"saqta ledger 1\n\0";
const BATCH: &[u8; 4] = b"SQB1";
/// The mark, the number of bytes that follow, and the sum.
const BATCH_HEAD_BYTES: usize = 4 + 4 + SUM_BYTES;
/// Half of SHA-256: against accidents. Against people there is the tree.
const SUM_BYTES: usize = 16;

/// The leaf and how many bytes are sealed with it.
const ENTRY_HEAD_BYTES: usize = 32 + 4;
/// Of an entry: a record of what happened, with its salt. Files lie elsewhere.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;
/// What is written with one sync, and all that a crash can tear. Sixteen of the longest entries.
const BATCH_BYTES_MAX: usize = 1024 * 1024 + ENTRY_HEAD_BYTES;
/// Those who wait hold a thread each; this many are more than a machine has.
const WAITING_MAX: usize = 16 * 1024;
/// Where each lies is held in memory: 80 MB. A newsroom that is attacked each day adds some thousand in a year.
const ENTRIES_MAX: u64 = 10_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the tree is made of: it tells nothing to who does not have the salt.
    pub leaf: [u8; 32],
    pub sealed: Vec<u8>,
}

/// How it was found at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opened {
    pub entries: u64,
    /// Bytes of a batch that nobody was told of, cut off.
    pub torn_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{path}` of the ledger cannot be read or written")]
    Disk {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("`log` is no ledger of this program; nothing was touched")]
    NotALedger,
    #[error(
        "`log` is damaged at byte {offset}, and whole again after it: this is no crash's work; nothing was touched. Restore a backup, and keep this folder"
    )]
    Damaged { offset: u64 },
    #[error(
        "`log` has {entries} entries, and the signed checkpoint says {sealed}: entries are missing; nothing was touched. Restore a backup, and keep this folder"
    )]
    Shorter { entries: u64, sealed: u64 },
    #[error(
        "`log` is not what its signed checkpoint says of the first {sealed} entries: it was changed; nothing was touched. Restore a backup, and keep this folder"
    )]
    Changed { sealed: u64 },
    #[error("`checkpoint` cannot be read: it is no note")]
    NoNote(#[from] NoteFault),
    #[error("`checkpoint` cannot be read")]
    NoCheckpoint(#[from] CheckpointFault),
    #[error("`checkpoint` is not signed by this ledger's key {name}")]
    AnothersCheckpoint { name: KeyName },
    #[error("`log` has more than {ENTRIES_MAX} entries")]
    TooMany,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    #[error("an entry has {bytes} bytes; at most {SEALED_BYTES_MAX} are taken")]
    TooLong { bytes: usize },
    #[error("the ledger has {ENTRIES_MAX} entries, which is all that it takes")]
    Full,
    #[error("more than {WAITING_MAX} entries wait to be written")]
    TooManyWait,
    #[error("the entry could not be written, and is not in the ledger: {0}")]
    NotWritten(Arc<io::Error>),
    #[error(
        "the disk failed, and what is on it is not known: the ledger is closed until the next start"
    )]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the ledger has no entry {index}: it has {size}")]
    NoEntry { index: u64, size: u64 },
    #[error("`{path}` of the ledger cannot be read")]
    Disk {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "`{path}` of the ledger is not what it was when it was written. A new start makes tiles anew"
    )]
    Damaged { path: String },
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the key is {key}, and the ledger is {origin}")]
    AnothersKey { key: KeyName, origin: KeyName },
    #[error("the checkpoint could not be written; the one before holds")]
    NotWritten(#[source] io::Error),
    #[error(
        "the disk failed, and what is on it is not known: the ledger is closed until the next start"
    )]
    Closed,
}

type Acknowledgement = Arc<OnceLock<Result<u64, AppendError>>>;

pub struct Ledger<D: Disk> {
    disk: D,
    origin: KeyName,
    queue: Mutex<Queue>,
    /// A batch is written.
    written: Condvar,
    log: Mutex<Log<D::File>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Write,
    Look,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Entry, Acknowledgement)>,
    is_writing: bool,
}

struct Log<F> {
    file: F,
    /// What is acknowledged ends here.
    end: u64,
    edge: Edge,
    /// Where each entry begins.
    entries: Vec<u64>,
    /// Of the tile of level 0 that is not full.
    leaves: Vec<[u8; 32]>,
    checkpoint: Option<Note>,
    is_closed: bool,
}

impl<D: Disk> Ledger<D> {
    /// `key`: whose the ledger is, as who signs its checkpoints.
    ///
    /// # Errors
    /// [`OpenError`]. What is there is left as it was.
    pub fn open(disk: D, key: &VerifierKey) -> Result<(Self, Opened), OpenError> {
        Self::open_for(Use::Write, disk, key)
    }

    /// As it is now, while another may be writing it: changes nothing, and takes nothing. What is torn is what the other one has not finished.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn look(disk: D, key: &VerifierKey) -> Result<Self, OpenError> {
        let (ledger, _) = Self::open_for(Use::Look, disk, key)?;
        lock(&ledger.log).is_closed = true;
        Ok(ledger)
    }

    fn open_for(what_for: Use, disk: D, key: &VerifierKey) -> Result<(Self, Opened), OpenError> {
        let of = |path| move |source| OpenError::Disk { path, source };
        let checkpoint = disk
            .read(CHECKPOINT, NOTE_BYTES_MAX as u64)
            .map_err(of(CHECKPOINT))?
            .map(|bytes| sealed(&bytes, key))
            .transpose()?;
        let file = disk.open(LOG).map_err(of(LOG))?;
        let mut log = Log {
            file,
            end: 0,
            edge: Edge::default(),
            entries: Vec::new(),
            leaves: Vec::new(),
            checkpoint: checkpoint.as_ref().map(|(note, _)| note.clone()),
            is_closed: false,
        };
        let torn_bytes = log.read_all(&disk, what_for, checkpoint.map(|(_, head)| head))?;
        let opened = Opened {
            entries: log.edge.size(),
            torn_bytes,
        };
        let ledger = Self {
            disk,
            origin: key.name().clone(),
            queue: Mutex::default(),
            written: Condvar::new(),
            log: Mutex::new(log),
        };
        Ok((ledger, opened))
    }

    /// Returns when the entry is safe: with its index.
    ///
    /// # Errors
    /// [`AppendError`]; the entry is not in the ledger then, but for [`AppendError::Closed`], after which the next start says whether it is.
    pub fn append(&self, entry: Entry) -> Result<u64, AppendError> {
        let bytes = entry.sealed.len();
        if bytes > SEALED_BYTES_MAX {
            return Err(AppendError::TooLong { bytes });
        }
        let acknowledgement = Acknowledgement::default();
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= WAITING_MAX {
            return Err(AppendError::TooManyWait);
        }
        queue
            .waiting
            .push_back((entry, Arc::clone(&acknowledgement)));
        loop {
            if let Some(result) = acknowledgement.get() {
                return result.clone();
            }
            if queue.is_writing {
                queue = self
                    .written
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_writing = true;
            let batch = queue.next_batch();
            drop(queue);
            lock(&self.log).write(&self.disk, batch);
            queue = lock(&self.queue);
            queue.is_writing = false;
            self.written.notify_all();
        }
    }

    pub fn size(&self) -> u64 {
        lock(&self.log).edge.size()
    }

    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, index: u64) -> Result<Entry, ReadError> {
        lock(&self.log).entry(index)
    }

    /// Signs what the ledger is now, and has everything that it takes to check it on the disk. What has not changed is not signed again.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, key: &SignerKey) -> Result<Note, SignError> {
        if *key.verifier().name() != self.origin {
            return Err(SignError::AnothersKey {
                key: key.verifier().name().clone(),
                origin: self.origin.clone(),
            });
        }
        let mut log = lock(&self.log);
        if log.is_closed {
            return Err(SignError::Closed);
        }
        let head = Checkpoint {
            origin: self.origin.clone(),
            size: log.edge.size(),
            root: log.edge.root(),
        };
        let mut note = head.note();
        if let Some(last) = &log.checkpoint
            && last.text() == note.text()
        {
            return Ok(last.clone());
        }
        key.sign(&mut note, 0);
        let write = || -> io::Result<()> {
            for (tile, hashes) in log.edge.partial() {
                let path = tile.path(Some(hashes.len()));
                replace(&self.disk, &path, &tiles::to_bytes(hashes))?;
            }
            if !log.leaves.is_empty() {
                let index = log.edge.size() / WIDTH as u64;
                let path = tiles::entries_path(index, Some(log.leaves.len()));
                replace(&self.disk, &path, &bundle(&log.leaves))?;
            }
            replace(&self.disk, CHECKPOINT, note.to_string().as_bytes())
        };
        write().map_err(SignError::NotWritten)?;
        log.checkpoint = Some(note.clone());
        Ok(note)
    }

    /// That the entry is in the ledger of this size, which is one it has had.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let log = lock(&self.log);
        let size_now = log.edge.size();
        if index >= size || size > size_now {
            return Err(ReadError::NoEntry {
                index,
                size: size_now.min(size),
            });
        }
        merkle::inclusion(index, size, &mut |height, n| {
            log.node(&self.disk, height, n)
        })
    }

    /// That the ledger of `size` is that of `earlier` with something added.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn consistency(&self, earlier: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let log = lock(&self.log);
        let size_now = log.edge.size();
        if earlier > size || size > size_now {
            return Err(ReadError::NoEntry {
                index: size,
                size: size_now,
            });
        }
        merkle::consistency(earlier, size, &mut |height, n| {
            log.node(&self.disk, height, n)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic leaves is whole: nothing that is under a lock here is changed in steps that could be seen.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The checkpoint this ledger signed last.
fn sealed(bytes: &[u8], key: &VerifierKey) -> Result<(Note, Checkpoint), OpenError> {
    let note = Note::parse(bytes)?;
    let checkpoint = Checkpoint::parse(&note)?;
    let is_ours = note.signed_by(key) == Signed::Log && checkpoint.origin == *key.name();
    if !is_ours {
        return Err(OpenError::AnothersCheckpoint {
            name: key.name().clone(),
        });
    }
    Ok((note, checkpoint))
}

impl Queue {
    fn next_batch(&mut self) -> Vec<(Entry, Acknowledgement)> {
        let mut bytes = 0;
        let fits = self.waiting.iter().take_while(|(entry, _)| {
            bytes += ENTRY_HEAD_BYTES + entry.sealed.len();
            bytes <= BATCH_BYTES_MAX
        });
        let count = fits.count();
        self.waiting.drain(..count).collect()
    }
}

impl<F: OpenFile> Log<F> {
    /// Gives how many bytes were torn, and cut off.
    fn read_all<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        what_for: Use,
        sealed: Option<Checkpoint>,
    ) -> Result<u64, OpenError> {
        let of_log = |source| OpenError::Disk { path: LOG, source };
        let length = self.file.bytes().map_err(of_log)?;
        let mut beginning = [0; BEGINNING.len()];
        let read = (length as usize).min(BEGINNING.len());
        self.file
            .read_at(0, &mut beginning[..read])
            .map_err(of_log)?;
        if beginning != *BEGINNING {
            self.begin(disk, what_for, (length, &beginning), sealed.as_ref())?;
            return Ok(0);
        }
        self.end = BEGINNING.len() as u64;
        let mut batch = Vec::new();
        while read_batch(&self.file, (self.end, length), &mut batch).map_err(of_log)? {
            self.take_up(disk, what_for, &batch, sealed.as_ref())?;
        }
        let torn = self.torn(length)?;
        if let Some(sealed) = sealed
            && sealed.size > self.edge.size()
        {
            return Err(OpenError::Shorter {
                entries: self.edge.size(),
                sealed: sealed.size,
            });
        }
        if what_for == Use::Write && !torn.is_empty() {
            replace(disk, TORN, &torn).map_err(|source| OpenError::Disk { path: TORN, source })?;
            self.file.cut(self.end).map_err(of_log)?;
            self.file.sync().map_err(of_log)?;
        }
        Ok(torn.len() as u64)
    }

    /// A file that nothing was ever put into: it is new, or a crash came before its beginning was safe.
    fn begin<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        what_for: Use,
        (length, beginning): (u64, &[u8; BEGINNING.len()]),
        sealed: Option<&Checkpoint>,
    ) -> Result<(), OpenError> {
        let of_log = |source| OpenError::Disk { path: LOG, source };
        let is_torn = length <= BEGINNING.len() as u64
            && beginning
                .iter()
                .zip(BEGINNING)
                .all(|(byte, ours)| byte == ours || *byte == 0);
        if !is_torn {
            return Err(OpenError::NotALedger);
        }
        if let Some(sealed) = sealed.filter(|sealed| sealed.size > 0) {
            return Err(OpenError::Shorter {
                entries: 0,
                sealed: sealed.size,
            });
        }
        if what_for == Use::Write {
            self.file.write_at(0, BEGINNING).map_err(of_log)?;
            self.file.sync().map_err(of_log)?;
            disk.sync_names(LOG).map_err(of_log)?;
        }
        self.end = BEGINNING.len() as u64;
        Ok(())
    }

    /// `batch`: whole, and the next one.
    fn take_up<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        what_for: Use,
        batch: &[u8],
        sealed: Option<&Checkpoint>,
    ) -> Result<(), OpenError> {
        let mut offset = self.end + BATCH_HEAD_BYTES as u64;
        for (leaf, bytes) in entries_of(batch) {
            if self.edge.size() >= ENTRIES_MAX {
                return Err(OpenError::TooMany);
            }
            self.entries.push(offset);
            offset += (ENTRY_HEAD_BYTES + bytes) as u64;
            let tiles = match what_for {
                Use::Write => Tiles::AsFound,
                Use::Look => Tiles::Untouched,
            };
            self.add(disk, leaf, tiles)
                .map_err(|source| OpenError::Disk {
                    path: "tile",
                    source,
                })?;
            if let Some(sealed) = sealed
                && sealed.size == self.edge.size()
                && sealed.root != self.edge.root()
            {
                return Err(OpenError::Changed {
                    sealed: sealed.size,
                });
            }
        }
        self.end = offset;
        Ok(())
    }

    /// What a crash left behind the last whole batch.
    fn torn(&self, length: u64) -> Result<Vec<u8>, OpenError> {
        let of_log = |source| OpenError::Disk { path: LOG, source };
        let damaged = OpenError::Damaged { offset: self.end };
        let bytes = (length - self.end) as usize;
        if bytes > BATCH_HEAD_BYTES + BATCH_BYTES_MAX {
            return Err(damaged);
        }
        let mut torn = vec![0; bytes];
        self.file.read_at(self.end, &mut torn).map_err(of_log)?;
        let mut batch = Vec::new();
        for at in memmem::find_iter(&torn, BATCH).filter(|at| *at > 0) {
            let later = (self.end + at as u64, length);
            if read_batch(&self.file, later, &mut batch).map_err(of_log)? {
                return Err(damaged);
            }
        }
        Ok(torn)
    }

    fn write<D: Disk<File = F>>(&mut self, disk: &D, batch: Vec<(Entry, Acknowledgement)>) {
        let result = self.commit(&batch);
        let first = self.edge.size();
        for (n, (entry, acknowledgement)) in batch.into_iter().enumerate() {
            let said = result.clone().map(|()| first + n as u64);
            if said.is_ok() {
                // Tiles are for others to read, and are made anew at the next start where they are missing.
                _ = self.add(disk, entry.leaf, Tiles::New);
            }
            // Nobody else has it.
            _ = acknowledgement.set(said);
        }
    }

    fn commit(&mut self, batch: &[(Entry, Acknowledgement)]) -> Result<(), AppendError> {
        if self.is_closed {
            return Err(AppendError::Closed);
        }
        if self.edge.size() + batch.len() as u64 > ENTRIES_MAX {
            return Err(AppendError::Full);
        }
        let mut bytes = vec![0; BATCH_HEAD_BYTES];
        let mut offsets = Vec::with_capacity(batch.len());
        for (entry, _) in batch {
            offsets.push(self.end + bytes.len() as u64);
            bytes.extend_from_slice(&entry.leaf);
            bytes.extend_from_slice(&(entry.sealed.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&entry.sealed);
        }
        let (head, inner) = bytes.split_at_mut(BATCH_HEAD_BYTES);
        head.copy_from_slice(&batch_head(self.end, inner));
        if let Err(error) = self.file.write_at(self.end, &bytes) {
            // What is half there would be taken for torn by the next start, and for damage by the one after more is written.
            let is_back = self.file.cut(self.end).and_then(|()| self.file.sync());
            self.is_closed = is_back.is_err();
            return Err(AppendError::NotWritten(Arc::new(error)));
        }
        if self.file.sync().is_err() {
            self.is_closed = true;
            return Err(AppendError::Closed);
        }
        self.end += bytes.len() as u64;
        self.entries.extend(offsets);
        Ok(())
    }

    fn add<D: Disk>(&mut self, disk: &D, leaf: [u8; 32], tiles: Tiles) -> io::Result<()> {
        self.leaves.push(leaf);
        let mut result = Ok(());
        let leaves = &mut self.leaves;
        self.edge.push(merkle::of_entry(&leaf), |tile, hashes| {
            let bytes = tiles::to_bytes(&hashes);
            let mut written = tiles.write(disk, &tile.path(None), &bytes);
            if tile.level == 0 {
                let path = tiles::entries_path(tile.index, None);
                let bundle = bundle(&std::mem::take(leaves));
                written = written.and(tiles.write(disk, &path, &bundle));
            }
            if written.is_err() {
                result = written;
            }
        });
        result
    }

    fn entry(&self, index: u64) -> Result<Entry, ReadError> {
        let size = self.edge.size();
        let missing = || ReadError::NoEntry { index, size };
        let at = usize::try_from(index).ok();
        let offset = *at.and_then(|at| self.entries.get(at)).ok_or_else(missing)?;
        let of_log = |source| ReadError::Disk {
            path: LOG.to_owned(),
            source,
        };
        let mut head = [0; ENTRY_HEAD_BYTES];
        self.file.read_at(offset, &mut head).map_err(of_log)?;
        let damaged = || ReadError::Damaged {
            path: LOG.to_owned(),
        };
        let (leaf, bytes) = entry_head(&head).ok_or_else(damaged)?;
        let mut sealed = vec![0; bytes];
        let after = offset + ENTRY_HEAD_BYTES as u64;
        self.file.read_at(after, &mut sealed).map_err(of_log)?;
        Ok(Entry { leaf, sealed })
    }

    fn node<D: Disk>(&self, disk: &D, height: u32, n: u64) -> Result<Hash, ReadError> {
        self.edge.node(height, n, |tile: TileId| {
            let path = tile.path(None);
            match disk.read(&path, (WIDTH * 32) as u64) {
                Ok(bytes) => bytes
                    .and_then(|bytes| tiles::from_bytes(&bytes))
                    .filter(|hashes| hashes.len() == WIDTH)
                    .ok_or(ReadError::Damaged { path }),
                Err(source) => Err(ReadError::Disk { path, source }),
            }
        })
    }
}

/// How tiles that are full are written.
#[derive(Clone, Copy)]
enum Tiles {
    New,
    /// At a start: where it is there already, it is left alone.
    AsFound,
    Untouched,
}

impl Tiles {
    fn write(self, disk: &impl Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::AsFound => match disk.read(path, bytes.len() as u64) {
                Ok(Some(found)) if found == bytes => Ok(()),
                _ => put(disk, path, bytes),
            },
            Self::New => put(disk, path, bytes),
            Self::Untouched => Ok(()),
        }
    }
}

/// As tlog-tiles has them: each entry after its length.
fn bundle(leaves: &[[u8; 32]]) -> Vec<u8> {
    let entry = |leaf: &[u8; 32]| [&32_u16.to_be_bytes(), leaf.as_slice()].concat();
    leaves.iter().flat_map(entry).collect()
}

fn batch_head(offset: u64, inner: &[u8]) -> [u8; BATCH_HEAD_BYTES] {
    let length = (inner.len() as u32).to_be_bytes();
    let sum = Sha256::new()
        .chain_update(offset.to_be_bytes())
        .chain_update(length)
        .chain_update(inner)
        .finalize();
    let mut head = [0; BATCH_HEAD_BYTES];
    head[..4].copy_from_slice(BATCH);
    head[4..8].copy_from_slice(&length);
    head[8..].copy_from_slice(&sum[..SUM_BYTES]);
    head
}

/// Into `batch`, without its head. False: there is no whole one at this place.
fn read_batch(
    file: &impl OpenFile,
    (offset, length): (u64, u64),
    batch: &mut Vec<u8>,
) -> io::Result<bool> {
    let left = length.saturating_sub(offset);
    if left < BATCH_HEAD_BYTES as u64 {
        return Ok(false);
    }
    let mut head = [0; BATCH_HEAD_BYTES];
    file.read_at(offset, &mut head)?;
    let bytes = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let fits = bytes <= BATCH_BYTES_MAX && bytes as u64 <= left - BATCH_HEAD_BYTES as u64;
    if head[..4] != *BATCH || !fits {
        return Ok(false);
    }
    batch.resize(bytes, 0);
    file.read_at(offset + BATCH_HEAD_BYTES as u64, batch)?;
    let is_whole = head == batch_head(offset, batch) && is_of_entries(batch);
    Ok(is_whole)
}

fn entry_head(head: &[u8]) -> Option<([u8; 32], usize)> {
    let (leaf, rest) = head.split_first_chunk::<32>()?;
    let bytes = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    (bytes <= SEALED_BYTES_MAX).then_some((*leaf, bytes))
}

/// Each entry's leaf and how many bytes are sealed with it.
fn entries_of(batch: &[u8]) -> impl Iterator<Item = ([u8; 32], usize)> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let (leaf, bytes) = entry_head(rest)?;
        rest = rest.get(ENTRY_HEAD_BYTES + bytes..)?;
        Some((leaf, bytes))
    })
}

fn is_of_entries(batch: &[u8]) -> bool {
    let read: usize = entries_of(batch)
        .map(|(_, bytes)| ENTRY_HEAD_BYTES + bytes)
        .sum();
    !batch.is_empty() && read == batch.len()
}
