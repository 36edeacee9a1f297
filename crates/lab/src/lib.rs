//! A newsroom, its readers and its attackers, on one machine: what proves that the shield works.

pub mod addresses;
pub mod chance;
pub mod clock;
pub mod corpus;
pub mod guard;
pub mod newsroom;
pub mod origin;
pub mod scenario;
pub mod wire;
