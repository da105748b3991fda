//! What must be true of the mount point before anything is started.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::statvfs::statvfs};

use super::{
    MountError,
    attach::detach,
    table::{self, TYPE},
};
use crate::{adopt::note::Note, config::Options};

/// The mount point without symbolic links: a directory that may be mounted over.
///
/// A mount of ours whose process is gone ("Transport endpoint is not connected") is taken away first.
pub(super) fn check(options: &Options) -> Result<PathBuf, MountError> {
    let wanted = &options.mountpoint;
    // The one question that the kernel passes on every time: names and attributes it may have from a dead process.
    if statvfs(wanted) == Err(Errno::ENOTCONN) {
        clear_stale(wanted)?;
    }
    let point = wanted.canonicalize().map_err(|err| refuse(wanted, err))?;
    if let Some(row) = table::top(&point).map_err(|err| refuse(&point, err))?
        && row.kind == TYPE
    {
        let source = row.source.to_string_lossy().into_owned();
        return Err(MountError::Mounted { same: source == options.mount.fsname, source, point });
    }
    if !point.metadata().map_err(|err| refuse(&point, err))?.is_dir() {
        return Err(refuse(&point, "not a directory"));
    }
    let mut entries = fs::read_dir(&point).map_err(|err| refuse(&point, err))?;
    if !options.mount.nonempty && entries.next().is_some() && !is_adopted(&point, options) {
        return Err(refuse(
            &point,
            "not empty; the mount would hide what is there (`originfs adopt` moves it into the bucket, option \
             `nonempty` hides it)",
        ));
    }
    let cache = resolve(&options.cache.dir).map_err(|err| refuse(&options.cache.dir, err))?;
    if cache.starts_with(&point) || point.starts_with(&cache) {
        return Err(refuse(&point, format!("the cache directory {} and it are inside each other", cache.display())));
    }
    Ok(point)
}

/// Whether the bucket has what is there: then a mount of it may cover that.
fn is_adopted(point: &Path, options: &Options) -> bool {
    let note = Note::read(point).filter(|note| note.source == options.mount.fsname);
    if let Some(note) = &note {
        log::info!(
            "{} covers the local copy of {} files that were adopted; `originfs adopt --release` deletes it",
            point.display(),
            note.files
        );
    }
    note.is_some()
}

/// Takes away a mount whose process is gone.
fn clear_stale(wanted: &Path) -> Result<(), MountError> {
    let point = wanted.canonicalize().map_err(|err| refuse(wanted, err))?;
    let row = table::top(&point).map_err(|err| refuse(&point, err))?;
    if row.is_none_or(|row| row.kind != TYPE) {
        return Err(refuse(&point, "a mount of something else there is dead; unmount it first"));
    }
    log::warn!("{}: the process of an earlier mount is gone; taking the mount away", point.display());
    detach(&point).map_err(|err| refuse(&point, err))
}

/// Resolves as much of `path` as exists; the rest is still to be made.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(err), Some(parent), Some(name)) if err.kind() == io::ErrorKind::NotFound => {
            Ok(resolve(parent)?.join(name))
        }
        (resolved, _, _) => resolved,
    }
}

fn refuse(path: &Path, why: impl fmt::Display) -> MountError {
    MountError::Path(path.to_owned(), format!("{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_resolves_below_what_does() {
        assert_eq!(resolve(Path::new("/proc/self/../nowhere/a/b")).unwrap(), Path::new("/proc/nowhere/a/b"));
    }
}
