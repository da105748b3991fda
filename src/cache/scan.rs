//! Finds at start what the last run left, in the background.

use std::{
    fs::{self, File, FileTimes, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    dir::{self, Dir, Id},
    space::Space,
};
use crate::clock;

/// Seconds by which a file's time of last use may be late: fine enough to order files after a restart, coarse enough
/// to cost nothing.
const USE_GRAIN: i64 = 3600;

/// Deletes what is in the trash and tells `space` what is in the cache. Ends early if the cache is gone.
pub(super) fn start(dir: &Arc<Dir>, space: &Arc<Space>) -> io::Result<()> {
    let (dir, space) = (Arc::downgrade(dir), Arc::downgrade(space));
    let scan = move || {
        let (Some(dir), Some(space)) = (dir.upgrade(), space.upgrade()) else { return };
        let mut files = list(&dir);
        files.sort_unstable_by_key(|&(used, ..)| std::cmp::Reverse(used));
        log::debug!("cache: {} files from earlier", files.len());
        space.found(files.into_iter().map(|(_, id, bytes)| (id, bytes)).collect());
        dir.empty_trash();
    };
    thread::Builder::new().name("cache-scan".to_owned()).spawn(scan).map(drop)
}

/// Time of last use, identity and bytes of every complete content.
fn list(dir: &Dir) -> Vec<(i64, Id, u64)> {
    let mut found = Vec::new();
    let Ok(shards) = fs::read_dir(dir.contents()) else { return found };
    for entry in shards.flatten().filter_map(|shard| fs::read_dir(shard.path()).ok()).flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        match entry.file_name().to_str().and_then(Id::parse) {
            Some(id) if meta.is_file() => found.push((meta.atime().max(meta.mtime()), id, meta.len())),
            _ => dir::remove(&entry.path()),
        }
    }
    found
}

/// Writes the time of use into the file: many file systems are mounted so that reading does not.
fn note_use(file: &File, meta: &Metadata) {
    let now = clock::wall().sec;
    if now - meta.atime() < USE_GRAIN {
        return;
    }
    let at = UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
    // Only the order of eviction after a restart depends on it.
    drop(file.set_times(FileTimes::new().set_accessed(at)));
}

/// Opens a local file for reading if it has the right size, and keeps its time of last use for the next start.
pub(super) fn open_complete(path: &Path, size: u64) -> Option<File> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if meta.len() != size || !meta.is_file() {
        log::warn!("cache: {} has {} bytes instead of {size}", path.display(), meta.len());
        return None;
    }
    note_use(&file, &meta);
    Some(file)
}
