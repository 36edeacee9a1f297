//! What happened, sealed so that a stranger can check it.
//!
//! Read it in the order an entry is sealed: a [`ledger`] takes it and says that it is safe on the [`disk`]; its hash joins a tree
//! ([`merkle`]) that lies in [`tiles`]; a [`note`] signs what the tree is by then. Whoever has the note and a proof needs nobody's word.

pub mod archive;
pub mod disk;
pub mod ledger;
pub mod merkle;
pub mod note;
pub mod record;
pub mod tiles;
pub mod vault;
