//! Moving what a directory holds into the bucket: the real program, killed, watched through a terminal, and beside others.

mod crowd;

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::harness::{Bucket, Process, fresh_dir, noise, run, start, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

/// A webserver with files in a directory.
struct Site {
    base: PathBuf,
    command: Vec<String>,
}

impl Site {
    fn new(bucket: &Bucket) -> Self {
        Self::with(bucket, "")
    }

    fn with(bucket: &Bucket, more: &str) -> Self {
        let base = fresh_dir();
        fs::create_dir(base.join("uploads")).unwrap();
        let options = format!(
            "endpoint={},path_style,region=us-east-1,freshness=strict,timeout=5s,cache_min_free=256MiB,cache_dir={}{more}",
            bucket.server.endpoint,
            base.join("cache").display(),
        );
        let dir = base.join("uploads");
        let words = [
            "env",
            &format!("AWS_ACCESS_KEY_ID={}", bucket.server.access_key),
            &format!("AWS_SECRET_ACCESS_KEY={}", bucket.server.secret_key),
            "AWS_EC2_METADATA_DISABLED=true",
            PROGRAM,
            "adopt",
            &bucket.source(),
            dir.to_str().unwrap(),
            "-o",
            &options,
        ];
        let command = words.map(str::to_owned).into();
        Self { base, command }
    }

    fn dir(&self) -> PathBuf {
        self.base.join("uploads")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    #[track_caller]
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        store(self.path(name), bytes).unwrap();
    }

    fn words<'a>(&'a self, more: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.command.iter().map(String::as_str).chain(more.iter().copied())
    }

    /// Its exit code and all that it said.
    #[track_caller]
    fn adopt(&self, more: &[&str]) -> (i32, String) {
        ended(&self.start(more))
    }

    fn start(&self, more: &[&str]) -> Process {
        start(self.words(more))
    }

    /// Its exit code and what `--json` says.
    #[track_caller]
    fn told(&self, more: &[&str]) -> (i32, Value) {
        let (code, said) = self.adopt(&[more, &["--json"]].concat());
        let json = said.find('{').map_or_else(|| panic!("{said}"), |at| &said[at..=said.rfind('}').unwrap()]);
        (code, serde_json::from_str(json).unwrap_or_else(|err| panic!("{err}: {said}")))
    }

    fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == self.dir()))
    }

    fn unmount(&self) {
        assert_eq!(run([PROGRAM, "umount", self.dir().to_str().unwrap()]), (0, String::new()));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.is_mounted() {
            let (code, said) = run([PROGRAM, "umount", "--lazy", self.dir().to_str().unwrap()]);
            if code != 0 {
                println!("{said}");
                umount2(&self.dir(), MntFlags::MNT_DETACH).unwrap_or_default();
            }
        }
    }
}

/// What thousands of requests may take where all tests run at once.
const LONG: Duration = Duration::from_mins(10);

/// Waits for the end of a program; gives its exit code and all that it said. One that takes too long is ended.
#[track_caller]
fn ended(process: &Process) -> (i32, String) {
    let begun = originfs::clock::now();
    while process.ended().is_none() {
        if begun.elapsed() > LONG {
            process.signal(Signal::SIGKILL);
            panic!("not within {LONG:?}: {}", process.said());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (process.wait(), process.said())
}

fn paths(list: &Value) -> Vec<&str> {
    list["names"].as_array().unwrap().iter().map(|line| line["path"].as_str().unwrap()).collect()
}

#[test]
fn a_directory_moves_into_the_bucket_and_is_covered_and_released() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    site.write("2026/11/photo.jpg", noise(70_000, 1));
    site.write("notes.txt", "caf\u{e9}");
    site.write("video.mp4", noise(20 << 20, 2));
    fs::create_dir(site.path("empty")).unwrap();
    symlink("notes.txt", site.path("link")).unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_580_702_706);
    File::options().write(true).open(site.path("notes.txt")).unwrap().set_modified(old).unwrap();

    let (code, told) = site.told(&["--dry-run"]);
    assert_eq!((code, paths(&told["missing"]).len(), bucket.keys().len()), (0, 5, 0), "{told}");
    assert!(!site.is_mounted());

    let (code, said) = site.adopt(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("4 files") && said.contains("4 uploaded") && said.contains("is mounted"), "{said}");
    // Where there is no terminal there is no bar.
    assert!(!said.contains(['\r', '\u{1b}', '%']), "{said}");
    assert_eq!(bucket.keys(), ["2026/11/photo.jpg", "empty/", "link", "notes.txt", "video.mp4"]);
    assert!(site.is_mounted());
    assert_eq!(fs::read(site.path("2026/11/photo.jpg")).unwrap(), noise(70_000, 1));
    assert_eq!(fs::read(site.path("link")).unwrap(), "caf\u{e9}".as_bytes());
    assert!(fs::read(site.path("video.mp4")).unwrap() == noise(20 << 20, 2));
    assert_eq!(fs::metadata(site.path("notes.txt")).unwrap().mtime(), 1_580_702_706);
    assert!(!site.path(".originfs").exists(), "the note is beneath");
    store(site.path("new.txt"), b"through the mount").unwrap();

    // The directory is not empty beneath, and may be mounted all the same, by whatever mounts it at boot.
    site.unmount();
    assert!(site.path("2026/11/photo.jpg").exists() && !site.path("new.txt").exists());
    let (code, told) = site.told(&[]);
    assert_eq!((code, &told["uploaded"], &told["mounted"]), (0, &0.into(), &true.into()), "{told}");

    let (code, told) = site.told(&["--release"]);
    assert_eq!((code, &told["released"]["files"], &told["released"]["kept"]), (0, &4.into(), &0.into()), "{told}");
    assert_eq!(fs::read(site.path("notes.txt")).unwrap(), "caf\u{e9}".as_bytes());
    site.unmount();
    assert_eq!(fs::read_dir(site.dir()).unwrap().count(), 0, "nothing is left beneath");
}

