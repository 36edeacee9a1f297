//! One client's socket: its bytes not yet understood, and its patience.
//!
//! Slow attacks live in the gaps between reads. A per-read timeout lets a client that trickles one byte every nine seconds stay
//! for ever, so a head has one deadline for all of it, and bodies and answers have a floor in bytes per second, counted only
//! while *we* wait for *them*: a reader is never blamed for a slow origin.
//!
//! One timer a connection, moved only when it fires early: a kept connection answering hits never touches the timer wheel.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// One read. Heads are under 4 KB; uploads fill it.
const READ_BYTES: usize = 16 * 1024;

/// Rates are judged over this long: a phone in a tunnel is silent for some seconds.
pub(crate) const PACE_WINDOW: Duration = Duration::from_secs(10);

pub(crate) struct Wire<S> {
    io: S,
    /// Bytes read and not yet consumed.
    pub inbound: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    reading: Pace,
    writing: Pace,
    pub bytes_out: u64,
}

/// Bytes moved since the peer first made us wait.
struct Pace {
    rate_min: u64,
    since: Option<Instant>,
    moved: u64,
}

impl Pace {
    fn new(rate_min: u64) -> Self {
        Self {
            rate_min,
            since: None,
            moved: 0,
        }
    }

    fn flowing(&mut self) {
        self.since = None;
        self.moved = 0;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(io: S, body_rate_min: u64, write_rate_min: u64) -> Self {
        Self {
            io,
            inbound: BytesMut::new(),
            timer: None,
            reading: Pace::new(body_rate_min),
            writing: Pace::new(write_rate_min),
            bytes_out: 0,
        }
    }

    /// Reads at least one byte into `inbound`; 0 at the end of the stream.
    pub(crate) async fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Pending => {
                ready!(self.poll_until(cx, deadline));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            ready => ready,
        })
        .await
    }

    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Through the stack: an idle connection then holds no read buffer, and spare capacity needs `unsafe`.
        let mut chunk = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        self.inbound.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// As `poll_fill`, for a body: fails when the client sends less than the floor.
    pub(crate) fn poll_fill_paced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.poll_fill(cx) {
            Poll::Ready(Ok(bytes)) => {
                self.reading.moved += bytes as u64;
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => {
                ready!(self.poll_pace(cx, Direction::Read));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Called when a body is complete, so that the next one starts a window of its own.
    pub(crate) fn read_flowing(&mut self) {
        self.reading.flowing();
    }

    /// Writes `first` then `second`, with one system call when the socket takes both.
    pub(crate) async fn write_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        let mut first = first;
        let mut second = second;
        poll_fn(|cx| {
            while !(first.is_empty() && second.is_empty()) {
                let written = if first.is_empty() {
                    ready!(self.poll_write_paced(cx, &[IoSlice::new(second)]))?
                } else {
                    ready!(self.poll_write_paced(cx, &[IoSlice::new(first), IoSlice::new(second)]))?
                };
                let of_first = written.min(first.len());
                first.advance(of_first);
                second.advance(written - of_first);
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    pub(crate) fn poll_write_paced(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => {
                self.bytes_out += written as u64;
                self.writing.moved += written as u64;
                if written == slices.iter().map(|slice| slice.len()).sum::<usize>() {
                    self.writing.flowing();
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => {
                ready!(self.poll_pace(cx, Direction::Write));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// The socket and the bytes read but not consumed, for a connection that stops being HTTP.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.inbound)
    }

    /// Ready when the peer has been below its floor for a whole window.
    fn poll_pace(&mut self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        loop {
            let pace = match direction {
                Direction::Read => &mut self.reading,
                Direction::Write => &mut self.writing,
            };
            let since = *pace.since.get_or_insert_with(Instant::now);
            ready!(self.poll_until(cx, since + PACE_WINDOW));
            let pace = match direction {
                Direction::Read => &mut self.reading,
                Direction::Write => &mut self.writing,
            };
            if pace.moved < pace.rate_min * PACE_WINDOW.as_secs() {
                return Poll::Ready(());
            }
            pace.since = None;
            pace.moved = 0;
        }
    }

    /// Ready at `deadline`. The timer is left where it is when it would fire earlier anyway.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}
