//! Calls about single objects.

use std::ops::Range;

use hyper::{HeaderMap, StatusCode};
use originfs::{
    clock,
    error::{Error, Result},
    model::{key::Key, version::Version},
    store::{
        Object, PAGE_MAX, Require, SINGLE_MAX,
        bucket::{Bucket, Record},
    },
};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        self, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
        DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition, GetObjectAttributesInput,
        GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput, GetObjectOutput, HeadObjectInput,
        HeadObjectOutput, MetadataDirective, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    },
    s3_error,
};

use crate::{
    acl,
    blob::{Blob, Slices},
    faults::Lie,
    gate,
    space::Space,
    wire::{self, headers_in, headers_out, no_key},
};

/// What GET and HEAD have in common.
struct Asked<'a> {
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    if_modified_since: Option<&'a Timestamp>,
    if_unmodified_since: Option<&'a Timestamp>,
    range: Option<dto::Range>,
    part: Option<i32>,
}

/// What is answered.
struct Selected {
    range: Range<u64>,
    /// `Content-Range`, if it is not the whole.
    told: Option<String>,
    parts: Option<i32>,
}

impl Selected {
    fn len(&self) -> Option<i64> {
        i64::try_from(self.range.end - self.range.start).ok()
    }
}

impl Asked<'_> {
    /// RFC 9110 section 13.2.2.
    fn check(&self, object: &Object) -> S3Result<()> {
        let etag = &object.version.etag;
        let modified = wire::time(object.version.modified.unwrap_or_default());
        let stale = match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) => !wire::etag_matches(condition, etag),
            (None, Some(since)) => modified > *since,
            (None, None) => false,
        };
        if stale {
            return Err(s3_error!(PreconditionFailed));
        }
        let known = match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) => wire::etag_matches(condition, etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if known {
            let mut same = s3_error!(NotModified);
            same.set_headers(wire::validators(object)?);
            return Err(same);
        }
        Ok(())
    }

    fn select(&self, record: &Record<Blob>) -> S3Result<Selected> {
        let size = record.object.version.size;
        let (range, parts) = match (self.range, self.part) {
            (None, None) => return Ok(Selected { range: 0..size, told: None, parts: None }),
            (Some(range), None) => {
                (range.check(size).map_err(|_| out_of_range(size)).and_then(|range| in_order(range, size))?, None)
            }
            (None, Some(part)) => (part_range(record, part)?, i32::try_from(record.segments.len()).ok()),
            (Some(_), Some(_)) => return Err(s3_error!(InvalidRequest, "a range and a part at once")),
        };
        let told = (!range.is_empty()).then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1));
        Ok(Selected { range, told, parts })
    }
}

fn in_order(range: Range<u64>, size: u64) -> S3Result<Range<u64>> {
    if range.is_empty() { Err(out_of_range(size)) } else { Ok(range) }
}

fn out_of_range(size: u64) -> S3Error {
    let mut err = s3_error!(InvalidRange);
    if let Ok(line) = wire::header("content-range", &format!("bytes */{size}")) {
        err.set_headers([line].into_iter().collect());
    }
    err
}

fn part_range(record: &Record<Blob>, part: i32) -> S3Result<Range<u64>> {
    let index = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
    let segment = index.and_then(|index| record.segments.get(index).map(|segment| (index, segment)));
    let (index, segment) = segment.ok_or_else(|| s3_error!(InvalidRange))?;
    let start = record.segments[..index].iter().map(|segment| segment.size).sum();
    Ok(start..start + segment.size)
}

/// What a request sees at a key: what is there, unless a rule lies.
fn seen<T>(space: &Space, bucket: &Bucket<Blob>, req: &S3Request<T>, key: &str) -> S3Result<Record<Blob>> {
    let stale = gate::lie(req) == Some(Lie::Stale);
    let record = if stale { space.former.get(bucket, key) } else { bucket.get(key).cloned() };
    record.map_err(no_key)
}

