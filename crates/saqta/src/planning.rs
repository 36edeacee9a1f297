//! From what the operator wrote to what we run.
//!
//! Every check below adds a problem and carries on with a default, so that one reading finds all of them; a `Plan` is only built
//! when there were none. Nothing here looks at the machine: whether the origin answers and whether the kernel grants enough open
//! files is [`crate::check`]'s business, and a file that was right yesterday is right today.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use http::uri::Authority;
use ipnet::{IpNet, Ipv4Net};
use saqta_edge::lanes::{APP_KEY_BYTES, APP_KEYS_MAX, AppKeys};
use saqta_edge::plan::{
    ForwardClientAddress, LanePlan, Language, Limits, Mode, Networks, OriginPlan, Plan, PurgePlan,
    Resolver, Site,
};

mod profile;

use saqta_edge::profile::Profile;
use saqta_edge::registry::{OpenError, Registry};
use saqta_edge::search::LINE_MBIT_DEFAULT;

use crate::duration;
use crate::host::{self, PlacedHost, shown, shown_plain};
use crate::machine;
use crate::problem::{Place, Problem, Problems};
use crate::settings::{LaneSettings, LimitsSettings, Settings, SiteSettings, Texts, Written};

/// Being reachable from outside is a decision, and ports below 1024 need a privilege.
pub(crate) const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Each address has a listener in every shard.
const LISTEN_MAX: usize = 16;
/// Each site has its own part of the cache and its own admission.
const SITES_MAX: usize = 100;
const HOSTS_PER_SITE_MAX: usize = 100;
/// Searched one by one for every connection.
const NETWORKS_MAX: usize = 256;
const NETWORKS_TOO_MANY: &str = "join neighbours into larger networks; a list of thousands belongs in the firewall (nft), which searches it faster";
const SHARDS_MAX: i64 = 256;
/// Each is looked for in the agent of every request that memory does not answer.
const LANES_MAX: usize = 32;
/// Two letters are in many agents.
const AGENT_CHARS: RangeInclusive<usize> = 3..=64;
/// As in `resolv.conf(5)`.
const RESOLVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;
const NO_RESOLVER: &str = "none";
/// A quarter of a small server with 1 GiB; the articles of a month fit ten times over.
const CACHE_MB_DEFAULT: u64 = 256;
/// 1 TiB.
const CACHE_MB_MAX: i64 = 1024 * 1024;
const NAME_CHARS_MAX: usize = 64;
const HEALTH_PATH_BYTES_MAX: usize = 512;
/// Shorter ones can be tried out, longer ones do not fit plugins' fields.
const PURGE_TOKEN_BYTES: RangeInclusive<usize> = 16..=128;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
/// Ten times what a usual `cache_mb` holds, and no small server's whole disk.
const DISK_CACHE_GB_DEFAULT: u64 = 2;
/// A newsroom of ten years, its pictures left out, has 1 to 3.
const SAVED_GB_DEFAULT: u64 = saqta_edge::keep::BYTES_MAX_DEFAULT / GIB;
/// 64 TiB.
const DISK_GB_MAX: i64 = 64 * 1024;
/// Faster ones are not sold to one machine.
const LINE_MBIT_MAX: i64 = 800_000;

/// A lost SYN is sent again after 1 s and then after 2 more.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(4);
/// PHP gives a script 30 s unless told otherwise, servers before it 60.
const RESPONSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Event streams send a sign of life every 15 to 30 s.
const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Apache has 150 to 400 workers unless told otherwise, PHP pools far fewer; what is learned stays below.
const CONCURRENCY_MAX_DEFAULT: usize = 256;

/// `running`: the plan that runs now, for a reload; what only a restart can change is then a problem among the others.
///
/// # Errors
/// All problems, those found while reading included. Never empty.
pub(crate) fn plan(
    settings: Settings,
    running: Option<&Plan>,
    mut problems: Problems,
) -> Result<Plan, Vec<Problem>> {
    let problems_found = &mut problems;
    let places = RestartPlaces::of(&settings);
    let listen = listen(settings.listen, problems_found);
    let shards = count(
        problems_found,
        "shards",
        settings.shards,
        processors(),
        1..=SHARDS_MAX,
    );
    let refuse = networks(settings.refuse, &REFUSE, problems_found);
    let trust_forwarded = networks(settings.trust_forwarded, &TRUST_FORWARDED, problems_found);
    let is_missing = !settings.misread.contains(&"site");
    let sites = sites(settings.sites, is_missing, &refuse, problems_found);
    loops(&sites, &listen, problems_found);
    let cache_mb = cache_mb(settings.cache_mb, sites.len(), problems_found);
    let disk_cache_gb = count(
        problems_found,
        "disk_cache_gb",
        settings.disk_cache_gb,
        DISK_CACHE_GB_DEFAULT,
        0..=DISK_GB_MAX,
    );
    let saved_gb = count(
        problems_found,
        "saved_gb",
        settings.saved_gb,
        SAVED_GB_DEFAULT,
        0..=DISK_GB_MAX,
    );
    let line_mbit = count(
        problems_found,
        "line_mbit",
        settings.line_mbit,
        LINE_MBIT_DEFAULT,
        1..=LINE_MBIT_MAX,
    );
    let registry = registry(settings.asn_file, settings.country_file, problems_found);
    let resolver = resolver(settings.resolver, problems_found);
    let limits = limits(settings.limits, problems_found);
    let lanes = lanes(settings.lanes, problems_found);
    let mut listen: Vec<SocketAddr> = listen.into_iter().map(|(address, _)| address).collect();
    if let Some(running) = running {
        if same_addresses(&listen, &running.listen) {
            // Another order is no change, and the edge compares word for word.
            listen.clone_from(&running.listen);
        } else if listen.len() == places.listen_entries {
            places.listen_changed(&listen, &running.listen, problems_found);
        }
        places.counts_changed(
            [shards as u64, cache_mb, disk_cache_gb, saved_gb],
            [
                running.shards as u64,
                running.cache_bytes_max / MIB,
                running.disk_cache_bytes_max / GIB,
                running.saved_bytes_max / GIB,
            ],
            problems_found,
        );
        places.sites_changed(sites.len(), running.sites.len(), problems_found);
    }
    if !problems.is_empty() {
        return Err(problems.into_list());
    }
    Ok(Plan {
        listen,
        shards,
        any_host: sites.iter().position(|site| site.any_host.is_some()),
        sites: sites
            .into_iter()
            .filter_map(PlacedSite::into_site)
            .collect(),
        refuse: plain(refuse),
        trust_forwarded: plain(trust_forwarded),
        limits,
        cache_bytes_max: cache_mb * MIB,
        disk_cache_bytes_max: disk_cache_gb * GIB,
        saved_bytes_max: saved_gb * GIB,
        line_mbit,
        bypass: false,
        registry,
        lanes,
        resolver,
        is_drill: false,
    })
}

