//! The crowd that does not read.
//!
//! Requests are due at the scenario's rate whatever happens to those before. The attack's addresses take turns on a ring of
//! connections: each in turn asks once, so that no address asks much faster than in the attack it is taken from; an address
//! whose connection has had its requests makes room for the next one. When every connection on the ring waits for an answer,
//! the request that has waited longest is given up and its bot asks anew: that is what bots do, and it keeps the load offered
//! when the server is slow.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::books::{AttackBook, AttackTally, Books, Fate, Progress};
use super::h2::H2Attack;
use super::heads::{self, Fill, Person};
use super::judge::fate_of_refusal;
use super::schedule::Schedule;
use super::slow::SlowAttack;
use super::tokens::{Mint, Tokens};
use super::{CONNECTIONS_MAX, Orders, Population};
use crate::addresses::{self, Addresses};
use crate::chance::Chance;
use crate::corpus::Grade;
use crate::network::Range;
use crate::newsroom::Newsroom;
use crate::scenario::{AttackShape, Flood, Method, Phases, Scenario, Shows};
use crate::wire::{Answer, CacheStatus, Event, Key, OpenError, Use, Wire};

/// Sent before the wire is heard again: about 5 ms of work.
const FIRED_AT_ONCE: usize = 256;
/// What was due just before the end may be sent just after it; what is later than this was not offered.
const GRACE: Duration = Duration::from_millis(50);
/// For the last answers.
const LINGER: Duration = Duration::from_secs(1);
/// Left for what is being closed and opened.
const RING_MARGIN: usize = 400;

/// What every kind of attack writes its results into.
pub(super) struct Notes {
    pub(super) seconds: Vec<AttackTally>,
    recent: AttackTally,
    pub(super) due: u64,
    pub(super) exhausted: u64,
    cache_status_seen: bool,
    first_hit: Option<Duration>,
}

impl Notes {
    fn new(phases: Phases) -> Self {
        let seconds = phases.total().as_secs_f64().ceil() as usize;
        Self {
            seconds: vec![AttackTally::default(); seconds],
            recent: AttackTally::default(),
            due: 0,
            exhausted: 0,
            cache_status_seen: false,
            first_hit: None,
        }
    }

    pub(super) fn note(&mut self, at: Duration, change: impl Fn(&mut AttackTally)) {
        if let Some(second) = self.seconds.get_mut(at.as_secs() as usize) {
            change(second);
        }
        change(&mut self.recent);
    }
}

/// What all attacks of a drill know of it.
pub(super) struct Ground {
    pub(super) host: &'static str,
    seed: u64,
    addresses: Addresses,
    range: Range,
    grade: Grade,
    fill: Fill,
    /// `None`: against another server, of whom nothing can be collected.
    tokens: Option<Box<dyn Tokens>>,
}

impl Ground {
    /// The `n`th address of the attack; they come round again.
    pub(super) fn address(&self, n: usize) -> Ipv4Addr {
        self.addresses.attacker(n)
    }

    pub(super) fn person(&self, n: usize, is_http2: bool) -> Person {
        Person::attacker(self.seed, self.grade, is_http2, n)
    }

    pub(super) fn article(&self, chance: &mut Chance) -> &str {
        self.fill.article(chance)
    }
}

pub(super) struct Attackers {
    ground: Ground,
    notes: Notes,
    /// Owner of each place on the wire.
    owners: Vec<u8>,
    attacks: Vec<Kind>,
    end: Duration,
    addresses: u64,
}

enum Kind {
    Flood(Box<FloodAttack>),
    Slow(SlowAttack),
    H2(H2Attack),
}

