//! The cache directory: whose it is, what lies where, and what of it can be believed at start.
//!
//! ```text
//! lock         flock(2)ed while a mount uses the directory
//! state        boot id, and "clean" after an orderly end
//! content/xx/  complete contents, named by Id
//! parts/       contents that are being filled; worth nothing without the block maps in memory
//! staging/     dirty bytes and the upload journal
//! lost+found/  staging of a run that ended badly
//! renames/     journals of renames in progress
//! trash/       what a background thread deletes
//! local/       local-only names ([`crate::local`]), which are none of the cache's business
//! ```

use std::{
    error, fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::leftovers;
use crate::model::{key::Key, version::Version};

/// Changes at every boot of the machine (proc(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The second line of `state` after an orderly end.
const CLEAN: &str = "clean";

/// Names the bytes of an object: SHA-256 of key, `ETag` and size. Metadata is no part of it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Id([u8; 32]);

impl Id {
    pub(super) fn new(key: &Key, version: &Version) -> Self {
        let etag = version.etag.unquoted();
        let mut hash = Sha256::new();
        hash.update((key.as_str().len() as u64).to_le_bytes());
        hash.update(key.as_str());
        hash.update(version.size.to_le_bytes());
        hash.update(etag);
        Self(hash.finalize().into())
    }

    /// An id that no object has.
    pub(super) fn twin(&self) -> Self {
        Self(Sha256::digest(self.0).into())
    }

    /// The inverse of `Display`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let raw = name.as_bytes();
        if raw.len() != 64 {
            return None;
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(raw.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        // One name per id: `from_str_radix` takes capitals and signs too.
        (Self(id).to_string() == name).then_some(Self(id))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a cache directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another mount uses it.
    Locked(PathBuf),
    /// It cannot be created, read or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(dir) => write!(f, "cache directory {} is in use by another mount", dir.display()),
            Self::Io(path, err) => write!(f, "cache directory: {}: {err}", path.display()),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Locked(_) => None,
            Self::Io(_, err) => Some(err),
        }
    }
}

/// The directory, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Dir {
    root: PathBuf,
    staging: PathBuf,
    lost: PathBuf,
    boot: String,
    parts: AtomicU64,
    lock: Flock<File>,
}

impl Dir {
    pub(super) fn open(root: &Path) -> Result<Self, OpenError> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        create_private(root)?;
        let lock_path = root.join("lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock_path);
        let file = file.map_err(|err| OpenError::Io(lock_path.clone(), err))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => OpenError::Locked(root.to_owned()),
            other => OpenError::Io(lock_path, other.into()),
        })?;
        let dir = Self {
            root: root.to_owned(),
            staging: root.join("staging"),
            lost: root.join("lost+found"),
            boot: boot.trim().to_owned(),
            parts: AtomicU64::new(0),
            lock,
        };
        dir.prepare()?;
        Ok(dir)
    }

    /// Sorts out what the last run left. Constant time but for staging: large trees are renamed here and deleted
    /// by [`Self::empty_trash`].
    fn prepare(&self) -> Result<(), OpenError> {
        create_private(&self.root.join("trash"))?;
        if !self.can_be_believed() {
            log::warn!(
                "cache {}: the machine stopped without a clean end; its content is dropped",
                self.root.display()
            );
            self.discard("content")?;
        }
        self.discard("parts")?;
        for name in ["content", "parts", "staging", "lost+found", "uploads", "renames"] {
            create_private(&self.root.join(name))?;
        }
        let kept = leftovers::rescue(&self.staging, &self.lost);
        for path in kept.map_err(|err| OpenError::Io(self.staging.clone(), err))? {
            log::warn!("unfinished write of an earlier run kept as {}", path.display());
        }
        self.write_state("").map_err(|err| OpenError::Io(self.root.join("state"), err))
    }

    /// After a power loss, files may have their length and not their bytes; the page cache outlives all lesser
    /// accidents. An unknown boot id proves nothing.
    fn can_be_believed(&self) -> bool {
        let Ok(state) = fs::read_to_string(self.root.join("state")) else {
            return fs::read_dir(self.root.join("content")).map_or(true, |mut entries| entries.next().is_none());
        };
        let mut lines = state.lines();
        let same_boot = lines.next().is_some_and(|boot| !boot.is_empty() && boot == self.boot);
        same_boot || lines.next() == Some(CLEAN)
    }

    fn discard(&self, name: &str) -> Result<(), OpenError> {
        let from = self.root.join(name);
        let mut n = 0_u64;
        let to = loop {
            let to = self.root.join(format!("trash/{name}.{n}"));
            if !to.exists() {
                break to;
            }
            n += 1;
        };
        match fs::rename(&from, to) {
            Err(err) if err.kind() != ErrorKind::NotFound => Err(OpenError::Io(from, err)),
            _ => Ok(()),
        }
    }

    /// Durable before it returns, because what is written afterwards relies on it.
    fn write_state(&self, mark: &str) -> io::Result<()> {
        let new = self.root.join("state.new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        write!(file, "{}\n{mark}\n", self.boot)?;
        file.sync_all()?;
        fs::rename(new, self.root.join("state"))?;
        File::open(&self.root)?.sync_all()
    }

    /// Everything is on the disk afterwards, and the next start knows it.
    pub(super) fn mark_clean(&self) -> io::Result<()> {
        nix::unistd::syncfs(&*self.lock)?;
        self.write_state(CLEAN)
    }

    /// Slow: for a background thread.
    pub(super) fn empty_trash(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("trash")) else { return };
        for entry in entries.flatten() {
            if let Err(err) = fs::remove_dir_all(entry.path()) {
                log::warn!("cache: cannot delete {}: {err}", entry.path().display());
            }
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    pub(super) fn lost(&self) -> &Path {
        &self.lost
    }

    /// Notes of multipart uploads that were begun.
    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// Journals of renames in progress.
    pub(super) fn renames(&self) -> PathBuf {
        self.root.join("renames")
    }

    pub(super) fn contents(&self) -> PathBuf {
        self.root.join("content")
    }

    /// Where the complete content is, if it is.
    pub(super) fn content(&self, id: &Id) -> PathBuf {
        let name = id.to_string();
        let mut path = self.contents();
        path.push(&name[..2]);
        path.push(name);
        path
    }

    /// A new file of `size` zero bytes that take no space yet.
    pub(super) fn create_part(&self, size: u64) -> io::Result<(File, PathBuf)> {
        let path = self.root.join(format!("parts/{}", self.parts.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        if size > 0 {
            file.set_len(size)?;
        }
        Ok((file, path))
    }

    /// Makes the file at `from` the complete content of `id`.
    pub(super) fn keep(&self, from: &Path, id: &Id) -> io::Result<()> {
        let to = self.content(id);
        match fs::rename(from, &to) {
            Err(err) if err.kind() == ErrorKind::NotFound && from.exists() => {
                DirBuilder::new().recursive(true).mode(0o700).create(to.parent().expect("it is in content/xx"))?;
                fs::rename(from, &to)
            }
            done => done,
        }
    }

    /// Failing is no harm: the space is found again at the next start.
    pub(super) fn remove(&self, id: &Id) {
        remove(&self.content(id));
    }
}

/// Unlinks; open files of it go on working.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => log::warn!("cache: cannot delete {}: {err}", path.display()),
        _ => {}
    }
}

fn create_private(path: &Path) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|err| OpenError::Io(path.to_owned(), err))
}
