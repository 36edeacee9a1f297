//! The short code on a page that stops somebody: why, sealed, in sixteen characters that can be read out on the phone.
//!
//! A reader who is stopped by mistake cannot say by what, and nobody has written it down, for what is written of readers can be taken. So
//! the page tells him, in a form that only the desk can read: he sends the code, `saqta decode` says what it says, and nothing was stored.
//!
//! 80 bits: four say which week's key, 71 are sealed, five tell a slip of the tongue. What is sealed is the facts (38 bits), a number that no
//! two codes of a minute share (17), and sixteen zeros, all of it as one block under a cipher made for its width: a Feistel network of ten rounds
//! (as FF1 has) with SipHash-2-4 as its round function, keyed from the week's key and different for each site. What is changed or invented
//! decodes to anything, and to sixteen zeros once in 65,536 times; a cipher over the whole block needs no more room for that (Bellare and
//! Rogaway, "Encode-then-encipher", 2000), where a sum beside a stream would need both a sum and a number that never comes again. Nothing is
//! opened with a code, so whoever forges one after hours on the phone has told the desk a tale.
//!
//! The number is there because whoever floods would otherwise compare: two requests of one minute that differ in one field, and whose codes
//! do not, are hit by the same rule. It counts through 131,072 codes before one facts' code can come a second time in a minute.

use std::sync::atomic::{AtomicU32, Ordering};

use saqta_detect::watch::Posture;
use siphasher::sip::SipHasher24;

use super::keys::{Keys, WEEK_S};
use super::token::SiteMark;
use crate::clock::UnixMillis;
use crate::profile::Use;

/// Four groups of four, as on a bank card.
pub const TEXT_BYTES: usize = 19;
const GROUP: usize = 4;
const CHARACTERS: usize = 16;

/// Crockford's: no I, L, O and U. What sounds or looks like one of them is taken for it.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Longer than a code in a sentence with spaces between its letters.
const TYPED_BYTES_MAX: usize = 200;

/// A code as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeText([u8; TEXT_BYTES]);

impl CodeText {
    /// Stands in pages where a code goes. Nobody's.
    pub const BLANK: Self = Self(*b"0000-0000-0000-0000");

    pub fn as_bytes(&self) -> &[u8; TEXT_BYTES] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        // The alphabet and dashes.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A code that somebody typed, with no slip in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The lowest bits of the week of its key.
    week: u8,
    sealed: u128,
}

/// Why something is no code, or none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeFault {
    #[error(
        "a code has {CHARACTERS} letters and digits, and this has {found}\nask for it once more, or have it copied from the page"
    )]
    Length { found: usize },
    #[error(
        "no code has a {letter:?} in it\nask for it once more, or have it copied from the page"
    )]
    Letter { letter: char },
    #[error(
        "one of its letters is wrong, or two have changed places\nask for it once more, or have it copied from the page"
    )]
    Slip,
    #[error(
        "its key is forgotten, or was never here\nit is older than fourteen weeks, of another Saqta, or of a data folder that is gone; ask the reader for a new one"
    )]
    NoKey,
    #[error(
        "it was not made here\nit is of another Saqta, of a site that is gone or renamed, or a mistyped one that looks right by chance"
    )]
    NotOurs,
}

/// What a code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    pub stop: Stop,
    pub posture: Posture,
    pub holds: Holds,
    pub version: Protocol,
    pub asks_for: AsksFor,
    /// The rule that hit it, see [`rule_mark`].
    pub rule: Option<u8>,
    /// That rule is acted on.
    pub is_suspect: bool,
    /// The site itself names no such address, which then waits last.
    pub is_strange: bool,
}

/// Of a rule's number as much as a code has room for; never zero. Engines have a dozen rules at a time and count them up.
pub fn rule_mark(id: u64) -> u8 {
    (id.wrapping_sub(1) % 255) as u8 + 1
}

/// Declares what a code says by its place in a list: lists grow at their ends, or codes that are out would say something else.
macro_rules! listed {
    ($(#[$says:meta])* $name:ident { $($(#[$about:meta])* $one:ident = $called:literal,)+ }) => {
        $(#[$says])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$about])* $one,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$one,)+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$one => $called,)+ }
            }
        }
    };
}

