//! Whose an address is, as its names say: asked of the resolver beside the requests, which never wait for it.
//!
//! A name of an address is chosen by whoever has the address; that the name has the address is said by whoever has the name. Both are asked
//! for, the second only where the name is one of somebody we know.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::dns::{self, Answer, AnswerFault, Kind, Name};
use super::known::Found;
use super::visitors;
use crate::clock::UnixMillis;
use crate::ladder;
use crate::plan::Resolver;
use crate::shard::Shard;

/// Who is asked for, each with what it takes for itself. In all twenty lookups a second, three questions each: what one browser that opens
/// a page asks for. All addresses of a crawler are known within minutes, and a flood that takes its name troubles nobody's resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Anybody.
    Strangers,
    /// Where somebody was verified before: not for whoever rents machines elsewhere.
    Visitors,
}

impl Queue {
    pub(crate) const ALL: [Self; 2] = [Self::Strangers, Self::Visitors];

    /// A crawler shows up with a dozen addresses at once.
    pub(super) const fn waiting_max(self) -> usize {
        match self {
            Self::Strangers => 256,
            Self::Visitors => 64,
        }
    }

    const fn every(self) -> Duration {
        match self {
            Self::Strangers => Duration::from_micros(62_500),
            Self::Visitors => Duration::from_millis(250),
        }
    }

    /// At once. Whoever floods may own zones that never answer: then five lookups of strangers are left each second.
    const fn under_way_max(self) -> usize {
        match self {
            Self::Strangers => 24,
            Self::Visitors => 8,
        }
    }
}

/// All questions of one together.
const LOOKUP_LASTS: Duration = Duration::from_secs(5);
/// Resolvers ask others in our place, and take a second or two over a zone they have not seen.
const PATIENCE: Duration = Duration::from_secs(2);
/// A datagram gets lost. The second round goes to each server again.
const ROUNDS: usize = 2;
/// Datagrams that are somebody else's answer, before it is taken for lost.
const STRAY_MAX: usize = 8;
/// Names of one address that are asked for: one is usual, and the rest may be anybody's.
const NAMES_MAX: usize = 2;

/// As in `resolv.conf(5)`.
const SERVERS_MAX: usize = 3;
const SYSTEM_FILE: &str = "/etc/resolv.conf";
/// Of servers in a file that is read again when they change.
const SYSTEM_READ_EVERY: Duration = Duration::from_secs(60);
const DNS_PORT: u16 = 53;

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("no resolver is known")]
    NoServer,
    #[error("the question could not be sent")]
    Send(#[source] io::Error),
    #[error("no answer came in time")]
    TimedOut,
    #[error(transparent)]
    Answer(#[from] AnswerFault),
}

/// Works off what is due, for all shards.
pub(crate) async fn look_up(shard: Rc<Shard>, queue: Queue) {
    let Some(mut due) = shard.shared.lanes.take_due(queue) else {
        return;
    };
    let mut pace = tokio::time::interval(queue.every());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut system = System::default();
    let mut under_way = JoinSet::new();
    while let Some(address) = due.recv().await {
        pace.tick().await;
        while under_way.len() >= queue.under_way_max() {
            drop(under_way.join_next().await);
        }
        // Bound before it is used: what runs may be another plan by the time the file is read.
        let resolver = shard.running().plan.resolver.clone();
        let servers = match resolver {
            Resolver::Off => Vec::new(),
            Resolver::At(servers) => servers,
            Resolver::System => system.servers().await,
        };
        let lookup = Lookup {
            shard: Rc::clone(&shard),
            address,
            found: Found::Nothing,
        };
        under_way.spawn_local(async move { lookup.run(&servers).await });
        while under_way.try_join_next().is_some() {}
    }
}

/// Noted however it ends: one that nobody noted would be waited for as long as the program runs.
struct Lookup {
    shard: Rc<Shard>,
    address: IpAddr,
    found: Found,
}

impl Lookup {
    async fn run(mut self, servers: &[SocketAddr]) {
        let found = timeout(LOOKUP_LASTS, whose(self.address, servers)).await;
        if let Ok(Ok(found)) = found {
            self.found = found;
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let lanes = &self.shard.shared.lanes;
        lanes.note(self.address, self.found, UnixMillis::now());
    }
}

/// What the machine asks.
#[derive(Default)]
struct System {
    read_at: Option<Instant>,
    servers: Vec<SocketAddr>,
}

impl System {
    async fn servers(&mut self) -> Vec<SocketAddr> {
        if self
            .read_at
            .is_none_or(|at| at.elapsed() >= SYSTEM_READ_EVERY)
        {
            self.read_at = Some(Instant::now());
            // Not by the shard, which waits for no disk.
            let text = tokio::task::spawn_blocking(|| std::fs::read_to_string(SYSTEM_FILE)).await;
            self.servers = servers_of(&text.ok().and_then(Result::ok).unwrap_or_default());
        }
        self.servers.clone()
    }
}

/// Of a `resolv.conf`. Where it names none, the machine itself, as everybody else there reads it.
fn servers_of(text: &str) -> Vec<SocketAddr> {
    let servers: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then_some(())?;
            words.next()?.parse::<IpAddr>().ok()
        })
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .take(SERVERS_MAX)
        .collect();
    if servers.is_empty() {
        return vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT)];
    }
    servers
}

