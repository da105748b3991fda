//! What is remembered of directories.
//!
//! A view is a listing that was asked for at some time, kept current with what this host changes, and with what it
//! learns of single names. Under a freshness of some age it answers while it is young enough. Everywhere else it is
//! only a hint at what to ask, and no answer depends on its being right.
//!
//! A change that ends while a listing is under way is put on top of that listing, too: it may or may not be in it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use lru::LruCache;

use super::listing::{Is, Listing};
use crate::model::key::{Key, Name};

/// Names of all views together, and one for each view; the views that were not used for longest go first. At ~200
/// bytes each, 10 MiB.
const NAMES_MAX: usize = 50_000;

/// The views of a mount, by the key of the directory without a slash at its end.
#[derive(Debug)]
pub struct Views {
    /// Is there even if nothing is in it.
    root: Key,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dirs: LruCache<Key, Arc<Listing>>,
    /// What `dirs` counts.
    names: usize,
    /// Listings under way, by a number of their own. As many as there are requests.
    asking: HashMap<u64, Overlay>,
    next: u64,
}

#[derive(Debug)]
struct Overlay {
    dir: Key,
    /// Changes that ended since the request was sent.
    changes: HashMap<Name, Option<Is>>,
    /// More changed than can be told by name.
    void: bool,
}

/// A listing that is under way.
#[derive(Debug)]
pub struct Asking {
    views: Arc<Views>,
    number: u64,
}

impl Views {
    pub fn new(root: Key) -> Arc<Self> {
        let state = State { dirs: LruCache::unbounded(), names: 0, asking: HashMap::new(), next: 0 };
        Arc::new(Self { root, state: Mutex::new(state) })
    }

    /// The directory that is always there.
    pub fn root(&self) -> &Key {
        &self.root
    }

    /// What is remembered of a directory, however old.
    pub fn get(&self, dir: &Key) -> Option<Arc<Listing>> {
        self.state().dirs.get(dir).cloned()
    }

    /// To be called before the first request for a listing of `dir` is sent.
    pub fn begin(self: &Arc<Self>, dir: &Key) -> Asking {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.asking.insert(number, Overlay { dir: dir.clone(), changes: HashMap::new(), void: false });
        Asking { views: Arc::clone(self), number }
    }

    /// This host changed `key` to what it is now; `None` if it does not know how that ended.
    pub fn set(&self, key: &Key, is: Option<Is>) {
        let Some((dir, name)) = place(key) else { return };
        let mut state = self.state();
        for overlay in state.asking.values_mut().filter(|overlay| overlay.dir == dir) {
            overlay.changes.insert(name.clone(), is.clone());
        }
        state.change(&dir, |listing| listing.set(name, is));
    }

    /// The bucket answered a question about `key` that was sent at `asked`, with no change of this host since.
    pub fn learn(&self, key: &Key, asked: Instant, is: Is) {
        let Some((dir, name)) = place(key) else { return };
        let mut state = self.state();
        let news =
            state.dirs.peek(&dir).is_some_and(|known| known.asked < asked && known.is(&name) != Some(is.clone()));
        if news {
            state.change(&dir, |listing| listing.set(name, Some(is)));
        }
    }

    /// `dir` was made at this moment.
    pub fn born(&self, dir: &Key, listing: Listing) {
        self.state().put(dir.clone(), Arc::new(listing));
    }

    /// `dir` is gone, or everything below it is something else.
    pub fn forget(&self, dir: &Key) {
        let below = dir.marker();
        let goes = |key: &Key| key == dir || key.as_str().starts_with(below.as_str());
        let mut state = self.state();
        state.asking.values_mut().filter(|overlay| goes(&overlay.dir)).for_each(|overlay| overlay.void = true);
        let gone: Vec<Key> = state.dirs.iter().map(|(key, _)| key).filter(|key| goes(key)).cloned().collect();
        gone.iter().for_each(|key| state.pop(key));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl Asking {
    /// The listing with what this host changed meanwhile. It is remembered, unless it says that there is nothing.
    pub fn end(self, mut listing: Listing) -> Arc<Listing> {
        let mut state = self.views.state();
        let Some(overlay) = state.asking.remove(&self.number) else { return Arc::new(listing) };
        for (name, is) in overlay.changes {
            listing.set(name, is);
        }
        let listing = Arc::new(listing);
        if overlay.void {
            return listing;
        }
        match state.dirs.peek(&overlay.dir) {
            // A page does not know more than all of them.
            Some(known) if known.asked > listing.asked || known.is_whole() && !listing.is_whole() => {}
            _ if listing.is_nothing() && overlay.dir != self.views.root => state.pop(&overlay.dir),
            _ => state.put(overlay.dir, Arc::clone(&listing)),
        }
        drop(state);
        listing
    }
}

impl Drop for Asking {
    /// A request that failed leaves nothing behind.
    fn drop(&mut self) {
        self.views.state().asking.remove(&self.number);
    }
}

impl State {
    fn change(&mut self, dir: &Key, change: impl FnOnce(&mut Listing)) {
        let Some(mut listing) = self.dirs.pop(dir) else { return };
        self.names -= cost(&listing);
        change(Arc::make_mut(&mut listing));
        self.put(dir.clone(), listing);
    }

    fn put(&mut self, dir: Key, listing: Arc<Listing>) {
        self.pop(&dir);
        if cost(&listing) > NAMES_MAX {
            return;
        }
        self.names += cost(&listing);
        self.dirs.put(dir, listing);
        while self.names > NAMES_MAX {
            let Some((_, listing)) = self.dirs.pop_lru() else { return };
            self.names -= cost(&listing);
        }
    }

    fn pop(&mut self, dir: &Key) {
        if let Some(listing) = self.dirs.pop(dir) {
            self.names -= cost(&listing);
        }
    }
}

fn cost(listing: &Listing) -> usize {
    listing.names.len() + 1
}

/// The directory of a key and its name in it; `None` for a key that no path can hold.
pub fn place(key: &Key) -> Option<(Key, Name)> {
    let plain = key.as_str().strip_suffix('/').unwrap_or(key.as_str());
    let (dir, name) = plain.rsplit_once('/').unwrap_or(("", plain));
    Some((Key::new(dir), Name::from_key(name)?))
}
