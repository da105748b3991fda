//! Changes that are purged once, when what edges may have fetched meanwhile has reached them. Each target once.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::{Duration, Instant},
};

use super::Waiting;
use crate::cdn::purge::{outbox::Id, target::Target};

/// What changes all the time is purged this often meanwhile: an edge is never older than that for it.
const SETTLE_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Settling {
    targets: BTreeMap<Target, Settler>,
    /// When each is to be looked at.
    order: BTreeSet<(Instant, Target)>,
}

#[derive(Debug)]
struct Settler {
    waiting: Waiting,
    /// When it has settled, unless it changes before.
    due: Instant,
    /// When it first changed since it was purged last.
    first: Instant,
}

impl Settler {
    fn look(&self) -> Instant {
        self.due.min(self.first + SETTLE_MAX)
    }
}

impl Settling {
    /// Keeps a target until `due`, and one that is here already longer. Gives the records that the new one replaces.
    pub(super) fn push(&mut self, new: Waiting, due: Instant) -> Vec<Id> {
        let target = new.target.clone();
        let Some(old) = self.targets.get_mut(&target) else {
            let settler = Settler { due, first: new.since, waiting: new };
            self.order.insert((settler.look(), target.clone()));
            self.targets.insert(target, settler);
            return Vec::new();
        };
        let look = old.look();
        old.waiting.versions.follow(new.versions);
        old.due = due;
        let next = old.look();
        // A change that found no room on the disk is part of the one before.
        let replaced = if new.ids.is_empty() { Vec::new() } else { mem::replace(&mut old.waiting.ids, new.ids) };
        self.order.remove(&(look, target.clone()));
        self.order.insert((next, target));
        replaced
    }

    /// What is to be purged now, once: what has settled, and without its records what goes on changing.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Waiting> {
        let mut taken = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let (_, target) = self.order.pop_first().expect("seen above");
            let Some(settler) = self.targets.get_mut(&target) else { continue };
            if settler.due > now {
                taken.push(Waiting { ids: Vec::new(), twice: false, ..settler.waiting.clone() });
                settler.first = now;
                self.order.insert((settler.look(), target));
            } else if let Some(settler) = self.targets.remove(&target) {
                taken.push(Waiting { twice: false, ..settler.waiting });
            }
        }
        taken
    }

    /// All of it, before its time.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.order.clear();
        mem::take(&mut self.targets).into_values().map(|settler| settler.waiting).collect()
    }

    /// When [`Self::take`] has something.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.targets.values().map(|settler| settler.waiting.since).min()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.targets.contains_key(&Target::Object(key.into()))
    }
}
