//! Where everybody in a drill comes from: readers and attackers out of the same networks.
//!
//! The attacks we know came at 0.03 to 6 requests a second from each of thousands of addresses, many of them behind the same
//! carriers as the readers. A drill whose attackers sat in networks of their own would be won by a rule nobody can use. So both
//! draw from one list of /24s, in the same proportion, and some readers have an address that is also a bot's.
//!
//! All of 127.0.0.0/8 is this machine, so every address here can be bound without privileges. 127.0.0.0/16 belongs to the
//! servers, 127.1.0.0/24 to the newsroom's staff. Addresses are computed, not kept: 100,000 of them cost 130 KB of shuffled networks.

use std::net::Ipv4Addr;

use crate::chance::{Chance, digest};

/// For the settings of the edge in a drill: clients from here are staff. 254 of them.
pub const STAFF_NETWORK: &str = "127.1.0.0/24";

/// 127.2.0 to 127.255.255.
const NETWORKS_MAX: usize = 254 * 256;
/// The network's own address and the last one stay unused, as out there.
const HOSTS: usize = 254;
/// The attack on the Somali Journalists Syndicate in 2023 came from 262 networks.
const NETWORKS_USUAL: usize = 262;
/// At most this part of a /24 is in use unless more is asked for, so that an address says little about its neighbours.
const HOSTS_USUAL: usize = 200;
/// One reader in twenty shares an address with a bot: a carrier's address translation, an infected laptop in the same home.
const SHARED_PART: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    pub readers: usize,
    pub attackers: usize,
    /// Attackers whose address is also a reader's.
    pub shared: usize,
    /// How many /24s all of them live in.
    pub networks: usize,
}

impl Population {
    pub fn new(readers: usize, attackers: usize) -> Self {
        let shared = (readers / SHARED_PART).min(attackers);
        let addresses = readers + attackers - shared;
        // No more networks than readers, so that every network has both.
        let networks = addresses
            .div_ceil(HOSTS_USUAL)
            .max(NETWORKS_USUAL.min(readers.max(1)));
        Self {
            readers,
            attackers,
            shared,
            networks,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error("{wanted} addresses do not fit into {networks} networks of {HOSTS}")]
    Addresses { wanted: usize, networks: usize },
    #[error("{wanted} networks: 1 to {NETWORKS_MAX} are there")]
    Networks { wanted: usize },
    #[error("{shared} addresses cannot be shared by {readers} readers and {attackers} attackers")]
    Shared {
        shared: usize,
        readers: usize,
        attackers: usize,
    },
}

#[derive(Debug, Clone)]
pub struct Addresses {
    seed: u64,
    population: Population,
    /// The middle two bytes of each network.
    networks: Vec<[u8; 2]>,
}

impl Addresses {
    pub fn new(seed: u64, population: Population) -> Result<Self, NoRoom> {
        let Population {
            readers,
            attackers,
            shared,
            networks,
        } = population;
        if networks == 0 || networks > NETWORKS_MAX {
            return Err(NoRoom::Networks { wanted: networks });
        }
        if shared > readers.min(attackers) {
            return Err(NoRoom::Shared {
                shared,
                readers,
                attackers,
            });
        }
        if readers.div_ceil(networks) + (attackers - shared).div_ceil(networks) > HOSTS {
            return Err(NoRoom::Addresses {
                wanted: readers + attackers - shared,
                networks,
            });
        }
        let mut all: Vec<[u8; 2]> = (2..=255)
            .flat_map(|second| (0..=255).map(move |third| [second, third]))
            .collect();
        Chance::stream(seed, "networks").shuffle(&mut all);
        all.truncate(networks);
        Ok(Self {
            seed,
            population,
            networks: all,
        })
    }

    pub fn population(&self) -> Population {
        self.population
    }

    /// Addresses are used in turn: reader `n` and reader `n + readers` are the same.
    pub fn reader(&self, n: usize) -> Ipv4Addr {
        let n = n % self.population.readers.max(1);
        self.address(n % self.networks.len(), n / self.networks.len())
    }

    pub fn attacker(&self, n: usize) -> Ipv4Addr {
        let Population {
            readers,
            attackers,
            shared,
            ..
        } = self.population;
        let n = n % attackers.max(1);
        if n < shared {
            return self.reader(n * (readers / shared));
        }
        let (n, networks) = (n - shared, self.networks.len());
        self.address(n % networks, readers.div_ceil(networks) + n / networks)
    }

    /// From [`STAFF_NETWORK`].
    pub fn staff(&self, n: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 1, 0, (n % HOSTS + 1) as u8)
    }

