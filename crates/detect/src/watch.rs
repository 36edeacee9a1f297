//! What one shard sees of a site, a second at a time.
//!
//! Every request pays for this, so it is counters and, of at most [`PER_SECOND_MAX`] requests a second drawn evenly, how they look.
//! Shards share nothing but [`Trust`], whose sets each have a lock of their own. Whoever judges takes the seconds that are over,
//! puts those of all shards together and hands them to [`Engine::absorb`](crate::engine::Engine::absorb).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::look::{Look, Sample};
use crate::network::Group;
use crate::reservoir::{Drawn, PER_CALM_SECOND_MAX, PER_SECOND_MAX, SENSITIVE_PER_SECOND_MAX};
use crate::signature::Signature;
use crate::tally::Sources;
use crate::trust::{Known, Trust, Visitor};

/// Seconds that nobody has taken yet, the open one among them. Whoever comes four times a second may be late by three; then the oldest goes.
pub const SECONDS_MAX: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Posture {
    #[default]
    Calm,
    Guarded,
    UnderAttack,
}

impl Posture {
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Guarded => "guarded",
            Self::UnderAttack => "under attack",
        }
    }
}

/// What is known of a request beside how it looks.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Nothing stored could answer it.
    pub needs_origin: bool,
    /// A try at what is guessed at: a login, a comment.
    pub is_sensitive: bool,
    pub role: Role,
    /// What is known of its client from elsewhere: it has read here before, or holds a pass.
    pub known: Option<Known>,
}

/// What it is to its client, see [`Trust`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Page,
    /// A style sheet, script or picture that the site has.
    Part,
    /// What may turn out to be one.
    Unknown,
}

/// A rule that stands. `id`: never used twice by an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub id: u64,
    pub signature: Arc<Signature>,
}

/// What the shards go by until the next tick.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stance {
    pub posture: Posture,
    /// At most [`RULES_MAX`](crate::signature::RULES_MAX).
    pub rules: Vec<Rule>,
    /// One of them is about what costs more to find out than all the rest, see [`Signature::asks_for_more`].
    pub asks_for_more: bool,
    /// An incident is on: who takes part is counted.
    pub is_incident: bool,
}

impl Stance {
    /// The rule that hits this request.
    pub fn hit(&self, look: &Look<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.signature.hits(look))
    }
}

/// One shard's, of one site.
#[derive(Debug)]
pub struct Watch {
    seed: u64,
    trust: Arc<Trust>,
    seconds: VecDeque<Glimpse>,
}

impl Watch {
    /// `seed`: of the sketches that count sources; the engine's.
    pub fn new(seed: u64, trust: Arc<Trust>) -> Self {
        Self {
            seed,
            trust,
            seconds: VecDeque::new(),
        }
    }

    /// A request. `look` is asked for only if this one is drawn. `hit`: the rule that hit it.
    pub fn note<'a>(
        &mut self,
        now_s: u64,
        (visitor, kind): (Visitor, Kind),
        (stance, hit): (&Stance, Option<u64>),
        look: impl FnOnce() -> Look<'a>,
    ) {
        let known = self.trust.note(now_s, visitor, kind.role, kind.known);
        let seed = self.seed;
        let second = self.second(now_s);
        if stance.is_incident {
            let who = second.who.get_or_insert_with(|| Box::new(Who::new(seed)));
            who.add(visitor.source, hit.is_some());
        }
        if let Some(id) = hit {
            match second.hits.iter_mut().find(|(rule, _)| *rule == id) {
                Some((_, hits)) => *hits += 1,
                None => second.hits.push((id, 1)),
            }
        }
        let most = match stance.posture {
            Posture::Calm => PER_CALM_SECOND_MAX,
            Posture::Guarded | Posture::UnderAttack => PER_SECOND_MAX,
        };
        let place = second.all.place(most, now_s);
        let sensitive = kind
            .is_sensitive
            .then(|| second.sensitive.place(SENSITIVE_PER_SECOND_MAX, now_s))
            .flatten();
        if place.is_none() && sensitive.is_none() {
            return;
        }
        let mut sample = Sample::of(&look(), now_s);
        sample.needs_origin = kind.needs_origin;
        sample.is_sensitive = kind.is_sensitive;
        sample.known = known;
        let sample = Arc::new(sample);
        if let Some(place) = sensitive {
            second.sensitive.put(place, Arc::clone(&sample));
        }
        if let Some(place) = place {
            second.all.put(place, sample);
        }
    }

    /// The seconds before this one that nobody has taken yet, in order.
    pub fn take(&mut self, before_s: u64) -> Vec<Glimpse> {
        let ended = self
            .seconds
            .partition_point(|glimpse| glimpse.second < before_s);
        self.seconds.drain(..ended).collect()
    }

    /// A clock may be set back: what comes then counts in the newest second.
    fn second(&mut self, now_s: u64) -> &mut Glimpse {
        let is_new = self
            .seconds
            .back()
            .is_none_or(|newest| newest.second < now_s);
        if is_new {
            if self.seconds.len() == SECONDS_MAX {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Glimpse::new(now_s));
        }
        let newest = self.seconds.len() - 1;
        &mut self.seconds[newest]
    }
}

/// One second.
#[derive(Debug)]
pub struct Glimpse {
    pub second: u64,
    pub(crate) all: Drawn,
    pub(crate) sensitive: Drawn,
    pub(crate) who: Option<Box<Who>>,
    /// By the rule's id.
    pub(crate) hits: Vec<(u64, u64)>,
}

