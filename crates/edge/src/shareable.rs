//! Which pages everybody gets alike, although their origin says nothing or forbids storing: what may be kept for seconds under attack.
//!
//! Joomla says `no-store` on every page, Drupal `Vary: Cookie`, many plugins `private`; by the letter nothing of such a site may be shared, and
//! a flood of requests for one article is a flood at the origin. A few seconds' copy ends it. But some of what says `no-store` means it. So a
//! page is shared only if it was *proven in calm*: [`CLIENTS_MIN`] clients without a cookie, from as many networks, were given the same
//! page ([`crate::likeness`]) one after the other; or if the operator lists it. One different answer and the proof begins anew, so that a
//! page made for its reader, by address, by chance or by turn, never gets there.
//!
//! Proof is kept by a keyed hash of the request's key, beside keyed hashes of networks: nothing here can be turned back into who read what.
//! When the table is full the least proven makes room, and what is not in it is not shared.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::{Method, StatusCode};
use saqta_detect::network::Group;

use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::likeness::Likeness;
use crate::relevance;

/// Clients on networks of their own: two may be an editor at home and at work.
pub const CLIENTS_MIN: usize = 3;
/// The second and third must come before the page has changed for its own reasons.
pub const PROVE_WITHIN: Duration = Duration::from_secs(6 * 3600);
/// A site that is given logins or a paywall next week must not be caught out by what held last month.
pub const PROOF_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a copy lives: at a thousand requests a second the origin makes one of five thousand, and nobody reads old news.
pub const MICRO_CACHE: Duration = Duration::from_secs(5);

/// Sets of 8, 64 bytes each: 512 KiB a site, the pages a newsroom's readers ask for in a week.
const SETS: usize = 1_024;
const WAYS: usize = 8;
pub const KEYS_MAX: usize = SETS * WAYS;

/// What a request is, as far as sharing its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Its key's hash in the cache.
    pub key: u64,
    /// `Origin` of a script's request: an answer to one site's script may name that site.
    pub origin: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotShared {
    Method,
    Range,
    /// A cookie that is not ignorable, or `Authorization`.
    Credentials,
    /// A value that looks like a secret, in the query or the path.
    Secret,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    question: u64,
    digest: u128,
    groups: [u32; CLIENTS_MIN],
    clients: u8,
    /// Of the first client while unproven, of the last once proven.
    since: UnixMillis,
}

impl Entry {
    fn is_proven(&self) -> bool {
        usize::from(self.clients) >= CLIENTS_MIN
    }

    fn is_over(&self, now: UnixMillis) -> bool {
        now.since(self.since)
            >= if self.is_proven() {
                PROOF_LASTS
            } else {
                PROVE_WITHIN
            }
    }
}

/// Of one site.
pub struct Shareable {
    secret: RandomState,
    entries: Box<[Option<Entry>]>,
}

impl<'a> Question<'a> {
    /// # Errors
    /// Why its answer may not be shared, whatever was proven. `has_cookie`: one that the site's profile does not ignore.
    pub fn of<F: Fields + ?Sized>(
        key: u64,
        method: &Method,
        target: &[u8],
        fields: &'a F,
        has_cookie: bool,
    ) -> Result<Self, NotShared> {
        if *method != Method::GET && *method != Method::HEAD {
            return Err(NotShared::Method);
        }
        if fields.field("range").is_some() {
            return Err(NotShared::Range);
        }
        if has_cookie || fields.field("authorization").is_some() {
            return Err(NotShared::Credentials);
        }
        if holds_secret(target) {
            return Err(NotShared::Secret);
        }
        let mut origin = None;
        fields.each_line("origin", &mut |line| origin = Some(line));
        Ok(Self { key, origin })
    }
}

impl Shareable {
    pub fn new(secret: RandomState) -> Self {
        Self {
            secret,
            entries: vec![None; KEYS_MAX].into_boxed_slice(),
        }
    }

    /// In calm: the origin gave this page, a 200, to a client of this network who sent no cookie.
    pub fn seen(
        &mut self,
        question: &Question<'_>,
        group: Group,
        status: StatusCode,
        page: Likeness,
        now: UnixMillis,
    ) {
        if status != StatusCode::OK || !page.is_telling() {
            return;
        }
        let hash = self.hash(question);
        let group = self.secret.hash_one(group.bits()) as u32;
        let slot = self.slot(hash, now);
        let fresh = Entry {
            question: hash,
            digest: page.digest(),
            groups: [group; CLIENTS_MIN],
            clients: 1,
            since: now,
        };
        let Some(entry) = slot else {
            *slot = Some(fresh);
            return;
        };
        if entry.question != hash {
            // A proof is worth more than the first sight of something new.
            if !entry.is_proven() {
                *slot = Some(fresh);
            }
            return;
        }
        if entry.digest != page.digest() || entry.is_over(now) {
            *entry = fresh;
            return;
        }
        let clients = usize::from(entry.clients);
        if entry.is_proven() {
            entry.since = now;
        } else if !entry.groups[..clients].contains(&group) {
            entry.groups[clients] = group;
            entry.clients += 1;
            if entry.is_proven() {
                entry.since = now;
            }
        }
    }

