//! Can this bucket be used with these credentials? Asked once at mount; the answer names the cause.

use std::{fmt, time::Duration};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::{
    S3Store,
    client::host,
    fault::{Answer, Cause, Fault},
};
use crate::{clock, config::CredentialSource};

/// Why a bucket cannot be used. `Display` is one line for the person who mounts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckError {
    NoSuchBucket {
        bucket: String,
    },
    WrongRegion {
        given: String,
        /// Where the bucket is, if the server tells.
        right: Option<String>,
    },
    BadKeyId,
    BadSecret,
    Expired,
    /// The chain found none. An instance role may take its time at boot.
    NoCredentials(String),
    /// The file that was named cannot be used.
    BadPasswdFile(String),
    Denied {
        bucket: String,
        prefix: String,
    },
    ClockSkew {
        /// How far this clock is ahead of the server's, if the server told its time.
        seconds: Option<i64>,
    },
    Dns {
        host: String,
    },
    Refused {
        endpoint: String,
    },
    Tls {
        host: String,
        cause: String,
    },
    Timeout {
        endpoint: String,
        after: Duration,
    },
    /// Something else, in its own words.
    Other(String),
}

impl CheckError {
    /// Waiting may help: nothing that was configured is known to be wrong.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Dns { .. } | Self::Refused { .. } | Self::Timeout { .. } | Self::Other(_))
            || matches!(self, Self::NoCredentials(_))
    }
}

impl S3Store {
    /// Lists one key of `prefix`, which needs no more than what a mount needs anyway.
    pub async fn check(&self, prefix: &str) -> Result<(), CheckError> {
        match self.list_once(prefix).await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.explain(&fault, prefix, clock::wall().sec)),
        }
    }

    pub(super) fn explain(&self, fault: &Fault, prefix: &str, now: i64) -> CheckError {
        let endpoint = self.connection.endpoint.clone();
        let host = || host(&endpoint).to_owned();
        match &fault.cause {
            Cause::Answer(answer) => self.explain_answer(answer, prefix, now, fault),
            Cause::Timeout(_) if fault.earlier.is_none() => {
                CheckError::Timeout { endpoint, after: self.limits.timeout }
            }
            Cause::NoCredentials(text) if matches!(self.options.credentials, CredentialSource::PasswdFile(_)) => {
                CheckError::BadPasswdFile(text.clone())
            }
            Cause::NoCredentials(text) => CheckError::NoCredentials(text.clone()),
            Cause::Connection(text) if text.contains("dns error") => CheckError::Dns { host: host() },
            Cause::Connection(text) if text.contains("Connection refused") => CheckError::Refused { endpoint },
            Cause::Connection(text) if is_tls(text) => CheckError::Tls { host: host(), cause: text.clone() },
            _ => CheckError::Other(fault.to_string()),
        }
    }

    fn explain_answer(&self, answer: &Answer, prefix: &str, now: i64, fault: &Fault) -> CheckError {
        let bucket = self.bucket.to_string();
        match (answer.status, answer.code.as_str()) {
            (_, "NoSuchBucket") => CheckError::NoSuchBucket { bucket },
            (301 | 307, _)
            | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                CheckError::WrongRegion { given: self.connection.region.clone(), right: answer.region.clone() }
            }
            (_, "InvalidAccessKeyId" | "InvalidClientTokenId") => CheckError::BadKeyId,
            (_, "SignatureDoesNotMatch") => CheckError::BadSecret,
            (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken") => {
                CheckError::Expired
            }
            (_, "RequestTimeTooSkewed") => {
                let date = answer.date.as_deref();
                let server = date.and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok());
                CheckError::ClockSkew { seconds: server.map(|at| now - at.secs()) }
            }
            (401 | 403, _) => CheckError::Denied { bucket, prefix: prefix.to_owned() },
            _ => CheckError::Other(fault.to_string()),
        }
    }
}

fn is_tls(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"].iter().any(|word| text.contains(word))
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBucket { bucket } => write!(f, "there is no bucket {bucket}"),
            Self::WrongRegion { given, right: Some(right) } => {
                write!(f, "the bucket is in region {right}, not in {given}: mount with region={right}")
            }
            Self::WrongRegion { given, right: None } => write!(f, "the bucket is not in region {given}"),
            Self::BadKeyId => f.write_str("the server does not know this access key id"),
            Self::BadSecret => f.write_str("the secret access key does not fit the access key id (bad signature)"),
            Self::Expired => f.write_str("the credentials have expired or their session token is wrong"),
            Self::NoCredentials(why) | Self::BadPasswdFile(why) => write!(f, "no credentials: {why}"),
            Self::Denied { bucket, prefix } => {
                write!(f, "access denied: these credentials may not list s3://{bucket}/{prefix}")
            }
            Self::ClockSkew { seconds: Some(seconds) } => {
                let way = if *seconds < 0 { "behind" } else { "ahead of" };
                write!(f, "the clock of this machine is {} s {way} the server's", seconds.abs())
            }
            Self::ClockSkew { seconds: None } => f.write_str("the clock of this machine is too far from the server's"),
            Self::Dns { host } => write!(f, "the name {host} cannot be resolved"),
            Self::Refused { endpoint } => write!(f, "nothing listens at {endpoint} (connection refused)"),
            Self::Tls { host, cause } => write!(f, "no secure connection to {host}: {cause}"),
            Self::Timeout { endpoint, after } => {
                write!(f, "{endpoint} did not answer within {} s", after.as_secs_f32())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CheckError {}
