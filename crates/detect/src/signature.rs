//! What distinguishes an attack, and what acting on it would do to readers.
//!
//! Given the requests of the last seconds and a reservoir of ordinary ones, find a few conjunctions of [`Attribute`]s that hold for
//! most of what is *too much* and for next to nothing of what is usual. *Too much* is what comes above the upper confidence bound
//! of what the baseline predicts for the same conjunction at the site's forecast rate: what half of the readers do is predicted to be
//! half of the forecast, and never looks like an attack for being common.
//!
//! Search: the attributes' values that carry part of the excess are extended by each other, best first, to at most [`DEPTH_MAX`]
//! (a beam of [`BEAM`], bit sets for counting). Of the conjunctions that pass the gates the one is taken that covers the most; those
//! that cover nearly as much are preferred when they hit fewer readers, then when they are shorter, then when they say who asks. What it covers is taken
//! away and the search begins again, until what is left is no excess.
//!
//! A conjunction is a rule only if all of these hold:
//! - the upper bound of the share of ordinary requests it hits is below [`GATE`];
//! - of those now present who behave as readers it hits at most that share;
//! - of ordinary requests for the same kind of page the upper bound of what it hits is at most [`GATE_WITHIN`]: a rule that means "everybody who
//!   searches" protects nobody, and admission does that job with less harm;
//! - without its path, value and referer, if nobody used these before, it still says something: a new article that is passed
//!   around is such a path.
//!
//! "Nothing under the gates" is an answer, and against traffic like readers' own the right one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::look::{Attribute, Look, Sample, Token};

/// Highest upper bound of the share of ordinary requests that a rule may hit. Cloud Armor's, too.
pub const GATE: f64 = 0.01;
/// Below this a rule is not made longer to hit fewer.
pub const GATE_AIM: f64 = 0.001;
/// The same of ordinary requests for the kind of page that the rule mostly hits. Of a kind nobody asked for often nothing may be hit.
pub const GATE_WITHIN: f64 = 0.05;
/// What is left of a rule without values nobody used before may hold for this share of ordinary requests of the kind that is too much.
const GATE_REST: f64 = 0.2;
/// Rules that may stand together.
pub const RULES_MAX: usize = 8;
pub const DEPTH_MAX: usize = 4;
const BEAM: usize = 16;
/// Values considered, those with the most excess first.
const VALUES_MAX: usize = 64;
/// Kinds of page a rule is held against; what is rarer in an attack is not what it is for.
const KINDS_MAX: usize = 16;
/// Fewer requests than this prove nothing.
pub const EVIDENCE_MIN: usize = 8;
/// A rule carries at least this part of the excess.
const SHARE_MIN: f64 = 0.05;
/// A rule about a place carries at least this part: whatever comes from many places comes from each of them in part.
const PLACE_SHARE_MIN: f64 = 0.5;
/// Rules that cover this part of what the best one covers are as good.
const NEARLY: f64 = 0.98;
/// Of what is present, this part has to be too much: below, ordinary requests are most of what a rule could be made of.
const EXCESS_MIN: f64 = 0.3;
/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.96;

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    pub attribute: Attribute,
    pub token: Token,
    /// For people; empty: the field is absent.
    pub value: String,
}

/// A conjunction with its measured shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    pub rule: Vec<Predicate>,
    /// Of the requests that are too much, those it holds for.
    pub attack_share: f64,
    /// Of ordinary requests.
    pub baseline_share: f64,
    /// Upper end of the 95 % Wilson interval of that.
    pub baseline_share_upper: f64,
    /// Of the requests it hits now, the part that ordinary traffic does not explain: 1 − (forecast × upper bound of the baseline's share) ÷ hits.
    pub confidence: f64,
}

impl Signature {
    pub fn hits(&self, look: &Look<'_>) -> bool {
        self.rule
            .iter()
            .all(|predicate| look.token(predicate.attribute) == predicate.token)
    }

    /// About the names of a request's fields, or about whose network it comes from.
    pub fn asks_for_more(&self) -> bool {
        self.rule.iter().any(|predicate| {
            matches!(
                predicate.attribute,
                Attribute::FieldNames | Attribute::FieldOrder | Attribute::Asn | Attribute::Country
            )
        })
    }

