//! Asking the origin for one client, without the cache: everything that is not a page anybody may have.
//!
//! The exchange with the origin runs as a task of its own. A client that leaves does not stop PHP from working, so it does not free the
//! slot either; and a slow client does not keep it, because the response is drained into a window of memory.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::admission::{Outcome, StreamsFull};
use crate::asked::Asked;
use crate::body::Body;
use crate::brief::{Look, Watch};

use crate::clock::UnixMillis;
use crate::forward;
use crate::guard::Attempt;
use crate::origin::{self, OriginError};
use crate::place::Place;
use crate::purging;
use crate::read;
use crate::relay::{self, Feeder, WINDOW_BYTES};
use crate::serve::Client;
use crate::staff::LoginExchange;
use crate::upgrade::Upgrade;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    StreamsFull(#[from] StreamsFull),
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// Sends the request and returns the response as soon as its head is here.
pub(crate) async fn pass(
    client: &Client,
    asked: Asked,
    request: Request<Body>,
    (place, attempt): (Place, Option<Attempt>),
) -> Result<Response<Body>, PassError> {
    let origin = client.shard.origin(&asked.running, asked.site_id);
    let shard = std::rc::Rc::clone(&client.shard);
    let (head, answered) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let _busy = shard.shared.busy();
        let method = request.method().clone();
        let cookies = cookies(request.headers());
        let form = purging::form(&asked, &request);
        let watch = Watch::of(&shard.shared, &asked, &method, request.headers());
        match origin.send(request).await {
            Ok(response) => {
                learn(&asked, &method, &cookies, &response);
                let cache = &shard.shared.cache;
                read::learn_openness(
                    cache,
                    &asked,
                    &method,
                    response.status(),
                    response.headers(),
                );
                let (status, fields) = (response.status(), response.headers());
                if let Some(attempt) = &attempt {
                    let is_login = |path: &str| asked.site().profile.is_login(path);
                    let guard = &shard.shared.guard;
                    guard.answered(attempt, (status, fields), is_login, UnixMillis::now());
                }
                let author = purging::after_write(&shard, &asked, (&method, &form), status, fields);
                let key = read::key(cache, &asked);
                cache.invalidate_after(&key, &method, status, fields, author);
                let look =
                    watch.and_then(|watch| watch.look(&asked, status, fields)?.afforded(&asked));
                relay_response(&asked, response, (look, attempt), place, head).await;
            }
            Err(error) => {
                place.finish(outcome_of(&error));
                // Nobody listens when the client has left.
                let _left = head.send(Err(error.into()));
            }
        }
    });
    // A shard that stops drops the task and its sender.
    answered
        .await
        .unwrap_or(Err(PassError::Origin(OriginError::ClosedBeforeResponse)))
}

/// 101 and the tunnel behind it, or whatever the origin says instead.
pub(crate) async fn websocket(
    client: &Client,
    asked: &Asked,
    request: Request<Body>,
) -> Result<(Response<Body>, Option<Upgrade>), PassError> {
    let place = Place::stream(&client.shard, asked)?;
    let origin = client.shard.origin(&asked.running, asked.site_id);
    let mut response = origin.send(request).await?;
    forward::response(
        response.status(),
        response.headers_mut(),
        &asked.inbound(),
        &asked.outbound(),
    );
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok((response, None));
    }
    let upgraded = hyper::upgrade::on(&mut response)
        .await
        .map_err(|_| OriginError::ClosedBeforeResponse)?;
    Ok((
        response.map(|_| Body::Empty),
        Some(Upgrade {
            origin: upgraded,
            place,
        }),
    ))
}

/// All of a request that what it teaches depends on.
fn cookies(fields: &http::HeaderMap) -> http::HeaderMap {
    let mut cookies = http::HeaderMap::new();
    for line in fields.get_all(header::COOKIE) {
        cookies.append(header::COOKIE, line.clone());
    }
    cookies
}

