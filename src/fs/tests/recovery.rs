//! Renames that are killed at every one of their requests: the next run finds its way from what is on the disk and in
//! the bucket, whatever others did meanwhile.

use std::collections::BTreeMap;

use super::*;
use crate::store::{Headers, Object, faulty::Side};

type Contents = BTreeMap<String, Bytes>;

const FILES: [&str; 4] = ["/1", "/2", "/sub/3", "/implicit/4"];

fn all(bucket: &MemoryStore) -> Contents {
    bucket.keys().into_iter().map(|key| (key.clone(), bucket.get_bytes(&key).unwrap())).collect()
}

fn tree(bucket: &MemoryStore) {
    for key in ["site/a/", "site/a/sub/", "site/other/"] {
        bucket.put_foreign(key, Bytes::new(), Headers::default());
    }
    for rest in FILES {
        bucket.put_foreign(&format!("site/a{rest}"), format!("content of {rest}"), Headers::default());
    }
}

fn file(bucket: &MemoryStore) {
    bucket.put_foreign("site/d/", Bytes::new(), Headers::default());
    bucket.put_foreign("site/d/a", &b"new"[..], Headers::default());
    bucket.put_foreign("site/b", &b"old"[..], Headers::default());
}

/// What is done and checked around each kill.
struct Scene {
    /// Whether the bucket honours conditions.
    strict: bool,
    prepare: fn(&MemoryStore),
    from: &'static str,
    to: &'static str,
    /// What others do before the host is back.
    meddle: fn(&MemoryStore),
    /// What there was when the host came back, and what there is now.
    check: fn(&Contents, &Contents),
}

impl Scene {
    async fn play(&self) {
        for side in [Side::Before, Side::After] {
            for n in 1_u32.. {
                assert!(n < 100, "the rename makes no end of requests");
                if !self.kill_at(n, side).await {
                    break;
                }
            }
        }
    }

    fn host(&self, bucket: &Bucket) -> Host {
        let host = Host::new(bucket);
        if !self.strict {
            host.fs.set_conditional(Conditional::default());
        }
        host
    }

    /// Whether there was such a request.
    async fn kill_at(&self, n: u32, side: Side) -> bool {
        let bucket = bucket();
        bucket.inner().set_time(Some(1000));
        (self.prepare)(bucket.inner());
        bucket.inner().set_time(Some(2000));
        let host = Arc::new(self.host(&bucket));
        let mut stopped = bucket.stop_at(n.into(), side);
        let (acting, from, to) = (Arc::clone(&host), self.from, self.to);
        let mut rename = tokio::spawn(async move { acting.rename(from, to).await });
        let done = tokio::select! {
            done = &mut rename => Some(done.unwrap()),
            () = stopped.wait() => None,
        };
        if let Some(done) = done {
            done.unwrap();
            assert_eq!(host.journals(), 0);
            return false;
        }
        rename.abort();
        assert!(rename.await.unwrap_err().is_cancelled());
        bucket.heal();
        bucket.inner().set_time(Some(3000));
        (self.meddle)(bucket.inner());
        let before = all(bucket.inner());
        let host = Arc::into_inner(host).expect("the rename has ended").killed();
        if !self.strict {
            host.fs.set_conditional(Conditional::default());
        }
        // The bucket fails once more, and the host is killed once more: nothing gets worse.
        bucket.fail(None, 2, Side::After, lost_reply());
        host.fs.recover_renames().await;
        bucket.heal();
        let host = host.killed();
        let (_, open) = host.fs.recover_renames().await;
        assert_eq!((open, host.journals()), (0, 0), "request {n} {side:?}");
        let after = all(bucket.inner());
        println!("request {n} {side:?}: {:?} became {:?}", before.keys(), after.keys());
        nothing_is_lost(&before, &after, self.from, self.to);
        (self.check)(&before, &after);
        assert!(host.ls("").await.is_ok());
        true
    }
}

