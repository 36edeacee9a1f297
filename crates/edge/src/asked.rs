//! What is known of a request before anybody answers it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, Method, Request, Version, header};
use saqta_detect::facts::{self, Facts};
use saqta_detect::network::Group;
use saqta_detect::shape::Shape;
use saqta_detect::trust::Visitor;
use saqta_detect::watch::Posture;

use crate::admission::{self, Ask, Class};
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::forward::{self, Inbound, Outbound, Scheme};
use crate::head::{self, ClientFault};
use crate::ladder::Account;
use crate::ladder::code::Holds;
use crate::lanes;
use crate::plan::{Mode, Site, SiteId};
use crate::profile::{Profile, Reading, System, Target, Use};
use crate::saved::Saved;
use crate::serve::Client;
use crate::shard::{Running, SiteState};
use crate::sight;
use crate::why;

/// Who asks when nobody does. No client's address, and the origin is not told it: it would show its own machine more than it shows readers.
pub(crate) const OURSELVES: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Owned by the exchange: it outlives the client when the origin is still working.
#[derive(Clone)]
pub(crate) struct Asked {
    pub running: Arc<Running>,
    pub site_id: SiteId,
    /// Host and port the reader asked for, in their normal form.
    pub authority: Authority,
    /// Without what says where its reader came from.
    pub target: PathAndQuery,
    /// That; empty most of the time.
    pub taken: Arc<str>,
    pub usage: Use,
    /// Its cookies and fields, as the site's profile reads them.
    pub reading: Reading,
    pub client: IpAddr,
    pub visitor: Visitor,
    pub scheme: Scheme,
    pub version: Version,
    pub class: Class,
    /// On whose the origin is used.
    pub account: Option<Account>,
    /// The same for a visitor who is no reader.
    pub lane: Option<lanes::Account>,
    /// For the saved copies, and for no reader.
    pub is_our_own: bool,
    /// A rule hits it that is acted on.
    pub is_suspect: bool,
    /// ... and is not, for what its client shows.
    pub is_kept_from_rule: bool,
    /// The site itself names no such address.
    pub is_strange: bool,
    /// It is to start a content system's own work.
    pub is_cron: bool,
    pub shape: Shape,
    pub group: Group,
    /// For a code.
    pub holds: Holds,
}

/// Why a request has no site to go to.
pub(crate) enum Unasked {
    Fault(ClientFault),
    UnknownHost,
}

impl Asked {
    pub(crate) fn of<B>(
        client: &Client,
        running: Arc<Running>,
        request: &Request<B>,
    ) -> Result<Self, Unasked> {
        let authority = authority(&running, request)?;
        let site_id = running
            .site_of(authority.host())
            .ok_or(Unasked::UnknownHost)?;
        let profile = &running.plan.sites[site_id].profile;
        let (target, taken) = target(profile, request);
        let fields = request.headers();
        let address = client.address(&running, fields);
        let scheme = forward::outer_scheme(
            client.peer.ip(),
            fields.field("x-forwarded-proto"),
            &running.plan.trust_forwarded,
            Scheme::Http,
        );
        let authority = normal(authority, scheme);
        let state = &running.sites[site_id];
        let class = class_of(
            &running.plan.sites[site_id],
            state,
            (address, client),
            fields,
        );
        let judged = judged(class, &running.plan.sites[site_id], state, client);
        let shape = state.shapes.shape(target.as_str().as_bytes());
        let usage = profile.use_of(target.path(), target.query());
        let is_strange = matches!(*request.method(), Method::GET | Method::HEAD)
            && is_strange(
                &client.shard.shared.saved,
                &running.plan.sites[site_id],
                target.as_str(),
                usage,
            );
        let is_cron = profile.is_cron(target.path());
        let reading =
            Reading::of(profile, fields).at_most(profile.standing_of_use(usage, target.query()));
        Ok(Self {
            site_id,
            authority,
            target,
            taken,
            usage,
            reading,
            client: address,
            visitor: sight::visitor(address, fields),
            scheme,
            version: request.version(),
            class: judged.class,
            account: client
                .bearer()
                .account
                .filter(|account| class != Class::Staff || account.is_invited()),
            lane: client.lane(class),
            is_our_own: false,
            is_suspect: judged.is_suspect,
            is_kept_from_rule: judged.is_kept_from_rule,
            is_strange,
            is_cron,
            shape,
            group: Group::of(address),
            holds: match class {
                Class::Staff => Holds::Staff,
                _ => why::holds(client.bearer(), fields),
            },
            running,
        })
    }

