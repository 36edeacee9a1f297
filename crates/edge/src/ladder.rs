//! Who gets through when there is not room for all: whoever waits, works or has read here before.
//!
//! Nobody is asked for anything in calm. Where the origin has no room for a request and no copy answers it, or where a rule hits it that is
//! acted on, its reader gets the waiting page, and with it a [`Ticket`] in a cookie. The page comes back by itself: without scripts once
//! the ticket's time is over (Lynx, Tor at its safest, a screen reader), with them as soon as a small sum is found. The request that comes
//! back is answered at once, and brings a [`Pass`] home with it.
//!
//! A pass is not a key but a purse ([`Meter`]): so many uses of the origin and so many of its milliseconds in each ten minutes. Whoever solves
//! what is asked once for each of his addresses has bought a reader's worth of pages and no more, and what he did does not take away the rule
//! that hits him.
//!
//! A [`Reader`] is who came on two days or more and fetched what the pages are made of. It costs nobody anything, asks for no account,
//! and tells no reader from another: its number is drawn anew each day.
//!
//! Nothing is remembered of anybody. What a ticket becomes is computed from it, so that two tabs, the back button and a page loaded
//! twice come to the same pass, and nothing needs to be told apart as used. Whoever keeps no cookies waits, as before, for a place in
//! the queue.

pub mod code;
mod cohorts;
mod form;
pub(crate) mod invites;
mod keys;
pub(crate) mod locker;
mod meter;
mod token;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;
use saqta_detect::facts::Class;
use saqta_detect::network::Group;
use sha2::{Digest, Sha256};

use self::code::{Code, CodeFault, CodeText, Codes, Holds, Why};
use self::cohorts::{By, Cohorts};
use self::form::Sent;
pub(crate) use self::form::TEXT_BYTES_MAX as FORM_TEXT_BYTES_MAX;
pub use self::form::{Again, Fate, Form, Whither};
use self::invites::Invites;
pub use self::invites::{DAYS_MAX as INVITED_DAYS_MAX, InviteError, Invited, LABEL_CHARS_MAX};
pub(crate) use self::keys::fill;
pub use self::keys::{Keys, KeysFault};
pub use self::meter::{Allowance, Meter, Used};
pub use self::token::{Cohort, Pass, Reader, Rung, SiteMark, Text, Ticket};
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::staff;

/// All of ours begin with it. No origin hears of them, and they choose no page.
pub const COOKIES: &str = "saqta-";
/// Made once: making it costs more than a search.
static OURS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(COOKIES));
const TICKET: &str = "saqta-ticket";
/// What a script found for the ticket beside it.
const WORK: &str = "saqta-work";
const PASS: &str = "saqta-pass";
const READER: &str = "saqta-reader";
pub(crate) const STAFF: &str = "saqta-staff";

/// What the waiting page's script finds is a number of so many digits: with the ticket before it, it fits one block of SHA-256.
const WORK_BYTES_MAX: usize = 6;

/// A visit: long enough that one who reads on is not stopped twice in it, short enough that one who was stopped is not for long.
const PERIOD_S: u32 = 600;

/// Somebody who reads an article every twenty seconds uses the origin thirty times in ten minutes if no page is stored, and seldom as
/// long as half a second.
const KNOWN: Allowance = Allowance {
    uses: 60,
    origin_ms: 30_000,
};
const WORKED: Allowance = Allowance {
    uses: 30,
    origin_ms: 15_000,
};
/// Of all browsers of one invitation: an editor's page asks for a dozen things that no cache has, and saves by itself every minute. More than
/// two a second for ten minutes is somebody else with her cookie.
const INVITED: Allowance = Allowance {
    uses: 1_200,
    origin_ms: 600_000,
};
/// Waiting costs a machine nothing.
const WAITED: Allowance = Allowance {
    uses: 12,
    origin_ms: 6_000,
};

/// What is asked of whoever comes from a network to which so many passes went in this period: how many seconds to wait, or how many zero
/// bits to find. A mobile carrier's readers share networks too, so nobody is refused.
const STEPS: [(u32, u8, u8); 4] = [
    (0, 5, 14),
    (16, 8, 15),
    (64, 14, NO_WORK),
    (256, 19, NO_WORK),
];

/// No sum begins with so many zero bits: it has to be waited for.
const NO_WORK: u8 = u8::MAX;

