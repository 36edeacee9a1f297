//! What a reader's browser is given to show again: signed, and with nothing in it that tells one reader from another but a number that
//! is good for a day.
//!
//! All four kinds are one shape, 48 characters: the week of the key, 19 bytes, 16 bytes of HMAC-SHA-256 over the kind, the site and the
//! rest. So a token of one kind or site is none of another, and one that was touched is none at all. What it says is not secret:
//! it says when, how, and from which sixty-fourth of the internet.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::keys::{Keys, MESSAGE_BYTES, SUM_BYTES, Sum};
use crate::clock::UnixMillis;

pub(super) const TEXT_BYTES: usize = 48;
const SAID_BYTES: usize = 19;
const TOKEN_BYTES: usize = 1 + SAID_BYTES + SUM_BYTES;

pub(super) type Said = [u8; SAID_BYTES];
pub type Text = [u8; TEXT_BYTES];

/// A site, wherever the same names are used: a pass of one newsroom is none of its neighbour's on the same edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SiteMark(u64);

impl SiteMark {
    pub fn of(name: &str) -> Self {
        use std::hash::Hasher as _;
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        Self(hasher.finish128().h1)
    }

    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// Which site's something is.
    pub(super) fn write(self, hasher: &mut impl std::hash::Hasher) {
        hasher.write_u64(self.0);
    }
}

#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    Ticket = 1,
    Pass,
    Reader,
    /// Draws numbers from numbers.
    Number,
    Form,
}

pub(super) fn message(kind: Kind, site: SiteMark, week: u8, said: &Said) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    message[0] = kind as u8;
    message[1..9].copy_from_slice(&site.0.to_le_bytes());
    message[9] = week;
    message[10..10 + SAID_BYTES].copy_from_slice(said);
    message
}

fn seal(keys: &Keys, kind: Kind, site: SiteMark, said: &Said) -> Text {
    let (week, sum) = keys.sum(|week| message(kind, site, week, said));
    let mut token = [0; TOKEN_BYTES];
    token[0] = week;
    token[1..=SAID_BYTES].copy_from_slice(said);
    token[1 + SAID_BYTES..].copy_from_slice(&sum);
    let mut text = [0; TEXT_BYTES];
    // Three bytes are four characters, so it fits.
    _ = BASE64.encode_slice(token, &mut text);
    text
}

fn open(keys: &Keys, kind: Kind, site: SiteMark, text: &[u8]) -> Option<Said> {
    if text.len() != TEXT_BYTES {
        return None;
    }
    let mut token = [0; TOKEN_BYTES];
    BASE64.decode_slice(text, &mut token).ok()?;
    let mut said = [0; SAID_BYTES];
    said.copy_from_slice(&token[1..=SAID_BYTES]);
    let sum = keys.sum_again(token[0], &message(kind, site, token[0], &said))?;
    is_same(&sum, &part(&token, 1 + SAID_BYTES)).then_some(said)
}

/// Whoever measures how many bytes were right learns nothing.
pub(super) fn is_same(sum: &Sum, shown: &Sum) -> bool {
    let differs = sum
        .iter()
        .zip(shown)
        .fold(0, |differs, (one, other)| differs | (one ^ other));
    differs == 0
}

/// What a reader's token says of itself: its last page was asked for today, and nothing of what that is made of was. Whether it is ours is
/// not looked at.
pub(super) fn claim(text: &[u8], now: UnixMillis) -> Option<(bool, bool)> {
    let mut token = [0; TOKEN_BYTES];
    if text.len() != TEXT_BYTES {
        return None;
    }
    BASE64.decode_slice(text, &mut token).ok()?;
    let reader = Reader::said(&part(&token, 1));
    Some((reader.day == day(now), reader.is_pending))
}

/// A number that follows from another and that only we can tell follows from it.
fn follows(keys: &Keys, site: SiteMark, number: u64, step: u64) -> u64 {
    let mut said = [0; SAID_BYTES];
    said[..8].copy_from_slice(&number.to_le_bytes());
    said[8..16].copy_from_slice(&step.to_le_bytes());
    let (_, sum) = keys.sum(|_| message(Kind::Number, site, 0, &said));
    let mut first = [0; 8];
    first.copy_from_slice(&sum[..8]);
    u64::from_le_bytes(first)
}

