//! Who won: the books of readers, attackers, origin and edge, put together.
//!
//! Everybody writes down what they saw themselves, and nobody else's word is taken for it: whether a reader was served is known
//! to the reader, how busy the origin was to the origin, what the edge burned to the kernel. What nobody can see is `null`, not
//! zero: a server that does not say where an answer came from gets no credit and no blame for it.
//!
//! A share is a measurement; the lower end of its Wilson interval at 95 % is what can be claimed, from ten thousand requests on.
//! Percentiles count from when a request was due, and one that was not served weighs as ten seconds: refusing the slow ones
//! makes nothing faster.

use std::time::Duration;

use serde::Serialize;

use crate::load::{AttackBook, AttackTally, Books, GroupBook, Tally, mixed_names};
use crate::scenario::{AttackShape, Figure, Measure, Phases, Scenario};

/// Below this a share is shown, and not claimed.
pub const CLAIM_REQUESTS_MIN: u64 = 10_000;
/// Of what the attack was to send.
const OFFERED_SHARE_MIN: f64 = 0.95;
/// Detection has a forecast after ten seconds and ordinary requests to compare with after ten more, or at the onset.
const LEARNED_IN: Duration = Duration::from_secs(15);
/// Readers' requests sent later than this measure the generator, not the server.
const SEND_LAG_MS_MAX: f64 = 50.0;

/// What everybody wrote down.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    pub scenario: &'a Scenario,
    pub grade: &'a str,
    pub dialect: &'a str,
    pub readers: &'a Books,
    /// `None`: there were no attackers, or they never reported.
    pub attackers: Option<&'a Books>,
    pub origin: OriginBook,
    pub edge: Option<EdgeBook>,
    /// Leave out what means something only on a machine that does nothing else.
    pub untimed: bool,
}

/// What the origin wrote down, and when, in seconds since the drill's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OriginBook {
    pub capacity: u64,
    pub lines: Vec<OriginLine>,
}

/// Sums count from the origin's start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OriginLine {
    pub at_s: f64,
    /// Since the line before.
    pub peak_in_flight: u64,
    pub over_capacity_ms: u64,
    pub requests: u64,
    pub errors: u64,
}

impl OriginBook {
    /// The last line written by then.
    fn by(&self, at: Duration) -> OriginLine {
        let at = at.as_secs_f64();
        self.lines
            .iter()
            .take_while(|line| line.at_s <= at)
            .last()
            .copied()
            .unwrap_or_default()
    }

