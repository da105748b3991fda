//! What adoption leaves in the directory: a note that says which bucket has what is there. With it a mount of that bucket
//! may cover the directory although it is not empty.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use serde::{Deserialize, Serialize};

use crate::model::key::CONTROL;

/// Bytes of a note at most.
const NOTE_MAX: u64 = 64 << 10;

/// The note, in the directory's `.originfs`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Note {
    /// As the mount shows it in /proc/mounts.
    pub source: String,
    /// When the adoption began, in seconds since 1970: the bucket has, or had, all that was there and has not changed
    /// since.
    pub at: i64,
    /// And nanoseconds.
    #[serde(default)]
    pub nsec: u32,
    pub files: u64,
    pub bytes: u64,
}

impl Note {
    /// The note in a directory, if there is one that this user wrote: nobody else decides what a mount may hide.
    pub fn read(dir: &Path) -> Option<Self> {
        Self::read_in(&File::open(dir).ok()?.into())
    }

    /// The same of a directory that is held open.
    pub fn read_in(dir: &OwnedFd) -> Option<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(dir.as_fd(), CONTROL, flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        let ours = metadata.is_file() && metadata.uid() == geteuid().as_raw();
        serde_json::from_reader(file.take(NOTE_MAX)).ok().filter(|_| ours)
    }

    /// Writes it into a directory that is held open, in the place of an older one.
    pub fn write(&self, dir: &OwnedFd) -> io::Result<()> {
        Self::remove(dir)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(dir.as_fd(), CONTROL, flags, Mode::from_bits_truncate(0o600))?);
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        file.sync_all()
    }

    pub fn remove(dir: &OwnedFd) -> io::Result<()> {
        match unlinkat(dir.as_fd(), CONTROL, UnlinkatFlags::NoRemoveDir) {
            Err(errno) if errno != Errno::ENOENT => Err(errno.into()),
            _ => Ok(()),
        }
    }
}
