//! What must not be read by whoever has the disk: records and exhibits, each an age file of its own, called by the hash of what lies there.
//!
//! *A case has a key,* drawn when it begins and given to nobody but the officers: it lies beside the case, wrapped to each of them. To seal takes
//! the public half alone, so a server that nobody has unlocked goes on sealing and can read nothing of it. Another officer is given the
//! case by wrapping its key anew; no exhibit is touched.
//!
//! *A name says nothing.* It is the hash of the encrypted bytes: whoever has the same document cannot find out that we have it.
//!
//! *Anybody's tools open it.* `age -d -i officer.key cases/ID/key.age > case.key; age -d -i case.key vault/ab/cdef…` is all.
//!
//! *What is disposed of is gone from here*: the file, with the key that it was encrypted with in it. Copies on a backup are of the same encrypted bytes.

use std::fmt;
use std::io::{self, Read, Write};

use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};
use age::{Decryptor, EncryptError, Encryptor};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, OpenFile, replace};

/// Of what is read into memory: records, notes, what a page shows. Longer ones go from one file to another.
pub const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Of one blob: a film that somebody hands in.
const BLOB_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Of a case's key, wrapped: 32 officers and more.
const KEY_BYTES_MAX: u64 = 16 * 1024;
const PIECE_BYTES: usize = 64 * 1024;
const CASE_ID_CHARS_MAX: usize = 64;

/// What a blob is called: SHA-256 of its encrypted bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(pub [u8; 32]);

/// Which case: small letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(String);

/// To seal with; nothing can be read with it.
#[derive(Debug, Clone)]
pub struct CaseLock {
    recipient: Recipient,
}

