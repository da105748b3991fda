use super::*;
use crate::{
    store::{
        faulty::{Faulty, Side},
        memory::MemoryStore,
    },
    telemetry::{counters::Requests, status::Status},
};

/// A bucket in which `k` holds four bytes.
fn counted() -> (Counted<Faulty<MemoryStore>>, Arc<Telemetry>) {
    let memory = MemoryStore::default();
    memory.put_foreign("k", "abcd", Headers::default());
    let telemetry = Arc::new(Telemetry::default());
    (Counted::new(Faulty::new(memory), Arc::clone(&telemetry)), telemetry)
}

async fn open(store: &Counted<Faulty<MemoryStore>>, key: &str) -> Body {
    match store.get(&Key::new(key), Get::default()).await.unwrap() {
        Got::Bytes(_, body) => body,
        Got::Same { .. } => panic!("nothing was conditional"),
    }
}

#[tokio::test]
async fn every_call_is_counted_under_its_own_name() {
    let (store, telemetry) = counted();
    let key = Key::new("k");
    let headers = Headers::default();
    store.head(&key).await.unwrap();
    open(&store, "k").await.collect().await.unwrap();
    store.list(List::default()).await.unwrap();
    let stored = store.put(&key, Bytes::from("four"), &headers, Require::Anything).await.unwrap();
    store.copy(&key, &key, Copy::default()).await.unwrap();
    let upload = store.begin(&key, &headers).await.unwrap();
    let part = store.part(&upload, 1, Bytes::from("three")).await.unwrap();
    store.part_copy(&upload, 2, &key, 0..4, &stored.etag).await.unwrap();
    store.complete(&upload, &[part], Require::Anything).await.unwrap();
    store.abort(&upload).await.unwrap();
    store.uploads("").await.unwrap();
    store.delete(&key, Require::Anything).await.unwrap();
    store.delete_many(&[key]).await.unwrap();

    let report = telemetry.report(Status::default());
    assert_eq!(report.requests.len(), Op::ALL.len());
    assert!(report.requests.values().all(|requests| *requests == Requests { calls: 1, errors: 0 }), "{report:?}");
    assert_eq!((report.traffic.bytes_in, report.traffic.bytes_out), (4, 9));
    assert!(report.contact.last.is_some() && report.contact.failure.is_none());
    assert_eq!(report.calls_in_flight, 0);
}

#[tokio::test]
async fn an_answer_that_says_no_is_contact_and_silence_is_not() {
    let (store, telemetry) = counted();
    store.store().fail(Some(Op::Head), 1, Side::Before, Error::unavailable("no route"));
    store.head(&Key::new("k")).await.unwrap_err();
    let contact = telemetry.contact();
    assert_eq!(contact.last, None);
    let failure = contact.failure.unwrap();
    let seen = (failure.operation.as_str(), failure.key.as_str(), failure.cause.as_str());
    assert_eq!(seen, ("HeadObject", "k", "no route"));

    store.put(&Key::new("k"), Bytes::from("x"), &Headers::default(), Require::Absent).await.unwrap_err();
    assert!(telemetry.contact().last.is_some());
    let report = telemetry.report(Status::default());
    let errors = [("exists".to_owned(), 1), ("unavailable".to_owned(), 1)];
    assert_eq!(report.errors, errors.into());
    assert_eq!(report.traffic.bytes_out, 0, "nothing was acknowledged");
}

#[tokio::test]
async fn a_body_is_in_flight_until_it_is_dropped() {
    let (store, telemetry) = counted();
    let mut body = open(&store, "k").await;
    assert_eq!(telemetry.inflight.list(crate::clock::now(), 9)[0].key, "k");
    assert_eq!(body.next().await.unwrap().unwrap(), "abcd");
    assert!(body.next().await.is_none());
    drop(body);
    assert!(telemetry.inflight.is_empty());
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_of_the_call() {
    let (store, telemetry) = counted();
    store.store().cut(1, 2);
    assert!(matches!(open(&store, "k").await.collect().await, Err(Error::Unavailable(_))));
    assert_eq!(telemetry.counters.errors(), [("unavailable".to_owned(), 1)].into());
    assert_eq!(telemetry.contact().failure.unwrap().operation, "GetObject");
}
