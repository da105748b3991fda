//! Every call that changes an object tells of exactly that, and not before the bucket has it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    model::key::Key,
    store::{
        Require,
        watched::{Change, Notice, Watch, Watched},
    },
};

/// Keeps what it is told, with the content that the bucket has at that moment.
#[derive(Clone)]
struct Book {
    bucket: Bucket,
    /// What the bucket had when a change was announced, for the seeded fault.
    early: bool,
    lines: Arc<Mutex<Vec<String>>>,
}

struct Page(Book, Vec<Key>);

impl Book {
    fn note(&self, what: &str, key: &Key) {
        let has = self.bucket.inner().get_bytes(key.as_str());
        let has = has.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(&bytes).chars().take(8).collect());
        if !key.as_str().ends_with('/') {
            self.lines.lock().unwrap().push(format!("{what} {key} {has}"));
        }
    }

    /// What was told since the last time, in order of the keys for what happened at once.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Watch for Book {
    type Notice = Page;

    async fn announce(&self, keys: &[Key]) -> Option<Page> {
        if self.early {
            for key in keys {
                self.note("written", key);
            }
            return None;
        }
        Some(Page(self.clone(), keys.to_owned()))
    }
}

impl Notice for Page {
    fn settle(mut self, changes: Vec<Change>) {
        self.1.clear();
        for change in changes {
            match change {
                Change::Written { key, old: Require::Absent, .. } => self.0.note("created", &key),
                Change::Written { key, .. } => self.0.note("written", &key),
                Change::Deleted { key, .. } => self.0.note("deleted", &key),
                Change::Unsure { key } => self.0.note("unsure", &key),
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.1) {
            self.0.note("unsure", &key);
        }
    }
}

type Seen = Host<Watched<Faulty<MemoryStore>, Book>>;

fn watched(early: bool) -> (Seen, Book) {
    let book = Book { bucket: bucket(), early, lines: Arc::default() };
    let dir = std::env::temp_dir().join(format!(
        "originfs-changes-{}-{}",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    ));
    (at(&book, options(), dir), book)
}

fn at(book: &Book, options: FsOptions, dir: PathBuf) -> Seen {
    let store = Arc::new(Watched::new(Arc::clone(&book.bucket), book.clone()));
    Host::beside(&store, options, dir, 0)
}

/// The order within one call that runs in parallel is anybody's.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[tokio::test]
async fn each_call_tells_of_its_changes_when_they_are_durable() {
    let (host, book) = watched(false);
    host.write("a", b"1").await.unwrap();
    assert_eq!(book.take(), ["written site/a 1"]);
    host.write("a", b"2").await.unwrap();
    assert_eq!(book.take(), ["written site/a 2"]);
    let open = host.open("a", WRITE).await.unwrap();
    host.put(open, "33").await;
    assert_eq!(book.take(), [""; 0], "what is not in the bucket is no change");
    host.fs.fsync(open.fh).await.unwrap();
    assert_eq!(book.take(), ["written site/a 33"]);
    host.close(open).await.unwrap();
    host.read("a").await.unwrap();
    assert_eq!(book.take(), [""; 0], "reading and closing change nothing");
    host.rename("a", "b").await.unwrap();
    assert_eq!(book.take(), ["written site/b 33", "deleted site/a -"]);
    host.write("a", b"4").await.unwrap();
    book.take();
    host.rename("a", "b").await.unwrap();
    assert_eq!(book.take(), ["written site/b 4", "deleted site/a -"]);
    host.unlink("b").await.unwrap();
    assert_eq!(book.take(), ["deleted site/b -"]);
}

#[tokio::test]
async fn a_name_that_is_taken_at_open_is_a_change_too() {
    let (host, book) = watched(false);
    let open = host.create_exclusively("a").await.unwrap();
    assert_eq!(book.take(), ["created site/a "]);
    host.put(open, "1").await;
    host.close(open).await.unwrap();
    assert_eq!(book.take(), ["written site/a 1"]);
}

#[tokio::test]
async fn what_is_large_is_one_change() {
    let (host, book) = watched(false);
    host.write("a", &vec![b'x'; usize::try_from(2 * PART + 1).unwrap()]).await.unwrap();
    assert_eq!(book.take(), ["written site/a xxxxxxxx"]);
}

#[tokio::test]
async fn a_directory_takes_its_files_along() {
    let (host, book) = watched(false);
    host.mkdir("d").await.unwrap();
    assert_eq!(book.take(), [""; 0], "directories have no address");
    for name in ["d/a", "d/b"] {
        host.write(name, b"1").await.unwrap();
    }
    book.take();
    host.rename("d", "e").await.unwrap();
    let expect = ["deleted site/d/a -", "deleted site/d/b -", "written site/e/a 1", "written site/e/b 1"];
    // The copies are made where nothing was.
    assert_eq!(sorted(book.take().iter().map(|line| line.replace("created", "written")).collect()), expect);
}

/// Wherever a rename of a directory is killed, the changes of both runs together cover every key that differs from
/// what was there before.
#[tokio::test]
async fn what_ends_an_interrupted_rename_tells_of_it() {
    for n in 1.. {
        let (mut host, book) = watched(false);
        host.mkdir("d").await.unwrap();
        for name in ["d/a", "d/b"] {
            host.write(name, b"1").await.unwrap();
        }
        let was = book.bucket.inner().keys();
        book.take();
        let mut stopped = book.bucket.stop_at(n, crate::store::faulty::Side::After);
        let done = tokio::select! {
            done = host.rename("d", "e") => { done.unwrap(); true }
            () = stopped.wait() => false,
        };
        book.bucket.heal();
        if done {
            return;
        }
        let dir = std::mem::take(&mut host.dir);
        drop(host);
        let host = at(&book, options(), dir);
        host.fs.recover_renames().await;
        let now = book.bucket.inner().keys();
        let told = book.take().join("\n");
        for key in was.iter().filter(|key| !now.contains(key)).chain(now.iter().filter(|key| !was.contains(key))) {
            assert!(key.ends_with('/') || told.contains(&format!(" {key} ")), "killed at {n}: {key} of {told}");
        }
    }
}

#[tokio::test]
async fn metadata_that_is_rewritten_is_a_change() {
    let (host, book) = watched(false);
    host.write("a", b"1").await.unwrap();
    book.take();
    host.set("a", SetAttr { mode: Some(0o600), ..SetAttr::default() }).await.unwrap();
    assert_eq!(book.take(), [""; 0], "what the mount does not keep is none");
    let time = crate::fs::types::SetTime::At(crate::model::attr::Time { sec: 1, nsec: 0 });
    host.set("a", SetAttr { mtime: Some(time), ..SetAttr::default() }).await.unwrap();
    assert_eq!(book.take(), ["written site/a 1"]);
}

/// The proof that these tests see what they are for: told of before the bucket has it, the content is the old one.
#[tokio::test]
async fn a_change_that_is_told_too_early_would_be_seen() {
    let (host, book) = watched(true);
    host.write("a", b"1").await.unwrap();
    assert_eq!(book.take(), ["written site/a -"]);
}
