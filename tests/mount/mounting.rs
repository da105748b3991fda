//! How mounts begin and end.

use std::{
    fs::{self, File},
    io::Write as _,
    thread,
    time::Duration,
};

use nix::{errno::Errno, sys::signal::Signal};

use crate::harness::{Bucket, Fault, PATIENCE, eventually, fresh_dir, noise, refused, run, store, sum};

#[test]
fn two_mounts_never_share_a_cache() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let second = bucket.try_mount(&format!("cache_dir={}", mount.cache_dir().display()));
    // Either it is refused, or the two have directories of their own below the one that was named.
    match second {
        Err(refused) => {
            assert!(refused.code != 0);
            assert!(refused.said.contains("cache"), "{}", refused.said);
        }
        Ok(second) => {
            mount.write("file", b"from the first");
            assert_eq!(second.read("file"), b"from the first");
            second.write("file", b"from the second");
            assert_eq!(mount.read("file"), b"from the second");
        }
    }
    mount.write("after", b"alive");
    assert_eq!(bucket.body("after"), b"alive");
}

#[test]
fn the_same_mount_twice_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    // With something in it the mount point itself could be the reason.
    let (code, said) = mount.start_again("nonempty");
    assert_ne!(code, 0, "{said}");
    assert!(mount.is_mounted());
    mount.write("after", b"alive");
    assert_eq!(bucket.body("after"), b"alive");
}

#[test]
fn what_has_something_in_it_is_not_covered() {
    let Some(bucket) = Bucket::fresh() else { return };
    let dir = fresh_dir();
    fs::write(dir.join("precious"), b"local").unwrap();
    let option = format!("dir={}", dir.display());
    let refused = bucket.try_mount(&option).expect_err("the mount point is not empty");
    assert!(refused.code != 0 && refused.said.contains("empty"), "{}", refused.said);
    assert_eq!(fs::read(dir.join("precious")).unwrap(), b"local");
    let mount = bucket.try_mount(&format!("{option},nonempty")).unwrap();
    assert!(fs::metadata(dir.join("precious")).is_err());
    assert_eq!(mount.stop(), 0);
    assert_eq!(fs::read(dir.join("precious")).unwrap(), b"local");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_cache_inside_the_mount_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let dir = fresh_dir();
    let options = format!("dir={0},cache_dir={0}/cache,nonempty", dir.display());
    let refused = bucket.try_mount(&options).expect_err("the cache would be stored in the bucket");
    assert!(refused.code != 0 && refused.said.contains("cache"), "{}", refused.said);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_bucket_that_does_not_exist_is_refused() {
    let Some(bucket) = Bucket::absent() else { return };
    let refused = bucket.try_mount("").expect_err("no such bucket");
    assert!(refused.code != 0 && refused.said.contains(&bucket.source()), "{}", refused.said);
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let mount = bucket.mount_with("ro");
    assert_eq!(mount.read("file"), b"x");
    refused(fs::write(mount.path("file"), b"y"), Errno::EROFS);
    refused(fs::write(mount.path("new"), b"y"), Errno::EROFS);
    refused(fs::create_dir(mount.path("dir")), Errno::EROFS);
    refused(fs::remove_file(mount.path("file")), Errno::EROFS);
    refused(fs::rename(mount.path("file"), mount.path("other")), Errno::EROFS);
    assert_eq!((bucket.keys(), bucket.body("file")), (vec!["file".to_owned()], b"x".to_vec()));
}

#[test]
fn unmounting_ends_the_program() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("file", b"x");
    nix::mount::umount(mount.dir()).unwrap();
    assert_eq!(mount.wait(), 0);
    assert!(!mount.is_mounted());
    assert_eq!(bucket.body("file"), b"x");
}

