//! Which parameters matter: what lets `/article?x=RANDOM` be answered with the article's copy.
//!
//! A flood of addresses nobody has ever asked for misses every cache, and each miss is the origin's work. Most content systems give the same
//! page for all of them, but not for every parameter: `?page=2` is another page, `?confirm=…` a person's only chance to confirm. So the
//! relevance of a parameter's name is learned for each shape of path, and until it is known one of two things must hold before a copy
//! of the page without it is an answer: the request looks like the attack, or the origin has no room for it, so that the alternative
//! is no page at all. A wrong answer stays wrong for one request (`no-store`); it is never stored.
//!
//! **Never left out**, whatever has been learned: names that play a role in content systems (`id`, `page`, `lang`, `s` …), names that the
//! site's profile lists (`kept`), names that stand in links of the site's own pages, sitemaps and feeds ([`Relevance::linked`]), names of
//! secrets (`code`, `key`, `confirm` …) and values that look like one.
//!
//! **Learning** happens in calm, with requests of our own, a few a minute: the page without the parameter, with it, and without it again. If the two
//! without are alike and the one with is not, the parameter is *relevant* and stays so: one difference is proof, and no number of
//! likenesses takes it back, or whoever repeats `?id=99999999` would unlearn `id`. It is *irrelevant* after [`AGREEMENTS_MIN`] likenesses with
//! values of [`GROUPS_MIN`] networks on [`DAYS_MIN`] days, and with each of [`OWN_VALUES`] besides: who teaches by asking chooses the
//! values, and only for values nobody chose does the answer say something about all of them.
//!
//! A shape has the name of a section once its book knows it, and loses it when others are more popular. Likenesses are counted by that shape, so
//! that they say something of one section; what is relevant is kept by the shape that no book changes, or it would be forgotten with a name.
//!
//! Tables are fixed in size. What they lose is *unknown* again; what is relevant is never lost: when there is no room for one more
//! name, all names of its shape count as relevant, and then all names of the site.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::time::Duration;

use saqta_detect::network::Group;
use saqta_detect::shape::{self, Shape};

use crate::clock::UnixMillis;
use crate::likeness::{self, Likeness};

/// Comparisons that agree before a name is irrelevant: with three networks there is one to spare.
pub const AGREEMENTS_MIN: usize = 4;
/// Networks the values must come from: more than one household, or one hirer of a single block, has.
pub const GROUPS_MIN: usize = 3;
/// Different days: a campaign that lasts an afternoon leaves nothing behind.
pub const DAYS_MIN: usize = 2;
/// Values we ask with ourselves: what numbered pages, numbered articles and languages answer to.
pub const OWN_VALUES: [&[u8]; 3] = [b"1", b"2", b"ru"];

/// Three fetches each, so twelve a minute: one in fifty of what a small origin can do in calm.
pub const PROBES_PER_MINUTE_MAX: u32 = 4;
/// One at a time; one that has not come back by then never will.
const PROBE_TIME_MAX: Duration = Duration::from_secs(90);
/// After a comparison that said nothing (the page is never the same twice, the origin was in trouble).
const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// What nobody asked with for a month may have been given a meaning since.
const IRRELEVANT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Names on their way to be known, and irrelevant ones: sets of 8, a quarter of a mebibyte a site. A newsroom's links carry 10 to 40 names.
const SETS: usize = 256;
const WAYS: usize = 8;
pub const NAMES_MAX: usize = SETS * WAYS;
/// Names proved relevant. Each took a comparison, so at [`PROBES_PER_MINUTE_MAX`] this many take hours of trying.
pub const RELEVANT_MAX: usize = 1_024;
/// Shapes all of whose names count as relevant.
pub const CLOSED_SHAPES_MAX: usize = 128;
/// Names in links. WordPress with a shop has about 60.
pub const LINKED_MAX: usize = 2_048;
/// Pairs of one query; browsers' links carry 1 to 5.
const PAIRS_MAX: usize = 64;
/// Shorter values are guessed rather than sent as a secret: WordPress' and Drupal's links have 20 and more.
const TOKEN_BYTES_MIN: usize = 16;
const UNBROKEN_TOKEN_BYTES_MIN: usize = 20;