fn registry(
    asn: Option<Written<String>>,
    country: Option<Written<String>>,
    problems: &mut Problems,
) -> Registry {
    let mut registry = Registry::default();
    type With = fn(Registry, &Path) -> Result<Registry, OpenError>;
    let lists: [(&str, Option<Written<String>>, With); 2] = [
        ("asn_file", asn, Registry::with_asn),
        ("country_file", country, Registry::with_country),
    ];
    for (key, written, with) in lists {
        // An empty one: none.
        let Some(Written { value, place }) = written.filter(|path| !path.value.is_empty()) else {
            continue;
        };
        match with(registry.clone(), Path::new(&value)) {
            Ok(more) => registry = more,
            Err(error) => problems.add(
                place,
                match &error {
                    OpenError::Read(why) => format!(
                        "`{key}` cannot be used: {error}: {}",
                        machine::plainly(why)
                    ),
                    _ => format!("`{key}` cannot be used: {error}"),
                },
                "give a file in MaxMind's format (.mmdb) by its whole path, or leave it out; rules then name no provider and no country",
            ),
        }
    }
    registry
}

fn resolver(written: Option<Texts>, problems: &mut Problems) -> Resolver {
    let Some(texts) = written else {
        return Resolver::System;
    };
    if let [one] = texts.value.as_slice()
        && one.value == NO_RESOLVER
    {
        return Resolver::Off;
    }
    if texts.value.is_empty() {
        problems.add(
            texts.place,
            "`resolver` is an empty list",
            "write resolver = \"none\" to ask nobody, or leave it out",
        );
    }
    at_most(
        &texts,
        "resolver",
        RESOLVERS_MAX,
        "shorten the list",
        problems,
    );
    let mut servers = Vec::new();
    for Written { value, place } in texts.value.into_iter().take(RESOLVERS_MAX) {
        let with_port = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
        match value.parse().or_else(|_| value.parse().map(with_port)) {
            Ok(server) => servers.push(server),
            Err(_) => problems.add(
                place,
                format!("{} in `resolver` is not an address", shown(&value)),
                "write an address, such as 127.0.0.53 or [::1]:5353; \"none\" alone asks nobody",
            ),
        }
    }
    Resolver::At(servers)
}

fn lanes(written: Vec<LaneSettings>, problems: &mut Problems) -> Vec<LanePlan> {
    if let Some(lane) = written.get(LANES_MAX) {
        problems.add(
            lane.place,
            format!(
                "the file has {} [[lane]]; at most {LANES_MAX} are read",
                written.len()
            ),
            "take some out",
        );
    }
    let lanes = written.into_iter().take(LANES_MAX);
    lanes
        .filter_map(|written| lane(written, problems))
        .collect()
}

fn lane(written: LaneSettings, problems: &mut Problems) -> Option<LanePlan> {
    let lacks = |key| !written.misread.contains(&key);
    let needed = [
        ("agent", written.agent.is_none(), "agent = \"UptimeRobot\""),
        (
            "networks",
            written
                .networks
                .as_ref()
                .is_none_or(|texts| texts.value.is_empty()),
            "networks = [\"203.0.113.0/28\"]",
        ),
    ];
    for (key, is_missing, example) in needed {
        if is_missing && lacks(key) {
            problems.add(
                written.place,
                format!("this [[lane]] has no `{key}`"),
                format!("write {example}, or take the section out"),
            );
        }
    }
    let agent = written.agent.filter(|agent| {
        let fits = AGENT_CHARS.contains(&agent.value.len())
            && agent.value.starts_with(|first: char| first.is_ascii_alphabetic())
            && agent
                .value
                .bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !fits {
            problems.add(
                agent.place,
                format!(
                    "`agent` cannot be {}: {} to {} plain letters, digits and signs, a letter first",
                    shown(&agent.value),
                    AGENT_CHARS.start(),
                    AGENT_CHARS.end()
                ),
                "write the word by which it calls itself, such as UptimeRobot",
            );
        }
        fits
    });
    let networks = plain(networks(written.networks, &LANE, problems));
    Some(LanePlan {
        agent: agent?.value,
        networks,
    })
}

