//! `saqta replay` over logs made here: what it finds, what it spares, and what it does with files that are not what they seem.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

mod kit;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
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

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
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
    for words in [
        "<h2>1 · 2016-02-23 20:30:",
        "of the attack",
        "Шабуылдың",
        "атаки",
        "id=\"kk\"",
        "id=\"ru\"",
        "id=\"en\"",
        "Times are UTC",
        ">20:15</text>",
        ">2016-02-23</text>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // It asks for nothing and runs nothing.
    for words in ["<script", "src=", "http:", "https:", "url("] {
        assert!(!page.contains(words), "{words}");
    }
    let text = String::from_utf8(replay(&[&log, Path::new("--explain")]).stdout).unwrap();
    assert!(
        text.contains("1 incident") && text.contains("of the attack"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
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
    let half = text.len() / 2;
    let cut = half + text[half..].find('\n').unwrap() + 1;
    let plain = folder.file("plain.log", &text);
    let files = [
        vec![folder.file("again.log", &text)],
        vec![folder.file("log.gz", gzipped(&text))],
        vec![folder.file("log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap())],
        vec![
            folder.file("first.log", &text[..cut]),
            folder.file("second.log", &text[cut..]),
        ],
        vec![folder.file("crlf.log", text.replace('\n', "\r\n"))],
        vec![folder.file("mark.log", format!("\u{feff}{text}"))],
        vec![folder.file(
            "members.gz",
            [gzipped(&text[..cut]), gzipped(&text[cut..])].concat(),
        )],
    ];
    let told = |logs: &[PathBuf]| {
        let logs: Vec<&Path> = logs.iter().map(AsRef::as_ref).collect();
        let mut told = json(&logs);
        for own in ["seconds", "lines_per_second", "files"] {
            told[own] = Value::Null;
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

/// One clock that is wrong for a line must not move what comes after it.
#[test]
fn a_line_of_another_time_moves_no_other() {
    let folder = Folder::new();
    let good = blog();
    // When, how many, and when a rule was found: one line more is one more that is ordinary.
    let incidents = |name: &str, text: &str| {
        let told = json(&[&folder.file(name, text)]);
        let incidents = told["incidents"].as_array().unwrap();
        let when: Vec<_> = incidents
            .iter()
            .map(|incident| {
                let rule = &incident["signatures"][0];
                let times = [&incident["onset"], &incident["end"], &rule["generated"]];
                format!("{times:?} {}", incident["requests"])
            })
            .collect();
        (when, told["ahead"].clone(), told["late"].clone())
    };
    let expected = incidents("good.log", &good);
    assert_eq!(
        (&expected.1, &expected.2),
        (&Value::from(0), &Value::from(0))
    );
    let at = |time: &str| {
        format!(
            "198.51.100.1 - - [{time} +0500] \"GET /2016/02/story-1/ HTTP/1.1\" 200 5 \"-\" \"{READER}\""
        )
    };
    let later = [
        "24/Feb/2016:00:13:00",
        "24/Feb/2016:03:00:00",
        "25/Feb/2016:00:00:00",
        "01/Nov/2016:00:00:00",
        "01/Nov/2099:00:00:00",
    ];
    for time in later {
        // How many in a row, and before which line.
        for (wrong, before) in [(1, 0), (2, 0), (1, 240), (5, 240)] {
            let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
            for _ in 0..wrong {
                lines.insert(before, at(time));
            }
            assert_eq!(
                incidents("wrong.log", &lines.join("\n")),
                (expected.0.clone(), Value::from(wrong), Value::from(0)),
                "{time} before line {before}"
            );
        }
    }
    // And what is silent for a week is silent for a week.
    let resumed = format!("{good}{}", good.replace("24/Feb", "02/Mar"));
    let (incidents, ahead, late) = incidents("silence.log", &resumed);
    assert_eq!((ahead, late), (Value::from(0), Value::from(0)));
    assert_eq!(incidents.len(), 2);
}

/// What is missing is not nothing, and what came long before says nothing.
#[test]
fn a_hole_in_a_log_is_no_calm() {
    let folder = Folder::new();
    let good = blog();
    let onsets = |name: &str, text: &str| {
        let told = json(&[&folder.file(name, text)]);
        let incidents = told["incidents"].as_array().unwrap().clone();
        incidents
            .iter()
            .map(|incident| incident["onset"].clone())
            .collect::<Vec<_>>()
    };
    let expected = onsets("whole.log", &good);
    let without = |from: &str, to: &str| {
        let kept = good.lines().filter(|line| {
            let time = &line[line.find("2016:").unwrap() + 5..][..8];
            !(from..to).contains(&time)
        });
        kept.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        onsets("five.log", &without("00:40:00", "00:45:00")),
        expected
    );
    assert_eq!(
        onsets("thirty.log", &without("00:30:00", "01:00:00")),
        expected
    );
    let stray = good.lines().next().unwrap().replace("24/Feb", "23/Feb");
    assert_eq!(onsets("stray.log", &format!("{stray}\n{good}")), expected);
}

#[test]
fn several_files_are_read_in_the_order_of_their_time_and_none_twice() {
    let folder = Folder::new();
    let good = blog();
    let whole = folder.file("whole.log", &good);
    let lines: Vec<&str> = good.lines().collect();
    let part = |name: &str, from: usize, to: usize| folder.file(name, lines[from..to].join("\n"));
    let (old, new) = (
        part("access.log.1", 0, 2_000),
        part("access.log", 2_000, lines.len()),
    );
    let incidents = |logs: &[&Path]| json(logs)["incidents"].clone();
    assert_eq!(incidents(&[&new, &old]), incidents(&[&whole]));
    let twice = replay(&[&new, &old, &new]);
    let said = String::from_utf8_lossy(&twice.stderr);
    assert_eq!(twice.status.code(), Some(2));
    assert!(said.contains("access.log: given twice"), "{said}");
}

/// Whoever may read what lies there, and wherever it leads.
#[test]
fn a_report_is_for_its_owner_alone_whatever_lay_there() {
    let folder = Folder::new();
    let log = folder.file("access.log", blog());
    let victim = folder.file("victim", "mine");
    let reports = folder.0.join("reports");
    let page = reports.join("replay.html");
    fs::create_dir(&reports).unwrap();
    let write = || {
        let output = replay(&[&log, Path::new("--report"), &reports]);
        assert!(output.status.success());
        let data = fs::symlink_metadata(&page).unwrap();
        assert!(
            data.is_file() && data.permissions().mode() & 0o777 == 0o600,
            "{data:?}"
        );
    };
    std::os::unix::fs::symlink(&victim, &page).unwrap();
    write();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    fs::set_permissions(&page, fs::Permissions::from_mode(0o644)).unwrap();
    write();
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
    let whole = gzipped(&good);
    let packed = zstd::encode_all(good.as_bytes(), 1).unwrap();
    let long = "a".repeat(3_000_000);
    let table: [(&str, Vec<u8>, u64, &str); 7] = [
        (
            "another kind of file, later",
            format!("{first}{}", "\u{0}\u{1}\n".repeat(50)).into_bytes(),
            50,
            "no line of an access log",
        ),
        (
            "a tail that is none of the archive",
            [&whole[..], b"tail"].concat(),
            1,
            "the archive breaks off or is damaged here",
        ),
        (
            "cut archive of the other kind",
            packed[..packed.len() / 2].to_vec(),
            1,
            "the archive breaks off or is damaged here",
        ),
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

/// "0 incidents" of a file that was not understood would be a lie.
#[test]
fn what_is_another_kind_of_file_gets_no_answer() {
    let folder = Folder::new();
    let good = blog();
    let first: String = good.lines().take(10).collect::<Vec<_>>().join("\n");
    let utf16 = good.encode_utf16().flat_map(u16::to_le_bytes);
    let table: [(&str, Vec<u8>, &str); 13] = [
        ("empty.log", Vec::new(), "no line in it"),
        ("blank.log", b"\n\r\n\n".to_vec(), "no line in it"),
        ("heading.csv", b"period,count\n".to_vec(), "no line in it"),
        (
            "sales.csv",
            b"day,sold\n2026-01-01,7\n".to_vec(),
            ":1: no line",
        ),
        (
            "numbers.csv",
            b"77010000000000,5\n18446744073709551615,7\n1,99999999999999\n".to_vec(),
            ":1: no line",
        ),
        ("binary", vec![0xff; 5_000], ":1: no line"),
        (
            "zero",
            vec![0; 500_000],
            ":1: longer than 128 KB; it looks like binary data",
        ),
        (
            "a.pdf",
            b"%PDF-1.7\n\xe2\xe3".to_vec(),
            "it looks like a PDF",
        ),
        (
            "events.json",
            b"{\"message\":\"hello\"}\n".repeat(9),
            "it looks like JSON without",
        ),
        (
            "u_ex.log",
            b"#Software: Microsoft IIS\n#Fields: date\n".to_vec(),
            "the W3C's",
        ),
        (
            "utf16.log",
            b"\xff\xfe".iter().copied().chain(utf16).collect(),
            "UTF-16",
        ),
        (
            "hardly.log",
            format!("{first}\n{}", "hello\n".repeat(2_000)).into_bytes(),
            ":11: no line of an access log",
        ),
        (
            "cut.gz",
            gzipped(&good)[..9].to_vec(),
            "No line lies before",
        ),
    ];
    for (name, bytes, said) in table {
        let file = folder.file(name, bytes);
        let output = replay(&[&file]);
        // Folded to the screen's width.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stderr = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.contains(name) && stderr.contains(said), "{stderr}");
        assert!(output.stdout.is_empty(), "{name}");
        let output = replay(&[&file, Path::new("--json")]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let error = told["error"].as_str().unwrap();
        assert!(error.contains(name), "{error}");
    }
    // Among logs it is named, and they are answered for.
    let log = folder.file("access.log", good);
    let output = replay(&[&log, &folder.0.join("a.pdf")]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success()
            && stdout.contains("a.pdf: next to nothing")
            && stdout.contains("1 incident"),
        "{stdout}"
    );
    let told = json(&[&log, &folder.0.join("a.pdf")]);
    assert_eq!(told["error"], Value::Null);
    assert_eq!(
        (&told["files"][1]["lines"], &told["files"][1]["junk"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn what_was_typed_wrong_is_said() {
    let folder = Folder::new();
    let log = folder.file("access.log", blog());
    for (file, said) in [
        (folder.0.join("no-such.log"), "no-such.log: no such file"),
        (folder.0.clone(), "is a directory"),
    ] {
        let output = replay(&[&file]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains(said),
            "{stderr}"
        );
    }
    let labels = folder.file(
        "labels.tsv",
        "id\tx\n\
         A1\tnow\n\
         A2\tnow\tthen\tattack\t-\t-\t-\t-\n\
         A3\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tevil\t-\t-\t-\t-\n\
         A4\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\t-\t-\thost\t-\n\
         A5\t2016-02-24 01:30:00\t2016-02-24 01:20:00\tattack\t-\t-\t-\t-\n",
    );
    let output = replay(&[&log, Path::new("--labels"), &labels]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(2));
    for said in [
        ":2: 2 columns",
        ":3: \"now\" is no time",
        ":4: class \"evil\"",
        ":5: \"host\" is no address",
        ":6: it ends at",
        "5 problems",
    ] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

/// A label that matches nothing is a mistake in it more often than a calm log.
#[test]
fn labels_that_match_nothing_are_named() {
    let folder = Folder::new();
    let log = folder.file("access.log", blog());
    let labels = folder.file(
        "labels.tsv",
        "id\tstart\n\
         A1\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\tPOST\twp-login\t-\t-\n\
         A2\t2017-02-24 01:30:00\t2017-02-24 01:40:00\tattack\t-\t-\t-\t-\n\
         A3\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\tPOST\twp-logn\t-\t-\n\
         A4\t2016-02-24 01:30:00\t2016-02-24 01:40:00\tattack\tPOST\tstory\t-\t-\n",
    );
    let told = json(&[&log, Path::new("--labels"), &labels]);
    let text = replay(&[&log, Path::new("--labels"), &labels]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(told["labels"][0]["unmatched"], Value::Null);
    for (at, said) in [
        (
            1,
            "its own clock goes from 2016-02-24 00:00:00 to 2016-02-24 01:59:58",
        ),
        (2, "none has what stands in path_contains"),
        (3, "none has all of its columns together"),
    ] {
        let label = &told["labels"][at];
        let unmatched = label["unmatched"].as_str().unwrap();
        assert!(unmatched.contains(said), "{unmatched}");
        assert!(text.contains(&format!("A{}, line {} of the labels", at + 1, at + 2)));
        assert!(text.contains(said), "{text}");
        assert_eq!(label["row"], at + 2);
    }
}

#[test]
fn a_log_may_come_through_a_pipe() {
    let folder = Folder::new();
    let file = fs::File::open(folder.file("log.gz", gzipped(&blog()))).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_saqta"))
        .args(["replay", "-"])
        .stdin(file)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 incident"), "{stdout}");
    // Labels need it twice.
    let labels = folder.file("labels.tsv", LABELS);
    let output = replay(&[Path::new("-"), Path::new("--labels"), &labels]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("read only once"), "{stderr}");
}

/// Counts tell load and nothing else: guarded, and never an attack.
/// `saqta replay <(zcat access.log.gz)`, and two of them.
#[test]
fn a_log_may_come_through_a_pipe_with_a_name() {
    let folder = Folder::new();
    let log = folder.file("access.log.gz", gzipped(&blog()));
    let expected = json(&[&log])["incidents"].clone();
    for how in [
        "<(zcat \"$LOG\")",
        "<(zcat \"$LOG\" | head -2000) <(zcat \"$LOG\" | tail -n +2001)",
    ] {
        let output = Command::new("bash")
            .arg("-c")
            .arg(format!("exec \"$SAQTA\" replay {how} --json"))
            .env("LOG", &log)
            .env("SAQTA", env!("CARGO_BIN_EXE_saqta"))
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["incidents"], expected, "{how}");
    }
}

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
    let file = folder.file("counts.csv", counts);
    let told = json(&[&file]);
    assert_eq!(told["counts"]["minutes"], 600);
    let guarded = told["counts"]["guarded"].as_u64().unwrap();
    // Of half an hour: after ten minutes without harm it is followed.
    assert!((15..=30).contains(&guarded), "{guarded}");
    assert_eq!(told["incidents"], Value::Array(Vec::new()));
    // Calm is not claimed of what was not.
    let text = String::from_utf8(replay(&[&file]).stdout).unwrap();
    assert!(
        text.contains("600 minutes") && !text.contains("incident"),
        "{text}"
    );
}

#[test]
fn a_file_may_have_any_name() {
    let folder = Folder::new();
    let name = OsStr::from_bytes(b"a\xff\x1b[31m.log");
    let file = folder.0.join(name);
    fs::write(&file, "nothing\n").unwrap();
    let output = replay(&[&file, Path::new("--json")]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["junk_places"][0]["line"], 1);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains('\u{1b}') && stderr.contains("u{1b}"),
        "{stderr}"
    );
}
