//! Versions that come and go, for who wants to know how soon files are replaced.

use std::time::Duration;

use super::{Fs, known::Known};
use crate::{clock, model::key::Key, store::Store};

/// What became of the name of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// It has a version that was not there before.
    Came,
    /// A version is no more, after so long.
    Replaced(Duration),
}

/// Who wants to know.
pub(super) type Told = Box<dyn Fn(&Key, Turn) + Send + Sync>;

impl<S: Store> Fs<S> {
    /// From now on `turns` is told when files get other bytes through this mount; not of directories that are renamed.
    pub fn tell_turns(&self, turns: Told) {
        drop(self.turns.set(turns));
    }

    /// The file at `key` has another version, in the place of one that was known as `former`.
    pub(super) fn told_turn(&self, key: &Key, former: Option<Duration>) {
        let Some(turns) = self.turns.get() else { return };
        if let Some(age) = former {
            turns(key, Turn::Replaced(age));
        }
        turns(key, Turn::Came);
    }
}

impl Known {
    /// For how long the bucket has had it, as far as that is known.
    pub(super) fn age(&self) -> Option<Duration> {
        let modified = self.version.as_ref()?.modified;
        let Some(modified) = modified else {
            // That of a write of ours, whose answer tells no time.
            return self.asked.map(|asked| clock::now().saturating_duration_since(asked));
        };
        Some(Duration::from_secs(u64::try_from(clock::wall().sec.saturating_sub(modified)).unwrap_or(0)))
    }
}
