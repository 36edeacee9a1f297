//! A newsroom, its readers and its attackers, on one machine: what proves that the shield works.

pub mod scenario;
