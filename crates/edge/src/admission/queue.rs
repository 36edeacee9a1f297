//! Who waits for the origin, and who is next.
//!
//! Three levels, each served by start-time fair queueing: the child that has had the least origin time for its weight goes next,
//! and a child that comes back after a pause starts level with the others, neither owed nor owing.
//!
//! 1. the *class*, by weight;
//! 2. inside a class the *bucket*: one path shape. This is what lets a cold article pass ten thousand waiting searches;
//! 3. inside a bucket the *lane*: network groups by hash. A network that sends more waits longer.
//!
//! Inside a lane the oldest goes first while the bucket keeps up. Once it has overflowed, the newest does: with more arriving than
//! can be served somebody must be turned away, and serving the oldest would mean that everybody waits the full deadline first.
//!
//! Everything lies in vectors of fixed greatest size, linked by index. Nothing grows with the number of clients.

use saqta_detect::facts::Class;
use saqta_detect::network::Group;
use saqta_detect::shape::Shape;

use super::{Ask, Micros};

/// All waiters of one origin: two seconds' worth for an origin that answers 2,000 requests a second.
pub(super) const WAITERS_MAX: usize = 4_096;

/// Shapes of one class that can wait side by side. A site has 10 to 30 kinds of page; further ones share by hash.
const BUCKETS_MAX: usize = 64;

/// Network groups are spread over this many lanes of a bucket. A flood from one rented network meets readers in one lane of 32.
const LANES: usize = 32;

/// So many are served before a lane as crowded as the others takes its next newcomer. Each lane is served once in [`LANES`] turns when people
/// wait in all: whoever is served then is no older than a quarter of a round, and a flood costs four places a turn. With
/// sixteen, one of the simulated calms after a short flood turned a reader away.
const TURNS_BETWEEN: u32 = 8;

const CLASSES: usize = Class::ALL.len();

/// Parts of a hundred of the origin's time, when all classes are waiting. What a class does not use goes to the others.
///
/// Unknown clients are most readers of most newsrooms, and a newcomer must be able to read: a fifth, never below a tenth. A
/// signature may be wrong about somebody: a twentieth.
const WEIGHTS: [f64; CLASSES] = [40.0, 20.0, 10.0, 5.0, 20.0, 5.0];

const NOBODY: u32 = u32::MAX;

/// Names one waiter. Stays false for ever once the waiter has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    index: u32,
    arrival: u64,
}

#[derive(Debug)]
struct Node<W> {
    waiter: Option<W>,
    ask: Ask,
    expires: Micros,
    /// Unique; larger is later.
    arrival: u64,
    bucket: u32,
    lane: u32,
    older: u32,
    newer: u32,
}

/// A list of waiters, oldest to newest.
#[derive(Debug, Clone, Copy)]
struct Lane {
    oldest: u32,
    newest: u32,
    len: u32,
    /// The bucket's turn in which its last waiter came.
    came_in: u32,
    served_ms: f64,
}

#[derive(Debug)]
struct Bucket {
    shape: Shape,
    lanes: [Lane; LANES],
    len: usize,
    served_ms: f64,
    /// Virtual clock of the lanes: where the last one served stood.
    clock_ms: f64,
    newest_first_until: Micros,
    /// Goes up by one for each who is served; comes round.
    turn: u32,
}

#[derive(Debug, Default)]
struct Line {
    buckets: Vec<Bucket>,
    len: usize,
    /// Buckets with somebody in them.
    waiting: usize,
    served_ms: f64,
    clock_ms: f64,
}

#[derive(Debug)]
pub(super) struct Queue<W> {
    nodes: Vec<Node<W>>,
    free: Vec<u32>,
    lines: [Line; CLASSES],
    len: usize,
    clock_ms: f64,
    arrivals: u64,
    seed: u64,
}

/// Somebody whose turn it is.
#[derive(Debug)]
pub(super) struct Next<W> {
    pub(super) waiter: W,
    pub(super) ask: Ask,
    pub(super) expires: Micros,
}

impl<W> Queue<W> {
    /// `seed` decides which groups share a lane, so that nobody outside can choose.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            lines: std::array::from_fn(|_| Line::default()),
            len: 0,
            clock_ms: 0.0,
            arrivals: 0,
            seed,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len_of(&self, class: Class) -> usize {
        self.lines[class.index()].len
    }

