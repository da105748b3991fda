//! What is to be purged, in which portions a vendor takes it, and what became of a portion.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{
    lane::Waiting,
    outbox::Id,
    rate::{Rate, Size},
    urls::Urls,
    versions::Versions,
};

/// Something that edges are to forget. Keys and prefixes are those of the bucket.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Target {
    Object(Arc<str>),
    /// All below a directory; ends in a slash.
    Below(Arc<str>),
    Tag(Arc<str>),
    /// All that the vendor has of us. Only people ask for it.
    Everything,
}

impl Target {
    /// Whether a purge of this is one of the object.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Self::Object(own) => **own == *key,
            Self::Below(dir) => key.starts_with(&**dir),
            Self::Tag(_) => false,
            Self::Everything => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(key) => f.write_str(key),
            Self::Below(dir) => write!(f, "{dir}*"),
            Self::Tag(tag) => write!(f, "#{tag}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// The directory of a key, with its slash; empty for the uppermost.
pub fn directory(key: &str) -> &str {
    key.rfind('/').map_or("", |at| &key[..=at])
}

/// What can go in one request together.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    Urls,
    Prefixes,
    Tags,
    Everything,
}

/// What a target adds to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Weight {
    pub items: usize,
    pub bytes: usize,
}

/// When a change is purged. What an edge was told just before the change (the old object, or that there is none) it may
/// keep just after a purge that comes at once; so only a purge after the time that a fetch takes is sure to be the last word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rounds {
    /// At once.
    Once,
    /// At once, so that edges are seldom old for longer than a moment, and again after this time, to be sure.
    Twice(Duration),
    /// After this time alone. Where each purge is paid for, the sure one is the one to pay for: the other would double the
    /// price for a few seconds, in which the vendor is still busy with it.
    Late(Duration),
}

/// What a vendor promises and demands, as far as the order and the size of requests go.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an ability of its own")]
pub struct Contract {
    /// Items of a request, at most.
    pub batch: usize,
    /// The same of directories and of tags, where it is less.
    pub below: usize,
    /// Bytes of a request's list, at most.
    pub bytes: usize,
    /// In the form that is sent.
    pub urls: Urls,
    /// Variants of the URL of an object.
    pub variants: usize,
    /// It can purge all below a directory.
    pub prefixes: bool,
    /// It can purge all that it has; who can purge directories can.
    pub whole: bool,
    /// It can purge what has a tag.
    pub tags: bool,
    /// Objects and directories may go in one request.
    pub mixed: bool,
    /// More objects of one directory than that become the directory.
    pub collapse_at: usize,
    /// The directory of the bucket that is mounted, which nothing becomes unless `everything`; ends in a slash or is
    /// empty.
    pub root: Arc<str>,
    pub everything: bool,
    /// Requests under way at once.
    pub parallel: usize,
    pub rates: BTreeMap<Class, Vec<Rate>>,
    pub rounds: Rounds,
    /// Items in a month at most, where they cost money.
    pub budget: Option<u64>,
}

impl Contract {
    pub fn class(&self, target: &Target) -> Class {
        match target {
            Target::Object(_) => Class::Urls,
            Target::Below(_) | Target::Tag(_) if self.mixed => Class::Urls,
            Target::Below(_) => Class::Prefixes,
            Target::Tag(_) => Class::Tags,
            Target::Everything => Class::Everything,
        }
    }

    /// Whether the vendor can do it at all.
    pub fn can(&self, target: &Target) -> bool {
        match target {
            Target::Object(_) => true,
            Target::Below(_) => self.prefixes,
            Target::Everything => self.prefixes || self.whole,
            Target::Tag(_) => self.tags,
        }
    }

    /// Items of a request of that class, at most.
    pub fn most(&self, class: Class) -> usize {
        match class {
            Class::Prefixes | Class::Tags => self.batch.min(self.below),
            Class::Urls | Class::Everything => self.batch,
        }
    }

    pub fn weight(&self, target: &Target, versions: &Versions) -> Weight {
        /// Quotes, commas and a header: what an item has around it.
        const AROUND: usize = 64;
        let of = |items: usize, urls: &[String]| {
            let bytes = urls.iter().map(|url| url.len() + AROUND).sum::<usize>();
            Weight { items: urls.len() * items, bytes: bytes * items }
        };
        match target {
            Target::Object(key) => of(self.variants, &self.urls.expected(key, versions)),
            Target::Below(dir) => of(1, &self.urls.below(dir)),
            Target::Tag(tag) => Weight { items: 1, bytes: tag.len() + AROUND },
            Target::Everything => Weight { items: 1, bytes: AROUND },
        }
    }

    /// Whether a directory may be purged because much in it is: not the whole mount.
    pub fn may_collapse(&self, dir: &str) -> bool {
        self.everything || (dir.len() > self.root.len() && dir.starts_with(&*self.root))
    }
}

/// What goes together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    pub number: u64,
    pub class: Class,
    pub size: Size,
    pub members: Vec<Waiting>,
}

impl Batch {
    pub fn ids(&self) -> Vec<Id> {
        self.members.iter().flat_map(|member| member.ids.iter().copied()).collect()
    }

    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.members.iter().map(|member| &member.target)
    }

    /// With the versions that objects have had.
    pub fn items(&self) -> impl Iterator<Item = (&Target, &Versions)> {
        self.members.iter().map(|member| (&member.target, &member.versions))
    }
}

/// What a vendor's answer means. The text is for people and has no secrets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is purged, or was not there.
    Done,
    /// Too much at once; again after this time, if the vendor says one.
    Busy(Option<Duration>, String),
    /// It did not work this time.
    Failed(String),
    /// It will not work before somebody changes something: credentials, permissions, a zone that is not there.
    Refused(String),
    /// Something in it makes no sense to the vendor.
    Bad(String),
}
