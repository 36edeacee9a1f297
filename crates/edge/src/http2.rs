//! One HTTP/2 connection, from the preface to its end.
//!
//! Over HTTP/2 everything that makes HTTP/1.1 safe against slow clients is gone: a hundred requests share one socket, a request
//! that stands still is not a socket that stands still, and a stream costs its sender some twenty bytes and us some kilobytes. So
//! this loop holds the frame library itself and adds three things. Whom each stream waits for is known, and the floors in bytes a
//! second that hold for a connection of HTTP/1.1 hold here for a stream ([`flows`]). What connections and streams take is counted
//! in one sum for all and in one for each address; a stream beyond it is refused before anything is done for it, and a
//! browser then sends the request again. And a client that asks whether it may send its body is told so, when somebody wants it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use self::flows::{Cut, Flow, Flows, Open};
use crate::body::{Body, BodyError};
use crate::clock::UnixMillis;
use crate::frames::FrameWatch;
use crate::head::ClientFault;
use crate::occupancy::{Claim, Http2Hold, Patience, Seat};
use crate::serve::{self, Client};
use crate::shard::Shard;
use crate::upload::Incoming;
use crate::wire::{PACE_WINDOW, Wire};

mod flows;

/// What one stream may send before we take it: enough for 20 Mbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// ... and all streams of a connection. Uploads that their origin does not take hold their windows; sixteen of them must not
/// make a seventeenth look slow.
const CONNECTION_WINDOW_BYTES: u32 = 16 * STREAM_WINDOW_BYTES;

/// Of an answer that the socket has not taken, for each stream: two frames.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Streams reset by the client before we looked, streams we reset for its errors (MadeYouReset) before we hang up, and streams
/// we refused of which late frames are still known.
///
/// The frame library counts with the second a stream that we refuse because too many are open. A client may open as many as it
/// likes until it has read our settings, so that as many again as we take are no reason to hang up: they are refused, which
/// costs nothing, and asked for again. The price is that MadeYouReset gets as many more, 120 a connection; the library's own
/// bound is 1,024.
const RESETS_MAX: usize = 20;

/// 19 KB measured while it is idle; in use its buffers for reading and writing grow to a frame each, 16 KB, and HPACK's two tables
/// to 4 KB. `tests/memory.rs` holds it.
pub const CONNECTION_BYTES: usize = 48 * 1024;

/// 9 KB measured on streams that wait for their body, their few fields included: the stream's state in the frame library, its task, and
/// the future that answers. `tests/memory.rs` holds it.
pub const STREAM_BYTES: usize = 10 * 1024;

/// A line of a header map beside its text.
const FIELD_BYTES: usize = 128;

/// After the last word to a client we wait this long for it to be read.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) async fn serve<S>(client: Client, wire: Wire<S>, seat: Arc<Seat>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shard = Rc::clone(&client.shard);
    let limits = shard.running().plan.limits.clone();
    let one_of_many = !shard
        .running()
        .plan
        .trust_forwarded
        .contains(client.peer.ip());
    shard.tell_quiet();
    let Some(_hold) = seat.hold_http2(CONNECTION_BYTES, one_of_many) else {
        shard.counters.turned_away_connections.add(1);
        return;
    };
    let flows = Rc::new(Flows::new(&limits, Instant::now()));
    let frames = Frames {
        wire,
        watch: FrameWatch::new(),
        flows: Rc::clone(&flows),
        shard: Rc::clone(&shard),
    };
    let refused_max = usize::try_from(limits.h2_streams_max).unwrap_or(usize::MAX);
    let handshake = Builder::new()
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESETS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(Some(RESETS_MAX.saturating_add(refused_max)))
        .handshake(frames);
    if let Ok(Ok(mut connection)) =
        timeout(shard.http2_patience(Claim::default()).header, handshake).await
    {
        let opening = Opening {
            client,
            seat,
            one_of_many,
            flows: Rc::clone(&flows),
        };
        opening.until_the_end(&mut connection).await;
    }
    if let Some(fault) = flows.fault() {
        shard.fault(fault);
    }
}

