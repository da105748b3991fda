//! Attributes as `x-amz-meta-*`, in the form of s3fs, so that both read what the other wrote.
//!
//! Written: `mode` (decimal `st_mode` with its type bits), `uid`, `gid`, `mtime` (`sec` or `sec.nnnnnnnnn`; nine digits,
//! because s3fs reads a shorter fraction as a count of nanoseconds). Read besides: rclone's short fractions, gcloud's
//! `goog-reserved-*`, s3sync's `permissions`/`owner`/`group`, `s3cmd-attrs`, and the symlinks of geesefs.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::Object;
use crate::model::{
    attr::{Attr, Kind, Time},
    key::Key,
};

/// The largest `st_mode`: type and permission bits (inode(7)).
const MODE_MAX: u32 = 0o177_777;
/// Nanoseconds have this many decimal digits.
const FRACTION_DIGITS: usize = 9;

/// What the metadata of one object say. `None`: nothing, or nothing that makes sense.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stored {
    pub kind: Option<Kind>,
    /// Permission bits, 0..=0o7777.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    /// Where a symlink of geesefs leads; one of ours has the target as its body.
    pub symlink_target: Option<String>,
}

/// Reads `user`, names in lower case. Our own names win over those of other programs.
pub fn read(user: &BTreeMap<String, String>) -> Stored {
    let field = |name: &str| user.get(name).map(|text| text.trim());
    let s3cmd = |name: &str| s3cmd_field(field("s3cmd-attrs")?, name);
    let st_mode = field("mode")
        .and_then(parse_mode)
        .or_else(|| field("goog-reserved-posix-mode").and_then(parse_octal))
        .or_else(|| field("permissions").and_then(parse_mode))
        .or_else(|| s3cmd("mode").and_then(parse_mode));
    let id = |ours: &str, goog: &str, s3sync: &str| {
        [field(ours), field(goog), field(s3sync), s3cmd(ours)].into_iter().flatten().find_map(parse_id)
    };
    let symlink_target = field("--symlink-target").and_then(|text| percent_decode_str(text).decode_utf8().ok());
    let kind = st_mode.and_then(Kind::from_mode);
    Stored {
        kind: kind.or_else(|| symlink_target.is_some().then_some(Kind::Symlink)),
        mode: st_mode.map(|mode| mode & 0o7777),
        uid: id("uid", "goog-reserved-posix-uid", "owner"),
        gid: id("gid", "goog-reserved-posix-gid", "group"),
        mtime: [field("mtime"), field("goog-reserved-file-mtime"), s3cmd("mtime")]
            .into_iter()
            .flatten()
            .find_map(parse_time),
        symlink_target: symlink_target.map(Into::into),
    }
}

/// Puts `attr` into `user`, with the fraction of the mtime if `ns`. All other names stay as they are.
pub fn write(user: &mut BTreeMap<String, String>, attr: &Attr, ns: bool) {
    write_owner(user, attr);
    write_mtime(user, attr.mtime, ns);
}

/// Mode, owner and group alone.
pub fn write_owner(user: &mut BTreeMap<String, String>, attr: &Attr) {
    let mode = attr.kind.type_bits() | (attr.mode & 0o7777);
    user.insert("mode".into(), mode.to_string());
    user.insert("uid".into(), attr.uid.to_string());
    user.insert("gid".into(), attr.gid.to_string());
}

/// The mtime alone.
pub fn write_mtime(user: &mut BTreeMap<String, String>, mtime: Time, ns: bool) {
    user.insert("mtime".into(), format_time(if ns { mtime } else { mtime.whole() }));
}

/// Whether an object stands for a directory: an empty one whose key ends in `/` (consoles, rclone, geesefs), or one
/// that is typed as a directory (s3fs, Nextcloud), with or without a slash.
pub fn is_dir_marker(key: &Key, object: &Object) -> bool {
    let typed = object.headers.content_type.as_deref().is_some_and(|text| {
        let media = text.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("application/x-directory") || media.eq_ignore_ascii_case("httpd/unix-directory")
    });
    let empty = object.version.size == 0;
    if key.is_marker() { empty || typed } else { empty && typed }
}

