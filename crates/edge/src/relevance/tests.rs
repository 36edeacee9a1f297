use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 3600;
const STARVED: Pressure = Pressure {
    under_attack: true,
    matches_signature: false,
    starved: true,
};
const ATTACK: Pressure = Pressure {
    under_attack: true,
    matches_signature: false,
    starved: false,
};
const SIGNATURE: Pressure = Pressure {
    under_attack: true,
    matches_signature: true,
    starved: false,
};

fn shape_of(target: &str) -> Shape {
    Shape::of(target.split('?').next().unwrap_or_default().as_bytes())
}

fn group(number: u8) -> Group {
    Group::from_bits(u64::from(number))
}

fn at(day: u64, second: u64) -> UnixMillis {
    UnixMillis::from_secs((20_000 + day) * DAY + second)
}

fn seen(path_shape: Shape, target: &[u8], from: u8, now: UnixMillis) -> Sighting<'_> {
    Sighting {
        path_shape,
        target,
        group: group(from),
        at_ease: true,
        now,
    }
}

/// A page of enough words, told by `seed`.
fn page(seed: u64) -> Likeness {
    let body = format!("<p>{}</p>", format!("w{seed} ").repeat(40));
    likeness::of(b"text/html", None, body.as_bytes()).expect("short")
}

/// A site all of whose paths are there, with names that choose another page, by any value or by some.
#[derive(Debug, Clone, Default)]
struct Origin {
    /// Name to the values that change the page; empty: all do.
    relevant: HashMap<&'static str, Vec<&'static str>>,
}

impl Origin {
    fn answer(&self, target: &[u8]) -> Likeness {
        let target = std::str::from_utf8(target).expect("ours");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut chosen = vec![path.to_owned()];
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Some(values) = self.relevant.get(name)
                && (values.is_empty() || values.contains(&value))
            {
                chosen.push(pair.to_owned());
            }
        }
        page(RandomState::hash_one(&fixed(), chosen))
    }
}

fn fixed() -> RandomState {
    thread_local! {
        static FIXED: RandomState = RandomState::new();
    }
    FIXED.with(Clone::clone)
}

struct Lab {
    relevance: Relevance,
    origin: Origin,
}

impl Lab {
    fn new(relevant: &[(&'static str, &[&'static str])]) -> Self {
        Self {
            relevance: Relevance::new(fixed()),
            origin: Origin {
                relevant: relevant
                    .iter()
                    .map(|(name, values)| (*name, values.to_vec()))
                    .collect(),
            },
        }
    }

    /// Somebody asks; whatever probe follows is made and learned from.
    fn ask(&mut self, target: &str, from: u8, now: UnixMillis) -> Option<Lesson> {
        let probe = self.relevance.sighted(
            &seen(shape_of(target), target.as_bytes(), from, now),
            |_| false,
            |_| true,
        )?;
        let without = self.origin.answer(&probe.without);
        let with = self.origin.answer(&probe.with);
        Some(
            self.relevance
                .learn(&probe, Some(without), With::Page(with), Some(without), now),
        )
    }

    fn decide(&self, target: &str, pressure: Pressure, now: UnixMillis) -> Decision {
        self.relevance.decide(
            || shape_of(target),
            target.as_bytes(),
            pressure,
            now,
            |_| false,
            |_| true,
        )
    }

    /// Four networks, two days, values of their own.
    fn teach(&mut self, path: &str, name: &str) -> Option<Lesson> {
        let mut last = None;
        for day in 0..2 {
            for round in 0..8u8 {
                let target = format!("{path}?{name}=v{round}");
                last = self
                    .ask(&target, round, at(day, u64::from(round) * 60))
                    .or(last);
            }
        }
        last
    }
}

fn reduced(target: &str) -> Decision {
    Decision::Reduced(target.as_bytes().to_vec())
}