    fn last(&self) -> OriginLine {
        self.lines.last().copied().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct EdgeBook {
    pub cpu_seconds: f64,
    pub rss_peak_bytes: u64,
    /// Of its data folder, when the drill is over.
    pub disk_bytes: u64,
    /// CPU seconds used by each second of the drill.
    pub cpu_by_second: Vec<f64>,
    pub found: Found,
}

/// What its detection says when the drill is over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// When it first took the newsroom to be under attack, since the drill's start.
    pub attacked_s: Option<f64>,
    /// By what it knew that.
    pub because: Option<String>,
    /// Why there was a rule then, or none.
    pub verdict: Option<String>,
    /// What it became, each from so many seconds after the drill's start on.
    pub postures: Vec<(f64, String)>,
    /// In English.
    pub signatures: Vec<String>,
    /// Places at the origin that were had by passes, from its start on.
    pub on_passes: Option<u64>,
}

/// How a drill ended. Serialised, it is what `drill --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub scenario: String,
    pub grade: String,
    pub dialect: String,
    pub seconds: f64,
    pub offered: bool,
    pub offered_per_s: f64,
    pub readers: ReadersResult,
    pub groups: Vec<GroupResult>,
    pub attack: AttackResult,
    pub origin: OriginResult,
    pub detection: DetectionResult,
    pub edge: EdgeResult,
    pub expectations: Vec<ExpectationResult>,
    pub ok: bool,
    #[serde(skip)]
    pub timeline: Timeline,
    /// What the generators took of the machine: readers', attackers'.
    #[serde(skip)]
    pub load_cpu_seconds: [f64; 2],
    /// Why the load was not offered; empty when it was.
    #[serde(skip)]
    pub not_offered: Vec<String>,
    #[serde(skip)]
    pub says: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct ReadersResult {
    pub requests: u64,
    pub served: u64,
    pub served_share: Option<f64>,
    pub served_share_lower: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub challenged: u64,
    pub refused: u64,
    pub failed: u64,
    pub hit_share: Option<f64>,
    pub hit_share_upper: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GroupResult {
    pub name: String,
    pub requests: u64,
    pub served: u64,
    pub served_share: Option<f64>,
    pub served_share_lower: Option<f64>,
    pub p99_ms: Option<f64>,
    pub challenged: u64,
    pub refused: u64,
    /// Of its requests from onset on, those that a rule hit; the upper end of the 95 % Wilson interval. `null`: nobody says.
    pub hit_share: Option<f64>,
    pub hit_share_upper: Option<f64>,
}

impl From<&ReadersResult> for GroupResult {
    fn from(readers: &ReadersResult) -> Self {
        Self {
            name: "readers".to_owned(),
            requests: readers.requests,
            served: readers.served,
            served_share: readers.served_share,
            served_share_lower: readers.served_share_lower,
            p99_ms: readers.p99_ms,
            challenged: readers.challenged,
            refused: readers.refused,
            hit_share: readers.hit_share,
            hit_share_upper: readers.hit_share_upper,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct AttackResult {
    pub requests: u64,
    pub addresses: u64,
    pub from_cache: Option<u64>,
    pub challenged: u64,
    pub refused: u64,
    pub reached_origin: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct OriginResult {
    pub capacity: u64,
    pub peak_in_flight: u64,
    pub over_capacity_ms: u64,
    pub requests: u64,
    pub errors: u64,
}

/// What the shield found out about the attack; `null` as long as it does not say.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DetectionResult {
    pub baseline: Option<String>,
    /// The newsroom is calm until the first.
    pub postures: Vec<PostureResult>,
    pub because: Option<String>,
    pub verdict: Option<String>,
    pub onset_to_attack_ms: Option<f64>,
    pub onset_to_signature_ms: Option<f64>,
    /// Of the attack's requests since the first rule stood, those that a rule hit; of the crude ones where there are any.
    pub coverage: Option<f64>,
    /// The same of the crude ones, and of those that are as a reader's in everything.
    pub crude_hit_share: Option<f64>,
    pub alike_hit_share: Option<f64>,
    pub collateral_share: Option<f64>,
    pub collateral_upper: Option<f64>,
    pub signatures: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PostureResult {
    /// From then on; below zero before the attack.
    pub after_onset_ms: f64,
    pub posture: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct EdgeResult {
    pub cpu_seconds: Option<f64>,
    pub rss_peak_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    /// What all clients together received.
    pub bytes_out: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ExpectationResult {
    pub name: &'static str,
    pub ok: bool,
    pub value: Option<f64>,
    pub bound: f64,
}

/// What the charts are drawn from: one entry a second.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    pub onset_s: f64,
    pub attack_end_s: f64,
    pub attack: Vec<AttackTally>,
    pub readers: Vec<Tally>,
    /// At so many seconds, the most requests in flight since the entry before.
    pub origin_in_flight: Vec<(f64, u64)>,
    pub edge_cpu: Vec<f64>,
}

impl Outcome {
    /// 0: all expectations hold. 1: one does not. 3: the load could not be offered, so nothing was shown.
    pub fn exit_code(&self) -> u8 {
        match (self.offered, self.ok) {
            (false, _) => 3,
            (true, true) => 0,
            (true, false) => 1,
        }
    }
}

/// The lower end of the 95 % Wilson score interval of a share.
pub fn wilson_lower(successes: u64, trials: u64) -> Option<f64> {
    if trials == 0 {
        return None;
    }
    // The normal distribution's 97.5 % quantile.
    const Z: f64 = 1.959_963_984_540_054;
    let (n, share) = (trials as f64, successes.min(trials) as f64 / trials as f64);
    let z2 = Z * Z;
    let centre = share + z2 / (2.0 * n);
    let margin = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((centre - margin) / (1.0 + z2 / n)).max(0.0))
}

/// The upper end of the same.
pub fn wilson_upper(successes: u64, trials: u64) -> Option<f64> {
    wilson_lower(trials - successes.min(trials), trials).map(|lower| 1.0 - lower)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Puts the books together.
pub fn judge(evidence: &Evidence<'_>) -> Outcome {
    let scenario = evidence.scenario;
    let phases = scenario.phases;
    let attack_book = attack_book(evidence);
    let mut attack = AttackTally::default();
    for second in attack_book.iter().flat_map(|book| &book.seconds) {
        attack.add(second);
    }
    let none = GroupBook::default();
    let reading = group(evidence.readers, "readers").unwrap_or(&none);
    let not_offered = not_offered(evidence, &attack, reading);
    let offered = not_offered.is_empty();
    let offered_per_s = if scenario.attacks.is_empty() {
        reading.attack.requests as f64 / phases.attack.as_secs_f64()
    } else {
        attack.requests as f64 / attacked_seconds(scenario)
    };
    let origin = origin_result(&evidence.origin, phases);
    let cache_status_seen = attack_book.is_some_and(|book| book.cache_status_seen);
    let reached = reached_origin(evidence).min(attack.requests);
    let detection = detection_result(evidence);
    let measures = Measures {
        readers: evidence.readers,
        detection: &detection,
        over_capacity_ms: origin.over_capacity_ms,
        edge: evidence.edge.as_ref(),
    };
    let expectations = expectations(evidence, &measures);
    let attackers_bytes_in = evidence.attackers.map_or(0, |books| books.bytes_in);
    Outcome {
        scenario: scenario.name.clone(),
        grade: evidence.grade.to_owned(),
        dialect: evidence.dialect.to_owned(),
        seconds: phases.total().as_secs_f64(),
        offered,
        offered_per_s: (offered_per_s * 10.0).round() / 10.0,
        readers: readers_result(reading, evidence.edge.is_some()),
        groups: evidence
            .readers
            .groups
            .iter()
            .filter(|group| group.name != "readers")
            .map(|group| group_result(group, evidence.edge.is_some()))
            .collect(),
        attack: AttackResult {
            requests: attack.requests,
            addresses: attack_book.map_or(0, |book| book.addresses),
            from_cache: cache_status_seen.then_some(attack.from_cache),
            challenged: attack.challenged,
            refused: attack.refused,
            reached_origin: cache_status_seen.then_some(reached),
        },
        origin,
        detection,
        edge: EdgeResult {
            cpu_seconds: evidence.edge.as_ref().map(|edge| edge.cpu_seconds),
            rss_peak_bytes: evidence.edge.as_ref().map(|edge| edge.rss_peak_bytes),
            disk_bytes: evidence.edge.as_ref().map(|edge| edge.disk_bytes),
            bytes_out: Some(evidence.readers.bytes_in + attackers_bytes_in),
        },
        ok: offered && expectations.iter().all(|expectation| expectation.ok),
        expectations,
        timeline: timeline(evidence, reading),
        load_cpu_seconds: [
            evidence.readers.cpu_seconds,
            evidence.attackers.map_or(0.0, |books| books.cpu_seconds),
        ],
        not_offered,
        says: scenario.says.clone(),
    }
}

fn attack_book<'a>(evidence: &Evidence<'a>) -> Option<&'a AttackBook> {
    evidence.attackers?.attack.as_ref()
}

/// Each reason why the drill shows nothing.
fn not_offered(evidence: &Evidence<'_>, attack: &AttackTally, reading: &GroupBook) -> Vec<String> {
    let attacked = !evidence.scenario.attacks.is_empty();
    let book = attack_book(evidence);
    let due = book.map_or(0, |book| book.due);
    let lag_ms = evidence.readers.send_lag_p99_ms;
    let reasons = [
        (
            attacked && book.is_none(),
            "the attackers never reported".to_owned(),
        ),
        (
            attacked && (attack.requests as f64) < OFFERED_SHARE_MIN * due as f64,
            format!(
                "{} of {} attack requests were sent",
                thousands(attack.requests),
                thousands(due)
            ),
        ),
        (
            lag_ms > SEND_LAG_MS_MAX,
            format!("readers' requests were sent up to {lag_ms:.0} ms late"),
        ),
        (
            reading.attack.requests == 0,
            "no reader asked for anything during the attack".to_owned(),
        ),
    ];
    reasons
        .into_iter()
        .filter_map(|(holds, why)| holds.then_some(why))
        .collect()
}

fn origin_result(origin: &OriginBook, phases: Phases) -> OriginResult {
    let (onset, end) = (origin.by(phases.calm), origin.last());
    let peaks = origin.lines.iter().map(|line| line.peak_in_flight);
    OriginResult {
        capacity: origin.capacity,
        peak_in_flight: peaks.max().unwrap_or_default(),
        over_capacity_ms: end.over_capacity_ms.saturating_sub(onset.over_capacity_ms),
        requests: end.requests,
        errors: end.errors,
    }
}

/// What the origin was asked while the attack lasted, less what readers say was sent on for them and what staff asked.
fn reached_origin(evidence: &Evidence<'_>) -> u64 {
    let phases = evidence.scenario.phases;
    let until = phases.attack_end() + Duration::from_secs(1);
    let reached = evidence
        .origin
        .by(until)
        .requests
        .saturating_sub(evidence.origin.by(phases.calm).requests);
    let not_attackers: u64 = evidence
        .readers
        .groups
        .iter()
        .map(|group| match group.name.as_str() {
            "staff" => group.attack.requests,
            // A file and an article each.
            "uploads" => 2 * group.attack.requests,
            // Counted among the readers already.
            "news" => 0,
            _ => group.attack.forwarded,
        })
        .sum();
    reached.saturating_sub(not_attackers)
}

fn expectations(evidence: &Evidence<'_>, measures: &Measures<'_>) -> Vec<ExpectationResult> {
    evidence
        .scenario
        .expectations
        .iter()
        .filter(|expectation| !(evidence.untimed && expectation.measure.is_timed()))
        .filter(|expectation| evidence.edge.is_some() || expectation.measure.is_seen_from_outside())
        .filter(|expectation| {
            let is_learned = evidence.scenario.phases.calm >= LEARNED_IN;
            is_learned || !expectation.measure.needs_baseline()
        })
        .map(|expectation| {
            let value = measures.of(expectation.measure);
            ExpectationResult {
                name: expectation.measure.name(),
                ok: value.is_some_and(|value| expectation.measure.holds(value, expectation.bound)),
                value,
                bound: expectation.bound,
            }
        })
        .collect()
}

fn timeline(evidence: &Evidence<'_>, reading: &GroupBook) -> Timeline {
    let phases = evidence.scenario.phases;
    let in_flight = |line: &OriginLine| (line.at_s, line.peak_in_flight);
    Timeline {
        onset_s: phases.calm.as_secs_f64(),
        attack_end_s: phases.attack_end().as_secs_f64(),
        attack: attack_book(evidence).map_or_else(Vec::new, |book| book.seconds.clone()),
        readers: reading.seconds.clone(),
        origin_in_flight: evidence.origin.lines.iter().map(in_flight).collect(),
        edge_cpu: evidence
            .edge
            .as_ref()
            .map_or_else(Vec::new, |edge| edge.cpu_by_second.clone()),
    }
}

/// What detection found, by its own word, and what its rules hit, by the word of those who were hit.
fn detection_result(evidence: &Evidence<'_>) -> DetectionResult {
    let Some(edge) = &evidence.edge else {
        return DetectionResult::default();
    };
    let onset_s = evidence.scenario.phases.calm.as_secs_f64();
    let since_onset = |at_s: f64| (at_s - onset_s) * 1_000.0;
    let baseline = if evidence.scenario.phases.calm >= LEARNED_IN {
        "learned"
    } else {
        "none"
    };
    let first_hit_s = attack_book(evidence).and_then(|book| book.first_hit_s);
    let (mut hit, mut requests) = (0, 0);
    // Those who come for the news are among the readers.
    let others = evidence.readers.groups.iter();
    for group in others.filter(|group| group.name != "news") {
        let (of_group, all) = hits(group);
        hit += of_group;
        requests += all;
    }
    let mut stood = AttackTally::default();
    if let (Some(book), Some(first_s)) = (attack_book(evidence), first_hit_s) {
        for second in book.seconds.iter().skip(first_s as usize + 1) {
            stood.add(second);
        }
    }
    let crude_hit_share = share(stood.crude_hit, stood.crude_answered);
    let alike_hit_share = share(
        stood.hit - stood.crude_hit,
        stood.answered - stood.crude_answered,
    );
    let found = &edge.found;
    let postures = found.postures.iter().map(|(at_s, posture)| PostureResult {
        after_onset_ms: since_onset(*at_s),
        posture: posture.clone(),
    });
    DetectionResult {
        baseline: Some(baseline.to_owned()),
        postures: postures.collect(),
        because: found.because.clone(),
        verdict: found.verdict.clone(),
        onset_to_attack_ms: found.attacked_s.map(since_onset),
        onset_to_signature_ms: first_hit_s.map(since_onset),
        // Of what is as a reader's in everything, nothing is claimed.
        coverage: crude_hit_share.or(alike_hit_share),
        crude_hit_share,
        alike_hit_share,
        collateral_share: share(hit, requests),
        collateral_upper: wilson_upper(hit, requests),
        signatures: found.signatures.clone(),
    }
}

/// Of a group's requests from onset on, those that a rule hit; and all.
fn hits(group: &GroupBook) -> (u64, u64) {
    let (attack, after) = (&group.attack, &group.after);
    (attack.hit + after.hit, attack.requests + after.requests)
}

fn readers_result(group: &GroupBook, says_hits: bool) -> ReadersResult {
    let during = &group.attack;
    let (hit, requests) = hits(group);
    ReadersResult {
        hit_share: share(hit, requests).filter(|_| says_hits),
        hit_share_upper: wilson_upper(hit, requests).filter(|_| says_hits),
        requests: during.requests,
        served: during.served,
        served_share: share(during.served, during.requests),
        served_share_lower: wilson_lower(during.served, during.requests),
        p50_ms: during.p50_ms,
        p99_ms: during.p99_ms,
        challenged: during.challenged,
        refused: during.refused,
        failed: during.failed,
    }
}

/// How long somebody attacked.
fn attacked_seconds(scenario: &Scenario) -> f64 {
    let first = scenario
        .attacks
        .iter()
        .map(|attack| attack.starts)
        .min()
        .unwrap_or_default();
    let last = scenario
        .attacks
        .iter()
        .map(|attack| attack.starts + attack.lasting)
        .max()
        .unwrap_or_default();
    let held_only = scenario
        .attacks
        .iter()
        .all(|attack| matches!(attack.shape, AttackShape::Slow(_)));
    let lasting = (last.saturating_sub(first)).as_secs_f64();
    if held_only || lasting <= 0.0 {
        scenario.phases.attack.as_secs_f64()
    } else {
        lasting
    }
}

fn group_result(group: &GroupBook, says_hits: bool) -> GroupResult {
    let during = &group.attack;
    let (hit, requests) = hits(group);
    GroupResult {
        hit_share: share(hit, requests).filter(|_| says_hits),
        hit_share_upper: wilson_upper(hit, requests).filter(|_| says_hits),
        name: group.name.clone(),
        requests: during.requests,
        served: during.served,
        served_share: share(during.served, during.requests),
        served_share_lower: wilson_lower(during.served, during.requests),
        p99_ms: during.p99_ms,
        challenged: during.challenged,
        refused: during.refused,
    }
}

/// What expectations are compared with.
struct Measures<'a> {
    readers: &'a Books,
    detection: &'a DetectionResult,
    over_capacity_ms: u64,
    edge: Option<&'a EdgeBook>,
}

impl Measures<'_> {
    /// What a shield stops by mistake is one group and not the mean of all.
    fn worst_of_mixed(&self, figure: Figure) -> Option<f64> {
        let groups = mixed_names().map(|name| group(self.readers, name));
        let figures = groups.map(|book| {
            let book = book?;
            let (hit, requests) = hits(book);
            match figure {
                Figure::ServedShare => share(book.attack.served, book.attack.requests),
                Figure::HitShare => share(hit, requests).filter(|_| self.edge.is_some()),
                _ => None,
            }
        });
        let figures = figures.collect::<Option<Vec<f64>>>()?;
        figures.into_iter().reduce(match figure {
            Figure::ServedShare => f64::min,
            _ => f64::max,
        })
    }

    fn of(&self, measure: Measure) -> Option<f64> {
        let megabytes = |bytes: u64| bytes as f64 / 1_000_000.0;
        match measure.figure {
            Figure::OverCapacity => return Some(self.over_capacity_ms as f64),
            Figure::Memory => return Some(megabytes(self.edge?.rss_peak_bytes)),
            Figure::Disk => return Some(megabytes(self.edge?.disk_bytes)),
            Figure::OnPasses => return self.edge?.found.on_passes.map(|uses| uses as f64),
            Figure::Coverage => return self.detection.coverage,
            Figure::SignatureMs => return self.detection.onset_to_signature_ms,
            Figure::Collateral => return self.detection.collateral_share,
            Figure::Attacks => {
                let attacked = self.edge?.found.attacked_s.is_some();
                return Some(f64::from(u8::from(attacked)));
            }
            _ => {}
        }
        if measure.figure == Figure::Leaked {
            // Whoever was shown it, and whatever they had asked for.
            let leaked = self.readers.groups.iter().map(|book| {
                [&book.warming, &book.calm, &book.attack, &book.after]
                    .map(|tally| tally.leaked)
                    .into_iter()
                    .sum::<u64>()
            });
            return Some(leaked.sum::<u64>() as f64);
        }
        if measure.of == "mixed" {
            return self.worst_of_mixed(measure.figure);
        }
        let book = group(self.readers, measure.of)?;
        let sum = |stretches: &[&Tally], count: fn(&Tally) -> u64| {
            Some(stretches.iter().map(|tally| count(tally)).sum::<u64>() as f64)
        };
        let calm = [&book.warming, &book.calm];
        let whole = [&book.warming, &book.calm, &book.attack, &book.after];
        match measure.figure {
            Figure::ServedShare => share(book.attack.served, book.attack.requests),
            Figure::P99 => book.attack.p99_ms,
            Figure::P99Ratio => {
                let calm = book.calm.p99_ms.filter(|calm| *calm > 0.0)?;
                Some(book.attack.p99_ms? / calm)
            }
            Figure::Challenged => sum(&whole, |tally| tally.challenged),
            Figure::Refused => sum(&whole, |tally| tally.refused),
            Figure::Own => sum(&whole, |tally| tally.own),
            Figure::CalmUnserved => sum(&calm, |tally| tally.requests - tally.served),
            Figure::HitShare => {
                let (hit, requests) = hits(book);
                share(hit, requests).filter(|_| self.edge.is_some())
            }
            Figure::OverCapacity
            | Figure::Memory
            | Figure::Disk
            | Figure::Leaked
            | Figure::OnPasses
            | Figure::Coverage
            | Figure::SignatureMs
            | Figure::Collateral
            | Figure::Attacks => None,
        }
    }
}

fn group<'a>(readers: &'a Books, name: &str) -> Option<&'a GroupBook> {
    readers.groups.iter().find(|group| group.name == name)
}

/// Rows of the table that say `unknown` where nobody could see.
fn seen(count: Option<u64>) -> String {
    count.map_or("unknown".to_owned(), thousands)
}

impl Outcome {
    /// What may be said of the served share.
    pub fn claim(&self) -> String {
        if self.readers.requests >= CLAIM_REQUESTS_MIN {
            format!(
                "at least {} with 95 % confidence",
                percent(self.readers.served_share_lower)
            )
        } else {
            format!("{} requests: too few for a claim", self.readers.requests)
        }
    }

