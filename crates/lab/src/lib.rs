//! placeholder
pub mod chance;
pub mod newsroom;