/// Where a file says what only a restart can change: sockets, threads and the cache's parts are made once.
struct RestartPlaces {
    listen: Place,
    /// Fewer were understood: those that were not are problems already, and what is meant is unknown.
    listen_entries: usize,
    shards: Place,
    cache_mb: Place,
    disk_cache_gb: Place,
    saved_gb: Place,
    sites: Vec<Place>,
}

impl RestartPlaces {
    fn of(settings: &Settings) -> Self {
        fn place<T>(written: Option<&Written<T>>) -> Place {
            written.map_or(Place::Whole, |written| written.place)
        }
        Self {
            listen: place(settings.listen.as_ref()),
            listen_entries: settings
                .listen
                .as_ref()
                .map_or(1, |texts| texts.value.len()),
            shards: place(settings.shards.as_ref()),
            cache_mb: place(settings.cache_mb.as_ref()),
            disk_cache_gb: place(settings.disk_cache_gb.as_ref()),
            saved_gb: place(settings.saved_gb.as_ref()),
            sites: settings.sites.iter().map(|site| site.place).collect(),
        }
    }

    fn listen_changed(&self, new: &[SocketAddr], running: &[SocketAddr], problems: &mut Problems) {
        let quoted = |addresses: &[SocketAddr]| {
            let quoted: Vec<String> = addresses.iter().map(|one| format!("\"{one}\"")).collect();
            quoted.join(", ")
        };
        let running = quoted(running);
        restart_only(
            self.listen,
            format!("`listen` is now {}; what runs has {running}", quoted(new)),
            &format!("write listen = [{running}]"),
            problems,
        );
    }

    /// `[shards, cache_mb, disk_cache_gb, saved_gb]`.
    fn counts_changed(&self, new: [u64; 4], running: [u64; 4], problems: &mut Problems) {
        let keys = [
            ("shards", self.shards),
            ("cache_mb", self.cache_mb),
            ("disk_cache_gb", self.disk_cache_gb),
            ("saved_gb", self.saved_gb),
        ];
        for ((key, place), (new, running)) in keys.into_iter().zip(new.into_iter().zip(running)) {
            if new != running {
                restart_only(
                    place,
                    format!("`{key}` is now {new}; what runs has {running}"),
                    &format!("write {key} = {running}"),
                    problems,
                );
            }
        }
    }

    /// At the first site too many, where there is one: each site has its part of the cache.
    fn sites_changed(&self, new: usize, running: usize, problems: &mut Problems) {
        if new == running || new == 0 {
            return;
        }
        restart_only(
            self.sites.get(running).copied().unwrap_or(Place::Whole),
            format!("the file has {new} [[site]]; what runs has {running}"),
            &format!("keep to {running}"),
            problems,
        );
    }
}

fn restart_only(place: Place, what: String, or_else: &str, problems: &mut Problems) {
    if problems.speak_of(place) {
        return;
    }
    problems.add(
        place,
        what,
        format!("restart Saqta to change it, or {or_else} and reload"),
    );
}

fn same_addresses(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// One for each processor we may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn listen(written: Option<Texts>, problems: &mut Problems) -> Vec<(SocketAddr, Place)> {
    let Some(texts) = written else {
        return vec![(LISTEN_DEFAULT, Place::Whole)];
    };
    if texts.value.is_empty() {
        problems.add(
            texts.place,
            "`listen` is an empty list",
            format!("write listen = \"{LISTEN_DEFAULT}\", or leave it out"),
        );
    }
    at_most(&texts, "listen", LISTEN_MAX, "shorten the list", problems);
    let mut addresses: Vec<(SocketAddr, Place)> = Vec::new();
    for text in texts.value.into_iter().take(LISTEN_MAX) {
        match text.value.parse::<SocketAddr>() {
            Ok(address) => match addresses
                .iter()
                .find(|(other, _)| *other == address && address.port() != 0)
            {
                Some((_, first)) => {
                    problems.add(
                        text.place,
                        format!("{address} is listened on twice"),
                        format!("take one out; the other is {}", at(*first)),
                    );
                }
                None => addresses.push((address, text.place)),
            },
            Err(_) => {
                problems.add(
                    text.place,
                    format!("{} is not an address with a port", shown(&text.value)),
                    how_to_listen(&text.value),
                );
            }
        }
    }
    addresses
}

