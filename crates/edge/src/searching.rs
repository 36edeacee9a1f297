//! Searches as they reach the edge, and the pages they are answered from. What is found and how it is shown is in [`crate::search`].
//!
//! The site's own search is always the better one, so it is asked whenever the origin has room. Where it has none, a reader gets results from
//! the copy at once and a link that waits for the site's own; where the origin is down, or has no time after all, results instead of an
//! excuse. Staff, programs, and whoever sends a session or credentials are never answered so: theirs may be another site's worth of pages.
//!
//! What goes into the index is what the cache has just stored for everybody, and after a start what the saved copies hold. That is less than
//! what is public, on purpose: an address with a value of a reader's own in it would be shown to all others.

use std::ops::ControlFlow;

use http::uri::PathAndQuery;
use http::{HeaderMap, Response, StatusCode, header};
use saqta_detect::facts::Served;

use crate::admission::Class;
use crate::asked::Asked;
use crate::body::Body;
use crate::cache::freshness::is_origin_failure;
use crate::cache::key;
use crate::cache::purge::{MayStore, What};
use crate::cache::stored::Stored;
use crate::clock::UnixMillis;
use crate::forward::Scheme;
use crate::head::without_port;
use crate::keep::Copy;
use crate::pages::{Asker, Format, Prebuilt};
use crate::pass::PassError;
use crate::plan::{Site, SiteId};
use crate::profile::{Profile, Reading, Standing, Use, names_of, path_and_query};
use crate::read;
use crate::reduced;
use crate::search::{Filling, PutError, Question, Saved, Search};
use crate::serve::{self, Client, Failure, served};
use crate::shard::{Running, Shared, SiteState};

/// A page's number or a language's name; longer values may be a reader's own.
const VALUE_BYTES_MAX: usize = 5;

/// Of a GET or HEAD: a search that the copy may answer.
pub(crate) fn question<'a>(
    running: &'a Running,
    site: SiteId,
    target: &'a str,
    reading: &Reading,
) -> Option<Question<'a>> {
    let forms = &running.search_forms[site];
    let may_be_shown = reading.standing <= Standing::Unsure && reading.may_fetch_for_all();
    if forms.is_empty() || !may_be_shown {
        return None;
    }
    Question::of(forms, target)
}

/// `None`: nothing is stored or read yet, or searches have had their share of the processor.
pub(crate) fn results(
    state: &SiteState,
    question: &Question<'_>,
    host: &str,
    asker: Asker,
) -> Option<Prebuilt> {
    let host = without_port(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    state
        .search
        .as_ref()?
        .answer(question, host, asker, UnixMillis::now())
        .ok()
}

/// Before the origin is asked, where it has no room. `target`: with what is the edge's own in it.
pub(crate) fn before(
    client: &Client,
    asked: &Asked,
    target: &PathAndQuery,
    fields: &HeaderMap,
    asker: Asker,
) -> Option<Response<Body>> {
    let shared = &client.shard.shared;
    let question = of_reader(client, asked, target, asker).filter(|question| !question.live)?;
    let key = read::key(&shared.cache, asked);
    let now = UnixMillis::now();
    let of = (&asked.reading, asked.site());
    let pressure = reduced::pressure(asked.state(), &asked.ask(), asked.is_suspect, now);
    let needs_origin =
        pressure.spares_unknown() && serve::needs_origin(&shared.cache, &key, fields, of, now);
    needs_origin.then(|| response(client, asked, &question, asker))?
}

/// In place of what the origin had no time for, or failed at.
pub(crate) fn instead(
    client: &Client,
    asked: &Asked,
    target: &PathAndQuery,
    asker: Asker,
    result: &Result<Response<Body>, Failure>,
) -> Option<Response<Body>> {
    let failed = match result {
        Ok(response) => is_origin_failure(response.status()),
        Err(
            Failure::Starved(_) | Failure::Pass(PassError::StreamsFull(_) | PassError::Origin(_)),
        ) => true,
        Err(
            Failure::Upload(_) | Failure::Form(_) | Failure::TooManyTries | Failure::Forward(_),
        ) => false,
    };
    if !failed {
        return None;
    }
    let question = of_reader(client, asked, target, asker)?;
    // Whoever wants the site's own search and has no pass is told how to come by one. One who has it has waited enough.
    let is_down = !matches!(result, Err(Failure::Starved(_)));
    if question.live && asked.account.is_none() && !is_down {
        return None;
    }
    response(client, asked, &question, asker)
}

fn of_reader<'a>(
    client: &Client,
    asked: &'a Asked,
    target: &'a PathAndQuery,
    asker: Asker,
) -> Option<Question<'a>> {
    let is_answered = asker.format == Format::Html
        && asked.class != Class::Staff
        && !client.shard.shared.bypassed();
    if !is_answered {
        return None;
    }
    question(
        &asked.running,
        asked.site_id,
        target.as_str(),
        &asked.reading,
    )
}

fn response(
    client: &Client,
    asked: &Asked,
    question: &Question<'_>,
    asker: Asker,
) -> Option<Response<Body>> {
    let page = results(asked.state(), question, asked.authority.as_str(), asker)?;
    client.shard.counters.searched.add(1);
    Some(served(page.response(), Served::Searched))
}