/// By what somebody came to hold a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rung {
    /// Waited for as long as was asked.
    Waited = 1,
    /// Computed what was asked.
    Worked,
}

impl Rung {
    fn read(byte: u8) -> Option<Self> {
        [Self::Waited, Self::Worked]
            .into_iter()
            .find(|rung| *rung as u8 == byte)
    }
}

/// Which week a pass was given out in, and in which part of the internet: so many of one cohort that one is no reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cohort(pub u16);

/// Parts of the internet that a cohort tells apart: coarse enough that thousands of readers share each.
const PLACES: u16 = 64;

impl Cohort {
    fn of(site: SiteMark, address: IpAddr, now: UnixMillis) -> Self {
        use std::hash::Hasher as _;
        let mut hasher = SipHasher13::new_with_keys(site.0, 0);
        match address.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()[..2]),
            IpAddr::V6(address) => hasher.write(&address.octets()[..4]),
        }
        let place = (hasher.finish128().h1 % u64::from(PLACES)) as u16;
        let week = (now.secs() / (7 * 86_400)) as u16;
        Self(week.wrapping_mul(PLACES) | place)
    }
}

/// What is given to whoever has to wait or to work, and shown again by whoever did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    /// Seconds since 1970.
    pub(super) since_s: u32,
    /// Seconds that whoever only waits has to wait.
    pub wait_s: u8,
    /// Leading zero bits of the sum that whoever works has to find.
    pub bits: u8,
    cohort: Cohort,
}

/// How long after its wait a ticket is taken: somebody who looked away comes back.
const TICKET_LASTS_S: u32 = 300;

impl Ticket {
    /// `number`: nobody else's.
    pub fn new(
        number: u64,
        (wait_s, bits): (u8, u8),
        (site, address): (SiteMark, IpAddr),
        now: UnixMillis,
    ) -> Self {
        Self {
            number,
            since_s: secs(now),
            wait_s,
            bits,
            cohort: Cohort::of(site, address, now),
        }
    }

    pub fn seal(&self, keys: &Keys, site: SiteMark) -> Text {
        let mut said = [0; SAID_BYTES];
        said[..8].copy_from_slice(&self.number.to_le_bytes());
        said[8..12].copy_from_slice(&self.since_s.to_le_bytes());
        said[12] = self.wait_s;
        said[13] = self.bits;
        said[14..16].copy_from_slice(&self.cohort.0.to_le_bytes());
        seal(keys, Kind::Ticket, site, &said)
    }

    /// `None`: not one of ours, of another time, or too old.
    pub fn open(keys: &Keys, site: SiteMark, text: &[u8], now: UnixMillis) -> Option<Self> {
        let said = open(keys, Kind::Ticket, site, text)?;
        let ticket = Self {
            number: u64::from_le_bytes(part(&said, 0)),
            since_s: u32::from_le_bytes(part(&said, 8)),
            wait_s: said[12],
            bits: said[13],
            cohort: Cohort(u16::from_le_bytes(part(&said, 14))),
        };
        (age_s(ticket.since_s, now)? <= ticket.lasts_s()).then_some(ticket)
    }

    /// In the browser that holds it.
    pub fn lasts_s(&self) -> u32 {
        u32::from(self.wait_s) + TICKET_LASTS_S
    }

    /// Seconds until whoever only waits has waited. 0: now.
    pub fn waits_s(&self, now: UnixMillis) -> u8 {
        let waited = secs(now).saturating_sub(self.since_s);
        self.wait_s
            .saturating_sub(u8::try_from(waited).unwrap_or(u8::MAX))
    }

    /// The pass it becomes, the same one however often: who shows a ticket twice has one pass.
    pub fn pass(&self, keys: &Keys, site: SiteMark, rung: Rung) -> Pass {
        Pass {
            number: follows(keys, site, self.number, rung as u64),
            since_s: self.since_s,
            cohort: self.cohort,
            rung,
        }
    }
}

/// Lets its holder use the origin so often and so long in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    pub number: u64,
    pub since_s: u32,
    pub cohort: Cohort,
    pub rung: Rung,
}

/// Long enough for an attack that comes and goes through a day.
pub(super) const PASS_LASTS_S: u32 = 24 * 3_600;

