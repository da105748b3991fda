//! The steps of a journal in an order in which they can be deleted.

use std::collections::BTreeSet;

use super::journal::{Journal, Steps};
use crate::{
    error::Result,
    model::{key::Key, rename::Step},
};

/// Some steps of a journal: objects first, then markers, those below others before them.
pub(super) struct Layer {
    /// The last key of the block before, in the order of the listing that the plan is from.
    pub(super) after: Option<Key>,
    pub(super) steps: Vec<Step>,
    /// Directories without a marker, as what follows the key of the whole.
    pub(super) bare: BTreeSet<String>,
}

/// The steps of a journal in the order in which they can be deleted on servers that keep a tree. Reads the plan once
/// for the objects, and once for each level of directories.
pub(super) struct Layers<'a> {
    journal: &'a Journal,
    steps: Steps,
    after: Option<Key>,
    /// Slashes in the markers of this round; `None` in that of the objects.
    depth: Option<usize>,
    deepest: usize,
}

impl<'a> Layers<'a> {
    pub(super) fn new(journal: &'a Journal) -> Result<Self> {
        Ok(Self { journal, steps: journal.steps()?, after: None, depth: None, deepest: 1 })
    }

    pub(super) fn next(&mut self) -> Result<Option<Layer>> {
        let (_, block) = self.steps.next_block()?;
        let Some(last) = block.last().map(|step| step.from.clone()) else {
            let depth = self.depth.map_or(self.deepest, |depth| depth - 1);
            if depth == 0 {
                return Ok(None);
            }
            (self.depth, self.steps, self.after) = (Some(depth), self.journal.steps()?, None);
            return self.next_of_round();
        };
        Ok(Some(self.layer(&block, last)))
    }

    fn next_of_round(&mut self) -> Result<Option<Layer>> {
        let (_, block) = self.steps.next_block()?;
        let Some(last) = block.last().map(|step| step.from.clone()) else { return Ok(None) };
        Ok(Some(self.layer(&block, last)))
    }

    fn layer(&mut self, block: &[Step], last: Key) -> Layer {
        let top = self.journal.head().from.as_str();
        let rest = |step: &Step| step.from.as_str().strip_prefix(top).unwrap_or_default().to_owned();
        let slashes = |text: &str| text.matches('/').count();
        let mut bare = BTreeSet::new();
        for rest in block.iter().map(rest) {
            self.deepest = self.deepest.max(slashes(&rest));
            if let Some(depth) = self.depth
                && let Some((at, _)) = rest.match_indices('/').nth(depth - 1)
            {
                bare.insert(rest[..=at].to_owned());
            }
        }
        let in_round = |step: &Step| match self.depth {
            None => !step.from.is_marker(),
            Some(depth) => step.from.is_marker() && slashes(&rest(step)) == depth,
        };
        let steps: Vec<Step> = block.iter().filter(|step| in_round(step)).cloned().collect();
        for step in &steps {
            bare.remove(&rest(step));
        }
        Layer { after: self.after.replace(last), steps, bare }
    }
}
