//! What two calls do at once: each test once lost bytes, showed what was not so, or hung.

use tokio::time::timeout;

use super::*;
use crate::store::{Headers, faulty::Side};

fn spawn<F: Future + Send + 'static>(
    host: &Arc<Host>,
    act: impl FnOnce(Arc<Host>) -> F,
) -> tokio::task::JoinHandle<F::Output>
where
    F::Output: Send + 'static,
{
    tokio::spawn(act(Arc::clone(host)))
}

/// a flush of the target lands between COPY and DELETE: the renamed content is nowhere.
#[tokio::test]
async fn an_upload_of_the_target_does_not_replace_what_was_renamed_over_it() {
    let host = Arc::new(Host::new(&bucket()));
    host.write("src", b"precious").await.unwrap();
    host.write("dst", b"old").await.unwrap();
    let open = host.open("dst", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("dirty target"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Copy, Side::After);
    let rename = spawn(&host, |host| async move { host.rename("src", "dst").await });
    held.wait_arrived().await;
    let close = spawn(&host, move |host| async move { host.close(open).await });
    tokio::time::sleep(SHORT).await;
    held.release();
    rename.await.unwrap().unwrap();
    close.await.unwrap().unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/dst"]);
    assert_eq!(&host.bucket.inner().get_bytes("site/dst").unwrap()[..], b"precious");
}

/// program's bytes are taken, and its close says Ok.
#[tokio::test]
async fn keeping_lost_bytes_takes_none_of_another_opener() {
    let host = Arc::new(Host::new(&bucket()));
    host.bucket.inner().put_foreign("site/d/x", &b"x"[..], Headers::default());
    host.write("f", b"base").await.unwrap();
    let first = host.open("f", WRITE).await.unwrap();
    host.fs.write(first.fh, 0, b("1111"), false).await.unwrap();
    host.bucket.fail(Some(Op::Put), 1, Side::Before, lost_reply());
    host.fs.flush(first.fh).await.unwrap_err();
    // Any rename of a directory makes uploads wait; so does a rename or utimes of the file.
    let mut held = host.bucket.hold(Op::Copy, Side::Before);
    let rename = spawn(&host, |host| async move { host.rename("d", "e").await });
    held.wait_arrived().await;
    let release = spawn(&host, move |host| async move { host.fs.release(first.fh).await });
    tokio::time::sleep(SHORT).await;
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("2222"), false).await.unwrap();
    host.bucket.fail(Some(Op::Put), 1, Side::Before, lost_reply());
    held.release();
    rename.await.unwrap().unwrap();
    release.await.unwrap();
    let closed = host.close(open).await;
    let there = host.bucket.inner().get_bytes("site/f").unwrap();
    assert!(closed.is_err() || &there[..] == b"2222", "close {closed:?}, in the bucket {there:?}");
}

/// `flush_all` runs out of time and the file system is dropped: dirty bytes are deleted, not kept.
#[tokio::test]
async fn what_cannot_be_saved_in_time_is_kept() {
    let bucket = bucket();
    let mut host = Host::new(&bucket);
    for name in ["one", "two"] {
        let open = host.open(name, WRITE).await.unwrap();
        host.fs.write(open.fh, 0, vec![1; 300 << 10].into(), false).await.unwrap();
    }
    let _held = bucket.hold(Op::Put, Side::Before);
    timeout(SHORT, host.fs.flush_all()).await.unwrap_err();
    let other = Host::new(&bucket);
    host.fs = Arc::clone(&other.fs); // the mount ends: the last reference to the file system goes
    let staged = std::fs::read_dir(host.dir.join("staging")).unwrap().count();
    assert!(host.lost() == 2 || staged >= 2, "lost+found: {}, staging: {staged}", host.lost());
}