impl Pass {
    pub fn seal(&self, keys: &Keys, site: SiteMark) -> Text {
        let mut said = [0; SAID_BYTES];
        said[..8].copy_from_slice(&self.number.to_le_bytes());
        said[8..12].copy_from_slice(&self.since_s.to_le_bytes());
        said[12..14].copy_from_slice(&self.cohort.0.to_le_bytes());
        said[14] = self.rung as u8;
        seal(keys, Kind::Pass, site, &said)
    }

    pub fn open(keys: &Keys, site: SiteMark, text: &[u8], now: UnixMillis) -> Option<Self> {
        let said = open(keys, Kind::Pass, site, text)?;
        let pass = Self {
            number: u64::from_le_bytes(part(&said, 0)),
            since_s: u32::from_le_bytes(part(&said, 8)),
            cohort: Cohort(u16::from_le_bytes(part(&said, 12))),
            rung: Rung::read(said[14])?,
        };
        (age_s(pass.since_s, now)? <= PASS_LASTS_S).then_some(pass)
    }
}

/// Has read here before, on so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    pub number: u64,
    pub since_s: u32,
    pub cohort: Cohort,
    /// On which pages were read and what they are made of was fetched.
    pub days: u8,
    /// Days since 1970; the last on which a page was asked for.
    pub day: u16,
    /// What that page is made of has not been asked for.
    pub is_pending: bool,
}

/// A reader who came on one day may be anybody.
const DAYS_MIN: u8 = 2;
/// More days say nothing new, and less about whom.
const DAYS_MAX: u8 = 8;
pub(super) const READER_LASTS_DAYS: u16 = 90;

impl Reader {
    pub fn new(number: u64, (site, address): (SiteMark, IpAddr), now: UnixMillis) -> Self {
        Self {
            number,
            // The day is enough.
            since_s: u32::from(day(now)) * 86_400,
            cohort: Cohort::of(site, address, now),
            days: 0,
            day: day(now),
            is_pending: true,
        }
    }

    pub fn seal(&self, keys: &Keys, site: SiteMark) -> Text {
        let mut said = [0; SAID_BYTES];
        said[..8].copy_from_slice(&self.number.to_le_bytes());
        said[8..12].copy_from_slice(&self.since_s.to_le_bytes());
        said[12..14].copy_from_slice(&self.cohort.0.to_le_bytes());
        said[14] = self.days;
        said[15..17].copy_from_slice(&self.day.to_le_bytes());
        said[17] = u8::from(self.is_pending);
        seal(keys, Kind::Reader, site, &said)
    }

    pub fn open(keys: &Keys, site: SiteMark, text: &[u8], now: UnixMillis) -> Option<Self> {
        let reader = Self::said(&open(keys, Kind::Reader, site, text)?);
        let away = u32::from(READER_LASTS_DAYS) * 86_400;
        (age_s(u32::from(reader.day) * 86_400, now)? <= away + 86_400).then_some(reader)
    }

    fn said(said: &Said) -> Self {
        Self {
            number: u64::from_le_bytes(part(said, 0)),
            since_s: u32::from_le_bytes(part(said, 8)),
            cohort: Cohort(u16::from_le_bytes(part(said, 12))),
            days: said[14],
            day: u16::from_le_bytes(part(said, 15)),
            is_pending: said[17] != 0,
        }
    }

    pub fn is_known(&self) -> bool {
        self.days >= DAYS_MIN
    }

    /// A page is asked for. The new token, when there is something new to say: the same one however often somebody shows the old.
    #[must_use]
    pub fn reads(&self, keys: &Keys, site: SiteMark, now: UnixMillis) -> Option<Self> {
        let today = day(now);
        (today > self.day).then(|| Self {
            number: follows(keys, site, self.number, u64::from(today)),
            day: today,
            is_pending: true,
            ..*self
        })
    }

    /// A part of a page was fetched.
    #[must_use]
    pub fn fetches(&self, now: UnixMillis) -> Option<Self> {
        (self.is_pending && day(now) == self.day).then(|| Self {
            days: self.days.saturating_add(1).min(DAYS_MAX),
            is_pending: false,
            ..*self
        })
    }
}

pub(super) fn part<const N: usize>(said: &[u8], from: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&said[from..from + N]);
    part
}

