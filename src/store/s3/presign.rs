//! URLs of the bucket itself, with and without a signature.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use super::S3Store;
use crate::{
    error::{Error, Result},
    model::key::Key,
};

/// The longest that a signature of version 4 is good for.
pub const SIGNED_MAX: Duration = Duration::from_hours(7 * 24);

impl S3Store {
    /// A URL at which anybody may read an object for a time, at most [`SIGNED_MAX`]. Nothing is sent; with credentials
    /// that expire sooner, so does the URL. Fails with [`Error::Invalid`] if the time is 0 or too long.
    pub async fn signed_url(&self, key: &Key, time: Duration) -> Result<String> {
        if time.is_zero() || time > SIGNED_MAX {
            return Err(Error::Invalid);
        }
        let config = PresigningConfig::expires_in(time).map_err(Error::unavailable)?;
        let get = self.client().get_object().bucket(&*self.bucket).key(key.as_str()).set_request_payer(self.payer());
        let signed = get.presigned(config).await.map_err(Error::unavailable)?;
        Ok(signed.uri().to_owned())
    }

    /// The same without a signature: where an object is for those whom the bucket lets read it.
    pub async fn plain_url(&self, key: &Key) -> Result<String> {
        let url = self.signed_url(key, Duration::from_mins(1)).await?;
        Ok(url.split('?').next().unwrap_or_default().to_owned())
    }
}
