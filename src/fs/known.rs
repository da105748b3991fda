//! What is known of a name, and how the answers of the bucket become it. Pure.

use std::{ffi::OsStr, sync::Arc, time::Instant};

use crate::{
    cdn::content_type::UNKNOWN,
    config::{Attrs, FsOptions, Perms},
    freshness::listing::Listing,
    model::{
        attr::{Attr, Kind, Time},
        key::Key,
        rename::Extent,
        version::Version,
    },
    store::{
        Headers, Object,
        metadata::{self, Keep, Stored},
    },
};

/// Permission bits of symlinks: they have none of their own (symlink(7)).
pub(crate) const SYMLINK_MODE: u32 = 0o777;

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

    /// The directory that this is of was listed: it is there, and unchanged if its marker is.
    pub(super) fn confirm_dir(&mut self, listing: &Listing) {
        let same = match (&self.version, &listing.marker) {
            (Some(known), Some(listed)) => listed.same(known),
            (known, listed) => known.is_none() && listed.is_none() && !listing.is_nothing(),
        };
        if same {
            self.asked = self.asked.map(|asked| asked.max(listing.asked));
        }
    }

    /// What a listing tells of an object: all, or what is never shown without asking first.
    pub(super) fn listed(options: &FsOptions, version: &Version, (asked, wall): (Instant, i64)) -> Self {
        let attr = listed_attr(options, version);
        match options.attrs {
            Attrs::Exact => Self { version: Some(version.clone()), attr, asked: None },
            Attrs::List => Self { version: Some(sure(version, wall)), attr, asked: Some(asked) },
        }
    }

    /// What this host made at `asked`. When the bucket says it was modified is not known yet.
    pub(super) fn made(options: &FsOptions, version: Version, attr: Attr, asked: Instant) -> Self {
        let asked = match options.attrs {
            Attrs::List if attr.kind == Kind::File => None,
            _ => Some(asked),
        };
        Self { version: Some(version), attr, asked }
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

/// What is shown of something of which nothing is known.
pub(crate) fn blank(options: &FsOptions, kind: Kind) -> Attr {
    let (mode, time) = (if kind == Kind::Dir { options.dir_mode } else { options.file_mode }, Time::default());
    let FsOptions { uid, gid, .. } = *options;
    Attr { kind, size: 0, mtime: time, atime: time, ctime: time, mode, uid, gid, rdev: 0 }
}

/// The attributes that a listing tells of an object.
fn listed_attr(options: &FsOptions, version: &Version) -> Attr {
    let modified = Time::seconds(version.modified.unwrap_or(0));
    Attr { size: version.size, ..blank(options, Kind::File) }.at(modified)
}

/// The attributes that are shown of an object that is no directory.
pub(super) fn file_attr(options: &FsOptions, object: &Object) -> Attr {
    match options.attrs {
        Attrs::Exact => exact_attr(options, object),
        Attrs::List => listed_attr(options, &object.version),
    }
}

/// The attributes that an object that is no directory has, whatever is shown of it.
fn exact_attr(options: &FsOptions, object: &Object) -> Attr {
    let stored = metadata::read(&object.headers.user);
    let kind = match stored.kind {
        Some(Kind::Symlink) => Kind::Symlink,
        // Where permissions are the mount's, nobody's object makes a device of itself. Bytes are never hidden.
        Some(kind) if kind.is_special() && options.perms == Perms::Stored && object.version.size == 0 => kind,
        _ => Kind::File,
    };
    let size = stored.symlink_target.as_ref().map_or(object.version.size, |target| target.len() as u64);
    let rdev = stored.rdev.filter(|_| kind.is_device()).unwrap_or(0);
    let modified = object.version.modified.unwrap_or(0);
    let attr = of_stored(options, Attr { size, rdev, ..blank(options, kind) }, &stored, modified);
    if kind == Kind::Symlink { Attr { mode: SYMLINK_MODE, ..attr } } else { attr }
}

/// The attributes of a directory. Without a marker it has no time of its own: 1970, the same on every host.
pub(super) fn dir_attr(options: &FsOptions, marker: Option<&Object>) -> Attr {
    let stored = marker.map(|object| metadata::read(&object.headers.user)).unwrap_or_default();
    let modified = marker.and_then(|object| object.version.modified).unwrap_or(0);
    of_stored(options, blank(options, Kind::Dir), &stored, modified)
}

/// `attr` with what the mount shows of `stored`. What is not stored is as `attr` has it; the times are those of the
/// last change, which no later access can be told from.
fn of_stored(options: &FsOptions, attr: Attr, stored: &Stored, modified: i64) -> Attr {
    let modified = Time::seconds(modified);
    let mtime = stored.mtime.unwrap_or(modified);
    match options.perms {
        Perms::Uniform => attr.at(mtime),
        Perms::Stored => Attr {
            mtime,
            atime: stored.atime.unwrap_or(mtime),
            ctime: stored.ctime.unwrap_or(modified),
            mode: stored.mode.unwrap_or(attr.mode),
            uid: stored.uid.unwrap_or(attr.uid),
            gid: stored.gid.unwrap_or(attr.gid),
            ..attr
        },
    }
}

/// What is written of times.
pub(super) fn keep(options: &FsOptions) -> Keep {
    Keep { ns: options.mtime_ns, all: options.perms == Perms::Stored }
}

/// Puts into the headers of a copy what it would lose: the times, if the object has none of its own or keeps more than
/// one.
pub(super) fn keep_times(options: &FsOptions, headers: &mut Headers, attr: &Attr) {
    if options.perms == Perms::Stored || metadata::read(&headers.user).mtime.is_none() {
        metadata::write_times(&mut headers.user, attr, keep(options));
    }
}

/// Whether an object is a file with content, and no link, device or directory.
pub(crate) fn is_file(options: &FsOptions, object: &Object) -> bool {
    exact_attr(options, object).kind == Kind::File
}

/// Puts into the headers of a copy of an object onto itself the time that the object shows.
pub(crate) fn keep_mtime(options: &FsOptions, headers: &mut Headers, object: &Object) {
    keep_times(options, headers, &exact_attr(options, object));
}

/// The headers of an object whose directory is renamed, or with [`Extent::Tree`] of the marker of that directory.
pub(super) fn moved_headers(options: &FsOptions, source: &Object, names: (&Key, &Key), extent: Extent) -> Headers {
    let attr = exact_attr(options, source);
    let attr = match extent {
        Extent::Tree => changed(options, attr, crate::clock::wall()),
        Extent::Object => attr,
    };
    let mut headers = renamed_headers(options, source, names, None);
    keep_times(options, &mut headers, &attr);
    headers
}

/// `attr` after a change at `now` of what is not content. Without a change time of its own, it shows nothing.
pub(super) fn changed(options: &FsOptions, attr: Attr, now: Time) -> Attr {
    match options.perms {
        Perms::Uniform => attr,
        Perms::Stored => Attr { ctime: stamp(options, now), ..attr },
    }
}

/// `attr` after a change of content at `now`.
pub(super) fn written(options: &FsOptions, attr: Attr, now: Time) -> Attr {
    let now = stamp(options, now);
    match options.perms {
        Perms::Uniform => attr.at(now),
        Perms::Stored => Attr { mtime: now, ctime: now, ..attr },
    }
}

/// The headers of a new object: those of its name (and of `head`, its first bytes), metadata from `attr`.
pub(crate) fn new_headers(options: &FsOptions, key: &Key, attr: &Attr, head: &[u8]) -> Headers {
    let mut headers = Headers::default();
    match attr.kind {
        Kind::Dir => headers.content_type = Some(DIR_TYPE.to_owned()),
        Kind::File => options.headers.dress(&mut headers, key, attr.size, head),
        _ => headers.content_type = Some(UNKNOWN.to_owned()),
    }
    metadata::write(&mut headers.user, attr, keep(options));
    headers
}

/// What s3fs, Nextcloud and consoles know as a directory.
const DIR_TYPE: &str = "application/x-directory";

/// The headers of an object under a new name: what the names say of it follows, all else stays. `head`: the first bytes, if
/// they are at hand.
pub(super) fn renamed_headers(
    options: &FsOptions,
    source: &Object,
    names: (&Key, &Key),
    head: Option<&[u8]>,
) -> Headers {
    let mut headers = source.headers.clone();
    if !names.0.is_marker() && is_file(options, source) {
        options.headers.redress(&mut headers, names, source.version.size, head);
    }
    headers
}

/// Whether two objects have the same headers, those of the file apart.
pub(super) fn is_dressed_alike(one: &Headers, other: &Headers) -> bool {
    let fields = |headers: &Headers| {
        let Headers { content_type, cache_control, content_disposition, content_encoding, content_language, .. } =
            headers.clone();
        (content_type, cache_control, content_disposition, content_encoding, content_language, headers.expires.clone())
    };
    fields(one) == fields(other)
}

/// The time that a change gets: whole seconds, as the bucket keeps them, unless the mount keeps more.
pub(crate) fn stamp(options: &FsOptions, now: Time) -> Time {
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
    let (mode, uid, gid) = match options.perms {
        Perms::Uniform => (blank(options, kind).mode, options.uid, options.gid),
        // The group and the bit of a setgid directory are inherited (inode(7)).
        Perms::Stored if parent.mode & libc::S_ISGID != 0 && kind == Kind::Dir => {
            (mode & 0o7777 | libc::S_ISGID, owner.0, parent.gid)
        }
        Perms::Stored if parent.mode & libc::S_ISGID != 0 => (mode & 0o7777, owner.0, parent.gid),
        Perms::Stored => (mode & 0o7777, owner.0, owner.1),
    };
    let mode = if kind == Kind::Symlink { SYMLINK_MODE } else { mode };
    Attr { mode, uid, gid, ..blank(options, kind) }.at(stamp(options, now))
}

/// Whether a name at the root of the mount is ours and hidden.
pub(super) fn is_control(name: &OsStr) -> bool {
    name == crate::model::key::CONTROL
}
