//! The lab shoots at this machine and at nothing else.
//!
//! A load generator that can be pointed at a stranger is a weapon with our name on it. So the generator, the readers and the
//! referee connect only to a [`Target`], and a `Target` is made here alone: from an address that is loopback, or from a name
//! every address of which is loopback. The address is resolved once and kept, so that a name cannot mean something else later.
//! There is one other place: the far end of the cable between the two network namespaces that a drill may make for itself
//! ([`crate::network`]). Its addresses are written here, nobody can choose them, and they are given only to a process whose
//! namespace has no other way out.
//!
//! The unspecified address is refused although Linux takes `0.0.0.0` for loopback: it is what people type who mean "anywhere".

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// The edge's end of the cable: for documentation (RFC 5737) and unique local (RFC 4193), so that nobody else's.
pub(crate) const CABLE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const CABLE_V6: Ipv6Addr = Ipv6Addr::new(0xfd5a, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const CABLE_PORT: u16 = 8080;
/// The load's end.
pub(crate) const LOAD_INTERFACE: &str = "saqta-load";

/// Where the lab may connect to: loopback, or the other end of its own cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target(SocketAddr);

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0} is not on this machine: the lab connects to 127.0.0.0/8 and ::1 only")]
    NotLoopback(IpAddr),
    #[error(
        "{name} resolves to {address}, which is not on this machine: the lab connects to 127.0.0.0/8 and ::1 only"
    )]
    NameLeadsElsewhere { name: String, address: IpAddr },
    #[error("{0} resolves to nothing")]
    NoAddress(String),
    #[error("{name} does not resolve")]
    Unresolved { name: String, source: io::Error },
    #[error(
        "this is not a namespace of the drill's own: besides loopback and its cable it has {0}"
    )]
    NotOurNamespace(String),
    #[error("cannot see which network this is")]
    UnseenNetwork(#[source] io::Error),
    #[error("port 0 is nowhere")]
    NoPort,
    #[error("{0}: give http://HOST:PORT or HOST:PORT")]
    NotATarget(String),
    #[error("{0}: the lab speaks plain HTTP; give the port without TLS")]
    Tls(String),
}

impl Target {
    /// IPv4 addresses written as IPv6 are judged as what they are.
    pub fn new(address: SocketAddr) -> Result<Self, Refused> {
        let ip = address.ip().to_canonical();
        if !ip.is_loopback() {
            return Err(Refused::NotLoopback(ip));
        }
        if address.port() == 0 {
            return Err(Refused::NoPort);
        }
        Ok(Self(SocketAddr::new(ip, address.port())))
    }

    /// The other end of the cable, for a process that can reach nothing else.
    pub(crate) fn across_the_cable() -> Result<Vec<Self>, Refused> {
        let table = fs::read_to_string("/proc/self/net/dev").map_err(Refused::UnseenNetwork)?;
        Self::across_the_cable_of(&table)
    }

    /// `table` as the kernel writes it: two lines of headings, then an interface a line, its name before a colon.
    fn across_the_cable_of(table: &str) -> Result<Vec<Self>, Refused> {
        let names = table
            .lines()
            .skip(2)
            .filter_map(|line| line.split_once(':'));
        let mut names: Vec<&str> = names.map(|(name, _)| name.trim()).collect();
        names.sort_unstable();
        if names != ["lo", LOAD_INTERFACE] {
            names.retain(|name| !["lo", LOAD_INTERFACE].contains(name));
            let others = match names.as_slice() {
                [] => "no cable".to_owned(),
                others => others.join(", "),
            };
            return Err(Refused::NotOurNamespace(others));
        }
        Ok([IpAddr::V4(CABLE_V4), IpAddr::V6(CABLE_V6)]
            .map(|end| Self(SocketAddr::new(end, CABLE_PORT)))
            .to_vec())
    }

