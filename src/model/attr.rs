//! Attributes of a node, as every mount shows them.

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time {
    pub sec: i64,
    /// 0..=999,999,999
    pub nsec: u32,
}

impl Time {
    pub fn seconds(sec: i64) -> Self {
        Self { sec, nsec: 0 }
    }

    /// Without the fraction: what a bucket keeps unless `mtime=ns`.
    #[must_use]
    pub fn whole(self) -> Self {
        Self::seconds(self.sec)
    }
}

/// What a node is. Devices, sockets and pipes do not exist here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    File,
    Dir,
    Symlink,
}

impl Kind {
    /// The type bits of `st_mode` (inode(7)).
    pub fn type_bits(self) -> u32 {
        match self {
            Self::File => libc::S_IFREG,
            Self::Dir => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
        }
    }

    /// The kind that the type bits of `st_mode` name, if it exists here.
    pub fn from_mode(mode: u32) -> Option<Self> {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Some(Self::File),
            libc::S_IFDIR => Some(Self::Dir),
            libc::S_IFLNK => Some(Self::Symlink),
            _ => None,
        }
    }
}

/// What stat(2) shows, less the numbers that are the same for every file (nlink 1) or derived (ctime = mtime).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attr {
    pub kind: Kind,
    /// Bytes; 0 for directories.
    pub size: u64,
    pub mtime: Time,
    /// Permission bits, 0..=0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}
