//! Local-only names: what lives on one host, beside the bucket.

use super::*;
use crate::{
    fs::types::{SetTime, Whence},
    model::{
        attr::Time,
        patterns::{List, Patterns},
    },
    store::Headers,
};

pub(super) fn patterns(local: &str, hold: &str) -> Patterns {
    let list = |text: &str| if text.is_empty() { List::default() } else { List::parse(text).unwrap() };
    Patterns { local: list(local), hold: list(hold) }
}

pub(super) fn with(local: &str, hold: &str) -> FsOptions {
    FsOptions { patterns: patterns(local, hold), ..options() }
}

pub(super) fn host(local: &str, hold: &str) -> Host {
    Host::with(&bucket(), with(local, hold))
}

pub(super) fn put(host: &Host, key: &str, bytes: &'static [u8]) {
    host.bucket.inner().put_foreign(key, bytes, Headers::default());
}

impl Host {
    /// Everything in the local store, in order.
    pub(super) fn here(&self) -> Vec<String> {
        fn below(dir: &std::path::Path, prefix: &str, all: &mut Vec<String>) {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for entry in entries.map(Result::unwrap) {
                let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                below(&entry.path(), &format!("{path}/"), all);
                all.push(path);
            }
        }
        let mut all = Vec::new();
        below(&self.dir.join("local"), "", &mut all);
        all.sort();
        all
    }

    pub(super) fn local_bytes(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join("local").join(path)).ok()
    }
}

#[tokio::test]
async fn the_bucket_is_not_even_asked_about_local_names() {
    let host = host("php:*.log", "");
    host.mkdir("php").await.unwrap();
    host.requests();
    host.mkdir("php/twig").await.unwrap();
    host.write("php/twig/a.php", b"<?php").await.unwrap();
    host.write("wc.log", b"one").await.unwrap();
    assert_eq!(&host.read("php/twig/a.php").await.unwrap()[..], b"<?php");
    assert_eq!(host.ls("php/twig").await.unwrap(), ["a.php"]);
    assert!(matches!(host.stat("php/none").await, Err(Error::NotFound)));
    host.set("php/twig/a.php", SetAttr { mode: Some(0o444), ..SetAttr::default() }).await.unwrap();
    host.rename("php/twig/a.php", "php/b.php").await.unwrap();
    host.rename("php/twig", "php/smarty").await.unwrap();
    let (dir, name) = host.parent("php/link").await.unwrap();
    let link = host.fs.symlink(dir, name, OsStr::new("b.php"), host.who()).await.unwrap();
    assert_eq!(&host.fs.readlink(link.id).await.unwrap()[..], b"b.php");
    host.unlink("php/link").await.unwrap();
    host.unlink("wc.log").await.unwrap();
    host.rmdir("php/smarty").await.unwrap();
    assert_eq!((host.requests(), host.here()), (vec![], vec!["php".to_owned(), "php/b.php".to_owned()]));
    assert_eq!(host.bucket.inner().keys(), [""; 0]);
}

#[tokio::test]
async fn both_kinds_are_listed_together_and_what_local_names_hide_is_counted() {
    let host = host("php", "*.tmp");
    for key in ["site/photo.jpg", "site/php/secret", "site/dir/f", "site/foreign.tmp"] {
        put(&host, key, b"bucket");
    }
    assert_eq!(host.ls("").await.unwrap(), ["dir/", "foreign.tmp", "photo.jpg"]);
    assert!(matches!(host.stat("php").await, Err(Error::NotFound)));
    assert_eq!(host.fs.kept_here().unwrap().1, 1);
    host.mkdir("php").await.unwrap();
    host.write("dir/x.tmp", b"12").await.unwrap();
    assert_eq!(host.ls("").await.unwrap(), ["dir/", "foreign.tmp", "photo.jpg", "php/"]);
    assert_eq!(host.ls("dir").await.unwrap(), ["f", "x.tmp"]);
    assert_eq!(host.ls("php").await.unwrap(), [""; 0]);
    let (usage, hidden) = host.fs.kept_here().unwrap();
    assert_eq!((usage.unwrap().files, usage.unwrap().bytes, hidden), (1, 2, 1));
    let other = Host::new(&host.bucket);
    assert_eq!(other.ls("dir").await.unwrap(), ["f"]);
    assert_eq!(&other.read("php/secret").await.unwrap()[..], b"bucket");
}

#[tokio::test]
async fn readdirplus_shows_local_attributes() {
    let host = host("*.log", "");
    put(&host, "site/photo.jpg", b"12345");
    host.write("a.log", b"123").await.unwrap();
    let fh = host.fs.opendir(NodeId::ROOT, host.who()).await.unwrap();
    let entries = host.fs.readdir(NodeId::ROOT, fh, 0, usize::MAX).await.unwrap();
    let entry = entries.iter().find(|e| matches!(&e.name, DirName::Name(n) if n.as_str() == "a.log")).unwrap();
    let found = host.fs.entry(NodeId::ROOT, fh, entry).unwrap();
    assert_eq!((found.stat.attr.size, found.stat.ino), (3, entry.ino));
    assert_eq!(found.stat.ino, host.stat("a.log").await.unwrap().ino);
}

