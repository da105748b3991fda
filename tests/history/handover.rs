//! What one host wrote and closed, another opens and goes on with: random changes of one file, by two mounts in turn,
//! held against the same changes of bytes in memory.

use std::{
    collections::VecDeque,
    env,
    fs::{File, OpenOptions},
    num::NonZeroUsize,
    os::unix::fs::FileExt as _,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, copy_file_range, fallocate},
    sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap},
};

use crate::{
    harness::{Bucket, Mount, noise},
    run::{MOUNT, seed},
    worker::Dice,
};

/// `ORIGINFS_HANDOVER_OPERATIONS`, or this many.
const OPERATIONS: usize = 20_000;
/// Bytes of a file, mostly; and now and then, when it takes several parts of 5 MiB.
const SMALL: usize = 96 << 10;
const LARGE: usize = 13 << 20;
/// Bytes that one change touches at most.
const STRIDE: usize = 20_000;
/// Changes that a failure shows.
const SHOWN: usize = 40;

/// A change, or a look, as the report says it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { at: usize, len: usize },
    Append { len: usize },
    Read { at: usize, len: usize },
    Truncate { size: usize },
    MapRead { at: usize, len: usize },
    MapWrite { at: usize, len: usize },
    Allocate { at: usize, len: usize },
    Punch { at: usize, len: usize },
    Zero { at: usize, len: usize },
    Copy { from: usize, to: usize, len: usize },
    Sync,
}

struct Relay {
    dice: Dice,
    /// What must be there.
    bytes: Vec<u8>,
    /// How long it may get now.
    limit: usize,
    /// For bytes that were never written before.
    writes: u64,
    shown: VecDeque<(usize, Step)>,
}

#[test]
fn two_hosts_change_a_file_in_turn() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = ["open", "strict"].map(|freshness| bucket.mount_with(&format!("freshness={freshness},{MOUNT}")));
    let operations = env::var("ORIGINFS_HANDOVER_OPERATIONS").map_or(OPERATIONS, |count| count.parse().unwrap());
    let seed = seed();
    println!("handover: ORIGINFS_HISTORY_SEED={seed}");
    mounts[0].write("file.bin", b"");
    let mut relay = Relay { dice: Dice(seed), bytes: Vec::new(), limit: SMALL, writes: 0, shown: VecDeque::new() };
    let (mut done, mut turns) = (0, 0);
    while done < operations {
        relay.limit = if turns % 100 == 99 { LARGE } else { SMALL };
        let count = 1 + relay.dice.index(20);
        let host = relay.dice.index(2);
        relay.burst(host, &mounts[host], count);
        relay.compare(&mounts, host);
        done += count;
        turns += 1;
    }
    println!("handover: {done} operations, {turns} turns");
}

fn map(file: &File, len: usize, protection: ProtFlags, work: impl FnOnce(&mut [u8])) {
    let size = NonZeroUsize::new(len).expect("callers map what is there");
    #[expect(unsafe_code, reason = "mmap has no safe form")]
    // SAFETY: the mapping is as long as the file, which nobody makes shorter meanwhile, and ends with this block;
    // callers write only to what they mapped for writing.
    unsafe {
        let at = mmap(None, size, protection, MapFlags::MAP_SHARED, file, 0).unwrap();
        work(std::slice::from_raw_parts_mut(at.cast::<u8>().as_ptr(), len));
        if protection.contains(ProtFlags::PROT_WRITE) {
            msync(at, len, MsFlags::MS_SYNC).unwrap();
        }
        munmap(at, len).unwrap();
    }
}

fn offset(at: usize) -> i64 {
    i64::try_from(at).expect("files are small")
}

impl Relay {
    /// One open, some steps, one close.
    fn burst(&mut self, host: usize, mount: &Mount, count: usize) {
        let file = OpenOptions::new().read(true).write(true).open(mount.path("file.bin")).unwrap();
        for _ in 0..count {
            let step = self.choose();
            if self.shown.len() == SHOWN {
                self.shown.pop_front();
            }
            self.shown.push_back((host, step));
            self.act(&file, step);
        }
        nix::unistd::close(file).unwrap_or_else(|err| panic!("close: {err}, after {:?}", self.shown));
    }

    /// The host that did nothing first.
    fn compare(&self, mounts: &[Mount; 2], host: usize) {
        for reader in [1 - host, host] {
            let path = mounts[reader].path("file.bin");
            let read = std::fs::read(&path).unwrap();
            self.same(&read, 0, &format!("host {reader} reads"));
            if reader != host {
                assert_eq!(std::fs::metadata(&path).unwrap().len(), read.len() as u64, "{:?}", self.shown);
            }
        }
    }