fn how_to_listen(text: &str) -> String {
    let text = text
        .trim()
        .strip_prefix("http://")
        .unwrap_or(text.trim())
        .trim_end_matches('/');
    if let Ok(address) = text.parse::<SocketAddr>() {
        return format!("write {address}");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    // `::1:80` is an IPv6 address by the letter and an address with a port by what people mean.
    if let (Ok(address), Ok(port)) = (host.parse::<Ipv6Addr>(), port.parse::<u16>()) {
        return format!("IPv6 stands in brackets: write [{address}]:{port}");
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return format!("write the port as well: {}", SocketAddr::new(address, 8080));
    }
    match port.parse::<u16>() {
        Ok(port) if matches!(host, "" | "*") => {
            format!(
                "write 0.0.0.0:{port} to be reachable from everywhere, 127.0.0.1:{port} from this machine only"
            )
        }
        Ok(port) if text.starts_with("localhost:") => format!("write 127.0.0.1:{port}"),
        Ok(port) => {
            format!("write the address in numbers: 0.0.0.0:{port} listens on all of this machine's")
        }
        Err(_) => "write an address and a port up to 65535, such as 0.0.0.0:80 or [::]:80".into(),
    }
}

/// What a list of networks is for, so that its problems can say what would happen.
struct NetworksUse {
    key: &'static str,
    whole_world: &'static str,
}

const REFUSE: NetworksUse = NetworksUse {
    key: "refuse",
    whole_world: "nobody would be served",
};
const TRUST_FORWARDED: NetworksUse = NetworksUse {
    key: "trust_forwarded",
    whole_world: "anybody could claim to be any client",
};
const PURGE_FROM: NetworksUse = NetworksUse {
    key: "purge_from",
    whole_world: "anybody could make every stored page out of date",
};
const LANE: NetworksUse = NetworksUse {
    key: "networks",
    whole_world: "whoever takes its name would count as this visitor",
};
const STAFF: NetworksUse = NetworksUse {
    key: "staff",
    whole_world: "every reader would count as staff",
};

fn networks(
    written: Option<Texts>,
    list: &NetworksUse,
    problems: &mut Problems,
) -> Vec<(IpNet, Place)> {
    let Some(texts) = written else {
        return Vec::new();
    };
    at_most(&texts, list.key, NETWORKS_MAX, NETWORKS_TOO_MANY, problems);
    let mut networks: Vec<(IpNet, Place)> = Vec::new();
    for Written { value, place } in texts.value.into_iter().take(NETWORKS_MAX) {
        let Some(network) = network(&value) else {
            problems.add(
                place,
                format!("{} in `{}` is not a network", shown(&value), list.key),
                how_to_write_a_network(&value),
            );
            continue;
        };
        if let Some((what, remedy)) = fault_of(&network, list) {
            problems.add(place, what, remedy);
            continue;
        }
        match networks.iter().find(|(other, _)| overlap(other, &network)) {
            Some((other, first)) if *other == network => {
                problems.add(
                    place,
                    format!("{network} is in `{}` twice", list.key),
                    format!("take one out; the other is {}", at(*first)),
                );
            }
            Some((other, first)) => {
                let (inner, outer) = if other.contains(&network) {
                    (&network, other)
                } else {
                    (other, &network)
                };
                problems.add(
                    place,
                    format!(
                        "{network} and {other} ({}) overlap in `{}`",
                        at(*first),
                        list.key
                    ),
                    format!("take {inner} out: it lies inside {outer}"),
                );
            }
            None => networks.push((network, place)),
        }
    }
    networks
}

/// What is wrong with a network by itself, and what to write.
fn fault_of(network: &IpNet, list: &NetworksUse) -> Option<(String, String)> {
    let key = list.key;
    if network.addr() != network.network() {
        return Some((
            format!("{network} in `{key}` is an address inside a network"),
            format!(
                "write {} for the network, or {} for the one address",
                network.trunc(),
                network.addr()
            ),
        ));
    }
    if let Some(v4) = mapped(network) {
        return Some((
            format!(
                "{network} in `{key}` is IPv4 written as IPv6, and clients are compared as IPv4"
            ),
            format!("write {v4}"),
        ));
    }
    (network.prefix_len() == 0).then(|| {
        (
            format!(
                "{network} in `{key}` is the whole Internet: {}",
                list.whole_world
            ),
            "write the networks that are meant".into(),
        )
    })
}

fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
        .ok()
}

fn how_to_write_a_network(text: &str) -> String {
    if let Some(network) = network(text.trim()) {
        return format!("write {network} without spaces");
    }
    let with_mask = text.split_once('/').and_then(|(address, mask)| {
        IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok()
    });
    match with_mask {
        Some(network) => format!("write {}", network.trunc()),
        None => "write an address, such as 203.0.113.7, or a network, such as 203.0.113.0/24 or 2001:db8::/32".into(),
    }
}

