//! Listings: opendir, readdir, and what a listing tells about the nodes that are known.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Fs, Payload,
    file::DirHandle,
    known::{self, Known},
    local::Own,
    lock,
    settle::child_key,
    types::{Caller, DirEntry, DirName, Fh, Found, Invalidation, NodeId},
};
use crate::{
    clock,
    config::Attrs,
    error::{Error, Result},
    freshness::{
        fence::Stamp,
        listing::{Is, Listing},
    },
    model::{
        attr::Kind,
        key::{Key, Name},
        tree::Tree,
        version::Version,
    },
    store::Store,
};

/// `.` and `..`
const DOTS: u64 = 2;

impl<S: Store> Fs<S> {
    /// Whether a listing has the attributes of all it names.
    pub fn lists_attributes(&self) -> bool {
        self.options.attrs == Attrs::List
    }

    /// Fails with `Stale` if the directory is gone. A listing that came with the lookup of this very open(2) is good
    /// enough.
    pub async fn opendir(&self, id: NodeId, caller: Caller) -> Result<Fh> {
        let began = self.tickets.take(caller.tid, id, None, clock::now()).began;
        self.open_listed(id, began).await
    }

    async fn open_listed(&self, id: NodeId, since: Option<Instant>) -> Result<Fh> {
        let key = {
            let tree = self.tree();
            match tree.get(id) {
                Some(node) if node.kind != Kind::Dir => return Err(Error::NotDir),
                Some(_) => tree.key(id).ok_or(Error::Stale)?,
                None => return Err(Error::Stale),
            }
        };
        let stamp = self.fences.stamp_all();
        let listing = self.listing_of(id, &key, since).await?;
        let (listing, own) = self.merged(&key, listing)?;
        let mut tree = self.tree();
        self.refresh(&mut tree, id, &key, &listing, stamp);
        if id != NodeId::ROOT && listing.is_nothing() && own.is_empty() && !self.has_local(&tree, id) {
            // The kernel looks again, and is to find out.
            if self.fences.holds(stamp) && tree.key(id).as_ref() == Some(&key) {
                self.orphan(&mut tree, id, &key);
            }
            return Err(Error::Stale);
        }
        let handle = self.snapshot(&tree, id, &listing, &own)?;
        drop(tree);
        Ok(self.handles.open_dir(handle))
    }

    /// Entries from `offset` on, at most `max`; empty at the end.
    pub async fn readdir(&self, id: NodeId, fh: Fh, offset: u64, max: usize) -> Result<Vec<DirEntry>> {
        let handle = if let Some(handle) = self.handles.dir(fh) {
            handle
        } else {
            // A handle of another life of this mount: the offset is still good, because listings are in order.
            let fresh = self.open_listed(id, None).await?;
            let handle = self.handles.dir(fresh).ok_or(Error::BadHandle)?;
            self.handles.close_dir(fresh);
            handle
        };
        let start = usize::try_from(offset).map_err(|_| Error::Invalid)?;
        Ok(handle.entries.iter().skip(start).take(max).cloned().collect())
    }

    /// As the kernel wants it for READDIRPLUS: counts one lookup for the entry. `None`: the name is gone meanwhile, or
    /// it is `.` or `..`. TTLs are zero where the listing does not tell all attributes.
    pub fn entry(&self, id: NodeId, fh: Fh, entry: &DirEntry) -> Option<Found> {
        let DirName::Name(name) = &entry.name else { return None };
        let handle = self.handles.dir(fh)?;
        let own = self.look_here(id, name).ok()?;
        let mut tree = self.tree();
        if let Some(child) = own {
            return self.found(&mut tree, child);
        }
        let key = child_key(&tree, id, name).ok()?;
        if let Some(child) = tree.child(id, name) {
            return self.found(&mut tree, child);
        }
        let remembered = lock(&self.memory).pop(&key);
        let known = match handle.versions.get(name) {
            None => remembered.filter(|known| known.attr.kind == Kind::Dir).unwrap_or_else(|| Known {
                version: None,
                attr: known::dir_attr(&self.options, None),
                asked: None,
            }),
            Some(version) => remembered
                // Too fresh to be told apart by its time, it is as good as before: as old as its answer.
                .filter(|known| {
                    known.version.as_ref().is_some_and(|known| {
                        known.same(version) || known.modified.is_none() && known.same_content(version)
                    })
                })
                .unwrap_or_else(|| Known::listed(&self.options, version, handle.asked)),
        };
        let child = tree.attach(id, name.clone(), key.ino(), known.attr.kind, Payload::new(known))?;
        self.found(&mut tree, child)
    }

