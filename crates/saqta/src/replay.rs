//! `saqta replay`: what would Saqta have done with this log?
//!
//! The engine that runs in the edge is fed the lines of an access log as requests. Nothing of what it learns leaves the
//! process but the answer. What a log does not tell is taken for granted, and the answer says so: from an alarm on something is
//! scarce, and a page that was answered 200 a moment ago could be answered from a copy.
//!
//! Servers write a line when a request ends, so lines are up to minutes out of order: a second is judged when the log is two
//! minutes past it. With labels the log is read a second time, to measure the rules against all lines of a label, those before the
//! rule was found included.

mod axis;
mod labels;
pub mod line;
mod report;
mod source;
mod tell;
mod timeline;
mod unread;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use saqta_detect::engine::{Engine, Incident, Kind, Role, Scarce, Standing};
use saqta_detect::look::{Head, Look, is_guessed_at};
use saqta_detect::shape::ShapeBook;
use saqta_edge::registry::Registry;
use saqta_edge::whole;
use tokio::time::Instant;

use self::labels::{Class, Label, Met};
use self::line::{Line, Splitter};
use self::source::Junk;
use self::timeline::TimeLine;
use self::unread::Unread;
use crate::cli::{self, Failure};

/// How far a log may be out of order.
const ORDER_S: u64 = 120;
/// So many lines in a row that are ahead of all before them are a log that goes on after a pause. Fewer that the next falls behind had a wrong
/// clock. 2 MB at the most.
const LEAPS_MAX: usize = 16;
/// Lines that wait for their second to be over. A log of 10,000 lines a second is judged after twenty seconds instead of two minutes.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// By so many first lines it is told when a log begins.
const FIRST_LINES: usize = 32;
/// Fewer lines than this before a pause of half an hour say nothing of what is normal: an end of an older log, a clock that was wrong.
const FEW: usize = 100;
const PAUSE_S: u64 = 1_800;
/// A page that was answered 200 could be answered from a copy for so long: what the profiles say of pages that do not say.
const COPY_S: u64 = 600;
/// Addresses of such pages, 1 MB. One that is forgotten is asked for again.
const COPIES: usize = 1 << 16;
/// Logs show whole seconds.
const BUCKET_S: u64 = 1;
const COUNTS_BUCKET_S: u64 = 60;
/// Far above any flood that has been told of: hundreds of millions of requests a second.
const COUNT_MAX: u64 = 10_000_000_000_000;
/// The year 2100, and a number larger than this is no time.
const COUNTED_UNTIL_S: u64 = 4_102_444_800;
const SEED: u64 = 1;
/// A log does not tell what ran short. Copies are free: a machine that sends them on would be seen to, and what is refused then hits whoever
/// reads what everybody reads.
const TAKEN_FOR_GRANTED: Scarce = Scarce {
    origin: true,
    ..Scarce::NOTHING
};

/// What is asked.
#[derive(Debug)]
pub(crate) struct Replay {
    pub logs: Vec<PathBuf>,
    pub labels: Option<PathBuf>,
    pub json: bool,
    pub explain: bool,
    pub report: Option<PathBuf>,
    /// Whose network an address is in.
    pub registry: Registry,
}

/// What came of it.
#[derive(Debug)]
struct Told {
    lines: u64,
    parsed: u64,
    junk: Junk,
    /// More than two minutes behind; judged with the oldest second still open.
    late: u64,
    /// More than two minutes ahead of the line after; judged with the newest second.
    ahead: u64,
    seconds: f64,
    incidents: Vec<Incident>,
    /// Of a log of counts: minutes, and those that were guarded.
    minutes: Option<(u64, u64)>,
    labels: Vec<Measured>,
    benign: Option<Benign>,
    time_line: TimeLine,
    /// First and last time that the log shows, where there are labels.
    clock: Option<(i64, i64)>,
    /// Why all of this is no answer.
    unread: Option<Unread>,
}

impl Told {
    /// One line in a hundred is not where it belongs.
    fn is_out_of_order(&self) -> bool {
        (self.late + self.ahead) * 100 > self.parsed
    }
}

/// A label and how the rules did.
#[derive(Debug)]
struct Measured {
    label: Label,
    lines: u64,
    first_s: u64,
    last_s: u64,
    /// Of the first rule that stood while its lines came and hits half of them or more.
    found: Option<Found>,
    /// Hit by any rule that stood at some time of the label's.
    hit: u64,
    met: Met,
}

