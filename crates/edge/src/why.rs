//! Why somebody is stopped, as the code on his page says it ([`crate::ladder::code`]): what the branches that stop him know, put together.
//!
//! Nothing of it names anybody: no address, no agent, no term, and of the address he asked for only its kind.

use http::Version;

use crate::asked::Asked;
use crate::clock::UnixMillis;
use crate::fields::Fields;
use crate::head::Head;
use crate::ladder::Bearer;
use crate::ladder::code::{CodeText, Holds, Protocol, Stop, Why, rule_mark};
use crate::plan::SiteId;
use crate::profile::{Use, path_and_query};
use crate::serve::Client;
use crate::shard::Running;

/// What admission goes by, as far as it is known where somebody is turned away at once.
pub(crate) struct Turned {
    pub usage: Use,
    pub is_suspect: bool,
    pub is_strange: bool,
}

/// For a network that is refused, nothing of which is judged.
pub(crate) fn refused_at_once(
    client: &Client,
    running: &Running,
    site: SiteId,
    head: &Head<'_, '_>,
) -> CodeText {
    let (path, query) = path_and_query(head.target);
    let turned = Turned {
        usage: running.plan.sites[site].profile.use_of(path, query),
        is_suspect: false,
        is_strange: false,
    };
    at_once(client, running, (site, Stop::Refused), head, &turned)
}

pub(crate) fn at_once(
    client: &Client,
    running: &Running,
    (site, stop): (SiteId, Stop),
    head: &Head<'_, '_>,
    turned: &Turned,
) -> CodeText {
    let state = &running.sites[site];
    let why = Why {
        stop,
        posture: state.detection.stance().posture,
        holds: holds(client.bearer(), head),
        version: match head.http_10 {
            true => Protocol::Http10,
            false => Protocol::Http11,
        },
        asks_for: turned.usage.into(),
        rule: client.rule().map(rule_mark),
        is_suspect: turned.is_suspect,
        is_strange: turned.is_strange,
    };
    let ladder = &client.shard.shared.ladder;
    ladder.code(state.mark, &why, UnixMillis::now())
}

pub(crate) fn code(client: &Client, asked: &Asked, stop: Stop) -> CodeText {
    let state = asked.state();
    let why = Why {
        stop,
        posture: state.detection.stance().posture,
        holds: asked.holds,
        version: match asked.version {
            Version::HTTP_09 | Version::HTTP_10 => Protocol::Http10,
            Version::HTTP_11 => Protocol::Http11,
            _ => Protocol::Http2,
        },
        asks_for: asked.usage.into(),
        rule: client.rule().map(rule_mark),
        is_suspect: asked.is_suspect,
        is_strange: asked.is_strange,
    };
    let ladder = &client.shard.shared.ladder;
    ladder.code(state.mark, &why, UnixMillis::now())
}

/// Whoever has none of ours may still be a browser that keeps cookies.
pub(crate) fn holds<F: Fields + ?Sized>(bearer: &Bearer, fields: &F) -> Holds {
    match bearer.holds {
        Holds::NoCookies if fields.field("cookie").is_some() => Holds::OtherCookies,
        holds => holds,
    }
}
