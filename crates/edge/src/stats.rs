//! What the edge counts about itself: sums only, nothing about anybody.
//!
//! One set of counters a shard, written by that shard alone and read by whoever asks, so that counting never makes shards meet.

use std::sync::atomic::{AtomicU64, Ordering};

use saqta_detect::engine::{Incident, Standing};
use saqta_detect::sentence::{Language, sentence, shown, trigger};
use saqta_detect::signature::RULES_MAX;
use serde::Serialize;

use crate::clock::UnixMillis;
use crate::lanes::LaneStats;
use crate::saved::SavedStats;

/// Rules shown of one incident: as many as may stand together. Each takes 9 KB at worst, its sentences and values included.
pub const RULES_SHOWN_MAX: usize = RULES_MAX;

/// A sum written by one thread and read by others.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, by: u64) {
        // One writer: no need for a locked addition.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(by),
            Ordering::Relaxed,
        );
    }

    pub fn sum(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Of one shard, since start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Count,)*
        }

        /// Of all shards, since start.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            pub fn of<'a>(shards: impl IntoIterator<Item = &'a Counters>) -> Self {
                let mut totals = Self::default();
                for shard in shards {
                    $(totals.$name += shard.$name.sum();)*
                }
                totals
            }
        }
    };
}

counters! {
    /// Answered, whoever answered.
    requests,
    /// From a fresh stored response.
    hits,
    /// From a stored response past its freshness.
    stale,
    /// A saved copy, marked with its date.
    saved_shown,
    /// From the stored response of the same address without what strangers added to it.
    reduced,
    /// The origin was asked for a page that may be stored.
    misses,
    /// Shared the fetch of another request.
    collapsed,
    /// Passed through: the cache had no part in it.
    passed,
    /// Searches answered from the stored pages.
    searched,
    /// The waiting page.
    waiting,
    /// Passes that tickets became.
    passes,
    /// Refused networks.
    refused,
    /// Our own 502 or 504.
    origin_failures,
    /// Requests we could not read; see `client_faults` by kind in the log.
    client_faults,
    /// Requests for a host no site names.
    unknown_hosts,
    /// `PURGE` and `BAN` by somebody who may not.
    purges_refused,
    /// To clients, heads included.
    bytes_out,
    /// No seat: the connection limit, or that of one address.
    turned_away_connections,
    /// HTTP/2 streams refused because all open ones, or those of one address, hold as much memory as they may.
    turned_away_streams,
    /// The process ran out of files or memory for connections.
    accept_errors,
}

/// One site's part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteStats {
    pub name: String,
    /// Requests the origin may have in flight, as learned.
    pub limit: usize,
    pub in_flight: usize,
    pub queued: usize,
    pub granted: u64,
    pub turned_away: u64,
    pub classes: Vec<ClassStats>,
    /// Since the start, in mode `observe`: whom a rule hit, and what would have been done in mode `protect`.
    pub would_wait: u64,
    /// Of those a rule hit, known readers and holders of passes, who would have had to wait for nothing.
    pub would_be_spared: u64,
    pub origin: &'static str,
    /// Stored pages that searches are answered from while the origin has no room.
    pub pages_to_search: usize,
    /// In the last full second.
    pub requests_per_s: u64,
    /// Addresses that asked in the last full second, estimated by a sketch.
    pub sources_per_s: u64,
    pub detection: DetectionStats,
}

/// Of those who were somebody alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassStats {
    pub name: &'static str,
    /// For the origin, now.
    pub queued: usize,
    pub granted: u64,
    pub turned_away: u64,
}

/// What detection makes of one site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectionStats {
    pub posture: &'static str,
    /// How it came to that, the newest first.
    pub changes: Vec<PostureStats>,
    /// The newest first; one that goes on has no end.
    pub incidents: Vec<IncidentStats>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PostureStats {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// From then on.
    pub posture: &'static str,
}

/// Times in seconds since 1970, `_ms` in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentStats {
    pub onset_s: u64,
    pub attacked_at_ms: Option<u64>,
    pub end_s: Option<u64>,
    pub trigger: &'static str,
    /// The same for people.
    pub because: &'static str,
    pub requests: u64,
    /// What the forecast accounts for.
    pub expected: f64,
    /// Of these, hit by a rule that stood when they came.
    pub hit: u64,
    /// Why there is a rule, or none.
    pub state: &'static str,
    /// How many there have been.
    pub rules_made: usize,
    /// Those that stand, then those that hit the most.
    pub rules: Vec<RuleStats>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleStats {
    pub id: u64,
    /// By language.
    pub sentence: Sentences,
    pub rule: Vec<PredicateStats>,
    pub attack_share: f64,
    pub baseline_share: f64,
    pub baseline_share_upper: f64,
    pub confidence: f64,
    pub generated_s: u64,
    /// `None`: it stands.
    pub expired_s: Option<u64>,
    /// It is over because it turned out to hit readers who were known before the attack.
    pub withdrawn: bool,
    pub hits: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sentences {
    pub kk: String,
    pub ru: String,
    pub en: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredicateStats {
    pub attribute: &'static str,
    /// Empty: it is absent. What would steer a terminal is written out.
    pub value: String,
}

impl IncidentStats {
    /// `ahead_s`: of detection's seconds the wall clock is.
    pub(crate) fn of(incident: &Incident, attacked_at: Option<UnixMillis>, ahead_s: i64) -> Self {
        let wall = |second: u64| second.saturating_add_signed(ahead_s);
        Self {
            onset_s: wall(incident.onset_s),
            attacked_at_ms: attacked_at.map(|at| at.0),
            end_s: incident.end_s.map(wall),
            trigger: incident.trigger.name(),
            because: trigger(incident.trigger, Language::English),
            requests: incident.requests,
            expected: incident.expected,
            hit: incident.signatures.iter().map(|rule| rule.hits).sum(),
            state: incident.verdict.name(),
            rules_made: incident.signatures.len(),
            rules: incident
                .telling(RULES_SHOWN_MAX)
                .into_iter()
                .map(|rule| RuleStats::of(rule, wall))
                .collect(),
        }
    }
}

impl RuleStats {
    fn of(rule: &Standing, wall: impl Fn(u64) -> u64) -> Self {
        let signature = &rule.signature;
        let said = |language| sentence(signature, language);
        Self {
            id: rule.id,
            sentence: Sentences {
                kk: said(Language::Kazakh),
                ru: said(Language::Russian),
                en: said(Language::English),
            },
            rule: signature
                .rule
                .iter()
                .map(|predicate| PredicateStats {
                    attribute: predicate.attribute.name(),
                    value: shown(&predicate.value),
                })
                .collect(),
            attack_share: signature.attack_share,
            baseline_share: signature.baseline_share,
            baseline_share_upper: signature.baseline_share_upper,
            confidence: signature.confidence,
            generated_s: wall(rule.generated_s),
            expired_s: rule.expired_s.map(wall),
            withdrawn: rule.is_withdrawn,
            hits: rule.hits,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    pub uptime_s: u64,
    pub connections: usize,
    /// What HTTP/2 connections and their open streams hold.
    pub http2_bytes: u64,
    pub bypass: bool,
    #[serde(flatten)]
    pub totals: Totals,
    pub cache_entries: u64,
    pub cache_bytes: u64,
    pub cache_bytes_max: u64,
    #[serde(flatten)]
    pub saved: SavedStats,
    #[serde(flatten)]
    pub lanes: LaneStats,
    pub sites: Vec<SiteStats>,
}
