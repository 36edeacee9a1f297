//! Orders to a running Saqta: `reload`, `bypass`, `status`, `purge`.
//!
//! One line of JSON each way over a socket in the data folder, which only its owner may enter; whoever can write there could
//! replace the program anyway, so there is no other key. The socket has a thread of its own: an order given because the shards
//! are drowning must not wait for them. Orders are answered one after the other, in the order they come.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::folder::{self, Folder};
use crate::machine::{plainly, writing_remedy};
use crate::status::Status;

/// An address to purge; browsers stop at 2,000 bytes, servers at 8,000.
const ORDER_BYTES_MAX: u64 = 16 * 1024;
/// Fifty problems of a reload, or the figures of a hundred sites.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// To send an order once connected; `bypass` promises to act within a second even behind a client that sends nothing.
const ORDER_WITHIN: Duration = Duration::from_millis(500);
/// To take the answer.
const TAKE_WITHIN: Duration = Duration::from_millis(500);
/// What we wait for an answer: others' orders before ours, and a reload of the longest file.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// `sockaddr_un` holds 108 bytes with the closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    Reload,
    Bypass { on: bool },
    Status,
    Purge { which: Which, text: String },
}

/// What the text of a purge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    Url,
    Prefix,
    Tag,
    /// An address whose copies are taken away, not only made stale.
    Forget,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    Done {
        said: String,
    },
    /// Nothing changed; each problem with its remedy.
    Refused {
        problems: Vec<String>,
    },
    Status {
        status: Box<Status>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the path {} has more than {SOCKET_PATH_BYTES_MAX} bytes, the most a socket may have: choose a shorter --data DIR",
        path.display()
    )]
    PathTooLong { path: PathBuf },
    #[error("cannot make {} for orders: {}\n{}", path.display(), plainly(cause), writing_remedy(cause))]
    Listen { path: PathBuf, cause: io::Error },
    #[error("no Saqta runs on the data folder {}\nstart one with `saqta run`, or give its folder with --data DIR", data.display())]
    NotRunning { data: PathBuf },
    #[error("the Saqta on {} belongs to another user\ngive the order as that user, or with sudo", data.display())]
    NotOurs { data: PathBuf },
    #[error("the Saqta on {} did not answer within {} s: see its log", data.display(), ANSWER_WITHIN.as_secs())]
    Silent { data: PathBuf, source: io::Error },
    #[error("the Saqta on {} answers in words this one does not know: use the same version of both", data.display())]
    Foreign {
        data: PathBuf,
        source: serde_json::Error,
    },
}

/// Answers orders until dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(
        folder: &Folder,
        mut obey: impl FnMut(Order) -> Answer + Send + 'static,
    ) -> Result<Self, ControlError> {
        let path = folder.control_socket();
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(ControlError::PathTooLong { path });
        }
        let failed = |cause| ControlError::Listen {
            path: path.clone(),
            cause,
        };
        // The folder's lock is ours, so whoever left a socket here is gone.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let seen_by_thread = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                for stream in listener.incoming() {
                    if seen_by_thread.load(Ordering::Acquire) {
                        break;
                    }
                    // Whoever hangs up or talks nonsense learns it from the silence; there is nothing for us to do.
                    let _client_left = stream.and_then(|stream| converse(&stream, &mut obey));
                }
            })
            .map_err(failed)?;
        Ok(Self {
            path,
            stopping,
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Connecting wakes the thread from its accept.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _panicked = thread.join();
        }
        let _already_gone = std::fs::remove_file(&self.path);
    }
}

fn converse(stream: &UnixStream, obey: &mut impl FnMut(Order) -> Answer) -> io::Result<()> {
    let line = read_line(stream, ORDER_BYTES_MAX, ORDER_WITHIN)?;
    let answer = match serde_json::from_slice(&line) {
        Ok(order) => obey(order),
        Err(_) => Answer::Refused {
            problems: vec![
                "this Saqta does not know that order: use the same version of both".into(),
            ],
        },
    };
    stream.set_write_timeout(Some(TAKE_WITHIN))?;
    write_line(stream, &answer)
}

/// Gives an order to the Saqta that runs on this data folder.
///
/// # Errors
/// When none runs, or it does not answer.
pub fn ask(data: &Path, order: Order) -> Result<Answer, ControlError> {
    let path = folder::control_socket(data);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(ControlError::PathTooLong { path });
    }
    let silent = |source| ControlError::Silent {
        data: data.into(),
        source,
    };
    let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ControlError::NotOurs { data: data.into() },
        _ => ControlError::NotRunning { data: data.into() },
    })?;
    stream
        .set_write_timeout(Some(TAKE_WITHIN))
        .map_err(silent)?;
    write_line(&stream, &order).map_err(silent)?;
    let line = read_line(&stream, ANSWER_BYTES_MAX, ANSWER_WITHIN).map_err(silent)?;
    serde_json::from_slice(&line).map_err(|source| ControlError::Foreign {
        data: data.into(),
        source,
    })
}

fn write_line(mut stream: &UnixStream, said: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// One line within the time, however slowly its bytes come.
fn read_line(stream: &UnixStream, bytes_max: u64, within: Duration) -> io::Result<Vec<u8>> {
    /// Each read may take what is left of the time.
    struct Until<'s> {
        stream: &'s UnixStream,
        deadline: Instant,
    }
    impl Read for Until<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            self.stream.read(buffer)
        }
    }
    let until = Until {
        stream,
        deadline: Instant::now() + within,
    };
    let mut line = Vec::new();
    BufReader::new(until.take(bytes_max)).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
