//! The shield: what stands between strangers and the newsroom's own server.
//!
//! Read it in the order a request travels:
//!
//! `listen` → `connection` → (`head` | `http2`) → `serve` → `cache` | `admission` → `origin` → `serve`
//!
//! The edge knows no database and no page but its own few. It never waits for anything that is not needed to answer the
//! request at hand.

pub mod admission;
mod asked;
mod background;
pub mod body;
mod brief;
pub mod budget;
pub mod cache;
pub mod clock;
pub mod compress;
mod connection;
mod date;
pub mod disk;
mod edge;
pub mod fields;
mod forms;
pub mod forward;
pub mod frames;
mod guard;
pub mod head;
pub mod http2;
pub mod keep;
pub mod known;
pub mod ladder;
pub mod lanes;
pub mod likeness;
mod listen;
pub mod occupancy;
pub mod origin;
pub mod pages;
mod pass;
mod place;
pub mod plan;
pub mod profile;
mod purging;
mod read;
mod reduced;
pub mod registry;
mod relay;
pub mod relevance;
mod renew;
pub mod saved;
pub mod search;
mod searching;
mod sentry;
mod serve;
mod shard;
pub mod shareable;
mod sight;
mod splice;
pub mod staff;
pub mod stats;
mod tap;
mod upgrade;
mod upload;
pub mod whole;
mod why;
mod wire;

pub use edge::{CodeRead, Edge, Forgotten, ReloadError, StartError};
