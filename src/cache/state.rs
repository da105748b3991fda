//! What of a content is here, what is on its way, who waits for which bytes. No I/O: the lock around it is short.

use std::{fs::File, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{PIECE, content::Content, flight::Flight};
use crate::{error::Error, model::extents::Extents};

/// The block map of a content, and who waits for what.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) storage: Storage,
    /// What of the file is real.
    pub(super) have: Extents,
    /// What is on its way, less what arrived. Disjoint, and disjoint from `have`.
    flights: Vec<(u64, Range<u64>)>,
    next_flight: u64,
    /// Each waits for at least one flight.
    waiters: Vec<Waiter>,
    /// The disk refused: this content is not cached while it is open.
    pub(super) direct: bool,
}

#[derive(Debug, Default)]
pub(super) enum Storage {
    #[default]
    Nothing,
    /// All of it, in memory; on its way to the disk.
    Held(Bytes),
    /// Sparse, with holes where `have` has none.
    Part(Arc<File>, PathBuf),
    /// Under its final name (or unlinked), never changed again.
    Complete(Arc<File>),
}

#[derive(Debug)]
struct Waiter {
    range: Range<u64>,
    tell: oneshot::Sender<Landing>,
}

/// How the wait for bytes ended.
pub(super) type Landing = Result<(), Trouble>;

/// Why bytes did not come into the file.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The local disk does not take them. They can still be had from the bucket.
    NoRoom,
    Fetch(Error),
}

impl State {
    /// Whether a GET is on its way.
    pub(super) fn is_busy(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether all of `range` is here.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        !matches!(self.storage, Storage::Nothing) && self.have.covers(range)
    }

    /// Nothing is here any more.
    pub(super) fn clear(&mut self) -> Storage {
        self.have = Extents::default();
        std::mem::take(&mut self.storage)
    }

    /// Flights for what of `range` is neither here nor on its way.
    pub(super) fn claim(&mut self, content: &Arc<Content>, range: Range<u64>) -> Vec<Flight> {
        let mut coming = Extents::default();
        self.flights.iter().for_each(|(_, left)| coming.insert(left.clone()));
        let gaps = self.have.missing(range).into_iter().flat_map(|gap| coming.missing(gap));
        let pieces: Vec<_> = gaps.flat_map(split).collect();
        pieces.into_iter().map(|piece| self.flight(content, piece)).collect()
    }

    pub(super) fn flight(&mut self, content: &Arc<Content>, range: Range<u64>) -> Flight {
        let id = self.next_flight;
        self.next_flight += 1;
        self.flights.push((id, range.clone()));
        Flight::new(content, id, range)
    }

    /// Nothing is here or on its way.
    pub(super) fn is_fresh(&self) -> bool {
        self.have.is_empty() && self.flights.is_empty()
    }

    /// All before `at` is not on its way any more.
    pub(super) fn advance(&mut self, flight: u64, at: u64) {
        if let Some((_, left)) = self.flights.iter_mut().find(|(id, _)| *id == flight) {
            left.start = at;
        }
    }

    /// A flight ends with `left` not arrived.
    pub(super) fn end(&mut self, flight: u64, left: &Range<u64>, trouble: &Trouble) {
        self.flights.retain(|(id, _)| *id != flight);
        if !left.is_empty() {
            self.fail(left, trouble);
        }
    }

    /// Joins those who wait. What is missing of `range` must be on its way, or this never ends.
    pub(super) fn wait(&mut self, range: Range<u64>) -> oneshot::Receiver<Landing> {
        let (tell, told) = oneshot::channel();
        self.waiters.retain(|waiter| !waiter.tell.is_closed());
        self.waiters.push(Waiter { range, tell });
        told
    }

    /// Whether somebody waits for bytes of `range` and for none behind it: who wants more is not helped by these alone.
    pub(super) fn is_awaited(&self, range: &Range<u64>) -> bool {
        let wants = |waiter: &Waiter| range.start < waiter.range.end && waiter.range.end <= range.end;
        self.waiters.iter().any(wants)
    }

    /// Tells those whose bytes are all here.
    pub(super) fn wake(&mut self) {
        let have = &self.have;
        for waiter in self.waiters.extract_if(.., |waiter| have.covers(&waiter.range)) {
            // Nobody listens any more: no harm.
            drop(waiter.tell.send(Ok(())));
        }
    }

    /// Tells those who wait for any of `lost`.
    pub(super) fn fail(&mut self, lost: &Range<u64>, trouble: &Trouble) {
        let hit = |waiter: &mut Waiter| waiter.range.start < lost.end && lost.start < waiter.range.end;
        for waiter in self.waiters.extract_if(.., hit) {
            drop(waiter.tell.send(Err(trouble.clone())));
        }
    }
}

/// Pieces that are fetched by one GET each.
fn split(gap: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = usize::try_from(PIECE).expect("a few MiB");
    gap.clone().step_by(step).map(move |start| start..(start + PIECE).min(gap.end))
}
