//! Detection while it happens: what the shards see, and what they go by.
//!
//! A request never waits for it. Each shard notes what it sees in a [`Watch`] of its own and reads the [`Stance`] that was published
//! last; the sentry, one thread for all sites, takes the seconds that are over, lets each site's engine judge them, and publishes what
//! follows. It comes by [`LOOKS_PER_S`] times a second and judges each second once, when all of it has been seen.
//!
//! With a data folder, how much is normal at each site (counts, nothing of any request) is written down every [`SAVED_S`] and when the
//! edge stops, so that whoever restarts in the middle of an attack does not take it for normal.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use saqta_detect::engine::{Engine, Incident, Scarce, Trigger};
use saqta_detect::sentence::{self, Language};
use saqta_detect::trust::{Trust, Visitor};
use saqta_detect::watch::{Glimpse, Kind, Posture, Role, Stance, Watch};
use tokio::time::Instant;

use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::ladder::code::rule_mark;
use crate::ladder::locker::{self, Locker};
use crate::saved::{Saved, file_name};
use crate::shard::{Running, Shared, SiteState};
use crate::sight::Sight;
use crate::stats::{DetectionStats, IncidentStats, PostureStats};

/// A second is judged a quarter of a second after its end at the latest.
const LOOKS_PER_S: u32 = 4;
/// Seconds that are made up for one by one when the sentry comes late; more than that were not watched.
const LATE_S_MAX: u64 = 10;
/// What a crash may cost of what is normal: a time constant of the forecast.
const SAVED_S: u32 = 300;
/// A page of numbers has 3 KB; what is longer is something else.
const NORMAL_BYTES_MAX: u64 = 16 * 1024;
/// Of the processor, the seats and the line: a fifth is left for what comes in bursts within a second.
const SCARCE_SHARE: f64 = 0.8;
/// Requests have waited for the origin for so many looks, a second, one after the other.
const WAITED_LOOKS: u32 = LOOKS_PER_S;

/// Attacks remembered of a site beside the one that goes on: whoever is woken at night asks for the last ones. All of a site's fit into
/// a twelfth of what the control socket carries, see [`RULES_SHOWN_MAX`](crate::stats::RULES_SHOWN_MAX).
const INCIDENTS_MAX: usize = 4;

/// Changes of posture remembered of a site: those of four attacks, each of which goes up and down in two steps.
const CHANGES_MAX: usize = 4 * INCIDENTS_MAX;

/// One site's.
pub(crate) struct Detection {
    stance: ArcSwap<Stance>,
    /// By shard.
    watches: Box<[Mutex<Watch>]>,
    trust: Arc<Trust>,
    /// The sentry's; others look at it for as long as it takes to copy what they show.
    engine: Mutex<Engine>,
    waits: Mutex<Waits>,
    history: Mutex<History>,
    /// Seconds count on from here whatever the wall clock does: set back by an hour, it would stop detection for one.
    began: Instant,
    began_s: u64,
}

/// What is remembered of attacks, in memory: the newest [`INCIDENTS_MAX`].
#[derive(Default)]
struct History {
    ended: VecDeque<Past>,
    /// The newest first.
    changes: VecDeque<(UnixMillis, Posture)>,
    /// When the site came under the attack that goes on.
    attacked_at: Option<UnixMillis>,
}

struct Past {
    attacked_at: UnixMillis,
    incident: Incident,
}

/// How long requests have been waiting for the origin.
#[derive(Default)]
struct Waits {
    looks: u32,
    turned_away: u64,
    /// Somebody was turned away since a second was judged last.
    no_room: bool,
}

impl Detection {
    pub(crate) fn new(shards: usize, seed: u64) -> Self {
        let engine = Engine::new(1, seed);
        Self {
            stance: ArcSwap::from(Arc::clone(engine.stance())),
            watches: (0..shards).map(|_| Mutex::new(engine.watch())).collect(),
            trust: Arc::clone(engine.trust()),
            engine: Mutex::new(engine),
            waits: Mutex::default(),
            history: Mutex::default(),
            began: Instant::now(),
            began_s: UnixMillis::now().secs(),
        }
    }

