//! What came of it, for people and for scripts.

use serde::Serialize;

/// Names of one list that are kept; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// The state of a directory and the bucket, as a round found it or made it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Files (and links) whose bytes the bucket has, and how many bytes.
    pub files: u64,
    pub bytes: u64,
    /// Those of them that this run uploaded.
    pub uploaded: u64,
    pub uploaded_bytes: u64,
    /// Objects of directories that this run made.
    pub directories: u64,
    /// Names that `local=` keeps on this host; directories count as one.
    pub local: u64,
    /// The bucket does not have them: they would be uploaded, or it lost them.
    pub missing: List,
    /// The bucket has something else at the name.
    pub conflicts: List,
    /// No mount can show or keep them.
    pub unfit: List,
    /// They were being written.
    pub changing: List,
    pub failed: List,
    /// A last round found everything in the bucket.
    pub verified: bool,
    /// Why it ended before the end.
    pub stopped: Option<String>,
}

/// Names with what is to be said of each.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct List {
    pub count: u64,
    /// The first of them, by name.
    pub names: Vec<Line>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Line {
    pub path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: String,
}

impl Report {
    /// Whether the bucket has everything that is to be there.
    pub fn is_complete(&self) -> bool {
        self.verified && self.lists().iter().all(|(_, list)| list.count == 0)
    }

    /// What is not in the bucket, by reason.
    pub fn lists(&self) -> [(&'static str, &List); 5] {
        [
            ("not in the bucket", &self.missing),
            ("conflict", &self.conflicts),
            ("cannot be kept", &self.unfit),
            ("being written", &self.changing),
            ("failed", &self.failed),
        ]
    }
}

impl List {
    pub fn add(&mut self, path: &str, why: impl Into<String>) {
        self.count += 1;
        let line = Line { path: path.to_owned(), why: why.into() };
        let at = self.names.partition_point(|other| *other < line);
        if at < LISTED_MAX {
            self.names.insert(at, line);
            self.names.truncate(LISTED_MAX);
        }
    }
}