/// To read with. In memory only.
pub struct CaseKey {
    identity: Identity,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("nobody is named who may read it")]
    NoOfficer,
    #[error("it is longer than {BLOB_BYTES_MAX} bytes")]
    TooLong,
    #[error("the case `{case}` has no key: it was disposed of, or never begun")]
    NoCase { case: CaseId },
    #[error("the case `{case}` has a key already")]
    CaseExists { case: CaseId },
    #[error("`{path}` is no public key")]
    NotAKey { path: String },
    #[error("what is to be sealed cannot be read")]
    Source(#[source] io::Error),
    #[error("`{path}` cannot be written")]
    Disk {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("it cannot be encrypted")]
    Encrypt(#[from] EncryptError),
}

#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    #[error("`{path}` is not there: it was disposed of, or lies elsewhere")]
    Missing { path: String },
    #[error("`{path}` is not what its name says: it was changed")]
    Changed { path: String },
    #[error("`{path}` cannot be opened with these keys")]
    NotForYou { path: String },
    #[error("`{path}` has more than {bytes_max} bytes")]
    TooLong { path: String, bytes_max: u64 },
    #[error("`{path}` is damaged")]
    Damaged { path: String },
    #[error("`{path}` cannot be read")]
    Disk {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl BlobName {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != 32 {
            return None;
        }
        let mut name = [0; 32];
        for (byte, pair) in name.iter_mut().zip(pairs) {
            let digits = str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        let read = Self(name);
        (read.to_string() == text).then_some(read)
    }

    fn path(self) -> String {
        let name = self.to_string();
        let (folder, file) = name.split_at(2);
        format!("vault/{folder}/{file}")
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl CaseId {
    /// `None`: it would be no name of a folder that is the same everywhere.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_id = (1..=CASE_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits);
        is_id.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key_path(&self) -> String {
        format!("cases/{}/key.age", self.0)
    }

    fn lock_path(&self) -> String {
        format!("cases/{}/lock", self.0)
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CaseLock {
    /// A new case that these officers may read.
    ///
    /// # Errors
    /// [`SealError`]. There is no case then, or one without its lock, of which nothing is sealed.
    pub fn begin(
        disk: &impl Disk,
        case: &CaseId,
        officers: &[Recipient],
    ) -> Result<Self, SealError> {
        if Self::found(disk, case)?.is_some() {
            return Err(SealError::CaseExists { case: case.clone() });
        }
        let key = CaseKey {
            identity: Identity::generate(),
        };
        // The key before the lock: nothing is sealed that nobody could open.
        key.wrap(disk, case, officers)?;
        let recipient = key.identity.to_public();
        let path = case.lock_path();
        let text = format!("{recipient}\n");
        replace(disk, &path, text.as_bytes()).map_err(|source| SealError::Disk { path, source })?;
        Ok(Self { recipient })
    }

    /// `None`: there is no such case.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn found(disk: &impl Disk, case: &CaseId) -> Result<Option<Self>, SealError> {
        let path = case.lock_path();
        let bytes = match disk.read(&path, KEY_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(source) => return Err(SealError::Disk { path, source }),
        };
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let text = str::from_utf8(&bytes).unwrap_or_default();
        match text.trim_end().parse() {
            Ok(recipient) => Ok(Some(Self { recipient })),
            Err(_) => Err(SealError::NotAKey { path }),
        }
    }

    /// Safe when it returns.
    ///
    /// # Errors
    /// [`SealError`]; what was begun is taken away at the next attempt.
    pub fn seal(&self, disk: &impl Disk, from: &mut impl Read) -> Result<BlobName, SealError> {
        const BESIDE: &str = "vault/new";
        let of_disk = |source| SealError::Disk {
            path: BESIDE.to_owned(),
            source,
        };
        let file = disk.open(BESIDE).map_err(of_disk)?;
        file.cut(0).map_err(of_disk)?;
        let recipients = std::iter::once(&self.recipient as &dyn age::Recipient);
        let mut hashed = Hashed {
            file,
            bytes: 0,
            sum: Sha256::new(),
        };
        let encryptor = Encryptor::with_recipients(recipients)?;
        let mut sealed = encryptor.wrap_output(&mut hashed).map_err(of_disk)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut taken = 0;
        loop {
            let bytes = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SealError::Source(error)),
            };
            taken += bytes as u64;
            if taken > BLOB_BYTES_MAX {
                return Err(SealError::TooLong);
            }
            sealed.write_all(&piece[..bytes]).map_err(of_disk)?;
        }
        sealed.finish().map_err(of_disk)?;
        let name = BlobName(hashed.sum.finalize().into());
        hashed.file.sync().map_err(of_disk)?;
        let path = name.path();
        let of_path = |source| SealError::Disk {
            path: name.path(),
            source,
        };
        disk.make_folder_of(&path).map_err(of_path)?;
        disk.rename(BESIDE, &path).map_err(of_path)?;
        disk.sync_names(&path).map_err(of_path)?;
        Ok(name)
    }
}

impl CaseKey {
    /// With an officer's own key.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn unwrap(
        disk: &impl Disk,
        case: &CaseId,
        officer: &Identity,
    ) -> Result<Self, UnsealError> {
        let path = case.key_path();
        let wrapped = read(disk, &path, KEY_BYTES_MAX)?;
        let text = decrypt(&wrapped, officer, &path, KEY_BYTES_MAX)?;
        let text = String::from_utf8(text).unwrap_or_default();
        let identity = text.trim_end().parse();
        identity
            .map(|identity| Self { identity })
            .map_err(|_| UnsealError::Damaged { path })
    }

    /// To these officers and nobody else.
    ///
    /// # Errors
    /// [`SealError`]; who could read it before still can then.
    pub fn wrap(
        &self,
        disk: &impl Disk,
        case: &CaseId,
        officers: &[Recipient],
    ) -> Result<(), SealError> {
        if officers.is_empty() {
            return Err(SealError::NoOfficer);
        }
        let path = case.key_path();
        let of_disk = |source| SealError::Disk {
            path: case.key_path(),
            source,
        };
        let to = officers
            .iter()
            .map(|officer| officer as &dyn age::Recipient);
        let mut wrapped = Vec::new();
        let mut sealed = Encryptor::with_recipients(to)?
            .wrap_output(&mut wrapped)
            .map_err(of_disk)?;
        let text = self.identity.to_string();
        sealed
            .write_all(text.expose_secret().as_bytes())
            .and_then(|()| sealed.finish().map(drop))
            .map_err(of_disk)?;
        replace(disk, &path, &wrapped).map_err(of_disk)
    }

    /// All of a blob, checked against its name first.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn unseal(&self, disk: &impl Disk, name: BlobName) -> Result<Vec<u8>, UnsealError> {
        let path = name.path();
        let sealed = read(disk, &path, READ_BYTES_MAX)?;
        if <[u8; 32]>::from(Sha256::digest(&sealed)) != name.0 {
            return Err(UnsealError::Changed { path });
        }
        decrypt(&sealed, &self.identity, &path, READ_BYTES_MAX)
    }
}

/// Takes a blob away. What is gone already stays gone.
///
/// # Errors
/// The system's.
pub fn dispose(disk: &impl Disk, name: BlobName) -> io::Result<()> {
    disk.remove(&name.path())
}

/// Takes away what a whole case can be read with.
///
/// # Errors
/// The system's.
pub fn dispose_of_case(disk: &impl Disk, case: &CaseId) -> io::Result<()> {
    // The lock first: nothing more is sealed into a case that nobody can open.
    disk.remove(&case.lock_path())?;
    disk.remove(&case.key_path())
}

fn read(disk: &impl Disk, path: &str, bytes_max: u64) -> Result<Vec<u8>, UnsealError> {
    let path = path.to_owned();
    match disk.read(&path, bytes_max) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(UnsealError::Missing { path }),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(UnsealError::TooLong { path, bytes_max })
        }
        Err(source) => Err(UnsealError::Disk { path, source }),
    }
}

