//! What the kernel asks most: what a name leads to.

use std::{ffi::OsStr, sync::Arc};

use super::{
    Fs, Payload,
    known::Known,
    lock,
    names::parse,
    settle::{Asking, child_key, is_fresh},
    tickets::Place,
    types::{Caller, Found, NodeId},
};
use crate::{
    clock,
    config::Attrs,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        key::{Key, Name},
        tree::Tree,
    },
    store::Store,
};

impl<S: Store> Fs<S> {
    /// Answers from memory, or `None`.
    pub fn try_lookup(&self, parent: NodeId, name: &OsStr, caller: Caller) -> Option<Result<Found>> {
        let name = match parse(parent, name) {
            Ok(name) => name,
            Err(err) => return Some(Err(absent_if_bad(err))),
        };
        let mut tree = self.tree();
        let id = tree.child(parent, &name)?;
        let node = tree.get(id).expect("children are in the tree");
        // The disk knows, and may have to be waited for.
        if node.payload.own {
            return None;
        }
        let now = clock::now();
        if !is_fresh(node, self.options.freshness.stat_age(), now) && !self.tickets.reopens(caller.tid, id, now) {
            return None;
        }
        let found = self.found(&mut tree, id)?;
        self.tickets.found(caller.tid, &found, None, now, |place| leads(&tree, place, parent, &name, id));
        Some(Ok(found))
    }

    pub async fn lookup(self: &Arc<Self>, parent: NodeId, name: &OsStr, caller: Caller) -> Result<Found> {
        let found = self.walk(parent, name, caller).await;
        if let Err(err) = &found {
            self.tickets.failed(caller.tid, matches!(err, Error::Stale), clock::now());
        }
        found
    }

    async fn walk(self: &Arc<Self>, parent: NodeId, name: &OsStr, caller: Caller) -> Result<Found> {
        let raw = name;
        let name = parse(parent, name).map_err(absent_if_bad)?;
        if self.recall(parent, &name)
            && let Some(found) = self.try_lookup(parent, raw, caller)
        {
            self.passed(parent, raw);
            return found;
        }
        let (mut waited, began) = (false, clock::now());
        loop {
            let id = match (self.look_here(parent, &name)?, self.asking(parent, &name)) {
                (Some(id), _) | (None, Ok(Asking::Known(id))) => id,
                (None, Ok(Asking::Ask(key, _))) => {
                    if let Some(found) = self.going(parent, &name, &key) {
                        return Ok(self.looked(found, parent, &name, caller));
                    }
                    if !waited && self.ask_ahead(&key).await {
                        waited = true;
                        self.recall(parent, &name);
                        if let Some(found) = self.try_lookup(parent, raw, caller) {
                            return found;
                        }
                    }
                    self.resolve(parent, &name).await?
                }
                (None, Err(err)) => return Err(err),
            };
            let mut tree = self.tree();
            if let Some(found) = self.found(&mut tree, id) {
                let now = clock::now();
                self.tickets
                    .found(caller.tid, &found, Some(began), now, |place| leads(&tree, place, parent, &name, id));
                return Ok(found);
            }
        }
    }

    /// Notes for the rest of the system call that `found` was answered without a question.
    fn looked(&self, found: Found, parent: NodeId, name: &Name, caller: Caller) -> Found {
        let tree = self.tree();
        self.tickets.found(caller.tid, &found, None, clock::now(), |place| leads(&tree, place, parent, name, found.id));
        found
    }

    /// Gives a name that the kernel forgot its node again, if it is remembered.
    fn recall(&self, parent: NodeId, name: &Name) -> bool {
        let mut tree = self.tree();
        let Ok(key) = child_key(&tree, parent, name) else { return false };
        if tree.child(parent, name).is_some() {
            return false;
        }
        let remembered = lock(&self.memory).pop(&key);
        let listed = self.listed(&tree, parent, name, &key);
        let newer = |known: &Known| listed.as_ref().is_none_or(|listed| listed.asked < known.asked);
        let Some(known) = remembered.filter(newer).or(listed) else { return false };
        tree.attach(parent, name.clone(), key.ino(), known.attr.kind, Payload::new(known));
        true
    }

    /// With attrs=list: what the latest listing tells of a file that nobody is changing here.
    fn listed(&self, tree: &Tree<Payload>, parent: NodeId, name: &Name, key: &Key) -> Option<Known> {
        if self.options.attrs != Attrs::List || self.fences.is_up(key) {
            return None;
        }
        let view = self.views.get(&tree.key(parent)?)?;
        let Some(Is::File(version)) = view.is(name) else { return None };
        // This host made it since, and the bucket has not said when.
        version.modified?;
        Some(Known::listed(&self.options, &version, (view.asked, view.wall)))
    }

    /// The kernel gives back `lookups` references. Saturating: a successor may not know of all.
    pub fn forget(&self, id: NodeId, lookups: u64) {
        let mut tree = self.tree();
        let key = tree.key(id);
        let Some(node) = tree.get_mut(id) else { return };
        node.lookups = node.lookups.saturating_sub(lookups);
        if let (Some(payload), Some(key)) = (tree.reap(id), key) {
            self.remember(key, payload.known);
        }
    }
}

/// Whether `place` is the name that was looked up and found as `id`, or may be below it.
fn leads(tree: &Tree<Payload>, place: &Place, parent: NodeId, name: &Name, id: NodeId) -> bool {
    tree.is_below(place.0, id) || place.0 == parent && place.1 == *name
}

/// A name that no key can hold is certainly absent.
fn absent_if_bad(err: Error) -> Error {
    match err {
        Error::BadName | Error::NotPermitted => Error::NotFound,
        err => err,
    }
}
