use super::*;
use crate::archive::{Archive, draw};
use crate::disk::forgetful::Forgetful;
use crate::note::{KeyName, Kind, Note, SignerKey};
use crate::vault::CaseId;

const TIMELINE: &[u8] = b"second,requests\r\n1,2\r\n";

fn incident(name: &str) -> Record {
    let exhibit = json!({ "name": "timeline.csv", "sha256": sha256(TIMELINE), "bytes": TIMELINE.len(), "blob": "x" });
    let fields = [
        ("id", json!(name)),
        ("drill", json!(true)),
        ("site", json!("secret.example")),
        ("exhibits", json!([exhibit])),
    ];
    Record::new("incident", fields, draw).unwrap()
}

struct Maker {
    archive: Archive<Forgetful>,
    case: CaseId,
}

impl Maker {
    fn new() -> Self {
        let archive = Archive::open(Forgetful::default()).unwrap().0;
        let case = CaseId::new("a").unwrap();
        for n in 0..3 {
            archive
                .keep(&case, &incident(&format!("other-{n}")))
                .unwrap();
        }
        Self { archive, case }
    }

    fn proof(&self, index: u64, note: &Note) -> Proof {
        let size = crate::note::Checkpoint::parse(note).unwrap().size;
        let path = self.archive.ledger().inclusion(index, size).unwrap();
        Proof::new(index, path, note.clone()).unwrap()
    }

    fn bundle_of(&self, record: &Record, index: u64) -> Files {
        let about = About {
            id: "a".to_owned(),
            software: "Saqta".to_owned(),
            made_s: 1_796_126_400,
            made_on: "2026-12-01".to_owned(),
        };
        let exhibits = vec![("timeline.csv".to_owned(), TIMELINE.to_vec())];
        let signer = self.archive.signer();
        let prepared = prepare(record, exhibits, signer, &about, draw).unwrap();
        let of_bundle = self.archive.keep(&self.case, &prepared.record).unwrap();
        let note = self.archive.sign().unwrap();
        prepared.finish(&self.proof(index, &note), &self.proof(of_bundle, &note))
    }

    fn bundle(&self) -> Files {
        let record = incident("a");
        let index = self.archive.keep(&self.case, &record).unwrap();
        self.bundle_of(&record, index)
    }

    fn policy(&self) -> Policy {
        Policy::parse(&format!("log {}\nquorum none\n", self.archive.signer())).unwrap()
    }
}

/// As whoever changes something would: all lists anew.
fn rebuilt(mut files: Files) -> Files {
    files.retain(|name, _| !name.contains("manifest"));
    bag::complete(&mut files);
    files
}

#[test]
fn a_bundle_is_checked_without_us() {
    let maker = Maker::new();
    let files = maker.bundle();
    let found = verify(&files, None).unwrap();
    assert!(found.trusted.is_none() && found.is_drill);
    assert_eq!((found.index, found.tree_size), (3, 5));
    assert_eq!(found.signer, *maker.archive.signer());
    assert_eq!(found.made_s, Some(1_796_126_400));
    let found = verify(&files, Some(&maker.policy())).unwrap();
    assert_eq!(found.trusted.unwrap().log, *maker.archive.signer());
    let other = SignerKey::new(KeyName::new("other").unwrap(), Kind::Log, &[1; 32]);
    let policy = Policy::parse(&format!("log {}\nquorum none", other.verifier())).unwrap();
    let said = verify(&files, Some(&policy)).unwrap_err();
    assert_eq!(said, refused(RECORD_PROOF, Distrust::Log));
}

#[test]
fn a_field_may_be_withheld() {
    let maker = Maker::new();
    let whole = incident("a");
    let index = maker.archive.keep(&maker.case, &whole).unwrap();
    let less = whole.without(&["site"]);
    let files = maker.bundle_of(&less, index);
    let found = verify(&files, Some(&maker.policy())).unwrap();
    assert_eq!(found.record.value("site"), None);
    let all = files.values().flatten().copied().collect::<Vec<u8>>();
    assert!(memchr::memmem::find(&all, b"secret.example").is_none());
}

/// Each bit of each file, alone and with every list made anew: no one is believed.
#[test]
fn whatever_is_changed_is_refused() {
    let maker = Maker::new();
    let (whole, policy) = (maker.bundle(), maker.policy());
    let mut tried = 0;
    for (name, bytes) in &whole {
        for at in 0..bytes.len() {
            for bit in [0, 5] {
                let mut changed = whole.clone();
                if let Some(bytes) = changed.get_mut(name) {
                    bytes[at] ^= 1 << bit;
                }
                assert!(
                    verify(&changed, Some(&policy)).is_err(),
                    "{name} {at} {bit}"
                );
                let again = rebuilt(changed);
                if again != whole {
                    assert!(
                        verify(&again, Some(&policy)).is_err(),
                        "{name} {at} {bit}, rebuilt"
                    );
                    assert!(verify(&again, None).is_err(), "{name} {at} {bit}, rebuilt");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn what_is_added_taken_away_or_from_elsewhere_is_refused() {
    let maker = Maker::new();
    let (whole, policy) = (maker.bundle(), maker.policy());
    let other = maker.bundle();
    for name in whole.keys() {
        let mut less = whole.clone();
        less.remove(name);
        assert!(verify(&less, None).is_err(), "{name}");
        let again = rebuilt(less);
        assert!(
            again == whole || verify(&again, None).is_err(),
            "{name}, rebuilt"
        );
        // Its like of another bundle, of the same ledger.
        let mut mixed = whole.clone();
        mixed.insert(name.clone(), other[name].clone());
        if mixed != whole {
            assert!(verify(&mixed, Some(&policy)).is_err(), "{name}");
            let again = rebuilt(mixed);
            assert!(
                again == whole || verify(&again, Some(&policy)).is_err(),
                "{name}, rebuilt"
            );
        }
    }
    for name in ["data/exhibits/more.txt", "data/more", "more", "proofs/more"] {
        let mut more = whole.clone();
        more.insert(name.to_owned(), b"more".to_vec());
        assert!(verify(&more, None).is_err(), "{name}");
        assert!(verify(&rebuilt(more), None).is_err(), "{name}, rebuilt");
    }
}

/// The whole made again by somebody with a key of his own: whole, and nobody that one trusts.
#[test]
fn a_forger_is_found_out_by_his_key_alone() {
    let (maker, forger) = (Maker::new(), Maker::new());
    let forged = forger.bundle();
    let found = verify(&forged, None).unwrap();
    assert_ne!(
        found.signer.fingerprint(),
        maker.archive.signer().fingerprint()
    );
    let said = verify(&forged, Some(&maker.policy())).unwrap_err();
    assert_eq!(said.why, Why::Distrusted(Distrust::Log));
}
