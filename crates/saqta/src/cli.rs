//! What can be typed, and what is done about it.
//!
//! Exit codes: 0 done; 1 a drill's expectations were not met; 2 what was typed or written is wrong or cannot be read, or no Saqta runs; 3 a drill's
//! load could not be offered. Answers go to standard output, everything else to standard error.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use saqta_edge::ladder::INVITED_DAYS_MAX;
use saqta_edge::ladder::code::Code;
use saqta_edge::lanes::new_app_key;
use saqta_edge::plan::Plan;
use saqta_edge::registry::Registry;
use saqta_lab::corpus::Grade;
use saqta_lab::demo::{self, DemoOptions};
use saqta_lab::drill::{DrillOptions, run_drill};
use saqta_lab::guard::Target;
use saqta_lab::origin::Dialect;
use saqta_lab::scenario::{self, Written};
use saqta_lab::stage::{self, Interrupted};

use crate::bundling;
use crate::check;
use crate::control::{self, Answer, Order, Which};
use crate::duration;
use crate::incidents;
use crate::init;
use crate::keys;
use crate::machine;
use crate::mint::MINT;
use crate::problem::Problem;
use crate::replay::{self, Replay};
use crate::run::{self, Source};
use crate::screen;
use crate::settings;

pub(crate) const DATA_DEFAULT: &str = "./saqta-data";

/// Bad input, or no Saqta to give an order to.
const EXIT_BAD_INPUT: u8 = 2;
/// What was to be forgotten is not here, or not under this address: whoever withdraws a page has to know. Nor does this Saqta know that code.
const EXIT_NOTHING_FOUND: u8 = 1;

/// What a shell reports of a program that Ctrl-C ended; the drill it interrupted has shown nothing.
const EXIT_INTERRUPTED: u8 = 130;

/// A second for each of a drill's three parts.
const DRILL_TIME_MIN: Duration = Duration::from_secs(3);
/// A machine in use is given back soon.
const DRILL_TIME_MAX: Duration = Duration::from_secs(120);

/// Keeps a newsroom's site reachable while it is under attack.
#[derive(Debug, Parser)]
#[command(
    name = "saqta",
    version,
    max_term_width = 80,
    after_help = "Examples:
  saqta demo                                    watch it protect a newsroom
  saqta run --origin http://127.0.0.1:8081      try it before one site, no file
  saqta init                                    begin a settings file
  saqta check -c newsroom.toml                  would it serve on this machine?
  saqta run -c newsroom.toml                    serve
  saqta drill kursiv-search                     rehearse an attack"
)]
pub struct Cli {
    /// Folder of Saqta's own files [default: ./saqta-data; for a demo or drill a temporary one]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a newsroom stay readable through a flood
    #[command(
        after_help = "A newsroom of ours, its readers, a flood of searches and the shield between
them, all on loopback. Ctrl-C ends it. Nothing is left behind unless --data is
given.

Examples:
  saqta demo
  saqta demo --for 90s"
    )]
    Demo {
        /// From the first picture to the last word, 3s to 2m [default: 40s]
        #[arg(long = "for", value_name = "TIME", value_parser = drill_time)]
        lasting: Option<Duration>,
    },
    /// Serve until told to stop
    #[command(
        after_help = "Prints `listening http://ADDR` for each address once it serves. Ctrl-C or
SIGTERM: no new connections, requests in flight are finished for up to 10 s.
SIGHUP: as `saqta reload`.

Examples:
  saqta run -c newsroom.toml
  saqta run --origin http://127.0.0.1:8081
  saqta run --origin http://127.0.0.1:8081 --listen 0.0.0.0:80
  saqta run --origin http://127.0.0.1:8081 --host news.example --data /tmp/try"
    )]
    Run(Run),
    /// Say whether a settings file would serve on this machine
    #[command(
        after_help = "Exit code 0: all is well. 2: something is to be done, each line says what.

Examples:
  saqta check -c newsroom.toml
  saqta check -c newsroom.toml && saqta reload"
    )]
    Check(Check),
    /// Begin a settings file: five questions, or options that answer them
    #[command(
        after_help = "Asks the newsroom's own server what makes its pages, and writes a file that
`saqta check` understands. A file that exists is never written over. Where
nobody sits at the terminal, --host and --origin are needed.

