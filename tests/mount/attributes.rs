//! One mount: what stat(2) shows and what can be changed of it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};

use crate::harness::{Bucket, Mount, refused, run};

fn set_mtime(mount: &Mount, name: &str, sec: i64, nsec: i64) {
    let time = TimeSpec::new(sec, nsec);
    utimensat(AT_FDCWD, &mount.path(name), &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

fn chmod(mount: &Mount, name: &str, mode: u32) {
    fs::set_permissions(mount.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn uniform_permissions_are_those_of_the_mount_and_cost_nothing_to_change() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("uid=33,gid=34,file_mode=0640,dir_mode=0750");
    mount.write("file", b"x");
    fs::create_dir(mount.path("dir")).unwrap();
    let before = bucket.see("file");
    wire.take_seen();
    chmod(&mount, "file", 0o600);
    chown(mount.path("file"), Some(1000), Some(1000)).unwrap();
    assert_eq!(wire.count("PUT", ""), 0, "{:?}", wire.take_seen());
    assert_eq!(bucket.see("file"), before);
    for (name, mode) in [("file", 0o100_640), ("dir", 0o040_750)] {
        let stat = mount.stat(name);
        assert_eq!((stat.uid(), stat.gid(), stat.mode(), stat.nlink()), (33, 34, mode, 1), "{name}");
    }
}

#[test]
fn stored_permissions_are_the_objects_own() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("perms=stored");
    mount.write("file", b"x");
    fs::create_dir(mount.path("dir")).unwrap();
    for (name, mode) in [("file", 0o640), ("dir", 0o2711)] {
        chmod(&mount, name, mode);
        chown(mount.path(name), Some(1234), Some(4321)).unwrap();
    }
    let shown = |mount: &Mount, name| {
        let stat = mount.stat(name);
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(shown(&mount, "file"), (0o640, 1234, 4321));
    let user = bucket.see("file").unwrap().user;
    let of = |name: &str| user.get(name).map(String::as_str);
    assert_eq!((of("mode"), of("uid"), of("gid")), (Some("33184"), Some("1234"), Some("4321")));
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount_with("perms=stored");
    assert_eq!(shown(&again, "file"), (0o640, 1234, 4321));
    if bucket.server.kind.keeps_directory_headers() {
        assert_eq!(shown(&again, "dir"), (0o2711, 1234, 4321));
    }
}

#[test]
fn modification_times_are_kept() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("file", b"x");
    fs::create_dir(mount.path("dir")).unwrap();
    for (name, sec) in [("file", 1_111_111_111), ("dir", 1_222_222_222)] {
        set_mtime(&mount, name, sec, 0);
        if name == "file" || bucket.server.kind.keeps_directory_headers() {
            assert_eq!(mount.stat(name).mtime(), sec, "{name}");
        }
    }
    assert_eq!(bucket.see("file").unwrap().user.get("mtime").map(String::as_str), Some("1111111111"));
    assert_eq!(bucket.body("file"), b"x");
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount();
    assert_eq!(again.stat("file").mtime(), 1_111_111_111);
    if bucket.server.kind.keeps_directory_headers() {
        assert_eq!(again.stat("dir").mtime(), 1_222_222_222);
    }
}

#[test]
fn nanoseconds_are_kept_where_they_are_asked_for() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict,mtime=ns");
    mount.write("file", b"x");
    set_mtime(&mount, "file", 1_111_111_111, 123_456_789);
    let again = bucket.mount();
    for mount in [&mount, &again] {
        let stat = mount.stat("file");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_111_111_111, 123_456_789));
    }
}

#[test]
fn a_time_set_while_writing_is_the_one_that_stays() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let file = fs::File::create(mount.path("copy")).unwrap();
    std::io::Write::write_all(&mut &file, b"copied by cp -p").unwrap();
    nix::sys::stat::futimens(&file, &TimeSpec::new(999_999_999, 0), &TimeSpec::new(999_999_999, 0)).unwrap();
    drop(file);
    assert_eq!(mount.stat("copy").mtime(), 999_999_999);
    assert_eq!(bucket.see("copy").unwrap().user.get("mtime").map(String::as_str), Some("999999999"));
}

