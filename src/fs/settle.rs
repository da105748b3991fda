//! Answers of the bucket become the tree.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Fs, Payload,
    ask::Hint,
    known::{Answer, Known, Seen},
    lock,
    types::{Found, Invalidation, NodeId, Stat},
};
use crate::{
    clock,
    error::{Error, Result},
    freshness::{Freshness, listing::Is, serves},
    model::{
        attr::{Attr, Kind},
        key::{Key, Name},
        tree::{Node, Tree},
    },
    store::Store,
};

/// What a name is, as far as the tree knows.
pub(super) enum Asking {
    /// This needs no request.
    Known(NodeId),
    Ask(Key, Hint),
}

impl<S: Store> Fs<S> {
    /// The node at `name`, asked for unless it is dirty here. Fails with `NotFound` if there is none.
    pub(super) async fn resolve(&self, parent: NodeId, name: &Name) -> Result<NodeId> {
        loop {
            if let Some(id) = self.look_here(parent, name)? {
                return Ok(id);
            }
            let (key, hint) = match self.asking(parent, name)? {
                Asking::Known(id) => return Ok(id),
                Asking::Ask(key, hint) => (key, hint),
            };
            let stamp = self.fences.stamp(&key).await;
            let answer = self.look(key.clone(), hint).await?;
            let mut tree = self.tree();
            if self.fences.holds(stamp) && tree.key(parent).is_some() {
                return self.settle(&mut tree, parent, name, &key, &answer).ok_or(Error::NotFound);
            }
        }
    }

    pub(super) fn asking(&self, parent: NodeId, name: &Name) -> Result<Asking> {
        let tree = self.tree();
        let key = child_key(&tree, parent, name)?;
        let Some(id) = tree.child(parent, name) else { return Ok(Asking::Ask(key, Hint::Unknown)) };
        let node = tree.get(id).expect("children are in the tree");
        if node.payload.is_local() {
            return Ok(Asking::Known(id));
        }
        Ok(Asking::Ask(key, Hint::of(node.kind, &node.payload.known)))
    }

    /// Puts an answer into the tree. Gives the node that has the name afterwards.
    pub(super) fn settle(
        &self,
        tree: &mut Tree<Payload>,
        parent: NodeId,
        name: &Name,
        key: &Key,
        answer: &Answer,
    ) -> Option<NodeId> {
        if let Some(is) = is(&answer.seen) {
            self.views.learn(key, answer.asked, is);
        }
        let new = Known::of(&self.options, answer);
        self.tell_nonsense(key, answer);
        let Some(id) = tree.child(parent, name) else {
            let new = new?;
            return tree.attach(parent, name.clone(), key.ino(), new.attr.kind, Payload::new(new));
        };
        let node = tree.get_mut(id).expect("children are in the tree");
        if node.payload.is_local() || node.payload.known.asked > Some(answer.asked) {
            return Some(id);
        }
        if let Seen::Same(version) = &answer.seen {
            // The version is what the question was asked with; if the node has another by now, so be it.
            if node.payload.known.version.as_ref().is_some_and(|known| known.same(version)) {
                node.payload.known.asked = node.payload.known.asked.map(|_| answer.asked);
            }
            return Some(id);
        }
        let Some(new) = new else {
            if self.has_local(tree, id) {
                return Some(id);
            }
            self.orphan(tree, id, key);
            return None;
        };
        // The kernel takes the number of a device once, so another one is another node.
        let same_kind = node.kind == new.attr.kind && node.payload.known.attr.rdev == new.attr.rdev;
        if same_kind && (node.kind == Kind::Dir || same_bytes(node, &new) || node.opens == 0) {
            self.update(id, node, new);
            return Some(id);
        }
        if self.has_local(tree, id) {
            return Some(id);
        }
        self.orphan(tree, id, key);
        tree.attach(parent, name.clone(), key.ino(), new.attr.kind, Payload::new(new))
    }

    fn update(&self, id: NodeId, node: &mut Node<Payload>, new: Known) {
        let known = &node.payload.known;
        let changed = known.asked.is_some() && (known.attr != new.attr || !same_bytes(node, &new));
        node.payload.known = new;
        if node.opens == 0 {
            node.payload.file = None;
        }
        if changed && node.lookups > 0 {
            self.announce(Invalidation::Attr(id));
        }
    }

    /// Whether this host has anything at or below a node that the bucket does not have.
    pub(super) fn has_local(&self, tree: &Tree<Payload>, id: NodeId) -> bool {
        let own = tree.get(id).is_some_and(|node| node.payload.own);
        own || self.locals.load(Ordering::Acquire) > 0 && any_local(tree, id)
    }