listed! {
    /// What its reader got instead of the page.
    Stop {
        Waits = "told to wait",
        NotTaken = "form not taken",
        Refused = "network refused",
        TooMany = "too many attempts",
        TooLarge = "too large",
        OriginDown = "origin down",
        OriginSlow = "origin slow",
        NotSent = "not sent",
        Loop = "loop",
        FormWaits = "form waits",
        /// Guesses at passwords, or comments, have used up what is free.
        GuessWaits = "form waits for a pass",
        FormPerhaps = "form may have arrived",
    }
}

listed! {
    /// What the request's cookies say of who asked.
    Holds {
        NoCookies = "no cookies",
        OtherCookies = "cookies, and no pass",
        /// Ours, and no longer good for anything.
        Spent = "cookies that are no longer good",
        Ticket = "a ticket, still waiting",
        /// A pass or the place of a known reader, with nothing left in it.
        UsedUp = "a pass that is used up",
        Pass = "a pass",
        Known = "known reader",
        Staff = "staff",
    }
}

listed! {
    Protocol {
        Http10 = "HTTP/1.0",
        Http11 = "HTTP/1.1",
        Http2 = "HTTP/2",
    }
}

listed! {
    /// The kind of address, and no more of it.
    AsksFor {
        Page = "a page",
        Search = "a search",
        Feed = "a feed",
        SignIn = "a sign-in",
        Comment = "a comment",
        Payment = "a payment or callback",
        StaffPage = "a page for staff",
        Private = "a private page",
    }
}

impl From<Use> for AsksFor {
    fn from(usage: Use) -> Self {
        match usage {
            Use::Front | Use::Page => Self::Page,
            Use::Search => Self::Search,
            Use::Feed => Self::Feed,
            Use::Login => Self::SignIn,
            Use::Comment => Self::Comment,
            Use::Payment | Use::Callback => Self::Payment,
            Use::Staff => Self::StaffPage,
            Use::Private => Self::Private,
        }
    }
}

const POSTURES: &[Posture] = &[Posture::Calm, Posture::Guarded, Posture::UnderAttack];

/// Bits of each, the first the lowest.
const STOP_BITS: u32 = 4;
const POSTURE_BITS: u32 = 2;
const HOLDS_BITS: u32 = 3;
const VERSION_BITS: u32 = 2;
const ASKS_FOR_BITS: u32 = 3;
const FLAG_BITS: u32 = 1;
const RULE_BITS: u32 = 8;
/// Of its key's week: 10,080 minutes, and as many as a clock that was set may be off.
const MINUTE_BITS: u32 = 14;
const NUMBER_BITS: u32 = 17;
const ZERO_BITS: u32 = 16;
const SEALED_BITS: u32 = STOP_BITS
    + POSTURE_BITS
    + HOLDS_BITS
    + VERSION_BITS
    + ASKS_FOR_BITS
    + 2 * FLAG_BITS
    + RULE_BITS
    + MINUTE_BITS
    + NUMBER_BITS
    + ZERO_BITS;
const WEEK_BITS: u32 = 4;
/// A week's name and what is sealed are fifteen characters.
const _: () = assert!(WEEK_BITS + SEALED_BITS == 5 * (CHARACTERS as u32 - 1));

/// Puts facts beside each other.
#[derive(Default)]
struct Packed {
    bits: u128,
    used: u32,
}

impl Packed {
    fn put(&mut self, value: usize, bits: u32) {
        self.bits |= ((value as u128) & ((1 << bits) - 1)) << self.used;
        self.used += bits;
    }

    fn put_one<T: PartialEq>(&mut self, all: &[T], one: &T, bits: u32) {
        let place = all.iter().position(|other| other == one);
        self.put(place.unwrap_or_default(), bits);
    }
}

/// Takes them apart again.
struct Unpacked(u128);

impl Unpacked {
    fn take(&mut self, bits: u32) -> usize {
        let value = self.0 & ((1 << bits) - 1);
        self.0 >>= bits;
        value as usize
    }

