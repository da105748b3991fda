//! The body of a GET as it arrives. What breaks off or stalls is asked for again from where it stopped, at the same
//! version, so that one dropped connection is not an I/O error for a reader.

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::Sleep;

use super::S3Store;
use crate::{
    error::{Error, Result},
    model::{key::Key, version::ETag},
    store::Chunks,
};

/// No chunk for this long is a stall, if the operation's own time is not shorter.
const STALL_MAX: Duration = Duration::from_secs(20);

pub(super) struct Stream {
    store: S3Store,
    key: Key,
    etag: ETag,
    /// The bytes of the object that are still to come.
    left: Range<u64>,
    state: State,
    /// The last chunk waits for the end of the body, because a checksum that does not match shows only there.
    last: Option<Bytes>,
    /// Runs while there is nothing to read.
    stall: Option<Pin<Box<Sleep>>>,
    /// Requests sent for this body.
    attempts: u32,
}

enum State {
    Reading(ByteStream),
    Reopening(Pin<Box<dyn Future<Output = Result<ByteStream>> + Send>>),
    Failed,
}

impl Stream {
    /// `range` of the object at `etag`, of which `body` is the first try.
    pub(super) fn new(store: S3Store, key: Key, etag: ETag, range: Range<u64>, body: ByteStream) -> Self {
        Self { store, key, etag, left: range, state: State::Reading(body), last: None, stall: None, attempts: 1 }
    }

    fn take(&mut self, chunk: Bytes) -> Option<Bytes> {
        self.stall = None;
        self.left.start = self.left.start.saturating_add(chunk.len() as u64);
        if self.left.is_empty() && !chunk.is_empty() && self.last.is_none() {
            self.last = Some(chunk);
            return None;
        }
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Asks again from where it broke, or gives up.
    fn broke(&mut self, why: &str) -> Result<()> {
        self.stall = None;
        if self.attempts >= self.store.limits.attempts || self.left.is_empty() {
            self.state = State::Failed;
            let missing = self.left.end.saturating_sub(self.left.start);
            return Err(Error::unavailable(format!("GetObject: {why}, {missing} bytes missing")));
        }
        log::debug!("GetObject: {why}; again from byte {}", self.left.start);
        self.attempts += 1;
        let (store, key, etag, range) = (self.store.clone(), self.key.clone(), self.etag.clone(), self.left.clone());
        self.state = State::Reopening(Box::pin(async move { store.reopen(&key, &etag, range).await }));
        Ok(())
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.store.limits.timeout.min(STALL_MAX);
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stall.as_mut().poll(cx).is_ready()
    }
}

impl Chunks for Stream {
    fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = self.get_mut();
        loop {
            let polled = match &mut this.state {
                State::Reading(body) => Pin::new(body).poll_next(cx),
                State::Reopening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(body) => {
                        this.state = State::Reading(body);
                        continue;
                    }
                    Err(err) => {
                        this.state = State::Failed;
                        return Poll::Ready(Some(Err(err)));
                    }
                },
                State::Failed => return Poll::Ready(None),
            };
            let broken = match polled {
                Poll::Ready(Some(Ok(chunk))) => match this.take(chunk) {
                    Some(chunk) => return Poll::Ready(Some(Ok(chunk))),
                    None => continue,
                },
                Poll::Ready(None) if this.left.is_empty() => return Poll::Ready(this.last.take().map(Ok)),
                Poll::Ready(None) => this.broke("the body ended early"),
                Poll::Ready(Some(Err(err))) => this.broke(&format!("the body broke off: {}", deepest(&err))),
                Poll::Pending if this.stalled(cx) => this.broke("the body stalled"),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(err) = broken {
                return Poll::Ready(Some(Err(err)));
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("key", &self.key).field("left", &self.left).finish_non_exhaustive()
    }
}

/// The innermost source: the layers above only say "streaming error".
fn deepest(err: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = err;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
