//! Names: mkdir, symlink, readlink, unlink, rmdir.

use std::{ffi::OsStr, sync::Arc};

use bytes::Bytes;

use super::{
    Fs, Payload,
    ask::Hint,
    file::File,
    known::{self, Known, Seen},
    settle::child_key,
    types::{Caller, Found, NodeId},
};
use crate::{
    cache::Readahead,
    clock,
    config::Attrs,
    error::{Error, Result},
    freshness::{
        listing::{Is, Listing},
        views::place,
    },
    local::New,
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        patterns::Scope,
    },
    store::{List, Require, Store},
};

/// The longest target of a symlink in bytes (`PATH_MAX` less its NUL).
const TARGET_MAX: usize = 4095;
/// Names that go from an implicit directory before it gets a marker in any case. Each of them costs a LIST, the marker one
/// PUT: whoever removes more is removing a tree.
const LISTED_MAX: u8 = 3;

impl<S: Store> Fs<S> {
    /// `mode`: permission bits after the umask.
    pub async fn mkdir(&self, parent: NodeId, name: &OsStr, mode: u32, caller: Caller) -> Result<Found> {
        let _names = self.share_name(parent, &parse(parent, name)?).await?;
        let (name, key, above) = self.place(parent, name)?;
        let attr = self.attr_below(&above, Kind::Dir, mode, caller);
        if self.scope(&key) != Scope::Bucket {
            return self.make_here(parent, &name, &attr, New::Dir);
        }
        let marker = key.marker();
        let fence = self.fences.raise(&key);
        let headers = known::new_headers(&self.options, &marker, &attr, b"");
        let require = if self.conditional().absent.works() { Require::Absent } else { Require::Anything };
        let (asked, wall) = (clock::now(), clock::wall().sec);
        let version = self.store.put(&marker, Bytes::new(), &headers, require).await?;
        // What was absent is empty now. The absence may have been known from a view of the directory above.
        let above = place(&key).and_then(|(above, _)| self.views.get(&above));
        let since = above.map_or(asked, |above| above.asked.min(asked));
        self.views.born(&key, Listing::empty(since, wall, version.clone()));
        let found = self.born(parent, name, &key, Known { version: Some(version), attr, asked: Some(asked) })?;
        fence.made(Is::Dir);
        Ok(found)
    }

    pub async fn symlink(&self, parent: NodeId, name: &OsStr, target: &OsStr, caller: Caller) -> Result<Found> {
        if target.len() > TARGET_MAX {
            return Err(Error::NameTooLong);
        }
        // It would be shown as a file.
        if self.options.attrs == Attrs::List {
            return Err(Error::NotPermitted);
        }
        let _names = self.share_name(parent, &parse(parent, name)?).await?;
        let (name, key, above) = self.place(parent, name)?;
        let attr = Attr { size: target.len() as u64, ..self.attr_below(&above, Kind::Symlink, 0o777, caller) };
        if self.scope(&key) != Scope::Bucket {
            return self.make_here(parent, &name, &attr, New::Symlink(target));
        }
        let target = target.to_str().ok_or(Error::BadName)?;
        let fence = self.fences.raise(&key);
        let headers = known::new_headers(&self.options, &key, &attr, b"");
        let body = Bytes::copy_from_slice(target.as_bytes());
        let require = if self.conditional().absent.works() { Require::Absent } else { Require::Anything };
        let asked = clock::now();
        let version = self.store.put(&key, body.clone(), &headers, require).await?;
        self.contents.adopt_bytes(&key, &version, &body);
        let made = Is::File(version.clone());
        let found = self.born(parent, name, &key, Known { version: Some(version), attr, asked: Some(asked) })?;
        fence.made(made);
        Ok(found)
    }

    /// Where a symlink leads.
    pub async fn readlink(&self, id: NodeId) -> Result<Bytes> {
        if self.is_own(id) {
            return self.target_here(id);
        }
        match self.target(id).await {
            // Another host replaced it since it was looked up: the answer is what the name leads to now.
            Err(Error::Stale | Error::NotFound) => {
                let (parent, name) = {
                    let mut tree = self.tree();
                    let node = tree.get_mut(id).ok_or(Error::Stale)?;
                    node.payload.known.asked = None;
                    node.place.clone().ok_or(Error::Stale)?
                };
                let now = self.resolve(parent, &name).await?;
                let target = self.target(now).await;
                self.tidy(&mut self.tree(), now);
                target
            }
            target => target,
        }
    }

