//! Threads whose work may wait: compressing, writing to the disk, reading pages for the search and for their links.
//!
//! Readers are answered by as many threads as there are cores, and during a flood those have no time to spare. A page that is on disk or in the
//! index a moment later harms nobody, so these threads give way, and those on whose work no reader gains give way to everything.

use std::io;
use std::thread::{Builder, JoinHandle};

use rustix::process::setpriority_process;

/// How far a thread gives way: steps of a fifth each (`sched(7)`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Nice {
    /// A tenth of what a shard gets: what is compressed sooner is sent in a quarter of the bytes.
    Soon = 10,
    /// What nobody else wants, and a seventieth of what a shard gets.
    Whenever = 19,
}

/// # Errors
/// When the system gives no thread.
pub(crate) fn spawn(
    name: &str,
    nice: Nice,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux "the calling process" is the thread. Anybody may lower his own priority; if not, the work is done all the same.
        let _as_before = setpriority_process(None, nice as i32);
        work();
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn it_gives_way_alone() {
        let before = getpriority_process(None).unwrap();
        let (tell, told) = sync_channel(1);
        let thread = spawn("gives-way", Nice::Whenever, move || {
            tell.send(getpriority_process(None)).unwrap();
        });
        assert_eq!(
            told.recv().unwrap().unwrap(),
            before.max(Nice::Whenever as i32)
        );
        thread.unwrap().join().unwrap();
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
