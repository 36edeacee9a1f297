//! `saqta replay` over logs made here: what it finds, what it spares, and what it does with files that are not what they seem.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

mod kit;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kit::Folder;
use serde_json::Value;

impl Folder {
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn replay(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saqta"))
        .arg("replay")
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&Path]) -> Value {
    let mut all = arguments.to_vec();
    all.push(Path::new("--json"));
    let output = replay(&all);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

const READER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36";

fn line(out: &mut String, second: u32, source: &str, request: &str, status: u16, agent: &str) {
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    writeln!(
        out,
        r#"{source} - - [24/Feb/2016:{hour:02}:{minute:02}:{second:02} +0500] "{request} HTTP/1.1" {status} 512 "-" "{agent}""#
    )
    .unwrap();
}

/// Two hours of readers, one every two seconds; in the second hour somebody guesses passwords, sixteen times a minute for ten minutes.
fn blog() -> String {
    let mut log = String::new();
    for second in 0..7_200 {
        if second % 2 == 0 {
            let source = format!("198.51.{}.{}", second % 200, second % 250);
            let request = format!("GET /2016/02/story-{}/", second % 60);
            line(&mut log, second, &source, &request, 200, READER);
        }
        if second % 1_500 == 7 {
            // An editor.
            line(
                &mut log,
                second,
                "203.0.113.9",
                "POST /wp-login.php",
                302,
                READER,
            );
        }
        if (5_400..6_000).contains(&second) && second % 4 < 1 {
            line(
                &mut log,
                second,
                "192.0.2.77",
                "POST /wp-login.php",
                200,
                "-",
            );
        }
    }
    log
}

const LABELS: &str = "id\tstart\tend\tclass\tmethod\tpath_contains\taddress\tagent_contains\tlines\tnote\n\
    A1\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\tPOST\twp-login\t192.0.2.77\t-\t150\tguessing\n\
    F1\t2016-02-24 00:00:00\t2016-02-24 02:00:00\ttrap\tPOST\twp-login\t203.0.113.9\tChrome|Firefox\t-\tthe editor\n";

#[test]
fn guessed_passwords_are_found_and_the_editor_is_not() {
    let folder = Folder::new();
    let log = folder.file("access.log", blog());
    let labels = folder.file("labels.tsv", LABELS);
    let told = json(&[&log, Path::new("--labels"), &labels]);
    assert_eq!(told["lines"], told["parsed"]);
    let [attack, editor] = &told["labels"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    assert_eq!(attack["lines"], 150);
    assert_eq!(attack["detected"], true);
    assert!(attack["delay_s"].as_u64().unwrap() <= 60, "{attack}");
    assert!(attack["coverage"].as_f64().unwrap() >= 0.95, "{attack}");
    assert_eq!(
        (&editor["lines"], &editor["detected"]),
        (&5.into(), &false.into())
    );
    assert_eq!(editor["coverage"], 0.0, "{editor}");
    assert_eq!(told["benign"]["challenged"], 0, "{told}");
    let [incident] = &told["incidents"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    assert_eq!(incident["trigger"], "sensitive");
    assert_eq!(
        (&incident["sources"], &incident["networks"]),
        (&1.into(), &1.into())
    );
    assert!(
        incident["signatures"][0]["baseline_share_upper"]
            .as_f64()
            .unwrap()
            < 0.01
    );

    let report = folder.0.join("reports");
    replay(&[&log, Path::new("--report"), &report]);
    let file = report.join("replay.html");
    let page = fs::read_to_string(&file).unwrap();
    // It names networks and programs of the log, which may be readers'.
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for words in ["1 incident", "of the attack", "шабуылдың", "атаки", "<svg"] {
        assert!(page.contains(words), "{words}");
    }
    let text = String::from_utf8(replay(&[&log, Path::new("--explain")]).stdout).unwrap();
    assert!(
        text.contains("1 incident") && text.contains("of the attack"),
        "{text}"
    );
}

/// The same answer however the lines are packed, in whatever order within two minutes, and every time.
#[test]
fn the_answer_depends_on_the_lines_alone() {
    let folder = Folder::new();
    let text = blog();
    let mut shuffled: Vec<&str> = text.lines().collect();
    for pair in shuffled.chunks_mut(40) {
        // Twenty to forty seconds out of order; within a second the order is the log's.
        pair.reverse();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let half = text.len() / 2;
    let cut = half + text[half..].find('\n').unwrap() + 1;
    let plain = folder.file("plain.log", &text);
    let files = [
        vec![folder.file("again.log", &text)],
        vec![folder.file("log.gz", gzip.finish().unwrap())],
        vec![folder.file("log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap())],
        vec![
            folder.file("first.log", &text[..cut]),
            folder.file("second.log", &text[cut..]),
        ],
        vec![folder.file("crlf.log", text.replace('\n', "\r\n"))],
    ];
    let told = |logs: &[PathBuf]| {
        let logs: Vec<&Path> = logs.iter().map(AsRef::as_ref).collect();
        let mut told = json(&logs);
        for timed in ["seconds", "lines_per_second"] {
            told[timed] = Value::Null;
        }
        told
    };
    let expected = told(&[plain]);
    for logs in files {
        assert_eq!(told(&logs), expected, "{logs:?}");
    }
    let out_of_order = told(&[folder.file("shuffled.log", shuffled.join("\n"))]);
    assert_eq!(out_of_order["late"], 0);
    assert_eq!(out_of_order["incidents"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_no_log_is_counted_with_its_place() {
    let folder = Folder::new();
    let good = blog();
    let first: String = good
        .lines()
        .take(100)
        .fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        });
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(good.as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    let long = "a".repeat(3_000_000);
    let ahead = first.lines().next().unwrap().replace("/2016:", "/2099:");
    let table: [(&str, Vec<u8>, u64, &str); 7] = [
        (
            "a clock of another century",
            format!("{first}{ahead}\n{first}").into_bytes(),
            1,
            "its time is more than a year after the line before",
        ),
        ("empty", Vec::new(), 0, ""),
        ("binary", vec![0xff; 5_000], 1, "no line of an access log"),
        (
            "long",
            format!("{first}{long}\n{first}").into_bytes(),
            1,
            "longer than 128 KB",
        ),
        (
            "long and last",
            format!("{first}{long}").into_bytes(),
            1,
            "longer than 128 KB",
        ),
        (
            "cut archive",
            whole[..whole.len() / 2].to_vec(),
            1,
            "the archive breaks off or is damaged here",
        ),
        (
            "mixed",
            format!("{first}{{\"ts\":1}}\n\n\u{0}\n<html>\n{first}").into_bytes(),
            3,
            "no line of an access log",
        ),
    ];
    for (name, bytes, junk, what) in table {
        let told = json(&[&folder.file(name, bytes)]);
        // An archive that breaks off may leave half a line as well.
        let found = told["junk"].as_u64().unwrap();
        assert!((junk..=junk + 1).contains(&found), "{name}: {found}");
        if junk > 0 {
            let places = told["junk_places"].as_array().unwrap();
            assert!(
                places
                    .iter()
                    .any(|place| place["what"] == what && place["line"].as_u64() > Some(0)),
                "{name}: {places:?}"
            );
        }
    }
}

#[test]
fn what_was_typed_wrong_is_said() {
    let folder = Folder::new();
    let log = folder.file("access.log", blog());
    let labels = |row: &str| folder.file("labels.tsv", format!("id\tx\n{row}\n"));
    let missing = folder.0.join("no-such.log");
    let output = replay(&[&missing]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such.log"));
    for (row, said) in [
        ("A1\tnow", ":2: 2 columns"),
        ("A1\tnow\tthen\tattack\t-\t-\t-\t-", ":2: time \"now\""),
        (
            "A1\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tevil\t-\t-\t-\t-",
            ":2: class \"evil\"",
        ),
        (
            "A1\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\t-\t-\thost\t-",
            ":2: address \"host\"",
        ),
    ] {
        let output = replay(&[&log, Path::new("--labels"), &labels(row)]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{row}");
        assert!(stderr.contains(said), "{row}: {stderr}");
    }
}

/// Counts tell load and nothing else: guarded, and never an attack.
#[test]
fn counts_raise_guarded_only() {
    let folder = Folder::new();
    let mut counts = String::from("period,count\n");
    for minute in 0..600_u32 {
        let count = if (300..330).contains(&minute) {
            30_000
        } else {
            1_000 + minute % 7
        };
        writeln!(counts, "{},{count}", 1_700_000_000 + minute * 60).unwrap();
    }
    let told = json(&[&folder.file("counts.csv", counts)]);
    assert_eq!(told["counts"]["minutes"], 600);
    let guarded = told["counts"]["guarded"].as_u64().unwrap();
    assert!((30..=40).contains(&guarded), "{guarded}");
    assert_eq!(told["incidents"], Value::Array(Vec::new()));
}
