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
        multipart::{self, Matter, Stream},
        plan::{self, Step},
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

    /// A multipart upload. Goes on with `stream`, if there is one for this object; what did not change since the last
    /// version is copied inside the bucket, where that saves something. If it fails and some bytes are in the stream
    /// alone, that is left for another try.
    pub(super) async fn send_parts(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: &mut Option<Stream>,
        attr: Attr,
    ) -> Result<Sent> {
        let whole = plan::grid(dirty.size, &self.lanes.limits)?;
        let away = !dirty.away.is_empty();
        if away && stream.as_ref().is_none_or(|stream| stream.upload.key != *key) {
            return Err(Error::unavailable("some of its bytes are in an upload for another name"));
        }
        let fits =
            |stream: &Stream| stream.upload.key == *key && (away || same_headers(&stream.attr, &attr, dirty.time_set));
        if let Some(begun) = stream.as_mut() {
            let sent =
                if fits(begun) { self.send_rest(key, dirty, begun, &whole, attr).await.map(Some) } else { Ok(None) };
            if away && let Err(err) = sent {
                log::warn!("{key} is not complete ({err}); its parts stay in the bucket for another try");
                return Err(err);
            }
            if let (Some(stream), Err(_) | Ok(None)) = (stream.take(), &sent) {
                stream.abort(&*self.store).await;
            }
            match sent {
                Ok(Some(sent)) => return Ok(sent),
                Err(Error::Exists) => return Err(Error::Exists),
                Err(err) => log::info!("{key} is sent again as a whole: {err}"),
                Ok(None) => {}
            }
        }
        match self.send_changes(key, dirty, attr).await? {
            Some(sent) => Ok(sent),
            None => self.send_anew(key, dirty, &whole, attr).await,
        }
    }

    /// Sends what changed, and has the rest copied. `None`: it would save nothing, or the server cannot, or the object
    /// below is not what it was.
    async fn send_changes(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Option<Sent>> {
        // That of an orphan has no key.
        let Some(base) = dirty.base.as_ref().filter(|base| !base.key.as_str().is_empty()) else { return Ok(None) };
        let steps = plan::plan(dirty.size, &dirty.unchanged(), &self.lanes.limits)?;
        if !self.lanes.copies_work() || !steps.iter().any(|step| matches!(step, Step::Copy(_))) {
            return Ok(None);
        }
        let mut stream = self.begin(key, dirty, attr).await?;
        let mut sent = self.send_steps(dirty, &mut stream, &steps).await;
        if sent.is_ok() {
            // Not every server heeds the condition on the source. All copies are made: if it is the same object still,
            // it was for all of them.
            sent = match self.store.head(&base.key).await {
                Ok(object) if object.version.same_content(&base.version) => Ok(()),
                Ok(_) => Err(Error::Stale),
                Err(err) => Err(err),
            };
        }
        let done = match sent {
            Ok(()) => match self.finish(key, dirty, &stream, attr).await {
                Ok(sent) => return Ok(Some(sent)),
                // Parts of different sizes are refused by some.
                Err(err @ Error::Invalid) => Ok(err),
                Err(err) => Err(err),
            },
            Err(err @ (Error::Stale | Error::NotFound | Error::Denied | Error::Unsupported | Error::Invalid)) => {
                Ok(err)
            }
            Err(err) => Err(err),
        };
        stream.abort(&*self.store).await;
        let reason = done?;
        if matches!(reason, Error::Unsupported | Error::Invalid) {
            self.lanes.give_up_copies(&reason);
        } else {
            log::info!("{key} is sent as a whole: {}: {reason}", base.key);
        }
        Ok(None)
    }

    async fn send_anew(&self, key: &Key, dirty: &Dirty, steps: &[Step], attr: Attr) -> Result<Sent> {
        let mut stream = self.begin(key, dirty, attr).await?;
        let sent = self.send_rest(key, dirty, &mut stream, steps, attr).await;
        if sent.is_err() {
            stream.abort(&*self.store).await;
        }
        sent
    }

    async fn begin(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Stream> {
        let head = self.read_pieces(dirty, 0..HEAD, &Readahead::default()).await?;
        let headers = known::new_headers(&self.options, key, &attr, &head);
        Stream::begin(&*self.store, &self.lanes, key, &headers, attr).await
    }

    /// Sends what is not sent yet, and ends the upload.
    async fn send_rest(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: &mut Stream,
        steps: &[Step],
        attr: Attr,
    ) -> Result<Sent> {
        self.send_steps(dirty, stream, steps).await?;
        self.finish(key, dirty, stream, attr).await
    }

    /// Sends the parts that are not sent yet. All of them are there afterwards.
    async fn send_steps(&self, dirty: &Dirty, stream: &mut Stream, steps: &[Step]) -> Result<()> {
        for (number, step) in (1..).zip(steps) {
            let range = step.range().clone();
            if stream.has(number, &range) {
                continue;
            }
            stream.lane(&self.lanes, number).await?;
            let matter = if let (Step::Copy(_), Some(base)) = (step, &dirty.base) {
                Matter::Copy(&base.key, &base.version.etag)
            } else {
                let room = self.lanes.room(range.end - range.start).await;
                Matter::Bytes(self.read_pieces(dirty, range.clone(), &Readahead::default()).await?, room)
            };
            stream.send(&self.store, number, range, matter);
        }
        stream.land().await
    }

    /// Makes the object of the parts.
    async fn finish(&self, key: &Key, dirty: &Dirty, stream: &Stream, attr: Attr) -> Result<Sent> {
        let attr = Attr { size: attr.size, ..stream.attr };
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

/// Whether an object with the attributes `made`, whose headers were fixed when its first part went, is as one with
/// those that are `wanted` now.
pub(super) fn same_headers(made: &Attr, wanted: &Attr, time_set: bool) -> bool {
    let times = |attr: &Attr| (attr.mtime, attr.atime);
    let owner = |attr: &Attr| (attr.mode, attr.uid, attr.gid);
    (!time_set || times(made) == times(wanted)) && owner(made) == owner(wanted)
}

fn requirement(exclusive: bool, can: Support) -> Require {
    if exclusive && can.works() { Require::Absent } else { Require::Anything }
}
