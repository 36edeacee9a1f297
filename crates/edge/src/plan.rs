//! What the edge runs: parsed, bounded, no strings left to interpret.
//!
//! The operator writes `Settings` (crate `saqta`), which become a `Plan` or a list of problems. A `Plan` cannot be wrong; a reload
//! swaps one for another while connections stay open.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::uri::Authority;
use ipnet::IpNet;

use crate::lanes::AppKeys;
use crate::profile::Profile;
use crate::registry::Registry;

/// Index into [`Plan::sites`].
pub type SiteId = usize;

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Port 0 asks the kernel for a free one.
    pub listen: Vec<SocketAddr>,
    /// One runtime and one listener each. Never 0.
    pub shards: usize,
    /// Never empty.
    pub sites: Vec<Site>,
    /// The site that answers a Host no site names; `None`: such requests are refused.
    pub any_host: Option<SiteId>,
    /// Clients answered 403 at once.
    pub refuse: Networks,
    /// Peers whose `X-Forwarded-For` is believed, walked from the right. Empty: nobody, loopback included.
    pub trust_forwarded: Networks,
    pub limits: Limits,
    /// Memory for stored responses, all sites together; each site has an equal part, so that one outlet under attack does
    /// not evict its neighbour.
    pub cache_bytes_max: u64,
    /// The same on disk, in the data folder. 0: none.
    pub disk_cache_bytes_max: u64,
    /// Of the always-online copies, all sites together, each an equal part. 0: none are kept.
    pub saved_bytes_max: u64,
    /// What the machine's line carries, in megabits a second. Searches answered from the copy may have half of it.
    pub line_mbit: u32,
    /// Pass requests through the RFC cache only: no admission, no stale or reduced answers.
    pub bypass: bool,
    /// Whose network an address is in.
    pub registry: Registry,
    /// Visitors of whom the operator knows where they come from.
    pub lanes: Vec<LanePlan>,
    /// Who is asked for the names of those who say that they are somebody.
    pub resolver: Resolver,
    /// A rehearsal: answers say in [`RULE_FIELD`] which rule hit their request, so that the referee need not guess. Never otherwise, for
    /// it would tell an attacker what to change.
    pub is_drill: bool,
}

impl Plan {
    /// A rehearsal asks nobody outside. What the machine asks is as a rule outside, and knows no name of an address of our own networks: unless
    /// the operator names a resolver, it is told of none of them.
    pub(crate) fn asks_whose(&self, address: IpAddr) -> bool {
        let is_asked = match self.resolver {
            Resolver::System => is_public(address),
            Resolver::At(_) => true,
            Resolver::Off => false,
        };
        is_asked && !self.is_drill
    }
}

/// RFC 1918, 3927, 4193, 4291 and 6598: addresses that mean something only where they are.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let is_carriers = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || is_carriers)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

/// See [`Plan::is_drill`].
pub const RULE_FIELD: &str = "saqta-rule";

#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    pub name: String,
    /// Lower case, without port. Empty only for the one site of `run --origin` without `--host`.
    pub hosts: Vec<String>,
    pub origin: OriginPlan,
    /// Clients from here are staff.
    pub staff: Networks,
    pub mode: Mode,
    /// The language of our own pages for a reader whose browser asks for none of them.
    pub language: Language,
    pub forward_client_address: ForwardClientAddress,
    /// What its content system does, and what the operator says besides.
    pub profile: Profile,
    pub purge: PurgePlan,
    /// Copies of its public pages are kept, and shown when its origin is out of reach.
    pub saved: bool,
    /// Whoever reads here on two days is known by a cookie, and let in before strangers.
    pub known_readers: bool,
    /// Whoever shows one of them is the newsroom's own application.
    pub app_keys: AppKeys,
}

/// A monitor or another visitor that is no reader: whoever names it in `User-Agent` and comes from there. See [`crate::lanes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanePlan {
    /// A word of its agent begins so.
    pub agent: String,
    pub networks: Networks,
}

/// Whom lookups ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resolver {
    /// Whom the machine asks, which may change.
    #[default]
    System,
    At(Vec<SocketAddr>),
    /// Nobody is asked for.
    Off,
}

/// Who may say that stored pages are out of date, besides the site's own server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurgePlan {
    pub from: Networks,
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OriginPlan {
    /// `host:port`; also what `Host` says when `keep_host` is off.
    pub authority: Authority,
    /// The origin sees the Host the reader asked for. On unless told otherwise.
    pub keep_host: bool,
    pub connect_timeout: Duration,
    /// From the request's last byte to the response head.
    pub response_timeout: Duration,
    /// Longest silence inside a response body.
    pub idle_timeout: Duration,
    /// Hard ceiling of the admission limit, whatever is learned.
    pub concurrency_max: usize,
    /// Path asked for every few seconds while the origin is down or idle; `None`: passive health only.
    pub health_path: Option<String>,
}

impl OriginPlan {
    /// Where it is one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.authority.host() {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => {
                let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
                Some(address.to_canonical())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Observe,
    Protect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    Kazakh,
    Russian,
    #[default]
    English,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardClientAddress {
    #[default]
    Full,
    /// The /24 or /48 only.
    Prefix,
    None,
}

/// Each with its reason beside it in [`Limits::default`].
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub header_bytes_max: usize,
    pub header_fields_max: usize,
    pub header_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub body_bytes_max: u64,
    pub body_rate_min: u64,
    pub write_rate_min: u64,
    pub h2_streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Half of the 20,000 files a hardened Linux gives a process, a connection to the origin for each at worst.
            connections_max: 10_000,
            // A dormitory or a mobile carrier behind one address; a browser opens 6.
            connections_per_address_max: 512,
            // nginx allows 4 × 8 KB; 600 bytes of cookies are usual, 8 KB are the browsers' own limit per cookie jar.
            header_bytes_max: 32 * 1024,
            // Browsers send 14 to 20.
            header_fields_max: 100,
            // From the first byte to the blank line: a phone on EDGE needs 2 s.
            header_timeout: Duration::from_secs(10),
            // Longer than the pause between two clicks on a page's links costs a connection slot for nothing.
            keep_alive_timeout: Duration::from_secs(30),
            // An editor's video; WordPress itself stops at 2 to 512 MB.
            body_bytes_max: 1024 * 1024 * 1024,
            // Bytes a second, measured over ten: below GPRS.
            body_rate_min: 500,
            write_rate_min: 500,
            // RFC 9113 §6.5.2 recommends no fewer than 100.
            h2_streams_max: 100,
        }
    }
}

/// A list of networks. Linear search: operators write a handful.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn site(origin: &str) -> Site {
        Site {
            name: "newsroom".into(),
            hosts: vec!["a.kz".into()],
            origin: OriginPlan {
                authority: origin.parse().unwrap(),
                keep_host: true,
                connect_timeout: Duration::from_secs(2),
                response_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                concurrency_max: 8,
                health_path: None,
            },
            staff: Networks::default(),
            mode: Mode::Protect,
            language: Language::English,
            forward_client_address: ForwardClientAddress::Full,
            profile: Profile::default(),
            purge: PurgePlan::default(),
            saved: true,
            known_readers: true,
            app_keys: AppKeys::default(),
        }
    }

    #[test]
    fn addresses_of_our_own_networks_are_told_to_nobody_outside() {
        let table = [
            ("66.249.66.1", true),
            ("2001:4860:4801::1", true),
            ("100.63.255.255", true),
            ("172.32.0.1", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.1.1", false),
            ("127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
        ];
        for (address, expected) in table {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }
}