/// What is needed to begin a stream.
struct Opening {
    client: Client,
    seat: Arc<Seat>,
    /// Its address has a bound of its own. A trusted proxy speaks for everybody and has not.
    one_of_many: bool,
    flows: Rc<Flows>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack"
)]
enum Next {
    Stream(Request<RecvStream>, SendResponse<Bytes>),
    Look,
    /// The edge stops: streams that are open end, none begins.
    Drain,
    Ended,
}

impl Opening {
    async fn until_the_end<S>(&self, connection: &mut Connection<Frames<S>, Bytes>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let shard = &self.client.shard;
        let mut look = pin!(tokio::time::sleep(self.patience().header));
        let mut drained = pin!(shard.drained());
        let mut quiet_told = pin!(shard.quiet_told());
        let mut told = false;
        loop {
            let next = poll_fn(|cx| {
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, reply)))) => {
                        return Poll::Ready(Next::Stream(request, reply));
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Ended),
                    Poll::Pending => {}
                }
                // All that begins to wait while we sleep has longer to wait than we sleep, but for header blocks.
                if let Some(deadline) = self.flows.block_deadline(self.patience().header)
                    && deadline < look.deadline()
                {
                    look.as_mut().reset(deadline);
                }
                // When HTTP/2 runs short, what is quiet goes sooner than it was to be looked at.
                while quiet_told.as_mut().poll(cx).is_ready() {
                    quiet_told.set(shard.quiet_told());
                }
                if let Some(end) = self.flows.quiet_until(self.patience())
                    && end < look.deadline()
                {
                    look.as_mut().reset(end);
                }
                if !told && drained.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Drain);
                }
                look.as_mut().poll(cx).map(|()| Next::Look)
            })
            .await;
            match next {
                Next::Stream(request, reply) => {
                    self.open(request, reply);
                    let soon = Instant::now() + PACE_WINDOW;
                    if soon < look.deadline() {
                        look.as_mut().reset(soon);
                    }
                }
                Next::Ended => return,
                Next::Drain => {
                    told = true;
                    connection.graceful_shutdown();
                }
                Next::Look => {
                    let mut cut = |fault| shard.fault(fault);
                    match self.flows.look(Instant::now(), self.patience(), &mut cut) {
                        Ok(next) => look.as_mut().reset(next),
                        Err(over) => return hang_up(connection, over).await,
                    }
                }
            }
        }
    }

    fn patience(&self) -> Patience {
        self.client.shard.http2_patience(self.flows.claim())
    }

    fn open(&self, request: Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        let bytes = STREAM_BYTES + weight(request.headers());
        let Some(hold) = self.seat.hold_http2(bytes, self.one_of_many) else {
            self.client.shard.counters.turned_away_streams.add(1);
            reply.send_reset(Reason::REFUSED_STREAM);
            return;
        };
        let open = self.flows.open(reply.stream_id().as_u32(), Instant::now());
        let reply = Reply(Arc::new(Mutex::new(WayBack {
            reply,
            answered: false,
        })));
        let request = request.map(|stream| (stream, &reply, &open));
        let request = received(request);
        let mut client = self.client.clone();
        tokio::task::spawn_local(async move {
            let _busy = client.shard.shared.busy();
            // Freed when the answer's head is known: a slow reader then holds the answer and not how it was found.
            let answer = Box::pin(serve::respond_h2(&mut client, request));
            if let Some((response, claim)) = reply.unless_reset(answer).await {
                open.note(claim);
                reply.send(response, &open, hold).await;
            }
        });
    }
}

/// Tells the client that no stream was lost, so that it can send elsewhere what it has just sent.
async fn hang_up<S>(connection: &mut Connection<Frames<S>, Bytes>, fault: Option<ClientFault>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    connection.abrupt_shutdown(match fault {
        Some(_) => Reason::ENHANCE_YOUR_CALM,
        None => Reason::NO_ERROR,
    });
    let _left = timeout(LINGER, poll_fn(|cx| connection.poll_closed(cx))).await;
}