    /// For a terminal of 80 columns.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, what) in self.rows() {
            text.push_str(&format!("  {name:<16}{what}\n"));
        }
        if !self.expectations.is_empty() {
            text.push('\n');
        }
        for expectation in &self.expectations {
            let verdict = if expectation.ok { "ok  " } else { "FAIL" };
            text.push_str(&format!(
                "  {verdict} {:<32}{} (bound {})\n",
                expectation.name,
                expectation.value.map_or("nothing".to_owned(), plain),
                plain(expectation.bound)
            ));
        }
        for why in &self.not_offered {
            text.push_str(&format!(
                "\n  Not offered: {why}.\n  This machine cannot drive the drill, so it shows nothing.\n"
            ));
        }
        text
    }

    fn rows(&self) -> Vec<(&str, String)> {
        let (readers, attack, origin) = (&self.readers, &self.attack, &self.origin);
        let waiting = readers.requests - readers.served - readers.refused - readers.failed;
        let mut rows = vec![
            (
                "scenario",
                format!(
                    "{}, {} attackers, {} origin, {:.0} s",
                    self.scenario, self.grade, self.dialect, self.seconds
                ),
            ),
            (
                "readers served",
                format!(
                    "{} of {}   ({})",
                    percent(readers.served_share),
                    thousands(readers.requests),
                    self.claim()
                ),
            ),
            (
                "readers waited",
                format!(
                    "{} median, {} for the slowest of a hundred",
                    millis(readers.p50_ms),
                    millis(readers.p99_ms)
                ),
            ),
            (
                "not served",
                format!(
                    "{waiting} waiting page, {} refused, {} failed",
                    readers.refused, readers.failed
                ),
            ),
        ];
        rows.extend(self.groups.iter().map(|group| {
            let what = format!(
                "{} of {} served, {} for the slowest of a hundred",
                percent(group.served_share),
                thousands(group.requests),
                millis(group.p99_ms)
            );
            (group.name.as_str(), what)
        }));
        if attack.requests > 0 {
            rows.extend([
                (
                    "attack",
                    format!(
                        "{} requests from {} addresses, {} a second",
                        thousands(attack.requests),
                        thousands(attack.addresses),
                        thousands(self.offered_per_s as u64)
                    ),
                ),
                (
                    "",
                    format!(
                        "{} from the cache, {} reached the origin",
                        seen(attack.from_cache),
                        seen(attack.reached_origin)
                    ),
                ),
                (
                    "",
                    format!(
                        "{} waiting page, {} refused",
                        thousands(attack.challenged),
                        thousands(attack.refused)
                    ),
                ),
            ]);
        }
        rows.extend(self.detection_rows());
        rows.push((
            "origin",
            format!(
                "{} at once of {} it can do; {} ms over capacity, {} errors",
                origin.peak_in_flight, origin.capacity, origin.over_capacity_ms, origin.errors
            ),
        ));
        if let (Some(cpu), Some(rss)) = (self.edge.cpu_seconds, self.edge.rss_peak_bytes) {
            let megabytes = rss / 1_000_000;
            rows.push((
                "edge",
                format!("{cpu:.1} s of processor, {megabytes} MB of memory"),
            ));
        }
        let [of_readers, of_attackers] = self.load_cpu_seconds;
        rows.push((
            "load",
            format!("{of_readers:.1} s of processor for the readers, {of_attackers:.1} s for the attackers"),
        ));
        rows
    }
}

