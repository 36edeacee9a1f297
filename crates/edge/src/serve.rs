//! Who answers: memory, a flight that is under way, the origin, or our own few pages.
//!
//! Whatever can be answered from the cache is, even to a bot: that is cheaper than a puzzle. The order for a request the origin has no
//! room for: fresh copy, stale copy, waiting page. This file holds the branches; the modules it calls do the work.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use saqta_detect::facts::{self, Facts, Outcome, Served};
use saqta_detect::network::Group;
use saqta_detect::shape::Shape;
use saqta_detect::watch::{Kind, Posture, Role};

use crate::admission::{Ask, Class, READER_DEADLINE, Starved};
use crate::asked::{self, Asked, Unasked};
use crate::body::{Body, BodyError};
use crate::cache::key::KeyRef;
use crate::cache::purge::is_purge_method;
use crate::cache::{Cache, Lookup};
use crate::clock::UnixMillis;
use crate::compress::passing::{self, Wish};
use crate::disk::record::Identity;
use crate::fields::Fields;
use crate::forms::{self, FormFault, InHand};
use crate::forward::{self, Scheme};
use crate::guard::{Attempt, Verdict};
use crate::head::{ClientFault, Framing, Head};
use crate::ladder::code::Stop;
use crate::ladder::{self, Bearer, Seen, SiteMark, invites};
use crate::lanes::{self, Program, Visit};
use crate::occupancy::Claim;
use crate::origin::OriginError;
use crate::pages::{Asker, Format, Page, Prebuilt, format};
use crate::pass::{self, PassError};
use crate::place::Place;
use crate::plan::{Language, Mode, RULE_FIELD, Site, SiteId};
use crate::profile::{AsSent, Reading, Standing, Target, path_and_query};
use crate::purging;
use crate::read;
use crate::reduced::{self, Wanted};
use crate::search::Question;
use crate::searching;
use crate::sentry::Detection;
use crate::shard::{Running, Shard};
use crate::sight::Sight;
use crate::upgrade::Upgrade;
use crate::upload::{self, Incoming, Upload};
use crate::why::{self, Turned};

/// The peer of a connection, and what the plan says about it.
#[derive(Clone)]
pub(crate) struct Client {
    pub peer: SocketAddr,
    pub shard: Rc<Shard>,
    /// Of the plan the two answers below are from.
    generation: u64,
    refused: bool,
    /// Its `X-Forwarded-For` is believed.
    trusted: bool,
    /// The rule that hits the request in hand. The first one is 1.
    rule: Option<NonZeroU64>,
    /// Most bring none of ours, and idle connections are many.
    bearer: Option<Box<Bearer>>,
    /// Nor are many visitors of that kind.
    visit: Option<Box<Visit>>,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, shard: Rc<Shard>) -> Self {
        Self {
            peer,
            shard,
            generation: u64::MAX,
            refused: false,
            trusted: false,
            rule: None,
            bearer: None,
            visit: None,
        }
    }

    pub(crate) fn rule(&self) -> Option<u64> {
        self.rule.map(NonZeroU64::get)
    }

    /// What the cookies of the request in hand say of who asks.
    pub(crate) fn bearer(&self) -> &Bearer {
        self.bearer.as_deref().unwrap_or(&Bearer::NOBODY)
    }

    /// Who asks, as far as neither network nor session says it.
    pub(crate) fn class(&self) -> Class {
        match (self.bearer().class, &self.visit) {
            (Class::Unknown, Some(visit)) => visit.class(),
            (class, _) => class,
        }
    }

    /// On whose account a visitor who is no reader uses the origin, where it is one by which this class is had.
    pub(crate) fn lane(&self, class: Class) -> Option<lanes::Account> {
        let visit = self.visit.as_ref()?;
        (visit.class() == class && class != Class::Unknown).then(|| visit.account())
    }

    /// Is there somebody to whom a page can say something? Crawlers take any page, and would find ours instead of an article.
    pub(crate) fn takes_pages<F: Fields + ?Sized>(&self, fields: &F) -> bool {
        self.visit.is_none() && format(fields) == Format::Html
    }

    fn asker(&self, fields: &impl Fields, site: Language) -> Asker {
        let asker = Asker::of(fields, site);
        match self.visit {
            Some(_) => Asker {
                format: Format::Problem,
                ..asker
            },
            None => asker,
        }
    }

    /// Of this class, does he have a place of his own although a rule hits him?
    pub(crate) fn is_kept_from_rules(&self, class: Class, mark: SiteMark) -> bool {
        let ladder = &self.shard.shared.ladder;
        matches!(class, Class::Staff | Class::Lane)
            || ladder.keeps_from_rules(self.bearer(), mark, UnixMillis::now())
    }

    fn look(&mut self, running: &Running) {
        if self.generation != running.generation {
            self.generation = running.generation;
            self.refused = running.plan.refuse.contains(self.peer.ip());
            self.trusted = running.plan.trust_forwarded.contains(self.peer.ip());
        }
    }

    /// Who would be given something, and over what.
    fn whom(&self, running: &Running, head: &Head<'_, '_>) -> (IpAddr, Scheme) {
        (self.address(running, head), self.scheme(running, head))
    }

    fn scheme(&self, running: &Running, head: &Head<'_, '_>) -> Scheme {
        forward::outer_scheme(
            self.peer.ip(),
            head.field("x-forwarded-proto"),
            &running.plan.trust_forwarded,
            Scheme::Http,
        )
    }

    /// The cookie of a pass that its ticket has become.
    fn new_pass(&self, running: &Running, head: &Head<'_, '_>) -> Option<String> {
        // Most of the time there is none.
        self.bearer().new_pass?;
        let site = running.site_of(head.host)?;
        self.new_pass_to(running.sites[site].mark, self.whom(running, head))
    }

    fn new_pass_to(&self, mark: SiteMark, (address, scheme): (IpAddr, Scheme)) -> Option<String> {
        let pass = self.bearer().new_pass?;
        let ladder = &self.shard.shared.ladder;
        let given = ladder.give(&pass, (mark, address), UnixMillis::now());
        self.shard.counters.passes.add(1);
        Some(given.cookie(scheme == Scheme::Https))
    }

    /// What is said by our cookies of who asks. In calm that changes nothing for a hit, and costs more than one.
    fn read_cookies(&mut self, mark: SiteMark, running: &Running, head: &Head<'_, '_>) {
        let ladder = &self.shard.shared.ladder;
        let whom = (mark, self.address(running, head));
        self.bearer = ladder.bearer(whom, head, UnixMillis::now).map(Box::new);
    }

    /// Is it a visitor who is no reader, and the one it says? Asked only where the answer is not in memory.
    fn read_visit(
        &mut self,
        site: SiteId,
        running: &Running,
        (path, fields): (&str, &impl Fields),
    ) {
        let address = self.address(running, fields);
        let from = (address, self.is_forwarded(running, fields));
        let (plan, mark) = (&running.plan, running.sites[site].mark);
        let (lanes, now) = (&self.shard.shared.lanes, UnixMillis::now());
        let visit = match Program::of(&plan.sites[site], (path, fields), from) {
            Some(program) => Some(lanes.own(program, mark, address, now)),
            None => {
                let told = (plan.lanes.as_slice(), plan.asks_whose(address));
                lanes.visit(told, mark, (address, fields.field("user-agent")), now)
            }
        };
        self.visit = visit.map(Box::new);
    }

    /// The cookie by which a reader is known later.
    fn greet(
        &self,
        seen: Seen,
        mark: SiteMark,
        (address, scheme): (IpAddr, Scheme),
    ) -> Option<String> {
        let ladder = &self.shard.shared.ladder;
        let given = ladder.greet(self.bearer(), seen, (mark, address), UnixMillis::now())?;
        Some(given.cookie(scheme == Scheme::Https))
    }

    /// Has something sent it on, or says so, on whose word about its client nobody relies? Who that is, is unknown then.
    pub(crate) fn is_forwarded(&self, running: &Running, fields: &impl Fields) -> bool {
        !running.plan.trust_forwarded.contains(self.peer.ip())
            && ["x-forwarded-for", "forwarded", "x-real-ip", "via"]
                .iter()
                .any(|name| fields.field(name).is_some())
    }

    /// The address behind the peer, when the peer is trusted to say so.
    pub(crate) fn address(&self, running: &Running, fields: &impl Fields) -> IpAddr {
        if !running.plan.trust_forwarded.contains(self.peer.ip()) {
            return self.peer.ip().to_canonical();
        }
        let mut lines: Vec<&[u8]> = Vec::new();
        fields.each_line("x-forwarded-for", &mut |line| lines.push(line));
        forward::client_address(
            self.peer.ip(),
            lines.into_iter(),
            &running.plan.trust_forwarded,
        )
    }
}

