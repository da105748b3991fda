//! `conflict=detect`: a close does not replace what it does not know.

use super::{faults::at_every_request_of, *};
use crate::{
    fs::types::SetTime,
    model::attr::Time,
    store::{Headers, faulty::Side},
};

fn detect() -> FsOptions {
    FsOptions { conflict: Conflict::Detect, ..options() }
}

fn pair() -> (Host, Host) {
    let bucket = bucket();
    (Host::with(&bucket, detect()), Host::with(&bucket, detect()))
}

fn content(host: &Host, name: &str) -> Option<Bytes> {
    host.bucket.inner().get_bytes(&format!("site/{name}"))
}

#[track_caller]
fn lost(done: Result<()>) {
    let err = done.unwrap_err();
    assert!(matches!(err, Error::Conflict(_)) && err.errno() == libc::EIO, "{err:?}");
}

/// The bytes that lost are kept with a note that says whose they are, over what they were written and why they lost.
#[track_caller]
fn kept(host: &Host, bytes: &[u8]) {
    let kept = host.kept();
    let [(data, note)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((&data[..], &note["key"], &note["size"]), (bytes, &"site/f".into(), &bytes.len().into()));
    assert!(note["reason"].as_str().unwrap().contains("another host"), "{note}");
}

#[tokio::test]
async fn of_two_writers_the_second_fails_and_its_bytes_are_kept() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    let base = a.bucket.inner().object("site/f").unwrap().version.etag;
    for mode in [WRITE, TRUNCATE] {
        let (first, second) = (a.open("f", mode).await.unwrap(), b.open("f", mode).await.unwrap());
        a.put(first, "first").await;
        b.put(second, "second").await;
        a.close(first).await.unwrap();
        lost(b.close(second).await);
        assert_eq!(content(&a, "f").unwrap(), "first");
        assert_eq!(&b.read("f").await.unwrap()[..], b"first");
        kept(&b, b"second");
        let note = &b.kept()[0].1;
        assert_eq!(note["base"], base.as_str());
        std::fs::remove_dir_all(b.dir.join("lost+found")).unwrap();
        std::fs::create_dir(b.dir.join("lost+found")).unwrap();
        b.write("f", b"base").await.unwrap();
    }
}

#[tokio::test]
async fn of_two_creators_the_second_fails() {
    let (a, b) = pair();
    let (first, second) = (a.open("f", WRITE).await.unwrap(), b.open("f", WRITE).await.unwrap());
    a.put(first, "same bytes").await;
    b.put(second, "same bytes").await;
    a.close(first).await.unwrap();
    lost(b.close(second).await);
    kept(&b, b"same bytes");
}

#[tokio::test]
async fn what_somebody_deleted_does_not_come_back() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    b.put(open, "mine").await;
    a.unlink("f").await.unwrap();
    lost(b.close(open).await);
    assert_eq!(content(&a, "f"), None);
    assert!(matches!(b.stat("f").await, Err(Error::NotFound)));
    kept(&b, b"mine");
}

#[tokio::test]
async fn a_foreign_overwrite_between_open_and_close_stays() {
    let (a, _) = pair();
    a.write("f", b"base").await.unwrap();
    let open = a.open("f", WRITE).await.unwrap();
    a.bucket.inner().put_foreign("site/f", &b"theirs"[..], Headers::default());
    a.put(open, "mine").await;
    lost(a.close(open).await);
    assert_eq!(&a.read("f").await.unwrap()[..], b"theirs");
    kept(&a, b"mine");
}

/// The name went to another version before the first write here: the file is an orphan by then.
#[tokio::test]
async fn a_file_that_lost_its_name_does_not_take_it_back() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    b.read("f").await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    a.write("f", b"theirs").await.unwrap();
    assert_eq!(&b.read("f").await.unwrap()[..], b"theirs");
    b.put(open, "mi").await;
    lost(b.close(open).await);
    assert_eq!(content(&a, "f").unwrap(), "theirs");
    // The bytes below were read before and are whole here, so what is kept is the file and not a hole.
    kept(&b, b"mise");
}

/// Nothing can be uploaded without the rest of the file, which went with its version.
#[tokio::test]
async fn a_version_that_is_gone_is_a_conflict() {
    let (a, b) = pair();
    a.write("f", &vec![1; 3 << 20]).await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    b.put(open, "mine").await;
    a.write("f", b"theirs").await.unwrap();
    lost(b.fs.fsync(open.fh).await);
    b.fs.flush(open.fh).await.unwrap();
    b.fs.release(open.fh).await;
    let (data, note) = &b.kept()[0];
    assert_eq!(
        (&data[..4], &note["size"], &note["ranges"]),
        (&b"mine"[..], &serde_json::Value::Null, &serde_json::json!([[0, 4]]))
    );
    assert_eq!(&b.read("f").await.unwrap()[..], b"theirs");
}