#[test]
fn an_unseen_parameter_is_left_out_only_under_pressure() {
    let lab = Lab::new(&[]);
    let now = at(0, 0);
    let as_asked = Decision::AsAsked;
    for (target, pressure, decision) in [
        ("/a?x=8f3a", STARVED, reduced("/a")),
        ("/a?x=8f3a", SIGNATURE, reduced("/a")),
        ("/a?x=8f3a", ATTACK, as_asked(AsAsked::Unknown)),
        ("/a?x=8f3a", Pressure::default(), as_asked(AsAsked::Unknown)),
        ("/a?", STARVED, reduced("/a")),
        ("/a?&&", Pressure::default(), as_asked(AsAsked::Unknown)),
        ("/a", STARVED, as_asked(AsAsked::NoQuery)),
        ("/a?8273", STARVED, reduced("/a")),
        (
            "/a?x=1&page=2&y&lang=kk&z=",
            STARVED,
            reduced("/a?page=2&lang=kk"),
        ),
        ("/a?page=2", STARVED, as_asked(AsAsked::AllKept)),
        ("/?p=123", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?%70age=2", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?page%5B%5D=2", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?page[x]=2", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?LANG=kk", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?page", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?confirm=1", STARVED, as_asked(AsAsked::AllKept)),
        ("/a?code=4%2F0AX4XfWh", STARVED, as_asked(AsAsked::AllKept)),
        (
            "/a?u=5f4dcc3b5aa765d61d8327deb882cf99",
            STARVED,
            as_asked(AsAsked::Secret),
        ),
        (
            "/a?5f4dcc3b5aa765d61d8327deb882cf99",
            STARVED,
            as_asked(AsAsked::Secret),
        ),
        (
            "/a?to=aigerim%40news.example",
            STARVED,
            as_asked(AsAsked::Secret),
        ),
        ("/a?about=elections-and-after", STARVED, reduced("/a")),
    ] {
        assert_eq!(lab.decide(target, pressure, now), decision, "{target}");
    }
    let many = format!("/a?{}", "x=1&".repeat(PAIRS_MAX + 1));
    assert_eq!(
        lab.decide(&many, STARVED, now),
        as_asked(AsAsked::TooManyPairs)
    );
}

#[test]
fn what_is_left_must_be_a_page() {
    let relevance = Relevance::new(fixed());
    let known = |target: &[u8]| target == b"/a";
    for (target, decision) in [
        ("/a?x=1", reduced("/a")),
        ("/b?x=1", Decision::AsAsked(AsAsked::UnknownPage)),
        ("/a?x=1&page=2", Decision::AsAsked(AsAsked::UnknownPage)),
    ] {
        let said = relevance.decide(
            || shape_of(target),
            target.as_bytes(),
            STARVED,
            at(0, 0),
            |_| false,
            known,
        );
        assert_eq!(said, decision, "{target}");
    }
}

#[test]
fn the_profile_and_the_sites_links_keep_their_names() {
    let mut lab = Lab::new(&[]);
    let now = at(0, 0);
    let profile = |name: &[u8]| name == b"color";
    let said = lab.relevance.decide(
        || shape_of("/a"),
        b"/a?Color=1&x=1",
        STARVED,
        now,
        profile,
        |_| true,
    );
    assert_eq!(said, reduced("/a?Color=1"));
    lab.relevance
        .linked(b"/", b"http://news.example/b?tema=3&amp=1#c");
    assert_eq!(
        lab.decide("/a?tema=9", STARVED, now),
        Decision::AsAsked(AsAsked::AllKept)
    );
    // A page that repeats what it was asked with links nothing.
    lab.relevance.linked(b"/a?x=1", b"/a?x=1&tur=2");
    assert_eq!(
        lab.decide("/a?x=1&tur=5", STARVED, now),
        reduced("/a?tur=5")
    );
    // Links like /?12345 make all bare words count.
    lab.relevance.linked(b"/", b"/?12345");
    assert_eq!(
        lab.decide("/a?99", STARVED, now),
        Decision::AsAsked(AsAsked::AllKept)
    );
}

#[test]
fn a_name_is_irrelevant_after_enough_likenesses() {
    let mut lab = Lab::new(&[]);
    assert_eq!(lab.teach("/a", "x"), Some(Lesson::Irrelevant));
    assert_eq!(
        lab.decide("/a?x=new", ATTACK, at(1, DAY / 2)),
        reduced("/a")
    );
    assert_eq!(
        lab.decide("/a?x=new", Pressure::default(), at(1, DAY / 2)),
        Decision::AsAsked(AsAsked::Unknown)
    );
    // Another shape of path, another lesson.
    assert_eq!(
        lab.decide("/2024/05?x=new", ATTACK, at(1, DAY / 2)),
        Decision::AsAsked(AsAsked::Unknown)
    );
    // A month later nobody knows.
    assert_eq!(
        lab.decide("/a?x=new", ATTACK, at(32, 0)),
        Decision::AsAsked(AsAsked::Unknown)
    );
}

#[test]
fn one_day_or_two_networks_prove_nothing() {
    let mut lab = Lab::new(&[]);
    for round in 0..40u8 {
        lab.ask(
            &format!("/a?x=v{round}"),
            round,
            at(0, u64::from(round) * 60),
        );
    }
    assert_eq!(
        lab.relevance.state(shape_of("/a"), b"x", at(0, 0)),
        State::Unknown
    );
    let mut lab = Lab::new(&[]);
    for round in 0..40u8 {
        lab.ask(
            &format!("/a?x=v{round}"),
            round % 2,
            at(u64::from(round), 0),
        );
    }
    assert_eq!(
        lab.relevance.state(shape_of("/a"), b"x", at(39, 0)),
        State::Unknown
    );
}