pub(crate) enum AtOnce {
    /// `out` holds the head.
    Answered {
        body: Bytes,
        keep_alive: bool,
    },
    Exchange,
    HangUp,
}

/// Answers from what lies in memory, or says that this takes longer.
pub(crate) fn at_once(
    client: &mut Client,
    running: &Running,
    head: &Head<'_, '_>,
    out: &mut BytesMut,
) -> AtOnce {
    client.rule = None;
    client.bearer = None;
    client.visit = None;
    let answer = look_and_answer(client, running, head, out);
    if let AtOnce::Answered { .. } = answer {
        if let (true, Some(rule)) = (running.plan.is_drill, client.rule()) {
            add_line(out, &format!("{RULE_FIELD}: {rule}"));
        }
        if let Some(pass) = client.new_pass(running, head) {
            add_line(out, &format!("set-cookie: {pass}"));
        }
    }
    answer
}

/// To a head that is written, before its blank line.
fn add_line(out: &mut BytesMut, line: &str) {
    out.truncate(out.len() - 2);
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

fn look_and_answer(
    client: &mut Client,
    running: &Running,
    head: &Head<'_, '_>,
    out: &mut BytesMut,
) -> AtOnce {
    client.look(running);
    let refused = client.refused
        || client.trusted && running.plan.refuse.contains(client.address(running, head));
    let Some(site) = running.site_of(head.host) else {
        client.shard.counters.unknown_hosts.add(1);
        return AtOnce::HangUp;
    };
    let shard = Rc::clone(&client.shard);
    let counters = &shard.counters;
    let sight = sight(client, running, site, head);
    if refused {
        return refuse_at_once(client, running, (site, &sight), head, out);
    }
    let state = &running.sites[site];
    client.rule = hit(&state.detection, &sight).and_then(NonZeroU64::new);
    let is_calm = state.detection.stance().posture == Posture::Calm;
    if !is_calm {
        client.read_cookies(state.mark, running, head);
    }
    let reads =
        matches!(head.method, "GET" | "HEAD") && head.framing == Framing::None && !head.websocket;
    if !reads || head.target == "*" || invites::is_link(head.target) {
        client.read_cookies(state.mark, running, head);
        client.read_visit(site, running, (path_and_query(head.target).0, head));
        see(client, running, site, &sight, true, None);
        return AtOnce::Exchange;
    }
    let method = if head.method == "GET" {
        Method::GET
    } else {
        Method::HEAD
    };
    let profile = &running.plan.sites[site].profile;
    let reading = Reading::of(profile, head);
    let target = profile.target(head.target);
    let key = key_at_once(client, running, site, head, &target, &reading);
    let is_whole = target.taken.is_empty();
    let sent = (&reading.sent(profile, head), is_whole);
    let found = match stored_at_once(client, running, (site, &key), &method, head, sent, out) {
        Ok(body) => {
            counters.requests.add(1);
            counters.hits.add(1);
            see(client, running, site, &sight, false, Some(200));
            count(client, site, &sight, head, Served::Hit, 200, body.len());
            if let Some(seen) = seen(&running.plan.sites[site], (&method, sight.shape()), head)
                && !client
                    .shard
                    .shared
                    .ladder
                    .has_nothing_to_say(head, seen, UnixMillis::now())
            {
                client.read_cookies(state.mark, running, head);
                if let Some(cookie) = client.greet(seen, state.mark, client.whom(running, head)) {
                    add_line(out, &format!("set-cookie: {cookie}"));
                }
            }
            let body = if method == Method::HEAD {
                Bytes::new()
            } else {
                body
            };
            return AtOnce::Answered {
                body,
                keep_alive: head.keep_alive,
            };
        }
        Err(found) => found,
    };
    if is_calm {
        client.read_cookies(state.mark, running, head);
    }
    client.read_visit(site, running, (path_and_query(head.target).0, head));
    let cache = &client.shard.shared.cache;
    let needs_origin = cache.leaves_to_origin(&key, &found);
    see(client, running, site, &sight, needs_origin, None);
    let spared = spared_at_once(
        client,
        running,
        ((site, &sight), &key, &found),
        (&method, head),
        &target,
        &reading,
        out,
    );
    match spared {
        None => AtOnce::Exchange,
        Some(spared) => answer_spared(client, running, (site, &sight), head, spared, out),
    }
}

/// To a network that the newsroom refuses.
fn refuse_at_once(
    client: &Client,
    running: &Running,
    (site, sight): (SiteId, &Sight<'_, Head<'_, '_>>),
    head: &Head<'_, '_>,
    out: &mut BytesMut,
) -> AtOnce {
    client.shard.counters.requests.add(1);
    client.shard.counters.refused.add(1);
    let asker = Asker::of(head, running.plan.sites[site].language);
    let page = client.shard.shared.pages.page(Page::Refused, asker);
    // A body we do not read would be the next head.
    let keep_alive = head.keep_alive && head.framing == Framing::None;
    let bytes = page.body().len();
    count(client, site, sight, head, Served::Refused, 403, bytes);
    let body = || page.body_with(&why::refused_at_once(client, running, site, head));
    own_page_at_once(page, body, head, keep_alive, out)
}

/// `out` holds the head of a copy, if that is what it is.
fn answer_spared(
    client: &Client,
    running: &Running,
    (site, sight): (SiteId, &Sight<'_, Head<'_, '_>>),
    head: &Head<'_, '_>,
    spared: Spared,
    out: &mut BytesMut,
) -> AtOnce {
    let counters = &client.shard.counters;
    counters.requests.add(1);
    match spared {
        Spared::Reduced(body) => {
            counters.reduced.add(1);
            count(client, site, sight, head, Served::Stale, 200, body.len());
            AtOnce::Answered {
                body: if head.method == "HEAD" {
                    Bytes::new()
                } else {
                    body
                },
                keep_alive: head.keep_alive,
            }
        }
        Spared::Found(page) => {
            counters.searched.add(1);
            let bytes = page.body().len();
            count(client, site, sight, head, Served::Searched, 200, bytes);
            let body = || page.body().clone();
            own_page_at_once(&page, body, head, head.keep_alive, out)
        }
        Spared::TurnedAway(turned) => {
            counters.waiting.add(1);
            let asker = client.asker(head, running.plan.sites[site].language);
            let mark = running.sites[site].mark;
            let (page, ticket) = to_wait(client, mark, client.whom(running, head), asker);
            let page = client.shard.shared.pages.page(page, asker);
            let bytes = page.body().len();
            count(client, site, sight, head, Served::Waiting, 503, bytes);
            let code = || why::at_once(client, running, (site, Stop::Waits), head, &turned);
            let body = || page.body_with(&code());
            let answer = own_page_at_once(page, body, head, head.keep_alive, out);
            if let Some(ticket) = ticket {
                add_line(out, &format!("set-cookie: {ticket}"));
            }
            answer
        }
    }
}

/// `body`: the page's, with a code if it has one.
fn own_page_at_once(
    page: &Prebuilt,
    body: impl FnOnce() -> Bytes,
    head: &Head<'_, '_>,
    keep_alive: bool,
    out: &mut BytesMut,
) -> AtOnce {
    out.extend_from_slice(page.head());
    out.extend_from_slice(connection_line(head, keep_alive));
    out.extend_from_slice(b"\r\n");
    let body = if head.method == "HEAD" {
        Bytes::new()
    } else {
        body()
    };
    AtOnce::Answered { body, keep_alive }
}

fn sight<'a>(
    client: &Client,
    running: &'a Running,
    site: SiteId,
    head: &'a Head<'_, '_>,
) -> Sight<'a, Head<'a, 'a>> {
    let shape = running.sites[site].shapes.shape(head.target.as_bytes());
    let version = if head.http_10 { 10 } else { 11 };
    let source = client.address(running, head);
    Sight::new(
        (head.method, head.target),
        version,
        (shape, source),
        head,
        &running.plan.registry,
    )
}

/// The rule that hits this request.
fn hit<F: Fields + ?Sized>(detection: &Detection, sight: &Sight<'_, F>) -> Option<u64> {
    let stance = detection.stance();
    if stance.rules.is_empty() {
        return None;
    }
    stance
        .hit(&sight.look(stance.asks_for_more))
        .map(|rule| rule.id)
}

/// Lets detection see a request. `status`: of the answer, where it is known.
fn see<F: Fields + ?Sized>(
    client: &Client,
    running: &Running,
    site: SiteId,
    sight: &Sight<'_, F>,
    needs_origin: bool,
    status: Option<u16>,
) {
    let kind = Kind {
        needs_origin,
        is_sensitive: sight.is_sensitive(&running.plan.sites[site].profile),
        role: match (sight.shape().is_part_of_a_page(), status) {
            (false, _) => Role::Page,
            (true, Some(200 | 304)) => Role::Part,
            (true, _) => Role::Unknown,
        },
        known: None,
    };
    let detection = &running.sites[site].detection;
    detection.note(client.shard.index, sight, kind, client.rule());
}

/// What a reader asks for who may be known by it later, if he lets us.
fn seen<F: Fields + ?Sized>(
    site: &Site,
    (method, shape): (&Method, Shape),
    fields: &F,
) -> Option<Seen> {
    if !site.known_readers || *method != Method::GET {
        return None;
    }
    let seen = if shape.is_part_of_a_page() {
        Seen::Part
    } else if is_page_view(fields) {
        Seen::Page
    } else {
        return None;
    };
    let is_asked_not_to = |name| fields.field(name).is_some_and(|value| value == b"1");
    (!is_asked_not_to("dnt") && !is_asked_not_to("sec-gpc")).then_some(seen)
}

/// A browser shows the answer as a page of its own.
fn is_page_view<F: Fields + ?Sized>(fields: &F) -> bool {
    match fields.field("sec-fetch-dest") {
        Some(what) => what == b"document",
        None => format(fields) == Format::Html,
    }
}

/// Counts a request that was answered at once.
fn count(
    client: &Client,
    site: SiteId,
    sight: &Sight<'_, Head<'_, '_>>,
    head: &Head<'_, '_>,
    served: Served,
    status: u16,
    bytes: usize,
) {
    let facts = Facts {
        site,
        method: facts::Method::Read,
        shape: sight.shape(),
        source: sight.source(),
        class: Class::Unknown,
        is_navigation: asked::is_navigation(head),
    };
    let outcome = Outcome {
        site,
        served,
        status,
        bytes_out: bytes as u64,
    };
    client.shard.tally(|tally, second| {
        tally.arrived(second, &facts);
        tally.answered(second, &outcome);
    });
}

fn key_at_once<'a>(
    client: &Client,
    running: &Running,
    site: SiteId,
    head: &Head<'a, '_>,
    target: &'a Target<'_>,
    reading: &'a Reading,
) -> KeyRef<'a> {
    let cache = &client.shard.shared.cache;
    let scheme = read::scheme(client.scheme(running, head));
    cache.key_with(
        site,
        scheme,
        head.host.as_bytes(),
        target.kept.as_bytes(),
        reading.keyed(),
    )
}

