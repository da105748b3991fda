//! File system semantics over a bucket, without a kernel: what each call does and promises.
//!
//! # Locks, in this order
//!
//! 1. `names` (`claims`): shared by key for uploads and changes of one name, owned by subtree for the rename of a
//!    directory. One claim at a time.
//! 2. `File::turn`, `File::stream`, `File::state` of one file (two for a rename, the lower node id first). May be held over I/O.
//! 3. Fences ([`crate::freshness::fence`]): raised around every change that the bucket sees.
//! 4. The turn of the local store, then `tree`, `memory`, `tickets`: std mutexes, never held over an `.await`.
//!
//! # How an answer is believed
//!
//! Every question about a name takes a stamp of its fence, asks (sharing a request with those who may), and settles
//! the answer in the tree only if no change of ours overlapped it. A node that is dirty here is answered from here.

mod ahead;
mod ask;
mod attr;
mod cached;
mod claims;
mod conflict;
mod copy;
mod create;
mod crowd;
mod dir;
mod exclusive;
mod file;
mod flush;
mod guard;
mod invalidate;
mod known;
mod line;
mod local;
mod lookup;
mod lost;
mod names;
mod nonsense;
mod open;
mod pace;
mod read;
mod recover;
mod removal;
mod rename;
mod rename_dir;
mod root;
mod send;
mod settle;
mod special;
mod stream;
mod tickets;
mod turns;
pub mod types;
pub mod urls;
mod warm;
mod write;
mod xattr;

#[cfg(test)]
mod tests;

// What is not written through a mount, and must be the same as if it were.
pub(crate) use known::{SYMLINK_MODE, blank, is_file, keep_mtime, new_headers, stamp};

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Instant,
};

pub use self::{
    cached::{Act, Cached, Entry},
    invalidate::Forgot,
    turns::Turn,
    warm::{JOBS_MAX, REQUEST_COST, Warmed, Wish},
};
use crate::{
    cache::Contents,
    config::FsOptions,
    error::Result,
    freshness::{batch::Batches, fence::Fences, listing::Listing, views::Views},
    local::Disk,
    model::{
        key::{Key, Prefix},
        tree::Tree,
        version::Version,
    },
    store::{Store, probe::Conditional},
    upload::{multipart::Lanes, staging::Yard, stub::Stubs},
};
use ahead::Ahead;
use claims::Claims;
use crowd::Crowds;
use file::{File, Handles};
use known::{Answer, Known};
use line::Line;
use local::Here;
use lru::LruCache;
use recover::Renames;
use removal::Removals;
use tickets::Tickets;
use types::{Invalidation, NodeId};

/// Names whose attributes are remembered after the kernel forgot them: at ~340 bytes each, 34 MiB.
const MEMORY_LEN: usize = 100_000;
/// Invalidations waiting for the kernel. At ~100 bytes each, a full queue is ~100 KiB.
const INVALIDATIONS_LEN: usize = 1024;

/// What the tree keeps for a node.
#[derive(Debug)]
struct Payload {
    known: Known,
    /// While it is open, or dirty.
    file: Option<Arc<File>>,
    /// The content that the kernel last read pages of.
    pages: Option<Version>,
    /// It lives in the local store; the bucket does not know it.
    own: bool,
    /// Of an implicit directory: how often it was listed because a name below it went.
    listed: u8,
}

/// One mounted tree.
pub struct Fs<S: Store> {
    store: Arc<S>,
    contents: Arc<Contents<S>>,
    options: FsOptions,
    conditional: Mutex<Conditional>,
    tree: Mutex<Tree<Payload>>,
    handles: Handles,
    looks: Batches<Key, Answer>,
    lists: Batches<Key, Arc<Listing>>,
    /// Listings that go on, by the moment when they began.
    rests: Batches<(Key, Instant), Arc<Listing>>,
    line: Line<S>,
    crowds: Crowds,
    ahead: Ahead,
    removals: Removals,
    fences: Fences,
    memory: Mutex<LruCache<Key, Known>>,
    views: Arc<Views>,
    /// Answers of the bucket that the system call which asked has not used yet, by node and thread.
    tickets: Tickets,
    /// Objects whose nonsense the log has.
    told: Mutex<nonsense::Told>,
    invalidations: mpsc::SyncSender<Invalidation>,
    names: Claims,
    here: Option<Here>,
    /// Set once, where there is a CDN.
    purges: OnceLock<xattr::Purges>,
    /// Set once, where somebody writes down what is read.
    reads: OnceLock<open::Reads>,
    /// Set once, where somebody writes down what is replaced.
    turns: OnceLock<turns::Told>,
    yard: Arc<Yard>,
    lanes: Arc<Lanes>,
    renames: Renames,
    stubs: Stubs,
    /// Files that are dirty.
    locals: Arc<AtomicU64>,
    hidden: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Questions about names that are not there.
    absent: Arc<AtomicU64>,
}

