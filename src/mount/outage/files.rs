//! The files that tell of an outage. Each is replaced as a whole, and only when it changes.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{cdn::outage::telling::Told, config::outage::OutageOptions, mount::group::Group};

/// What is known after a restart; in the cache directory of the mount.
const STATE: &str = "outage.json";
/// How long the web server may take to read its configuration again.
const RELOAD_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Files {
    state: PathBuf,
    map: Option<PathBuf>,
    reload: Option<String>,
    /// The web server has not read the last map yet.
    reload_due: bool,
    /// Something could not be written.
    write_due: bool,
}

impl Files {
    /// With what an earlier run told last.
    pub(super) fn open(options: &OutageOptions, dir: &Path) -> (Self, Option<Told>) {
        let state = dir.join(STATE);
        let former = fs::read(&state).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let (map, reload) = (options.map.clone(), options.reload.clone());
        (Self { state, map, reload, reload_due: false, write_due: false }, former)
    }

    /// Whether the last telling was not done to its end.
    pub(super) fn due(&self) -> bool {
        self.reload_due || self.write_due
    }

    /// Writes what has changed, and has the web server read it. What fails is said, and due.
    pub(super) fn tell(&mut self, told: &Told, map: &str) {
        let state = serde_json::to_string(told).map_err(io::Error::other);
        let state = state.and_then(|state| replace(&self.state, &format!("{state}\n")));
        self.write_due = failed(&self.state, &state);
        if let Some(path) = &self.map {
            let written = replace(path, map);
            self.write_due |= failed(path, &written);
            self.reload_due |= self.reload.is_some() && written.is_ok_and(|changed| changed);
        }
        if let Some(command) = self.reload.as_deref().filter(|_| self.reload_due) {
            match reload(command) {
                Ok(()) => self.reload_due = false,
                Err(why) => log::error!("cdn_reload={command}: {why}; it is tried again"),
            }
        }
    }
}

fn failed(path: &Path, done: &io::Result<bool>) -> bool {
    if let Err(err) = done {
        log::error!("{}: {err}; it is tried again", path.display());
    }
    done.is_err()
}

/// Whether the file had another text before. Whoever reads it sees one or the other, also after a power loss.
fn replace(path: &Path, text: &str) -> io::Result<bool> {
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => return Ok(false),
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let write = || {
        let mut file = File::create(&new)?;
        // The web server may run as somebody else.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written = write();
    if written.is_err() {
        fs::remove_file(&new).unwrap_or_default();
    }
    written.map(|()| true)
}

/// An error is one line.
fn reload(command: &str) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
    let status = Group::spawn(&mut shell).map_err(|err| err.to_string())?.end(RELOAD_MAX)?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("originfs-outage-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn told(cdn_up: bool) -> Told {
        Told { cdn_up, base_url: "https://a.example".to_owned(), since: 1 }
    }

    fn files(dir: &Path, command: &str) -> Files {
        let (map, reload) = (Some(dir.join("map")), Some(command.to_owned()));
        Files { state: dir.join(STATE), map, reload, reload_due: false, write_due: false }
    }

    #[test]
    fn a_file_is_written_and_the_server_told_when_something_changes() {
        let dir = dir("changes");
        let log = dir.join("log");
        let mut files = files(&dir, &format!("cat {} >>{}", dir.join("map").display(), log.display()));
        for (cdn_up, map) in [(true, "up;"), (true, "up;"), (false, "down;"), (false, "down;"), (true, "up;")] {
            files.tell(&told(cdn_up), map);
            assert!(!files.due());
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "up;down;up;");
        assert_eq!(fs::metadata(dir.join("map")).unwrap().permissions().mode() & 0o777, 0o644);
        let text = fs::read(dir.join(STATE)).unwrap();
        assert_eq!(serde_json::from_slice::<Told>(&text).unwrap(), told(true));
        let left = fs::read_dir(&dir).unwrap().count();
        assert_eq!(left, 3, "nothing else is left");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_fails_is_due() {
        let dir = dir("due");
        let mut broken = files(&dir, "test -e ok");
        broken.reload = Some(format!("test -e {}", dir.join("ok").display()));
        broken.tell(&told(true), "up;");
        assert!(broken.due(), "the server did not read it");
        fs::write(dir.join("ok"), "").unwrap();
        broken.tell(&told(true), "up;");
        assert!(!broken.due());
        broken.map = Some(dir.join("no/such/map"));
        broken.tell(&told(true), "up;");
        assert!(broken.due());
        fs::remove_dir_all(dir).unwrap();
    }
}
