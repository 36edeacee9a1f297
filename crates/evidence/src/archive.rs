//! All of it in one folder: the keys of this Saqta, the ledger, the cases and what is sealed in them.
//!
//! ```text
//! keys/ledger      what signs the checkpoints. Its name is drawn at random: it tells nobody whose it is
//! keys/officers    who may read what is sealed from now on, a public key of age a line
//! keys/local.age   as long as there is no officer: the key that takes his place
//! log, checkpoint, tile/…    the ledger
//! cases/ID/…, vault/…        what is sealed
//! ```
//!
//! A record is sealed first, then its leaf is put into the ledger: there is no leaf whose record was never safe. A record without a leaf, after a
//! crash between the two, is a file that nobody asks for.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};

use crate::disk::{Disk, replace};
use crate::ledger::{AppendError, Entry, Ledger, OpenError, Opened, ReadError, SignError};
use crate::note::{KeyFault, KeyName, Kind, Note, SignerKey, VerifierKey};
use crate::record::{Record, RecordFault};
use crate::vault::{BlobName, CaseId, CaseKey, CaseLock, SealError, UnsealError};

const LEDGER_KEY: &str = "keys/ledger";
const OFFICERS: &str = "keys/officers";
const LOCAL: &str = "keys/local.age";
/// A few lines each.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
const OFFICERS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 40;

pub struct Archive<D: Disk> {
    disk: D,
    key: SignerKey,
    ledger: Ledger<D>,
    /// One blob at a time.
    sealing: Mutex<()>,
}

/// Who may read what is sealed.
#[derive(Debug, Clone)]
pub struct Officer {
    /// What the line above the key says; may be empty.
    pub name: String,
    pub key: Recipient,
}

/// What the ledger's entry says beside its leaf: where its record lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub case: CaseId,
    pub blob: BlobName,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("`{path}` of the evidence cannot be read or written")]
    Disk {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "`keys/ledger` is no key; put back the one that was there: without it nothing that was signed can be continued"
    )]
    Key(#[from] KeyFault),
    #[error("there is a ledger and no `keys/ledger`: put back the key; nothing was touched")]
    KeyIsGone,
    #[error("there is no evidence here: nothing was ever sealed")]
    Nothing,
    #[error("line {line} of `keys/officers` is no public key of age (age1…)")]
    Officer { line: usize },
    #[error("`keys/officers` names more than {OFFICERS_MAX}")]
    TooManyOfficers,
    #[error("`keys/local.age` is no key of age (AGE-SECRET-KEY-1…)")]
    Local,
    #[error("the ledger cannot be opened")]
    Ledger(#[from] OpenError),
}

#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("a name has 1 to {NAME_CHARS_MAX} characters, without spaces at its ends")]
    Name,
    #[error("it is no public key of age: one begins with age1")]
    Key,
    #[error("this key is an officer's already: {name}")]
    Already { name: String },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("who may read it is not known")]
    Officers(#[from] ArchiveError),
    #[error("the record cannot be sealed")]
    Seal(#[from] SealError),
    #[error("the record cannot be put into the ledger")]
    Append(#[from] AppendError),
}

#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    #[error(transparent)]
    Ledger(#[from] ReadError),
    #[error(transparent)]
    Vault(#[from] UnsealError),
    #[error("the record of entry {index} cannot be read")]
    Record {
        index: u64,
        #[source]
        source: RecordFault,
    },
    #[error("the record of entry {index} is not the one that was put into the ledger")]
    Another { index: u64 },
    #[error("entry {index} of the ledger does not say where its record lies")]
    NoPlace { index: u64 },
}

impl<D: Disk + Clone> Archive<D> {
    /// Makes what is not there.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(disk: D) -> Result<(Self, Opened), ArchiveError> {
        let key = match ledger_key(&disk)? {
            Some(key) => key,
            None => new_ledger_key(&disk)?,
        };
        // What is wrong with them is said at the start, not in the first attack.
        readers(&disk)?;
        let (ledger, opened) = Ledger::open(disk.clone(), key.verifier())?;
        let archive = Self {
            disk,
            key,
            ledger,
            sealing: Mutex::new(()),
        };
        Ok((archive, opened))
    }

    /// What lies there, while a Saqta may be adding to it. Nothing can be added by who looks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn look(disk: D) -> Result<Self, ArchiveError> {
        let key = match ledger_key(&disk)? {
            Some(key) => key,
            None if has_log(&disk)? => return Err(ArchiveError::KeyIsGone),
            None => return Err(ArchiveError::Nothing),
        };
        let ledger = Ledger::look(disk.clone(), key.verifier())?;
        Ok(Self {
            disk,
            key,
            ledger,
            sealing: Mutex::new(()),
        })
    }

    /// The key that stands in for officers. `None`: there is none any more.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn local_key(&self) -> Result<Option<Identity>, ArchiveError> {
        local(&self.disk)
    }

    /// Who may read what is sealed from now on. Empty: whoever has the local key.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn officers(&self) -> Result<Vec<Officer>, ArchiveError> {
        officers(&self.disk)
    }

    pub fn signer(&self) -> &VerifierKey {
        self.key.verifier()
    }

    pub fn ledger(&self) -> &Ledger<D> {
        &self.ledger
    }

    /// Safe when it returns. The case begins with its first record.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn keep(&self, case: &CaseId, record: &Record) -> Result<u64, KeepError> {
        let leaf = record.leaf();
        let blob = self.seal(case, &mut record.to_json().as_bytes())?;
        let place = Place {
            case: case.clone(),
            blob,
        };
        let sealed = place.to_string().into_bytes();
        Ok(self.ledger.append(Entry { leaf, sealed })?)
    }

    /// A file, of which a record has to speak.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn seal(&self, case: &CaseId, from: &mut impl Read) -> Result<BlobName, KeepError> {
        let _one = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = match CaseLock::found(&self.disk, case)? {
            Some(lock) => lock,
            None => CaseLock::begin(&self.disk, case, &readers(&self.disk)?)?,
        };
        Ok(lock.seal(&self.disk, from)?)
    }

    /// # Errors
    /// [`SignError`].
    pub fn sign(&self) -> Result<Note, SignError> {
        self.ledger.sign(&self.key)
    }

    /// # Errors
    /// [`RecallError`].
    pub fn place(&self, index: u64) -> Result<Place, RecallError> {
        let entry = self.ledger.entry(index)?;
        Place::parse(&entry.sealed).ok_or(RecallError::NoPlace { index })
    }

    /// # Errors
    /// [`UnsealError`].
    pub fn unlock(&self, case: &CaseId, officer: &Identity) -> Result<CaseKey, UnsealError> {
        CaseKey::unwrap(&self.disk, case, officer)
    }

    /// Checked against its leaf.
    ///
    /// # Errors
    /// [`RecallError`].
    pub fn record(&self, index: u64, key: &CaseKey) -> Result<Record, RecallError> {
        let place = self.place(index)?;
        let bytes = key.unseal(&self.disk, place.blob)?;
        let record =
            Record::parse(&bytes).map_err(|source| RecallError::Record { index, source })?;
        let is_its_own = record.leaf() == self.ledger.entry(index)?.leaf;
        is_its_own
            .then_some(record)
            .ok_or(RecallError::Another { index })
    }

    /// # Errors
    /// [`UnsealError`].
    pub fn exhibit(&self, blob: BlobName, key: &CaseKey) -> Result<Vec<u8>, UnsealError> {
        key.unseal(&self.disk, blob)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.case, self.blob)
    }
}

