//! Who behaves as readers do: whoever fetched a page and then, soon, what that page is made of.
//!
//! A browser does it by itself and a flood does not bother, since a style sheet costs its target nothing. So rules that hit such
//! clients are refused. It is a hint and no proof: whoever knows of it can do it too, and gains that no rule speaks of him; admission
//! still does.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::watch::Role;

/// Clients remembered. Under more at once the oldest of a set makes room; one forgotten is one hint less.
const SETS: usize = 4_096;
const WAYS: usize = 4;
/// A page's parts are fetched within this of the page.
const TOGETHER_S: u64 = 30;
/// Behaving like a reader is remembered for this long.
const REMEMBERED_S: u64 = 3_600;
/// Parts of a page before a client is believed.
const PARTS_MIN: u8 = 2;

/// 300 KB. All shards share it, for a browser's connections need not come to the same one.
#[derive(Debug)]
pub struct Trust {
    sets: Box<[Mutex<[Client; WAYS]>]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    /// Hash of the address; 0: nobody.
    name: u32,
    parts: u8,
    /// When it last asked for a page, and for a part of one in time.
    page_s: u32,
    part_s: u32,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Trust {
    /// Notes a request. Does its client behave like a reader?
    pub fn note(&self, now_s: u64, source: IpAddr, role: Role) -> bool {
        let mut hasher = foldhash::quality::FixedState::with_seed(0x7472_7573).build_hasher();
        match source.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        let hash = hasher.finish();
        let name = ((hash >> 32) as u32).max(1);
        // Seconds since 1970 fit until 2106.
        let now = now_s as u32;
        let mut set = self.sets[hash as usize % SETS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let client = match set.iter().position(|client| client.name == name) {
            Some(place) => &mut set[place],
            None => {
                let Some(place) = set
                    .iter_mut()
                    .min_by_key(|client| client.page_s.max(client.part_s))
                else {
                    return false;
                };
                *place = Client {
                    name,
                    ..Client::default()
                };
                place
            }
        };
        match role {
            Role::Part => {
                if client.page_s > 0 && u64::from(now.saturating_sub(client.page_s)) <= TOGETHER_S {
                    client.parts = client.parts.saturating_add(1).min(PARTS_MIN);
                    client.part_s = now;
                }
            }
            Role::Page => client.page_s = now,
            Role::Unknown => {}
        }
        client.parts >= PARTS_MIN && u64::from(now.saturating_sub(client.part_s)) <= REMEMBERED_S
    }
}
