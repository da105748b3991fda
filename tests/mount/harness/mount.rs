//! A mount that ends with the test, however the test ends.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Bucket, PATIENCE, eventually};

/// One webserver: a process, its mount point, its cache.
#[derive(Debug)]
pub(crate) struct Mount {
    child: Child,
    base: PathBuf,
    dir: PathBuf,
}

/// The program ended instead of mounting.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

/// A directory of this test process and nobody else's.
pub(crate) fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("originfs-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).unwrap();
    dir
}

impl Mount {
    /// Returns when the mount answers. `cache_dir=` and `dir=` in `options` replace the fresh ones.
    pub(crate) fn start(bucket: &Bucket, endpoint: &str, options: &str) -> Result<Self, Refused> {
        let base = fresh_dir();
        let (mut dir, mut cache) = (base.join("mnt"), base.join("cache"));
        let mut all = format!("endpoint={endpoint},path_style,region=us-east-1,timeout=10s");
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("dir", path)) => dir = path.into(),
                Some(("cache_dir", path)) => cache = path.into(),
                _ => all = format!("{all},{option}"),
            }
        }
        fs::create_dir_all(&dir).unwrap();
        let log = fs::File::create(base.join("log")).unwrap();
        // The kernel ends the mount if the thread of the test dies without a word.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", env!("CARGO_BIN_EXE_originfs"), "mount", &bucket.source()])
            .arg(&dir)
            .args(["-f", "-o", &format!("{all},cache_dir={}", cache.display())])
            .env("AWS_ACCESS_KEY_ID", &bucket.server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &bucket.server.secret_key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut mount = Self { child, base, dir };
        let mut ended = None;
        eventually("the mount answers", || {
            ended = mount.child.try_wait().unwrap();
            ended.is_some() || mount.is_mounted() && fs::metadata(&mount.dir).is_ok()
        });
        match ended {
            Some(status) => Err(Refused { status, said: mount.log() }),
            None => Ok(mount),
        }
    }

    /// A path in the mount.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.base.join("cache")
    }

    /// What the program said so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        fs::File::open(self.base.join("log")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[track_caller]
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    #[track_caller]
    pub(crate) fn stat(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == self.dir))
    }

    /// Ends the mount as systemd does; returns when the program is gone, with how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the program's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the mount's process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Detaches what a killed program left, so that the place can be mounted again.
    pub(crate) fn detach(&self) {
        umount2(&self.dir, MntFlags::MNT_DETACH).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.dir.display(), self.log());
        }
        let start = originfs::clock::now();
        if matches!(self.child.try_wait(), Ok(None)) {
            kill(self.pid(), Signal::SIGTERM).unwrap_or_default();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        if self.is_mounted() {
            umount2(&self.dir, MntFlags::MNT_DETACH).unwrap_or_default();
        }
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        fs::remove_dir_all(&self.base).unwrap_or_default();
    }
}
