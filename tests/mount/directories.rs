//! One mount: directories.

use std::{fs, os::unix::fs::MetadataExt as _};

use nix::errno::Errno;

use crate::harness::{Bucket, names, refused};

#[test]
fn a_directory_is_a_marker_that_others_understand() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("dir")).unwrap();
    assert_eq!(bucket.keys(), ["dir/"]);
    let marker = bucket.see("dir/").unwrap();
    assert_eq!((marker.body.len(), marker.content_type.as_deref()), (0, Some("application/x-directory")));
    assert!(mount.stat("dir").is_dir());
    refused(fs::create_dir(mount.path("dir")), Errno::EEXIST);
    fs::remove_dir(mount.path("dir")).unwrap();
    assert_eq!(bucket.keys(), Vec::<String>::new());
    refused(fs::metadata(mount.path("dir")), Errno::ENOENT);
}

#[test]
fn only_an_empty_directory_is_removed() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("dir")).unwrap();
    mount.write("dir/file", b"x");
    refused(fs::remove_dir(mount.path("dir")), Errno::ENOTEMPTY);
    // What another host put there counts as well.
    fs::remove_file(mount.path("dir/file")).unwrap();
    bucket.put("dir/foreign", b"y");
    refused(fs::remove_dir(mount.path("dir")), Errno::ENOTEMPTY);
    bucket.delete("dir/foreign");
    fs::remove_dir(mount.path("dir")).unwrap();
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn removing_the_wrong_kind_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("dir")).unwrap();
    mount.write("file", b"");
    refused(fs::remove_dir(mount.path("file")), Errno::ENOTDIR);
    refused(nix::unistd::unlink(&mount.path("dir")), Errno::EISDIR);
    refused(fs::remove_dir(mount.path("nothing")), Errno::ENOENT);
    refused(fs::write(mount.path("dir"), b"x"), Errno::EISDIR);
}

#[test]
fn a_listing_shows_all_kinds_once() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("dir")).unwrap();
    mount.write("dir/inside", b"");
    mount.write("file", b"");
    mount.write("dir.txt", b"");
    std::os::unix::fs::symlink("file", mount.path("link")).unwrap();
    assert_eq!(names(mount.dir()), ["dir", "dir.txt", "file", "link"]);
    for entry in fs::read_dir(mount.dir()).unwrap() {
        let entry = entry.unwrap();
        let stat = mount.stat(entry.file_name().to_str().unwrap());
        assert_eq!(entry.file_type().unwrap().is_dir(), stat.is_dir(), "{entry:?}");
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), stat.ino(), "{entry:?}");
    }
}

#[test]
fn a_file_being_written_is_listed() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let file = fs::File::create(mount.path("new")).unwrap();
    assert_eq!(names(mount.dir()), ["new"]);
    assert!(mount.stat("new").is_file());
    drop(file);
    assert_eq!(names(mount.dir()), ["new"]);
}

#[test]
fn a_directory_of_many_pages_is_listed_whole() {
    let Some(bucket) = Bucket::fresh() else { return };
    for n in 0..1_234 {
        bucket.put(&format!("many/{n:04}"), b"");
    }
    let mount = bucket.mount();
    let wanted: Vec<_> = (0..1_234).map(|n| format!("{n:04}")).collect();
    assert_eq!(names(mount.path("many")), wanted);
}

#[test]
fn deleting_while_listing_misses_nothing() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    fs::create_dir(mount.path("dir")).unwrap();
    for n in 0..300 {
        mount.write(&format!("dir/{n}"), b"");
    }
    for entry in fs::read_dir(mount.path("dir")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(names(mount.path("dir")), Vec::<String>::new());
    fs::remove_dir(mount.path("dir")).unwrap();
}

#[test]
fn deep_trees_come_and_go() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let deep = (0..20).map(|n| format!("level{n}")).collect::<Vec<_>>().join("/");
    fs::create_dir_all(mount.path(&deep)).unwrap();
    mount.write(&format!("{deep}/file"), b"bottom");
    assert_eq!(bucket.body(&format!("{deep}/file")), b"bottom");
    fs::remove_dir_all(mount.path("level0")).unwrap();
    assert_eq!(bucket.keys(), Vec::<String>::new());
}
