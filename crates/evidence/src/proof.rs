//! A proof that a stranger can check without us: C2SP's `tlog-proof`. The place of an entry in the log, the hashes beside its way to the root, and
//! the checkpoint that the root is of.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::{self, Hash};
use crate::note::{Checkpoint, CheckpointFault, NOTE_BYTES_MAX, Note, NoteFault};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Of a tree of 2^63 entries.
const HASHES_MAX: usize = 63;
/// The hashes are 45 bytes each.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    index: u64,
    path: Vec<Hash>,
    note: Note,
    head: Checkpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    #[error("it is longer than {PROOF_BYTES_MAX} bytes")]
    TooLong,
    #[error("it does not begin with {FIRST_LINE}, the line of an index, and hashes in base64")]
    Shape,
    #[error("its checkpoint is no signed note")]
    Note(#[from] NoteFault),
    #[error("its checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointFault),
}

impl Proof {
    /// `path`: as the ledger gives it for the size that the note is of.
    ///
    /// # Errors
    /// [`CheckpointFault`]: the note is no checkpoint.
    pub fn new(index: u64, path: Vec<Hash>, note: Note) -> Result<Self, CheckpointFault> {
        let head = Checkpoint::parse(&note)?;
        Ok(Self {
            index,
            path,
            note,
            head,
        })
    }

    /// Reads what [`fmt::Display`] writes, and that alone: a stranger's `extra` line says nothing that is signed.
    ///
    /// # Errors
    /// [`ProofFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFault> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofFault::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| ProofFault::Shape)?;
        let (before, note) = text.split_once("\n\n").ok_or(ProofFault::Shape)?;
        let mut lines = before.split('\n');
        let index = lines
            .next()
            .filter(|line| *line == FIRST_LINE)
            .and_then(|_| lines.next()?.strip_prefix("index "))
            .ok_or(ProofFault::Shape)?;
        let number: u64 = index.parse().map_err(|_| ProofFault::Shape)?;
        let mut path = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok();
            let hash = hash.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            path.push(Hash(hash.ok_or(ProofFault::Shape)?));
        }
        if number.to_string() != index || path.len() > HASHES_MAX {
            return Err(ProofFault::Shape);
        }
        let note = Note::parse(note.as_bytes())?;
        Ok(Self::new(number, path, note)?)
    }

    pub fn index(&self) -> u64 {
        self.index
    }

    pub fn note(&self) -> &Note {
        &self.note
    }

    pub fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// Is this entry where the proof says, in the tree that the checkpoint is of? Whose the checkpoint is, it does not say.
    pub fn shows(&self, entry: &[u8]) -> bool {
        let entry = merkle::of_entry(entry);
        merkle::includes(
            &self.head.root,
            self.head.size,
            self.index,
            entry,
            &self.path,
        )
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::note::{KeyName, Kind, SignerKey};
    use crate::tiles::Edge;

    /// Of seven entries, as many proofs.
    fn proofs() -> Vec<Proof> {
        let key = SignerKey::new(KeyName::new("log.example").unwrap(), Kind::Log, &[1; 32]);
        let mut edge = Edge::default();
        for n in 0..7 {
            edge.push(merkle::of_entry(&[n]), |_, _| {});
        }
        let head = Checkpoint {
            origin: key.verifier().name().clone(),
            size: 7,
            root: edge.root(),
        };
        let mut note = head.note();
        key.sign(&mut note, 0);
        let mut nodes = |height, n| edge.node(height, n, |_| Err(()));
        (0..7)
            .map(|index| {
                let path = merkle::inclusion(index, 7, &mut nodes).unwrap();
                Proof::new(index, path, note.clone()).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_proof_is_of_one_entry_in_one_place() {
        let proofs = proofs();
        for (n, proof) in proofs.iter().enumerate() {
            let read = Proof::parse(proof.to_string().as_bytes()).unwrap();
            assert_eq!(&read, proof);
            for entry in 0..7 {
                assert_eq!(read.shows(&[entry]), usize::from(entry) == n);
            }
            assert_eq!((read.index(), read.head().size), (n as u64, 7));
        }
    }

    /// The specification's own example begins so.
    #[test]
    fn it_is_written_as_everybody_writes_it() {
        let text = proofs()[6].to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["c2sp.org/tlog-proof@v1", "index 6"]);
        assert_eq!((lines[4], lines[5], lines[6]), ("", "log.example", "7"));
        assert!(text.ends_with("=\n"));
    }

    #[test]
    fn whatever_is_changed_shows_nothing() {
        let proof = &proofs()[3];
        let whole = proof.to_string().into_bytes();
        let signed = whole.iter().position(|byte| *byte == 0xe2).unwrap();
        for at in 0..signed {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                // Name and size are held to the root by the log's signature.
                let shows = Proof::parse(&changed)
                    .is_ok_and(|read| read.shows(&[3]) && read.head() == proof.head());
                assert!(!shows, "bit {bit} of byte {at}");
            }
        }
        for (from, to) in [
            ("index 3", "index 03"),
            ("index 3", "extra AA==\nindex 3"),
            ("@v1", "@v2"),
            ("\n\n", "\n"),
        ] {
            let text = proof.to_string().replacen(from, to, 1);
            assert!(Proof::parse(text.as_bytes()).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "c2sp.org/tlog-proof@v1\nindex [0-9]{0,20}\n([A-Za-z0-9+/]{43}=\n){0,3}\n\\PC{0,60}") {
            if let Ok(read) = Proof::parse(text.as_bytes()) {
                _ = read.shows(b"");
            }
        }
    }
}
