//! From the origin's answer to what everybody gets: the one place where a response becomes shared, stored, both or neither.
//!
//! A [`Fetch`] is held by the task that asks the origin. It is told the head, then the body; readers of its flight and the store
//! follow from that. Whatever happens to the task, its readers are told.
//!
//! Trailers of a response that is stored are dropped (RFC 9110 §6.5.1 and RFC 9111 §3.1 leave that to us): a hit has its head written
//! before its body, a range or a coding of it would carry checksums of something else, and who reads along must not get another answer
//! than who comes a moment later. Of a response only its leader gets, they pass.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::Cache;
use super::flight::{Alone, FetchFault, FlightReader, FlightWriter, Head, Unread};
use super::freshness::{
    Asked, Freshness, Times, Unstorable, is_origin_failure, judge_briefly, judge_for,
};
use super::key::Key;
use super::stored::{
    Doubt, Draft, Stored, add_vary, end_to_end, may_be_coded, merged, shared_fields,
};
use super::vary::{self, Selection};
use crate::clock::UnixMillis;
use crate::compress;
use crate::keep::good;
use crate::profile::{self, House};

pub struct Fetch {
    cache: Arc<Cache>,
    key: Key,
    writer: FlightWriter,
    stale: Option<Arc<Stored>>,
    terms: Box<Terms>,
    /// The newest purge when it began: what the origin says is no newer.
    purge_number: u64,
}

/// What is known of a fetch beyond RFC 9111.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// It asks as an anonymous reader of this house would.
    pub house: Option<House>,
    /// Values it brings that are not in the key: a response that repeats one is not stored.
    pub unkeyed: Vec<HeaderValue>,
    /// Fields of whoever caused it that it does not bring.
    pub left_out: Vec<HeaderName>,
    /// How long its 200 is kept whatever its origin says; a script's of one site is not another's.
    pub briefly: Option<std::time::Duration>,
}

/// What follows a head.
pub enum Reception {
    /// The body, chunk by chunk.
    Body(Box<Receiving>),
    /// A 304 freshened this; there is nothing more to read.
    Freshened(Arc<Stored>),
}

/// A fetch whose head is known. Dropping it before [`Receiving::done`] tells its readers that the origin broke off.
pub struct Receiving {
    cache: Arc<Cache>,
    key: Key,
    writer: FlightWriter,
    draft: Option<(StatusCode, HeaderMap, Selection, Freshness)>,
    length: Option<u64>,
    passes_trailers: bool,
    body_bytes_max: u64,
    response_time: UnixMillis,
    unkeyed: Vec<HeaderValue>,
    purge_number: u64,
}

impl Fetch {
    pub(super) fn new(
        cache: Arc<Cache>,
        key: Key,
        writer: FlightWriter,
        stale: Option<Arc<Stored>>,
    ) -> Self {
        Self {
            purge_number: cache.store_of(&key).purges().newest(),
            cache,
            key,
            writer,
            stale,
            terms: Box::default(),
        }
    }

    /// Before [`Fetch::head`].
    pub fn on_terms(mut self, terms: Terms) -> Self {
        *self.terms = terms;
        self
    }

    pub(super) fn leader(&self) -> FlightReader {
        self.writer.leader()
    }

    /// The copy to validate: ask the origin with its [`Stored::validation_fields`].
    pub fn stale(&self) -> Option<&Arc<Stored>> {
        self.stale.as_ref()
    }

    /// For [`Cache::may_store`].
    pub fn purge_number(&self) -> u64 {
        self.purge_number
    }

    /// No response came.
    pub fn fail(self, fault: FetchFault) {
        self.writer.fail(fault);
    }

