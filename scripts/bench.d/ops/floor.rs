//! The floor: a FUSE file system that does nothing but answer from memory, with the answers that cost least. What a
//! mount takes longer than this is its own.

use std::{
    ffi::OsStr,
    io,
    path::PathBuf,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, Request, Session, SessionACL,
};
use serde_json::json;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::{report::Report, whole::noise};

/// Nothing here ever changes.
const FOREVER: Duration = Duration::from_secs(1_000_000);
/// Directories have this plus their number above the numbers of their files.
const DIR_SHIFT: u32 = 32;

/// Serves directories of equal files until SIGTERM, then unmounts.
#[derive(Args, Debug)]
pub(crate) struct Floor {
    mountpoint: PathBuf,
    /// NAME:COUNT:BYTES, a directory with the files `f0`, `f1`, .. Can be repeated.
    #[arg(long = "dir", value_name = "NAME:COUNT:BYTES", required = true)]
    dirs: Vec<Dir>,
}

impl Floor {
    pub(crate) fn run(self) -> io::Result<Report> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("floor".to_owned()), MountOption::DefaultPermissions];
        // nginx reads as another user.
        config.acl = SessionACL::All;
        // Two would wake each other, and nothing here waits.
        config.n_threads = Some(1);
        let largest = self.dirs.iter().map(|dir| dir.bytes).max().unwrap_or_default();
        let served = Served { content: noise(largest, 5), dirs: self.dirs };
        runtime.block_on(async {
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let session: BackgroundSession = Session::new(served, &self.mountpoint, &config)?.spawn()?;
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            session.umount_and_join()
        })?;
        Ok(json!({ "ended": true }))
    }
}

#[derive(Clone, Debug)]
struct Dir {
    name: String,
    count: u64,
    bytes: usize,
}

impl FromStr for Dir {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let (Some(name), Some(count), Some(bytes), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("not NAME:COUNT:BYTES".to_owned());
        };
        let count: u32 = count.parse().map_err(|err| format!("{count}: {err}"))?;
        let bytes = bytes.parse().map_err(|err| format!("{bytes}: {err}"))?;
        Ok(Self { name: name.to_owned(), count: count.into(), bytes })
    }
}

#[derive(Debug)]
struct Served {
    dirs: Vec<Dir>,
    /// Of every file, as much as it is long.
    content: Vec<u8>,
}

/// What a node number stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    Root,
    Dir(usize),
    File(usize, u64),
}

impl Node {
    fn number(self) -> u64 {
        match self {
            Self::Root => INodeNo::ROOT.0,
            Self::Dir(dir) => (dir as u64 + 1) << DIR_SHIFT,
            Self::File(dir, file) => ((dir as u64 + 1) << DIR_SHIFT) + file + 1,
        }
    }
}

impl Served {
    fn node(&self, number: INodeNo) -> Option<Node> {
        if number == INodeNo::ROOT {
            return Some(Node::Root);
        }
        let dir = usize::try_from(number.0 >> DIR_SHIFT).ok()?.checked_sub(1)?;
        let count = self.dirs.get(dir)?.count;
        match number.0 & ((1 << DIR_SHIFT) - 1) {
            0 => Some(Node::Dir(dir)),
            file => (file <= count).then(|| Node::File(dir, file - 1)),
        }
    }

    fn child(&self, parent: INodeNo, name: &str) -> Option<Node> {
        match self.node(parent)? {
            Node::Root => self.dirs.iter().position(|dir| dir.name == name).map(Node::Dir),
            Node::Dir(dir) => {
                let file = name.strip_prefix('f')?.parse().ok()?;
                (file < self.dirs[dir].count).then_some(Node::File(dir, file))
            }
            Node::File(..) => None,
        }
    }

    fn attr(&self, node: Node) -> FileAttr {
        let (kind, perm, size) = match node {
            Node::File(dir, _) => (FileType::RegularFile, 0o644, self.dirs[dir].bytes as u64),
            Node::Root | Node::Dir(_) => (FileType::Directory, 0o755, 0),
        };
        FileAttr {
            ino: INodeNo(node.number()),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The name and node at a place of a directory.
    fn entry(&self, dir: INodeNo, at: u64) -> Option<(String, Node)> {
        match self.node(dir)? {
            Node::Root => {
                let number = usize::try_from(at).ok()?;
                self.dirs.get(number).map(|dir| (dir.name.clone(), Node::Dir(number)))
            }
            Node::Dir(dir) => (at < self.dirs[dir].count).then(|| (format!("f{at}"), Node::File(dir, at))),
            Node::File(..) => None,
        }
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_AUTO_INVAL_DATA;
        config.add_capabilities(wanted & config.capabilities()).map_err(|_| io::Error::other("no capabilities"))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str().and_then(|name| self.child(parent, name)) {
            Some(node) => reply.entry(&FOREVER, &self.attr(node), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Some(node) => reply.attr(&FOREVER, &self.attr(node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(Node::File(dir, _)) = self.node(ino) else { return reply.error(Errno::EISDIR) };
        let len = self.dirs[dir].bytes;
        let start = usize::try_from(offset).unwrap_or(len).min(len);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(len)).min(len);
        reply.data(&self.content[start..end]);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for at in offset.. {
            let Some((name, node)) = self.entry(ino, at) else { break };
            if reply.add(INodeNo(node.number()), at + 1, self.attr(node).kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        for at in offset.. {
            let Some((name, node)) = self.entry(ino, at) else { break };
            if reply.add(INodeNo(node.number()), at + 1, name, &FOREVER, &self.attr(node), Generation(0)) {
                break;
            }
        }
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_name_and_by_its_number() {
        let dirs = vec!["a:3:10".parse().unwrap(), "b:2:20".parse().unwrap()];
        let served = Served { dirs, content: Vec::new() };
        let list = |dir| (0..).map_while(|at| served.entry(dir, at)).collect::<Vec<_>>();
        let root = list(INodeNo::ROOT);
        assert_eq!(root.len(), 2);
        for (name, dir) in root {
            let dir_number = INodeNo(dir.number());
            assert_eq!((served.child(INodeNo::ROOT, &name), served.node(dir_number)), (Some(dir), Some(dir)));
            let files = list(dir_number);
            assert_eq!(files.len(), if name == "a" { 3 } else { 2 });
            for (name, file) in files {
                assert_eq!(served.child(dir_number, &name), Some(file));
                assert_eq!(served.node(INodeNo(file.number())), Some(file));
            }
            assert_eq!(served.child(dir_number, "f9"), None);
        }
    }

    #[test]
    fn a_directory_needs_three_words() {
        assert!("a:3".parse::<Dir>().is_err());
        assert!("a:3:1:1".parse::<Dir>().is_err());
        assert!("a:x:1".parse::<Dir>().is_err());
    }
}