impl Glimpse {
    pub fn new(second: u64) -> Self {
        Self {
            second,
            all: Drawn::default(),
            sensitive: Drawn::default(),
            who: None,
            hits: Vec::new(),
        }
    }

    /// Another shard's of the same second.
    pub fn merge(&mut self, other: Self) {
        self.all.merge(other.all, PER_SECOND_MAX);
        self.sensitive
            .merge(other.sensitive, SENSITIVE_PER_SECOND_MAX);
        match (&mut self.who, other.who) {
            (Some(who), Some(other)) => who.merge(&other),
            (who @ None, other) => *who = other,
            (Some(_), None) => {}
        }
        for (id, more) in other.hits {
            match self.hits.iter_mut().find(|(rule, _)| *rule == id) {
                Some((_, hits)) => *hits += more,
                None => self.hits.push((id, more)),
            }
        }
    }
}

/// Who takes part in an incident: sketches, no address is in them.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub sources: Sources,
    pub networks: Sources,
    pub hit_sources: Sources,
    pub hit_networks: Sources,
}

impl Who {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            sources: Sources::new(seed),
            networks: Sources::new(seed),
            hit_sources: Sources::new(seed),
            hit_networks: Sources::new(seed),
        }
    }

    pub(crate) fn add(&mut self, source: IpAddr, is_hit: bool) {
        let network = Group::of(source).address();
        self.sources.add(source);
        self.networks.add(network);
        if is_hit {
            self.add_hit(source);
        }
    }

    pub(crate) fn add_hit(&mut self, source: IpAddr) {
        self.hit_sources.add(source);
        self.hit_networks.add(Group::of(source).address());
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sources.merge(&other.sources);
        self.networks.merge(&other.networks);
        self.hit_sources.merge(&other.hit_sources);
        self.hit_networks.merge(&other.hit_networks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::tests::reader;

    const PAGE: Kind = Kind {
        needs_origin: true,
        is_sensitive: false,
        role: Role::Page,
        known: None,
    };

    fn watch() -> Watch {
        Watch::new(1, Arc::default())
    }

    fn note(watch: &mut Watch, second: u64, source: u32) {
        let look = reader(source, "/");
        let stance = Stance {
            posture: Posture::Guarded,
            ..Stance::default()
        };
        watch.note(second, (look.visitor(), PAGE), (&stance, None), || look);
    }

    #[test]
    fn seconds_that_are_over_are_taken_once() {
        let mut watch = watch();
        for second in [5, 5, 6, 7] {
            note(&mut watch, second, 1);
        }
        let taken = |watch: &mut Watch, before| -> Vec<(u64, u64)> {
            let glimpses = watch.take(before).into_iter();
            glimpses
                .map(|glimpse| (glimpse.second, glimpse.all.seen))
                .collect()
        };
        assert_eq!(taken(&mut watch, 7), [(5, 2), (6, 1)]);
        assert_eq!(taken(&mut watch, 7), []);
        // Set back: it counts where the clock was.
        note(&mut watch, 3, 1);
        assert_eq!(taken(&mut watch, 8), [(7, 2)]);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let mut watch = watch();
        for second in 0..100 {
            for source in 0..PER_SECOND_MAX as u32 + 50 {
                note(&mut watch, second, source);
            }
        }
        let taken = watch.take(u64::MAX);
        assert_eq!(taken.len(), SECONDS_MAX);
        assert!(taken.iter().all(|one| one.all.kept.len() == PER_SECOND_MAX));
        assert!(taken.iter().all(|one| one.all.seen == 850));
    }

    #[test]
    fn a_busy_second_is_drawn_from_evenly() {
        let mut watch = watch();
        for number in 0..80_000_u32 {
            note(&mut watch, 7, number);
        }
        let taken = watch.take(8);
        let [second] = &taken[..] else {
            panic!("one second")
        };
        assert_eq!(
            (second.all.seen, second.all.kept.len()),
            (80_000, PER_SECOND_MAX)
        );
        let late = second
            .all
            .kept
            .iter()
            .filter(|sample| sample.source() >= reader(40_000, "/").source)
            .count();
        assert!((320..480).contains(&late), "{late} of {PER_SECOND_MAX}");
    }

    /// Of a busy shard and a quiet one each request is drawn with the same chance.
    #[test]
    fn shards_weigh_as_much_as_they_saw() {
        for (mine, theirs) in [(10, 10), (8_000, 800), (800, 8_000), (300, 700), (0, 50)] {
            let (mut one, mut other) = (watch(), watch());
            for source in 0..mine {
                note(&mut one, 1, source);
            }
            for source in 0..theirs {
                note(&mut other, 1, 1_000_000 + source);
            }
            let mut merged = Glimpse::new(1);
            for glimpse in one.take(2).into_iter().chain(other.take(2)) {
                merged.merge(glimpse);
            }
            assert_eq!(merged.all.seen, u64::from(mine + theirs));
            assert!(merged.all.kept.len() <= PER_SECOND_MAX);
            let of_mine = merged
                .all
                .kept
                .iter()
                .filter(|sample| sample.source() < IpAddr::from([0, 15, 66, 64]))
                .count() as f64;
            let share = of_mine / merged.all.kept.len() as f64;
            let expected = f64::from(mine) / f64::from(mine + theirs);
            assert!((share - expected).abs() < 0.01, "{mine} {theirs}: {share}");
        }
    }
}
