//! What requests add up to: a few numbers a site and second, cheap enough to count every request.
//!
//! Each shard counts for itself, without a lock or an allocation; whoever wants the whole merges. Everything has a fixed size, the
//! number of clients does not matter: distinct sources are counted by a sketch that holds no address ([`Sources`]), the heaviest
//! networks and shapes by a table that keeps the heavy and mixes up the light ([`Top`]).
//!
//! A second is kept for a few seconds after it ended, for a reader who comes by several times a second; then its place is used
//! again. What nobody came for is gone, and says so: [`Tally::missed_seconds`].

mod sources;
mod top;

pub use sources::Sources;
pub use top::{Heavy, PLACES as TOP_PLACES, Top};

use crate::facts::{Class, Facts, Method, OriginUse, Outcome, Served};
use crate::network::Group;
use crate::shape::Shape;

/// The current second and three ended ones: a reader who comes four times a second may be late by three.
pub const SECONDS_KEPT: usize = 4;

/// Bytes one site takes in one shard, whatever the traffic: four seconds of counters, a sketch of 1 KB and two tables of 1.5 KB.
pub const SITE_BYTES_MAX: usize = 20 * 1024;

/// Numbers that add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub requests: u64,
    pub navigations: u64,
    pub writes: u64,
    /// By [`Class::index`].
    pub by_class: [u64; Class::ALL.len()],
    /// Answers by [`Served::index`]; refusals and waiting pages are among them.
    pub served: [u64; Served::ALL.len()],
    /// Answers by hundreds of the status: 1xx to 5xx; at 0, those that ended without a status.
    pub by_status: [u64; 6],
    pub bytes_out: u64,
    /// Requests the origin was done with.
    pub origin_uses: u64,
    pub origin_us: u64,
    pub origin_failures: u64,
    /// Requests that queued for the origin, and for how long together.
    pub admission_waits: u64,
    pub admission_wait_us: u64,
}

impl Counts {
    pub fn served(&self, served: Served) -> u64 {
        self.served[served.index()]
    }

    pub fn refused(&self) -> u64 {
        self.served(Served::Refused)
    }

    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.navigations += other.navigations;
        self.writes += other.writes;
        add(&mut self.by_class, &other.by_class);
        add(&mut self.served, &other.served);
        add(&mut self.by_status, &other.by_status);
        self.bytes_out += other.bytes_out;
        self.origin_uses += other.origin_uses;
        self.origin_us += other.origin_us;
        self.origin_failures += other.origin_failures;
        self.admission_waits += other.admission_waits;
        self.admission_wait_us += other.admission_wait_us;
    }
}

fn add<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// One site in one second, of one shard or merged over several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Second {
    pub counts: Counts,
    pub sources: Sources,
    pub groups: Top,
    pub shapes: Top,
}

impl Second {
    /// Seconds merge when made with the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            counts: Counts::default(),
            sources: Sources::new(seed),
            groups: Top::new(),
            shapes: Top::new(),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.sources.merge(&other.sources);
        self.groups.merge(&other.groups);
        self.shapes.merge(&other.shapes);
    }

    pub fn top_groups(&self) -> Vec<(Group, Heavy)> {
        self.groups
            .heaviest()
            .into_iter()
            .map(|heavy| (Group::from_bits(heavy.key), heavy))
            .collect()
    }

    pub fn top_shapes(&self) -> Vec<(Shape, Heavy)> {
        self.shapes
            .heaviest()
            .into_iter()
            .map(|heavy| (Shape::from_bits(heavy.key), heavy))
            .collect()
    }

    fn clear(&mut self) {
        self.counts = Counts::default();
        self.sources.clear();
        self.groups.clear();
        self.shapes.clear();
    }
}

/// The tallies of one shard.
#[derive(Debug, Clone)]
pub struct Tally {
    /// `SECONDS_KEPT` places a site; second `s` is at `s % SECONDS_KEPT`.
    places: Vec<Place>,
    newest: u64,
    missed_seconds: u64,
}

#[derive(Debug, Clone)]
struct Place {
    /// Which second is counted here.
    second: u64,
    read: bool,
    seen: Second,
}

