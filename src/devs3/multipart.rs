//! Calls about multipart uploads.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use originfs::{
    clock,
    model::{key::Key, version::ETag},
    store::{PART_MIN, Part, SINGLE_MAX, Upload},
};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        self, AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload,
        UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

use crate::{
    acl,
    blob::Written,
    listing::{self, Encoding},
    objects::source,
    space::{SUMMED, Space},
    wire::{self, headers_in, no_key, no_upload},
};

fn upload(key: &str, id: &str) -> Upload {
    Upload { key: Key::new(key), id: id.to_owned() }
}

pub(crate) fn begin(
    space: &Space,
    req: &S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let summed = match req.input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str) {
        None => false,
        Some(ChecksumAlgorithm::CRC32) => true,
        Some(_) => return Err(s3_error!(NotImplemented, "uploads have CRC32 sums or none")),
    };
    let acl = acl::asked(&req.headers)?;
    let upload = space.begin(&Key::new(&req.input.key), headers_in(req), summed, acl).map_err(no_upload)?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(req.input.bucket.clone()),
        key: Some(req.input.key.clone()),
        upload_id: Some(upload.id),
        checksum_algorithm: req.input.checksum_algorithm.clone(),
        checksum_type: req.input.checksum_type.clone(),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

fn is_summed(upload: &Upload) -> bool {
    upload.id.ends_with(SUMMED)
}

/// Keeps what was written as a part.
fn keep(space: &Space, upload: &Upload, number: i32, written: Written) -> S3Result<ETag> {
    let number = u32::try_from(number).unwrap_or(0);
    let part = Part { number, etag: written.etag.clone(), size: written.segment.size, crc32: None };
    space.part(upload, part, &written.segment.bytes).map_err(no_upload)?;
    Ok(written.etag)
}

pub(crate) async fn part(space: &Space, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let upload = upload(&req.input.key, &req.input.upload_id);
    space.lock().upload(&upload).map_err(no_upload)?;
    // As AWS: what the upload was begun with is what each part has.
    if is_summed(&upload) != req.headers.contains_key("x-amz-checksum-crc32") {
        return Err(s3_error!(InvalidRequest, "the upload was begun with another kind of checksum"));
    }
    let body = req.input.body.take();
    let written = wire::receive(&req, body, space.writer().map_err(no_upload)?).await?;
    let etag = keep(space, &upload, req.input.part_number, written)?;
    Ok(S3Response::new(UploadPartOutput { e_tag: Some(wire::etag(&etag)), ..UploadPartOutput::default() }))
}

pub(crate) fn part_copy(
    from: &Space,
    to: &Space,
    req: &S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let upload = upload(&req.input.key, &req.input.upload_id);
    to.lock().upload(&upload).map_err(no_upload)?;
    let (_, key) = source(&req.input.copy_source)?;
    let mut slices = {
        let bucket = from.lock();
        let record = bucket.get(key).map_err(no_key)?;
        wire::source_at(req.input.copy_source_if_match.as_ref(), &record.object.version.etag)?;
        let range = copy_range(req.input.copy_source_range.as_deref(), record.object.version.size)?;
        from.slices(record, range).map_err(no_key)?
    };
    let (mut writer, mut sum) = (to.writer().map_err(no_key)?, crc32fast::Hasher::new());
    loop {
        let chunk = slices.read().map_err(wire::internal)?;
        if chunk.is_empty() {
            break;
        }
        writer.write(&chunk).map_err(wire::internal)?;
        sum.update(&chunk);
    }
    let etag = keep(to, &upload, req.input.part_number, writer.finish())?;
    let result = CopyPartResult {
        e_tag: Some(wire::etag(&etag)),
        last_modified: Some(wire::time(clock::wall().sec)),
        checksum_crc32: is_summed(&upload).then(|| STANDARD.encode(sum.finalize().to_be_bytes())),
        ..CopyPartResult::default()
    };
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
}

/// `bytes=first-last`, which must be inside the source.
fn copy_range(asked: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(asked) = asked else { return Ok(0..size) };
    let bounds = asked.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match bounds {
        Some((first, last)) if first <= last && last < size && last - first < SINGLE_MAX => Ok(first..last + 1),
        _ => Err(s3_error!(InvalidArgument, "the copy range {asked:?} of {size} bytes")),
    }
}

