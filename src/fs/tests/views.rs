//! What is remembered of directories: answers under an age, hints elsewhere, and never a wrong answer.

use super::*;
use crate::{
    fs::known::Seen,
    store::{Headers, faulty::Side},
};

const AGE: Duration = Duration::from_mins(1);

fn put(bucket: &Bucket, path: &str) {
    bucket.inner().put_foreign(&format!("site/{path}"), &b"x"[..], Headers::default());
}

/// A host that may be a minute behind and has just listed the directory `d`, with `old` in it.
async fn a_minute_behind() -> Host {
    let bucket = bucket();
    bucket.inner().set_time(Some(1000));
    bucket.inner().put_foreign("site/d/", &b""[..], Headers::default());
    put(&bucket, "d/old");
    let host = Host::with(&bucket, open_mode(Freshness::Age(AGE)));
    assert!(is_absent(&host, "d/absent").await);
    host.requests();
    host
}

async fn is_absent(host: &Host, path: &str) -> bool {
    match host.stat(path).await {
        Ok(_) => false,
        Err(Error::NotFound) => true,
        Err(err) => panic!("{path}: {err}"),
    }
}

#[tokio::test(start_paused = true)]
async fn under_an_age_one_listing_answers_for_all_names_while_it_is_young() {
    let host = a_minute_behind().await;
    tokio::time::advance(AGE).await;
    assert!(is_absent(&host, "d/new").await);
    // The listing that finds the directory unchanged tells of its names as well.
    assert_eq!(host.requests(), [Op::List]);
    put(&host.bucket, "d/new");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(is_absent(&host, "d/new").await && is_absent(&host, "d/other").await);
    assert_eq!(host.ls("d").await.unwrap(), ["old"]);
    assert_eq!(host.requests(), []);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!is_absent(&host, "d/new").await);
    assert_eq!(host.ls("d").await.unwrap(), ["new", "old"]);
}

#[tokio::test(start_paused = true)]
async fn under_an_age_a_listed_name_costs_one_head() {
    let host = a_minute_behind().await;
    put(&host.bucket, "d/sub/file");
    tokio::time::advance(AGE).await;
    host.ls("d").await.unwrap();
    host.requests();
    assert_eq!(host.stat("d/old").await.unwrap().attr.size, 1);
    assert_eq!(host.requests(), [Op::Head]);
    assert_eq!(host.stat("d/sub").await.unwrap().attr.kind, Kind::Dir);
    assert_eq!(host.requests(), [Op::Head]);
    host.stat("d/old").await.unwrap();
    assert_eq!(host.requests(), []);
}

#[tokio::test(start_paused = true)]
async fn own_changes_stay_in_the_view() {
    let host = a_minute_behind().await;
    let d = host.walk("d", host.who()).await.unwrap();
    let [a, b, sub, moved] = ["a", "b", "sub", "moved"].map(OsStr::new);
    host.write("d/a", b"1").await.unwrap();
    assert_eq!(host.requests(), [Op::Put]);
    assert_eq!((host.stat("d/a").await.unwrap().attr.size, host.ls("d").await.unwrap()), (1, names(&["a", "old"])));
    assert!(is_absent(&host, "d/b").await);
    host.fs.rename((d, a), (d, b), RenameMode::Replace).await.unwrap();
    assert_eq!(host.requests(), [Op::Head, Op::Copy, Op::Delete]);
    assert!(is_absent(&host, "d/a").await);
    assert_eq!(host.ls("d").await.unwrap(), ["b", "old"]);
    host.fs.unlink(d, b).await.unwrap();
    assert_eq!(host.requests(), [Op::Delete]);
    assert!(is_absent(&host, "d/b").await && is_absent(&host, "d/sub").await);
    host.fs.mkdir(d, sub, 0o755, host.who()).await.unwrap();
    assert!(is_absent(&host, "d/sub/a").await);
    host.write("d/sub/a", b"1").await.unwrap();
    assert_eq!(host.ls("d/sub").await.unwrap(), ["a"]);
    assert_eq!(host.requests(), [Op::Put, Op::Put]);
    host.fs.rename((d, sub), (d, moved), RenameMode::Replace).await.unwrap();
    host.requests();
    assert!(is_absent(&host, "d/sub").await);
    assert_eq!(host.ls("d").await.unwrap(), ["moved/", "old"]);
    assert_eq!(host.requests(), []);
    assert_eq!(host.ls("d/moved").await.unwrap(), ["a"]);
    host.unlink("d/moved/a").await.unwrap();
    host.fs.rmdir(d, moved).await.unwrap();
    host.requests();
    assert!(is_absent(&host, "d/moved").await);
    assert_eq!(host.ls("d").await.unwrap(), ["old"]);
    assert_eq!(host.requests(), []);
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_confirmed_is_asked_for() {
    for side in [Side::Before, Side::After] {
        let host = a_minute_behind().await;
        assert!(is_absent(&host, "d/lost").await);
        host.bucket.fail(Some(Op::Delete), 1, side, lost_reply());
        assert!(host.unlink("d/old").await.is_err());
        let there = side == Side::Before;
        assert_eq!(host.ls("d").await.unwrap().len(), usize::from(there));
        assert_eq!(is_absent(&host, "d/old").await, !there);
        host.bucket.fail(Some(Op::Put), 1, side, lost_reply());
        assert!(host.mkdir("d/sub").await.is_err());
        host.requests();
        assert_eq!(is_absent(&host, "d/sub").await, there);
        assert!(!host.requests().is_empty());
    }
}

#[tokio::test]
async fn a_change_that_ends_while_its_directory_is_listed_is_in_the_view() {
    let host = Arc::new(a_minute_behind().await);
    host.views_forget("site/d");
    let mut held = host.bucket.hold(Op::List, Side::After);
    let listing = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.ls("d").await }
    });
    held.wait_arrived().await;
    let d = host.walk("d", host.who()).await.unwrap();
    let (_, open) = host.fs.create(d, OsStr::new("new"), 0o644, WRITE, host.who()).await.unwrap();
    host.fs.flush(open.fh).await.unwrap();
    host.fs.release(open.fh).await;
    host.fs.unlink(d, OsStr::new("old")).await.unwrap();
    held.release();
    listing.await.unwrap().unwrap();
    host.requests();
    assert!(is_absent(&host, "d/old").await);
    assert_eq!(host.ls("d").await.unwrap(), ["new"]);
    assert_eq!(host.requests(), []);
}