    pub fn releasedir(&self, fh: Fh) {
        self.handles.close_dir(fh);
    }

    /// By a request that is sent after this call began, or after `since`, unless a view is young enough.
    pub(super) async fn listing(&self, dir: &Key, since: Option<Instant>) -> Result<Arc<Listing>> {
        let asked = |view: &Arc<Listing>| since.is_some_and(|since| view.asked >= since);
        let view = self.line.young(dir, clock::now()).or_else(|| self.views.get(dir).filter(asked));
        let (line, asking) = (self.line.clone(), dir.clone());
        let listing = match view {
            Some(view) if view.is_whole() => view,
            // Whoever shares this has seen the same beginning.
            Some(view) if view.has_rest() => {
                let begun = (dir.clone(), view.asked);
                self.rests.ask(begun, move || async move { line.rest(&asking, &view, usize::MAX).await }).await?
            }
            _ => self.lists.ask(dir.clone(), move || async move { line.list(&asking, usize::MAX).await }).await?,
        };
        self.tell_hidden(dir, &listing);
        Ok(listing)
    }

    fn tell_hidden(&self, dir: &Key, listing: &Listing) {
        if listing.hidden > self.hidden.fetch_max(listing.hidden, Ordering::Relaxed) {
            log::warn!("{} keys below {dir}/ cannot be paths and are hidden", listing.hidden);
        }
    }

    /// A listing revalidates what is known of its names, the absent ones too.
    pub(super) fn refresh(&self, tree: &mut Tree<Payload>, id: NodeId, key: &Key, listing: &Listing, stamp: Stamp) {
        let children = tree.children(id).map(|(name, child)| (name.clone(), child, child_key(tree, id, name)));
        // What is being changed here is not for the listing to tell.
        let children: Vec<_> = children
            .filter_map(|(name, child, key)| Some((name, child, key.ok().filter(|key| !self.fences.is_up(key))?)))
            .collect();
        if !self.fences.holds(stamp) {
            return; // something changed meanwhile; who wants to know asks again
        }
        for (name, child, child_key) in children {
            let here_only = self.has_local(tree, child);
            let Some(node) = tree.get_mut(child) else { continue };
            let known = &mut node.payload.known;
            if here_only || known.asked > Some(listing.asked) {
                continue;
            }
            if let (Attrs::List, Some(Is::File(listed))) = (self.options.attrs, listing.is(&name))
                && known.version.as_ref().is_some_and(|known| listed.same_content(known))
            {
                *known = Known::listed(&self.options, &listed, (listing.asked, listing.wall));
                continue;
            }
            match (listing.is(&name), &known.version) {
                (Some(Is::File(listed)), Some(version)) if listed.same(version) => {
                    known.asked = known.asked.map(|_| listing.asked);
                }
                (Some(Is::Dir), _) if node.kind == Kind::Dir => {}
                // What is known is too fresh to be told apart by its time: as good as before, and no better.
                (Some(Is::File(listed)), Some(version))
                    if version.modified.is_none() && listed.same_content(version) => {}
                (Some(Is::Absent), _) => self.orphan(tree, child, &child_key),
                (Some(_), _) => {
                    let shown = known.asked.take().is_some() && node.lookups > 0;
                    if shown {
                        self.announce(Invalidation::Attr(child));
                    }
                }
                // A change of ours, and who knows what became of it.
                (None, _) => {}
            }
        }
        if let Some(node) = tree.get_mut(id) {
            node.payload.known.confirm_dir(listing);
        }
        self.refresh_memory(key, listing);
    }

