//! Who holds a connection, and how patient we can afford to be.
//!
//! Generous in calm: a dormitory or a mobile carrier shares one address, and an idle connection costs 6 KB. Only when
//! sockets run short does patience shrink, for everybody alike, so that slow connections make room for readers who arrive.
//! What HTTP/2 lets one socket begin a hundredfold is counted here as bytes, in one sum for all and in one for each address. Where that
//! runs short, patience shrinks first with whoever has the least [`Claim`].
//! The table holds an address only while it is connected: it is bounded by [`Limits::connections_max`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::budget::{Budget, HTTP2_BYTES_MAX, HTTP2_BYTES_PER_ADDRESS_MAX, Held};
use crate::plan::Limits;

/// Above this share of `connections_max` sockets are scarce, and above this share of [`HTTP2_BYTES_MAX`] what HTTP/2 may hold.
const SCARCE_PERCENT: usize = 80;

/// Above this share of [`HTTP2_BYTES_MAX`] connections go whose last request a rule hit. Half is left for everybody else: bots that come by
/// the thousand a second fill a fifth before a second is over, and then there is none for the readers who come in it.
const SUSPECT_PERCENT: usize = 50;
/// ... and above this share those whose last request was told to wait: without a rule, most of a flood is.
const TOLD_TO_WAIT_PERCENT: usize = 65;

/// What remains of a limit when sockets are scarce.
const SCARCE_HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const SCARCE_KEEP_ALIVE: Duration = Duration::from_secs(1);
const SCARCE_PER_ADDRESS: usize = 64;
/// Of a suspect's connection: requests that were sent together arrive within it. One that is closed between them comes again for each.
const SUSPECT_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Locks, so that shards seldom meet.
const PARTS: usize = 16;

pub struct Occupancy {
    connections: AtomicUsize,
    parts: [Mutex<Part>; PARTS],
    http2: Arc<Budget>,
}

type Part = HashMap<IpAddr, Here, foldhash::fast::RandomState>;

/// What one address has.
#[derive(Default)]
struct Here {
    connections: usize,
    http2_bytes: u64,
}

/// What an HTTP/2 connection or stream takes, given back on drop.
pub struct Http2Hold {
    held: Held,
    bytes: u64,
    seat: Arc<Seat>,
}

/// A place for one connection, given back on drop.
pub struct Seat {
    occupancy: Arc<Occupancy>,
    address: IpAddr,
}

/// How long a client may take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub header: Duration,
    pub keep_alive: Duration,
}

/// What came of the last request on a connection of HTTP/2: what speaks for keeping it where room runs short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Claim {
    /// Answered, or nothing was asked yet.
    #[default]
    Served,
    ToldToWait,
    /// A rule that is acted on hit it.
    Suspect,
}

impl Claim {
    /// Of [`HTTP2_BYTES_MAX`]; above, room is short for it.
    fn percent_max(self) -> usize {
        match self {
            Self::Served => SCARCE_PERCENT,
            Self::ToldToWait => TOLD_TO_WAIT_PERCENT,
            Self::Suspect => SUSPECT_PERCENT,
        }
    }
}

impl Patience {
    fn new(is_scarce: bool, limits: &Limits) -> Self {
        let (header, keep_alive) = (limits.header_timeout, limits.keep_alive_timeout);
        if is_scarce {
            Self {
                header: header.min(SCARCE_HEADER_TIMEOUT),
                keep_alive: keep_alive.min(SCARCE_KEEP_ALIVE),
            }
        } else {
            Self { header, keep_alive }
        }
    }
}

impl Default for Occupancy {
    fn default() -> Self {
        Self {
            connections: AtomicUsize::new(0),
            parts: Default::default(),
            http2: Budget::new(HTTP2_BYTES_MAX),
        }
    }
}

