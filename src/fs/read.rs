//! read, and lseek.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    Fs,
    file::{File, Handle, State},
    types::{Fh, Whence},
};
use crate::{
    cache::{Content, Readahead},
    error::{Error, Result},
    store::Store,
    upload::dirty::{Dirty, Piece},
};

impl<S: Store> Fs<S> {
    /// Local bytes only. Short only at the end of the file.
    pub fn try_read(&self, fh: Fh, offset: u64, len: u32) -> Option<Result<Bytes>> {
        let handle = match self.reader(fh) {
            Ok(handle) => handle,
            Err(err) => return Some(Err(err)),
        };
        let state = handle.file.state.try_read().ok()?;
        if state.dirty.is_some() {
            return None;
        }
        let content = state.content.as_ref()?;
        let range = clip(offset, len, state.version.as_ref()?.size);
        self.contents.try_read(content, range, &handle.ahead).map(Ok)
    }

    pub async fn read(&self, fh: Fh, offset: u64, len: u32) -> Result<Bytes> {
        let handle = self.reader(fh)?;
        let state = handle.file.state.read().await;
        if let Some(own) = &state.own {
            return super::local::read(own, offset, len);
        }
        if let Some(dirty) = &state.dirty {
            return self.read_dirty(dirty, clip(offset, len, dirty.size), &handle).await;
        }
        let Some(version) = &state.version else { return Ok(Bytes::new()) };
        let range = clip(offset, len, version.size);
        let content = if let Some(content) = &state.content {
            Arc::clone(content)
        } else {
            drop(state);
            let mut state = handle.file.state.write().await;
            if state.dirty.is_some() || state.own.is_some() {
                drop(state);
                return Box::pin(self.read(fh, offset, len)).await;
            }
            self.content_of(&handle.file, &mut state).ok_or(Error::Stale)?
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.contents.read(&content, range, &handle.ahead).await
    }

    /// `ENXIO` at and beyond the end of the file.
    pub async fn lseek(&self, fh: Fh, offset: u64, whence: Whence) -> Result<u64> {
        let handle = self.handles.get(fh)?;
        let state = handle.file.state.read().await;
        if let Some(own) = &state.own {
            return super::local::lseek(own, offset, whence);
        }
        let Some(dirty) = &state.dirty else {
            let size = state.version.as_ref().map_or(0, |version| version.size);
            return match whence {
                _ if offset >= size => Err(Error::NoPosition),
                Whence::Data => Ok(offset),
                Whence::Hole => Ok(size),
            };
        };
        if offset >= dirty.size {
            return Err(Error::NoPosition);
        }
        let pieces = dirty.pieces(offset..dirty.size);
        let zeros = |piece: &Piece| matches!(piece, Piece::Zeros(_));
        match whence {
            Whence::Data => pieces.iter().find(|piece| !zeros(piece)).map(start).ok_or(Error::NoPosition),
            Whence::Hole => Ok(pieces.iter().find(|piece| zeros(piece)).map_or(dirty.size, start)),
        }
        .map(|at| at.max(offset))
    }

    fn reader(&self, fh: Fh) -> Result<Arc<Handle>> {
        let handle = self.handles.get(fh)?;
        // The kernel reads through a descriptor for writing when it fills the rest of a page.
        if handle.read || handle.write { Ok(handle) } else { Err(Error::BadHandle) }
    }

    async fn read_dirty(&self, dirty: &Dirty, range: Range<u64>, handle: &Handle) -> Result<Bytes> {
        if !dirty.away.within(range.clone()).is_empty() {
            return Err(self.not_here(&handle.file));
        }
        self.read_pieces(dirty, range, &handle.ahead).await
    }

    /// The bytes of a dirty file, from here and from the object below it. Fails with `Unsupported` where they are in an
    /// upload alone.
    pub(super) async fn read_pieces(&self, dirty: &Dirty, range: Range<u64>, ahead: &Readahead) -> Result<Bytes> {
        let mut pieces = dirty.pieces(range.clone());
        if let [Piece::Staged(range)] = &pieces[..] {
            return dirty.staging.read(range.clone());
        }
        let mut bytes = BytesMut::with_capacity(len(&range)?);
        for piece in pieces.drain(..) {
            match piece {
                Piece::Staged(range) => bytes.extend_from_slice(&dirty.staging.read(range)?),
                Piece::Zeros(range) => bytes.resize(bytes.len() + len(&range)?, 0),
                Piece::Base(range) => {
                    let base = dirty.base.as_ref().expect("a piece of the base has one");
                    bytes.extend_from_slice(&self.contents.read(&base.content, range, ahead).await?);
                }
                Piece::Away(_) => return Err(Error::Unsupported),
            }
        }
        Ok(bytes.freeze())
    }

    /// The bytes of the object that a file shows; `None` if there is none yet.
    pub(super) fn content_of(&self, file: &File, state: &mut State) -> Option<Arc<Content>> {
        if let Some(content) = &state.content {
            return Some(Arc::clone(content));
        }
        let version = state.version.as_ref()?;
        let key = {
            let tree = self.tree();
            let lost = || file.former().and_then(|(parent, name)| tree.child_key(parent, &name).ok());
            tree.key(file.id).or_else(lost)?
        };
        let content = self.contents.get(&key, version);
        state.content = Some(Arc::clone(&content));
        Some(content)
    }
}

fn clip(offset: u64, len: u32, size: u64) -> Range<u64> {
    let start = offset.min(size);
    start..start.saturating_add(u64::from(len)).min(size)
}

fn len(range: &Range<u64>) -> Result<usize> {
    usize::try_from(range.end - range.start).map_err(|_| Error::Invalid)
}

fn start(piece: &Piece) -> u64 {
    piece.range().start
}
