//! What an administrator may ask of the cache while it is in use.

use std::{fs::File, os::unix::fs::MetadataExt};

use super::{
    Contents,
    dir::Id,
    space::{Slot, Space},
};
use crate::{
    model::{key::Key, version::Version},
    store::Store,
};

/// What is here of a content.
#[derive(Debug)]
pub struct Held {
    /// On the disk.
    pub bytes: u64,
    /// Seconds since 1970, to the hour; `None` for what is here in part.
    pub used: Option<i64>,
    /// Somebody has it open.
    pub in_use: bool,
    /// Its file, if all of it is here.
    pub file: Option<File>,
}

/// What became of a content that was to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dropped {
    Gone,
    /// Somebody has it open, so it stays.
    InUse,
}

impl<S: Store> Contents<S> {
    /// What is here of `key` at `version`. Does not count as a use.
    pub fn held(&self, key: &Key, version: &Version) -> Option<Held> {
        let id = Id::new(key, version);
        let (part, in_use) = self.space.peek(&id);
        let file = File::open(self.dir.content(&id)).ok();
        let meta = file.as_ref().and_then(|file| file.metadata().ok());
        match meta.filter(std::fs::Metadata::is_file) {
            Some(meta) => Some(Held { bytes: meta.len(), used: Some(meta.atime().max(meta.mtime())), in_use, file }),
            None if part > 0 => Some(Held { bytes: part, used: None, in_use, file: None }),
            None => None,
        }
    }

    /// Drops what is here of `key` at `version`, unless somebody has it open.
    pub fn drop_unused(&self, key: &Key, version: &Version) -> Dropped {
        self.space.discard(&Id::new(key, version))
    }

    /// What is here of `key` at `version` is not what it should be. Those who have it open read on from the bucket.
    pub fn distrust(&self, key: &Key, version: &Version) {
        let id = Id::new(key, version);
        if let Some(live) = self.space.live(&id) {
            live.give_up();
        }
        self.space.close(&id);
        if self.space.discard(&id) == Dropped::InUse {
            self.dir.remove(&id);
        }
    }
}

impl Space {
    /// Bytes on the disk, and whether somebody has it open.
    fn peek(&self, id: &Id) -> (u64, bool) {
        let mut ledger = self.ledger();
        let bytes = ledger.index.bytes(id);
        (bytes, ledger.index.peek_mut(id).is_some_and(|slot| slot.in_use()))
    }

    fn discard(&self, id: &Id) -> Dropped {
        let mut ledger = self.ledger();
        if ledger.index.peek_mut(id).is_some_and(|slot| slot.in_use()) {
            return Dropped::InUse;
        }
        // Not in the index: a scan of the directory has not found it yet.
        let item = ledger.index.remove(id).unwrap_or_else(Slot::item);
        drop(ledger);
        self.delete(vec![(*id, item)]);
        Dropped::Gone
    }
}
