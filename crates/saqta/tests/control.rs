//! Orders over the real socket, obeyed by a stand-in for the edge.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use saqta::control::{Answer, Control, ControlError, Order, Which, ask};
use saqta::folder::{Folder, FolderError};

/// A data folder that is not there yet, taken away afterwards.
struct DataFolder(PathBuf);

impl DataFolder {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("saqta-control-{}-{number}", std::process::id())))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        let _never_made = fs::remove_dir_all(&self.0);
    }
}

/// Serves on the folder and passes on what was ordered.
fn serving(data: &Path, answer: Answer) -> (Folder, Control, Receiver<Order>) {
    let folder = Folder::open(data).unwrap();
    let (sender, orders) = sync_channel(16);
    let control = Control::serve(&folder, move |order| {
        sender.send(order).unwrap();
        answer.clone()
    })
    .unwrap();
    (folder, control, orders)
}

fn done(said: &str) -> Answer {
    Answer::Done { said: said.into() }
}

#[test]
fn orders_arrive_and_answers_return() {
    let data = DataFolder::new();
    let refused = Answer::Refused {
        problems: vec!["f:3: no\n    yes".into()],
    };
    for answer in [done("reloaded"), refused] {
        let (_folder, _control, orders) = serving(&data.0, answer.clone());
        for order in [
            Order::Reload,
            Order::Bypass { on: true },
            Order::Bypass { on: false },
            Order::Status,
            Order::Purge {
                which: Which::Url,
                text: "https://news.example/a".into(),
            },
        ] {
            assert_eq!(ask(&data.0, order.clone()).unwrap(), answer);
            assert_eq!(orders.recv().unwrap(), order);
        }
    }
}

#[test]
fn nobody_else_may_enter() {
    let data = DataFolder::new();
    let (_folder, _control, _orders) = serving(&data.0, done(""));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data.0), 0o700);
    assert_eq!(mode(&data.0.join("control.sock")), 0o600);
    assert_eq!(mode(&data.0.join("lock")), 0o600);
}

#[test]
fn one_saqta_a_folder() {
    let data = DataFolder::new();
    let first = Folder::open(&data.0).unwrap();
    let second = Folder::open(&data.0).unwrap_err();
    assert!(matches!(second, FolderError::Taken { .. }), "{second}");
    assert!(
        second
            .to_string()
            .starts_with("another saqta runs on the data folder"),
        "{second}"
    );
    drop(first);
    Folder::open(&data.0).unwrap();
}

#[test]
fn what_a_crash_left_behind_is_replaced() {
    let data = DataFolder::new();
    drop(Folder::open(&data.0).unwrap());
    drop(std::os::unix::net::UnixListener::bind(data.0.join("control.sock")).unwrap());
    assert!(matches!(
        ask(&data.0, Order::Status),
        Err(ControlError::NotRunning { .. })
    ));
    let (_folder, _control, _orders) = serving(&data.0, done("here"));
    assert_eq!(ask(&data.0, Order::Status).unwrap(), done("here"));
}

#[test]
fn without_a_running_saqta_the_error_says_what_to_do() {
    let data = DataFolder::new();
    let error = ask(&data.0, Order::Reload).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("start one with `saqta run`, or give its folder with --data DIR"),
        "{error}"
    );
    let (folder, control, _orders) = serving(&data.0, done(""));
    drop((control, folder));
    assert!(!data.0.join("control.sock").exists());
    assert!(matches!(
        ask(&data.0, Order::Reload),
        Err(ControlError::NotRunning { .. })
    ));
}

#[test]
fn a_path_too_long_for_a_socket_is_said() {
    let data = DataFolder::new();
    let deep = data.0.join("d".repeat(100));
    let folder = Folder::open(&deep).unwrap();
    let error = Control::serve(&folder, |_| done("")).unwrap_err();
    assert!(matches!(error, ControlError::PathTooLong { .. }), "{error}");
    assert!(matches!(
        ask(&deep, Order::Status),
        Err(ControlError::PathTooLong { .. })
    ));
}

/// Whatever a client does, the next order is obeyed.
#[test]
fn bad_clients_hold_nobody_up() {
    let data = DataFolder::new();
    let (_folder, _control, orders) = serving(&data.0, done("obeyed"));
    let connect = || UnixStream::connect(data.0.join("control.sock")).unwrap();
    // More than are listened to at once; each is given up when its time is over, or for those who come later.
    let forgotten: Vec<UnixStream> = (0..200).map(|_| connect()).collect();

    // Nonsense is refused in words.
    for nonsense in [
        "{}\n",
        "reload\n",
        "{\"order\":\"bypass\"}\n",
        "\n",
        "\u{fffd}\n",
    ] {
        let mut client = connect();
        client.write_all(nonsense.as_bytes()).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert!(
            heard.contains("does not know that order"),
            "{nonsense:?}: {heard}"
        );
    }
    // A line without end, nothing at all, half a line: hung up on.
    let mut endless = connect();
    endless.write_all(&[b'a'; 2048]).unwrap();
    let silent = connect();
    let mut half = connect();
    half.write_all(b"{\"order\":").unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();

    assert_eq!(
        ask(&data.0, Order::Bypass { on: true }).unwrap(),
        done("obeyed")
    );
    assert_eq!(
        orders.try_iter().collect::<Vec<_>>(),
        [Order::Bypass { on: true }]
    );
    drop((endless, silent, half, forgotten));
}
