//! Stored responses in memory, bounded in bytes.
//!
//! Each site has a store of its own with an equal part of the budget: a flood against one outlet can wash out that outlet's copies and
//! never its neighbour's. Inside, `quick_cache` keeps what was asked for again (a Clock-PRO kin of S3-FIFO): new entries must prove
//! themselves in a small cold part. No object may be larger than that part, so that whatever a stranger makes us store, a thousand
//! pages or one film, only ever pushes out other unproven entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking::Stripes;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::key::{BuildHashed, Key, KeyRef};
use super::purge::{Purges, What};
use super::stored::{Doubt, Stored};
use crate::fields::Fields;

/// Responses for one key. A tenth of this is an unusual site; more than this is a site that varies by reader.
pub const VARIANTS_MAX: usize = 16;

/// No single response is worth more: a page with everything inlined has 2 MiB, a newspaper's PDF page 5.
pub const OBJECT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Share of a store for entries asked for more than once. The rest, 15 %, is where the new ones wait.
const PROVEN_SHARE: f64 = 0.85;

/// A lock each. Large enough that 15 % of a part hold an object of [`OBJECT_BYTES_MAX`], so only budgets below 64 MiB lower it.
const PART_BYTES: u64 = 64 * 1024 * 1024;
const PARTS_MAX: u64 = 16;

/// What an article with its head and our reserve for codings comes to; only sizes the memory of recently evicted keys.
const USUAL_OBJECT_BYTES: u64 = 32 * 1024;

#[derive(Debug, Clone)]
enum Slot {
    One(Arc<Stored>),
    /// Newest first.
    Several(Arc<[Arc<Stored>]>),
}

impl Slot {
    fn variants(&self) -> &[Arc<Stored>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    fn of(mut variants: Vec<Arc<Stored>>) -> Option<Self> {
        match variants.len() {
            0 => None,
            1 => variants.pop().map(Self::One),
            _ => Some(Self::Several(variants.into())),
        }
    }
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Slot> for Bytes {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        key.weight()
            + slot
                .variants()
                .iter()
                .map(|stored| stored.weight())
                .sum::<u64>()
    }
}

#[derive(Debug, Clone, Default)]
struct Evictions {
    count: Arc<AtomicU64>,
}

impl Lifecycle<Key, Slot> for Evictions {
    /// Freed when the lock is released.
    type RequestState = Vec<(Key, Slot)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Key, slot: Slot) {
        self.count
            .fetch_add(slot.variants().len() as u64, Ordering::Relaxed);
        evicted.push((key, slot));
    }
}

/// Why the store has not taken a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    TooHeavy,
    /// Its fetch began before an order to forget.
    Forgotten,
}

#[derive(Debug)]
pub enum Found {
    Stored(Arc<Stored>),
    /// Other variants; the newest of them tells what the key varies on.
    OtherVariants(Arc<Stored>),
    Nothing,
}

pub struct Store {
    entries: Cache<Key, Slot, Bytes, BuildHashed, Evictions>,
    evictions: Evictions,
    object_bytes_max: u64,
    purges: Purges,
    /// Changing a slot is read, change, write; two variants that arrive together must both stay.
    writing: Stripes,
}

