//! How a directory is to be mounted, as an administrator wrote it down: in fstab, or for the service.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use super::place;
use crate::apps::service;

/// Where the service has its settings, one file for each directory.
const SETTINGS: &str = "/etc/originfs";

/// A mount that is written down.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Written {
    pub(super) source: String,
    /// As after `-o`.
    pub(super) options: String,
    /// Variables of the environment, keys among them.
    pub(super) env: Vec<(String, String)>,
}

/// What is written about `dir`, an absolute path without links.
pub(super) fn find(dir: &Path, table: &Path) -> Option<Written> {
    let lines = fs::read_to_string(table).unwrap_or_default();
    let same = |point: &Path| point == dir || place::resolve(point).is_ok_and(|point| point == dir);
    if let Some(written) = lines.lines().rev().find_map(|line| of_line(line, same)) {
        return Some(written);
    }
    let settings = Path::new(SETTINGS).join(format!("{}.env", service::instance(dir)));
    of_settings(&fs::read_to_string(settings).ok()?)
}

/// A line of fstab(5), if it is of ours and `same` says that it is of the directory.
fn of_line(line: &str, same: impl Fn(&Path) -> bool) -> Option<Written> {
    let mut fields = line.split_whitespace();
    let source = fields.next().filter(|first| !first.starts_with('#')).map(unescape)?;
    let point = PathBuf::from(unescape(fields.next()?));
    let source = match fields.next()? {
        "originfs" | "fuse.originfs" => source.into_string().ok()?,
        "fuse" => source.to_str()?.strip_prefix("originfs#")?.to_owned(),
        _ => return None,
    };
    let options = unescape(fields.next().unwrap_or_default()).into_string().ok()?;
    same(&point).then_some(Written { source, options, env: Vec::new() })
}

/// As [`service::settings`] writes them.
fn of_settings(text: &str) -> Option<Written> {
    let mut written = Written::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let mut plain = String::new();
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
        }
        match name.trim() {
            "SOURCE" => written.source = plain,
            "OPTIONS" => written.options = plain,
            name => written.env.push((name.to_owned(), plain)),
        }
    }
    (!written.source.is_empty()).then_some(written)
}

/// Three octal digits after a backslash are a byte (fstab(5)).
fn unescape(field: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_fstab() {
        for (line, expect) in [
            ("b:/p /srv/a\\040b originfs rw,uid=33 0 0", Some(("b:/p", "rw,uid=33"))),
            ("b /srv/a\\040b\tfuse.originfs defaults", Some(("b", "defaults"))),
            ("originfs#b:/p /srv/a\\040b fuse ro 0 0", Some(("b:/p", "ro"))),
            ("s3fs#b /srv/a\\040b fuse ro 0 0", None),
            ("b /srv/other originfs rw 0 0", None),
            ("#b /srv/a\\040b originfs rw 0 0", None),
            ("/dev/sda1 /srv/a\\040b ext4 rw 0 0", None),
            ("", None),
        ] {
            let found = of_line(line, |point| point == Path::new("/srv/a b"));
            let found = found.as_ref().map(|found| (found.source.as_str(), found.options.as_str()));
            assert_eq!(found, expect, "{line}");
        }
    }

    #[test]
    fn settings_of_the_service() {
        let text = "# for www\nSOURCE=\"b:/p\"\nOPTIONS=\"uid=33,local=a\\\\,b\"\nAWS_SECRET_ACCESS_KEY=\"a\\\"\\$\\`b\"\nX=1\n";
        let written = of_settings(text).unwrap();
        assert_eq!((written.source.as_str(), written.options.as_str()), ("b:/p", "uid=33,local=a\\,b"));
        let env = [("AWS_SECRET_ACCESS_KEY", "a\"$`b"), ("X", "1")];
        assert_eq!(written.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(of_settings("# nothing\n"), None);
    }
}