/// Parts of names whose values are one person's, by the letter they begin with: asked of every letter of every name a flood makes up.
const fn secret_names(letter: u8) -> &'static [&'static str] {
    match letter {
        b'a' => &["activat", "auth"],
        b'c' => &["callback", "code", "confirm"],
        b'g' => &["gift"],
        b'h' => &["hash", "hmac"],
        b'i' => &["invit"],
        b'j' => &["jwt"],
        b'k' => &["key"],
        b'l' => &["login"],
        b'm' => &["mail"],
        b'n' => &["nonce"],
        b'o' => &["order", "otp"],
        b'p' => &["pass", "payment", "preview"],
        b'r' => &["reset"],
        b's' => &["secret", "session", "sign", "state"],
        b't' => &["ticket", "token"],
        b'u' => &["unsubscribe"],
        b'v' => &["verif"],
        _ => &[],
    }
}

/// By the letter they begin with, which letters come next: most pairs of letters in a name begin none of them.
const SECOND_LETTERS: [u32; LETTERS] = {
    let mut second_letters = [0; LETTERS];
    let mut first = 0;
    while first < LETTERS {
        let names = secret_names(b'a' + first as u8);
        let mut at = 0;
        while at < names.len() {
            second_letters[first] |= 1 << (names[at].as_bytes()[1] - b'a');
            at += 1;
        }
        first += 1;
    }
    second_letters
};
const LETTERS: usize = 26;

fn letter(byte: u8) -> Option<usize> {
    byte.is_ascii_alphabetic()
        .then(|| usize::from(byte.to_ascii_lowercase() - b'a'))
}

/// What speaks for sparing the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// The site's posture. Only irrelevant names are left out then.
    pub under_attack: bool,
    /// This request looks like the attack.
    pub matches_signature: bool,
    /// The origin has no room for it.
    pub starved: bool,
}

impl Pressure {
    pub fn spares_unknown(self) -> bool {
        self.matches_signature || self.starved
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Answer with what is stored for this target, `no-store`, `Cache-Status: …; detail=reduced`.
    Reduced(Vec<u8>),
    AsAsked(AsAsked),
}

/// Why a request is not answered with another target's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsAsked {
    NoQuery,
    TooManyPairs,
    /// Nothing could be left out.
    AllKept,
    /// A value that looks like a secret.
    Secret,
    /// A name of which nothing is known, while the origin has room.
    Unknown,
    /// What would be left is not known to be a page.
    UnknownPage,
}

/// A request in calm that the cache could not answer.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Of the path alone.
    pub path_shape: Shape,
    pub target: &'a [u8],
    pub group: Group,
    /// The origin can bear three fetches more.
    pub at_ease: bool,
    pub now: UnixMillis,
}

/// Three fetches to make: `without`, `with`, `without` again, as an anonymous reader with no cookie, not through the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub without: Vec<u8>,
    pub with: Vec<u8>,
    /// The pair that [`likeness::Reading::new`] leaves out of links, in all three.
    pub pair: Vec<u8>,
    key: u64,
    /// Of its path, without a book.
    lasting_shape: Shape,
    name: Vec<u8>,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Client { group: u32, value: u32 },
    Us(usize),
}

/// What came of a probe's second fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    Page(Likeness),
    /// 404 or 410 where the page without it is there.
    Missing,
    /// A redirect, an error, too long a page, or no answer: says nothing.
    Nothing,
}

/// What has been learned by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lesson {
    Relevant,
    Agrees,
    Irrelevant,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Irrelevant,
    Relevant,
}

#[derive(Debug, Clone, Copy)]
struct Agreement {
    group: u32,
    value: u32,
    day: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u64,
    /// A network that asked with it first; a second one is needed before anything is spent on it.
    seen_by: u32,
    seen_by_others: bool,
    agreements: [Option<Agreement>; AGREEMENTS_MIN],
    own: [bool; OWN_VALUES.len()],
    irrelevant: bool,
    retry_at: UnixMillis,
    used: UnixMillis,
}

impl Entry {
    fn rank(&self) -> (bool, usize, bool, UnixMillis) {
        (
            self.irrelevant,
            self.agreements.iter().flatten().count(),
            self.seen_by_others,
            self.used,
        )
    }

    fn is_complete(&self) -> bool {
        let agreements = || self.agreements.iter().flatten();
        let distinct =
            |of: fn(&Agreement) -> u32| agreements().map(of).collect::<HashSet<_>>().len();
        agreements().count() == AGREEMENTS_MIN
            && distinct(|agreement| agreement.group) >= GROUPS_MIN
            && distinct(|agreement| agreement.day) >= DAYS_MIN
            && self.own.iter().all(|agreed| *agreed)
    }

