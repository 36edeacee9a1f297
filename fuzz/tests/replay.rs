//! The known inputs of every fuzz target, run again without the fuzzer: seeds, what was ever found, and their near neighbours.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use saqta_fuzz::TARGETS;

/// Longer inputs are replayed whole; cutting them at every byte would cost more than it finds.
const CUT_BYTES_MAX: usize = 4_096;

/// Tells which input it was when a law breaks.
struct Trying<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: \"{}\"", self.name, self.input.escape_ascii());
        }
    }
}

#[test]
fn known_inputs_keep_the_laws() {
    for (name, check) in TARGETS {
        let keeps = |input: &[u8]| {
            let trying = Trying { name, input };
            check(trying.input);
        };
        for input in inputs(name) {
            keeps(&input);
            if input.len() > CUT_BYTES_MAX {
                continue;
            }
            let mut near = input.clone();
            for at in 0..input.len() {
                keeps(&input[..at]);
                for byte in [0, b'\r', b'\n', b' ', b',', b':', b'"', 0xff] {
                    near[at] = byte;
                    keeps(&near);
                }
                near[at] = input[at];
            }
        }
    }
}

/// Each target has seeds, and each folder of seeds belongs to a target.
#[test]
fn seeds_and_targets_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut folders: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(folders, names);
    for name in names {
        assert!(!inputs(&name).is_empty(), "{name} has no seed");
    }
}

fn inputs(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = Vec::new();
    for kept in ["seeds", "found"] {
        let Ok(entries) = fs::read_dir(folder.join(kept).join(name)) else {
            continue;
        };
        for entry in entries {
            inputs.push(fs::read(entry.unwrap().path()).unwrap());
        }
    }
    inputs
}