    fn now_s(&self) -> u64 {
        self.began_s + self.began.elapsed().as_secs()
    }

    pub(crate) fn stance(&self) -> Guard<Arc<Stance>> {
        self.stance.load()
    }

    /// Notes a request. `hit`: the rule that hit it.
    pub(crate) fn note<F: Fields + ?Sized>(
        &self,
        shard: usize,
        sight: &Sight<'_, F>,
        kind: Kind,
        hit: Option<u64>,
    ) {
        let now_s = self.now_s();
        let who = (sight.visitor(), kind);
        lock(&self.watches[shard]).note(now_s, who, (&self.stance(), hit), || sight.look(true));
    }

    /// What was asked for is a part of a page and there is one.
    pub(crate) fn note_part(&self, visitor: Visitor) {
        self.trust.note(self.now_s(), visitor, Role::Part, None);
    }

    pub(crate) fn stats(&self) -> DetectionStats {
        let history = lock(&self.history);
        let engine = lock(&self.engine);
        // A clock that was set has been wrong since the start, as far as anybody knows.
        let ahead_s = UnixMillis::now().secs() as i64 - self.now_s() as i64;
        let now = engine
            .incident()
            .map(|incident| IncidentStats::of(incident, history.attacked_at, ahead_s));
        let ended = history
            .ended
            .iter()
            .map(|past| IncidentStats::of(&past.incident, Some(past.attacked_at), ahead_s));
        DetectionStats {
            posture: engine.posture().name(),
            changes: history
                .changes
                .iter()
                .map(|(at, posture)| PostureStats {
                    at_ms: at.0,
                    posture: posture.name(),
                })
                .collect(),
            incidents: now.into_iter().chain(ended).collect(),
        }
    }

    /// The rule of this mark that stood within a minute from then, as a sentence, and whether it still stands. Numbers begin anew with each start, so
    /// the mark alone does not tell which rule it was.
    pub(crate) fn rule(&self, mark: u8, at: UnixMillis) -> Option<(String, bool)> {
        let history = lock(&self.history);
        let engine = lock(&self.engine);
        let ahead_s = UnixMillis::now().secs() as i64 - self.now_s() as i64;
        let wall = |second: u64| second.saturating_add_signed(ahead_s);
        let stood = |from_s: u64, until_s: Option<u64>| {
            wall(from_s) < at.secs() + 60
                && until_s.is_none_or(|until_s| wall(until_s) >= at.secs())
        };
        let ended = history.ended.iter().map(|past| &past.incident);
        let mut all = engine
            .incident()
            .into_iter()
            .chain(ended)
            .flat_map(|incident| {
                let rules = incident.signatures.iter();
                rules.map(|rule| (rule, rule.expired_s.or(incident.end_s)))
            });
        all.find(|(rule, until_s)| rule_mark(rule.id) == mark && stood(rule.generated_s, *until_s))
            .map(|(rule, until_s)| {
                let said = sentence::sentence(&rule.signature, Language::English);
                (said, until_s.is_none())
            })
    }

    /// Lets the engine learn from what was not seen here.
    pub(crate) fn teach(&self, teach: impl FnOnce(&mut Engine)) {
        let mut engine = lock(&self.engine);
        teach(&mut engine);
        self.stance.store(Arc::clone(engine.stance()));
    }

    /// Reads what was normal here before, if anybody wrote it down.
    fn recall(&self, file: &Path) {
        let is_page = |data: fs::Metadata| data.is_file() && data.len() <= NORMAL_BYTES_MAX;
        if !fs::metadata(file).is_ok_and(is_page) {
            return;
        }
        let now_s = self.now_s();
        let is_whole =
            fs::read_to_string(file).is_ok_and(|text| lock(&self.engine).recall(&text, now_s));
        if !is_whole {
            tracing::warn!(
                "{} is not what it should be; how much is normal is learned anew",
                file.display()
            );
        }
    }

    /// What is normal here, once anything has been judged.
    fn written(&self) -> Option<String> {
        let engine = lock(&self.engine);
        (engine.ticked_s() > 0).then(|| engine.written())
    }

