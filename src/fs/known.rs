//! What is known of a name, and how the answers of the bucket become it. Pure.

use std::{ffi::OsStr, sync::Arc, time::Instant};

use crate::{
    cdn::content_type,
    config::{FsOptions, Perms},
    model::{
        attr::{Attr, Kind, Time},
        key::Key,
        version::Version,
    },
    store::{Headers, Object, metadata},
};

/// Permission bits of symlinks: they have none of their own (symlink(7)).
const SYMLINK_MODE: u32 = 0o777;

/// What the bucket holds at a name.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Absent,
    File(Arc<Object>),
    /// With its marker, if it has one.
    Dir(Option<Arc<Object>>),
    /// Nothing changed since this version.
    Same(Version),
}

/// An answer of the bucket, and when it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) asked: Instant,
    /// The same moment by the wall clock, in seconds since 1970.
    pub(super) wall: i64,
    pub(super) seen: Seen,
}

/// What is known of a node.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The object (of a directory: its marker). `None`: nothing in the bucket yet, or an implicit directory.
    pub(super) version: Option<Version>,
    pub(super) attr: Attr,
    /// When the request was sent that this was the answer to. `None`: the attributes are a guess from a listing.
    pub(super) asked: Option<Instant>,
}

impl Known {
    /// The root of the mount, which is always there.
    pub(super) fn root(options: &FsOptions) -> Self {
        Self { version: None, attr: dir_attr(options, None), asked: None }
    }

    /// What an answer says; `None` for nothing there and nothing new.
    pub(super) fn of(options: &FsOptions, answer: &Answer) -> Option<Self> {
        let asked = Some(answer.asked);
        match &answer.seen {
            Seen::Absent | Seen::Same(_) => None,
            Seen::File(object) => Some(Self {
                version: Some(sure(&object.version, answer.wall)),
                attr: file_attr(options, object),
                asked,
            }),
            Seen::Dir(marker) => {
                let version = marker.as_ref().map(|marker| sure(&marker.version, answer.wall));
                Some(Self { version, attr: dir_attr(options, marker.as_deref()), asked })
            }
        }
    }

    /// What a listing lets one guess of an object; never shown without asking first.
    pub(super) fn listed(options: &FsOptions, version: &Version) -> Self {
        let mtime = Time::seconds(version.modified.unwrap_or(0));
        let attr = Attr {
            kind: Kind::File,
            size: version.size,
            mtime,
            mode: options.file_mode,
            uid: options.uid,
            gid: options.gid,
        };
        Self { version: Some(version.clone()), attr, asked: None }
    }
}

/// Seconds that a Last-Modified must be old to tell versions apart: it counts in seconds, so an object may change again
/// within its second, and the clocks of host and bucket are not the same.
const SETTLED: i64 = 60;

/// The version as far as it can be recognised later: without its time if that is too fresh at `wall`. Then nothing but
/// a HEAD tells whether the metadata are still the same.
fn sure(version: &Version, wall: i64) -> Version {
    let modified = version.modified.filter(|modified| modified.saturating_add(SETTLED) <= wall);
    Version { modified, ..version.clone() }
}

/// The attributes of an object that is no directory.
pub(super) fn file_attr(options: &FsOptions, object: &Object) -> Attr {
    let stored = metadata::read(&object.headers.user);
    let kind = if stored.kind == Some(Kind::Symlink) { Kind::Symlink } else { Kind::File };
    let mtime = stored.mtime.unwrap_or(Time::seconds(object.version.modified.unwrap_or(0)));
    let size = stored.symlink_target.as_ref().map_or(object.version.size, |target| target.len() as u64);
    let (mode, uid, gid) = match options.perms {
        _ if kind == Kind::Symlink => (SYMLINK_MODE, stored.uid, stored.gid),
        Perms::Stored => (stored.mode.filter(|&mode| mode != 0).unwrap_or(options.file_mode), stored.uid, stored.gid),
        Perms::Uniform => (options.file_mode, None, None),
    };
    owned(options, Attr { kind, size, mtime, mode, uid: options.uid, gid: options.gid }, uid, gid)
}

