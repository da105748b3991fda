//! The kernel's words as ours.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileHandle, RenameFlags, Request, TimeOrNow};

use crate::{
    fs::types::{Caller, Fh, OpenMode, RenameMode, SetAttr, SetTime, Whence},
    model::attr::Time,
};

/// The permission bits of `st_mode`, set-user-ID, set-group-ID and sticky included.
pub(super) const PERMISSIONS: u32 = 0o7777;

pub(super) fn file(fh: FileHandle) -> Fh {
    Fh(fh.0)
}

pub(super) fn caller(req: &Request) -> Caller {
    Caller { tid: req.pid(), uid: req.uid(), gid: req.gid() }
}

/// The flags of open(2). `O_TRUNC` makes a writer of whoever says it.
pub(super) fn open_mode(flags: i32) -> OpenMode {
    let access = flags & libc::O_ACCMODE;
    let truncate = flags & libc::O_TRUNC != 0;
    OpenMode {
        read: access != libc::O_WRONLY,
        write: access == libc::O_WRONLY || access == libc::O_RDWR || truncate,
        truncate,
        append: flags & libc::O_APPEND != 0,
        exclusive: flags & libc::O_EXCL != 0,
    }
}

/// The fields of SETATTR that exist here.
pub(super) fn set_attr(
    mode: Option<u32>,
    (uid, gid): (Option<u32>, Option<u32>),
    size: Option<u64>,
    (atime, mtime): (Option<TimeOrNow>, Option<TimeOrNow>),
) -> SetAttr {
    SetAttr {
        mode: mode.map(|mode| mode & PERMISSIONS),
        uid,
        gid,
        size,
        mtime: mtime.map(set_time),
        atime: atime.map(set_time),
    }
}

fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(file_time(time)),
    }
}

/// fuser gives seconds before 1970 with the fraction on the wrong side of them; this takes it back to what the kernel
/// sent.
fn file_time(time: SystemTime) -> Time {
    let seconds = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { sec: seconds(since.as_secs()), nsec: since.subsec_nanos() },
        Err(before) => Time { sec: -seconds(before.duration().as_secs()), nsec: before.duration().subsec_nanos() },
    }
}

/// `None`: exchange and whiteout, which a bucket cannot do.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags.is_empty() {
        return Some(RenameMode::Replace);
    }
    (flags == RenameFlags::RENAME_NOREPLACE).then_some(RenameMode::NoReplace)
}

/// `None`: the kernel does the others itself.
pub(super) fn whence(whence: i32) -> Option<Whence> {
    match whence {
        libc::SEEK_DATA => Some(Whence::Data),
        libc::SEEK_HOLE => Some(Whence::Hole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(flags: i32, expect: OpenMode) {
        assert_eq!(open_mode(flags), expect);
    }

    #[test]
    fn access_modes() {
        let none = OpenMode::default();
        check(libc::O_RDONLY, OpenMode { read: true, ..none });
        check(libc::O_WRONLY, OpenMode { write: true, ..none });
        check(libc::O_RDWR, OpenMode { read: true, write: true, ..none });
        check(libc::O_ACCMODE, OpenMode { read: true, ..none });
    }

    #[test]
    fn truncating_is_writing() {
        check(
            libc::O_RDONLY | libc::O_TRUNC,
            OpenMode { read: true, write: true, truncate: true, ..OpenMode::default() },
        );
    }

    #[test]
    fn append_and_exclusive() {
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_EXCL;
        check(flags, OpenMode { write: true, append: true, exclusive: true, ..OpenMode::default() });
    }

    #[test]
    fn setattr_keeps_only_permission_bits() {
        let set = set_attr(Some(0o100_644), (None, Some(7)), Some(3), (None, Some(TimeOrNow::Now)));
        let expect =
            SetAttr { mode: Some(0o644), gid: Some(7), size: Some(3), mtime: Some(SetTime::Now), ..SetAttr::default() };
        assert_eq!(set, expect);
    }

    #[test]
    fn times_come_back_as_the_kernel_sent_them() {
        assert_eq!(file_time(UNIX_EPOCH + Duration::new(5, 6)), Time { sec: 5, nsec: 6 });
        // fuser turns the kernel's { sec: -2, nsec: 500,000,000 } (1.5 s before 1970) into 2.5 s before 1970.
        assert_eq!(file_time(UNIX_EPOCH - Duration::new(2, 500_000_000)), Time { sec: -2, nsec: 500_000_000 });
        assert_eq!(file_time(UNIX_EPOCH - Duration::new(1, 0)), Time { sec: -1, nsec: 0 });
    }

    #[test]
    fn rename_flags() {
        assert_eq!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace));
        assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE), Some(RenameMode::NoReplace));
        assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE), None);
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), None);
        assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_WHITEOUT), None);
    }

    #[test]
    fn seeks() {
        assert_eq!(whence(libc::SEEK_DATA), Some(Whence::Data));
        assert_eq!(whence(libc::SEEK_HOLE), Some(Whence::Hole));
        assert_eq!(whence(libc::SEEK_SET), None);
    }
}
