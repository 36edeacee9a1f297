//! Orders to a running Saqta: `reload`, `bypass`, `status`, `purge`, `staff`, `decode`, `bundle`.
//!
//! One line of JSON each way over a socket in the data folder, which only its owner may enter; whoever can write there could
//! replace the program anyway, so there is no other key. The socket has a thread of its own: an order given because the shards
//! are drowning must not wait for them.
//!
//! Nor may it wait for other callers: a monitor that opens connections and forgets them is found out on the day of the attack. So
//! all of them are listened to at once, each for half a second, and when there are too many the one that called first is hung up
//! on: whoever calls now is heard. Orders themselves are obeyed one after the other, in the order they come.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::decoding::Decoded;
use crate::folder::{self, Folder};
use crate::machine::{plainly, writing_remedy};
use crate::status::Status;

/// An address to purge; browsers stop at 2,000 bytes, servers at 8,000.
const ORDER_BYTES_MAX: u64 = 16 * 1024;
/// Fifty problems of a reload, or the figures of a hundred sites.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Callers at once. A person, a timer and a few monitors are ten; each holds one of the open files that readers need.
const CALLERS_MAX: usize = 32;
/// To send an order once connected.
const ORDER_WITHIN: Duration = Duration::from_millis(500);
/// To take the answer.
const TAKE_WITHIN: Duration = Duration::from_millis(500);
/// What we wait for an answer: others' orders before ours, and a reload of the longest file.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// No file was left for a caller: one comes free as soon as a reader leaves.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// `sockaddr_un` holds 108 bytes with the closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    Reload,
    Bypass {
        on: bool,
    },
    Status,
    Purge {
        which: Which,
        text: String,
    },
    /// To be staff. `site`: where there is more than one.
    Invite {
        site: Option<String>,
        label: String,
        days: u16,
    },
    Invited,
    Revoke {
        label: String,
    },
    /// What the short code on a reader's page says.
    Decode {
        code: String,
    },
    /// To put the record of a handing over into the ledger, and to prove it and the entry it is `of`.
    Keep {
        case: String,
        record: String,
        of: u64,
    },
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
    /// There was nothing to do it to; what to check.
    Nothing {
        said: String,
    },
    /// Nothing changed; each problem with its remedy.
    Refused {
        problems: Vec<String>,
    },
    Status {
        status: Box<Status>,
    },
    Decoded {
        decoded: Box<Decoded>,
    },
    /// Proofs, as text.
    Kept {
        of: String,
        kept: String,
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

/// Where orders to the Saqta on this data folder go.
///
/// # Errors
/// When no socket can have that path.
pub(crate) fn socket_path(data: &Path) -> Result<PathBuf, ControlError> {
    let path = folder::control_socket(data);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(ControlError::PathTooLong { path });
    }
    Ok(path)
}

/// Answers orders until dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(
        folder: &Folder,
        obey: impl Fn(Order) -> Answer + Send + Sync + 'static,
    ) -> Result<Self, ControlError> {
        let path = socket_path(folder.path())?;
        let failed = |cause| ControlError::Listen {
            path: path.clone(),
            cause,
        };
        // The folder's lock is ours, so whoever left a socket here is gone.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(&path).map_err(failed)?
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let obey = Arc::new(obey);
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = listen(&listener, &obey) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self {
            path,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        let _already_gone = std::fs::remove_file(&self.path);
    }
}

async fn listen<O>(listener: &UnixListener, obey: &Arc<O>)
where
    O: Fn(Order) -> Answer + Send + Sync + 'static,
{
    // The one that called first in front.
    let mut callers: VecDeque<AbortHandle> = VecDeque::with_capacity(CALLERS_MAX);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        callers.retain(|caller| !caller.is_finished());
        if callers.len() == CALLERS_MAX
            && let Some(first) = callers.pop_front()
        {
            first.abort();
        }
        let obey = Arc::clone(obey);
        let caller = tokio::spawn(async move {
            // Whoever hangs up or talks nonsense learns it from the silence; there is nothing for us to do.
            let _client_left = converse(stream, &*obey).await;
        });
        callers.push_back(caller.abort_handle());
        // However many wait to be accepted: an order that is there already is read first.
        tokio::task::yield_now().await;
    }
}

async fn converse(
    mut stream: tokio::net::UnixStream,
    obey: &(impl Fn(Order) -> Answer + Sync),
) -> io::Result<()> {
    let (heard, mut said) = stream.split();
    let mut heard = tokio::io::BufReader::new(heard.take(ORDER_BYTES_MAX));
    let mut line = Vec::new();
    timeout(ORDER_WITHIN, heard.read_until(b'\n', &mut line)).await??;
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let answer = match serde_json::from_slice(line) {
        Ok(order) => obey(order),
        Err(_) => Answer::Refused {
            problems: vec![
                "this Saqta does not know that order: use the same version of both".into(),
            ],
        },
    };
    timeout(TAKE_WITHIN, said.write_all(&line_of(&answer)?)).await?
}

/// Gives an order to the Saqta that runs on this data folder.
///
/// # Errors
/// When none runs, or it does not answer.
pub fn ask(data: &Path, order: Order) -> Result<Answer, ControlError> {
    let path = socket_path(data)?;
    let silent = |source| ControlError::Silent {
        data: data.into(),
        source,
    };
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ControlError::NotOurs { data: data.into() },
        _ => ControlError::NotRunning { data: data.into() },
    })?;
    stream
        .set_write_timeout(Some(TAKE_WITHIN))
        .map_err(silent)?;
    line_of(&order)
        .and_then(|line| stream.write_all(&line))
        .map_err(silent)?;
    let line = read_answer(&stream).map_err(silent)?;
    serde_json::from_slice(&line).map_err(|source| ControlError::Foreign {
        data: data.into(),
        source,
    })
}

fn line_of(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    Ok(line)
}

/// One line within the time, however slowly its bytes come.
fn read_answer(stream: &UnixStream) -> io::Result<Vec<u8>> {
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
        deadline: Instant::now() + ANSWER_WITHIN,
    };
    let mut line = Vec::new();
    BufReader::new(until.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
