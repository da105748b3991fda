//! Finds the mount that a command is for, and has it do something that may take long.

use std::{
    io::ErrorKind,
    path::{self, Component, Path, PathBuf},
};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use super::{Failure, place, status};
use crate::{
    fs::Warmed,
    telemetry::{
        control,
        upkeep::{Done, Job},
    },
};

/// A mount, and what in it is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) socket: PathBuf,
    pub(super) mountpoint: PathBuf,
    /// Paths or patterns from the root of the mount.
    pub(super) paths: Vec<String>,
}

/// Where commands look for mounts.
pub(super) struct Host {
    sockets: PathBuf,
    here: PathBuf,
}

impl Host {
    pub(super) fn current() -> Result<Self, Failure> {
        let sockets = control::directory().map_err(Failure::system)?;
        let here = std::env::current_dir().map_err(Failure::system)?;
        Ok(Self { sockets, here })
    }

    /// The mount that `at` or the first of `paths` is in, else that of the working directory, else the only one of this
    /// user. Relative paths begin at the mount point where `at` is given or nothing mounted is there, else at the
    /// working directory.
    pub(super) fn target(&self, at: Option<&Path>, paths: &[PathBuf]) -> Result<Target, Failure> {
        let mounted = match at {
            Some(at) => Some(self.nearest(at).ok_or_else(|| none(at))?),
            None => paths.first().and_then(|first| self.nearest(first)).or_else(|| self.nearest(&self.here)),
        };
        let (mountpoint, relative) = match mounted {
            Some((mountpoint, _)) => (mountpoint, at.is_some()),
            None if paths.iter().all(|path| path.is_relative()) => (self.only()?, true),
            None => return Err(none(&paths[0])),
        };
        let inside = |given: &PathBuf| {
            if relative && given.is_relative() {
                return plain(given);
            }
            let (other, rest) = self.nearest(given).ok_or_else(|| none(given))?;
            if other == mountpoint { plain(&rest) } else { Err(elsewhere(given, &mountpoint)) }
        };
        let paths = paths.iter().map(inside).collect::<Result<_, _>>()?;
        Ok(Target { socket: control::path(&self.sockets, &mountpoint), mountpoint, paths })
    }

    /// The mount point at or above a path, and the way from there. Only if the path as written leads nowhere is the file
    /// system asked, which a mount in trouble may not answer.
    fn nearest(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let absolute: PathBuf = path::absolute(self.here.join(path)).ok()?.components().collect();
        self.above(&absolute).or_else(|| {
            let (above, real) = absolute.ancestors().find_map(|above| Some((above, place::resolve(above).ok()?)))?;
            self.above(&real.join(absolute.strip_prefix(above).ok()?))
        })
    }

    fn above(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let mountpoint = path.ancestors().find(|at| control::path(&self.sockets, at).exists())?;
        Some((mountpoint.to_owned(), path.strip_prefix(mountpoint).ok()?.to_owned()))
    }

    fn only(&self) -> Result<PathBuf, Failure> {
        match &status::all(&self.sockets)?[..] {
            [status] => Ok(PathBuf::from(&status.mount.mountpoint)),
            [] => Err(Failure::usage("no originfs mounts of this user on this host")),
            _ => Err(Failure::usage("there are several mounts: say which with --at")),
        }
    }
}

/// A path from the root of a mount.
fn plain(path: &Path) -> Result<String, Failure> {
    let bad = || Failure::usage(format!("{} is no path in a mount", path.display()));
    let names = path.components().filter(|part| *part != Component::CurDir).map(|part| match part {
        Component::Normal(name) => name.to_str().ok_or_else(bad),
        _ => Err(bad()),
    });
    Ok(names.collect::<Result<Vec<_>, _>>()?.join("/"))
}

fn none(path: &Path) -> Failure {
    Failure::usage(format!("no originfs mount of this user at {}", path.display()))
}

fn elsewhere(path: &Path, mountpoint: &Path) -> Failure {
    Failure::usage(format!("{} is not in the mount at {}", path.display(), mountpoint.display()))
}

/// How a job ended.
pub(super) enum Ended {
    Done(Done),
    /// A signal came, and the mount has given up.
    Interrupted,
}

impl Target {
    /// Has the mount do `job`. SIGINT and SIGTERM end it.
    pub(super) fn work(&self, job: Job, each: impl FnMut(&Warmed)) -> Result<Ended, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
        let mountpoint = self.mountpoint.display();
        let done = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                done = control::work(&self.socket, job, each) => done.map(Some),
                _ = interrupt.recv() => Ok(None),
                _ = terminate.recv() => Ok(None),
            }
        });
        match done {
            Ok(Some(Some(Ok(done)))) => Ok(Ended::Done(done)),
            Ok(Some(Some(Err(message)))) => Err(Failure::system(message)),
            Ok(Some(None)) => Err(Failure::system(format!("the mount at {mountpoint} ended meanwhile"))),
            Ok(None) => Ok(Ended::Interrupted),
            Err(err) if matches!(err.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                Err(Failure::system(format!("the process of {mountpoint} has ended without unmounting")))
            }
            Err(err) => Err(Failure::system(format!("the process of {mountpoint} does not answer: {err}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use super::*;

    /// A host with mounts at /srv/a and /srv/b, and the working directory there.
    fn host(name: &str) -> (Host, Vec<UnixListener>) {
        let sockets = std::env::temp_dir().join(format!("originfs-job-{name}-{}", std::process::id()));
        fs::create_dir(&sockets).unwrap();
        let bind = |at| UnixListener::bind(control::path(&sockets, Path::new(at))).unwrap();
        let listeners = vec![bind("/srv/a"), bind("/srv/b")];
        (Host { sockets, here: PathBuf::from("/srv/a/2026") }, listeners)
    }

    #[track_caller]
    fn check(host: &Host, at: Option<&str>, paths: &[&str], expect: Result<(&str, &[&str]), &str>) {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let target = host.target(at.map(Path::new), &paths);
        let target = target.map(|target| (target.mountpoint, target.paths));
        match expect {
            Ok((mountpoint, inside)) => {
                let inside: Vec<String> = inside.iter().map(|&path| path.to_owned()).collect();
                assert_eq!(target.unwrap(), (PathBuf::from(mountpoint), inside));
            }
            Err(why) => assert!(target.unwrap_err().message.unwrap().contains(why)),
        }
    }

    #[test]
    fn paths_lead_to_their_mount() {
        let (host, _listeners) = host("paths");
        check(&host, None, &[], Ok(("/srv/a", &[])));
        check(&host, None, &["05/*.jpg", "/srv/a/x"], Ok(("/srv/a", &["2026/05/*.jpg", "x"])));
        check(&host, None, &["/srv/b/*/y"], Ok(("/srv/b", &["*/y"])));
        check(&host, Some("/srv/b/deep"), &["**/*.jpg", "./x/"], Ok(("/srv/b", &["**/*.jpg", "x"])));
        check(&host, None, &["/srv/a/x", "/srv/b/y"], Err("not in the mount at /srv/a"));
        check(&host, None, &["/srv/c/x"], Err("no originfs mount"));
        check(&host, Some("/srv"), &[], Err("no originfs mount"));
        check(&host, Some("/srv/a"), &["../x"], Err("no path in a mount"));
        fs::remove_dir_all(&host.sockets).unwrap();
    }
}
