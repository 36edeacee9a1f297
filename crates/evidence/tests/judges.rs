//! Two verifiers that share no code, ours and `tools/verify_bundle.py`: the same answer about a bundle that is whole, and about each that is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say so when they fail"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saqta_evidence::archive::{Archive, draw};
use saqta_evidence::bag::{self, Files};
use saqta_evidence::bundle::{About, prepare, verify};
use saqta_evidence::disk::Folder;
use saqta_evidence::note::{KeyName, Kind, Note, SignerKey};
use saqta_evidence::policy::Policy;
use saqta_evidence::proof::Proof;
use saqta_evidence::record::Record;
use saqta_evidence::vault::CaseId;
use serde_json::{Value, json};

const TIMELINE: &[u8] = "time,requests\r\n12:00,1\r\nё,2\r\n".as_bytes();

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("saqta-judges-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(n: u64) -> Record {
    let exhibit =
        json!({ "name": "timeline.csv", "sha256": bag::sha256(TIMELINE), "bytes": TIMELINE.len() });
    let fields = [
        ("id", json!("20261201-00000001")),
        ("n", json!(n)),
        ("site", json!("Жаңалық \"күн\"\u{1}")),
        ("drill", json!(true)),
        ("exhibits", json!([exhibit])),
    ];
    Record::new("incident", fields, draw).unwrap()
}

/// Of the sixth of seven entries, with the site withheld.
fn bundle(archive: &Archive<Folder>, witness: Option<&SignerKey>) -> Files {
    let case = CaseId::new("a").unwrap();
    for n in 0..5 {
        archive.keep(&case, &record(n)).unwrap();
    }
    let whole = record(5);
    let index = archive.keep(&case, &whole).unwrap();
    let about = About {
        id: "20261201-00000001".to_owned(),
        software: "Saqta".to_owned(),
        made_s: 1_796_126_400,
        made_on: "2026-12-01".to_owned(),
    };
    let exhibits = vec![("timeline.csv".to_owned(), TIMELINE.to_vec())];
    let less = whole.without(&["site"]);
    let prepared = prepare(&less, exhibits, archive.signer(), &about, draw).unwrap();
    let of_bundle = archive.keep(&case, &prepared.record).unwrap();
    let mut note = archive.sign().unwrap();
    if let Some(witness) = witness {
        witness.sign(&mut note, 1_796_126_401);
    }
    let size = archive.ledger().size();
    let proof = |index: u64, note: &Note| {
        let path = archive.ledger().inclusion(index, size).unwrap();
        Proof::new(index, path, note.clone()).unwrap()
    };
    prepared.finish(&proof(index, &note), &proof(of_bundle, &note))
}

fn python(arguments: &[&str]) -> Output {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools");
    Command::new("python3")
        .args(["-B"])
        .args(arguments)
        .env("PYTHONPATH", &tools)
        .current_dir(tools)
        .output()
        .unwrap()
}

fn says(arguments: &[&str]) -> (Option<i32>, Value) {
    let said = python(&[&["verify_bundle.py"], arguments, &["--json"]].concat());
    let json = serde_json::from_slice(&said.stdout);
    (
        said.status.code(),
        json.unwrap_or_else(|_| panic!("{said:?}")),
    )
}

