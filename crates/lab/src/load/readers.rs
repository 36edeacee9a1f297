//! People who read, and the newsroom's own who write.
//!
//! Page views come when they come (Poisson), whatever the server does: a view that is due goes to a visitor who was here before
//! or to a new one, over that visitor's connection when it is free, over another when it is not, as browsers do. A visitor has
//! an address, a browser, cookies, a language and the page they came from. What a browser does about an answer is done too: a
//! waiting page is loaded again when it says so, a kept connection that turns out closed is opened anew, once.
//!
//! Nothing a reader sends tells the server that it is a reader's. Only the books here know.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use super::books::{Books, Entry, Fate, LONG_PATIENCE, OpenBook, PATIENCE, Progress, quantile_ms};
use super::heads::{self, Person};
use super::judge::{Judge, Judgement, fate_of_refusal};
use super::mixed;
use super::schedule::Schedule;
use super::tokens::{self, Mint, Tokens};
use super::upload::{self, Upload};
use super::{Orders, Population};
use crate::addresses::{self, Addresses};
use crate::chance::Chance;
use crate::network::Range;
use crate::newsroom::{Mark, Newsroom};
use crate::origin::{Dialect, PASSWORD};
use crate::scenario::{Arrivals, CrowdClients, SEEKERS, Scenario};
use crate::wire::{Answer, Ended, Event, Key, OpenError, OwnAnswer, Use, Wire};

/// Visitors who may come back and the connections they keep: a tenth of what the edge holds by default.
const VISITORS_MAX: usize = 1_000;
/// Different people behind the readers of a drill, of whom one in twenty shares an address with a bot.
const READERS: usize = 4_000;
/// The same in a crowd.
const CROWD_READERS: usize = 40_000;
/// Views under way. At 12,000 a second nobody answers, the wire is full long before.
const VIEWS_MAX: usize = 100_000;
/// Of one kind, sent before the wire is heard again.
const FIRED_AT_ONCE: usize = 64;
/// A tenth of what a cached page takes.
const GRAIN: Duration = Duration::from_micros(100);
/// Five of a crowd arrive together; a two-hundredth of what they are to wait at most.
const CROWD_GRAIN: Duration = Duration::from_micros(500);
/// A page that says nothing of when to come back is loaded again so soon.
const RELOAD: Duration = Duration::from_secs(1);
/// More connections than this would leave the machine's ports waiting for their end; beyond it they are reset.
const ORDERLY_RATE_MAX: f64 = 1_000.0;
/// Articles kept back for views of what nobody asked for before, and for the news of the day.
const NEW_ARTICLES: usize = 60;
/// While a file is on its way: 50 KB at its pace.
const FEED_EVERY: Duration = Duration::from_millis(2);
/// How long before the end of calm the editors have logged in.
const LOGIN_AT: Duration = Duration::from_millis(300);

const GROUPS: [&str; 10] = [
    "readers",
    "search",
    "staff",
    "neighbour",
    "news",
    "uploads",
    SEEKERS[0],
    SEEKERS[1],
    SEEKERS[2],
    "logins",
];
const READING: usize = 0;
const SEARCH: usize = 1;
const STAFF: usize = 2;
const NEIGHBOUR: usize = 3;
/// Those of the readers who came for the one new article.
const NEWS: usize = 4;
/// Staff who send a file and then publish.
const UPLOADS: usize = 5;
/// The first of those who want the newsroom's own search.
const SEEKING: usize = 6;
const LOGINS: usize = 9;
/// Somebody looks at results that are not what he wanted, and goes on.
const LOOKS: Duration = Duration::from_secs(2);
/// The link on the edge's own page of results that asks for the newsroom's.
const LIVE: &str = "&saqta-live=1";
/// The first group of [`mixed`].
const MIXED: usize = GROUPS.len();

struct Page {
    path: String,
    mark: Mark,
}

/// One outlet as its readers know it.
struct Outlet {
    host: &'static str,
    fronts: Vec<Rc<Page>>,
    feeds: Vec<Rc<Page>>,
    /// By popularity.
    articles: Vec<Rc<Page>>,
    /// Of `articles`: the sum of the weights up to each.
    popularity: Vec<f64>,
    /// Nobody has asked for these.
    unread: Vec<Rc<Page>>,
    news: Rc<Page>,
    newsroom: Newsroom,
}

impl Outlet {
    fn new(newsroom: Newsroom, articles: usize, chance: &mut Chance) -> Option<Self> {
        let page = |path: &str| {
            newsroom.mark_for(path).map(|mark| {
                Rc::new(Page {
                    path: path.to_owned(),
                    mark,
                })
            })
        };
        let mut all: Vec<Rc<Page>> = newsroom
            .articles()
            .iter()
            .filter_map(|article| page(&article.path))
            .collect();
        chance.shuffle(&mut all);
        let news = all.pop()?;
        let popular = articles.min(all.len().saturating_sub(NEW_ARTICLES)).max(1);
        let unread = all.split_off(popular.min(all.len()));
        let mut sum = 0.0;
        let popularity = (1..=all.len()).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let popularity = popularity.collect();
        let fronts = newsroom
            .front_paths()
            .iter()
            .filter_map(|path| page(path))
            .collect();
        let feeds = newsroom
            .feed_paths()
            .iter()
            .filter_map(|path| page(path))
            .collect();
        Some(Self {
            host: newsroom.host(),
            fronts,
            feeds,
            articles: all,
            popularity,
            unread,
            news,
            newsroom,
        })
    }

