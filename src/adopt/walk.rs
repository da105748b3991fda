//! Everything below a directory, one by one, and where it belongs.

use std::io;

use super::{
    shelf::{Shelf, hash},
    tree::{Found, Tree},
};
use crate::{
    config::{FsOptions, Perms},
    error::Error,
    model::{
        attr::Kind,
        key::{CONTROL, KEY_MAX, Name, Prefix},
        patterns::Scope,
    },
};

/// Something in the directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// Below the directory; as far as it is text.
    pub path: String,
    pub what: What,
}

/// Where it belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// An object: a file, a symbolic link, or with stored permissions a special file.
    Object(Found),
    /// A directory. `marked`: it needs an object of its own, because nothing below it is one, or because its permissions
    /// are stored.
    Dir { found: Found, marked: bool },
    /// A name that stays on this host (`local=`), with all below it.
    Local,
    /// The bucket has a file where this is a directory.
    Taken,
    /// No mount could show it, or keep it.
    Unfit(&'static str),
}

/// How to walk.
#[derive(Clone, Debug)]
pub struct Walk {
    pub options: FsOptions,
    pub prefix: Prefix,
    /// Decides the order: two hosts with different ones seldom want to upload the same file at the same time.
    pub seed: u64,
}

impl Walk {
    /// Gives every item to `each` until that is false. A directory comes before what is below it; that it cannot be read
    /// is an error, and that it is gone is none.
    pub fn run(&self, tree: &Tree, listing: &Shelf, mut each: impl FnMut(Item) -> bool) -> io::Result<()> {
        let mut todo = vec![String::new()];
        while let Some(dir) = todo.pop() {
            let mut names = match tree.list(&dir) {
                Ok(names) => names,
                Err(err) if err.kind() == io::ErrorKind::NotFound && !dir.is_empty() => continue,
                Err(err) => return Err(io::Error::new(err.kind(), format!("/{dir}: {err}"))),
            };
            names.sort_by_key(|(name, _)| hash(&(self.seed, name)));
            for (name, found) in names {
                if dir.is_empty() && name == CONTROL {
                    continue;
                }
                let path = join(&dir, &name.to_string_lossy());
                let what = match name.to_str() {
                    Some(_) => self.place(tree, listing, &path, &found),
                    None => What::Unfit("its name is not UTF-8"),
                };
                if matches!(what, What::Dir { .. }) {
                    todo.push(path.clone());
                }
                if !each(Item { path, what }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn place(&self, tree: &Tree, listing: &Shelf, path: &str, found: &Found) -> What {
        let is_dir = found.attr.kind == Kind::Dir;
        let name = path.rsplit('/').next().unwrap_or(path);
        if self.options.patterns.scope(path) == Scope::Local {
            return What::Local;
        }
        match Name::parse(name.as_ref()) {
            Ok(_) if self.prefix.as_str().len() + path.len() + usize::from(is_dir) <= KEY_MAX => {}
            Ok(_) | Err(Error::NameTooLong) => return What::Unfit("the key would be too long"),
            Err(_) => return What::Unfit("no key can hold its name"),
        }
        if !tree.has(found) {
            return What::Unfit("another file system is mounted here");
        }
        if found.attr.kind.is_special() && self.options.perms == Perms::Uniform {
            return What::Unfit("neither a file, a directory nor a symbolic link: perms=uniform keeps none of these");
        }
        if !is_dir {
            return What::Object(*found);
        }
        // An empty one may stand for the directory, as some programs write it.
        if !listing.is_dir(path) && listing.get(path).is_some_and(|listed| listed.size > 0) {
            return What::Taken;
        }
        let marked = self.options.perms == Perms::Stored || self.is_bare(tree, path);
        What::Dir { found: *found, marked }
    }

    /// Whether nothing in a directory becomes an object or a directory of the bucket.
    fn is_bare(&self, tree: &Tree, dir: &str) -> bool {
        let keeps = |name: &str, found: &Found| {
            let path = join(dir, name);
            let kept = !found.attr.kind.is_special() && tree.has(found) && Name::parse(name.as_ref()).is_ok();
            kept && path.len() < KEY_MAX && self.options.patterns.scope(&path) != Scope::Local
        };
        let names = tree.list(dir).unwrap_or_default();
        !names.iter().any(|(name, found)| name.to_str().is_some_and(|name| keeps(name, found)))
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}
