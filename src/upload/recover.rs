//! Renames that did not get to their end: taken back or finished, by what their journals say. What is done to which of
//! them, and why that is safe whatever others changed since, is said in [`crate::model::rename`].

use std::sync::Arc;

use super::{
    journal::Journal,
    layers::{Layer, Layers},
    mover::{Mover, each, is_dressed, there},
};
use crate::{
    error::Result,
    model::{
        key::Key,
        rename::{Extent, Step, Verdict, delete_source, is_copy, moved, take_back},
    },
    store::{List, Store},
};

/// What became of a rename.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is complete, but for so many old keys that were not ours to delete.
    Finished(u64),
    /// All is as before it, but for so many copies that were not ours to delete.
    TakenBack(u64),
}

impl<S: Store> Mover<S> {
    /// Ends an interrupted rename. To be repeated after a failure.
    pub async fn recover(&self, journal: &Journal) -> Result<Outcome> {
        match (journal.head().extent, journal.is_deleting()) {
            (Extent::Object, _) => self.finish_object(journal).await,
            (Extent::Tree, true) => Ok(Outcome::Finished(self.delete_sources(journal, true, |_| {}).await?)),
            (Extent::Tree, false) => Ok(Outcome::TakenBack(self.take_back(journal).await?)),
        }
    }

    /// Deletes the copies that are still what was made. Gives how many others there are.
    pub async fn take_back(&self, journal: &Journal) -> Result<u64> {
        let head = journal.head();
        let (mut layers, mut kept) = (Layers::new(journal)?, 0);
        while let Some(Layer { after, steps, bare }) = layers.next()? {
            let to: Vec<_> = steps.iter().map(|step| &step.to).collect();
            let after = after.map(|after| moved(&after, &head.from, &head.to));
            let there = self.now(&head.to, after.as_ref(), &to).await?;
            let top = head.to.marker();
            // The marker of a directory that was there before, or is in use by now, stays.
            let stays = steps.iter().any(|step| step.to == top) && (head.over || self.is_used(&top).await?);
            let ours = |step: &Step| there.contains_key(&step.to) && !(stays && step.to == top);
            let looked_at = each(steps.into_iter().filter(ours).collect(), |step| self.judge(step)).await?;
            let mut doomed = Vec::new();
            for (step, verdict) in looked_at {
                match verdict {
                    Verdict::Delete(etag) => doomed.push((step.to, etag)),
                    Verdict::Absent => {}
                    Verdict::Keep(why) => {
                        kept += 1;
                        log::warn!("rename {} to {}: {} stays: {why}", head.from, head.to, step.to);
                    }
                }
            }
            kept += self.delete(doomed).await?;
            self.delete_bare(&head.to, &bare).await?;
        }
        Ok(kept)
    }

    async fn is_used(&self, marker: &Key) -> Result<bool> {
        let list = List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() };
        Ok(self.store.list(list).await?.entries.iter().any(|entry| entry.key != *marker))
    }

    fn judge(&self, step: Step) -> impl Future<Output = Result<(Step, Verdict)>> + Send + use<S> {
        let (store, dress) = (Arc::clone(&self.store), Arc::clone(&self.dress));
        async move {
            let Some(target) = there(store.head(&step.to).await)? else { return Ok((step, Verdict::Absent)) };
            // Asked last, because it must be there when the copy goes.
            let source = there(store.head(&step.from).await)?;
            let names = (&step.from, &step.to);
            let alike =
                source.as_ref().is_some_and(|source| is_dressed(&target.headers, dress(source, names, Extent::Object)));
            let source = source.map(|source| source.version);
            let verdict = take_back(&step, source.as_ref(), Some(&target.version), alike);
            Ok((step, verdict))
        }
    }

    async fn finish_object(&self, journal: &Journal) -> Result<Outcome> {
        let (_, steps) = journal.steps()?.next_block()?;
        let Some(step) = steps.into_iter().next() else { return Ok(Outcome::TakenBack(0)) };
        let source = there(self.store.head(&step.from).await)?.map(|source| source.version);
        let Some(target) = there(self.store.head(&step.to).await)? else { return Ok(Outcome::TakenBack(0)) };
        let alike = journal.head().headers.as_ref().is_none_or(|headers| *headers == target.headers);
        // A copy that was confirmed may have got other metadata since: they are newer, and its bytes are there.
        if !is_copy(&step, &target.version, alike || step.copy.is_some()) {
            if source.is_some() {
                log::info!(
                    "rename {} to {}: the new name has no copy of the old one: both are left",
                    step.from,
                    step.to
                );
            }
            return Ok(Outcome::TakenBack(0));
        }
        let made = Step { copy: Some(target.version.clone()), ..step };
        match delete_source(&made, source.as_ref(), Some(Some(&target.version))) {
            Verdict::Delete(etag) => Ok(Outcome::Finished(self.delete(vec![(made.from, etag)]).await?)),
            Verdict::Absent => Ok(Outcome::Finished(0)),
            Verdict::Keep(why) => {
                log::warn!("rename {} to {}: the old one stays: {why}", made.from, made.to);
                Ok(Outcome::Finished(1))
            }
        }
    }
}