    /// Waiters of the bucket this ask would join.
    pub(super) fn waiting_beside(&self, ask: &Ask) -> usize {
        let line = &self.lines[ask.class.index()];
        line.find(ask.shape)
            .map_or(0, |bucket| line.buckets[bucket].len)
    }

    /// The part of the origin's time the bucket of this ask would get, counted as if it were waiting already. Never 0.
    pub(super) fn share(&self, ask: &Ask) -> f64 {
        let mut weights = 0.0;
        for class in Class::ALL {
            if self.lines[class.index()].len > 0 || class == ask.class {
                weights += WEIGHTS[class.index()];
            }
        }
        let line = &self.lines[ask.class.index()];
        let joins = line
            .find(ask.shape)
            .is_some_and(|bucket| line.buckets[bucket].len > 0);
        let buckets = line.waiting + usize::from(!joins);
        WEIGHTS[ask.class.index()] / weights / buckets.max(1) as f64
    }

    /// Queues a waiter. The caller has made room: see [`Queue::turn_away_beside`] and [`Queue::turn_away_anyone`].
    pub(super) fn push(&mut self, ask: Ask, expires: Micros, waiter: W) -> Ticket {
        let (clock_ms, lane) = (self.clock_ms, lane_of(ask.group, self.seed));
        let line = &mut self.lines[ask.class.index()];
        if line.len == 0 {
            line.served_ms = line.served_ms.max(clock_ms);
        }
        let place = line.bucket_for(ask.shape);
        let bucket = &mut line.buckets[place];
        if bucket.len == 0 {
            bucket.served_ms = bucket.served_ms.max(line.clock_ms);
            line.waiting += 1;
        }
        if bucket.lanes[lane].len == 0 {
            bucket.lanes[lane].served_ms = bucket.lanes[lane].served_ms.max(bucket.clock_ms);
        }

        self.arrivals += 1;
        let older = bucket.lanes[lane].newest;
        let node = Node {
            waiter: Some(waiter),
            ask,
            expires,
            arrival: self.arrivals,
            bucket: place as u32,
            lane: lane as u32,
            older,
            newer: NOBODY,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        match older {
            NOBODY => bucket.lanes[lane].oldest = index,
            older => self.nodes[older as usize].newer = index,
        }
        bucket.lanes[lane].newest = index;
        bucket.lanes[lane].came_in = bucket.turn;
        bucket.lanes[lane].len += 1;
        bucket.len += 1;
        line.len += 1;
        self.len += 1;
        Ticket {
            index,
            arrival: self.arrivals,
        }
    }

    /// Takes a waiter out. `None` when its turn has come or it was turned away before.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        let node = self.nodes.get(ticket.index as usize)?;
        if node.arrival != ticket.arrival || node.waiter.is_none() {
            return None;
        }
        self.unlink(ticket.index).map(|next| next.waiter)
    }

    /// Whoever is next among the classes `may_start` allows; `cost_ms` of its shape is charged to its class, bucket and lane.
    pub(super) fn pop(
        &mut self,
        now: Micros,
        may_start: impl Fn(Class) -> bool,
        cost_ms: impl Fn(Shape) -> f64,
    ) -> Option<Next<W>> {
        let class = Class::ALL
            .into_iter()
            .filter(|class| self.lines[class.index()].len > 0 && may_start(*class))
            .min_by(|a, b| {
                self.lines[a.index()]
                    .served_ms
                    .total_cmp(&self.lines[b.index()].served_ms)
            })?;
        let line = &mut self.lines[class.index()];
        let bucket = line
            .buckets
            .iter_mut()
            .filter(|bucket| bucket.len > 0)
            .min_by(|a, b| a.served_ms.total_cmp(&b.served_ms))?;
        let newest_first = now < bucket.newest_first_until;
        let lane = bucket
            .lanes
            .iter_mut()
            .filter(|lane| lane.len > 0)
            .min_by(|a, b| a.served_ms.total_cmp(&b.served_ms))?;
        let index = if newest_first {
            lane.newest
        } else {
            lane.oldest
        };

        let cost_ms = cost_ms(self.nodes[index as usize].ask.shape);
        self.clock_ms = line.served_ms;
        line.served_ms += cost_ms / WEIGHTS[class.index()];
        line.clock_ms = bucket.served_ms;
        bucket.served_ms += cost_ms;
        bucket.turn = bucket.turn.wrapping_add(1);
        bucket.clock_ms = lane.served_ms;
        lane.served_ms += cost_ms;
        self.unlink(index)
    }

