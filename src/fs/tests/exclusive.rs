//! `O_CREAT|O_EXCL` and `RENAME_NOREPLACE`: exclusive among hosts, and no empty object is left where a file should be.

use super::{faults::at_every_request_of, *};
use crate::{
    fs::types::SetTime,
    model::attr::Time,
    store::{Headers, faulty::Side},
};

fn pair() -> (Host, Host) {
    let bucket = bucket();
    (Host::new(&bucket), Host::new(&bucket))
}

fn puts(host: &Host) -> usize {
    host.requests().iter().filter(|op| **op == Op::Put).count()
}

impl<S: Store> Host<S> {
    /// Notes of empty objects that stand for names.
    pub(super) fn stubs(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.join("uploads")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "stub")).count()
    }

    /// `O_CREAT|O_EXCL` of a name that the kernel just found absent.
    pub(super) async fn create_exclusively(&self, name: &str) -> Result<Open> {
        let created = self.fs.create(NodeId::ROOT, OsStr::new(name), 0o644, EXCL, self.who()).await;
        created.map(|(_, opened)| Open { fh: opened.fh, id: opened.id })
    }
}

#[tokio::test]
async fn the_name_is_taken_at_open() {
    let (a, b) = pair();
    let open = a.create_exclusively("lock").await.unwrap();
    assert!(matches!(b.create_exclusively("lock").await, Err(Error::Exists)));
    assert_eq!(&b.read("lock").await.unwrap()[..], b"");
    let stub = a.bucket.inner().object("site/lock").unwrap();
    assert_eq!(stub.headers.cache_control.as_deref(), Some("no-store"));
    a.put(open, "mine").await;
    assert_eq!(a.stubs(), 1);
    a.close(open).await.unwrap();
    assert_eq!(&b.read("lock").await.unwrap()[..], b"mine");
    let file = a.bucket.inner().object("site/lock").unwrap();
    assert_eq!(file.headers.cache_control, None);
    assert!(matches!(b.create_exclusively("lock").await, Err(Error::Exists)));
    assert_eq!((a.stubs(), b.stubs(), a.lost(), b.lost()), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_lock_file_that_stays_empty_is_one_put() {
    let (a, b) = pair();
    let open = a.create_exclusively("lock").await.unwrap();
    a.fs.fsync(open.fh).await.unwrap();
    a.close(open).await.unwrap();
    assert_eq!(a.requests(), [Op::Put]);
    assert_eq!(a.stubs(), 0);
    assert_eq!(a.stat("lock").await.unwrap(), b.stat("lock").await.unwrap());
    a.unlink("lock").await.unwrap();
    b.open("lock", EXCL).await.unwrap();
}

#[tokio::test]
async fn a_time_set_on_an_empty_file_goes_with_its_own_put() {
    let (a, _) = pair();
    let open = a.create_exclusively("f").await.unwrap();
    let mtime = Some(SetTime::At(Time::seconds(5)));
    a.fs.setattr(open.id, Some(open.fh), SetAttr { mtime, ..SetAttr::default() }, a.who()).await.unwrap();
    a.close(open).await.unwrap();
    assert_eq!(a.requests(), [Op::Put, Op::Put]);
    let headers = a.bucket.inner().object("site/f").unwrap().headers;
    assert_eq!((headers.user["mtime"].as_str(), headers.cache_control), ("5", None));
}

#[tokio::test]
async fn without_its_content_the_name_is_free_again() {
    let (a, b) = pair();
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.bucket.fail(Some(Op::Put), 1, Side::Before, lost_reply());
    a.bucket.fail(Some(Op::Put), 2, Side::Before, lost_reply());
    a.close(open).await.unwrap_err();
    assert_eq!(a.bucket.inner().keys(), [""; 0]);
    assert!(matches!(a.stat("f").await, Err(Error::NotFound)));
    assert_eq!((&a.kept()[0].0[..], a.stubs()), (&b"mine"[..], 0));
    b.create_exclusively("f").await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_away_loses_the_empty_object_when_it_is_back() {
    let (a, _) = pair();
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.bucket.outage(Some(lost_reply()));
    a.close(open).await.unwrap_err();
    a.fs.sweep().await;
    assert_eq!((a.lost(), a.stubs()), (1, 1));
    a.bucket.heal();
    a.fs.sweep().await;
    assert_eq!((a.bucket.inner().keys(), a.stubs()), (Vec::new(), 0));
}

#[tokio::test]
async fn the_next_run_removes_what_a_killed_one_left() {
    let (a, b) = pair();
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    let stays = a.create_exclusively("closed").await.unwrap();
    a.close(stays).await.unwrap();
    a.create_exclusively("theirs").await.unwrap();
    b.write("theirs", b"content").await.unwrap();
    a.create_exclusively("another").await.unwrap();
    b.unlink("another").await.unwrap();
    b.create_exclusively("another").await.unwrap();
    let a = a.killed_for(options());
    a.fs.sweep().await;
    assert_eq!(a.bucket.inner().keys(), ["site/another", "site/closed", "site/theirs"]);
    assert_eq!(&a.kept()[0].0[..], b"mine");
    assert_eq!(a.stubs(), 0);
}

#[tokio::test]
async fn unlink_before_close_removes_it() {
    let (a, b) = pair();
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.unlink("f").await.unwrap();
    assert_eq!(a.bucket.inner().keys(), [""; 0]);
    let theirs = b.create_exclusively("f").await.unwrap();
    a.close(open).await.unwrap();
    b.put(theirs, "theirs").await;
    b.close(theirs).await.unwrap();
    assert_eq!((&a.read("f").await.unwrap()[..], a.stubs(), a.lost()), (&b"theirs"[..], 0, 0));
}

#[tokio::test]
async fn a_rename_before_close_leaves_one_name() {
    let (a, b) = pair();
    b.write("to", b"old").await.unwrap();
    let open = a.create_exclusively("from").await.unwrap();
    a.put(open, "mine").await;
    a.rename("from", "to").await.unwrap();
    assert_eq!(b.ls("").await.unwrap(), ["to"]);
    a.put(open, "more").await;
    a.close(open).await.unwrap();
    assert_eq!(&b.read("to").await.unwrap()[..], b"more");
    let headers = a.bucket.inner().object("site/to").unwrap().headers;
    assert_eq!(headers.cache_control, None);
    a.fs.sweep().await;
    assert_eq!((a.stubs(), a.bucket.inner().keys()), (0, vec!["site/to".to_owned()]));
}

#[tokio::test]
async fn an_open_that_was_not_answered_leaves_the_name_free() {
    for side in [Side::Before, Side::After] {
        let (a, b) = pair();
        a.bucket.fail(Some(Op::Put), 1, side, lost_reply());
        assert!(matches!(a.create_exclusively("f").await, Err(Error::Unavailable(_))));
        assert_eq!(a.bucket.inner().keys(), [""; 0], "{side:?}");
        let open = b.create_exclusively("f").await.unwrap();
        b.put(open, "theirs").await;
        b.close(open).await.unwrap();
        a.fs.sweep().await;
        assert_eq!((&a.read("f").await.unwrap()[..], a.stubs()), (&b"theirs"[..], 0));
    }
}

#[tokio::test]
async fn an_unanswered_attempt_of_our_own_is_no_eexist() {
    let (a, _) = pair();
    a.bucket.fail(Some(Op::Put), 1, Side::After, lost_reply());
    a.bucket.fail(Some(Op::Head), 1, Side::Before, lost_reply());
    a.create_exclusively("f").await.unwrap_err();
    assert_eq!(a.bucket.inner().keys(), ["site/f"]);
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.fs.sweep().await;
    a.close(open).await.unwrap();
    assert_eq!((&a.read("f").await.unwrap()[..], a.stubs()), (&b"mine"[..], 0));
}

#[tokio::test]
async fn every_failure_of_a_new_file_leaves_all_of_it_or_nothing() {
    let file = async |host: &Host, name: &str| {
        let open = host.create_exclusively(name).await?;
        host.put(open, "whole").await;
        host.close(open).await
    };
    for conflict in [Conflict::Last, Conflict::Detect] {
        at_every_request_of(
            &FsOptions { conflict, ..options() },
            |_| {},
            |host| async move { file(&host, "f").await },
            |fresh, done, host| async move {
                host.fs.sweep().await;
                match fresh.read("f").await {
                    Ok(bytes) => assert_eq!(&bytes[..], b"whole"),
                    Err(err) => assert!(done.is_err() && matches!(err, Error::NotFound), "{err:?}"),
                }
                file(&host, "g").await.unwrap();
            },
        )
        .await;
    }
}

#[tokio::test]
async fn at_close_nothing_is_sent_at_open() {
    let bucket = bucket();
    let a = Host::with(&bucket, FsOptions { exclusive: Exclusive::Close, ..options() });
    let open = a.create_exclusively("f").await.unwrap();
    assert_eq!(a.requests(), []);
    a.close(open).await.unwrap();
    assert_eq!(puts(&a), 1);
}

#[tokio::test]
async fn a_server_that_cannot_gets_nothing_at_open() {
    for support in [Support::Ignored, Support::Refused, Support::Unknown] {
        let (a, _) = pair();
        a.fs.set_conditional(all(support));
        let open = a.create_exclusively("f").await.unwrap();
        assert_eq!(a.requests(), []);
        a.close(open).await.unwrap();
        assert_eq!(a.bucket.inner().keys(), ["site/f"]);
    }
}

#[tokio::test]
async fn a_copy_into_an_exclusive_file_is_one_request() {
    let (a, _) = pair();
    a.write("from", b"the source").await.unwrap();
    let source = a.open("from", READ).await.unwrap();
    let target = a.create_exclusively("to").await.unwrap();
    a.fs.copy_file_range((source.fh, 0), (target.fh, 0), 100).await.unwrap();
    a.requests();
    a.close(target).await.unwrap();
    assert_eq!(a.requests(), [Op::Copy]);
    let object = a.bucket.inner().object("site/to").unwrap();
    assert_eq!((object.version.size, object.headers.cache_control, a.stubs()), (10, None, 0));
}

#[tokio::test]
async fn noreplace_has_one_winner_also_for_what_is_not_uploaded() {
    let (a, b) = pair();
    let open = a.open("from", WRITE).await.unwrap();
    a.put(open, "mine").await;
    // Between the look for the target and the upload.
    let mut held = a.bucket.hold(Op::Put, Side::Before);
    let a = Arc::new(a);
    let renamed = tokio::spawn({
        let a = Arc::clone(&a);
        async move { a.rename_as("from", "to", RenameMode::NoReplace).await }
    });
    held.wait_arrived().await;
    b.bucket.inner().put_foreign("site/to", &b"theirs"[..], Headers::default());
    held.release();
    assert!(matches!(renamed.await.unwrap(), Err(Error::Exists)));
    a.close(open).await.unwrap();
    assert_eq!(&b.read("to").await.unwrap()[..], b"theirs");
    assert_eq!(&b.read("from").await.unwrap()[..], b"mine");
    a.rename_as("from", "free", RenameMode::NoReplace).await.unwrap();
    assert_eq!(b.ls("").await.unwrap(), ["free", "to"]);
}

#[tokio::test]
async fn noreplace_has_one_winner_for_what_is_uploaded() {
    for dirty in [false, true] {
        let (a, b) = pair();
        a.write("from", b"mine").await.unwrap();
        let open = a.open("from", WRITE).await.unwrap();
        if dirty {
            a.put(open, "new!").await;
        }
        let op = if dirty { Op::Put } else { Op::Copy };
        let mut held = a.bucket.hold(op, Side::Before);
        let a = Arc::new(a);
        let renamed = tokio::spawn({
            let a = Arc::clone(&a);
            async move { a.rename_as("from", "to", RenameMode::NoReplace).await }
        });
        held.wait_arrived().await;
        b.bucket.inner().put_foreign("site/to", &b"theirs"[..], Headers::default());
        held.release();
        assert!(matches!(renamed.await.unwrap(), Err(Error::Exists)));
        a.close(open).await.unwrap();
        assert_eq!(&b.read("to").await.unwrap()[..], b"theirs");
        assert_eq!(&b.read("from").await.unwrap()[..], if dirty { b"new!" } else { b"mine" });
    }
}

/// A host whose views may be a minute old, and that has just listed its root.
async fn a_minute_behind() -> Host {
    let bucket = bucket();
    bucket.inner().set_time(Some(1000));
    bucket.inner().put_foreign("site/other", &b"x"[..], Headers::default());
    let host = Host::with(&bucket, open_mode(Freshness::Age(Duration::from_mins(1))));
    host.ls("").await.unwrap();
    host
}

#[tokio::test]
async fn a_swept_name_is_free_in_views_at_once() {
    let a = a_minute_behind().await;
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.bucket.outage(Some(lost_reply()));
    a.close(open).await.unwrap_err();
    a.bucket.heal();
    // Nobody has it open, so this is what the bucket has.
    assert_eq!(a.stat("f").await.unwrap().attr.size, 0);
    a.fs.sweep().await;
    assert_eq!(a.bucket.inner().keys(), ["site/other"]);
    assert!(matches!(a.stat("f").await, Err(Error::NotFound)), "the swept object is shown");
    assert_eq!(a.ls("").await.unwrap(), ["other"]);
}

#[tokio::test]
async fn an_answer_that_overlaps_the_sweep_does_not_bring_it_back() {
    let a = Arc::new(a_minute_behind().await);
    let open = a.create_exclusively("f").await.unwrap();
    a.put(open, "mine").await;
    a.bucket.outage(Some(lost_reply()));
    a.close(open).await.unwrap_err();
    a.bucket.heal();
    // The answer of the HEAD is from before the sweep, and arrives after it.
    let mut held = a.bucket.hold(Op::Head, Side::After);
    let asking = {
        let (a, who) = (Arc::clone(&a), a.who());
        tokio::spawn(async move { a.fs.lookup(NodeId::ROOT, OsStr::new("f"), who).await })
    };
    held.wait_arrived().await;
    a.fs.sweep().await;
    held.release();
    assert!(matches!(asking.await.unwrap(), Err(Error::NotFound)), "an answer from before the sweep was believed");
}