impl Tally {
    /// `seed` must be the same in all shards whose tallies are to be merged, and unknown outside: it decides what the sketch of
    /// sources sees.
    pub fn new(sites: usize, seed: u64) -> Self {
        let place = Place {
            second: 0,
            read: true,
            seen: Second::new(seed),
        };
        Self {
            places: vec![place; sites * SECONDS_KEPT],
            newest: 0,
            missed_seconds: 0,
        }
    }

    /// A request's head was read in this second. A site that is not ours counts nowhere.
    pub fn arrived(&mut self, second: u64, facts: &Facts) {
        let Some(seen) = self.place(second, facts.site) else {
            return;
        };
        seen.counts.requests += 1;
        seen.counts.navigations += u64::from(facts.is_navigation);
        seen.counts.writes += u64::from(facts.method == Method::Write);
        seen.counts.by_class[facts.class.index()] += 1;
        seen.sources.add(facts.source);
        seen.groups.add(facts.group().bits(), 1);
        seen.shapes.add(facts.shape.bits(), 1);
    }

    /// A request's answer ended in this second.
    pub fn answered(&mut self, second: u64, outcome: &Outcome) {
        let Some(seen) = self.place(second, outcome.site) else {
            return;
        };
        let counts = &mut seen.counts;
        counts.served[outcome.served.index()] += 1;
        let hundreds = usize::from(outcome.status / 100);
        counts.by_status[if hundreds < counts.by_status.len() {
            hundreds
        } else {
            0
        }] += 1;
        counts.bytes_out += outcome.bytes_out;
    }

    /// The origin was done with a request in this second.
    pub fn origin_used(&mut self, second: u64, used: &OriginUse) {
        let Some(seen) = self.place(second, used.site) else {
            return;
        };
        let counts = &mut seen.counts;
        counts.origin_uses += 1;
        counts.origin_us += used.origin_us;
        counts.origin_failures += u64::from(used.failed);
        counts.admission_waits += u64::from(used.waited_us > 0);
        counts.admission_wait_us += used.waited_us;
    }

    /// What this shard counted for a site in a second, into `into`. `false`: nothing, or it is no longer kept.
    pub fn merge_into(&mut self, second: u64, site: usize, into: &mut Second) -> bool {
        let place = self
            .places
            .get_mut(site * SECONDS_KEPT + (second % SECONDS_KEPT as u64) as usize);
        match place {
            Some(place) if place.second == second && place.seen.counts != Counts::default() => {
                place.read = true;
                into.merge(&place.seen);
                true
            }
            _ => false,
        }
    }

    /// Seconds with something in them that were overwritten before anybody merged them, over all sites.
    pub fn missed_seconds(&self) -> u64 {
        self.missed_seconds
    }

