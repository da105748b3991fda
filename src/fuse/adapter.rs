//! fuser's trait over [`Fs`]: each handler decodes, hands on, and is gone.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use nix::unistd::geteuid;
use tokio::runtime::Handle;

use super::{
    call::{Call, Calls, Edge, nothing},
    decode::{self, caller, file},
    dir::{self, At},
    files::Files,
    held::Held,
    init::Kernel,
    open::{self, New},
    reply, write,
};
use crate::{
    error::Error,
    fs::{Fs, types::NodeId},
    store::Store,
};

/// A file system as the kernel calls it.
#[derive(Debug)]
pub struct Adapter<S: Store>(Arc<Edge<S>>);

impl<S: Store> Adapter<S> {
    /// `xattr`: extended attributes exist. `limit`: how long a request may take whose work is bounded. What waits runs
    /// on `runtime` and is noted in `held`; what the kernel grants is told in `kernel`.
    pub fn new(fs: Arc<Fs<S>>, kernel: Kernel, xattr: bool, runtime: Handle, (limit, held): (Duration, Held)) -> Self {
        let files = Files::new(kernel.clone());
        Self(Arc::new(Edge { fs, files, kernel, xattr, calls: Calls { runtime, limit, held } }))
    }

    fn fs(&self) -> Arc<Fs<S>> {
        Arc::clone(&self.0.fs)
    }
}

