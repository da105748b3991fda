//! Bytes from the bucket: who asks for what, how often, and what a reader does when the disk does not help.

use std::{fs::File, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Contents, PIECE, Readahead,
    content::{Content, Join},
    flight::Flight,
    space::Room,
    state::{self, Trouble},
};
use crate::{
    error::{Error, Result},
    model::version::Version,
    pread::Wait,
    store::{Body, Get, Got, Store},
};

/// GETs of one flight: a body that is cut is continued where it ended. The store itself retries requests that fail.
const ATTEMPTS: u32 = 4;
/// Bytes that [`Contents::complete`] has on their way: four GETs at once.
const COMPLETE_WINDOW: u64 = 4 * PIECE;

impl<S: Store> Contents<S> {
    /// Feeds the body of a GET of the whole object, at the version of `content`, that is running already. Those who
    /// read meanwhile wait for its bytes instead of asking again. The body is dropped if bytes are here or on their
    /// way already.
    pub fn fill(self: &Arc<Self>, content: &Arc<Content>, body: Body) {
        self.fill_in(content, body, Room::Evict);
    }

    fn fill_in(self: &Arc<Self>, content: &Arc<Content>, body: Body, room: Room) {
        if let Some(flight) = content.claim_whole() {
            self.runtime.spawn(Arc::clone(self).fly(flight, Some(body), None, room));
        }
    }

    /// Whether there is room for `bytes` more without pushing anything out.
    pub fn spares(&self, bytes: u64) -> bool {
        self.space.spares(bytes)
    }

    /// [`Self::fill`], and waits for it. Pushes nothing out: fails with [`Error::NoSpace`] rather.
    pub async fn warm_with(self: &Arc<Self>, content: &Arc<Content>, body: Body) -> Result<()> {
        self.fill_in(content, body, Room::Spare);
        self.warm(content, 0..content.size()).await
    }

    /// Fetches what is missing of `range`, at most a few MiB of it at a time, without counting as a use. Pushes nothing
    /// out: fails with [`Error::NoSpace`] rather.
    pub async fn warm(self: &Arc<Self>, content: &Arc<Content>, range: Range<u64>) -> Result<()> {
        let range = content.clip(&range);
        match self.join(content, &range, content.blocks(&range), Room::Spare).wait().await {
            Ok(()) => Ok(()),
            Err(Trouble::NoRoom) => Err(Error::NoSpace),
            Err(Trouble::Fetch(err)) => Err(err),
        }
    }

    /// The bytes of `range`, as far as the file goes, if they are in memory: waits neither for the bucket nor for the disk.
    /// `None` also if the disk fails; then [`Self::read`] helps.
    pub fn try_read(self: &Arc<Self>, content: &Arc<Content>, range: Range<u64>, ahead: &Readahead) -> Option<Bytes> {
        let range = content.clip(&range);
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let bytes = content.local(&range, Wait::Never)?;
        self.fetch_ahead(content, &range, true, ahead);
        Some(bytes)
    }

    /// The bytes of `range`, as far as the file goes. Nobody's bytes are fetched twice at a time. Fails with
    /// [`Error::Stale`] if some are not here and the object is not at that version any more.
    pub async fn read(self: &Arc<Self>, content: &Arc<Content>, range: Range<u64>, ahead: &Readahead) -> Result<Bytes> {
        let range = content.clip(&range);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let landing = self.join(content, &range, content.blocks(&range), Room::Evict);
        // After the claim of what is needed now, and before the wait for it.
        let here = matches!(landing, Landing::Now(Ok(())));
        self.fetch_ahead(content, &range, here, ahead);
        match landing.wait().await {
            Ok(()) => match content.local(&range, Wait::Disk) {
                Some(bytes) => Ok(bytes),
                None => self.read_direct(content, range).await,
            },
            Err(Trouble::NoRoom) => self.read_direct(content, range).await,
            Err(Trouble::Fetch(err)) => Err(err),
        }
    }

    /// Fetches what is missing; the whole content as a local file that never changes. Fails with [`Error::NoSpace`]
    /// if the disk does not take it.
    pub async fn complete(self: &Arc<Self>, content: &Arc<Content>) -> Result<Arc<File>> {
        if content.size() == 0 {
            return Ok(content.empty()?);
        }
        let mut at = 0;
        while at < content.size() {
            let now = content.clip(&(at..at + PIECE));
            let window = content.clip(&(at..at + COMPLETE_WINDOW));
            match self.join(content, &now, window, Room::Evict).wait().await {
                Ok(()) => at = now.end,
                Err(Trouble::NoRoom) => return Err(Error::NoSpace),
                Err(Trouble::Fetch(err)) => return Err(err),
            }
        }
        content.all().ok_or(Error::NoSpace)
    }

