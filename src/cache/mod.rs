//! The content cache: bytes of objects in local files, by version, filled from the store.
//!
//! Nothing here decides what is fresh: a caller names a version and gets exactly its bytes, or [`Error::Stale`]. The
//! disk is a help, never a condition: where it is full or broken, readers get their bytes from the bucket.
//!
//! - `content`: one object at one version. `state`: its block map and waiters. `flight`: one GET on its way into it.
//! - `fetch`: when to ask the bucket, for what. `readahead`: how far beyond what was asked for.
//! - `shelf`: what was just written, on its way from memory to the disk.
//! - `space`: limit, floor, eviction. `index`: the order of eviction.
//! - `dir`, `leftovers`, `scan`: the directory, and what an earlier run left there.
//!
//! [`Error::Stale`]: crate::error::Error::Stale

mod content;
mod dir;
mod fetch;
mod flight;
mod gather;
mod index;
mod leftovers;
mod link;
mod merge;
mod readahead;
mod scan;
mod shelf;
mod space;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::Semaphore};

pub use self::{content::Content, dir::OpenError, merge::Written, readahead::Readahead, space::Usage, upkeep::Dropped};
use self::{
    content::Source,
    dir::{Dir, Id},
    shelf::Shelf,
    space::{Room, Space},
};
use crate::{
    config::CacheOptions,
    model::{key::Key, version::Version},
    store::Store,
};

/// Objects up to here are fetched by one GET, larger ones in blocks. Bytes. Most images are smaller, and a request
/// costs about as much time as this many bytes.
pub const SMALL: u64 = 1 << 20;
/// What is fetched of a large object is a multiple of this many bytes.
const BLOCK: u64 = 1 << 20;
/// The most bytes of one ranged GET: more of them at once beat one long one.
const PIECE: u64 = 4 << 20;
/// GETs that somebody waits for, at once. The HTTP client buffers about 1 MiB for each.
const DEMAND_GETS: usize = 32;
/// GETs of readahead, at once.
const AHEAD_GETS: usize = 16;

/// The cache of one mount.
pub struct Contents<S> {
    store: Arc<S>,
    runtime: Handle,
    dir: Arc<Dir>,
    space: Arc<Space>,
    shelf: Arc<Shelf>,
    demand: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

impl<S: Store> Contents<S> {
    /// Takes the directory for this mount alone. Fetches run on `runtime`. What an earlier run left is found in the
    /// background, so this does not take longer with a full cache.
    pub fn open(store: Arc<S>, options: &CacheOptions, runtime: Handle) -> Result<Arc<Self>, OpenError> {
        let dir = Arc::new(Dir::open(&options.dir)?);
        let space = Arc::new(Space::new(&dir, options));
        scan::start(&dir, &space).map_err(|err| OpenError::Io(options.dir.clone(), err))?;
        let shelf = Arc::new(Shelf::new(&space));
        let demand = Arc::new(Semaphore::new(DEMAND_GETS));
        let ahead = Arc::new(Semaphore::new(AHEAD_GETS));
        Ok(Arc::new(Self { store, runtime, dir, space, shelf, demand, ahead }))
    }

    /// Where its fetches run.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The content of `key` at `version`: the same one for all who ask while somebody has it. Counts as a use.
    pub fn get(&self, key: &Key, version: &Version) -> Arc<Content> {
        if let Some(live) = self.space.live(&Id::new(key, version)) {
            live.retry();
            if live.is_whole() {
                self.space.hold_open(&live);
            }
            return live;
        }
        let content = Content::open(&self.dir, &self.space, key, version);
        let whole = content.is_whole();
        let content = self.space.enter(content, if whole { version.size } else { 0 });
        if whole {
            self.space.hold_open(&content);
        }
        content
    }

    /// Whether all of `key` at `version` is in the cache directory. Does not count as a use.
    pub fn has(&self, key: &Key, version: &Version) -> bool {
        let id = Id::new(key, version);
        if let Some(live) = self.space.peek_live(&id) {
            live.settle();
        }
        std::fs::metadata(self.dir.content(&id)).is_ok_and(|meta| meta.is_file() && meta.len() == version.size)
    }

    /// Whether all of the content is here.
    pub fn is_here(&self, content: &Content) -> bool {
        content.is_whole()
    }

