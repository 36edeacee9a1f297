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
//! - of those now present who are known ([`crate::trust`]) it hits at most that share, and of those who were known in calm;
//! - of ordinary requests for the same kind of page the upper bound of what it hits is at most [`GATE_WITHIN`], and no more of what known
//!   clients ask for of that kind: a rule that means "everybody who searches" protects nobody, and admission does that job with less harm;
//! - without its path, value and referer, if nobody used these before, it still says something unusual of what is asked for, or of who
//!   asks: a new article that is passed around is such a path.
//!
//! "Nothing under the gates" is an answer, and against traffic like readers' own the right one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::columns::{Bits, Columns};
use crate::look::{Attribute, Look, Sample, Token};

/// Highest upper bound of the share of ordinary requests that a rule may hit. Cloud Armor's, too.
pub const GATE: f64 = 0.01;
/// Below this a rule is not made longer to hit fewer.
pub const GATE_AIM: f64 = 0.001;
/// The same of ordinary requests for the kind of page that the rule mostly hits. Of a kind nobody asked for often nothing may be hit.
pub const GATE_WITHIN: f64 = 0.05;
/// What is left of a rule without values nobody used before may hold for this share of ordinary requests of the kind that is too much.
const GATE_REST: f64 = 0.2;
/// And what it then says of who asks is so many times as common now as it ordinarily is, at its upper bound.
const LIFT_MIN: f64 = 4.0;
/// For each request that is too much a rule may hit so many that a copy can answer: who mostly reads what everybody reads is a reader.
const BESIDE_MAX: usize = 4;
/// Of a kind of page that is asked for so seldom in all (at its upper bound) all may be hit, if who asks is rare too: what came of a flood before
/// the alarm, or was tried the day before, must not pass for somebody's habit.
const GATE_SELDOM: f64 = GATE / 4.0;
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
/// A rule carries at least this part of the attack, what other rules hit included: of what is left when the crude are hit, looks like readers
/// in as many ways as readers do, each way would be a rule, and each would hit readers.
const SHARE_MIN: f64 = 0.1;
/// A rule about a place carries at least this part of the excess: whatever comes from many places comes from each of them in part.
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

    fn hits_of(&self, requests: &Columns) -> Bits {
        let mut sets = self
            .rule
            .iter()
            .map(|predicate| requests.having(predicate.attribute, predicate.token));
        let first = sets.next();
        let first = first.unwrap_or_else(|| requests.are(|_| true));
        sets.fold(first, |hit, set| hit.and(&set))
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
    /// Nobody can be told to be a reader by what he fetches, and most come once, as readers do.
    NobodyKnown,
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
            Self::NobodyKnown => "nobody is known to be a reader",
        }
    }
}

