//! Chunks of the network as large writes of the disk.
//!
//! The kernel keeps what one call writes in pages as large as the call and its alignment allow (mm/filemap.c,
//! `__filemap_get_folio`), and large pages are mapped and read faster: 512 KiB twice as fast as the 16 to 64 KiB that a
//! connection gives at a time. More than that brings nothing below the 2 MiB of a huge page.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice},
};

use bytes::Bytes;
use nix::{errno::Errno, sys::uio::pwritev};

/// Bytes that go to the disk by one call, and what its place is a multiple of.
const STRIDE: u64 = 512 << 10;
/// Chunks of one call: far below what the kernel takes (1,024, `UIO_MAXIOV`).
const CHUNKS_MAX: usize = 256;

/// Chunks that follow each other and are not written yet: less than [`STRIDE`] of them, unless a write is due.
#[derive(Debug)]
pub(super) struct Gather {
    chunks: Vec<Bytes>,
    /// Where the first of them belongs.
    start: u64,
    end: u64,
}

impl Gather {
    pub(super) fn at(start: u64) -> Self {
        Self { chunks: Vec::new(), start, end: start }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes of a chunk what belongs to the next write. True if that is due; the rest of the chunk is for the one after.
    pub(super) fn take(&mut self, chunk: &mut Bytes) -> bool {
        let room = STRIDE - self.end % STRIDE;
        let taken = chunk.split_to(usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len())));
        if taken.is_empty() {
            return false;
        }
        self.end += taken.len() as u64;
        self.chunks.push(taken);
        self.end.is_multiple_of(STRIDE) || self.chunks.len() >= CHUNKS_MAX
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, file: &File) -> io::Result<()> {
        let mut slices: Vec<_> = self.chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut left = &mut slices[..];
        while self.start < self.end {
            let at = i64::try_from(self.start).map_err(|_| ErrorKind::FileTooLarge)?;
            match pwritev(file, left, at) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.start += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
        self.forget();
        Ok(())
    }

    /// Nobody needs it.
    pub(super) fn forget(&mut self) {
        self.chunks.clear();
        self.start = self.end;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt as _};

    use super::*;

    /// Where the writes begin and end that chunks of these lengths cause.
    #[track_caller]
    fn check(start: u64, chunks: &[u64], expect: &[(u64, u64)], left: u64) {
        let mut gather = Gather::at(start);
        let mut writes = Vec::new();
        for &len in chunks {
            let mut chunk = Bytes::from(vec![1; usize::try_from(len).unwrap()]);
            while gather.take(&mut chunk) {
                writes.push((gather.start, gather.end));
                gather.forget();
            }
            assert!(chunk.is_empty(), "nothing of a chunk is lost");
        }
        assert_eq!((writes.as_slice(), gather.end - gather.start), (expect, left));
    }

    #[test]
    fn writes_end_at_multiples_of_the_stride() {
        check(0, &[STRIDE - 1], &[], STRIDE - 1);
        check(0, &[STRIDE - 1, 1], &[(0, STRIDE)], 0);
        check(0, &[STRIDE - 1, 7], &[(0, STRIDE)], 6);
        check(5, &[STRIDE], &[(5, STRIDE)], 5);
        check(0, &[2 * STRIDE + 3], &[(0, STRIDE), (STRIDE, 2 * STRIDE)], 3);
    }

    #[test]
    fn tiny_chunks_do_not_pile_up() {
        let many = CHUNKS_MAX as u64;
        check(0, &vec![1; CHUNKS_MAX * 2 + 1], &[(0, many), (many, 2 * many)], 1);
    }

    #[test]
    fn all_of_it_is_written_where_it_belongs() {
        let path = std::env::temp_dir().join(format!("originfs-gather-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut gather = Gather::at(3);
        for chunk in ["abc", "", "defg"] {
            assert!(!gather.take(&mut Bytes::from(chunk)));
        }
        gather.write(&file).unwrap();
        assert!(gather.is_empty() && gather.end() == 10);
        gather.write(&file).unwrap();
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, file.metadata().unwrap().len()), (b"\0\0\0abcdefg", 10));
    }
}
