//! The keys that sign what is given to readers' browsers.
//!
//! One for each week, drawn at random and forgotten when nothing signed with it can be valid any more, so that whoever takes the machine
//! cannot check what a browser was given last winter. With a data folder they outlive a restart; without them everybody would have to
//! pass again in the middle of an attack.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::code::CodeKey;
use super::token::part;
use crate::clock::UnixMillis;

/// Ninety days touch fourteen weeks at most.
const WEEKS_KEPT: u32 = 14;
pub(super) const WEEK_S: u64 = 7 * 86_400;

const KEY_BYTES: usize = 32;
/// Of the 32 that SHA-256 gives: nobody guesses 128 bits.
pub(super) const SUM_BYTES: usize = 16;

pub(super) type Sum = [u8; SUM_BYTES];

/// All sites' and all shards'; asking takes no lock.
#[derive(Debug)]
pub struct Keys {
    ring: ArcSwap<Ring>,
}

/// The newest last.
#[derive(Debug, Clone)]
struct Ring(Vec<Key>);

#[derive(Clone)]
struct Key {
    week: u32,
    bytes: [u8; KEY_BYTES],
    /// Has taken in the key: half of the work of a sum.
    begun: Hmac<Sha256>,
    /// What codes are sealed with.
    codes: CodeKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.week)
    }
}

/// Why a file holds no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysFault {
    #[error("line {line} is not a week and 64 hexadecimal digits")]
    Line { line: usize },
    #[error("no key is in it")]
    Empty,
}

impl Key {
    fn new(week: u32, bytes: [u8; KEY_BYTES]) -> Self {
        // As HMAC pads it (RFC 2104).
        let mut block = [0; 64];
        block[..KEY_BYTES].copy_from_slice(&bytes);
        let begun = Hmac::new(&block.into());
        let mut key = Self {
            week,
            bytes,
            begun,
            codes: CodeKey::default(),
        };
        // No message of a token is as short.
        let sum = key.sum(b"codes");
        key.codes = (
            u64::from_le_bytes(part(&sum, 0)),
            u64::from_le_bytes(part(&sum, 8)),
        );
        key
    }

    fn drawn(week: u32) -> Self {
        let mut bytes = [0; KEY_BYTES];
        fill(&mut bytes);
        Self::new(week, bytes)
    }

    fn sum(&self, message: &[u8]) -> Sum {
        let whole = self.begun.clone().chain_update(message).finalize();
        let mut sum = [0; SUM_BYTES];
        sum.copy_from_slice(&whole.as_bytes()[..SUM_BYTES]);
        sum
    }
}

/// From the kernel, which has enough of it long before we start.
pub(crate) fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or_default();
    }
}

fn week(now: UnixMillis) -> u32 {
    u32::try_from(now.secs() / WEEK_S).unwrap_or(u32::MAX)
}

impl Keys {
    pub fn new(now: UnixMillis) -> Self {
        Self {
            ring: ArcSwap::from_pointee(Ring(vec![Key::drawn(week(now))])),
        }
    }

    /// Draws this week's key if there is none and forgets the oldest. True: write them down.
    pub fn turn(&self, now: UnixMillis) -> bool {
        let (ring, week) = (self.ring.load(), week(now));
        let newest = ring.newest().week;
        // A clock that was set back draws no second key for a week that has one.
        if newest >= week {
            return false;
        }
        let mut keys = ring.0.clone();
        keys.retain(|key| key.week + WEEKS_KEPT > week);
        keys.push(Key::drawn(week));
        self.ring.store(Arc::new(Ring(keys)));
        true
    }

    /// In the place of those that are there.
    pub fn replace(&self, other: Self) {
        self.ring.store(other.ring.into_inner());
    }

