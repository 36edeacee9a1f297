//! Thousands of connections from thousands of addresses, cheaply.
//!
//! Readers, attackers and the edge share two cores in a drill, so what the generator burns the edge does not have. A general HTTP
//! client costs 30 to 60 µs a request; this one is a single `epoll` loop over non-blocking sockets without tasks, timers or
//! allocation on the usual path. It understands exactly as much HTTP as judging an answer needs: the status, how long the body
//! is, whether the connection stays open, and who says they answered. Anything it does not understand is a fault of the server,
//! never of the drill.
//!
//! Most of what is left is the kernel's: seven of eight instructions of a request on a new connection. So the first bytes are written
//! as soon as the connection is begun, which on this machine finds it established, and the loop asks to be woken for writing only
//! when they were not taken: one turn a request instead of two, here and in the server, which finds the request already there.
//!
//! A connection may speak HTTP/2 instead ([`http2`]); whoever opened it writes and hears the same, and names the stream where several
//! requests are out at once.
//!
//! The loop knows nothing of readers or attackers. They open connections, send bytes they have prepared, and hear [`Event`]s.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::guard::Target;

mod answer;
pub(crate) mod hpack;
pub(crate) mod http2;

pub use answer::{Answer, CacheStatus, Encoding, OwnAnswer};
use answer::{KEPT_BYTES_MAX, Parsed, Parser};
pub use http2::PseudoFields;
use http2::Session;

/// One system call takes a whole page.
const READ_BYTES: usize = 64 * 1024;
/// Handled before the schedule is looked at again: 256 answers take about 2 ms.
const EVENTS_MAX: usize = 256;

/// A connection; one that was closed is never mistaken for its successor in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    place: u32,
    generation: u32,
}

impl Key {
    /// Below the number of connections ever open at once: an index for the caller's own table.
    pub fn place(self) -> usize {
        self.place as usize
    }

    fn data(self) -> epoll::EventData {
        epoll::EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.place))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A complete answer: read it with [`Wire::answer`], then send again or close.
    Answered(Key),
    /// The connection is gone; close it to free its place.
    Ended(Key, Ended),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It never opened.
    Refused,
    /// The server closed it. `answering`: in the middle of an answer.
    Closed { answering: bool },
    /// What came is not HTTP.
    Broken,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This machine has no more ports, files or memory for us: the load cannot be offered.
    #[error("this machine cannot open another connection")]
    Exhausted(#[source] io::Error),
    #[error("the server refused the connection")]
    Refused(#[source] io::Error),
}

/// What is done with bytes that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Parsed; bodies kept.
    Keep,
    /// Parsed; bodies counted.
    Count,
    /// Thrown away unparsed.
    Drain,
    /// Left in the kernel, so that the server finds its window closed.
    Ignore,
}

