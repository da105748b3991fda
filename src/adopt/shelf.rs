//! What the bucket has, in few bytes for each object.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher as _},
};

use super::mark::Mark;
use crate::{
    error::Result,
    model::key::{CONTROL, Prefix},
    store::{List, Store},
};

/// One listing of everything below a prefix: about 50 bytes for each object.
///
/// Names are kept as hashes. Two names with the same hash would take one for the other; what follows from that is a
/// comparison of bytes that are not the same, never a wrong equality.
#[derive(Debug, Default)]
pub struct Shelf {
    objects: HashMap<u64, Listed>,
    dirs: HashSet<u64>,
}

/// What a listing tells of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Bytes.
    pub size: u64,
    pub mark: Mark,
}

impl Shelf {
    pub async fn list<S: Store>(store: &S, prefix: &Prefix) -> Result<Self> {
        let mut shelf = Self::default();
        let (mut token, mut last) = (None, String::new());
        loop {
            let page = List { prefix: prefix.as_str().to_owned(), token, ..List::default() };
            let page = store.list(page).await?;
            for entry in page.entries {
                let path = entry.key.as_str().strip_prefix(prefix.as_str()).unwrap_or_default();
                if path.is_empty() || path.split('/').next() == Some(CONTROL) {
                    continue;
                }
                let listed = Listed { size: entry.version.size, mark: Mark::of(&entry.version.etag) };
                shelf.objects.insert(hash(path), listed);
                let above = path.rfind('/').map_or("", |at| &path[..at]);
                if above != last {
                    let ends = above.match_indices('/').map(|(at, _)| at).chain([above.len()]);
                    shelf.dirs.extend(ends.map(|end| hash(&above[..end])));
                    above.clone_into(&mut last);
                }
            }
            token = page.next;
            if token.is_none() {
                return Ok(shelf);
            }
        }
    }

    /// The object at a path below the prefix.
    pub fn get(&self, path: &str) -> Option<Listed> {
        self.objects.get(&hash(path)).copied()
    }

    /// Whether anything is below a path, its marker included.
    pub fn is_dir(&self, path: &str) -> bool {
        self.dirs.contains(&hash(path))
    }
}

/// The same in every run.
pub fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        model::key::Key,
        store::{Headers, Require, memory::MemoryStore},
    };

    #[tokio::test]
    async fn objects_and_directories_below_the_prefix() {
        let store = MemoryStore::default();
        for key in ["p/a", "p/b/c/d", "p/e/", "p/.originfs/x", "q/a"] {
            store.put(&Key::new(key), Bytes::from_static(b"x"), &Headers::default(), Require::Anything).await.unwrap();
        }
        let shelf = Shelf::list(&store, &Prefix::parse("p").unwrap()).await.unwrap();
        let listed = Listed { size: 1, mark: Mark::of_bytes(b"x") };
        assert_eq!((shelf.get("a"), shelf.get("b/c/d"), shelf.get("q/a")), (Some(listed), Some(listed), None));
        assert_eq!(
            ["a", "b", "b/c", "b/c/d", "e", ".originfs"].map(|path| shelf.is_dir(path)),
            [false, true, true, false, true, false]
        );
    }
}
