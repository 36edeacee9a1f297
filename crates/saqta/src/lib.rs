//! The program: settings, wiring, signals, commands.
//!
//! A library only so that tests and fuzzing reach what `main` calls.

mod bundling;
mod check;
pub mod cli;
pub mod control;
pub mod decoding;
mod duration;
pub mod folder;
mod host;
mod incidents;
mod init;
mod inviting;
mod keys;
mod machine;
mod mint;
mod planning;
pub mod problem;
mod purging;
mod recording;
pub mod replay;
mod run;
mod screen;
pub mod settings;
pub mod status;
mod watch;
