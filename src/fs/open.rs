//! open and release of what exists.
//!
//! What a warm open does not need is boxed: else every future has room for it, and is moved and allocated with it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Fs,
    ask::Hint,
    file::{File, Handle},
    known::Seen,
    settle::{child_key, is_fresh},
    tickets::Ticket,
    types::{Caller, Fh, Found, NodeId, OpenMode, Opened},
};
use crate::{
    cache::{Content, Readahead, SMALL},
    clock,
    error::{Error, Result},
    model::{attr::Kind, key::Name, version::Version},
    store::Store,
};

/// Who wants to know what is opened for reading: a call with the number that the key has everywhere.
pub(super) type Reads = Box<dyn Fn(u64) + Send + Sync>;

impl<S: Store> Fs<S> {
    /// From now on `reads` is told of each file that is opened for reading.
    pub fn tell_reads(&self, reads: Reads) {
        drop(self.reads.set(reads));
    }

    fn told_read(&self, ino: Option<u64>, open: OpenMode) {
        if let (Some(reads), Some(ino), true) = (self.reads.get(), ino, open.read) {
            reads(ino);
        }
    }

    pub(super) async fn open_existing(&self, id: NodeId, open: OpenMode) -> Result<(Found, Opened)> {
        if open.exclusive {
            return Err(Error::Exists);
        }
        let opened = self.try_open(id, open, Ticket::default()).await?;
        let found = self.found(&mut self.tree(), id);
        if let Some(found) = found {
            self.told_read(Some(found.stat.ino), open);
            return Ok((found, opened));
        }
        self.release(opened.fh).await;
        Err(Error::Stale)
    }

    /// Fails with `Stale` when the name means another version than the kernel knows: it then looks the name up again,
    /// for a node, a size and pages that belong together, and comes back.
    pub async fn open(&self, id: NodeId, open: OpenMode, caller: Caller) -> Result<Opened> {
        if open.write && self.options.read_only {
            return Err(Error::ReadOnly);
        }
        let (place, ino) = {
            let tree = self.tree();
            (tree.get(id).and_then(|node| node.place.clone()), tree.key(id).map(|key| key.ino()))
        };
        let ticket = self.tickets.take(caller.tid, id, place.as_ref(), clock::now());
        let moved = ticket.ino.is_some() && ticket.ino != ino;
        let opened = if moved { Err(Error::Stale) } else { self.try_open(id, open, ticket).await };
        if opened.is_ok() {
            self.told_read(ino, open);
        }
        if !matches!(opened, Err(Error::Stale)) || ticket.again {
            return opened;
        }
        // What was renamed meanwhile is not what the caller named.
        let place = place.filter(|_| !moved);
        let now = match &place {
            Some((parent, name)) => Box::pin(self.refetch(*parent, name)).await?,
            None => None,
        };
        self.tickets.comes_back(caller.tid, place, now, clock::now());
        opened
    }

    async fn try_open(&self, id: NodeId, open: OpenMode, ticket: Ticket) -> Result<Opened> {
        let empties = open.truncate && open.write;
        self.revalidate(id, ticket.asked, empties).await?;
        if self.is_own(id) {
            return Box::pin(self.open_here(id, open)).await;
        }
        let file = self.hold(id)?;
        let opened =
            if empties { Box::pin(self.prepare_empty(&file, open)).await } else { self.prepare(&file, open).await };
        if opened.is_err() {
            self.let_go(&file).await;
        }
        opened
    }

    async fn prepare_empty(&self, file: &Arc<File>, open: OpenMode) -> Result<Opened> {
        let mut stream = file.stream.lock().await;
        let mut state = file.state.write().await;
        self.resize(file, &mut stream, &mut state, 0).await?;
        drop((state, stream));
        Ok(self.opened(Arc::clone(file), open, 0, None, false))
    }

    async fn prepare(&self, file: &Arc<File>, open: OpenMode) -> Result<Opened> {
        if open.write {
            Box::pin(self.keep_small(file)).await?;
        }
        let (content, version) = self.content_to_read(file, open).await;
        let size = self.tree().get(file.id).map_or(0, |node| node.payload.known.attr.size);
        let mut backing = None;
        if let Some(content) = content {
            backing = self.contents.file(&content);
            if size > 0 && !open.write {
                let count = if backing.is_some() { &self.hits } else { &self.misses };
                count.fetch_add(1, Ordering::Relaxed);
            }
            if backing.is_none() && content.size() <= SMALL {
                // With its bytes here, a small file stays readable whatever becomes of the object.
                backing = match Box::pin(self.contents.complete(&content)).await {
                    Ok(file) => Some(file),
                    Err(Error::NoSpace) => None,
                    Err(err) => return Err(err),
                };
            }
        }
        let unchanged = self.pages_of(file, version);
        Ok(self.opened(Arc::clone(file), open, size, backing.filter(|_| !open.write), unchanged))
    }

