use std::process::ExitCode;

use clap::Parser;

/// The system's allocator gives memory back late and locks between threads that free each other's bytes, as shards do with
/// stored responses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    saqta::cli::execute(saqta::cli::Cli::parse())
}
