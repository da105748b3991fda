//! "The latest X of all that ended before Y", in O(log n).

use crate::event::At;

/// Pairs of times by the first; asked for the largest second.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    keys: Vec<At>,
    /// The largest of the values up to the same index.
    best: Vec<At>,
}

impl Latest {
    pub(crate) fn new(pairs: impl IntoIterator<Item = (At, At)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut best = 0;
        let rising = pairs.iter().map(|(_, value)| {
            best = best.max(*value);
            best
        });
        Self { best: rising.collect(), keys: pairs.iter().map(|(key, _)| *key).collect() }
    }

    /// The largest value of all with a key below this.
    pub(crate) fn below(&self, key: At) -> Option<At> {
        let count = self.keys.partition_point(|other| *other < key);
        count.checked_sub(1).map(|last| self.best[last])
    }
}

/// Spans that do not overlap, asked which of them a span lies in or touches.
#[derive(Debug, Default)]
pub(crate) struct Spans<T>(Vec<(At, At, T)>);

impl<T: Copy> Spans<T> {
    /// Also gives the pairs that overlap.
    pub(crate) fn new(spans: impl IntoIterator<Item = (At, At, T)>) -> (Self, Vec<(T, T)>) {
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_unstable_by_key(|(begin, end, _)| (*begin, *end));
        let mut overlaps = Vec::new();
        let mut longest: Option<(At, T)> = None;
        for (begin, end, what) in &spans {
            if let Some((until, other)) = longest
                && until > *begin
            {
                overlaps.push((other, *what));
            }
            if longest.is_none_or(|(until, _)| *end > until) {
                longest = Some((*end, *what));
            }
        }
        (Self(spans), overlaps)
    }

    /// Spans that overlap become one.
    pub(crate) fn union(spans: &[(At, At)], what: T) -> Self {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        let mut union: Vec<(At, At, T)> = Vec::new();
        for (begin, end) in spans {
            match union.last_mut() {
                Some((_, until, _)) if *until >= begin => *until = end.max(*until),
                _ => union.push((begin, end, what)),
            }
        }
        Self(union)
    }

    /// A span that begins before this one and ends after it.
    pub(crate) fn around(&self, begin: At, end: At) -> Option<T> {
        let count = self.0.partition_point(|(start, ..)| *start < begin);
        count.checked_sub(1).map(|last| self.0[last]).filter(|(_, until, _)| *until > end).map(|(.., what)| what)
    }

    /// Whether any span has a moment in common with this one.
    pub(crate) fn touch(&self, begin: At, end: At) -> bool {
        let count = self.0.partition_point(|(start, ..)| *start <= end);
        count.checked_sub(1).is_some_and(|last| self.0[last].1 >= begin)
    }
}

mod tests {
    use super::*;

    #[test]
    fn the_latest_of_those_before() {
        let latest = Latest::new([(5, 50), (3, 70), (9, 60)]);
        assert_eq!([3, 4, 6, 10].map(|key| latest.below(key)), [None, Some(70), Some(70), Some(70)]);
        let latest = Latest::new([(1, 1), (2, 2)]);
        assert_eq!([2, 3].map(|key| latest.below(key)), [Some(1), Some(2)]);
    }

    #[test]
    fn spans_are_found() {
        let (spans, overlaps) = Spans::new([(10, 20, 'a'), (30, 40, 'b')]);
        assert_eq!(overlaps, []);
        assert_eq!(
            [(12, 15), (10, 15), (12, 20), (25, 27)].map(|(b, e)| spans.around(b, e)),
            [Some('a'), None, None, None]
        );
        assert_eq!([(1, 10), (20, 25), (21, 29), (5, 50)].map(|(b, e)| spans.touch(b, e)), [true, true, false, true]);
        let union = Spans::union(&[(10, 20), (12, 13), (15, 30), (40, 50)], ());
        assert_eq!([(29, 29), (31, 39), (45, 60)].map(|(b, e)| union.touch(b, e)), [true, false, true]);
        assert_eq!(Spans::new([(10, 20, 'a'), (12, 13, 'b'), (14, 30, 'c')]).1, [('a', 'b'), ('a', 'c')]);
    }
}
