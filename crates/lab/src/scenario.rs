//! A drill, written down: who reads, who attacks, what breaks, and what must hold.
//!
//! A scenario is one TOML file, so that a newsroom can copy ours, change a number and rehearse its own fear. What is written is
//! hostile until read: every number has a bound, every word a list it must be on, and [`parse`] answers with either a
//! [`Scenario`] that cannot be wrong or every problem at once, each with its line and what to do about it.
//!
//! Times are written for a drill of full length; [`Scenario::lasting`] shortens or stretches all of them together.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest of ours has 60 lines; a file of megabytes is a mistake or an attempt to use up memory.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// Nobody repairs more at a time.
const PROBLEMS_MAX: usize = 100;
/// Loopback has 16 million addresses, the largest attack on record 245,000; each costs the generator 16 bytes.
const ADDRESSES_MAX: u64 = 200_000;
/// Twice what is asked of a farm in the design of these drills. They are made when they are shown.
const PASSES_MAX: u64 = 1_000_000;
/// Twice what one core of a small machine can send.
const RATE_MAX: f64 = 60_000.0;
/// A drill on a machine in use must end by itself.
const SECONDS_MAX: f64 = 120.0;
/// A second more than this would not let a connection be opened, used and judged.
const PHASE_SECONDS_MIN: f64 = 1.0;
/// One generator process has 8,000 connections; the slow scenario needs 5,000.
pub const CONNECTIONS_MAX: u64 = 8_000;
/// What an editor's line of 200 Mbit/s carries within a reader's patience.
const UPLOAD_MB_MAX: u64 = 200;
/// What servers usually let a connection have at once.
const HTTP2_STREAMS_MAX: u64 = 100;
const LIST_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 1_000;

