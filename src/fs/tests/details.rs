//! Small promises, each of them once broken.

use super::*;
use crate::{
    fs::types::SetTime,
    model::attr::Time,
    store::{Headers, faulty::Side},
};

/// a handle whose name got another version: write and close say Ok, the bytes go nowhere.
#[tokio::test]
async fn close_of_a_replaced_file_is_not_silent() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    a.write("f", b"one").await.unwrap();
    let open = h.open("f", WRITE).await.unwrap();
    a.write("f", b"two").await.unwrap();
    h.stat("f").await.unwrap();
    h.fs.write(open.fh, 0, b("mine"), false).await.unwrap();
    let closed = h.close(open).await;
    let kept = h.lost() > 0;
    let there = &bucket.inner().get_bytes("site/f").unwrap()[..] == b"mine";
    assert!(there || (closed.is_err() && kept), "close {closed:?}, in the bucket {there}, kept {kept}");
}

/// mkstemp, write, rename over an existing file, close: EEXIST, the bytes in lost+found.
#[tokio::test]
async fn an_exclusive_temporary_file_replaces_its_target() {
    let host = Host::new(&bucket());
    host.write("f", b"old").await.unwrap();
    let open = host.open("f.tmp", EXCL).await.unwrap();
    host.fs.write(open.fh, 0, b("new"), false).await.unwrap();
    host.rename("f.tmp", "f").await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!(&host.read("f").await.unwrap()[..], b"new");
}

/// the last close waits for its upload while another program opens the file and writes; the upload fails, that
/// the same at an unmount: the first round of `flush_all` fails while programs still write.
#[tokio::test]
async fn a_failed_save_is_the_failure_of_the_close() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("1111"), false).await.unwrap();
    host.bucket.outage(Some(lost_reply()));
    assert_eq!(host.fs.flush_all().await.len(), 1);
    host.bucket.heal();
    host.fs.write(open.fh, 4, b("2222"), false).await.unwrap();
    let closed = host.close(open).await;
    let there = host.bucket.inner().get_bytes("site/f");
    assert!(closed.is_err() || there.as_deref() == Some(b"11112222"), "close {closed:?}, in the bucket {there:?}");
}

/// attributes guessed from a listing, forgotten, remembered, become "fresh" by the next listing.
#[tokio::test]
async fn a_remembered_guess_stays_a_guess() {
    let bucket = bucket();
    let mut headers = Headers::default();
    headers.user.insert("mtime".into(), "77".into());
    headers.user.insert("mode".into(), (libc::S_IFLNK | 0o777).to_string());
    bucket.inner().put_foreign("site/link", &b"target"[..], headers);
    let host = Host::with(&bucket, open_mode(second()));
    for _ in 0..2 {
        let fh = host.fs.opendir(NodeId::ROOT, host.who()).await.unwrap();
        let entries = host.fs.readdir(NodeId::ROOT, fh, 2, 10).await.unwrap();
        let found = host.fs.entry(NodeId::ROOT, fh, &entries[0]).unwrap();
        assert!(found.attr_ttl.is_zero() || found.stat.attr.mtime == Time::seconds(77), "{found:?}");
        host.fs.releasedir(fh);
        host.fs.forget(found.id, 1);
    }
    let stat = host.stat("link").await.unwrap();
    assert_eq!((stat.attr.mtime, stat.attr.kind), (Time::seconds(77), Kind::Symlink));
}

/// under an age, a file that another host changed and that is not cached is ESTALE for as long as the age.
#[tokio::test]
async fn open_again_gets_the_new_version() {
    let bucket = bucket();
    let h = Host::with(&bucket, aged());
    bucket.inner().put_foreign("site/f", &b"one"[..], Headers::default());
    h.stat("f").await.unwrap();
    bucket.inner().put_foreign("site/f", &b"second"[..], Headers::default());
    let first = h.read("f").await;
    let again = h.read("f").await;
    assert_eq!(&again.unwrap()[..], b"second", "first: {first:?}");
}

