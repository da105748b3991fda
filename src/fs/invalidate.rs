//! Forgetting what is known, so that whoever asks next asks the bucket.

use std::{sync::mpsc::TrySendError, time::Duration};

use super::{
    Fs, Payload,
    types::{Invalidation, NodeId, Told},
};
use crate::{
    clock,
    error::{Error, Result},
    model::{
        attr::Kind,
        key::{Key, Name},
        tree::Tree,
        version::ETag,
    },
    store::Store,
};

/// Between tries to hand the kernel more than its queue takes: the thread behind it sends thousands in this time.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// What was forgotten.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forgot {
    /// Names that the kernel or this host knew.
    pub names: u64,
    /// Keys of what is dirty or lives on this host alone, and was left as it is.
    pub kept: Vec<Key>,
}

impl<S: Store> Fs<S> {
    /// The key of `path`, a path from the root of the mount without a slash at its start. Fails with `BadName`, or
    /// `NameTooLong`.
    pub fn key_of(&self, path: &str) -> Result<Key> {
        let mut key = self.tree().key(NodeId::ROOT).ok_or(Error::Stale)?.as_str().to_owned();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let name = Name::from_key(part).ok_or(Error::BadName)?;
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(name.as_str());
        }
        if key.len() < crate::model::key::KEY_MAX { Ok(Key::new(&key)) } else { Err(Error::NameTooLong) }
    }

    /// What the bucket has at a key, whatever is remembered here. Fails with `NotFound`.
    pub async fn etag_of(&self, key: &Key) -> Result<ETag> {
        Ok(self.store.head(key).await?.version.etag)
    }

    /// A key of this mount as a path from its root.
    pub fn path_of(&self, key: &Key) -> String {
        let root = self.tree().key(NodeId::ROOT);
        let rest = root.and_then(|root| key.as_str().strip_prefix(root.as_str()).map(str::to_owned));
        rest.unwrap_or_default().trim_matches('/').to_owned()
    }

    /// Everything that is known of `key` and of all below it is forgotten when this returns, but for what the bucket
    /// does not have. A question that is under way now is asked again. Fails with `Unavailable` if the kernel was not
    /// told within `wait`: then it may go on to show what it has for as long as the freshness allows.
    pub async fn invalidate(&self, key: &Key, wait: Duration) -> Result<Forgot> {
        let (forgot, stale) = self.unlearn(key);
        let by = clock::now() + wait;
        let told = Told::default();
        for value in stale.into_iter().chain([Invalidation::Tell(told.clone())]) {
            let mut value = value;
            loop {
                match self.invalidations.try_send(value) {
                    Ok(()) => break,
                    // Nobody serves a kernel: there is none, or the mount ends.
                    Err(TrySendError::Disconnected(_)) => return Ok(forgot),
                    Err(TrySendError::Full(_)) if clock::now() >= by => return Err(late()),
                    Err(TrySendError::Full(back)) => value = back,
                }
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
        }
        let left = by.saturating_duration_since(clock::now());
        tokio::time::timeout(left, told.wait()).await.map_err(|_| late())?;
        Ok(forgot)
    }

    /// The first half of [`Fs::invalidate`], without the kernel: what it is to be told.
    pub(super) fn unlearn(&self, key: &Key) -> (Forgot, Vec<Invalidation>) {
        // While it is up no answer is settled; what was asked before it is asked again; and its end drops the views.
        let _fence = self.fences.raise_tree(key);
        let (mut forgot, mut stale) = (Forgot::default(), Vec::new());
        let mut tree = self.tree();
        if let Some(top) = found_at(&tree, key) {
            let mut ids = vec![top];
            // Parents before children; told in the other order, so that no child is looked up below a known parent.
            let mut at = 0;
            while let Some(&id) = ids.get(at) {
                ids.extend(tree.children(id).map(|(_, child)| child));
                at += 1;
            }
            for id in ids.into_iter().rev() {
                forget_node(&mut tree, id, &mut forgot, &mut stale);
            }
        }
        drop(tree);
        self.tickets.void();
        self.forget_below(&[key]);
        (forgot, stale)
    }
}

fn forget_node(tree: &mut Tree<Payload>, id: NodeId, forgot: &mut Forgot, stale: &mut Vec<Invalidation>) {
    let key = tree.key(id);
    let Some(node) = tree.get_mut(id) else { return };
    if node.payload.is_local() {
        forgot.kept.extend(key);
        return;
    }
    node.payload.known.asked = None;
    node.payload.pages = None;
    forgot.names += 1;
    if node.lookups == 0 {
        return;
    }
    stale.push(Invalidation::Pages(id));
    // A directory keeps its entry: somebody may work in it, and its attributes lead to a new lookup.
    if node.kind != Kind::Dir
        && let Some((parent, name)) = node.place.clone()
    {
        stale.push(Invalidation::Entry { parent, name });
    }
}

/// The node of a key, if there is one.
pub(super) fn found_at(tree: &Tree<Payload>, key: &Key) -> Option<NodeId> {
    let top = tree.key(NodeId::ROOT)?;
    let rest = key.as_str().strip_prefix(top.as_str())?;
    // The prefix ends where a component does.
    if !top.as_str().is_empty() && !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let mut names = rest.split('/').filter(|part| !part.is_empty());
    names.try_fold(NodeId::ROOT, |parent, name| tree.child(parent, &Name::from_key(name)?))
}

fn late() -> Error {
    Error::unavailable("the kernel was not told in time")
}
