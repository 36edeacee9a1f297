//! What happened, sealed so that a stranger can check it.
//!
//! Read it in the order an entry is sealed. A [`record`] says what happened, and its hash tells nothing; the [`vault`] encrypts it to those who may
//! read it; a [`ledger`] takes its leaf and says that it is safe on the [`disk`]; the leaf joins a tree ([`merkle`]) that lies in [`tiles`]; a
//! [`note`] signs what the tree is by then. The [`archive`] is all of that in one folder. Whoever has the note and a proof needs nobody's word.

pub mod archive;
pub mod bag;
pub mod bundle;
pub mod disk;
pub mod ledger;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
pub mod record;
pub mod tiles;
pub mod vault;

/// To write it down.
pub use age::secrecy::ExposeSecret;
/// An officer's key: whatever is sealed to its public half, it opens.
pub use age::x25519::Identity;
