//! A [`Store`] that tells somebody of every change of an object: before the request that may make it, and what came of
//! it. All that changes an object passes here, also what ends an interrupted rename, so nothing can be forgotten.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{
    Copy, Get, Got, Headers, List, Object, Page, Part, Require, Store, Stored, Upload,
    acl::{Acls, Readers},
};
use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
};

/// What happened to an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// The key has a new version. `old` is what was required of the one before: absent, so it was created; a version,
    /// so that one was replaced; or nothing, and nobody knows.
    Written { key: Key, old: Require, new: Version },
    /// The key has no object any more.
    Deleted { key: Key, old: Require },
    /// There was no answer, or nobody waited for it: it may have happened, or happen yet.
    Unsure { key: Key },
}

/// Who is told of changes. A rename is told as what the bucket sees: a copy, then a deletion.
pub trait Watch: Send + Sync + 'static {
    type Notice: Notice;

    /// The keys are about to change. The requests are sent when this returns. `None`: there is nothing to tell.
    fn announce(&self, keys: &[Key]) -> impl Future<Output = Option<Self::Notice>> + Send;

    /// The bucket has told which version a key has.
    fn saw(&self, _key: &Key, _etag: &ETag) {}

    /// Whether it matters which version of a key is about to be deleted, and nobody has told that yet.
    fn misses(&self, _key: &Key) -> bool {
        false
    }

    /// Waits until what was told of new content has had its effect, if that is wanted, and not for ever.
    fn effect(&self, _key: &Key) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Changes that were announced. Dropped without a word, all of them are unsure.
pub trait Notice: Send {
    /// The bucket has answered: these happened, and those of the announced that are not among them did not.
    fn settle(self, changes: Vec<Change>);
}

/// `S`, watched.
#[derive(Debug)]
pub struct Watched<S, W> {
    store: Arc<S>,
    watch: W,
}

impl<S: Store, W: Watch> Watched<S, W> {
    pub fn new(store: Arc<S>, watch: W) -> Self {
        Self { store, watch }
    }

    /// The store behind, for changes that concern nobody.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// `call` is small: in the middle of a rename, calls are nested deep enough.
    async fn write(
        &self,
        key: &Key,
        old: Require,
        call: impl Future<Output = Result<Stored>> + Send + Unpin,
    ) -> Result<Stored> {
        if let Require::Version(etag) = &old {
            self.watch.saw(key, etag);
        }
        let notice = self.watch.announce(std::slice::from_ref(key)).await;
        let answer = call.await;
        if let Some(notice) = notice {
            let written = |new: &Stored| Change::Written { key: key.clone(), old, new: new.clone() };
            notice.settle(told(key, &answer, written));
        }
        answer
    }
}

/// The change that an answer tells of, if it tells of one.
fn told<T>(key: &Key, answer: &Result<T>, change: impl FnOnce(&T) -> Change) -> Vec<Change> {
    match answer {
        Ok(made) => vec![change(made)],
        // Without an answer the request may have been obeyed, and a refusal may be that of a second attempt: the first
        // one was obeyed, and its answer was lost.
        Err(_) => vec![Change::Unsure { key: key.clone() }],
    }
}

/// Somebody who may come later, or never.
impl<W: Watch> Watch for Arc<OnceLock<W>> {
    type Notice = W::Notice;

    async fn announce(&self, keys: &[Key]) -> Option<W::Notice> {
        match self.get() {
            Some(watch) => watch.announce(keys).await,
            None => None,
        }
    }

    fn saw(&self, key: &Key, etag: &ETag) {
        if let Some(watch) = self.get() {
            watch.saw(key, etag);
        }
    }

    fn misses(&self, key: &Key) -> bool {
        self.get().is_some_and(|watch| watch.misses(key))
    }

    async fn effect(&self, key: &Key) {
        if let Some(watch) = self.get() {
            watch.effect(key).await;
        }
    }
}

/// Somebody, or nobody.
impl<W: Watch> Watch for Option<W> {
    type Notice = W::Notice;

    async fn announce(&self, keys: &[Key]) -> Option<W::Notice> {
        match self {
            Some(watch) => watch.announce(keys).await,
            None => None,
        }
    }

