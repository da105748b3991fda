//! Every operation with a failure at every one of its requests, before and after the effect: the caller is told, and
//! nobody sees less than the old state or the new one.

use super::*;
use crate::store::{Headers, faulty::Side};

const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"the new one";

/// Runs `act` once for every request it makes and both sides of the effect. `act` gives whether it succeeded; `check`
/// gets a host that knows nothing, that fact, and the one that acted.
async fn at_every_request<A, F, C, G>(prepare: fn(&MemoryStore), act: A, check: C)
where
    A: Fn(Arc<Host>) -> F,
    F: Future<Output = Result<()>>,
    C: Fn(Host, Result<()>, Arc<Host>) -> G,
    G: Future<Output = ()>,
{
    at_every_request_of(&options(), prepare, act, check).await;
}

/// The same for a host with `options`.
pub(super) async fn at_every_request_of<A, F, C, G>(options: &FsOptions, prepare: fn(&MemoryStore), act: A, check: C)
where
    A: Fn(Arc<Host>) -> F,
    F: Future<Output = Result<()>>,
    C: Fn(Host, Result<()>, Arc<Host>) -> G,
    G: Future<Output = ()>,
{
    for side in [Side::Before, Side::After] {
        for n in 1_u32.. {
            assert!(n < 60, "the operation makes no end of requests");
            let bucket = bucket();
            prepare(bucket.inner());
            let host = Arc::new(Host::with(&bucket, options.clone()));
            bucket.fail(None, n.into(), side, lost_reply());
            let done = act(Arc::clone(&host)).await;
            let struck = !bucket.is_armed();
            let op = bucket.take_calls().get(n as usize - 1).map(|call| call.op);
            bucket.heal();
            if struck && let Err(err) = &done {
                assert!(matches!(err, Error::Unavailable(_)), "request {n} {side:?}: {err:?} is not the failure");
            }
            if !struck {
                assert!(done.is_ok(), "without a failure: {done:?}");
            }
            check(Host::with(&bucket, options.clone()), done, Arc::clone(&host)).await;
            host.fs.abort_leftovers().await.unwrap();
            // Nobody can end an upload whose id never arrived; a rule of the bucket does (docs/OPERATIONS.md).
            let unknown = usize::from(struck && op == Some(Op::Begin) && side == Side::After);
            assert!(bucket.inner().uploads_open() <= unknown, "request {n} {side:?}");
            if !struck {
                break;
            }
        }
    }
}

#[tokio::test]
async fn overwrite_leaves_the_old_or_the_new_file() {
    at_every_request(
        |bucket| drop(bucket.put_foreign("site/f", OLD, Headers::default())),
        |host| async move { host.write("f", NEW).await },
        |fresh, done, host| async move {
            let content = fresh.read("f").await.unwrap();
            assert!(content == NEW || (content == OLD && done.is_err()), "{content:?}");
            host.write("f", NEW).await.unwrap();
            assert_eq!(&fresh.read("f").await.unwrap()[..], NEW);
        },
    )
    .await;
}

#[tokio::test]
async fn a_close_that_fails_keeps_the_bytes_and_an_fsync_can_try_again() {
    let bucket = bucket();
    let host = Host::new(&bucket);
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, Bytes::from_static(NEW), false).await.unwrap();
    bucket.outage(Some(lost_reply()));
    assert!(matches!(host.fs.flush(open.fh).await, Err(Error::Unavailable(_))));
    assert!(matches!(host.fs.fsync(open.fh).await, Err(Error::Unavailable(_))));
    assert_eq!(bucket.inner().keys(), [""; 0]);
    bucket.heal();
    host.fs.fsync(open.fh).await.unwrap();
    assert_eq!(bucket.inner().get_bytes("site/f").unwrap(), NEW);
    host.fs.write(open.fh, 0, Bytes::from_static(b"THE"), false).await.unwrap();
    bucket.outage(Some(lost_reply()));
    host.close(open).await.unwrap_err();
    assert_eq!(host.lost(), 1);
    bucket.heal();
    assert_eq!(&host.read("f").await.unwrap()[..], NEW);
}

#[tokio::test]
async fn large_uploads_leave_no_parts_behind() {
    at_every_request(
        |_| {},
        |host| async move { host.write("large", &vec![3; 11 << 20]).await },
        |fresh, done, host| async move {
            let stat = fresh.stat("large").await;
            match (done, stat) {
                (Ok(()), stat) => assert_eq!(stat.unwrap().attr.size, 11 << 20),
                (Err(_), Ok(stat)) => assert_eq!(stat.attr.size, 11 << 20),
                (Err(_), Err(err)) => {
                    assert!(matches!(err, Error::NotFound));
                    assert!(host.lost() <= 1);
                }
            }
        },
    )
    .await;
}

