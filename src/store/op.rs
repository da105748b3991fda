//! Names for the calls of [`Store`](super::Store), for logs, counters and faults.

/// One method of the trait.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Op {
    Head,
    Get,
    List,
    Put,
    Copy,
    Delete,
    DeleteMany,
    Begin,
    Part,
    PartCopy,
    Complete,
    Abort,
    Uploads,
}

/// A call that reached the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    pub op: Op,
    /// The key that is asked for or changed (of a copy: the target); the prefix of a listing; empty for a batch.
    pub key: String,
}

impl Call {
    pub fn new(op: Op, key: &str) -> Self {
        Self { op, key: key.to_owned() }
    }
}