    /// In calm: something else than a 200, or a 200 with no likeness.
    pub fn seen_otherwise(&mut self, question: &Question<'_>) {
        let hash = self.hash(question);
        let set = self.set(hash);
        for slot in &mut self.entries[set] {
            if slot.is_some_and(|entry| entry.question == hash) {
                *slot = None;
            }
        }
    }

    /// How long an answer may be kept for everybody; only under attack, which the caller knows. `listed`: by the operator.
    pub fn keeps_for(
        &self,
        question: &Question<'_>,
        status: StatusCode,
        listed: bool,
        now: UnixMillis,
    ) -> Option<Duration> {
        (status == StatusCode::OK && (listed || self.is_proven(question, now)))
            .then_some(MICRO_CACHE)
    }

    pub fn is_proven(&self, question: &Question<'_>, now: UnixMillis) -> bool {
        let hash = self.hash(question);
        self.entries[self.set(hash)]
            .iter()
            .flatten()
            .any(|entry| entry.question == hash && entry.is_proven() && !entry.is_over(now))
    }

    /// What the copy is found by: the key, and the `Origin` it was asked with.
    pub fn hash(&self, question: &Question<'_>) -> u64 {
        self.secret.hash_one((question.key, question.origin))
    }

    fn set(&self, hash: u64) -> std::ops::Range<usize> {
        let first = (hash >> 32) as usize % SETS * WAYS;
        first..first + WAYS
    }

    /// Its own, an empty one, or the one that matters least.
    fn slot(&mut self, hash: u64, now: UnixMillis) -> &mut Option<Entry> {
        let set = self.set(hash);
        let slots = &mut self.entries[set];
        let held = slots
            .iter()
            .position(|slot| slot.is_some_and(|entry| entry.question == hash));
        let at = held.unwrap_or_else(|| {
            let worth = |slot: &Option<Entry>| {
                slot.filter(|entry| !entry.is_over(now))
                    .map(|entry| (entry.is_proven(), entry.since))
            };
            let least = slots.iter().enumerate().min_by_key(|(_, slot)| worth(slot));
            least.map_or(0, |(at, _)| at)
        });
        let slot = &mut slots[at];
        if held.is_none() && slot.is_some_and(|entry| entry.is_over(now)) {
            *slot = None;
        }
        slot
    }
}

impl std::fmt::Debug for Shareable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shareable").finish_non_exhaustive()
    }
}

/// In any part of the target: `/reset/5f4dcc3b…` is as personal as `?key=5f4dcc3b…`. A long headline in a path is none.
fn holds_secret(target: &[u8]) -> bool {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &[][..]),
    };
    let in_query = query.split(|byte| *byte == b'&').any(|pair| {
        relevance::is_secret(
            pair.splitn(2, |byte| *byte == b'=')
                .last()
                .unwrap_or_default(),
        )
    });
    in_query || path.split(|byte| *byte == b'/').any(is_secret_segment)
}

