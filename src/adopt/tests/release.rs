//! What may be deleted, and what may not come back.

use super::*;

#[tokio::test]
async fn only_what_is_proven_is_released() {
    let mut lab = Lab::new();
    lab.options.patterns.local = List::parse("*.log").unwrap();
    for name in ["a", "d/b", "d/e/c", "lost", "changed", "d/x.log"] {
        lab.write(name, name);
    }
    fs::create_dir(lab.path("empty")).unwrap();
    assert!(lab.adopt().await.is_complete());
    let (report, _) = lab.prove().await;
    assert!(report.is_complete(), "{report:?}");
    lab.store.inner().delete_foreign("p/lost");
    lab.store.inner().put_foreign("p/changed", "CHANGED", Headers::default());
    let (report, seen) = lab.prove().await;
    assert_eq!((names(&report.missing), names(&report.conflicts)), (vec!["lost"], vec!["changed"]));
    assert!(!report.is_complete());
    // Written after the proof.
    lab.write("a", "later");
    let released = lab.adopter().release(seen).await.unwrap();
    assert_eq!((released.files, released.directories, released.kept), (2, 2, 4), "{released:?}");
    let left = |name: &str| lab.path(name).exists();
    assert!(left("a") && left("lost") && left("changed") && left("d/x.log"));
    assert!(!left("d/b") && !left("d/e") && !left("empty"));
}

#[tokio::test]
async fn what_was_adopted_and_deleted_since_does_not_come_back() {
    let mut lab = Lab::new();
    lab.write("a", b"a");
    assert!(lab.adopt().await.is_complete());
    lab.store.inner().delete_foreign("p/a");
    lab.write("new", b"new");
    let path = lab.path("new");
    let changed = || Time::seconds(std::os::unix::fs::MetadataExt::ctime(&fs::metadata(&path).unwrap()));
    lab.since = Some(Time { sec: changed().sec + 1, nsec: 0 });
    let report = lab.adopt().await;
    assert_eq!(report.missing.count, 2, "{report:?}");
    lab.since = Some(changed());
    lab.write("new", b"newer");
    assert!(lab.adopt().await.uploaded >= 1);
}

#[tokio::test]
async fn nothing_is_proven_while_somebody_writes() {
    let lab = Lab::new();
    lab.write("a", b"a");
    assert!(lab.adopt().await.is_complete());
    let open = fs::File::options().append(true).open(lab.path("a")).unwrap();
    let (report, seen) = lab.prove().await;
    assert_eq!((names(&report.changing), seen.len()), (vec!["a"], 0));
    drop(open);
    assert!(lab.prove().await.0.is_complete());
}
