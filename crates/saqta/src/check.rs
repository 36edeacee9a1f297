//! `saqta check`: would this file serve on this machine?
//!
//! The file itself is checked first and in full. Then what a file cannot know: the data folder, open files, the kernel's queue,
//! whether we may listen there, whether each origin answers. Every line is `ok` or says what to do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use saqta_edge::plan::{Plan, Site};
use saqta_edge::profile::System;
use tokio::time::Instant;

use crate::control::{self, Order};
use crate::folder::{self, Whether};
use crate::machine;
use crate::screen::{self, Tone};

/// What our listeners ask the kernel to hold while a shard is busy.
const ACCEPT_QUEUE_WANTED: u64 = 4096;
/// A person waits for this command; an origin that needs longer is in trouble.
const ORIGIN_WITHIN: Duration = Duration::from_secs(5);
/// Of an answer; what comes after is not looked at.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One line of the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) subject: &'static str,
    pub(crate) said: String,
    /// `None`: nothing to do.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, said: impl Into<String>) -> Self {
        Self {
            subject,
            said: said.into(),
            remedy: None,
        }
    }

    fn todo(subject: &'static str, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            said: said.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(crate) fn row(&self, coloured: bool) -> String {
        match &self.remedy {
            None => screen::row("ok", Tone::Good, self.subject, &self.said, coloured),
            Some(remedy) => screen::row(
                "do",
                Tone::Bad,
                self.subject,
                &format!("{}\n{remedy}", self.said),
                coloured,
            ),
        }
    }
}

/// `data`: where this Saqta would keep its files, and where one may already run that holds the ports.
pub(crate) fn machine_findings(plan: &Plan, data: &Path) -> Vec<Finding> {
    let mut findings = vec![
        settings(plan),
        lists(plan),
        data_folder(data),
        open_files(machine::open_files_needed(plan), machine::open_files_max()),
        accept_queue(machine::accept_queue_max()),
    ];
    let running = control::ask(data, Order::Status).is_ok();
    findings.extend(
        plan.listen
            .iter()
            .map(|address| listening(*address, running)),
    );
    findings.extend(plan.sites.iter().map(|site| origin(site, plan)));
    findings
}

fn settings(plan: &Plan) -> Finding {
    let hosts: usize = plan.sites.iter().map(|site| site.hosts.len()).sum();
    let any = if plan.any_host.is_some() {
        " and any other"
    } else {
        ""
    };
    Finding::ok(
        "settings",
        format!(
            "{}, {}{any}",
            counted(plan.sites.len(), "site"),
            counted(hosts, "host")
        ),
    )
}

/// What rules may be about beside what a request says of itself.
fn lists(plan: &Plan) -> Finding {
    let said = match (plan.registry.has_asn(), plan.registry.has_country()) {
        (true, true) => "of providers and of countries: rules may name either",
        (true, false) => "of providers; none of countries (country_file), so no rule names one",
        (false, true) => "of countries; none of providers (asn_file), so no rule names one",
        (false, false) => "none (asn_file, country_file): rules name no provider and no country",
    };
    Finding::ok("lists", said)
}

fn data_folder(data: &Path) -> Finding {
    let subject = "data folder";
    let problem = match (folder::examine(data), control::socket_path(data)) {
        (Ok(Whether::IsThere), Ok(_)) => {
            return Finding::ok(subject, format!("{} can be written", data.display()));
        }
        (Ok(Whether::WillBeMade), Ok(_)) => {
            return Finding::ok(subject, format!("{} will be made", data.display()));
        }
        (Err(error), _) => error.to_string(),
        (_, Err(error)) => error.to_string(),
    };
    let (said, remedy) = problem.split_once('\n').unwrap_or((&problem, ""));
    Finding::todo(subject, said, remedy)
}

fn open_files(needed: u64, granted: Option<u64>) -> Finding {
    match granted {
        Some(granted) if granted < needed => Finding::todo(
            "open files",
            format!("{granted} are granted; connections_max and the origins may need {needed}"),
            format!(
                "LimitNOFILE={needed} in the systemd unit, or ulimit -n {needed}, or lower connections_max"
            ),
        ),
        Some(granted) => Finding::ok(
            "open files",
            format!("{granted} granted, {needed} needed at worst"),
        ),
        None => Finding::ok("open files", format!("no bound, {needed} needed at worst")),
    }
}

fn accept_queue(granted: Option<u64>) -> Finding {
    match granted {
        Some(granted) if granted < ACCEPT_QUEUE_WANTED => Finding::todo(
            "accept queue",
            format!("the kernel lets {granted} connections wait; a burst of readers is more"),
            format!("sudo sysctl -w net.core.somaxconn={ACCEPT_QUEUE_WANTED}"),
        ),
        Some(granted) => Finding::ok("accept queue", format!("{granted} connections may wait")),
        None => Finding::ok(
            "accept queue",
            "the kernel does not say how many connections may wait",
        ),
    }
}

