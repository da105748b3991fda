//! What the cache holds and in which order it goes: a segmented LRU, so that one pass over everything (a backup, a
//! search) does not push out what is used again and again.
//!
//! New items are on *probation*; a second use makes them *protected*. Probation goes first, oldest first. The
//! protected segment has a budget; what it pushes out gets a second chance on probation. (Karedla, Love, Wherry:
//! "Caching strategies to improve disk system performance", 1994.)

use std::hash::Hash;

use lru::LruCache;

/// Items with sizes in bytes, in two segments.
#[derive(Debug)]
pub(super) struct Index<K: Hash + Eq, V> {
    probation: LruCache<K, Item<V>>,
    protected: LruCache<K, Item<V>>,
    /// Bytes of all items.
    used: u64,
    /// Bytes of the protected items, and how many they may be.
    protected_used: u64,
    budget: u64,
}

#[derive(Debug)]
pub(super) struct Item<V> {
    pub(super) bytes: u64,
    pub(super) value: V,
}

impl<K: Hash + Eq + Clone, V> Index<K, V> {
    /// An index for `limit` bytes, four fifths of which may be protected: the rest is what a scan can churn.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            probation: LruCache::unbounded(),
            protected: LruCache::unbounded(),
            used: 0,
            protected_used: 0,
            budget: limit / 5 * 4,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn len(&self) -> usize {
        self.probation.len() + self.protected.len()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.probation.contains(key) || self.protected.contains(key)
    }

    /// Without counting as a use.
    pub(super) fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.probation.peek_mut(key).or_else(|| self.protected.peek_mut(key)).map(|item| &mut item.value)
    }

    pub(super) fn bytes(&self, key: &K) -> u64 {
        self.probation.peek(key).or_else(|| self.protected.peek(key)).map_or(0, |item| item.bytes)
    }

    /// Adds an item as the newest on probation. The key must be new.
    pub(super) fn insert(&mut self, key: K, bytes: u64, value: V) {
        self.used += bytes;
        let old = self.probation.put(key, Item { bytes, value });
        debug_assert!(old.is_none(), "the key was there");
    }

    /// Adds an item as the first to go.
    pub(super) fn insert_oldest(&mut self, key: &K, bytes: u64, value: V) {
        self.insert(key.clone(), bytes, value);
        self.probation.demote(key);
    }

    /// Sets the size of an item.
    pub(super) fn resize(&mut self, key: &K, bytes: u64) {
        if let Some(item) = self.probation.peek_mut(key) {
            self.used = self.used - item.bytes + bytes;
            item.bytes = bytes;
        } else if let Some(item) = self.protected.peek_mut(key) {
            self.used = self.used - item.bytes + bytes;
            self.protected_used = self.protected_used - item.bytes + bytes;
            item.bytes = bytes;
        }
    }

    /// Counts a use.
    pub(super) fn touch(&mut self, key: &K) -> Option<&mut V> {
        if let Some(item) = self.probation.pop(key) {
            self.protected_used += item.bytes;
            self.protected.put(key.clone(), item);
            while self.protected_used > self.budget && self.protected.len() > 1 {
                let (old, item) = self.protected.pop_lru().expect("it has more than one");
                self.protected_used -= item.bytes;
                self.probation.put(old, item);
            }
        }
        self.protected.get_mut(key).map(|item| &mut item.value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<Item<V>> {
        let item = self.probation.pop(key).or_else(|| {
            let item = self.protected.pop(key)?;
            self.protected_used -= item.bytes;
            Some(item)
        })?;
        self.used -= item.bytes;
        Some(item)
    }

    /// Removes items worth `need` bytes or more, as far as there are any that are not in use. Gives them.
    pub(super) fn evict(&mut self, need: u64, in_use: impl Fn(&V) -> bool) -> Vec<(K, Item<V>)> {
        let mut out = Vec::new();
        let mut freed = 0;
        for protected in [false, true] {
            let segment = if protected { &mut self.protected } else { &mut self.probation };
            for _ in 0..segment.len() {
                if freed >= need {
                    break;
                }
                let (key, item) = segment.pop_lru().expect("the loop is as long as the segment");
                if item.bytes == 0 || in_use(&item.value) {
                    // To the new end: what is in use is not the oldest.
                    segment.put(key, item);
                    continue;
                }
                freed += item.bytes;
                self.used -= item.bytes;
                if protected {
                    self.protected_used -= item.bytes;
                }
                out.push((key, item));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of 10 bytes each; the value says whether it is in use.
    fn index(keys: std::ops::Range<u32>) -> Index<u32, bool> {
        let mut index = Index::new(100);
        keys.for_each(|key| index.insert(key, 10, false));
        index
    }

    fn evicted(index: &mut Index<u32, bool>, need: u64) -> Vec<u32> {
        index.evict(need, |&used| used).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn oldest_go_first() {
        assert_eq!(evicted(&mut index(0..5), 15), [0, 1]);
    }

    #[test]
    fn a_scan_does_not_push_out_what_was_used_twice() {
        let mut index = index(0..3);
        for key in 0..3 {
            index.touch(&key).unwrap();
        }
        for key in 100..1000 {
            index.insert(key, 10, false);
            while index.used() > 100 {
                assert!(!evicted(&mut index, 10).is_empty());
            }
        }
        assert!((0..3).all(|key| index.contains(&key)));
    }

    #[test]
    fn the_protected_segment_has_a_budget() {
        let mut index = index(0..10);
        for key in 0..10 {
            index.touch(&key).unwrap();
        }
        assert!(index.protected_used <= 80);
        assert_eq!(evicted(&mut index, 10), [0], "the first protected one lost its place");
        assert_eq!(index.used(), 90);
    }

    #[test]
    fn what_is_in_use_stays() {
        let mut index = index(0..4);
        *index.peek_mut(&0).unwrap() = true;
        *index.peek_mut(&2).unwrap() = true;
        assert_eq!(evicted(&mut index, 1000), [1, 3]);
        assert_eq!(index.used(), 20);
    }

    #[test]
    fn found_ones_are_older_than_all() {
        let mut index = index(0..1);
        index.insert_oldest(&10, 10, false);
        index.insert_oldest(&11, 10, false);
        assert_eq!(evicted(&mut index, 25), [11, 10, 0]);
    }

    #[test]
    fn sizes_add_up_through_every_change() {
        let mut index = index(0..4);
        index.resize(&0, 30);
        index.touch(&0).unwrap();
        index.resize(&0, 5);
        index.touch(&1).unwrap();
        assert_eq!((index.used(), index.protected_used, index.len()), (35, 15, 4));
        index.remove(&1).unwrap();
        assert_eq!(evicted(&mut index, 1000).len(), 3);
        assert_eq!((index.used(), index.protected_used, index.len()), (0, 0, 0));
    }
}
