//! One file as a multipart upload: parts in parallel, begun while the application still writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{
    error::{Error, Result},
    model::{
        attr::Attr,
        key::Key,
        version::{ETag, Version},
    },
    store::{Headers, Object, Part, Require, Store, Upload, bucket::etag_of_parts, operation::OPERATION},
    upload::plan::Limits,
};

/// Kibibytes of file content that all uploads together hold in memory: four parts of the default size.
const MEMORY_KIB: u32 = 64 << 10;

/// What all uploads of a mount share.
#[derive(Debug)]
pub struct Lanes {
    memory: Arc<Semaphore>,
    /// Where uploads that were begun are written down, so that the next run ends them if this one is killed.
    dir: PathBuf,
    pub part_size: u64,
    pub limits: Limits,
    /// Parts of one file in flight.
    pub concurrency: usize,
    /// The server cannot make an object of copied ranges.
    copies_fail: AtomicBool,
}

impl Lanes {
    pub fn new(dir: &Path, part_size: u64, concurrency: u16) -> Self {
        let memory = Arc::new(Semaphore::new(MEMORY_KIB as usize));
        let concurrency = usize::from(concurrency.max(1));
        let copies_fail = AtomicBool::new(false);
        Self { memory, dir: dir.to_owned(), part_size, limits: Limits::new(part_size), concurrency, copies_fail }
    }

    /// Whether unchanged ranges may be copied inside the bucket, as far as is known.
    pub fn copies_work(&self) -> bool {
        !self.copies_fail.load(Ordering::Relaxed)
    }

    /// The server turned out not to copy ranges, or not to take parts of different sizes.
    pub fn give_up_copies(&self, err: &Error) {
        if !self.copies_fail.swap(true, Ordering::Relaxed) {
            log::warn!("changes in large files will send all of them: the bucket does not copy ranges ({err})");
        }
    }

    /// Room for `bytes` in memory, once others gave theirs back. More than there is counts as all of it.
    pub async fn room(&self, bytes: u64) -> OwnedSemaphorePermit {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MEMORY_KIB).clamp(1, MEMORY_KIB);
        Arc::clone(&self.memory).acquire_many_owned(kib).await.expect("never closed")
    }

    /// Uploads that a former run left: aborted, so that nobody pays for their parts.
    pub async fn abort_leftovers<S: Store>(&self, store: &S) -> Result<u32> {
        let mut aborted = 0;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|ext| ext != "upload") {
                continue;
            }
            if let Ok(Begun { key, id }) = serde_json::from_slice(&fs::read(&path)?) {
                store.abort(&Upload { key: Key::new(&key), id }).await?;
                aborted += 1;
            }
            fs::remove_file(&path)?;
        }
        Ok(aborted)
    }
}

#[derive(Deserialize, Serialize)]
struct Begun {
    key: String,
    id: String,
}

/// What an administrator needs to complete an upload, or to abort it.
#[derive(Serialize)]
struct Left<'a> {
    key: &'a str,
    id: &'a str,
    /// Number, ETag, and the CRC-32 if the upload has such sums.
    parts: Vec<(u32, &'a str, Option<&'a str>)>,
}

/// An upload in progress. Must be ended by [`Stream::complete`] or [`Stream::abort`].
#[derive(Debug)]
pub struct Stream {
    pub upload: Upload,
    /// The attributes of the object, its size apart; they are fixed when the upload begins.
    pub attr: Attr,
    /// The name of the write, as the headers had it.
    pub operation: Option<String>,
    /// As the object will have them.
    pub headers: Headers,
    note: PathBuf,
    /// By number.
    parts: BTreeMap<u32, Slot>,
    /// Numbers of parts on their way. One that is sent again waits until its former self has landed: of two at once
    /// nobody knows which the server keeps.
    flying: BTreeSet<u32>,
    tasks: JoinSet<(u32, Result<Part>)>,
    failed: Option<Error>,
}

/// A part that is on its way, or with the server.
#[derive(Debug)]
struct Slot {
    range: Range<u64>,
    /// `None` while it is on its way.
    part: Option<Part>,
    /// Its bytes are with the server alone.
    released: bool,
}

