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
use crate::model::{
    key::{Key, Name},
    version::Version,
};

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
    /// The marker that the directory got since.
    marker: Option<Version>,
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
        state.asking.insert(number, Overlay { dir: dir.clone(), changes: HashMap::new(), marker: None, void: false });
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

    /// `dir`, which was there without, has a marker now.
    pub fn marked(&self, dir: &Key, marker: &Version) {
        let mut state = self.state();
        for overlay in state.asking.values_mut().filter(|overlay| overlay.dir == *dir) {
            overlay.marker = Some(marker.clone());
        }
        state.change(dir, |listing| listing.marker = Some(marker.clone()));
    }

    /// `dir` is gone, or everything below it is something else.
    pub fn forget(&self, dir: &Key) {
        let below = dir.marker();
        let goes = |key: &Key| key == dir || key.as_str().starts_with(below.as_str());
        let mut state = self.state();
        state.asking.values_mut().filter(|overlay| goes(&overlay.dir)).for_each(|overlay| overlay.void = true);
        let gone: Vec<Key> = state.dirs.iter().map(|(key, _)| key).filter(|key| goes(key)).cloned().collect();
        for key in gone {
            state.pop(&key);
        }
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
        listing.marker = overlay.marker.or(listing.marker);
        let listing = Arc::new(listing);
        if overlay.void {
            return listing;
        }
        match state.dirs.peek(&overlay.dir) {
            Some(known) if known.asked > listing.asked || known.is_all_and_more_than(&listing) => {}
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::version::ETag,
        store::{Entry, Page},
    };

    fn views() -> Arc<Views> {
        Views::new(Key::new("site"))
    }

    fn version(size: u64) -> Version {
        Version { etag: ETag::new("\"x\""), modified: Some(1), size }
    }

    /// A listing of so many files; its names end in their numbers.
    fn listing(dir: &str, asked: Instant, files: usize, next: Option<&str>) -> Listing {
        let key = |n| Key::new(&format!("{dir}/f{n:05}"));
        let entries = (0..files).map(|n| Entry { key: key(n), version: version(1) }).collect();
        let mut listing = Listing::new(asked, 0);
        listing.add(&Key::new(dir).marker(), Page { entries, prefixes: Vec::new(), next: next.map(str::to_owned) });
        listing
    }

    fn ask(views: &Arc<Views>, dir: &str, listing: Listing) -> Arc<Listing> {
        views.begin(&Key::new(dir)).end(listing)
    }

    fn is(views: &Views, key: &str) -> Option<Is> {
        let (dir, name) = place(&Key::new(key)).unwrap();
        views.get(&dir)?.is(&name)
    }

    #[test]
    fn what_ended_while_it_was_listed_lies_on_top() {
        let (views, now) = (views(), crate::clock::now());
        let asking = views.begin(&Key::new("site/d"));
        views.set(&Key::new("site/d/f00000"), Some(Is::Absent));
        views.set(&Key::new("site/d/new"), Some(Is::File(version(2))));
        views.set(&Key::new("site/d/failed/"), None);
        views.set(&Key::new("site/other"), None);
        asking.end(listing("site/d", now, 2, None));
        assert_eq!(is(&views, "site/d/f00000"), Some(Is::Absent));
        assert_eq!(is(&views, "site/d/f00001"), Some(Is::File(version(1))));
        assert_eq!(is(&views, "site/d/new"), Some(Is::File(version(2))));
        assert_eq!(is(&views, "site/d/failed"), None);
        assert_eq!(is(&views, "site/d/other"), Some(Is::Absent));
    }

    #[test]
    fn a_directory_that_was_marked_outlives_its_last_name() {
        let (views, now) = (views(), crate::clock::now());
        ask(&views, "site/d", listing("site/d", now, 1, None));
        let asking = views.begin(&Key::new("site/d"));
        views.marked(&Key::new("site/d"), &version(0));
        views.set(&Key::new("site/d/f00000"), Some(Is::Absent));
        assert!(!views.get(&Key::new("site/d")).unwrap().is_nothing());
        let seen = asking.end(listing("site/d", now, 1, None));
        assert!(seen.names.is_empty() && !seen.is_nothing(), "it was asked for before");
    }

    #[test]
    fn an_answer_that_is_older_than_the_view_teaches_nothing() {
        let (views, before) = (views(), crate::clock::now());
        let now = before + Duration::from_secs(1);
        ask(&views, "site/d", listing("site/d", now, 1, None));
        views.learn(&Key::new("site/d/new"), before, Is::Dir);
        assert_eq!(is(&views, "site/d/new"), Some(Is::Absent));
        views.learn(&Key::new("site/d/new"), now + Duration::from_secs(1), Is::Dir);
        assert_eq!(is(&views, "site/d/new"), Some(Is::Dir));
    }

    #[test]
    fn one_page_does_not_push_out_all_of_them() {
        let (views, now) = (views(), crate::clock::now());
        let later = now + Duration::from_secs(1);
        ask(&views, "site/d", listing("site/d", now, 2000, None));
        ask(&views, "site/d", listing("site/d", later, 1000, Some("more")));
        assert!(views.get(&Key::new("site/d")).unwrap().is_whole());
        ask(&views, "site/e", listing("site/e", now, 10, None));
        ask(&views, "site/e", listing("site/e", later, 1000, Some("more")));
        assert!(views.get(&Key::new("site/e")).unwrap().is_long(), "it grew");
    }

    #[test]
    fn a_directory_that_is_gone_is_forgotten_and_the_root_is_never_gone() {
        let (views, now) = (views(), crate::clock::now());
        for dir in ["site/d", "site/d/sub", "site/dx"] {
            ask(&views, dir, listing(dir, now, 1, None));
        }
        ask(&views, "site/dx", listing("site/dx", now, 0, None));
        assert_eq!(views.get(&Key::new("site/dx")).map(|_| ()), None);
        let late = views.begin(&Key::new("site/d/sub"));
        views.forget(&Key::new("site/d"));
        late.end(listing("site/d/sub", now, 1, None));
        assert_eq!(is(&views, "site/d/sub/f00000"), None);
        ask(&views, "site", listing("site", now, 0, None));
        assert_eq!(is(&views, "site/a"), Some(Is::Absent));
    }

    #[test]
    fn memory_is_bounded_by_names() {
        let (views, now) = (views(), crate::clock::now());
        let dirs = ["site/a", "site/b", "site/c"];
        for dir in dirs {
            ask(&views, dir, listing(dir, now, NAMES_MAX / 2 - 10, None));
        }
        assert_eq!(dirs.map(|dir| views.get(&Key::new(dir)).is_some()), [false, true, true]);
        ask(&views, "site/vast", listing("site/vast", now, NAMES_MAX, None));
        assert_eq!(views.get(&Key::new("site/vast")).map(|_| ()), None);
        let state = views.state();
        let counted: usize = state.dirs.iter().map(|(_, listing)| cost(listing)).sum();
        assert_eq!(state.names, counted);
    }
}
