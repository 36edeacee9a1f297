//! From memory to disk and back.
//!
//! A stored response goes to disk as its fields, its body and its age. When it comes back its fields are judged again, as if it had just
//! arrived at that age: whatever the rules have become, they hold for what lies on disk too. Only what everybody may have goes: a response
//! that was made for one reader's cookie and waits in memory for that reader to validate it says nothing in its fields about that, and
//! would come back as anybody's.

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method};

use super::record::Response;
use crate::cache::freshness::{Asked, Times, Unstorable, judge};
use crate::cache::stored::{Doubt, Draft, Stored};
use crate::cache::vary::Selection;
use crate::clock::UnixMillis;

impl Response {
    /// `None`: nobody may have it without the origin's word, so it is no use to anybody when there is none.
    pub fn of(stored: &Stored, now: UnixMillis) -> Option<Self> {
        let freshness = stored.freshness();
        let is_everybodys = freshness.is_fresh(now)
            || freshness.serves_while_revalidating(now)
            || freshness.serves_on_error(now);
        (is_everybodys && stored.doubt() == Doubt::None).then(|| Self {
            status: stored.status(),
            headers: stored.headers().clone(),
            body: stored.body().clone(),
            received: now,
            age_secs: freshness.age_secs(now),
        })
    }

    /// `serial`: as for any stored response, one that nobody outside can foresee.
    ///
    /// # Errors
    /// When it may no longer be stored at all.
    pub fn into_stored(self, serial: u64) -> Result<Stored, Unstorable> {
        let mut judged = self.headers.clone();
        judged.insert(header::AGE, HeaderValue::from(self.age_secs));
        let asked = Asked {
            method: &Method::GET,
            headers: &HeaderMap::new(),
            no_store: false,
        };
        let times = Times {
            request: self.received,
            response: self.received,
        };
        let freshness = judge(&asked, self.status, &judged, times)?;
        let selection =
            Selection::of(&self.headers, &HeaderMap::new()).ok_or(Unstorable::VaryAny)?;
        Ok(Stored::new(Draft {
            status: self.status,
            headers: self.headers,
            body: self.body,
            selection,
            freshness,
            serial,
        }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, StatusCode};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_000);

    fn stored(
        fields: &[(&'static str, &'static str)],
        asked: &[(&'static str, &'static str)],
    ) -> Stored {
        let map = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
            lines
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect()
        };
        let (headers, asked) = (map(fields), map(asked));
        let asked = Asked {
            method: &Method::GET,
            headers: &asked,
            no_store: false,
        };
        let times = Times {
            request: NOW,
            response: NOW,
        };
        Stored::new(Draft {
            status: StatusCode::OK,
            freshness: judge(&asked, StatusCode::OK, &headers, times).unwrap(),
            headers,
            body: Bytes::from_static(b"text"),
            selection: Selection::default(),
            serial: 1,
        })
    }

    #[test]
    fn a_page_comes_back_as_old_as_it_would_have_become() {
        let before = stored(
            &[
                ("cache-control", "max-age=600"),
                ("date", "Sun, 15 Jun 2025 15:06:40 GMT"),
                ("etag", "\"1\""),
            ],
            &[],
        );
        for (away_secs, is_fresh) in [(0, true), (300, true), (599, true), (601, false)] {
            let left = UnixMillis(NOW.0 + 10_000);
            let response = Response::of(&before, left).unwrap();
            let after = response.into_stored(2).unwrap();
            let now = UnixMillis(NOW.0 + away_secs * 1000);
            assert_eq!(after.is_fresh(now), is_fresh, "{away_secs}");
            assert_eq!(
                after.freshness().ttl_secs(now),
                before.freshness().ttl_secs(now)
            );
            assert_eq!(after.headers(), before.headers());
            assert_eq!(after.body(), before.body());
            assert!(after.selection().is_empty());
        }
    }

    #[test]
    fn what_may_be_one_readers_stays_in_memory() {
        let cookie = [("cookie", "wordpress_logged_in_1=x")];
        let validated = [("etag", "\"1\""), ("cache-control", "max-age=0")];
        let personal = stored(&validated, &cookie);
        assert!(Response::of(&personal, NOW).is_none());
        assert!(Response::of(&stored(&validated, &[]), NOW).is_some());
        let shared = [("cache-control", "public, max-age=60")];
        assert!(Response::of(&stored(&shared, &cookie), NOW).is_some());
        let strict = [("cache-control", "max-age=60, must-revalidate")];
        let strict = stored(&strict, &[]);
        assert!(Response::of(&strict, NOW).is_some());
        assert!(Response::of(&strict, UnixMillis(NOW.0 + 61_000)).is_none());
    }
}
