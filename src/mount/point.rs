//! What must be true of the mount point before anything is started.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::statvfs::statvfs};

use super::{
    MountError,
    attach::detach,
    table::{self, AUTOMOUNT, TYPE},
};
use crate::{adopt::note::Note, config::Options};

/// The mount point without symbolic links: a directory that may be mounted over, or a mount of ours whose process is
/// gone ("Transport endpoint is not connected"). That one stays until [`clear`]: its errors are the truth, where an empty
/// directory would be a lie, and a place for files that the next mount hides.
pub(super) fn check(options: &Options) -> Result<PathBuf, MountError> {
    let wanted = &options.mountpoint;
    let dead = is_dead(wanted)?;
    let point = wanted.canonicalize().map_err(|err| refuse(wanted, err))?;
    if !dead {
        check_free(&point, options)?;
    }
    let cache = resolve(&options.cache.dir).map_err(|err| refuse(&options.cache.dir, err))?;
    if cache.starts_with(&point) || point.starts_with(&cache) {
        return Err(refuse(&point, format!("the cache directory {} and it are inside each other", cache.display())));
    }
    Ok(point)
}

/// Takes away the dead mount that [`check`] let stay, if there is one, and checks what was below it. To be called when
/// the new mount can take its place at once.
pub(super) fn clear(point: &Path, options: &Options) -> Result<(), MountError> {
    if clear_dead(point)? { check_free(point, options) } else { Ok(()) }
}

fn check_free(point: &Path, options: &Options) -> Result<(), MountError> {
    match table::top(point).map_err(|err| refuse(point, err))? {
        Some(row) if row.kind == TYPE => {
            let source = row.source.to_string_lossy().into_owned();
            let same = source == options.mount.fsname;
            return Err(MountError::Mounted { point: point.to_owned(), source, same });
        }
        // Whoever looks there waits for this mount, and it hides nothing that is not hidden.
        Some(row) if row.kind == AUTOMOUNT => return Ok(()),
        _ => {}
    }
    if !point.metadata().map_err(|err| refuse(point, err))?.is_dir() {
        return Err(refuse(point, "not a directory"));
    }
    let mut entries = fs::read_dir(point).map_err(|err| refuse(point, err))?;
    if !options.mount.nonempty && entries.next().is_some() && !is_adopted(point, options) {
        return Err(refuse(
            point,
            "not empty; the mount would hide what is there (`originfs adopt` moves it into the bucket, option \
             `nonempty` hides it)",
        ));
    }
    Ok(())
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

/// Takes away a mount of ours whose process is gone, and tells whether there was one. A dead mount of something else is
/// an error.
pub fn clear_dead(wanted: &Path) -> Result<bool, MountError> {
    if !is_dead(wanted)? {
        return Ok(false);
    }
    let point = wanted.canonicalize().map_err(|err| refuse(wanted, err))?;
    log::warn!("{}: the process of an earlier mount is gone; taking the mount away", point.display());
    detach(&point).map_err(|err| refuse(&point, err))?;
    Ok(true)
}

/// Whether a mount of ours is there whose process is gone.
fn is_dead(wanted: &Path) -> Result<bool, MountError> {
    let point = wanted.canonicalize().map_err(|err| refuse(wanted, err))?;
    let row = table::top(&point).map_err(|err| refuse(&point, err))?;
    if row.as_ref().is_some_and(|row| row.kind == AUTOMOUNT) {
        return Ok(false);
    }
    // The one question that the kernel passes on every time: names and attributes it may have from a dead process.
    if statvfs(wanted) != Err(Errno::ENOTCONN) {
        return Ok(false);
    }
    if row.is_none_or(|row| row.kind != TYPE) {
        return Err(refuse(&point, "a mount of something else there is dead; unmount it first"));
    }
    Ok(true)
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