    /// Zipf with exponent 1: what measurements of news sites find, near enough.
    fn popular(&self, chance: &mut Chance) -> Rc<Page> {
        let point = chance.unit() * self.popularity.last().copied().unwrap_or_default();
        let rank = self.popularity.partition_point(|sum| *sum <= point);
        Rc::clone(self.articles.get(rank).unwrap_or(&self.news))
    }
}

/// Where views come from.
struct Flow {
    schedule: Schedule<Box<dyn Fn(Duration) -> f64>>,
    kind: FlowKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowKind {
    Usual,
    Crowd,
    Neighbour,
    /// By this member of staff.
    Publish(usize),
    /// The same with a file.
    Upload(usize),
    /// Of this group of [`mixed`].
    Mixed(usize),
    Seek(Seeker),
    Login,
}

/// In the order of [`SEEKERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seeker {
    Known,
    Scripts,
    Patient,
}

impl Seeker {
    const ALL: [Self; 3] = [Self::Known, Self::Scripts, Self::Patient];
}

struct Visitor {
    person: Person,
    from: Ipv4Addr,
    outlet: usize,
    /// What the site calls them, if it knows them.
    known_as: Option<u64>,
    is_http2: bool,
    /// Kept open after an answer.
    idle: Option<Key>,
    /// The page they are on.
    on: Option<Rc<Page>>,
    /// Which of those that had this place.
    generation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct VisitorId {
    place: usize,
    generation: u32,
}

enum Asked {
    Page(Rc<Page>),
    /// The newsroom's own results, and no other.
    Live(Rc<Page>, Seeker),
    /// By this member of staff, before it begins.
    Login(usize),
    /// With what the page that told to wait carries.
    SignIn {
        carried: Option<String>,
    },
    Publish,
    /// A file, and then as above.
    Upload,
}

impl Asked {
    fn patience(&self) -> Duration {
        match self {
            Self::Live(..) | Self::SignIn { .. } => LONG_PATIENCE,
            Self::Page(_) | Self::Login(_) | Self::Publish | Self::Upload => PATIENCE,
        }
    }
}

struct View {
    group: usize,
    /// Counted in [`NEWS`] as well.
    for_the_news: bool,
    outlet: usize,
    asked: Asked,
    due: Duration,
    visitor: Option<VisitorId>,
    known_as: Option<u64>,
    is_http2: bool,
    person: Person,
    from: Ipv4Addr,
    referer: Option<String>,
    key: Option<Key>,
    /// Sent on a connection that was kept open, which the server may close at any moment.
    on_kept: bool,
    challenged: bool,
    /// Asks by the link on the edge's page of results.
    by_link: bool,
    hit: bool,
    leaked: bool,
    own: bool,
    last: Option<Fate>,
}

impl View {
    fn new(person: Person, from: Ipv4Addr, due: Duration) -> Self {
        Self {
            group: READING,
            for_the_news: false,
            outlet: 0,
            asked: Asked::Publish,
            due,
            visitor: None,
            known_as: None,
            is_http2: false,
            person,
            from,
            referer: None,
            key: None,
            on_kept: false,
            challenged: false,
            by_link: false,
            hit: false,
            leaked: false,
            own: false,
            last: None,
        }
    }
}

type ViewId = (u32, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    Idle(VisitorId),
    View(ViewId),
}

#[derive(Default)]
struct Views {
    places: Vec<(u32, Option<View>)>,
    free: Vec<u32>,
}

impl Views {
    fn insert(&mut self, view: View) -> ViewId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let slot = &mut self.places[place as usize];
        slot.1 = Some(view);
        (place, slot.0)
    }

    fn find(&mut self, id: ViewId) -> Option<&mut View> {
        self.places
            .get_mut(id.0 as usize)
            .filter(|slot| slot.0 == id.1)
            .and_then(|slot| slot.1.as_mut())
    }

    fn remove(&mut self, id: ViewId) -> Option<View> {
        let slot = self
            .places
            .get_mut(id.0 as usize)
            .filter(|slot| slot.0 == id.1)?;
        let view = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(id.0);
        Some(view)
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn ids(&self) -> Vec<ViewId> {
        self.places
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.1.is_some())
            .map(|(place, slot)| (place as u32, slot.0))
            .collect()
    }
}

