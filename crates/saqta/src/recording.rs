//! What is kept of an attack: as it ends, a case of its own is sealed with what Saqta saw second by second, the rules it made and how it measured.
//!
//! It looks once a second, from a thread of its own, at sums that the edge keeps anyway: readers are served whether or not this works, and it
//! holds nothing of any reader. An attack that goes on when Saqta is stopped is sealed as far as it came; of one in which the process is
//! killed nothing is left but the log. Who may read it: `archive.rs` of the evidence.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use saqta_detect::sentence::Language;
use saqta_edge::stats::{IncidentStats, SiteStats};
use saqta_evidence::archive::{Archive, draw};
use saqta_evidence::disk;
use saqta_evidence::record::Record;
use saqta_evidence::vault::CaseId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Below the data folder.
pub(crate) const FOLDER: &str = "evidence";
/// What a record of an incident is called.
pub(crate) const INCIDENT: &str = "incident";

/// Before the onset: what was usual.
const LEAD_S: usize = 300;
/// Of one incident, a row of some fifty bytes a second: half a megabyte. A longer one's rows are of its beginning and its end.
const ROWS_MAX: usize = 6 * 3600;
/// The edge shows its last incidents again and again: more than those of all sites.
const SEALED_REMEMBERED: usize = 1_024;
/// Of all sites, some 10 KB each. Nobody is attacked so often; whoever makes it look so fills no disk.
const SEALED_A_DAY_MAX: u32 = 500;
/// The same onset, though the clock was corrected a little since.
const ONSET_SLACK_S: u64 = 5;
const DAY_S: u64 = 86_400;
/// By the clock, whatever happened: when a checkpoint is signed tells nothing.
const SIGNED_EVERY_S: u64 = 3_600;

pub(crate) struct Recorder {
    archive: Arc<Archive<disk::Folder>>,
    sites: Vec<SiteRows>,
    /// Site and onset of what is sealed, the oldest first.
    sealed: VecDeque<(String, u64)>,
    /// Which day it is, and how many were sealed on it.
    of_day: (u64, u32),
    /// When the ledger was looked at last, to sign it.
    hour: u64,
}

struct SiteRows {
    name: String,
    rows: VecDeque<Row>,
    /// Rows left out of the middle of what goes on.
    left_out: u64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    second: u64,
    posture: &'static str,
    requests: u64,
    sources: u64,
    in_flight: usize,
    queued: usize,
    granted: u64,
    turned_away: u64,
}

