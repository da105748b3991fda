//! Local-only names: what stays on this host, and what crosses.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    num::NonZeroUsize,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, Flock, FlockArg, copy_file_range, fallocate},
    sys::{
        mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap},
        signal::Signal,
    },
    unistd::{Whence, lseek},
};

use crate::harness::{Bucket, Fault, Mount, fresh_dir, names, noise, refused, run, sum};

const BOTH: &str = "freshness=strict,local=php:*.log,hold=*.tmp";

/// The directory of the local store.
fn store_of(mount: &Mount) -> PathBuf {
    let own = fs::read_dir(mount.cache_dir()).unwrap().next().unwrap().unwrap();
    own.path().join("local")
}

#[test]
fn local_paths_never_reach_the_server() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("php/foreign", b"hidden");
    let (mount, wire) = bucket.wired(BOTH);
    wire.take_seen();
    refused(fs::metadata(mount.path("php")), Errno::ENOENT);
    fs::create_dir(mount.path("php")).unwrap();
    assert_eq!(names(mount.path("php")), [""; 0]);
    fs::create_dir(mount.path("php/twig")).unwrap();
    mount.write("php/twig/a.php", b"<?php");
    assert_eq!(mount.read("php/twig/a.php"), b"<?php");
    fs::set_permissions(mount.path("php/twig/a.php"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::rename(mount.path("php/twig/a.php"), mount.path("php/b.php")).unwrap();
    symlink("b.php", mount.path("php/link")).unwrap();
    assert_eq!(mount.read("php/link"), b"<?php");
    fs::rename(mount.path("php/twig"), mount.path("php/smarty")).unwrap();
    fs::remove_dir(mount.path("php/smarty")).unwrap();
    fs::remove_file(mount.path("php/link")).unwrap();
    refused(fs::remove_dir(mount.path("php")), Errno::ENOTEMPTY);
    let asked: Vec<_> = wire.take_seen().into_iter().filter(|seen| seen.target.contains("php")).collect();
    assert_eq!(asked, []);
    assert_eq!((names(mount.dir()), bucket.keys()), (vec!["php".to_owned()], vec!["php/foreign".to_owned()]));
    assert!(mount.log().contains("local-only names: local=php:*.log hold=*.tmp"), "{}", mount.log());
    let log = mount.log();
    let told = log
        .lines()
        .any(|line| line.contains("1 keys below ") && line.ends_with(" have local-only names and are hidden"));
    assert!(told, "{log}");
}

#[test]
fn a_held_file_is_one_put_under_its_final_name() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired(BOTH);
    fs::create_dir(mount.path("filedir")).unwrap();
    let content = noise(300_000, 5);
    wire.take_seen();
    mount.write("filedir/c0ffee.tmp", &content);
    assert_eq!(sum(&mount.read("filedir/c0ffee.tmp")), sum(&content));
    fs::rename(mount.path("filedir/c0ffee.tmp"), mount.path("filedir/photo.jpg")).unwrap();
    assert_eq!(sum(&mount.read("filedir/photo.jpg")), sum(&content));
    let seen = wire.take_seen();
    let writes: Vec<_> = seen.iter().filter(|seen| !matches!(seen.method.as_str(), "GET" | "HEAD")).collect();
    assert!(
        matches!(writes[..], [put] if put.method == "PUT" && put.path().ends_with("filedir/photo.jpg")),
        "{writes:?}"
    );
    assert!(!seen.iter().any(|seen| seen.method == "GET" && seen.path().ends_with("photo.jpg")), "{seen:?}");
    let object = bucket.see("filedir/photo.jpg").unwrap();
    assert_eq!((sum(&object.body), object.content_type.as_deref()), (sum(&content), Some("image/jpeg")));
    assert_eq!(names(mount.path("filedir")), ["photo.jpg"]);
    assert_eq!(names(store_of(&mount)), [""; 0]);
}