pub(super) struct Readers {
    scenario: Scenario,
    seed: u64,
    outlets: Vec<Outlet>,
    addresses: Addresses,
    range: Range,
    chance: Chance,
    flows: Vec<Flow>,
    visitors: Vec<Visitor>,
    /// Whose place the next new visitor takes.
    oldest: usize,
    people: usize,
    /// Requests of each group of [`mixed`].
    mixed: Vec<usize>,
    views: Views,
    /// By place on the wire.
    busy: Vec<Option<Busy>>,
    /// Those with the same patience: the first to be due is the first to give up.
    deadlines: [VecDeque<(Duration, ViewId)>; 2],
    reloads: BinaryHeap<Reverse<(Duration, ViewId)>>,
    judge: Judge,
    books: Vec<OpenBook>,
    /// Microseconds between due and sent.
    lags: Vec<u32>,
    login_due: Option<Duration>,
    /// On their way, each over its view's connection.
    uploads: Vec<(ViewId, Upload)>,
    feed_at: Option<Duration>,
    /// The first comes from the staff's network, the second from anywhere, with nothing but the cookie of the login.
    staff: [Person; 2],
    dialect: Dialect,
    /// `None`: nobody is known.
    tokens: Option<Box<dyn Tokens>>,
    published: usize,
    articles: usize,
    resets: bool,
    head: Vec<u8>,
    /// Nothing is waited for any longer then.
    last_moment: Duration,
}

/// How many different people are behind the readers.
pub(super) fn people(scenario: &Scenario) -> usize {
    if scenario.crowd.is_some() {
        CROWD_READERS
    } else {
        READERS
    }
}

impl Readers {
    pub(super) fn new(scenario: &Scenario, orders: &Orders, mint: &Mint) -> anyhow::Result<Self> {
        let seed = orders.seed;
        let stream = |purpose: &str| Chance::stream(seed, purpose);
        let phases = scenario.phases;
        let (end, onset, attack_end) = (phases.total(), phases.calm, phases.attack_end());
        let rate = scenario.readers.rate;
        let flow = |kind, purpose: &str, rate: Box<dyn Fn(Duration) -> f64>, start| Flow {
            schedule: Schedule::new(rate, Arrivals::Poisson, 1, start, end, stream(purpose)),
            kind,
        };
        let mut flows = vec![flow(
            FlowKind::Usual,
            "readers",
            Box::new(move |_| rate),
            Duration::ZERO,
        )];
        if let Some(crowd) = scenario.crowd {
            let more = rate * (crowd.factor - 1.0);
            let crowded = move |at| {
                if (onset..attack_end).contains(&at) {
                    more
                } else {
                    0.0
                }
            };
            flows.push(flow(FlowKind::Crowd, "crowd", Box::new(crowded), onset));
        }
        let mut chance = stream("readers' choices");
        let count = scenario.readers.articles as usize;
        let mut outlets: Vec<Outlet> = Outlet::new(Newsroom::new(seed), count, &mut chance)
            .into_iter()
            .collect();
        if let Some(rate) = scenario.neighbour_rate {
            flows.push(flow(
                FlowKind::Neighbour,
                "neighbour",
                Box::new(move |_| rate),
                Duration::ZERO,
            ));
            let newsroom = if orders.one_newsroom {
                Newsroom::new(seed)
            } else {
                Newsroom::neighbour(seed)
            };
            outlets.extend(Outlet::new(newsroom, count, &mut chance));
        }
        if let Some(rate) = scenario.seekers_rate {
            for (seeker, name) in Seeker::ALL.into_iter().zip(SEEKERS) {
                let rate: Box<dyn Fn(Duration) -> f64> = Box::new(move |_| rate);
                flows.push(flow(FlowKind::Seek(seeker), name, rate, Duration::ZERO));
            }
        }
        if let Some(rate) = scenario.logins_rate {
            let rate: Box<dyn Fn(Duration) -> f64> = Box::new(move |_| rate);
            flows.push(flow(FlowKind::Login, "logins", rate, Duration::ZERO));
        }
        for group in mixed::names().enumerate().map(|(group, _)| group) {
            let Some(rate) = scenario.mixed_rate else {
                break;
            };
            flows.push(flow(
                FlowKind::Mixed(group),
                "mixed",
                Box::new(move |_| rate),
                Duration::ZERO,
            ));
        }
        if let Some(staff) = scenario.staff {
            let mut work = |kind: fn(usize) -> FlowKind, purpose, every: Duration| {
                let rate = 1.0 / every.as_secs_f64();
                for member in 0..2 {
                    // Even, so that every drill has as many; not both at once.
                    let start = LOGIN_AT * 2 + every.mul_f64(0.5 * member as f64);
                    let rate: Box<dyn Fn(Duration) -> f64> = Box::new(move |_| rate);
                    let schedule =
                        Schedule::new(rate, Arrivals::Even, 1, start, end, stream(purpose));
                    flows.push(Flow {
                        schedule,
                        kind: kind(member),
                    });
                }
            };
            work(FlowKind::Publish, "publish", staff.publish_every);
            if let Some(uploads) = staff.uploads {
                work(FlowKind::Upload, "upload", uploads.every);
            }
        }
        let host = outlets.first().map_or("", |outlet| outlet.host);
        let attackers = scenario
            .attacks
            .iter()
            .map(|attack| attack.addresses as usize)
            .sum();
        let addresses = Addresses::new(
            seed,
            addresses::Population::new(people(scenario), attackers),
        )?;
        Ok(Self {
            articles: outlets
                .first()
                .map_or(1, |outlet| outlet.newsroom.articles().len().max(1)),
            scenario: scenario.clone(),
            seed,
            outlets,
            addresses,
            range: orders.range(),
            chance,
            flows,
            visitors: Vec::with_capacity(VISITORS_MAX),
            oldest: 0,
            people: 0,
            views: Views::default(),
            busy: Vec::new(),
            deadlines: [VecDeque::new(), VecDeque::new()],
            tokens: orders.tokens(mint, host),
            reloads: BinaryHeap::new(),
            judge: Judge::default(),
            books: GROUPS
                .into_iter()
                .chain(mixed::names())
                .map(|name| OpenBook::new(name, phases))
                .collect(),
            mixed: mixed::names().map(|_| 0).collect(),
            lags: Vec::new(),
            login_due: scenario.staff.map(|_| LOGIN_AT),
            uploads: Vec::new(),
            feed_at: None,
            staff: [Person::editor(seed, 1), Person::editor(seed, 2)],
            dialect: orders.dialect,
            published: 0,
            resets: scenario
                .crowd
                .is_some_and(|crowd| crowd.factor * rate > ORDERLY_RATE_MAX),
            head: Vec::with_capacity(4 * 1024),
            last_moment: end + Duration::from_secs_f64(orders.patience_s),
        })
    }

