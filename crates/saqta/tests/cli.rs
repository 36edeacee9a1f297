//! The program as it is typed: what it prints where, and how it exits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

mod kit;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use kit::Folder;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use saqta_edge::lanes::AppKeys;

impl Folder {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn saqta(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_saqta"));
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.0)
            .env_remove("JOURNAL_STREAM");
        command
    }

    /// Exit code, standard output, standard error.
    fn say(&self, arguments: &str) -> (i32, String, String) {
        told(self.saqta(arguments).output().unwrap())
    }

    /// Starts it and waits for its first line.
    fn run(&self, arguments: &str) -> Running {
        Running::start(&mut self.saqta(arguments))
    }

    /// As [`Folder::say`], in a shell that first does something to itself.
    fn say_after(&self, first: &str, arguments: &str) -> (i32, String, String) {
        self.say_in(&["sh"], first, arguments)
    }

    /// The same among mounts that nobody else sees.
    fn say_among_mounts(&self, mounts: &str, arguments: &str) -> (i32, String, String) {
        self.say_in(
            &["unshare", "--map-root-user", "--mount", "sh"],
            mounts,
            arguments,
        )
    }

    fn say_in(&self, shell: &[&str], first: &str, arguments: &str) -> (i32, String, String) {
        let output = Command::new(shell[0])
            .args(&shell[1..])
            .arg("-ec")
            .arg(format!(
                "{first}; exec {} {arguments}",
                env!("CARGO_BIN_EXE_saqta")
            ))
            .current_dir(&self.0)
            .env_remove("JOURNAL_STREAM")
            .output()
            .unwrap();
        told(output)
    }
}

/// Exit code, standard output, standard error.
fn told(output: Output) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    first: String,
}

impl Running {
    /// Waits for its first line.
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        if first.is_empty() {
            let mut stderr = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut stderr)
                .unwrap();
            panic!("{command:?} did not start: {stderr}");
        }
        Self {
            child,
            stdout,
            first,
        }
    }

    fn address(&self) -> SocketAddr {
        self.first
            .strip_prefix("listening http://")
            .unwrap()
            .trim_end()
            .parse()
            .unwrap()
    }

    /// Its exit code, the rest of standard output, and standard error.
    fn end_with(mut self, signal: Signal) -> (i32, String, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (self.child.wait().unwrap().code().unwrap(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Answers every request alike.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || answer_all(&listener));
    address
}

fn answer_all(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let head = BufReader::new(&stream).lines();
        let _head = head
            .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
            .count();
        let _client_left = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfront");
    }
}

fn fetch(address: SocketAddr, host: &str) -> String {
    get(address, host, "/")
}

