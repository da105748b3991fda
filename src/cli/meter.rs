//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::render::{age, bytes};
use crate::{
    adopt::meter::{Meter, Reading},
    clock,
};

/// How often a bar is drawn: more the eye does not see.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written: a log of an hour is still read.
const LINE: Duration = Duration::from_secs(10);
/// Without the time at its end, which changes all the time.
const BAR: &str = "{prefix:>9} [{bar:28}] {percent:>3}% {msg}";

/// Shows until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    end: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Shows `meter` on stderr.
pub(super) fn show(meter: Arc<Meter>) -> Progress {
    let (end, ended) = sync_channel(1);
    let draw = move || if io::stderr().is_terminal() { bars(&meter, &ended) } else { lines(&meter, &ended) };
    // Without a thread nobody sees how far it is, and that is all.
    let thread = thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
    Progress { end: Some(end), thread }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// When the present phase began.
struct Clock {
    phase: &'static str,
    since: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { phase: "", since: clock::now() }
    }

    /// Whether another phase has begun.
    fn turn(&mut self, reading: &Reading) -> bool {
        let turned = self.phase != reading.phase;
        if turned {
            *self = Self { phase: reading.phase, since: clock::now() };
        }
        turned
    }
}

fn bars(meter: &Meter, ended: &Receiver<()>) {
    let style = || ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let mut clock = Clock::new();
    let mut bar: Option<ProgressBar> = None;
    loop {
        let over = ended.recv_timeout(FRAME) == Err(RecvTimeoutError::Disconnected);
        let reading = meter.read();
        if clock.turn(&reading)
            && let Some(bar) = bar.take()
        {
            bar.abandon();
        }
        if !reading.phase.is_empty() {
            let bar = bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
                bar.with_style(style()).with_prefix(reading.phase)
            });
            let (done, all) = reading.work();
            bar.set_length(all.max(1));
            bar.set_position(if all == 0 { 1 } else { done });
            bar.set_message(text(&reading, clock.since.elapsed()));
        }
        if over {
            if let Some(bar) = bar {
                bar.abandon();
            }
            return;
        }
    }
}

fn lines(meter: &Meter, ended: &Receiver<()>) {
    let mut clock = Clock::new();
    let mut told = clock::now();
    while ended.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        let reading = meter.read();
        clock.turn(&reading);
        if told.elapsed() >= LINE && !reading.phase.is_empty() {
            told = clock::now();
            writeln!(io::stderr(), "originfs: {} {}", reading.phase, text(&reading, clock.since.elapsed())).ok();
        }
    }
}

/// `120/10000 files, 1.2 of 3.0 GiB, 12.0 MiB/s, 40 files/s, 3 min 2 s left`
fn text(reading: &Reading, since: Duration) -> String {
    let per_second = |count: u64| {
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        count.saturating_mul(1_000) / millis
    };
    let Reading { files, all_files, bytes: done, all_bytes, .. } = *reading;
    let left = reading.left(since).map_or("? left".to_owned(), |left| {
        format!("{} left", age(Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))))
    });
    format!(
        "{files}/{} files, {} of {}, {}/s, {} files/s, {left}",
        all_files.max(files),
        bytes(done),
        bytes(all_bytes.max(done)),
        bytes(per_second(done)),
        per_second(files)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_rest_in_words() {
        let reading = Reading { phase: "uploading", files: 100, bytes: 10 << 20, all_files: 400, all_bytes: 40 << 20 };
        let expect = "100/400 files, 10.0 MiB of 40.0 MiB, 1.0 MiB/s, 10 files/s, 30 s left";
        assert_eq!(text(&reading, Duration::from_secs(10)), expect);
        let nothing = Reading { files: 0, bytes: 0, ..reading };
        assert!(text(&nothing, Duration::ZERO).ends_with("0 B/s, 0 files/s, ? left"));
    }

    #[test]
    fn the_template_of_the_bar_is_one() {
        ProgressStyle::with_template(BAR).unwrap();
    }
}