    /// Makes room in the bucket this ask would join: the oldest waiter of its most crowded lane leaves. From now until
    /// `newest_first_until` this bucket serves the newest first.
    pub(super) fn turn_away_beside(
        &mut self,
        ask: &Ask,
        newest_first_until: Micros,
    ) -> Option<Next<W>> {
        let line = &mut self.lines[ask.class.index()];
        let place = line.find(ask.shape)?;
        line.buckets[place].newest_first_until = newest_first_until;
        let oldest = self.oldest_of_most_crowded_lane(ask.class, place)?;
        self.unlink(oldest)
    }

    /// Makes room when the whole queue is full: in the longest bucket of all.
    pub(super) fn turn_away_anyone(&mut self, newest_first_until: Micros) -> Option<Next<W>> {
        let mut longest = None;
        let mut len = 0;
        for class in Class::ALL {
            for (place, bucket) in self.lines[class.index()].buckets.iter().enumerate() {
                if bucket.len > len {
                    (longest, len) = (Some((class, place)), bucket.len);
                }
            }
        }
        let (class, place) = longest?;
        self.lines[class.index()].buckets[place].newest_first_until = newest_first_until;
        let oldest = self.oldest_of_most_crowded_lane(class, place)?;
        self.unlink(oldest)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= WAITERS_MAX
    }

    /// Would this ask, once queued, be in the most crowded lane of its bucket? Then whoever makes room for it is of its own lane.
    pub(super) fn crowds_its_bucket(&self, ask: &Ask) -> bool {
        let line = &self.lines[ask.class.index()];
        let Some(place) = line.find(ask.shape) else {
            return false;
        };
        let lanes = &line.buckets[place].lanes;
        let own = lanes[lane_of(ask.group, self.seed)].len;
        lanes.iter().all(|lane| lane.len <= own)
    }

    /// Has its lane, about as crowded as the most crowded one, just had a newcomer? Of two that come so soon after each other no more than
    /// one is served, and which one is the same to every other network.
    pub(super) fn comes_too_soon(&self, ask: &Ask) -> bool {
        let line = &self.lines[ask.class.index()];
        let Some(place) = line.find(ask.shape) else {
            return false;
        };
        let bucket = &line.buckets[place];
        let own = &bucket.lanes[lane_of(ask.group, self.seed)];
        bucket.turn.wrapping_sub(own.came_in) < TURNS_BETWEEN
            && bucket.lanes.iter().all(|lane| lane.len <= own.len + 1)
    }

    /// Somebody of its bucket was turned away not long ago, every lane could have one waiting, and this one's has just had a newcomer.
    pub(super) fn overflows(&self, now: Micros, ask: &Ask) -> bool {
        let line = &self.lines[ask.class.index()];
        let is_full = line.find(ask.shape).is_some_and(|place| {
            let bucket = &line.buckets[place];
            now < bucket.newest_first_until && bucket.len >= LANES
        });
        is_full && self.comes_too_soon(ask)
    }

    /// Whoever waits in the bucket of this ask is served newest first until then, as when one of them is turned away.
    pub(super) fn overflowed(&mut self, ask: &Ask, newest_first_until: Micros) {
        let line = &mut self.lines[ask.class.index()];
        if let Some(place) = line.find(ask.shape) {
            line.buckets[place].newest_first_until = newest_first_until;
        }
    }

    fn oldest_of_most_crowded_lane(&self, class: Class, place: usize) -> Option<u32> {
        let lanes = &self.lines[class.index()].buckets[place].lanes;
        let longest = lanes
            .iter()
            .map(|lane| lane.len)
            .max()
            .filter(|len| *len > 0)?;
        lanes
            .iter()
            .filter(|lane| lane.len == longest)
            .map(|lane| lane.oldest)
            .min_by_key(|index| self.nodes[*index as usize].arrival)
    }