    pub fn hits_sample(&self, sample: &Sample) -> bool {
        self.rule
            .iter()
            .all(|predicate| sample.tokens()[predicate.attribute as usize] == predicate.token)
    }
}

/// Why there is a rule, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Generated,
    /// With so few ordinary requests seen, not even a rule that hits none of them would be below the gate.
    TooLittleBaseline,
    /// What is too much has nothing in common, or nothing is too much.
    NothingSignificant,
    /// What it has in common, readers have too: admission protects.
    NoRuleUnderTheGate,
    /// What is too much can be answered from copies: nobody need be refused one.
    CopiesAnswer,
}

impl Verdict {
    /// As exports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::TooLittleBaseline => "too little baseline",
            Self::NothingSignificant => "nothing significant",
            Self::NoRuleUnderTheGate => "no rule under the gate",
            Self::CopiesAnswer => "copies answer it",
        }
    }
}

/// What there is to explain, and by what measure.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Requests of now, of the kind that is too much.
    pub current: Vec<&'a Sample>,
    /// How many of these ordinary traffic accounts for.
    pub expected: f64,
    /// Ordinary requests of the same kind.
    pub ordinary: Vec<&'a Sample>,
    /// All ordinary requests.
    pub baseline: &'a [Arc<Sample>],
    /// All requests of now whose clients behave as readers.
    pub trusted: Vec<&'a Sample>,
    /// How many more of these the rules that stand hit.
    pub explained: usize,
    /// Rules there are already: what they hit of readers counts against the next.
    pub standing: Vec<Arc<Signature>>,
    /// What is too much is a few requests of a kind that readers make too, such as comments: a rule has to say whose they are.
    pub must_name_client: bool,
}

/// Are so many, where so many are expected, worth explaining?
pub(crate) fn is_too_much(count: usize, expected: f64) -> bool {
    count >= EVIDENCE_MIN && count as f64 - expected >= EXCESS_MIN * count as f64
}