    #[track_caller]
    fn same(&self, read: &[u8], at: usize, what: &str) {
        let expected = &self.bytes[at.min(self.bytes.len())..];
        let expected = &expected[..expected.len().min(if what.starts_with("host") { usize::MAX } else { read.len() })];
        if read != expected {
            let differs = read.iter().zip(expected).position(|(one, other)| one != other);
            panic!(
                "{what} {} bytes, expected {}, first difference at {:?}; the last steps by host: {:#?}",
                read.len(),
                expected.len(),
                differs.map(|index| at + index),
                self.shown
            );
        }
    }

    fn choose(&mut self) -> Step {
        let size = self.bytes.len();
        let reach = if self.limit == LARGE && self.dice.roll(4) == 0 { 3 << 20 } else { STRIDE };
        let len = 1 + self.dice.index(reach);
        let at = self.dice.index(self.limit - len.min(self.limit - 1));
        // Looks stay inside; so do mappings.
        let inside = if size == 0 { 0 } else { self.dice.index(size) };
        let here = len.min(size - inside);
        match self.dice.roll(100) {
            0..30 => Step::Write { at, len: len.min(self.limit - at) },
            30..38 if size + len <= self.limit => Step::Append { len },
            56..64 => Step::Truncate { size: self.dice.index(self.limit) },
            64..70 if here > 0 => Step::MapRead { at: inside, len: here },
            70..78 if here > 0 => Step::MapWrite { at: inside, len: here },
            78..82 => Step::Allocate { at, len: len.min(self.limit - at) },
            82..87 => Step::Punch { at, len },
            87..91 if at + len <= self.limit => Step::Zero { at, len },
            91..96 if here > 0 && (at + here <= inside || at >= inside + here) && at + here <= self.limit => {
                Step::Copy { from: inside, to: at, len: here }
            }
            96..98 => Step::Sync,
            // 38..56, and what does not fit the file as it is.
            _ => Step::Read { at: inside, len: here },
        }
    }

    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.writes += 1;
        noise(len, self.writes)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    fn blank(&mut self, at: usize, len: usize) {
        let end = (at + len).min(self.bytes.len());
        if at < end {
            self.bytes[at..end].fill(0);
        }
    }

    fn act(&mut self, file: &File, step: Step) {
        match step {
            Step::Write { at, len } => {
                let bytes = self.fresh(len);
                file.write_all_at(&bytes, at as u64).unwrap();
                self.put(at, &bytes);
            }
            Step::Append { len } => {
                let (bytes, end) = (self.fresh(len), self.bytes.len());
                assert_eq!(file.metadata().unwrap().len(), end as u64, "{:?}", self.shown);
                file.write_all_at(&bytes, end as u64).unwrap();
                self.put(end, &bytes);
            }
            Step::Read { at, len } => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at as u64).unwrap();
                self.same(&bytes, at, "read");
            }
            Step::Truncate { size } => {
                file.set_len(size as u64).unwrap();
                self.bytes.resize(size, 0);
            }
            Step::MapRead { at, len } => {
                map(file, self.bytes.len(), ProtFlags::PROT_READ, |seen| self.same(&seen[at..at + len], at, "mapped"));
            }
            Step::MapWrite { at, len } => {
                let bytes = self.fresh(len);
                let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                map(file, self.bytes.len(), both, |seen| seen[at..at + len].copy_from_slice(&bytes));
                self.put(at, &bytes);
            }
            Step::Allocate { at, len } => {
                fallocate(file, FallocateFlags::empty(), offset(at), offset(len)).unwrap();
                let size = self.bytes.len().max(at + len);
                self.bytes.resize(size, 0);
            }
            Step::Punch { at, len } => {
                let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                fallocate(file, mode, offset(at), offset(len)).unwrap();
                self.blank(at, len);
            }
            Step::Zero { at, len } => {
                fallocate(file, FallocateFlags::FALLOC_FL_ZERO_RANGE, offset(at), offset(len)).unwrap();
                let size = self.bytes.len().max(at + len);
                self.bytes.resize(size, 0);
                self.blank(at, len);
            }
            Step::Copy { from, to, len } => self.copy(file, from, to, len),
            Step::Sync => file.sync_all().unwrap(),
        }
    }

    fn copy(&mut self, file: &File, from: usize, to: usize, len: usize) {
        let (mut source, mut target) = (offset(from), offset(to));
        let mut left = len;
        while left > 0 {
            match copy_file_range(file, Some(&mut source), file, Some(&mut target), left) {
                Ok(0) => panic!("nothing copied: {:?}", self.shown),
                Ok(count) => left -= count,
                // Then the program copies, as cp does.
                Err(Errno::EOPNOTSUPP | Errno::EXDEV | Errno::ENOSYS) if left == len => return,
                Err(err) => panic!("{err}: {:?}", self.shown),
            }
        }
        let bytes = self.bytes[from..from + len].to_vec();
        self.put(to, &bytes);
    }
}
