//! Writes down what is asked of the bucket, by day, so that `originfs cost` knows of former days and mounts.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    clock,
    cost::{
        day::Day,
        ledger::{FILE, Ledger, Usage},
    },
};

/// Between looks at the counters. A mount that is killed loses as much.
const PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Accounts {
    path: PathBuf,
    /// All since the mount began.
    usage: Box<dyn Fn() -> Usage + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    ledger: Ledger,
    /// What the ledger has of this mount.
    noted: Usage,
}

impl Accounts {
    /// Goes on with what former mounts left in `dir`, their cache directory.
    fn open(dir: &Path, usage: impl Fn() -> Usage + Send + Sync + 'static) -> Self {
        let path = dir.join(FILE);
        let ledger = Ledger::load(&path).unwrap_or_else(|err| {
            log::warn!("{}: {err}; the costs of former days are forgotten", path.display());
            Ledger::default()
        });
        Self { path, usage: Box::new(usage), state: Mutex::new(State { ledger, noted: Usage::default() }) }
    }

    /// What came since the last time is of the day of `now`, in seconds since 1970.
    pub(super) fn note(&self, now: i64) {
        let usage = (self.usage)();
        let mut state = self.state.lock().expect("nothing panics while it holds this lock");
        let more = usage - state.noted;
        if more == Usage::default() {
            return;
        }
        state.ledger.add(Day::of(now), more);
        state.noted = usage;
        if let Err(err) = state.ledger.save(&self.path) {
            log::warn!("{}: {err}", self.path.display());
        }
    }
}

/// Takes notes for as long as the runtime lives.
pub(super) fn keep(dir: &Path, usage: impl Fn() -> Usage + Send + Sync + 'static) -> Arc<Accounts> {
    let accounts = Arc::new(Accounts::open(dir, usage));
    let noting = Arc::clone(&accounts);
    drop(tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let noting = Arc::clone(&noting);
            // A panic there would be told by the hook; the mount goes on.
            drop(tokio::task::spawn_blocking(move || noting.note(clock::wall().sec)).await);
        }
    }));
    accounts
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::cost::day::SECONDS;

    #[test]
    fn each_day_gets_its_own_and_the_next_mount_goes_on() {
        let dir = std::env::temp_dir().join(format!("originfs-accounts-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let counter = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&counter);
        let usage = move || Usage { class_b: counting.load(Relaxed), ..Usage::default() };
        let first = Accounts::open(&dir, usage.clone());
        for (day, count) in [(0, 10), (0, 15), (1, 15), (1, 18)] {
            counter.store(count, Relaxed);
            first.note(day * SECONDS + 5);
        }
        counter.store(4, Relaxed);
        Accounts::open(&dir, usage).note(SECONDS + 7);
        let ledger = Ledger::load(&dir.join(FILE)).unwrap();
        let days: Vec<_> = ledger.days().map(|(day, usage)| (day.0, usage.class_b)).collect();
        assert_eq!(days, [(0, 15), (1, 7)]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
