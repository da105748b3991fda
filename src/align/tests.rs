//! Over a bucket in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use super::*;
use crate::{
    cdn::policy::{Policy, Wishes},
    store::{
        Headers,
        acl::PRIVATE,
        faulty::{Faulty, Side},
        memory::MemoryStore,
        op::Op,
    },
};

type Bucket = Arc<Faulty<MemoryStore>>;

/// The ACLs of a bucket, and what the mount wants of them.
#[derive(Debug, Default)]
struct Book {
    wanted: Option<&'static str>,
    /// By key; others are private.
    open: Mutex<BTreeMap<String, String>>,
    /// What the next look, and the next change, fails with.
    blind: Mutex<Option<Error>>,
    refused: Mutex<Option<Error>>,
    asked: AtomicU32,
}

impl Acls for Book {
    fn wanted(&self, key: &Key) -> Option<String> {
        let withheld = key.as_str().ends_with("/empty.txt").then_some(PRIVATE);
        self.wanted.map(|acl| withheld.unwrap_or(acl).to_owned())
    }

    async fn readers(&self, key: &Key) -> Result<Readers> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.blind.lock().unwrap().take() {
            Some(err) => Err(err),
            None => Ok(Readers::of_canned(self.open.lock().unwrap().get(key.as_str()).map_or(PRIVATE, |acl| acl))),
        }
    }

    async fn set_acl(&self, key: &Key, acl: &str) -> Result<()> {
        if let Some(err) = self.refused.lock().unwrap().take() {
            return Err(err);
        }
        self.open.lock().unwrap().insert(key.as_str().to_owned(), acl.to_owned());
        Ok(())
    }
}

/// A bucket in which nobody lacks headers, of which some are public.
async fn dressed(wanted: &'static str, open: &[&str]) -> (Bucket, Arc<Book>) {
    let bucket = bucket();
    run(aligner(&bucket)).await;
    bucket.take_calls();
    let open = open.iter().map(|key| ((*key).to_owned(), "public-read".to_owned())).collect();
    (bucket, Arc::new(Book { wanted: Some(wanted), open: Mutex::new(open), ..Book::default() }))
}

fn with(bucket: &Bucket, book: &Arc<Book>) -> Aligner<Faulty<MemoryStore>, Book> {
    Aligner { acls: Arc::clone(book), jobs: 1, ..aligner(bucket) }
}

fn lines(list: &report::List) -> Vec<String> {
    list.names.iter().map(|line| format!("{} {}", line.path, line.why)).collect()
}

fn options() -> FsOptions {
    let prefix = Prefix::parse("site").unwrap();
    let headers = Arc::new(Policy::new(Wishes { prefix, ..Wishes::default() }));
    FsOptions { part_size: 5 << 20, headers, ..FsOptions::plain() }
}

fn aligner(bucket: &Bucket) -> Aligner<Faulty<MemoryStore>, Book> {
    Aligner {
        store: Arc::clone(bucket),
        acls: Arc::default(),
        options: options(),
        prefix: Prefix::parse("site").unwrap(),
        below: String::new(),
        lanes: Lanes::new(std::path::Path::new("/nonexistent"), 5 << 20, 1),
        all: false,
        dry_run: false,
        jobs: 4,
    }
}