    async fn target(&self, id: NodeId) -> Result<Bytes> {
        let (key, version) = {
            let tree = self.tree();
            let node = tree.get(id).ok_or(Error::Stale)?;
            if node.kind != Kind::Symlink {
                return Err(Error::Invalid);
            }
            (tree.key(id).ok_or(Error::Stale)?, node.payload.known.version.clone().ok_or(Error::Stale)?)
        };
        if version.size == 0 {
            let object = self.store.head(&key).await?;
            let target = crate::store::metadata::read(&object.headers.user).symlink_target;
            return target.map(Bytes::from).ok_or(Error::Invalid);
        }
        let content = self.contents.get(&key, &version);
        self.contents.read(&content, 0..version.size, &Arc::new(Readahead::default())).await
    }

    pub async fn unlink(&self, parent: NodeId, name: &OsStr) -> Result<()> {
        let name = parse(parent, name)?;
        let id = self.held(parent, &name).await?;
        let file = self.pin(id)?.ok_or(Error::IsDir)?;
        let done = self.unlink_pinned(parent, &name, &file).await;
        self.let_go(&file).await;
        done
    }

    async fn unlink_pinned(&self, parent: NodeId, name: &Name, file: &Arc<File>) -> Result<()> {
        let _names = self.share_name(parent, name).await?;
        // An upload under way ends first: deleting before it would let it bring the name back.
        let _turn = file.turn.lock().await;
        if self.is_own(file.id) {
            return self.unlink_here(parent, name);
        }
        let key = child_key(&self.tree(), parent, name)?;
        let uploaded = file.state.read().await.may_be_there();
        if uploaded {
            self.secure(file, &key).await;
        }
        let fence = self.fences.raise(&key);
        if uploaded {
            self.keep_parent(parent, &key).await?;
            self.store.delete(&key, Require::Anything).await?;
        }
        self.drop_stream(file).await;
        self.forget_key(&key);
        let mut tree = self.tree();
        if tree.child(parent, name) == Some(file.id) {
            file.forget_former();
            if let Some(node) = tree.get_mut(file.id) {
                // For those who have it open: its link count changed.
                node.payload.known.attr = known::changed(&self.options, node.payload.known.attr, clock::wall());
            }
            drop(tree.detach(file.id));
        }
        drop(tree);
        if let Some((dir, _)) = place(&key) {
            self.removals.note(&dir, clock::now());
        }
        if uploaded {
            fence.made(Is::Absent);
        } else {
            fence.unused();
        }
        Ok(())
    }

    pub async fn rmdir(&self, parent: NodeId, name: &OsStr) -> Result<()> {
        let name = parse(parent, name)?;
        let id = self.held(parent, &name).await?;
        let _names = self.share_name(parent, &name).await?;
        let key = {
            let tree = self.tree();
            match tree.get(id) {
                Some(node) if node.kind != Kind::Dir => return Err(Error::NotDir),
                Some(node) if node.payload.own => {
                    drop(tree);
                    return self.rmdir_here(parent, &name);
                }
                Some(_) if self.has_local(&tree, id) => return Err(Error::NotEmpty),
                Some(_) => child_key(&tree, parent, &name)?,
                None => return Err(Error::NotFound),
            }
        };
        self.check_empty_here(&key)?;
        let fence = self.fences.raise(&key);
        self.check_empty(&key).await?;
        self.keep_parent(parent, &key.marker()).await?;
        self.store.delete(&key.marker(), Require::Anything).await?;
        self.drop_frame(&key);
        self.forget_key(&key);
        self.views.forget(&key);
        let mut tree = self.tree();
        if tree.child(parent, &name) == Some(id) {
            drop(tree.detach(id));
        }
        drop(tree);
        fence.made(Is::Absent);
        Ok(())
    }

