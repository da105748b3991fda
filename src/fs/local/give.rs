//! Renames into the bucket: a held file gets its final name, and that is one PUT.
//!
//! The local file stays where it is until the bucket has the bytes. Then it becomes the cached content of the object,
//! or, if somebody wrote on meanwhile, the staging of what the next flush brings.

use std::{fs::File as OsFile, sync::Arc};

use bytes::Bytes;

use super::super::{
    Fs,
    file::{File, State},
    known::{self, Known},
    rename::End,
    send::Sent,
    types::{NodeId, RenameMode},
};
use crate::{
    clock,
    error::{Error, Result},
    freshness::listing::Is,
    local::attr_of,
    model::{
        attr::{Attr, Kind},
        key::Key,
        version::Version,
    },
    store::{Require, Store},
    upload::{
        dirty::Dirty,
        staging::{Note, Staging},
    },
};

/// A file that the bucket has got, and that is still here.
#[derive(Debug)]
pub(super) struct Parcel {
    path: String,
    key: Key,
    own: Arc<OsFile>,
    /// [`State::writes`] when it was sent.
    writes: u64,
    dirty: Dirty,
    pub(super) sent: Sent,
}

impl Parcel {
    /// The file stays here alone.
    pub(super) fn discard(self) {
        self.dirty.staging.discard();
    }
}

impl<S: Store> Fs<S> {
    /// Uploads a file or symlink under its new name; then it is no longer here. On failure it stays. The caller holds
    /// its turn.
    pub(in crate::fs) async fn give(&self, file: &Arc<File>, from: &End, to: &End, mode: RenameMode) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let fence = self.fences.raise(&to.key);
        let exclusive = mode == RenameMode::NoReplace;
        if self.tree().get(file.id).is_some_and(|node| node.kind == Kind::Symlink) {
            let known = self.send_symlink(here.path(&from.key), &to.key, exclusive).await?;
            let _turn = here.disk.turn();
            here.disk.unlink(here.path(&from.key))?;
            let is = known.version.clone().map(Is::File);
            self.disown(file.id, Some(known));
            self.move_node(file.id, from, to);
            if let Some(is) = is {
                fence.made(is);
            }
            return Ok(());
        }
        let mut state = file.state.write().await;
        let own = self.ensure_open(file, &mut state, false)?;
        // Readers go on while the bytes travel; writers wait.
        let state = state.downgrade();
        let path = here.path(&from.key).to_owned();
        let parcel = self.send_parcel(path, &to.key, own, state.writes, exclusive).await;
        drop(state);
        let parcel = parcel?;
        let is = Is::File(parcel.sent.version.clone());
        let mut state = file.state.write().await;
        let _turn = here.disk.turn();
        self.deliver(parcel, file.id, Some((file, &mut state)))?;
        self.move_node(file.id, from, to);
        fence.made(is);
        Ok(())
    }

    /// Sends a file from where it is.
    pub(super) async fn send_parcel(
        &self,
        path: String,
        key: &Key,
        own: Arc<OsFile>,
        writes: u64,
        exclusive: bool,
    ) -> Result<Parcel> {
        let attr = self.as_sent(&attr_of(&own)?);
        self.check_size(attr.size, 0, attr.size)?;
        let copy = own.try_clone().map_err(crate::local::told_io)?;
        let note = Note { key: key.as_str().to_owned(), ..Note::default() };
        let mut dirty = Dirty::new(Staging::over(&self.yard, note, copy, attr.size), None);
        (dirty.size, dirty.exclusive) = (attr.size, exclusive);
        // Whatever has the name in the bucket is to be replaced, as a rename does.
        dirty.moved = true;
        match self.send_whole(key, &dirty, attr).await {
            Ok(sent) => Ok(Parcel { path, key: key.clone(), own, writes, dirty, sent }),
            Err(err) => {
                dirty.staging.discard();
                Err(err)
            }
        }
    }

    /// Attributes of the disk as an object has them that gets its name now.
    pub(super) fn as_sent(&self, disk: &Attr) -> Attr {
        let shown = self.shown_here(disk);
        known::changed(&self.options, shown.at(known::stamp(&self.options, shown.mtime)), clock::wall())
    }

    async fn send_whole(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Sent> {
        let mut guard = self.guard(dirty, None, dirty.size > self.options.part_size);
        if dirty.size > self.options.part_size {
            return self.send_parts(key, dirty, &mut None, attr, &mut guard).await;
        }
        let _room = self.lanes.room(dirty.size).await;
        self.send_bytes(key, dirty.staging.read(0..dirty.size)?, attr, &mut guard).await
    }

    /// Makes what was sent an ordinary file of the bucket. Needs the turn of the local store. `open`: who has it open,
    /// with its state.
    pub(super) fn deliver(&self, parcel: Parcel, id: NodeId, open: Option<(&Arc<File>, &mut State)>) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let Parcel { path, key, own, writes, mut dirty, sent } = parcel;
        let outside = dirty.staging.path().ok_or(Error::Stale)?.to_owned();
        if let Err(err) = here.disk.move_out(&path, &outside) {
            log::error!("{path} is in the bucket as {key}, and here as well: {err}");
            dirty.staging.discard();
            return Err(err);
        }
        let Some((file, state)) = open else {
            drop(self.contents.adopt(&key, &sent.version, &outside));
            dirty.staging.discard();
            let attr = Attr { size: sent.version.size, ..sent.attr };
            self.disown(id, Some(Known::made(&self.options, sent.version, attr, sent.at)));
            return Ok(());
        };
        state.own = None;
        self.disown(id, None);
        if state.writes == writes {
            state.dirty = Some(dirty);
            let content = self.adopt(&key, state, &sent.version);
            self.publish(file, state, &key, sent, content);
            return Ok(());
        }
        let attr = self.shown_here(&attr_of(&own)?);
        dirty.staging.now_has(attr.size);
        (dirty.size, dirty.exclusive) = (attr.size, false);
        state.dirty = Some(dirty);
        state.version = Some(sent.version.clone());
        file.set_dirty(true);
        if let Some(node) = self.tree().get_mut(id) {
            node.payload.known = Known::made(&self.options, sent.version, attr, sent.at);
        }
        Ok(())
    }

    /// The node does not live here any more.
    pub(super) fn disown(&self, id: NodeId, known: Option<Known>) {
        if let Some(node) = self.tree().get_mut(id) {
            node.payload.own = false;
            if let Some(known) = known {
                node.payload.known = known;
            }
        }
    }

    pub(super) async fn send_symlink(&self, path: &str, key: &Key, exclusive: bool) -> Result<Known> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let entry = here.disk.stat(path)?.ok_or(Error::Stale)?;
        let target = here.disk.read_link(path)?.into_string().map_err(|_| Error::BadName)?;
        let body = Bytes::from(target);
        let attr = Attr { size: body.len() as u64, ..self.as_sent(&entry.attr) };
        let version = self.put_whole(key, body.clone(), &attr, exclusive).await?;
        self.contents.adopt_bytes(key, &version, &body);
        Ok(Known::made(&self.options, version, attr, clock::now()))
    }

    /// One PUT of what is no file.
    pub(super) async fn put_whole(&self, key: &Key, body: Bytes, attr: &Attr, exclusive: bool) -> Result<Version> {
        let headers = known::new_headers(&self.options, key, attr, b"");
        let exclusive = exclusive && self.conditional().absent.works();
        let require = if exclusive { Require::Absent } else { Require::Anything };
        self.store.put(key, body, &headers, require).await
    }
}
