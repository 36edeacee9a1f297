//! How big it has become. A report and no limit: length follows meaning, but a file that doubled is worth a look.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::root;

const HELP: &str = "\
cargo x size

  Lines of each crate, of which tests; the longest files; bytes of the program if `cargo build --release` has made it.
";

/// How many of the longest files are worth a line.
const LONGEST_SHOWN: usize = 10;

#[derive(Default)]
struct Lines {
    all: usize,
    tests: usize,
}

pub(crate) fn run(mut options: Options) -> Result<()> {
    if options.flag("--help") {
        print!("{HELP}");
        return Ok(());
    }
    if let Some(word) = options.words()?.first() {
        bail!("takes no options, not {word:?}");
    }

    let mut files = Vec::new();
    println!("{:<16} {:>7} {:>7}", "crate", "lines", "tests");
    for folder in crates()? {
        let mut total = Lines::default();
        let mut found = Vec::new();
        rust_files(&folder, &mut found)?;
        for file in found {
            let text =
                fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let lines = count(&text, file.starts_with(folder.join("tests")));
            total.all += lines.all;
            total.tests += lines.tests;
            files.push((lines.all, file));
        }
        println!("{:<16} {:>7} {:>7}", name(&folder), total.all, total.tests);
    }

    files.sort_by(|one, other| other.cmp(one));
    println!("\n{:<7} longest files", "lines");
    for (lines, file) in files.iter().take(LONGEST_SHOWN) {
        println!("{lines:<7} {}", name(file));
    }

    let program = root::target().join("release/saqta");
    match fs::metadata(&program) {
        Ok(program) => println!("\nprogram {} bytes, with line tables", program.len()),
        Err(_) => println!("\nprogram not built: cargo build --release"),
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.strip_prefix(root::path())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn crates() -> Result<Vec<PathBuf>> {
    let mut folders = vec![root::path().join("xtask"), root::path().join("fuzz")];
    for entry in fs::read_dir(root::path().join("crates")).context("listing crates/")? {
        folders.push(entry.context("listing crates/")?.path());
    }
    folders.sort();
    Ok(folders)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Tests close their file here, so what follows `#[cfg(test)]` at the margin is tests.
fn count(text: &str, all_tests: bool) -> Lines {
    let all = text.lines().count();
    let code = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count();
    Lines {
        all,
        tests: if all_tests { all } else { all - code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_begin_where_the_file_says_so() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        let lines = count(text, false);
        assert_eq!((lines.all, lines.tests), (5, 3));
        let lines = count(text, true);
        assert_eq!((lines.all, lines.tests), (5, 5));
        let lines = count("fn a() {}\n", false);
        assert_eq!((lines.all, lines.tests), (1, 0));
    }
}
