//! What the operator wrote.
//!
//! `Settings` is the file as it stands, each value with its line, nothing decided yet; [`crate::planning`] turns it into the
//! [`Plan`] the edge runs. Two types, because what is written may be wrong in twenty ways and what runs may not be wrong at all.
//!
//! serde stops at the first mistake. We want all of them, so the file is parsed into toml's spanned tree and walked by hand
//! ([`section`]): a value of the wrong kind and a key nobody knows are problems among others, and the walk goes on. A file that is
//! not TOML is another matter: where its sections begin is guesswork, so then only its syntax is reported.
//!
//! Every field has a default except what nobody can guess: which hosts a site has and where its origin is. `saqta settings` prints
//! all of them with their meaning from `settings.toml`, and a test holds that file to this one.

mod section;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use saqta_edge::plan::Plan;
use toml::de::DeTable;

use crate::planning;
use crate::problem::{Place, Problem, Problems};
use section::{Lines, Section};

/// Every setting with its meaning and default, as a file that can be edited.
pub const ANNOTATED: &str = include_str!("settings.toml");

/// A settings file is a page or two. More is a wrong file (a log, a database) given by mistake.
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    pub value: T,
    pub place: Place,
}

/// One text or a list of them: `listen = "…"` and `listen = ["…", "…"]` are both understood.
pub type Texts = Written<Vec<Written<String>>>;

#[derive(Debug, Default)]
pub struct Settings {
    /// Addresses and ports to listen on. Loopback unless told otherwise: being reachable is a decision.
    pub listen: Option<Texts>,
    /// Threads that serve, each with its own listener. One for each processor unless told otherwise.
    pub shards: Option<Written<i64>>,
    /// Networks answered 403 at once.
    pub refuse: Option<Texts>,
    /// Proxies in front of us whose `X-Forwarded-For` is believed. Nobody unless told otherwise, this machine included.
    pub trust_forwarded: Option<Texts>,
    /// Memory for stored responses, in MiB, all sites together.
    pub cache_mb: Option<Written<i64>>,
    /// The same on disk, in GiB.
    pub disk_cache_gb: Option<Written<i64>>,
    /// Disk for the always-online copies, in GiB, all sites together.
    pub saved_gb: Option<Written<i64>>,
    /// What the machine's line carries, in megabits a second.
    pub line_mbit: Option<Written<i64>>,
    /// Lists of whose network an address is in, in MaxMind's format.
    pub asn_file: Option<Written<String>>,
    pub country_file: Option<Written<String>>,
    /// Who is asked for the names of search engines' addresses. Whom the machine asks unless told otherwise.
    pub resolver: Option<Texts>,
    pub limits: LimitsSettings,
    pub lanes: Vec<LaneSettings>,
    pub sites: Vec<SiteSettings>,
    /// As in [`SiteSettings`].
    pub(crate) misread: Vec<&'static str>,
}

/// `[limits]`: bounds on what a client may take.
#[derive(Debug, Default)]
pub struct LimitsSettings {
    /// Open connections, all clients together.
    pub connections_max: Option<Written<i64>>,
    /// Open connections from one address. Mobile carriers put whole towns behind one.
    pub connections_per_address_max: Option<Written<i64>>,
    /// Bytes of a request head.
    pub header_bytes_max: Option<Written<i64>>,
    /// Lines of a request head.
    pub header_fields_max: Option<Written<i64>>,
    /// From the first byte of a request head to its end.
    pub header_timeout: Option<Written<Duration>>,
    /// How long a connection may stay open without a request.
    pub keep_alive_timeout: Option<Written<Duration>>,
    /// MiB of one request body.
    pub body_mb_max: Option<Written<i64>>,
    /// Bytes a second a request body must bring.
    pub body_rate_min: Option<Written<i64>>,
    /// Bytes a second a client must take of a response.
    pub write_rate_min: Option<Written<i64>>,
    /// Requests at once on one HTTP/2 connection.
    pub h2_streams_max: Option<Written<i64>>,
}

/// `[[lane]]`: a visitor who is no reader, and where it comes from.
#[derive(Debug)]
pub struct LaneSettings {
    pub place: Place,
    /// How it calls itself.
    pub agent: Option<Written<String>>,
    pub networks: Option<Texts>,
    /// As in [`SiteSettings`].
    pub(crate) misread: Vec<&'static str>,
}

