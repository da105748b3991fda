//! Which parts a large file is uploaded in: what did not change is copied inside the bucket, the rest is sent.

use std::ops::Range;

use crate::{
    error::{Error, Result},
    store::{PART_MIN, PARTS_MAX},
};

/// Bytes of one copied part: eight requests for a gigabyte, several of them at once, and each far below the deadline of a
/// request also where a server copies slowly.
const COPY: u64 = 128 << 20;

/// The largest object, in bytes (S3 API; most servers keep to it, also where the parts would allow more).
pub const OBJECT_MAX: u64 = 5 << 40;

/// What the server and our memory allow. Bytes, but for `count`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The least of every part but the last.
    pub min: u64,
    /// What is sent as one part. One that would leave less than `min` behind takes that along.
    pub part: u64,
    /// What is copied as one part; the same holds.
    pub copy: u64,
    /// The most parts.
    pub count: u32,
}

/// One part: the range of the file, which for a copy is that of the object below it, too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    Copy(Range<u64>),
    Bytes(Range<u64>),
}

impl Limits {
    /// Those of the S3 API, with parts of `part` bytes.
    pub fn new(part: u64) -> Self {
        // Only tests have smaller parts, over stores that take them.
        Self { min: PART_MIN.min(part), part, copy: COPY, count: PARTS_MAX }
    }

    /// The largest file that can be sent without any copy, in bytes.
    pub fn largest(&self) -> u64 {
        self.part.saturating_mul(u64::from(self.count)).min(OBJECT_MAX)
    }

    /// Bytes of a copied part in a file of `size` bytes: of the largest files all copies are at most a quarter of the
    /// parts.
    fn copy_of(&self, size: u64) -> u64 {
        self.copy.max(size.div_ceil(u64::from(self.count / 4).max(1)))
    }

    /// From here on a run of unchanged bytes is worth a copy: of half as much nothing may be left that is a part.
    fn worth(&self) -> u64 {
        2 * self.min
    }
}

impl Step {
    pub fn range(&self) -> &Range<u64> {
        match self {
            Self::Copy(range) | Self::Bytes(range) => range,
        }
    }
}

/// The parts of a file of `size` bytes over an object whose `unchanged` ranges (disjoint, in order) are copied where
/// that is worth it.
///
/// With `n` changed runs, at most `(3n + 2) * min` unchanged bytes are sent: each changed run may grow to `min`, and
/// of the at most `n + 1` unchanged runs those below `2 * min` are sent. More only if there would be more than
/// `count` parts. Fails with [`Error::TooLarge`] if there are too many parts without any copy.
pub fn plan(size: u64, unchanged: &[Range<u64>], limits: &Limits) -> Result<Vec<Step>> {
    let mut worth = limits.worth();
    loop {
        let steps = lay(size, unchanged, worth, limits);
        if u32::try_from(steps.len()).is_ok_and(|count| count <= limits.count) {
            return Ok(steps);
        }
        if worth > size {
            return Err(Error::TooLarge);
        }
        worth = worth.saturating_mul(2);
    }
}

/// The parts of a file that is sent as a whole: all of the same size but the last.
pub fn grid(size: u64, limits: &Limits) -> Result<Vec<Step>> {
    plan(size, &[], limits)
}

fn lay(size: u64, unchanged: &[Range<u64>], worth: u64, limits: &Limits) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = 0;
    let copy = limits.copy_of(size);
    for run in unchanged.iter().filter(|run| run.end - run.start >= worth) {
        // What is sent before a copy grows into it until it is a part; at least `worth - min` is left to copy.
        let start = if run.start == at { at } else { run.start.max(at + limits.min) };
        split(at..start, limits.part, limits.min, |part| steps.push(Step::Bytes(part)));
        split(start..run.end, copy, limits.min, |part| steps.push(Step::Copy(part)));
        at = run.end;
    }
    // The last part may be as small as it likes.
    split(at..size, limits.part, 0, |part| steps.push(Step::Bytes(part)));
    steps
}

