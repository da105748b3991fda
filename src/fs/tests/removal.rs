//! What it costs to remove what a directory holds.

use super::*;
use crate::store::Headers;

const COUNT: usize = 30;

/// A host that has just listed a directory of files that another client made, with a marker of its own.
async fn listed(options: FsOptions) -> Host {
    let bucket = bucket();
    for at in 0..COUNT {
        bucket.inner().put_foreign(&format!("site/dir/{at:03}"), "content", Headers::default());
    }
    bucket.inner().put_foreign("site/dir/", "", Headers::default());
    let host = Host::with(&bucket, options);
    assert_eq!(host.ls("dir").await.unwrap().len(), COUNT);
    host.requests();
    host
}

async fn remove(host: &Host, names: std::ops::Range<usize>) {
    for at in names {
        host.unlink(&format!("dir/{at:03}")).await.unwrap();
    }
}

fn count(ops: &[Op], wanted: Op) -> usize {
    ops.iter().filter(|op| **op == wanted).count()
}

#[tokio::test]
async fn a_tree_is_removed_by_one_request_for_each_name() {
    let host = listed(aged()).await;
    remove(&host, 0..COUNT).await;
    let ops = host.requests();
    // The first ones are looked at, and what follows them was asked ahead of that by then.
    assert!(count(&ops, Op::Head) <= 3 + 8, "{ops:?}");
    assert_eq!(count(&ops, Op::Delete), COUNT, "{ops:?}");
    assert_eq!(host.ls("dir").await.unwrap(), [""; 0]);
    assert_eq!(host.bucket.inner().keys(), ["site/dir/"]);
}

#[tokio::test]
async fn who_looks_between_removals_sees_what_is_there() {
    let host = listed(aged()).await;
    let mut link = Headers::default();
    link.user.insert("mode".into(), (libc::S_IFLNK | 0o777).to_string());
    host.bucket.inner().put_foreign("site/dir/020", "target-", link);
    host.ls("dir").await.unwrap();
    remove(&host, 0..12).await;
    assert_eq!(host.stat("dir/015").await.unwrap().attr.size, 7);
    remove(&host, 12..14).await;
    assert_eq!(host.read("dir/016").await.unwrap(), "content");
    remove(&host, 16..19).await;
    assert_eq!(host.stat("dir/020").await.unwrap().attr.kind, Kind::Symlink, "a listing does not tell");
    assert!(matches!(host.unlink("dir/000").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn where_the_bucket_is_asked_for_each_name_it_is_asked_then_too() {
    for freshness in [Freshness::Strict, second()] {
        let host = listed(open_mode(freshness)).await;
        assert!(host.bucket.inner().delete_foreign("site/dir/010"));
        remove(&host, 0..10).await;
        assert!(matches!(host.unlink("dir/010").await, Err(Error::NotFound)), "another client removed it");
    }
}

/// One after the other, each lookup would wait for a round trip of its own.
#[tokio::test]
async fn by_default_the_next_names_are_asked_for_ahead() {
    let host = listed(open_mode(Freshness::Open { stat_ttl: Duration::from_hours(1) })).await;
    remove(&host, 0..6).await;
    let asked_ahead = async {
        let mut heads = 0;
        while heads <= 6 + 3 {
            heads += count(&host.requests(), Op::Head);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked_ahead).await.unwrap();
    remove(&host, 6..COUNT).await;
    assert_eq!(host.bucket.inner().keys(), ["site/dir/"]);
}
