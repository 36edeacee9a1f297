//! The program: settings, wiring, signals, commands.

mod duration;
mod host;
mod planning;
pub mod problem;
pub mod settings;
