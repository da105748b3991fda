//! How conditions of writes are treated: as S3 does, or as servers do that are not quite S3.

use std::time::Duration;

use originfs::{
    model::{key::Key, version::ETag},
    store::Require,
};
use s3s::{S3Result, s3_error};

use crate::{space::Space, wire::no_key};

/// Between the check and the write of [`Manner::Racy`]: far longer than a crowd of requests needs to arrive.
const GAP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Manner {
    /// Check and write are one step.
    #[default]
    Honour,
    /// Accepted, and not looked at (Garage, Google's S3 interface).
    Ignore,
    /// A PUT checks first and writes later.
    Racy,
    /// An `ETag` matches only without its quotes (old Ceph, `DigitalOcean`).
    Unquoted,
    /// 501 (Backblaze B2).
    Refuse,
}

impl Manner {
    /// What is left of a condition.
    pub(crate) fn heed(self, require: Require) -> S3Result<Require> {
        match (self, require) {
            (Self::Ignore, _) | (_, Require::Anything) => Ok(Require::Anything),
            (Self::Refuse, _) => Err(s3_error!(NotImplemented, "conditions of writes are not implemented")),
            (Self::Unquoted, Require::Version(etag)) if etag.as_str().starts_with('"') => {
                Err(s3_error!(PreconditionFailed))
            }
            (Self::Unquoted, Require::Version(etag)) => {
                Ok(Require::Version(ETag::new(&format!("\"{}\"", etag.unquoted()))))
            }
            (_, require) => Ok(require),
        }
    }

    /// What is left of the condition of a PUT.
    pub(crate) async fn heed_put(self, space: &Space, key: &Key, require: Require) -> S3Result<Require> {
        let require = self.heed(require)?;
        if self != Self::Racy || require == Require::Anything {
            return Ok(require);
        }
        space.lock().check(key.as_str(), &require).map_err(no_key)?;
        tokio::time::sleep(GAP).await;
        Ok(Require::Anything)
    }
}
