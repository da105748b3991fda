//! The end of the local copy.

use std::{io, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    Adopter, Seen,
    shelf::hash,
    tree::{Found, Tree},
};
use crate::{
    error::{Error, Result},
    model::{
        attr::Kind,
        key::CONTROL,
        patterns::{Patterns, Scope},
    },
    store::Store,
};

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Released {
    pub files: u64,
    pub bytes: u64,
    pub directories: u64,
    /// Names that stay: not proven, changed since, or local-only.
    pub kept: u64,
}

impl<S: Store> Adopter<S> {
    /// Deletes every file of which `seen` says that the bucket has it as it is now, and the directories that are empty
    /// then. `seen` must come from [`Work::Prove`](super::Work::Prove).
    pub async fn release(&self, seen: Seen) -> Result<Released> {
        let (tree, patterns) = (Arc::clone(&self.tree), self.options.patterns.clone());
        let prune = move || {
            let mut pruner = Pruner { tree: &tree, seen: &seen, patterns: &patterns, released: Released::default() };
            pruner.prune("").map(|()| pruner.released)
        };
        Ok(spawn_blocking(prune).await.map_err(Error::unavailable)??)
    }
}

struct Pruner<'a> {
    tree: &'a Tree,
    seen: &'a Seen,
    patterns: &'a Patterns,
    released: Released,
}

impl Pruner<'_> {
    /// Works on everything in a directory. As deep as a key has slashes at most, which are 512.
    fn prune(&mut self, dir: &str) -> io::Result<()> {
        for (name, found) in self.tree.list(dir)? {
            let path = match (dir, name.to_str()) {
                (_, None) => {
                    self.released.kept += 1;
                    continue;
                }
                ("", Some(CONTROL)) => continue,
                ("", Some(name)) => name.to_owned(),
                (dir, Some(name)) => format!("{dir}/{name}"),
            };
            if self.patterns.scope(&path) == Scope::Local || !self.tree.has(&found) {
                self.released.kept += 1;
            } else if found.attr.kind == Kind::Dir {
                self.prune_dir(&path)?;
            } else {
                self.prune_file(&path, &found)?;
            }
        }
        Ok(())
    }

    fn prune_dir(&mut self, path: &str) -> io::Result<()> {
        let gone = |released: &Released| released.files + released.directories;
        let before = gone(&self.released);
        self.prune(path)?;
        // The bucket has it, or what was in it.
        let there = self.seen.contains_key(&hash(&*format!("{path}/"))) || gone(&self.released) > before;
        if there && self.tree.remove_dir(path)? {
            self.released.directories += 1;
        }
        Ok(())
    }

    fn prune_file(&mut self, path: &str, found: &Found) -> io::Result<()> {
        let proven = self.seen.get(&hash(path)).is_some_and(|known| known.is_of(found));
        if proven && self.tree.remove(path, &found.stamp)? {
            self.released.files += 1;
            self.released.bytes += found.attr.size;
        } else {
            self.released.kept += 1;
        }
        Ok(())
    }
}
