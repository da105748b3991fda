//! Making the bucket itself, which a mount never does.

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::{
    CheckError, S3Store,
    call::Pace,
    fault::{Cause, Fault},
};
use crate::clock;

/// The one region of AWS that must not be named (S3 API, `CreateBucketConfiguration`).
const UNNAMED: &str = "us-east-1";

/// What became of an attempt to create a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Creation {
    Made,
    /// It is ours already: somebody else here was faster.
    There,
}

impl S3Store {
    /// Creates the bucket, private, with the service's defaults. Nothing of ours ever deletes one.
    pub async fn create(&self) -> Result<Creation, CheckError> {
        let create = || {
            let request = self.client().create_bucket().bucket(&*self.bucket);
            request.set_create_bucket_configuration(self.location()).send()
        };
        match self.call("CreateBucket", Pace::Slow, create).await {
            Ok(_) => Ok(Creation::Made),
            Err(fault) => self.not_created(&fault),
        }
    }

    fn not_created(&self, fault: &Fault) -> Result<Creation, CheckError> {
        let bucket = &self.bucket;
        let Cause::Answer(answer) = &fault.cause else { return Err(self.explain(fault, "", clock::wall().sec)) };
        match (answer.status, answer.code.as_str()) {
            (_, "BucketAlreadyOwnedByYou") => Ok(Creation::There),
            (_, "BucketAlreadyExists") => {
                Err(CheckError::Other(format!("the bucket name {bucket} belongs to somebody else")))
            }
            (403, "AccessDenied") => {
                Err(CheckError::Other(format!("there is no bucket {bucket}, and these credentials may not create it")))
            }
            _ => Err(self.explain(fault, "", clock::wall().sec)),
        }
    }

    /// AWS wants to hear where; others know by their endpoint, and some refuse names of regions that they do not use.
    fn location(&self) -> Option<CreateBucketConfiguration> {
        let region = self.connection.region.as_str();
        if self.options.endpoint.is_some() || region == UNNAMED {
            return None;
        }
        let constraint = BucketLocationConstraint::from(region);
        Some(CreateBucketConfiguration::builder().location_constraint(constraint).build())
    }
}