/// What a request's fields take in memory.
fn weight(fields: &HeaderMap) -> usize {
    fields
        .iter()
        .map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len())
        .sum()
}

fn received(request: Request<(RecvStream, &Reply, &Open)>) -> Request<Incoming> {
    let fields = request.headers();
    let expects = fields
        .get(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    // The frame library holds the body to it.
    let declared = fields
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    request.map(|(stream, reply, open)| {
        Incoming::Http2(Receiving {
            stream,
            flow: Arc::clone(&open.flow),
            to_be_told: expects.then(|| reply.clone()),
            left: declared,
            over: false,
        })
    })
}

/// A request's body as it comes.
pub(crate) struct Receiving {
    stream: RecvStream,
    flow: Arc<Flow>,
    /// The client waits for a 100 before it sends.
    to_be_told: Option<Reply>,
    /// Of the length it declared.
    left: Option<u64>,
    over: bool,
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(data) = this.stream.poll_data(cx) else {
            if let Some(reply) = this.to_be_told.take() {
                reply.say_continue();
            }
            let cut = ready!(this.flow.waits_for_body(cx));
            this.over = true;
            return Poll::Ready(Some(Err(cut)));
        };
        this.flow.body_came();
        let frame = match data {
            Some(Ok(data)) => {
                let bytes = data.len();
                // Only fails when more is released than was received.
                let _released = this.stream.flow_control().release_capacity(bytes);
                this.left = this.left.map(|left| left.saturating_sub(bytes as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(_)) => Some(Err(BodyError::ClientBrokeOff)),
            None => match ready!(this.stream.poll_trailers(cx)) {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(_) => Some(Err(BodyError::ClientBrokeOff)),
            },
        };
        this.over = true;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.flow.body_unwanted();
    }
}

/// The way back, shared with a body whose client wants to hear of it.
#[derive(Clone)]
struct Reply(Arc<Mutex<WayBack>>);

struct WayBack {
    reply: SendResponse<Bytes>,
    /// Nothing may be said before the answer any more.
    answered: bool,
}

/// The last bytes of an answer and what its stream has held: given back when the socket has taken them.
struct Last {
    bytes: Bytes,
    #[expect(dead_code, reason = "held until the bytes are written")]
    hold: Http2Hold,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Reply {
    fn lock(&self) -> MutexGuard<'_, WayBack> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say_continue(&self) {
        let mut told = Response::new(());
        *told.status_mut() = StatusCode::CONTINUE;
        let mut way = self.lock();
        if !way.answered {
            // A client that has left needs no telling.
            let _left = way.reply.send_informational(told);
        }
    }

    /// `None`: the client does not want it any more.
    async fn unless_reset<T>(&self, mut answer: Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        poll_fn(|cx| {
            if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            self.lock().reply.poll_reset(cx).map(|_| None)
        })
        .await
    }

    async fn send(&self, response: Response<Body>, open: &Open, mut hold: Http2Hold) {
        let (mut head, body) = response.into_parts();
        let ends = body.is_end_stream();
        complete(
            &mut head.headers,
            (!ends).then(|| body.size_hint().exact()).flatten(),
        );
        let sent = {
            let mut way = self.lock();
            way.answered = true;
            way.reply
                .send_response(Response::from_parts(head, ()), ends)
        };
        match sent {
            Ok(stream) if !ends => {
                let at_once = body.size_hint().upper().unwrap_or(u64::MAX);
                hold.add(SEND_BUFFER_BYTES.min(usize::try_from(at_once).unwrap_or(usize::MAX)));
                let sending = Sending {
                    stream: RefCell::new(stream),
                    flow: &open.flow,
                };
                sending.all_of(body, hold).await;
            }
            Ok(_) => {}
            Err(_) => self.lock().reply.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

/// An answer's body on its way.
struct Sending<'a> {
    stream: RefCell<SendStream<Bytes>>,
    flow: &'a Flow,
}

/// The client has reset the stream, or we have.
struct Gone;

impl Sending<'_> {
    async fn all_of(&self, mut body: Body, hold: Http2Hold) {
        let mut hold = Some(hold);
        loop {
            let frame = poll_fn(|cx| {
                if self.stream.borrow_mut().poll_reset(cx).is_ready() {
                    return Poll::Ready(Err(Gone));
                }
                Pin::new(&mut body).poll_frame(cx).map(Ok)
            });
            let Ok(frame) = frame.await else { return };
            let (data, ends) = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => (data, body.is_end_stream()),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            let _gone = self.stream.borrow_mut().send_trailers(trailers);
                        }
                        return;
                    }
                },
                Some(Err(_)) => {
                    self.stream.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
                    return;
                }
                None => (Bytes::new(), true),
            };
            if self.data(data, ends, &mut hold).await.is_err() || ends {
                return;
            }
        }
    }

    /// No more at once than the client and the send buffer have room for, so that what we wait for is seen.
    async fn data(
        &self,
        mut data: Bytes,
        ends: bool,
        hold: &mut Option<Http2Hold>,
    ) -> Result<(), Gone> {
        while !data.is_empty() || ends {
            let room = if data.is_empty() {
                0
            } else {
                self.stream
                    .borrow_mut()
                    .reserve_capacity(data.len().min(SEND_BUFFER_BYTES));
                poll_fn(|cx| self.poll_room(cx)).await?
            };
            let part = data.split_to(room.min(data.len()));
            self.flow.answer_went(part.len());
            let last = ends && data.is_empty();
            let part = match hold.take_if(|_| last) {
                Some(hold) => Bytes::from_owner(Last { bytes: part, hold }),
                None => part,
            };
            self.stream
                .borrow_mut()
                .send_data(part, last)
                .map_err(|_| Gone)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Gone>> {
        let mut stream = self.stream.borrow_mut();
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        loop {
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(stream.capacity()));
            }
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(Gone)),
                Poll::Pending => break,
            }
        }
        let Cut = ready!(self.flow.waits_for_room(cx));
        stream.send_reset(Reason::CANCEL);
        Poll::Ready(Err(Gone))
    }
}

