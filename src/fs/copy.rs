//! `copy_file_range`: a whole object is copied by the server, not through this host.

use std::sync::Arc;

use super::{Fs, types::Fh};
use crate::{
    error::{Error, Result},
    store::Store,
    upload::{
        dirty::{Base, Dirty},
        staging::{Note, Staging},
    },
};

impl<S: Store> Fs<S> {
    /// Makes an empty file a copy of a whole clean one; its flush is one COPY. All else is `Unsupported`: the kernel
    /// then copies by read and write.
    pub async fn copy_file_range(&self, from: (Fh, u64), to: (Fh, u64), len: u64) -> Result<u32> {
        let (source, target) = (self.handles.get(from.0)?, self.handles.get(to.0)?);
        if !target.write {
            return Err(Error::BadHandle);
        }
        if from.1 != 0 || to.1 != 0 || Arc::ptr_eq(&source.file, &target.file) {
            return Err(Error::Unsupported);
        }
        // A writer in the queue would stop readers while a large source is uploaded.
        if source.file.is_dirty() {
            return Err(Error::Unsupported);
        }
        let base = {
            let mut state = source.file.state.write().await;
            if state.dirty.is_some() || state.own.is_some() {
                return Err(Error::Unsupported);
            }
            let key = self.tree().key(source.file.id).ok_or(Error::Unsupported)?;
            let version = state.version.clone().ok_or(Error::Unsupported)?;
            let content = self.content_of(&source.file, &mut state).ok_or(Error::Unsupported)?;
            Base { key, len: version.size, version, content }
        };
        // The reply counts in 32 bits.
        let copied = u32::try_from(base.len).map_err(|_| Error::Unsupported)?;
        if base.len == 0 || len < base.len {
            return Err(Error::Unsupported);
        }
        let stream = target.file.stream.lock().await;
        let mut state = target.file.state.write().await;
        if state.own.is_some() {
            return Err(Error::Unsupported);
        }
        let empty = match (&state.dirty, &state.version) {
            (Some(dirty), _) => dirty.size == 0 && stream.is_none(),
            (None, version) => version.as_ref().is_none_or(|version| version.size == 0),
        };
        if !empty {
            return Err(Error::Unsupported);
        }
        let note = Note { base: Some(base.version.etag.as_str().to_owned()), ..Note::default() };
        let former = state.dirty.take();
        state.dirty = Some(Dirty::new(Staging::new(&self.yard, note), Some(base)).in_place_of(former));
        state.writes += 1;
        target.file.set_dirty(true);
        self.touched(&target.file, u64::from(copied), stream.as_ref());
        Ok(copied)
    }
}