impl Scene<'_> {
    /// The rules that explain it, at most `rules_max`, the strongest first.
    pub fn explain(mut self, rules_max: usize) -> (Verdict, Vec<Signature>) {
        if wilson_upper(0, self.baseline.len()) >= GATE {
            return (Verdict::TooLittleBaseline, Vec::new());
        }
        let all = self.current.len();
        let excess = all as f64 - self.expected;
        let mut found = Vec::new();
        let mut verdict = Verdict::NothingSignificant;
        let mut spent = Spent::of(&self);
        while found.len() < rules_max {
            let left = self.current.len();
            let excess_left = left as f64 - self.expected;
            if !is_too_much(left, self.expected) || excess_left < SHARE_MIN * excess {
                break;
            }
            match self.strongest((excess, excess + self.explained as f64), &spent) {
                Ok(signature) => {
                    self.current.retain(|sample| !signature.hits_sample(sample));
                    spent.add(&signature, &self);
                    found.push(signature);
                }
                Err(reason) => {
                    verdict = reason;
                    break;
                }
            }
        }
        if found.is_empty() {
            (verdict, found)
        } else {
            (Verdict::Generated, found)
        }
    }

    /// `whole`: of the attack, what other rules hit included.
    fn strongest(&self, (excess, whole): (f64, f64), spent: &Spent) -> Result<Signature, Verdict> {
        let values = self.values(excess);
        let sets = Sets::of(self, &values);
        let mut beam: Vec<Conjunction> = (0..values.len())
            .map(|value| Conjunction::of(vec![value], &sets, self))
            .collect();
        let mut seen: BTreeSet<Vec<usize>> = BTreeSet::new();
        let mut passed: Vec<Conjunction> = Vec::new();
        let significant = beam
            .iter()
            .any(|one| one.excess >= SHARE_MIN * excess && one.lift() > 1.0);
        for depth in 1..=DEPTH_MAX {
            passed.extend(
                beam.iter()
                    .filter(|one| one.excess >= one.share_min(&values) * excess)
                    .filter(|one| self.passes(one, &values, &sets, spent))
                    .cloned(),
            );
            if depth == DEPTH_MAX {
                break;
            }
            beam.sort_by(|a, b| {
                b.worth()
                    .total_cmp(&a.worth())
                    .then(a.values.cmp(&b.values))
            });
            beam.truncate(BEAM);
            let mut next = Vec::new();
            for one in &beam {
                for value in 0..values.len() {
                    if one
                        .values
                        .iter()
                        .any(|held| values[*held].attribute == values[value].attribute)
                    {
                        continue;
                    }
                    let mut longer = one.values.clone();
                    longer.push(value);
                    longer.sort_unstable();
                    if seen.insert(longer.clone()) {
                        let longer = Conjunction::of(longer, &sets, self);
                        if longer.hits >= EVIDENCE_MIN && longer.excess >= SHARE_MIN * excess {
                            next.push(longer);
                        }
                    }
                }
            }
            beam = next;
        }
        let most = passed
            .iter()
            .map(|one| one.excess)
            .max_by(f64::total_cmp)
            .ok_or(if significant {
                Verdict::NoRuleUnderTheGate
            } else {
                Verdict::NothingSignificant
            })?;
        // Who asks tells an attack from readers better than what is asked for, which readers may ask for tomorrow.
        let of_target = |one: &Conjunction| {
            let is_of_target = |value: &&usize| values[**value].attribute.is_of_the_target();
            one.values.iter().filter(is_of_target).count()
        };
        let best = passed
            .iter()
            .filter(|one| one.excess >= most * NEARLY)
            .min_by(|a, b| {
                let harm = |one: &Conjunction| one.baseline_upper(self).max(GATE_AIM);
                harm(a)
                    .total_cmp(&harm(b))
                    .then(a.values.len().cmp(&b.values.len()))
                    .then(of_target(a).cmp(&of_target(b)))
                    .then(b.excess.total_cmp(&a.excess))
                    .then(a.values.cmp(&b.values))
            })
            .ok_or(Verdict::NothingSignificant)?;
        Ok(self.signature(best, &values, &sets, whole))
    }

    /// Values that carry a part of the excess, the most important first.
    fn values(&self, excess: f64) -> Vec<Value> {
        let mut counts: HashMap<(Attribute, Token), usize, FixedState> = HashMap::default();
        for sample in &self.current {
            for attribute in Attribute::ALL {
                let token = sample.tokens()[attribute as usize];
                if token.is_known() {
                    *counts.entry((attribute, token)).or_default() += 1;
                }
            }
        }
        let least = EVIDENCE_MIN.max((SHARE_MIN * excess) as usize);
        let mut values: Vec<(usize, Value)> = counts
            .into_iter()
            .filter(|(_, count)| *count >= least)
            .map(|((attribute, token), count)| (count, Value { attribute, token }))
            .collect();
        values.sort_by(|(a, of_a), (b, of_b)| {
            b.cmp(a)
                .then((of_a.attribute, of_a.token).cmp(&(of_b.attribute, of_b.token)))
        });
        values.truncate(VALUES_MAX);
        let mut values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        values.sort_by_key(|value| (value.attribute, value.token));
        values
    }

    fn passes(&self, one: &Conjunction, values: &[Value], sets: &Sets, spent: &Spent) -> bool {
        let hits = spent.with(&spent.baseline, &sets.baseline, &one.values);
        if wilson_upper(hits, self.baseline.len()) >= GATE {
            return false;
        }
        if self.must_name_client && !self.names_client(one, values, sets) {
            return false;
        }
        let trusted = spent.with(&spent.trusted, &sets.trusted, &one.values);
        if trusted > 1 && trusted as f64 > GATE * self.trusted.len() as f64 {
            return false;
        }
        self.is_more_than_novel(one, values, sets) && self.spares_the_kind(one, sets, spent)
    }

    /// What it says of who asks holds for few ordinary requests of any kind.
    fn names_client(&self, one: &Conjunction, values: &[Value], sets: &Sets) -> bool {
        let of_client: Vec<usize> = one
            .values
            .iter()
            .copied()
            .filter(|value| !values[*value].attribute.is_of_the_target())
            .collect();
        let hits = sets.count(&sets.baseline, &of_client);
        !of_client.is_empty() && hits as f64 <= GATE_REST * self.baseline.len() as f64
    }

    fn is_more_than_novel(&self, one: &Conjunction, values: &[Value], sets: &Sets) -> bool {
        let rest: Vec<usize> = one
            .values
            .iter()
            .copied()
            .filter(|value| {
                !(values[*value].attribute.novelty_is_innocent()
                    && sets.count(&sets.baseline, &[*value]) == 0)
            })
            .collect();
        if rest.len() == one.values.len() {
            return true;
        }
        let (hits, of) = if self.ordinary.is_empty() {
            (sets.count(&sets.baseline, &rest), self.baseline.len())
        } else {
            (sets.count(&sets.ordinary, &rest), self.ordinary.len())
        };
        !rest.is_empty() && hits as f64 <= GATE_REST * of as f64
    }

    /// Of the ordinary requests for the kind of page it hits the most.
    fn spares_the_kind(&self, one: &Conjunction, sets: &Sets, spent: &Spent) -> bool {
        let hits = |kind: &Kind| count(&kind.current, &sets.current, &one.values);
        let Some(main) = sets.kinds.iter().max_by_key(|kind| hits(kind)) else {
            return false;
        };
        let hit = main.baseline.and(&spent.baseline)
            + count(
                &main.baseline.less(&spent.baseline),
                &sets.baseline,
                &one.values,
            );
        hit == 0 || wilson_upper(hit, main.ordinary) <= GATE_WITHIN
    }

    fn signature(&self, one: &Conjunction, values: &[Value], sets: &Sets, whole: f64) -> Signature {
        let example = self
            .current
            .iter()
            .enumerate()
            .find(|(at, _)| one.values.iter().all(|value| sets.current[*value].has(*at)));
        let rule = one
            .values
            .iter()
            .map(|value| {
                let Value { attribute, token } = values[*value];
                let value = example
                    .and_then(|(_, sample)| sample.look().text(attribute))
                    .unwrap_or_default();
                Predicate {
                    attribute,
                    token,
                    value,
                }
            })
            .collect();
        let baseline = self.baseline.len().max(1) as f64;
        Signature {
            rule,
            attack_share: (one.excess / whole).clamp(0.0, 1.0),
            baseline_share: one.baseline_hits as f64 / baseline,
            baseline_share_upper: one.baseline_upper(self),
            confidence: (one.excess / one.hits as f64).clamp(0.0, 1.0),
        }
    }
}