/// Hexadecimal or mixed without a dash; slugs have dashes and lower case.
fn is_secret_segment(segment: &[u8]) -> bool {
    let stem = segment
        .split(|byte| *byte == b'.')
        .next()
        .unwrap_or_default();
    relevance::is_secret(stem)
        && !stem.contains(&b'-')
        && !stem.contains(&b'%')
        && !stem.contains(&b'_')
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::likeness;

    fn page(seed: u32) -> Likeness {
        let body = format!("<p>{}</p>", format!("w{seed} ").repeat(40));
        likeness::of(b"text/html", None, body.as_bytes()).expect("short")
    }

    fn group(number: u32) -> Group {
        Group::from_bits(u64::from(number))
    }

    fn question(key: u64) -> Question<'static> {
        Question { key, origin: None }
    }

    fn secs(secs: u64) -> UnixMillis {
        UnixMillis::from_secs(2_000_000_000 + secs)
    }

    #[test]
    fn three_networks_given_the_same_page_prove_it() {
        const HOUR: u64 = 3600;
        // Who saw what when; is it proven then?
        type Row<'a> = (&'a str, &'a [(u32, u32, u64)], bool);
        let table: [Row<'_>; 8] = [
            ("three", &[(1, 7, 0), (2, 7, 60), (3, 7, 120)], true),
            ("two", &[(1, 7, 0), (2, 7, 60)], false),
            (
                "one network thrice",
                &[(1, 7, 0), (1, 7, 60), (1, 7, 120)],
                false,
            ),
            (
                "another page between",
                &[(1, 7, 0), (2, 8, 60), (3, 7, 120)],
                false,
            ),
            (
                "another page after",
                &[(1, 7, 0), (2, 7, 60), (3, 7, 120), (4, 8, 180)],
                false,
            ),
            (
                "changed, and proven again",
                &[(1, 7, 0), (2, 8, 60), (3, 8, 120), (4, 8, 180)],
                true,
            ),
            (
                "too far apart",
                &[(1, 7, 0), (2, 7, 60), (3, 7, 7 * HOUR)],
                false,
            ),
            (
                "by turns",
                &[
                    (1, 7, 0),
                    (2, 8, 1),
                    (3, 7, 2),
                    (4, 8, 3),
                    (5, 7, 4),
                    (6, 8, 5),
                ],
                false,
            ),
        ];
        for (what, sights, proven) in table {
            let mut shareable = Shareable::new(RandomState::new());
            let mut last = secs(0);
            for (from, shown, at) in sights {
                last = secs(*at);
                shareable.seen(
                    &question(1),
                    group(*from),
                    StatusCode::OK,
                    page(*shown),
                    last,
                );
            }
            let keeps = shareable.keeps_for(&question(1), StatusCode::OK, false, last);
            assert_eq!(keeps.is_some(), proven, "{what}");
            assert_eq!(
                shareable.keeps_for(&question(1), StatusCode::FOUND, true, last),
                None
            );
            assert!(
                shareable
                    .keeps_for(&question(1), StatusCode::OK, true, last)
                    .is_some()
            );
            let later = last.plus(PROOF_LASTS);
            assert!(!shareable.is_proven(&question(1), later), "{what}");
        }
    }

    #[test]
    fn only_200s_with_text_prove_and_anything_else_disproves() {
        let mut shareable = Shareable::new(RandomState::new());
        let empty = likeness::of(b"text/html", None, b"<p>a</p>").expect("short");
        for from in 0..9 {
            shareable.seen(
                &question(1),
                group(from),
                StatusCode::FORBIDDEN,
                page(1),
                secs(0),
            );
            shareable.seen(&question(2), group(from), StatusCode::OK, empty, secs(0));
            shareable.seen(&question(3), group(from), StatusCode::OK, page(1), secs(0));
        }
        assert!(!shareable.is_proven(&question(1), secs(0)));
        assert!(!shareable.is_proven(&question(2), secs(0)));
        assert!(shareable.is_proven(&question(3), secs(0)));
        let other = Question {
            key: 3,
            origin: Some(b"https://other.example"),
        };
        assert!(
            !shareable.is_proven(&other, secs(0)),
            "another script's answer"
        );
        shareable.seen_otherwise(&question(3));
        assert!(!shareable.is_proven(&question(3), secs(0)));
    }

    #[test]
    fn some_answers_are_never_shared() {
        let fields = |name: &'static str, value: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert(name, value.parse().expect("a value"));
            fields
        };
        let plain = HeaderMap::new();
        let get = Method::GET;
        for (method, target, fields, cookie, expected) in [
            (&get, "/a", &plain, false, None),
            (
                &get,
                "/2024/05/a-long-headline-of-2024?page=2",
                &plain,
                false,
                None,
            ),
            (&Method::POST, "/a", &plain, false, Some(NotShared::Method)),
            (
                &get,
                "/a",
                &fields("range", "bytes=0-1"),
                false,
                Some(NotShared::Range),
            ),
            (
                &get,
                "/a",
                &fields("authorization", "Basic eA=="),
                false,
                Some(NotShared::Credentials),
            ),
            (&get, "/a", &plain, true, Some(NotShared::Credentials)),
            (
                &get,
                "/a?k=5f4dcc3b5aa765d61d8327deb882cf99",
                &plain,
                false,
                Some(NotShared::Secret),
            ),
            (
                &get,
                "/a?5f4dcc3b5aa765d61d8327deb882cf99",
                &plain,
                false,
                Some(NotShared::Secret),
            ),
            (
                &get,
                "/reset/5f4dcc3b5aa765d61d8327deb882cf99",
                &plain,
                false,
                Some(NotShared::Secret),
            ),
        ] {
            let said = Question::of(1, method, target.as_bytes(), fields, cookie);
            assert_eq!(said.err(), expected, "{target}");
        }
    }

    proptest! {
        #[test]
        fn a_page_by_turns_is_never_proven(sights in proptest::collection::vec((0u32..50, 0u64..20_000), 1..200)) {
            let mut shareable = Shareable::new(RandomState::new());
            let mut now = secs(0);
            for (turn, (from, later)) in sights.iter().enumerate() {
                now = now.plus(Duration::from_secs(*later));
                let shown = u32::try_from(turn % 2).unwrap_or(0);
                shareable.seen(&question(1), group(*from), StatusCode::OK, page(shown), now);
                prop_assert!(!shareable.is_proven(&question(1), now));
            }
        }

        #[test]
        fn new_keys_do_not_push_out_proofs(keys in proptest::collection::vec(any::<u64>(), 0..2_000)) {
            let mut shareable = Shareable::new(RandomState::new());
            for from in 0..3 {
                shareable.seen(&question(1), group(from), StatusCode::OK, page(1), secs(0));
            }
            for key in keys.iter().filter(|key| **key != 1) {
                shareable.seen(&question(*key), group(9), StatusCode::OK, page(2), secs(1));
            }
            prop_assert!(shareable.is_proven(&question(1), secs(1)));
            prop_assert!(size_of_val::<[Option<Entry>]>(&shareable.entries) <= 512 * 1024);
        }
    }
}
