//! A bucket in memory that keeps the contract of S3: for tests, and as the measure for every other store.

use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    Body, Chunks, Copy, Get, Got, Headers, List, Object, PAGE_MAX, Page, Part, Require, SINGLE_MAX, Store, Stored,
    Upload,
    bucket::{Bucket, Record, Segment, check_key, check_meta, etag_of, same},
    op::{Call, Op},
    operation::OPERATION,
};
use crate::{
    clock,
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
};

/// Bytes of a chunk of a body: small enough that every test object of some size comes in several.
const CHUNK: usize = 64 << 10;
/// Calls that the log keeps, oldest dropped first: at ~100 bytes each, 10 MiB.
const LOG_MAX: usize = 100_000;

/// What S3 says of an object that came without a type.
const NO_TYPE: &str = "binary/octet-stream";

/// A bucket in memory. Every call is atomic.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bucket: Bucket<Bytes>,
    /// Seconds since 1970 that Last-Modified gets, if a test set it.
    now: Option<i64>,
    calls: VecDeque<Call>,
    next_id: u64,
    traffic: Traffic,
    /// Copies happen whatever version the source has, as on some servers.
    heedless: bool,
}

/// Bytes of content that went over the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// PUT and UploadPart.
    pub sent: u64,
    /// GET, whether or not the body was read to its end.
    pub fetched: u64,
}

/// Not part of the trait: what a test does or sees without being the mount. None of these is logged as a call.
impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what Last-Modified of later writes is, in seconds since 1970; `None` is the real time again.
    pub fn set_time(&self, now: Option<i64>) {
        self.state().now = now;
    }

    /// Takes smaller parts than S3 does.
    pub fn set_part_min(&self, bytes: u64) {
        self.state().bucket.set_part_min(bytes);
    }

    /// A PUT by another client.
    pub fn put_foreign(&self, key: &str, bytes: impl Into<Bytes>, headers: Headers) -> Version {
        self.state().put(&Key::new(key), bytes.into(), headers)
    }

    /// A DELETE by another client. Whether there was something.
    pub fn delete_foreign(&self, key: &str) -> bool {
        self.state().bucket.remove(key).is_some()
    }

    /// All keys in order.
    pub fn keys(&self) -> Vec<String> {
        self.state().bucket.objects().keys().cloned().collect()
    }

    pub fn get_bytes(&self, key: &str) -> Option<Bytes> {
        self.state().bucket.get(key).ok().map(joined)
    }

    pub fn object(&self, key: &str) -> Option<Object> {
        self.state().bucket.get(key).ok().map(|record| record.object.clone())
    }

    /// Uploads that were begun and not ended.
    pub fn uploads_open(&self) -> usize {
        self.state().bucket.pending().len()
    }

    /// The calls since the last time, and forgets them.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls).into()
    }

    /// Bytes since the last time.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.state().traffic)
    }

    /// Ignores the condition on the source of a copy from now on.
    pub fn ignore_copy_source(&self) {
        self.state().heedless = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a panic left the bucket half-changed")
    }

    /// The state for one call, which is logged.
    fn call(&self, op: Op, key: &str) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.calls.len() == LOG_MAX {
            state.calls.pop_front();
        }
        state.calls.push_back(Call::new(op, key));
        state
    }
}

impl State {
    fn now(&self) -> i64 {
        self.now.unwrap_or_else(|| clock::wall().sec)
    }

    fn put(&mut self, key: &Key, bytes: Bytes, mut headers: Headers) -> Version {
        headers.content_type.get_or_insert_with(|| NO_TYPE.to_owned());
        headers.storage_class = headers.storage_class.filter(|class| class != "STANDARD");
        let size = bytes.len() as u64;
        let version = Version { etag: etag_of(&Md5::digest(&bytes)), modified: Some(self.now()), size };
        let operation = headers.user.remove(OPERATION);
        let object = Object { version: version.clone(), headers, operation };
        self.bucket.insert(key, Record { object, segments: vec![Segment { size, bytes }] });
        version
    }
}

