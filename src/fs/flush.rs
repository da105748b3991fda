//! flush and fsync: what is dirty gets into the bucket, or the caller gets an errno and the bytes stay.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    Fs, Payload,
    file::{File, State},
    known::{self, Known},
    settle::child_key,
    types::{Fh, NodeId},
};
use crate::{
    cache::{Content, Readahead},
    clock,
    error::{Error, Result},
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        tree::Tree,
        version::Version,
    },
    store::{Copy, Require, SINGLE_MAX, Store, bucket::etag_of, probe::Support},
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

    /// Uploads everything dirty; for unmount. Gives what failed, by key; that stays dirty.
    pub async fn flush_all(&self) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        for file in self.locals() {
            if let Err(err) = self.upload(&file).await {
                failed.push((self.name_of(&file), err));
            }
        }
        failed
    }

    /// Puts everything dirty where an administrator finds it, without asking the bucket; for the very end.
    pub async fn keep_all(&self, reason: &Error) -> Vec<(String, Error)> {
        let mut kept = Vec::new();
        for file in self.locals() {
            let name = self.name_of(&file);
            let mut state = file.state.write().await;
            if self.keep(&file, &mut state, reason) {
                kept.push((name, reason.clone()));
            }
        }
        kept
    }

    fn locals(&self) -> Vec<Arc<File>> {
        let tree = self.tree();
        let local = tree.iter().filter(|(_, node)| node.payload.is_local());
        local.filter_map(|(_, node)| node.payload.file.clone()).collect()
    }

    fn name_of(&self, file: &File) -> String {
        self.tree().key(file.id).map_or_else(String::new, |key| key.as_str().to_owned())
    }

    /// Sends a file to the bucket, as it is when this is called or newer.
    pub(super) async fn upload(&self, file: &Arc<File>) -> Result<()> {
        let _names = self.names.read().await;
        let _turn = file.turn.lock().await;
        self.upload_in_turn(file).await
    }

    /// As [`Fs::upload`], for callers that hold the file's turn.
    pub(super) async fn upload_in_turn(&self, file: &Arc<File>) -> Result<()> {
        let mut state = file.state.write().await;
        let Some((key, attr)) = self.wanted_name(file)? else { return Ok(()) };
        let State { dirty: Some(dirty), tried, writes, .. } = &mut *state else { return Ok(()) };
        let fence = self.fences.raise(&key);
        *tried = true;
        if let Some(sent) = self.send_copy(&key, dirty, attr).await? {
            let content = self.contents.get(&key, &sent.version);
            self.publish(file, &mut state, &key, sent, content);
            return Ok(());
        }
        self.materialize(dirty).await?;
        let (before, stream) = (*writes, dirty.stream.take());
        let sent = if dirty.size > self.lanes.part_size {
            // Readers go on while the bytes travel; writers wait.
            let state = state.downgrade();
            self.send_parts(&key, state.dirty.as_ref().expect("seen above"), stream, attr).await
        } else {
            if let Some(stream) = stream {
                stream.abort(&*self.store).await;
            }
            let room = self.lanes.room(dirty.size).await;
            let (bytes, exclusive, unanswered) =
                (dirty.staging.read(0..dirty.size)?, dirty.exclusive, dirty.unanswered);
            drop(state);
            let sent = self.send_bytes(&key, bytes, attr, exclusive, unanswered).await;
            drop(room);
            sent
        };
        let mut state = file.state.write().await;
        if let Some(dirty) = &mut state.dirty {
            // Whatever is there now is ours, or may be.
            dirty.unanswered |= matches!(sent, Err(Error::Unavailable(_)));
            dirty.exclusive &= sent.is_err();
        }
        let sent = sent?;
        if state.writes != before || state.dirty.is_none() {
            // Somebody writes on: what this flush was for is in the bucket, and theirs will bring the rest.
            state.version = Some(sent.version);
            return Ok(());
        }
        let content = self.adopt(&key, &state, &sent.version);
        self.publish(file, &mut state, &key, sent, content);
        drop(fence);
        Ok(())
    }

    /// The key that a file is to be uploaded to, and its attributes; `None` if it was unlinked, and nobody wants it.
    fn wanted_name(&self, file: &File) -> Result<Option<(Key, Attr)>> {
        let mut tree = self.tree();
        if let Some((parent, name)) = file.former()
            && tree.get(file.id).is_some_and(|node| node.place.is_none())
        {
            self.reclaim(&mut tree, file, parent, name)?;
        }
        let Some(node) = tree.get(file.id) else { return Ok(None) };
        let attr = node.payload.known.attr;
        if node.place.is_none() {
            return Ok(None);
        }
        // Below a directory that another host removed there is no name any more.
        Ok(Some((tree.key(file.id).ok_or(Error::Stale)?, attr)))
    }

    /// Another host gave the name to another version while this one was open and written: the last close wins.
    fn reclaim(&self, tree: &mut Tree<Payload>, file: &File, parent: NodeId, name: Name) -> Result<()> {
        let key = child_key(tree, parent, &name)?;
        if let Some(now) = tree.child(parent, &name) {
            if self.has_local(tree, now) || tree.get(now).is_some_and(|node| node.kind == Kind::Dir) {
                return Err(Error::Stale);
            }
            self.orphan(tree, now, &key);
        }
        tree.rename(file.id, parent, name);
        file.forget_former();
        Ok(())
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
            let attr = Attr { size: sent.version.size, ..sent.attr };
            node.payload.known = Known { version: Some(sent.version), attr, asked: Some(sent.at) };
        }
        file.set_dirty(false);
    }

    /// One PUT. After an attempt that nobody answered, an object of these very bytes is the one of that attempt.
    async fn send_bytes(&self, key: &Key, bytes: Bytes, attr: Attr, exclusive: bool, unanswered: bool) -> Result<Sent> {
        let require = requirement(exclusive, self.conditional().absent);
        let head = &bytes[..bytes.len().min(usize::try_from(HEAD).expect("64 KiB"))];
        let headers = known::new_headers(&self.options, key, &attr, head);
        let at = clock::now();
        let version = match self.store.put(key, bytes.clone(), &headers, require).await {
            Err(Error::Exists) if unanswered => {
                let object = self.store.head(key).await?;
                // Where the ETag is no sum of the bytes nobody can tell, and that is not success.
                let ours = Version { etag: etag_of(&Md5::digest(&bytes)), modified: None, size: bytes.len() as u64 };
                if object.headers.user != headers.user || !object.version.same_content(&ours) {
                    return Err(Error::Exists);
                }
                Version { modified: None, ..object.version }
            }
            sent => sent?,
        };
        if version.size != bytes.len() as u64 {
            return Err(Error::unavailable(format!("{} of {} bytes arrived", version.size, bytes.len())));
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

    async fn send_parts(&self, key: &Key, dirty: &Dirty, stream: Option<Stream>, attr: Attr) -> Result<Sent> {
        // The headers were fixed when the first part went: another time that was set since needs other headers.
        let fits = |stream: &Stream| {
            stream.upload.key == *key && (!dirty.time_set || stream.mtime.whole() == attr.mtime.whole())
        };
        match stream {
            Some(stream) if fits(&stream) => match self.send_rest(key, dirty, stream, attr).await {
                Err(Error::Exists) => Err(Error::Exists),
                Err(err) => {
                    log::info!("{key} is sent again as a whole: {err}");
                    self.send_anew(key, dirty, attr).await
                }
                sent => sent,
            },
            other => {
                if let Some(stream) = other {
                    stream.abort(&*self.store).await;
                }
                self.send_anew(key, dirty, attr).await
            }
        }
    }

    async fn send_anew(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Sent> {
        let head = dirty.staging.read(0..HEAD)?;
        let headers = known::new_headers(&self.options, key, &attr, &head);
        let stream = Stream::begin(&*self.store, &self.lanes, key, &headers, attr.mtime).await?;
        self.send_rest(key, dirty, stream, attr).await
    }

    /// Sends what is not sent yet, and ends the upload.
    async fn send_rest(&self, key: &Key, dirty: &Dirty, mut stream: Stream, attr: Attr) -> Result<Sent> {
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
        let require = requirement(dirty.exclusive, self.conditional().complete);
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

    /// The last opener goes, and the file could not be uploaded: the bytes go where an administrator finds them, and the
    /// name shows the bucket again. `false`: somebody opened it meanwhile, and may have better luck.
    pub(super) async fn keep_lost(&self, file: &Arc<File>, err: &Error) -> bool {
        let mut state = file.state.write().await;
        if self.tree().get(file.id).is_some_and(|node| node.opens > 1) {
            return false;
        }
        if let Some(stream) = state.dirty.as_mut().and_then(|dirty| dirty.stream.take()) {
            stream.abort(&*self.store).await;
        }
        self.keep(file, &mut state, err);
        true
    }

    /// Whether there was something to keep.
    fn keep(&self, file: &Arc<File>, state: &mut State, err: &Error) -> bool {
        let Some(dirty) = state.dirty.take() else { return false };
        file.set_dirty(false);
        let mut tree = self.tree();
        let key = tree.key(file.id);
        let former = file.former();
        if let Some(node) = tree.get_mut(file.id) {
            node.payload.known.asked = None;
            node.payload.pages = None;
            if node.place.is_none() && former.is_none() {
                dirty.staging.discard(); // unlinked: nobody wants it
                return false;
            }
        }
        let name = key.as_ref().map_or("a file without a name", Key::as_str);
        match dirty.staging.keep(dirty.size, &err.to_string()) {
            Ok(path) => log::error!("{name} could not be uploaded ({err}); its bytes are in {}", path.display()),
            Err(io) => log::error!("{name} could not be uploaded ({err}), and its bytes not be kept: {io}"),
        }
        if let Some(key) = key.filter(|_| state.version.is_none()) {
            self.orphan(&mut tree, file.id, &key);
            file.forget_former();
        }
        true
    }

    /// Drops what was written to a file that was unlinked here. Whether it was.
    pub(super) async fn discard(&self, file: &Arc<File>) -> bool {
        let unlinked = |tree: &Tree<Payload>| tree.get(file.id).is_none_or(|node| node.place.is_none());
        if file.former().is_some() || !unlinked(&self.tree()) {
            return false;
        }
        let mut state = file.state.write().await;
        if let Some(mut dirty) = state.dirty.take() {
            if let Some(stream) = dirty.stream.take() {
                stream.abort(&*self.store).await;
            }
            dirty.staging.discard();
        }
        file.set_dirty(false);
        true
    }
}

fn requirement(exclusive: bool, can: Support) -> Require {
    if exclusive && can.works() { Require::Absent } else { Require::Anything }
}
