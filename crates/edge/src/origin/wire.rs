//! The socket under hyper.
//!
//! Three things are ours to know and hyper keeps none of them: whether a byte of the request ever left (then an unsafe
//! method must not be sent again), how many bytes came before the response head was complete (1xx responses may be
//! repeated without end), and whether a connection that lies idle is still one. Hence a socket that two hold: hyper's
//! connection task reads and writes it, the pool looks at it.
//!
//! A write that fails is not reported. An origin that refuses an upload answers 413 and closes; the answer lies in our
//! receive buffer while our next write fails. Told of that, hyper would drop the connection and the answer with it. So after
//! a failed write the rest is thrown away and reading goes on until the origin's answer or its end.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
    /// What may still be read before the response head is complete; `usize::MAX` once it is.
    head_bytes_left: AtomicUsize,
    write_failed: AtomicBool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            written_bytes: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            head_bytes_left: AtomicUsize::new(usize::MAX),
            write_failed: AtomicBool::new(false),
        }
    }

    /// A request begins: count from zero.
    pub(super) fn begin(&self, head_bytes_max: usize) {
        self.written_bytes.store(0, Ordering::Relaxed);
        self.read_bytes.store(0, Ordering::Relaxed);
        self.head_bytes_left
            .store(head_bytes_max, Ordering::Relaxed);
    }

    pub(super) fn head_complete(&self) {
        self.head_bytes_left.store(usize::MAX, Ordering::Relaxed);
    }

    pub(super) fn head_flooded(&self) -> bool {
        self.head_bytes_left.load(Ordering::Relaxed) == 0
    }

    pub(super) fn wrote(&self) -> bool {
        self.written_bytes.load(Ordering::Relaxed) > 0
    }

    pub(super) fn heard(&self) -> bool {
        self.read_bytes.load(Ordering::Relaxed) > 0
    }

    /// Asks the kernel, whose news the connection task may not have read yet. Anything to read on an idle connection is its
    /// end or bytes nobody asked for; either way it is of no use.
    pub(super) fn is_idle_and_alive(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        }
    }

    /// What has come. Less than fits means that nothing is left: saying so here spares the read that would only find it out.
    fn read(&self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let before = buf.filled().len();
        let mut result = Err(io::ErrorKind::WouldBlock.into());
        // The outer call remembers how ready the socket was before the inner one reads, so that bytes which come in between
        // are not forgotten.
        let _drained = self.stream.try_io(Interest::READABLE, || {
            result = self.stream.try_read_buf(buf);
            let read = buf.filled().len() - before;
            if result.is_ok() && read > 0 && buf.remaining() > 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        result.map(|_| buf.filled().len() - before)
    }

    fn after_write(&self, wanted: usize, result: io::Result<usize>) -> Option<io::Result<usize>> {
        match result {
            Ok(written) => {
                self.written_bytes
                    .fetch_add(written as u64, Ordering::Relaxed);
                Some(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => {
                self.write_failed.store(true, Ordering::Relaxed);
                Some(Ok(wanted))
            }
        }
    }
}

/// hyper's end of it.
pub(super) struct WireIo(pub(super) Arc<Wire>);

impl AsyncRead for WireIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &self.0;
        let left = wire.head_bytes_left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other("too much before the response head")));
        }
        loop {
            ready!(wire.stream.poll_read_ready(cx))?;
            match wire.read(buf) {
                Ok(read) => {
                    wire.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
                    if left != usize::MAX {
                        // Unless the head was found complete in the meantime.
                        wire.head_bytes_left
                            .compare_exchange(
                                left,
                                left.saturating_sub(read),
                                Ordering::Relaxed,
                                Ordering::Relaxed,
                            )
                            .ok();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        if wire.write_failed.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(wanted));
        }
        loop {
            ready!(wire.stream.poll_write_ready(cx))?;
            if let Some(done) = wire.after_write(wanted, wire.stream.try_write_vectored(slices)) {
                return Poll::Ready(done);
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Already closed by the other side is as closed as we want it.
        drop(SockRef::from(&self.0.stream).shutdown(Shutdown::Write));
        Poll::Ready(Ok(()))
    }
}
