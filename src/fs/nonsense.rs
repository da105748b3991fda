//! Metadata that make no sense are passed over, and told once.

use lru::LruCache;

use super::{
    Fs,
    known::{Answer, Seen},
    lock,
};
use crate::{
    model::key::Key,
    store::{Store, metadata},
};

/// Objects that were told of. Beyond, the oldest may be told of again.
pub(super) const TOLD_LEN: usize = 1024;

/// Which objects were told of.
pub(super) type Told = LruCache<Key, ()>;

impl<S: Store> Fs<S> {
    pub(super) fn tell_nonsense(&self, key: &Key, answer: &Answer) {
        let object = match &answer.seen {
            Seen::File(object) | Seen::Dir(Some(object)) => object,
            Seen::Absent | Seen::Dir(None) | Seen::Same(_) => return,
        };
        let Some((name, value)) = metadata::broken(&object.headers.user) else { return };
        if lock(&self.told).put(key.clone(), ()).is_none() {
            // Of a value that is anything, no more than tells what it was meant to be.
            let value: String = value.chars().take(40).collect();
            log::warn!("{key}: x-amz-meta-{name} makes no sense and counts as absent: {value:?}");
        }
    }
}
