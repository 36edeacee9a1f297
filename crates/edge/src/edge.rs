//! Starting, changing and stopping the shield.
//!
//! One thread a shard, each with a runtime, a listener and counters of its own. They share the running plan, the cache and the
//! admission to each origin.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use saqta_detect::engine::Engine;
use saqta_detect::tally::{Second, Tally};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::{self, Class};
use crate::background::{self, Nice};
use crate::cache::Cache;
use crate::cache::purge::What;
use crate::clock::UnixMillis;
use crate::ladder::code::{Code, CodeFault, Why};
use crate::ladder::locker::Locker;
use crate::ladder::{InviteError, Invited};
use crate::lanes::{Queue, lookup};
use crate::listen;
use crate::origin::health::State;
use crate::plan::{Plan, SiteId};
use crate::purging;
use crate::renew;
use crate::saved::{self, Saved};
use crate::searching;
use crate::sentry;
use crate::serve;
use crate::shard::{Running, Shard, Shared};
use crate::stats::{ClassStats, Counters, SiteStats, Stats, Totals};

/// How often a stop looks whether the last exchange has ended.
const STOP_LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot start a thread for a shard")]
    Thread(#[source] io::Error),
    #[error("cannot keep anything in the data folder")]
    Folder(#[from] saved::OpenError),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    #[error("`listen` cannot change while running; restart to listen elsewhere")]
    Listen,
    #[error("`shards` cannot change while running; restart to change it")]
    Shards,
    #[error("`cache_mb` cannot change while running; restart to change it")]
    CacheBytes,
    #[error("`disk_cache_gb` and `saved_gb` cannot change while running; restart to change them")]
    DiskBytes,
    #[error(
        "the number of sites cannot change while running, because each has its part of the cache; restart to change it"
    )]
    Sites,
}

pub struct Edge {
    shared: Arc<Shared>,
    counters: Vec<Arc<Counters>>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<Stop>,
    /// Dropped, it ends the sentry.
    sentry: Option<mpsc::SyncSender<()>>,
    threads: Vec<thread::JoinHandle<()>>,
    reloading: Mutex<()>,
    secret: RandomState,
    /// Of the tallies, which merge only when all have the same.
    seed: u64,
}

/// What [`Edge::forget`] took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub in_memory: u64,
    pub on_disk: u64,
    /// Where it was looked for, by name.
    pub sites: Vec<String>,
}

/// What a code says, as far as anybody still knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRead {
    pub site: String,
    /// To the minute.
    pub at: UnixMillis,
    pub why: Why,
    /// The rule that hit the request, as a sentence, and whether it still stands.
    pub rule: Option<(String, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Run,
    /// No new connections, and no further exchange on those there are.
    Drain,
    Now,
}

