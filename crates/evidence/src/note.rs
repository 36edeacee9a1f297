//! What is signed, and who signed it: C2SP's signed notes, the checkpoints of logs, and the cosignatures of witnesses.
//!
//! A note is text that people can read, with a line for each signature. A checkpoint is a note of three lines: whose log, how many entries,
//! the hash that stands for all of them. A log signs its text; a witness signs it together with the time at which it had seen no other.
//! Nothing here decides whom to trust: whoever reads brings the keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::merkle::Hash;

/// Ten times what a checkpoint with all its witnesses takes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// The specification wants sixteen at least.
const SIGNATURES_MAX: usize = 64;
const BEFORE_A_SIGNATURE: &str = "— ";
const ID_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;
const TIME_BYTES: usize = 8;

/// The byte that tells what a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A note's text, as it is.
    Log = 1,
    /// A checkpoint and a time.
    Witness = 4,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

/// What signatures of somebody are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: Kind,
    key: VerifyingKey,
}

/// What somebody signs with. Never shown.
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// With the end of its last line.
    text: String,
    signatures: Vec<SignatureLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SignatureLine {
    name: KeyName,
    id: [u8; ID_BYTES],
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: KeyName,
    pub size: u64,
    pub root: Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    No,
    /// There is a line of this key, and it is not its signature.
    Wrong,
    Log,
    /// Seen at this time, in seconds since 1970.
    Witness {
        at_s: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    #[error("it is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not text in UTF-8 without control characters")]
    NotText,
    #[error("it has no signatures after an empty line")]
    NoSignatures,
    #[error("it has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    #[error("line {line} is no signature")]
    NoSignature { line: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    #[error("a checkpoint has three lines: the log's name, its size and its hash")]
    Lines,
    #[error("its first line is no name of a log")]
    Origin,
    #[error("its second line is no number of entries")]
    Size,
    #[error("its third line is no hash in base64")]
    Root,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("a key is written name+number+key")]
    Shape,
    #[error("a name of a key has no spaces, no + and no control characters, and up to 255 bytes")]
    Name,
    #[error("its key is not one of Ed25519 in base64")]
    Key,
    #[error("its number does not belong to it: something in it was changed")]
    Id,
}

impl KeyName {
    /// # Errors
    /// [`KeyFault::Name`].
    pub fn new(text: &str) -> Result<Self, KeyFault> {
        let is_name = !text.is_empty()
            && text.len() <= 255
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        is_name.then(|| Self(text.to_owned())).ok_or(KeyFault::Name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl VerifierKey {
    /// Reads what [`fmt::Display`] writes: the specification's *vkey*.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyFault::Shape);
        };
        let name = KeyName::new(name)?;
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyFault::Shape)?;
        let bytes = STANDARD.decode(key).map_err(|_| KeyFault::Key)?;
        let (kind, key) = kind_and_key(&bytes).ok_or(KeyFault::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| KeyFault::Key)?;
        let read = Self { name, kind, key };
        let is_its_own = u32::from_be_bytes(read.id()) == id;
        is_its_own.then_some(read).ok_or(KeyFault::Id)
    }

    pub fn name(&self) -> &KeyName {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Two keys that are the same one under other names are one signer.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    fn id(&self) -> [u8; ID_BYTES] {
        let sum = Sha256::new()
            .chain_update(self.name.0.as_bytes())
            .chain_update([b'\n', self.kind as u8])
            .chain_update(self.key.as_bytes())
            .finalize();
        [sum[0], sum[1], sum[2], sum[3]]
    }

    /// To be read out on the telephone: eight groups of four, of which no two keys share many.
    pub fn fingerprint(&self) -> String {
        let sum = Sha256::digest([&[self.kind as u8], self.key.as_bytes().as_slice()].concat());
        let groups = sum[..16].as_chunks::<2>().0.iter();
        let groups: Vec<String> = groups.map(|[a, b]| format!("{a:02x}{b:02x}")).collect();
        groups.join(" ")
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind as u8], self.key.as_bytes().as_slice()].concat();
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(bytes))
    }
}

const PRIVATE: &str = "PRIVATE+KEY+";

impl SignerKey {
    /// `seed`: drawn at random, and kept as the key is.
    pub fn new(name: KeyName, kind: Kind, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey {
            name,
            kind,
            key: key.verifying_key(),
        };
        Self { verifier, key }
    }