/// The scenarios shipped in the program, in the order they are listed.
pub const EMBEDDED: &[(&str, &str)] = &[
    (
        "kursiv-search",
        include_str!("../scenarios/kursiv-search.toml"),
    ),
    (
        "meduza-search",
        include_str!("../scenarios/meduza-search.toml"),
    ),
    (
        "meduza-search-h2",
        include_str!("../scenarios/meduza-search-h2.toml"),
    ),
    ("meduza-wide", include_str!("../scenarios/meduza-wide.toml")),
    ("bic-article", include_str!("../scenarios/bic-article.toml")),
    ("zp-404", include_str!("../scenarios/zp-404.toml")),
    ("path-bust", include_str!("../scenarios/path-bust.toml")),
    ("value-bust", include_str!("../scenarios/value-bust.toml")),
    ("sjs-burst", include_str!("../scenarios/sjs-burst.toml")),
    (
        "nacionale-steps",
        include_str!("../scenarios/nacionale-steps.toml"),
    ),
    ("login-flood", include_str!("../scenarios/login-flood.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("h2-abuse", include_str!("../scenarios/h2-abuse.toml")),
    (
        "personalised",
        include_str!("../scenarios/personalised.toml"),
    ),
    (
        "install-under-attack",
        include_str!("../scenarios/install-under-attack.toml"),
    ),
    ("origin-dies", include_str!("../scenarios/origin-dies.toml")),
    ("neighbour", include_str!("../scenarios/neighbour.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
    ("solvers", include_str!("../scenarios/solvers.toml")),
    ("pass-farm", include_str!("../scenarios/pass-farm.toml")),
    ("flash-crowd", include_str!("../scenarios/flash-crowd.toml")),
    (
        "telegram-push",
        include_str!("../scenarios/telegram-push.toml"),
    ),
    (
        "telegram-push-meduza",
        include_str!("../scenarios/telegram-push-meduza.toml"),
    ),
];

/// The text of an embedded scenario.
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// A scenario and its text, from which other processes read it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub text: String,
    pub scenario: Scenario,
}

/// Why there is no such scenario; says all of it, a line each.
#[derive(Debug, thiserror::Error)]
pub enum NotAScenario {
    #[error("there is no scenario \"{name}\"; there are {known}, or give a file by its path, such as ./{name}.toml", known = names())]
    Unknown { name: String },
    #[error("cannot read {path}; `saqta drill --list` shows the scenarios there are")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}", lines(path, problems))]
    Wrong {
        path: PathBuf,
        problems: Vec<Problem>,
    },
}

fn names() -> String {
    EMBEDDED
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{}: {problem}", path.display()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A shipped scenario by its name, or a file by its path: what has a dot or a slash is a path.
pub fn find(name: &str) -> Result<Written, NotAScenario> {
    let path = PathBuf::from(name);
    let text = match embedded(name) {
        Some(text) => text.to_owned(),
        None if !name.contains(['.', '/']) => {
            return Err(NotAScenario::Unknown { name: shown(name) });
        }
        None => {
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| {
                file.take(FILE_BYTES_MAX as u64 + 1)
                    .read_to_string(&mut text)
            });
            match read {
                Ok(_) => text,
                Err(source) => return Err(NotAScenario::Unreadable { path, source }),
            }
        }
    };
    match parse(&text) {
        Ok(scenario) => Ok(Written { text, scenario }),
        Err(problems) => Err(NotAScenario::Wrong { path, problems }),
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub name: String,
    /// One sentence: what happened to whom.
    pub says: String,
    pub phases: Phases,
    pub origin: OriginShape,
    pub readers: Readers,
    pub crowd: Option<Crowd>,
    pub staff: Option<Staff>,
    /// Readers of a second outlet on the same edge, a second.
    pub neighbour_rate: Option<f64>,
    /// Of each group of those whom a shield stops by mistake, a second.
    pub mixed_rate: Option<f64>,
    /// Of each group of [`SEEKERS`], a second.
    pub seekers_rate: Option<f64>,
    /// Of people who sign in with their password, a second.
    pub logins_rate: Option<f64>,
    pub attacks: Vec<Attack>,
    /// What the cable carries each way, in a network of the drill's own; loopback has no limit.
    pub link_mbit_per_s: Option<f64>,
    pub expectations: Vec<Expectation>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phases {
    pub calm: Duration,
    pub attack: Duration,
    pub after: Duration,
}

impl Phases {
    pub fn total(&self) -> Duration {
        self.calm + self.attack + self.after
    }

    /// When the attack ends, from the start of the drill.
    pub fn attack_end(&self) -> Duration {
        self.calm + self.attack
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct OriginShape {
    /// How many requests the origin works on at once: its capacity.
    pub workers: u32,
    /// How long its answers stay fresh; `None`: as its dialect says.
    pub max_age_s: Option<u32>,
    pub faults: Vec<Fault>,
}

/// Something the origin does wrong for a while, from `at` after onset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub kind: FaultKind,
    pub at: Duration,
    pub lasting: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Answers 500.
    Errors,
    /// Accepts and never answers.
    Hangs,
    /// Refuses connections.
    Refuses,
    /// Ends the connection in the middle of a body.
    Truncates,
    /// Its database is gone and it says so with status 200.
    ErrorPage,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readers {
    /// Page views a second.
    pub rate: f64,
    /// Of the views, how many are of the front page; the rest, less searches, are articles.
    pub front_share: f64,
    pub search_share: f64,
    /// Of the article views, how many are of one nobody asked for before.
    pub new_url_share: f64,
    /// Of the views, how many are a visitor's first.
    pub new_visitor_share: f64,
    /// How many different articles are read over and over.
    pub articles: u32,
    /// Of the visitors, those the site knows: its pages carry what is theirs alone.
    pub known_share: f64,
    /// Of the visitors, those whose connections are HTTP/2.
    pub http2_share: f64,
    /// Every view on a new connection.
    pub new_connections: bool,
}

/// Many more readers than usual, through the attack phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    /// How many times the calm rate, calm readers included.
    pub factor: f64,
    /// Of the crowd, how many come for the one new article; the others read as in calm.
    pub one_article_share: f64,
    pub clients: CrowdClients,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrowdClients {
    /// As readers are.
    Mixed,
    /// The browser inside one messenger, the same for all.
    InApp,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staff {
    pub publish_every: Duration,
    pub uploads: Option<Uploads>,
}

/// Each of the two editors sends a file and then publishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uploads {
    pub every: Duration,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attack {
    pub shape: AttackShape,
    pub addresses: u32,
    /// From onset.
    pub starts: Duration,
    /// Never beyond the attack phase.
    pub lasting: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AttackShape {
    Requests(Flood),
    Slow(Slow),
    H2(H2Abuse),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Flood {
    pub rate: Rate,
    pub arrivals: Arrivals,
    /// Requests come in groups of so many at once.
    pub burst: u32,
    pub requests_per_connection: u32,
    /// Over HTTP/2, so many requests at once on a connection; `None`: HTTP/1.1, one after the other.
    pub http2_streams: Option<u32>,
    pub shows: Shows,
    /// Never empty.
    pub targets: Vec<TargetShape>,
}

/// What bots show of what they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    Nothing,
    /// Each the cookies it was given, as a browser without a window does: it waits as long as it is told and comes back.
    Cookies,
    /// So many passes collected beforehand, in turn.
    Passes(u32),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    Steady(f64),
    /// Multiplied by `factor` every so often until it reaches `top`.
    Steps {
        first: f64,
        factor: f64,
        every: Duration,
        top: f64,
    },
}

impl Rate {
    /// Requests a second, so long after the attack's start.
    pub fn at(&self, since: Duration) -> f64 {
        match *self {
            Rate::Steady(rate) => rate,
            Rate::Steps {
                first,
                factor,
                every,
                top,
            } => {
                let steps = (since.as_secs_f64() / every.as_secs_f64())
                    .floor()
                    .min(64.0);
                (first * factor.powf(steps)).min(top)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    Even,
    Poisson,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TargetShape {
    pub method: Method,
    pub path: Template,
    /// Of a POST: `application/x-www-form-urlencoded`.
    pub form: Option<Template>,
    /// Relative to the other targets of the same attack.
    pub weight: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
}

/// Connections that hold on to the edge instead of asking much: a third each send a head drop by drop, a body drop by drop, and
/// read the answer drop by drop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    pub connections: u32,
    /// Between two drops on one connection.
    pub drop_every: Duration,
}

/// Frames that cost the server more than the client.
#[derive(Debug, Clone, PartialEq)]
pub struct H2Abuse {
    pub connections: u32,
    /// Abusive frames a second, all connections together.
    pub rate: f64,
    /// Never empty; connections take them in turn.
    pub tricks: Vec<H2Trick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum H2Trick {
    /// A request, then RST_STREAM at once.
    RapidReset,
    /// A field block that never ends.
    Continuation,
    Settings,
    Ping,
    WindowUpdate,
    /// A small block that unpacks to a large one, again and again.
    HpackBomb,
    /// Frames that make the server reset the stream it has begun to answer.
    MadeYouReset,
}

const H2_TRICKS: &[(&str, H2Trick)] = &[
    ("rapid-reset", H2Trick::RapidReset),
    ("continuation", H2Trick::Continuation),
    ("settings", H2Trick::Settings),
    ("ping", H2Trick::Ping),
    ("window-update", H2Trick::WindowUpdate),
    ("hpack-bomb", H2Trick::HpackBomb),
    ("made-you-reset", H2Trick::MadeYouReset),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    pub measure: Measure,
    pub bound: f64,
}

/// One number out of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Whose book.
    pub of: &'static str,
    pub figure: Figure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// During the attack.
    ServedShare,
    /// During the attack.
    P99,
    /// During the attack, compared with calm.
    P99Ratio,
    /// Of the whole drill: nobody is to be stopped before or after either.
    Challenged,
    /// Of the whole drill.
    Refused,
    /// Requests of the calm phase that did not get their page.
    CalmUnserved,
    /// Answers of the whole drill with what is another reader's, whoever got them.
    Leaked,
    /// Answers of the whole drill with what is their reader's own: without any, nothing could have leaked.
    Own,
    /// Of the origin, from onset on.
    OverCapacity,
    /// The most Saqta has held, in MB.
    Memory,
    /// What is in its data folder in the end, in MB.
    Disk,
    /// Of the attack's answers since the first rule, those to requests that a rule hit.
    Coverage,
    /// From onset to the first request that a rule hit.
    SignatureMs,
    /// Of everybody else's requests from onset on, those that a rule hit.
    Collateral,
    /// The same of one group.
    HitShare,
    /// 1 when the newsroom was taken to be under attack.
    Attacks,
    /// Uses of the origin in the whole drill by whoever held a pass.
    OnPasses,
}

/// Groups of readers who want the newsroom's own search and no other: known readers, strangers whose browsers run scripts, and
/// strangers who can only wait.
pub(crate) const SEEKERS: [&str; 3] = ["known-search", "scripts-search", "patient-search"];

/// What may be expected, as it is written in a scenario and in the results; the ending says whether the bound is a floor or a
/// ceiling.
const MEASURES: &[(&str, Measure)] = &[
    (
        "readers.served_share_min",
        Measure::new("readers", Figure::ServedShare),
    ),
    ("readers.p99_ms_max", Measure::new("readers", Figure::P99)),
    (
        "readers.challenged_max",
        Measure::new("readers", Figure::Challenged),
    ),
    (
        "readers.refused_max",
        Measure::new("readers", Figure::Refused),
    ),
    (
        "readers.leaked_max",
        Measure::new("readers", Figure::Leaked),
    ),
    ("readers.own_min", Measure::new("readers", Figure::Own)),
    (
        "news.challenged_max",
        Measure::new("news", Figure::Challenged),
    ),
    ("news.refused_max", Measure::new("news", Figure::Refused)),
    (
        "search.served_share_min",
        Measure::new("search", Figure::ServedShare),
    ),
    (
        "search.calm_unserved_max",
        Measure::new("search", Figure::CalmUnserved),
    ),
    (
        "origin.over_capacity_ms_max",
        Measure::new("origin", Figure::OverCapacity),
    ),
    (
        "detection.coverage_min",
        Measure::new("detection", Figure::Coverage),
    ),
    (
        "detection.signature_ms_max",
        Measure::new("detection", Figure::SignatureMs),
    ),
    (
        "detection.collateral_share_max",
        Measure::new("detection", Figure::Collateral),
    ),
    (
        "detection.attacks_max",
        Measure::new("detection", Figure::Attacks),
    ),
    (
        "readers.hit_share_max",
        Measure::new("readers", Figure::HitShare),
    ),
    ("news.hit_share_max", Measure::new("news", Figure::HitShare)),
    (
        "search.hit_share_max",
        Measure::new("search", Figure::HitShare),
    ),
    (
        "mixed.served_share_min",
        Measure::new("mixed", Figure::ServedShare),
    ),
    (
        "mixed.hit_share_max",
        Measure::new("mixed", Figure::HitShare),
    ),
    (
        "known-search.served_share_min",
        Measure::new(SEEKERS[0], Figure::ServedShare),
    ),
    (
        "scripts-search.served_share_min",
        Measure::new(SEEKERS[1], Figure::ServedShare),
    ),
    (
        "patient-search.served_share_min",
        Measure::new(SEEKERS[2], Figure::ServedShare),
    ),
    (
        "logins.served_share_min",
        Measure::new("logins", Figure::ServedShare),
    ),
    (
        "origin.on_passes_max",
        Measure::new("origin", Figure::OnPasses),
    ),
    ("edge.memory_mb_max", Measure::new("edge", Figure::Memory)),
    ("edge.disk_mb_max", Measure::new("edge", Figure::Disk)),
    (
        "staff.served_share_min",
        Measure::new("staff", Figure::ServedShare),
    ),
    (
        "uploads.served_share_min",
        Measure::new("uploads", Figure::ServedShare),
    ),
    (
        "neighbour.served_share_min",
        Measure::new("neighbour", Figure::ServedShare),
    ),
    (
        "neighbour.p99_ratio_max",
        Measure::new("neighbour", Figure::P99Ratio),
    ),
];

impl Measure {
    const fn new(of: &'static str, figure: Figure) -> Self {
        Self { of, figure }
    }

    pub fn name(self) -> &'static str {
        MEASURES
            .iter()
            .find(|(_, measure)| *measure == self)
            .map_or("", |(name, _)| name)
    }

    /// Means something only on a machine that does nothing else.
    pub fn is_timed(self) -> bool {
        matches!(
            self.figure,
            Figure::P99 | Figure::P99Ratio | Figure::OverCapacity | Figure::SignatureMs
        )
    }

    /// Means something only where detection knew what is ordinary when the attack began.
    pub fn needs_baseline(self) -> bool {
        matches!(
            self.figure,
            Figure::Coverage | Figure::SignatureMs | Figure::Attacks
        )
    }

    /// Of attackers who are as readers in everything nothing of the kind is claimed.
    pub fn is_of_a_rule(self) -> bool {
        matches!(self.figure, Figure::Coverage | Figure::SignatureMs)
    }

    /// Can be seen of any server, and not of Saqta alone.
    pub fn is_seen_from_outside(self) -> bool {
        !matches!(
            self.figure,
            Figure::Memory
                | Figure::Disk
                | Figure::OnPasses
                | Figure::Coverage
                | Figure::SignatureMs
                | Figure::Collateral
                | Figure::HitShare
                | Figure::Attacks
        )
    }

    /// Means something whether or not the origin helps its caches.
    pub fn is_of_every_dialect(self) -> bool {
        matches!(self.figure, Figure::Leaked | Figure::Own)
    }

    fn is_share(self) -> bool {
        matches!(
            self.figure,
            Figure::ServedShare | Figure::Coverage | Figure::Collateral | Figure::HitShare
        )
    }

    pub fn holds(self, value: f64, bound: f64) -> bool {
        if matches!(
            self.figure,
            Figure::ServedShare | Figure::Own | Figure::Coverage
        ) {
            value >= bound
        } else {
            value <= bound
        }
    }
}

/// A path or a form with holes that are filled anew for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    /// 1, 2, 3, …
    Counter,
    /// Eight letters nobody used before.
    Random,
    /// A word or two a reader might search for, percent-encoded.
    Term,
    /// The path of an article people read, `/` first.
    Article,
    /// The path of one article, the same for all.
    OneArticle,
    /// The path of a section, `/` first.
    Section,
}

const HOLES: &[(&str, Piece)] = &[
    ("n", Piece::Counter),
    ("random", Piece::Random),
    ("term", Piece::Term),
    ("article", Piece::Article),
    ("one-article", Piece::OneArticle),
    ("section", Piece::Section),
];

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some(open) = rest.find('{') else {
                pieces.push(literal(rest)?);
                break;
            };
            if open > 0 {
                pieces.push(literal(&rest[..open])?);
            }
            let Some(close) = rest[open..].find('}') else {
                return Err("a { is never closed".to_owned());
            };
            let word = &rest[open + 1..open + close];
            let Some((_, piece)) = HOLES.iter().find(|(known, _)| *known == word) else {
                return Err(format!(
                    "{{{}}} is not known; known are {}",
                    shown(word),
                    words_of(HOLES)
                ));
            };
            pieces.push(piece.clone());
            rest = &rest[open + close + 1..];
        }
        if pieces.len() > LIST_MAX {
            return Err(format!("it has more than {LIST_MAX} pieces"));
        }
        Ok(Self { pieces })
    }

    fn starts_a_path(&self) -> bool {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text.starts_with('/'),
            Some(Piece::Article | Piece::OneArticle | Piece::Section) => true,
            _ => false,
        }
    }
}

fn literal(text: &str) -> Result<Piece, String> {
    match text
        .bytes()
        .find(|byte| !byte.is_ascii_graphic() || matches!(byte, b'}' | b'#'))
    {
        None => Ok(Piece::Literal(text.to_owned())),
        Some(_) => {
            Err("it has a character that cannot be sent as it is; percent-encode it".to_owned())
        }
    }
}

impl Scenario {
    /// The same drill over a different length; all times keep their proportion.
    pub fn lasting(mut self, total: Duration) -> Self {
        let total = total
            .as_secs_f64()
            .clamp(3.0 * PHASE_SECONDS_MIN, SECONDS_MAX);
        let factor = total / self.phases.total().as_secs_f64();
        let scale = |time: &mut Duration| *time = time.mul_f64(factor);
        scale(&mut self.phases.calm);
        scale(&mut self.phases.attack);
        scale(&mut self.phases.after);
        for fault in &mut self.origin.faults {
            scale(&mut fault.at);
            scale(&mut fault.lasting);
        }
        for attack in &mut self.attacks {
            scale(&mut attack.starts);
            scale(&mut attack.lasting);
            if let AttackShape::Requests(Flood {
                rate: Rate::Steps { every, .. },
                ..
            }) = &mut attack.shape
            {
                scale(every);
            }
        }
        self
    }

    /// Requests a second the attackers mean to send, so long after onset.
    pub fn attack_rate_at(&self, since_onset: Duration) -> f64 {
        self.attacks
            .iter()
            .filter(|attack| {
                since_onset >= attack.starts && since_onset < attack.starts + attack.lasting
            })
            .map(|attack| match &attack.shape {
                AttackShape::Requests(flood) => flood.rate.at(since_onset - attack.starts),
                AttackShape::H2(abuse) => abuse.rate,
                AttackShape::Slow(_) => 0.0,
            })
            .sum()
    }
}

/// What is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub what: String,
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.what, self.remedy)
    }
}

/// Reads a scenario, or says everything that is wrong with it, in the order of its lines.
pub fn parse(source: &str) -> Result<Scenario, Vec<Problem>> {
    if source.len() > FILE_BYTES_MAX {
        return Err(vec![Problem {
            line: 1,
            what: format!("the file has {} bytes", source.len()),
            remedy: format!("a scenario fits in {FILE_BYTES_MAX}"),
        }]);
    }
    let mut reading = Reading {
        source,
        problems: Vec::new(),
    };
    let (root, faults) = DeTable::parse_recoverable(source);
    for fault in faults {
        let at = fault.span().map_or(0, |span| span.start);
        reading.problem(
            at,
            one_line(fault.message()),
            "write it as TOML 1.0 does".to_owned(),
        );
    }
    // Reading on from half a file would report what is not there.
    if reading.problems.is_empty() {
        let scenario = scenario(&mut reading, root.get_ref());
        if reading.problems.is_empty() {
            return Ok(scenario);
        }
    }
    reading.problems.sort_by_key(|problem| problem.line);
    reading.problems.truncate(PROBLEMS_MAX);
    Err(reading.problems)
}

fn scenario(reading: &mut Reading<'_>, root: &DeTable<'_>) -> Scenario {
    let mut top = Fields::new(reading, root, 0, "the file");
    let name = top.name("name");
    let says = top.text("says", "");
    let phases = top.table("phases").map_or(
        Phases {
            calm: Duration::from_secs(20),
            attack: Duration::from_secs(30),
            after: Duration::from_secs(10),
        },
        |(table, at)| phases(top.reading, table, at),
    );
    let origin = match top.table("origin") {
        Some((table, at)) => origin(top.reading, table, at, &phases),
        None => OriginShape {
            workers: WORKERS,
            max_age_s: None,
            faults: Vec::new(),
        },
    };
    let readers = match top.table("readers") {
        Some((table, at)) => readers(top.reading, table, at),
        None => READERS,
    };
    let crowd = top
        .table("crowd")
        .map(|(table, at)| crowd(top.reading, table, at));
    let staff = top.table("staff").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[staff]");
        let publish_every = fields.seconds("publish_every_s", 0.1..=30.0, Some(1.0));
        let megabytes = fields.whole("upload_mb", 1..=UPLOAD_MB_MAX, Some(50));
        let uploads = fields.has("upload_every_s").then(|| Uploads {
            every: fields.seconds("upload_every_s", 1.0..=60.0, None),
            bytes: megabytes * 1_000_000,
        });
        fields.finish();
        Staff {
            publish_every,
            uploads,
        }
    });
    let neighbour_rate = top.table("neighbour").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[neighbour]");
        let rate = fields.number("rate", 1.0..=2_000.0, Some(200.0));
        fields.finish();
        rate
    });
    let mixed_rate = top.table("mixed").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[mixed]");
        let rate = fields.number("rate", 1.0..=200.0, Some(35.0));
        fields.finish();
        rate
    });
    let seekers_rate = top.table("seekers").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[seekers]");
        let rate = fields.number("rate", 1.0..=100.0, Some(10.0));
        fields.finish();
        rate
    });
    let logins_rate = top.table("logins").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[logins]");
        let rate = fields.number("rate", 0.1..=100.0, Some(5.0));
        fields.finish();
        rate
    });
    let link_mbit_per_s = top.table("link").map(|(table, at)| {
        let mut fields = Fields::new(top.reading, table, at, "[link]");
        let rate = fields.number("mbit_per_s", 1.0..=100_000.0, None);
        fields.finish();
        rate
    });
    let attacks = top.tables("attack");
    let attacks: Vec<Attack> = attacks
        .into_iter()
        .map(|(table, at)| attack(top.reading, table, at, &phases))
        .collect();
    let expectations = top
        .table("expect")
        .map(|(table, at)| expectations(top.reading, table, at))
        .unwrap_or_default();

    let uploads = staff.is_some_and(|staff| staff.uploads.is_some());
    for (of, there, what) in [
        ("staff", staff.is_some(), "a table [staff]"),
        ("uploads", uploads, "upload_every_s to [staff]"),
        ("neighbour", neighbour_rate.is_some(), "a table [neighbour]"),
        ("news", crowd.is_some(), "a table [crowd]"),
        ("mixed", mixed_rate.is_some(), "a table [mixed]"),
        (SEEKERS[0], seekers_rate.is_some(), "a table [seekers]"),
        (SEEKERS[1], seekers_rate.is_some(), "a table [seekers]"),
        (SEEKERS[2], seekers_rate.is_some(), "a table [seekers]"),
        ("logins", logins_rate.is_some(), "a table [logins]"),
    ] {
        if there {
            continue;
        }
        for expectation in expectations.iter().filter(|one| one.measure.of == of) {
            top.problem(
                format!("{} is expected of nobody", expectation.measure.name()),
                format!("add {what}"),
            );
        }
    }
    let held: u64 = attacks
        .iter()
        .map(|attack| match &attack.shape {
            AttackShape::Slow(slow) => u64::from(slow.connections),
            AttackShape::H2(abuse) => u64::from(abuse.connections),
            AttackShape::Requests(_) => 0,
        })
        .sum();
    if held > CONNECTIONS_MAX {
        top.problem(
            format!("the attacks hold {held} connections"),
            format!("one process may hold {CONNECTIONS_MAX}: lower `connections`"),
        );
    }
    top.finish();
    Scenario {
        name,
        says,
        phases,
        origin,
        readers,
        crowd,
        staff,
        neighbour_rate,
        mixed_rate,
        seekers_rate,
        logins_rate,
        attacks,
        link_mbit_per_s,
        expectations,
    }
}

