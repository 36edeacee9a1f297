//! A request's body on its way to the origin.
//!
//! A slot at the origin must not be held by a slow telephone, so a body that fits is taken in before admission is asked for. What
//! does not fit is a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::{Body, BodyError};
use crate::budget::{Budget, Held};

/// A comment, a login, an article with its pictures as links. All of them together: [`UPLOADS_BYTES_MAX`](crate::budget::UPLOADS_BYTES_MAX).
pub(crate) const BUFFERED_BYTES_MAX: usize = 1024 * 1024;

pub(crate) enum Upload {
    /// All of it is here.
    Buffered(Body),
    /// Longer than [`BUFFERED_BYTES_MAX`], declared or found out, or more than all may hold together.
    Streaming(Body),
}

/// Takes in what fits.
///
/// # Errors
/// When the client breaks off, is too slow, or declares more than `bytes_max`.
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
    if declared.is_some_and(|bytes| bytes > BUFFERED_BYTES_MAX as u64) {
        return Ok(Upload::Streaming(rest(Bytes::new(), incoming, bytes_max)));
    }
    let mut held = budget.hold();
    let mut buffered = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| BodyError::ClientBrokeOff)?;
        match frame.into_data() {
            Ok(data) => {
                held.add(data.len());
                buffered.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if buffered.len() > BUFFERED_BYTES_MAX || held.is_spent() {
            drop(held);
            return Ok(Upload::Streaming(rest(
                buffered.freeze(),
                incoming,
                bytes_max,
            )));
        }
    }
    Ok(Upload::Buffered(Body::stream(Rest {
        first: Some(buffered.freeze()),
        trailers,
        incoming: None,
        left: bytes_max,
        held: Some(held),
    })))
}

fn rest(first: Bytes, incoming: Incoming, bytes_max: u64) -> Body {
    let left = bytes_max.saturating_sub(first.len() as u64);
    let first = (!first.is_empty()).then_some(first);
    Body::stream(Rest {
        first,
        trailers: None,
        incoming: Some(incoming),
        left,
        held: None,
    })
}

struct Rest {
    first: Option<Bytes>,
    trailers: Option<http::HeaderMap>,
    incoming: Option<Incoming>,
    left: u64,
    #[expect(dead_code, reason = "held until the body is dropped")]
    held: Option<Held>,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
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
            Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::ClientBrokeOff))),
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(BodyError::TooLong {
                bytes_max: self.left,
            }))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
            && self.trailers.is_none()
            && self.first.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.incoming, &self.first) {
            (Some(incoming), None) => incoming.size_hint(),
            (None, first) if self.trailers.is_none() => {
                SizeHint::with_exact(first.as_ref().map_or(0, |first| first.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}