impl<S: Store> fmt::Debug for Fs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fs").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S: Store> Fs<S> {
    /// A tree over what `prefix` holds. The receiver gets what the kernel should not believe any more.
    pub fn new(
        store: Arc<S>,
        contents: Arc<Contents<S>>,
        options: FsOptions,
        prefix: Prefix,
        conditional: Conditional,
    ) -> (Arc<Self>, mpsc::Receiver<Invalidation>) {
        let (invalidations, receiver) = mpsc::sync_channel(INVALIDATIONS_LEN);
        let here = (!options.patterns.is_empty()).then(|| Here::new(Disk::new(contents.root()), &prefix));
        let tree = Tree::new(prefix, Payload::new(Known::root(&options)));
        let top = tree.key(NodeId::ROOT).expect("the root has a place");
        let views = Views::new(top);
        let line = Line::new(Arc::clone(&store), Arc::clone(&views), options.freshness.open_age());
        let fs = Self {
            here,
            purges: OnceLock::new(),
            reads: OnceLock::new(),
            turns: OnceLock::new(),
            yard: Yard::new(contents.staging_dir(), contents.lost_dir()),
            stubs: Stubs::open(&contents.uploads_dir()),
            lanes: Arc::new(Lanes::new(&contents.uploads_dir(), options.part_size, options.upload_concurrency)),
            renames: Renames::new(contents.renames_dir()),
            store,
            contents,
            options,
            conditional: Mutex::new(conditional),
            tree: Mutex::new(tree),
            handles: Handles::new(begun()),
            looks: Batches::default(),
            lists: Batches::default(),
            rests: Batches::default(),
            line,
            crowds: Crowds::default(),
            ahead: Ahead::new(),
            removals: Removals::new(),
            fences: Fences::new(Arc::clone(&views)),
            memory: Mutex::new(lru(MEMORY_LEN)),
            views,
            tickets: Tickets::new(),
            told: Mutex::new(lru(nonsense::TOLD_LEN)),
            invalidations,
            names: Claims::default(),
            locals: Arc::default(),
            hidden: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            absent: Arc::default(),
        };
        (Arc::new(fs), receiver)
    }

    /// Ends the multipart uploads that a former run of this mount left. To be called before anything is written.
    pub async fn abort_leftovers(&self) -> Result<u32> {
        self.lanes.abort_leftovers(&*self.store).await
    }

    /// What the bucket turned out to support, once it could be asked.
    pub fn set_conditional(&self, conditional: Conditional) {
        *lock(&self.conditional) = conditional;
    }

    /// Which conditional writes the bucket honours.
    pub fn conditional(&self) -> Conditional {
        *lock(&self.conditional)
    }

    /// Keys below listed directories that no path can hold, as counted so far.
    pub fn hidden_keys(&self) -> u64 {
        self.hidden.load(Ordering::Relaxed)
    }

    /// Opens for reading that found all bytes here, and those that did not.
    pub fn cache_use(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// How often the bucket was asked for a name that is not there.
    pub fn absent(&self) -> u64 {
        self.absent.load(Ordering::Relaxed)
    }

    /// Files that are dirty, and their bytes.
    pub fn staged(&self) -> (u64, u64) {
        let tree = self.tree();
        let dirty = tree.iter().filter(|(_, node)| node.payload.is_dirty());
        dirty.fold((0, 0), |(files, bytes), (_, node)| (files + 1, bytes + node.payload.known.attr.size))
    }

    fn tree(&self) -> MutexGuard<'_, Tree<Payload>> {
        self.tree.lock().expect("a panic left the tree half-changed")
    }

    fn remember(&self, key: Key, known: Known) {
        // A guess from a listing is not worth it.
        if known.version.is_some() && known.asked.is_some() {
            lock(&self.memory).put(key, known);
        }
    }

    /// Drops the attributes that are remembered of a name: before and after every change to it.
    fn forget_key(&self, key: &Key) {
        lock(&self.memory).pop(key);
    }

    fn announce(&self, stale: Invalidation) {
        // A full queue is no error: the kernel asks again when its time is up.
        drop(self.invalidations.try_send(stale));
    }
}

impl Payload {
    fn new(known: Known) -> Self {
        Self { known, file: None, pages: None, own: false, listed: 0 }
    }

    /// Whether this host has what the bucket has not: it answers by itself.
    fn is_local(&self) -> bool {
        self.own || self.is_dirty()
    }

    /// Whether this host has a newer state than the bucket.
    fn is_dirty(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_dirty())
    }
}

/// Nanoseconds since 1970, as far as they leave room for the flags of a handle.
fn begun() -> u64 {
    let now = crate::clock::wall();
    u64::try_from(now.sec).unwrap_or(0).wrapping_mul(1_000_000_000).wrapping_add(u64::from(now.nsec))
}

fn lru<K: std::hash::Hash + Eq, V>(len: usize) -> LruCache<K, V> {
    LruCache::new(NonZeroUsize::new(len).expect("a constant above zero"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