const WORKERS: u32 = 16;

const READERS: Readers = Readers {
    rate: 400.0,
    front_share: 0.15,
    search_share: 0.02,
    new_url_share: 0.005,
    new_visitor_share: 0.4,
    articles: 200,
    known_share: 0.0,
    http2_share: 0.0,
    new_connections: false,
};

fn phases(reading: &mut Reading<'_>, table: &DeTable<'_>, at: usize) -> Phases {
    let mut fields = Fields::new(reading, table, at, "[phases]");
    let each = PHASE_SECONDS_MIN..=SECONDS_MAX;
    let phases = Phases {
        calm: fields.seconds("calm_s", each.clone(), Some(20.0)),
        attack: fields.seconds("attack_s", each.clone(), Some(30.0)),
        after: fields.seconds("after_s", each, Some(10.0)),
    };
    if phases.total().as_secs_f64() > SECONDS_MAX {
        fields.problem(
            format!(
                "the phases last {} s together",
                phases.total().as_secs_f64()
            ),
            format!("a drill lasts at most {SECONDS_MAX} s: shorten one"),
        );
    }
    fields.finish();
    phases
}

fn origin(
    reading: &mut Reading<'_>,
    table: &DeTable<'_>,
    at: usize,
    phases: &Phases,
) -> OriginShape {
    let mut fields = Fields::new(reading, table, at, "[origin]");
    let workers = fields.whole("workers", 1..=1_000, Some(u64::from(WORKERS))) as u32;
    let max_age_s = fields
        .has("max_age_s")
        .then(|| fields.whole("max_age_s", 0..=86_400, None) as u32);
    let faults = fields.tables("fault");
    let faults = faults
        .into_iter()
        .map(|(table, at)| {
            let mut fault = Fields::new(fields.reading, table, at, "[[origin.fault]]");
            let kinds = &[
                ("errors", FaultKind::Errors),
                ("hangs", FaultKind::Hangs),
                ("refuses", FaultKind::Refuses),
                ("truncates", FaultKind::Truncates),
                ("error-page", FaultKind::ErrorPage),
            ];
            let kind = fault.word("kind", kinds, None);
            let until = phases.attack.as_secs_f64();
            let at = fault.seconds("at_s", 0.0..=until, None);
            let lasting = fault.seconds("for_s", 0.1..=until, None);
            fault.finish();
            Fault { kind, at, lasting }
        })
        .collect();
    fields.finish();
    OriginShape {
        workers,
        max_age_s,
        faults,
    }
}

