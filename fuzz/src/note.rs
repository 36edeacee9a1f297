//! A signed note, as it comes in a bundle or from a witness: what is read is what stands there, byte for byte, so that nothing can be
//! hidden between what is signed and what is shown.

use saqta_evidence::note::{Checkpoint, Note, Signed, VerifierKey};

/// Whose signature no input of ours has.
const KEY: &str = "seed.example/log+b4ba8329+AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58";

pub fn check(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input)
        && let Ok(key) = VerifierKey::parse(text)
    {
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }
    let Ok(note) = Note::parse(input) else {
        return;
    };
    assert_eq!(note.to_string().as_bytes(), input);
    if let Ok(key) = VerifierKey::parse(KEY) {
        assert!(matches!(note.signed_by(&key), Signed::No | Signed::Wrong));
    }
    if let Ok(checkpoint) = Checkpoint::parse(&note) {
        assert!(note.text().starts_with(checkpoint.note().text()));
    }
}