#[tokio::test]
async fn rename_never_loses_both_names() {
    at_every_request(
        |bucket| {
            bucket.put_foreign("site/d/from", NEW, Headers::default());
            bucket.put_foreign("site/to", OLD, Headers::default());
        },
        |host| async move { host.rename("d/from", "to").await },
        |fresh, done, host| async move {
            let from = fresh.read("d/from").await;
            let to = fresh.read("to").await.unwrap();
            match done {
                Ok(()) => assert!(matches!(from, Err(Error::NotFound)) && to == NEW),
                Err(_) => assert!(to == NEW || (to == OLD && from.unwrap() == NEW)),
            }
            if host.stat("d/from").await.is_ok() {
                host.rename("d/from", "to").await.unwrap();
            }
            assert_eq!(&fresh.read("to").await.unwrap()[..], NEW);
            fresh.ls("d").await.expect("the directory outlives its last file");
        },
    )
    .await;
}

#[tokio::test]
async fn rename_of_a_directory_loses_no_file() {
    at_every_request(
        |bucket| {
            for key in ["site/a/", "site/a/1", "site/a/2", "site/a/sub/3"] {
                bucket.put_foreign(key, if key.ends_with('/') { &b""[..] } else { NEW }, Headers::default());
            }
        },
        |host| async move { host.rename("a", "b").await },
        |fresh, done, _| async move {
            for name in ["1", "2", "sub/3"] {
                let [old, new] = [fresh.read(&format!("a/{name}")).await, fresh.read(&format!("b/{name}")).await];
                match &done {
                    Ok(()) => assert!(matches!(old, Err(Error::NotFound)) && new.unwrap() == NEW),
                    Err(_) => assert!(old.is_ok_and(|old| old == NEW) || new.is_ok_and(|new| new == NEW), "{name}"),
                }
            }
        },
    )
    .await;
}

#[tokio::test]
async fn unlink_mkdir_and_rmdir_happen_or_fail() {
    at_every_request(
        |bucket| drop(bucket.put_foreign("site/d/f", OLD, Headers::default())),
        |host| async move { host.unlink("d/f").await },
        |fresh, done, _| async move {
            let read = fresh.read("d/f").await;
            match (done, read) {
                (Ok(()), read) => assert!(matches!(read, Err(Error::NotFound))),
                (Err(_), Ok(content)) => assert_eq!(content, OLD),
                (Err(_), Err(err)) => assert!(matches!(err, Error::NotFound)),
            }
            fresh.ls("d").await.expect("the directory outlives its last file");
        },
    )
    .await;
    at_every_request(
        |_| {},
        |host| async move {
            host.mkdir("d").await?;
            host.rmdir("d").await
        },
        |fresh, done, _| async move {
            if done.is_ok() {
                assert!(matches!(fresh.stat("d").await, Err(Error::NotFound)));
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_change_of_metadata_keeps_the_content() {
    at_every_request(
        |bucket| drop(bucket.put_foreign("site/f", OLD, Headers::default())),
        |host| async move {
            let mtime = Some(super::super::types::SetTime::At(crate::model::attr::Time::seconds(7)));
            host.set("f", SetAttr { mtime, ..SetAttr::default() }).await.map(drop)
        },
        |fresh, done, _| async move {
            assert_eq!(&fresh.read("f").await.unwrap()[..], OLD);
            if done.is_ok() {
                assert_eq!(fresh.stat("f").await.unwrap().attr.mtime.sec, 7);
            }
        },
    )
    .await;
}

#[tokio::test]
async fn not_knowing_is_never_absence() {
    let bucket = bucket();
    bucket.inner().put_foreign("site/d/f", OLD, Headers::default());
    let host = Host::new(&bucket);
    for err in [lost_reply(), Error::Denied] {
        bucket.outage(Some(err.clone()));
        for done in [
            host.stat("d/f").await.map(drop),
            host.stat("nothing").await.map(drop),
            host.read("d/f").await.map(drop),
            host.ls("").await.map(drop),
            host.unlink("d/f").await,
            host.write("new", NEW).await,
            host.mkdir("e").await,
        ] {
            assert_eq!(done.unwrap_err().errno(), err.errno());
        }
        bucket.heal();
    }
    assert_eq!(&host.read("d/f").await.unwrap()[..], OLD);
}

#[tokio::test]
async fn a_body_that_is_cut_is_fetched_again_or_an_error() {
    let bucket = bucket();
    let content = vec![9; 3 << 20];
    bucket.inner().put_foreign("site/f", content.clone(), Headers::default());
    let host = Host::new(&bucket);
    bucket.cut(1, 100);
    assert_eq!(host.read("f").await.unwrap(), content);
    let other = Host::new(&bucket);
    bucket.fail(Some(Op::Get), 1, Side::Before, lost_reply());
    match other.read("f").await {
        Ok(bytes) => assert_eq!(bytes, content),
        Err(err) => assert!(matches!(err, Error::Unavailable(_))),
    }
}

#[tokio::test]
async fn uploads_that_a_killed_run_began_are_ended_by_the_next() {
    let bucket = bucket();
    let host = Host::new(&bucket);
    let open = host.open("large", TRUNCATE).await.unwrap();
    host.fs.write(open.fh, 0, vec![1; 6 << 20].into(), false).await.unwrap();
    assert_eq!(bucket.inner().uploads_open(), 1);
    assert_eq!(host.fs.abort_leftovers().await.unwrap(), 1);
    assert_eq!(bucket.inner().uploads_open(), 0);
}