    /// Reads what [`SignerKey::secret`] writes.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let rest = text.strip_prefix(PRIVATE).ok_or(KeyFault::Shape)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyFault::Shape);
        };
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyFault::Shape)?;
        let bytes = STANDARD.decode(seed).map_err(|_| KeyFault::Key)?;
        let (kind, seed) = kind_and_key(&bytes).ok_or(KeyFault::Key)?;
        let read = Self::new(KeyName::new(name)?, kind, seed);
        let is_its_own = u32::from_be_bytes(read.verifier.id()) == id;
        is_its_own.then_some(read).ok_or(KeyFault::Id)
    }

    /// All of it, as the field's tools write a private key. For a file that only its owner can read.
    pub fn secret(&self) -> String {
        let bytes = [&[self.verifier.kind as u8], self.key.as_bytes().as_slice()].concat();
        let id = u32::from_be_bytes(self.verifier.id());
        format!(
            "{PRIVATE}{}+{id:08x}+{}",
            self.verifier.name,
            STANDARD.encode(bytes)
        )
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// `at_s`: the time, for a witness.
    pub fn sign(&self, note: &mut Note, at_s: u64) {
        let bytes = match self.verifier.kind {
            Kind::Log => self.key.sign(note.text.as_bytes()).to_bytes().to_vec(),
            Kind::Witness => {
                let signature = self.key.sign(cosigned(&note.text, at_s).as_bytes());
                [at_s.to_be_bytes().as_slice(), &signature.to_bytes()].concat()
            }
        };
        note.signatures.push(SignatureLine {
            name: self.verifier.name.clone(),
            id: self.verifier.id(),
            bytes,
        });
    }
}

fn kind_and_key(bytes: &[u8]) -> Option<(Kind, &[u8; 32])> {
    let (kind, key) = bytes.split_first()?;
    let kind = match kind {
        1 => Kind::Log,
        4 => Kind::Witness,
        _ => return None,
    };
    Some((kind, key.try_into().ok()?))
}

