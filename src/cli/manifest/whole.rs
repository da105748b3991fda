//! A file that is replaced at once: who reads it meanwhile has the former one, or the new one, and never a part.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Removed again if it is not kept.
#[derive(Debug)]
pub(super) struct Whole {
    file: File,
    /// Beside the one that it is to replace, on the same disk.
    new: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Whole {
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
        // Two runs at once each write their own.
        let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
        // What a former process of that number left.
        fs::remove_file(&new).ok();
        Ok(Self { file: File::create_new(&new)?, new, path: path.to_owned(), kept: false })
    }

    /// Puts it in the place of the former one, with its bytes on the disk.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if let Ok(former) = fs::metadata(&self.path) {
            // Whoever may read it may read it again.
            self.file.set_permissions(former.permissions())?;
        }
        fs::rename(&self.new, &self.path)?;
        self.kept = true;
        Ok(())
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed the next run removes.
            fs::remove_file(&self.new).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_former_file_stays_until_the_new_one_is_whole() {
        let dir = std::env::temp_dir().join(format!("originfs-whole-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("list.json");
        fs::write(&path, "former").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let names = || fs::read_dir(&dir).unwrap().count();

        let mut given_up = Whole::begin(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("former", 2));
        drop(given_up);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("former", 1));

        let mut whole = Whole::begin(&path).unwrap();
        whole.write_all(b"new").unwrap();
        whole.keep().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("new", 1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(Whole::begin(Path::new("/")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
