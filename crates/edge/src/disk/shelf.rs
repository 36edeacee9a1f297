//! A folder of records: what both the cache's disk and the always-online copies are made of.
//!
//! One file a page, named by a keyed hash, in 256 folders for each site. A file system already is an index that survives kill -9, keeps
//! its own books of what is used, and lets go of a page by unlinking it, so that forgetting means gone and not "overwritten when its turn
//! comes". Files are written under one name that nothing looks for and renamed when they are whole. They are not synced: after a power cut
//! some are torn, their sums say so, and a torn copy is a page the origin is asked for once more. A sync for each would cost more than that.
//!
//! The folder belongs to one process, its rights to one user. It carries the version of its layout; what another version wrote is thrown
//! away, because a cache is nothing that anybody migrates.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::record::{self, Address, Identity, PRELUDE_BYTES, Record, RecordFault, Seal};
use crate::clock::UnixMillis;

/// Of the folder's layout; that of the records is [`record::VERSION`].
const LAYOUT: &[u8] = b"saqta-shelf 1\n";
/// An unfinished file.
const WRITING: &str = ".writing";
const BLOCK_BYTES: u64 = 4096;
/// A file's inode, its name, and what we remember of it, rounded up to a block.
const FILE_OVERHEAD_BYTES: u64 = BLOCK_BYTES;

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("cannot use the folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("another process uses the folder {path}")]
    Taken { path: PathBuf },
}

/// Why a record is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    #[error("there is none")]
    Absent,
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Record(#[from] RecordFault),
    /// One name for two addresses, or a file that somebody moved.
    #[error("it is another page's")]
    Other,
}

#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
    seal: Seal,
    _lock: File,
}

/// What a look through the folder finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub name: u64,
    /// On disk, everything counted.
    pub bytes: u64,
    pub modified: UnixMillis,
}

