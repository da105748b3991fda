//! `originfs umount`.

use std::{
    io::{self, ErrorKind, Read as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};

use super::{Failure, UmountArgs, place};
use crate::{clock, mount, telemetry::control};

/// How long the process behind the mount may take to end: it flushes what is left.
const END_WAIT: Duration = Duration::from_mins(1);
/// How often it is looked for: nothing tells the end of a process that is not a child.
const END_STEP: Duration = Duration::from_millis(5);

pub(super) fn command(command: &UmountArgs) -> Result<(), Failure> {
    let shown = command.dir.display();
    let dir = place::resolve(&command.dir).map_err(|err| Failure::usage(format!("{shown}: {err}")))?;
    if command.dead {
        return mount::clear_dead(&dir).map(drop).map_err(Failure::mount);
    }
    // Before: the socket is gone by the time the process is.
    let process = control::directory().and_then(|sockets| UnixStream::connect(control::path(&sockets, &dir))).ok();
    let unmount = if geteuid().is_root() { unmount } else { ask_fusermount };
    unmount(&dir, command.lazy)?;
    match process {
        Some(process) if !command.lazy => wait(process)
            .map_err(|err| Failure::system(format!("{shown} is unmounted, but its process has not ended: {err}"))),
        _ => Ok(()),
    }
}

fn unmount(dir: &Path, lazy: bool) -> Result<(), Failure> {
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    flags.set(MntFlags::MNT_DETACH, lazy);
    umount2(dir, flags).map_err(|errno| {
        let dir = dir.display();
        match errno {
            Errno::EINVAL => Failure::mount(format!("{dir} is not a mount point")),
            Errno::EBUSY => Failure::mount(format!("{dir} is in use (see fuser -vm {dir}, or use --lazy)")),
            errno => Failure::mount(format!("cannot unmount {dir}: {}", errno.desc())),
        }
    })
}

/// Users may not unmount; the setuid program of fuse may, on their behalf.
fn ask_fusermount(dir: &Path, lazy: bool) -> Result<(), Failure> {
    for program in ["fusermount3", "fusermount"] {
        let mut command = Command::new(program);
        command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(dir).stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) => output,
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            Err(err) => return Err(Failure::system(format!("{program}: {err}"))),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it failed");
        return Err(Failure::mount(format!("cannot unmount {}: {said}", dir.display())));
    }
    Err(Failure::system("fusermount3 is not installed"))
}

/// A control connection ends shortly before the process behind it.
fn wait(mut process: UnixStream) -> io::Result<()> {
    let late = || io::Error::new(ErrorKind::TimedOut, format!("waited {} s", END_WAIT.as_secs()));
    let by = clock::now() + END_WAIT;
    let pid = getsockopt(&process, PeerCredentials)?.pid();
    process.set_read_timeout(Some(END_WAIT))?;
    match process.read(&mut [0]) {
        Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
        Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err(late()),
        answer => drop(answer?),
    }
    while Path::new(&format!("/proc/{pid}")).exists() {
        if clock::now() > by {
            return Err(late());
        }
        thread::sleep(END_STEP);
    }
    Ok(())
}
