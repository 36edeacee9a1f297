//! Which crate may know which: the arrows of ARCHITECTURE.md. A new arrow is a decision, made there first.

use std::collections::BTreeSet;

use cargo_metadata::{Metadata, MetadataCommand};

/// Development dependencies count: a test that reaches across an arrow is an arrow.
const ARROWS: &[(&str, &[&str])] = &[
    ("saqta-detect", &[]),
    ("saqta-edge", &["saqta-detect"]),
    ("saqta-evidence", &[]),
    ("saqta-lab", &[]),
    (
        "saqta",
        &["saqta-detect", "saqta-edge", "saqta-evidence", "saqta-lab"],
    ),
    // May point anywhere; nothing points at it.
    (
        "saqta-fuzz",
        &[
            "saqta-detect",
            "saqta-edge",
            "saqta-evidence",
            "saqta-lab",
            "saqta",
        ],
    ),
    ("xtask", &[]),
];

#[expect(
    clippy::unwrap_used,
    reason = "without the workspace's own description there is nothing to hold"
)]
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

#[test]
fn crates_know_only_whom_they_may() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        ours, listed,
        "every crate of the workspace stands in the table above, and nothing else does"
    );

    for package in &metadata.packages {
        let (_, may) = ARROWS
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
            .unwrap();
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| ours.contains(dependency.name.as_str()))
        {
            assert!(
                may.contains(&dependency.name.as_str()),
                "{} may not know {}",
                package.name,
                dependency.name
            );
        }
    }
}

/// What a pure crate does not have cannot creep into it.
#[test]
fn detect_has_no_runtime() {
    let metadata = metadata();
    let detect = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "saqta-detect")
        .unwrap();
    for banned in ["tokio", "hyper", "socket2", "rustix"] {
        assert!(
            detect
                .dependencies
                .iter()
                .all(|dependency| dependency.name != banned),
            "saqta-detect has {banned}"
        );
    }
}
