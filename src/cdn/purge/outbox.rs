//! What is still to be purged, on the local disk: written before the bucket changes, so that neither a killed process nor
//! a power loss between a write and its purge leaves an edge with what was there before. At least once.
//!
//! Lines in segments of about 1 MiB. A segment goes when nothing in it is pending, so nothing is ever
//! rewritten. A line that was torn at the end of a segment is known by its sum.
//!
//! ```text
//! SUM ID KEY      KEY may be about to change; a line feed in it is `\n`, a backslash `\\`
//! SUM ID:V,V      edges may have it under these versions in its URL
//! SUM ID!V,V      the same, and it is known what came of the change: the version that the bucket has now is among them
//! SUM ID          it is purged, or did not change
//! ```
//!
//! Lines with versions have no space after their number: older programs take them for torn, and purge the key without.

mod segment;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use segment::{Line, Segment, text};

use super::versions::{MOST, Versions};
use crate::error::{Error, Result};

/// Bytes after which a segment is followed by the next: some 10,000 keys, which is also what is read at once.
const SEGMENT: u64 = 1 << 20;

/// The number of a record: they grow, and are never used twice.
pub type Id = u64;

/// A record that is pending.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Due {
    pub id: Id,
    pub key: Arc<str>,
    /// Unsure unless [`Outbox::settle`] has said what came of it.
    pub versions: Versions,
}

/// The outbox of one mount.
#[derive(Debug)]
pub struct Outbox {
    dir: PathBuf,
    state: Mutex<State>,
    /// The last record that is known to be on the disk. Whoever holds it syncs for all that wait.
    synced: tokio::sync::Mutex<Id>,
}

#[derive(Debug)]
struct State {
    /// The last one is written to.
    segments: BTreeMap<u64, Segment>,
    file: Arc<File>,
    next: Id,
}

