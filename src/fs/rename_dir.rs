//! rename of directories: every object below is copied, then all old keys are deleted.
//!
//! Nothing is deleted before everything is copied, and a failure while copying takes the copies back, so at every moment
//! each object is there under one of its names at least.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Fs, known, lock, rename::End, types::NodeId};
use crate::{
    clock,
    config::FsOptions,
    error::{Error, Result},
    freshness::listing::Is,
    model::{key::Key, version::Version},
    store::{Copy, Entry, List, PAGE_MAX, Require, SINGLE_MAX, Store},
};

/// Copies in flight: what one host may ask of a bucket without being told to slow down.
const PARALLEL: usize = 16;

impl<S: Store> Fs<S> {
    pub(super) async fn rename_dir(&self, source: NodeId, from: &End, to: &End, target: Option<NodeId>) -> Result<()> {
        // No upload below the directory may be on its way to a name that goes.
        let _names = self.names.write().await;
        if target.is_some_and(|target| self.has_local(&self.tree(), target)) {
            return Err(Error::NotEmpty);
        }
        self.upload_below(source).await?;
        let [leaves, comes] = [&from.key, &to.key].map(|key| self.fences.raise(key));
        self.check_empty(&to.key).await?;
        let entries = self.below(&from.key).await?;
        self.check_below(&entries, from, to)?;
        let touched = entries.iter().flat_map(|entry| [entry.key.clone(), moved(&entry.key, from, to)]);
        let ends = [from.key.marker(), to.key.marker()];
        let _below: Vec<_> = touched.filter(|key| !ends.contains(key)).map(|key| self.fences.raise(&key)).collect();
        let copies = self.copy_all(&entries, from, to).await?;
        self.keep_parent_of_dir(from).await?;
        for (from, to) in &copies {
            self.contents.moved((&from.key, &from.version), (&to.key, &to.version));
        }
        let keys = deepest_first(&from.key, &entries);
        for batch in keys.chunks(usize::from(PAGE_MAX)) {
            if let Some((key, err)) = self.store.delete_many(batch).await?.into_iter().next() {
                log::error!("{} is renamed to {}, but {key} could not be deleted: {err}", from.key, to.key);
                return Err(err);
            }
        }
        self.move_dir(source, from, to);
        lock(&self.memory).clear();
        for end in [from, to] {
            self.views.forget(&end.key);
        }
        self.follow(source, &copies).await;
        leaves.made(Is::Absent);
        comes.made(Is::Dir);
        Ok(())
    }

    /// Files below that are dirty over an object are uploaded first; those that were never uploaded just follow.
    async fn upload_below(&self, dir: NodeId) -> Result<()> {
        let files: Vec<_> = {
            let tree = self.tree();
            let below = tree.iter().filter(|(id, node)| node.payload.is_dirty() && tree.is_below(*id, dir));
            below.filter_map(|(_, node)| node.payload.file.clone()).collect()
        };
        for file in files {
            let _turn = file.turn.lock().await;
            let uploaded = file.state.read().await.version.is_some();
            // What is in an upload for the old key alone has no other way to the new one.
            if uploaded || self.is_away(&file).await {
                self.upload_in_turn(&file).await?;
            } else {
                self.drop_stream(&file).await; // it is for the old key
            }
        }
        Ok(())
    }

