//! /etc/fstab and the kernel's list of mounts, as far as the checks need them.

use std::path::{Path, PathBuf};

use super::files::Files;

/// A line of either.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Where it stands: `/etc/fstab:7`, or `/proc/self/mountinfo`.
    pub from: String,
    pub source: String,
    pub dir: PathBuf,
    /// Type of the file system.
    pub kind: String,
    pub options: String,
}

impl Line {
    /// A mount of ours, by the types that mount(8) knows it by.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind.as_str(), "originfs" | "fuse.originfs")
    }

    /// The value of an option (empty where it has none), if it is there.
    pub fn option(&self, name: &str) -> Option<&str> {
        let all = self.options.split(',').map(|option| option.split_once('=').unwrap_or((option, "")));
        all.filter(|(found, _)| *found == name).map(|(_, value)| value).next_back()
    }
}

/// The lines of /etc/fstab.
pub fn fstab(files: &impl Files) -> Vec<Line> {
    let path = Path::new("/etc/fstab");
    let text = files.read(path).unwrap_or_default();
    (1..)
        .zip(text.lines())
        .filter_map(|(number, line)| fstab_line(&format!("{}:{number}", path.display()), line))
        .collect()
}

/// `SOURCE DIR TYPE OPTIONS [DUMP [PASS]]` (fstab(5)).
fn fstab_line(from: &str, line: &str) -> Option<Line> {
    let mut fields = line.split_whitespace();
    let source = fields.next().filter(|field| !field.starts_with('#'))?;
    let (dir, kind) = (fields.next()?, fields.next()?);
    let options = fields.next().unwrap_or("defaults");
    Some(Line {
        from: from.to_owned(),
        source: unescape(source),
        dir: unescape(dir).into(),
        kind: kind.to_owned(),
        options: unescape(options),
    })
}

/// What is mounted, the last at a place being what is seen there.
pub fn mounted(files: &impl Files) -> Vec<Line> {
    let text = files.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    text.lines().filter_map(mountinfo_line).collect()
}

/// `36 35 0:98 / /mnt rw,noatime shared:1 - fuse.originfs source rw` (proc(5)).
fn mountinfo_line(line: &str) -> Option<Line> {
    let (before, after) = line.split_once(" - ")?;
    let dir = before.split(' ').nth(4)?;
    let mut rest = after.split(' ');
    let (kind, source) = (rest.next()?, rest.next()?);
    Some(Line {
        from: "/proc/self/mountinfo".to_owned(),
        source: unescape(source),
        dir: unescape(dir).into(),
        kind: kind.to_owned(),
        options: rest.next().unwrap_or_default().to_owned(),
    })
}

/// Space, tab, newline and backslash are written as three octal digits after a backslash.
fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        text.push_str(&rest[..at]);
        // The digits of fstab and the kernel stand for ASCII alone.
        if let Some(code) = code.filter(u8::is_ascii) {
            text.push(char::from(code));
            rest = &rest[at + 4..];
        } else {
            text.push('\\');
            rest = &rest[at + 1..];
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::{super::files::Fixture, *};

    #[test]
    fn lines_of_fstab() {
        let files = Fixture::new(&[(
            "/etc/fstab",
            "# comment\n\nUUID=1 / ext4 defaults 0 1\nsite:/a\t/srv/my\\040site originfs _netdev,uid=33,nofail 0 0\nshort /x\n",
        )]);
        let lines = fstab(&files);
        assert_eq!(lines.len(), 2);
        let ours = &lines[1];
        assert_eq!((ours.from.as_str(), ours.source.as_str()), ("/etc/fstab:4", "site:/a"));
        assert_eq!(ours.dir, Path::new("/srv/my site"));
        assert!(ours.is_ours() && !lines[0].is_ours());
        assert_eq!((ours.option("uid"), ours.option("nofail"), ours.option("gid")), (Some("33"), Some(""), None));
    }

    #[test]
    fn lines_of_the_kernel() {
        let files = Fixture::new(&[(
            "/proc/self/mountinfo",
            "36 35 0:98 / /srv/a\\134b rw,noatime master:1 shared:2 - fuse.originfs bucket:/x rw,user_id=0\n21 1 8:1 / / rw - ext4 /dev/root rw\nbroken\n",
        )]);
        let lines = mounted(&files);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].dir.as_path(), lines[0].kind.as_str()), (Path::new("/srv/a\\b"), "fuse.originfs"));
        assert_eq!(lines[0].source, "bucket:/x");
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (field, expect) in
            [("a\\9b", "a\\9b"), ("\\040", " "), ("\\", "\\"), ("\\\u{e9}x", "\\\u{e9}x"), ("\\377", "\\377")]
        {
            assert_eq!(unescape(field), expect);
        }
    }
}
