//! `perms=stored`: what stat(2) shows is each object's own, on every host. And the times of directories, which are kept
//! in any case.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
    os::unix::net::UnixListener,
};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::mkfifo,
};

use crate::harness::{Bucket, Mount, refused, run};

/// Stored permissions, nanoseconds, answers that are never old.
const STORED: &str = "perms=stored,mtime=ns,freshness=strict";

const OMIT: TimeSpec = TimeSpec::UTIME_OMIT;
const NOW: TimeSpec = TimeSpec::UTIME_NOW;

fn chmod(mount: &Mount, name: &str, mode: u32) {
    fs::set_permissions(mount.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn touch(mount: &Mount, name: &str, access: TimeSpec, change: TimeSpec) {
    utimensat(AT_FDCWD, &mount.path(name), &access, &change, UtimensatFlags::NoFollowSymlink).unwrap();
}

fn time(sec: i64, nsec: i64) -> TimeSpec {
    TimeSpec::new(sec, nsec)
}

/// Access, modification and change time in nanoseconds since 1970.
fn times(mount: &Mount, name: &str) -> [i64; 3] {
    let stat = mount.stat(name);
    let whole = |sec: i64, nsec: i64| sec * 1_000_000_000 + nsec;
    [
        whole(stat.atime(), stat.atime_nsec()),
        whole(stat.mtime(), stat.mtime_nsec()),
        whole(stat.ctime(), stat.ctime_nsec()),
    ]
}

/// All that is kept, size apart where the kernel invents one.
fn shown(mount: &Mount, name: &str) -> (u64, [i64; 3], u32, u32, u32, u64) {
    let stat = mount.stat(name);
    (stat.ino(), times(mount, name), stat.mode(), stat.uid(), stat.gid(), stat.rdev())
}

#[test]
fn each_time_moves_for_its_own_reason() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(STORED);
    mount.write("file", b"x");
    touch(&mount, "file", time(1_000, 1), time(2_000, 2));
    let [_, _, set] = times(&mount, "file");
    assert_eq!(times(&mount, "file"), [1_000_000_000_001, 2_000_000_000_002, set]);
    mount.read("file");
    assert_eq!(times(&mount, "file"), [1_000_000_000_001, 2_000_000_000_002, set]);
    touch(&mount, "file", OMIT, time(3_000, 3));
    touch(&mount, "file", time(4_000, 4), OMIT);
    let [access, change, omitted] = times(&mount, "file");
    assert_eq!((access, change), (4_000_000_000_004, 3_000_000_000_003));
    chmod(&mount, "file", 0o600);
    let [_, _, moded] = times(&mount, "file");
    assert!(set < omitted && omitted < moded, "{set} {omitted} {moded}");
    fs::rename(mount.path("file"), mount.path("renamed")).unwrap();
    let [access, change, renamed] = times(&mount, "renamed");
    assert_eq!((access, change), (4_000_000_000_004, 3_000_000_000_003));
    assert!(moded < renamed);
    OpenOptions::new().write(true).open(mount.path("renamed")).unwrap().set_len(0).unwrap();
    let [access, change, truncated] = times(&mount, "renamed");
    assert!(access == 4_000_000_000_004 && change == truncated && renamed < truncated);
    touch(&mount, "renamed", NOW, OMIT);
    let [access, change, _] = times(&mount, "renamed");
    assert!(access > truncated && change == truncated);
    let user = bucket.see("renamed").unwrap().user;
    for name in ["atime", "ctime", "mtime"] {
        let (_, fraction) = user[name].split_once('.').unwrap_or_else(|| panic!("{name}: {user:?}"));
        assert_eq!(fraction.len(), 9, "{name}: {user:?}");
    }
}

#[test]
fn all_attributes_are_equal_on_all_hosts_and_after_a_remount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = (bucket.mount_with(STORED), bucket.mount_with(STORED));
    a.write("file", b"x");
    chown(a.path("file"), Some(12), Some(34)).unwrap();
    chmod(&a, "file", 0o4711); // last, because chown takes the bit
    touch(&a, "file", time(-5, 6), time(7_000_000_000, 8));
    a.write("nothing", b"x");
    chmod(&a, "nothing", 0);
    std::os::unix::fs::symlink("file", a.path("link")).unwrap();
    std::os::unix::fs::lchown(a.path("link"), Some(56), Some(78)).unwrap();
    touch(&a, "link", time(9, 10), time(11, 12));
    mknod(&a.path("disk"), SFlag::S_IFBLK, Mode::from_bits_truncate(0o660), 0x0801).unwrap();
    let mut names = vec!["file", "nothing", "link", "disk"];
    if bucket.server.kind.keeps_directory_headers() {
        fs::create_dir(a.path("dir")).unwrap();
        chmod(&a, "dir", 0o1733);
        touch(&a, "dir", time(13, 14), time(15, 16));
        names.push("dir");
    }
    let here: Vec<_> = names.iter().map(|name| shown(&a, name)).collect();
    assert_eq!(names.iter().map(|name| shown(&b, name)).collect::<Vec<_>>(), here);
    assert_eq!(a.stop(), 0);
    let again = bucket.mount_with(STORED);
    assert_eq!(names.iter().map(|name| shown(&again, name)).collect::<Vec<_>>(), here);
    assert_eq!(again.stat("file").mode(), 0o104_711);
    assert_eq!(again.stat("nothing").mode(), 0o100_000);
    assert_eq!((again.stat("link").uid(), again.stat("link").gid()), (56, 78));
    assert_eq!(again.stat("disk").rdev(), 0x0801);
}