/// The first half of `range` from the version before, if it is that long.
fn mixed(space: &Space, bucket: &Bucket<Blob>, key: &str, now: &Record<Blob>, range: Range<u64>) -> Result<Slices> {
    let middle = range.start.midpoint(range.end);
    match space.former.get(bucket, key) {
        Ok(former) if former.object.version.size >= middle => {
            Ok(space.slices(&former, range.start..middle)?.chain(space.slices(now, middle..range.end)?))
        }
        _ => space.slices(now, range),
    }
}

pub(crate) fn get(space: &Space, req: &S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &req.input;
    let asked = Asked {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
        range: input.range,
        part: input.part_number,
    };
    let bucket = space.lock();
    let record = &seen(space, &bucket, req, &input.key)?;
    asked.check(&record.object)?;
    not_archived(&record.object)?;
    let selected = asked.select(record)?;
    let body = match gate::lie(req) {
        Some(Lie::Mixed) => mixed(space, &bucket, &input.key, record, selected.range.clone()),
        _ => space.slices(record, selected.range.clone()),
    };
    let body = body.map_err(no_key)?;
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::from(s3s::Body::http_body(body))),
        content_length: selected.len(),
        content_range: selected.told.clone(),
        parts_count: selected.parts,
        ..GetObjectOutput::default()
    };
    let mut headers = headers_out(&record.object)?;
    headers.extend(overrides(input)?);
    let mut response = S3Response::with_headers(output, headers);
    response.status = selected.told.is_some().then_some(StatusCode::PARTIAL_CONTENT);
    Ok(response)
}

/// Nothing is ever restored here.
fn not_archived(object: &Object) -> S3Result<()> {
    match object.headers.storage_class.as_deref() {
        Some("GLACIER" | "DEEP_ARCHIVE") => Err(s3_error!(InvalidObjectState)),
        _ => Ok(()),
    }
}

/// What the request wants to see instead of the object's own headers.
fn overrides(input: &GetObjectInput) -> S3Result<HeaderMap> {
    let wanted = [
        ("content-type", &input.response_content_type),
        ("cache-control", &input.response_cache_control),
        ("content-disposition", &input.response_content_disposition),
        ("content-encoding", &input.response_content_encoding),
        ("content-language", &input.response_content_language),
    ];
    let wanted = wanted.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    wanted.map(|(name, value)| wire::header(name, value)).collect()
}

pub(crate) fn head(space: &Space, req: &S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &req.input;
    let asked = Asked {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
        range: input.range,
        part: input.part_number,
    };
    let bucket = space.lock();
    let record = &seen(space, &bucket, req, &input.key)?;
    asked.check(&record.object)?;
    let selected = asked.select(record)?;
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: selected.len(),
        content_range: selected.told.clone(),
        parts_count: selected.parts,
        ..HeadObjectOutput::default()
    };
    let mut response = S3Response::with_headers(output, headers_out(&record.object)?);
    response.status = selected.told.is_some().then_some(StatusCode::PARTIAL_CONTENT);
    Ok(response)
}

pub(crate) fn attributes(
    space: &Space,
    req: &S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let bucket = space.lock();
    let record = bucket.get(&req.input.key).map_err(no_key)?;
    let version = &record.object.version;
    let total_parts_count = i32::try_from(record.segments.len()).ok().filter(|_| version.etag.as_str().contains('-'));
    let output = GetObjectAttributesOutput {
        e_tag: Some(wire::etag(&version.etag)),
        last_modified: version.modified.map(wire::time),
        object_size: i64::try_from(version.size).ok(),
        object_parts: total_parts_count
            .map(|_| GetObjectAttributesParts { total_parts_count, ..GetObjectAttributesParts::default() }),
        ..GetObjectAttributesOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn put(space: &Space, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    // A server that does not know this header replaces the object by the appended bytes. Better to refuse.
    if req.input.write_offset_bytes.is_some() || req.headers.contains_key("x-amz-rename-source") {
        return Err(s3_error!(NotImplemented));
    }
    let require = wire::require(&req)?;
    let key = Key::new(&req.input.key);
    let (headers, acl) = (headers_in(&req), acl::asked(&req.headers)?);
    let body = req.input.body.take();
    let written = wire::receive(&req, body, space.writer().map_err(no_key)?).await?;
    let version = Version { etag: written.etag, modified: Some(clock::wall().sec), size: written.segment.size };
    let record = Record { object: Object { version, headers, operation: None }, segments: vec![written.segment] };
    if gate::lie(&req) == Some(Lie::Lost) {
        space.discard(record.segments.iter().map(|segment| &segment.bytes));
        let e_tag = Some(wire::etag(&record.object.version.etag));
        return Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }));
    }
    let require = space.manner().heed_put(space, &key, require).await?;
    let version = space.commit(&mut space.lock(), &key, record, &require, acl).map_err(no_key)?;
    Ok(S3Response::new(PutObjectOutput { e_tag: Some(wire::etag(&version.etag)), ..PutObjectOutput::default() }))
}