fn readers(reading: &mut Reading<'_>, table: &DeTable<'_>, at: usize) -> Readers {
    let mut fields = Fields::new(reading, table, at, "[readers]");
    let share = 0.0..=1.0;
    let readers = Readers {
        rate: fields.number("rate", 1.0..=5_000.0, Some(READERS.rate)),
        front_share: fields.number("front_share", share.clone(), Some(READERS.front_share)),
        search_share: fields.number("search_share", share.clone(), Some(READERS.search_share)),
        new_url_share: fields.number("new_url_share", share.clone(), Some(READERS.new_url_share)),
        new_visitor_share: fields.number(
            "new_visitor_share",
            share.clone(),
            Some(READERS.new_visitor_share),
        ),
        known_share: fields.number("known_share", share.clone(), Some(READERS.known_share)),
        http2_share: fields.number("http2_share", share, Some(READERS.http2_share)),
        articles: fields.whole("articles", 1..=1_000, Some(u64::from(READERS.articles))) as u32,
        new_connections: fields.flag("new_connections", false),
    };
    if readers.front_share + readers.search_share > 1.0 {
        fields.problem(
            "front_share and search_share are more than all views together".to_owned(),
            "their sum is at most 1".to_owned(),
        );
    }
    fields.finish();
    readers
}

