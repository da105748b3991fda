//! Where log lines go: stderr, a file, or syslog.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

/// Where the local syslog listens (syslog(3)).
const DEV_LOG: &str = "/dev/log";
/// The facility `daemon` of RFC 3164, section 4.1.1, in the place where the priority wants it.
const DAEMON: u8 = 3 << 3;
/// The longest line in bytes. RFC 3164 allows 1024 in all; local daemons take more, and keys alone can have 1024.
const LINE_MAX: usize = 4096;

/// Where log lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum To {
    Stderr,
    /// Appended; rotation needs `copytruncate`.
    File(PathBuf),
    Syslog,
}

/// Starts the log of this process: ours from `info` on (`debug` if asked), that of libraries from `warn` on. Once.
pub fn init(to: &To, debug: bool) -> io::Result<()> {
    let mut builder = Builder::new();
    let own = if debug { LevelFilter::Debug } else { LevelFilter::Info };
    builder.filter_level(LevelFilter::Warn).filter_module("originfs", own);
    match to {
        // systemd's journal stamps lines by itself.
        To::Stderr if std::env::var_os("JOURNAL_STREAM").is_some() => {
            builder.format(|out, record| {
                writeln!(out, "<{}>{}", severity(record.level()), one_line(&record.args().to_string()))
            });
        }
        To::Stderr => {}
        To::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        To::Syslog => {
            builder.target(Target::Pipe(Box::new(Syslog::new(Path::new(DEV_LOG))?)));
            builder.format(|out, record| out.write_all(line(record.level(), &record.args().to_string()).as_bytes()));
        }
    }
    builder.try_init().map_err(io::Error::other)
}

/// A line for the local syslog daemon. It has no time: every daemon stamps what it gets from this host.
fn line(level: Level, text: &str) -> String {
    let mut line = format!("<{}>originfs[{}]: {}", DAEMON | severity(level), process::id(), one_line(text));
    while line.len() > LINE_MAX {
        line.pop();
    }
    line
}

/// The severities of RFC 3164, section 4.1.1.
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// A key must not be able to forge a line of the log.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// Each write is one datagram. The socket is not connected, so that the daemon may be restarted, and never waits: a
/// stuck syslog must not stop a mount.
struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Syslog {
    fn new(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl Write for Syslog {
    /// A line that nobody takes is lost; there is nowhere to report that.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.socket.send_to(line, &self.path).ok();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syslog_line_is_one_line() {
        let text = line(Level::Warn, "GetObject \"a\nb\": no");
        assert_eq!(text, format!("<28>originfs[{}]: GetObject \"a b\": no", process::id()));
        assert!(line(Level::Error, &"\u{e9}".repeat(LINE_MAX)).len() <= LINE_MAX);
    }

    #[test]
    fn syslog_may_be_absent_and_come_back() {
        let path = std::env::temp_dir().join(format!("originfs-syslog-{}", process::id()));
        let mut syslog = Syslog::new(&path).unwrap();
        syslog.write_all(b"lost").unwrap();
        for round in ["one", "two"] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            syslog.write_all(round.as_bytes()).unwrap();
            let mut heard = [0; 16];
            let len = daemon.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], round.as_bytes());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