/// The IPv4 network inside `::ffff:0:0/96` that it stands for.
fn mapped(network: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(network) = network else {
        return None;
    };
    let address = network.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn plain(networks: Vec<(IpNet, Place)>) -> Networks {
    Networks(networks.into_iter().map(|(network, _)| network).collect())
}

/// A site with the places needed to compare it to others. Its origin may have been unreadable.
struct PlacedSite {
    name: String,
    /// By its settings, or by its first host. What is not has a problem with its hosts already.
    is_named: bool,
    place: Place,
    hosts: Vec<PlacedHost>,
    any_host: Option<Place>,
    origin: Option<(OriginPlan, Place)>,
    staff: Networks,
    mode: Mode,
    language: Language,
    forward_client_address: ForwardClientAddress,
    profile: Profile,
    purge: PurgePlan,
    saved: bool,
    known_readers: bool,
    app_keys: AppKeys,
}

impl PlacedSite {
    /// `None` only when its origin was a problem.
    fn into_site(self) -> Option<Site> {
        let (origin, _) = self.origin?;
        Some(Site {
            name: self.name,
            hosts: self.hosts.into_iter().map(|placed| placed.host).collect(),
            origin,
            staff: self.staff,
            mode: self.mode,
            language: self.language,
            forward_client_address: self.forward_client_address,
            profile: self.profile,
            purge: self.purge,
            saved: self.saved,
            known_readers: self.known_readers,
            app_keys: self.app_keys,
        })
    }
}

fn sites(
    written: Vec<SiteSettings>,
    is_missing: bool,
    refuse: &[(IpNet, Place)],
    problems: &mut Problems,
) -> Vec<PlacedSite> {
    if written.is_empty() && is_missing {
        problems.add(
            Place::Whole,
            "there is no site to protect",
            "write a line [[site]], and under it hosts = [\"news.example\"] and origin = \"http://127.0.0.1:8081\"",
        );
    }
    if let Some(beyond) = written.get(SITES_MAX) {
        problems.add(
            beyond.place,
            format!(
                "there are {} sites; one Saqta has at most {SITES_MAX}",
                written.len()
            ),
            "give the rest a Saqta of their own",
        );
    }
    let mut sites: Vec<PlacedSite> = Vec::new();
    for written in written.into_iter().take(SITES_MAX) {
        let site = site(written, refuse, problems);
        for PlacedHost { host, place } in &site.hosts {
            if let Some((other, first)) = sites.iter().find_map(|other| {
                let first = other.hosts.iter().find(|placed| placed.host == *host)?;
                Some((&other.name, first.place))
            }) {
                problems.add(
                    *place,
                    format!(
                        "the host {host} already belongs to the site {} ({})",
                        shown(other),
                        at(first)
                    ),
                    "take it out of one of the two",
                );
            }
        }
        let is_same =
            |other: &&PlacedSite| other.is_named && site.is_named && other.name == site.name;
        if let Some(other) = sites.iter().find(is_same) {
            problems.add(
                site.place,
                format!(
                    "two sites are called {} (the other: {})",
                    shown(&site.name),
                    at(other.place)
                ),
                "write a name = \"…\" of its own under each [[site]]",
            );
        }
        if let (Some(place), Some(first)) =
            (site.any_host, sites.iter().find_map(|other| other.any_host))
        {
            problems.add(
                place,
                format!("two sites have any_host = true (the other: {})", at(first)),
                "leave it with one of them",
            );
        }
        sites.push(site);
    }
    sites
}

fn site(written: SiteSettings, refuse: &[(IpNet, Place)], problems: &mut Problems) -> PlacedSite {
    let any_host = written
        .any_host
        .filter(|any| any.value)
        .map(|any| any.place);
    let needs_hosts = any_host.is_none() && !written.misread.contains(&"hosts");
    let hosts = hosts(written.hosts, needs_hosts, written.place, problems);
    let staff = networks(written.staff, &STAFF, problems);
    for (network, place) in &staff {
        if let Some((refused, first)) = refuse.iter().find(|(refused, _)| overlap(refused, network))
        {
            problems.add(
                *place,
                format!(
                    "staff in {network} would be refused: `refuse` ({}) has {refused}",
                    at(*first)
                ),
                "take one of the two out",
            );
        }
    }
    let origin_place = written.origin.as_ref().map(|origin| origin.place);
    let authority = match written.origin {
        Some(origin) => authority(&origin, problems),
        None if written.misread.contains(&"origin") => None,
        None => {
            problems.add(
                written.place,
                "this site has no origin",
                "write where the newsroom's own server listens: origin = \"http://127.0.0.1:8081\"",
            );
            None
        }
    };
    let is_named = written.name.is_some() || !hosts.is_empty() || any_host.is_some();
    let name = name(written.name, hosts.first(), problems);
    let connect_timeout = span(
        problems,
        "connect_timeout",
        written.connect_timeout,
        CONNECT_TIMEOUT_DEFAULT,
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    let response_timeout = span(
        problems,
        "response_timeout",
        written.response_timeout,
        RESPONSE_TIMEOUT_DEFAULT,
        Duration::from_secs(1)..=Duration::from_secs(3600),
    );
    let idle_timeout = span(
        problems,
        "idle_timeout",
        written.idle_timeout,
        IDLE_TIMEOUT_DEFAULT,
        Duration::from_secs(1)..=Duration::from_secs(3600),
    );
    let concurrency_max = count(
        problems,
        "concurrency_max",
        written.concurrency_max,
        CONCURRENCY_MAX_DEFAULT,
        1..=10_000,
    );
    let health_path = health_path(written.health_path, problems);
    let profile = profile::profile(
        profile::ProfileSettings {
            profile: written.profile,
            lifetime: written.lifetime,
            languages: written.languages,
            session_cookies: written.session_cookies,
            keyed_cookies: written.keyed_cookies,
            ignored_cookies: written.ignored_cookies,
            private_paths: written.private_paths,
            content_parameters: written.content_parameters,
            ignored_parameters: written.ignored_parameters,
            obey_no_store: written.obey_no_store,
        },
        problems,
    );
    let purge = PurgePlan {
        from: plain(networks(written.purge_from, &PURGE_FROM, problems)),
        token: purge_token(written.purge_token, problems),
    };
    PlacedSite {
        name,
        is_named,
        place: written.place,
        hosts,
        any_host,
        origin: authority.zip(origin_place).map(|(authority, place)| {
            let origin = OriginPlan {
                authority,
                keep_host: written.keep_host.is_none_or(|keep| keep.value),
                connect_timeout,
                response_timeout,
                idle_timeout,
                concurrency_max,
                health_path,
            };
            (origin, place)
        }),
        staff: plain(staff),
        purge,
        saved: written.saved.is_none_or(|saved| saved.value),
        known_readers: written.known_readers.is_none_or(|known| known.value),
        app_keys: app_keys(written.app_keys, problems),
        mode: choice(
            problems,
            "mode",
            written.mode,
            &[("observe", Mode::Observe), ("protect", Mode::Protect)],
        ),
        language: choice(
            problems,
            "language",
            written.language,
            &[
                ("kk", Language::Kazakh),
                ("ru", Language::Russian),
                ("en", Language::English),
            ],
        ),
        forward_client_address: choice(
            problems,
            "forward_client_address",
            written.forward_client_address,
            &[
                ("full", ForwardClientAddress::Full),
                ("prefix", ForwardClientAddress::Prefix),
                ("none", ForwardClientAddress::None),
            ],
        ),
        profile,
    }
}

fn hosts(
    written: Option<Texts>,
    is_needed: bool,
    site: Place,
    problems: &mut Problems,
) -> Vec<PlacedHost> {
    let place = written.as_ref().map_or(site, |texts| texts.place);
    if written.as_ref().is_none_or(|texts| texts.value.is_empty()) {
        if is_needed {
            problems.add(
                place,
                "this site has no hosts",
                "write the names readers type: hosts = [\"news.example\", \"www.news.example\"]; or any_host = true for all",
            );
        }
        return Vec::new();
    }
    let Some(texts) = written else {
        return Vec::new();
    };
    at_most(
        &texts,
        "hosts",
        HOSTS_PER_SITE_MAX,
        "shorten the list",
        problems,
    );
    let mut hosts: Vec<PlacedHost> = Vec::new();
    for text in texts.value.into_iter().take(HOSTS_PER_SITE_MAX) {
        match host::parse(&text.value) {
            Ok(host) if hosts.iter().any(|placed| placed.host == host) => {
                problems.add(
                    text.place,
                    format!("the host {host} is written twice"),
                    "take one out",
                );
            }
            Ok(host) => hosts.push(PlacedHost {
                host,
                place: text.place,
            }),
            Err(fault) => problems.add(text.place, fault.what, fault.remedy),
        }
    }
    hosts
}

fn name(
    written: Option<Written<String>>,
    first_host: Option<&PlacedHost>,
    problems: &mut Problems,
) -> String {
    let Some(Written { value, place }) = written else {
        return first_host.map_or_else(|| "site".into(), |placed| placed.host.clone());
    };
    let fits = !value.trim().is_empty()
        && value.chars().count() <= NAME_CHARS_MAX
        && !value.chars().any(char::is_control);
    if !fits {
        problems.add(
            place,
            format!("a site cannot be called {}", shown(&value)),
            format!("write 1 to {NAME_CHARS_MAX} letters on one line, or leave `name` out"),
        );
    }
    value
}

/// The `host:port` of an origin. Its address is never shown whole: it may have a password in it.
fn authority(origin: &Written<String>, problems: &mut Problems) -> Option<Authority> {
    let mut wrong = |what: &str, remedy: String| {
        problems.add(origin.place, format!("the origin {what}"), remedy);
        None
    };
    const EXAMPLE: &str =
        "write http:// and where the newsroom's own server listens, such as http://127.0.0.1:8081";
    let text = origin.value.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if text.contains('@') {
        return wrong(
            "has a user name or password in it",
            "write it without: whoever may use the origin is the origin's own affair".into(),
        );
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => {
            return wrong(
                "is https, which comes later",
                "for now let it listen without TLS on this machine or a private network, and write http:// and that address".into(),
            );
        }
        "" => {
            let port = authority.trim_start_matches(':').parse::<u16>();
            let remedy = match port {
                Ok(port) if path.is_empty() => format!("write http://127.0.0.1:{port}"),
                _ if path.is_empty() && host_and_port(authority).is_ok() => {
                    format!("write http://{}", shown_plain(authority))
                }
                _ => EXAMPLE.into(),
            };
            return wrong("does not begin with http://", remedy);
        }
        _ => {
            return wrong(
                &format!("begins with {}://, not with http://", shown_plain(scheme)),
                EXAMPLE.into(),
            );
        }
    }
    if !matches!(path, "" | "/") {
        let (what, part) = match path.as_bytes()[0] {
            b'/' => ("has a path", "path"),
            b'?' => ("has a query", "query"),
            _ => ("has a fragment", "fragment"),
        };
        return wrong(
            what,
            format!(
                "write http://{} alone: the {part} is what the reader asks for",
                shown_plain(authority)
            ),
        );
    }
    let remedy = match host_and_port(authority) {
        Ok((host, port)) => match format!("{host}:{port}").parse() {
            Ok(authority) => return Some(authority),
            Err(_) => EXAMPLE.into(),
        },
        Err(remedy) => remedy.unwrap_or_else(|| EXAMPLE.into()),
    };
    wrong(
        &format!("{} is not a host with a port", shown(authority)),
        remedy,
    )
}

/// Port 80 when none is written.
///
/// # Errors
/// Not an authority we could connect to; what to write, where that can be guessed.
fn host_and_port(authority: &str) -> Result<(String, u16), Option<String>> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    // Without brackets the last group of an IPv6 address would be taken for a port.
    if host.contains(':') && !host.starts_with('[') {
        let bracketed = host.parse::<Ipv6Addr>().ok().zip(port);
        return Err(bracketed.map(|(address, port)| {
            format!("IPv6 stands in brackets: write http://[{address}]:{port}")
        }));
    }
    let port = match port.map(str::parse::<u16>) {
        None => 80,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            return Err(Some(
                "write a port from 1 to 65535 after the last colon".into(),
            ));
        }
    };
    let undotted = host.strip_suffix('.');
    host::parse(host)
        .map(|host| (host, port))
        .map_err(|_| undotted.map(|host| format!("write http://{}:{port}", shown_plain(host))))
}

