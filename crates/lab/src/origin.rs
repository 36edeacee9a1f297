//! The newsroom's own server, as drills need it: with the habits of a content system and a capacity that ends.
//!
//! An origin that answers everything at once cannot be attacked, and a drill against it proves nothing. This one has workers
//! ([`Kind`], eight of them unless told otherwise), a bounded queue before them, pages that cost what they cost out there, and
//! it gets slower when asked for more than it can. It keeps working for clients that have gone. What it was asked for and how
//! long it was over its capacity stand in its books ([`OriginStats`]), one JSON line a second on standard output.
//!
//! It is a process of its own, so that the edge cannot borrow its time and the referee can believe its books. Standard input
//! takes one JSON command a line (`{"fault":"hang"}`); its end, or SIGTERM, ends the process with a last line.

mod dialect;
mod message;
mod site;
mod websocket;
mod workers;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use flate2::Crc;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub use dialect::{Dialect, Form, PASSWORD, UnknownDialect, cookies_after};
pub use site::{PERSONAL_MARKER, STAFF_MARKER};
pub use websocket::accept as websocket_accept;
pub use workers::{Kind, OriginStats};

use crate::chance::{Chance, digest};
use crate::clock;
use crate::guard::{Refused, Target};
use crate::newsroom::Newsroom;
use message::{Connection, Ended, Method, Request};
use site::{Answer, Route, Site};
use workers::Workers;

/// Half of a usual limit on open files; the edge in front opens some hundreds.
const CONNECTIONS_MAX: usize = 8_000;
/// Clients waiting to be accepted; the kernel's own bound is 4,096.
const LISTEN_BACKLOG: u32 = 1_024;
/// Commands come from a drill's clock, a handful in a minute.
const COMMANDS_MAX: usize = 16;
const COMMAND_BYTES_MAX: u64 = 4_096;
/// Longer than proxies keep idle connections, so that the race between request and close is rare and still happens.
const KEEP_ALIVE: Duration = Duration::from_secs(65);
/// The spread of service times: a page in twenty takes 1.8 times the median.
const SERVICE_SIGMA: f64 = 0.35;
/// Enough to tell a cache-busting flood from a day's reading; 800 KB.
const DISTINCT_MAX: usize = 100_000;
/// An event a second, for ten minutes.
const EVENTS_MAX: u32 = 600;
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// The port is ours while the listener is closed, so reopening fails only while the kernel still tidies up.
const REOPEN_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginSpec {
    /// Loopback. Port 0 asks the kernel for a free one.
    pub listen: SocketAddr,
    pub seed: u64,
    /// [`Newsroom::neighbour`] instead of [`Newsroom::new`].
    pub neighbour: bool,
    pub dialect: Dialect,
    /// How long pages stay fresh, where the dialect lets the operator choose (generic, Drupal).
    pub max_age_s: Option<u32>,
    /// Requests worked on at once: `pm.max_children` of PHP.
    pub workers: usize,
    /// Requests waiting for a worker before the answer is 503: `listen.backlog` of PHP.
    pub backlog: usize,
    /// Every service time is multiplied by it.
    pub service_factor: f64,
    pub report_every_ms: u64,
}

impl Default for OriginSpec {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            neighbour: false,
            dialect: Dialect::Generic,
            max_age_s: None,
            workers: 8,
            backlog: 511,
            service_factor: 1.0,
            report_every_ms: 1_000,
        }
    }
}

/// What is wrong with the origin, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Fault {
    #[default]
    #[serde(rename = "none")]
    None,
    /// The process is gone: the listener is closed and every connection with it.
    #[serde(rename = "refuse")]
    Refuse,
    /// Requests are read and never answered; their connections close when the fault ends.
    #[serde(rename = "hang")]
    Hang,
    #[serde(rename = "500")]
    Error500,
    /// The connection closes in the middle of the body.
    #[serde(rename = "truncate")]
    Truncate,
    /// The database is gone, and the page that says so has status 200. It died before it could send anything about caching.
    #[serde(rename = "error200")]
    Error200,
}