impl Store for MemoryStore {
    async fn head(&self, key: &Key) -> Result<Object> {
        Ok(self.call(Op::Head, key.as_str()).bucket.get(key.as_str())?.object.clone())
    }

    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        let mut state = self.call(Op::Get, key.as_str());
        let state = &mut *state;
        let record = state.bucket.get(key.as_str())?;
        let version = &record.object.version;
        if get.if_match.is_some_and(|etag| !same(&etag, &version.etag)) {
            return Err(Error::Stale);
        }
        if get.if_none_match.is_some_and(|etag| same(&etag, &version.etag)) {
            return Ok(Got::Same { modified: version.modified });
        }
        let range = within(get.range, version.size)?;
        let len = range.end - range.start;
        state.traffic.fetched += len;
        let pieces = record.slices(range).into_iter().map(|(bytes, inside)| slice(&bytes, &inside)).collect();
        Ok(Got::Bytes(record.object.clone(), Body::new(Pieces(pieces), len)))
    }

    async fn list(&self, list: List) -> Result<Page> {
        self.call(Op::List, &list.prefix).bucket.list(&list)
    }

    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        let mut state = self.call(Op::Put, key.as_str());
        check_key(key)?;
        check_meta(headers)?;
        state.bucket.check(key.as_str(), &require)?;
        state.traffic.sent += body.len() as u64;
        Ok(untimed(state.put(key, body, headers.clone())))
    }

    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        let mut state = self.call(Op::Copy, to.as_str());
        check_key(to)?;
        if let Some(headers) = &copy.headers {
            check_meta(headers)?;
        }
        let source = at(&state, from, copy.source.as_ref())?;
        if source.object.version.size > SINGLE_MAX {
            return Err(Error::TooLarge);
        }
        let headers = copy.headers.unwrap_or_else(|| source.object.headers.clone());
        let bytes = joined(source);
        state.bucket.check(to.as_str(), &copy.require)?;
        // As on S3, the copy of a multipart object is a plain one: its ETag changes.
        Ok(untimed(state.put(to, bytes, headers)))
    }

    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        let mut state = self.call(Op::Delete, key.as_str());
        if require == Require::Absent {
            return Err(Error::Invalid);
        }
        state.bucket.check(key.as_str(), &require)?;
        state.bucket.remove(key.as_str());
        Ok(())
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        let mut state = self.call(Op::DeleteMany, "");
        if keys.len() > usize::from(PAGE_MAX) {
            return Err(Error::Invalid);
        }
        for key in keys {
            state.bucket.remove(key.as_str());
        }
        Ok(Vec::new())
    }

    async fn begin(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        let mut state = self.call(Op::Begin, key.as_str());
        state.next_id += 1;
        let upload = Upload { key: key.clone(), id: format!("upload-{}", state.next_id) };
        let mut headers = headers.clone();
        headers.content_type.get_or_insert_with(|| NO_TYPE.to_owned());
        headers.storage_class = headers.storage_class.filter(|class| class != "STANDARD");
        state.bucket.begin(&upload, headers)?;
        Ok(upload)
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        let mut state = self.call(Op::Part, upload.key.as_str());
        state.traffic.sent += body.len() as u64;
        store_part(&mut state, upload, number, body)
    }

    async fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> Result<Part> {
        let mut state = self.call(Op::PartCopy, upload.key.as_str());
        state.bucket.upload(upload)?;
        let record = at(&state, from, Some(source))?;
        // Unlike a GET, a copy range must be inside the source.
        if range.is_empty() || range.end > record.object.version.size || range.end - range.start > SINGLE_MAX {
            return Err(Error::Invalid);
        }
        let bytes = slice(&joined(record), &range);
        store_part(&mut state, upload, number, bytes)
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        let mut state = self.call(Op::Complete, upload.key.as_str());
        let chosen: Vec<_> = parts.iter().map(|part| (part.number, part.etag.clone())).collect();
        let mut record = state.bucket.assemble(upload, &chosen, state.now())?;
        record.object.operation = record.object.headers.user.remove(OPERATION);
        state.bucket.check(upload.key.as_str(), &require)?;
        let version = record.object.version.clone();
        state.bucket.insert(&upload.key, record);
        state.bucket.end(upload);
        Ok(untimed(version))
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.call(Op::Abort, upload.key.as_str()).bucket.end(upload);
        Ok(())
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        let mut found = self.call(Op::Uploads, prefix).bucket.uploads(prefix);
        found.truncate(usize::from(PAGE_MAX));
        Ok(found)
    }
}

/// The source of a copy, if it is at `etag`.
fn at<'a>(state: &'a State, key: &Key, etag: Option<&ETag>) -> Result<&'a Record<Bytes>> {
    let record = state.bucket.get(key.as_str())?;
    match etag {
        Some(etag) if !state.heedless && !same(etag, &record.object.version.etag) => Err(Error::Stale),
        _ => Ok(record),
    }
}

fn store_part(state: &mut State, upload: &Upload, number: u32, bytes: Bytes) -> Result<Part> {
    let part = Part { number, etag: etag_of(&Md5::digest(&bytes)), size: bytes.len() as u64, crc32: None };
    state.bucket.insert_part(upload, part.clone(), bytes)?;
    Ok(part)
}

/// The bytes that a GET of `range` gives of an object of `size`.
fn within(range: Option<Range<u64>>, size: u64) -> Result<Range<u64>> {
    match range {
        None => Ok(0..size),
        Some(range) if range.is_empty() => Err(Error::Invalid),
        Some(range) if range.start >= size => Err(Error::NoPosition),
        Some(range) => Ok(range.start..range.end.min(size)),
    }
}

fn joined(record: &Record<Bytes>) -> Bytes {
    match &record.segments[..] {
        [one] => one.bytes.clone(),
        many => many.iter().flat_map(|segment| segment.bytes.iter().copied()).collect(),
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let index = |at: u64| usize::try_from(at).expect("inside a buffer");
    bytes.slice(index(range.start)..index(range.end))
}

/// The answer of a write does not tell Last-Modified.
fn untimed(version: Version) -> Stored {
    Version { modified: None, ..version }
}

/// A body in chunks of [`CHUNK`].
struct Pieces(VecDeque<Bytes>);

impl Chunks for Pieces {
    fn poll_chunk(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Some(first) = self.0.front_mut() else { return Poll::Ready(None) };
        let chunk = first.split_to(CHUNK.min(first.len()));
        if first.is_empty() {
            self.0.pop_front();
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}
