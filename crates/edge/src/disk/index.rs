//! What is on the disk, in few bytes of memory: for each file its name's hash, its size and one bit.
//!
//! Each site has a queue of its own. What has been read since the hand last came by goes round once more, everything else goes when
//! room is needed (the second-chance clock; with what was asked for only once kept out at the door, it needs no second queue). Room is
//! made where a site is furthest above its floor, so an outlet under attack pays for what the attack brings in, and a neighbour within
//! its floor is never touched.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

/// Room for one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Never taken for another site's sake.
    pub floor: u64,
    /// Never exceeded.
    pub ceiling: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    bytes: u64,
    bytes_max: u64,
    sites: Vec<Site>,
}

#[derive(Debug)]
struct Site {
    share: Share,
    bytes: u64,
    entries: HashMap<u64, Entry, RandomState>,
    /// Oldest first. Names that are gone are met with a shrug, and swept out when they are as many as the others.
    queue: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    blocks: u32,
    read_since: bool,
}

const BLOCK_BYTES: u64 = 4096;

impl Index {
    pub(super) fn new(bytes_max: u64, shares: &[Share]) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            sites: shares
                .iter()
                .map(|share| Site {
                    share: *share,
                    bytes: 0,
                    entries: HashMap::default(),
                    queue: VecDeque::new(),
                })
                .collect(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.sites.iter().map(|site| site.entries.len()).sum()
    }

    /// What it holds of the heap, as far as the collections tell.
    pub(super) fn memory_bytes(&self) -> usize {
        self.sites
            .iter()
            .map(|site| {
                // A slot is key, entry and a control byte; tables are filled to seven eighths.
                site.entries.capacity() * 8 / 7 * (size_of::<(u64, Entry)>() + 1)
                    + site.queue.capacity() * size_of::<u64>()
            })
            .sum()
    }

    pub(super) fn has(&self, site: usize, name: u64) -> bool {
        self.sites[site].entries.contains_key(&name)
    }

    /// It is about to be read. False: it is not there.
    pub(super) fn read(&mut self, site: usize, name: u64) -> bool {
        match self.sites[site].entries.get_mut(&name) {
            Some(entry) => {
                entry.read_since = true;
                true
            }
            None => false,
        }
    }

    /// Would one of this size be kept at all?
    pub(super) fn takes(&self, site: usize, bytes: u64) -> bool {
        bytes <= self.sites[site].share.ceiling.min(self.bytes_max)
    }

    /// Makes room for a file that is about to be written. The files in `gone` are no longer known and are to be removed. False: there
    /// is no room to be made.
    pub(super) fn make_room(
        &mut self,
        site: usize,
        name: u64,
        bytes: u64,
        gone: &mut Vec<(usize, u64)>,
    ) -> bool {
        self.evict_for(site, name, bytes, gone).is_some()
    }

    fn evict_for(
        &mut self,
        site: usize,
        name: u64,
        bytes: u64,
        gone: &mut Vec<(usize, u64)>,
    ) -> Option<()> {
        let held = self.sites[site]
            .entries
            .get(&name)
            .map_or(0, |entry| u64::from(entry.blocks) * BLOCK_BYTES);
        while self.sites[site].bytes - held + bytes > self.sites[site].share.ceiling {
            gone.push((site, self.evict(site, name)?));
        }
        while self.bytes - held + bytes > self.bytes_max {
            let victim = self.furthest_above_its_floor(site, bytes)?;
            gone.push((victim, self.evict(victim, name)?));
        }
        Some(())
    }

    pub(super) fn insert(&mut self, site: usize, name: u64, bytes: u64) {
        let blocks = u32::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX);
        let bytes = u64::from(blocks) * BLOCK_BYTES;
        let one = &mut self.sites[site];
        let entry = Entry {
            blocks,
            read_since: false,
        };
        match one.entries.insert(name, entry) {
            Some(old) => {
                let old = u64::from(old.blocks) * BLOCK_BYTES;
                one.bytes -= old;
                self.bytes -= old;
            }
            None => one.queue.push_back(name),
        }
        one.bytes += bytes;
        self.bytes += bytes;
        one.sweep();
    }

    pub(super) fn remove(&mut self, site: usize, name: u64) -> bool {
        let one = &mut self.sites[site];
        let Some(entry) = one.entries.remove(&name) else {
            return false;
        };
        let bytes = u64::from(entry.blocks) * BLOCK_BYTES;
        one.bytes -= bytes;
        self.bytes -= bytes;
        one.sweep();
        true
    }

    /// All names of a site.
    pub(super) fn names(&self, site: usize) -> Vec<u64> {
        self.sites[site].entries.keys().copied().collect()
    }

    fn furthest_above_its_floor(&self, writing: usize, bytes: u64) -> Option<usize> {
        let above = |(at, site): (usize, &Site)| {
            let wanted = if at == writing { bytes } else { 0 };
            let above = (site.bytes + wanted).saturating_sub(site.share.floor);
            (above > 0 && !site.entries.is_empty()).then_some((above, at))
        };
        self.sites
            .iter()
            .enumerate()
            .filter_map(above)
            .max()
            .map(|(_, at)| at)
    }

    /// The next to go from a site, but for the one that is being written anew.
    fn evict(&mut self, site: usize, spared: u64) -> Option<u64> {
        let one = &mut self.sites[site];
        // Each is met twice at most: with its bit, and without.
        for _ in 0..=2 * one.queue.len() {
            let name = one.queue.pop_front()?;
            let Some(entry) = one.entries.get_mut(&name) else {
                continue;
            };
            if entry.read_since || name == spared {
                entry.read_since = false;
                one.queue.push_back(name);
                continue;
            }
            let bytes = u64::from(entry.blocks) * BLOCK_BYTES;
            one.entries.remove(&name);
            one.bytes -= bytes;
            self.bytes -= bytes;
            return Some(name);
        }
        None
    }
}

