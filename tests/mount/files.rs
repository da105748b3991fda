//! One mount: what happens to the bytes of a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use nix::errno::Errno;

use crate::harness::{Bucket, Kind, noise, refused, sum};

#[test]
fn a_written_file_is_one_object_with_its_type() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("photo.jpg", b"not really a picture");
    mount.write("style.css", b"a{}");
    mount.write("shell.php", b"<?php");
    assert_eq!(bucket.keys(), ["photo.jpg", "shell.php", "style.css"]);
    let object = bucket.see("photo.jpg").unwrap();
    assert_eq!(
        (object.body.as_slice(), object.content_type.as_deref()),
        (&b"not really a picture"[..], Some("image/jpeg"))
    );
    assert_eq!(bucket.see("style.css").unwrap().content_type.as_deref(), Some("text/css; charset=utf-8"));
    // SeaweedFS puts a guess of its own in the place of this type.
    if bucket.server.kind != Kind::Weed {
        assert_eq!(bucket.see("shell.php").unwrap().content_type.as_deref(), Some("application/octet-stream"));
    }
    assert_eq!(mount.read("photo.jpg"), b"not really a picture");
}

#[test]
fn what_is_absent_is_enoent() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    refused(fs::metadata(mount.path("nothing")), Errno::ENOENT);
    refused(File::open(mount.path("nothing")), Errno::ENOENT);
    refused(File::open(mount.path("no/such/dir")), Errno::ENOENT);
    refused(fs::remove_file(mount.path("nothing")), Errno::ENOENT);
    mount.write("file", b"");
    refused(File::open(mount.path("file/below")), Errno::ENOTDIR);
}

#[test]
fn an_empty_file_exists() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    File::create(mount.path("empty.txt")).unwrap();
    assert_eq!(bucket.body("empty.txt"), b"");
    assert_eq!(mount.stat("empty.txt").len(), 0);
    assert_eq!(mount.read("empty.txt"), b"");
}

#[test]
fn append_goes_to_the_end() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    for part in ["one ", "two ", "three"] {
        let mut file = OpenOptions::new().create(true).append(true).open(mount.path("log.txt")).unwrap();
        file.write_all(part.as_bytes()).unwrap();
    }
    assert_eq!(bucket.body("log.txt"), b"one two three");
}

#[test]
fn exclusive_create_refuses_what_exists() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    bucket.put("taken", b"foreign");
    let exclusive = |name| OpenOptions::new().write(true).create_new(true).open(mount.path(name));
    refused(exclusive("taken"), Errno::EEXIST);
    drop(exclusive("free").unwrap());
    refused(exclusive("free"), Errno::EEXIST);
    assert_eq!(bucket.body("taken"), b"foreign");
}

#[test]
fn truncating_open_starts_anew() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("f", b"a long first version");
    mount.write("f", b"short");
    assert_eq!(bucket.body("f"), b"short");
    drop(File::create(mount.path("f")).unwrap());
    assert_eq!(bucket.body("f"), b"");
}

#[test]
fn writes_in_any_order_make_the_same_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let whole = noise(300_000, 1);
    let file = File::create(mount.path("shuffled")).unwrap();
    for chunk in (0..whole.len() / 10_000).map(|n| n * 7 % 30) {
        let at = chunk * 10_000;
        file.write_all_at(&whole[at..at + 10_000], at as u64).unwrap();
    }
    drop(file);
    assert_eq!(sum(&bucket.body("shuffled")), sum(&whole));
}

#[test]
fn an_existing_file_is_changed_in_place() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mut whole = noise(200_000, 2);
    bucket.put("data.bin", &whole);
    let file = OpenOptions::new().read(true).write(true).open(mount.path("data.bin")).unwrap();
    file.write_all_at(b"HERE", 100_000).unwrap();
    let mut around = [0; 8];
    file.read_exact_at(&mut around, 99_998).unwrap();
    whole[100_000..100_004].copy_from_slice(b"HERE");
    assert_eq!(around, whole[99_998..100_006]);
    drop(file);
    assert_eq!(sum(&bucket.body("data.bin")), sum(&whole));
}

#[test]
fn a_hole_reads_as_zeros() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mut file = File::create(mount.path("holes")).unwrap();
    file.seek(SeekFrom::Start(10_000)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    let body = bucket.body("holes");
    assert_eq!(body.len(), 10_003);
    assert!(body[..10_000].iter().all(|&byte| byte == 0));
    assert_eq!(mount.read("holes"), body);
}

#[test]
fn an_open_file_is_truncated_and_extended() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let file = File::create(mount.path("f")).unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4);
    file.set_len(6).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 6);
    drop(file);
    assert_eq!(bucket.body("f"), b"0123\0\0");
}

#[test]
fn a_closed_file_is_truncated_and_extended() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    bucket.put("f", b"0123456789");
    nix::unistd::truncate(&mount.path("f"), 3).unwrap();
    assert_eq!(bucket.body("f"), b"012");
    assert_eq!(mount.stat("f").len(), 3);
    nix::unistd::truncate(&mount.path("f"), 5).unwrap();
    assert_eq!(bucket.body("f"), b"012\0\0");
    nix::unistd::truncate(&mount.path("f"), 0).unwrap();
    assert_eq!((bucket.body("f").len(), mount.read("f").len()), (0, 0));
}

#[test]
fn fsync_is_in_the_bucket_before_close() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mut file = File::create(mount.path("f")).unwrap();
    file.write_all(b"first").unwrap();
    file.sync_all().unwrap();
    assert_eq!(bucket.body("f"), b"first");
    file.write_all(b" second").unwrap();
    drop(file);
    assert_eq!(bucket.body("f"), b"first second");
}

#[test]
fn an_unlinked_file_stays_readable_and_leaves_no_object() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("gone", b"still here");
    let mut file = File::open(mount.path("gone")).unwrap();
    fs::remove_file(mount.path("gone")).unwrap();
    refused(fs::metadata(mount.path("gone")), Errno::ENOENT);
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
    drop(file);

    let mut file = File::create(mount.path("scratch")).unwrap();
    file.write_all(b"for nobody").unwrap();
    fs::remove_file(mount.path("scratch")).unwrap();
    file.write_all(b", ever").unwrap();
    drop(file);
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn every_close_of_a_duplicate_uploads() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mut file = File::create(mount.path("f")).unwrap();
    file.write_all(b"one").unwrap();
    drop(file.try_clone().unwrap());
    assert_eq!(bucket.body("f"), b"one");
    file.write_all(b" two").unwrap();
    drop(file);
    assert_eq!(bucket.body("f"), b"one two");
}

#[test]
fn two_writers_of_one_mount_share_the_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let first = File::create(mount.path("f")).unwrap();
    let second = OpenOptions::new().read(true).write(true).open(mount.path("f")).unwrap();
    first.write_all_at(b"aaaa", 0).unwrap();
    second.write_all_at(b"bb", 1).unwrap();
    let mut seen = [0; 4];
    second.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"abba");
    assert_eq!(first.metadata().unwrap().ino(), second.metadata().unwrap().ino());
    drop((first, second));
    assert_eq!(bucket.body("f"), b"abba");
}
