//! One client, from accept to close.
//!
//! The loop reads a head, and either answers at once from what lies in memory (a hit, a refusal), or lends the socket to hyper
//! for one exchange with the tap in between, or, when the client opens with the HTTP/2 preface, gives it away. Everything that ends
//! a connection early is a [`ClientFault`] and gets a short answer where one still makes sense.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::frames::PREFACE;
use crate::head::{self, ClientFault, Framing, Storage};
use crate::http2;
use crate::occupancy::Seat;
use crate::pages::ANSWER;
use crate::serve::{self, AtOnce, Client};
use crate::shard::Shard;
use crate::tap::{Exchange, Tap};
use crate::upgrade::Upgrade;
use crate::upload::Incoming;
use crate::wire::Wire;

/// After an answer to a fault we read and drop this much, this long, so that the answer arrives before the reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A kept connection that waits holds no larger buffer than a usual head needs.
const IDLE_BYTES_MAX: usize = 4 * 1024;

/// hyper's read and write buffers for one exchange; the response streams through.
const EXCHANGE_BUFFER_BYTES: usize = 64 * 1024;

/// What hyper reads without being told a number, and then on its stack; told any number, it allocates for that many.
const HYPER_FIELDS_MAX: usize = 100;

pub(crate) async fn serve<S>(io: S, peer: SocketAddr, shard: Rc<Shard>, seat: Seat)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (body_rate_min, write_rate_min) = {
        let running = shard.running();
        (
            running.plan.limits.body_rate_min,
            running.plan.limits.write_rate_min,
        )
    };
    let wire = Wire::new(io, body_rate_min, write_rate_min);
    let mut connection = Connection {
        client: Client::new(peer, shard),
        seat: Arc::new(seat),
        scanned: 0,
        out: BytesMut::new(),
    };
    let _ended = connection.run(wire).await;
}

struct Connection {
    client: Client,
    seat: Arc<Seat>,
    /// How much of the inbound bytes has been searched for the end of a head.
    scanned: usize,
    out: BytesMut,
}

enum Step {
    Incomplete,
    /// `out` and this body are the whole answer.
    Answer {
        head_len: usize,
        framing: Framing,
        body: Bytes,
        keep_alive: bool,
    },
    Exchange {
        head_len: usize,
        field_count: usize,
        framing: Framing,
        keep_alive: bool,
    },
    Http2,
    Fault(ClientFault),
    HangUp,
}

impl Connection {
    async fn run<S>(&mut self, mut wire: Wire<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let mut kept = false;
        loop {
            match self.next_step(&mut wire, kept).await? {
                Step::Incomplete | Step::HangUp => return Ok(()),
                Step::Http2 => {
                    let seat = Arc::clone(&self.seat);
                    http2::serve(self.client.clone(), wire, seat).await;
                    return Ok(());
                }
                Step::Fault(fault) => return self.refuse(wire, fault).await,
                Step::Answer {
                    head_len,
                    framing,
                    body,
                    keep_alive,
                } => {
                    bytes::Buf::advance(&mut wire.inbound, head_len);
                    let before = wire.bytes_out;
                    wire.write_both(&self.out, &body).await?;
                    self.client
                        .shard
                        .counters
                        .bytes_out
                        .add(wire.bytes_out - before);
                    self.out.clear();
                    if !keep_alive {
                        return close(wire, framing == Framing::None).await;
                    }
                }
                Step::Exchange {
                    head_len,
                    field_count,
                    framing,
                    keep_alive,
                } => match self.exchange(wire, head_len, field_count, framing).await? {
                    Some(returned) if keep_alive => wire = returned,
                    Some(returned) => return close(returned, true).await,
                    None => return Ok(()),
                },
            }
            kept = true;
            self.scanned = 0;
        }
    }

