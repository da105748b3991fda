//! Telling whoever started the mount that it answers: the waiting parent process, and systemd.

use std::{
    env, fs, io,
    io::Write as _,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    process,
    time::Duration,
};

/// What the background process says on its stdout when the mount answers.
pub const WORD: &str = "ready";

/// How long a message to systemd may wait for room in its queue. A mount has to end also while systemd is stuck, and
/// one that waits longer than this has no use for what it would say.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// Held by the mount until it answers.
#[derive(Debug)]
#[must_use = "somebody waits for this"]
pub struct Ready {
    background: bool,
}

impl Ready {
    /// For a process that stays with its terminal.
    pub fn foreground() -> Self {
        Self { background: false }
    }

    /// For a process whose stdout is read by the parent that started it.
    pub fn background() -> Self {
        Self { background: true }
    }

    /// The mount answers. In the background the process lets go of its terminal: later words go to the log alone.
    pub fn announce(self) {
        if self.background
            && let Err(err) = release_terminal()
        {
            log::warn!("cannot tell the parent process that the mount is ready: {err}");
        }
        systemd(&format!("READY=1\nMAINPID={}\nSTATUS=serving", process::id()));
    }
}

fn release_terminal() -> io::Result<()> {
    // Not earlier: while somebody waits at an automount point, the kernel lets pass only the process group that systemd
    // mounts with (fs/autofs/root.c, `autofs_d_manage`).
    let alone = nix::unistd::setsid().map(drop).map_err(io::Error::from);
    let told = writeln!(io::stdout(), "{WORD}").and_then(|()| io::stdout().flush());
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    told.and(alone)
}

/// Sends `state` to the service manager, if there is one (`sd_notify(3)`): `READY=1`, `STATUS=...`, `WATCHDOG=1`,
/// `STOPPING=1`. It is not worth failing for.
pub fn systemd(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(err) = send(socket.as_bytes(), state) {
        log::warn!("cannot notify systemd: {err}");
    }
}

/// What the process is doing, for `systemctl status`.
pub fn say(status: &str) {
    systemd(&line(status));
}

/// A line break in a message of a server must not begin another assignment.
fn line(status: &str) -> String {
    format!("STATUS={}", status.replace(|c: char| c.is_control(), " "))
}

/// A name that begins with `@` is abstract (unix(7)).
fn send(socket: &[u8], state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(socket)))?,
    };
    let ours = UnixDatagram::unbound()?;
    ours.set_write_timeout(Some(SEND_LIMIT))?;
    ours.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// How often systemd wants to hear `WATCHDOG=1`, if at all: half of what it allows (`sd_watchdog_enabled(3)`).
pub fn watchdog_interval() -> Option<Duration> {
    let ours = |pid: String| pid.parse() == Ok(process::id());
    if !env::var("WATCHDOG_PID").map_or(true, ours) {
        return None;
    }
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &[u8], address: &SocketAddr) {
        let systemd = UnixDatagram::bind_addr(address).unwrap();
        send(name, "READY=1\nMAINPID=7").unwrap();
        let mut heard = [0; 64];
        let len = systemd.recv(&mut heard).unwrap();
        assert_eq!(&heard[..len], b"READY=1\nMAINPID=7");
    }

    #[test]
    fn systemd_hears_on_a_path() {
        let path = env::temp_dir().join(format!("originfs-notify-{}", process::id()));
        check(path.as_os_str().as_bytes(), &SocketAddr::from_pathname(&path).unwrap());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn systemd_hears_on_an_abstract_name() {
        let name = format!("originfs-notify-{}", process::id());
        check(format!("@{name}").as_bytes(), &SocketAddr::from_abstract_name(&name).unwrap());
    }

    #[test]
    fn a_status_is_one_assignment() {
        assert_eq!(line("timed out\nREADY=1"), "STATUS=timed out READY=1");
    }

    #[test]
    fn nobody_who_listens_is_an_error_and_no_hang() {
        let name = format!("originfs-deaf-{}", process::id());
        let _deaf = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        // The queue holds net.unix.max_dgram_qlen messages, 10 by default and hardly ever more than 10,000.
        let full = (0..10_000).find_map(|_| send(format!("@{name}").as_bytes(), "WATCHDOG=1").err());
        assert_eq!(full.map(|err| err.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn nobody_there_is_an_error_and_no_hang() {
        assert!(send(b"@originfs-nobody-listens-here", "READY=1").is_err());
        assert!(send(b"/nonexistent/socket", "READY=1").is_err());
    }
}
