//! The attributes of the mount's root, which every path leads through.
//!
//! Where permissions are stored and the mount shows a part of the bucket, they are those of the marker of its prefix. A
//! whole bucket has no key for its root, and with uniform permissions there is nothing worth a question: there the root
//! has the mode and owner of the mount, and a time that is set holds until it ends.

use std::time::Duration;

use super::{
    Fs,
    known::{self, Known},
    types::NodeId,
};
use crate::{clock, config::Perms, error::Error, freshness::serves, model::key::Key, store::Store};

/// How old the attributes of the root may always be. Every path begins there, and would cost a request more.
const AGE: Duration = Duration::from_secs(1);

/// How long a stat of the root waits for the bucket. Then it shows what it showed before: a mount point that hangs
/// takes `df`, logins and monitoring with it.
const PATIENCE: Duration = Duration::from_secs(2);

impl<S: Store> Fs<S> {
    /// Whether the attributes of the root, whose key is `key`, are kept in the bucket.
    pub(super) fn keeps_root(&self, key: &Key) -> bool {
        self.options.perms == Perms::Stored && !key.as_str().is_empty()
    }

    /// Whether what is known of the root may be shown.
    pub(super) fn root_is_fresh(&self, key: &Key, known: &Known) -> bool {
        let age = self.options.freshness.stat_age().max(AGE);
        !self.keeps_root(key) || known.asked.is_some_and(|asked| serves(asked, clock::now(), age))
    }

    pub(super) async fn look_at_root(&self) {
        let Some(key) = self.tree().key(NodeId::ROOT).filter(|key| self.keeps_root(key)) else { return };
        let stamp = self.fences.stamp(&key).await;
        let asked = clock::now();
        let marker = match tokio::time::timeout(PATIENCE, self.store.head(&key.marker())).await {
            Ok(Ok(object)) => Some(object),
            Ok(Err(Error::NotFound)) => None,
            Ok(Err(err)) => return log::info!("the attributes of {key}/ are those of before: {err}"),
            Err(_) => return log::info!("the attributes of {key}/ are those of before: no answer"),
        };
        let attr = known::dir_attr(&self.options, marker.as_ref());
        let mut tree = self.tree();
        if let Some(root) = tree.get_mut(NodeId::ROOT)
            && self.fences.holds(stamp)
            && root.payload.known.asked < Some(asked)
        {
            root.payload.known = Known { version: marker.map(|object| object.version), attr, asked: Some(asked) };
        }
    }
}