impl Outbox {
    /// Opens the outbox in `dir`, which is made if need be, and finds what an earlier run left.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let Some(number) = segment::number(&path) else { continue };
            segments.insert(number, Segment::read(path)?.0);
        }
        let next = segments.values().map(|segment| segment.last + 1).max().unwrap_or(1);
        let number = segments.keys().next_back().map_or(1, |last| last + 1);
        let (segment, file) = Segment::create(dir, number)?;
        segments.insert(number, segment);
        let outbox = Self {
            dir: dir.to_owned(),
            state: Mutex::new(State { segments, file: Arc::new(file), next }),
            synced: tokio::sync::Mutex::new(next - 1),
        };
        outbox.sweep(&mut outbox.state());
        Ok(outbox)
    }

    /// Notes that `keys` may be about to change. Gives the first of their numbers, which follow each other. They survive
    /// the end of the process, and after [`Self::sync`] that of the host. On failure none of them counts.
    pub fn note(&self, keys: &[Arc<str>]) -> Result<Id> {
        self.note_versions(keys, &[])
    }

    /// The same of keys of which edges may have these versions; of those beyond the end of `versions` there are none.
    pub fn note_versions(&self, keys: &[Arc<str>], versions: &[Versions]) -> Result<Id> {
        let mut state = self.state();
        let first = state.next;
        let mut lines = String::new();
        for (id, key) in (first..).zip(keys) {
            lines.push_str(&text(&Line::Due(id, key)));
        }
        for (id, versions) in (first..).zip(versions).filter(|(_, versions)| !versions.tokens(MOST).is_empty()) {
            // Of a change that is not settled nobody knows yet.
            lines.push_str(&text(&Line::Versions(id, versions.clone().unsure())));
        }
        if state.current().bytes >= SEGMENT {
            self.turn(&mut state)?;
        }
        let count = keys.len() as u64;
        // A line that is only begun is torn, and its number not used again.
        state.next += count;
        let last = state.next - 1;
        let segment = state.current();
        segment.add(first, count, lines.len() as u64);
        let written = (&*state.file).write_all(lines.as_bytes());
        drop(state);
        if let Err(err) = written {
            self.done((first..=last).collect::<Vec<_>>().as_slice());
            return Err(err.into());
        }
        Ok(first)
    }

    /// All records up to this one are on the disk: one fdatasync(2) for all that wait for it.
    pub async fn sync(&self, upto: Id) -> Result<()> {
        let mut synced = self.synced.lock().await;
        if *synced >= upto {
            return Ok(());
        }
        let (file, last) = {
            let state = self.state();
            (Arc::clone(&state.file), state.next - 1)
        };
        let done = tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(Error::unavailable)?;
        done?;
        *synced = last;
        Ok(())
    }

    /// What came of a change is known, and with it the versions. A loss of this costs a request to the bucket, so nobody
    /// waits for the disk.
    pub fn settle(&self, id: Id, versions: &Versions) {
        let mut state = self.state();
        let Some(segment) = state.segments.values_mut().rev().find(|segment| segment.holds(id)) else { return };
        if let Err(err) = segment.append(&text(&Line::Versions(id, versions.clone()))) {
            log::debug!("{}: {err}", segment.path.display());
        }
    }

    /// Nothing is to be done for these any more. A loss of this costs a purge, so nobody waits for the disk.
    pub fn done(&self, ids: &[Id]) {
        if ids.is_empty() {
            return;
        }
        let mut state = self.state();
        let mut by_segment: HashMap<u64, Vec<Id>> = HashMap::new();
        for id in ids {
            let of = state.segments.iter().rev().find(|(_, segment)| segment.holds(*id));
            if let Some((number, _)) = of {
                by_segment.entry(*number).or_default().push(*id);
            }
        }
        for (number, ids) in by_segment {
            let segment = state.segments.get_mut(&number).expect("found above");
            if let Err(err) = segment.done(&ids) {
                log::debug!("{}: {err}", segment.path.display());
            }
        }
        self.sweep(&mut state);
    }

    /// Removes the segments in which nothing is pending.
    fn sweep(&self, state: &mut State) {
        let current = *state.segments.keys().next_back().expect("there is always one");
        let empty = |number: &u64, segment: &Segment| *number != current && segment.pending == 0;
        for (_, segment) in state.segments.extract_if(.., |number, segment| empty(number, segment)) {
            if let Err(err) = fs::remove_file(&segment.path) {
                log::warn!("{}: {err}", segment.path.display());
            }
        }
        let segment = state.current();
        if segment.pending == 0
            && segment.bytes >= SEGMENT
            && let Err(err) = self.turn(state)
        {
            log::warn!("{}: {err}", self.dir.display());
        }
    }

    /// Begins the next segment; the one before is on the disk.
    fn turn(&self, state: &mut State) -> io::Result<()> {
        let number = state.segments.keys().next_back().map_or(1, |last| last + 1);
        // Who waits for a record of it will look at the new file.
        state.file.sync_data()?;
        let (segment, file) = Segment::create(&self.dir, number)?;
        state.segments.insert(number, segment);
        state.file = Arc::new(file);
        Ok(())
    }

    /// What is pending, segment by segment: those after `after` (0 for all) with at least one pending record. Gives the
    /// number to go on with; `None` when there is no more.
    pub fn pending(&self, after: u64) -> io::Result<Option<(u64, Vec<Due>)>> {
        let found = {
            let state = self.state();
            let mut later = state.segments.range(after + 1..);
            later.find(|(_, segment)| segment.pending > 0).map(|(number, segment)| (*number, segment.path.clone()))
        };
        let Some((number, path)) = found else { return Ok(None) };
        Ok(Some((number, Segment::read(path)?.1)))
    }

    /// The segment that has a record; 0 if none has.
    pub fn segment_of(&self, id: Id) -> u64 {
        let state = self.state();
        state.segments.iter().rev().find(|(_, segment)| segment.holds(id)).map_or(0, |(number, _)| *number)
    }

    /// The segment that is written to, and so grows.
    pub fn newest(&self) -> u64 {
        *self.state().segments.keys().next_back().expect("there is always one")
    }

    /// Records that are pending.
    pub fn len(&self) -> u64 {
        self.state().segments.values().map(|segment| segment.pending).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn current(&mut self) -> &mut Segment {
        self.segments.values_mut().next_back().expect("there is always one")
    }
}

#[cfg(test)]
mod tests;
