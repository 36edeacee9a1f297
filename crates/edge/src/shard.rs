//! What one core has to itself, and what all cores share.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use saqta_detect::shape::ShapeBook;
use saqta_detect::tally::Tally;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::admission::{Admission, Class, Config};
use crate::asked::Asked;
use crate::brief::Proofs;
use crate::budget::{Budget, CODERS_BYTES_MAX, RELAYED_BYTES_MAX, UPLOADS_BYTES_MAX};
use crate::cache::Cache;
use crate::cache::vary::Varied;
use crate::clock::UnixMillis;
use crate::forward;
use crate::guard::Guard;
use crate::head::{self, ClientFault};
use crate::ladder::{Ladder, SiteMark};
use crate::lanes::Lanes;
use crate::occupancy::{Claim, Occupancy, Patience, Seat};
use crate::origin::{Origin, OriginHealth};
use crate::pages::Pages;
use crate::plan::{Plan, Site, SiteId};
use crate::reduced::Learned;
use crate::saved::Saved;
use crate::search::{self, Search, SearchForm, Share};
use crate::sentry::Detection;
use crate::staff::StaffSessions;
use crate::stats::Counters;

/// The plan and what grows around it. Swapped whole on reload; sites that stay keep their state.
pub(crate) struct Running {
    pub plan: Plan,
    /// Counts reloads, so that a shard knows when its own copies are old.
    pub generation: u64,
    /// How this process signs `CDN-Loop`: no one can guess it, and it says nothing about the machine.
    pub signature: HeaderValue,
    hosts: HashMap<String, SiteId, foldhash::fast::RandomState>,
    pub sites: Vec<Arc<SiteState>>,
    /// By site.
    pub search_forms: Vec<Box<[SearchForm]>>,
    /// Of the processor, for the searches of all sites.
    search_share: Arc<Share>,
}

/// What a site has learned; outlives reloads.
pub(crate) struct SiteState {
    pub admission: Admission,
    pub health: Arc<OriginHealth>,
    pub staff: StaffSessions,
    pub shapes: ShapeBook,
    /// What its parameters do.
    pub learned: Learned,
    /// What everybody is shown alike.
    pub proofs: Proofs,
    /// What its pages differ by.
    pub varied: Varied,
    pub observed: Observed,
    /// A request to its origin has come back to us. Said in the log once.
    pub leads_back: AtomicBool,
    /// A reader with a stale copy at hand waited for its origin in vain, and no page has come in time since.
    pub kept_waiting: AtomicBool,
    /// `None`: searches are not answered here.
    pub search: Option<Search>,
    pub detection: Detection,
    /// In what readers' browsers are given.
    pub mark: SiteMark,
}

/// What would have been done in mode `protect`: requests that a rule hit, whose clients are strangers or more than that.
#[derive(Default)]
pub(crate) struct Observed {
    pub would_wait: AtomicU64,
    pub would_be_spared: AtomicU64,
}

