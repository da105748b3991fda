//! Local-only names: what this host keeps to itself, beside what the bucket has.
//!
//! A node that lives here is marked as `own`. It and the local store change together, under [`Disk::turn`], which is
//! taken after the state of a file and before the tree, and never held over an `.await`.
//!
//! - `names`: what is made and removed. `io`: the bytes of open files. `list`: directories with both kinds of names.
//! - `shift`: renames that stay here. `give`, `take`: renames into the bucket and out of it.

mod give;
mod give_dir;
mod io;
mod list;
mod names;
mod shift;
mod take;

use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use io::{lseek, read};
pub(super) use list::Own;
pub(super) use shift::Way;

use super::{
    Fs, Payload,
    known::{Answer, Known, Seen},
    settle::child_key,
    types::NodeId,
};
use crate::{
    clock,
    config::{FsOptions, Perms},
    error::{Error, Result},
    local::{Disk, Entry, Usage},
    model::{
        attr::{Attr, Kind},
        key::{Key, Name, Prefix},
        patterns::Scope,
        tree::Tree,
        version::{ETag, Version},
    },
    store::Store,
};

/// The local store of a mount that has local-only names.
#[derive(Debug)]
pub(super) struct Here {
    disk: Disk,
    /// Bytes of a key before its path.
    prefix: usize,
    /// Keys that local names hide, in the directory that has most of them.
    hidden: AtomicU64,
}

impl Here {
    pub(super) fn new(disk: Disk, prefix: &Prefix) -> Self {
        if let Err(err) = disk.clear() {
            log::warn!("leftovers beside {}: {err}", disk.root().display());
        }
        Self { disk, prefix: prefix.as_str().len(), hidden: AtomicU64::new(0) }
    }

    /// A key of this mount as a path from its root.
    fn path<'a>(&self, key: &'a Key) -> &'a str {
        key.as_str().get(self.prefix..).unwrap_or_default()
    }
}

impl<S: Store> Fs<S> {
    /// What the local store holds, and how many keys of the bucket it hides. `None`: there are no local-only names. The
    /// usage is `None` where it cannot be counted.
    pub fn kept_here(&self) -> Option<(Option<Usage>, u64)> {
        let here = self.here.as_ref()?;
        Some((here.disk.usage(), here.hidden.load(Ordering::Relaxed)))
    }

    /// Where a name lives.
    pub(super) fn scope(&self, key: &Key) -> Scope {
        self.here.as_ref().map_or(Scope::Bucket, |here| self.options.patterns.scope(here.path(key)))
    }

    pub(super) fn is_own(&self, id: NodeId) -> bool {
        self.tree().get(id).is_some_and(|node| node.payload.own)
    }

    /// The node of a name that lives here. `None`: it is for the bucket to tell. Fails with `NotFound` where there is
    /// none and the bucket is not to be asked.
    pub(super) fn look_here(&self, parent: NodeId, name: &Name) -> Result<Option<NodeId>> {
        let Some(here) = &self.here else { return Ok(None) };
        let key = child_key(&self.tree(), parent, name)?;
        if self.scope(&key) == Scope::Bucket {
            return Ok(None);
        }
        let _turn = here.disk.turn();
        // Only now, because a directory above may just have been renamed.
        let (key, inside) = {
            let tree = self.tree();
            (child_key(&tree, parent, name)?, tree.get(parent).is_some_and(|node| node.payload.own))
        };
        let scope = self.scope(&key);
        let entry = here.disk.stat(here.path(&key))?.filter(|entry| scope == Scope::Local || !entry.frame);
        let mut tree = self.tree();
        if let Some(entry) = entry.filter(|_| scope != Scope::Bucket) {
            return self.settle_here(&mut tree, parent, name, &key, &entry).map(Some);
        }
        if let Some(id) = tree.child(parent, name).filter(|&id| tree.get(id).is_some_and(|node| node.payload.own)) {
            self.orphan(&mut tree, id, &key);
        }
        if scope == Scope::Local || inside { Err(Error::NotFound) } else { Ok(None) }
    }

    /// Puts what the local store has into the tree. Needs its turn.
    fn settle_here(
        &self,
        tree: &mut Tree<Payload>,
        parent: NodeId,
        name: &Name,
        key: &Key,
        entry: &Entry,
    ) -> Result<NodeId> {
        let attr = self.shown_here(&entry.attr);
        if let Some(id) = tree.child(parent, name) {
            if let Some(node) = tree.get_mut(id).filter(|node| node.payload.own && node.kind == attr.kind) {
                node.payload.known.attr = attr;
                return Ok(id);
            }
            self.orphan(tree, id, key);
        }
        self.forget_key(key);
        let known = Known { version: None, attr, asked: Some(clock::now()) };
        let payload = Payload { own: true, ..Payload::new(known) };
        tree.attach(parent, name.clone(), key.ino(), attr.kind, payload).ok_or(Error::Stale)
    }

    /// Brings what is known of a node that lives here up to date. Whether it does. Fails with `Stale` if it is gone.
    pub(super) fn refresh_here(&self, id: NodeId) -> Result<bool> {
        let place = {
            let tree = self.tree();
            match tree.get(id) {
                Some(node) if node.payload.own => node.place.clone(),
                _ => return Ok(false),
            }
        };
        // An orphan is known by those who have it open.
        let Some((parent, name)) = place else { return Ok(true) };
        match self.look_here(parent, &name) {
            Ok(Some(now)) if now == id => Ok(true),
            Ok(_) | Err(Error::NotFound) => Err(Error::Stale),
            Err(err) => Err(err),
        }
    }

    /// Whether a name is taken, here or in the bucket.
    pub(super) async fn is_taken(&self, parent: NodeId, name: &Name, key: &Key) -> Result<bool> {
        match self.look_here(parent, name) {
            Ok(Some(id)) => {
                self.tidy(&mut self.tree(), id);
                Ok(true)
            }
            Ok(None) => self.exists(key).await,
            Err(Error::NotFound) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Where the bucket has nothing, but something local-only is below, there is a directory all the same.
    pub(super) fn with_frames(&self, key: &Key, answer: Answer) -> Answer {
        let Some(here) = &self.here else { return answer };
        let frame = || matches!(here.disk.stat(here.path(key)), Ok(Some(entry)) if entry.attr.kind == Kind::Dir);
        match answer.seen {
            Seen::Absent if frame() => Answer { seen: Seen::Dir(None), ..answer },
            _ => answer,
        }
    }

    /// Attributes of the disk as the mount shows them.
    fn shown_here(&self, disk: &Attr) -> Attr {
        let FsOptions { perms, uid, gid, file_mode, dir_mode, .. } = self.options;
        let mode = match disk.kind {
            Kind::Symlink => 0o777,
            _ if perms == Perms::Stored => disk.mode,
            Kind::Dir => dir_mode,
            _ => file_mode,
        };
        match perms {
            Perms::Stored => Attr { mode, ..*disk },
            Perms::Uniform => Attr { mode, uid, gid, ..*disk }.at(disk.mtime),
        }
    }
}

/// What the kernel's pages of a file that lives here are of: nobody changes it but through the kernel. No object is at
/// this version.
fn pages() -> Version {
    Version { etag: ETag::new("local"), modified: None, size: u64::MAX }
}
