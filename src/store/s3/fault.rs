//! What went wrong with one request, in full, and the one place where that becomes an [`Error`].

use std::{error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ConnectorError, ProvideErrorMetadata, SdkError},
};

use crate::error::Error;

/// A request that failed, after all its attempts.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) cause: Cause,
    /// The S3 operation.
    pub(super) what: &'static str,
    pub(super) attempts: u32,
    /// What the attempt before the last one met, if the last one only ran out of time.
    pub(super) earlier: Option<String>,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// The server answered, and not with success.
    Answer(Answer),
    /// The server answered something that is not S3.
    Malformed(String),
    /// No answer in time.
    Timeout(String),
    /// No connection, or it broke.
    Connection(String),
    /// There is nothing to sign the request with.
    NoCredentials(String),
    /// The request could not be made: a header or key that HTTP cannot carry.
    Unsendable(String),
}

/// An answer that is not success.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The S3 error code; empty where there was no body (HEAD).
    pub(super) code: String,
    pub(super) message: String,
    /// Where the bucket is, if the server tells.
    pub(super) region: Option<String>,
    /// The server's clock (an HTTP date).
    pub(super) date: Option<String>,
    /// `Last-Modified` (an HTTP date), for 304.
    pub(super) modified: Option<String>,
}

/// What helps against a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Remedy {
    Nothing,
    /// Asking again, a little later.
    Retry,
    /// Asking again, much later: the server has too much to do.
    SlowDown,
    /// Asking again until the deadline: another write of the same key was in the way.
    Conflict,
    /// Newer credentials.
    Renew,
}

/// The code for objects whose storage class cannot be read at once.
const ARCHIVED: &str = "InvalidObjectState";

impl Fault {
    /// The object is there, and its bytes are in an archive.
    pub(super) fn is_of_archive(&self) -> bool {
        matches!(&self.cause, Cause::Answer(answer) if answer.code == ARCHIVED)
    }
}

impl Cause {
    pub(super) fn of<E>(err: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + error::Error + 'static,
    {
        if let Some(missing) = find::<CredentialsError>(err) {
            return Self::NoCredentials(chain(missing));
        }
        match err {
            SdkError::ServiceError(refused) => Self::Answer(Answer::of(refused.raw(), refused.err())),
            SdkError::ResponseError(odd) => Self::Malformed(format!("HTTP {}: {}", odd.raw().status(), chain(err))),
            SdkError::TimeoutError(_) => Self::Timeout(chain(err)),
            SdkError::DispatchFailure(broken) => match broken.as_connector_error() {
                Some(err) if err.is_timeout() => Self::Timeout(chain(err)),
                Some(err) => Self::Connection(chain(connector_cause(err))),
                None => Self::Connection("the request could not be sent".into()),
            },
            _ => Self::Unsendable(chain(err)),
        }
    }

    pub(super) fn status(&self) -> u16 {
        if let Self::Answer(answer) = self { answer.status } else { 0 }
    }

    pub(super) fn remedy(&self) -> Remedy {
        let answer = match self {
            Self::Answer(answer) => answer,
            Self::Malformed(_) | Self::Timeout(_) | Self::Connection(_) | Self::NoCredentials(_) => {
                return Remedy::Retry;
            }
            Self::Unsendable(_) => return Remedy::Nothing,
        };
        match (answer.status, answer.code.as_str()) {
            (
                _,
                "SlowDown"
                | "ServiceUnavailable"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "BandwidthLimitExceeded"
                | "TooManyRequests",
            )
            | (429 | 503, _) => Remedy::SlowDown,
            (_, "ConditionalRequestConflict" | "OperationAborted") => Remedy::Conflict,
            // The SDK has read the server's clock off the answer and signs with it from now on.
            (_, "RequestTimeTooSkewed" | "RequestTimeout" | "InternalError" | "BadDigest" | "IncompleteBody")
            | (408 | 500 | 502 | 504, _) => Remedy::Retry,
            (_, ARCHIVED) => Remedy::Nothing,
            // The answer to HEAD has no body, so AWS cannot say there that a token has expired (400).
            (400, "" | "BadRequest" | "Bad Request") | (401 | 403, _) => Remedy::Renew,
            (_, code) if is_about_credentials(code) => Remedy::Renew,
            _ => Remedy::Nothing,
        }
    }
}

fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "SignatureDoesNotMatch"
            | "TokenRefreshRequired"
    )
}

impl Answer {
    fn of<E: ProvideErrorMetadata>(raw: &HttpResponse, err: &E) -> Self {
        let header = |name: &str| raw.headers().get(name).map(ToOwned::to_owned);
        let message = err.message().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let body = raw.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        Self {
            status: raw.status().as_u16(),
            code: err.code().unwrap_or_default().to_owned(),
            region: header("x-amz-bucket-region")
                .or_else(|| between(body, "<Region>", "</Region>").map(Into::into))
                .or_else(|| between(&message, "expecting '", "'").map(Into::into)),
            date: header("date"),
            modified: header("last-modified"),
            message,
        }
    }
}

