//! One host: each call does what its manual page says.

use super::*;
use crate::{
    fs::types::{SetTime, Whence},
    model::attr::Time,
    store::Headers,
};

fn bytes(len: u64) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

#[tokio::test]
async fn what_is_written_is_one_object_with_type_and_metadata() {
    let host = Host::new(&bucket());
    host.mkdir("2026").await.unwrap();
    host.write("2026/photo.JPG", b"jpeg").await.unwrap();
    let object = host.bucket.inner().object("site/2026/photo.JPG").unwrap();
    assert_eq!(object.headers.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(object.headers.user["mode"], "33188");
    assert_eq!(object.headers.user["mtime"], host.stat("2026/photo.JPG").await.unwrap().attr.mtime.sec.to_string());
    assert_eq!(host.bucket.inner().keys(), ["site/2026/", "site/2026/photo.JPG"]);
    assert_eq!(&host.read("2026/photo.JPG").await.unwrap()[..], b"jpeg");
}

#[tokio::test]
async fn nothing_is_there_before_close_and_an_empty_file_is_after() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    assert_eq!(host.bucket.inner().keys(), [""; 0]);
    assert_eq!(host.ls("").await.unwrap(), ["f"]);
    assert_eq!(host.stat("f").await.unwrap().attr.size, 0);
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/f").unwrap().len(), 0);
}

#[tokio::test]
async fn own_writes_are_never_downloaded() {
    let host = Host::with(&bucket(), open_mode(second()));
    host.write("small", b"x").await.unwrap();
    let open = host.open("large", TRUNCATE).await.unwrap();
    let large = bytes(PART + 1000);
    for (at, chunk) in (0..).zip(large.chunks(1 << 20)) {
        host.fs.write(open.fh, at << 20, Bytes::copy_from_slice(chunk), false).await.unwrap();
    }
    host.close(open).await.unwrap();
    assert_eq!(host.read("large").await.unwrap(), large);
    assert_eq!(&host.read("small").await.unwrap()[..], b"x");
    assert!(!host.requests().contains(&Op::Get));
    assert_eq!(host.bucket.inner().get_bytes("site/large").unwrap(), large);
}

#[tokio::test]
async fn large_files_stream_out_as_parts_while_they_are_written() {
    let host = Host::new(&bucket());
    let open = host.open("large", TRUNCATE).await.unwrap();
    let large = bytes(3 * PART + 17);
    for (at, chunk) in (0..).zip(large.chunks(1 << 20)) {
        host.fs.write(open.fh, at << 20, Bytes::copy_from_slice(chunk), false).await.unwrap();
    }
    assert_eq!(host.bucket.inner().uploads_open(), 1);
    host.close(open).await.unwrap();
    let calls = host.requests();
    assert_eq!(calls.iter().filter(|op| **op == Op::Part).count(), 4);
    assert_eq!(calls.iter().filter(|op| **op == Op::Put).count(), 0);
    assert_eq!(host.bucket.inner().uploads_open(), 0);
    assert_eq!(host.bucket.inner().get_bytes("site/large").unwrap(), large);
}

#[tokio::test]
async fn writing_below_what_was_sent_starts_again() {
    let host = Host::new(&bucket());
    let open = host.open("large", TRUNCATE).await.unwrap();
    let mut large = bytes(2 * PART + 17);
    host.fs.write(open.fh, 0, Bytes::copy_from_slice(&large), false).await.unwrap();
    host.fs.write(open.fh, 3, Bytes::from_static(b"changed"), false).await.unwrap();
    large[3..10].copy_from_slice(b"changed");
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/large").unwrap(), large);
    assert_eq!(host.bucket.inner().uploads_open(), 0);
}