impl Outcome {
    fn detection_rows(&self) -> Vec<(&'static str, String)> {
        let found = &self.detection;
        let Some(baseline) = &found.baseline else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        let when = |after: Option<f64>| {
            after.map_or("never".to_owned(), |after| {
                format!("after {}", millis(Some(after)))
            })
        };
        rows.push((
            "detection",
            format!(
                "baseline {baseline}; under attack {}, a rule {}",
                when(found.onset_to_attack_ms),
                when(found.onset_to_signature_ms)
            ),
        ));
        if let Some(coverage) = found.coverage {
            rows.push((
                "",
                format!(
                    "rules hit {} of {} from then on and {} of all others'",
                    percent(Some(coverage)),
                    if self.grade == "half" {
                        "the crude attackers"
                    } else {
                        "the attack"
                    },
                    percent_upwards(found.collateral_share)
                ),
            ));
        }
        for signature in &found.signatures {
            let lines = wrapped(signature, 62);
            for (number, line) in lines.lines().enumerate() {
                rows.push((if number == 0 { "signature" } else { "" }, line.to_owned()));
            }
        }
        rows
    }
}

/// Never rounded down to nothing.
pub(crate) fn percent_upwards(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| {
        format!("{:.2} %", (share * 10_000.0).ceil() / 100.0)
    })
}

