//! One file for two names: what the bucket copied need not be fetched again.

use std::fs;

use super::{Contents, content::Content, dir, dir::Id};
use crate::{
    model::{key::Key, version::Version},
    store::Store,
};

impl<S: Store> Contents<S> {
    /// The object `to` was made of `from` by a COPY: if the bytes of one are here, so are those of the other. A COPY onto
    /// itself is the end of the old version, so it is as [`Self::moved`]: those who have it open read on from the new.
    pub fn copied(&self, from: (&Key, &Version), to: (&Key, &Version)) {
        if from.0 == to.0 {
            return self.moved(from, to);
        }
        if from.1.size != to.1.size || Id::new(from.0, from.1) == Id::new(to.0, to.1) {
            return;
        }
        let source = self.get(from.0, from.1);
        if source.file().is_none() {
            return;
        }
        let linked = self.dir.create_part(0).and_then(|(_, path)| {
            dir::remove(&path);
            fs::hard_link(self.dir.content(&Id::new(from.0, from.1)), &path).map(|()| path)
        });
        match linked {
            Ok(path) => drop(self.adopt(to.0, to.1, &path)),
            Err(err) => log::debug!("cache: {} stays without the bytes of {}: {err}", to.0, from.0),
        }
    }
}

impl Content {
    /// Whether somebody fetches some of it now.
    pub fn is_filling(&self) -> bool {
        !self.is_whole() && self.has_flights()
    }
}