/// What rules hit of readers, those that stand and those just found: the gates are for all of them together.
struct Spent {
    baseline: Bits,
    trusted: Bits,
}

impl Spent {
    fn of(scene: &Scene<'_>) -> Self {
        let mut spent = Self {
            baseline: Bits::new(scene.baseline.len()),
            trusted: Bits::new(scene.trusted.len()),
        };
        for rule in &scene.standing {
            spent.add(rule, scene);
        }
        spent
    }

    fn add(&mut self, rule: &Signature, scene: &Scene<'_>) {
        let is_hit = |sample: &Sample| rule.hits_sample(sample);
        for (at, sample) in scene.baseline.iter().enumerate() {
            if is_hit(sample) {
                self.baseline.insert(at);
            }
        }
        for (at, sample) in scene.trusted.iter().enumerate() {
            if is_hit(sample) {
                self.trusted.insert(at);
            }
        }
    }

    /// How many it is with these, too.
    fn with(&self, spent: &Bits, sets: &[Bits], values: &[usize]) -> usize {
        let Some((first, rest)) = values.split_first() else {
            return spent.len();
        };
        spent.len() + count(&sets[*first].less(spent), sets, rest)
    }
}

#[derive(Debug, Clone, Copy)]
struct Value {
    attribute: Attribute,
    token: Token,
}

#[derive(Debug, Clone)]
struct Conjunction {
    /// Sorted.
    values: Vec<usize>,
    hits: usize,
    baseline_hits: usize,
    /// Hits above the upper bound of what is predicted.
    excess: f64,
    /// Share of the ordinary requests of the same kind, at its upper bound.
    ordinary_upper: f64,
    current: usize,
}