    /// Would one more agreement like this bring the proof nearer? None fills the last free places without making it complete.
    fn wants(&self, one: Agreement) -> bool {
        let taken = || self.agreements.iter().flatten();
        let free = AGREEMENTS_MIN - taken().count();
        if free == 0 || taken().any(|other| other.group == one.group && other.value == one.value) {
            return false;
        }
        let missing = |of: fn(&Agreement) -> u32, min: usize| {
            let mut values: HashSet<u32> = taken().map(of).collect();
            values.insert(of(&one));
            min.saturating_sub(values.len())
        };
        let groups = missing(|agreement| agreement.group, GROUPS_MIN);
        let days = missing(|agreement| agreement.day, DAYS_MIN);
        groups.max(days) < free
    }
}

/// What one site's parameters do. Reading is for every request under pressure, writing for a few a minute: keep it behind a lock for many readers.
pub struct Relevance {
    secret: RandomState,
    names: Box<[Option<Entry>]>,
    relevant: HashSet<u64>,
    closed_shapes: HashSet<u64>,
    all_relevant: bool,
    linked: HashSet<u64>,
    all_linked: bool,
    minute: u64,
    probes: u32,
    probing_until: Option<UnixMillis>,
}

impl Relevance {
    /// `secret`: random, so that nobody can choose names that share a set.
    pub fn new(secret: RandomState) -> Self {
        Self {
            secret,
            names: vec![None; NAMES_MAX].into_boxed_slice(),
            relevant: HashSet::new(),
            closed_shapes: HashSet::new(),
            all_relevant: false,
            linked: HashSet::new(),
            all_linked: false,
            minute: 0,
            probes: 0,
            probing_until: None,
        }
    }

    /// `path_shape`: of the path alone, without its query; asked for only where it matters. `kept`: is this name, decoded, one of the profile's? `is_known`: has this target been a
    /// 200 to an anonymous reader?
    pub fn decide(
        &self,
        path_shape: impl Fn() -> Shape,
        target: &[u8],
        pressure: Pressure,
        now: UnixMillis,
        kept: impl Fn(&[u8]) -> bool,
        is_known: impl Fn(&[u8]) -> bool,
    ) -> Decision {
        let Some(query) = Query::of(target) else {
            return Decision::AsAsked(AsAsked::NoQuery);
        };
        if query.pairs().nth(PAIRS_MAX).is_some() {
            return Decision::AsAsked(AsAsked::TooManyPairs);
        }
        let lasting_shape = LazyCell::new(|| Shape::of(query.path));
        let mut left: Vec<&[u8]> = Vec::new();
        let mut dropped = false;
        for pair in query.pairs() {
            let name = pair.name();
            if self.is_kept(&lasting_shape, &name, &kept) {
                left.push(pair.raw);
                continue;
            }
            if is_secret(pair.value()) || pair.is_bare() && is_secret(pair.raw) {
                return Decision::AsAsked(AsAsked::Secret);
            }
            let may_go = pressure.spares_unknown()
                || pressure.under_attack
                    && self.state(path_shape(), &name, now) == State::Irrelevant;
            if !may_go {
                return Decision::AsAsked(AsAsked::Unknown);
            }
            dropped = true;
        }
        if !left.is_empty() && !dropped {
            return Decision::AsAsked(AsAsked::AllKept);
        }
        // `/a?`, `/a?&&`.
        if !dropped && !pressure.under_attack && !pressure.spares_unknown() {
            return Decision::AsAsked(AsAsked::Unknown);
        }
        let reduced = join(query.path, &left);
        if !is_known(&reduced) {
            return Decision::AsAsked(AsAsked::UnknownPage);
        }
        Decision::Reduced(reduced)
    }

    /// What is known of a name, decoded, on paths of this shape, of which no book knows a section's name.
    pub fn state(&self, path_shape: Shape, name: &[u8], now: UnixMillis) -> State {
        let key = self.key(path_shape, name);
        if self.all_relevant
            || self.relevant.contains(&key)
            || self.closed_shapes.contains(&path_shape.bits())
        {
            return State::Relevant;
        }
        match self.entry(key) {
            Some(entry) if entry.irrelevant && now.since(entry.used) < IRRELEVANT_FOR => {
                State::Irrelevant
            }
            _ => State::Unknown,
        }
    }