#[test]
fn local_names_are_listed_with_the_others_and_outlive_stop_and_kill() {
    let Some(bucket) = Bucket::fresh() else { return };
    let base = fresh_dir();
    let options = format!("{BOTH},dir={0}/mnt,cache_dir={0}/cache", base.display());
    let mount = bucket.mount_with(&options);
    bucket.put("dir/photo.jpg", b"picture");
    mount.write("dir/upload.tmp", b"held");
    mount.write("site.log", b"line\n");
    let shown = mount.stat("dir/upload.tmp");
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount_with(&options);
    assert_eq!(
        (names(again.dir()), names(again.path("dir"))),
        (vec!["dir".into(), "site.log".into()], vec!["photo.jpg".to_owned(), "upload.tmp".into()])
    );
    let now = again.stat("dir/upload.tmp");
    assert_eq!(
        (now.ino(), now.len(), now.mtime(), now.mtime_nsec()),
        (shown.ino(), 4, shown.mtime(), shown.mtime_nsec())
    );
    let mut log = OpenOptions::new().append(true).open(again.path("site.log")).unwrap();
    log.write_all(b"more\n").unwrap();
    again.signal(Signal::SIGKILL);
    again.wait();
    drop(log);
    again.detach();
    let after = bucket.mount_with(&options);
    assert_eq!((after.read("site.log"), after.read("dir/upload.tmp")), (b"line\nmore\n".to_vec(), b"held".to_vec()));
    assert_eq!(bucket.keys(), ["dir/photo.jpg"]);
    drop((after, again, mount));
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn open_files_go_on_across_a_rename_both_ways() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(BOTH);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(mount.path("x.tmp")).unwrap();
    file.write_all(b"one").unwrap();
    let mut reader = File::open(mount.path("x.tmp")).unwrap();
    fs::rename(mount.path("x.tmp"), mount.path("x.txt")).unwrap();
    assert_eq!(bucket.body("x.txt"), b"one");
    file.write_all(b" two").unwrap();
    file.sync_all().unwrap();
    assert_eq!(bucket.body("x.txt"), b"one two");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two");
    fs::rename(mount.path("x.txt"), mount.path("y.tmp")).unwrap();
    assert_eq!(bucket.keys(), [""; 0]);
    file.write_all(b" three").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 13);
    drop((file, reader));
    assert_eq!(mount.read("y.tmp"), b"one two three");
    assert_eq!(fs::read(store_of(&mount).join("y.tmp")).unwrap(), b"one two three");
    fs::rename(mount.path("y.tmp"), mount.path("z.txt")).unwrap();
    assert_eq!((bucket.body("z.txt"), bucket.keys()), (b"one two three".to_vec(), vec!["z.txt".to_owned()]));
}

#[test]
fn a_rename_that_fails_leaves_the_held_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired(BOTH);
    mount.write("x.tmp", b"kept");
    wire.break_all("PUT", Fault::Status(403));
    refused(fs::rename(mount.path("x.tmp"), mount.path("x.jpg")), Errno::EACCES);
    assert_eq!((mount.read("x.tmp"), bucket.keys()), (b"kept".to_vec(), vec![]));
    refused(fs::metadata(mount.path("x.jpg")), Errno::ENOENT);
    wire.heal();
    fs::rename(mount.path("x.tmp"), mount.path("x.jpg")).unwrap();
    assert_eq!(bucket.body("x.jpg"), b"kept");
}

#[test]
fn a_directory_of_the_bucket_takes_local_names_along() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(BOTH);
    bucket.put("a/photo.jpg", b"picture");
    mount.write("a/x.tmp", b"held");
    fs::remove_file(mount.path("a/photo.jpg")).unwrap();
    refused(fs::remove_dir(mount.path("a")), Errno::ENOTEMPTY);
    fs::rename(mount.path("a"), mount.path("b")).unwrap();
    assert_eq!((mount.read("b/x.tmp"), names(mount.dir())), (b"held".to_vec(), vec!["b".to_owned()]));
    fs::remove_file(mount.path("b/x.tmp")).unwrap();
    fs::remove_dir(mount.path("b")).unwrap();
    assert_eq!((bucket.keys(), names(store_of(&mount))), (vec![], vec![]));
    // A large one is moved by mv, file by file.
    fs::create_dir(mount.path("php")).unwrap();
    for n in 0..120 {
        mount.write(&format!("php/{n}"), b"x");
    }
    refused(fs::rename(mount.path("php"), mount.path("lib")), Errno::EXDEV);
    let (code, said) = run(["mv", mount.path("php").to_str().unwrap(), mount.path("lib").to_str().unwrap()]);
    assert_eq!((code, said.as_str(), bucket.keys().len()), (0, "", 121));
}

