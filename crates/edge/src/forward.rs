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
    ACCEPT_ENCODING, ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, COOKIE,
    EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LOCATION, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::cache::control::SURROGATE_CAPABILITY;
use crate::ladder;
use crate::lanes::FIELD;
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
        FIELD,
        "the key of the newsroom's application, shown to the edge alone",
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
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Said about a response by its origin, and not to its reader: where else the origin can be reached, past the edge, and
/// instructions to a proxy of the origin's own, with paths of its disk.
static FOR_US_ONLY: [HeaderName; 5] = [
    ALT_SVC,
    HeaderName::from_static("x-accel-redirect"),
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-accel-expires"),
    HeaderName::from_static("x-sendfile"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

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
    "cdn-loop",
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

/// How we sign towards the origin.
const PSEUDONYM: &str = "saqta";

/// Where those who forward requests sign (RFC 8586), so that one who finds a signature of its own knows that it is asking itself.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A signature is some twenty bytes; what fifty have signed goes round in circles, whoever they are.
const CDN_LOOP_BYTES_MAX: usize = 1024;

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
    /// From [`signature`].
    pub signature: &'a HeaderValue,
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
    #[error("the request has passed through here before")]
    Loop,
    #[error("the request has passed through more servers than an honest one")]
    TooFar,
    /// CONNECT asks for a tunnel, which a site's own proxy is not; TRACE would show a page's script the cookies it may not
    /// read.
    #[error("the method is not one the edge passes on")]
    Method,
}

/// This process's name in `CDN-Loop`. Who guesses it can only have his own request refused.
pub fn signature(random: u64) -> HeaderValue {
    #[expect(clippy::expect_used, reason = "letters, digits and a hyphen")]
    HeaderValue::from_str(&format!("{PSEUDONYM}-{random:016x}")).expect("a field value")
}

/// To be asked before anybody waits for the answer: a request that has come back would wait for itself.
///
/// # Errors
/// [`ForwardFault::Loop`] when the request bears our signature, [`ForwardFault::TooFar`] when too many others.
pub fn has_not_been_here(fields: &HeaderMap, signature: &HeaderValue) -> Result<(), ForwardFault> {
    let lines = || fields.get_all(CDN_LOOP).iter().map(HeaderValue::as_bytes);
    let bytes = lines().map(<[u8]>::len).sum::<usize>();
    let ours = lines().flat_map(list).any(|entry| {
        entry
            .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
            .next()
            == Some(signature.as_bytes())
    });
    match (ours, bytes > CDN_LOOP_BYTES_MAX) {
        (true, _) => Err(ForwardFault::Loop),
        (false, true) => Err(ForwardFault::TooFar),
        (false, false) => Ok(()),
    }
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
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(ForwardFault::Method);
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
    join_cookies(fields);
    keep_our_cookies(fields);

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
    fields.append(VIA, via(inbound.version));
    fields.append(CDN_LOOP, inbound.signature.clone());
    let port = inbound
        .host
        .port_u16()
        .unwrap_or_else(|| inbound.scheme.port());
    fields.insert(
        X_FORWARDED_PROTO,
        HeaderValue::from_static(inbound.scheme.name()),
    );
    fields.insert(X_FORWARDED_HOST, asked);
    fields.insert(X_FORWARDED_PORT, HeaderValue::from(port));
    if let Some(address) = shown_address(inbound.client, outbound.client_address)
        && let Ok(address) = HeaderValue::from_str(&address.to_string())
    {
        fields.insert(X_FORWARDED_FOR, address.clone());
        fields.insert(X_REAL_IP, address);
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
    fields.insert(
        HeaderName::from_static("surrogate-capability"),
        HeaderValue::from_static(SURROGATE_CAPABILITY),
    );
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
    remove_all(fields, &FOR_US_ONLY);
    one_length(fields);
    if !outbound.keep_host {
        for name in [LOCATION, CONTENT_LOCATION] {
            let back = fields
                .get(&name)
                .and_then(|value| outward(value, inbound, outbound.authority));
            if let Some(back) = back {
                fields.insert(name, back);
            }
        }
    }
}

/// A redirect within the site keeps what was taken from the target that led to it: the page's own script wants to count it.
pub fn give_back(fields: &mut HeaderMap, taken: &str, host: &Authority) {
    let location = fields.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return;
    };
    let rest = match location.split_once("://") {
        Some((_, rest)) => Some(rest),
        None => location.strip_prefix("//"),
    };
    let is_elsewhere = rest.is_some_and(|rest| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        !rest[..end].eq_ignore_ascii_case(host.as_str())
    });
    if is_elsewhere {
        return;
    }
    let (target, fragment) = match location.split_once('#') {
        Some((target, fragment)) => (target, Some(fragment)),
        None => (location, None),
    };
    let joint = if target.contains('?') { '&' } else { '?' };
    let mut back = format!("{target}{joint}{taken}");
    if let Some(fragment) = fragment {
        back.push('#');
        back.push_str(fragment);
    }
    if let Ok(back) = HeaderValue::from_str(&back) {
        fields.insert(LOCATION, back);
    }
}

