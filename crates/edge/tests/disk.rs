//! The cache's disk: real files, real damage, a real kill -9.

#![expect(
    clippy::unwrap_used,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use saqta_edge::cache::freshness::{Asked, Times, judge};
use saqta_edge::cache::key::Scheme;
use saqta_edge::clock::UnixMillis;
use saqta_edge::disk::permitted::{Ground, Permitted};
use saqta_edge::disk::record::{Identity, Response};
use saqta_edge::disk::{Disk, DiskPlan, Matches, Put, REST, Share, Worth};

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const MIB: u64 = 1024 * 1024;
const CHANCE: [u8; 16] = *b"of sixteen bytes";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("saqta-disk-{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    /// Every file of a record.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.0.join("sites"), &mut files);
        files.sort();
        files
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        let mut files = Vec::new();
        walk(&self.0, &mut files);
        files.iter().any(|file| {
            let text = fs::read(file).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn plan(bytes_max: u64, sites: &[(&str, u64, u64)]) -> DiskPlan {
    DiskPlan {
        bytes_max,
        sites: sites
            .iter()
            .map(|(name, floor, ceiling)| {
                let share = Share {
                    floor: *floor,
                    ceiling: *ceiling,
                };
                (name.as_bytes().into(), share)
            })
            .collect(),
    }
}

fn one_site() -> DiskPlan {
    plan(64 * MIB, &[("kaztag", 0, u64::MAX)])
}

fn open(folder: &Folder, plan: &DiskPlan) -> Disk {
    let disk = Disk::open(&folder.0, plan, CHANCE).unwrap();
    disk.settle();
    disk
}

fn page<'a>(site: &'a str, target: &'a str) -> Identity<'a> {
    Identity {
        site: site.as_bytes(),
        scheme: Scheme::Https,
        host: b"kaztag.kz",
        target: target.as_bytes(),
        mark: b"",
    }
}

fn response(body: &[u8]) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/html"));
    headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
    Response {
        status: StatusCode::OK,
        headers,
        body: Bytes::copy_from_slice(body),
        received: NOW,
        age_secs: 5,
    }
}

fn put(disk: &Disk, page: &Identity<'_>, worth: Worth, response: &Response) -> Put {
    let permitted = Permitted::new(*page, Ground::NoQuery, &response.headers, &[]).unwrap();
    let put = disk.put(&permitted, worth, response, NOW);
    disk.settle();
    put
}

fn get(disk: &Disk, page: &Identity<'_>) -> Option<Response> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(disk.get(page))
}

#[test]
fn pages_survive_a_restart_and_are_judged_anew() {
    let folder = Folder::new();
    let article = response(b"<p>An article");
    {
        let disk = open(&folder, &one_site());
        assert_eq!(
            put(&disk, &page("kaztag", "/a"), Worth::Known, &article),
            Put::Queued
        );
        assert_eq!(get(&disk, &page("kaztag", "/a")), Some(article.clone()));
        assert_eq!(get(&disk, &page("kaztag", "/b")), None);
        let marked = Identity {
            mark: b"lang=kk",
            ..page("kaztag", "/a")
        };
        assert_eq!(get(&disk, &marked), None);
    }
    let disk = open(&folder, &one_site());
    let back = get(&disk, &page("kaztag", "/a")).unwrap();
    assert_eq!(back, article);
    let mut headers = back.headers.clone();
    headers.insert("age", HeaderValue::from(back.age_secs));
    let asked = Asked {
        method: &Method::GET,
        headers: &HeaderMap::new(),
        no_store: false,
    };
    let times = Times {
        request: back.received,
        response: back.received,
    };
    let freshness = judge(&asked, back.status, &headers, times).unwrap();
    assert_eq!(freshness.ttl_secs(NOW), 55);
    assert_eq!(freshness.ttl_secs(NOW.plus(Duration::from_secs(60))), -5);
}

#[test]
fn what_is_asked_for_once_is_not_written() {
    let folder = Folder::new();
    let disk = open(&folder, &one_site());
    let article = response(b"text");
    // A scan of a thousand addresses leaves nothing.
    for number in 0..1000 {
        let target = format!("/{number}");
        assert_eq!(
            put(&disk, &page("kaztag", &target), Worth::Unproven, &article),
            Put::Noted
        );
    }
    assert_eq!(disk.stats().files, 0);
    assert_eq!(
        put(&disk, &page("kaztag", "/999"), Worth::Unproven, &article),
        Put::Queued
    );
    assert_eq!(
        put(&disk, &page("kaztag", "/x"), Worth::ReadAgain, &article),
        Put::Queued
    );
    // What is there is renewed.
    let newer = response(b"newer");
    assert_eq!(
        put(&disk, &page("kaztag", "/x"), Worth::Unproven, &newer),
        Put::Queued
    );
    assert_eq!(get(&disk, &page("kaztag", "/x")), Some(newer));
    assert_eq!(disk.stats().files, 2);
}

#[test]
fn one_outlets_flood_leaves_the_others_pages() {
    let folder = Folder::new();
    let plan = plan(
        4 * MIB,
        &[("kaztag", MIB, u64::MAX), ("nege", MIB, u64::MAX)],
    );
    let disk = open(&folder, &plan);
    let article = response(&[b'x'; 20_000]);
    for number in 0..30 {
        let target = format!("/n/{number}");
        put(&disk, &page("nege", &target), Worth::Known, &article);
    }
    for number in 0..1000 {
        let target = format!("/k/{number}");
        put(&disk, &page("kaztag", &target), Worth::Known, &article);
    }
    let stats = disk.stats();
    assert!(stats.bytes <= 4 * MIB && stats.evicted > 700, "{stats:?}");
    for number in 0..30 {
        let target = format!("/n/{number}");
        assert!(disk.has(&page("nege", &target)), "{number}");
    }
    // The index and the folder say the same.
    assert_eq!(folder.files().len() as u64, stats.files);
}

#[test]
fn files_are_for_one_user_only() {
    let folder = Folder::new();
    let disk = open(&folder, &one_site());
    put(
        &disk,
        &page("kaztag", "/a"),
        Worth::Known,
        &response(b"text"),
    );
    let mut paths = vec![folder.0.clone()];
    while let Some(path) = paths.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{path:?}");
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            assert_eq!(mode, 0o600, "{path:?}");
        }
    }
    assert!(
        Disk::open(&folder.0, &one_site(), CHANCE).is_err(),
        "two processes, one folder"
    );
}

