//! What one request after the other does not show: whether conditions hold when many writers come at once, and whether
//! what was written is what is read.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Conditional, Support};
use crate::{
    error::{Error, Result},
    model::key::{CONTROL, Key},
    store::{Headers, List, Require, Store, Stored},
};

/// Keys that are fought for, and writers for each: where the check and the write are two steps, eight at once never
/// missed the gap so far, and all the writes together cost less than a twentieth of a cent.
const KEYS: usize = 4;
const WRITERS: usize = 8;

/// Keys that are written, listed, replaced, read and deleted.
const ROUNDS: usize = 3;

/// Whether a bucket shows at once what was written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadAfterWrite {
    /// It could not be found out.
    #[default]
    Unknown,
    Yes,
    No,
}

impl fmt::Display for ReadAfterWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Yes => "yes",
            Self::No => "no",
        })
    }
}

/// What the bucket was found to be: `found` by [`super::probe`], and what a crowd of requests shows. About 150 of them
/// in nine round trips, below `{prefix}.originfs/`, on keys with `token`, which are deleted again. Nothing here fails.
pub async fn probe_deeper<S: Store>(
    store: &Arc<S>,
    prefix: &str,
    token: &str,
    found: Conditional,
) -> (Conditional, ReadAfterWrite) {
    let key = |kind: &str, n: usize| Key::new(&format!("{prefix}{CONTROL}/probe-{token}-{kind}{n}"));
    let keys: Vec<Key> = (0..KEYS).map(|n| key("race", n)).collect();
    let rounds: Vec<Key> = (0..ROUNDS).map(|n| key("read", n)).collect();
    let (raced, seen) = tokio::join!(race(store, &keys, found), read_after_write(store, &rounds));
    let all: Vec<Key> = keys.into_iter().chain(rounds).collect();
    match store.delete_many(&all).await {
        Ok(failed) if failed.is_empty() => {}
        other => log::debug!("the probe could not delete all of its keys: {other:?}"),
    }
    (raced, seen)
}

async fn race<S: Store>(store: &Arc<S>, keys: &[Key], found: Conditional) -> Conditional {
    let mut racy = (false, false);
    let mut races = JoinSet::new();
    for key in keys.iter().cloned() {
        races.spawn(race_for(Arc::clone(store), key, found));
    }
    while let Some(done) = races.join_next().await {
        let (absent, version) = done.unwrap_or_default();
        racy = (racy.0 || absent, racy.1 || version);
    }
    let mark = |support: Support, racy: bool| if racy && support.works() { Support::Racy } else { support };
    Conditional {
        absent: mark(found.absent, racy.0),
        version: mark(found.version, racy.1),
        delete: mark(found.delete, racy.1),
        // The same check in front of another way to write.
        copy: mark(found.copy, racy.0),
        complete: mark(found.complete, racy.0),
    }
}

/// Whether more than one writer won: as the first, and over the first.
async fn race_for<S: Store>(store: Arc<S>, key: Key, found: Conditional) -> (bool, bool) {
    let first = if found.absent.works() {
        winners(&store, &key, &Require::Absent, 0).await
    } else {
        usize::from(put(&*store, &key, 0, Require::Anything).await.is_ok())
    };
    let second = match store.head(&key).await {
        Ok(object) if found.version.works() => {
            winners(&store, &key, &Require::Version(object.version.etag), WRITERS).await
        }
        _ => 0,
    };
    (first > 1, second > 1)
}

async fn winners<S: Store>(store: &Arc<S>, key: &Key, require: &Require, from: usize) -> usize {
    let mut writers = JoinSet::new();
    for n in from..from + WRITERS {
        let (store, key, require) = (Arc::clone(store), key.clone(), require.clone());
        writers.spawn(async move { put(&*store, &key, n, require).await.is_ok() });
    }
    let mut won = 0;
    while let Some(done) = writers.join_next().await {
        won += usize::from(done.unwrap_or(false));
    }
    won
}

/// Every number has other bytes, and so another `ETag`.
async fn put<S: Store>(store: &S, key: &Key, n: usize, require: Require) -> Result<Stored> {
    store.put(key, Bytes::from(n.to_string()), &Headers::default(), require).await
}

async fn read_after_write<S: Store>(store: &Arc<S>, keys: &[Key]) -> ReadAfterWrite {
    let mut rounds = JoinSet::new();
    for key in keys {
        let (store, key) = (Arc::clone(store), key.clone());
        rounds.spawn(async move { shows_at_once(&*store, &key).await });
    }
    let mut seen = ReadAfterWrite::Yes;
    while let Some(done) = rounds.join_next().await {
        match done {
            // The others are waited for: what they still write is to be deleted.
            Ok(Ok(false)) => seen = ReadAfterWrite::No,
            Ok(Ok(true)) => {}
            _ if seen == ReadAfterWrite::No => {}
            _ => seen = ReadAfterWrite::Unknown,
        }
    }
    seen
}

