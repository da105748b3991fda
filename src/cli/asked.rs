//! What a mount was asked for: on the command line or in a line of fstab, and in the file that these name.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::{cdn::Cdn, file::File, words::Word};

/// Where, what and how, from all places together. The words of the file come first, so that others win.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) source: String,
    pub(super) dir: PathBuf,
    pub(super) words: Vec<Word>,
    /// The CDN in front of it; only a file can say that.
    pub(super) cdn: Vec<Cdn>,
}

/// Completes a command line.
pub(super) fn complete(source: Option<&str>, dir: Option<&Path>, words: Vec<Word>) -> Result<Asked, Failure> {
    let (path, words) = named(words)?;
    let Some(path) = path else {
        let missing =
            |what: &str| Failure::usage(format!("the following required arguments were not provided: {what}"));
        let source = source.ok_or_else(|| missing("<SOURCE> <DIR>"))?;
        let dir = dir.ok_or_else(|| missing("<DIR>"))?;
        return Ok(Asked { source: source.to_owned(), dir: dir.to_owned(), words, cdn: Vec::new() });
    };
    // The file has a source, so what stands alone is the directory.
    let (source, dir) = match (source, dir) {
        (Some(alone), None) => (None, Some(Path::new(alone))),
        both => both,
    };
    read(&path, source, dir, words)
}

/// Completes a line of fstab, which mount(8) hands over with an `rw` that nobody wrote.
pub(super) fn complete_line(source: &str, dir: &Path, words: Vec<Word>) -> Result<Asked, Failure> {
    let (path, mut words) = named(words)?;
    let Some(path) = path else {
        return Ok(Asked { source: source.to_owned(), dir: dir.to_owned(), words, cdn: Vec::new() });
    };
    words.retain(|word| word.name != "rw");
    read(&path, Some(source), Some(dir), words)
}

fn read(path: &Path, source: Option<&str>, dir: Option<&Path>, words: Vec<Word>) -> Result<Asked, Failure> {
    let file = File::read(path).map_err(Failure::usage)?;
    let lacks = |what: &str| Failure::usage(format!("{}: it says no {what}", path.display()));
    let source = source.map(str::to_owned).or_else(|| file.source.clone()).ok_or_else(|| lacks("source"))?;
    let dir = dir.map(Path::to_owned).or_else(|| file.directory.clone()).ok_or_else(|| lacks("directory"))?;
    let path = std::path::absolute(path).map_err(Failure::system)?;
    let base = path.parent().unwrap_or(Path::new("/"));
    let mut all = file.words(&path).map_err(|err| Failure::usage(format!("{}: {err}", path.display())))?;
    all.extend(words);
    let cdn = file.cdn.iter().map(|cdn| cdn.clone().resolved(base)).collect();
    Ok(Asked { source, dir, words: all, cdn })
}

/// The file that the words name, the last one if several, and the other words.
fn named(words: Vec<Word>) -> Result<(Option<PathBuf>, Vec<Word>), Failure> {
    let (files, words): (Vec<Word>, Vec<Word>) = words.into_iter().partition(|word| word.name == "config");
    match files.last().map(|word| word.value.as_deref().unwrap_or_default()) {
        Some("") => Err(Failure::usage("config: expected a path")),
        Some(path) => Ok((Some(path.into()), words)),
        None => Ok((None, words)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("originfs-asked-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    fn config(path: &Path) -> Word {
        Word::new("config", path.to_str().unwrap())
    }

    #[test]
    fn a_file_says_all_and_is_overruled() {
        let path = file("all", "source = 'site:/a'\ndirectory = '/srv/a'\n[options]\nuid = 33\n");
        let asked = complete(None, None, vec![Word::flag("ro"), config(&path)]).unwrap();
        let words = vec![Word::new("uid", "33"), Word::flag("ro")];
        assert_eq!(asked, Asked { source: "site:/a".into(), dir: "/srv/a".into(), words, cdn: Vec::new() });
        let asked = complete(Some("/srv/b"), None, vec![config(&path)]).unwrap();
        assert_eq!((asked.source.as_str(), asked.dir.as_path()), ("site:/a", Path::new("/srv/b")));
        let asked = complete(Some("other"), Some(Path::new("/srv/b")), vec![config(&path)]).unwrap();
        assert_eq!((asked.source.as_str(), asked.dir.as_path()), ("other", Path::new("/srv/b")));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_of_fstab_does_not_make_a_read_only_file_writable() {
        let path = file("ro", "[options]\nread_only = true\n");
        let asked = complete_line("site", Path::new("/srv"), vec![Word::flag("rw"), config(&path)]).unwrap();
        assert_eq!(asked.words, [Word::flag("read_only")]);
        let asked = complete_line("site", Path::new("/srv"), vec![Word::flag("rw")]).unwrap();
        assert_eq!(asked.words, [Word::flag("rw")]);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let path = file("none", "directory = '/srv'\n");
        let said = |result: Result<Asked, Failure>| result.unwrap_err().message.unwrap();
        assert!(said(complete(None, None, vec![config(&path)])).contains("it says no source"));
        assert!(said(complete(Some("site"), None, vec![])).ends_with("were not provided: <DIR>"));
        assert!(said(complete(None, None, vec![Word::flag("config")])).contains("expected a path"));
        fs::remove_file(path).unwrap();
    }
}
