//! flush and fsync: what is dirty gets into the bucket, or the caller gets an errno and the bytes stay.

use std::{sync::Arc, time::Instant};

use super::{
    Fs,
    file::{File, State},
    known::{self, Known},
    types::Fh,
};
use crate::{
    cache::{Content, Readahead},
    clock,
    error::{Error, Result},
    model::{attr::Attr, key::Key, version::Version},
    store::{Copy, Require, SINGLE_MAX, Store},
    upload::{
        dirty::{Dirty, Piece},
        multipart::{self, Stream},
    },
};

/// Bytes at the start of a file that decide its charset.
pub(super) const HEAD: u64 = 64 << 10;
/// Bytes that are copied from the content below into staging at a time.
const STEP: u64 = 1 << 20;

/// An object that was just written.
struct Sent {
    version: Version,
    /// When the request was sent that made it.
    at: Instant,
    attr: Attr,
}

impl<S: Store> Fs<S> {
    /// close(2): what is dirty is in the bucket when this returns `Ok`. On failure it stays dirty, and the next flush
    /// or fsync tries again.
    pub async fn flush(&self, fh: Fh) -> Result<()> {
        let handle = self.handles.get(fh)?;
        if handle.file.is_dirty() { self.upload(&handle.file).await } else { Ok(()) }
    }

    pub async fn fsync(&self, fh: Fh) -> Result<()> {
        self.flush(fh).await
    }

    /// Uploads everything dirty; for unmount. Gives what failed, by key.
    pub async fn flush_all(&self) -> Vec<(String, Error)> {
        let dirty: Vec<Arc<File>> = {
            let tree = self.tree();
            tree.iter()
                .filter(|(_, node)| node.payload.is_local())
                .filter_map(|(_, n)| n.payload.file.clone())
                .collect()
        };
        let mut failed = Vec::new();
        for file in dirty {
            if let Err(err) = self.upload(&file).await {
                let key = self.tree().key(file.id).map_or_else(String::new, |key| key.as_str().to_owned());
                self.keep_lost(&file, &err).await;
                failed.push((key, err));
            }
        }
        failed
    }

    /// Sends a file to the bucket, as it is when this is called or newer.
    pub(super) async fn upload(&self, file: &Arc<File>) -> Result<()> {
        let _names = self.names.read().await;
        let _turn = file.turn.lock().await;
        self.upload_in_turn(file).await
    }

    /// As [`Fs::upload`], for callers that hold the file's turn.
    pub(super) async fn upload_in_turn(&self, file: &Arc<File>) -> Result<()> {
        loop {
            let mut state = file.state.write().await;
            let Some(dirty) = &mut state.dirty else { return Ok(()) };
            let (key, attr) = {
                let tree = self.tree();
                let Some(node) = tree.get(file.id) else { return Ok(()) };
                if node.place.is_none() {
                    dirty.staging.set_precious(false);
                    return Ok(()); // unlinked: nobody wants it
                }
                // Below a directory that another host removed there is no name any more.
                (tree.key(file.id).ok_or(Error::Stale)?, node.payload.known.attr)
            };
            let fence = self.fences.raise(&key);
            if let Some(sent) = self.send_copy(&key, dirty, attr).await? {
                let content = self.contents.get(&key, &sent.version);
                self.publish(file, &mut state, &key, sent, content);
                return Ok(());
            }
            self.materialize(dirty).await?;
            let stream = dirty.stream.take();
            let writes = state.writes;
            // Readers go on while the bytes travel; writers wait.
            let state = state.downgrade();
            let sent = self.send(&key, state.dirty.as_ref().expect("seen above"), stream, attr).await?;
            drop(state);
            let mut state = file.state.write().await;
            if state.writes != writes {
                // What was sent is in the bucket, but it is not the newest.
                state.version = Some(sent.version);
                continue;
            }
            let content = self.adopt(&key, &state, &sent.version);
            self.publish(file, &mut state, &key, sent, content);
            drop(fence);
            return Ok(());
        }
    }

    /// What was sent need not be downloaded.
    fn adopt(&self, key: &Key, state: &State, version: &Version) -> Arc<Content> {
        let dirty = state.dirty.as_ref().expect("it was sent");
        let bytes = match dirty.staging.file(dirty.size) {
            Ok(Some(path)) => return self.contents.adopt(key, version, path),
            Ok(None) => dirty.staging.read(0..dirty.size),
            Err(err) => Err(err),
        };
        match bytes {
            Ok(bytes) => self.contents.adopt_bytes(key, version, &bytes),
            Err(err) => {
                log::warn!("{key} is in the bucket but not in the cache: {err}");
                self.contents.get(key, version)
            }
        }
    }

    /// Makes what was sent the content of the node.
    fn publish(&self, file: &Arc<File>, state: &mut State, key: &Key, sent: Sent, content: Arc<Content>) {
        if let Some(dirty) = state.dirty.take() {
            dirty.staging.discard();
        }
        state.content = Some(content);
        state.version = Some(sent.version.clone());
        let mut tree = self.tree();
        let parent = tree.get(file.id).and_then(|node| node.place.as_ref()).and_then(|(parent, _)| tree.key(*parent));
        self.forget_key(key, parent.as_ref());
        if let Some(node) = tree.get_mut(file.id) {
            node.payload.pages = Some(sent.version.clone());
            node.payload.known = Known { version: Some(sent.version), attr: sent.attr, asked: Some(sent.at) };
        }
        file.set_dirty(false);
    }

