//! Which addresses are a site's own: the question that tells a reader's request from a random one when there is room for only one of them.
//!
//! Under attack unknown paths and unknown values queue last, so this is asked for every request that would need the origin, and by as many
//! strangers as there are. It must cost next to nothing, hold hundreds of thousands of addresses, and forget what is no longer linked. So it
//! is a Bloom filter in two generations of a megabyte: what is learned goes into the younger one; when that is full, or a month old, it
//! becomes the elder and the elder is emptied. An address that a sitemap, a feed or a page still names is learned again long before.
//!
//! It never says "unknown" of what it knows, and "known" by mistake of one address in a hundred when both generations are full
//! (`strangers_are_seldom_taken_for_known` measures it). The hash is keyed: nobody outside can look for the mistakes.
//!
//! What merely answered 200 may be anything a stranger made up, if the site answers everything so. That source has a quarter of a
//! generation and no more.
//!
//! An address cannot be taken out again. That gives nothing away: bits name nobody, and can be asked only about an address one already has.

pub mod links;

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use self::links::spelled;
use crate::clock::UnixMillis;
use crate::whole;

/// A generation: a million bytes. Two of them are what a site may have.
const WORDS: usize = 125_000;
const BITS: u64 = WORDS as u64 * 64;
/// With 8 million bits for 700,000 items seven bits each mistake one in 240; two generations one in 120.
const BITS_EACH: u64 = 7;
const ITEMS_MAX: u64 = 700_000;
/// Of these, what only an answer vouches for.
const ANSWERED_MAX: u64 = ITEMS_MAX / 4;
/// A generation's youth. Twice this after its last mention an address is forgotten at the latest.
pub const GENERATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Parameters of one address that are learned; links of a CMS have one to five.
const PAIRS_MAX: usize = 16;

const MAGIC: &[u8] = b"saqta-known 1\n";
const FILE_BYTES: usize = MAGIC.len() + 16 + 8 + 4 * 8 + 2 * WORDS * 8;

/// Who says that an address exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A sitemap, a feed, or the operator.
    Listed,
    /// A page that is public.
    Linked,
    /// The origin answered it with 200.
    Answered,
}

