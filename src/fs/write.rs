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
    store::Store,
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
        let mut stream = handle.file.stream.lock().await;
        let room = self.make_room(&handle.file, &mut stream, data.len() as u64).await;
        let attr = {
            let mut state = handle.file.state.write().await;
            if state.own.is_some() {
                room?;
                let offset = Some(offset).filter(|_| !append && !handle.append);
                return self.write_here(&handle.file, &mut state, offset, &data);
            }
            let size = state.size();
            let offset = if append || handle.append { size } else { offset };
            let end = self.check_size(offset, data.len() as u64, size)?;
            let written = room.and_then(|()| self.take_in(&handle.file, &mut state, &mut stream, offset, &data));
            if let Err(err) = written {
                if let (Error::NoSpace, Some(dirty)) = (&err, &mut state.dirty) {
                    dirty.lacks.insert(offset..end);
                }
                return Err(err);
            }
            self.touched(&handle.file, state.size(), stream.as_ref())
        };
        self.stream(&handle.file, &mut stream, attr).await;
        u32::try_from(data.len()).map_err(|_| Error::Invalid)
    }

    fn take_in(
        &self,
        file: &Arc<File>,
        state: &mut State,
        stream: &mut Option<Stream>,
        offset: u64,
        data: &[u8],
    ) -> Result<()> {
        self.change(file, state)?;
        let dirty = state.dirty.as_mut().expect("made by change");
        let range = offset..offset + data.len() as u64;
        self.touch(file, dirty, stream, &range)?;
        dirty.staging.write(offset, data)?;
        dirty.lacks.remove(&range);
        dirty.size = dirty.size.max(range.end);
        state.writes += 1;
        Ok(())
    }

    /// Sets the size. `stream` and `state` are those of `file`.
    pub(super) async fn resize(
        &self,
        file: &Arc<File>,
        stream: &mut Option<Stream>,
        state: &mut State,
        size: u64,
    ) -> Result<()> {
        if state.own.is_some() {
            return self.resize_here(file, state, size);
        }
        self.check_size(size, 0, 0)?;
        if size == 0 {
            // Nothing of what was there is needed.
            let note = self.note(file, state);
            if let Some(stream) = stream.take() {
                stream.abort(&*self.store).await;
            }
            let former = state.dirty.take();
            state.dirty = Some(Dirty::new(Staging::new(&self.yard, note), None).in_place_of(former));
            file.set_dirty(true);
        } else {
            if stream.as_ref().is_some_and(|stream| stream.cuts_released(size)) {
                return Err(self.not_here(file));
            }
            self.change(file, state)?;
            let dirty = state.dirty.as_mut().expect("made by change");
            if let Some(stream) = stream {
                stream.truncate(size);
            }
            dirty.truncate(size)?;
        }
        state.writes += 1;
        self.touched(file, size, stream.as_ref());
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
        let file = &handle.file;
        let mut stream = file.stream.lock().await;
        let mut state = file.state.write().await;
        if state.own.is_some() {
            return self.fallocate_here(file, &mut state, (offset, len), mode);
        }
        let size = state.size();
        let end = self.check_size(offset, len, size)?;
        if zero && state.dirty.as_ref().is_some_and(|dirty| !dirty.away.within(offset..end).is_empty()) {
            return Err(self.not_here(file));
        }
        if !keep && end > size {
            self.resize(file, &mut stream, &mut state, end).await?;
        }
        let end = end.min(state.size());
        if !zero || end <= offset {
            return Ok(());
        }
        self.change(file, &mut state)?;
        let dirty = state.dirty.as_mut().expect("made by change");
        self.touch(file, dirty, &mut stream, &(offset..end))?;
        dirty.zero(offset..end)?;
        let size = dirty.size;
        state.writes += 1;
        self.touched(file, size, stream.as_ref());
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

    /// The end of a change of a file of `size` bytes, if the store can hold what comes of it: before any byte of it is
    /// taken.
    pub(super) fn check_size(&self, offset: u64, len: u64, size: u64) -> Result<u64> {
        let end = offset.checked_add(len).ok_or(Error::TooLarge)?;
        if end.max(size) > self.lanes.limits.largest() { Err(Error::TooLarge) } else { Ok(end) }
    }

    /// The node has `size` bytes and was changed now. With a stream the times stay those of its first part: the object
    /// gets them, and what is shown must not go back at the close.
    pub(super) fn touched(&self, file: &File, size: u64, stream: Option<&Stream>) -> Attr {
        let now = clock::wall();
        let mut tree = self.tree();
        match tree.get_mut(file.id) {
            Some(node) => {
                let attr = Attr { size, ..node.payload.known.attr };
                node.payload.known.attr = match stream {
                    Some(Stream { attr: begun, .. }) => {
                        Attr { mtime: begun.mtime, atime: begun.atime, ctime: begun.ctime, ..attr }
                    }
                    None => known::written(&self.options, attr, now),
                };
                node.payload.known.attr
            }
            None => known::written(&self.options, Attr { size, ..known::blank(&self.options, Kind::File) }, now),
        }
    }
}