fn crowd(reading: &mut Reading<'_>, table: &DeTable<'_>, at: usize) -> Crowd {
    let mut fields = Fields::new(reading, table, at, "[crowd]");
    let crowd = Crowd {
        factor: fields.number("factor", 1.0..=100.0, None),
        one_article_share: fields.number("one_article_share", 0.0..=1.0, Some(1.0)),
        clients: fields.word(
            "clients",
            &[
                ("mixed", CrowdClients::Mixed),
                ("in-app", CrowdClients::InApp),
            ],
            Some(CrowdClients::Mixed),
        ),
    };
    fields.finish();
    crowd
}

fn attack(reading: &mut Reading<'_>, table: &DeTable<'_>, at: usize, phases: &Phases) -> Attack {
    #[derive(Clone, Copy)]
    enum Kind {
        Requests,
        Slow,
        H2,
    }
    let mut fields = Fields::new(reading, table, at, "[[attack]]");
    let kind = fields.word(
        "kind",
        &[
            ("requests", Kind::Requests),
            ("slow", Kind::Slow),
            ("h2", Kind::H2),
        ],
        Some(Kind::Requests),
    );
    let addresses = fields.whole("addresses", 1..=ADDRESSES_MAX, None) as u32;
    let until = phases.attack.as_secs_f64();
    let starts = fields.seconds("at_s", 0.0..=until, Some(0.0));
    let rest = (until - starts.as_secs_f64()).max(0.0);
    let lasting = fields.seconds("for_s", 0.0..=rest, Some(rest));
    let shape = match kind {
        Kind::Requests => AttackShape::Requests(flood(&mut fields)),
        Kind::Slow => AttackShape::Slow(Slow {
            connections: fields.whole("connections", 1..=CONNECTIONS_MAX, None) as u32,
            drop_every: fields.seconds("drop_every_s", 0.1..=60.0, Some(2.0)),
        }),
        Kind::H2 => AttackShape::H2(H2Abuse {
            connections: fields.whole("connections", 1..=CONNECTIONS_MAX, None) as u32,
            rate: fields.number("rate", 1.0..=RATE_MAX, None),
            tricks: fields.words("tricks", H2_TRICKS),
        }),
    };
    fields.finish();
    Attack {
        shape,
        addresses,
        starts,
        lasting,
    }
}

