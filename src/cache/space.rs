//! How much the cache may hold, who holds what, and what goes when it is too much.
//!
//! Locks: the index, then the source of a content. The state of a content is never locked here. Contents are dropped
//! only after the index is unlocked, because dropping one locks it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    content::{Content, Source},
    dir::{Dir, Id},
    index::{Index, Item},
};
use crate::config::CacheOptions;

/// Partly filled contents that are kept though nobody has them open, so that the next range request of a video finds
/// the blocks of the last. Each holds a file descriptor and a block map.
const PARTIAL_MAX: usize = 256;

/// Whole contents whose files stay open after their last reader, since web servers open the same few again and again:
/// each holds a file descriptor, of the 1024 that a process may have where nobody raised that.
pub(super) const RECENT_MAX: usize = 256;

/// What the cache holds now. Bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    pub bytes: u64,
    pub files: usize,
    pub limit: u64,
    /// What must stay free of the file system.
    pub floor: u64,
    /// What is free of it.
    pub free: u64,
}

/// What bytes that come may take the place of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Room {
    /// Of whatever is not in use and was not used for longest.
    Evict,
    /// Of nothing: nobody asked for them yet.
    Spare,
}

#[derive(Debug)]
pub(super) struct Slot {
    live: Weak<Content>,
    /// While it is partly filled, the block map must not go.
    kept: Option<Arc<Content>>,
    /// While it was read not long ago, its file stays open.
    recent: Option<Arc<Content>>,
}

impl Slot {
    /// Of a content that nobody has.
    pub(super) fn item() -> Item<Self> {
        Item { bytes: 0, value: Self { live: Weak::new(), kept: None, recent: None } }
    }

    fn of(content: &Arc<Content>) -> Self {
        Self { live: Arc::downgrade(content), kept: None, recent: None }
    }

    pub(super) fn in_use(&self) -> bool {
        self.live.strong_count() > usize::from(self.kept.is_some()) + usize::from(self.recent.is_some())
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) index: Index<Id, Slot>,
    /// The kept partial ones, oldest first. May name some that are partial no more.
    partial: VecDeque<Id>,
    /// Those whose files stay open, oldest first. May name some that do no more.
    pub(super) recent: VecDeque<Id>,
    /// Contents that got another name or went while the directory is looked through, which may have seen them before.
    /// `None` once that is over.
    gone: Option<HashSet<Id>>,
}

#[derive(Debug)]
pub(super) struct Space {
    dir: Arc<Dir>,
    limit: u64,
    floor: u64,
    /// Bytes that were reserved and are not written yet, so `statvfs` does not know them.
    pending: AtomicU64,
    ledger: Mutex<Ledger>,
}

/// What was removed from the index; to be deleted when the index is unlocked.
pub(super) type Victims = Vec<(Id, Item<Slot>)>;