#[test]
fn pipes_sockets_and_devices_exist() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = (bucket.mount_with(STORED), bucket.mount_with(STORED));
    mkfifo(&a.path("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
    mknod(&a.path("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), 0x0103).unwrap();
    let socket = UnixListener::bind(a.path("socket")).unwrap();
    for mount in [&a, &b] {
        assert!(mount.stat("pipe").file_type().is_fifo());
        assert!(mount.stat("null").file_type().is_char_device());
        assert!(mount.stat("socket").file_type().is_socket());
        let kinds = fs::read_dir(mount.dir()).unwrap().map(|entry| entry.unwrap().file_type().unwrap());
        assert!(kinds.into_iter().all(|kind| !kind.is_file()), "a listing tells the kinds that are known");
    }
    let client = std::os::unix::net::UnixStream::connect(a.path("socket")).unwrap();
    drop((client, socket));
    let pipe = a.path("pipe");
    let writer = std::thread::spawn(move || File::create(pipe).unwrap().write_all(b"through the kernel").unwrap());
    let mut said = String::new();
    File::open(a.path("pipe")).unwrap().read_to_string(&mut said).unwrap();
    writer.join().unwrap();
    assert_eq!(said, "through the kernel");
    // Whoever can write into a bucket must not make devices on a webserver.
    refused(File::open(a.path("null")), Errno::EACCES);
    refused(mkfifo(&b.path("pipe"), Mode::S_IRUSR), Errno::EEXIST);
    fs::rename(b.path("pipe"), b.path("tube")).unwrap();
    assert!(a.stat("tube").file_type().is_fifo());
    for name in ["tube", "null", "socket"] {
        fs::remove_file(b.path(name)).unwrap();
        refused(fs::symlink_metadata(a.path(name)), Errno::ENOENT);
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn directories_hand_group_and_bit_down() {
    let Some(bucket) = Bucket::fresh() else { return };
    if !bucket.server.kind.keeps_directory_headers() {
        return;
    }
    let mount = bucket.mount_with(STORED);
    // As Moodle does; Linux takes the bit from chmod alone.
    DirBuilder::new().mode(0o2777).create(mount.path("moodledata")).unwrap();
    chmod(&mount, "moodledata", 0o2777);
    chown(mount.path("moodledata"), None, Some(4321)).unwrap();
    assert_eq!(mount.stat("moodledata").mode(), 0o042_777);
    mount.write("moodledata/file", b"x");
    fs::create_dir(mount.path("moodledata/dir")).unwrap();
    assert_eq!(mount.stat("moodledata/file").gid(), 4321);
    let below = mount.stat("moodledata/dir");
    assert_eq!((below.gid(), below.mode() & 0o2000), (4321, 0o2000));
}

#[test]
fn the_writes_of_others_take_set_user_id_away() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(STORED);
    mount.write("tool", b"x");
    chmod(&mount, "tool", 0o6777);
    let path = mount.path("tool");
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let append = ["sh", "-c", "echo more >>\"$0\"", path.to_str().unwrap()];
    let (code, said) = run(other.into_iter().chain(append));
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(mount.stat("tool").mode(), 0o100_777);
    assert_eq!(bucket.see("tool").unwrap().user["mode"], 0o100_777.to_string());
    let (code, _) = run(other.into_iter().chain(["chmod", "600", path.to_str().unwrap()]));
    assert_ne!(code, 0, "it is not theirs");
    chmod(&mount, "tool", 0o6777);
    chown(&path, Some(65534), None).unwrap();
    assert_eq!(mount.stat("tool").mode(), 0o100_777);
}

/// Drupal keeps compiled templates below a directory, and makes their file name of that directory's time. Any host that
/// sees another time compiles again for each request.
fn templates_are_found(options: &str) {
    let Some(bucket) = Bucket::fresh() else { return };
    if !bucket.server.kind.keeps_directory_headers() {
        return;
    }
    let (a, b) = (bucket.mount_with(options), bucket.mount_with(options));
    bucket.put("implicit/.htaccess", b"deny");
    fs::create_dir(a.path("made")).unwrap();
    for (dir, sec) in [("made", 1_234_567_890), ("implicit", 1_345_678_901)] {
        a.write(&format!("{dir}/template.tmp"), b"<?php");
        fs::rename(a.path(format!("{dir}/template.tmp")), a.path(format!("{dir}/template.php"))).unwrap();
        touch(&a, dir, time(sec, 0), time(sec, 0));
        assert_eq!((a.stat(dir).mtime(), b.stat(dir).mtime()), (sec, sec), "{dir}");
        b.write(&format!("{dir}/second.php"), b"<?php");
        fs::remove_file(a.path(format!("{dir}/template.php"))).unwrap();
        let again = bucket.mount_with(options);
        for mount in [&a, &b, &again] {
            let stat = mount.stat(dir);
            assert_eq!((stat.mtime(), stat.mtime_nsec()), (sec, 0), "{dir}");
        }
    }
}

#[test]
fn a_touched_directory_keeps_its_time_on_every_host() {
    templates_are_found("freshness=strict");
    templates_are_found(STORED);
}

#[test]
fn the_root_of_a_prefix_keeps_its_attributes() {
    let Some(bucket) = Bucket::fresh() else { return };
    if !bucket.server.kind.keeps_directory_headers() {
        return; // there the mounts of the tests have a prefix already, and no marker keeps anything
    }
    let options = format!("{STORED},prefix=site/files");
    let mount = bucket.mount_with(&options);
    chmod(&mount, "", 0o2775);
    chown(mount.dir(), Some(33), Some(34)).unwrap();
    touch(&mount, "", time(1, 2), time(3, 4));
    let here = shown(&mount, "");
    assert_eq!((here.1[1], here.2, here.3, here.4), (3_000_000_004, 0o042_775, 33, 34));
    // Beside it there may be what the mount finds out about the server.
    let keys: Vec<_> = bucket.keys().into_iter().filter(|key| !key.contains(".originfs/")).collect();
    assert_eq!(keys, ["site/files/"]);
    let other = bucket.mount_with(&options);
    assert_eq!(shown(&other, ""), here);
}

#[test]
fn nonsense_in_metadata_is_told_once() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_with("file", b"x", |put| put.metadata("mtime", "yesterday").metadata("mode", "rw-r--r--"));
    let mount = bucket.mount_with(STORED);
    for _ in 0..3 {
        assert_eq!((mount.stat("file").mode(), mount.stat("file").len()), (0o100_644, 1));
        assert!(mount.stat("file").mtime() > 1_600_000_000, "the time of the upload");
        assert_eq!(mount.read("file"), b"x");
    }
    let log = mount.log();
    assert_eq!(log.matches("makes no sense").count(), 1, "{log}");
}
