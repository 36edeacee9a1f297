//! What is kept of a site, in memory: one entry a page or asset, and what is missing.

use std::collections::{HashMap, HashSet};

use super::crawl::{Crawl, is_front};
use super::good::{Looks, Sketch};
use super::note::Note;
use super::refresh::Refresh;
use super::{ENTRIES_MAX, GONE_AFTER, GONE_TOGETHER, OLDER, WANTED_MAX, WITHDRAWN_FOR};
use crate::clock::UnixMillis;
use crate::disk::record::{Address, Identity, Record};
use crate::disk::shelf::{Seen, Shelf};

/// One in so many: up to this part of the room there is, pages that nobody has read are asked for, and of all pages later pictures and other
/// sizes of pictures. The rest is for what readers bring.
const UNASKED_SHARE: usize = 2;

#[derive(Default)]
pub(super) struct State {
    pub(super) entries: HashMap<u64, Entry, foldhash::fast::RandomState>,
    pub(super) bytes: u64,
    /// Assets that pages need and we do not have.
    pub(super) wanted: HashMap<u64, Wanted, foldhash::fast::RandomState>,
    pub(super) turns: u64,
    pub(super) looks: Looks,
    pub(super) refresh: Refresh,
    pub(super) crawl: Crawl,
    /// Pages that are a front page: asked for by everybody who types the site's name.
    pub(super) fronts: HashSet<u64, foldhash::fast::RandomState>,
    /// Withdrawn in the last minute or so; fewer than [`GONE_TOGETHER`].
    pub(super) withdrawn: Vec<u64>,
    /// When the server last withdrew what no newsroom withdraws.
    pub(super) closed: Option<UnixMillis>,
}

/// What of a page is fetched first. Without its style sheet it is no page; without a script it may be one; pictures come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Style,
    /// And fonts.
    Script,
    Image,
    /// A picture further down.
    Later,
    /// The same picture for another screen.
    Size,
}

impl Rank {
    pub(super) const ALL: [Self; 5] = [
        Self::Style,
        Self::Script,
        Self::Image,
        Self::Later,
        Self::Size,
    ];
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) address: Address,
    pub(super) rank: Rank,
    /// Pages name what they need in the order in which it matters.
    pub(super) turn: u64,
    pub(super) asked: Option<UnixMillis>,
    /// Times it was asked for and did not come.
    pub(super) tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Page,
    Feed,
    Asset,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) address: Address,
    pub(super) class: Class,
    pub(super) sketch: Sketch,
    /// Of kind and body, to know the same page again.
    pub(super) sum: u64,
    /// Last found good, as it is.
    pub(super) seen: UnixMillis,
    /// This version became the newest.
    pub(super) since: UnixMillis,
    pub(super) bytes: u64,
    /// 0: there is none.
    pub(super) older_bytes: u64,
    /// What its newest version needs, and after those what only the version before does.
    pub(super) assets: Box<[u64]>,
    pub(super) own_assets: usize,
    /// Pages that need this asset.
    pub(super) users: u32,
    pub(super) reads: u32,
    pub(super) asked: UnixMillis,
    pub(super) not_found_since: Option<UnixMillis>,
    /// Since when the origin says that it is gone. Such an entry is not shown.
    pub(super) withdrawn: Option<UnixMillis>,
    pub(super) held_since: Option<UnixMillis>,
    /// What the origin shows instead, for now, is not good.
    pub(super) is_better: bool,
}

/// What a page that is gone changes.
#[derive(Debug, Clone)]
pub(super) struct Withdrawal {
    /// Names of pages that are hidden now, or shown again.
    pub(super) changed: Vec<u64>,
    /// It is not the newsroom that withdraws, and that is new.
    pub(super) closes: bool,
}