/// Decimal, as everyone writes it. What starts with 0, or is too large for a decimal mode (`100644`), was meant octal.
/// 0 is what tools write that know nothing, so it means nothing.
fn parse_mode(text: &str) -> Option<u32> {
    if text.len() > 1 && text.starts_with('0') {
        return parse_octal(text);
    }
    match text.parse() {
        Ok(0) | Err(_) => None,
        Ok(mode) if mode <= MODE_MAX => Some(mode),
        Ok(_) => parse_octal(text),
    }
}

fn parse_octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|&mode| mode != 0 && mode <= MODE_MAX)
}

fn parse_id(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `sec` or `sec.fraction`, a decimal number of seconds since 1970. Digits beyond nanoseconds are dropped.
fn parse_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (negative, digits) = whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
    let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !only_digits(digits) || !only_digits(fraction) {
        return None;
    }
    let sec: i64 = digits.parse().ok()?;
    let mut nsec = 0;
    for place in 0..FRACTION_DIGITS {
        nsec = nsec * 10 + fraction.as_bytes().get(place).map_or(0, |byte| u32::from(byte - b'0'));
    }
    Some(match (negative, nsec) {
        (false, _) => Time { sec, nsec },
        (true, 0) => Time::seconds(-sec),
        (true, _) => Time { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

fn format_time(time: Time) -> String {
    match time {
        Time { sec, nsec: 0 } => sec.to_string(),
        Time { sec, nsec } if sec >= 0 => format!("{sec}.{nsec:09}"),
        Time { sec, nsec } => format!("-{}.{:09}", (sec + 1).unsigned_abs(), 1_000_000_000 - nsec),
    }
}

/// One value of `k:v/k:v/...`.
fn s3cmd_field<'a>(attrs: &'a str, name: &str) -> Option<&'a str> {
    attrs.split('/').filter_map(|pair| pair.split_once(':')).find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::version::{ETag, Version},
        store::Headers,
    };

    fn user(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[track_caller]
    fn check_mode(text: &str, kind: Option<Kind>, mode: Option<u32>) {
        let stored = read(&user(&[("mode", text)]));
        assert_eq!((stored.kind, stored.mode), (kind, mode), "{text}");
    }

    #[test]
    fn modes_of_s3fs_and_of_worse_writers() {
        check_mode("33188", Some(Kind::File), Some(0o644));
        check_mode("16877", Some(Kind::Dir), Some(0o755));
        check_mode("41471", Some(Kind::Symlink), Some(0o777));
        check_mode("32768", Some(Kind::File), Some(0));
        check_mode("420", None, Some(0o644));
        check_mode("0100644", Some(Kind::File), Some(0o644));
        check_mode("100644", Some(Kind::File), Some(0o644));
        check_mode("0644", None, Some(0o644));
        check_mode("4480", None, Some(0o600)); // a pipe: no such kind here
        for nonsense in ["", "0", "rw-r--r--", "-1", "99999999999"] {
            check_mode(nonsense, None, None);
        }
    }

    #[track_caller]
    fn check_time(text: &str, expect: Option<(i64, u32)>) {
        let expect = expect.map(|(sec, nsec)| Time { sec, nsec });
        assert_eq!(read(&user(&[("mtime", text)])).mtime, expect, "{text}");
    }

    #[test]
    fn fractions_are_decimal() {
        check_time("1354040105", Some((1_354_040_105, 0)));
        check_time("1354040105.123456789", Some((1_354_040_105, 123_456_789)));
        check_time("1354040105.5", Some((1_354_040_105, 500_000_000)));
        check_time("1354040105.000000005", Some((1_354_040_105, 5)));
        check_time("1.1234567899", Some((1, 123_456_789)));
        check_time("-1.5", Some((-2, 500_000_000)));
        for nonsense in ["", ".5", "1e9", "2020-01-01T00:00:00Z", "1.5.5", "1.-5", "99999999999999999999"] {
            check_time(nonsense, None);
        }
    }

    #[test]
    fn other_programs_metadata_are_read() {
        let gcloud = read(&user(&[
            ("goog-reserved-posix-mode", "644"),
            ("goog-reserved-posix-uid", "33"),
            ("goog-reserved-posix-gid", "34"),
            ("goog-reserved-file-mtime", "1700000000"),
        ]));
        assert_eq!((gcloud.mode, gcloud.uid, gcloud.gid), (Some(0o644), Some(33), Some(34)));
        assert_eq!(gcloud.mtime, Some(Time::seconds(1_700_000_000)));
        let attrs =
            "atime:1/ctime:2/gid:34/gname:www/md5:d41d8cd98f00b204e9800998ecf8427e/mode:33188/mtime:3/uid:33/uname:w";
        let s3cmd = read(&user(&[("s3cmd-attrs", attrs)]));
        assert_eq!((s3cmd.kind, s3cmd.mode), (Some(Kind::File), Some(0o644)));
        assert_eq!((s3cmd.uid, s3cmd.gid, s3cmd.mtime), (Some(33), Some(34), Some(Time::seconds(3))));
        let s3sync = read(&user(&[("owner", "0x21"), ("group", "34"), ("permissions", "33188")]));
        assert_eq!((s3sync.uid, s3sync.gid, s3sync.mode), (Some(33), Some(34), Some(0o644)));
        let geesefs = read(&user(&[("--symlink-target", "../a%20b%25")]));
        assert_eq!((geesefs.kind, geesefs.symlink_target.as_deref()), (Some(Kind::Symlink), Some("../a b%")));
    }

    #[test]
    fn nothing_stored_reads_as_nothing() {
        assert_eq!(read(&BTreeMap::new()), Stored::default());
    }

    #[track_caller]
    fn check_marker(key: &str, size: u64, content_type: Option<&str>, expect: bool) {
        let version = Version { etag: ETag::new("\"e\""), modified: None, size };
        let headers = Headers { content_type: content_type.map(Into::into), ..Headers::default() };
        assert_eq!(
            is_dir_marker(&Key::new(key), &Object { version, headers, operation: None }),
            expect,
            "{key} {size} {content_type:?}"
        );
    }

    #[test]
    fn markers_of_all_writers() {
        check_marker("a/", 0, None, true);
        check_marker("a/", 0, Some("binary/octet-stream"), true);
        check_marker("a/", 3, Some("text/plain"), false);
        check_marker("a/", 3, Some("application/x-directory"), true);
        check_marker("a", 0, Some("application/x-directory; charset=UTF-8"), true);
        check_marker("a", 0, Some("httpd/unix-directory"), true);
        check_marker("a", 0, None, false);
        check_marker("a", 3, Some("application/x-directory"), false);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in prop_oneof![Just(Kind::File), Just(Kind::Dir), Just(Kind::Symlink)],
            mode in 0..=0o7777_u32, uid: u32, gid: u32,
            sec in -10_000_000_000..10_000_000_000_i64, nsec in 0..1_000_000_000_u32, ns: bool,
            foreign in proptest::collection::btree_map("x-[a-z]{1,8}", "[ -~]{0,20}", 0..4),
        ) {
            let attr = Attr { kind, size: 0, mtime: Time { sec, nsec }, mode, uid, gid };
            let mut user = foreign.clone();
            user.insert("mtime".into(), "7".into());
            write(&mut user, &attr, ns);
            let mtime = if ns { attr.mtime } else { attr.mtime.whole() };
            prop_assert_eq!(read(&user), Stored {
                kind: Some(kind), mode: Some(mode), uid: Some(uid), gid: Some(gid), mtime: Some(mtime), symlink_target: None,
            });
            for (name, value) in &foreign {
                prop_assert_eq!(user.get(name), Some(value));
            }
            prop_assert_eq!(user.len(), foreign.len() + 4);
        }

        #[test]
        fn a_fraction_has_nine_digits_or_is_absent(sec in 0..10_000_000_000_i64, nsec in 1..1_000_000_000_u32) {
            let text = format_time(Time { sec, nsec });
            prop_assert_eq!(text.split_once('.').map(|(_, fraction)| fraction.len()), Some(9));
        }

        #[test]
        fn no_metadata_panics(name in "(mode|uid|gid|mtime|s3cmd-attrs|--symlink-target)", value in "\\PC{0,30}") {
            read(&user(&[(&name, &value)]));
        }
    }
}
