//! Our values as the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fuser::{
    Errno, FileAttr, FileType, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use crate::{
    fs::types::{Found, Stat},
    model::{
        attr::{Kind, Time},
        key::NAME_MAX,
    },
};

/// A node id means one node as long as the kernel knows it, so generations are not needed.
pub(super) const GENERATION: Generation = Generation(0);

/// Bytes of a block in statfs(2) and of an I/O in stat(2).
const BLOCK: u32 = 4096;

/// A bucket has no end; 1 PiB in blocks is what `df` shows, small enough for programs that multiply.
const BLOCKS: u64 = (1 << 50) / BLOCK as u64;

/// As many names as 32-bit programs can count.
const INODES: u64 = u32::MAX as u64;

/// Every reply can be an errno.
pub(super) trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty)*) => { $(impl Refuse for $reply { fn refuse(self, errno: Errno) { self.error(errno); } })* };
}

refuse!(ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry ReplyIoctl);
refuse!(ReplyLseek ReplyOpen ReplyStatfs ReplyWrite ReplyXattr);

pub(super) fn entry(reply: ReplyEntry, found: Found) {
    reply.entry_with_ttls(&found.attr_ttl, &found.entry_ttl, &node_attr(&found), GENERATION);
}

pub(super) fn attr(reply: ReplyAttr, (stat, ttl): (Stat, Duration)) {
    reply.attr(&ttl, &file_attr(stat.ino, &stat));
}

pub(super) fn empty(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

// By value, as all of these take what the file system gave.
#[expect(clippy::needless_pass_by_value, reason = "one shape for all answers")]
pub(super) fn data(reply: ReplyData, bytes: Bytes) {
    reply.data(&bytes);
}

pub(super) fn written(reply: ReplyWrite, bytes: u32) {
    reply.written(bytes);
}

pub(super) fn statfs(reply: ReplyStatfs) {
    let name_max = u32::try_from(NAME_MAX).expect("it is 255");
    reply.statfs(BLOCKS, BLOCKS, BLOCKS, INODES, INODES, BLOCK, name_max, BLOCK);
}

/// The value, or its length where `size` is 0; `ERANGE` where it is longer than `size` (getxattr(2)).
pub(super) fn xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

/// For answers in which fuser has one TTL for the name and the attributes.
pub(super) fn common_ttl(found: &Found) -> Duration {
    found.attr_ttl.min(found.entry_ttl)
}

/// For answers that bring a node into being: there, fuser takes the node id from the inode number.
pub(super) fn node_attr(found: &Found) -> FileAttr {
    file_attr(found.id.0, &found.stat)
}

pub(super) fn file_attr(ino: u64, stat: &Stat) -> FileAttr {
    let attr = &stat.attr;
    let mtime = system_time(attr.mtime);
    FileAttr {
        ino: INodeNo(ino),
        size: attr.size,
        // st_blocks counts 512 bytes (stat(2)).
        blocks: attr.size.div_ceil(512),
        atime: system_time(attr.atime),
        mtime,
        ctime: system_time(attr.ctime),
        crtime: mtime,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & super::decode::PERMISSIONS).expect("12 bits fit into 16"),
        nlink: stat.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK,
        flags: 0,
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::Char => FileType::CharDevice,
        Kind::Block => FileType::BlockDevice,
    }
}

/// A time that the platform cannot hold reads as 1970.
fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nsec.into());
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attr::Attr;

    #[test]
    fn times_before_1970() {
        let time = system_time(Time { sec: -2, nsec: 500_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(time).unwrap(), Duration::from_millis(1500));
    }

    #[test]
    fn times_that_no_clock_holds() {
        assert_eq!(
            system_time(Time { sec: i64::MIN, nsec: 999_999_999 }),
            UNIX_EPOCH - Duration::from_secs(1 << 63) + Duration::from_nanos(999_999_999)
        );
        assert_eq!(system_time(Time { sec: i64::MAX, nsec: 0 }), UNIX_EPOCH + Duration::from_secs(i64::MAX as u64));
    }

    #[test]
    fn blocks_round_up() {
        let time = Time::default();
        let (kind, mode) = (Kind::File, 0o644);
        let attr = Attr { kind, size: 513, mtime: time, atime: time, ctime: time, mode, uid: 1, gid: 2, rdev: 0 };
        let shown = file_attr(9, &Stat { ino: 9, nlink: 1, attr });
        assert_eq!((shown.blocks, shown.ino, shown.perm, shown.nlink), (2, INodeNo(9), 0o644, 1));
    }
}