    /// Judges the seconds that are over and that nobody has judged yet. `site`: its name.
    fn judge(&self, site: &str, edge: bool) {
        let now_s = self.now_s();
        let mut waits = lock(&self.waits);
        let scarce = Scarce {
            origin: waits.looks >= WAITED_LOOKS,
            edge,
            demand: std::mem::take(&mut waits.no_room),
        };
        drop(waits);
        let mut seen: Vec<Glimpse> = Vec::new();
        for watch in &self.watches {
            for glimpse in lock(watch).take(now_s) {
                match seen.iter_mut().find(|one| one.second == glimpse.second) {
                    Some(one) => one.merge(glimpse),
                    None => seen.push(glimpse),
                }
            }
        }
        seen.sort_unstable_by_key(|glimpse| glimpse.second);
        let mut engine = lock(&self.engine);
        // Time before the first request is no calm without requests: nobody had come yet.
        let begins = match engine.ticked_s() {
            0 => seen.first().map_or(now_s, |first| first.second),
            ticked => ticked + 1,
        };
        let mut next = begins.max(now_s.saturating_sub(LATE_S_MAX));
        let mut seen = seen.into_iter().peekable();
        let before = engine.posture();
        while next < now_s {
            while let Some(glimpse) = seen.next_if(|glimpse| glimpse.second <= next) {
                engine.absorb(glimpse);
            }
            engine.tick(next, scarce);
            next += 1;
        }
        if !Arc::ptr_eq(&self.stance.load(), engine.stance()) {
            self.stance.store(Arc::clone(engine.stance()));
        }
        let (trigger, ended) = (
            engine.incident().map(|incident| incident.trigger),
            engine.take_ended(),
        );
        let posture = engine.posture();
        drop(engine);
        if posture != before {
            say(site, (before, posture), trigger);
            let changes = &mut lock(&self.history).changes;
            changes.push_front((UnixMillis::now(), posture));
            changes.truncate(CHANGES_MAX);
        }
        let is_attacked = trigger.is_some();
        if is_attacked || !ended.is_empty() {
            self.remember(is_attacked, ended);
        }
    }

    fn remember(&self, is_attacked: bool, ended: Vec<Incident>) {
        let mut history = lock(&self.history);
        let now = UnixMillis::now();
        for incident in ended {
            let attacked_at = history.attacked_at.take().unwrap_or(now);
            history.ended.push_front(Past {
                attacked_at,
                incident,
            });
        }
        history.ended.truncate(INCIDENTS_MAX);
        if is_attacked {
            history.attacked_at.get_or_insert(now);
        }
    }

    fn look_at_queue(&self, state: &SiteState) {
        let stats = state.admission.stats();
        let (mut queued, mut turned_away) = (0, 0);
        for class in &stats.classes {
            queued += class.queued;
            turned_away += class.turned_away + class.expired;
        }
        let mut waits = lock(&self.waits);
        let no_room = turned_away > waits.turned_away;
        waits.turned_away = turned_away;
        waits.no_room |= no_room;
        waits.looks = if no_room || queued > 0 {
            waits.looks + 1
        } else {
            0
        };
    }
}

