//! What is handed to a stranger: a record, the files it speaks of, and all that it takes to check them without us.
//!
//! ```text
//! data/record.json                 what happened; fields may be withheld
//! data/exhibits/…                  the files, of which the record has the hashes
//! proofs/record.tlog-proof         that the record was in the ledger when the checkpoint in it was signed
//! proofs/bundle.json               a record of the handing over: the hash of every other file that nothing else covers
//! proofs/bundle.tlog-proof         that this one was in it as well
//! signer.vkey, VERIFY.md, bag-info.txt, manifests
//! ```
//!
//! *Every byte is held by something signed.* Manifests alone hold nothing: whoever changes a file makes them anew. The record's leaf holds
//! `record.json`, its hashes hold the exhibits; the leaf of the bundle's own record holds the manifests, the words for people and the key. What
//! is left are lists of lists, of which only one form is taken.
//!
//! *Whose key it is* nobody can find out from the bundle. Who checks brings the keys he trusts, or is told that nobody was checked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bag::{self, BagFault, Files, INFO, MANIFEST_256, MANIFEST_512, sha256};
use crate::note::{Signed, VerifierKey};
use crate::policy::{Distrust, Policy, Trusted};
use crate::proof::{Proof, ProofFault};
use crate::record::{Record, RecordFault};

const RECORD: &str = "data/record.json";
const EXHIBITS: &str = "data/exhibits/";
const RECORD_PROOF: &str = "proofs/record.tlog-proof";
const BUNDLE: &str = "proofs/bundle.json";
const BUNDLE_PROOF: &str = "proofs/bundle.tlog-proof";
const SIGNER: &str = "signer.vkey";
const WORDS: &str = "VERIFY.md";
const DECLARED_IN: &str = "bagit.txt";
/// What the bundle's record holds the hashes of.
const HELD: [&str; 6] = [DECLARED_IN, INFO, WORDS, SIGNER, MANIFEST_256, MANIFEST_512];
/// What is there besides, and the payload.
const OTHERS: [&str; 5] = [
    RECORD_PROOF,
    BUNDLE,
    BUNDLE_PROOF,
    "tagmanifest-sha256.txt",
    "tagmanifest-sha512.txt",
];

/// What the record of a handing over is called.
pub const KIND: &str = "bundle";
const NAME_BYTES_MAX: usize = 64;

/// What stands in `bag-info.txt`.
#[derive(Debug, Clone)]
pub struct About {
    pub id: String,
    pub software: String,
    /// Seconds since 1970, and the same as a day.
    pub made_s: u64,
    pub made_on: String,
}

#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error("{name:?} is no name of a file in a bundle")]
    Name { name: String },
    #[error("the record of the bundle cannot be made")]
    Record(#[from] RecordFault),
}

/// A bundle that only lacks its proofs.
#[derive(Debug, Clone)]
pub struct Prepared {
    files: Files,
    /// To be put into the ledger.
    pub record: Record,
}

/// `exhibits`: each with the name that the record has for it.
///
/// # Errors
/// [`MakeError`].
pub fn prepare(
    record: &Record,
    exhibits: Vec<(String, Vec<u8>)>,
    signer: &VerifierKey,
    about: &About,
    draw: impl FnMut(&mut [u8]),
) -> Result<Prepared, MakeError> {
    let mut files = Files::new();
    files.insert(RECORD.to_owned(), record.to_json().into());
    for (name, bytes) in exhibits {
        if !is_name(&name) {
            return Err(MakeError::Name { name });
        }
        files.insert(format!("{EXHIBITS}{name}"), bytes);
    }
    let is_drill = is_drill(record);
    let payload: usize = files.values().map(Vec::len).sum();
    let drill = if is_drill {
        " (A DRILL: nobody was attacked)"
    } else {
        ""
    };
    let info = format!(
        "Bag-Software-Agent: {}\nBagging-Date: {}\nExternal-Description: {}{drill}\nExternal-Identifier: {}\nPayload-Oxum: {payload}.{}\n",
        about.software,
        about.made_on,
        record.kind(),
        about.id,
        files.len(),
    );
    files.insert(INFO.to_owned(), info.into());
    files.insert(SIGNER.to_owned(), format!("{signer}\n").into());
    files.insert(WORDS.to_owned(), words(signer, is_drill).into());
    bag::complete(&mut files);
    let held: Map<String, Value> = HELD
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), json!(sha256(files.get(name)?)))))
        .collect();
    let fields = [
        ("of", json!(hex(&record.leaf()))),
        ("files", Value::Object(held)),
        ("made", json!(about.made_s)),
        ("drill", json!(is_drill)),
    ];
    let record = Record::new(KIND, fields, draw)?;
    Ok(Prepared { files, record })
}

