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

    /// Takes `range` out.
    pub fn remove(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let behind = self.0.split_off(&range.start);
        if let Some(mut last) = self.0.last_entry() {
            let end = *last.get();
            last.insert(end.min(range.start));
            self.insert(range.end..end.max(range.end));
        }
        for (start, end) in behind {
            self.insert(start.max(range.end)..end.max(range.end));
        }
    }

    /// The parts of `range` that are in the set, in order.
    pub fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        let mut at = range.start;
        for gap in self.missing(range.clone()).into_iter().chain([range.end..range.end]) {
            if at < gap.start {
                found.push(at..gap.start);
            }
            at = gap.end;
        }
        found
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(set: &Extents) -> Vec<bool> {
        (0..64).map(|at| set.covers(&(at..at + 1))).collect()
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_bytes(steps in prop::collection::vec((0..60_u64, 0..20_u64, 0..3_u8), 1..30)) {
            let (mut set, mut model) = (Extents::default(), vec![false; 64]);
            for (start, len, what) in steps {
                let end = (start + len).min(64);
                let [from, to] = [start, end].map(|at| usize::try_from(at).unwrap());
                match what {
                    0 => {
                        set.insert(start..end);
                        model[from..to].fill(true);
                    }
                    1 => {
                        set.remove(&(start..end));
                        model[from..to].fill(false);
                    }
                    _ => {
                        set.truncate(end);
                        model[to..].fill(false);
                    }
                }
                prop_assert_eq!(bits(&set), model.clone());
                prop_assert_eq!(set.len(), model.iter().filter(|bit| **bit).count() as u64);
                let (mut gaps, mut here) = (Extents::default(), Extents::default());
                for gap in set.missing(0..64) {
                    gaps.insert(gap);
                }
                for run in set.within(0..64) {
                    here.insert(run);
                }
                prop_assert_eq!(&here, &set);
                prop_assert_eq!(bits(&gaps), model.iter().map(|bit| !bit).collect::<Vec<_>>());
            }
        }
    }
}
