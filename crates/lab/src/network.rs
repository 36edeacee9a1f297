//! A network of the drill's own, for what loopback is too kind to show: IPv6, a cable, a link that is full.
//!
//! Two network namespaces joined by one cable. Origin and edge live in the first, readers and attackers in the second, where every
//! address of two large ranges is local, so that thousands of /24 and /48 cost two routes. Neither namespace has any other way out,
//! and only in such a one does [`crate::guard`] let the load leave loopback.
//!
//! The kernel is asked through the tools every Debian has or can install (`unshare`, `nsenter`, `ip`, `tc`): namespaces cannot be
//! changed from safe Rust, and a sysadmin can type the same lines. A namespace lives as long as the process that holds it,
//! which ends when its standard input does: so nothing is left behind, not even when this program is killed.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::guard::{CABLE_PORT, CABLE_V4, CABLE_V6, LOAD_INTERFACE};

/// Each tool and the Debian package it is in.
const TOOLS: [(&str, &str); 4] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
];
/// Where system tools are that are not on everybody's path.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Of what a tool says when it fails.
const WORDS_BYTES_MAX: u64 = 2_000;
const HOLDING: &str = "holding";
const EDGE_INTERFACE: &str = "saqta-edge";
/// Locally administered: nobody's.
const EDGE_MAC: &str = "02:00:00:00:00:01";
const LOAD_MAC: &str = "02:00:00:00:00:02";

/// Which end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Clients,
}

/// Where the addresses of readers and attackers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    Loopback,
    /// Every other network speaks IPv6.
    Cable,
}

impl Range {
    /// The place of an address that was drawn from 127.0.0.0/8: the same network, the same host.
    pub(crate) fn place(self, drawn: Ipv4Addr) -> IpAddr {
        let [_, second, third, host] = drawn.octets();
        match self {
            Self::Loopback => IpAddr::V4(drawn),
            Self::Cable if third % 2 == 0 => IpAddr::V4(Ipv4Addr::new(10, second, third, host)),
            // A /48 a network, a /64 a host, as providers give them out.
            Self::Cable => IpAddr::V6(Ipv6Addr::new(
                0x2001,
                0x0db8,
                u16::from_be_bytes([second, third]),
                u16::from(host),
                0,
                0,
                0,
                1,
            )),
        }
    }
}

/// What the edge listens on at its end.
pub(crate) fn listens() -> String {
    format!("[\"{CABLE_V4}:{CABLE_PORT}\", \"[{CABLE_V6}]:{CABLE_PORT}\"]")
}

/// Of the edge's settings, as [`crate::addresses::STAFF_NETWORK`] is on loopback.
pub(crate) const STAFF_NETWORK: &str = "10.1.0.0/24";

/// Each line and the end at which it is typed. Who is at which end is written down instead of asked for over the cable: IPv6 would
/// wait seconds for neighbours that do not answer, and the first readers with it.
fn cabling(clients_pid: u32, link_mbit_per_s: Option<f64>) -> Vec<(Side, String)> {
    let mut lines = vec![
        (Side::Server, "ip link set lo up".to_owned()),
        (Side::Clients, "ip link set lo up".to_owned()),
        (
            Side::Server,
            format!(
                "ip link add {EDGE_INTERFACE} address {EDGE_MAC} type veth \
                 peer name {LOAD_INTERFACE} address {LOAD_MAC} netns {clients_pid}"
            ),
        ),
    ];
    let ends = [
        (
            Side::Server,
            EDGE_INTERFACE,
            [CABLE_V4.to_string(), CABLE_V6.to_string()],
            ["192.0.2.2", "fd5a::2"],
            LOAD_MAC,
        ),
        (
            Side::Clients,
            LOAD_INTERFACE,
            ["192.0.2.2".to_owned(), "fd5a::2".to_owned()],
            ["192.0.2.1", "fd5a::1"],
            EDGE_MAC,
        ),
    ];
    for (side, interface, [own_v4, own_v6], others, other_mac) in ends {
        let words = [
            format!("ip link set {interface} addrgenmode none"),
            format!("ip address add {own_v4}/24 dev {interface}"),
            format!("ip address add {own_v6}/64 dev {interface} nodad"),
            format!("ip link set {interface} up"),
        ];
        lines.extend(words.map(|line| (side, line)));
        lines.extend(others.map(|other| {
            let line = format!(
                "ip neighbour replace {other} lladdr {other_mac} dev {interface} nud permanent"
            );
            (side, line)
        }));
    }
    let routes = [
        (Side::Server, "ip route add 10.0.0.0/8 via 192.0.2.2"),
        (Side::Server, "ip route add 2001:db8::/32 via fd5a::2"),
        (Side::Clients, "ip route add local 10.0.0.0/8 dev lo"),
        (Side::Clients, "ip route add local 2001:db8::/32 dev lo"),
    ];
    lines.extend(routes.map(|(side, line)| (side, line.to_owned())));
    if let Some(mbit) = link_mbit_per_s {
        for (side, interface) in [
            (Side::Server, EDGE_INTERFACE),
            (Side::Clients, LOAD_INTERFACE),
        ] {
            let limit = format!(
                "tc qdisc add dev {interface} root tbf rate {mbit}mbit burst 256kb latency 50ms"
            );
            lines.push((side, limit));
        }
    }
    lines
}

