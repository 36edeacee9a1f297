//! The data folder: one running Saqta's own place on disk.
//!
//! Two programs on one folder would answer each other's orders, so the first to come holds a lock for as long as it lives. The
//! kernel lets go of it however the process ends, which is why the lock, not the socket file a crash leaves behind, says whether
//! a Saqta runs.
//!
//! Whoever can write there can give orders, so the folder must be its owner's alone, and the owner must be whom Saqta runs as.
//! Its rights are never changed by us: `--data /tmp` is a slip of the hand that must not shut everybody else out of `/tmp`.
//! `saqta check` and `saqta run` ask the same questions ([`examine`]), so that the one cannot promise what the other refuses.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::FlockOperation;
use rustix::process::Resource;

use crate::machine::{plainly, writing_remedy};

/// A block of every usual file system: less may find room in the folder's own entry where no file could grow any more.
const PROBE_BYTES: usize = 4096;

/// What anybody but the owner may do there.
const OTHERS: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot make the data folder {}: {}\n{}", path.display(), plainly(cause), making_remedy(path, cause))]
    Make { path: PathBuf, cause: io::Error },
    #[error("the data folder {} cannot be looked at: {}\n{}", path.display(), plainly(cause), writing_remedy(cause))]
    Look { path: PathBuf, cause: io::Error },
    #[error("{} is a file, and the data folder needs that name\nchoose a folder with --data DIR", path.display())]
    File { path: PathBuf },
    #[error(
        "the data folder {} belongs to user {owner} and Saqta runs as user {ours}\nrun it as that user: sudo -u '#{owner}' saqta …; or give the folder to this one: sudo chown -R {ours} {}",
        path.display(),
        path.display()
    )]
    Foreign {
        path: PathBuf,
        owner: u32,
        ours: u32,
    },
    #[error(
        "the data folder {} is open to other users (mode {mode:03o}), who could see what is in it or give orders\nchmod 700 {}; under systemd StateDirectoryMode=0700",
        path.display(),
        path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("cannot write into {}: {}\n{}", path.display(), plainly(cause), writing_remedy(cause))]
    Write { path: PathBuf, cause: io::Error },
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
    /// When it cannot be made or written, is not ours alone, or another Saqta has it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let lock_path = path.join("lock");
        let whether = match examine(path) {
            // Whoever starts anew in an outage needs the newspaper that lies there more than room for the next page.
            Err(FolderError::Write { cause, .. }) if is_full(&cause) && lock_path.exists() => {
                tracing::warn!(
                    "no room in {}: what is saved there is shown, and nothing new is; {}",
                    path.display(),
                    writing_remedy(&cause)
                );
                Whether::IsThere
            }
            whether => whether?,
        };
        if whether == Whether::WillBeMade {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.map_err(|cause| FolderError::Make {
                path: path.into(),
                cause,
            })?;
        }
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

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whether {
    IsThere,
    WillBeMade,
}

/// Whether a Saqta could keep its files there. Leaves nothing behind.
///
/// # Errors
/// What stands in its way.
pub fn examine(path: &Path) -> Result<Whether, FolderError> {
    let there = nearest(path);
    let metadata = fs::metadata(there).map_err(|cause| FolderError::Look {
        path: there.into(),
        cause,
    })?;
    if !metadata.is_dir() {
        return Err(FolderError::File { path: there.into() });
    }
    let whether = if there == path {
        let (owner, ours) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != ours {
            return Err(FolderError::Foreign {
                path: path.into(),
                owner,
                ours,
            });
        }
        let mode = metadata.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(FolderError::Open {
                path: path.into(),
                mode,
            });
        }
        Whether::IsThere
    } else {
        Whether::WillBeMade
    };
    let path = path.to_path_buf();
    match (try_writing(there), whether) {
        (Ok(()), whether) => Ok(whether),
        (Err(cause), Whether::IsThere) => Err(FolderError::Write { path, cause }),
        (Err(cause), Whether::WillBeMade) => Err(FolderError::Make { path, cause }),
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn making_remedy(path: &Path, cause: &io::Error) -> String {
    match cause.kind() {
        // What is above may be the system's, and not ours to be given.
        io::ErrorKind::PermissionDenied => format!(
            "make it for the user that runs Saqta: sudo install -d -m 700 -o \"$USER\" {}; or choose another with --data DIR",
            path.display()
        ),
        _ => writing_remedy(cause).into(),
    }
}

/// The path, or what is there of it.
fn nearest(path: &Path) -> &Path {
    let is_there = |path: &&Path| {
        !matches!(
            // A link that leads nowhere is there too: no folder can be made in its place.
            path.symlink_metadata().map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        )
    };
    path.ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .find(is_there)
        .unwrap_or(Path::new("."))
}

fn try_writing(folder: &Path) -> io::Result<()> {
    /// Two threads may ask about two folders of one parent.
    static PROBES: AtomicU32 = AtomicU32::new(0);
    // Writing beyond this limit would not fail but end us with a signal.
    let file_bytes_max = rustix::process::getrlimit(Resource::Fsize).current;
    if file_bytes_max.is_some_and(|bytes| bytes < PROBE_BYTES as u64) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let probe = folder.join(format!(".saqta-probe-{}-{number}", std::process::id()));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&probe)?;
    // Some file systems find out only here that there is no room.
    let written = file
        .write_all(&[0; PROBE_BYTES])
        .and_then(|()| file.sync_data());
    fs::remove_file(&probe).and(written)
}

pub(crate) fn control_socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}
