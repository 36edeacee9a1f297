//! `Cache-Status` (RFC 9211): what the cache did with a request, for whoever debugs it.

use bytes::{BufMut, BytesMut};
use http::{HeaderValue, StatusCode};

/// Why a request went on to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache does not handle such requests.
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    /// The client asked for it, and was believed.
    Request,
    Stale,
    /// Nothing fits and nobody knows which of the above it is.
    Miss,
}

impl Forward {
    pub fn as_token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStatus {
    /// Answered from the store, and nobody was asked.
    pub hit: bool,
    /// The origin was asked, or was to be. Without either, the answer is our own.
    pub forward: Option<Forward>,
    /// The origin's status, where it differs from the one sent.
    pub forward_status: Option<StatusCode>,
    /// It is in the store by now, whole. Never said of a response whose body is still on its way: that may break off.
    pub stored: bool,
    pub collapsed: bool,
    /// Seconds; negative for a stale answer.
    pub ttl_secs: Option<i64>,
    /// A token.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    pub fn hit(ttl_secs: i64) -> Self {
        Self {
            hit: true,
            ttl_secs: Some(ttl_secs),
            ..Self::default()
        }
    }

    pub fn forward(why: Forward) -> Self {
        Self {
            forward: Some(why),
            ..Self::default()
        }
    }

    /// A saved copy, which no freshness is claimed for.
    pub const SAVED: Self = Self {
        hit: true,
        forward: None,
        forward_status: None,
        stored: false,
        collapsed: false,
        ttl_secs: None,
        detail: Some("saved"),
    };

    #[must_use]
    pub fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The value alone.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(b"saqta");
        if self.hit {
            out.put_slice(b"; hit");
        }
        if let Some(why) = self.forward {
            out.put_slice(b"; fwd=");
            out.put_slice(why.as_token().as_bytes());
        }
        let mut number = itoa::Buffer::new();
        if let Some(status) = self.forward_status {
            out.put_slice(b"; fwd-status=");
            out.put_slice(status.as_str().as_bytes());
        }
        if let Some(secs) = self.ttl_secs {
            out.put_slice(b"; ttl=");
            out.put_slice(number.format(secs).as_bytes());
        }
        if self.stored {
            out.put_slice(b"; stored");
        }
        if self.collapsed {
            out.put_slice(b"; collapsed");
        }
        if let Some(detail) = self.detail {
            out.put_slice(b"; detail=");
            out.put_slice(detail.as_bytes());
        }
    }

    pub fn to_value(&self) -> HeaderValue {
        let mut out = BytesMut::with_capacity(64);
        self.write(&mut out);
        HeaderValue::from_maybe_shared(out.freeze()).unwrap_or(HeaderValue::from_static("saqta"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let stored = CacheStatus {
            stored: true,
            ..CacheStatus::forward(Forward::UriMiss)
        };
        let validated = CacheStatus {
            forward_status: Some(StatusCode::NOT_MODIFIED),
            ttl_secs: Some(60),
            ..CacheStatus::forward(Forward::Stale)
        };
        let collapsed = CacheStatus {
            collapsed: true,
            ..stored
        };
        let table = [
            (CacheStatus::hit(12), "saqta; hit; ttl=12"),
            (
                CacheStatus::hit(-3).with_detail("origin-down"),
                "saqta; hit; ttl=-3; detail=origin-down",
            ),
            (stored, "saqta; fwd=uri-miss; stored"),
            (collapsed, "saqta; fwd=uri-miss; stored; collapsed"),
            (validated, "saqta; fwd=stale; fwd-status=304; ttl=60"),
            (
                CacheStatus::forward(Forward::Bypass).with_detail("private"),
                "saqta; fwd=bypass; detail=private",
            ),
            (
                CacheStatus::default().with_detail("only-if-cached"),
                "saqta; detail=only-if-cached",
            ),
        ];
        for (status, value) in table {
            assert_eq!(status.to_value(), value);
        }
    }
}
