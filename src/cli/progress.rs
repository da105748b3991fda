//! How far something is that takes long, on stderr: a bar with rate and time left on a terminal, elsewhere a plain
//! line now and then.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::complain;
use crate::clock;

/// Between plain lines: often enough to see that it goes on, few enough for a log.
const LINE_PAUSE: Duration = Duration::from_secs(5);
/// Redraws of the bar in a second: more than that nobody reads.
const DRAWS: u8 = 5;
/// Before this there is no rate worth telling.
const RATE_AFTER: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Files,
    Bytes,
}

/// Progress of one command. Threads may share it.
#[derive(Debug)]
pub(super) struct Progress(Shown);

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar, Unit),
    Lines(Mutex<Lines>),
    Nothing,
}

#[derive(Debug)]
struct Lines {
    what: &'static str,
    unit: Unit,
    begun: Instant,
    said: Instant,
    at: u64,
    total: Option<u64>,
    note: String,
}

impl Progress {
    /// Begins to show how far `what` is: a bar if stderr is a terminal, else lines.
    pub(super) fn start(what: &'static str, unit: Unit) -> Self {
        if !io::stderr().is_terminal() {
            let now = clock::now();
            let lines = Lines { what, unit, begun: now, said: now, at: 0, total: None, note: String::new() };
            return Self(Shown::Lines(Mutex::new(lines)));
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS));
        bar.set_style(style(template(unit, None)));
        bar.set_prefix(what);
        Self(Shown::Bar(bar, unit))
    }

    /// For output that is for programs: shows nothing.
    pub(super) fn none() -> Self {
        Self(Shown::Nothing)
    }

    /// How much there is to do, as soon as that is known; it may change.
    pub(super) fn total(&self, total: u64) {
        match &self.0 {
            Shown::Bar(bar, unit) => {
                if bar.length().is_none() {
                    bar.set_style(style(template(*unit, Some(total))));
                }
                if bar.length() != Some(total) {
                    bar.set_length(total);
                }
            }
            Shown::Lines(lines) => lock(lines).total = Some(total),
            Shown::Nothing => {}
        }
    }

    /// How much is done, counted from the start.
    pub(super) fn at(&self, done: u64) {
        match &self.0 {
            Shown::Bar(bar, _) => bar.set_position(done),
            Shown::Lines(lines) => {
                let mut lines = lock(lines);
                lines.at = done;
                let now = clock::now();
                if now.saturating_duration_since(lines.said) >= LINE_PAUSE {
                    lines.said = now;
                    complain(&lines.text(now));
                }
            }
            Shown::Nothing => {}
        }
    }

    /// A few words beside the count, in the place of those before.
    pub(super) fn note(&self, note: &str) {
        match &self.0 {
            Shown::Bar(bar, _) => bar.set_message(note.to_owned()),
            Shown::Lines(lines) => note.clone_into(&mut lock(lines).note),
            Shown::Nothing => {}
        }
    }

    /// A line of its own, which stays: for what goes wrong on the way.
    pub(super) fn say(&self, line: &str) {
        match &self.0 {
            Shown::Bar(bar, _) => bar.suspend(|| complain(line)),
            Shown::Lines(_) | Shown::Nothing => complain(line),
        }
    }

    /// Takes the bar away, or says the last line. What came of it is the caller's to say.
    pub(super) fn finish(self) {
        match self.0 {
            Shown::Bar(bar, _) => bar.finish_and_clear(),
            Shown::Lines(lines) => complain(&lock(&lines).text(clock::now())),
            Shown::Nothing => {}
        }
    }
}

impl Lines {
    /// As `warm: 120 of 1000 files, 40 files/s, 22 seconds left, 3 failed`.
    fn text(&self, now: Instant) -> String {
        let spent = now.saturating_duration_since(self.begun);
        let count = |n: u64| match self.unit {
            Unit::Files => n.to_string(),
            Unit::Bytes => HumanBytes(n).to_string(),
        };
        let unit = if self.unit == Unit::Files { " files" } else { "" };
        let mut text = format!("{}: {}", self.what, count(self.at));
        if let Some(total) = self.total {
            write!(text, " of {}", count(total)).expect("a string takes everything");
        }
        text.push_str(unit);
        if let Some(rate) = rate(self.at, spent) {
            write!(text, ", {}{unit}/s", count(rate)).expect("a string takes everything");
            let left = self.total.map(|total| total.saturating_sub(self.at)).filter(|left| *left > 0 && rate > 0);
            if let Some(left) = left {
                let left = HumanDuration(Duration::from_secs(left.div_ceil(rate)));
                write!(text, ", {left} left").expect("a string takes everything");
            }
        }
        if !self.note.is_empty() {
            write!(text, ", {}", self.note).expect("a string takes everything");
        }
        text
    }
}

/// In a second; `None` while it is too early to tell.
fn rate(done: u64, spent: Duration) -> Option<u64> {
    let millis = u64::try_from(spent.as_millis()).ok().filter(|_| spent >= RATE_AFTER)?;
    Some(done.saturating_mul(1000) / millis)
}

fn template(unit: Unit, total: Option<u64>) -> &'static str {
    match (unit, total) {
        (Unit::Files, None) => "{prefix}: {human_pos} files, {per_sec}, {elapsed} {msg}",
        (Unit::Files, Some(_)) => "{prefix} [{bar:24}] {human_pos}/{human_len} files, {per_sec}, {eta} left {msg}",
        (Unit::Bytes, None) => "{prefix}: {binary_bytes}, {binary_bytes_per_sec}, {elapsed} {msg}",
        (Unit::Bytes, Some(_)) => {
            "{prefix} [{bar:24}] {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}"
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant that a test parses").progress_chars("=> ")
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(unit: Unit, at: u64, total: Option<u64>, note: &str) -> Lines {
        let now = clock::now();
        Lines { what: "warm", unit, begun: now, said: now, at, total, note: note.to_owned() }
    }

    #[track_caller]
    fn check(lines: &Lines, millis: u64, expect: &str) {
        assert_eq!(lines.text(lines.begun + Duration::from_millis(millis)), expect);
    }

    #[test]
    fn a_line_tells_count_rate_and_what_is_left() {
        check(&lines(Unit::Files, 120, Some(1000), "3 failed"), 3000, {
            "warm: 120 of 1000 files, 40 files/s, 22 seconds left, 3 failed"
        });
        check(&lines(Unit::Bytes, 3 << 20, Some(9 << 20), ""), 3000, {
            "warm: 3.00 MiB of 9.00 MiB, 1.00 MiB/s, 6 seconds left"
        });
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        check(&lines(Unit::Files, 7, None, ""), 0, "warm: 7 files");
        check(&lines(Unit::Files, 0, Some(5), ""), 1000, "warm: 0 of 5 files, 0 files/s");
        check(&lines(Unit::Files, 5, Some(5), ""), 1000, "warm: 5 of 5 files, 5 files/s");
    }

    #[test]
    fn the_templates_are_templates() {
        for unit in [Unit::Files, Unit::Bytes] {
            for total in [None, Some(1)] {
                style(template(unit, total));
            }
        }
    }
}
