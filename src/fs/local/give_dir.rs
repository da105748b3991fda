//! A directory that lives here goes to the bucket, file by file while it is small.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio::sync::RwLockWriteGuard;

use super::{
    super::{
        Fs,
        file::{File, State},
        known::Known,
        rename::End,
        types::NodeId,
    },
    give::Parcel,
};
use crate::{
    clock,
    error::{Error, Result},
    freshness::listing::Is,
    local::Item,
    model::{attr::Kind, key::Key, patterns::Scope},
    store::Store,
};

/// The most entries of a directory that its rename into the bucket uploads, one after another: about 5 s of PUTs. With
/// more, mv copies, and shows that it does.
const GIVE_MAX: usize = 100;
/// The same for the bytes of all of them.
const GIVE_BYTES: u64 = 64 << 20;

/// What the bucket has got so far.
#[derive(Debug, Default)]
struct Sent {
    parcels: Vec<(NodeId, Option<Arc<File>>, Parcel)>,
    /// Directories and symlinks.
    others: Vec<(Item, Known)>,
    keys: Vec<Key>,
}

impl<S: Store> Fs<S> {
    /// `EXDEV` for one that is too large, or where something below is local-only under its new name as well. The caller
    /// owns both names.
    pub(in crate::fs) async fn give_dir(&self, source: NodeId, from: &End, to: &End) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        self.check_empty_here(&to.key)?;
        self.check_empty(&to.key).await?;
        let (old, new) = (here.path(&from.key), here.path(&to.key));
        let items = self.small_enough(old, new)?;
        let fence = self.fences.raise(&to.key);
        let mut sent = Sent::default();
        if let Err(err) = self.send_items(old, &to.key, items, &mut sent).await {
            log::warn!("rename {} to {}: {err}; taking the uploads back", from.key, to.key);
            if let Err(err) = self.store.delete_many(&sent.keys).await {
                log::error!("uploads of {} stay below {}: {err}", from.key, to.key);
            }
            for (_, _, parcel) in sent.parcels {
                parcel.discard();
            }
            self.views.forget(&to.key);
            return Err(err);
        }
        let delivered = self.deliver_all(source, from, to, sent).await;
        // Listings may have seen some of it.
        self.views.forget(&to.key);
        fence.made(Is::Dir);
        delivered
    }

    fn small_enough(&self, old: &str, new: &str) -> Result<Vec<Item>> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let max = GIVE_MAX.min(self.options.rename_limit as usize);
        let items = here.disk.walk(old, max)?.ok_or(Error::CrossDevice)?;
        let bytes: u64 = items.iter().map(|item| item.entry.attr.size).sum();
        let stays = |item: &Item| {
            let rest = item.path.strip_prefix(old).unwrap_or_default();
            self.options.patterns.scope(&format!("{new}{rest}")) != Scope::Bucket
        };
        if bytes > GIVE_BYTES || items.iter().any(stays) { Err(Error::CrossDevice) } else { Ok(items) }
    }

    async fn send_items(&self, old: &str, to: &Key, items: Vec<Item>, sent: &mut Sent) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let top = here.disk.stat(old)?.ok_or(Error::Stale)?;
        for item in [Item { path: old.to_owned(), entry: top }].into_iter().chain(items) {
            let key = Key::new(&format!("{to}{}", item.path.strip_prefix(old).unwrap_or_default()));
            let kind = item.entry.attr.kind;
            sent.keys.push(if kind == Kind::Dir { key.marker() } else { key.clone() });
            match kind {
                Kind::Dir => {
                    let attr = self.as_sent(&item.entry.attr);
                    let asked = clock::now();
                    let version = self.put_whole(&key.marker(), Bytes::new(), &attr, false).await?;
                    sent.others.push((item, Known { version: Some(version), attr, asked: Some(asked) }));
                }
                Kind::Symlink => {
                    let known = self.send_symlink(&item.path, &key, false).await?;
                    sent.others.push((item, known));
                }
                // The local store has no other kinds.
                _ => {
                    let (id, file) = self.node_at(&item.path);
                    let (own, writes) = match &file {
                        Some(file) => {
                            let mut state = file.state.write().await;
                            (self.ensure_open(file, &mut state, false)?, state.writes)
                        }
                        None => (Arc::new(here.disk.open(&item.path, false)?), 0),
                    };
                    let parcel = self.send_parcel(item.path, &key, own, writes, false).await?;
                    sent.parcels.push((id, file, parcel));
                }
            }
        }
        Ok(())
    }

    /// The node at a path here, and its file if somebody has it open. The root stands for one that nobody knows.
    fn node_at(&self, path: &str) -> (NodeId, Option<Arc<File>>) {
        let tree = self.tree();
        let mut at = NodeId::ROOT;
        for name in path.split('/') {
            let child = crate::model::key::Name::from_key(name).and_then(|name| tree.child(at, &name));
            let Some(child) = child else { return (NodeId::ROOT, None) };
            at = child;
        }
        (at, tree.get(at).and_then(|node| node.payload.file.clone()))
    }

    async fn deliver_all(&self, source: NodeId, from: &End, to: &End, sent: Sent) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        // Who owns the names can be sure that nobody else locks more than one of them.
        let files: Vec<Arc<File>> = sent.parcels.iter().filter_map(|(_, file, _)| file.clone()).collect();
        let mut states: HashMap<NodeId, RwLockWriteGuard<'_, State>> = HashMap::new();
        for file in &files {
            states.insert(file.id, file.state.write().await);
        }
        let _turn = here.disk.turn();
        let mut failed = None;
        for (id, file, parcel) in sent.parcels {
            let state = states.get_mut(&id);
            let open = file.as_ref().zip(state.map(|state| &mut **state));
            failed = self.deliver(parcel, id, open).err().or(failed);
        }
        for (item, known) in sent.others.into_iter().rev() {
            let (id, _) = self.node_at(&item.path);
            let gone = match item.entry.attr.kind {
                Kind::Dir => here.disk.rmdir(&item.path),
                _ => here.disk.unlink(&item.path),
            };
            match gone {
                Ok(()) => self.disown(id, Some(known)),
                Err(err) => failed = Some(err),
            }
        }
        if let Some(err) = failed {
            log::error!("{} is in the bucket as {}, and partly here as well: {err}", from.key, to.key);
            return Err(err);
        }
        self.move_node(source, from, to);
        Ok(())
    }
}