impl Attackers {
    pub(super) fn new(scenario: &Scenario, orders: &Orders, mint: &Mint) -> anyhow::Result<Self> {
        let newsroom = Newsroom::new(orders.seed);
        let total: usize = scenario
            .attacks
            .iter()
            .map(|attack| attack.addresses as usize)
            .sum();
        let readers = super::readers::people(scenario);
        let addresses = Addresses::new(orders.seed, addresses::Population::new(readers, total))?;
        let ground = Ground {
            host: newsroom.host(),
            seed: orders.seed,
            addresses,
            range: orders.range(),
            grade: orders.grade,
            fill: Fill::new(&newsroom),
            tokens: orders.tokens(mint, newsroom.host()),
        };
        let onset = scenario.phases.calm;
        let mut first = 0;
        let mut attacks = Vec::new();
        for (n, attack) in scenario.attacks.iter().enumerate() {
            let span = Span {
                start: onset + attack.starts,
                end: (onset + attack.starts + attack.lasting).min(scenario.phases.attack_end()),
                first_address: first,
                addresses: attack.addresses as usize,
            };
            let chance = Chance::stream(orders.seed, &format!("attack {n}"));
            attacks.push(match &attack.shape {
                AttackShape::Requests(flood) => {
                    let share = (CONNECTIONS_MAX - RING_MARGIN) / scenario.attacks.len();
                    Kind::Flood(Box::new(FloodAttack::new(flood, span, share, chance)))
                }
                AttackShape::Slow(slow) => Kind::Slow(SlowAttack::new(*slow, span, chance)),
                AttackShape::H2(abuse) => Kind::H2(H2Attack::new(abuse, span, chance)),
            });
            first += attack.addresses as usize;
        }
        Ok(Self {
            ground,
            notes: Notes::new(scenario.phases),
            owners: Vec::new(),
            attacks,
            end: scenario.phases.attack_end(),
            addresses: total as u64,
        })
    }
}

impl Attackers {
    /// One attack does something in its field.
    fn act(&mut self, me: usize, wire: &mut Wire, does: impl FnOnce(&mut Kind, &mut Field<'_>)) {
        if let Some(attack) = self.attacks.get_mut(me) {
            let mut field = Field {
                ground: &self.ground,
                notes: &mut self.notes,
                wire,
                owners: &mut self.owners,
                me: me as u8,
            };
            does(attack, &mut field);
        }
    }
}

/// When an attack happens and from which addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: Duration,
    pub(super) end: Duration,
    first_address: usize,
    addresses: usize,
}

impl Span {
    /// The next request to be sent by `now`, counted as due.
    pub(super) fn pop<R: Fn(Duration) -> f64>(
        &self,
        schedule: &mut Schedule<R>,
        now: Duration,
        notes: &mut Notes,
    ) -> Option<Duration> {
        if now > self.end + GRACE {
            return None;
        }
        let due = schedule.pop(now)?;
        notes.due += 1;
        Some(due)
    }

    pub(super) fn address(&self, n: usize) -> usize {
        self.first_address + n % self.addresses.max(1)
    }
}

/// What an attack sees of the process it runs in.
pub(super) struct Field<'a> {
    pub(super) ground: &'a Ground,
    pub(super) notes: &'a mut Notes,
    pub(super) wire: &'a mut Wire,
    owners: &'a mut Vec<u8>,
    me: u8,
}

impl Field<'_> {
    /// Opens a connection for the attack; counts what this machine could not do.
    pub(super) fn open(&mut self, from: Ipv4Addr, usage: Use, at: Duration) -> Option<Key> {
        let opened = self.wire.open(self.ground.range.place(from), usage);
        self.owned(opened, at)
    }

    /// The same, to speak HTTP/2.
    fn open_http2(
        &mut self,
        from: Ipv4Addr,
        usage: Use,
        person: &Person,
        at: Duration,
    ) -> Option<Key> {
        let from = self.ground.range.place(from);
        let pseudo = person.pseudo_fields();
        let opened = self.wire.open_http2(from, usage, pseudo);
        self.owned(opened, at)
    }

    fn owned(&mut self, opened: Result<Key, OpenError>, at: Duration) -> Option<Key> {
        match opened {
            Ok(key) => {
                if self.owners.len() <= key.place() {
                    self.owners.resize(key.place() + 1, 0);
                }
                self.owners[key.place()] = self.me;
                Some(key)
            }
            Err(OpenError::Refused(_)) => {
                self.notes.note(at, |tally| {
                    tally.requests += 1;
                    tally.refused += 1;
                });
                None
            }
            Err(OpenError::Exhausted(_)) => {
                self.notes.exhausted += 1;
                None
            }
        }
    }
}

impl Population for Attackers {
    fn fire(&mut self, now: Duration, wire: &mut Wire) {
        for me in 0..self.attacks.len() {
            self.act(me, wire, |attack, field| match attack {
                Kind::Flood(flood) => flood.fire(now, field),
                Kind::Slow(slow) => slow.fire(now, field),
                Kind::H2(abuse) => abuse.fire(now, field),
            });
        }
    }

    fn hear(&mut self, now: Duration, event: Event, wire: &mut Wire) {
        let (Event::Answered(key) | Event::Ended(key, _)) = event;
        if !wire.has(key) {
            return;
        }
        let me = self.owners.get(key.place()).copied().unwrap_or_default();
        self.act(usize::from(me), wire, |attack, field| match attack {
            Kind::Flood(flood) => flood.hear(event, field),
            Kind::Slow(slow) => slow.hear(now, key, field),
            Kind::H2(abuse) => abuse.hear(now, key, field),
        });
    }