    fn take_one<T: Copy>(&mut self, all: &[T], bits: u32) -> Option<T> {
        all.get(self.take(bits)).copied()
    }
}

impl Why {
    fn packed(&self, minute: usize, number: u32) -> u128 {
        let mut packed = Packed::default();
        packed.put_one(Stop::ALL, &self.stop, STOP_BITS);
        packed.put_one(POSTURES, &self.posture, POSTURE_BITS);
        packed.put_one(Holds::ALL, &self.holds, HOLDS_BITS);
        packed.put_one(Protocol::ALL, &self.version, VERSION_BITS);
        packed.put_one(AsksFor::ALL, &self.asks_for, ASKS_FOR_BITS);
        packed.put(usize::from(self.is_suspect), FLAG_BITS);
        packed.put(usize::from(self.is_strange), FLAG_BITS);
        packed.put(usize::from(self.rule.unwrap_or(0)), RULE_BITS);
        packed.put(minute, MINUTE_BITS);
        packed.put(number as usize, NUMBER_BITS);
        packed.bits
    }

    /// With its minute. `None`: nothing that was sealed here.
    fn unpacked(bits: u128) -> Option<(Self, usize)> {
        if bits >> (SEALED_BITS - ZERO_BITS) != 0 {
            return None;
        }
        let mut bits = Unpacked(bits);
        let why = Self {
            stop: bits.take_one(Stop::ALL, STOP_BITS)?,
            posture: bits.take_one(POSTURES, POSTURE_BITS)?,
            holds: bits.take_one(Holds::ALL, HOLDS_BITS)?,
            version: bits.take_one(Protocol::ALL, VERSION_BITS)?,
            asks_for: bits.take_one(AsksFor::ALL, ASKS_FOR_BITS)?,
            is_suspect: bits.take(FLAG_BITS) == 1,
            is_strange: bits.take(FLAG_BITS) == 1,
            rule: u8::try_from(bits.take(RULE_BITS))
                .ok()
                .filter(|rule| *rule > 0),
        };
        Some((why, bits.take(MINUTE_BITS)))
    }
}

/// Gives out codes, and reads them.
#[derive(Debug)]
pub(super) struct Codes {
    /// Of the next one.
    number: AtomicU32,
}

impl Codes {
    /// `first`: drawn at random, so that two starts in one minute share no numbers but by chance.
    pub(super) fn new(first: u64) -> Self {
        Self {
            number: AtomicU32::new(first as u32),
        }
    }

    pub(super) fn seal(&self, keys: &Keys, site: SiteMark, why: &Why, now: UnixMillis) -> CodeText {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (week, key) = keys.for_codes();
        let minutes = (now.secs() / 60).saturating_sub(u64::from(week) * (WEEK_S / 60));
        let minute = minutes.min((1 << MINUTE_BITS) - 1) as usize;
        let code = Code {
            week: (week & WEEK_MASK) as u8,
            sealed: Cipher { key, site }.seal(why.packed(minute, number)),
        };
        code.text()
    }
}

const WEEK_MASK: u32 = (1 << WEEK_BITS) - 1;

/// Of which of these sites a code is, when it was given out to the minute, and what it says.
pub(super) fn open(
    keys: &Keys,
    sites: impl IntoIterator<Item = SiteMark>,
    code: Code,
) -> Result<(usize, UnixMillis, Why), CodeFault> {
    let is_of = |week: u32| week & WEEK_MASK == u32::from(code.week);
    let (week, key) = keys.of_week(is_of).ok_or(CodeFault::NoKey)?;
    let opened = sites.into_iter().enumerate().find_map(|(place, site)| {
        let (why, minute) = Why::unpacked(Cipher { key, site }.open(code.sealed))?;
        Some((place, minute, why))
    });
    let (place, minute, why) = opened.ok_or(CodeFault::NotOurs)?;
    let at_s = u64::from(week) * WEEK_S + minute as u64 * 60;
    Ok((place, UnixMillis(at_s * 1_000), why))
}