/// The attributes of a directory. Without a marker it has no time of its own: 1970, the same on every host.
pub(super) fn dir_attr(options: &FsOptions, marker: Option<&Object>) -> Attr {
    let stored = marker.map(|object| metadata::read(&object.headers.user)).unwrap_or_default();
    let modified = marker.and_then(|object| object.version.modified).unwrap_or(0);
    let mtime = stored.mtime.unwrap_or(Time::seconds(modified));
    let mode = match options.perms {
        Perms::Stored => stored.mode.filter(|&mode| mode != 0).unwrap_or(options.dir_mode),
        Perms::Uniform => options.dir_mode,
    };
    let attr = Attr { kind: Kind::Dir, size: 0, mtime, mode, uid: options.uid, gid: options.gid };
    owned(options, attr, stored.uid, stored.gid)
}

fn owned(options: &FsOptions, attr: Attr, uid: Option<u32>, gid: Option<u32>) -> Attr {
    match options.perms {
        Perms::Uniform => attr,
        Perms::Stored => Attr { uid: uid.unwrap_or(attr.uid), gid: gid.unwrap_or(attr.gid), ..attr },
    }
}

/// The headers of a new object: type by name (and by `head`, its first bytes), metadata from `attr`.
pub(super) fn new_headers(options: &FsOptions, key: &Key, attr: &Attr, head: &[u8]) -> Headers {
    let mut headers = Headers::default();
    match attr.kind {
        Kind::Dir => headers.content_type = Some(DIR_TYPE.to_owned()),
        Kind::Symlink => headers.content_type = Some(content_type::UNKNOWN.to_owned()),
        Kind::File => set_type(&mut headers, key, head),
    }
    metadata::write(&mut headers.user, attr, options.mtime_ns);
    headers
}

/// What s3fs, Nextcloud and consoles know as a directory.
const DIR_TYPE: &str = "application/x-directory";

/// The headers of an object under a new name: the type follows the name where the name tells one; all else stays.
pub(super) fn renamed_headers(headers: &Headers, to: &Key) -> Headers {
    let mut renamed = headers.clone();
    let (by_name, encoding) = content_type::headers_for(last(to));
    let kept = headers.content_type.as_deref().map_or("", |text| text.split(';').next().unwrap_or("").trim());
    if by_name != content_type::UNKNOWN && by_name != kept {
        renamed.content_type = Some(by_name.to_owned());
        renamed.content_encoding = encoding.map(str::to_owned).or(renamed.content_encoding);
    }
    renamed
}

fn set_type(headers: &mut Headers, key: &Key, head: &[u8]) {
    let (by_name, encoding) = content_type::headers_for(last(key));
    headers.content_type = Some(content_type::with_charset(by_name, head).into_owned());
    headers.content_encoding = encoding.map(str::to_owned);
}

fn last(key: &Key) -> &str {
    key.as_str().rsplit('/').next().unwrap_or_default()
}

/// The time that a change gets: whole seconds, as the bucket keeps them, unless the mount keeps more.
pub(super) fn stamp(options: &FsOptions, now: Time) -> Time {
    if options.mtime_ns { now } else { now.whole() }
}

/// The mode and owner of a new node.
pub(super) fn new_attr(
    options: &FsOptions,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    parent: &Attr,
    now: Time,
) -> Attr {
    let default = if kind == Kind::Dir { options.dir_mode } else { options.file_mode };
    let (mode, uid, gid) = match options.perms {
        Perms::Uniform => (default, options.uid, options.gid),
        // The group and the bit of a setgid directory are inherited (inode(7)).
        Perms::Stored if parent.mode & libc::S_ISGID != 0 && kind == Kind::Dir => {
            (mode & 0o7777 | libc::S_ISGID, owner.0, parent.gid)
        }
        Perms::Stored if parent.mode & libc::S_ISGID != 0 => (mode & 0o7777, owner.0, parent.gid),
        Perms::Stored => (mode & 0o7777, owner.0, owner.1),
    };
    let mode = if kind == Kind::Symlink { SYMLINK_MODE } else { mode };
    Attr { kind, size: 0, mtime: stamp(options, now), mode, uid, gid }
}

/// Whether a name at the root of the mount is ours and hidden.
pub(super) fn is_control(name: &OsStr) -> bool {
    name == crate::model::key::CONTROL
}
