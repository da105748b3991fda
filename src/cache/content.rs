//! The bytes of one object at one version: which are here, which are on their way, who waits for which.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::oneshot::Receiver;

use super::{
    BLOCK, SMALL,
    dir::{self, Dir, Id},
    flight::Flight,
    scan,
    space::Space,
    state::{Landing, State, Storage, Trouble},
};
use crate::{
    model::{
        extents::Extents,
        key::Key,
        version::{ETag, Version},
    },
    pread::{Wait, pread_exact},
};

/// One per identity, shared by all who have it open. Whoever holds one keeps its bytes from being evicted.
#[derive(Debug)]
pub struct Content {
    size: u64,
    source: Mutex<Source>,
    state: Mutex<State>,
    dir: Arc<Dir>,
    space: Weak<Space>,
}

/// Where the bytes are in the bucket. It changes when the object is renamed there.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) id: Id,
    pub(super) key: Key,
    pub(super) etag: ETag,
}

/// What a reader has to do.
pub(super) enum Join {
    Here,
    /// Start the flights, then wait.
    Wait(Receiver<Landing>, Vec<Flight>),
    /// Ask the bucket: the disk refused.
    Direct,
}

impl Content {
    /// A content with what the cache directory has of it: everything or nothing.
    pub(super) fn open(dir: &Arc<Dir>, space: &Arc<Space>, key: &Key, version: &Version) -> Self {
        let source = Source { id: Id::new(key, version), key: key.clone(), etag: version.etag.clone() };
        let mut state = State::default();
        if let Some(file) = scan::open_complete(&dir.content(&source.id), version.size) {
            state.storage = Storage::Complete(Arc::new(file));
            state.have.insert(0..version.size);
        }
        Self {
            size: version.size,
            source: Mutex::new(source),
            state: Mutex::new(state),
            dir: Arc::clone(dir),
            space: Arc::downgrade(space),
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole content as a local file that never changes, if it is here. What is still in memory is written for it.
    pub fn file(&self) -> Option<Arc<File>> {
        self.settle();
        match &self.state().storage {
            Storage::Complete(file) => Some(Arc::clone(file)),
            _ => None,
        }
    }

    /// All of it is here, in a file that never changes or in memory.
    pub fn is_whole(&self) -> bool {
        matches!(self.state().storage, Storage::Complete(_) | Storage::Held(_))
    }

    /// All of it is in a file.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.state().storage, Storage::Complete(_))
    }

    /// Whether a GET is on its way.
    pub(super) fn has_flights(&self) -> bool {
        self.state().is_busy()
    }

    /// Everything is here, though the file may be writable still.
    pub(super) fn all(&self) -> Option<Arc<File>> {
        self.settle();
        let state = self.state();
        match &state.storage {
            Storage::Part(file, _) | Storage::Complete(file) if state.covers(&(0..self.size)) => Some(Arc::clone(file)),
            _ => None,
        }
    }

    pub(super) fn source(&self) -> Source {
        self.source.lock().expect("it is only replaced whole").clone()
    }

    /// Part of [`Self::rehome`], under the lock of the index.
    pub(super) fn set_source(&self, source: Source) {
        *self.source.lock().expect("it is only replaced whole") = source;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic left the block map half-changed")
    }

    /// The part of `range` that exists.
    pub(super) fn clip(&self, range: &Range<u64>) -> Range<u64> {
        range.start.min(self.size)..range.end.min(self.size)
    }

    /// What to fetch for a read of `range`: all of a small object, whole blocks of a large one.
    pub(super) fn blocks(&self, range: &Range<u64>) -> Range<u64> {
        if self.size <= SMALL {
            return 0..self.size;
        }
        let end = range.end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        range.start / BLOCK * BLOCK..end.min(self.size)
    }

    /// The bytes of `range`, if all are here and the disk gives them, as far as they may be waited for.
    pub(super) fn local(&self, range: &Range<u64>, wait: Wait) -> Option<Bytes> {
        let file = {
            let state = self.state();
            match &state.storage {
                Storage::Held(bytes) => {
                    let [start, end] = [range.start, range.end].map(usize::try_from);
                    return bytes.get(start.ok()?..end.ok()?).map(|part| bytes.slice_ref(part));
                }
                Storage::Part(file, _) | Storage::Complete(file) if state.covers(range) => Arc::clone(file),
                _ => return None,
            }
        };
        let len = usize::try_from(range.end - range.start).ok()?;
        pread_exact(&file, range.start, len, wait).unwrap_or_else(|err| {
            log::warn!("cache: cannot read back {}: {err}", self.source().key);
            self.give_up();
            None
        })
    }

    /// What a reader of `range` must do, who fetches `blocks` (which contain it) as far as nobody does yet.
    pub(super) fn join(self: &Arc<Self>, range: &Range<u64>, blocks: Range<u64>) -> Join {
        let mut state = self.state();
        if state.covers(range) {
            return Join::Here;
        }
        if state.direct {
            return Join::Direct;
        }
        let flights = state.claim(self, blocks);
        Join::Wait(state.wait(range.clone()), flights)
    }

    /// Flights for what of `range` is neither here nor on its way.
    pub(super) fn claim(self: &Arc<Self>, range: Range<u64>) -> Vec<Flight> {
        let mut state = self.state();
        if state.direct { Vec::new() } else { state.claim(self, range) }
    }

    /// One flight for all of it, if nothing is here or on its way.
    pub(super) fn claim_whole(self: &Arc<Self>) -> Option<Flight> {
        let mut state = self.state();
        let fresh = state.is_fresh() && !state.direct && self.size > 0;
        fresh.then(|| state.flight(self, 0..self.size))
    }

    /// The file to write arrived bytes to; `None` if it is complete meanwhile.
    pub(super) fn part(&self) -> io::Result<Option<Arc<File>>> {
        let mut state = self.state();
        match &state.storage {
            Storage::Complete(_) | Storage::Held(_) => Ok(None),
            Storage::Part(file, _) => Ok(Some(Arc::clone(file))),
            Storage::Nothing => {
                let (file, path) = self.dir.create_part(self.size)?;
                let file = Arc::new(file);
                state.storage = Storage::Part(Arc::clone(&file), path);
                Ok(Some(file))
            }
        }
    }

    pub(super) fn is_awaited(&self, range: &Range<u64>) -> bool {
        self.state().is_awaited(range)
    }

    /// Notes that a flight's next bytes are in `file`, and tells those who waited for them. True if that was the last
    /// of the content.
    pub(super) fn landed(&self, flight: u64, bytes: Range<u64>, file: Option<&Arc<File>>) -> bool {
        let mut state = self.state();
        state.advance(flight, bytes.end);
        match (&state.storage, file) {
            (Storage::Part(now, _), Some(file)) if Arc::ptr_eq(now, file) => state.have.insert(bytes),
            // It was complete, or the file was given up.
            _ => return false,
        }
        let finished = state.have.covers(&(0..self.size)) && self.finish(&mut state);
        state.wake();
        finished
    }

    /// A flight ends with `left` not arrived. True if the content needs no more space for it.
    pub(super) fn ended(&self, flight: u64, left: &Range<u64>, trouble: &Trouble) -> bool {
        let mut state = self.state();
        state.end(flight, left, trouble);
        !matches!(state.storage, Storage::Complete(_))
    }

    /// The disk refused. What is here stays readable.
    pub(super) fn refuse(&self) {
        self.state().direct = true;
    }

    /// Somebody opens it: the disk may have recovered.
    pub(super) fn retry(&self) {
        self.state().direct = false;
    }

    /// The part file becomes the content. False if the disk does not let it: it is served as a part then.
    fn finish(&self, state: &mut State) -> bool {
        let Storage::Part(_, path) = &state.storage else { return false };
        let id = self.source().id;
        let done = self.dir.keep(path, &id).and_then(|()| File::open(self.dir.content(&id)));
        match done {
            Ok(file) => state.storage = Storage::Complete(Arc::new(file)),
            Err(err) => log::warn!("cache: cannot keep {}: {err}", self.source().key),
        }
        matches!(state.storage, Storage::Complete(_))
    }

    /// The file of a content without bytes.
    pub(super) fn empty(&self) -> io::Result<Arc<File>> {
        self.part()?;
        let mut state = self.state();
        self.finish(&mut state);
        match &state.storage {
            Storage::Part(file, _) | Storage::Complete(file) => Ok(Arc::clone(file)),
            Storage::Nothing | Storage::Held(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A local file with exactly these bytes becomes the content: renamed if `keep`, else unlinked and only served
    /// to those who have it open.
    pub(super) fn install(&self, path: &Path, keep: bool) -> io::Result<()> {
        let Some(file) = scan::open_complete(path, self.size) else {
            return Err(io::Error::other("the staged file has another size than the version"));
        };
        let mut state = self.state();
        if keep {
            self.dir.keep(path, &self.source().id)?;
        } else {
            dir::remove(path);
        }
        if let Storage::Part(_, part) = &state.storage {
            dir::remove(part);
        }
        state.storage = Storage::Complete(Arc::new(file));
        state.have.insert(0..self.size);
        state.direct = false;
        state.wake();
        Ok(())
    }

    /// These are the bytes, if nothing is here or on its way: they stay in memory until [`Self::settle`].
    pub(super) fn hold(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        if bytes.len() as u64 != self.size || !matches!(state.storage, Storage::Nothing) || !state.is_fresh() {
            return false;
        }
        state.storage = Storage::Held(bytes);
        state.have.insert(0..self.size);
        state.direct = false;
        true
    }

    /// What is in memory goes to the disk. If that does not take it, it is fetched again when somebody wants it.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        let Storage::Held(bytes) = &state.storage else { return };
        match self.write(bytes) {
            Ok(file) => state.storage = Storage::Complete(Arc::new(file)),
            Err(err) => {
                log::warn!("cache: cannot keep what was written to {}: {err}", self.source().key);
                state.clear();
                drop(state);
                if let Some(space) = self.space.upgrade() {
                    space.forget(self);
                }
            }
        }
    }

    fn write(&self, bytes: &Bytes) -> io::Result<File> {
        let (file, path) = self.dir.create_part(0)?;
        let done = file.write_all_at(bytes, 0).and_then(|()| self.dir.keep(&path, &self.source().id));
        match done {
            Ok(()) => Ok(file),
            Err(err) => {
                dir::remove(&path);
                Err(err)
            }
        }
    }

    /// A file that has some of the bytes, in `parts/`, becomes what is here, if nothing is. True if it has all of them.
    pub(super) fn install_part(&self, file: File, path: PathBuf, have: Extents) -> bool {
        let mut state = self.state();
        if !matches!(state.storage, Storage::Nothing) {
            dir::remove(&path);
            return false;
        }
        state.have = have;
        state.storage = Storage::Part(Arc::new(file), path);
        let finished = state.have.covers(&(0..self.size)) && self.finish(&mut state);
        state.wake();
        finished
    }

    /// Nothing is here or on its way.
    pub(super) fn is_untouched(&self) -> bool {
        let state = self.state();
        matches!(state.storage, Storage::Nothing) && state.is_fresh()
    }

    /// What is here, and the file that it is in.
    pub(super) fn here(&self) -> Option<(Arc<File>, Extents)> {
        self.settle();
        let state = self.state();
        match &state.storage {
            Storage::Part(file, _) | Storage::Complete(file) => Some((Arc::clone(file), state.have.clone())),
            Storage::Nothing | Storage::Held(_) => None,
        }
    }

    /// The file follows the source to its new id, after [`Self::set_source`].
    pub(super) fn rehome(&self, old: &Id) {
        let state = self.state();
        if matches!(state.storage, Storage::Complete(_)) {
            // Gone already if it was finished under the new id.
            drop(self.dir.keep(&self.dir.content(old), &self.source().id));
        }
    }

    /// The local file is not to be trusted: it is forgotten.
    pub(super) fn give_up(&self) {
        let mut state = self.state();
        match state.clear() {
            Storage::Complete(_) => self.dir.remove(&self.source().id),
            Storage::Part(_, path) => dir::remove(&path),
            Storage::Nothing | Storage::Held(_) => {}
        }
        state.direct = true;
        let everything = 0..self.size;
        state.fail(&everything, &Trouble::NoRoom);
        drop(state);
        if let Some(space) = self.space.upgrade() {
            space.forget(self);
        }
    }

    /// Tests put a broken file in the place of the part file.
    #[cfg(test)]
    pub(super) fn set_part(&self, file: File, path: &Path) {
        self.state().storage = Storage::Part(Arc::new(file), path.to_owned());
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Storage::Part(_, path) = &self.state.get_mut().unwrap_or_else(PoisonError::into_inner).storage {
            dir::remove(path);
        }
        if let Some(space) = self.space.upgrade() {
            space.left(self);
        }
    }
}
