//! Every crate that we chose ourselves says why, in `docs/decisions/dependencies.md`, and none is explained that we no longer use.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What the workspace's own packages name in their manifests and take from a registry.
fn chosen() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap();
    list(&metadata["packages"])
        .iter()
        .flat_map(|package| list(&package["dependencies"]))
        .filter(|dependency| dependency["source"].is_string())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The first cell of each row, `| \`name\` | why |`, whose second cell says something.
fn explained() -> BTreeSet<String> {
    std::fs::read_to_string(root().join("docs/decisions/dependencies.md"))
        .unwrap()
        .lines()
        .filter_map(|line| {
            let (name, why) = line.strip_prefix("| `")?.split_once("` | ")?;
            (why.trim_end_matches('|').trim().len() > 20).then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn every_dependency_has_its_reason() {
    let (chosen, explained) = (chosen(), explained());
    let unexplained: Vec<_> = chosen.difference(&explained).collect();
    let unused: Vec<_> = explained.difference(&chosen).collect();
    assert!(
        unexplained.is_empty() && unused.is_empty(),
        "docs/decisions/dependencies.md: write a line of why for {unexplained:?}; take out {unused:?}"
    );
}
