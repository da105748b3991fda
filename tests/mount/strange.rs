//! Objects that are odd but there: what old tools, consoles and crashes leave in a bucket.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    time::SystemTime,
};

use aws_sdk_s3::types::StorageClass;
use nix::{errno::Errno, sys::signal::Signal};

use crate::harness::{Bucket, Kind, Mount, eventually, names, noise, refused, sum};

#[test]
fn an_upload_of_ours_that_a_crash_left_ends_with_the_next_mount_and_others_go_on() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind == Kind::Weed {
        return; // it lists uploads of the whole bucket, those of other tests too
    }
    bucket.begin_upload("theirs.bin");
    let (mount, wire) = bucket.wired("part_size=5MiB");
    let mut file = File::create(mount.path("ours.bin")).unwrap();
    file.write_all(&noise(8 << 20, 3)).unwrap();
    eventually("a part is sent", || wire.count("PUT", "partNumber=1") > 0);
    mount.signal(Signal::SIGKILL);
    assert_ne!(mount.wait(), 0);
    mount.detach();
    drop(file);
    assert_eq!(bucket.uploads(), 2, "{}", mount.log());
    let options = format!("dir={},cache_dir={}", mount.dir().display(), mount.cache_dir().display());
    // The cache knows a mount by its endpoint, too.
    let again = Mount::start(&bucket, &wire.endpoint(), &options).unwrap();
    eventually("our upload is ended", || bucket.uploads() == 1);
    assert_eq!(names(again.dir()), Vec::<String>::new());
    again.write("ours.bin", b"second try");
    assert_eq!(bucket.uploads(), 1);
    assert_eq!(bucket.keys(), ["ours.bin"]);
}

#[test]
fn a_marker_with_content_is_a_directory_and_keeps_its_content() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind == Kind::Weed {
        return; // there it is no object
    }
    bucket.put("dir/", b"somebody's notes");
    bucket.put("dir/file", b"x");
    for perms in ["perms=stored", "perms=uniform"] {
        let mount = bucket.mount_with(&format!("freshness=strict,{perms}"));
        assert!(mount.stat("dir").is_dir());
        assert_eq!(names(mount.path("dir")), ["file"]);
        File::open(mount.path("dir")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(mount.stat("dir").mtime(), 0);
        assert_eq!(bucket.body("dir/"), b"somebody's notes");
        mount.write("dir/second", b"y");
        fs::remove_file(mount.path("dir/second")).unwrap();
        assert_eq!(bucket.body("dir/"), b"somebody's notes");
    }
}

#[test]
fn a_file_that_a_directory_hid_is_there_when_the_directory_is_gone() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind == Kind::Weed {
        return; // it keeps only one of the two
    }
    bucket.put("a", b"file");
    bucket.put("a/", b"");
    bucket.put("a/b", b"below");
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), ["a"]);
    assert!(mount.stat("a").is_dir());
    assert_eq!(mount.read("a/b"), b"below");
    fs::remove_dir_all(mount.path("a")).unwrap();
    assert_eq!(bucket.keys(), ["a"]);
    assert_eq!(mount.read("a"), b"file");
    assert_eq!(names(mount.dir()), ["a"]);
}

#[test]
fn markers_of_old_tools_are_files() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("dir_$folder$", b"");
    bucket.put("dir/file", b"x");
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), ["dir", "dir_$folder$"]);
    assert_eq!(mount.read("dir_$folder$"), b"");
    assert_eq!(mount.read("dir/file"), b"x");
    fs::rename(mount.path("dir"), mount.path("other")).unwrap();
    fs::remove_file(mount.path("dir_$folder$")).unwrap();
    assert_eq!(names(mount.dir()), ["other"]);
}

#[test]
fn encoded_bytes_are_read_as_they_are_stored() {
    let Some(bucket) = Bucket::fresh() else { return };
    let zipped = [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &noise(5000, 9)].concat();
    bucket.put_with("page.html", &zipped, |put| put.content_encoding("gzip").content_type("text/html"));
    let mount = bucket.mount_with("freshness=strict,perms=stored");
    assert_eq!(mount.stat("page.html").len(), zipped.len() as u64);
    assert_eq!(sum(&mount.read("page.html")), sum(&zipped));
    File::open(mount.path("page.html")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let object = bucket.see("page.html").unwrap();
    assert_eq!((object.content_encoding.as_deref(), sum(&object.body)), (Some("gzip"), sum(&zipped)));
    // Where a cache has nothing of it.
    let cold = bucket.mount();
    assert_eq!(sum(&cold.read("page.html")), sum(&zipped));
}

#[test]
fn empty_objects_are_empty_files() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("empty", b"");
    bucket.put_with("typed.txt", b"", |put| put.content_type("text/plain"));
    let mount = bucket.mount();
    assert_eq!((mount.stat("empty").len(), mount.stat("empty").is_file()), (0, true));
    assert_eq!(mount.read("typed.txt"), b"");
    let file = OpenOptions::new().read(true).write(true).open(mount.path("empty")).unwrap();
    file.write_all_at(b"late", 2).unwrap();
    drop(file);
    assert_eq!(bucket.body("empty"), b"\0\0late");
    fs::rename(mount.path("typed.txt"), mount.path("renamed")).unwrap();
    assert_eq!(bucket.body("renamed"), b"");
}

#[test]
fn an_archived_object_is_an_error_that_the_log_explains() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind != Kind::Dev {
        return; // the others have no archive
    }
    let large = noise(3 << 20, 4);
    bucket.put_with("small.jpg", b"in the ice", |put| put.storage_class(StorageClass::Glacier));
    bucket.put_with("large.mp4", &large, |put| put.storage_class(StorageClass::DeepArchive));
    let mount = bucket.mount();
    assert_eq!((mount.stat("small.jpg").len(), mount.stat("large.mp4").len()), (10, 3 << 20));
    assert_eq!(names(mount.dir()), ["large.mp4", "small.jpg"]);
    refused(fs::read(mount.path("small.jpg")), Errno::EIO);
    refused(fs::read(mount.path("large.mp4")), Errno::EIO);
    for name in ["small.jpg", "large.mp4"] {
        assert!(
            mount.log().contains(&format!("{name} is in an archive and must be restored first")),
            "{}",
            mount.log()
        );
    }
    // Nothing of it is lost by trying to change or to move it.
    refused(fs::rename(mount.path("small.jpg"), mount.path("moved")), Errno::EIO);
    assert_eq!(names(mount.dir()), ["large.mp4", "small.jpg"]);
    // An overwrite needs nothing of what was there.
    mount.write("small.jpg", b"new");
    assert_eq!(bucket.body("small.jpg"), b"new");
    fs::remove_file(mount.path("large.mp4")).unwrap();
    assert_eq!(bucket.keys(), ["small.jpg"]);
}