#[test]
fn one_difference_is_enough_and_sticks() {
    let mut lab = Lab::new(&[("nomer", &["7"])]);
    assert_eq!(
        lab.ask("/a?nomer=7", 1, at(0, 0)),
        None,
        "one network is not enough to spend on"
    );
    assert_eq!(lab.ask("/a?nomer=7", 2, at(0, 60)), Some(Lesson::Relevant));
    for day in 0..40 {
        for from in 0..20 {
            lab.ask("/a?nomer=99999999", from, at(day, u64::from(from) * 60));
        }
    }
    assert_eq!(
        lab.relevance.state(shape_of("/a"), b"nomer", at(40, 0)),
        State::Relevant
    );
    assert_eq!(
        lab.decide("/a?nomer=99999999", STARVED, at(40, 0)),
        Decision::AsAsked(AsAsked::AllKept)
    );
}

#[test]
fn values_of_our_own_find_what_bad_values_hide() {
    // The teacher only ever asks for numbers that are not there; the site shows the bare page for those.
    let mut lab = Lab::new(&[("nomer", &["1", "2", "3"])]);
    lab.teach("/a", "nomer");
    assert_eq!(
        lab.relevance
            .state(shape_of("/a"), b"nomer", at(1, DAY / 2)),
        State::Relevant
    );
}

#[test]
fn comparisons_that_say_nothing_teach_nothing() {
    for (without, with, again, lesson) in [
        (Some(1), With::Page(page(1)), Some(1), Lesson::Agrees),
        (Some(1), With::Page(page(2)), Some(1), Lesson::Relevant),
        (Some(1), With::Missing, Some(1), Lesson::Relevant),
        (Some(1), With::Nothing, Some(1), Lesson::Nothing),
        (Some(1), With::Page(page(2)), Some(3), Lesson::Nothing),
        (Some(1), With::Missing, None, Lesson::Nothing),
        (None, With::Page(page(1)), Some(1), Lesson::Nothing),
    ] {
        let mut relevance = Relevance::new(fixed());
        let mut sight = |from| {
            relevance.sighted(
                &seen(shape_of("/a"), b"/a?x=v", from, at(0, 0)),
                |_| false,
                |_| true,
            )
        };
        assert_eq!(sight(1), None);
        let probe = sight(2).expect("two networks");
        assert_eq!(sight(3), None, "one at a time");
        let said = relevance.learn(&probe, without.map(page), with, again.map(page), at(0, 0));
        assert_eq!(said, lesson);
    }
}

#[test]
fn probes_keep_to_their_budget() {
    let mut relevance = Relevance::new(fixed());
    let mut probes = 0;
    for number in 0..500u32 {
        let target = format!("/a?x{}=v{number}", number / 2);
        let probe = relevance.sighted(
            &seen(
                shape_of("/a"),
                target.as_bytes(),
                u8::try_from(number % 2).unwrap_or(0),
                at(0, 0),
            ),
            |_| false,
            |_| true,
        );
        if let Some(probe) = probe {
            probes += 1;
            relevance.learn(&probe, None, With::Nothing, None, at(0, 0));
        }
    }
    assert_eq!(probes, PROBES_PER_MINUTE_MAX);
    let mut sight = |ease, known: bool| {
        relevance.sighted(
            &Sighting {
                at_ease: ease,
                ..seen(shape_of("/a"), b"/a?x0=v", 5, at(0, 7_200))
            },
            |_| false,
            |_| known,
        )
    };
    assert!(sight(false, true).is_none(), "not at ease");
    assert!(sight(true, false).is_none(), "not a page");
    assert!(sight(true, true).is_some());
}

#[test]
fn no_room_for_the_relevant_means_all_are() {
    let mut relevance = Relevance::new(fixed());
    let mut now = at(0, 0);
    for number in 0..=RELEVANT_MAX {
        let target = format!("/a?x{number}=v");
        let probe = [1, 2].into_iter().find_map(|from| {
            relevance.sighted(
                &seen(shape_of("/a"), target.as_bytes(), from, now),
                |_| false,
                |_| true,
            )
        });
        let probe = probe.expect("a minute each");
        relevance.learn(&probe, Some(page(1)), With::Missing, Some(page(1)), now);
        now = now.plus(Duration::from_secs(60));
    }
    assert_eq!(relevance.relevant.len(), RELEVANT_MAX);
    let said = relevance.decide(
        || shape_of("/a"),
        b"/a?never=1",
        STARVED,
        now,
        |_| false,
        |_| true,
    );
    assert_eq!(said, Decision::AsAsked(AsAsked::AllKept));
    let said = relevance.decide(
        || shape_of("/b/c"),
        b"/b/c?never=1",
        STARVED,
        now,
        |_| false,
        |_| true,
    );
    assert_eq!(said, reduced("/b/c"));
}