/// What a fetch for everybody has brought: a page is found from now on, or is not any more.
pub(crate) fn fetched(
    asked: &Asked,
    saved: &crate::saved::Saved,
    asked_headers: &HeaderMap,
    status: StatusCode,
    stored: Option<(&Stored, &MayStore<'_>)>,
) {
    let Some(search) = &asked.state().search else {
        return;
    };
    let withdrawn = matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
    );
    match stored {
        // What was everybody's and is not stored any more may be somebody's now.
        None if status == StatusCode::OK => forget(search, asked),
        Some(_) if asked_headers.contains_key(header::AUTHORIZATION) => {}
        // What one reader opened may be his alone: the site names it, or others have read it.
        Some((stored, leave)) if status == StatusCode::OK && saved.is_vouched_for(asked) => {
            index_page(asked, stored, leave);
        }
        Some(_) if status == StatusCode::OK => {}
        // What a server says of everything when it was closed leaves the copies, and they are still to be found.
        _ if withdrawn && !saved.has_copy(asked.site(), &crate::saved::page(asked)) => {
            forget(search, asked);
        }
        _ => {}
    }
}

fn index_page(asked: &Asked, stored: &Stored, _leave: &MayStore<'_>) {
    let (path, query) = (asked.target.path(), asked.target.query());
    let fields = stored.headers();
    let is_html = fields.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().to_ascii_lowercase();
        kind.starts_with(b"text/html") || kind.starts_with(b"application/xhtml+xml")
    });
    if is_html
        && !read::is_of_the_flood(asked)
        // Somebody's language: whoever follows a result gets the page as it is for himself.
        && asked.reading.keyed().is_empty()
        && !fields.contains_key(header::CONTENT_ENCODING)
        && is_public_address(&asked.site().profile, path, query)
        && let Some(search) = &asked.state().search
    {
        // Refused, the page is put in when it is fetched again: a queue that is full is a flood of pages.
        let _full = search.put(Saved {
            url: url(asked, asked.scheme),
            html: stored.body().clone(),
            at: UnixMillis::now(),
        });
    }
}

/// Before the first search is answered: every index is to be filled by [`find_saved`].
pub(crate) fn filling(shared: &Shared) -> Vec<Filling> {
    let running = shared.running.load();
    let searches = running.sites.iter().filter_map(|site| site.search.as_ref());
    searches.map(Search::filling).collect()
}

/// After a start: the saved copies, so that whoever searches finds what was published before. On a thread of its own, until `ended`.
pub(crate) fn find_saved(shared: &Shared, filling: Vec<Filling>, ended: impl Fn() -> bool) {
    let Some(keep) = shared.saved.keep() else {
        return;
    };
    // What is on disk is known when its folder has been gone through.
    keep.settle();
    let running = shared.running.load_full();
    for (site, state) in running.plan.sites.iter().zip(&running.sites) {
        let Some(search) = &state.search else {
            continue;
        };
        let found = keep.for_each_copy(site.name.as_bytes(), |copy| {
            if let Some(page) = page_of(site, &copy) {
                let url = page.url.clone();
                while search.put(page.clone()) == Err(PutError::QueueFull) && !ended() {
                    search.wait_until_read();
                }
                // Taken away while it was in hand.
                if keep.seen(&copy.address.as_identity()).is_none() {
                    search.forget(&url);
                }
            }
            if ended() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if found.is_break() {
            return;
        }
    }
    let searches = running.sites.iter().filter_map(|site| site.search.as_ref());
    searches.for_each(Search::wait_until_read);
    drop(filling);
}

fn page_of(site: &Site, copy: &Copy<'_>) -> Option<Saved> {
    let address = copy.address;
    let target = std::str::from_utf8(&address.target).ok()?;
    let host = std::str::from_utf8(&address.host).ok()?;
    let (path, query) = path_and_query(target);
    let is_everybodys = address.mark.is_empty() && is_public_address(&site.profile, path, query);
    is_everybodys.then(|| Saved {
        url: url_at(
            site,
            without_port(host),
            target,
            scheme_name(address.scheme),
        ),
        html: copy.response.body.clone(),
        at: copy.seen,
    })
}

/// One that any link to the page may have, with nothing in it that was one reader's.
fn is_public_address(profile: &Profile, path: &str, query: Option<&str>) -> bool {
    let value_is_public = |pair: &str| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        value.len() <= VALUE_BYTES_MAX || value.bytes().all(|byte| byte.is_ascii_digit())
    };
    let usage = profile.use_of(path, query);
    matches!(usage, Use::Page | Use::Front)
        && profile.standing_of_use(usage, query) == Standing::Anonymous
        && query.is_none_or(|query| {
            names_of(query).all(|name| profile.selects_content(name))
                && query.split('&').all(value_is_public)
        })
}

fn forget(search: &Search, asked: &Asked) {
    for scheme in [Scheme::Http, Scheme::Https] {
        search.forget(&url(asked, scheme));
    }
}

/// A host the operator has not named is whatever a stranger sent, and no link of ours leads there.
fn url(asked: &Asked, scheme: Scheme) -> String {
    url_at(
        asked.site(),
        asked.authority.host(),
        asked.target.as_str(),
        scheme_name(read::scheme(scheme)),
    )
}

fn url_at(site: &Site, host: &str, target: &str, scheme: &str) -> String {
    if site.hosts.iter().any(|own| own == host) {
        format!("{scheme}://{host}{target}")
    } else {
        target.to_owned()
    }
}

fn scheme_name(scheme: key::Scheme) -> &'static str {
    match scheme {
        key::Scheme::Http => "http",
        key::Scheme::Https => "https",
    }
}

/// `saqta purge --forget`.
pub(crate) fn forget_all(state: &SiteState, what: &What) {
    if let Some(search) = &state.search {
        search.forget_where(|target| what.may_concern(target.as_bytes()));
    }
}
