//! Those whom a shield stops by mistake: programs that read for people, and people who look like somebody else.
//!
//! Feed readers and crawlers come with the fields of a library, a link preview with next to none, all readers of Tor Browser with the
//! same from a few addresses, a carrier's customers from addresses that are a bot's as well, a phone between two networks from
//! another address each time. Each group reads at the same rate, so that a share can be said of each.

use std::net::Ipv4Addr;

use super::heads::Person;
use crate::addresses::Addresses;

/// Where a group's members come from.
#[derive(Debug, Clone, Copy)]
enum From {
    /// So many addresses of their own, used in turn.
    Few(usize),
    /// An address of its own for each of many.
    Each,
    /// Addresses that are bots' as well.
    Bots(usize),
}

/// What a group asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Articles,
    Feeds,
}

struct Group {
    name: &'static str,
    /// Its members' clients, used in turn; empty: what readers have.
    clients: &'static [&'static str],
    from: From,
    wants: Wants,
}

const fn program(name: &'static str, clients: &'static [&'static str]) -> Group {
    Group {
        name,
        clients,
        from: From::Few(4),
        wants: Wants::Articles,
    }
}

const GROUPS: [Group; 14] = [
    Group {
        wants: Wants::Feeds,
        ..program("feeds", &["feedly", "netnewswire", "freshrss"])
    },
    program("googlebot", &["googlebot"]),
    program("yandexbot", &["yandexbot"]),
    program("bingbot", &["bingbot"]),
    program("archive-org", &["archive-org"]),
    program("telegram-preview", &["telegram-preview"]),
    program("facebook-preview", &["facebook-preview"]),
    // The outlet's own, for its readers' phones.
    Group {
        from: From::Each,
        ..program("app", &["okhttp"])
    },
    Group {
        from: From::Each,
        ..program("text", &["lynx", "w3m"])
    },
    // Everybody of Tor Browser looks the same, on purpose, and comes through an exit.
    Group {
        from: From::Few(8),
        ..program("tor", &["tor-browser"])
    },
    Group {
        from: From::Each,
        ..program(
            "in-app",
            &["telegram-android", "instagram-ios", "facebook-android"],
        )
    },
    // Many behind one address of a carrier.
    Group {
        from: From::Few(2),
        ..program("shared-address", &[])
    },
    Group {
        from: From::Bots(200),
        ..program("bots-address", &[])
    },
    // Another address for each page: IPv4 and IPv6, or Wi-Fi and the carrier.
    Group {
        from: From::Each,
        ..program("moving-address", &["safari-ios"])
    },
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.name)
}

pub(super) fn wants(group: usize) -> Wants {
    GROUPS[group].wants
}

/// The `n`th request of a group: who sends it, and from where.
pub(super) fn member(
    seed: u64,
    addresses: &Addresses,
    group: usize,
    n: usize,
) -> (Person, Ipv4Addr) {
    let Group { clients, from, .. } = &GROUPS[group];
    // Far from each other, and from those of the other readers.
    let number = (group + 1) * 100_000 + n;
    let person = match clients.get(n % clients.len().max(1)) {
        Some(client) => Person::with_client(seed, number, client),
        None => Person::reader(seed, number),
    };
    let address = match from {
        From::Few(few) => addresses.reader(group * 100 + n % few),
        From::Each => addresses.reader(number),
        From::Bots(many) => addresses.attacker(n % many),
    };
    (person, address)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::addresses::Population;

    #[test]
    fn each_group_is_whom_it_says() {
        let addresses = Addresses::new(1, Population::new(4_000, 6_300)).unwrap();
        let bots: HashSet<Ipv4Addr> = (0..6_300).map(|n| addresses.attacker(n)).collect();
        for (group, name) in names().enumerate() {
            let members: Vec<_> = (0..1_000)
                .map(|n| member(1, &addresses, group, n))
                .collect();
            let from: HashSet<Ipv4Addr> = members.iter().map(|(_, from)| *from).collect();
            let expected = match GROUPS[group].from {
                From::Few(few) => few,
                From::Each => 1_000,
                From::Bots(many) => many,
            };
            assert_eq!(from.len(), expected, "{name}");
            if name == "bots-address" {
                assert!(from.is_subset(&bots));
            }
            let clients: HashSet<&str> = members
                .iter()
                .map(|(person, _)| person.client_name())
                .collect();
            match GROUPS[group].clients {
                [] => assert!(clients.len() > 10, "{name}"),
                of => assert_eq!(clients, of.iter().copied().collect(), "{name}"),
            }
        }
    }
}
