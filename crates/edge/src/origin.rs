//! The newsroom's own server, as a client of it.
//!
//! Everything else in the edge exists so that few requests come here. Those that do must never make a reader wait for
//! nothing: every step has a deadline of its own (connecting, sending, waiting for the head, each pause in the body), what
//! fails has a name that says whose fault it was, and an origin known to be dead is not asked at all ([`health`]).
//!
//! A request is sent twice in two cases only. When not a byte of it left, because the idle connection chosen for it had
//! died, nobody can have acted upon it. When it is GET, HEAD or OPTIONS without content and not a byte of an answer came,
//! acting twice is harmless by the method's definition; this one draws on a budget, since an origin that fails under load
//! must not be asked twice as much for it. Nothing is repeated after a timeout: the origin may still be at work on it.
//!
//! Bodies stream in both directions and may overlap: an origin may answer before it has read the request. Trailers pass.
//! 1xx responses are read and dropped (the edge answers `Expect: 100-continue` itself). After 101 the connection is the
//! caller's: `hyper::upgrade::on(response)` yields it and [`splice`] joins it to the client's.
//!
//! What the origin sends is bounded like what anyone sends: 64 KiB and 100 lines of head, 256 KiB before the head is
//! complete. Of framing only what is certain passes: a transfer coding we did not ask for is refused, since to forward its
//! content without its name would corrupt it.

mod connect;
pub mod health;
mod message;
mod pool;
mod splice;
mod wire;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::health::{OriginCounts, OriginHealth};
pub use self::splice::{SpliceEnd, SpliceLimits, Spliced, splice};

use self::connect::Connector;
use self::health::{Event, Gate, NoConnection, PROBE_INTERVAL, count};
use self::message::{Download, Stage, StageNote, Upload, read_stage};
use self::pool::{Lease, Pool};
use self::wire::{Wire, WireIo};
use crate::body::{Body, BodyError};
use crate::plan::OriginPlan;

/// Response heads of CMSs with long content security policies reach 16 KB. hyper reads bodies through a buffer of this size
/// too.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// hyper's own bound, which it keeps on its stack when told no other; WordPress with every plugin sends 40.
const HEAD_FIELDS_MAX: usize = 100;

/// 1xx responses included. A `103 Early Hints` is 1 KB.
const BEFORE_HEAD_BYTES_MAX: usize = 4 * HEAD_BYTES_MAX;

/// A slow page may take longer than a probe's interval, and must still be able to prove the origin alive.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const PROBES_MAX: usize = 5;

/// Where the fault lies, for the books and for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Origin,
    Client,
    Edge,
}

/// May the request be sent again by somebody who still has it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No byte of it reached the origin.
    Any,
    /// The origin may have acted upon it.
    SafeMethod,
    /// It would end the same way, or make things worse.
    Never,
}

#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("the origin is down; it is being probed")]
    BreakerOpen,
    #[error("the origin's name has no address")]
    Resolve,
    #[error("connecting to the origin failed")]
    Connect(#[source] io::Error),
    #[error("connecting to the origin took too long")]
    ConnectTimedOut,
    #[error("the edge has no socket left for the origin")]
    NoSocket(#[source] io::Error),
    #[error("the origin closed the connection before it answered")]
    ClosedBeforeResponse,
    #[error("the origin did not answer in time")]
    ResponseTimedOut,
    #[error("the origin stopped reading the request")]
    RequestNotTaken,
    #[error("the origin closed the connection while the client was still sending")]
    ClosedOnClient,
    #[error("the client's request body ended early")]
    RequestBody(#[source] BodyError),
    #[error("the origin's answer is not HTTP/1.1 as we can pass it on: {0}")]
    BadResponse(BadResponse),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    #[error("malformed head")]
    Malformed,
    #[error("head of more than {HEAD_BYTES_MAX} bytes or {HEAD_FIELDS_MAX} fields")]
    HeadTooLarge,
    #[error("more than {BEFORE_HEAD_BYTES_MAX} bytes before the head was complete")]
    Flood,
    #[error("a transfer coding other than chunked")]
    TransferCoding,
    #[error("101 without having been asked")]
    UnaskedSwitch,
}

impl OriginError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::RequestBody(_) | Self::ClosedOnClient => Fault::Client,
            Self::NoSocket(_) => Fault::Edge,
            _ => Fault::Origin,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::BreakerOpen
            | Self::Resolve
            | Self::Connect(_)
            | Self::ConnectTimedOut
            | Self::NoSocket(_) => Retry::Any,
            Self::ClosedBeforeResponse => Retry::SafeMethod,
            Self::ResponseTimedOut
            | Self::RequestNotTaken
            | Self::RequestBody(_)
            | Self::ClosedOnClient
            | Self::BadResponse(_) => Retry::Never,
        }
    }

    /// What a gateway answers (RFC 9110 §15.6) when it has nothing better.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BreakerOpen | Self::NoSocket(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimedOut | Self::ResponseTimedOut | Self::RequestNotTaken => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::RequestBody(BodyError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestBody(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::Resolve
            | Self::Connect(_)
            | Self::ClosedBeforeResponse
            | Self::ClosedOnClient
            | Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn event(&self) -> Option<Event> {
        match self {
            Self::Resolve => Some(Event::Unreachable(NoConnection::NoAddress)),
            Self::ConnectTimedOut => Some(Event::Unreachable(NoConnection::TimedOut)),
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Some(Event::Unreachable(NoConnection::Refused))
            }
            Self::Connect(_) => Some(Event::Unreachable(NoConnection::Failed)),
            Self::ClosedBeforeResponse
            | Self::ResponseTimedOut
            | Self::RequestNotTaken
            | Self::BadResponse(_) => Some(Event::Silent),
            // Servers close on whoever sends too slowly, and who does is up to strangers.
            Self::BreakerOpen | Self::NoSocket(_) | Self::RequestBody(_) | Self::ClosedOnClient => {
                None
            }
        }
    }
}