impl Use {
    /// Failures are always told.
    fn interest(self) -> epoll::EventFlags {
        match self {
            Use::Ignore => epoll::EventFlags::ET,
            Use::Keep | Use::Count | Use::Drain => {
                epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    usage: Use,
    open: bool,
    /// Woken when the kernel takes bytes again.
    writes_later: bool,
    unsent: Vec<u8>,
    unsent_at: usize,
    speech: Speech,
}

#[derive(Debug)]
enum Speech {
    Http1(Parser),
    Http2(Box<Session>),
}

impl Speech {
    /// The server has closed. `true`: that completed an answer.
    fn close(&mut self) -> bool {
        match self {
            Self::Http1(parser) => parser.close(),
            Self::Http2(_) => false,
        }
    }

    fn is_answering(&self) -> bool {
        match self {
            Self::Http1(parser) => parser.is_answering(),
            Self::Http2(session) => session.is_answering(),
        }
    }

    /// `false`: what came is not HTTP.
    fn parse(&mut self, bytes: &[u8], mut tell: impl FnMut()) -> bool {
        match self {
            Self::Http1(parser) => match parser.parse(bytes) {
                Parsed::More => true,
                Parsed::Answer => {
                    tell();
                    true
                }
                Parsed::Broken => false,
            },
            Self::Http2(session) => session.parse(bytes, tell).is_ok(),
        }
    }
}

#[derive(Debug)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub opened: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

pub struct Wire {
    epoll: OwnedFd,
    /// `epoll` counts in milliseconds; latencies of a tenth of one need a finer alarm.
    alarm: OwnedFd,
    alarm_at: Duration,
    /// One for each family of addresses that can be spoken.
    targets: Vec<SocketAddr>,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Buffers of closed connections, so that a connection a request does not allocate.
    spare: Vec<(Vec<u8>, Parser)>,
    /// Of the request that is being sent.
    frames: Vec<u8>,
    ready: Vec<epoll::Event>,
    read: Box<[u8]>,
    connections_max: usize,
    traffic: Traffic,
}

impl Wire {
    pub fn new(targets: &[Target], connections_max: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let data = epoll::EventData::new_u64(ALARM);
        epoll::add(
            &epoll,
            &alarm,
            data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self {
            epoll,
            alarm,
            alarm_at: Duration::ZERO,
            targets: targets.iter().map(|target| target.address()).collect(),
            places: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            frames: Vec::new(),
            ready: Vec::with_capacity(EVENTS_MAX),
            read: vec![0; READ_BYTES].into_boxed_slice(),
            connections_max,
            traffic: Traffic::default(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.open_connections() >= self.connections_max
    }

    pub fn open_connections(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Begins to connect. A full wire is the caller's to avoid; it answers as an exhausted machine does.
    pub fn open(&mut self, from: IpAddr, usage: Use) -> Result<Key, OpenError> {
        let (unsent, mut parser) = self.spare.pop().unwrap_or_default();
        parser.keeps = usage == Use::Keep;
        self.connect(from, usage, Speech::Http1(parser), unsent)
    }

    /// The same, to speak HTTP/2.
    pub fn open_http2(
        &mut self,
        from: IpAddr,
        usage: Use,
        pseudo: PseudoFields,
    ) -> Result<Key, OpenError> {
        let session = Session::new(usage == Use::Keep, pseudo);
        self.connect(from, usage, Speech::Http2(Box::new(session)), Vec::new())
    }

    fn connect(
        &mut self,
        from: IpAddr,
        usage: Use,
        speech: Speech,
        unsent: Vec<u8>,
    ) -> Result<Key, OpenError> {
        if self.is_full() {
            return Err(OpenError::Exhausted(io::Error::from(
                io::ErrorKind::QuotaExceeded,
            )));
        }
        let target = self
            .targets
            .iter()
            .find(|to| to.is_ipv4() == from.is_ipv4());
        let Some(target) = target.copied() else {
            let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
            return Err(OpenError::Exhausted(unreachable));
        };
        let socket = Socket::new(
            Domain::for_address(target),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )
        .map_err(OpenError::Exhausted)?;
        if usage == Use::Ignore {
            // The kernel's least, so that a page does not fit.
            socket
                .set_recv_buffer_size(1)
                .map_err(OpenError::Exhausted)?;
        }
        if from.is_ipv6() {
            // A whole range is local there; IPv6 lets only what an interface has be bound without asking.
            socket.set_freebind_v6(true).map_err(OpenError::Exhausted)?;
        }
        socket
            .bind(&SocketAddr::new(from, 0).into())
            .map_err(OpenError::Exhausted)?;
        if let Err(error) = socket.connect(&target.into()) {
            match Errno::from_io_error(&error) {
                Some(Errno::INPROGRESS) => {}
                Some(
                    Errno::ADDRNOTAVAIL
                    | Errno::ADDRINUSE
                    | Errno::AGAIN
                    | Errno::NOBUFS
                    | Errno::NOMEM,
                ) => {
                    return Err(OpenError::Exhausted(error));
                }
                _ => return Err(OpenError::Refused(error)),
            }
        }
        let connection = Connection {
            socket: socket.into(),
            usage,
            open: false,
            writes_later: false,
            unsent,
            unsent_at: 0,
            speech,
        };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push(Place {
                    generation: 0,
                    connection: None,
                });
                (self.places.len() - 1) as u32
            }
        };
        let slot = &mut self.places[place as usize];
        let key = Key {
            place,
            generation: slot.generation,
        };
        let added = epoll::add(
            &self.epoll,
            &connection.socket,
            key.data(),
            usage.interest(),
        );
        if let Err(error) = added {
            self.free.push(place);
            return Err(OpenError::Exhausted(error.into()));
        }
        slot.connection = Some(connection);
        self.traffic.opened += 1;
        Ok(key)
    }

    /// Sends a request, written as over HTTP/1.1, or keeps what the kernel does not take yet; says on which stream of HTTP/2 it went, 0
    /// over HTTP/1.1. `None`: the connection is gone.
    pub fn send(&mut self, key: Key, request: &[u8], head_only: bool) -> Option<u32> {
        match &mut connection(&mut self.places, key)?.speech {
            Speech::Http1(parser) => {
                parser.expect(head_only);
                self.push(key, request).then_some(0)
            }
            Speech::Http2(session) => {
                let mut frames = std::mem::take(&mut self.frames);
                frames.clear();
                let stream = session.ask(request, head_only, &mut frames);
                let sent = stream.is_ok() && self.push(key, &frames);
                self.frames = frames;
                stream.ok().filter(|_| sent)
            }
        }
    }

    /// Sends bytes without expecting an answer.
    pub fn push(&mut self, key: Key, bytes: &[u8]) -> bool {
        let Some(connection) = connection(&mut self.places, key) else {
            return false;
        };
        let sent = if connection.unsent.is_empty() {
            match (&connection.socket).write(bytes) {
                Ok(sent) => {
                    connection.open = true;
                    self.traffic.bytes_out += sent as u64;
                    sent
                }
                // Not established yet, or full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            }
        } else {
            0
        };
        if sent == bytes.len() {
            return true;
        }
        connection.unsent.extend_from_slice(&bytes[sent..]);
        if !connection.writes_later {
            connection.writes_later = true;
            let interest = connection.usage.interest() | epoll::EventFlags::OUT;
            return epoll::modify(&self.epoll, &connection.socket, key.data(), interest).is_ok();
        }
        true
    }

    /// Bytes that the kernel has not taken yet; 0 also for a connection that is gone.
    pub fn unsent(&self, key: Key) -> usize {
        self.connection(key).map_or(0, |connection| {
            connection.unsent.len() - connection.unsent_at
        })
    }

    /// `false`: closed since, and its place may be another's.
    pub fn has(&self, key: Key) -> bool {
        self.connection(key).is_some()
    }

    /// Takes a few bytes out of what has arrived, unparsed.
    pub fn sip(&mut self, key: Key, bytes_max: usize) {
        let bytes_max = bytes_max.min(self.read.len());
        if let Some(connection) = connection(&mut self.places, key) {
            // An end is reported by the next poll.
            if let Ok(read) = (&connection.socket).read(&mut self.read[..bytes_max]) {
                self.traffic.bytes_in += read as u64;
            }
        }
    }

    fn connection(&self, key: Key) -> Option<&Connection> {
        self.places
            .get(key.place as usize)
            .filter(|place| place.generation == key.generation)
            .and_then(|place| place.connection.as_ref())
    }

    /// The last answer on this connection; over HTTP/2 the first that was not forgotten.
    pub fn answer(&self, key: Key) -> Option<&Answer> {
        match &self.connection(key)?.speech {
            Speech::Http1(parser) => Some(&parser.answer),
            Speech::Http2(session) => session.answer(),
        }
    }

    /// The answer was dealt with. Over HTTP/2 more may have come meanwhile; over HTTP/1.1 the next request forgets it.
    pub fn forget_answer(&mut self, key: Key) {
        if let Some(connection) = connection(&mut self.places, key)
            && let Speech::Http2(session) = &mut connection.speech
        {
            session.forget_answer();
        }
    }

    /// `reset`: at once and without a trace, where waiting in TIME_WAIT would use up the ports of the machine.
    pub fn close(&mut self, key: Key, reset: bool) {
        let Some(place) = self
            .places
            .get_mut(key.place as usize)
            .filter(|place| place.generation == key.generation)
        else {
            return;
        };
        let Some(connection) = place.connection.take() else {
            return;
        };
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.place);
        if reset {
            // It fails only on a socket the peer has reset already, which is what we want.
            drop(socket2::SockRef::from(&connection.socket).set_linger(Some(Duration::ZERO)));
        }
        let Connection {
            mut unsent,
            speech,
            socket,
            ..
        } = connection;
        drop(socket);
        // Connections of HTTP/2 are opened seldom.
        let Speech::Http1(mut parser) = speech else {
            return;
        };
        unsent.clear();
        parser.clear();
        if self.spare.len() < EVENTS_MAX && unsent.capacity() + parser.capacity() < KEPT_BYTES_MAX {
            self.spare.push((unsent, parser));
        }
    }

    /// Waits for something to happen, at most until the moment `until` of [`crate::clock::monotonic`], and adds what did to
    /// `events`.
    pub fn poll(&mut self, until: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        if until != self.alarm_at {
            let timer = Itimerspec {
                it_interval: timespec(Duration::ZERO),
                it_value: timespec(until),
            };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &timer)?;
            self.alarm_at = until;
        }
        self.ready.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.ready),
            Some(&timespec(WAIT_MAX)),
        ) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for at in 0..self.ready.len() {
            let ready = self.ready[at];
            let data = ready.data.u64();
            if data == ALARM {
                self.alarm_at = Duration::ZERO;
                continue;
            }
            let key = Key {
                place: data as u32,
                generation: (data >> 32) as u32,
            };
            let Some(connection) = connection(&mut self.places, key) else {
                continue;
            };
            connection.advance(ready.flags, &mut self.read, &mut self.traffic, |heard| {
                events.push(match heard {
                    Heard::Answer => Event::Answered(key),
                    Heard::End(ended) => Event::Ended(key, ended),
                });
            });
            if let Speech::Http2(session) = &mut connection.speech {
                let owed = session.take_owed();
                if !owed.is_empty() {
                    // What fails here is heard as the connection's end.
                    self.push(key, &owed);
                }
            }
        }
        Ok(())
    }
}

/// What the alarm is called among the connections, of which none has this generation and place at once.
const ALARM: u64 = u64::MAX;

/// An alarm in the past never rings; this is how long one lasts that was set too late.
const WAIT_MAX: Duration = Duration::from_millis(100);

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn connection(places: &mut [Place], key: Key) -> Option<&mut Connection> {
    places
        .get_mut(key.place as usize)
        .filter(|place| place.generation == key.generation)
        .and_then(|place| place.connection.as_mut())
}

enum Heard {
    Answer,
    End(Ended),
}

impl Connection {
    fn advance(
        &mut self,
        flags: epoll::EventFlags,
        buffer: &mut [u8],
        traffic: &mut Traffic,
        mut hear: impl FnMut(Heard),
    ) {
        let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        if !self.open {
            if failed {
                return hear(Heard::End(Ended::Refused));
            }
            self.open = flags.intersects(epoll::EventFlags::OUT | epoll::EventFlags::IN);
        }
        if self.open && self.unsent_at < self.unsent.len() {
            // What fails here fails below too, where it is reported.
            if let Ok(sent) = (&self.socket).write(&self.unsent[self.unsent_at..]) {
                traffic.bytes_out += sent as u64;
                self.unsent_at += sent;
            }
            if self.unsent_at == self.unsent.len() {
                self.unsent.clear();
                self.unsent_at = 0;
            }
        }
        if self.usage == Use::Ignore {
            if failed {
                hear(Heard::End(Ended::Closed { answering: false }));
            }
            return;
        }
        let closing = failed || flags.contains(epoll::EventFlags::RDHUP);
        if !closing && !flags.contains(epoll::EventFlags::IN) {
            return;
        }
        loop {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) if self.speech.close() => return hear(Heard::Answer),
                Ok(0) | Err(_) => {
                    return hear(Heard::End(Ended::Closed {
                        answering: self.speech.is_answering(),
                    }));
                }
                Ok(read) => {
                    traffic.bytes_in += read as u64;
                    let is_http = self.usage == Use::Drain
                        || self.speech.parse(&buffer[..read], || hear(Heard::Answer));
                    if !is_http {
                        return hear(Heard::End(Ended::Broken));
                    }
                    // A short read has emptied the socket; a close that follows is an event of its own unless it is this one.
                    if read < buffer.len() && !closing {
                        return;
                    }
                }
            }
        }
    }
}
