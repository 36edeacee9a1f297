//! What a running Saqta says of itself: for `saqta status`, never with anything that names a reader.
//!
//! Written for somebody under attack with one terminal of 80 columns and 24 lines: what comes in now beside what came since the
//! start, then for each site what its origin has to bear. The figures arrive as JSON by name, so that a `status` of another version
//! shows what it knows and leaves out the rest.

use saqta_detect::sentence::shown;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::FewFiles;
use crate::screen::{self, Tone};

/// Rules of one site on the screen; the rest is in the JSON.
const RULES_SHOWN_MAX: usize = 3;
/// Of a site with dozens of hosts the first tell which it is.
const HOSTS_SHOWN_MAX: usize = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub process: u32,
    pub up_seconds: u64,
    /// As `run` printed them.
    pub listening: Vec<String>,
    /// `None` for `run --origin`.
    pub settings: Option<String>,
    pub bypass: bool,
    pub sites: Vec<SiteStatus>,
    /// What the process occupies now.
    pub memory_bytes: Option<u64>,
    /// As it is in force, which may be less than the settings say.
    pub connections_max: Option<u64>,
    /// Why it is less.
    #[serde(default)]
    pub few_files: Option<FewFiles>,
    /// `None` in the first second.
    pub recent: Option<Recent>,
    /// The edge's counters since the start.
    pub edge: Value,
}

/// How much the edge's counters grew lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    pub seconds: f64,
    /// Named as the counters in `edge`.
    pub counts: Value,
}

