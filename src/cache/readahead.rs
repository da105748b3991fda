//! How far to fetch beyond what a reader asked for. Pure but for the lock that makes it shareable.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::BLOCK;

/// The largest window in bytes: 16 MiB in flight hide 100 ms of latency at more than 1 Gbit/s.
const WINDOW_MAX: u64 = 16 << 20;
/// Bytes by which a sequential reader's calls may arrive out of order: the kernel sends the parts of its own
/// readahead (up to 1 MiB each) from several threads.
const SLACK: u64 = 1 << 20;

/// The read pattern of one open file.
#[derive(Debug, Default)]
pub struct Readahead(Mutex<Window>);

impl Readahead {
    /// Notes that `read` was asked for. Gives what a sequential reader will want next and was not told to fetch
    /// before.
    pub(super) fn note(&self, read: &Range<u64>) -> Option<Range<u64>> {
        // A window is valid after any panic: the worst is a fetch too many.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(read)
    }
}

#[derive(Debug, Default)]
struct Window {
    /// Where a sequential reader goes on.
    next: u64,
    /// Bytes of the next extension; 0 until a second read proved the pattern.
    size: u64,
    /// Up to here was fetched ahead.
    ahead: u64,
}

impl Window {
    fn note(&mut self, read: &Range<u64>) -> Option<Range<u64>> {
        let sequential = read.start <= self.next.saturating_add(SLACK) && self.next <= read.start.saturating_add(SLACK);
        if !sequential || self.next == 0 {
            *self = Self { next: read.end, ..Self::default() };
            return None;
        }
        if read.end <= self.next {
            return None;
        }
        self.next = read.end;
        self.size = self.size.max(BLOCK);
        // Half a window early, so that the reader does not wait at its end.
        if self.ahead > self.next.saturating_add(self.size / 2) {
            return None;
        }
        let start = self.ahead.max(self.next);
        self.ahead = start.saturating_add(self.size).next_multiple_of(BLOCK);
        self.size = (self.size * 2).min(WINDOW_MAX);
        Some(start..self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    /// The only call into the window: what each read causes to be fetched beyond itself.
    #[track_caller]
    fn check(reads: &[Range<u64>], expect: &[Option<Range<u64>>]) {
        let mut window = Window::default();
        let got: Vec<_> = reads.iter().map(|read| window.note(read)).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn first_read_proves_nothing() {
        check(&[0..M], &[None]);
        check(&[50 * M..51 * M], &[None]);
    }

    #[test]
    fn window_doubles_up_to_its_maximum() {
        let mut window = Window::default();
        let mut sizes = Vec::new();
        for at in 0..200 {
            if let Some(more) = window.note(&(at * M..(at + 1) * M)) {
                assert!(more.start > at * M, "what was read already is not fetched ahead");
                sizes.push((more.end - more.start) / M);
            }
        }
        assert_eq!(sizes[..6], [1, 2, 4, 8, 16, 16]);
    }

    #[test]
    fn windows_follow_each_other_without_gap_or_overlap() {
        let mut window = Window::default();
        let mut end = None;
        for at in 0..2000 {
            let Some(more) = window.note(&(at * M / 8..(at + 1) * M / 8)) else { continue };
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
            &[None, Some(2 * M..3 * M), None, Some(52 * M..53 * M)],
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
