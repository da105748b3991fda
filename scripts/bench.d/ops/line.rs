//! One direction of a network: what is sent arrives later by a delay, no faster than the bandwidth, and in order.
//! What is sent meanwhile is under way as well: a delay costs no bandwidth. Pure: times come as arguments.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The wire of one direction, shared by all connections.
#[derive(Debug)]
pub(crate) struct Line {
    delay: Duration,
    /// Bytes per second, if there is a limit.
    bandwidth: Option<f64>,
    /// Until when the wire is busy with what was sent before.
    busy: Mutex<Option<Instant>>,
}

/// The two moments of a transmission.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Passage {
    /// The last byte is on the wire: the sender may go on.
    pub(crate) sent: Instant,
    /// The last byte is at the other end.
    pub(crate) arrives: Instant,
}

impl Line {
    pub(crate) fn new(delay: Duration, bandwidth: Option<f64>) -> Self {
        Self { delay, bandwidth, busy: Mutex::default() }
    }

    /// Sends so many bytes at `now`, after what was sent before.
    pub(crate) fn send(&self, now: Instant, bytes: usize) -> Passage {
        let Some(bandwidth) = self.bandwidth else {
            return Passage { sent: now, arrives: now + self.delay };
        };
        // A moment is valid whatever panicked.
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let start = busy.map_or(now, |busy| busy.max(now));
        #[expect(clippy::cast_precision_loss, reason = "a chunk has far less than 2^52 bytes")]
        let sent = start + Duration::from_secs_f64(bytes as f64 / bandwidth);
        *busy = Some(sent);
        Passage { sent, arrives: sent + self.delay }
    }
}

#[cfg(test)]
mod tests {
    use originfs::clock;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The only call into a line: milliseconds of sending and of bytes, and when the last of each is there.
    #[track_caller]
    fn check(bandwidth: Option<f64>, sends: &[(u32, usize)], expect: &[u32]) {
        let (line, start) = (Line::new(7 * MS, bandwidth), clock::now());
        let arrivals: Vec<_> = sends.iter().map(|&(at, bytes)| line.send(start + at * MS, bytes).arrives).collect();
        assert_eq!(arrivals, expect.iter().map(|&at| start + at * MS).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_sent_at_once_is_under_way_at_once() {
        check(None, &[(0, 1000), (0, 1000), (1, 1_000_000)], &[7, 7, 8]);
    }

    #[test]
    fn a_narrow_line_takes_one_after_the_other() {
        check(Some(1000.0), &[(0, 10), (0, 10), (1, 20)], &[17, 27, 47]);
    }

    #[test]
    fn an_idle_line_saves_nothing_up() {
        check(Some(1000.0), &[(0, 10), (100, 10)], &[17, 117]);
    }

    #[test]
    fn the_sender_waits_for_the_wire_and_not_for_the_way() {
        let (line, start) = (Line::new(7 * MS, Some(1000.0)), clock::now());
        assert_eq!(line.send(start, 10), Passage { sent: start + 10 * MS, arrives: start + 17 * MS });
    }
}