impl Observed {
    pub(crate) fn note(&self, asked: &Asked) {
        let count = match asked.class {
            Class::Unknown => &self.would_wait,
            Class::KnownReader | Class::Passed => &self.would_be_spared,
            Class::Staff | Class::Lane | Class::Signature => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) struct Shared {
    pub running: ArcSwap<Running>,
    pub occupancy: Arc<Occupancy>,
    pub cache: Arc<Cache>,
    /// What outlives a restart and the origin.
    pub saved: Saved,
    pub ladder: Ladder,
    pub lanes: Lanes,
    pub guard: Guard,
    pub pages: Pages,
    /// Request bodies taken in before admission.
    pub uploads: Arc<Budget>,
    /// Responses drained from an origin and not yet taken by their clients.
    pub relayed: Arc<Budget>,
    /// Memory of those who compress what is not stored.
    pub coders: Arc<Budget>,
    pub bypass: AtomicBool,
    pub started: Instant,
    exchanges: AtomicUsize,
}

pub(crate) struct Shard {
    /// Among those of this process.
    pub index: usize,
    pub shared: Arc<Shared>,
    pub counters: Arc<Counters>,
    tally: Arc<Mutex<Tally>>,
    drain: Drain,
    quiet: Quiet,
    /// This shard's connections to each site's origin, of the generation beside them.
    origins: std::cell::RefCell<(u64, Vec<Rc<Origin>>)>,
}

/// The edge stops: what is under way ends, nothing begins.
#[derive(Default)]
struct Drain {
    begun: Cell<bool>,
    told: Notify,
}

/// Connections of HTTP/2 on which nothing happens, and when they were told last that room runs short.
#[derive(Default)]
struct Quiet {
    told: Notify,
    told_at: Cell<Option<Instant>>,
}

/// Whoever is told goes only while room is still short, so that the next ones to come find some; a thousand that come in a second would
/// use up what is left before they are told again, a quarter of them does not.
const TELL_QUIET_EVERY: Duration = Duration::from_millis(250);

/// One exchange under way; a stop waits for it.
pub(crate) struct Busy(Arc<Shared>);

impl Running {
    /// Sites of `before` with the same name and origin keep what they learned.
    pub(crate) fn new(plan: Plan, before: Option<&Self>, secret: &RandomState) -> Self {
        let mut hosts = HashMap::default();
        for (id, site) in plan.sites.iter().enumerate() {
            for host in &site.hosts {
                hosts.insert(host.clone(), id);
            }
        }
        let search_share = before.map_or_else(
            || Arc::new(Share::new(Instant::now())),
            |before| Arc::clone(&before.search_share),
        );
        search_share.set_line(plan.line_mbit);
        let search_forms: Vec<_> = plan
            .sites
            .iter()
            .map(|site| site.profile.searches().into_boxed_slice())
            .collect();
        let sites = plan
            .sites
            .iter()
            .enumerate()
            .map(|(id, site)| {
                let kept = before.and_then(|before| {
                    let old = before.plan.sites.iter().position(|old| {
                        old.name == site.name && old.origin.authority == site.origin.authority
                    })?;
                    // The cache knows sites by number.
                    (old == id).then(|| Arc::clone(&before.sites[old]))
                });
                match kept {
                    Some(state) => {
                        state.admission.set_config(Config::from(&site.origin));
                        state
                    }
                    None => Arc::new(SiteState {
                        admission: Admission::new(Config::from(&site.origin)),
                        health: Arc::new(OriginHealth::new(
                            format!("{}: its origin http://{}", site.name, site.origin.authority),
                            site.origin.health_path.is_some(),
                            Instant::now(),
                        )),
                        staff: StaffSessions::new(secret.clone()),
                        shapes: ShapeBook::default(),
                        learned: Learned::new(secret.clone()),
                        proofs: Proofs::new(secret.clone()),
                        varied: Varied::default(),
                        observed: Observed::default(),
                        leads_back: AtomicBool::new(false),
                        kept_waiting: AtomicBool::new(false),
                        search: search(&search_share),
                        detection: Detection::new(plan.shards, secret.hash_one("sources")),
                        mark: SiteMark::of(&site.name),
                    }),
                }
            })
            .collect();
        let generation = before.map_or(0, |before| before.generation + 1);
        Self {
            plan,
            generation,
            signature: forward::signature(secret.hash_one("CDN-Loop")),
            hosts,
            sites,
            search_forms,
            search_share,
        }
    }

    /// The site a Host field asks for.
    pub(crate) fn site_of(&self, host: &str) -> Option<SiteId> {
        let name = head::without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        let found = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.hosts.get(&name.to_ascii_lowercase())
        } else {
            self.hosts.get(name)
        };
        found.copied().or(self.plan.any_host)
    }
}

impl Shared {
    pub(crate) fn new(running: Running, cache: Arc<Cache>, saved: Saved) -> Self {
        Self {
            bypass: AtomicBool::new(running.plan.bypass),
            running: ArcSwap::from_pointee(running),
            occupancy: Arc::default(),
            cache,
            saved,
            ladder: Ladder::new(UnixMillis::now()),
            lanes: Lanes::new(),
            guard: Guard::new(),
            pages: Pages::new(),
            uploads: Budget::new(UPLOADS_BYTES_MAX),
            relayed: Budget::new(RELAYED_BYTES_MAX),
            coders: Budget::new(CODERS_BYTES_MAX),
            started: Instant::now(),
            exchanges: AtomicUsize::new(0),
        }
    }

    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    pub(crate) fn bypassed(&self) -> bool {
        self.bypass.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        Self {
            index,
            shared,
            counters,
            tally,
            drain: Drain::default(),
            quiet: Quiet::default(),
            origins: std::cell::RefCell::new((u64::MAX, Vec::new())),
        }
    }