/// What there is to explain, and by what measure.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Requests of now, of the kind that is too much.
    pub current: Columns,
    /// How many of these ordinary traffic accounts for.
    pub expected: f64,
    /// Other requests of now, which a copy can answer.
    pub beside: Columns,
    /// All ordinary requests.
    pub baseline: &'a Columns,
    /// Of these, those of the kind that is too much.
    pub ordinary: Bits,
    /// Ordinary requests of clients that are known, see [`crate::reservoir::Baseline`].
    pub regulars: &'a Columns,
    /// All requests of now whose clients are known.
    pub known: Columns,
    /// How many more of these the rules that stand hit.
    pub explained: usize,
    /// Rules there are already: what they hit of readers counts against the next.
    pub standing: Vec<Arc<Signature>>,
    /// Rules that were found to hit readers. None is found again.
    pub withdrawn: Vec<Arc<Signature>>,
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
        let whole = excess + self.explained as f64;
        let mut found = Vec::new();
        let mut verdict = Verdict::NothingSignificant;
        let mut spent = Spent::of(&self);
        while found.len() < rules_max {
            let left = self.current.len();
            let excess_left = left as f64 - self.expected;
            if !is_too_much(left, self.expected) || excess_left < SHARE_MIN * whole {
                break;
            }
            match self.strongest((excess, whole), &spent) {
                Ok(signature) => {
                    self.current = self.current.without(&signature.hits_of(&self.current));
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
        let values = self.values(whole);
        let sets = Sets::of(self, &values);
        let all = sets.of_all(&[]);
        let mut beam: Vec<Conjunction> = (0..values.len())
            .map(|value| {
                let hits = sets.current[value].len();
                let ordinary = sets.ordinary_with(&all, value);
                Conjunction::new(vec![value], hits, ordinary, self)
            })
            .collect();
        let mut seen: BTreeSet<Vec<usize>> = BTreeSet::new();
        let mut passed: Vec<Conjunction> = Vec::new();
        let significant = beam
            .iter()
            .any(|one| one.excess >= SHARE_MIN * whole && one.lift() > 1.0);
        for depth in 1..=DEPTH_MAX {
            passed.extend(
                beam.iter()
                    .filter(|one| one.excess >= one.least((excess, whole), &values))
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
            let least = EVIDENCE_MIN.max((SHARE_MIN * whole) as usize);
            let mut next = Vec::new();
            for one in &beam {
                let held = sets.of_all(&one.values);
                let attributes: Vec<Attribute> = one
                    .values
                    .iter()
                    .map(|value| values[*value].attribute)
                    .collect();
                for (value, more) in values.iter().enumerate() {
                    if attributes.contains(&more.attribute) {
                        continue;
                    }
                    let hits = held.current.count_with(&sets.current[value]);
                    if hits < least {
                        continue;
                    }
                    let mut longer = one.values.clone();
                    longer.push(value);
                    longer.sort_unstable();
                    if seen.insert(longer.clone()) {
                        let ordinary = sets.ordinary_with(&held, value);
                        let longer = Conjunction::new(longer, hits, ordinary, self);
                        if longer.excess >= SHARE_MIN * whole {
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

    /// Values that carry a part of what is too much, the most important first. `whole`: of the attack.
    fn values(&self, whole: f64) -> Vec<Value> {
        let least = EVIDENCE_MIN.max((SHARE_MIN * whole) as usize);
        let mut values: Vec<(usize, Value)> = Vec::new();
        let mut counts: HashMap<Token, usize, FixedState> = HashMap::default();
        for attribute in Attribute::ALL {
            for token in self.current.column(attribute) {
                if token.is_known() {
                    *counts.entry(*token).or_default() += 1;
                }
            }
            let carrying = counts.drain().filter(|(_, count)| *count >= least);
            values.extend(carrying.map(|(token, count)| (count, Value { attribute, token })));
        }
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
        // Most fail here, without any counting.
        let at_least = one.baseline_hits.max(spent.baseline.hit.len());
        let is_over = |hits| wilson_upper(hits, self.baseline.len()) >= GATE;
        if is_over(at_least) || is_over(spent.baseline.with(&sets.baseline, &one.values)) {
            return false;
        }
        if self.must_name_client && !self.names_client(one, values, sets) {
            return false;
        }
        let of_known = [
            (spent.known.with(&sets.known, &one.values), &self.known),
            (
                spent.regulars.with(&sets.regulars, &one.values),
                self.regulars,
            ),
        ];
        let hits_known =
            |(hits, known): (usize, &Columns)| hits > 1 && hits as f64 > GATE * known.len() as f64;
        !of_known.into_iter().any(hits_known)
            && self.is_more_than_novel(one, values, sets)
            && self.spares_the_kind(one, values, sets, spent)
            && sets.every_beside.count_in(&sets.beside, &one.values) <= BESIDE_MAX * one.hits
            && !self.was_withdrawn(one, values)
    }

    fn was_withdrawn(&self, one: &Conjunction, values: &[Value]) -> bool {
        self.withdrawn.iter().any(|gone| {
            gone.rule.len() == one.values.len()
                && one.values.iter().all(|value| {
                    let Value { attribute, token } = values[*value];
                    let is_same =
                        |held: &Predicate| (held.attribute, held.token) == (attribute, token);
                    gone.rule.iter().any(is_same)
                })
        })
    }

    /// What it says of who asks holds for few ordinary requests of any kind.
    fn names_client(&self, one: &Conjunction, values: &[Value], sets: &Sets) -> bool {
        let of_client: Vec<usize> = one
            .values
            .iter()
            .copied()
            .filter(|value| !values[*value].attribute.is_of_the_target())
            .collect();
        let hits = sets.every_baseline.count_in(&sets.baseline, &of_client);
        !of_client.is_empty() && hits as f64 <= GATE_REST * self.baseline.len() as f64
    }

    /// Without what nobody used before it says an unusual thing of what is asked for or of who asks. Two usual things do not make an unusual one:
    /// "this kind of page, in English" is a part of whoever reads a new article.
    fn is_more_than_novel(&self, one: &Conjunction, values: &[Value], sets: &Sets) -> bool {
        // One page is what somebody reads. Of the rest, seldom is as new: what is passed around was read by somebody before it was.
        let is_novel = |value: &&usize| {
            let attribute = values[**value].attribute;
            let seen = sets.baseline[**value].len();
            attribute.novelty_is_innocent()
                && (matches!(attribute, Attribute::Path | Attribute::Value)
                    || seen == 0
                    || wilson_upper(seen, self.baseline.len()) <= GATE_SELDOM)
        };
        // Where readers come from says nothing against them: whoever is passed an article comes from where it was posted. That nobody says where
        // from does.
        let is_named_referer = |value: &&usize| {
            let Value { attribute, token } = values[**value];
            attribute == Attribute::RefererHost && token != Token::absent(attribute)
        };
        let is_innocent = |value: &&usize| is_novel(value) || is_named_referer(value);
        if !one.values.iter().any(|value| is_innocent(&value)) {
            return true;
        }
        let rest = one
            .values
            .iter()
            .filter(|value| !is_innocent(value))
            .copied();
        let (of_target, of_client): (Vec<usize>, Vec<usize>) =
            rest.partition(|value| values[*value].attribute.is_of_the_target());
        let among = if self.ordinary.is_empty() {
            &sets.every_baseline
        } else {
            &self.ordinary
        };
        let usual = |some: &[usize]| {
            let hits = among.count_in(&sets.baseline, some);
            (
                hits as f64 / among.len().max(1) as f64,
                wilson_upper(hits, among.len()),
            )
        };
        let is_unusual_target = !of_target.is_empty() && usual(&of_target).0 <= GATE_REST;
        is_unusual_target
            || !of_client.is_empty() && {
                let (share, upper) = usual(&of_client);
                let now = sets.every_current.count_in(&sets.current, &of_client);
                share <= GATE_REST && now as f64 >= LIFT_MIN * upper * self.current.len() as f64
            }
    }

    /// Of the ordinary requests for the kind of page it hits the most, and of those of clients that are known. Of a kind of which too few are known
    /// to say, whoever asks is taken to be as common as among all.
    fn spares_the_kind(
        &self,
        one: &Conjunction,
        values: &[Value],
        sets: &Sets,
        spent: &Spent,
    ) -> bool {
        let hits = |kind: &&Kind| kind.current.count_in(&sets.current, &one.values);
        let Some(main) = sets.kinds.iter().max_by_key(hits) else {
            return false;
        };
        let within = |kind: &Bits, spent: &Hit, sets: &[Bits]| {
            let free = kind.less(&spent.hit);
            let of = kind.len();
            (of - free.len() + free.count_in(sets, &one.values), of)
        };
        let (hit, of) = within(&main.baseline, &spent.baseline, &sets.baseline);
        let of_known = [
            within(&main.known, &spent.known, &sets.known),
            within(&main.regulars, &spent.regulars, &sets.regulars),
        ];
        let is_of_client = |value: &&usize| !values[**value].attribute.is_of_the_target();
        let of_client: Vec<usize> = one.values.iter().filter(is_of_client).copied().collect();
        let clients = sets.every_baseline.count_in(&sets.baseline, &of_client);
        let clients_upper = wilson_upper(clients, self.baseline.len());
        let is_seldom = || {
            !of_client.is_empty()
                // Of logins and comments a few in a thousand may be a service that somebody has.
                && !self.must_name_client
                && clients_upper < GATE
                && wilson_upper(hit, self.baseline.len()) <= GATE_SELDOM
        };
        let is_unknown = || {
            let is_rare = of_client.is_empty() || clients_upper <= GATE_WITHIN;
            hit == 0 && (of == 0 || is_rare)
        };
        (wilson_upper(hit, of) <= GATE_WITHIN || is_seldom() || is_unknown())
            && of_known
                .iter()
                .all(|(hit, of)| *hit <= 1 || *hit as f64 <= GATE_WITHIN * *of as f64)
    }

    fn signature(&self, one: &Conjunction, values: &[Value], sets: &Sets, whole: f64) -> Signature {
        let hit = sets.of_all(&one.values).current;
        let example = hit.first().and_then(|at| self.current.samples().get(at));
        let rule = one
            .values
            .iter()
            .map(|value| {
                let Value { attribute, token } = values[*value];
                let value = example
                    .and_then(|sample| sample.look().text(attribute))
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
    baseline: Hit,
    known: Hit,
    regulars: Hit,
}

/// Of so many, those that are hit and those that are not.
struct Hit {
    hit: Bits,
    left: Bits,
}

impl Hit {
    fn none_of(requests: &Columns) -> Self {
        Self {
            hit: Bits::none(requests.len()),
            left: requests.are(|_| true),
        }
    }

    fn add(&mut self, more: &Bits) {
        self.hit.add(more);
        self.left = self.left.less(more);
    }

    /// How many it is with these, too.
    fn with(&self, sets: &[Bits], values: &[usize]) -> usize {
        self.hit.len() + self.left.count_in(sets, values)
    }
}

impl Spent {
    fn of(scene: &Scene<'_>) -> Self {
        let mut spent = Self {
            baseline: Hit::none_of(scene.baseline),
            known: Hit::none_of(&scene.known),
            regulars: Hit::none_of(scene.regulars),
        };
        for rule in &scene.standing {
            spent.add(rule, scene);
        }
        spent
    }

    fn add(&mut self, rule: &Signature, scene: &Scene<'_>) {
        self.baseline.add(&rule.hits_of(scene.baseline));
        self.known.add(&rule.hits_of(&scene.known));
        self.regulars.add(&rule.hits_of(scene.regulars));
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
    fn new(
        values: Vec<usize>,
        hits: usize,
        (baseline_hits, ordinary_upper): (usize, f64),
        scene: &Scene<'_>,
    ) -> Self {
        Self {
            hits,
            baseline_hits,
            excess: hits as f64 - scene.expected * ordinary_upper,
            ordinary_upper,
            current: scene.current.len(),
            values,
        }
    }

    fn baseline_upper(&self, scene: &Scene<'_>) -> f64 {
        wilson_upper(self.baseline_hits, scene.baseline.len())
    }

    /// What a rule carries at least of what is too much.
    fn least(&self, (excess, whole): (f64, f64), values: &[Value]) -> f64 {
        let is_place = |value: &usize| values[*value].attribute.is_place();
        if self.values.iter().any(is_place) {
            (PLACE_SHARE_MIN * excess).max(SHARE_MIN * whole)
        } else {
            SHARE_MIN * whole
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

/// Which request has which value.
struct Sets {
    current: Vec<Bits>,
    baseline: Vec<Bits>,
    known: Vec<Bits>,
    regulars: Vec<Bits>,
    beside: Vec<Bits>,
    every_current: Bits,
    every_baseline: Bits,
    every_beside: Bits,
    /// Of the kind that is too much; `None`: all are.
    ordinary: Option<Bits>,
    ordinary_count: usize,
    /// The commonest of now.
    kinds: Vec<Kind>,
}

/// Requests for one kind of page by one method.
struct Kind {
    current: Bits,
    baseline: Bits,
    known: Bits,
    regulars: Bits,
}

impl Kind {
    fn all(scene: &Scene<'_>) -> Vec<Self> {
        let columns = [Attribute::Shape, Attribute::Method];
        let [shapes, methods] = columns.map(|attribute| scene.current.column(attribute));
        let mut counts: BTreeMap<(Token, Token), usize> = BTreeMap::new();
        for kind in shapes.iter().zip(methods) {
            *counts.entry((*kind.0, *kind.1)).or_default() += 1;
        }
        let mut kinds: Vec<_> = counts.into_iter().collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        kinds.truncate(KINDS_MAX);
        kinds
            .into_iter()
            .map(|((shape, method), _)| {
                let of = |requests: &Columns| {
                    let shaped = requests.having(Attribute::Shape, shape);
                    shaped.and(&requests.having(Attribute::Method, method))
                };
                Self {
                    current: of(&scene.current),
                    baseline: of(scene.baseline),
                    known: of(&scene.known),
                    regulars: of(scene.regulars),
                }
            })
            .collect()
    }
}

impl Sets {
    fn of(scene: &Scene<'_>, values: &[Value]) -> Self {
        let of = |requests: &Columns| {
            let having = |value: &Value| requests.having(value.attribute, value.token);
            values.iter().map(having).collect()
        };
        let ordinary_count = scene.ordinary.len();
        Self {
            current: of(&scene.current),
            baseline: of(scene.baseline),
            known: of(&scene.known),
            regulars: of(scene.regulars),
            beside: of(&scene.beside),
            every_current: scene.current.are(|_| true),
            every_baseline: scene.baseline.are(|_| true),
            every_beside: scene.beside.are(|_| true),
            ordinary: (ordinary_count < scene.baseline.len()).then(|| scene.ordinary.clone()),
            ordinary_count,
            kinds: Kind::all(scene),
        }
    }

    /// Those that have all of these.
    fn of_all(&self, values: &[usize]) -> Held {
        let all = |every: &Bits, sets: &[Bits]| {
            let sets = values.iter().map(|value| &sets[*value]);
            sets.fold(every.clone(), |held, set| held.and(set))
        };
        Held {
            current: all(&self.every_current, &self.current),
            baseline: all(&self.every_baseline, &self.baseline),
        }
    }

    /// Of those held, how many ordinary requests have this value too, and at most what share of the kind that is too much.
    fn ordinary_with(&self, held: &Held, value: usize) -> (usize, f64) {
        let set = &self.baseline[value];
        let (hits, among) = match &self.ordinary {
            Some(ordinary) => held.baseline.count_with_and_among(set, ordinary),
            None => {
                let hits = held.baseline.count_with(set);
                (hits, hits)
            }
        };
        (hits, wilson_upper(among, self.ordinary_count))
    }
}

/// Requests that a conjunction holds for.
struct Held {
    current: Bits,
    baseline: Bits,
}

/// Upper end of the 95 % Wilson score interval of `hits` in `n`.
pub fn wilson_upper(hits: usize, n: usize) -> f64 {
    wilson(hits, n).1
}

/// Its lower end.
pub fn wilson_lower(hits: usize, n: usize) -> f64 {
    wilson(hits, n).0
}

fn wilson(hits: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (hits, n) = (hits as f64, n as f64);
    let share = hits / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let of = |end: f64| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0);
    (of(middle - half), of(middle + half))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::look::tests::reader;
    use crate::look::{Field, Head};
    use crate::trust::Known;

    static NOBODY: LazyLock<Columns> = LazyLock::new(Columns::default);
    const CRUDE: &[u8] = b"python-requests/2.31.0";
    const KNOWN: Known = Known {
        since_s: 1,
        cohort: None,
    };

    /// Three thousand ordinary requests: most for articles, one in fifty a search, from readers of a thousand networks.
    fn ordinary() -> Vec<Arc<Sample>> {
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

    fn samples(looks: impl IntoIterator<Item = Sample>) -> Vec<Arc<Sample>> {
        looks.into_iter().map(Arc::new).collect()
    }

    fn baseline() -> Columns {
        Columns::of(ordinary())
    }

    fn scene<'a>(current: &[Arc<Sample>], expected: f64, baseline: &'a Columns) -> Scene<'a> {
        let known = current.iter().filter(|sample| sample.known.is_some());
        Scene {
            current: Columns::of(current.to_vec()),
            expected,
            ordinary: baseline.are(|_| true),
            baseline,
            regulars: &NOBODY,
            known: Columns::of(known.cloned().collect()),
            explained: 0,
            beside: Columns::default(),
            standing: Vec::new(),
            withdrawn: Vec::new(),
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

    fn names_agent(found: &[Signature]) -> bool {
        let is_agent = |name: &&str| name.starts_with("user_agent");
        names(found).iter().flatten().any(is_agent)
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
        assert!(signature.hits_of(&baseline).is_empty());
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
        let hit = |sample: &Arc<Sample>| found.iter().any(|rule| rule.hits_sample(sample));
        assert!(flood.iter().all(hit), "{:?}", names(&found));
        assert!(
            baseline.samples().iter().all(|sample| !hit(sample)),
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

    /// The same where no copy can answer, and nobody is known to be a reader.
    #[test]
    fn a_new_article_is_no_attack_in_any_language() {
        const LANGUAGES: [&[u8]; 3] = [b"ru", b"kk", b"en"];
        const AGENTS: [&[u8]; 4] = [b"Chrome", b"Firefox", b"Safari", b"Mobile"];
        let reader = |number: u32, target: &str, referer| {
            let look = reader(0x0a00_0001 + (number % 1_000) * 256, target);
            let look = Look {
                agent: Field::Is(AGENTS[number as usize / 3 % 4]),
                referer,
                head: Head {
                    accept_language: Field::Is(LANGUAGES[number as usize % 3]),
                    ..look.head
                },
                ..look
            };
            Arc::new(Sample::of(&look, 100))
        };
        let ordinary = (0..3_000).map(|number| {
            let target = format!("/news/2026/story-{}", number % 40);
            reader(number, &target, Field::Absent)
        });
        let baseline = Columns::of(ordinary.collect());
        let push = (0..900)
            .map(|number| reader(number, "/news/2026/breaking", Field::Is(b"https://t.me/")));
        let push: Vec<_> = push.collect();
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
        let flood = samples((0..900).map(|number| {
            let mut sample = search(number, CRUDE);
            sample.known = (number % 4 == 0).then_some(KNOWN);
            sample
        }));
        let (verdict, _) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
        assert_eq!(verdict, Verdict::NoRuleUnderTheGate);
    }

    /// They are one in a hundred of all, so that the share of all says nothing.
    #[test]
    fn who_was_known_in_calm_is_spared() {
        for (hit, is_found) in [(0, true), (1, true), (9, false)] {
            let mut all = ordinary();
            all.extend(ordinary());
            let regulars = (0..60).map(|number| {
                let library = search(number, CRUDE);
                let article = Sample::of(&reader(number, "/news/2026/story-1"), 100);
                Arc::new(if number < hit { library } else { article })
            });
            let regulars: Vec<_> = regulars.collect();
            all.extend(regulars.iter().cloned());
            let (all, regulars) = (Columns::of(all), Columns::of(regulars));
            let flood = samples((0..900).map(|number| search(number, CRUDE)));
            let mut scene = scene(&flood, 20.0, &all);
            scene.regulars = &regulars;
            let (_, found) = scene.explain(RULES_MAX);
            let hits = |sample: &Arc<Sample>| found.iter().any(|rule| rule.hits_sample(sample));
            assert_eq!(
                flood.iter().any(hits),
                is_found,
                "{hit}: {:?}",
                names(&found)
            );
        }
    }

    /// One browser's searches: a part of those of the readers who are here, of whom little was seen in calm.
    #[test]
    fn a_kind_of_page_that_known_readers_ask_for_is_spared() {
        const BROWSER: &[u8] = b"Mozilla/5.0 (iPhone) Safari";
        let baseline = baseline();
        let flood = samples((0..900).map(|number| search(number, BROWSER)));
        // Of fifty searches of readers who are known, by that browser.
        for (theirs, is_found) in [(0, true), (1, true), (5, false)] {
            let known = (0..2_000).map(|number| {
                let target = match number {
                    0..50 => format!("/?s=mine{number}"),
                    _ => format!("/news/2026/story-{}", number % 40),
                };
                let usual = reader(0x0a00_0000 + number * 256, &target);
                let look = Look {
                    agent: if number < theirs {
                        Field::Is(BROWSER)
                    } else {
                        usual.agent
                    },
                    ..usual
                };
                Arc::new(Sample::of(&look, 200))
            });
            let mut scene = scene(&flood, 20.0, &baseline);
            scene.known = Columns::of(known.collect());
            let (_, found) = scene.explain(RULES_MAX);
            assert_eq!(
                names_agent(&found),
                is_found,
                "{theirs}: {:?}",
                names(&found)
            );
        }
    }

    /// What was tried the day before, or came before the alarm: one in a thousand of ordinary requests, and all there are of their kind.
    #[test]
    fn a_few_tries_before_a_flood_do_not_shield_it() {
        let api = |number: u32, agent| {
            let look = Look {
                agent: Field::Is(agent),
                ..reader(0x0b00_0000 + number * 300, "/api/v2/export/all")
            };
            Arc::new(Sample::of(&look, 200))
        };
        let many = || {
            let mut all = ordinary();
            all.extend(ordinary());
            all
        };
        const COMMON: &[u8] = b"Mozilla/5.0 (Linux; Android 14) Mobile";
        // How many before, by whom; is there a rule that names who asks?
        for (before, agent, is_found) in [
            (0, CRUDE, true),
            (7, CRUDE, true),
            // As many as some application makes.
            (60, CRUDE, false),
            (7, COMMON, false),
        ] {
            let mut all = many();
            all.extend((0..before).map(|number| api(number, agent)));
            let baseline = Columns::of(all);
            let flood: Vec<_> = (0..900).map(|number| api(1_000 + number, agent)).collect();
            let (_, found) = scene(&flood, 1.0, &baseline).explain(RULES_MAX);
            assert_eq!(
                names_agent(&found),
                is_found,
                "{before}: {:?}",
                names(&found)
            );
        }
    }

    /// One application that many suddenly read with; next to all it asks for a copy can answer.
    #[test]
    fn who_mostly_reads_what_everybody_reads_is_a_reader() {
        const APPLICATION: &[u8] = b"Mozilla/5.0 (iPhone) Telegram-iOS/11";
        let baseline = baseline();
        let flood = samples((0..100).map(|number| search(number, APPLICATION)));
        for (beside, is_found) in [(0, true), (300, true), (600, false)] {
            let read = (0..beside).map(|number| {
                let look = Look {
                    agent: Field::Is(APPLICATION),
                    ..reader(0x0b00_0000 + number * 300, "/news/2026/story-1")
                };
                Arc::new(Sample::of(&look, 200))
            });
            let mut scene = scene(&flood, 5.0, &baseline);
            scene.beside = Columns::of(read.collect());
            let (_, found) = scene.explain(RULES_MAX);
            let is_of_it = |rule: &Signature| {
                rule.rule
                    .iter()
                    .all(|one| one.attribute == Attribute::Agent)
            };
            assert_eq!(
                found.iter().any(is_of_it),
                is_found,
                "{beside}: {:?}",
                names(&found)
            );
        }
    }

    /// From where a new article was posted, which is not where readers usually come from.
    #[test]
    fn where_readers_come_from_says_nothing_against_them() {
        let mut all = ordinary();
        all.extend((0..30_u32).map(|number| {
            let look = Look {
                referer: Field::Is(b"https://t.me/"),
                ..reader(0x0a00_0000 + number * 256, "/news/2026/story-1")
            };
            Arc::new(Sample::of(&look, 100))
        }));
        let baseline = Columns::of(all);
        let push = samples((0..900).map(|number| {
            let look = Look {
                referer: Field::Is(b"https://t.me/"),
                ..reader(0x0a00_0001 + (number % 1_000) * 256, "/news/2026/breaking")
            };
            Sample::of(&look, 200)
        }));
        let (_, found) = scene(&push, 20.0, &baseline).explain(RULES_MAX);
        assert!(found.is_empty(), "{:?}", names(&found));
    }

    /// Of twenty searches known, nobody searched with this browser, which a third of all readers have.
    #[test]
    fn what_many_have_is_not_rare_where_little_is_known() {
        const PHONE: &[u8] = b"Mozilla/5.0 (Linux; Android 14) Mobile";
        let (mut all, mut searches) = (Vec::new(), 0);
        for sample in ordinary() {
            let is_search = sample.look().target.starts_with(b"/?s=");
            searches += usize::from(is_search);
            if !is_search || searches <= 20 && sample.look().agent != Field::Is(PHONE) {
                all.push(sample);
            }
        }
        let baseline = Columns::of(all);
        for (agent, is_found) in [(CRUDE, true), (PHONE, false)] {
            let flood = samples((0..900).map(|number| search(number, agent)));
            let (_, found) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
            assert_eq!(names_agent(&found), is_found, "{:?}", names(&found));
        }
    }

    #[test]
    fn a_rule_that_was_withdrawn_is_not_found_again() {
        let baseline = baseline();
        let flood = samples((0..900).map(|number| search(number, CRUDE)));
        let mut gone: Vec<Arc<Signature>> = Vec::new();
        for _ in 0..4 {
            let mut scene = scene(&flood, 20.0, &baseline);
            scene.withdrawn = gone.clone();
            let (_, found) = scene.explain(RULES_MAX);
            for rule in found {
                assert!(gone.iter().all(|before| before.rule != rule.rule));
                gone.push(Arc::new(rule));
            }
        }
        assert!(gone.len() > 3, "{}", gone.len());
    }

    #[test]
    fn without_ordinary_requests_nothing_is_said() {
        let flood = samples((0..900).map(|number| search(number, CRUDE)));
        for (known, expected) in [
            (0, Verdict::TooLittleBaseline),
            (380, Verdict::TooLittleBaseline),
            (381, Verdict::Generated),
        ] {
            let baseline = Columns::of(ordinary()[..known].to_vec());
            let (verdict, _) = scene(&flood, 20.0, &baseline).explain(RULES_MAX);
            assert_eq!(verdict, expected, "{known}");
        }
    }

    #[test]
    fn what_is_expected_is_no_excess() {
        let baseline = baseline();
        let usual = &baseline.samples()[..900];
        for expected in [700.0, 900.0, 2_000.0] {
            let (verdict, found) = scene(usual, expected, &baseline).explain(RULES_MAX);
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
        for (hits, n, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (0, 381, 0.0, 0.00998),
        ] {
            assert!(
                (wilson_upper(hits, n) - upper).abs() < 1e-4
                    && (wilson_lower(hits, n) - lower).abs() < 1e-4,
                "{hits} of {n}"
            );
        }
        assert_eq!((wilson_lower(0, 0), wilson_upper(0, 0)), (0.0, 1.0));
    }
}
