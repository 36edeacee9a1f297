//! What hyper sees of a client: bytes that have already been understood.
//!
//! hyper alone strips `Content-Length` beside `Transfer-Encoding`, accepts bare LF and keeps 20 KB for a connection that says
//! nothing. So the connection loop reads heads itself, and hyper is called in for one exchange at a time: the tap hands it
//! exactly one request, head and framed body, holds back whatever the client sends behind it, and says "end of stream" once the
//! answer is out. Between exchanges there is no hyper and no buffer, and the next head is read by the strict parser again.
//!
//! For HTTP/2 the tap stays for the whole connection and watches frames go by.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Buf;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::frames::FrameWatch;
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
}

impl Exchange {
    /// hyper has taken the whole answer.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
    }

    pub(crate) fn fault(&self) -> Option<ClientFault> {
        self.fault.get()
    }
}

pub(crate) struct OneRequest<S> {
    wire: Wire<S>,
    head_left: usize,
    body: BodyLeft,
    /// The answer has left hyper's buffer for the socket.
    flushed: bool,
    exchange: Rc<Exchange>,
}

enum BodyLeft {
    Length(u64),
    Chunked(ChunkScan),
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> OneRequest<S> {
    /// `head_len` bytes at the front of the wire's inbound buffer are a head that has been parsed and framed.
    pub(crate) fn new(
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
            head_left: head_len,
            body,
            flushed: false,
            exchange,
        }
    }

    /// True when the client's request has been handed over to its last byte.
    pub(crate) fn is_complete(&self) -> bool {
        self.head_left == 0 && matches!(self.body, BodyLeft::Done)
    }

    pub(crate) fn into_wire(self) -> Wire<S> {
        self.wire
    }

    /// How many bytes at the front of `inbound` belong to this request and fit into `room`.
    fn ours(&mut self, room: usize) -> io::Result<usize> {
        let inbound = self.wire.inbound.len();
        if self.head_left > 0 {
            return Ok(self.head_left.min(inbound).min(room));
        }
        match &mut self.body {
            BodyLeft::Length(left) => Ok(usize::try_from(*left)
                .unwrap_or(usize::MAX)
                .min(inbound)
                .min(room)),
            BodyLeft::Chunked(scan) => {
                let end = inbound.min(room);
                scan.advance(&self.wire.inbound[..end]).map_err(|fault| {
                    self.exchange.fault.set(Some(fault));
                    io::Error::new(io::ErrorKind::InvalidData, fault)
                })
            }
            BodyLeft::Done => Ok(0),
        }
    }

    fn took(&mut self, bytes: usize) {
        self.wire.inbound.advance(bytes);
        if self.head_left > 0 {
            self.head_left -= bytes;
            return;
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
            self.wire.read_flowing();
        }
    }

    /// The request is with hyper; until the answer is out, all we want to know is whether the client is still there.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flushed {
                return Poll::Ready(Ok(()));
            }
            *self.exchange.reader.borrow_mut() = Some(cx.waker().clone());
            if self.wire.inbound.len() >= PIPELINED_BYTES_MAX {
                return Poll::Pending;
            }
            if ready!(self.wire.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for OneRequest<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_complete() {
            return this.poll_gone(cx);
        }
        if this.wire.inbound.is_empty() {
            match ready!(this.wire.poll_fill_paced(cx)) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        this.exchange.fault.set(Some(ClientFault::BodyTooSlow));
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
        let bytes = this.ours(buf.remaining())?;
        buf.put_slice(&this.wire.inbound[..bytes]);
        this.took(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for OneRequest<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .wire
            .poll_write_paced(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.wire.poll_flush(cx))?;
        if this.exchange.answered.get() && !this.flushed {
            this.flushed = true;
            if let Some(waker) = this.exchange.reader.borrow_mut().take() {
                waker.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_shutdown(cx)
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
}

/// An HTTP/2 connection as hyper sees it.
pub(crate) struct Framed<S> {
    wire: Wire<S>,
    watch: FrameWatch,
    exchange: Rc<Exchange>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    pub(crate) fn new(wire: Wire<S>, exchange: Rc<Exchange>) -> Self {
        Self {
            wire,
            watch: FrameWatch::new(),
            exchange,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Framed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.inbound.is_empty() && ready!(this.wire.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = this.wire.inbound.len().min(buf.remaining());
        if let Err(fault) = this
            .watch
            .advance(&this.wire.inbound[..bytes], Instant::now())
        {
            this.exchange.fault.set(Some(fault));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
        }
        buf.put_slice(&this.wire.inbound[..bytes]);
        this.wire.inbound.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Framed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .wire
            .poll_write_paced(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire.poll_shutdown(cx)
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
}
