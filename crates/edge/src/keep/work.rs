//! Judging, writing and letting go: everything the keeping thread does.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use http::header::{self, HeaderValue};

use super::crawl::{self, Named};
use super::good::{self, MEANT_AFTER, NotGood, Sketch, TOGETHER};
use super::note::Note;
use super::reading::Reading;
use super::table::{Class, Entry, Rank, State, Withdrawal, beside, name_of};
use super::{
    ASSETS_MAX, ENTRIES_MAX, GONE_AFTER, GONE_TOGETHER, IMAGES_MAX, Job, NOTE_EVERY, OLDER, Offer,
    READ_AS, ROOM_SHARE, SWEEP_EVERY, Shared, Site, count, kind_of, lock, read_page,
};
use crate::cache::memory::OBJECT_BYTES_MAX;
use crate::clock::UnixMillis;
use crate::compress;
use crate::disk::REST;
use crate::disk::record::{self, Address, Response};
use crate::disk::shelf::Shelf;
use crate::head::without_port;
use crate::known::links::{self, Kind, Role};

enum LookedUp {
    /// No page needs it.
    Unwanted,
    Same,
    New,
    Changed(Class, Sketch),
}

struct NewVersion {
    name: u64,
    address: Address,
    class: Class,
    sketch: Sketch,
    sum: u64,
    assets: Vec<(Rank, Address)>,
    response: Response,
}

