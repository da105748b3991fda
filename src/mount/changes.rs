//! Writes down how soon files are replaced, so that `originfs cost --ttl` knows how long a cache may keep them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    clock,
    cost::{
        changes::{Changes, FILE},
        day::Day,
    },
    fs::Turn,
};

/// Between times that it is written down. A mount that is killed loses as much.
const PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Noted {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    changes: Changes,
    /// Something of it is not written down.
    fresh: bool,
}

impl Noted {
    /// Goes on with what former mounts left in `dir`, their cache directory.
    fn open(dir: &Path, today: Day) -> Self {
        let path = dir.join(FILE);
        let mut changes = Changes::load(&path).unwrap_or_else(|err| {
            log::warn!("{}: {err}; what was replaced before is forgotten", path.display());
            Changes::default()
        });
        changes.begin(today);
        Self { path, state: Mutex::new(State { changes, fresh: false }) }
    }

    /// A file of that path has another version.
    pub(super) fn note(&self, path: &str, turn: Turn, today: Day) {
        let mut state = self.state();
        match turn {
            Turn::Came => state.changes.came(path, today),
            Turn::Replaced(age) => state.changes.replaced(path, today, age.as_secs()),
        }
        state.fresh = true;
    }

    /// Writes down what is not yet.
    pub(super) fn save(&self) {
        let changes = {
            let mut state = self.state();
            if !std::mem::take(&mut state.fresh) {
                return;
            }
            state.changes.clone()
        };
        if let Err(err) = changes.save(&self.path) {
            log::warn!("{}: {err}", self.path.display());
            self.state().fresh = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

/// Takes notes for as long as the runtime lives.
pub(super) fn keep(dir: &Path) -> Arc<Noted> {
    let noted = Arc::new(Noted::open(dir, Day::of(clock::wall().sec)));
    let noting = Arc::clone(&noted);
    drop(tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let noting = Arc::clone(&noting);
            // A panic there would be told by the hook; the mount goes on.
            drop(tokio::task::spawn_blocking(move || noting.save()).await);
        }
    }));
    noted
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noted").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mount_goes_on() {
        let dir = std::env::temp_dir().join(format!("originfs-mount-changes-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let first = Noted::open(&dir, Day(10));
        first.save();
        assert!(!dir.join(FILE).exists(), "there is nothing to say");
        first.note("a.css", Turn::Came, Day(11));
        first.note("a.css", Turn::Replaced(Duration::from_secs(90)), Day(11));
        first.save();
        let second = Noted::open(&dir, Day(40));
        second.note("a.css", Turn::Came, Day(40));
        second.save();
        let changes = Changes::load(&dir.join(FILE)).unwrap();
        let advice = &changes.advice(Day(40))[0];
        assert_eq!((changes.days(Day(40)), advice.tally.came, advice.tally.within(300)), (30, 2, 1));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
