//! Questions of this process to its own mount.
//!
//! A thread that waits for an answer of the mount cannot be killed (fs/fuse/dev.c, `request_wait_answer`), and it holds
//! the file table of its process, in which the device is: after a kill the device would stay open, nobody would answer,
//! and the thread would wait for ever, with all others at the mount. So who asks has a table of its own, without the
//! device. The other one goes with the process, and with the last device the kernel ends the connection.

use std::{
    fs, io,
    os::fd::RawFd,
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::close,
};

/// What the kernel calls a file that a FUSE file system is served through.
const DEVICE: &str = "/dev/fuse";

/// Has a thread of that name `ask`, who may open files and must use none that is open here. A mount that does not answer
/// cannot be waited for with a deadline; what the thread will tell can.
pub(super) fn ask<T: Send + 'static>(
    name: &str,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Receiver<io::Result<T>>> {
    ask_without(name, Path::new(DEVICE), ask)
}

fn ask_without<T: Send + 'static>(
    name: &str,
    device: &'static Path,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Receiver<io::Result<T>>> {
    let (tell, told) = sync_channel(1);
    let asking = move || {
        // A mount that answers is worth more than one that goes by itself when it is killed.
        without(device).unwrap_or_else(|err| log::warn!("killed now, this mount may hang: {err}"));
        // Nobody listens any more when it comes too late.
        drop(tell.send(ask()));
    };
    thread::Builder::new().name(name.to_owned()).spawn(asking)?;
    Ok(told)
}

/// Gives this thread a file table of its own, without the files that show as `device`.
fn without(device: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    for fd in shown_as(device)? {
        close(fd)?;
    }
    Ok(())
}

fn shown_as(device: &Path) -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    // Of this thread: /proc/self is that of the first one.
    for entry in fs::read_dir("/proc/thread-self/fd")? {
        let entry = entry?;
        // One is that of the directory itself, which is closed after the loop.
        if fs::read_link(entry.path()).is_ok_and(|shown| shown == device) {
            found.extend(entry.file_name().to_str().and_then(|fd| fd.parse::<RawFd>().ok()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::{fd::AsRawFd as _, unix::net::UnixStream},
        time::Duration,
    };

    use super::*;

    #[test]
    fn who_asks_does_not_hold_the_device() {
        let (device, mut other) = UnixStream::pair().unwrap();
        let shown = fs::read_link(format!("/proc/self/fd/{}", device.as_raw_fd())).unwrap();
        let (begins, begun) = sync_channel(1);
        let (go_on, waits) = sync_channel::<()>(1);
        let asks = move || {
            begins.send(()).unwrap();
            waits.recv().map_err(io::Error::other)?;
            Ok(7)
        };
        let told = ask_without("asks", Box::leak(shown.into_boxed_path()), asks).unwrap();
        begun.recv().unwrap();
        // As at the end of the process: closed everywhere, while somebody still asks.
        drop(device);
        other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "nobody has it any more");
        go_on.send(()).unwrap();
        assert_eq!(told.recv().unwrap().unwrap(), 7);
    }
}
