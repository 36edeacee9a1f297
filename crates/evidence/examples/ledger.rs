//! What it costs to be sure: entries that are safe on the disk in a second, how long each waited for it, and what proofs cost afterwards.
//!
//!     cargo run --release -p saqta-evidence --example ledger [FOLDER]
//!
//! Sixty-four threads append records of 600 bytes, each when its last one is safe. Then the ledger is filled to a million entries, opened
//! anew, and asked for proofs. FOLDER is made and taken away again; without it, one beside the program is.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use saqta_evidence::disk::Folder;
use saqta_evidence::ledger::{Entry, Ledger};
use saqta_evidence::merkle;
use saqta_evidence::note::{KeyName, Kind, SignerKey};

const THREADS: u64 = 64;
const EACH: u64 = 500;
const SEALED_BYTES: usize = 600;
const ENTRIES: u64 = 1_000_000;
const PROOFS: u64 = 1_000;

#[expect(
    clippy::disallowed_methods,
    reason = "this measures, and nothing in it is tested"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn entry(n: u64, bytes: usize) -> Entry {
    let mut leaf = [0; 32];
    leaf[..8].copy_from_slice(&n.to_be_bytes());
    Entry {
        leaf,
        sealed: vec![n as u8; bytes],
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()?.with_extension("ledger-of-measurement"),
    };
    if folder.exists() {
        return Err(format!("{} is there already", folder.display()).into());
    }
    let result = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &PathBuf) -> Result<(), Box<dyn Error>> {
    let key = SignerKey::new(KeyName::new("measured.example")?, Kind::Log, &[1; 32]);
    let (ledger, _) = Ledger::open(Folder::new(folder), key.verifier())?;
    let waited = Mutex::new(Vec::new());
    let began = now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ledger, waited) = (&ledger, &waited);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for n in 0..EACH {
                    let began = now();
                    if ledger
                        .append(entry(thread * EACH + n, SEALED_BYTES))
                        .is_ok()
                    {
                        mine.push(began.elapsed());
                    }
                }
                if let Ok(mut waited) = waited.lock() {
                    waited.extend(mine);
                }
            });
        }
    });
    let took = began.elapsed();
    let mut waited = waited.into_inner().unwrap_or_default();
    waited.sort();
    let count = waited.len();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{count} entries safe in {:.2} s: {:.0} a second; each waited {:.1} ms (median), {:.1} ms (99 %)",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        ms(waited[count / 2]),
        ms(waited[count * 99 / 100]),
    );

    // So many threads that batches are large; nothing of it is measured.
    std::thread::scope(|scope| {
        for thread in 0..1_024 {
            let ledger = &ledger;
            scope.spawn(move || {
                while ledger.size() + 1_024 <= ENTRIES {
                    if ledger.append(entry(thread, 32)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    while ledger.size() < ENTRIES {
        ledger.append(entry(0, 32))?;
    }
    let (began, size) = (now(), ledger.size());
    let note = ledger.sign(&key)?;
    println!(
        "a checkpoint of {size} entries: {:.1} ms",
        ms(began.elapsed())
    );
    drop(ledger);
    let began = now();
    let (ledger, opened) = Ledger::open(Folder::new(folder), key.verifier())?;
    println!(
        "opened with {} entries in {:.0} ms",
        opened.entries,
        ms(began.elapsed())
    );
    let head = saqta_evidence::note::Checkpoint::parse(&note)?;
    let mut times = Vec::new();
    for n in 0..PROOFS {
        let index = n * (size / PROOFS);
        let began = now();
        let path = ledger.inclusion(index, size)?;
        times.push(began.elapsed());
        let leaf = merkle::of_entry(&ledger.entry(index)?.leaf);
        if !merkle::includes(&head.root, size, index, leaf, &path) {
            return Err("a proof does not hold".into());
        }
    }
    times.sort();
    println!(
        "{PROOFS} proofs in {size} entries: {:.2} ms (median), {:.2} ms (99 %)",
        ms(times[times.len() / 2]),
        ms(times[times.len() * 99 / 100]),
    );
    Ok(())
}