/// open for reading (and every read behind it) waits for the whole upload; then EIO at the deadline.
#[tokio::test]
async fn a_file_can_be_opened_and_read_while_it_is_uploaded() {
    let host = Arc::new(Host::new(&bucket()));
    host.write("f", b"old").await.unwrap();
    let reader = host.open("f", READ).await.unwrap();
    let writer = host.open("f", WRITE).await.unwrap();
    host.fs.write(writer.fh, 0, b("new"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let close = spawn(&host, move |host| async move { host.close(writer).await });
    held.wait_arrived().await;
    assert!(timeout(SHORT, host.fs.read(reader.fh, 0, 3)).await.is_ok(), "readers go on");
    let opened = timeout(SHORT, host.open("f", READ)).await.is_ok();
    let behind = spawn(&host, move |host| async move { drop(timeout(SHORT * 3, host.open("f", READ)).await) });
    tokio::time::sleep(SHORT / 3).await;
    let read = timeout(SHORT, host.fs.read(reader.fh, 0, 3)).await.is_ok();
    behind.abort();
    held.release();
    close.await.unwrap().unwrap();
    assert!(opened && read, "opened {opened}, read beside an open that waits {read}");
}

/// an upload (minutes, for a large file) stops questions about 1 of 256 other names; a directory's rename, all.
#[tokio::test]
async fn a_slow_upload_stops_nobody_else() {
    let host = Arc::new(Host::new(&bucket()));
    let open = host.open("large", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("x"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let close = spawn(&host, move |host| async move { host.close(open).await });
    held.wait_arrived().await;
    let mut stuck = 0;
    for n in 0..3000 {
        if timeout(SHORT, host.stat(&format!("other-{n}"))).await.is_err() {
            stuck += 1;
            if stuck == 3 {
                break;
            }
        }
    }
    held.release();
    close.await.unwrap().unwrap();
    assert_eq!(stuck, 0, "names that wait for the upload of another");
}

/// rename (or unlink, or utimes) of a file that nobody has open takes no turn: an upload slips in between.
#[tokio::test]
async fn what_is_closed_during_a_rename_is_not_lost() {
    let host = Arc::new(Host::with(&bucket(), open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) })));
    host.write("from", b"old").await.unwrap();
    let mut held = host.bucket.hold(Op::Copy, Side::After);
    let rename = spawn(&host, |host| async move { host.rename("from", "to").await });
    held.wait_arrived().await;
    let write = spawn(&host, |host| async move { host.write("from", b"new").await });
    tokio::time::sleep(SHORT).await;
    held.release();
    rename.await.unwrap().unwrap();
    let written = write.await.unwrap();
    // Either order is fine: the new bytes moved along, or are a new file under the old name.
    let to = host.bucket.inner().get_bytes("site/to").unwrap();
    let from = host.bucket.inner().get_bytes("site/from");
    written.unwrap();
    match from {
        None => assert_eq!(&to[..], b"new"),
        Some(from) => assert_eq!((&from[..], &to[..]), (&b"new"[..], &b"old"[..])),
    }
}

/// the same for unlink: the file is back after unlink returned.
#[tokio::test]
async fn what_is_unlinked_stays_away() {
    let host = Arc::new(Host::with(&bucket(), open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) })));
    host.write("f", b"old").await.unwrap();
    host.stat("f").await.unwrap();
    let id = host.walk("f", host.who()).await.unwrap();
    let mut held = host.bucket.hold(Op::Delete, Side::After);
    let unlink = spawn(&host, |host| async move { host.fs.unlink(NodeId::ROOT, OsStr::new("f")).await });
    held.wait_arrived().await;
    // open(2) without O_CREAT, begun before unlink returned.
    let opened = timeout(SHORT, host.fs.open(id, TRUNCATE, host.who())).await;
    if let Ok(Ok(opened)) = opened {
        host.fs.write(opened.fh, 0, b("new"), false).await.unwrap();
        let close = spawn(&host, move |host| async move { host.fs.flush(opened.fh).await });
        tokio::time::sleep(SHORT).await;
        held.release();
        close.await.unwrap().unwrap();
    } else {
        held.release();
    }
    unlink.await.unwrap().unwrap();
    assert_eq!(host.bucket.inner().keys(), [""; 0]);
}

/// the same where the server has no conditional DELETE: the new bytes are nowhere.
#[tokio::test]
async fn what_is_closed_during_a_rename_is_not_deleted() {
    let host = Host::with(&bucket(), open_mode(Freshness::Open { stat_ttl: Duration::from_mins(1) }));
    host.fs.set_conditional(Conditional { delete: Support::Unknown, ..host.fs.conditional() });
    let host = Arc::new(host);
    host.write("from", b"old").await.unwrap();
    let mut held = host.bucket.hold(Op::Copy, Side::After);
    let rename = spawn(&host, |host| async move { host.rename("from", "to").await });
    held.wait_arrived().await;
    let write = spawn(&host, |host| async move { host.write("from", b"new").await });
    tokio::time::sleep(SHORT).await;
    held.release();
    rename.await.unwrap().unwrap();
    let written = write.await.unwrap();
    let bytes: Vec<_> = host.bucket.inner().keys().iter().map(|key| host.bucket.inner().get_bytes(key)).collect();
    assert!(written.is_err() || bytes.contains(&Some(b("new"))), "{written:?}, {bytes:?}");
}