    fn new_person(&mut self, in_app: bool) -> (Person, Ipv4Addr) {
        self.people += 1;
        // Numbers of a reader and its address go together: who comes back later comes from where they were.
        let from = self.addresses.reader(self.people);
        let person = if in_app {
            Person::in_app(self.seed, self.people)
        } else {
            Person::reader(self.seed, self.people)
        };
        (person, from)
    }

    fn visitor(&mut self, outlet: usize, wire: &mut Wire) -> VisitorId {
        let comes_back = !self.chance.happens(self.scenario.readers.new_visitor_share);
        if comes_back && !self.visitors.is_empty() {
            let place = self.chance.below(self.visitors.len());
            if self.visitors[place].outlet == outlet {
                return VisitorId {
                    place,
                    generation: self.visitors[place].generation,
                };
            }
        }
        let (mut person, from) = self.new_person(false);
        let known_share = self.scenario.readers.known_share;
        let known_as =
            (known_share > 0.0 && self.chance.happens(known_share)).then(|| self.chance.draw());
        if let Some(reader) = known_as {
            let host = self.outlets[outlet].host;
            person.take_cookies(&self.dialect.reader_cookie(host, reader));
        }
        let http2_share = self.scenario.readers.http2_share;
        let is_http2 = http2_share > 0.0 && self.chance.happens(http2_share);
        let mut visitor = Visitor {
            person,
            from,
            known_as,
            is_http2,
            outlet,
            idle: None,
            on: None,
            generation: 0,
        };
        if self.visitors.len() < VISITORS_MAX {
            self.visitors.push(visitor);
            return VisitorId {
                place: self.visitors.len() - 1,
                generation: 0,
            };
        }
        let place = self.oldest;
        self.oldest = (self.oldest + 1) % VISITORS_MAX;
        visitor.generation = self.visitors[place].generation.wrapping_add(1);
        let gone = std::mem::replace(&mut self.visitors[place], visitor);
        if let Some(key) = gone.idle {
            self.release(key, wire);
        }
        VisitorId {
            place,
            generation: self.visitors[place].generation,
        }
    }

    fn find_visitor(&mut self, id: VisitorId) -> Option<&mut Visitor> {
        self.visitors
            .get_mut(id.place)
            .filter(|visitor| visitor.generation == id.generation)
    }

    fn occupy(&mut self, key: Key, busy: Busy) {
        if self.busy.len() <= key.place() {
            self.busy.resize(key.place() + 1, None);
        }
        self.busy[key.place()] = Some(busy);
    }

    fn release(&mut self, key: Key, wire: &mut Wire) {
        if let Some(busy) = self.busy.get_mut(key.place()) {
            *busy = None;
        }
        wire.close(key, self.resets);
    }

