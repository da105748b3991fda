//! What one directory holds, as LIST tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::{
    model::{
        key::{Key, Name},
        version::Version,
    },
    store::{PAGE_MAX, Page},
};

/// What the bucket held in one directory when it was asked, with what this host changed since.
#[derive(Clone, Debug)]
pub struct Listing {
    /// When the first request was sent.
    pub asked: Instant,
    /// The same moment by the wall clock, in seconds since 1970.
    pub wall: i64,
    /// Names in order; files with their versions, directories without.
    pub names: BTreeMap<Name, Option<Version>>,
    /// The version of the directory's marker, if it has one.
    pub marker: Option<Version>,
    /// Keys that no path can hold.
    pub hidden: u64,
    /// All pages are here: what is not, is not there.
    whole: bool,
    /// Where the pages that are not here begin.
    rest: Option<Rest>,
    /// Names that this host changed without knowing how it ended.
    unsure: BTreeSet<Name>,
}

/// Where a listing goes on.
#[derive(Clone, Debug)]
struct Rest {
    /// For the bucket.
    token: String,
    /// The last key of the pages so far; of a directory, with its slash.
    last: Key,
}

/// What is at a name, as far as listings tell: a symlink is a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Is {
    Absent,
    File(Version),
    Dir,
}

impl Listing {
    /// Nothing yet; to be filled with the pages of the directory.
    pub fn new(asked: Instant, wall: i64) -> Self {
        Self {
            asked,
            wall,
            names: BTreeMap::new(),
            marker: None,
            hidden: 0,
            whole: false,
            rest: None,
            unsure: BTreeSet::new(),
        }
    }

    /// A directory that was just made, and is as empty as it was absent before.
    pub fn empty(asked: Instant, wall: i64, marker: Version) -> Self {
        Self { marker: Some(marker), whole: true, ..Self::new(asked, wall) }
    }

    /// Takes the next page of the directory whose keys begin with `prefix`.
    pub fn add(&mut self, prefix: &Key, page: Page) {
        let last = page.entries.last().map(|entry| &entry.key).max(page.prefixes.last()).cloned();
        for entry in page.entries {
            if entry.key == *prefix {
                self.marker = Some(entry.version);
                continue;
            }
            match name_below(prefix, entry.key.as_str()) {
                // A directory of the same name wins.
                Some(name) => drop(self.names.entry(name).or_insert(Some(entry.version))),
                None => self.hidden += 1,
            }
        }
        for dir in page.prefixes {
            match name_below(prefix, dir.as_str().strip_suffix('/').unwrap_or(dir.as_str())) {
                Some(name) => drop(self.names.insert(name, None)),
                None => self.hidden += 1,
            }
        }
        self.whole = page.next.is_none();
        // A page without keys has the end of the one before.
        let last = last.or_else(|| self.rest.take().map(|rest| rest.last));
        self.rest = page.next.zip(last).map(|(token, last)| Rest { token, last });
    }

    /// The pages so far of a directory whose keys begin with `prefix`, and what to ask for the next one; `None` where
    /// nothing is missing, or nobody knows how to go on. What this host changed behind their end is left to the pages
    /// that tell of it.
    pub fn resume(&self, prefix: &Key) -> Option<(Self, String)> {
        let Rest { token, last } = self.rest.clone().filter(|_| self.unsure.is_empty())?;
        let mut listing = self.clone();
        listing.names.retain(|name, version| {
            let slash = if version.is_none() { "/" } else { "" };
            format!("{}{}{slash}", prefix.as_str(), name.as_str()).as_str() <= last.as_str()
        });
        Some((listing, token))
    }

    /// There is no such directory.
    pub fn is_nothing(&self) -> bool {
        self.names.is_empty() && self.marker.is_none() && self.hidden == 0
    }

    /// It tells of every name.
    pub fn is_whole(&self) -> bool {
        self.whole && self.unsure.is_empty()
    }

    /// To list it takes more than one request.
    pub fn is_long(&self) -> bool {
        !self.whole || self.names.len() >= usize::from(PAGE_MAX)
    }

    /// There is more, and the bucket can be asked for it.
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// It has all pages of a directory that still has more than the one in `other`.
    pub(super) fn is_all_and_more_than(&self, other: &Self) -> bool {
        self.whole && self.is_long() && !other.whole
    }

    /// What is at `name`; `None` if this does not tell.
    pub fn is(&self, name: &Name) -> Option<Is> {
        if self.unsure.contains(name) {
            return None;
        }
        match self.names.get(name) {
            Some(Some(version)) => Some(Is::File(version.clone())),
            Some(None) => Some(Is::Dir),
            None => self.whole.then_some(Is::Absent),
        }
    }

    /// Records what is at `name` now; `None` if that is not known.
    pub(super) fn set(&mut self, name: Name, is: Option<Is>) {
        match is {
            None => {
                self.unsure.insert(name);
                return;
            }
            Some(Is::Absent) => drop(self.names.remove(&name)),
            Some(Is::File(version)) => drop(self.names.insert(name.clone(), Some(version))),
            Some(Is::Dir) => drop(self.names.insert(name.clone(), None)),
        }
        self.unsure.remove(&name);
    }
}

fn name_below(prefix: &Key, key: &str) -> Option<Name> {
    Name::from_key(key.strip_prefix(prefix.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::version::ETag, store::Entry};

    fn page(files: &[&str], dirs: &[&str], next: Option<&str>) -> Page {
        let version = Version { etag: ETag::new("\"x\""), modified: Some(1), size: 1 };
        let entry = |name: &&str| Entry { key: Key::new(&format!("d/{name}")), version: version.clone() };
        Page {
            entries: files.iter().map(entry).collect(),
            prefixes: dirs.iter().map(|name| Key::new(&format!("d/{name}/"))).collect(),
            next: next.map(str::to_owned),
        }
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.names.keys().map(Name::as_str).collect()
    }

    #[test]
    fn a_listing_goes_on_where_its_pages_end() {
        let (dir, mut listing) = (Key::new("d/"), Listing::new(crate::clock::now(), 0));
        listing.add(&dir, page(&["a", "c"], &["b"], Some("2")));
        let name = |text: &str| Name::from_key(text).unwrap();
        listing.set(name("c"), Some(Is::Absent));
        listing.set(name("ab"), Some(Is::Dir));
        listing.set(name("z"), Some(Is::Dir));
        let (mut more, token) = listing.resume(&dir).unwrap();
        assert_eq!((names(&more), token.as_str()), (vec!["a", "ab", "b"], "2"), "z is for the next page to tell");
        more.add(&dir, page(&[], &[], Some("3")));
        let (mut more, token) = more.resume(&dir).unwrap();
        assert_eq!(token, "3", "a page may be empty");
        more.add(&dir, page(&["d"], &["c"], None));
        assert_eq!(names(&more), ["a", "ab", "b", "c", "d"]);
        assert!(more.is_whole() && !more.has_rest() && more.resume(&dir).is_none());
        listing.set(name("a"), None);
        assert!(listing.resume(&dir).is_none(), "what is unsure is asked for again");
    }

    #[test]
    fn a_directory_sorts_with_its_slash() {
        let (dir, mut listing) = (Key::new("d/"), Listing::new(crate::clock::now(), 0));
        // As keys, "a-b" is before "a/", as names after "a".
        listing.add(&dir, page(&["a-b"], &[], Some("2")));
        listing.set(Name::from_key("a").unwrap(), Some(Is::Dir));
        assert_eq!(names(&listing.resume(&dir).unwrap().0), ["a-b"]);
    }
}
