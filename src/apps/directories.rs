//! `DIRECTORIES_TO_MOUNT`: which directories of a site live in the bucket, in every form that deployment scripts write.
//!
//! Directories are separated by `:`. One that contains a `/` is a path: from the webroot, or absolute if it begins with
//! `/`. One without is written with `.` for `/`, because some variables take no slash (`wp-content.uploads`). In both
//! forms a backslash makes the next character itself: `sites.example\.com.files` is `sites/example.com/files`.
//! `webroot` is the webroot itself. `merge=imagesN`, which joined N buckets, is `images`: one bucket has no end.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
};

/// A directory of a site that is to be mounted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Directory {
    /// Below the webroot, without `.` and `..`. Empty is the webroot itself.
    Below(PathBuf),
    Absolute(PathBuf),
}

impl Directory {
    /// As it was written.
    pub fn as_path(&self) -> &Path {
        match self {
            Self::Below(path) | Self::Absolute(path) => path,
        }
    }

    /// Where it is on this host.
    pub fn path(&self, webroot: &Path) -> PathBuf {
        match self {
            // Joining nothing would add a slash.
            Self::Below(path) if path.as_os_str().is_empty() => webroot.to_owned(),
            Self::Below(path) => webroot.join(path),
            Self::Absolute(path) => path.clone(),
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(path) if path.as_os_str().is_empty() => f.write_str("webroot"),
            Self::Below(path) | Self::Absolute(path) => path.display().fmt(f),
        }
    }
}

/// What the text says, and what about it is odd: one line each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parsed {
    /// In the order of the text, each once, none inside another.
    pub directories: Vec<Directory>,
    pub remarks: Vec<String>,
}

/// Reads the value of `DIRECTORIES_TO_MOUNT`. Fails with one line that names the directory and what is wrong with it.
pub fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    for item in items(text)? {
        if item.is_empty() {
            continue; // a colon at the end, or two in a row
        }
        let (directory, remark) = directory(&item)?;
        parsed.remarks.extend(remark);
        parsed.directories.push(directory);
    }
    drop_repeated(&mut parsed);
    Ok(parsed)
}

/// A character, and whether a backslash stood before it.
type Char = (char, bool);

/// Splits at colons that are not escaped.
fn items(text: &str) -> Result<Vec<Vec<Char>>, String> {
    let mut items = vec![Vec::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let item = items.last_mut().expect("never empty");
        match c {
            '\\' => {
                let next =
                    chars.next().ok_or_else(|| format!("{text:?} ends in a backslash, which escapes nothing"))?;
                item.push((next, true));
            }
            ':' => items.push(Vec::new()),
            c => item.push((c, false)),
        }
    }
    for item in &mut items {
        let blank = |(c, escaped): &Char| c.is_whitespace() && !escaped;
        while item.last().is_some_and(blank) {
            item.pop();
        }
        let lead = item.iter().take_while(|c| blank(c)).count();
        item.drain(..lead);
    }
    Ok(items)
}

fn directory(item: &[Char]) -> Result<(Directory, Option<String>), String> {
    let shown: String = item.iter().map(|(c, _)| *c).collect();
    let (item, remark) = match shown.strip_prefix("merge=") {
        Some(name) => {
            let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let remark = format!("{shown}: one bucket holds any number of files, so {name} is mounted once");
            (&item["merge=".len().."merge=".len() + name.chars().count()], Some(remark))
        }
        None => (item, None),
    };
    let slashes = item.iter().any(|&(c, escaped)| c == '/' && !escaped);
    let refuse = |why: &str| Err(format!("DIRECTORIES_TO_MOUNT: {shown:?}: {why}"));
    if item.iter().any(|&(c, escaped)| c == '\0' || (c == '/' && escaped)) {
        return refuse("no directory can be called that");
    }
    let separator = if slashes { '/' } else { '.' };
    let absolute = slashes && item.first() == Some(&('/', false));
    let mut names = Vec::new();
    for name in item.split(|&(c, escaped)| c == separator && !escaped) {
        names.push(name.iter().map(|(c, _)| *c).collect::<String>());
    }
    if slashes {
        // As the shell reads paths: `a//b`, `a/` and `./a`.
        names.retain(|name| !name.is_empty() && name != ".");
    } else if names.iter().any(String::is_empty) {
        return refuse("without a slash each dot stands for one; write \\. for a dot in a name");
    }
    if names.iter().any(|name| name == "..") {
        return refuse("'..' would lead out of the webroot");
    }
    if let [name] = &names[..]
        && name == "webroot"
        && !absolute
    {
        return Ok((Directory::Below(PathBuf::new()), remark));
    }
    match (absolute, names.is_empty()) {
        (true, true) => refuse("the root directory cannot be mounted over"),
        (false, true) => refuse("it names no directory"),
        (true, false) => Ok((Directory::Absolute(Path::new("/").join(names.join("/"))), remark)),
        (false, false) => Ok((Directory::Below(names.join("/").into()), remark)),
    }
}

/// A directory that is named twice, or lies inside another one, is mounted with that.
fn drop_repeated(parsed: &mut Parsed) {
    let all = parsed.directories.clone();
    let mut seen = HashSet::new();
    let remarks = &mut parsed.remarks;
    parsed.directories.retain(|directory| {
        if !seen.insert(directory.clone()) {
            remarks.push(format!("{directory} is named twice"));
            return false;
        }
        let outer = all.iter().find(|outer| *outer != directory && lies_in(directory, outer));
        if let Some(outer) = outer {
            remarks.push(format!("{directory} lies in {outer} and is mounted with it"));
        }
        outer.is_none()
    });
}