impl Shelf {
    /// `chance`: the folder's key, if it has none yet.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process has it.
    pub fn open(root: &Path, chance: [u8; 16]) -> Result<Self, ShelfError> {
        let failed = |source| ShelfError::Folder {
            path: root.to_owned(),
            source,
        };
        make_folder(root).map_err(failed)?;
        let lock = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ShelfError::Taken {
                    path: root.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let key = key_of(root, chance).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            seal: Seal::new(key),
            _lock: lock,
        })
    }

    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// Of a record with so long a head and body.
    pub fn bytes_on_disk(head: usize, body: usize) -> u64 {
        ((head + body) as u64).div_ceil(BLOCK_BYTES) * BLOCK_BYTES + FILE_OVERHEAD_BYTES
    }

    /// Whole or not at all, whatever happens meanwhile.
    ///
    /// # Errors
    /// When the disk does not take it; nothing of it stays.
    pub fn write(
        &self,
        site: &[u8],
        name: u64,
        head: &[u8],
        body: &[u8],
        modified: UnixMillis,
    ) -> io::Result<()> {
        let folder = self.site(site);
        let unfinished = folder.join(WRITING);
        let written = self.write_unfinished(&folder, &unfinished, head, body, modified);
        let path = self.path(site, name);
        let placed = written.and_then(|()| match fs::rename(&unfinished, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(path.parent().unwrap_or(&folder))?;
                fs::rename(&unfinished, &path)
            }
            other => other,
        });
        if placed.is_err() {
            // Room for the next one; that it may not be there is no news.
            drop(fs::remove_file(&unfinished));
        }
        placed
    }

    fn write_unfinished(
        &self,
        folder: &Path,
        unfinished: &Path,
        head: &[u8],
        body: &[u8],
        modified: UnixMillis,
    ) -> io::Result<()> {
        let mut options = private();
        options.write(true).create(true).truncate(true);
        let mut file = match options.open(unfinished) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(folder)?;
                options.open(unfinished)?
            }
            other => other?,
        };
        file.write_all(head)?;
        file.write_all(body)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(modified.0))
    }

    /// # Errors
    /// Why there is no such record, or none that can be trusted.
    pub fn read(&self, page: &Identity<'_>) -> Result<Record, ReadFault> {
        self.read_named(page, self.seal.name(page))
    }

    /// Under a name that is not the page's own: an older version of it.
    ///
    /// # Errors
    /// As [`Shelf::read`].
    pub fn read_named(&self, page: &Identity<'_>, name: u64) -> Result<Record, ReadFault> {
        let record = self.read_whole(&self.open_file(page.site, name)?)?;
        if record.address.as_identity() != *page {
            return Err(ReadFault::Other);
        }
        Ok(record)
    }

    fn read_whole(&self, file: &File) -> Result<Record, ReadFault> {
        let length = file.metadata().map_err(ReadFault::Read)?.len();
        let longest = (PRELUDE_BYTES + record::HEAD_BYTES_MAX + record::BODY_BYTES_MAX) as u64;
        if length > longest {
            return Err(RecordFault::Length.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(longest + 1)
            .read_to_end(&mut bytes)
            .map_err(ReadFault::Read)?;
        Ok(record::decode(self.seal, &Bytes::from(bytes))?)
    }

    /// Its head alone, with an empty body.
    ///
    /// # Errors
    /// As [`Shelf::read`].
    pub fn read_head(&self, site: &[u8], name: u64) -> Result<Record, ReadFault> {
        let record = self.read_head_of(&self.open_file(site, name)?)?;
        if record.address.site.as_ref() != site {
            return Err(ReadFault::Other);
        }
        Ok(record)
    }

    fn read_head_of(&self, file: &File) -> Result<Record, ReadFault> {
        /// Most heads are within, so that one read is enough.
        const USUAL_BYTES: u64 = 4096;
        let length = file.metadata().map_err(ReadFault::Read)?.len();
        let mut bytes = Vec::with_capacity(USUAL_BYTES as usize);
        let read = |upto: u64, bytes: &mut Vec<u8>| {
            let more = upto.saturating_sub(bytes.len() as u64);
            file.take(more).read_to_end(bytes).map_err(ReadFault::Read)
        };
        read(USUAL_BYTES, &mut bytes)?;
        let needed = record::head_bytes(&bytes)? as u64;
        read(needed, &mut bytes)?;
        Ok(record::decode_head(self.seal, &Bytes::from(bytes), length)?)
    }

    fn open_file(&self, site: &[u8], name: u64) -> Result<File, ReadFault> {
        match File::open(self.path(site, name)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadFault::Absent),
            Err(error) => Err(ReadFault::Read(error)),
        }
    }

    /// When it was last found to be good.
    ///
    /// # Errors
    /// When there is no such file, or it is not ours to change.
    pub fn set_modified(&self, site: &[u8], name: u64, modified: UnixMillis) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(site, name))?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(modified.0))
    }

    /// # Errors
    /// When it is there and cannot be taken away.
    pub fn remove(&self, site: &[u8], name: u64) -> io::Result<()> {
        match fs::remove_file(self.path(site, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The same record under a second name too, until one of the two is written anew.
    ///
    /// # Errors
    /// When there is no such record, or the disk does not do it.
    pub fn link(&self, site: &[u8], from: u64, to: u64) -> io::Result<()> {
        self.remove(site, to)?;
        let to = self.path(site, to);
        if let Some(folder) = to.parent() {
            make_folder(folder)?;
        }
        fs::hard_link(self.path(site, from), to)
    }

    /// One record takes the place of another, as when the older of two versions becomes the newest again.
    ///
    /// # Errors
    /// When there is no such record, or the disk does not do it.
    pub fn rename(&self, site: &[u8], from: u64, to: u64) -> io::Result<()> {
        let to = self.path(site, to);
        if let Some(folder) = to.parent() {
            make_folder(folder)?;
        }
        fs::rename(self.path(site, from), to)
    }

    /// Every file of a site. What is no record's name is removed.
    pub fn look_through(&self, site: &[u8], mut each: impl FnMut(Seen)) {
        for folder in entries(&self.site(site)) {
            if !folder.is_dir() {
                drop(fs::remove_file(&folder));
                continue;
            }
            look_through_folder(&folder, &mut each);
        }
    }

    /// Every file of sites that are not named here, each with its path.
    pub fn look_through_others(&self, sites: &[&[u8]], mut each: impl FnMut(&Path, Seen)) {
        let named: Vec<PathBuf> = sites.iter().map(|site| self.site(site)).collect();
        for site in entries(&self.root.join("sites")) {
            if named.contains(&site) {
                continue;
            }
            for folder in entries(&site) {
                look_through_folder(&folder, |seen| {
                    each(&folder.join(format!("{:016x}", seen.name)), seen);
                });
                // Once it is empty.
                drop(fs::remove_dir(&folder));
            }
            drop(fs::remove_dir(&site));
        }
    }

    /// Whose a record is, wherever it lies.
    ///
    /// # Errors
    /// As [`Shelf::read`].
    pub fn address_in(&self, path: &Path) -> Result<Address, ReadFault> {
        let file = File::open(path).map_err(ReadFault::Read)?;
        Ok(self.read_head_of(&file)?.address)
    }

    /// A whole record, wherever it lies.
    ///
    /// # Errors
    /// As [`Shelf::read`].
    pub fn read_file(&self, path: &Path) -> Result<Record, ReadFault> {
        self.read_whole(&File::open(path).map_err(ReadFault::Read)?)
    }

    /// Takes away what belongs to sites the settings no longer name.
    pub fn keep_only(&self, sites: &[&[u8]]) {
        let kept: Vec<PathBuf> = sites.iter().map(|site| self.site(site)).collect();
        for folder in entries(&self.root.join("sites")) {
            if !kept.contains(&folder) {
                drop(fs::remove_dir_all(&folder));
            }
        }
    }

    fn site(&self, site: &[u8]) -> PathBuf {
        self.root.join("sites").join(folder_name(site))
    }

    fn path(&self, site: &[u8], name: u64) -> PathBuf {
        let mut path = self.site(site);
        path.push(format!("{:02x}", name >> 56));
        path.push(format!("{name:016x}"));
        path
    }
}

/// What is no record's name is removed.
fn look_through_folder(folder: &Path, mut each: impl FnMut(Seen)) {
    for file in entries(folder) {
        match (name_of(&file), fs::symlink_metadata(&file)) {
            (Some(name), Ok(metadata)) if metadata.is_file() => each(Seen {
                name,
                bytes: metadata.len().div_ceil(BLOCK_BYTES) * BLOCK_BYTES + FILE_OVERHEAD_BYTES,
                modified: UnixMillis::from_secs(u64::try_from(metadata.mtime()).unwrap_or(0)),
            }),
            _ => drop(fs::remove_file(&file)),
        }
    }
}

/// Rights of the one user only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::metadata(path)?;
    if metadata.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The folder's key. A folder of another layout, or one whose key is lost, is emptied: none of its names can be found again.
fn key_of(root: &Path, chance: [u8; 16]) -> io::Result<[u8; 16]> {
    let path = root.join("key");
    let known = fs::read(&path).ok().and_then(|text| {
        let key: [u8; 16] = text.strip_prefix(LAYOUT)?.try_into().ok()?;
        Some(key)
    });
    if let Some(key) = known {
        return Ok(key);
    }
    match fs::remove_dir_all(root.join("sites")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let unfinished = root.join(WRITING);
    let mut file = private()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&unfinished)?;
    file.write_all(LAYOUT)?;
    file.write_all(&chance)?;
    // Once in the folder's life: a lost key is a lost folder.
    file.sync_all()?;
    fs::rename(&unfinished, &path)?;
    Ok(chance)
}

/// A site's name as the name of a folder: letters, digits, dots and dashes as they are.
fn folder_name(site: &[u8]) -> String {
    let mut name = String::with_capacity(site.len());
    for (at, byte) in site.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(*byte)),
            b'.' if at > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() {
        "%".to_owned()
    } else {
        name
    }
}

fn name_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    (name.len() == 16)
        .then(|| u64::from_str_radix(name, 16).ok())
        .flatten()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sites_are_names_of_folders() {
        let table: &[(&[u8], &str)] = &[
            (b"kaztag.kz", "kaztag.kz"),
            (b"Nege", "%4Eege"),
            (b"..", "%2E."),
            (b"a/b", "a%2Fb"),
            (b"", "%"),
            ("қаз".as_bytes(), "%D2%9B%D0%B0%D0%B7"),
        ];
        for (site, folder) in table {
            assert_eq!(folder_name(site), *folder);
        }
    }
}