    /// Drops a node that an answer brought and nobody holds; what it says is remembered.
    pub(super) fn tidy(&self, tree: &mut Tree<Payload>, id: NodeId) {
        let key = tree.key(id);
        if let (Some(payload), Some(key)) = (tree.reap(id), key) {
            self.remember(key, payload.known);
        }
    }

    /// Takes the name from a node: gone from the bucket, or another version while it is open.
    pub(super) fn orphan(&self, tree: &mut Tree<Payload>, id: NodeId, key: &Key) {
        lock(&self.memory).pop(key);
        if let Some(node) = tree.get(id)
            && let Some((parent, name)) = node.place.clone()
        {
            if let Some(file) = &node.payload.file {
                file.lose_name((parent, name.clone()));
            }
            // Where the kernel asks for a name each time, telling it is of no use, and never without risk: it takes the lock
            // of the directory, perhaps that of somebody whose request has not been heard yet, and whoever is killed
            // while it waits for that stays, with all who wait for an answer.
            if node.lookups > 0 && !self.name_ttl(node.kind, Duration::MAX).is_zero() {
                self.announce(Invalidation::Entry { parent, name });
            }
        }
        drop(tree.detach(id));
    }

    /// How long the kernel may take a name for that of a node without asking, if attributes last for `left` more.
    fn name_ttl(&self, kind: Kind, left: Duration) -> Duration {
        match (self.options.freshness, kind) {
            // Every open of a file comes with its own lookup, so that the two share one request and no more.
            (Freshness::Open { .. }, kind) if kind != Kind::Dir => Duration::ZERO,
            (freshness, _) => left.min(freshness.stat_age()),
        }
    }

    /// The reply to a lookup, which it counts.
    pub(super) fn found(&self, tree: &mut Tree<Payload>, id: NodeId) -> Option<Found> {
        let stat = stat(tree, id)?;
        let node = tree.get_mut(id)?;
        node.lookups += 1;
        let left = self.left(node, clock::now());
        let entry_ttl = self.name_ttl(node.kind, left);
        let attr_ttl = if id.0 == stat.ino { left } else { Duration::ZERO };
        Some(Found { id, stat, attr_ttl, entry_ttl })
    }

    /// How long the attributes of a node may still be shown.
    pub(super) fn left(&self, node: &Node<Payload>, now: Instant) -> Duration {
        let age = self.options.freshness.stat_age();
        if node.payload.is_local() {
            return age;
        }
        let asked = node.payload.known.asked;
        asked.map_or(Duration::ZERO, |asked| age.saturating_sub(now.saturating_duration_since(asked)))
    }
}

/// Whether what is known of a node may be shown without asking, if it may be `age` old.
pub(super) fn is_fresh(node: &Node<Payload>, age: Duration, now: Instant) -> bool {
    node.payload.is_local() || node.payload.known.asked.is_some_and(|asked| serves(asked, now, age))
}

/// What stat(2) shows of a node. An orphan keeps the number of its node.
pub(super) fn stat(tree: &Tree<Payload>, id: NodeId) -> Option<Stat> {
    let attr: Attr = tree.get(id)?.payload.known.attr;
    let (ino, nlink) = match tree.key(id) {
        _ if id == NodeId::ROOT => (NodeId::ROOT.0, 1),
        Some(key) => (key.ino(), 1),
        None => (id.0, 0),
    };
    Some(Stat { ino, nlink, attr })
}

/// The key of a name, if it can have one.
pub(super) fn child_key(tree: &Tree<Payload>, parent: NodeId, name: &Name) -> Result<Key> {
    match tree.get(parent) {
        Some(node) if node.kind != Kind::Dir => return Err(Error::NotDir),
        Some(_) => {}
        None => return Err(Error::Stale),
    }
    tree.child_key(parent, name).map_err(|too_long| if too_long { Error::NameTooLong } else { Error::Stale })
}

/// What a view is to know of an answer, if it is news.
fn is(seen: &Seen) -> Option<Is> {
    match seen {
        Seen::Absent => Some(Is::Absent),
        Seen::File(object) => Some(Is::File(object.version.clone())),
        Seen::Dir(_) => Some(Is::Dir),
        Seen::Same(_) => None,
    }
}

fn same_bytes(node: &Node<Payload>, new: &Known) -> bool {
    match (&node.payload.known.version, &new.version) {
        (Some(known), Some(new)) => known.same_content(new),
        (known, new) => known.is_none() && new.is_none(),
    }
}

fn any_local(tree: &Tree<Payload>, id: NodeId) -> bool {
    tree.get(id).is_some_and(|node| node.payload.is_local())
        || tree.children(id).any(|(_, child)| any_local(tree, child))
}
