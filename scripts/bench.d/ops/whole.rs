//! One large file: read in order, mapped, read at random, and written.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::PathBuf,
    ptr, slice,
};

use clap::Args;
use originfs::clock;

use crate::report::{Report, of_bytes, of_times, timed};

/// The size of the reads of `cp`, `sha256sum` and PHP's `readfile` on large files, within a factor of two.
const READ: usize = 128 << 10;
/// What databases and image libraries read at random.
const BLOCK: usize = 4 << 10;
/// What `cp` writes at most in one call where the file system names no size.
const WRITE: usize = 256 << 10;

/// Reads a file from start to end.
#[derive(Args, Debug)]
pub(crate) struct Stream {
    file: PathBuf,
}

impl Stream {
    pub(crate) fn run(self) -> io::Result<Report> {
        let start = clock::now();
        let (mut file, mut buffer, mut bytes) = (File::open(self.file)?, vec![0; READ], 0);
        loop {
            let read = file.read(black_box(&mut buffer))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
        }
        drop(file);
        Ok(of_bytes(bytes, start.elapsed()))
    }
}

/// Maps a file and reads a word of every page.
#[derive(Args, Debug)]
pub(crate) struct Mmap {
    file: PathBuf,
}

impl Mmap {
    #[expect(unsafe_code, reason = "mmap has no safe form")]
    pub(crate) fn run(self) -> io::Result<Report> {
        let start = clock::now();
        let file = File::open(self.file)?;
        let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping wherever the kernel wants it.
        let map = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: mapped above with this length; nobody shortens the file while a bench runs.
        let bytes = unsafe { slice::from_raw_parts(map.cast::<u8>(), size) };
        let sum = bytes.iter().step_by(BLOCK).fold(0_u64, |sum, &byte| sum + u64::from(byte));
        // SAFETY: what was mapped above; `bytes` is not used any more.
        if unsafe { libc::munmap(map, size) } != 0 {
            return Err(io::Error::last_os_error());
        }
        black_box(sum);
        Ok(of_bytes(size as u64, start.elapsed()))
    }
}

/// Reads 4 KiB at random places, the same in every run.
#[derive(Args, Debug)]
pub(crate) struct Random {
    file: PathBuf,
    #[arg(long)]
    count: usize,
}

impl Random {
    pub(crate) fn run(self) -> io::Result<Report> {
        let file = File::open(self.file)?;
        let blocks = file.metadata()?.len() / BLOCK as u64;
        if blocks == 0 {
            return Err(io::Error::other("the file is too small"));
        }
        let (mut buffer, mut state) = (vec![0; BLOCK], 1_u64);
        let start = clock::now();
        let times: io::Result<_> = (0..self.count)
            .map(|_| {
                state = next(state);
                let at = (state >> 16) % blocks * BLOCK as u64;
                timed(|| file.read_exact_at(black_box(&mut buffer), at))
            })
            .collect();
        Ok(of_times(times?, start.elapsed()))
    }
}

/// Writes a new file from start to end and closes it.
#[derive(Args, Debug)]
pub(crate) struct Write {
    file: PathBuf,
    #[arg(long)]
    bytes: usize,
}

impl Write {
    pub(crate) fn run(self) -> io::Result<Report> {
        // Several buffers of different bytes: nothing on the way shall profit from equal ones.
        let content = noise(64 * WRITE, 7);
        let start = clock::now();
        let mut file = File::create(self.file)?;
        let mut left = self.bytes;
        for chunk in content.chunks(WRITE).cycle() {
            let len = chunk.len().min(left);
            if len == 0 {
                break;
            }
            file.write_all(&chunk[..len])?;
            left -= len;
        }
        // By hand, because dropping a file ignores what close says.
        let closing = timed(|| Ok(nix::unistd::close(file)?))?;
        let mut report = of_bytes(self.bytes as u64, start.elapsed());
        report["close_seconds"] = closing.as_secs_f64().into();
        Ok(report)
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = next(state);
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// xorshift64 (Marsaglia, "Xorshift RNGs", 2003). Never 0 for a state that is not 0.
fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_length_and_repeats_with_its_seed() {
        assert_eq!(noise(1001, 3).len(), 1001);
        assert_eq!(noise(100, 3), noise(100, 3));
        assert_ne!(noise(100, 3), noise(100, 4));
    }
}
