use std::time::Duration;

use super::*;
use crate::{freshness::listing::Listing, model::key::Name};

fn fences() -> Fences {
    Fences::new(Views::new(Key::new("")))
}

/// Nothing here takes as long, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_answer_that_overlaps_a_change_does_not_hold() {
    let fences = fences();
    let key = Key::new("a/b");
    let before = fences.stamp(&key).await;
    assert!(fences.holds(before));
    let fence = fences.raise(&Key::new("a/b/"));
    assert!(!fences.holds(before));
    drop(fence);
    assert!(!fences.holds(before));
    assert!(fences.holds(fences.stamp(&key).await));
}

#[tokio::test]
async fn who_asks_during_a_change_waits_for_its_end() {
    let fences = Arc::new(fences());
    let key = Key::new("a");
    let fence = fences.raise(&key);
    let waiting = tokio::spawn({
        let (fences, key) = (Arc::clone(&fences), key.clone());
        async move { fences.stamp(&key).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(fence);
    assert!(fences.holds(waiting.await.unwrap()));
}

/// Two keys that share a slot.
fn neighbours(fences: &Fences) -> [Key; 2] {
    let first = Key::new("a/slow.mp4");
    let other =
        (0..100_000).map(|n| Key::new(&format!("b/{n}.jpg"))).find(|key| fences.slot(key) == fences.slot(&first));
    [first, other.expect("so many meet every slot")]
}

#[tokio::test]
async fn a_long_upload_hinders_no_other_key() {
    let fences = fences();
    let [slow, other] = neighbours(&fences);
    let upload = fences.raise(&slow);
    let stamp = tokio::time::timeout(DEADLINE, fences.stamp(&other)).await.expect("it waits for another key");
    assert!(fences.holds(stamp));
    let all = fences.stamp_all();
    assert!(fences.holds(all));
    drop(upload);
    assert!(!fences.holds(all));
    assert!(fences.holds(fences.stamp(&other).await));
}

#[tokio::test]
async fn an_answer_about_all_keys_does_not_outlive_the_begin_of_a_change() {
    let fences = fences();
    let before = fences.stamp_all();
    let _change = fences.raise(&Key::new("a"));
    assert!(!fences.holds(before));
    assert!(fences.holds(fences.stamp_all()));
}

#[tokio::test]
async fn who_asks_waits_for_all_changes_of_the_key() {
    let fences = fences();
    let key = Key::new("a");
    let changes = [fences.raise(&key), fences.raise(&key.marker())];
    for change in changes {
        let asked = tokio::time::timeout(Duration::from_millis(1), fences.stamp(&key)).await;
        assert!(asked.is_err(), "a change is still going on");
        drop(change);
    }
    assert!(fences.holds(fences.stamp(&key).await));
}

#[tokio::test]
async fn everything_below_a_changing_directory_is_being_changed() {
    let fences = fences();
    let [above, inside, beside] = ["site", "site/a/b", "site/ab"].map(Key::new);
    let before = [fences.stamp(&inside).await, fences.stamp(&beside).await, fences.stamp_all()];
    let tree = fences.raise_tree(&Key::new("site/a"));
    assert!(before.iter().all(|stamp| !fences.holds(*stamp)));
    assert!(fences.is_up(&inside) && fences.is_up(&Key::new("site/a/")) && !fences.is_up(&beside));
    assert!(fences.is_up_below(&above) && fences.is_up_below(&inside) && !fences.is_up_below(&beside));
    let apart = tokio::time::timeout(DEADLINE, fences.stamp(&beside)).await.expect("it waits for another directory");
    assert!(fences.holds(apart));
    let mut waiting = std::pin::pin!(fences.stamp(&inside));
    let waits = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(waits.is_err(), "the change is still going on");
    let second = fences.raise_tree(&Key::new("site/a"));
    drop(tree);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err(), "and so is the second");
    drop(second);
    let stamp = tokio::time::timeout(DEADLINE, waiting).await.expect("both are over");
    assert!(fences.holds(stamp) && !fences.is_up(&inside));
}

#[test]
fn what_is_being_changed_is_known_by_key_and_by_directory() {
    let fences = fences();
    let change = fences.raise(&Key::new("site/a/b/"));
    assert!(fences.is_up(&Key::new("site/a/b")) && !fences.is_up(&Key::new("site/a")));
    let below = ["", "site", "site/a", "site/a/b", "sit"].map(|dir| fences.is_up_below(&Key::new(dir)));
    assert_eq!(below, [true, true, true, false, false]);
    drop(change);
    assert!(!fences.is_up(&Key::new("site/a/b")) && !fences.is_up_below(&Key::new("")));
}

/// The view of a directory with nothing in it, and changes to it.
#[test]
fn views_know_what_was_made_and_doubt_what_was_not() {
    let views = Views::new(Key::new(""));
    views.begin(&Key::new("")).end(Listing::new(crate::clock::now(), 0));
    let fences = Fences::new(Arc::clone(&views));
    let is = |name: &str| views.get(&Key::new("")).unwrap().is(&Name::from_key(name).unwrap());
    let raise = |name: &str| fences.raise(&Key::new(name));
    raise("made/").made(Is::Dir);
    assert_eq!(is("made"), Some(Is::Dir));
    raise("made").unused();
    assert_eq!(is("made"), Some(Is::Dir));
    drop(raise("made"));
    assert_eq!(is("made"), None);

    // Which of two came last is not known.
    let first = raise("twice");
    raise("twice").made(Is::Absent);
    first.made(Is::Dir);
    assert_eq!(is("twice"), None);
    raise("twice").made(Is::Dir);
    assert_eq!(is("twice"), Some(Is::Dir));
}
