//! `saqta purge`: from an address as an editor copies it out of a browser to what the cache knows it by.
//!
//! Browsers show `https://жаңа.example/қала`; requests say `xn--…` and `%D2%9B…`. An address without a query stands for all of its queries,
//! because whoever withdraws a page means the page.

use saqta_edge::Edge;
use saqta_edge::cache::purge::What;

use crate::check::counted;
use crate::control::{Answer, Which};
use crate::host;

/// A host and a target, as requests spell them.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    /// `None`: of every site.
    host: Option<String>,
    target: Vec<u8>,
}

pub(crate) fn purge(edge: &Edge, which: Which, text: &str) -> Answer {
    let (address, what) = match what_of(which, text) {
        Ok(parsed) => parsed,
        Err(problem) => return refused(problem),
    };
    let host = address.as_deref();
    let no_site = || {
        refused(format!(
            "no site here has the host {}\n    `saqta status` shows the sites; a path alone, such as /news/1, is purged from all",
            host.map_or_else(String::new, host::shown)
        ))
    };
    let said = if which == Which::Forget {
        match edge.forget(host, &what) {
            None => return no_site(),
            Some(gone) if gone.in_memory + gone.on_disk == 0 => {
                let said = not_found(&gone.sites);
                tracing::info!("{said}");
                return Answer::Nothing { said };
            }
            Some(gone) => format!(
                "forgotten: {} in memory, {} on disk\n    what your server still shows is saved again when it is next asked for: take it away there too",
                counted(count(gone.in_memory), "address"),
                count(gone.on_disk)
            ),
        }
    } else {
        match edge.purge(host, &what) {
            0 => return no_site(),
            sites => format!(
                "purged on {}: what it concerns is fetched anew when next asked for",
                counted(sites, "site")
            ),
        }
    };
    tracing::info!("{said}");
    Answer::Done { said }
}

/// Hosts and schemes are no part of what was compared, so nobody has to try them.
fn not_found(sites: &[String]) -> String {
    format!(
        "nothing was found under this address; looked in {}\n    check the path against a browser's address bar: capitals and the last slash count, and the query if one was given\n    http or https, www. and other hosts of a site make no difference; `saqta status` shows the sites, should another be meant",
        sites.join(", ")
    )
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn refused(problem: String) -> Answer {
    Answer::Refused {
        problems: vec![problem],
    }
}

fn what_of(which: Which, text: &str) -> Result<(Option<String>, What), String> {
    if which == Which::Tag {
        return match text.trim() {
            "" => Err(
                "the tag is empty\n    write one that a response carries, such as node:12".into(),
            ),
            tag => Ok((None, What::tag(tag.as_bytes()))),
        };
    }
    let Address { host, target } = address(text)?;
    let what = match which {
        Which::Prefix => What::prefix(&target),
        Which::Url | Which::Forget | Which::Tag => What::address(&target),
    };
    Ok((host, what))
}

fn address(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let text = text.split('#').next().unwrap_or(text);
    let is_scheme = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|own| scheme.eq_ignore_ascii_case(own))
    };
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => text,
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    let name = match authority.rsplit_once(':') {
        Some((name, port))
            if !authority.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => authority,
    };
    let host = match name {
        "" => None,
        name => Some(
            host::parse(name).map_err(|fault| format!("{}\n    {}", fault.what, fault.remedy))?,
        ),
    };
    if host.is_none() && target.is_empty() {
        return Err("the address is empty\n    write it as a browser shows it, such as https://news.example/title/".into());
    }
    let mut encoded = Vec::with_capacity(target.len() + 1);
    if !target.starts_with('/') {
        encoded.push(b'/');
    }
    for byte in target.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    Ok(Address {
        host,
        target: encoded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_says_where_it_was_looked_for() {
        let said = not_found(&["newsroom".to_owned(), "magazine".to_owned()]);
        assert!(
            said.starts_with(
                "nothing was found under this address; looked in newsroom, magazine\n"
            ),
            "{said}"
        );
        for check in [
            "last slash",
            "www.",
            "http or https",
            "hosts",
            "`saqta status`",
        ] {
            assert!(said.contains(check), "{check}: {said}");
        }
    }

    #[test]
    fn addresses_as_people_write_them() {
        let path = |path: &str| What::path(path.as_bytes());
        for (which, text, host, what) in [
            (
                Which::Url,
                "https://news.example/a/",
                Some("news.example"),
                path("/a/"),
            ),
            (
                Which::Url,
                "HTTP://NEWS.example:8080",
                Some("news.example"),
                path("/"),
            ),
            (
                Which::Url,
                " news.example/a#c ",
                Some("news.example"),
                path("/a"),
            ),
            (Which::Url, "/a?b=1", None, What::target(b"/a?b=1")),
            (
                Which::Url,
                "news.example?p=1",
                Some("news.example"),
                What::target(b"/?p=1"),
            ),
            (
                Which::Url,
                "https://ЖАҢА.example/қ",
                Some("xn--80aaq15b.example"),
                path("/%D2%9B"),
            ),
            (Which::Url, "http://[::1]:80/a", Some("[::1]"), path("/a")),
            (Which::Forget, "/a", None, path("/a")),
            (
                Which::Prefix,
                "news.example",
                Some("news.example"),
                What::prefix(b"/"),
            ),
            (Which::Tag, "node:12", None, What::tag(b"node:12")),
        ] {
            assert_eq!(
                what_of(which, text),
                Ok((host.map(str::to_owned), what)),
                "{text}"
            );
        }
        for (which, text) in [
            (Which::Url, ""),
            (Which::Tag, " "),
            (Which::Url, "a b.example/c"),
        ] {
            assert!(what_of(which, text).is_err(), "{text}");
        }
    }
}
