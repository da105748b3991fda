//! How far to fetch beyond what a reader asked for. Pure but for the lock that makes it shareable.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{BLOCK, PIECE};

/// The largest window in bytes for a reader that need not wait: what is fetched in vain if it stops.
const WINDOW_MAX: u64 = 16 << 20;
/// That for a reader that had to wait for bytes that were ordered before: it takes them faster than such a window
/// brings them. 64 MiB hide 50 ms of latency at 10 Gbit/s, and are all that a mount has on its way.
const WINDOW_WAITING: u64 = 64 << 20;
/// Bytes by which a sequential reader's calls may arrive out of order: the kernel sends the parts of its own
/// readahead (up to 1 MiB each) from several threads.
const SLACK: u64 = 1 << 20;

/// The read pattern of one open file.
#[derive(Debug, Default)]
pub struct Readahead(Mutex<Window>);

impl Readahead {
    /// Notes that `read` was asked for, and whether its bytes are here. Gives what a sequential reader will want next and
    /// was not told to fetch before.
    pub(super) fn note(&self, read: &Range<u64>, here: bool) -> Option<Range<u64>> {
        self.window().note(read, here)
    }

    /// Of what [`Self::note`] gave last, nothing from `end` on is fetched: there was no capacity for more.
    pub(super) fn stopped(&self, end: u64) {
        let mut window = self.window();
        // Another reader of the file may have begun elsewhere meanwhile.
        window.ahead = window.ahead.min(end);
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // A window is valid after any panic: the worst is a fetch too many.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Window {
    /// Where the reader began to read on and on.
    start: u64,
    /// Where a sequential reader goes on; 0 before the first read.
    next: u64,
    /// Up to here was fetched ahead.
    ahead: u64,
    /// The most bytes of it now.
    max: u64,
    /// The reader waited for what was fetched ahead as far as that is allowed.
    waited: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { start: 0, next: 0, ahead: 0, max: WINDOW_MAX, waited: false }
    }
}

impl Window {
    fn note(&mut self, read: &Range<u64>, here: bool) -> Option<Range<u64>> {
        let sequential = read.start <= self.next.saturating_add(SLACK) && self.next <= read.start.saturating_add(SLACK);
        if !sequential || self.next == 0 {
            *self = Self { start: read.start, next: read.end, ..Self::default() };
            return None;
        }
        if read.end <= self.next {
            return None;
        }
        self.next = read.end;
        // Who has read that much may want twice as much; most files are read to their end, or left soon.
        let size = (self.next.saturating_sub(self.start) * 2).clamp(BLOCK, self.max);
        self.waited |= !here && size == self.max && read.start < self.ahead;
        let end = self.next.saturating_add(size);
        // A request for each little step would be many.
        if self.ahead.saturating_add((size / 2).clamp(BLOCK, PIECE)) > end {
            return None;
        }
        if std::mem::take(&mut self.waited) {
            self.max = (self.max * 2).min(WINDOW_WAITING);
        }
        let start = self.ahead.max(self.next);
        self.ahead = end.next_multiple_of(BLOCK);
        Some(start..self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    /// What each read causes to be fetched beyond itself.
    #[track_caller]
    fn check(reads: &[Range<u64>], expect: &[Option<Range<u64>>]) {
        let mut window = Window::default();
        let got: Vec<_> = reads.iter().map(|read| window.note(read, true)).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn first_read_proves_nothing() {
        check(&[0..M], &[None]);
        check(&[50 * M..51 * M], &[None]);
    }

    /// How far beyond a reader of 1 MiB each is fetched at most, for `count` reads.
    fn farthest(window: &mut Window, from: u64, count: u64, here: bool) -> u64 {
        let mut farthest = 0;
        for at in from..from + count {
            if let Some(more) = window.note(&(at * M..(at + 1) * M), here) {
                assert!(more.start > at * M, "what was read already is not fetched ahead");
            }
            farthest = farthest.max(window.ahead.saturating_sub((at + 1) * M));
        }
        farthest
    }

    #[test]
    fn window_grows_with_what_was_read_up_to_its_maximum() {
        let far = |count| farthest(&mut Window::default(), 0, count, true);
        assert_eq!([1, 2, 3, 5, 9, 200].map(far), [0, 4 * M, 6 * M, 10 * M, 16 * M, 16 * M]);
        // Also for who starts in the middle.
        assert_eq!(farthest(&mut Window::default(), 1000, 3, true), 6 * M);
    }

    #[test]
    fn a_reader_that_waits_gets_more_and_keeps_it() {
        let mut window = Window::default();
        assert_eq!(farthest(&mut window, 0, 9, false), 16 * M, "not before the first window is full");
        assert_eq!(farthest(&mut window, 9, 200, false), WINDOW_WAITING);
        assert_eq!(farthest(&mut window, 209, 200, true), WINDOW_WAITING);
        assert_eq!(farthest(&mut window, 1000, 200, true), WINDOW_MAX, "until it reads elsewhere");
    }

    #[test]
    fn what_found_no_capacity_is_fetched_later() {
        let ahead = Readahead::default();
        assert_eq!(ahead.note(&(0..M), false), None);
        assert_eq!(ahead.note(&(M..2 * M), false), Some(2 * M..6 * M));
        ahead.stopped(3 * M);
        assert_eq!(ahead.note(&(2 * M..3 * M), true), Some(3 * M..9 * M));
        // Who reads elsewhere by then is not taken to have come that far.
        assert_eq!(ahead.note(&(50 * M..51 * M), true), None);
        ahead.stopped(90 * M);
        assert_eq!(ahead.note(&(51 * M..52 * M), true), Some(52 * M..56 * M));
    }

    #[test]
    fn windows_follow_each_other_without_gap_or_overlap() {
        let mut window = Window::default();
        let mut end = None;
        for at in 0..2000 {
            let Some(more) = window.note(&(at * M / 8..(at + 1) * M / 8), true) else { continue };
            assert!(end.is_none_or(|end| end == more.start));
            assert!(more.end >= (at + 1) * M / 8);
            end = Some(more.end);
        }
        assert!(end >= Some(250 * M));
    }

    #[test]
    fn seek_resets_window() {
        check(
            &[0..M, M..2 * M, 50 * M..51 * M, 51 * M..52 * M],
            &[None, Some(2 * M..6 * M), None, Some(52 * M..56 * M)],
        );
    }

    #[test]
    fn random_reads_fetch_nothing_ahead() {
        check(&[90 * M..91 * M, 10 * M..11 * M, 60 * M..61 * M, 0..M, 30 * M..31 * M], &[None, None, None, None, None]);
    }

    #[test]
    fn reads_out_of_order_stay_sequential() {
        let k = 128 << 10;
        check(&[0..k, 2 * k..3 * k, k..2 * k, 3 * k..4 * k], &[None, Some(3 * k..2 * M), None, None]);
    }
}