/// An origin that is ourselves answers every request by asking itself, until no connection is left.
fn loops(sites: &[PlacedSite], listen: &[(SocketAddr, Place)], problems: &mut Problems) {
    for site in sites {
        let Some((origin, place)) = &site.origin else {
            continue;
        };
        let host = origin.authority.host().trim_matches(['[', ']']);
        let port = origin.authority.port_u16().unwrap_or(80);
        let addresses: Vec<IpAddr> = match host {
            "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            host => host.parse().into_iter().collect(),
        };
        let ours = if !addresses.is_empty() {
            listen.iter().find(|(ours, _)| {
                ours.port() == port && addresses.iter().any(|address| reaches(*ours, *address))
            })
        } else if sites
            .iter()
            .any(|site| site.hosts.iter().any(|placed| placed.host == host))
        {
            // A name of ours, on a port of ours: its address records lead readers here.
            listen.iter().find(|(ours, _)| ours.port() == port)
        } else {
            None
        };
        if let Some((ours, listened)) = ours {
            let where_listened = match listened {
                Place::Whole => "unless told otherwise".into(),
                place => at(*place),
            };
            problems.add(
                *place,
                format!("the origin {} leads back to ourselves: we listen on {ours} ({where_listened})", origin.authority),
                "let the newsroom's own server listen on another port, such as 8081, and write http://127.0.0.1:8081",
            );
        }
    }
}

