//! Files that are there whole or not at all, and for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// In the place of what is there.
///
/// # Errors
/// When the disk does not take it; then what was there stays.
pub fn write(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = path.with_extension("writing");
    // Made anew: what lies there may be for everybody's eyes, or lead elsewhere.
    drop(fs::remove_file(&unfinished));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let placed = write(&mut file).and_then(|()| fs::rename(&unfinished, path));
    if placed.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    placed
}
