//! The kernel's list of mounts (`/proc/thread-self/mountinfo`, proc(5)): those that the calling thread sees.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The file system type of our mounts.
pub const TYPE: &str = "fuse.originfs";

/// A place where looking makes the kernel wait until something is mounted there: `x-systemd.automount`.
pub const AUTOMOUNT: &str = "autofs";

/// One mount.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Row {
    /// Unique while it is mounted.
    pub(super) id: u64,
    /// The minor number of its device: its name below /sys/fs/fuse/connections.
    pub(super) minor: u32,
    pub(super) point: PathBuf,
    /// File system type.
    pub(super) kind: String,
    pub(super) source: OsString,
}

/// The mount that is seen at `point`: the last one that was put there.
pub(super) fn top(point: &Path) -> io::Result<Option<Row>> {
    Ok(read()?.into_iter().rfind(|row| row.point == point))
}

/// Something that is mounted in the directory `point`.
pub(super) fn below(point: &Path) -> io::Result<Option<PathBuf>> {
    Ok(read()?.into_iter().map(|row| row.point).find(|mounted| mounted != point && mounted.starts_with(point)))
}

/// Whether the mount `id` is still in the list.
pub(super) fn is_mounted(id: u64) -> io::Result<bool> {
    Ok(read()?.iter().any(|row| row.id == id))
}

fn read() -> io::Result<Vec<Row>> {
    let text = fs::read("/proc/thread-self/mountinfo")?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// `36 35 0:98 / /mnt rw,noatime shared:1 - fuse.originfs source rw`; any number of fields stands before the dash.
fn parse(line: &[u8]) -> Option<Row> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let device = text(fields.nth(1)?)?;
    let minor = device.split_once(':')?.1.parse().ok()?;
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let mut rest = fields.skip_while(|&field| field != b"-").skip(1);
    let kind = text(rest.next()?)?.to_owned();
    Some(Row { id, minor, point, kind, source: unescape(rest.next()?) })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// Space, tab, newline and backslash are written as three octal digits after a backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(text);
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_optional_fields_and_escapes() {
        let line = br"36 35 0:98 / /srv/my\040site rw,noatime master:1 shared:2 - fuse.originfs bucket:/a\134b rw";
        let expect = Row {
            id: 36,
            minor: 98,
            point: PathBuf::from("/srv/my site"),
            kind: "fuse.originfs".to_owned(),
            source: OsString::from(r"bucket:/a\b"),
        };
        assert_eq!(parse(line), Some(expect));
    }

    #[test]
    fn a_row_without_optional_fields() {
        assert_eq!(parse(b"21 1 8:1 / / rw - ext4 /dev/root rw").unwrap().kind, "ext4");
    }

    #[test]
    fn what_is_no_row() {
        for line in [&b""[..], b"x", b"36 35 0:98 / /mnt rw - ", b"36 35 098 / /mnt rw - a b"] {
            assert!(parse(line).is_none(), "{:?}", text(line));
        }
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape(br"a\9\04"), OsString::from(r"a\9\04"));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(top(Path::new("/")).unwrap().is_some_and(|root| is_mounted(root.id).unwrap()));
    }
}