impl<S: Store> Filesystem for Adapter<S> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.0.kernel.negotiate(config, geteuid().is_root(), self.0.fs.lists_attributes())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (call, caller) = (Call::new("lookup", parent), caller(req));
        call.inline(|| {
            if let Some(known) = self.0.fs.try_lookup(call.node, name, caller) {
                self.0.fs.passed(call.node, name);
                return call.answer(reply, known, reply::entry);
            }
            let (fs, name) = (self.fs(), name.to_owned());
            self.0.calls.ask(call, reply, async move { fs.lookup(call.node, &name, caller).await }, reply::entry);
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        let call = Call::new("forget", ino);
        call.inline(|| self.0.fs.forget(call.node, lookups));
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let (call, caller) = (Call::new("getattr", ino), caller(req));
        call.inline(|| {
            if let Some(known) = self.0.fs.try_getattr(call.node, caller) {
                return call.answer(reply, known, reply::attr);
            }
            let fs = self.fs();
            self.0.calls.ask(call, reply, async move { fs.getattr(call.node, caller).await }, reply::attr);
        });
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (call, fs, caller) = (Call::new("setattr", ino), self.fs(), caller(req));
        let set = decode::set_attr(mode, (uid, gid), size, (atime, mtime));
        let work = async move { fs.setattr(call.node, fh.map(file), set, caller).await };
        match size {
            Some(_) => self.0.calls.wait(call, reply, work, reply::attr),
            None => self.0.calls.change(call, reply, work, nothing, reply::attr),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let (call, fs) = (Call::new("readlink", ino), self.fs());
        self.0.calls.ask(call, reply, async move { fs.readlink(call.node).await }, reply::data);
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (call, fs, new) = (Call::new("mknod", parent), self.fs(), New::of(req, name, mode));
        // A mode without type makes a regular file (mknod(2)).
        if matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return open::make(&self.0, call, new, reply);
        }
        let work = async move { fs.mknod(call.node, &new.name, (mode, rdev), new.caller).await };
        self.0.calls.change(call, reply, work, self.0.forgetting(), reply::entry);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let (call, fs, new) = (Call::new("mkdir", parent), self.fs(), New::of(req, name, mode));
        let work = async move { fs.mkdir(call.node, &new.name, new.mode, new.caller).await };
        self.0.calls.change(call, reply, work, self.0.forgetting(), reply::entry);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (call, fs, new) = (Call::new("symlink", parent), self.fs(), New::of(req, name, 0));
        let target = target.as_os_str().to_owned();
        let work = async move { fs.symlink(call.node, &new.name, &target, new.caller).await };
        self.0.calls.change(call, reply, work, self.0.forgetting(), reply::entry);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (call, fs, name) = (Call::new("unlink", parent), self.fs(), name.to_owned());
        let work = async move { fs.unlink(call.node, &name).await };
        self.0.calls.change(call, reply, work, nothing, reply::empty);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (call, fs, name) = (Call::new("rmdir", parent), self.fs(), name.to_owned());
        let work = async move { fs.rmdir(call.node, &name).await };
        self.0.calls.change(call, reply, work, nothing, reply::empty);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = decode::rename_mode(flags) else { return reply.error(Errno::EINVAL) };
        let (name, to, new_name) = (name.to_owned(), NodeId(new_parent.0), new_name.to_owned());
        let (call, fs) = (Call::new("rename", parent).and(to), self.fs());
        let work = async move { fs.rename((call.node, &name), (to, &new_name), mode).await };
        self.0.calls.wait(call, reply, work, reply::empty);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        open::open(&self.0, Call::new("open", ino), decode::open_mode(flags.0), caller(req), reply);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (call, new) = (Call::new("create", parent), New::of(req, name, mode));
        open::create(&self.0, call, new, decode::open_mode(flags), reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (call, fh) = (Call::new("read", ino), file(fh));
        call.inline(|| {
            if let Some(known) = self.0.fs.try_read(fh, offset, size) {
                return call.answer(reply, known, reply::data);
            }
            let fs = self.fs();
            self.0.calls.ask(call, reply, async move { fs.read(fh, offset, size).await }, reply::data);
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Pages of a mapping go where they belong, whatever the file was opened with.
        let append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        write::write(&self.0, Call::new("write", ino), file(fh), (offset, data, append), reply);
    }

    fn flush(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let (call, fs) = (Call::new("flush", ino), self.fs());
        self.0.calls.wait(call, reply, async move { fs.flush(file(fh)).await }, reply::empty);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        open::release(&self.0, Call::new("release", ino), file(fh), reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let (call, fs) = (Call::new("fsync", ino), self.fs());
        self.0.calls.wait(call, reply, async move { fs.fsync(file(fh)).await }, reply::empty);
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No FOPEN_CACHE_DIR: the kernel would answer the next readdir without asking, and only a lease allows that.
        let (call, fs) = (Call::new("opendir", ino), self.fs());
        let caller = caller(req);
        let work = async move { fs.opendir(call.node, caller).await };
        self.0.calls.wait(call, reply, work, |reply, fh| reply.opened(FileHandle(fh.0), FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let (call, fs) = (Call::new("readdir", ino), self.fs());
        let at = At { id: call.node, fh: file(fh), offset };
        self.0.calls.run(async move { dir::list(&fs, call, at, reply).await });
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let (call, fs) = (Call::new("readdirplus", ino), self.fs());
        let at = At { id: call.node, fh: file(fh), offset };
        self.0.calls.run(async move { dir::list_plus(&fs, call, at, reply).await });
    }

    fn releasedir(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        Call::new("releasedir", ino).inline(|| {
            self.0.fs.releasedir(file(fh));
            reply.ok();
        });
    }

    /// Names are in the bucket when the call that made them returns.
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply::statfs(reply);
    }

    /// `ENOSYS` is kept by the kernel: it never asks for an attribute again, which halves `ls -l`.
    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.0.xattr {
            return reply.error(Errno::ENOSYS);
        }
        let (call, fs, name) = (Call::new("getxattr", ino), self.fs(), name.to_owned());
        let work = async move { fs.getxattr(call.node, &name).await };
        self.0.calls.ask(call, reply, work, move |reply, value| reply::xattr(reply, &value, size));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.0.xattr {
            return reply.error(Errno::ENOSYS);
        }
        let (call, fs) = (Call::new("listxattr", ino), self.fs());
        let work = async move { fs.listxattr(call.node) };
        self.0.calls.ask(call, reply, work, move |reply, names| reply::xattr(reply, &names, size));
    }

    /// The kernel makes `EOPNOTSUPP` of it, which `cp -a` and `rsync -X` take for an answer; they are read-only.
    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    /// As [`Self::setxattr`].
    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    /// After this the kernel answers poll(2) itself: files are always ready.
    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (call, fs) = (Call::new("fallocate", ino), self.fs());
        self.0.calls.wait(call, reply, async move { fs.fallocate(file(fh), offset, length, mode).await }, reply::empty);
    }

    fn lseek(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let (Some(whence), Ok(offset)) = (decode::whence(whence), u64::try_from(offset)) else {
            return reply.error(Errno::EINVAL);
        };
        let (call, fs) = (Call::new("lseek", ino), self.fs());
        let work = async move {
            let found = fs.lseek(file(fh), offset, whence).await?;
            i64::try_from(found).map_err(|_| Error::TooLarge)
        };
        self.0.calls.ask(call, reply, work, ReplyLseek::offset);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        from: FileHandle,
        from_offset: u64,
        ino: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (call, fs) = (Call::new("copy_file_range", ino), self.fs());
        let work = async move { fs.copy_file_range((file(from), from_offset), (file(to), to_offset), len).await };
        self.0.calls.wait(call, reply, work, reply::written);
    }
}
