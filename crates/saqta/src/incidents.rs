//! `saqta incident list` and `show`: what was sealed of attacks, read with an officer's key or, as long as there is none, with the one
//! that lies in the data folder.
//!
//! Needs no running Saqta and disturbs none: it looks at what lies there.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use saqta_evidence::Identity;
use saqta_evidence::archive::{Archive, ArchiveError};
use saqta_evidence::disk::Folder;
use saqta_evidence::note::VerifierKey;
use saqta_evidence::record::Record;
use saqta_evidence::vault::{BlobName, CaseId, CaseKey};
use serde_json::{Map, Value, json};

use crate::recording::{FOLDER, INCIDENT, time};
use crate::screen::{self, Tone};

/// A key is one line.
const KEY_BYTES_MAX: u64 = 64 * 1024;

struct Reader {
    archive: Archive<Folder>,
    identity: Identity,
    is_local: bool,
}

/// One that was sealed, and the key it was opened with.
struct Sealed {
    case: CaseId,
    index: u64,
    key: CaseKey,
    record: Record,
}

/// An incident with all that was sealed with it, open.
pub(crate) struct Opened {
    pub(crate) case: CaseId,
    pub(crate) index: u64,
    pub(crate) record: Record,
    /// Each with the name that the record has for it.
    pub(crate) exhibits: Vec<(String, Vec<u8>)>,
    pub(crate) signer: VerifierKey,
    warning: Option<&'static str>,
}

/// What a record of an incident says.
struct Told<'a>(&'a Record);

impl Reader {
    /// `None`: nothing was ever sealed here.
    fn new(data: &Path, identity: Option<&PathBuf>) -> anyhow::Result<Option<Self>> {
        let archive = match Archive::look(Folder::new(data.join(FOLDER))) {
            Err(ArchiveError::Nothing) => return Ok(None),
            archive => archive?,
        };
        let (identity, is_local) = match identity {
            Some(file) => (read_identity(file)?, false),
            None => match archive.local_key()? {
                Some(local) => (local, true),
                None => bail!(
                    "what is sealed here can be read with an officer's key alone\ngive it with --identity FILE"
                ),
            },
        };
        Ok(Some(Self {
            archive,
            identity,
            is_local,
        }))
    }

    /// The oldest first, and how many records were sealed to others.
    fn incidents(&self) -> anyhow::Result<(Vec<Sealed>, usize)> {
        let (mut found, mut locked) = (Vec::new(), 0);
        for index in 0..self.archive.ledger().size() {
            let case = self.archive.place(index)?.case;
            let Ok(key) = self.archive.unlock(&case, &self.identity) else {
                locked += 1;
                continue;
            };
            let record = self.archive.record(index, &key)?;
            if record.kind() == INCIDENT {
                found.push(Sealed {
                    case,
                    index,
                    key,
                    record,
                });
            }
        }
        Ok((found, locked))
    }

    /// That anybody can read it is said each time.
    fn warning(&self) -> Option<&'static str> {
        self.is_local.then_some(
            "anyone who copies the data folder can read it: it names no officer (docs/evidence.md)",
        )
    }
}

fn read_identity(file: &Path) -> anyhow::Result<Identity> {
    let shown = file.display();
    let long = std::fs::metadata(file).map(|data| data.len() > KEY_BYTES_MAX);
    if long.with_context(|| format!("cannot read {shown}"))? {
        bail!("{shown} is no key: it is too long");
    }
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    Identity::from_str(line.unwrap_or_default())
        .map_err(|_| anyhow::anyhow!("{shown} has no key of age (a line AGE-SECRET-KEY-1…)"))
}

/// `Ok(None)`: there is none of this name.
pub(crate) fn open(
    data: &Path,
    identity: Option<&PathBuf>,
    id: &str,
) -> anyhow::Result<Option<Opened>> {
    let Some(reader) = Reader::new(data, identity)? else {
        return Ok(None);
    };
    let (found, _) = reader.incidents()?;
    let is_it = |one: &Sealed| Told(&one.record).text("id") == id;
    let Some(one) = found.into_iter().find(is_it) else {
        return Ok(None);
    };
    let mut exhibits = Vec::new();
    let listed = one.record.value("exhibits").and_then(Value::as_array);
    for exhibit in listed.into_iter().flatten() {
        let name = exhibit["name"].as_str().unwrap_or_default();
        let blob = exhibit["blob"].as_str().and_then(BlobName::parse);
        let blob = blob.with_context(|| format!("the exhibit {name} has no place"))?;
        exhibits.push((name.to_owned(), reader.archive.exhibit(blob, &one.key)?));
    }
    Ok(Some(Opened {
        case: one.case,
        index: one.index,
        record: one.record,
        exhibits,
        signer: reader.archive.signer().clone(),
        warning: reader.warning(),
    }))
}

