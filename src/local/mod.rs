//! The local store: names that the bucket never hears of, as real files and directories with their own names, so that
//! an administrator can look at them.
//!
//! ```text
//! local/      what local-only names hold, by their paths from the root of the mount
//! local.new/  what is being made, or may have to come back; worth nothing after a crash
//! ```
//!
//! A *frame* is a directory here that stands for one of the bucket and exists only because something local-only is
//! below it. It carries the set-user-ID bit, which means nothing on a directory, and goes with the last thing in it.
//!
//! No path leads out: every component is opened by itself, and none that is a symbolic link.

mod place;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, atomic::AtomicU64},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::{
        stat::{
            FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, futimens, mkdirat,
            utimensat,
        },
        time::TimeSpec,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat},
};

pub use place::{Placed, Scratch};
pub use walk::{Item, Usage};

use crate::{
    error::{Error, Result},
    model::attr::{Attr, Kind, Time},
};

/// What marks a frame.
const FRAME: u32 = libc::S_ISUID;
/// Nobody but this process needs to get in.
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// The local store of one mount.
///
/// Paths are relative, with `/` between their names, and empty for the root. None of the calls takes [`Disk::turn`] by
/// itself: who looks and then acts holds it over both.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    scratch: PathBuf,
    turn: Mutex<()>,
    serial: AtomicU64,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// As the disk has it.
    pub attr: Attr,
    pub frame: bool,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum New<'a> {
    File,
    Dir,
    Symlink(&'a OsStr),
}

/// What is to change of something that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
}

impl Disk {
    /// The store in the directories `local` and `local.new` of `dir`, on one file system. They are made when they are
    /// first needed.
    pub fn new(dir: &Path) -> Self {
        let [root, scratch] = ["local", "local.new"].map(|name| dir.join(name));
        Self { root, scratch, turn: Mutex::default(), serial: AtomicU64::new(0) }
    }

