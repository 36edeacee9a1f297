//! Which fields pass between a client and the origin, and what we add.
//!
//! The origin believes what it reads. If a stranger can write `X-Forwarded-For`, a login guard sees any address he likes; with
//! `X-Rewrite-URL`, another page than the one the cache files the answer under; with `Connection: cookie`, a request
//! stripped of what it was checked for. So the fields by which proxies speak to origins are never taken from a client: they
//! are dropped ([`DROPPED`]) and written anew from what the edge itself saw.
//!
//! `Forwarded` (RFC 7239) is not written. WordPress, Joomla and Drupal read `X-Forwarded-*`, and frameworks that read both
//! refuse a request in which the two could disagree. `X-Forwarded-For` carries one address, the client's: the rest of a
//! chain is hearsay.
//!
//! All functions here are pure. The client's address is decided by [`client_address`] and nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::plan::{ForwardClientAddress, Networks};

/// Fields taken from no client, and why. A name ending in `*` stands for every name that begins so.
pub const DROPPED: &[(&str, &str)] = &[
    (
        "forwarded",
        "says who the client is; read by frameworks beside X-Forwarded-For",
    ),
    ("x-forwarded", "an old spelling of Forwarded"),
    (
        "x-forwarded-*",
        "says who the client is and which URL it asked for; written anew",
    ),
    ("x-real-ip", "says who the client is; written anew"),
    (
        "x-client-ip",
        "says who the client is; read by WordPress security plugins",
    ),
    (
        "x-cluster-client-ip",
        "says who the client is; read by WordPress security plugins",
    ),
    (
        "client-ip",
        "says who the client is; PHP's HTTP_CLIENT_IP, read first by much old code",
    ),
    (
        "true-client-ip",
        "says who the client is; Akamai's and Cloudflare's spelling",
    ),
    (
        "cf-connecting-ip",
        "says who the client is; Cloudflare's spelling",
    ),
    (
        "cf-connecting-ipv6",
        "says who the client is; Cloudflare's spelling",
    ),
    (
        "cf-ipcountry",
        "says where the client is; decides what some plugins show",
    ),
    (
        "cf-visitor",
        "says http or https; WordPress plugins believe it",
    ),
    (
        "fastly-client-ip",
        "says who the client is; Fastly's spelling",
    ),
    (
        "x-sucuri-clientip",
        "says who the client is; read by WordPress security plugins",
    ),
    (
        "front-end-https",
        "says http or https; Microsoft's spelling",
    ),
    ("x-url-scheme", "says http or https"),
    (
        "x-original-url",
        "another path than the cache's key: IIS, Symfony and Drupal take it for the request's own",
    ),
    (
        "x-rewrite-url",
        "another path than the cache's key: IIS, Symfony and Drupal take it for the request's own",
    ),
    ("x-original-host", "another host than the cache's key"),
    (
        "x-host",
        "another host than the cache's key: links in the page would lead there",
    ),
    ("x-http-host-override", "another host than the cache's key"),
    (
        "x-http-method-override",
        "another method than the one judged; left to staff, whose editor in WordPress needs it",
    ),
    ("x-http-method", "another method than the one judged"),
    ("x-method-override", "another method than the one judged"),
    (
        "proxy",
        "becomes HTTP_PROXY in CGI programs, through which they then fetch (CVE-2016-5385)",
    ),
    (
        "x-middleware-subrequest",
        "switches off the middleware of Next.js (CVE-2025-29927)",
    ),
];

