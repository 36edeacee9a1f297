//! A request's body on its way to the origin.
//!
//! A slot at the origin must not be held by a slow telephone, so a body that fits is taken in before admission is asked for. What
//! does not fit is a stream.
//!
//! A body lies in chunks that never move, each as large as all before it, so that a client who declares much and sends little
//! holds little. What counts against the budget is what a chunk takes from the allocator, from the moment it is made until the
//! origin's connection has let go of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::body::{Body, BodyError};
use crate::budget::{Budget, Held};
use crate::forms;
use crate::http2::Receiving;

/// A comment, a login, an article with its pictures as links. All of them together: [`UPLOADS_BYTES_MAX`](crate::budget::UPLOADS_BYTES_MAX).
pub(crate) const BUFFERED_BYTES_MAX: usize = 1024 * 1024;

/// What a form comes to.
const CHUNK_BYTES_MIN: usize = 4 * 1024;
/// Half of what the allocator would map anew for each; the last chunk wastes less than this.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// A request's body as it comes from its client.
pub(crate) enum Incoming {
    Http1(hyper::body::Incoming),
    Http2(Receiving),
}

pub(crate) enum Upload {
    /// All of it is here.
    Buffered(Body),
    /// Longer than [`BUFFERED_BYTES_MAX`], declared or found out, or more than all may hold together.
    Streaming(Body),
}

/// Takes in what fits.
///
/// # Errors
/// When the client breaks off, is too slow, or declares or sends more than `bytes_max`.
pub(crate) async fn take(
    mut incoming: Incoming,
    bytes_max: u64,
    budget: &Arc<Budget>,
) -> Result<Upload, BodyError> {
    if incoming.is_end_stream() {
        return Ok(Upload::Buffered(Body::Empty));
    }
    let declared = incoming.size_hint().exact();
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(BodyError::TooLong { bytes_max });
    }
    let mut taken = Taken::default();
    if declared.is_some_and(|bytes| bytes > BUFFERED_BYTES_MAX as u64) {
        return Ok(Upload::Streaming(taken.then(incoming, bytes_max)));
    }
    let mut trailers = None;
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                if (taken.bytes + data.len()) as u64 > bytes_max {
                    return Err(BodyError::TooLong { bytes_max });
                }
                let too_long = taken.bytes + data.len() > BUFFERED_BYTES_MAX;
                if let Err(rest) = taken.append(data, declared, budget) {
                    taken.chunks.push_back(rest);
                    return Ok(Upload::Streaming(taken.then(incoming, bytes_max)));
                }
                if too_long {
                    return Ok(Upload::Streaming(taken.then(incoming, bytes_max)));
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let bytes = taken.bytes;
    let mut chunks = taken.whole();
    if bytes <= forms::BYTES_MAX
        && chunks.len() > 1
        && let Some(held) = budget.try_hold(bytes)
    {
        // A form is given back, and opened when it comes again, in one piece.
        let bytes = chunks.iter().flatten().copied().collect();
        chunks = VecDeque::from([Bytes::from_owner(Chunk { bytes, held })]);
    }
    if chunks.len() == 1 && trailers.is_none() {
        return Ok(Upload::Buffered(Body::Full(chunks.pop_front())));
    }
    Ok(Upload::Buffered(Body::stream(Rest {
        chunks,
        trailers,
        incoming: None,
        left: 0,
        bytes_max,
    })))
}

/// What has come so far.
#[derive(Default)]
struct Taken {
    chunks: VecDeque<Bytes>,
    /// The last, not yet full.
    open: Option<Chunk>,
    bytes: usize,
}

