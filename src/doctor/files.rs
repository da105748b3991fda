//! The file system whose configuration is inspected: this host's, an image of another one, or a fixture.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Component, Path, PathBuf},
};

/// Bytes of a configuration file that are read at most: far more than any has.
const FILE_MAX: u64 = 4 << 20;
/// Links that a path may lead over, as in the kernel (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

/// Paths are absolute, as seen inside.
pub trait Files {
    /// The text of a file, odd bytes replaced. `None`: there is none that can be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// The names in a directory, in order; none if it cannot be read.
    fn names(&self, dir: &Path) -> Vec<String>;
    /// The target of a symbolic link.
    fn link(&self, path: &Path) -> Option<PathBuf>;
    fn exists(&self, path: &Path) -> bool;
}

/// The files below a directory, `/` for those of this host.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is on this host; links are resolved inside.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.below(&real(self, path))
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.place(path)).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(self.place(dir)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(self.below(path)).ok()
    }

    fn exists(&self, path: &Path) -> bool {
        self.place(path).symlink_metadata().is_ok()
    }
}

/// `path` without symbolic links, dots and double slashes, as far as it exists.
pub fn real(files: &impl Files, path: &Path) -> PathBuf {
    let mut links = 0;
    let mut rest: Vec<PathBuf> = path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect();
    let mut real = PathBuf::from("/");
    while let Some(part) = rest.pop() {
        match part.components().next() {
            Some(Component::RootDir) => real = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                real.pop();
            }
            Some(Component::Normal(name)) => {
                let next = real.join(name);
                match files.link(&next).filter(|_| links < LINKS_MAX) {
                    Some(target) => {
                        links += 1;
                        rest.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
                    }
                    None => real = next,
                }
            }
            _ => {}
        }
    }
    real
}

/// Files and directories that a shell pattern names, in the order of a shell.
pub fn glob(files: &impl Files, pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components() {
        let Component::Normal(name) = part else { continue };
        let text = name.to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            found = found.into_iter().map(|dir| dir.join(name)).filter(|path| files.exists(path)).collect();
            continue;
        }
        let Ok(pattern) = glob::Pattern::new(&text) else { return Vec::new() };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
        let matching = |dir: &PathBuf| {
            let names = files.names(dir).into_iter().filter(|name| pattern.matches_with(name, options));
            names.map(|name| dir.join(name)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(matching).collect();
    }
    found
}

/// A fixture: files by their paths. A text that begins with `-> ` is a link.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixture(pub(crate) std::collections::BTreeMap<PathBuf, String>);

#[cfg(test)]
impl Fixture {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }

    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.into(), text.to_owned());
        self
    }
}

#[cfg(test)]
impl Files for Fixture {
    fn read(&self, path: &Path) -> Option<String> {
        self.0.get(&real(self, path)).cloned()
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let dir = real(self, dir);
        let below = self.0.keys().filter_map(|path| path.strip_prefix(&dir).ok()?.components().next());
        let mut names: Vec<_> = below.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        names.dedup();
        names
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        self.0.get(path)?.strip_prefix("-> ").map(PathBuf::from)
    }

    fn exists(&self, path: &Path) -> bool {
        let path = real(self, path);
        self.0.keys().any(|file| file.starts_with(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_inside() {
        let files = Fixture::new(&[
            ("/var/www/html", "-> ../../srv/releases/42"),
            ("/srv/releases/42/index.php", "x"),
            ("/srv/current", "-> /srv/releases/42/"),
            ("/loop", "-> /loop"),
        ]);
        for (path, expect) in [
            ("/var/www/html/uploads", "/srv/releases/42/uploads"),
            ("/srv/current/./a/../index.php", "/srv/releases/42/index.php"),
            ("/", "/"),
            ("/nothing//here/", "/nothing/here"),
        ] {
            assert_eq!(real(&files, Path::new(path)), Path::new(expect), "{path}");
        }
        assert_eq!(files.read(Path::new("/var/www/html/index.php")).as_deref(), Some("x"));
        assert_eq!(real(&files, Path::new("/loop")), Path::new("/loop"));
    }

    #[test]
    fn patterns_name_files_in_order() {
        let files = Fixture::new(&[
            ("/etc/php/8.2/fpm/php.ini", ""),
            ("/etc/php/8.3/fpm/php.ini", ""),
            ("/etc/php/8.3/.hidden/php.ini", ""),
        ]);
        let found = glob(&files, Path::new("/etc/php/*/*/php.ini"));
        assert_eq!(found, [Path::new("/etc/php/8.2/fpm/php.ini"), Path::new("/etc/php/8.3/fpm/php.ini")]);
        assert!(glob(&files, Path::new("/etc/nginx/*.conf")).is_empty());
    }

    #[test]
    fn a_directory_is_read_as_if_it_were_the_root() {
        let root = std::env::temp_dir().join(format!("originfs-doctor-files-{}", std::process::id()));
        fs::create_dir_all(root.join("etc/real")).unwrap();
        fs::write(root.join("etc/real/a"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/real", root.join("etc/link")).unwrap();
        let disk = Disk::new(&root);
        assert_eq!(disk.read(Path::new("/etc/link/a")).as_deref(), Some("text"));
        assert_eq!(disk.names(Path::new("/etc")), ["link", "real"]);
        assert!(disk.exists(Path::new("/etc/link/a")) && !disk.exists(Path::new("/etc/passwd")));
        fs::remove_dir_all(root).unwrap();
    }
}