fn cosigned(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

impl Note {
    /// # Errors
    /// [`NoteFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteFault> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteFault::TooLong);
        }
        let whole = str::from_utf8(bytes).map_err(|_| NoteFault::NotText)?;
        if whole.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteFault::NotText);
        }
        let end = whole.rfind("\n\n").ok_or(NoteFault::NoSignatures)?;
        let (text, signatures) = (&whole[..=end], &whole[end + 2..]);
        let lines_before = text.lines().count() + 1;
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or(NoteFault::NoSignatures)?;
        let mut read = Vec::new();
        for (n, line) in signatures.split('\n').enumerate() {
            if n == SIGNATURES_MAX {
                return Err(NoteFault::TooManySignatures);
            }
            let line_number = lines_before + n + 1;
            let fault = NoteFault::NoSignature { line: line_number };
            read.push(SignatureLine::parse(line).ok_or(fault)?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures: read,
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signed_by(&self, key: &VerifierKey) -> Signed {
        let mut signed = Signed::No;
        let id = key.id();
        for line in &self.signatures {
            if line.name == key.name && line.id == id {
                match line.is_of(key, &self.text) {
                    // A second line of the same key does not make up for it.
                    Signed::Wrong => return Signed::Wrong,
                    right => signed = right,
                }
            }
        }
        signed
    }

    /// Takes up the lines of another note of the same text that this one lacks. False: it is of another text.
    pub fn join(&mut self, other: &Self) -> bool {
        if other.text != self.text {
            return false;
        }
        for line in &other.signatures {
            if !self.signatures.contains(line) && self.signatures.len() < SIGNATURES_MAX {
                self.signatures.push(line.clone());
            }
        }
        true
    }
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix(BEFORE_A_SIGNATURE)?.split_once(' ')?;
        let name = KeyName::new(name).ok()?;
        let bytes = STANDARD.decode(bytes).ok()?;
        let (id, bytes) = bytes.split_first_chunk::<ID_BYTES>()?;
        (!bytes.is_empty()).then(|| Self {
            name,
            id: *id,
            bytes: bytes.to_vec(),
        })
    }

    fn is_of(&self, key: &VerifierKey, text: &str) -> Signed {
        let checked = |bytes: &[u8], signed: &str| {
            let bytes: &[u8; SIGNATURE_BYTES] = bytes.try_into().ok()?;
            let signature = Signature::from_bytes(bytes);
            key.key.verify_strict(signed.as_bytes(), &signature).ok()
        };
        match key.kind {
            Kind::Log => checked(&self.bytes, text).map_or(Signed::Wrong, |()| Signed::Log),
            Kind::Witness => {
                let Some((time, bytes)) = self.bytes.split_first_chunk::<TIME_BYTES>() else {
                    return Signed::Wrong;
                };
                let at_s = u64::from_be_bytes(*time);
                let is_time = i64::try_from(at_s).is_ok();
                let is_right = is_time && checked(bytes, &cosigned(text, at_s)).is_some();
                if is_right {
                    Signed::Witness { at_s }
                } else {
                    Signed::Wrong
                }
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let bytes = STANDARD.encode([line.id.as_slice(), &line.bytes].concat());
            writeln!(f, "{BEFORE_A_SIGNATURE}{} {bytes}", line.name)?;
        }
        Ok(())
    }
}

impl Checkpoint {
    /// To be signed.
    pub fn note(&self) -> Note {
        let root = STANDARD.encode(self.root.0);
        Note {
            text: format!("{}\n{}\n{root}\n", self.origin, self.size),
            signatures: Vec::new(),
        }
    }

    /// Lines after the third are somebody's own and mean nothing here.
    ///
    /// # Errors
    /// [`CheckpointFault`].
    pub fn parse(note: &Note) -> Result<Self, CheckpointFault> {
        let mut lines = note.text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointFault::Lines);
        };
        if lines.any(str::is_empty) {
            return Err(CheckpointFault::Lines);
        }
        let origin = KeyName::new(origin).map_err(|_| CheckpointFault::Origin)?;
        let number: u64 = size.parse().map_err(|_| CheckpointFault::Size)?;
        if number.to_string() != size {
            return Err(CheckpointFault::Size);
        }
        let root = STANDARD.decode(root).map_err(|_| CheckpointFault::Root)?;
        let root: [u8; 32] = root.try_into().map_err(|_| CheckpointFault::Root)?;
        Ok(Self {
            origin,
            size: number,
            root: Hash(root),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the specification of signed notes, with its key.
    const VERSE: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n";

    fn name(text: &str) -> KeyName {
        KeyName::new(text).unwrap()
    }

    fn key(text: &str, kind: Kind) -> SignerKey {
        SignerKey::new(name(text), kind, &[7; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: name("example.com/log"),
            size: 109_482,
            root: Hash([9; 32]),
        }
    }

    #[test]
    fn what_is_signed_is_read_back() {
        let (log, witness) = (
            key("example.com/log", Kind::Log),
            key("w.example", Kind::Witness),
        );
        let mut note = checkpoint().note();
        assert_eq!(note.signed_by(log.verifier()), Signed::No);
        log.sign(&mut note, 0);
        witness.sign(&mut note, 1_795_000_000);
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.signed_by(log.verifier()), Signed::Log);
        let seen = Signed::Witness {
            at_s: 1_795_000_000,
        };
        assert_eq!(read.signed_by(witness.verifier()), seen);
        assert_eq!(Checkpoint::parse(&read), Ok(checkpoint()));
        // Nobody else's, and not under another name or as another kind.
        for other in [
            SignerKey::new(name("example.com/log"), Kind::Log, &[8; 32]),
            key("example.com/other", Kind::Log),
            key("example.com/log", Kind::Witness),
        ] {
            assert_eq!(read.signed_by(other.verifier()), Signed::No);
        }
    }

    #[test]
    fn an_empty_line_in_the_text_is_text() {
        let signer = key("quasimodo.example/salvatore", Kind::Log);
        let mut note = verse();
        signer.sign(&mut note, 0);
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(read.text(), VERSE);
        assert_eq!(read.signed_by(signer.verifier()), Signed::Log);
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let (log, witness) = (
            key("example.com/log", Kind::Log),
            key("w.example", Kind::Witness),
        );
        let mut note = checkpoint().note();
        log.sign(&mut note, 0);
        witness.sign(&mut note, 1_795_000_000);
        let bytes = note.to_string().into_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let Ok(read) = Note::parse(&changed) else {
                    continue;
                };
                let of_log = read.signed_by(log.verifier());
                let of_witness = read.signed_by(witness.verifier());
                let is_whole =
                    of_log == Signed::Log && matches!(of_witness, Signed::Witness { .. });
                assert!(!is_whole || read == note, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_wrong_line_of_a_key_is_not_made_up_for() {
        let log = key("example.com/log", Kind::Log);
        let (mut note, mut other) = (checkpoint().note(), verse());
        log.sign(&mut note, 0);
        log.sign(&mut other, 0);
        note.signatures.insert(0, other.signatures[0].clone());
        assert_eq!(note.signed_by(log.verifier()), Signed::Wrong);
        assert!(!note.join(&other));
    }

    fn verse() -> Note {
        Note {
            text: VERSE.to_owned(),
            signatures: Vec::new(),
        }
    }

    #[test]
    fn keys_are_read_back_and_wrong_ones_say_why() {
        for kind in [Kind::Log, Kind::Witness] {
            let signer = key("example.com/log", kind);
            let text = signer.verifier().to_string();
            assert_eq!(VerifierKey::parse(&text).as_ref(), Ok(signer.verifier()));
            let again = SignerKey::parse(&signer.secret()).unwrap();
            assert_eq!(again.verifier(), signer.verifier());
            assert_eq!(again.secret(), signer.secret());
        }
        let good = key("example.com/log", Kind::Log).verifier().to_string();
        let table = [
            ("", KeyFault::Shape),
            ("a+b", KeyFault::Shape),
            ("a b+00000000+AQ==", KeyFault::Name),
            ("+00000000+AQ==", KeyFault::Name),
            ("a+00000000+!", KeyFault::Key),
            ("a+00000000+AQ==", KeyFault::Key),
            (&good.replace("log", "lag"), KeyFault::Id),
        ];
        for (text, expected) in table {
            assert_eq!(VerifierKey::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_note_says_why() {
        let table: [(&[u8], NoteFault); 7] = [
            (b"", NoteFault::NoSignatures),
            (b"text\n", NoteFault::NoSignatures),
            (b"text\n\n", NoteFault::NoSignatures),
            (b"text\n\nx\n", NoteFault::NoSignature { line: 3 }),
            (b"te\txt\n\nx\n", NoteFault::NotText),
            (b"\xff\n\nx\n", NoteFault::NotText),
            (&[b'a'; NOTE_BYTES_MAX + 1], NoteFault::TooLong),
        ];
        for (bytes, expected) in table {
            assert_eq!(Note::parse(bytes), Err(expected));
        }
        let line = "— a AAAAAAA=\n";
        let many = format!("text\n\n{}", line.repeat(SIGNATURES_MAX + 1));
        assert_eq!(
            Note::parse(many.as_bytes()),
            Err(NoteFault::TooManySignatures)
        );
        assert!(Note::parse(&many.as_bytes()[..many.len() - line.len()]).is_ok());
    }

    #[test]
    fn what_is_no_checkpoint_says_why() {
        let root = STANDARD.encode([9; 32]);
        let table = [
            ("a\n".to_owned(), CheckpointFault::Lines),
            (format!("a b\n1\n{root}\n"), CheckpointFault::Origin),
            (format!("a\n01\n{root}\n"), CheckpointFault::Size),
            (format!("a\n+1\n{root}\n"), CheckpointFault::Size),
            (
                format!("a\n18446744073709551616\n{root}\n"),
                CheckpointFault::Size,
            ),
            ("a\n1\nAAAA\n".to_owned(), CheckpointFault::Root),
            (format!("a\n1\n{root}\n\nmore\n"), CheckpointFault::Lines),
        ];
        for (text, expected) in table {
            let note = Note {
                text,
                signatures: Vec::new(),
            };
            assert_eq!(Checkpoint::parse(&note), Err(expected), "{}", note.text);
        }
        let note = Note {
            text: format!("a\n0\n{root}\nan extension\n"),
            signatures: Vec::new(),
        };
        assert_eq!(Checkpoint::parse(&note).map(|it| it.size), Ok(0));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}\n\n— [a-z]{0,3} [A-Za-z0-9+/=]{0,30}\n") {
            _ = Note::parse(&bytes);
            if let Ok(note) = Note::parse(text.as_bytes()) {
                _ = Checkpoint::parse(&note);
            }
            _ = VerifierKey::parse(&text);
        }
    }
}