/// A clock that is set back by this much makes nobody wait again.
const SKEW_S: u32 = 120;

/// `None`: of a time that is still to come.
pub(super) fn age_s(since_s: u32, now: UnixMillis) -> Option<u32> {
    let now_s = secs(now);
    (since_s <= now_s.saturating_add(SKEW_S)).then(|| now_s.saturating_sub(since_s))
}

pub(super) fn secs(now: UnixMillis) -> u32 {
    u32::try_from(now.secs()).unwrap_or(u32::MAX)
}

fn day(now: UnixMillis) -> u16 {
    u16::try_from(now.secs() / 86_400).unwrap_or(u16::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    pub(crate) const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
    pub(in crate::ladder) const ADDRESS: IpAddr =
        IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    pub(crate) fn site() -> SiteMark {
        SiteMark::of("news")
    }

    pub(in crate::ladder) fn later(seconds: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn earlier(seconds: u64) -> UnixMillis {
        UnixMillis(NOW.0 - seconds * 1_000)
    }

    fn ticket() -> Ticket {
        Ticket::new(7, (5, 14), (site(), ADDRESS), NOW)
    }

    #[test]
    fn what_is_sealed_is_read_again() {
        let keys = Keys::new(NOW);
        let (ticket, reader) = (ticket(), Reader::new(9, (site(), ADDRESS), NOW));
        let text = ticket.seal(&keys, site());
        assert_eq!(Ticket::open(&keys, site(), &text, NOW), Some(ticket));
        let text = reader.seal(&keys, site());
        assert_eq!(Reader::open(&keys, site(), &text, NOW), Some(reader));
        for rung in [Rung::Waited, Rung::Worked] {
            let pass = ticket.pass(&keys, site(), rung);
            let text = pass.seal(&keys, site());
            assert_eq!(Pass::open(&keys, site(), &text, NOW), Some(pass));
        }
    }

    #[test]
    fn whoever_touches_a_token_has_none() {
        let keys = Keys::new(NOW);
        let text = ticket().seal(&keys, site());
        for at in 0..text.len() {
            for other in b'!'..=b'~' {
                let mut touched = text;
                touched[at] = other;
                let read = Ticket::open(&keys, site(), &touched, NOW);
                assert_eq!(read.is_some(), touched == text, "{at} {}", other as char);
            }
            assert_eq!(Ticket::open(&keys, site(), &text[..at], NOW), None);
        }
        let longer = [&text[..], b"A"].concat();
        assert_eq!(Ticket::open(&keys, site(), &longer, NOW), None);
    }

    #[test]
    fn a_token_is_good_for_what_it_was_given_for() {
        let keys = Keys::new(NOW);
        let ticket = ticket();
        let texts = [
            ticket.seal(&keys, site()),
            ticket.pass(&keys, site(), Rung::Waited).seal(&keys, site()),
            Reader::new(9, (site(), ADDRESS), NOW).seal(&keys, site()),
        ];
        for (at, text) in texts.iter().enumerate() {
            let read = |keys: &Keys, site| {
                [
                    Ticket::open(keys, site, text, NOW).is_some(),
                    Pass::open(keys, site, text, NOW).is_some(),
                    Reader::open(keys, site, text, NOW).is_some(),
                ]
            };
            let expected = [0, 1, 2].map(|kind| kind == at);
            assert_eq!(read(&keys, site()), expected);
            assert_eq!(read(&keys, SiteMark::of("news2")), [false; 3]);
            assert_eq!(read(&Keys::new(NOW), site()), [false; 3]);
        }
    }

    #[test]
    fn tokens_last_as_long_as_they_say_and_forgive_a_clock() {
        let keys = Keys::new(NOW);
        let ticket = ticket();
        let pass = ticket.pass(&keys, site(), Rung::Worked);
        let reader = Reader::new(9, (site(), ADDRESS), NOW);
        let texts = [
            ticket.seal(&keys, site()),
            pass.seal(&keys, site()),
            reader.seal(&keys, site()),
        ];
        let today = NOW.secs() % 86_400;
        // When, and whether ticket, pass and reader are still good.
        let table = [
            (earlier(u64::from(SKEW_S)), [true, true, true]),
            (earlier(u64::from(SKEW_S) + 1), [false, false, true]),
            (earlier(today + u64::from(SKEW_S)), [false, false, true]),
            (
                earlier(today + u64::from(SKEW_S) + 1),
                [false, false, false],
            ),
            (later(305), [true, true, true]),
            (later(306), [false, true, true]),
            (later(86_400), [false, true, true]),
            (later(86_401), [false, false, true]),
            (later(90 * 86_400), [false, false, true]),
            (later(92 * 86_400), [false, false, false]),
        ];
        for (now, expected) in table {
            let read = [
                Ticket::open(&keys, site(), &texts[0], now).is_some(),
                Pass::open(&keys, site(), &texts[1], now).is_some(),
                Reader::open(&keys, site(), &texts[2], now).is_some(),
            ];
            assert_eq!(read, expected, "{now:?}");
        }
    }

    #[test]
    fn who_shows_a_ticket_twice_has_one_pass() {
        let keys = Keys::new(NOW);
        let ticket = ticket();
        let waited = ticket.pass(&keys, site(), Rung::Waited);
        assert_eq!(ticket.pass(&keys, site(), Rung::Waited), waited);
        // What is asked differs, and so does what is given.
        assert_ne!(
            ticket.pass(&keys, site(), Rung::Worked).number,
            waited.number
        );
        let other = Ticket::new(8, (5, 14), (site(), ADDRESS), NOW);
        assert_ne!(
            other.pass(&keys, site(), Rung::Waited).number,
            waited.number
        );
    }

    #[test]
    fn a_wait_ends() {
        let ticket = ticket();
        let table = [(0, 5), (1, 4), (4, 1), (5, 0), (6, 0), (10_000, 0)];
        for (seconds, expected) in table {
            assert_eq!(ticket.waits_s(later(seconds)), expected);
        }
        assert_eq!(ticket.waits_s(earlier(60)), 5);
    }

    #[test]
    fn a_reader_is_known_after_reading_on_two_days() {
        let keys = Keys::new(NOW);
        let day = |days: u64| later(days * 86_400);
        let first = Reader::new(9, (site(), ADDRESS), NOW);
        // A page and nothing of what it is made of, for a week.
        let mut hurried = first;
        for days in 1..8 {
            hurried = hurried.reads(&keys, site(), day(days)).unwrap();
            assert!(!hurried.is_known());
        }
        // Twice on one day is once.
        let seen = first.fetches(NOW).unwrap();
        assert_eq!(seen.fetches(NOW), None);
        assert_eq!(seen.reads(&keys, site(), later(60)), None);
        assert!(!seen.is_known());
        let again = seen.reads(&keys, site(), day(1)).unwrap();
        assert!(!again.is_known());
        let known = again.fetches(day(1)).unwrap();
        assert!(known.is_known());
        // The number is another each day, and the same however often yesterday's token is shown.
        assert_ne!(known.number, seen.number);
        assert_eq!(seen.reads(&keys, site(), day(1)), Some(again));
        // What is fetched on another day than the page says nothing.
        assert_eq!(again.fetches(day(2)), None);
        let mut faithful = known;
        for days in 2..30 {
            faithful = faithful.reads(&keys, site(), day(days)).unwrap();
            faithful = faithful.fetches(day(days)).unwrap();
        }
        assert_eq!(faithful.days, DAYS_MAX);
        assert_eq!(faithful.since_s, first.since_s);
    }

    #[test]
    fn a_cohort_is_a_week_and_a_sixty_fourth_of_the_internet() {
        let cohort = |address: &str, now| Cohort::of(site(), address.parse().unwrap(), now);
        assert_eq!(cohort("5.34.1.2", NOW), cohort("5.34.200.9", NOW));
        assert_eq!(
            cohort("::ffff:5.34.1.2", NOW),
            cohort("5.34.1.2", later(3_600))
        );
        assert_ne!(
            cohort("5.34.1.2", NOW),
            cohort("5.34.1.2", later(7 * 86_400))
        );
        let all: std::collections::HashSet<_> = (0..=255)
            .map(|part| cohort(&format!("5.{part}.0.1"), NOW))
            .collect();
        assert!(
            (40..=usize::from(PLACES)).contains(&all.len()),
            "{}",
            all.len()
        );
    }
}
