//! What the server's clock says, and who the server is: for checks by people, never for a decision of a mount.

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::{
    S3Store,
    call::Pace,
    fault::{Cause, Fault},
};
use crate::model::key::Key;

impl S3Store {
    /// The server's clock in seconds since 1970, off its answer to a question about `key`, which should not exist.
    /// `None`: it did not answer, or did not tell.
    pub async fn server_time(&self, key: &Key) -> Option<i64> {
        let head = || {
            let request = self.client().head_object().bucket(&*self.bucket).key(key.as_str());
            request.set_request_payer(self.payer()).send()
        };
        match self.call("HeadObject", Pace::Quick, head).await {
            Err(Fault { cause: Cause::Answer(answer), .. }) => {
                DateTime::from_str(&answer.date?, DateTimeFormat::HttpDate).ok().map(|at| at.secs())
            }
            _ => None,
        }
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.connection.region
    }

    /// The base URL of the server.
    pub fn endpoint(&self) -> &str {
        &self.connection.endpoint
    }
}
