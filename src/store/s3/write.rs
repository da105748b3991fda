//! PUT, COPY and DELETE, with their conditions.

use aws_sdk_s3::{
    config::http::HttpRequest,
    primitives::ByteStream,
    types::{Delete, MetadataDirective, ObjectIdentifier},
};
use bytes::Bytes;

use super::{
    S3Store,
    call::{Pace, in_task},
    fault::{Fault, classify},
    sums::Sum,
    wire,
};
use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
    store::{
        Copy, Headers, Require, Stored,
        probe::{Conditional, Support},
    },
};

/// What every request that makes an object carries; the three builders have the same methods and no common trait.
macro_rules! dress {
    ($request:expr, $store:expr, $headers:expr, $operation:expr, $acl:expr) => {{
        let (headers, options): (&Headers, &$crate::config::S3Options) = ($headers, &$store.options);
        let operation = $operation.map(|id: &str| ($crate::store::operation::OPERATION.to_owned(), id.to_owned()));
        let user = headers.user.iter().map(|(name, value)| (name.clone(), value.clone()));
        let expires = headers.expires.clone();
        $request
            .bucket(&*$store.bucket)
            .set_content_type(headers.content_type.clone())
            .set_cache_control(headers.cache_control.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_content_language(headers.content_language.clone())
            .set_website_redirect_location(headers.redirect.clone())
            .set_metadata(Some(user.chain(operation).collect()))
            .set_storage_class(
                headers.storage_class.as_ref().or(options.storage_class.as_ref()).map(|text| text.as_str().into()),
            )
            .set_acl($acl.as_deref().map(Into::into))
            .set_server_side_encryption(options.sse.as_deref().map(Into::into))
            .set_ssekms_key_id(options.sse_kms_key_id.clone())
            .set_request_payer($store.payer())
            .customize()
            // As it was; the SDK's own field would parse and reformat it.
            .mutate_request(move |request: &mut ::aws_sdk_s3::config::http::HttpRequest| {
                if let Some(expires) = &expires {
                    $crate::store::s3::write::set_header(request, "expires", expires);
                }
            })
    }};
}
pub(super) use dress;

/// A value that HTTP cannot carry is left out: it did not come over HTTP either.
pub(super) fn set_header(request: &mut HttpRequest, name: &'static str, value: &str) {
    if request.headers_mut().try_insert(name, value.to_owned()).is_err() {
        log::warn!("{name} cannot be sent: {value:?}");
    }
}

impl S3Store {
    pub(super) async fn put_object(
        &self,
        key: &Key,
        body: Bytes,
        headers: &Headers,
        require: &Require,
    ) -> Result<Stored> {
        in_task().await;
        let sum = self.sum(&body);
        self.put_summed(key, body, headers, require, &sum).await
    }

    /// With this sum, which the server verifies.
    pub(super) async fn put_summed(
        &self,
        key: &Key,
        body: Bytes,
        headers: &Headers,
        require: &Require,
        sum: &Sum,
    ) -> Result<Stored> {
        self.admit(require, |known| (known.absent, known.version))?;
        let operation = Self::operation(headers, require);
        let size = body.len() as u64;
        let (bytes, name) = (&body, operation.as_deref());
        let attempt = |acl: Option<String>| {
            self.call("PutObject", Pace::Upload(bytes.len()), move || {
                let request = self.client().put_object().key(key.as_str()).body(ByteStream::from(bytes.clone()));
                let request = request
                    .set_content_md5(sum.md5.clone())
                    .set_checksum_crc32(sum.crc32.clone())
                    .set_if_none_match(if_none_match(require))
                    .set_if_match(self.if_match(require));
                let request = dress!(request, self, headers, name, acl);
                // The signature covers the sum, and that the body: it need not be hashed a second time.
                if sum.is_some() { request.disable_payload_signing() } else { request }.send()
            })
        };
        let sent = self.with_acl(key, attempt).await;
        match sent {
            Ok(answer) => self.stored(key, answer.e_tag, size).await,
            Err(fault) => self.settle(key, fault, require, operation.as_deref()).await,
        }
    }

    pub(super) async fn copy_object(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        self.admit(&copy.require, |known| (known.copy, known.version))?;
        let none = Headers::default();
        let operation = Self::operation(copy.headers.as_ref().unwrap_or(&none), &copy.require);
        let source = wire::copy_source(&self.bucket, from);
        let (directive, headers) = match &copy.headers {
            Some(headers) => (MetadataDirective::Replace, headers),
            None => (MetadataDirective::Copy, &none),
        };
        let (copying, way, from, name) = (&copy, &directive, &source, operation.as_deref());
        let attempt = |acl: Option<String>| {
            self.call("CopyObject", Pace::Slow, move || {
                let request = self.client().copy_object().key(to.as_str()).copy_source(from);
                let request = request
                    .metadata_directive(way.clone())
                    .set_copy_source_if_match(copying.source.as_ref().map(|etag| etag.as_str().to_owned()))
                    .set_if_none_match(if_none_match(&copying.require))
                    .set_if_match(self.if_match(&copying.require));
                dress!(request, self, headers, name, acl).send()
            })
        };
        let sent = self.with_acl(to, attempt).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(fault) if fault.cause.status() == 412 && copy.source.is_some() => {
                return self.settle_copy(to, fault, &copy, operation.as_deref()).await;
            }
            Err(fault) => return self.settle(to, fault, &copy.require, operation.as_deref()).await,
        };
        let result = answer.copy_object_result;
        let modified = result.as_ref().and_then(|result| result.last_modified).map(|at| at.secs());
        let etag = result.and_then(|result| result.e_tag);
        let etag = etag.ok_or_else(|| Error::unavailable("CopyObject: no ETag in the answer"))?;
        if let Some(size) = copy.size {
            return Ok(Version { etag: ETag::new(&etag), modified, size });
        }
        let (object, _) = self.head_object(to).await?;
        if object.version.etag.unquoted() == ETag::new(&etag).unquoted() {
            Ok(object.version)
        } else {
            Err(Error::Stale)
        }
    }

    pub(super) async fn delete_object(&self, key: &Key, require: &Require) -> Result<()> {
        if *require == Require::Absent {
            return Err(Error::Invalid);
        }
        self.admit(require, |known| (Support::Unknown, known.delete))?;
        let sent = self
            .call("DeleteObject", Pace::Quick, || {
                let request = self.client().delete_object().bucket(&*self.bucket).key(key.as_str());
                request.set_if_match(self.if_match(require)).set_request_payer(self.payer()).send()
            })
            .await;
        let repeated = sent.as_ref().is_err_and(|fault| fault.attempts > 1);
        match sent.map_err(classify) {
            // Of a repeated request the first may have done it; gone it is.
            Err(Error::NotFound) if repeated || *require == Require::Anything => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn delete_objects(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        let (batch, odd): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| wire::fits_xml(key));
        let mut failed = match self.delete_batch(&batch).await {
            Err(Error::Unsupported) => self.delete_each(&batch).await,
            other => other?,
        };
        failed.extend(self.delete_each(&odd).await);
        Ok(failed)
    }

    async fn delete_batch(&self, keys: &[&Key]) -> Result<Vec<(Key, Error)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let ids = keys.iter().map(|key| ObjectIdentifier::builder().key(key.as_str()).build());
        let ids = ids.collect::<Result<Vec<_>, _>>().map_err(Error::unavailable)?;
        let delete = Delete::builder().set_objects(Some(ids)).quiet(true).build().map_err(Error::unavailable)?;
        let sent = self
            .call("DeleteObjects", Pace::Slow, || {
                let request = self.client().delete_objects().bucket(&*self.bucket).delete(delete.clone());
                request.set_request_payer(self.payer()).customize().mutate_request(add_content_md5).send()
            })
            .await;
        let failed = sent.map_err(classify)?.errors.unwrap_or_default().into_iter();
        let failed = failed.filter(|failed| failed.code() != Some("NoSuchKey"));
        let named =
            failed.map(|failed| (Key::new(failed.key().unwrap_or_default()), refused(failed.code(), failed.message())));
        Ok(named.collect())
    }

    /// For servers without batch deletes, and for keys that a batch cannot name.
    async fn delete_each(&self, keys: &[&Key]) -> Vec<(Key, Error)> {
        let mut failed = Vec::new();
        for key in keys {
            if let Err(err) = self.delete_object(key, &Require::Anything).await {
                failed.push((Key::clone(key), err));
            }
        }
        failed
    }

    /// Refuses a condition that the server is known not to honour: without it another's bytes could be lost.
    pub(super) fn admit(&self, require: &Require, of: impl Fn(&Conditional) -> (Support, Support)) -> Result<()> {
        let (absent, version) = of(&self.conditions());
        let support = match require {
            Require::Anything => return Ok(()),
            Require::Absent => absent,
            Require::Version(_) => version,
        };
        if support.fails() { Err(Error::Unsupported) } else { Ok(()) }
    }

    pub(super) fn if_match(&self, require: &Require) -> Option<String> {
        let Require::Version(etag) = require else { return None };
        let unquoted = self.conditions().version == Support::Unquoted;
        Some(if unquoted { etag.unquoted() } else { etag.as_str() }.to_owned())
    }

    /// The version that a write made, asking for its ETag if the answer had none.
    pub(super) async fn stored(&self, key: &Key, etag: Option<String>, size: u64) -> Result<Stored> {
        if let Some(etag) = etag.filter(|etag| !etag.is_empty()) {
            return Ok(Version { etag: ETag::new(&etag), modified: None, size });
        }
        let (object, _) = self.head_object(key).await?;
        if object.version.size == size { Ok(object.version) } else { Err(Error::Stale) }
    }

    /// Decides what a refused write means. One that was repeated after its answer was lost is refused because of
    /// itself; its name on the object tells.
    pub(super) async fn settle(
        &self,
        key: &Key,
        fault: Fault,
        require: &Require,
        operation: Option<&str>,
    ) -> Result<Stored> {
        let verdict = match classify(fault) {
            Error::Stale if *require == Require::Absent => Error::Exists,
            err => err,
        };
        let (Error::Exists | Error::Stale | Error::NotFound, Some(operation)) = (&verdict, operation) else {
            return Err(verdict);
        };
        match self.head_object(key).await {
            Ok((object, Some(found))) if found == operation => Ok(object.version),
            Ok(_) | Err(Error::NotFound) => Err(verdict),
            Err(err) => Err(err),
        }
    }

    /// As [`Self::settle`], where either the source or the target may have been the reason.
    async fn settle_copy(&self, to: &Key, fault: Fault, copy: &Copy, operation: Option<&str>) -> Result<Stored> {
        if copy.require != Require::Absent {
            return self.settle(to, fault, &copy.require, operation).await;
        }
        match self.head_object(to).await {
            Ok((object, found)) if operation.is_some() && found.as_deref() == operation => Ok(object.version),
            Ok(_) => Err(Error::Exists),
            Err(Error::NotFound) => Err(Error::Stale),
            Err(err) => Err(err),
        }
    }
}

pub(super) fn if_none_match(require: &Require) -> Option<String> {
    (*require == Require::Absent).then(|| "*".to_owned())
}

/// The SDK sends a CRC instead, which some servers do not take for this request.
pub(super) fn add_content_md5(request: &mut HttpRequest) {
    if let Some(md5) = request.body().bytes().map(wire::content_md5) {
        set_header(request, "content-md5", &md5);
    }
}

/// Why one key of a batch was not deleted.
fn refused(code: Option<&str>, message: Option<&str>) -> Error {
    match code {
        Some("AccessDenied") => Error::Denied,
        _ => Error::unavailable(format!("{}: {}", code.unwrap_or("no code"), message.unwrap_or("no message"))),
    }
}
