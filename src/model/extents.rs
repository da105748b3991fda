//! A set of byte ranges: what of a file is here, what is missing.

use std::{collections::BTreeMap, ops::Range};

/// Disjoint, non-adjacent, non-empty ranges in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extents(BTreeMap<u64, u64>); // start -> end

impl Extents {
    /// Adds `range`, joining what it touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        let touched: Vec<u64> = self.0.range(..=end).rev().take_while(|&(_, &e)| e >= start).map(|(&s, _)| s).collect();
        for at in touched {
            let e = self.0.remove(&at).expect("collected above");
            start = start.min(at);
            end = end.max(e);
        }
        self.0.insert(start, end);
    }

    /// Forgets everything at and after `end`.
    pub fn truncate(&mut self, end: u64) {
        self.0.split_off(&end);
        if let Some(mut last) = self.0.last_entry() {
            let cut = (*last.get()).min(end);
            last.insert(cut);
        }
    }

    /// Whether the whole of `range` is in the set. The empty range always is.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.0.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }

    /// The parts of `range` that are not in the set, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        if let Some((_, &end)) = self.0.range(..=range.start).next_back() {
            at = at.max(end);
        }
        for (&start, &end) in self.0.range(range.start..range.end.max(range.start)) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// All ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// Bytes in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
