//! A site, its readers and a flood, made once so that only the engine is measured.

use std::net::{IpAddr, Ipv4Addr};

use saqta_detect::engine::{Engine, Kind, Role, Scarce};
use saqta_detect::look::{Field, Head, Look};
use saqta_detect::shape::Shape;
use saqta_detect::trust::Known;

pub(crate) const READERS_PER_S: usize = 350;
pub(crate) const FLOOD_PER_S: usize = 10_000;
/// The reservoir of ordinary requests is full by then, and takes few more.
pub(crate) const CALM_S: u64 = 600;
/// Seconds of flood among which a rule is looked for.
const WINDOW_S: u64 = 10;
pub(crate) const ORIGIN: Scarce = Scarce {
    origin: true,
    ..Scarce::NOTHING
};
pub(crate) const PAGE: Kind = Kind {
    needs_origin: true,
    is_sensitive: false,
    role: Role::Page,
    known: None,
};
const READER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const CRUDE: &str = "python-requests/2.31.0";
const FIELDS: &str = "Host,Connection,sec-ch-ua,sec-ch-ua-mobile,sec-ch-ua-platform,Upgrade-Insecure-Requests,User-Agent,Accept,Sec-Fetch-Site,Sec-Fetch-Mode,Sec-Fetch-User,Sec-Fetch-Dest,Referer,Accept-Encoding,Accept-Language";

/// Requests that differ, used in turn.
const DIFFERENT: usize = 4_096;

pub(crate) struct Traffic {
    articles: Vec<(String, Shape)>,
    searches: Vec<(String, Shape)>,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let of = |target: fn(usize) -> String| {
            let targets = (0..DIFFERENT).map(target);
            targets
                .map(|target| {
                    let shape = Shape::of(target.as_bytes());
                    (target, shape)
                })
                .collect()
        };
        Self {
            articles: of(|number| {
                format!("/news/2026/11/{}/a-story-about-something", number % 400)
            }),
            searches: of(|number| format!("/?s=term{number}")),
        }
    }

    fn reader(&self, turn: usize) -> Look<'_> {
        let (target, shape) = &self.articles[turn % DIFFERENT];
        Look {
            method: b"GET",
            target: target.as_bytes(),
            shape: *shape,
            version: 11,
            agent: Field::Is(READER.as_bytes()),
            referer: Field::Is(b"https://news.example/"),
            head: Head {
                accept: Field::Is(
                    b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                ),
                accept_language: Field::Is(b"ru,kk;q=0.9,en;q=0.8"),
                accept_encoding: Field::Is(b"gzip, deflate, br, zstd"),
                names: Field::Is(FIELDS.as_bytes()),
            },
            source: IpAddr::V4(Ipv4Addr::from_bits(
                0x0500_0000 + (turn as u64 * 7_919 % 2_000_000) as u32,
            )),
            asn: None,
            country: None,
        }
    }

    pub(crate) fn bot(&self, turn: usize) -> Look<'_> {
        let (target, shape) = &self.searches[turn % DIFFERENT];
        Look {
            target: target.as_bytes(),
            shape: *shape,
            agent: Field::Is(CRUDE.as_bytes()),
            referer: Field::Absent,
            source: IpAddr::V4(Ipv4Addr::from_bits(
                0x2e00_0000 + (turn as u64 * 104_729 % 8_000_000) as u32,
            )),
            head: Head {
                accept: Field::Is(b"*/*"),
                accept_language: Field::Absent,
                accept_encoding: Field::Is(b"gzip, deflate"),
                names: Field::Is(b"Host,User-Agent,Accept-Encoding,Accept,Connection"),
            },
            ..self.reader(turn)
        }
    }

    pub(crate) fn calm(&self, engine: &mut Engine, second: u64) {
        for number in 0..READERS_PER_S {
            let turn = second as usize * READERS_PER_S + number;
            // Readers, some of whom have fetched what pages are made of.
            let known = turn.is_multiple_of(4).then_some(Known {
                since_s: 0,
                cohort: None,
            });
            engine.observe(second, &self.reader(turn), Kind { known, ..PAGE });
        }
    }

    pub(crate) fn flood(&self, engine: &mut Engine, second: u64) {
        self.calm(engine, second);
        for number in 0..FLOOD_PER_S {
            let turn = second as usize * FLOOD_PER_S + number;
            engine.observe(second, &self.bot(turn), PAGE);
        }
    }

    pub(crate) fn learned(&self) -> Engine {
        let mut engine = Engine::new(1, 1);
        for second in 0..CALM_S {
            self.calm(&mut engine, second);
            engine.tick(second, Scarce::NOTHING);
        }
        engine
    }

    /// The flood has come and nothing was scarce, so that no rule was looked for; and the second that is to be judged next.
    pub(crate) fn before_search(&self) -> (Engine, u64) {
        let mut engine = self.learned();
        let last = CALM_S + WINDOW_S;
        for second in CALM_S..=last {
            self.flood(&mut engine, second);
            if second < last {
                engine.tick(second, Scarce::NOTHING);
            }
        }
        (engine, last)
    }

    /// Its rule stands; and the next second.
    pub(crate) fn with_rule(&self) -> (Engine, u64) {
        let (mut engine, second) = self.before_search();
        engine.tick(second, ORIGIN);
        assert!(
            engine.stance().rules.len() == 1,
            "one rule: {:?}",
            engine.incident()
        );
        (engine, second + 1)
    }
}