impl Shared {
    pub(super) fn work(&self, jobs: &mpsc::Receiver<Job>) {
        self.list();
        self.listed.send_replace(true);
        let mut rested_since: Option<UnixMillis> = None;
        let mut swept: Option<UnixMillis> = None;
        for job in jobs {
            if let Some(now) = job.time() {
                self.remove_gone(now);
            }
            match job {
                Job::Withdrawn {
                    site, withdrawal, ..
                } => self.mark(site, &withdrawal),
                Job::Offer(offer) => {
                    let length = offer.response.body.len() as u64;
                    let now = offer.now;
                    let rests = rested_since.is_some_and(|since| now.since(since) < REST);
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
                Job::Forget {
                    site,
                    is_gone,
                    done,
                } => {
                    _ = done.try_send(self.forget(site, &*is_gone));
                }
                Job::Settle(done) => _ = done.try_send(()),
            }
        }
    }

    fn remove_gone(&self, now: UnixMillis) {
        for site in &self.sites {
            let gone = lock(&site.state).gone(now);
            for name in gone {
                let is_withdrawn = lock(&site.state)
                    .entries
                    .get(&name)
                    .is_some_and(|entry| entry.withdrawn.is_some());
                if is_withdrawn {
                    self.remove_from(site, name);
                }
            }
        }
    }

    /// So that a page withdrawn is not found after a restart either, it looks as old as can be.
    pub(super) fn mark(&self, site: usize, withdrawal: &Withdrawal) {
        let site = &self.sites[site];
        for name in &withdrawal.changed {
            let seen = lock(&site.state)
                .entries
                .get(name)
                .map(|entry| match entry.withdrawn {
                    Some(_) => UnixMillis::default(),
                    None => entry.seen,
                });
            if let Some(seen) = seen
                && let Err(error) = self.shelf.set_modified(&site.plan.name, *name, seen)
            {
                tracing::warn!(%error, "a saved copy could not be marked as withdrawn");
            }
            if let Some(seen) = seen {
                // Most have no older version.
                drop(
                    self.shelf
                        .set_modified(&site.plan.name, *name ^ OLDER, seen),
                );
            }
        }
        if withdrawal.closes {
            tracing::warn!(
                "{}: its origin answers 410 or 451 to its front page or to many pages; taken for a server that was closed, so their saved copies are kept. To withdraw a page: saqta purge --forget URL",
                String::from_utf8_lossy(&site.plan.name)
            );
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
                    tracing::warn!(%error, "the disk takes no more saved copies; the ones it has are used on, and it is tried again in {} minutes", REST.as_secs() / 60);
                }
                Err(now)
            }
        }
    }

    /// `None`: it is as it was, or not good enough.
    fn weigh(&self, site: &Site, offer: Offer) -> Option<NewVersion> {
        let Offer {
            mut address,
            mut response,
            is_expected,
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
        let name = name_of(&self.shelf, &address.as_identity());
        // What is coded cannot be read or marked, and some servers code whatever they are asked.
        if let Some(coding) = response.headers.remove(header::CONTENT_ENCODING) {
            let body =
                compress::decompress(coding.as_bytes(), &response.body, OBJECT_BYTES_MAX as usize);
            response.body = body?;
            response.headers.remove(header::ETAG);
        }
        let kind = response
            .headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let sum = seal.sum(&[kind, &[READ_AS], &response.body]);
        let steps = lock(&site.state).crawl.came(name);
        let before = match self.look_up(site, name, class, sum, &address, now) {
            LookedUp::Unwanted => return None,
            LookedUp::Same => {
                // What was not followed for want of room may be now.
                if class == Class::Feed || crawl::is_front(&address.target) {
                    self.follow(
                        site,
                        crawl::named(class, &response, &address, None),
                        &address,
                    );
                }
                return None;
            }
            LookedUp::New => None,
            // A server that dies says so in plain text, and under a style sheet's address with a page.
            LookedUp::Changed(before, _) if before != class => {
                let verdict = self.believe(site, name, Err(NotGood::OtherKind), now);
                if verdict.is_err() {
                    count(&self.counts.held_back);
                    return None;
                }
                None
            }
            LookedUp::Changed(_, before) => Some(before),
        };
        if class != Class::Page {
            self.follow(
                site,
                crawl::named(class, &response, &address, steps),
                &address,
            );
            return Some(NewVersion {
                name,
                class,
                sketch: Sketch::default(),
                sum,
                assets: assets_of(class, &response, &address),
                address,
                response,
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
            is_expected,
            now,
        );
        if verdict.is_err() {
            count(&self.counts.held_back);
            return None;
        }
        self.follow(
            site,
            crawl::named(class, &response, &address, steps),
            &address,
        );
        let assets = assets_of(class, &response, &address);
        Some(NewVersion {
            name,
            address,
            class,
            sketch,
            sum,
            assets,
            response,
        })
    }

    fn follow(&self, site: &Site, named: Option<Named>, page: &Address) {
        let Some(named) = named else {
            return;
        };
        let State { crawl, entries, .. } = &mut *lock(&site.state);
        crawl.follow(
            page,
            named,
            |address| name_of(&self.shelf, &address.as_identity()),
            |name| entries.contains_key(&name),
        );
    }

    /// And notes that it is as it was, if it is.
    fn look_up(
        &self,
        site: &Site,
        name: u64,
        class: Class,
        sum: u64,
        address: &Address,
        now: UnixMillis,
    ) -> LookedUp {
        let mut state = lock(&site.state);
        let Some(entry) = state.entries.get_mut(&name) else {
            let is_needed = state.wanted.contains_key(&name) && state.users(name) > 0;
            return if class == Class::Asset && !is_needed {
                LookedUp::Unwanted
            } else {
                LookedUp::New
            };
        };
        entry.not_found_since = None;
        if entry.sum != sum {
            return LookedUp::Changed(entry.class, entry.sketch);
        }
        let was_withdrawn = entry.withdrawn.take().is_some();
        entry.held_since = None;
        entry.is_better = false;
        let noted = entry.seen;
        // A page withdrawn is marked on disk, too.
        let note = was_withdrawn || now.since(noted) >= NOTE_EVERY;
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
        LookedUp::Same
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
        is_expected: bool,
        now: UnixMillis,
    ) -> Result<(), NotGood> {
        let mut verdict = good::judge(reading, body, sketch, before, is_expected);
        let mut state = lock(&site.state);
        state.looks.add(name, before, sketch, now);
        let together = state.looks.together(sketch.title, now);
        // A page nobody has seen before has only their company to speak for it.
        let is_one_of_them = together.contains(&name) || before.is_none() && !together.is_empty();
        if verdict.is_ok() && is_one_of_them {
            verdict = Err(NotGood::ManyChanged);
        }
        drop(state);
        let verdict = self.believe(site, name, verdict, now);
        if is_one_of_them {
            for other in together.into_iter().filter(|other| *other != name) {
                self.take_back(site, other, now);
            }
        }
        verdict
    }

    /// What is still so after a day is meant, but for a program's errors.
    fn believe(
        &self,
        site: &Site,
        name: u64,
        verdict: Result<(), NotGood>,
        now: UnixMillis,
    ) -> Result<(), NotGood> {
        let mut state = lock(&site.state);
        let Some(entry) = state.entries.get_mut(&name) else {
            return verdict;
        };
        let meant = entry
            .held_since
            .is_some_and(|since| now.since(since) >= MEANT_AFTER);
        entry.is_better = verdict.is_err() && !meant;
        site.had_better.fetch_or(entry.is_better, Ordering::Relaxed);
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
        let assets: Vec<u64> = note
            .assets
            .into_iter()
            .map(|(_, target)| name_of(&self.shelf, &beside(&older.address, target).as_identity()))
            .collect();
        let unused = {
            let mut state = lock(&site.state);
            if !state.entries.contains_key(&name) {
                return false;
            }
            state.count_in(&assets);
            let Some(entry) = state.entries.get_mut(&name) else {
                return false;
            };
            entry.own_assets = assets.len();
            let before = std::mem::replace(&mut entry.assets, assets.into_boxed_slice());
            self.at_hand.remove(&(name, entry.seen.0));
            let gone = entry.bytes;
            entry.bytes = entry.older_bytes;
            entry.older_bytes = 0;
            entry.sketch = note.sketch;
            entry.sum = note.sum;
            entry.seen = seen;
            entry.since = seen;
            entry.held_since = held;
            entry.is_better = held.is_some();
            site.had_better.fetch_or(entry.is_better, Ordering::Relaxed);
            state.bytes -= gone;
            state.release(&before)
        };
        for asset in unused {
            self.remove_from(site, asset);
        }
        true
    }

    fn keep(&self, site: &Site, page: NewVersion, now: UnixMillis) -> std::io::Result<()> {
        let names: Vec<u64> = page
            .assets
            .iter()
            .map(|(_, asset)| name_of(&self.shelf, &asset.as_identity()))
            .collect();
        let note = Note {
            class: page.class,
            sketch: page.sketch,
            sum: page.sum,
            assets: page
                .assets
                .iter()
                .map(|(rank, asset)| (*rank, asset.target.clone()))
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
        for (name, (rank, address)) in assets.iter().zip(&page.assets) {
            if !state.entries.contains_key(name) {
                state.want(*name, *rank, address.clone(), site.plan.bytes_max);
            }
        }
        let own_assets = assets.len();
        let mut assets = assets;
        let mut older_bytes = 0;
        state.bytes += bytes;
        if let Some(before) = &before {
            self.at_hand.remove(&(page.name, before.seen.0));
            state.bytes -= before.older_bytes;
            if older {
                older_bytes = before.bytes;
                // What the version before needs stays as long as it does.
                for asset in &before.assets[..before.own_assets] {
                    if !assets.contains(asset) {
                        assets.push(*asset);
                    }
                }
            } else {
                state.bytes -= before.bytes;
            }
        }
        state.count_in(&assets);
        if page.class == Class::Page && crawl::is_front(&page.address.target) {
            state.fronts.insert(page.name);
        }
        let users = match page.class {
            Class::Asset => state.users(page.name),
            Class::Page | Class::Feed => 0,
        };
        state.entries.insert(
            page.name,
            Entry {
                address: page.address.clone(),
                class: page.class,
                sketch: page.sketch,
                sum: page.sum,
                seen: now,
                since: now,
                bytes,
                older_bytes,
                assets: assets.into_boxed_slice(),
                own_assets,
                users,
                reads: before.as_ref().map_or(0, |before| before.reads),
                asked: now,
                not_found_since: None,
                withdrawn: None,
                held_since: None,
                is_better: false,
            },
        );
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
        let mut unused = Vec::new();
        if let Some(entry) = state.entries.get_mut(&name) {
            let bytes = std::mem::take(&mut entry.older_bytes);
            let (own, olders) = entry.assets.split_at(entry.own_assets);
            let (own, olders) = (own.into(), olders.to_vec());
            entry.assets = own;
            state.bytes -= bytes;
            unused = state.release(&olders);
        }
        drop(state);
        self.unlink(site, name ^ OLDER);
        for asset in unused {
            self.remove_from(site, asset);
        }
    }

    pub(super) fn remove(&self, site: usize, name: u64) -> u64 {
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
            state.fronts.remove(&name);
            state.bytes -= entry.bytes + entry.older_bytes;
            left.extend(state.release(&entry.assets));
            drop(state);
            self.at_hand.remove(&(name, entry.seen.0));
            self.unlink(site, name);
            self.unlink(site, name ^ OLDER);
            removed += 1;
            count(&self.counts.removed);
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

    fn forget(&self, site: usize, is_gone: &dyn Fn(&[u8]) -> bool) -> u64 {
        let site = &self.sites[site];
        let mut state = lock(&site.state);
        state
            .wanted
            .retain(|_, wanted| !is_gone(&wanted.address.target));
        state.refresh.forget(is_gone);
        state.crawl.forget(is_gone);
        let names: Vec<u64> = state
            .entries
            .iter()
            .filter(|(_, entry)| is_gone(&entry.address.target))
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

    /// Sites get other names when a mirror is added or the file put in order, and one that is left out today may be back tomorrow. What was
    /// saved under a host that a site has now is that site's; the rest waits until it is too old.
    fn claim(&self, names: &[&[u8]]) {
        let now = UnixMillis::now();
        let room = self.sites.iter().map(|site| site.plan.bytes_max).max();
        let (mut claimed, mut others) = (0_u64, 0_u64);
        let mut was_told = false;
        self.shelf.look_through_others(names, |path, seen| {
            let is_old = now.since(seen.modified) > self.age_max;
            others += seen.bytes;
            if is_old || others > room.unwrap_or(0) {
                drop(fs::remove_file(path));
                return;
            }
            let Ok(Address { host, site, .. }) = self.shelf.address_in(path) else {
                return;
            };
            let host = std::str::from_utf8(&host).map_or("", without_port);
            let is_unwanted = |name: &[u8]| [host.as_bytes(), &site].contains(&name);
            if self.unwanted.iter().any(|name| is_unwanted(name)) {
                others -= seen.bytes;
                drop(fs::remove_file(path));
                return;
            }
            let owner = self.sites.iter().find(|site| {
                site.plan.hosts.iter().any(|own| own.as_ref() == host.as_bytes())
            });
            let Some(site) = owner else {
                return;
            };
            let Ok(record) = self.shelf.read_file(path) else {
                return;
            };
            let address = Address {
                site: site.plan.name.clone(),
                ..record.address
            };
            let page = address.as_identity();
            let name = name_of(&self.shelf, &page) | seen.name & OLDER;
            let head = record::encode(self.shelf.seal(), &page, &record.response, &record.note);
            let body = &record.response.body;
            // What this site has saved under its name of today is newer.
            let moved = match head {
                Some(head) if self.shelf.read_head(&site.plan.name, name).is_err() => self
                    .shelf
                    .write(&site.plan.name, name, &head, body, seen.modified),
                _ => Ok(()),
            };
            match moved {
                Ok(()) => {
                    claimed += 1;
                    others -= seen.bytes;
                    drop(fs::remove_file(path));
                }
                Err(error) if !was_told => {
                    was_told = true;
                    tracing::warn!(%error, "saved copies of a site called otherwise before could not be given to {}; it is tried again with the next start", String::from_utf8_lossy(&site.plan.name));
                }
                Err(_) => {}
            }
        });
        if claimed > 0 {
            tracing::info!("{claimed} saved copies of sites called otherwise before are used on");
        }
    }

    /// What is there already: heads only, bodies are proved when they are read.
    fn list(&self) {
        let names: Vec<&[u8]> = self
            .sites
            .iter()
            .map(|site| site.plan.name.as_ref())
            .collect();
        self.claim(&names);
        for site in &self.sites {
            let mut found = Vec::new();
            self.shelf
                .look_through(&site.plan.name, |seen| found.push(seen));
            // The newest first: a version before that is alone takes its place.
            found.sort_unstable_by_key(|seen| seen.name & OLDER);
            let mut needed = Vec::new();
            for seen in found {
                let mut file = seen.name;
                if seen.modified == UnixMillis::default() {
                    // Withdrawn, and then the program ended.
                    self.unlink(site, file);
                    continue;
                }
                let known = self
                    .shelf
                    .read_head(&site.plan.name, file)
                    .ok()
                    .and_then(|record| Some((Note::of(&record.note)?, record)))
                    .filter(|(_, record)| {
                        name_of(&self.shelf, &record.address.as_identity()) == file & !OLDER
                    });
                let Some((note, record)) = known else {
                    count(&self.counts.broken);
                    self.unlink(site, file);
                    continue;
                };
                let name = file & !OLDER;
                let alone = !lock(&site.state).entries.contains_key(&name);
                if file != name && alone {
                    if self.shelf.rename(&site.plan.name, file, name).is_err() {
                        continue;
                    }
                    file = name;
                }
                let assets = lock(&site.state).found(&self.shelf, file, name, seen, note, record);
                needed.extend(assets);
            }
            let mut state = lock(&site.state);
            state.count_users();
            for (name, rank, address) in needed {
                if !state.entries.contains_key(&name) {
                    state.want(name, rank, address, site.plan.bytes_max);
                }
            }
            drop(state);
            if let Some(front) = site.front() {
                self.follow(site, Some(Named::sitemaps()), &front);
            }
        }
    }
}

/// What of the same site a browser loads with a page or a style, in the order of their ranks, as much as there is room for.
fn assets_of(class: Class, response: &Response, page: &Address) -> Vec<(Rank, Address)> {
    let kind = match (class, kind_of(&response.headers)) {
        (Class::Page, Some(Kind::Html)) => Kind::Html,
        (Class::Asset, Some(Kind::Css)) => Kind::Css,
        _ => return Vec::new(),
    };
    let mut found: [Vec<Box<[u8]>>; Rank::ALL.len()] = Default::default();
    let base = links::Base {
        host: &page.host,
        target: &page.target,
    };
    let holds = |ranks: &[Vec<Box<[u8]>>], target: &[u8]| {
        ranks.iter().flatten().any(|other| other.as_ref() == target)
    };
    links::extract(kind, base, &response.body, &mut |role, target| {
        let rank = match role {
            Role::Style => Rank::Style,
            Role::Script | Role::Font => Rank::Script,
            Role::Image if found[Rank::Image as usize].len() >= IMAGES_MAX => Rank::Later,
            Role::Image | Role::Other => Rank::Image,
            Role::Candidate => Rank::Size,
            Role::Page | Role::Unfollowed | Role::Feed | Role::Media => return,
        };
        let rank = rank as usize;
        if found[rank].len() < ASSETS_MAX
            && target != page.target.as_ref()
            && !holds(&found[..=rank], target)
        {
            found[rank].push(target.into());
        }
    });
    let mut assets: Vec<(Rank, Address)> = Vec::new();
    for (rank, targets) in Rank::ALL.into_iter().zip(found) {
        for target in targets {
            let is_new = !assets.iter().any(|(_, other)| other.target == target);
            if is_new && assets.len() < ASSETS_MAX {
                assets.push((rank, beside(page, target)));
            }
        }
    }
    assets
}