/// What an exchange with the origin teaches, whoever asked for it. `fields`: the request's, its cookies at least.
pub(crate) fn learn<B>(
    asked: &Asked,
    method: &Method,
    fields: &http::HeaderMap,
    response: &Response<B>,
) {
    let state = asked.state();
    state.varied.note(response.headers());
    if method == Method::GET {
        state
            .shapes
            .learn(asked.target.as_str().as_bytes(), response.status().as_u16());
    }
    let exchange = LoginExchange {
        method,
        path: asked.target.path(),
        query: asked.target.query(),
        request: fields,
        status: response.status(),
        response: response.headers(),
    };
    state.staff.learn(&exchange, UnixMillis::now());
}

pub(crate) fn outcome_of(error: &OriginError) -> Outcome {
    match error {
        OriginError::ResponseTimedOut | OriginError::ConnectTimedOut | OriginError::Connect(_) => {
            Outcome::OVERLOADED
        }
        _ => Outcome::FAILED,
    }
}

pub(crate) fn outcome_of_status(status: StatusCode) -> Outcome {
    if origin::says_overloaded(status) {
        Outcome::OVERLOADED
    } else if status.is_server_error() {
        Outcome::FAILED
    } else {
        Outcome::ANSWERED
    }
}

async fn relay_response(
    asked: &Asked,
    response: Response<Body>,
    looks: (Option<Look>, Option<Attempt>),
    mut place: Place,
    head: oneshot::Sender<Result<Response<Body>, PassError>>,
) {
    let (mut parts, mut body) = response.into_parts();
    let outcome = outcome_of_status(parts.status);
    forward::response(
        parts.status,
        &mut parts.headers,
        &asked.inbound(),
        &asked.outbound(),
    );
    let exact = body.size_hint().exact();
    if is_stream(&parts.headers, &body) {
        place = match place.into_stream(asked, outcome) {
            Ok(place) => place,
            Err(full) => {
                let _left = head.send(Err(full.into()));
                return;
            }
        };
    }
    if body.is_end_stream() {
        place.finish(outcome);
        let _left = head.send(Ok(Response::from_parts(parts, Body::Empty)));
        return;
    }
    let (feeder, relayed) = relay::pipe(exact, &place.shard().shared.relayed);
    if head
        .send(Ok(Response::from_parts(parts, Body::stream(relayed))))
        .is_err()
    {
        // The client left while the origin thought; what it sends is still read, so that the connection can be kept.
    }
    feed(asked, &mut body, feeder, looks, (place, outcome)).await;
}

/// Reads the origin's body to its end.
async fn feed(
    asked: &Asked,
    body: &mut Body,
    feeder: Feeder,
    (mut look, mut attempt): (Option<Look>, Option<Attempt>),
    (mut place, outcome): (Place, Outcome),
) {
    let mut drained = 0;
    let mut gone = false;
    loop {
        let mut frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                place.finish(Outcome::FAILED);
                return;
            }
            None => break,
        };
        if let Some(trailers) = frame.trailers_mut() {
            forward::response_trailers(trailers);
        }
        drained += frame.data_ref().map_or(0, Bytes::len);
        if let (Some(look), Some(chunk)) = (&mut look, frame.data_ref()) {
            look.push(chunk);
        }
        if let (Some(chunk), Some(attempt)) = (
            frame.data_ref(),
            attempt.take_if(|attempt| attempt.is_call()),
        ) {
            let guard = &place.shard().shared.guard;
            guard.answer_begins(&attempt, chunk, UnixMillis::now());
        }
        if gone {
            if place.is_long_held() {
                return;
            }
            // Small enough to finish for the connection's sake; more than that is cut off.
            if drained > WINDOW_BYTES {
                return;
            }
            continue;
        }
        if feeder.is_full() || place.is_long_held() {
            place = match place.into_stream(asked, outcome) {
                Ok(place) => place,
                Err(_) => return,
            };
        }
        gone = feeder.push(frame).await.is_err();
        if gone && !place.is_slot() {
            return;
        }
    }
    if let Some(look) = look {
        look.done(asked);
    }
    place.finish(outcome);
    feeder.end(Ok(()));
}

/// Longer than we take in at once, or without an end.
pub(crate) fn is_stream(fields: &http::HeaderMap, body: &Body) -> bool {
    let events = fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    events
        || body
            .size_hint()
            .exact()
            .is_some_and(|bytes| bytes > WINDOW_BYTES as u64)
}
