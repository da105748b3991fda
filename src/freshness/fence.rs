//! Keeps answers that overlap a change of ours from being believed.
//!
//! A HEAD that was sent before our DELETE and answered after it would bring the file back. So whoever changes a key
//! raises its fence meanwhile. Whoever asks about a key waits until its fence is down, takes a stamp, asks, and checks
//! afterwards that no change began.
//!
//! An upload may take minutes and a rename of a directory raises thousands of fences, so nobody waits for another key's
//! fence, and a fence that stays up spoils no answer about other keys. Only its begin and its end do, because stamps
//! count those by slots that keys share: a question is repeated then, and the next answer holds.
//!
//! Who asks about many keys at once (a LIST) does not wait, so three cases are to be told apart:
//! - A change that began or ended meanwhile: the stamp does not hold.
//! - A change that went on all the time: the stamp holds, or nothing could be learned during a long upload. What is
//!   known of that key is its changer's to say ([`Fences::is_up`]), and the answer is good for all others.
//! - A change before or after: the answer knows it, or the change will overwrite the answer.
//!
//! What a change made of its key goes into the view of its directory ([`super::views`]) before the fence is down. A
//! change whose outcome nobody told, and one that overlapped another of the same key, leave the name unknown there.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::{listing::Is, views::Views};
use crate::model::key::Key;

/// Counters of changes that keys share by their hash. Sharing costs a repeated question, never a wrong answer; 256 of
/// them keep that rare with the few dozen changes that one host has in flight.
const SLOTS: usize = 256;

/// All fences of a mount. A key and its marker have one fence.
#[derive(Debug)]
pub struct Fences {
    /// The last one is for all keys together.
    slots: Arc<[Slot]>,
    /// Directories below which everything is being changed, with a slash at their end.
    trees: Arc<Mutex<Vec<Key>>>,
    hasher: RandomState,
    views: Arc<Views>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    lowered: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Changes in progress, by key. None counts zero.
    up: HashMap<Key, Up>,
    /// Begins and ends of changes.
    changes: u64,
}

#[derive(Debug, Default)]
struct Up {
    count: u32,
    /// Of those in progress, some overlap or did.
    overlap: bool,
}

/// A raised fence; dropping it lowers it.
#[derive(Debug)]
pub struct Fence {
    slots: Arc<[Slot]>,
    at: usize,
    key: Key,
    views: Arc<Views>,
    /// The views know what became of the key.
    told: bool,
}

/// A raised fence around everything below a directory; dropping it lowers it.
#[derive(Debug)]
pub struct TreeFence {
    slots: Arc<[Slot]>,
    trees: Arc<Mutex<Vec<Key>>>,
    dir: Key,
    views: Arc<Views>,
    /// The views know what became of the directory itself; of what is below it they know nothing either way.
    told: bool,
}

/// The state of a fence when a question was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    at: usize,
    changes: u64,
}

impl Fences {
    /// Changes behind these fences show in `views`.
    pub fn new(views: Arc<Views>) -> Self {
        Self {
            slots: (0..=SLOTS).map(|_| Slot::default()).collect(),
            trees: Arc::default(),
            hasher: RandomState::new(),
            views,
        }
    }

    /// For the time of a change to `key`, its answers in flight included.
    pub fn raise(&self, key: &Key) -> Fence {
        let (at, key) = (self.slot(key), plain(key));
        {
            let mut state = lock(&self.slots[at].state);
            let up = state.up.entry(key.clone()).or_default();
            up.count += 1;
            up.overlap |= up.count > 1;
            state.changes += 1;
        }
        lock(&self.slots[SLOTS].state).changes += 1;
        Fence { slots: Arc::clone(&self.slots), at, key, views: Arc::clone(&self.views), told: false }
    }

    /// For the time of a change to everything at and below the directory `dir`. Takes no memory by key.
    pub fn raise_tree(&self, dir: &Key) -> TreeFence {
        let (slots, trees, dir) = (Arc::clone(&self.slots), Arc::clone(&self.trees), dir.marker());
        lock(&trees).push(dir.clone());
        count_all(&slots);
        TreeFence { slots, trees, dir, views: Arc::clone(&self.views), told: false }
    }

