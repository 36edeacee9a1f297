//! What the machine grants this process, and what we ask of it before serving.

use std::io;
use std::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Resource, Rlimit};
use saqta_edge::plan::Plan;
use serde::{Deserialize, Serialize};

/// Raises the number of files we may open to the most we may ask for: a default of 1024 is for programs that open few.
///
/// # Errors
/// When the kernel refuses; the old limit stays.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// Files this process may have open now; `None`: no bound.
pub(crate) fn open_files_granted() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).current
}

/// Files this process may open at most; `None`: no bound.
pub(crate) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).maximum
}

/// Listeners, epoll, pipes, the standard streams and the control socket of the largest machine: a few for each shard.
const OWN_FILES: usize = 256;

/// Files the plan may have open at worst: a socket for each client, one to the origin for each place there, and ours.
pub(crate) fn open_files_needed(plan: &Plan) -> u64 {
    (plan.limits.connections_max + origin_files(plan) + OWN_FILES) as u64
}

fn origin_files(plan: &Plan) -> usize {
    plan.sites
        .iter()
        .map(|site| site.origin.concurrency_max)
        .sum()
}

/// The machine has fewer files for us than the plan may need, and clients get fewer connections for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FewFiles {
    pub granted: u64,
    pub needed: u64,
}

/// Lets clients have what is left when our own files and the connections to the origins have theirs. Strangers who only connect and
/// say nothing could otherwise take the last file, and then nobody gets a page, not even who is connected.
///
/// Where little is granted the origins' part is a half: a connection there for each client at worst. One address gets a half of the
/// clients' part, or it could take all of it.
pub(crate) fn leave_files_for_origins(plan: &mut Plan, granted: Option<u64>) -> Option<FewFiles> {
    let needed = open_files_needed(plan);
    let granted = granted.filter(|granted| *granted < needed)?;
    let files = usize::try_from(granted).unwrap_or(usize::MAX);
    let left = files.saturating_sub(own_files(plan));
    let clients = (left - origin_files(plan).min(left / 2)).max(1);
    let limits = &mut plan.limits;
    if clients >= limits.connections_max {
        return None;
    }
    limits.connections_max = clients;
    limits.connections_per_address_max = limits
        .connections_per_address_max
        .min(limits.connections_max / 2)
        .max(1);
    Some(FewFiles { granted, needed })
}

/// What we have open without any client: 22 on a machine of two cores, and room for the files that come and go.
fn own_files(plan: &Plan) -> usize {
    const FOR_ALL: usize = 20;
    const FOR_A_SHARD: usize = 5;
    FOR_ALL + plan.shards * (FOR_A_SHARD + plan.listen.len())
}

/// Memory holds readers' requests; a crash must not write it to disk, nor may another process of the same user read it.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn keep_memory_private() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Core);
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: limit.maximum,
        },
    )?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Whether we could listen there. Our own listeners share a port among themselves, so the edge would also share it with a
/// stranger of the same user and each would get half of the readers; this asks without sharing.
///
/// # Errors
/// As the kernel says.
pub(crate) fn try_listening(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    // Connections of a Saqta that just ended still linger on the port; they do not count.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 1)?;
    Ok(())
}

/// What to do when listening fails.
pub(crate) fn listening_remedy(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "stop what listens there (ss -ltnp 'sport = :{}' shows it) or choose another port",
                address.port()
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege: sudo setcap cap_net_bind_service=+ep $(command -v saqta), or choose another than {}",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable if !address.ip().is_unspecified() => format!(
            "{} is not an address of this machine (ip address shows them); 0.0.0.0:{port} listens on all its IPv4 addresses, [::]:{port} on all its IPv6 addresses",
            address.ip(),
            port = address.port()
        ),
        _ if address.is_ipv6() => format!(
            "this machine may have no IPv6 (ip -6 address shows it): choose an IPv4 address, such as 0.0.0.0:{}",
            address.port()
        ),
        _ => "choose another address or port".into(),
    }
}

/// What to do when something cannot be written into the data folder.
pub(crate) fn writing_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there (df -h and df -i show where none is left), or choose another folder with --data DIR"
        }
        io::ErrorKind::PermissionDenied => {
            "give the folder to the user that runs Saqta (chown), or choose another with --data DIR"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "a file has that name: choose a folder with --data DIR"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "nothing can be written there at all: choose another folder with --data DIR"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files: ulimit -f unlimited, or LimitFSIZE=infinity in the systemd unit"
        }
        _ => "choose another folder with --data DIR",
    }
}

/// What the kernel says of the memory this process has now, in bytes; `None` where it does not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// The kernel's words without its number.
pub(crate) fn plainly(error: &io::Error) -> String {
    if matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) {
        return "nothing came in time".into();
    }
    let said = error.to_string();
    said.split(" (os error")
        .next()
        .unwrap_or(&said)
        .to_lowercase()
}

/// Connections the kernel lets wait for us; `None` where it does not say.
pub(crate) fn accept_queue_max() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Whether connecting to this address stays on this machine.
pub(crate) fn is_own_address(address: SocketAddr) -> bool {
    std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}
