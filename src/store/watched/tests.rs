use std::sync::{Arc, Mutex};

use super::*;
use crate::store::{
    conformance,
    faulty::{Faulty, Side},
    memory::MemoryStore,
    op::Op,
};

/// Keeps what it is told, and what the bucket had of the keys at that moment.
#[derive(Clone, Debug)]
struct Book {
    bucket: Arc<Faulty<MemoryStore>>,
    lines: Arc<Mutex<Vec<String>>>,
}

struct Page(Book, Vec<Key>);

impl Book {
    fn has(&self, key: &Key) -> String {
        self.bucket.inner().get_bytes(key.as_str()).map_or("-".to_owned(), |bytes| format!("{bytes:?}"))
    }

    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Watch for Book {
    type Notice = Page;

    async fn announce(&self, keys: &[Key]) -> Option<Page> {
        let has: Vec<_> = keys.iter().map(|key| format!("{key}={}", self.has(key))).collect();
        self.note(format!("before {}", has.join(" ")));
        Some(Page(self.clone(), keys.to_owned()))
    }
}

impl Notice for Page {
    fn settle(mut self, changes: Vec<Change>) {
        for change in changes {
            let (what, key) = match change {
                Change::Written { key, old: Require::Absent, .. } => ("created", key),
                Change::Written { key, .. } => ("written", key),
                Change::Deleted { key, .. } => ("deleted", key),
                Change::Unsure { key } => ("unsure", key),
            };
            self.0.note(format!("{what} {key}={}", self.0.has(&key)));
        }
        self.1.clear();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for key in &self.1 {
            self.0.note(format!("dropped {key}"));
        }
    }
}

fn watched() -> (Watched<Faulty<MemoryStore>, Book>, Book) {
    let book = Book { bucket: Arc::new(Faulty::new(MemoryStore::new())), lines: Arc::default() };
    (Watched::new(Arc::clone(&book.bucket), book.clone()), book)
}

#[tokio::test]
async fn it_is_a_store_like_the_one_behind() {
    conformance::conforms(
        &Watched::new(Arc::new(MemoryStore::new()), Arc::<OnceLock<Book>>::default()),
        "watched/",
        &conformance::Quirks::default(),
    )
    .await;
}

#[tokio::test]
async fn a_change_is_announced_before_it_and_told_when_it_is_durable() {
    let (store, book) = watched();
    let (a, b) = (Key::new("a"), Key::new("b"));
    let headers = Headers::default();
    store.put(&a, "1".into(), &headers, Require::Absent).await.unwrap();
    store.put(&a, "2".into(), &headers, Require::Anything).await.unwrap();
    store.copy(&a, &b, Copy { require: Require::Absent, ..Copy::default() }).await.unwrap();
    store.delete(&a, Require::Anything).await.unwrap();
    store.delete_many(&[b.clone(), a.clone()]).await.unwrap();
    let upload = store.begin(&a, &headers).await.unwrap();
    let part = store.part(&upload, 1, "3".into()).await.unwrap();
    store.complete(&upload, &[part], Require::Anything).await.unwrap();
    let expect = [
        "before a=-",
        "created a=b\"1\"",
        "before a=b\"1\"",
        "written a=b\"2\"",
        "before b=-",
        "created b=b\"2\"",
        "before a=b\"2\"",
        "deleted a=-",
        "before b=b\"2\" a=-",
        "deleted b=-",
        "deleted a=-",
        "before a=-",
        "written a=b\"3\"",
    ];
    assert_eq!(book.take(), expect);
}

#[tokio::test]
async fn what_got_no_answer_is_unsure() {
    let (store, book) = watched();
    let key = Key::new("a");
    for side in [Side::Before, Side::After] {
        book.bucket.fail(Some(Op::Put), 1, side, Error::unavailable("the connection was reset"));
        store.put(&key, "1".into(), &Headers::default(), Require::Anything).await.unwrap_err();
    }
    book.bucket.fail(Some(Op::DeleteMany), 1, Side::After, Error::unavailable("the connection was reset"));
    store.delete_many(std::slice::from_ref(&key)).await.unwrap_err();
    let expect = ["before a=-", "unsure a=-", "before a=-", "unsure a=b\"1\"", "before a=b\"1\"", "dropped a"];
    assert_eq!(book.take(), expect);
}

#[tokio::test]
async fn what_nobody_waited_for_is_dropped_and_so_known() {
    let (store, book) = watched();
    let mut held = book.bucket.hold(Op::Put, Side::After);
    let (key, headers) = (Key::new("a"), Headers::default());
    tokio::select! {
        _ = store.put(&key, "1".into(), &headers, Require::Anything) => panic!("it is held"),
        () = held.wait_arrived() => {}
    }
    assert_eq!(book.take(), ["before a=-", "dropped a"]);
}