    fn next(&self) -> Option<Duration> {
        let due = self.attacks.iter().filter_map(|attack| match attack {
            Kind::Flood(flood) => flood.schedule.peek(),
            Kind::Slow(slow) => slow.next(),
            Kind::H2(abuse) => abuse.next(),
        });
        Some(due.min().unwrap_or(self.end + LINGER))
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.end + LINGER
    }

    fn progress(&mut self) -> Progress {
        Progress {
            attack: std::mem::take(&mut self.notes.recent),
            ..Progress::default()
        }
    }

    fn close(self: Box<Self>) -> Books {
        let mut due = self.notes.due;
        for attack in self.attacks {
            // What was due and not sent when time was up.
            due += match attack {
                Kind::Flood(mut flood) => flood.schedule.left(),
                Kind::H2(mut abuse) => abuse.left(),
                Kind::Slow(_) => 0,
            };
        }
        Books {
            attack: Some(AttackBook {
                due,
                exhausted: self.notes.exhausted,
                addresses: self.addresses,
                seconds: self.notes.seconds,
                cache_status_seen: self.notes.cache_status_seen,
                first_hit_s: self.notes.first_hit.map(|at| at.as_secs_f64()),
            }),
            ..Books::default()
        }
    }

    fn grain(&self) -> Duration {
        Duration::from_millis(1)
    }
}

struct FloodAttack {
    span: Span,
    schedule: Schedule<Box<dyn Fn(Duration) -> f64>>,
    chance: Chance,
    targets: Vec<crate::scenario::TargetShape>,
    /// The sum of the weights up to each target.
    weights: Vec<f64>,
    requests_per_connection: u32,
    shows: Shows,
    /// Of each bot, where they are shown.
    jars: Vec<String>,
    is_http2: bool,
    /// At once on a connection.
    streams: usize,
    ring: Vec<Seat>,
    /// Seats with room for a request, as often as they have room, the longest idle first.
    idle: VecDeque<u32>,
    /// Seats and the requests they sent, the oldest first; what was answered since is passed over.
    waiting: VecDeque<(u32, u64)>,
    /// Sent so far.
    requests: u64,
    /// Addresses that have had their turn.
    turns: usize,
    counter: u64,
    /// Which seat has a place on the wire.
    seats: Vec<u32>,
    request: Vec<u8>,
    path: String,
    form: String,
}

/// A connection on the ring and the bot behind it.
#[derive(Default)]
struct Seat {
    person: Option<Person>,
    key: Option<Key>,
    /// As many as may be under way at once on its connection.
    busy: Vec<Busy>,
    /// How often it stands in [`FloodAttack::idle`].
    listed: usize,
    requests_left: u32,
}

impl Seat {
    /// Its bot has had its requests and waits for the last answers.
    fn is_ending(&self) -> bool {
        self.requests_left == 0 && !self.busy.is_empty()
    }
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Busy {
    /// When it was due.
    since: Duration,
    /// Which of the attack's requests it is.
    turn: u64,
    /// Of HTTP/2.
    stream: u32,
}

impl FloodAttack {
    fn new(flood: &Flood, span: Span, connections_max: usize, mut chance: Chance) -> Self {
        let (rate, start) = (flood.rate, span.start);
        let rate: Box<dyn Fn(Duration) -> f64> =
            Box::new(move |at: Duration| rate.at(at.saturating_sub(start)));
        let times = Chance::new(chance.draw());
        let mut sum = 0.0;
        let weights = flood.targets.iter().map(|target| {
            sum += target.weight;
            sum
        });
        let seats = span.addresses.min(connections_max).max(1);
        let streams = flood.http2_streams.unwrap_or(1) as usize;
        Self {
            span,
            schedule: Schedule::new(
                rate,
                flood.arrivals,
                flood.burst,
                span.start,
                span.end,
                times,
            ),
            chance,
            weights: weights.collect(),
            targets: flood.targets.clone(),
            requests_per_connection: flood.requests_per_connection,
            shows: flood.shows,
            jars: match flood.shows {
                Shows::Cookies => vec![String::new(); span.addresses],
                Shows::Nothing | Shows::Passes(_) => Vec::new(),
            },
            is_http2: flood.http2_streams.is_some(),
            streams,
            ring: (0..seats)
                .map(|_| Seat {
                    listed: streams,
                    ..Seat::default()
                })
                .collect(),
            // A bot asks for all it can at once, then the next.
            idle: (0..seats as u32)
                .flat_map(|seat| std::iter::repeat_n(seat, streams))
                .collect(),
            waiting: VecDeque::new(),
            requests: 0,
            turns: 0,
            counter: 0,
            seats: Vec::new(),
            request: Vec::with_capacity(4 * 1024),
            path: String::new(),
            form: String::new(),
        }
    }

