use std::sync::Arc;

use super::*;
use crate::store::memory::MemoryStore;

fn gone() -> Error {
    Error::unavailable("lost")
}

fn store() -> Arc<Faulty<MemoryStore>> {
    let memory = MemoryStore::new();
    memory.put_foreign("k", vec![7; 200_000], Headers::default());
    Arc::new(Faulty::new(memory))
}

async fn put(store: &Faulty<MemoryStore>, key: &str) -> Result<Stored> {
    store.put(&Key::new(key), Bytes::from_static(b"x"), &Headers::default(), Require::Absent).await
}

#[tokio::test]
async fn the_nth_call_fails_and_no_other() {
    let store = store();
    store.fail(Some(Op::Put), 2, Side::Before, gone());
    store.head(&Key::new("k")).await.unwrap();
    put(&store, "a").await.unwrap();
    assert!(matches!(put(&store, "b").await, Err(Error::Unavailable(_))));
    put(&store, "b").await.unwrap();
    assert!(!store.is_armed());
    assert_eq!(store.inner().keys(), ["a", "b", "k"]);
    assert_eq!(store.take_calls().len(), 4);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_effect() {
    let store = store();
    store.fail(None, 1, Side::After, gone());
    assert!(matches!(put(&store, "a").await, Err(Error::Unavailable(_))));
    assert!(matches!(put(&store, "a").await, Err(Error::Exists)));
}

#[tokio::test]
async fn a_cut_body_gives_its_first_bytes_and_then_an_error() {
    let store = store();
    store.cut(1, 100_000);
    let Got::Bytes(_, mut body) = store.get(&Key::new("k"), Get::default()).await.unwrap() else { panic!("304") };
    let mut seen = 0;
    let err = loop {
        match body.next().await.expect("the cut comes before the end") {
            Ok(chunk) => seen += chunk.len(),
            Err(err) => break err,
        }
    };
    assert_eq!(seen, 100_000);
    assert!(matches!(err, Error::Unavailable(_)));
}

#[tokio::test]
async fn an_outage_lasts_until_it_ends() {
    let store = store();
    store.outage(Some(gone()));
    for _ in 0..3 {
        assert!(matches!(store.head(&Key::new("k")).await, Err(Error::Unavailable(_))));
    }
    store.outage(None);
    store.head(&Key::new("k")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_waited_for() {
    let store = store();
    store.delay(Some(Op::Put), Duration::from_secs(5));
    let late = tokio::time::timeout(Duration::from_secs(4), put(&store, "a")).await;
    assert!(late.is_err());
    assert_eq!(store.inner().keys(), ["k"]);
    tokio::time::timeout(Duration::from_secs(6), put(&store, "a")).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_holds_hold_two_calls_each_on_its_side() {
    let store = store();
    let mut first = store.hold(Op::Put, Side::Before);
    let mut second = store.hold(Op::Put, Side::After);
    let spawn = |key: &'static str| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { put(&store, key).await })
    };
    let a = spawn("a");
    first.wait_arrived().await;
    let b = spawn("b");
    second.wait_arrived().await;
    assert_eq!(store.inner().keys(), ["b", "k"]);
    put(&store, "c").await.unwrap();
    first.release();
    a.await.unwrap().unwrap();
    assert!(!b.is_finished());
    second.release();
    b.await.unwrap().unwrap();
}
