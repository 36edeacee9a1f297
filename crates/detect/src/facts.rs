//! What may be known of one request: plain data, filled in by the edge, judged here.
//!
//! No query value, cookie, user agent or address is among it. What a tally or a verdict could leak must not get this far.

use std::net::IpAddr;

use crate::network::Group;
use crate::shape::Shape;

/// How well we know a client, which decides its share of the origin. From the best known to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The origin itself confirmed a login, or the operator named the network.
    Staff,
    /// Read here on several days.
    KnownReader,
    /// Solved a challenge lately.
    Passed,
    /// A verified feed reader, crawler or monitor.
    Lane,
    Unknown,
    /// Matches a signature of the attack under way.
    Signature,
}

impl Class {
    pub const ALL: [Self; 6] = [
        Self::Staff,
        Self::KnownReader,
        Self::Passed,
        Self::Lane,
        Self::Unknown,
        Self::Signature,
    ];

    /// Position in [`Class::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::KnownReader => "known reader",
            Self::Passed => "passed",
            Self::Lane => "lane",
            Self::Unknown => "unknown",
            Self::Signature => "signature",
        }
    }
}

/// RFC 9110 §9.2: whether asking twice does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET and HEAD: what a cache answers.
    Read,
    /// OPTIONS, TRACE.
    Ask,
    /// POST and everything else that may change the origin.
    Write,
}

/// Known when the head has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Index of the site in the running plan.
    pub site: usize,
    pub method: Method,
    pub shape: Shape,
    /// Counted in a sketch and forgotten; see [`crate::tally`].
    pub source: IpAddr,
    pub class: Class,
    /// The client asked for a page to look at, not for a part of one.
    pub is_navigation: bool,
}

impl Facts {
    pub fn group(&self) -> Group {
        Group::of(self.source)
    }
}

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Served {
    /// Stored and fresh.
    Hit,
    /// Stored and past its freshness.
    Stale,
    /// Fetched because nothing stored would do.
    Miss,
    /// Shared another request's fetch.
    Coalesced,
    /// Our own page of results, found in stored pages.
    Searched,
    /// Passed through: the cache had no part in it.
    Pass,
    /// Our own refusal, 4xx or 503.
    Refused,
    /// Our own page that asks the reader to wait.
    Waiting,
}

impl Served {
    pub const ALL: [Self; 8] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Coalesced,
        Self::Searched,
        Self::Pass,
        Self::Refused,
        Self::Waiting,
    ];

    /// Position in [`Served::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Searched => "searched",
            Self::Pass => "pass",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
        }
    }
}

/// Known when the answer has been sent or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub site: usize,
    pub served: Served,
    /// 0 when no response head was sent.
    pub status: u16,
    /// Of the body, as far as the head announces them; to the client.
    pub bytes_out: u64,
}

/// Known when the origin is done with a request, whoever caused it and whoever is still there to read the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginUse {
    pub site: usize,
    /// From admission to the last byte.
    pub origin_us: u64,
    /// Time spent in the admission queue; 0 when it did not queue.
    pub waited_us: u64,
    /// The origin failed us: no connection, timeout, broken response, 5xx.
    pub failed: bool,
}