/// As strong as FF1's ten rounds: eight are enough against whoever sees all codes, if the round function is as good as random.
const ROUNDS: u64 = 10;
/// The block's halves.
const LOW_BITS: u32 = 35;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
const HIGH_MASK: u64 = (1 << (SEALED_BITS - LOW_BITS)) - 1;

/// What a week's key becomes for codes.
pub(super) type CodeKey = (u64, u64);

struct Cipher {
    key: CodeKey,
    site: SiteMark,
}

impl Cipher {
    fn round(&self, round: u64, half: u64) -> u64 {
        let mut message = [0; 16];
        message[..8].copy_from_slice(&self.site.bytes());
        // A half has 36 bits.
        message[8..].copy_from_slice(&(round << 56 | half).to_le_bytes());
        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(&message)
    }

    fn seal(&self, block: u128) -> u128 {
        let (mut low, mut high) = halves(block);
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                high ^= self.round(round, low) & HIGH_MASK;
            } else {
                low ^= self.round(round, high) & LOW_MASK;
            }
        }
        whole(low, high)
    }

    fn open(&self, block: u128) -> u128 {
        let (mut low, mut high) = halves(block);
        for round in (0..ROUNDS).rev() {
            if round % 2 == 0 {
                high ^= self.round(round, low) & HIGH_MASK;
            } else {
                low ^= self.round(round, high) & LOW_MASK;
            }
        }
        whole(low, high)
    }
}

fn halves(block: u128) -> (u64, u64) {
    (
        block as u64 & LOW_MASK,
        (block >> LOW_BITS) as u64 & HIGH_MASK,
    )
}

fn whole(low: u64, high: u64) -> u128 {
    u128::from(high) << LOW_BITS | u128::from(low)
}

impl Code {
    fn text(self) -> CodeText {
        let bits = u128::from(self.week) << SEALED_BITS | self.sealed;
        let mut text = [b'-'; TEXT_BYTES];
        let (mut sum, mut at) = (0, 0);
        for character in 0..CHARACTERS {
            let value = match (CHARACTERS - 1).checked_sub(character + 1) {
                Some(after) => (bits >> (5 * after)) as u8 & 31,
                None => check(sum),
            };
            sum = check(sum) ^ value;
            text[at] = ALPHABET[usize::from(value)];
            at += 1 + usize::from(character % GROUP == GROUP - 1);
        }
        CodeText(text)
    }
}

/// As somebody typed it: in small letters, with other dashes or none, with the letters of another alphabet that look the same.
impl std::str::FromStr for Code {
    type Err = CodeFault;

    fn from_str(typed: &str) -> Result<Self, CodeFault> {
        if typed.len() > TYPED_BYTES_MAX {
            return Err(CodeFault::Length {
                found: typed.chars().count(),
            });
        }
        let (mut bits, mut sum, mut found) = (0_u128, 0, 0);
        for letter in typed.chars().filter(|letter| !separates(*letter)) {
            let value = value(letter).ok_or(CodeFault::Letter { letter })?;
            found += 1;
            // More than fit are counted and fall out at the upper end.
            bits = bits << 5 | u128::from(value);
            sum = check(sum) ^ value;
        }
        if found != CHARACTERS {
            return Err(CodeFault::Length { found });
        }
        if sum != 0 {
            return Err(CodeFault::Slip);
        }
        let bits = bits >> 5;
        Ok(Self {
            week: (bits >> SEALED_BITS) as u8,
            sealed: bits & ((1 << SEALED_BITS) - 1),
        })
    }
}

/// The next step of a sum in which each place counts differently: twice what came before, in the field of 32 elements
/// (x^5 + x^2 + 1, whose root has an order of 31). One wrong letter and any two that have changed places are found out, for no two of sixteen
/// places count the same.
fn check(sum: u8) -> u8 {
    let doubled = sum << 1;
    if doubled & 32 == 0 {
        doubled
    } else {
        doubled ^ 0b10_0101
    }
}

fn separates(letter: char) -> bool {
    letter.is_whitespace() || letter == '.' || letter == '_' || "-‐‑‒–—―−".contains(letter)
}

