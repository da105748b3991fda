//! Other programs on the same bucket, the real ones: s3fs, rclone and the AWS tools. What they make is read here with the attributes
//! that they show, and what is made here they show with ours.
//!
//! `scripts/test peers` runs these, and installs the programs.

mod headers;

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::AT_FDCWD,
    mount::{MntFlags, umount2},
    sys::{
        signal::Signal,
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::mkfifo,
};

use crate::harness::{Bucket, Kind, PATIENCE, Process, eventually, fresh_dir, run, start, store};

const STORED: &str = "perms=stored,mtime=ns,freshness=strict";

/// A mount of another program. Taken away when it is dropped, however the test ends.
struct Peer {
    process: Process,
    dir: PathBuf,
}

impl Peer {
    fn start(command: &[String]) -> Self {
        let dir = fresh_dir();
        let at = dir.to_str().unwrap();
        let command: Vec<_> = command.iter().map(|word| word.replace("DIR", at)).collect();
        let peer = Self { process: start(command.iter().map(String::as_str)), dir };
        eventually("the other program mounts", || {
            assert_eq!(peer.process.ended(), None, "{}", peer.process.said());
            peer.is_mounted()
        });
        peer
    }

    fn s3fs(bucket: &Bucket) -> Self {
        Self::s3fs_with(bucket, "")
    }

    /// `more`: options, each with a comma before it.
    fn s3fs_with(bucket: &Bucket, more: &str) -> Self {
        let password = fresh_dir().join("password");
        store(&password, format!("{}:{}", bucket.server.access_key, bucket.server.secret_key)).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let options = format!(
            "use_path_request_style,url={},passwd_file={},max_stat_cache_size=0,stat_cache_expire=0{more}",
            bucket.server.endpoint,
            password.display()
        );
        let source = bucket.source();
        Self::start(&["s3fs", source.trim_end_matches('/'), "DIR", "-f", "-o", &options].map(str::to_owned))
    }

    fn rclone(bucket: &Bucket) -> Self {
        let remote = remote(bucket);
        let words = ["mount", &remote, "DIR", "--vfs-cache-mode=writes", "--vfs-write-back=100ms"];
        let cache = format!("--cache-dir={}", fresh_dir().display());
        Self::start(&rclone(bucket, &[&words[..], &[&cache, "--dir-cache-time=0s"]].concat()))
    }

    fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == self.dir))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.dir.display(), self.process.said());
        }
        if self.is_mounted() {
            umount2(&self.dir, MntFlags::MNT_DETACH).unwrap_or_default();
        }
        self.process.signal(Signal::SIGTERM);
        let start = originfs::clock::now();
        while self.process.ended().is_none() && start.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.process.signal(Signal::SIGKILL);
    }
}

/// The bucket as rclone calls it.
fn remote(bucket: &Bucket) -> String {
    format!("x:{}", bucket.source().replacen(":/", "/", 1))
}

/// A command of rclone, configured by its environment alone.
fn rclone(bucket: &Bucket, words: &[&str]) -> Vec<String> {
    let settings = [
        ("TYPE", "s3"),
        ("PROVIDER", "Other"),
        ("ENDPOINT", &bucket.server.endpoint),
        ("ACCESS_KEY_ID", &bucket.server.access_key),
        ("SECRET_ACCESS_KEY", &bucket.server.secret_key),
        ("FORCE_PATH_STYLE", "true"),
    ];
    // Its version in Debian does not start with a certificate bundle in the environment.
    let env = ["env", "-u", "AWS_CA_BUNDLE", "RCLONE_CONFIG=/dev/null"].map(str::to_owned);
    let settings = settings.map(|(name, value)| format!("RCLONE_CONFIG_X_{name}={value}"));
    // What the mount finds out about the server comes and goes.
    let words = ["rclone", "--exclude=/.originfs/**"].iter().chain(words).map(|word| (*word).to_owned());
    env.into_iter().chain(settings).chain(words).collect()
}

fn run_rclone(bucket: &Bucket, words: &[&str]) {
    let command = rclone(bucket, words);
    let (code, said) = run(command.iter().map(String::as_str));
    assert_eq!(code, 0, "{said}");
}

