//! What lies beneath a mount.

use std::{io, os::fd::OwnedFd, path::Path, thread};

use nix::{
    fcntl::{OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
};

use super::table::{self, TYPE};

/// The directory that a mount of ours at `point` covers. Nothing changes for anybody else: the mount is taken away in a
/// mount namespace (unshare(2)) that only a thread of ours has, and only until the directory is open. Needs
/// root. Fails if something else is mounted in that directory.
pub fn beneath(point: &Path) -> io::Result<OwnedFd> {
    let point = point.to_owned();
    let look = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Else what happens here would happen outside.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        while table::top(&point)?.is_some_and(|row| row.kind == TYPE) {
            umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        }
        if let Some(inside) = table::below(&point)? {
            return Err(io::Error::other(format!("{} is mounted beneath it", inside.display())));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(open(&point, flags, Mode::empty())?)
    };
    let thread = thread::Builder::new().name("beneath".to_owned()).spawn(look)?;
    thread.join().map_err(|_| io::Error::other("it panicked"))?
}
