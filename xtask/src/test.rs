//! The one test command. It runs everything even after a failure, because who waits for it wants the whole list, and it ends with
//! what ran, with which version of what, so that a green run can be read as exactly that.
//!
//! Cost decides the order and the flags. Everything is built in the release profile, the one the program ships in: tests, the
//! program the drills start and this command share every compiled crate, and clippy adds only its own metadata beside them.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bench::{self, instructions};
use crate::options::Options;
use crate::{http_cache_tests, root, tools};

const HELP: &str = "\
cargo x test

  Format, lints, every test of the workspace (the fuzz targets' inputs among them), the price of a hot hit in
  instructions, what the public suite for caches says, licences and sources of every dependency, known holes in them. Installs
  the tools it needs; takes no options.
";

/// What a failing step is remembered by, besides its failed tests: compilers and cargo-deny end with what is wrong.
const LAST_LINES_MAX: usize = 20;

/// Of one failed test; a panic's own words stand first, a drill's figures after them.
const TEST_LINES_MAX: usize = 30;

/// More failed tests than this have one reason, and it is among these.
const FAILED_TOLD_MAX: usize = 20;

/// What a step leaves behind, and a line for the closing list.
struct Step {
    name: &'static str,
    outcome: Outcome,
    told: String,
    /// For whoever sees only the end of a long log.
    why: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Failed,
    /// What it needs cannot be had here; said in capitals, so that nobody takes it for a check that passed.
    NotChecked,
}

impl Step {
    fn of(name: &'static str, ok: bool, told: String) -> Self {
        Self {
            name,
            outcome: if ok { Outcome::Held } else { Outcome::Failed },
            told,
            why: Vec::new(),
        }
    }

    fn failed(name: &'static str, error: &anyhow::Error) -> Self {
        Self::of(name, false, format!("{error:#}"))
    }

    fn not_checked(name: &'static str, why: &str) -> Self {
        println!("NOT CHECKED: {why}");
        Self {
            outcome: Outcome::NotChecked,
            ..Self::of(name, true, why.to_owned())
        }
    }

    fn using(mut self, tool: &str) -> Self {
        self.told = format!("{}, {tool}", self.told);
        self
    }
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
    let version = |subcommand: &str| {
        tools::first_line(root::cargo().args([subcommand, "--version"])).unwrap_or_default()
    };
    let mut tally = Tally::default();
    let steps = [
        check("format", root::cargo().args(["fmt", "--all", "--check"])).using(&version("fmt")),
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
        )
        .using(&version("clippy")),
        tests(&mut tally).using(&tools::first_line(&mut rustc()).unwrap_or_default()),
        http_cache_tests(),
        instructions(),
        licences(),
        holes(),
    ];
    print!("{}", closing(&steps, &tally, begun.elapsed().as_secs()));
    if steps.iter().any(|step| step.outcome == Outcome::Failed) {
        bail!("the check does not hold");
    }
    Ok(())
}

fn rustc() -> Command {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(root::path()).arg("--version");
    rustc
}

/// What is left on the screen: why, where anything failed, and then what ran.
fn closing(steps: &[Step], tally: &Tally, seconds: u64) -> String {
    let mut closing = String::new();
    for step in steps {
        if step.outcome == Outcome::Failed && !step.why.is_empty() {
            closing += &format!("\n── {} FAILED\n{}\n", step.name, step.why.join("\n"));
        }
    }
    closing.push('\n');
    for step in steps {
        let outcome = match step.outcome {
            Outcome::Held => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotChecked => "NOT CHECKED",
        };
        closing += &format!("{:<10} {outcome:>11}  {}\n", step.name, step.told);
    }
    let count = |outcome| steps.iter().filter(|step| step.outcome == outcome).count();
    closing += &format!(
        "{} of {} steps held in {seconds} s",
        count(Outcome::Held),
        steps.len()
    );
    match count(Outcome::NotChecked) {
        0 => {}
        not_checked => closing += &format!(", {not_checked} NOT CHECKED"),
    }
    closing += &format!(
        "\n{} passed, {} failed, {} skipped\n",
        tally.passed, tally.failed, tally.ignored
    );
    closing
}

fn heading(name: &str) {
    println!("\n── {name}");
}

/// Runs it, shows what it prints as it comes, and hands over each line. Both outputs go through one pipe, so that cargo's
/// `Running …` stands before what that program printed.
fn streamed(command: &mut Command, mut heard: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("sharing a pipe")?)
        .stderr(writer)
        .spawn()
        .context("starting it")?;
    // The command keeps ends of the pipe, which would never close.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("reading what it prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        heard(&line);
    }
    Ok(child.wait().context("waiting for it")?.success())
}