    /// A target in a link, a sitemap or a feed of the site: its names are never left out. `on`: the target of the page that has the link. A page
    /// often links to itself with whatever it was asked with, so names in `on` teach nothing.
    pub fn linked(&mut self, on: &[u8], target: &[u8]) {
        let Some(query) = Query::of(target) else {
            return;
        };
        let own: Vec<Cow<'_, [u8]>> = Query::of(on)
            .map(|query| {
                query
                    .pairs()
                    .take(PAIRS_MAX)
                    .map(|pair| pair.name())
                    .collect()
            })
            .unwrap_or_default();
        for pair in query.pairs().take(PAIRS_MAX) {
            let name = pair.name();
            if own.contains(&name) {
                continue;
            }
            let hash = self.secret.hash_one(&*name);
            if self.linked.contains(&hash) {
                continue;
            }
            if self.linked.len() == LINKED_MAX {
                self.all_linked = true;
                return;
            }
            self.linked.insert(hash);
        }
    }

    /// Gives a probe when there is something to learn.
    pub fn sighted(
        &mut self,
        sighting: &Sighting<'_>,
        kept: impl Fn(&[u8]) -> bool,
        is_known: impl Fn(&[u8]) -> bool,
    ) -> Option<Probe> {
        let Sighting {
            path_shape,
            target,
            group,
            at_ease,
            now,
        } = *sighting;
        let query = Query::of(target)?;
        if query.pairs().nth(PAIRS_MAX).is_some() {
            return None;
        }
        let lasting_shape = LazyCell::new(|| Shape::of(query.path));
        let mut left: Vec<&[u8]> = Vec::new();
        let mut open = None;
        for pair in query.pairs() {
            let name = pair.name();
            if self.is_kept(&lasting_shape, &name, &kept) {
                left.push(pair.raw);
            } else if open.is_none()
                && likeness::is_plain_pair(pair.raw)
                && !is_secret(pair.value())
            {
                open = Some((pair, name));
            }
        }
        let (pair, name) = open?;
        let key = self.key(path_shape, &name);
        let mark = self.secret.hash_one(group.bits()) as u32;
        let value = self.secret.hash_one(pair.value()) as u32;
        let agreement = Agreement {
            group: mark,
            value,
            day: day(now),
        };
        let entry = self.entry_or_new(key, mark, now);
        entry.used = now;
        entry.seen_by_others |= entry.seen_by != mark;
        if !entry.seen_by_others || now < entry.retry_at {
            return None;
        }
        let (by, with) = if entry.wants(agreement) && !entry.irrelevant {
            (By::Client { group: mark, value }, pair.raw.to_vec())
        } else {
            let own = entry.own.iter().position(|agreed| !agreed)?;
            let with = [pair.raw_name(), b"=", OWN_VALUES[own]].concat();
            (By::Us(own), with)
        };
        let without = join(query.path, &left);
        if !at_ease || !is_known(&without) || !self.spend(now) {
            return None;
        }
        left.push(&with);
        Some(Probe {
            with: join(query.path, &left),
            without,
            pair: with,
            key,
            lasting_shape: *lasting_shape,
            name: name.into_owned(),
            by,
        })
    }

    /// `without` and `again`: the two fetches without the parameter; `None` unless a 200.
    pub fn learn(
        &mut self,
        probe: &Probe,
        without: Option<Likeness>,
        with: With,
        again: Option<Likeness>,
        now: UnixMillis,
    ) -> Lesson {
        self.probing_until = None;
        let control = without
            .zip(again)
            .filter(|(one, other)| one.is_proof_with(*other));
        let differs = match (control, with) {
            (None, _) | (_, With::Nothing) => None,
            (Some(_), With::Missing) => Some(true),
            (Some((page, _)), With::Page(likeness)) => Some(page.differs_from(likeness)),
        };
        match differs {
            Some(true) => {
                self.is_relevant(probe);
                Lesson::Relevant
            }
            Some(false) => self.agrees(probe, now),
            None => {
                if let Some(entry) = self.entry_mut(probe.key) {
                    entry.retry_at = now.plus(RETRY_AFTER);
                }
                Lesson::Nothing
            }
        }
    }