const NAMES: [&str; 12] = [
    "id", "p", "page", "lang", "nomer", "x", "y", "utm", "confirm", "code", "%70", "a[]",
];

fn target() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("99999999".to_owned()),
        "[0-9]{1,3}",
        "[a-z]{1,9}",
        "[a-f0-9]{32}",
        Just(String::new()),
    ];
    let name = prop_oneof![
        proptest::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
        "[a-z]{1,3}[0-9]{0,2}",
    ];
    let pair = (name, proptest::option::of(value)).prop_map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name,
    });
    ("(/[a-z]{1,2}){1,2}", proptest::collection::vec(pair, 0..4))
        .prop_map(|(path, pairs)| format!("{path}?{}", pairs.join("&")))
}

fn asks() -> impl Strategy<Value = Vec<(String, u8, u64)>> {
    proptest::collection::vec((target(), 0u8..6, 0u64..DAY), 0..120)
}

/// The names in a target that nothing may take out.
fn names_that_stay(target: &str) -> Vec<&str> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter(|pair| {
            ["id", "p", "page", "lang", "%70", "confirm", "code"]
                .contains(&pair.split('=').next().unwrap_or_default())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_requests_makes_a_choosing_name_go(asks in asks(), last in target()) {
        // The origin falls back to the bare page for everything but one value that no stranger hits on.
        let mut lab = Lab::new(&[("id", &["7531"]), ("nomer", &["2"])]);
        let mut now = at(0, 0);
        for (target, from, later) in &asks {
            lab.ask(target, *from, now);
            now = now.plus(Duration::from_secs(*later));
        }
        for target in asks.iter().map(|(target, ..)| target).chain([&last]) {
            if let Decision::Reduced(left) = lab.decide(target, STARVED, now) {
                let left = String::from_utf8(left).expect("ours");
                prop_assert_eq!(names_that_stay(&left), names_that_stay(target), "kept, and in their order");
                prop_assert!(target.len() > left.len());
            }
        }
        // Names that our own values tell are relevant or unknown, never irrelevant.
        for (target, ..) in &asks {
            prop_assert_ne!(lab.relevance.state(shape_of(target), b"nomer", now), State::Irrelevant);
        }
    }

    #[test]
    fn relevant_once_is_relevant_for_good(asks in asks()) {
        let mut lab = Lab::new(&[("x", &["5"])]);
        lab.ask("/a?x=5", 1, at(0, 0));
        prop_assert_eq!(lab.ask("/a?x=5", 2, at(0, 60)), Some(Lesson::Relevant));
        let mut now = at(0, 120);
        for (target, from, later) in &asks {
            let target = target.replace("?", "?x=99999999&");
            lab.ask(&target, *from, now);
            now = now.plus(Duration::from_secs(*later));
            prop_assert_eq!(lab.relevance.state(shape_of("/a"), b"x", now), State::Relevant);
        }
    }

    #[test]
    fn tables_stay_within_their_bounds(names in proptest::collection::vec("[a-z]{1,12}", 0..400)) {
        let mut relevance = Relevance::new(fixed());
        for (number, name) in names.iter().enumerate() {
            let target = format!("/a?{name}=v{number}");
            relevance.linked(b"/", target.as_bytes());
            relevance.sighted(&seen(shape_of("/a"), target.as_bytes(), 1, at(0, 0)), |_| false, |_| true);
        }
        prop_assert!(relevance.linked.len() <= LINKED_MAX);
        prop_assert!(size_of_val::<[Option<Entry>]>(&relevance.names) <= 256 * 1024);
        prop_assert_eq!(relevance.names.len(), NAMES_MAX);
    }

    #[test]
    fn any_bytes_are_decided_alike_twice(target in proptest::collection::vec(any::<u8>(), 0..200)) {
        let twice = [0, 1].map(|_| {
            let mut relevance = Relevance::new(fixed());
            relevance.sighted(&seen(shape_of("/a"), &target, 1, at(0, 0)), |_| false, |_| true);
            let probe = relevance.sighted(&seen(shape_of("/a"), &target, 2, at(0, 0)), |_| false, |_| true);
            (probe, relevance.decide(|| shape_of("/a"), &target, STARVED, at(0, 0), |_| false, |_| true))
        });
        prop_assert_eq!(&twice[0], &twice[1]);
    }
}