pub(crate) struct Network {
    server: Holder,
    clients: Holder,
    tools: [PathBuf; TOOLS.len()],
    /// Who is not root becomes it in a user namespace.
    as_root: bool,
}

impl Network {
    /// Two namespaces and the cable between them.
    pub(crate) fn make(exe: &Path, link_mbit_per_s: Option<f64>) -> anyhow::Result<Self> {
        let mut tools = TOOLS.map(|(tool, _)| PathBuf::from(tool));
        for (tool, (name, package)) in tools.iter_mut().zip(TOOLS) {
            *tool = find(name)
                .with_context(|| format!("--netns needs `{name}`: apt-get install {package}"))?;
        }
        let as_root = rustix::process::geteuid().is_root();
        let unshare = &tools[0];
        let mut server = Command::new(unshare);
        if !as_root {
            server.args(["--user", "--map-root-user"]);
        }
        server.arg("--net").arg(exe).args(["lab", "hold"]);
        let server = Holder::start(server).context(
            "this machine lets nobody make network namespaces who has not CAP_SYS_ADMIN: run the drill as root, or allow user \
             namespaces (sysctl kernel.unprivileged_userns_clone=1)",
        )?;
        let mut clients = enter(&tools[1], server.pid(), as_root, unshare);
        clients.arg("--net").arg(exe).args(["lab", "hold"]);
        let clients = Holder::start(clients).context("cannot make the clients' namespace")?;
        let network = Self {
            server,
            clients,
            tools,
            as_root,
        };
        for (side, line) in cabling(network.clients.pid(), link_mbit_per_s) {
            network.type_in(side, &line)?;
        }
        Ok(network)
    }

    /// A program at this end.
    pub(crate) fn command(&self, side: Side, program: &Path) -> Command {
        let holder = match side {
            Side::Server => &self.server,
            Side::Clients => &self.clients,
        };
        enter(&self.tools[1], holder.pid(), self.as_root, program)
    }

    fn type_in(&self, side: Side, line: &str) -> anyhow::Result<()> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let tool = TOOLS.iter().position(|(tool, _)| *tool == name);
        let tool = tool.with_context(|| format!("`{name}` is not among our tools"))?;
        let done = self
            .command(side, &self.tools[tool])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{name}`"))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("`{line}` failed in the drill's namespace: {}", said.trim());
        }
        Ok(())
    }
}

fn enter(nsenter: &Path, pid: u32, as_root: bool, program: &Path) -> Command {
    let mut command = Command::new(nsenter);
    command.arg("--target").arg(pid.to_string());
    if !as_root {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.arg("--net").arg("--").arg(program);
    command
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// A process that does nothing but be in a namespace.
struct Holder(Child);

impl Holder {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start a process")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let holder = Self(child);
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout.take(WORDS_BYTES_MAX)).read_line(&mut line)?;
        }
        if line.trim() != HOLDING {
            let mut said = String::new();
            if let Some(stderr) = stderr {
                stderr.take(WORDS_BYTES_MAX).read_to_string(&mut said)?;
            }
            bail!("{}", said.trim());
        }
        Ok(holder)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a [`Holder`] runs.
pub(crate) fn hold_main() -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{HOLDING}")?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_hosts_stay_apart_on_the_cable() {
        for (drawn, loopback, cable) in [
            ([127, 1, 0, 7], "127.1.0.7", "10.1.0.7"),
            ([127, 2, 4, 5], "127.2.4.5", "10.2.4.5"),
            ([127, 2, 5, 5], "127.2.5.5", "2001:db8:205:5::1"),
            (
                [127, 255, 255, 254],
                "127.255.255.254",
                "2001:db8:ffff:fe::1",
            ),
        ] {
            let drawn = Ipv4Addr::from(drawn);
            assert_eq!(Range::Loopback.place(drawn).to_string(), loopback);
            assert_eq!(Range::Cable.place(drawn).to_string(), cable);
        }
    }

    #[test]
    fn every_line_of_the_cabling_is_typed_with_one_of_our_tools() {
        for (_, line) in cabling(7, Some(100.0)) {
            let tool = line.split(' ').next().unwrap_or_default();
            assert!(TOOLS.iter().any(|(known, _)| *known == tool), "{line}");
        }
        let limits = |link| {
            let lines = cabling(7, link);
            lines
                .iter()
                .filter(|(_, line)| line.starts_with("tc "))
                .count()
        };
        assert_eq!((limits(None), limits(Some(100.0))), (0, 2));
    }
}
