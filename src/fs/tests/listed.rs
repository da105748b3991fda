//! `attrs=list`: what is shown of files is what any listing tells, whoever asks by whatever way.

use super::{super::types::SetTime, *};
use crate::{
    model::attr::{Kind, Time},
    store::Headers,
};

fn list() -> FsOptions {
    FsOptions { attrs: Attrs::List, ..open_mode(Freshness::Open { stat_ttl: Duration::from_hours(1) }) }
}

fn with(name: &str, value: &str) -> Headers {
    Headers { user: [(name.to_owned(), value.to_owned())].into(), ..Headers::default() }
}

fn modified(host: &Host, path: &str) -> i64 {
    host.bucket.inner().object(&format!("site/{path}")).unwrap().version.modified.unwrap()
}

/// A bucket at a time of its own, with files whose metadata tell of another.
fn old() -> Bucket {
    let bucket = bucket();
    bucket.inner().set_time(Some(1_000_000));
    for n in 0..20 {
        bucket.inner().put_foreign(&format!("site/d/{n}"), &b"x"[..], with("mtime", "5"));
    }
    bucket
}

#[tokio::test]
async fn a_listing_tells_all_attributes() {
    let host = Host::with(&old(), list());
    host.ls("d").await.unwrap();
    host.requests();
    for n in 0..20 {
        let attr = host.stat(&format!("d/{n}")).await.unwrap().attr;
        assert_eq!((attr.size, attr.mtime, attr.kind), (1, Time::seconds(1_000_000), Kind::File));
    }
    assert_eq!(host.requests(), [], "nor does the second listing ask for more");
    host.ls("d").await.unwrap();
    host.stat("d/7").await.unwrap();
    assert_eq!(host.requests(), [Op::List]);
    // Whoever comes by another way sees the same.
    let other = Host::with(&host.bucket, list());
    assert_eq!(other.stat("d/3").await.unwrap().attr.mtime, Time::seconds(1_000_000));
    let exact = Host::with(&host.bucket, options());
    assert_eq!(exact.stat("d/3").await.unwrap().attr.mtime, Time::seconds(5));
}

#[tokio::test]
async fn what_was_written_here_has_the_time_of_the_bucket() {
    let host = Host::with(&old(), list());
    host.ls("d").await.unwrap();
    host.bucket.inner().set_time(Some(2_000_000));
    host.write("d/new", b"12").await.unwrap();
    host.write("d/3", b"123").await.unwrap();
    host.rename("d/4", "d/moved").await.unwrap();
    let other = Host::with(&host.bucket, list());
    for (name, size) in [("d/new", 2), ("d/3", 3), ("d/moved", 1)] {
        for host in [&host, &other] {
            let attr = host.stat(name).await.unwrap().attr;
            assert_eq!((attr.size, attr.mtime), (size, Time::seconds(modified(host, name))), "{name}");
        }
    }
}

#[tokio::test]
async fn a_time_that_is_set_is_kept_for_others() {
    let host = Host::with(&old(), list());
    let set = SetAttr { mtime: Some(SetTime::At(Time::seconds(77))), ..SetAttr::default() };
    host.set("d/3", set).await.unwrap();
    assert_eq!(host.stat("d/3").await.unwrap().attr.mtime, Time::seconds(modified(&host, "d/3")));
    let exact = Host::with(&host.bucket, options());
    assert_eq!(exact.stat("d/3").await.unwrap().attr.mtime, Time::seconds(77));
}

#[tokio::test]
async fn what_others_changed_is_seen_when_it_is_listed_or_opened() {
    let host = Host::with(&old(), list());
    host.ls("d").await.unwrap();
    host.stat("d/3").await.unwrap();
    host.bucket.inner().put_foreign("site/d/3", &b"other"[..], Headers::default());
    host.bucket.inner().put_foreign("site/d/4", &b"other"[..], Headers::default());
    assert_eq!(&host.read("d/4").await.unwrap()[..], b"other");
    host.ls("d").await.unwrap();
    assert_eq!(host.stat("d/3").await.unwrap().attr.size, 5);
    host.bucket.inner().delete_foreign("site/d/5");
    host.ls("d").await.unwrap();
    assert!(matches!(host.stat("d/5").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn links_are_files_and_stay_links_for_others() {
    let bucket = old();
    let made = Host::with(&bucket, options());
    let (parent, name) = made.parent("d/link").await.unwrap();
    made.fs.symlink(parent, name, "target".as_ref(), made.who()).await.unwrap();
    let host = Host::with(&bucket, list());
    assert_eq!(host.stat("d/link").await.unwrap().attr.kind, Kind::File);
    assert_eq!(&host.read("d/link").await.unwrap()[..], b"target");
    host.rename("d/link", "d/moved.jpg").await.unwrap();
    let exact = Host::with(&bucket, options());
    assert_eq!(exact.stat("d/moved.jpg").await.unwrap().attr.kind, Kind::Symlink);
    let (parent, name) = host.parent("d/another").await.unwrap();
    let made = host.fs.symlink(parent, name, "target".as_ref(), host.who()).await;
    assert!(matches!(made, Err(Error::NotPermitted)));
}
