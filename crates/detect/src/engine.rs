//! One site's detection: what is normal, whether it is more than that, what distinguishes it.
//!
//! [`Engine::observe`] for each request, [`Engine::tick`] once a second of the time the requests tell. The same engine runs
//! live and over a log; it has no clock and no chance of its own, so the same requests give the same incidents.
//!
//! Two channels raise alarms: the site's requests, and its tries at what is guessed at (logins, comments), where sixteen a
//! minute are an attack on a site that has one a day. An alarm makes the posture *guarded*: caches tighten, nobody is refused. *Under
//! attack* needs, beside an alarm, that something is scarce, or a rule about what is guessed at. Both end a step at a time,
//! five minutes after the last cause.
//!
//! A rule stands while it is of use. When what it hits falls back to what ordinary traffic would give, it goes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::columns::Columns;
use crate::load::{Alarm, Channel, HOLD_S, Limits, Teaching};
use crate::look::{Attribute, Look, Sample, Token};
use crate::reservoir::{BASELINE_MAX, Baseline, CURRENT_S, Current, Drawn, FRESH_S, Second};
use crate::signature::{
    self, GATE, GATE_WITHIN, RULES_MAX, Scene, Signature, Verdict, wilson_lower,
};
use crate::tally::Sources;
use crate::trust::Trust;
use crate::watch::{Glimpse, Rule, Stance, Watch, Who};
pub use crate::watch::{Kind, Posture, Role};

/// A rule is searched in so many seconds, on a site where many come.
pub const WINDOW_S: u64 = FRESH_S;
/// With fewer requests than this in the window it reaches further back, to the onset at most.
const WINDOW_SAMPLES_MIN: usize = 400;
/// What a second saw is taken for ordinary this long after it, if nothing has begun to rise by then.
const PROBATION_S: u64 = WINDOW_S;
/// Before a rise is one it may have begun: so many seconds before it are in doubt, and do not teach where enough is known without them.
const DOUBT_S: u64 = 60;
const ENOUGH: usize = BASELINE_MAX / 2;
/// Nothing was found: the next search comes after a second, then twice as long each time, to this.
const SEARCH_PAUSE_MAX_S: u64 = 30;
/// It comes at once when a second has half as many requests more than that of the last search, and so many.
const SEARCH_GROWTH_MIN: u64 = 8;
/// A rule stands at least so long: a flood that pauses for a minute is not over.
const STAND_MIN_S: u64 = 60;
/// Rules of one incident that are remembered. One that lasts for days has no more; of those that are over the one that hit least goes.
const RULES_REMEMBERED_MAX: usize = 256;
/// Time constant of how often a rule hits.
const HITS_S: f64 = 20.0;
/// A slow page makes a few requests come too late. So many seconds without a break are more than the server can do.
pub const DEMAND_S: u64 = 5;
/// What readers who were known before the attack asked for in so many seconds judges the rules that stand.
const HEEDED_S: u64 = 60;
/// Of one network and of one cohort of passes so many requests count, for a network may be the attacker's and a cohort farmed.
const HEEDED_PER_NETWORK: u32 = 4;
const HEEDED_PER_COHORT: u32 = 16;
/// Hit are readers of so many networks or cohorts.
const HEEDED_CIRCLES_MIN: usize = 3;
/// More than forecast comes, and in all this time nothing has run short: it is harmless, whatever it is.
const HARMLESS_S: u64 = 600;
/// Fewer hits than this a second are no flood, whatever was forecast.
const HITS_MIN_PER_S: f64 = 0.05;

/// First line of [`Engine::written`].
const WRITTEN: &str = "saqta-normal 1";

/// What raised the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// More requests than forecast.
    Load,
    /// More tries at a login or a comment than forecast.
    Sensitive,
    /// More than the newsroom's server can do, whatever was forecast.
    Demand,
}

impl Trigger {
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Sensitive => "sensitive",
            Self::Demand => "demand",
        }
    }

    /// The requests its rules are about.
    fn drawn(self, second: &Second) -> &Drawn {
        match self {
            Self::Load | Self::Demand => &second.all,
            Self::Sensitive => &second.sensitive,
        }
    }
}

/// What runs short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scarce {
    /// Requests wait for the newsroom's server.
    pub origin: bool,
    /// Our own processor, sockets or line, so that a copy is not free either.
    pub edge: bool,
    /// Requests are told that the server has no room for them: seen, and not taken for granted. After [`DEMAND_S`] an alarm by itself, which
    /// needs no history.
    pub demand: bool,
}

impl Scarce {
    pub const NOTHING: Self = Self {
        origin: false,
        edge: false,
        demand: false,
    };

    fn is_any(self) -> bool {
        self.origin || self.edge
    }
}

/// Of which requests there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Origin,
    All,
    Sensitive,
}

impl Pool {
    /// Where such requests are found.
    fn of(self, second: &Second) -> &Drawn {
        match self {
            Self::Origin | Self::All => &second.all,
            Self::Sensitive => &second.sensitive,
        }
    }

    fn holds(self, sample: &Sample) -> bool {
        match self {
            Self::Origin => sample.needs_origin,
            Self::All => true,
            Self::Sensitive => sample.is_sensitive,
        }
    }
}

/// The present half of a [`Scene`].
struct View {
    current: Vec<Arc<Sample>>,
    expected: f64,
    beside: Vec<Arc<Sample>>,
    known: Vec<Arc<Sample>>,
    explained: usize,
    standing: Vec<Arc<Signature>>,
}

impl View {
    fn is_too_much(&self) -> bool {
        signature::is_too_much(self.current.len(), self.expected)
    }
}

/// A rule and what became of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Never used twice.
    pub id: u64,
    pub signature: Arc<Signature>,
    pub trigger: Trigger,
    pub generated_s: u64,
    /// `None`: it stands.
    pub expired_s: Option<u64>,
    /// It turned out to hit readers who were known before.
    pub is_withdrawn: bool,
    pub hits: u64,
    per_s: f64,
    hits_now: u64,
}

impl Standing {
    fn new(id: u64, signature: Signature, trigger: Trigger, now_s: u64) -> Self {
        Self {
            id,
            signature: Arc::new(signature),
            trigger,
            generated_s: now_s,
            expired_s: None,
            is_withdrawn: false,
            hits: 0,
            // It has just been found in what is too much: it is not idle.
            per_s: 1.0,
            hits_now: 0,
        }
    }
}

/// Readers who may be one hand: of one cohort of passes, or else of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Circle {
    Cohort(u32),
    Network(Token),
}

/// How many there are.
fn circles<'a>(heard: impl Iterator<Item = &'a (Circle, &'a Sample)>) -> usize {
    let circles: HashSet<Circle, FixedState> = heard.map(|(circle, _)| *circle).collect();
    circles.len()
}

/// Whose requests have a say on rules, and how many of each have been counted.
#[derive(Default)]
struct Counted(HashMap<Circle, u32, FixedState>);

