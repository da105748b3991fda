//! flush and fsync: what is dirty gets into the bucket, or the caller gets an errno and the bytes stay.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Fs, Payload,
    conflict::lost,
    exclusive::stub_will_do,
    file::{File, Handle, State},
    guard::{self, Guard},
    known::Known,
    send::{Sent, same_headers},
    settle::child_key,
    types::{Fh, NodeId, SetAttr, SetTime},
};
use crate::{
    cache::{Content, Written},
    config::Conflict,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        tree::Tree,
        version::Version,
    },
    store::Store,
    upload::dirty::{Dirty, Piece},
};

impl<S: Store> Fs<S> {
    /// close(2): what is dirty is in the bucket when this returns `Ok`. On failure it stays dirty, and the next flush
    /// or fsync tries again. A reader that closes has nothing to save: what others are writing may be half of a file.
    pub async fn flush(&self, fh: Fh) -> Result<()> {
        let handle = self.handles.get(fh)?;
        if !handle.write {
            return Ok(());
        }
        match self.save(&handle).await {
            // What this descriptor was told it need not be told again.
            (Err(Error::Conflict(_)), true) => Ok(()),
            (done, _) => done,
        }
    }

    /// fsync(2): as [`Fs::flush`], and what is not in the bucket is an error every time.
    pub async fn fsync(&self, fh: Fh) -> Result<()> {
        if let Some(synced) = self.fsync_here(fh).await {
            return synced;
        }
        let handle = self.handles.get(fh)?;
        self.save(&handle).await.0
    }

