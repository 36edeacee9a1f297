//! A new TCP connection to the origin.
//!
//! The name is asked for again every half minute, and when the answer fails the addresses known last are used: an attack
//! that takes the newsroom's name server down must not take its site down through us. The address that worked last is tried
//! first; a name with a dead IPv6 address costs its share of the timeout once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::OriginError;

/// How long addresses are believed without asking again. Operators move servers with TTLs of minutes.
const RESOLVED_AGE_MAX: Duration = Duration::from_secs(30);

/// An origin behind more addresses than this has a balancer of its own.
const ADDRESSES_MAX: usize = 4;

pub(super) struct Connector {
    host: String,
    port: u16,
    known: Mutex<Known>,
}

#[derive(Default, Clone)]
struct Known {
    addresses: Vec<SocketAddr>,
    asked_at: Option<Instant>,
}

impl Connector {
    pub(super) fn new(authority: &Authority) -> Self {
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = authority.port_u16().unwrap_or(80);
        let known = match host.parse::<IpAddr>() {
            Ok(ip) => Known {
                addresses: vec![SocketAddr::new(ip, port)],
                asked_at: None,
            },
            Err(_) => Known::default(),
        };
        Self {
            host,
            port,
            known: Mutex::new(known),
        }
    }

    pub(super) async fn connect(&self, within: Duration) -> Result<TcpStream, OriginError> {
        let deadline = Instant::now() + within;
        let addresses = self.addresses(within).await?;
        let mut last = OriginError::ConnectTimedOut;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    if tried > 0 {
                        self.prefer(*address);
                    }
                    // A request is one write; waiting to fill a segment only delays it. Failing to say so is no failure.
                    drop(stream.set_nodelay(true));
                    return Ok(stream);
                }
                Ok(Err(error)) if is_ours(&error) => return Err(OriginError::NoSocket(error)),
                Ok(Err(error)) => last = OriginError::Connect(error),
                Err(_) => last = OriginError::ConnectTimedOut,
            }
        }
        Err(last)
    }

    async fn addresses(&self, within: Duration) -> Result<Vec<SocketAddr>, OriginError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now = Instant::now();
        let literal = !known.addresses.is_empty() && known.asked_at.is_none();
        let fresh = known
            .asked_at
            .is_some_and(|asked| now.saturating_duration_since(asked) < RESOLVED_AGE_MAX);
        if literal || (fresh && !known.addresses.is_empty()) {
            return Ok(known.addresses);
        }
        let asked = timeout(
            within,
            tokio::net::lookup_host((self.host.as_str(), self.port)),
        )
        .await;
        let found: Vec<SocketAddr> = match asked {
            Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
            Ok(Err(error)) if is_ours(&error) && known.addresses.is_empty() => {
                return Err(OriginError::NoSocket(error));
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let addresses = if found.is_empty() {
            known.addresses
        } else {
            found
        };
        if addresses.is_empty() {
            return Err(OriginError::Resolve);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known {
            addresses: addresses.clone(),
            asked_at: Some(now),
        };
        Ok(addresses)
    }

    fn prefer(&self, address: SocketAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.addresses.iter().position(|known| *known == address) {
            known.addresses[..=at].rotate_right(1);
        }
    }
}

/// Out of files, ports or memory: the origin has no part in it and must not be judged by it.
fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, OutOfMemory, PermissionDenied, QuotaExceeded};
    // EMFILE, ENFILE, ENOBUFS have no kind of their own.
    matches!(error.raw_os_error(), Some(24 | 23 | 105))
        || matches!(
            error.kind(),
            AddrNotAvailable | OutOfMemory | PermissionDenied | QuotaExceeded
        )
}