    fn view(&mut self, kind: FlowKind, due: Duration, wire: &mut Wire) {
        let readers = self.scenario.readers;
        match kind {
            FlowKind::Usual | FlowKind::Neighbour => {
                let outlet = usize::from(kind == FlowKind::Neighbour);
                let id = self.visitor(outlet, wire);
                let (group, page) = self.choose(outlet, kind);
                let host = self.outlets[outlet].host;
                let Some(visitor) = self.find_visitor(id) else {
                    return;
                };
                let before = visitor.on.replace(Rc::clone(&page));
                let (person, from) = (visitor.person.clone(), visitor.from);
                let (known_as, is_http2) = (visitor.known_as, visitor.is_http2);
                let kept = if readers.new_connections {
                    None
                } else {
                    visitor.idle.take()
                };
                let referer = match before {
                    Some(page) => Some(format!("https://{host}{}", page.path)),
                    None => person.referer(&mut self.chance, host),
                };
                let view = View {
                    group,
                    outlet,
                    asked: Asked::Page(page),
                    visitor: Some(id),
                    known_as,
                    is_http2,
                    referer,
                    ..View::new(person, from, due)
                };
                self.start(view, kept, wire);
            }
            FlowKind::Crowd => {
                let Some(crowd) = self.scenario.crowd else {
                    return;
                };
                let (person, from) = self.new_person(crowd.clients == CrowdClients::InApp);
                let for_the_news = self.chance.happens(crowd.one_article_share);
                let (group, page) = if for_the_news {
                    (READING, Rc::clone(&self.outlets[0].news))
                } else {
                    self.choose(0, kind)
                };
                let referer = person.referer(&mut self.chance, self.outlets[0].host);
                let view = View {
                    group,
                    for_the_news,
                    asked: Asked::Page(page),
                    referer,
                    ..View::new(person, from, due)
                };
                self.start(view, None, wire);
            }
            FlowKind::Mixed(group) => {
                let n = self.mixed[group];
                self.mixed[group] += 1;
                let (person, from) = mixed::member(self.seed, &self.addresses, group, n);
                let site = &self.outlets[0];
                let page = match mixed::wants(group) {
                    mixed::Wants::Articles => site.popular(&mut self.chance),
                    mixed::Wants::Feeds => match self.chance.pick(&site.feeds) {
                        Some(page) => Rc::clone(page),
                        None => return,
                    },
                };
                let referer = person.referer(&mut self.chance, site.host);
                let view = View {
                    group: MIXED + group,
                    asked: Asked::Page(page),
                    referer,
                    ..View::new(person, from, due)
                };
                self.start(view, None, wire);
            }
            FlowKind::Seek(seeker) => {
                let (mut person, from) = self.new_person(false);
                if seeker == Seeker::Known
                    && let Some(tokens) = &self.tokens
                    && let Some(cookie) = tokens.known_reader(self.chance.draw(), from)
                {
                    person.take_cookies(&cookie);
                }
                let term = heads::search_term(&mut self.chance);
                let site = &self.outlets[0];
                let path = site.newsroom.search_path(&term);
                let Some(mark) = site.newsroom.mark_for(&path) else {
                    return;
                };
                let view = View {
                    group: SEEKING + seeker as usize,
                    asked: Asked::Live(Rc::new(Page { path, mark }), seeker),
                    ..View::new(person, from, due)
                };
                self.start(view, None, wire);
            }
            FlowKind::Login => {
                let (person, from) = self.new_person(false);
                let view = View {
                    group: LOGINS,
                    asked: Asked::SignIn { carried: None },
                    ..View::new(person, from, due)
                };
                self.start(view, None, wire);
            }
            FlowKind::Publish(member) => self.work(Asked::Publish, member, due, wire),
            FlowKind::Upload(member) => self.work(Asked::Upload, member, due, wire),
        }
    }

    fn work(&mut self, asked: Asked, member: usize, due: Duration, wire: &mut Wire) {
        let from = if member == 0 {
            self.addresses.staff(0)
        } else {
            self.addresses.reader(0)
        };
        let person = self.staff[member].clone();
        let view = View {
            group: if matches!(asked, Asked::Upload) {
                UPLOADS
            } else {
                STAFF
            },
            asked,
            ..View::new(person, from, due)
        };
        self.start(view, None, wire);
    }

    fn choose(&mut self, outlet: usize, kind: FlowKind) -> (usize, Rc<Page>) {
        let readers = self.scenario.readers;
        let reading = if kind == FlowKind::Neighbour {
            NEIGHBOUR
        } else {
            READING
        };
        let point = self.chance.unit();
        let site = &mut self.outlets[outlet];
        if point < readers.search_share && kind == FlowKind::Usual {
            let term = heads::search_term(&mut self.chance);
            let path = site.newsroom.search_path(&term);
            if let Some(mark) = site.newsroom.mark_for(&path) {
                return (SEARCH, Rc::new(Page { path, mark }));
            }
        }
        if point < readers.search_share + readers.front_share
            && let Some(page) = self.chance.pick(&site.fronts)
        {
            return (reading, Rc::clone(page));
        }
        if kind != FlowKind::Crowd
            && self.chance.happens(readers.new_url_share)
            && let Some(page) = site.unread.pop()
        {
            return (reading, page);
        }
        (reading, site.popular(&mut self.chance))
    }

