//! One GET on its way into a content. However it ends (also by a panic, or with the runtime), those who wait for
//! its bytes are told.

use std::{
    fs::File,
    future::poll_fn,
    io,
    ops::Range,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::timeout_at;

use super::{
    content::Content,
    gather::Gather,
    space::{Room, Space},
    state::Trouble,
};
use crate::{
    clock,
    error::{Error, Result as Answer},
    store::Body,
};

/// How long bytes that nobody waits for may wait for more. What comes faster than 50 MB/s fills a large write meanwhile.
const PATIENCE: Duration = Duration::from_millis(10);

/// A claim on bytes that nobody else fetches.
#[derive(Debug)]
pub(super) struct Flight {
    content: Arc<Content>,
    id: u64,
    /// What has not arrived.
    left: Range<u64>,
    /// Where space was reserved for `left`.
    reserved: Option<Arc<Space>>,
    trouble: Trouble,
}

impl Flight {
    pub(super) fn new(content: &Arc<Content>, id: u64, range: Range<u64>) -> Self {
        let trouble = Trouble::Fetch(Error::unavailable("the fetch was abandoned"));
        Self { content: Arc::clone(content), id, left: range, reserved: None, trouble }
    }

    pub(super) fn content(&self) -> &Arc<Content> {
        &self.content
    }

    pub(super) fn left(&self) -> Range<u64> {
        self.left.clone()
    }

    /// Reserves the space. False if there is none.
    pub(super) fn reserve(&mut self, space: &Arc<Space>, room: Room) -> bool {
        if space.reserve(&self.content, self.left.end - self.left.start, room) {
            self.reserved = Some(Arc::clone(space));
        }
        self.reserved.is_some()
    }

    /// Writes a body that starts at the first missing byte into the file, in large pieces where nobody waits for small
    /// ones.
    pub(super) async fn pour(&mut self, mut body: Body) -> Result<(), Trouble> {
        let (mut gather, mut by) = (Gather::at(self.left.start), clock::now());
        while gather.end() < self.left.end {
            let arrived = if gather.is_empty() {
                let first = body.next().await;
                by = clock::now() + PATIENCE;
                Some(first)
            } else {
                self.more(&mut body, &gather, by).await
            };
            let trouble = match arrived {
                None => {
                    self.land(&mut gather)?;
                    continue;
                }
                Some(Some(Ok(mut chunk))) if chunk.len() as u64 <= self.left.end - gather.end() => {
                    while gather.take(&mut chunk) {
                        self.land(&mut gather)?;
                    }
                    continue;
                }
                Some(Some(Ok(_))) => Error::unavailable("the body is longer than what was asked for"),
                Some(Some(Err(err))) => err,
                Some(None) => Error::unavailable("the body is shorter than what was asked for"),
            };
            // What did arrive need not be asked for again.
            self.land(&mut gather)?;
            return Err(Trouble::Fetch(trouble));
        }
        self.land(&mut gather)
    }

    /// The next chunk; `None`: what was gathered is to be written first.
    async fn more(&self, body: &mut Body, gather: &Gather, by: Instant) -> Option<Option<Answer<Bytes>>> {
        let gathered = self.left.start..gather.end();
        let chunk = poll_fn(|cx| match body.poll_next(cx) {
            Poll::Pending if self.content.is_awaited(&gathered) => Poll::Ready(None),
            polled => polled.map(Some),
        });
        timeout_at(by.into(), chunk).await.unwrap_or(None)
    }

    fn land(&mut self, gather: &mut Gather) -> Result<(), Trouble> {
        let arrived = self.left.start..gather.end();
        if arrived.is_empty() {
            return Ok(());
        }
        let file = self.write(gather).map_err(|err| {
            log::warn!("cache: cannot write: {err}; reading {} without it", self.content.source().key);
            self.content.refuse();
            Trouble::NoRoom
        })?;
        let bytes = arrived.end - arrived.start;
        self.left.start = arrived.end;
        let finished = self.content.landed(self.id, arrived, file.as_ref());
        if let Some(space) = &self.reserved {
            space.landed(bytes);
            if finished {
                space.finished(&self.content);
            }
        }
        Ok(())
    }

    /// The file it went to; `None` if the content is complete already.
    fn write(&self, gather: &mut Gather) -> io::Result<Option<Arc<File>>> {
        let Some(file) = self.content.part()? else {
            gather.forget();
            return Ok(None);
        };
        gather.write(&file)?;
        Ok(Some(file))
    }

    /// Ends it: those who wait for what has not arrived are told why.
    pub(super) fn fail(mut self, trouble: Trouble) {
        self.trouble = trouble;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let refund = self.content.ended(self.id, &self.left, &self.trouble);
        let Some(space) = &self.reserved else { return };
        let left = self.left.end - self.left.start;
        space.landed(left);
        if refund {
            space.refund(&self.content, left);
        }
    }
}
