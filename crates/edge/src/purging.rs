//! Purges as they reach the edge: a plugin's request, an editor's save, the lurker's tick. What they mean is in [`crate::cache::purge`].

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::admission::Class;
use crate::asked::Asked;
use crate::body::Body;
use crate::cache::Author;
use crate::cache::purge::{self, NotAnOrder, Orderer, PurgeOrder, PurgePolicy, Write};
use crate::fields::Fields;
use crate::serve::Client;
use crate::shard::Shard;

/// Answers `PURGE` and `BAN`. `None`: whoever asks may not. Neither ever reaches the origin.
pub(crate) fn obey(
    client: &Client,
    asked: &Asked,
    method: &Method,
    fields: &HeaderMap,
) -> Option<Response<Body>> {
    let site = asked.site();
    let orderer = Orderer {
        address: asked.client,
        forwarded: client.is_forwarded(&asked.running, fields),
        token: purge::token_of(fields),
    };
    let policy = PurgePolicy {
        origin: site.origin.address(),
        from: &site.purge.from,
        token: site.purge.token.as_deref(),
    };
    purge::trusted(&orderer, &policy)?;
    let target = asked.target.as_str().as_bytes();
    Some(match PurgeOrder::of(method, target, fields) {
        Ok(order) => {
            let shared = &client.shard.shared;
            shared.saved.purge(&site.name, &order.what);
            shared.cache.purge(asked.site_id, order.what);
            said(StatusCode::OK, "Purged.\n".to_owned())
        }
        Err(fault @ (NotAnOrder::Method | NotAnOrder::TooManyTags)) => {
            said(StatusCode::BAD_REQUEST, format!("Not purged: {fault}.\n"))
        }
    })
}

/// Whoever sets up a plugin looks for its mistake here; a stranger learns that there is a word to be guessed, of 16 letters at least.
pub(crate) fn not_obeyed() -> Response<Body> {
    said(
        StatusCode::FORBIDDEN,
        "Not purged: this address is not in the site's purge_from, and the request brings no token or not the one in purge_token.\n".to_owned(),
    )
}

/// Whoever reads this is a program, or an administrator with its log.
fn said(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The form that a request of staff brings, if it is here; looked at again when it is answered. Nobody else's is kept.
pub(crate) fn form(asked: &Asked, request: &Request<Body>) -> Bytes {
    let is_form = request
        .headers()
        .field("content-type")
        .is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded"));
    match request.body() {
        Body::Full(Some(form)) if is_form && asked.class == Class::Staff => form.clone(),
        _ => Bytes::new(),
    }
}

/// After an answer of the origin: what staff have saved shows at once. Strangers' forms purge only what RFC 9111 says, because front page and
/// sections are what a flood asks for. Whose write it was.
pub(crate) fn after_write(
    shard: &Shard,
    asked: &Asked,
    (method, form): (&Method, &[u8]),
    status: StatusCode,
    fields: &HeaderMap,
) -> Author {
    let write = Write {
        method,
        form,
        target: asked.target.as_str().as_bytes(),
        status,
        location: fields.field("location"),
        is_json: fields.field("content-type").is_some_and(|kind| {
            // Drupal says `application/vnd.api+json`.
            kind.starts_with(b"application/") && memchr::memmem::find(kind, b"json").is_some()
        }),
    };
    let system = asked.site().profile.system;
    if asked.class != Class::Staff && !purge::proves_its_author(&write, system) {
        return Author::Stranger;
    }
    for what in purge::touched_by(&write) {
        shard.shared.saved.purge(&asked.site().name, &what);
        shard.shared.cache.purge(asked.site_id, what);
    }
    Author::Staff
}

/// The lurker.
pub(crate) async fn sweep(shard: Rc<Shard>) {
    let mut tick = tokio::time::interval(purge::SWEEP_EVERY);
    loop {
        tick.tick().await;
        shard.shared.cache.sweep_purges();
    }
}
