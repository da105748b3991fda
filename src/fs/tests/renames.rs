//! Renames of directories: what they keep, what they leave alone, and whom they do not stop.

use tokio::time::timeout;

use super::*;
use crate::{
    model::attr::Time,
    store::{Headers, faulty::Side},
};

/// Nothing here takes as long, unless it waits for what it must not wait for.
const DEADLINE: Duration = Duration::from_secs(20);

fn put(bucket: &Bucket, key: &str, content: &'static str) {
    bucket.inner().put_foreign(key, content, Headers::default());
}

#[tokio::test]
async fn the_rest_of_the_mount_goes_on_during_the_rename_of_a_directory() {
    let bucket = bucket();
    for key in ["site/d/f", "site/x/old", "site/x/gone"] {
        put(&bucket, key, "x");
    }
    let host = Arc::new(Host::new(&bucket));
    let mut held = bucket.hold(Op::Copy, Side::Before);
    let acting = Arc::clone(&host);
    let rename = tokio::spawn(async move { acting.rename("d", "e").await });
    held.wait_arrived().await;
    let elsewhere = async {
        host.write("x/new", b"upload").await?;
        host.rename("x/old", "x/renamed").await.unwrap_or_else(|err| panic!("{err}"));
        host.unlink("x/gone").await?;
        host.mkdir("y").await?;
        host.rename("y", "z").await?;
        host.rmdir("z").await?;
        host.read("x/new").await
    };
    let done = timeout(DEADLINE, elsewhere).await.expect("nothing waits for the rename");
    assert_eq!(&done.unwrap()[..], b"upload");
    assert!(!rename.is_finished());
    // What is below waits, and has its new name then.
    let below = Arc::clone(&host);
    let read = tokio::spawn(async move { below.read("d/f").await });
    tokio::time::sleep(SHORT).await;
    assert!(!read.is_finished());
    held.release();
    rename.await.unwrap().unwrap();
    assert!(matches!(read.await.unwrap(), Err(Error::NotFound | Error::Stale)));
    assert_eq!(&host.read("e/f").await.unwrap()[..], b"x");
}

