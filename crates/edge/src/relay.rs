//! A bounded pipe from the origin to one client.
//!
//! An origin's slot is the scarcest thing we have, and a client's modem the slowest. So a response is read from the origin as fast
//! as it comes, into a window of memory, and the slot is free when the last byte is here, wherever the client stands. Only a
//! response larger than the window makes the origin wait for the client; it is then a stream, and streams have a cap of their own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BodyError;
use crate::budget::{Budget, Held};

/// Drained at full speed: larger than any page of a newsroom, small beside the memory of a phone. All of them
/// together: [`RELAYED_BYTES_MAX`](crate::budget::RELAYED_BYTES_MAX).
pub(crate) const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// The same when all responses together hold more than they may.
const WINDOW_BYTES_SCARCE: usize = 64 * 1024;

struct State {
    frames: VecDeque<Frame<Bytes>>,
    buffered: usize,
    held: Held,
    ended: Option<Result<(), BodyError>>,
    reader_gone: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
}

impl State {
    fn is_full(&self) -> bool {
        let window = if self.held.is_spent() {
            WINDOW_BYTES_SCARCE
        } else {
            WINDOW_BYTES
        };
        self.buffered >= window
    }

    fn came(&mut self, bytes: usize) {
        self.buffered += bytes;
        self.held.add(bytes);
    }

    fn went(&mut self, bytes: usize) {
        self.buffered -= bytes;
        self.held.sub(bytes);
    }
}

#[derive(Clone)]
struct Pipe(Arc<Mutex<State>>);

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origin's end.
pub(crate) struct Feeder {
    pipe: Pipe,
    /// The reader is told that the response broke off unless the feeder has said otherwise.
    ended: bool,
}

/// The client's end.
pub(crate) struct Relayed {
    pipe: Pipe,
    exact: Option<u64>,
}

/// The client has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReaderGone;

/// `exact`: the length the response declares.
pub(crate) fn pipe(exact: Option<u64>, budget: &Arc<Budget>) -> (Feeder, Relayed) {
    let pipe = Pipe(Arc::new(Mutex::new(State {
        frames: VecDeque::new(),
        buffered: 0,
        held: budget.hold(),
        ended: None,
        reader_gone: false,
        reader: None,
        feeder: None,
    })));
    (
        Feeder {
            pipe: pipe.clone(),
            ended: false,
        },
        Relayed { pipe, exact },
    )
}

impl Feeder {
    /// True when the next frame would wait for the client.
    pub(crate) fn is_full(&self) -> bool {
        self.pipe.state().is_full()
    }

    /// Waits while the window is full.
    ///
    /// # Errors
    /// When the client has left.
    pub(crate) async fn push(&self, frame: Frame<Bytes>) -> Result<(), ReaderGone> {
        let mut frame = Some(frame);
        poll_fn(|cx| {
            let mut state = self.pipe.state();
            if state.reader_gone {
                return Poll::Ready(Err(ReaderGone));
            }
            if state.is_full() {
                state.feeder = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(frame) = frame.take() {
                state.came(frame.data_ref().map_or(0, Bytes::len));
                state.frames.push_back(frame);
            }
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    pub(crate) fn end(mut self, result: Result<(), BodyError>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<(), BodyError>) {
        self.ended = true;
        let reader = {
            let mut state = self.pipe.state();
            state.ended = Some(result);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Err(BodyError::OriginBrokeOff));
        }
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.pipe.state();
        if let Some(frame) = state.frames.pop_front() {
            state.went(frame.data_ref().map_or(0, Bytes::len));
            let feeder = state.feeder.take();
            drop(state);
            if let Some(feeder) = feeder {
                feeder.wake();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut state.ended {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(_)) => match state.ended.replace(Ok(())) {
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                _ => Poll::Ready(None),
            },
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.pipe.state();
        state.frames.is_empty() && matches!(state.ended, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        self.exact
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        let feeder = {
            let mut state = self.pipe.state();
            state.reader_gone = true;
            state.frames.clear();
            let left = state.buffered;
            state.went(left);
            state.feeder.take()
        };
        if let Some(feeder) = feeder {
            feeder.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn megabyte() -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![7; 1024 * 1024]))
    }

    #[tokio::test]
    async fn the_origin_runs_ahead_by_one_window_and_no_more() {
        let (feeder, mut relayed) = pipe(None, &Budget::new(u64::MAX));
        feeder.push(megabyte()).await.unwrap();
        assert!(!feeder.is_full());
        feeder.push(megabyte()).await.unwrap();
        assert!(feeder.is_full());
        let mut third = std::pin::pin!(feeder.push(megabyte()));
        assert!(
            poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        assert_eq!(
            relayed
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len(),
            1024 * 1024
        );
        third.await.unwrap();
        assert!(feeder.is_full());
    }

    #[tokio::test]
    async fn a_feeder_that_vanishes_breaks_the_response_off() {
        let (feeder, mut relayed) = pipe(Some(5), &Budget::new(u64::MAX));
        feeder
            .push(Frame::data(Bytes::from_static(b"hel")))
            .await
            .unwrap();
        drop(feeder);
        assert_eq!(
            relayed.frame().await.unwrap().unwrap().into_data().unwrap(),
            "hel"
        );
        assert!(matches!(
            relayed.frame().await,
            Some(Err(BodyError::OriginBrokeOff))
        ));
        assert!(relayed.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_leaves_lets_the_feeder_know() {
        let (feeder, relayed) = pipe(None, &Budget::new(u64::MAX));
        feeder.push(megabyte()).await.unwrap();
        feeder.push(megabyte()).await.unwrap();
        let pushing = feeder.push(megabyte());
        drop(relayed);
        assert_eq!(pushing.await, Err(ReaderGone));
    }
}