fn bucket() -> Bucket {
    let bucket = Arc::new(Faulty::new(MemoryStore::new()));
    bucket.inner().set_time(Some(1_000));
    let theirs = Headers {
        content_type: Some("image/png".to_owned()),
        cache_control: Some("max-age=7".to_owned()),
        user: [("own", "kept")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Headers::default()
    };
    let dir = Headers { content_type: Some("application/x-directory".to_owned()), ..Headers::default() };
    let link = Headers { user: [("mode".to_owned(), "41471".to_owned())].into(), ..Headers::default() };
    for (key, bytes, headers) in [
        ("site/2026/a.css", &b"a{}"[..], Headers::default()),
        ("site/2026/b.jpg", b"<script>1</script>", Headers::default()),
        ("site/2026/", b"", dir),
        ("site/empty.txt", b"", Headers::default()),
        ("site/link", b"2026/a.css", link),
        ("site/theirs.png", b"x", theirs),
        ("site/.originfs/view", b"x", Headers::default()),
        ("elsewhere/a.css", b"x", Headers::default()),
    ] {
        bucket.inner().put_foreign(key, bytes, headers);
    }
    bucket.inner().set_time(Some(2_000));
    bucket
}

async fn run(aligner: Aligner<Faulty<MemoryStore>, Book>) -> Report {
    Arc::new(aligner).run(&Meter::default()).await.unwrap()
}

fn names(list: &report::List) -> Vec<&str> {
    list.names.iter().map(|line| line.path.as_str()).collect()
}

fn headers(bucket: &Bucket, key: &str) -> Headers {
    bucket.inner().object(key).unwrap().headers
}

const LACKING: [&str; 4] = ["2026/a.css", "2026/b.jpg", "empty.txt", "theirs.png"];

#[tokio::test]
async fn what_lacks_headers_gets_them_and_nothing_else_changes() {
    let bucket = bucket();
    let untouched = ["site/2026/", "site/link", "site/.originfs/view", "elsewhere/a.css"];
    let before: Vec<_> = untouched.iter().map(|key| bucket.inner().object(key).unwrap()).collect();
    let report = run(aligner(&bucket)).await;
    assert_eq!((report.files, names(&report.changed), report.failed.count), (4, LACKING[..3].to_vec(), 0));
    assert_eq!(names(&report.kept), ["theirs.png"]);
    let css = headers(&bucket, "site/2026/a.css");
    assert_eq!(css.content_type.as_deref(), Some("text/css; charset=utf-8"));
    assert!(css.cache_control.unwrap().starts_with("public, max-age=300"));
    assert_eq!(css.user.get("mtime").map(String::as_str), Some("1000"), "no file looks changed");
    let download = headers(&bucket, "site/2026/b.jpg").content_disposition;
    assert_eq!(download.as_deref(), Some("attachment; filename*=UTF-8''b.jpg"));
    assert_eq!(headers(&bucket, "site/theirs.png").cache_control.as_deref(), Some("max-age=7"));
    assert_eq!(bucket.inner().get_bytes("site/2026/a.css").unwrap(), &b"a{}"[..]);
    for (key, before) in untouched.iter().zip(before) {
        assert_eq!(bucket.inner().object(key).unwrap(), before, "{key}");
    }
    let again = run(aligner(&bucket)).await;
    assert_eq!((again.files, again.changed.count, names(&again.kept)), (4, 0, vec!["theirs.png"]));
}

#[tokio::test]
async fn what_others_set_goes_where_that_is_wanted() {
    let bucket = bucket();
    let report = run(Aligner { all: true, ..aligner(&bucket) }).await;
    assert_eq!((names(&report.changed), report.kept.count), (LACKING.to_vec(), 0));
    let theirs = headers(&bucket, "site/theirs.png");
    assert!(theirs.cache_control.unwrap().starts_with("public"));
    assert_eq!(theirs.user.get("own").map(String::as_str), Some("kept"));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let bucket = bucket();
    let report = run(Aligner { dry_run: true, ..aligner(&bucket) }).await;
    assert_eq!(names(&report.changed), &LACKING[..3]);
    let calls = bucket.take_calls();
    assert!(calls.iter().all(|call| matches!(call.op, Op::List | Op::Get | Op::Head)), "{calls:?}");
}

#[tokio::test]
async fn a_part_of_the_mount_is_enough() {
    let bucket = bucket();
    let report = run(Aligner { below: "2026/".to_owned(), ..aligner(&bucket) }).await;
    assert_eq!((report.files, names(&report.changed)), (2, vec!["2026/a.css", "2026/b.jpg"]));
}

#[tokio::test]
async fn one_failure_stops_nothing_else() {
    let bucket = bucket();
    bucket.fail(Some(Op::Copy), 1, Side::Before, Error::Denied);
    let report = run(Aligner { jobs: 1, ..aligner(&bucket) }).await;
    assert_eq!((report.files, report.changed.count, names(&report.failed)), (4, 2, vec!["2026/a.css"]));
    bucket.heal();
    assert_eq!(names(&run(aligner(&bucket)).await.changed), ["2026/a.css"]);
}

#[tokio::test]
async fn bytes_that_change_meanwhile_are_not_lost() {
    let bucket = bucket();
    let mut held = bucket.hold(Op::Copy, Side::Before);
    let acting = Arc::new(Aligner { jobs: 1, ..aligner(&bucket) });
    let run = tokio::spawn(async move { acting.run(&Meter::default()).await });
    held.wait_arrived().await;
    bucket.inner().put_foreign("site/2026/a.css", &b"new{}"[..], Headers::default());
    held.release();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.failed.count, 0);
    assert_eq!(bucket.inner().get_bytes("site/2026/a.css").unwrap(), &b"new{}"[..]);
    assert!(headers(&bucket, "site/2026/a.css").cache_control.is_some());
}

