//! What a running Saqta says of itself: for `saqta status`, never with anything that names a reader.

use serde::{Deserialize, Serialize};

use crate::screen::{self, Tone};

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
    /// The edge's counters since the start.
    pub edge: serde_json::Value,
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

    fn requests(&self) -> Option<String> {
        let all = self.count("requests")?;
        let from_cache = self.count("hits")? + self.count("stale")? + self.count("collapsed")?;
        let share = if all == 0 {
            0.0
        } else {
            100.0 * from_cache as f64 / all as f64
        };
        Some(format!(
            "{}, {share:.1} % of them from the cache; {} waiting pages, {} refused, {} failed at the origin",
            thousands(all),
            thousands(self.count("waiting")?),
            thousands(self.count("refused")?),
            thousands(self.count("origin_failures")?),
        ))
    }

    /// For a person, in 80 columns.
    pub(crate) fn screen(&self) -> String {
        let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
        let mut screen = format!(
            "Saqta {}, process {}, up {}\n",
            self.version,
            self.process,
            up_time(self.up_seconds)
        );
        for address in &self.listening {
            screen += &row("listening", address);
        }
        screen += &row(
            "settings",
            self.settings.as_deref().unwrap_or("none (run --origin)"),
        );
        screen += &row(
            "bypass",
            if self.bypass {
                "ON: the origin is not protected"
            } else {
                "off"
            },
        );
        if let Some(said) = self.requests() {
            screen += &row("requests", &said);
        }
        if let (Some(open), Some(turned_away)) = (
            self.count("connections"),
            self.count("turned_away_connections"),
        ) {
            screen += &row(
                "connections",
                &format!(
                    "{} open, {} turned away",
                    thousands(open),
                    thousands(turned_away)
                ),
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
        for site in &self.sites {
            let hosts = if site.hosts.is_empty() {
                "every other host".into()
            } else {
                site.hosts.join(" ")
            };
            let figures = self.edge["sites"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == site.name));
            let at_origin = figures
                .and_then(at_origin)
                .map(|said| format!("\n{said}"))
                .unwrap_or_default();
            screen += &row(
                "site",
                &format!(
                    "{}, mode {}\n{hosts}\norigin {}{at_origin}",
                    site.name, site.mode, site.origin
                ),
            );
        }
        screen
    }
}

/// What stands between a site and its origin now.
fn at_origin(figures: &serde_json::Value) -> Option<String> {
    let count = |key: &str| figures[key].as_u64().map(thousands);
    let state = figures["origin"].as_str().unwrap_or("unknown");
    Some(format!(
        "{state}, {} of {} places taken, {} waiting, {} turned away",
        count("in_flight")?,
        count("limit")?,
        count("queued")?,
        count("turned_away")?
    ))
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
            edge: serde_json::json!({
                "requests": 1_234_567, "hits": 1_000_000, "stale": 1000, "collapsed": 0, "waiting": 12, "refused": 3,
                "origin_failures": 4, "connections": 200, "turned_away_connections": 0, "cache_entries": 4321,
                "cache_bytes": 90_000_000, "cache_bytes_max": 268_435_456,
                "sites": [{"name": "news", "limit": 24, "in_flight": 3, "queued": 0, "turned_away": 1000, "origin": "up"}],
            }),
        };
        let screen = status.screen();
        assert_eq!(
            screen,
            "\
Saqta 1.2.3, process 42, up 1 min 1 s
listening      http://127.0.0.1:8080
settings       newsroom.toml
bypass         off
requests       1,234,567, 81.1 % of them from the cache; 12 waiting pages, 3
               refused, 4 failed at the origin
connections    200 open, 0 turned away
cache          4,321 stored, 85 of 256 MiB
site           news, mode protect
               news.example www.news.example
               origin http://127.0.0.1:8081
               up, 3 of 24 places taken, 0 waiting, 1,000 turned away
"
        );
        assert!(screen.lines().all(|line| line.chars().count() <= 80));
    }

    /// Another version's figures, or none, leave out lines and break nothing.
    #[test]
    fn unknown_figures_are_left_out() {
        let status: Status = serde_json::from_str(
            r#"{"version":"1","process":1,"up_seconds":0,"listening":[],"settings":null,"bypass":true,
                "sites":[{"name":"a","hosts":[],"origin":"http://b:80","mode":"observe"}],"edge":{"requests":1}}"#,
        )
        .unwrap();
        assert_eq!(
            status.screen(),
            "\
Saqta 1, process 1, up 0 s
settings       none (run --origin)
bypass         ON: the origin is not protected
site           a, mode observe
               every other host
               origin http://b:80
"
        );
    }
}