/// What a request gets at once although nothing but the origin could answer it as it was asked.
enum Spared {
    /// The copy of the page it is most likely of.
    Reduced(Bytes),
    /// What the stored pages hold of what was searched for.
    Found(Prebuilt),
    /// Admission turns it away now. Under a flood most requests end so, and at this price an attacker has to send ten times as many.
    TurnedAway(Turned),
}

fn spared_at_once(
    client: &Client,
    running: &Running,
    ((site, sight), key, found): ((SiteId, &Sight<'_, Head<'_, '_>>), &KeyRef<'_>, &Lookup),
    (method, head): (&Method, &Head<'_, '_>),
    target: &Target<'_>,
    reading: &Reading,
    out: &mut BytesMut,
) -> Option<Spared> {
    let shared = &client.shard.shared;
    if shared.bypassed() {
        return None;
    }
    let (plan, state) = (&running.plan.sites[site], &running.sites[site]);
    let address = sight.source();
    let class = asked::class_of(plan, state, (address, client), head);
    if class == Class::Staff {
        return None;
    }
    let judged = asked::judged(class, plan, state, client);
    let (class, is_suspect) = (judged.class, judged.is_suspect);
    let (path, query) = path_and_query(&target.kept);
    let usage = plan.profile.use_of(path, query);
    let is_strange = asked::is_strange(&shared.saved, plan, &target.kept, usage);
    let ask = Ask {
        class: asked::place_in_line(class, is_strange, plan.profile.is_cron(path)),
        shape: sight.shape(),
        group: Group::of(address),
        deadline: READER_DEADLINE,
    };
    let now = UnixMillis::now();
    let pressure = reduced::pressure(state, &ask, is_suspect, now);
    // In calm no more than this is asked.
    if !pressure.under_attack {
        return None;
    }
    let leaves_to_origin = if reading.standing == Standing::Unsure {
        needs_origin(&shared.cache, key, head, (reading, plan), now)
    } else {
        shared.cache.leaves_to_origin(key, found)
    };
    if !leaves_to_origin {
        return None;
    }
    let page = Identity {
        site: plan.name.as_bytes(),
        scheme: key.scheme(),
        host: head.host.as_bytes(),
        target: target.kept.as_bytes(),
        mark: reading.keyed(),
    };
    // The page as it was saved is better than a page that says wait, and takes longer than this.
    if shared.saved.has_copy(plan, &page) {
        return None;
    }
    let question = searching::question(running, site, head.target, reading)
        .map(|question| (question, client.asker(head, plan.language)))
        .filter(|(_, asker)| asker.format == Format::Html);
    let found = |(question, asker): &(Question<'_>, Asker)| {
        searching::results(state, question, head.host, *asker).map(Spared::Found)
    };
    if pressure.spares_unknown()
        && let Some(asked) = question.as_ref().filter(|(question, _)| !question.live)
        && let Some(found) = found(asked)
    {
        return Some(found);
    }
    let body = reduced::at_once(
        Wanted {
            cache: &shared.cache,
            key,
            usage,
            query,
            is_better: &|target| shared.saved.is_better_of(&Identity { target, ..page }),
        },
        (plan, state),
        (method, reading, head),
        pressure,
        now,
        connection_line(head, head.keep_alive),
        out,
    );
    if let Some(body) = body {
        return Some(Spared::Reduced(body));
    }
    if shared.saved.has_usual_copy(plan, &page)
        || shared.saved.other_spelling(plan, &page).is_some()
    {
        return None;
    }
    // Whom a rule hits waits for a pass, as far as a page can tell him so. Programs that take no page wait last in the queue, and so does
    // whoever has a pass that does not keep him from the rule.
    let waits_for_pass =
        is_suspect && client.bearer().account.is_none() && client.takes_pages(head);
    if !waits_for_pass && (!pressure.starved || !state.admission.turn_away_at_once(&ask)) {
        return None;
    }
    // Whoever wants the site's own search and has no pass is told how to come by one; with one, he has waited enough.
    let live = question.as_ref().filter(|(question, _)| question.live);
    let found = live
        .filter(|_| client.bearer().account.is_some())
        .and_then(found);
    let turned = Turned {
        usage,
        is_suspect,
        is_strange,
    };
    Some(found.unwrap_or(Spared::TurnedAway(turned)))
}

/// Where the origin has no room, a reader we are not sure of is shown what everybody is.
pub(crate) fn needs_origin<F: Fields + ?Sized>(
    cache: &Cache,
    key: &KeyRef<'_>,
    head: &F,
    (reading, site): (&Reading, &Site),
    now: UnixMillis,
) -> bool {
    let shown = if reading.standing == Standing::Unsure {
        reading.as_anybody()
    } else {
        *reading
    };
    cache.needs_origin(key, &shown.sent(&site.profile, head), now)
}

fn stored_at_once(
    client: &Client,
    running: &Running,
    (site, key): (SiteId, &KeyRef<'_>),
    method: &Method,
    head: &Head<'_, '_>,
    sent: (&AsSent<'_, Head<'_, '_>>, bool),
    out: &mut BytesMut,
) -> Result<Bytes, Lookup> {
    let cache = &client.shard.shared.cache;
    // Only staff may ask for more than the stored copy, and only this field or its old twin asks.
    let may_ask = head.field("cache-control").is_some() || head.field("pragma").is_some();
    let class = if may_ask {
        asked::class_of(
            &running.plan.sites[site],
            &running.sites[site],
            (client.address(running, head), client),
            head,
        )
    } else {
        Class::Unknown
    };
    read::at_once(
        cache,
        key,
        method,
        sent,
        read::directives(class),
        connection_line(head, head.keep_alive),
        out,
    )
}

/// What belongs to the connection.
fn connection_line(head: &Head<'_, '_>, keep_alive: bool) -> &'static [u8] {
    match (keep_alive, head.http_10) {
        (false, _) => b"connection: close\r\n",
        (true, true) => b"connection: keep-alive\r\n",
        (true, false) => b"",
    }
}

/// Answers an HTTP/2 request: what the strict head parser does for HTTP/1.1, then the same. Says how much that speaks for its connection.
pub(crate) async fn respond_h2(
    client: &mut Client,
    request: Request<Incoming>,
) -> (Response<Body>, Claim) {
    if let Some(fault) = asked::http2_fault(request.method(), request.headers()) {
        client.shard.fault(fault);
        let asker = Asker::of(request.headers(), Language::default());
        let page = client
            .shard
            .shared
            .pages
            .response(page_of(fault), asker, None);
        return (page, Claim::default());
    }
    let no_upgrade = Cell::new(None);
    know_h2(client, &request);
    let asked = ask(client, &request);
    let asked = asked.map(|mut asked| {
        see_h2(client, &mut asked, &request);
        asked
    });
    let is_suspect = asked.as_ref().is_ok_and(|asked| asked.is_suspect);
    let response = answer(client, asked, request, &no_upgrade).await;
    let claim = if is_suspect {
        Claim::Suspect
    } else if response.extensions().get() == Some(&Served::Waiting) {
        Claim::ToldToWait
    } else {
        Claim::Served
    };
    (response, claim)
}

/// Who asks, as far as cookies and agent say it.
fn know_h2<B>(client: &mut Client, request: &Request<B>) {
    let shard = Rc::clone(&client.shard);
    let running = shard.shared.running.load();
    let fields = request.headers();
    (client.bearer, client.visit) = (None, None);
    let site = request
        .uri()
        .authority()
        .and_then(|authority| running.site_of(authority.host()));
    let Some(site) = site else {
        return;
    };
    let mark = running.sites[site].mark;
    let whom = (mark, client.address(&running, fields));
    let bearer = shard.shared.ladder.bearer(whom, fields, UnixMillis::now);
    client.bearer = bearer.map(Box::new);
    client.read_visit(site, &running, (request.uri().path(), fields));
}

fn ask<B>(client: &Client, request: &Request<B>) -> Result<Asked, Unasked> {
    client.shard.counters.requests.add(1);
    Asked::of(client, client.shard.shared.running.load_full(), request)
}

/// What [`at_once`] does for HTTP/1.1.
fn see_h2(client: &mut Client, asked: &mut Asked, request: &Request<Incoming>) {
    let running = Arc::clone(&asked.running);
    if running.plan.refuse.contains(asked.client) {
        return;
    }
    let fields = request.headers();
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    let sight = Sight::new(
        (request.method().as_str(), target),
        20,
        (asked.shape, asked.client),
        fields,
        &running.plan.registry,
    );
    client.rule = hit(&asked.state().detection, &sight).and_then(NonZeroU64::new);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let cache = &client.shard.shared.cache;
    let needs_origin = !is_read
        || needs_origin(
            cache,
            &read::key(cache, asked),
            fields,
            (&asked.reading, asked.site()),
            UnixMillis::now(),
        );
    see(client, &running, asked.site_id, &sight, needs_origin, None);
    let judged = asked::judged(asked.class, asked.site(), asked.state(), client);
    asked.class = judged.class;
    asked.is_suspect = judged.is_suspect;
    asked.is_kept_from_rule = judged.is_kept_from_rule;
}

/// Answers what could not be answered at once.
pub(crate) async fn respond(
    client: &Client,
    request: Request<Incoming>,
    upgrade: &Cell<Option<Upgrade>>,
) -> Response<Body> {
    let asked = ask(client, &request);
    answer(client, asked, request, upgrade).await
}

async fn answer(
    client: &Client,
    asked: Result<Asked, Unasked>,
    request: Request<Incoming>,
    upgrade: &Cell<Option<Upgrade>>,
) -> Response<Body> {
    let shared = &client.shard.shared;
    let counters = &client.shard.counters;
    let asked = match asked {
        Ok(asked) => asked,
        Err(unasked) => {
            let asker = Asker::of(request.headers(), Language::default());
            let page = unasked_page(client, unasked);
            return shared.pages.response(page, asker, None);
        }
    };
    let asker = client.asker(request.headers(), asked.site().language);
    if asked.running.plan.refuse.contains(asked.client) {
        counters.refused.add(1);
        let code = why::code(client, &asked, Stop::Refused);
        return shared.pages.response(Page::Refused, asker, Some(&code));
    }
    if let Some(answered) = invited(client, &asked, &request, asker) {
        return answered;
    }
    if is_purge_method(request.method()) {
        return purging::obey(client, &asked, request.method(), request.headers()).unwrap_or_else(
            || {
                counters.purges_refused.add(1);
                purging::not_obeyed()
            },
        );
    }
    let facts = asked.facts(request.method(), request.headers());
    client
        .shard
        .tally(|tally, second| tally.arrived(second, &facts));
    let is_observed = asked.site().mode == Mode::Observe && client.rule().is_some();
    if is_observed && asked.state().detection.stance().posture == Posture::UnderAttack {
        asked.state().observed.note(&asked);
    }
    let seen = seen(
        asked.site(),
        (request.method(), asked.shape),
        request.headers(),
    )
    .filter(|_| client.visit.is_none());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_bare = is_read && http_body::Body::is_end_stream(request.body());
    let whole = request.uri().path_and_query().cloned().filter(|_| is_bare);
    // Boxed: whoever waits on one way need not hold room for the longest of them, and over HTTP/2 many wait.
    let result = if let Err(fault) =
        forward::has_not_been_here(request.headers(), &asked.running.signature)
    {
        Err(Failure::Forward(fault))
    } else if is_websocket(&request) {
        Box::pin(tunnel(client, &asked, request, upgrade)).await
    } else if let Some(found) = whole
        .as_ref()
        .and_then(|target| searching::before(client, &asked, target, request.headers(), asker))
    {
        Ok(found)
    } else if is_bare {
        Box::pin(reduced::read(client, &asked, request.map(|_| ()))).await
    } else {
        Box::pin(ask_origin(client, asked.clone(), request)).await
    };
    let found =
        whole.and_then(|target| searching::instead(client, &asked, &target, asker, &result));
    let mut response = match (found, result) {
        (Some(found), _) => found,
        (None, result) => {
            result.unwrap_or_else(|failure| own_page(client, &asked, asker, is_read, &failure))
        }
    };
    if !asked.taken.is_empty() && response.status().is_redirection() {
        forward::give_back(response.headers_mut(), &asked.taken, &asked.authority);
    }
    let outcome = Outcome {
        site: asked.site_id,
        served: response.extensions().get().copied().unwrap_or(Served::Pass),
        status: response.status().as_u16(),
        bytes_out: http_body::Body::size_hint(response.body())
            .exact()
            .unwrap_or(0),
    };
    client
        .shard
        .tally(|tally, second| tally.answered(second, &outcome));
    if asked.shape.is_part_of_a_page() && matches!(outcome.status, 200 | 304) {
        asked.state().detection.note_part(asked.visitor);
    }
    let whom = (asked.client, asked.scheme);
    let greeting = seen
        .filter(|seen| match seen {
            Seen::Page => outcome.status == 200,
            Seen::Part => matches!(outcome.status, 200 | 304),
        })
        .and_then(|seen| client.greet(seen, asked.state().mark, whom));
    let pass = client.new_pass_to(asked.state().mark, whom);
    for cookie in pass.into_iter().chain(greeting) {
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    if let (true, Some(rule)) = (asked.running.plan.is_drill, client.rule()) {
        response
            .headers_mut()
            .insert(RULE_FIELD, HeaderValue::from(rule));
    }
    response
}

/// A link by which the newsroom invites its own. Whatever is going on, it is answered.
fn invited(
    client: &Client,
    asked: &Asked,
    request: &Request<Incoming>,
    asker: Asker,
) -> Option<Response<Body>> {
    let shared = &client.shard.shared;
    let (invites, mark) = (&shared.ladder.invites, asked.state().mark);
    let (path, now) = (asked.target.path(), UnixMillis::now());
    let is_open = invites.link(mark, path, now)?;
    let is_pressed = is_open && *request.method() == Method::POST;
    let accepted = is_pressed.then(|| invites.accept(mark, path, now));
    let (page, accepted) = match accepted {
        None if is_open => (Page::Invitation, None),
        None | Some(Ok(None)) => (Page::InvitationOver, None),
        Some(Ok(Some(accepted))) => (Page::Invited, Some(accepted)),
        Some(Err(error)) => {
            tracing::error!("an invitation was accepted and could not be kept: {error}");
            (Page::NotTaken, None)
        }
    };
    // Whoever opens a link wants to read, whatever his messenger says he takes.
    let asker = Asker {
        format: Format::Html,
        ..asker
    };
    let mut response = shared.pages.response(page, asker, None);
    let cookie = accepted.and_then(|(text, lasts_s)| {
        let secure = match asked.scheme {
            Scheme::Https => "; Secure",
            Scheme::Http => "",
        };
        let name = ladder::STAFF;
        let cookie =
            format!("{name}={text}; Path=/; Max-Age={lasts_s}; SameSite=Lax; HttpOnly{secure}");
        HeaderValue::try_from(cookie).ok()
    });
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Some(response)
}

fn unasked_page(client: &Client, unasked: Unasked) -> Page {
    match unasked {
        Unasked::Fault(fault) => {
            client.shard.fault(fault);
            page_of(fault)
        }
        Unasked::UnknownHost => {
            client.shard.counters.unknown_hosts.add(1);
            Page::UnknownHost
        }
    }
}

/// Notes on a response where it came from; [`respond`] counts it.
pub(crate) fn served(mut response: Response<Body>, served: Served) -> Response<Body> {
    response.extensions_mut().insert(served);
    response
}

/// Why a request ends with a page of our own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Starved(#[from] Starved),
    #[error(transparent)]
    Pass(#[from] PassError),
    #[error("the request's body could not be taken in")]
    Upload(#[source] BodyError),
    #[error(transparent)]
    Form(#[from] FormFault),
    #[error("too many passwords were tried from there")]
    TooManyTries,
    #[error("the request's fields cannot be forwarded")]
    Forward(#[from] forward::ForwardFault),
}

/// A request with side effects, or one that holds a body.
async fn ask_origin(
    client: &Client,
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let bytes_max = asked.running.plan.limits.body_bytes_max;
    let (parts, incoming) = request.into_parts();
    let upload = upload::take(incoming, bytes_max, &client.shard.shared.uploads)
        .await
        .map_err(Failure::Upload)?;
    // Boxed: many wait for their bodies, and need not hold room for what comes after.
    match upload {
        Upload::Buffered(body) => Box::pin(ask_with_body(client, asked, parts, body)).await,
        Upload::Streaming(body) => Box::pin(ask_with_stream(client, asked, parts, body)).await,
    }
}

async fn ask_with_body(
    client: &Client,
    asked: Asked,
    mut parts: http::request::Parts,
    body: Body,
) -> Result<Response<Body>, Failure> {
    let mut form = InHand::of(client, &asked, &mut parts, body)?;
    let attempt = guess(client, &asked, &mut parts, form.bytes());
    match verdict(client, &attempt) {
        Verdict::Free => {}
        Verdict::Pass => return Err(form.guessed().unwrap_or(Failure::TooManyTries)),
        Verdict::Refuse => return Err(Failure::TooManyTries),
    }
    // Whom a rule hits waits for a pass, as with a page; programs wait last in the queue.
    if asked.is_suspect
        && asked.account.is_none()
        && !client.shard.shared.bypassed()
        && let Some(given_back) = form.turned_away()
    {
        return Err(given_back);
    }
    let place = match Place::enter(&client.shard, &asked).await {
        Ok(place) => place,
        Err(starved) => return Err(form.turned_away().unwrap_or(Failure::Starved(starved))),
    };
    form.send(client)?;
    let body = std::mem::replace(&mut form.body, Body::Empty);
    let answered = send(client, asked, (parts, body), (place, attempt)).await;
    answered.map_err(|failure| {
        let Failure::Pass(error) = &failure else {
            return failure;
        };
        let is_origins = matches!(error, PassError::Origin(_));
        let Some(kept) = form.perhaps_sent() else {
            return failure;
        };
        if is_origins {
            client.shard.counters.origin_failures.add(1);
        }
        kept
    })
}

async fn ask_with_stream(
    client: &Client,
    asked: Asked,
    mut parts: http::request::Parts,
    body: Body,
) -> Result<Response<Body>, Failure> {
    let attempt = guess(client, &asked, &mut parts, None);
    if verdict(client, &attempt) != Verdict::Free {
        return Err(Failure::TooManyTries);
    }
    let place = Place::stream(&client.shard, &asked).map_err(PassError::from)?;
    send(client, asked, (parts, body), (place, attempt)).await
}

async fn send(
    client: &Client,
    asked: Asked,
    (parts, body): (http::request::Parts, Body),
    held: (Place, Option<Attempt>),
) -> Result<Response<Body>, Failure> {
    client.shard.counters.passed.add(1);
    let wish = Wish::of(&parts.method, &parts.headers);
    let request = outgoing(&asked, parts, body)?;
    let response = pass::pass(client, asked, request, held).await?;
    Ok(passing::passed(wish, response, &client.shard.shared.coders))
}

/// A password that may be guessed, or a comment. Its answer is looked at as it comes.
fn guess(
    client: &Client,
    asked: &Asked,
    parts: &mut http::request::Parts,
    body: Option<&Bytes>,
) -> Option<Attempt> {
    let shared = &client.shard.shared;
    if shared.bypassed() {
        return None;
    }
    let request = (&parts.method, &parts.headers);
    let attempt = shared.guard.attempt(asked, &shared.ladder, request, body)?;
    if attempt.is_call() {
        parts.headers.remove(ACCEPT_ENCODING);
    }
    Some(attempt)
}

fn verdict(client: &Client, attempt: &Option<Attempt>) -> Verdict {
    let guard = &client.shard.shared.guard;
    attempt.as_ref().map_or(Verdict::Free, |attempt| {
        guard.verdict(attempt, UnixMillis::now())
    })
}

async fn tunnel(
    client: &Client,
    asked: &Asked,
    request: Request<Incoming>,
    upgrade: &Cell<Option<Upgrade>>,
) -> Result<Response<Body>, Failure> {
    client.shard.counters.passed.add(1);
    let (parts, _no_body) = request.into_parts();
    let request = outgoing(asked, parts, Body::Empty)?;
    let (response, tunnel) = pass::websocket(client, asked, request).await?;
    upgrade.set(tunnel);
    Ok(response)
}

/// The request as the origin shall see it.
pub(crate) fn outgoing(
    asked: &Asked,
    mut parts: http::request::Parts,
    body: Body,
) -> Result<Request<Body>, forward::ForwardFault> {
    forward::request(
        &parts.method,
        &mut parts.headers,
        &asked.inbound(),
        &asked.outbound(),
    )?;
    parts.uri = http::Uri::from(asked.target.clone());
    parts.version = Version::HTTP_11;
    // What hyper attached belongs to the client's connection.
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body))
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    let fields: &HeaderMap = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && fields
            .field("upgrade")
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
        && fields.joined("connection").is_some_and(|options| {
            crate::head::list(&options).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        })
}

/// The sole place where a failure becomes a status.
fn own_page(
    client: &Client,
    asked: &Asked,
    asker: Asker,
    is_read: bool,
    failure: &Failure,
) -> Response<Body> {
    let counters = &client.shard.counters;
    let mut ticket = None;
    let page = match failure {
        Failure::Starved(_) | Failure::Pass(PassError::StreamsFull(_)) => {
            counters.waiting.add(1);
            if is_read {
                let whom = (asked.client, asked.scheme);
                let (page, given) = to_wait(client, asked.state().mark, whom, asker);
                ticket = given.and_then(|ticket| HeaderValue::try_from(ticket).ok());
                page
            } else {
                // A page that reloads itself asks with GET: what a form carried would be lost without a word.
                Page::NotTaken
            }
        }
        Failure::Pass(PassError::Origin(error)) => match error {
            OriginError::RequestBody(body) => page_of_body(body),
            OriginError::ConnectTimedOut
            | OriginError::ResponseTimedOut
            | OriginError::RequestNotTaken => {
                counters.origin_failures.add(1);
                Page::OriginSlow
            }
            _ => {
                counters.origin_failures.add(1);
                if is_read {
                    Page::OriginDown
                } else {
                    Page::NotSent
                }
            }
        },
        Failure::Upload(body) => page_of_body(body),
        Failure::TooManyTries => Page::TooMany,
        Failure::Form(fault) => return forms::answer(client, asked, asker, fault),
        Failure::Forward(forward::ForwardFault::Loop) => {
            say_it_leads_back(asked);
            Page::Loop
        }
        Failure::Forward(forward::ForwardFault::TooFar) => Page::Loop,
        Failure::Forward(forward::ForwardFault::Method) => Page::NotUnderstood,
    };
    let kind = if matches!(page, Page::Waiting { .. } | Page::NotTaken) {
        Served::Waiting
    } else {
        Served::Refused
    };
    let code = page.stop().map(|stop| why::code(client, asked, stop));
    let pages = &client.shard.shared.pages;
    let mut response = pages.response(page, asker, code.as_ref());
    if let Some(ticket) = ticket {
        response.headers_mut().append(SET_COOKIE, ticket);
    }
    served(response, kind)
}

/// Once: how often it happens is up to strangers, that it happens is not.
fn say_it_leads_back(asked: &Asked) {
    if !asked.state().leads_back.swap(true, Ordering::Relaxed) {
        tracing::error!(
            "{}: what is sent to its origin http://{} comes back here; set `origin` to the address of the site's own server",
            asked.site().name,
            asked.site().origin.authority
        );
    }
}

/// How long to wait, and for whom a page can be shown the cookie to come back with. Readers told to wait together must not come back
/// together.
pub(crate) fn to_wait(
    client: &Client,
    mark: SiteMark,
    (address, scheme): (IpAddr, Scheme),
    asker: Asker,
) -> (Page, Option<String>) {
    let now = UnixMillis::now();
    let secs = crate::pages::RELOAD_SECS;
    let seed = now.0 ^ Group::of(address).bits();
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    if asker.format != Format::Html {
        let within = u64::from(secs.end() - secs.start()) + 1;
        let reload_secs = secs.start() + (spread % within) as u16;
        return (Page::Waiting { reload_secs }, None);
    }
    let ladder = &client.shard.shared.ladder;
    let (wait_s, ticket) = ladder.waits(client.bearer(), (mark, address), now);
    // A second more than has to be waited, for clocks show whole ones.
    let reload_secs = u16::from(wait_s) + 1 + (spread % WAITS_APART_S) as u16;
    let ticket = ticket.map(|ticket| ticket.cookie(scheme == Scheme::Https));
    (Page::Waiting { reload_secs }, ticket)
}

/// Those who were given tickets in one second come back over so many.
const WAITS_APART_S: u64 = 3;

fn page_of_body(error: &BodyError) -> Page {
    match error {
        BodyError::TooLong { .. } => Page::TooLarge,
        BodyError::TooSlow => Page::TooSlow,
        BodyError::ClientBrokeOff | BodyError::OriginBrokeOff => Page::NotUnderstood,
    }
}

fn page_of(fault: ClientFault) -> Page {
    match fault {
        ClientFault::HeadTooLong { .. } | ClientFault::TooManyFields { .. } => Page::FieldsTooLarge,
        ClientFault::HeadTooSlow | ClientFault::BodyTooSlow => Page::TooSlow,
        _ => Page::NotUnderstood,
    }
}

/// The answer to a head we could not read: short, plain and the last on this connection.
pub(crate) fn fault_answer(fault: ClientFault, out: &mut BytesMut) {
    let status = match fault {
        ClientFault::HeadTooLong { .. } | ClientFault::TooManyFields { .. } => {
            "431 Request Header Fields Too Large"
        }
        ClientFault::HeadTooSlow | ClientFault::BodyTooSlow => "408 Request Timeout",
        ClientFault::Method => {
            "405 Method Not Allowed\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        }
        ClientFault::Coding => "501 Not Implemented",
        _ => "400 Bad Request",
    };
    let body = fault.to_string();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\ncontent-type: text/plain\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body.as_bytes());
}

/// Keeps each origin's pool young and asks after its health.
pub(crate) async fn watch_origins(shard: Rc<Shard>) {
    let mut watching: (u64, tokio::task::JoinSet<()>) = (u64::MAX, tokio::task::JoinSet::new());
    let mut tick = tokio::time::interval(WATCH_INTERVAL);
    loop {
        tick.tick().await;
        let running = Arc::clone(&shard.running());
        if watching.0 != running.generation {
            watching.0 = running.generation;
            watching.1.abort_all();
            for site in 0..running.sites.len() {
                let origin = shard.origin(&running, site);
                watching.1.spawn_local(async move { origin.watch().await });
            }
        }
        for state in running.sites.iter().filter(|state| state.health.is_hung()) {
            state.admission.forsake();
        }
    }
}

/// How soon a reload is noticed by those who watch the origins.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
