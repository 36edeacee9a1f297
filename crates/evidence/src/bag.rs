//! A folder that can be handed over: BagIt 1.0 (RFC 8493), with nothing in it that its manifests do not list.
//!
//! The standard lets much be left open; what we write has one form, and what is read is held to the part of it that lets a file be added,
//! taken away or changed without notice. All of it is read into memory once, so that what was checked is what is used.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256, Sha512};

/// Of all files together: a bundle for a lawyer, not an archive.
pub const BAG_BYTES_MAX: u64 = 512 * 1024 * 1024;
const FILES_MAX: usize = 4_096;
const FOLDERS_DEEP_MAX: usize = 16;

pub const DECLARATION: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
const PAYLOAD: &str = "data/";
const DECLARED_IN: &str = "bagit.txt";
pub const INFO: &str = "bag-info.txt";
pub const MANIFEST_256: &str = "manifest-sha256.txt";
pub const MANIFEST_512: &str = "manifest-sha512.txt";
const TAGS_256: &str = "tagmanifest-sha256.txt";
const TAGS_512: &str = "tagmanifest-sha512.txt";

/// What is in a bag, by its path with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug, thiserror::Error)]
pub enum BagError {
    #[error("{} is not there, or is no folder", path.display())]
    NoFolder { path: PathBuf },
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is there already; nothing was written", path.display())]
    Exists { path: PathBuf },
    #[error("{} is no bundle: it has no {DECLARED_IN} of BagIt 1.0", path.display())]
    NotABag { path: PathBuf },
    #[error("it has more than {FILES_MAX} files, or more than {BAG_BYTES_MAX} bytes")]
    TooBig,
    #[error("{} is no file and no folder, or its name is not text", path.display())]
    Strange { path: PathBuf },
}

/// What is not as the manifests say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BagFault {
    #[error("it is listed and not there")]
    Missing,
    #[error("it is there and not listed")]
    Added,
    #[error("it is not what its manifest says")]
    Changed,
    #[error("it is no manifest as this program writes it")]
    Manifest,
}

/// Adds what BagIt asks for. `files`: the payload below `data/` and the tag files, without manifests.
pub fn complete(files: &mut Files) {
    files.insert(DECLARED_IN.to_owned(), DECLARATION.into());
    for (name, text) in manifests(files) {
        files.insert(name.to_owned(), text.into());
    }
    tags(files);
}

/// Adds the lists of tag files anew, after one was added.
pub fn tags(files: &mut Files) {
    for (name, text) in tag_manifests(files) {
        files.insert(name.to_owned(), text.into());
    }
}

/// Into a new folder, which is there whole or not at all.
///
/// # Errors
/// [`BagError`].
pub fn write(files: &Files, folder: &Path) -> Result<(), BagError> {
    if folder.symlink_metadata().is_ok() {
        return Err(BagError::Exists {
            path: folder.to_owned(),
        });
    }
    let beside = beside(folder);
    let written = write_into(files, &beside).and_then(|()| {
        fs::rename(&beside, folder).map_err(|source| BagError::Write {
            path: folder.to_owned(),
            source,
        })
    });
    if written.is_err() {
        _ = fs::remove_dir_all(&beside);
    }
    written
}

fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    folder.with_file_name(name)
}

fn write_into(files: &Files, folder: &Path) -> Result<(), BagError> {
    for (name, bytes) in files {
        let path = folder.join(name);
        let of_path = |source| BagError::Write {
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(of_path)?;
        }
        let file = fs::File::create_new(&path).map_err(of_path)?;
        io::Write::write_all(&mut &file, bytes).map_err(of_path)?;
        file.sync_all().map_err(of_path)?;
    }
    Ok(())
}

