//! The bytes of files that live here: what a program does is done to the real file.

use std::{fs::File as OsFile, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use nix::fcntl::FallocateFlags;

use super::super::{
    Fs,
    file::{File, State},
    types::{Fh, NodeId, OpenMode, Opened, Whence},
};
use crate::{
    error::{Error, Result},
    local::{attr_of, told, told_io},
    store::Store,
};

impl<S: Store> Fs<S> {
    pub(in crate::fs) async fn open_here(&self, id: NodeId, open: OpenMode) -> Result<Opened> {
        let file = self.hold(id)?;
        let opened = self.prepare_here(&file, open).await;
        if opened.is_err() {
            self.let_go(&file).await;
        }
        opened
    }

    async fn prepare_here(&self, file: &Arc<File>, open: OpenMode) -> Result<Opened> {
        let mut state = file.state.write().await;
        let own = self.ensure_open(file, &mut state, open.write)?;
        if open.truncate && open.write {
            own.set_len(0).map_err(told_io)?;
            state.writes += 1;
        }
        drop(state);
        self.touched_here(file.id, &own)?;
        let size = own.metadata().map_err(told_io)?.len();
        let unchanged = self.pages_of(file, Some(super::pages()));
        // The kernel may read the very file: writers come to us and change the same one.
        let backing = (!open.write).then_some(own);
        Ok(self.opened(Arc::clone(file), open, size, backing, unchanged))
    }

    /// The file behind a node, opened at need. What is open outlives the name.
    pub(super) fn ensure_open(&self, file: &File, state: &mut State, write: bool) -> Result<Arc<OsFile>> {
        if let Some(own) = state.own.as_ref().filter(|_| !write || self.tree().key(file.id).is_none()) {
            return Ok(Arc::clone(own));
        }
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        let key = {
            let tree = self.tree();
            // It went to the bucket meanwhile.
            tree.get(file.id).filter(|node| node.payload.own).ok_or(Error::Stale)?;
            tree.key(file.id).ok_or(Error::Stale)?
        };
        let own = here.disk.open(here.path(&key), write).map_err(|err| match err {
            Error::NotFound => Error::Stale,
            err => err,
        })?;
        Ok(Arc::clone(state.own.insert(Arc::new(own))))
    }

    /// For a handle that is made again.
    pub(in crate::fs) fn restore_here(&self, file: &File) -> Result<()> {
        if self.is_own(file.id)
            && let Ok(mut state) = file.state.try_write()
        {
            self.ensure_open(file, &mut state, false)?;
        }
        Ok(())
    }

    /// What the tree shows of a file that is open, as the disk has it now.
    pub(super) fn touched_here(&self, id: NodeId, own: &OsFile) -> Result<()> {
        let attr = self.shown_here(&attr_of(own)?);
        if let Some(node) = self.tree().get_mut(id).filter(|node| node.payload.own) {
            node.payload.known.attr = attr;
        }
        Ok(())
    }

    /// `offset`: `None` is the end of the file. The caller holds its state.
    pub(in crate::fs) fn write_here(
        &self,
        file: &File,
        state: &mut State,
        offset: Option<u64>,
        data: &[u8],
    ) -> Result<u32> {
        let own = Arc::clone(state.own.as_ref().ok_or(Error::Stale)?);
        let offset = match offset {
            Some(offset) => offset,
            None => own.metadata().map_err(told_io)?.len(),
        };
        // What is cached makes room; if that is not enough, the disk says so.
        self.contents.make_room(data.len() as u64);
        own.write_all_at(data, offset).map_err(told_io)?;
        state.writes += 1;
        self.touched_here(file.id, &own)?;
        u32::try_from(data.len()).map_err(|_| Error::Invalid)
    }

    pub(in crate::fs) fn resize_here(&self, file: &File, state: &mut State, size: u64) -> Result<()> {
        let own = Arc::clone(state.own.as_ref().ok_or(Error::Stale)?);
        own.set_len(size).map_err(told_io)?;
        state.writes += 1;
        self.touched_here(file.id, &own)
    }

    pub(in crate::fs) fn fallocate_here(
        &self,
        file: &File,
        state: &mut State,
        (offset, len): (u64, u64),
        mode: i32,
    ) -> Result<()> {
        let own = Arc::clone(state.own.as_ref().ok_or(Error::Stale)?);
        let mode = FallocateFlags::from_bits(mode).ok_or(Error::Unsupported)?;
        let [offset, len] = [offset, len].map(|n| i64::try_from(n).map_err(|_| Error::TooLarge));
        nix::fcntl::fallocate(&own, mode, offset?, len?).map_err(told)?;
        state.writes += 1;
        self.touched_here(file.id, &own)
    }

    /// fsync(2) of the real file; `None` for one that does not live here.
    pub(in crate::fs) async fn fsync_here(&self, fh: Fh) -> Option<Result<()>> {
        let handle = self.handles.get(fh).ok()?;
        let own = handle.file.state.read().await.own.clone()?;
        let synced = tokio::task::spawn_blocking(move || own.sync_all().map_err(told_io)).await;
        Some(synced.unwrap_or_else(|panic| Err(Error::unavailable(panic))))
    }
}

/// Short only at the end of the file.
pub(in crate::fs) fn read(own: &OsFile, offset: u64, len: u32) -> Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| Error::Invalid)?];
    let mut got = 0;
    while got < bytes.len() {
        match own.read_at(&mut bytes[got..], offset + got as u64).map_err(told_io)? {
            0 => break,
            more => got += more,
        }
    }
    bytes.truncate(got);
    Ok(bytes.into())
}

/// The position of the descriptor is nobody's but this call's.
pub(in crate::fs) fn lseek(own: &OsFile, offset: u64, whence: Whence) -> Result<u64> {
    let whence = match whence {
        Whence::Data => nix::unistd::Whence::SeekData,
        Whence::Hole => nix::unistd::Whence::SeekHole,
    };
    let offset = i64::try_from(offset).map_err(|_| Error::NoPosition)?;
    let at = nix::unistd::lseek(own, offset, whence).map_err(told)?;
    u64::try_from(at).map_err(|_| Error::NoPosition)
}
