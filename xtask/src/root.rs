//! Where things are in this repository, and the clock that times them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The repository. Known when this crate is compiled, because it is always compiled where it is used.
pub(crate) fn path() -> &'static Path {
    const XTASK: &str = env!("CARGO_MANIFEST_DIR");
    Path::new(XTASK).parent().unwrap_or(Path::new(XTASK))
}

/// Cargo's target folder, wherever the developer has put it.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => path().join(folder),
        None => path().join("target"),
    }
}

/// The same cargo that runs us, started in the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(path());
    cargo
}

#[expect(
    clippy::disallowed_methods,
    reason = "these commands time real programs; nothing here is replayed"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
