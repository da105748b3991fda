//! Keeps answers that overlap a change of ours from being believed.
//!
//! A HEAD that was sent before our DELETE and answered after it would bring the file back. So whoever changes a key
//! raises its fence meanwhile, and whoever asks about a key checks afterwards that no fence was up.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::model::key::Key;

/// Fences that keys share by their hash. Sharing costs a repeated question, never a wrong answer; 256 of them keep
/// that rare with the few dozen changes that one host has in flight.
const SLOTS: usize = 256;

/// All fences of a mount.
#[derive(Debug)]
pub struct Fences {
    /// The last one is for all keys together.
    slots: Arc<[Slot]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    lowered: Notify,
}

#[derive(Debug, Default)]
struct State {
    up: u32,
    changes: u64,
}

/// A raised fence; dropping it lowers it.
#[derive(Debug)]
pub struct Fence {
    slots: Arc<[Slot]>,
    at: usize,
}

/// The state of a fence when a question was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    at: usize,
    changes: u64,
}

impl Default for Fences {
    fn default() -> Self {
        Self { slots: (0..=SLOTS).map(|_| Slot::default()).collect(), hasher: RandomState::new() }
    }
}

impl Fences {
    /// For the time of a change to `key`, its answers in flight included.
    pub fn raise(&self, key: &Key) -> Fence {
        let at = self.slot(key);
        for at in [at, SLOTS] {
            lock(&self.slots[at]).up += 1;
        }
        Fence { slots: Arc::clone(&self.slots), at }
    }

    /// To be taken before asking about `key`; waits while a fence is up.
    pub async fn stamp(&self, key: &Key) -> Stamp {
        let at = self.slot(key);
        loop {
            let lowered = self.slots[at].lowered.notified();
            {
                let state = lock(&self.slots[at]);
                if state.up == 0 {
                    return Stamp { at, changes: state.changes };
                }
            }
            lowered.await;
        }
    }

    /// To be taken before asking about many keys at once; does not wait. [`Fences::holds`] tells whether no key changed.
    pub fn stamp_all(&self) -> Stamp {
        Stamp { at: SLOTS, changes: lock(&self.slots[SLOTS]).changes }
    }

    /// Whether the answer to a question that was asked after `stamp` may be believed.
    pub fn holds(&self, stamp: Stamp) -> bool {
        let state = lock(&self.slots[stamp.at]);
        state.up == 0 && state.changes == stamp.changes
    }

    fn slot(&self, key: &Key) -> usize {
        let hash = self.hasher.hash_one(key.as_str().trim_end_matches('/'));
        usize::try_from(hash % SLOTS as u64).expect("less than SLOTS")
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        for at in [self.at, SLOTS] {
            let mut state = lock(&self.slots[at]);
            state.up -= 1;
            state.changes += 1;
            drop(state);
            self.slots[at].lowered.notify_waiters();
        }
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, State> {
    slot.state.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_overlaps_a_change_does_not_hold() {
        let fences = Fences::default();
        let key = Key::new("a/b");
        let before = fences.stamp(&key).await;
        assert!(fences.holds(before));
        let fence = fences.raise(&Key::new("a/b/"));
        assert!(!fences.holds(before));
        drop(fence);
        assert!(!fences.holds(before));
        assert!(fences.holds(fences.stamp(&key).await));
    }

    #[tokio::test]
    async fn who_asks_during_a_change_waits_for_its_end() {
        let fences = Arc::new(Fences::default());
        let key = Key::new("a");
        let fence = fences.raise(&key);
        let waiting = tokio::spawn({
            let (fences, key) = (Arc::clone(&fences), key.clone());
            async move { fences.stamp(&key).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(fence);
        assert!(fences.holds(waiting.await.unwrap()));
    }
}