#[tokio::test]
async fn in_a_long_directory_each_name_costs_one_request() {
    let bucket = bucket();
    for n in 0..10_000 {
        put(&bucket, &format!("d/{n:05}"));
    }
    let host = Host::with(&bucket, open_mode(Freshness::Age(AGE)));
    host.stat("d").await.unwrap();
    host.requests();
    assert!(is_absent(&host, "d/new").await);
    assert_eq!(host.requests(), [Op::List; 2]);
    for n in 0..5 {
        assert!(is_absent(&host, &format!("d/new{n}")).await);
    }
    assert_eq!(host.requests(), [Op::List; 5]);
    // All pages once; with them it is as in a short one.
    assert_eq!(host.ls("d").await.unwrap().len(), 10_000);
    assert_eq!(host.requests(), [Op::List; 9], "it goes on from the first");
    for n in 1..=3 {
        let name = format!("d/zzz{n}");
        assert!(is_absent(&host, &name).await);
        host.write(&name, b"1").await.unwrap();
        assert_eq!(host.ls("d").await.unwrap().len(), 10_000 + n);
        assert_eq!(host.requests(), [Op::Put]);
    }
}

#[tokio::test]
async fn with_open_and_strict_an_absent_name_costs_one_request_each_time() {
    for freshness in [Freshness::Strict, second()] {
        let bucket = bucket();
        put(&bucket, "d/old");
        let host = Host::with(&bucket, open_mode(freshness));
        let d = host.walk("d", host.who()).await.unwrap();
        host.requests();
        // The first answer of a directory that was never listed comes after one trip, be the name there or not.
        assert!(matches!(host.fs.lookup(d, OsStr::new("first"), host.who()).await, Err(Error::NotFound)));
        assert_eq!(host.requests(), [Op::Head, Op::List]);
        for _ in 0..3 {
            assert!(matches!(host.fs.lookup(d, OsStr::new("new"), host.who()).await, Err(Error::NotFound)));
            assert_eq!(host.requests(), [Op::List]);
        }
        put(&bucket, "d/new");
        assert!(host.fs.lookup(d, OsStr::new("new"), host.who()).await.is_ok());
        assert_eq!(host.requests(), [Op::List, Op::Head]);
        assert!(host.fs.lookup(d, OsStr::new("old"), host.who()).await.is_ok());
        assert_eq!(host.requests(), [Op::Head]);
        bucket.inner().delete_foreign("site/d/new");
        assert!(matches!(host.fs.lookup(d, OsStr::new("new"), host.who()).await, Err(Error::NotFound)));
    }
}

/// Whatever a name was, and whatever it is now.
#[tokio::test]
async fn a_hint_that_is_wrong_leads_to_no_wrong_answer() {
    let states = ["absent", "file", "marked", "implicit"];
    let become_ = |bucket: &Bucket, state: &str| {
        for key in ["site/d/n", "site/d/n/", "site/d/n/below"] {
            bucket.inner().delete_foreign(key);
        }
        match state {
            "file" => put(bucket, "d/n"),
            "marked" => put(bucket, "d/n/"),
            "implicit" => put(bucket, "d/n/below"),
            _ => {}
        }
    };
    for was in states {
        for is in states {
            let bucket = bucket();
            put(&bucket, "d/neighbour");
            become_(&bucket, was);
            let host = Host::new(&bucket);
            host.ls("d").await.unwrap();
            become_(&bucket, is);
            let kind = match host.stat("d/n").await {
                Ok(stat) => Some(stat.attr.kind),
                Err(Error::NotFound) => None,
                Err(err) => panic!("{was}, {is}: {err}"),
            };
            let right = match is {
                "absent" => None,
                "file" => Some(Kind::File),
                _ => Some(Kind::Dir),
            };
            assert_eq!(kind, right, "{was}, {is}");
        }
    }
}