#[derive(Debug)]
pub struct Known {
    key: (u64, u64),
    generations: [Box<[AtomicU64]>; 2],
    younger: AtomicUsize,
    /// Also held while learning: there is one page to learn from at a time.
    ages: Mutex<Ages>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ages {
    items: u64,
    answered: u64,
    since: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownStats {
    /// In the younger generation.
    pub items: u64,
    pub answered: u64,
}

impl Known {
    /// `chance`: the key. `now`: when its first generation begins.
    pub fn new(chance: [u8; 16], now: UnixMillis) -> Self {
        let generation = || (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self {
            key: key_of(&chance),
            generations: [generation(), generation()],
            younger: AtomicUsize::new(0),
            ages: Mutex::new(Ages {
                items: 0,
                answered: 0,
                since: now,
            }),
        }
    }

    /// The target's path, and the value of every parameter of it. Values of a path are known at that path only.
    pub fn learn(&self, target: &[u8], source: Source, now: UnixMillis) {
        let target = spelled(target);
        let (path, query) = path_and_query(&target);
        let mut ages = lock(&self.ages);
        if ages.items >= ITEMS_MAX || now.since(ages.since) >= GENERATION {
            self.turn(&mut ages, now);
        }
        let mut add = |item: u128| {
            if source == Source::Answered && ages.answered >= ANSWERED_MAX {
                return;
            }
            if self.set(item) {
                ages.items += 1;
                ages.answered += u64::from(source == Source::Answered);
            }
        };
        add(self.path(path));
        for (name, value) in pairs(query).take(PAIRS_MAX) {
            add(self.value(path, name, value));
        }
    }

    /// Learns from a whole body.
    pub fn learn_links(
        &self,
        kind: links::Kind,
        base: links::Base<'_>,
        body: &[u8],
        now: UnixMillis,
    ) {
        let source = match kind {
            links::Kind::Xml => Source::Listed,
            links::Kind::Html | links::Kind::Css => Source::Linked,
        };
        links::extract(kind, base, body, &mut |_, target| {
            self.learn(target, source, now);
        });
    }

    /// `path`: what of a target comes before its query; a query is not looked at.
    pub fn is_known(&self, path: &[u8]) -> bool {
        let path = spelled(path_and_query(path).0);
        self.holds(self.path(&path))
    }

    /// Has any public link to this path such a parameter, with this value?
    pub fn knows_value(&self, path: &[u8], name: &[u8], value: &[u8]) -> bool {
        let (path, name, value) = (
            spelled(path_and_query(path).0),
            spelled(name),
            spelled(value),
        );
        self.holds(self.value(&path, &name, &value))
    }

    /// The path, and the value of every parameter.
    pub fn knows(&self, target: &[u8]) -> bool {
        let target = spelled(target);
        let (path, query) = path_and_query(&target);
        self.holds(self.path(path))
            && pairs(query).enumerate().all(|(at, (name, value))| {
                at < PAIRS_MAX && self.holds(self.value(path, name, value))
            })
    }

    pub fn stats(&self) -> KnownStats {
        let ages = lock(&self.ages);
        KnownStats {
            items: ages.items,
            answered: ages.answered,
        }
    }

    /// As it was saved. A file that is not whole is as good as none: everything in it is learned again.
    pub fn open(path: &Path, chance: [u8; 16], now: UnixMillis) -> Self {
        fs::read(path)
            .ok()
            .and_then(|file| Self::read(&file))
            .unwrap_or_else(|| Self::new(chance, now))
    }

    /// # Errors
    /// When the disk does not take it; an older file stays.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        whole::write(path, |file| self.write(file))
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        let ages = lock(&self.ages);
        let mut body = Vec::with_capacity(FILE_BYTES);
        let younger = self.younger.load(Ordering::Relaxed) as u64;
        for number in [younger, ages.items, ages.answered, ages.since.0] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        for word in self.generations.iter().flatten() {
            body.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        drop(ages);
        file.write_all(MAGIC)?;
        file.write_all(&self.key.0.to_le_bytes())?;
        file.write_all(&self.key.1.to_le_bytes())?;
        file.write_all(&self.sum(&body).to_le_bytes())?;
        file.write_all(&body)
    }

    fn read(file: &[u8]) -> Option<Self> {
        if file.len() != FILE_BYTES {
            return None;
        }
        let rest = file.strip_prefix(MAGIC)?;
        let (key, rest) = rest.split_first_chunk::<16>()?;
        let (sum, body) = rest.split_first_chunk::<8>()?;
        let known = Self::new(*key, UnixMillis::default());
        if known.sum(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut numbers = body
            .chunks_exact(8)
            .filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        known
            .younger
            .store(numbers.next()? as usize % 2, Ordering::Relaxed);
        *lock(&known.ages) = Ages {
            items: numbers.next()?,
            answered: numbers.next()?,
            since: UnixMillis(numbers.next()?),
        };
        for (word, number) in known.generations.iter().flatten().zip(numbers) {
            word.store(number, Ordering::Relaxed);
        }
        Some(known)
    }

    fn sum(&self, body: &[u8]) -> u64 {
        self.hash(b's', &[body]) as u64
    }

    fn turn(&self, ages: &mut Ages, now: UnixMillis) {
        let elder = 1 - self.younger.load(Ordering::Relaxed);
        for word in &self.generations[elder] {
            word.store(0, Ordering::Relaxed);
        }
        self.younger.store(elder, Ordering::Relaxed);
        *ages = Ages {
            items: 0,
            answered: 0,
            since: now,
        };
    }

    fn path(&self, path: &[u8]) -> u128 {
        self.hash(b'p', &[path])
    }

    fn value(&self, path: &[u8], name: &[u8], value: &[u8]) -> u128 {
        self.hash(b'v', &[path, name, value])
    }

    fn hash(&self, kind: u8, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u8(kind);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// False: the younger generation had it.
    fn set(&self, item: u128) -> bool {
        let younger = &self.generations[self.younger.load(Ordering::Relaxed)];
        let mut new = false;
        for bit in bits(item) {
            let mask = 1 << (bit % 64);
            let before = younger[(bit / 64) as usize].fetch_or(mask, Ordering::Relaxed);
            new |= before & mask == 0;
        }
        new
    }

    fn holds(&self, item: u128) -> bool {
        self.generations.iter().any(|generation| {
            bits(item).all(|bit| {
                generation[(bit / 64) as usize].load(Ordering::Relaxed) & 1 << (bit % 64) != 0
            })
        })
    }
}

/// Two halves of one hash make as many numbers as are wanted.
fn bits(item: u128) -> impl Iterator<Item = u64> {
    let (start, step) = (item as u64, (item >> 64) as u64 | 1);
    (0..BITS_EACH).map(move |turn| {
        let number = start.wrapping_add(turn.wrapping_mul(step));
        ((u128::from(number) * u128::from(BITS)) >> 64) as u64
    })
}

fn key_of(chance: &[u8; 16]) -> (u64, u64) {
    let (one, two) = chance.split_at(8);
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    (number(one), number(two))
}

fn path_and_query(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

    fn known() -> Known {
        Known::new(*b"sixteen of these", NOW)
    }

    #[test]
    fn what_was_learned_is_known_and_its_likes_are_not() {
        let known = known();
        known.learn(b"/2024/01/statement/", Source::Listed, NOW);
        known.learn(b"/?p=17&lang=kk", Source::Linked, NOW);
        known.learn("/жаңа".as_bytes(), Source::Linked, NOW);
        for (path, expected) in [
            ("/2024/01/statement/", true),
            ("/2024/01/statement/?utm=x", true),
            ("/2024/01/statement", false),
            ("/", true),
            ("/%d0%b6%d0%b0%d2%a3%d0%b0", true),
            ("/2024/01/", false),
        ] {
            assert_eq!(known.is_known(path.as_bytes()), expected, "{path}");
        }
        for (path, name, value, expected) in [
            ("/", "p", "17", true),
            ("/", "lang", "kk", true),
            ("/", "p", "18", false),
            ("/", "lang", "17", false),
            ("/2024/01/statement/", "p", "17", false),
        ] {
            let got = known.knows_value(path.as_bytes(), name.as_bytes(), value.as_bytes());
            assert_eq!(got, expected, "{path} {name} {value}");
        }
        assert!(known.knows(b"/?lang=kk&p=17") && known.knows(b"/"));
        assert!(!known.knows(b"/?p=17&x=1") && !known.knows(b"/?s=1"));
    }

    #[test]
    fn links_of_a_body_are_learned() {
        let known = known();
        let base = links::Base {
            host: b"kaztag.kz",
            target: b"/",
        };
        known.learn_links(
            links::Kind::Html,
            base,
            b"<a href='/a?id=5'><link rel=stylesheet href=/s.css>",
            NOW,
        );
        known.learn_links(
            links::Kind::Xml,
            base,
            b"<urlset><loc>https://kaztag.kz/b</loc></urlset>",
            NOW,
        );
        assert!(known.knows(b"/a?id=5") && known.is_known(b"/s.css") && known.is_known(b"/b"));
    }

    #[test]
    fn strangers_are_seldom_taken_for_known() {
        let known = known();
        let mut number = 0_u64;
        // Two generations, both full.
        while known.stats().items < ITEMS_MAX {
            known.learn(format!("/n/{number}").as_bytes(), Source::Listed, NOW);
            number += 1;
        }
        for _ in 0..ITEMS_MAX {
            known.learn(format!("/n/{number}").as_bytes(), Source::Listed, NOW);
            number += 1;
        }
        assert!((0..number).all(|number| known.is_known(format!("/n/{number}").as_bytes())));
        const STRANGERS: u32 = 100_000;
        let taken = (0..STRANGERS)
            .filter(|stranger| known.is_known(format!("/x/{stranger}").as_bytes()))
            .count();
        let share = taken as f64 / f64::from(STRANGERS);
        assert!(share < 0.01, "{share}");
    }

    #[test]
    fn what_is_no_longer_named_is_forgotten() {
        let known = known();
        known.learn(b"/old", Source::Linked, NOW);
        known.learn(b"/lasting", Source::Linked, NOW);
        let later = NOW.plus(GENERATION);
        known.learn(b"/lasting", Source::Linked, later);
        assert!(known.is_known(b"/old"));
        known.learn(b"/lasting", Source::Linked, later.plus(GENERATION));
        assert!(!known.is_known(b"/old") && known.is_known(b"/lasting"));
    }

    #[test]
    fn answers_alone_never_fill_it() {
        let known = known();
        for number in 0..ANSWERED_MAX + 10_000 {
            known.learn(format!("/{number}").as_bytes(), Source::Answered, NOW);
        }
        assert_eq!(known.stats().answered, ANSWERED_MAX);
        known.learn(b"/named", Source::Linked, NOW);
        assert!(known.is_known(b"/named"));
    }

    #[test]
    fn it_takes_two_megabytes_at_most() {
        let known = known();
        let bytes: usize = known
            .generations
            .iter()
            .map(|generation| size_of_val::<[AtomicU64]>(generation))
            .sum();
        assert!(bytes <= 2_000_000);
    }
}