impl Recorder {
    /// # Errors
    /// When the evidence cannot be opened; nothing there is touched.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let (archive, opened) = Archive::open(disk::Folder::new(data.join(FOLDER)))?;
        if opened.torn_bytes > 0 {
            tracing::warn!(
                "the last start ended in the middle of writing evidence: {} bytes that nobody was told of are put aside as evidence/log.torn",
                opened.torn_bytes
            );
        }
        Ok(Self {
            archive: Arc::new(archive),
            sites: Vec::new(),
            sealed: VecDeque::new(),
            of_day: (0, 0),
            hour: 0,
        })
    }

    /// For whoever else adds to it.
    pub(crate) fn archive(&self) -> Arc<Archive<disk::Folder>> {
        Arc::clone(&self.archive)
    }

    /// Once a second.
    pub(crate) fn look(&mut self, second: u64, sites: &[SiteStats], is_drill: bool) {
        for site in sites {
            self.note(second, site);
            let ended = |incident: &&IncidentStats| incident.end_s.is_some();
            // The oldest first.
            for incident in site.detection.incidents.iter().rev().filter(ended) {
                self.seal_and_say(second, site, incident, is_drill);
            }
        }
        let hour = second / SIGNED_EVERY_S;
        if std::mem::replace(&mut self.hour, hour) != hour {
            self.sign();
        }
        self.sites
            .retain(|rows| sites.iter().any(|site| site.name == rows.name));
    }

    /// At the end: what goes on is sealed as far as it came.
    pub(crate) fn end(mut self, second: u64, sites: &[SiteStats], is_drill: bool) {
        self.look(second, sites, is_drill);
        for site in sites {
            for incident in site.detection.incidents.iter().rev() {
                self.seal_and_say(second, site, incident, is_drill);
            }
        }
        self.sign();
    }

    fn sign(&self) {
        if self.archive.ledger().size() > 0
            && let Err(error) = self.archive.sign()
        {
            tracing::error!(
                "the evidence could not be signed: {:#}",
                anyhow::Error::new(error)
            );
        }
    }

    fn note(&mut self, second: u64, site: &SiteStats) {
        let at = self.sites.iter().position(|rows| rows.name == site.name);
        let at = at.unwrap_or_else(|| {
            self.sites.push(SiteRows {
                name: site.name.clone(),
                rows: VecDeque::new(),
                left_out: 0,
            });
            self.sites.len() - 1
        });
        let kept = &mut self.sites[at];
        kept.rows.push_back(Row {
            second,
            posture: site.detection.posture,
            requests: site.requests_per_s,
            sources: site.sources_per_s,
            in_flight: site.in_flight,
            queued: site.queued,
            granted: site.granted,
            turned_away: site.turned_away,
        });
        let goes_on = site
            .detection
            .incidents
            .iter()
            .find(|incident| incident.end_s.is_none());
        match goes_on {
            None => {
                while kept.rows.len() > LEAD_S {
                    kept.rows.pop_front();
                }
                kept.left_out = 0;
            }
            Some(_) if kept.rows.len() > ROWS_MAX => {
                kept.rows.remove(ROWS_MAX / 2);
                kept.left_out += 1;
            }
            Some(_) => {}
        }
    }

    fn seal_and_say(
        &mut self,
        second: u64,
        site: &SiteStats,
        incident: &IncidentStats,
        is_drill: bool,
    ) {
        let is_this = |(name, onset_s): &(String, u64)| {
            *name == site.name && onset_s.abs_diff(incident.onset_s) <= ONSET_SLACK_S
        };
        if self.sealed.iter().any(is_this) {
            return;
        }
        if self.sealed.len() >= SEALED_REMEMBERED {
            self.sealed.pop_front();
        }
        // Once, whether or not it could be written: a full disk must not fill the log.
        self.sealed.push_back((site.name.clone(), incident.onset_s));
        let day = second / DAY_S;
        if self.of_day.0 != day {
            self.of_day = (day, 0);
        }
        self.of_day.1 += 1;
        if self.of_day.1 > SEALED_A_DAY_MAX {
            if self.of_day.1 == SEALED_A_DAY_MAX + 1 {
                tracing::warn!(
                    "{SEALED_A_DAY_MAX} incidents were sealed today; no more are until tomorrow"
                );
            }
            return;
        }
        match self.seal(second, site, incident, is_drill) {
            Ok(id) => tracing::info!(
                "the incident at {} is sealed as {id}: `saqta incident show {id}`",
                site.name
            ),
            Err(error) => tracing::error!(
                "the incident at {} could not be sealed, and is lost as evidence: {error:#}",
                site.name
            ),
        }
    }

    fn seal(
        &self,
        second: u64,
        site: &SiteStats,
        incident: &IncidentStats,
        is_drill: bool,
    ) -> anyhow::Result<String> {
        let id = new_id(incident.onset_s);
        let case = CaseId::new(&id).context("an id that is none")?;
        let rules = serde_json::to_string_pretty(&incident.rules)?;
        let exhibits = [
            ("timeline.csv", self.timeline(site)),
            ("signatures.json", rules),
            ("method.md", method(is_drill)),
        ];
        let mut kept = Vec::new();
        for (name, text) in exhibits {
            let sum = Sha256::digest(&text);
            let blob = self.archive.seal(&case, &mut text.as_bytes())?;
            kept.push(json!({
                "blob": blob.to_string(),
                "bytes": text.len(),
                "name": name,
                "sha256": sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            }));
        }
        let whole = |number: f64| number.clamp(0.0, 1e15).round() as u64;
        let fields = [
            ("id", json!(id)),
            ("site", json!(site.name)),
            ("onset", json!(incident.onset_s)),
            ("attacked_at_ms", json!(incident.attacked_at_ms)),
            // Of one that goes on, when it was sealed; whether it goes on stands beside it.
            ("end", json!(incident.end_s.unwrap_or(second))),
            ("is_over", json!(incident.end_s.is_some())),
            ("drill", json!(is_drill)),
            ("trigger", json!(incident.trigger)),
            ("because", json!(incident.because)),
            ("requests", json!(incident.requests)),
            ("requests_usual", json!(whole(incident.expected))),
            ("requests_hit", json!(incident.hit)),
            ("verdict", json!(incident.state)),
            ("rules_made", json!(incident.rules_made)),
            ("says", says(incident)),
            ("exhibits", Value::Array(kept)),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
        ];
        let record = Record::new(INCIDENT, fields, draw)?;
        self.archive.keep(&case, &record)?;
        Ok(id)
    }

    fn timeline(&self, site: &SiteStats) -> String {
        let mut text = String::from(
            "time_utc,posture,requests,sources_estimated,origin_in_flight,origin_queued,origin_granted,turned_away\r\n",
        );
        let Some(kept) = self.sites.iter().find(|rows| rows.name == site.name) else {
            return text;
        };
        let mut before: Option<Row> = None;
        for row in &kept.rows {
            let since =
                |now: u64, of: fn(&Row) -> u64| now.saturating_sub(before.as_ref().map_or(now, of));
            // Writing to a text cannot fail.
            _ = write!(
                text,
                "{},{},{},{},{},{},{},{}\r\n",
                time(row.second),
                row.posture,
                row.requests,
                row.sources,
                row.in_flight,
                row.queued,
                since(row.granted, |row| row.granted),
                since(row.turned_away, |row| row.turned_away),
            );
            before = Some(*row);
        }
        text
    }
}

