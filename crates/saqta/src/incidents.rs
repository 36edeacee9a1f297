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
use saqta_evidence::record::Record;
use saqta_evidence::vault::{BlobName, CaseKey};
use serde_json::{Value, json};

use crate::recording::{FOLDER, INCIDENT, time};
use crate::screen::{self, Tone};

/// A key is one line.
const KEY_BYTES_MAX: u64 = 64 * 1024;

struct Reader {
    archive: Archive<Folder>,
    identity: Identity,
    is_local: bool,
}

/// One that was sealed, as far as it could be read.
struct Sealed {
    index: u64,
    key: CaseKey,
    record: Record,
}

/// `None`: nothing was ever sealed here.
fn reader(data: &Path, identity: Option<&PathBuf>) -> anyhow::Result<Option<Reader>> {
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
    Ok(Some(Reader {
        archive,
        identity,
        is_local,
    }))
}

fn read_identity(file: &Path) -> anyhow::Result<Identity> {
    let shown = file.display();
    let long = std::fs::metadata(file).map(|data| data.len() > KEY_BYTES_MAX);
    if long.with_context(|| format!("cannot read {shown}"))? {
        bail!("{shown} is no key: it is too long");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    Identity::from_str(line.unwrap_or_default())
        .map_err(|_| anyhow::anyhow!("{shown} has no key of age (a line AGE-SECRET-KEY-1…)"))
}

impl Reader {
    /// Of incidents, and how many records were sealed to others.
    fn incidents(&self) -> anyhow::Result<(Vec<Sealed>, usize)> {
        let (mut found, mut locked) = (Vec::new(), 0);
        for index in 0..self.archive.ledger().size() {
            let place = self.archive.place(index)?;
            let Ok(key) = self.archive.unlock(&place.case, &self.identity) else {
                locked += 1;
                continue;
            };
            let record = self.archive.record(index, &key)?;
            if record.kind() == INCIDENT {
                found.push(Sealed { index, key, record });
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

impl Sealed {
    fn text(&self, name: &str) -> String {
        match self.record.value(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        let number = self.record.value(name).and_then(Value::as_u64);
        number.unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.record.value(name) == Some(&Value::Bool(true))
    }

    fn json(&self) -> Value {
        let mut fields: serde_json::Map<String, Value> = self
            .record
            .fields()
            .filter_map(|(name, _)| Some((name.to_owned(), self.record.value(name)?.clone())))
            .collect();
        fields.insert("ledger_index".to_owned(), json!(self.index));
        Value::Object(fields)
    }

    fn line(&self) -> String {
        let lasted = self.number("end").saturating_sub(self.number("onset"));
        let drill = if self.is("drill") { "  DRILL" } else { "" };
        format!(
            "{}  {}  {}  {} s{}{drill}\n    {}\n",
            self.text("id"),
            time(self.number("onset")),
            self.text("site"),
            lasted,
            if self.is("is_over") {
                ""
            } else {
                ", went on when Saqta was stopped"
            },
            screen::entry(&self.says()),
        )
    }

    fn says(&self) -> String {
        let says = self
            .record
            .value("says")
            .and_then(|says| says["en"].as_str());
        match says {
            Some(says) => says.to_owned(),
            None => format!(
                "{} (no rule: {})",
                self.text("because"),
                self.text("verdict")
            ),
        }
    }
}

pub(crate) fn list(
    data: &Path,
    identity: Option<&PathBuf>,
    as_json: bool,
) -> anyhow::Result<String> {
    let reader = reader(data, identity)?;
    let (found, locked) = match &reader {
        Some(reader) => reader.incidents()?,
        None => (Vec::new(), 0),
    };
    if as_json {
        let incidents: Vec<Value> = found.iter().map(Sealed::json).collect();
        return Ok(format!(
            "{}\n",
            json!({ "incidents": incidents, "locked": locked })
        ));
    }
    if found.is_empty() && locked == 0 {
        return Ok("no incident was ever sealed here\n".to_owned());
    }
    let mut text: String = found.iter().map(Sealed::line).collect();
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
    let Some(reader) = reader(data, identity)? else {
        return Ok(None);
    };
    let (found, _) = reader.incidents()?;
    let Some(one) = found.into_iter().find(|one| one.text("id") == id) else {
        return Ok(None);
    };
    let mut exhibits = Vec::new();
    let listed = one.record.value("exhibits").and_then(Value::as_array);
    for exhibit in listed.into_iter().flatten() {
        let name = exhibit["name"].as_str().unwrap_or_default();
        let blob = exhibit["blob"].as_str().and_then(BlobName::parse);
        let blob = blob.with_context(|| format!("the exhibit {name} has no place"))?;
        let bytes = reader.archive.exhibit(blob, &one.key)?;
        exhibits.push((
            name.to_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
    if as_json {
        let mut whole = one.json();
        whole["texts"] = exhibits
            .into_iter()
            .map(|(name, text)| (name, Value::String(text)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        return Ok(Some(format!("{whole}\n")));
    }
    let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
    let ends = match one.is("is_over") {
        true => time(one.number("end")),
        false => format!(
            "{}, when Saqta was stopped; it went on",
            time(one.number("end"))
        ),
    };
    let mut text = row("incident", &one.text("id"));
    if one.is("drill") {
        text += &row(
            "",
            "A DRILL: a rehearsal on one machine. Nobody was attacked.",
        );
    }
    text += &row("site", &one.text("site"));
    text += &row("began", &time(one.number("onset")));
    text += &row("ended", &ends);
    text += &row("noticed by", &one.text("because"));
    text += &row(
        "requests",
        &format!(
            "{}, where {} were usual; {} of them hit by a rule",
            one.number("requests"),
            one.number("requests_usual"),
            one.number("requests_hit")
        ),
    );
    text += &row("in common", &one.says());
    let files = exhibits.iter();
    let files = files.map(|(name, text)| format!("{name} ({} lines)", text.lines().count()));
    text += &row("files", &files.collect::<Vec<_>>().join(", "));
    text += &row(
        "sealed",
        &format!("entry {} of {}", one.index, reader.archive.signer().name()),
    );
    if let Some(warning) = reader.warning() {
        text += &format!("\n{warning}\n");
    }
    Ok(Some(text))
}
