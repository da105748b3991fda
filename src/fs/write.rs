//! write, truncate, fallocate: changes that stay here until a flush.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Fs,
    file::{File, State},
    known,
    types::Fh,
};
use crate::{
    clock,
    error::{Error, Result},
    model::{
        attr::{Attr, Kind},
        key::Key,
    },
    store::{PARTS_MAX, Store},
    upload::{
        dirty::{Base, Dirty},
        multipart::Stream,
        staging::{Note, Staging},
    },
};

impl<S: Store> Fs<S> {
    /// With `append` (or a handle that was opened so) the offset is ignored. Gives the bytes written: all of them.
    pub async fn write(&self, fh: Fh, offset: u64, data: Bytes, append: bool) -> Result<u32> {
        let handle = self.handles.get(fh)?;
        if !handle.write {
            return Err(Error::BadHandle);
        }
        let mut state = handle.file.state.write().await;
        self.change(&handle.file, &mut state)?;
        let dirty = state.dirty.as_mut().expect("made by change");
        let offset = if append || handle.append { dirty.size } else { offset };
        let end = self.check_size(offset, data.len() as u64)?;
        if !self.contents.make_room(data.len() as u64) {
            return Err(Error::NoSpace);
        }
        self.give_up_stream(dirty, offset).await;
        dirty.staging.write(offset, &data)?;
        dirty.size = dirty.size.max(end);
        let size = dirty.size;
        state.writes += 1;
        let attr = self.touched(&handle.file, size);
        self.stream(&handle.file, &mut state, attr).await;
        u32::try_from(data.len()).map_err(|_| Error::Invalid)
    }

    /// Sets the size. `state` is that of `file`.
    pub(super) async fn resize(&self, file: &Arc<File>, state: &mut State, size: u64) -> Result<()> {
        self.check_size(size, 0)?;
        if size == 0 {
            // Nothing of what was there is needed.
            let note = self.note(file, state);
            if let Some(stream) = state.dirty.as_mut().and_then(|dirty| dirty.stream.take()) {
                stream.abort(&*self.store).await;
            }
            let former = state.dirty.take();
            state.dirty = Some(Dirty::new(Staging::new(&self.yard, note), None).in_place_of(former));
            file.set_dirty(true);
        } else {
            self.change(file, state)?;
            let dirty = state.dirty.as_mut().expect("made by change");
            self.give_up_stream(dirty, size).await;
            dirty.truncate(size)?;
        }
        state.writes += 1;
        self.touched(file, size);
        Ok(())
    }

