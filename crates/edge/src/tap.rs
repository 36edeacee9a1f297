//! What hyper sees of a client: bytes that have already been understood.
//!
//! hyper alone strips `Content-Length` beside `Transfer-Encoding`, accepts bare LF and keeps 20 KB for a connection that says
//! nothing. So the connection loop reads heads itself, and hyper is called in for one exchange at a time: the tap hands it
//! exactly one request, head and framed body, holds back whatever the client sends behind it, and says "end of stream" once the
//! answer is out. Between exchanges there is no hyper and no buffer, and the next head is read by the strict parser again.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Buf;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::head::{ChunkScan, ClientFault, Framing};
use crate::wire::Wire;

/// Bytes behind the current request we hold for a client that pipelines; then its socket waits.
const PIPELINED_BYTES_MAX: usize = 64 * 1024;

/// How far the exchange is, shared by the tap and the answer's body. hyper drops the body when it has taken all of it, and
/// calls `poll_flush` when its buffer is empty: only after both may it see the end of the stream, or it would drop the rest.
#[derive(Default)]
pub(crate) struct Exchange {
    answered: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    fault: Cell<Option<ClientFault>>,
    /// All of the request has been handed to hyper.
    request_read: Cell<bool>,
    last: Cell<bool>,
}

impl Exchange {
    /// hyper has taken the whole answer.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
    }

    pub(crate) fn is_request_read(&self) -> bool {
        self.request_read.get()
    }

    /// The answer says that the connection ends with it.
    pub(crate) fn closes(&self) {
        self.last.set(true);
    }

    pub(crate) fn is_last(&self) -> bool {
        self.last.get()
    }

    pub(crate) fn fault(&self) -> Option<ClientFault> {
        self.fault.get()
    }

    fn broken_by(&self, fault: ClientFault) -> io::Error {
        self.fault.set(Some(fault));
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

/// A client's socket as hyper sees it, and what is watched on the way.
pub(crate) struct Tap<S> {
    wire: Wire<S>,
    watch: OneRequest,
    exchange: Rc<Exchange>,
}

impl<S> Tap<S> {
    pub(crate) fn into_wire(self) -> Wire<S> {
        self.wire
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch
            .poll_read(&mut this.wire, &this.exchange, cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().wire.poll_write_paced(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.wire.poll_flush(cx))?;
        this.watch.flushed(&this.exchange);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_shutdown(cx)
    }
}

/// One request and its answer.
pub(crate) struct OneRequest {
    head_left: usize,
    body: BodyLeft,
    /// The answer has left hyper's buffer for the socket.
    flushed: bool,
    /// The client has said all it will say. It may still listen: `nc -N`, HTTP/1.0 scripts and some monitors close their side
    /// behind the request. One that has left altogether looks the same until we write to it.
    client_done: bool,
}

enum BodyLeft {
    Length(u64),
    Chunked(ChunkScan),
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tap<S> {
    /// `head_len` bytes at the front of the wire's inbound buffer are a head that has been parsed and framed.
    pub(crate) fn one_request(
        wire: Wire<S>,
        head_len: usize,
        framing: Framing,
        exchange: Rc<Exchange>,
    ) -> Self {
        let body = match framing {
            Framing::None | Framing::Length(0) => BodyLeft::Done,
            Framing::Length(bytes) => BodyLeft::Length(bytes),
            Framing::Chunked => BodyLeft::Chunked(ChunkScan::default()),
        };
        Self {
            wire,
            watch: OneRequest {
                head_left: head_len,
                body,
                flushed: false,
                client_done: false,
            },
            exchange,
        }
    }

    /// True when the client's request has been handed over to its last byte.
    pub(crate) fn is_complete(&self) -> bool {
        self.watch.is_complete()
    }
}

impl OneRequest {
    fn is_complete(&self) -> bool {
        self.head_left == 0 && matches!(self.body, BodyLeft::Done)
    }

    /// How many bytes at the front of `inbound` belong to this request and fit into `room`.
    fn ours(&mut self, inbound: &[u8], room: usize) -> Result<usize, ClientFault> {
        let end = inbound.len().min(room);
        if self.head_left > 0 {
            return Ok(self.head_left.min(end));
        }
        match &mut self.body {
            BodyLeft::Length(left) => Ok(usize::try_from(*left).unwrap_or(usize::MAX).min(end)),
            BodyLeft::Chunked(scan) => scan.advance(&inbound[..end]),
            BodyLeft::Done => Ok(0),
        }
    }

    /// True when these were the last bytes of a body.
    fn took(&mut self, bytes: usize) -> bool {
        if self.head_left > 0 {
            self.head_left -= bytes;
            return false;
        }
        let done = match &mut self.body {
            BodyLeft::Length(left) => {
                *left -= bytes as u64;
                *left == 0
            }
            BodyLeft::Chunked(scan) => scan.is_done(),
            BodyLeft::Done => true,
        };
        if done {
            self.body = BodyLeft::Done;
        }
        done
    }

    /// The request is with hyper; until the answer is out, all we want to know is whether the connection still stands.
    fn poll_broken<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.flushed {
                return Poll::Ready(Ok(()));
            }
            *exchange.reader.borrow_mut() = Some(cx.waker().clone());
            if self.client_done || wire.inbound.len() >= PIPELINED_BYTES_MAX {
                return Poll::Pending;
            }
            self.client_done = ready!(wire.poll_fill(cx))? == 0;
        }
    }

    fn poll_read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        exchange: &Exchange,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_complete() {
            return self.poll_broken(wire, exchange, cx);
        }
        if wire.inbound.is_empty() {
            match ready!(wire.poll_fill_paced(cx)) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        exchange.fault.set(Some(ClientFault::BodyTooSlow));
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
        let bytes = self
            .ours(&wire.inbound, buf.remaining())
            .map_err(|fault| exchange.broken_by(fault))?;
        buf.put_slice(&wire.inbound[..bytes]);
        wire.inbound.advance(bytes);
        if self.took(bytes) {
            wire.read_flowing();
        }
        exchange.request_read.set(self.is_complete());
        Poll::Ready(Ok(()))
    }

    /// hyper's buffer is empty.
    fn flushed(&mut self, exchange: &Exchange) {
        if exchange.answered.get() && !self.flushed {
            self.flushed = true;
            if let Some(waker) = exchange.reader.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}
