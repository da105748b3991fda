//! The buckets: each is asked with the credentials of the mount, and created if it is not there. None is ever deleted.

use tokio::runtime::Builder;

use super::{
    prepare::{Job, Ready},
    report::{Report, State},
};
use crate::{
    config::{CredentialSource, S3Options},
    store::s3::{CheckError, Creation, S3Store},
};

/// The reason is in the report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unusable;

pub(super) fn ready(job: &Job<'_>, dry_run: bool, report: &mut Report) -> Result<(), Unusable> {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            report.note(State::Failed, "bucket", "", err.to_string());
            return Err(Unusable);
        }
    };
    for bucket in &job.plan.buckets {
        let Some(mount) = job.mounts.iter().find(|mount| mount.options.bucket == *bucket) else { continue };
        match runtime.block_on(bring(mount, job, dry_run)) {
            Ok(state) => report.add(state, "bucket", bucket),
            Err(err) => {
                report.note(State::Failed, "bucket", bucket, fix(&err));
                return Err(Unusable);
            }
        }
    }
    Ok(())
}

async fn bring(mount: &Ready<'_>, job: &Job<'_>, dry_run: bool) -> Result<State, CheckError> {
    let credentials = match job.keys {
        // Their file may not be there yet.
        Some(keys) => CredentialSource::Keys(keys.clone()),
        None => mount.options.s3.credentials.clone(),
    };
    let options = S3Options { credentials, ..mount.options.s3.clone() };
    let store = S3Store::connect(&mount.options.bucket, &options).await;
    let store = store.map_err(|err| CheckError::Other(err.to_string()))?;
    let prefix = mount.options.prefix.as_str();
    match store.check(prefix).await {
        Ok(()) => Ok(State::Unchanged),
        Err(CheckError::NoSuchBucket { .. }) if dry_run => Ok(State::Created),
        Err(CheckError::NoSuchBucket { .. }) => {
            let creation = store.create().await?;
            store.check(prefix).await?;
            Ok(if creation == Creation::Made { State::Created } else { State::Unchanged })
        }
        Err(err) => Err(err),
    }
}

/// The cause, and what to do.
fn fix(err: &CheckError) -> String {
    let what = match err {
        CheckError::BadKeyId => "look at S3_ACCESS_KEY, and whether S3_HOST_BASE is the service that it is of",
        CheckError::BadSecret | CheckError::Expired => "look at S3_SECRET_KEY",
        CheckError::NoCredentials(_) => "give S3_ACCESS_KEY and S3_SECRET_KEY, or the host a role",
        CheckError::Denied { .. } => {
            "if the bucket is somebody else's, give another name as BUCKET; else the keys need the right to list it"
        }
        CheckError::WrongRegion { .. } => "say it as S3_LOCATION",
        CheckError::Dns { .. } | CheckError::Refused { .. } | CheckError::Tls { .. } => "look at S3_HOST_BASE",
        CheckError::ClockSkew { .. } => "set the clock, and keep it right with NTP",
        CheckError::Timeout { .. } => "look at the network and at S3_HOST_BASE",
        CheckError::Other(text) if text.contains("belongs to") || text.contains("InvalidBucketName") => {
            "give another name as BUCKET"
        }
        CheckError::Other(text) if text.contains("may not create") => "create it, or give the keys the right to",
        CheckError::BadPasswdFile(_) | CheckError::NoSuchBucket { .. } | CheckError::Other(_) => {
            return err.to_string();
        }
    };
    format!("{err}; {what}")
}