    fn unlink(&mut self, index: u32) -> Option<Next<W>> {
        let node = &mut self.nodes[index as usize];
        let waiter = node.waiter.take()?;
        let next = Next {
            waiter,
            ask: node.ask,
            expires: node.expires,
        };
        let (older, newer) = (node.older, node.newer);
        let line = &mut self.lines[node.ask.class.index()];
        let bucket = &mut line.buckets[node.bucket as usize];
        let lane = &mut bucket.lanes[node.lane as usize];
        lane.len -= 1;
        bucket.len -= 1;
        line.len -= 1;
        line.waiting -= usize::from(bucket.len == 0);
        self.len -= 1;
        match older {
            NOBODY => lane.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NOBODY => lane.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        self.free.push(index);
        Some(next)
    }
}

impl Line {
    /// The bucket in which this shape waits or waited last. Shapes that found no bucket of their own share one by hash.
    fn find(&self, shape: Shape) -> Option<usize> {
        self.buckets
            .iter()
            .position(|bucket| bucket.shape == shape)
            .or_else(|| {
                let all_taken = self.buckets.len() == BUCKETS_MAX && self.waiting == BUCKETS_MAX;
                all_taken.then(|| shared_bucket(shape))
            })
    }

    fn bucket_for(&mut self, shape: Shape) -> usize {
        if let Some(place) = self.find(shape) {
            return place;
        }
        if self.buckets.len() < BUCKETS_MAX {
            self.buckets.push(Bucket::new(shape, self.clock_ms));
            return self.buckets.len() - 1;
        }
        // The empty bucket that owes least: taking it over forgives least.
        let idle = (0..BUCKETS_MAX)
            .filter(|place| self.buckets[*place].len == 0)
            .min_by(|a, b| {
                self.buckets[*a]
                    .served_ms
                    .total_cmp(&self.buckets[*b].served_ms)
            });
        match idle {
            Some(place) => {
                self.buckets[place] = Bucket::new(shape, self.clock_ms);
                place
            }
            None => shared_bucket(shape),
        }
    }
}

impl Bucket {
    fn new(shape: Shape, clock_ms: f64) -> Self {
        let lane = Lane {
            oldest: NOBODY,
            newest: NOBODY,
            len: 0,
            came_in: 0,
            served_ms: 0.0,
        };
        Self {
            shape,
            lanes: [lane; LANES],
            len: 0,
            served_ms: clock_ms,
            clock_ms: 0.0,
            newest_first_until: Micros(0),
            turn: TURNS_BETWEEN,
        }
    }
}

fn shared_bucket(shape: Shape) -> usize {
    mix(shape.bits()) as usize % BUCKETS_MAX
}

fn lane_of(group: Group, seed: u64) -> usize {
    mix(group.bits() ^ seed) as usize % LANES
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_fits_a_megabyte() {
        let waiters = WAITERS_MAX * size_of::<Node<super::super::Waiter>>();
        let buckets = CLASSES * BUCKETS_MAX * size_of::<Bucket>();
        assert!(waiters + buckets <= 1024 * 1024, "{waiters} + {buckets}");
    }

    #[test]
    fn shapes_beyond_the_buckets_share_and_are_all_served() {
        let mut queue = Queue::new(3);
        let shapes = 3 * BUCKETS_MAX as u64;
        for shape in 0..shapes {
            let ask = Ask {
                class: Class::Unknown,
                shape: Shape::from_bits(shape),
                group: Group::from_bits(1),
                deadline: std::time::Duration::ZERO,
            };
            queue.push(ask, Micros(u64::MAX), shape);
        }
        assert_eq!(
            queue.lines[Class::Unknown.index()].buckets.len(),
            BUCKETS_MAX
        );
        let mut served = std::iter::from_fn(|| queue.pop(Micros(0), |_| true, |_| 50.0))
            .map(|next| next.waiter)
            .collect::<Vec<_>>();
        served.sort_unstable();
        assert_eq!(served, (0..shapes).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }
}
