//! rename of directories: every object below is copied, then all old keys are deleted.
//!
//! Nothing is deleted before everything is copied, and a failure while copying takes the copies back, so at every moment
//! each object is there under one of its names at least. A journal on the local disk tells the next run of this mount
//! where this one was; see [`crate::model::rename`] for what that does then.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    Fs,
    file::File,
    known,
    rename::End,
    types::{NodeId, RenameMode},
};
use crate::{
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        key::Key,
        patterns::Scope,
        rename::{Extent, Step},
    },
    store::{List, Require, Store},
    upload::journal::{Draft, Head, Journal},
};

impl<S: Store> Fs<S> {
    /// The caller owns both names.
    pub(super) async fn rename_dir(
        &self,
        source: NodeId,
        from: &End,
        to: &End,
        target: Option<NodeId>,
        mode: RenameMode,
    ) -> Result<()> {
        if target.is_some_and(|target| self.has_local(&self.tree(), target)) {
            return Err(Error::NotEmpty);
        }
        self.upload_below(source).await?;
        let [leaves, comes] = [&from.key, &to.key].map(|key| self.fences.raise_tree(key));
        self.check_below(from, to)?;
        let journal = match self.resume(&from.key, &to.key).await? {
            Some(finished) => finished,
            None => self.move_objects(source, from, to, mode).await?,
        };
        self.move_dir(source, from, to);
        self.forget_below(&[&from.key, &to.key]);
        if let Err(err) = self.follow(source, &journal).await {
            log::warn!(
                "{} is renamed to {}; who has a file below it open may have to open it again: {err}",
                from.key,
                to.key
            );
        }
        journal.end();
        leaves.made(Is::Absent);
        comes.made(Is::Dir);
        Ok(())
    }

    /// The rename in the bucket.
    async fn move_objects(&self, source: NodeId, from: &End, to: &End, mode: RenameMode) -> Result<Journal> {
        let over = self.empty_target(&to.key).await?;
        let exclusive = mode == RenameMode::NoReplace;
        if exclusive && over {
            return Err(Error::Exists);
        }
        if exclusive {
            // It is by the marker that one of two hosts is first.
            self.make_marker(source, &from.key).await?;
        }
        let mover = self.mover();
        let head = Head { extent: Extent::Tree, from: from.key.clone(), to: to.key.clone(), over, headers: None };
        let draft = Draft::new(&self.renames.dir, head.clone())?;
        let mut journal =
            mover.plan(draft, &head, self.options.rename_limit.into(), |key| self.scope(key) != Scope::Local).await?;
        let copied = match mover.copy_all(&mut journal).await {
            // Another host was first. Nothing is copied, so nothing is ours there, however equal.
            Err(Error::Exists) => {
                journal.end();
                return Err(if exclusive { Error::Exists } else { Error::NotEmpty });
            }
            Ok(()) => self.keep_parent_of_dir(from).await,
            failed => failed,
        };
        let begun = match copied {
            Ok(()) => journal.begin_deleting().await,
            Err(err) => Err((journal, err)),
        };
        let journal = match begun {
            Ok(journal) => journal,
            Err((journal, err)) => {
                self.give_up(journal, &err).await;
                return Err(err);
            }
        };
        let moving = |step: &Step| {
            if let Some(copy) = &step.copy {
                self.contents.moved((&step.from, &step.source), (&step.to, copy));
            }
        };
        let mut deleted = mover.delete_sources(&journal, false, moving).await;
        if let Err(err) = &deleted {
            // There is no way back any more, so the way on is worth another try.
            log::warn!("rename {} to {}: {err}; deleting the old names once more", from.key, to.key);
            deleted = mover.delete_sources(&journal, false, moving).await;
        }
        match deleted {
            Ok(_) => Ok(journal),
            Err(err) => {
                log::error!(
                    "{} is copied to {}, but not all old names could be deleted: {err}; repeat the rename, or the next mount does it",
                    from.key,
                    to.key
                );
                self.stick(journal);
                Err(err)
            }
        }
    }

    async fn give_up(&self, journal: Journal, err: &Error) {
        let Head { from, to, .. } = journal.head().clone();
        log::warn!("rename {from} to {to}: {err}; taking the copies back");
        match self.mover().take_back(&journal).await {
            Ok(0) => journal.end(),
            Ok(kept) => {
                log::warn!("rename {from} to {to}: {kept} objects of the target are not ours and stay");
                journal.end();
            }
            Err(err) => {
                log::error!(
                    "copies of {from} stay below {to}: {err}; repeat the rename, or the next mount takes them back"
                );
                self.stick(journal);
            }
        }
    }

    /// Whether the directory is there, by its marker. Fails with `NotEmpty` if there is anything in it.
    async fn empty_target(&self, key: &Key) -> Result<bool> {
        let marker = key.marker();
        let list = List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() };
        let page = self.store.list(list).await?;
        if page.entries.iter().any(|entry| entry.key != marker) {
            return Err(Error::NotEmpty);
        }
        Ok(!page.entries.is_empty())
    }

    /// Makes an implicit directory an explicit one.
    async fn make_marker(&self, dir: NodeId, key: &Key) -> Result<()> {
        let attr = self.tree().get(dir).map(|node| node.payload.known.attr).ok_or(Error::Stale)?;
        let marker = key.marker();
        match self.store.head(&marker).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound) => {
                let headers = known::new_headers(&self.options, &marker, &attr, b"");
                self.store.put(&marker, Bytes::new(), &headers, Require::Anything).await.map(drop)
            }
            Err(err) => Err(err),
        }
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
    async fn follow(&self, source: NodeId, journal: &Journal) -> Result<()> {
        let mut open: HashMap<Key, Arc<File>> = HashMap::new();
        {
            let mut tree = self.tree();
            let below: Vec<NodeId> = tree.iter().map(|(id, _)| id).filter(|&id| tree.is_below(id, source)).collect();
            for id in below {
                let key = tree.key(id);
                let Some(node) = tree.get_mut(id).filter(|node| !node.payload.is_local()) else { continue };
                node.payload.known.asked = None;
                open.extend(key.zip(node.payload.file.clone()));
            }
        }
        let mut steps = journal.steps()?;
        while !open.is_empty() {
            let (_, block) = steps.next_block()?;
            if block.is_empty() {
                break;
            }
            for step in block {
                let (Some(file), Some(copy)) = (open.remove(&step.to), step.copy) else { continue };
                let mut state = file.state.write().await;
                if state.version.as_ref().is_some_and(|version| version.same_content(&step.source)) {
                    state.version = Some(copy);
                }
            }
        }
        Ok(())
    }
}