    fn start(&mut self, view: View, kept: Option<Key>, wire: &mut Wire) {
        let (due, full) = (view.due, self.views.len() >= VIEWS_MAX);
        let id = self.views.insert(view);
        if full {
            return self.finish(id, due, Fate::Failed);
        }
        let patience = self
            .views
            .find(id)
            .map_or(PATIENCE, |view| view.asked.patience());
        self.deadlines[usize::from(patience > PATIENCE)].push_back((due + patience, id));
        self.send(id, kept, due, wire);
    }

    /// Sends a view's request over the connection that was kept for it, or over a new one.
    fn send(&mut self, id: ViewId, kept: Option<Key>, now: Duration, wire: &mut Wire) {
        let Some(view) = self.views.find(id) else {
            return;
        };
        let host = self.outlets[view.outlet].host;
        self.head.clear();
        match &view.asked {
            Asked::Page(page) => {
                view.person
                    .write_view(&mut self.head, host, &page.path, view.referer.as_deref());
            }
            Asked::Live(page, _) => {
                let link = if view.by_link { LIVE } else { "" };
                let path = format!("{}{link}", page.path);
                let referer = view.referer.as_deref();
                view.person.write_view(&mut self.head, host, &path, referer);
            }
            Asked::Login(_) => {
                let form = self.dialect.login_form("editor", PASSWORD);
                heads::write_form(&mut self.head, &view.person, host, &form);
            }
            Asked::SignIn { carried } => {
                let mut form = self.dialect.login_form("editor", PASSWORD);
                if let Some(carried) = carried {
                    form.body = format!("saqta-form={carried}");
                }
                heads::write_form(&mut self.head, &view.person, host, &form);
            }
            Asked::Publish => {
                self.published = (self.published + 1) % self.articles;
                let form = self.dialect.publish_form(self.published);
                heads::write_form(&mut self.head, &view.person, host, &form);
            }
            Asked::Upload => {
                let staff = self.scenario.staff.and_then(|staff| staff.uploads);
                let file_bytes = staff.map_or(0, |uploads| uploads.bytes);
                heads::write_post_head(
                    &mut self.head,
                    &view.person,
                    host,
                    self.dialect.media_path(),
                    upload::MEDIA_TYPE,
                    upload::form_bytes(file_bytes),
                );
                self.uploads
                    .push((id, Upload::new(now, file_bytes, &mut self.chance)));
                self.feed_at = Some(now);
            }
        }
        if let Some(key) = kept {
            if wire.send(key, &self.head, false).is_some() {
                view.key = Some(key);
                view.on_kept = true;
                return self.occupy(key, Busy::View(id));
            }
            self.release(key, wire);
        }
        let Some(view) = self.views.find(id) else {
            return;
        };
        view.on_kept = false;
        let from = self.range.place(view.from);
        let opened = if view.is_http2 {
            wire.open_http2(from, Use::Keep, view.person.pseudo_fields())
        } else {
            wire.open(from, Use::Keep)
        };
        match opened {
            Ok(key) => {
                view.key = Some(key);
                // What fails here is heard as the connection's end.
                wire.send(key, &self.head, false);
                self.occupy(key, Busy::View(id));
            }
            Err(OpenError::Refused(_)) => self.finish(id, now, Fate::Failed),
            Err(OpenError::Exhausted(_)) => {
                // Ours to answer for: sent too late by all the patience there is.
                self.lags.push(PATIENCE.as_micros() as u32);
                self.finish(id, now, Fate::Failed);
            }
        }
    }

    /// Hands on what is due of files and what the kernel takes; forgets those whose view is over.
    fn feed(&mut self, now: Duration, wire: &mut Wire) {
        let views = &mut self.views;
        self.uploads.retain_mut(|(id, upload)| {
            let Some(view) = views.find(*id) else {
                return false;
            };
            if let Some(key) = view.key {
                while wire.unsent(key) == 0
                    && let Some(bytes) = upload.next(now)
                {
                    // What fails here is heard as the connection's end.
                    wire.push(key, bytes);
                }
            }
            true
        });
        self.feed_at = (!self.uploads.is_empty()).then(|| now + FEED_EVERY);
    }

    /// The upload of a view, which is over with its answer.
    fn take_upload(&mut self, id: ViewId) -> Option<Upload> {
        let at = self.uploads.iter().position(|(of, _)| *of == id)?;
        Some(self.uploads.swap_remove(at).1)
    }

    fn next_deadline(&self) -> Option<(Duration, ViewId)> {
        let first = self.deadlines.iter().filter_map(VecDeque::front);
        first.min_by_key(|(at, _)| *at).copied()
    }

    fn finish(&mut self, id: ViewId, now: Duration, fate: Fate) {
        self.finish_as(id, now, fate, false, false);
    }

    fn finish_as(
        &mut self,
        id: ViewId,
        now: Duration,
        fate: Fate,
        from_cache: bool,
        forwarded: bool,
    ) {
        let Some(view) = self.views.remove(id) else {
            return;
        };
        if matches!(view.asked, Asked::Login(_)) {
            return;
        }
        let latency = now.saturating_sub(view.due);
        let patience = view.asked.patience();
        let fate = if fate == Fate::Served && latency > patience {
            Fate::Failed
        } else {
            fate
        };
        let entry = Entry {
            due: view.due,
            latency,
            patience,
            fate,
            challenged: view.challenged,
            leaked: view.leaked,
            own: view.own,
            hit: view.hit,
            from_cache,
            forwarded,
        };
        self.books[view.group].note(&entry);
        if view.for_the_news {
            self.books[NEWS].note(&entry);
        }
    }