impl Counted {
    /// `None`: its client was not known before the onset, or enough of its like have been heard.
    fn circle(&mut self, sample: &Sample, onset_s: u64) -> Option<Circle> {
        let known = sample.known.filter(|known| known.since_s < onset_s)?;
        let network = Circle::Network(sample.tokens()[Attribute::Network as usize]);
        let cohort = known.cohort.map(Circle::Cohort);
        let heard = |circle| self.0.get(&circle).copied().unwrap_or(0);
        let has_room = heard(network) < HEEDED_PER_NETWORK
            && cohort.is_none_or(|cohort| heard(cohort) < HEEDED_PER_COHORT);
        if !has_room {
            return None;
        }
        for circle in [Some(network), cohort].into_iter().flatten() {
            *self.0.entry(circle).or_default() += 1;
        }
        Some(cohort.unwrap_or(network))
    }
}

/// Where fewer than one in so many ordinary requests come from clients that have fetched a page's parts, that somebody has not says nothing.
const KNOWN_ONE_IN: usize = 100;
/// There, what asks less often than this since the alarm is taken for readers: who follows a link asks for a page or two, and bots that come
/// as seldom as any that have been told of (once in six seconds) have asked four times after half a minute.
const ASKS_MIN: f64 = 4.0;
/// ... and tries at a login fewer times: who has forgotten a password tries twice.
const TRIES_MIN: usize = 3;

/// What the machine saw, from onset to end.
#[derive(Debug, Clone)]
pub struct Incident {
    pub onset_s: u64,
    /// `None`: it goes on.
    pub end_s: Option<u64>,
    pub trigger: Trigger,
    pub requests: u64,
    /// Of these, those whose sources have been counted.
    counted: u64,
    /// Of these, what the forecast accounts for.
    pub expected: f64,
    /// Hit by a rule, those before it was found included as far as they are remembered.
    pub hit: u64,
    /// Estimated, of requests that a rule hits; of all when there is none.
    pub sources: u64,
    pub networks: u64,
    pub signatures: Vec<Standing>,
    /// Why the last search ended as it did.
    pub verdict: Verdict,
    who: Who,
}

impl Incident {
    /// The rules that stand, then those that hit the most; at most so many.
    pub fn telling(&self, most: usize) -> Vec<&Standing> {
        let mut rules: Vec<&Standing> = self.signatures.iter().collect();
        rules.sort_by_key(|rule| (rule.expired_s.is_some(), std::cmp::Reverse(rule.hits)));
        rules.truncate(most);
        rules
    }

    fn remember(&mut self, rule: Standing) {
        let over = self
            .signatures
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.expired_s.is_some());
        if self.signatures.len() >= RULES_REMEMBERED_MAX
            && let Some((least, _)) = over.min_by_key(|(_, rule)| rule.hits)
        {
            self.signatures.remove(least);
        }
        self.signatures.push(rule);
    }
}

/// One site's.
#[derive(Debug)]
pub struct Engine {
    requests: Channel,
    sensitive: Channel,
    current: Current,
    baseline: Baseline,
    /// The load of the last calm second was about what it had been a day before, or a week.
    follows_its_past: bool,
    trust: Arc<Trust>,
    /// Of whoever has no shards.
    watch: Watch,
    stance: Arc<Stance>,
    rules_made: u64,
    posture: Posture,
    /// When there was last cause for each posture.
    guarded_s: Option<u64>,
    attacked_s: Option<u64>,
    /// The site has been guarded with nothing scarce since.
    at_ease_since_s: Option<u64>,
    /// The server has had no room for somebody in each second since.
    no_room_since_s: Option<u64>,
    demand: Option<Alarm>,
    incident: Option<Incident>,
    ended: Vec<Incident>,
    next_search_s: u64,
    search_pause_s: u64,
    /// What the second of the last search saw: requests, tries.
    searched_seen: (u64, u64),
    ticked_s: u64,
    seed: u64,
    /// Whoever a rule is about is told from a log alone. Live, who is hit by mistake waits for a moment and comes in.
    is_of_a_log: bool,
}

impl Engine {
    /// `bucket_s`: how finely load is known. `seed`: of the sketches that count sources.
    pub fn new(bucket_s: u64, seed: u64) -> Self {
        let trust = Arc::<Trust>::default();
        Self {
            requests: Channel::new(bucket_s, Limits::REQUESTS),
            sensitive: Channel::new(bucket_s, Limits::SENSITIVE),
            current: Current::default(),
            baseline: Baseline::default(),
            follows_its_past: true,
            watch: Watch::new(seed, Arc::clone(&trust)),
            trust,
            stance: Arc::default(),
            rules_made: 0,
            posture: Posture::Calm,
            guarded_s: None,
            attacked_s: None,
            at_ease_since_s: None,
            no_room_since_s: None,
            demand: None,
            incident: None,
            ended: Vec::new(),
            next_search_s: 0,
            search_pause_s: 1,
            searched_seen: (0, 0),
            ticked_s: 0,
            seed,
            is_of_a_log: false,
        }
    }

    /// One that judges a log.
    pub fn for_log(bucket_s: u64, seed: u64) -> Self {
        Self {
            is_of_a_log: true,
            ..Self::new(bucket_s, seed)
        }
    }

    /// For a shard, whose seconds come back through [`Engine::absorb`].
    pub fn watch(&self) -> Watch {
        Watch::new(self.seed, Arc::clone(&self.trust))
    }

    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The last second that was judged.
    pub fn ticked_s(&self) -> u64 {
        self.ticked_s
    }

    /// What shards go by until the next tick.
    pub fn stance(&self) -> &Arc<Stance> {
        &self.stance
    }

    /// A request, where there are no shards. Is it hit by a rule that stands?
    pub fn observe(&mut self, now_s: u64, look: &Look<'_>, kind: Kind) -> bool {
        let hit = self.stance.hit(look).map(|rule| rule.id);
        self.watch
            .note(now_s, (look.visitor(), kind), (&self.stance, hit), || *look);
        hit.is_some()
    }

    /// A second that is over, of all shards together; before the tick that follows it.
    pub fn absorb(&mut self, glimpse: Glimpse) {
        let Glimpse {
            second,
            all,
            sensitive,
            who,
            hits,
        } = glimpse;
        let requests = all.seen;
        self.requests.add(second, requests, self.teaching());
        self.sensitive
            .add(second, sensitive.seen, self.teaching_of_tries());
        self.current.push(second, all, sensitive);
        let Some(incident) = &mut self.incident else {
            return;
        };
        incident.requests += requests;
        if let Some(who) = who {
            incident.who.merge(&who);
            incident.counted += requests;
        }
        for (id, hits) in hits {
            // One that is over may have hit on until the shards heard of it.
            if let Some(rule) = incident.signatures.iter_mut().find(|rule| rule.id == id) {
                rule.hits += hits;
                rule.hits_now += hits;
                incident.hit += hits;
            }
        }
    }

