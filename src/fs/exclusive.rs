//! `O_CREAT|O_EXCL`: the name is taken when the file is opened, by an empty object that only one host can make.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{Fs, invalidate::found_at, send::Sent};
use crate::{
    clock,
    config::Exclusive,
    error::{Error, Result},
    model::{attr::Attr, key::Key, version::Version},
    store::{Require, Store, operation::OPERATION},
    upload::{dirty::Dirty, stub::Stub},
};

/// For the time that the name stands for nothing: no cache between the bucket and its readers may keep it.
const NO_STORE: &str = "no-store";

/// What an open that failed may still spend on taking its object back, so that the program finds the name free. The
/// bucket did not answer just now, so it is tried again later anyway.
const REGRET: Duration = Duration::from_secs(2);

impl<S: Store> Fs<S> {
    /// Takes the name, or fails with `Exists`. `None`: names are not taken at open here, and the first upload decides.
    /// The caller has raised the fence of `key`.
    pub(super) async fn claim(&self, key: &Key, attr: Attr) -> Result<Option<Stub>> {
        if self.options.exclusive != Exclusive::Open || !self.conditional().absent.works() {
            return Ok(None);
        }
        let mut headers = self.named_headers(key, &attr, b"");
        headers.cache_control = Some(NO_STORE.to_owned());
        let noted = self.stubs.note(key, &headers.user[OPERATION])?;
        let at = clock::now();
        let err = match self.store.put(key, Bytes::new(), &headers, Require::Absent).await {
            Ok(version) if version.size == 0 => {
                self.stubs.made(&noted);
                return Ok(Some(Stub::new(noted, version, attr, at)));
            }
            Ok(_) => Error::unavailable("an empty object has a size"),
            Err(err) => err,
        };
        if let Error::Unavailable(_) = err {
            self.stubs.doubt(noted);
            // Late is as good: the next sweep goes on.
            drop(timeout(REGRET, self.sweep()).await);
            return Err(err);
        }
        self.stubs.done(&noted);
        match err {
            Error::Exists => self.claim_again(key, attr).await,
            Error::Unsupported => Ok(None),
            err => Err(err),
        }
    }

    /// The name is taken, perhaps by an attempt of this host that nobody answered.
    async fn claim_again(&self, key: &Key, attr: Attr) -> Result<Option<Stub>> {
        let at = clock::now();
        let object = match self.store.head(key).await {
            Err(Error::NotFound) => return Err(Error::Exists), // it was there a moment ago
            found => found?,
        };
        if object.version.size > 0 {
            return Err(Error::Exists);
        }
        let noted = self.stubs.recognise(key, object.operation.as_deref()).ok_or(Error::Exists)?;
        Ok(Some(Stub::new(noted, Version { modified: None, ..object.version }, attr, at)))
    }

    /// The file has content in the bucket now, at `key`, or needs none.
    pub(super) fn settle_stub(&self, stub: Option<Stub>, key: &Key) {
        match stub {
            Some(stub) if stub.key == *key => self.stubs.done(stub.noted()),
            Some(stub) => self.stubs.abandon(stub), // renamed: the old name is nothing any more
            None => {}
        }
    }

    /// Removes empty objects of ours that never got content from the bucket, those of an earlier run too.
    pub async fn sweep(&self) {
        if !self.stubs.is_due() || self.options.read_only {
            return;
        }
        for (key, version) in self.stubs.sweep(&*self.store, self.conditional().delete.works(), &self.fences).await {
            self.forget_key(&key);
            let mut tree = self.tree();
            if let Some(id) = found_at(&tree, &key)
                && let Some(node) = tree.get(id)
                && !node.payload.is_local()
                && node.payload.known.version.as_ref().is_some_and(|known| known.same_content(&version))
            {
                // Whoever asks again finds the name free, or what somebody else put there since.
                self.orphan(&mut tree, id, &key);
            }
        }
    }
}

/// Closed empty and as it was opened: the object that took the name is the file.
pub(super) fn stub_will_do(dirty: &Dirty, key: &Key, attr: Attr) -> Option<Sent> {
    let stub = dirty.stub.as_ref().filter(|stub| stub.key == *key && stub.attr == attr && dirty.size == 0)?;
    Some(Sent { version: stub.version.clone(), at: stub.at, attr })
}