impl Site {
    fn sweep(&mut self) {
        const SLACK: usize = 1024;
        if self.queue.len() > 2 * self.entries.len() + SLACK {
            let entries = &self.entries;
            self.queue.retain(|name| entries.contains_key(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: fn(u64) -> u64 = |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);

    fn index(bytes_max: u64, shares: &[(u64, u64)]) -> Index {
        let shares: Vec<_> = shares
            .iter()
            .map(|(floor, ceiling)| Share {
                floor: *floor,
                ceiling: *ceiling,
            })
            .collect();
        Index::new(bytes_max, &shares)
    }

    fn put(index: &mut Index, site: usize, name: u64, bytes: u64) -> Option<Vec<(usize, u64)>> {
        let mut gone = Vec::new();
        if !index.make_room(site, name, bytes, &mut gone) {
            return None;
        }
        index.insert(site, name, bytes);
        Some(gone)
    }

    #[test]
    fn what_was_read_stays_and_the_rest_goes_in_order() {
        let mut index = index(4 * 4096, &[(0, u64::MAX)]);
        for name in 0..4 {
            assert_eq!(put(&mut index, 0, NAME(name), 4096), Some(vec![]));
        }
        assert!(index.read(0, NAME(0)) && !index.read(0, NAME(9)));
        assert_eq!(put(&mut index, 0, NAME(4), 4096), Some(vec![(0, NAME(1))]));
        assert_eq!(
            put(&mut index, 0, NAME(5), 8192),
            Some(vec![(0, NAME(2)), (0, NAME(3))])
        );
        assert!(index.has(0, NAME(0)));
        assert_eq!(index.bytes(), 4 * 4096);
    }

    #[test]
    fn a_flood_at_one_site_leaves_its_neighbours_floor_alone() {
        let mut index = index(100 * 4096, &[(20 * 4096, u64::MAX), (40 * 4096, u64::MAX)]);
        for name in 0..60 {
            put(&mut index, 1, NAME(name), 4096);
        }
        for name in 1000..9000 {
            put(&mut index, 0, NAME(name), 4096);
        }
        assert!(index.sites[1].bytes >= 40 * 4096);
        assert!(index.bytes() <= 100 * 4096);
        // And an outlet within its floor gets back what is its own.
        for name in 0..60 {
            assert!(put(&mut index, 1, NAME(name), 4096).is_some());
        }
        assert!(index.sites[1].bytes >= 40 * 4096);
    }

    #[test]
    fn a_ceiling_holds_while_there_is_room() {
        let mut index = index(100 * 4096, &[(0, 10 * 4096), (0, u64::MAX)]);
        for name in 0..50 {
            put(&mut index, 0, NAME(name), 4096);
            assert!(index.sites[0].bytes <= 10 * 4096);
        }
        assert!(!index.takes(0, 11 * 4096));
        assert_eq!(put(&mut index, 0, NAME(77), 11 * 4096), None);
    }

    #[test]
    fn a_hundred_thousand_pages_cost_what_is_said() {
        let mut index = index(u64::MAX, &[(0, u64::MAX)]);
        for name in 0..100_000 {
            index.insert(0, NAME(name), 20_000);
        }
        let each = index.memory_bytes() as f64 / 100_000.0;
        assert!(each < 60.0, "{each}");
    }

    proptest! {
        #[test]
        fn sums_are_those_of_what_is_there(steps in prop::collection::vec((0..3_usize, 0..2_usize, 0..40_u64, 1..5_u64), 1..400)) {
            let mut index = index(30 * 4096, &[(8 * 4096, 25 * 4096), (8 * 4096, 25 * 4096)]);
            let mut there: HashMap<(usize, u64), u64> = HashMap::new();
            for (act, site, name, blocks) in steps {
                match act {
                    0 => {
                        let mut gone = Vec::new();
                        let fits = index.make_room(site, NAME(name), blocks * 4096, &mut gone);
                        for gone in gone {
                            prop_assert!(there.remove(&gone).is_some());
                        }
                        if !fits {
                            continue;
                        }
                        index.insert(site, NAME(name), blocks * 4096);
                        there.insert((site, NAME(name)), blocks * 4096);
                    }
                    1 => {
                        index.read(site, NAME(name));
                    }
                    _ => {
                        prop_assert_eq!(index.remove(site, NAME(name)), there.remove(&(site, NAME(name))).is_some());
                    }
                }
                prop_assert_eq!(index.bytes(), there.values().sum::<u64>());
                prop_assert_eq!(index.len(), there.len());
                prop_assert!(index.bytes() <= 30 * 4096);
            }
        }
    }
}
