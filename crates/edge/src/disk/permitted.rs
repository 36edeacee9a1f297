//! What may lie on a disk at all.
//!
//! A disk is what is seized, copied, sold or left in a drawer. What a reader typed must not be on it, and an address holds what
//! readers type: search terms, mail addresses in links of newsletters, tokens. So a page is written only under a ground that says why
//! its address is everybody's, and only a response that everybody got. There is no other way to make a [`Permitted`], and nothing
//! is written without one.

use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderName};

use super::record::Identity;
use crate::cache::control::Control;
use crate::cache::vary;

/// From so many network groups the same query came: nobody's own any more (the product's rule for whatever counts readers).
pub const NETWORKS_MIN: usize = 20;

/// Why an address names no reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// It has no query. Checked.
    NoQuery,
    /// Its query is in a link of a public page, a sitemap or a feed.
    PublicLink,
    /// So many network groups asked for this very query.
    Networks(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    #[error("its address has a query that may be a reader's own")]
    Query,
    #[error("too few networks have asked for it")]
    Networks,
    #[error("its origin calls it private, or not to be stored")]
    Private,
    #[error("it sets a cookie")]
    Cookie,
    #[error("it was chosen by what a reader's browser said")]
    Varies,
}

/// A page that may be written.
#[derive(Debug, Clone, Copy)]
pub struct Permitted<'a> {
    page: Identity<'a>,
}

impl<'a> Permitted<'a> {
    /// `headers`: of a response the cache stored as public. `marked`: request fields whose part in choosing it the page's mark says
    /// already, like the cookie of a language.
    ///
    /// # Errors
    /// Why it must not be written.
    pub fn new(
        page: Identity<'a>,
        ground: Ground,
        headers: &HeaderMap,
        marked: &[HeaderName],
    ) -> Result<Self, NotPermitted> {
        let has_query = page.target.contains(&b'?');
        match ground {
            Ground::NoQuery if has_query => return Err(NotPermitted::Query),
            Ground::Networks(count) if has_query && count < NETWORKS_MIN => {
                return Err(NotPermitted::Networks);
            }
            Ground::NoQuery | Ground::PublicLink | Ground::Networks(_) => {}
        }
        let control = Control::of_response(headers);
        let shared = Control::of(headers);
        if control.no_store
            || control.private.is_whole()
            || shared.no_store
            || shared.private.is_whole()
        {
            return Err(NotPermitted::Private);
        }
        if headers.contains_key(SET_COOKIE) || headers.contains_key(AUTHORIZATION) {
            return Err(NotPermitted::Cookie);
        }
        // What our own fetches say alike for everybody selects nothing.
        let names_nobody = |name: &HeaderName| vary::is_always_alike(name) || marked.contains(name);
        if !vary::names(headers).is_some_and(|names| names.iter().all(names_nobody)) {
            return Err(NotPermitted::Varies);
        }
        Ok(Self { page })
    }

    pub fn page(&self) -> &Identity<'a> {
        &self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Scheme;

    #[test]
    fn nothing_of_a_reader_is_permitted() {
        use NotPermitted::{Cookie, Networks, Private, Query, Varies};
        type Case<'a> = (
            &'a str,
            Ground,
            &'a [(&'static str, &'static str)],
            Result<(), NotPermitted>,
        );
        let table: &[Case<'_>] = &[
            ("/", Ground::NoQuery, &[], Ok(())),
            ("/?s=name", Ground::NoQuery, &[], Err(Query)),
            ("/?", Ground::NoQuery, &[], Err(Query)),
            ("/?p=17", Ground::PublicLink, &[], Ok(())),
            ("/?p=17", Ground::Networks(19), &[], Err(Networks)),
            ("/?p=17", Ground::Networks(20), &[], Ok(())),
            ("/", Ground::Networks(0), &[], Ok(())),
            (
                "/",
                Ground::NoQuery,
                &[("cache-control", "private")],
                Err(Private),
            ),
            (
                "/",
                Ground::NoQuery,
                &[("cache-control", "max-age=60, no-store")],
                Err(Private),
            ),
            (
                "/",
                Ground::NoQuery,
                &[
                    ("cache-control", "private"),
                    ("cdn-cache-control", "max-age=60"),
                ],
                Err(Private),
            ),
            ("/", Ground::NoQuery, &[("set-cookie", "a=1")], Err(Cookie)),
            ("/", Ground::NoQuery, &[("vary", "Accept-Encoding")], Ok(())),
            (
                "/",
                Ground::NoQuery,
                &[("vary", "Accept-Encoding, User-Agent")],
                Err(Varies),
            ),
            ("/", Ground::NoQuery, &[("vary", "Cookie")], Err(Varies)),
            ("/", Ground::NoQuery, &[("vary", "*")], Err(Varies)),
        ];
        for (target, ground, fields, expected) in table {
            let headers = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let page = Identity {
                site: b"kaztag",
                scheme: Scheme::Https,
                host: b"kaztag.kz",
                target: target.as_bytes(),
                mark: b"",
            };
            let got = Permitted::new(page, *ground, &headers, &[]).map(|_| ());
            assert_eq!(got, *expected, "{target} {ground:?} {fields:?}");
            if *expected == Err(Varies) && fields[0].1 == "Cookie" {
                let marked = [http::header::COOKIE];
                assert!(Permitted::new(page, *ground, &headers, &marked).is_ok());
            }
        }
    }
}
