//! What waits, in order, each target once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::cdn::purge::{
    outbox::Id,
    target::{Class, Contract, Target, directory},
    versions::Versions,
};

/// A target with the records that it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    pub target: Target,
    /// Of an object: those that edges may have.
    pub versions: Versions,
    pub ids: Vec<Id>,
    pub since: Instant,
    /// To be purged once more after a while.
    pub twice: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    /// In the order of keys, so that what is below a directory is found without a look at all that waits.
    places: BTreeMap<Target, u64>,
    /// Objects by directory.
    crowds: HashMap<Arc<str>, usize>,
    /// How many objects make a directory a crowd; `None`: none do.
    limit: Option<usize>,
    /// Directories that were a crowd when something was added to them.
    full: BTreeSet<Arc<str>>,
    next: u64,
}

impl Queue {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            crowds: HashMap::new(),
            limit,
            full: BTreeSet::new(),
            next: 0,
        }
    }

    /// Puts a target at the end, or keeps its place. Gives the records that the new one replaces: it is of the same key,
    /// and younger.
    pub(super) fn push(&mut self, new: Waiting) -> Vec<Id> {
        if let Some(place) = self.places.get(&new.target) {
            let old = self.waiting.get_mut(place).expect("places are of what waits");
            old.twice |= new.twice;
            old.versions.follow(new.versions);
            if let Target::Object(_) = &new.target
                && !new.ids.is_empty()
            {
                return std::mem::replace(&mut old.ids, new.ids);
            }
            old.ids.extend(new.ids);
            return Vec::new();
        }
        self.next += 1;
        if let Target::Object(key) = &new.target {
            self.count(key);
        }
        self.places.insert(new.target.clone(), self.next);
        self.waiting.insert(self.next, new);
        Vec::new()
    }

    fn count(&mut self, key: &str) {
        let dir = directory(key);
        let Some(count) = self.crowds.get_mut(dir) else {
            self.crowds.insert(Arc::from(dir), 1);
            return;
        };
        *count += 1;
        if self.limit.is_some_and(|limit| *count > limit) {
            self.full.insert(Arc::from(dir));
        }
    }

    fn remove(&mut self, place: u64) -> Option<Waiting> {
        let gone = self.waiting.remove(&place)?;
        self.places.remove(&gone.target);
        if let Target::Object(key) = &gone.target {
            let dir = directory(key);
            match self.crowds.get_mut(dir) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.crowds.remove(dir)),
            }
        }
        Some(gone)
    }

    /// A directory in which more objects wait than the limit.
    pub(super) fn crowded(&mut self) -> Option<Arc<str>> {
        let limit = self.limit?;
        while let Some(dir) = self.full.pop_first() {
            if self.crowds.get(&dir).is_some_and(|count| *count > limit) {
                return Some(dir);
            }
        }
        None
    }

    /// Takes all that is below a directory.
    pub(super) fn drain_below(&mut self, dir: &str) -> Vec<Waiting> {
        let from = |first: Target| {
            let below =
                |target: &Target| matches!(target, Target::Object(key) | Target::Below(key) if key.starts_with(dir));
            self.places.range(first..).take_while(move |(target, _)| below(target)).map(|(_, place)| *place)
        };
        let places: Vec<u64> =
            from(Target::Object(Arc::from(dir))).chain(from(Target::Below(Arc::from(dir)))).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// The members of a batch of a class, from the front, as many as a request takes; at least one.
    pub(super) fn take(&mut self, class: Class, contract: &Contract) -> Vec<Waiting> {
        let (mut places, mut items, mut bytes) = (Vec::new(), 0, 0);
        for (place, waiting) in &self.waiting {
            if contract.class(&waiting.target) != class {
                continue;
            }
            let weight = contract.weight(&waiting.target, &waiting.versions);
            let fits = items + weight.items <= contract.most(class) && bytes + weight.bytes <= contract.bytes;
            if !places.is_empty() && !fits {
                break;
            }
            (items, bytes) = (items + weight.items, bytes + weight.bytes);
            places.push(*place);
        }
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// The first one, if its place is not beyond `ripe`.
    pub(super) fn first(&self, ripe: u64) -> Option<&Waiting> {
        self.waiting.first_key_value().filter(|(place, _)| **place <= ripe).map(|(_, waiting)| waiting)
    }

    /// The last place that was given.
    pub(super) fn last(&self) -> u64 {
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.since)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.places.contains_key(&Target::Object(Arc::from(key)))
            || self
                .waiting
                .values()
                .any(|waiting| !matches!(waiting.target, Target::Object(_)) && waiting.target.covers(key))
    }
}
