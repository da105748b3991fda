//! Multipart uploads.

use std::ops::Range;

use aws_sdk_s3::{
    config::http::HttpRequest,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;

use super::{
    Begun, S3Store,
    call::{Pace, in_task},
    fault::classify,
    wire,
    write::{dress, if_none_match, set_header},
};
use crate::{
    config::Checksum,
    error::{Error, Result},
    model::{key::Key, version::ETag},
    store::{Headers, PARTS_MAX, Part, Require, Stored, Upload, operation::operation_id},
};

impl S3Store {
    /// Always with a name: a repeated completion is refused even without a condition, because the upload
    /// is gone.
    pub(super) async fn create_upload(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        self.begin_summed(key, headers, self.checksum() == Checksum::Crc32).await
    }

    /// `crc32`: each part will have one.
    pub(super) async fn begin_summed(&self, key: &Key, headers: &Headers, crc32: bool) -> Result<Upload> {
        let operation = Self::operation(headers, &Require::Anything).unwrap_or_else(operation_id);
        let name = Some(operation.as_str());
        let attempt = |acl: Option<String>| {
            self.call("CreateMultipartUpload", Pace::Quick, move || {
                let request = self.client().create_multipart_upload().key(key.as_str());
                let request = request.set_checksum_algorithm(crc32.then_some(ChecksumAlgorithm::Crc32));
                dress!(request, self, headers, name, acl).send()
            })
        };
        let answer = self.with_acl(key, attempt).await.map_err(classify)?;
        let id = answer.upload_id.ok_or_else(|| Error::unavailable("CreateMultipartUpload: no upload id"))?;
        self.uploads().put(id.clone(), Begun { operation, crc32 });
        Ok(Upload { key: key.clone(), id })
    }

    pub(super) async fn upload_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        in_task().await;
        let (size, sum, at) = (body.len() as u64, self.sum_of_part(upload, &body), part_number(number)?);
        let answer = self
            .call("UploadPart", Pace::Upload(body.len()), || {
                let request = self.client().upload_part().bucket(&*self.bucket).key(upload.key.as_str());
                let request = request
                    .upload_id(&upload.id)
                    .part_number(at)
                    .body(ByteStream::from(body.clone()))
                    .set_content_md5(sum.md5.clone())
                    .set_checksum_crc32(sum.crc32.clone())
                    .set_request_payer(self.payer())
                    .customize();
                // As in `put_object`.
                if sum.is_some() { request.disable_payload_signing() } else { request }.send()
            })
            .await
            .map_err(classify)?;
        let etag = answer.e_tag.ok_or_else(|| Error::unavailable("UploadPart: no ETag in the answer"))?;
        Ok(Part { number, etag: ETag::new(&etag), size, crc32: sum.crc32 })
    }

    pub(super) async fn upload_part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> Result<Part> {
        let at = part_number(number)?;
        let last = range.end.checked_sub(1).filter(|_| !range.is_empty()).ok_or(Error::Invalid)?;
        let copy_source = wire::copy_source(&self.bucket, from);
        let answer = self
            .call("UploadPartCopy", Pace::Slow, || {
                let request = self.client().upload_part_copy().bucket(&*self.bucket).key(upload.key.as_str());
                request
                    .upload_id(&upload.id)
                    .part_number(at)
                    .copy_source(&copy_source)
                    .copy_source_range(format!("bytes={}-{last}", range.start))
                    .copy_source_if_match(source.as_str())
                    .set_request_payer(self.payer())
                    .customize()
                    // Ceph 16 refuses a part without (411).
                    .mutate_request(|request: &mut HttpRequest| set_header(request, "content-length", "0"))
                    .send()
            })
            .await
            .map_err(classify)?;
        let result = answer.copy_part_result;
        let crc32 = result.as_ref().and_then(|result| result.checksum_crc32.clone());
        let etag = result.and_then(|result| result.e_tag);
        let etag = etag.ok_or_else(|| Error::unavailable("UploadPartCopy: no ETag in the answer"))?;
        Ok(Part { number, etag: ETag::new(&etag), size: range.end - range.start, crc32 })
    }

    pub(super) async fn complete_upload(&self, upload: &Upload, parts: &[Part], require: &Require) -> Result<Stored> {
        self.admit(require, |known| (known.complete, known.version))?;
        let begun = self.uploads().get(&upload.id).cloned();
        let (operation, summed) = begun.map_or((None, true), |begun| (Some(begun.operation), begun.crc32));
        let completed = parts.iter().map(|part| {
            let number = part_number(part.number)?;
            let crc32 = part.crc32.clone().filter(|_| summed);
            Ok(CompletedPart::builder().part_number(number).e_tag(part.etag.as_str()).set_checksum_crc32(crc32).build())
        });
        let completed = CompletedMultipartUpload::builder().set_parts(Some(completed.collect::<Result<_>>()?)).build();
        let sent = self
            .call("CompleteMultipartUpload", Pace::Slow, || {
                let request = self.client().complete_multipart_upload().bucket(&*self.bucket).key(upload.key.as_str());
                request
                    .upload_id(&upload.id)
                    .multipart_upload(completed.clone())
                    .set_if_none_match(if_none_match(require))
                    .set_if_match(self.if_match(require))
                    .set_request_payer(self.payer())
                    .send()
            })
            .await;
        let size = parts.iter().map(|part| part.size).sum();
        let stored = match sent {
            Ok(answer) => self.stored(&upload.key, answer.e_tag, size).await,
            Err(fault) => self.settle(&upload.key, fault, require, operation.as_deref()).await,
        };
        if stored.is_ok() {
            self.uploads().pop(&upload.id);
        }
        stored
    }

    pub(super) async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let sent = self
            .call("AbortMultipartUpload", Pace::Quick, || {
                let request = self.client().abort_multipart_upload().bucket(&*self.bucket).key(upload.key.as_str());
                request.upload_id(&upload.id).set_request_payer(self.payer()).send()
            })
            .await;
        match sent.map_err(classify) {
            Ok(_) | Err(Error::NotFound) => {
                self.uploads().pop(&upload.id);
                Ok(())
            }
            Err(err) => Err(err),
        }
    }
}

fn part_number(number: u32) -> Result<i32> {
    let within = (1..=PARTS_MAX).contains(&number);
    i32::try_from(number).ok().filter(|_| within).ok_or(Error::Invalid)
}