fn get(address: SocketAddr, host: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // In one piece: whoever answers after reading a part of it would close on the rest.
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Without the line breaks that 80 columns ask for.
fn unfolded(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_helps_with_examples_in_80_columns() {
    let folder = Folder::new();
    let (code, help, _) = folder.say("--help");
    assert_eq!(code, 0);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")?
                .split(' ')
                .next()
                .filter(|word| !word.is_empty() && *word != "help")
        })
        .collect();
    assert!(commands.len() >= 6, "{help}");
    for command in commands.iter().copied().chain([""]) {
        let (code, help, stderr) = folder.say(&format!("{command} --help"));
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
        let examples = help
            .split("Examples:\n")
            .nth(1)
            .unwrap_or_else(|| panic!("{command} has no examples:\n{help}"));
        for line in examples.lines() {
            assert!(
                line.starts_with(&format!("  saqta {command}")),
                "{command}: {line}"
            );
        }
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
}

#[test]
fn staff_are_invited_listed_and_taken_back() {
    let folder = Folder::new();
    let origin = origin();
    let site = |host: &str| format!("[[site]]\nhosts = \"{host}\"\norigin = \"http://{origin}\"\n");
    let settings = format!(
        "listen = \"127.0.0.1:0\"\n{}{}",
        site("a.example"),
        site("b.example")
    );
    folder.write("f.toml", &settings);
    let link = {
        let running = folder.run("run -c f.toml");
        let (code, said, _) = folder.say("staff list");
        assert!(code == 0 && said.contains("nobody is invited"), "{said}");
        for (arguments, problem) in [
            (
                "--name Aigerim",
                "say which with --site NAME: a.example, b.example",
            ),
            (
                "--name Aigerim --site c.example",
                "no site here is called c.example",
            ),
            ("--name Aigerim --days 0", "1..=180"),
            ("--name Aigerim --days 181", "1..=180"),
        ] {
            let (code, stdout, said) = folder.say(&format!("staff invite {arguments}"));
            assert_eq!((code, stdout.as_str()), (2, ""), "{arguments}");
            assert!(unfolded(&said).contains(problem), "{arguments}: {said}");
        }
        let (code, said, stderr) = folder.say("staff invite --name Aigerim --site b.example");
        assert_eq!((code, stderr.as_str()), (0, ""), "{said}");
        let link = said.lines().next().unwrap();
        assert!(link.starts_with("https://b.example/saqta-staff/"), "{said}");
        assert!(said.contains("saqta staff revoke Aigerim"), "{said}");
        let (code, _, said) = folder.say("staff invite --name Aigerim --site b.example");
        assert!(
            code == 2 && said.contains("invited as \"Aigerim\" already"),
            "{said}"
        );
        let path = link.strip_prefix("https://b.example").unwrap();
        let page = get(running.address(), "b.example", path);
        assert!(page.contains("<form method=\"post\">"), "{page}");
        link.to_owned()
    };
    // After a restart too, until it is taken back.
    let running = folder.run("run -c f.toml");
    let (_, said, _) = folder.say("staff list");
    assert!(
        said.starts_with("Aigerim  b.example, until 20") && said.contains("the link is still good"),
        "{said}"
    );
    let (code, _, _) = folder.say("staff revoke Daulet");
    assert_eq!(code, 1);
    let (code, said, _) = folder.say("staff revoke Aigerim");
    assert!(code == 0 && said.contains("not staff any more"), "{said}");
    let path = link.strip_prefix("https://b.example").unwrap();
    let page = get(running.address(), "b.example", path);
    assert!(page.starts_with("HTTP/1.1 410"), "{page}");
}

#[test]
fn a_code_from_a_page_is_read_by_the_saqta_that_gave_it_out_and_by_no_other() {
    let folder = Folder::new();
    let origin = origin();
    let site = |host: &str| format!("[[site]]\nhosts = \"{host}\"\norigin = \"http://{origin}\"\n");
    let settings = format!(
        "listen = \"127.0.0.1:0\"\nrefuse = [\"127.0.0.0/8\"]\n{}{}",
        site("a.example"),
        site("b.example")
    );
    folder.write("f.toml", &settings);
    let given = {
        let running = folder.run("run -c f.toml");
        let page = get(running.address(), "b.example", "/?s=secret");
        let (_, rest) = page.split_once("\"code\":\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    // Nobody is asked whether it is one.
    let other = if given.starts_with('7') { '8' } else { '7' };
    let slip = format!("{other}{}", &given[1..]);
    for (typed, problem) in [
        ("7K2Q", "a code has 16 letters and digits, and this has 4"),
        ("UUUU-UUUU-UUUU-UUUU", "no code has a 'U' in it"),
        (
            &slip[..],
            "one of its letters is wrong, or two have changed places",
        ),
        (&given[..], "no Saqta runs on the data folder"),
    ] {
        let (code, stdout, said) = folder.say(&format!("decode {typed}"));
        assert_eq!((code, stdout.as_str()), (2, ""), "{typed}");
        assert!(unfolded(&said).contains(problem), "{typed}: {said}");
    }
    // After a restart too.
    let _running = folder.run("run -c f.toml");
    let spoken = given.to_lowercase().replace('-', " ");
    for typed in [&given, &spoken] {
        let (code, said, stderr) = folder.say(&format!("decode {typed}"));
        assert_eq!((code, stderr.as_str()), (0, ""), "{typed}");
        for part in [
            "b.example, calm",
            "network refused",
            "their network is in `refuse` of the settings",
            "a search, over HTTP/1.1",
        ] {
            assert!(unfolded(&said).contains(part), "{said}");
        }
        assert!(
            !said.contains("secret") && !said.contains("127.0.0.1"),
            "{said}"
        );
    }
    let (code, said, _) = folder.say(&format!("decode --json {given}"));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &said["site"], &said["got"], &said["rule"]),
        (
            0,
            &"b.example".into(),
            &"network refused".into(),
            &serde_json::Value::Null
        )
    );
    // Nobody's.
    let (code, stdout, said) = folder.say("decode 0000-0000-0000-0000");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        unfolded(&said).contains("it is older than fourteen weeks, of another Saqta"),
        "{said}"
    );
    // Another Saqta, of the same week.
    let other = Folder::new();
    other.write("f.toml", &settings);
    let _running = other.run("run -c f.toml");
    let (code, stdout, said) = other.say(&format!("decode {given}"));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(unfolded(&said).contains("it was not made here"), "{said}");
}

