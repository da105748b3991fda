//! The directory that is adopted, held by a descriptor: a mount over its path does not hide it from us, and no symbolic
//! link that an application puts in the way leads us out of it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat},
    sys::stat::{FileStat, Mode, fstat, fstatat, major, minor},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::note::Note;
use crate::model::attr::{Attr, Kind, Time};

/// A directory, and all below it on its file system. Paths are relative, with `/` between names, and empty for the root.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    dev: u64,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    pub attr: Attr,
    pub stamp: Stamp,
}

/// What tells that a file is still the same, with the same bytes: as far as its file system counts time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Time,
    ctime: Time,
}

impl Stamp {
    /// Whether it was changed at this time or later.
    pub fn is_since(&self, time: Time) -> bool {
        self.ctime >= time
    }

    /// A file that was changed this moment may change again without showing it. Whether its last change is far enough
    /// from `now`: file systems count in steps of a few milliseconds, some in seconds.
    pub fn is_settled(&self, now: Time) -> bool {
        let nanos = |time: Time| i128::from(time.sec) * 1_000_000_000 + i128::from(time.nsec);
        let step = if self.ctime.nsec == 0 { 2_000_000_000 } else { 100_000_000 };
        nanos(self.ctime) + step < nanos(now)
    }
}

impl Tree {
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::of(open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// The directory that was opened.
    pub fn of(root: OwnedFd) -> io::Result<Self> {
        let dev = fstat(&root)?.st_dev;
        Ok(Self { root, dev })
    }

    /// The names in a directory. What goes away meanwhile is left out.
    pub fn list(&self, path: &str) -> io::Result<Vec<(OsString, Found)>> {
        let opened = self.at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = Dir::from_fd(opened)?;
        let listed: Vec<_> = dir.iter().collect::<nix::Result<_>>()?;
        let mut names = Vec::with_capacity(listed.len());
        for listed in listed {
            let name = OsStr::from_bytes(listed.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => names.extend(found(&stat).map(|found| (name.to_owned(), found))),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(names)
    }

    /// Whether it is on the file system of the root, and not mounted below it.
    pub fn has(&self, found: &Found) -> bool {
        found.stamp.dev == self.dev
    }

    /// A file for reading, as it is now. Fails for anything else.
    pub fn file(&self, path: &str) -> io::Result<(File, Found)> {
        let file = File::from(self.at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        let found = stat(&file)?;
        if found.attr.kind != Kind::File {
            return Err(Errno::ELOOP.into());
        }
        Ok((file, found))
    }

    /// What is at a path, itself.
    pub fn look(&self, path: &str) -> io::Result<Found> {
        let (dir, name) = self.above(path)?;
        let stat = fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        found(&stat).ok_or_else(|| Errno::EINVAL.into())
    }

    /// Where a symbolic link leads.
    pub fn target(&self, path: &str) -> io::Result<OsString> {
        let (dir, name) = self.above(path)?;
        Ok(readlinkat(&dir, name)?)
    }

    /// Removes what is no directory, if it still is as it was.
    pub fn remove(&self, path: &str, stamp: &Stamp) -> io::Result<bool> {
        let (dir, name) = self.above(path)?;
        let stat = fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if found(&stat).is_none_or(|found| found.stamp != *stamp) {
            return Ok(false);
        }
        unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?;
        Ok(true)
    }

    /// Removes a directory if it is empty. Whether it did.
    pub fn remove_dir(&self, path: &str) -> io::Result<bool> {
        let (dir, name) = self.above(path)?;
        match unlinkat(&dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Leaves a note in the root.
    pub fn leave(&self, note: &Note) -> io::Result<()> {
        note.write(&self.root)
    }

    /// The note in the root.
    pub fn note(&self) -> Option<Note> {
        Note::read_in(&self.root)
    }

    /// Takes the note away.
    pub fn forget_note(&self) -> io::Result<()> {
        Note::remove(&self.root)
    }

    /// The directory above, and the name in it.
    fn above<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.at(above, OFlag::O_PATH | OFlag::O_DIRECTORY)?, name))
    }

    fn at(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let inside = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).resolve(inside);
        Ok(openat2(self.root.as_fd(), path, how)?)
    }
}

/// What an open file is now.
pub fn stat(file: &File) -> io::Result<Found> {
    found(&fstat(file)?).ok_or_else(|| Errno::EINVAL.into())
}

/// Whether some program has a file open for writing, as far as the kernel tells: it grants no lease then (fcntl(2)).
#[expect(unsafe_code, reason = "there is no safe form of F_SETLEASE")]
pub fn is_open_for_writing(file: &File) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and the third argument of F_SETLEASE is an int.
        Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) })
    };
    match lease(libc::F_RDLCK) {
        Ok(_) => {
            // Nobody has to wait for it. It ends with the descriptor at the latest.
            lease(libc::F_UNLCK).ok();
            false
        }
        Err(errno) => errno == Errno::EAGAIN,
    }
}

/// `None`: a kind that nothing here knows.
fn found(stat: &FileStat) -> Option<Found> {
    let kind = Kind::from_mode(stat.st_mode)?;
    let time = |sec, nsec: i64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    let (mtime, ctime) = (time(stat.st_mtime, stat.st_mtime_nsec), time(stat.st_ctime, stat.st_ctime_nsec));
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let attr = Attr {
        kind,
        size: if matches!(kind, Kind::File | Kind::Symlink) { size } else { 0 },
        mtime,
        // Reading moves that of the disk.
        atime: mtime,
        ctime,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: if kind.is_device() { encode(major(stat.st_rdev), minor(stat.st_rdev)) } else { 0 },
    };
    Some(Found { attr, stamp: Stamp { dev: stat.st_dev, ino: stat.st_ino, size, mtime, ctime } })
}

/// `new_encode_dev` of the kernel.
fn encode(major: u64, minor: u64) -> u32 {
    u32::try_from((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::PathBuf};

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("originfs-tree-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("in/sub")).unwrap();
            Self(dir)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn no_link_leads_out() {
        let place = Place::new("out");
        fs::write(place.0.join("secret"), "s").unwrap();
        symlink("../secret", place.0.join("in/file")).unwrap();
        symlink("..", place.0.join("in/dir")).unwrap();
        let tree = Tree::open(&place.0.join("in")).unwrap();
        for path in ["file", "dir/secret", "../secret", "/etc/passwd"] {
            assert!(tree.file(path).is_err(), "{path}");
        }
        assert!(tree.list("dir").is_err() && tree.remove_dir("dir/in").is_err());
        assert_eq!(tree.look("file").unwrap().attr.kind, Kind::Symlink);
        assert_eq!(tree.target("file").unwrap(), "../secret");
    }

    #[test]
    fn only_what_is_as_it_was_is_removed() {
        let place = Place::new("remove");
        fs::write(place.0.join("in/sub/a"), "1").unwrap();
        let tree = Tree::open(&place.0.join("in")).unwrap();
        let (_, before) = tree.file("sub/a").unwrap();
        fs::write(place.0.join("in/sub/a"), "22").unwrap();
        assert!(!tree.remove("sub/a", &before.stamp).unwrap() && !tree.remove_dir("sub").unwrap());
        let now = tree.look("sub/a").unwrap();
        assert!(tree.remove("sub/a", &now.stamp).unwrap() && tree.remove_dir("sub").unwrap());
        assert!(tree.list("").unwrap().is_empty());
    }
}
