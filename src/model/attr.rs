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

/// What a node is. All but the first three exist only where permissions are stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl Kind {
    /// The type bits of `st_mode` (inode(7)).
    pub fn type_bits(self) -> u32 {
        match self {
            Self::File => libc::S_IFREG,
            Self::Dir => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::Char => libc::S_IFCHR,
            Self::Block => libc::S_IFBLK,
        }
    }

    /// The kind that the type bits of `st_mode` name, if there is one.
    pub fn from_mode(mode: u32) -> Option<Self> {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Some(Self::File),
            libc::S_IFDIR => Some(Self::Dir),
            libc::S_IFLNK => Some(Self::Symlink),
            libc::S_IFIFO => Some(Self::Fifo),
            libc::S_IFSOCK => Some(Self::Socket),
            libc::S_IFCHR => Some(Self::Char),
            libc::S_IFBLK => Some(Self::Block),
            _ => None,
        }
    }

    /// Whether it is all name and no content: a pipe, a socket or a device. The kernel does the rest.
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket | Self::Char | Self::Block)
    }

    /// Whether it has a device number.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Char | Self::Block)
    }
}

/// What stat(2) shows, less the numbers that are derived. Kept for every name that is known: 80 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attr {
    pub kind: Kind,
    /// Bytes; 0 for directories and special files.
    pub size: u64,
    pub mtime: Time,
    /// Equal to `mtime` where permissions are uniform; never moved by reading.
    pub atime: Time,
    /// Equal to `mtime` where permissions are uniform.
    pub ctime: Time,
    /// Permission bits, 0..=0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The number of a device in the kernel's 32 bits (`new_encode_dev`), which for majors below 4096 is that of
    /// makedev(3); else 0.
    pub rdev: u32,
}

impl Attr {
    /// With one time for all three.
    #[must_use]
    pub fn at(self, time: Time) -> Self {
        Self { mtime: time, atime: time, ctime: time, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_small_enough_to_remember_many() {
        assert_eq!(size_of::<Attr>(), 80);
    }

    #[test]
    fn every_kind_is_found_by_its_type_bits() {
        for kind in [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::Char, Kind::Block] {
            assert_eq!(Kind::from_mode(kind.type_bits() | 0o7777), Some(kind));
        }
        assert_eq!(Kind::from_mode(0o644), None);
        assert_eq!(Kind::from_mode(libc::S_IFMT), None);
    }
}