impl Space {
    pub(super) fn new(dir: &Arc<Dir>, options: &CacheOptions) -> Self {
        let (total, _) = capacity(dir);
        let limit = options.size.unwrap_or(total / 4);
        Self {
            dir: Arc::clone(dir),
            limit,
            floor: options.min_free.unwrap_or(total / 20),
            pending: AtomicU64::new(0),
            ledger: Mutex::new(Ledger {
                index: Index::new(limit),
                partial: VecDeque::new(),
                recent: VecDeque::new(),
                gone: Some(HashSet::new()),
            }),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("a panic left the index half-changed")
    }

    pub(super) fn usage(&self) -> Usage {
        let (_, free) = capacity(&self.dir);
        let ledger = self.ledger();
        Usage { bytes: ledger.index.used(), files: ledger.index.len(), limit: self.limit, floor: self.floor, free }
    }

    /// The content, if somebody has it open or it is kept. Counts as a use.
    pub(super) fn live(&self, id: &Id) -> Option<Arc<Content>> {
        self.ledger().index.touch(id)?.live.upgrade()
    }

    /// As [`Self::live`], without counting as a use.
    pub(super) fn peek_live(&self, id: &Id) -> Option<Arc<Content>> {
        self.ledger().index.peek_mut(id)?.live.upgrade()
    }

    /// Makes `content` the one of its identity, with `bytes` on disk, unless another came first.
    pub(super) fn enter(&self, content: Content, bytes: u64) -> Arc<Content> {
        let content = Arc::new(content);
        let id = content.source().id;
        let mut ledger = self.ledger();
        let Some(slot) = ledger.index.peek_mut(&id) else {
            ledger.index.insert(id, bytes, Slot::of(&content));
            return content;
        };
        if let Some(first) = slot.live.upgrade() {
            drop(ledger);
            return first;
        }
        slot.live = Arc::downgrade(&content);
        ledger.index.resize(&id, bytes);
        content
    }

    /// Room for `bytes` more of `content`, within limit and floor, after evicting as far as `room` lets it.
    pub(super) fn reserve(&self, content: &Arc<Content>, bytes: u64, room: Room) -> bool {
        let short = self.short_of_floor(bytes);
        let mut ledger = self.ledger();
        let id = content.source().id;
        if ledger.index.bytes(&id) + bytes > self.limit {
            // It does not fit alone: nothing else goes for it.
            return false;
        }
        let over = (ledger.index.used() + bytes).saturating_sub(self.limit);
        if room == Room::Spare && short.max(over) > 0 {
            return false;
        }
        let (mut victims, enough) = ledger.evict(short.max(over));
        if enough {
            ledger.charge(id, content, bytes);
            victims.extend(ledger.keep(id, content));
            self.pending.fetch_add(bytes, Ordering::Relaxed);
        }
        drop(ledger);
        self.delete(victims);
        enough
    }

    /// Whether there is room for `bytes` more without evicting anything.
    pub(super) fn spares(&self, bytes: u64) -> bool {
        self.short_of_floor(bytes) == 0 && self.ledger().index.used().saturating_add(bytes) <= self.limit
    }

    /// Room for a complete content that is on the disk already, so only the limit counts.
    pub(super) fn admit(&self, content: &Arc<Content>) -> bool {
        let id = content.source().id;
        if content.size() > self.limit {
            return false;
        }
        let mut ledger = self.ledger();
        let more = content.size().saturating_sub(ledger.index.bytes(&id));
        let over = (ledger.index.used() + more).saturating_sub(self.limit);
        let (victims, enough) = ledger.evict(over);
        let kept = if enough { ledger.complete(id, content) } else { None };
        drop(ledger);
        drop(kept);
        self.delete(victims);
        enough
    }

    /// Room for `bytes` that are no content (staging), within the floor, after evicting as needed.
    pub(super) fn make_room(&self, bytes: u64) -> bool {
        let short = self.short_of_floor(bytes);
        if short == 0 {
            return true;
        }
        let (victims, enough) = self.ledger().evict(short);
        self.delete(victims);
        enough
    }

    /// Reserved bytes are on the disk, or will not come.
    pub(super) fn landed(&self, bytes: u64) {
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives back what was reserved for `content` and will not come.
    pub(super) fn refund(&self, content: &Content, bytes: u64) {
        let id = content.source().id;
        let mut ledger = self.ledger();
        let left = ledger.index.bytes(&id).saturating_sub(bytes);
        ledger.index.resize(&id, left);
    }

    /// The content is complete: its file lasts without it.
    pub(super) fn finished(&self, content: &Arc<Content>) {
        let kept = self.ledger().complete(content.source().id, content);
        drop(kept);
    }

    /// The content is being read: its file stays open for whoever comes next.
    pub(super) fn hold_open(&self, content: &Arc<Content>) {
        let oldest = self.ledger().hold_open(content.source().id, content);
        drop(oldest);
    }

    /// The file of a content need not stay open.
    pub(super) fn close(&self, id: &Id) {
        let closed = self.ledger().index.peek_mut(id).and_then(|slot| slot.recent.take());
        drop(closed);
    }

    /// The content lost its file.
    pub(super) fn forget(&self, content: &Content) {
        let id = content.source().id;
        self.close(&id);
        let mut ledger = self.ledger();
        ledger.index.resize(&id, 0);
        let kept = ledger.index.peek_mut(&id).and_then(|slot| slot.kept.take());
        drop(ledger);
        drop(kept);
    }

    /// Nobody has the content any more.
    pub(super) fn left(&self, content: &Content) {
        let id = content.source().id;
        let mut ledger = self.ledger();
        let dead = ledger.index.peek_mut(&id).is_some_and(|slot| slot.live.strong_count() == 0);
        if dead && ledger.index.bytes(&id) == 0 {
            ledger.index.remove(&id);
        }
    }

    /// The content of `from` is that of `to` now. Its file goes along. If `to` has a content already, those who have
    /// that of `from` open keep it, under an id that nobody asks for; it is fetched from `to` all the same.
    pub(super) fn moved(&self, from: &Id, mut to: Source) {
        let mut ledger = self.ledger();
        if ledger.index.contains(&to.id) && !ledger.index.peek_mut(from).is_some_and(|slot| slot.in_use()) {
            return;
        }
        while ledger.index.contains(&to.id) {
            to.id = to.id.twin();
        }
        let new = to.id;
        if let Some(gone) = &mut ledger.gone {
            gone.insert(*from);
        }
        let mut live = None;
        if let Some(item) = ledger.index.remove(from) {
            live = item.value.live.upgrade();
            if item.value.kept.is_some() {
                ledger.partial.push_back(new);
            }
            // In its place, not behind it: what is renamed again and again would push out all others.
            if let Some(place) = ledger.recent.iter_mut().find(|id| *id == from) {
                *place = new;
            }
            ledger.index.insert(new, item.bytes, item.value);
            if let Some(content) = &live {
                content.set_source(to);
            }
        }
        drop(ledger);
        match live {
            Some(content) => content.rehome(from),
            // Failing is no harm: the bytes are fetched again.
            None => drop(self.dir.keep(&self.dir.content(from), &new)),
        }
    }

    /// Complete contents that a scan of the directory found, newest first. They are older than all that is in use.
    pub(super) fn found(&self, files: Vec<(Id, u64)>) {
        let mut ledger = self.ledger();
        let gone = ledger.gone.take().unwrap_or_default();
        for (id, bytes) in files {
            if !ledger.index.contains(&id) && !gone.contains(&id) {
                ledger.index.insert_oldest(&id, bytes, Slot::item().value);
            }
        }
        let over = ledger.index.used().saturating_sub(self.limit);
        let (victims, _) = ledger.evict(over);
        drop(ledger);
        self.delete(victims);
    }

    /// Bytes to free before `bytes` more leave the floor free.
    fn short_of_floor(&self, bytes: u64) -> u64 {
        let (_, free) = capacity(&self.dir);
        let pending = self.pending.load(Ordering::Relaxed);
        self.floor.saturating_add(pending).saturating_add(bytes).saturating_sub(free)
    }

    /// Somebody may open one of them between its removal from the index and this: its open file goes on working.
    pub(super) fn delete(&self, victims: Victims) {
        if let Some(gone) = &mut self.ledger().gone {
            gone.extend(victims.iter().map(|(id, _)| *id));
        }
        for (id, item) in victims {
            if item.value.kept.is_none() {
                self.dir.remove(&id);
            }
        }
    }
}

impl Ledger {
    /// Takes out what is worth `need` bytes, if there is as much.
    fn evict(&mut self, need: u64) -> (Victims, bool) {
        let victims = self.index.evict(need, Slot::in_use);
        let freed: u64 = victims.iter().map(|(_, item)| item.bytes).sum();
        (victims, freed >= need)
    }

    fn charge(&mut self, id: Id, content: &Arc<Content>, bytes: u64) {
        if self.index.contains(&id) {
            self.index.resize(&id, self.index.bytes(&id) + bytes);
        } else {
            self.index.insert(id, bytes, Slot::of(content));
        }
    }

    /// Keeps the block map of a partial content. Gives those that are too many.
    fn keep(&mut self, id: Id, content: &Arc<Content>) -> Victims {
        let slot = self.index.peek_mut(&id).expect("it was charged");
        if slot.kept.is_none() {
            slot.kept = Some(Arc::clone(content));
            self.partial.push_back(id);
        }
        let mut out = Vec::new();
        for _ in PARTIAL_MAX..self.partial.len() {
            let Some(oldest) = self.partial.pop_front() else { break };
            match self.index.peek_mut(&oldest) {
                Some(slot) if slot.kept.is_some() && slot.in_use() => self.partial.push_back(oldest),
                Some(slot) if slot.kept.is_some() => out.extend(self.index.remove(&oldest).map(|item| (oldest, item))),
                _ => {}
            }
        }
        out
    }

    /// Gives a content whose file has been open for longest, if there are too many.
    fn hold_open(&mut self, id: Id, content: &Arc<Content>) -> Option<Arc<Content>> {
        let slot = self.index.peek_mut(&id)?;
        if slot.recent.is_some() {
            return None;
        }
        slot.recent = Some(Arc::clone(content));
        self.recent.push_back(id);
        if self.recent.len() <= RECENT_MAX {
            return None;
        }
        let oldest = self.recent.pop_front()?;
        self.index.peek_mut(&oldest)?.recent.take()
    }

    /// The content takes its size on disk and no block map.
    fn complete(&mut self, id: Id, content: &Arc<Content>) -> Option<Arc<Content>> {
        let more = content.size().saturating_sub(self.index.bytes(&id));
        self.charge(id, content, more);
        self.index.peek_mut(&id)?.kept.take()
    }
}

/// Bytes that the file system of the cache has, and that are free for us. Zero if it does not tell.
fn capacity(dir: &Dir) -> (u64, u64) {
    match nix::sys::statvfs::statvfs(dir.root()) {
        Ok(fs) => (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size()),
        Err(_) => (0, 0),
    }
}
