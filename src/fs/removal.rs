//! Who removes the names of a directory one after the other is not told their attributes.
//!
//! `rm -r` reads a directory and unlinks what it found there. Before each unlink the kernel looks the name up, and a lookup
//! is answered with attributes, which cost a HEAD of an object that goes with the next request. After a few removals in a
//! row, lookups of names are answered with what a listing tells, as READDIRPLUS does, for no time at all: whoever wants the
//! attributes has them asked for by the GETATTR that follows, and an open asks by itself. Only a listing that may tell
//! whether a name is there does for that, so where the bucket is asked for each name, it still is.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lru::LruCache;

use super::{
    Fs, Payload,
    known::Known,
    lock,
    types::{Found, NodeId},
};
use crate::{
    clock,
    freshness::{
        listing::{Is, Listing},
        serves,
        views::place,
    },
    model::{
        attr::Kind,
        key::{Key, Name},
    },
    store::Store,
};

/// Removals in a row after which it is a tree that goes, and no accident.
const RUN: u32 = 3;
/// Who lets more time pass between two of them is doing something else.
const PAUSE: Duration = Duration::from_secs(1);
/// Directories of which a run is known; a tree is removed in one at a time. At ~100 bytes each, 2 KiB.
const RUNS_LEN: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// Where names are removed in a row: how many so far, and when the last one went.
#[derive(Debug)]
pub(super) struct Removals(Mutex<LruCache<Key, (u32, Instant)>>);

impl Removals {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(RUNS_LEN)))
    }

    /// A name below `dir` was removed.
    pub(super) fn note(&self, dir: &Key, now: Instant) {
        let mut runs = lock(&self.0);
        let so_far = runs.get(dir).filter(|(_, last)| serves(*last, now, PAUSE)).map_or(0, |(count, _)| *count);
        runs.put(dir.clone(), (so_far.saturating_add(1), now));
    }

    /// Whether the next name that is looked up below `dir` will most likely be removed.
    fn go_on(&self, dir: &Key, now: Instant) -> bool {
        lock(&self.0).peek(dir).is_some_and(|(count, last)| *count >= RUN && serves(*last, now, PAUSE))
    }
}

impl<S: Store> Fs<S> {
    /// The listing of `dir` that tells enough of its names, because they are most likely being removed.
    pub(super) fn being_removed(&self, dir: &Key, now: Instant) -> Option<Arc<Listing>> {
        if self.removals.go_on(dir, now) { self.line.young(dir, now) } else { None }
    }

    /// Answers a lookup of `key`, the key of `name`, that will most likely be followed by its removal, if nobody here is
    /// changing it. Counts the lookup.
    pub(super) fn going(&self, parent: NodeId, name: &Name, key: &Key) -> Option<Found> {
        let (dir, _) = place(key)?;
        // What is looked at below must not change before it is in the tree.
        let mut tree = self.tree();
        let view = self.being_removed(&dir, clock::now()).filter(|_| !self.fences.is_up(key))?;
        let Some(Is::File(listed)) = view.is(name) else { return None };
        let id = if let Some(id) = tree.child(parent, name) {
            let node = tree.get(id)?;
            let same = node.payload.known.version.as_ref().is_some_and(|known| known.same_content(&listed));
            (node.kind == Kind::File && same).then_some(id)?
        } else {
            let known = Known::listed(&self.options, &listed, (view.asked, view.wall));
            tree.attach(parent, name.clone(), key.ino(), known.attr.kind, Payload::new(known))?
        };
        self.found(&mut tree, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_of_one_directory_and_without_a_pause() {
        let (removals, now, dir) = (Removals::new(), clock::now(), Key::new("d"));
        for count in 0..RUN {
            assert!(!removals.go_on(&dir, now), "{count} are none");
            removals.note(&dir, now);
        }
        assert!(removals.go_on(&dir, now) && !removals.go_on(&Key::new("e"), now));
        assert!(!removals.go_on(&dir, now + PAUSE));
        removals.note(&dir, now + PAUSE);
        assert!(!removals.go_on(&dir, now + PAUSE), "a new run");
    }
}
