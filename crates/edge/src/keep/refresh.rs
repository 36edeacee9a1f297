//! What to look at again, and when.
//!
//! A copy is as good as it is recent for what people come to read during an outage: the front page, the feeds, the ten articles of the day.
//! Missing style sheets come first, because without one a kept page is no page, then scripts and fonts; pictures wait until no page is due,
//! and pages that nobody has asked for ([`super::crawl`]) until there is nothing else. One request at a time, pages two seconds apart and assets as
//! far apart as the server takes to answer, in the last class of admission: a newsroom's server does not notice.

use std::collections::VecDeque;
use std::time::Duration;

use super::table::{Class, Entry, Rank, State};
use crate::clock::UnixMillis;
use crate::disk::record::Address;

/// The front page and feeds change with every article.
pub const FRONT_EVERY: Duration = Duration::from_secs(300);
/// Sitemaps and feeds that nobody reads here: there may be dozens.
const LIST_EVERY: Duration = Duration::from_secs(1800);
/// Articles are corrected within the hour, and seldom later.
pub const ARTICLE_EVERY: Duration = Duration::from_secs(1800);
/// An asset that could not be had is asked for again, twice as long after each time: the server was busy, or there is none.
pub const MISSING_FIRST: Duration = Duration::from_secs(60);
pub const MISSING_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Of the most read.
const ARTICLES: usize = 50;
/// What is due is worked out no more often: it looks at every page.
const PLAN_EVERY: Duration = Duration::from_secs(60);
/// Between a page and the next request.
pub const GAP: Duration = Duration::from_secs(2);
/// Between an asset and the next request, and never less than its answer took: a browser that opens the page asks for six at once.
pub const ASSET_GAP: Duration = Duration::from_millis(250);
/// After a failure nothing is asked for, twice as long after each more.
const FAILED_FIRST: Duration = Duration::from_secs(10);
const FAILED_EVERY: Duration = Duration::from_secs(600);
/// A fetch that nobody ended is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What fits between two plans at this pace, twice.
const DUE_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// What has changed, before everything else.
    again: VecDeque<Address>,
    due: VecDeque<Address>,
    planned: Option<UnixMillis>,
    /// Not before.
    next: UnixMillis,
    /// One after the other.
    failures: u32,
    /// When an asset was asked for that has not come yet.
    asset_since: Option<UnixMillis>,
}

/// What was asked for and did not come is asked for again, ever less often.
pub(super) fn is_due(asked: Option<UnixMillis>, tries: u32, now: UnixMillis) -> bool {
    let rest = MISSING_FIRST
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(MISSING_EVERY);
    asked.is_none_or(|asked| now.since(asked) >= rest)
}

impl Refresh {
    /// The server failed: it is left alone.
    pub(super) fn failed(&mut self, now: UnixMillis) {
        let rest = FAILED_FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(FAILED_EVERY);
        self.failures = self.failures.saturating_add(1);
        self.next = now.plus(rest);
    }

    pub(super) fn fetched(&mut self, now: UnixMillis) {
        self.failures = 0;
        let rest = match self.asset_since.take() {
            Some(since) => now.since(since).clamp(ASSET_GAP, GAP),
            None => GAP,
        };
        self.next = now.plus(rest);
    }

    pub(super) fn forget(&mut self, is_gone: &dyn Fn(&[u8]) -> bool) {
        let stays = |address: &Address| !is_gone(&address.target);
        self.again.retain(stays);
        self.due.retain(stays);
    }
}

impl State {
    /// Of a site whose front page is there and whose copies may take so much.
    pub(super) fn due(
        &mut self,
        front: Option<Address>,
        bytes_max: u64,
        now: UnixMillis,
    ) -> Option<Address> {
        if now < self.refresh.next {
            return None;
        }
        let planned = self.refresh.planned;
        let is_old =
            planned.is_none_or(|planned| now.since(planned) >= PLAN_EVERY || now < planned);
        if is_old {
            self.plan(front, now);
        }
        let mut address = self.refresh.again.pop_front();
        self.refresh.asset_since = None;
        if address.is_none() {
            address = self.missing(Rank::Script, now);
        }
        if address.is_none() {
            address = self.refresh.due.pop_front();
        }
        if address.is_none() {
            address = self.missing(Rank::Image, now);
        }
        if address.is_none() && self.has_room(bytes_max) {
            address = self.crawl.next(now);
        }
        if address.is_none() {
            address = self.missing(Rank::Size, now);
        }
        if address.is_some() {
            self.refresh.next = now.plus(PATIENCE);
        }
        address
    }

    /// The first of what is missing, up to a rank: what was never asked for before what did not come.
    fn missing(&mut self, rank_max: Rank, now: UnixMillis) -> Option<Address> {
        let wanted = self
            .wanted
            .values_mut()
            .filter(|wanted| wanted.rank <= rank_max)
            .filter(|wanted| is_due(wanted.asked, wanted.tries, now))
            .min_by_key(|wanted| (wanted.rank, wanted.tries, wanted.turn))?;
        wanted.asked = Some(now);
        wanted.tries = wanted.tries.saturating_add(1);
        self.refresh.asset_since = Some(now);
        Some(wanted.address.clone())
    }

    pub(super) fn look_again(&mut self, matches: &dyn Fn(&[u8]) -> bool) {
        for entry in self.entries.values() {
            if self.refresh.again.len() >= DUE_MAX {
                break;
            }
            let address = &entry.address;
            let is_due = entry.class != Class::Asset
                && address.mark.is_empty()
                && matches(&address.target)
                && !self.refresh.again.contains(address);
            if is_due {
                self.refresh.again.push_back(address.clone());
            }
        }
    }

    fn plan(&mut self, front: Option<Address>, now: UnixMillis) {
        self.refresh.planned = Some(now);
        // What did not get its turn waits since before.
        let mut due = std::mem::take(&mut self.refresh.due);
        let has_front = self
            .entries
            .values()
            .any(|entry| Some(&entry.address) == front.as_ref());
        if !has_front {
            due.extend(front.clone().filter(|front| !due.contains(front)));
        }
        let mut articles: Vec<(u32, &mut Entry)> = Vec::new();
        for entry in self.entries.values_mut() {
            // Another variant needs a reader's own fields.
            if !entry.address.mark.is_empty() {
                continue;
            }
            let is_front = entry.class == Class::Feed || Some(&entry.address) == front.as_ref();
            let rested = now.since(entry.asked.max(entry.seen));
            let front_every = if entry.class == Class::Feed && entry.reads == 0 {
                LIST_EVERY
            } else {
                FRONT_EVERY
            };
            let not_found = entry
                .not_found_since
                .is_some_and(|since| now.since(since) >= super::GONE_AFTER);
            let wanted = is_front && rested >= front_every
                || not_found && now.since(entry.asked) >= super::GONE_AFTER;
            if wanted && due.len() < DUE_MAX {
                entry.asked = now;
                due.push_back(entry.address.clone());
            } else if entry.class == Class::Page && entry.reads > 0 && rested >= ARTICLE_EVERY {
                articles.push((entry.reads, entry));
            }
        }
        articles.sort_unstable_by_key(|(reads, _)| std::cmp::Reverse(*reads));
        articles.truncate(ARTICLES.min(DUE_MAX.saturating_sub(due.len())));
        for (_, entry) in articles {
            entry.asked = now;
            // Yesterday's readers count for less.
            entry.reads /= 2;
            due.push_back(entry.address.clone());
        }
        self.refresh.due = due;
    }
}