#[tokio::test]
async fn a_name_with_many_namesakes_is_found_or_not() {
    let bucket = bucket();
    for n in 0..150 {
        put(&bucket, &format!("d/photo-{n}.jpg"));
    }
    put(&bucket, "d/photo!");
    let host = Host::new(&bucket);
    host.ls("d").await.unwrap();
    assert!(is_absent(&host, "d/photo").await);
    put(&bucket, "d/photo/below");
    assert_eq!(host.stat("d/photo").await.unwrap().attr.kind, Kind::Dir);
    bucket.inner().delete_foreign("site/d/photo/below");
    put(&bucket, "d/photo");
    assert_eq!(host.stat("d/photo").await.unwrap().attr.kind, Kind::File);
    put(&bucket, "d/photo/below");
    let seen = host.fs.line.seen(&crate::model::key::Key::new("site/d/photo"), super::super::ask::Hint::Absent).await;
    assert!(matches!(seen, Ok(Seen::Dir(_))), "{seen:?}");
}

#[tokio::test]
async fn replacing_refuses_what_exists_now_under_any_age() {
    let host = a_minute_behind().await;
    host.write("d/mine", b"mine").await.unwrap();
    assert!(is_absent(&host, "d/theirs").await);
    put(&host.bucket, "d/theirs");
    let renamed = host.rename_as("d/mine", "d/theirs", RenameMode::NoReplace).await;
    assert!(matches!(renamed, Err(Error::Exists)), "{renamed:?}");
    put(&host.bucket, "d/sub/");
    assert!(matches!(host.mkdir("d/sub").await, Err(Error::Exists)));
}

#[tokio::test]
async fn a_listing_carries_sizes_without_a_request() {
    let host = a_minute_behind().await;
    let d = host.walk("d", host.who()).await.unwrap();
    host.bucket.inner().put_foreign("site/d/large", vec![1; 12_345], Headers::default());
    host.views_forget("site/d");
    let fh = host.fs.opendir(d, host.who()).await.unwrap();
    host.requests();
    let entries = host.fs.readdir(d, fh, 0, 100).await.unwrap();
    let sizes: Vec<u64> =
        entries.iter().filter_map(|entry| host.fs.entry(d, fh, entry)).map(|f| f.stat.attr.size).collect();
    assert_eq!(sizes, [12_345, 1]);
    assert_eq!(host.requests(), []);
}

impl Host {
    fn views_forget(&self, dir: &str) {
        self.fs.views.forget(&crate::model::key::Key::new(dir));
    }
}

#[tokio::test]
async fn a_cold_directory_of_many_pages_is_listed_once() {
    for (marked, asked) in [(false, vec![Op::List; 3]), (true, vec![Op::List, Op::Head, Op::List, Op::List])] {
        let host = Host::new(&bucket());
        if marked {
            put(&host.bucket, "d/");
        }
        for n in 0..2100 {
            put(&host.bucket, &format!("d/{n:04}"));
        }
        host.ls("").await.unwrap();
        host.requests();
        assert_eq!(host.ls("d").await.unwrap().len(), 2100);
        let mut requests = host.requests();
        requests.sort_by_key(|op| *op != Op::Head);
        let mut asked = asked;
        asked.sort_by_key(|op| *op != Op::Head);
        assert_eq!(requests, asked);
        // Another open is another question.
        put(&host.bucket, "d/9999");
        assert_eq!(host.ls("d").await.unwrap().len(), 2101);
    }
}

#[tokio::test]
async fn a_tree_of_others_goes_without_a_list_for_each_name() {
    let host = Host::with(&bucket(), aged());
    for n in 0..50 {
        put(&host.bucket, &format!("implicit/{n}"));
    }
    host.ls("implicit").await.unwrap();
    host.requests();
    for n in 0..50 {
        host.unlink(&format!("implicit/{n}")).await.unwrap();
    }
    let requests = host.requests();
    let count = |op| requests.iter().filter(|seen| **seen == op).count();
    assert_eq!((count(Op::Delete), count(Op::Put)), (50, 1));
    assert!(count(Op::List) < 6, "{}", count(Op::List));
    assert_eq!(host.ls("implicit").await.unwrap(), [""; 0]);
    host.rmdir("implicit").await.unwrap();
    assert!(matches!(host.stat("implicit").await, Err(Error::NotFound)));
}