fn flood(fields: &mut Fields<'_, '_, '_>) -> Flood {
    let rates = 0.1..=RATE_MAX;
    let rate = match fields.table("steps") {
        None => Rate::Steady(fields.number("rate", rates, None)),
        Some((table, at)) => {
            let mut steps = Fields::new(fields.reading, table, at, "[attack.steps]");
            let rate = Rate::Steps {
                first: steps.number("first", rates.clone(), None),
                factor: steps.number("factor", 1.0..=100.0, None),
                every: steps.seconds("every_s", 0.5..=SECONDS_MAX, None),
                top: steps.number("top", rates, None),
            };
            steps.finish();
            rate
        }
    };
    let arrivals = fields.word(
        "arrivals",
        &[("even", Arrivals::Even), ("poisson", Arrivals::Poisson)],
        Some(Arrivals::Even),
    );
    let burst = fields.whole("burst", 1..=1_000, Some(1)) as u32;
    let requests_per_connection =
        fields.whole("requests_per_connection", 1..=100_000, Some(1)) as u32;
    let http2_streams = fields
        .has("http2_streams")
        .then(|| fields.whole("http2_streams", 1..=HTTP2_STREAMS_MAX, None) as u32);
    let shows = match fields.word(
        "shows",
        &[
            ("nothing", Shows::Nothing),
            ("cookies", Shows::Cookies),
            ("passes", Shows::Passes(1)),
        ],
        Some(Shows::Nothing),
    ) {
        Shows::Passes(_) => Shows::Passes(fields.whole("passes", 1..=PASSES_MAX, None) as u32),
        shows => shows,
    };
    let tables = fields.tables("target");
    if tables.is_empty() {
        fields.problem(
            "the attack asks for nothing".to_owned(),
            "add [[attack.target]] with a path".to_owned(),
        );
    }
    let targets = tables
        .into_iter()
        .map(|(table, at)| {
            let mut target = Fields::new(fields.reading, table, at, "[[attack.target]]");
            let methods = &[
                ("GET", Method::Get),
                ("HEAD", Method::Head),
                ("POST", Method::Post),
            ];
            let method = target.word("method", methods, Some(Method::Get));
            let path = target.template("path", true);
            let form = target.has("form").then(|| target.template("form", false));
            if form.is_some() && method != Method::Post {
                target.problem(
                    "only a POST has a form".to_owned(),
                    "write method = \"POST\"".to_owned(),
                );
            }
            let weight = target.number("weight", 0.001..=1_000.0, Some(1.0));
            target.finish();
            TargetShape {
                method,
                path,
                form,
                weight,
            }
        })
        .collect();
    Flood {
        rate,
        arrivals,
        burst,
        requests_per_connection,
        http2_streams,
        shows,
        targets,
    }
}

fn expectations(reading: &mut Reading<'_>, table: &DeTable<'_>, at: usize) -> Vec<Expectation> {
    let mut fields = Fields::new(reading, table, at, "[expect]");
    let mut expectations = Vec::new();
    for (name, measure) in MEASURES {
        if fields.has(name) {
            let most = if measure.is_share() { 1.0 } else { 1e9 };
            expectations.push(Expectation {
                measure: *measure,
                bound: fields.number(name, 0.0..=most, None),
            });
        }
    }
    fields.finish();
    expectations
}

struct Reading<'s> {
    source: &'s str,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn problem(&mut self, at: usize, what: String, remedy: String) {
        // One more than is shown, so that a file of nothing but faults costs no more than a bad one.
        if self.problems.len() <= PROBLEMS_MAX {
            let before = self
                .source
                .as_bytes()
                .get(..at)
                .unwrap_or(self.source.as_bytes());
            let line = 1 + memchr::memchr_iter(b'\n', before).count();
            self.problems.push(Problem { line, what, remedy });
        }
    }
}

/// One table being read: each key is asked for by name, and what nobody asked for is a problem.
struct Fields<'r, 's, 't> {
    reading: &'r mut Reading<'s>,
    table: &'t DeTable<'t>,
    at: usize,
    called: &'static str,
    known: Vec<&'static str>,
}

impl<'r, 's, 't> Fields<'r, 's, 't> {
    fn new(
        reading: &'r mut Reading<'s>,
        table: &'t DeTable<'t>,
        at: usize,
        called: &'static str,
    ) -> Self {
        Self {
            reading,
            table,
            at,
            called,
            known: Vec::new(),
        }
    }