    /// How much is normal, in counts alone, for a file that outlives the process.
    pub fn written(&self) -> String {
        format!(
            "{WRITTEN}\n{}{}",
            self.requests.written(),
            self.sensitive.written()
        )
    }

    /// What [`Engine::written`] gave. False: it is nothing of the kind, and all is learned anew.
    pub fn recall(&mut self, text: &str, now_s: u64) -> bool {
        let mut lines = text.lines();
        let (mut requests, mut sensitive) = (self.requests.clone(), self.sensitive.clone());
        let is_whole = lines.next() == Some(WRITTEN)
            && requests.recall(&mut lines, now_s).is_some()
            && sensitive.recall(&mut lines, now_s).is_some();
        if is_whole {
            (self.requests, self.sensitive) = (requests, sensitive);
        }
        is_whole
    }

    /// Only counts, of a log that has nothing else.
    pub fn counted(&mut self, now_s: u64, requests: u64) {
        self.requests.add(now_s, requests, self.teaching());
    }

    /// Nothing happens in a second without requests while nothing is the matter: such seconds may be skipped.
    pub fn is_idle(&self) -> bool {
        self.posture == Posture::Calm && self.incident.is_none()
    }

    /// Once a second, after its requests.
    pub fn tick(&mut self, now_s: u64, scarce: Scarce) -> Posture {
        let elapsed = now_s.saturating_sub(self.ticked_s).max(1);
        self.ticked_s = now_s;
        for glimpse in self.watch.take(now_s + 1) {
            self.absorb(glimpse);
        }
        // The second is over, and with it a bucket that ends with it.
        self.requests.advance(now_s + 1, self.teaching());
        self.sensitive.advance(now_s + 1, self.teaching_of_tries());
        let load = self.requests.alarm(now_s);
        let sensitive = self.sensitive.alarm(now_s);
        let demand = self.demand(now_s, scarce.demand);
        self.judge_rules(now_s, elapsed);
        self.heed_readers(now_s);
        let alarm = [
            // First: its rule is about the few, and acted on though nothing is scarce.
            sensitive.map(|alarm| (Trigger::Sensitive, alarm)),
            load.map(|alarm| (Trigger::Load, alarm)),
            demand.map(|alarm| (Trigger::Demand, alarm)),
        ];
        if let Some((_, alarm)) = alarm
            .iter()
            .flatten()
            .max_by_key(|(_, alarm)| alarm.cause_s)
        {
            self.guarded_s = Some(self.guarded_s.unwrap_or(0).max(alarm.cause_s));
        }
        let found = self.search(now_s, &alarm, scarce);
        if load.or(demand).is_some() && scarce.is_any()
            || self.stands(Trigger::Sensitive)
            || found
                .as_ref()
                .is_some_and(|(trigger, ..)| *trigger == Trigger::Sensitive)
        {
            let cause = alarm.iter().flatten().map(|(_, alarm)| alarm.cause_s).max();
            self.attacked_s = Some(cause.unwrap_or(now_s).max(self.attacked_s.unwrap_or(0)));
            self.open_incident(now_s, &alarm);
        }
        if let (Some((trigger, verdict, signatures)), Some(incident)) = (found, &mut self.incident)
        {
            if incident.verdict != Verdict::Generated {
                incident.verdict = verdict;
            }
            for signature in signatures {
                let earlier = Self::before(&self.current, incident, (trigger, &signature), now_s);
                incident.hit += earlier;
                self.rules_made += 1;
                incident.remember(Standing::new(self.rules_made, signature, trigger, now_s));
            }
        }
        self.settle(now_s, load.or(sensitive).or(demand));
        let is_at_ease = self.posture == Posture::Guarded && !scarce.is_any() && !scarce.demand;
        self.at_ease_since_s = is_at_ease.then(|| self.at_ease_since_s.unwrap_or(now_s));
        let before = if self.posture == Posture::Calm && self.incident.is_none() {
            let rising = [&self.requests, &self.sensitive].map(Channel::rising_since);
            rising
                .into_iter()
                .flatten()
                .fold(now_s.saturating_sub(PROBATION_S), u64::min)
        } else {
            // What came before the rise was ordinary.
            let onset = alarm.iter().flatten().map(|(_, alarm)| alarm.onset_s).min();
            onset.unwrap_or(0)
        };
        if self.posture == Posture::Calm {
            self.follows_its_past = self.requests.is_near_its_past();
        }
        self.teach(before);
        if self.posture != Posture::Calm || self.incident.is_some() {
            self.current.teach(now_s, |_| {});
        }
        self.publish();
        self.posture
    }

    /// Seconds before this one were ordinary.
    fn teach(&mut self, before_s: u64) {
        let in_doubt = if self.baseline.all().len() < ENOUGH {
            0
        } else {
            DOUBT_S
        };
        let before_s = before_s.saturating_sub(in_doubt);
        let (baseline, follows) = (&mut self.baseline, self.follows_its_past);
        self.current.teach(before_s, |second| {
            if follows {
                for sample in &second.all.kept {
                    baseline.offer(sample, second.all.weight());
                }
            }
        });
    }

    /// The alarm that needs no history.
    fn demand(&mut self, now_s: u64, no_room: bool) -> Option<Alarm> {
        if no_room {
            let onset_s = *self.no_room_since_s.get_or_insert(now_s);
            if now_s >= onset_s + DEMAND_S {
                let alarm = self.demand.get_or_insert(Alarm {
                    onset_s,
                    cause_s: now_s,
                });
                alarm.cause_s = now_s;
            }
        } else {
            self.no_room_since_s = None;
        }
        self.demand = self.demand.filter(|alarm| now_s < alarm.cause_s + HOLD_S);
        self.demand
    }

    fn publish(&mut self) {
        let rules = self.rules().map(|rule| Rule {
            id: rule.id,
            signature: Arc::clone(&rule.signature),
        });
        let rules: Vec<Rule> = rules.collect();
        let asks_for_more = rules.iter().any(|rule| rule.signature.asks_for_more());
        let stance = Stance {
            posture: self.posture,
            rules,
            asks_for_more,
            is_incident: self.incident.is_some(),
        };
        if stance != *self.stance {
            self.stance = Arc::new(stance);
        }
    }

    pub fn posture(&self) -> Posture {
        self.posture
    }

    /// The incident that goes on.
    pub fn incident(&self) -> Option<&Incident> {
        self.incident.as_ref()
    }

