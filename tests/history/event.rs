//! What happened: one event for each operation, with its times on the clock that all processes share.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::value::{Id, Seen};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type At = u64;

pub(crate) fn now() -> At {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    u64::try_from(time.tv_sec()).expect("since boot") * 1_000_000_000
        + u64::try_from(time.tv_nsec()).expect("below 1e9")
}

/// The errno of what failed.
pub(crate) type Outcome<T> = Result<T, i32>;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Event {
    /// The process.
    pub(crate) by: u32,
    /// The mount; `None` for a client of the bucket.
    pub(crate) host: Option<u8>,
    /// Below the mount point. Of a listing the directory.
    pub(crate) path: String,
    pub(crate) begin: At,
    pub(crate) end: At,
    pub(crate) act: Act,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Act {
    Write(Written),
    Unlink(Outcome<()>),
    /// Renamed to a name that only this process knows, and read there.
    MoveAway(Outcome<Seen>),
    /// open, fstat, read. The version was decided at `opened`.
    Read {
        opened: At,
        seen: Outcome<Seen>,
    },
    Stat(Outcome<Stat>),
    StatDir(Outcome<()>),
    Mkdir(Outcome<()>),
    Rmdir(Outcome<()>),
    /// The names.
    List(Outcome<Vec<String>>),
}

/// What `lstat` tells that follows from the write alone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

/// How a value got its name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum How {
    /// Opened by its own name, emptied or made, and written, so that this host sees it in parts.
    Truncate,
    /// As that, but opened as it is: written over, then cut to its length.
    InPlace,
    /// As that, behind what was there.
    Append,
    /// Written and closed under another name, then renamed.
    Replace,
    /// Written under another name, renamed, then closed: this host sees it before it is in the bucket.
    ReplaceOpen,
    /// PUT by another client.
    Put,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Written {
    pub(crate) id: Id,
    pub(crate) how: How,
    /// When the call began that brings it to the bucket: fsync, close, rename.
    pub(crate) from: At,
    /// When that call ended.
    pub(crate) to: At,
    /// Of an append: when the version below it was decided.
    pub(crate) opened: At,
    /// Bytes, and the time that it must show: these seconds or any between. `None` if it failed before.
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) outcome: Outcome<()>,
}

impl How {
    /// The host that wrote it may see it before others do.
    pub(crate) fn is_local_first(self) -> bool {
        self.is_seen_in_parts() || self == Self::ReplaceOpen
    }

    /// The host that wrote it may see a part of it.
    pub(crate) fn is_seen_in_parts(self) -> bool {
        matches!(self, Self::Truncate | Self::InPlace | Self::Append)
    }
}

/// Events that a process left, one JSON line each.
pub(crate) fn load(path: &Path) -> Vec<Event> {
    let lines = BufReader::new(File::open(path).unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}