const DAY_S: u32 = 86_400;
/// First visits that are remembered by their browsers, of one network in a day: a mobile carrier's readers share networks by the thousand, and
/// whoever collects readers to be known by later is held to as many.
const GREETED_MAX: u32 = 2_000;

/// Long forms that are given back to one network in a period. Each costs the line as much as was sent, and a carrier's readers write fewer.
const HELD_MAX: u32 = 60;
/// A shorter one costs hardly more than the page that says to wait: a sign-in, a comment of some paragraphs.
const LONG_FORM_BYTES: usize = 4 * 1024;
/// Counted beside the network's passes.
const HELD: &str = "held";

/// What was given to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Page,
    /// What pages are made of.
    Part,
}

/// What all sites and shards share.
#[derive(Debug)]
pub struct Ladder {
    keys: Keys,
    /// By the number of a pass or a reader.
    meter: Meter,
    cohorts: Cohorts,
    pub(crate) invites: Invites,
    /// Passes given out, by network.
    given: Meter,
    /// Readers greeted for the first time, by network.
    greeted: Meter,
    sent: Sent,
    /// Nobody can tell which networks share cells.
    secret: RandomState,
    /// Of the numbers given out since the start. Nobody else's begin there.
    first: u64,
    next: AtomicU64,
    codes: Codes,
}

/// What a request's cookies say of its client.
#[derive(Debug, Clone, Copy)]
pub struct Bearer {
    /// [`Class::Unknown`] when there is nothing, or what there is is used up.
    pub class: Class,
    /// Where there is something.
    pub account: Option<Account>,
    /// Still to be waited for.
    ticket: Option<Ticket>,
    /// Came by a ticket now: to be given to the browser.
    pub new_pass: Option<Pass>,
    reader: Option<Reader>,
    /// For a code.
    pub holds: Holds,
}

/// On whose account the origin is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    number: NonZeroU64,
    /// `None`: somebody the newsroom has invited, who is of none.
    cohort: Option<(By, Cohort)>,
}

impl Account {
    /// `None` for one number of all there are.
    fn new(number: u64, cohort: Option<(By, Cohort)>) -> Option<Self> {
        let number = NonZeroU64::new(number)?;
        Some(Self { number, cohort })
    }

    pub fn is_invited(&self) -> bool {
        self.cohort.is_none()
    }
}

/// What passes and tickets come to.
struct Passed {
    pass: Option<Pass>,
    /// Came by a ticket now.
    is_new: bool,
    /// There was one, and nothing is left of it.
    is_used_up: bool,
    /// Still to be waited for.
    ticket: Option<Ticket>,
}

impl Bearer {
    pub const NOBODY: Self = Self {
        class: Class::Unknown,
        account: None,
        ticket: None,
        new_pass: None,
        reader: None,
        holds: Holds::NoCookies,
    };
}

/// A cookie for a browser to keep.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    name: &'static str,
    text: Text,
    max_age_s: u32,
    /// No script of the site's needs it.
    is_hidden: bool,
}

impl Given {
    /// The value of `Set-Cookie`.
    pub fn cookie(&self, is_https: bool) -> String {
        let Self {
            name,
            text,
            max_age_s,
            ..
        } = self;
        let text = String::from_utf8_lossy(text);
        let hidden = if self.is_hidden { "; HttpOnly" } else { "" };
        let secure = if is_https { "; Secure" } else { "" };
        format!("{name}={text}; Path=/; Max-Age={max_age_s}; SameSite=Lax{hidden}{secure}")
    }
}

/// The values of a request's cookies that are ours.
#[derive(Default)]
struct Shown<'a> {
    ticket: Option<&'a [u8]>,
    work: Option<&'a [u8]>,
    pass: Option<&'a [u8]>,
    reader: Option<&'a [u8]>,
    staff: Option<&'a [u8]>,
}

impl<'a> Shown<'a> {
    fn in_fields<F: Fields + ?Sized>(fields: &'a F) -> Option<Self> {
        let mut shown: Option<Self> = None;
        fields.each_line("cookie", &mut |line| {
            // Most requests have none of ours.
            if OURS.find(line).is_none() {
                return;
            }
            let shown = shown.get_or_insert_default();
            for (name, value) in staff::pairs(line) {
                let place = match std::str::from_utf8(name) {
                    Ok(TICKET) => &mut shown.ticket,
                    Ok(WORK) => &mut shown.work,
                    Ok(PASS) => &mut shown.pass,
                    Ok(READER) => &mut shown.reader,
                    Ok(STAFF) => &mut shown.staff,
                    _ => continue,
                };
                // The first of a name is the one a browser holds closest.
                place.get_or_insert(value);
            }
        });
        shown
    }
}

