//! getattr and setattr.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Fs, Payload,
    ask::Hint,
    file::File,
    known::{self, Known, Seen},
    settle::{is_fresh, stat},
    types::{Caller, Fh, NodeId, SetAttr, SetTime, Stat},
};
use crate::{
    clock,
    config::Perms,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        attr::{Attr, Kind},
        key::Key,
        tree::Tree,
        version::Version,
    },
    store::{Headers, Object, Require, Store, metadata},
    upload::copy::copy_object,
};

/// How often a change of metadata starts again because somebody else changed the object meanwhile.
const TRIES: u32 = 3;

impl<S: Store> Fs<S> {
    /// Answers from memory, or `None`.
    pub fn try_getattr(&self, id: NodeId, caller: Caller) -> Option<Result<(Stat, Duration)>> {
        let tree = self.tree();
        let Some(node) = tree.get(id) else {
            self.tickets.failed(caller.tid, true, clock::now());
            return Some(Err(Error::Stale));
        };
        let at_hand = match tree.key(id) {
            None => true,
            Some(key) if id == NodeId::ROOT => self.root_is_fresh(&key, &node.payload.known),
            // The disk knows, and may have to be waited for.
            Some(_) if node.payload.own => false,
            Some(_) => {
                let now = clock::now();
                is_fresh(node, self.options.freshness.stat_age(), now) || self.tickets.glances(caller.tid, id, now)
            }
        };
        if at_hand { self.shown(&tree, id).map(Ok) } else { None }
    }

    /// Fails with `Stale` when the node is gone and nobody has it open.
    pub async fn getattr(self: &Arc<Self>, id: NodeId, caller: Caller) -> Result<(Stat, Duration)> {
        let mut waited = false;
        loop {
            if let Some(answer) = self.try_getattr(id, caller) {
                return answer;
            }
            if id == NodeId::ROOT {
                self.look_at_root().await;
                return self.shown(&self.tree(), id).ok_or(Error::Stale);
            }
            if self.refresh_here(id)? {
                return self.shown(&self.tree(), id).ok_or(Error::Stale);
            }
            let (parent, name, key, hint) = {
                let tree = self.tree();
                let node = tree.get(id).ok_or(Error::Stale)?;
                let Some((parent, name)) = node.place.clone() else { continue };
                let hint = Hint::of(node.kind, &node.payload.known);
                (parent, name, tree.key(id).ok_or(Error::Stale)?, hint)
            };
            if !waited && self.ask_ahead(&key).await {
                waited = true;
                continue;
            }
            let stamp = self.fences.stamp(&key).await;
            let answer = self.look(key.clone(), hint).await?;
            let mut tree = self.tree();
            if !self.fences.holds(stamp) {
                continue;
            }
            let now = self.settle(&mut tree, parent, &name, &key, &answer);
            if let Some(other) = now.filter(|now| *now != id) {
                self.tidy(&mut tree, other);
            }
            if now == Some(id) || tree.get(id).is_some_and(|node| node.opens > 0) {
                return self.shown(&tree, id).ok_or(Error::Stale);
            }
            if !matches!(answer.seen, Seen::Same(_)) {
                return Err(Error::Stale);
            }
        }
    }

    fn shown(&self, tree: &Tree<Payload>, id: NodeId) -> Option<(Stat, Duration)> {
        let left =
            if id == NodeId::ROOT { self.options.freshness.stat_age() } else { self.left(tree.get(id)?, clock::now()) };
        Some((stat(tree, id)?, left))
    }