    /// Every network has its own order of hosts, so that low numbers are not the readers'. 254 = 2 × 127, so an odd factor that
    /// is not 127 reaches every host once.
    fn address(&self, network: usize, slot: usize) -> Ipv4Addr {
        let [second, third] = self.networks[network];
        let order = digest(self.seed, &[&[second, third]]);
        let factor = match (order as usize % HOSTS) | 1 {
            127 => 1,
            factor => factor,
        };
        let host = (slot * factor + (order >> 32) as usize % HOSTS) % HOSTS + 1;
        Ipv4Addr::new(127, second, third, host as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn network(address: Ipv4Addr) -> [u8; 3] {
        let [first, second, third, _] = address.octets();
        [first, second, third]
    }

    fn lists(addresses: &Addresses) -> (HashSet<Ipv4Addr>, HashSet<Ipv4Addr>) {
        let population = addresses.population();
        (
            (0..population.readers)
                .map(|n| addresses.reader(n))
                .collect(),
            (0..population.attackers)
                .map(|n| addresses.attacker(n))
                .collect(),
        )
    }

    #[test]
    fn readers_and_attackers_live_in_the_same_networks() {
        for (readers, attackers) in [
            (2_000, 6_300),
            (2_000, 20_000),
            (2_000, 60_000),
            (5_000, 100_000),
        ] {
            let population = Population::new(readers, attackers);
            let addresses = Addresses::new(1, population).unwrap();
            let (ours, theirs) = lists(&addresses);
            assert_eq!(ours.len(), readers);
            assert_eq!(theirs.len(), attackers);
            assert_eq!(ours.intersection(&theirs).count(), readers / SHARED_PART);
            let networks = |list: &HashSet<Ipv4Addr>| {
                list.iter()
                    .map(|&address| network(address))
                    .collect::<HashSet<_>>()
            };
            assert_eq!(
                networks(&ours),
                networks(&theirs),
                "{readers} readers, {attackers} attackers"
            );
            assert_eq!(networks(&ours).len(), population.networks);
        }
    }

    #[test]
    fn the_last_byte_tells_nothing() {
        let addresses = Addresses::new(1, Population::new(5_000, 100_000)).unwrap();
        let (ours, theirs) = lists(&addresses);
        let mean = |list: &HashSet<Ipv4Addr>| {
            list.iter()
                .map(|address| f64::from(address.octets()[3]))
                .sum::<f64>()
                / list.len() as f64
        };
        assert!(
            (mean(&ours) - mean(&theirs)).abs() < 5.0,
            "{} {}",
            mean(&ours),
            mean(&theirs)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let population = Population {
            readers: 100,
            attackers: 200,
            shared: 10,
            networks: 1,
        };
        let fits = |population| Addresses::new(1, population).map(|_| ());
        let table = [
            (
                population,
                Err(NoRoom::Addresses {
                    wanted: 290,
                    networks: 1,
                }),
            ),
            (
                Population {
                    networks: 2,
                    ..population
                },
                Ok(()),
            ),
            (
                Population {
                    networks: 0,
                    ..population
                },
                Err(NoRoom::Networks { wanted: 0 }),
            ),
            (
                Population {
                    networks: NETWORKS_MAX + 1,
                    ..population
                },
                Err(NoRoom::Networks {
                    wanted: NETWORKS_MAX + 1,
                }),
            ),
            (
                Population {
                    shared: 101,
                    networks: 9,
                    ..population
                },
                Err(NoRoom::Shared {
                    shared: 101,
                    readers: 100,
                    attackers: 200,
                }),
            ),
            (
                Population {
                    readers: 0,
                    attackers: 0,
                    shared: 0,
                    networks: 1,
                },
                Ok(()),
            ),
        ];
        for (population, expected) in table {
            assert_eq!(fits(population), expected, "{population:?}");
        }
    }

    #[test]
    fn staff_have_a_network_of_their_own() {
        let staff: ipnet::Ipv4Net = STAFF_NETWORK.parse().unwrap();
        let addresses = Addresses::new(1, Population::new(5_000, 100_000)).unwrap();
        let (ours, theirs) = lists(&addresses);
        assert!((0..300).all(|n| staff.contains(&addresses.staff(n))));
        assert!(
            !ours
                .iter()
                .chain(&theirs)
                .any(|address| staff.contains(address))
        );
    }

    proptest::proptest! {
        #[test]
        fn every_address_is_loopback_and_no_servers(
            seed: u64, readers in 1usize..4_000, attackers in 0usize..8_000, n in 0usize..20_000,
        ) {
            let addresses = Addresses::new(seed, Population::new(readers, attackers)).unwrap();
            for address in [addresses.reader(n), addresses.attacker(n), addresses.staff(n)] {
                let [first, second, _, last] = address.octets();
                proptest::prop_assert!(first == 127 && second != 0 && last != 0 && last != 255, "{}", address);
            }
            proptest::prop_assert_eq!(addresses.reader(n), addresses.reader(n % readers));
        }
    }
}