/// What every whole number of `now` grew by since `before`.
pub(crate) fn difference(now: Value, before: &Value) -> Value {
    let Value::Object(now) = now else {
        return Value::Null;
    };
    now.into_iter()
        .filter_map(|(name, count)| {
            let grown = count.as_u64()?.saturating_sub(before[&name].as_u64()?);
            Some((name, Value::from(grown)))
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteStatus {
    pub name: String,
    /// Empty: every host that no other site names.
    pub hosts: Vec<String>,
    pub origin: String,
    pub mode: String,
}

impl Status {
    fn count(&self, key: &str) -> Option<u64> {
        self.edge[key].as_u64()
    }

    /// For a person, in 80 columns; in 24 lines with one site.
    pub(crate) fn screen(&self) -> String {
        let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
        let memory = self.memory_bytes.map_or(String::new(), |bytes| {
            format!(", {} MiB of memory", thousands(bytes >> 20))
        });
        let mut screen = format!(
            "Saqta {}, process {}, up {}{memory}\n",
            self.version,
            self.process,
            up_time(self.up_seconds)
        );
        screen += &row(
            "settings",
            self.settings.as_deref().unwrap_or("none (run --origin)"),
        );
        if !self.listening.is_empty() {
            screen += &row("listening", &self.listening.join(" "));
        }
        if let Some(open) = self.count("connections") {
            let most = self
                .connections_max
                .map_or(String::new(), |most| format!(" of {}", thousands(most)));
            let few = self.few_files.map_or(String::new(), |few| {
                format!(
                    "\nof {} open files that are granted; LimitNOFILE={} gives all connections_max",
                    thousands(few.granted),
                    few.needed
                )
            });
            screen += &row(
                "connections",
                &format!("{}{most} open{few}", thousands(open)),
            );
        }
        if let (Some(pages), Some(bytes), Some(most)) = (
            self.count("cache_entries"),
            self.count("cache_bytes"),
            self.count("cache_bytes_max"),
        ) {
            screen += &row(
                "cache",
                &format!(
                    "{} stored, {} of {} MiB",
                    thousands(pages),
                    bytes >> 20,
                    most >> 20
                ),
            );
        }
        screen += &self.on_disk();
        screen += &self.visitors();
        screen += &row(
            "bypass",
            if self.bypass {
                "ON: the origin is not protected"
            } else {
                "off"
            },
        );
        screen += &self.traffic();
        for site in &self.sites {
            screen += &row("site", &self.site(site));
        }
        screen
    }

    /// What the data folder holds.
    fn on_disk(&self) -> String {
        let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
        let mut rows = String::new();
        if let (Some(pages), Some(assets), Some(bytes), Some(most)) = (
            self.count("saved_pages"),
            self.count("saved_assets"),
            self.count("saved_bytes"),
            self.count("saved_bytes_max"),
        ) {
            let shown = self
                .count("saved_shown")
                .filter(|shown| *shown > 0)
                .map_or(String::new(), |shown| {
                    format!(", shown {} times", thousands(shown))
                });
            rows += &row(
                "saved",
                &format!(
                    "{} pages, {} files for them, {} of {} MiB{shown}",
                    thousands(pages),
                    thousands(assets),
                    bytes >> 20,
                    most >> 20
                ),
            );
        }
        if let (Some(files), Some(bytes), Some(most)) = (
            self.count("disk_files"),
            self.count("disk_bytes"),
            self.count("disk_bytes_max"),
        ) {
            rows += &row(
                "cache on disk",
                &format!(
                    "{} stored, {} of {} MiB",
                    thousands(files),
                    bytes >> 20,
                    most >> 20
                ),
            );
        }
        if self.edge["disk_resting"].as_bool() == Some(true) {
            rows += &row(
                "disk",
                "takes nothing at present: full or failing; what it has is used on",
            );
        }
        rows
    }

    /// Search engines and the like. Nothing where none has come.
    fn visitors(&self) -> String {
        let count = |key: &str| self.count(key);
        let (Some(known), Some(verified), Some(refuted), Some(failed), Some(dropped)) = (
            count("visitors_known"),
            count("lookups_verified"),
            count("lookups_refuted"),
            count("lookups_failed"),
            count("lookups_dropped"),
        ) else {
            return String::new();
        };
        if verified + refuted + failed + dropped == 0 {
            return String::new();
        }
        let said = format!(
            "{} addresses known; of {} lookups {} fakes, {} unanswered; {} not made",
            thousands(known),
            thousands(verified + refuted + failed),
            thousands(refuted),
            thousands(failed),
            thousands(dropped)
        );
        screen::row("", Tone::Plain, "visitors", &said, false)
    }

    /// Two columns: now, and since the start.
    fn traffic(&self) -> String {
        /// (counter, what it is called)
        const ROWS: &[(&str, &str)] = &[
            ("requests", "requests"),
            (FROM_CACHE, "  from the cache"),
            (FROM_COPIES, "  from copies"),
            ("waiting", "  waiting page"),
            ("passes", "  passes given"),
            ("refused", "  refused network"),
            ("origin_failures", "  origin failed"),
            ("client_faults", "unreadable"),
            ("unknown_hosts", "host of no site"),
            ("turned_away_connections", "connections refused"),
            ("bytes_out", "sent, KiB"),
        ];
        const FROM_CACHE: &str = "from_cache";
        /// In place of what the origin had no room for: saved pages, pages without what strangers added to the address, searches.
        const FROM_COPIES: &str = "from_copies";
        let cell = |counts: &Value, seconds: f64, key: &str| -> Option<String> {
            let count = |key: &str| counts[key].as_u64();
            Some(match key {
                FROM_CACHE => {
                    let from_cache = count("hits")? + count("stale")? + count("collapsed")?;
                    match count("requests")? {
                        0 => "-".into(),
                        all => format!("{:.1} %", 100.0 * from_cache as f64 / all as f64),
                    }
                }
                FROM_COPIES => {
                    let copies = count("saved_shown")? + count("reduced")? + count("searched")?;
                    thousands((copies as f64 / seconds).round() as u64)
                }
                "bytes_out" => thousands((count(key)? as f64 / seconds / 1024.0).round() as u64),
                key => thousands((count(key)? as f64 / seconds).round() as u64),
            })
        };
        let mut table = String::new();
        for (key, called) in ROWS {
            let Some(since_start) = cell(&self.edge, 1.0, key) else {
                continue;
            };
            let now = self
                .recent
                .as_ref()
                .filter(|recent| recent.seconds > 0.0)
                .and_then(|recent| cell(&recent.counts, recent.seconds, key))
                .unwrap_or_else(|| "-".into());
            table += &format!("{called:<20}{now:>18}{since_start:>18}\n");
        }
        if table.is_empty() {
            return table;
        }
        format!(
            "\n{:<20}{:>18}{:>18}\n{table}\n",
            "", "now, a second", "since the start"
        )
    }

    fn site(&self, site: &SiteStatus) -> String {
        let hosts = match site.hosts.as_slice() {
            [] => "every other host".into(),
            hosts if hosts.len() > HOSTS_SHOWN_MAX => format!(
                "{} and {} more",
                hosts[..HOSTS_SHOWN_MAX].join(" "),
                hosts.len() - HOSTS_SHOWN_MAX
            ),
            hosts => hosts.join(" "),
        };
        let mut said = format!("{}, mode {}: {hosts}", site.name, site.mode);
        let figures = self.edge["sites"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["name"] == site.name))
            .unwrap_or(&Value::Null);
        let count = |key: &str| figures[key].as_u64().map(thousands);
        if let (Some(requests), Some(sources)) = (count("requests_per_s"), count("sources_per_s")) {
            said += &format!("\n{requests} requests from {sources} addresses in the last second");
        }
        said += &format!("\norigin {}", site.origin);
        if let Some(state) = figures["origin"].as_str() {
            said += &format!(" is {state}");
        }
        if let (Some(taken), Some(places), Some(waiting), Some(turned_away)) = (
            count("in_flight"),
            count("limit"),
            count("queued"),
            count("turned_away"),
        ) {
            said += &format!(
                "\n{taken} of {places} places at it taken, {waiting} waiting; {turned_away} turned away so far"
            );
        }
        if let (Some(would_wait), Some(spared)) = (
            count("would_wait").filter(|count| count != "0"),
            count("would_be_spared"),
        ) {
            said += &format!(
                "\nin mode protect {would_wait} would have waited, {spared} known ones not"
            );
        }
        said + &detection(&figures["detection"], &site.mode)
    }
}

/// What is the matter, if anything is.
fn detection(found: &Value, mode: &str) -> String {
    let posture = found["posture"].as_str().unwrap_or("calm");
    if posture == "calm" {
        return String::new();
    }
    let mut said = format!("\n{}", posture.to_uppercase());
    let Some(incident) = found["incidents"]
        .get(0)
        .filter(|one| one["end_s"].is_null())
    else {
        return said + ": more requests than usual, and nothing runs short";
    };
    let count = |key: &str| thousands(incident[key].as_u64().unwrap_or(0));
    let attacked = incident["attacked_at_ms"].as_i64().unwrap_or(0);
    let attacked = jiff::Timestamp::from_millisecond(attacked)
        .map_or(String::new(), |at| at.strftime("%H:%M:%S UTC").to_string());
    said += &if posture == "guarded" {
        format!(": an attack began at {attacked} and has let up")
    } else {
        let because = incident["because"].as_str();
        let because = because.map_or(String::new(), |because| format!(": {because}"));
        format!(" since {attacked}{because}")
    };
    said += &format!(
        "\nof all {} requests since then, readers' too, rules hit {}",
        count("requests"),
        count("hit")
    );
    let all = incident["rules"].as_array();
    let all = || all.into_iter().flatten();
    let rules: Vec<&Value> = all().filter(|rule| rule["expired_s"].is_null()).collect();
    if rules.is_empty() {
        said += match (
            all().count(),
            incident["state"].as_str().unwrap_or_default(),
        ) {
            (0, "too little baseline") => {
                "\nno rule: too little was seen before it began; your server is shared out by turns"
            }
            (0, "copies answer it") => "\nno rule: copies answer it",
            (0, "no rule under the gate") => {
                "\nno rule: what it has in common readers have too; your server is shared out by turns"
            }
            (0, _) => "\nno rule: it has nothing in common; your server is shared out by turns",
            _ if all().any(|rule| rule["withdrawn"] == true) => {
                "\nno rule stands: the last ones were withdrawn, for they hit readers too"
            }
            _ => "\nits rules are over: nothing has matched them for a while",
        };
    } else if mode == "observe" {
        said += "\nmode observe: rules are counted and not acted on";
    }
    let more = rules.len().saturating_sub(RULES_SHOWN_MAX);
    for rule in rules.iter().take(RULES_SHOWN_MAX) {
        let sentence = rule["sentence"]["en"].as_str().unwrap_or_default();
        said += &format!("\n{}", shown(sentence));
    }
    if more > 0 {
        said += &format!("\nand {more} more rules; --json shows all");
    }
    said
}

/// 1234567 as 1,234,567.
fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut said = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

/// The two largest units that are not zero.
fn up_time(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let said: Vec<String> = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if said.is_empty() {
        "0 s".into()
    } else {
        said.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_time_has_two_units() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_661, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(up_time(seconds), said);
        }
    }

    #[test]
    fn the_screen_of_a_status() {
        let status = Status {
            version: "1.2.3".into(),
            process: 42,
            up_seconds: 61,
            listening: vec!["http://127.0.0.1:8080".into()],
            settings: Some("newsroom.toml".into()),
            bypass: false,
            sites: vec![SiteStatus {
                name: "news".into(),
                hosts: vec!["news.example".into(), "www.news.example".into()],
                origin: "http://127.0.0.1:8081".into(),
                mode: "protect".into(),
            }],
            memory_bytes: Some(96 << 20),
            connections_max: Some(10_000),
            few_files: None,
            recent: Some(Recent {
                seconds: 10.0,
                counts: serde_json::json!({
                    "requests": 98_120, "hits": 97_000, "stale": 500, "collapsed": 31, "waiting": 520, "passes": 310, "refused": 0,
                    "saved_shown": 20, "reduced": 100, "searched": 180,
                    "origin_failures": 4, "client_faults": 0, "unknown_hosts": 26, "turned_away_connections": 0,
                    "bytes_out": 104_857_600,
                }),
            }),
            edge: serde_json::json!({
                "requests": 1_234_567, "hits": 1_000_000, "stale": 1000, "collapsed": 0, "waiting": 12, "passes": 9, "refused": 3,
                "saved_shown": 2_000, "reduced": 1_000, "searched": 456,
                "origin_failures": 4, "connections": 200, "turned_away_connections": 0, "cache_entries": 4321,
                "client_faults": 7, "unknown_hosts": 811,
                "bytes_out": 10_485_760_000_u64, "cache_bytes": 90_000_000, "cache_bytes_max": 268_435_456,
                "sites": [{"name": "news", "limit": 24, "in_flight": 3, "queued": 0, "turned_away": 1000, "origin": "up",
                    "requests_per_s": 9_800, "sources_per_s": 5_000}],
            }),
        };
        let screen = status.screen();
        assert_eq!(
            screen,
            "\
Saqta 1.2.3, process 42, up 1 min 1 s, 96 MiB of memory
settings       newsroom.toml
listening      http://127.0.0.1:8080
connections    200 of 10,000 open
cache          4,321 stored, 85 of 256 MiB
bypass         off

                         now, a second   since the start
requests                         9,812         1,234,567
  from the cache                99.4 %            81.1 %
  from copies                       30             3,456
  waiting page                      52                12
  passes given                      31                 9
  refused network                    0                 3
  origin failed                      0                 4
unreadable                           0                 7
host of no site                      3               811
connections refused                  0                 0
sent, KiB                       10,240        10,240,000

site           news, mode protect: news.example www.news.example
               9,800 requests from 5,000 addresses in the last second
               origin http://127.0.0.1:8081 is up
               3 of 24 places at it taken, 0 waiting; 1,000 turned away so far
"
        );
        assert!(screen.lines().count() <= 24);
        assert!(screen.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn visitors_are_told_of_where_any_came() {
        let status = |edge: Value| Status {
            version: "1".into(),
            process: 1,
            up_seconds: 0,
            listening: Vec::new(),
            settings: None,
            bypass: false,
            sites: Vec::new(),
            memory_bytes: None,
            connections_max: None,
            few_files: None,
            recent: None,
            edge,
        };
        let figures = |verified: u64, dropped: u64| {
            serde_json::json!({"visitors_known": verified, "lookups_verified": verified, "lookups_refuted": 0,
                "lookups_failed": 0, "lookups_dropped": dropped})
        };
        let row = |edge: Value| status(edge).visitors();
        assert_eq!(
            row(figures(1_312, 2_000)),
            "visitors       1,312 addresses known; of 1,312 lookups 0 fakes, 0 unanswered;\n               2,000 not made\n"
        );
        assert_eq!(
            row(figures(0, 5)),
            "visitors       0 addresses known; of 0 lookups 0 fakes, 0 unanswered; 5 not made\n"
        );
        assert_eq!(row(figures(0, 0)), "");
        assert_eq!(row(serde_json::json!({"requests": 1})), "");
    }

    #[test]
    fn what_is_the_matter_is_said() {
        let rule = |expired: Option<u64>| {
            serde_json::json!({"expired_s": expired, "sentence": {"en":
                "100 % of the attack and at most 0.05 % of ordinary requests: program (User-Agent) python-requests/2.32.5\u{1b}[2J"}})
        };
        let incident = |rules: Vec<Value>, state: &str| {
            serde_json::json!({"onset_s": 1_796_038_673, "attacked_at_ms": 1_796_038_675_100_u64, "end_s": null,
                "because": "more requests than usual", "requests": 136_780, "hit": 120_000, "state": state, "rules": rules})
        };
        const COUNTED: &str = "of all 136,780 requests since then, readers' too, rules hit 120,000";
        const RULE: &str = "100 % of the attack and at most 0.05 % of ordinary requests: program (User-Agent) python-requests/2.32.5\\u{1b}[2J";
        for (posture, incidents, mode, said) in [
            ("calm", vec![], "protect", String::new()),
            (
                "guarded",
                vec![],
                "protect",
                "\nGUARDED: more requests than usual, and nothing runs short".to_owned(),
            ),
            (
                "under attack",
                vec![incident(vec![rule(None), rule(Some(5))], "generated")],
                "observe",
                format!(
                    "\nUNDER ATTACK since 11:37:55 UTC: more requests than usual\n{COUNTED}\nmode observe: rules are counted and not acted on\n{RULE}"
                ),
            ),
            (
                "under attack",
                vec![incident(vec![], "no rule under the gate")],
                "protect",
                format!(
                    "\nUNDER ATTACK since 11:37:55 UTC: more requests than usual\n{COUNTED}\nno rule: what it has in common readers have too; your server is shared out by turns"
                ),
            ),
            (
                "guarded",
                vec![incident(vec![rule(Some(5))], "generated")],
                "protect",
                format!(
                    "\nGUARDED: an attack began at 11:37:55 UTC and has let up\n{COUNTED}\nits rules are over: nothing has matched them for a while"
                ),
            ),
        ] {
            let found = serde_json::json!({"posture": posture, "incidents": incidents});
            assert_eq!(detection(&found, mode), said);
        }
    }

    /// Another version's figures, or none, leave out lines and break nothing.
    #[test]
    fn unknown_figures_are_left_out() {
        let status: Status = serde_json::from_str(
            r#"{"version":"1","process":1,"up_seconds":0,"listening":[],"settings":null,"bypass":true,
                "sites":[{"name":"a","hosts":[],"origin":"http://b:80","mode":"observe"}],"edge":{"requests":1,"sites":[{"name":"a","would_wait":1212,"would_be_spared":3}]}}"#,
        )
        .unwrap();
        assert_eq!(
            status.screen(),
            "\
Saqta 1, process 1, up 0 s
settings       none (run --origin)
bypass         ON: the origin is not protected

                         now, a second   since the start
requests                             -                 1

site           a, mode observe: every other host
               origin http://b:80
               in mode protect 1,212 would have waited, 3 known ones not
"
        );
    }

    #[test]
    fn a_difference_is_of_the_numbers_both_have() {
        let now = serde_json::json!({"a": 5, "b": 3, "new": 1, "name": "x"});
        let before = serde_json::json!({"a": 2, "b": 4, "gone": 9, "name": "y"});
        assert_eq!(
            difference(now, &before),
            serde_json::json!({"a": 3, "b": 0})
        );
    }
}
