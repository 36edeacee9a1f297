//! Bytes in: one listener a shard on the same port, spread by the kernel (`SO_REUSEPORT`), so that accepting needs no lock.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::connection;
use crate::shard::Shard;

/// Connections the kernel holds for us while a shard is busy; the kernel cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// When the process is out of files, accepting again at once would spin.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(50);

/// Connections taken in a row before others get their turn.
const ACCEPTS_IN_A_ROW: usize = 32;

pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Nagle would hold the tail of a page for the client's delayed ACK. Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Only a socket that listens gets its share of connections, so all are bound before the first listens.
pub(crate) fn listen(socket: Socket) -> io::Result<std::net::TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(crate) async fn accept(listener: TcpListener, shard: Rc<Shard>) {
    let mut in_a_row = 0;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client left between the handshake and our turn, or files ran out; neither ends the listener.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) {
                    shard.counters.accept_errors.add(1);
                    tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                }
                continue;
            }
        };
        let Some(seat) = shard.sit(peer.ip()) else {
            shard.counters.turned_away_connections.add(1);
            continue;
        };
        let shard_of_connection = Rc::clone(&shard);
        tokio::task::spawn_local(connection::serve(stream, peer, shard_of_connection, seat));
        in_a_row += 1;
        if in_a_row % ACCEPTS_IN_A_ROW == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_do_not_wait_to_fill_a_segment() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listen(socket).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