/// The one place [`DROPPED`] yields to: WordPress's editor sends PUT, PATCH and DELETE as POST with this field. Without it
/// a deletion becomes an update, silently.
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// Between two hops only (RFC 9110 §7.6.1), whether `Connection` names them or not.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// `Connection` may name fields a sender made up for this hop. These are nobody's to take away: without them the same
/// request means something else, or is somebody else's. RFC 9110 §7.6.1 forbids a sender to name such.
const END_TO_END: &[&str] = &[
    "host",
    "authorization",
    "cookie",
    "origin",
    "referer",
    "user-agent",
    "date",
    "from",
    "expect",
    "max-forwards",
    "via",
    "trailer",
    "range",
    "vary",
    "age",
    "etag",
    "expires",
    "pragma",
    "location",
    "warning",
    "server",
    "allow",
    "link",
    "set-cookie",
    "www-authenticate",
    "retry-after",
    "last-modified",
    "refresh",
    "strict-transport-security",
    "referrer-policy",
    "permissions-policy",
    "surrogate-control",
    "cdn-cache-control",
    "cache-control",
    "cache-status",
    "clear-site-data",
    "timing-allow-origin",
];

/// ... and every name that begins so.
const END_TO_END_PREFIXES: &[&str] = &[
    "accept",
    "access-control-",
    "content-",
    "cross-origin-",
    "if-",
    "sec-",
    "x-forwarded-",
    "x-real-ip",
    "x-wp-",
    "x-csrf-",
    "x-xsrf-",
    "x-requested-with",
    "x-frame-options",
    "x-content-type-options",
    "x-robots-tag",
];

/// How we sign `Via` towards the origin.
const PSEUDONYM: &str = "saqta";

/// Two edges in a row are an arrangement, four passages through the same are a loop: the origin's address leads back here.
const PASSAGES_MAX: usize = 4;

/// Hops of `X-Forwarded-For` looked at. Two balancers and a tunnel are three.
const HOPS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What the edge knows of a request that its fields must not be asked for.
#[derive(Debug, Clone)]
pub struct Inbound<'a> {
    /// From [`client_address`].
    pub client: IpAddr,
    /// From [`outer_scheme`].
    pub scheme: Scheme,
    /// The host and port the reader asked for.
    pub host: &'a Authority,
    pub version: Version,
    /// The origin itself confirmed a login.
    pub staff: bool,
}

/// How the origin wants to be spoken to.
#[derive(Debug, Clone)]
pub struct Outbound<'a> {
    /// The plan's `keep_host`.
    pub keep_host: bool,
    pub authority: &'a Authority,
    pub client_address: ForwardClientAddress,
}

/// What kind of exchange the fields ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    Plain,
    /// `Upgrade: websocket`: the origin may answer 101.
    WebSocket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardFault {
    #[error("the request has passed through here {PASSAGES_MAX} times")]
    Loop,
}