fn listening(address: SocketAddr, running: bool) -> Finding {
    match machine::try_listening(address) {
        Ok(()) if address.ip().is_loopback() => Finding::ok(
            "listen",
            format!("{address} is free; only this machine can reach it"),
        ),
        Ok(()) => Finding::ok("listen", format!("{address} is free")),
        Err(error) if running && error.kind() == io::ErrorKind::AddrInUse => {
            Finding::ok("listen", format!("{address} is held by the running Saqta"))
        }
        Err(error) => Finding::todo(
            "listen",
            format!("cannot listen on {address}: {}", machine::plainly(&error)),
            machine::listening_remedy(address, &error),
        ),
    }
}

fn origin(site: &Site, plan: &Plan) -> Finding {
    let authority = site.origin.authority.as_str();
    let addresses: Vec<SocketAddr> = match authority.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(_) => Vec::new(),
    };
    let [address, ..] = addresses.as_slice() else {
        return Finding::todo(
            "origin",
            format!("{}: {authority} has no address", site.name),
            "mend the name in `origin`, or write the address in numbers",
        );
    };
    let leads_back = |address: &SocketAddr| {
        let ours = |ours: &SocketAddr| {
            ours.port() == address.port()
                && ours.is_ipv4() == address.is_ipv4()
                && (ours.ip().is_unspecified() || ours.ip() == address.ip())
        };
        plan.listen.iter().any(ours) && machine::is_own_address(*address)
    };
    if addresses.iter().any(leads_back) {
        return Finding::todo(
            "origin",
            format!("{}: {authority} leads back to ourselves", site.name),
            "let the newsroom's own server listen on another port, and write that in `origin`",
        );
    }
    let host = match site.hosts.first() {
        Some(host) if site.origin.keep_host => host,
        _ => authority,
    };
    let path = site.origin.health_path.as_deref().unwrap_or("/");
    let asked = Instant::now();
    match ask_origin(*address, host, path) {
        Ok(answered) => {
            let ms = asked.elapsed().as_millis();
            let said = format!(
                "{}: {authority} answered {} to {path} in {ms} ms",
                site.name, answered.status
            );
            let leads_to_https = answered.field("location").is_some_and(|location| {
                location == format!("https://{host}{path}") && (300..400).contains(&answered.status)
            });
            let keeps_nothing = answered
                .field("cache-control")
                .is_some_and(|control| control.contains("no-store") || control.contains("private"));
            if answered.status == 429 {
                Finding::todo(
                    "origin",
                    said,
                    "raise that server's limit for this machine: to it, all readers come from here",
                )
            } else if answered.status >= 500 {
                Finding::todo("origin", said, "see the log of the newsroom's own server")
            } else if leads_to_https && plan.trust_forwarded.0.is_empty() {
                Finding::todo(
                    "origin",
                    format!(
                        "{said}: it sends readers on to https, and we do not know who of them comes that way"
                    ),
                    "name what speaks https in front of Saqta in `trust_forwarded`, or let that server answer here without https",
                )
            } else if keeps_nothing
                && answered.status == 200
                && site.profile.system() == System::Generic
            {
                Finding::ok(
                    "origin",
                    format!(
                        "{said}; it forbids to keep that page (Cache-Control), so it is neither cached nor saved for the day the server is down. PHP does so where a session begins: session.cache_limiter, and `ignored_cookies`"
                    ),
                )
            } else {
                Finding::ok("origin", said)
            }
        }
        Err(error) => Finding::todo(
            "origin",
            format!(
                "{}: {authority} does not answer {path}: {}",
                site.name,
                machine::plainly(&error)
            ),
            "start the newsroom's own server there, or mend `origin`",
        ),
    }
}

/// Whether anything takes a connection there.
pub(crate) fn reach(authority: &str, within: Duration) -> io::Result<()> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The first address of a `host:port`.
pub(crate) fn origin_address(authority: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let with_port = if authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    with_port.to_socket_addrs()?.next().ok_or_else(none)
}

/// What comes until the other side ends, `deadline` passes or `bytes_max` are here; an error only when nothing came.
pub(crate) fn read_within(
    stream: &mut TcpStream,
    deadline: Instant,
    bytes_max: usize,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8 * 1024];
    while bytes.len() < bytes_max {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if bytes.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(bytes)
}

/// The head of an answer.
struct Answered {
    status: u16,
    head: String,
}

