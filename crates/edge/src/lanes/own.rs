//! Programs of the newsroom's own, which sign in nowhere: its application, and its server asking itself for work.
//!
//! *The application* sends a key that the operator has put into it, in a field of ours ([`FIELD`]). It cannot show a page that says to wait, and
//! to a rule its readers look like one another. A key that lies in every copy is soon anybody's, so it says little: a share of the
//! origin in the lane of visitors, metered by the network it comes from, and nothing beyond that.
//!
//! *The server*: WordPress publishes what is due when somebody asks for `/wp-cron.php`; so it asks itself, by the site's public name, with
//! no cookie. That this comes through is publishing. It is staff where it comes from the site's own server, for
//! as often as WordPress does it. Anybody may ask for that path, and each time costs the origin a whole start of WordPress, so everybody
//! else waits last ([`crate::asked::place_in_line`]).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use saqta_detect::facts::Class;
use sha2::{Digest, Sha256};

use super::Means;
use crate::fields::Fields;
use crate::ladder::{self, Allowance};
use crate::plan::Site;

/// What the application says its key in. No origin hears of it.
pub(crate) const FIELD: &str = "saqta-app";

/// An application for each of two kinds of telephone, each with the key before the last.
pub const APP_KEYS_MAX: usize = 8;
/// Shorter ones can be tried out; longer ones are a mistake.
pub const APP_KEY_BYTES: RangeInclusive<usize> = 16..=128;
/// Of a new one: 32 letters, digits and signs.
const NEW_KEY_BYTES: usize = 24;

/// From one network: of a mobile carrier's readers eight at a time who read as much as a pass allows.
const OF_APP: Means = Means {
    name: "the application",
    class: Class::Lane,
    of_network: Allowance {
        uses: 240,
        origin_ms: 120_000,
    },
    // However many have the key, a share of the lane is all they get; a bound for all would let anybody who has it use up everybody's.
    in_all: Allowance::ANY,
};

/// WordPress asks itself once a minute at most, each site of several for itself; six of them. The work itself may take a place at the
/// origin all the time, as some old servers answer only when it is done.
const OF_SERVER: Means = Means {
    name: "the server",
    class: Class::Staff,
    of_network: Allowance::ANY,
    in_all: Allowance {
        uses: 60,
        origin_ms: 600_000,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    App,
    Server,
}

impl Program {
    pub(super) fn means(self) -> &'static Means {
        match self {
            Self::App => &OF_APP,
            Self::Server => &OF_SERVER,
        }
    }

    /// `None`: a request of none. `is_forwarded`: something in front of us has sent it on whose word about its client is not taken.
    pub(crate) fn of<F: Fields + ?Sized>(
        site: &Site,
        (path, fields): (&str, &F),
        (address, is_forwarded): (IpAddr, bool),
    ) -> Option<Self> {
        if site.profile.is_cron(path) && !is_forwarded && is_its_server(site, address) {
            return Some(Self::Server);
        }
        let is_app = !site.app_keys.is_empty()
            && fields
                .field(FIELD)
                .is_some_and(|shown| site.app_keys.have(shown));
        is_app.then_some(Self::App)
    }
}

/// Where a site's own server asks from: the address that the plan has for it, or where its purges come from. One that lives on
/// this machine asks from any address of it, for that is how a machine calls itself by its public name. Behind a proxy that says nothing of its
/// clients everybody is here, and may use up what the server has; then it waits with all others.
fn is_its_server(site: &Site, address: IpAddr) -> bool {
    if site.purge.from.contains(address) {
        return true;
    }
    site.origin.address().is_some_and(|origin| {
        origin == address || is_this_machines(address) && is_this_machines(origin)
    })
}

/// Only an address of the machine's own can be bound. Asked of the kernel each time, as addresses come and go; it costs microseconds, for a request
/// that is to start WordPress.
fn is_this_machines(address: IpAddr) -> bool {
    let names_one = match address {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && address != Ipv4Addr::BROADCAST
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    };
    names_one && UdpSocket::bind((address, 0)).is_ok()
}

/// The keys a site's application may show: hashes, which are compared instead of the keys, so that no time tells how much of one was right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppKeys(Vec<[u8; 32]>);

