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
    /// Names that this host changed without knowing how it ended.
    unsure: BTreeSet<Name>,
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
        Self { asked, wall, names: BTreeMap::new(), marker: None, hidden: 0, whole: false, unsure: BTreeSet::new() }
    }

    /// A directory that was just made, and is as empty as it was absent before.
    pub fn empty(asked: Instant, wall: i64, marker: Version) -> Self {
        Self { marker: Some(marker), whole: true, ..Self::new(asked, wall) }
    }

    /// Takes the next page of the directory whose keys begin with `prefix`.
    pub fn add(&mut self, prefix: &Key, page: Page) {
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