#[derive(Debug)]
struct Found {
    generated_s: u64,
    /// Lines from then on, and those of them that a standing rule hits.
    after: u64,
    after_hit: u64,
}

/// What of a label a rule hits, and what came once it was found.
#[derive(Debug, Clone, Copy, Default)]
struct ByRule {
    hits: u64,
    after: u64,
    after_hit: u64,
}

#[derive(Debug, Default)]
struct Benign {
    lines: u64,
    challenged: u64,
}

/// Reads, judges, tells.
pub(crate) fn run(what: &Replay) -> Result<(), Failure> {
    let piped = what.logs.iter().filter(|log| source::is_piped(log)).count();
    if piped > 1 || piped > 0 && what.labels.is_some() {
        return Err(Unread::OnlyOnce.into());
    }
    let labels = match &what.labels {
        Some(file) => labels::read(file)?,
        None => Vec::new(),
    };
    let logs = in_order(&what.logs)?;
    let mut told = judge(what, &logs, labels)?;
    told.unread = unread::unread(&told.junk.files, told.parsed);
    // Programs that read JSON get it whatever happens.
    if told.unread.is_none() || what.json {
        answer(what, &told)?;
    }
    match told.unread {
        Some(unread) => Err(unread.into()),
        None => Ok(()),
    }
}

