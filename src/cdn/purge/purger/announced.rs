//! Changes on their way to the bucket, from before their request until its answer.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::Purger;
use crate::{
    cdn::purge::outbox::Id,
    model::key::Key,
    store::watched::{Change, Notice, Watch},
};

/// What was announced and has not been settled.
#[derive(Debug)]
pub struct Announced {
    pub(super) purger: Arc<Purger>,
    /// The number of the first; `None`: the disk would not take them, so they are lost with the process.
    pub(super) first: Option<Id>,
    pub(super) keys: Vec<Arc<str>>,
}

impl Watch for Arc<Purger> {
    type Notice = Announced;

    async fn announce(&self, keys: &[Key]) -> Option<Announced> {
        let keys: Vec<Arc<str>> =
            keys.iter().filter(|key| self.concerns(key)).map(|key| Arc::from(key.as_str())).collect();
        if keys.is_empty() {
            return None;
        }
        let announced = self.note(keys);
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

    async fn effect(&self, key: &Key) {
        if self.sync.load(Ordering::Relaxed) && self.concerns(key) {
            self.purged(key.as_str()).await;
        }
    }
}

impl Announced {
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        let count = self.keys.len() as u64;
        self.first.into_iter().flat_map(move |first| first..first + count)
    }

    fn end(&mut self, happened: impl Fn(&str) -> bool) {
        let mut ids = self.ids().collect::<Vec<_>>().into_iter();
        for key in std::mem::take(&mut self.keys) {
            self.purger.settled(ids.next(), &key, happened(&key));
        }
        self.purger.poke.notify_one();
    }
}

impl Notice for Announced {
    fn settle(mut self, changes: Vec<Change>) {
        let told = |change: &Change| match change {
            Change::Written { key, .. } | Change::Deleted { key, .. } | Change::Unsure { key } => {
                key.as_str().to_owned()
            }
        };
        let all: HashSet<String> = changes.iter().map(told).collect();
        self.end(|key| all.contains(key));
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.end(|_| true);
        }
    }
}