    /// To be taken before asking about `key`; waits while its fence is up.
    pub async fn stamp(&self, key: &Key) -> Stamp {
        let (at, key) = (self.slot(key), plain(key));
        loop {
            let lowered = self.slots[at].lowered.notified();
            {
                let state = lock(&self.slots[at].state);
                if !state.up.contains_key(&key) && !self.is_in_tree(&key) {
                    return Stamp { at, changes: state.changes };
                }
            }
            lowered.await;
        }
    }

    /// To be taken before asking about many keys at once; does not wait. [`Fences::holds`] tells whether a change to any
    /// key began or ended.
    pub fn stamp_all(&self) -> Stamp {
        Stamp { at: SLOTS, changes: lock(&self.slots[SLOTS].state).changes }
    }

    /// Whether the answer to a question that was asked after `stamp` may be believed. After [`Fences::stamp_all`], not
    /// for keys whose fence is up.
    pub fn holds(&self, stamp: Stamp) -> bool {
        lock(&self.slots[stamp.at].state).changes == stamp.changes
    }

    /// Whether `key` is being changed. To be asked before [`Fences::holds`], which then knows of a change that ended in
    /// between.
    pub fn is_up(&self, key: &Key) -> bool {
        self.is_in_tree(key) || lock(&self.slots[self.slot(key)].state).up.contains_key(&plain(key))
    }

    /// Whether anything below the directory `dir` is being changed. To be asked before [`Fences::holds`], too.
    pub fn is_up_below(&self, dir: &Key) -> bool {
        let dir = dir.marker();
        let within = |tree: &Key| tree.as_str().starts_with(dir.as_str()) || dir.as_str().starts_with(tree.as_str());
        lock(&self.trees).iter().any(within)
            || self
                .slots
                .iter()
                .any(|slot| lock(&slot.state).up.keys().any(|key| key.as_str().starts_with(dir.as_str())))
    }

    fn is_in_tree(&self, key: &Key) -> bool {
        let key = key.marker();
        lock(&self.trees).iter().any(|tree| key.as_str().starts_with(tree.as_str()))
    }

    fn slot(&self, key: &Key) -> usize {
        let hash = self.hasher.hash_one(key.as_str().trim_end_matches('/'));
        usize::try_from(hash % SLOTS as u64).expect("less than SLOTS")
    }
}

impl Fence {
    /// The bucket confirmed the change: this is at the key now.
    pub fn made(mut self, is: Is) {
        let alone = !lock(&self.slots[self.at].state).up.get(&self.key).is_some_and(|up| up.overlap);
        self.views.set(&self.key, alone.then_some(is));
        self.told = true;
    }

    /// No request was sent.
    pub fn unused(mut self) {
        self.told = true;
    }
}

impl Drop for Fence {
    /// Counts for all keys before it is down, as [`Fences::is_up`] needs it.
    fn drop(&mut self) {
        if !self.told {
            self.views.set(&self.key, None);
        }
        lock(&self.slots[SLOTS].state).changes += 1;
        let slot = &self.slots[self.at];
        let mut state = lock(&slot.state);
        state.changes += 1;
        match state.up.get_mut(&self.key) {
            Some(up) if up.count > 1 => up.count -= 1,
            _ => drop(state.up.remove(&self.key)),
        }
        drop(state);
        slot.lowered.notify_waiters();
    }
}

impl TreeFence {
    /// The bucket confirmed the change: this is the directory now.
    pub fn made(mut self, is: Is) {
        self.views.set(&plain(&self.dir), Some(is));
        self.told = true;
    }
}

impl Drop for TreeFence {
    fn drop(&mut self) {
        let dir = plain(&self.dir);
        self.views.forget(&dir);
        if !self.told {
            self.views.set(&dir, None);
        }
        // Counted before it is down, as for a key.
        count_all(&self.slots);
        let mut trees = lock(&self.trees);
        if let Some(at) = trees.iter().position(|tree| *tree == self.dir) {
            trees.swap_remove(at);
        }
        drop(trees);
        for slot in &*self.slots {
            slot.lowered.notify_waiters();
        }
    }
}

/// Whoever asked about any key before this has a stamp that does not hold.
fn count_all(slots: &[Slot]) {
    for slot in slots {
        lock(&slot.state).changes += 1;
    }
}

/// The key without a slash at its end.
fn plain(key: &Key) -> Key {
    if key.is_marker() { Key::new(key.as_str().trim_end_matches('/')) } else { key.clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests;
