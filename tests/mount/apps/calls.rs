//! Single functions of PHP, as the system calls they make.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, Flock, FlockArg, copy_file_range},
    sys::{
        stat::{UtimensatFlags, utimensat},
        statvfs::statvfs,
        time::TimeSpec,
    },
    unistd::chown,
};

use super::{Cost, MINUTE, OPEN, Php, pair, seen_on};
use crate::harness::{Bucket, noise};

/// PHP keeps the source and says *false* where chown(2) or chmod(2) fail with anything but `EPERM`.
#[test]
fn a_file_comes_from_another_device() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("dir/other", b"");
    let (a, wire, b) = pair(&bucket, MINUTE);
    Php::on(&a).put("dir/file", b"moved", 8192);
    let owned = chown(&a.path("dir/file"), Some(1001.into()), Some(1001.into()));
    assert!(matches!(owned, Ok(()) | Err(Errno::EPERM)), "{owned:?}");
    Php::on(&a).chmod("dir/file", 0o600);
    let cost = Cost::of(&wire);
    assert_eq!((cost.put, cost.copy, cost.get), (1, 0, 0), "{cost:?}");
    seen_on(&b, "dir/file", b"moved");
    assert_eq!(b.stat("dir/file").permissions().mode() & 0o777, 0o644);
}

/// `copy`: PHP asks for as much as there may be.
#[test]
fn a_copy_inside_the_mount_is_made_by_the_bucket() {
    let Some(bucket) = Bucket::fresh() else { return };
    let body = noise(300_000, 1);
    for (n, options) in [MINUTE, OPEN].into_iter().enumerate() {
        let (a, wire, b) = pair(&bucket, options);
        let (from, to) = (format!("from{n}.jpg"), format!("to{n}.jpg"));
        a.write(&from, &body);
        wire.take_seen();
        let source = File::open(a.path(&from)).unwrap();
        let target = Php::on(&a).create(&to);
        let most = usize::try_from(isize::MAX).unwrap();
        while copy_file_range(&source, None, &target, None, most).unwrap() > 0 {}
        nix::unistd::close(target).unwrap();
        let cost = Cost::of(&wire);
        assert_eq!((cost.put, cost.copy, cost.get), (0, 1, 0), "{cost:?}");
        seen_on(&b, &to, &body);
        assert!(a.read(&to) == body);
        assert_eq!(Cost::of(&wire).get, 0);
    }
}

/// `tempnam`, `rename`, `chmod`: what was made for its maker alone can be read by the web server afterwards.
#[test]
fn a_temporary_file_becomes_readable_for_all() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("dir/other", b"");
    let (a, wire, b) = pair(&bucket, MINUTE);
    let (php, name) = (Php::on(&a), "dir/php4Xy");
    drop(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(a.path(name)).unwrap());
    php.put(name, b"body", 8192);
    php.rename(name, "dir/style.css");
    php.chmod("dir/style.css", 0o644);
    let cost = Cost::of(&wire);
    // The name is taken with an empty object, be it at open or at close.
    assert_eq!((cost.put, cost.copy, cost.delete, cost.get), (2, 1, 1, 0), "{cost:?}");
    seen_on(&b, "dir/style.css", b"body");
    assert_eq!(b.stat("dir/style.css").permissions().mode() & 0o777, 0o644);
    assert_eq!(bucket.see("dir/style.css").unwrap().content_type.as_deref(), Some("text/css; charset=utf-8"));
    assert_eq!(bucket.keys(), ["dir/other", "dir/style.css"]);
}

/// `touch`
#[test]
fn touch_makes_a_file_or_sets_its_time() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("other", b"");
    let (a, wire, b) = pair(&bucket, MINUTE);
    let php = Php::on(&a);
    for (sec, put) in [(1_700_000_000, 1), (1_600_000_000, 0)] {
        if !php.exists("file") {
            php.put("file", b"", 1);
        }
        let time = TimeSpec::new(sec, 0);
        utimensat(AT_FDCWD, &a.path("file"), &time, &time, UtimensatFlags::FollowSymlink).unwrap();
        let cost = Cost::of(&wire);
        assert_eq!((cost.put, cost.copy, cost.check, cost.get), (put, 1, 1, 0), "{cost:?}");
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&b.stat("file")), sec);
    }
}

/// `insert_with_markers`: read, cut and written anew through one descriptor.
#[test]
fn a_file_is_edited_in_place_under_a_lock() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, b) = pair(&bucket, MINUTE);
    a.write(".htaccess", b"# BEGIN\n# END\n");
    wire.take_seen();
    let file = OpenOptions::new().read(true).write(true).open(a.path(".htaccess")).unwrap();
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, err)| err).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    file.rewind().unwrap();
    file.set_len(0).unwrap();
    let text = text.replace("# END", "Deny\n# END");
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    assert_eq!(Cost::of(&wire), Cost { put: 1, ..Cost::default() });
    seen_on(&b, ".htaccess", text.as_bytes());
}

/// `fopen` with mode `a`, as logs are written.
#[test]
fn each_appended_line_is_one_put() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("other", b"");
    let (a, wire, b) = pair(&bucket, MINUTE);
    for n in 1..=4 {
        let mut file = OpenOptions::new().append(true).create(true).open(a.path("log")).unwrap();
        writeln!(file, "line").unwrap();
        nix::unistd::close(file).unwrap();
        let cost = Cost::of(&wire);
        assert_eq!((cost.put, cost.copy, cost.check, cost.get), (1, 0, 0, 0), "{cost:?}");
        assert!(cost.list <= usize::from(n == 1));
        seen_on(&b, "log", "line\n".repeat(n).as_bytes());
    }
}

/// Moodle stops logging in below 2 KiB, WordPress warns.
#[test]
fn there_is_room_and_it_may_be_written() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, _) = pair(&bucket, OPEN);
    let space = statvfs(a.dir()).unwrap();
    assert!(space.blocks_available() * space.fragment_size() > 1 << 40);
    nix::unistd::access(a.dir(), nix::unistd::AccessFlags::W_OK).unwrap();
    assert!(fs::metadata(a.dir()).unwrap().is_dir());
    assert_eq!(Cost::of(&wire), Cost::default());
}