#[test]
fn a_purge_takes_what_matches_and_forgetting_takes_every_trace() {
    let folder = Folder::new();
    let disk = open(&folder, &one_site());
    let article = response(b"SECRET-OF-THIS-PAGE");
    for target in ["/a/1", "/a/2", "/b/1"] {
        put(&disk, &page("kaztag", target), Worth::Known, &article);
    }
    let kk = Identity {
        mark: b"lang=kk",
        scheme: Scheme::Http,
        ..page("kaztag", "/b/1")
    };
    put(&disk, &kk, Worth::Known, &article);
    disk.purge(Arc::new(|address, _| address.target.starts_with(b"/a/")))
        .unwrap();
    disk.settle();
    assert!(!disk.has(&page("kaztag", "/a/1")) && disk.has(&page("kaztag", "/b/1")));
    assert!(folder.holds(b"SECRET-OF-THIS-PAGE") && folder.holds(b"/b/1"));
    let is_gone: Matches = Arc::new(|address, _| address.target.as_ref() == b"/b/1");
    assert_eq!(disk.forget(is_gone), Ok(2));
    assert!(!folder.holds(b"SECRET-OF-THIS-PAGE") && !folder.holds(b"/b/1"));
    assert_eq!(disk.stats().files, 0);
    put(&disk, &page("kaztag", "/c"), Worth::Known, &article);
    disk.remove(&page("kaztag", "/c"));
    assert_eq!(get(&disk, &page("kaztag", "/c")), None);
    disk.settle();
    assert!(folder.files().is_empty());
}

/// A disk with no room left: the file being written leads to the device that has none.
#[test]
fn a_full_disk_is_left_alone_and_what_is_there_is_served() {
    let folder = Folder::new();
    let disk = open(&folder, &one_site());
    let article = response(b"text");
    put(&disk, &page("kaztag", "/a"), Worth::Known, &article);
    let unfinished = folder.0.join("sites/kaztag/.writing");
    symlink("/dev/full", &unfinished).unwrap();
    put(&disk, &page("kaztag", "/b"), Worth::Known, &article);
    assert!(disk.stats().resting);
    assert_eq!(get(&disk, &page("kaztag", "/b")), None);
    assert_eq!(get(&disk, &page("kaztag", "/a")), Some(article.clone()));
    // Not even tried, until it has rested.
    put(&disk, &page("kaztag", "/c"), Worth::Known, &article);
    assert!(!disk.has(&page("kaztag", "/c")));
    let permitted =
        Permitted::new(page("kaztag", "/c"), Ground::NoQuery, &article.headers, &[]).unwrap();
    disk.put(&permitted, Worth::Known, &article, NOW.plus(REST));
    disk.settle();
    assert!(disk.has(&page("kaztag", "/c")) && !disk.stats().resting);
}

#[test]
fn sites_that_are_gone_take_their_files_along() {
    let folder = Folder::new();
    let both = plan(MIB, &[("kaztag", 0, MIB), ("nege", 0, MIB)]);
    let article = response(b"text");
    {
        let disk = open(&folder, &both);
        put(&disk, &page("kaztag", "/a"), Worth::Known, &article);
        put(&disk, &page("nege", "/a"), Worth::Known, &article);
    }
    let disk = open(&folder, &one_site());
    assert_eq!(disk.stats().files, 1);
    assert_eq!(folder.files().len(), 1);
    assert_eq!(
        put(&disk, &page("nege", "/b"), Worth::Known, &article),
        Put::Refused
    );
}