impl State {
    /// The origin says that this page is gone.
    pub(super) fn withdraw(&mut self, name: u64, now: UnixMillis) -> Withdrawal {
        let was_closed = self
            .closed
            .is_some_and(|since| now.since(since) < GONE_AFTER);
        if was_closed || self.fronts.contains(&name) || self.withdrawn.len() + 1 >= GONE_TOGETHER {
            self.closed = Some(now);
            let shown = std::mem::take(&mut self.withdrawn);
            for name in &shown {
                if let Some(entry) = self.entries.get_mut(name) {
                    entry.withdrawn = None;
                }
            }
            return Withdrawal {
                changed: shown,
                closes: !was_closed,
            };
        }
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.withdrawn = Some(now);
            self.withdrawn.push(name);
        }
        Withdrawal {
            changed: vec![name],
            closes: false,
        }
    }

    /// Those that have been withdrawn for long enough to be believed.
    pub(super) fn gone(&mut self, now: UnixMillis) -> Vec<u64> {
        let entries = &self.entries;
        let is_gone = |name: &u64| {
            let since = entries.get(name).and_then(|entry| entry.withdrawn);
            since.is_none_or(|since| now.since(since) >= WITHDRAWN_FOR)
        };
        self.withdrawn
            .extract_if(.., |name| is_gone(name))
            .collect()
    }

    /// One page more needs these.
    pub(super) fn count_in(&mut self, names: &[u64]) {
        for name in names {
            if let Some(asset) = self.entries.get_mut(name) {
                asset.users += 1;
            }
        }
    }

    /// It is needed, and not here. `bytes_max`: of the site.
    pub(super) fn want(&mut self, name: u64, rank: Rank, address: Address, bytes_max: u64) {
        if rank >= Rank::Later && !self.has_room(bytes_max) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&name) {
            wanted.rank = wanted.rank.min(rank);
            return;
        }
        if self.wanted.len() >= WANTED_MAX {
            let last = self
                .wanted
                .iter()
                .max_by_key(|(_, wanted)| (wanted.rank, wanted.turn))
                .map(|(name, wanted)| (*name, wanted.rank));
            match last {
                Some((last, its)) if its > rank => self.wanted.remove(&last),
                _ => return,
            };
        }
        self.turns += 1;
        let wanted = Wanted {
            address,
            rank,
            turn: self.turns,
            asked: None,
            tries: 0,
        };
        self.wanted.insert(name, wanted);
    }

    /// For what nobody has asked for. `bytes_max`: of the site.
    pub(super) fn has_room(&self, bytes_max: u64) -> bool {
        self.entries.len() < ENTRIES_MAX / UNASKED_SHARE
            && self.bytes < bytes_max / UNASKED_SHARE as u64
    }

    /// Looks at every entry, for an asset that has just come or is missing.
    pub(super) fn users(&self, asset: u64) -> u32 {
        let users = self
            .entries
            .values()
            .filter(|entry| entry.assets.contains(&asset));
        u32::try_from(users.count()).unwrap_or(u32::MAX)
    }

    /// A page that is no longer in the table needs these no more; those that nobody needs.
    pub(super) fn release(&mut self, names: &[u64]) -> Vec<u64> {
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

    pub(super) fn found(
        &mut self,
        shelf: &Shelf,
        file: u64,
        name: u64,
        seen: Seen,
        note: Note,
        record: Record,
    ) -> Vec<(u64, Rank, Address)> {
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
            own_assets: 0,
            users: 0,
            reads: 0,
            asked: UnixMillis::default(),
            not_found_since: None,
            withdrawn: None,
            held_since: None,
            is_better: false,
        });
        self.bytes += seen.bytes;
        if note.class == Class::Page && is_front(&record.address.target) {
            self.fronts.insert(name);
        }
        let assets: Vec<(u64, Rank, Address)> = note
            .assets
            .into_iter()
            .map(|(rank, target)| {
                let asset = beside(&record.address, target);
                (name_of(shelf, &asset.as_identity()), rank, asset)
            })
            .collect();
        if file != name {
            entry.older_bytes = seen.bytes;
            let mut all = entry.assets.to_vec();
            all.extend(
                assets
                    .iter()
                    .map(|(name, ..)| *name)
                    .filter(|name| !entry.assets.contains(name)),
            );
            entry.assets = all.into_boxed_slice();
            return assets;
        }
        entry.bytes = seen.bytes;
        entry.sketch = note.sketch;
        entry.sum = note.sum;
        entry.seen = seen.modified;
        entry.since = record.response.received;
        entry.assets = assets.iter().map(|(name, ..)| *name).collect();
        entry.own_assets = assets.len();
        assets
    }

    /// After the folder has been listed.
    pub(super) fn count_users(&mut self) {
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

pub(super) fn beside(page: &Address, target: Box<[u8]>) -> Address {
    Address {
        target,
        mark: Box::default(),
        ..page.clone()
    }
}

/// Of the newest version.
pub(super) fn name_of(shelf: &Shelf, page: &Identity<'_>) -> u64 {
    shelf.seal().name(page) & !OLDER
}
