//! The ledger on a disk that forgets: whatever happens and whenever, what was acknowledged is there, in its order, and what was signed
//! is of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::disk::forgetful::{Chance, Forgetful, State};
use crate::note::{Kind, VerifierKey};

const STEPS: u64 = 500;
/// Each step of the script changes the disk some times; at each of them the machine stops in so many ways.
const WAYS: u64 = 6;
/// What the design asks for.
const POINTS_MIN: u64 = 10_000;

fn key() -> SignerKey {
    SignerKey::new(KeyName::new("ledger.example").unwrap(), Kind::Log, &[5; 32])
}

fn verifier() -> VerifierKey {
    key().verifier().clone()
}

/// The n-th that the script puts in: lengths from nothing to some sectors.
fn entry(n: u64) -> Entry {
    let mut chance = Chance(n);
    let mut leaf = [0; 32];
    leaf[..8].copy_from_slice(&n.to_be_bytes());
    let length = if n % 50 == 7 {
        3_000
    } else {
        chance.below(200)
    };
    let sealed = (0..length).map(|_| chance.below(256) as u8).collect();
    Entry { leaf, sealed }
}

/// What the outside was told.
#[derive(Default)]
struct Told {
    acknowledged: Cell<u64>,
    signed: RefCell<Option<Note>>,
}

fn open(disk: &Forgetful) -> Result<(Ledger<Forgetful>, Opened), OpenError> {
    Ledger::open(disk.clone(), &verifier())
}

/// It opens, has what it said it has, and goes on.
fn holds(disk: &Forgetful, told: &Told) {
    let (ledger, opened) = open(disk).unwrap();
    let size = ledger.size();
    assert_eq!(opened.entries, size);
    assert!(size >= told.acknowledged.get(), "an entry is lost");
    for index in 0..size {
        assert_eq!(ledger.entry(index).unwrap(), entry(index));
    }
    let head = |note: &Note| {
        assert_eq!(note.signed_by(&verifier()), Signed::Log);
        Checkpoint::parse(note).unwrap()
    };
    assert_eq!(ledger.append(entry(size)).unwrap(), size);
    let now = head(&ledger.sign(&key()).unwrap());
    assert_eq!(now.size, size + 1);
    if let Some(before) = told.signed.borrow().as_ref().map(head) {
        let path = ledger.consistency(before.size, now.size).unwrap();
        let extends = merkle::extends((before.size, &before.root), (now.size, &now.root), &path);
        assert!(extends, "what was signed is of another ledger");
    }
    for index in [0, size / 2, size] {
        let path = ledger.inclusion(index, now.size).unwrap();
        let leaf = merkle::of_entry(&entry(index).leaf);
        assert!(merkle::includes(&now.root, now.size, index, leaf, &path));
    }
    drop(ledger);
    assert_eq!(open(disk).unwrap().1.torn_bytes, 0);
}

/// Entries one by one and several at once, and a checkpoint now and then.
fn script(ledger: &Ledger<Forgetful>, seed: u64, told: &Told) {
    let mut chance = Chance(seed);
    for _ in 0..STEPS {
        match chance.below(10) {
            0 => {
                let note = ledger.sign(&key()).unwrap();
                *told.signed.borrow_mut() = Some(note);
            }
            1 | 2 => {
                let size = ledger.size();
                let beside = 1 + chance.below(4);
                for n in 0..beside {
                    let waiting = (entry(size + n), Acknowledgement::default());
                    lock(&ledger.queue).waiting.push_back(waiting);
                }
                let last = ledger.append(entry(size + beside)).unwrap();
                told.acknowledged.set(last + 1);
            }
            _ => {
                let index = ledger.append(entry(ledger.size())).unwrap();
                told.acknowledged.set(index + 1);
            }
        }
    }
}

#[test]
fn wherever_the_machine_stops_what_was_acknowledged_is_there() {
    let (disk, told) = (Forgetful::default(), Rc::new(Told::default()));
    let (ledger, _) = open(&disk).unwrap();
    let points = Rc::new(Cell::new(0));
    let (counted, heard) = (Rc::clone(&points), Rc::clone(&told));
    disk.watch(move |state: &State| {
        for _ in 0..WAYS {
            counted.set(counted.get() + 1);
            let seed = counted.get();
            let after = Forgetful::after_crash(state, seed);
            // Now and then it stops again while it is put in order.
            if seed % 3 == 0 {
                after.stops_after(seed / 3 % 9);
                drop(open(&after));
                holds(&Forgetful::after_crash(&after.state(), seed), &heard);
            } else {
                holds(&after, &heard);
            }
        }
    });
    script(&ledger, 1, &told);
    assert!(told.acknowledged.get() > STEPS / 2 + 256, "no tile is full");
    assert!(points.get() >= POINTS_MIN, "{}", points.get());
}