    pub(crate) fn site(&self) -> &Site {
        &self.running.plan.sites[self.site_id]
    }

    pub(crate) fn state(&self) -> &Arc<SiteState> {
        &self.running.sites[self.site_id]
    }

    pub(crate) fn ask(&self) -> Ask {
        let deadline = if self.class == Class::Staff {
            admission::STAFF_DEADLINE
        } else {
            admission::READER_DEADLINE
        };
        Ask {
            class: place_in_line(self.class, self.is_strange, self.is_cron),
            shape: self.shape,
            group: self.group,
            deadline,
        }
    }

    pub(crate) fn inbound(&self) -> Inbound<'_> {
        Inbound {
            client: self.client,
            scheme: self.scheme,
            host: &self.authority,
            version: self.version,
            signature: &self.running.signature,
            staff: self.class == Class::Staff,
        }
    }

    pub(crate) fn outbound(&self) -> Outbound<'_> {
        let site = self.site();
        Outbound {
            keep_host: site.origin.keep_host,
            authority: &site.origin.authority,
            client_address: site.forward_client_address,
        }
    }

    /// Does a fetch for everybody tell the origin this field, of which nothing is known? A content system's pages differ by what their
    /// `Vary` names, and with another field a stranger could only make them differ for everybody. Of a system nobody knows all is told,
    /// for it may not have said yet what it differs by.
    pub(crate) fn tells(&self, name: &HeaderName) -> bool {
        self.site().profile.system == System::Generic
            || *name == header::ORIGIN
            || self.state().varied.has(name)
    }

    pub(crate) fn facts(&self, method: &Method, fields: &HeaderMap) -> Facts {
        Facts {
            site: self.site_id,
            method: match *method {
                Method::GET | Method::HEAD => facts::Method::Read,
                Method::OPTIONS | Method::TRACE => facts::Method::Ask,
                _ => facts::Method::Write,
            },
            shape: self.shape,
            source: self.client,
            class: self.class,
            is_navigation: is_navigation(fields),
        }
    }
}

/// The target to ask for, and what was taken from it.
fn target<B>(profile: &Profile, request: &Request<B>) -> (PathAndQuery, Arc<str>) {
    let whole = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Target { kept, taken } = profile.target(whole.as_str());
    let kept = match kept {
        Cow::Owned(kept) => PathAndQuery::try_from(kept).ok(),
        Cow::Borrowed(_) => None,
    };
    match kept {
        Some(kept) => (kept, taken.into()),
        None => (whole, Arc::default()),
    }
}

/// A page to look at, as far as the browser says so.
pub(crate) fn is_navigation(fields: &impl Fields) -> bool {
    fields
        .field("sec-fetch-mode")
        .is_some_and(|mode| mode == b"navigate")
}

/// Staff: a network the operator named, or a session the origin itself gave out after a login we saw. Anybody else: what his cookies say,
/// or that he is a visitor who is the one he says.
pub(crate) fn class_of(
    site: &Site,
    state: &SiteState,
    (address, client): (IpAddr, &Client),
    fields: &impl Fields,
) -> Class {
    if site.staff.contains(address) {
        return Class::Staff;
    }
    if state.staff.is_empty() {
        return client.class();
    }
    let mut staff = false;
    fields.each_line("cookie", &mut |line| {
        staff = staff || state.staff.is_staff(line, UnixMillis::now())
    });
    if staff { Class::Staff } else { client.class() }
}

/// What a rule makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged {
    pub class: Class,
    pub is_suspect: bool,
    pub is_kept_from_rule: bool,
}

/// A rule that hit is acted on where the site is protected and under attack, and never against staff; nor against whoever shows more than a
/// stranger does, as long as his like have not been hit too often.
pub(crate) fn judged(class: Class, site: &Site, state: &SiteState, client: &Client) -> Judged {
    let is_acted_on = client.rule().is_some()
        && site.mode == Mode::Protect
        && state.detection.stance().posture == Posture::UnderAttack;
    let is_kept_from_rule =
        is_acted_on && class != Class::Unknown && client.is_kept_from_rules(class, state.mark);
    let is_suspect = is_acted_on && !is_kept_from_rule;
    Judged {
        class: if is_suspect { Class::Signature } else { class },
        is_suspect,
        is_kept_from_rule,
    }
}

