//! Forgetting and warming up: what an administrator asks of a mount.

use super::*;
use crate::{
    fs::{Act, Warmed, Wish},
    model::key::Key,
    store::{Headers, faulty::Side},
};

const AGE: Duration = Duration::from_mins(10);

fn put(bucket: &Bucket, path: &str, body: &'static [u8]) {
    bucket.inner().put_foreign(&format!("site/{path}"), body, Headers::default());
}

/// A host that may be ten minutes behind, over a directory with two files and another with one.
fn behind() -> Host {
    let bucket = bucket();
    bucket.inner().set_time(Some(1000));
    put(&bucket, "d/a", b"old");
    put(&bucket, "d/sub/b", b"old");
    put(&bucket, "e/c", b"old");
    Host::with(&bucket, open_mode(Freshness::Age(AGE)))
}

async fn size(host: &Host, path: &str) -> Option<u64> {
    match host.stat(path).await {
        Ok(stat) => Some(stat.attr.size),
        Err(Error::NotFound) => None,
        Err(err) => panic!("{path}: {err}"),
    }
}

/// As an administrator does it; there is no kernel that could be late.
fn invalidate(host: &Host, path: &str) -> (crate::fs::Forgot, Vec<Invalidation>) {
    host.fs.unlearn(&host.fs.key_of(path).unwrap())
}

#[tokio::test]
async fn what_was_forgotten_is_asked_for_again() {
    let host = behind();
    assert_eq!((size(&host, "d/a").await, size(&host, "d/new").await), (Some(3), None));
    assert_eq!((size(&host, "d/sub/b").await, size(&host, "e/c").await), (Some(3), Some(3)));
    assert_eq!(host.ls("d").await.unwrap(), ["a", "sub/"]);
    for path in ["d/a", "d/new", "d/sub/b", "e/c"] {
        put(&host.bucket, path, b"changed");
    }
    assert_eq!((size(&host, "d/a").await, size(&host, "d/new").await), (Some(3), None), "it may be this old");
    invalidate(&host, "d");
    assert_eq!((size(&host, "d/a").await, size(&host, "d/new").await), (Some(7), Some(7)));
    assert_eq!((size(&host, "d/sub/b").await, size(&host, "e/c").await), (Some(7), Some(3)));
    assert_eq!(host.ls("d").await.unwrap(), ["a", "new", "sub/"]);
    assert_eq!(&host.read("d/a").await.unwrap()[..], b"changed");
    invalidate(&host, "");
    assert_eq!(size(&host, "e/c").await, Some(7));
}

#[tokio::test]
async fn one_name_is_forgotten_without_its_neighbours() {
    let host = behind();
    assert_eq!((size(&host, "d/a").await, size(&host, "d/new").await), (Some(3), None));
    put(&host.bucket, "d/a", b"changed");
    put(&host.bucket, "d/new", b"changed");
    host.requests();
    invalidate(&host, "d/new");
    assert_eq!((size(&host, "d/a").await, size(&host, "d/new").await), (Some(3), Some(7)));
    assert_eq!(host.requests().len(), 2, "one question about one name");
}

#[tokio::test]
async fn an_answer_from_before_is_not_believed() {
    let host = Arc::new(behind());
    let d = host.walk("d", host.who()).await.unwrap();
    let mut held = host.bucket.hold(Op::Head, Side::After);
    let asking = {
        let (host, who) = (Arc::clone(&host), host.who());
        tokio::spawn(async move { host.fs.lookup(d, OsStr::new("a"), who).await })
    };
    held.wait_arrived().await;
    put(&host.bucket, "d/a", b"changed");
    invalidate(&host, "d");
    held.release();
    asking.await.unwrap().unwrap();
    assert_eq!(size(&host, "d/a").await, Some(7));
}

