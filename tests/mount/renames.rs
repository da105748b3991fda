//! One mount: rename.

use std::{
    fs::{self, File},
    io::Write as _,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
};

use crate::harness::{Bucket, Mount, names, refused, run};

fn rename(mount: &Mount, from: &str, to: &str) -> std::io::Result<()> {
    fs::rename(mount.path(from), mount.path(to))
}

#[test]
fn a_file_takes_the_type_of_its_new_name() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("upload.tmp", b"picture");
    rename(&mount, "upload.tmp", "picture.png").unwrap();
    assert_eq!(bucket.keys(), ["picture.png"]);
    let object = bucket.see("picture.png").unwrap();
    assert_eq!((object.body.as_slice(), object.content_type.as_deref()), (&b"picture"[..], Some("image/png")));
    assert_eq!(mount.read("picture.png"), b"picture");
    refused(fs::metadata(mount.path("upload.tmp")), Errno::ENOENT);
}

#[test]
fn a_file_keeps_its_time() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("a", b"x");
    filetime(&mount, "a", 1_000_000_000);
    rename(&mount, "a", "b").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&mount.stat("b")), 1_000_000_000);
}

fn filetime(mount: &Mount, name: &str, sec: i64) {
    let time = nix::sys::time::TimeSpec::new(sec, 0);
    let follow = nix::sys::stat::UtimensatFlags::FollowSymlink;
    nix::sys::stat::utimensat(AT_FDCWD, &mount.path(name), &time, &time, follow).unwrap();
}

#[test]
fn a_file_replaces_a_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("old", b"old");
    mount.write("new", b"new");
    rename(&mount, "new", "old").unwrap();
    assert_eq!(bucket.keys(), ["old"]);
    assert_eq!((mount.read("old"), bucket.body("old")), (b"new".to_vec(), b"new".to_vec()));
}

#[test]
fn noreplace_refuses_what_exists() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("a", b"a");
    bucket.put("b", b"foreign");
    let noreplace =
        |to: &str| renameat2(AT_FDCWD, &mount.path("a"), AT_FDCWD, &mount.path(to), RenameFlags::RENAME_NOREPLACE);
    refused(noreplace("b"), Errno::EEXIST);
    assert_eq!((bucket.body("a"), bucket.body("b")), (b"a".to_vec(), b"foreign".to_vec()));
    noreplace("c").unwrap();
    assert_eq!(bucket.keys(), ["b", "c"]);
}

#[test]
fn exchange_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("a", b"a");
    mount.write("b", b"b");
    let exchanged = renameat2(AT_FDCWD, &mount.path("a"), AT_FDCWD, &mount.path("b"), RenameFlags::RENAME_EXCHANGE);
    refused(exchanged, Errno::EINVAL);
    assert_eq!((bucket.body("a"), bucket.body("b")), (b"a".to_vec(), b"b".to_vec()));
}

#[test]
fn a_directory_moves_with_all_below_it() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir_all(mount.path("from/sub")).unwrap();
    mount.write("from/one.png", b"1");
    mount.write("from/sub/two", b"2");
    bucket.put("from/sub/three", b"3");
    bucket.put("from/implicit/four", b"4");
    rename(&mount, "from", "to").unwrap();
    assert_eq!(names(mount.dir()), ["to"]);
    assert_eq!(names(mount.path("to")), ["implicit", "one.png", "sub"]);
    assert_eq!(names(mount.path("to/sub")), ["three", "two"]);
    assert_eq!(mount.read("to/implicit/four"), b"4");
    assert_eq!(mount.read("to/sub/two"), b"2");
    assert!(bucket.keys().iter().all(|key| key.starts_with("to/")), "{:?}", bucket.keys());
    assert_eq!(bucket.see("to/one.png").unwrap().content_type.as_deref(), Some("image/png"));
}

#[test]
fn a_directory_replaces_only_an_empty_one() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    for dir in ["a", "full", "empty"] {
        fs::create_dir(mount.path(dir)).unwrap();
    }
    mount.write("a/file", b"x");
    mount.write("full/file", b"y");
    mount.write("file", b"z");
    refused(rename(&mount, "a", "full"), Errno::ENOTEMPTY);
    refused(rename(&mount, "a", "file"), Errno::ENOTDIR);
    refused(rename(&mount, "file", "empty"), Errno::EISDIR);
    refused(rename(&mount, "a", "a/below"), Errno::EINVAL);
    rename(&mount, "a", "empty").unwrap();
    assert_eq!(names(mount.dir()), ["empty", "file", "full"]);
    assert_eq!(mount.read("empty/file"), b"x");
}

#[test]
fn an_open_file_follows_its_rename() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mut file = File::create(mount.path("upload.tmp")).unwrap();
    file.write_all(b"first half, ").unwrap();
    rename(&mount, "upload.tmp", "final.txt").unwrap();
    file.write_all(b"second half").unwrap();
    drop(file);
    assert_eq!(bucket.keys(), ["final.txt"]);
    assert_eq!(bucket.body("final.txt"), b"first half, second half");
}

#[test]
fn an_open_file_follows_the_rename_of_its_directory() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("a")).unwrap();
    let mut file = File::create(mount.path("a/file")).unwrap();
    file.write_all(b"text").unwrap();
    rename(&mount, "a", "b").unwrap();
    drop(file);
    assert_eq!(bucket.body("b/file"), b"text");
    assert!(bucket.keys().iter().all(|key| key.starts_with("b/")), "{:?}", bucket.keys());
}

#[test]
fn a_replaced_file_stays_readable_where_it_is_open() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("f", b"old bytes");
    mount.write("g", b"new");
    let old = File::open(mount.path("f")).unwrap();
    rename(&mount, "g", "f").unwrap();
    assert_eq!(std::io::read_to_string(old).unwrap(), "old bytes");
    assert_eq!(mount.read("f"), b"new");
}

#[test]
fn above_the_limit_a_directory_is_left_to_mv() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict,rename_limit=3");
    fs::create_dir(mount.path("dir")).unwrap();
    for n in 0..5 {
        mount.write(&format!("dir/{n}"), b"x");
    }
    refused(rename(&mount, "dir", "elsewhere"), Errno::EXDEV);
    let (from, to) = (mount.path("dir"), mount.path("elsewhere"));
    let moved = run(["mv", from.to_str().unwrap(), to.to_str().unwrap()]);
    assert_eq!(moved, (0, String::new()));
    assert_eq!(names(mount.path("elsewhere")).len(), 5);
    assert_eq!(names(mount.dir()), ["elsewhere"]);
}