fn answer(what: &Replay, told: &Told) -> anyhow::Result<()> {
    if let Some(folder) = what.report.as_ref().filter(|_| told.unread.is_none()) {
        let file = folder.join("replay.html");
        write_report(folder, &file, &report::html(told))
            .with_context(|| file.display().to_string())?;
        cli::tell(&format!("report: {}", file.display()));
    }
    let out = if what.json {
        tell::json(told)
    } else {
        tell::text(told, what.explain)
    };
    match writeln!(io::stdout().lock(), "{}", out.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}

/// For its owner alone: what a rule names is somebody's network or program, and may be a reader's.
fn write_report(folder: &Path, file: &Path, page: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // In the place of what is there, whoever may read that and wherever it leads.
    whole::write(file, |open| open.write_all(page.as_bytes()))
}

/// By the time each begins with: `access.log*` names the newest first. As they were given, where one does not say.
fn in_order(logs: &[PathBuf]) -> Result<Vec<PathBuf>, Unread> {
    if let [only] = logs {
        return Ok(vec![only.clone()]);
    }
    let mut began = Vec::new();
    for (at, log) in logs.iter().enumerate() {
        if logs[..at].contains(log) {
            return Err(Unread::Twice { file: log.clone() });
        }
        // What cannot be opened is said when it is read, and what comes through a pipe (`<(zcat log.gz)`) can be read once.
        if std::fs::metadata(log).is_ok_and(|data| data.is_file())
            && let Ok(start) = source::start(log).as_deref()
            && let Some(began_s) = began_s(start)
        {
            began.push((began_s, log.clone()));
        }
    }
    if began.len() < logs.len() {
        return Ok(logs.to_vec());
    }
    began.sort_by_key(|(began_s, _)| *began_s);
    Ok(began.into_iter().map(|(_, log)| log).collect())
}

/// Of the first lines that say when: the one in the middle, for a clock may have been wrong.
fn began_s(start: &[u8]) -> Option<u64> {
    let mut splitter = Splitter::default();
    let mut times: Vec<u64> = start
        .split(|byte| *byte == b'\n')
        .filter_map(|bytes| {
            entry(bytes, &mut splitter, |entry| match entry {
                Entry::Line(line, _) => Some(line.at_s),
                Entry::Counted(second, _) => Some(second),
                Entry::Junk => None,
            })
        })
        .take(FIRST_LINES)
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn judge(what: &Replay, logs: &[PathBuf], labels: Vec<Label>) -> anyhow::Result<Told> {
    let began = Instant::now();
    let mut told = Told {
        lines: 0,
        parsed: 0,
        junk: Junk::default(),
        late: 0,
        ahead: 0,
        seconds: 0.0,
        incidents: Vec::new(),
        minutes: None,
        labels: Vec::new(),
        benign: None,
        time_line: TimeLine::default(),
        clock: None,
        unread: None,
    };
    let mut site = Site::new(what.registry.clone());
    let mut counts = Counts::default();
    each_line(logs, "reading", &mut told.junk, &mut |entry| {
        told.lines += 1;
        match entry {
            Entry::Counted(second, requests) => {
                told.parsed += 1;
                counts.minute(second, requests);
                site.time_line.add(second, requests, 0);
                Ok(())
            }
            Entry::Line(line, text) => {
                told.parsed += 1;
                site.pending.take(line, text);
                site.judge_ready();
                Ok(())
            }
            Entry::Junk => Err("no line of an access log"),
        }
    })?;
    site.judge_rest();
    told.late = site.pending.late;
    told.ahead = site.pending.ahead;
    told.incidents = site.incidents;
    told.time_line = site.time_line;
    told.minutes = (counts.minutes > 0).then_some((counts.minutes, counts.guarded));
    if !labels.is_empty() {
        measure((logs, &what.registry), labels, &mut told)?;
    }
    told.seconds = began.elapsed().as_secs_f64();
    Ok(told)
}

/// What a line of a file is.
enum Entry<'a> {
    Line(Line, &'a [u8]),
    /// `period,count`.
    Counted(u64, u64),
    Junk,
}

fn each_line(
    logs: &[PathBuf],
    doing: &str,
    junk: &mut Junk,
    each: &mut dyn FnMut(Entry<'_>) -> Result<(), &'static str>,
) -> anyhow::Result<()> {
    let sizes = |log: &PathBuf| std::fs::metadata(log).map_or(0, |data| data.len());
    let mut progress = Progress::new(doing, logs.iter().map(sizes).sum());
    let mut splitter = Splitter::default();
    for log in logs {
        let read = Arc::clone(&progress.read);
        source::lines(log, &read, junk, |bytes, number, junk| {
            if number % 4_096 == 0 {
                progress.show();
            }
            if number == 1 && bytes.starts_with(b"period,") {
                return;
            }
            if let Err(what) = entry(bytes, &mut splitter, &mut *each) {
                junk.note(log, number, what);
            }
        })?;
    }
    progress.end();
    Ok(())
}

/// What a line is, for `tell`.
fn entry<T>(bytes: &[u8], splitter: &mut Splitter, tell: impl FnOnce(Entry<'_>) -> T) -> T {
    let rewritten = (bytes.first() == Some(&b'{')).then(|| line::combined_of_json(bytes));
    let text = match &rewritten {
        Some(Some(text)) => text,
        _ => bytes,
    };
    match splitter.split(text) {
        Some(line) => tell(Entry::Line(line, text)),
        None => tell(match counted(bytes) {
            Some((second, requests)) => Entry::Counted(second, requests),
            None => Entry::Junk,
        }),
    }
}

/// `2016-02-24 13:12,4711`, or seconds since 1970, or a number of minutes.
fn counted(line: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(line).ok()?;
    let (period, count) = text.split_once(',')?;
    let count: u64 = count.trim().parse().ok()?;
    // A table of something else: nobody was asked so much in a minute.
    if count > COUNT_MAX {
        return None;
    }
    let period = period.trim();
    if let Ok(number) = period.parse::<u64>() {
        // Nobody counts the minutes of the first years of the epoch in seconds.
        let is_seconds = number > 100_000_000;
        let second = if is_seconds { number } else { number * 60 };
        return (second < COUNTED_UNTIL_S).then_some((second, count));
    }
    // What counts days is another table.
    let time = period.trim_end_matches('Z');
    let time: jiff::civil::DateTime = time.contains(':').then(|| time.parse().ok())??;
    let since = time.duration_since(jiff::civil::datetime(1970, 1, 1, 0, 0, 0, 0));
    Some((u64::try_from(since.as_secs()).ok()?, count))
}

/// The engine, the lines it waits for, and what a cache would hold.
struct Site {
    engine: Engine,
    shapes: ShapeBook,
    registry: Registry,
    pending: Pending,
    copies: Vec<(u32, u32)>,
    judged_s: u64,
    incidents: Vec<Incident>,
    time_line: TimeLine,
    /// Up to [`FEW`].
    judged: usize,
}

impl Site {
    fn new(registry: Registry) -> Self {
        Self {
            engine: Engine::for_log(BUCKET_S, SEED),
            shapes: ShapeBook::default(),
            registry,
            pending: Pending::default(),
            copies: vec![(0, 0); COPIES],
            judged_s: 0,
            incidents: Vec::new(),
            time_line: TimeLine::default(),
            judged: 0,
        }
    }

    fn judge_ready(&mut self) {
        while let Some(slot) = self.pending.pop_ready() {
            self.judge(&slot);
            self.pending.reuse(slot);
        }
    }

    fn judge_rest(&mut self) {
        self.pending.believe_leaps();
        while let Some(slot) = self.pending.pop() {
            self.judge(&slot);
        }
        self.skip_to(self.judged_s + 2_000);
        self.engine.finish(self.judged_s);
        self.incidents.append(&mut self.engine.take_ended());
    }

    /// Seconds without requests matter only while something is the matter.
    fn skip_to(&mut self, second: u64) {
        while !self.engine.is_idle() && self.judged_s + 1 < second {
            self.judged_s += 1;
            self.engine.tick(self.judged_s, TAKEN_FOR_GRANTED);
        }
        self.judged_s = second.max(self.judged_s);
        self.incidents.append(&mut self.engine.take_ended());
    }

    fn judge(&mut self, slot: &Slot) {
        if slot.lines.is_empty() {
            return;
        }
        if self.judged < FEW && slot.second > self.judged_s + PAUSE_S {
            self.engine = Engine::for_log(BUCKET_S, SEED);
            self.judged = 0;
        }
        self.judged = (self.judged + slot.lines.len()).min(FEW);
        self.skip_to(slot.second);
        let mut hits = 0;
        for (from, line) in &slot.lines {
            let text = &slot.bytes[*from..];
            let look = look(line, text, &self.shapes, &self.registry);
            let kind = Kind {
                needs_origin: self.needs_origin(slot.second, line, text, &look),
                is_sensitive: is_sensitive(&look),
                role: match (look.shape.is_part_of_a_page(), line.status) {
                    (false, _) => Role::Page,
                    (true, 200 | 304) => Role::Part,
                    (true, _) => Role::Unknown,
                },
                known: None,
            };
            hits += u64::from(self.engine.observe(slot.second, &look, kind));
        }
        self.time_line
            .add(slot.second, slot.lines.len() as u64, hits);
        self.engine.tick(slot.second, TAKEN_FOR_GRANTED);
    }

    fn needs_origin(&mut self, second: u64, line: &Line, text: &[u8], look: &Look<'_>) -> bool {
        if !matches!(&text[line.method.clone()], b"GET" | b"HEAD") {
            return true;
        }
        let mut hasher = foldhash::quality::FixedState::with_seed(2).build_hasher();
        // What a stranger or an advertiser adds to an address chooses no page.
        hasher.write(match look.shape.has_only_unknown_parameters() {
            true => look.path(),
            false => look.target,
        });
        let hash = hasher.finish();
        let (name, until) = &mut self.copies[hash as usize % COPIES];
        let (asked, now) = ((hash >> 32) as u32, second as u32);
        let needs = !(*name == asked && now < *until);
        if needs && matches!(line.status, 200 | 301 | 304) {
            (*name, *until) = (asked, now.saturating_add(COPY_S as u32));
        }
        needs
    }
}

/// And what the site has is learned from its answer.
fn look<'a>(line: &Line, text: &'a [u8], shapes: &ShapeBook, registry: &Registry) -> Look<'a> {
    let target = &text[line.target.clone()];
    Look {
        method: &text[line.method.clone()],
        target,
        shape: shapes.shape_of_answered(target, line.status),
        version: line.version,
        agent: line.agent.field(text),
        referer: line.referer.field(text),
        head: Head::default(),
        source: line.source,
        asn: registry.asn(line.source),
        country: registry.country(line.source),
    }
}

fn is_sensitive(look: &Look<'_>) -> bool {
    look.method == b"POST" && is_guessed_at(look.target)
}

/// Lines whose second is not over yet.
#[derive(Default)]
struct Pending {
    slots: VecDeque<Slot>,
    spare: Vec<Slot>,
    newest_s: u64,
    late: u64,
    /// Of all slots.
    bytes: usize,
    /// Seconds up to this one have left.
    judged_s: u64,
    /// Lines that leap ahead of all before them wait for those after to bear them out: a wrong clock would make all that follow late.
    leaps: Vec<(Line, Vec<u8>)>,
    ahead: u64,
}

#[derive(Default)]
struct Slot {
    second: u64,
    bytes: Vec<u8>,
    lines: Vec<(usize, Line)>,
}

impl Pending {
    fn take(&mut self, line: Line, text: &[u8]) {
        let borne_out = line.at_s.saturating_add(ORDER_S);
        while let Some((mut leap, text)) = self.leaps.pop_if(|(leap, _)| leap.at_s > borne_out) {
            // It came after all that are believed, and before this one.
            leap.at_s = match self.newest_s {
                0 => line.at_s,
                newest_s => newest_s,
            };
            self.ahead += 1;
            self.push(leap, &text);
        }
        if line.at_s > self.newest_s.saturating_add(ORDER_S) {
            self.leaps.push((line, text.to_vec()));
            if self.leaps.len() > LEAPS_MAX {
                self.believe_leaps();
            }
        } else {
            self.push(line, text);
        }
    }

    fn believe_leaps(&mut self) {
        for (line, text) in std::mem::take(&mut self.leaps) {
            self.push(line, &text);
        }
    }

    fn push(&mut self, line: Line, text: &[u8]) {
        self.newest_s = self.newest_s.max(line.at_s);
        // What is judged is judged.
        let oldest = self
            .newest_s
            .saturating_sub(ORDER_S)
            .max(self.judged_s.saturating_add(1));
        self.late += u64::from(line.at_s < oldest);
        let second = line.at_s.max(oldest);
        let place = self.slots.partition_point(|slot| slot.second < second);
        if self
            .slots
            .get(place)
            .is_none_or(|slot| slot.second != second)
        {
            let mut slot = self.spare.pop().unwrap_or_default();
            slot.second = second;
            self.slots.insert(place, slot);
        }
        let slot = &mut self.slots[place];
        self.bytes += size_of::<(usize, Line)>() + text.len();
        slot.lines.push((slot.bytes.len(), line));
        slot.bytes.extend_from_slice(text);
    }

    fn pop_ready(&mut self) -> Option<Slot> {
        let is_ready = self
            .slots
            .front()
            .is_some_and(|slot| slot.second + ORDER_S < self.newest_s);
        let is_full = self.bytes > WAITING_BYTES_MAX && self.slots.len() > 1;
        if is_ready || is_full {
            self.pop()
        } else {
            None
        }
    }

    fn pop(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.lines.len() * size_of::<(usize, Line)>() + slot.bytes.len();
        self.judged_s = slot.second;
        Some(slot)
    }

    fn reuse(&mut self, mut slot: Slot) {
        slot.bytes.clear();
        slot.lines.clear();
        self.spare.push(slot);
    }
}

/// A log of counts a minute: load and nothing else. No capacity is known, so nothing is scarce.
struct Counts {
    engine: Engine,
    minutes: u64,
    guarded: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            engine: Engine::new(COUNTS_BUCKET_S, SEED),
            minutes: 0,
            guarded: 0,
        }
    }
}