#[tokio::test]
async fn local_names_survive_a_crash() {
    let options = || with("php", "*.tmp");
    let host = Host::with(&bucket(), options());
    host.mkdir("php").await.unwrap();
    host.write("php/a", b"local").await.unwrap();
    let open = host.open("up/x.tmp", WRITE).await;
    assert!(open.is_err(), "its directory is not there");
    host.mkdir("up").await.unwrap();
    let open = host.open("up/x.tmp", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("half"), false).await.unwrap();
    let before = host.stat("up/x.tmp").await.unwrap();
    let host = host.killed_for(options());
    assert_eq!(&host.read("php/a").await.unwrap()[..], b"local");
    assert_eq!(&host.read("up/x.tmp").await.unwrap()[..], b"half");
    assert_eq!(host.stat("up/x.tmp").await.unwrap(), before);
    assert_eq!((host.ls("up").await.unwrap(), host.lost()), (vec!["x.tmp".to_owned()], 0));
    host.rename("up/x.tmp", "up/x.jpg").await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/up/x.jpg").unwrap(), "half");
}

#[tokio::test]
async fn a_scratch_file_costs_no_write() {
    let host = host("", "*.scratch");
    host.mkdir("images").await.unwrap();
    host.requests();
    host.write("images/66f.scratch", b"picture").await.unwrap();
    assert_eq!(&host.read("images/66f.scratch").await.unwrap()[..], b"picture");
    host.set("images/66f.scratch", SetAttr { mode: Some(0o777), ..SetAttr::default() }).await.unwrap();
    host.unlink("images/66f.scratch").await.unwrap();
    let requests = host.requests();
    assert!(requests.iter().all(|op| matches!(op, Op::Head | Op::List)), "{requests:?}");
    assert_eq!(host.here(), [""; 0]);
}