Examples:
  saqta init
  saqta init --host news.example --origin http://127.0.0.1:8081
  saqta init --host news.example --origin http://127.0.0.1:8081 --language kk"
    )]
    Init(Init),
    /// Print every setting with its meaning and default
    #[command(after_help = "Examples:
  saqta settings
  saqta settings > newsroom.toml")]
    Settings,
    /// Have the running Saqta read its settings file again
    #[command(
        after_help = "The whole file is checked first. With any problem in it the old settings stay
and all problems are shown, each with its line. No connection is dropped.
`listen`, `shards`, `cache_mb`, `disk_cache_gb`, `saved_gb` and the number of
sites need a restart.

Examples:
  saqta reload
  saqta reload --data /var/lib/saqta"
    )]
    Reload,
    /// Stand aside: pass requests through the cache only
    #[command(
        after_help = "Acts within a second: no admission, no stale or reduced answers. It outlives a
reload and ends with `saqta bypass off` or a restart.

Examples:
  saqta bypass on
  saqta bypass off"
    )]
    Bypass { switch: Switch },
    /// Have stored pages fetched anew, or forgotten
    #[command(
        after_help = "Purged copies are fetched anew when next asked for; until then they only stand
in for an origin that fails. An address without a query stands for all its
queries, one without a host for all sites; how it is spelled (%D0 or %d0, ~ or
%7E) and where a reader came from (utm_source) do not count.

--forget also takes away what is being fetched. Exit code 1: nothing was found
under that address.

Examples:
  saqta purge https://news.example/2026/06/title/
  saqta purge --prefix https://news.example/sport/
  saqta purge --tag node:12
  saqta purge --forget https://news.example/withdrawn/"
    )]
    Purge(Purge),
    /// Make the newsroom's own staff by a link, for places at any load
    #[command(
        after_help = "Staff are never asked to wait and have places at your server that no flood can
take. A login that Saqta sees makes somebody staff, and a network in `staff`;
this is for whoever has neither: on the road, or logged in since before.

Examples:
  saqta staff invite --name 'Aigerim, phone'
  saqta staff invite --name Daulet --days 14 --site news.example
  saqta staff list
  saqta staff revoke 'Aigerim, phone'"
    )]
    Staff {
        #[command(subcommand)]
        what: Staff,
    },
    /// Print a new key for the newsroom's own application
    #[command(
        after_help = "Put it into `app_keys` under [[site]], `saqta reload`, and have the application
send it with each request in a field `Saqta-App`. It needs no running Saqta and
is written nowhere.

Examples:
  saqta app-key"
    )]
    AppKey,
    /// What was sealed of attacks
    #[command(
        after_help = "Each attack is sealed as it ends: a line of time by seconds, the rules that were
made, and how it was measured. It is encrypted to the officers; as long as there
is none, a key in the data folder reads it. No running Saqta is needed.

Examples:
  saqta incident list
  saqta incident list --json --data /var/lib/saqta
  saqta incident show 20261201-3fa95c10"
    )]
    Incident {
        #[command(subcommand)]
        what: Incident,
    },
    /// Who may read what is sealed, and who signs
    #[command(
        after_help = "An officer's key is made on the officer's own machine; only its public half
comes to the server. Without an officer a key in the data folder reads all.

Examples:
  saqta key new officer --out aigerim.key
  saqta key add officer age1... --name Aigerim
  saqta key list"
    )]
    Key {
        #[command(subcommand)]
        what: Key,
    },
    /// Hand an incident to somebody who believes nobody
    #[command(
        after_help = "Writes a new folder (BagIt) with what was sealed, its proofs, and words in
Kazakh, Russian and English that say how to check it. Fields of the record can
be left out; the proofs hold all the same. It needs no running Saqta; where one
runs it is asked to sign. Exit code 1: there is no such incident.

Examples:
  saqta bundle incident 20261201-3fa95c10 --out for-the-lawyer
  saqta bundle incident 20261201-3fa95c10 --without site --out public"
    )]
    Bundle {
        #[command(subcommand)]
        what: Bundle,
    },
    /// Check a bundle that somebody handed you
    #[command(
        after_help = "Needs no network, no data folder and nobody's word. Without --trust nobody has
checked who signed: compare the fingerprint with the newsroom by telephone.
tools/verify_bundle.py is a second verifier, in Python. Exit code 0: whole. 1:
changed, or not of whom you trust; the first reason is said. 2: no bundle.

