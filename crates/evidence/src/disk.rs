//! Where the ledger lies, as little of a file system as it needs: so that its tests can have a disk that forgets what was not synced.
//!
//! What a disk promises: written bytes are there after a crash when the file was synced since, and a name is there when its folder was. All
//! else may be there, or not, or in part.

#[cfg(test)]
pub(crate) mod forgetful;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Paths are below the disk's folder, with `/` between their parts.
pub trait Disk {
    type File: OpenFile;

    /// Makes it, and its folders, where it is not there.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// All of a file that is there. `None`: it is not.
    ///
    /// # Errors
    /// The system's; one longer than `bytes_max` is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>>;

    /// In place of what has that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Where a file is to be renamed to.
    ///
    /// # Errors
    /// The system's.
    fn make_folder_of(&self, path: &str) -> io::Result<()>;

    /// Safe when it returns. What is not there is removed already.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names of the folder this file is in, and of those above.
    ///
    /// # Errors
    /// The system's.
    fn sync_names(&self, path: &str) -> io::Result<()>;
}

pub trait OpenFile {
    /// # Errors
    /// The system's.
    fn bytes(&self) -> io::Result<u64>;

    /// All of `bytes`.
    ///
    /// # Errors
    /// The system's. Some of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `bytes`.
    ///
    /// # Errors
    /// The system's; the file may end before.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Makes it end there.
    ///
    /// # Errors
    /// The system's.
    fn cut(&self, len: u64) -> io::Result<()>;

    /// Returns when what was written is safe.
    ///
    /// # Errors
    /// The system's. What was written since the last time may be lost, and the next call may not say so.
    fn sync(&self) -> io::Result<()>;
}

/// So that whoever reads finds the old or the new, whenever the machine stops. Safe when it returns.
///
/// # Errors
/// The system's.
pub fn replace(disk: &impl Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    write_beside(disk, path, bytes, true)
}

/// As [`replace`], for what can be made anew: nothing is waited for, and after a crash it may be there in part.
///
/// # Errors
/// The system's.
pub fn put(disk: &impl Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    write_beside(disk, path, bytes, false)
}

fn write_beside(disk: &impl Disk, path: &str, bytes: &[u8], is_safe: bool) -> io::Result<()> {
    let beside = format!("{path}.new");
    let file = disk.open(&beside)?;
    file.cut(0)?;
    file.write_at(0, bytes)?;
    if is_safe {
        file.sync()?;
    }
    disk.rename(&beside, path)?;
    if is_safe {
        disk.sync_names(path)?;
    }
    Ok(())
}

/// A folder of this machine. What it makes is its owner's alone.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Disk for Folder {
    type File = fs::File;

    fn open(&self, path: &str) -> io::Result<fs::File> {
        let path = self.at(path);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_parent(&path)?;
                options.open(&path)
            }
            result => result,
        }
    }

    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.at(path);
        match fs::metadata(&path) {
            Ok(data) if data.len() > bytes_max => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => fs::read(path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn make_folder_of(&self, path: &str) -> io::Result<()> {
        make_parent(&self.at(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => self.sync_names(path),
            Err(error) => Err(error),
        }
    }

    fn sync_names(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        let mut folder = path.parent();
        while let Some(path) = folder.filter(|path| path.starts_with(&self.0)) {
            fs::File::open(path)?.sync_all()?;
            folder = path.parent();
        }
        // The name of the folder itself.
        match self.0.parent() {
            Some(above) if above != Path::new("") => fs::File::open(above)?.sync_all(),
            _ => fs::File::open(".")?.sync_all(),
        }
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder),
        None => Ok(()),
    }
}

impl OpenFile for fs::File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
