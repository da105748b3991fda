//! One file as a multipart upload: parts in parallel, begun while the application still writes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
    store::{Headers, Part, Require, Store, Upload, operation::OPERATION},
    upload::staging::Staging,
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
    /// Parts of one file in flight.
    pub concurrency: usize,
}

impl Lanes {
    pub fn new(dir: &Path, part_size: u64, concurrency: u16) -> Self {
        let memory = Arc::new(Semaphore::new(MEMORY_KIB as usize));
        Self { memory, dir: dir.to_owned(), part_size, concurrency: usize::from(concurrency.max(1)) }
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

/// An upload in progress. Must be ended by [`Stream::complete`] or [`Stream::abort`].
#[derive(Debug)]
pub struct Stream {
    pub upload: Upload,
    /// The mtime of the object, which is fixed when the upload begins.
    pub mtime: crate::model::attr::Time,
    /// The name of the write, as the headers had it.
    pub operation: Option<String>,
    note: PathBuf,
    sent: u32,
    parts: Vec<Part>,
    tasks: JoinSet<Result<Part>>,
    failed: Option<Error>,
}

impl Stream {
    pub async fn begin<S: Store>(
        store: &S,
        lanes: &Lanes,
        key: &Key,
        headers: &Headers,
        mtime: crate::model::attr::Time,
    ) -> Result<Self> {
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
        let operation = headers.user.get(OPERATION).cloned();
        Ok(Self { upload, mtime, operation, note, sent: 0, parts: Vec::new(), tasks: JoinSet::new(), failed: None })
    }

    /// Bytes that were handed over: writing below this mark again makes the upload worthless.
    pub fn handed_over(&self, lanes: &Lanes) -> u64 {
        u64::from(self.sent) * lanes.part_size
    }

    /// Hands over the next part: `len` bytes of `staging` after what was handed over. Waits for memory and a lane.
    pub async fn send<S: Store>(&mut self, store: &Arc<S>, lanes: &Lanes, staging: &Staging, len: u64) -> Result<()> {
        while self.tasks.len() >= lanes.concurrency {
            self.join().await;
        }
        if let Some(err) = &self.failed {
            return Err(err.clone());
        }
        let room = lanes.room(len).await;
        let start = self.handed_over(lanes);
        let bytes = staging.read(start..start + len)?;
        self.sent += 1;
        let (store, upload, number) = (Arc::clone(store), self.upload.clone(), self.sent);
        self.tasks.spawn(async move {
            let part = store.part(&upload, number, bytes).await;
            drop(room);
            part
        });
        Ok(())
    }

    /// Ends the upload. The object is there afterwards, or the parts are gone.
    pub async fn complete<S: Store>(mut self, store: &S, require: Require) -> Result<Version> {
        while !self.tasks.is_empty() {
            self.join().await;
        }
        if let Some(err) = self.failed.clone() {
            self.abort(store).await;
            return Err(err);
        }
        self.parts.sort_by_key(|part| part.number);
        match store.complete(&self.upload, &self.parts, require).await {
            Ok(version) => {
                self.forget();
                Ok(version)
            }
            Err(err) => {
                self.abort(store).await;
                Err(err)
            }
        }
    }

    /// Ends the upload without an object.
    pub async fn abort<S: Store>(mut self, store: &S) {
        self.tasks.shutdown().await;
        match store.abort(&self.upload).await {
            Ok(()) => self.forget(),
            Err(err) => log::warn!("abort the upload of {}: {err}; the next mount tries again", self.upload.key),
        }
    }

    async fn join(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(Ok(part))) => self.parts.push(part),
            Some(Ok(Err(err))) => self.failed = Some(err),
            Some(Err(err)) => self.failed = Some(Error::unavailable(err)),
            None => {}
        }
    }

    fn forget(&self) {
        if let Err(err) = fs::remove_file(&self.note) {
            log::debug!("{}: {err}", self.note.display());
        }
    }
}

/// Whether the object that a HEAD shows is the one that was just completed.
pub fn verify(expected: &Version, etag: &ETag, size: u64) -> Result<()> {
    let found = Version { etag: etag.clone(), modified: None, size };
    if found.same_content(expected) {
        return Ok(());
    }
    Err(Error::unavailable(format!("the bucket has {size} bytes where {} were sent", expected.size)))
}
