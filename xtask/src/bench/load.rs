//! What is sent: single requests to see that an answer is right, then wrk for the load.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::root;

/// A server that takes longer to answer one request on an idle machine is not measured but mended.
const ANSWER_SECONDS_MAX: u64 = 10;
/// Head and body of the largest answer asked for here, with room.
const ANSWER_BYTES_MAX: usize = 1 << 20;
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// One kept connection that asks as a browser would.
pub(crate) struct Browser {
    stream: TcpStream,
    fields: String,
    /// `; name=value` of the one it was given last, as browsers send it from then on.
    given: String,
    read: Vec<u8>,
}

impl Browser {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
        let fields = fs::read_to_string(root::path().join("bench/browser.headers"))
            .context("reading bench/browser.headers")?
            .replace('\n', "\r\n");
        Ok(Self {
            stream,
            fields,
            given: String::new(),
            read: Vec::new(),
        })
    }

    pub(crate) fn get(&mut self, target: &str) -> Result<Answer> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: newsroom.test\r\n{}Cookie: _ga=GA1.1.1{}\r\n\r\n",
            self.fields, self.given
        );
        self.stream
            .write_all(request.as_bytes())
            .context("asking")?;
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]);
        let given = head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(pair) = given.and_then(|cookie| cookie.split(';').next()) {
            self.given = format!("; {pair}");
        }
        let head = head.to_ascii_lowercase();
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .with_context(|| format!("an answer that is none: {head}"))?;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse().ok())
            .with_context(|| format!("an answer without its length: {head}"))?;
        while self.read.len() < end + length {
            self.more()?;
        }
        let body = self.read[end..end + length].to_vec();
        self.read.drain(..end + length);
        Ok(Answer { status, body })
    }

    fn more(&mut self) -> Result<()> {
        let mut part = [0; 16 * 1024];
        let bytes = self
            .stream
            .read(&mut part)
            .context("waiting for an answer")?;
        if bytes == 0 {
            bail!("the connection was closed instead of an answer");
        }
        self.read.extend_from_slice(&part[..bytes]);
        if self.read.len() > ANSWER_BYTES_MAX {
            bail!("an answer of more than {ANSWER_BYTES_MAX} bytes");
        }
        Ok(())
    }
}

/// What wrk saw; printed by `done` in `bench/load.lua`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Answers with a status of 400 or more.
    pub(crate) refused: u64,
    /// Connections that failed or were cut, and answers that never came.
    pub(crate) broken: u64,
    pub(crate) microseconds: u64,
    /// Closed loop at saturation: good for comparing, not for promising.
    pub(crate) p99_microseconds: u64,
}

/// Runs wrk over `connections` to `address` for `seconds`, on `core`, with the words that `bench/load.lua` wants.
pub(crate) fn wrk(
    address: SocketAddr,
    connections: u32,
    seconds: u32,
    core: usize,
    words: &[&str],
) -> Result<Seen> {
    let output = Command::new("taskset")
        .args(["--cpu-list", &core.to_string(), "wrk", "--threads", "1"])
        .args(["--connections", &connections.to_string()])
        .args([
            "--duration",
            &format!("{seconds}s"),
            "--script",
            "bench/load.lua",
        ])
        .arg(format!("http://{address}/"))
        .arg("--")
        .args(words)
        .current_dir(root::path())
        .stdin(Stdio::null())
        .output()
        .context("starting wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(seen).with_context(|| {
        format!(
            "wrk measured nothing: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn seen(line: &str) -> Option<Seen> {
    let mut words = line.strip_prefix("measured ")?.split(' ');
    let mut next = |name| {
        (words.next()? == name)
            .then(|| words.next()?.parse().ok())
            .flatten()
    };
    Some(Seen {
        requests: next("requests")?,
        refused: next("refused")?,
        broken: next("broken")?,
        microseconds: next("microseconds")?,
        p99_microseconds: next("p99")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        let line = "measured requests 300123 refused 0 broken 2 microseconds 3004512 p99 1640";
        let expected = Seen {
            requests: 300_123,
            refused: 0,
            broken: 2,
            microseconds: 3_004_512,
            p99_microseconds: 1_640,
        };
        assert_eq!(seen(line), Some(expected));
        assert_eq!(seen("Requests/sec: 100.0"), None);
        assert_eq!(seen("measured requests many"), None);
    }
}