#[test]
fn before_anything_was_put_in_it_may_stop_too() {
    let disk = Forgetful::default();
    let told = Rc::new(Told::default());
    let heard = Rc::clone(&told);
    let points = Rc::new(Cell::new(0));
    let counted = Rc::clone(&points);
    disk.watch(move |state: &State| {
        for seed in 0..50 {
            counted.set(counted.get() + 1);
            holds(&Forgetful::after_crash(state, seed), &heard);
        }
    });
    let (ledger, _) = open(&disk).unwrap();
    *told.signed.borrow_mut() = Some(ledger.sign(&key()).unwrap());
    told.acknowledged.set(ledger.append(entry(0)).unwrap() + 1);
    assert!(points.get() >= 500);
}

#[test]
fn a_full_disk_takes_nothing_half() {
    let disk = Forgetful::default();
    let (ledger, _) = open(&disk).unwrap();
    let told = Told::default();
    script(&ledger, 2, &told);
    let size = ledger.size();
    for room in [0, 1, 23, 24, 60, 500] {
        disk.has_room(Some(room));
        let long = Entry {
            leaf: [1; 32],
            sealed: vec![1; 1_000],
        };
        let refused = ledger.append(long.clone()).unwrap_err();
        assert!(matches!(refused, AppendError::NotWritten(_)), "{refused}");
        assert_eq!(ledger.size(), size);
    }
    assert!(matches!(
        ledger.append(entry(size)),
        Err(AppendError::NotWritten(_)) | Ok(_)
    ));
    disk.has_room(None);
    let size = ledger.size();
    assert_eq!(ledger.append(entry(size)).unwrap(), size);
    told.acknowledged.set(size + 1);
    drop(ledger);
    holds(&disk, &told);
}

#[test]
fn after_a_sync_that_failed_nothing_is_promised_until_the_next_start() {
    let disk = Forgetful::default();
    let (ledger, _) = open(&disk).unwrap();
    let told = Told::default();
    script(&ledger, 3, &told);
    disk.next_sync_fails();
    let size = ledger.size();
    for _ in 0..2 {
        let said = ledger.append(entry(size)).unwrap_err();
        assert!(matches!(said, AppendError::Closed), "{said}");
    }
    assert!(matches!(ledger.sign(&key()), Err(SignError::Closed)));
    drop(ledger);
    for seed in 0..20 {
        holds(&Forgetful::after_crash(&disk.state(), seed), &told);
    }
}