/// Every content that was to be had under one of the two names of a file still is.
fn nothing_is_lost(before: &Contents, after: &Contents, from: &str, to: &str) {
    for (key, content) in before {
        let rest = |dir: &str| key.strip_prefix(&format!("site/{dir}")).map(str::to_owned);
        let Some(rest) = rest(from).or_else(|| rest(to)) else {
            assert_eq!(after.get(key), Some(content), "{key}");
            continue;
        };
        let now = [from, to].map(|dir| after.get(&format!("site/{dir}{rest}")));
        assert!(now.contains(&Some(content)), "{key}: {content:?} is under neither name");
    }
}

/// All files are there once, in one of the two trees.
fn whole(_: &Contents, after: &Contents) {
    let below = |dir: &str| {
        let prefix = format!("site/{dir}/");
        after.keys().filter(|key| key.starts_with(&prefix)).count()
    };
    let all = FILES.len() + 2;
    assert!([(all, 0), (0, all)].contains(&(below("a"), below("b"))), "{:?}", after.keys());
    assert_eq!(after.len(), all + 1);
}

#[tokio::test]
async fn a_killed_rename_of_a_directory_leaves_one_tree() {
    for strict in [true, false] {
        let scene = Scene { strict, prepare: tree, from: "a", to: "b", meddle: |_| {}, check: whole };
        scene.play().await;
    }
}

#[tokio::test]
async fn a_killed_rename_over_an_empty_directory_leaves_it_there() {
    let prepare = |bucket: &MemoryStore| {
        tree(bucket);
        bucket.put_foreign("site/b/", Bytes::new(), Headers::default());
    };
    let check = |_: &Contents, after: &Contents| {
        assert!(after.contains_key("site/b/"));
        let moved = after.contains_key("site/b/1");
        for rest in FILES {
            assert_eq!(after.contains_key(&format!("site/b{rest}")), moved);
            assert_eq!(after.contains_key(&format!("site/a{rest}")), !moved);
        }
    };
    Scene { strict: true, prepare, from: "a", to: "b", meddle: |_| {}, check }.play().await;
}

fn replaced(bucket: &MemoryStore, key: &str) {
    bucket.put_foreign(key, &b"foreign"[..], Headers::default());
}

#[tokio::test]
async fn what_others_wrote_since_is_left_alone() {
    for strict in [true, false] {
        let meddle = |bucket: &MemoryStore| {
            for key in ["site/a/1", "site/b/2", "site/a/new", "site/b/new"] {
                replaced(bucket, key);
            }
        };
        let check = |_: &Contents, after: &Contents| {
            for key in ["site/a/1", "site/b/2", "site/a/new", "site/b/new"] {
                assert_eq!(&after[key][..], b"foreign", "{key}");
            }
            // Those that nobody touched are there once.
            for rest in ["/sub/3", "/implicit/4"] {
                let there = ["a", "b"].map(|dir| after.contains_key(&format!("site/{dir}{rest}")));
                assert!(there[0] != there[1], "{rest}: {there:?}");
            }
        };
        Scene { strict, prepare: tree, from: "a", to: "b", meddle, check }.play().await;
    }
}

#[tokio::test]
async fn the_same_bytes_written_again_are_newer() {
    let meddle = |bucket: &MemoryStore| {
        for dir in ["a", "b"] {
            bucket.put_foreign(&format!("site/{dir}/1"), "content of /1", type_of("text/x-again"));
        }
    };
    let check =
        |_: &Contents, after: &Contents| assert!(after.contains_key("site/a/1") && after.contains_key("site/b/1"));
    Scene { strict: true, prepare: tree, from: "a", to: "b", meddle, check }.play().await;
}

/// Whether it was there or not.
fn delete(bucket: &MemoryStore, key: &str) {
    bucket.delete_foreign(key);
}

fn type_of(text: &str) -> Headers {
    Headers { content_type: Some(text.to_owned()), ..Headers::default() }
}

#[tokio::test]
async fn what_others_deleted_since_costs_nobody_the_last_copy() {
    for strict in [true, false] {
        for key in ["site/a/2", "site/b/2"] {
            // nothing_is_lost() compares with what there was after this.
            let meddle = if key == "site/a/2" {
                |bucket: &MemoryStore| delete(bucket, "site/a/2")
            } else {
                |bucket: &MemoryStore| delete(bucket, "site/b/2")
            };
            Scene { strict, prepare: tree, from: "a", to: "b", meddle, check: |_, _| {} }.play().await;
        }
    }
}

