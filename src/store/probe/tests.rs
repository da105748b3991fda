use std::ops::Range;

use super::*;
use crate::store::{Get, Got, List, Object, Page, Part, Stored, Upload, faulty::Faulty, memory::MemoryStore};

/// A bucket that treats conditions in its own way.
struct Vendor {
    memory: MemoryStore,
    /// What becomes of a condition before the bucket sees it.
    mind: fn(Require) -> Result<Require>,
}

impl Store for Vendor {
    async fn head(&self, key: &Key) -> Result<Object> {
        self.memory.head(key).await
    }
    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        self.memory.get(key, get).await
    }
    async fn list(&self, list: List) -> Result<Page> {
        self.memory.list(list).await
    }
    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        self.memory.put(key, body, headers, (self.mind)(require)?).await
    }
    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        let require = (self.mind)(copy.require)?;
        self.memory.copy(from, to, Copy { require, ..copy }).await
    }
    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        self.memory.delete(key, (self.mind)(require)?).await
    }
    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        self.memory.delete_many(keys).await
    }
    async fn begin(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        self.memory.begin(key, headers).await
    }
    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        self.memory.part(upload, number, body).await
    }
    async fn part_copy(&self, up: &Upload, number: u32, from: &Key, range: Range<u64>, source: &ETag) -> Result<Part> {
        self.memory.part_copy(up, number, from, range, source).await
    }
    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        self.memory.complete(upload, parts, (self.mind)(require)?).await
    }
    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.memory.abort(upload).await
    }
    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        self.memory.uploads(prefix).await
    }
}

/// What is found, and that nothing is left behind.
async fn found(mind: fn(Require) -> Result<Require>) -> Conditional {
    let vendor = Vendor { memory: MemoryStore::new(), mind };
    let found = probe(&vendor, "p/", "t").await;
    assert_eq!(vendor.memory.keys(), Vec::<String>::new());
    assert_eq!(vendor.memory.uploads_open(), 0);
    found
}

fn all(support: Support) -> Conditional {
    Conditional { absent: support, version: support, delete: support, copy: support, complete: support }
}

#[tokio::test]
async fn a_server_that_minds() {
    assert_eq!(found(Ok).await, all(Support::Yes));
}

#[tokio::test]
async fn a_server_that_ignores() {
    assert_eq!(found(|_| Ok(Require::Anything)).await, all(Support::Ignored));
}

#[tokio::test]
async fn a_server_that_says_no() {
    let refuse = |require| if require == Require::Anything { Ok(require) } else { Err(Error::Unsupported) };
    assert_eq!(found(refuse).await, all(Support::Refused));
}

#[tokio::test]
async fn a_server_that_does_not_like_quotes() {
    let fussy = |require| match require {
        Require::Version(etag) if etag.as_str().starts_with('"') => Ok(Require::Version(ETag::new("\"never\""))),
        Require::Version(etag) => Ok(Require::Version(ETag::new(&format!("\"{}\"", etag.as_str())))),
        other => Ok(other),
    };
    let expect = Conditional { version: Support::Unquoted, delete: Support::Unquoted, ..all(Support::Yes) };
    assert_eq!(found(fussy).await, expect);
}

#[tokio::test]
async fn a_server_that_is_away_tells_nothing() {
    let store = Faulty::new(MemoryStore::new());
    store.outage(Some(Error::unavailable("no network")));
    assert_eq!(probe(&store, "", "t").await, Conditional::default());
    store.outage(Some(Error::Denied));
    assert_eq!(probe(&store, "", "t").await, Conditional::default());
}

#[test]
fn it_can_be_said_and_stored() {
    let found = Conditional { version: Support::Unquoted, copy: Support::Ignored, ..all(Support::Yes) };
    let said = "put if absent: yes, put if unchanged: yes (unquoted), delete if unchanged: yes, \
        copy if absent: ignored, multipart if absent: yes";
    assert_eq!(found.to_string(), said);
    let stored = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Conditional>(&stored).unwrap(), found);
}