/// `[[site]]`: one newsroom's site.
#[derive(Debug)]
pub struct SiteSettings {
    /// The line of `[[site]]`, or the flag that stands for it.
    pub place: Place,
    /// How screens and figures call it. The first host unless told otherwise.
    pub name: Option<Written<String>>,
    /// Host names readers type.
    pub hosts: Option<Texts>,
    /// Also answer hosts that no site names. At most one site.
    pub any_host: Option<Written<bool>>,
    /// Where the newsroom's own server listens.
    pub origin: Option<Written<String>>,
    /// Networks whose clients are the newsroom's staff: the origin keeps places for them at any load.
    pub staff: Option<Texts>,
    /// `observe` or `protect`.
    pub mode: Option<Written<String>>,
    /// `kk`, `ru` or `en`: the language of our own pages when a reader's browser asks for none of them.
    pub language: Option<Written<String>>,
    /// `full`, `prefix` or `none`: what the origin learns of a client's address.
    pub forward_client_address: Option<Written<String>>,
    /// The origin sees the host the reader asked for, not its own address.
    pub keep_host: Option<Written<bool>>,
    pub connect_timeout: Option<Written<Duration>>,
    /// From a request's last byte to the response head.
    pub response_timeout: Option<Written<Duration>>,
    /// Longest silence inside a response body.
    pub idle_timeout: Option<Written<Duration>>,
    /// Requests the origin has at once at most, whatever it seems able to bear.
    pub concurrency_max: Option<Written<i64>>,
    /// A path asked for every few seconds while the origin is down or idle.
    pub health_path: Option<Written<String>>,
    /// `generic`, `wordpress`, `drupal` or `joomla`: what the site's pages are made with.
    pub profile: Option<Written<String>>,
    /// How long a page is kept whose origin does not say, instead of the profile's own.
    pub lifetime: Option<Written<Duration>>,
    /// Languages the site is written in, its first one first.
    pub languages: Option<Texts>,
    /// Cookies that make a page their reader's own.
    pub session_cookies: Option<Texts>,
    /// Cookies that choose one of several pages.
    pub keyed_cookies: Option<Texts>,
    /// Cookies that mean nothing to a page.
    pub ignored_cookies: Option<Texts>,
    /// Paths whose pages are their reader's own.
    pub private_paths: Option<Texts>,
    /// Parameters that say which page is meant.
    pub content_parameters: Option<Texts>,
    /// Parameters that say where a reader came from.
    pub ignored_parameters: Option<Texts>,
    /// A system's `no-store` counts even where it says so to everybody.
    pub obey_no_store: Option<Written<bool>>,
    /// Networks whose `PURGE` and `BAN` requests are obeyed, besides the origin's own.
    pub purge_from: Option<Texts>,
    /// Or whoever sends this with them.
    pub purge_token: Option<Written<String>>,
    /// Copies of its public pages are kept for when its origin is out of reach.
    pub saved: Option<Written<bool>>,
    /// Whoever has read here before is known by a cookie.
    pub known_readers: Option<Written<bool>>,
    /// Keys by which the newsroom's own application is known.
    pub app_keys: Option<Texts>,
    /// Keys written in a way nobody understands: each is a problem already, and none is missing.
    pub(crate) misread: Vec<&'static str>,
}

impl SiteSettings {
    /// Nothing written yet.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            name: None,
            hosts: None,
            any_host: None,
            origin: None,
            staff: None,
            mode: None,
            language: None,
            forward_client_address: None,
            keep_host: None,
            connect_timeout: None,
            response_timeout: None,
            idle_timeout: None,
            concurrency_max: None,
            health_path: None,
            profile: None,
            lifetime: None,
            languages: None,
            session_cookies: None,
            keyed_cookies: None,
            ignored_cookies: None,
            private_paths: None,
            content_parameters: None,
            ignored_parameters: None,
            obey_no_store: None,
            purge_from: None,
            purge_token: None,
            saved: None,
            known_readers: None,
            app_keys: None,
            misread: Vec::new(),
        }
    }
}

const TOP_KEYS: &[&str] = &[
    "listen",
    "shards",
    "refuse",
    "trust_forwarded",
    "cache_mb",
    "disk_cache_gb",
    "saved_gb",
    "line_mbit",
    "asn_file",
    "country_file",
    "resolver",
    "limits",
    "lane",
    "site",
];

const LANE_KEYS: &[&str] = &["agent", "networks"];

const LIMITS_KEYS: &[&str] = &[
    "connections_max",
    "connections_per_address_max",
    "header_bytes_max",
    "header_fields_max",
    "header_timeout",
    "keep_alive_timeout",
    "body_mb_max",
    "body_rate_min",
    "write_rate_min",
    "h2_streams_max",
];

