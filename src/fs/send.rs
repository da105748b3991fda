//! How dirty bytes travel: one PUT, one COPY, or parts.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Fs,
    guard::{Guard, TRIES},
    known,
};
use crate::{
    cache::Readahead,
    clock,
    error::{Error, Result},
    model::{attr::Attr, key::Key, version::Version},
    store::{Copy, Headers, Require, SINGLE_MAX, Store, operation::OPERATION},
    upload::{
        dirty::{Dirty, Piece},
        multipart::{self, Stream},
    },
};

/// Bytes at the start of a file that decide its charset.
pub(super) const HEAD: u64 = 64 << 10;
/// Bytes that are copied from the content below into staging at a time.
const STEP: u64 = 1 << 20;

/// An object that was just written.
pub(super) struct Sent {
    pub(super) version: Version,
    /// When the request was sent that made it.
    pub(super) at: Instant,
    pub(super) attr: Attr,
}

impl<S: Store> Fs<S> {
    /// One PUT. After an attempt that nobody answered, and that turns out to have arrived, one more over it.
    pub(super) async fn send_bytes(&self, key: &Key, bytes: Bytes, attr: Attr, guard: &mut Guard) -> Result<Sent> {
        let head = &bytes[..bytes.len().min(usize::try_from(HEAD).expect("64 KiB"))];
        let headers = self.guarded_headers(key, &attr, head, guard);
        let mut tries = 0;
        let (version, at) = loop {
            let require = self.require(key, guard).await?;
            let at = clock::now();
            tries += 1;
            match self.store.put(key, bytes.clone(), &headers, require).await {
                Ok(version) => break (version, at),
                Err(err) => self.appeal(key, guard, err).await?,
            }
            if tries == TRIES {
                return Err(refused_in_vain());
            }
        };
        if version.size != bytes.len() as u64 {
            return Err(Error::unavailable(format!("{} of {} bytes arrived", version.size, bytes.len())));
        }
        Ok(Sent { version, at, attr })
    }

    /// A server-side COPY of a file that is nothing but another object. `None`: it is not, or the server cannot, or the
    /// source has changed.
    pub(super) async fn send_copy(
        &self,
        key: &Key,
        dirty: &Dirty,
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Option<Sent>> {
        let Some(base) = dirty.base.as_ref().filter(|_| dirty.is_copy()) else { return Ok(None) };
        // No server is known to check what a copy replaces, but some check that it replaces nothing.
        let fresh = guard.is_fresh_name() && self.conditional().copy.works();
        if base.version.size > SINGLE_MAX || !(guard.any() || fresh) {
            return Ok(None);
        }
        let head = self.contents.try_read(&base.content, 0..HEAD.min(dirty.size), &Readahead::default());
        let head = head.unwrap_or_default();
        let headers = self.guarded_headers(key, &attr, &head, guard);
        let require = if fresh { Require::Absent } else { Require::Anything };
        let source = Some(base.version.etag.clone());
        let copy = Copy { headers: Some(headers), size: Some(dirty.size), source, require };
        let at = clock::now();
        match self.store.copy(&base.key, key, copy).await {
            Ok(version) => {
                self.contents.copied((&base.key, &base.version), (key, &version));
                Ok(Some(Sent { version: Version { modified: None, ..version }, at, attr }))
            }
            Err(Error::Stale | Error::NotFound | Error::Unsupported) => Ok(None),
            Err(err) => self.appeal(key, guard, err).await.map(|()| None),
        }
    }

    pub(super) async fn send_parts(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: Option<Stream>,
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Sent> {
        // The headers were fixed when the first part went: another time that was set since needs other headers.
        let fits = |stream: &Stream| {
            stream.upload.key == *key && (!dirty.time_set || stream.mtime.whole() == attr.mtime.whole())
        };
        match stream {
            Some(stream) if fits(&stream) => match self.send_rest(key, dirty, stream, attr, guard).await {
                Err(err @ (Error::Exists | Error::Conflict(_))) => Err(err),
                Err(err) => {
                    log::info!("{key} is sent again as a whole: {err}");
                    self.send_anew(key, dirty, attr, guard).await
                }
                sent => sent,
            },
            other => {
                if let Some(stream) = other {
                    stream.abort(&*self.store).await;
                }
                self.send_anew(key, dirty, attr, guard).await
            }
        }
    }

    async fn send_anew(&self, key: &Key, dirty: &Dirty, attr: Attr, guard: &mut Guard) -> Result<Sent> {
        let head = dirty.staging.read(0..HEAD)?;
        for _ in 0..TRIES {
            let headers = self.named_headers(key, &attr, &head);
            let stream = Stream::begin(&*self.store, &self.lanes, key, &headers, attr.mtime).await?;
            match self.send_rest(key, dirty, stream, attr, guard).await {
                Err(Error::Stale) => {}
                done => return done,
            }
        }
        Err(refused_in_vain())
    }

    /// Sends what is not sent yet, and ends the upload. Fails with `Stale` if it is to be sent again.
    async fn send_rest(
        &self,
        key: &Key,
        dirty: &Dirty,
        mut stream: Stream,
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Sent> {
        let attr = Attr { mtime: stream.mtime, ..attr };
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
        let require = match self.require(key, guard).await {
            Ok(require) => require,
            Err(err) => {
                stream.abort(&*self.store).await;
                return Err(err);
            }
        };
        if !guard.any() {
            guard.sent.extend(stream.operation.clone());
        }
        let at = clock::now();
        let version = match stream.complete(&*self.store, require).await {
            Ok(version) => Version { size: dirty.size, ..version },
            Err(err) => {
                self.appeal(key, guard, err).await?;
                return Err(Error::Stale);
            }
        };
        let object = self.store.head(key).await?;
        multipart::verify(&version, &object.version.etag, object.version.size)?;
        Ok(Sent { version, at, attr })
    }

    /// The headers of an upload. Only where there is a guard does its write need a name.
    fn guarded_headers(&self, key: &Key, attr: &Attr, head: &[u8], guard: &mut Guard) -> Headers {
        if guard.any() {
            return known::new_headers(&self.options, key, attr, head);
        }
        let headers = self.named_headers(key, attr, head);
        guard.sent.extend(headers.user.get(OPERATION).cloned());
        headers
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

fn refused_in_vain() -> Error {
    Error::unavailable("the server refuses a condition that holds")
}