/// Whether connecting to `address` on the same port ends at the listener. `[::]` does not take IPv4 connections: the edge listens
/// on it for IPv6 alone.
fn reaches(listener: SocketAddr, address: IpAddr) -> bool {
    let (ours, address) = (listener.ip().to_canonical(), address.to_canonical());
    let everywhere = |one: IpAddr, other: IpAddr| {
        one.is_unspecified() && (other.is_loopback() || other.is_unspecified())
    };
    // Connecting to 0.0.0.0 reaches loopback on Linux, so it goes both ways.
    ours.is_ipv4() == address.is_ipv4()
        && (ours == address || everywhere(ours, address) || everywhere(address, ours))
}

fn health_path(written: Option<Written<String>>, problems: &mut Problems) -> Option<String> {
    let Written { value, place } = written?;
    let fits = value.starts_with('/')
        && value.len() <= HEALTH_PATH_BYTES_MAX
        && value.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !fits {
        problems.add(
            place,
            format!("`health_path` {} is not a path", shown(&value)),
            "write one that begins with / and is cheap for the origin, such as /robots.txt",
        );
    }
    fits.then_some(value)
}

/// Never shown: whoever reads a problem over a shoulder could use it.
fn purge_token(written: Option<Written<String>>, problems: &mut Problems) -> Option<String> {
    let Written { value, place } = written?;
    let fits = PURGE_TOKEN_BYTES.contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && value.trim() == value;
    if !fits {
        problems.add(
            place,
            format!(
                "`purge_token` is no word of {} to {} letters, digits and signs",
                PURGE_TOKEN_BYTES.start(),
                PURGE_TOKEN_BYTES.end()
            ),
            "write what `openssl rand -hex 16` prints, and the same in the plugin",
        );
    }
    fits.then_some(value)
}

/// None of them is ever shown.
fn app_keys(written: Option<Texts>, problems: &mut Problems) -> AppKeys {
    let Some(texts) = written else {
        return AppKeys::default();
    };
    at_most(
        &texts,
        "app_keys",
        APP_KEYS_MAX,
        "take out those that no copy of the application in use has",
        problems,
    );
    for (number, key) in (1..).zip(&texts.value) {
        let fits = APP_KEY_BYTES.contains(&key.value.len())
            && key.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            problems.add(
                key.place,
                format!(
                    "the key number {number} in `app_keys` is no word of {} to {} letters, digits and signs",
                    APP_KEY_BYTES.start(),
                    APP_KEY_BYTES.end()
                ),
                "write what `saqta app-key` prints, and the same in the application",
            );
        }
    }
    AppKeys::of(texts.value.iter().map(|key| key.value.as_str()))
}