#[test]
fn what_is_wrong_is_said_on_standard_error_with_code_2() {
    let folder = Folder::new();
    folder.write(
        "bad.toml",
        "listen = \"80\"\n[[site]]\norigin = \"http://a\"\nmod = \"observe\"\n",
    );
    folder.write("latin1.toml", "");
    fs::write(folder.0.join("latin1.toml"), b"# caf\xe9\n").unwrap();
    // Two bytes each, so that the last one is cut in two.
    folder.write("big.toml", &format!("#{}", "é".repeat(1 << 20)));
    fs::create_dir_all(folder.0.join("held/slow-crude.html")).unwrap();
    let bad = "\
bad.toml:1: \"80\" is not an address with a port
    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this
    machine only

bad.toml:2: this site has no hosts
    write the names readers type: hosts = [\"news.example\", \"www.news.example\"];
    or any_host = true for all

bad.toml:4: `mod` is not a setting of [[site]]
    did you mean `mode`?

3 problems
";
    let no_saqta = "\
saqta: no Saqta runs on the data folder ./saqta-data
    start one with `saqta run`, or give its folder with --data DIR
";
    let table = [
        ("check -c bad.toml", bad),
        ("run -c bad.toml", bad),
        (
            "check -c none.toml",
            "saqta: cannot read the settings file none.toml: no such file or directory\n    `saqta init --out none.toml` makes one to begin with\n",
        ),
        (
            "check -c .",
            "saqta: cannot read the settings file .: is a directory\n    give the settings file itself with -c FILE\n",
        ),
        (
            "run --origin http://127.0.0.1:1 --data bad.toml",
            "saqta: bad.toml is a file, and the data folder needs that name\n    choose a folder with --data DIR\n",
        ),
        (
            "run --origin 127.0.0.1:1",
            "--origin: the origin does not begin with http://\n    write http://127.0.0.1:1\n\n1 problem\n",
        ),
        ("reload", no_saqta),
        ("bypass on", no_saqta),
        ("status", no_saqta),
        ("status --json", no_saqta),
    ];
    for (arguments, said) in table {
        assert_eq!(
            folder.say(arguments),
            (2, String::new(), said.into()),
            "{arguments}"
        );
    }
    // Clap's words are clap's; that they come, where and how is ours.
    for (arguments, word) in [
        ("", "Usage"),
        ("fly", "unrecognized subcommand"),
        ("run", "required"),
        ("run -c f --origin http://a", "cannot be used"),
        ("run -c f --host a", "cannot be used"),
        ("bypass maybe", "possible values"),
        ("check -c latin1.toml", "save it again as UTF-8"),
        (
            "check -c big.toml",
            "big.toml: the file has more than 1048576 bytes",
        ),
        (
            "demo --data latin1.toml",
            "choose another folder with --data DIR",
        ),
        ("demo --for 3m", "give it 3s to 2m"),
        ("drill", "required"),
        (
            "drill nothing",
            "there is no scenario \"nothing\"; there are kursiv-search,",
        ),
        ("drill none.toml", "cannot read none.toml"),
        ("drill slow --for 1s", "give it 3s to 2m"),
        ("drill slow --for 5", "write the unit"),
        ("drill slow --grade fine", "possible values"),
        ("drill slow --seed x", "write a whole number"),
        (
            "drill slow --against a --origin b",
            "write an address and its port",
        ),
        (
            "drill slow --report latin1.toml",
            "choose another folder with --report DIR",
        ),
        (
            "drill slow --report held",
            "cannot write the report held/slow-crude.html",
        ),
        ("drill slow --against http://127.0.0.1:1", "required"),
        (
            "drill slow --against http://192.0.2.1:80 --origin 127.0.0.1:1",
            "is not on this machine",
        ),
        ("lab", "see `saqta drill --help`"),
    ] {
        let (code, stdout, stderr) = folder.say(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments}");
        assert!(unfolded(&stderr).contains(word), "{arguments}: {stderr}");
    }
    assert!(
        !folder
            .say("drill slow --report latin1.toml")
            .2
            .contains("calm"),
        "the drill began"
    );
    assert!(
        !folder.0.join("saqta-data").exists(),
        "nothing was started, nothing was made"
    );
}

#[test]
fn officers_are_named_and_nothing_is_sealed_yet() {
    let folder = Folder::new();
    let (code, said, _) = folder.say("incident list");
    assert_eq!(
        (code, said.as_str()),
        (0, "no incident was ever sealed here\n")
    );
    let (code, said, _) = folder.say("incident list --json");
    assert_eq!(
        (code, said.as_str()),
        (0, "{\"incidents\":[],\"locked\":0}\n")
    );
    for asked in [
        "incident show 20261201-00000000",
        "bundle incident x --out b",
    ] {
        let (code, said, stderr) = folder.say(asked);
        assert_eq!((code, said.as_str()), (1, ""), "{asked}");
        assert!(stderr.contains("no incident"), "{asked}: {stderr}");
    }
    let (code, said, _) = folder.say("key list");
    assert!(code == 0 && said.contains("no Saqta has run"), "{said}");
    let made = |out: &str| folder.say(&format!("key new officer --out {out}"));
    let (code, said, stderr) = made("a.key");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let file = folder.0.join("a.key");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, _, stderr) = made("a.key");
    assert!(code == 2 && stderr.contains("is there already"), "{stderr}");
    // As the command has printed it.
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("saqta "));
    let add = line.unwrap().replace("NAME", "Aigerim");
    let (code, _, stderr) = folder.say(&add);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for (wrong, problem) in [
        (add.as_str(), "officer's already: Aigerim"),
        ("key add officer age1x --name B", "no public key of age"),
    ] {
        let (code, _, stderr) = folder.say(wrong);
        assert!(code == 2 && stderr.contains(problem), "{wrong}: {stderr}");
    }
    let running = folder.run("run --origin http://127.0.0.1:9 --listen 127.0.0.1:0");
    let (code, said, _) = folder.say("key list");
    assert!(
        code == 0 && said.contains("Aigerim") && said.contains("fingerprint "),
        "{said}"
    );
    assert!(!said.contains("whoever has this folder"), "{said}");
    drop(running);
    for (given, problem) in [("nothing", "no folder"), (".", "no bundle")] {
        let (code, said, _) = folder.say(&format!("verify {given}"));
        assert!(code == 2 && said.contains(problem), "{given}: {said}");
        let (code, said, _) = folder.say(&format!("verify {given} --json"));
        assert!(
            code == 2 && said.contains("\"ok\":false"),
            "{given}: {said}"
        );
    }
}

