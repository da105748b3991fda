//! Hosts without a kernel: each has its own `Fs` and cache over one bucket in memory, and looks every path up again.

mod ahead;
mod basics;
mod changes;
mod conflict;
mod crossing;
mod details;
mod exclusive;
mod faults;
mod hosts;
mod large;
mod listed;
mod local;
mod model;
mod pages;
mod perms;
mod public;
mod races;
mod recovery;
mod released;
mod removal;
mod renames;
mod sharing;
mod sizes;
mod upkeep;
mod views;

use std::{
    ffi::OsStr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    Fs,
    types::{Caller, DirName, Fh, Invalidation, NodeId, OpenMode, RenameMode, SetAttr, Stat},
};
use crate::{
    cache::{Contents, OpenError},
    config::{Attrs, CacheOptions, Conflict, Exclusive, FsOptions, Perms},
    error::{Error, Result},
    freshness::Freshness,
    model::{attr::Kind, key::Prefix},
    store::{
        Store,
        faulty::Faulty,
        memory::MemoryStore,
        op::Op,
        probe::{Conditional, Support},
    },
};

pub(super) type Bucket = Arc<Faulty<MemoryStore>>;

pub(super) const READ: OpenMode =
    OpenMode { read: true, write: false, truncate: false, append: false, exclusive: false };
pub(super) const WRITE: OpenMode =
    OpenMode { read: true, write: true, truncate: false, append: false, exclusive: false };
pub(super) const TRUNCATE: OpenMode = OpenMode { truncate: true, ..WRITE };

pub(super) const EXCL: OpenMode = OpenMode { exclusive: true, ..WRITE };

/// Long enough for whatever can go on without being released; a test that is too quick here proves less, and passes.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// Part size of the tests: as small as S3 allows.
pub(super) const PART: u64 = 5 << 20;

static SERIAL: AtomicU32 = AtomicU32::new(1);

pub(super) fn bucket() -> Bucket {
    Arc::new(Faulty::new(MemoryStore::new()))
}

pub(super) fn options() -> FsOptions {
    FsOptions { xattr: true, rename_limit: 1000, part_size: PART, ..FsOptions::plain() }
}

pub(super) fn all(support: Support) -> Conditional {
    Conditional { absent: support, version: support, delete: support, copy: support, complete: support }
}

/// One webserver.
pub(super) struct Host<S: Store = Faulty<MemoryStore>> {
    pub(super) fs: Arc<Fs<S>>,
    pub(super) bucket: Arc<S>,
    pub(super) stale: Mutex<mpsc::Receiver<Invalidation>>,
    pub(super) dir: PathBuf,
}

impl<S: Store> Drop for Host<S> {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// Seconds within which the threads of a process that was killed have let go of its cache directory.
const UNLOCKED: i64 = 20;

/// A file that stays open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) fh: Fh,
    pub(super) id: NodeId,
}

impl Host {
    pub(super) fn new(bucket: &Bucket) -> Self {
        Self::with(bucket, options())
    }

    pub(super) fn with(bucket: &Bucket, options: FsOptions) -> Self {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self::at(bucket, options, std::env::temp_dir().join(format!("originfs-fs-{}-{serial}", std::process::id())))
    }

    /// The process is killed, and the host mounts again with what is on its disk.
    pub(super) fn killed(self) -> Self {
        let options = self.fs.options.clone();
        self.killed_for(options)
    }

    /// The same with other options.
    pub(super) fn killed_for(mut self, options: FsOptions) -> Self {
        let (bucket, dir) = (Arc::clone(&self.bucket), std::mem::take(&mut self.dir));
        drop(self);
        Self::at(&bucket, options, dir)
    }

    /// With a cache directory that may be a former host's.
    pub(super) fn at(bucket: &Bucket, options: FsOptions, dir: PathBuf) -> Self {
        Self::beside(bucket, options, dir, 0)
    }

    /// On a disk that has no room for anything that is written.
    pub(super) fn cramped(bucket: &Bucket) -> Self {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("originfs-fs-{}-{serial}", std::process::id()));
        Self::beside(bucket, options(), dir, u64::MAX)
    }

    /// The requests that the bucket saw since the last time.
    pub(super) fn requests(&self) -> Vec<Op> {
        self.bucket.take_calls().into_iter().map(|call| call.op).collect()
    }
}