    fn join(self: &Arc<Self>, content: &Arc<Content>, range: &Range<u64>, blocks: Range<u64>, room: Room) -> Landing {
        match content.join(range, blocks) {
            Join::Here => Landing::Now(Ok(())),
            Join::Direct => Landing::Now(Err(Trouble::NoRoom)),
            Join::Wait(told, flights) => {
                for flight in flights {
                    self.runtime.spawn(Arc::clone(self).fly(flight, None, None, room));
                }
                Landing::Later(told)
            }
        }
    }

    /// What a sequential reader wants next is fetched as far as there is capacity: it never waits in a queue, where
    /// others would wait behind it.
    fn fetch_ahead(self: &Arc<Self>, content: &Arc<Content>, read: &Range<u64>, here: bool, ahead: &Readahead) {
        if content.is_whole() {
            return;
        }
        let Some(more) = ahead.note(read, here) else { return };
        let more = content.clip(&more);
        let mut at = more.start;
        while at < more.end {
            let Ok(permit) = Arc::clone(&self.ahead).try_acquire_owned() else { return ahead.stopped(at) };
            let piece = at..(at + PIECE).min(more.end);
            at = piece.end;
            let mut permit = Some(permit);
            for flight in content.claim(piece) {
                self.runtime.spawn(Arc::clone(self).fly(flight, None, permit.take(), Room::Evict));
            }
        }
    }

    /// Brings the bytes of a flight into the file. A flight without a body or a permit queues for one.
    async fn fly(
        self: Arc<Self>,
        mut flight: Flight,
        mut body: Option<Body>,
        permit: Option<OwnedSemaphorePermit>,
        room: Room,
    ) {
        if !flight.reserve(&self.space, room) {
            return flight.fail(Trouble::NoRoom);
        }
        let _permit = match permit {
            None if body.is_none() => Arc::clone(&self.demand).acquire_owned().await.ok(),
            other => other,
        };
        for attempt in 1.. {
            let body = match body.take() {
                Some(body) => Ok(body),
                None => self.ask(flight.content(), flight.left()).await,
            };
            let trouble = match body {
                Err(err) => return flight.fail(Trouble::Fetch(err)),
                Ok(body) => match flight.pour(body).await {
                    Ok(()) => return,
                    Err(trouble) => trouble,
                },
            };
            match trouble {
                Trouble::Fetch(Error::Unavailable(cause)) if attempt < ATTEMPTS => {
                    log::debug!("GET {} cut short: {cause}; going on", flight.content().source().key);
                }
                other => return flight.fail(other),
            }
        }
    }

    /// The running GET of `range`, of exactly this content.
    async fn ask(&self, content: &Content, range: Range<u64>) -> Result<Body> {
        loop {
            let source = content.source();
            let whole = range == (0..content.size());
            let get = Get {
                range: (!whole).then(|| range.clone()),
                if_match: Some(source.etag.clone()),
                if_none_match: None,
            };
            let wanted = Version { etag: source.etag, modified: None, size: content.size() };
            let got = match self.store.get(&source.key, get).await {
                // Not every server heeds If-Match.
                Ok(Got::Bytes(object, _)) if !object.version.same_content(&wanted) => Err(Error::Stale),
                got => got,
            };
            match got {
                Ok(Got::Bytes(_, body)) => return Ok(body),
                Ok(Got::Same { .. }) => return Err(Error::unavailable("304 for a GET without If-None-Match")),
                // It was renamed, or copied onto itself, meanwhile.
                Err(Error::NotFound | Error::Stale) if content.source().id != source.id => {}
                Err(Error::NotFound | Error::Stale | Error::NoPosition) => return Err(Error::Stale),
                Err(err) => return Err(err),
            }
        }
    }

    /// Without the disk: for one reader, into memory.
    async fn read_direct(&self, content: &Content, range: Range<u64>) -> Result<Bytes> {
        let _permit = self.demand.acquire().await.ok();
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).map_err(|_| Error::TooLarge)?);
        for attempt in 1.. {
            let at = range.start + bytes.len() as u64;
            let mut body = self.ask(content, at..range.end).await?;
            let cut = loop {
                match body.next().await {
                    Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(Err(err)) => break Some(err),
                    None => break None,
                }
            };
            if bytes.len() as u64 == range.end - range.start {
                break;
            }
            match cut {
                Some(Error::Unavailable(_)) if attempt < ATTEMPTS => {}
                Some(err) => return Err(err),
                None => return Err(Error::unavailable("the body is not as long as what was asked for")),
            }
        }
        Ok(bytes.into())
    }
}

/// The wait for bytes.
enum Landing {
    Now(state::Landing),
    Later(tokio::sync::oneshot::Receiver<state::Landing>),
}

impl Landing {
    async fn wait(self) -> state::Landing {
        match self {
            Self::Now(landing) => landing,
            // Every flight tells how it ended, so this is only for the runtime's end.
            Self::Later(told) => told.await.unwrap_or(Err(Trouble::Fetch(Error::unavailable("the cache has ended")))),
        }
    }
}