    /// A request that ended late counts in the newest second there is: time does not run backwards here.
    fn place(&mut self, second: u64, site: usize) -> Option<&mut Second> {
        self.newest = self.newest.max(second);
        let second = if second + (SECONDS_KEPT as u64) <= self.newest {
            self.newest
        } else {
            second
        };
        let place = self
            .places
            .get_mut(site * SECONDS_KEPT + (second % SECONDS_KEPT as u64) as usize)?;
        if place.second != second {
            self.missed_seconds += u64::from(!place.read);
            place.second = second;
            place.seen.clear();
        }
        place.read = false;
        Some(&mut place.seen)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn facts(source: IpAddr, target: &str) -> Facts {
        Facts {
            site: 0,
            method: Method::Read,
            shape: Shape::of(target.as_bytes()),
            source,
            class: Class::Unknown,
            is_navigation: true,
        }
    }

    fn v4(bits: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    const HIT: Outcome = Outcome {
        site: 0,
        served: Served::Hit,
        status: 200,
        bytes_out: 1_000,
    };

    #[test]
    fn a_second_counts_what_happened_in_it() {
        let mut tally = Tally::new(2, 1);
        tally.arrived(100, &facts(v4(0x0a00_0001), "/news/x"));
        tally.arrived(
            100,
            &Facts {
                method: Method::Write,
                is_navigation: false,
                ..facts(v4(0x0a00_0002), "/?s=1")
            },
        );
        tally.arrived(101, &facts(v4(0x0a00_0003), "/news/x"));
        tally.arrived(
            100,
            &Facts {
                site: 1,
                ..facts(v4(0x0a00_0004), "/")
            },
        );
        tally.answered(100, &HIT);
        let miss = Outcome {
            served: Served::Miss,
            status: 503,
            ..HIT
        };
        tally.answered(100, &miss);
        tally.origin_used(
            100,
            &OriginUse {
                site: 0,
                origin_us: 70,
                waited_us: 30,
                failed: true,
            },
        );
        tally.answered(
            100,
            &Outcome {
                served: Served::Waiting,
                status: 0,
                ..HIT
            },
        );

        let mut seen = Second::new(1);
        assert!(tally.merge_into(100, 0, &mut seen));
        let counts = seen.counts;
        assert_eq!(
            (counts.requests, counts.navigations, counts.writes),
            (2, 1, 1)
        );
        assert_eq!(counts.served, [1, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(counts.by_status, [1, 0, 1, 0, 0, 1]);
        assert_eq!(
            (counts.bytes_out, counts.origin_us, counts.origin_failures),
            (3_000, 70, 1)
        );
        assert_eq!((counts.admission_waits, counts.admission_wait_us), (1, 30));
        assert_eq!(seen.sources.estimate().round(), 2.0);
        assert_eq!(seen.top_groups()[0].0.to_string(), "10.0.0.0/24");
        assert_eq!(seen.top_shapes().len(), 2);
    }

    #[test]
    fn shards_merge() {
        let mut whole = Second::new(9);
        let mut alone = Tally::new(1, 9);
        let mut shards = [Tally::new(1, 9), Tally::new(1, 9)];
        for n in 0..10_000 {
            let facts = facts(v4(n * 77), if n % 3 == 0 { "/?s=1" } else { "/news/x" });
            alone.arrived(5, &facts);
            shards[n as usize % 2].arrived(5, &facts);
        }
        for shard in &mut shards {
            assert!(shard.merge_into(5, 0, &mut whole));
        }
        let mut expected = Second::new(9);
        alone.merge_into(5, 0, &mut expected);
        assert_eq!(whole.counts, expected.counts);
        assert_eq!(whole.sources, expected.sources);
        assert_eq!(whole.shapes.heaviest(), expected.shapes.heaviest());
    }

    #[test]
    fn old_seconds_make_room_and_missing_one_is_counted() {
        let mut tally = Tally::new(1, 1);
        for second in 10..20 {
            tally.arrived(second, &facts(v4(1), "/"));
            let mut seen = Second::new(1);
            assert!(tally.merge_into(second, 0, &mut seen));
            assert_eq!(seen.counts.requests, 1);
        }
        assert_eq!(tally.missed_seconds(), 0);
        for second in 20..30 {
            tally.arrived(second, &facts(v4(1), "/"));
        }
        assert_eq!(tally.missed_seconds(), 10 - SECONDS_KEPT as u64);
        let mut seen = Second::new(1);
        assert!(!tally.merge_into(20, 0, &mut seen), "gone");
        assert!(tally.merge_into(27, 0, &mut seen), "kept");
        assert!(!tally.merge_into(31, 0, &mut seen), "not yet");
        assert!(!tally.merge_into(27, 7, &mut seen), "no such site");
    }

    #[test]
    fn an_answer_that_took_long_counts_now() {
        let mut tally = Tally::new(1, 1);
        tally.arrived(100, &facts(v4(1), "/"));
        tally.answered(3, &HIT);
        let mut seen = Second::new(1);
        assert!(tally.merge_into(100, 0, &mut seen));
        assert_eq!(seen.counts.served(Served::Hit), 1);
    }

    /// Nothing here owns memory beyond what [`Tally::new`] took, so the size of the types is the whole bound.
    #[test]
    fn a_hundred_thousand_addresses_take_no_more_room() {
        assert!(
            size_of::<Place>() * SECONDS_KEPT <= SITE_BYTES_MAX,
            "{}",
            size_of::<Place>() * SECONDS_KEPT
        );
        let mut tally = Tally::new(3, 1);
        let capacity = tally.places.capacity();
        for n in 0..100_000_u32 {
            let source = if n % 2 == 0 {
                v4(n.wrapping_mul(0x9e37_79b9))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 80))
            };
            tally.arrived(
                u64::from(n / 10_000),
                &facts(source, &format!("/{n}/{n}?{n}=1")),
            );
        }
        assert_eq!(
            (tally.places.len(), tally.places.capacity()),
            (3 * SECONDS_KEPT, capacity)
        );
    }
}
