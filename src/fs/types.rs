//! What goes in and out of [`Fs`](super::Fs): plain values, no kernel types.

use std::{fs::File, sync::Arc, time::Duration};

use tokio::sync::Notify;

pub use crate::model::tree::NodeId;
use crate::model::{
    attr::{Attr, Kind, Time},
    key::Name,
};

/// An open file or directory.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fh(pub u64);

/// What stat(2) shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    /// `st_ino`: equal on all mounts.
    pub ino: u64,
    /// 1; 0 for what has no name any more.
    pub nlink: u32,
    pub attr: Attr,
}

/// A node and how long the kernel may keep what it was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    pub id: NodeId,
    pub stat: Stat,
    /// Zero when `id` is not `stat.ino`: fuser sends the node id as the inode number in entries, so the kernel must
    /// come back with GETATTR for the right one.
    pub attr_ttl: Duration,
    pub entry_ttl: Duration,
}

/// Who asks, as the kernel tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Thread id.
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
}

/// How a file is opened.
#[expect(clippy::struct_excessive_bools, reason = "the flags of open(2), each by itself")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OpenMode {
    pub read: bool,
    pub write: bool,
    /// `O_TRUNC`
    pub truncate: bool,
    /// `O_APPEND`
    pub append: bool,
    /// `O_EXCL`; only means something to create.
    pub exclusive: bool,
}

/// An open file, with what the kernel edge needs to choose its I/O mode.
#[derive(Clone, Debug)]
pub struct Opened {
    pub fh: Fh,
    pub id: NodeId,
    /// Bytes, when it was opened.
    pub size: u64,
    pub write: bool,
    /// The whole content at its version as a local file that never changes; only for files opened for reading alone.
    pub backing: Option<Arc<File>>,
    /// The content is the one that the kernel last read pages of: they may stay.
    pub unchanged: bool,
}

/// setattr(2) and friends: what is to change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SetAttr {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub mtime: Option<SetTime>,
    /// There is no atime; setting it alone changes nothing.
    pub atime: Option<SetTime>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetTime {
    Now,
    At(Time),
}

/// One line of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirEntry {
    /// Where the next readdir goes on after this entry.
    pub next: u64,
    /// `.` and `..` have no name.
    pub name: DirName,
    /// `st_ino`
    pub ino: u64,
    pub kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DirName {
    Dot,
    DotDot,
    Name(Name),
}

/// Something that the kernel holds and should not believe any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// The attributes of a node changed (its pages go with them, by `FUSE_AUTO_INVAL_DATA`).
    Attr(NodeId),
    /// The attributes and all pages of a node are not to be believed.
    Pages(NodeId),
    /// A name below a directory means something else now, or nothing.
    Entry { parent: NodeId, name: Name },
    /// Nothing: whoever sent it waits until the kernel has heard everything before it.
    Tell(Told),
}

/// Tells that the kernel has heard what was sent before.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Notify>);

impl Told {
    /// May come before the wait for it.
    pub fn tell(&self) {
        self.0.notify_one();
    }

    pub async fn wait(&self) {
        self.0.notified().await;
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Told {}

/// `SEEK_DATA` and `SEEK_HOLE` of lseek(2); the kernel does the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whence {
    Data,
    Hole,
}

/// renameat2(2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenameMode {
    Replace,
    /// `RENAME_NOREPLACE`
    NoReplace,
}