/// mkdir, symlink, unlink, rmdir, utimes below a directory do not wait for its rename.
#[tokio::test]
async fn what_is_made_below_a_directory_follows_its_rename() {
    let host = Arc::new(Host::new(&bucket()));
    host.mkdir("d").await.unwrap();
    host.write("d/f", b"x").await.unwrap();
    let dir = host.walk("d", host.who()).await.unwrap();
    let mut held = host.bucket.hold(Op::Delete, Side::Before);
    let rename = spawn(&host, |host| async move { host.rename("d", "e").await });
    held.wait_arrived().await;
    let mkdir =
        spawn(
            &host,
            move |host| async move { host.fs.mkdir(dir, OsStr::new("new"), 0o755, host.who()).await.map(drop) },
        );
    tokio::time::sleep(SHORT).await;
    held.release();
    rename.await.unwrap().unwrap();
    let made = mkdir.await.unwrap();
    let keys = host.bucket.inner().keys();
    assert!(made.is_err() || keys.contains(&"site/e/new/".to_owned()), "{keys:?}");
}

/// unlink below.
#[tokio::test]
async fn what_is_unlinked_below_a_directory_stays_away() {
    let host = Arc::new(Host::new(&bucket()));
    host.mkdir("d").await.unwrap();
    host.write("d/f", b"x").await.unwrap();
    let dir = host.walk("d", host.who()).await.unwrap();
    host.walk("d/f", host.who()).await.unwrap();
    let mut held = host.bucket.hold(Op::Delete, Side::Before);
    let rename = spawn(&host, |host| async move { host.rename("d", "e").await });
    held.wait_arrived().await;
    let unlink = spawn(&host, move |host| async move { host.fs.unlink(dir, OsStr::new("f")).await });
    tokio::time::sleep(SHORT).await;
    held.release();
    rename.await.unwrap().unwrap();
    unlink.await.unwrap().unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/e/"]);
}

