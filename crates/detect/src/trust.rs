//! Who is known: whoever behaves as readers do, has read here before, or holds a pass.
//!
//! A browser fetches a page and then, soon, what that page is made of. It does so by itself, and a flood does not bother, since a style
//! sheet costs its target nothing. It is a hint and no proof: whoever knows of it can do it too, and gains that no new rule speaks of
//! him; admission still does. What *withdraws* a rule that stands counts only who was known before the attack began
//! ([`Known::since_s`]), or the attack would vote its rules away.
//!
//! A [`Visitor`] is an address and the program there: behind one address of a mobile carrier there are readers and, with bad luck, a bot.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::look::Field;
use crate::watch::Role;

/// Visitors remembered. Under more at once the oldest of a set makes room; one forgotten is one hint less.
const SETS: usize = 4_096;
const WAYS: usize = 4;
/// A page's parts are fetched within this of the page.
const TOGETHER_S: u64 = 30;
/// Behaving like a reader is remembered for this long.
const REMEMBERED_S: u64 = 3_600;
/// Parts of a page before a visitor is believed.
const PARTS_MIN: u8 = 2;

/// Since when a request's client is known, and what it has in common with others that became so in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub since_s: u64,
    /// Of a pass; those of one cohort have few votes between them.
    pub cohort: Option<u32>,
}

impl Known {
    /// Whichever is older.
    fn or(self, other: Option<Self>) -> Self {
        other
            .filter(|other| other.since_s < self.since_s)
            .unwrap_or(self)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Visitor {
    pub source: IpAddr,
    name: u64,
}

impl Visitor {
    pub fn new(source: IpAddr, agent: Field<'_>) -> Self {
        let mut hasher = foldhash::quality::FixedState::with_seed(0x7472_7573).build_hasher();
        match source.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        if let Field::Is(agent) = agent {
            hasher.write(agent);
        }
        Self {
            source,
            name: hasher.finish(),
        }
    }
}

/// 400 KB. All shards share it, for a browser's connections need not come to the same one.
#[derive(Debug)]
pub struct Trust {
    sets: Box<[Mutex<[Client; WAYS]>]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    /// Hash of the visitor; 0: nobody.
    name: u32,
    parts: u8,
    /// When it last asked for a page, and for a part of one in time.
    page_s: u32,
    part_s: u32,
    /// When it was first believed.
    since_s: u32,
}

impl Client {
    fn note(&mut self, now: u32, role: Role) {
        let within = |before: u32, most_s: u64| u64::from(now.saturating_sub(before)) <= most_s;
        match role {
            Role::Part if self.page_s > 0 && within(self.page_s, TOGETHER_S) => {
                if !within(self.part_s, REMEMBERED_S) {
                    self.parts = 0;
                }
                self.part_s = now;
                if self.parts < PARTS_MIN {
                    self.parts += 1;
                    self.since_s = now;
                }
            }
            Role::Page => self.page_s = now,
            Role::Part | Role::Unknown => {}
        }
    }

    fn is_believed(&self, now: u32) -> bool {
        self.parts >= PARTS_MIN && u64::from(now.saturating_sub(self.part_s)) <= REMEMBERED_S
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Trust {
    /// Notes a request. `told`: what is known of its client from elsewhere.
    pub fn note(
        &self,
        now_s: u64,
        visitor: Visitor,
        role: Role,
        told: Option<Known>,
    ) -> Option<Known> {
        let name = ((visitor.name >> 32) as u32).max(1);
        // Seconds since 1970 fit until 2106.
        let now = now_s as u32;
        let mut set = self.sets[visitor.name as usize % SETS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let place = set
            .iter()
            .position(|client| client.name == name)
            .or_else(|| {
                let oldest = |place: &usize| set[*place].page_s.max(set[*place].part_s);
                let place = (0..WAYS).min_by_key(oldest)?;
                set[place] = Client {
                    name,
                    ..Client::default()
                };
                Some(place)
            });
        let Some(client) = place.and_then(|place| set.get_mut(place)) else {
            return told;
        };
        client.note(now, role);
        if !client.is_believed(now) {
            return told;
        }
        let seen = Known {
            since_s: u64::from(client.since_s),
            cohort: None,
        };
        Some(seen.or(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fetches_what_a_page_is_made_of_is_known() {
        use Role::{Page, Part, Unknown};
        let reader = Visitor::new(IpAddr::from([10, 0, 0, 1]), Field::Is(b"browser"));
        let bot = Visitor::new(reader.source, Field::Is(b"python"));
        let later = REMEMBERED_S + 100;
        // When, who, what; since when it is known then.
        let table = [
            (100, reader, Part, None),
            (101, reader, Page, None),
            (102, reader, Part, None),
            (102, reader, Unknown, None),
            (102, bot, Part, None),
            (103, reader, Part, Some(103)),
            (104, bot, Page, None),
            (150, reader, Page, Some(103)),
            (151, reader, Part, Some(103)),
            (200, reader, Part, Some(103)),
            // Nobody comes for an hour: known anew.
            (later + 200, reader, Page, None),
            (later + 201, reader, Part, None),
            (later + 202, reader, Part, Some(later + 202)),
        ];
        let trust = Trust::default();
        for (now_s, who, role, since) in table {
            let known = trust.note(now_s, who, role, None);
            assert_eq!(known.map(|known| known.since_s), since, "{now_s} {role:?}");
        }
    }

    #[test]
    fn what_is_told_counts_and_the_older_of_both() {
        let trust = Trust::default();
        let reader = Visitor::new(IpAddr::from([10, 0, 0, 1]), Field::Absent);
        let told = |since_s| {
            Some(Known {
                since_s,
                cohort: Some(7),
            })
        };
        assert_eq!(trust.note(100, reader, Role::Page, told(50)), told(50));
        trust.note(101, reader, Role::Part, None);
        trust.note(101, reader, Role::Part, None);
        assert_eq!(trust.note(102, reader, Role::Page, told(50)), told(50));
        let seen = Known {
            since_s: 101,
            cohort: None,
        };
        assert_eq!(trust.note(102, reader, Role::Page, told(102)), Some(seen));
        assert_eq!(trust.note(102, reader, Role::Page, None), Some(seen));
    }
}