impl Store {
    pub fn new(bytes_max: u64) -> Self {
        let parts = (bytes_max / PART_BYTES).clamp(1, PARTS_MAX);
        // Parts are a power of two; rounding up would make them smaller than an object needs.
        let parts = 1 << parts.ilog2();
        let evictions = Evictions::default();
        let items = usize::try_from(bytes_max / USUAL_OBJECT_BYTES)
            .unwrap_or(usize::MAX)
            .max(32 * parts as usize);
        let options = OptionsBuilder::new()
            .weight_capacity(bytes_max)
            .estimated_items_capacity(items)
            .shards(parts as usize)
            .hot_allocation(PROVEN_SHARE)
            .build();
        #[expect(
            clippy::expect_used,
            reason = "the builder fails only when a capacity is not given"
        )]
        let options = options.expect("both capacities are given");
        let part = bytes_max / parts;
        Self {
            entries: Cache::with_options(options, Bytes, BuildHashed::default(), evictions.clone()),
            evictions,
            object_bytes_max: OBJECT_BYTES_MAX.min((part as f64 * (1.0 - PROVEN_SHARE)) as u64),
            purges: Purges::default(),
            writing: Stripes::default(),
        }
    }

    /// Heaviest response it takes, with everything that is counted.
    pub fn object_bytes_max(&self) -> u64 {
        self.object_bytes_max
    }

    pub fn find<F: Fields + ?Sized>(&self, key: &KeyRef<'_>, request: &F) -> Found {
        let found = self.look(key, request);
        if let Found::Stored(stored) = &found
            && self.purges.is_pending()
            && stored.purge_number() < self.purges.newest()
        {
            self.purges.apply(key.target(), stored);
        }
        found
    }

    fn look<F: Fields + ?Sized>(&self, key: &KeyRef<'_>, request: &F) -> Found {
        match self.entries.get(key) {
            None => Found::Nothing,
            Some(Slot::One(stored))
                if stored.selection().is_empty() || stored.selection().matches(request) =>
            {
                Found::Stored(stored)
            }
            Some(Slot::One(stored)) => Found::OtherVariants(stored),
            Some(Slot::Several(several)) => match several
                .iter()
                .find(|stored| stored.selection().matches(request))
            {
                Some(stored) => Found::Stored(Arc::clone(stored)),
                None => Found::OtherVariants(Arc::clone(&several[0])),
            },
        }
    }

    /// Replaces what answers the same requests.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn insert(&self, key: &KeyRef<'_>, stored: Arc<Stored>) -> Result<(), NotTaken> {
        if key.to_key().weight() + stored.weight() > self.object_bytes_max {
            return Err(NotTaken::TooHeavy);
        }
        let writing = self.writing.of(key.hash());
        let leave = self.purges.may_store(stored.purge_number());
        let leave = leave.ok_or(NotTaken::Forgotten)?;
        let mut variants = vec![Arc::clone(&stored)];
        if !stored.selection().is_empty()
            && let Some(slot) = self.entries.peek(key)
        {
            variants.extend(
                slot.variants()
                    .iter()
                    .filter(|other| other.selection() != stored.selection())
                    .cloned(),
            );
            variants.truncate(VARIANTS_MAX);
            let mut weight = key.to_key().weight();
            let fits = variants.iter().take_while(|variant| {
                weight += variant.weight();
                weight <= self.object_bytes_max
            });
            let fits = fits.count();
            variants.truncate(fits);
        }
        if let Some(slot) = Slot::of(variants) {
            self.entries.insert(key.to_key(), slot);
        }
        drop((leave, writing));
        // Only now: an order that comes between comparing and inserting would find nothing to change.
        if stored.purge_number() < self.purges.newest() {
            self.purges.apply(key.target(), &stored);
        }
        Ok(())
    }

    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// The lurker's walk: every copy is compared with the orders on the list, which is then cleared.
    pub fn sweep(&self) {
        let Some(number) = self.purges.sweep_to() else {
            return;
        };
        self.entries.retain(|key, slot| {
            for stored in slot.variants() {
                if stored.purge_number() < number {
                    self.purges.apply(key.as_ref().target(), stored);
                }
            }
            true
        });
        self.purges.swept(number);
    }

    /// Takes away what is concerned, at once, and says how many addresses that were.
    pub fn forget(&self, what: &What) -> u64 {
        self.purges.forget_on_its_way();
        // Who changes a slot has looked at it before, and would bring back what he has seen there.
        let _writing = self.writing.all();
        let gone = AtomicU64::new(0);
        self.entries.retain(|key, slot| {
            let concerned = slot
                .variants()
                .iter()
                .any(|stored| what.concerns(key.as_ref().target(), stored.tags()));
            if concerned {
                gone.fetch_add(1, Ordering::Relaxed);
                // Whoever has it in hand to have it validated asks for a whole page instead.
                for stored in slot.variants() {
                    stored.cast_doubt(Doubt::Invalid);
                }
            }
            !concerned
        });
        gone.into_inner()
    }

    /// Takes away one variant if it is still the one given.
    pub fn remove_variant(&self, key: &KeyRef<'_>, gone: &Arc<Stored>) {
        let _writing = self.writing.of(key.hash());
        let Some(slot) = self.entries.peek(key) else {
            return;
        };
        let left: Vec<_> = slot
            .variants()
            .iter()
            .filter(|stored| !Arc::ptr_eq(stored, gone))
            .cloned()
            .collect();
        match Slot::of(left) {
            Some(slot) => self.entries.insert(key.to_key(), slot),
            None => drop(self.entries.remove(key)),
        }
    }

    /// Of all variants. False: there are none.
    pub fn cast_doubt(&self, key: &KeyRef<'_>, doubt: Doubt) -> bool {
        let Some(slot) = self.entries.peek(key) else {
            return false;
        };
        slot.variants()
            .iter()
            .for_each(|stored| stored.cast_doubt(doubt));
        true
    }

    pub fn keys(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    pub fn bytes_max(&self) -> u64 {
        self.entries.capacity()
    }

    pub fn evicted(&self) -> u64 {
        self.evictions.count.load(Ordering::Relaxed)
    }
}

mod parking {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Writers of different keys seldom wait for each other.
    #[derive(Default)]
    pub(super) struct Stripes([Mutex<()>; 16]);

    impl Stripes {
        pub(super) fn of(&self, hash: u64) -> MutexGuard<'_, ()> {
            self.0[(hash >> 60) as usize]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        }

        pub(super) fn all(&self) -> [MutexGuard<'_, ()>; 16] {
            self.0
                .each_ref()
                .map(|stripe| stripe.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}
