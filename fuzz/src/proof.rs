//! A proof and a policy, as they come in a bundle and with a letter: read as they stand or not at all, and believed by nobody without a signature.

use saqta_evidence::policy::Policy;
use saqta_evidence::proof::Proof;

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let policy = Policy::parse(&text).ok();
    let Ok(proof) = Proof::parse(input) else {
        return;
    };
    assert_eq!(proof.to_string().as_bytes(), input);
    // No input of ours has the hash of its own root.
    assert!(!proof.shows(b"an entry that is in no tree"));
    if let Some(policy) = policy {
        let trusts = policy.trusts(proof.note(), proof.head().origin.as_str());
        assert!(trusts.is_err());
    }
}