#[test]
fn both_say_the_same_of_whom_to_trust() {
    let scratch = Scratch::new("trust");
    let archive = Archive::open(Folder::new(scratch.0.join("evidence")))
        .unwrap()
        .0;
    let witness = SignerKey::new(KeyName::new("w.example").unwrap(), Kind::Witness, &[1; 32]);
    let other = SignerKey::new(KeyName::new("x.example").unwrap(), Kind::Witness, &[2; 32]);
    let forged = SignerKey::new(archive.signer().name().clone(), Kind::Log, &[3; 32]);
    let files = bundle(&archive, Some(&witness));
    let path = scratch.0.join("bundle");
    bag::write(&files, &path).unwrap();
    let path = path.to_str().unwrap();

    let (code, said) = says(&[path]);
    assert_eq!(
        (code, &said["ok"], &said["signer_checked"]),
        (Some(0), &json!(true), &json!(false))
    );
    assert_eq!(
        (&said["drill"], &said["tree_size"]),
        (&json!(true), &json!(7))
    );
    assert_eq!(said["log"], archive.signer().to_string());
    let found = verify(&files, None).unwrap();
    assert_eq!((found.is_drill, found.tree_size, found.index), (true, 7, 5));

    let log = archive.signer();
    let (w, x) = (witness.verifier(), other.verifier());
    let table = [
        (format!("log {log}\nquorum none\n"), true),
        (format!("log {log}\nwitness W {w}\nquorum W\n"), true),
        (
            format!("log {log}\nwitness W {w}\nwitness X {x}\ngroup G any W X\nquorum G\n"),
            true,
        ),
        (
            format!("log {log}\nwitness W {w}\nwitness X {x}\ngroup G all W X\nquorum G\n"),
            false,
        ),
        (format!("log {log}\nwitness X {x}\nquorum X\n"), false),
        (format!("log {}\nquorum none\n", forged.verifier()), false),
        ("quorum none\n".to_owned(), false),
    ];
    for (text, expected) in table {
        let file = scratch.0.join("policy");
        std::fs::write(&file, &text).unwrap();
        let (code, said) = says(&[path, "--trust", file.to_str().unwrap()]);
        let ours = verify(&files, Some(&Policy::parse(&text).unwrap()));
        assert_eq!(
            (ours.is_ok(), code),
            (expected, Some(i32::from(!expected))),
            "{text}: {said}"
        );
        let seen = ours.map(|found| found.trusted.unwrap().witnesses.len());
        assert_eq!(
            said["witnesses"].as_array().unwrap().len(),
            seen.unwrap_or(0)
        );
    }
    for (text, line) in [
        ("", "no line"),
        ("log x\nquorum none", "line 1"),
        ("quorum W", "line 1"),
    ] {
        let file = scratch.0.join("policy");
        std::fs::write(&file, text).unwrap();
        let (code, said) = says(&[path, "--trust", file.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said["reason"].as_str().unwrap().contains(line), "{said}");
        assert!(Policy::parse(text).is_err());
    }
    let (code, _) = says(&[scratch.0.to_str().unwrap()]);
    assert_eq!(code, Some(2), "no bundle");
}

/// Applies to a bundle in memory what stands in a list, and says where it is of another mind than the list.
const AGREE: &str = r#"
import json, sys
import verify_bundle as judge
whole = judge.read_folder(sys.argv[1])
changes = json.load(open(sys.argv[2]))
differs = 0
for change in changes:
    files, name = dict(whole), change["name"]
    if change["act"] == "flip":
        data = bytearray(files[name]); data[change["at"]] ^= change["mask"]; files[name] = bytes(data)
    elif change["act"] == "remove":
        del files[name]
    else:
        files[name] = b"more"
    if change["again"]:
        files = {name: data for name, data in files.items() if "manifest" not in name}
        files["bagit.txt"] = judge.DECLARATION
        for _ in range(2):
            files.update(judge.lists(files))
    try:
        judge.verify(files)
        ok = True
    except judge.Refused:
        ok = False
    if ok != change["ok"]:
        differs += 1
        print(change, "ok" if ok else "refused")
print(len(changes), "tried,", differs, "differ")
"#;

#[test]
fn both_say_the_same_of_every_byte_that_is_changed() {
    let scratch = Scratch::new("bytes");
    let archive = Archive::open(Folder::new(scratch.0.join("evidence")))
        .unwrap()
        .0;
    let whole = bundle(&archive, None);
    let path = scratch.0.join("bundle");
    bag::write(&whole, &path).unwrap();
    let mut changes = Vec::new();
    let mut note = |mut change: Value, files: Files| {
        change["again"] = json!(false);
        change["ok"] = json!(verify(&files, None).is_ok());
        changes.push(change.clone());
        let mut again = files;
        again.retain(|name, _| !name.contains("manifest"));
        bag::complete(&mut again);
        change["again"] = json!(true);
        change["ok"] = json!(verify(&again, None).is_ok());
        // What is made anew may be what it was.
        assert_eq!(change["ok"] == true, again == whole, "{change}");
        changes.push(change);
    };
    for (name, bytes) in &whole {
        for at in 0..bytes.len() {
            let mask = [1, 4, 32, 128][at % 4];
            let mut files = whole.clone();
            files.get_mut(name).unwrap()[at] ^= mask;
            note(
                json!({ "act": "flip", "name": name, "at": at, "mask": mask }),
                files,
            );
        }
        let mut files = whole.clone();
        files.remove(name);
        note(json!({ "act": "remove", "name": name }), files);
    }
    for name in ["data/more", "more", "data/exhibits/more", "proofs/more"] {
        let mut files = whole.clone();
        files.insert(name.to_owned(), b"more".to_vec());
        note(json!({ "act": "add", "name": name }), files);
    }
    let list = scratch.0.join("changes.json");
    std::fs::write(&list, serde_json::to_vec(&changes).unwrap()).unwrap();
    let arguments = ["-c", AGREE, path.to_str().unwrap(), list.to_str().unwrap()];
    let said = python(&arguments);
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{said:?}");
    assert!(
        text.ends_with(&format!("{} tried, 0 differ\n", changes.len())),
        "{text}"
    );
    assert!(changes.len() > 15_000, "{}", changes.len());
}

/// The reader of bags of the Library of Congress, and a tree of RFC 6962 that somebody else wrote.
const OUTSIDE: &str = r#"
import base64, os, sys
import bagit, pymerkle
what, path, evidence = sys.argv[1:4]
if what == "bag":
    try:
        bagit.Bag(path).validate()
        print("whole")
    except (bagit.BagError, bagit.BagValidationError) as error:
        print("refused")
else:
    [name] = os.listdir(os.path.join(evidence, "tile/entries/000.p"))
    with open(os.path.join(evidence, "tile/entries/000.p", name), "rb") as file:
        data = file.read()
    tree, at = pymerkle.InmemoryTree(algorithm="sha256"), 0
    while at < len(data):
        length = int.from_bytes(data[at:at + 2], "big")
        tree.append_entry(data[at + 2:at + 2 + length])
        at += 2 + length
    with open(os.path.join(evidence, "checkpoint")) as file:
        origin, size, root = file.read().split("\n")[:3]
    is_so = int(size) == tree.get_size() and base64.b64decode(root) == tree.get_root()
    print("whole" if is_so else "refused")
"#;

#[test]
fn outside_judges_agree_and_refuse_what_is_bad() {
    let judges = std::env::var("SAQTA_JUDGES");
    let judges =
        judges.unwrap_or_else(|_| panic!("SAQTA_JUDGES is not set: `cargo x test` installs them"));
    let scratch = Scratch::new("outside");
    let evidence = scratch.0.join("evidence");
    let archive = Archive::open(Folder::new(&evidence)).unwrap().0;
    let path = scratch.0.join("bundle");
    bag::write(&bundle(&archive, None), &path).unwrap();
    let says = |what: &str| {
        let said = Command::new(&judges)
            .args(["-W", "ignore", "-c", OUTSIDE, what])
            .args([&path, &evidence])
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    assert_eq!(
        (says("bag").as_str(), says("tree").as_str()),
        ("whole", "whole")
    );
    let change = |file: PathBuf| {
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    };
    change(path.join("data/exhibits/timeline.csv"));
    change(evidence.join("tile/entries/000.p/7"));
    assert_eq!(
        (says("bag").as_str(), says("tree").as_str()),
        ("refused", "refused")
    );
}