impl Conjunction {
    fn of(values: Vec<usize>, sets: &Sets, scene: &Scene<'_>) -> Self {
        let hits = sets.count(&sets.current, &values);
        let ordinary_upper =
            wilson_upper(sets.count(&sets.ordinary, &values), scene.ordinary.len());
        Self {
            hits,
            baseline_hits: sets.count(&sets.baseline, &values),
            excess: hits as f64 - scene.expected * ordinary_upper,
            ordinary_upper,
            current: scene.current.len(),
            values,
        }
    }

    fn baseline_upper(&self, scene: &Scene<'_>) -> f64 {
        wilson_upper(self.baseline_hits, scene.baseline.len())
    }

    fn share_min(&self, values: &[Value]) -> f64 {
        let is_place = |value: &usize| values[*value].attribute.is_place();
        if self.values.iter().any(is_place) {
            PLACE_SHARE_MIN
        } else {
            SHARE_MIN
        }
    }

    /// How many times as common as it ordinarily is.
    fn lift(&self) -> f64 {
        self.hits as f64 / self.current.max(1) as f64 / self.ordinary_upper.max(1e-4)
    }

    /// What makes it worth extending: much of the excess, little of the ordinary.
    fn worth(&self) -> f64 {
        self.excess * (1.0 + self.lift().max(1.0).ln())
    }
}

/// Which sample has which value.
struct Sets {
    current: Vec<Bits>,
    ordinary: Vec<Bits>,
    baseline: Vec<Bits>,
    trusted: Vec<Bits>,
    /// The commonest of now.
    kinds: Vec<Kind>,
}

/// Requests for one kind of page by one method.
struct Kind {
    current: Bits,
    baseline: Bits,
    ordinary: usize,
}

impl Kind {
    fn all(scene: &Scene<'_>) -> Vec<Self> {
        let kind = |sample: &Sample| {
            (
                sample.tokens()[Attribute::Shape as usize],
                sample.tokens()[Attribute::Method as usize],
            )
        };
        let mut counts: BTreeMap<(Token, Token), usize> = BTreeMap::new();
        for sample in &scene.current {
            *counts.entry(kind(sample)).or_default() += 1;
        }
        let mut kinds: Vec<_> = counts.into_iter().collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        kinds.truncate(KINDS_MAX);
        kinds
            .into_iter()
            .map(|(one, _)| {
                let current = scene.current.iter().map(|sample| kind(sample) == one);
                let baseline = scene.baseline.iter().map(|sample| kind(sample) == one);
                let baseline = Bits::of(scene.baseline.len(), baseline);
                Self {
                    current: Bits::of(scene.current.len(), current),
                    ordinary: baseline.len(),
                    baseline,
                }
            })
            .collect()
    }
}

impl Sets {
    fn of(scene: &Scene<'_>, values: &[Value]) -> Self {
        let of = |samples: &mut dyn Iterator<Item = &Sample>, count: usize| {
            let mut sets = vec![Bits::new(count); values.len()];
            for (at, sample) in samples.enumerate() {
                for (set, value) in sets.iter_mut().zip(values) {
                    if sample.tokens()[value.attribute as usize] == value.token {
                        set.insert(at);
                    }
                }
            }
            sets
        };
        Self {
            current: of(&mut scene.current.iter().copied(), scene.current.len()),
            ordinary: of(&mut scene.ordinary.iter().copied(), scene.ordinary.len()),
            baseline: of(
                &mut scene.baseline.iter().map(AsRef::as_ref),
                scene.baseline.len(),
            ),
            trusted: of(&mut scene.trusted.iter().copied(), scene.trusted.len()),
            kinds: Kind::all(scene),
        }
    }

    fn count(&self, sets: &[Bits], values: &[usize]) -> usize {
        match values.split_first() {
            Some((first, rest)) => count(&sets[*first], sets, rest),
            None => 0,
        }
    }
}

/// How many are in all of these.
fn count(set: &Bits, rest: &[Bits], of_rest: &[usize]) -> usize {
    (0..set.0.len())
        .map(|word| {
            of_rest
                .iter()
                .fold(set.0[word], |held, value| held & rest[*value].0[word])
                .count_ones() as usize
        })
        .sum()
}