/// A step that is one command.
fn check(name: &'static str, command: &mut Command) -> Step {
    heading(name);
    let begun = root::now();
    let mut last = VecDeque::new();
    let outcome = streamed(command, |line| {
        if last.len() == LAST_LINES_MAX {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    });
    match outcome {
        Ok(ok) => Step {
            why: last.into(),
            ..Step::of(name, ok, format!("{} s", begun.elapsed().as_secs()))
        },
        Err(error) => Step::failed(name, &error),
    }
}

fn tests(tally: &mut Tally) -> Step {
    let name = "tests";
    heading(name);
    let begun = root::now();
    let network = match tools::IPROUTE2.have() {
        Ok(tool) => tool.version,
        Err(error) => return Step::failed(name, &error),
    };
    if let Err(error) = tools::have_packages(tools::STAGED) {
        return Step::failed(name, &error);
    }
    let axe = match tools::AXE.have() {
        Ok(folder) => folder.join(tools::AXE.file),
        Err(error) => return Step::failed(name, &error),
    };
    let judges = match tools::have_judges() {
        Ok(python) => python,
        Err(error) => return Step::failed(name, &error),
    };
    let ran = streamed(
        root::cargo()
            .args([
                "test",
                "--release",
                "--locked",
                "--workspace",
                "--no-fail-fast",
            ])
            .env("SAQTA_AXE", axe)
            .env("SAQTA_JUDGES", judges),
        |line| tally.add(line),
    );
    match ran {
        Ok(ok) => Step {
            why: tally.why(),
            ..Step::of(
                name,
                // A run in which nothing was tested says nothing.
                ok && tally.passed > 0,
                format!(
                    "{} s, {} passed, {} failed, {network}, {} {}, {}",
                    begun.elapsed().as_secs(),
                    tally.passed,
                    tally.failed,
                    tools::AXE.package,
                    tools::AXE.version,
                    tools::JUDGES.join(", ")
                ),
            )
        },
        Err(error) => Step::failed(name, &error),
    }
}

/// What is heard of the tests as they go by.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The test program that prints now.
    program: String,
    failures: Vec<FailedTest>,
    /// What a program that died, or did not compile, leaves in cargo's words.
    errors: Vec<String>,
    /// Whether the lines that come now are those of the last failure.
    telling: bool,
}

struct FailedTest {
    name: String,
    program: String,
    said: Vec<String>,
}

impl Tally {
    fn add(&mut self, line: &str) {
        if let Some(program) = line.trim_start().strip_prefix("Running ") {
            // `tests/cli.rs (target/release/deps/cli-0123456789abcdef)`: the name at the end tells unit tests apart.
            let built = program
                .rsplit_once("deps/")
                .map_or(program, |(_, built)| built);
            let name = built.rsplit_once('-').map_or(built, |(name, _)| name);
            let source = program.split(" (").next().unwrap_or(program);
            self.program = format!("{name}, {source}");
            self.telling = false;
        } else if let Some(of) = line.trim_start().strip_prefix("Doc-tests ") {
            self.program = format!("{of}, examples in its pages");
            self.telling = false;
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.failures.push(FailedTest {
                name: name.to_owned(),
                program: self.program.clone(),
                said: Vec::new(),
            });
            self.telling = true;
        } else if line == "failures:" {
            self.telling = false;
        } else if let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        {
            self.count(counts);
            self.telling = false;
        } else if self.telling {
            if let Some(failure) = self.failures.last_mut()
                && failure.said.len() < TEST_LINES_MAX
                && !line.is_empty()
            {
                failure.said.push(line.to_owned());
            }
        } else if (line.starts_with("error") || line.contains("process didn't exit successfully"))
            && self.errors.len() < LAST_LINES_MAX
        {
            self.errors.push(line.trim_start().to_owned());
        }
    }

