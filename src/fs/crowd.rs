//! Many questions about one directory at once: one listing answers a page of them, the absent names too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::lock;

/// Questions in flight about one directory from which on more of them share a listing: at the prices of S3 a LIST costs
/// as much as 12.5 HEADs.
const CROWD: u32 = 13;

/// Questions in flight, by the directory they are about.
#[derive(Debug, Default)]
pub(super) struct Crowds(Arc<Mutex<HashMap<String, u32>>>);

/// One question; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowds: Arc<Mutex<HashMap<String, u32>>>,
    dir: String,
    others: u32,
}

impl Crowds {
    pub(super) fn join(&self, dir: &str) -> Member {
        let mut crowds = lock(&self.0);
        let count = crowds.entry(dir.to_owned()).or_default();
        *count += 1;
        Member { crowds: Arc::clone(&self.0), dir: dir.to_owned(), others: *count - 1 }
    }
}

impl Member {
    /// So many ask that a listing is cheaper.
    pub(super) fn is_crowded(&self) -> bool {
        self.others >= CROWD
    }
}

impl Drop for Member {
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
