//! A request's body on its way to the origin.
//!
//! A slot at the origin must not be held by a slow telephone, so a body that fits is taken in before admission is asked for. What
//! does not fit is a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::{Body, BodyError};

/// A comment, a login, an article with its pictures as links. Times the connections that may send one, this is what uploads can hold.
pub(crate) const BUFFERED_BYTES_MAX: usize = 1024 * 1024;

pub(crate) enum Upload {
    /// All of it is here.
    Buffered(Body),
    /// Longer than [`BUFFERED_BYTES_MAX`], declared or found out.
    Streaming(Body),
}

/// Takes in what fits.
///
/// # Errors
/// When the client breaks off, is too slow, or declares more than `bytes_max`.
pub(crate) async fn take(mut incoming: Incoming, bytes_max: u64) -> Result<Upload, BodyError> {
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
    let mut buffered = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| BodyError::ClientBrokeOff)?;
        match frame.into_data() {
            Ok(data) => buffered.extend_from_slice(&data),
            Err(frame) => {
                // Trailers end a body; with them it is a sequence of frames again.
                return Ok(Upload::Buffered(Body::stream(Rest {
                    first: Some(buffered.freeze()),
                    trailers: frame.into_trailers().ok(),
                    incoming: None,
                    left: bytes_max,
                })));
            }
        }
        if buffered.len() > BUFFERED_BYTES_MAX {
            return Ok(Upload::Streaming(rest(
                buffered.freeze(),
                incoming,
                bytes_max,
            )));
        }
    }
    Ok(Upload::Buffered(Body::full(buffered.freeze())))
}

fn rest(first: Bytes, incoming: Incoming, bytes_max: u64) -> Body {
    let left = bytes_max.saturating_sub(first.len() as u64);
    let first = (!first.is_empty()).then_some(first);
    Body::stream(Rest {
        first,
        trailers: None,
        incoming: Some(incoming),
        left,
    })
}

struct Rest {
    first: Option<Bytes>,
    trailers: Option<http::HeaderMap>,
    incoming: Option<Incoming>,
    left: u64,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
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

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) if self.first.is_none() => incoming.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
