//! `cargo x`: everything a developer or a build machine does with this repository, in one place and in one language.
//!
//! The commands are few on purpose. `test` is the only answer to "is it good?", for a person and for CI alike, so that neither
//! can pass what the other would refuse. `fuzz` and `bench` answer "how good?", take longer and are asked by hand.
//! Whatever they need from outside they install themselves; what can't be had is an error, because a check that
//! was silently left out looks exactly like one that passed.

mod bench;
mod fuzz;
mod http_cache_tests;
mod options;
mod root;
mod size;
mod test;
mod tools;

use std::process::ExitCode;

use options::Options;

const HELP: &str = "\
cargo x COMMAND

  test            the whole check: format, lints, tests, fuzz inputs, licences; `ci` is the same
  fuzz [NAME]     look for an input that breaks a parser: cargo x fuzz request_head --for 5m
  bench [WHAT]…   CPU per request beside nginx, Varnish and HAProxy in one interleaved run
  size            lines by crate, the longest files, bytes of the program

cargo x COMMAND --help tells a command's options.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let options = Options::new(arguments);
    let done = match command.as_str() {
        "test" | "ci" => test::run(options),
        "fuzz" => fuzz::run(options),
        "bench" => bench::run(options),
        "size" => size::run(options),
        "" | "help" | "-h" | "--help" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        unknown => {
            eprint!("cargo x: there is no command {unknown:?}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo x {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