Examples:
  saqta verify for-the-lawyer
  saqta verify for-the-lawyer --trust newsroom.policy
  saqta verify for-the-lawyer --json"
    )]
    Verify {
        /// The folder
        path: PathBuf,
        /// Logs and witnesses you trust, a file of C2SP tlog-policy
        #[arg(long, value_name = "POLICY")]
        trust: Option<PathBuf>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Rehearse an attack on this machine and see who was served
    #[command(
        after_help = "Origin, edge, readers and attackers run as processes of their own, on loopback
only, for two minutes at most. Progress goes to standard error, the result to
standard output. Exit code 0: all expectations hold. 1: not all. 2: what was
typed or written is wrong. 3: this machine could not offer the load, so nothing
was shown.

Examples:
  saqta drill --list
  saqta drill kursiv-search
  saqta drill meduza-search --grade perfect --for 40s --report reports
  saqta drill meduza-wide --netns
  saqta drill slow --against http://127.0.0.1:8080 --origin 127.0.0.1:8081"
    )]
    Drill(Drill),
    /// What would Saqta have done? Feed it an access log
    #[command(
        after_help = "Reads combined, common and virtual-host lines, JSON of Caddy and nginx, and
counts a minute (`period,count`); plain, gzip or zstd. Nothing is written but
the report you ask for, and nothing leaves this machine. A log does not tell
what ran short, so that something did is taken for granted from an alarm on.
Exit code 2: what was typed is wrong, or nothing could be read.

Examples:
  saqta replay /var/log/nginx/access.log
  saqta replay access.log.2.gz access.log.1 access.log --explain
  saqta replay access.log.gz --report reports
  saqta replay access.log.gz --labels known.tsv --json"
    )]
    Replay {
        /// Logs, in the order of their time; - for standard input
        #[arg(required = true, value_name = "LOG")]
        logs: Vec<PathBuf>,
        /// Windows of the log that somebody has judged, to measure against
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
        /// Say of each rule when it stood and what it hit
        #[arg(long)]
        explain: bool,
        /// Folder for a page with the time line and every rule, in three languages
        #[arg(long, value_name = "DIR")]
        report: Option<PathBuf>,
        /// List of autonomous systems (.mmdb), so that rules may name a provider
        #[arg(long, value_name = "FILE")]
        asn_file: Option<PathBuf>,
        /// List of countries (.mmdb)
        #[arg(long, value_name = "FILE")]
        country_file: Option<PathBuf>,
    },
    /// Show what the running Saqta does
    #[command(after_help = "Examples:
  saqta status
  saqta status --json | jq .edge")]
    Status {
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Say why a reader was stopped, by the code on their page
    #[command(
        after_help = "The code stands at the end of every page that stops somebody. Small letters,
spaces instead of dashes, and O for 0 are all right. It says when, at which
site, what they got and why; nothing of it was stored, and it names nobody.
Exit code 1: a code, but not one this Saqta can read. 2: no code, or no Saqta
runs.

Examples:
  saqta decode 7K2M-X94T-0QWE-RT5Z
  saqta decode 7k2m x94t 0qwe rt5z
  saqta decode --json 7K2M-X94T-0QWE-RT5Z"
    )]
    Decode {
        /// As the reader gave it
        #[arg(required = true, num_args = 1..=16, value_name = "CODE")]
        code: Vec<String>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// The processes of a drill
    #[command(hide = true)]
    Lab {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["config", "origin"]))]
struct Run {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the newsroom's own server listens, for a run without a file (mode: protect)
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Address and port to listen on; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    listen: Vec<String>,
    /// Host name readers type; may be given several times. Without it every host is answered
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    host: Vec<String>,
    /// A rehearsal: answers say which rule hit their request. What `saqta drill` starts
    #[arg(long, hide = true)]
    drill: bool,
}

#[derive(Debug, Args)]
struct Init {
    /// Host name readers type; may be given several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Where the newsroom's own server listens
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// wordpress, drupal, joomla or generic [default: what the server's front page gives away]
    #[arg(long, value_name = "SYSTEM")]
    profile: Option<String>,
    /// Network whose clients are staff; may be given several times, or `none`
    #[arg(long, value_name = "NETWORK")]
    staff: Vec<String>,
    /// kk, ru or en: the language of Saqta's own pages
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "newsroom.toml")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["url", "prefix", "tag", "forget"]))]
struct Purge {
    /// The address of a page
    url: Option<String>,
    /// All addresses that begin so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// All pages that carry this tag (Cache-Tag, Surrogate-Key, X-Drupal-Cache-Tags)
    #[arg(long)]
    tag: Option<String>,
    /// Take every copy of this address away
    #[arg(long, value_name = "URL")]
    forget: Option<String>,
}