    pub(crate) fn running(&self) -> arc_swap::Guard<Arc<Running>> {
        self.shared.running.load()
    }

    pub(crate) fn sit(&self, address: IpAddr) -> Option<Seat> {
        self.shared
            .occupancy
            .sit(address, &self.running().plan.limits)
    }

    pub(crate) fn patience(&self) -> Patience {
        self.shared.occupancy.patience(&self.running().plan.limits)
    }

    pub(crate) fn http2_patience(&self, claim: Claim) -> Patience {
        let limits = &self.running().plan.limits;
        self.shared.occupancy.http2_patience(limits, claim)
    }

    pub(crate) fn drain(&self) {
        self.drain.begun.set(true);
        self.drain.told.notify_waiters();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.begun.get()
    }

    /// Waits for the drain. Once it has begun, for nothing.
    pub(crate) async fn drained(&self) {
        let told = self.drain.told.notified();
        if !self.is_draining() {
            told.await;
        }
    }

    /// Where HTTP/2 runs short of room, quiet connections are told: they were to be looked at when it did not, much later.
    pub(crate) fn tell_quiet(&self) {
        let now = Instant::now();
        let is_new = |told_at| now.duration_since(told_at) >= TELL_QUIET_EVERY;
        // For suspects it is short first.
        let is_short = self.shared.occupancy.is_http2_short(Claim::Suspect);
        if is_short && self.quiet.told_at.get().is_none_or(is_new) {
            self.quiet.told_at.set(Some(now));
            self.quiet.told.notify_waiters();
        }
    }

    pub(crate) fn quiet_told(&self) -> Notified<'_> {
        self.quiet.told.notified()
    }

    /// Counts something in the second that it is. The lock is this shard's own but for the moments when all are merged.
    pub(crate) fn tally(&self, count: impl FnOnce(&mut Tally, u64)) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tally, UnixMillis::now().secs());
    }

    /// Counted, and not logged: a stranger could fill the log.
    pub(crate) fn fault(&self, _fault: ClientFault) {
        self.counters.client_faults.add(1);
    }

    /// This shard's way to a site's origin.
    pub(crate) fn origin(&self, running: &Running, site: SiteId) -> Rc<Origin> {
        let mut origins = self.origins.borrow_mut();
        if origins.0 != running.generation {
            *origins = (
                running.generation,
                running
                    .plan
                    .sites
                    .iter()
                    .zip(&running.sites)
                    .map(|(site, state)| {
                        let origin = Origin::new(site.origin.clone(), Arc::clone(&state.health));
                        Rc::new(match probe_host(site) {
                            Some(host) => origin.probing_as(host),
                            None => origin,
                        })
                    })
                    .collect(),
            );
        }
        Rc::clone(&origins.1[site])
    }
}

fn search(share: &Arc<Share>) -> Option<Search> {
    Search::start(Arc::clone(share), search::REST)
        .inspect_err(|error| tracing::error!(%error, "searches cannot be answered from the copy: no thread to read pages"))
        .ok()
}

/// A server with several names answers each in its own way; the one that matters is the one readers ask for.
fn probe_host(site: &Site) -> Option<HeaderValue> {
    let host = site.hosts.first().filter(|_| site.origin.keep_host)?;
    HeaderValue::from_str(host).ok()
}
