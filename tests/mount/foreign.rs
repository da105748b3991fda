//! Objects that others wrote, change and remove.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
};

use nix::errno::Errno;

use crate::harness::{Bucket, Kind, eventually, names, noise, refused, sum};

#[test]
fn a_prefix_is_a_directory() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("2026/11/photo.jpg", b"p");
    bucket.put("2026/12/photo.jpg", b"q");
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), ["2026"]);
    assert_eq!(names(mount.path("2026")), ["11", "12"]);
    assert!(mount.stat("2026/11").is_dir());
    assert_eq!(mount.read("2026/12/photo.jpg"), b"q");
    mount.write("2026/11/new.jpg", b"n");
    assert_eq!(names(mount.path("2026/11")), ["new.jpg", "photo.jpg"]);
}

#[test]
fn a_directory_outlives_its_last_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("implicit/only", b"x");
    let mount = bucket.mount();
    fs::remove_file(mount.path("implicit/only")).unwrap();
    assert!(mount.stat("implicit").is_dir());
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount();
    assert_eq!(names(again.dir()), ["implicit"]);
    fs::remove_dir(again.path("implicit")).unwrap();
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn markers_of_others_are_directories() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("console/", b"");
    bucket.put_with("s3fs/", b"", |put| put.content_type("application/x-directory").metadata("mode", "16877"));
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), ["console", "s3fs"]);
    for dir in ["console", "s3fs"] {
        assert!(mount.stat(dir).is_dir(), "{dir}");
        assert_eq!(names(mount.path(dir)), Vec::<String>::new());
        mount.write(&format!("{dir}/file"), b"x");
        fs::remove_dir_all(mount.path(dir)).unwrap();
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn metadata_of_s3fs_is_read() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_with("file", b"content", |put| {
        let put = put.metadata("mode", "33184").metadata("uid", "1001").metadata("gid", "1002");
        put.metadata("mtime", "1234567890.500000000").metadata("ctime", "1234567890").metadata("atime", "1234567890")
    });
    bucket.put_with("link", b"file", |put| put.metadata("mode", "41471").metadata("mtime", "1234567890"));
    let mount = bucket.mount_with("freshness=strict,perms=stored");
    let stat = mount.stat("file");
    assert_eq!((stat.mode(), stat.uid(), stat.gid(), stat.mtime()), (0o100_640, 1001, 1002, 1_234_567_890));
    assert!(mount.stat("link").is_symlink());
    assert_eq!(mount.read("link"), b"content");
}

#[test]
fn an_object_without_metadata_has_the_time_of_the_bucket() {
    let Some(bucket) = Bucket::fresh() else { return };
    let before = originfs::clock::wall().sec;
    bucket.put("plain", b"x");
    let mount = bucket.mount();
    let mtime = mount.stat("plain").mtime();
    assert!((before - 2..=originfs::clock::wall().sec + 2).contains(&mtime), "{mtime}");
}

#[test]
fn keys_that_are_no_paths_are_hidden_and_harm_nothing() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind == Kind::Weed {
        return; // its keys are paths, so it has no such objects
    }
    let hidden = ["a//b", "a/./c", "a/../d", "..", "."];
    for key in hidden.into_iter().filter(|key| bucket.server.kind == Kind::Dev || key.contains("//")) {
        bucket.put(key, b"hidden");
    }
    bucket.put("a/seen", b"seen");
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), ["a"]);
    assert_eq!(names(mount.path("a")), ["seen"]);
    assert_eq!(mount.read("a/seen"), b"seen");
    refused(fs::metadata(mount.path("d")), Errno::ENOENT);
    assert!(bucket.keys().contains(&"a//b".to_owned()));
}

#[test]
fn where_a_file_and_a_directory_share_a_name_the_directory_wins() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind == Kind::Weed {
        return; // it keeps only one of the two
    }
    bucket.put("both", b"file");
    bucket.put("both/inside", b"x");
    let mount = bucket.mount();
    assert!(mount.stat("both").is_dir());
    assert_eq!(names(mount.dir()), ["both"]);
    assert_eq!(names(mount.path("both")), ["inside"]);
}

#[test]
fn our_own_corner_of_the_bucket_is_invisible() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put(".originfs/view", b"private");
    let mount = bucket.mount();
    assert_eq!(names(mount.dir()), Vec::<String>::new());
    refused(fs::metadata(mount.path(".originfs")), Errno::ENOENT);
    refused(File::open(mount.path(".originfs/view")), Errno::ENOENT);
}

#[test]
fn a_replaced_object_is_seen_at_the_next_open() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"first");
    let mount = bucket.mount_with("");
    assert_eq!(mount.read("file"), b"first");
    for n in 0..20 {
        // Same length, same second: only the ETag tells.
        let text = format!("v{n:04}");
        bucket.put("file", text.as_bytes());
        assert_eq!(mount.read("file"), text.as_bytes());
    }
    eventually("stat shows the new size", || {
        bucket.put("file", b"longer than before");
        mount.stat("file").len() == 18
    });
}

#[test]
fn a_removed_object_is_gone_at_the_next_open() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("dir/file", b"first");
    let mount = bucket.mount_with("");
    assert_eq!(mount.read("dir/file"), b"first");
    bucket.delete("dir/file");
    refused(File::open(mount.path("dir/file")), Errno::ENOENT);
}

#[test]
fn a_reader_keeps_its_version_or_learns_that_it_is_gone() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (old, new) = (noise(24 << 20, 11), noise(24 << 20, 12));
    bucket.put("video.mp4", &old);
    let mount = bucket.mount();
    let mut file = File::open(mount.path("video.mp4")).unwrap();
    let mut got = vec![0; 1 << 20];
    file.read_exact(&mut got).unwrap();
    bucket.put("video.mp4", &new);
    let mut rest = Vec::new();
    let end = file.read_to_end(&mut rest);
    got.extend_from_slice(&rest);
    // All of it must be the old version, however far it came.
    assert_eq!(sum(&got), sum(&old[..got.len()]));
    if got.len() < old.len() {
        refused(end, Errno::ESTALE);
    }
    assert_eq!(sum(&mount.read("video.mp4")), sum(&new));
}
