//! How often files are replaced, and how soon: what tells how long a cache may keep them. Pure, but for the file that it is
//! kept in.
//!
//! Files are told apart by the directory below the mount point that they are in, and by their extension; that is how
//! applications differ in what they write anew.

use std::{collections::BTreeMap, fmt, io, ops::AddAssign, path::Path};

use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::{
    day::{Day, SECONDS},
    lines,
};

/// The file of a mount, in its cache directory.
pub const FILE: &str = "changes.jsonl";
/// Months that are kept: at 150 bytes for each class, 500 KB.
pub const MONTHS_MAX: usize = 13;
/// Classes of one month with a directory of their own; then all directories are one.
const DIRS_MAX: usize = 192;
/// Classes of one month in all, but for the one that takes the rest.
const CLASSES_MAX: usize = 256;
/// The longest extension in bytes that counts as one.
const EXTENSION_MAX: usize = 10;
/// Ages in seconds up to which replaced versions are counted: a minute, five, an hour, a day, a week, 30 days.
pub const AGES: [u64; 6] = [60, 300, 3_600, 86_400, 604_800, 2_592_000];

/// Versions of which less are no measure of anything.
const VERSIONS_MIN: u64 = 20;
/// One version in so many may be replaced while a cache still shows it.
const STALE_ONE_IN: u64 = 100;

/// Files that are alike.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Class {
    /// The first component of the path, empty at the mount point. `None`: any.
    pub dir: Option<String>,
    /// In small letters, empty if there is none. `None`: any.
    pub extension: Option<String>,
}

/// What became of the versions of a class.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Versions that came, of new files and of old ones.
    pub came: u64,
    /// Versions that were replaced, by the first of [`AGES`] that they did not reach, and those that reached all.
    pub replaced: [u64; AGES.len() + 1],
}

/// One line of the file.
#[derive(Deserialize, Serialize)]
struct Line {
    /// Its first day.
    month: Day,
    /// The first day that anything is known of.
    since: Day,
    #[serde(flatten)]
    class: Class,
    #[serde(flatten)]
    tally: Tally,
}

/// All that is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    since: Option<Day>,
    months: BTreeMap<Day, BTreeMap<Class, Tally>>,
}

/// How long a cache may keep the files of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// As a rule of headers names them.
    pub names: String,
    #[serde(flatten)]
    pub tally: Tally,
    /// Seconds. `None`: too little is known.
    pub max_age: Option<u64>,
}

impl Class {
    /// The class of a path from the mount point.
    pub fn of(path: &str) -> Self {
        let dir = path.split_once('/').map_or("", |(dir, _)| dir);
        let name = path.rsplit('/').next().unwrap_or(path);
        // A dot at the start hides a name.
        let extension =
            name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or("", |(_, extension)| extension);
        let fits = extension.len() <= EXTENSION_MAX && extension.bytes().all(|b| b.is_ascii_alphanumeric());
        let extension = if fits { extension.to_ascii_lowercase() } else { String::new() };
        Self { dir: Some(dir.to_owned()), extension: Some(extension) }
    }
}

/// As a pattern of a rule of headers. A file without extension has no pattern of its own: it is any file then.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dir.as_deref() {
            None => {}
            Some("") => f.write_str("/")?,
            Some(dir) => write!(f, "{}/**/", Pattern::escape(dir))?,
        }
        match self.extension.as_deref() {
            None | Some("") => f.write_str("*"),
            Some(extension) => write!(f, "*.{extension}"),
        }
    }
}

impl Tally {
    /// Versions that were replaced before they had reached that age, one of [`AGES`].
    pub fn within(&self, age: u64) -> u64 {
        AGES.iter().zip(self.replaced).filter(|(limit, _)| **limit <= age).map(|(_, count)| count).sum()
    }

