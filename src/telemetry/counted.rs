//! A [`Store`] that counts, times and logs what passes through it, and changes nothing.

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Telemetry, inflight::Flight};
use crate::{
    error::{Error, Result},
    model::{key::Key, version::ETag},
    store::{Body, Chunks, Copy, Get, Got, Headers, List, Object, Page, Part, Require, Store, Stored, Upload, op::Op},
};

/// `S`, watched.
#[derive(Debug)]
pub struct Counted<S> {
    store: S,
    telemetry: Arc<Telemetry>,
}

impl<S: Store> Counted<S> {
    pub fn new(store: S, telemetry: Arc<Telemetry>) -> Self {
        Self { store, telemetry }
    }

    /// The store behind, for calls that are not to be counted.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Counts a call that is about to be sent.
    fn begin_call(&self, op: Op, key: &str) -> Watch {
        self.telemetry.counters.request(op);
        let flight = self.telemetry.inflight.enter(op, key);
        Watch { telemetry: Arc::clone(&self.telemetry), op, key: Arc::from(key), _flight: flight }
    }

    async fn watch<T>(&self, op: Op, key: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let watch = self.begin_call(op, key);
        watch.note(call.await)
    }

    /// The same, for a call that carries `len` bytes of content.
    async fn send<T>(&self, op: Op, key: &str, len: u64, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = self.watch(op, key, call).await?;
        self.telemetry.counters.bytes_out.add(len);
        Ok(answer)
    }
}

/// One call on its way.
#[derive(Debug)]
struct Watch {
    telemetry: Arc<Telemetry>,
    op: Op,
    key: Arc<str>,
    _flight: Flight,
}

impl Watch {
    fn note<T>(&self, answer: Result<T>) -> Result<T> {
        match &answer {
            Ok(_) => self.telemetry.heard(),
            Err(err) => self.failed(err),
        }
        answer
    }

    fn failed(&self, err: &Error) {
        self.telemetry.counters.error(self.op, err);
        let (op, key) = (self.op.name(), &self.key);
        match err {
            // Answers that callers ask for on purpose.
            Error::NotFound | Error::Exists | Error::Stale | Error::NoPosition => {
                self.telemetry.heard();
                log::debug!("{op} {key:?}: {err}");
            }
            Error::Unavailable(_) => {
                self.telemetry.failed(op, key, err.to_string());
                log::warn!("{op} {key:?}: {err}");
            }
            _ => {
                self.telemetry.heard();
                self.telemetry.failed(op, key, err.to_string());
                log::warn!("{op} {key:?}: {err}");
            }
        }
    }
}

/// A body that is in flight until its last byte, and counted as it comes.
struct Incoming {
    body: Body,
    watch: Watch,
}

impl Chunks for Incoming {
    fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let polled = self.body.poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                self.watch.telemetry.counters.bytes_in.add(chunk.len() as u64);
                self.watch.telemetry.heard();
            }
            Poll::Ready(Some(Err(err))) => self.watch.failed(err),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

impl<S: Store> Store for Counted<S> {
    async fn head(&self, key: &Key) -> Result<Object> {
        self.watch(Op::Head, key.as_str(), self.store.head(key)).await
    }

    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        let watch = self.begin_call(Op::Get, key.as_str());
        match watch.note(self.store.get(key, get).await)? {
            Got::Bytes(object, body) => {
                let left = body.left();
                Ok(Got::Bytes(object, Body::new(Incoming { body, watch }, left)))
            }
            same @ Got::Same { .. } => Ok(same),
        }
    }

    async fn list(&self, list: List) -> Result<Page> {
        let prefix = list.prefix.clone();
        self.watch(Op::List, &prefix, self.store.list(list)).await
    }

    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        let len = body.len() as u64;
        self.send(Op::Put, key.as_str(), len, self.store.put(key, body, headers, require)).await
    }

    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        self.watch(Op::Copy, to.as_str(), self.store.copy(from, to, copy)).await
    }

    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        self.watch(Op::Delete, key.as_str(), self.store.delete(key, require)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        let first = keys.first().map_or("", Key::as_str);
        let failed = self.watch(Op::DeleteMany, first, self.store.delete_many(keys)).await?;
        for (key, err) in &failed {
            self.telemetry.counters.error(Op::DeleteMany, err);
            log::warn!("{} {key:?}: {err}", Op::DeleteMany.name());
        }
        Ok(failed)
    }

    async fn begin(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        self.watch(Op::Begin, key.as_str(), self.store.begin(key, headers)).await
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        let len = body.len() as u64;
        self.send(Op::Part, upload.key.as_str(), len, self.store.part(upload, number, body)).await
    }

    async fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> Result<Part> {
        let call = self.store.part_copy(upload, number, from, range, source);
        self.watch(Op::PartCopy, upload.key.as_str(), call).await
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        self.watch(Op::Complete, upload.key.as_str(), self.store.complete(upload, parts, require)).await
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.watch(Op::Abort, upload.key.as_str(), self.store.abort(upload)).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        self.watch(Op::Uploads, prefix, self.store.uploads(prefix)).await
    }
}

#[cfg(test)]
mod tests;
