//! What systemd hears of a mount that serves: that it is alive, and in one line what it is doing.
//!
//! Alive is more than running. Each sign of life goes through what a system call of a web server goes through: a
//! worker thread takes a task, and the kernel passes on a statvfs(2) that comes back. While one of the two hangs, systemd
//! hears nothing, and after `WatchdogSec=` it ends the process and starts another.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use tokio::runtime::Handle;

use super::{Mounted, outside, table};
use crate::{fs::Fs, store::Store, telemetry::ready};

/// The signs of life go on until this is dropped.
#[derive(Debug)]
pub(super) struct Alive {
    _end: Option<SyncSender<()>>,
}

/// Begins to tell systemd that `mounted` lives, if it wants to know.
pub(super) fn tell<S: Store>(mounted: &Mounted<S>, runtime: &Handle) -> io::Result<Alive> {
    let Some(interval) = ready::watchdog_interval() else { return Ok(Alive { _end: None }) };
    let (end, ended) = sync_channel(1);
    let (point, id, runtime) = (mounted.point.clone(), mounted.attached.id(), runtime.clone());
    let (fs, mut said) = (Arc::clone(&mounted.fs), String::new());
    let beat = move || {
        workers_answer(&runtime, interval)?;
        kernel_answers(&point, id)?;
        ready::systemd("WATCHDOG=1");
        let status = serving(&fs);
        if status != said {
            ready::say(&status);
            said = status;
        }
        Ok(())
    };
    thread::Builder::new().name("alive".to_owned()).spawn(move || keep(interval, &ended, beat))?;
    Ok(Alive { _end: Some(end) })
}

/// Calls `beat` now and every `interval`, until the other end of `ended` is dropped. What fails is left out.
fn keep(interval: Duration, ended: &Receiver<()>, mut beat: impl FnMut() -> io::Result<()>) {
    loop {
        if let Err(err) = beat() {
            log::error!("no sign of life for systemd: {err}");
        }
        if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// What a mount is doing, for `systemctl status`.
pub(super) fn serving<S: Store>(fs: &Fs<S>) -> String {
    match fs.staged() {
        (0, _) => "serving".to_owned(),
        (files, bytes) => format!("serving; {files} files ({} KiB) are not in the bucket yet", bytes.div_ceil(1024)),
    }
}

/// A task is taken and done within `limit`.
fn workers_answer(runtime: &Handle, limit: Duration) -> io::Result<()> {
    let (done, told) = sync_channel(1);
    // Nobody listens any more when it comes too late.
    drop(runtime.spawn(async move { done.send(()).ok() }));
    told.recv_timeout(limit).map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the worker threads do not answer"))
}

/// Returns when the mount `id` has answered, which may be never. statvfs(2) is the one question that the kernel always
/// passes on; no bucket is asked for it.
fn kernel_answers(point: &Path, id: u64) -> io::Result<()> {
    // Something else may be mounted over it, and hang for reasons of its own.
    if table::top(point)?.is_none_or(|row| row.id != id) {
        return Ok(());
    }
    let point = point.to_owned();
    let told = outside::ask("alive-ask", move || Ok(statvfs(&point).map(drop)?))?;
    told.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    /// Runs `beat` until it was called `times` times.
    fn beats(times: u32, beat: impl Fn(u32) -> io::Result<()> + Send + 'static) {
        let (end, ended) = sync_channel::<()>(1);
        let mut end = Some(end);
        let count = AtomicU32::new(0);
        keep(Duration::from_millis(1), &ended, move || {
            let before = count.fetch_add(1, Relaxed);
            if before + 1 == times {
                drop(end.take());
            }
            beat(before)
        });
    }

    #[test]
    fn signs_of_life_go_on_until_the_end() {
        let told = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&told);
        beats(5, move |_| {
            counted.fetch_add(1, Relaxed);
            Ok(())
        });
        assert_eq!(told.load(Relaxed), 5);
    }

    #[test]
    fn what_fails_once_is_asked_again() {
        let told = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&told);
        beats(4, move |at| {
            if at == 1 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            counted.fetch_add(1, Relaxed);
            Ok(())
        });
        assert_eq!(told.load(Relaxed), 3);
    }

    #[test]
    fn stuck_workers_are_no_life() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        workers_answer(runtime.handle(), Duration::from_secs(20)).unwrap();
        let (release, held) = sync_channel::<()>(1);
        let (tell, told) = sync_channel(1);
        runtime.spawn(async move {
            tell.send(()).unwrap();
            held.recv().ok();
        });
        told.recv().unwrap();
        let stuck = workers_answer(runtime.handle(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
        drop(release);
        workers_answer(runtime.handle(), Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn what_is_not_our_mount_is_not_asked() {
        // Mount ids begin at 1.
        kernel_answers(Path::new("/"), 0).unwrap();
        kernel_answers(Path::new("/nonexistent/point"), 7).unwrap();
        let root = table::top(Path::new("/")).unwrap().unwrap();
        kernel_answers(Path::new("/"), root.id).unwrap();
    }
}
