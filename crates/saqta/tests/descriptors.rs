//! A machine that grants few open files: strangers who connect and say nothing must not take what the origin is reached with.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const FILES: &str = "64";

struct Running {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Running {
    fn start(origin: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("saqta-files-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh", FILES])
            .arg(env!("CARGO_BIN_EXE_saqta"))
            .args(["run", "--listen", "127.0.0.1:0", "--origin"])
            .arg(format!("http://{origin}"))
            .current_dir(&folder)
            .env_remove("JOURNAL_STREAM")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let address = first.strip_prefix("listening http://");
        let address = address.unwrap_or_else(|| panic!("{first}"));
        Self {
            child,
            address: address.trim().parse().unwrap(),
            folder,
        }
    }

    /// In one line.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn status(&self) -> String {
        let said = Command::new(env!("CARGO_BIN_EXE_saqta"))
            .arg("status")
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        let said = String::from_utf8(said.stdout).unwrap();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        let _left_behind = fs::remove_dir_all(&self.folder);
    }
}

fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let head = BufReader::new(&stream).lines();
                let _head = head
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .count();
                let _client_left = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfront",
                );
            });
        }
    });
    address
}

fn connect_from(address: Ipv4Addr, edge: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&edge.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes for one request on a connection that stays.
fn get(stream: &mut TcpStream, path: &str) -> String {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes())
        .unwrap();
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while !said.ends_with(b"front") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => said.extend_from_slice(&chunk[..bytes]),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn silent_strangers_do_not_take_the_files_the_origin_is_reached_with() {
    let running = Running::start(origin());
    let log = running.log();
    assert!(log.contains("64 open files are granted"), "{log}");
    assert!(log.contains("LimitNOFILE="), "{log}");

    let mut reader = connect_from(Ipv4Addr::new(127, 0, 2, 1), running.address);
    assert!(get(&mut reader, "/first").ends_with("front"));
    let mut silent: Vec<TcpStream> = (0..100)
        .map(|number| connect_from(Ipv4Addr::new(127, 0, 1, number), running.address))
        .collect();
    // The last ones were turned away, so all were looked at.
    for stream in silent.iter_mut().rev().take(50) {
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }
    for page in 0..5 {
        let answer = get(&mut reader, &format!("/page/{page}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let status = running.status();
    assert!(
        status.contains("64 open files that are granted"),
        "{status}"
    );
    assert!(status.contains("LimitNOFILE="), "{status}");
    assert!(status.contains(" is up "), "{status}");
}
