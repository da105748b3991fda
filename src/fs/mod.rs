//! File system semantics over a bucket, without a kernel: what each call does and promises.

pub mod types;

use std::{ffi::OsStr, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    config::FsOptions,
    error::{Error, Result},
    store::Store,
};
use types::{Caller, DirEntry, Fh, Found, Invalidation, NodeId, OpenMode, Opened, RenameMode, SetAttr, Stat, Whence};

/// One mounted tree.
#[derive(Debug)]
pub struct Fs<S> {
    store: Arc<S>,
    options: FsOptions,
}

/// Calls named `try_*` answer from memory or give `None`; they never wait and may run on a kernel thread. All others
/// may wait for the bucket.
#[allow(unused_variables, clippy::unused_async, clippy::todo)]
impl<S: Store> Fs<S> {
    pub fn try_lookup(&self, parent: NodeId, name: &OsStr, caller: Caller) -> Option<Result<Found>> {
        todo!()
    }
    pub async fn lookup(&self, parent: NodeId, name: &OsStr, caller: Caller) -> Result<Found> {
        todo!()
    }
    pub fn forget(&self, id: NodeId, lookups: u64) {
        todo!()
    }
    pub fn try_getattr(&self, id: NodeId) -> Option<Result<(Stat, Duration)>> {
        todo!()
    }
    pub async fn getattr(&self, id: NodeId) -> Result<(Stat, Duration)> {
        todo!()
    }
    pub async fn setattr(&self, id: NodeId, fh: Option<Fh>, set: SetAttr, caller: Caller) -> Result<(Stat, Duration)> {
        todo!()
    }
    pub async fn readlink(&self, id: NodeId) -> Result<Bytes> {
        todo!()
    }
    /// `mode`: permission bits after the umask.
    pub async fn mkdir(&self, parent: NodeId, name: &OsStr, mode: u32, caller: Caller) -> Result<Found> {
        todo!()
    }
    pub async fn symlink(&self, parent: NodeId, name: &OsStr, target: &OsStr, caller: Caller) -> Result<Found> {
        todo!()
    }
    pub async fn unlink(&self, parent: NodeId, name: &OsStr) -> Result<()> {
        todo!()
    }
    pub async fn rmdir(&self, parent: NodeId, name: &OsStr) -> Result<()> {
        todo!()
    }
    pub async fn rename(&self, from: (NodeId, &OsStr), to: (NodeId, &OsStr), mode: RenameMode) -> Result<()> {
        todo!()
    }
    pub async fn create(
        &self,
        parent: NodeId,
        name: &OsStr,
        mode: u32,
        open: OpenMode,
        caller: Caller,
    ) -> Result<(Found, Opened)> {
        todo!()
    }
    pub async fn open(&self, id: NodeId, open: OpenMode, caller: Caller) -> Result<Opened> {
        todo!()
    }
    /// Local bytes only. Short only at the end of the file.
    pub fn try_read(&self, fh: Fh, offset: u64, len: u32) -> Option<Result<Bytes>> {
        todo!()
    }
    pub async fn read(&self, fh: Fh, offset: u64, len: u32) -> Result<Bytes> {
        todo!()
    }
    /// With `append` the offset is ignored. Gives the bytes written: all of them.
    pub async fn write(&self, fh: Fh, offset: u64, data: Bytes, append: bool) -> Result<u32> {
        todo!()
    }
    /// close(2): what is dirty is in the bucket when this returns `Ok`.
    pub async fn flush(&self, fh: Fh) -> Result<()> {
        todo!()
    }
    pub async fn fsync(&self, fh: Fh) -> Result<()> {
        todo!()
    }
    pub async fn release(&self, fh: Fh) {
        todo!()
    }
    pub async fn opendir(&self, id: NodeId) -> Result<Fh> {
        todo!()
    }
    /// Entries from `offset` on, at most `max`; empty at the end.
    pub async fn readdir(&self, id: NodeId, fh: Fh, offset: u64, max: usize) -> Result<Vec<DirEntry>> {
        todo!()
    }
    /// As the kernel wants it for READDIRPLUS: counts one lookup for the entry. `None`: the name is gone meanwhile.
    /// TTLs are zero where the listing does not tell all attributes.
    pub fn entry(&self, id: NodeId, fh: Fh, entry: &DirEntry) -> Option<Found> {
        todo!()
    }
    pub fn releasedir(&self, fh: Fh) {
        todo!()
    }
    pub async fn getxattr(&self, id: NodeId, name: &OsStr) -> Result<Bytes> {
        todo!()
    }
    /// Names, each with a NUL at its end.
    pub async fn listxattr(&self, id: NodeId) -> Result<Bytes> {
        todo!()
    }
    pub async fn lseek(&self, fh: Fh, offset: u64, whence: Whence) -> Result<u64> {
        todo!()
    }
    pub async fn fallocate(&self, fh: Fh, offset: u64, len: u64, mode: i32) -> Result<()> {
        todo!()
    }
    pub async fn copy_file_range(&self, from: (Fh, u64), to: (Fh, u64), len: u64) -> Result<u32> {
        todo!()
    }
    /// Uploads everything dirty; for unmount. Gives what failed, by key.
    pub async fn flush_all(&self) -> Vec<(String, Error)> {
        todo!()
    }
}