impl AppKeys {
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let hashes = keys.into_iter().map(|key| Sha256::digest(key).into());
        Self(hashes.take(APP_KEYS_MAX).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn have(&self, shown: &[u8]) -> bool {
        if !APP_KEY_BYTES.contains(&shown.len()) {
            return false;
        }
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.contains(&shown)
    }
}

/// A key that nobody has yet.
pub fn new_app_key() -> String {
    let mut bytes = [0; NEW_KEY_BYTES];
    ladder::fill(&mut bytes);
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Networks;
    use crate::profile::{Profile, System};

    const KEY: &str = "0123456789abcdef";

    fn site(origin: &str) -> Site {
        let mut site = crate::plan::tests::site(origin);
        site.profile = Profile::of(System::WordPress);
        site
    }

    fn program(site: &Site, from: &str, path: &str, key: Option<&str>) -> Option<Program> {
        let mut fields = http::HeaderMap::new();
        if let Some(key) = key {
            fields.insert(FIELD, key.parse().unwrap());
        }
        Program::of(site, (path, &fields), (from.parse().unwrap(), false))
    }

    #[test]
    fn a_key_is_the_whole_of_one_of_the_sites_own() {
        let mut site = site("192.0.2.1:80");
        let shows = |site: &Site, key| program(site, "203.0.113.1", "/", key).is_some();
        assert!(!shows(&site, Some(KEY)), "no application");
        let (long, longer) = ("k".repeat(128), "k".repeat(129));
        site.app_keys = AppKeys::of([KEY, &long, &longer]);
        let table = [
            (Some(KEY), true),
            (Some(&long), true),
            (Some(&longer), false),
            (Some("0123456789abcde"), false),
            (Some("0123456789abcdeF"), false),
            (Some(""), false),
            (None, false),
        ];
        for (key, expected) in table {
            assert_eq!(shows(&site, key), expected, "{key:?}");
        }
    }

    #[test]
    fn new_keys_fit_and_are_each_another() {
        let (one, other) = (new_app_key(), new_app_key());
        assert!(APP_KEY_BYTES.contains(&one.len()) && one != other);
        assert!(AppKeys::of([one.as_str()]).have(one.as_bytes()));
    }

    #[test]
    fn whose_call_for_work_is_the_servers_own() {
        // Where the origin is, who asks, and whether it is the server. 203.0.113.0/24 and 192.0.2.0/24 are nobody's here.
        let table = [
            ("192.0.2.1:80", "192.0.2.1", true),
            ("192.0.2.1:80", "192.0.2.2", false),
            ("192.0.2.1:80", "127.0.0.1", false),
            ("[2001:db8::1]:80", "2001:db8::1", true),
            ("127.0.0.1:8081", "127.0.0.1", true),
            // Another address of this machine.
            ("127.0.0.1:8081", "127.9.9.9", true),
            ("localhost:8081", "127.0.0.1", true),
            ("127.0.0.1:8081", "203.0.113.1", false),
            ("127.0.0.1:8081", "0.0.0.0", false),
            ("127.0.0.1:8081", "255.255.255.255", false),
            ("127.0.0.1:8081", "224.0.0.1", false),
            ("127.0.0.1:8081", "::", false),
            ("origin.example:80", "127.0.0.1", false),
        ];
        for (origin, from, expected) in table {
            let found = program(&site(origin), from, "/wp-cron.php", None);
            let expected = expected.then_some(Program::Server);
            assert_eq!(found, expected, "{origin} {from}");
        }
        let mut named = site("origin.example:80");
        named.purge.from = Networks(vec!["203.0.113.7/32".parse().unwrap()]);
        for (from, expected) in [
            ("203.0.113.7", Some(Program::Server)),
            ("203.0.113.8", None),
        ] {
            assert_eq!(program(&named, from, "/wp-cron.php", None), expected);
        }
        // Nothing else that it asks for, and nothing that somebody has sent on.
        let site = site("192.0.2.1:80");
        assert_eq!(program(&site, "192.0.2.1", "/wp-login.php", None), None);
        let forwarded = ("192.0.2.1".parse().unwrap(), true);
        let cron = ("/wp-cron.php", &http::HeaderMap::new());
        assert_eq!(Program::of(&site, cron, forwarded), None);
    }
}
