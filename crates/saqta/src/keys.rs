//! `saqta key`: who may read what is sealed, and who signs.
//!
//! An officer's key is made where the officer works, and only its public half comes to the server. The command is the same on both machines.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use saqta_evidence::archive::{Archive, ArchiveError, add_officer};
use saqta_evidence::disk::Folder;
use saqta_evidence::{ExposeSecret as _, Identity};

use crate::recording::FOLDER;
use crate::screen::{self, Tone};

/// Into a file that nobody else can read, and is not there yet.
pub(crate) fn new_officer(out: &Path) -> anyhow::Result<String> {
    let key = Identity::generate();
    let public = key.to_public();
    let text = format!(
        "# An officer's key of Saqta: whoever has this file can read what is sealed to it.\n# public key: {public}\n{}\n",
        key.to_string().expose_secret()
    );
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(out);
    let shown = out.display();
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{shown} is there already; nothing was written\ngive another name with --out")
        }
        file => file.with_context(|| format!("cannot write {shown}"))?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(format!(
        "{shown} is the key: keep it on your own machine, with a copy somewhere safe\n\nTell the newsroom's Saqta about it, there:\n    saqta key add officer {public} --name NAME\n"
    ))
}

pub(crate) fn add(data: &Path, name: &str, key: &str) -> anyhow::Result<String> {
    let disk = Folder::new(data.join(FOLDER));
    add_officer(&disk, name, key)?;
    Ok(format!(
        "{name} can read what is sealed from now on, in running Saqtas too; what was sealed before is read with the keys of then\nif evidence/keys/local.age is in the data folder, take it to a safe place: it reads what was sealed before\n"
    ))
}

pub(crate) fn list(data: &Path) -> anyhow::Result<String> {
    let archive = match Archive::look(Folder::new(data.join(FOLDER))) {
        Err(ArchiveError::Nothing) => {
            return Ok("there are no keys here: no Saqta has run on this folder yet\n".to_owned());
        }
        archive => archive?,
    };
    let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
    let signer = archive.signer();
    let mut text = row("signs", &signer.to_string());
    text += &row("", &format!("fingerprint {}", signer.fingerprint()));
    let officers = archive.officers()?;
    for officer in &officers {
        text += &row("may read", &format!("{}\n{}", officer.name, officer.key));
    }
    if officers.is_empty() {
        text += &row(
            "may read",
            "whoever has this folder: no officer is named. On an officer's own machine: saqta key new officer --out FILE",
        );
    } else if archive.local_key()?.is_some() {
        text += &row(
            "may read",
            "whoever has this folder, what was sealed before the first officer: take evidence/keys/local.age away",
        );
    }
    Ok(text)
}