/// The bucket and key of a copy's source.
pub(crate) fn source(copy: &CopySource) -> S3Result<(&str, &str)> {
    match copy {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "only bucket/key is a source")),
    }
}

pub(crate) fn copy(
    from: &Space,
    to: &Space,
    req: &S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let require = to.manner().heed(wire::require(req)?)?;
    let (target, acl) = (Key::new(&req.input.key), acl::asked(&req.headers)?);
    let (_, key) = source(&req.input.copy_source)?;
    let replace = req.input.metadata_directive.as_ref().is_some_and(|how| how.as_str() == MetadataDirective::REPLACE);
    let prepare = |bucket: &Bucket<Blob>| -> S3Result<Record<Blob>> {
        let record = bucket.get(key).map_err(no_key)?;
        let Object { version, headers, .. } = &record.object;
        wire::source_at(req.input.copy_source_if_match.as_ref(), &version.etag)?;
        not_archived(&record.object)?;
        if version.size > SINGLE_MAX {
            return Err(no_key(Error::TooLarge));
        }
        let headers = if replace { headers_in(req) } else { headers.clone() };
        let version = Version { modified: Some(clock::wall().sec), ..version.clone() };
        let segments = to.adopt(from, &record.segments).map_err(no_key)?;
        Ok(Record { object: Object { version, headers, operation: None }, segments })
    };
    // Inside one bucket the whole copy is one atomic step.
    let version = if std::ptr::eq(from, to) {
        if key == target.as_str() && !replace {
            return Err(s3_error!(InvalidRequest, "a copy onto itself must change something"));
        }
        let mut bucket = to.lock();
        let record = prepare(&bucket)?;
        to.commit(&mut bucket, &target, record, &require, acl)
    } else {
        let record = prepare(&from.lock())?;
        to.commit(&mut to.lock(), &target, record, &require, acl)
    };
    let version = version.map_err(no_key)?;
    let result = CopyObjectResult {
        e_tag: Some(wire::etag(&version.etag)),
        last_modified: version.modified.map(wire::time),
        ..CopyObjectResult::default()
    };
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
}

pub(crate) fn delete(space: &Space, req: &S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let require = space.manner().heed(wire::require(req)?)?;
    space.delete(&mut space.lock(), &Key::new(&req.input.key), &require).map_err(no_key)?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(crate) fn delete_many(
    space: &Space,
    req: &S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let delete = &req.input.delete;
    if delete.objects.len() > usize::from(PAGE_MAX) {
        return Err(s3_error!(MalformedXML));
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in &delete.objects {
        let key = Some(object.key.clone());
        let require = object.e_tag.as_ref().map_or(Require::Anything, |etag| {
            Require::Version(originfs::model::version::ETag::new(&format!("\"{}\"", etag.value())))
        });
        match space.delete(&mut space.lock(), &Key::new(&object.key), &require) {
            Ok(()) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
            Err(err) => {
                let err = wire::refuse(&err, S3ErrorCode::NoSuchKey);
                let code = Some(err.code().as_str().to_owned());
                errors.push(dto::Error { key, code, message: err.message().map(str::to_owned), ..Default::default() });
            }
        }
    }
    let deleted = (!delete.quiet.unwrap_or(false)).then_some(deleted);
    Ok(S3Response::new(DeleteObjectsOutput { deleted, errors: Some(errors), ..DeleteObjectsOutput::default() }))
}
