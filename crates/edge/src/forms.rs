//! Forms where there is no room for them: given back, and taken again.
//!
//! A page that reloads itself would lose what was written, so the page a form gets carries it ([`Form`]). Only what the site's own pages
//! send is given back: what comes from another site would come from ours afterwards, with the cookies that browsers keep from strangers.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, ORIGIN, REFERER, SET_COOKIE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use saqta_detect::facts::Served;

use crate::asked::Asked;
use crate::body::Body;
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::ladder::code::Stop;
use crate::ladder::{Again, FORM_TEXT_BYTES_MAX, Fate, Form, Whither};
use crate::pages::{Asker, FORM, Format, Held, Page, format};
use crate::serve::{self, Client, Failure, served};
use crate::why;

/// Times a form sends itself again. Whoever is turned away so often in a row is better asked than made to look on.
const BY_ITSELF_MAX: u8 = 3;

/// The longest form there is, as it comes again.
pub(crate) const BYTES_MAX: usize = FORM.len() + 1 + FORM_TEXT_BYTES_MAX;

/// A request's body on its way to the origin.
pub(crate) struct InHand {
    pub body: Body,
    /// As it can be given back.
    form: Option<Form>,
    /// It was given back before.
    again: Option<Again>,
}

/// Why a form does not go to the origin now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormFault {
    #[error("there is no room for it")]
    NoRoom(Box<Form>),
    #[error("so many passwords or comments came that the next ones wait for a pass")]
    Guessed(Box<Form>),
    #[error("it may have been sent already")]
    Perhaps(Box<Form>),
    #[error("it is none that was given back here")]
    NotOurs,
}

impl InHand {
    /// Opens what was given back, so that `parts` and body are as its reader first sent them.
    pub(crate) fn of(
        client: &Client,
        asked: &Asked,
        parts: &mut Parts,
        body: Body,
    ) -> Result<Self, FormFault> {
        let Body::Full(Some(bytes)) = &body else {
            return Ok(Self::other(body));
        };
        if let Some(text) = given_back(parts, bytes) {
            let ladder = &client.shard.shared.ladder;
            let again = ladder
                .held(whither(asked), text)
                .filter(|_| is_of_the_site(asked, &parts.headers))
                .ok_or(FormFault::NotOurs)?;
            match ladder.fate(&again, UnixMillis::now()) {
                Fate::Unsent => {}
                Fate::Sent | Fate::Unknown => return Err(FormFault::Perhaps(Box::new(again.form))),
            }
            restore(&again.form, &mut parts.headers).ok_or(FormFault::NotOurs)?;
            return Ok(Self {
                body: Body::full(again.form.body.clone()),
                form: Some(again.form.clone()),
                again: Some(again),
            });
        }
        let form = form(asked, parts, bytes);
        Ok(Self {
            form,
            ..Self::other(body)
        })
    }

    fn other(body: Body) -> Self {
        Self {
            body,
            form: None,
            again: None,
        }
    }

    /// All of it, where it was taken in.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Full(bytes) => bytes.as_ref(),
            _ => None,
        }
    }

    /// What there is no room for.
    pub(crate) fn turned_away(&mut self) -> Option<Failure> {
        self.given_back(FormFault::NoRoom)
    }

    /// What waits for a pass, room or not.
    pub(crate) fn guessed(&mut self) -> Option<Failure> {
        self.given_back(FormFault::Guessed)
    }

    fn given_back(&mut self, fault: fn(Box<Form>) -> FormFault) -> Option<Failure> {
        self.form.take().map(|form| fault(Box::new(form)).into())
    }

    /// The origin is asked now. Of two that came at once it hears of one.
    pub(crate) fn send(&mut self, client: &Client) -> Result<(), Failure> {
        let ladder = &client.shard.shared.ladder;
        let is_first = self
            .again
            .as_ref()
            .is_none_or(|again| ladder.send(again, UnixMillis::now()) == Fate::Unsent);
        if is_first {
            return Ok(());
        }
        Err(self.perhaps_sent().unwrap_or(FormFault::NotOurs.into()))
    }

    /// The origin was asked and has not answered: whether it heard is for its reader to find out.
    pub(crate) fn perhaps_sent(&mut self) -> Option<Failure> {
        self.given_back(FormFault::Perhaps)
    }
}