const SITE_KEYS: &[&str] = &[
    "name",
    "hosts",
    "any_host",
    "origin",
    "staff",
    "mode",
    "language",
    "forward_client_address",
    "keep_host",
    "connect_timeout",
    "response_timeout",
    "idle_timeout",
    "concurrency_max",
    "health_path",
    "profile",
    "lifetime",
    "languages",
    "session_cookies",
    "keyed_cookies",
    "ignored_cookies",
    "private_paths",
    "content_parameters",
    "ignored_parameters",
    "obey_no_store",
    "purge_from",
    "purge_token",
    "saved",
    "known_readers",
    "app_keys",
];

/// Where a key that is unknown in one section belongs.
pub const SECTIONS: &[(&str, &[&str])] = &[
    ("the top of the file", TOP_KEYS),
    ("[limits]", LIMITS_KEYS),
    ("[[lane]]", LANE_KEYS),
    ("[[site]]", SITE_KEYS),
];

/// From the text of a settings file to what the edge runs.
///
/// # Errors
/// All problems, in the order of the file. Never empty.
pub fn read(text: &str, file: &Path) -> Result<Plan, Vec<Problem>> {
    read_beside(text, file, None)
}

/// As [`read`], for a Saqta that runs: what only a restart can change is a problem among the others.
///
/// # Errors
/// All problems, in the order of the file. Never empty.
pub fn read_again(text: &str, file: &Path, running: &Plan) -> Result<Plan, Vec<Problem>> {
    read_beside(text, file, Some(running))
}

fn read_beside(text: &str, file: &Path, running: Option<&Plan>) -> Result<Plan, Vec<Problem>> {
    let mut problems = Problems::of_file(file);
    let Some(settings) = walk(text, &mut problems) else {
        return Err(problems.into_list());
    };
    planning::plan(settings, running, problems)
}

/// What `run --origin URL` without a file serves: one site, in mode `protect`, since whoever tries Saqta wants to see it work.
/// Without `hosts` it answers every Host.
///
/// # Errors
/// All problems, each with the flag it is about. Never empty.
pub fn of_flags(origin: &str, listen: &[String], hosts: &[String]) -> Result<Plan, Vec<Problem>> {
    let written = |flag, value: &str| Written {
        value: value.to_owned(),
        place: Place::Flag(flag),
    };
    let texts = |flag, values: &[String]| {
        let value: Vec<_> = values.iter().map(|value| written(flag, value)).collect();
        (!value.is_empty()).then_some(Written {
            value,
            place: Place::Flag(flag),
        })
    };
    let mut site = SiteSettings::at(Place::Flag("--origin"));
    site.hosts = texts("--host", hosts);
    site.any_host = hosts.is_empty().then_some(Written {
        value: true,
        place: Place::Flag("--host"),
    });
    site.origin = Some(written("--origin", origin));
    site.mode = Some(written("--origin", "protect"));
    let settings = Settings {
        listen: texts("--listen", listen),
        sites: vec![site],
        ..Settings::default()
    };
    planning::plan(settings, None, Problems::of_command_line())
}

/// `None`: not TOML, or not a file one could mean; the problems say why.
fn walk(text: &str, problems: &mut Problems) -> Option<Settings> {
    if text.len() > TEXT_BYTES_MAX {
        problems.add(
            Place::Whole,
            format!(
                "the file has more than {TEXT_BYTES_MAX} bytes, the most that settings may have"
            ),
            "give the settings file; `saqta settings` prints an example",
        );
        return None;
    }
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // After the first error of a line the parser is guessing.
        let mut lines_told = BTreeSet::new();
        for error in errors {
            let place = error
                .span()
                .map_or(Place::Whole, |span| lines.place(span.start));
            if !lines_told.insert(place) {
                continue;
            }
            let line = match place {
                Place::Line(number) => text.lines().nth(number - 1).unwrap_or_default(),
                Place::Whole | Place::Flag(_) => "",
            };
            problems.add(
                place,
                format!("not TOML: {}", error.message().replace('\n', ", ")),
                format!(
                    "{}; the rest is checked once the file can be read",
                    how_to_mend(line, error.message())
                ),
            );
        }
        return None;
    }
    Some(settings(Section::new(
        "the top of the file",
        TOP_KEYS,
        table.into_inner(),
        &lines,
        problems,
    )))
}

