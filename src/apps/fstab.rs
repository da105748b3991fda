//! The lines of a site in fstab(5): between marks of its own, so that a later run finds them, and no other line is touched.

use std::path::{Path, PathBuf};

use crate::config::words;

/// A line of a mount. Its options are in its configuration file; mount(8) and systemd need to know the rest.
pub fn line(source: &str, directory: &Path, config: &Path) -> String {
    let (source, directory) = (escape(source), escape(&directory.to_string_lossy()));
    let config = escape(&words::escape(&config.to_string_lossy()));
    format!("{source} {directory} originfs _netdev,nofail,config={config} 0 0")
}

/// `text` with exactly these lines for `site`, in the place where its lines were, else at the end. Without lines the marks
/// go, too. Fails with one line, if a begin has no end.
pub fn with(text: &str, site: &Path, lines: &[String]) -> Result<String, String> {
    let block = block(text, site)?;
    let (before, after) = block.map_or((text, ""), |block| (&text[..block.start], &text[block.end..]));
    let mut out = before.to_owned();
    if !lines.is_empty() {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        let (begin, end) = marks(site);
        for line in std::iter::once(&begin).chain(lines).chain([&end]) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.push_str(after);
    Ok(out)
}

/// The directories that the lines of `site` mount on.
pub fn directories(text: &str, site: &Path) -> Result<Vec<PathBuf>, String> {
    let block = block(text, site)?.unwrap_or_default();
    Ok(text[block].lines().filter_map(mount_point).collect())
}

/// The directories of all lines that are not those of `site`.
pub fn others(text: &str, site: &Path) -> Result<Vec<PathBuf>, String> {
    let block = block(text, site)?.unwrap_or_default();
    let rest = [&text[..block.start], &text[block.end..]];
    Ok(rest.iter().flat_map(|text| text.lines()).filter_map(mount_point).collect())
}

fn mount_point(line: &str) -> Option<PathBuf> {
    let line = line.trim_start();
    let second = line.split_whitespace().nth(1).filter(|_| !line.starts_with('#'))?;
    Some(PathBuf::from(unescape(second)))
}

fn marks(site: &Path) -> (String, String) {
    let site = escape(&site.to_string_lossy());
    (format!("# originfs apply: begin {site}"), format!("# originfs apply: end {site}"))
}

/// Where the lines of `site` are, marks and the last newline included.
fn block(text: &str, site: &Path) -> Result<Option<std::ops::Range<usize>>, String> {
    let (begin, end) = marks(site);
    let mut start = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        match (line.trim_end(), start) {
            (mark, None) if mark == begin => start = Some(at),
            (mark, Some(start)) if mark == end => return Ok(Some(start..next)),
            _ => {}
        }
        at = next;
    }
    match start {
        None => Ok(None),
        Some(_) => Err(format!("the line {begin:?} has no {end:?} after it: add that, or remove both")),
    }
}

/// Spaces, tabs, newlines and backslashes in octal, as fstab(5) wants them.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            ' ' => out.push_str("\\040"),
            '\t' => out.push_str("\\011"),
            '\n' => out.push_str("\\012"),
            '\\' => out.push_str("\\134"),
            // Only at the start of a line would it be a comment; a source may begin with it.
            '#' => out.push_str("\\043"),
            c => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (octal, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")] {
        out = out.replace(octal, plain);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: &str = "/var/www/html";

    fn with_lines(text: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        with(text, Path::new(SITE), &lines).unwrap()
    }

    #[test]
    fn a_block_is_added_changed_and_removed() {
        let before = "/dev/sda1 / ext4 defaults 0 1";
        let added = with_lines(before, &["b /m originfs x 0 0"]);
        let expect = "/dev/sda1 / ext4 defaults 0 1\n# originfs apply: begin /var/www/html\nb /m originfs x 0 0\n\
                      # originfs apply: end /var/www/html\n";
        assert_eq!(added, expect);
        assert_eq!(with_lines(&added, &["b /m originfs x 0 0"]), added, "a second time changes nothing");
        let more = format!("{added}tmpfs /tmp tmpfs defaults 0 0\n");
        let changed = with_lines(&more, &["b /n originfs x 0 0"]);
        assert_eq!(changed, more.replace("/m", "/n"), "it stays in its place");
        assert_eq!(with_lines(&changed, &[]), format!("{before}\ntmpfs /tmp tmpfs defaults 0 0\n"));
        let other = with(&more, Path::new("/srv/b"), &["c /o originfs x 0 0".to_owned()]).unwrap();
        assert!(other.starts_with(&more), "another site has a block of its own");
    }

    #[test]
    fn a_mark_without_its_end_is_no_licence_to_delete() {
        let text = "# originfs apply: begin /var/www/html\n/dev/sda1 / ext4 defaults 0 1\n";
        assert!(with(text, Path::new(SITE), &[]).unwrap_err().contains("has no"));
    }

    #[test]
    fn lines_of_others_are_seen() {
        let text = "# /commented /out x\n\n/dev/sda1 /my\\040disk ext4 defaults 0 1\n";
        let all = with_lines(text, &[&line("b:/a", Path::new("/m m"), Path::new("/etc/x.toml"))]);
        assert_eq!(others(&all, Path::new(SITE)).unwrap(), [Path::new("/my disk")]);
        assert_eq!(directories(&all, Path::new(SITE)).unwrap(), [Path::new("/m m")]);
    }

    #[test]
    fn odd_characters_are_octal() {
        let config = Path::new(r"/etc/originfs/a\x2db.toml");
        let expect = r"b:/a\040b /m\134m originfs _netdev,nofail,config=/etc/originfs/a\134\134x2db.toml 0 0";
        assert_eq!(line("b:/a b", Path::new(r"/m\m"), config), expect);
    }

    proptest! {
        #[test]
        fn other_lines_are_never_touched(
            before in "([a-z/ #]{0,12}\n){0,4}[a-z/]{0,6}",
            first in prop::collection::vec("[a-z]{1,5} /[a-z]{1,5} x", 0..3),
            second in prop::collection::vec("[a-z]{1,5} /[a-z]{1,5} x", 0..3),
        ) {
            let once = with(&before, Path::new(SITE), &first).unwrap();
            let twice = with(&once, Path::new(SITE), &second).unwrap();
            prop_assert_eq!(with(&twice, Path::new(SITE), &second).unwrap(), twice.clone());
            let none = with(&twice, Path::new(SITE), &[]).unwrap();
            prop_assert_eq!(none.trim_end_matches('\n'), before.trim_end_matches('\n'));
            prop_assert_eq!(directories(&twice, Path::new(SITE)).unwrap().len(), second.len());
        }

        #[test]
        fn escapes_come_back(text in "\\PC{0,12}[ \t\\\\0-7]{0,8}") {
            prop_assert_eq!(unescape(&escape(&text)), text);
        }
    }
}