pub(crate) fn complete(
    space: &Space,
    req: &S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let require = space.manner().heed(wire::require(req)?)?;
    let upload = upload(&req.input.key, &req.input.upload_id);
    space.lock().upload(&upload).map_err(no_upload)?;
    let sent = req.input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_ref());
    let mut parts = Vec::new();
    for part in sent.ok_or_else(|| s3_error!(MalformedXML))? {
        let (Some(number), Some(etag)) = (part.part_number, &part.e_tag) else {
            return Err(s3_error!(MalformedXML));
        };
        let number = u32::try_from(number).map_err(|_| s3_error!(InvalidPart))?;
        if is_summed(&upload) != part.checksum_crc32.is_some() {
            return Err(s3_error!(InvalidRequest, "the sum of each part is to be told again, and no other"));
        }
        parts.push((number, ETag::new(&format!("\"{}\"", etag.value()))));
    }
    check_parts(space, &upload, &parts)?;
    let version = space.complete(&upload, &parts, &require).map_err(|err| match err {
        // An upload was found above, so it is the object that If-Match did not find.
        originfs::error::Error::NotFound => s3_error!(NoSuchKey),
        err => no_upload(err),
    })?;
    let output = CompleteMultipartUploadOutput {
        bucket: Some(req.input.bucket.clone()),
        key: Some(req.input.key.clone()),
        location: Some(format!("/{}/{}", req.input.bucket, Encoding::Url.text(&req.input.key))),
        e_tag: Some(wire::etag(&version.etag)),
        ..CompleteMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

/// The same as the bucket's own check, for S3's distinct codes.
fn check_parts(space: &Space, upload: &Upload, parts: &[(u32, ETag)]) -> S3Result<()> {
    let bucket = space.lock();
    let pending = bucket.upload(upload).map_err(no_upload)?;
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    if !parts.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(s3_error!(InvalidPartOrder));
    }
    for (index, (number, etag)) in parts.iter().enumerate() {
        match pending.parts.get(number) {
            Some((part, _)) if part.etag.unquoted() != etag.unquoted() => return Err(s3_error!(InvalidPart)),
            Some((part, _)) if part.size < PART_MIN && index + 1 < parts.len() => {
                return Err(s3_error!(EntityTooSmall));
            }
            Some(_) => {}
            None => return Err(s3_error!(InvalidPart)),
        }
    }
    Ok(())
}

pub(crate) fn abort(
    space: &Space,
    req: &S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    space.abort(&upload(&req.input.key, &req.input.upload_id)).map_err(no_upload)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(crate) fn parts(space: &Space, req: &S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = &req.input;
    let max = usize::from(listing::limit(input.max_parts)?);
    let after = input.part_number_marker.and_then(|marker| u32::try_from(marker).ok()).unwrap_or(0);
    let bucket = space.lock();
    let pending = bucket.upload(&upload(&input.key, &input.upload_id)).map_err(no_upload)?;
    let mut found: Vec<dto::Part> =
        pending.parts.range(after + 1..).take(max + 1).map(|(_, (part, _))| tell(part)).collect();
    let more = found.len() > max;
    found.truncate(max);
    let output = ListPartsOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        upload_id: Some(input.upload_id.clone()),
        max_parts: i32::try_from(max).ok(),
        is_truncated: Some(more),
        next_part_number_marker: found.last().and_then(|part| part.part_number),
        parts: Some(found),
        owner: Some(wire::owner()),
        ..ListPartsOutput::default()
    };
    Ok(S3Response::new(output))
}

fn tell(part: &Part) -> dto::Part {
    dto::Part {
        part_number: i32::try_from(part.number).ok(),
        e_tag: Some(wire::etag(&part.etag)),
        size: i64::try_from(part.size).ok(),
        ..dto::Part::default()
    }
}

pub(crate) fn uploads(
    space: &Space,
    req: &S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = &req.input;
    if listing::delimiter(input.delimiter.as_deref())? {
        return Err(s3_error!(NotImplemented, "uploads by delimiter"));
    }
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let max = usize::from(listing::limit(input.max_uploads)?);
    let marker = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone());
    let after = |upload: &Upload| match &marker {
        (key, _) if key.is_empty() => true,
        (key, Some(id)) => (upload.key.as_str(), &upload.id) > (key.as_str(), id),
        (key, None) => upload.key.as_str() > key.as_str(),
    };
    let mut found = space.lock().uploads(input.prefix.as_deref().unwrap_or_default());
    found.retain(after);
    let more = found.len() > max;
    found.truncate(max);
    let last = found.last().filter(|_| more);
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket.clone()),
        prefix: input.prefix.as_deref().map(|prefix| encoding.text(prefix)),
        key_marker: input.key_marker.as_deref().map(|marker| encoding.text(marker)),
        upload_id_marker: input.upload_id_marker.clone(),
        encoding_type: input.encoding_type.clone(),
        max_uploads: i32::try_from(max).ok(),
        is_truncated: Some(more),
        next_key_marker: last.map(|upload| encoding.text(upload.key.as_str())),
        next_upload_id_marker: last.map(|upload| upload.id.clone()),
        uploads: Some(found.iter().map(|upload| line(upload, encoding)).collect()),
        ..ListMultipartUploadsOutput::default()
    };
    Ok(S3Response::new(output))
}

fn line(upload: &Upload, encoding: Encoding) -> MultipartUpload {
    MultipartUpload {
        key: Some(encoding.text(upload.key.as_str())),
        upload_id: Some(upload.id.clone()),
        owner: Some(wire::owner()),
        ..MultipartUpload::default()
    }
}