impl Counts {
    fn minute(&mut self, second: u64, requests: u64) {
        self.engine.counted(second, requests);
        let posture = self.engine.tick(second, Scarce::NOTHING);
        self.minutes += 1;
        self.guarded += u64::from(posture != saqta_detect::engine::Posture::Calm);
    }
}

/// Reads again and holds each line against the labels and the rules.
fn measure(
    (logs, registry): (&[PathBuf], &Registry),
    labels: Vec<Label>,
    told: &mut Told,
) -> anyhow::Result<()> {
    let rules: Vec<&Standing> = told
        .incidents
        .iter()
        .flat_map(|incident| &incident.signatures)
        .collect();
    let mut measured: Vec<(Measured, Vec<ByRule>)> = labels
        .into_iter()
        .map(|label| {
            let measured = Measured {
                label,
                lines: 0,
                first_s: u64::MAX,
                last_s: 0,
                found: None,
                hit: 0,
                met: Met::default(),
            };
            (measured, vec![ByRule::default(); rules.len()])
        })
        .collect();
    let mut benign = Benign::default();
    let mut clock: Option<(i64, i64)> = None;
    let shapes = ShapeBook::default();
    each_line(logs, "measuring", &mut Junk::default(), &mut |entry| {
        let Entry::Line(line, text) = entry else {
            return Ok(());
        };
        let look = look(&line, text, &shapes, registry);
        let hits: Vec<usize> = (0..rules.len())
            .filter(|rule| rules[*rule].signature.hits(&look))
            .collect();
        let stood = hits.iter().any(|rule| {
            let rule = rules[*rule];
            rule.generated_s <= line.at_s
                && rule.expired_s.is_none_or(|expired| line.at_s < expired)
        });
        let (first, last) = clock.unwrap_or((line.local_s, line.local_s));
        clock = Some((first.min(line.local_s), last.max(line.local_s)));
        let mut is_benign = true;
        for (measured, by_rule) in &mut measured {
            if !measured.label.holds(&line, text, &mut measured.met) {
                continue;
            }
            is_benign &= measured.label.class == Class::Trap;
            measured.lines += 1;
            measured.first_s = measured.first_s.min(line.at_s);
            measured.last_s = measured.last_s.max(line.at_s);
            measured.hit += u64::from(hits.iter().any(|rule| {
                let rule = rules[*rule];
                measured
                    .label
                    .overlaps(&line, rule.generated_s, rule.expired_s)
            }));
            for rule in &hits {
                by_rule[*rule].hits += 1;
            }
            for (rule, of) in rules.iter().zip(by_rule) {
                if rule.generated_s <= line.at_s {
                    of.after += 1;
                    of.after_hit += u64::from(stood);
                }
            }
        }
        benign.lines += u64::from(is_benign);
        benign.challenged += u64::from(is_benign && stood);
        Ok(())
    })?;
    for (measured, by_rule) in &mut measured {
        let first = by_rule
            .iter()
            .zip(&rules)
            .filter(|(of, _)| of.hits > 0 && of.hits * 2 >= measured.lines)
            .filter(|(_, rule)| {
                rule.generated_s <= measured.last_s
                    && rule
                        .expired_s
                        .is_none_or(|expired| expired > measured.first_s)
            })
            .min_by_key(|(_, rule)| rule.generated_s);
        measured.found = first.map(|(of, rule)| Found {
            generated_s: rule.generated_s,
            after: of.after,
            after_hit: of.after_hit,
        });
    }
    told.labels = measured.into_iter().map(|(measured, _)| measured).collect();
    told.benign = Some(benign);
    told.clock = clock;
    Ok(())
}

