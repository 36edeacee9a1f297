//! From a file to what a reader gets.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::note::Note;
use super::{Job, OLDER, Read, Shared, Site, banner, lock};
use crate::cache::freshness::{Asked, Times, judge};
use crate::cache::stored::{Draft, Stored};
use crate::cache::vary::Selection;
use crate::clock::UnixMillis;
use crate::disk::record::{Record, Response};
use crate::disk::shelf::ReadFault;
use crate::known::links::{Base, Kind, resolve};

impl Shared {
    pub(super) fn copy(&self, read: &Read, jobs: &mpsc::SyncSender<Job>) -> Option<Arc<Stored>> {
        let site = &self.sites[read.site];
        let identity = read.address.as_identity();
        let record = match self.shelf.read_named(&identity, read.name) {
            Ok(record) => record,
            Err(ReadFault::Absent) => return None,
            Err(_) => {
                let (site, name) = (read.site, read.name);
                // Read before it is mended, which moves it.
                let before = self.shelf.read_named(&identity, name ^ OLDER).ok();
                // When the queue is full its next reader tells.
                drop(jobs.try_send(Job::Mend { site, name }));
                before?
            }
        };
        let copy = Arc::new(self.marked(site, record, read.seen)?);
        let key = (read.name, read.seen.0);
        self.at_hand.insert(key, Arc::clone(&copy));
        // Removed or renewed meanwhile: nothing of it stays.
        let is_current = lock(&site.state)
            .entries
            .get(&read.name)
            .is_some_and(|entry| entry.seen == read.seen);
        if !is_current {
            self.at_hand.remove(&key);
        }
        Some(copy)
    }

    /// As it is sent.
    fn marked(&self, site: &Site, record: Record, seen: UnixMillis) -> Option<Stored> {
        let Response {
            status,
            mut headers,
            mut body,
            received,
            age_secs,
        } = record.response;
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let kind = Kind::of(content_type);
        let assets = Note::of(&record.note).map_or_else(Vec::new, |note| note.assets);
        let base = Base {
            host: &record.address.host,
            target: &record.address.target,
        };
        let is_kept = |reference: &str| {
            resolve(base, reference.as_bytes())
                .is_none_or(|target| assets.iter().any(|(_, asset)| asset.as_ref() == target))
        };
        if kind == Some(Kind::Html)
            && let Some(page) =
                banner::mark(&body, content_type, seen, site.plan.language, &is_kept)
        {
            body = Bytes::from(page);
        }
        let sum = self.shelf.seal().sum(&[&body]);
        if matches!(kind, Some(Kind::Html | Kind::Xml)) {
            // They spoke of other bytes, or let a browser keep what is only for now.
            const OF_THE_ORIGINAL: [&str; 10] = [
                "etag",
                "last-modified",
                "expires",
                "pragma",
                "cdn-cache-control",
                "surrogate-control",
                "content-md5",
                "digest",
                "content-digest",
                "repr-digest",
            ];
            for name in OF_THE_ORIGINAL {
                headers.remove(name);
            }
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let etag = Bytes::from(format!("\"copy-{sum:016x}\""));
            headers.insert(header::ETAG, HeaderValue::from_maybe_shared(etag).ok()?);
        }
        let mut judged = HeaderMap::with_capacity(3);
        judged.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
        judged.insert(header::ETAG, HeaderValue::from_static("\"copy\""));
        judged.insert(header::AGE, HeaderValue::from(age_secs));
        let asked = Asked {
            method: &Method::GET,
            headers: &HeaderMap::new(),
            no_store: false,
        };
        let times = Times {
            request: received,
            response: received,
        };
        Some(Stored::new(Draft {
            status,
            headers,
            body,
            selection: Selection::default(),
            freshness: judge(&asked, StatusCode::OK, &judged, times).ok()?,
            serial: sum,
        }))
    }
}
