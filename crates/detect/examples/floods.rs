//! How rules fare against floods of several kinds: `cargo run --release -p saqta-detect --example floods`.
//!
//! A site of [`READERS_PER_S`] readers with some dozen browsers, calm for half a minute, as in a drill, then attacked for as long by
//! [`FLOOD_PER_S`]. For each kind of flood: the median over [`SEEDS`] of the seconds until the first rule, and the shares of the crude
//! attackers, of those that look like readers, of readers and of their searches that were hit from then on; the most over all of the shares of
//! readers. Change a constant of the crate, run it again, and see what it is good for (`docs/decisions/0011-signatures.md`).

use std::net::{IpAddr, Ipv4Addr};

use saqta_detect::engine::{Engine, Kind, Posture, Role, Scarce};
use saqta_detect::look::{Field, Head, Look};
use saqta_detect::shape::Shape;
use saqta_detect::trust::Known;

const READERS_PER_S: u64 = 350;
const FLOOD_PER_S: u64 = 3_000;
const CALM_S: u64 = 30;
const FLOOD_S: u64 = 30;
const SEEDS: u64 = 3;
/// One in so many of what readers ask for needs the server: a search.
const SEARCH_ONE_IN: u64 = 33;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 YaBrowser/24.10 Mobile Safari/537.36",
];
const LANGUAGES: [&str; 3] = [
    "ru-RU,ru;q=0.9",
    "kk-KZ,kk;q=0.9,ru;q=0.8",
    "en-US,en;q=0.9",
];
const CRUDE: &str = "python-requests/2.31.0";

/// A flood: its name, of how many in ten the looks are a reader's, and what it asks for.
const FLOODS: [(&str, u64, Target); 6] = [
    ("searches, crude", 0, Target::Search),
    ("searches, half", 3, Target::Search),
    ("searches, perfect", 10, Target::Search),
    ("invented paths, half", 3, Target::Invented),
    ("one article, parameters, half", 3, Target::Busted),
    ("new article passed around", 10, Target::New),
];

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Search,
    Invented,
    Busted,
    /// Readers, all of them, and it needs the server.
    New,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Reader,
    Searcher,
    Crude,
    Alike,
}

#[derive(Default)]
struct Hits {
    all: u64,
    hit: u64,
}

impl Hits {
    fn share(&self) -> f64 {
        self.hit as f64 / self.all.max(1) as f64
    }
}

fn main() {
    println!(
        "{:30} {:>6} {:>7} {:>7} {:>8} {:>9}",
        "flood", "rule s", "crude", "alike", "readers", "searches"
    );
    for (name, alike, target) in FLOODS {
        let mut told: Vec<Told> = (0..SEEDS).map(|seed| drill(alike, target, seed)).collect();
        let mut median = |of: fn(&Told) -> f64| {
            told.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&told[told.len() / 2])
        };
        let (rule, crude) = (median(|told| told.rule_s), median(|told| told.crude));
        let alike = median(|told| told.alike);
        let most = |of: fn(&Told) -> f64| told.iter().map(of).fold(0.0, f64::max);
        println!(
            "{name:30} {rule:>6} {:>6.1}% {:>6.1}% {:>7.3}% {:>8.2}%",
            100.0 * crude,
            100.0 * alike,
            100.0 * most(|told| told.readers),
            100.0 * most(|told| told.searches),
        );
    }
}

struct Told {
    /// Infinite: never.
    rule_s: f64,
    crude: f64,
    alike: f64,
    readers: f64,
    searches: f64,
}

fn drill(alike_in_ten: u64, target: Target, seed: u64) -> Told {
    let mut engine = Engine::new(1, seed);
    let mut chance = Chance(seed + 1);
    let (mut rule_s, mut hits) = (f64::INFINITY, [(); 4].map(|()| Hits::default()));
    for second in 0..CALM_S + FLOOD_S {
        let flood = if second < CALM_S { 0 } else { FLOOD_PER_S };
        for turn in 0..READERS_PER_S + flood {
            let who = match turn {
                0..READERS_PER_S if chance.below(SEARCH_ONE_IN) == 0 => Who::Searcher,
                0..READERS_PER_S => Who::Reader,
                _ if chance.below(10) < alike_in_ten => Who::Alike,
                _ => Who::Crude,
            };
            let hit = observe(&mut engine, second, (who, target), &mut chance);
            let of_it = &mut hits[who as usize];
            if rule_s.is_finite() {
                of_it.all += 1;
                of_it.hit += u64::from(hit);
            }
        }
        let scarce = Scarce {
            origin: engine.posture() != Posture::Calm,
            ..Scarce::NOTHING
        };
        engine.tick(second, scarce);
        if !engine.stance().rules.is_empty() {
            rule_s = rule_s.min((second + 1 - CALM_S) as f64);
        }
    }
    let [readers, searches, crude, alike] = &hits;
    Told {
        rule_s,
        crude: crude.share(),
        alike: alike.share(),
        readers: (readers.hit + searches.hit) as f64 / (readers.all + searches.all).max(1) as f64,
        searches: searches.share(),
    }
}

fn observe(
    engine: &mut Engine,
    second: u64,
    (who, target): (Who, Target),
    chance: &mut Chance,
) -> bool {
    let number = chance.below(1 << 30);
    let address = match (who, target) {
        (Who::Reader, _) => format!("/news/2026/11/{}/story", number % 400),
        (Who::Searcher, _) | (_, Target::Search) => format!("/?s=word{number}"),
        (_, Target::Invented) => format!("/archive/{number}/page"),
        (_, Target::Busted) => format!("/news/2026/11/7/story?x={number}"),
        (_, Target::New) => "/news/2026/11/breaking/story".to_owned(),
    };
    let agent = if who == Who::Crude {
        CRUDE
    } else {
        AGENTS[chance.below(AGENTS.len() as u64) as usize]
    };
    let crude = who == Who::Crude;
    let said = |value: &'static str| {
        if crude {
            Field::Absent
        } else {
            Field::Is(value.as_bytes())
        }
    };
    // Readers and attackers come from the same networks.
    let source = IpAddr::V4(Ipv4Addr::from_bits(
        0x0500_0000 + chance.below(3_000_000) as u32,
    ));
    let look = Look {
        method: b"GET",
        target: address.as_bytes(),
        shape: Shape::of(address.as_bytes()),
        version: 11,
        agent: Field::Is(agent.as_bytes()),
        referer: match (who, target) {
            (Who::Alike, Target::New) => Field::Is(b"https://t.me/"),
            (Who::Crude, _) => Field::Absent,
            _ => Field::Is(b"https://news.example/"),
        },
        head: Head {
            accept: Field::Is(if crude {
                b"*/*"
            } else {
                b"text/html,application/xhtml+xml"
            }),
            accept_language: said(LANGUAGES[chance.below(3) as usize]),
            accept_encoding: Field::Is(b"gzip, deflate"),
            names: Field::Is(if crude {
                b"Host,User-Agent,Accept-Encoding,Accept,Connection"
            } else {
                b"Host,Connection,User-Agent,Accept,Referer,Accept-Encoding,Accept-Language"
            }),
        },
        source,
        asn: None,
        country: None,
    };
    let kind = Kind {
        needs_origin: who != Who::Reader || number.is_multiple_of(40),
        is_sensitive: false,
        role: Role::Page,
        // Some have fetched what pages are made of.
        known: (who == Who::Reader && number.is_multiple_of(4)).then_some(Known {
            since_s: 0,
            cohort: None,
        }),
    };
    engine.observe(second, &look, kind)
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % most
    }
}