    /// A closing line of cargo's, one a test program: `3 passed; 0 failed; 1 ignored; …`.
    fn count(&mut self, counts: &str) {
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

    fn why(&self) -> Vec<String> {
        let mut why = Vec::new();
        for failure in self.failures.iter().take(FAILED_TOLD_MAX) {
            why.push(format!("{} ({})", failure.name, failure.program));
            why.extend(failure.said.iter().map(|line| format!("    {line}")));
        }
        if let Some(beyond) = self.failures.len().checked_sub(FAILED_TOLD_MAX + 1) {
            why.push(format!("and {} more", beyond + 1));
        }
        why.extend(self.errors.iter().cloned());
        why
    }
}

/// What the public suite for caches says of ours.
fn http_cache_tests() -> Step {
    let name = "cache";
    heading("http-cache-tests");
    let judged = bench::built().and_then(|_| http_cache_tests::judge());
    match judged {
        Ok(verdict) => {
            for line in &verdict.wrong {
                println!("{line}");
            }
            Step {
                why: verdict.wrong.clone(),
                ..Step::of(
                    name,
                    verdict.wrong.is_empty(),
                    format!(
                        "required {}, optimal {}, http-cache-tests {}",
                        verdict.counts.required,
                        verdict.counts.optimal,
                        tools::HTTP_CACHE_TESTS.version
                    ),
                )
            }
        }
        Err(error) => Step::failed(name, &error),
    }
}

/// The price of a hot hit, which is what a flood is answered with, and of detection, in instructions: the one figure of speed that a busy
/// machine does not blur.
fn instructions() -> Step {
    heading("instructions");
    let name = "price";
    // Another processor has another count, and nobody has measured a ceiling for it.
    if !cfg!(target_arch = "x86_64") {
        return Step::not_checked(name, "the ceiling was measured on x86_64");
    }
    let counted = bench::built()
        .and_then(|_| tools::VALGRIND.have())
        .and_then(|valgrind| Ok((valgrind, instructions::prices()?)));
    match counted {
        Ok((valgrind, prices)) => {
            let told: Vec<String> = prices.iter().map(ToString::to_string).collect();
            Step::of(
                name,
                prices
                    .iter()
                    .all(|price| price.instructions <= price.ceiling),
                format!("{}; {}", told.join("; "), valgrind.version),
            )
        }
        Err(error) => Step::failed(name, &error),
    }
}

fn licences() -> Step {
    let name = "licences";
    match tools::CARGO_DENY.have() {
        Ok(deny) => check(
            name,
            deny.command()
                .args(["--locked", "check", "--hide-inclusion-graph"])
                .args(["licenses", "bans", "sources"]),
        )
        .using(&deny.version),
        Err(error) => Step::failed(name, &error),
    }
}

/// Known holes in what we depend on. The list of them is a git repository that not every network reaches.
fn holes() -> Step {
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
    match fetched {
        Ok((deny, output)) if output.status.success() => check(
            name,
            deny.command()
                .args(["--locked", "check", "--hide-inclusion-graph", "advisories"]),
        )
        .using(&deny.version),
        Ok((_, output)) => {
            heading(name);
            print!("{}", String::from_utf8_lossy(&output.stderr));
            Step::not_checked(
                name,
                "the advisory list cannot be fetched from this network",
            )
        }
        Err(error) => Step::failed(name, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
   Compiling saqta v0.0.0 (/work/saqta)
     Running unittests src/main.rs (target/release/deps/xtask-0123456789abcdef)
running 3 tests
test options::tests::times ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running tests/cli.rs (target/release/deps/cli-0123456789abcdef)
test drills ... FAILED
test silent ... FAILED

failures:

---- drills stdout ----
sjs-burst crude: exit status: 1

thread 'drills' panicked at crates/saqta/tests/cli.rs:71:5:
kursiv-search crude: readers served 0.98

---- silent stdout ----


failures:
    drills
    silent

test result: FAILED. 40 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.25s
my own words: test result: ok. 9 passed; 9 failed
     Running tests/settings.rs (target/release/deps/settings-0123456789abcdef)
error: test failed, to rerun pass `-p saqta --test settings`
  process didn't exit successfully: `settings-0123456789abcdef` (signal: 6, SIGABRT)
";

    fn heard(printed: &str) -> Tally {
        let mut tally = Tally::default();
        printed.lines().for_each(|line| tally.add(line));
        tally
    }

    #[test]
    fn closing_lines_are_added_up() {
        let tally = heard(PRINTED);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (42, 2, 1));
    }

    #[test]
    fn a_failed_test_is_named_with_its_words() {
        assert_eq!(
            heard(PRINTED).why().join("\n"),
            "\
drills (cli, tests/cli.rs)
    sjs-burst crude: exit status: 1
    thread 'drills' panicked at crates/saqta/tests/cli.rs:71:5:
    kursiv-search crude: readers served 0.98
silent (cli, tests/cli.rs)
error: test failed, to rerun pass `-p saqta --test settings`
process didn't exit successfully: `settings-0123456789abcdef` (signal: 6, SIGABRT)"
        );
    }

    #[test]
    fn what_is_told_of_failures_is_bounded() {
        let printed: String = (0..100)
            .map(|test| format!("---- test_{test} stdout ----\n{}", "word\n".repeat(1000)))
            .collect();
        let why = heard(&printed).why();
        assert_eq!(why.len(), FAILED_TOLD_MAX * (1 + TEST_LINES_MAX) + 1);
        assert_eq!(why.last().map(String::as_str), Some("and 80 more"));
    }

    #[test]
    fn the_end_says_what_held_and_what_was_not_looked_at() {
        let failed = Step {
            why: vec!["drills (cli, tests/cli.rs)".into()],
            ..Step::of("tests", false, "9 s".into())
        };
        let steps = [
            Step::of("format", true, "1 s, rustfmt 1".into()),
            failed,
            Step::not_checked("holes", "no network"),
        ];
        assert_eq!(
            closing(&steps, &heard(PRINTED), 10),
            "\n── tests FAILED
drills (cli, tests/cli.rs)

format              ok  1 s, rustfmt 1
tests           FAILED  9 s
holes      NOT CHECKED  no network
1 of 3 steps held in 10 s, 1 NOT CHECKED
42 passed, 2 failed, 1 skipped
"
        );
    }

    #[test]
    fn both_outputs_are_heard_in_order() {
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let ok = streamed(&mut command, |line| heard.push(line.to_owned())).unwrap();
        assert!(!ok);
        assert_eq!(heard, ["one", "two", "three"]);
    }
}