    fn saw(&self, key: &Key, etag: &ETag) {
        if let Some(watch) = self {
            watch.saw(key, etag);
        }
    }

    fn misses(&self, key: &Key) -> bool {
        self.as_ref().is_some_and(|watch| watch.misses(key))
    }

    async fn effect(&self, key: &Key) {
        if let Some(watch) = self {
            watch.effect(key).await;
        }
    }
}

impl<S: Store, W: Watch> Store for Watched<S, W> {
    async fn head(&self, key: &Key) -> Result<Object> {
        let object = Box::pin(self.store.head(key)).await?;
        self.watch.saw(key, &object.version.etag);
        Ok(object)
    }

    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        let got = Box::pin(self.store.get(key, get)).await?;
        if let Got::Bytes(object, _) = &got {
            self.watch.saw(key, &object.version.etag);
        }
        Ok(got)
    }

    async fn list(&self, list: List) -> Result<Page> {
        let page = Box::pin(self.store.list(list)).await?;
        for entry in &page.entries {
            self.watch.saw(&entry.key, &entry.version.etag);
        }
        Ok(page)
    }

    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        let stored = self.write(key, require.clone(), Box::pin(self.store.put(key, body, headers, require))).await?;
        Box::pin(self.watch.effect(key)).await;
        Ok(stored)
    }

    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        self.write(to, copy.require.clone(), Box::pin(self.store.copy(from, to, copy))).await
    }

    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        match &require {
            Require::Version(etag) => self.watch.saw(key, etag),
            // What is gone tells nothing any more.
            _ if self.watch.misses(key) => {
                if let Err(err) = Box::pin(self.head(key)).await {
                    log::debug!("{key}: its version before it is deleted: {err}");
                }
            }
            _ => {}
        }
        let notice = self.watch.announce(std::slice::from_ref(key)).await;
        let answer = Box::pin(self.store.delete(key, require.clone())).await;
        if let Some(notice) = notice {
            notice.settle(told(key, &answer, |()| Change::Deleted { key: key.clone(), old: require }));
        }
        answer
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        let notice = self.watch.announce(keys).await;
        let failed = Box::pin(self.store.delete_many(keys)).await?;
        if let Some(notice) = notice {
            let has_failed = |key: &Key| failed.iter().any(|(other, _)| other == key);
            let change = |key: &Key| {
                let key = key.clone();
                if has_failed(&key) { Change::Unsure { key } } else { Change::Deleted { key, old: Require::Anything } }
            };
            notice.settle(keys.iter().map(change).collect());
        }
        Ok(failed)
    }

    fn begin(&self, key: &Key, headers: &Headers) -> impl Future<Output = Result<Upload>> + Send {
        self.store.begin(key, headers)
    }

    fn part(&self, upload: &Upload, number: u32, body: Bytes) -> impl Future<Output = Result<Part>> + Send {
        self.store.part(upload, number, body)
    }

    fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> impl Future<Output = Result<Part>> + Send {
        self.store.part_copy(upload, number, from, range, source)
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        let key = &upload.key;
        let stored = self.write(key, require.clone(), Box::pin(self.store.complete(upload, parts, require))).await?;
        Box::pin(self.watch.effect(key)).await;
        Ok(stored)
    }

    fn abort(&self, upload: &Upload) -> impl Future<Output = Result<()>> + Send {
        self.store.abort(upload)
    }

    fn uploads(&self, prefix: &str) -> impl Future<Output = Result<Vec<Upload>>> + Send {
        self.store.uploads(prefix)
    }
}

impl<S: Store + Acls, W: Watch> Acls for Watched<S, W> {
    fn wanted(&self, key: &Key) -> Option<String> {
        self.store.wanted(key)
    }

    fn readers(&self, key: &Key) -> impl Future<Output = Result<Readers>> + Send {
        self.store.readers(key)
    }

    /// The bytes stay, but a cache may have them for those who may not see them any more, or a refusal for those who may.
    async fn set_acl(&self, key: &Key, acl: &str) -> Result<()> {
        let notice = self.watch.announce(std::slice::from_ref(key)).await;
        let answer = Box::pin(self.store.set_acl(key, acl)).await;
        if let Some(notice) = notice {
            notice.settle(vec![Change::Unsure { key: key.clone() }]);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
