//! `saqta bundle incident` and `saqta verify`: what is handed to a stranger, and what a stranger does with it.
//!
//! Whoever makes a bundle opens the case himself: his key goes to nobody. Into the ledger only one may write, so where a Saqta runs on the
//! folder it is asked to put the record of the handing over there and to sign; where none runs, it is done here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use saqta_edge::clock::UnixMillis;
use saqta_evidence::archive::{Archive, draw};
use saqta_evidence::bag::{self, BagError};
use saqta_evidence::bundle::{self, About, Refused, Verified};
use saqta_evidence::disk;
use saqta_evidence::note::Checkpoint;
use saqta_evidence::policy::{POLICY_BYTES_MAX, Policy};
use saqta_evidence::proof::Proof;
use saqta_evidence::record::Record;
use saqta_evidence::vault::CaseId;
use serde_json::{Value, json};

use crate::control::{self, Answer, ControlError, Order};
use crate::folder::Folder;
use crate::incidents;
use crate::recording::{FOLDER, time};
use crate::screen::{self, Tone};

/// `Ok(None)`: there is no incident of this name.
pub(crate) fn bundle(
    data: &Path,
    identity: Option<&PathBuf>,
    id: &str,
    withheld: &[String],
    out: &Path,
) -> anyhow::Result<Option<String>> {
    if out.symlink_metadata().is_ok() {
        return Err(BagError::Exists {
            path: out.to_owned(),
        }
        .into());
    }
    let Some(opened) = incidents::open(data, identity, id)? else {
        return Ok(None);
    };
    let whole = &opened.record;
    for name in withheld {
        if !whole.fields().any(|(field, _)| field == name) {
            let names: Vec<&str> = whole.fields().map(|(name, _)| name).collect();
            bail!(
                "the record has no field {name}\nthere are {}",
                names.join(", ")
            );
        }
    }
    let names: Vec<&str> = withheld.iter().map(String::as_str).collect();
    let record = whole.without(&names);
    let exhibits = match record.value("exhibits") {
        Some(_) => opened.exhibits,
        None => Vec::new(),
    };
    let made_s = UnixMillis::now().secs();
    let about = About {
        id: id.to_owned(),
        software: format!("Saqta {}", env!("CARGO_PKG_VERSION")),
        made_s,
        made_on: time(made_s).chars().take(10).collect(),
    };
    let prepared = bundle::prepare(&record, exhibits, &opened.signer, &about, draw)?;
    let (of_record, of_bundle) = kept(data, &opened.case, &prepared.record, opened.index)?;
    let files = prepared.finish(&of_record, &of_bundle);
    // Whoever gets it must be able to rely on it.
    let found = bundle::verify(&files, None)
        .map_err(|refused| anyhow::anyhow!("the bundle that was made is not whole ({}: {}); nothing was written, and this is a fault of ours", refused.file, refused.why))?;
    bag::write(&files, out)?;
    Ok(Some(format!(
        "{} holds the incident and its proofs: {} files\nnot yet witnessed, not yet timestamped\nfingerprint of who signed, to be told by telephone: {}\ncheck it: saqta verify {}\n",
        out.display(),
        files.len(),
        found.signer.fingerprint(),
        out.display()
    )))
}

/// The proofs of the record and of the handing over.
fn kept(data: &Path, case: &CaseId, record: &Record, of: u64) -> anyhow::Result<(Proof, Proof)> {
    let order = Order::Keep {
        case: case.to_string(),
        record: record.to_json(),
        of,
    };
    let answer = match control::ask(data, order) {
        Err(ControlError::NotRunning { .. }) => {
            // As long as this is held no Saqta starts on it.
            let folder = Folder::open(data)?;
            let disk = disk::Folder::new(folder.path().join(FOLDER));
            let (archive, _) = Archive::open(disk)?;
            keep(&archive, case, record, of)?
        }
        answer => match answer? {
            Answer::Kept { of, kept } => [of, kept],
            Answer::Refused { problems } => bail!(problems.join("\n")),
            _ => bail!("the running Saqta answered something else than was asked"),
        },
    };
    let [of, kept] = answer.map(|text| Proof::parse(text.as_bytes()));
    Ok((of?, kept?))
}

/// Puts a record into the ledger, and proves it and another one by the same checkpoint.
pub(crate) fn keep(
    archive: &Archive<disk::Folder>,
    case: &CaseId,
    record: &Record,
    of: u64,
) -> anyhow::Result<[String; 2]> {
    let index = archive.keep(case, record)?;
    let note = archive.sign()?;
    let size = Checkpoint::parse(&note)?.size;
    let proof = |index: u64| -> anyhow::Result<String> {
        let path = archive.ledger().inclusion(index, size)?;
        Ok(Proof::new(index, path, note.clone())?.to_string())
    };
    Ok([proof(of)?, proof(index)?])
}

/// The same, as a running Saqta is asked for it.
pub(crate) fn keep_as_asked(
    archive: Option<&Archive<disk::Folder>>,
    case: &str,
    record: &str,
    of: u64,
) -> Answer {
    let kept = || -> anyhow::Result<[String; 2]> {
        let archive =
            archive.context("the evidence is not open: the log of the running Saqta says why")?;
        let case = CaseId::new(case).context("it is no case")?;
        let record = Record::parse(record.as_bytes())?;
        // Nothing but what is handed over is put in by an order: what Saqta saw it says itself.
        if record.kind() != bundle::KIND {
            bail!("a record of this kind is not taken");
        }
        keep(archive, &case, &record, of)
    };
    match kept() {
        Ok([of, kept]) => Answer::Kept { of, kept },
        Err(error) => Answer::Refused {
            problems: vec![format!("{error:#}")],
        },
    }
}