impl Ladder {
    pub fn new(now: UnixMillis) -> Self {
        Self::with_keys(Keys::new(now))
    }

    pub fn with_keys(keys: Keys) -> Self {
        let mut first = [0; 8];
        fill(&mut first);
        let first = u64::from_le_bytes(first);
        Self {
            keys,
            meter: Meter::new(PERIOD_S),
            cohorts: Cohorts::new(PERIOD_S),
            invites: Invites::default(),
            given: Meter::new(PERIOD_S),
            greeted: Meter::new(DAY_S),
            sent: Sent::new(),
            secret: RandomState::new(),
            codes: Codes::new(first),
            first,
            next: AtomicU64::new(first),
        }
    }

    /// Draws this week's key where nothing is kept.
    pub(crate) fn turn(&self, now: UnixMillis) {
        self.keys.turn(now);
    }

    fn network(&self, address: IpAddr) -> u64 {
        self.secret.hash_one(Group::of(address).bits())
    }

    /// What is asked now of whoever comes from there.
    fn step(&self, address: IpAddr, now: UnixMillis) -> (u8, u8) {
        let given = self.given.used(self.network(address), now).uses;
        let reached = STEPS.iter().rev().find(|(from, ..)| given >= *from);
        let (_, wait_s, bits) = reached.unwrap_or(&STEPS[0]);
        (*wait_s, *bits)
    }

    /// Nobody else's. That it can be foreseen matters to nobody: it is signed.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Would a page or a part of one that is given now add nothing to what its reader's browser says? Nobody's word is checked for it: whoever
    /// lies gets nothing.
    pub fn has_nothing_to_say<F: Fields + ?Sized>(
        &self,
        fields: &F,
        seen: Seen,
        now: UnixMillis,
    ) -> bool {
        let shown = Shown::in_fields(fields).and_then(|shown| shown.reader);
        match (shown, seen) {
            (Some(text), seen) => {
                token::claim(text, now).is_some_and(|(is_of_today, is_pending)| match seen {
                    Seen::Page => is_of_today,
                    Seen::Part => !(is_of_today && is_pending),
                })
            }
            (None, Seen::Part) => true,
            (None, Seen::Page) => false,
        }
    }

    /// Reads what a request brings. A request without cookies of ours costs one search of its `Cookie` line.
    /// So `now` is asked for only where there are some.
    pub fn bearer<F: Fields + ?Sized>(
        &self,
        (site, address): (SiteMark, IpAddr),
        fields: &F,
        now: impl FnOnce() -> UnixMillis,
    ) -> Option<Bearer> {
        Shown::in_fields(fields).map(|shown| self.read((site, address), &shown, now()))
    }

    fn read(
        &self,
        (site, address): (SiteMark, IpAddr),
        shown: &Shown<'_>,
        now: UnixMillis,
    ) -> Bearer {
        let keys = &self.keys;
        let mut bearer = Bearer {
            holds: Holds::Spent,
            ..Bearer::NOBODY
        };
        bearer.reader = shown
            .reader
            .and_then(|text| Reader::open(keys, site, text, now));
        let invited = shown
            .staff
            .and_then(|cookie| self.invites.number(site, cookie, now))
            .filter(|number| INVITED.covers(self.meter.used(*number, now)));
        if let Some(number) = invited {
            bearer.class = Class::Staff;
            bearer.holds = Holds::Staff;
            bearer.account = Account::new(number, None);
            return bearer;
        }
        let is_left = |reader: &Reader| {
            let whose = (site, By::Reader, reader.cohort);
            KNOWN.covers(self.meter.used(reader.number, now))
                && self.cohorts.is_within_its_means(whose, now)
        };
        if let Some(reader) = bearer.reader.filter(Reader::is_known).filter(is_left) {
            bearer.class = Class::KnownReader;
            bearer.holds = Holds::Known;
            bearer.account = Account::new(reader.number, Some((By::Reader, reader.cohort)));
            return bearer;
        }
        let passed = self.passed((site, address), shown, now);
        bearer.ticket = passed.ticket;
        let is_used_up = passed.is_used_up || bearer.reader.is_some_and(|one| one.is_known());
        if passed.ticket.is_some() {
            bearer.holds = Holds::Ticket;
        } else if is_used_up {
            bearer.holds = Holds::UsedUp;
        } else if bearer.reader.is_some() {
            // One who came on one day is nobody yet.
            bearer.holds = Holds::OtherCookies;
        }
        if let Some(pass) = passed.pass {
            bearer.class = Class::Passed;
            bearer.holds = Holds::Pass;
            bearer.account = Account::new(pass.number, Some((By::Pass, pass.cohort)));
            bearer.new_pass = passed.is_new.then_some(pass);
        }
        bearer
    }

