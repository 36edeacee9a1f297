//! Bodies on their way to and from the origin.
//!
//! Both pass chunk by chunk, nothing is gathered. What is added to them is time: a response body that falls silent is
//! broken off, and a request body leaves a note of who is being waited for, so that a client's slow upload is never held
//! against the origin, nor the origin's refusal to read against the client.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::health::{OriginHealth, WithClient, count};
use super::pool::Lease;
use crate::body::{Body, BodyError};
use crate::forward;

/// Whom an upload is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client has more to send.
    Client,
    /// The origin has been given bytes and has not asked for the next since.
    Origin(Instant),
    /// Everything was handed over.
    Sent(Instant),
}

pub(super) type StageNote = Arc<Mutex<Stage>>;

pub(super) fn read_stage(note: &StageNote) -> Stage {
    *note.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request body and the note it keeps.
pub(super) struct Upload {
    body: Body,
    noted: Option<Noted>,
}

struct Noted {
    stage: StageNote,
    health: Arc<OriginHealth>,
    /// While it is the client's turn.
    with_client: Option<WithClient>,
}

impl Upload {
    pub(super) fn none() -> Self {
        Self {
            body: Body::Empty,
            noted: None,
        }
    }

    pub(super) fn new(body: Body, health: &Arc<OriginHealth>, now: Instant) -> (Self, StageNote) {
        let note = Arc::new(Mutex::new(Stage::Origin(now)));
        (
            Self {
                body,
                noted: Some(Noted {
                    stage: note.clone(),
                    health: Arc::clone(health),
                    with_client: None,
                }),
            },
            note,
        )
    }

    fn write(&mut self, stage: Stage) {
        let Some(noted) = &mut self.noted else { return };
        *noted.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        if stage != Stage::Client {
            noted.with_client = None;
        } else if noted.with_client.is_none() {
            noted.with_client = Some(WithClient::new(Arc::clone(&noted.health)));
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Pending => {
                self.write(Stage::Client);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    forward::request_trailers(trailers);
                }
                let now = Instant::now();
                let last = frame.is_trailers() || self.body.is_end_stream();
                self.write(if last {
                    Stage::Sent(now)
                } else {
                    Stage::Origin(now)
                });
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.write(Stage::Sent(Instant::now()));
                Poll::Ready(end)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body: the connection goes back to the pool at its end and is closed when it is left before.
pub(super) struct Download {
    incoming: Incoming,
    lease: Option<Lease>,
    upload: Option<StageNote>,
    health: Arc<OriginHealth>,
    idle_timeout: Duration,
    // Made when the origin first pauses; most bodies never do.
    idle: Option<Pin<Box<Sleep>>>,
    idle_runs: bool,
    over: bool,
}

impl Download {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        upload: Option<StageNote>,
        health: Arc<OriginHealth>,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            incoming,
            lease: Some(lease),
            upload,
            health,
            idle_timeout,
            idle: None,
            idle_runs: false,
            over: false,
        }
    }

    fn complete(&mut self) {
        self.over = true;
        if let Some(lease) = self.lease.take() {
            keep(lease, self.upload.as_ref());
        }
    }

    fn broken(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.over = true;
        self.lease = None;
        count(&self.health.counters.bodies_broken);
        Poll::Ready(Some(Err(BodyError::OriginBrokeOff)))
    }
}

/// An origin that answers before it has read the whole request may leave the rest unread for ever; such a connection is
/// closed rather than kept.
pub(super) fn keep(lease: Lease, upload: Option<&StageNote>) {
    if upload.is_none_or(|note| matches!(read_stage(note), Stage::Sent(_))) {
        lease.release(Instant::now());
    }
}

impl HttpBody for Download {
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
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.idle_runs = false;
                if let Some(trailers) = frame.trailers_mut() {
                    forward::response_trailers(trailers);
                }
                if this.incoming.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.broken(),
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let idle = this
                    .idle
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(this.idle_timeout)));
                if !this.idle_runs {
                    this.idle_runs = true;
                    idle.as_mut().reset(Instant::now() + this.idle_timeout);
                }
                match idle.as_mut().poll(cx) {
                    Poll::Ready(()) => this.broken(),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