    /// The connection is free: kept for its visitor, closed when there is none or it cannot be used again.
    fn put_back(&mut self, key: Key, visitor: Option<VisitorId>, keep: bool, wire: &mut Wire) {
        let keep = keep && !self.scenario.readers.new_connections;
        if let Some(id) = visitor.filter(|_| keep)
            && let Some(visitor) = self
                .find_visitor(id)
                .filter(|visitor| visitor.idle.is_none())
        {
            visitor.idle = Some(key);
            return self.occupy(key, Busy::Idle(id));
        }
        self.release(key, wire);
    }

    fn answered(&mut self, now: Duration, key: Key, id: ViewId, wire: &mut Wire) {
        let upload = self.take_upload(id);
        let (Some(view), Some(answer)) = (self.views.find(id), wire.answer(key)) else {
            return;
        };
        if answer.is_reset {
            // The server has done nothing about it: a browser asks again, as where a kept connection was closed.
            return self.ended(now, key, Ended::Closed { answering: false }, wire);
        }
        let keep_alive = answer.keep_alive;
        let due = view.due;
        let visitor = view.visitor;
        let cookies = answer.cookies.clone();
        let judgement = match &view.asked {
            Asked::Page(page) => {
                let name = format!("{}{}", self.outlets[view.outlet].host, page.path);
                self.judge.judge(answer, &name, &page.mark)
            }
            Asked::Live(page, _) => {
                let name = format!("{}{}", self.outlets[view.outlet].host, page.path);
                self.judge.judge(answer, &name, &page.mark)
            }
            Asked::Login(_) | Asked::SignIn { .. } | Asked::Publish | Asked::Upload => {
                judge_staff(answer, &view.asked, upload.as_ref(), self.dialect)
            }
        };
        let login = match view.asked {
            Asked::Login(member) => Some(member),
            _ => None,
        };
        if self.scenario.readers.known_share > 0.0 {
            let own = view.known_as.map(|reader| format!("{reader:016x}"));
            let owners = self.judge.owners(answer, own.as_deref());
            view.leaked |= owners.another;
            view.own |= owners.its_reader;
        }
        view.key = None;
        view.last = Some(judgement.fate);
        let mut reload_at = now
            + answer
                .retry_after_s
                .map_or(RELOAD, |s| Duration::from_secs(u64::from(s.max(1))));
        // Good results, and not the ones that were wanted.
        let looks_on = matches!(view.asked, Asked::Live(..)) && answer.own == OwnAnswer::Search;
        if looks_on {
            view.by_link = true;
            view.last = Some(Fate::Failed);
            reload_at = now + LOOKS;
        }
        if let (Asked::SignIn { carried }, Fate::Challenged) = (&mut view.asked, judgement.fate) {
            *carried = self.judge.carried(answer);
        }
        wire.forget_answer(key);
        let is_challenged = judgement.fate == Fate::Challenged;
        view.challenged |= is_challenged;
        view.hit |= judgement.is_hit;
        let publishes = matches!(view.asked, Asked::Upload) && judgement.fate == Fate::Served;
        if publishes {
            view.asked = Asked::Publish;
        }
        if let Some(member) = login {
            self.staff[member].take_cookies(&cookies);
        } else if !cookies.is_empty() {
            view.person.take_cookies(&cookies);
            if let Some(visitor) = visitor.and_then(|id| self.find_visitor(id)) {
                visitor.person.take_cookies(&cookies);
            }
        }
        if publishes {
            self.release(key, wire);
            return self.send(id, None, now, wire);
        }
        if let Some(view) = self.views.find(id)
            && is_challenged
            && matches!(view.asked, Asked::Live(_, Seeker::Scripts))
            && let Some(work) = tokens::work(view.person.cookies())
        {
            view.person.take_cookies(&work);
            reload_at = now;
        }
        let patience = self
            .views
            .find(id)
            .map_or(PATIENCE, |view| view.asked.patience());
        let reloads = (is_challenged || looks_on) && reload_at < due + patience;
        self.put_back(key, visitor, keep_alive, wire);
        if reloads {
            self.reloads.push(Reverse((reload_at, id)));
        } else {
            // Nobody has time left to look on.
            let fate = if looks_on {
                Fate::Failed
            } else {
                judgement.fate
            };
            self.finish_as(id, now, fate, judgement.from_cache, judgement.forwarded);
        }
    }