    /// Uploads what is dirty. With whether this descriptor was told already, since the last write, that the content
    /// is lost to another version.
    async fn save(&self, handle: &Handle) -> (Result<()>, bool) {
        if !handle.file.is_dirty() {
            return (Ok(()), false);
        }
        let done = self.upload(&handle.file).await;
        if !matches!(done, Err(Error::Conflict(_))) {
            return (done, false);
        }
        let now = handle.file.state.read().await.writes + 1;
        (done, handle.told.swap(now, Ordering::AcqRel) == now)
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

    pub(super) fn locals(&self) -> Vec<Arc<File>> {
        let tree = self.tree();
        let local = tree.iter().filter(|(_, node)| node.payload.is_dirty());
        local.filter_map(|(_, node)| node.payload.file.clone()).collect()
    }

    pub(super) fn name_of(&self, file: &File) -> String {
        self.tree().key(file.id).map_or_else(String::new, |key| key.as_str().to_owned())
    }

    /// Sends a file to the bucket, as it is when this is called or newer.
    pub(super) async fn upload(&self, file: &Arc<File>) -> Result<()> {
        let _names = self.share_node(file.id).await;
        let _turn = file.turn.lock().await;
        self.upload_in_turn(file).await
    }

    /// As [`Fs::upload`], for callers that hold the file's turn.
    pub(super) async fn upload_in_turn(&self, file: &Arc<File>) -> Result<()> {
        let done = self.upload_wanted(file).await;
        if let Err(Error::Conflict(_)) = &done {
            self.give_way(file, &done).await;
        }
        done
    }

    async fn upload_wanted(&self, file: &Arc<File>) -> Result<()> {
        let mut stream = file.stream.lock().await;
        let mut state = file.state.write().await;
        let Some((key, attr)) = self.wanted_name(file)? else { return Ok(()) };
        let State { dirty: Some(dirty), tried, writes, version, .. } = &mut *state else { return Ok(()) };
        if !dirty.lacks.is_empty() {
            return Err(Error::NoSpace);
        }
        let fence = self.fences.raise(&key);
        let mut guard = self.guard(dirty, version.as_ref(), dirty.size > self.lanes.part_size);
        let stub = stub_will_do(dirty, &key, attr);
        *tried |= stub.is_none();
        let without_bytes = match stub {
            None => self.send_copy(&key, dirty, attr, &mut guard).await,
            sent => Ok(sent),
        };
        match without_bytes {
            Ok(None) => {}
            Ok(Some(sent)) => {
                let (made, content) = (Is::File(sent.version.clone()), self.contents.get(&key, &sent.version));
                self.publish(file, &mut state, &key, sent, content);
                fence.made(made);
                return Ok(());
            }
            Err(err) => {
                guard::remember(dirty, guard.sent);
                return Err(err);
            }
        }
        let (before, time_set) = (*writes, dirty.time_set);
        let (sent, content) = if dirty.size > self.lanes.part_size {
            // Readers go on while the bytes travel; writers wait.
            let state = state.downgrade();
            let dirty = state.dirty.as_ref().expect("seen above");
            let sent =
                self.send_parts(&key, dirty, &mut stream, attr, &mut guard).await.map_err(|err| self.base_gone(err));
            let content = match &sent {
                Ok(sent) => Some(self.adopt_pieces(&key, dirty, &sent.version).await),
                Err(_) => None,
            };
            (sent, content)
        } else {
            self.materialize(dirty).await.map_err(|err| self.base_gone(err))?;
            if let Some(stream) = stream.take() {
                stream.abort(&*self.store).await;
            }
            let room = self.lanes.room(dirty.size).await;
            let bytes = dirty.staging.read(0..dirty.size)?;
            drop((state, stream));
            let sent = self.send_bytes(&key, bytes, attr, &mut guard).await;
            drop(room);
            (sent, None)
        };
        let mut state = file.state.write().await;
        state.dirty.iter_mut().for_each(|dirty| self.told(dirty, &key, &mut guard, sent.is_ok()));
        let sent = sent?;
        if state.writes != before || state.dirty.is_none() {
            // Somebody writes on: what this flush was for is in the bucket, and theirs will bring the rest.
            fence.made(Is::File(sent.version.clone()));
            state.version = Some(sent.version);
            return Ok(());
        }
        let content = content.unwrap_or_else(|| self.adopt(&key, &state, &sent.version));
        let late = (!same_headers(&sent.attr, &attr, time_set)).then(|| sent.version.clone());
        let made = Is::File(sent.version.clone());
        self.publish(file, &mut state, &key, sent, content);
        drop(state);
        fence.made(made);
        let Some(version) = late else { return Ok(()) };
        self.set_late(file, (&key, &version), attr, time_set).await
    }

    /// What a dirty file knows of the bucket after an upload.
    fn told(&self, dirty: &mut Dirty, key: &Key, guard: &mut Guard, done: bool) {
        if done {
            // Whatever is there now is ours.
            guard.sent.clear();
            (dirty.exclusive, dirty.moved) = (false, false);
            self.settle_stub(dirty.stub.take(), key);
        }
        guard::remember(dirty, std::mem::take(&mut guard.sent));
    }

    /// What somebody set of an object whose upload had begun, and could not begin again. The bytes are there: if the name
    /// has another version by now, or none, that came after them, with attributes of its own.
    async fn set_late(
        &self,
        file: &Arc<File>,
        (key, version): (&Key, &Version),
        attr: Attr,
        time_set: bool,
    ) -> Result<()> {
        let time = |time| time_set.then_some(SetTime::At(time));
        let set = SetAttr {
            mode: Some(attr.mode),
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            mtime: time(attr.mtime),
            atime: time(attr.atime),
            ..SetAttr::default()
        };
        let known = match self.rewrite(key, &set, file, Some(version)).await {
            Err(Error::Stale | Error::NotFound) => return Ok(()),
            known => known?,
        };
        if let Some(node) = self.tree().get_mut(file.id).filter(|node| !node.payload.is_local()) {
            node.payload.known = known;
        }
        Ok(())
    }

    /// The key that a file is to be uploaded to, and its attributes; `None` if it was unlinked, and nobody wants it.
    fn wanted_name(&self, file: &File) -> Result<Option<(Key, Attr)>> {
        let mut tree = self.tree();
        if let Some((parent, name)) = file.former()
            && tree.get(file.id).is_some_and(|node| node.place.is_none())
        {
            if self.options.conflict == Conflict::Detect {
                return Err(lost(file));
            }
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
    pub(super) fn adopt(&self, key: &Key, state: &State, version: &Version) -> Arc<Content> {
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

    /// The same for a large file: what was written is here, and what did not change is as far here as it was before.
    async fn adopt_pieces(&self, key: &Key, dirty: &Dirty, version: &Version) -> Arc<Content> {
        let pieces = dirty.pieces(0..dirty.size);
        let here = |piece: &&Piece| matches!(piece, Piece::Staged(_) | Piece::Zeros(_));
        let known = pieces.iter().filter(here).map(|piece| piece.range().clone()).collect();
        let written = match dirty.staging.file(dirty.size) {
            Ok(Some(path)) => Ok(Written::File(path.to_owned())),
            Ok(None) => {
                let runs = dirty.staging.here().iter();
                runs.map(|run| Ok((run.start, dirty.staging.read(run)?))).collect::<Result<_>>().map(Written::Bytes)
            }
            Err(err) => Err(err),
        };
        match written {
            Ok(written) => {
                let below = dirty.base.as_ref().map(|base| (Arc::clone(&base.content), dirty.unchanged()));
                self.contents.adopt_over(key, version, written, known, below).await
            }
            Err(err) => {
                log::warn!("{key} is in the bucket but not in the cache: {err}");
                self.contents.get(key, version)
            }
        }
    }

    /// Makes what was sent the content of the node.
    pub(super) fn publish(&self, file: &Arc<File>, state: &mut State, key: &Key, sent: Sent, content: Arc<Content>) {
        let mut created = false;
        if let Some(mut dirty) = state.dirty.take() {
            // An empty object that only took the name.
            created = dirty.stub.is_some();
            self.settle_stub(dirty.stub.take(), key);
            dirty.staging.discard();
        }
        state.content = Some(content);
        state.version = Some(sent.version.clone());
        let mut tree = self.tree();
        self.forget_key(key);
        let mut former = None;
        if let Some(node) = tree.get_mut(file.id) {
            node.payload.pages = Some(sent.version.clone());
            let attr = Attr { size: sent.version.size, ..sent.attr };
            let known = Known::made(&self.options, sent.version, attr, sent.at);
            former = std::mem::replace(&mut node.payload.known, known).age();
        }
        file.set_dirty(false);
        drop(tree);
        self.told_turn(key, former.filter(|_| !created));
    }
}