fn value(letter: char) -> Option<u8> {
    let letter = match letter.to_uppercase().next()? {
        'O' | 'О' => '0',
        'I' | 'L' | 'І' => '1',
        'А' => 'A',
        'В' => 'B',
        'Е' => 'E',
        'Н' => 'H',
        'К' => 'K',
        'М' => 'M',
        'Р' => 'P',
        'С' => 'C',
        'Т' => 'T',
        'Х' => 'X',
        'У' => 'Y',
        other => other,
    };
    let place = ALPHABET.iter().position(|own| char::from(*own) == letter)?;
    u8::try_from(place).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::token::tests::later;
    pub(crate) use super::super::token::tests::{NOW, site};
    use super::*;

    pub(crate) const WHY: Why = Why {
        stop: Stop::Waits,
        posture: Posture::UnderAttack,
        holds: Holds::NoCookies,
        version: Protocol::Http11,
        asks_for: AsksFor::Search,
        rule: Some(7),
        is_suspect: true,
        is_strange: false,
    };

    fn read(keys: &Keys, text: &str) -> Result<(usize, UnixMillis, Why), CodeFault> {
        open(keys, [SiteMark::of("other"), site()], text.parse()?)
    }

    fn one<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
        (0..all.len()).prop_map(|place| all[place])
    }

    proptest! {
        #[test]
        fn a_code_says_what_was_put_into_it(
            whence in (one(Stop::ALL), one(POSTURES), one(Holds::ALL), one(Protocol::ALL), one(AsksFor::ALL)),
            rule in proptest::option::of(1..=u8::MAX),
            flags: (bool, bool),
            seconds in 0..4 * 86_400_u64,
            first: u64,
        ) {
            let (stop, posture, holds, version, asks_for) = whence;
            let (is_suspect, is_strange) = flags;
            let why = Why { stop, posture, holds, version, asks_for, rule, is_suspect, is_strange };
            let keys = Keys::new(NOW);
            let text = Codes::new(first).seal(&keys, site(), &why, later(seconds));
            let at = UnixMillis(later(seconds).secs() / 60 * 60_000);
            prop_assert_eq!(read(&keys, text.as_str()), Ok((1, at, why)));
        }

        #[test]
        fn whatever_is_typed_is_read_or_not(typed in ".{0,60}") {
            _ = typed.parse::<Code>();
        }
    }

    #[test]
    fn lists_fit_their_bits_and_lose_nothing() {
        let table = [
            (Stop::ALL.len(), STOP_BITS),
            (POSTURES.len(), POSTURE_BITS),
            (Holds::ALL.len(), HOLDS_BITS),
            (Protocol::ALL.len(), VERSION_BITS),
            (AsksFor::ALL.len(), ASKS_FOR_BITS),
        ];
        for (length, bits) in table {
            assert!(length <= 1 << bits);
        }
        let marks: HashSet<u8> = (1..=255).map(rule_mark).collect();
        assert!(marks.len() == 255 && !marks.contains(&0));
        assert_eq!((rule_mark(1), rule_mark(255), rule_mark(256)), (1, 255, 1));
    }

    #[test]
    fn a_code_is_read_however_it_is_written() {
        let keys = Keys::new(NOW);
        let codes = Codes::new(0);
        for _ in 0..200 {
            let text = codes.seal(&keys, site(), &WHY, NOW);
            let text = text.as_str();
            assert_eq!(text.len(), TEXT_BYTES);
            assert!(text.split('-').all(|group| group.len() == GROUP), "{text}");
            let spellings = [
                text.to_owned(),
                text.to_lowercase(),
                text.replace('-', ""),
                text.replace('-', " – "),
                text.replace('0', "o").replace('1', "l"),
                text.replace('0', "О").replace('1', "i"),
                text.replace('A', "А").replace('C', "с").replace('K', "к"),
                format!("  {text}.\n"),
            ];
            for typed in spellings {
                assert!(read(&keys, &typed).is_ok(), "{typed}");
            }
        }
    }

    #[test]
    fn slips_are_told_from_codes_of_others_and_of_long_ago() {
        let keys = Keys::new(NOW);
        let text = Codes::new(0).seal(&keys, site(), &WHY, NOW);
        let text = text.as_str();
        let letters: Vec<char> = text.replace('-', "").chars().collect();
        let typed = |letters: &[char]| letters.iter().collect::<String>();
        for at in 0..CHARACTERS {
            for other in ALPHABET.iter().map(|own| char::from(*own)) {
                let mut touched = letters.clone();
                touched[at] = other;
                let expected = (other != letters[at]).then_some(CodeFault::Slip);
                assert_eq!(
                    read(&keys, &typed(&touched)).err(),
                    expected,
                    "{at} {other}"
                );
            }
            for with in 0..CHARACTERS {
                let mut touched = letters.clone();
                touched.swap(at, with);
                let expected = (letters[at] != letters[with]).then_some(CodeFault::Slip);
                assert_eq!(read(&keys, &typed(&touched)).err(), expected, "{at} {with}");
            }
            let found = CHARACTERS - 1;
            let mut missing = letters.clone();
            missing.remove(at);
            let fault = Some(CodeFault::Length { found });
            assert_eq!(read(&keys, &typed(&missing)).err(), fault);
        }
        let table = [
            ("", CodeFault::Length { found: 0 }),
            ("0000-0000-0000-00000", CodeFault::Length { found: 17 }),
            ("0000-0000-0000-000U", CodeFault::Letter { letter: 'U' }),
            ("0000-0000-0000-000/", CodeFault::Letter { letter: '/' }),
            ("жжжж", CodeFault::Letter { letter: 'ж' }),
        ];
        for (typed, fault) in table {
            assert_eq!(typed.parse::<Code>(), Err(fault), "{typed}");
        }
        let long = "0".repeat(1_000_000);
        assert!(matches!(
            long.parse::<Code>(),
            Err(CodeFault::Length { .. })
        ));
        // Another Saqta of the same week, and a site that is gone.
        assert_eq!(read(&Keys::new(NOW), text), Err(CodeFault::NotOurs));
        let gone = [SiteMark::of("other")];
        assert_eq!(
            open(&keys, gone, text.parse().unwrap()),
            Err(CodeFault::NotOurs)
        );
        let week = 7 * 86_400;
        for weeks in 1..14 {
            keys.turn(later(weeks * week));
            assert!(read(&keys, text).is_ok(), "{weeks}");
        }
        keys.turn(later(14 * week));
        assert_eq!(read(&keys, text), Err(CodeFault::NoKey));
    }

    #[test]
    fn no_two_codes_of_a_minute_are_alike_and_none_tells_its_facts() {
        let keys = Keys::new(NOW);
        let codes = Codes::new(0);
        let other = Why { rule: None, ..WHY };
        let all: HashSet<String> = (0..5_000)
            .map(|one| {
                let why = if one % 2 == 0 { &WHY } else { &other };
                codes.seal(&keys, site(), why, NOW).as_str().to_owned()
            })
            .collect();
        assert_eq!(all.len(), 5_000);
        // One bit more in it changes half of all bits.
        let cipher = Cipher {
            key: (1, 2),
            site: site(),
        };
        let changed: u32 = (0..1_000_u128)
            .map(|block| {
                let block = block << 30;
                (cipher.seal(block) ^ cipher.seal(block ^ 1 << (block % 71))).count_ones()
            })
            .sum();
        let expected = 1_000 * SEALED_BITS / 2;
        assert!(changed.abs_diff(expected) < expected / 20, "{changed}");
    }

    #[test]
    fn whoever_invents_a_code_has_none() {
        let keys = Keys::new(NOW);
        let text = Codes::new(0).seal(&keys, site(), &WHY, NOW);
        let good: Code = text.as_str().parse().unwrap();
        let invented = (1..100_000_u128)
            .filter(|more| {
                let sealed = good.sealed ^ (more << 20);
                open(&keys, [site()], Code { sealed, ..good }).is_ok()
            })
            .count();
        // Once in 65,536, and then the lists have to fit.
        assert!(invented <= 12, "{invented}");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_codes_all_the_same() {
        let keys = Keys::new(later(30 * 86_400));
        let text = Codes::new(0).seal(&keys, site(), &WHY, NOW);
        assert!(read(&keys, text.as_str()).is_ok());
    }
}