/// What a verification came to: what is said, and the exit code.
pub(crate) struct Judged {
    pub(crate) said: String,
    pub(crate) code: u8,
}

/// Was something changed, or is it not of whom one trusts?
const REFUSED: u8 = 1;
/// There is nothing that could be judged.
const UNUSABLE: u8 = 2;

pub(crate) fn verify(path: &Path, trust: Option<&PathBuf>, as_json: bool) -> Judged {
    let judged = || -> anyhow::Result<Result<Verified, Refused>> {
        let policy = trust.map(|file| policy(file)).transpose()?;
        let files = bag::read(path)?;
        Ok(bundle::verify(&files, policy.as_ref()))
    };
    match judged() {
        Ok(Ok(found)) if as_json => Judged {
            said: format!("{}\n", json_of(&found)),
            code: 0,
        },
        Ok(Ok(found)) => Judged {
            said: screen_of(&found),
            code: 0,
        },
        Ok(Err(Refused { file, why })) => {
            let why = why.to_string();
            judge(as_json, REFUSED, ("REFUSED", &why), Some(&file))
        }
        Err(error) => judge(as_json, UNUSABLE, ("UNUSABLE", &format!("{error:#}")), None),
    }
}

fn policy(file: &Path) -> anyhow::Result<Policy> {
    let shown = file.display();
    let long = std::fs::metadata(file).map(|data| data.len() > POLICY_BYTES_MAX);
    if long.with_context(|| format!("cannot read the policy {shown}"))? {
        bail!("{shown} is no policy: it is too long");
    }
    let bytes = std::fs::read(file).with_context(|| format!("cannot read the policy {shown}"))?;
    Policy::parse(&String::from_utf8_lossy(&bytes)).with_context(|| format!("the policy {shown}"))
}

fn judge(as_json: bool, code: u8, (word, why): (&str, &str), file: Option<&str>) -> Judged {
    let said = if as_json {
        let all = json!({
            "ok": false, "signer_checked": false, "reason": why, "file": file, "log": null, "tree_size": null,
            "checkpoint_time": null, "witnesses": [], "timestamps": [], "disposed": [], "drill": null,
        });
        format!("{all}\n")
    } else {
        let where_ = file.map_or(String::new(), |file| format!("{file}: "));
        format!("{word}: {where_}{why}\n")
    };
    Judged { said, code }
}

fn json_of(found: &Verified) -> Value {
    let witnesses = found.trusted.iter().flat_map(|trusted| &trusted.witnesses);
    let witnesses: Vec<Value> = witnesses
        .map(|(name, at_s)| json!({ "name": name, "at": at_s }))
        .collect();
    json!({
        "ok": true,
        "signer_checked": found.trusted.is_some(),
        "reason": null,
        "file": null,
        "log": found.signer.to_string(),
        "tree_size": found.tree_size,
        // Of a witness or an authority: the bundle's own clock proves nothing.
        "checkpoint_time": null,
        "witnesses": witnesses,
        "timestamps": [],
        "disposed": [],
        "drill": found.is_drill,
    })
}

fn screen_of(found: &Verified) -> String {
    let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
    let value = |name: &str| match found.record.value(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "withheld".to_owned(),
    };
    let mut text = match &found.trusted {
        None => "INTACT, SIGNER NOT CHECKED\n".to_owned(),
        Some(trusted) => format!("INTACT, SIGNED BY {}\n", trusted.log.name()),
    };
    if found.trusted.is_none() {
        text += &row(
            "fingerprint",
            &format!(
                "{}\ncompare it with the newsroom by telephone, or give --trust POLICY",
                found.signer.fingerprint()
            ),
        );
    }
    if found.is_drill {
        text += &row("drill", "A REHEARSAL: nobody was attacked");
    }
    text += &row(
        "record",
        &format!("{} {}", found.record.kind(), value("id")),
    );
    text += &row("site", &value("site"));
    if let Some(onset) = found.record.value("onset").and_then(Value::as_u64) {
        text += &row("began", &time(onset));
    }
    let withheld: Vec<&str> = found
        .record
        .fields()
        .filter_map(|(name, is_shown)| (!is_shown).then_some(name))
        .collect();
    if !withheld.is_empty() {
        text += &row("withheld", &withheld.join(", "));
    }
    text += &row(
        "ledger",
        &format!(
            "entry {} of {} of {}",
            found.index,
            found.tree_size,
            found.signer.name()
        ),
    );
    if let Some(made_s) = found.made_s {
        text += &row(
            "handed over",
            &format!("{}, by the clock of who did it", time(made_s)),
        );
    }
    match &found.trusted {
        Some(trusted) if !trusted.witnesses.is_empty() => {
            for (name, at_s) in &trusted.witnesses {
                text += &row("seen by", &format!("{name}, {}", time(*at_s)));
            }
        }
        _ => text += &row("not yet", "witnessed, timestamped"),
    }
    text += &row(
        "not shown",
        "that it is complete, that what was written was true then, who attacked or why",
    );
    text
}