#[test]
fn a_new_key_is_printed_and_fits() {
    let folder = Folder::new();
    let (code, key, stderr) = folder.say("app-key");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_ne!(folder.say("app-key").1, key);
    let settings = format!(
        "[[site]]\nhosts = \"a.example\"\norigin = \"http://127.0.0.1:9\"\napp_keys = \"{}\"\n",
        key.trim_end()
    );
    let plan = saqta::settings::read(&settings, Path::new("f.toml")).unwrap();
    assert_eq!(plan.sites[0].app_keys, AppKeys::of([key.trim_end()]));
}

#[test]
fn the_printed_settings_can_be_checked() {
    let folder = Folder::new();
    let (code, settings, stderr) = folder.say("settings");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(settings, saqta::settings::ANNOTATED);
    for line in settings.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_scenarios_are_listed() {
    let (code, list, stderr) = Folder::new().say("drill --list");
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let names: Vec<&str> = list.lines().filter(|line| !line.starts_with(' ')).collect();
    let known: Vec<&str> = saqta_lab::scenario::EMBEDDED
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, known);
}

#[test]
fn check_says_ok_or_what_to_do() {
    let folder = Folder::new();
    let good = format!(
        "listen = \"127.0.0.1:0\"\n[[site]]\nhosts = \"a.example\"\norigin = \"http://{}\"\n",
        origin()
    );
    folder.write("good.toml", &good);
    let (code, said, stderr) = folder.say("check -c good.toml");
    assert_eq!(stderr, "");
    for (subject, words) in [
        ("settings", "1 site, 1 host\n"),
        ("listen", "is free"),
        ("origin", "answered 200 to /"),
    ] {
        let line = said.lines().find(|line| line.contains(subject)).unwrap();
        assert!(
            line.starts_with("ok  ") && format!("{line}\n").contains(words),
            "{said}"
        );
    }
    // The machine these tests run on may itself have something to do.
    assert_eq!(
        code,
        if said.lines().any(|line| line.starts_with("do  ")) {
            2
        } else {
            0
        },
        "{said}"
    );
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    folder.write(
        "dead.toml",
        &format!(
            "listen = \"127.0.0.1:0\"\n[[site]]\nany_host = true\norigin = \"http://{closed}\"\n"
        ),
    );
    let (code, said, _) = folder.say("check -c dead.toml");
    assert_eq!(code, 2);
    assert!(
        said.contains("connection refused") && said.contains("start the newsroom's own server"),
        "{said}"
    );
}