#[tokio::test]
async fn random_writes_and_truncation_keep_the_rest() {
    let host = Host::new(&bucket());
    let mut model = bytes(100_000);
    host.bucket.inner().put_foreign("site/f", model.clone(), Headers::default());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 50_000, Bytes::from_static(b"middle"), false).await.unwrap();
    model[50_000..50_006].copy_from_slice(b"middle");
    host.fs.write(open.fh, 120_000, Bytes::from_static(b"end"), false).await.unwrap();
    model.resize(120_000, 0);
    model.extend_from_slice(b"end");
    assert_eq!(host.read_open(open).await.unwrap(), model);
    assert_eq!(host.fs.lseek(open.fh, 60_000, Whence::Hole).await.unwrap(), 100_000);
    assert_eq!(host.fs.lseek(open.fh, 110_000, Whence::Data).await.unwrap(), 120_000);
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/f").unwrap(), model);
    host.set("f", SetAttr { size: Some(10), ..SetAttr::default() }).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/f").unwrap(), model[..10]);
    host.set("f", SetAttr { size: Some(20), ..SetAttr::default() }).await.unwrap();
    model.truncate(10);
    model.resize(20, 0);
    assert_eq!(host.read("f").await.unwrap(), model);
}

#[tokio::test]
async fn append_goes_to_the_end() {
    let host = Host::new(&bucket());
    host.write("log", b"one\n").await.unwrap();
    let open = host.open("log", OpenMode { append: true, ..WRITE }).await.unwrap();
    host.fs.write(open.fh, 0, Bytes::from_static(b"two\n"), true).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!(&host.read("log").await.unwrap()[..], b"one\ntwo\n");
}

#[tokio::test]
async fn unlinked_files_stay_readable_and_never_come_back() {
    let host = Host::new(&bucket());
    host.bucket.inner().put_foreign("site/old", &b"still here"[..], Headers::default());
    let reader = host.open("old", READ).await.unwrap();
    let writer = host.open("new", WRITE).await.unwrap();
    host.fs.write(writer.fh, 0, Bytes::from_static(b"gone"), false).await.unwrap();
    host.unlink("old").await.unwrap();
    host.unlink("new").await.unwrap();
    assert_eq!(&host.read_open(reader).await.unwrap()[..], b"still here");
    assert_eq!(host.fs.getattr(reader.id, host.who()).await.unwrap().0.attr.size, 10);
    host.close(reader).await.unwrap();
    host.close(writer).await.unwrap();
    assert!(matches!(host.stat("new").await, Err(Error::NotFound)));
    assert_eq!(host.bucket.inner().keys(), [""; 0]);
}

#[tokio::test]
async fn a_file_made_and_removed_before_close_costs_no_write() {
    let host = Host::new(&bucket());
    let open = host.open("scratch", WRITE).await.unwrap();
    host.requests();
    host.unlink("scratch").await.unwrap();
    host.close(open).await.unwrap();
    assert!(!host.requests().iter().any(|op| matches!(op, Op::Put | Op::Delete)));
}

#[tokio::test]
async fn directories_outlive_their_last_file() {
    let host = Host::new(&bucket());
    host.bucket.inner().put_foreign("site/implicit/only", &b"x"[..], Headers::default());
    host.unlink("implicit/only").await.unwrap();
    assert_eq!(host.ls("implicit").await.unwrap(), [""; 0]);
    host.rmdir("implicit").await.unwrap();
    assert!(matches!(host.stat("implicit").await, Err(Error::NotFound)));
    host.mkdir("d").await.unwrap();
    host.write("d/f", b"x").await.unwrap();
    assert!(matches!(host.rmdir("d").await, Err(Error::NotEmpty)));
    assert!(matches!(host.mkdir("d").await, Err(Error::Exists)));
}

#[tokio::test]
async fn rename_moves_the_object_and_follows_the_new_name() {
    let host = Host::new(&bucket());
    let mut headers = Headers { cache_control: Some("max-age=9".into()), ..Headers::default() };
    headers.user.insert("other".into(), "kept".into());
    host.bucket.inner().put_foreign("site/upload.tmp", &b"png"[..], headers);
    host.write("target.png", b"old").await.unwrap();
    host.rename("upload.tmp", "target.png").await.unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/target.png"]);
    let object = host.bucket.inner().object("site/target.png").unwrap();
    assert_eq!(object.headers.content_type.as_deref(), Some("image/png"));
    assert_eq!(object.headers.cache_control.as_deref(), Some("max-age=9"));
    assert_eq!(object.headers.user["other"], "kept");
    assert_eq!(&host.read("target.png").await.unwrap()[..], b"png");
    assert!(matches!(host.stat("upload.tmp").await, Err(Error::NotFound)));
    let ino = host.stat("target.png").await.unwrap().ino;
    assert_eq!(ino, crate::model::key::Key::new("site/target.png").ino());
}

