use super::*;
use crate::{
    model::version::Version,
    telemetry::{counters::Requests, status::Status},
};

/// Answers by key: `gone` is not found, `dark` gives no answer, `cut` has a body that ends early, all else is there.
struct Keyed;

fn version() -> Version {
    Version { etag: ETag::new("\"1\""), modified: None, size: 4 }
}

fn part(number: u32) -> Part {
    Part { number, etag: ETag::new("\"1\""), size: 4 }
}

fn by_key<T>(key: &Key, value: T) -> Result<T> {
    match key.as_str() {
        "gone" => Err(Error::NotFound),
        "dark" => Err(Error::unavailable("no route")),
        _ => Ok(value),
    }
}

fn upload(key: &Key) -> Upload {
    Upload { key: key.clone(), id: "1".to_owned() }
}

impl Store for Keyed {
    async fn head(&self, key: &Key) -> Result<Object> {
        by_key(key, Object { version: version(), headers: Headers::default() })
    }
    async fn get(&self, key: &Key, _: Get) -> Result<Got> {
        let bytes = if key.as_str() == "cut" { "ab" } else { "abcd" };
        let object = Object { version: version(), headers: Headers::default() };
        by_key(key, Got::Bytes(object, Body::new(Some(Bytes::from(bytes)), 4)))
    }
    async fn list(&self, _: List) -> Result<Page> {
        Ok(Page::default())
    }
    async fn put(&self, key: &Key, _: Bytes, _: &Headers, _: Require) -> Result<Stored> {
        by_key(key, version())
    }
    async fn copy(&self, _: &Key, to: &Key, _: Copy) -> Result<Stored> {
        by_key(to, version())
    }
    async fn delete(&self, key: &Key, _: Require) -> Result<()> {
        by_key(key, ())
    }
    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        Ok(keys.iter().filter(|key| key.as_str() == "dark").map(|key| (key.clone(), Error::Denied)).collect())
    }
    async fn begin(&self, key: &Key, _: &Headers) -> Result<Upload> {
        by_key(key, upload(key))
    }
    async fn part(&self, upload: &Upload, number: u32, _: Bytes) -> Result<Part> {
        by_key(&upload.key, part(number))
    }
    async fn part_copy(&self, upload: &Upload, number: u32, _: &Key, _: Range<u64>, _: &ETag) -> Result<Part> {
        by_key(&upload.key, part(number))
    }
    async fn complete(&self, upload: &Upload, _: &[Part], _: Require) -> Result<Stored> {
        by_key(&upload.key, version())
    }
    async fn abort(&self, upload: &Upload) -> Result<()> {
        by_key(&upload.key, ())
    }
    async fn uploads(&self, _: &str) -> Result<Vec<Upload>> {
        Ok(Vec::new())
    }
}

fn counted() -> (Counted<Keyed>, Arc<Telemetry>) {
    let telemetry = Arc::new(Telemetry::default());
    (Counted::new(Keyed, Arc::clone(&telemetry)), telemetry)
}

async fn open(store: &Counted<Keyed>, key: &str) -> Body {
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
    store.put(&key, Bytes::from("four"), &headers, Require::Anything).await.unwrap();
    store.copy(&key, &key, Copy::default()).await.unwrap();
    store.delete(&key, Require::Anything).await.unwrap();
    store.delete_many(&[key.clone()]).await.unwrap();
    let upload = store.begin(&key, &headers).await.unwrap();
    let part = store.part(&upload, 1, Bytes::from("three")).await.unwrap();
    store.part_copy(&upload, 2, &key, 0..4, &part.etag).await.unwrap();
    store.complete(&upload, &[part], Require::Anything).await.unwrap();
    store.abort(&upload).await.unwrap();
    store.uploads("").await.unwrap();

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
    store.head(&Key::new("dark")).await.unwrap_err();
    let contact = telemetry.contact();
    assert_eq!(contact.last, None);
    let failure = contact.failure.unwrap();
    let seen = (failure.operation.as_str(), failure.key.as_str(), failure.cause.as_str());
    assert_eq!(seen, ("HeadObject", "dark", "no route"));

    store.put(&Key::new("gone"), Bytes::from("x"), &Headers::default(), Require::Anything).await.unwrap_err();
    assert!(telemetry.contact().last.is_some());
    let report = telemetry.report(Status::default());
    let errors = [("not-found".to_owned(), 1), ("unavailable".to_owned(), 1)];
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
    assert!(matches!(open(&store, "cut").await.collect().await, Err(Error::Unavailable(_))));
    assert_eq!(telemetry.counters.errors(), [("unavailable".to_owned(), 1)].into());
    assert_eq!(telemetry.contact().failure.unwrap().operation, "GetObject");
}

#[tokio::test]
async fn keys_that_a_batch_could_not_delete_are_counted() {
    let (store, telemetry) = counted();
    let failed = store.delete_many(&[Key::new("k"), Key::new("dark")]).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(telemetry.counters.errors(), [("denied".to_owned(), 1)].into());
}