/// Of whom nothing is known waits last if nothing is known of what he asks for either: random paths and made-up queries are what floods are
/// made of. Forms, sign-ins and whatever else a site does not link to are left out of it. What a content system asks itself to do is nobody
/// else's business, whatever he shows.
pub(crate) fn place_in_line(class: Class, is_strange: bool, is_cron: bool) -> Class {
    if class == Class::Unknown && is_strange || class != Class::Staff && is_cron {
        Class::Signature
    } else {
        class
    }
}

pub(crate) fn is_strange(saved: &Saved, site: &Site, target: &str, usage: Use) -> bool {
    usage.is_public() && saved.is_strange(&site.name, target.as_bytes())
}

/// The Host field, which HTTP/2 calls `:authority`; when both are there they must agree.
fn authority<B>(running: &Running, request: &Request<B>) -> Result<Authority, Unasked> {
    let fault = |fault| Unasked::Fault(fault);
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(fault(ClientFault::Host));
    }
    let host = match host {
        None => None,
        Some(host) => Some(
            host.to_str()
                .ok()
                .filter(|host| head::is_host(host))
                .ok_or_else(|| fault(ClientFault::Host))?,
        ),
    };
    match (request.uri().authority(), host) {
        (Some(target), Some(host)) if !target.as_str().eq_ignore_ascii_case(host) => {
            Err(fault(ClientFault::HostMismatch))
        }
        (Some(target), _) if !head::is_host(target.as_str()) => Err(fault(ClientFault::Host)),
        (Some(target), _) => Ok(target.clone()),
        (None, Some(host)) if !host.is_empty() => {
            Authority::try_from(host).map_err(|_| fault(ClientFault::Host))
        }
        // HTTP/1.0 without Host: only a site for every host can be meant.
        _ => match running.plan.any_host {
            Some(site) => Ok(running.plan.sites[site].origin.authority.clone()),
            None => Err(fault(ClientFault::Host)),
        },
    }
}

/// Lower case, no root's dot, no port that the scheme has anyway (RFC 3986 §6.2.3). Spellings that share a cache entry must be one for
/// the origin too, or the first of them would be in everybody's links.
fn normal(authority: Authority, scheme: Scheme) -> Authority {
    let host = authority.host();
    let mut text = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    if let Some(port) = authority.port_u16().filter(|port| *port != default) {
        text.push(':');
        text.push_str(itoa::Buffer::new().format(port));
    }
    if text == authority.as_str() {
        return authority;
    }
    // A name that is nothing but a dot stays as it is.
    Authority::try_from(text).unwrap_or(authority)
}

/// What the frame library lets pass and the origin's HTTP/1.1 could read otherwise: fields that only HTTP/1.1 has (RFC 9113 §8.2.2), two
/// lengths.
pub(crate) fn http2_fault(method: &Method, fields: &HeaderMap) -> Option<ClientFault> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Some(ClientFault::Method);
    }
    let connection = [
        "connection",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "http2-settings",
    ];
    if connection.iter().any(|name| fields.contains_key(*name)) {
        return Some(ClientFault::ConnectionField);
    }
    // Over HTTP/1.1 both lines would go on to the origin, alike or not.
    if fields
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .nth(1)
        .is_some()
    {
        return Some(ClientFault::Length);
    }
    let odd_te = fields.get_all(header::TE).iter().any(|te| te != "trailers");
    odd_te.then_some(ClientFault::ConnectionField)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_host() {
        let table = [
            ("a.kz", Scheme::Http, "a.kz"),
            ("A.KZ.:80", Scheme::Http, "a.kz"),
            ("a.kz:", Scheme::Http, "a.kz"),
            ("a.kz:80", Scheme::Https, "a.kz:80"),
            ("a.kz:443", Scheme::Https, "a.kz"),
            ("A.kz.:8080", Scheme::Http, "a.kz:8080"),
            ("[::1]:8080", Scheme::Http, "[::1]:8080"),
            ("[::1]:80", Scheme::Http, "[::1]"),
            (".", Scheme::Http, "."),
        ];
        for (given, scheme, expected) in table {
            assert_eq!(normal(given.parse().unwrap(), scheme), expected);
        }
    }
}