    /// From `http://HOST[:PORT][/…]`, `HOST:PORT` or an address. Asks the resolver for names.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        Self::parse_with(text, |name, port| {
            (name, port).to_socket_addrs().map(Iterator::collect)
        })
    }

    fn parse_with(
        text: &str,
        resolve: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Result<Self, Refused> {
        let not_a_target = || Refused::NotATarget(text.to_owned());
        let (authority, default_port) = match text.split_once("://") {
            Some(("http", rest)) => (rest.split(['/', '?', '#']).next().unwrap_or(rest), Some(80)),
            Some(("https", _)) => return Err(Refused::Tls(text.to_owned())),
            Some(_) => return Err(not_a_target()),
            None => (text, None),
        };
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return Self::new(address);
        }
        if authority.contains(['@', '/', ' ']) {
            return Err(not_a_target());
        }
        // A bracketed address has its port after the bracket, or none.
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, Some(port.parse().map_err(|_| not_a_target())?))
            }
            _ => (authority, default_port),
        };
        let port = port.ok_or_else(not_a_target)?;
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Self::new(SocketAddr::new(ip, port));
        }
        if name.is_empty() || name.contains([':', '[', ']']) {
            return Err(not_a_target());
        }
        let addresses = resolve(name, port).map_err(|source| Refused::Unresolved {
            name: name.to_owned(),
            source,
        })?;
        if let Some(elsewhere) = addresses
            .iter()
            .map(|address| address.ip().to_canonical())
            .find(|ip| !ip.is_loopback())
        {
            return Err(Refused::NameLeadsElsewhere {
                name: name.to_owned(),
                address: elsewhere,
            });
        }
        let first = addresses
            .first()
            .ok_or_else(|| Refused::NoAddress(name.to_owned()))?;
        Self::new(*first)
    }

    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that knows four names.
    fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses: &[&str] = match name {
            "localhost" => &["::1", "127.0.0.1"],
            "rebound.example" => &["127.0.0.1", "203.0.113.7"],
            "far.example" => &["203.0.113.7"],
            "empty.example" => &[],
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(addresses
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
            .collect())
    }

    #[test]
    fn only_this_machine_is_a_target() {
        let table = [
            ("127.0.0.1:80", Ok("127.0.0.1:80")),
            ("127.255.255.254:8080", Ok("127.255.255.254:8080")),
            ("[::1]:80", Ok("[::1]:80")),
            ("[::ffff:127.0.0.1]:80", Ok("127.0.0.1:80")),
            ("http://127.0.0.1", Ok("127.0.0.1:80")),
            ("http://[::1]/path?x=1", Ok("[::1]:80")),
            ("http://127.0.0.1:8080/", Ok("127.0.0.1:8080")),
            ("http://localhost:8080", Ok("[::1]:8080")),
            ("localhost:81", Ok("[::1]:81")),
            // Public, private, link-local, shared, unspecified, broadcast, multicast.
            ("203.0.113.7:80", Err("not on this machine")),
            ("8.8.8.8:53", Err("not on this machine")),
            ("10.0.0.1:80", Err("not on this machine")),
            ("192.168.1.1:80", Err("not on this machine")),
            ("172.16.0.1:80", Err("not on this machine")),
            ("169.254.169.254:80", Err("not on this machine")),
            ("100.64.0.1:80", Err("not on this machine")),
            ("0.0.0.0:80", Err("not on this machine")),
            ("255.255.255.255:80", Err("not on this machine")),
            ("224.0.0.1:80", Err("not on this machine")),
            ("128.0.0.1:80", Err("not on this machine")),
            ("126.255.255.255:80", Err("not on this machine")),
            ("[::]:80", Err("not on this machine")),
            ("[::2]:80", Err("not on this machine")),
            ("[::ffff:10.0.0.1]:80", Err("not on this machine")),
            ("[::ffff:0.0.0.0]:80", Err("not on this machine")),
            // The deprecated IPv4-compatible form is a global IPv6 address.
            ("[::127.0.0.1]:80", Err("not on this machine")),
            ("[fe80::1]:80", Err("not on this machine")),
            ("[2001:db8::1]:80", Err("not on this machine")),
            ("http://203.0.113.7/", Err("not on this machine")),
            ("far.example:80", Err("far.example resolves to 203.0.113.7")),
            (
                "http://rebound.example/",
                Err("rebound.example resolves to 203.0.113.7"),
            ),
            ("empty.example:80", Err("resolves to nothing")),
            ("unknown.example:80", Err("does not resolve")),
            ("127.0.0.1:0", Err("port 0")),
            ("localhost", Err("give http://HOST:PORT")),
            ("127.0.0.1", Err("give http://HOST:PORT")),
            ("127.0.0.1:65536", Err("give http://HOST:PORT")),
            ("https://127.0.0.1/", Err("plain HTTP")),
            ("ftp://127.0.0.1/", Err("give http://HOST:PORT")),
            (
                "http://127.0.0.1@203.0.113.7/",
                Err("give http://HOST:PORT"),
            ),
            ("http://203.0.113.7#@127.0.0.1/", Err("not on this machine")),
            ("", Err("give http://HOST:PORT")),
        ];
        for (text, expected) in table {
            let target = Target::parse_with(text, resolve);
            match (target, expected) {
                (Ok(target), Ok(address)) => assert_eq!(target.to_string(), address, "{text}"),
                (Err(refused), Err(says)) => {
                    assert!(refused.to_string().contains(says), "{text}: {refused}")
                }
                (target, _) => panic!("{text}: {target:?}"),
            }
        }
    }

    #[test]
    fn the_cable_leads_out_of_no_namespace_but_the_drill_s() {
        let table = |names: &[&str]| {
            let rows = names.iter().map(|name| format!("{name:>6}: 0 0 0 0\n"));
            format!(
                "Inter-|   Receive\n face |bytes\n{}",
                rows.collect::<String>()
            )
        };
        let other_end = Ok(vec![
            "192.0.2.1:8080".to_owned(),
            "[fd5a::1]:8080".to_owned(),
        ]);
        for (interfaces, expected) in [
            (&["lo", "saqta-load"][..], other_end.clone()),
            (&["saqta-load", "lo"], other_end),
            (&["lo", "saqta-load", "eth0"], Err("it has eth0")),
            (
                &["lo", "saqta-load", "wlan0", "tun0"],
                Err("it has tun0, wlan0"),
            ),
            (&["lo", "eth0"], Err("it has eth0")),
            (&["lo"], Err("it has no cable")),
            (&["saqta-load"], Err("it has no cable")),
            (&[], Err("it has no cable")),
        ] {
            match (Target::across_the_cable_of(&table(interfaces)), expected) {
                (Ok(targets), Ok(addresses)) => assert_eq!(
                    targets.iter().map(Target::to_string).collect::<Vec<_>>(),
                    addresses
                ),
                (Err(refused), Err(says)) => {
                    assert!(
                        refused.to_string().contains(says),
                        "{interfaces:?}: {refused}"
                    )
                }
                (targets, _) => panic!("{interfaces:?}: {targets:?}"),
            }
        }
        // Its addresses are nothing to a process outside.
        for address in [
            "192.0.2.1:8080",
            "[fd5a::1]:8080",
            "10.2.4.5:80",
            "[2001:db8:205:5::1]:80",
        ] {
            assert!(Target::parse_with(address, resolve).is_err(), "{address}");
        }
        assert!(Target::across_the_cable().is_err(), "the tests run outside");
    }

    proptest::proptest! {
        #[test]
        fn every_target_is_loopback(ip: IpAddr, port: u16) {
            if let Ok(target) = Target::new(SocketAddr::new(ip, port)) {
                proptest::prop_assert!(target.address().ip().is_loopback());
                proptest::prop_assert!(ip.to_canonical().is_loopback() && port != 0);
            }
        }
    }
}