#[tokio::test]
async fn times_and_headers_are_the_same_before_and_after() {
    let bucket = bucket();
    bucket.inner().set_time(Some(1000));
    put(&bucket, "site/a/", "");
    put(&bucket, "site/a/plain", "x");
    let user = [("mtime", "77.5"), ("theirs", "kept")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = Headers {
        content_type: Some("text/x-own".to_owned()),
        cache_control: Some("max-age=1".to_owned()),
        content_disposition: Some("attachment".to_owned()),
        content_language: Some("de".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        redirect: Some("/elsewhere".to_owned()),
        user: user.into(),
        ..Headers::default()
    };
    bucket.inner().put_foreign("site/a/dressed.png", &b"y"[..], headers.clone());
    bucket.inner().set_time(Some(2000));
    let host = Host::new(&bucket);
    let times = async |dir: &str| {
        let mut times = Vec::new();
        for rest in ["", "/plain", "/dressed.png"] {
            times.push(host.stat(&format!("{dir}{rest}")).await.unwrap().attr.mtime);
        }
        times
    };
    let before = times("a").await;
    assert_eq!(before, [Time::seconds(1000), Time::seconds(1000), Time { sec: 77, nsec: 500_000_000 }]);
    host.rename("a", "b").await.unwrap();
    assert_eq!(times("b").await, before);
    assert_eq!(bucket.inner().object("site/b/dressed.png").unwrap().headers, headers);
    host.rename("b", "c").await.unwrap();
    assert_eq!(times("c").await, before);
}

#[tokio::test]
async fn what_another_host_writes_below_the_old_name_meanwhile_stays() {
    for strict in [true, false] {
        let bucket = bucket();
        bucket.inner().set_time(Some(1000));
        put(&bucket, "site/a/f", "old");
        put(&bucket, "site/a/g", "old");
        bucket.inner().set_time(Some(2000));
        let host = Arc::new(Host::new(&bucket));
        if !strict {
            host.fs.set_conditional(Conditional::default());
        }
        // The second copy: the first is made, and nothing is deleted yet.
        let mut held = [bucket.hold(Op::Copy, Side::After), bucket.hold(Op::Copy, Side::After)];
        let acting = Arc::clone(&host);
        let rename = tokio::spawn(async move { acting.rename("a", "b").await });
        for held in &mut held {
            held.wait_arrived().await;
        }
        put(&bucket, "site/a/f", "overwritten");
        put(&bucket, "site/a/new", "new");
        held.into_iter().for_each(crate::store::faulty::Held::release);
        rename.await.unwrap().unwrap();
        assert_eq!(bucket.inner().keys(), ["site/a/f", "site/a/new", "site/b/f", "site/b/g"], "strict: {strict}");
        assert_eq!(&bucket.inner().get_bytes("site/a/f").unwrap()[..], b"overwritten");
        assert_eq!(host.ls("a").await.unwrap(), ["f", "new"]);
        assert_eq!(host.journals(), 0);
    }
}

/// The last moment: the source changes when its deletion is under way.
#[tokio::test]
async fn a_deletion_asks_for_what_was_copied() {
    let bucket = bucket();
    put(&bucket, "site/a/f", "old");
    let host = Arc::new(Host::new(&bucket));
    let mut held = bucket.hold(Op::Delete, Side::Before);
    let acting = Arc::clone(&host);
    let rename = tokio::spawn(async move { acting.rename("a", "b").await });
    held.wait_arrived().await;
    put(&bucket, "site/a/f", "newer");
    held.release();
    rename.await.unwrap().unwrap();
    assert_eq!(&bucket.inner().get_bytes("site/a/f").unwrap()[..], b"newer");
    assert_eq!(&bucket.inner().get_bytes("site/b/f").unwrap()[..], b"old");
}

#[tokio::test]
async fn what_another_host_makes_below_the_new_name_meanwhile_is_not_overwritten() {
    let bucket = bucket();
    put(&bucket, "site/a/f", "old");
    put(&bucket, "site/a/g", "old");
    let host = Arc::new(Host::new(&bucket));
    let mut held = [bucket.hold(Op::Copy, Side::Before), bucket.hold(Op::Copy, Side::Before)];
    let acting = Arc::clone(&host);
    let rename = tokio::spawn(async move { acting.rename("a", "b").await });
    for held in &mut held {
        held.wait_arrived().await;
    }
    put(&bucket, "site/b/f", "theirs");
    held.into_iter().for_each(crate::store::faulty::Held::release);
    assert!(matches!(rename.await.unwrap(), Err(Error::NotEmpty)));
    assert_eq!(bucket.inner().keys(), ["site/a/f", "site/a/g", "site/b/f"]);
    assert_eq!(&bucket.inner().get_bytes("site/b/f").unwrap()[..], b"theirs");
    assert_eq!(host.journals(), 0);
}

#[tokio::test]
async fn of_two_hosts_that_rename_to_one_new_name_one_wins() {
    for marked in [true, false] {
        let bucket = bucket();
        for dir in ["a", "c"] {
            if marked {
                put(&bucket, &format!("site/{dir}/"), "");
            }
            put(&bucket, &format!("site/{dir}/{dir}"), "x");
        }
        let hosts = [0; 2].map(|_| Arc::new(Host::new(&bucket)));
        let mut held = bucket.hold(Op::Put, Side::Before);
        let first = Arc::clone(&hosts[0]);
        let loser = tokio::spawn(async move { first.rename_as("a", "b", RenameMode::NoReplace).await });
        held.wait_arrived().await;
        hosts[1].rename_as("c", "b", RenameMode::NoReplace).await.unwrap();
        held.release();
        assert!(matches!(loser.await.unwrap(), Err(Error::Exists | Error::NotEmpty)), "marked: {marked}");
        assert_eq!(hosts[0].ls("b").await.unwrap(), ["c"]);
        assert_eq!(hosts[1].ls("a").await.unwrap(), ["a"]);
    }
}

#[tokio::test]
async fn a_directory_above_the_limit_is_refused_before_anything_is_copied() {
    let bucket = bucket();
    for n in 0..5 {
        put(&bucket, &format!("site/a/{n}"), "x");
    }
    let host = Host::with(&bucket, FsOptions { rename_limit: 4, ..options() });
    host.requests();
    assert!(matches!(host.rename("a", "b").await, Err(Error::CrossDevice)));
    assert!(host.requests().iter().all(|op| matches!(op, Op::List | Op::Head)));
    assert_eq!(host.journals(), 0);
    let host = Host::with(&bucket, FsOptions { rename_limit: 5, ..options() });
    host.rename("a", "b").await.unwrap();
}

#[tokio::test]
async fn a_directory_of_many_pages_moves_whole() {
    let bucket = bucket();
    let mut keys = Vec::new();
    for n in 0..2500 {
        let key = format!("d{}/{n}", n % 7);
        bucket.inner().put_foreign(&format!("site/a/{key}"), key.clone(), Headers::default());
        keys.push(format!("site/b/{key}"));
    }
    keys.sort();
    let host = Host::with(&bucket, FsOptions { rename_limit: 10_000, ..options() });
    host.requests();
    host.rename("a", "b").await.unwrap();
    assert_eq!(bucket.inner().keys(), keys);
    let requests = host.requests();
    let count = |op| requests.iter().filter(|seen| **seen == op).count();
    // The seven directories have no markers; what a server may have kept of them goes, too.
    assert_eq!(count(Op::Copy), 2500);
    assert!((2507..=2520).contains(&count(Op::Delete)), "{} DELETEs", count(Op::Delete));
    assert!(count(Op::Head) <= 2510 && count(Op::List) <= 60, "{} HEADs, {} LISTs", count(Op::Head), count(Op::List));
    assert_eq!(&host.read("b/d3/3").await.unwrap()[..], b"d3/3");
}

#[tokio::test]
async fn a_file_renamed_without_a_journal_is_renamed_all_the_same() {
    let bucket = bucket();
    put(&bucket, "site/f", "x");
    put(&bucket, "site/d/f", "x");
    let host = Host::new(&bucket);
    std::fs::remove_dir_all(host.dir.join("renames")).unwrap();
    host.rename("f", "g").await.unwrap();
    assert_eq!(&host.read("g").await.unwrap()[..], b"x");
    host.rename("d", "e").await.unwrap_err();
    assert_eq!(bucket.inner().keys(), ["site/d/f", "site/g"]);
}