impl Edge {
    /// Listens and serves until [`Edge::stop`] or drop. Nothing is kept on disk.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the system gives no thread.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        Self::start_with(plan, None)
    }

    /// The same with a folder for what outlives a restart and the origin. It is this process's alone.
    ///
    /// # Errors
    /// Also when the folder cannot be used.
    pub fn start_in(plan: Plan, folder: &Path) -> Result<Self, StartError> {
        Self::start_with(plan, Some(folder))
    }

    fn start_with(plan: Plan, folder: Option<&Path>) -> Result<Self, StartError> {
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<_>> = (0..plan.shards).map(|_| Vec::new()).collect();
        for wanted in &plan.listen {
            let failed = |source| StartError::Listen {
                address: *wanted,
                source,
            };
            let mut address = *wanted;
            for shard in &mut sockets {
                let socket = listen::bind(address).map_err(failed)?;
                // Port 0: the kernel chose for the first shard, the others join it.
                address = socket
                    .local_addr()
                    .map_err(failed)?
                    .as_socket()
                    .unwrap_or(address);
                shard.push(socket);
            }
            addresses.push(address);
        }
        let secret = RandomState::new();
        let cache =
            Cache::new(plan.sites.len(), plan.cache_bytes_max).map_err(StartError::Thread)?;
        let shards = plan.shards;
        let sites = plan.sites.len();
        let seed = secret.hash_one(sites);
        let saved = match folder {
            Some(folder) => Saved::open(folder, &plan, &secret)?,
            None => Saved::default(),
        };
        let normal = folder.map(sentry::Notebook::new);
        let running = Running::new(plan, None, &secret);
        let shared = Arc::new(Shared::new(running, cache, saved));
        let locker = folder.map(Locker::new);
        if let Some(locker) = &locker {
            locker.recall(&shared.ladder, &shared.saved, UnixMillis::now());
        }
        let (stop, stopped) = watch::channel(Stop::Run);
        let (sentry, sentry_ends) = mpsc::sync_channel(0);
        let mut edge = Self {
            shared,
            counters: (0..shards).map(|_| Arc::default()).collect(),
            tallies: (0..shards)
                .map(|_| Arc::new(Mutex::new(Tally::new(sites, seed))))
                .collect(),
            addresses,
            stop,
            sentry: Some(sentry),
            threads: Vec::new(),
            reloading: Mutex::new(()),
            secret,
            seed,
        };
        let shared = Arc::clone(&edge.shared);
        let ended = stopped.clone();
        let filling = searching::filling(&shared);
        let finds_saved =
            move || searching::find_saved(&shared, filling, || *ended.borrow() != Stop::Run);
        edge.threads.push(
            background::spawn("find-saved", Nice::Whenever, finds_saved)
                .map_err(StartError::Thread)?,
        );
        let (shared, counters) = (Arc::clone(&edge.shared), edge.counters.clone());
        let bytes_out = move || Totals::of(counters.iter().map(Arc::as_ref)).bytes_out;
        edge.threads.push(
            thread::Builder::new()
                .name("sentry".to_owned())
                .spawn(move || {
                    sentry::watch(&shared, normal, locker.as_ref(), bytes_out, &sentry_ends);
                })
                .map_err(StartError::Thread)?,
        );
        for (index, sockets) in sockets.into_iter().enumerate() {
            let listeners = sockets
                .into_iter()
                .map(listen::listen)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| StartError::Listen {
                    address: edge.addresses[0],
                    source,
                })?;
            let start = ShardStart {
                index,
                listeners,
                shared: Arc::clone(&edge.shared),
                counters: Arc::clone(&edge.counters[index]),
                tally: Arc::clone(&edge.tallies[index]),
                stopped: stopped.clone(),
                is_first: index == 0,
            };
            // A local runtime belongs to its thread, which therefore tells how making it went.
            let (made, told) = mpsc::sync_channel(1);
            let thread = thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build_local(LocalOptions::default());
                    match runtime {
                        Ok(runtime) => {
                            let _waits = made.send(Ok(()));
                            start.run(&runtime);
                        }
                        Err(error) => {
                            let _waits = made.send(Err(error));
                        }
                    }
                })
                .map_err(StartError::Thread)?;
            edge.threads.push(thread);
            if let Ok(Err(error)) = told.recv() {
                return Err(StartError::Thread(error));
            }
        }
        Ok(edge)
    }

    /// With the ports the kernel chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Swaps the plan; connections, cache, what was learned about each origin, and confirmed staff stay.
    ///
    /// # Errors
    /// What only a restart can change. The old plan stays.
    pub fn reload(&self, plan: Plan) -> Result<(), ReloadError> {
        let _one_at_a_time = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = self.shared.running.load_full();
        // The kernel chose for port 0; asking for port 0 again is no change.
        if plan.listen != old.plan.listen {
            return Err(ReloadError::Listen);
        }
        if plan.shards != old.plan.shards {
            return Err(ReloadError::Shards);
        }
        if plan.cache_bytes_max != old.plan.cache_bytes_max {
            return Err(ReloadError::CacheBytes);
        }
        let disks = |plan: &Plan| [plan.disk_cache_bytes_max, plan.saved_bytes_max];
        if disks(&plan) != disks(&old.plan) {
            return Err(ReloadError::DiskBytes);
        }
        if plan.sites.len() != old.plan.sites.len() {
            return Err(ReloadError::Sites);
        }
        self.shared
            .running
            .store(Arc::new(Running::new(plan, Some(&old), &self.secret)));
        Ok(())
    }

    /// On: requests pass through the RFC cache only, from the next request on.
    pub fn bypass(&self, on: bool) {
        self.shared.bypass.store(on, Ordering::Relaxed);
    }

    /// Makes copies stale. `host`: of which site; `None`: of all. Says of how many sites; none: no site has the host.
    pub fn purge(&self, host: Option<&str>, what: &What) -> usize {
        let sites = self.sites_of(host);
        let running = self.shared.running.load();
        for site in sites.clone() {
            let plan = &running.plan.sites[site];
            let what = what.clone().without_tracking(&plan.profile);
            self.shared.saved.purge(&plan.name, &what);
            self.shared.cache.purge(site, what);
        }
        sites.len()
    }

    /// Takes every trace away, from disk too, and says how many addresses there were; `None`: no site has the host. Blocks until the files
    /// are gone.
    pub fn forget(&self, host: Option<&str>, what: &What) -> Option<Forgotten> {
        let sites = self.sites_of(host);
        let running = self.shared.running.load();
        (!sites.is_empty()).then(|| {
            sites.fold(Forgotten::default(), |mut sum, site| {
                let plan = &running.plan.sites[site];
                let what = &what.clone().without_tracking(&plan.profile);
                let from_memory = || {
                    let gone = self.shared.cache.forget(site, what);
                    searching::forget_all(&running.sites[site], what);
                    gone
                };
                // First memory: from then on fetches under way bring nothing to the disk.
                let in_memory = from_memory();
                let on_disk = self.shared.saved.forget(&plan.name, what);
                // And what has been read from there meanwhile.
                sum.in_memory += in_memory + from_memory();
                sum.on_disk += on_disk;
                sum.sites.push(plan.name.clone());
                sum
            })
        })
    }

    /// Makes whoever is sent the link staff of this site, by this label: the link's path. `None`: there is no such site.
    ///
    /// # Errors
    /// When the label cannot be, there are too many, or it cannot be written.
    pub fn invite(
        &self,
        site: &str,
        label: &str,
        days: u16,
    ) -> Option<Result<String, InviteError>> {
        let running = self.shared.running.load();
        running.plan.sites.iter().find(|one| one.name == site)?;
        let invites = &self.shared.ladder.invites;
        Some(invites.invite(site, label, days, UnixMillis::now()))
    }

    /// How many there were.
    ///
    /// # Errors
    /// When it cannot be written; then they stay.
    pub fn revoke(&self, label: &str) -> Result<usize, InviteError> {
        let invites = &self.shared.ladder.invites;
        invites.revoke(label, UnixMillis::now())
    }

    pub fn invited(&self) -> Vec<Invited> {
        self.shared.ladder.invited(UnixMillis::now())
    }

    /// What the code on somebody's page says.
    ///
    /// # Errors
    /// When it is of another Saqta, or too old.
    pub fn read_code(&self, code: Code) -> Result<CodeRead, CodeFault> {
        let running = self.shared.running.load();
        let marks = running.sites.iter().map(|state| state.mark);
        let (site, at, why) = self.shared.ladder.read_code(marks, code)?;
        let detection = &running.sites[site].detection;
        Ok(CodeRead {
            site: running.plan.sites[site].name.clone(),
            at,
            why,
            rule: why.rule.and_then(|mark| detection.rule(mark, at)),
        })
    }

    /// Blocks until everything that was to be written is on disk or not.
    pub fn settle(&self) {
        self.shared.saved.settle();
    }

    fn sites_of(&self, host: Option<&str>) -> std::ops::Range<SiteId> {
        let running = self.shared.running.load();
        match host.map(|host| running.site_of(host)) {
            None => 0..running.sites.len(),
            Some(Some(site)) => site..site + 1,
            Some(None) => 0..0,
        }
    }

    /// Shows a site's detection traffic that did not come through here, such as a calm that a rehearsal begins with.
    pub fn teach(&self, site: SiteId, teach: impl FnOnce(&mut Engine)) {
        let running = self.shared.running.load();
        if let Some(state) = running.sites.get(site) {
            state.detection.teach(teach);
        }
    }

    /// The counters of [`Edge::stats`] alone, for whoever comes by every second.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }

    pub fn stats(&self) -> Stats {
        let running = self.shared.running.load();
        let cache = self.shared.cache.stats();
        Stats {
            uptime_s: self.shared.started.elapsed().as_secs(),
            connections: self.shared.occupancy.connections(),
            http2_bytes: self.shared.occupancy.http2_bytes(),
            bypass: self.shared.bypassed(),
            totals: self.totals(),
            cache_entries: cache.keys,
            cache_bytes: cache.bytes,
            cache_bytes_max: running.plan.cache_bytes_max,
            saved: self.shared.saved.stats(),
            lanes: self.shared.lanes.stats(),
            sites: running
                .plan
                .sites
                .iter()
                .zip(&running.sites)
                .enumerate()
                .map(|(id, (site, state))| {
                    let admission = state.admission.stats();
                    let last = self.last_second(id);
                    SiteStats {
                        name: site.name.clone(),
                        limit: admission.limit,
                        in_flight: admission.in_flight,
                        queued: admission.classes.iter().map(|class| class.queued).sum(),
                        granted: admission.classes.iter().map(|class| class.granted).sum(),
                        turned_away: admission
                            .classes
                            .iter()
                            .map(|class| class.turned_away + class.expired)
                            .sum(),
                        classes: classes(&admission),
                        would_wait: state.observed.would_wait.load(Ordering::Relaxed),
                        would_be_spared: state.observed.would_be_spared.load(Ordering::Relaxed),
                        origin: match state.health.state() {
                            State::Closed => "up",
                            State::HalfOpen => "recovering",
                            State::Open => "down",
                        },
                        pages_to_search: state
                            .search
                            .as_ref()
                            .map_or(0, |search| search.stats().pages),
                        requests_per_s: last.counts.requests,
                        sources_per_s: last.sources.estimate().round() as u64,
                        detection: state.detection.stats(),
                    }
                })
                .collect(),
        }
    }

    /// What all shards counted for a site in the last full second.
    fn last_second(&self, site: SiteId) -> Second {
        let second = UnixMillis::now().secs().saturating_sub(1);
        let mut sum = Second::new(self.seed);
        for tally in &self.tallies {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.merge_into(second, site, &mut sum);
        }
        sum
    }

    /// Stops accepting, lets exchanges under way finish for up to `grace`, then ends. Connections that wait for nothing are closed at
    /// once, others say on their next answer that it is the last. Blocks.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stop.send_replace(Stop::Drain);
        // One look at least, so that clients are told.
        while Instant::now() < deadline {
            thread::sleep(STOP_LOOK);
            if self.shared.exchanges() == 0 {
                break;
            }
        }
        self.stop.send_replace(Stop::Now);
        self.sentry = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread had panicked");
            }
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

