//! Two connections joined after `101 Switching Protocols`.
//!
//! From here on the bytes are a protocol between the reader's browser and the newsroom's server (WebSocket, the only one
//! the edge lets through), so nothing is parsed: 8 KiB at a time each way, and an end to silence, because a connection
//! nobody uses is a slot somebody else needs.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

/// Live-blog and comment messages are below 1 KB. Two of these are all the memory a spliced pair has of ours.
const BUFFER_BYTES: usize = 8 * 1024;

/// One side has said its last; a WebSocket's other side says its own within a round trip.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpliceLimits {
    /// Longest time without a byte in either direction. Browsers and servers ping every 20 to 60 s.
    pub idle_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceEnd {
    /// The client ended its side first.
    ClientClosed,
    OriginClosed,
    Idle,
    /// Reading or writing one of them failed.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spliced {
    pub to_origin_bytes: u64,
    pub to_client_bytes: u64,
    pub end: SpliceEnd,
}

/// Copies until both sides have ended, one breaks, or neither says anything for too long. Closes both on return.
pub async fn splice<C, O>(client: C, origin: O, limits: SpliceLimits) -> Spliced
where
    C: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (origin_read, origin_write) = tokio::io::split(origin);
    let pulse = Pulse {
        started: Instant::now(),
        last_millis: AtomicU64::new(0),
    };
    let (to_origin, to_client) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = {
        let mut up = pin!(pump(client_read, origin_write, &to_origin, &pulse));
        let mut down = pin!(pump(origin_read, client_write, &to_client, &pulse));
        let end = tokio::select! {
            ended = &mut up => ended.map_or(SpliceEnd::Broken, |()| SpliceEnd::ClientClosed),
            ended = &mut down => ended.map_or(SpliceEnd::Broken, |()| SpliceEnd::OriginClosed),
            () = pulse.stops(limits.idle_timeout) => SpliceEnd::Idle,
        };
        let last_words = HALF_CLOSED_MAX.min(limits.idle_timeout);
        match end {
            SpliceEnd::ClientClosed => {
                tokio::select! { _ = down => {}, () = pulse.stops(last_words) => {} }
            }
            SpliceEnd::OriginClosed => {
                tokio::select! { _ = up => {}, () = pulse.stops(last_words) => {} }
            }
            SpliceEnd::Idle | SpliceEnd::Broken => {}
        }
        end
    };
    Spliced {
        to_origin_bytes: to_origin.into_inner(),
        to_client_bytes: to_client.into_inner(),
        end,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
    pulse: &Pulse,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        moved.fetch_add(read as u64, Ordering::Relaxed);
        pulse.beat();
    }
}

struct Pulse {
    started: Instant,
    last_millis: AtomicU64,
}

impl Pulse {
    fn beat(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    /// Returns when no beat came for this long.
    async fn stops(&self, after: Duration) {
        loop {
            let last =
                self.started + Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
            let deadline = last + after;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}
