//! How far the work is, for whoever waits for it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a file costs beside its bytes, in bytes that take as long: a request to a bucket that is 20 ms away.
const FILE_COST: u64 = 64 << 10;

/// Counters that the work turns and others read.
#[derive(Debug, Default)]
pub struct Meter {
    phase: Mutex<&'static str>,
    files: AtomicU64,
    bytes: AtomicU64,
    all_files: AtomicU64,
    all_bytes: AtomicU64,
}

/// The counters of one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    pub phase: &'static str,
    pub files: u64,
    pub bytes: u64,
    pub all_files: u64,
    pub all_bytes: u64,
}

impl Meter {
    /// Begins to count anew.
    pub fn begin(&self, phase: &'static str, (files, bytes): (u64, u64)) {
        let mut now = self.phase.lock().expect("nothing panics while it holds this lock");
        *now = phase;
        for (counter, value) in [(&self.files, 0), (&self.bytes, 0), (&self.all_files, files), (&self.all_bytes, bytes)]
        {
            counter.store(value, Relaxed);
        }
    }

    /// One more file is done.
    pub fn done(&self, bytes: u64) {
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub fn read(&self) -> Reading {
        let phase = *self.phase.lock().expect("nothing panics while it holds this lock");
        let [files, bytes, all_files, all_bytes] =
            [&self.files, &self.bytes, &self.all_files, &self.all_bytes].map(|counter| counter.load(Relaxed));
        Reading { phase, files, bytes, all_files, all_bytes }
    }
}

impl Reading {
    /// What is done and what is to be done, in a measure that counts small files as well.
    pub fn work(&self) -> (u64, u64) {
        let cost = |files: u64, bytes: u64| files.saturating_mul(FILE_COST).saturating_add(bytes);
        let done = cost(self.files, self.bytes);
        (done, cost(self.all_files, self.all_bytes).max(done))
    }

    /// How long the rest takes if it goes on as in the time since the start; `None` before anybody can tell.
    pub fn left(&self, since: Duration) -> Option<Duration> {
        let (done, all) = self.work();
        let left = since.as_millis().saturating_mul(u128::from(all - done)).checked_div(u128::from(done))?;
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        let meter = Meter::default();
        meter.begin("uploading", (4, 0));
        assert_eq!(meter.read().left(Duration::from_secs(9)), None);
        meter.done(0);
        assert_eq!(meter.read().left(Duration::from_secs(9)), Some(Duration::from_secs(27)));
        // More came than was counted before.
        (0..9).for_each(|_| meter.done(1 << 20));
        assert_eq!(meter.read().left(Duration::from_secs(9)), Some(Duration::ZERO));
    }
}
