//! What the tests are written in: a bucket of their own, mounts that always end, and conditions with deadlines.

mod bucket;
mod mount;
mod outside;
mod server;
mod wire;

pub(crate) use bucket::Bucket;
pub(crate) use mount::{Mount, Refused, words_of};
pub(crate) use outside::{Process, fresh_dir, run, start};
pub(crate) use server::{Kind, Server};
pub(crate) use wire::{Fault, Request, Wire};

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::errno::Errno;
use sha2::{Digest, Sha256};

/// Longer than anything on loopback takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` holds. Panics with `what` when that takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = originfs::clock::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The call must fail, and with this errno.
#[track_caller]
pub(crate) fn refused<T>(result: impl Into<Outcome<T>>, errno: Errno) {
    match result.into().0 {
        Ok(_) => panic!("it succeeded, where {errno} was due"),
        Err(got) => assert_eq!(got, errno),
    }
}

/// The result of a system call, of std or of nix.
pub(crate) struct Outcome<T>(Result<T, Errno>);

impl<T> From<io::Result<T>> for Outcome<T> {
    fn from(result: io::Result<T>) -> Self {
        Self(result.map_err(|err| Errno::from_raw(err.raw_os_error().expect("an error of the kernel"))))
    }
}

impl<T> From<nix::Result<T>> for Outcome<T> {
    fn from(result: nix::Result<T>) -> Self {
        Self(result)
    }
}

/// Writes a new file and tells of errors of close(2), too: `std::fs::write` would not.
pub(crate) fn store(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes.as_ref())?;
    Ok(nix::unistd::close(file)?)
}

/// The names of a directory, sorted.
#[track_caller]
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `len` bytes that look random, the same for the same seed (xorshift64).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// SHA-256 in base64, for comparing large contents: a failed assertion stays readable.
pub(crate) fn sum(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}