    /// The number of the pass that a request brings, whoever else its reader is.
    pub fn pass_of<F: Fields + ?Sized>(
        &self,
        (site, address): (SiteMark, IpAddr),
        fields: &F,
        now: UnixMillis,
    ) -> Option<u64> {
        let shown = Shown::in_fields(fields)?;
        let passed = self.passed((site, address), &shown, now);
        passed.pass.map(|pass| pass.number)
    }

    fn passed(
        &self,
        (site, address): (SiteMark, IpAddr),
        shown: &Shown<'_>,
        now: UnixMillis,
    ) -> Passed {
        let keys = &self.keys;
        let held = shown
            .pass
            .and_then(|text| Pass::open(keys, site, text, now));
        let pass = held.filter(|pass| self.covers(pass, now));
        let mut passed = Passed {
            pass,
            is_new: false,
            is_used_up: held.is_some() && pass.is_none(),
            ticket: None,
        };
        // A pass is as old as its ticket. A newer ticket was given to somebody for whom the pass was not enough.
        let Some((text, mut ticket)) = shown
            .ticket
            .and_then(|text| Some((text, Ticket::open(keys, site, text, now)?)))
            .filter(|(_, ticket)| pass.is_none_or(|pass| ticket.since_s > pass.since_s))
        else {
            return passed;
        };
        let is_worked = shown
            .work
            .is_some_and(|work| is_work(text, work, ticket.bits));
        // Whoever fetched a thousand tickets before he showed the first is asked what is asked by then.
        let (wait_s, bits) = self.step(address, now);
        ticket.wait_s = ticket.wait_s.max(wait_s);
        let rung = if ticket.waits_s(now) == 0 {
            Rung::Waited
        } else if is_worked && ticket.bits >= bits {
            Rung::Worked
        } else {
            // Whose work is not enough any more gets another ticket, or his browser would do the same again at once, and again.
            passed.ticket = (!is_worked).then_some(ticket);
            return passed;
        };
        let pass = ticket.pass(keys, site, rung);
        if self.covers(&pass, now) {
            passed.pass = Some(pass);
            passed.is_new = true;
        } else {
            passed.is_used_up = true;
        }
        passed
    }

    /// What a reader's browser is given to be known by later, once it has been given a page or a part of one.
    pub fn greet(
        &self,
        bearer: &Bearer,
        seen: Seen,
        (site, address): (SiteMark, IpAddr),
        now: UnixMillis,
    ) -> Option<Given> {
        let reader = match (bearer.reader, seen) {
            (Some(reader), Seen::Page) => reader.reads(&self.keys, site, now)?,
            (Some(reader), Seen::Part) => reader.fetches(now)?,
            (None, Seen::Page) => {
                let network = self.network(address);
                if self.greeted.used(network, now).uses >= GREETED_MAX {
                    return None;
                }
                self.greeted.note_use(network, now);
                Reader::new(self.number(), (site, address), now)
            }
            (None, Seen::Part) => return None,
        };
        Some(Given {
            name: READER,
            text: reader.seal(&self.keys, site),
            max_age_s: u32::from(token::READER_LASTS_DAYS) * DAY_S,
            is_hidden: true,
        })
    }

    fn covers(&self, pass: &Pass, now: UnixMillis) -> bool {
        let allowance = match pass.rung {
            Rung::Worked => WORKED,
            Rung::Waited => WAITED,
        };
        allowance.covers(self.meter.used(pass.number, now))
    }

    /// Does what this bearer shows keep him from a rule?
    pub fn keeps_from_rules(&self, bearer: &Bearer, site: SiteMark, now: UnixMillis) -> bool {
        let cohort = bearer.account.and_then(|account| account.cohort);
        cohort.is_some_and(|(by, cohort)| {
            let whose = (site, by, cohort);
            self.cohorts.keeps_from_rules(whose, now)
        })
    }

