//! Two hosts, or one and a foreign client: what one does, the other sees.

use super::*;
use crate::{
    fs::types::SetTime,
    model::{attr::Time, key::Name},
    store::{Headers, faulty::Side},
};

fn pair() -> (Host, Host) {
    let bucket = bucket();
    (Host::new(&bucket), Host::new(&bucket))
}

#[tokio::test]
async fn each_change_is_seen_at_once_by_the_other_host() {
    for freshness in [second(), Freshness::Strict] {
        let bucket = bucket();
        let [a, b] = [0; 2].map(|_| Host::with(&bucket, open_mode(freshness)));
        assert!(matches!(b.read("f").await, Err(Error::NotFound)));
        a.write("f", b"one").await.unwrap();
        assert_eq!(&b.read("f").await.unwrap()[..], b"one");
        a.write("f", b"two!").await.unwrap();
        assert_eq!(&b.read("f").await.unwrap()[..], b"two!");
        assert_eq!(b.ls("").await.unwrap(), ["f"]);
        a.rename("f", "g").await.unwrap();
        assert_eq!(b.ls("").await.unwrap(), ["g"]);
        assert_eq!(&b.read("g").await.unwrap()[..], b"two!");
        b.unlink("g").await.unwrap();
        assert!(matches!(a.open("g", READ).await, Err(Error::NotFound)));
        b.mkdir("d").await.unwrap();
        assert_eq!(a.ls("").await.unwrap(), ["d/"]);
        a.rmdir("d").await.unwrap();
        assert_eq!(b.ls("").await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn strict_stat_sees_every_change() {
    let (a, b) = pair();
    a.write("f", b"1").await.unwrap();
    assert_eq!(b.stat("f").await.unwrap().attr.size, 1);
    a.write("f", b"22").await.unwrap();
    assert_eq!(b.stat("f").await.unwrap().attr.size, 2);
    let time = Time::seconds(5);
    a.set("f", SetAttr { mtime: Some(SetTime::At(time)), ..SetAttr::default() }).await.unwrap();
    assert_eq!(b.stat("f").await.unwrap().attr.mtime, time);
    a.unlink("f").await.unwrap();
    assert!(matches!(b.stat("f").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn attributes_are_equal_on_all_hosts_and_after_remount() {
    let (a, b) = pair();
    a.mkdir("d").await.unwrap();
    a.write("d/f", b"1").await.unwrap();
    a.rename("d/f", "d/g").await.unwrap();
    for path in ["d", "d/g"] {
        let here = a.stat(path).await.unwrap();
        assert_eq!(here, b.stat(path).await.unwrap(), "{path}");
        assert_eq!(here, Host::new(&a.bucket).stat(path).await.unwrap(), "{path} after remount");
    }
}

#[tokio::test]
async fn an_open_file_stays_one_version_while_the_name_gets_another() {
    let (a, b) = pair();
    a.write("f", b"old version").await.unwrap();
    let open = b.open("f", READ).await.unwrap();
    assert_eq!(&b.fs.read(open.fh, 0, 3).await.unwrap()[..], b"old");
    a.write("f", b"new").await.unwrap();
    assert_eq!(&b.read("f").await.unwrap()[..], b"new");
    assert_eq!(&b.read_open(open).await.unwrap()[..], b"old version");
    assert_eq!(b.fs.getattr(open.id, b.who()).await.unwrap().0.attr.size, 11);
    b.close(open).await.unwrap();
    assert_eq!(&b.read("f").await.unwrap()[..], b"new");
}

#[tokio::test]
async fn bytes_that_are_gone_are_stale_and_never_zeros() {
    let (a, b) = pair();
    let large = vec![7; 3 << 20];
    a.write("f", &large).await.unwrap();
    let open = b.open("f", READ).await.unwrap();
    a.write("f", b"new").await.unwrap();
    assert!(matches!(b.fs.read(open.fh, 2 << 20, 100).await, Err(Error::Stale)));
}

#[tokio::test]
async fn a_small_file_that_is_being_changed_keeps_what_is_below_the_change() {
    for append in [false, true] {
        let (a, b) = pair();
        a.write("f", b"theirs, first").await.unwrap();
        let open = b.open("f", OpenMode { read: !append, write: true, append, ..OpenMode::default() }).await.unwrap();
        a.write("f", b"theirs, second, and longer").await.unwrap();
        b.fs.write(open.fh, 0, super::b("OURS"), false).await.unwrap();
        b.close(open).await.unwrap();
        let expect = if append { &b"theirs, firstOURS"[..] } else { b"OURSrs, first" };
        assert_eq!(&a.read("f").await.unwrap()[..], expect);
    }
}

#[tokio::test]
async fn a_foreign_change_of_metadata_alone_is_seen() {
    let (a, b) = pair();
    a.bucket.inner().set_time(Some(1000));
    a.write("f", b"x").await.unwrap();
    b.stat("f").await.unwrap();
    let mut headers = Headers::default();
    headers.user.insert("mtime".into(), "77".into());
    a.bucket.inner().set_time(Some(2000));
    a.bucket.inner().put_foreign("site/f", &b"x"[..], headers);
    assert_eq!(b.stat("f").await.unwrap().attr.mtime, Time::seconds(77));
    b.read("f").await.unwrap();
    assert_eq!(b.stat("f").await.unwrap().attr.mtime, Time::seconds(77));
}

#[tokio::test]
async fn warm_reads_cost_one_request_per_open_and_stats_none_within_their_time() {
    let bucket = bucket();
    let host = Host::with(&bucket, open_mode(Freshness::Open { stat_ttl: Duration::from_hours(1) }));
    bucket.inner().put_foreign("site/f", &b"x"[..], Headers::default());
    host.read("f").await.unwrap();
    host.requests();
    for _ in 0..3 {
        host.read("f").await.unwrap();
    }
    assert_eq!(host.requests().len(), 3);
    for _ in 0..3 {
        host.stat("f").await.unwrap();
    }
    assert_eq!(host.requests(), []);
}

#[tokio::test]
async fn a_cold_open_asks_once_and_fetches_once() {
    let bucket = bucket();
    let host = Host::with(&bucket, open_mode(second()));
    bucket.inner().put_foreign("site/f", &b"x"[..], Headers::default());
    host.read("f").await.unwrap();
    assert_eq!(host.requests(), [Op::Head, Op::List, Op::Get]);
}

#[tokio::test]
async fn an_age_answers_known_and_absent_names_from_memory() {
    let bucket = bucket();
    let host = Host::with(&bucket, open_mode(Freshness::Age(Duration::from_hours(1))));
    bucket.inner().put_foreign("site/f", &b"x"[..], Headers::default());
    host.read("f").await.unwrap();
    host.ls("").await.unwrap();
    host.requests();
    host.read("f").await.unwrap();
    host.stat("f").await.unwrap();
    host.ls("").await.unwrap();
    assert_eq!(host.requests(), []);
    assert!(matches!(host.stat("g").await, Err(Error::NotFound)));
    bucket.inner().put_foreign("site/g", &b"x"[..], Headers::default());
    assert!(matches!(host.stat("g").await, Err(Error::NotFound)));
    assert_eq!(host.requests(), []);
}

#[tokio::test]
async fn many_readers_of_a_cold_file_share_one_get() {
    let bucket = bucket();
    let host = Arc::new(Host::with(&bucket, open_mode(second())));
    bucket.inner().put_foreign("site/f", vec![5; 500_000], Headers::default());
    let readers: Vec<_> = (0..200)
        .map(|_| {
            tokio::spawn({
                let host = Arc::clone(&host);
                async move { host.read("f").await.unwrap().len() }
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 500_000);
    }
    assert_eq!(host.requests().iter().filter(|op| **op == Op::Get).count(), 1);
}

#[tokio::test]
async fn an_answer_that_overlaps_our_delete_does_not_bring_the_file_back() {
    let host = Arc::new(Host::new(&bucket()));
    host.write("f", b"x").await.unwrap();
    let held = host.bucket.hold(Op::Head, Side::After);
    let mut held = held;
    let stat = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.stat("f").await }
    });
    held.wait_arrived().await;
    let id = NodeId::ROOT;
    host.fs.unlink(id, OsStr::new("f")).await.unwrap();
    held.release();
    assert!(matches!(stat.await.unwrap(), Err(Error::NotFound)));
    assert!(matches!(host.stat("f").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn exclusive_creation_has_one_winner() {
    let bucket = bucket();
    let [a, b] = [0; 2].map(|_| Host::with(&bucket, FsOptions { exclusive: Exclusive::Close, ..options() }));
    let first = a.open("lock", EXCL).await.unwrap();
    let second = b.open("lock", EXCL).await.unwrap();
    a.fs.write(first.fh, 0, Bytes::from_static(b"a"), false).await.unwrap();
    b.fs.write(second.fh, 0, Bytes::from_static(b"b"), false).await.unwrap();
    a.close(first).await.unwrap();
    assert!(matches!(b.close(second).await, Err(Error::Exists)));
    assert_eq!(&b.read("lock").await.unwrap()[..], b"a");
    assert_eq!(b.lost(), 1);
}

#[tokio::test]
async fn a_name_removed_elsewhere_keeps_what_is_unsaved_here() {
    let (a, b) = pair();
    a.mkdir("d").await.unwrap();
    let open = a.open("d/new", WRITE).await.unwrap();
    a.fs.write(open.fh, 0, Bytes::from_static(b"x"), false).await.unwrap();
    b.rmdir("d").await.unwrap();
    a.ls("").await.unwrap();
    a.close(open).await.unwrap();
    assert_eq!(&b.read("d/new").await.unwrap()[..], b"x");
}

/// What the kernel of a host in that mode is told when a listing reveals that a file changed, and another and a directory
/// went; and who changed.
async fn told_of_a_listing(freshness: Freshness) -> (Vec<Invalidation>, NodeId) {
    let bucket = bucket();
    let (a, b) = (Host::new(&bucket), Host::with(&bucket, open_mode(freshness)));
    a.write("changed", b"1").await.unwrap();
    a.write("removed", b"1").await.unwrap();
    a.mkdir("closed").await.unwrap();
    let changed = b.walk("changed", b.who()).await.unwrap();
    b.stat("removed").await.unwrap();
    b.stat("closed").await.unwrap();
    a.write("changed", b"22").await.unwrap();
    a.unlink("removed").await.unwrap();
    a.rmdir("closed").await.unwrap();
    b.ls("").await.unwrap();
    let mut told: Vec<_> = b.stale.lock().unwrap().try_iter().collect();
    told.sort_by_key(|stale| matches!(stale, Invalidation::Attr(_)));
    (told, changed)
}

#[tokio::test]
async fn the_kernel_is_told_what_a_listing_reveals() {
    let (told, changed) = told_of_a_listing(Freshness::Open { stat_ttl: Duration::from_hours(1) }).await;
    let name = Name::from_key("closed").unwrap();
    assert_eq!(told, [Invalidation::Entry { parent: NodeId::ROOT, name }, Invalidation::Attr(changed)]);
}

/// What takes a lock of the kernel is not sent for nothing.
#[tokio::test]
async fn the_kernel_is_not_told_of_names_that_it_asks_for_each_time() {
    let (told, changed) = told_of_a_listing(Freshness::Strict).await;
    assert_eq!(told, [Invalidation::Attr(changed)]);
}

#[tokio::test]
async fn open_files_read_on_below_a_renamed_directory() {
    let host = Host::new(&bucket());
    let large: Vec<u8> = (0..6_000_000_u32).map(|at| u8::try_from(at % 253).unwrap()).collect();
    host.bucket.inner().put_foreign("site/a/large", large.clone(), Headers::default());
    let open = host.open("a/large", READ).await.unwrap();
    assert_eq!(host.fs.read(open.fh, 0, 10).await.unwrap(), large[..10]);
    host.rename("a", "b").await.unwrap();
    assert_eq!(host.read_open(open).await.unwrap(), large);
    assert_eq!(host.stat("b/large").await.unwrap().attr.size, 6_000_000);
}

#[tokio::test]
async fn a_crowd_that_asks_about_one_directory_shares_listings() {
    let bucket = bucket();
    bucket.inner().set_time(Some(1000));
    let host = Arc::new(Host::new(&bucket));
    for n in 0..100 {
        bucket.inner().put_foreign(&format!("site/d/{n}"), &b"x"[..], Headers::default());
        host.stat(&format!("d/{n}")).await.unwrap();
    }
    bucket.inner().delete_foreign("site/d/7");
    bucket.inner().put_foreign("site/d/new", &b"x"[..], Headers::default());
    host.requests();
    let asking = |name: String| {
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            (
                name.clone(),
                host.fs.lookup(host.walk("d", host.who()).await.unwrap(), OsStr::new(&name), host.who()).await,
            )
        })
    };
    let names = (0..100).map(|n| n.to_string()).chain((0..100).map(|n| format!("absent{n}"))).chain(["new".to_owned()]);
    let askers: Vec<_> = names.map(asking).collect();
    for asker in askers {
        let (name, found) = asker.await.unwrap();
        let there = !name.starts_with("absent") && name != "7";
        assert_eq!(found.is_ok(), there, "{name}: {found:?}");
    }
    let requests = host.requests().len();
    assert!(requests < 100, "{requests} requests for 201 names");
}

#[tokio::test]
async fn a_second_change_within_the_same_second_is_seen() {
    let (a, b) = pair();
    let now = crate::clock::wall().sec;
    a.bucket.inner().set_time(Some(now));
    a.mkdir("d").await.unwrap();
    let object = |mtime: &str| Headers { user: [("mtime".to_owned(), mtime.to_owned())].into(), ..Headers::default() };
    a.bucket.inner().put_foreign("site/d/f", &b"x"[..], object("1"));
    b.read("d/f").await.unwrap();
    assert_eq!(b.stat("d/f").await.unwrap().attr.mtime.sec, 1);
    b.stat("d").await.unwrap();
    a.bucket.inner().put_foreign("site/d/f", &b"x"[..], object("2"));
    a.bucket.inner().put_foreign("site/d/", &b""[..], object("3"));
    b.read("d/f").await.unwrap();
    b.ls("d").await.unwrap();
    assert_eq!(b.stat("d/f").await.unwrap().attr.mtime.sec, 2);
    assert_eq!(b.stat("d").await.unwrap().attr.mtime.sec, 3);
}