#[tokio::test]
async fn a_killed_rename_of_a_file_leaves_one_name() {
    for strict in [true, false] {
        let check = |before: &Contents, after: &Contents| {
            let copied = &before["site/b"][..] == b"new";
            assert_eq!((&after["site/b"] == "new", after.contains_key("site/d/a")), (copied, !copied));
            assert!(after.contains_key("site/d/"));
        };
        Scene { strict, prepare: file, from: "d/a", to: "b", meddle: |_| {}, check }.play().await;
    }
}

#[tokio::test]
async fn a_file_that_others_changed_since_keeps_its_names() {
    let check = |before: &Contents, after: &Contents| assert_eq!(before, after);
    let source = |bucket: &MemoryStore| replaced(bucket, "site/d/a");
    Scene { strict: true, prepare: file, from: "d/a", to: "b", meddle: source, check }.play().await;
    let target = |bucket: &MemoryStore| replaced(bucket, "site/b");
    Scene { strict: true, prepare: file, from: "d/a", to: "b", meddle: target, check }.play().await;
    let gone = |bucket: &MemoryStore| delete(bucket, "site/b");
    Scene { strict: true, prepare: file, from: "d/a", to: "b", meddle: gone, check }.play().await;
}

/// A failure that is no crash: told, and the rename can be repeated at once.
#[tokio::test]
async fn a_rename_that_fails_at_any_request_can_be_repeated() {
    for side in [Side::Before, Side::After] {
        for n in 1_u32.. {
            assert!(n < 100, "the rename makes no end of requests");
            let bucket = bucket();
            tree(bucket.inner());
            let host = Host::new(&bucket);
            bucket.fail(None, n.into(), side, lost_reply());
            let done = host.rename("a", "b").await;
            let struck = !bucket.is_armed();
            bucket.heal();
            let after = all(bucket.inner());
            nothing_is_lost(
                &BTreeMap::from(FILES.map(|rest| (format!("site/a{rest}"), format!("content of {rest}").into()))),
                &after,
                "a",
                "b",
            );
            if let Err(err) = done {
                assert!(matches!(err, Error::Unavailable(_)), "request {n} {side:?}: {err:?}");
                host.rename("a", "b")
                    .await
                    .unwrap_or_else(|err| panic!("again, after {n} {side:?}: {err:?}; {:?}", after.keys()));
            }
            whole(&after, &all(bucket.inner()));
            assert_eq!((host.journals(), bucket.inner().get_bytes("site/a/1")), (0, None));
            assert_eq!(host.read("b/sub/3").await.unwrap(), "content of /sub/3");
            if !struck {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_bucket_that_goes_away_is_waited_for() {
    let bucket = bucket();
    tree(bucket.inner());
    let host = Arc::new(Host::new(&bucket));
    let mut stopped = bucket.stop_at(14, Side::After);
    let acting = Arc::clone(&host);
    let rename = tokio::spawn(async move { acting.rename("a", "b").await });
    stopped.wait().await;
    rename.abort();
    rename.await.unwrap_err();
    bucket.heal();
    bucket.outage(Some(lost_reply()));
    let host = Arc::into_inner(host).unwrap().killed();
    assert_eq!((host.fs.recover_renames().await, host.journals()), ((1, 1), 1));
    let host = host.killed();
    bucket.heal();
    assert_eq!((host.fs.recover_renames().await, host.journals()), ((1, 0), 0));
    whole(&Contents::new(), &all(bucket.inner()));
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_kept_and_harms_nothing() {
    let bucket = bucket();
    tree(bucket.inner());
    let before: Vec<Object> = bucket.inner().keys().iter().map(|key| bucket.inner().object(key).unwrap()).collect();
    let host = Host::new(&bucket);
    std::fs::write(host.dir.join("renames/1.rename"), "no sum\n").unwrap();
    let host = host.killed();
    assert_eq!(host.fs.recover_renames().await, (1, 1));
    assert!(host.dir.join("renames/1.broken").exists());
    assert_eq!(host.requests(), []);
    let after: Vec<Object> = bucket.inner().keys().iter().map(|key| bucket.inner().object(key).unwrap()).collect();
    assert_eq!(before, after);
}