    /// All objects of a directory, its marker included. Fails with `CrossDevice` above the limit.
    async fn below(&self, dir: &Key) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut token = None;
        loop {
            let page =
                self.store.list(List { prefix: dir.marker().as_str().to_owned(), token, ..List::default() }).await?;
            entries.extend(page.entries);
            if entries.len() > self.options.rename_limit as usize || entries.iter().any(|e| e.version.size > SINGLE_MAX)
            {
                return Err(Error::CrossDevice);
            }
            token = page.next;
            if token.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Copies everything, or nothing. Gives what was copied to what.
    async fn copy_all(&self, entries: &[Entry], from: &End, to: &End) -> Result<Vec<(Entry, Entry)>> {
        let lanes = Arc::new(Semaphore::new(PARALLEL));
        let mut tasks = JoinSet::new();
        for entry in entries.iter().cloned() {
            let lane = Arc::clone(&lanes).acquire_owned().await.expect("never closed");
            let (store, target) = (Arc::clone(&self.store), moved(&entry.key, from, to));
            // The directory itself is what is renamed; all else only finds itself elsewhere.
            let renamed = (entry.key == from.key.marker()).then(|| self.options.clone());
            tasks.spawn(async move {
                let copied = copy_one(&*store, &entry, &target, renamed.as_ref()).await;
                drop(lane);
                match copied {
                    Ok(version) => Ok((entry, Entry { key: target, version })),
                    Err(err) => Err((target, err)),
                }
            });
        }
        let (mut made, mut failed) = (Vec::new(), None);
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(Ok(copy)) => made.push(copy),
                Ok(Err(failure)) => failed = Some(failure),
                Err(err) => failed = Some((to.key.clone(), Error::unavailable(err))),
            }
        }
        let Some((key, err)) = failed else { return Ok(made) };
        log::warn!("rename {} to {}: {key}: {err}; taking the copies back", from.key, to.key);
        // All of them: a copy whose answer was lost may be there too. Nothing else was, the target was empty.
        let made: Vec<Key> = entries.iter().map(|entry| moved(&entry.key, from, to)).collect();
        for batch in made.chunks(usize::from(PAGE_MAX)) {
            if let Err(err) = self.store.delete_many(batch).await {
                log::error!("copies of {} stay below {}: {err}", from.key, to.key);
            }
        }
        Err(err)
    }

    /// As for a file: the last key below an implicit directory does not take the directory with it.
    async fn keep_parent_of_dir(&self, from: &End) -> Result<()> {
        let parent = self.tree().key(from.parent).ok_or(Error::Stale)?;
        if from.parent == NodeId::ROOT || parent.as_str().is_empty() {
            return Ok(());
        }
        let mut token = None;
        loop {
            let prefix = parent.marker().as_str().to_owned();
            let page = self.store.list(List { prefix, delimiter: true, token, ..List::default() }).await?;
            let others = page.entries.len() + page.prefixes.iter().filter(|key| **key != from.key.marker()).count();
            if others > 0 {
                return Ok(());
            }
            token = page.next;
            if token.is_none() {
                return self.keep_parent(from.parent, &from.key.marker()).await;
            }
        }
    }

    /// What is known below a renamed directory is asked for again; who has a file open reads on under its new key.
    async fn follow(&self, source: NodeId, copies: &[(Entry, Entry)]) {
        let copies: HashMap<&Key, &(Entry, Entry)> = copies.iter().map(|copy| (&copy.1.key, copy)).collect();
        let mut open = Vec::new();
        {
            let mut tree = self.tree();
            let below: Vec<NodeId> = tree.iter().map(|(id, _)| id).filter(|&id| tree.is_below(id, source)).collect();
            for id in below {
                let copy = tree.key(id).and_then(|key| copies.get(&key).copied());
                let Some(node) = tree.get_mut(id).filter(|node| !node.payload.is_local()) else { continue };
                node.payload.known.asked = None;
                open.extend(node.payload.file.clone().zip(copy));
            }
        }
        for (file, (from, to)) in open {
            let mut state = file.state.write().await;
            if state.version.as_ref().is_some_and(|version| version.same_content(&from.version)) {
                state.version = Some(to.version.clone());
            }
        }
    }
}

/// Everything that goes with a directory, what is below before what it is in, and markers also where there was none: a
/// server that keeps a tree (SeaweedFS) removes only empty directories, and each of them by itself.
fn deepest_first(dir: &Key, entries: &[Entry]) -> Vec<Key> {
    let mut keys: BTreeSet<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
    for entry in entries {
        let rest = entry.key.as_str().strip_prefix(dir.as_str()).unwrap_or_default();
        keys.extend(rest.match_indices('/').map(|(at, _)| Key::new(&format!("{dir}{}", &rest[..=at]))));
    }
    keys.into_iter().rev().collect()
}

/// Names stay the same below a directory, and with them types and all other headers.
async fn copy_one<S: Store>(store: &S, entry: &Entry, target: &Key, renamed: Option<&FsOptions>) -> Result<Version> {
    if entry.key.is_marker() && entry.version.size == 0 {
        // Not every server copies markers (SeaweedFS does not); nothing but headers is in them.
        let marker = store.head(&entry.key).await?;
        let mut headers = marker.headers.clone();
        if let Some(options) = renamed {
            let attr = known::changed(options, known::dir_attr(options, Some(&marker)), clock::wall());
            known::keep_times(options, &mut headers, &attr);
        }
        return store.put(target, Bytes::new(), &headers, Require::Anything).await;
    }
    let Version { etag, size, .. } = entry.version.clone();
    store.copy(&entry.key, target, Copy { size: Some(size), source: Some(etag), ..Copy::default() }).await
}

fn moved(key: &Key, from: &End, to: &End) -> Key {
    let rest = key.as_str().strip_prefix(from.key.as_str()).unwrap_or_default();
    Key::new(&format!("{}{rest}", to.key))
}
