//! What a request looks like and what requests add up to.
//!
//! Pure: no sockets, no files, no clock, no async. Time and randomness are arguments, so that a day of traffic replays in seconds
//! and the same input gives the same output.
//!
//! Read it in the order a request is understood: [`network`] and [`shape`] name where it came from and what kind of page it
//! wants, [`facts`] holds that beside what its head says, [`tally`] adds facts up; [`look`] is all of it that a rule can be about.
//! [`watch`] is what a shard notes of each and [`trust`] who is known; [`load`] says when it is more than normal, [`reservoir`] keeps
//! what to compare with, in [`columns`], [`signature`] finds what distinguishes it, [`engine`] is the whole for one site.

pub mod columns;
pub mod engine;
pub mod facts;
pub mod load;
pub mod look;
pub mod network;
pub mod reservoir;
pub mod sentence;
pub mod shape;
pub mod signature;
pub mod tally;
pub mod trust;
pub mod watch;