impl<S: Store> Host<S> {
    /// `min_free`: bytes of the disk that must stay free.
    pub(super) fn beside(bucket: &Arc<S>, options: FsOptions, dir: PathBuf, min_free: u64) -> Self {
        let cache = CacheOptions { dir: dir.clone(), size: Some(1 << 30), min_free: Some(min_free) };
        // Of the wall, because a test may stop the clock of the runtime.
        let begun = crate::clock::wall().sec;
        let contents = loop {
            match Contents::open(Arc::clone(bucket), &cache, tokio::runtime::Handle::current()) {
                // A thread of the process that was killed still looks through its cache.
                Err(OpenError::Locked(_)) if crate::clock::wall().sec < begun + UNLOCKED => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let conditional = all(Support::Yes);
        let prefix = Prefix::parse("site").unwrap();
        let (fs, stale) = Fs::new(Arc::clone(bucket), contents, options, prefix, conditional);
        Self { fs, bucket: Arc::clone(bucket), stale: Mutex::new(stale), dir }
    }

    /// Journals of renames, whatever became of them.
    pub(super) fn journals(&self) -> usize {
        std::fs::read_dir(self.dir.join("renames")).unwrap().count()
    }

    pub(super) fn lost(&self) -> usize {
        let dir = self.dir.join("lost+found");
        std::fs::read_dir(dir).map_or(0, |entries| {
            entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "data")).count()
        })
    }

    /// What is in lost+found: bytes and their notes.
    pub(super) fn kept(&self) -> Vec<(Vec<u8>, serde_json::Value)> {
        let entries = std::fs::read_dir(self.dir.join("lost+found")).unwrap().map(|entry| entry.unwrap().path());
        let data = entries.filter(|path| path.extension().is_some_and(|ext| ext == "data"));
        let note = |path: &PathBuf| std::fs::read(path.with_extension("meta")).unwrap();
        data.map(|path| (std::fs::read(&path).unwrap(), serde_json::from_slice(&note(&path)).unwrap())).collect()
    }

    pub(super) async fn put(&self, open: Open, bytes: &'static str) {
        self.fs.write(open.fh, 0, b(bytes), false).await.unwrap();
    }

    #[expect(clippy::unused_self, reason = "callers belong to a host")]
    pub(super) fn who(&self) -> Caller {
        Caller { tid: SERIAL.fetch_add(1, Ordering::Relaxed) + 100_000, uid: 33, gid: 33 }
    }