/// `Content-Length: 5, 5` is five, and so are two lines of it; hyper has seen to it that all say the same.
fn one_length(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    let (Some(line), second) = (lines.next(), lines.next()) else {
        return;
    };
    if second.is_none() && line.as_bytes().iter().all(u8::is_ascii_digit) {
        return;
    }
    let length = list(line.as_bytes()).next().map(HeaderValue::from_bytes);
    if let Some(Ok(length)) = length {
        fields.insert(CONTENT_LENGTH, length);
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
    remove_all(fields, &HOP_BY_HOP);
}

/// HTTP/2 splits cookies into lines so that they compress; HTTP/1.1 has one line of them (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = fields
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        fields.insert(COOKIE, joined);
    }
}

/// What we gave to a browser is for us.
fn keep_our_cookies(fields: &mut HeaderMap) {
    let ours = ladder::COOKIES.as_bytes();
    let Some(line) = fields.get(COOKIE).map(HeaderValue::as_bytes) else {
        return;
    };
    if memchr::memmem::find(line, ours).is_none() {
        return;
    }
    let theirs: Vec<&[u8]> = line
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !pair.starts_with(ours))
        .collect();
    match HeaderValue::from_bytes(&theirs.join(&b"; "[..])) {
        Ok(line) if !theirs.is_empty() => _ = fields.insert(COOKIE, line),
        _ => _ = fields.remove(COOKIE),
    }
}

fn remove_all(fields: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        fields.remove(name);
    }
}

/// A bit for each letter a name in [`DROPPED`] begins with; few of a browser's names do.
const DROPPED_LETTERS: u32 = {
    let mut letters = 0;
    let mut at = 0;
    while at < DROPPED.len() {
        letters |= 1 << (DROPPED[at].0.as_bytes()[0] - b'a');
        at += 1;
    }
    letters
};