#[test]
fn a_run_serves_obeys_and_ends() {
    let folder = Folder::new();
    let origin = origin();
    let site = |host: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\nshards = 1\n[[site]]\nhosts = \"{host}\"\norigin = \"http://{origin}\"\n"
        )
    };
    folder.write("f.toml", &site("a.example"));
    let mut running = folder.run("run -c f.toml");
    let address = running.address();
    assert_ne!(address.port(), 0);
    assert!(fetch(address, "a.example").ends_with("front"));

    // No crash writes what readers asked for to disk, and no default of 1024 files keeps them out.
    let granted = fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let words = |name: &str| {
        let line = granted
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words("Max core file size")[0], "0");
    assert_eq!(words("Max open files")[0], words("Max open files")[1]);

    let (code, said, _) = folder.say("status");
    assert_eq!(code, 0);
    assert!(
        said.contains(&format!("listening      http://{address}\n")),
        "{said}"
    );
    assert!(
        said.contains("bypass         off\n")
            && said.contains("a.example, mode observe: a.example\n"),
        "{said}"
    );
    let json = |folder: &Folder| -> serde_json::Value {
        serde_json::from_str(&folder.say("status --json").1).unwrap()
    };
    assert_eq!(json(&folder)["bypass"], false);
    assert!(json(&folder)["memory_bytes"].as_u64().unwrap() > 1 << 20);

    // A host of no site: closed without a word to the client, counted, and told of without its name.
    assert_eq!(fetch(address, "nowhere.example"), "");
    assert_eq!(json(&folder)["edge"]["unknown_hosts"], 1);
    let mut log = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("1 request for a host that no site names") {
        assert!(!line.contains("nowhere.example"), "{line}");
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
    }
    assert!(!line.contains("nowhere.example"), "{line}");
    running.child.stderr = Some(log.into_inner());

    // Bypass is an order: a reload does not take it back.
    assert_eq!(folder.say("bypass on").0, 0);
    assert_eq!(json(&folder)["bypass"], true);
    assert_eq!(json(&folder)["edge"]["bypass"], true);
    folder.write("f.toml", &site("b.example"));
    assert_eq!(
        folder.say("reload"),
        (
            0,
            "f.toml runs now: 1 site; bypass is still on\n".into(),
            String::new()
        )
    );
    assert_eq!(json(&folder)["sites"][0]["hosts"][0], "b.example");
    assert_eq!(json(&folder)["edge"]["bypass"], true);
    assert!(fetch(address, "b.example").ends_with("front"));
    assert_eq!(folder.say("bypass off").0, 0);
    assert_eq!(json(&folder)["edge"]["bypass"], false);

    // A bad file changes nothing and every problem is heard by whoever asked.
    folder.write("f.toml", "cache_mb = 0\nx = 1\nshards = 2\n");
    let (code, stdout, said) = folder.say("reload");
    assert_eq!((code, stdout.as_str()), (2, ""));
    for heard in [
        "f.toml: there is no site",
        "f.toml:1: `cache_mb` is 0",
        "f.toml:2: `x` is not a setting",
        "f.toml: `listen` is now",
        "f.toml:3: `shards` is now 2; what runs has 1",
        "5 problems; the running Saqta goes on as before",
    ] {
        assert!(unfolded(&said).contains(heard), "{said}");
    }
    folder.write(
        "f.toml",
        &site("b.example")
            .replace("127.0.0.1:0", "127.0.0.2:0")
            .replace("shards = 1", "shards = 2"),
    );
    let (code, _, said) = folder.say("reload");
    assert_eq!(code, 2);
    for heard in [
        "f.toml:1: `listen` is now \"127.0.0.2:0\"; what runs has \"127.0.0.1:0\"",
        "f.toml:2: `shards` is now 2; what runs has 1",
        "2 problems; the running Saqta goes on as before",
    ] {
        assert!(unfolded(&said).contains(heard), "{said}");
    }
    assert!(fetch(address, "b.example").ends_with("front"));

    // A second one on the same folder is turned away.
    let (code, stdout, said) = folder.say(&format!(
        "run --origin http://{origin} --listen 127.0.0.1:0"
    ));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(
        unfolded(&said).contains("another saqta runs on the data folder"),
        "{said}"
    );
    // And one on the same port, although ours could share it.
    let (code, stdout, said) = folder.say(&format!(
        "run --origin http://{origin} --listen {address} --data other"
    ));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(
        said.contains("address already in use") && unfolded(&said).contains("choose another port"),
        "{said}"
    );

    let (code, stdout, stderr) = running.end_with(Signal::TERM);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.contains("ended"), "{stderr}");
    assert!(!stderr.contains("nowhere.example"), "{stderr}");
    assert!(!folder.0.join("saqta-data/control.sock").exists());
    assert_eq!(folder.say("status").0, 2);
}