/// Pieces of `step`, unless that leaves less than `min`.
fn split(range: Range<u64>, step: u64, min: u64, mut each: impl FnMut(Range<u64>)) {
    let mut at = range.start;
    while at < range.end {
        let left = range.end - at;
        let len = if left < step + min { left } else { step };
        each(at..at + len);
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::extents::Extents;

    const SMALL: Limits = Limits { min: 5, part: 8, copy: 100, count: 50 };

    #[track_caller]
    fn check(size: u64, unchanged: &[Range<u64>], expect: &[Step]) {
        assert_eq!(plan(size, unchanged, &SMALL).unwrap(), expect);
    }

    #[test]
    fn a_change_in_the_middle_is_all_that_is_sent() {
        check(50, &[0..20, 21..50], &[Step::Copy(0..20), Step::Bytes(20..25), Step::Copy(25..50)]);
    }

    #[test]
    fn a_tail_is_sent_and_the_rest_copied() {
        check(31, &[0..30], &[Step::Copy(0..30), Step::Bytes(30..31)]);
        check(30, &[0..30], &[Step::Copy(0..30)]);
    }

    #[test]
    fn short_unchanged_runs_are_sent() {
        check(20, &[0..9, 10..19], &[Step::Bytes(0..8), Step::Bytes(8..16), Step::Bytes(16..20)]);
    }

    #[test]
    fn nothing_too_small_is_left_before_a_copy() {
        check(40, &[12..40], &[Step::Bytes(0..12), Step::Copy(12..40)]);
        check(44, &[16..44], &[Step::Bytes(0..8), Step::Bytes(8..16), Step::Copy(16..44)]);
    }

    #[test]
    fn long_copies_are_split() {
        check(204, &[0..204], &[Step::Copy(0..100), Step::Copy(100..204)]);
    }

    #[test]
    fn what_no_parts_can_hold_is_too_large() {
        assert_eq!(grid(400, &SMALL).unwrap().len(), 50);
        assert!(matches!(grid(401, &SMALL), Err(Error::TooLarge)));
        assert_eq!(Limits::new(16 << 20).largest(), 10_000 * (16 << 20));
        assert_eq!(Limits::new(5 << 30).largest(), OBJECT_MAX);
    }

    #[test]
    fn too_many_copies_become_fewer() {
        // 30 changed bytes far apart would be 60 parts.
        let unchanged: Vec<_> = (0..30).map(|n| n * 13 + 1..(n + 1) * 13).collect();
        let steps = plan(390, &unchanged, &SMALL).unwrap();
        assert!(steps.len() <= 50, "{steps:?}");
    }

    /// A file and what of it is unchanged.
    fn file() -> impl Strategy<Value = (u64, Vec<Range<u64>>)> {
        (1..2_000_u64, prop::collection::vec((0..2_000_u64, 1..80_u64), 0..12)).prop_map(|(size, changes)| {
            let mut changed = Extents::default();
            for (at, len) in changes {
                changed.insert(at.min(size)..(at + len).min(size));
            }
            (size, changed.missing(0..size))
        })
    }

    proptest! {
        #[test]
        fn parts_are_the_file_and_keep_to_the_limits((size, unchanged) in file(), min in 1..20_u64, more in 0..30_u64, count in 3..400_u32) {
            let limits = Limits { min, part: min + more, copy: 5 * (min + more), count };
            let Ok(steps) = plan(size, &unchanged, &limits) else {
                prop_assert!(size > limits.largest());
                return Ok(());
            };
            prop_assert!(steps.len() <= count as usize);
            let (mut at, mut sent) = (0, 0);
            let mut old = Extents::default();
            for run in &unchanged {
                old.insert(run.clone());
            }
            for (index, step) in steps.iter().enumerate() {
                let range = step.range();
                let len = range.end - range.start;
                prop_assert_eq!(range.start, at);
                prop_assert!(len > 0 && (len >= min || index + 1 == steps.len()), "{:?}", steps);
                at = range.end;
                match step {
                    Step::Copy(_) => prop_assert!(old.covers(range) && len < limits.copy_of(size) + min),
                    Step::Bytes(_) => {
                        prop_assert!(len < limits.part + min);
                        let changed: u64 = old.missing(range.clone()).iter().map(|gap| gap.end - gap.start).sum();
                        sent += len - changed;
                    }
                }
            }
            prop_assert_eq!(at, size);
            let runs = old.missing(0..size).len() as u64;
            let roomy = lay(size, &unchanged, limits.worth(), &limits).len() <= count as usize;
            prop_assert!(!roomy || sent <= (3 * runs + 2) * min, "{} of {:?}", sent, steps);
        }
    }
}