/// Taken from no client, by [`DROPPED`].
pub(crate) fn is_dropped(name: &str) -> bool {
    let letter = name.bytes().next().unwrap_or_default().wrapping_sub(b'a');
    let may_be = letter < 26 && DROPPED_LETTERS & (1 << letter) != 0;
    // CGI turns `-` and `_` into the same letter, so `X_Forwarded_For` would stand in for the field dropped above.
    name.contains('_')
        || may_be
            && DROPPED
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
    describes_only
        || !(HOP_BY_HOP.iter().any(|hop| hop == name) || is_end_to_end(name) || name.contains('_'))
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

/// Our entry in `Via`: the version we were spoken to in, and [`PSEUDONYM`].
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 saqta",
        Version::HTTP_2 => "2 saqta",
        Version::HTTP_3 => "3 saqta",
        _ => "1.1 saqta",
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        fields
    }

    fn lines(fields: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    type Lines = &'static [(&'static str, &'static str)];
    type Texts = &'static [&'static str];

    struct Case {
        method: Method,
        inbound: Inbound<'static>,
        outbound: Outbound<'static>,
    }

    fn authority(text: &str) -> &'static Authority {
        Box::leak(Box::new(text.parse().unwrap()))
    }

    fn case() -> Case {
        Case {
            method: Method::GET,
            inbound: Inbound {
                client: "203.0.113.9".parse().unwrap(),
                scheme: Scheme::Https,
                host: authority("news.example"),
                version: Version::HTTP_11,
                signature: Box::leak(Box::new(signature(1))),
                staff: false,
            },
            outbound: Outbound {
                keep_host: true,
                authority: authority("10.0.0.5:8080"),
                client_address: ForwardClientAddress::Full,
            },
        }
    }

    /// What every request carries when it leaves.
    const ALWAYS: [&str; 8] = [
        "cdn-loop: saqta-0000000000000001",
        "host: news.example",
        "via: 1.1 saqta",
        "x-forwarded-for: 203.0.113.9",
        "x-forwarded-host: news.example",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-real-ip: 203.0.113.9",
    ];

    #[track_caller]
    fn check(case: &Case, client: &[(&str, &str)], expected: &[&str]) -> Exchange {
        let mut fields = fields(client);
        let exchange = request(&case.method, &mut fields, &case.inbound, &case.outbound).unwrap();
        let mut expected: Vec<String> = expected
            .iter()
            .chain(&ALWAYS)
            .map(|line| (*line).to_owned())
            .collect();
        expected.sort();
        assert_eq!(lines(&fields), expected, "{client:?}");
        exchange
    }

    #[test]
    fn what_a_client_says_about_itself_is_written_anew() {
        let case = Case {
            method: Method::POST,
            ..case()
        };
        let mut client: Vec<(&str, &str)> = DROPPED
            .iter()
            .map(|(name, _)| (*name, "198.51.100.1"))
            .filter(|(name, _)| !name.ends_with('*'))
            .collect();
        client.extend([
            ("host", "news.example"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-prefix", "/evil"),
            ("x-forwarded-server", "evil.example"),
            ("x_forwarded_for", "127.0.0.1"),
            ("content_length", "5"),
            ("user-agent", "Firefox"),
            ("cookie", "a=b"),
            ("expect", "100-continue"),
        ]);
        check(&case, &client, &["cookie: a=b", "user-agent: Firefox"]);
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        let case = Case {
            method: Method::POST,
            ..case()
        };
        let table: [(Lines, Texts); 6] = [
            (
                &[
                    ("connection", "keep-alive"),
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "keep-alive"),
                ],
                &[],
            ),
            (
                &[
                    ("connection", "close, X-Mine"),
                    ("x-mine", "1"),
                    ("x-other", "2"),
                ],
                &["x-other: 2"],
            ),
            (
                &[
                    ("transfer-encoding", "chunked"),
                    ("proxy-authorization", "Basic eDp5"),
                    ("te", "gzip"),
                ],
                &[],
            ),
            (
                &[("te", "trailers, deflate;q=0.5"), ("connection", "TE")],
                &["connection: te", "te: trailers"],
            ),
            (
                &[
                    ("upgrade", "h2c"),
                    ("connection", "upgrade, http2-settings"),
                    ("http2-settings", "AAMA"),
                ],
                &[],
            ),
            (&[("connection", ", ,a b, \"a\","), ("a", "1")], &["a: 1"]),
        ];
        for (client, expected) in table {
            check(&case, client, expected);
        }
    }

    #[test]
    fn connection_takes_away_nothing_that_is_anybody_elses() {
        let case = Case {
            method: Method::POST,
            ..case()
        };
        let kept = [
            "authorization: Bearer a",
            "content-length: 3",
            "content-type: text/plain",
            "cookie: a=b",
            "if-match: \"x\"",
            "origin: https://news.example",
            "range: bytes=0-1",
            "sec-fetch-mode: navigate",
            "x-requested-with: XMLHttpRequest",
            "x-wp-nonce: 1",
        ];
        let split: Vec<(&str, &str)> = kept
            .iter()
            .map(|line| line.split_once(": ").unwrap())
            .collect();
        let mut client = split.clone();
        let named: Vec<&str> = split
            .iter()
            .map(|(name, _)| *name)
            .chain(["host", "x-forwarded-for", "via"])
            .collect();
        let named = named.join(", ");
        client.push(("connection", &named));
        check(&case, &client, &kept);
    }

    #[test]
    fn only_a_websocket_is_upgraded() {
        let ask = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
        ];
        let get = case();
        let upgraded = [
            "accept-encoding: identity",
            "connection: upgrade",
            "sec-websocket-version: 13",
            "upgrade: websocket",
        ];
        assert_eq!(check(&get, &ask, &upgraded), Exchange::WebSocket);
        let plain = ["accept-encoding: identity", "sec-websocket-version: 13"];
        assert_eq!(check(&get, &[ask[1], ask[2]], &plain), Exchange::Plain);
        let post = Case {
            method: Method::POST,
            ..case()
        };
        assert_eq!(check(&post, &ask, &plain[1..]), Exchange::Plain);
    }

    #[test]
    fn the_edge_compresses_so_the_origin_need_not() {
        let client = [("accept-encoding", "gzip, br, zstd")];
        check(&case(), &client, &["accept-encoding: identity"]);
        check(
            &Case {
                method: Method::POST,
                ..case()
            },
            &client,
            &["accept-encoding: gzip, br, zstd"],
        );
    }

    #[test]
    fn the_method_is_overridden_by_staff_and_in_a_post_only() {
        let kept = ["x-http-method-override: DELETE"];
        let table: [(bool, Method, &str, &[&str]); 5] = [
            (true, Method::POST, "DELETE", &kept),
            (false, Method::POST, "DELETE", &[]),
            (true, Method::PUT, "DELETE", &[]),
            (true, Method::POST, "GET", &[]),
            (true, Method::POST, "delete", &[]),
        ];
        for (staff, method, value, expected) in table {
            let mut case = Case { method, ..case() };
            case.inbound.staff = staff;
            check(&case, &[("x-http-method-override", value)], expected);
        }
    }

    #[test]
    fn the_origin_learns_host_port_scheme_and_as_much_of_the_address_as_it_may() {
        use ForwardClientAddress::{Full, None as Nothing, Prefix};
        let table = [
            (
                Full,
                "203.0.113.9",
                Scheme::Http,
                "news.example:8080",
                Some("203.0.113.9"),
                "8080",
            ),
            (
                Full,
                "::ffff:203.0.113.9",
                Scheme::Http,
                "news.example",
                Some("203.0.113.9"),
                "80",
            ),
            (
                Prefix,
                "203.0.113.9",
                Scheme::Https,
                "news.example",
                Some("203.0.113.0"),
                "443",
            ),
            (
                Prefix,
                "2001:db8:1:2:3::4",
                Scheme::Https,
                "[2001:db8::1]:8443",
                Some("2001:db8:1::"),
                "8443",
            ),
            (
                Nothing,
                "203.0.113.9",
                Scheme::Https,
                "news.example",
                None,
                "443",
            ),
        ];
        for (shown, client, scheme, host, address, port) in table {
            let mut case = case();
            case.outbound.client_address = shown;
            case.inbound.client = client.parse().unwrap();
            case.inbound.scheme = scheme;
            case.inbound.host = authority(host);
            let mut fields =
                fields(&[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")]);
            request(&case.method, &mut fields, &case.inbound, &case.outbound).unwrap();
            let text = |name: &str| fields.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(
                (text("x-forwarded-for"), text("x-real-ip")),
                (address, address),
                "{client}"
            );
            assert_eq!(text("x-forwarded-port"), Some(port));
            assert_eq!(
                (text("x-forwarded-host"), text("host")),
                (Some(host), Some(host))
            );
            assert_eq!(text("x-forwarded-proto"), Some(scheme.name()));
        }
    }

    #[test]
    fn the_origins_own_name_is_asked_for_when_told_and_led_out_of_its_redirects() {
        let mut case = case();
        case.outbound.keep_host = false;
        let mut sent = fields(&[("host", "news.example")]);
        request(&case.method, &mut sent, &case.inbound, &case.outbound).unwrap();
        assert_eq!(sent.get("host").unwrap(), "10.0.0.5:8080");
        let table = [
            ("http://10.0.0.5:8080/a?b#c", "https://news.example/a?b#c"),
            ("http://10.0.0.5:8080", "https://news.example"),
            ("http://10.0.0.5:80800/a", "http://10.0.0.5:80800/a"),
            ("http://10.0.0.5/a", "http://10.0.0.5/a"),
            (
                "http://10.0.0.5:8080@evil.example/",
                "http://10.0.0.5:8080@evil.example/",
            ),
            ("//10.0.0.5:8080/a", "//10.0.0.5:8080/a"),
            ("/a", "/a"),
            ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ];
        for (location, expected) in table {
            for keep_host in [false, true] {
                case.outbound.keep_host = keep_host;
                let mut answer = fields(&[("location", location)]);
                response(
                    StatusCode::FOUND,
                    &mut answer,
                    &case.inbound,
                    &case.outbound,
                );
                assert_eq!(
                    answer.get("location").unwrap(),
                    if keep_host { location } else { expected }
                );
            }
        }
    }

    #[test]
    fn a_redirect_within_the_site_gives_back_what_was_taken() {
        let table = [
            ("/a/", "/a/?utm_source=x&fbclid=y"),
            ("/a?b=1#c", "/a?b=1&utm_source=x&fbclid=y#c"),
            (
                "https://news.example/a",
                "https://news.example/a?utm_source=x&fbclid=y",
            ),
            ("//news.example", "//news.example?utm_source=x&fbclid=y"),
            ("https://elsewhere.example/a", "https://elsewhere.example/a"),
            ("https://news.example.evil/a", "https://news.example.evil/a"),
        ];
        for (location, expected) in table {
            let mut answer = fields(&[("location", location)]);
            give_back(
                &mut answer,
                "utm_source=x&fbclid=y",
                authority("news.example"),
            );
            assert_eq!(answer.get("location").unwrap(), expected);
        }
    }

    #[test]
    fn cookies_split_by_http_2_become_one_line() {
        let mut case = Case {
            method: Method::POST,
            ..case()
        };
        check(
            &case,
            &[("cookie", "a=b"), ("cookie", "c=d; e"), ("cookie", "f=g")],
            &["cookie: a=b; c=d; e; f=g"],
        );
        case.inbound.version = Version::HTTP_2;
        let mut sent = fields(&[("cookie", "a=b")]);
        request(&case.method, &mut sent, &case.inbound, &case.outbound).unwrap();
        assert_eq!(sent.get("cookie").unwrap(), "a=b");
        assert_eq!(sent.get("via").unwrap(), "2 saqta");
    }

    #[test]
    fn cookies_of_ours_stay_here() {
        let case = Case {
            method: Method::POST,
            ..case()
        };
        let table: [(&[&str], &[&str]); 5] = [
            (&["a=b; saqta-pass=x; c=d"], &["cookie: a=b; c=d"]),
            (&["saqta-ticket=x", "saqta-reader=y;"], &[]),
            (
                &["saqta-pass=x; a=saqta-pass=y"],
                &["cookie: a=saqta-pass=y"],
            ),
            (&["a=b;saqta-pass=x;;c"], &["cookie: a=b; c"]),
            (&["Saqta=1; a=saqta"], &["cookie: Saqta=1; a=saqta"]),
        ];
        for (sent, expected) in table {
            let sent: Vec<_> = sent.iter().map(|line| ("cookie", *line)).collect();
            check(&case, &sent, expected);
        }
    }

    #[test]
    fn tunnels_and_traces_are_not_for_us() {
        let case = case();
        for method in [Method::CONNECT, Method::TRACE] {
            let fault = request(
                &method,
                &mut HeaderMap::new(),
                &case.inbound,
                &case.outbound,
            );
            assert_eq!(fault, Err(ForwardFault::Method), "{method}");
        }
    }

    #[test]
    fn a_request_that_comes_round_again_is_stopped() {
        let ours = signature(7);
        let long = "a-cdn-of-somebody-else, ".repeat(50);
        let table: [(Lines, Result<(), ForwardFault>); 6] = [
            (&[], Ok(())),
            (
                &[("cdn-loop", "cloudflare; a=b, saqta-0000000000000008")],
                Ok(()),
            ),
            (
                &[(
                    "cdn-loop",
                    "saqta-00000000000000070, x-saqta-0000000000000007",
                )],
                Ok(()),
            ),
            (
                &[("cdn-loop", "saqta-0000000000000007")],
                Err(ForwardFault::Loop),
            ),
            (
                &[
                    ("cdn-loop", "cloudflare"),
                    ("cdn-loop", "fastly;p=\"1\" ,saqta-0000000000000007 ; x=1"),
                ],
                Err(ForwardFault::Loop),
            ),
            (
                &[("via", "1.1 saqta, 1.1 saqta, 1.1 saqta, 1.1 saqta")],
                Ok(()),
            ),
        ];
        for (client, expected) in table {
            assert_eq!(
                has_not_been_here(&fields(client), &ours),
                expected,
                "{client:?}"
            );
        }
        assert_eq!(
            has_not_been_here(&fields(&[("cdn-loop", &long)]), &ours),
            Err(ForwardFault::TooFar)
        );
    }

    #[test]
    fn others_signatures_stay_before_ours() {
        let mut case = case();
        case.inbound.signature = Box::leak(Box::new(signature(7)));
        let mut sent = fields(&[("cdn-loop", "cloudflare"), ("connection", "cdn-loop")]);
        request(&case.method, &mut sent, &case.inbound, &case.outbound).unwrap();
        let signed: Vec<&HeaderValue> = sent.get_all(CDN_LOOP).iter().collect();
        assert_eq!(signed, ["cloudflare", "saqta-0000000000000007"]);
        // What we sent, received.
        assert_eq!(
            has_not_been_here(&sent, case.inbound.signature),
            Err(ForwardFault::Loop)
        );
    }

    #[test]
    fn responses_lose_what_was_meant_for_us() {
        let case = case();
        let table: [(StatusCode, Lines, Texts); 5] = [
            (
                StatusCode::OK,
                &[
                    ("connection", "close, set-cookie, x-hop"),
                    ("x-hop", "1"),
                    ("set-cookie", "a=b"),
                    ("keep-alive", "5"),
                ],
                &["set-cookie: a=b"],
            ),
            (
                StatusCode::OK,
                &[
                    ("transfer-encoding", "chunked"),
                    ("content-length", "3"),
                    ("trailer", "etag"),
                ],
                &["trailer: etag"],
            ),
            (
                StatusCode::OK,
                &[("content-length", "3, 3"), ("content-length", "3")],
                &["content-length: 3"],
            ),
            (
                StatusCode::OK,
                &[
                    ("alt-svc", "h3=\":443\""),
                    ("x-accel-redirect", "/var/a"),
                    ("server", "Apache"),
                    ("etag", "\"a\""),
                ],
                &["etag: \"a\"", "server: Apache"],
            ),
            (
                StatusCode::SWITCHING_PROTOCOLS,
                &[
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-accept", "x"),
                ],
                &[
                    "connection: upgrade",
                    "sec-websocket-accept: x",
                    "upgrade: websocket",
                ],
            ),
        ];
        for (status, origin, expected) in table {
            let mut answer = fields(origin);
            response(status, &mut answer, &case.inbound, &case.outbound);
            assert_eq!(lines(&answer), expected, "{origin:?}");
        }
    }

    #[test]
    fn a_fetch_for_the_cache_asks_for_the_whole() {
        let mut asked = fields(&[
            ("range", "bytes=0-1"),
            ("if-range", "\"a\""),
            ("if-match", "\"a\""),
            ("if-none-match", "\"a\""),
            ("if-modified-since", "Sat, 22 Nov 2025 00:00:00 GMT"),
            ("if-unmodified-since", "Sat, 22 Nov 2025 00:00:00 GMT"),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("accept-encoding", "br"),
            ("accept", "text/html"),
        ]);
        for_cache_fetch(&mut asked);
        assert_eq!(
            lines(&asked),
            [
                "accept-encoding: identity",
                "accept: text/html",
                "surrogate-capability: saqta=\"Surrogate/1.0\""
            ]
        );
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_nobody_vouches_for() {
        let trust = Networks(
            ["10.0.0.0/8", "2001:db8:f::/48", "127.0.0.1/32"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
        );
        let nobody = Networks::default();
        let balancer = "10.0.0.1";
        let table: [(&Networks, &str, &[&str], &str); 17] = [
            // An empty list believes nobody, loopback included.
            (&nobody, "127.0.0.1", &["203.0.113.9"], "127.0.0.1"),
            (&nobody, "198.51.100.1", &["203.0.113.9"], "198.51.100.1"),
            (&trust, "198.51.100.1", &["203.0.113.9"], "198.51.100.1"),
            (&trust, balancer, &[], balancer),
            (&trust, balancer, &["203.0.113.9"], "203.0.113.9"),
            (&trust, balancer, &["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
            (
                &trust,
                balancer,
                &["1.2.3.4", "203.0.113.9, 10.9.9.9"],
                "203.0.113.9",
            ),
            (
                &trust,
                balancer,
                &["1.2.3.4, 203.0.113.9", "10.9.9.9"],
                "203.0.113.9",
            ),
            (&trust, balancer, &["10.2.0.1, 10.3.0.1"], "10.2.0.1"),
            (&trust, balancer, &["203.0.113.9:4711"], "203.0.113.9"),
            (&trust, balancer, &["[2001:db8::7]:4711"], "2001:db8::7"),
            (&trust, "2001:db8:f::1", &[" [2001:db8::7] "], "2001:db8::7"),
            (
                &trust,
                "::ffff:10.0.0.1",
                &["::ffff:203.0.113.9"],
                "203.0.113.9",
            ),
            // Malformed: nothing to the left of it counts.
            (&trust, balancer, &["203.0.113.9, unknown"], balancer),
            (&trust, balancer, &["203.0.113.9, , 10.9.9.9"], "10.9.9.9"),
            (&trust, balancer, &["203.0.113.9:99999"], balancer),
            (
                &trust,
                balancer,
                &["203.0.113.9\u{1}, _hidden, 203.0.113.009"],
                balancer,
            ),
        ];
        for (trust, peer, lines, expected) in table {
            let got = client_address(
                peer.parse().unwrap(),
                lines.iter().map(|line| line.as_bytes()),
                trust,
            );
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
        // A chain longer than any arrangement is looked at so far and no farther.
        let long = vec!["10.0.0.2"; 1_000].join(",");
        let got = client_address(
            balancer.parse().unwrap(),
            [long.as_bytes()].into_iter(),
            &trust,
        );
        assert_eq!(got, "10.0.0.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_scheme_is_believed_from_trusted_peers() {
        use Scheme::{Http, Https};
        let trust = Networks(vec!["10.0.0.0/8".parse().unwrap()]);
        let table: [(&str, Option<&[u8]>, Scheme, Scheme); 6] = [
            ("10.0.0.1", Some(b"https"), Http, Https),
            ("10.0.0.1", Some(b"https, HTTP"), Https, Http),
            ("10.0.0.1", Some(b"gopher"), Http, Http),
            ("10.0.0.1", None, Https, Https),
            ("203.0.113.9", Some(b"https"), Http, Http),
            ("203.0.113.9", Some(b"http"), Https, Https),
        ];
        for (peer, proto, own, expected) in table {
            assert_eq!(
                outer_scheme(peer.parse().unwrap(), proto, &trust, own),
                expected,
                "{peer} {proto:?}"
            );
        }
    }

    #[test]
    fn every_dropped_field_has_a_reason_and_a_name_in_lower_case() {
        for (name, why) in DROPPED {
            assert!(
                why.len() > 10 && !name.contains(|letter: char| letter.is_ascii_uppercase()),
                "{name}"
            );
        }
    }

    proptest::proptest! {
        /// Whatever a client sends, the origin reads one address, one host, and nothing from the list.
        #[test]
        fn no_client_speaks_in_the_edges_name(
            lines in proptest::collection::vec(("[a-zA-Z_-]{1,12}", "[ -~]{0,20}"), 0..20),
            pick in proptest::collection::vec((0..DROPPED.len(), "[ -~]{0,20}"), 0..8),
            named in proptest::collection::vec(0..DROPPED.len(), 0..4),
        ) {
            let case = case();
            let mut sent = HeaderMap::new();
            let dropped = pick.iter().map(|(at, value)| (DROPPED[*at].0.replace('*', "for"), value.clone()));
            let connection = named.iter().map(|at| ("connection".to_owned(), DROPPED[*at].0.replace('*', "for")));
            for (name, value) in lines.into_iter().chain(dropped).chain(connection) {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                sent.append(name, HeaderValue::from_str(&value).unwrap());
            }
            if request(&case.method, &mut sent, &case.inbound, &case.outbound).is_ok() {
                for (name, expected) in [("host", "news.example"), ("x-forwarded-for", "203.0.113.9")] {
                    let all: Vec<_> = sent.get_all(name).iter().collect();
                    proptest::prop_assert_eq!(all, [expected]);
                }
                let ours = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"];
                for name in sent.keys().filter(|name| is_dropped(name.as_str())) {
                    proptest::prop_assert!(ours.contains(&name.as_str()), "{}", name);
                }
            }
        }
    }
}
