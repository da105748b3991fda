//! What goes to another place, comes in from outside, or goes out.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode, fstatat},
    unistd::{UnlinkatFlags, linkat, unlinkat},
};

use super::{Disk, PRIVATE_FILE, above, private_dir, told, told_io};
use crate::error::Result;

/// Something that is not in its place yet. It goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

/// Something that was put in its place, and can be taken away again.
#[derive(Debug)]
pub struct Placed<'a> {
    disk: &'a Disk,
    path: String,
    /// What was there before.
    former: Option<Scratch>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => log::warn!("{}: {err}", self.path.display()),
            _ => {}
        }
    }
}

impl Disk {
    /// A new file outside of all paths, opened for reading and writing.
    pub fn scratch(&self) -> Result<(File, Scratch)> {
        let scratch = self.scratch_name()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE_FILE).open(&scratch.path);
        Ok((file.map_err(told_io)?, scratch))
    }

    pub fn scratch_symlink(&self, target: &OsStr) -> Result<Scratch> {
        let scratch = self.scratch_name()?;
        std::os::unix::fs::symlink(target, &scratch.path).map_err(told_io)?;
        Ok(scratch)
    }

    fn scratch_name(&self) -> Result<Scratch> {
        private_dir(&self.scratch).map_err(told)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Ok(Scratch { path: self.scratch.join(serial.to_string()) })
    }

    /// Puts what was made aside at `path`, over a file that is there, durably.
    pub fn place(&self, scratch: &Scratch, path: &str) -> Result<Placed<'_>> {
        let former = self.scratch_name()?;
        let former = self.framed(path, |dir, name| {
            let kept = match linkat(dir, name, AT_FDCWD, &former.path, AtFlags::empty()) {
                Ok(()) => Some(former),
                Err(Errno::ENOENT) => None,
                Err(errno) => return Err(errno),
            };
            renameat(AT_FDCWD, &scratch.path, dir, name)?;
            Ok(kept)
        })?;
        let placed = Placed { disk: self, path: path.to_owned(), former };
        match self.sync_dir(above(path)) {
            Ok(()) => Ok(placed),
            Err(err) => {
                placed.undo();
                Err(err)
            }
        }
    }

    /// Moves a file to an absolute path outside, and drops the frames that only it needed.
    pub fn move_out(&self, path: &str, outside: &Path) -> Result<()> {
        let (dir, name) = self.at(path).map_err(told)?;
        renameat(&dir, name, AT_FDCWD, outside).map_err(told)?;
        self.trim(above(path));
        Ok(())
    }

    /// rename(2) inside the store.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (dir, name) = self.at(from).map_err(told)?;
        // What is not there needs no frames at its target.
        fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(told)?;
        self.framed(to, |to_dir, to_name| renameat(&dir, name, to_dir, to_name))?;
        self.trim(above(from));
        Ok(())
    }

    /// The names of a directory are on the disk afterwards.
    fn sync_dir(&self, path: &str) -> Result<()> {
        let dir = self.dir(path).map_err(told)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(&dir, ".", flags, Mode::empty()).map_err(told)?;
        nix::unistd::fsync(&opened).map_err(told)
    }
}

impl Placed<'_> {
    /// Takes it away; what was there before is there again.
    pub fn undo(self) {
        let done = self.disk.at(&self.path).and_then(|(dir, name)| match &self.former {
            Some(former) => renameat(AT_FDCWD, &former.path, &dir, name),
            None => unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir),
        });
        if let Err(errno) = done {
            log::error!("{}: {errno}", self.disk.root.join(&self.path).display());
        }
        self.disk.trim(above(&self.path));
    }
}