impl Place {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (case, blob) = str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self {
            case: CaseId::new(case)?,
            blob: BlobName::parse(blob)?,
        })
    }
}

/// From the kernel, which has enough of it long before we start.
pub fn draw(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).unwrap_or_default();
    }
}

fn text(disk: &impl Disk, path: &'static str) -> Result<Option<String>, ArchiveError> {
    let read = disk.read(path, KEY_FILE_BYTES_MAX);
    let bytes = read.map_err(|source| ArchiveError::Disk { path, source })?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn ledger_key(disk: &impl Disk) -> Result<Option<SignerKey>, ArchiveError> {
    let found = text(disk, LEDGER_KEY)?;
    let key = found.map(|text| SignerKey::parse(text.trim_end()));
    Ok(key.transpose()?)
}

fn has_log(disk: &impl Disk) -> Result<bool, ArchiveError> {
    let path = "log";
    match disk.read(path, 0) {
        Ok(log) => Ok(log.is_some()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(true),
        Err(source) => Err(ArchiveError::Disk { path, source }),
    }
}

fn new_ledger_key(disk: &impl Disk) -> Result<SignerKey, ArchiveError> {
    if has_log(disk)? {
        return Err(ArchiveError::KeyIsGone);
    }
    let (mut name, mut seed) = ([0; 8], [0; 32]);
    draw(&mut name);
    draw(&mut seed);
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = SignerKey::new(KeyName::new(&format!("log-{name}"))?, Kind::Log, &seed);
    let path = LEDGER_KEY;
    let written = replace(disk, path, format!("{}\n", key.secret()).as_bytes());
    written.map_err(|source| ArchiveError::Disk { path, source })?;
    Ok(key)
}

/// To whom a case is sealed: the officers, and as long as there is none the local key.
fn readers(disk: &impl Disk) -> Result<Vec<Recipient>, ArchiveError> {
    let officers = officers(disk)?;
    if officers.is_empty() {
        return Ok(vec![local_or_new(disk)?.to_public()]);
    }
    Ok(officers.into_iter().map(|officer| officer.key).collect())
}

fn officers(disk: &impl Disk) -> Result<Vec<Officer>, ArchiveError> {
    let text = text(disk, OFFICERS)?.unwrap_or_default();
    let mut officers = Vec::new();
    let mut name = String::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            comment.trim().clone_into(&mut name);
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if officers.len() == OFFICERS_MAX {
            return Err(ArchiveError::TooManyOfficers);
        }
        let key = line.parse();
        officers.push(Officer {
            name: std::mem::take(&mut name),
            key: key.map_err(|_| ArchiveError::Officer { line: n + 1 })?,
        });
    }
    Ok(officers)
}

/// Names another who may read what is sealed from now on. A running Saqta sees it with the next case.
///
/// # Errors
/// [`AddError`]; the list is as it was then.
pub fn add_officer(disk: &impl Disk, name: &str, key: &str) -> Result<(), AddError> {
    let is_name = (1..=NAME_CHARS_MAX).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if !is_name {
        return Err(AddError::Name);
    }
    let recipient: Recipient = key.parse().map_err(|_| AddError::Key)?;
    let already = officers(disk)?;
    let is_known = |officer: &&Officer| officer.key.to_string() == recipient.to_string();
    if let Some(officer) = already.iter().find(is_known) {
        return Err(AddError::Already {
            name: officer.name.clone(),
        });
    }
    if already.len() == OFFICERS_MAX {
        return Err(ArchiveError::TooManyOfficers.into());
    }
    let mut text = text(disk, OFFICERS)?.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("# {name}\n{recipient}\n");
    let path = OFFICERS;
    let written = replace(disk, path, text.as_bytes());
    Ok(written.map_err(|source| ArchiveError::Disk { path, source })?)
}

fn local(disk: &impl Disk) -> Result<Option<Identity>, ArchiveError> {
    let Some(text) = text(disk, LOCAL)? else {
        return Ok(None);
    };
    let line = text.lines().find(|line| !line.starts_with('#'));
    let key = line.unwrap_or_default().trim().parse();
    key.map(Some).map_err(|_| ArchiveError::Local)
}

fn local_or_new(disk: &impl Disk) -> Result<Identity, ArchiveError> {
    if let Some(key) = local(disk)? {
        return Ok(key);
    }
    let key = Identity::generate();
    let text = format!(
        "# Whoever copies this folder can read what is sealed in it, until an officer takes this key's place.\n{}\n",
        key.to_string().expose_secret()
    );
    let path = LOCAL;
    let written = replace(disk, path, text.as_bytes());
    written.map_err(|source| ArchiveError::Disk { path, source })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::disk::forgetful::{Forgetful, State};

    fn case() -> CaseId {
        CaseId::new("20261201-a1").unwrap()
    }

    fn record(n: u64) -> Record {
        Record::new(
            "incident",
            [("site", json!("secret.example")), ("n", json!(n))],
            draw,
        )
        .unwrap()
    }

    fn n_of(archive: &Archive<Forgetful>, index: u64, officer: &Identity) -> u64 {
        let place = archive.place(index).unwrap();
        let key = archive.unlock(&place.case, officer).unwrap();
        let record = archive.record(index, &key).unwrap();
        record
            .value("n")
            .and_then(serde_json::Value::as_u64)
            .unwrap()
    }

    #[test]
    fn what_is_kept_is_found_again_by_whoever_may() {
        let disk = Forgetful::default();
        let said = Archive::look(disk.clone()).err().unwrap();
        assert!(matches!(said, ArchiveError::Nothing));
        let (archive, _) = Archive::open(disk.clone()).unwrap();
        for n in 0..3 {
            assert_eq!(archive.keep(&case(), &record(n)).unwrap(), n);
        }
        let note = archive.sign().unwrap();
        let signer = archive.signer().clone();
        // While it is open, somebody looks; and it is opened again.
        for archive in [
            Archive::look(disk.clone()).unwrap(),
            Archive::open(disk.clone()).unwrap().0,
        ] {
            assert_eq!(*archive.signer(), signer);
            assert_eq!(archive.ledger().size(), 3);
            let local = archive.local_key().unwrap().unwrap();
            for n in 0..3 {
                assert_eq!(n_of(&archive, n, &local), n);
            }
        }
        let looking = Archive::look(disk.clone()).unwrap();
        let said = looking.keep(&case(), &record(9)).unwrap_err();
        assert!(
            matches!(said, KeepError::Append(AppendError::Closed)),
            "{said}"
        );
        assert_eq!(archive.sign().unwrap(), note);
        for path in disk.paths() {
            let bytes = disk.bytes(&path).unwrap();
            assert!(
                memchr::memmem::find(&bytes, b"secret.example").is_none(),
                "{path}"
            );
        }
    }

    #[test]
    fn officers_take_the_local_keys_place() {
        let disk = Forgetful::default();
        let officer = Identity::generate();
        let text = format!("# Aigerim\n{}\n\n", officer.to_public());
        replace(&disk, OFFICERS, text.as_bytes()).unwrap();
        let (archive, _) = Archive::open(disk.clone()).unwrap();
        archive.keep(&case(), &record(7)).unwrap();
        assert!(archive.local_key().unwrap().is_none());
        assert_eq!(n_of(&archive, 0, &officer), 7);
        let other = Identity::generate();
        let said = archive.unlock(&case(), &other).err().unwrap();
        assert!(matches!(said, UnsealError::NotForYou { .. }));
        // Another joins while it is open: the next case is his too, the last one is not.
        let daniyar = Identity::generate();
        add_officer(&disk, "Данияр, лап-топ", &daniyar.to_public().to_string()).unwrap();
        let names: Vec<String> = archive
            .officers()
            .unwrap()
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["Aigerim", "Данияр, лап-топ"]);
        assert!(archive.unlock(&case(), &daniyar).is_err());
        let next = CaseId::new("next").unwrap();
        archive.keep(&next, &record(8)).unwrap();
        assert!(archive.unlock(&next, &daniyar).is_ok() && archive.unlock(&next, &officer).is_ok());
        let said = |name: &str, key: &str| add_officer(&disk, name, key).unwrap_err();
        let public = Identity::generate().to_public().to_string();
        assert!(matches!(said(" x", &public), AddError::Name));
        assert!(matches!(said("x\ny", &public), AddError::Name));
        assert!(matches!(said("x", "age1x"), AddError::Key));
        let again = said("x", &daniyar.to_public().to_string());
        assert!(matches!(again, AddError::Already { name } if name.starts_with("Данияр")));
        drop(archive);
        replace(&disk, OFFICERS, b"# one\nage1nobody\n").unwrap();
        let said = Archive::open(disk).err().unwrap();
        assert!(matches!(said, ArchiveError::Officer { line: 2 }), "{said}");
    }

    #[test]
    fn a_ledger_without_its_key_is_left_alone() {
        let disk = Forgetful::default();
        drop(Archive::open(disk.clone()).unwrap());
        disk.edit(LEDGER_KEY, |bytes| bytes[20] ^= 1);
        assert!(matches!(
            Archive::open(disk.clone()),
            Err(ArchiveError::Key(_))
        ));
        disk.remove(LEDGER_KEY).unwrap();
        let before = disk.paths();
        let gone = [
            Archive::open(disk.clone()).err(),
            Archive::look(disk.clone()).err(),
        ];
        for said in gone {
            assert!(matches!(said, Some(ArchiveError::KeyIsGone)), "{said:?}");
        }
        assert_eq!(disk.paths(), before);
    }

    #[test]
    fn a_record_that_was_put_in_anothers_place_is_refused() {
        let disk = Forgetful::default();
        let (archive, _) = Archive::open(disk.clone()).unwrap();
        let blob = archive
            .seal(&case(), &mut record(1).to_json().as_bytes())
            .unwrap();
        let place = Place { case: case(), blob };
        let entry = Entry {
            leaf: record(2).leaf(),
            sealed: place.to_string().into_bytes(),
        };
        archive.ledger().append(entry).unwrap();
        let local = archive.local_key().unwrap().unwrap();
        let key = archive.unlock(&case(), &local).unwrap();
        let said = archive.record(0, &key).unwrap_err();
        assert!(matches!(said, RecallError::Another { index: 0 }), "{said}");
    }

    /// Wherever the machine stops, from the first start on: every leaf has its record.
    #[test]
    fn no_leaf_is_without_its_record() {
        let disk = Forgetful::default();
        let points = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&points);
        disk.watch(move |state: &State| {
            for seed in 0..4 {
                counted.set(counted.get() + 1);
                let (archive, _) = Archive::open(Forgetful::after_crash(state, seed)).unwrap();
                let local = archive.local_key().unwrap().unwrap();
                for n in 0..archive.ledger().size() {
                    assert_eq!(n_of(&archive, n, &local), n);
                }
                let size = archive.ledger().size();
                archive.keep(&case(), &record(size)).unwrap();
                assert_eq!(n_of(&archive, size, &local), size);
            }
        });
        let (archive, _) = Archive::open(disk.clone()).unwrap();
        for n in 0..5 {
            archive.keep(&case(), &record(n)).unwrap();
            archive.sign().unwrap();
        }
        assert!(points.get() > 400, "{}", points.get());
    }
}
