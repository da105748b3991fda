//! How dirty bytes travel: one PUT, one COPY, or parts.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{Fs, known};
use crate::{
    cache::Readahead,
    clock,
    error::{Error, Result},
    model::{attr::Attr, key::Key, version::Version},
    store::{Copy, Require, SINGLE_MAX, Store, bucket::etag_of, probe::Support},
    upload::{
        dirty::{Dirty, Piece},
        multipart::{self, Stream},
    },
};

/// Bytes at the start of a file that decide its charset.
pub(super) const HEAD: u64 = 64 << 10;
/// Bytes that are copied from the content below into staging at a time.
pub(super) const STEP: u64 = 1 << 20;

/// An object that was just written.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) version: Version,
    /// When the request was sent that made it.
    pub(super) at: Instant,
    pub(super) attr: Attr,
}

impl<S: Store> Fs<S> {
    /// One PUT. After an attempt that nobody answered, an object of these very bytes is the one of that attempt.
    pub(super) async fn send_bytes(
        &self,
        key: &Key,
        bytes: Bytes,
        attr: Attr,
        exclusive: bool,
        unanswered: bool,
    ) -> Result<Sent> {
        let require = requirement(exclusive, self.conditional().absent);
        let head = &bytes[..bytes.len().min(usize::try_from(HEAD).expect("64 KiB"))];
        let headers = known::new_headers(&self.options, key, &attr, head);
        let at = clock::now();
        let version = match self.store.put(key, bytes.clone(), &headers, require).await {
            Err(Error::Exists) if unanswered => {
                let object = self.store.head(key).await?;
                // Where the ETag is no sum of the bytes nobody can tell, and that is not success.
                let ours = Version { etag: etag_of(&Md5::digest(&bytes)), modified: None, size: bytes.len() as u64 };
                if object.headers.user != headers.user || !object.version.same_content(&ours) {
                    return Err(Error::Exists);
                }
                Version { modified: None, ..object.version }
            }
            sent => sent?,
        };
        if version.size != bytes.len() as u64 {
            return Err(Error::unavailable(format!("{} of {} bytes arrived", version.size, bytes.len())));
        }
        Ok(Sent { version, at, attr })
    }

    /// A server-side COPY of a file that is nothing but another object. `None`: it is not, or the server cannot, or the
    /// source has changed.
    pub(super) async fn send_copy(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Option<Sent>> {
        let Some(base) = dirty.base.as_ref().filter(|_| dirty.is_copy()) else { return Ok(None) };
        let exclusive = dirty.exclusive;
        if base.version.size > SINGLE_MAX || (exclusive && !self.conditional().copy.works()) {
            return Ok(None);
        }
        let head = self.contents.try_read(&base.content, 0..HEAD.min(dirty.size), &Readahead::default());
        let head = head.unwrap_or_default();
        let headers = known::new_headers(&self.options, key, &attr, &head);
        let require = if exclusive { Require::Absent } else { Require::Anything };
        let source = Some(base.version.etag.clone());
        let copy = Copy { headers: Some(headers), size: Some(dirty.size), source, require };
        let at = clock::now();
        match self.store.copy(&base.key, key, copy).await {
            Ok(version) => {
                self.contents.copied((&base.key, &base.version), (key, &version));
                Ok(Some(Sent { version: Version { modified: None, ..version }, at, attr }))
            }
            Err(Error::Stale | Error::NotFound | Error::Unsupported) => Ok(None),
            Err(err) => Err(err),
        }
    }

    pub(super) async fn send_parts(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: Option<Stream>,
        attr: Attr,
    ) -> Result<Sent> {
        // The headers were fixed when the first part went: what was set since needs other headers.
        let fits = |stream: &Stream| {
            let with_its_times = stream.timed(attr);
            let same_times = !dirty.time_set || with_its_times == Attr { ctime: with_its_times.ctime, ..attr };
            let owner = |attr: &Attr| (attr.mode, attr.uid, attr.gid);
            stream.upload.key == *key && same_times && owner(&stream.attr) == owner(&attr)
        };
        match stream {
            Some(stream) if fits(&stream) => match self.send_rest(key, dirty, stream, attr).await {
                Err(Error::Exists) => Err(Error::Exists),
                Err(err) => {
                    log::info!("{key} is sent again as a whole: {err}");
                    self.send_anew(key, dirty, attr).await
                }
                sent => sent,
            },
            other => {
                if let Some(stream) = other {
                    stream.abort(&*self.store).await;
                }
                self.send_anew(key, dirty, attr).await
            }
        }
    }

    async fn send_anew(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Sent> {
        let head = dirty.staging.read(0..HEAD)?;
        let headers = known::new_headers(&self.options, key, &attr, &head);
        let stream = Stream::begin(&*self.store, &self.lanes, key, &headers, attr).await?;
        self.send_rest(key, dirty, stream, attr).await
    }

    /// Sends what is not sent yet, and ends the upload.
    async fn send_rest(&self, key: &Key, dirty: &Dirty, mut stream: Stream, attr: Attr) -> Result<Sent> {
        let attr = stream.timed(attr);
        loop {
            let left = dirty.size - stream.handed_over(&self.lanes).min(dirty.size);
            if left == 0 {
                break;
            }
            let len = left.min(self.lanes.part_size);
            if let Err(err) = stream.send(&self.store, &self.lanes, &dirty.staging, len).await {
                stream.abort(&*self.store).await;
                return Err(err);
            }
        }
        let require = requirement(dirty.exclusive, self.conditional().complete);
        let at = clock::now();
        let version = Version { size: dirty.size, ..stream.complete(&*self.store, require).await? };
        let object = self.store.head(key).await?;
        multipart::verify(&version, &object.version.etag, object.version.size)?;
        Ok(Sent { version, at, attr })
    }

    /// Fetches what the file still takes from the object below it, so that staging is whole.
    pub(super) async fn materialize(&self, dirty: &mut Dirty) -> Result<()> {
        let ahead = Arc::new(Readahead::default());
        for piece in dirty.pieces(0..dirty.size) {
            let (Piece::Base(range), Some(base)) = (piece, dirty.base.clone()) else { continue };
            let mut at = range.start;
            while at < range.end {
                let step = at..range.end.min(at + STEP);
                let bytes = self.contents.read(&base.content, step.clone(), &ahead).await?;
                dirty.staging.write(at, &bytes)?;
                at = step.end;
            }
        }
        Ok(())
    }
}

fn requirement(exclusive: bool, can: Support) -> Require {
    if exclusive && can.works() { Require::Absent } else { Require::Anything }
}
