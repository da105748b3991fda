//! Directories and files of the host: made and replaced whole, or left alone where they are as they should be.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    super::{Failure, site::Host},
    DIRECTORY,
    prepare::Ready,
    report::{Report, State},
};

/// Nobody writes into a mount point while the mount is away: those uploads would be hidden later.
const POINT_MODE: u32 = 0o555;
/// Users who mount read it; it has no secrets.
const FILE_MODE: u32 = 0o644;
const PASSWD_MODE: u32 = 0o600;

/// The files of a host. With `dry_run` they are only looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    pub(super) host: &'a Host,
    pub(super) dry_run: bool,
}

impl Files<'_> {
    /// Waits for another run on the same host to end.
    pub(super) fn lock(&self) -> Result<Option<Flock<File>>, Failure> {
        if self.dry_run {
            return Ok(None);
        }
        let path = self.host.outside(Path::new(DIRECTORY));
        let about = |err: io::Error| Failure::system(format!("{}: {err}", path.display()));
        fs::create_dir_all(&path).map_err(about)?;
        let directory = File::open(&path).map_err(about)?;
        Flock::lock(directory, FlockArg::LockExclusive).map(Some).map_err(|(_, errno)| about(errno.into()))
    }

    /// Makes a mount point.
    pub(super) fn directory(&self, path: &Path, report: &mut Report) {
        let outside = self.host.outside(path);
        let name = path.display().to_string();
        // What is mounted there is not asked.
        if fs::symlink_metadata(&outside).is_ok() {
            return report.add(State::Unchanged, "directory", name);
        }
        let made = || {
            fs::create_dir_all(&outside)?;
            fs::set_permissions(&outside, fs::Permissions::from_mode(POINT_MODE))
        };
        match if self.dry_run { Ok(()) } else { made() } {
            Ok(()) => report.add(State::Created, "directory", name),
            Err(err) => report.note(State::Failed, "directory", name, err.to_string()),
        }
    }

    /// Writes down a mount, and the keys beside it.
    pub(super) fn configuration(&self, mount: &Ready<'_>, report: &mut Report) {
        self.file(&mount.file(), &mount.configuration, FILE_MODE, report);
        let passwd = Path::new(DIRECTORY).join(mount.passwd_name());
        match &mount.passwd {
            Some(text) => self.file(&passwd, text, PASSWD_MODE, report),
            None => self.remove(&passwd, report),
        }
    }

    /// Makes a file be `text`. Readers see the old one or the new one.
    pub(super) fn file(&self, path: &Path, text: &str, mode: u32, report: &mut Report) {
        let outside = self.host.outside(path);
        let name = path.display().to_string();
        let state = match read(&outside) {
            Ok(Some((old, old_mode))) if old == text.as_bytes() && old_mode == mode => State::Unchanged,
            Ok(Some(_)) => State::Changed,
            Ok(None) => State::Created,
            Err(err) => return report.note(State::Failed, "file", name, err.to_string()),
        };
        let write = state != State::Unchanged && !self.dry_run;
        match if write { replace(&outside, text, mode) } else { Ok(()) } {
            Ok(()) => report.add(state, "file", name),
            Err(err) => report.note(State::Failed, "file", name, err.to_string()),
        }
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, path: &Path, report: &mut Report) {
        let outside = self.host.outside(path);
        if fs::symlink_metadata(&outside).is_err() {
            return;
        }
        let name = path.display().to_string();
        match if self.dry_run { Ok(()) } else { fs::remove_file(&outside) } {
            Ok(()) => report.add(State::Removed, "file", name),
            Err(err) => report.note(State::Failed, "file", name, err.to_string()),
        }
    }
}

/// Bytes and permissions, if there is such a file.
fn read(path: &Path) -> io::Result<Option<(Vec<u8>, u32)>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some((bytes, fs::metadata(path)?.mode() & 0o7777))),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// The owner of a file that is replaced stays.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(ErrorKind::InvalidInput));
    };
    fs::create_dir_all(parent)?;
    let new = parent.join(format!(".{}.originfs-new", name.to_string_lossy()));
    // What an interrupted run left may be readable by others.
    fs::remove_file(&new).or_else(|err| if err.kind() == ErrorKind::NotFound { Ok(()) } else { Err(err) })?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Ok(old) = fs::metadata(path) {
        chown(&new, Some(old.uid()), Some(old.gid()))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::plan::Plan;

    #[test]
    fn files_are_as_they_should_be_and_a_second_time_changes_nothing() {
        let root = std::env::temp_dir().join(format!("originfs-files-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let host = Host::at(Some(&root)).unwrap();
        let run = |dry_run: bool, text: &str| {
            let mut report = Report::new(dry_run, &Plan::default());
            let files = Files { host: &host, dry_run };
            files.file(Path::new("/etc/x/keys"), text, PASSWD_MODE, &mut report);
            files.directory(Path::new("/srv/a/b"), &mut report);
            let lines = report.text();
            lines.lines().take(2).map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(run(true, "a"), ["created", "created"]);
        assert!(!root.join("etc").exists() && !root.join("srv").exists());
        assert_eq!(run(false, "a"), ["created", "created"]);
        assert_eq!(run(false, "a"), ["unchanged", "unchanged"]);
        let keys = root.join("etc/x/keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(run(false, "a"), ["changed", "unchanged"], "others could read it");
        assert_eq!(fs::metadata(&keys).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(run(true, "b"), ["changed", "unchanged"]);
        assert_eq!(fs::read(&keys).unwrap(), b"a");
        assert_eq!(fs::metadata(root.join("srv/a/b")).unwrap().mode() & 0o7777, POINT_MODE);
        assert_eq!(fs::read_dir(root.join("etc/x")).unwrap().count(), 1, "nothing is left over");
        fs::remove_dir_all(root).unwrap();
    }
}