    /// Incidents that have ended, each once.
    pub fn take_ended(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.ended)
    }

    /// The log is over: what goes on ends here.
    pub fn finish(&mut self, now_s: u64) {
        self.end_incident(now_s);
    }

    fn teaching(&self) -> Teaching {
        match self.posture {
            Posture::Calm => Teaching::Calm,
            Posture::Guarded => match self.at_ease_since_s {
                Some(since_s) if self.ticked_s >= since_s + HARMLESS_S => Teaching::Harmless,
                _ => Teaching::Guarded,
            },
            Posture::UnderAttack if self.rules().next().is_some() => Teaching::Attack,
            // An alarm without a rule that stands may be a forecast that was wrong, which must not stand for ever.
            Posture::UnderAttack => Teaching::Guarded,
        }
    }

    /// That nothing runs short makes no guess at a password harmless.
    fn teaching_of_tries(&self) -> Teaching {
        match self.teaching() {
            Teaching::Harmless => Teaching::Guarded,
            teaching => teaching,
        }
    }

    /// Those that stand.
    fn rules(&self) -> impl Iterator<Item = &Standing> {
        self.incident
            .iter()
            .flat_map(|incident| &incident.signatures)
            .filter(|rule| rule.expired_s.is_none())
    }

    fn stands(&self, trigger: Trigger) -> bool {
        self.rules().any(|rule| rule.trigger == trigger)
    }

    /// What each rule hit in the last second, and whether it is still of use.
    fn judge_rules(&mut self, now_s: u64, elapsed: u64) {
        let forecast = self.requests.forecast_per_s();
        let Some(incident) = &mut self.incident else {
            return;
        };
        incident.expected += forecast * elapsed as f64;
        let weight = 1.0 - (-(elapsed as f64) / HITS_S).exp();
        for rule in &mut incident.signatures {
            let per_s = std::mem::take(&mut rule.hits_now) as f64 / elapsed as f64;
            rule.per_s += weight * (per_s - rule.per_s);
            let ordinary = 2.0 * forecast * rule.signature.baseline_share_upper;
            if rule.expired_s.is_none()
                && now_s >= rule.generated_s + STAND_MIN_S
                && rule.per_s < ordinary.max(HITS_MIN_PER_S)
            {
                rule.expired_s = Some(now_s);
            }
        }
    }

    /// Rules that hit readers who were known before the attack began are withdrawn. Whoever became known in it has no say: solving a
    /// challenge or loading a page's parts must not vote a rule away.
    fn heed_readers(&mut self, now_s: u64) {
        let Some(incident) = &mut self.incident else {
            return;
        };
        let onset_s = incident.onset_s;
        let from = now_s.saturating_sub(HEEDED_S - 1).max(onset_s);
        for trigger in [Trigger::Load, Trigger::Sensitive] {
            let is_of_it = |rule: &&mut Standing| {
                rule.expired_s.is_none()
                    && (rule.trigger == Trigger::Sensitive) == (trigger == Trigger::Sensitive)
            };
            let mut rules = incident.signatures.iter_mut().filter(is_of_it).peekable();
            if rules.peek().is_none() {
                continue;
            }
            let mut counted = Counted::default();
            let seconds = self.current.range(from, now_s);
            let samples = seconds.flat_map(|second| &trigger.drawn(second).kept);
            let heard: Vec<(Circle, &Sample)> = samples
                .filter_map(|sample| Some((counted.circle(sample, onset_s)?, &**sample)))
                .collect();
            for rule in rules {
                let is_hit = |(_, sample): &&(Circle, &Sample)| rule.signature.hits_sample(sample);
                let hit: Vec<_> = heard.iter().filter(is_hit).copied().collect();
                // Of all they asked for it may be little, and much of what they asked for of one kind. There each circle has one vote: few ask for
                // the same kind, and three networks would be easily had.
                let mut kinds: HashMap<_, usize, FixedState> = HashMap::default();
                for (_, sample) in &hit {
                    *kinds.entry(sample.kind()).or_default() += 1;
                }
                let most = kinds.into_iter().max_by_key(|(kind, hits)| (*hits, *kind));
                let is_harmful = wilson_lower(hit.len(), heard.len()) > GATE
                    || most.is_some_and(|(kind, _)| {
                        let of_kind = |some: &[(Circle, &Sample)]| {
                            circles(some.iter().filter(|(_, sample)| sample.kind() == kind))
                        };
                        wilson_lower(of_kind(&hit), of_kind(&heard)) > GATE_WITHIN
                    });
                if circles(hit.iter()) >= HEEDED_CIRCLES_MIN && is_harmful {
                    rule.expired_s = Some(now_s);
                    rule.is_withdrawn = true;
                }
            }
        }
    }

    /// Looks for rules in what the standing ones leave.
    fn search(
        &mut self,
        now_s: u64,
        alarm: &[Option<(Trigger, Alarm)>; 3],
        scarce: Scarce,
    ) -> Option<(Trigger, Verdict, Vec<Signature>)> {
        if alarm.iter().all(Option::is_none) {
            return None;
        }
        // Another attack may have begun beside the one for which nothing was found.
        let seen = self.current.newest_seen();
        let grown = |now: u64, before: u64| now > before + before / 2 + SEARCH_GROWTH_MIN;
        if grown(seen.0, self.searched_seen.0) || grown(seen.1, self.searched_seen.1) {
            self.search_pause_s = 1;
        } else if now_s < self.next_search_s {
            return None;
        }
        self.searched_seen = seen;
        let standing = self.rules().count();
        let mut verdict = None;
        let fresh = |(_, alarm): &&(Trigger, Alarm)| now_s < alarm.cause_s + WINDOW_S;
        let is_attacked = self.incident.is_some() || scarce.is_any();
        for (trigger, alarm) in alarm.iter().flatten().filter(fresh) {
            // What a copy can answer needs no rule, as long as copies are free; and load needs none as long as nothing is scarce.
            let pools: &[Pool] = match trigger {
                Trigger::Load | Trigger::Demand if !is_attacked => &[],
                Trigger::Sensitive => &[Pool::Sensitive],
                Trigger::Load | Trigger::Demand if scarce.edge => &[Pool::Origin, Pool::All],
                Trigger::Load | Trigger::Demand => &[Pool::Origin],
            };
            for pool in pools {
                let view = self.view(now_s, *pool, alarm);
                let (reason, signatures) = if self.knows_nobody() && self.come_once(&view, *pool) {
                    (Verdict::NobodyKnown, Vec::new())
                } else if view.is_too_much() {
                    self.scene(view, *pool)
                        .explain(RULES_MAX.saturating_sub(standing))
                } else {
                    (Verdict::NothingSignificant, Vec::new())
                };
                if !signatures.is_empty() {
                    (self.search_pause_s, self.next_search_s) = (1, now_s + 1);
                    return Some((*trigger, reason, signatures));
                }
                let reason = match (pool, reason) {
                    (Pool::Origin, Verdict::NothingSignificant) if !scarce.edge => {
                        Verdict::CopiesAnswer
                    }
                    (_, reason) => reason,
                };
                verdict = verdict.or(Some((*trigger, reason, signatures)));
            }
        }
        // As long as nothing is scarce nothing is looked for, and nothing has been found wanting.
        if verdict.is_some() {
            self.next_search_s = now_s + self.search_pause_s;
            self.search_pause_s = (self.search_pause_s * 2).min(SEARCH_PAUSE_MAX_S);
        }
        verdict
    }

    /// Next to nobody has been seen to fetch what pages are made of: it lies on another server, or nobody writes it down.
    fn knows_nobody(&self) -> bool {
        let (all, regulars) = (self.baseline.all().len(), self.baseline.regulars().len());
        self.is_of_a_log && regulars * KNOWN_ONE_IN < all
    }

    /// What is too much comes from people who ask once or twice each, as those do who follow a link.
    fn come_once(&self, view: &View, pool: Pool) -> bool {
        if pool == Pool::Sensitive {
            let sources: HashSet<_> = view.current.iter().map(|sample| sample.source()).collect();
            return view.current.len() < TRIES_MIN * sources.len();
        }
        self.incident.as_ref().is_none_or(|incident| {
            (incident.counted as f64) < ASKS_MIN * incident.who.sources.estimate()
        })
    }

    /// A view beside what is ordinary.
    fn scene(&self, view: View, pool: Pool) -> Scene<'_> {
        let baseline = self.baseline.all();
        let gone = self
            .incident
            .iter()
            .flat_map(|incident| &incident.signatures);
        let gone = gone.filter(|rule| rule.is_withdrawn);
        Scene {
            current: Columns::of(view.current),
            expected: view.expected,
            beside: Columns::of(view.beside),
            ordinary: baseline.are(|sample| pool.holds(sample)),
            baseline,
            regulars: self.baseline.regulars(),
            known: Columns::of(view.known),
            explained: view.explained,
            standing: view.standing,
            withdrawn: gone.map(|rule| Arc::clone(&rule.signature)).collect(),
            must_name_client: matches!(pool, Pool::Sensitive),
        }
    }

    /// What of this pool came lately and is not explained yet.
    fn view(&self, now_s: u64, pool: Pool, alarm: &Alarm) -> View {
        let from = self.window(now_s, alarm, pool);
        let seconds: Vec<_> = self.current.range(from, now_s).collect();
        // Seconds of which more is left out weigh more; what is kept of the others is thinned to match.
        let weight = seconds
            .iter()
            .map(|second| pool.of(second).weight())
            .fold(1.0, f64::max);
        let thinned = seconds.iter().flat_map(|second| {
            let drawn = pool.of(second);
            let keep = (drawn.kept.len() as f64 * drawn.weight() / weight).round() as usize;
            drawn.kept.iter().take(keep)
        });
        let all = seconds.iter().flat_map(|second| &second.all.kept);
        let per_s = match pool {
            Pool::Origin => self.requests.expected_per_s() * self.baseline.share_needing_origin(),
            Pool::All => self.requests.expected_per_s(),
            Pool::Sensitive => self.sensitive.forecast_per_s(),
        };
        let rules: Vec<_> = self
            .rules()
            .map(|rule| Arc::clone(&rule.signature))
            .collect();
        let is_hit = |sample: &Sample| rules.iter().any(|rule| rule.hits_sample(sample));
        let of_pool = thinned.clone().filter(|sample| pool.holds(sample));
        View {
            explained: of_pool.filter(|sample| is_hit(sample)).count(),
            current: thinned
                .clone()
                .filter(|sample| pool.holds(sample) && !is_hit(sample))
                .cloned()
                .collect(),
            expected: per_s * (now_s + 1 - from) as f64 / weight,
            beside: thinned
                .filter(|sample| !pool.holds(sample))
                .cloned()
                .collect(),
            known: all
                .filter(|sample| sample.known.is_some())
                .cloned()
                .collect(),
            standing: rules.clone(),
        }
    }

    /// Since when what is too much is looked at.
    fn window(&self, now_s: u64, alarm: &Alarm, pool: Pool) -> u64 {
        let least = now_s.saturating_sub(WINDOW_S - 1);
        let most = now_s
            .saturating_sub(CURRENT_S - 1)
            .max(alarm.onset_s)
            .min(least);
        let mut counts: Vec<(u64, usize)> = self
            .current
            .range(most, now_s)
            .map(|second| {
                let drawn = pool.of(second).kept.iter();
                let concerned = drawn.filter(|sample| pool.holds(sample));
                (second.second, concerned.count())
            })
            .collect();
        counts.reverse();
        let (mut from, mut samples) = (least, 0);
        for (second, count) in counts {
            if second < least && samples >= WINDOW_SAMPLES_MIN {
                break;
            }
            samples += count;
            from = from.min(second);
        }
        from
    }

    fn open_incident(&mut self, now_s: u64, alarm: &[Option<(Trigger, Alarm)>; 3]) {
        let Some((trigger, alarm)) = alarm
            .iter()
            .flatten()
            .min_by_key(|(_, alarm)| alarm.onset_s)
            .filter(|_| self.incident.is_none())
        else {
            return;
        };
        let mut incident = Incident {
            onset_s: alarm.onset_s,
            end_s: None,
            trigger: *trigger,
            requests: 0,
            counted: 0,
            expected: self.requests.forecast_per_s() * (now_s - alarm.onset_s.min(now_s)) as f64,
            hit: 0,
            sources: 0,
            networks: 0,
            signatures: Vec::new(),
            verdict: Verdict::NothingSignificant,
            who: Who::new(self.seed),
        };
        for second in self.current.range(alarm.onset_s, now_s) {
            incident.requests += second.all.seen;
            for sample in &second.all.kept {
                incident.who.add(sample.source(), false);
            }
        }
        self.incident = Some(incident);
    }

    /// What a new rule would have hit since the onset, as far as it is remembered.
    fn before(
        current: &Current,
        incident: &mut Incident,
        (trigger, signature): (Trigger, &Signature),
        now_s: u64,
    ) -> u64 {
        let Incident {
            signatures, who, ..
        } = incident;
        let mut hits = 0.0;
        for second in current.range(incident.onset_s, now_s) {
            let drawn = trigger.drawn(second);
            for sample in &drawn.kept {
                let is_new = !signatures
                    .iter()
                    .any(|rule| rule.signature.hits_sample(sample));
                if is_new && signature.hits_sample(sample) {
                    hits += drawn.weight();
                    who.add_hit(sample.source());
                }
            }
        }
        hits as u64
    }

    fn settle(&mut self, now_s: u64, alarm: Option<Alarm>) {
        let recent = |cause: Option<u64>| cause.is_some_and(|cause| now_s < cause + HOLD_S);
        self.posture = if recent(self.attacked_s) || self.stands(Trigger::Sensitive) {
            Posture::UnderAttack
        } else if alarm.is_some()
            || recent(self.guarded_s)
            || self
                .attacked_s
                .is_some_and(|cause| now_s < cause + 2 * HOLD_S)
        {
            Posture::Guarded
        } else {
            Posture::Calm
        };
        if self.posture == Posture::Calm {
            (self.search_pause_s, self.next_search_s) = (1, 0);
            self.end_incident(now_s);
        }
    }

    fn end_incident(&mut self, now_s: u64) {
        let Some(mut incident) = self.incident.take() else {
            return;
        };
        incident.end_s = Some(now_s);
        let has_rules = !incident.signatures.is_empty();
        let who = &incident.who;
        let (sources, networks) = if has_rules {
            (&who.hit_sources, &who.hit_networks)
        } else {
            (&who.sources, &who.networks)
        };
        let count = |sketch: &Sources| sketch.estimate().round() as u64;
        // Estimates both; that there are fewer networks than addresses is known.
        incident.sources = count(sources);
        incident.networks = count(networks).min(incident.sources);
        for rule in &mut incident.signatures {
            rule.expired_s.get_or_insert(now_s);
        }
        self.ended.push(incident);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Field;
    use crate::look::tests::reader;
    use crate::trust::Known;

    const CALM_S: u64 = 60;
    const READERS: u32 = 100;
    const PAGE: Kind = Kind {
        needs_origin: true,
        is_sensitive: false,
        role: Role::Page,
        known: None,
    };

    fn site() -> Engine {
        Engine::new(1, 1)
    }

    /// A second of readers, of two browsers and many networks; one in fifty searches.
    fn readers(engine: &mut Engine, second: u64) {
        for number in 0..READERS {
            let turn = second as u32 * READERS + number;
            let target = if turn.is_multiple_of(50) {
                format!("/?s=word{turn}")
            } else {
                format!("/news/2026/story-{}", turn % 40)
            };
            let look = reader(0x0a00_0000 + turn.wrapping_mul(77) % 200_000, &target);
            let phone = Look {
                agent: Field::Is(b"Mozilla/5.0 (Linux; Android 14) Mobile"),
                ..look
            };
            let look = if turn.is_multiple_of(3) { phone } else { look };
            // Some have fetched what pages are made of.
            let known = turn.is_multiple_of(20).then_some(Known {
                since_s: second,
                cohort: None,
            });
            engine.observe(second, &look, Kind { known, ..PAGE });
        }
    }

    /// A second of a flood of searches; how many of them a rule hits.
    fn flood(engine: &mut Engine, second: u64, count: u32) -> u32 {
        let mut hit = 0;
        for number in 0..count {
            let turn = second as u32 * count + number;
            let target = format!("/?s=term{turn}");
            let look = Look {
                agent: Field::Is(b"python-requests/2.31.0"),
                ..reader(0x0b00_0000 + turn.wrapping_mul(311) % 1_600_000, &target)
            };
            hit += u32::from(engine.observe(second, &look, PAGE));
        }
        hit
    }

    /// Calm, then `attack` for so many seconds, then calm until it is over. Incidents that ended.
    fn story(
        engine: &mut Engine,
        attack_s: u64,
        mut attack: impl FnMut(&mut Engine, u64),
    ) -> Vec<Incident> {
        for second in 0..CALM_S + attack_s + 3 * HOLD_S {
            readers(engine, second);
            if (CALM_S..CALM_S + attack_s).contains(&second) {
                attack(engine, second);
            }
            let scarce = Scarce {
                origin: engine.posture() != Posture::Calm,
                ..Scarce::NOTHING
            };
            engine.tick(second, scarce);
        }
        engine.take_ended()
    }

    /// Pictures and style sheets lie on another server, or nobody writes down who fetches them.
    #[test]
    fn where_nobody_is_known_whoever_comes_once_is_taken_for_a_reader() {
        // Requests of each source, and whether a rule is found.
        for (asks, is_found) in [(1, false), (2, false), (20, true)] {
            let mut engine = Engine::for_log(1, 1);
            for second in 0..CALM_S + 120 {
                for number in 0..READERS {
                    let turn = second as u32 * READERS + number;
                    let target = format!("/news/2026/story-{}", turn % 40);
                    let source = 0x0a00_0000 + turn.wrapping_mul(77) % 200_000;
                    engine.observe(second, &reader(source, &target), PAGE);
                }
                for number in 0..if second < CALM_S { 0 } else { 1_000 } {
                    let turn = (second - CALM_S) as u32 * 1_000 + number;
                    let target = format!("/news/2026/new-{turn}");
                    let source = 0x0b00_0000 + turn % (120_000 / asks);
                    let look = Look {
                        agent: Field::Is(b"Mozilla/5.0 (Linux; Android 14) Telegram-Android"),
                        ..reader(source, &target)
                    };
                    engine.observe(second, &look, PAGE);
                }
                let scarce = Scarce {
                    origin: engine.posture() != Posture::Calm,
                    ..Scarce::NOTHING
                };
                engine.tick(second, scarce);
            }
            let incident = engine.incident().unwrap();
            assert_eq!(!incident.signatures.is_empty(), is_found, "{asks}");
            assert_eq!(
                incident.verdict == Verdict::NobodyKnown,
                !is_found,
                "{asks}"
            );
        }
    }

    #[test]
    fn a_flood_becomes_an_incident_with_a_rule() {
        let mut engine = site();
        let (mut all, mut hit) = (0, 0);
        let incidents = story(&mut engine, 60, |engine, second| {
            hit += flood(engine, second, 600);
            all += 600;
        });
        let [incident] = &incidents[..] else {
            panic!("{incidents:?}")
        };
        assert_eq!(
            (incident.onset_s, incident.trigger),
            (CALM_S, Trigger::Load)
        );
        let [rule] = &incident.signatures[..] else {
            panic!("{incident:?}")
        };
        assert!(
            rule.generated_s <= CALM_S + 3,
            "{}",
            rule.generated_s - CALM_S
        );
        // All but those of the first seconds, and no reader.
        assert_eq!(rule.hits, u64::from(hit));
        assert!(hit >= all - 4 * 600, "{hit} of {all}");
        assert!(
            rule.expired_s
                .is_some_and(|expired| expired < CALM_S + 60 + 2 * HOLD_S)
        );
        assert_eq!(engine.posture(), Posture::Calm);
        let off = incident.sources as f64 / 36_000.0;
        assert!((0.85..1.15).contains(&off), "{} sources", incident.sources);
    }

    /// While copies are free nobody is refused one; when the line is full, who floods is.
    #[test]
    fn what_a_copy_answers_needs_a_rule_only_when_copies_run_short() {
        for edge in [false, true] {
            let mut engine = site();
            for second in 0..CALM_S + 30 {
                readers(&mut engine, second);
                for number in 0..if second < CALM_S { 0 } else { 900_u32 } {
                    let look = Look {
                        agent: Field::Is(b"python-requests/2.31.0"),
                        ..reader(0x0b00_0000 + number * 311, "/")
                    };
                    let kind = Kind {
                        needs_origin: false,
                        ..PAGE
                    };
                    engine.observe(second, &look, kind);
                }
                let scarce = Scarce {
                    origin: second >= CALM_S,
                    edge: edge && second >= CALM_S,
                    demand: false,
                };
                engine.tick(second, scarce);
            }
            let incident = engine.incident().unwrap();
            assert_eq!(!incident.signatures.is_empty(), edge);
            assert_eq!(
                incident.verdict,
                if edge {
                    Verdict::Generated
                } else {
                    Verdict::CopiesAnswer
                }
            );
        }
    }

    #[test]
    fn more_readers_are_no_incident_when_nothing_is_scarce() {
        let mut engine = site();
        let mut highest = Posture::Calm;
        for second in 0..CALM_S + 60 {
            for _ in 0..if second < CALM_S { 1 } else { 30 } {
                readers(&mut engine, second);
            }
            highest = highest.max(engine.tick(second, Scarce::NOTHING));
        }
        assert_eq!(highest, Posture::Guarded);
        assert!(engine.incident().is_none());
    }

    #[test]
    fn the_same_requests_give_the_same_incidents() {
        let told = || {
            let mut engine = site();
            let incidents = story(&mut engine, 30, |engine, second| {
                flood(engine, second, 600);
            });
            format!("{incidents:?}")
        };
        assert_eq!(told(), told());
    }

    #[test]
    fn guessing_passwords_is_an_attack_though_nothing_is_scarce() {
        let mut engine = site();
        let mut postures = Vec::new();
        for second in 0..CALM_S + 120 {
            readers(&mut engine, second);
            if second >= CALM_S && second % 4 == 0 {
                let look = Look {
                    method: b"POST",
                    agent: Field::Absent,
                    ..reader(0x0c00_0001, "/wp-login.php")
                };
                let kind = Kind {
                    is_sensitive: true,
                    ..PAGE
                };
                engine.observe(second, &look, kind);
            }
            postures.push(engine.tick(second, Scarce::NOTHING));
        }
        assert!(
            postures[..CALM_S as usize]
                .iter()
                .all(|posture| *posture == Posture::Calm)
        );
        assert_eq!(postures.last(), Some(&Posture::UnderAttack));
        let incident = engine.incident().unwrap();
        assert_eq!(incident.trigger, Trigger::Sensitive);
        assert!(!incident.signatures.is_empty());
    }

    #[test]
    fn of_many_rules_those_that_stand_are_told_first() {
        let mut engine = site();
        let incidents = story(&mut engine, 10, |engine, second| {
            flood(engine, second, 600);
        });
        let mut incident = incidents.into_iter().next().unwrap();
        let rule = incident.signatures[0].clone();
        // Number, hits, is it over.
        incident.signatures = [
            (1, 5, true),
            (2, 900, true),
            (3, 1, false),
            (4, 7, false),
            (5, 50, true),
        ]
        .map(|(id, hits, over)| Standing {
            id,
            hits,
            expired_s: over.then_some(9),
            ..rule.clone()
        })
        .into();
        for (most, told) in [(0, &[][..]), (3, &[4, 3, 2]), (9, &[4, 3, 2, 5, 1])] {
            let ids: Vec<u64> = incident.telling(most).iter().map(|rule| rule.id).collect();
            assert_eq!(ids, told);
        }
    }

    /// While nothing is found of a few guesses, a flood begins: nobody waits until the next search is due.
    #[test]
    fn a_decoy_does_not_delay_the_rule_of_a_flood() {
        const FLOOD_S: u64 = CALM_S + 60;
        let mut engine = site();
        let mut found_s = None;
        for second in 0..FLOOD_S + 5 {
            readers(&mut engine, second);
            // Each by another browser from elsewhere, so that there is nothing to find.
            if second >= CALM_S {
                let agent = format!("browser {second}");
                let look = Look {
                    method: b"POST",
                    agent: Field::Is(agent.as_bytes()),
                    ..reader(second as u32 * 7_919, "/wp-login.php")
                };
                let kind = Kind {
                    is_sensitive: true,
                    ..PAGE
                };
                engine.observe(second, &look, kind);
            }
            if second >= FLOOD_S {
                flood(&mut engine, second, 600);
            }
            let scarce = Scarce {
                origin: second >= FLOOD_S,
                ..Scarce::NOTHING
            };
            engine.tick(second, scarce);
            let stands = |agent: &str| {
                engine.rules().any(|rule| {
                    let values = rule.signature.rule.iter().map(|predicate| &predicate.value);
                    values.into_iter().any(|value| value.contains(agent))
                })
            };
            if stands("python") {
                found_s.get_or_insert(second);
            }
        }
        assert!(
            found_s.is_some_and(|found| found <= FLOOD_S + 2),
            "{found_s:?}"
        );
    }

    /// One that grows for a minute, so that nobody can say when it began.
    #[test]
    fn what_comes_before_the_alarm_does_not_shield_a_flood() {
        const LEARNED_S: u64 = 600;
        let mut engine = site();
        for second in 0..LEARNED_S + 90 {
            readers(&mut engine, second);
            if second >= LEARNED_S {
                let grown = (second - LEARNED_S).min(60) as u32;
                flood(&mut engine, second, 20 * grown);
            }
            let scarce = Scarce {
                origin: engine.posture() != Posture::Calm,
                ..Scarce::NOTHING
            };
            engine.tick(second, scarce);
        }
        assert!(engine.rules().next().is_some(), "{:?}", engine.incident());
        let tried = engine.baseline.all();
        let tried = tried.are(|sample| sample.look().target.starts_with(b"/?s=term"));
        assert!(tried.is_empty(), "{}", tried.len());
    }

    /// A flood that the server bears for a while, until it does not.
    #[test]
    fn what_becomes_scarce_late_has_its_rule_at_once() {
        const SCARCE_S: u64 = CALM_S + 45;
        let mut engine = site();
        for second in 0..SCARCE_S + 2 {
            readers(&mut engine, second);
            if second >= CALM_S {
                flood(&mut engine, second, 600);
            }
            let scarce = Scarce {
                origin: second >= SCARCE_S,
                ..Scarce::NOTHING
            };
            engine.tick(second, scarce);
            assert_eq!(engine.rules().count() > 0, second >= SCARCE_S, "{second}");
        }
    }

    /// So many guesses that they are a load as well: what is scarce or not, there is a rule about them.
    #[test]
    fn guessing_in_a_flood_is_an_attack_within_two_seconds() {
        let mut engine = site();
        for second in 0..CALM_S + 2 {
            readers(&mut engine, second);
            for number in 0..if second < CALM_S { 0 } else { 3_000_u32 } {
                let look = Look {
                    method: b"POST",
                    agent: Field::Is(b"python-requests/2.31.0"),
                    ..reader(0x0c00_0000 + number % 19 * 256, "/wp-login.php")
                };
                let kind = Kind {
                    is_sensitive: true,
                    ..PAGE
                };
                engine.observe(second, &look, kind);
            }
            engine.tick(second, Scarce::NOTHING);
        }
        assert_eq!(engine.posture(), Posture::UnderAttack);
        let incident = engine.incident().unwrap();
        assert_eq!(
            (incident.onset_s, incident.trigger),
            (CALM_S, Trigger::Sensitive)
        );
        assert_eq!(incident.signatures.len(), 1);
    }

    /// Whoever begins in the middle of a flood has no forecast that it could exceed, and still sees that there is no room.
    #[test]
    fn what_waits_is_an_alarm_without_history() {
        let mut engine = site();
        let mut postures = Vec::new();
        for second in 0..20 {
            flood(&mut engine, second, 600);
            let scarce = Scarce {
                origin: second >= 5,
                demand: second >= 5,
                edge: false,
            };
            postures.push(engine.tick(second, scarce));
        }
        assert!(
            postures[..5 + DEMAND_S as usize]
                .iter()
                .all(|posture| *posture == Posture::Calm)
        );
        assert_eq!(postures.last(), Some(&Posture::UnderAttack));
        let incident = engine.incident().unwrap();
        assert_eq!(
            (incident.onset_s, incident.trigger, incident.verdict),
            (5, Trigger::Demand, Verdict::TooLittleBaseline)
        );
    }

    /// A rule found before they came turns out to hit readers: those who were known before the attack are heard, others are not.
    #[test]
    fn a_rule_that_hits_known_readers_is_withdrawn() {
        const ATTACK_S: u64 = CALM_S + 30;
        let known = |since_s, cohort| Some(Known { since_s, cohort });
        // Known how; from how many networks; is it withdrawn?
        let table = [
            (None, 200, false),
            (known(1, None), 200, true),
            // In the attack: by a challenge that a program solves as well.
            (known(CALM_S + 5, None), 200, false),
            // One network's.
            (known(1, None), 1, false),
            // Farmed at once.
            (known(1, Some(7)), 200, false),
        ];
        for (how, networks, withdrawn) in table {
            let mut engine = site();
            for second in 0..ATTACK_S + 20 {
                readers(&mut engine, second);
                let other = Kind {
                    known: known(1, None),
                    ..PAGE
                };
                for number in 0..40 {
                    let source = 0x0d00_0000 + (second as u32 * 40 + number) % 2_000 * 256;
                    engine.observe(second, &reader(source, "/news/2026/story-1"), other);
                }
                if second >= CALM_S {
                    flood(&mut engine, second, 600);
                }
                for number in 0..if second < ATTACK_S { 0 } else { 20 } {
                    let source = 0x0e00_0000 + (second as u32 * 20 + number) % networks * 256;
                    let target = format!("/?s=mine{source}");
                    let look = Look {
                        agent: Field::Is(b"python-requests/2.31.0"),
                        ..reader(source, &target)
                    };
                    engine.observe(second, &look, Kind { known: how, ..PAGE });
                }
                let scarce = Scarce {
                    origin: second >= CALM_S,
                    ..Scarce::NOTHING
                };
                engine.tick(second, scarce);
            }
            let rules = &engine.incident().unwrap().signatures;
            let is_withdrawn = rules.iter().any(|rule| rule.is_withdrawn);
            assert_eq!(is_withdrawn, withdrawn, "{how:?} {networks}");
            let gone = rules.iter().filter(|rule| rule.is_withdrawn);
            for gone in gone {
                let again = rules
                    .iter()
                    .filter(|rule| rule.signature.rule == gone.signature.rule);
                assert_eq!(again.count(), 1);
            }
        }
    }

    /// Little of all that readers ask for, and half of their searches.
    #[test]
    fn a_rule_that_hits_readers_searches_is_withdrawn() {
        const ATTACK_S: u64 = CALM_S + 20;
        let known = Kind {
            known: Some(Known {
                since_s: 1,
                cohort: None,
            }),
            ..PAGE
        };
        let mut engine = site();
        for second in 0..ATTACK_S + 30 {
            readers(&mut engine, second);
            if second >= CALM_S {
                flood(&mut engine, second, 900);
            }
            for number in 0..150 {
                let turn = second as u32 * 150 + number;
                let source = 0x0d00_0000 + turn % 2_000 * 256;
                let search = format!("/?s=mine{turn}");
                let look = match number {
                    0 if second >= ATTACK_S => Look {
                        agent: Field::Is(b"python-requests/2.31.0"),
                        ..reader(source, &search)
                    },
                    0 | 1 => reader(source, &search),
                    _ => reader(source, "/news/2026/story-1"),
                };
                engine.observe(second, &look, known);
            }
            let scarce = Scarce {
                origin: second >= CALM_S,
                ..Scarce::NOTHING
            };
            engine.tick(second, scarce);
        }
        let rules = &engine.incident().unwrap().signatures;
        assert!(rules.iter().any(|rule| rule.is_withdrawn), "{rules:?}");
    }

    #[test]
    fn what_is_normal_survives_a_restart_in_the_middle_of_an_attack() {
        let mut before = site();
        for second in 0..1_000 {
            readers(&mut before, second);
            before.tick(second, Scarce::NOTHING);
        }
        let text = before.written();
        assert!(text.len() < 8_000, "{}", text.len());
        for (text, is_seen) in [(&*text, true), ("saqta-normal 2\n", false)] {
            let mut engine = site();
            assert_eq!(engine.recall(text, 1_010), is_seen);
            for second in 1_010..1_014 {
                readers(&mut engine, second);
                flood(&mut engine, second, 900);
                engine.tick(second, Scarce::NOTHING);
            }
            assert_eq!(engine.posture() == Posture::Guarded, is_seen);
        }
    }

    /// A flood that comes so slowly that the load is followed: what is kept as ordinary stays what it was.
    #[test]
    fn a_slow_flood_does_not_teach() {
        const RAMP_S: u64 = 6 * 3_600;
        let mut engine = site();
        let (calm_s, mut fed) = (2 * 3_600, 0.0);
        for second in 0..calm_s + RAMP_S {
            // A tenth of the readers' rate is enough to see it, and quicker.
            for number in 0..10 {
                let turn = second as u32 * 10 + number;
                let target = format!("/news/2026/story-{}", turn % 40);
                engine.observe(
                    second,
                    &reader(0x0a00_0000 + turn.wrapping_mul(77) % 200_000, &target),
                    PAGE,
                );
            }
            if second >= calm_s {
                // To four times the readers, so five times the load.
                fed += 40.0 * (second - calm_s) as f64 / RAMP_S as f64;
                let now = fed as u32;
                fed -= f64::from(now);
                flood(&mut engine, second, now);
            }
            engine.tick(second, Scarce::NOTHING);
        }
        let baseline = engine.baseline.all();
        let flood = baseline.are(|sample| sample.look().target.starts_with(b"/?s=term"));
        let share = flood.len() as f64 / baseline.len() as f64;
        assert!(share <= 0.05, "{share}");
    }
}