/// A line on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub fault: Fault,
}

/// A line on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// The first.
    Listening { listening: SocketAddr },
    /// Every other.
    Stats(Box<OriginStats>),
}

#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("an origin listens on loopback only")]
    NotLoopback(#[source] Refused),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("an origin has 1 to 10,000 workers, not {0}")]
    Workers(usize),
    #[error("an origin reports every 10 ms to 60 s, not every {0} ms")]
    ReportEvery(u64),
    #[error("service times are multiplied by 0 to 1,000, not by {0}")]
    ServiceFactor(f64),
}

/// Bound and not yet serving.
#[derive(Debug)]
pub struct Origin {
    spec: OriginSpec,
    address: SocketAddr,
    /// Bound, never listening: while the listener is closed nobody else is given the port, and connections are refused.
    reservation: TcpSocket,
    listener: TcpListener,
}

impl Origin {
    /// Inside a tokio runtime.
    pub fn bind(spec: OriginSpec) -> Result<Self, OriginError> {
        if !(1..=10_000).contains(&spec.workers) {
            return Err(OriginError::Workers(spec.workers));
        }
        if !(10..=60_000).contains(&spec.report_every_ms) {
            return Err(OriginError::ReportEvery(spec.report_every_ms));
        }
        if !(0.0..=1_000.0).contains(&spec.service_factor) {
            return Err(OriginError::ServiceFactor(spec.service_factor));
        }
        // Port 0 is fine to listen on, so the guard is asked about another.
        let judged = SocketAddr::new(spec.listen.ip(), spec.listen.port().max(1));
        Target::new(judged).map_err(OriginError::NotLoopback)?;
        let failed = |source| OriginError::Listen {
            address: spec.listen,
            source,
        };
        let reservation = bound(spec.listen).map_err(failed)?;
        let address = reservation.local_addr().map_err(failed)?;
        let listener = listen(address).map_err(failed)?;
        Ok(Self {
            spec,
            address,
            reservation,
            listener,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `commands` end or `ended` is ready, then reports a last time. Runs inside a `LocalSet`.
    pub async fn run(
        self,
        mut commands: mpsc::Receiver<Command>,
        ended: impl Future<Output = ()>,
        mut report: impl FnMut(OriginStats),
    ) {
        let mut ended = std::pin::pin!(ended);
        let Self {
            spec,
            address,
            reservation: _reservation,
            listener,
        } = self;
        let newsroom = if spec.neighbour {
            Newsroom::neighbour(spec.seed)
        } else {
            Newsroom::new(spec.seed)
        };
        let (fault, faults) = watch::channel(Fault::None);
        let server = Rc::new(Server {
            site: RefCell::new(Site::new(newsroom, spec.dialect, spec.max_age_s, spec.seed)),
            workers: Workers::new(spec.workers, spec.backlog, Instant::now()),
            service: RefCell::new(Chance::stream(spec.seed, "service times")),
            books: RefCell::new(Books::default()),
            capacity: spec.workers,
            service_factor: spec.service_factor,
        });
        let mut listener = Some(listener);
        let mut ticks = interval(Duration::from_millis(spec.report_every_ms));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                accepted = accept(&mut listener, &faults, address) => server.clone().admit(accepted, faults.clone()),
                command = commands.recv() => match command {
                    Some(Command { fault: next }) => {
                        if next == Fault::Refuse {
                            listener = None;
                        }
                        fault.send_replace(next);
                    }
                    None => break,
                },
                () = &mut ended => break,
                _ = ticks.tick() => report(server.stats(*faults.borrow(), false)),
            }
        }
        report(server.stats(*faults.borrow(), true));
    }
}

/// The next connection. Opens the listener again when the fault that closed it is over. Cancel-safe.
async fn accept(
    listener: &mut Option<TcpListener>,
    faults: &watch::Receiver<Fault>,
    address: SocketAddr,
) -> TcpStream {
    let mut faults = faults.clone();
    loop {
        if faults
            .wait_for(|fault| *fault != Fault::Refuse)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
        let Some(open) = listener else {
            match listen(address) {
                Ok(opened) => *listener = Some(opened),
                Err(_) => tokio::time::sleep(REOPEN_EVERY).await,
            }
            continue;
        };
        match open.accept().await {
            Ok((stream, _)) => return stream,
            // Out of files: waiting is all there is to do.
            Err(_) => tokio::time::sleep(REOPEN_EVERY).await,
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(LISTEN_BACKLOG)
}

/// What no other module counts.
#[derive(Debug, Default)]
struct Books {
    requests: u64,
    by_kind: BTreeMap<Kind, u64>,
    errors: u64,
    backlog_full: u64,
    distinct: HashSet<u64>,
    unwanted: u64,
    uploads: u64,
    upload_bytes: u64,
    open: usize,
    connections: u64,
    connections_refused: u64,
}

#[derive(Debug)]
struct Server {
    site: RefCell<Site>,
    workers: Workers,
    service: RefCell<Chance>,
    books: RefCell<Books>,
    capacity: usize,
    service_factor: f64,
}

/// Whether the connection may carry another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Keep,
    Close,
}

impl Server {
    fn stats(&self, fault: Fault, last: bool) -> OriginStats {
        let load = self.workers.load_at(Instant::now());
        let (books, deeds) = (self.books.borrow(), self.site.borrow().deeds);
        OriginStats {
            unix_ms: clock::unix_ms(),
            monotonic_ms: clock::monotonic().as_millis() as u64,
            capacity: self.capacity,
            in_flight: load.in_flight,
            peak_in_flight: load.peak,
            recent_peak_in_flight: load.recent_peak,
            over_capacity_ms: load.over_capacity.as_millis() as u64,
            requests: books.requests,
            by_kind: books.by_kind.clone(),
            errors: books.errors,
            backlog_full: books.backlog_full,
            distinct_targets: books.distinct.len() as u64,
            unwanted: books.unwanted,
            logins: deeds.logins,
            logins_refused: deeds.logins_refused,
            publishes: deeds.publishes,
            uploads: books.uploads,
            upload_bytes: books.upload_bytes,
            connections: books.connections,
            connections_refused: books.connections_refused,
            fault,
            last,
        }
    }

    fn admit(self: Rc<Self>, stream: TcpStream, faults: watch::Receiver<Fault>) {
        {
            let mut books = self.books.borrow_mut();
            if books.open == CONNECTIONS_MAX {
                books.connections_refused += 1;
                return;
            }
            books.open += 1;
            books.connections += 1;
        }
        tokio::task::spawn_local(async move {
            // Without it the last part of a page waits for an acknowledgement; a socket that refuses is closed soon.
            if stream.set_nodelay(true).is_ok() {
                let mut connection = Connection::new(stream);
                let ended = self.converse(&mut connection, faults).await;
                if let Err(Ended::Malformed) = ended {
                    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    // The connection ends whether or not the peer hears why.
                    connection.write(answer).await.unwrap_or_default();
                }
            }
            self.books.borrow_mut().open -= 1;
        });
    }

    async fn converse(
        &self,
        connection: &mut Connection,
        mut faults: watch::Receiver<Fault>,
    ) -> Result<(), Ended> {
        loop {
            let request = tokio::select! {
                request = timeout(KEEP_ALIVE, connection.request()) => match request {
                    Ok(request) => request?,
                    Err(_) => return Ok(()),
                },
                _ = faults.wait_for(|fault| *fault == Fault::Refuse) => return Ok(()),
            };
            match self.serve(connection, &request, &mut faults).await? {
                Next::Keep if request.keep_alive => {}
                Next::Keep | Next::Close => return Ok(()),
            }
        }
    }

    async fn serve(
        &self,
        connection: &mut Connection,
        request: &Request,
        faults: &mut watch::Receiver<Fault>,
    ) -> Result<Next, Ended> {
        let route = self.site.borrow().route(request);
        let kind = route.kind();
        {
            let mut books = self.books.borrow_mut();
            books.requests += 1;
            *books.by_kind.entry(kind).or_default() += 1;
            if books.distinct.len() < DISTINCT_MAX {
                books
                    .distinct
                    .insert(digest(0, &[request.target.as_bytes()]));
            }
        }
        let body = connection.body(request).await?;

        if *faults.borrow() == Fault::Hang {
            self.books.borrow_mut().errors += 1;
            // The sender lives as long as the server.
            faults
                .wait_for(|fault| *fault != Fault::Hang)
                .await
                .map(drop)
                .unwrap_or_default();
            return Ok(Next::Close);
        }
        if let Some(median_ms) = kind.service_ms() {
            let service = self.service_time(median_ms);
            if self.workers.hold(service).await.is_err() {
                self.books.borrow_mut().errors += 1;
                self.books.borrow_mut().backlog_full += 1;
                let answer = plain(503, "Service Unavailable\n");
                connection.write(&wire(&answer, request)).await?;
                return Ok(Next::Keep);
            }
        }
        match *faults.borrow() {
            Fault::None | Fault::Hang => {}
            Fault::Refuse => {
                self.books.borrow_mut().errors += 1;
                return Ok(Next::Close);
            }
            Fault::Error500 => {
                self.books.borrow_mut().errors += 1;
                let answer = plain(500, "There has been a critical error on this website.\n");
                connection.write(&wire(&answer, request)).await?;
                return Ok(Next::Keep);
            }
            Fault::Error200 => {
                self.books.borrow_mut().errors += 1;
                let answer = plain(200, "<h1>Error establishing a database connection</h1>\n");
                connection.write(&wire(&answer, request)).await?;
                return Ok(Next::Keep);
            }
            Fault::Truncate => {
                self.books.borrow_mut().errors += 1;
                let answer = self.site.borrow_mut().answer(
                    &route,
                    request,
                    &body.kept,
                    clock::unix_ms() / 1000,
                );
                let bytes = wire(&answer, request);
                let cut = bytes
                    .len()
                    .saturating_sub(answer.body.len().div_ceil(2))
                    .max(1);
                connection.write(&bytes[..cut]).await?;
                return Ok(Next::Close);
            }
        }
        match (&route, &request.websocket_key) {
            (Route::WebSocket, Some(key)) => {
                websocket::echo(connection, key).await?;
                return Ok(Next::Close);
            }
            (Route::Events, _) if request.method != Method::Head => {
                return events(connection, request, faults).await;
            }
            _ => {}
        }
        let mut answer =
            self.site
                .borrow_mut()
                .answer(&route, request, &body.kept, clock::unix_ms() / 1000);
        if matches!(route, Route::Upload | Route::Media) && answer.status == 200 {
            let mut books = self.books.borrow_mut();
            books.uploads += 1;
            books.upload_bytes += body.bytes;
            answer
                .fields
                .push(("Content-Type", "application/json".to_owned()));
            answer.body = received(body.bytes, &body.sum);
        }
        let written = connection.write(&wire(&answer, request)).await;
        if written.is_err() {
            self.books.borrow_mut().unwanted += 1;
        }
        written.map(|()| Next::Keep)
    }

    fn service_time(&self, median_ms: f64) -> Duration {
        let spread = (SERVICE_SIGMA * self.service.borrow_mut().normal()).exp();
        Duration::from_secs_f64(median_ms * spread * self.service_factor / 1_000.0)
    }
}

/// What came of an upload, so that its sender can tell whether all of it did.
pub fn received(bytes: u64, sum: &Crc) -> String {
    format!("{{\"bytes\":{bytes},\"crc32\":\"{:08x}\"}}\n", sum.sum())
}

/// One event at once and one every second, until the client leaves.
async fn events(
    connection: &mut Connection,
    request: &Request,
    faults: &watch::Receiver<Fault>,
) -> Result<Next, Ended> {
    let chunked = if request.http_1_1 {
        "Transfer-Encoding: chunked\r\n"
    } else {
        "Connection: close\r\n"
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n{chunked}\r\n"
    );
    connection.write(head.as_bytes()).await?;
    for number in 0..EVENTS_MAX {
        let event = format!("id: {number}\ndata: {{\"story\":{number}}}\n\n");
        let framed = if request.http_1_1 {
            format!("{:x}\r\n{event}\r\n", event.len())
        } else {
            event
        };
        connection.write(framed.as_bytes()).await?;
        let stirred = timeout(EVENT_EVERY, connection.stirred()).await.is_ok();
        if stirred || *faults.borrow() == Fault::Refuse {
            return Ok(Next::Close);
        }
    }
    connection
        .write(if request.http_1_1 { b"0\r\n\r\n" } else { b"" })
        .await?;
    Ok(Next::Keep)
}

fn plain(status: u16, body: &str) -> Answer {
    Answer {
        status,
        fields: vec![("Content-Type", "text/html; charset=UTF-8".to_owned())],
        body: body.to_owned(),
    }
}

fn wire(answer: &Answer, request: &Request) -> Vec<u8> {
    let reason = match answer.status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    };
    let mut bytes = Vec::with_capacity(answer.body.len() + 512);
    let mut line = |parts: [&str; 4]| {
        for part in parts {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
    };
    line(["HTTP/1.1 ", &answer.status.to_string(), " ", reason]);
    line(["Date: ", &site::http_date(clock::unix_ms() / 1000), "", ""]);
    for (name, value) in &answer.fields {
        line([name, ": ", value, ""]);
    }
    if answer.status != 304 {
        line(["Content-Length: ", &answer.body.len().to_string(), "", ""]);
    }
    if !request.keep_alive {
        line(["Connection: close", "", "", ""]);
    } else if !request.http_1_1 {
        line(["Connection: keep-alive", "", "", ""]);
    }
    line(["", "", "", ""]);
    if request.method != Method::Head && answer.status != 304 {
        bytes.extend_from_slice(answer.body.as_bytes());
    }
    bytes
}

/// The process: prints [`Line`]s, obeys [`Command`]s, ends with standard input or SIGTERM.
pub fn origin_main(spec: OriginSpec) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    runtime.block_on(LocalSet::new().run_until(async move {
        let origin = Origin::bind(spec)?;
        print(&Line::Listening {
            listening: origin.address(),
        })
        .context("standard output is closed")?;
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .context("cannot wait for SIGTERM")?;
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
                .context("cannot wait for SIGINT")?;
        std::thread::Builder::new()
            .name("commands".to_owned())
            .spawn(move || obey(io::stdin().lock(), &commands))
            .context("no thread for standard input")?;
        // A terminal's Ctrl-C reaches the whole group; whoever started us ends us when it is time.
        tokio::task::spawn_local(async move { while interrupt.recv().await.is_some() {} });
        let ended = async move { terminate.recv().await.map(drop).unwrap_or_default() };
        // Whoever started us and no longer listens ends us by closing standard input, too.
        origin
            .run(received, ended, |stats| {
                print(&Line::Stats(Box::new(stats))).unwrap_or_default()
            })
            .await;
        Ok(())
    }))
}

fn obey(mut input: impl BufRead, commands: &mpsc::Sender<Command>) {
    let mut line = String::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut input, COMMAND_BYTES_MAX).read_line(&mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        match serde_json::from_str(&line) {
            Ok(command) => {
                if commands.blocking_send(command).is_err() {
                    return;
                }
            }
            Err(error) => {
                // A drill that says what we do not understand must not go on as if it had been obeyed.
                eprintln!("not a command: {error}");
                return;
            }
        }
    }
}

fn print(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests;