    fn ended(&mut self, now: Duration, key: Key, ended: Ended, wire: &mut Wire) {
        let busy = self.busy.get(key.place()).copied().flatten();
        self.release(key, wire);
        match busy {
            Some(Busy::Idle(id)) => {
                if let Some(visitor) = self.find_visitor(id) {
                    visitor.idle = None;
                }
            }
            Some(Busy::View(id)) => {
                let Some(view) = self.views.find(id) else {
                    return;
                };
                view.key = None;
                let unread = matches!(ended, Ended::Closed { answering: false });
                if view.on_kept && unread {
                    self.send(id, None, now, wire);
                } else {
                    self.finish(id, now, Fate::Failed);
                }
            }
            None => {}
        }
    }
}

fn judge_staff(
    answer: &Answer,
    asked: &Asked,
    upload: Option<&Upload>,
    dialect: Dialect,
) -> Judgement {
    let fate = fate_of_refusal(answer).unwrap_or_else(|| {
        let done = match asked {
            Asked::Login(_) | Asked::SignIn { .. } => {
                let cookies: Vec<&str> = answer.cookies.split("; ").collect();
                dialect.logged_in(answer.status, &cookies)
            }
            Asked::Upload => upload.is_some_and(|upload| upload.arrived(&answer.body)),
            _ => dialect.published(answer.status, Some(answer.location.as_str())),
        };
        if done { Fate::Served } else { Fate::Failed }
    });
    Judgement {
        fate,
        from_cache: false,
        forwarded: true,
        is_hit: answer.is_hit,
    }
}

impl Population for Readers {
    fn fire(&mut self, now: Duration, wire: &mut Wire) {
        if self.login_due.is_some_and(|due| due <= now)
            && let Some(due) = self.login_due.take()
        {
            for member in 0..self.staff.len() {
                self.work(Asked::Login(member), member, due, wire);
            }
        }
        for flow in 0..self.flows.len() {
            // Each flow has its own bound, so that a crowd that is late makes nobody else late.
            for _ in 0..FIRED_AT_ONCE {
                let Flow { schedule, kind } = &mut self.flows[flow];
                let kind = *kind;
                let Some(due) = schedule.pop(now) else { break };
                self.lags.push((now - due).as_micros() as u32);
                self.view(kind, due, wire);
            }
        }
        if self.feed_at.is_some_and(|at| at <= now) {
            self.feed(now, wire);
        }
        while let Some(&Reverse((at, id))) = self.reloads.peek() {
            if at > now {
                break;
            }
            self.reloads.pop();
            self.send(id, None, now, wire);
        }
        while let Some((at, id)) = self.next_deadline()
            && at <= now
        {
            self.deadlines.iter_mut().for_each(|line| {
                if line.front() == Some(&(at, id)) {
                    line.pop_front();
                }
            });
            if let Some(view) = self.views.find(id) {
                let fate = match view.last {
                    Some(Fate::Challenged) => Fate::Challenged,
                    _ => Fate::Failed,
                };
                if let Some(key) = view.key.take() {
                    self.release(key, wire);
                }
                self.finish(id, now, fate);
            }
        }
    }

    fn hear(&mut self, now: Duration, event: Event, wire: &mut Wire) {
        let (Event::Answered(key) | Event::Ended(key, _)) = event;
        if !wire.has(key) {
            return;
        }
        match event {
            Event::Answered(key) => match self.busy.get(key.place()).copied().flatten() {
                Some(Busy::View(id)) => self.answered(now, key, id, wire),
                _ => self.release(key, wire),
            },
            Event::Ended(key, ended) => self.ended(now, key, ended, wire),
        }
    }

    fn next(&self) -> Option<Duration> {
        let flows = self.flows.iter().filter_map(|flow| flow.schedule.peek());
        let reload = self.reloads.peek().map(|Reverse((at, _))| *at);
        let deadline = self.next_deadline().map(|(at, _)| at);
        flows
            .chain(reload)
            .chain(deadline)
            .chain(self.login_due)
            .chain(self.feed_at)
            .min()
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.last_moment || now >= self.scenario.phases.total() && self.views.len() == 0
    }

    fn progress(&mut self) -> Progress {
        let [readers, search, staff, neighbour] =
            [READING, SEARCH, STAFF, NEIGHBOUR].map(|group| self.books[group].take_recent());
        Progress {
            readers,
            search,
            staff,
            neighbour,
            ..Progress::default()
        }
    }

    fn close(mut self: Box<Self>) -> Books {
        // Whoever still waits when the drill is cut short has not been served.
        for id in self.views.ids() {
            let last = self.views.find(id).and_then(|view| view.last);
            self.finish(id, self.last_moment, last.unwrap_or(Fate::Failed));
        }
        self.lags.sort_unstable();
        Books {
            send_lag_p99_ms: quantile_ms(&self.lags, 0.99).unwrap_or_default(),
            groups: self
                .books
                .into_iter()
                .map(OpenBook::close)
                .filter(|group| !group.seconds.iter().all(|second| second.requests == 0))
                .collect(),
            ..Books::default()
        }
    }

    fn grain(&self) -> Duration {
        if self.resets { CROWD_GRAIN } else { GRAIN }
    }
}
