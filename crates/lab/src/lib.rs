//! A newsroom, its readers and its attackers, on one machine: what proves that the shield works.

pub mod addresses;
pub mod chance;
mod chart;
pub mod clock;
pub mod corpus;
pub mod demo;
pub mod drill;
pub mod guard;
pub mod load;
mod network;
pub mod newsroom;
pub mod origin;
pub mod referee;
pub mod report;
pub mod scenario;
pub mod stage;
pub mod wire;