#[test]
fn what_is_in_flight_is_finished() {
    let folder = Folder::new();
    // An origin that answers when the test says so.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = listener.local_addr().unwrap();
    let (asked, was_asked) = sync_channel(1);
    let (answer, may_answer) = sync_channel::<()>(1);
    std::thread::spawn(move || {
        // Whoever only looks whether we listen sends nothing.
        let mut stream = listener
            .incoming()
            .map(Result::unwrap)
            .find_map(|mut stream| {
                let asks = stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0);
                asks.then_some(stream)
            })
            .unwrap();
        asked.send(()).unwrap();
        may_answer.recv().unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
            .unwrap();
    });
    let mut running = folder.run(&format!(
        "run --origin http://{origin} --listen 127.0.0.1:0"
    ));
    let address = running.address();
    let client = std::thread::spawn(move || fetch(address, "a.example"));
    was_asked.recv().unwrap();

    kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
    let mut said = BufReader::new(running.child.stderr.take().unwrap()).lines();
    said.find(|line| {
        line.as_ref()
            .unwrap()
            .contains("finishing requests in flight")
    })
    .unwrap()
    .unwrap();
    answer.send(()).unwrap();
    assert!(client.join().unwrap().ends_with("slow"));
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

/// Answers with the head of a stream that never ends, and says when it did.
fn streaming_origin() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (streaming, is_streaming) = sync_channel(1);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever only looks whether we listen sends nothing.
            if stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {
                stream
                    .write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
                    )
                    .unwrap();
                open.push(stream);
                streaming.send(()).unwrap();
            }
        }
    });
    (address, is_streaming)
}

#[test]
fn an_open_stream_does_not_keep_it_from_ending() {
    let folder = Folder::new();
    let (origin, is_streaming) = streaming_origin();
    let mut running = folder.run(&format!(
        "run --origin http://{origin} --listen 127.0.0.1:0"
    ));
    let mut client = TcpStream::connect(running.address()).unwrap();
    client
        .write_all(b"GET /live HTTP/1.1\r\nHost: a.example\r\nAccept: text/event-stream\r\n\r\n")
        .unwrap();
    is_streaming.recv().unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    // Told once it gives the stream ten seconds; told twice it ends.
    kill_process(Pid::from_child(&running.child), Signal::INT).unwrap();
    let mut said = BufReader::new(running.child.stderr.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().contains("Ctrl-C again ends at once"))
        .unwrap()
        .unwrap();
    kill_process(Pid::from_child(&running.child), Signal::INT).unwrap();
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    assert!(said.any(|line| line.unwrap().contains("ended at once")));
}