    /// The origin is asked on this account.
    pub fn note_use(
        &self,
        account: &Account,
        site: SiteMark,
        is_kept_from_rule: bool,
        now: UnixMillis,
    ) {
        self.meter.note_use(account.number.get(), now);
        if let Some((by, cohort)) = account.cohort {
            let whose = (site, by, cohort);
            self.cohorts.note(whose, is_kept_from_rule, now);
        }
    }

    /// ... and was at it for so long.
    pub fn note_ms(&self, account: &Account, origin_ms: u64, now: UnixMillis) {
        self.meter.note_ms(account.number.get(), origin_ms, now);
    }

    /// For whoever has to wait: how many seconds, and what to hold on to meanwhile. Who holds a ticket keeps it, so that a second tab
    /// does not send the first one to the end of the queue.
    pub fn waits(
        &self,
        bearer: &Bearer,
        (site, address): (SiteMark, IpAddr),
        now: UnixMillis,
    ) -> (u8, Option<Given>) {
        if let Some(ticket) = bearer.ticket {
            return (ticket.waits_s(now), None);
        }
        let (wait_s, bits) = self.step(address, now);
        let ticket = Ticket::new(self.number(), (wait_s, bits), (site, address), now);
        let given = Given {
            name: TICKET,
            text: ticket.seal(&self.keys, site),
            max_age_s: ticket.lasts_s(),
            is_hidden: false,
        };
        (wait_s, Some(given))
    }

    /// For the page that stops somebody: why, sealed.
    pub fn code(&self, site: SiteMark, why: &Why, now: UnixMillis) -> CodeText {
        self.codes.seal(&self.keys, site, why, now)
    }

    /// What a code says: of which of these sites it is, and of which minute.
    ///
    /// # Errors
    /// When it was not sealed here, or so long ago that its key is forgotten.
    pub fn read_code(
        &self,
        sites: impl IntoIterator<Item = SiteMark>,
        code: Code,
    ) -> Result<(usize, UnixMillis, Why), CodeFault> {
        code::open(&self.keys, sites, code)
    }

    /// Who is invited.
    pub fn invited(&self, now: UnixMillis) -> Vec<Invited> {
        let is_spent = |number| !INVITED.covers(self.meter.used(number, now));
        self.invites.list(now, is_spent)
    }

    /// A form for its page, if this network has not been given too many long ones.
    pub fn hold(
        &self,
        form: &Form,
        whither: Whither<'_>,
        address: IpAddr,
        now: UnixMillis,
    ) -> Option<String> {
        if form.body.len() > LONG_FORM_BYTES {
            let network = self.secret.hash_one((HELD, Group::of(address).bits()));
            if self.given.used(network, now).uses >= HELD_MAX {
                return None;
            }
            self.given.note_use(network, now);
        }
        Some(form.seal(&self.keys, self.number(), whither, now))
    }

    /// A form that was given back and comes again.
    pub fn held(&self, whither: Whither<'_>, text: &[u8]) -> Option<Again> {
        Form::open(&self.keys, whither, text)
    }

    pub fn fate(&self, again: &Again, now: UnixMillis) -> Fate {
        if self.has_given(again.number) {
            self.sent.fate(again, now)
        } else {
            Fate::Unknown
        }
    }

    /// Since it was started. What was sent before, nobody remembers.
    fn has_given(&self, number: u64) -> bool {
        let given = self.next.load(Ordering::Relaxed).wrapping_sub(self.first);
        number.wrapping_sub(self.first) < given
    }

    /// It goes to the origin, unless it has gone.
    pub fn send(&self, again: &Again, now: UnixMillis) -> Fate {
        if self.has_given(again.number) {
            self.sent.send(again, now)
        } else {
            Fate::Unknown
        }
    }

    /// The pass that a ticket has become, for the browser that showed it.
    pub fn give(&self, pass: &Pass, (site, address): (SiteMark, IpAddr), now: UnixMillis) -> Given {
        self.given.note_use(self.network(address), now);
        Given {
            name: PASS,
            text: pass.seal(&self.keys, site),
            max_age_s: token::PASS_LASTS_S,
            is_hidden: true,
        }
    }
}