/// the default mode: a symlink that another host replaced (a deployment) is ESTALE for `stat_ttl`.
#[tokio::test]
async fn a_replaced_symlink_can_be_read() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::with(&bucket, open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) })));
    a.fs.symlink(NodeId::ROOT, OsStr::new("current"), OsStr::new("release-1"), a.who()).await.unwrap();
    h.stat("current").await.unwrap();
    a.unlink("current").await.unwrap();
    a.fs.symlink(NodeId::ROOT, OsStr::new("current"), OsStr::new("release-02"), a.who()).await.unwrap();
    let id = h.walk("current", h.who()).await.unwrap();
    h.fs.readlink(id).await.unwrap();
}

/// a change of the time alone overwrites mode, uid and gid that others stored.
#[tokio::test]
async fn metadata_that_we_did_not_set_survive() {
    let host = Host::new(&bucket());
    let mut headers = Headers::default();
    for (name, value) in [("mode", "33152"), ("uid", "1000"), ("gid", "1001")] {
        headers.user.insert(name.into(), value.into());
    }
    host.bucket.inner().put_foreign("site/f", &b"x"[..], headers);
    host.set("f", SetAttr { mtime: Some(SetTime::At(Time::seconds(5))), ..SetAttr::default() }).await.unwrap();
    let user = host.bucket.inner().object("site/f").unwrap().headers.user;
    assert_eq!([&user["mtime"], &user["mode"], &user["uid"], &user["gid"]], ["5", "33152", "1000", "1001"]);
}

/// chmod with what was known a moment ago: the mtime of the old version under the new content.
#[tokio::test]
async fn chmod_keeps_the_time_of_the_new_version() {
    let bucket = bucket();
    let stored =
        || FsOptions { perms: Perms::Stored, ..open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) }) };
    let [a, h] = [0; 2].map(|_| Host::with(&bucket, stored()));
    a.write("f", b"one").await.unwrap();
    a.set("f", SetAttr { mtime: Some(SetTime::At(Time::seconds(5))), ..SetAttr::default() }).await.unwrap();
    h.stat("f").await.unwrap();
    a.write("f", b"two").await.unwrap();
    h.set("f", SetAttr { mode: Some(0o600), ..SetAttr::default() }).await.unwrap();
    assert_ne!(bucket.inner().object("site/f").unwrap().headers.user["mtime"], "5");
}

/// `O_EXCL`: the reply of the PUT is lost; the fsync that tries again says EEXIST for ever.
#[tokio::test]
async fn an_exclusive_fsync_can_be_repeated() {
    let host = Host::with(&bucket(), FsOptions { exclusive: Exclusive::Close, ..options() });
    let open = host.open("f", EXCL).await.unwrap();
    host.fs.write(open.fh, 0, b("one"), false).await.unwrap();
    host.bucket.fail(Some(Op::Put), 1, Side::After, lost_reply());
    host.fs.fsync(open.fh).await.unwrap_err();
    host.fs.fsync(open.fh).await.unwrap();
}

/// the reply of the PUT is lost, the program cleans up: unlink is Ok, and the object stays.
#[tokio::test]
async fn unlink_deletes_what_an_unanswered_upload_may_have_left() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("one"), false).await.unwrap();
    host.bucket.fail(Some(Op::Put), 1, Side::After, lost_reply());
    host.fs.fsync(open.fh).await.unwrap_err();
    host.unlink("f").await.unwrap();
    host.close(open).await.unwrap();
    assert!(matches!(host.stat("f").await, Err(Error::NotFound)));
}

/// parts of a file that was unlinked while it was written stay in the bucket.
#[tokio::test]
async fn unlinked_files_leave_no_parts() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, vec![1; 6 << 20].into(), false).await.unwrap();
    host.unlink("f").await.unwrap();
    host.fs.write(open.fh, 6 << 20, vec![1; 6 << 20].into(), false).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().uploads_open(), 0);
}

