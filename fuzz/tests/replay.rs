//! The known inputs of every fuzz target, run again without the fuzzer: seeds, what was ever found, and their near neighbours.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use saqta_fuzz::TARGETS;

/// Longer inputs are replayed whole; cutting them at every byte would cost more than it finds.
const CUT_BYTES_MAX: usize = 4_096;

#[test]
fn known_inputs_keep_the_laws() {
    let mut replayed = 0;
    for (name, check) in TARGETS {
        for input in inputs(name) {
            check(&input);
            replayed += 1;
            if input.len() > CUT_BYTES_MAX {
                continue;
            }
            let mut near = input.clone();
            for at in 0..input.len() {
                check(&input[..at]);
                for byte in [0, b'\r', b'\n', b' ', b':', b'"', 0xff] {
                    near[at] = byte;
                    check(&near);
                }
                near[at] = input[at];
            }
        }
    }
    println!("{replayed} inputs and their neighbours");
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