#[tokio::test]
async fn metadata_alone_are_no_conflict() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    b.put(open, "mine").await;
    a.set("f", SetAttr { mtime: Some(SetTime::At(Time::seconds(5))), ..SetAttr::default() }).await.unwrap();
    b.close(open).await.unwrap();
    assert_eq!(content(&a, "f").unwrap(), "mine");
}

#[tokio::test]
async fn own_changes_are_no_conflict() {
    let (a, _) = pair();
    a.write("f", b"base").await.unwrap();
    let open = a.open("f", WRITE).await.unwrap();
    for n in 0..3 {
        a.put(open, "one").await;
        a.fs.fsync(open.fh).await.unwrap();
        a.set("f", SetAttr { mtime: Some(SetTime::At(Time::seconds(n))), ..SetAttr::default() }).await.unwrap();
        a.put(open, "two").await;
        a.rename("f", "g").await.unwrap();
        a.put(open, "three").await;
        a.rename("g", "f").await.unwrap();
    }
    a.put(open, "four").await;
    a.close(open).await.unwrap();
    assert_eq!(content(&a, "f").unwrap(), "foure");
    a.write("f", b"five").await.unwrap();
    a.unlink("f").await.unwrap();
    a.write("f", b"six").await.unwrap();
    assert_eq!(a.lost(), 0);
}

#[tokio::test]
async fn each_descriptor_is_told_and_nothing_is_sent_again() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    let (one, two) = (b.open("f", WRITE).await.unwrap(), b.open("f", WRITE).await.unwrap());
    b.put(one, "mine").await;
    a.write("f", b"theirs").await.unwrap();
    lost(b.fs.fsync(one.fh).await);
    b.requests();
    b.fs.flush(one.fh).await.unwrap();
    lost(b.fs.flush(two.fh).await);
    b.fs.flush(two.fh).await.unwrap();
    lost(b.fs.fsync(one.fh).await);
    assert_eq!(&b.read_open(one).await.unwrap()[..], b"mine");
    b.put(two, "more").await;
    lost(b.fs.flush(one.fh).await);
    assert!(!b.requests().contains(&Op::Put));
    assert_eq!(&b.read("f").await.unwrap()[..], b"theirs");
    b.fs.release(one.fh).await;
    b.fs.release(two.fh).await;
    kept(&b, b"more");
    assert_eq!(content(&a, "f").unwrap(), "theirs");
}

/// A process that is killed between the failed fsync and the close.
#[tokio::test]
async fn bytes_that_lost_outlive_a_kill() {
    let (a, b) = pair();
    a.write("f", b"base").await.unwrap();
    let open = b.open("f", TRUNCATE).await.unwrap();
    b.put(open, "mine").await;
    a.write("f", b"theirs").await.unwrap();
    lost(b.fs.fsync(open.fh).await);
    assert_eq!(std::fs::read_dir(b.dir.join("staging")).unwrap().count(), 2);
    let b = b.killed();
    let (data, note) = &b.kept()[0];
    assert_eq!((&data[..], &note["key"]), (&b"mine"[..], &"site/f".into()));
}

#[tokio::test]
async fn an_upload_whose_reply_was_lost_is_no_foreign_change() {
    let (a, _) = pair();
    for (old, mode) in [(None, WRITE), (Some(&b"base"[..]), TRUNCATE)] {
        if let Some(old) = old {
            a.write("f", old).await.unwrap();
        }
        let open = a.open("f", mode).await.unwrap();
        for text in ["one", "three", "fifth"] {
            a.put(open, text).await;
            a.bucket.fail(Some(Op::Put), 1, Side::After, lost_reply());
            a.fs.fsync(open.fh).await.unwrap_err();
        }
        a.close(open).await.unwrap();
        assert_eq!(content(&a, "f").unwrap(), "fifth");
        a.unlink("f").await.unwrap();
    }
}

/// After an attempt that never arrived, the very same bytes of somebody else.
#[tokio::test]
async fn equal_bytes_of_somebody_else_are_not_ours() {
    let (a, b) = pair();
    let open = a.open("f", WRITE).await.unwrap();
    a.put(open, "same").await;
    a.bucket.fail(Some(Op::Put), 1, Side::Before, lost_reply());
    a.fs.fsync(open.fh).await.unwrap_err();
    b.write("f", b"same").await.unwrap();
    lost(a.close(open).await);
}

