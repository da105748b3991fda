//! URLs with a version, over the end of a process.

use super::*;

#[tokio::test]
async fn versions_are_purged_and_asked_for_where_nobody_knows_what_came() {
    let dir = Dir::new();
    let open = || {
        let mut station = station();
        station.common.urls = station.common.urls.versioned(2);
        Purger::open(&dir.0, "site/", vec![station], 1).unwrap()
    };
    let etag = |digit: &str| ETag::new(&format!("\"{}\"", digit.repeat(32)));
    let change = |name: &str, digit: &str| {
        let new = Version { etag: etag(digit), size: 1, modified: None };
        Change::Written { key: key(name), old: Require::Anything, new }
    };
    let purger = open();
    purger.saw(&key("site/a"), &etag("a"));
    assert!(purger.misses(&key("site/b")) && purger.misses(&key("site/a")) && !purger.misses(&key("other/a")));
    purger.announce(&[key("site/a")]).await.unwrap().settle(vec![change("site/a", "b")]);
    let lost = purger.announce(&[key("site/b")]).await.unwrap();
    // Killed before it sends anything, and before the bucket has answered for the second one.
    std::mem::forget((lost, purger));
    let purger = open();
    let outside = always(200);
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    drained(&purger).await;
    run.abort();
    let mut seen = std::mem::take(&mut *outside.seen.lock().unwrap());
    seen.sort();
    let [a, b] = ["a", "b"].map(|digit| format!("a?v={}", digit.repeat(12)));
    let expect = ["a", &a, &b, "b", "b?v=0123456789ab"].map(|path| format!("PURGE http://127.0.0.1:1/{path}"));
    assert_eq!((seen[0].as_str(), &seen[1..]), ("HEAD site/b", &expect[..]));
}
