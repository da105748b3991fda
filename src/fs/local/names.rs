//! What is made and removed here.

use std::{fs::File, sync::Arc};

use bytes::Bytes;

use super::super::{
    Fs,
    types::{Found, NodeId, OpenMode, Opened, SetAttr, SetTime},
};
use crate::{
    clock,
    config::Perms,
    error::{Error, Result},
    local::{Change, Disk, New},
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        patterns::Scope,
    },
    store::Store,
};

impl<S: Store> Fs<S> {
    /// A directory or symlink here.
    pub(in crate::fs) fn make_here(&self, parent: NodeId, name: &Name, attr: &Attr, new: New<'_>) -> Result<Found> {
        let (id, _) = self.new_here(parent, name, attr, new)?;
        self.found(&mut self.tree(), id).ok_or(Error::Stale)
    }

    pub(in crate::fs) async fn create_here(
        &self,
        (parent, name): (NodeId, &Name),
        attr: &Attr,
        open: OpenMode,
    ) -> Result<(Found, Opened)> {
        let (id, made) = match self.new_here(parent, name, attr, New::File) {
            // The kernel had forgotten it, or somebody was faster.
            Err(Error::Exists) if !open.exclusive => {
                let id = self.look_here(parent, name)?.ok_or(Error::Exists)?;
                return self.open_existing(id, open).await;
            }
            made => made?,
        };
        let file = self.pin(id)?.ok_or(Error::IsDir)?;
        file.state.write().await.own = made.map(Arc::new);
        self.pages_of(&file, Some(super::pages()));
        let found = self.found(&mut self.tree(), id);
        let opened = self.opened(file, open, 0, None, false);
        if let Some(found) = found {
            return Ok((found, opened));
        }
        self.release(opened.fh).await;
        Err(Error::Stale)
    }

    fn new_here(&self, parent: NodeId, name: &Name, attr: &Attr, new: New<'_>) -> Result<(NodeId, Option<File>)> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        // Only now, because a directory above may just have been renamed.
        let key = super::child_key(&self.tree(), parent, name)?;
        if self.scope(&key) == Scope::Bucket {
            return Err(Error::Stale);
        }
        let path = here.path(&key);
        let made = here.disk.make(path, new)?;
        if self.options.perms == Perms::Stored {
            self.dress(path, attr)?;
        }
        let entry = here.disk.stat(path)?.ok_or(Error::Stale)?;
        let mut tree = self.tree();
        Ok((self.settle_here(&mut tree, parent, name, &key, &entry)?, made))
    }

    /// Gives something new its owner and mode. Where this process may not give things away, they are its own.
    pub(super) fn dress(&self, path: &str, attr: &Attr) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let owner = Change { uid: Some(attr.uid), gid: Some(attr.gid), ..Change::default() };
        match here.disk.change(path, &owner) {
            Err(Error::NotPermitted) | Ok(()) => {}
            Err(err) => return Err(err),
        }
        here.disk.change(path, &Change { mode: Some(attr.mode), ..Change::default() })
    }

    pub(in crate::fs) fn target_here(&self, id: NodeId) -> Result<Bytes> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let key = {
            let tree = self.tree();
            if tree.get(id).is_none_or(|node| node.kind != Kind::Symlink) {
                return Err(Error::Invalid);
            }
            tree.key(id).ok_or(Error::Stale)?
        };
        let target = here.disk.read_link(here.path(&key))?;
        Ok(Bytes::copy_from_slice(target.as_encoded_bytes()))
    }

    /// Who has it open keeps it.
    pub(in crate::fs) fn unlink_here(&self, parent: NodeId, name: &Name) -> Result<()> {
        self.remove_here(parent, name, Disk::unlink)
    }

    pub(in crate::fs) fn rmdir_here(&self, parent: NodeId, name: &Name) -> Result<()> {
        self.remove_here(parent, name, Disk::rmdir)
    }

    fn remove_here(&self, parent: NodeId, name: &Name, remove: impl FnOnce(&Disk, &str) -> Result<()>) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        let key = super::child_key(&self.tree(), parent, name)?;
        remove(&here.disk, here.path(&key))?;
        let mut tree = self.tree();
        if let Some(id) = tree.child(parent, name).filter(|&id| tree.get(id).is_some_and(|node| node.payload.own)) {
            drop(tree.detach(id));
        }
        Ok(())
    }

    /// A directory of the bucket that holds something here is not empty.
    pub(in crate::fs) fn check_empty_here(&self, key: &Key) -> Result<()> {
        match &self.here {
            Some(here) if here.disk.has_any(here.path(key))? => Err(Error::NotEmpty),
            _ => Ok(()),
        }
    }

    /// A directory of the bucket is gone, and with it what stood for it here.
    pub(in crate::fs) fn drop_frame(&self, key: &Key) {
        if let Some(here) = &self.here {
            let _turn = here.disk.turn();
            here.disk.trim(here.path(key));
        }
    }

    /// Mode, owner and time of something here. As in the bucket, modes and owners are only kept where they are shown.
    pub(in crate::fs) async fn set_here(&self, id: NodeId, set: &SetAttr) -> Result<()> {
        let mtime = set.mtime.map(|time| match time {
            SetTime::Now => clock::wall(),
            SetTime::At(time) => time,
        });
        let mut change = Change { mtime, ..Change::default() };
        if self.options.perms == Perms::Stored {
            change = Change { mode: set.mode.map(|mode| mode & 0o7777), uid: set.uid, gid: set.gid, ..change };
        }
        if let Some(open) = self.opened_here(id).await {
            crate::local::change_open(&open, &change)?;
            return self.touched_here(id, &open);
        }
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        let key = self.tree().key(id).ok_or(Error::Stale)?;
        let path = here.path(&key);
        here.disk.change(path, &change)?;
        let entry = here.disk.stat(path)?.ok_or(Error::Stale)?;
        if let Some(node) = self.tree().get_mut(id) {
            node.payload.known.attr = self.shown_here(&entry.attr);
        }
        Ok(())
    }

    /// The file of a node that somebody has open.
    async fn opened_here(&self, id: NodeId) -> Option<Arc<File>> {
        let file = self.tree().get(id)?.payload.file.clone()?;
        file.state.read().await.own.clone()
    }
}