fn cache_mb(written: Option<Written<i64>>, sites: usize, problems: &mut Problems) -> u64 {
    let place = written
        .as_ref()
        .map_or(Place::Whole, |written| written.place);
    let cache_mb = count(
        problems,
        "cache_mb",
        written,
        CACHE_MB_DEFAULT,
        1..=CACHE_MB_MAX,
    );
    if cache_mb < sites as u64 {
        problems.add(
            place,
            format!("`cache_mb` is {cache_mb} for {sites} sites; each needs 1 of its own"),
            format!("write cache_mb = {sites}, better 32 for each site"),
        );
    }
    cache_mb
}

fn limits(written: LimitsSettings, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let secs = |from: u64, to: u64| Duration::from_secs(from)..=Duration::from_secs(to);
    let connections_max = count(
        problems,
        "connections_max",
        written.connections_max,
        default.connections_max,
        16..=1_000_000,
    );
    let per_address_place = written
        .connections_per_address_max
        .as_ref()
        .map(|written| written.place);
    let connections_per_address_max = count(
        problems,
        "connections_per_address_max",
        written.connections_per_address_max,
        default.connections_per_address_max.min(connections_max),
        8..=1_000_000,
    );
    if let Some(place) = per_address_place
        && connections_per_address_max > connections_max
    {
        problems.add(
            place,
            format!("one address may have {connections_per_address_max} connections, but all together only {connections_max}"),
            format!("write connections_per_address_max = {connections_max} or less, or raise connections_max"),
        );
    }
    Limits {
        connections_max,
        connections_per_address_max,
        header_bytes_max: count(
            problems,
            "header_bytes_max",
            written.header_bytes_max,
            default.header_bytes_max,
            4096..=262_144,
        ),
        header_fields_max: count(
            problems,
            "header_fields_max",
            written.header_fields_max,
            default.header_fields_max,
            32..=1000,
        ),
        header_timeout: span(
            problems,
            "header_timeout",
            written.header_timeout,
            default.header_timeout,
            secs(1, 120),
        ),
        keep_alive_timeout: span(
            problems,
            "keep_alive_timeout",
            written.keep_alive_timeout,
            default.keep_alive_timeout,
            secs(1, 600),
        ),
        body_bytes_max: count(
            problems,
            "body_mb_max",
            written.body_mb_max,
            default.body_bytes_max / MIB,
            1..=102_400,
        ) * MIB,
        body_rate_min: count(
            problems,
            "body_rate_min",
            written.body_rate_min,
            default.body_rate_min,
            1..=1_000_000,
        ),
        write_rate_min: count(
            problems,
            "write_rate_min",
            written.write_rate_min,
            default.write_rate_min,
            1..=1_000_000,
        ),
        h2_streams_max: count(
            problems,
            "h2_streams_max",
            written.h2_streams_max,
            default.h2_streams_max,
            1..=1000,
        ),
    }
}

fn count<T: TryFrom<i64> + Copy>(
    problems: &mut Problems,
    key: &str,
    written: Option<Written<i64>>,
    default: T,
    bounds: RangeInclusive<i64>,
) -> T {
    let Some(Written { value, place }) = written else {
        return default;
    };
    match T::try_from(value) {
        Ok(fitting) if bounds.contains(&value) => fitting,
        _ => {
            let (least, most) = bounds.into_inner();
            let nearest = value.clamp(least, most);
            problems.add(
                place,
                format!("`{key}` is {value}; it goes from {least} to {most}"),
                format!("write {key} = {nearest}, or leave it out"),
            );
            default
        }
    }
}

fn span(
    problems: &mut Problems,
    key: &str,
    written: Option<Written<Duration>>,
    default: Duration,
    bounds: RangeInclusive<Duration>,
) -> Duration {
    let Some(Written { value, place }) = written else {
        return default;
    };
    if bounds.contains(&value) {
        return value;
    }
    let (least, most) = bounds.into_inner();
    let nearest = value.clamp(least, most);
    problems.add(
        place,
        format!(
            "`{key}` is {}; it goes from {} to {}",
            duration::write(value),
            duration::write(least),
            duration::write(most)
        ),
        format!(
            "write {key} = \"{}\", or leave it out",
            duration::write(nearest)
        ),
    );
    default
}

fn choice<T: Copy + Default>(
    problems: &mut Problems,
    key: &str,
    written: Option<Written<String>>,
    words: &[(&str, T)],
) -> T {
    let Some(Written { value, place }) = written else {
        return T::default();
    };
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == value) {
        return *meant;
    }
    let words: Vec<String> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    problems.add(
        place,
        format!("`{key}` cannot be {}", shown(&value)),
        format!("write {key} = {}", words.join(" or ")),
    );
    T::default()
}

fn at_most(texts: &Texts, key: &str, most: usize, remedy: &str, problems: &mut Problems) {
    if texts.value.len() > most {
        problems.add(
            texts.place,
            format!(
                "`{key}` has {} entries; at most {most} are read",
                texts.value.len()
            ),
            remedy,
        );
    }
}

/// A place inside a sentence.
fn at(place: Place) -> String {
    match place {
        Place::Line(line) => format!("line {line}"),
        Place::Flag(flag) => flag.into(),
        Place::Whole => "this file".into(),
    }
}