/// Type and mode, owner, group, size and modification time; the size not of a directory, which everyone invents.
fn shown(path: &Path) -> (u32, u32, u32, u64, i64, i64) {
    let stat = fs::symlink_metadata(path).unwrap();
    let size = if stat.is_dir() { 0 } else { stat.size() };
    (stat.mode(), stat.uid(), stat.gid(), size, stat.mtime(), stat.mtime_nsec())
}

/// One of everything, with attributes that nothing has by default.
fn make_all(bucket: &Bucket, dir: &Path) {
    let own = |name: &str, mode: u32, time: (i64, i64)| {
        let path = dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(1234), Some(4321)).unwrap();
        let time = TimeSpec::new(time.0, time.1);
        utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::FollowSymlink).unwrap();
    };
    store(dir.join("file.txt"), b"bytes").unwrap();
    own("file.txt", 0o640, (1_580_702_706, 123_456_789));
    store(dir.join("secret"), b"").unwrap();
    own("secret", 0, (1_580_702_706, 5));
    fs::create_dir(dir.join("dir")).unwrap();
    if bucket.server.kind.keeps_directory_headers() {
        own("dir", 0o2750, (1_600_000_000, 0));
    }
    store(dir.join("dir/below"), b"x").unwrap();
    symlink("dir/below", dir.join("link")).unwrap();
    mkfifo(&dir.join("pipe"), Mode::from_bits_truncate(0o620)).unwrap();
    mknod(&dir.join("tty"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), 0x0103).unwrap();
    mknod(&dir.join("disk"), SFlag::S_IFBLK, Mode::from_bits_truncate(0o660), 0x0801).unwrap();
    drop(UnixListener::bind(dir.join("socket")).unwrap());
}

const ALL: [&str; 9] = ["file.txt", "secret", "dir", "dir/below", "link", "pipe", "tty", "disk", "socket"];

fn check_all(bucket: &Bucket, made: &Path, seen: &Path) {
    for name in ALL {
        if name == "dir" && !bucket.server.kind.keeps_directory_headers() {
            continue;
        }
        assert_eq!(shown(&seen.join(name)), shown(&made.join(name)), "{name}");
    }
    assert_eq!(fs::read(seen.join("file.txt")).unwrap(), b"bytes");
    assert_eq!(fs::read(seen.join("link")).unwrap(), b"x");
    assert!(fs::symlink_metadata(seen.join("dir")).unwrap().is_dir());
    assert!(fs::symlink_metadata(seen.join("socket")).unwrap().file_type().is_socket());
}

/// s3fs mounts a directory of a bucket only if there is one.
fn begin(bucket: &Bucket) {
    if bucket.server.kind == Kind::Weed {
        bucket.put("", b"");
    }
}