/// The text of a form that comes again.
fn given_back<'a>(parts: &Parts, bytes: &'a [u8]) -> Option<&'a [u8]> {
    (parts.method == Method::POST)
        .then(|| bytes.strip_prefix(FORM.as_bytes())?.strip_prefix(b"="))
        .flatten()
}

fn form(asked: &Asked, parts: &Parts, bytes: &Bytes) -> Option<Form> {
    let fields = &parts.headers;
    let is_form = parts.method == Method::POST
        && format(fields) == Format::Html
        && !fields.contains_key(CONTENT_ENCODING)
        && is_of_the_site(asked, fields);
    if !is_form {
        return None;
    }
    let form = Form::new(fields.field(CONTENT_TYPE.as_str())?, bytes.clone())?;
    let field = |name: HeaderName| fields.get(name).map(HeaderValue::as_bytes);
    Some(form.with(field(ORIGIN), field(REFERER)))
}

/// Does a page of the same host send it? Old browsers and those without a window say nothing, and keep no cookies from strangers either.
fn is_of_the_site(asked: &Asked, fields: &HeaderMap) -> bool {
    if let Some(site) = fields.field("sec-fetch-site") {
        return site == b"same-origin";
    }
    let Some(origin) = fields.field("origin") else {
        return true;
    };
    let host = origin
        .strip_prefix(b"https://")
        .or_else(|| origin.strip_prefix(b"http://"));
    host == Some(asked.authority.as_str().as_bytes())
}

/// `None`: no field may say so, which none of ours does.
fn restore(form: &Form, fields: &mut HeaderMap) -> Option<()> {
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
    fields.insert(CONTENT_TYPE, value(&form.content_type)?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(form.body.len()));
    for (name, bytes) in [(ORIGIN, &form.origin), (REFERER, &form.referer)] {
        match bytes {
            Some(bytes) => _ = fields.insert(name, value(bytes)?),
            None => _ = fields.remove(name),
        }
    }
    Some(())
}

fn whither(asked: &Asked) -> Whither<'_> {
    Whither {
        site: asked.state().mark,
        host: asked.authority.as_str(),
        target: asked.target.as_str(),
    }
}

/// What a reader gets instead of an answer to his form.
pub(crate) fn answer(
    client: &Client,
    asked: &Asked,
    asker: Asker,
    fault: &FormFault,
) -> Response<Body> {
    let shared = &client.shard.shared;
    let (form, stop) = match fault {
        FormFault::NoRoom(form) => (form, Stop::FormWaits),
        FormFault::Guessed(form) => (form, Stop::GuessWaits),
        FormFault::Perhaps(form) => (form, Stop::FormPerhaps),
        FormFault::NotOurs => {
            return served(
                shared.pages.response(Page::NotUnderstood, asker, None),
                Served::Refused,
            );
        }
    };
    let code = |stop| why::code(client, asked, stop);
    client.shard.counters.waiting.add(1);
    let text = shared
        .ladder
        .hold(form, whither(asked), asked.client, UnixMillis::now());
    let Some(text) = text else {
        return served(
            shared
                .pages
                .response(Page::NotTaken, asker, Some(&code(Stop::NotTaken))),
            Served::Waiting,
        );
    };
    let whom = (asked.client, asked.scheme);
    let (page, ticket) = serve::to_wait(client, asked.state().mark, whom, asker);
    let held = match page {
        _ if stop == Stop::FormPerhaps => Held::Perhaps,
        Page::Waiting { reload_secs } if form.tries < BY_ITSELF_MAX => {
            Held::Soon { secs: reload_secs }
        }
        _ => Held::Waiting,
    };
    let mut response = shared.pages.held(held, &text, &code(stop), asker);
    if let Some(Ok(ticket)) = ticket.map(HeaderValue::try_from) {
        response.headers_mut().append(SET_COOKIE, ticket);
    }
    served(response, Served::Waiting)
}
