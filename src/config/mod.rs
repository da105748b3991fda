//! What a mount was asked to do, as checked values. Text becomes these in [`parse`], nowhere else.

pub mod cdn;
pub mod file;
mod foreign;
mod given;
pub mod outage;
pub mod parse;
#[cfg(test)]
mod plain;
mod public;
mod rows;
mod source;
pub mod table;
#[cfg(test)]
mod tests;
mod value;
pub mod words;

use std::{error, fmt, path::PathBuf, sync::Arc, time::Duration};

pub use given::Unknown;

use crate::{
    cdn::{policy::Policy, url::Mapper},
    freshness::Freshness,
    model::{key::Prefix, patterns::Patterns, withheld::Withheld},
};

/// A number of bytes as people write it: `16MiB`, `1G`, or a bare number.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    value::size(text, 1)
}

/// A time as people write it: `90s`, `5m`, `31d`, or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    value::duration(text, Duration::from_secs(1))
}

/// Everything that one mount needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    pub bucket: String,
    pub prefix: Prefix,
    /// Absolute.
    pub mountpoint: PathBuf,
    pub s3: S3Options,
    pub fs: FsOptions,
    pub cache: CacheOptions,
    pub mount: MountOptions,
    /// The CDN that is to forget what changes; from the file of the mount.
    pub cdn: Vec<cdn::Cdn>,
    /// `None`: nobody looks whether the CDN works.
    pub outage: Option<outage::OutageOptions>,
    /// A close waits for the purge of what it wrote.
    pub sync_purges: bool,
}

/// How to reach the bucket.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// `None`: AWS.
    pub endpoint: Option<String>,
    /// `None`: from the environment or the profile, else `us-east-1`.
    pub region: Option<String>,
    /// `None`: path style with a custom endpoint on an IP address or localhost, else virtual-host style.
    pub path_style: Option<bool>,
    pub credentials: CredentialSource,
    pub checksum: Checksum,
    pub storage_class: Option<String>,
    /// Canned ACL for every object written (`public-read`, ...). `None`: the header is not sent.
    pub acl: Option<String>,
    /// Objects that get no ACL which lets the public read.
    pub withheld: Withheld,
    /// `AES256` or `aws:kms`.
    pub sse: Option<String>,
    pub sse_kms_key_id: Option<String>,
    pub requester_pays: bool,
    /// Attempts per request, the first included.
    pub retries: u32,
    /// Deadline of one operation, all its attempts together.
    pub timeout: Duration,
    pub connect_timeout: Duration,
}

/// Where credentials come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialSource {
    /// The SDK's chain: environment, profile, web identity, container, instance role.
    Chain { profile: Option<String>, file: Option<PathBuf> },
    /// A file of s3fs: `KEY:SECRET`, or `BUCKET:KEY:SECRET` lines.
    PasswdFile(PathBuf),
    /// Those that somebody is about to write into such a file.
    Keys(Keys),
    /// Requests are not signed.
    Unsigned,
}

/// A pair of credentials; never shown.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Keys {
    pub access: String,
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// How the server is made to verify what it received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksum {
    /// [`Self::Crc32`] where the bucket verifies it, else [`Self::Md5`].
    Auto,
    /// `Content-MD5`: every known vendor checks it.
    Md5,
    /// `x-amz-checksum-crc32`, as new SDKs send it; some vendors reject or ignore it.
    Crc32,
    /// Only what the S3 API demands.
    None,
}

/// What the files look like.
#[derive(Clone, Debug)]
pub struct FsOptions {
    pub freshness: Freshness,
    pub perms: Perms,
    pub attrs: Attrs,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub file_mode: u32,
    /// Permission bits.
    pub dir_mode: u32,
    /// Write nanoseconds into `x-amz-meta-mtime`.
    pub mtime_ns: bool,
    pub xattr: bool,
    pub read_only: bool,
    /// Names that stay on this host.
    pub patterns: Patterns,
    pub conflict: Conflict,
    pub exclusive: Exclusive,
    /// The most objects that a directory rename moves; above it `EXDEV`.
    pub rename_limit: u32,
    /// Bytes: one PUT up to here, parts of this size beyond.
    pub part_size: u64,
    /// Parts of one file in flight at once.
    pub upload_concurrency: u16,
    /// Bytes of one file being written that stay on the local disk, as far as they can go. `None`: all, while there is
    /// room.
    pub staging_size: Option<u64>,
    /// Which headers files get.
    pub headers: Arc<Policy>,
    /// Which URLs they have.
    pub urls: Arc<Mapper>,
}

/// Whose permissions a file shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Perms {
    /// The mount's, for everyone; chmod and chown succeed and cost no request.
    Uniform,
    /// The object's metadata.
    Stored,
}

/// Where the attributes of files come from. Directories always have those of their marker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attrs {
    /// The object: its metadata tell the time of modification, and what is a symlink. A listing has none of that.
    Exact,
    /// Listings as well, so nothing is shown that they do not tell: Last-Modified is the time, and all is a file.
    List,
}

/// What a close does about a version that another host wrote meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conflict {
    /// Replaces it: the last close wins.
    Last,
    /// Fails, and leaves it.
    Detect,
}

/// When the name of a file that is created with `O_EXCL` is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exclusive {
    /// When it is opened, by an empty object.
    Open,
    /// When it is first uploaded.
    Close,
}

/// Where and how much is cached.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Absolute. Holds the content cache, staging, lost+found and the control socket's state of this one mount.
    pub dir: PathBuf,
    /// Bytes of content at most. `None`: a quarter of the file system that holds `dir`.
    pub size: Option<u64>,
    /// Bytes of the file system that stay free. `None`: a twentieth of it.
    pub min_free: Option<u64>,
}

/// How the mount itself behaves.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct MountOptions {
    /// Stay in the foreground; else the parent returns when the mount answers.
    pub foreground: bool,
    pub allow_other: bool,
    pub nonempty: bool,
    /// Mount also when the bucket cannot be reached yet, and heal.
    pub nofail: bool,
    /// Shown as the source in /proc/mounts.
    pub fsname: String,
    pub log_file: Option<PathBuf>,
    pub debug: bool,
}

/// Why text is not options: one line for the user, naming the option and what was expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error(String);

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Error {}
