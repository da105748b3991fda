//! Renames that were interrupted: by the end of an earlier run, or by a bucket that could not be reached any more.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use super::{Fs, known, lock};
use crate::{
    error::Result,
    model::{key::Key, rename::Extent},
    store::Store,
    upload::{
        journal::{Found, Head, Journal},
        mover::Mover,
        recover::Outcome,
    },
};

/// The journals of a mount.
#[derive(Debug)]
pub(super) struct Renames {
    pub(super) dir: PathBuf,
    /// Those of an earlier run: looked for before this one makes any.
    left: Mutex<Vec<Found>>,
    /// Those of this run that neither ended nor could be taken back: few, because each is a bucket that was lost on the way.
    stuck: Mutex<Vec<Journal>>,
}

impl Renames {
    pub(super) fn new(dir: PathBuf) -> Self {
        let left = Journal::leftovers(&dir).unwrap_or_else(|err| {
            log::error!("renames of an earlier run cannot be ended: {}: {err}", dir.display());
            Vec::new()
        });
        Self { dir, left: Mutex::new(left), stuck: Mutex::default() }
    }

    fn stuck(&self) -> MutexGuard<'_, Vec<Journal>> {
        lock(&self.stuck)
    }
}

impl<S: Store> Fs<S> {
    /// Ends the renames that an earlier run of this mount began. To be called before anything is served, or as soon as
    /// the bucket is reached. Gives how many there were and how many of them are still to be ended.
    pub async fn recover_renames(&self) -> (usize, usize) {
        let (mut count, mut open) = (0, 0);
        let left = std::mem::take(&mut *lock(&self.renames.left));
        for found in left {
            count += 1;
            match found {
                Found::Journal(journal) => {
                    if !self.recover_one(*journal).await {
                        open += 1;
                    }
                }
                Found::Broken(path, err) => {
                    open += 1;
                    log::error!(
                        "the journal of a rename cannot be read ({err}): kept as {}; both names may be there",
                        path.display()
                    );
                }
            }
        }
        (count, open)
    }

    /// Whether it has ended.
    async fn recover_one(&self, journal: Journal) -> bool {
        let head = journal.head().clone();
        let Head { from, to, .. } = &head;
        let root = self.tree().key(super::NodeId::ROOT).expect("the root always has a key").marker();
        if ![from, to].iter().all(|key| key.as_str().starts_with(root.as_str())) {
            log::warn!("the rename of {from} to {to} is not of this mount and stays as it is");
            return false;
        }
        // Before a mount serves, nobody has a claim; one that reached its bucket late may be in use.
        let _claim = self.names.own(vec![from.clone(), to.clone()]).await;
        let _fences = [from, to].map(|key| self.fences.raise_tree(key));
        log::info!("the rename of {from} to {to} ({} objects) was interrupted", journal.count());
        let done = self.mover().recover(&journal).await;
        self.forget_below(&[from, to]);
        match done {
            Ok(outcome) => {
                tell(&head, outcome);
                if matches!((head.extent, outcome), (Extent::Tree, Outcome::Finished(_))) {
                    self.catch_up(from, to);
                }
                journal.end();
                true
            }
            Err(err) => {
                log::error!("the rename of {from} to {to} was interrupted and cannot be ended yet: {err}");
                self.renames.stuck().push(journal);
                false
            }
        }
    }

    /// A rename of this run did not get to its end.
    pub(super) fn stick(&self, journal: Journal) {
        self.renames.stuck().push(journal);
    }

    /// Ends an earlier rename of these directories that got stuck. Whether it was finished, which is what the caller
    /// wants. The caller owns both.
    pub(super) async fn resume(&self, from: &Key, to: &Key) -> Result<Option<Journal>> {
        let journal = {
            let mut stuck = self.renames.stuck();
            let same = |journal: &Journal| journal.head().from == *from && journal.head().to == *to;
            let Some(at) = stuck.iter().position(same) else { return Ok(None) };
            stuck.swap_remove(at)
        };
        match self.mover().recover(&journal).await {
            Ok(outcome) => {
                tell(journal.head(), outcome);
                if journal.is_deleting() {
                    return Ok(Some(journal));
                }
                journal.end();
                Ok(None)
            }
            Err(err) => {
                self.stick(journal);
                Err(err)
            }
        }
    }

    pub(super) fn mover(&self) -> Mover<S> {
        let options = self.options.clone();
        Mover {
            store: std::sync::Arc::clone(&self.store),
            lanes: std::sync::Arc::clone(&self.lanes),
            conditional: self.conditional(),
            dress: std::sync::Arc::new(move |source, names, extent| {
                known::moved_headers(&options, source, names, extent)
            }),
        }
    }

    /// What is remembered of what is below directories, without a node.
    pub(super) fn forget_below(&self, dirs: &[&Key]) {
        let below = |key: &Key| dirs.iter().any(|dir| key.marker().as_str().starts_with(dir.marker().as_str()));
        let mut memory = lock(&self.memory);
        let keys: Vec<Key> = memory.iter().map(|(key, _)| key).filter(|key| below(key)).cloned().collect();
        for key in keys {
            memory.pop(&key);
        }
        drop(memory);
        for dir in dirs {
            self.views.forget(dir);
        }
    }
}

fn tell(Head { extent, from, to, .. }: &Head, outcome: Outcome) {
    match (outcome, extent) {
        (Outcome::Finished(0), _) => log::info!("the rename of {from} to {to} is finished"),
        (Outcome::Finished(kept), _) => {
            log::warn!(
                "the rename of {from} to {to} is finished; {kept} of the old names stay, because they are not what was copied, or their copies are not"
            );
        }
        (Outcome::TakenBack(_), Extent::Object) => log::info!("the rename of {from} to {to} had not been done"),
        (Outcome::TakenBack(0), Extent::Tree) => log::info!("the rename of {from} to {to} is taken back"),
        (Outcome::TakenBack(kept), Extent::Tree) => {
            log::warn!(
                "the rename of {from} to {to} is taken back; {kept} of the new names stay, because they are not the copies that were made, or those are the last ones"
            );
        }
    }
}