async fn whose(address: IpAddr, servers: &[SocketAddr]) -> Result<Found, AskError> {
    let of_address = Name::of_address(address);
    let names = ask(&of_address, Kind::Ptr, servers).await?.names;
    let kind = match address {
        IpAddr::V4(_) => Kind::A,
        IpAddr::V6(_) => Kind::Aaaa,
    };
    let owned = names
        .iter()
        .filter_map(|name| Some((name, visitors::owner(name.as_str())?)))
        .take(NAMES_MAX);
    for (name, visitor) in owned {
        if ask(name, kind, servers).await?.addresses.contains(&address) {
            return Ok(Found::Visitor(visitor));
        }
    }
    Ok(Found::Nobody)
}

/// One server after the other, and once more.
async fn ask(name: &Name, kind: Kind, servers: &[SocketAddr]) -> Result<Answer, AskError> {
    let mut result = Err(AskError::NoServer);
    for _ in 0..ROUNDS {
        for server in servers.iter().take(SERVERS_MAX) {
            result = ask_one(name, kind, *server).await;
            if result.is_ok() {
                return result;
            }
        }
    }
    result
}

async fn ask_one(name: &Name, kind: Kind, server: SocketAddr) -> Result<Answer, AskError> {
    // Of a port the kernel draws for each question; connected, it hears that server alone.
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(AskError::Send)?;
    socket.connect(server).await.map_err(AskError::Send)?;
    let mut id = [0; 2];
    ladder::fill(&mut id);
    let id = u16::from_be_bytes(id);
    let question = dns::question(id, name, kind);
    socket.send(&question).await.map_err(AskError::Send)?;
    let until = Instant::now() + PATIENCE;
    let mut message = [0; dns::MESSAGE_BYTES_MAX];
    for _ in 0..STRAY_MAX {
        let bytes = timeout_at(until, socket.recv(&mut message))
            .await
            .map_err(|_| AskError::TimedOut)?
            .map_err(AskError::Send)?;
        match dns::answer(&message[..bytes], id, name, kind) {
            Err(AnswerFault::Another) => {}
            answer => return Ok(answer?),
        }
    }
    Err(AskError::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_resolvers_are_read_as_everybody_reads_them() {
        let table = [
            ("nameserver 10.0.0.1\n", vec!["10.0.0.1:53"]),
            (
                "# nameserver 10.0.0.9\nsearch a.kz\n  nameserver\t10.0.0.1  # one\nnameserver ::1\noptions edns0",
                vec!["10.0.0.1:53", "[::1]:53"],
            ),
            (
                "nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4",
                vec!["1.0.0.1:53", "1.0.0.2:53", "1.0.0.3:53"],
            ),
            (
                "nameserver fe80::1%eth0\nnameserver x",
                vec!["127.0.0.1:53"],
            ),
            ("", vec!["127.0.0.1:53"]),
        ];
        for (text, expected) in table {
            let expected: Vec<SocketAddr> = expected.iter().map(|at| at.parse().unwrap()).collect();
            assert_eq!(servers_of(text), expected, "{text}");
        }
    }
}
