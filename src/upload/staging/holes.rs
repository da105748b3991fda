//! Ranges of staging that take no space.

use std::ops::Range;

use nix::fcntl::{FallocateFlags, fallocate};

use super::{Data, Staging};
use crate::error::Result;

impl Staging {
    /// Writes zeros; on the disk they take no space where it knows holes.
    pub fn zero(&mut self, range: Range<u64>) -> Result<()> {
        /// Bytes that are written at once where there are no holes: as much as one write of the kernel.
        const STEP: u64 = 1 << 20;
        if let Data::Memory(memory) = &mut self.data {
            let held = memory.len() as u64;
            let [from, to] =
                [range.start, range.end].map(|at| usize::try_from(at.min(held)).expect("memory is addressable"));
            memory[from..to].fill(0);
        } else if !self.punch(&range) {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + STEP);
                self.write(at, &vec![0; usize::try_from(end - at).expect("at most STEP")])?;
                at = end;
            }
        }
        self.here.insert(range);
        Ok(())
    }

    /// Forgets `range` and frees its space. False if the disk cannot: then nothing is changed.
    pub fn release(&mut self, range: &Range<u64>) -> bool {
        let freed = self.punch(range);
        if freed {
            self.here.remove(range);
        }
        freed
    }

    /// Whether `range` of the file is a hole now.
    fn punch(&self, range: &Range<u64>) -> bool {
        let Data::File { file, .. } = &self.data else { return false };
        let [Ok(at), Ok(len)] = [range.start, range.end - range.start].map(i64::try_from) else { return false };
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(file, flags, at, len) {
            Ok(()) => true,
            Err(err) => {
                log::debug!("{}: no hole: {err}", self.note.key);
                false
            }
        }
    }
}
