//! Staging files of a run that ended badly: they may be the only copy of somebody's work, so they are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

/// Moves everything in `staging` to `lost`. Files of one stem (`7.data`, `7.meta`) keep a common stem, and get one that
/// nothing in `lost` has. Gives one file of each stem: that with the bytes, if there is one.
pub(super) fn rescue(staging: &Path, lost: &Path) -> io::Result<Vec<PathBuf>> {
    let groups = by_stem(staging)?;
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let mut taken: BTreeSet<OsString> = by_stem(lost)?.into_keys().collect();
    let mut kept = Vec::new();
    for (stem, files) in groups {
        let stem = free(&stem, &taken);
        let mut moved = Vec::new();
        for from in files {
            let to = lost.join(with_extension(&stem, from.extension()));
            fs::rename(from, &to)?;
            moved.push(to);
        }
        taken.insert(stem);
        // The note is for the bytes.
        kept.extend(moved.into_iter().min_by_key(|path| path.extension() == Some(OsStr::new("meta"))));
    }
    Ok(kept)
}

fn by_stem(dir: &Path) -> io::Result<BTreeMap<OsString, Vec<PathBuf>>> {
    let mut groups: BTreeMap<OsString, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let stem = path.file_stem().expect("a directory entry has a name").to_owned();
        groups.entry(stem).or_default().push(path);
    }
    Ok(groups)
}

/// `stem`, or the first of `stem-1`, `stem-2`, ... that is not taken.
fn free(stem: &OsStr, taken: &BTreeSet<OsString>) -> OsString {
    let mut name = stem.to_owned();
    let mut n = 0_u64;
    while taken.contains(&name) {
        n += 1;
        stem.clone_into(&mut name);
        name.push(format!("-{n}"));
    }
    name
}

/// `Path::set_extension` would take a dot in the stem for the start of an extension.
fn with_extension(stem: &OsStr, extension: Option<&OsStr>) -> OsString {
    let mut name = stem.to_owned();
    if let Some(extension) = extension {
        name.push(".");
        name.push(extension);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_write_is_told_once() {
        let dir = std::env::temp_dir().join(format!("originfs-leftovers-{}", std::process::id()));
        let [staging, lost] = ["staging", "lost"].map(|name| dir.join(name));
        for dir in [&staging, &lost] {
            fs::create_dir_all(dir).unwrap();
        }
        for name in ["7.meta", "7.data", "8.data", "9.meta"] {
            fs::write(staging.join(name), "").unwrap();
        }
        assert_eq!(rescue(&staging, &lost).unwrap(), ["7.data", "8.data", "9.meta"].map(|name| lost.join(name)));
        assert_eq!(fs::read_dir(&lost).unwrap().count(), 4);
        fs::remove_dir_all(dir).unwrap();
    }
}
