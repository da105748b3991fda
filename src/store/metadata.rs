//! Attributes as `x-amz-meta-*`, in the form of s3fs, so that both read what the other wrote.
//!
//! Written: `mode` (decimal `st_mode` with its type bits), `uid`, `gid`, `mtime` (`sec` or `sec.nnnnnnnnn`), and where
//! permissions are stored `atime` and `ctime` in the same form; for devices `rdev`, hexadecimal as `rclone --metadata`
//! has it. Read besides: rclone's octal modes, short fractions and dates, gcloud's `goog-reserved-*`, s3sync's
//! `permissions`/`owner`/`group`, `s3cmd-attrs`, and the symlinks of geesefs.

mod time;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::Object;
use crate::model::{
    attr::{Attr, Kind, Time},
    key::Key,
};

/// The largest `st_mode`: type and permission bits (inode(7)).
const MODE_MAX: u32 = 0o177_777;
/// What the metadata of one object say. `None`: nothing, or nothing that makes sense.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stored {
    pub kind: Option<Kind>,
    /// Permission bits, 0..=0o7777.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub ctime: Option<Time>,
    /// The number of a device.
    pub rdev: Option<u32>,
    /// Where a symlink of geesefs leads; one of ours has the target as its body.
    pub symlink_target: Option<String>,
}

/// Where the change time is.
pub const CTIME: &str = "ctime";

/// What is written of times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keep {
    /// Nanoseconds; else whole seconds.
    pub ns: bool,
    /// Access and change times too.
    pub all: bool,
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
    let time = |names: &[&str], s3cmd_name: &str| {
        let fields = names.iter().map(|name| field(name)).chain([s3cmd(s3cmd_name)]);
        fields.flatten().find_map(time::parse)
    };
    Stored {
        kind: kind.or_else(|| symlink_target.is_some().then_some(Kind::Symlink)),
        mode: st_mode.map(|mode| mode & 0o7777),
        uid: id("uid", "goog-reserved-posix-uid", "owner"),
        gid: id("gid", "goog-reserved-posix-gid", "group"),
        mtime: time(&["mtime", "goog-reserved-file-mtime"], "mtime"),
        atime: time(&["atime"], "atime"),
        ctime: time(&["ctime"], "ctime"),
        rdev: field("rdev").and_then(|text| u32::from_str_radix(text, 16).ok()),
        symlink_target: symlink_target.map(Into::into),
    }
}

/// The first of the fields that everyone writes which is there and makes no sense: its name and value.
pub fn broken(user: &BTreeMap<String, String>) -> Option<(&'static str, &str)> {
    let sound = |name: &str, text: &str| match name {
        "mode" => text == "0" || parse_mode(text).is_some(),
        "uid" | "gid" => parse_id(text).is_some(),
        _ => time::parse(text).is_some(),
    };
    ["mode", "uid", "gid", "mtime", "atime", "ctime"].into_iter().find_map(|name| {
        let text = user.get(name)?.trim();
        (!text.is_empty() && !sound(name, text)).then_some((name, text))
    })
}

/// Puts `attr` into `user`. All other names stay as they are.
pub fn write(user: &mut BTreeMap<String, String>, attr: &Attr, keep: Keep) {
    write_owner(user, attr);
    write_times(user, attr, keep);
    if attr.kind.is_device() {
        user.insert("rdev".into(), format!("{:x}", attr.rdev));
    }
}

/// Mode, owner and group alone.
pub fn write_owner(user: &mut BTreeMap<String, String>, attr: &Attr) {
    let mode = attr.kind.type_bits() | (attr.mode & 0o7777);
    user.insert("mode".into(), mode.to_string());
    user.insert("uid".into(), attr.uid.to_string());
    user.insert("gid".into(), attr.gid.to_string());
}

/// The times alone.
pub fn write_times(user: &mut BTreeMap<String, String>, attr: &Attr, keep: Keep) {
    let others = [("atime", attr.atime), ("ctime", attr.ctime)].into_iter().filter(|_| keep.all);
    for (name, time) in [("mtime", attr.mtime)].into_iter().chain(others) {
        user.insert(name.into(), time::format(if keep.ns { time } else { time.whole() }));
    }
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

/// Decimal, as s3fs writes it. What starts with 0, or is too large for a decimal mode (`100644`), or names no type unless
/// it is octal (`40755`), was meant octal, as rclone writes it. 0 is what tools write that know nothing, so it means
/// nothing.
fn parse_mode(text: &str) -> Option<u32> {
    if text.len() > 1 && text.starts_with('0') {
        return parse_octal(text);
    }
    match text.parse() {
        Ok(0) | Err(_) => None,
        Ok(mode) if mode > MODE_MAX => parse_octal(text),
        Ok(mode) if mode & libc::S_IFMT == 0 || Kind::from_mode(mode).is_some() => Some(mode),
        Ok(mode) => parse_octal(text).or(Some(mode)),
    }
}

fn parse_octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|&mode| mode != 0 && mode <= MODE_MAX)
}

/// All bits set mean *no id* to chown(2), so nobody has that one.
fn parse_id(text: &str) -> Option<u32> {
    let id = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    id.filter(|&id| id != u32::MAX)
}

/// One value of `k:v/k:v/...`.
fn s3cmd_field<'a>(attrs: &'a str, name: &str) -> Option<&'a str> {
    attrs.split('/').filter_map(|pair| pair.split_once(':')).find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests;