    /// The whole content as a local file that never changes (for passthrough), if it is here.
    pub fn file(&self, content: &Content) -> Option<Arc<File>> {
        content.file()
    }

    /// A file in [`Self::staging_dir`] with exactly the bytes of this version becomes its content. The staged file
    /// is gone afterwards, unless it had the wrong size or the disk failed.
    pub fn adopt(&self, key: &Key, version: &Version, staged: &Path) -> Arc<Content> {
        let content = self.get(key, version);
        if content.file().is_some() {
            dir::remove(staged);
            return content;
        }
        let fits = self.space.admit(&content);
        if let Err(err) = content.install(staged, fits) {
            log::warn!("cache: cannot keep what was written to {key}: {err}");
            self.space.forget(&content);
        } else if !fits {
            self.space.forget(&content);
        }
        content
    }

    /// As [`Self::adopt`], for small contents that never saw the disk. They are here when this returns, and on the disk
    /// a little later: nobody waits for it.
    pub fn adopt_bytes(&self, key: &Key, version: &Version, bytes: &Bytes) -> Arc<Content> {
        let (content, size) = (self.get(key, version), bytes.len() as u64);
        if content.is_whole() {
            return content;
        }
        if size > 0 && self.space.reserve(&content, size, Room::Evict) {
            if content.hold(bytes.clone()) {
                self.shelf.put(&self.runtime, &content, size);
                return content;
            }
            self.space.landed(size);
            self.space.refund(&content, size);
        }
        drop(content);
        self.adopt_now(key, version, bytes)
    }

    fn adopt_now(&self, key: &Key, version: &Version, bytes: &Bytes) -> Arc<Content> {
        match self.write_part(bytes) {
            Ok(path) => self.adopt(key, version, &path),
            Err(err) => {
                log::warn!("cache: cannot keep what was written to {key}: {err}");
                self.get(key, version)
            }
        }
    }

    fn write_part(&self, bytes: &Bytes) -> io::Result<PathBuf> {
        if !self.space.make_room(bytes.len() as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (file, path) = self.dir.create_part(0)?;
        if let Err(err) = file.write_all_at(bytes, 0) {
            dir::remove(&path);
            return Err(err);
        }
        Ok(path)
    }

    /// The object was copied in the bucket, and the old name goes or is gone. Local bytes follow it; those who have
    /// the old one open go on reading, from the new one. Best called between copy and delete.
    pub fn moved(&self, from: (&Key, &Version), to: (&Key, &Version)) {
        if from.1.size != to.1.size {
            return;
        }
        let source = Source { id: Id::new(to.0, to.1), key: to.0.clone(), etag: to.1.etag.clone() };
        let old = Id::new(from.0, from.1);
        if old != source.id {
            self.space.moved(&old, source);
        }
    }

    /// Where dirty bytes are written, on the same file system.
    pub fn staging_dir(&self) -> &Path {
        self.dir.staging()
    }

    /// The directory of the mount, for what else is kept there.
    pub fn root(&self) -> &Path {
        self.dir.root()
    }

    /// Where multipart uploads that were begun are noted, for the next run to end them.
    pub fn uploads_dir(&self) -> PathBuf {
        self.dir.uploads()
    }

    /// Where the journals of renames are.
    pub fn renames_dir(&self) -> PathBuf {
        self.dir.renames()
    }

    /// Where staging goes that nobody can finish.
    pub fn lost_dir(&self) -> &Path {
        self.dir.lost()
    }

    pub fn usage(&self) -> Usage {
        self.space.usage()
    }

    /// Whether `bytes` of dirty data may be written without touching the free-space floor; evicts for it. To be
    /// asked before each write, because it remembers nothing.
    pub fn make_room(&self, bytes: u64) -> bool {
        self.space.make_room(bytes)
    }

    /// To be called last at an orderly end: everything is written to the disk, so that the next start believes it even
    /// after a power loss.
    pub fn close(&self) {
        self.shelf.clear();
        if let Err(err) = self.dir.mark_clean() {
            log::warn!("cache {}: {err}", self.dir.root().display());
        }
    }
}

impl<S> fmt::Debug for Contents<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("dir", &self.dir).field("space", &self.space.usage()).finish_non_exhaustive()
    }
}