/// As short as it can be without losing what bounds are compared in: shares in hundredths of a per cent.
pub(crate) fn plain(value: f64) -> String {
    if value >= 1_000.0 {
        return thousands(value as u64);
    }
    let decimals = if value > 1.0 { 2 } else { 4 };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Never rounded up to a whole hundred.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| {
        format!("{:.2} %", (share * 10_000.0).floor() / 100.0)
    })
}

pub(crate) fn millis(time: Option<f64>) -> String {
    match time {
        None => "–".to_owned(),
        Some(0.0) => "0 ms".to_owned(),
        Some(time) if time >= 1_000.0 => format!("{:.1} s", time / 1_000.0),
        Some(time) if time >= 10.0 => format!("{time:.0} ms"),
        Some(time) => format!("{time:.1} ms"),
    }
}

pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At words, with a line break at the end.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn wilson_is_the_textbook_s() {
        // Successes, trials, lower end, computed from the formula with 30 digits.
        for (successes, trials, lower) in [
            (0, 0, None),
            (0, 10, Some(0.0)),
            (10, 10, Some(0.722_467)),
            (9_990, 10_000, Some(0.998_160)),
            (10_000, 10_000, Some(0.999_616)),
            (50, 100, Some(0.403_832)),
        ] {
            match (wilson_lower(successes, trials), lower) {
                (Some(found), Some(lower)) => assert!(
                    (found - lower).abs() < 1e-5,
                    "{successes}/{trials}: {found}"
                ),
                (found, lower) => assert_eq!(found, lower),
            }
        }
    }

    fn group(name: &str, calm_p99: f64, requests: u64, served: u64, p99: f64) -> GroupBook {
        let tally = |requests, served, p99| Tally {
            requests,
            served,
            failed: requests - served,
            forwarded: requests / 100,
            p50_ms: Some(1.0),
            p99_ms: Some(p99),
            ..Tally::default()
        };
        GroupBook {
            name: name.to_owned(),
            warming: Tally::default(),
            calm: tally(1_000, 1_000, calm_p99),
            attack: tally(requests, served, p99),
            after: Tally::default(),
            seconds: vec![tally(requests, served, p99)],
        }
    }

    struct Story {
        readers: Books,
        attackers: Books,
        origin: OriginBook,
    }

    /// A drill that went well.
    fn story() -> Story {
        let attack = |requests| AttackTally {
            requests,
            from_cache: requests - 10,
            forwarded: 10,
            ..AttackTally::default()
        };
        let line = |at_s, over_capacity_ms, requests| OriginLine {
            at_s,
            peak_in_flight: 17,
            over_capacity_ms,
            requests,
            errors: 0,
        };
        Story {
            readers: Books {
                groups: vec![
                    group("readers", 2.0, 12_000, 11_999, 9.0),
                    group("neighbour", 2.0, 6_000, 6_000, 2.5),
                    group("staff", 90.0, 60, 60, 95.0),
                ],
                send_lag_p99_ms: 0.4,
                bytes_in: 700,
                ..Books::default()
            },
            attackers: Books {
                attack: Some(AttackBook {
                    due: 1_000,
                    exhausted: 0,
                    addresses: 50,
                    seconds: vec![attack(500), attack(500)],
                    cache_status_seen: true,
                    first_hit_s: None,
                }),
                bytes_in: 300,
                ..Books::default()
            },
            origin: OriginBook {
                capacity: 16,
                lines: vec![
                    line(19.9, 400, 900),
                    line(35.0, 900, 1_200),
                    line(50.9, 1_300, 1_500),
                    line(61.0, 1_300, 1_600),
                ],
            },
        }
    }

    fn outcome(name: &str, story: &Story, untimed: bool) -> Outcome {
        let scenario = scenario::parse(scenario::embedded(name).unwrap()).unwrap();
        judge(&Evidence {
            scenario: &scenario,
            grade: "crude",
            dialect: "generic",
            readers: &story.readers,
            attackers: Some(&story.attackers).filter(|_| !scenario.attacks.is_empty()),
            origin: story.origin.clone(),
            edge: Some(EdgeBook {
                cpu_seconds: 12.5,
                rss_peak_bytes: 80_000_000,
                disk_bytes: 1_000_000,
                cpu_by_second: Vec::new(),
                found: Found::default(),
            }),
            untimed,
        })
    }

    #[test]
    fn a_good_drill_is_good() {
        let outcome = outcome("neighbour", &story(), false);
        assert_eq!(
            (outcome.offered, outcome.ok, outcome.exit_code()),
            (true, true, 0),
            "{:?}",
            outcome.expectations
        );
        // From onset on: 1300 - 400.
        assert_eq!(outcome.origin.over_capacity_ms, 900);
        // 600 from onset to a second after the attack, less 120 + 60 + 60 of readers, neighbours and staff.
        assert_eq!(outcome.attack.reached_origin, Some(360));
        assert_eq!(outcome.edge.bytes_out, Some(1_000));
    }

    /// What is changed, and the exit code it leads to.
    #[test]
    fn exit_codes_tell_lost_from_not_shown() {
        type Change = fn(&mut Story);
        let cases: [(&str, Change, u8); 9] = [
            (
                "readers lost",
                |story| story.readers.groups[0].attack.served = 11_900,
                1,
            ),
            (
                "readers slow",
                |story| story.readers.groups[1].attack.p99_ms = Some(3.1),
                1,
            ),
            (
                "staff stopped",
                |story| story.readers.groups[2].attack.served = 50,
                1,
            ),
            ("no staff came", |story| drop(story.readers.groups.pop()), 1),
            (
                "origin drowned",
                |story| story.origin.lines[3].over_capacity_ms = 1_401,
                1,
            ),
            (
                "attack too weak",
                |story| story.attackers.attack.as_mut().unwrap().due = 1_100,
                3,
            ),
            ("attackers silent", |story| story.attackers.attack = None, 3),
            (
                "readers late",
                |story| story.readers.send_lag_p99_ms = 51.0,
                3,
            ),
            (
                "no readers",
                |story| story.readers.groups[0].attack = Tally::default(),
                3,
            ),
        ];
        for (name, change, code) in cases {
            let mut story = story();
            change(&mut story);
            assert_eq!(
                outcome("neighbour", &story, false).exit_code(),
                code,
                "{name}"
            );
        }
    }

    #[test]
    fn timed_expectations_can_be_left_out() {
        let mut story = story();
        story.readers.groups[1].attack.p99_ms = Some(50.0);
        let names = |outcome: &Outcome| {
            outcome
                .expectations
                .iter()
                .map(|e| e.name)
                .collect::<Vec<_>>()
        };
        assert!(names(&outcome("neighbour", &story, false)).contains(&"neighbour.p99_ratio_max"));
        let untimed = outcome("neighbour", &story, true);
        assert!(!names(&untimed).contains(&"neighbour.p99_ratio_max"));
        assert!(untimed.ok);
    }

    #[test]
    fn nothing_is_expected_of_what_another_server_does_not_show() {
        let scenario = scenario::parse(scenario::embedded("neighbour").unwrap()).unwrap();
        let story = story();
        let names = |edge| {
            let outcome = judge(&Evidence {
                scenario: &scenario,
                grade: "crude",
                dialect: "generic",
                readers: &story.readers,
                attackers: Some(&story.attackers),
                origin: story.origin.clone(),
                edge,
                untimed: false,
            });
            let names = outcome.expectations.iter().map(|one| one.name);
            names.collect::<Vec<_>>()
        };
        let (ours, other) = (names(Some(EdgeBook::default())), names(None));
        assert!(ours.contains(&"detection.collateral_share_max"));
        assert!(!other.contains(&"detection.collateral_share_max"));
        assert!(other.contains(&"neighbour.p99_ratio_max"));
    }

    #[test]
    fn what_nobody_saw_is_null() {
        let mut story = story();
        story.attackers.attack.as_mut().unwrap().cache_status_seen = false;
        let outcome = outcome("neighbour", &story, false);
        assert_eq!(
            (outcome.attack.from_cache, outcome.attack.reached_origin),
            (None, None)
        );
        let json = serde_json::to_value(&outcome).unwrap();
        assert!(json["detection"]["coverage"].is_null());
    }

    #[test]
    fn the_json_has_exactly_the_promised_names() {
        let json = serde_json::to_value(outcome("neighbour", &story(), false)).unwrap();
        for (path, names) in [
            (
                "",
                "attack detection dialect edge expectations grade groups offered offered_per_s ok origin readers scenario seconds",
            ),
            (
                "/readers",
                "challenged failed hit_share hit_share_upper p50_ms p99_ms refused requests served served_share served_share_lower",
            ),
            (
                "/groups/0",
                "challenged hit_share hit_share_upper name p99_ms refused requests served served_share served_share_lower",
            ),
            (
                "/attack",
                "addresses challenged from_cache reached_origin refused requests",
            ),
            (
                "/origin",
                "capacity errors over_capacity_ms peak_in_flight requests",
            ),
            (
                "/detection",
                "alike_hit_share baseline because collateral_share collateral_upper coverage crude_hit_share onset_to_attack_ms onset_to_signature_ms postures signatures verdict",
            ),
            ("/edge", "bytes_out cpu_seconds disk_bytes rss_peak_bytes"),
            ("/expectations/0", "bound name ok value"),
        ] {
            let object = json
                .pointer(path)
                .and_then(serde_json::Value::as_object)
                .expect(path);
            let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
            found.sort_unstable();
            assert_eq!(found.join(" "), names, "{path}");
        }
    }

    #[test]
    fn numbers_are_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
        for (value, text) in [
            (0.0, "0"),
            (0.9995, "0.9995"),
            (7.962, "7.96"),
            (375.0, "375"),
            (1_000.0, "1,000"),
        ] {
            assert_eq!(plain(value), text);
        }
        for (share, text) in [
            (None, "–"),
            (Some(1.0), "100.00 %"),
            (Some(0.999_99), "99.99 %"),
            (Some(0.5), "50.00 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn sentences_are_wrapped_at_words() {
        assert_eq!(wrapped("one two three", 7), "one two\nthree\n");
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let table = outcome("neighbour", &story(), false).table();
        for line in table.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