/// What a part is made of.
#[derive(Debug)]
pub enum Matter<'a> {
    Bytes(Bytes, OwnedSemaphorePermit),
    /// The same range of an object.
    Copy(&'a Key, &'a ETag),
}

impl Stream {
    pub async fn begin<S: Store>(store: &S, lanes: &Lanes, key: &Key, headers: &Headers, attr: Attr) -> Result<Self> {
        let upload = store.begin(key, headers).await?;
        let wall = crate::clock::wall();
        let note = lanes.dir.join(format!("{:016x}-{}-{}.upload", key.ino(), wall.sec, wall.nsec));
        let begun = Begun { key: key.as_str().to_owned(), id: upload.id.clone() };
        let text = serde_json::to_string(&begun).expect("strings always serialize");
        if let Err(err) = fs::write(&note, text) {
            log::warn!(
                "{}: {err}; the parts of {key} stay in the bucket if this process is killed now",
                note.display()
            );
        }
        let (parts, flying) = (BTreeMap::new(), BTreeSet::new());
        let operation = headers.user.get(OPERATION).cloned();
        let headers = headers.clone();
        Ok(Self { upload, attr, operation, headers, note, parts, flying, tasks: JoinSet::new(), failed: None })
    }

    /// Whether this range is with the server, or on its way there, as that part.
    pub fn has(&self, number: u32, range: &Range<u64>) -> bool {
        self.parts.get(&number).is_some_and(|slot| slot.range == *range)
    }

