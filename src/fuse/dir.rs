//! READDIR and READDIRPLUS: fills the kernel's buffer from as many pieces of the listing as it takes.

use std::{ffi::OsStr, time::Duration};

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::{call::Call, reply};
use crate::{
    error::Result,
    fs::{
        Fs,
        types::{DirEntry, DirName, Fh, NodeId, Stat},
    },
    model::attr::{Attr, Time},
    store::Store,
};

/// Entries taken from `fs` at once: about what fits into the 32 KiB that the kernel reads with attributes.
const BATCH: usize = 256;

/// What became of an entry.
enum Put {
    In,
    /// It is gone meanwhile.
    Skipped,
    /// The buffer is full and the entry is not in it.
    Full,
}

/// Which directory, from where on.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) id: NodeId,
    pub(super) fh: Fh,
    /// `next` of the last entry that the kernel has; 0 at the start.
    pub(super) offset: u64,
}

/// Answers with names and kinds.
pub(super) async fn list<S: Store>(fs: &Fs<S>, call: Call, at: At, mut reply: ReplyDirectory) {
    let filled = fill(fs, at, |entry| {
        let full = reply.add(INodeNo(entry.ino), entry.next, reply::file_type(entry.kind), text(&entry.name));
        if full { Put::Full } else { Put::In }
    });
    let filled = filled.await;
    call.answer(reply, filled, |reply, ()| reply.ok());
}

/// Answers with names and attributes; the kernel holds a lookup for each but `.` and `..`.
pub(super) async fn list_plus<S: Store>(fs: &Fs<S>, call: Call, at: At, mut reply: ReplyDirectoryPlus) {
    let filled = fill(fs, at, |entry| put_plus(fs, at, entry, &mut reply)).await;
    call.answer(reply, filled, |reply, ()| reply.ok());
}

fn put_plus<S: Store>(fs: &Fs<S>, at: At, entry: &DirEntry, reply: &mut ReplyDirectoryPlus) -> Put {
    let name = text(&entry.name);
    if !matches!(entry.name, DirName::Name(_)) {
        // The kernel takes only number and kind of these two, and counts no lookup.
        let (kind, none) = (entry.kind, Time::default());
        let attr = Attr { kind, size: 0, mtime: none, atime: none, ctime: none, mode: 0, uid: 0, gid: 0, rdev: 0 };
        let attr = reply::file_attr(entry.ino, &Stat { ino: entry.ino, nlink: 1, attr });
        let full = reply.add(attr.ino, entry.next, name, &Duration::ZERO, &attr, reply::GENERATION);
        return if full { Put::Full } else { Put::In };
    }
    let Some(found) = fs.entry(at.id, at.fh, entry) else { return Put::Skipped };
    let (ttl, attr) = (reply::common_ttl(&found), reply::node_attr(&found));
    if reply.add(attr.ino, entry.next, name, &ttl, &attr, reply::GENERATION) {
        // The kernel never hears of it, so it will not forget it either.
        fs.forget(found.id, 1);
        return Put::Full;
    }
    Put::In
}

/// Puts entries until the buffer is full or the directory ends. An empty answer means its end to the kernel, so an
/// error is only given when nothing was put; else the kernel has it from the next call.
async fn fill<S: Store>(fs: &Fs<S>, at: At, mut put: impl FnMut(&DirEntry) -> Put + Send) -> Result<()> {
    let (mut offset, mut any) = (at.offset, false);
    loop {
        let entries = match fs.readdir(at.id, at.fh, offset, BATCH).await {
            Ok(entries) => entries,
            Err(_) if any => return Ok(()),
            Err(err) => return Err(err),
        };
        if entries.is_empty() {
            return Ok(());
        }
        for entry in &entries {
            match put(entry) {
                Put::In => any = true,
                Put::Skipped => {}
                Put::Full => return Ok(()),
            }
            offset = entry.next;
        }
    }
}

fn text(name: &DirName) -> &OsStr {
    OsStr::new(match name {
        DirName::Dot => ".",
        DirName::DotDot => "..",
        DirName::Name(name) => name.as_str(),
    })
}