/// Room of a fixed size, counted as long as anything of it is alive.
struct Chunk {
    bytes: Vec<u8>,
    #[expect(dead_code, reason = "held until the chunk is dropped")]
    held: Held,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Taken {
    /// # Errors
    /// What the budget has no room for.
    fn append(
        &mut self,
        mut data: Bytes,
        declared: Option<u64>,
        budget: &Arc<Budget>,
    ) -> Result<(), Bytes> {
        loop {
            if let Some(open) = &mut self.open {
                let room = open.bytes.capacity() - open.bytes.len();
                let fitting = data.split_to(room.min(data.len()));
                open.bytes.extend_from_slice(&fitting);
                self.bytes += fitting.len();
            }
            if data.is_empty() {
                return Ok(());
            }
            self.close();
            let missing = declared
                .and_then(|declared| usize::try_from(declared).ok())
                .map_or(usize::MAX, |declared| declared.saturating_sub(self.bytes));
            let capacity = self
                .bytes
                .max(data.len())
                .clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
                .min(missing.max(1));
            let Some(held) = budget.try_hold(capacity) else {
                return Err(data);
            };
            self.open = Some(Chunk {
                bytes: Vec::with_capacity(capacity),
                held,
            });
        }
    }

    fn close(&mut self) {
        self.chunks.extend(self.open.take().map(Bytes::from_owner));
    }

    fn whole(mut self) -> VecDeque<Bytes> {
        self.close();
        self.chunks
    }

    /// These bytes, and then the rest as it comes.
    fn then(self, incoming: Incoming, bytes_max: u64) -> Body {
        let chunks = self.whole();
        let here: usize = chunks.iter().map(Bytes::len).sum();
        Body::stream(Rest {
            chunks,
            trailers: None,
            incoming: Some(incoming),
            left: bytes_max.saturating_sub(here as u64),
            bytes_max,
        })
    }
}

struct Rest {
    chunks: VecDeque<Bytes>,
    trailers: Option<http::HeaderMap>,
    incoming: Option<Incoming>,
    /// Of `bytes_max`, for what is still to come.
    left: u64,
    bytes_max: u64,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(
                self.trailers
                    .take()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        };
        let frame = match ready!(Pin::new(incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(BodyError::TooLong {
                bytes_max: self.bytes_max,
            }))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
            && self.trailers.is_none()
            && self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here: u64 = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let to_come = match &self.incoming {
            Some(incoming) => incoming.size_hint().exact(),
            None => self.trailers.is_none().then_some(0),
        };
        to_come.map_or_else(SizeHint::default, |to_come| {
            SizeHint::with_exact(here + to_come)
        })
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| BodyError::of_client(&error)),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_BYTES: usize = 10_000;

    /// Appends frames until the budget is spent or `bytes` are in; what is held at the end.
    fn taken(bytes: usize, declared: Option<u64>, budget: &Arc<Budget>) -> (Taken, usize) {
        let mut taken = Taken::default();
        let mut left = 0;
        for from in (0..bytes).step_by(FRAME_BYTES) {
            let to = bytes.min(from + FRAME_BYTES);
            let frame: Bytes = (from..to).map(|at| at as u8).collect();
            if let Err(rest) = taken.append(frame, declared, budget) {
                left = bytes - to + rest.len();
                break;
            }
        }
        (taken, left)
    }

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        // Bytes sent, bytes declared, bytes counted at most.
        let table: &[(usize, Option<u64>, u64)] = &[
            (0, Some(1_000_000), 0),
            (1, Some(1_000_000), 4 * 1024),
            (300, Some(300), 300),
            (300, None, 4 * 1024),
            (10_000, Some(1_000_000), 10_000),
            (10_001, Some(10_001), 10_001),
            (100_000, Some(1_000_000), 164 * 1024),
            (1_000_000, Some(1_000_000), 1_000_000),
            (1_000_000, None, 1_064_000),
        ];
        for (sent, declared, counted_max) in table {
            let budget = Budget::new(u64::MAX);
            let (taken, left) = taken(*sent, *declared, &budget);
            assert_eq!((taken.bytes, left), (*sent, 0));
            let counted = budget.held();
            assert!(
                (*sent as u64..=*counted_max).contains(&counted),
                "{sent} of {declared:?}: {counted}"
            );
            let mut chunks = taken.whole();
            let all: Vec<u8> = chunks.iter().flatten().copied().collect();
            assert!(all.iter().enumerate().all(|(at, byte)| *byte == at as u8));
            assert_eq!(budget.held(), counted, "until it is sent");
            let last = chunks.pop_back();
            chunks.clear();
            assert!(budget.held() <= CHUNK_BYTES_MAX as u64);
            drop(last);
            assert_eq!(budget.held(), 0);
        }
    }

    #[test]
    fn a_spent_budget_gives_back_what_did_not_fit() {
        let budget = Budget::new(100_000);
        let (first, left) = taken(90_000, None, &budget);
        assert!(left > 0, "the last chunk is larger than what is missing");
        assert_eq!(first.bytes + left, 90_000);
        let (second, left) = taken(50_000, None, &budget);
        assert_eq!(second.bytes + left, 50_000);
        assert!(budget.held() <= 100_000);
        drop(first);
        assert_eq!(taken(50_000, None, &budget).1, 0);
    }
}
