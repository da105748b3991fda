//! Many questions about one directory at once: one listing answers a page of them, the absent names too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{
    Fs,
    ask::Hint,
    known::{Answer, Seen},
    lock,
};
use crate::{
    clock,
    error::Result,
    model::{key::Key, version::Version},
    store::{List, Store},
};

/// Questions in flight about one directory from which on more of them share a listing: at the prices of S3 a LIST costs
/// as much as 12.5 HEADs.
const CROWD: u32 = 13;

/// The first page of a directory.
#[derive(Debug)]
pub(super) struct Cover {
    asked: Instant,
    wall: i64,
    /// By whole key, without a slash at its end. Directories have no version here.
    names: HashMap<Key, Option<Version>>,
    /// There is no second page, so what is not here is not there.
    whole: bool,
}

/// Questions in flight, by the directory they are about.
#[derive(Debug, Default)]
pub(super) struct Crowds(Arc<Mutex<HashMap<String, u32>>>);

/// One question; it counts until it is dropped.
#[derive(Debug)]
struct Asker {
    crowds: Arc<Mutex<HashMap<String, u32>>>,
    dir: String,
    others: u32,
}

impl Crowds {
    fn join(&self, dir: &str) -> Asker {
        let mut crowds = lock(&self.0);
        let count = crowds.entry(dir.to_owned()).or_default();
        *count += 1;
        Asker { crowds: Arc::clone(&self.0), dir: dir.to_owned(), others: *count - 1 }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut crowds = lock(&self.crowds);
        if let Some(count) = crowds.get_mut(&self.dir) {
            *count -= 1;
            if *count == 0 {
                crowds.remove(&self.dir);
            }
        }
    }
}

impl<S: Store> Fs<S> {
    /// What the bucket holds at `key`. The request is sent after this call began; it may be shared.
    pub(super) async fn look(&self, key: Key, hint: Hint) -> Result<Answer> {
        let dir = key.as_str().rfind('/').map_or("", |slash| &key.as_str()[..=slash]);
        let asker = self.crowds.join(dir);
        if asker.others >= CROWD {
            let store = Arc::clone(&self.store);
            let prefix = dir.to_owned();
            let cover = self.covers.ask(Key::new(dir), move || async move { cover(&*store, prefix).await }).await?;
            if let Some(seen) = cover.answer(&key, &hint) {
                return Ok(self.with_frames(&key, Answer { asked: cover.asked, wall: cover.wall, seen }));
            }
        }
        let answer = self.look_alone(key.clone(), hint).await?;
        Ok(self.with_frames(&key, answer))
    }
}

impl Cover {
    /// `None`: a listing does not tell.
    fn answer(&self, key: &Key, hint: &Hint) -> Option<Seen> {
        match (self.names.get(key), hint) {
            (None, _) if self.whole => Some(Seen::Absent),
            (Some(Some(listed)), Hint::File(Some(known))) if listed.same(known) => Some(Seen::Same(known.clone())),
            _ => None,
        }
    }
}

async fn cover<S: Store>(store: &S, prefix: String) -> Result<Arc<Cover>> {
    let (asked, wall) = (clock::now(), clock::wall().sec);
    let page = store.list(List { prefix, delimiter: true, ..List::default() }).await?;
    let files = page.entries.into_iter().map(|entry| (entry.key, Some(entry.version)));
    let dirs = page.prefixes.iter().map(|dir| (Key::new(dir.as_str().trim_end_matches('/')), None));
    // Directories last: they shadow files of their name.
    Ok(Arc::new(Cover { asked, wall, names: files.chain(dirs).collect(), whole: page.next.is_none() }))
}