/// What a mount writes and what adoption writes of the same file is the same object.
#[test]
fn adopted_objects_are_those_that_a_mount_writes() {
    let Some(bucket) = Bucket::fresh() else { return };
    let Some(other) = Bucket::fresh() else { return };
    for more in [",uid=33,gid=33,file_mode=0664", ",perms=stored,mtime=ns"] {
        let site = Site::with(&bucket, more);
        let mount = other.mount_with(&format!("freshness=strict{more}"));
        let unique = more.len();
        let names = [format!("{unique}/photo.jpg"), format!("{unique}/app.css"), format!("{unique}/none")];
        for (n, name) in (1..).zip(&names) {
            site.write(name, noise(1_000 * n, 3));
            fs::create_dir_all(mount.path(name).parent().unwrap()).unwrap();
            let copied = run(["cp", "-a", site.path(name).to_str().unwrap(), mount.path(name).to_str().unwrap()]);
            assert_eq!(copied, (0, String::new()));
        }
        let (code, said) = site.adopt(&["--no-mount"]);
        assert_eq!(code, 0, "{said}");
        for name in &names {
            let [mut ours, mut theirs] = [&bucket, &other].map(|bucket| bucket.see(name).unwrap());
            for seen in [&mut ours, &mut theirs] {
                // The name of the write; and when cp(1) changed the copy's mode, which it cannot copy.
                assert!(seen.user.remove("op").is_none_or(|op| op.len() == 32));
                assert_eq!(seen.user.remove("ctime").is_some(), more.contains("stored"));
            }
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn conflicts_are_listed_and_nothing_is_mounted_over_them() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("theirs.jpg", b"theirs");
    let site = Site::new(&bucket);
    site.write("theirs.jpg", b"mine");
    site.write("fine.jpg", b"fine");
    for (more, code) in [(&["--dry-run"][..], 64), (&[], 64)] {
        let (ended, told) = site.told(more);
        assert_eq!((ended, paths(&told["conflicts"])), (code, vec!["theirs.jpg"]), "{told}");
    }
    assert!(!site.is_mounted() && bucket.body("theirs.jpg") == b"theirs" && bucket.body("fine.jpg") == b"fine");
    let (_, said) = site.adopt(&[]);
    assert!(said.contains("conflict: theirs.jpg: the bucket has other bytes there"), "{said}");
    // They may stay beneath, and are there afterwards.
    assert_eq!(site.told(&["--partly"]).0, 0);
    assert_eq!(fs::read(site.path("theirs.jpg")).unwrap(), b"theirs");
    assert_eq!(site.told(&["--release"]).0, 64);
    let (code, told) = site.told(&["--release", "--partly"]);
    assert_eq!((code, &told["released"]["files"], &told["released"]["kept"]), (64, &1.into(), &1.into()), "{told}");
    site.unmount();
    assert_eq!(fs::read(site.path("theirs.jpg")).unwrap(), b"mine");
    assert_eq!(site.told(&["--overwrite"]).0, 0);
    assert_eq!(bucket.body("theirs.jpg"), b"mine");
}

#[test]
fn release_refuses_what_the_bucket_lost_or_changed() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    (0..20).for_each(|n| site.write(&format!("{n}.txt"), n.to_string()));
    let (code, said) = site.adopt(&["--release"]);
    assert!(code == 1 && said.contains("not mounted"), "{code} {said}");
    assert_eq!(site.adopt(&[]).0, 0);
    bucket.delete("3.txt");
    bucket.put("4.txt", b"F");
    let (code, told) = site.told(&["--release"]);
    assert_eq!((code, paths(&told["missing"]), paths(&told["conflicts"])), (64, vec!["3.txt"], vec!["4.txt"]));
    assert!(told.get("released").is_none(), "{told}");
    // What was deleted in the bucket does not come back by itself.
    assert_eq!((site.told(&[]).0, bucket.see("3.txt")), (64, None));
    let (_, told) = site.told(&["--release", "--partly"]);
    assert_eq!((&told["released"]["files"], &told["released"]["kept"]), (&18.into(), &2.into()), "{told}");
    site.unmount();
    assert_eq!(crate::harness::names(site.dir()), [".originfs", "3.txt", "4.txt"]);
}

#[test]
fn what_is_written_beneath_the_mount_is_not_lost() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    site.write("log.txt", b"one\n");
    let mut open = File::options().append(true).open(site.path("log.txt")).unwrap();
    assert_eq!(site.adopt(&[]).0, 0);
    assert!(site.is_mounted());
    // A program that had it open before goes on writing to what nobody sees.
    open.write_all(b"two\n").unwrap();
    let (code, told) = site.told(&["--release"]);
    assert_eq!((code, paths(&told["conflicts"])), (64, vec!["log.txt"]), "{told}");
    assert_eq!(site.told(&["--overwrite"]).0, 0);
    let (code, told) = site.told(&["--release"]);
    assert_eq!((code, paths(&told["changing"])), (64, vec!["log.txt"]), "{told}");
    drop(open);
    assert_eq!(site.told(&["--release"]).0, 0);
    assert_eq!(
        (bucket.body("log.txt"), fs::read(site.path("log.txt")).unwrap()),
        (b"one\ntwo\n".to_vec(), b"one\ntwo\n".to_vec())
    );
}