/// what is kept of a partly changed file has zeros where the object below shows, and is noted as whole.
#[tokio::test]
async fn what_is_kept_has_no_invented_zeros() {
    let host = Host::new(&bucket());
    host.bucket.inner().put_foreign("site/f", vec![7; 100_000], Headers::default());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 50_000, b("x"), false).await.unwrap();
    host.bucket.outage(Some(lost_reply()));
    host.close(open).await.unwrap_err();
    let lost = std::fs::read_dir(host.dir.join("lost+found")).unwrap();
    let meta = lost.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|ext| ext == "meta"));
    let meta = meta.unwrap();
    let data = std::fs::read(meta.with_extension("data")).unwrap();
    let note = std::fs::read_to_string(meta).unwrap();
    assert!(data[0] == 7 || note.contains("\"size\":null"), "{note}, first byte {}", data[0]);
}

/// utime on a multipart object changes its ETag: who reads it here gets ESTALE, though the bytes are there.
#[tokio::test]
async fn readers_go_on_after_a_change_of_metadata() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    a.write("f", &vec![3; 11 << 20]).await.unwrap();
    let open = h.open("f", READ).await.unwrap();
    h.fs.read(open.fh, 0, 10).await.unwrap();
    h.set("f", SetAttr { mtime: Some(SetTime::At(Time::seconds(5))), ..SetAttr::default() }).await.unwrap();
    assert_eq!(&h.fs.read(open.fh, 9 << 20, 4).await.unwrap()[..], [3; 4]);
}

/// the time of an object without our metadata is that of its rename afterwards.
#[tokio::test]
async fn a_rename_keeps_the_time_of_foreign_objects() {
    let host = Host::new(&bucket());
    host.bucket.inner().set_time(Some(1000));
    host.bucket.inner().put_foreign("site/f", &b"x"[..], Headers::default());
    host.bucket.inner().set_time(Some(2000));
    host.rename("f", "g").await.unwrap();
    assert_eq!(host.stat("g").await.unwrap().attr.mtime, Time::seconds(1000));
}

/// one copy's reply is lost: that copy stays, and the rename can never be repeated.
#[tokio::test]
async fn a_failed_rename_of_a_directory_can_be_repeated() {
    let host = Host::new(&bucket());
    host.mkdir("a").await.unwrap();
    host.write("a/f", b"x").await.unwrap();
    host.bucket.fail(Some(Op::Copy), 1, Side::After, lost_reply());
    host.rename("a", "b").await.unwrap_err();
    let keys = host.bucket.inner().keys();
    let again = host.rename("a", "b").await;
    assert!(again.is_ok(), "{again:?}, after the first: {keys:?}");
}

/// a transient failure of one streamed part is the failure of the close.
#[tokio::test]
async fn a_failed_part_is_sent_again_by_the_flush() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    host.bucket.fail(Some(Op::Part), 1, Side::Before, lost_reply());
    host.fs.write(open.fh, 0, vec![1; 6 << 20].into(), false).await.unwrap();
    tokio::time::sleep(SHORT).await;
    host.close(open).await.unwrap();
}

/// a remembered name under an age asks the bucket though its age is not over.
#[tokio::test]
async fn remembered_names_cost_no_request_within_their_age() {
    let bucket = bucket();
    let host = Host::with(&bucket, aged());
    bucket.inner().put_foreign("site/f", &b"x"[..], Headers::default());
    let id = host.walk("f", host.who()).await.unwrap();
    host.fs.forget(id, 1000);
    host.requests();
    host.walk("f", host.who()).await.unwrap();
    assert_eq!(host.requests(), []);
}

/// renamed over the same bytes: who has the source open and has not read all of it gets ESTALE.
#[tokio::test]
async fn an_open_file_follows_a_rename_over_its_equal() {
    let host = Host::new(&bucket());
    for key in ["site/a", "site/b"] {
        host.bucket.inner().put_foreign(key, vec![7; 8 << 20], Headers::default());
    }
    let [a, b] = [host.open("a", READ).await.unwrap(), host.open("b", READ).await.unwrap()];
    host.fs.read(a.fh, 0, 10).await.unwrap();
    host.rename("a", "b").await.unwrap();
    assert_eq!(&host.fs.read(a.fh, 6 << 20, 4).await.unwrap()[..], [7; 4]);
    host.close(b).await.unwrap();
}