/// The rule that says the most, in three languages; empty where none was found.
fn says(incident: &IncidentStats) -> Value {
    let Some(rule) = incident.rules.first() else {
        return json!({});
    };
    let sentence = &rule.sentence;
    let said = [
        (Language::Kazakh, &sentence.kk),
        (Language::Russian, &sentence.ru),
        (Language::English, &sentence.en),
    ];
    // What an attacker writes into a request is as long as he likes.
    const CHARS_MAX: usize = 2_000;
    said.into_iter()
        .map(|(language, text)| {
            let code = match language {
                Language::Kazakh => "kk",
                Language::Russian => "ru",
                Language::English => "en",
            };
            let text: String = text.chars().take(CHARS_MAX).collect();
            (code.to_owned(), Value::String(text))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn method(is_drill: bool) -> String {
    let drill = if is_drill {
        "\nTHIS IS A DRILL: a rehearsal on one machine, with a stand-in for the newsroom's server. Nobody was attacked.\n"
    } else {
        ""
    };
    format!(
        "# How this was measured\n{drill}
By Saqta {}, a reverse proxy in front of the newsroom's server, while it served.

timeline.csv has a row for each second: how many requests came for the site, from how many addresses (estimated by a
sketch, which names none), how many of them the server was asked for, and how many were told to wait. `origin_` is the
newsroom's own server. Up to five minutes before the onset are there for comparison; of an incident longer than six
hours the beginning and the end.

signatures.json has the rules found: what the attack's requests had in common, which share of the attack that is, and
which share of ordinary requests has the same (measured on those of the time before, with an upper bound).

It does not say who did it or why. It says nothing of what did not pass this server. The clock is this machine's.
",
        env!("CARGO_PKG_VERSION")
    )
}

/// By its day, and drawn, so that the folder's name says no more.
fn new_id(onset_s: u64) -> String {
    let mut drawn = [0; 4];
    draw(&mut drawn);
    let drawn: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
    let day: String = time(onset_s)
        .chars()
        .take(10)
        .filter(|c| *c != '-')
        .collect();
    format!("{day}-{drawn}")
}

pub(crate) fn time(second: u64) -> String {
    let at = i64::try_from(second).ok();
    let at = at.and_then(|second| jiff::Timestamp::from_second(second).ok());
    at.map_or(String::new(), |at| {
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use saqta_edge::stats::{DetectionStats, RULES_SHOWN_MAX, RuleStats, Sentences};

    use super::*;

    const NOON: u64 = 1_796_126_400;

    struct Data(PathBuf);

    impl Data {
        fn new(name: &str) -> Self {
            let name = format!("saqta-recording-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        /// What was sealed, as whoever has the folder reads it.
        fn sealed(&self) -> Vec<(Record, Vec<String>)> {
            let archive = Archive::look(disk::Folder::new(self.0.join(FOLDER))).unwrap();
            let local = archive.local_key().unwrap().unwrap();
            let all = (0..archive.ledger().size()).map(|index| {
                let place = archive.place(index).unwrap();
                let key = archive.unlock(&place.case, &local).unwrap();
                let record = archive.record(index, &key).unwrap();
                let exhibits = record.value("exhibits").unwrap().as_array().unwrap();
                let texts = exhibits.iter().map(|exhibit| {
                    let blob = exhibit["blob"].as_str().unwrap();
                    let blob = saqta_evidence::vault::BlobName::parse(blob).unwrap();
                    let text = archive.exhibit(blob, &key).unwrap();
                    let sum = Sha256::digest(&text);
                    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(exhibit["sha256"], sum);
                    String::from_utf8(text).unwrap()
                });
                let texts = texts.collect();
                (record, texts)
            });
            all.collect()
        }
    }

    impl Drop for Data {
        fn drop(&mut self) {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn incident(onset_s: u64, end_s: Option<u64>) -> IncidentStats {
        IncidentStats {
            onset_s,
            attacked_at_ms: Some(onset_s * 1_000),
            end_s,
            trigger: "load",
            because: "more requests than usual",
            requests: 9_000,
            expected: 812.4,
            hit: 8_000,
            state: "generated",
            rules_made: 1,
            rules: Vec::new(),
        }
    }

    fn rule(sentence: &str) -> RuleStats {
        RuleStats {
            id: 1,
            sentence: Sentences {
                kk: sentence.into(),
                ru: sentence.into(),
                en: sentence.into(),
            },
            rule: Vec::new(),
            attack_share: 0.9,
            baseline_share: 0.0,
            baseline_share_upper: 0.001,
            confidence: 0.99,
            generated_s: NOON,
            expired_s: None,
            withdrawn: false,
            hits: 8_000,
        }
    }

    fn site(name: &str, second: u64, incidents: Vec<IncidentStats>) -> SiteStats {
        SiteStats {
            name: name.into(),
            limit: 8,
            in_flight: 3,
            queued: 1,
            granted: second,
            turned_away: 2 * second,
            classes: Vec::new(),
            would_wait: 0,
            would_be_spared: 0,
            origin: "up",
            pages_to_search: 0,
            requests_per_s: 100,
            sources_per_s: 40,
            detection: DetectionStats {
                posture: "calm",
                changes: Vec::new(),
                incidents,
            },
        }
    }

    #[test]
    fn an_attack_is_sealed_once_when_it_is_over() {
        let data = Data::new("over");
        let mut recorder = Recorder::open(&data.0).unwrap();
        let mut ended = incident(NOON + 10, Some(NOON + 40));
        ended.rules = vec![rule("it asks for “1”")];
        for second in NOON..NOON + 60 {
            let incidents = match second - NOON {
                0..10 => Vec::new(),
                10..40 => vec![incident(NOON + 10, None)],
                _ => vec![ended.clone(), incident(NOON - 9_000, Some(NOON - 8_000))],
            };
            recorder.look(second, &[site("Жаңалық", second, incidents)], false);
            let size = recorder.archive.ledger().size();
            assert_eq!(size, if second < NOON + 40 { 0 } else { 2 }, "{second}");
        }
        // Signed as the next hour begins, and at no other time.
        let checkpoint = data.0.join(FOLDER).join("checkpoint");
        assert!(!checkpoint.exists());
        recorder.look(NOON + 3_600, &[], false);
        assert!(checkpoint.exists());
        drop(recorder);
        let sealed = data.sealed();
        let [_, (record, texts)] = sealed.as_slice() else {
            panic!("{sealed:?}");
        };
        for (name, expected) in [
            ("site", json!("Жаңалық")),
            ("onset", json!(NOON + 10)),
            ("end", json!(NOON + 40)),
            ("is_over", json!(true)),
            ("drill", json!(false)),
            ("requests_usual", json!(812)),
        ] {
            assert_eq!(record.value(name), Some(&expected), "{name}");
        }
        assert_eq!(record.value("says").unwrap()["ru"], "it asks for “1”");
        let id = record.value("id").unwrap().as_str().unwrap();
        assert!(id.starts_with("20261201-"), "{id}");
        let [timeline, rules, method] = texts.as_slice() else {
            panic!("{texts:?}");
        };
        let rows: Vec<&str> = timeline.lines().collect();
        assert_eq!(rows.len(), 1 + 41);
        assert_eq!(rows[1], "2026-12-01T12:00:00Z,calm,100,40,3,1,0,0");
        assert_eq!(rows[2], "2026-12-01T12:00:01Z,calm,100,40,3,1,1,2");
        assert!(rules.contains("it asks for") && !method.contains("DRILL"));
    }

    #[test]
    fn what_goes_on_at_the_end_is_sealed_as_far_as_it_came() {
        let data = Data::new("goes-on");
        let mut recorder = Recorder::open(&data.0).unwrap();
        let going = |second| [site("a", second, vec![incident(NOON, None)])];
        recorder.look(NOON, &going(NOON), true);
        recorder.end(NOON + 5, &going(NOON + 5), true);
        let sealed = data.sealed();
        let (record, texts) = &sealed[0];
        assert_eq!(record.value("is_over"), Some(&json!(false)));
        assert_eq!(record.value("end"), Some(&json!(NOON + 5)));
        assert_eq!(record.value("drill"), Some(&json!(true)));
        assert!(texts[2].contains("THIS IS A DRILL"));
        assert!(data.0.join(FOLDER).join("checkpoint").exists());
        // A start after that goes on with the same ledger.
        let recorder = Recorder::open(&data.0).unwrap();
        recorder.end(NOON + 9, &[], false);
        assert_eq!(data.sealed().len(), 1);
    }

    #[test]
    fn nothing_grows() {
        let data = Data::new("bounds");
        let mut recorder = Recorder::open(&data.0).unwrap();
        for second in 0..2 * LEAD_S as u64 {
            recorder.look(NOON + second, &[site("a", second, Vec::new())], false);
        }
        assert_eq!(recorder.sites[0].rows.len(), LEAD_S);
        let going = vec![incident(NOON, None)];
        for second in 0..ROWS_MAX as u64 + 50 {
            recorder.note(NOON + second, &site("a", second, going.clone()));
        }
        assert_eq!(recorder.sites[0].rows.len(), ROWS_MAX);
        recorder.look(NOON, &[site("b", 0, Vec::new())], false);
        assert_eq!(recorder.sites.len(), 1);
        // The longest sentences that an attacker can have us say.
        let mut long = incident(NOON, Some(NOON + 1));
        long.rules = vec![rule(&"“ы”".repeat(3_000)); RULES_SHOWN_MAX];
        recorder.look(NOON + 2, &[site("b", 2, vec![long])], false);
        assert_eq!(recorder.archive.ledger().size(), 1);
        recorder.of_day.1 = SEALED_A_DAY_MAX;
        for onset in [0, 10, 20] {
            let ended = incident(NOON + onset, Some(NOON + 30));
            recorder.look(NOON + 10, &[site("c", 3, vec![ended])], false);
        }
        assert_eq!(recorder.archive.ledger().size(), 1);
        let ended = incident(NOON + 30, Some(NOON + 40));
        recorder.look(NOON + DAY_S, &[site("c", 4, vec![ended])], false);
        assert_eq!(recorder.archive.ledger().size(), 2);
    }
}