/// Turns a client's request fields into what the origin shall see.
///
/// `Transfer-Encoding` goes with the other hop-by-hop fields and `Content-Length` stays; [`crate::origin::Origin::send`]
/// frames the body anew.
pub fn request(
    method: &Method,
    fields: &mut HeaderMap,
    inbound: &Inbound<'_>,
    outbound: &Outbound<'_>,
) -> Result<Exchange, ForwardFault> {
    let passages = fields
        .get_all(VIA)
        .iter()
        .flat_map(|line| list(line.as_bytes()))
        .filter(|entry| {
            entry.split(|byte| byte.is_ascii_whitespace()).nth(1) == Some(PSEUDONYM.as_bytes())
        })
        .count();
    if passages >= PASSAGES_MAX {
        return Err(ForwardFault::Loop);
    }
    let exchange = if asks_websocket(method, fields, inbound.version) {
        Exchange::WebSocket
    } else {
        Exchange::Plain
    };
    let takes_trailers = names(fields, TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    let may_override = inbound.staff
        && method == Method::POST
        && fields.get_all(METHOD_OVERRIDE).iter().count() == 1
        && fields
            .get(METHOD_OVERRIDE)
            .is_some_and(|method| matches!(method.as_bytes(), b"PUT" | b"PATCH" | b"DELETE"));

    remove_hop_by_hop(fields);
    let dropped: Vec<HeaderName> = fields
        .keys()
        .filter(|name| {
            is_dropped(name.as_str()) && !(may_override && name.as_str() == METHOD_OVERRIDE)
        })
        .cloned()
        .collect();
    remove_all(fields, &dropped);
    // The edge has answered 100 itself, or will not; to wait for the origin's as well would only cost a round trip.
    fields.remove(EXPECT);

    if exchange == Exchange::WebSocket {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if takes_trailers {
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        // The edge compresses, once per variant, for all readers.
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }

    let asked = authority_value(inbound.host);
    let host = if outbound.keep_host {
        asked.clone()
    } else {
        authority_value(outbound.authority)
    };
    fields.insert(HOST, host);
    let via = format!("{} {PSEUDONYM}", version_name(inbound.version));
    if let Ok(via) = HeaderValue::from_str(&via) {
        fields.append(VIA, via);
    }
    let port = inbound
        .host
        .port_u16()
        .unwrap_or_else(|| inbound.scheme.port());
    fields.insert(
        "x-forwarded-proto",
        HeaderValue::from_static(inbound.scheme.name()),
    );
    fields.insert("x-forwarded-host", asked);
    fields.insert("x-forwarded-port", HeaderValue::from(port));
    if let Some(address) = shown_address(inbound.client, outbound.client_address)
        && let Ok(address) = HeaderValue::from_str(&address.to_string())
    {
        fields.insert("x-forwarded-for", address.clone());
        fields.insert("x-real-ip", address);
    }
    Ok(exchange)
}

/// Makes a request's fields those of a fetch for the cache: the whole representation, whatever the client has of it.
///
/// What is not in the key must not reach the origin, so the client's own wishes about freshness go too.
pub fn for_cache_fetch(fields: &mut HeaderMap) {
    for name in [
        RANGE,
        IF_RANGE,
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        CACHE_CONTROL,
        PRAGMA,
    ] {
        fields.remove(name);
    }
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Turns the origin's response fields into what a client may see.
///
/// After this, `Content-Length` is absent or one line of one number, as hyper read it.
pub fn response(
    status: StatusCode,
    fields: &mut HeaderMap,
    inbound: &Inbound<'_>,
    outbound: &Outbound<'_>,
) {
    // RFC 9112 §6.3: the coding decides, the length is a leftover or an attack.
    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    remove_hop_by_hop(fields);
    if switching {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    // Says where else the origin can be reached, past the edge.
    fields.remove("alt-svc");
    // Instructions to a proxy of the origin's own, with paths of its disk.
    for name in [
        "x-accel-redirect",
        "x-accel-buffering",
        "x-accel-expires",
        "x-sendfile",
    ] {
        fields.remove(name);
    }
    let length = fields
        .get(CONTENT_LENGTH)
        .and_then(|line| list(line.as_bytes()).next())
        .map(HeaderValue::from_bytes);
    if let Some(Ok(length)) = length {
        fields.insert(CONTENT_LENGTH, length);
    }
    if !outbound.keep_host {
        for name in ["location", "content-location"] {
            let back = fields
                .get(name)
                .and_then(|value| outward(value, inbound, outbound.authority));
            if let Some(back) = back {
                fields.insert(name, back);
            }
        }
    }
}

/// Trailers come after everything was decided by the fields before; those that would decide it again are dropped.
pub fn request_trailers(trailers: &mut HeaderMap) {
    let dropped: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_dropped(name.as_str()) || !may_trail(name.as_str()))
        .cloned()
        .collect();
    remove_all(trailers, &dropped);
}

pub fn response_trailers(trailers: &mut HeaderMap) {
    let dropped: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !may_trail(name.as_str()))
        .cloned()
        .collect();
    remove_all(trailers, &dropped);
}

/// The client behind `peer`. `lines` are the `X-Forwarded-For` lines in order.
///
/// Each proxy appends the address it was spoken to from, so the list is true from the right for as long as its writers are
/// trusted. The walk ends at the first address nobody vouches for, or at an entry that is not an address: what stands to the
/// left of it may have been written by anyone.
pub fn client_address<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trust: &Networks,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let entries = lines
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
        .take(HOPS_MAX);
    for entry in entries {
        if !trust.contains(client) {
            break;
        }
        let Some(address) = parse_hop(entry) else {
            break;
        };
        client = address;
    }
    client
}

/// http or https as the reader's browser saw it: a trusted peer that ends TLS says so in the last `X-Forwarded-Proto`.
pub fn outer_scheme(peer: IpAddr, proto: Option<&[u8]>, trust: &Networks, own: Scheme) -> Scheme {
    if !trust.contains(peer) {
        return own;
    }
    match proto
        .and_then(|line| line.rsplit(|byte| *byte == b',').next())
        .map(<[u8]>::trim_ascii)
    {
        Some(name) if name.eq_ignore_ascii_case(b"https") => Scheme::Https,
        Some(name) if name.eq_ignore_ascii_case(b"http") => Scheme::Http,
        _ => own,
    }
}

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() {
            port.strip_prefix(':')?.parse::<u16>().ok()?;
        }
        IpAddr::V6(address.parse().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        port.parse::<u16>().ok()?;
        IpAddr::V4(address.parse().ok()?)
    };
    Some(address.to_canonical())
}