    fn fire(&mut self, now: Duration, field: &mut Field<'_>) {
        for _ in 0..FIRED_AT_ONCE {
            let Some(due) = self.span.pop(&mut self.schedule, now, field.notes) else {
                return;
            };
            self.ask(due, field);
        }
    }

    fn ask(&mut self, due: Duration, field: &mut Field<'_>) {
        let Some(seat) = self.next_seat(field) else {
            return;
        };
        if self.ring[seat].requests_left == 0 {
            self.disconnect(seat, field);
            let bot = self.span.address(self.turns);
            self.turns += 1;
            let mut person = field.ground.person(bot, self.is_http2);
            if self.shows != Shows::Nothing {
                person = person.with_browser();
            }
            if let Some(jar) = self.jars.get(bot - self.span.first_address) {
                person.take_cookies(jar);
            }
            self.ring[seat].person = Some(person);
            self.ring[seat].requests_left = self.requests_per_connection;
        }
        let Some(person) = &self.ring[seat].person else {
            return;
        };
        let key = match self.ring[seat].key {
            Some(key) => key,
            None => {
                let from = field.ground.address(person.number());
                // Cookies are read where bodies are.
                let usage = match self.shows {
                    Shows::Cookies => Use::Keep,
                    Shows::Nothing | Shows::Passes(_) => Use::Count,
                };
                let opened = if self.is_http2 {
                    field.open_http2(from, usage, person, due)
                } else {
                    field.open(from, usage, due)
                };
                match opened {
                    Some(key) => {
                        if self.seats.len() <= key.place() {
                            self.seats.resize(key.place() + 1, 0);
                        }
                        self.seats[key.place()] = seat as u32;
                        self.ring[seat].key = Some(key);
                        key
                    }
                    None => return self.has_room(seat),
                }
            }
        };
        if let (Shows::Passes(passes), Some(tokens)) = (self.shows, &field.ground.tokens)
            && let Some(person) = &mut self.ring[seat].person
        {
            let number = self.requests % u64::from(passes);
            // Each was collected from one of the addresses, which is not the one it is shown from.
            let from = field.ground.address(self.span.address(number as usize));
            person.take_cookies(&tokens.pass(number, from));
        }
        let head_only = self.write_request(seat, field.ground);
        self.ring[seat].requests_left -= 1;
        self.requests += 1;
        field.notes.note(due, |tally| tally.requests += 1);
        if let Some(stream) = field.wire.send(key, &self.request, head_only) {
            self.ring[seat].busy.push(Busy {
                since: due,
                turn: self.requests,
                stream,
            });
            self.waiting.push_back((seat as u32, self.requests));
        } else {
            field.notes.note(due, |tally| tally.refused += 1);
            self.lose(seat, field, |tally| tally.refused += 1);
        }
    }

    /// The seat that has had room longest; when none has, the one that has waited longest for an answer gives up.
    fn next_seat(&mut self, field: &mut Field<'_>) -> Option<usize> {
        while let Some(seat) = self.idle.pop_front() {
            let seat = seat as usize;
            self.ring[seat].listed -= 1;
            if self.ring[seat].is_ending() {
                // It is listed again when it has ended.
                continue;
            }
            // Answered ones at the front are of no use any more, or the list would grow with the attack.
            while let Some((old, turn)) = self.waiting.front().copied()
                && self.ring[old as usize]
                    .busy
                    .iter()
                    .all(|busy| busy.turn != turn)
            {
                self.waiting.pop_front();
            }
            return Some(seat);
        }
        while let Some((seat, turn)) = self.waiting.pop_front() {
            let seat = seat as usize;
            if self.ring[seat].busy.iter().any(|busy| busy.turn == turn) {
                self.lose(seat, field, |tally| tally.abandoned += 1);
                return self.next_seat(field);
            }
        }
        None
    }

    /// Lists a seat as often as it has room.
    fn has_room(&mut self, number: usize) {
        let seat = &mut self.ring[number];
        if seat.is_ending() {
            return;
        }
        let room = self.streams - seat.busy.len();
        self.idle
            .extend(std::iter::repeat_n(number as u32, room - seat.listed));
        seat.listed = room;
    }

