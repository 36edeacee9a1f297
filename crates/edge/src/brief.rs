//! Pages that their origin lets nobody keep, kept for seconds while it is under attack: those that were proven in calm to be everybody's.
//!
//! What is proof, [`crate::shareable`] says. This file shows it, in calm, the answers to readers who are nobody in particular, and asks it under
//! attack. A page is only looked at where nothing is stored of it; reading one costs a fraction of what its origin needs to make it.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

use crate::asked::Asked;
use crate::cache::Cache;
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::likeness;
use crate::profile::Standing;
use crate::read;
use crate::reduced;
use crate::shard::Shared;
use crate::shareable::{Question, Shareable};

/// Pages of one site that are read each second. One takes half a millisecond or less, and an origin at ease makes twenty a second.
const LOOKS_PER_SECOND_MAX: u64 = 16;

/// What one site's readers were shown alike; outlives reloads.
pub(crate) struct Proofs {
    shareable: Mutex<Shareable>,
    /// The second, and how many pages have been read in it.
    second: AtomicU64,
    looks: AtomicU64,
}

impl Proofs {
    pub(crate) fn new(secret: RandomState) -> Self {
        Self {
            shareable: Mutex::new(Shareable::new(secret)),
            second: AtomicU64::new(0),
            looks: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shareable> {
        self.shareable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A few more than the limit when two shards begin a second together.
    fn may_look(&self, now: UnixMillis) -> bool {
        if self.second.swap(now.secs(), Ordering::Relaxed) != now.secs() {
            self.looks.store(0, Ordering::Relaxed);
        }
        self.looks.fetch_add(1, Ordering::Relaxed) < LOOKS_PER_SECOND_MAX
    }
}

/// A request whose answer may be proof.
pub(crate) struct Watch {
    key: u64,
    origin: Option<Vec<u8>>,
}

/// Its answer, on its way.
pub(crate) struct Look {
    watch: Watch,
    reading: likeness::Reading,
}

impl Watch {
    /// `fields`: as they are sent. `None`: under attack, or the answer is somebody's.
    pub(crate) fn of(
        shared: &Shared,
        asked: &Asked,
        method: &Method,
        fields: &HeaderMap,
    ) -> Option<Self> {
        let is_calm =
            !shared.bypassed() && !asked.state().learned.is_under_attack(UnixMillis::now());
        if !is_calm || *method != Method::GET {
            return None;
        }
        let question = question(&shared.cache, asked, method, fields)?;
        Some(Self {
            key: question.key,
            origin: question.origin.map(<[u8]>::to_vec),
        })
    }

    pub(crate) fn look(
        self,
        asked: &Asked,
        status: StatusCode,
        fields: &HeaderMap,
    ) -> Option<Look> {
        let proofs = &asked.state().proofs;
        // Says nothing of the page: it is as it was, it is coded, or its origin is in trouble.
        let says_nothing = matches!(status, StatusCode::NOT_MODIFIED)
            || status.is_server_error()
            || fields.contains_key(header::CONTENT_ENCODING);
        if says_nothing {
            return None;
        }
        if status != StatusCode::OK {
            proofs.lock().seen_otherwise(&self.question());
            return None;
        }
        let kind = fields.field("content-type").unwrap_or_default();
        Some(Look {
            reading: likeness::Reading::new(kind, None),
            watch: self,
        })
    }

    fn question(&self) -> Question<'_> {
        Question {
            key: self.key,
            origin: self.origin.as_deref(),
        }
    }
}

impl Look {
    /// `None`: enough has been read in this second.
    pub(crate) fn afforded(self, asked: &Asked) -> Option<Self> {
        let may_look = asked.state().proofs.may_look(UnixMillis::now());
        may_look.then_some(self)
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.reading.push(chunk);
    }

    /// The page is here, whole.
    pub(crate) fn done(self, asked: &Asked) {
        let question = self.watch.question();
        let mut shareable = asked.state().proofs.lock();
        match self.reading.finish() {
            Some(page) => {
                let now = UnixMillis::now();
                shareable.seen(&question, asked.group, StatusCode::OK, page, now);
            }
            None => shareable.seen_otherwise(&question),
        }
    }
}

/// How long the answer to this request may be kept for everybody although its origin forbids it.
pub(crate) fn lasts(shared: &Shared, asked: &Asked, fields: &HeaderMap) -> Option<Duration> {
    let (state, now) = (asked.state(), UnixMillis::now());
    if shared.bypassed()
        || !reduced::pressure(state, &asked.ask(), asked.is_suspect, now).under_attack
    {
        return None;
    }
    let question = question(&shared.cache, asked, &Method::GET, fields)?;
    let shareable = state.proofs.lock();
    shareable.keeps_for(&question, StatusCode::OK, false, now)
}

fn question<'a>(
    cache: &Cache,
    asked: &Asked,
    method: &Method,
    fields: &'a HeaderMap,
) -> Option<Question<'a>> {
    let is_somebodys = asked.reading.standing != Standing::Anonymous;
    let (key, target) = (read::key(cache, asked), asked.target.as_str().as_bytes());
    Question::of(key.hash(), method, target, fields, is_somebodys).ok()
}