#[test]
#[ignore = "needs s3fs: scripts/test peers"]
fn what_s3fs_makes_is_the_same_here() {
    let Some(bucket) = Bucket::fresh() else { return };
    begin(&bucket);
    let (peer, mount) = (Peer::s3fs(&bucket), bucket.mount_with(STORED));
    make_all(&bucket, &peer.dir);
    check_all(&bucket, &peer.dir, mount.dir());
    // All three times, in the form that s3fs has.
    let user = bucket.see("file.txt").unwrap().user;
    let stat = mount.stat("file.txt");
    for (name, sec, nsec) in [("atime", stat.atime(), stat.atime_nsec()), ("ctime", stat.ctime(), stat.ctime_nsec())] {
        assert_eq!(user[name], format!("{sec}.{nsec:09}"), "{name}");
    }
    // Changed here, seen there.
    fs::set_permissions(mount.path("file.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(mount.path("pipe"), mount.path("tube")).unwrap();
    // The kernel remembers for a second what s3fs told.
    eventually("s3fs shows what was changed here", || {
        shown(&peer.dir.join("file.txt")) == shown(&mount.path("file.txt"))
    });
    assert!(fs::symlink_metadata(peer.dir.join("tube")).unwrap().file_type().is_fifo());
}

#[test]
#[ignore = "needs s3fs: scripts/test peers"]
fn what_is_made_here_s3fs_shows_the_same() {
    let Some(bucket) = Bucket::fresh() else { return };
    begin(&bucket);
    let (peer, mount) = (Peer::s3fs(&bucket), bucket.mount_with(STORED));
    make_all(&bucket, mount.dir());
    check_all(&bucket, mount.dir(), &peer.dir);
    // Changed there, seen here; what s3fs does not know stays.
    chown(peer.dir.join("disk"), Some(7), Some(8)).unwrap();
    let disk = mount.stat("disk");
    assert_eq!((disk.uid(), disk.gid(), disk.rdev()), (7, 8, 0x0801));
    fs::set_permissions(peer.dir.join("file.txt"), fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(shown(&mount.path("file.txt")), shown(&peer.dir.join("file.txt")));
    assert_eq!(mount.stat("file.txt").mode(), 0o100_604);
}

#[test]
#[ignore = "needs rclone: scripts/test peers"]
fn what_rclone_copies_has_its_attributes_here() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (local, mount) = (fresh_dir(), bucket.mount_with(STORED));
    let file = local.join("sub/file.txt");
    fs::create_dir(local.join("sub")).unwrap();
    store(&file, b"bytes").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    chown(&file, Some(77), Some(88)).unwrap();
    let (access, change) = (TimeSpec::new(1_612_325_107, 250_000_000), TimeSpec::new(1_612_325_106, 500_000_000));
    utimensat(AT_FDCWD, &file, &access, &change, UtimensatFlags::FollowSymlink).unwrap();
    run_rclone(&bucket, &["copy", "--metadata", local.to_str().unwrap(), &remote(&bucket)]);
    assert_eq!(shown(&mount.path("sub/file.txt")), shown(&file));
    let stat = mount.stat("sub/file.txt");
    assert_eq!((stat.atime(), stat.atime_nsec()), (1_612_325_107, 250_000_000));
    assert!(mount.stat("sub").is_dir());
}

#[test]
#[ignore = "needs rclone: scripts/test peers"]
fn what_is_made_here_rclone_copies_with_time_and_owner() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (local, mount) = (fresh_dir(), bucket.mount_with(STORED));
    mount.write("file.txt", b"bytes");
    chown(mount.path("file.txt"), Some(1234), Some(4321)).unwrap();
    let (access, change) = (TimeSpec::new(1_612_325_107, 250_000_000), TimeSpec::new(1_580_702_706, 123_456_789));
    utimensat(AT_FDCWD, &mount.path("file.txt"), &access, &change, UtimensatFlags::FollowSymlink).unwrap();
    run_rclone(&bucket, &["copy", "--metadata", &remote(&bucket), local.to_str().unwrap()]);
    let (here, there) = (mount.stat("file.txt"), fs::metadata(local.join("file.txt")).unwrap());
    assert_eq!((there.uid(), there.gid(), there.size()), (1234, 4321, 5));
    assert_eq!((there.mtime(), there.mtime_nsec()), (here.mtime(), here.mtime_nsec()));
    // A second run has nothing to do, as rsync's users expect.
    run_rclone(&bucket, &["check", "--one-way", &remote(&bucket), local.to_str().unwrap()]);
}

#[test]
#[ignore = "needs rclone: scripts/test peers"]
fn rclone_mounts_the_same_files() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(STORED);
    mount.write("ours.txt", b"ours");
    let time = TimeSpec::new(1_580_702_706, 123_456_789);
    utimensat(AT_FDCWD, &mount.path("ours.txt"), &time, &time, UtimensatFlags::FollowSymlink).unwrap();
    fs::create_dir(mount.path("dir")).unwrap();
    let peer = Peer::rclone(&bucket);
    let seen = fs::metadata(peer.dir.join("ours.txt")).unwrap();
    assert_eq!((seen.mtime(), seen.mtime_nsec(), seen.size()), (1_580_702_706, 123_456_789, 4));
    assert!(fs::metadata(peer.dir.join("dir")).unwrap().is_dir());
    store(peer.dir.join("theirs.txt"), b"theirs").unwrap();
    let time = TimeSpec::new(1_643_861_106, 750_000_000);
    utimensat(AT_FDCWD, &peer.dir.join("theirs.txt"), &time, &time, UtimensatFlags::FollowSymlink).unwrap();
    eventually("rclone uploads", || {
        fs::metadata(mount.path("theirs.txt"))
            .is_ok_and(|stat| (stat.mtime(), stat.mtime_nsec()) == (1_643_861_106, 750_000_000))
    });
    assert_eq!(mount.read("theirs.txt"), b"theirs");
}