async fn shows_at_once<S: Store>(store: &S, key: &Key) -> Result<bool> {
    let listed = async || {
        let list = List { prefix: key.as_str().to_owned(), max: 1, ..List::default() };
        Ok::<_, Error>(store.list(list).await?.entries.iter().any(|entry| entry.key == *key))
    };
    put(store, key, 1, Require::Anything).await?;
    if !listed().await? {
        return Ok(false);
    }
    let new = put(store, key, 22, Require::Anything).await?;
    match store.head(key).await {
        Ok(object) if object.version.same_content(&new) => {}
        Ok(_) | Err(Error::NotFound) => return Ok(false),
        Err(err) => return Err(err),
    }
    store.delete(key, Require::Anything).await?;
    match store.head(key).await {
        Err(Error::NotFound) => Ok(!listed().await?),
        Ok(_) => Ok(false),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ops::Range,
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::{super::probe, *};
    use crate::{
        model::version::ETag,
        store::{Copy, Get, Got, Object, Page, Part, Upload, faulty::Faulty, memory::MemoryStore},
    };

    /// A bucket that is not what it should be.
    #[derive(Default)]
    struct Odd {
        memory: MemoryStore,
        /// Checks the condition of a PUT, and writes later.
        racy: bool,
        /// Shows the listing of a while ago.
        lists_late: bool,
        /// Shows deleted objects once more.
        deletes_late: bool,
        deleted: Mutex<Option<Object>>,
        listed: AtomicBool,
    }

    impl Store for Odd {
        async fn head(&self, key: &Key) -> Result<Object> {
            let deleted = self.deleted.lock().unwrap().take();
            match deleted {
                Some(object) => Ok(object),
                None => self.memory.head(key).await,
            }
        }
        async fn get(&self, key: &Key, get: Get) -> Result<Got> {
            self.memory.get(key, get).await
        }
        async fn list(&self, list: List) -> Result<Page> {
            let late = self.lists_late && !self.listed.swap(true, Ordering::Relaxed);
            if late { Ok(Page::default()) } else { self.memory.list(list).await }
        }
        async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
            if !self.racy {
                return self.memory.put(key, body, headers, require).await;
            }
            let there = self.memory.head(key).await;
            match (require, there) {
                (Require::Absent, Ok(_)) => return Err(Error::Exists),
                (Require::Version(etag), Ok(object)) if etag != object.version.etag => return Err(Error::Stale),
                (Require::Version(_), Err(err)) => return Err(err),
                _ => {}
            }
            tokio::task::yield_now().await;
            self.memory.put(key, body, headers, Require::Anything).await
        }
        async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
            self.memory.copy(from, to, copy).await
        }
        async fn delete(&self, key: &Key, require: Require) -> Result<()> {
            if self.deletes_late {
                *self.deleted.lock().unwrap() = self.memory.object(key.as_str());
            }
            self.memory.delete(key, require).await
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
        async fn part_copy(&self, up: &Upload, n: u32, from: &Key, range: Range<u64>, source: &ETag) -> Result<Part> {
            self.memory.part_copy(up, n, from, range, source).await
        }
        async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
            self.memory.complete(upload, parts, require).await
        }
        async fn abort(&self, upload: &Upload) -> Result<()> {
            self.memory.abort(upload).await
        }
        async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
            self.memory.uploads(prefix).await
        }
    }

    fn all(support: Support) -> Conditional {
        Conditional { absent: support, version: support, delete: support, copy: support, complete: support }
    }

    async fn found(odd: Odd) -> (Conditional, ReadAfterWrite) {
        let odd = Arc::new(odd);
        let deeper = probe_deeper(&odd, "p/", "t", all(Support::Yes)).await;
        assert_eq!(odd.memory.keys(), Vec::<String>::new());
        deeper
    }

    #[tokio::test]
    async fn a_server_that_is_what_it_should_be() {
        assert_eq!(found(Odd::default()).await, (all(Support::Yes), ReadAfterWrite::Yes));
    }

    /// One after the other, it looks right.
    #[tokio::test]
    async fn a_server_that_checks_and_then_writes() {
        let odd = Odd { racy: true, ..Odd::default() };
        assert_eq!(probe(&odd, "p/", "t").await.absent, Support::Yes);
        assert_eq!(found(odd).await, (all(Support::Racy), ReadAfterWrite::Yes));
        assert!(!Support::Racy.works() && Support::Racy.fails());
    }

    #[tokio::test]
    async fn a_server_that_shows_yesterday() {
        let late = found(Odd { lists_late: true, ..Odd::default() }).await;
        assert_eq!(late, (all(Support::Yes), ReadAfterWrite::No));
        let late = found(Odd { deletes_late: true, ..Odd::default() }).await;
        assert_eq!(late.1, ReadAfterWrite::No);
    }

    #[tokio::test]
    async fn what_does_not_work_is_not_raced_for() {
        let odd = Arc::new(Odd { racy: true, ..Odd::default() });
        let found = all(Support::Ignored);
        assert_eq!(probe_deeper(&odd, "", "t", found).await, (found, ReadAfterWrite::Yes));
    }

    #[tokio::test]
    async fn a_server_that_is_away_tells_nothing_new() {
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        store.outage(Some(Error::unavailable("no network")));
        let found = all(Support::Yes);
        assert_eq!(probe_deeper(&store, "", "t", found).await, (found, ReadAfterWrite::Unknown));
    }
}
