//! When the bucket fails: an errno in time, never a lie, and nothing is lost.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    time::Duration,
};

use nix::{errno::Errno, libc};

use crate::harness::{Bucket, Fault, names, noise, refused, store, sum};

/// `timeout` of the mounts, and what it may take on a busy machine until the caller has its errno.
const TIMEOUT: &str = "freshness=strict,timeout=2s,connect_timeout=1s,retries=3";
const IN_TIME: Duration = Duration::from_secs(12);

#[track_caller]
fn in_time<T>(call: impl FnOnce() -> T) -> T {
    let start = originfs::clock::now();
    let result = call();
    assert!(start.elapsed() < IN_TIME, "it took {:?}", start.elapsed());
    result
}

/// close(2) and its errno, which dropping a `File` hides.
fn close(file: File) -> nix::Result<()> {
    nix::unistd::close(file)
}

type Call<'a> = Box<dyn FnOnce() -> io::Result<()> + Send + 'a>;

/// Everything that asks the bucket must answer EIO, in time.
fn all_calls_fail_with_eio(fault: Fault) {
    let Some(bucket) = Bucket::fresh() else { return };
    // The kernel lets one change of a directory wait for another, so each has a directory of its own.
    for key in ["known", "dir/file", "unlink/file", "rename/file", "mkdir/file", "rmdir/dir/"] {
        bucket.put(key, b"");
    }
    let (mount, wire) = bucket.wired(TIMEOUT);
    assert_eq!(mount.read("known"), b"");
    wire.break_all(None, fault);
    std::thread::scope(|scope| {
        let calls: [(&str, Call<'_>); 8] = [
            ("stat of an unknown name", Box::new(|| fs::metadata(mount.path("unknown")).map(drop))),
            ("stat of a known name", Box::new(|| fs::metadata(mount.path("known")).map(drop))),
            ("open", Box::new(|| File::open(mount.path("dir/file")).map(drop))),
            ("readdir", Box::new(|| fs::read_dir(mount.path(""))?.try_for_each(|entry| entry.map(drop)))),
            ("unlink", Box::new(|| fs::remove_file(mount.path("unlink/file")))),
            ("rename", Box::new(|| fs::rename(mount.path("rename/file"), mount.path("rename/moved")))),
            ("mkdir", Box::new(|| fs::create_dir(mount.path("mkdir/new")))),
            ("rmdir", Box::new(|| fs::remove_dir(mount.path("rmdir/dir")))),
        ];
        let running: Vec<_> = calls.into_iter().map(|(what, call)| (what, scope.spawn(|| in_time(call)))).collect();
        for (what, call) in running {
            let err = call.join().unwrap().expect_err(what);
            assert_eq!(err.raw_os_error(), Some(libc::EIO), "{what}: {err}");
        }
    });
    wire.heal();
    assert_eq!(names(mount.dir()), ["dir", "known", "mkdir", "rename", "rmdir", "unlink"]);
    assert_eq!(bucket.keys(), ["dir/file", "known", "mkdir/file", "rename/file", "rmdir/dir/", "unlink/file"]);
}

#[test]
fn a_server_that_answers_500_is_eio_and_never_enoent() {
    all_calls_fail_with_eio(Fault::Status(500));
}

#[test]
fn a_server_that_says_slow_down_is_eio_and_never_enoent() {
    all_calls_fail_with_eio(Fault::Status(503));
}

#[test]
fn a_server_that_is_silent_is_eio_in_time() {
    all_calls_fail_with_eio(Fault::Silence);
}

#[test]
fn forbidden_is_eacces_and_not_enoent() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let (mount, wire) = bucket.wired(TIMEOUT);
    wire.break_all(None, Fault::Status(403));
    refused(in_time(|| fs::metadata(mount.path("unknown"))), Errno::EACCES);
    refused(in_time(|| File::open(mount.path("file"))), Errno::EACCES);
    wire.heal();
    assert_eq!(mount.read("file"), b"x");
}

#[test]
fn a_failed_upload_is_told_and_its_bytes_are_kept_for_another_try() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired(TIMEOUT);
    let whole = noise(100_000, 1);
    let file = File::create(mount.path("upload.jpg")).unwrap();
    (&file).write_all(&whole).unwrap();
    wire.break_all("PUT", Fault::Status(500));
    // Closing a duplicate flushes; the file stays open for the second try.
    refused(in_time(|| close(file.try_clone().unwrap())), Errno::EIO);
    refused(in_time(|| file.sync_all()), Errno::EIO);
    wire.heal();
    file.sync_all().unwrap();
    assert_eq!(sum(&bucket.body("upload.jpg")), sum(&whole));
    close(file).unwrap();
    assert_eq!(sum(&mount.read("upload.jpg")), sum(&whole));
}

#[test]
fn a_failed_overwrite_leaves_the_old_version_to_all_others() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"old");
    let (mount, wire) = bucket.wired(TIMEOUT);
    let file = File::create(mount.path("file")).unwrap();
    (&file).write_all(b"new").unwrap();
    wire.break_all("PUT", Fault::Status(500));
    refused(in_time(|| close(file)), Errno::EIO);
    assert_eq!(bucket.body("file"), b"old");
    assert_eq!(bucket.mount().read("file"), b"old");
    wire.heal();
    mount.write("file", b"third");
    assert_eq!(bucket.body("file"), b"third");
}

#[test]
fn one_bad_answer_is_retried_unseen() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("freshness=strict");
    wire.break_all("PUT", Fault::Status(503));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| store(mount.path("file"), b"patient"));
        crate::harness::eventually("the first try", || wire.count("PUT", "/file") > 0);
        wire.heal();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(bucket.body("file"), b"patient");
}

#[test]
fn a_lost_reply_to_an_upload_does_no_harm() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("freshness=strict");
    wire.break_all("PUT", Fault::LostReply);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| store(mount.path("file"), b"once"));
        crate::harness::eventually("the first try", || wire.count("PUT", "/file") > 0);
        wire.heal();
        writer.join().unwrap().unwrap();
    });
    assert_eq!((bucket.keys(), bucket.body("file")), (vec!["file".to_owned()], b"once".to_vec()));
    assert_eq!(mount.read("file"), b"once");
}

#[test]
fn one_slow_file_does_not_hold_up_the_others() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("quick", b"x");
    let (mount, wire) = bucket.wired("freshness=strict,timeout=20s");
    wire.break_all("PUT", Fault::Silence);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| store(mount.path("slow"), b"y"));
        crate::harness::eventually("the upload hangs", || wire.count("PUT", "/slow") > 0);
        for _ in 0..20 {
            in_time(|| assert_eq!(mount.read("quick"), b"x"));
            in_time(|| assert!(names(mount.dir()).contains(&"quick".to_owned())));
        }
        assert!(!writer.is_finished());
        wire.heal();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(bucket.body("slow"), b"y");
}
