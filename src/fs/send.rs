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
        multipart::{self, Matter, Stream},
        plan::{self, Step},
    },
};

/// Bytes at the start of a file that decide about its headers.
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
        // They decide about the headers. If they cannot be read, whoever sends all of it finds out why.
        let head = self.contents.read(&base.content, 0..HEAD.min(dirty.size), &Arc::default()).await;
        let Ok(head) = head else { return Ok(None) };
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

    /// A multipart upload. Goes on with `stream`, if there is one for this object; what did not change since the last
    /// version is copied inside the bucket, where that saves something. If it fails and some bytes are in the stream
    /// alone, that is left for another try.
    pub(super) async fn send_parts(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: &mut Option<Stream>,
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Sent> {
        let whole = plan::grid(dirty.size, &self.lanes.limits)?;
        let away = !dirty.away.is_empty();
        if away && stream.as_ref().is_none_or(|stream| stream.upload.key != *key) {
            return Err(Error::unavailable("some of its bytes are in an upload for another name"));
        }
        let dressed = match stream {
            Some(_) if !away => Some(self.named_headers(key, &attr, &self.read_head(dirty).await?)),
            _ => None,
        };
        let fits = |stream: &Stream| {
            let same = |wanted| known::is_dressed_alike(&stream.headers, wanted);
            let alike = same_headers(&stream.attr, &attr, dirty.time_set) && dressed.as_ref().is_none_or(same);
            stream.upload.key == *key && (away || alike)
        };
        if let Some(begun) = stream.as_mut() {
            let sent =
                if fits(begun) { self.send_rest(key, dirty, begun, &whole, attr, guard).await } else { Ok(None) };
            match sent {
                Ok(Some(sent)) => {
                    *stream = None;
                    return Ok(sent);
                }
                other if away => {
                    let err = other.err().unwrap_or_else(refused_in_vain);
                    log::warn!("{key} is not complete ({err}); its parts stay in the bucket for another try");
                    return Err(err);
                }
                other => {
                    if let Some(stream) = stream.take() {
                        stream.abort(&*self.store).await;
                    }
                    match other {
                        Err(err @ (Error::Exists | Error::Conflict(_))) => return Err(err),
                        Err(err) => log::info!("{key} is sent again as a whole: {err}"),
                        Ok(_) => {}
                    }
                }
            }
        }
        if let Some(sent) = self.send_changes(key, dirty, attr, guard).await? {
            return Ok(sent);
        }
        self.send_anew(key, dirty, &whole, attr, guard).await
    }

    /// Sends what changed, and has the rest copied. `None`: it would save nothing, or the server cannot, or the object
    /// below is not what it was.
    async fn send_changes(&self, key: &Key, dirty: &Dirty, attr: Attr, guard: &mut Guard) -> Result<Option<Sent>> {
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
            Ok(()) => match self.finish(key, dirty, &stream, attr, guard).await {
                Ok(Some(sent)) => return Ok(Some(sent)),
                Ok(None) => Ok(Error::Stale),
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

    async fn send_anew(&self, key: &Key, dirty: &Dirty, steps: &[Step], attr: Attr, guard: &mut Guard) -> Result<Sent> {
        for _ in 0..TRIES {
            let mut stream = self.begin(key, dirty, attr).await?;
            let sent = self.send_rest(key, dirty, &mut stream, steps, attr, guard).await;
            if let Ok(Some(sent)) = sent {
                return Ok(sent);
            }
            stream.abort(&*self.store).await;
            sent?;
        }
        Err(refused_in_vain())
    }

    async fn begin(&self, key: &Key, dirty: &Dirty, attr: Attr) -> Result<Stream> {
        let headers = self.named_headers(key, &attr, &self.read_head(dirty).await?);
        Stream::begin(&*self.store, &self.lanes, key, &headers, attr).await
    }

    /// Sends what is not sent yet, and ends the upload. `None`: it is to be sent again.
    async fn send_rest(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: &mut Stream,
        steps: &[Step],
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Option<Sent>> {
        self.send_steps(dirty, stream, steps).await?;
        self.finish(key, dirty, stream, attr, guard).await
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

    /// Makes the object of the parts. `None`: it was refused although it should not have been, and is to be sent again.
    async fn finish(
        &self,
        key: &Key,
        dirty: &Dirty,
        stream: &Stream,
        attr: Attr,
        guard: &mut Guard,
    ) -> Result<Option<Sent>> {
        let attr = Attr { size: attr.size, ..stream.attr };
        let require = self.require(key, guard).await?;
        if !guard.any() {
            guard.sent.extend(stream.operation.clone());
        }
        let at = clock::now();
        let version = match stream.complete(&*self.store, require).await {
            Ok(version) => Version { size: dirty.size, ..version },
            Err(err) => return self.appeal(key, guard, err).await.map(|()| None),
        };
        let former = dirty.base.as_ref().filter(|base| base.key == *key).map(|base| &base.version.etag);
        match self.store.head(key).await {
            Ok(found) => multipart::verify(&version, stream.operation.as_deref(), former, &found)?,
            // It was confirmed, so somebody deleted it since.
            Err(Error::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Some(Sent { version, at, attr }))
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

    async fn read_head(&self, dirty: &Dirty) -> Result<Bytes> {
        self.read_pieces(dirty, 0..HEAD.min(dirty.size), &Readahead::default()).await
    }

    /// The first bytes of an object, if they are here.
    pub(super) fn head_at_hand(&self, key: &Key, version: &Version) -> Option<Bytes> {
        if !self.contents.has(key, version) {
            return None;
        }
        let content = self.contents.get(key, version);
        self.contents.try_read(&content, 0..HEAD.min(version.size), &Readahead::default())
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

fn refused_in_vain() -> Error {
    Error::unavailable("the server refuses a condition that holds")
}
