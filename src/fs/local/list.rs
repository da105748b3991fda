//! Directories with names of both kinds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::super::{Fs, types::NodeId};
use crate::{
    clock,
    error::{Error, Result},
    freshness::listing::Listing,
    model::{
        attr::Kind,
        key::{Key, Name},
        patterns::Scope,
    },
    store::Store,
};

/// The names of a directory that live here.
pub(in crate::fs) type Own = BTreeMap<Name, Kind>;

impl<S: Store> Fs<S> {
    /// A listing without what local names hide, and with the directories that only exist here; and what lives here.
    pub(in crate::fs) fn merged(&self, dir: &Key, listing: Arc<Listing>) -> Result<(Arc<Listing>, Own)> {
        let Some(here) = &self.here else { return Ok((listing, Own::new())) };
        let (mut own, mut frames) = (Own::new(), Vec::new());
        let below = |name: &Name| Key::new(&format!("{}{}", dir.marker(), name.as_str()));
        for (name, entry) in here.disk.list(here.path(dir))? {
            match self.scope(&below(&name)) {
                Scope::Bucket if entry.attr.kind == Kind::Dir => frames.push(name),
                Scope::Held if entry.frame => frames.push(name),
                // Left by other patterns.
                Scope::Bucket => {}
                Scope::Held | Scope::Local => drop(own.insert(name, entry.attr.kind)),
            }
        }
        let hidden: BTreeSet<Name> = if self.options.patterns.local.is_empty() {
            BTreeSet::new()
        } else {
            listing.names.keys().filter(|name| self.scope(&below(name)) == Scope::Local).cloned().collect()
        };
        let count = hidden.len() as u64;
        if count > here.hidden.fetch_max(count, Ordering::Relaxed) {
            log::warn!("{count} keys below {dir}/ have local-only names and are hidden");
        }
        if hidden.is_empty() && frames.iter().all(|name| listing.names.contains_key(name)) {
            return Ok((listing, own));
        }
        let mut merged = Listing::clone(&listing);
        merged.names.retain(|name, _| !hidden.contains(name));
        for name in frames {
            merged.names.entry(name).or_insert(None);
        }
        Ok((Arc::new(merged), own))
    }

    /// The listing of a directory: of the bucket's, or nothing for one that lives here.
    pub(in crate::fs) async fn listing_of(
        &self,
        id: NodeId,
        key: &Key,
        since: Option<Instant>,
    ) -> Result<Arc<Listing>> {
        let own = self.tree().get(id).ok_or(Error::Stale)?.payload.own;
        if own { Ok(Arc::new(Listing::new(clock::now(), clock::wall().sec))) } else { self.listing(key, since).await }
    }
}
