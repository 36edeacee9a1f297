//! Keeps the saved copies young: one request at a time, as an anonymous reader, in the last class of admission and only when the origin is at ease.
//!
//! What is due, [`crate::keep::Keep::due`] says: missing style sheets first, the front page, feeds, the articles that are read most. An answer goes the way of
//! every other into the cache and from there to the copies, so there is one place where it is decided what may be kept. One shard does this for all.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use saqta_detect::network::Group;
use tokio::time::{Instant, MissedTickBehavior};

use crate::admission::Class;
use crate::asked::{Asked, OURSELVES};
use crate::cache::key::Scheme;
use crate::cache::{Lookup, RequestDirectives};
use crate::clock::UnixMillis;
use crate::disk::record::Address;
use crate::forward;
use crate::ladder::code::Holds;
use crate::origin::health::State;
use crate::place::Place;
use crate::plan::SiteId;
use crate::profile::{Reading, Use};
use crate::read;
use crate::saved::Public;
use crate::shard::{Running, Shard};
use crate::sight;

/// How often it is looked whether something is due. Less than [`crate::keep::refresh::ASSET_GAP`], so that one site does not wait for another.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What is known of addresses is written down: what a crash loses is learned again from the front page.
const NOTE_EVERY: Duration = Duration::from_secs(600);

pub(crate) async fn renew(shard: Rc<Shard>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut noted = Instant::now();
    loop {
        look.tick().await;
        let saved = &shard.shared.saved;
        if noted.elapsed() >= NOTE_EVERY {
            noted = Instant::now();
            saved.note_known();
        }
        if saved.keep().is_none() || shard.shared.bypassed() {
            continue;
        }
        let running = Arc::clone(&shard.running());
        for site in 0..running.plan.sites.len() {
            renew_one(&shard, &running, site).await;
        }
    }
}

async fn renew_one(shard: &Rc<Shard>, running: &Arc<Running>, site: SiteId) {
    let Some(keep) = shard.shared.saved.keep() else {
        return;
    };
    let plan = &running.plan.sites[site];
    if !plan.saved || !is_at_ease(running, site) {
        return;
    }
    let Some(address) = keep.due(plan.name.as_bytes(), UnixMillis::now()) else {
        return;
    };
    // Links lead to logins and searches too.
    let asked = asked(running, site, &address)
        .filter(|asked| matches!(asked.usage, Use::Front | Use::Page | Use::Feed));
    let is_well = match asked {
        Some(asked) => fetch(shard, &asked).await,
        None => true,
    };
    if is_well {
        keep.fetched(&address, UnixMillis::now());
    } else {
        keep.failed(plan.name.as_bytes(), UnixMillis::now());
    }
}

/// Up, and half of what it bears is free.
fn is_at_ease(running: &Running, site: SiteId) -> bool {
    let state = &running.sites[site];
    let admission = state.admission.stats();
    let waits = admission.classes.iter().any(|class| class.queued > 0);
    state.health.state() == State::Closed && !waits && admission.in_flight * 2 <= admission.limit
}

/// False: the origin gave no answer, or one that says it cannot.
async fn fetch(shard: &Rc<Shard>, asked: &Asked) -> bool {
    let cache = &shard.shared.cache;
    let key = read::key(cache, asked);
    let now = UnixMillis::now();
    let purge_number = cache.purge_number(asked.site_id);
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(asked.authority.as_str()) {
        headers.insert(header::HOST, host);
    }
    let fields = asked.reading.sent(&asked.site().profile, &headers);
    let (stale, flight) = match cache.lookup(&key, &fields, RequestDirectives::Ignore, now) {
        // As good as asked for; the copy only has to hear of it.
        Lookup::Fresh(stored) => {
            if let Some(house) = read::house(asked, stored.headers())
                && let Some(leave) = cache.may_store(asked.site_id, purge_number)
            {
                let public = Public {
                    asked,
                    house,
                    as_usual: true,
                    is_expected: false,
                    now,
                };
                shard.shared.saved.offer(&leave, &public, &stored);
            }
            return true;
        }
        Lookup::Stale(stale) => (Some(stale.stored), stale.flight),
        Lookup::Miss(miss) => (None, miss.flight),
        Lookup::HitForMiss(_) | Lookup::Bypass(_) | Lookup::NotCached => (None, 0),
    };
    let Some(fetch) = cache.begin(&key, flight, stale) else {
        // Somebody's request is on its way for the same.
        return true;
    };
    let _busy = shard.shared.busy();
    let place = Place::enter(shard, asked);
    let status = read::run_fetch(shard, asked, headers, place, fetch).await;
    status
        .is_some_and(|status| !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS)
}

/// The request of a reader who says nothing.
fn asked(running: &Arc<Running>, site: SiteId, address: &Address) -> Option<Asked> {
    let plan = &running.plan.sites[site];
    let authority = Authority::try_from(&*address.host).ok()?;
    let target = PathAndQuery::try_from(&*address.target).ok()?;
    let profile = &plan.profile;
    let usage = profile.use_of(target.path(), target.query());
    let reading = Reading::of(profile, &HeaderMap::new())
        .at_most(profile.standing_of_use(usage, target.query()));
    let scheme = match address.scheme {
        Scheme::Http => forward::Scheme::Http,
        Scheme::Https => forward::Scheme::Https,
    };
    Some(Asked {
        shape: running.sites[site].shapes.shape(&address.target),
        running: Arc::clone(running),
        site_id: site,
        authority,
        target,
        taken: Arc::default(),
        usage,
        reading,
        client: OURSELVES,
        visitor: sight::visitor(OURSELVES, &HeaderMap::new()),
        scheme,
        version: Version::HTTP_11,
        class: Class::Signature,
        account: None,
        lane: None,
        is_our_own: true,
        is_suspect: false,
        is_kept_from_rule: false,
        is_strange: false,
        is_cron: false,
        group: Group::of(OURSELVES),
        holds: Holds::NoCookies,
    })
}