/// `open(O_TRUNC)` without `O_CREAT` of a file that another host removed brings it back.
#[tokio::test]
async fn truncating_open_of_a_removed_file_is_enoent() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::with(&bucket, open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) })));
    a.write("f", b"x").await.unwrap();
    let id = h.walk("f", h.who()).await.unwrap();
    a.unlink("f").await.unwrap();
    let opened = h.fs.open(id, TRUNCATE, h.who()).await;
    assert!(matches!(opened, Err(Error::Stale | Error::NotFound)), "{opened:?}");
}

/// NOREPLACE of a file that is not uploaded yet: the target is replaced by its close, so it is uploaded at once.
#[tokio::test]
async fn noreplace_holds_for_a_file_that_is_not_uploaded() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    let open = h.open("tmp", WRITE).await.unwrap();
    h.fs.write(open.fh, 0, b("mine"), false).await.unwrap();
    h.rename_as("tmp", "f", RenameMode::NoReplace).await.unwrap();
    assert_eq!(&bucket.inner().get_bytes("site/f").unwrap()[..], b"mine");
    a.write("f", b"theirs").await.unwrap();
    h.close(open).await.unwrap();
    assert_eq!(&bucket.inner().get_bytes("site/f").unwrap()[..], b"theirs");
}

/// `O_EXCL`: after an attempt that nobody answered, another host's file of the same size and time is not taken for ours.
#[tokio::test]
async fn an_exclusive_retry_does_not_take_the_file_of_another_for_its_own() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::with(&bucket, FsOptions { exclusive: Exclusive::Close, ..options() }));
    let mut open = Vec::new();
    for (host, bytes) in [(&a, "aaa"), (&h, "hhh")] {
        let file = host.open("f", EXCL).await.unwrap();
        host.fs.write(file.fh, 0, b(bytes), false).await.unwrap();
        let mtime = Some(SetTime::At(Time::seconds(5)));
        host.fs.setattr(file.id, None, SetAttr { mtime, ..SetAttr::default() }, host.who()).await.unwrap();
        open.push(file);
    }
    bucket.fail(Some(Op::Put), 1, Side::Before, lost_reply());
    h.fs.fsync(open[1].fh).await.unwrap_err();
    a.close(open[0]).await.unwrap();
    assert!(matches!(h.fs.fsync(open[1].fh).await, Err(Error::Exists)));
    assert_eq!(&bucket.inner().get_bytes("site/f").unwrap()[..], b"aaa");
}

/// A file is truncated, and then there is no room for what is written: what the bucket has is worth more than nothing.
#[tokio::test]
async fn a_write_without_room_never_becomes_an_empty_file() {
    let bucket = bucket();
    bucket.inner().put_foreign("site/f", b("the old content"), Headers::default());
    let host = Host::cramped(&bucket);
    let open = host.open("f", TRUNCATE).await.unwrap();
    assert!(matches!(host.fs.write(open.fh, 0, b("new"), false).await, Err(Error::NoSpace)));
    assert!(matches!(host.fs.flush(open.fh).await, Err(Error::NoSpace)));
    assert!(matches!(host.fs.fsync(open.fh).await, Err(Error::NoSpace)));
    host.fs.release(open.fh).await;
    assert_eq!(Host::new(&bucket).read("f").await.unwrap(), b("the old content"));

    // Who wants it empty says so.
    let open = host.open("f", TRUNCATE).await.unwrap();
    assert!(matches!(host.fs.write(open.fh, 0, b("new"), false).await, Err(Error::NoSpace)));
    let empty = SetAttr { size: Some(0), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), empty, host.who()).await.unwrap();
    host.fs.flush(open.fh).await.unwrap();
    host.fs.release(open.fh).await;
    assert_eq!(Host::new(&bucket).read("f").await.unwrap(), b(""));
}