fn shown_address(client: IpAddr, forward: ForwardClientAddress) -> Option<IpAddr> {
    match (forward, client.to_canonical()) {
        (ForwardClientAddress::None, _) => None,
        (ForwardClientAddress::Full, address) => Some(address),
        (ForwardClientAddress::Prefix, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(Ipv4Addr::new(a, b, c, 0).into())
        }
        (ForwardClientAddress::Prefix, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())
        }
    }
}

fn asks_websocket(method: &Method, fields: &HeaderMap, version: Version) -> bool {
    // HTTP/1.0 has no upgrade and HTTP/2 has another way (RFC 8441), which the edge does not offer.
    version == Version::HTTP_11
        && method == Method::GET
        && names(fields, CONNECTION).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
        && names(fields, UPGRADE).any(|name| name.eq_ignore_ascii_case(b"websocket"))
}

fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = names(fields, CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_end_to_end(name.as_str()))
        .collect();
    remove_all(fields, &named);
    for name in HOP_BY_HOP {
        fields.remove(*name);
    }
}

fn remove_all(fields: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        fields.remove(name);
    }
}

fn is_dropped(name: &str) -> bool {
    // CGI turns `-` and `_` into the same letter, so `X_Forwarded_For` would stand in for the field dropped above.
    name.contains('_')
        || DROPPED
            .iter()
            .any(|(dropped, _)| match dropped.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == *dropped,
            })
}

fn is_end_to_end(name: &str) -> bool {
    END_TO_END.contains(&name)
        || END_TO_END_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// RFC 9110 §6.5.1: nothing that frames, routes, authenticates, controls or describes the content.
fn may_trail(name: &str) -> bool {
    let describes_only = matches!(
        name,
        "etag" | "date" | "server-timing" | "content-digest" | "repr-digest" | "content-md5"
    );
    describes_only || !(HOP_BY_HOP.contains(&name) || is_end_to_end(name) || name.contains('_'))
}

/// An absolute reference to the origin's own name, as the reader must write it.
fn outward(
    value: &HeaderValue,
    inbound: &Inbound<'_>,
    authority: &Authority,
) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (named, tail) = rest.split_at(end);
    let origin = authority.as_str();
    let without_port = authority.host();
    let same = named.eq_ignore_ascii_case(origin)
        || (authority.port_u16().is_none_or(|port| port == 80)
            && named.eq_ignore_ascii_case(without_port));
    if !same {
        return None;
    }
    HeaderValue::from_str(&format!(
        "{}://{}{tail}",
        inbound.scheme.name(),
        inbound.host
    ))
    .ok()
}

fn authority_value(authority: &Authority) -> HeaderValue {
    #[expect(
        clippy::expect_used,
        reason = "an authority consists of bytes a field value may have"
    )]
    HeaderValue::from_str(authority.as_str()).expect("an authority is a field value")
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn names(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    fields
        .get_all(name)
        .into_iter()
        .flat_map(|line| list(line.as_bytes()))
}

fn list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}
