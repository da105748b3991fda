//! Between the types of the S3 API and ours.

use std::{
    collections::BTreeMap,
    error,
    pin::Pin,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap,
    body::{Body as _, Bytes},
    header::{HeaderName, HeaderValue},
};
use originfs::{
    error::Error,
    model::version::ETag,
    store::{Headers, Object, Require},
};
use s3s::{
    Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    checksum::ChecksumHasher,
    crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256},
    dto::{self, ETagCondition, StreamingBlob, Timestamp, TimestampFormat},
    s3_error,
};

use crate::blob::{Writer, Written};

/// What an object has that came without a type.
const NO_TYPE: &str = "binary/octet-stream";
const META: &str = "x-amz-meta-";

/// An error of an object as S3 says it. `missing` is what "not found" means here.
pub(crate) fn refuse(err: &Error, missing: S3ErrorCode) -> S3Error {
    match err {
        Error::NotFound => S3Error::new(missing),
        Error::Exists | Error::Stale => s3_error!(PreconditionFailed),
        Error::NameTooLong => s3_error!(KeyTooLongError),
        Error::TooLarge => s3_error!(EntityTooLarge),
        Error::NoPosition => s3_error!(InvalidRange),
        Error::Invalid => s3_error!(InvalidArgument),
        Error::Unavailable(_) | Error::NoSpace => internal(err.clone()),
        other => s3_error!(InvalidRequest, "{other}"),
    }
}

/// "No such key" for what is not found.
#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
pub(crate) fn no_key(err: Error) -> S3Error {
    refuse(&err, S3ErrorCode::NoSuchKey)
}

/// "No such upload" for what is not found.
#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
pub(crate) fn no_upload(err: Error) -> S3Error {
    refuse(&err, S3ErrorCode::NoSuchUpload)
}

pub(crate) fn internal(err: impl error::Error + Send + Sync + 'static) -> S3Error {
    log::error!("{err}");
    S3Error::with_source(S3ErrorCode::InternalError, Box::new(err))
}

pub(crate) fn owner() -> dto::Owner {
    dto::Owner { display_name: Some("originfs".to_owned()), id: Some("originfs".to_owned()) }
}

/// Seconds since 1970.
pub(crate) fn time(sec: i64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(u64::try_from(sec).unwrap_or(0)))
}

pub(crate) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.unquoted().to_owned())
}

pub(crate) fn etag_matches(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(other) => other.value() == etag.unquoted(),
    }
}