    /// The bytes that a reader will want, or a writer who keeps some of them, and their version. Does not wait for an
    /// upload.
    async fn content_to_read(&self, file: &Arc<File>, open: OpenMode) -> (Option<Arc<Content>>, Option<Version>) {
        // Who only writes will most likely write all of it, or set its times.
        let wanted = open.read || open.append;
        {
            let state = file.state.read().await;
            if !wanted || state.dirty.is_some() || state.content.is_some() {
                let content = state.content.clone().filter(|_| wanted && state.dirty.is_none());
                return (content, state.version.clone());
            }
        }
        let mut state = file.state.write().await;
        let clean = state.dirty.is_none();
        (clean.then(|| self.content_of(file, &mut state)).flatten(), state.version.clone())
    }

    /// What a writer leaves of a small file must not be lost to another host before its close: the bytes come now.
    async fn keep_small(&self, file: &Arc<File>) -> Result<()> {
        let here = {
            // Shared, so that it does not wait for an upload.
            let state = file.state.read().await;
            if state.dirty.is_some() {
                return Ok(());
            }
            state.content.clone()
        };
        let content = if here.is_some() {
            here
        } else {
            let mut state = file.state.write().await;
            let clean = state.dirty.is_none();
            clean.then(|| self.content_of(file, &mut state)).flatten()
        };
        let Some(content) = content.filter(|content| (1..=SMALL).contains(&content.size())) else { return Ok(()) };
        match self.contents.complete(&content).await {
            Ok(_) | Err(Error::NoSpace) => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// The object is not what it was: takes the answer and the bytes in one trip, for the open that comes next. However
    /// often it is replaced, that one finds everything here. Gives the node that has the name now.
    async fn refetch(&self, parent: NodeId, name: &Name) -> Result<Option<NodeId>> {
        let key = {
            let tree = self.tree();
            let there = tree.child(parent, name).and_then(|id| tree.get(id)).filter(|node| !node.payload.is_local());
            match child_key(&tree, parent, name) {
                Ok(key) if there.is_some() => key,
                _ => return Ok(None),
            }
        };
        let stamp = self.fences.stamp(&key).await;
        let answer = self.look_and_fetch(key.clone(), None).await?;
        let mut tree = self.tree();
        if !self.fences.holds(stamp) || tree.key(parent).is_none() {
            return Ok(None);
        }
        let now = self.settle(&mut tree, parent, name, &key, &answer);
        if let Some(now) = now {
            self.tidy(&mut tree, now);
        }
        Ok(now)
    }

    /// The pages that the kernel has, or gets now, are of `version`. Whether they were before.
    pub(super) fn pages_of(&self, file: &File, version: Option<Version>) -> bool {
        let mut tree = self.tree();
        let Some(node) = tree.get_mut(file.id) else { return false };
        let unchanged = match (&node.payload.pages, &version) {
            (Some(pages), Some(version)) => pages.same_content(version),
            _ => false,
        };
        node.payload.pages = version;
        unchanged
    }

    pub(super) fn opened(
        &self,
        file: Arc<File>,
        open: OpenMode,
        size: u64,
        backing: Option<Arc<std::fs::File>>,
        unchanged: bool,
    ) -> Opened {
        let id = file.id;
        let ahead = Arc::new(Readahead::default());
        let told = AtomicU64::default();
        let handle = Handle { file, read: open.read, write: open.write, append: open.append, ahead, told };
        Opened { fh: self.handles.open(handle), id, size, write: open.write, backing, unchanged }
    }

    /// Counts one opener, and gives what all openers share.
    pub(super) fn hold(&self, id: NodeId) -> Result<Arc<File>> {
        let kind = self.tree().get(id).ok_or(Error::Stale)?.kind;
        match kind {
            Kind::Dir => Err(Error::IsDir),
            Kind::File => self.pin(id)?.ok_or(Error::IsDir),
            // The kernel opens them by itself.
            _ => Err(Error::Invalid),
        }
    }

    /// As an open, for whoever changes a file or symlink: all who do so meanwhile share one turn. `None` for
    /// directories. To be ended by [`Fs::let_go`], with no lock held.
    pub(super) fn pin(&self, id: NodeId) -> Result<Option<Arc<File>>> {
        let mut tree = self.tree();
        let node = tree.get_mut(id).ok_or(Error::Stale)?;
        if node.kind == Kind::Dir {
            return Ok(None);
        }
        let version = node.payload.known.version.clone();
        let file = node.payload.file.get_or_insert_with(|| File::new(id, version, &self.locals));
        let file = Arc::clone(file);
        node.opens += 1;
        Ok(Some(file))
    }

    /// Asks the bucket, unless an answer is at hand that serves an open, that the node is still what its name means.
    /// For an open that empties the file its content does not matter.
    async fn revalidate(&self, id: NodeId, asked: bool, empties: bool) -> Result<()> {
        loop {
            let (parent, name, key, version) = {
                let tree = self.tree();
                let node = tree.get(id).ok_or(Error::Stale)?;
                let Some((parent, name)) = node.place.clone() else {
                    // An orphan can be opened again only through who has it open (/proc/PID/fd).
                    return if node.opens > 0 { Ok(()) } else { Err(Error::Stale) };
                };
                let age = self.options.freshness.open_age();
                if asked || is_fresh(node, age, clock::now()) {
                    return Ok(());
                }
                let key = tree.key(id).ok_or(Error::Stale)?;
                (parent, name, key, node.payload.known.version.clone().ok_or(Error::Stale)?)
            };
            let stamp = self.fences.stamp(&key).await;
            let answer = if empties {
                Box::pin(self.look(key.clone(), Hint::File(Some(version.clone())))).await?
            } else {
                Box::pin(self.look_to_read(key.clone(), &version)).await?
            };
            let mut tree = self.tree();
            if !self.fences.holds(stamp) {
                continue;
            }
            let now = self.settle(&mut tree, parent, &name, &key, &answer);
            let known = tree.get(id).and_then(|node| node.payload.known.version.as_ref());
            if now == Some(id) && (empties || known.is_some_and(|known| known.same_content(&version))) {
                return Ok(());
            }
            if !matches!(answer.seen, Seen::Same(_)) {
                return Err(Error::Stale);
            }
        }
    }

    /// Makes the handle again that a predecessor of this process gave out for `id`, which must be a node here. Does
    /// nothing for a handle that is known.
    pub fn restore(&self, id: NodeId, fh: Fh) -> Result<()> {
        if self.handles.get(fh).is_err() {
            let file = self.pin(id)?.ok_or(Error::IsDir)?;
            self.restore_here(&file)?;
            self.handles.restore(fh, file);
        }
        Ok(())
    }

    /// close(2) of the last descriptor that shares the handle. All that matters happened in flush, but for pages that
    /// a mapping wrote afterwards.
    pub async fn release(&self, fh: Fh) {
        if let Some(handle) = self.handles.close(fh) {
            self.let_go(&handle.file).await;
        }
    }

    /// One opener less. What the last one leaves dirty is uploaded, or kept for the administrator.
    pub(super) async fn let_go(&self, file: &Arc<File>) {
        while !self.leave(file) {
            if Box::pin(self.discard(file)).await {
                continue;
            }
            let Err(err) = Box::pin(self.upload(file)).await else { continue };
            if Box::pin(self.keep_lost(file, &err)).await {
                continue;
            }
            // Somebody opened it meanwhile: theirs is the next try, unless they left just now.
            if self.leave(file) {
                return;
            }
        }
    }

    /// Counts one opener less; not the last one of a dirty file, which has to be uploaded first.
    fn leave(&self, file: &Arc<File>) -> bool {
        let mut tree = self.tree();
        let key = tree.key(file.id);
        let Some(node) = tree.get_mut(file.id) else { return true };
        if node.opens == 1 && file.is_dirty() {
            return false;
        }
        node.opens = node.opens.saturating_sub(1);
        if node.opens == 0 {
            node.payload.file = None;
        }
        if let (Some(payload), Some(key)) = (tree.reap(file.id), key) {
            self.remember(key, payload.known);
        }
        true
    }
}