/// What people usually mean by a line that is no TOML. The parser's words are for those who know its grammar.
fn how_to_mend(line: &str, said: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let (key, value) = (key.trim(), value.trim());
    let a_text = |value: &str| {
        value.chars().count() <= SHOWN_CHARS_MAX
            && !value.is_empty()
            && value
                .chars()
                .all(|c| c.is_alphanumeric() || "-._:/[]".contains(c))
    };
    if line.contains(['“', '”', '„', '«', '»', '‘', '’']) {
        "write straight quotes: \"…\"".into()
    } else if said.contains("duplicate key") {
        format!(
            "`{key}` stands twice in its section: take one out, or begin a new [[site]] above it"
        )
    } else if line.trim_start().starts_with('[') && value.is_empty() {
        "a section is [limits], [[lane]] or [[site]], with as many brackets behind as before".into()
    } else if line.trim_end().ends_with(['{', ';']) || line.trim_start().starts_with('{') {
        "this is another program's notation; `saqta settings` prints how a file looks".into()
    } else if said.contains("array") {
        "close the list with ] and put a comma between two entries".into()
    } else if a_text(value) && !value.starts_with('[') {
        format!("put quotes round a text: {key} = \"{value}\"")
    } else {
        "mend this line: key = \"text\", key = 8 or key = [\"one\", \"two\"]".into()
    }
}

fn settings(mut top: Section<'_, '_>) -> Settings {
    let mut settings = Settings {
        listen: top.texts("listen"),
        shards: top.whole_number("shards"),
        refuse: top.texts("refuse"),
        trust_forwarded: top.texts("trust_forwarded"),
        cache_mb: top.whole_number("cache_mb"),
        disk_cache_gb: top.whole_number("disk_cache_gb"),
        saved_gb: top.whole_number("saved_gb"),
        line_mbit: top.whole_number("line_mbit"),
        asn_file: top.text("asn_file"),
        country_file: top.text("country_file"),
        resolver: top.texts("resolver"),
        limits: top
            .table("limits", "[limits]", LIMITS_KEYS)
            .map(limits)
            .unwrap_or_default(),
        lanes: top.tables("lane", "[[lane]]", LANE_KEYS, lane),
        sites: top.tables("site", "[[site]]", SITE_KEYS, site),
        misread: Vec::new(),
    };
    settings.misread = top.finish(SECTIONS);
    settings
}

fn limits((_, mut section): (Place, Section<'_, '_>)) -> LimitsSettings {
    let limits = LimitsSettings {
        connections_max: section.whole_number("connections_max"),
        connections_per_address_max: section.whole_number("connections_per_address_max"),
        header_bytes_max: section.whole_number("header_bytes_max"),
        header_fields_max: section.whole_number("header_fields_max"),
        header_timeout: section.duration("header_timeout"),
        keep_alive_timeout: section.duration("keep_alive_timeout"),
        body_mb_max: section.whole_number("body_mb_max"),
        body_rate_min: section.whole_number("body_rate_min"),
        write_rate_min: section.whole_number("write_rate_min"),
        h2_streams_max: section.whole_number("h2_streams_max"),
    };
    section.finish(SECTIONS);
    limits
}

fn lane(place: Place, mut section: Section<'_, '_>) -> LaneSettings {
    let mut lane = LaneSettings {
        place,
        agent: section.text("agent"),
        networks: section.texts("networks"),
        misread: Vec::new(),
    };
    lane.misread = section.finish(SECTIONS);
    lane
}

fn site(place: Place, mut section: Section<'_, '_>) -> SiteSettings {
    let mut site = SiteSettings {
        place,
        name: section.text("name"),
        hosts: section.texts("hosts"),
        any_host: section.switch("any_host"),
        origin: section.text("origin"),
        staff: section.texts("staff"),
        mode: section.text("mode"),
        language: section.text("language"),
        forward_client_address: section.text("forward_client_address"),
        keep_host: section.switch("keep_host"),
        connect_timeout: section.duration("connect_timeout"),
        response_timeout: section.duration("response_timeout"),
        idle_timeout: section.duration("idle_timeout"),
        concurrency_max: section.whole_number("concurrency_max"),
        health_path: section.text("health_path"),
        profile: section.text("profile"),
        lifetime: section.duration("lifetime"),
        languages: section.texts("languages"),
        session_cookies: section.texts("session_cookies"),
        keyed_cookies: section.texts("keyed_cookies"),
        ignored_cookies: section.texts("ignored_cookies"),
        private_paths: section.texts("private_paths"),
        content_parameters: section.texts("content_parameters"),
        ignored_parameters: section.texts("ignored_parameters"),
        obey_no_store: section.switch("obey_no_store"),
        purge_from: section.texts("purge_from"),
        purge_token: section.text("purge_token"),
        saved: section.switch("saved"),
        known_readers: section.switch("known_readers"),
        app_keys: section.texts("app_keys"),
        misread: Vec::new(),
    };
    site.misread = section.finish(SECTIONS);
    site
}