/// A status that says "too much to do" rather than anything about the request. The admission limit listens to it.
pub fn says_overloaded(status: StatusCode) -> bool {
    Event::of(status) == Event::Overloaded
}

/// One shard's way to one site's origin.
pub struct Origin {
    plan: OriginPlan,
    health: Arc<OriginHealth>,
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    host: HeaderValue,
    probe_host: HeaderValue,
}

impl Origin {
    /// `health` is shared by all shards that serve the site.
    pub fn new(plan: OriginPlan, health: Arc<OriginHealth>) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "an authority consists of bytes a field value may have"
        )]
        let host =
            HeaderValue::from_str(plan.authority.as_str()).expect("an authority is a field value");
        Self {
            connector: Arc::new(Connector::new(&plan.authority)),
            pool: Arc::new(Pool::new(health.clone())),
            probe_host: host.clone(),
            plan,
            health,
            host,
        }
    }

    /// Probes ask for this host, as readers do, rather than for the origin's own name.
    pub fn probing_as(mut self, host: HeaderValue) -> Self {
        self.probe_host = host;
        self
    }

    pub fn health(&self) -> &Arc<OriginHealth> {
        &self.health
    }

    pub fn idle_connections(&self) -> usize {
        self.pool.len()
    }

    /// Sends a request whose fields are those the origin shall see ([`crate::forward`]) and waits for the response head.
    ///
    /// The target is sent in origin form; framing fields are set here from the body, and `Host` when absent. Dropping the
    /// future closes the connection. The response's body breaks with [`BodyError::OriginBrokeOff`] when the origin
    /// truncates it or falls silent for the plan's `idle_timeout`.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, OriginError> {
        let gate = self.health.ask(Instant::now());
        if gate == Gate::Shut {
            return Err(OriginError::BreakerOpen);
        }
        let mut turn = Turn {
            health: &self.health,
            trial: gate == Gate::Trial,
            decided: false,
        };
        self.frame(&mut request);
        let result = self.exchange(request).await;
        turn.decided = true;
        let event = match &result {
            Ok(response) => Some(Event::of(response.status())),
            Err(error) => error.event(),
        };
        match event {
            Some(event) => self.health.note(Instant::now(), event),
            None => turn.decided = false,
        }
        result
    }

    /// Keeps the pool young and probes while there is reason to. Run one on every shard for as long as the `Origin` serves;
    /// the shards agree which of them probes.
    pub async fn watch(&self) {
        let mut tick = tokio::time::interval(PROBE_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut probes = JoinSet::new();
        loop {
            tick.tick().await;
            let now = Instant::now();
            self.pool.retire(now);
            while probes.try_join_next().is_some() {}
            if probes.len() < PROBES_MAX && self.health.claim_probe(now) {
                let health = self.health.clone();
                let probe = probe(
                    self.connector.clone(),
                    self.plan.connect_timeout,
                    self.plan.health_path.clone(),
                    self.probe_host.clone(),
                );
                probes.spawn(async move {
                    let alive = timeout(PROBE_TIMEOUT, probe).await.unwrap_or(Some(false));
                    if let Some(alive) = alive {
                        let event = if alive {
                            Event::ProbeAnswered
                        } else {
                            Event::ProbeFailed
                        };
                        health.note(Instant::now(), event);
                    }
                });
            }
        }
    }

    /// HTTP/1.1, origin form, and exactly one statement of the body's length.
    fn frame(&self, request: &mut Request<Body>) {
        let target = request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
        *request.version_mut() = Version::HTTP_11;
        *request.extensions_mut() = Extensions::new();
        let body = request.body();
        let ends = body.is_end_stream();
        let length = body.size_hint().exact();
        let expects_content = matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        );
        let headers = request.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        match length {
            _ if ends && expects_content => {
                drop(headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0")))
            }
            _ if ends => drop(headers.remove(CONTENT_LENGTH)),
            Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
            // Of unknown length, and hyper would leave a GET's content out if it were not told.
            None => {
                headers.remove(CONTENT_LENGTH);
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, self.host.clone());
        }
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, OriginError> {
        let (parts, body) = request.into_parts();
        let contentless = body.is_end_stream();
        let safe =
            contentless && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let again = contentless.then(|| parts.clone());
        let wants_upgrade = parts.headers.contains_key(UPGRADE);
        let (upload, note) = if contentless {
            (Upload::none(), None)
        } else {
            let (upload, note) = Upload::new(body, &self.health, Instant::now());
            (upload, Some(note))
        };
        let lease = match self.pool.take(safe, Instant::now()) {
            Some(lease) => lease,
            None => self.connect().await?,
        };
        let waiting = Waiting {
            started: Instant::now(),
            response_timeout: self.plan.response_timeout,
            idle_timeout: self.plan.idle_timeout,
            note,
        };
        let failed = match self
            .attempt(lease, Request::from_parts(parts, upload), &waiting)
            .await
        {
            Ok((lease, response)) => {
                return self.receive(lease, response, waiting.note, wants_upgrade);
            }
            Err(failed) => failed,
        };
        let second = match (failed.unsent, again) {
            (Some(unsent), _) => unsent,
            (None, Some(parts)) if failed.unheard && failed.untouched => {
                Request::from_parts(parts, Upload::none())
            }
            (None, Some(parts))
                if safe
                    && failed.unheard
                    && failed.error.retry() == Retry::SafeMethod
                    && self.health.take_retry() =>
            {
                Request::from_parts(parts, Upload::none())
            }
            _ => return Err(failed.error),
        };
        // A new connection: where one idle connection died, its neighbours did.
        let lease = self.connect().await?;
        match self.attempt(lease, second, &waiting).await {
            Ok((lease, response)) => self.receive(lease, response, waiting.note, wants_upgrade),
            Err(failed) => Err(failed.error),
        }
    }

    async fn connect(&self) -> Result<Lease, OriginError> {
        let stream = self.connector.connect(self.plan.connect_timeout).await?;
        count(&self.health.counters.connections);
        let wire = Arc::new(Wire::new(stream));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            // Both are repaired in parsing, as RFC 9112 §5 lets a proxy do; refusing them would only take an old CMS's
            // site from its readers.
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(TokioIo::new(WireIo(wire.clone())))
            .await
            .map_err(|_| OriginError::ClosedBeforeResponse)?;
        let task = tokio::spawn(async move {
            // Its error is the exchange's error, and reported there.
            drop(connection.with_upgrades().await);
        });
        Ok(Lease::new(sender, wire, task.abort_handle(), &self.pool))
    }

    /// One request on one connection, up to the response head.
    async fn attempt(
        &self,
        mut lease: Lease,
        request: Request<Upload>,
        waiting: &Waiting,
    ) -> Result<(Lease, Response<Incoming>), Failed> {
        lease.wire.begin(BEFORE_HEAD_BYTES_MAX);
        let sent = pin!(lease.sender.try_send_request(request));
        let outcome = match waiting.limit(sent).await {
            Ok(outcome) => outcome,
            Err(error) => {
                return Err(Failed {
                    error,
                    unsent: None,
                    untouched: false,
                    unheard: false,
                });
            }
        };
        match outcome {
            Ok(response) => {
                lease.wire.head_complete();
                Ok((lease, response))
            }
            Err(mut failed) => {
                let unsent = failed.take_message();
                let untouched = unsent.is_some() || (lease.reused && !lease.wire.wrote());
                let error = match name_failure(failed.into_error(), &lease.wire) {
                    OriginError::ClosedBeforeResponse if waiting.is_with_client() => {
                        OriginError::ClosedOnClient
                    }
                    error => error,
                };
                Err(Failed {
                    error,
                    unsent,
                    untouched,
                    unheard: !lease.wire.heard(),
                })
            }
        }
    }

    fn receive(
        &self,
        lease: Lease,
        response: Response<Incoming>,
        upload: Option<StageNote>,
        wants_upgrade: bool,
    ) -> Result<Response<Body>, OriginError> {
        let (parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if !wants_upgrade {
                return Err(OriginError::BadResponse(BadResponse::UnaskedSwitch));
            }
            lease.surrender();
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
        let coding = codings.next();
        if codings.next().is_some()
            || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        {
            return Err(OriginError::BadResponse(BadResponse::TransferCoding));
        }
        let body = if incoming.is_end_stream() {
            if parts.version == Version::HTTP_11 {
                message::keep(lease, upload.as_ref());
            }
            Body::Empty
        } else {
            let health = self.health.clone();
            Body::stream(Download::new(
                incoming,
                lease,
                upload,
                health,
                self.plan.idle_timeout,
            ))
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// Asks the health path on a connection of its own; without one, a connection is all that is asked for. `None`: the edge
/// itself could not ask.
async fn probe(
    connector: Arc<Connector>,
    connect_timeout: Duration,
    path: Option<String>,
    host: HeaderValue,
) -> Option<bool> {
    let stream = match connector.connect(connect_timeout.min(PROBE_TIMEOUT)).await {
        Ok(stream) => stream,
        Err(OriginError::NoSocket(_)) => return None,
        Err(_) => return Some(false),
    };
    let Some(path) = path else {
        return Some(true);
    };
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "saqta")
        .header(CONNECTION, "close")
        .body(Body::Empty)
        .ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // The status is all we want of it; dropping the body ends the connection too.
    let status = async move {
        sender
            .send_request(request)
            .await
            .map(|response| response.status())
    };
    let (status, _) = tokio::join!(status, connection);
    Some(status.is_ok_and(|status| !status.is_server_error()))
}

/// A request that failed before its response head.
struct Failed {
    error: OriginError,
    /// hyper never wrote it and gave it back.
    unsent: Option<Request<Upload>>,
    /// The kernel never took a byte of it.
    untouched: bool,
    /// Not a byte of an answer came.
    unheard: bool,
}

fn name_failure(error: hyper::Error, wire: &Wire) -> OriginError {
    if wire.head_flooded() {
        return OriginError::BadResponse(BadResponse::Flood);
    }
    if error.is_parse_too_large() {
        return OriginError::BadResponse(BadResponse::HeadTooLarge);
    }
    if error.is_parse() {
        return OriginError::BadResponse(BadResponse::Malformed);
    }
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(body) = cause.downcast_ref::<BodyError>() {
            return OriginError::RequestBody(*body);
        }
        source = cause.source();
    }
    OriginError::ClosedBeforeResponse
}

/// The deadlines between the first byte of a request and the first of its response.
struct Waiting {
    started: Instant,
    response_timeout: Duration,
    idle_timeout: Duration,
    note: Option<StageNote>,
}

impl Waiting {
    fn is_with_client(&self) -> bool {
        self.note
            .as_ref()
            .is_some_and(|note| read_stage(note) == Stage::Client)
    }

    async fn limit<F: Future>(
        &self,
        mut sent: std::pin::Pin<&mut F>,
    ) -> Result<F::Output, OriginError> {
        let Some(note) = &self.note else {
            let deadline = self.started + self.response_timeout;
            return timeout_at(deadline, sent)
                .await
                .map_err(|_| OriginError::ResponseTimedOut);
        };
        loop {
            let stage = read_stage(note);
            let deadline = match stage {
                // The client's pace is the client side's to judge; look again when it may have changed.
                Stage::Client => Instant::now() + self.idle_timeout,
                Stage::Origin(since) => since + self.idle_timeout,
                Stage::Sent(at) => at + self.response_timeout,
            };
            if let Ok(output) = timeout_at(deadline, sent.as_mut()).await {
                return Ok(output);
            }
            if read_stage(note) != stage {
                continue;
            }
            match stage {
                Stage::Client => {}
                Stage::Origin(_) => return Err(OriginError::RequestNotTaken),
                Stage::Sent(_) => return Err(OriginError::ResponseTimedOut),
            }
        }
    }
}

/// Ends the waiting however the request ends, its client's leaving included.
struct Turn<'a> {
    health: &'a OriginHealth,
    trial: bool,
    decided: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.health.done_waiting();
        if self.trial && !self.decided {
            self.health.trial_abandoned(Instant::now());
        }
    }
}