    /// Fails with `NotEmpty` if the directory holds anything but its marker.
    pub(super) async fn check_empty(&self, key: &Key) -> Result<()> {
        let marker = key.marker();
        let list = List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() };
        let page = self.store.list(list).await?;
        if page.entries.iter().any(|entry| entry.key != marker) { Err(Error::NotEmpty) } else { Ok(()) }
    }

    /// Before the last key below an implicit directory goes: writes the marker, or the directory would go with it. Also
    /// after a few others went, so that a tree that is removed does not cost a LIST for each of its names.
    pub(super) async fn keep_parent(&self, parent: NodeId, going: &Key) -> Result<()> {
        let (dir, listed) = {
            let mut tree = self.tree();
            let dir = tree.key(parent).ok_or(Error::Stale)?;
            let Some(node) = tree.get_mut(parent) else { return Ok(()) };
            if parent == NodeId::ROOT || node.payload.known.version.is_some() {
                return Ok(());
            }
            node.payload.listed = node.payload.listed.saturating_add(1);
            (dir, node.payload.listed)
        };
        let marker = dir.marker();
        let list = List { prefix: marker.as_str().to_owned(), max: 3, ..List::default() };
        let page = self.store.list(list).await?;
        let is_marked = page.entries.iter().any(|entry| entry.key == marker);
        if is_marked || listed <= LISTED_MAX && page.entries.iter().any(|entry| entry.key != *going) {
            return Ok(());
        }
        let attr = self.tree().get(parent).map(|node| node.payload.known.attr).ok_or(Error::Stale)?;
        let headers = known::new_headers(&self.options, &marker, &attr, b"");
        let version = self.store.put(&marker, Bytes::new(), &headers, Require::Anything).await?;
        self.views.marked(&dir, &version);
        if let Some(node) = self.tree().get_mut(parent) {
            node.payload.known.version = Some(version);
        }
        Ok(())
    }

    /// The node at a name that the kernel has just looked up, or a fresh look.
    pub(super) async fn held(&self, parent: NodeId, name: &Name) -> Result<NodeId> {
        let child = {
            let tree = self.tree();
            child_key(&tree, parent, name)?;
            tree.child(parent, name)
        };
        match child {
            Some(id) => Ok(id),
            None => self.resolve(parent, name).await,
        }
    }

    /// What a new name needs: that it is free here, its key, and the attributes of its directory.
    pub(super) fn place(&self, parent: NodeId, name: &OsStr) -> Result<(Name, Key, Attr)> {
        let name = parse(parent, name)?;
        let tree = self.tree();
        let key = child_key(&tree, parent, &name)?;
        if tree.child(parent, &name).is_some() {
            return Err(Error::Exists);
        }
        let above = tree.get(parent).map(|node| node.payload.known.attr).ok_or(Error::Stale)?;
        Ok((name, key, above))
    }

    pub(super) fn attr_below(&self, above: &Attr, kind: Kind, mode: u32, caller: Caller) -> Attr {
        known::new_attr(&self.options, kind, mode, (caller.uid, caller.gid), above, clock::wall())
    }

    /// A new node that is in the bucket.
    pub(super) fn born(&self, parent: NodeId, name: Name, key: &Key, known: Known) -> Result<Found> {
        let mut tree = self.tree();
        self.forget_key(key);
        if let Some(former) = tree.child(parent, &name) {
            self.orphan(&mut tree, former, key);
        }
        let id = tree.attach(parent, name, key.ino(), known.attr.kind, Payload::new(known)).ok_or(Error::Stale)?;
        self.found(&mut tree, id).ok_or(Error::Stale)
    }

    /// Before the object of a file goes that somebody here has open: gets the bytes that are not here yet, because
    /// local handles outlive the name (unlink(2)). What cannot be had now is `Stale` for them later. The caller's own
    /// pin does not count.
    pub(super) async fn secure(&self, file: &File, key: &Key) {
        if self.tree().get(file.id).is_none_or(|node| node.opens <= 1) {
            return;
        }
        let content = {
            let mut state = file.state.write().await;
            let Some(version) = state.version.clone() else { return };
            Arc::clone(state.content.get_or_insert_with(|| self.contents.get(key, &version)))
        };
        if let Err(err) = self.contents.complete(&content).await {
            log::warn!("{key} is deleted while it is open, and its bytes could not be kept for the readers: {err}");
        }
    }

    /// What a fresh look at a name shows, for callers that must not trust the tree.
    pub(super) async fn exists(&self, key: &Key) -> Result<bool> {
        Ok(!matches!(self.line.seen(key, Hint::Unknown).await?, Seen::Absent))
    }
}

/// A name that the kernel may use: no control object, fit for a key.
pub(super) fn parse(parent: NodeId, name: &OsStr) -> Result<Name> {
    if parent == NodeId::ROOT && known::is_control(name) {
        return Err(Error::NotPermitted);
    }
    Name::parse(name)
}