/// Wire to [`Error`]; nowhere else. A failed condition is [`Error::Stale`]; who required absence makes it `Exists`.
pub(super) fn classify(fault: Fault) -> Error {
    let Cause::Answer(answer) = &fault.cause else { return Error::unavailable(fault) };
    match (answer.status, answer.code.as_str()) {
        // The credentials or the clock are wrong, not the permission: nothing is known about the object.
        (_, code) if is_about_credentials(code) => Error::unavailable(fault),
        (
            _,
            "RequestTimeTooSkewed"
            | "AuthorizationHeaderMalformed"
            | "NoSuchBucket"
            | ARCHIVED
            | "AccountProblem"
            | "NotSignedUp",
        ) => Error::unavailable(fault),
        (_, "EntityTooLarge") | (413, _) => Error::TooLarge,
        (_, "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder") => Error::Invalid,
        (_, "KeyTooLongError" | "KeyTooLong") => Error::NameTooLong,
        (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") | (507, _) => Error::NoSpace,
        (_, "NotImplemented" | "MethodNotAllowed") | (405 | 501, _) => Error::Unsupported,
        (_, "PreconditionFailed") | (412, _) => Error::Stale,
        (_, "InvalidRange") | (416, _) => Error::NoPosition,
        (_, "AccessDenied") | (401 | 403, _) => Error::Denied,
        (_, "NoSuchKey" | "NoSuchUpload" | "NotFound") | (404, _) => Error::NotFound,
        _ => Error::unavailable(fault),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(Answer { code, .. }) if code == "NoSuchBucket" => f.write_str("no such bucket (NoSuchBucket)"),
            Self::Answer(Answer { status, code, .. }) if code.is_empty() => write!(f, "HTTP {status}"),
            Self::Answer(Answer { status, code, message, .. }) if message.is_empty() => {
                write!(f, "{code} (HTTP {status})")
            }
            Self::Answer(Answer { status, code, message, .. }) => write!(f, "{code}: {message} (HTTP {status})"),
            Self::Malformed(text) => write!(f, "not an S3 answer: {text}"),
            Self::Timeout(text) => write!(f, "timeout: {text}"),
            Self::Connection(text) => write!(f, "connection failed: {text}"),
            Self::NoCredentials(text) => write!(f, "no credentials: {text}"),
            Self::Unsendable(text) => write!(f, "the request cannot be sent: {text}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)?;
        if let Some(earlier) = &self.earlier {
            write!(f, " (before that: {earlier})")?;
        }
        if self.attempts > 1 { write!(f, ", {} attempts", self.attempts) } else { Ok(()) }
    }
}

impl error::Error for Fault {}

/// An error and its sources in one line, each said once.
fn chain(err: &dyn error::Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(err) = next {
        let more = err.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = err.source();
    }
    // The SDK's list of all places where it looked for credentials has many lines.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ")
}

/// Without the SDK's own layers, which say only "dispatch failure: io error: client error (Connect)".
fn connector_cause(err: &ConnectorError) -> &(dyn error::Error + 'static) {
    let mut cause: &(dyn error::Error + 'static) = err;
    while let Some(source) = cause.source() {
        cause = source;
        let text = cause.to_string();
        if text != "io error" && !text.starts_with("client error") {
            break;
        }
    }
    cause
}

fn find<'a, T: error::Error + 'static>(err: &'a (dyn error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref() {
            return Some(found);
        }
        next = err.source();
    }
    None
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, code: &str, kind: &str, remedy: Remedy) {
        let answer = Answer { status, code: code.into(), message: "why".into(), ..Answer::default() };
        let fault = Fault { cause: Cause::Answer(answer), what: "GetObject", attempts: 1, earlier: None };
        assert_eq!(fault.cause.remedy(), remedy, "{status} {code}");
        assert_eq!(format!("{:?}", classify(fault)).split('(').next(), Some(kind), "{status} {code}");
    }

    #[test]
    fn every_answer_has_one_meaning() {
        check(404, "NoSuchKey", "NotFound", Remedy::Nothing);
        check(404, "", "NotFound", Remedy::Nothing);
        check(404, "NoSuchUpload", "NotFound", Remedy::Nothing);
        check(404, "NoSuchBucket", "Unavailable", Remedy::Nothing);
        check(403, "AccessDenied", "Denied", Remedy::Renew);
        check(403, "", "Denied", Remedy::Renew);
        check(401, "", "Denied", Remedy::Renew);
        check(403, "RequestTimeTooSkewed", "Unavailable", Remedy::Retry);
        check(403, "SignatureDoesNotMatch", "Unavailable", Remedy::Renew);
        check(403, "InvalidAccessKeyId", "Unavailable", Remedy::Renew);
        check(403, "InvalidObjectState", "Unavailable", Remedy::Nothing);
        check(400, "ExpiredToken", "Unavailable", Remedy::Renew);
        check(400, "", "Unavailable", Remedy::Renew);
        check(400, "EntityTooLarge", "TooLarge", Remedy::Nothing);
        check(400, "InvalidPart", "Invalid", Remedy::Nothing);
        check(400, "KeyTooLongError", "NameTooLong", Remedy::Nothing);
        check(403, "QuotaExceeded", "NoSpace", Remedy::Renew);
        check(409, "ConditionalRequestConflict", "Unavailable", Remedy::Conflict);
        check(409, "ExistingObjectIsFile", "Unavailable", Remedy::Nothing);
        check(412, "PreconditionFailed", "Stale", Remedy::Nothing);
        check(416, "InvalidRange", "NoPosition", Remedy::Nothing);
        check(500, "InternalError", "Unavailable", Remedy::Retry);
        check(200, "InternalError", "Unavailable", Remedy::Retry);
        check(501, "NotImplemented", "Unsupported", Remedy::Nothing);
        check(503, "SlowDown", "Unavailable", Remedy::SlowDown);
        check(503, "", "Unavailable", Remedy::SlowDown);
        check(429, "", "Unavailable", Remedy::SlowDown);
    }

    #[test]
    fn a_fault_is_one_telling_line() {
        let answer = Answer { status: 503, code: "SlowDown".into(), message: "Slow down.".into(), ..Answer::default() };
        let fault = Fault { cause: Cause::Answer(answer), what: "PutObject", attempts: 3, earlier: None };
        assert_eq!(classify(fault).to_string(), "PutObject: SlowDown: Slow down. (HTTP 503), 3 attempts");
    }
}