/// Names and values of `x-amz-meta-*`.
type Metadata = &'static [(&'static str, &'static str)];

/// Nothing is imported: what others wrote is there, and adoption counts it as there.
#[test]
fn objects_of_other_programs_need_no_import() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    // As s3fs 1.9, goofys 0.24, geesefs 0.4x and rclone 1.6x (with --metadata) put them; the metadata of each is its own.
    let objects: [(&str, &str, Metadata); 4] = [
        (
            "s3fs/photo.jpg",
            "image/jpeg",
            &[
                ("mode", "33188"),
                ("uid", "33"),
                ("gid", "33"),
                ("mtime", "1580702706"),
                ("atime", "1580702706"),
                ("ctime", "1580702706"),
            ],
        ),
        ("goofys/photo.jpg", "image/jpeg", &[]),
        (
            "geesefs/photo.jpg",
            "image/jpeg",
            &[("mtime", "1580702706"), ("uid", "33"), ("gid", "33"), ("mode", "33188")],
        ),
        (
            "rclone/photo.jpg",
            "image/jpeg",
            &[
                ("mtime", "1580702706.123456789"),
                ("mode", "100644"),
                ("uid", "33"),
                ("gid", "33"),
                ("btime", "2020-02-03T04:05:06Z"),
            ],
        ),
    ];
    for (n, (name, kind, metadata)) in (1..).zip(&objects) {
        let body = noise(1_000 * n, 4);
        bucket.put_with(name, &body, |put| {
            metadata.iter().fold(put.content_type(*kind), |put, (name, value)| put.metadata(*name, *value))
        });
        site.write(name, &body);
    }
    // Directories as they make them.
    bucket.put_with("s3fs/", b"", |put| put.content_type("application/x-directory").metadata("mode", "16877"));
    bucket.put("geesefs/", b"");
    bucket.put("goofys/", b"");
    let keys = bucket.keys();
    let (code, told) = site.told(&[]);
    assert_eq!((code, &told["files"], &told["uploaded"]), (0, &4.into(), &0.into()), "{told}");
    assert_eq!(bucket.keys(), keys);
    for (n, (name, _, metadata)) in (1..).zip(&objects) {
        assert!(fs::read(site.path(name)).unwrap() == noise(1_000 * n, 4), "{name}");
        if !metadata.is_empty() {
            assert_eq!(fs::metadata(site.path(name)).unwrap().mtime(), 1_580_702_706, "{name}");
        }
    }
}

#[test]
fn bucket_and_options_come_from_fstab() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    site.write("a.txt", b"a");
    let [.., source, dir, _, options] = site.command.as_slice() else { unreachable!() };
    let root = site.base.join("host");
    fs::create_dir_all(root.join("etc")).unwrap();
    store(
        root.join("etc/fstab"),
        format!("/dev/sda1 / ext4 rw 0 1\n{source} {dir} originfs rw,_netdev,x-systemd.automount,{options} 0 0\n"),
    )
    .unwrap();
    let root = format!("--root={}", root.display());
    let env = site.command[..4].iter().map(String::as_str);
    let (code, said) = run(env.chain([PROGRAM, "adopt", dir, &root]));
    assert_eq!(code, 0, "{said}");
    assert!(site.is_mounted() && bucket.body("a.txt") == b"a");
    let (code, said) = run([PROGRAM, "adopt", site.base.to_str().unwrap(), &root]);
    assert!(code == 1 && said.contains("has a mount of"), "{code} {said}");
}