    /// Walks a path as the kernel does with expired entries. The kernel's references are given back at once.
    pub(super) async fn walk(&self, path: &str, who: Caller) -> Result<NodeId> {
        let mut at = NodeId::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let name = OsStr::new(name);
            at = match self.fs.try_lookup(at, name, who) {
                Some(found) => found?,
                None => self.fs.lookup(at, name, who).await?,
            }
            .id;
        }
        Ok(at)
    }

    pub(super) async fn parent<'a>(&self, path: &'a str) -> Result<(NodeId, &'a OsStr)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.walk(dir, self.who()).await?, OsStr::new(name)))
    }

    /// open(2) with `O_CREAT` if it may write. The kernel retries once when a node turned out stale.
    pub(super) async fn open(&self, path: &str, mode: OpenMode) -> Result<Open> {
        self.open_by(self.who(), path, mode).await
    }

    /// As [`Host::open`], by a thread that may have made other calls.
    pub(super) async fn open_by(&self, who: Caller, path: &str, mode: OpenMode) -> Result<Open> {
        for attempt in 0.. {
            let opened = match self.walk(path, who).await {
                Ok(id) => self.fs.open(id, mode, who).await,
                Err(Error::NotFound) if mode.write => {
                    let (parent, name) = self.parent(path).await?;
                    self.fs.create(parent, name, 0o644, mode, who).await.map(|(_, opened)| opened)
                }
                Err(err) => Err(err),
            };
            match opened {
                Ok(opened) => return Ok(Open { fh: opened.fh, id: opened.id }),
                Err(Error::Stale) if attempt == 0 => {}
                Err(err) => return Err(err),
            }
        }
        unreachable!("the second attempt returns")
    }

    pub(super) async fn close(&self, open: Open) -> Result<()> {
        let flushed = self.fs.flush(open.fh).await;
        self.fs.release(open.fh).await;
        flushed
    }

    /// The whole file through one descriptor.
    pub(super) async fn read(&self, path: &str) -> Result<Bytes> {
        let open = self.open(path, READ).await?;
        let bytes = self.read_open(open).await;
        self.close(open).await?;
        bytes
    }

    pub(super) async fn read_open(&self, open: Open) -> Result<Bytes> {
        const STEP: u32 = 128 << 10;
        let mut all = Vec::new();
        loop {
            let offset = all.len() as u64;
            let bytes = match self.fs.try_read(open.fh, offset, STEP) {
                Some(bytes) => bytes?,
                None => self.fs.read(open.fh, offset, STEP).await?,
            };
            if bytes.is_empty() {
                return Ok(all.into());
            }
            all.extend_from_slice(&bytes);
        }
    }

    /// As a shell's `>`.
    pub(super) async fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let open = self.open(path, TRUNCATE).await?;
        let written = self.fs.write(open.fh, 0, Bytes::copy_from_slice(bytes), false).await;
        let closed = self.close(open).await;
        written.and(closed)
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Stat> {
        for attempt in 0.. {
            let who = self.who();
            let id = self.walk(path, who).await?;
            match self.fs.getattr(id, who).await {
                Ok((stat, _)) => return Ok(stat),
                Err(Error::Stale) if attempt == 0 => {}
                Err(err) => return Err(err),
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Names in order, directories with a slash.
    pub(super) async fn ls(&self, path: &str) -> Result<Vec<String>> {
        let who = self.who();
        let id = self.walk(path, who).await?;
        let fh = self.fs.opendir(id, who).await?;
        let entries = self.fs.readdir(id, fh, 0, usize::MAX).await;
        self.fs.releasedir(fh);
        let name = |entry: &super::types::DirEntry| match &entry.name {
            DirName::Name(name) => {
                let slash = if entry.kind == Kind::Dir { "/" } else { "" };
                Some(format!("{}{slash}", name.as_str()))
            }
            DirName::Dot | DirName::DotDot => None,
        };
        Ok(entries?.iter().filter_map(name).collect())
    }

    pub(super) async fn mkdir(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path).await?;
        match self.fs.lookup(parent, name, self.who()).await {
            Ok(_) => Err(Error::Exists),
            Err(Error::NotFound) => self.fs.mkdir(parent, name, 0o755, self.who()).await.map(drop),
            Err(err) => Err(err),
        }
    }

    pub(super) async fn unlink(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path).await?;
        self.fs.lookup(parent, name, self.who()).await?;
        self.fs.unlink(parent, name).await
    }

    pub(super) async fn rmdir(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path).await?;
        self.fs.lookup(parent, name, self.who()).await?;
        self.fs.rmdir(parent, name).await
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rename_as(from, to, RenameMode::Replace).await
    }

    pub(super) async fn rename_as(&self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        let (from_parent, from_name) = self.parent(from).await?;
        let (to_parent, to_name) = self.parent(to).await?;
        self.fs.lookup(from_parent, from_name, self.who()).await?;
        match self.fs.lookup(to_parent, to_name, self.who()).await {
            Ok(_) | Err(Error::NotFound) => {}
            Err(err) => return Err(err),
        }
        self.fs.rename((from_parent, from_name), (to_parent, to_name), mode).await
    }

    pub(super) async fn set(&self, path: &str, set: SetAttr) -> Result<Stat> {
        let who = self.who();
        let id = self.walk(path, who).await?;
        self.fs.setattr(id, None, set, who).await.map(|(stat, _)| stat)
    }
}

pub(super) fn open_mode(freshness: Freshness) -> FsOptions {
    FsOptions { freshness, ..options() }
}

pub(super) fn second() -> Freshness {
    Freshness::Open { stat_ttl: Duration::from_secs(1) }
}

pub(super) fn aged() -> FsOptions {
    open_mode(Freshness::Age(Duration::from_hours(1)))
}

pub(super) fn lost_reply() -> Error {
    Error::unavailable("the connection was reset")
}

pub(super) fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