#[test]
fn what_programs_do_to_files_works_on_local_ones() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired(BOTH);
    fs::create_dir(mount.path("php")).unwrap();
    wire.take_seen();
    let path = mount.path("php/file");
    let exclusive = || OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let mut file = exclusive().unwrap();
    refused(exclusive(), Errno::EEXIST);
    file.write_all(&noise(200_000, 3)).unwrap();
    let mut append = OpenOptions::new().append(true).open(&path).unwrap();
    append.write_all(b"end").unwrap();
    file.sync_all().unwrap();
    assert_eq!(&mount.read("php/file")[199_999..], &[noise(200_000, 3)[199_999], b'e', b'n', b'd']);
    file.set_len(4096).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    fallocate(&file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 1 << 20).unwrap();
    file.write_all_at(b"data", 512 << 10).unwrap();
    assert_eq!(lseek(&file, 0, Whence::SeekData), Ok(512 << 10));
    refused(lseek(&file, 1 << 20, Whence::SeekData), Errno::ENXIO);
    let locked = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
    let other = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock);
    assert_eq!(other.map(drop).map_err(|(_, errno)| errno), Err(Errno::EWOULDBLOCK));
    drop(locked);
    let copy = File::create(mount.path("php/copy")).unwrap();
    match copy_file_range(&file, Some(&mut 0), &copy, None, 1 << 20) {
        Ok(copied) => assert!(copied > 0),
        Err(errno) => assert!([Errno::EOPNOTSUPP, Errno::EXDEV].contains(&errno), "{errno}"),
    }
    fs::copy(&path, mount.path("php/copy")).unwrap();
    assert_eq!(sum(&mount.read("php/copy")), sum(&mount.read("php/file")));
    assert_eq!(wire.take_seen(), []);
}

#[expect(unsafe_code, reason = "memory maps have no safe form")]
#[test]
fn a_local_file_is_mapped_and_read_beside_writers() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(BOTH);
    let bytes = noise(400_000, 4);
    mount.write("big.log", &bytes);
    let reader = File::open(mount.path("big.log")).unwrap();
    let mut start = [0; 4];
    reader.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(start, bytes[..4]);
    let writer = OpenOptions::new().read(true).write(true).open(mount.path("big.log")).unwrap();
    writer.write_all_at(b"HERE", 0).unwrap();
    reader.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"HERE");
    drop((reader, writer));
    let file = OpenOptions::new().read(true).write(true).open(mount.path("big.log")).unwrap();
    let len = NonZeroUsize::new(4096).unwrap();
    // SAFETY: the mapping is used inside this block alone, within its length, and nobody truncates the file.
    unsafe {
        let at = mmap(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0).unwrap();
        let map = std::slice::from_raw_parts_mut(at.cast::<u8>().as_ptr(), len.get());
        assert_eq!(&map[..4], b"HERE");
        map[..6].copy_from_slice(b"mapped");
        msync(at, len.get(), MsFlags::MS_SYNC).unwrap();
        munmap(at, len.get()).unwrap();
    }
    drop(file);
    assert_eq!(&fs::read(store_of(&mount).join("big.log")).unwrap()[..6], b"mapped");
    assert_eq!((sum(&mount.read("big.log")[6..]), bucket.keys()), (sum(&bytes[6..]), vec![]));
}

#[test]
fn status_tells_what_is_local_and_bad_patterns_are_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(BOTH);
    mount.write("x.tmp", b"12345");
    let status = |more: &[&str]| {
        let words = [env!("CARGO_BIN_EXE_originfs"), "status", mount.dir().to_str().unwrap()];
        run(words.into_iter().chain(more.iter().copied()))
    };
    let (code, text) = status(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("local only   local=php:*.log; hold=*.tmp; 5 B in 1 files"), "{text}");
    let (_, json) = status(&["--json"]);
    let local = &serde_json::from_str::<serde_json::Value>(&json).unwrap()["local_only"];
    assert_eq!((&local["hold"][0], &local["files"], &local["bytes"]), (&"*.tmp".into(), &1.into(), &5.into()));
    assert_eq!(local["dir"].as_str(), store_of(&mount).to_str());
    let err = bucket.try_mount("local=a:[b").unwrap_err();
    assert_eq!(err.code, 1, "{}", err.said);
    assert!(err.said.contains("option local: pattern \"[b\": invalid range pattern"), "{}", err.said);
}
