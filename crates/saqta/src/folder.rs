//! The data folder: one running Saqta's own place on disk.
//!
//! Two programs on one folder would answer each other's orders, so the first to come holds a lock for as long as it lives. The
//! kernel lets go of it however the process ends, which is why the lock, not the socket file a crash leaves behind, says whether
//! a Saqta runs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::machine::{plainly, writing_remedy};

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot make the data folder {}: {}\n{}", path.display(), plainly(cause), writing_remedy(cause))]
    Make { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {}\n{}", path.display(), plainly(cause), writing_remedy(cause))]
    Lock { path: PathBuf, cause: io::Error },
    #[error(
        "another saqta runs on the data folder {0}\n`saqta status --data {0}` shows it; give this one a folder of its own with --data DIR",
        path.display()
    )]
    Taken { path: PathBuf },
}

/// Locked until dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder, for its owner only, when it is not there.
    ///
    /// # Errors
    /// When it cannot be made or written, or another Saqta has it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.map_err(|cause| FolderError::Make {
            path: path.into(),
            cause,
        })?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path);
        let lock = lock.map_err(|cause| FolderError::Lock {
            path: lock_path.clone(),
            cause,
        })?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.into(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Taken { path: path.into() }),
            Err(errno) => Err(FolderError::Lock {
                path: lock_path,
                cause: errno.into(),
            }),
        }
    }

    pub fn control_socket(&self) -> PathBuf {
        control_socket(&self.path)
    }
}

pub(crate) fn control_socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}
