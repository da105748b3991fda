//! What is below a directory of the local store.

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, fstatat},
};

use super::{Disk, Entry, entry, told};
use crate::{
    error::Result,
    model::{attr::Kind, key::Name},
};

/// The most entries that are counted for `status`, or looked through at start: at a microsecond each, a tenth of a second.
pub(super) const COUNT_MAX: usize = 100_000;

/// Something below a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// From the root of the store.
    pub path: String,
    pub entry: Entry,
}

/// How much the store holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Files and symlinks.
    pub files: u64,
    pub bytes: u64,
}

impl Disk {
    /// The names in a directory that a mount can show; none where there is no directory.
    pub fn list(&self, path: &str) -> Result<Vec<(Name, Entry)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = self.dir(path).and_then(|dir| openat(&dir, ".", flags, Mode::empty()));
        let opened = match opened {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(told(errno)),
        };
        let mut dir = Dir::from_fd(opened).map_err(told)?;
        let listed: Vec<_> = dir.iter().collect::<nix::Result<_>>().map_err(told)?;
        let mut names = Vec::with_capacity(listed.len());
        for listed in listed {
            let Some(name) = listed.file_name().to_str().ok().and_then(Name::from_key) else { continue };
            match fstatat(&dir, listed.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => names.extend(entry(&stat).map(|entry| (name, entry))),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(told(errno)),
            }
        }
        Ok(names)
    }

    /// Whether anything is in a directory.
    pub fn has_any(&self, path: &str) -> Result<bool> {
        Ok(!self.list(path)?.is_empty())
    }

    /// Everything below a directory, each before what is below it. `None`: more than `max`.
    pub fn walk(&self, path: &str, max: usize) -> Result<Option<Vec<Item>>> {
        let mut items: Vec<Item> = Vec::new();
        let mut todo = vec![path.to_owned()];
        while let Some(dir) = todo.pop() {
            for (name, entry) in self.list(&dir)? {
                let path = if dir.is_empty() { name.as_str().to_owned() } else { format!("{dir}/{}", name.as_str()) };
                if entry.attr.kind == Kind::Dir {
                    todo.push(path.clone());
                }
                items.push(Item { path, entry });
            }
            if items.len() > max {
                return Ok(None);
            }
        }
        Ok(Some(items))
    }

    /// `None`: too much to count, or it cannot be read.
    pub fn usage(&self) -> Option<Usage> {
        let items = self.walk("", COUNT_MAX).ok().flatten()?;
        let files = items.iter().filter(|item| item.entry.attr.kind != Kind::Dir);
        let add =
            |usage: Usage, item: &Item| Usage { files: usage.files + 1, bytes: usage.bytes + item.entry.attr.size };
        Some(files.fold(Usage::default(), add))
    }
}