    fn agrees(&mut self, probe: &Probe, now: UnixMillis) -> Lesson {
        // Lost its place meanwhile: it begins anew.
        let Some(entry) = self.entry_mut(probe.key) else {
            return Lesson::Nothing;
        };
        match probe.by {
            By::Us(own) => entry.own[own] = true,
            By::Client { group, value } => {
                let agreement = Agreement {
                    group,
                    value,
                    day: day(now),
                };
                if entry.wants(agreement)
                    && let Some(free) = entry.agreements.iter_mut().find(|slot| slot.is_none())
                {
                    *free = Some(agreement);
                }
            }
        }
        entry.used = now;
        entry.irrelevant = entry.is_complete();
        if entry.irrelevant {
            Lesson::Irrelevant
        } else {
            Lesson::Agrees
        }
    }

    fn is_relevant(&mut self, probe: &Probe) {
        let key = self.key(probe.lasting_shape, &probe.name);
        if self.relevant.len() < RELEVANT_MAX || self.relevant.contains(&key) {
            self.relevant.insert(key);
        } else if self.closed_shapes.len() < CLOSED_SHAPES_MAX {
            self.closed_shapes.insert(probe.lasting_shape.bits());
        } else {
            self.all_relevant = true;
        }
        let set = self.set(probe.key);
        for slot in &mut self.names[set] {
            if slot.is_some_and(|entry| entry.key == probe.key) {
                *slot = None;
            }
        }
    }

    fn is_kept(
        &self,
        lasting_shape: &impl Deref<Target = Shape>,
        name: &[u8],
        kept: &impl Fn(&[u8]) -> bool,
    ) -> bool {
        self.all_relevant
            || self.all_linked
            || shape::has_role(name)
            || names_secret(name)
            || kept(name)
            || !self.linked.is_empty() && self.linked.contains(&self.secret.hash_one(name))
            || !self.closed_shapes.is_empty() && self.closed_shapes.contains(&lasting_shape.bits())
            || !self.relevant.is_empty() && self.relevant.contains(&self.key(**lasting_shape, name))
    }

    fn key(&self, path_shape: Shape, name: &[u8]) -> u64 {
        self.secret.hash_one((path_shape.bits(), name))
    }

    fn set(&self, key: u64) -> std::ops::Range<usize> {
        let first = (key >> 32) as usize % SETS * WAYS;
        first..first + WAYS
    }

    fn entry(&self, key: u64) -> Option<&Entry> {
        self.names[self.set(key)]
            .iter()
            .flatten()
            .find(|entry| entry.key == key)
    }

    fn entry_mut(&mut self, key: u64) -> Option<&mut Entry> {
        let set = self.set(key);
        self.names[set]
            .iter_mut()
            .flatten()
            .find(|entry| entry.key == key)
    }

    /// A new name takes the place of the one that is least far on, and of those the least recently used.
    fn entry_or_new(&mut self, key: u64, group: u32, now: UnixMillis) -> &mut Entry {
        let set = self.set(key);
        let slots = &mut self.names[set];
        let held = slots
            .iter()
            .position(|slot| slot.is_some_and(|entry| entry.key == key));
        let at = held.unwrap_or_else(|| {
            let weakest = slots
                .iter()
                .enumerate()
                .min_by_key(|(_, slot)| slot.map(|entry| entry.rank()));
            weakest.map_or(0, |(at, _)| at)
        });
        let slot = &mut slots[at];
        if held.is_none() {
            *slot = None;
        }
        let entry = slot.get_or_insert_with(|| Entry {
            key,
            seen_by: group,
            seen_by_others: false,
            agreements: [None; AGREEMENTS_MIN],
            own: [false; OWN_VALUES.len()],
            irrelevant: false,
            retry_at: UnixMillis(0),
            used: now,
        });
        // Too long ago: what was proved then is proved anew.
        if now.since(entry.used) >= IRRELEVANT_FOR {
            entry.irrelevant = false;
            entry.agreements = [None; AGREEMENTS_MIN];
            entry.own = [false; OWN_VALUES.len()];
        }
        entry
    }

    fn spend(&mut self, now: UnixMillis) -> bool {
        if self.probing_until.is_some_and(|until| now < until) {
            return false;
        }
        let minute = now.secs() / 60;
        if minute != self.minute {
            self.minute = minute;
            self.probes = 0;
        }
        if self.probes == PROBES_PER_MINUTE_MAX {
            return false;
        }
        self.probes += 1;
        self.probing_until = Some(now.plus(PROBE_TIME_MAX));
        true
    }
}