#[tokio::test]
async fn dirty_files_are_left_alone_and_named() {
    let host = behind();
    let open = host.open("d/a", TRUNCATE).await.unwrap();
    host.put(open, "mine").await;
    let (forgot, told) = invalidate(&host, "d");
    assert_eq!(forgot.kept.iter().map(Key::as_str).collect::<Vec<_>>(), ["site/d/a"]);
    assert!(!told.iter().any(|value| matches!(value, Invalidation::Entry { name, .. } if name.as_str() == "a")));
    assert_eq!(size(&host, "d/a").await, Some(4));
    host.close(open).await.unwrap();
    assert_eq!(&Host::new(&host.bucket).read("d/a").await.unwrap()[..], b"mine");
}

#[tokio::test]
async fn the_kernel_is_told_of_names_and_pages() {
    let host = behind();
    let (d, a) = (host.walk("d", host.who()).await.unwrap(), host.walk("d/a", host.who()).await.unwrap());
    let (_, told) = invalidate(&host, "d");
    let name = crate::model::key::Name::from_key("a").unwrap();
    assert_eq!(told, [Invalidation::Pages(a), Invalidation::Entry { parent: d, name }, Invalidation::Pages(d)]);
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_does_not_listen_is_an_error() {
    let host = behind();
    size(&host, "d/a").await;
    let key = host.fs.key_of("d").unwrap();
    assert!(matches!(host.fs.invalidate(&key, Duration::from_secs(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(host.fs.key_of("d/../e"), Err(Error::BadName)));
}

fn wish(patterns: &[&str], metadata: bool) -> Wish {
    Wish { patterns: patterns.iter().map(|&text| text.to_owned()).collect(), metadata, rate: u64::MAX, jobs: 8 }
}

async fn warm(host: &Host, wish: &Wish) -> Warmed {
    let warmed = Arc::default();
    host.fs.warm(wish, &warmed).await.unwrap();
    let warmed = warmed.lock().unwrap();
    warmed.clone()
}

fn count(requests: &[Op]) -> (usize, usize, usize) {
    let of = |op: Op| requests.iter().filter(|other| **other == op).count();
    assert_eq!(of(Op::List) + of(Op::Head) + of(Op::Get), requests.len(), "{requests:?}");
    (of(Op::List), of(Op::Head), of(Op::Get))
}

#[tokio::test]
async fn what_was_warmed_is_opened_without_a_request() {
    let host = behind();
    let big: &'static [u8] = vec![7; 3 << 20].leak();
    put(&host.bucket, "d/big", big);
    let warmed = warm(&host, &wish(&[], false)).await;
    assert_eq!((warmed.found, warmed.done, warmed.failed, warmed.listed), (4, 4, 0, true));
    assert_eq!((warmed.found_bytes, warmed.fetched_bytes, warmed.left_out), (9 + (3 << 20), 9 + (3 << 20), 0));
    // Four directories are listed; a small file is one GET, a large one a HEAD and GETs of its pieces.
    assert_eq!(count(&host.requests()), (4, 1, 4));
    for path in ["d/a", "d/sub/b", "e/c"] {
        assert_eq!(&host.read(path).await.unwrap()[..], b"old");
    }
    assert_eq!(host.read("d/big").await.unwrap().len(), 3 << 20);
    assert_eq!(host.ls("d/sub").await.unwrap(), ["b"]);
    assert_eq!((size(&host, "d/none").await, host.requests()), (None, vec![]));
    let again = warm(&host, &wish(&[], false)).await;
    assert_eq!((again.done, again.fetched_bytes, host.requests()), (4, 0, vec![]));
}

#[tokio::test]
async fn attributes_alone_bring_no_content() {
    let host = behind();
    let warmed = warm(&host, &wish(&["d"], true)).await;
    assert_eq!((warmed.found, warmed.done, warmed.fetched_bytes), (2, 2, 0));
    assert_eq!(count(&host.requests()), (3, 2, 0));
    assert_eq!((size(&host, "d/a").await, size(&host, "d/sub/b").await), (Some(3), Some(3)));
    assert_eq!(host.requests(), []);
    // Elsewhere only what leads there was listed.
    assert_eq!((size(&host, "e/c").await, host.requests().is_empty()), (Some(3), false));
}

#[tokio::test]
async fn patterns_choose_what_is_warmed() {
    let host = behind();
    assert_eq!(warm(&host, &wish(&["*/sub/*", "e/nothing"], false)).await.found, 1);
    assert_eq!(warm(&host, &wish(&["**/c"], false)).await.found, 1);
    let warmed = Arc::default();
    assert!(matches!(host.fs.warm(&wish(&["../x"], false), &warmed).await, Err(Error::Invalid)));
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_remembered_as_it_was() {
    let host = Arc::new(behind());
    let mut held = host.bucket.hold(Op::Get, Side::After);
    let warming = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { warm(&host, &wish(&["d/a"], false)).await })
    };
    held.wait_arrived().await;
    host.write("d/a", b"mine").await.unwrap();
    held.release();
    assert_eq!(warming.await.unwrap().failed, 0);
    assert_eq!(&host.read("d/a").await.unwrap()[..], b"mine");
}

#[tokio::test]
async fn nothing_goes_for_what_is_warmed() {
    let host = Host::cramped(&behind().bucket);
    let big: &'static [u8] = vec![7; 3 << 20].leak();
    put(&host.bucket, "d/big", big);
    let warmed = warm(&host, &wish(&[], false)).await;
    assert!(warmed.left_out > 0, "{warmed:?}");
    assert_eq!((warmed.done, warmed.failed), (4, 0));
}

#[tokio::test]
async fn a_bucket_that_is_away_ends_it() {
    let host = behind();
    for n in 0..50 {
        put(&host.bucket, &format!("many/{n}"), b"x");
    }
    let mut stopped = host.bucket.hold(Op::Get, Side::Before);
    let warming = {
        let (fs, warmed) = (Arc::clone(&host.fs), Arc::new(Mutex::new(Warmed::default())));
        tokio::spawn(async move {
            fs.warm(&Wish { jobs: 2, ..wish(&["many"], false) }, &warmed).await.unwrap();
            let warmed = warmed.lock().unwrap();
            warmed.clone()
        })
    };
    stopped.wait_arrived().await;
    host.bucket.outage(Some(lost_reply()));
    stopped.release();
    let warmed = warming.await.unwrap();
    assert!(warmed.stopped && warmed.done < 20 && warmed.why.is_some(), "{warmed:?}");
}

/// With some kinds of encryption an ETag only looks like a sum: only the bucket knows.
#[tokio::test]
async fn what_the_bucket_cannot_tell_of_is_not_dropped() {
    let host = behind();
    host.read("d/a").await.unwrap();
    let key = host.fs.key_of("d/a").unwrap();
    let version = host.bucket.head(&key).await.unwrap().version;
    std::fs::write(host.cached_file(&version), b"odd").unwrap();
    let verify = || async { host.fs.cached(&["d/a".to_owned()], Act::Verify, Duration::ZERO).await };
    host.bucket.fail(Some(Op::Get), 1, Side::Before, Error::unavailable("away"));
    let told = verify().await.unwrap();
    assert_eq!((told.unknown, told.entries.len()), (1, 0));
    assert_eq!(&host.read("d/a").await.unwrap()[..], b"odd", "it is here still");
    // There is no kernel that would hear of it.
    drop(verify().await);
    assert_eq!(&host.read("d/a").await.unwrap()[..], b"old");
}

impl Host {
    fn cached_file(&self, version: &crate::model::version::Version) -> PathBuf {
        let of_size = |path: &std::path::Path| std::fs::metadata(path).is_ok_and(|meta| meta.len() == version.size);
        let dirs = std::fs::read_dir(self.dir.join("content")).unwrap().map(|dir| dir.unwrap().path());
        let mut files = dirs.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()));
        files.find(|path| of_size(path)).expect("it was read")
    }
}
