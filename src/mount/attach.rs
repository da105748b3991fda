//! Putting a FUSE device at a mount point, and taking it away again.
//!
//! Done here and not by fuser, because fuser unmounts by path once more when a session has ended, and that would hit
//! whatever was mounted there in the meantime.

use std::{
    fs::OpenOptions,
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    cmsg_space,
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair},
    unistd::{getgid, getuid},
};

use super::table::{self, AUTOMOUNT, Row, TYPE};

/// The set-user-ID program by which users mount (fuse3).
const FUSERMOUNT: &str = "fusermount3";

/// How it is mounted, beside what is always so (`default_permissions,nosuid,nodev`).
#[derive(Clone, Debug)]
pub(super) struct How {
    /// Shown as the source in /proc/mounts.
    pub(super) source: String,
    pub(super) allow_other: bool,
    pub(super) read_only: bool,
}

/// A mount of ours. Dropped, it is taken away at once, in use or not, so that a failed start leaves nothing behind.
#[derive(Debug)]
pub(super) struct Attached {
    point: PathBuf,
    row: Row,
}

/// What became of an attempt to unmount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unmounted {
    Gone,
    /// Files are open or somebody works in it.
    Busy,
}

/// Mounts at `point`, a path without symbolic links, and gives the device from which the kernel's requests are read.
pub(super) fn attach(point: &Path, how: &How) -> io::Result<(OwnedFd, Attached)> {
    let device = match attach_as_root(point, how) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => attach_as_user(point, how)?,
        attached => attached?,
    };
    let row =
        table::top(point).and_then(|row| row.ok_or_else(|| io::Error::other("it is not in /proc/self/mountinfo")));
    match row {
        Ok(row) => Ok((device, Attached { point: point.to_owned(), row })),
        Err(err) => {
            detach(point)?;
            Err(err)
        }
    }
}

/// Takes away what is mounted at `point` as soon as nobody uses it any more; the path is free at once.
pub(super) fn detach(point: &Path) -> io::Result<()> {
    unmount(point, MntFlags::MNT_DETACH).map(drop)
}

impl Attached {
    /// Unique while it is mounted.
    pub(super) fn id(&self) -> u64 {
        self.row.id
    }

    /// The device number's minor part: its name below /sys/fs/fuse/connections.
    pub(super) fn minor(&self) -> u32 {
        self.row.minor
    }

    /// Unmounts unless it is in use. Somebody else's unmount counts; what else is mounted at the path is not touched.
    pub(super) fn unmount(&self) -> io::Result<Unmounted> {
        self.take(MntFlags::empty())
    }

    /// Unmounts even if it is in use: the path is free at once, the rest when the last user is gone.
    pub(super) fn detach(&self) -> io::Result<Unmounted> {
        self.take(MntFlags::MNT_DETACH)
    }

    /// As [`Self::detach`], and ends the connection: what its users have open fails from now on. Users other than root
    /// cannot have that; for them it is the same.
    pub(super) fn force(&self) -> io::Result<Unmounted> {
        // fuse_umount_begin in Linux fs/fuse/inode.c aborts the connection.
        self.take(MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
    }

    fn take(&self, flags: MntFlags) -> io::Result<Unmounted> {
        match table::top(&self.point)? {
            Some(top) if top.id == self.row.id => unmount(&self.point, flags),
            _ if table::is_mounted(self.row.id)? => Err(io::Error::other("something else is mounted over it")),
            _ => Ok(Unmounted::Gone),
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Err(err) = self.detach() {
            log::error!("{} stays mounted: {err}", self.point.display());
        }
    }
}

fn attach_as_root(point: &Path, how: &How) -> io::Result<OwnedFd> {
    let device: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/fuse")?.into();
    // Looking at an automount point would wait for this very mount; only directories are such.
    let automount = table::top(point)?.is_some_and(|row| row.kind == AUTOMOUNT);
    let root_mode = if automount { libc::S_IFDIR } else { point.metadata()?.mode() & libc::S_IFMT };
    let mut data = format!(
        "fd={},rootmode={root_mode:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        getuid(),
        getgid()
    );
    if how.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if how.read_only {
        flags |= MsFlags::MS_RDONLY;
    }
    mount(Some(how.source.as_str()), point, Some(TYPE), flags, Some(data.as_str()))?;
    Ok(device)
}

/// fusermount3 mounts and sends the device through the socket that `_FUSE_COMMFD` names.
fn attach_as_user(point: &Path, how: &How) -> io::Result<OwnedFd> {
    let subtype = TYPE.strip_prefix("fuse.").expect("it is a FUSE type");
    // A comma would begin another option.
    let source = how.source.replace('\\', r"\\").replace(',', r"\,");
    let mut options = format!("fsname={source},subtype={subtype},default_permissions,nosuid,nodev");
    options.push_str(if how.allow_other { ",allow_other" } else { "" });
    options.push_str(if how.read_only { ",ro" } else { "" });
    // Without SOCK_CLOEXEC, because the child inherits its end.
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty())?;
    let mut child = Command::new(FUSERMOUNT);
    child.arg("-o").arg(options).arg("--").arg(point).env("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
    let output = child.output().map_err(|err| io::Error::other(format!("{FUSERMOUNT}: {err}")))?;
    drop(theirs);
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    receive(&ours)
}

fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut buffer = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(&fd) = fds.first()
        {
            #[expect(unsafe_code, reason = "a received descriptor has no owner yet")]
            // SAFETY: the kernel made this descriptor for us in recvmsg(2), and nobody else knows of it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(io::Error::other(format!("{FUSERMOUNT} sent no device")))
}

fn unmount(point: &Path, flags: MntFlags) -> io::Result<Unmounted> {
    match umount2(point, flags | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(Unmounted::Gone),
        Err(Errno::EBUSY) => Ok(Unmounted::Busy),
        Err(Errno::EPERM) => unmount_as_user(point, flags),
        Err(err) => Err(err.into()),
    }
}

fn unmount_as_user(point: &Path, flags: MntFlags) -> io::Result<Unmounted> {
    let lazy = flags.contains(MntFlags::MNT_DETACH);
    let mut child = Command::new(FUSERMOUNT);
    child.arg("-u").args(lazy.then_some("-z")).arg("--").arg(point);
    let output = child.output().map_err(|err| io::Error::other(format!("{FUSERMOUNT}: {err}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(Unmounted::Gone),
        false if said.contains("busy") => Ok(Unmounted::Busy),
        false => Err(io::Error::other(said.trim().to_owned())),
    }
}
