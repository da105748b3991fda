//! What tells two states of one key apart.

use std::{fmt, sync::Arc};

/// An entity tag exactly as the server sent it, quotes included (RFC 9110 section 8.8.3).
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct ETag(Arc<str>);

impl ETag {
    pub fn new(raw: &str) -> Self {
        Self(Arc::from(raw))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the quotes, for servers that want it so.
    pub fn unquoted(&self) -> &str {
        self.0.trim_matches('"')
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of an object. An ETag alone is not enough: a COPY onto itself changes metadata and keeps the ETag.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Version {
    pub etag: ETag,
    /// Last-Modified in whole seconds since 1970. `None` after our own PUT, whose answer does not tell it.
    pub modified: Option<i64>,
    /// Bytes.
    pub size: u64,
}

impl Version {
    /// Same bytes. ETags are compared without quotes, because LIST and HEAD of one server may differ in them.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.etag.unquoted() == other.etag.unquoted()
    }

    /// Same bytes and same metadata. An unknown Last-Modified proves nothing, so it is never the same.
    pub fn same(&self, other: &Self) -> bool {
        self.same_content(other) && self.modified.is_some() && self.modified == other.modified
    }
}
