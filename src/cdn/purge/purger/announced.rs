//! Changes on their way to the bucket, from before their request until its answer.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, atomic::Ordering},
};

use super::Purger;
use crate::{
    cdn::{
        purge::{
            outbox::Id,
            target::Target,
            versions::{Seen, Versions},
        },
        url::Token,
    },
    model::{key::Key, version::ETag},
    store::watched::{Change, Notice, Watch},
};

/// What was announced and has not been settled.
#[derive(Debug)]
pub struct Announced {
    pub(super) purger: Arc<Purger>,
    /// The number of the first; `None`: the disk would not take them, so they are lost with the process.
    pub(super) first: Option<Id>,
    pub(super) keys: Vec<Arc<str>>,
    /// Of each key, as they were before.
    pub(super) versions: Vec<Versions>,
}

impl Watch for Arc<Purger> {
    type Notice = Announced;

    async fn announce(&self, keys: &[Key]) -> Option<Announced> {
        let keys: Vec<Arc<str>> =
            keys.iter().filter(|key| self.concerns(key)).map(|key| Arc::from(key.as_str())).collect();
        if keys.is_empty() {
            return None;
        }
        let versions = keys.iter().map(|key| self.versions(key)).collect();
        let announced = self.note(keys, versions);
        if let Some(last) = announced.ids().last()
            && let Err(err) = self.outbox.sync(last).await
        {
            log::error!("purges may not survive a power loss: {err}");
        }
        #[cfg(debug_assertions)]
        if self.hasty.load(Ordering::Relaxed) {
            return None;
        }
        Some(announced)
    }

    fn saw(&self, key: &Key, etag: &ETag) {
        if self.concerns(key)
            && let Some(mut seen) = self.seen()
        {
            seen.add(key.as_str(), Token::of_etag(etag));
        }
    }

    fn misses(&self, key: &Key) -> bool {
        // Also of what was seen: another host may have replaced it since, and edges have that for a year.
        self.concerns(key) && self.seen.is_some()
    }

    async fn effect(&self, key: &Key) {
        if self.sync.load(Ordering::Relaxed) && self.concerns(key) {
            self.purged(key.as_str()).await;
        }
    }
}

impl Purger {
    /// Versions that edges may have of a key, as far as this host knows.
    pub fn versions(&self, key: &str) -> Versions {
        self.seen().map(|seen| seen.of(key)).unwrap_or_default()
    }

    /// The same of what is to be purged.
    pub fn versions_of(&self, target: &Target) -> Versions {
        match target {
            Target::Object(key) => self.versions(key),
            _ => Versions::default(),
        }
    }

    pub(super) fn seen(&self) -> Option<MutexGuard<'_, Seen>> {
        let seen = self.seen.as_ref()?;
        Some(seen.lock().expect("nothing panics while it holds this lock"))
    }
}

/// What came of a change.
enum Came {
    New(Token),
    Gone,
    /// Nobody knows.
    Unsure,
}

impl Announced {
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        let count = self.keys.len() as u64;
        self.first.into_iter().flat_map(move |first| first..first + count)
    }

    /// They are those of somebody else, who has settled what could be.
    pub(super) fn pass(mut self) {
        self.end(|_, versions| Some(versions));
    }

    /// `versions` gives those after the change; `None`: it did not happen.
    fn end(&mut self, versions: impl Fn(&str, Versions) -> Option<Versions>) {
        let mut ids = self.ids().collect::<Vec<_>>().into_iter();
        let before = std::mem::take(&mut self.versions);
        for (key, before) in std::mem::take(&mut self.keys).into_iter().zip(before) {
            self.purger.settled(ids.next(), &key, versions(&key, before));
        }
        self.purger.poke.notify_one();
    }

    /// Those that edges may have of a key, and what is remembered of it for the next change.
    fn after(purger: &Purger, key: &str, mut versions: Versions, came: &Came) -> Versions {
        match came {
            Came::New(token) => {
                versions.add(token.clone());
                if let Some(mut seen) = purger.seen() {
                    seen.add(key, token.clone());
                }
            }
            // It is remembered: a record that takes the place of this one has what this one has.
            Came::Gone => {}
            Came::Unsure => versions.unsure = true,
        }
        versions
    }
}

impl Notice for Announced {
    fn settle(mut self, changes: Vec<Change>) {
        let told = |change: Change| match change {
            Change::Written { key, new, .. } => (key.as_str().to_owned(), Came::New(Token::of(&new))),
            Change::Deleted { key, .. } => (key.as_str().to_owned(), Came::Gone),
            Change::Unsure { key } => (key.as_str().to_owned(), Came::Unsure),
        };
        let all: HashMap<String, Came> = changes.into_iter().map(told).collect();
        let purger = Arc::clone(&self.purger);
        self.end(|key, versions| all.get(key).map(|came| Self::after(&purger, key, versions, came)));
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.end(|_, versions| Some(versions.unsure()));
        }
    }
}
