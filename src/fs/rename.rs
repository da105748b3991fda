//! rename of files and symlinks: the object is copied, then the old key deleted; never neither, and never a mix.

use std::{ffi::OsStr, sync::Arc};

use super::{
    Fs,
    file::File,
    known::{self, Known},
    names::parse,
    settle::{child_key, has_local},
    types::{NodeId, RenameMode},
};
use crate::{
    clock,
    error::{Error, Result},
    model::{
        attr::Kind,
        key::{Key, Name},
        version::Version,
    },
    store::{Require, Store},
    upload::copy::copy_object,
};

/// How often a rename starts again because somebody else changed the source meanwhile.
const TRIES: u32 = 3;

/// One end of a rename.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) parent: NodeId,
    pub(super) name: Name,
    pub(super) key: Key,
}

impl<S: Store> Fs<S> {
    pub async fn rename(&self, from: (NodeId, &OsStr), to: (NodeId, &OsStr), mode: RenameMode) -> Result<()> {
        let from_name = parse(from.0, from.1)?;
        let source = self.held(from.0, &from_name).await?;
        let from = self.end(from.0, from_name)?;
        let to = self.end(to.0, parse(to.0, to.1)?)?;
        if from.key == to.key {
            return Ok(());
        }
        let (kind, target) = {
            let tree = self.tree();
            let kind = tree.get(source).ok_or(Error::NotFound)?.kind;
            if tree.is_below(to.parent, source) {
                return Err(Error::Invalid);
            }
            let target = tree.child(to.parent, &to.name);
            if let Some(node) = target.and_then(|id| tree.get(id)) {
                match (kind, node.kind, mode) {
                    (_, _, RenameMode::NoReplace) => return Err(Error::Exists),
                    (Kind::Dir, Kind::File | Kind::Symlink, _) => return Err(Error::NotDir),
                    (Kind::File | Kind::Symlink, Kind::Dir, _) => return Err(Error::IsDir),
                    _ => {}
                }
            }
            (kind, target)
        };
        if mode == RenameMode::NoReplace && self.exists(&to.key).await? {
            return Err(Error::Exists);
        }
        if kind == Kind::Dir {
            return self.rename_dir(source, &from, &to, target).await;
        }
        let _names = self.names.read().await;
        let file = self.tree().get(source).and_then(|node| node.payload.file.clone());
        let _turn = match &file {
            Some(file) => Some(file.turn.lock().await),
            None => None,
        };
        self.secure_target(target, &to.key).await;
        match &file {
            Some(file) if file.is_dirty() => self.rename_dirty(file, &from, &to).await,
            _ => self.rename_clean(source, file.as_deref(), &from, &to, mode).await,
        }
    }

    pub(super) fn end(&self, parent: NodeId, name: Name) -> Result<End> {
        let key = child_key(&self.tree(), parent, &name)?;
        Ok(End { parent, name, key })
    }

    /// A file that is not uploaded, or not as it is now: only the name changes here, and what the bucket has under
    /// the old one goes. It is uploaded at once if it was there, so that no host misses it between the two.
    async fn rename_dirty(&self, file: &Arc<File>, from: &End, to: &End) -> Result<()> {
        let fences = [&from.key, &to.key].map(|key| self.fences.raise(key));
        let uploaded = file.state.read().await.version.is_some();
        {
            let mut state = file.state.write().await;
            if let Some(stream) = state.dirty.as_mut().and_then(|dirty| dirty.stream.take()) {
                stream.abort(&*self.store).await; // it is for the old key
            }
        }
        self.move_node(file.id, from, to);
        drop(fences);
        if !uploaded {
            return Ok(());
        }
        if let Err(err) = self.upload_in_turn(file).await {
            self.move_node(file.id, to, from);
            return Err(err);
        }
        let _fence = self.fences.raise(&from.key);
        self.keep_parent(from.parent, &from.key).await?;
        self.store.delete(&from.key, Require::Anything).await
    }

    async fn rename_clean(
        &self,
        source: NodeId,
        file: Option<&File>,
        from: &End,
        to: &End,
        mode: RenameMode,
    ) -> Result<()> {
        let _fences = [&from.key, &to.key].map(|key| self.fences.raise(key));
        let exclusive = mode == RenameMode::NoReplace && self.conditional().copy.works();
        for _ in 0..TRIES {
            let object = self.store.head(&from.key).await?;
            let headers = known::renamed_headers(&object.headers, &to.key);
            let require = if exclusive { Require::Absent } else { Require::Anything };
            let asked = clock::now();
            let source_version = (&from.key, &object.version);
            let copied = copy_object(&*self.store, &self.lanes, source_version, &to.key, headers, require).await;
            let version = match copied {
                Ok(version) => version,
                Err(Error::Stale) => continue,
                Err(err) => return Err(err),
            };
            self.keep_parent(from.parent, &from.key).await?;
            // Before the old key goes: who reads on gets the bytes under the new one.
            self.contents.moved((&from.key, &object.version), (&to.key, &version));
            self.delete_if(&from.key, &object.version).await?;
            let attr = known::file_attr(&self.options, &object);
            self.move_node(source, from, to);
            if let Some(file) = file {
                let mut state = file.state.write().await;
                if state.version.as_ref().is_some_and(|known| known.same_content(&object.version)) {
                    state.version = Some(version.clone());
                }
            }
            if let Some(node) = self.tree().get_mut(source) {
                let same = node.payload.known.version.as_ref().is_some_and(|v| v.same_content(&object.version));
                if same || node.opens == 0 {
                    node.payload.pages = node.payload.pages.take().filter(|_| same).map(|_| version.clone());
                    node.payload.known = Known { version: Some(version), attr, asked: Some(asked) };
                }
            }
            return Ok(());
        }
        Err(Error::Stale)
    }

    /// The key goes only if it is still what was copied: another host may have written it anew.
    async fn delete_if(&self, key: &Key, version: &Version) -> Result<()> {
        if !self.conditional().delete.works() {
            return self.store.delete(key, Require::Anything).await;
        }
        match self.store.delete(key, Require::Version(version.etag.clone())).await {
            Err(Error::Stale | Error::NotFound) => Ok(()),
            done => done,
        }
    }

    /// Readers here who have the target open keep it.
    pub(super) async fn secure_target(&self, target: Option<NodeId>, key: &Key) {
        let Some(id) = target else { return };
        let file = self.tree().get(id).and_then(|node| node.payload.file.clone());
        if let Some(file) = file {
            let mut state = file.state.write().await;
            self.secure(id, key, Some(&mut state)).await;
        }
    }

    /// The tree after a rename: the target is an orphan, the node has its name.
    pub(super) fn move_node(&self, id: NodeId, from: &End, to: &End) {
        let mut tree = self.tree();
        for end in [from, to] {
            self.forget_key(&end.key, tree.key(end.parent).as_ref());
        }
        if let Some(target) = tree.child(to.parent, &to.name).filter(|&target| target != id) {
            debug_assert!(tree.get(target).is_some_and(|node| node.kind != Kind::Dir) || !has_local(&tree, target));
            drop(tree.detach(target));
        }
        if tree.get(id).is_some() && tree.get(to.parent).is_some() {
            tree.rename(id, to.parent, to.name.clone());
        }
    }
}
