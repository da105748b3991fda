//! Writes down what is read through the mount, so that `originfs cold` knows of reads that no log has: an open that the
//! cache or the kernel answers asks the bucket for nothing.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{
    clock,
    cost::{
        day::Day,
        reads::{FILE, add},
    },
};

/// Objects that are remembered until they are written down: at 25 bytes each, 5 MiB.
const RECENT_MAX: usize = 200_000;
/// Between looks at what is remembered.
const PAUSE: Duration = Duration::from_mins(1);
/// Between times that it is written down, unless there is much of it: the file is written anew each time. A mount that is
/// killed forgets as much.
const SAVE_PAUSE: Duration = Duration::from_mins(15);

pub(super) struct Reads {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    recent: HashMap<u64, Day>,
    /// Something of it is not written down.
    fresh: bool,
    /// There was no room for some; what is written down is complete since that day alone.
    complete_since: Option<Day>,
    saved: Instant,
}

impl Reads {
    fn open(dir: &Path, now: Instant) -> Self {
        let state = State { recent: HashMap::new(), fresh: false, complete_since: None, saved: now };
        Self { path: dir.join(FILE), state: Mutex::new(state) }
    }

    /// The object of that number was opened for reading.
    pub(super) fn note(&self, id: u64, day: Day) {
        let mut state = self.state();
        let room = state.recent.len() < RECENT_MAX;
        match state.recent.get_mut(&id) {
            Some(known) if *known >= day => return,
            Some(known) => *known = day,
            None if room => drop(state.recent.insert(id, day)),
            None => state.complete_since = Some(Day(day.0.saturating_add(1))),
        }
        state.fresh = true;
    }

    fn is_due(&self, now: Instant) -> bool {
        let state = self.state();
        let crowded = state.recent.len() >= RECENT_MAX / 4 * 3;
        state.fresh && (crowded || now.saturating_duration_since(state.saved) >= SAVE_PAUSE)
    }

    /// Writes down what is not yet.
    pub(super) fn save(&self, today: Day, now: Instant) {
        let (mut entries, complete_since) = {
            let mut state = self.state();
            if !state.fresh {
                return;
            }
            state.fresh = false;
            state.saved = now;
            (state.recent.iter().map(|(id, day)| (*id, *day)).collect::<Vec<_>>(), state.complete_since)
        };
        entries.sort_unstable();
        let saved = add(&self.path, &entries, today, complete_since);
        let mut state = self.state();
        match saved {
            Ok(()) => {
                // Those of today come again, and are not to be written again.
                let crowded = state.recent.len() >= RECENT_MAX / 2;
                let fresh = state.fresh;
                state.recent.retain(|_, day| fresh || *day >= today && !crowded);
                if state.complete_since == complete_since {
                    state.complete_since = None;
                }
            }
            Err(err) => {
                state.fresh = true;
                log::warn!("{}: {err}; what is read here is not written down", self.path.display());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

/// Takes notes for as long as the runtime lives.
pub(super) fn keep(dir: &Path) -> Arc<Reads> {
    let reads = Arc::new(Reads::open(dir, clock::now()));
    // An empty record tells since when nothing was read.
    reads.state().fresh = true;
    let noting = Arc::clone(&reads);
    drop(tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let (noting, now) = (Arc::clone(&noting), clock::now());
            if noting.is_due(now) {
                // A panic there would be told by the hook; the mount goes on.
                drop(tokio::task::spawn_blocking(move || noting.save(Day::of(clock::wall().sec), now)).await);
            }
        }
    }));
    reads
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::reads::Record;

    fn read(path: &Path) -> (i32, Vec<(u64, i32)>) {
        let record = Record::open(path).unwrap().unwrap();
        (record.since().0, record.map(|entry| entry.map(|(id, day)| (id, day.0)).unwrap()).collect())
    }

    #[test]
    fn what_is_read_is_written_down_once_a_day() {
        let dir = std::env::temp_dir().join(format!("originfs-mount-reads-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (now, path) = (clock::now(), dir.join(FILE));
        let reads = Reads::open(&dir, now);
        reads.save(Day(10), now);
        assert!(!path.exists(), "there is nothing to say");
        reads.note(7, Day(10));
        reads.note(3, Day(10));
        assert!(!reads.is_due(now) && reads.is_due(now + SAVE_PAUSE));
        reads.save(Day(10), now);
        assert_eq!(read(&path), (10, vec![(3, 10), (7, 10)]));
        reads.note(7, Day(10));
        assert!(!reads.is_due(now + SAVE_PAUSE), "it is known of today");
        reads.note(7, Day(11));
        reads.save(Day(11), now);
        Reads::open(&dir, now).save(Day(12), now);
        assert_eq!(read(&path), (10, vec![(3, 10), (7, 11)]), "the next mount goes on");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_finds_no_room_makes_the_record_begin_later() {
        let dir = std::env::temp_dir().join(format!("originfs-mount-reads-many-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (now, path) = (clock::now(), dir.join(FILE));
        let reads = Reads::open(&dir, now);
        for id in 0..RECENT_MAX as u64 {
            reads.note(id, Day(10));
        }
        assert!(reads.is_due(now), "it is written down before there is no room");
        reads.note(u64::MAX, Day(10));
        reads.save(Day(10), now);
        assert_eq!((read(&path).0, read(&path).1.len()), (11, RECENT_MAX));
        reads.note(u64::MAX, Day(12));
        reads.save(Day(12), now);
        assert_eq!((read(&path).0, read(&path).1.last()), (11, Some(&(u64::MAX, 12))));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
