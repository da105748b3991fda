//! The versions before the ones that are there, for the rules that lie.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use originfs::{
    error::{Error, Result},
    model::key::Key,
    store::bucket::{Bucket, Record},
};

use crate::blob::Blob;

/// By key, what was there before the last write; `None` if nothing was.
#[derive(Debug)]
pub(crate) struct Former {
    kept: Mutex<BTreeMap<String, Option<Record<Blob>>>>,
    /// Whether anybody wants them: else nothing is kept.
    wanted: Arc<AtomicBool>,
}

impl Former {
    pub(crate) fn new(wanted: Arc<AtomicBool>) -> Self {
        Self { kept: Mutex::default(), wanted }
    }

    /// Takes what a write replaced; gives what nobody needs any more.
    pub(crate) fn replace(&self, key: &Key, old: Option<Record<Blob>>) -> Option<Record<Blob>> {
        if self.wanted.load(Ordering::Relaxed) {
            self.kept().insert(key.as_str().to_owned(), old).flatten()
        } else {
            old
        }
    }

    /// What was there before; what is there now if nothing was written since it is kept.
    pub(crate) fn get(&self, now: &Bucket<Blob>, key: &str) -> Result<Record<Blob>> {
        match self.kept().get(key) {
            Some(former) => former.clone().ok_or(Error::NotFound),
            None => now.get(key).cloned(),
        }
    }

    /// The bucket with every key as it was before.
    pub(crate) fn all(&self, now: &Bucket<Blob>) -> Bucket<Blob> {
        let mut bucket = Bucket::default();
        let kept = self.kept();
        for (key, record) in now.objects().iter().filter(|(key, _)| !kept.contains_key(*key)) {
            bucket.insert(&Key::new(key), record.clone());
        }
        for (key, former) in kept.iter() {
            if let Some(record) = former {
                bucket.insert(&Key::new(key), record.clone());
            }
        }
        bucket
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Option<Record<Blob>>>> {
        self.kept.lock().expect("nothing panics while it holds this lock")
    }
}