/// How far the reading is, for whoever looks.
struct Progress {
    doing: String,
    read: Arc<AtomicU64>,
    all: u64,
    shown: Option<u64>,
    is_seen: bool,
}

impl Progress {
    fn new(doing: &str, all: u64) -> Self {
        Self {
            doing: doing.to_owned(),
            read: Arc::default(),
            all,
            shown: None,
            is_seen: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self) {
        let part = self.read.load(Ordering::Relaxed) * 100 / self.all.max(1);
        if self.is_seen && self.shown != Some(part) {
            self.shown = Some(part);
            _ = write!(io::stderr(), "\r{} {:>3} %", self.doing, part.min(100));
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            _ = write!(io::stderr(), "\r{:20}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(at_s: u64) -> Line {
        let text = format!("203.0.113.7 - - [@{at_s}] \"GET / HTTP/1.1\" 200 5");
        Splitter::default().split(text.as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn lines_leave_once_each_and_in_the_order_of_their_seconds(
            steps in proptest::collection::vec(0..400_u64, 1..200),
        ) {
            let mut pending = Pending::default();
            let mut left = Vec::new();
            let mut now = 1_000;
            for step in &steps {
                // Forward by up to 200 seconds, or back by as many.
                now = (now + step).saturating_sub(200).max(1);
                pending.take(line(now), b"x");
                while let Some(slot) = pending.pop_ready() {
                    left.push((slot.second, slot.lines.len()));
                }
            }
            pending.believe_leaps();
            while let Some(slot) = pending.pop() {
                left.push((slot.second, slot.lines.len()));
            }
            prop_assert!(left.windows(2).all(|pair| pair[0].0 < pair[1].0), "{left:?}");
            prop_assert_eq!(left.iter().map(|(_, lines)| lines).sum::<usize>(), steps.len());
            prop_assert_eq!(pending.bytes, 0);
        }
    }
}