    /// Seconds that a cache may keep such files. `days`: what the tally is of. `None`: it tells too little.
    ///
    /// The longest of [`AGES`] within which no more than one version in a hundred was replaced, and not more than half of
    /// the time that is known: what lives longer was not seen to.
    pub fn max_age(&self, days: u64) -> Option<u64> {
        let replaced: u64 = self.replaced.iter().sum();
        let versions = self.came.max(replaced);
        if versions < VERSIONS_MIN {
            return None;
        }
        let known = days * SECONDS.unsigned_abs() / 2;
        let mut longest = None;
        for age in AGES {
            if self.within(age) * STALE_ONE_IN > versions {
                return Some(longest.unwrap_or(0));
            }
            if age > known {
                break;
            }
            longest = Some(age);
        }
        longest
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.came = self.came.saturating_add(other.came);
        for (sum, more) in self.replaced.iter_mut().zip(other.replaced) {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Changes {
    /// A version of the file at `path` came.
    pub fn came(&mut self, path: &str, day: Day) {
        self.add(path, day, Tally { came: 1, ..Tally::default() });
    }

    /// A version of it was replaced that had been there for so many seconds.
    pub fn replaced(&mut self, path: &str, day: Day, age: u64) {
        let mut tally = Tally::default();
        tally.replaced[AGES.iter().position(|limit| age < *limit).unwrap_or(AGES.len())] = 1;
        self.add(path, day, tally);
    }

    fn add(&mut self, path: &str, day: Day, tally: Tally) {
        self.begin(day);
        let classes = self.months.entry(day.month()).or_default();
        let mut class = Class::of(path);
        if classes.len() >= DIRS_MAX && !classes.contains_key(&class) {
            class.dir = None;
        }
        if classes.len() >= CLASSES_MAX && !classes.contains_key(&class) {
            class.extension = None;
        }
        *classes.entry(class).or_default() += tally;
        self.forget();
    }

    /// From that day on it is known what is replaced.
    pub fn begin(&mut self, day: Day) {
        self.since.get_or_insert(day);
    }

    fn forget(&mut self) {
        while self.months.len() > MONTHS_MAX {
            self.months.pop_first();
            self.since = self.since.max(self.months.keys().next().copied());
        }
    }

    /// Days that anything is known of, up to `today`.
    pub fn days(&self, today: Day) -> u64 {
        self.since.map_or(0, |since| u64::try_from(today.0 - since.0).unwrap_or(0))
    }

    /// What follows from it, of each class; those with most versions first.
    pub fn advice(&self, today: Day) -> Vec<Advice> {
        let mut classes = BTreeMap::<&Class, Tally>::new();
        for (class, tally) in self.months.values().flatten() {
            *classes.entry(class).or_default() += *tally;
        }
        let days = self.days(today);
        let advice =
            |(class, tally): (&Class, Tally)| Advice { names: class.to_string(), tally, max_age: tally.max_age(days) };
        let mut all: Vec<Advice> = classes.into_iter().map(advice).collect();
        all.sort_by_key(|advice| std::cmp::Reverse(advice.tally.came));
        all
    }

    /// Lines that make no sense are left out: they are of a later version, or torn.
    pub fn parse(text: &str) -> Self {
        let mut changes = Self::default();
        for line in lines::parse::<Line>(text) {
            changes.since = Some(changes.since.map_or(line.since, |since| since.min(line.since)));
            *changes.months.entry(line.month).or_default().entry(line.class).or_default() += line.tally;
        }
        changes.forget();
        changes
    }

    /// What was kept. A file that is not there is empty.
    pub fn load(path: &Path) -> io::Result<Self> {
        lines::read(path).map(|text| Self::parse(&text))
    }

    /// Replaces the file as a whole.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let since = self.since.unwrap_or_default();
        let classes = self.months.iter().flat_map(|(month, classes)| classes.iter().map(move |class| (*month, class)));
        let line = |(month, (class, tally)): (Day, (&Class, &Tally))| Line {
            month,
            since,
            class: class.clone(),
            tally: *tally,
        };
        lines::replace(path, classes.map(line))
    }
}

#[cfg(test)]
mod tests;
