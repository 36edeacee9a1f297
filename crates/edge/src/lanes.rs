//! Visitors who are no readers and are welcome: search engines, archives, link previews, monitors.
//!
//! They come in numbers, ask for what nobody has read for years, solve nothing and keep no cookies: to a rule they look like a flood, and a
//! page that says to wait is worth nothing to them. But a name is all that most of them show, and every flood may take it. So there are
//! three kinds:
//!
//! - *Verified*: the operator said that it comes from there ([`LanePlan`]), or its address has a name of its owner's and the name has the
//!   address ([`visitors`], [`lookup`]). It is of [`Class::Lane`]: no rule hits it, and it has a share of the origin of its own. That share is
//!   metered, by visitor and by the network it comes from: some of them fetch whatever a stranger asks them to.
//! - *The newsroom's own* ([`own`]): its application and its server, known by a key and by their address.
//! - *All others* are who they would be without the name. What is stored they get like everybody, and first.
//!
//! No request waits for a resolver. The first one of an address is a stranger's, and has its address asked for: so many a second, so many of a
//! network, so many waiting, and beyond that it stays a stranger's. Whoever takes another's name gains nothing, and costs a lookup each ten
//! minutes at most. He cannot keep the one whose name he takes from being asked for either: networks where somebody was verified have
//! a [`Queue`] of their own.
//!
//! Addresses of those who name somebody are held in memory until they are asked for again, and written nowhere.

pub mod dns;
mod known;
pub(crate) mod lookup;
mod own;
mod visitors;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use saqta_detect::facts::Class;
use saqta_detect::network::Group;
use serde::Serialize;
use tokio::sync::mpsc;

use self::known::{Found, Known};
pub(crate) use self::lookup::Queue;
pub use self::own::{APP_KEY_BYTES, APP_KEYS_MAX, AppKeys, new_app_key};
pub(crate) use self::own::{FIELD, Program};
use self::visitors::VISITORS;
use crate::clock::UnixMillis;
use crate::ladder::{Allowance, Meter, SiteMark};
use crate::plan::LanePlan;

/// As passes have.
const PERIOD_S: u32 = 600;
/// Of a visitor from one network: a crawler fetches a page every few seconds from each of those it has.
const OF_NETWORK: Allowance = Allowance {
    uses: 120,
    origin_ms: 60_000,
};
/// Of a visitor from everywhere: a page a second, and in the mean two fifths of a place at the origin.
const OF_VISITOR: Allowance = Allowance {
    uses: 600,
    origin_ms: 240_000,
};

/// What somebody who is no reader has, of one site.
#[derive(Debug)]
struct Means {
    /// Beside whose name its uses are counted.
    name: &'static str,
    /// As long as there is something left.
    class: Class,
    of_network: Allowance,
    in_all: Allowance,
}

const OF_VISITORS: Means = Means {
    name: "visitors",
    class: Class::Lane,
    of_network: OF_NETWORK,
    in_all: OF_VISITOR,
};

/// Lookups of one network in a period. What has names is known for hours, so all of a crawler's are after one; what has none costs its
/// network this.
const LOOKUPS_OF_NETWORK: u32 = 32;
/// Counted beside what visitors use.
const LOOKUPS: &str = "lookups";

/// What all sites and shards share.
#[derive(Debug)]
pub(crate) struct Lanes {
    known: Mutex<Known>,
    /// By [`Queue`].
    due: [mpsc::Sender<IpAddr>; 2],
    /// Until the shard that asks has them.
    due_ends: Mutex<[Option<mpsc::Receiver<IpAddr>>; 2]>,
    meter: Meter,
    /// Nobody can tell who shares cells.
    secret: RandomState,
    verified: AtomicU64,
    refuted: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// A request of a visitor who is the one it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    account: Account,
    /// [`Class::Unknown`] when it has nothing left.
    class: Class,
}

/// On whose the origin is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    of_network: u64,
    in_all: u64,
}

impl Visit {
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }
}