#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn of(count: usize, members: impl Iterator<Item = bool>) -> Self {
        let mut bits = Self::new(count);
        for (at, _) in members.enumerate().filter(|(_, is)| *is) {
            bits.insert(at);
        }
        bits
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many are in both.
    fn and(&self, other: &Self) -> usize {
        let words = self.0.iter().zip(&other.0);
        words.map(|(a, b)| (a & b).count_ones() as usize).sum()
    }

    fn less(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }

    fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
}

/// Upper end of the 95 % Wilson score interval of `hits` in `n`.
pub fn wilson_upper(hits: usize, n: usize) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let (hits, n) = (hits as f64, n as f64);
    let share = hits / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle + half) / (1.0 + Z * Z / n)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Field;
    use crate::look::tests::reader;

    const CRUDE: &[u8] = b"python-requests/2.31.0";

    /// Three thousand ordinary requests: most for articles, one in fifty a search, from readers of a thousand networks.
    fn baseline() -> Vec<Arc<Sample>> {
        (0..3_000_u32)
            .map(|number| {
                let source = 0x0a00_0000 + (number % 1_000) * 256;
                let search = format!("/?s=word{number}");
                let article = format!("/news/2026/story-{}", number % 40);
                let target = if number % 50 == 0 { &search } else { &article };
                let phone = Look {
                    agent: Field::Is(b"Mozilla/5.0 (Linux; Android 14) Mobile"),
                    ..reader(source, target)
                };
                let look = if number % 3 == 0 {
                    phone
                } else {
                    reader(source, target)
                };
                Arc::new(Sample::of(&look, 100))
            })
            .collect()
    }

    fn samples(looks: impl IntoIterator<Item = Sample>) -> Vec<Sample> {
        looks.into_iter().collect()
    }

    fn scene<'a>(current: &'a [Sample], expected: f64, baseline: &'a [Arc<Sample>]) -> Scene<'a> {
        Scene {
            current: current.iter().collect(),
            expected,
            ordinary: baseline.iter().map(AsRef::as_ref).collect(),
            baseline,
            trusted: current.iter().filter(|sample| sample.is_trusted).collect(),
            explained: 0,
            standing: Vec::new(),
            must_name_client: false,
        }
    }

    fn search(number: u32, agent: &[u8]) -> Sample {
        let target = format!("/?s=term{number}");
        let look = Look {
            agent: Field::Is(agent),
            ..reader(0x0b00_0000 + number * 300, &target)
        };
        Sample::of(&look, 200)
    }

    fn names(signatures: &[Signature]) -> Vec<Vec<&'static str>> {
        signatures
            .iter()
            .map(|signature| {
                let names = signature
                    .rule
                    .iter()
                    .map(|predicate| predicate.attribute.name());
                names.collect()
            })
            .collect()
    }

    #[test]
    fn one_librarys_flood_is_told_by_it() {
        let baseline = baseline();
        let flood = samples((0..900).map(|number| search(number, CRUDE)));
        let (verdict, found) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
        assert_eq!(verdict, Verdict::Generated);
        let [signature] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(signature.attack_share > 0.99 && signature.baseline_share_upper < 0.002);
        assert!(signature.confidence > 0.99, "{signature:?}");
        assert!(flood.iter().all(|sample| signature.hits_sample(sample)));
        assert!(baseline.iter().all(|sample| !signature.hits_sample(sample)));
    }

    #[test]
    fn a_flood_in_two_parts_is_told_in_two() {
        let baseline = baseline();
        let flood = samples((0..900).map(|number| {
            search(
                number,
                if number % 3 == 0 {
                    CRUDE
                } else {
                    b"Go-http-client/2.0"
                },
            )
        }));
        let (_, found) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
        let hit = |sample: &Sample| found.iter().any(|rule| rule.hits_sample(sample));
        assert!(flood.iter().all(hit), "{:?}", names(&found));
        assert!(
            baseline.iter().all(|sample| !hit(sample)),
            "{:?}",
            names(&found)
        );
    }

    /// Searches as readers make them, many times as many: everybody who searches is no rule.
    #[test]
    fn what_looks_like_readers_is_left_to_admission() {
        let baseline = baseline();
        let agents: [&[u8]; 2] = [
            b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36",
            b"Mozilla/5.0 (Linux; Android 14) Mobile",
        ];
        let flood = samples((0..900).map(|number| {
            // From the networks that readers come from.
            let target = format!("/?s=term{number}");
            let look = Look {
                agent: Field::Is(agents[usize::from(number % 3 == 0)]),
                ..reader(0x0a00_0001 + (number % 1_000) * 256, &target)
            };
            Sample::of(&look, 200)
        }));
        let (verdict, found) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
        assert_eq!(
            (verdict, names(&found)),
            (Verdict::NoRuleUnderTheGate, Vec::new())
        );
    }

    /// One new address, one application nobody used before, one channel it was posted in: readers, all of them.
    #[test]
    fn a_new_article_passed_around_is_no_attack() {
        let baseline = baseline();
        let push = samples((0..900).map(|number| {
            let look = Look {
                agent: Field::Is(
                    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36",
                ),
                referer: Field::Is(b"https://t.me/"),
                ..reader(0x0a00_0001 + (number % 1_000) * 256, "/news/2026/breaking")
            };
            Sample::of(&look, 200)
        }));
        let (_, found) = scene(&push, 20.0, &baseline).explain(RULES_MAX);
        assert!(found.is_empty(), "{:?}", names(&found));
    }

    /// Comments of many readers at once: "whoever comments" is no rule.
    #[test]
    fn where_few_are_many_a_rule_says_who() {
        let baseline = baseline();
        let comment = |number: u32, agent| {
            let look = Look {
                method: b"POST",
                agent: Field::Is(agent),
                ..reader(
                    0x0a00_0001 + (number % 1_000) * 256,
                    "/wp-comments-post.php",
                )
            };
            Sample::of(&look, 200)
        };
        let agents: [&[u8]; 2] = [
            b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36",
            b"Mozilla/5.0 (Linux; Android 14) Mobile",
        ];
        let readers = samples((0..30).map(|number| comment(number, agents[number as usize % 2])));
        let program = samples((0..30).map(|number| comment(number, CRUDE)));
        for (current, is_found) in [(readers, false), (program, true)] {
            let mut scene = scene(&current, 1.0, &baseline);
            scene.must_name_client = true;
            let (_, found) = scene.explain(RULES_MAX);
            assert_eq!(!found.is_empty(), is_found, "{:?}", names(&found));
        }
    }

    #[test]
    fn who_loads_pages_as_readers_do_is_spared() {
        let baseline = baseline();
        let mut flood = samples((0..900).map(|number| search(number, CRUDE)));
        for sample in flood.iter_mut().step_by(4) {
            sample.is_trusted = true;
        }
        let (verdict, _) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
        assert_eq!(verdict, Verdict::NoRuleUnderTheGate);
    }

    #[test]
    fn without_ordinary_requests_nothing_is_said() {
        let flood = samples((0..900).map(|number| search(number, CRUDE)));
        for (known, expected) in [
            (0, Verdict::TooLittleBaseline),
            (380, Verdict::TooLittleBaseline),
            (381, Verdict::Generated),
        ] {
            let baseline = &baseline()[..known];
            let (verdict, _) = scene(&flood, 20.0, baseline).explain(RULES_MAX);
            assert_eq!(verdict, expected, "{known}");
        }
    }

    #[test]
    fn what_is_expected_is_no_excess() {
        let baseline = baseline();
        let usual: Vec<Sample> = baseline
            .iter()
            .take(900)
            .map(|one| Sample::clone(one))
            .collect();
        for expected in [700.0, 900.0, 2_000.0] {
            let (verdict, found) = scene(&usual, expected, &baseline).explain(RULES_MAX);
            assert_eq!(
                (verdict, found.len()),
                (Verdict::NothingSignificant, 0),
                "{expected}"
            );
        }
    }

    /// Newcombe 1998, table I, and the rule of three.
    #[test]
    fn the_interval_is_wilsons() {
        for (hits, n, upper) in [
            (81, 263, 0.3662),
            (15, 148, 0.1605),
            (0, 20, 0.1611),
            (1, 29, 0.1718),
            (0, 381, 0.00998),
        ] {
            assert!(
                (wilson_upper(hits, n) - upper).abs() < 1e-4,
                "{hits} of {n}"
            );
        }
        assert_eq!(wilson_upper(0, 0), 1.0);
    }
}