impl Purge {
    fn order(self) -> Order {
        let (which, text) = match (self.url, self.prefix, self.tag) {
            (Some(url), ..) => (Which::Url, Some(url)),
            (_, Some(prefix), _) => (Which::Prefix, Some(prefix)),
            (.., Some(tag)) => (Which::Tag, Some(tag)),
            _ => (Which::Forget, self.forget),
        };
        Order::Purge {
            which,
            text: text.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Make one, here
    #[command(after_help = "Examples:
  saqta key new officer --out aigerim.key")]
    New {
        #[command(subcommand)]
        whose: NewKey,
    },
    /// Name who may read what is sealed from now on
    #[command(after_help = "Examples:
  saqta key add officer age1... --name Aigerim")]
    Add {
        #[command(subcommand)]
        whose: AddKey,
    },
    /// Who signs here, and who may read
    List,
}

#[derive(Debug, Subcommand)]
enum NewKey {
    /// An officer's, who reads what is sealed
    Officer {
        /// A file that is not there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum AddKey {
    /// An officer, who reads what is sealed
    Officer {
        /// The public half: age1...
        key: String,
        /// What to call them by, 1 to 40 characters
        #[arg(long, value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum Bundle {
    /// One attack, as it was sealed
    #[command(after_help = "Examples:
  saqta bundle incident 20261201-3fa95c10 --out for-the-lawyer")]
    Incident {
        /// As `saqta incident list` shows it
        id: String,
        /// A folder that is not there yet
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        /// A field of the record that is not shown; may be given again
        #[arg(long, value_name = "FIELD")]
        without: Vec<String>,
        /// An officer's key, a file of age
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Incident {
    /// All that were sealed, the oldest first
    #[command(after_help = "Examples:
  saqta incident list
  saqta incident list --json | jq '.incidents[].id'")]
    List {
        /// An officer's key, a file of age
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// One of them
    #[command(
        after_help = "With --json what was sealed stands in `texts`, whole. Exit code 1: there is none
of that name.

Examples:
  saqta incident show 20261201-3fa95c10
  saqta incident show 20261201-3fa95c10 --json | jq -r '.texts[\"timeline.csv\"]'"
    )]
    Show {
        /// As `saqta incident list` shows it
        id: String,
        /// An officer's key, a file of age
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Staff {
    /// Print a link: whoever presses the button behind it within a day, on up to three devices, is staff there
    #[command(after_help = "Examples:
  saqta staff invite --name 'Aigerim, phone'
  saqta staff invite --name Daulet --days 14 --site news.example")]
    Invite {
        /// What to call them by, 1 to 40 characters
        #[arg(long, value_name = "NAME")]
        name: String,
        /// For how many days, 1 to 180
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=i64::from(INVITED_DAYS_MAX)))]
        days: u16,
        /// Of which site, where there are several: its name or a host
        #[arg(long, value_name = "SITE")]
        site: Option<String>,
    },
    /// Show who is invited, until when and on how many devices
    List,
    /// Take an invitation back, at once
    Revoke {
        /// As `saqta staff list` shows it
        name: String,
    },
}

impl Staff {
    fn order(self) -> Order {
        match self {
            Self::Invite { name, days, site } => Order::Invite {
                site,
                label: name,
                days,
            },
            Self::List => Order::Invited,
            Self::Revoke { name } => Order::Revoke { label: name },
        }
    }
}

#[derive(Debug, Args)]
struct Check {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Drill {
    /// Scenario: one of those that `--list` shows, or a file
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Show the scenarios
    #[arg(long, conflicts_with_all = ["name", "against", "origin", "lasting", "json", "report"])]
    list: bool,
    /// How closely attackers resemble readers' browsers: one HTTP library, 3 in 10 of them perfect, or all
    #[arg(long, value_enum, default_value = "crude")]
    grade: GradeWord,
    /// The system whose header fields the origin speaks
    #[arg(long, value_enum, default_value = "generic")]
    dialect: DialectWord,
    /// Drill this server, on this machine, instead of Saqta
    #[arg(long, value_name = "URL", requires = "origin")]
    against: Option<String>,
    /// Where that server expects its origin
    #[arg(long, value_name = "ADDR", requires = "against", value_parser = address)]
    origin: Option<SocketAddr>,
    /// In network namespaces of its own instead of on loopback: with IPv6, a cable and its limit
    #[arg(long, conflicts_with = "against")]
    netns: bool,
    /// Calm, attack and after together, 3s to 2m, as the scenario says when left out; the last answers may take 10s more
    #[arg(long = "for", value_name = "TIME", value_parser = drill_time)]
    lasting: Option<Duration>,
    /// The same seed draws the same readers and attackers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = seed)]
    seed: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Folder for a report in HTML with charts
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Judge only what does not depend on what else this machine does
    #[arg(long)]
    untimed: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GradeWord {
    Crude,
    Half,
    Perfect,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DialectWord {
    Generic,
    #[value(name = "wordpress")]
    WordPress,
    Joomla,
    Drupal,
}

fn drill_time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text)?;
    if (DRILL_TIME_MIN..=DRILL_TIME_MAX).contains(&time) {
        Ok(time)
    } else {
        Err(format!(
            "give it {} to {}",
            duration::write(DRILL_TIME_MIN),
            duration::write(DRILL_TIME_MAX)
        ))
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "write a whole number, such as 7".into())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an address and its port, such as 127.0.0.1:8081".into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Why a command did not do what was asked; all of these exit with 2.
#[derive(Debug)]
pub(crate) enum Failure {
    Problems(Vec<Problem>),
    /// Problems as a running Saqta told them.
    Refused(Vec<String>),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Does what was typed. Whatever went wrong has been said on standard error.
pub fn execute(cli: Cli) -> ExitCode {
    let Cli {
        data: chosen,
        command,
    } = cli;
    let data = chosen
        .clone()
        .unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    let done = match command {
        Command::Demo { lasting } => demo(lasting.unwrap_or(demo::LASTING), chosen),
        Command::Run(what) => run(what, &data),
        Command::Check(Check { config }) => check(&config, &data),
        Command::Init(what) => begin(what),
        Command::Settings => say(settings::ANNOTATED),
        Command::AppKey => say(&format!("{}\n", new_app_key())),
        Command::Reload => order(&data, Order::Reload),
        Command::Bypass { switch } => order(
            &data,
            Order::Bypass {
                on: switch == Switch::On,
            },
        ),
        Command::Purge(what) => order(&data, what.order()),
        Command::Staff { what } => order(&data, what.order()),
        Command::Incident { what } => incident(&data, &what),
        Command::Key { what } => key(&data, &what),
        Command::Bundle {
            what:
                Bundle::Incident {
                    id,
                    out,
                    without,
                    identity,
                },
        } => bundle(&data, &id, &without, &out, identity.as_ref()),
        Command::Verify { path, trust, json } => {
            let judged = bundling::verify(&path, trust.as_ref(), json);
            say(&judged.said).map(|_| ExitCode::from(judged.code))
        }
        Command::Drill(what) => drill(what, chosen),
        Command::Replay {
            logs,
            labels,
            json,
            explain,
            report,
            asn_file,
            country_file,
        } => registry(asn_file.as_deref(), country_file.as_deref())
            .map_err(Failure::Other)
            .and_then(|registry| {
                replay::run(&Replay {
                    logs,
                    labels,
                    json,
                    explain,
                    report,
                    registry,
                })
            })
            .map(|()| ExitCode::SUCCESS),
        Command::Status { json } => status(&data, json),
        Command::Decode { code, json } => decode(&data, &code.join(" "), json),
        Command::Lab { arguments } => stage::lab_main(&arguments, &MINT)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Failure::Other),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(EXIT_BAD_INPUT)
        }
    }
}

fn registry(asn: Option<&Path>, country: Option<&Path>) -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    if let Some(file) = asn {
        registry = registry
            .with_asn(file)
            .with_context(|| file.display().to_string())?;
    }
    if let Some(file) = country {
        registry = registry
            .with_country(file)
            .with_context(|| file.display().to_string())?;
    }
    Ok(registry)
}

fn run(what: Run, data: &Path) -> Result<ExitCode, Failure> {
    let (source, mut plan) = match (what.config, what.origin) {
        (Some(file), _) => {
            let plan = read_file(&file)?;
            (Source::File(file), plan)
        }
        (None, Some(origin)) => {
            let plan =
                settings::of_flags(&origin, &what.listen, &what.host).map_err(Failure::Problems)?;
            (Source::Flags, plan)
        }
        (None, None) => {
            return Err(
                anyhow::anyhow!("give a settings file with -c FILE, or --origin URL").into(),
            );
        }
    };
    plan.is_drill = what.drill;
    run::run(source, plan, data)
}

fn begin(what: Init) -> Result<ExitCode, Failure> {
    let answers = init::Answers {
        hosts: what.host,
        origin: what.origin,
        profile: what.profile,
        staff: (!what.staff.is_empty()).then_some(what.staff),
        language: what.language,
    };
    say(&init::init(answers, &what.out)?)
}

fn check(file: &Path, data: &Path) -> Result<ExitCode, Failure> {
    let plan = read_file(file)?;
    let findings = check::machine_findings(&plan, data);
    let coloured = screen::coloured();
    say(&findings
        .iter()
        .map(|finding| finding.row(coloured))
        .collect::<String>())?;
    let to_do = findings.iter().any(|finding| finding.remedy.is_some());
    Ok(if to_do {
        ExitCode::from(EXIT_BAD_INPUT)
    } else {
        ExitCode::SUCCESS
    })
}

fn order(data: &Path, order: Order) -> Result<ExitCode, Failure> {
    match control::ask(data, order)? {
        Answer::Done { said } => say(&format!("{said}\n")),
        Answer::Nothing { said } => {
            say(&format!("{said}\n"))?;
            Ok(ExitCode::from(EXIT_NOTHING_FOUND))
        }
        Answer::Refused { problems } => Err(Failure::Refused(problems)),
        _ => {
            Err(anyhow::anyhow!("the running Saqta answered something else than was asked").into())
        }
    }
}

fn incident(data: &Path, what: &Incident) -> Result<ExitCode, Failure> {
    match what {
        Incident::List { identity, json } => say(&incidents::list(data, identity.as_ref(), *json)?),
        Incident::Show { id, identity, json } => {
            match incidents::show(data, identity.as_ref(), id, *json)? {
                Some(said) => say(&said),
                None => no_incident(id),
            }
        }
    }
}

fn key(data: &Path, what: &Key) -> Result<ExitCode, Failure> {
    match what {
        Key::New {
            whose: NewKey::Officer { out },
        } => say(&keys::new_officer(out)?),
        Key::Add {
            whose: AddKey::Officer { key, name },
        } => say(&keys::add(data, name, key)?),
        Key::List => say(&keys::list(data)?),
    }
}

fn bundle(
    data: &Path,
    id: &str,
    without: &[String],
    out: &Path,
    identity: Option<&PathBuf>,
) -> Result<ExitCode, Failure> {
    match bundling::bundle(data, identity, id, without, out)? {
        Some(said) => say(&said),
        None => no_incident(id),
    }
}

fn no_incident(id: &str) -> Result<ExitCode, Failure> {
    eprintln!("no incident {id} is sealed here\n`saqta incident list` names all");
    Ok(ExitCode::from(EXIT_NOTHING_FOUND))
}

fn status(data: &Path, json: bool) -> Result<ExitCode, Failure> {
    match control::ask(data, Order::Status)? {
        Answer::Status { status } if json => {
            say(&format!("{}\n", serde_json::to_string_pretty(&status)?))
        }
        Answer::Status { status } => say(&status.screen()),
        Answer::Refused { problems } => Err(Failure::Refused(problems)),
        _ => {
            Err(anyhow::anyhow!("the running Saqta answered something else than was asked").into())
        }
    }
}

fn decode(data: &Path, code: &str, json: bool) -> Result<ExitCode, Failure> {
    // A slip is found out here, whoever runs.
    if let Err(fault) = code.parse::<Code>() {
        return Err(anyhow::anyhow!("{code:?} is no code: {fault}").into());
    }
    let order = Order::Decode { code: code.into() };
    match control::ask(data, order)? {
        Answer::Decoded { decoded } if json => {
            say(&format!("{}\n", serde_json::to_string_pretty(&decoded)?))
        }
        Answer::Decoded { decoded } => say(&decoded.screen()),
        Answer::Nothing { said } => {
            tell(&said);
            Ok(ExitCode::from(EXIT_NOTHING_FOUND))
        }
        Answer::Refused { problems } => Err(Failure::Refused(problems)),
        _ => {
            Err(anyhow::anyhow!("the running Saqta answered something else than was asked").into())
        }
    }
}

/// Its folder is a temporary one unless one was chosen.
fn demo(lasting: Duration, data: Option<PathBuf>) -> Result<ExitCode, Failure> {
    demo::run_demo(&DemoOptions {
        lasting,
        data,
        saqta_exe: std::env::current_exe()?,
        mint: MINT,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Its folder is a temporary one unless one was chosen.
fn drill(what: Drill, data: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let Some(name) = what.name.filter(|_| !what.list) else {
        return say(&scenarios());
    };
    let options = DrillOptions {
        scenario: scenario::find(&name)?,
        grade: match what.grade {
            GradeWord::Crude => Grade::Crude,
            GradeWord::Half => Grade::Half,
            GradeWord::Perfect => Grade::Perfect,
        },
        dialect: match what.dialect {
            DialectWord::Generic => Dialect::Generic,
            DialectWord::WordPress => Dialect::WordPress,
            DialectWord::Joomla => Dialect::Joomla,
            DialectWord::Drupal => Dialect::Drupal,
        },
        against: what.against.as_deref().map(Target::parse).transpose()?,
        origin_listen: what.origin,
        netns: what.netns,
        lasting: what.lasting,
        seed: what.seed,
        json: what.json,
        data,
        report: what.report,
        saqta_exe: std::env::current_exe()?,
        mint: MINT,
        untimed: what.untimed,
    };
    match run_drill(&options) {
        Ok(outcome) => Ok(ExitCode::from(outcome.exit_code())),
        // Whoever pressed Ctrl-C knows.
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        Err(error) => Err(Failure::Other(error)),
    }
}

fn scenarios() -> String {
    scenario::EMBEDDED
        .iter()
        .filter_map(|(name, _)| scenario::find(name).ok())
        .map(|Written { scenario, .. }| {
            screen::entry(&format!("{}\n{}", scenario.name, scenario.says)) + "\n"
        })
        .collect()
}

fn read_file(file: &Path) -> Result<Plan, Failure> {
    settings::read(&text_of(file)?, file).map_err(Failure::Problems)
}

/// For a Saqta that runs `running`.
pub(crate) fn read_file_again(file: &Path, running: &Plan) -> Result<Plan, Failure> {
    settings::read_again(&text_of(file)?, file, running).map_err(Failure::Problems)
}

fn text_of(file: &Path) -> Result<String, Failure> {
    // One more, by which `settings::read` sees that there are too many.
    let bytes_max = settings::TEXT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(bytes_max).read_to_end(&mut bytes));
    read.map_err(|error| {
        let shown = file.display();
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                format!("`saqta init --out {shown}` makes one to begin with")
            }
            io::ErrorKind::PermissionDenied => {
                "let the user that runs Saqta read it and enter its folder (chown, chmod)".into()
            }
            _ => "give the settings file itself with -c FILE".into(),
        };
        anyhow::anyhow!(
            "cannot read the settings file {shown}: {}\n{remedy}",
            machine::plainly(&error)
        )
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // A database given by mistake; and a character may have been cut in two.
        Err(error) if error.as_bytes().len() > settings::TEXT_BYTES_MAX => {
            Ok(String::from_utf8_lossy(error.as_bytes()).into_owned())
        }
        Err(error) => {
            let right = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + right.iter().filter(|byte| **byte == b'\n').count();
            Err(anyhow::anyhow!(
                "{}:{line}: not a text in UTF-8\nsave it again as UTF-8, or take the character out",
                file.display()
            )
            .into())
        }
    }
}

/// To standard output. A reader who has left (`saqta settings | head`) has seen enough.
fn say(text: &str) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Whoever was to hear it may have gone, which is no failure of ours.
pub(crate) fn tell(line: &str) {
    _ = writeln!(io::stderr().lock(), "{line}");
}

fn complain(failure: &Failure) {
    let list = |problems: &[String], then: &str| {
        for problem in problems {
            tell(&format!("{}\n", screen::entry(problem)));
        }
        tell(&format!(
            "{}{then}",
            check::counted(problems.len(), "problem")
        ));
    };
    match failure {
        Failure::Problems(problems) => {
            list(
                &problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "",
            );
        }
        Failure::Refused(problems) => list(problems, "; the running Saqta goes on as before"),
        Failure::Other(error) => tell(&screen::entry(&format!("saqta: {error:#}"))),
    }
}
