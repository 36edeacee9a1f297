//! Looks for bytes that break a parser's laws, with libFuzzer through cargo-fuzz.
//!
//! The toolchain is the pinned stable one, so there are no sanitizers (they need a nightly); our code has no `unsafe` for them to
//! watch, and the laws in `fuzz/src` are what a fault would break. What is found lands in `fuzz/found/NAME`, where the test
//! command replays it for ever: commit it with the fix.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::{root, tools};

const HELP: &str = "\
cargo x fuzz [NAME] [--for TIME]

  Runs the fuzz target NAME, or each in turn, for TIME (60s unless told; 5m is what a release asks for).
  Stops at the first input that breaks a law and leaves it in fuzz/found/NAME.
";

/// An input that takes longer is a finding: a head is read in microseconds.
const INPUT_SECONDS_MAX: u32 = 5;
/// Longest input tried. Every parser's own limit is below it in the targets, so both sides of each limit are reached.
const INPUT_BYTES_MAX: u32 = 4_096;

pub(crate) fn run(mut options: Options) -> Result<()> {
    if options.flag("--help") {
        print!("{HELP}");
        return Ok(());
    }
    let time = options.time("--for", Duration::from_secs(60))?;
    let known = targets()?;
    let asked = options.words()?;
    if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
        bail!(
            "there is no target {unknown:?}; there are {}",
            known.join(", ")
        );
    }
    let names = if asked.is_empty() { known } else { asked };

    tools::GXX.have()?;
    let cargo_fuzz = tools::CARGO_FUZZ.have()?;
    println!(
        "{}, {} s each: {}",
        cargo_fuzz.version,
        time.as_secs(),
        names.join(", ")
    );
    for name in names {
        let target = root::target().join("fuzz");
        let corpus = target.join("corpus").join(&name);
        let found = root::path().join("fuzz/found").join(&name);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let status = cargo_fuzz
            .command()
            .args([
                "fuzz",
                "run",
                "--fuzz-dir",
                "fuzz",
                "--features",
                "libfuzzer",
            ])
            .args(["--sanitizer", "none", "--target-dir"])
            .arg(&target)
            .arg(&name)
            .args([
                corpus,
                root::path().join("fuzz/seeds").join(&name),
                found.clone(),
            ])
            .arg("--")
            .arg(format!("-max_total_time={}", time.as_secs()))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg("-print_final_stats=1")
            .status()
            .context("starting cargo fuzz")?;
        if !status.success() {
            bail!(
                "{name}: an input breaks a law, or the target does not build; see fuzz/found/{name}"
            );
        }
        // Git keeps no empty folder, and neither do we.
        if fs::read_dir(&found).is_ok_and(|mut entries| entries.next().is_none()) {
            fs::remove_dir(&found).context("removing an empty folder of findings")?;
        }
        println!("{name}: nothing found in {} s\n", time.as_secs());
    }
    Ok(())
}

/// A target is a file of `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(root::path().join("fuzz/fuzz_targets")).context("listing fuzz targets")?
    {
        if let Some(name) = entry?.path().file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