/// What the version of HTTP wants in a head, and what it forbids (RFC 9113 §8.2.2).
fn complete(fields: &mut HeaderMap, length: Option<u64>) {
    const CONNECTION_FIELDS: [HeaderName; 6] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
    ];
    for name in CONNECTION_FIELDS {
        fields.remove(name);
    }
    if let Some(length) = length {
        fields
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
    if !fields.contains_key(header::DATE) {
        let now = UNIX_EPOCH + Duration::from_secs(UnixMillis::now().secs());
        let date = HeaderValue::from_maybe_shared(Bytes::from(httpdate::fmt_http_date(now)));
        if let Ok(date) = date {
            fields.insert(header::DATE, date);
        }
    }
}

/// The socket as the frame library sees it, and what is watched on the way.
struct Frames<S> {
    wire: Wire<S>,
    watch: FrameWatch,
    flows: Rc<Flows>,
    shard: Rc<Shard>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.inbound.is_empty() && ready!(this.wire.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = this.wire.inbound.len().min(buf.remaining());
        let now = Instant::now();
        this.watch
            .advance(&this.wire.inbound[..bytes], now, |stream, bytes| {
                this.flows.received(stream, bytes)
            })
            .map_err(|fault| {
                this.flows.broken_by(fault);
                io::Error::new(io::ErrorKind::InvalidData, fault)
            })?;
        this.flows.note_block(this.watch.block_since());
        buf.put_slice(&this.wire.inbound[..bytes]);
        this.wire.inbound.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.wire.poll_write_paced(cx, bufs);
        this.flows.note_socket_full(written.is_pending());
        match &written {
            Poll::Ready(Ok(bytes)) => this.shard.counters.bytes_out.add(*bytes as u64),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                this.flows.broken_by(ClientFault::AnswerTooSlow);
            }
            _ => {}
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_shutdown(cx)
    }
}