#[tokio::test]
async fn a_temporary_file_renamed_before_close_is_one_put_under_the_final_name() {
    let host = Host::with(&bucket(), open_mode(second()));
    let open = host.open("a.tmp", TRUNCATE).await.unwrap();
    host.fs.write(open.fh, 0, Bytes::from_static(b"x"), false).await.unwrap();
    host.rename("a.tmp", "a.css").await.unwrap();
    host.close(open).await.unwrap();
    let writes: Vec<_> = host.requests().into_iter().filter(|op| !matches!(op, Op::Head | Op::List)).collect();
    assert_eq!(writes, [Op::Put]);
    let object = host.bucket.inner().object("site/a.css").unwrap();
    assert_eq!(object.headers.content_type.as_deref(), Some("text/css; charset=utf-8"));
    assert_eq!(host.bucket.inner().keys(), ["site/a.css"]);
}

#[tokio::test]
async fn rename_of_a_dirty_file_over_an_object_leaves_one_name() {
    let host = Host::new(&bucket());
    host.write("a", b"first").await.unwrap();
    let open = host.open("a", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, Bytes::from_static(b"FIRST"), false).await.unwrap();
    host.rename("a", "b").await.unwrap();
    host.fs.write(open.fh, 5, Bytes::from_static(b"!"), false).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/b"]);
    assert_eq!(&host.read("b").await.unwrap()[..], b"FIRST!");
}

#[tokio::test]
async fn directories_move_with_all_that_is_below() {
    let host = Host::new(&bucket());
    host.mkdir("a").await.unwrap();
    host.mkdir("a/sub").await.unwrap();
    host.write("a/f", b"f").await.unwrap();
    host.write("a/sub/g", b"g").await.unwrap();
    let open = host.open("a/new", WRITE).await.unwrap();
    host.mkdir("b").await.unwrap();
    host.rename("a", "b").await.unwrap();
    host.close(open).await.unwrap();
    let keys = ["site/b/", "site/b/f", "site/b/new", "site/b/sub/", "site/b/sub/g"];
    assert_eq!(host.bucket.inner().keys(), keys);
    assert_eq!(&host.read("b/sub/g").await.unwrap()[..], b"g");
    assert!(matches!(host.stat("a").await, Err(Error::NotFound)));
    host.mkdir("c").await.unwrap();
    assert!(matches!(host.rename("c", "b").await, Err(Error::NotEmpty)));
    assert!(matches!(host.rename("b", "b/sub/x").await, Err(Error::Invalid)));
    assert!(matches!(host.rename_as("c", "b", RenameMode::NoReplace).await, Err(Error::Exists)));
}