#[test]
fn a_folder_of_another_layout_is_emptied() {
    let folder = Folder::new();
    let article = response(b"text");
    {
        let disk = open(&folder, &one_site());
        put(&disk, &page("kaztag", "/a"), Worth::Known, &article);
    }
    fs::write(folder.0.join("key"), b"saqta-shelf 0\nof sixteen bytes").unwrap();
    let disk = open(&folder, &one_site());
    assert_eq!(disk.stats().files, 0);
    put(&disk, &page("kaztag", "/a"), Worth::Known, &article);
    assert_eq!(get(&disk, &page("kaztag", "/a")), Some(article));
}

/// What a disk may do to a file.
#[derive(Debug, Clone)]
enum Damage {
    Truncate(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    /// A block that never arrived.
    Zero(prop::sample::Index),
    Append(u8),
    /// Another file's bytes from here on.
    Tear(prop::sample::Index),
    Swap,
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Damage::Truncate),
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        at().prop_map(Damage::Zero),
        any::<u8>().prop_map(Damage::Append),
        at().prop_map(Damage::Tear),
        Just(Damage::Swap),
    ]
}

fn harm(damage: &Damage, file: &[u8], other: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    match damage {
        Damage::Truncate(at) => file.truncate(at.index(file.len())),
        Damage::Flip(at, bit) => {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        Damage::Zero(at) => {
            let at = at.index(file.len());
            let end = file.len().min(at + 512);
            file[at..end].fill(0);
        }
        Damage::Append(byte) => file.push(*byte),
        Damage::Tear(at) => {
            let at = at.index(file.len());
            let end = other.len().min(file.len());
            if at < end {
                file[at..end].copy_from_slice(&other[at..end]);
            }
        }
        Damage::Swap => file = other.to_vec(),
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn a_damaged_file_is_a_miss_and_is_removed(damage in damage(), one in prop::collection::vec(any::<u8>(), 1..3000), two in prop::collection::vec(any::<u8>(), 1..3000)) {
        let folder = Folder::new();
        let disk = open(&folder, &one_site());
        put(&disk, &page("kaztag", "/one"), Worth::Known, &response(&one));
        let path = folder.files().remove(0);
        put(&disk, &page("kaztag", "/two"), Worth::Known, &response(&two));
        let other = folder.files().into_iter().find(|file| *file != path).unwrap();
        let (file, other) = (fs::read(&path).unwrap(), fs::read(other).unwrap());
        let harmed = harm(&damage, &file, &other);
        fs::write(&path, &harmed).unwrap();
        let got = get(&disk, &page("kaztag", "/one"));
        if harmed == file {
            prop_assert_eq!(got.unwrap().body, Bytes::from(one));
        } else {
            prop_assert_eq!(got, None);
            disk.settle();
            prop_assert!(!path.exists());
            prop_assert_eq!(disk.stats().broken, 1);
        }
        prop_assert_eq!(get(&disk, &page("kaztag", "/two")).unwrap().body, Bytes::from(two));
    }
}

/// A body that says of each of its parts which page and which version it belongs to.
fn telling_body(target: &str, version: u64) -> Vec<u8> {
    format!("{target}#{version};").into_bytes().repeat(2_000)
}

fn is_whole(target: &str, body: &[u8]) -> bool {
    let Some(end) = body.iter().position(|byte| *byte == b';') else {
        return false;
    };
    let part = &body[..=end];
    part.starts_with(format!("{target}#").as_bytes())
        && body.len() == 2_000 * part.len()
        && body.chunks(part.len()).all(|other| other == part)
}

const CHILD: &str = "SAQTA_TEST_DISK_CHILD";

#[test]
fn kill_9_never_leaves_a_wrong_page() {
    const TARGETS: u64 = 8;
    if let Some(folder) = std::env::var_os(CHILD) {
        // Writes until it is killed, and says so after each.
        let folder = Folder(PathBuf::from(folder));
        let disk = open(&folder, &one_site());
        // The parent reads some thousands; ended by its signal or, were that to fail, by the closed pipe.
        for version in 0_u64.. {
            let target = format!("/{}", version % TARGETS);
            let body = telling_body(&target, version);
            put(
                &disk,
                &page("kaztag", &target),
                Worth::Known,
                &response(&body),
            );
            if writeln!(std::io::stderr(), "wrote {version}").is_err() {
                return;
            }
        }
    }
    let folder = Folder::new();
    let mut whole = 0;
    for kills in 1..=12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_9_never_leaves_a_wrong_page", "--nocapture"])
            .env(CHILD, &folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let wrote = told
            .lines()
            .map_while(Result::ok)
            .take(5 + 7 * kills)
            .count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(wrote, 5 + 7 * kills, "the child ended by itself");
        let disk = open(&folder, &one_site());
        for number in 0..TARGETS {
            let target = format!("/{number}");
            if let Some(response) = get(&disk, &page("kaztag", &target)) {
                assert!(
                    is_whole(&target, &response.body),
                    "{target} after {kills} kills"
                );
                whole += 1;
            }
        }
        assert!(!folder.0.join("sites/kaztag/.writing").exists());
    }
    assert!(whole > 12 * TARGETS / 2, "{whole}");
}