    /// Drops what a former run was making, and frames that it left empty. To be called before anything is made.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.scratch) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(told_io(err)),
            _ => {}
        }
        let items = self.walk("", walk::COUNT_MAX)?.unwrap_or_default();
        // What is below comes after its directory.
        items.iter().rev().filter(|item| item.entry.frame).for_each(|item| self.trim(&item.path));
        Ok(())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is here does not change, by our own hand, while this is held. Local calls alone are made meanwhile.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().expect("nothing panics while it holds this lock")
    }

    /// `None`: nothing is there, or something that no mount made (a pipe).
    pub fn stat(&self, path: &str) -> Result<Option<Entry>> {
        let stat = self.at(path).and_then(|(dir, name)| fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Ok(entry(&stat)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(told(errno)),
        }
    }

    /// Makes a file, directory or symlink where nothing is. Gives a file opened for reading and writing.
    pub fn make(&self, path: &str, new: New<'_>) -> Result<Option<File>> {
        self.framed(path, |dir, name| match new {
            New::File => {
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let made = openat(dir, name, flags, Mode::from_bits_truncate(PRIVATE_FILE))?;
                Ok(Some(File::from(made)))
            }
            New::Dir => mkdirat(dir, name, Mode::from_bits_truncate(PRIVATE_DIR)).map(|()| None),
            New::Symlink(target) => symlinkat(target, dir, name).map(|()| None),
        })
    }

    /// Opens a file for reading and, where the host lets us or `write` demands it, for writing.
    pub fn open(&self, path: &str, write: bool) -> Result<File> {
        let (dir, name) = self.at(path).map_err(told)?;
        let common = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let opened = match openat(&dir, name, OFlag::O_RDWR | common, Mode::empty()) {
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if !write => {
                openat(&dir, name, OFlag::O_RDONLY | common, Mode::empty())
            }
            opened => opened,
        };
        opened.map(File::from).map_err(told)
    }

    pub fn read_link(&self, path: &str) -> Result<OsString> {
        let (dir, name) = self.at(path).map_err(told)?;
        readlinkat(&dir, name).map_err(told)
    }

    /// Changes what is there; not what a symlink leads to.
    pub fn change(&self, path: &str, change: &Change) -> Result<()> {
        let (dir, name) = self.at(path).map_err(told)?;
        if change.uid.is_some() || change.gid.is_some() {
            let (uid, gid) = (change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw));
            fchownat(&dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(told)?;
        }
        let link = self.stat(path)?.is_none_or(|entry| entry.attr.kind == Kind::Symlink);
        if let Some(mode) = change.mode.filter(|_| !link) {
            let mode = Mode::from_bits_truncate(mode & !FRAME);
            fchmodat(&dir, name, mode, FchmodatFlags::FollowSymlink).map_err(told)?;
        }
        if let Some(mtime) = change.mtime {
            let omit = TimeSpec::UTIME_OMIT;
            utimensat(&dir, name, &omit, &spec(mtime), UtimensatFlags::NoFollowSymlink).map_err(told)?;
        }
        Ok(())
    }

    /// Removes a file or symlink, and the frames that only it needed.
    pub fn unlink(&self, path: &str) -> Result<()> {
        self.remove(path, UnlinkatFlags::NoRemoveDir)
    }

    /// As [`Self::unlink`], for an empty directory.
    pub fn rmdir(&self, path: &str) -> Result<()> {
        self.remove(path, UnlinkatFlags::RemoveDir)
    }

    fn remove(&self, path: &str, what: UnlinkatFlags) -> Result<()> {
        let (dir, name) = self.at(path).map_err(told)?;
        unlinkat(&dir, name, what).map_err(told)?;
        self.trim(above(path));
        Ok(())
    }

    /// A directory, with all components that lead to it.
    fn dir(&self, path: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = nix::fcntl::open(&self.root, flags, Mode::empty())?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = openat(&at, name, flags, Mode::empty())?;
        }
        Ok(at)
    }

    /// The directory of a path, and its last name.
    fn at<'a>(&self, path: &'a str) -> nix::Result<(OwnedFd, &'a str)> {
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).ok_or(Errno::EINVAL)?;
        Ok((self.dir(above(path))?, name))
    }

    /// As [`Self::at`] for `work`, which puts something there. Directories that are missing are made as frames.
    fn framed<T>(&self, path: &str, work: impl FnOnce(&OwnedFd, &str) -> nix::Result<T>) -> Result<T> {
        self.frame(above(path)).map_err(told)?;
        let done = self.at(path).and_then(|(dir, name)| work(&dir, name));
        if done.is_err() {
            self.trim(above(path));
        }
        done.map_err(told)
    }

    fn frame(&self, path: &str) -> nix::Result<()> {
        if self.dir(path).is_ok() {
            return Ok(());
        }
        private_dir(&self.root)?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for part in ends.map(|end| &path[..end]).filter(|part| !part.is_empty()) {
            let (dir, name) = self.at(part)?;
            match mkdirat(&dir, name, Mode::from_bits_truncate(PRIVATE_DIR)) {
                Ok(()) => {
                    let mode = Mode::from_bits_truncate(PRIVATE_DIR | FRAME);
                    fchmodat(&dir, name, mode, FchmodatFlags::FollowSymlink)?;
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Removes empty frames, from `path` upwards.
    pub fn trim(&self, path: &str) {
        let mut path = path;
        while !path.is_empty() {
            let frame = self.stat(path).ok().flatten().is_some_and(|entry| entry.frame);
            let gone = || self.at(path).and_then(|(dir, name)| unlinkat(&dir, name, UnlinkatFlags::RemoveDir));
            if !frame || gone().is_err() {
                return;
            }
            path = above(path);
        }
    }
}

/// The path of the directory that a path is in.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn private_dir(path: &Path) -> nix::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path);
    made.map_err(|err| err.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

fn entry(stat: &FileStat) -> Option<Entry> {
    let kind = Kind::from_mode(stat.st_mode).filter(|kind| !kind.is_special())?;
    let size = if kind == Kind::Dir { 0 } else { u64::try_from(stat.st_size).unwrap_or(0) };
    let time = |sec, nsec| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    let mtime = time(stat.st_mtime, stat.st_mtime_nsec);
    let attr = Attr {
        kind,
        size,
        mtime,
        // Reading moves that of the disk.
        atime: mtime,
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
    };
    Some(Entry { attr, frame: kind == Kind::Dir && stat.st_mode & FRAME != 0 })
}

fn spec(time: Time) -> TimeSpec {
    TimeSpec::new(time.sec, time.nsec.into())
}

/// Attributes of an open file.
pub fn attr_of(file: &File) -> Result<Attr> {
    let stat = fstat(file).map_err(told)?;
    entry(&stat).map(|entry| entry.attr).ok_or(Error::Stale)
}

/// As [`Disk::change`], for a file that is open, with a name or without.
pub fn change_open(file: &File, change: &Change) -> Result<()> {
    if change.uid.is_some() || change.gid.is_some() {
        fchown(file, change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw)).map_err(told)?;
    }
    if let Some(mode) = change.mode {
        fchmod(file, Mode::from_bits_truncate(mode)).map_err(told)?;
    }
    if let Some(mtime) = change.mtime {
        futimens(file, &TimeSpec::UTIME_OMIT, &spec(mtime)).map_err(told)?;
    }
    Ok(())
}

/// What the disk says, as callers know it.
pub fn told(errno: Errno) -> Error {
    match errno {
        Errno::ENOENT => Error::NotFound,
        Errno::EEXIST => Error::Exists,
        Errno::ENOTEMPTY => Error::NotEmpty,
        Errno::ENOTDIR | Errno::ELOOP => Error::NotDir,
        Errno::EISDIR => Error::IsDir,
        Errno::ENAMETOOLONG => Error::NameTooLong,
        Errno::EFBIG => Error::TooLarge,
        Errno::ENOSPC | Errno::EDQUOT => Error::NoSpace,
        Errno::EINVAL => Error::Invalid,
        Errno::EOPNOTSUPP => Error::Unsupported,
        Errno::ENXIO => Error::NoPosition,
        Errno::EACCES => Error::Denied,
        Errno::EPERM => Error::NotPermitted,
        Errno::EROFS => Error::ReadOnly,
        Errno::EBADF => Error::BadHandle,
        other => Error::unavailable(other),
    }
}

/// As for [`Disk`], of a call through std.
pub fn told_io(err: io::Error) -> Error {
    match err.raw_os_error() {
        Some(raw) => told(Errno::from_raw(raw)),
        None => Error::unavailable(err),
    }
}