    /// Size, mode, owner and times. What the mount does not keep (`perms=uniform`) is accepted and costs nothing: four
    /// applications chmod after every write, and a COPY would change the validators that a CDN has.
    pub async fn setattr(&self, id: NodeId, fh: Option<Fh>, set: SetAttr, caller: Caller) -> Result<(Stat, Duration)> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        match set.size {
            Some(size) => self.truncate(id, fh, size, &set, caller).await?,
            None => self.change_attr(id, &set).await?,
        }
        let tree = self.tree();
        self.shown(&tree, id).ok_or(Error::Stale)
    }

    /// Sets the size, and with it what else there is in `set`.
    async fn truncate(&self, id: NodeId, fh: Option<Fh>, size: u64, set: &SetAttr, caller: Caller) -> Result<()> {
        // The kernel asks for both, and the truncation sets the time.
        let set = &SetAttr { mtime: set.mtime.filter(|time| *time != SetTime::Now), ..*set };
        if let Some(handle) = fh.and_then(|fh| self.handles.get(fh).ok()).filter(|handle| handle.write) {
            let mut stream = handle.file.stream.lock().await;
            let mut state = handle.file.state.write().await;
            self.resize(&handle.file, &mut stream, &mut state, size).await?;
            drop((state, stream));
            return self.change_attr(id, set).await;
        }
        // truncate(2) by name: as an open, a truncation and a close.
        let open = super::types::OpenMode { write: true, ..Default::default() };
        let opened = self.open(id, open, caller).await?;
        let handle = self.handles.get(opened.fh)?;
        let resized = {
            let mut stream = handle.file.stream.lock().await;
            let mut state = handle.file.state.write().await;
            self.resize(&handle.file, &mut stream, &mut state, size).await
        };
        let done = match resized {
            // Before the flush, so that one PUT takes all of it along.
            Ok(()) => match self.change_attr(id, set).await {
                Ok(()) => self.flush(opened.fh).await,
                err => err,
            },
            err => err,
        };
        self.release(opened.fh).await;
        done
    }

    async fn change_attr(&self, id: NodeId, set: &SetAttr) -> Result<()> {
        if self.is_own(id) {
            return self.set_here(id, set).await;
        }
        {
            let tree = self.tree();
            let node = tree.get(id).ok_or(Error::Stale)?;
            let known = node.payload.known.attr;
            // What is stored may be another by now, on another host.
            let sure =
                self.options.perms == Perms::Uniform || is_fresh(node, self.options.freshness.open_age(), clock::now());
            if sure && self.wanted(known, set) == known {
                return Ok(());
            }
        }
        let pinned = self.pin(id)?;
        let done = self.change_pinned(id, pinned.as_ref(), set).await;
        if let Some(file) = pinned {
            self.let_go(&file).await;
        }
        done
    }

    async fn change_pinned(&self, id: NodeId, file: Option<&Arc<File>>, set: &SetAttr) -> Result<()> {
        let _names = self.share_node(id).await;
        let _turn = match file {
            Some(file) => Some(file.turn.lock().await),
            None => None,
        };
        if self.change_local(id, file, set).await? {
            return Ok(());
        }
        let (key, kind) = {
            let tree = self.tree();
            (tree.key(id).ok_or(Error::Stale)?, tree.get(id).ok_or(Error::Stale)?.kind)
        };
        let known = match (kind, file) {
            (Kind::Dir, _) => self.mark(&key, set).await?,
            (_, Some(file)) => self.rewrite(&key, set, file, None).await?,
            (_, None) => return Err(Error::Stale),
        };
        let same = match file {
            Some(file) => is_of(file, known.version.as_ref()).await,
            None => true,
        };
        let mut tree = self.tree();
        self.forget_key(&key);
        if let Some(node) = tree.get_mut(id) {
            if node.payload.is_local() {
                // Written meanwhile: the upload takes the attributes along.
                node.payload.known.attr = self.wanted(node.payload.known.attr, set);
            } else if same {
                node.payload.known = known;
            } else {
                // Another host replaced it: who opens it next asks, and finds another node with the new bytes.
                node.payload.known.asked = None;
            }
        }
        Ok(())
    }

    /// A change of what the bucket does not have anyway. Whether it was one.
    async fn change_local(&self, id: NodeId, file: Option<&Arc<File>>, set: &SetAttr) -> Result<bool> {
        let local = |tree: &Tree<Payload>| {
            let mine = tree.get(id).is_some_and(|node| node.payload.is_local());
            let nowhere = |key: Key| id == NodeId::ROOT && !self.keeps_root(&key);
            mine || tree.key(id).is_none_or(nowhere)
        };
        if !local(&self.tree()) {
            return Ok(false);
        }
        let mut state = match file {
            Some(file) => Some(file.state.write().await),
            None => None,
        };
        let mut tree = self.tree();
        if !local(&tree) {
            return Ok(false);
        }
        let node = tree.get_mut(id).ok_or(Error::Stale)?;
        node.payload.known.attr = self.wanted(node.payload.known.attr, set);
        if let Some(dirty) = state.as_mut().and_then(|state| state.dirty.as_mut()) {
            dirty.time_set |= set.mtime.is_some() || (set.atime.is_some() && self.options.perms == Perms::Stored);
        }
        Ok(true)
    }

    /// `attr` with what the caller wants and the mount keeps. What changes nothing does not move the change time either:
    /// four applications chmod after every write.
    fn wanted(&self, attr: Attr, set: &SetAttr) -> Attr {
        let now = clock::wall();
        let time = |set: Option<SetTime>, kept| match set {
            Some(SetTime::Now) => known::stamp(&self.options, now),
            Some(SetTime::At(time)) => known::stamp(&self.options, time),
            None => kept,
        };
        let mtime = time(set.mtime, attr.mtime);
        if self.options.perms == Perms::Uniform {
            return attr.at(mtime);
        }
        let wanted = Attr {
            mtime,
            atime: time(set.atime, attr.atime),
            mode: set.mode.map_or(attr.mode, |mode| mode & 0o7777),
            uid: set.uid.unwrap_or(attr.uid),
            gid: set.gid.unwrap_or(attr.gid),
            ..attr
        };
        if wanted == attr { attr } else { known::changed(&self.options, wanted, now) }
    }

    /// Gives a directory the attributes, and a marker if it has none.
    async fn mark(&self, key: &Key, set: &SetAttr) -> Result<Known> {
        let marker = key.marker();
        let fence = self.fences.raise(key);
        let asked = clock::now();
        let (object, mut headers) = match self.store.head(&marker).await {
            Ok(object) => (Some(object.clone()), object.headers),
            Err(Error::NotFound) => {
                let attr = known::dir_attr(&self.options, None);
                (None, known::new_headers(&self.options, &marker, &attr, b""))
            }
            Err(err) => return Err(err),
        };
        let kept = known::dir_attr(&self.options, object.as_ref());
        let attr = self.wanted(kept, set);
        if let Some(object) = object.as_ref().filter(|_| attr == kept) {
            fence.unused();
            return Ok(Known { version: Some(unsure(&object.version)), attr, asked: Some(asked) });
        }
        self.write_changes(&mut headers, &attr, set);
        let asked = clock::now();
        let version = match &object {
            // A marker of others that has something in it.
            Some(Object { version, .. }) if version.size > 0 => {
                let source = (&marker, version);
                copy_object(&*self.store, &self.lanes, source, &marker, headers, Require::Anything).await?
            }
            _ => self.store.put(&marker, Bytes::new(), &headers, Require::Anything).await?,
        };
        fence.made(Is::Dir);
        Ok(Known { version: Some(version), attr, asked: Some(asked) })
    }

    /// A COPY of the object onto itself, which keeps all headers and metadata but those in `set`. The caller holds the
    /// turn of `file`. Fails with `Stale` if the object is not `of` the content that it is to be of.
    pub(super) async fn rewrite(&self, key: &Key, set: &SetAttr, file: &File, of: Option<&Version>) -> Result<Known> {
        let fence = self.fences.raise(key);
        for _ in 0..TRIES {
            let asked = clock::now();
            let object = self.store.head(key).await?;
            if of.is_some_and(|of| !of.same_content(&object.version)) {
                fence.unused();
                return Err(Error::Stale);
            }
            let kept = known::file_attr(&self.options, &object);
            let attr = self.wanted(kept, set);
            if attr == kept {
                fence.unused();
                return Ok(Known { version: Some(unsure(&object.version)), attr, asked: Some(asked) });
            }
            let mut headers: Headers = object.headers.clone();
            self.write_changes(&mut headers, &attr, set);
            let asked = clock::now();
            let source = (key, &object.version);
            let copied = copy_object(&*self.store, &self.lanes, source, key, headers, Require::Anything);
            let version = match copied.await {
                Ok(version) => version,
                Err(Error::Stale) => continue,
                Err(err) => return Err(err),
            };
            // The bytes are the same, though the ETag of a multipart object is not.
            self.contents.copied(source, (key, &version));
            let mut state = file.state.write().await;
            if state.version.as_ref().is_some_and(|known| known.same_content(&object.version)) {
                state.version = Some(version.clone());
                if let Some(node) = self.tree().get_mut(file.id) {
                    // The kernel may still have those of a version before.
                    let pages = node.payload.pages.take().filter(|pages| pages.same_content(&object.version));
                    node.payload.pages = pages.map(|_| version.clone());
                }
            }
            fence.made(Is::File(version.clone()));
            return Ok(Known::made(&self.options, version, attr, asked));
        }
        Err(Error::Stale)
    }

    /// Puts into `headers` what is in `set`, and the times if there are none: a copy would get others.
    fn write_changes(&self, headers: &mut Headers, attr: &Attr, set: &SetAttr) {
        let owner = set.mode.is_some() || set.uid.is_some() || set.gid.is_some();
        if owner && self.options.perms == Perms::Stored {
            metadata::write_owner(&mut headers.user, attr);
        }
        if set.mtime.is_some() {
            metadata::write_times(&mut headers.user, attr, known::keep(&self.options));
        } else {
            known::keep_times(&self.options, headers, attr);
        }
    }
}

/// Whether the bytes that a file shows are those of `version`.
async fn is_of(file: &File, version: Option<&Version>) -> bool {
    let state = file.state.read().await;
    state.version.as_ref().zip(version).is_none_or(|(shown, version)| shown.same_content(version))
}

/// The version without its time: it may change again within its second.
fn unsure(version: &Version) -> Version {
    Version { modified: None, ..version.clone() }
}
