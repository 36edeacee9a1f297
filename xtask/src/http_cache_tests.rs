//! The public suite for HTTP caches as a judge of ours: `http-cache-tests`, by the editor of the caching RFC.
//!
//! It asks a cache some 350 questions through a real `saqta run` in front of the suite's own origin, on loopback. *Required* tests are what
//! RFC 9111 demands, *optimal* ones what a good cache does besides, *checks* only describe. We don't pass all, and some on purpose:
//! `docs/http-cache-tests.md` names each miss with its reason, in a table that is read here. A miss that is not in it fails, and so does a
//! row whose test passes now, or the page would tell of faults we no longer have.
//!
//! The suite sends a hundred requests at once, and a page that is late is given from its stale copy ([0003]). So on a machine that does
//! something else besides a miss counts when two runs have it.
//!
//! [0003]: ../../docs/decisions/0003-stale-before-slow.md

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{root, tools};

const EXPLAINED: &str = "docs/http-cache-tests.md";

/// A miss is one that all of these have.
const RUNS: usize = 2;

/// What the suite found, and what is wrong with that, a line each; nothing is when the list is empty.
pub(crate) struct Verdict {
    pub(crate) counts: Counts,
    pub(crate) wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) required: Passed,
    pub(crate) optimal: Passed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Passed {
    passed: usize,
    of: usize,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.passed, self.of)
    }
}

/// One test of the suite, required or optimal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tested {
    optimal: bool,
    passed: bool,
    said: String,
}

type Results = BTreeMap<String, Tested>;

pub(crate) fn judge() -> Result<Verdict> {
    tools::NODE.have()?;
    let suite = tools::HTTP_CACHE_TESTS.have()?;
    let page = fs::read_to_string(root::path().join(EXPLAINED))
        .with_context(|| format!("reading {EXPLAINED}"))?;
    let explained = explained(&page);
    let mut results = run(&suite)?;
    for _ in 1..RUNS {
        if wrong(&results, &explained).is_empty() {
            break;
        }
        for (id, again) in run(&suite)? {
            if again.passed {
                results.insert(id, again);
            }
        }
    }
    Ok(Verdict {
        counts: counts(&results),
        wrong: wrong(&results, &explained),
    })
}

/// The suite's folder; fetched once into `target/tools`.
fn run(suite: &PathBuf) -> Result<Results> {
    let mut judge = Started::new(
        Command::new("node")
            .arg("--no-warnings")
            .arg(root::path().join("xtask/src/http_cache_tests.mjs"))
            .arg(suite)
            .stdin(Stdio::piped()),
    )?;
    let origin = judge.line_after("origin ")?;
    let data = std::env::temp_dir().join(format!("saqta-http-cache-tests-{}", std::process::id()));
    let mut saqta = Started::new(
        Command::new(root::target().join("release/saqta"))
            .args(["run", "--listen", "127.0.0.1:0", "--origin"])
            .arg(format!("http://127.0.0.1:{origin}"))
            .arg("--data")
            .arg(&data),
    )?;
    let cache = saqta.line_after("listening ")?;
    if let Some(mut stdin) = judge.child.stdin.take() {
        writeln!(stdin, "{cache}").context("telling the suite where the cache is")?;
    }
    let mut results = Results::new();
    while let Some(line) = judge.line()? {
        results.extend(tested(&line));
    }
    drop(saqta);
    fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
    ensure!(!results.is_empty(), "the suite reported nothing");
    Ok(results)
}

/// A check says nothing of good and bad.
fn tested(line: &str) -> Option<(String, Tested)> {
    let test: Value = serde_json::from_str(line).ok()?;
    let optimal = match test["kind"].as_str()? {
        "required" => false,
        "optimal" => true,
        _ => return None,
    };
    let tested = Tested {
        optimal,
        passed: test["passed"].as_bool()?,
        said: test["said"].as_str()?.to_owned(),
    };
    Some((test["id"].as_str()?.to_owned(), tested))
}

/// The tests of the page's table: rows that begin with a name in code.
fn explained(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(id, _)| id)
        .collect()
}

fn wrong(results: &Results, explained: &[&str]) -> Vec<String> {
    let missed = results
        .iter()
        .filter(|(id, test)| !test.passed && !explained.contains(&id.as_str()))
        .map(|(id, test)| {
            format!(
                "{id} is missed and {EXPLAINED} does not say why: {}",
                test.said
            )
        });
    let passing = explained.iter().filter_map(|id| match results.get(*id) {
        Some(test) if test.passed => Some(format!("{id} passes: take it out of {EXPLAINED}")),
        Some(_) => None,
        None => Some(format!(
            "{EXPLAINED} names {id}, which the suite does not have"
        )),
    });
    missed.chain(passing).collect()
}

fn counts(results: &Results) -> Counts {
    let mut counts = Counts::default();
    for test in results.values() {
        let kind = if test.optimal {
            &mut counts.optimal
        } else {
            &mut counts.required
        };
        kind.of += 1;
        kind.passed += usize::from(test.passed);
    }
    counts
}

/// A program of ours whose output is read line by line; ended when dropped, by its id.
struct Started {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Started {
    fn new(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let output = child.stdout.take().context("its output is not ours")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
        })
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let bytes = self
            .output
            .read_line(&mut line)
            .context("reading what a program says")?;
        Ok((bytes > 0).then(|| line.trim_end().to_owned()))
    }

    fn line_after(&mut self, start: &str) -> Result<String> {
        while let Some(line) = self.line()? {
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.to_owned());
            }
        }
        bail!("a program ended before it said {start:?}")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended by itself is not there any more, which is as good.
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"
{"id":"freshness-none","kind":"check","passed":true,"said":""}
{"id":"method-POST","kind":"optimal","passed":false,"said":"Assertion: Response 2 does not come from cache"}
{"id":"age-parse","kind":"required","passed":true,"said":""}
{"id":"store","kind":"required","passed":false,"said":"Setup: Response 1 status is 502, not 200"}
not a test
"#;

    const PAGE: &str = "\
# Words
`method-POST` in a sentence
| test | why |
|---|---|
| `store` | because |
";

    fn results() -> Results {
        PRINTED.lines().filter_map(tested).collect()
    }

    #[test]
    fn what_is_required_and_what_is_optimal_is_counted() {
        let counts = counts(&results());
        assert_eq!(
            (counts.required.to_string(), counts.optimal.to_string()),
            ("1 of 2".into(), "0 of 1".into())
        );
    }

    /// The page, and what is said about it.
    #[test]
    fn the_page_and_the_misses_agree_or_it_is_told() {
        for (page, said) in [
            (
                PAGE,
                &[
                    "method-POST is missed and docs/http-cache-tests.md does not say why: Assertion: Response 2 does not come from cache",
                ][..],
            ),
            (&format!("{PAGE}| `method-POST` | on purpose |\n"), &[]),
            (
                &format!("{PAGE}| `method-POST` | x |\n| `age-parse` | x |\n| `gone` | x |\n"),
                &[
                    "age-parse passes: take it out of docs/http-cache-tests.md",
                    "docs/http-cache-tests.md names gone, which the suite does not have",
                ],
            ),
        ] {
            assert_eq!(wrong(&results(), &explained(page)), said, "{page}");
        }
    }
}