    fn problem(&mut self, what: String, remedy: String) {
        self.reading
            .problem(self.at, format!("{}: {what}", self.called), remedy);
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    fn has(&mut self, key: &'static str) -> bool {
        self.take(key).is_some()
    }

    fn missing(&mut self, key: &str, remedy: String) {
        self.problem(format!("`{key}` is missing"), remedy);
    }

    fn wrong(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let what = format!(
            "`{key}` is {} {}",
            article_for(value.get_ref()),
            value.get_ref().type_str()
        );
        self.reading
            .problem(value.span().start, what, format!("write {wanted}"));
    }

    /// On a problem the least legal value stands in, so that reading goes on.
    fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        default: Option<f64>,
    ) -> f64 {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let Some(value) = self.take(key) else {
            return default.unwrap_or_else(|| {
                self.missing(key, format!("add {key} = {wanted}"));
                *range.start()
            });
        };
        let number = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(|integer| integer as f64),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => {
                self.wrong(key, value, &wanted);
                return *range.start();
            }
        };
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let what = format!("`{key}` is outside of what can be");
                self.reading
                    .problem(value.span().start, what, format!("write {wanted}"));
                *range.start()
            }
        }
    }

    fn whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: Option<u64>,
    ) -> u64 {
        let number = self.number(
            key,
            *range.start() as f64..=*range.end() as f64,
            default.map(|default| default as f64),
        );
        if number.fract() != 0.0 {
            let at = self
                .table
                .get(key)
                .map_or(self.at, |value| value.span().start);
            self.reading.problem(
                at,
                format!("`{key}` is not a whole number"),
                "leave out the fraction".to_owned(),
            );
        }
        number as u64
    }

    fn seconds(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        default: Option<f64>,
    ) -> Duration {
        Duration::from_secs_f64(self.number(key, range, default).max(0.0))
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(value) => value.get_ref().as_bool().unwrap_or_else(|| {
                self.wrong(key, value, "true or false");
                default
            }),
        }
    }

    fn string(&mut self, key: &'static str) -> Option<(&'t str, usize)> {
        let value = self.take(key)?;
        match value.get_ref().as_str() {
            None => {
                self.wrong(key, value, "text in quotation marks");
                None
            }
            Some(text) if text.len() > TEXT_BYTES_MAX => {
                let what = format!("`{key}` has {} bytes", text.len());
                self.reading.problem(
                    value.span().start,
                    what,
                    format!("at most {TEXT_BYTES_MAX}: shorten it"),
                );
                None
            }
            Some(text) => Some((text, value.span().start)),
        }
    }

    fn text(&mut self, key: &'static str, default: &str) -> String {
        self.string(key)
            .map_or_else(|| default.to_owned(), |(text, _)| text.to_owned())
    }

    /// Goes into file names and page titles.
    fn name(&mut self, key: &'static str) -> String {
        let remedy = "add a name of small letters, digits and hyphens".to_owned();
        if !self.has(key) {
            self.missing(key, remedy);
            return String::new();
        }
        match self.string(key) {
            None => String::new(),
            Some((text, _))
                if !text.is_empty()
                    && text.len() <= 64
                    && text
                        .bytes()
                        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) =>
            {
                text.to_owned()
            }
            Some((_, at)) => {
                self.reading
                    .problem(at, format!("`{key}` cannot be a name"), remedy);
                String::new()
            }
        }
    }

    fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: Option<T>) -> T {
        let fallback = default.unwrap_or(words[0].1);
        if !self.has(key) {
            self.known.push(key);
            if default.is_none() {
                self.missing(key, format!("write one of {}", words_of(words)));
            }
            return fallback;
        }
        match self.string(key) {
            None => fallback,
            Some((text, at)) => self.known_word(text, at, words).unwrap_or(fallback),
        }
    }

    fn known_word<T: Copy>(&mut self, text: &str, at: usize, words: &[(&str, T)]) -> Option<T> {
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning);
        if found.is_none() {
            let what = format!("\"{}\" is not known here", shown(text));
            self.reading
                .problem(at, what, format!("write one of {}", words_of(words)));
        }
        found
    }

    /// Never empty; all of them when nothing is written.
    fn words<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Vec<T> {
        let all = || words.iter().map(|(_, meaning)| *meaning).collect();
        let Some(value) = self.take(key) else {
            return all();
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list in square brackets");
            return all();
        };
        let mut found = Vec::new();
        for item in list.iter().take(LIST_MAX) {
            match item.get_ref().as_str() {
                Some(text) => found.extend(self.known_word(text, item.span().start, words)),
                None => self.wrong(key, item, "text in quotation marks"),
            }
        }
        if found.is_empty() {
            let what = format!("`{key}` names nothing");
            self.reading.problem(
                value.span().start,
                what,
                "leave it out to take all".to_owned(),
            );
            return all();
        }
        found
    }

    fn template(&mut self, key: &'static str, is_path: bool) -> Template {
        let empty = Template {
            pieces: vec![Piece::Literal("/".to_owned())],
        };
        if !self.has(key) {
            self.missing(key, format!("add {key} = \"/?s={{term}}\", for example"));
            return empty;
        }
        let Some((text, at)) = self.string(key) else {
            return empty;
        };
        match Template::parse(text) {
            Ok(template) if is_path && !template.starts_a_path() => {
                let remedy = "begin it with /, {article} or {section}".to_owned();
                self.reading
                    .problem(at, format!("`{key}` is not a path"), remedy);
                empty
            }
            Ok(template) => template,
            Err(why) => {
                self.reading
                    .problem(at, format!("`{key}` cannot be used"), why);
                empty
            }
        }
    }

    fn table(&mut self, key: &'static str) -> Option<(&'t DeTable<'t>, usize)> {
        let value = self.take(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some((table, value.span().start)),
            None => {
                self.wrong(key, value, &format!("a table [{key}]"));
                None
            }
        }
    }

    fn tables(&mut self, key: &'static str) -> Vec<(&'t DeTable<'t>, usize)> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("tables [[{key}]]"));
            return Vec::new();
        };
        if list.len() > LIST_MAX {
            let what = format!("`{key}` has {} tables", list.len());
            self.reading.problem(
                value.span().start,
                what,
                format!("at most {LIST_MAX}: leave some out"),
            );
        }
        let mut tables = Vec::new();
        for item in list.iter().take(LIST_MAX) {
            match item.get_ref().as_table() {
                Some(table) => tables.push((table, item.span().start)),
                None => self.wrong(key, item, &format!("tables [[{key}]]")),
            }
        }
        tables
    }

    fn finish(self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                let what = format!("{}: `{}` is not known", self.called, shown(name));
                let remedy = format!("known are {}", self.known.join(", "));
                self.reading.problem(key.span().start, what, remedy);
            }
        }
    }
}

fn words_of<T>(words: &[(&str, T)]) -> String {
    words
        .iter()
        .map(|(word, _)| *word)
        .collect::<Vec<_>>()
        .join(", ")
}

fn article_for(value: &DeValue<'_>) -> &'static str {
    if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) {
        "an"
    } else {
        "a"
    }
}