/// What an attack has in common is not said here: a rule names programs and networks, and some may be a reader's.
fn say(site: &str, (before, now): (Posture, Posture), trigger: Option<Trigger>) {
    match (before, now) {
        (_, Posture::UnderAttack) => {
            let because = trigger.map_or("more than usual", |what| {
                sentence::trigger(what, Language::English)
            });
            tracing::warn!(
                "{site} is under attack: {because}; `saqta status` says what it has in common"
            );
        }
        (Posture::UnderAttack, _) => {
            tracing::info!("{site} has not been attacked for five minutes");
        }
        (_, Posture::Guarded) => {
            tracing::info!(
                "{site} is guarded: more is asked for than usual, and nothing runs short"
            );
        }
        (_, Posture::Calm) => tracing::info!("{site} is calm again"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all sites share, as of the last look.
struct Machine {
    at: Instant,
    cpu_s: f64,
    bytes_out: u64,
}

impl Machine {
    fn now(bytes_out: u64) -> Self {
        Self {
            at: Instant::now(),
            cpu_s: cpu_seconds().unwrap_or_default(),
            bytes_out,
        }
    }

    /// Is the processor, the line or the room for connections nearly used up?
    fn is_scarce(&self, before: &Self, shared: &Shared) -> bool {
        let running = shared.running.load();
        let plan = &running.plan;
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let cpu = (self.cpu_s - before.cpu_s) / seconds;
        let bits = 8.0 * self.bytes_out.saturating_sub(before.bytes_out) as f64 / seconds;
        cpu > SCARCE_SHARE * plan.shards as f64
            || bits > SCARCE_SHARE * 1e6 * f64::from(plan.line_mbit)
            || shared.occupancy.connections() as f64
                > SCARCE_SHARE * plan.limits.connections_max as f64
    }
}

/// Of this process so far. The kernel counts it in hundredths of a second, on every Linux.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the program's name, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Where what is normal is written down, a file for each site.
pub(crate) struct Notebook {
    folder: PathBuf,
    /// Of the plan whose sites have been looked up.
    generation: Option<u64>,
}

impl Notebook {
    /// In this data folder.
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            folder: data.join("normal"),
            generation: None,
        }
    }

    fn file(&self, site: &str) -> PathBuf {
        self.folder.join(file_name(site))
    }

    /// Sites that have judged nothing yet begin with what they knew.
    fn recall(&mut self, running: &Running) {
        if self.generation.replace(running.generation) == Some(running.generation) {
            return;
        }
        for (site, state) in running.plan.sites.iter().zip(&running.sites) {
            if lock(&state.detection.engine).ticked_s() == 0 {
                state.detection.recall(&self.file(&site.name));
            }
        }
    }

    fn save(&self, running: &Running, saved: &Saved) {
        for (site, state) in running.plan.sites.iter().zip(&running.sites) {
            if let Some(text) = state.detection.written() {
                saved.write_down(self.file(&site.name), text);
            }
        }
    }
}

/// Until the sender of `ends` is gone. `bytes_out`: sent by all shards since the start.
pub(crate) fn watch(
    shared: &Shared,
    mut notebook: Option<Notebook>,
    locker: Option<&Locker>,
    bytes_out: impl Fn() -> u64,
    ends: &Receiver<()>,
) {
    let (mut before, mut looks) = (Machine::now(bytes_out()), 0_u32);
    loop {
        let running = shared.running.load_full();
        if let Some(notebook) = &mut notebook {
            notebook.recall(&running);
            if looks > 0 && looks.is_multiple_of(SAVED_S * LOOKS_PER_S) {
                notebook.save(&running, &shared.saved);
            }
        }
        if looks.is_multiple_of(LOOKS_PER_S) {
            keep(shared, locker, looks / LOOKS_PER_S);
        }
        match ends.recv_timeout(Duration::from_secs(1) / LOOKS_PER_S) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                // There is no next time: first there must be room.
                shared.saved.settle_lessons();
                if let Some(notebook) = &notebook {
                    notebook.save(&running, &shared.saved);
                }
                if let Some(locker) = locker {
                    locker.save(&shared.ladder, &shared.saved, UnixMillis::now());
                }
                return;
            }
        }
        for state in &running.sites {
            state.detection.look_at_queue(state);
        }
        looks = looks.wrapping_add(1);
        let machine = Machine::now(bytes_out());
        let edge = machine.is_scarce(&before, shared);
        if looks.is_multiple_of(LOOKS_PER_S) {
            before = machine;
        }
        for (site, state) in running.plan.sites.iter().zip(&running.sites) {
            state.detection.judge(&site.name, edge);
        }
    }
}

/// What the ladder needs after a restart. `second`: since the start.
fn keep(shared: &Shared, locker: Option<&Locker>, second: u32) {
    let (ladder, now) = (&shared.ladder, UnixMillis::now());
    match locker {
        Some(locker) => {
            locker.turn(ladder, &shared.saved, now);
            if second > 0 && second.is_multiple_of(locker::SAVED_S) {
                locker.save(ladder, &shared.saved, now);
            }
        }
        None => ladder.turn(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_counted() {
        let before = cpu_seconds().unwrap();
        let mut sum = 0_u64;
        while cpu_seconds().unwrap() <= before {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