/// Counts alone: of no address, and of no visitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LaneStats {
    /// Addresses of visitors who have shown who they are, now.
    pub visitors_known: u64,
    /// Lookups since the start: it is who it says or another of them, it is nobody, the resolver did not answer.
    pub lookups_verified: u64,
    pub lookups_refuted: u64,
    pub lookups_failed: u64,
    /// Not made: too many were waiting, or of the same network.
    pub lookups_dropped: u64,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let [(strangers, strangers_end), (visitors, visitors_end)] =
            Queue::ALL.map(|queue| mpsc::channel(queue.waiting_max()));
        Self {
            known: Mutex::default(),
            due: [strangers, visitors],
            due_ends: Mutex::new([Some(strangers_end), Some(visitors_end)]),
            meter: Meter::new(PERIOD_S),
            secret: RandomState::new(),
            verified: AtomicU64::new(0),
            refuted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// `None`: whoever sends this agent from there names nobody, or is not known to be the one. `asks`: for the names of addresses.
    pub(crate) fn visit(
        &self,
        (told_of, asks): (&[LanePlan], bool),
        site: SiteMark,
        (address, agent): (IpAddr, Option<&[u8]>),
        now: UnixMillis,
    ) -> Option<Visit> {
        let agent = agent?;
        let name = match told(told_of, address, agent) {
            Some(lane) => lane.agent.as_str(),
            None => {
                let named = visitors::named(agent)?;
                let is_proven = asks
                    && VISITORS[named].can_be_proven()
                    && self.proven(address, now) == Some(named);
                is_proven.then(|| VISITORS[named].name)?
            }
        };
        Some(self.of((&OF_VISITORS, name), site, address, now))
    }

    /// A request of a program of the newsroom's own.
    pub(crate) fn own(
        &self,
        program: Program,
        site: SiteMark,
        address: IpAddr,
        now: UnixMillis,
    ) -> Visit {
        self.of((program.means(), ""), site, address, now)
    }

    fn of(
        &self,
        (means, name): (&Means, &str),
        site: SiteMark,
        address: IpAddr,
        now: UnixMillis,
    ) -> Visit {
        let whose = (means.name, name, site);
        let network = Group::of(address).bits();
        let account = Account {
            of_network: self.secret.hash_one((whose, network)),
            in_all: self.secret.hash_one(whose),
        };
        let is_within = means
            .of_network
            .covers(self.meter.used(account.of_network, now))
            && means.in_all.covers(self.meter.used(account.in_all, now));
        let class = if is_within {
            means.class
        } else {
            Class::Unknown
        };
        Visit { account, class }
    }

    /// Whose address this is. Where that is not known it is asked for, and known some time later.
    fn proven(&self, address: IpAddr, now: UnixMillis) -> Option<visitors::VisitorId> {
        let mut known = self.known();
        let standing = known.standing(address, now);
        if standing.is_due && !self.ask(&mut known, address, now) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        standing.proven
    }

    fn ask(&self, known: &mut Known, address: IpAddr, now: UnixMillis) -> bool {
        let network = self.secret.hash_one((LOOKUPS, Group::of(address).bits()));
        let queue = if known.is_among_visitors(address, now) {
            Queue::Visitors
        } else {
            Queue::Strangers
        };
        let is_asked_for = self.meter.used(network, now).uses < LOOKUPS_OF_NETWORK
            && self.due[queue as usize].try_send(address).is_ok();
        if is_asked_for {
            known.wait(address);
            self.meter.note_use(network, now);
        }
        is_asked_for
    }

    /// The origin is asked on behalf of this visitor.
    pub(crate) fn note_use(&self, account: &Account, now: UnixMillis) {
        self.meter.note_use(account.of_network, now);
        self.meter.note_use(account.in_all, now);
    }

    /// ... and was at it for so long.
    pub(crate) fn note_ms(&self, account: &Account, origin_ms: u64, now: UnixMillis) {
        self.meter.note_ms(account.of_network, origin_ms, now);
        self.meter.note_ms(account.in_all, origin_ms, now);
    }

    /// What was found out about an address.
    fn note(&self, address: IpAddr, found: Found, now: UnixMillis) {
        let count = match found {
            Found::Visitor(_) => &self.verified,
            Found::Nobody => &self.refuted,
            Found::Nothing => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.known().note(address, found, now);
    }

    /// What is due, for the one who asks.
    fn take_due(&self, queue: Queue) -> Option<mpsc::Receiver<IpAddr>> {
        let mut ends = self.due_ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends[queue as usize].take()
    }

    pub(crate) fn stats(&self) -> LaneStats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LaneStats {
            visitors_known: self.known().proven() as u64,
            lookups_verified: count(&self.verified),
            lookups_refuted: count(&self.refuted),
            lookups_failed: count(&self.failed),
            lookups_dropped: count(&self.dropped),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one step: a panic elsewhere in the process leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operator said so.
fn told<'a>(lanes: &'a [LanePlan], address: IpAddr, agent: &[u8]) -> Option<&'a LanePlan> {
    lanes
        .iter()
        .find(|lane| visitors::names(agent, &lane.agent) && lane.networks.contains(address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Networks;

    const NOW: UnixMillis = UnixMillis(1_795_000_200_000);
    const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1)";
    const SITE: &str = "newsroom";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ours() -> Vec<LanePlan> {
        vec![LanePlan {
            agent: "OurProbe".to_owned(),
            networks: Networks(vec!["203.0.113.0/28".parse().unwrap()]),
        }]
    }

    fn visit(lanes: &Lanes, from: &str, agent: &str, now: UnixMillis) -> Option<Visit> {
        let whom = (address(from), Some(agent.as_bytes()));
        lanes.visit((&ours(), true), SiteMark::of(SITE), whom, now)
    }

    fn class(lanes: &Lanes, from: &str, agent: &str) -> Option<Class> {
        visit(lanes, from, agent, NOW).map(|visit| visit.class())
    }

    /// As the shard that looks up does. Gives how many were due.
    fn look_up(lanes: &Lanes, due: &mut mpsc::Receiver<IpAddr>, found: Found) -> usize {
        let mut looked_up = 0;
        while let Ok(address) = due.try_recv() {
            lanes.note(address, found, NOW);
            looked_up += 1;
        }
        looked_up
    }

    #[test]
    fn who_is_a_visitor() {
        let lanes = Lanes::new();
        let mut due = lanes.take_due(Queue::Strangers).unwrap();
        let (googlebot, bingbot) = ("66.249.66.1", "157.55.39.1");
        for (from, name) in [(googlebot, "Googlebot"), (bingbot, "bingbot")] {
            assert_eq!(class(&lanes, from, name), None, "not known yet");
            let found = Found::Visitor(visitors::named(name.as_bytes()).unwrap());
            assert_eq!(look_up(&lanes, &mut due, found), 1);
        }
        let table = [
            (googlebot, GOOGLEBOT, Some(Class::Lane)),
            // Another's name, a reader's, and one of whom nothing can be known.
            (bingbot, GOOGLEBOT, None),
            (googlebot, "Mozilla/5.0 (X11) Firefox/140.0", None),
            (googlebot, "TelegramBot (like TwitterBot)", None),
            ("203.0.113.15", "ourprobe/1", Some(Class::Lane)),
            ("203.0.113.16", "ourprobe/1", None),
            ("203.0.113.15", GOOGLEBOT, None),
        ];
        for (from, agent, expected) in table {
            assert_eq!(class(&lanes, from, agent), expected, "{from} {agent}");
        }
        // Only one of these was to be asked for.
        assert_eq!(look_up(&lanes, &mut due, Found::Nobody), 1);
        let off = lanes.visit(
            (&[], false),
            SiteMark::of(SITE),
            (address("192.0.2.1"), Some(GOOGLEBOT.as_bytes())),
            NOW,
        );
        assert_eq!((off, look_up(&lanes, &mut due, Found::Nobody)), (None, 0));
    }

    #[test]
    fn what_is_used_up_is_of_one_network_one_visitor_one_site_and_ten_minutes() {
        let lanes = Lanes::new();
        let spent = visit(&lanes, "203.0.113.1", "OurProbe", NOW)
            .unwrap()
            .account;
        for _ in 0..OF_NETWORK.uses {
            assert_eq!(class(&lanes, "203.0.113.2", "OurProbe"), Some(Class::Lane));
            lanes.note_use(&spent, NOW);
        }
        assert_eq!(
            class(&lanes, "203.0.113.2", "OurProbe"),
            Some(Class::Unknown)
        );
        let elsewhere = lanes.visit(
            (&ours(), true),
            SiteMark::of("another"),
            (address("203.0.113.2"), Some(b"OurProbe")),
            NOW,
        );
        assert_eq!(elsewhere.map(|visit| visit.class()), Some(Class::Lane));
        let later = NOW.plus(Duration::from_secs(PERIOD_S.into()));
        let later = visit(&lanes, "203.0.113.2", "OurProbe", later).unwrap();
        assert_eq!(later.class(), Class::Lane);

        let lanes = Lanes::new();
        let slow = visit(&lanes, "203.0.113.1", "OurProbe", NOW)
            .unwrap()
            .account;
        lanes.note_ms(&slow, OF_NETWORK.origin_ms, NOW);
        assert_eq!(
            class(&lanes, "203.0.113.2", "OurProbe"),
            Some(Class::Unknown)
        );
    }

    #[test]
    fn from_however_many_networks_a_visitor_has_one_meter() {
        let lanes = Lanes::new();
        let mut due = lanes.take_due(Queue::Strangers).unwrap();
        let from = |network: u32| format!("66.249.{network}.1");
        for network in 0..10 {
            class(&lanes, &from(network), GOOGLEBOT);
        }
        assert_eq!(look_up(&lanes, &mut due, Found::Visitor(0)), 10);
        let mut uses = 0;
        'all: for network in 0..10 {
            for _ in 0..OF_NETWORK.uses {
                let visit = visit(&lanes, &from(network), GOOGLEBOT, NOW).unwrap();
                if visit.class() != Class::Lane {
                    break 'all;
                }
                lanes.note_use(&visit.account, NOW);
                uses += 1;
            }
        }
        assert_eq!(uses, OF_VISITOR.uses);
        assert_eq!(class(&lanes, &from(9), GOOGLEBOT), Some(Class::Unknown));
    }

    #[test]
    fn more_than_may_wait_are_not_asked_for() {
        let lanes = Lanes::new();
        let mut due = lanes.take_due(Queue::Strangers).unwrap();
        for network in 0..=255 {
            for host in 0..2 {
                class(&lanes, &format!("10.0.{network}.{host}"), GOOGLEBOT);
            }
        }
        assert_eq!(lanes.stats().lookups_dropped, 256);
        // ... but those beside one who is proven, who do not wait behind them.
        let mut visitors_due = lanes.take_due(Queue::Visitors).unwrap();
        lanes.note(address("66.249.66.1"), Found::Visitor(0), NOW);
        assert_eq!(class(&lanes, "66.249.66.2", GOOGLEBOT), None);
        assert_eq!(lanes.stats().lookups_dropped, 256);
        let found = Found::Visitor(0);
        assert_eq!(look_up(&lanes, &mut visitors_due, found), 1);
        assert_eq!(class(&lanes, "66.249.66.2", GOOGLEBOT), Some(Class::Lane));
        assert_eq!(look_up(&lanes, &mut due, Found::Nobody), 256);
        // Of one network so many in ten minutes.
        for host in 0..=255 {
            class(&lanes, &format!("10.1.1.{host}"), GOOGLEBOT);
        }
        let asked = look_up(&lanes, &mut due, Found::Nobody);
        assert_eq!(asked, LOOKUPS_OF_NETWORK as usize);
    }
}
