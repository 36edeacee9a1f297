//! A connection that stops being HTTP: WebSocket, once the origin has agreed with 101.

use std::io::Cursor;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::admission::Outcome;
use crate::origin::{SpliceLimits, splice};
use crate::place::Place;
use crate::wire::Wire;

/// Browsers and servers ping every 20 to 60 s; two missed and somebody has gone.
const IDLE: Duration = Duration::from_secs(120);

/// The origin's half, waiting for the client's 101 to be written.
pub(crate) struct Upgrade {
    pub origin: Upgraded,
    /// Streams have a cap of their own; held until either side closes.
    pub place: Place,
}

impl Upgrade {
    pub(crate) async fn splice<S: AsyncRead + AsyncWrite + Unpin>(self, wire: Wire<S>) {
        let (io, read_ahead) = wire.into_parts();
        let (read, write) = tokio::io::split(io);
        let client = tokio::io::join(Cursor::new(read_ahead).chain(read), write);
        splice(
            client,
            TokioIo::new(self.origin),
            SpliceLimits { idle_timeout: IDLE },
        )
        .await;
        self.place.finish(Outcome::ANSWERED);
    }
}