/// The ETag of a copy source's condition.
pub(crate) fn source_at(condition: Option<&ETagCondition>, etag: &ETag) -> S3Result<()> {
    match condition {
        Some(condition) if !etag_matches(condition, etag) => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

/// The condition of a write. From the headers, because not every input has the fields.
pub(crate) fn require<T>(req: &S3Request<T>) -> S3Result<Require> {
    let value = |name: &str| req.headers.get(name).map(|value| text(value).trim().to_owned());
    match (value("if-none-match").as_deref(), value("if-match").as_deref()) {
        (None, None) => Ok(Require::Anything),
        (Some("*"), None) => Ok(Require::Absent),
        (None, Some(etag)) if etag != "*" => Ok(Require::Version(ETag::new(etag))),
        _ => Err(s3_error!(NotImplemented, "this condition of a write is not implemented")),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The headers that an object keeps.
pub(crate) fn headers_in<T>(req: &S3Request<T>) -> Headers {
    let value = |name: &str| req.headers.get(name).map(text).filter(|value| !value.is_empty());
    // The transfer coding of the SDKs is not part of the object.
    let coding = value("content-encoding").map(|all| {
        let kept = all.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked");
        kept.collect::<Vec<_>>().join(",")
    });
    let user: BTreeMap<String, String> = req
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().strip_prefix(META)?.to_owned(), text(value))))
        .collect();
    Headers {
        content_type: value("content-type").or_else(|| Some(NO_TYPE.to_owned())),
        cache_control: value("cache-control"),
        content_disposition: value("content-disposition"),
        content_encoding: coding.filter(|coding| !coding.is_empty()),
        content_language: value("content-language"),
        expires: value("expires"),
        storage_class: value("x-amz-storage-class").filter(|class| class != "STANDARD"),
        redirect: value("x-amz-website-redirect-location"),
        user,
    }
}

type HeaderLine = (HeaderName, HeaderValue);

pub(crate) fn header(name: &str, value: &str) -> S3Result<HeaderLine> {
    let name = HeaderName::try_from(name).map_err(internal)?;
    Ok((name, HeaderValue::from_bytes(value.as_bytes()).map_err(internal)?))
}

pub(crate) fn with_headers<T>(output: T, lines: impl IntoIterator<Item = HeaderLine>) -> S3Response<T> {
    S3Response::with_headers(output, lines.into_iter().collect())
}

/// ETag and Last-Modified, which also a 304 tells.
pub(crate) fn validators(object: &Object) -> S3Result<HeaderMap> {
    let mut modified = Vec::new();
    time(object.version.modified.unwrap_or_default())
        .format(TimestampFormat::HttpDate, &mut modified)
        .map_err(internal)?;
    let modified = String::from_utf8_lossy(&modified);
    [header("etag", object.version.etag.as_str()), header("last-modified", &modified)].into_iter().collect()
}

/// All that HEAD tells about an object, but its length.
pub(crate) fn headers_out(object: &Object) -> S3Result<HeaderMap> {
    let headers = &object.headers;
    let named = [
        ("content-type", &headers.content_type),
        ("cache-control", &headers.cache_control),
        ("content-disposition", &headers.content_disposition),
        ("content-encoding", &headers.content_encoding),
        ("content-language", &headers.content_language),
        ("expires", &headers.expires),
        ("x-amz-storage-class", &headers.storage_class),
        ("x-amz-website-redirect-location", &headers.redirect),
    ];
    let mut lines = validators(object)?;
    for (name, value) in named {
        if let Some(value) = value {
            lines.extend([header(name, value)?]);
        }
    }
    for (name, value) in &headers.user {
        lines.extend([header(&format!("{META}{name}"), value)?]);
    }
    Ok(lines)
}

/// Writes the body of a request to a file and checks all sums that came with it.
pub(crate) async fn receive<T: Sync>(
    req: &S3Request<T>,
    body: Option<StreamingBlob>,
    mut to: Writer,
) -> S3Result<Written> {
    let mut sums = asked_sums(&req.headers);
    if let Some(body) = body {
        let mut body = Body::from(body);
        while let Some(chunk) = next(&mut body).await? {
            to.write(&chunk).map_err(internal)?;
            sums.update(&chunk);
        }
    }
    let trailers = req.trailing_headers.as_ref().and_then(s3s::TrailingHeaders::take).unwrap_or_default();
    let sums = sums.finalize();
    let computed = [
        ("crc32", sums.checksum_crc32),
        ("crc32c", sums.checksum_crc32c),
        ("crc64nvme", sums.checksum_crc64nvme),
        ("sha1", sums.checksum_sha1),
        ("sha256", sums.checksum_sha256),
    ];
    for (name, computed) in computed {
        let name = sum_header(name);
        let sent = req.headers.get(&name).or_else(|| trailers.get(&name)).map(text);
        if sent.is_some() && sent != computed {
            return Err(s3_error!(BadDigest, "{name} does not match"));
        }
    }
    if req.headers.get("content-md5").is_some_and(|sent| text(sent) != STANDARD.encode(to.md5())) {
        return Err(s3_error!(BadDigest, "Content-MD5 does not match"));
    }
    Ok(to.finish())
}

/// The next data of a body. A body that breaks is the client's fault; s3s reports wrong chunk signatures so, too.
async fn next(body: &mut Body) -> S3Result<Option<Bytes>> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            Some(Err(err)) => return Err(S3Error::with_message(S3ErrorCode::IncompleteBody, err.to_string())),
        }
    }
}

fn sum_header(name: &str) -> String {
    format!("x-amz-checksum-{name}")
}

/// A hasher for every sum that the client sends, before or behind the body.
fn asked_sums(headers: &HeaderMap) -> ChecksumHasher {
    let trailer = headers.get("x-amz-trailer").map(text).unwrap_or_default();
    let asked = |name: &str| {
        let name = sum_header(name);
        headers.contains_key(&name) || trailer.split(',').any(|sent| sent.trim().eq_ignore_ascii_case(&name))
    };
    ChecksumHasher {
        crc32: asked("crc32").then(Crc32::new),
        crc32c: asked("crc32c").then(Crc32c::new),
        sha1: asked("sha1").then(Sha1::new),
        sha256: asked("sha256").then(Sha256::new),
        crc64nvme: asked("crc64nvme").then(Crc64Nvme::new),
    }
}
