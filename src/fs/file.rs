//! Open files: what they share, and what each handle has of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::RwLock;

use super::types::{DirEntry, Fh, NodeId};
use crate::{
    cache::{Content, Readahead},
    error::{Error, Result},
    model::{key::Name, version::Version},
    upload::{dirty::Dirty, multipart::Stream},
};

/// The bytes of a node that somebody has open. One open file is one version of the object: when the bucket has
/// another, the name gets another node.
#[derive(Debug)]
pub(super) struct File {
    pub(super) id: NodeId,
    /// Held by whoever makes the bucket's state of this file: uploads, renames, unlinks. Before `state`.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Parts that are sent while the application still writes. Held by whoever changes the bytes or the size, and while
    /// a large file is sent: writers wait then, and readers, who do without it, do not. After `turn`, before `state`.
    pub(super) stream: tokio::sync::Mutex<Option<Stream>>,
    /// May be held over I/O, as `turn` may. No two files are locked at once but by a rename, which see.
    pub(super) state: RwLock<State>,
    /// There are bytes, or a new name, that the bucket does not have. Set with `state` held; read without.
    dirty: AtomicBool,
    /// The name that it lost to another host while it was open. Closing it after a write takes the name back: the last
    /// close wins.
    former: Mutex<Option<(NodeId, Name)>>,
    /// Why its content will never be uploaded: the bucket has another version, which stays.
    lost_to: Mutex<Option<Error>>,
    /// How many files of the mount are dirty.
    locals: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The object that the content is of; `None` for a file that was never uploaded.
    pub(super) version: Option<Version>,
    /// Its bytes, once somebody wanted them.
    pub(super) content: Option<Arc<Content>>,
    /// What was written over it.
    pub(super) dirty: Option<Dirty>,
    /// Counts writes, so that an upload can tell whether it still has the newest.
    pub(super) writes: u64,
    /// The real file, if it lives in the local store; then there is no version, content or staging.
    pub(super) own: Option<Arc<std::fs::File>>,
    /// A request was sent that may have made the object, whatever became of it.
    pub(super) tried: bool,
}

impl State {
    /// Whether the bucket may have an object under the name of the file, which goes when the name does: an upload of it,
    /// or what it took the name of before its first close.
    pub(super) fn may_be_there(&self) -> bool {
        self.version.is_some() || self.tried || self.dirty.as_ref().is_some_and(|dirty| dirty.moved)
    }

    /// Bytes that the file has now.
    pub(super) fn size(&self) -> u64 {
        match (&self.dirty, &self.version) {
            (Some(dirty), _) => dirty.size,
            (None, version) => version.as_ref().map_or(0, |version| version.size),
        }
    }
}

impl File {
    pub(super) fn new(id: NodeId, version: Option<Version>, locals: &Arc<AtomicU64>) -> Arc<Self> {
        let state = State { version, ..State::default() };
        let locals = Arc::clone(locals);
        Arc::new(Self {
            id,
            turn: tokio::sync::Mutex::default(),
            stream: tokio::sync::Mutex::default(),
            state: RwLock::new(state),
            dirty: AtomicBool::new(false),
            former: Mutex::default(),
            lost_to: Mutex::default(),
            locals,
        })
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(super) fn set_dirty(&self, dirty: bool) {
        match (self.dirty.swap(dirty, Ordering::AcqRel), dirty) {
            (false, true) => self.locals.fetch_add(1, Ordering::AcqRel),
            (true, false) => self.locals.fetch_sub(1, Ordering::AcqRel),
            _ => 0,
        };
    }

    /// Another host took the name away.
    pub(super) fn lose_name(&self, place: (NodeId, Name)) {
        *lock(&self.former) = Some(place);
    }

    pub(super) fn former(&self) -> Option<(NodeId, Name)> {
        lock(&self.former).clone()
    }

    pub(super) fn lose_to(&self, conflict: Error) {
        lock(&self.lost_to).get_or_insert(conflict);
    }

    pub(super) fn lost_to(&self) -> Option<Error> {
        lock(&self.lost_to).clone()
    }

    /// It has a name again, or shall have none: unlinked here.
    pub(super) fn forget_former(&self) {
        *lock(&self.former) = None;
    }
}

/// One open(2).
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: Arc<File>,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
    pub(super) ahead: Arc<Readahead>,
    /// The state of the file ([`State::writes`] and one) that this descriptor was told is lost to another version.
    pub(super) told: AtomicU64,
}

/// One opendir(3): a listing that does not change while it is read.
#[derive(Debug)]
pub(super) struct DirHandle {
    pub(super) entries: Vec<DirEntry>,
    /// By name, for entries that are objects: what the listing said.
    pub(super) versions: HashMap<Name, Version>,
    /// When it was asked for, and the same moment by the wall clock in seconds since 1970.
    pub(super) asked: (Instant, i64),
}

/// How many low bits of a handle's number tell how it was opened, and which.
const FLAGS: u32 = 3;
const READ: u64 = 1;
const WRITE: u64 = 2;
const APPEND: u64 = 4;

/// All handles of a mount. As many as the kernel has open files.
///
/// The number of a file's handle ends in how it was opened. With the node id that the kernel sends along, that is all
/// that a handle is made of, so a process that takes a mount over can make those of its predecessor again.
#[derive(Debug)]
pub(super) struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<Fh, Arc<Handle>>>,
    dirs: Mutex<HashMap<Fh, Arc<DirHandle>>>,
}

impl Handles {
    /// `begun`: when this process began, in nanoseconds since 1970, so that no two have a number in common.
    pub(super) fn new(begun: u64) -> Self {
        Self { next: AtomicU64::new(begun), files: Mutex::default(), dirs: Mutex::default() }
    }

    pub(super) fn open(&self, handle: Handle) -> Fh {
        let flags = [(handle.read, READ), (handle.write, WRITE), (handle.append, APPEND)];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum::<u64>();
        let fh = Fh(self.serial().0 << FLAGS | flags);
        lock(&self.files).insert(fh, Arc::new(handle));
        fh
    }

    /// The handle of a predecessor, of a file that is pinned for it.
    pub(super) fn restore(&self, fh: Fh, file: Arc<File>) {
        let [read, write, append] = [READ, WRITE, APPEND].map(|bit| fh.0 & bit != 0);
        let handle = Handle { file, read, write, append, ahead: Arc::default(), told: AtomicU64::default() };
        lock(&self.files).insert(fh, Arc::new(handle));
    }

    pub(super) fn open_dir(&self, handle: DirHandle) -> Fh {
        let fh = self.serial();
        lock(&self.dirs).insert(fh, Arc::new(handle));
        fh
    }

    pub(super) fn get(&self, fh: Fh) -> Result<Arc<Handle>> {
        lock(&self.files).get(&fh).cloned().ok_or(Error::BadHandle)
    }

    pub(super) fn dir(&self, fh: Fh) -> Option<Arc<DirHandle>> {
        lock(&self.dirs).get(&fh).cloned()
    }

    pub(super) fn close(&self, fh: Fh) -> Option<Arc<Handle>> {
        lock(&self.files).remove(&fh)
    }

    pub(super) fn close_dir(&self, fh: Fh) {
        lock(&self.dirs).remove(&fh);
    }

    fn serial(&self) -> Fh {
        Fh(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

impl Drop for File {
    fn drop(&mut self) {
        self.set_dirty(false);
    }
}
