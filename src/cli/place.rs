//! Directories as the user names them, found without touching what is mounted there: it may hang or be dead.

use std::{
    fs, io,
    path::{self, Path, PathBuf},
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
}