#[tokio::test]
async fn a_foreign_object_of_a_held_name_is_an_ordinary_file_until_it_is_shadowed() {
    let host = host("", "*.tmp");
    put(&host, "site/x.tmp", b"foreign");
    assert_eq!(&host.read("x.tmp").await.unwrap()[..], b"foreign");
    host.write("x.tmp", b"written").await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/x.tmp").unwrap(), "written");
    host.write("y.tmp", b"local").await.unwrap();
    put(&host, "site/y.tmp", b"later");
    assert_eq!(&host.read("y.tmp").await.unwrap()[..], b"local");
    assert_eq!(host.ls("").await.unwrap(), ["x.tmp", "y.tmp"]);
    host.unlink("y.tmp").await.unwrap();
    assert_eq!(&host.read("y.tmp").await.unwrap()[..], b"later");
    host.write("z.tmp", b"new").await.unwrap();
    host.rename("z.tmp", "x.tmp").await.unwrap();
    assert_eq!(&host.read("x.tmp").await.unwrap()[..], b"new");
    assert_eq!(host.bucket.inner().keys(), ["site/y.tmp"], "what was replaced is gone");
    host.unlink("x.tmp").await.unwrap();
    assert!(matches!(host.stat("x.tmp").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_directory_with_local_names_is_not_empty_and_takes_them_along() {
    let host = host("", "*.tmp");
    host.mkdir("a").await.unwrap();
    host.write("a/x.tmp", b"x").await.unwrap();
    host.write("a/f", b"f").await.unwrap();
    host.unlink("a/f").await.unwrap();
    assert!(matches!(host.rmdir("a").await, Err(Error::NotEmpty)));
    let open = host.open("a/x.tmp", WRITE).await.unwrap();
    host.rename("a", "b").await.unwrap();
    assert_eq!(
        (host.ls("b").await.unwrap(), host.here()),
        (vec!["x.tmp".to_owned()], vec!["b".into(), "b/x.tmp".into()])
    );
    host.fs.write(open.fh, 1, b("y"), false).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!(&host.read("b/x.tmp").await.unwrap()[..], b"xy");
    host.mkdir("c").await.unwrap();
    assert!(matches!(host.rename("c", "b").await, Err(Error::NotEmpty)));
    host.unlink("b/x.tmp").await.unwrap();
    host.rmdir("b").await.unwrap();
    assert_eq!((host.here(), host.bucket.inner().keys()), (vec![], vec!["site/c/".to_owned()]));
}

#[tokio::test]
async fn a_directory_that_another_host_removes_stays_while_something_local_is_in_it() {
    let host = host("", "*.tmp");
    let other = Host::new(&host.bucket);
    host.mkdir("a").await.unwrap();
    host.write("a/x.tmp", b"x").await.unwrap();
    other.rmdir("a").await.unwrap();
    assert_eq!(
        (host.ls("").await.unwrap(), host.ls("a").await.unwrap()),
        (vec!["a/".to_owned()], vec!["x.tmp".to_owned()])
    );
    assert_eq!(&host.read("a/x.tmp").await.unwrap()[..], b"x");
    host.rename("a/x.tmp", "a/x").await.unwrap();
    assert_eq!(&other.read("a/x").await.unwrap()[..], b"x");
}

#[tokio::test]
async fn a_rename_that_would_make_local_names_of_others_is_left_to_mv() {
    let host = host("a/cache", "");
    host.mkdir("a").await.unwrap();
    host.mkdir("a/cache").await.unwrap();
    host.write("a/cache/f", b"local").await.unwrap();
    assert!(matches!(host.rename("a", "b").await, Err(Error::CrossDevice)));
    put(&host, "site/c/cache/f", b"bucket");
    host.rmdir("a").await.unwrap_err();
    host.unlink("a/cache/f").await.unwrap();
    host.rmdir("a/cache").await.unwrap();
    host.rmdir("a").await.unwrap();
    assert!(matches!(host.rename("c", "a").await, Err(Error::CrossDevice)));
    host.rename("c", "d").await.unwrap();
    assert_eq!(&host.read("d/cache/f").await.unwrap()[..], b"bucket");
}

#[tokio::test]
async fn every_kind_of_write_works_on_local_files() {
    let host = host("*.log", "");
    let open = host.open("a.log", EXCL).await.unwrap();
    let again = host.fs.create(NodeId::ROOT, OsStr::new("a.log"), 0o644, EXCL, host.who()).await;
    assert!(matches!(again, Err(Error::Exists)));
    host.fs.write(open.fh, 0, b("0123456789"), false).await.unwrap();
    host.fs.write(open.fh, 3, b("abc"), true).await.unwrap();
    assert_eq!(&host.read_open(open).await.unwrap()[..], b"0123456789abc");
    host.fs.fsync(open.fh).await.unwrap();
    host.set("a.log", SetAttr { size: Some(4), ..SetAttr::default() }).await.unwrap();
    assert_eq!(
        (host.stat("a.log").await.unwrap().attr.size, host.local_bytes("a.log").unwrap()),
        (4, b"0123".to_vec())
    );
    host.fs.write(open.fh, 1 << 20, b("end"), false).await.unwrap();
    assert_eq!(host.fs.lseek(open.fh, 1 << 20, Whence::Data).await.unwrap(), 1 << 20);
    assert_eq!(host.fs.lseek(open.fh, 1 << 20, Whence::Hole).await.unwrap(), (1 << 20) + 3);
    assert!(matches!(host.fs.lseek(open.fh, 2 << 20, Whence::Data).await, Err(Error::NoPosition)));
    host.fs.fallocate(open.fh, 0, 3 << 20, 0).await.unwrap();
    assert_eq!(host.stat("a.log").await.unwrap().attr.size, 3 << 20);
    host.unlink("a.log").await.unwrap();
    host.fs.write(open.fh, 0, b("gone"), false).await.unwrap();
    assert_eq!(&host.fs.read(open.fh, 0, 4).await.unwrap()[..], b"gone");
    host.close(open).await.unwrap();
    assert_eq!((host.requests(), host.here(), host.lost()), (vec![], vec![], 0));
}

#[tokio::test]
async fn times_are_kept_to_the_nanosecond_and_modes_as_the_mount_says() {
    let time = Time { sec: 1_600_000_000, nsec: 123_456_789 };
    let set = SetAttr { mode: Some(0o640), mtime: Some(SetTime::At(time)), ..SetAttr::default() };
    for perms in [Perms::Uniform, Perms::Stored] {
        let host = Host::with(&bucket(), FsOptions { perms, ..with("*.log:d", "") });
        host.write("a.log", b"").await.unwrap();
        let attr = host.set("a.log", set).await.unwrap().attr;
        let expect = if perms == Perms::Stored { 0o640 } else { 0o644 };
        assert_eq!((attr.mtime, attr.mode), (time, expect));
        host.mkdir("d").await.unwrap();
        host.set("d", SetAttr { mtime: Some(SetTime::At(time)), ..SetAttr::default() }).await.unwrap();
        let attr = host.stat("d").await.unwrap().attr;
        assert_eq!((attr.mtime, attr.mode), (time, 0o755));
        let options = FsOptions { perms, ..with("*.log:d", "") };
        let again = host.killed_for(options);
        assert_eq!((again.stat("a.log").await.unwrap().attr.mtime, again.requests()), (time, vec![]));
    }
}

#[tokio::test]
async fn what_other_patterns_left_is_kept_and_not_shown() {
    let host = Host::with(&bucket(), with("*.log", ""));
    host.write("a.log", b"1").await.unwrap();
    let host = host.killed_for(with("*.txt", ""));
    assert_eq!(host.ls("").await.unwrap(), [""; 0]);
    let host = host.killed_for(with("*.log", ""));
    assert_eq!(&host.read("a.log").await.unwrap()[..], b"1");
}
