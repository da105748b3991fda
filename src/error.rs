//! What can go wrong, one variant per thing that a caller can do about it.
//!
//! Wire errors become an [`Error`] in one place (`store/s3`), an [`Error`] becomes an errno in one place
//! ([`Error::errno`]). Between them: `?`. "Absent" ([`Error::NotFound`]) and "don't know" ([`Error::Unavailable`]) never mix.

use std::{error, fmt, io, sync::Arc};

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. Cheap to clone, because callers that shared one request share its error.
#[derive(Clone, Debug)]
pub enum Error {
    /// The bucket answered that there is no such object, upload or bucket (404). `ENOENT`.
    NotFound,
    /// The name is taken; also a failed `Require::Absent`. `EEXIST`.
    Exists,
    /// The object is not at the version that was asked for (412), or its bytes are gone. `ESTALE`.
    Stale,
    /// Another host or a foreign client changed the object since it was read, and its version stays. `EIO`. Tells what
    /// is there, for the log and whoever finds the bytes that lost.
    Conflict(Arc<str>),
    /// Credentials or policy forbid it (401, 403). `EACCES`.
    Denied,
    /// The operation is forbidden for this kind of file. `EPERM`.
    NotPermitted,
    /// The mount is read-only. `EROFS`.
    ReadOnly,
    /// A directory is not empty. `ENOTEMPTY`.
    NotEmpty,
    /// A directory was needed. `ENOTDIR`.
    NotDir,
    /// A file was needed. `EISDIR`.
    IsDir,
    /// A name or path is longer than a key can be. `ENAMETOOLONG`.
    NameTooLong,
    /// A name that no key can hold (not UTF-8, see [`crate::model::key::Name`]). `EILSEQ`.
    BadName,
    /// The file would be larger than the store can hold. `EFBIG`.
    TooLarge,
    /// The local disk is full. `ENOSPC`.
    NoSpace,
    /// Too large to rename inside the bucket; `mv` copies instead. `EXDEV`.
    CrossDevice,
    /// An argument that makes no sense. `EINVAL`.
    Invalid,
    /// The store or the file system cannot do this. `EOPNOTSUPP`.
    Unsupported,
    /// No such extended attribute. `ENODATA`.
    NoAttr,
    /// A handle that was closed, or opened for something else. `EBADF`.
    BadHandle,
    /// No such position (`SEEK_DATA` beyond the end). `ENXIO`.
    NoPosition,
    /// Nobody knows the outcome: a timeout, a network failure, a 5xx, a malformed answer, a local I/O error. `EIO`.
    Unavailable(Arc<dyn error::Error + Send + Sync>),
}

impl Error {
    /// "Don't know", with its cause.
    pub fn unavailable(cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// The errno of errno(3) that the kernel gets.
    pub fn errno(&self) -> i32 {
        match self {
            Self::NotFound => libc::ENOENT,
            Self::Exists => libc::EEXIST,
            Self::Stale => libc::ESTALE,
            Self::Denied => libc::EACCES,
            Self::NotPermitted => libc::EPERM,
            Self::ReadOnly => libc::EROFS,
            Self::NotEmpty => libc::ENOTEMPTY,
            Self::NotDir => libc::ENOTDIR,
            Self::IsDir => libc::EISDIR,
            Self::NameTooLong => libc::ENAMETOOLONG,
            Self::BadName => libc::EILSEQ,
            Self::TooLarge => libc::EFBIG,
            Self::NoSpace => libc::ENOSPC,
            Self::CrossDevice => libc::EXDEV,
            Self::Invalid => libc::EINVAL,
            Self::Unsupported => libc::EOPNOTSUPP,
            Self::NoAttr => libc::ENODATA,
            Self::BadHandle => libc::EBADF,
            Self::NoPosition => libc::ENXIO,
            Self::Conflict(_) | Self::Unavailable(_) => libc::EIO,
        }
    }

    /// A short word for counters and `status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Exists => "exists",
            Self::Stale => "stale",
            Self::Conflict(_) => "conflict",
            Self::Denied => "denied",
            Self::NoSpace => "no-space",
            Self::Unsupported => "unsupported",
            Self::Unavailable(_) => "unavailable",
            _ => "refused",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such object"),
            Self::Exists => f.write_str("it exists already"),
            Self::Stale => f.write_str("the object has changed"),
            Self::Conflict(what) => f.write_str(what),
            Self::Denied => f.write_str("access denied"),
            Self::NotPermitted => f.write_str("not permitted"),
            Self::ReadOnly => f.write_str("read-only mount"),
            Self::NotEmpty => f.write_str("directory not empty"),
            Self::NotDir => f.write_str("not a directory"),
            Self::IsDir => f.write_str("is a directory"),
            Self::NameTooLong => f.write_str("the key would be too long"),
            Self::BadName => f.write_str("a name that no key can hold"),
            Self::TooLarge => f.write_str("too large for the store"),
            Self::NoSpace => f.write_str("no space left on the local disk"),
            Self::CrossDevice => f.write_str("too large to rename inside the bucket"),
            Self::Invalid => f.write_str("invalid argument"),
            Self::Unsupported => f.write_str("not supported"),
            Self::NoAttr => f.write_str("no such attribute"),
            Self::BadHandle => f.write_str("bad file handle"),
            Self::NoPosition => f.write_str("no such position"),
            Self::Unavailable(cause) => {
                write!(f, "{cause}")?;
                let mut inner = cause.source();
                while let Some(next) = inner {
                    write!(f, ": {next}")?;
                    inner = next.source();
                }
                Ok(())
            }
        }
    }
}

impl error::Error for Error {}

impl From<io::Error> for Error {
    /// Local I/O. A missing local file is a fault of ours, never "no such object".
    fn from(err: io::Error) -> Self {
        match err.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace,
            _ => Self::unavailable(err),
        }
    }
}