    fn disconnect(&mut self, seat: usize, field: &mut Field<'_>) {
        if let Some(key) = self.ring[seat].key.take() {
            field.wire.close(key, true);
        }
    }

    /// Its connection is gone, and with it all that was under way.
    fn lose(&mut self, seat: usize, field: &mut Field<'_>, counts: fn(&mut AttackTally)) {
        for Busy { since, .. } in std::mem::take(&mut self.ring[seat].busy) {
            field.notes.note(since, counts);
        }
        self.disconnect(seat, field);
        self.has_room(seat);
    }

    fn write_request(&mut self, seat: usize, ground: &Ground) -> bool {
        let point = self.chance.unit() * self.weights.last().copied().unwrap_or_default();
        let target = self
            .weights
            .partition_point(|sum| *sum <= point)
            .min(self.targets.len() - 1);
        let target = &self.targets[target];
        self.counter += 1;
        self.path.clear();
        ground
            .fill
            .fill(&target.path, self.counter, &mut self.chance, &mut self.path);
        self.form.clear();
        if let Some(form) = &target.form {
            ground
                .fill
                .fill(form, self.counter, &mut self.chance, &mut self.form);
        }
        self.request.clear();
        let Some(person) = &self.ring[seat].person else {
            return false;
        };
        match target.method {
            Method::Get => {
                let referer = person.referer(&mut self.chance, ground.host);
                person.write_view(
                    &mut self.request,
                    ground.host,
                    &self.path,
                    referer.as_deref(),
                );
            }
            Method::Head => heads::write_head(&mut self.request, person, ground.host, &self.path),
            Method::Post => heads::write_post(
                &mut self.request,
                person,
                ground.host,
                &self.path,
                &self.form,
            ),
        }
        target.method == Method::Head
    }

    fn hear(&mut self, event: Event, field: &mut Field<'_>) {
        let (Event::Answered(key) | Event::Ended(key, _)) = event;
        let number = self.seats.get(key.place()).map_or(0, |seat| *seat as usize);
        let Some(seat) = self
            .ring
            .get_mut(number)
            .filter(|seat| seat.key == Some(key))
        else {
            return field.wire.close(key, true);
        };
        if matches!(event, Event::Ended(..)) {
            return self.lose(number, field, |tally| tally.refused += 1);
        }
        let Some(answer) = field.wire.answer(key) else {
            return;
        };
        let is_crude = seat.person.as_ref().is_some_and(Person::is_crude);
        if let Some(person) = &mut seat.person
            && let Some(jar) = person.number().checked_sub(self.span.first_address)
            && let Some(jar) = self.jars.get_mut(jar)
            && !answer.cookies.is_empty()
        {
            person.take_cookies(&answer.cookies);
            person.cookies().clone_into(jar);
        }
        let keep_alive = answer.keep_alive;
        let stream = answer.stream;
        if let Some(at) = seat.busy.iter().position(|busy| busy.stream == stream) {
            let since = seat.busy.swap_remove(at).since;
            note_answer(field.notes, since, is_crude, answer);
        }
        field.wire.forget_answer(key);
        let is_over = seat.requests_left == 0 && seat.busy.is_empty();
        if is_over || !keep_alive && seat.busy.is_empty() {
            self.disconnect(number, field);
        }
        self.has_room(number);
    }
}

fn note_answer(notes: &mut Notes, since: Duration, is_crude: bool, answer: &Answer) {
    if answer.is_reset {
        return notes.note(since, |tally| tally.refused += 1);
    }
    let (cache, is_hit) = (answer.cache, answer.is_hit);
    let fate = fate_of_refusal(answer);
    notes.cache_status_seen |= cache != CacheStatus::Silent;
    notes.note(since, |tally| {
        tally.answered += 1;
        tally.hit += u64::from(is_hit);
        tally.crude_answered += u64::from(is_crude);
        tally.crude_hit += u64::from(is_crude && is_hit);
        match (fate, cache) {
            (Some(Fate::Challenged), _) => tally.challenged += 1,
            (Some(_), _) => tally.refused += 1,
            (None, CacheStatus::Hit | CacheStatus::Collapsed) => tally.from_cache += 1,
            (None, _) => tally.forwarded += 1,
        }
    });
    if is_hit {
        let first = &mut notes.first_hit;
        *first = Some(first.map_or(since, |first| first.min(since)));
    }
}