    /// Reads until there is something to do.
    async fn next_step<S>(&mut self, wire: &mut Wire<S>, kept: bool) -> io::Result<Step>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head_deadline = None;
        loop {
            let skip = if self.scanned == 0 {
                head::empty_line(&wire.inbound)
            } else {
                0
            };
            bytes::Buf::advance(&mut wire.inbound, skip);
            if !wire.inbound.is_empty() {
                match self.decide(&wire.inbound, kept) {
                    Step::Incomplete => {}
                    step => return Ok(step),
                }
            }
            if wire.inbound.is_empty() && wire.inbound.capacity() > IDLE_BYTES_MAX {
                wire.inbound = BytesMut::new();
            }
            let patience = self.client.shard.patience();
            let deadline = match head_deadline {
                Some(deadline) => deadline,
                None if wire.inbound.is_empty() && kept => Instant::now() + patience.keep_alive,
                None => *head_deadline.insert(Instant::now() + patience.header),
            };
            let idle = kept && wire.inbound.is_empty();
            let filled = tokio::select! {
                biased;
                filled = wire.fill(deadline) => filled,
                // A connection that has not asked for anything yet may be about to; its first request is answered.
                () = self.client.shard.drained(), if idle => return Ok(Step::HangUp),
            };
            match filled {
                Ok(0) => return Ok(Step::HangUp),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(if wire.inbound.is_empty() {
                        Step::HangUp
                    } else {
                        Step::Fault(ClientFault::HeadTooSlow)
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn decide(&mut self, inbound: &[u8], kept: bool) -> Step {
        if !kept && inbound[0] == PREFACE[0] {
            let seen = inbound.len().min(PREFACE.len());
            if inbound[..seen] == PREFACE[..seen] {
                return if seen == PREFACE.len() {
                    Step::Http2
                } else {
                    Step::Incomplete
                };
            }
        }
        let running = self.client.shard.running();
        let mut storage = Storage::new();
        let mut head = match head::parse(
            inbound,
            &mut self.scanned,
            &mut storage,
            &running.plan.limits,
        ) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::Incomplete,
            Err(fault) => return Step::Fault(fault),
        };
        head.keep_alive &= !self.client.shard.is_draining();
        match serve::at_once(&mut self.client, &running, &head, &mut self.out) {
            AtOnce::Answered { body, keep_alive } => Step::Answer {
                head_len: head.len,
                framing: head.framing,
                body,
                keep_alive,
            },
            AtOnce::Exchange => Step::Exchange {
                head_len: head.len,
                field_count: head.field_count(),
                framing: head.framing,
                keep_alive: head.keep_alive,
            },
            AtOnce::HangUp => Step::HangUp,
        }
    }

    /// Lends the socket to hyper for one request. `None`: the connection is over.
    async fn exchange<S>(
        &mut self,
        wire: Wire<S>,
        head_len: usize,
        field_count: usize,
        framing: Framing,
    ) -> io::Result<Option<Wire<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let _busy = self.client.shard.shared.busy();
        let exchange = Rc::new(Exchange::default());
        let upgrade: Rc<Cell<Option<Upgrade>>> = Rc::default();
        let before = wire.bytes_out;
        let tap = Tap::one_request(wire, head_len, framing, Rc::clone(&exchange));
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let client = self.client.clone();
            let exchange = Rc::clone(&exchange);
            let upgrade = Rc::clone(&upgrade);
            // hyper gives the socket back only from a connection that can be moved.
            Box::pin(async move {
                let version = request.version();
                let mut response =
                    serve::respond(&client, request.map(Incoming::Http1), &upgrade).await;
                // Of the rest of a body that nobody reads we would take the next head for a guess; and an HTTP/1.0 client knows the
                // end of an answer of unknown length by the end of the connection.
                let unread = !exchange.is_request_read() || is_misread(framing, &response);
                let endless =
                    version == Version::HTTP_10 && response.body().size_hint().exact().is_none();
                let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                if (unread || endless || client.shard.is_draining()) && !switching {
                    exchange.closes();
                    // Of an answer in its own version hyper does not tell an HTTP/1.0 client that the connection is kept.
                    if version == Version::HTTP_10 {
                        *response.version_mut() = version;
                    }
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(response.map(|body| Tracked {
                    body,
                    ended: Ended(exchange),
                }))
            })
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.max_buf_size(EXCHANGE_BUFFER_BYTES);
        if field_count > HYPER_FIELDS_MAX {
            builder.max_headers(head::FIELDS_MAX);
        }
        let mut connection = builder.serve_connection(tap, service);
        let result = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let parts = connection.into_parts();
        let complete = parts.io.is_complete();
        let mut wire = parts.io.into_wire();
        self.client
            .shard
            .counters
            .bytes_out
            .add(wire.bytes_out - before);
        if let Some(fault) = exchange.fault() {
            self.client.shard.fault(fault);
        }
        if let Some(upgrade) = upgrade.take() {
            if result.is_ok() {
                wire.inbound = prepend(&parts.read_buf, wire.inbound);
                upgrade.splice(wire).await;
            }
            return Ok(None);
        }
        if result.is_err() {
            return Ok(None);
        }
        if exchange.is_last() || !complete {
            close(wire, complete).await?;
            return Ok(None);
        }
        Ok(Some(wire))
    }

    async fn refuse<S>(&mut self, mut wire: Wire<S>, fault: ClientFault) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.client.shard.fault(fault);
        serve::fault_answer(fault, &mut self.out);
        wire.write_both(&self.out, &[]).await?;
        linger(wire).await
    }
}

/// Was it a body that we answered as not understood? hyper is stricter than the tap about what stands in a trailer, and says so by no
/// other way; after what two parsers read differently nothing is read.
fn is_misread(framing: Framing, response: &Response<Body>) -> bool {
    framing != Framing::None
        && response.status() == StatusCode::BAD_REQUEST
        && response.headers().contains_key(ANSWER)
}

/// After the last answer. A client that has sent all it announced and nothing else has nothing unread here, and the kernel
/// delivers the answer without us.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    wire: Wire<S>,
    request_read: bool,
) -> io::Result<()> {
    if request_read && wire.inbound.is_empty() {
        return Ok(());
    }
    linger(wire).await
}

/// Closes so that what we wrote arrives: a socket closed with unread bytes resets the connection and takes the answer along.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>) -> io::Result<()> {
    poll_fn(|cx| wire.poll_shutdown(cx)).await?;
    let deadline = Instant::now() + LINGER;
    let mut dropped = wire.inbound.len();
    while dropped < LINGER_BYTES_MAX {
        wire.inbound.clear();
        match wire.fill(deadline).await? {
            0 => break,
            bytes => dropped += bytes,
        }
    }
    Ok(())
}

fn prepend(first: &[u8], rest: BytesMut) -> BytesMut {
    if first.is_empty() {
        return rest;
    }
    let mut both = BytesMut::from(first);
    both.extend_from_slice(&rest);
    both
}

/// An answer's body; its end is told to the tap.
struct Tracked {
    body: Body,
    #[expect(dead_code, reason = "tells on drop")]
    ended: Ended,
}

/// Tells the tap, on drop, that hyper has taken the whole answer.
struct Ended(Rc<Exchange>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