impl Answered {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn ask_origin(address: SocketAddr, host: &str, path: &str) -> io::Result<Answered> {
    let deadline = Instant::now() + ORIGIN_WITHIN;
    let mut stream = TcpStream::connect_timeout(&address, ORIGIN_WITHIN)?;
    stream.set_write_timeout(Some(ORIGIN_WITHIN))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: saqta-check\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    let is_over = |bytes: &[u8]| {
        let is_http = bytes.starts_with(&b"HTTP/1."[..bytes.len().min(7)]);
        !is_http || bytes.windows(4).any(|four| four == b"\r\n\r\n")
    };
    while bytes.len() < HEAD_BYTES_MAX && !is_over(&bytes) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split([' ', '\r', '\n']).nth(1))
        .and_then(|status| status.trim().parse().ok());
    match status {
        Some(status) => Ok(Answered { status, head }),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what answers there does not speak HTTP/1",
        )),
    }
}

pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = match count {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::path::PathBuf;

    #[test]
    fn one_is_one_and_more_are_more() {
        for (count, what, said) in [
            (1, "site", "1 site"),
            (0, "site", "0 sites"),
            (1, "address", "1 address"),
            (2, "address", "2 addresses"),
        ] {
            assert_eq!(counted(count, what), said);
        }
    }

    #[test]
    fn what_the_machine_grants_is_compared() {
        let table = [
            (
                open_files(10_512, Some(20_000)),
                "ok  open files     20000 granted, 10512 needed at worst\n",
            ),
            (
                open_files(10_512, None),
                "ok  open files     no bound, 10512 needed at worst\n",
            ),
            (
                open_files(10_512, Some(1024)),
                "do  open files     1024 are granted; connections_max and the origins may need\n                   10512\n                   LimitNOFILE=10512 in the systemd unit, or ulimit -n 10512, or\n                   lower connections_max\n",
            ),
            (
                accept_queue(Some(4096)),
                "ok  accept queue   4096 connections may wait\n",
            ),
            (
                accept_queue(Some(128)),
                "do  accept queue   the kernel lets 128 connections wait; a burst of readers is\n                   more\n                   sudo sysctl -w net.core.somaxconn=4096\n",
            ),
        ];
        for (finding, said) in table {
            assert_eq!(finding.row(false), said);
        }
    }

    /// An origin that gives one answer to one connection.
    fn origin_saying(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    fn plan_for(origin: SocketAddr) -> Plan {
        let text = format!(
            "listen = \"127.0.0.1:0\"\n[[site]]\nname = \"news\"\nany_host = true\norigin = \"http://{origin}\"\n"
        );
        crate::settings::read(&text, &PathBuf::from("f")).unwrap()
    }

    #[test]
    fn an_origin_is_asked() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let table = [
            (
                origin_saying("HTTP/1.1 200 OK\r\n\r\n"),
                true,
                "answered 200 to / in",
            ),
            (
                origin_saying("HTTP/1.1 404 Not Found\r\n\r\n"),
                true,
                "answered 404",
            ),
            (
                origin_saying("HTTP/1.1 429 Slow down\r\n\r\n"),
                false,
                "answered 429",
            ),
            (
                origin_saying(
                    "HTTP/1.1 200 OK\r\nX-Powered-CMS: Bitrix\r\nCache-Control: no-store, no-cache\r\n\r\n",
                ),
                true,
                "neither cached nor saved",
            ),
            (
                origin_saying("HTTP/1.1 301 On\r\nLocation: https://elsewhere.kz/\r\n\r\n"),
                true,
                "answered 301",
            ),
            (
                origin_saying("HTTP/1.1 503 No\r\n\r\n"),
                false,
                "answered 503",
            ),
            (
                origin_saying("SSH-2.0-x\r\n"),
                false,
                "what answers there does not speak http/1",
            ),
            (origin_saying(""), false, "does not speak http/1"),
            (closed, false, "connection refused"),
        ];
        for (address, ok, said) in table {
            let plan = plan_for(address);
            let finding = origin(&plan.sites[0], &plan);
            assert_eq!(finding.remedy.is_none(), ok, "{finding:?}");
            assert!(finding.said.contains(said), "{finding:?}");
        }
    }

    #[test]
    fn readers_sent_round_in_circles_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let _length = stream.read(&mut [0; 1024]).unwrap();
                let answer = format!("HTTP/1.1 301 On\r\nlocation: https://{address}/\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut plan = plan_for(address);
        let finding = origin(&plan.sites[0], &plan);
        let remedy = finding.remedy.unwrap_or_default();
        assert!(remedy.contains("trust_forwarded"), "{remedy}");
        plan.trust_forwarded.0.push("127.0.0.1/32".parse().unwrap());
        assert_eq!(origin(&plan.sites[0], &plan).remedy, None);
    }

    #[test]
    fn a_taken_port_is_seen_although_ours_share_theirs() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(
            listening(address, false)
                .said
                .contains("address already in use")
        );
        assert_eq!(listening(address, true).remedy, None);
        drop(taken);
        assert_eq!(listening(address, false).remedy, None);
        assert!(
            listening("203.0.113.1:0".parse().unwrap(), false)
                .said
                .contains("cannot assign requested address")
        );
    }
}
