//! A real process on a real disk, killed wherever it happens to be: what it said is safe is there.
//!
//! The machine itself does not stop, so what was written and not synced survives here; the disk that forgets it is in `ledger/crash.rs`.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use saqta_evidence::disk::Folder;
use saqta_evidence::ledger::{Entry, Ledger};
use saqta_evidence::note::{KeyName, Kind, SignerKey};

/// Says to the program under test that it is the one to be killed, and where it writes.
const VICTIM: &str = "SAQTA_LEDGER_OF_A_VICTIM";
const KILLS: u64 = 200;
const THREADS: u64 = 4;
/// So many acknowledgements at most are waited for before the kill.
const HEARD_MAX: u64 = 40;

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key() -> SignerKey {
    SignerKey::new(KeyName::new("victim.example").unwrap(), Kind::Log, &[3; 32])
}

fn open(folder: &Path) -> Ledger<Folder> {
    let opened = Ledger::open(Folder::new(folder), key().verifier());
    opened.unwrap().0
}

fn entry(life: u64, thread: u64, n: u64) -> Entry {
    let mut leaf = [0; 32];
    for (part, of) in leaf
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip([life, thread, n])
    {
        *part = of.to_be_bytes();
    }
    let sealed = vec![n as u8; (n % 700) as usize];
    Entry { leaf, sealed }
}

/// Writes and says so until it is killed.
fn be_killed(folder: &Path, life: u64) {
    let ledger = open(folder);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0..u64::MAX {
                    let index = ledger.append(entry(life, thread, n)).unwrap();
                    // As one piece: the lines of all threads are whole.
                    let line = format!("safe {index} {thread} {n}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                    if n % 16 == thread {
                        ledger.sign(&key()).unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn killed_two_hundred_times_it_has_what_it_said_it_has() {
    if let Some(told) = std::env::var_os(VICTIM) {
        let told = told.into_string().unwrap();
        let (life, folder) = told.split_once(' ').unwrap();
        return be_killed(Path::new(folder), life.parse().unwrap());
    }
    let folder = std::env::temp_dir().join(format!("saqta-ledger-{}", std::process::id()));
    let _removed = Removed(folder.clone());
    let mut entries = 0;
    for life in 0..KILLS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "killed_two_hundred_times_it_has_what_it_said_it_has",
            ])
            .arg("--nocapture")
            .env(VICTIM, format!("{life} {}", folder.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let mut hear = |line: String| {
            let Some(rest) = line.strip_prefix("safe ") else {
                return;
            };
            let numbers: Result<Vec<u64>, _> = rest.split(' ').map(str::parse).collect();
            // The last line may be cut.
            if let Ok([index, thread, n]) = numbers.as_deref() {
                said.push((*index, entry(life, *thread, *n)));
            }
        };
        // The harness has a word to say first.
        let heard = 4 + life * 7 % HEARD_MAX;
        for line in lines.by_ref().take(heard as usize) {
            hear(line.unwrap());
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.pop();
        rest.into_iter().for_each(&mut hear);
        let ledger = open(&folder);
        for (index, expected) in &said {
            assert_eq!(ledger.entry(*index).unwrap(), *expected, "life {life}");
        }
        assert!(!said.is_empty(), "life {life} ended before it began");
        assert!(ledger.size() >= entries + said.len() as u64);
        entries = ledger.size();
    }
    assert!(entries >= KILLS * 4);
}