fn decrypt(
    sealed: &[u8],
    key: &Identity,
    path: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, UnsealError> {
    let path = || path.to_owned();
    let decryptor =
        Decryptor::new_buffered(sealed).map_err(|_| UnsealError::Damaged { path: path() })?;
    let keys = std::iter::once(key as &dyn age::Identity);
    let opened = decryptor
        .decrypt(keys)
        .map_err(|_| UnsealError::NotForYou { path: path() })?;
    let mut plain = Vec::new();
    // It cannot be longer than what it was encrypted to, which is bounded.
    opened
        .take(bytes_max)
        .read_to_end(&mut plain)
        .map_err(|_| UnsealError::Damaged { path: path() })?;
    Ok(plain)
}

/// What goes to the disk, and its hash.
struct Hashed<F> {
    file: F,
    bytes: u64,
    sum: Sha256,
}

impl<F: OpenFile> Write for Hashed<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.bytes, bytes)?;
        self.bytes += bytes.len() as u64;
        self.sum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::forgetful::{Chance, Forgetful};

    const SECRET: &[u8] = b"a source's name that nobody may find";

    fn case(text: &str) -> CaseId {
        CaseId::new(text).unwrap()
    }

    fn seal(disk: &Forgetful, lock: &CaseLock, plain: &[u8]) -> BlobName {
        lock.seal(disk, &mut &*plain).unwrap()
    }

    fn holds(disk: &Forgetful, needle: &[u8]) -> bool {
        let files = disk
            .paths()
            .into_iter()
            .filter_map(|path| disk.bytes(&path));
        files
            .into_iter()
            .any(|bytes| memchr::memmem::find(&bytes, needle).is_some())
    }

    #[test]
    fn officers_read_it_and_nobody_else() {
        let disk = Forgetful::default();
        let [aigerim, daniyar, other] = [(); 3].map(|()| Identity::generate());
        let officers = [aigerim.to_public(), daniyar.to_public()];
        let lock = CaseLock::begin(&disk, &case("a-1"), &officers).unwrap();
        let name = seal(&disk, &lock, SECRET);
        // Sealed again it is another one: nobody can tell that it is the same.
        assert_ne!(seal(&disk, &lock, SECRET), name);
        assert!(!holds(&disk, SECRET));
        for officer in [&aigerim, &daniyar] {
            let key = CaseKey::unwrap(&disk, &case("a-1"), officer).unwrap();
            assert_eq!(key.unseal(&disk, name).unwrap(), SECRET);
        }
        let said = CaseKey::unwrap(&disk, &case("a-1"), &other).err().unwrap();
        assert!(matches!(said, UnsealError::NotForYou { .. }), "{said}");
        // Of another case.
        CaseLock::begin(&disk, &case("a-2"), &[other.to_public()]).unwrap();
        let key = CaseKey::unwrap(&disk, &case("a-2"), &other).unwrap();
        let said = key.unseal(&disk, name).unwrap_err();
        assert!(matches!(said, UnsealError::NotForYou { .. }), "{said}");
        // Wrapped anew, without touching what is sealed.
        let key = CaseKey::unwrap(&disk, &case("a-1"), &aigerim).unwrap();
        key.wrap(&disk, &case("a-1"), &[other.to_public()]).unwrap();
        assert!(CaseKey::unwrap(&disk, &case("a-1"), &aigerim).is_err());
        let key = CaseKey::unwrap(&disk, &case("a-1"), &other).unwrap();
        assert_eq!(key.unseal(&disk, name).unwrap(), SECRET);
    }

    #[test]
    fn any_length_is_read_back() {
        let disk = Forgetful::default();
        let officer = Identity::generate();
        let lock = CaseLock::begin(&disk, &case("a"), &[officer.to_public()]).unwrap();
        let key = CaseKey::unwrap(&disk, &case("a"), &officer).unwrap();
        let mut chance = Chance(1);
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            let plain: Vec<u8> = (0..length).map(|_| chance.below(256) as u8).collect();
            let name = seal(&disk, &lock, &plain);
            assert_eq!(key.unseal(&disk, name).unwrap(), plain);
        }
    }

    #[test]
    fn what_was_changed_or_taken_away_says_so() {
        let disk = Forgetful::default();
        let officer = Identity::generate();
        let lock = CaseLock::begin(&disk, &case("a"), &[officer.to_public()]).unwrap();
        let key = CaseKey::unwrap(&disk, &case("a"), &officer).unwrap();
        let (changed, gone) = (seal(&disk, &lock, SECRET), seal(&disk, &lock, SECRET));
        for at in [0, 100, 200] {
            disk.edit(&changed.path(), |bytes| bytes[at] ^= 1);
            let said = key.unseal(&disk, changed).unwrap_err();
            assert!(matches!(said, UnsealError::Changed { .. }), "{said}");
            disk.edit(&changed.path(), |bytes| bytes[at] ^= 1);
        }
        assert_eq!(key.unseal(&disk, changed).unwrap(), SECRET);
        for _ in 0..2 {
            dispose(&disk, gone).unwrap();
            let said = key.unseal(&disk, gone).unwrap_err();
            assert!(matches!(said, UnsealError::Missing { .. }), "{said}");
        }
        dispose_of_case(&disk, &case("a")).unwrap();
        assert!(CaseLock::found(&disk, &case("a")).unwrap().is_none());
        let said = CaseKey::unwrap(&disk, &case("a"), &officer).err().unwrap();
        assert!(matches!(said, UnsealError::Missing { .. }), "{said}");
    }

    #[test]
    fn what_cannot_be_sealed_says_why() {
        let disk = Forgetful::default();
        let officer = Identity::generate().to_public();
        let begin = |officers: &[Recipient]| CaseLock::begin(&disk, &case("a"), officers);
        assert!(matches!(begin(&[]), Err(SealError::NoOfficer)));
        assert!(CaseLock::found(&disk, &case("a")).unwrap().is_none());
        let lock = begin(std::slice::from_ref(&officer)).unwrap();
        assert!(matches!(
            begin(&[officer]),
            Err(SealError::CaseExists { .. })
        ));
        disk.has_room(Some(100));
        let said = lock.seal(&disk, &mut &*SECRET).unwrap_err();
        assert!(matches!(said, SealError::Disk { .. }), "{said}");
        disk.has_room(None);
        seal(&disk, &lock, SECRET);
        disk.edit("cases/a/lock", |bytes| bytes.truncate(3));
        let said = CaseLock::found(&disk, &case("a")).unwrap_err();
        assert!(matches!(said, SealError::NotAKey { .. }), "{said}");
        for id in [
            "",
            "A",
            "a/b",
            "..",
            "ё",
            &"a".repeat(CASE_ID_CHARS_MAX + 1),
        ] {
            assert_eq!(CaseId::new(id), None, "{id}");
        }
    }

    /// Wherever the machine stops: what a name was given for is there.
    #[test]
    fn what_is_sealed_outlives_a_crash() {
        let disk = Forgetful::default();
        let officer = Identity::generate();
        let lock = CaseLock::begin(&disk, &case("a"), &[officer.to_public()]).unwrap();
        let name = seal(&disk, &lock, SECRET);
        let before = disk.state();
        let mut points = 0;
        for steps in 0..12 {
            let disk = Forgetful::after_crash(&before, 0);
            disk.stops_after(steps);
            let second = lock.seal(&disk, &mut &[7; 3_000][..]).ok();
            for seed in 0..20 {
                let after = Forgetful::after_crash(&disk.state(), seed);
                let key = CaseKey::unwrap(&after, &case("a"), &officer).unwrap();
                assert_eq!(key.unseal(&after, name).unwrap(), SECRET);
                if let Some(second) = second {
                    assert_eq!(key.unseal(&after, second).unwrap(), [7; 3_000]);
                }
                let lock = CaseLock::found(&after, &case("a")).unwrap().unwrap();
                let again = seal(&after, &lock, SECRET);
                assert_eq!(key.unseal(&after, again).unwrap(), SECRET);
                points += 1;
            }
        }
        assert_eq!(points, 240);
    }
}
