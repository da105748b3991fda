//! A mount that ends with the test, however the test ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    mount::{MntFlags, umount2},
    sys::{signal::Signal, stat::Mode},
};

use super::{
    Bucket, PATIENCE, eventually,
    outside::{self, Process, fresh_dir},
    store,
};

/// One webserver: a process, its mount point, its cache.
#[derive(Debug)]
pub(crate) struct Mount {
    process: Process,
    base: PathBuf,
    dir: PathBuf,
    command: Vec<String>,
}

/// The program ended instead of mounting.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its exit code.
    pub(crate) code: i32,
    pub(crate) said: String,
}

impl Mount {
    /// Returns when the mount answers. `cache_dir=` and `dir=` in `options` replace the fresh ones; a word in capitals is
    /// a variable of its environment, set to 1 if no value follows.
    pub(crate) fn start(bucket: &Bucket, endpoint: &str, options: &str) -> Result<Self, Refused> {
        let base = fresh_dir();
        let (mut dir, mut cache) = (base.join("mnt"), base.join("cache"));
        let mut variables = Vec::new();
        // A disk that others fill is no failure of a test.
        let mut all = format!("endpoint={endpoint},path_style,region=us-east-1,timeout=10s,cache_min_free=256MiB");
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("dir", path)) => dir = path.into(),
                Some(("cache_dir", path)) => cache = path.into(),
                Some((name, _)) if is_variable(name) => variables.push(option.to_owned()),
                None if is_variable(option) => variables.push(format!("{option}=1")),
                _ => all = format!("{all},{option}"),
            }
        }
        fs::create_dir_all(&dir).unwrap();
        let options = format!("{all},cache_dir={}", cache.display());
        let command = command(bucket, &dir, &options, &variables);
        let process = outside::start(command.iter().map(String::as_str));
        let mount = Self { process, base, dir, command };
        eventually("the mount answers", || {
            mount.process.ended().is_some() || mount.is_mounted() && fs::metadata(&mount.dir).is_ok()
        });
        match mount.process.ended() {
            Some(code) => Err(Refused { code, said: mount.log() }),
            None => Ok(mount),
        }
    }

    /// Runs the very same command once more, to its end; gives its exit code and what it said.
    pub(crate) fn start_again(&self, more: &str) -> (i32, String) {
        outside::run(self.command.iter().map(String::as_str).chain(["-o", more]))
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

    /// The most memory that the program ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// How often the thread of that name had waited for something and went on.
    pub(crate) fn wakes_of(&self, thread: &str) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.pid())).unwrap();
        let of = |dir: PathBuf, file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        let wakes = |dir: PathBuf| {
            let status = of(dir, "status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok())
        };
        let named = tasks.map(|task| task.unwrap().path()).find(|dir| of(dir.clone(), "comm").trim() == thread);
        named.and_then(wakes).unwrap_or_else(|| panic!("no thread {thread}"))
    }

    /// Whether its cache directory, if it is the mount's own, has what it found out about the server.
    pub(crate) fn knows_server(&self) -> bool {
        let Ok(mut caches) = fs::read_dir(self.cache_dir()) else { return true };
        caches.any(|entry| entry.unwrap().path().join("probe").exists())
    }

    /// What the program said so far.
    pub(crate) fn log(&self) -> String {
        self.process.said()
    }

    #[track_caller]
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        store(self.path(name), bytes).unwrap();
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
        self.process.signal(signal);
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == self.dir))
    }

    /// Ends the connection to the kernel, as `umount -f` does, and leaves the mount where it is.
    pub(crate) fn abort(&self) {
        // Whoever has it open keeps it there, and asks nobody for it.
        let held = open(&self.dir, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
        umount2(&self.dir, MntFlags::MNT_FORCE).unwrap_or_default();
        drop(held);
    }

    /// Ends the mount as systemd does; gives the exit code when the program is gone.
    pub(crate) fn stop(&self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the program's end, and gives its exit code.
    pub(crate) fn wait(&self) -> i32 {
        self.process.wait()
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.ended().is_some()
    }

    /// Detaches what a killed program left, so that the place can be mounted again.
    pub(crate) fn detach(&self) {
        umount2(&self.dir, MntFlags::MNT_DETACH).unwrap();
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn command(bucket: &Bucket, dir: &Path, options: &str, variables: &[String]) -> Vec<String> {
    let words = [
        &format!("AWS_ACCESS_KEY_ID={}", bucket.server.access_key),
        &format!("AWS_SECRET_ACCESS_KEY={}", bucket.server.secret_key),
        "AWS_EC2_METADATA_DISABLED=true",
        env!("CARGO_BIN_EXE_originfs"),
        "mount",
        &bucket.source(),
        dir.to_str().unwrap(),
        "-f",
        "-o",
        options,
    ];
    let variables = variables.iter().map(String::as_str);
    ["env"].into_iter().chain(variables).chain(words).map(str::to_owned).collect()
}

/// `originfs WORDS SOURCE DIR`, a command beside a mount, with the options that every test needs and `options`.
pub(crate) fn words_of(bucket: &Bucket, words: &[&str], dir: &Path, options: &str) -> Vec<String> {
    let server = bucket.server;
    let endpoint = format!("endpoint={},path_style,region=us-east-1,timeout=10s", server.endpoint);
    let all = [endpoint.as_str(), options].join(",");
    let mut command = vec![
        "env".to_owned(),
        format!("AWS_ACCESS_KEY_ID={}", server.access_key),
        format!("AWS_SECRET_ACCESS_KEY={}", server.secret_key),
        "AWS_EC2_METADATA_DISABLED=true".to_owned(),
        env!("CARGO_BIN_EXE_originfs").to_owned(),
    ];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    command.extend([bucket.source(), dir.to_str().unwrap().to_owned(), "-o".to_owned()]);
    command.push(all.trim_end_matches(',').to_owned());
    command
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.dir.display(), self.log());
        }
        let start = originfs::clock::now();
        self.signal(Signal::SIGTERM);
        while self.process.ended().is_none() && start.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if self.is_mounted() {
            umount2(&self.dir, MntFlags::MNT_DETACH).unwrap_or_default();
        }
        self.signal(Signal::SIGKILL);
        fs::remove_dir_all(&self.base).unwrap_or_default();
    }
}