/// Does the sum of the ticket and this number begin with so many zero bits?
fn is_work(ticket: &[u8], work: &[u8], bits: u8) -> bool {
    if work.is_empty() || work.len() > WORK_BYTES_MAX || !work.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum = Sha256::new()
        .chain_update(ticket)
        .chain_update(b".")
        .chain_update(work)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&sum[..8]);
    u64::from_be_bytes(first).leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::token::tests::{ADDRESS, NOW, later, site};
    use super::*;

    fn text(text: &Text) -> &str {
        std::str::from_utf8(text).unwrap()
    }

    fn shows(ladder: &Ladder, cookies: &[&str], now: UnixMillis) -> Bearer {
        let mut fields = HeaderMap::new();
        for line in cookies {
            fields.append("cookie", line.parse().unwrap());
        }
        let bearer = ladder.bearer((site(), ADDRESS), &fields, || now);
        bearer.unwrap_or(Bearer::NOBODY)
    }

    fn given(ladder: &Ladder, now: UnixMillis) -> Given {
        let (_, given) = ladder.waits(&Bearer::NOBODY, (site(), ADDRESS), now);
        given.unwrap()
    }

    fn work(ticket: &str, bits: u8) -> String {
        (0..1_000_000_u32)
            .map(|number| number.to_string())
            .find(|number| is_work(ticket.as_bytes(), number.as_bytes(), bits))
            .unwrap()
    }

    #[test]
    fn what_is_no_token_of_ours_says_nothing() {
        let ladder = Ladder::new(NOW);
        let table: [&[&str]; 6] = [
            &[],
            &["_ga=1; consent=yes"],
            &["saqta-pass=; saqta-ticket=; saqta-reader="],
            &["saqta-pass=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
            &["saqta-work=1"],
            &["saqta-anything=x", "a=saqta-pass"],
        ];
        for cookies in table {
            let bearer = shows(&ladder, cookies, NOW);
            assert_eq!(bearer.class, Class::Unknown);
            assert!(bearer.new_pass.is_none() && bearer.ticket.is_none());
        }
    }

    #[test]
    fn who_waits_comes_in() {
        let ladder = Ladder::new(NOW);
        let ticket = given(&ladder, NOW);
        let cookie = ticket.cookie(true);
        assert!(
            cookie.ends_with("; Path=/; Max-Age=305; SameSite=Lax; Secure"),
            "{cookie}"
        );
        let cookie = format!("_ga=1; saqta-ticket={}", text(&ticket.text));
        // Another tab keeps the ticket and waits for what is left.
        let early = shows(&ladder, &[&cookie], later(3));
        assert_eq!(early.class, Class::Unknown);
        let (wait_s, again) = ladder.waits(&early, (site(), ADDRESS), later(3));
        assert!(wait_s == 2 && again.is_none());
        let (one, two) = (
            shows(&ladder, &[&cookie], later(5)),
            shows(&ladder, &[&cookie], later(60)),
        );
        assert_eq!((one.class, two.class), (Class::Passed, Class::Passed));
        assert_eq!(one.account, two.account);
        let pass = ladder.give(&one.new_pass.unwrap(), (site(), ADDRESS), later(5));
        let cookie = pass.cookie(false);
        assert!(
            cookie.ends_with("; Path=/; Max-Age=86400; SameSite=Lax; HttpOnly"),
            "{cookie}"
        );
        let cookie = format!("saqta-pass={}", text(&pass.text));
        let bearer = shows(&ladder, &[&cookie], later(600));
        assert_eq!((bearer.class, bearer.account), (Class::Passed, one.account));
        assert!(bearer.new_pass.is_none());
    }

    #[test]
    fn who_works_comes_in_at_once_and_with_another_ticket_not() {
        let ladder = Ladder::new(NOW);
        let (ticket, other) = (given(&ladder, NOW), given(&ladder, NOW));
        let ticket = text(&ticket.text);
        let found = work(ticket, STEPS[0].2);
        let cookies = |ticket: &str, work: &str| {
            shows(
                &ladder,
                &[&format!("saqta-ticket={ticket}; saqta-work={work}")],
                NOW,
            )
        };
        let bearer = cookies(ticket, &found);
        assert_eq!(bearer.class, Class::Passed);
        assert_eq!(bearer.new_pass.unwrap().rung, Rung::Worked);
        for (ticket, work) in [
            (ticket, ""),
            (ticket, "x"),
            (ticket, "-1"),
            (ticket, "0000000"),
            (text(&other.text), found.as_str()),
        ] {
            assert_eq!(cookies(ticket, work).class, Class::Unknown, "{work}");
        }
    }

    #[test]
    fn a_pass_that_is_used_up_is_none_until_its_period_is_over() {
        let ladder = Ladder::new(NOW);
        let ticket = given(&ladder, NOW);
        let ticket = format!("saqta-ticket={}", text(&ticket.text));
        let bearer = shows(&ladder, &[&ticket], later(5));
        let account = bearer.account.unwrap();
        let pass = ladder.give(&bearer.new_pass.unwrap(), (site(), ADDRESS), later(5));
        let pass = format!("saqta-pass={}", text(&pass.text));
        for _ in 0..WAITED.uses {
            assert_eq!(shows(&ladder, &[&pass], later(6)).class, Class::Passed);
            ladder.note_use(&account, site(), false, later(6));
        }
        let spent = shows(&ladder, &[&pass, &ticket], later(7));
        assert_eq!((spent.class, spent.account), (Class::Unknown, None));
        // The ticket it came by is the same pass, so another one is given.
        assert!(
            ladder
                .waits(&spent, (site(), ADDRESS), later(7))
                .1
                .is_some()
        );
        let next = later(u64::from(PERIOD_S));
        assert_eq!(shows(&ladder, &[&pass], next).class, Class::Passed);
        ladder.note_ms(&account, WAITED.origin_ms, next);
        assert_eq!(shows(&ladder, &[&pass], next).class, Class::Unknown);
    }

    #[test]
    fn tickets_fetched_beforehand_are_asked_what_is_asked_by_then() {
        let ladder = Ladder::new(NOW);
        let tickets: Vec<_> = (0..100).map(|_| given(&ladder, NOW)).collect();
        let cookie = |ticket: &Given| format!("saqta-ticket={}", text(&ticket.text));
        let mut passes = 0;
        for ticket in &tickets {
            let bearer = shows(&ladder, &[&cookie(ticket)], later(5));
            if let Some(pass) = bearer.new_pass {
                ladder.give(&pass, (site(), ADDRESS), later(5));
                passes += 1;
            } else {
                assert!(ladder.waits(&bearer, (site(), ADDRESS), later(5)).0 > 0);
            }
        }
        assert_eq!(passes, STEPS[1].0);
        // No work helps once there is no work.
        for _ in 0..STEPS[2].0 {
            ladder.given.note_use(ladder.network(ADDRESS), later(5));
        }
        let last = text(&tickets[99].text);
        let worked = format!("saqta-ticket={last}; saqta-work={}", work(last, STEPS[0].2));
        let bearer = shows(&ladder, &[&worked], later(6));
        assert_eq!(bearer.class, Class::Unknown);
        let (wait_s, another) = ladder.waits(&bearer, (site(), ADDRESS), later(6));
        assert!(wait_s == STEPS[2].1 && another.is_some());
        assert_eq!(shows(&ladder, &[&worked], later(14)).class, Class::Passed);
    }

    #[test]
    fn a_known_reader_comes_in_without_a_pass() {
        let ladder = Ladder::new(NOW);
        let first = Reader::new(9, (site(), ADDRESS), NOW).fetches(NOW).unwrap();
        let second = first
            .reads(&ladder.keys, site(), later(86_400))
            .and_then(|reader| reader.fetches(later(86_400)))
            .unwrap();
        for (reader, class) in [(first, Class::Unknown), (second, Class::KnownReader)] {
            let sealed = reader.seal(&ladder.keys, site());
            let cookie = format!("saqta-reader={}", text(&sealed));
            let bearer = shows(&ladder, &[&cookie], later(86_400));
            assert_eq!(bearer.class, class);
        }
        let account = Account::new(second.number, Some((By::Reader, second.cohort))).unwrap();
        for _ in 0..KNOWN.uses {
            ladder.note_use(&account, site(), false, later(86_400));
        }
        let sealed = second.seal(&ladder.keys, site());
        let cookie = format!("saqta-reader={}", text(&sealed));
        assert_eq!(
            shows(&ladder, &[&cookie], later(86_400)).class,
            Class::Unknown
        );
    }

    #[test]
    fn known_readers_of_a_cohort_that_spends_too_much_are_strangers_for_a_while() {
        let ladder = Ladder::new(NOW);
        let day = later(86_400);
        let reader = |number: u64, address: IpAddr| {
            let first = Reader::new(number, (site(), address), NOW).fetches(NOW);
            let second = first.and_then(|reader| reader.reads(&ladder.keys, site(), day));
            let known = second.and_then(|reader| reader.fetches(day)).unwrap();
            let sealed = known.seal(&ladder.keys, site());
            format!("saqta-reader={}", text(&sealed))
        };
        let elsewhere: IpAddr = "198.51.100.7".parse().unwrap();
        let (another, other) = (reader(1, ADDRESS), reader(2, elsewhere));
        let mut uses = 0;
        for number in 3..100 {
            let cookie = reader(number, ADDRESS);
            while let Some(account) = shows(&ladder, &[&cookie], day).account {
                ladder.note_use(&account, site(), false, day);
                uses += 1;
            }
        }
        assert_eq!(uses, 100);
        assert_eq!(shows(&ladder, &[&another], day).class, Class::Unknown);
        assert_eq!(shows(&ladder, &[&other], day).class, Class::KnownReader);
        let next = later(86_400 + u64::from(PERIOD_S));
        assert_eq!(shows(&ladder, &[&another], next).class, Class::KnownReader);
    }

    #[test]
    fn a_reader_is_greeted_once_a_day_and_a_network_not_without_end() {
        let ladder = Ladder::new(NOW);
        let cookie = |given: Given| format!("saqta-reader={}", text(&given.text));
        let greet = |bearer: &Bearer, seen, now| ladder.greet(bearer, seen, (site(), ADDRESS), now);
        assert!(greet(&Bearer::NOBODY, Seen::Part, NOW).is_none());
        let first = greet(&Bearer::NOBODY, Seen::Page, NOW).unwrap();
        let days = first.cookie(true);
        assert!(
            days.ends_with("; Path=/; Max-Age=7776000; SameSite=Lax; HttpOnly; Secure"),
            "{days}"
        );
        let mut held = cookie(first);
        for day in 0..3 {
            let now = later(day * 86_400);
            if day > 0 {
                let page = greet(&shows(&ladder, &[&held], now), Seen::Page, now);
                held = cookie(page.unwrap());
            }
            let bearer = shows(&ladder, &[&held], now);
            assert!(greet(&bearer, Seen::Page, now).is_none());
            held = cookie(greet(&bearer, Seen::Part, now).unwrap());
            let bearer = shows(&ladder, &[&held], now);
            assert!(greet(&bearer, Seen::Part, now).is_none());
            assert_eq!(bearer.class == Class::KnownReader, day > 0, "{day}");
        }
        let greeted = (0..3_000)
            .filter(|_| greet(&Bearer::NOBODY, Seen::Page, NOW).is_some())
            .count();
        assert_eq!(greeted, GREETED_MAX as usize - 1);
        assert!(greet(&Bearer::NOBODY, Seen::Page, later(86_400)).is_some());
    }

    #[test]
    fn the_more_passes_go_to_a_network_the_more_is_asked_of_it() {
        let ladder = Ladder::new(NOW);
        let pass = Ticket::new(1, (5, 14), (site(), ADDRESS), NOW).pass(
            &ladder.keys,
            site(),
            Rung::Waited,
        );
        let neighbour: IpAddr = "203.0.113.200".parse().unwrap();
        let elsewhere: IpAddr = "203.0.114.7".parse().unwrap();
        let asked = |address| {
            let (wait_s, given) = ladder.waits(&Bearer::NOBODY, (site(), address), NOW);
            let ticket = Ticket::open(&ladder.keys, site(), &given.unwrap().text, NOW).unwrap();
            assert_eq!(ticket.wait_s, wait_s);
            (wait_s, ticket.bits)
        };
        let mut passes = 0;
        for (from, expected) in [
            (0, (5, 14)),
            (15, (5, 14)),
            (16, (8, 15)),
            (63, (8, 15)),
            (64, (14, NO_WORK)),
            (256, (19, NO_WORK)),
            (5_000, (19, NO_WORK)),
        ] {
            while passes < from {
                ladder.give(&pass, (site(), ADDRESS), NOW);
                passes += 1;
            }
            assert_eq!(asked(neighbour), expected, "{from}");
            assert_eq!(asked(elsewhere), (5, 14));
        }
    }
}
