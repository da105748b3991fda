//! Keys of the bucket and names of the tree. Parsed once; holding the type is the proof.

use std::{ffi::OsStr, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The longest key in bytes (S3 API, "Object key naming guidelines").
pub const KEY_MAX: usize = 1024;
/// The longest name in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// Everything below this name at the root of the prefix is ours, private, and invisible in the mount.
pub const CONTROL: &str = ".originfs";

/// A whole object key, prefix included, bytes kept exactly.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(Arc<str>);

impl Key {
    pub fn new(raw: &str) -> Self {
        Self(Arc::from(raw))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key that ends in `/` marks a directory.
    pub fn is_marker(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The same key as a directory's: with a slash at its end.
    #[must_use]
    pub fn marker(&self) -> Self {
        if self.0.is_empty() || self.is_marker() { self.clone() } else { Self(Arc::from(format!("{}/", self.0))) }
    }

    /// The stable 64-bit number that `st_ino` shows on every mount: the first 8 bytes of SHA-256 of the key without a
    /// slash at its end. Never 0 (no inode) or 1 (the root).
    pub fn ino(&self) -> u64 {
        let digest = Sha256::digest(self.0.trim_end_matches('/').as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        match u64::from_be_bytes(first) {
            small @ 0..=1 => small + 2,
            ino => ino,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One component of a path, fit for a key: UTF-8, 1 to 255 bytes, no `/` or NUL, not `.` or `..`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Arc<str>);

impl Name {
    /// Parses a name that the kernel sent. Fails with [`Error::BadName`] or [`Error::NameTooLong`].
    pub fn parse(raw: &OsStr) -> Result<Self> {
        let text = raw.to_str().ok_or(Error::BadName)?;
        if text.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        Self::from_key(text).ok_or(Error::BadName)
    }

    /// A component of a key that was found in the bucket; `None` if no path can hold it.
    pub fn from_key(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= NAME_MAX && text != "." && text != "..";
        (fits && !text.contains(['/', '\0'])).then(|| Self(Arc::from(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The part of the bucket that a mount shows: empty, or a prefix that ends in `/`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prefix(String);

impl Prefix {
    /// Parses what a user wrote (`a/b`, `/a/b/`, empty). Components must be names; [`Error::BadName`] otherwise.
    pub fn parse(raw: &str) -> Result<Self> {
        let trimmed = raw.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        if trimmed.split('/').any(|part| Name::from_key(part).is_none()) {
            return Err(Error::BadName);
        }
        if trimmed.len() >= KEY_MAX {
            return Err(Error::NameTooLong);
        }
        Ok(Self(format!("{trimmed}/")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the root directory's marker; empty for a whole bucket, which has none.
    pub fn root(&self) -> Key {
        Key::new(&self.0)
    }
}
