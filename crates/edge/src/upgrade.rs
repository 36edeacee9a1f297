//! A connection that stops being HTTP: WebSocket, once the origin has agreed with 101.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::admission::StreamSlot;
use crate::wire::Wire;

/// The origin's half, waiting for the client's 101 to be written.
pub struct Upgrade {
    pub origin: crate::origin::Tunnel,
    /// Streams have a cap of their own; held until either side closes.
    pub slot: StreamSlot,
}

impl Upgrade {
    pub async fn splice<S: AsyncRead + AsyncWrite + Unpin>(self, wire: Wire<S>) {
        let Self { origin, slot } = self;
        let (client, read_ahead) = wire.into_parts();
        origin.splice(client, read_ahead.freeze()).await;
        drop(slot);
    }
}
