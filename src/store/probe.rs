//! Which conditional writes a bucket really honours. Vendors differ, and some accept the headers and ignore them, so
//! only trying tells.

pub mod depth;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Copy, Headers, Require, Store};
use crate::{
    error::{Error, Result},
    model::{
        key::{CONTROL, Key},
        version::ETag,
    },
};

/// The ETag of no object: the MD5 sum that all zeros would be.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";

/// What happens to one kind of condition.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// It could not be found out: no permission, or no answer.
    #[default]
    Unknown,
    Yes,
    /// Yes, if the ETag is sent without its quotes (Ceph before 17, DigitalOcean).
    Unquoted,
    /// The server says that it cannot, or refuses also what should pass.
    Refused,
    /// The server accepts the condition and writes anyway.
    Ignored,
    /// The server checks the condition and writes in two steps: of writers that come at once several win.
    Racy,
}

impl Support {
    /// A write with this condition can be relied on.
    pub fn works(self) -> bool {
        matches!(self, Self::Yes | Self::Unquoted)
    }

    /// A write with this condition is known not to work.
    pub fn fails(self) -> bool {
        matches!(self, Self::Refused | Self::Ignored | Self::Racy)
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Yes => "yes",
            Self::Unquoted => "yes (unquoted)",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Racy => "racy",
        })
    }
}

/// The conditional writes of one bucket.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Conditional {
    /// PUT with [`Require::Absent`].
    pub absent: Support,
    /// PUT with [`Require::Version`].
    pub version: Support,
    /// DELETE with [`Require::Version`].
    pub delete: Support,
    /// COPY with [`Require::Absent`].
    pub copy: Support,
    /// `CompleteMultipartUpload` with [`Require::Absent`].
    pub complete: Support,
}

impl fmt::Display for Conditional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { absent, version, delete, copy, complete } = self;
        write!(f, "put if absent: {absent}, put if unchanged: {version}, delete if unchanged: {delete}, ")?;
        write!(f, "copy if absent: {copy}, multipart if absent: {complete}")
    }
}

/// Tries every kind of condition below `{prefix}.originfs/`, on keys that end in `token`, which must be unique to this
/// call. The keys are deleted again. Nothing here fails: what does not answer is [`Support::Unknown`].
pub async fn probe<S: Store>(store: &S, prefix: &str, token: &str) -> Conditional {
    let key = Key::new(&format!("{prefix}{CONTROL}/probe-{token}"));
    let other = Key::new(&format!("{prefix}{CONTROL}/probe-{token}-b"));
    let found = Probe { store, key: &key, other: &other }.run().await;
    for key in [&key, &other] {
        if let Err(err) = store.delete(key, Require::Anything).await {
            log::debug!("the probe could not delete {key}: {err}");
        }
    }
    found
}

struct Probe<'a, S> {
    store: &'a S,
    key: &'a Key,
    other: &'a Key,
}

impl<S: Store> Probe<'_, S> {
    async fn run(&self) -> Conditional {
        let absent = self.absent().await;
        if absent == Support::Unknown || self.put("0", Require::Anything).await.is_err() {
            return Conditional { absent, ..Conditional::default() };
        }
        let version = self.version().await;
        let copy = self.copy().await;
        let complete = self.complete().await;
        Conditional { absent, version, delete: self.delete(version).await, copy, complete }
    }

    async fn absent(&self) -> Support {
        match self.put("1", Require::Absent).await {
            Ok(()) => refusal(&self.put("2", Require::Absent).await, &Error::Exists),
            Err(Error::Unsupported) => Support::Refused,
            Err(_) => Support::Unknown,
        }
    }

    async fn version(&self) -> Support {
        let quoted = self.version_as(ETag::as_str).await;
        match quoted {
            // Everything is refused: perhaps the quotes are what it does not like.
            Support::Refused => match self.version_as(ETag::unquoted).await {
                Support::Yes => Support::Unquoted,
                _ => Support::Refused,
            },
            _ => quoted,
        }
    }

    async fn version_as(&self, form: fn(&ETag) -> &str) -> Support {
        let wrong = ETag::new(form(&ETag::new(NO_ETAG)));
        let enforced = refusal(&self.put("3", Require::Version(wrong)).await, &Error::Stale);
        if enforced != Support::Yes {
            return enforced;
        }
        let Ok(object) = self.store.head(self.key).await else { return Support::Unknown };
        accepted(&self.put("4", Require::Version(ETag::new(form(&object.version.etag)))).await)
    }

    /// Last, because it deletes the key. Quotes go the way they go for PUT.
    async fn delete(&self, version: Support) -> Support {
        let form = if version == Support::Unquoted { ETag::unquoted } else { ETag::as_str };
        let wrong = ETag::new(form(&ETag::new(NO_ETAG)));
        let enforced = refusal(&self.store.delete(self.key, Require::Version(wrong)).await, &Error::Stale);
        if enforced != Support::Yes {
            return enforced;
        }
        let Ok(object) = self.store.head(self.key).await else { return Support::Unknown };
        let right = ETag::new(form(&object.version.etag));
        match accepted(&self.store.delete(self.key, Require::Version(right)).await) {
            Support::Yes if version == Support::Unquoted => Support::Unquoted,
            found => found,
        }
    }

    /// Onto a key that exists: the source itself would be refused for being that.
    async fn copy(&self) -> Support {
        if self.store.put(self.other, Bytes::from_static(b"5"), &Headers::default(), Require::Anything).await.is_err() {
            return Support::Unknown;
        }
        let copy = Copy { require: Require::Absent, ..Copy::default() };
        refusal(&self.store.copy(self.key, self.other, copy).await.map(drop), &Error::Exists)
    }

    async fn complete(&self) -> Support {
        let Ok(upload) = self.store.begin(self.key, &Headers::default()).await else { return Support::Unknown };
        let done = match self.store.part(&upload, 1, Bytes::from_static(b"6")).await {
            Ok(part) => self.store.complete(&upload, &[part], Require::Absent).await.map(drop),
            Err(err) => Err(Error::unavailable(err)),
        };
        let support = refusal(&done, &Error::Exists);
        if support != Support::Ignored
            && let Err(err) = self.store.abort(&upload).await
        {
            log::debug!("the probe could not abort its upload of {}: {err}", self.key);
        }
        support
    }

    async fn put(&self, body: &'static str, require: Require) -> Result<()> {
        self.store.put(self.key, Bytes::from_static(body.as_bytes()), &Headers::default(), require).await.map(drop)
    }
}

/// Reads the answer to a write that must fail as `expect`.
fn refusal(answer: &Result<()>, expect: &Error) -> Support {
    match answer {
        Ok(()) => Support::Ignored,
        Err(Error::Unsupported) => Support::Refused,
        Err(err) if err.kind() == expect.kind() && err.errno() == expect.errno() => Support::Yes,
        Err(_) => Support::Unknown,
    }
}

/// Reads the answer to a write that must succeed.
fn accepted(answer: &Result<()>) -> Support {
    match answer {
        Ok(()) => Support::Yes,
        Err(Error::Stale | Error::Exists | Error::Unsupported) => Support::Refused,
        Err(_) => Support::Unknown,
    }
}

#[cfg(test)]
mod tests;
