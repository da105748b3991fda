//! Attributes ahead: who looks at the names of a directory one after the other finds the next ones answered.
//!
//! A listing tells no attributes, so every name costs a HEAD, and `ls -l` of ten thousand names would wait for ten
//! thousand round trips. Questions about names in the order of the listing are a run, as reads in the order of a file are;
//! a run has the names that follow asked for at the same time, and more of them while it comes to those that are answered:
//! so many are always under way. It is of use where a stat may be as old as such an answer:
//! under `freshness=strict` each one has to ask by itself.

use std::{
    collections::HashMap,
    ffi::OsStr,
    num::NonZeroUsize,
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lru::LruCache;
use tokio::sync::watch;

use super::{Fs, ask::Hint, invalidate::found_at, lock, settle::is_fresh, types::NodeId};
use crate::{
    clock,
    freshness::{listing::Listing, serves, views::place},
    model::{
        key::{Key, Name},
        patterns::Scope,
    },
    store::Store,
};

/// Names of a directory in order after which it is a run and no accident.
const RUN: u32 = 3;
/// How many names a run may pass over: what is known is not asked about, and `ls` sorts otherwise than a bucket.
const NEAR: usize = 2 * WINDOW_MAX;
/// Names asked for ahead at first; the number doubles with each time, up to [`WINDOW_MAX`].
const WINDOW: usize = 8;
/// Questions ahead in flight at most, of all runs together: what a bucket takes of one host without complaint.
const WINDOW_MAX: usize = 64;
/// Who lets more time pass between two names is not waiting for names.
const PAUSE: Duration = Duration::from_secs(2);
/// Directories of which a run is known; programs that walk a tree are in few at a time. At ~200 bytes each, 12 KiB.
const RUNS_LEN: usize = 64;

/// What runs there are, and what is asked ahead for them.
#[derive(Debug)]
pub(super) struct Ahead {
    runs: Mutex<LruCache<Key, Run>>,
    /// There was a run that had something asked ahead: who is answered from memory need not look before that.
    ever: AtomicBool,
    /// Closed when the answer is there, or will not come.
    flying: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

/// A walk through the names of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Run {
    last: Name,
    at: Instant,
    /// Names in order so far.
    len: u32,
    window: usize,
    /// The last name that was asked for ahead, and how many up to it the run has not come to.
    asked: Option<(Name, usize)>,
}

impl Run {
    fn begin(name: Name, now: Instant) -> Self {
        Self { last: name, at: now, len: 1, window: WINDOW, asked: None }
    }

    /// The run when it has come to `name` at `now`, and which names of the listing are worth asking for.
    fn step(self, listing: &Listing, name: &Name, now: Instant) -> (Self, Vec<Name>) {
        let in_time = now.saturating_duration_since(self.at) <= PAUSE;
        let passed = (self.last < *name).then(|| {
            let between = (Bound::Excluded(&self.last), Bound::Excluded(name));
            listing.names.range::<Name, _>(between).take(NEAR).count()
        });
        let Some(passed) = passed.filter(|passed| in_time && *passed < NEAR) else {
            return (Self::begin(name.clone(), now), Vec::new());
        };
        let len = self.len.saturating_add(1);
        let asked =
            self.asked.map(|(last, left)| (last, left.saturating_sub(passed + 1))).filter(|(_, left)| *left > 0);
        let left = asked.as_ref().map_or(0, |(_, left)| *left);
        let next = Self { last: name.clone(), at: now, len, window: self.window, asked };
        if len < RUN || left > self.window / 2 {
            return (next, Vec::new());
        }
        let from = next.asked.as_ref().map_or(name, |(last, _)| last);
        let behind = listing.names.range::<Name, _>((Bound::Excluded(from), Bound::Unbounded));
        let wanted: Vec<(&Name, bool)> =
            behind.take(self.window - left).map(|(name, version)| (name, version.is_some())).collect();
        let asked = wanted.last().map(|(last, _)| (Name::clone(last), left + wanted.len())).or(next.asked);
        let files = wanted.into_iter().filter(|(_, is_file)| *is_file).map(|(name, _)| name.clone()).collect();
        (Self { window: (self.window * 2).min(WINDOW_MAX), asked, ..next }, files)
    }
}

impl Ahead {
    pub(super) fn new() -> Self {
        let len = NonZeroUsize::new(RUNS_LEN).expect("a constant above 0");
        Self { runs: Mutex::new(LruCache::new(len)), ever: AtomicBool::new(false), flying: Mutex::default() }
    }

    /// The names of `listing` that are worth asking for where somebody has come to `name`.
    fn wanted(&self, dir: &Key, listing: &Listing, name: &Name, now: Instant) -> Vec<Name> {
        let mut runs = lock(&self.runs);
        let (run, wanted) = match runs.pop(dir) {
            Some(run) => run.step(listing, name, now),
            None => (Run::begin(name.clone(), now), Vec::new()),
        };
        runs.put(dir.clone(), run);
        if !wanted.is_empty() {
            self.ever.store(true, Ordering::Relaxed);
        }
        wanted
    }

    /// Whether something was asked ahead for who walks through `dir`.
    fn runs_in(&self, dir: &Key) -> bool {
        lock(&self.runs).peek(dir).is_some_and(|run| run.asked.is_some())
    }

    /// Takes a place for a question about `key`, unless there is one already, or no room.
    fn take_off(&self, key: &Key) -> Option<watch::Sender<()>> {
        let mut flying = lock(&self.flying);
        if flying.len() >= WINDOW_MAX || flying.contains_key(key) {
            return None;
        }
        let (done, waits) = watch::channel(());
        flying.insert(key.clone(), waits);
        Some(done)
    }

    fn land(&self, key: &Key) {
        lock(&self.flying).remove(key);
    }
}

/// A question that is under way; it lands however it ends.
struct Flight<S: Store> {
    fs: Arc<Fs<S>>,
    key: Key,
    _done: watch::Sender<()>,
}

impl<S: Store> Drop for Flight<S> {
    fn drop(&mut self) {
        self.fs.ahead.land(&self.key);
    }
}

impl<S: Store> Fs<S> {
    /// To be called before the bucket is asked for the attributes of `key`, for a stat. Begins to ask for those that will
    /// be wanted next. If `key` itself is being asked for, waits for that and is true: then look again.
    pub(super) async fn ask_ahead(self: &Arc<Self>, key: &Key) -> bool {
        let (age, now) = (self.options.freshness.stat_age(), clock::now());
        if age.is_zero() {
            return false;
        }
        let Some((dir, name)) = place(key) else { return false };
        self.go_ahead(&dir, &name, age, now);
        let waits = lock(&self.ahead.flying).get(key).cloned();
        let Some(mut waits) = waits else { return false };
        // The sender says nothing; it goes when the answer is there.
        waits.changed().await.ok();
        true
    }

    /// To be called when a lookup of `name` was answered from memory. Goes on asking ahead for who walks there.
    pub fn passed(self: &Arc<Self>, parent: NodeId, name: &OsStr) {
        if !self.ahead.ever.load(Ordering::Relaxed) {
            return;
        }
        let Ok(name) = Name::parse(name) else { return };
        let Some(dir) = self.tree().key(parent).filter(|dir| self.ahead.runs_in(dir)) else { return };
        self.go_ahead(&dir, &name, self.options.freshness.stat_age(), clock::now());
    }

    fn go_ahead(self: &Arc<Self>, dir: &Key, name: &Name, age: Duration, now: Instant) {
        // Who removes them is told without asking.
        if self.being_removed(dir, now).is_some() {
            return;
        }
        let listed = |view: &Arc<Listing>| matches!(view.names.get(name), Some(Some(_)));
        let Some(view) = self.views.get(dir).filter(listed) else { return };
        for name in self.ahead.wanted(dir, &view, name, now) {
            let key = Key::new(&format!("{}{}", dir.marker(), name.as_str()));
            if self.scope(&key) == Scope::Local || self.answers(&key, age, now) {
                continue;
            }
            let Some(done) = self.ahead.take_off(&key) else { continue };
            let flight = Flight { fs: Arc::clone(self), key, _done: done };
            self.contents.runtime().spawn(async move { flight.fs.fetch_attr(&flight.key).await });
        }
    }

    async fn fetch_attr(&self, key: &Key) {
        let stamp = self.fences.stamp(key).await;
        // Whoever needs it and finds no answer asks for it, and hears what went wrong.
        if let Ok(answer) = self.ask_about(key, Hint::File(None)).await {
            self.keep_answer(key, &answer, stamp);
        }
    }

    /// Whether a stat of `key` at `now` needs no request.
    fn answers(&self, key: &Key, age: Duration, now: Instant) -> bool {
        let tree = self.tree();
        match found_at(&tree, key).and_then(|id| tree.get(id)) {
            Some(node) => is_fresh(node, age, now),
            None => {
                lock(&self.memory).peek(key).and_then(|known| known.asked).is_some_and(|asked| serves(asked, now, age))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::version::{ETag, Version};

    fn names(count: usize) -> Vec<Name> {
        (0..count).map(|at| Name::from_key(&format!("{at:04}")).unwrap()).collect()
    }

    fn listing(names: &[Name], now: Instant) -> Listing {
        let mut listing = Listing::new(now, 0);
        let version = Version { etag: ETag::new("x"), modified: None, size: 1 };
        listing.names = names.iter().map(|name| (name.clone(), Some(version.clone()))).collect();
        listing
    }

    /// How many names are wanted after each of those questions.
    fn asked(order: &[usize]) -> Vec<usize> {
        let (names, now) = (names(1000), clock::now());
        let (ahead, listing, dir) = (Ahead::new(), listing(&names, now), Key::new("d"));
        order.iter().map(|&at| ahead.wanted(&dir, &listing, &names[at], now).len()).collect()
    }

    #[test]
    fn a_run_wants_more_and_more_of_what_follows() {
        assert_eq!(asked(&[0, 1, 2, 11, 28, 61, 126]), [0, 0, 8, 16, 32, 64, 64]);
        assert_eq!(asked(&[990, 991, 992]), [0, 0, 7], "the listing ends");
    }

    #[test]
    fn a_run_that_is_answered_has_half_a_window_under_way_or_more() {
        let order: Vec<usize> = (0..400).collect();
        let (mut ahead_of, mut total) = (2, 0);
        for (at, asked) in asked(&order).into_iter().enumerate() {
            ahead_of = ahead_of.max(at) + asked;
            total += asked;
            let under_way = ahead_of - at;
            assert!(under_way <= WINDOW_MAX, "{under_way} at {at}");
            assert!(at < 10 || under_way >= WINDOW_MAX / 2, "{under_way} at {at}");
        }
        assert!(total <= 400 + WINDOW_MAX, "each name once: {total}");
    }

    #[test]
    fn looks_here_and_there_want_nothing() {
        assert_eq!(asked(&[0, 500, 100, 900, 300, 700]), [0; 6]);
        assert_eq!(asked(&[0, 128, 256, 384]), [0, 0, 8, 16], "as far apart as a run may be");
        assert_eq!(asked(&[0, 129, 258, 387]), [0; 4]);
        assert_eq!(asked(&[5, 4, 3, 2, 1, 0]), [0; 6], "backwards");
        assert_eq!(asked(&[0, 1, 2, 500, 501, 502]), [0, 0, 8, 0, 0, 8], "a new run begins small");
    }

    #[test]
    fn a_run_that_rests_is_over() {
        let (names, now) = (names(10), clock::now());
        let (ahead, listing, dir) = (Ahead::new(), listing(&names, now), Key::new("d"));
        for (at, later, expect) in [(0, 0, 0), (1, 1, 0), (2, 5, 0), (3, 6, 0), (4, 7, 5)] {
            let now = now + Duration::from_secs(later);
            assert_eq!(ahead.wanted(&dir, &listing, &names[at], now).len(), expect, "name {at}");
        }
    }

    #[test]
    fn no_more_fly_than_there_is_room_for() {
        let (ahead, names) = (Ahead::new(), names(WINDOW_MAX + 1));
        let keys: Vec<Key> = names.iter().map(|name| Key::new(name.as_str())).collect();
        let taken: Vec<_> = keys.iter().filter_map(|key| ahead.take_off(key)).collect();
        assert_eq!(taken.len(), WINDOW_MAX);
        ahead.land(&keys[0]);
        assert!(ahead.take_off(&keys[1]).is_none(), "it is on its way");
        assert!(ahead.take_off(&keys[WINDOW_MAX]).is_some());
    }
}