    /// `length`: of the body, as the origin announced it. `asked`: as the origin was asked.
    pub fn head(
        mut self,
        asked: &Asked<'_>,
        status: StatusCode,
        mut headers: HeaderMap,
        length: Option<u64>,
        times: Times,
    ) -> Reception {
        let response_time = times.response;
        if !headers.contains_key(header::DATE) {
            headers.insert(header::DATE, date_value(response_time));
        }
        if status == StatusCode::NOT_MODIFIED
            && let Some(stale) = self.stale.take()
        {
            return Reception::Freshened(self.freshen(&stale, asked, &headers, times));
        }
        let verdict = self.verdict(asked, status, &headers, length, times);
        if verdict == Err(Unstorable::Echo) {
            self.cache.fetch_bare(&self.key, response_time);
        }
        // What credentials get says nothing of what everybody else would; or a stranger's could stop readers from sharing a fetch.
        if !asked.headers.contains_key(header::AUTHORIZATION) {
            self.cache.remember(&self.key, &verdict, response_time);
        }
        if let Some(stale) = &self.stale
            && verdict.is_err()
            && matches!(
                status,
                StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
            )
        {
            // Withdrawn on purpose: the copy must not come back when the origin fails.
            self.cache
                .store_of(&self.key)
                .remove_variant(&self.key.as_ref(), stale);
        }
        if verdict.is_ok() && self.terms.briefly.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let selection = Selection::of(&headers, asked.headers).unwrap_or_default();
        let share = match &verdict {
            Err(why) => Err(Alone::Unstorable(*why)),
            Ok(freshness)
                if freshness.is_fresh(response_time)
                    || freshness.serves_while_revalidating(response_time) =>
            {
                Ok(())
            }
            Ok(_) => Err(Alone::NotFresh),
        };
        let fault =
            (verdict.is_err() && is_origin_failure(status)).then_some(FetchFault::Failed(status));
        let unkeyed = unkeyed_by(&self.terms.unkeyed, asked.headers, &headers);
        let shared = shared_fields(&headers);
        let mut leader = end_to_end(&headers);
        if verdict.is_ok_and(|freshness| freshness.overrules_a_habit()) {
            // The session its system gives to everybody: with one, this reader would be somebody from now on.
            leader.remove(header::SET_COOKIE);
        }
        let mut followers = shared.clone();
        // The next reader may get another form of it.
        if verdict.is_ok() && may_be_coded(status, &headers, length) {
            add_vary(&mut leader);
            add_vary(&mut followers);
        }
        let passes_trailers = verdict.is_err();
        if passes_trailers {
            for line in headers.get_all(header::TRAILER) {
                leader.append(header::TRAILER, line.clone());
            }
        }
        if let Ok(freshness) = &verdict {
            followers.insert(
                header::AGE,
                HeaderValue::from(freshness.age_secs(response_time)),
            );
        }
        let is_of_another = vary::names(&headers)
            .is_some_and(|names| self.terms.left_out.iter().any(|name| names.contains(name)));
        let is_text = headers
            .get(header::CONTENT_TYPE)
            .is_none_or(|kind| compress::is_text(kind.as_bytes()));
        let is_looked_through = is_text
            && verdict.is_ok_and(|freshness| !unkeyed.is_empty() || freshness.overrules_a_habit());
        self.writer.head(Head {
            status,
            is_of_another,
            is_looked_through,
            leader,
            shared: followers,
            length,
            share,
            stored: verdict.map(|_| ()),
            selection: selection.clone(),
            fault,
        });
        // Chunks cost more than their bytes, so a body this long never grows past what the store takes.
        let body_bytes_max = self.cache.store_of(&self.key).object_bytes_max();
        let draft = verdict
            .ok()
            .map(|freshness| (status, shared, selection, freshness));
        Reception::Body(Box::new(Receiving {
            cache: self.cache,
            key: self.key,
            writer: self.writer,
            draft,
            length,
            passes_trailers,
            body_bytes_max,
            response_time,
            unkeyed,
            purge_number: self.purge_number,
        }))
    }

    fn verdict(
        &self,
        asked: &Asked<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
        times: Times,
    ) -> Result<Freshness, Unstorable> {
        let house = self.terms.house.as_ref();
        let freshness =
            judge_for(asked, house, status, headers, times).or_else(|why| {
                match self.terms.briefly {
                    Some(lasting) => judge_briefly(why, house, (status, headers), times, lasting),
                    None => Err(why),
                }
            })?;
        let unkeyed = unkeyed_by(&self.terms.unkeyed, asked.headers, headers);
        if headers
            .iter()
            .any(|(_, value)| repeats(value.as_bytes(), &unkeyed))
        {
            return Err(Unstorable::Echo);
        }
        if length.is_some_and(|length| length > self.cache.store_of(&self.key).object_bytes_max()) {
            return Err(Unstorable::TooLong);
        }
        let has_good_copy = self.stale.as_ref().is_some_and(|stale| {
            !is_origin_failure(stale.status()) && stale.freshness().serves_on_error(times.response)
        });
        if has_good_copy && is_origin_failure(status) {
            return Err(Unstorable::WorseThanStale);
        }
        if self.writer.doubt() == Doubt::Invalid {
            return Err(Unstorable::Invalidated);
        }
        Ok(freshness)
    }