impl Occupancy {
    /// `None`: no room, for anybody or for this address.
    pub fn sit(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Seat> {
        let address = address.to_canonical();
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        let per_address_max = if is_scarce(taken, limits) {
            limits.connections_per_address_max.min(SCARCE_PER_ADDRESS)
        } else {
            limits.connections_per_address_max
        };
        let mut part = self.part(address);
        let here = part.get(&address).map_or(0, |here| here.connections);
        if taken >= limits.connections_max || here >= per_address_max {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        part.entry(address).or_default().connections += 1;
        drop(part);
        Some(Seat {
            occupancy: Arc::clone(self),
            address,
        })
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What HTTP/2 holds now.
    pub fn http2_bytes(&self) -> u64 {
        self.http2.held()
    }

    pub fn patience(&self, limits: &Limits) -> Patience {
        Patience::new(is_scarce(self.connections(), limits), limits)
    }

    /// With a connection of HTTP/2, of which there is room for fewer: bots that each keep a quiet one would leave no reader any.
    pub fn http2_patience(&self, limits: &Limits, claim: Claim) -> Patience {
        let is_short = self.is_http2_short(claim);
        let is_scarce = is_short || is_scarce(self.connections(), limits);
        let mut patience = Patience::new(is_scarce, limits);
        if is_short && claim == Claim::Suspect {
            patience.keep_alive = patience.keep_alive.min(SUSPECT_KEEP_ALIVE);
        }
        patience
    }

    pub fn is_http2_short(&self, claim: Claim) -> bool {
        self.http2_bytes() * 100 >= HTTP2_BYTES_MAX * claim.percent_max() as u64
    }

    fn part(&self, address: IpAddr) -> MutexGuard<'_, Part> {
        let last = match address {
            IpAddr::V4(v4) => v4.octets()[3],
            // The interface part is the attacker's to choose, and so is its spread over the locks; that harms nobody.
            IpAddr::V6(v6) => v6.octets()[15],
        };
        self.parts[usize::from(last) % PARTS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_scarce(connections: usize, limits: &Limits) -> bool {
    connections.saturating_mul(100) >= limits.connections_max.saturating_mul(SCARCE_PERCENT)
}

impl Seat {
    /// `None`: so much is not left, for anybody or, when it is `one_of_many`, for this address.
    pub fn hold_http2(self: &Arc<Self>, bytes: usize, one_of_many: bool) -> Option<Http2Hold> {
        let held = self.occupancy.http2.try_hold(bytes)?;
        let bytes = bytes as u64;
        let mut part = self.occupancy.part(self.address);
        let here = part.get_mut(&self.address)?;
        if one_of_many && here.http2_bytes + bytes > HTTP2_BYTES_PER_ADDRESS_MAX {
            return None;
        }
        here.http2_bytes += bytes;
        drop(part);
        Some(Http2Hold {
            held,
            bytes,
            seat: Arc::clone(self),
        })
    }
}

impl Http2Hold {
    /// More, whatever is left: for what has been begun.
    pub fn add(&mut self, bytes: usize) {
        self.held.add(bytes);
        self.bytes += bytes as u64;
        let mut part = self.seat.occupancy.part(self.seat.address);
        if let Some(here) = part.get_mut(&self.seat.address) {
            here.http2_bytes += bytes as u64;
        }
    }
}

impl Drop for Http2Hold {
    fn drop(&mut self) {
        let mut part = self.seat.occupancy.part(self.seat.address);
        if let Some(here) = part.get_mut(&self.seat.address) {
            here.http2_bytes -= self.bytes;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.occupancy.connections.fetch_sub(1, Ordering::Relaxed);
        let mut part = self.occupancy.part(self.address);
        if let Some(here) = part.get_mut(&self.address) {
            here.connections -= 1;
            if here.connections == 0 {
                part.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_max: 100,
            connections_per_address_max: 70,
            ..Limits::default()
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 1, 0, last])
    }

    #[test]
    fn one_address_cannot_take_every_seat() {
        let occupancy = Arc::new(Occupancy::default());
        let seats: Vec<_> = (0..200)
            .filter_map(|_| occupancy.sit(address(1), &limits()))
            .collect();
        assert_eq!(seats.len(), 70);
        assert!(occupancy.sit(address(2), &limits()).is_some());
    }

    #[test]
    fn seats_come_back_and_nothing_is_remembered() {
        let occupancy = Arc::new(Occupancy::default());
        for round in 0..3 {
            let seats: Vec<_> = (0..=255u8)
                .filter_map(|last| occupancy.sit(address(last), &limits()))
                .collect();
            assert_eq!(seats.len(), 100, "round {round}");
            drop(seats);
            assert_eq!(occupancy.connections(), 0);
            assert_eq!(
                occupancy
                    .parts
                    .iter()
                    .map(|part| part.lock().unwrap().len())
                    .sum::<usize>(),
                0
            );
        }
    }

    #[test]
    fn one_address_cannot_take_all_of_http2_and_a_trusted_proxy_can() {
        let occupancy = Arc::new(Occupancy::default());
        let sit = |last| Arc::new(occupancy.sit(address(last), &limits()).unwrap());
        const MIB: usize = 1024 * 1024;
        let take = |seat: &Arc<Seat>, one_of_many| -> Vec<Http2Hold> {
            std::iter::from_fn(|| seat.hold_http2(MIB, one_of_many)).collect()
        };
        let attacker = [sit(1), sit(1)];
        let mut held = take(&attacker[0], true);
        assert_eq!(held.len(), 64);
        assert!(take(&attacker[1], true).is_empty(), "by another connection");
        let proxied = take(&sit(2), false);
        assert_eq!(proxied.len(), 192);
        assert!(take(&sit(3), true).is_empty());
        held.truncate(1);
        held[0].add(MIB);
        drop(proxied);
        assert_eq!(occupancy.http2_bytes(), 2 * MIB as u64);
        assert_eq!(take(&attacker[1], true).len(), 62);
        drop((held, attacker));
        assert_eq!(occupancy.http2_bytes(), 0);
        assert!(
            occupancy
                .parts
                .iter()
                .all(|part| part.lock().unwrap().is_empty())
        );
    }

    #[test]
    fn patience_shrinks_when_sockets_are_scarce() {
        let occupancy = Arc::new(Occupancy::default());
        let calm = occupancy.patience(&limits());
        assert_eq!(
            calm,
            Patience {
                header: Duration::from_secs(10),
                keep_alive: Duration::from_secs(30)
            }
        );
        let seats: Vec<_> = (0..80u8)
            .filter_map(|last| occupancy.sit(address(last), &limits()))
            .collect();
        assert_eq!(seats.len(), 80);
        assert_eq!(
            occupancy.patience(&limits()),
            Patience {
                header: SCARCE_HEADER_TIMEOUT,
                keep_alive: SCARCE_KEEP_ALIVE
            }
        );
    }

    #[test]
    fn whoever_has_the_least_claim_goes_first_when_http2_runs_short() {
        let occupancy = Arc::new(Occupancy::default());
        let seat = Arc::new(occupancy.sit(address(1), &limits()).unwrap());
        let calm = Duration::from_secs(30);
        let in_turn = [Claim::Suspect, Claim::ToldToWait, Claim::Served];
        let mut held = Vec::new();
        for (percent, keep_alive) in [
            (49, [calm, calm, calm]),
            (50, [SUSPECT_KEEP_ALIVE, calm, calm]),
            (65, [SUSPECT_KEEP_ALIVE, SCARCE_KEEP_ALIVE, calm]),
            (
                80,
                [SUSPECT_KEEP_ALIVE, SCARCE_KEEP_ALIVE, SCARCE_KEEP_ALIVE],
            ),
        ] {
            let bytes = (HTTP2_BYTES_MAX * percent).div_ceil(100) - occupancy.http2_bytes();
            held.push(seat.hold_http2(bytes as usize, false).unwrap());
            let patience =
                in_turn.map(|claim| occupancy.http2_patience(&limits(), claim).keep_alive);
            assert_eq!(patience, keep_alive, "{percent} %");
        }
    }

    #[test]
    fn a_v4_address_in_v6_clothes_is_the_same_address() {
        let occupancy = Arc::new(Occupancy::default());
        let limits = Limits {
            connections_per_address_max: 1,
            ..limits()
        };
        let seat = occupancy.sit("::ffff:127.1.0.1".parse().unwrap(), &limits);
        assert!(seat.is_some());
        assert!(occupancy.sit(address(1), &limits).is_none());
    }
}