/// A stranger's text inside a message for people: short and without control characters.
fn shown(text: &str) -> String {
    text.chars()
        .take(40)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_shipped_scenario_reads_and_is_named_as_its_file() {
        for (name, text) in EMBEDDED {
            match parse(text) {
                Ok(scenario) => assert_eq!(scenario.name, *name),
                Err(problems) => panic!(
                    "{name}: {}",
                    problems
                        .iter()
                        .map(Problem::to_string)
                        .collect::<Vec<_>>()
                        .join("\n")
                ),
            }
        }
    }

    #[test]
    fn the_shapes_are_those_of_the_attacks_they_are_named_after() {
        // name, attack requests a second at onset, addresses
        for (name, rate, addresses) in [
            ("kursiv-search", 10_000.0, 5_000),
            ("meduza-search", 6_300.0 * 1.84, 6_300),
            ("meduza-wide", 60_000.0 * 0.18, 60_000),
            ("sjs-burst", 25_000.0, 20_000),
            ("nacionale-steps", 800.0, 3_000),
            ("bic-article", 9_000.0, 140_000),
        ] {
            let scenario = parse(embedded(name).unwrap()).unwrap();
            assert!(
                (scenario.attack_rate_at(Duration::ZERO) - rate).abs() < 1.0,
                "{name}"
            );
            assert_eq!(
                scenario
                    .attacks
                    .iter()
                    .map(|attack| attack.addresses)
                    .sum::<u32>(),
                addresses,
                "{name}"
            );
        }
        let steps = parse(embedded("nacionale-steps").unwrap()).unwrap();
        let rates =
            [0, 6, 12, 18, 29].map(|second| steps.attack_rate_at(Duration::from_secs(second)));
        assert_eq!(rates, [800.0, 2_400.0, 5_000.0, 5_000.0, 5_000.0]);
        let burst = parse(embedded("sjs-burst").unwrap()).unwrap();
        assert_eq!(burst.attack_rate_at(Duration::from_secs(16)), 0.0);
    }

    #[test]
    fn a_shorter_drill_keeps_its_proportions() {
        let scenario = parse(embedded("nacionale-steps").unwrap())
            .unwrap()
            .lasting(Duration::from_secs(12));
        assert_eq!(scenario.phases.calm, Duration::from_secs(4));
        assert_eq!(scenario.phases.total(), Duration::from_secs(12));
        assert_eq!(
            scenario.attack_rate_at(Duration::from_millis(1_300)),
            2_400.0
        );
        assert_eq!(scenario.attack_rate_at(Duration::from_secs(6)), 0.0);
    }

    #[test]
    fn who_expects_what_cannot_be_measured_is_told_all_that_can() {
        let text = "name = 'x'\n[expect]\n'readers.nope' = 1\n'readers.p99_ms_max' = 100";
        let problems = parse(text).unwrap_err();
        let names: Vec<_> = MEASURES.iter().map(|(name, _)| *name).collect();
        let said = format!(
            "line 3: [expect]: `readers.nope` is not known; known are {}",
            names.join(", ")
        );
        assert!(
            problems.iter().any(|problem| problem.to_string() == said),
            "{problems:?}"
        );
    }

    /// Written, and what is said about it.
    #[test]
    fn problems_have_a_line_and_a_remedy() {
        for (text, said) in [
            (
                "",
                &[
                    "line 1: the file: `name` is missing; add a name of small letters, digits and hyphens",
                ][..],
            ),
            (
                "name = 'x'\nnmae = 1",
                &[
                    "line 2: the file: `nmae` is not known; known are name, says, phases, origin, readers, crowd, staff, neighbour, mixed, seekers, logins, link, attack, expect",
                ],
            ),
            (
                "name = 'X'",
                &[
                    "line 1: `name` cannot be a name; add a name of small letters, digits and hyphens",
                ],
            ),
            (
                "name = 'x'\n[readers]\nrate = 90000",
                &["line 3: `rate` is outside of what can be; write a number from 1 to 5000"],
            ),
            (
                "name = 'x'\n[readers]\nrate = nan",
                &["line 3: `rate` is outside of what can be; write a number from 1 to 5000"],
            ),
            (
                "name = 'x'\n[readers]\nrate = 'fast'",
                &["line 3: `rate` is a string; write a number from 1 to 5000"],
            ),
            (
                "name = 'x'\n[readers]\narticles = 1.5",
                &["line 3: `articles` is not a whole number; leave out the fraction"],
            ),
            (
                "name = 'x'\n[phases]\nattack_s = 100",
                &[
                    "line 2: [phases]: the phases last 130 s together; a drill lasts at most 120 s: shorten one",
                ],
            ),
            (
                "name = 'x'\n[[attack]]\naddresses = 300000\nrate = 70000",
                &[
                    "line 2: [[attack]]: the attack asks for nothing; add [[attack.target]] with a path",
                    "line 3: `addresses` is outside of what can be; write a number from 1 to 200000",
                    "line 4: `rate` is outside of what can be; write a number from 0.1 to 60000",
                ],
            ),
            (
                "name = 'x'\n[[attack]]\naddresses = 3\nrate = 7\n[[attack.target]]\npath = '/{slug}'\n[[attack.target]]\npath = 'a b'",
                &[
                    "line 6: `path` cannot be used; {slug} is not known; known are n, random, term, article, one-article, section",
                    "line 8: `path` cannot be used; it has a character that cannot be sent as it is; percent-encode it",
                ],
            ),
            (
                "name = 'x'\n[[attack]]\nkind = 'h2'\naddresses = 3\nrate = 7\nconnections = 3\ntricks = ['ping', 'pong']",
                &[
                    "line 7: \"pong\" is not known here; write one of rapid-reset, continuation, settings, ping, window-update, hpack-bomb, made-you-reset",
                ],
            ),
            (
                "name = 'x'\n[expect]\n\"staff.served_share_min\" = 1",
                &[
                    "line 1: the file: staff.served_share_min is expected of nobody; add a table [staff]",
                ],
            ),
        ] {
            let problems = parse(text).expect_err(text);
            assert_eq!(
                problems.iter().map(Problem::to_string).collect::<Vec<_>>(),
                said,
                "{text}"
            );
        }
    }

    /// The example in the documentation is a scenario with everything in it.
    #[test]
    fn the_documented_example_reads() {
        let text = include_str!("../../../docs/drills.md");
        let example = text
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let scenario = parse(example).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(scenario.expectations.len(), MEASURES.len());
        assert!(
            scenario.crowd.is_some()
                && scenario.staff.is_some()
                && scenario.neighbour_rate.is_some()
        );
    }

    #[test]
    fn broken_toml_is_one_line_a_fault() {
        let problems = parse("name = \nsays = \"").unwrap_err();
        assert_eq!(
            problems
                .iter()
                .map(|problem| problem.line)
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }

    proptest! {
        /// Whatever is written, reading answers, and what it accepts is within bounds.
        #[test]
        fn reading_never_panics(text in "(name = 'a'\n)?(\\[\\[?[a-z.]{0,12}\\]?\\]\n|[a-z_]{0,8} = [-0-9.e'\\[\\]{}a-z\"]{0,12}\n|\\PC{0,8}){0,12}") {
            if let Ok(scenario) = parse(&text) {
                prop_assert!(scenario.phases.total().as_secs_f64() <= SECONDS_MAX);
                prop_assert!(scenario.readers.rate <= RATE_MAX);
            }
        }
    }
}
