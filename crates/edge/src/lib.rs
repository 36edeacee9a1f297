//! The shield: what stands between strangers and the newsroom's own server.
//!
//! Read it in the order a request travels:
//!
//! `listen` → `connection` → (`head` | `frames`) → `judge` → `cache` | `admission` → `origin` → `serve` → `stats`

pub mod admission;
pub mod body;
pub mod cache;
pub mod clock;
pub mod compress;
pub mod fields;
pub mod forward;
pub mod origin;
pub mod pages;
pub mod plan;
pub mod staff;