/// The first minute: the origin is not there yet, and comes.
#[test]
fn an_origin_that_is_not_there_is_told_of() {
    let folder = Folder::new();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut running = folder.run(&format!(
        "run --origin http://{closed} --listen 127.0.0.1:0 --data d"
    ));
    let address = running.address();
    let mut said = BufReader::new(running.child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut hear = |words: &str| said.find(|line| line.contains(words)).unwrap();
    hear("every host is answered as this one site: open http://127.0.0.1:");
    hear("`saqta status --data d` shows what it does");
    hear("does not answer yet: connection refused; until it does, readers get stored pages");
    assert!(fetch(address, "a.example").starts_with("HTTP/1.1 50"));
    let listener = TcpListener::bind(closed).unwrap();
    std::thread::spawn(move || answer_all(&listener));
    assert!((0..100_000).any(|_| fetch(address, "a.example").ends_with("front")));
}

#[test]
fn a_run_without_a_file() {
    let folder = Folder::new();
    let running = folder.run(&format!(
        "run --origin http://{} --listen 127.0.0.1:0 --data d",
        origin()
    ));
    assert!(fetch(running.address(), "whatever.example").ends_with("front"));
    let (code, _, said) = folder.say("reload --data d");
    assert_eq!(code, 2);
    assert!(
        unfolded(&said).contains("was started with --origin")
            && unfolded(&said).contains("start it with -c FILE"),
        "{said}"
    );
    let (code, stdout, stderr) = running.end_with(Signal::INT);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(
        stderr.contains("without --host every host is answered"),
        "{stderr}"
    );
    assert!(stderr.contains("mode protect"), "{stderr}");
}

#[test]
fn init_begins_a_file_that_is_right_and_writes_over_none() {
    let folder = Folder::new();
    let begin = "init --host news.example --host www.news.example --origin http://127.0.0.1:1 --language kk";
    let (code, said, complaint) = folder.say(begin);
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert!(said.contains("127.0.0.1:1 does not answer"), "{said}");
    assert!(said.contains("saqta check -c newsroom.toml"), "{said}");
    let (_, checked, complaint) = folder.say("check -c newsroom.toml");
    assert_eq!(complaint, "");
    assert!(checked.contains("1 site, 2 hosts"), "{checked}");

    let (code, _, complaint) = folder.say(begin);
    assert_eq!(code, 2);
    assert!(
        complaint.contains("newsroom.toml is there already"),
        "{complaint}"
    );
    let (code, _, complaint) = folder.say("init --host news.example --out other.toml");
    assert_eq!(code, 2);
    assert!(
        complaint.contains("give --host NAME and --origin URL"),
        "{complaint}"
    );
    let (code, _, complaint) =
        folder.say("init --host http://a/ --origin 127.0.0.1 --profile generic --out other.toml");
    assert_eq!(code, 2);
    assert!(complaint.contains("2 problems"), "{complaint}");
    assert!(!folder.0.join("other.toml").exists());
}

/// What stands in a data folder's way: what makes it so, and what is said. `check` and `run` say the same, and `run` before it
/// listens.
#[test]
fn a_data_folder_that_cannot_be_used_is_told_of() {
    let folder = Folder::new();
    let origin = origin();
    folder.write(
        "f.toml",
        &format!(
            "listen = \"127.0.0.1:0\"\n[[site]]\nany_host = true\norigin = \"http://{origin}\"\n"
        ),
    );
    folder.write("file", "");
    symlink("nowhere", folder.0.join("link")).unwrap();
    for (name, mode) in [("open", 0o750), ("ours", 0o700), ("mount", 0o700)] {
        fs::DirBuilder::new()
            .mode(mode)
            .create(folder.0.join(name))
            .unwrap();
    }
    // A folder of somebody else's: root can make one, anybody else finds one.
    let foreign = match chown(folder.0.join("ours"), Some(12_345), None) {
        Ok(()) => "ours",
        Err(_) => "/usr",
    };
    let deep = "d".repeat(100);

    let check = |words: &str, remedy: &str, said: &dyn Fn(&str) -> (i32, String, String)| {
        let (code, checked, stderr) = said("check -c f.toml");
        assert_eq!((code, stderr.as_str()), (2, ""), "{checked}");
        let found = checked
            .split("\ndo  ")
            .find(|found| found.starts_with("data folder"))
            .unwrap_or_else(|| panic!("{words}: {checked}"));
        let (code, stdout, ran) = said("run -c f.toml");
        assert_eq!((code, stdout.as_str()), (2, ""), "{ran}");
        for said in [found, &ran] {
            let said = unfolded(said);
            assert!(said.contains(words) && said.contains(remedy), "{said}");
        }
        assert!(!ran.contains("panicked"), "{ran}");
    };
    for (data, words, remedy) in [
        ("file", "file is a file", "choose a folder with --data DIR"),
        (
            "file/below",
            "file is a file",
            "choose a folder with --data DIR",
        ),
        (
            "link",
            "link cannot be looked at: no such file",
            "--data DIR",
        ),
        (
            "open",
            "is open to other users (mode 750)",
            "chmod 700 open",
        ),
        (foreign, "belongs to user", "run it as that user: sudo -u"),
        (
            "/proc/below",
            "cannot make the data folder /proc/below",
            "--data DIR",
        ),
        (
            &deep,
            "the most a socket may have",
            "choose a shorter --data DIR",
        ),
    ] {
        check(words, remedy, &|command| {
            folder.say(&format!("{command} --data {data}"))
        });
    }
    for (data, cannot) in [
        ("mount", "cannot write into mount"),
        ("mount/below", "cannot make the data folder mount/below"),
    ] {
        check(
            &format!("{cannot}: file too large"),
            "ulimit -f unlimited",
            &|command| folder.say_after("ulimit -f 0", &format!("{command} --data {data}")),
        );
        check(
            &format!("{cannot}: no space left on device"),
            "make room there (df -h and df -i show where none is left)",
            &|command| {
                folder.say_among_mounts(
                    "mount -t tmpfs -o size=64k,mode=700 tmpfs mount; ! head -c 1M /dev/zero 2>&- >mount/all",
                    &format!("{command} --data {data}"),
                )
            },
        );
        check(
            &format!("{cannot}: read-only file system"),
            "nothing can be written there at all",
            &|command| {
                folder.say_among_mounts(
                    "mount -t tmpfs -o ro,mode=700 tmpfs mount",
                    &format!("{command} --data {data}"),
                )
            },
        );
    }
    assert!(
        fs::read_dir(folder.0.join("mount"))
            .unwrap()
            .next()
            .is_none()
    );
}

/// A lock and a socket that nobody holds any more are in nobody's way.
#[test]
fn a_run_that_was_killed_is_followed_by_another_at_once() {
    let folder = Folder::new();
    let origin = origin();
    let mut listen = "127.0.0.1:0".to_owned();
    for _ in 0..20 {
        let mut running = folder.run(&format!("run --origin http://{origin} --listen {listen}"));
        let address = running.address();
        assert!(listen.ends_with(":0") || listen == address.to_string());
        listen = address.to_string();
        assert!(fetch(address, "a.example").ends_with("front"));
        assert_eq!(folder.say("bypass on").0, 0);
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert!(folder.0.join("saqta-data/control.sock").exists());
    }
}

#[test]
fn connections_that_ask_nothing_do_not_hold_orders_up() {
    let folder = Folder::new();
    let _running = folder.run(&format!(
        "run --origin http://{} --listen 127.0.0.1:0",
        origin()
    ));
    let socket = folder.0.join("saqta-data/control.sock");
    let mut silent = Vec::new();
    for order in ["status", "bypass on", "reload", "bypass off"] {
        silent.extend((0..200).map(|_| UnixStream::connect(&socket).unwrap()));
        let (code, _, said) = folder.say(order);
        // What runs without a file cannot be reloaded, which is an answer too.
        assert!(code == 0 || said.contains("has no settings file"), "{said}");
    }
}

#[test]
fn a_demo_that_is_ended_says_so() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new();
        let demo = Running::start(folder.saqta("demo --for 2m").env("TMPDIR", &folder.0));
        let (code, said, stderr) = demo.end_with(signal);
        assert_eq!((code, stderr.as_str()), (0, ""));
        let said = unfolded(&said);
        assert!(said.contains("Ended after 0 of"), "{said}");
        assert!(said.ends_with("no file is left behind."), "{said}");
        assert!(fs::read_dir(&folder.0).unwrap().next().is_none());
    }
}

