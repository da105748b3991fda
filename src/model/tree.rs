//! The names that the kernel knows, and the nodes behind them.
//!
//! A node lives while the kernel holds it (`lookups`), somebody has it open (`opens`), or a child needs it as parent.
//! A node without a place is an orphan: unlinked, or replaced by another version while it was open. It keeps serving
//! those who hold it; its former name may mean another node by then.

use std::collections::{HashMap, hash_map};

use crate::model::{
    attr::Kind,
    key::{KEY_MAX, Key, Name, Prefix},
};

/// The kernel's name for a node: `hash(key)` at the birth of the node, perturbed if that is taken. Never 0; the root
/// is 1. It stays when the node is renamed; `st_ino` follows the key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub u64);

impl NodeId {
    pub const ROOT: Self = Self(1);
}

/// One file, directory or symlink, with what the file system knows of it.
#[derive(Debug)]
pub struct Node<P> {
    /// Parent and name; `None` for the root and for orphans.
    pub place: Option<(NodeId, Name)>,
    pub kind: Kind,
    /// References that the kernel holds.
    pub lookups: u64,
    /// Open handles.
    pub opens: u32,
    children: u32,
    pub payload: P,
}

/// All nodes. Payloads are the caller's.
#[derive(Debug)]
pub struct Tree<P> {
    prefix: Prefix,
    nodes: HashMap<NodeId, Node<P>>,
    names: HashMap<NodeId, HashMap<Name, NodeId>>,
}

impl<P> Tree<P> {
    pub fn new(prefix: Prefix, root: P) -> Self {
        let node = Node { place: None, kind: Kind::Dir, lookups: 1, opens: 0, children: 0, payload: root };
        Self { prefix, nodes: HashMap::from([(NodeId::ROOT, node)]), names: HashMap::new() }
    }

    pub fn get(&self, id: NodeId) -> Option<&Node<P>> {
        self.nodes.get(&id)
    }

    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node<P>> {
        self.nodes.get_mut(&id)
    }

    pub fn child(&self, parent: NodeId, name: &Name) -> Option<NodeId> {
        self.names.get(&parent)?.get(name).copied()
    }

    /// The children that are known; not what the directory holds.
    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = (&Name, NodeId)> {
        self.names.get(&parent).into_iter().flatten().map(|(name, &id)| (name, id))
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        false // the root is always there
    }

