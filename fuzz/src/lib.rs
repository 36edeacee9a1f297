//! What must hold for any bytes a stranger may send, one module a parser.
//!
//! "Does not crash" is the least of it. A parser at the edge of a newsroom is attacked through its disagreements: with itself when
//! the same bytes come in other pieces, with the server behind it about where a message ends, with the origin about what
//! may be shown to the next reader. Those are the laws here. libFuzzer looks for bytes that break them
//! (`cargo x fuzz NAME`), and the test command replays the seeds and everything that was ever found, so that a fault stays fixed.

pub mod access_log;
pub mod banner;
pub mod cache_control;
pub mod disk_record;
pub mod dns_answer;
pub mod likeness;
pub mod links;
pub mod note;
pub mod proof;
pub mod range;
pub mod record;
pub mod request_head;
pub mod saved_page;
pub mod scenario;
pub mod search_request;
pub mod settings;
pub mod vary;

/// A target's name, which is also its folder of seeds, and its law.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("access_log", access_log::check),
    ("banner", banner::check),
    ("cache_control", cache_control::check),
    ("disk_record", disk_record::check),
    ("dns_answer", dns_answer::check),
    ("likeness", likeness::check),
    ("links", links::check),
    ("note", note::check),
    ("proof", proof::check),
    ("range", range::check),
    ("record", record::check),
    ("request_head", request_head::check),
    ("saved_page", saved_page::check),
    ("scenario", scenario::check),
    ("search_request", search_request::check),
    ("settings", settings::check),
    ("vary", vary::check),
];