struct ShardStart {
    index: usize,
    listeners: Vec<std::net::TcpListener>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    tally: Arc<Mutex<Tally>>,
    stopped: watch::Receiver<Stop>,
    /// It looks after the saved copies of all, and asks who visitors are.
    is_first: bool,
}

impl ShardStart {
    fn run(self, runtime: &LocalRuntime) {
        let Self {
            index,
            listeners,
            shared,
            counters,
            tally,
            mut stopped,
            is_first,
        } = self;
        runtime.block_on(async move {
            let shard = Rc::new(Shard::new(index, shared, counters, tally));
            let accepting: Vec<_> = listeners
                .into_iter()
                .filter_map(
                    |listener| match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => Some(tokio::task::spawn_local(listen::accept(
                            listener,
                            Rc::clone(&shard),
                        ))),
                        Err(error) => {
                            tracing::error!(%error, "a listener could not be registered");
                            None
                        }
                    },
                )
                .collect();
            tokio::task::spawn_local(serve::watch_origins(Rc::clone(&shard)));
            tokio::task::spawn_local(purging::sweep(Rc::clone(&shard)));
            if is_first {
                tokio::task::spawn_local(renew::renew(Rc::clone(&shard)));
                for queue in Queue::ALL {
                    tokio::task::spawn_local(lookup::look_up(Rc::clone(&shard), queue));
                }
            }
            drop(stopped.wait_for(|stop| *stop != Stop::Run).await);
            for task in accepting {
                task.abort();
            }
            shard.drain();
            drop(stopped.wait_for(|stop| *stop == Stop::Now).await);
        });
    }
}

fn classes(admission: &admission::Stats) -> Vec<ClassStats> {
    Class::ALL
        .into_iter()
        .map(|class| {
            let stats = admission.of(class);
            ClassStats {
                name: class.name(),
                queued: stats.queued,
                granted: stats.granted,
                turned_away: stats.turned_away + stats.expired,
            }
        })
        .collect()
}