pub(crate) fn list(
    data: &Path,
    identity: Option<&PathBuf>,
    as_json: bool,
) -> anyhow::Result<String> {
    let reader = Reader::new(data, identity)?;
    let (found, locked) = match &reader {
        Some(reader) => reader.incidents()?,
        None => (Vec::new(), 0),
    };
    if as_json {
        let incidents: Vec<Value> = found
            .iter()
            .map(|one| Told(&one.record).json(one.index).into())
            .collect();
        let all = json!({ "incidents": incidents, "locked": locked });
        return Ok(format!("{all}\n"));
    }
    if found.is_empty() && locked == 0 {
        return Ok("no incident was ever sealed here\n".to_owned());
    }
    let mut text: String = found.iter().map(|one| Told(&one.record).line()).collect();
    if locked > 0 {
        text += &format!("{locked} more, which this key does not open\n");
    }
    if let Some(warning) = reader.as_ref().and_then(Reader::warning) {
        text += &format!("\n{warning}\n");
    }
    Ok(text)
}

/// `Ok(None)`: there is none of this name.
pub(crate) fn show(
    data: &Path,
    identity: Option<&PathBuf>,
    id: &str,
    as_json: bool,
) -> anyhow::Result<Option<String>> {
    Ok(open(data, identity, id)?.map(|one| if as_json { one.json() } else { one.screen() }))
}

impl Opened {
    fn json(&self) -> String {
        let mut whole = Told(&self.record).json(self.index);
        let texts: Map<String, Value> = self
            .exhibits
            .iter()
            .map(|(name, bytes)| (name.clone(), String::from_utf8_lossy(bytes).into()))
            .collect();
        whole.insert("texts".to_owned(), texts.into());
        format!("{}\n", Value::from(whole))
    }

    fn screen(&self) -> String {
        let told = Told(&self.record);
        let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
        let mut text = row("incident", &told.text("id"));
        if told.is("drill") {
            text += &row(
                "",
                "A DRILL: a rehearsal on one machine. Nobody was attacked.",
            );
        }
        let end = time(told.number("end"));
        let end = if told.is("is_over") {
            end
        } else {
            format!("{end}, when Saqta was stopped; it went on")
        };
        text += &row("site", &told.text("site"));
        text += &row("began", &time(told.number("onset")));
        text += &row("ended", &end);
        text += &row("noticed by", &told.text("because"));
        let [requests, usual, hit] =
            ["requests", "requests_usual", "requests_hit"].map(|name| told.number(name));
        text += &row(
            "requests",
            &format!("{requests}, where {usual} were usual; {hit} of them hit by a rule"),
        );
        text += &row("in common", &told.says());
        let files = self.exhibits.iter().map(|(name, bytes)| {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            format!("{name} ({lines} lines)")
        });
        text += &row("files", &files.collect::<Vec<_>>().join(", "));
        text += &row(
            "sealed",
            &format!("entry {} of {}", self.index, self.signer.name()),
        );
        if let Some(warning) = self.warning {
            text += &format!("\n{warning}\n");
        }
        text
    }
}

impl Told<'_> {
    fn text(&self, name: &str) -> String {
        match self.0.value(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        let number = self.0.value(name).and_then(Value::as_u64);
        number.unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.0.value(name) == Some(&Value::Bool(true))
    }

    fn json(&self, index: u64) -> Map<String, Value> {
        let shown = self.0.fields();
        let shown =
            shown.filter_map(|(name, _)| Some((name.to_owned(), self.0.value(name)?.clone())));
        let mut fields: Map<String, Value> = shown.collect();
        fields.insert("ledger_index".to_owned(), json!(index));
        fields
    }

    fn line(&self) -> String {
        let lasted = self.number("end").saturating_sub(self.number("onset"));
        let goes_on = if self.is("is_over") {
            ""
        } else {
            ", went on when Saqta was stopped"
        };
        let drill = if self.is("drill") { "  DRILL" } else { "" };
        let head = format!(
            "{}  {}  {}  {lasted} s{goes_on}{drill}",
            self.text("id"),
            time(self.number("onset")),
            self.text("site"),
        );
        format!("{}\n", screen::entry(&format!("{head}\n{}", self.says())))
    }

    /// The rule, or that there was none.
    fn says(&self) -> String {
        let says = self.0.value("says").and_then(|says| says["en"].as_str());
        says.map_or_else(
            || {
                format!(
                    "{} (no rule: {})",
                    self.text("because"),
                    self.text("verdict")
                )
            },
            str::to_owned,
        )
    }
}
