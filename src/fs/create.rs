//! open(2) of a name that does not exist yet.

use std::{ffi::OsStr, sync::Arc};

use super::{
    Fs, Payload,
    file::File,
    known::Known,
    names::parse,
    settle::child_key,
    types::{Caller, Found, NodeId, OpenMode, Opened},
};
use crate::{
    clock,
    config::Exclusive,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        patterns::Scope,
    },
    store::Store,
    upload::{
        dirty::Dirty,
        staging::{Note, Staging},
        stub::Stub,
    },
};

impl<S: Store> Fs<S> {
    /// A new file. Nothing of it is in the bucket before its first flush, unless it is to be exclusive: then an empty
    /// object takes the name (`exclusive`).
    pub async fn create(
        &self,
        parent: NodeId,
        name: &OsStr,
        mode: u32,
        open: OpenMode,
        caller: Caller,
    ) -> Result<(Found, Opened)> {
        let created = self.try_create(parent, name, mode, open, caller).await;
        if matches!(created, Err(Error::Stale)) {
            self.tickets.failed(caller.tid, true, clock::now());
        }
        created
    }

    async fn try_create(
        &self,
        parent: NodeId,
        name: &OsStr,
        mode: u32,
        open: OpenMode,
        caller: Caller,
    ) -> Result<(Found, Opened)> {
        if let Some(existing) = self.existing(parent, name)? {
            return Box::pin(self.open_existing(existing, open)).await;
        }
        let raw = name;
        let (name, key, above) = self.place(parent, raw)?;
        let attr = self.attr_below(&above, Kind::File, mode, caller);
        if self.scope(&key) != Scope::Bucket {
            return Box::pin(self.create_here((parent, &name), &attr, open)).await;
        }
        if !open.exclusive {
            return self.made(parent, name, &key, attr, open, &mut None);
        }
        let _names = self.share_name(parent, &name).await?;
        // A directory above may just have been renamed.
        let (name, key, _) = self.place(parent, raw)?;
        let fence = self.fences.raise(&key);
        let mut stub = self.claim(&key, attr).await?;
        let taken = stub.as_ref().map(|stub| stub.version.clone());
        let opened = self.made(parent, name, &key, attr, open, &mut stub);
        if let Some(stub) = stub {
            self.stubs.abandon(stub);
            self.sweep().await;
        } else if let Some(version) = taken {
            fence.made(Is::File(version));
        } else if self.options.exclusive == Exclusive::Close {
            fence.unused();
        }
        opened
    }

    /// The node of a new file, opened. On failure the stub stays where it is.
    fn made(
        &self,
        parent: NodeId,
        name: Name,
        key: &Key,
        attr: Attr,
        open: OpenMode,
        stub: &mut Option<Stub>,
    ) -> Result<(Found, Opened)> {
        let staging = Staging::new(&self.yard, Note { key: key.as_str().to_owned(), ..Note::default() });
        let mut tree = self.tree();
        if tree.child(parent, &name).is_some() {
            return Err(Error::Exists);
        }
        self.forget_key(key);
        let version = stub.as_ref().map(|stub| stub.version.clone());
        let known = Known { version: version.clone(), attr, asked: Some(clock::now()) };
        let id = tree.attach(parent, name, key.ino(), Kind::File, Payload::new(known)).ok_or(Error::Stale)?;
        let file = File::new(id, version, &self.locals);
        {
            let mut state = file.state.try_write().expect("nobody else has it yet");
            let mut dirty = Dirty::new(staging, None);
            dirty.exclusive = open.exclusive && stub.is_none();
            dirty.stub = stub.take();
            state.dirty = Some(dirty);
        }
        file.set_dirty(true);
        let node = tree.get_mut(id).expect("attached above");
        node.payload.file = Some(Arc::clone(&file));
        node.opens = 1;
        let found = self.found(&mut tree, id).expect("attached above");
        drop(tree);
        Ok((found, self.opened(file, open, 0, None, false)))
    }

    /// The node that has the name here already: somebody was faster, or the kernel had forgotten it.
    fn existing(&self, parent: NodeId, name: &OsStr) -> Result<Option<NodeId>> {
        let name = parse(parent, name)?;
        let tree = self.tree();
        child_key(&tree, parent, &name)?;
        Ok(tree.child(parent, &name))
    }
}
