//! The one test command. It runs everything even after a failure, because who waits for it wants the whole list, and it ends with
//! what ran, with which version of what, so that a green run can be read as exactly that.
//!
//! Cost decides the order and the flags. Everything is built in the release profile, the one the program ships in: tests, the
//! program the drills start and this command share every compiled crate, and clippy adds only its own metadata beside them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bench::{self, instructions};
use crate::options::Options;
use crate::{root, tools};

const HELP: &str = "\
cargo x test

  Format, lints, every test of the workspace (the fuzz targets' inputs among them), the price of a hot hit in
  instructions, licences and sources of every dependency, known holes in them. Installs the tools it needs; takes no options.
";

/// What a step leaves behind: whether it held, and a line for the closing list.
struct Step {
    name: &'static str,
    ok: bool,
    told: String,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(crate) fn run(mut options: Options) -> Result<()> {
    if options.flag("--help") {
        print!("{HELP}");
        return Ok(());
    }
    if let Some(word) = options.words()?.first() {
        bail!("takes no options, not {word:?}: there is one check, and it is the whole one");
    }

    let begun = root::now();
    let mut tally = Tally::default();
    let steps = [
        check("format", root::cargo().args(["fmt", "--all", "--check"])),
        check(
            "lints",
            root::cargo()
                .args([
                    "clippy",
                    "--release",
                    "--locked",
                    "--workspace",
                    "--all-targets",
                ])
                .args(["--quiet", "--", "-D", "warnings"]),
        ),
        tests(&mut tally),
        instructions(),
        licences(),
        holes(),
    ];

    println!();
    for step in &steps {
        println!(
            "{:<10} {:>6}  {}",
            step.name,
            if step.ok { "ok" } else { "FAILED" },
            step.told
        );
    }
    let held = steps.iter().filter(|step| step.ok).count();
    println!(
        "{held} of {} steps held in {} s",
        steps.len(),
        begun.elapsed().as_secs()
    );
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.ignored
    );
    if held < steps.len() {
        bail!("the check does not hold");
    }
    Ok(())
}

fn heading(name: &str) {
    println!("\n── {name}");
}

/// A step that is one command of cargo's.
fn check(name: &'static str, command: &mut Command) -> Step {
    heading(name);
    let begun = root::now();
    let ok = match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("could not be started: {error}");
            false
        }
    };
    Step {
        name,
        ok,
        told: format!("{} s", begun.elapsed().as_secs()),
    }
}

fn tests(tally: &mut Tally) -> Step {
    heading("tests");
    let begun = root::now();
    let outcome = tests_counted(tally);
    let ok = matches!(outcome, Ok(true));
    let told = match outcome {
        Ok(_) => format!(
            "{} s, {} passed, {} failed",
            begun.elapsed().as_secs(),
            tally.passed,
            tally.failed
        ),
        Err(error) => format!("{error:#}"),
    };
    Step {
        name: "tests",
        // A run in which nothing was tested says nothing.
        ok: ok && tally.passed > 0,
        told,
    }
}

fn tests_counted(tally: &mut Tally) -> Result<bool> {
    tools::IPROUTE2.have()?;
    let mut cargo = root::cargo()
        .args([
            "test",
            "--release",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    if let Some(output) = cargo.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("reading what the tests print")?;
            println!("{line}");
            tally.add(&line);
        }
    }
    let status = cargo.wait().context("waiting for cargo test")?;
    Ok(status.success())
}

impl Tally {
    /// Adds up cargo's closing lines, one a test program: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((count, what)) = part.split_once(' ') else {
                continue;
            };
            let count = count.parse::<u64>().unwrap_or(0);
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// The price of a hot hit, which is what a flood is answered with, in instructions: the one figure of speed that a busy machine
/// does not blur.
fn instructions() -> Step {
    heading("instructions");
    let name = "price";
    // Another processor has another count, and nobody has measured a ceiling for it.
    if !cfg!(target_arch = "x86_64") {
        return Step {
            name,
            ok: true,
            told: "NOT CHECKED: the ceiling was measured on x86_64".to_owned(),
        };
    }
    let counted = bench::built()
        .and_then(|_| tools::VALGRIND.have())
        .and_then(|valgrind| Ok((valgrind, instructions::of_a_hit()?)));
    match counted {
        Ok((valgrind, count)) => Step {
            name,
            ok: count <= instructions::CEILING,
            told: format!(
                "{count} instructions a hot hit, at most {}, {}",
                instructions::CEILING,
                valgrind.version
            ),
        },
        Err(error) => Step {
            name,
            ok: false,
            told: format!("{error:#}"),
        },
    }
}

fn licences() -> Step {
    heading("licences, bans, sources");
    let name = "licences";
    let deny = match tools::CARGO_DENY.have() {
        Ok(deny) => deny,
        Err(error) => {
            return Step {
                name,
                ok: false,
                told: format!("{error:#}"),
            };
        }
    };
    let step = check(
        name,
        deny.command()
            .args(["--locked", "check", "--hide-inclusion-graph"])
            .args(["licenses", "bans", "sources"]),
    );
    Step {
        told: format!("{}, {}", step.told, deny.version),
        ..step
    }
}

/// Known holes in what we depend on. The list of them is a git repository that not every network reaches; where it can't be had
/// the step holds, since nothing was found wrong, and the closing list says in capitals that nothing was looked at either.
fn holes() -> Step {
    heading("known holes");
    let name = "holes";
    let fetched = tools::CARGO_DENY.have().and_then(|deny| {
        let output = deny
            .command()
            .args(["fetch", "db"])
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .output()
            .context("starting cargo deny")?;
        Ok((deny, output))
    });
    let (deny, output) = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            return Step {
                name,
                ok: false,
                told: format!("{error:#}"),
            };
        }
    };
    if output.status.success() {
        return check(
            name,
            deny.command()
                .args(["--locked", "check", "--hide-inclusion-graph", "advisories"]),
        );
    }
    print!("{}", String::from_utf8_lossy(&output.stderr));
    let told = "NOT CHECKED: the advisory list cannot be fetched from this network";
    println!("{told}");
    Step {
        name,
        ok: true,
        told: told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let printed = "\
running 2 tests
test options::tests::times ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 40 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.25s
my own words: test result: ok. 9 passed; 9 failed";
        let mut tally = Tally::default();
        printed.lines().for_each(|line| tally.add(line));
        assert_eq!((tally.passed, tally.failed, tally.ignored), (42, 3, 1));
    }
}