    fn freshen(
        self,
        stale: &Arc<Stored>,
        asked: &Asked<'_>,
        headers: &HeaderMap,
        times: Times,
    ) -> Arc<Stored> {
        let fields = merged(stale.headers(), headers);
        // An `Age` in the 304 counts for its own freshness but is never stored.
        let mut judged = fields.clone();
        if let Some(age) = headers.get(header::AGE) {
            judged.insert(header::AGE, age.clone());
        }
        let selection = if headers.contains_key(header::VARY) {
            Selection::of(&fields, asked.headers)
        } else {
            None
        };
        let serial = self.cache.serial();
        let house = self.terms.house.as_ref();
        let verdict =
            judge_for(asked, house, stale.status(), &judged, times).and_then(|freshness| {
                let unkeyed = unkeyed_by(&self.terms.unkeyed, asked.headers, &fields);
                let echoes = headers
                    .iter()
                    .any(|(_, value)| repeats(value.as_bytes(), &unkeyed));
                if echoes {
                    Err(Unstorable::Echo)
                } else {
                    Ok(freshness)
                }
            });
        match verdict {
            Ok(freshness) => {
                let stored = Arc::new(stale.freshened(fields, selection, freshness, serial));
                stored.compared_with(self.purge_number);
                if self.writer.doubt() < Doubt::Invalid {
                    self.cache.replace(&self.key, stale, &stored);
                }
                stored.cast_doubt(self.writer.doubt());
                let share = if freshness.is_fresh(times.response) {
                    Ok(())
                } else {
                    Err(Alone::NotFresh)
                };
                self.writer.done(Some(Arc::clone(&stored)), share);
                stored
            }
            // The origin vouches for it once more but wants it kept no longer.
            Err(why) => {
                let stored =
                    Arc::new(stale.freshened(fields, selection, *stale.freshness(), serial));
                self.cache
                    .store_of(&self.key)
                    .remove_variant(&self.key.as_ref(), stale);
                self.writer
                    .done(Some(Arc::clone(&stored)), Err(Alone::Unstorable(why)));
                stored
            }
        }
    }
}

impl Receiving {
    /// Will it be stored if the rest arrives?
    pub fn is_kept(&self) -> bool {
        self.draft.is_some()
    }

    /// Waits when nothing is kept and the slowest reader is [`super::flight::WINDOW_BYTES`] behind.
    ///
    /// # Errors
    /// When nothing is kept and nobody reads: the origin's response may be dropped.
    pub async fn chunk(&mut self, chunk: Bytes) -> Result<(), Unread> {
        if let Some(why) = self.writer.push(chunk, self.body_bytes_max) {
            self.draft = None;
            self.cache.not_kept(&self.key, why, self.response_time);
        }
        self.writer.room().await
    }

    pub fn trailers(&self, trailers: HeaderMap) {
        if self.passes_trailers {
            self.writer.trailers(trailers);
        }
    }

    /// The origin's message is complete. A body that is not as long as announced has broken off all the same. What has been stored, if
    /// anything.
    pub fn done(self) -> Option<Arc<Stored>> {
        let Self {
            cache,
            key,
            writer,
            draft,
            length,
            unkeyed,
            response_time,
            purge_number,
            ..
        } = self;
        if length.is_some_and(|length| length != writer.received()) {
            writer.fail(FetchFault::BrokeOff);
            return None;
        }
        let whole = draft.zip(writer.whole());
        if let Some(((status, headers, ..), body)) = &whole
            && is_page(*status, headers)
            && good::is_error_page(body)
        {
            // Whoever waits for all of it, and may have something better, takes it for the error it is.
            writer.done_in_vain(FetchFault::Failed(StatusCode::INTERNAL_SERVER_ERROR));
            return None;
        }
        let stored = whole
            .filter(|((_, _, _, freshness), body)| {
                if repeats(body, &unkeyed) {
                    cache.fetch_bare(&key, response_time);
                    return false;
                }
                let has_token = freshness.overrules_a_habit() && profile::holds_form_token(body)
                    || profile::holds_session_links(body);
                if has_token {
                    cache.remember(&key, &Err(Unstorable::FormToken), response_time);
                }
                !has_token
            })
            .map(|((status, headers, selection, freshness), body)| {
                let stored = Stored::new(Draft {
                    status,
                    headers,
                    body,
                    selection,
                    freshness,
                    serial: cache.serial(),
                });
                stored.compared_with(purge_number);
                Arc::new(stored)
            })
            .filter(|stored| cache.insert(&key, stored));
        // Asked for once it can be found: a write before this moment is seen here, a later one finds it in the store.
        if let Some(stored) = &stored {
            stored.cast_doubt(writer.doubt());
        }
        writer.done(stored.clone(), Ok(()));
        stored
    }

    /// The origin broke off, or fell silent.
    pub fn fail(self, fault: FetchFault) {
        self.writer.fail(fault);
    }
}

fn is_page(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Those of them that the response does not vary by.
fn unkeyed_by(unkeyed: &[HeaderValue], asked: &HeaderMap, answer: &HeaderMap) -> Vec<HeaderValue> {
    let Some(varies) = vary::names(answer) else {
        return unkeyed.to_vec();
    };
    let is_keyed = |value: &HeaderValue| {
        varies
            .iter()
            .any(|name| asked.get_all(name).iter().any(|keyed| keyed == value))
    };
    unkeyed
        .iter()
        .filter(|value| !is_keyed(value))
        .cloned()
        .collect()
}

fn repeats(text: &[u8], unkeyed: &[HeaderValue]) -> bool {
    unkeyed
        .iter()
        .any(|value| memchr::memmem::find(text, value.as_bytes()).is_some())
}

fn date_value(now: UnixMillis) -> HeaderValue {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.secs());
    HeaderValue::from_maybe_shared(Bytes::from(httpdate::fmt_http_date(time)))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