    /// What is remembered of a directory's files is as young as the listing, where that has the same version.
    pub(super) fn refresh_memory(&self, key: &Key, listing: &Listing) {
        let mut memory = lock(&self.memory);
        for (name, version) in &listing.names {
            let Some(version) = version else { continue };
            let child = Key::new(&format!("{}{}", directory(key), name.as_str()));
            if let Some(known) = memory.peek_mut(&child)
                && known.version.as_ref().is_some_and(|known| known.same(version))
            {
                known.asked = known.asked.map(|asked| asked.max(listing.asked));
            }
        }
    }

    /// The listing with what is only here.
    fn snapshot(&self, tree: &Tree<Payload>, id: NodeId, listing: &Listing, own_names: &Own) -> Result<DirHandle> {
        let dir = tree.key(id).ok_or(Error::Stale)?;
        let above = tree.get(id).and_then(|node| node.place.as_ref()).map_or(NodeId::ROOT, |(parent, _)| *parent);
        let own = if id == NodeId::ROOT { NodeId::ROOT.0 } else { dir.ino() };
        let up = if above == NodeId::ROOT { NodeId::ROOT.0 } else { tree.key(above).map_or(own, |key| key.ino()) };
        let mut names: BTreeMap<&Name, Kind> =
            listing.names.iter().map(|(name, version)| (name, kind_of(version.as_ref()))).collect();
        for (name, child) in tree.children(id) {
            let Some(node) = tree.get(child) else { continue };
            let listed = listing.names.get(name).and_then(Option::as_ref);
            let link = !matches!(node.kind, Kind::File | Kind::Dir)
                && listed.zip(node.payload.known.version.as_ref()).is_some_and(|(a, b)| a.same_content(b));
            let here_only = self.has_local(tree, child);
            // Closed while the listing was under way.
            let newer = node.payload.known.asked > Some(listing.asked) && node.payload.known.version.is_some();
            if link || newer || here_only {
                names.insert(name, node.kind);
            }
        }
        self.remembered_kinds(&dir, listing, &mut names);
        names.extend(own_names.iter().map(|(name, kind)| (name, *kind)));
        let dots = [(DirName::Dot, own), (DirName::DotDot, up)];
        let mut entries: Vec<DirEntry> = Vec::with_capacity(names.len() + dots.len());
        for (at, (name, ino)) in (1..=DOTS).zip(dots) {
            entries.push(DirEntry { next: at, name, ino, kind: Kind::Dir });
        }
        for (at, (name, kind)) in (DOTS + 1..).zip(names) {
            let ino = Key::new(&format!("{}{}", directory(&dir), name.as_str())).ino();
            entries.push(DirEntry { next: at, name: DirName::Name(name.clone()), ino, kind });
        }
        let versions: HashMap<Name, Version> =
            listing.names.iter().filter_map(|(name, version)| Some((name.clone(), version.clone()?))).collect();
        Ok(DirHandle { entries, versions, asked: (listing.asked, listing.wall) })
    }

    /// A listing does not tell the kinds of objects, but some names were looked at before.
    fn remembered_kinds(&self, dir: &Key, listing: &Listing, names: &mut BTreeMap<&Name, Kind>) {
        let memory = lock(&self.memory);
        if memory.is_empty() {
            return;
        }
        for (name, kind) in names.iter_mut().filter(|(_, kind)| **kind == Kind::File) {
            let Some(Some(version)) = listing.names.get(*name) else { continue };
            let key = Key::new(&format!("{}{}", directory(dir), name.as_str()));
            let known =
                memory.peek(&key).filter(|known| known.version.as_ref().is_some_and(|v| v.same_content(version)));
            *kind = known.map_or(*kind, |known| known.attr.kind);
        }
    }
}

/// A listing does not tell symlinks from files.
fn kind_of(version: Option<&Version>) -> Kind {
    if version.is_some() { Kind::File } else { Kind::Dir }
}

/// A key as the prefix of what is below it.
fn directory(dir: &Key) -> Key {
    dir.marker()
}