/// Ctrl-C ends all that stand in a pipe, and then only standard error is looked at.
#[test]
fn a_demo_whose_reader_has_left_says_so_to_somebody_else() {
    let folder = Folder::new();
    let mut demo = folder
        .saqta("demo --for 2m")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(demo.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let ended = demo.wait_with_output().unwrap();
    let (code, _, said) = told(ended);
    assert_eq!(code, 0);
    assert!(said.contains("Nothing is left running"), "{said}");
}

#[test]
fn what_a_killed_demo_left_behind_goes_with_the_next() {
    let folder = Folder::new();
    let temporary = || {
        let mut names: Vec<String> = fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let demo = || Running::start(folder.saqta("demo --for 2m").env("TMPDIR", &folder.0));
    // No process has the number 0. One that holds its lock may live where we do not see it; one without has not been ours.
    let kept = ["saqta-drill-0-1", "saqta-drill-0-x", "saqta-drill-others"];
    for name in kept.iter().chain(&["saqta-drill-0-2"]) {
        fs::create_dir(folder.0.join(name)).unwrap();
        folder.write(&format!("{name}/play.lock"), "");
    }
    let held = fs::File::open(folder.0.join("saqta-drill-0-1/play.lock")).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();

    let mut killed = demo();
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let left: Vec<String> = temporary();
    assert_eq!(left.len(), kept.len() + 1, "{left:?}");

    assert_eq!(demo().end_with(Signal::TERM).0, 0);
    assert_eq!(temporary(), kept);
    drop(held);
}