#[tokio::test]
async fn what_has_its_headers_still_gets_its_acl() {
    let (bucket, book) = dressed("public-read", &["site/2026/a.css", "site/empty.txt"]).await;
    let expect = ["2026/b.jpg public-read", "empty.txt private", "theirs.png public-read"];
    let told = run(Aligner { dry_run: true, ..with(&bucket, &book) }).await;
    assert_eq!((told.files, told.changed.count, lines(&told.acl)), (4, 0, expect.map(str::to_owned).to_vec()));
    assert_eq!(book.open.lock().unwrap().len(), 2, "a dry run changes nothing");
    let done = run(with(&bucket, &book)).await;
    assert_eq!((lines(&done.acl), done.kept.count, done.failed.count), (expect.map(str::to_owned).to_vec(), 1, 0));
    let open = book.open.lock().unwrap().clone();
    assert_eq!((open["site/2026/b.jpg"].as_str(), open["site/empty.txt"].as_str()), ("public-read", PRIVATE));
    assert!(bucket.take_calls().iter().all(|call| matches!(call.op, Op::List | Op::Get | Op::Head)), "no copy for it");
    assert_eq!(run(with(&bucket, &book)).await.acl.count, 0, "a second run finds nothing to do");
}

#[tokio::test]
async fn nobody_asks_where_the_mount_has_no_say() {
    let (bucket, _) = dressed(PRIVATE, &[]).await;
    let book = Arc::new(Book::default());
    assert_eq!(run(with(&bucket, &book)).await.acl.count, 0);
    assert_eq!(book.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_acl_that_cannot_be_seen_or_set_is_told() {
    let (bucket, book) = dressed(PRIVATE, &["site/2026/b.jpg"]).await;
    *book.blind.lock().unwrap() = Some(Error::Denied);
    *book.refused.lock().unwrap() = Some(Error::Unsupported);
    let report = run(with(&bucket, &book)).await;
    assert_eq!((names(&report.acl_unknown), names(&report.failed)), (vec!["2026/a.css"], vec!["2026/b.jpg"]));
    // Without ACLs nothing is open by one.
    let (bucket, book) = dressed("public-read", &[]).await;
    *book.blind.lock().unwrap() = Some(Error::Unsupported);
    *book.refused.lock().unwrap() = Some(Error::Unsupported);
    let report = run(Aligner { below: "2026/".to_owned(), ..with(&bucket, &book) }).await;
    assert_eq!((report.acl.count, report.acl_unknown.count, report.failed.count), (0, 0, 0));
}
