//! Attributes that are asked for ahead of who walks through a directory.

use super::*;
use crate::store::{Headers, faulty::Side};

const COUNT: usize = 100;

/// Stats may be old enough that no answer gets too old while a test runs.
fn patient() -> FsOptions {
    open_mode(Freshness::Open { stat_ttl: Duration::from_hours(1) })
}

fn name(at: usize) -> String {
    format!("dir/{at:03}")
}

/// A host that has just listed a directory of files that another client made.
async fn listed(options: FsOptions) -> Host {
    let bucket = bucket();
    for at in 0..COUNT {
        bucket.inner().put_foreign(&format!("site/{}", name(at)), name(at), Headers::default());
    }
    let host = Host::with(&bucket, options);
    assert_eq!(host.ls("dir").await.unwrap().len(), COUNT);
    host.requests();
    host
}

impl Host {
    /// Waits until the bucket was asked for `count` names; gives what else it was asked.
    async fn asked_for(&self, count: usize) -> Vec<Op> {
        let mut ops = Vec::new();
        let all = async {
            while ops.iter().filter(|op| **op == Op::Head).count() < count {
                ops.extend(self.requests());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        ops.into_iter().filter(|op| *op != Op::Head).collect()
    }
}

#[tokio::test]
async fn names_in_order_are_asked_for_together_and_once() {
    let host = listed(patient()).await;
    for at in 0..3 {
        assert_eq!(host.stat(&name(at)).await.unwrap().attr.size, 7);
    }
    assert_eq!(host.asked_for(3 + 8).await, [], "three by themselves, and eight ahead of the third");
    for at in 3..COUNT {
        assert_eq!(host.stat(&name(at)).await.unwrap().attr.size, 7);
    }
    assert_eq!(host.asked_for(COUNT - 11).await, [], "each once, and nothing else");
    assert_eq!(host.requests(), []);
}

#[tokio::test]
async fn who_comes_to_a_name_that_is_under_way_waits_for_that_answer() {
    let host = Arc::new(listed(patient()).await);
    for at in 0..2 {
        host.stat(&name(at)).await.unwrap();
    }
    let mut held = host.bucket.hold(Op::Head, Side::Before);
    let third = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.stat(&name(2)).await }
    });
    held.wait_arrived().await;
    // One of the questions is held, whichever came first; all the others are answered.
    let all: Vec<_> = (3..11)
        .map(|at| {
            let host = Arc::clone(&host);
            tokio::spawn(async move { host.stat(&name(at)).await })
        })
        .collect();
    held.release();
    for stat in all.into_iter().chain([third]) {
        assert_eq!(stat.await.unwrap().unwrap().attr.size, 7);
    }
    let mut keys: Vec<_> = host.bucket.take_calls().into_iter().map(|call| call.key).collect();
    let asked = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), asked, "none twice");
}

#[tokio::test]
async fn where_each_stat_has_to_ask_nothing_is_asked_ahead() {
    let host = listed(options()).await;
    for at in 0..10 {
        host.stat(&name(at)).await.unwrap();
        let asked = host.requests().into_iter().filter(|op| *op == Op::Head).count();
        // One for the lookup, one for the getattr.
        assert!(asked <= 2, "{asked} at {at}");
    }
}

#[tokio::test]
async fn what_was_removed_or_cannot_be_asked_for_is_no_other_answer_than_without() {
    let host = listed(patient()).await;
    assert!(host.bucket.inner().delete_foreign("site/dir/005"));
    for at in 0..3 {
        host.stat(&name(at)).await.unwrap();
    }
    host.asked_for(11).await;
    assert!(matches!(host.stat(&name(5)).await, Err(Error::NotFound)));
    host.bucket.outage(Some(lost_reply()));
    assert_eq!(host.stat(&name(10)).await.unwrap().attr.size, 7, "it was asked for before");
    let failed = host.stat(&name(50)).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    host.bucket.outage(None);
    for at in 11..COUNT {
        assert_eq!(host.stat(&name(at)).await.unwrap().attr.size, 7);
    }
}
