//! Reading a local file at a place: into memory that nobody zeroes before, and without waiting for the disk if that must
//! not be.

use std::{fs::File, io, os::fd::AsRawFd};

use bytes::Bytes;

/// Whether a read may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// For the disk.
    Disk,
    /// For nothing: only what the page cache has (`RWF_NOWAIT`, preadv2(2)).
    Never,
}

/// Up to `len` bytes from `at` on; fewer only where the file ends. `None`: they would have to be waited for. A file system
/// that cannot tell is waited for all the same.
pub fn pread(file: &File, at: u64, len: usize, wait: Wait) -> io::Result<Option<Vec<u8>>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(len);
    let mut flags = if wait == Wait::Never { libc::RWF_NOWAIT } else { 0 };
    while bytes.len() < len {
        let offset = at.checked_add(bytes.len() as u64).and_then(|at| libc::off_t::try_from(at).ok());
        let offset = offset.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        match read_once(file, offset, &mut bytes, len, flags) {
            Ok(0) => break,
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) if flags != 0 && err.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(err) if flags != 0 && err.raw_os_error() == Some(libc::EOPNOTSUPP) => flags = 0,
            Err(err) => return Err(err),
        }
    }
    Ok(Some(bytes))
}

/// The same of so many bytes that must be there: else it fails with `UnexpectedEof`.
pub fn pread_exact(file: &File, at: u64, len: usize, wait: Wait) -> io::Result<Option<Bytes>> {
    match pread(file, at, len, wait)? {
        Some(bytes) if bytes.len() < len => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok(bytes.map(Bytes::from)),
    }
}

/// Appends what one call gives, until `bytes` has `len`.
#[expect(unsafe_code, reason = "std reads at a place only into initialized memory, and never without waiting")]
fn read_once(file: &File, offset: libc::off_t, bytes: &mut Vec<u8>, len: usize, flags: i32) -> io::Result<usize> {
    let left = len - bytes.len();
    let room = &mut bytes.spare_capacity_mut()[..left];
    let iov = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: one buffer, which is the spare room of `bytes` and outlives the call.
    let got = unsafe { libc::preadv2(file.as_raw_fd(), &raw const iov, 1, offset, flags) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel wrote so many bytes behind those that there were.
    unsafe { bytes.set_len(bytes.len() + got) };
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::{
        fcntl::{PosixFadviseAdvice, posix_fadvise},
        sys::statfs::{TMPFS_MAGIC, fstatfs},
    };

    use super::*;

    fn file(name: &str, content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("originfs-pread-{}-{name}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a new file");
        std::fs::remove_file(&path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_read_is_as_long_as_asked_or_ends_with_the_file() {
        let file = file("ends", b"0123456789");
        for wait in [Wait::Disk, Wait::Never] {
            let read = |at, len| pread(&file, at, len, wait).unwrap().expect("it was just written");
            assert_eq!(read(2, 3), b"234");
            assert_eq!(read(8, 5), b"89");
            assert_eq!(read(10, 5), b"");
            assert_eq!(read(u64::from(u32::MAX), 1), b"");
            assert_eq!(read(3, 0), b"");
        }
        assert!(pread(&file, u64::MAX, 1, Wait::Disk).is_err());
        assert_eq!(pread_exact(&file, 7, 3, Wait::Disk).unwrap().unwrap(), "789");
        assert_eq!(pread_exact(&file, 7, 4, Wait::Disk).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn who_may_not_wait_gets_nothing_that_is_on_the_disk_alone() {
        let file = file("cold", &vec![7; 1 << 20]);
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        // A file system in memory has no other place for it.
        if fstatfs(&file).unwrap().filesystem_type() != TMPFS_MAGIC {
            assert_eq!(pread(&file, 0, 1 << 20, Wait::Never).unwrap(), None);
        }
        assert_eq!(pread(&file, 0, 4096, Wait::Disk).unwrap().unwrap(), [7; 4096]);
        assert_eq!(pread(&file, 0, 4096, Wait::Never).unwrap().unwrap(), [7; 4096], "now it is in memory");
    }
}