#[test]
fn metadata_changes_keep_headers_that_others_set() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_with("page.html", b"<p>", |put| {
        let put = put.cache_control("max-age=60").content_type("text/html; charset=big5").content_encoding("identity");
        put.metadata("owner", "somebody").metadata("x-plugin", "17")
    });
    let mount = bucket.mount();
    set_mtime(&mount, "page.html", 1_000_000_000, 0);
    let seen = bucket.see("page.html").unwrap();
    assert_eq!(seen.cache_control.as_deref(), Some("max-age=60"));
    assert_eq!(seen.content_type.as_deref(), Some("text/html; charset=big5"));
    assert_eq!(seen.content_encoding.as_deref(), Some("identity"));
    assert_eq!(seen.user.get("owner").map(String::as_str), Some("somebody"));
    assert_eq!(seen.user.get("x-plugin").map(String::as_str), Some("17"));
    assert_eq!(seen.user.get("mtime").map(String::as_str), Some("1000000000"));
    assert_eq!(seen.body, b"<p>");
}

#[test]
fn a_symlink_keeps_its_target() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("real", b"content");
    symlink("real", mount.path("link")).unwrap();
    symlink("../no where/\u{e9}", mount.path("dangling")).unwrap();
    refused(symlink("x", mount.path("link")), Errno::EEXIST);
    assert_eq!(mount.read("link"), b"content");
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount();
    assert!(again.stat("link").is_symlink());
    assert_eq!(again.stat("link").len(), 4);
    assert_eq!(fs::read_link(again.path("link")).unwrap().to_str(), Some("real"));
    assert_eq!(fs::read_link(again.path("dangling")).unwrap().to_str(), Some("../no where/\u{e9}"));
    assert_eq!(again.read("link"), b"content");
}

#[test]
fn the_file_system_looks_endless() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let stat = nix::sys::statvfs::statvfs(mount.dir()).unwrap();
    let free = stat.blocks_available() * stat.fragment_size();
    assert!(free > 1 << 40, "{free} bytes free");
    assert!(stat.files_free() > 1 << 30);
    assert_eq!(stat.name_max(), 255);
}

fn attributes(mount: &Mount, name: &str) -> (i32, String) {
    run(["getfattr", "--dump", "--match=-", "--absolute-names", mount.path(name).to_str().unwrap()])
}

#[test]
fn extended_attributes_are_off_by_default() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("file", b"x");
    let (code, said) = run(["setfattr", "-n", "user.a", "-v", "1", mount.path("file").to_str().unwrap()]);
    assert!(code != 0 && said.contains("not supported"), "{code} {said}");
    let (_, said) = attributes(&mount, "file");
    assert!(!said.contains('='), "{said}");
}

#[test]
fn extended_attributes_are_shown_where_asked_for() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict,xattr");
    mount.write("photo.jpg", b"x");
    let (_, said) = attributes(&mount, "photo.jpg");
    assert!(said.contains("user.s3.key=") && said.contains("photo.jpg"), "{said}");
    assert!(said.contains("user.s3.etag="), "{said}");
}

#[test]
fn a_listing_is_enough_where_it_is_asked_to_be() {
    let Some(bucket) = Bucket::fresh() else { return };
    let names = || (0..300).map(|n| format!("d/{n:03}.jpg"));
    bucket.put_many(names());
    let (mount, wire) = bucket.wired("attrs=list,stat_ttl=1h");
    let (other, _) = bucket.wired("attrs=list,freshness=strict");
    for time in ["first", "second"] {
        wire.take_seen();
        let entries = fs::read_dir(mount.path("d")).unwrap();
        let seen: Vec<_> = entries.map(|entry| entry.unwrap().metadata().unwrap().mtime()).collect();
        assert_eq!((seen.len(), seen.iter().min().is_some_and(|mtime| *mtime > 0)), (300, true));
        assert_eq!(wire.count("HEAD", "jpg"), 0, "the {time} time: {:?}", wire.take_seen());
    }
    mount.write("d/new.jpg", b"12");
    for name in names().take(3).chain(["d/new.jpg".to_owned()]) {
        let [one, two] = [&mount, &other].map(|mount| mount.stat(&name));
        assert_eq!((one.len(), one.mtime(), one.mode()), (two.len(), two.mtime(), two.mode()), "{name}");
    }
}