/// after the rename of a dirty file, its old name is still known (asked for while the upload ran).
#[tokio::test]
async fn the_old_name_of_a_dirty_file_is_gone() {
    let host = Arc::new(Host::with(&bucket(), aged()));
    host.write("a", b"first").await.unwrap();
    let open = host.open("a", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("FIRST"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let rename = spawn(&host, |host| async move { host.rename("a", "b").await });
    held.wait_arrived().await;
    drop(timeout(SHORT, host.stat("a")).await);
    held.release();
    rename.await.unwrap().unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/b"]);
    assert!(matches!(host.stat("a").await, Err(Error::NotFound)), "{:?}", host.stat("a").await);
    host.close(open).await.unwrap();
}

/// `O_EXCL`: a write during the first flush makes the second PUT of the same flush an EEXIST.
#[tokio::test]
async fn an_exclusive_file_is_its_own_after_the_first_put() {
    let close = FsOptions { exclusive: Exclusive::Close, ..options() };
    let host = Arc::new(Host::with(&bucket(), close));
    let open = host.open("f", EXCL).await.unwrap();
    host.fs.write(open.fh, 0, b("one"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::After);
    let flush = spawn(&host, move |host| async move { host.fs.flush(open.fh).await });
    held.wait_arrived().await;
    let write = spawn(&host, move |host| async move { host.fs.write(open.fh, 3, b("two"), false).await });
    tokio::time::sleep(SHORT).await;
    held.release();
    write.await.unwrap().unwrap();
    flush.await.unwrap().unwrap();
    host.close(open).await.unwrap();
    assert_eq!(&host.bucket.inner().get_bytes("site/f").unwrap()[..], b"onetwo");
}

/// a file that is here before, during and after a listing is not in it.
#[tokio::test]
async fn a_listing_has_what_was_closed_meanwhile() {
    let host = Arc::new(Host::new(&bucket()));
    let open = host.open("f", WRITE).await.unwrap();
    assert_eq!(host.ls("").await.unwrap(), ["f"]);
    let mut held = host.bucket.hold(Op::List, Side::After);
    let ls = spawn(&host, |host| async move { host.ls("").await });
    held.wait_arrived().await;
    host.close(open).await.unwrap();
    held.release();
    assert_eq!(ls.await.unwrap().unwrap(), ["f"]);
}

/// a write during the rename of a clean file: stat shows the old size, also after close.
#[tokio::test]
async fn a_write_during_a_rename_has_its_size() {
    let host = Arc::new(Host::with(&bucket(), aged()));
    host.write("a", b"1").await.unwrap();
    let open = host.open("a", WRITE).await.unwrap();
    let mut held = host.bucket.hold(Op::Copy, Side::After);
    let rename = spawn(&host, |host| async move { host.rename("a", "b").await });
    held.wait_arrived().await;
    host.fs.write(open.fh, 1, b("2345"), false).await.unwrap();
    held.release();
    rename.await.unwrap().unwrap();
    let dirty = host.stat("b").await.unwrap().attr.size;
    host.close(open).await.unwrap();
    let stored = host.bucket.inner().get_bytes("site/b").unwrap().len() as u64;
    assert_eq!((dirty, host.stat("b").await.unwrap().attr.size, stored), (5, 5, 5));
}

/// what keeps the tree consistent when a parent was forgotten while its child was made.
#[tokio::test]
async fn a_parent_that_is_forgotten_meanwhile_panics_nobody() {
    let host = Arc::new(Host::new(&bucket()));
    host.mkdir("d").await.unwrap();
    let dir = host.walk("d", host.who()).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let mkdir =
        spawn(&host, move |host| async move { host.fs.mkdir(dir, OsStr::new("x"), 0o755, host.who()).await.map(drop) });
    held.wait_arrived().await;
    host.fs.forget(dir, 1000);
    held.release();
    drop(mkdir.await);
    host.stat("d").await.unwrap();
}

/// flush while another program goes on writing: as many uploads as writes, each of the whole file.
#[tokio::test]
async fn a_flush_ends_though_somebody_writes_on() {
    let host = Arc::new(Host::new(&bucket()));
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("x"), false).await.unwrap();
    host.bucket.delay(Some(Op::Put), Duration::from_millis(20));
    let flush = spawn(&host, move |host| async move { timeout(SHORT, host.fs.flush(open.fh)).await.is_ok() });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let writer = spawn(&host, move |host| async move {
        for at in 1..60 {
            host.fs.write(open.fh, at, b("y"), false).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let ended = flush.await.unwrap();
    writer.abort();
    let puts = host.requests().into_iter().filter(|op| *op == Op::Put).count();
    assert!(ended && puts <= 3, "flush ended: {ended}, {puts} PUTs");
}

/// unlink of a file that is open downloads all of it with readers, writers and other names locked out.
#[tokio::test]
async fn readers_go_on_while_unlink_saves_the_bytes() {
    let bucket = bucket();
    let host = Arc::new(Host::new(&bucket));
    bucket.inner().put_foreign("site/f", vec![7; 8 << 20], Headers::default());
    let open = host.open("f", READ).await.unwrap();
    host.fs.read(open.fh, 0, 10).await.unwrap();
    let mut held = bucket.hold(Op::Get, Side::Before);
    let unlink = spawn(&host, |host| async move { host.unlink("f").await });
    held.wait_arrived().await;
    let read = timeout(SHORT, host.fs.read(open.fh, 0, 10)).await.is_ok();
    held.release();
    unlink.await.unwrap().unwrap();
    assert!(read, "bytes that are here cannot be read");
}

/// chmod that changes nothing waits for the upload of the file; EIO at the deadline.
#[tokio::test]
async fn a_chmod_that_costs_nothing_does_not_wait() {
    let host = Arc::new(Host::new(&bucket()));
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("new"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let close = spawn(&host, move |host| async move { host.close(open).await });
    held.wait_arrived().await;
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    let done = timeout(SHORT, host.fs.setattr(open.id, None, set, host.who())).await.is_ok();
    held.release();
    close.await.unwrap().unwrap();
    assert!(done);
}