    /// One PUT up to the part size, parts beyond.
    async fn send(&self, key: &Key, dirty: &Dirty, stream: Option<Stream>, attr: Attr) -> Result<Sent> {
        let parts = dirty.size > self.lanes.part_size;
        let can = if parts { self.conditional().complete } else { self.conditional().absent };
        let require = if dirty.exclusive && can.works() { Require::Absent } else { Require::Anything };
        if parts {
            return self.send_parts(key, dirty, stream, attr, require).await;
        }
        if let Some(stream) = stream {
            stream.abort(&*self.store).await;
        }
        let _room = self.lanes.room(dirty.size).await;
        let bytes = dirty.staging.read(0..dirty.size)?;
        let head = &bytes[..bytes.len().min(usize::try_from(HEAD).expect("64 KiB"))];
        let headers = known::new_headers(&self.options, key, &attr, head);
        let at = clock::now();
        let version = self.store.put(key, bytes, &headers, require).await?;
        if version.size != dirty.size {
            return Err(Error::unavailable(format!("{} of {} bytes arrived", version.size, dirty.size)));
        }
        Ok(Sent { version, at, attr })
    }

    /// A server-side COPY of a file that is nothing but another object. `None`: it is not, or the server cannot, or the
    /// source has changed.
    async fn send_copy(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Option<Sent>> {
        let Some(base) = dirty.base.as_ref().filter(|_| dirty.is_copy()) else { return Ok(None) };
        let exclusive = dirty.exclusive;
        if base.version.size > SINGLE_MAX || (exclusive && !self.conditional().copy.works()) {
            return Ok(None);
        }
        let head = self.contents.try_read(&base.content, 0..HEAD.min(dirty.size), &Readahead::default());
        let head = head.unwrap_or_default();
        let headers = known::new_headers(&self.options, key, &attr, &head);
        let require = if exclusive { Require::Absent } else { Require::Anything };
        let source = Some(base.version.etag.clone());
        let copy = Copy { headers: Some(headers), size: Some(dirty.size), source, require };
        let at = clock::now();
        match self.store.copy(&base.key, key, copy).await {
            Ok(version) => {
                self.contents.copied((&base.key, &base.version), (key, &version));
                Ok(Some(Sent { version: Version { modified: None, ..version }, at, attr }))
            }
            Err(Error::Stale | Error::NotFound | Error::Unsupported) => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn send_parts(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: Option<Stream>,
        attr: Attr,
        require: Require,
    ) -> Result<Sent> {
        let mut stream = match stream {
            // The application set another time after the first part went: the headers are fixed by then.
            Some(stream) if stream.upload.key == *key && stream.mtime.whole() == attr.mtime.whole() => stream,
            Some(stream) if stream.upload.key == *key && !dirty.time_set => stream,
            other => {
                if let Some(stream) = other {
                    stream.abort(&*self.store).await;
                }
                let head = dirty.staging.read(0..HEAD)?;
                let headers = known::new_headers(&self.options, key, &attr, &head);
                Stream::begin(&*self.store, &self.lanes, key, &headers, attr.mtime).await?
            }
        };
        let attr = Attr { mtime: stream.mtime, ..attr };
        loop {
            let left = dirty.size - stream.handed_over(&self.lanes).min(dirty.size);
            if left == 0 {
                break;
            }
            let len = left.min(self.lanes.part_size);
            if let Err(err) = stream.send(&self.store, &self.lanes, &dirty.staging, len).await {
                stream.abort(&*self.store).await;
                return Err(err);
            }
        }
        let at = clock::now();
        let version = Version { size: dirty.size, ..stream.complete(&*self.store, require).await? };
        let object = self.store.head(key).await?;
        multipart::verify(&version, &object.version.etag, object.version.size)?;
        Ok(Sent { version, at, attr })
    }

    /// Fetches what the file still takes from the object below it, so that staging is whole.
    async fn materialize(&self, dirty: &mut Dirty) -> Result<()> {
        let ahead = Arc::new(Readahead::default());
        for piece in dirty.pieces(0..dirty.size) {
            let (Piece::Base(range), Some(base)) = (piece, dirty.base.clone()) else { continue };
            let mut at = range.start;
            while at < range.end {
                let step = at..range.end.min(at + STEP);
                let bytes = self.contents.read(&base.content, step.clone(), &ahead).await?;
                dirty.staging.write(at, &bytes)?;
                at = step.end;
            }
        }
        Ok(())
    }

    /// Nobody has the file open any more, and it could not be uploaded: the bytes go where an administrator finds them,
    /// and the name shows the bucket again.
    pub(super) async fn keep_lost(&self, file: &Arc<File>, err: &Error) {
        let mut state = file.state.write().await;
        let Some(dirty) = state.dirty.take() else { return };
        let size = dirty.size;
        if let Some(stream) = dirty.stream {
            stream.abort(&*self.store).await;
        }
        let mut tree = self.tree();
        let key = tree.key(file.id);
        file.set_dirty(false);
        if let Some(node) = tree.get_mut(file.id) {
            node.payload.known.asked = None;
            node.payload.pages = None;
        }
        if let Some(key) = key {
            match dirty.staging.keep(size, &err.to_string()) {
                Ok(path) => log::error!("{key} could not be uploaded ({err}); its bytes are in {}", path.display()),
                Err(io) => log::error!("{key} could not be uploaded ({err}), and its bytes not be kept: {io}"),
            }
            if state.version.is_none() {
                self.orphan(&mut tree, file.id, &key);
            }
        }
    }
}
