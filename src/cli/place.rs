//! Directories as the user names them, found without touching what is mounted there: it may hang or be dead.

use std::{
    fs, io,
    path::{self, Component, Path, PathBuf},
};

/// The canonical path of `dir`, whose last component may be a mount point that does not answer.
pub(super) fn resolve(dir: &Path) -> io::Result<PathBuf> {
    // Collected anew without a slash at the end, with which readlink(2) would follow a link.
    let absolute: PathBuf = path::absolute(dir)?.components().collect();
    // readlink(2) of a directory fails in the kernel, without asking the file system that is mounted on it.
    let (Some(parent), Some(name), Err(_)) = (absolute.parent(), absolute.file_name(), fs::read_link(&absolute)) else {
        return absolute.canonicalize();
    };
    Ok(parent.canonicalize()?.join(name))
}

/// Links that are followed until a path counts as a loop (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

/// Where `path` leads for a process whose `/` is `root`: an absolute path in that tree. What does not exist, or loops, stays
/// as it is written.
pub(super) fn within(root: &Path, path: &Path) -> PathBuf {
    let mut real = PathBuf::from("/");
    let mut rest: Vec<PathBuf> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        match fs::read_link(below(root, &next)) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            _ => real = next,
        }
    }
    real
}

/// `path`, which is absolute, in the tree at `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    let inner = path.strip_prefix("/").unwrap_or(path);
    // Joining nothing would add a slash.
    if inner.as_os_str().is_empty() { root.to_owned() } else { root.join(inner) }
}

/// Its components, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_and_the_last_name_need_not_exist() {
        let base = std::env::temp_dir().join(format!("originfs-place-{}", std::process::id()));
        fs::create_dir_all(base.join("real")).unwrap();
        let base = base.canonicalize().unwrap();
        symlink("real", base.join("link")).unwrap();
        for (dir, expect) in [("real", "real"), ("link", "real"), ("link/none", "real/none"), ("real/../link/", "real")]
        {
            assert_eq!(resolve(&base.join(dir)).unwrap(), base.join(expect), "{dir}");
        }
        assert_eq!(resolve(Path::new("/")).unwrap(), Path::new("/"));
        assert!(resolve(&base.join("none/none")).is_err());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn links_of_a_tree_stay_in_it() {
        let root = std::env::temp_dir().join(format!("originfs-within-{}", std::process::id()));
        fs::create_dir_all(root.join("srv/site")).unwrap();
        symlink("/srv/site", root.join("absolute")).unwrap();
        symlink("../../srv", root.join("srv/relative")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, expect) in [
            ("/absolute/a", "/srv/site/a"),
            ("/srv/relative/site", "/srv/site"),
            ("/../../srv", "/srv"),
            ("/none/../b", "/b"),
            ("/loop/a", "/loop/a"),
            ("/", "/"),
        ] {
            assert_eq!(within(&root, Path::new(path)), Path::new(expect), "{path}");
        }
        assert_eq!(below(&root, Path::new("/a")), root.join("a"));
        assert_eq!(below(&root, Path::new("/")), root);
        fs::remove_dir_all(root).unwrap();
    }
}