/// Somebody has had the machine in his hands.
#[test]
fn what_no_crash_does_opens_no_ledger_and_changes_nothing() {
    let disk = Forgetful::default();
    let (ledger, _) = open(&disk).unwrap();
    script(&ledger, 4, &Told::default());
    let sealed = Checkpoint::parse(&ledger.sign(&key()).unwrap()).unwrap();
    drop(ledger);
    type Edit = Box<dyn Fn(&Forgetful)>;
    type Expected = fn(&OpenError) -> bool;
    let log = |edit: fn(&mut Vec<u8>)| -> Edit { Box::new(move |disk| disk.edit(LOG, edit)) };
    let note =
        |edit: fn(&mut Vec<u8>)| -> Edit { Box::new(move |disk| disk.edit(CHECKPOINT, edit)) };
    let table: [(Edit, Expected); 7] = [
        (log(|log| log[40] ^= 1), |e| {
            matches!(e, OpenError::Damaged { offset: 16 })
        }),
        (log(|log| log[0] ^= 1), |e| {
            matches!(e, OpenError::NotALedger)
        }),
        (log(|log| *log = b"hello".to_vec()), |e| {
            matches!(e, OpenError::NotALedger)
        }),
        (log(|log| log.truncate(log.len() - 1)), |e| {
            matches!(e, OpenError::Shorter { .. })
        }),
        (log(Vec::clear), |e| {
            matches!(e, OpenError::Shorter { entries: 0, .. })
        }),
        (note(|note| note[0] = b'x'), |e| {
            matches!(e, OpenError::AnothersCheckpoint { .. })
        }),
        (note(Vec::clear), |e| matches!(e, OpenError::NoNote(_))),
    ];
    for (n, (edit, expected)) in table.iter().enumerate() {
        let changed = Forgetful::after_crash(&disk.state(), 0);
        edit(&changed);
        let before = (changed.bytes(LOG), changed.bytes(CHECKPOINT));
        let error = open(&changed).err().unwrap();
        assert!(expected(&error), "{n}: {error:?}");
        assert_eq!(
            (changed.bytes(LOG), changed.bytes(CHECKPOINT)),
            before,
            "{n}"
        );
    }
    // The same list made anew, with one entry another one: all sums are right.
    let forged = Forgetful::default();
    let (other, _) = open(&forged).unwrap();
    for n in 0..sealed.size {
        let mut entry = entry(n);
        entry.leaf[31] ^= u8::from(n == 3);
        other.append(entry).unwrap();
    }
    drop(other);
    let log = forged.bytes(LOG).unwrap();
    let changed = Forgetful::after_crash(&disk.state(), 0);
    changed.edit(LOG, |bytes| *bytes = log);
    let error = open(&changed).err().unwrap();
    assert!(
        matches!(error, OpenError::Changed { sealed: n } if n == sealed.size),
        "{error:?}"
    );
}

/// Tiles are made of the log: whoever spoils them spoils nothing that the next start does not mend.
#[test]
fn tiles_that_are_spoilt_are_noticed_and_made_anew() {
    let disk = Forgetful::default();
    let (ledger, _) = open(&disk).unwrap();
    for n in 0..300 {
        ledger.append(entry(n)).unwrap();
    }
    let tile = TileId { level: 0, index: 0 }.path(None);
    let whole = disk.bytes(&tile).unwrap();
    assert_eq!(whole.len(), 8_192);
    let bundle = disk.bytes(&tiles::entries_path(0, None)).unwrap();
    assert_eq!(bundle.len(), 256 * 34);
    disk.edit(&tile, |bytes| bytes.truncate(100));
    let said = ledger.inclusion(3, 300).unwrap_err();
    assert!(
        matches!(&said, ReadError::Damaged { path } if *path == tile),
        "{said}"
    );
    drop(ledger);
    let (ledger, _) = open(&disk).unwrap();
    assert_eq!(disk.bytes(&tile), Some(whole));
    assert!(ledger.inclusion(3, 300).is_ok());
}

#[test]
fn what_cannot_be_taken_is_said() {
    let disk = Forgetful::default();
    let (ledger, _) = open(&disk).unwrap();
    let long = |bytes| Entry {
        leaf: [0; 32],
        sealed: vec![0; bytes],
    };
    assert!(ledger.append(long(SEALED_BYTES_MAX)).is_ok());
    let said = ledger.append(long(SEALED_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(said, AppendError::TooLong { .. }));
    assert!(matches!(
        ledger.entry(1),
        Err(ReadError::NoEntry { index: 1, size: 1 })
    ));
    for (index, size) in [(1, 1), (0, 2), (u64::MAX, 1)] {
        assert!(ledger.inclusion(index, size).is_err());
    }
    assert!(ledger.consistency(2, 1).is_err() && ledger.consistency(0, 2).is_err());
    let other = SignerKey::new(KeyName::new("other").unwrap(), Kind::Log, &[5; 32]);
    assert!(matches!(
        ledger.sign(&other),
        Err(SignError::AnothersKey { .. })
    ));
    // What waits is bounded, and many of the longest go in as batches of what fits.
    for n in 0..WAITING_MAX {
        let entry = long(if n % 1_000 == 0 { SEALED_BYTES_MAX } else { 1 });
        lock(&ledger.queue)
            .waiting
            .push_back((entry, Acknowledgement::default()));
    }
    assert!(matches!(
        ledger.append(entry(0)),
        Err(AppendError::TooManyWait)
    ));
    lock(&ledger.queue).waiting.pop_back();
    let last = ledger.append(entry(0)).unwrap();
    assert_eq!(last, WAITING_MAX as u64);
    drop(ledger);
    assert_eq!(open(&disk).unwrap().1.entries, WAITING_MAX as u64 + 1);
}
