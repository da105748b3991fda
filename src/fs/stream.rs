//! Parts that leave while the application still writes, and what of them need not stay on the disk.

use std::sync::Arc;

use super::{Fs, file::File, send::HEAD};
use crate::{
    error::{Error, Result},
    model::attr::Attr,
    store::Store,
    upload::{
        dirty::Dirty,
        multipart::{Matter, Stream},
    },
};

impl<S: Store> Fs<S> {
    /// Room on the disk for `bytes` of a file: what the bucket has of it goes if there is none.
    pub(super) async fn make_room(&self, file: &File, stream: &mut Option<Stream>, bytes: u64) -> Result<()> {
        if self.contents.make_room(bytes) {
            return Ok(());
        }
        if let Some(stream) = stream {
            self.relieve(file, stream, 0).await;
        }
        if self.contents.make_room(bytes) { Ok(()) } else { Err(Error::NoSpace) }
    }

    /// The bytes of `range` are about to change: parts that were sent of them are sent again. Fails with `Unsupported`
    /// if some are in the upload alone.
    pub(super) fn touch(
        &self,
        file: &File,
        dirty: &Dirty,
        stream: &mut Option<Stream>,
        range: &std::ops::Range<u64>,
    ) -> Result<()> {
        if !dirty.away.within(range.clone()).is_empty() {
            return Err(self.not_here(file));
        }
        if let Some(stream) = stream {
            stream.change(range);
        }
        Ok(())
    }

    /// The error for who wants bytes of a file that is not closed yet and that are in its upload alone. The log tells.
    pub(super) fn not_here(&self, file: &File) -> Error {
        log::warn!(
            "{}: what was written there has been handed to the bucket to free the local disk, and can be read and \
             changed again when the file is closed; a larger staging_size, or more room, keeps it here",
            self.name_of(file)
        );
        Error::Unsupported
    }

    /// Sends what is complete of a new file that is written from its start to its end. Failures show in the flush,
    /// which tries again.
    pub(super) async fn stream(&self, file: &Arc<File>, stream: &mut Option<Stream>, attr: Attr) {
        let number = stream.as_ref().map_or(1, Stream::next);
        let part = self.lanes.limits.part;
        let range = u64::from(number - 1) * part..u64::from(number) * part;
        let head = {
            let state = file.state.read().await;
            let Some(dirty) = &state.dirty else { return };
            // One byte beyond the part proves that it is not the last, and that one PUT would not do.
            let complete = dirty.base.is_none() && dirty.size > range.end && dirty.staging.here().covers(&range);
            // The headers go with the first part.
            let settled = stream.is_some() || self.options.headers.is_settled(dirty.size);
            if !complete || dirty.exclusive || !settled {
                return;
            }
            let head = || dirty.staging.read(0..HEAD.min(dirty.size)).unwrap_or_default();
            stream.is_none().then(|| (head(), dirty.size))
        };
        // The key must stay what it is: parts for another would be worth nothing.
        let Some(_names) = self.try_share_node(file.id) else { return };
        // Without a name it was unlinked, and goes nowhere.
        let Some(key) = self.tree().key(file.id) else { return };
        if let Some((head, size)) = head {
            let headers = self.named_headers(&key, &Attr { size, ..attr }, &head);
            match Stream::begin(&*self.store, &self.lanes, &key, &headers, attr).await {
                Ok(begun) => *stream = Some(begun),
                Err(err) => return log::info!("{key} is not sent while it is written: {err}"),
            }
        }
        let Some(begun) = stream else { return };
        if begun.upload.key != key {
            return;
        }
        if let Err(err) = begun.lane(&self.lanes, number).await {
            return log::info!("a part of {key} is to be sent again: {err}");
        }
        let room = self.lanes.room(part).await;
        let bytes = {
            let state = file.state.read().await;
            let Some(dirty) = &state.dirty else { return };
            dirty.staging.read(range.clone())
        };
        match bytes {
            Ok(bytes) => begun.send(&self.store, number, range, Matter::Bytes(bytes, room)),
            Err(err) => return log::warn!("{key}: {err}"),
        }
        if let Some(limit) = self.options.staging_size {
            self.relieve(file, begun, limit).await;
        }
    }

    /// Frees the disk of parts that the bucket has until at most `limit` bytes of the file are here. Waits for those
    /// that are on their way.
    async fn relieve(&self, file: &File, stream: &mut Stream, limit: u64) {
        loop {
            let staged = file.state.read().await.dirty.as_ref().map_or(0, |dirty| dirty.staging.here().len());
            if staged <= limit {
                return;
            }
            let Some(range) = stream.releasable() else {
                if stream.join().await {
                    continue;
                }
                return;
            };
            let mut state = file.state.write().await;
            if !state.dirty.as_mut().is_some_and(|dirty| dirty.release(&range)) {
                return;
            }
            stream.release(&range);
        }
    }

    /// Parts that were sent of a file that will not be uploaded under the name they are for.
    pub(super) async fn drop_stream(&self, file: &File) {
        if !file.is_dirty() {
            return;
        }
        let stream = file.stream.lock().await.take();
        if let Some(stream) = stream {
            stream.abort(&*self.store).await;
        }
    }

    /// Whether some bytes of a file are in its upload alone.
    pub(super) async fn is_away(&self, file: &File) -> bool {
        file.state.read().await.dirty.as_ref().is_some_and(|dirty| !dirty.away.is_empty())
    }
}