    /// The number of the part after the last one.
    pub fn next(&self) -> u32 {
        self.parts.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// The bytes of `range` change: the parts that hold any of them count as not sent.
    pub fn change(&mut self, range: &Range<u64>) {
        self.parts.retain(|_, slot| slot.range.end <= range.start || range.end <= slot.range.start);
    }

    /// The file ends at `size` now.
    pub fn truncate(&mut self, size: u64) {
        self.parts.retain(|_, slot| slot.range.end <= size);
    }

    /// Whether a file that ends at `size` ends in the middle of a part whose bytes are with the server alone.
    pub fn cuts_released(&self, size: u64) -> bool {
        self.parts.values().any(|slot| slot.released && slot.range.start < size && size < slot.range.end)
    }

    /// Waits for a lane: fewer than `lanes.concurrency` parts are on their way then, and the one of that number is not.
    pub async fn lane(&mut self, lanes: &Lanes, number: u32) -> Result<()> {
        while (self.tasks.len() >= lanes.concurrency || self.flying.contains(&number)) && self.join().await {}
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Sends a part. To be called after [`Self::lane`].
    pub fn send<S: Store>(&mut self, store: &Arc<S>, number: u32, range: Range<u64>, matter: Matter<'_>) {
        self.parts.insert(number, Slot { range: range.clone(), part: None, released: false });
        self.flying.insert(number);
        let (store, upload) = (Arc::clone(store), self.upload.clone());
        match matter {
            Matter::Bytes(bytes, room) => self.tasks.spawn(async move {
                let part = store.part(&upload, number, bytes).await;
                drop(room);
                (number, part)
            }),
            Matter::Copy(from, etag) => {
                let (from, etag) = (from.clone(), etag.clone());
                self.tasks.spawn(async move { (number, store.part_copy(&upload, number, &from, range, &etag).await) })
            }
        };
    }

    /// Waits until all parts have landed. Those that failed count as not sent.
    pub async fn land(&mut self) -> Result<()> {
        while self.join().await {}
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The first part that is with the server and has not been released; the very first one never: programs write
    /// the header again when they know the rest.
    pub fn releasable(&self) -> Option<Range<u64>> {
        let mut behind = self.parts.iter().filter(|(number, slot)| **number > 1 && slot.part.is_some());
        behind.find(|(_, slot)| !slot.released).map(|(_, slot)| slot.range.clone())
    }

    /// The bytes of a part are with the server alone now.
    pub fn release(&mut self, range: &Range<u64>) {
        for slot in self.parts.values_mut().filter(|slot| slot.range == *range) {
            slot.released = true;
        }
    }

    /// Makes the object. All parts must have been sent and landed. If it fails, the upload is still there, unless the bucket says
    /// that it is not.
    pub async fn complete<S: Store>(&self, store: &S, require: Require) -> Result<Version> {
        let parts = self.landed();
        let unconditional = !matches!(require, Require::Version(_));
        let version = match store.complete(&self.upload, &parts, require).await {
            // The upload is gone: an earlier attempt may have made the object, and its answer was lost.
            Err(Error::NotFound) if unconditional => self.made(store, &parts).await?,
            done => done?,
        };
        self.forget();
        Ok(version)
    }

    /// The object at the key, if it is the one of these parts.
    async fn made<S: Store>(&self, store: &S, parts: &[Part]) -> Result<Version> {
        let gone = || Error::unavailable("the bucket has lost the upload");
        let object = match store.head(&self.upload.key).await {
            Err(Error::NotFound) => return Err(gone()),
            object => object?,
        };
        let ours =
            Version { etag: etag_of_parts(parts), modified: None, size: parts.iter().map(|part| part.size).sum() };
        if object.version.same_content(&ours) { Ok(ours) } else { Err(gone()) }
    }

    /// Ends the upload without an object.
    pub async fn abort<S: Store>(mut self, store: &S) {
        self.tasks.shutdown().await;
        match store.abort(&self.upload).await {
            Ok(()) => self.forget(),
            Err(err) => log::warn!("abort the upload of {}: {err}; the next mount tries again", self.upload.key),
        }
    }

    /// The upload is left to an administrator: it alone has some of the bytes. What completes it is written to `note`.
    pub fn leave(self, note: &Path) -> Result<()> {
        let landed = self.landed();
        let parts = landed.iter().map(|part| (part.number, part.etag.as_str(), part.crc32.as_deref())).collect();
        let left = Left { key: self.upload.key.as_str(), id: &self.upload.id, parts };
        fs::write(note, serde_json::to_string(&left).expect("strings and numbers always serialize"))?;
        self.forget();
        Ok(())
    }

    fn landed(&self) -> Vec<Part> {
        self.parts.values().filter_map(|slot| slot.part.clone()).collect()
    }

    /// Waits until one more part has landed. False if none is on its way.
    pub async fn join(&mut self) -> bool {
        let Some(landed) = self.tasks.join_next().await else { return false };
        let err = match landed {
            Ok((number, answer)) => {
                self.flying.remove(&number);
                match (answer, self.parts.get_mut(&number)) {
                    (Ok(part), Some(slot)) => {
                        slot.part = Some(part);
                        return true;
                    }
                    // Its bytes changed meanwhile.
                    (_, None) => return true,
                    (Err(err), Some(_)) => {
                        self.parts.remove(&number);
                        err
                    }
                }
            }
            Err(panic) => {
                // Nobody knows which it was.
                self.parts.retain(|_, slot| slot.part.is_some());
                Error::unavailable(panic)
            }
        };
        if self.tasks.is_empty() {
            self.flying.clear();
        }
        self.failed = Some(err);
        true
    }

    fn forget(&self) {
        if let Err(err) = fs::remove_file(&self.note) {
            log::debug!("{}: {err}", self.note.display());
        }
    }
}

/// Checks what a HEAD shows after `made` was completed by `operation`: that object and all of it, not the `former` one;
/// or whatever took its place since.
pub fn verify(made: &Version, operation: Option<&str>, former: Option<&ETag>, found: &Object) -> Result<()> {
    if found.version.same_content(made) {
        return Ok(());
    }
    let size = found.version.size;
    if operation.is_some() && found.operation.as_deref() == operation {
        return Err(Error::unavailable(format!("the bucket has {size} bytes where {} were sent", made.size)));
    }
    if former.is_some_and(|former| former.unquoted() == found.version.etag.unquoted()) {
        return Err(Error::unavailable("the bucket still has what was there before, though it confirmed the upload"));
    }
    Ok(())
}
