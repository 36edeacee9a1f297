//! A disk in memory that keeps its promises and no more: at a crash of what was not synced some sectors are there, some are not, and some
//! names lead to what they led to before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::{Disk, OpenFile};

const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    files: Vec<Inode>,
    /// As a running program sees them.
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    pending_names: Vec<Naming>,
    /// Bytes that still fit. `None`: as many as there are.
    room: Option<u64>,
    /// Steps that change something, until the machine stops.
    steps_left: Option<u64>,
    /// The next sync says that it failed, and has done a part of it.
    sync_fails: bool,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    safe: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { len: usize },
}

#[derive(Debug, Clone)]
struct Naming {
    file: usize,
    from: Option<String>,
    to: String,
}

type Watcher = Box<dyn FnMut(&State)>;

#[derive(Clone, Default)]
pub(crate) struct Forgetful {
    state: Rc<RefCell<State>>,
    /// Called at each step that changes something, as soon as it has begun.
    watcher: Rc<RefCell<Option<Watcher>>>,
}

pub(crate) struct Opened {
    disk: Forgetful,
    file: usize,
}

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn is(&mut self, of_four: u64) -> bool {
        self.below(4) < of_four
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, mut has: impl FnMut() -> bool) {
        match self {
            Self::Cut { len } => {
                if has() {
                    bytes.resize(*len, 0);
                }
            }
            Self::Write { offset, bytes: all } => {
                let mut at = *offset;
                let end = offset + all.len();
                while at < end {
                    let next = (at / SECTOR + 1) * SECTOR;
                    let next = next.min(end);
                    if has() {
                        if bytes.len() < next {
                            bytes.resize(next, 0);
                        }
                        bytes[at..next].copy_from_slice(&all[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        names.insert(self.to.clone(), self.file);
    }

    /// Is the folder it is in this one, or above it?
    fn is_above(&self, folder: &str) -> bool {
        let own = folder_of(&self.to);
        own.is_empty() || folder == own || folder.starts_with(&format!("{own}/"))
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl State {
    /// What is there when the machine starts again.
    fn after_crash(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        // Of this crash: nothing that was not synced is there, all of it, or as it comes.
        let of_four = chance.below(5);
        let mut names = self.safe_names.clone();
        for naming in &self.pending_names {
            if chance.is(of_four) {
                naming.apply(&mut names);
            }
        }
        let of_inode = |inode: &Inode| {
            let mut bytes = inode.safe.clone();
            for change in &inode.pending {
                change.apply(&mut bytes, || chance.is(of_four));
            }
            Inode {
                seen: bytes.clone(),
                safe: bytes,
                pending: Vec::new(),
            }
        };
        Self {
            files: self.files.iter().map(of_inode).collect(),
            safe_names: names.clone(),
            names,
            ..Self::default()
        }
    }
}

impl Forgetful {
    pub(crate) fn after_crash(state: &State, seed: u64) -> Self {
        Self {
            state: Rc::new(RefCell::new(state.after_crash(seed))),
            watcher: Rc::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self, watcher: impl FnMut(&State) + 'static) {
        *self.watcher.borrow_mut() = Some(Box::new(watcher));
    }

    pub(crate) fn has_room(&self, bytes: Option<u64>) {
        self.state.borrow_mut().room = bytes;
    }

    pub(crate) fn stops_after(&self, steps: u64) {
        self.state.borrow_mut().steps_left = Some(steps);
    }

    pub(crate) fn next_sync_fails(&self) {
        self.state.borrow_mut().sync_fails = true;
    }

    /// As a program that ran would see it, changed behind its back.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        let file = state.names[path];
        let inode = &mut state.files[file];
        edit(&mut inode.seen);
        inode.safe = inode.seen.clone();
        inode.pending.clear();
    }

    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let file = *state.names.get(path)?;
        Some(state.files[file].seen.clone())
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.borrow().names.keys().cloned().collect()
    }

    fn step<T>(&self, step: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        {
            let mut state = self.state.borrow_mut();
            if let Some(left) = &mut state.steps_left {
                if *left == 0 {
                    return Err(io::Error::other("the machine has stopped"));
                }
                *left -= 1;
            }
        }
        step(&mut self.state.borrow_mut())
    }

    /// While a step is under way.
    fn look(&self) {
        let watcher = self.watcher.borrow_mut().take();
        if let Some(mut watcher) = watcher {
            watcher(&self.state());
            *self.watcher.borrow_mut() = Some(watcher);
        }
    }
}

impl Disk for Forgetful {
    type File = Opened;

    fn open(&self, path: &str) -> io::Result<Opened> {
        let found = self.state.borrow().names.get(path).copied();
        let file = match found {
            Some(file) => file,
            None => self.step(|state| {
                let file = state.files.len();
                state.files.push(Inode::default());
                state.names.insert(path.to_owned(), file);
                state.pending_names.push(Naming {
                    file,
                    from: None,
                    to: path.to_owned(),
                });
                Ok(file)
            })?,
        };
        self.look();
        let disk = self.clone();
        Ok(Opened { disk, file })
    }

    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.bytes(path);
        match bytes {
            Some(bytes) if bytes.len() as u64 > bytes_max => {
                Err(io::ErrorKind::FileTooLarge.into())
            }
            bytes => Ok(bytes),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|state| {
            let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            let naming = Naming {
                file,
                from: Some(from.to_owned()),
                to: to.to_owned(),
            };
            naming.apply(&mut state.names);
            state.pending_names.push(naming);
            Ok(())
        })?;
        self.look();
        Ok(())
    }

    fn make_folder_of(&self, _path: &str) -> io::Result<()> {
        // Names are whole paths here.
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.step(|state| {
            state.pending_names.retain(|naming| naming.to != path);
            state.names.remove(path);
            state.safe_names.remove(path);
            Ok(())
        })
    }

    fn sync_names(&self, path: &str) -> io::Result<()> {
        self.look();
        self.step(|state| {
            let folder = folder_of(path);
            let (safe, pending) = std::mem::take(&mut state.pending_names)
                .into_iter()
                .partition(|naming| naming.is_above(folder));
            state.pending_names = pending;
            let safe: Vec<Naming> = safe;
            for naming in safe {
                naming.apply(&mut state.safe_names);
            }
            Ok(())
        })
    }
}

impl Opened {
    fn step<T>(&self, step: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        self.disk.step(|state| step(state, self.file))
    }
}

impl OpenFile for Opened {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state.borrow().files[self.file].seen.len() as u64)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.step(|state, file| {
            let offset = offset as usize;
            let grows = (offset + bytes.len()).saturating_sub(state.files[file].seen.len());
            let lacks = state
                .room
                .map_or(0, |room| (grows as u64).saturating_sub(room));
            if let Some(room) = &mut state.room {
                *room -= grows as u64 - lacks;
            }
            let change = Change::Write {
                offset,
                bytes: bytes[..bytes.len() - lacks as usize].to_vec(),
            };
            let inode = &mut state.files[file];
            change.apply(&mut inode.seen, || true);
            inode.pending.push(change);
            if lacks > 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        });
        self.disk.look();
        result
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state.borrow();
        let seen = &state.files[self.file].seen;
        let start = offset as usize;
        let found = seen.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.step(|state, file| {
            let change = Change::Cut { len: len as usize };
            let inode = &mut state.files[file];
            let before = inode.seen.len();
            change.apply(&mut inode.seen, || true);
            inode.pending.push(change);
            if let Some(room) = &mut state.room {
                *room += (before as u64).saturating_sub(len);
            }
            Ok(())
        })?;
        self.disk.look();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.look();
        self.step(|state, file| {
            if std::mem::take(&mut state.sync_fails) {
                return Err(io::Error::other("the disk failed"));
            }
            let inode = &mut state.files[file];
            inode.safe = inode.seen.clone();
            inode.pending.clear();
            Ok(())
        })
    }
}