#[test]
fn termination_uploads_what_is_written_and_unmounts() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let whole = noise(2 << 20, 1);
    let mut file = File::create(mount.path("upload.bin")).unwrap();
    file.write_all(&whole).unwrap();
    assert_eq!(mount.stop(), 0, "{}", mount.log());
    assert!(!mount.is_mounted());
    assert_eq!(sum(&bucket.body("upload.bin")), sum(&whole));
    drop(file);
}

#[test]
fn a_kill_during_an_upload_leaves_no_object_and_the_place_can_be_mounted_again() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("freshness=strict");
    mount.write("settled", b"before");
    mount.write("replaced", b"old");
    wire.break_all("PUT", Fault::Stall);
    let (new, replaced) = (mount.path("new.bin"), mount.path("replaced"));
    let writers = [new, replaced].map(|path| thread::spawn(move || store(path, noise(1 << 20, 1))));
    eventually("both uploads are under way", || wire.count("PUT", "new.bin") > 0 && wire.count("PUT", "replaced") > 0);
    mount.signal(Signal::SIGKILL);
    assert_ne!(mount.wait(), 0);
    mount.detach();
    for writer in writers {
        writer.join().unwrap().expect_err("close cannot succeed");
    }
    wire.heal();
    assert_eq!(bucket.keys(), ["replaced", "settled"]);
    assert_eq!(bucket.body("replaced"), b"old");
    let options = format!("freshness=strict,dir={},cache_dir={}", mount.dir().display(), mount.cache_dir().display());
    let again = bucket.mount_with(&options);
    assert_eq!(again.read("settled"), b"before");
    assert_eq!(again.read("replaced"), b"old");
    refused(fs::metadata(again.path("new.bin")), Errno::ENOENT);
    again.write("new.bin", b"second try");
    assert_eq!(bucket.body("new.bin"), b"second try");
}

#[test]
fn a_kill_ends_a_mount_that_hangs_while_names_are_forgotten() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("d/known", b"x");
    let (mount, wire) = bucket.wired("");
    mount.stat("d/known");
    wire.break_all(None, Fault::Silence);
    let unknown = mount.path("d/unknown");
    // The kernel holds the lock of the directory until it is answered, and wants it to forget another name.
    let hangs = thread::spawn(move || fs::metadata(unknown).map(drop));
    eventually("a name is asked for", || wire.count("GET", "unknown") + wire.count("HEAD", "unknown") > 0);
    let before = mount.wakes_of("notify");
    let known = mount.path("d/known").to_str().unwrap().to_owned();
    // It would wait for half a minute.
    let forgets = thread::spawn(move || run([env!("CARGO_BIN_EXE_originfs"), "invalidate", &known]));
    eventually("the kernel is to be told", || mount.wakes_of("notify") > before);
    mount.signal(Signal::SIGKILL);
    let begin = originfs::clock::now();
    while !mount.has_ended() && begin.elapsed() < PATIENCE / 4 {
        thread::sleep(Duration::from_millis(10));
    }
    let ended = mount.has_ended();
    // Or nothing here would ever end.
    mount.abort();
    mount.detach();
    hangs.join().unwrap().unwrap_err();
    forgets.join().unwrap();
    assert!(ended, "the killed process is still there");
}

#[test]
fn a_cache_survives_a_remount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let whole = noise(800_000, 1);
    bucket.put("photo.jpg", &whole);
    let (mount, _) = bucket.wired("");
    assert_eq!(sum(&mount.read("photo.jpg")), sum(&whole));
    assert_eq!(mount.stop(), 0);
    let same_cache = format!("cache_dir={}", mount.cache_dir().display());
    let (again, wire) = bucket.wired(&same_cache);
    assert_eq!(sum(&again.read("photo.jpg")), sum(&whole));
    // The bucket was asked whether it is still that version; it did not send it again.
    bucket.put("photo.jpg", b"changed meanwhile");
    assert_eq!(again.read("photo.jpg"), b"changed meanwhile");
    let gets = wire.count("GET", "/photo.jpg");
    assert!(gets <= 2, "{gets}");
}
