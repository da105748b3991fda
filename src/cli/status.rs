//! `originfs status`.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{self, Path, PathBuf},
    time::Duration,
};

use super::{Failure, StatusArgs, complain, place, render};
use crate::{
    clock,
    telemetry::{control, status::Status},
};

/// A mount answers from memory; one that does not within this is stuck.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);

pub(super) fn command(command: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    let sockets = control::directory().map_err(Failure::system)?;
    let all = match &command.dir {
        Some(dir) => vec![one(&sockets, dir)?],
        None => all(&sockets)?,
    };
    let text = match (command.json, command.dir.is_some()) {
        (true, true) => all.first().map(serde_json::to_string_pretty).transpose().map(Option::unwrap_or_default),
        (true, false) => serde_json::to_string_pretty(&all),
        (false, _) if all.is_empty() => Ok("no originfs mounts of this user on this host".to_owned()),
        (false, _) => {
            let now = clock::wall().sec;
            Ok(all.iter().map(|status| render::text(status, now)).collect::<Vec<_>>().join("\n\n"))
        }
    };
    let text = text.map_err(Failure::system)?;
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

/// The mount that `dir` belongs to. Only if its path as written leads nowhere is the file system asked, which a mount
/// in trouble may not answer.
fn one(sockets: &Path, dir: &Path) -> Result<Status, Failure> {
    let absolute = path::absolute(dir).map_err(Failure::system)?;
    let socket = nearest(sockets, &absolute).or_else(|| nearest(sockets, &place::resolve(dir).ok()?));
    let none = || Failure::usage(format!("no originfs mount of this user at {}", dir.display()));
    let socket = socket.ok_or_else(none)?;
    control::ask(&socket, ANSWER_WAIT).map_err(|err| match err.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            Failure::system(format!("the process of {} has ended without unmounting", dir.display()))
        }
        _ => Failure::system(format!("the process of {} does not answer: {err}", dir.display())),
    })
}

fn nearest(sockets: &Path, dir: &Path) -> Option<PathBuf> {
    dir.ancestors().map(|mountpoint| control::path(sockets, mountpoint)).find(|socket| socket.exists())
}

pub(super) fn all(sockets: &Path) -> Result<Vec<Status>, Failure> {
    let entries = match fs::read_dir(sockets) {
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Failure::system(format!("{}: {err}", sockets.display()))),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut all = Vec::new();
    for socket in paths.map_err(Failure::system)? {
        match control::ask(&socket, ANSWER_WAIT) {
            Ok(status) => all.push(status),
            // What a killed process leaves behind.
            Err(err) if matches!(err.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {}
            Err(err) => complain(&format!("{} does not answer: {err}", socket.display())),
        }
    }
    all.sort_by(|a, b| a.mount.mountpoint.cmp(&b.mount.mountpoint));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn args(dir: Option<&Path>, json: bool) -> StatusArgs {
        StatusArgs { dir: dir.map(Path::to_owned), json }
    }

    #[test]
    fn a_mount_is_found_from_inside() {
        let sockets = std::env::temp_dir().join(format!("originfs-status-{}", std::process::id()));
        fs::create_dir(&sockets).unwrap();
        let at = control::path(&sockets, Path::new("/var/www/images"));
        let listener = UnixListener::bind(&at).unwrap();
        for inside in ["/var/www/images", "/var/www/images/a/b.jpg"] {
            assert_eq!(nearest(&sockets, Path::new(inside)).as_ref(), Some(&at), "{inside}");
        }
        assert_eq!(nearest(&sockets, Path::new("/var/www")), None);
        assert_eq!(nearest(&sockets, Path::new("/var/www/images2")), None);

        drop(listener);
        let dead = one(&sockets, Path::new("/var/www/images/x")).unwrap_err();
        assert_eq!((dead.code, all(&sockets).unwrap().len()), (2, 0));
        fs::remove_dir_all(sockets).unwrap();
    }

    #[test]
    fn nothing_mounted_is_said() {
        let nowhere = Path::new("/nonexistent/originfs/mount");
        assert_eq!(command(&args(Some(nowhere), false), &mut Vec::new()).unwrap_err().code, 1);
        assert!(all(Path::new("/nonexistent/sockets")).unwrap().is_empty());
    }
}