impl Prepared {
    /// With the proofs of both records, against one checkpoint.
    pub fn finish(mut self, of_record: &Proof, of_bundle: &Proof) -> Files {
        let texts = [
            (RECORD_PROOF, of_record.to_string()),
            (BUNDLE, self.record.to_json()),
            (BUNDLE_PROOF, of_bundle.to_string()),
        ];
        for (name, text) in texts {
            self.files.insert(name.to_owned(), text.into());
        }
        bag::tags(&mut self.files);
        self.files
    }
}

/// What was found out about a bundle that is whole.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Whose key the bundle says it is.
    pub signer: VerifierKey,
    /// `None`: nobody said whom he trusts.
    pub trusted: Option<Trusted>,
    pub record: Record,
    pub index: u64,
    pub tree_size: u64,
    /// When it was handed over, by the clock of who did it.
    pub made_s: Option<u64>,
    pub is_drill: bool,
}

/// Why a bundle is not to be believed, and which file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub file: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error(transparent)]
    Bag(#[from] BagFault),
    #[error("it does not belong into a bundle")]
    Unknown,
    #[error("it is no record: {0}")]
    Record(#[from] RecordFault),
    #[error("it is no proof: {0}")]
    Proof(#[from] ProofFault),
    #[error("it is no key")]
    Key,
    #[error("the proof is of something else: what it is beside was not in the ledger there")]
    NotInLedger,
    #[error("its checkpoint is not signed by the key of the bundle")]
    NotSigned,
    #[error("its checkpoint is of another log than the bundle's key")]
    OtherLog,
    #[error("the two proofs are of different checkpoints")]
    TwoCheckpoints,
    #[error("it is of another record than the one beside it")]
    OtherRecord,
    #[error("it is not what was handed over: its hash in the bundle's record is another")]
    NotHandedOver,
    #[error("the record speaks of it with another hash or length")]
    OtherExhibit,
    #[error("the record speaks of a file that is not there")]
    NoExhibit,
    #[error("its record does not speak of it")]
    Unspoken,
    #[error("{0}")]
    Distrusted(#[from] Distrust),
}

/// Checks all of it, and says the first thing that is wrong.
///
/// # Errors
/// [`Refused`].
pub fn verify(files: &Files, policy: Option<&Policy>) -> Result<Verified, Refused> {
    bag::check(files).map_err(|(file, fault)| refused(&file, fault))?;
    for name in files.keys() {
        let is_known = HELD.contains(&name.as_str())
            || OTHERS.contains(&name.as_str())
            || name == RECORD
            || name.strip_prefix(EXHIBITS).is_some_and(is_name);
        if !is_known {
            return Err(refused(name, Why::Unknown));
        }
    }
    let signer = signer(files)?;
    let record = record(files, RECORD)?;
    let of_record = proof(files, RECORD_PROOF)?;
    if !of_record.shows(&record.leaf()) {
        return Err(refused(RECORD_PROOF, Why::NotInLedger));
    }
    exhibits(files, &record)?;
    let handed_over = record_of_bundle(files, &record)?;
    let of_bundle = proof(files, BUNDLE_PROOF)?;
    if !of_bundle.shows(&handed_over.leaf()) {
        return Err(refused(BUNDLE_PROOF, Why::NotInLedger));
    }
    if of_bundle.note() != of_record.note() {
        return Err(refused(BUNDLE_PROOF, Why::TwoCheckpoints));
    }
    let head = of_record.head();
    if head.origin != *signer.name() {
        return Err(refused(RECORD_PROOF, Why::OtherLog));
    }
    if of_record.note().signed_by(&signer) != Signed::Log {
        return Err(refused(RECORD_PROOF, Why::NotSigned));
    }
    let trusted = match policy {
        None => None,
        Some(policy) => {
            let trusted = policy.trusts(of_record.note(), head.origin.as_str());
            let trusted = trusted.map_err(|why| refused(RECORD_PROOF, why))?;
            if !trusted.log.is_same_key(&signer) {
                return Err(refused(SIGNER, Distrust::Log));
            }
            Some(trusted)
        }
    };
    Ok(Verified {
        trusted,
        index: of_record.index(),
        tree_size: head.size,
        made_s: handed_over.value("made").and_then(Value::as_u64),
        is_drill: is_drill(&record) || is_drill(&handed_over),
        signer,
        record,
    })
}

fn refused(file: &str, why: impl Into<Why>) -> Refused {
    Refused {
        file: file.to_owned(),
        why: why.into(),
    }
}

fn bytes<'a>(files: &'a Files, name: &str) -> Result<&'a [u8], Refused> {
    let found = files.get(name).map(Vec::as_slice);
    found.ok_or_else(|| refused(name, BagFault::Missing))
}

fn record(files: &Files, name: &str) -> Result<Record, Refused> {
    Record::parse(bytes(files, name)?).map_err(|fault| refused(name, fault))
}

fn proof(files: &Files, name: &str) -> Result<Proof, Refused> {
    let bytes = bytes(files, name)?;
    let proof = Proof::parse(bytes).map_err(|fault| refused(name, fault))?;
    let is_as_written = proof.to_string().as_bytes() == bytes;
    is_as_written
        .then_some(proof)
        .ok_or_else(|| refused(name, ProofFault::Shape))
}

fn signer(files: &Files) -> Result<VerifierKey, Refused> {
    let text = str::from_utf8(bytes(files, SIGNER)?).unwrap_or_default();
    let key = text.strip_suffix('\n').map(VerifierKey::parse);
    match key {
        Some(Ok(key)) if format!("{key}\n") == text => Ok(key),
        _ => Err(refused(SIGNER, Why::Key)),
    }
}

/// The record of the handing over, which holds the rest.
fn record_of_bundle(files: &Files, of: &Record) -> Result<Record, Refused> {
    let record = record(files, BUNDLE)?;
    let is_of_it = record.kind() == KIND && record.value("of") == Some(&json!(hex(&of.leaf())));
    if !is_of_it {
        return Err(refused(BUNDLE, Why::OtherRecord));
    }
    let held = record.value("files").and_then(Value::as_object);
    let held = held.ok_or_else(|| refused(BUNDLE, Why::OtherRecord))?;
    if held.len() != HELD.len() {
        return Err(refused(BUNDLE, Why::OtherRecord));
    }
    for name in HELD {
        if held.get(name) != Some(&json!(sha256(bytes(files, name)?))) {
            return Err(refused(name, Why::NotHandedOver));
        }
    }
    Ok(record)
}

/// Those the record speaks of are there as it says, and no others.
fn exhibits(files: &Files, record: &Record) -> Result<(), Refused> {
    let listed = record.value("exhibits").and_then(Value::as_array);
    let mut spoken_of = BTreeMap::new();
    for one in listed.into_iter().flatten() {
        let name = one["name"].as_str().unwrap_or_default();
        spoken_of.insert(format!("{EXHIBITS}{name}"), (&one["sha256"], &one["bytes"]));
    }
    let is_exhibit = |name: &&String| name.starts_with(EXHIBITS);
    for name in files.keys().filter(is_exhibit) {
        let Some((sum, length)) = spoken_of.remove(name) else {
            return Err(refused(name, Why::Unspoken));
        };
        let bytes = bytes(files, name)?;
        if *sum != json!(sha256(bytes)) || *length != json!(bytes.len()) {
            return Err(refused(name, Why::OtherExhibit));
        }
    }
    match spoken_of.into_keys().next() {
        Some(name) => Err(refused(&name, Why::NoExhibit)),
        None => Ok(()),
    }
}

fn is_drill(record: &Record) -> bool {
    record.value("drill") == Some(&Value::Bool(true))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(fits)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(signer: &VerifierKey, is_drill: bool) -> String {
    let drill = |text: &'static str| if is_drill { text } else { "" };
    format!(
        include_str!("bundle/VERIFY.md"),
        fingerprint = signer.fingerprint(),
        drill_kk = drill(
            "**Бұл — оқу-жаттығу: бір машинадағы қайталау. Ешкімге шабуыл жасалған жоқ.**\n\n"
        ),
        drill_ru = drill("**Это учения: репетиция на одной машине. Ни на кого не нападали.**\n\n"),
        drill_en =
            drill("**This is a drill: a rehearsal on one machine. Nobody was attacked.**\n\n"),
    )
}

#[cfg(test)]
mod tests;