impl std::fmt::Debug for Relevance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relevance")
            .field("relevant", &self.relevant.len())
            .field("linked", &self.linked.len())
            .finish_non_exhaustive()
    }
}

fn day(now: UnixMillis) -> u32 {
    u32::try_from(now.secs() / (24 * 3600)).unwrap_or(u32::MAX)
}

fn join(path: &[u8], pairs: &[&[u8]]) -> Vec<u8> {
    let mut target = path.to_vec();
    for (at, pair) in pairs.iter().enumerate() {
        target.push(if at == 0 { b'?' } else { b'&' });
        target.extend_from_slice(pair);
    }
    target
}

#[derive(Debug, Clone, Copy)]
struct Query<'a> {
    path: &'a [u8],
    query: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    raw: &'a [u8],
    equals: Option<usize>,
}

impl<'a> Query<'a> {
    fn of(target: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr(b'#', target).unwrap_or(target.len());
        let target = &target[..end];
        let mark = memchr::memchr(b'?', target)?;
        Some(Self {
            path: &target[..mark],
            query: &target[mark + 1..],
        })
    }

    fn pairs(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        self.query
            .split(|byte| *byte == b'&')
            .filter(|raw| !raw.is_empty())
            .map(|raw| Pair {
                raw,
                equals: raw.iter().position(|byte| *byte == b'='),
            })
    }
}

impl<'a> Pair<'a> {
    /// `?12345`: what it names is the whole of it. All such share the empty name, so that a site whose links look like that keeps them.
    fn is_bare(&self) -> bool {
        self.equals.is_none()
    }

    fn raw_name(&self) -> &'a [u8] {
        &self.raw[..self.equals.unwrap_or(0)]
    }

    fn value(&self) -> &'a [u8] {
        self.equals.map_or(&[], |at| &self.raw[at + 1..])
    }

    /// As PHP reads it: `%70age`, ` page` and `page[]` are `page`, `a.b` is `a_b`. Case is folded: two names for one are better than one for two.
    /// A bare word that plays a role by itself is that word.
    fn name(&self) -> Cow<'a, [u8]> {
        let raw = match self.equals {
            Some(at) => &self.raw[..at],
            None if shape::has_role(self.raw) || names_secret(self.raw) => self.raw,
            None => return Cow::Borrowed(b""),
        };
        let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if raw.iter().all(is_plain) {
            return Cow::Borrowed(raw);
        }
        let decoded = percent_decode(raw);
        let name = decoded.trim_ascii_start();
        let end = name
            .iter()
            .skip(1)
            .position(|byte| *byte == b'[')
            .map_or(name.len(), |at| at + 1);
        let folded = name[..end]
            .iter()
            .take_while(|byte| **byte != 0)
            .map(|byte| match byte {
                b'.' | b' ' => b'_',
                byte => byte.to_ascii_lowercase(),
            });
        Cow::Owned(folded.collect())
    }
}

fn percent_decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        decoded.push(match (escaped, first) {
            (Some((high, low)), _) => {
                rest = &after[2..];
                high << 4 | low
            }
            (None, b'+') => b' ',
            (None, byte) => *byte,
        });
    }
    Cow::Owned(decoded)
}

fn names_secret(name: &[u8]) -> bool {
    name.windows(2).enumerate().any(|(at, two)| {
        let (Some(first), Some(second)) = (letter(two[0]), letter(two[1])) else {
            return false;
        };
        SECOND_LETTERS[first] >> second & 1 == 1
            && secret_names(two[0].to_ascii_lowercase())
                .iter()
                .any(|secret| {
                    name[at..]
                        .get(..secret.len())
                        .is_some_and(|part| part.eq_ignore_ascii_case(secret.as_bytes()))
                })
    })
}

/// A confirmation, a session, a signature, an address: what one person was sent. Words of a headline joined by dashes are none of these.
pub fn is_secret(raw: &[u8]) -> bool {
    let value = percent_decode(raw);
    if value.contains(&b'@') {
        return true;
    }
    if value.len() < TOKEN_BYTES_MIN || value.contains(&b' ') {
        return false;
    }
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let unbroken = value
        .split(|byte| !byte.is_ascii_alphanumeric())
        .any(|part| part.len() >= UNBROKEN_TOKEN_BYTES_MIN);
    let letters = has(u8::is_ascii_alphabetic);
    unbroken
        || letters && has(u8::is_ascii_digit)
        || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests;