    /// One line for each: its week, its bytes.
    pub fn written(&self) -> String {
        let mut text = String::new();
        for key in &self.ring.load().0 {
            _ = write!(text, "{} ", key.week);
            for byte in key.bytes {
                _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }

    /// With the key of now: which it was, as the lowest byte of its week, and the sum.
    pub(super) fn sum(&self, message: impl FnOnce(u8) -> [u8; MESSAGE_BYTES]) -> (u8, Sum) {
        let ring = self.ring.load();
        let key = ring.newest();
        let name = key.week as u8;
        (name, key.sum(&message(name)))
    }

    /// What codes are sealed with now, and of which week it is.
    pub(super) fn for_codes(&self) -> (u32, CodeKey) {
        let ring = self.ring.load();
        let key = ring.newest();
        (key.week, key.codes)
    }

    /// The same of the newest such week. `None`: it is forgotten, or never was.
    pub(super) fn of_week(&self, is_it: impl Fn(u32) -> bool) -> Option<(u32, CodeKey)> {
        let ring = self.ring.load();
        let key = ring.0.iter().rev().find(|key| is_it(key.week))?;
        Some((key.week, key.codes))
    }

    /// With the key of that name. `None`: it is forgotten, or never was.
    pub(super) fn sum_again(&self, name: u8, message: &[u8; MESSAGE_BYTES]) -> Option<Sum> {
        let ring = self.ring.load();
        let key = ring.0.iter().rev().find(|key| key.week as u8 == name)?;
        Some(key.sum(message))
    }
}

/// What is signed: one block of SHA-256.
pub(super) const MESSAGE_BYTES: usize = 32;

impl Ring {
    fn newest(&self) -> &Key {
        &self.0[self.0.len() - 1]
    }
}

impl FromStr for Keys {
    type Err = KeysFault;

    fn from_str(text: &str) -> Result<Self, KeysFault> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let fault = KeysFault::Line { line: at + 1 };
            let (week, digits) = line.split_once(' ').ok_or(fault)?;
            let week = week.parse().map_err(|_| fault)?;
            let in_order = keys.last().is_none_or(|last| last.week < week);
            let bytes = read_hex(digits).filter(|_| in_order).ok_or(fault)?;
            keys.push(Key::new(week, bytes));
        }
        let first = keys.len().saturating_sub(WEEKS_KEPT as usize);
        keys.drain(..first);
        if keys.is_empty() {
            return Err(KeysFault::Empty);
        }
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring(keys)),
        })
    }
}

fn read_hex(digits: &str) -> Option<[u8; KEY_BYTES]> {
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
    const WEEK: Duration = Duration::from_secs(WEEK_S);
    const MESSAGE: [u8; MESSAGE_BYTES] = [7; MESSAGE_BYTES];

    #[test]
    fn a_key_is_forgotten_after_its_time_and_not_before() {
        let keys = Keys::new(NOW);
        let (name, sum) = keys.sum(|_| MESSAGE);
        for weeks in 1..WEEKS_KEPT {
            assert!(keys.turn(NOW.plus(WEEK * weeks)));
            assert!(!keys.turn(NOW.plus(WEEK * weeks)));
            assert_eq!(keys.sum_again(name, &MESSAGE), Some(sum), "{weeks}");
            assert_ne!(keys.sum(|_| MESSAGE), (name, sum));
        }
        assert!(keys.turn(NOW.plus(WEEK * WEEKS_KEPT)));
        assert_eq!(keys.sum_again(name, &MESSAGE), None);
        assert_eq!(keys.written().lines().count(), WEEKS_KEPT as usize);
    }

    #[test]
    fn a_clock_that_is_set_back_draws_no_key() {
        let keys = Keys::new(NOW);
        let before = keys.written();
        assert!(!keys.turn(UnixMillis(NOW.0 - 40 * WEEK_S * 1_000)));
        assert_eq!(keys.written(), before);
    }

    #[test]
    fn keys_are_the_same_when_read_again() {
        let keys = Keys::new(NOW);
        keys.turn(NOW.plus(WEEK));
        let again: Keys = keys.written().parse().unwrap();
        assert_eq!(again.written(), keys.written());
        assert_eq!(again.sum(|_| MESSAGE), keys.sum(|_| MESSAGE));
    }

    #[test]
    fn what_is_no_file_of_keys_says_where() {
        let good = Keys::new(NOW).written();
        let digits = good.trim_end().split_once(' ').unwrap().1;
        let line = |line| Err(KeysFault::Line { line });
        let table = [
            (String::new(), Err(KeysFault::Empty)),
            ("\n".to_owned(), line(1)),
            (digits.to_owned(), line(1)),
            (format!("2967 {}", &digits[1..]), line(1)),
            (format!("2967 {}é", &digits[2..]), line(1)),
            (format!("2967 {}+1", &digits[2..]), line(1)),
            (format!("-1 {digits}"), line(1)),
            (format!("99999999999 {digits}"), line(1)),
            (format!("2967 {digits}\n2967 {digits}"), line(2)),
            (format!("2967 {digits}\n2968 {digits}"), Ok(2)),
        ];
        for (text, expected) in table {
            let read = text.parse::<Keys>().map(|keys| keys.ring.load().0.len());
            assert_eq!(read, expected, "{text}");
        }
    }
}