    /// `mode` of fallocate(2): 0, `KEEP_SIZE`, and `PUNCH_HOLE` or `ZERO_RANGE` with or without it.
    pub async fn fallocate(&self, fh: Fh, offset: u64, len: u64, mode: i32) -> Result<()> {
        let handle = self.handles.get(fh)?;
        if !handle.write {
            return Err(Error::BadHandle);
        }
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zero = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => false,
            libc::FALLOC_FL_PUNCH_HOLE if keep => true,
            libc::FALLOC_FL_ZERO_RANGE => true,
            _ => return Err(Error::Unsupported),
        };
        let end = self.check_size(offset, len)?;
        let mut state = handle.file.state.write().await;
        self.change(&handle.file, &mut state)?;
        let size = state.dirty.as_ref().map_or(0, |dirty| dirty.size);
        if !keep && end > size {
            self.resize(&handle.file, &mut state, end).await?;
        }
        if zero {
            self.zero(&handle.file, &mut state, offset, end).await?;
        }
        Ok(())
    }

    async fn zero(&self, file: &Arc<File>, state: &mut State, offset: u64, end: u64) -> Result<()> {
        /// Bytes of zeros written at once: as much as one write of the kernel.
        const STEP: u64 = 1 << 20;
        let dirty = state.dirty.as_mut().expect("the caller made it");
        self.give_up_stream(dirty, offset).await;
        let mut at = offset;
        let end = end.min(dirty.size);
        while at < end {
            let len = STEP.min(end - at);
            dirty.staging.write(at, &vec![0; usize::try_from(len).expect("at most STEP")])?;
            at += len;
        }
        let size = dirty.size;
        state.writes += 1;
        self.touched(file, size);
        Ok(())
    }

    /// Makes a file dirty over what it shows.
    pub(super) fn change(&self, file: &Arc<File>, state: &mut State) -> Result<()> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        if state.dirty.is_some() {
            return Ok(());
        }
        let base = match state.version.clone() {
            None => None,
            Some(version) => {
                let content = self.content_of(file, state).ok_or(Error::Stale)?;
                // An orphan is never uploaded, so nobody asks for its key.
                let key = self.tree().key(file.id).unwrap_or_else(|| Key::new(""));
                Some(Base { key, len: version.size, version, content })
            }
        };
        let note = self.note(file, state);
        state.dirty = Some(Dirty::new(Staging::new(&self.yard, note), base));
        file.set_dirty(true);
        Ok(())
    }

    fn note(&self, file: &File, state: &State) -> Note {
        let key = {
            let tree = self.tree();
            let lost = || file.former().and_then(|(parent, name)| tree.child_key(parent, &name).ok());
            tree.key(file.id).or_else(lost).map(|key| key.as_str().to_owned()).unwrap_or_default()
        };
        let base = state.version.as_ref().map(|version| version.etag.as_str().to_owned());
        Note { key, base, ..Note::default() }
    }

    /// The end of a change, if the store can hold it.
    fn check_size(&self, offset: u64, len: u64) -> Result<u64> {
        let end = offset.checked_add(len).ok_or(Error::TooLarge)?;
        if end > self.options.part_size.saturating_mul(u64::from(PARTS_MAX)) { Err(Error::TooLarge) } else { Ok(end) }
    }

    /// The node has `size` bytes and was changed now.
    pub(super) fn touched(&self, file: &File, size: u64) -> Attr {
        let mtime = known::stamp(&self.options, clock::wall());
        let mut tree = self.tree();
        match tree.get_mut(file.id) {
            Some(node) => {
                node.payload.known.attr = Attr { size, mtime, ..node.payload.known.attr };
                node.payload.known.attr
            }
            None => Attr { kind: Kind::File, size, mtime, mode: 0, uid: 0, gid: 0 },
        }
    }

    /// Parts that were handed over cannot be changed: when something at or below `offset` was, they are dropped, and
    /// the flush sends the whole file again.
    async fn give_up_stream(&self, dirty: &mut Dirty, offset: u64) {
        if dirty.stream.as_ref().is_some_and(|stream| offset < stream.handed_over(&self.lanes))
            && let Some(stream) = dirty.stream.take()
        {
            stream.abort(&*self.store).await;
        }
    }

    /// Sends what is complete of a file that is written from its start to its end. Failures show in the flush, which
    /// tries again with all of it.
    async fn stream(&self, file: &Arc<File>, state: &mut State, attr: Attr) {
        let Some(dirty) = &mut state.dirty else { return };
        let part = self.lanes.part_size;
        let sent = dirty.stream.as_ref().map_or(0, |stream| stream.handed_over(&self.lanes));
        // One byte beyond the part proves that it is not the last, and that one PUT would not do.
        let complete =
            dirty.base.is_none() && dirty.size > sent + part && dirty.staging.here().covers(&(0..sent + part));
        // Without a name it was unlinked, and goes nowhere.
        let Some(key) = self.tree().key(file.id).filter(|_| complete && !dirty.exclusive) else { return };
        if dirty.stream.is_none() {
            let head = dirty.staging.read(0..super::send::HEAD.min(dirty.size)).unwrap_or_default();
            let headers = self.named_headers(&key, &attr, &head);
            match Stream::begin(&*self.store, &self.lanes, &key, &headers, attr.mtime).await {
                Ok(stream) => dirty.stream = Some(stream),
                Err(err) => return log::info!("{key} is not sent while it is written: {err}"),
            }
        }
        let Some(mut stream) = dirty.stream.take() else { return };
        match stream.send(&self.store, &self.lanes, &dirty.staging, part).await {
            Ok(()) => dirty.stream = Some(stream),
            Err(err) => {
                log::info!("{} is not sent while it is written: {err}", stream.upload.key);
                stream.abort(&*self.store).await;
            }
        }
    }
}