#[tokio::test]
async fn directories_above_the_limit_are_copied_by_the_caller() {
    let host = Host::with(&bucket(), FsOptions { rename_limit: 3, ..options() });
    host.mkdir("a").await.unwrap();
    for name in ["a/1", "a/2", "a/3"] {
        host.write(name, b"x").await.unwrap();
    }
    assert!(matches!(host.rename("a", "b").await, Err(Error::CrossDevice)));
    assert_eq!(host.ls("a").await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn symlinks_are_objects_that_s3fs_understands() {
    let host = Host::new(&bucket());
    let (parent, name) = host.parent("link").await.unwrap();
    let found = host.fs.symlink(parent, name, OsStr::new("../target"), host.who()).await.unwrap();
    assert_eq!((found.stat.attr.kind, found.stat.attr.size), (Kind::Symlink, 9));
    assert_eq!(&host.fs.readlink(found.id).await.unwrap()[..], b"../target");
    let other = Host::new(&host.bucket);
    let id = other.walk("link", other.who()).await.unwrap();
    assert_eq!(&other.fs.readlink(id).await.unwrap()[..], b"../target");
    assert_eq!(host.bucket.inner().object("site/link").unwrap().headers.user["mode"], "41471");
}

#[tokio::test]
async fn chmod_and_chown_cost_nothing_when_permissions_are_uniform() {
    let host = Host::new(&bucket());
    host.write("f", b"x").await.unwrap();
    host.stat("f").await.unwrap();
    let id = host.walk("f", host.who()).await.unwrap();
    host.requests();
    let set = SetAttr { mode: Some(0o600), uid: Some(1), gid: Some(1), ..SetAttr::default() };
    let (stat, _) = host.fs.setattr(id, None, set, host.who()).await.unwrap();
    assert_eq!((stat.attr.mode, stat.attr.uid, stat.attr.gid), (0o644, 33, 33));
    assert_eq!(host.requests(), []);
}

#[tokio::test]
async fn stored_permissions_are_kept_with_all_headers_of_others() {
    let host = Host::with(&bucket(), FsOptions { perms: Perms::Stored, ..options() });
    let mut headers = Headers { content_disposition: Some("inline".into()), ..Headers::default() };
    headers.user.insert("other".into(), "kept".into());
    host.bucket.inner().put_foreign("site/f", &b"x"[..], headers);
    let time = Time::seconds(1_000_000_000);
    let set = SetAttr { mode: Some(0o640), uid: Some(7), mtime: Some(SetTime::At(time)), ..SetAttr::default() };
    host.set("f", set).await.unwrap();
    let other = Host::with(&host.bucket, FsOptions { perms: Perms::Stored, ..options() });
    let stat = other.stat("f").await.unwrap();
    assert_eq!((stat.attr.mode, stat.attr.uid, stat.attr.gid, stat.attr.mtime), (0o640, 7, 33, time));
    let object = host.bucket.inner().object("site/f").unwrap();
    assert_eq!(object.headers.content_disposition.as_deref(), Some("inline"));
    assert_eq!(object.headers.user["other"], "kept");
}

#[tokio::test]
async fn times_are_kept_in_the_same_put() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    let time = Time::seconds(1_234_567_890);
    let set = SetAttr { mtime: Some(SetTime::At(time)), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.unwrap();
    host.requests();
    host.close(open).await.unwrap();
    assert_eq!(host.requests(), [Op::Put]);
    assert_eq!(host.stat("f").await.unwrap().attr.mtime, time);
    host.mkdir("d").await.unwrap();
    host.set("d", SetAttr { mtime: Some(SetTime::At(time)), ..SetAttr::default() }).await.unwrap();
    assert_eq!(Host::new(&host.bucket).stat("d").await.unwrap().attr.mtime, time);
}

#[tokio::test]
async fn a_copy_of_a_whole_file_is_one_request() {
    let host = Host::with(&bucket(), open_mode(second()));
    host.write("a.jpg", b"picture").await.unwrap();
    let from = host.open("a.jpg", READ).await.unwrap();
    let to = host.open("b.png", TRUNCATE).await.unwrap();
    assert_eq!(host.fs.copy_file_range((from.fh, 0), (to.fh, 0), u64::MAX / 2).await.unwrap(), 7);
    host.requests();
    host.close(to).await.unwrap();
    assert_eq!(host.requests(), [Op::Copy]);
    let object = host.bucket.inner().object("site/b.png").unwrap();
    assert_eq!(object.headers.content_type.as_deref(), Some("image/png"));
    assert_eq!(&host.read("b.png").await.unwrap()[..], b"picture");
}

#[tokio::test]
async fn keys_that_cannot_be_paths_are_hidden() {
    let host = Host::new(&bucket());
    for key in ["site//x", "site/a//b", "site/a/../c", "site/.originfs/view", "site/ok"] {
        host.bucket.inner().put_foreign(key, &b"x"[..], Headers::default());
    }
    host.bucket.inner().put_foreign(&format!("site/{}", "n".repeat(300)), &b"x"[..], Headers::default());
    assert_eq!(host.ls("").await.unwrap(), ["a/", "ok"]);
    assert_eq!(host.ls("a").await.unwrap(), [""; 0]);
    assert!(host.fs.hidden_keys() > 0);
    assert!(matches!(host.stat(".originfs").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn names_that_cannot_be_keys_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let host = Host::new(&bucket());
    let bad = OsStr::from_bytes(b"\xff");
    assert!(matches!(host.fs.lookup(NodeId::ROOT, bad, host.who()).await, Err(Error::NotFound)));
    let made = host.fs.create(NodeId::ROOT, bad, 0o644, WRITE, host.who()).await;
    assert!(matches!(made, Err(Error::BadName)));
    let long = "x".repeat(256);
    assert!(matches!(host.open(&long, WRITE).await, Err(Error::NameTooLong)));
    assert!(matches!(host.open(".originfs", WRITE).await, Err(Error::NotPermitted)));
    let deep = vec!["y".repeat(200); 6].join("/");
    assert!(matches!(host.open(&deep, WRITE).await, Err(Error::NotFound | Error::NameTooLong)));
}

#[tokio::test]
async fn a_directory_shadows_a_file_of_its_name() {
    let host = Host::new(&bucket());
    host.bucket.inner().put_foreign("site/both", &b"x"[..], Headers::default());
    host.bucket.inner().put_foreign("site/both/x", &b"y"[..], Headers::default());
    assert_eq!(host.stat("both").await.unwrap().attr.kind, Kind::Dir);
    assert_eq!(host.ls("").await.unwrap(), ["both/"]);
}

#[tokio::test]
async fn extended_attributes_tell_the_object() {
    let host = Host::new(&bucket());
    host.write("f", b"x").await.unwrap();
    let id = host.walk("f", host.who()).await.unwrap();
    assert_eq!(&host.fs.getxattr(id, OsStr::new("user.s3.key")).await.unwrap()[..], b"site/f");
    let etag = host.fs.getxattr(id, OsStr::new("user.s3.etag")).await.unwrap();
    assert_eq!(&etag[..], b"9dd4e461268c8034f5c8564e155c67a6");
    assert!(host.fs.getxattr(id, OsStr::new("user.s3.last_modified")).await.unwrap().ends_with(b"Z"));
    assert!(matches!(host.fs.getxattr(id, OsStr::new("security.capability")).await, Err(Error::NoAttr)));
    let names = host.fs.listxattr(id).unwrap();
    assert_eq!(&names[..], b"user.s3.key\0user.s3.etag\0user.s3.last_modified\0user.cdn.version\0");
}

#[tokio::test]
async fn forgotten_nodes_are_dropped() {
    let host = Host::new(&bucket());
    host.mkdir("d").await.unwrap();
    for n in 0..20 {
        host.write(&format!("d/{n}"), b"x").await.unwrap();
    }
    let ids: Vec<_> = host.fs.tree().iter().map(|(id, _)| id).filter(|id| *id != NodeId::ROOT).collect();
    assert_eq!(ids.len(), 21);
    for id in ids {
        host.fs.forget(id, u64::MAX);
    }
    assert_eq!(host.fs.tree().len(), 1);
}

#[tokio::test]
async fn a_successor_can_make_the_handles_again() {
    let bucket = bucket();
    let [before, after] = [0; 2].map(|_| Host::new(&bucket));
    before.write("f", b"one").await.unwrap();
    let open = before.open("f", OpenMode { append: true, ..WRITE }).await.unwrap();
    // Node ids are made of keys, so the kernel's mean the same to the successor.
    assert_eq!(after.walk("f", after.who()).await.unwrap(), open.id);
    after.fs.restore(open.id, open.fh).unwrap();
    after.fs.write(open.fh, 0, Bytes::from_static(b"two"), false).await.unwrap();
    after.close(open).await.unwrap();
    assert_eq!(&bucket.inner().get_bytes("site/f").unwrap()[..], b"onetwo");
}