    /// The key of a node, without a slash at its end: `None` for orphans and what lies below them. For the root it is
    /// the prefix less its slash.
    pub fn key(&self, id: NodeId) -> Option<Key> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let (parent, name) = self.nodes.get(&at)?.place.as_ref()?;
            names.push(name.as_str());
            at = *parent;
        }
        let mut raw = self.prefix.as_str().to_owned();
        for name in names.into_iter().rev() {
            raw.push_str(name);
            raw.push('/');
        }
        raw.pop();
        Some(Key::new(&raw))
    }

    /// The key that `name` below `parent` has. `Err(true)`: too long for a key; `Err(false)`: `parent` has no place.
    pub fn child_key(&self, parent: NodeId, name: &Name) -> Result<Key, bool> {
        let dir = self.key(parent).ok_or(false)?;
        let key = if dir.as_str().is_empty() {
            Key::new(name.as_str())
        } else {
            Key::new(&format!("{dir}/{}", name.as_str()))
        };
        // One byte is left for the slash of a marker.
        if key.as_str().len() < KEY_MAX { Ok(key) } else { Err(true) }
    }

    /// Gives `name` a new node, which must have none. The id is `ino`, or the next free number after it. `None`: the
    /// parent is gone.
    pub fn attach(&mut self, parent: NodeId, name: Name, ino: u64, kind: Kind, payload: P) -> Option<NodeId> {
        self.nodes.get_mut(&parent)?.children += 1;
        let mut id = NodeId(ino);
        while id.0 <= NodeId::ROOT.0 || self.nodes.contains_key(&id) {
            id = NodeId(id.0.wrapping_add(1));
        }
        let place = Some((parent, name.clone()));
        self.nodes.insert(id, Node { place, kind, lookups: 0, opens: 0, children: 0, payload });
        let former = self.names.entry(parent).or_default().insert(name, id);
        debug_assert!(former.is_none(), "attach over a name that is taken");
        Some(id)
    }

    /// Takes the name from a node. The node stays as an orphan while somebody holds it. Gives its payload if not.
    pub fn detach(&mut self, id: NodeId) -> Option<P> {
        let (parent, name) = self.nodes.get_mut(&id)?.place.take()?;
        self.remove_name(parent, &name);
        let gone = self.reap(id);
        self.reap(parent);
        gone
    }

    /// Moves a node to another place, which must be free and not below the node itself.
    pub fn rename(&mut self, id: NodeId, parent: NodeId, name: Name) {
        let node = self.nodes.get_mut(&id).expect("renamed nodes are in the tree");
        let former = node.place.replace((parent, name.clone()));
        self.names.entry(parent).or_default().insert(name, id);
        self.nodes.get_mut(&parent).expect("the parent is in the tree").children += 1;
        if let Some((old, name)) = former {
            self.remove_name(old, &name);
            self.reap(old);
        }
    }

    /// Drops a node that nobody holds, and its ancestors that only it held. Gives the payload of `id` if it went.
    pub fn reap(&mut self, id: NodeId) -> Option<P> {
        let node = self.nodes.get(&id)?;
        if id == NodeId::ROOT || node.lookups > 0 || node.opens > 0 || node.children > 0 {
            return None;
        }
        let node = self.nodes.remove(&id).expect("found above");
        self.names.remove(&id);
        if let Some((parent, name)) = node.place {
            self.remove_name(parent, &name);
            self.reap(parent);
        }
        Some(node.payload)
    }

    /// Whether `id` is `above` or lies below it.
    pub fn is_below(&self, id: NodeId, above: NodeId) -> bool {
        let mut at = id;
        loop {
            if at == above {
                return true;
            }
            match self.nodes.get(&at).and_then(|node| node.place.as_ref()) {
                Some((parent, _)) => at = *parent,
                None => return false,
            }
        }
    }

    /// Every node, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node<P>)> {
        self.nodes.iter().map(|(&id, node)| (id, node))
    }

    fn remove_name(&mut self, parent: NodeId, name: &Name) {
        if let hash_map::Entry::Occupied(mut names) = self.names.entry(parent) {
            names.get_mut().remove(name);
            if names.get().is_empty() {
                names.remove();
            }
        }
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.children = node.children.saturating_sub(1);
        }
    }

    /// Every name has a node that knows it, and the counts of children are right.
    pub fn check(&self) {
        for (parent, names) in &self.names {
            assert_eq!(self.nodes[parent].children as usize, names.len(), "children of {parent:?}");
            for (name, id) in names {
                assert_eq!(self.nodes[id].place.as_ref(), Some(&(*parent, name.clone())), "place of {id:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(OsStr::new(text)).unwrap()
    }

    fn tree() -> Tree<u32> {
        Tree::new(Prefix::parse("site").unwrap(), 0)
    }

    #[test]
    fn keys_follow_a_renamed_directory() {
        let mut tree = tree();
        let dir = tree.attach(NodeId::ROOT, name("a"), 10, Kind::Dir, 1).unwrap();
        let file = tree.attach(dir, name("f"), 11, Kind::File, 2).unwrap();
        tree.rename(dir, NodeId::ROOT, name("b"));
        assert_eq!(tree.key(file), Some(Key::new("site/b/f")));
        assert_eq!(tree.child(NodeId::ROOT, &name("a")), None);
    }

    #[test]
    fn orphan_keeps_its_id_while_held() {
        let mut tree = tree();
        let old = tree.attach(NodeId::ROOT, name("f"), 10, Kind::File, 1).unwrap();
        tree.get_mut(old).unwrap().opens = 1;
        assert_eq!(tree.detach(old), None);
        let new = tree.attach(NodeId::ROOT, name("f"), 10, Kind::File, 2).unwrap();
        assert_ne!(old, new);
        assert_eq!(tree.key(old), None);
        tree.get_mut(old).unwrap().opens = 0;
        assert_eq!(tree.reap(old), Some(1));
        assert_eq!(tree.child(NodeId::ROOT, &name("f")), Some(new));
    }

    #[test]
    fn a_parent_that_is_gone_gets_no_child() {
        let mut tree = tree();
        let dir = tree.attach(NodeId::ROOT, name("a"), 10, Kind::Dir, 1).unwrap();
        assert_eq!(tree.reap(dir), Some(1));
        assert_eq!(tree.attach(dir, name("f"), 11, Kind::File, 2), None);
        assert_eq!((tree.len(), tree.get(NodeId(11)).is_none()), (1, true));
        tree.check();
    }

    #[test]
    fn long_keys_are_refused() {
        let tree = tree();
        assert!(tree.child_key(NodeId::ROOT, &name(&"x".repeat(255))).is_ok());
        let deep: String = vec!["y".repeat(250); 4].join("/");
        let tree: Tree<()> = Tree::new(Prefix::parse(&deep).unwrap(), ());
        assert_eq!(tree.child_key(NodeId::ROOT, &name(&"x".repeat(60))), Err(true));
    }

    proptest! {
        #[test]
        fn stays_consistent(steps in prop::collection::vec((0..4_u8, 0..6_u64, 0..6_u64, 0..3_u8), 0..80)) {
            let mut tree = tree();
            let mut ids = vec![NodeId::ROOT];
            for (step, a, b, n) in steps {
                let (a, b) = (ids[usize::try_from(a).unwrap() % ids.len()], ids[usize::try_from(b).unwrap() % ids.len()]);
                let name = name(&format!("n{n}"));
                match step {
                    0 if tree.child(a, &name).is_none() => {
                        let there = tree.get(a).is_some();
                        let new = tree.attach(a, name, u64::from(n), Kind::Dir, 0);
                        prop_assert_eq!(new.is_some(), there);
                        ids.extend(new);
                    }
                    1 if a != NodeId::ROOT => drop(tree.detach(a)),
                    2 if a != NodeId::ROOT && tree.get(a).is_some() && tree.get(b).is_some()
                        && !tree.is_below(b, a) && tree.child(b, &name).is_none() => tree.rename(a, b, name),
                    3 => drop(tree.reap(a)),
                    _ => {}
                }
                tree.check();
            }
        }
    }
}