fn lies_in(inner: &Directory, outer: &Directory) -> bool {
    match (inner, outer) {
        (Directory::Below(inner), Directory::Below(outer))
        | (Directory::Absolute(inner), Directory::Absolute(outer)) => inner.starts_with(outer),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn below(path: &str) -> Directory {
        Directory::Below(path.into())
    }

    #[test]
    fn every_form() {
        for (text, expect) in [
            ("images:media", vec![below("images"), below("media")]),
            ("wp-content.uploads", vec![below("wp-content/uploads")]),
            (
                "sites.default.files.pictures:sites.default.files.styles:sites.default.files.inline-images",
                vec![
                    below("sites/default/files/pictures"),
                    below("sites/default/files/styles"),
                    below("sites/default/files/inline-images"),
                ],
            ),
            ("wp-content/uploads", vec![below("wp-content/uploads")]),
            ("moodledata/filedir", vec![below("moodledata/filedir")]),
            (
                "media/videos:media/images:/var/www/profile",
                vec![below("media/videos"), below("media/images"), Directory::Absolute("/var/www/profile".into())],
            ),
            (r"sites.example\.com.files", vec![below("sites/example.com/files")]),
            ("sites/example.com/files", vec![below("sites/example.com/files")]),
            (r"sites/example\.com/files", vec![below("sites/example.com/files")]),
            (r"\.well-known.files", vec![below(".well-known/files")]),
            (r"odd\:name", vec![below("odd:name")]),
            (" images : media :", vec![below("images"), below("media")]),
            ("images/", vec![below("images")]),
            ("./images//a", vec![below("images/a")]),
            ("/var//www/a/", vec![Directory::Absolute("/var/www/a".into())]),
            ("webroot", vec![below("")]),
            ("merge=images4", vec![below("images")]),
            ("merge=wp-content.uploads2", vec![below("wp-content/uploads")]),
            ("", vec![]),
            (":", vec![]),
        ] {
            assert_eq!(parse(text).unwrap().directories, expect, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, part) in [
            ("images\\", "backslash"),
            ("images..media", "each dot stands for one"),
            (".hidden", "write \\. for a dot"),
            ("images.", "each dot"),
            ("../etc", "lead out of the webroot"),
            ("images/../../etc", "lead out"),
            (r"\.\.", "lead out"),
            ("/", "root directory"),
            ("./", "names no directory"),
            (r"a\/b", "can be called that"),
            ("merge=", "each dot"),
        ] {
            let err = parse(text).unwrap_err();
            assert!(err.contains(part), "{text}: {err}");
        }
    }

    #[test]
    fn nothing_is_mounted_twice() {
        let parsed = parse("images.a:images:images:/var/www/x:images/b/c").unwrap();
        assert_eq!(parsed.directories, [below("images"), Directory::Absolute("/var/www/x".into())]);
        assert_eq!(
            parsed.remarks,
            [
                "images/a lies in images and is mounted with it",
                "images is named twice",
                "images/b/c lies in images and is mounted with it"
            ]
        );
        assert_eq!(parse("images:images2").unwrap().directories.len(), 2, "a name is no path");
    }

    /// Writes directories as a script would, with what needs it escaped.
    fn written(paths: &[Vec<String>], dots: bool) -> String {
        let escape = |name: &String| {
            let special = |c: char| c == ':' || c == '\\' || c.is_whitespace() || (dots && c == '.');
            name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect::<String>()
        };
        let path = |names: &Vec<String>| {
            let names: Vec<_> = names.iter().map(escape).collect();
            if dots { names.join(".") } else { format!("./{}", names.join("/")) }
        };
        paths.iter().map(path).collect::<Vec<_>>().join(":")
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            paths in prop::collection::vec(prop::collection::vec("[a-z .:\\\\=-]{1,6}", 1..4), 1..4),
            dots: bool,
        ) {
            let odd = |name: &String| name == "." || name == ".." || name == "webroot" || name.starts_with("merge=");
            prop_assume!(!paths.iter().flatten().any(odd));
            let parsed = parse(&written(&paths, dots)).unwrap();
            let expect: Vec<_> = paths.iter().map(|names| below(&names.join("/"))).collect();
            // All of them, less those that are named twice or lie in one another.
            for directory in &parsed.directories {
                prop_assert!(expect.contains(directory), "{directory} of {expect:?}");
            }
            for directory in &expect {
                prop_assert!(parsed.directories.iter().any(|there| lies_in(directory, there)), "{directory}");
            }
        }

        #[test]
        fn no_text_panics_or_leads_out(text in "[a./:\\\\ =\u{e4}\0]{0,24}|\\PC{0,24}") {
            for directory in parse(&text).map(|parsed| parsed.directories).unwrap_or_default() {
                let path = directory.path(Path::new("/srv/site"));
                prop_assert!(path.components().all(|part| part != std::path::Component::ParentDir));
                prop_assert!(matches!(directory, Directory::Absolute(_)) || path.starts_with("/srv/site"));
            }
        }
    }
}