#[tokio::test]
async fn large_files_are_guarded_too() {
    let (a, b) = pair();
    for old in [None, Some(vec![1; 6 << 20])] {
        if let Some(old) = &old {
            a.write("f", old).await.unwrap();
        }
        let (first, second) = (a.open("f", TRUNCATE).await.unwrap(), b.open("f", TRUNCATE).await.unwrap());
        a.fs.write(first.fh, 0, vec![2; 6 << 20].into(), false).await.unwrap();
        b.fs.write(second.fh, 0, vec![3; 6 << 20].into(), false).await.unwrap();
        a.close(first).await.unwrap();
        lost(b.close(second).await);
        assert_eq!(content(&a, "f").unwrap()[..9], [2; 9]);
        let open = a.open("f", TRUNCATE).await.unwrap();
        a.fs.write(open.fh, 0, vec![4; 6 << 20].into(), false).await.unwrap();
        a.bucket.fail(Some(Op::Complete), 1, Side::After, lost_reply());
        a.close(open).await.unwrap();
        assert_eq!(content(&a, "f").unwrap()[..9], [4; 9]);
        a.unlink("f").await.unwrap();
    }
    assert_eq!((b.lost(), a.bucket.inner().uploads_open()), (2, 0));
}

#[tokio::test]
async fn without_conditional_writes_a_look_comes_first() {
    let (a, b) = pair();
    for host in [&a, &b] {
        host.fs.set_conditional(Conditional::default());
    }
    a.write("f", b"base").await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    b.put(open, "mine").await;
    a.write("f", b"theirs").await.unwrap();
    lost(b.close(open).await);
    let (first, second) = (a.open("g", WRITE).await.unwrap(), b.open("g", WRITE).await.unwrap());
    a.put(first, "mine").await;
    b.put(second, "theirs").await;
    a.close(first).await.unwrap();
    a.requests();
    lost(b.close(second).await);
    assert_eq!(a.requests(), [Op::Head]);
    assert_eq!((content(&a, "f").unwrap(), content(&a, "g").unwrap()), ("theirs".into(), "mine".into()));
    let open = a.open("f", TRUNCATE).await.unwrap();
    a.put(open, "new").await;
    a.bucket.fail(Some(Op::Put), 1, Side::After, lost_reply());
    a.fs.fsync(open.fh).await.unwrap_err();
    a.close(open).await.unwrap();
    assert_eq!(content(&a, "f").unwrap(), "new");
}

#[tokio::test]
async fn a_failed_request_is_not_taken_for_a_conflict() {
    for large in [false, true] {
        let bytes = move || if large { vec![9; 6 << 20] } else { b"the new one".to_vec() };
        at_every_request_of(
            &detect(),
            |bucket| drop(bucket.put_foreign("site/f", &b"old"[..], Headers::default())),
            move |host| async move { host.write("f", &bytes()).await },
            move |fresh, done, host| async move {
                let there = fresh.read("f").await.unwrap();
                assert!(there == bytes() || (there == b"old"[..] && done.is_err()), "{} bytes", there.len());
                host.write("f", &bytes()).await.unwrap();
                assert!(fresh.read("f").await.unwrap() == bytes());
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_copy_of_a_whole_file_is_guarded_too() {
    let (a, b) = pair();
    a.write("from", b"the source").await.unwrap();
    for old in [None, Some(b"")] {
        if let Some(old) = old {
            a.write("f", old).await.unwrap();
        }
        let source = b.open("from", READ).await.unwrap();
        let target = b.open("f", WRITE).await.unwrap();
        b.fs.copy_file_range((source.fh, 0), (target.fh, 0), 100).await.unwrap();
        a.write("f", b"theirs").await.unwrap();
        lost(b.close(target).await);
        b.close(source).await.unwrap();
        assert_eq!(content(&a, "f").unwrap(), "theirs");
        a.unlink("f").await.unwrap();
    }
    assert!(b.kept().iter().all(|(data, _)| data == b"the source"));
    assert_eq!(b.lost(), 2);
}

#[tokio::test]
async fn by_default_the_last_close_wins() {
    let bucket = bucket();
    let [a, b] = [0; 2].map(|_| Host::new(&bucket));
    a.write("f", b"base").await.unwrap();
    let open = b.open("f", WRITE).await.unwrap();
    b.put(open, "mine").await;
    a.write("f", b"theirs").await.unwrap();
    b.close(open).await.unwrap();
    assert_eq!(content(&a, "f").unwrap(), "mine");
}
