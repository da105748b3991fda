//! Over a bucket in memory.

use super::*;
use crate::{
    cdn::{
        manifest::Format,
        policy::{Policy, Wishes},
        url::{Base, Mapper},
    },
    model::{
        key::Prefix,
        patterns::{List as Names, Patterns},
        withheld::Withheld,
    },
    store::{Headers, memory::MemoryStore, op::Op},
};

fn options() -> FsOptions {
    let prefix = Prefix::parse("site").unwrap();
    let cdn = Base::parse("https://cdn.example.org", Family::Cdn).unwrap();
    let site = Base::parse("https://www.example.org/images", Family::Site).unwrap();
    let withheld = Withheld::some(prefix.clone(), ["invoices/**"]).unwrap();
    let patterns = Patterns { local: Names::parse("cache/**").unwrap(), hold: Names::parse("*.part").unwrap() };
    let headers = Arc::new(Policy::new(Wishes { prefix: prefix.clone(), withheld, ..Wishes::default() }));
    let urls = Arc::new(Mapper::new(prefix, vec![cdn, site]));
    FsOptions { patterns, headers, urls, ..FsOptions::plain() }
}

async fn urls(bucket: &Arc<MemoryStore>, below: &str, family: Family, types: bool) -> Vec<String> {
    let options = options();
    let store = Arc::clone(bucket);
    let walk = Walk { store, options: &options, prefix: format!("site/{below}"), family, types, jobs: 3 };
    let mut writer = Writer::begin(Vec::new(), Format::Tsv, false).unwrap();
    walk.run(&mut writer).await.unwrap();
    let text = String::from_utf8(writer.end().unwrap().0).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn fields(lines: &[String], at: usize) -> Vec<&str> {
    lines.iter().map(|line| line.split('\t').nth(at).unwrap()).collect()
}

#[tokio::test]
async fn only_what_the_mount_shows_to_the_public_is_listed() {
    let bucket = Arc::new(MemoryStore::new());
    for key in [
        "site/a b+c.png",
        "site/2026/11/x.jpg",
        "site/2026/",
        "site/.originfs/renames/1",
        "site/.htaccess",
        "site/index.php",
        "site/invoices/7.pdf",
        "site/cache/thumb.jpg",
        "site/film.mp4.part",
        "site/a//b.png",
        "site/../b.png",
        "other/a.png",
    ] {
        bucket.put_foreign(key, "1", Headers::default());
    }
    let all = urls(&bucket, "", Family::Cdn, false).await;
    assert_eq!(fields(&all, 0), ["2026/11/x.jpg", "a b+c.png"]);
    let plain = ["https://cdn.example.org/site/2026/11/x.jpg", "https://cdn.example.org/site/a%20b%2Bc.png"];
    assert_eq!(fields(&all, 1), plain);
    let version = Token::of(&bucket.object("site/a b+c.png").unwrap().version);
    assert_eq!(fields(&all, 2)[1], format!("{}?v={version}", plain[1]), "as `originfs url` says it");
    let site = urls(&bucket, "2026/", Family::Site, false).await;
    assert_eq!(fields(&site, 1), ["https://www.example.org/images/2026/11/x.jpg"]);
}

#[tokio::test]
async fn a_list_of_many_takes_a_request_for_a_thousand() {
    let bucket = Arc::new(MemoryStore::new());
    for n in 0..2_500 {
        bucket.put_foreign(&format!("site/{n:05}.jpg"), "1", Headers::default());
    }
    bucket.take_calls();
    let all = urls(&bucket, "", Family::Cdn, false).await;
    assert!(all.len() == 2_500 && all.is_sorted());
    let calls = bucket.take_calls();
    assert!(calls.len() == 3 && calls.iter().all(|call| call.op == Op::List), "{calls:?}");
}

#[tokio::test]
async fn types_are_those_of_the_bucket_and_links_are_no_files() {
    let bucket = Arc::new(MemoryStore::new());
    let typed = |kind: &str| Headers { content_type: Some(kind.to_owned()), ..Headers::default() };
    for n in 0..20 {
        bucket.put_foreign(&format!("site/{n:02}.jpg"), "1", typed(&format!("image/x-{n}")));
    }
    let link = [("mode".to_owned(), "41471".to_owned())];
    bucket.put_foreign("site/05.jpg", "elsewhere", Headers { user: link.into(), ..Headers::default() });
    let all = urls(&bucket, "", Family::Cdn, true).await;
    assert_eq!(all.len(), 19, "a symlink is none");
    assert_eq!((fields(&all, 6)[0], fields(&all, 6)[18]), ("image/x-0", "image/x-19"), "in their order");
}