/// Reads all of it. That it is as its manifests say, [`check`] says.
///
/// # Errors
/// [`BagError`].
pub fn read(folder: &Path) -> Result<Files, BagError> {
    if !folder.is_dir() {
        return Err(BagError::NoFolder {
            path: folder.to_owned(),
        });
    }
    // Before all else is read: somebody may have typed the name of any folder.
    let declared = fs::File::open(folder.join(DECLARED_IN)).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(DECLARATION.len() as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    if !declared.is_ok_and(|bytes| bytes == DECLARATION.as_bytes()) {
        return Err(BagError::NotABag {
            path: folder.to_owned(),
        });
    }
    let mut files = Files::new();
    let mut left = BAG_BYTES_MAX;
    read_into(folder, "", 0, &mut files, &mut left)?;
    Ok(files)
}

fn read_into(
    folder: &Path,
    name: &str,
    deep: usize,
    files: &mut Files,
    left: &mut u64,
) -> Result<(), BagError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |source| BagError::Read { path, source }
    };
    if deep == FOLDERS_DEEP_MAX {
        return Err(BagError::TooBig);
    }
    for entry in fs::read_dir(folder).map_err(of(folder))? {
        let entry = entry.map_err(of(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(of(&path))?;
        let strange = || BagError::Strange { path: path.clone() };
        let own = entry.file_name();
        let inner = format!("{name}{}", own.to_str().ok_or_else(strange)?);
        // A link leads somewhere else, where what it leads to can be changed.
        if kind.is_dir() {
            read_into(&path, &format!("{inner}/"), deep + 1, files, left)?;
        } else if kind.is_file() {
            let file = fs::File::open(&path).map_err(of(&path))?;
            let mut bytes = Vec::new();
            let mut bounded = file.take(*left + 1);
            bounded.read_to_end(&mut bytes).map_err(of(&path))?;
            let remains = left.checked_sub(bytes.len() as u64);
            *left = remains.ok_or(BagError::TooBig)?;
            files.insert(inner, bytes);
            if files.len() > FILES_MAX {
                return Err(BagError::TooBig);
            }
        } else {
            return Err(strange());
        }
    }
    Ok(())
}

/// Does every manifest list what is there, and nothing else? Gives the first file of which that is not so.
///
/// # Errors
/// The file's path, and what is wrong with it.
pub fn check(files: &Files) -> Result<(), (String, BagFault)> {
    for name in [MANIFEST_256, MANIFEST_512, TAGS_256, TAGS_512] {
        if !files.contains_key(name) {
            return Err((name.to_owned(), BagFault::Missing));
        }
    }
    for (name, made) in manifests(files).into_iter().chain(tag_manifests(files)) {
        let found = files.get(name).map(Vec::as_slice).unwrap_or_default();
        if found != made.as_bytes() {
            return Err(differs(name, found, &made));
        }
    }
    Ok(())
}

/// Which file it is that a manifest and the folder differ about.
fn differs(manifest: &str, found: &[u8], made: &str) -> (String, BagFault) {
    let listed = |text: &str| -> Option<BTreeMap<String, String>> {
        let pair = |line: &str| {
            let (sum, name) = line.split_once("  ")?;
            Some((name.to_owned(), sum.to_owned()))
        };
        text.lines().map(pair).collect()
    };
    let none = (manifest.to_owned(), BagFault::Manifest);
    let Some(found) = str::from_utf8(found).ok().and_then(listed) else {
        return none;
    };
    let made = listed(made).unwrap_or_default();
    let missing = found.keys().find(|name| !made.contains_key(*name));
    if let Some(name) = missing {
        return (name.clone(), BagFault::Missing);
    }
    for (name, sum) in &made {
        match found.get(name) {
            None => return (name.clone(), BagFault::Added),
            Some(listed) if listed != sum => return (name.clone(), BagFault::Changed),
            Some(_) => {}
        }
    }
    none
}

fn manifests(files: &Files) -> [(&'static str, String); 2] {
    let payload = |name: &str| name.starts_with(PAYLOAD);
    [
        (MANIFEST_256, list(files, payload, sha256)),
        (MANIFEST_512, list(files, payload, sha512)),
    ]
}

fn tag_manifests(files: &Files) -> [(&'static str, String); 2] {
    let tag = |name: &str| !name.starts_with(PAYLOAD) && name != TAGS_256 && name != TAGS_512;
    [
        (TAGS_256, list(files, tag, sha256)),
        (TAGS_512, list(files, tag, sha512)),
    ]
}

fn list(files: &Files, which: impl Fn(&str) -> bool, sum: fn(&[u8]) -> String) -> String {
    let mut text = String::new();
    for (name, bytes) in files.iter().filter(|(name, _)| which(name)) {
        // Names are ours or were read by us: one with the end of a line in it finds no list that it is in. Writing to a text cannot fail.
        _ = writeln!(text, "{}  {name}", sum(bytes));
    }
    text
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn sha512(bytes: &[u8]) -> String {
    hex(&Sha512::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Removed(PathBuf);

    impl Removed {
        fn new(name: &str) -> Self {
            let name = format!("saqta-bag-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Removed {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn bag() -> Files {
        let mut files = Files::new();
        files.insert("data/a.txt".to_owned(), b"one".to_vec());
        files.insert("data/b/ё.txt".to_owned(), Vec::new());
        files.insert(INFO.to_owned(), b"Payload-Oxum: 3.2\n".to_vec());
        complete(&mut files);
        files
    }

    #[test]
    fn what_is_written_is_read_and_is_whole() {
        let folder = Removed::new("whole");
        let path = folder.0.join("bag");
        write(&bag(), &path).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read, bag());
        assert_eq!(check(&read), Ok(()));
        assert!(matches!(write(&bag(), &path), Err(BagError::Exists { .. })));
        assert_eq!(
            fs::read_dir(&folder.0).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn whatever_is_done_to_a_file_is_noticed_and_named() {
        type Act = fn(&mut Files);
        let table: [(&str, Act, BagFault); 8] = [
            (
                "data/a.txt",
                |files| files.get_mut("data/a.txt").unwrap()[0] ^= 1,
                BagFault::Changed,
            ),
            (
                "data/a.txt",
                |files| drop(files.remove("data/a.txt")),
                BagFault::Missing,
            ),
            (
                "data/c",
                |files| drop(files.insert("data/c".into(), Vec::new())),
                BagFault::Added,
            ),
            (
                "extra",
                |files| drop(files.insert("extra".into(), Vec::new())),
                BagFault::Added,
            ),
            (
                INFO,
                |files| files.get_mut(INFO).unwrap().push(b' '),
                BagFault::Changed,
            ),
            (INFO, |files| drop(files.remove(INFO)), BagFault::Missing),
            (
                TAGS_512,
                |files| drop(files.remove(TAGS_512)),
                BagFault::Missing,
            ),
            (
                MANIFEST_256,
                |files| files.get_mut(MANIFEST_256).unwrap().clear(),
                BagFault::Added,
            ),
        ];
        for (n, (name, act, fault)) in table.into_iter().enumerate() {
            let mut files = bag();
            act(&mut files);
            let (named, said) = check(&files).unwrap_err();
            let name = if n == 7 { "data/a.txt" } else { name };
            assert_eq!((named.as_str(), said), (name, fault), "{n}");
        }
        // Every bit of every file but those that are lists of lists.
        for (name, bytes) in bag() {
            for at in 0..bytes.len() {
                let mut files = bag();
                files.get_mut(&name).unwrap()[at] ^= 1;
                assert!(check(&files).is_err(), "{name} {at}");
            }
        }
    }

    #[test]
    fn what_is_no_bag_is_said_to_be_none() {
        let folder = Removed::new("none");
        assert!(matches!(read(&folder.0), Err(BagError::NotABag { .. })));
        assert!(matches!(
            read(&folder.0.join("x")),
            Err(BagError::NoFolder { .. })
        ));
        fs::write(folder.0.join(DECLARED_IN), "BagIt-Version: 0.97\n").unwrap();
        assert!(matches!(read(&folder.0), Err(BagError::NotABag { .. })));
        fs::write(folder.0.join(DECLARED_IN), DECLARATION).unwrap();
        let files = read(&folder.0).unwrap();
        assert_eq!(
            check(&files),
            Err((MANIFEST_256.to_owned(), BagFault::Missing))
        );
        std::os::unix::fs::symlink("/etc/hostname", folder.0.join("link")).unwrap();
        assert!(matches!(read(&folder.0), Err(BagError::Strange { .. })));
    }
}
