//! `checksum=`: what a server verifies the bytes of an upload with, and whether it does.
//!
//! MD5 is what every vendor checks, and costs a processor more than all the rest of a large upload. A CRC costs a tenth
//! of it. But a server that does not know the header takes broken bytes with it, so `auto` means a CRC only where the
//! bucket was seen to refuse a wrong one, in a PUT and in a part, and to join parts that have one, copied parts too. See
//! "Checking object integrity" in the S3 documentation: an upload that names its algorithm tells the sum of each part again
//! when it is completed.

use std::sync::atomic::Ordering;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::time::timeout;

use super::{S3Store, call::Pace, fault::Cause, wire};
use crate::{
    config::Checksum,
    error::Result,
    model::key::{CONTROL, Key},
    store::{Headers, Require, Store, Upload},
};

/// Of the objects that are tried.
const BODY: Bytes = Bytes::from_static(b"originfs");
/// The sum of other bytes.
const OTHER: &[u8] = b"orIginfs";

/// The sum that goes along with a body. It is part of what is signed, so the body is not hashed a second time for the
/// signature.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Sum {
    /// `Content-MD5`.
    pub(super) md5: Option<String>,
    /// `x-amz-checksum-crc32`.
    pub(super) crc32: Option<String>,
}

impl Sum {
    fn of(checksum: Checksum, body: &[u8]) -> Self {
        match checksum {
            Checksum::Md5 => Self { md5: Some(wire::content_md5(body)), crc32: None },
            Checksum::Crc32 => Self { md5: None, crc32: Some(crc32(body)) },
            Checksum::Auto | Checksum::None => Self::default(),
        }
    }

    /// The signature covers a sum of the body.
    pub(super) fn is_some(&self) -> bool {
        self.md5.is_some() || self.crc32.is_some()
    }
}

/// In network order, in base64, as S3 wants it.
fn crc32(body: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(body).to_be_bytes())
}

impl S3Store {
    /// What `checksum=` means for this bucket, as far as is known.
    pub(super) fn checksum(&self) -> Checksum {
        match self.options.checksum {
            Checksum::Auto if self.crc_works.load(Ordering::Relaxed) => Checksum::Crc32,
            Checksum::Auto => Checksum::Md5,
            chosen => chosen,
        }
    }

    pub(super) fn sum(&self, body: &[u8]) -> Sum {
        Sum::of(self.checksum(), body)
    }

    /// The same for a part: an upload that was begun with a CRC goes on with it, and no other takes one.
    pub(super) fn sum_of_part(&self, upload: &Upload, body: &[u8]) -> Sum {
        let declared = self.uploads().get(&upload.id).map(|begun| begun.crc32);
        let checksum = match (declared, self.checksum()) {
            (Some(true), _) => Checksum::Crc32,
            // Of an upload of another life of this process nobody knows; the server refuses a CRC that it does not expect.
            (_, Checksum::Crc32) => Checksum::Md5,
            (_, checksum) => checksum,
        };
        Sum::of(checksum, body)
    }

    /// With `checksum=auto`, finds out whether the server verifies a CRC-32; before that it is MD5. About ten requests below
    /// `{prefix}.originfs/`, on keys with `token`, which are deleted again. Nothing here fails: what does not answer as it
    /// should is MD5. Whether it does.
    pub async fn probe_sums(&self, prefix: &str, token: &str) -> bool {
        if self.options.checksum != Checksum::Auto {
            return self.checksum() == Checksum::Crc32;
        }
        let key = |kind: &str| Key::new(&format!("{prefix}{CONTROL}/sum-{token}{kind}"));
        let (key, parts, copied) = (key(""), key("-p"), key("-c"));
        let works = if self.verifies(&key).await {
            let (parts, copied) = tokio::join!(self.joins(&parts, None), self.joins(&copied, Some(&key)));
            parts && copied
        } else {
            false
        };
        if let Err(err) = self.delete_many(&[key, parts, copied]).await {
            log::debug!("the keys of a probe could not be deleted: {err}");
        }
        self.crc_works.store(works, Ordering::Relaxed);
        log::info!("checksum=auto: {}", if works { "crc32, which the server verifies" } else { "md5" });
        works
    }

    /// A PUT with a wrong sum is refused, and one with the right sum taken.
    async fn verifies(&self, key: &Key) -> bool {
        let put = self.client().put_object().bucket(&*self.bucket).key(key.as_str()).body(ByteStream::from(BODY));
        let wrong =
            put.checksum_crc32(crc32(OTHER)).set_request_payer(self.payer()).customize().disable_payload_signing();
        if !self.refuses(wrong.send()).await {
            return false;
        }
        let right = Sum::of(Checksum::Crc32, &BODY);
        self.put_summed(key, BODY, &Headers::default(), &Require::Anything, &right).await.is_ok()
    }

    /// An upload of one part, sent or copied, can be completed. One that is sent with a wrong sum is refused.
    async fn joins(&self, key: &Key, source: Option<&Key>) -> bool {
        let Ok(upload) = self.begin_summed(key, &Headers::default(), true).await else { return false };
        let joined = async {
            let part = if let Some(source) = source {
                let object = self.head(source).await.ok()?;
                self.part_copy(&upload, 1, source, 0..BODY.len() as u64, &object.version.etag).await.ok()?
            } else {
                let part = self.client().upload_part().bucket(&*self.bucket).key(key.as_str());
                let part = part.upload_id(&upload.id).part_number(1).body(ByteStream::from(BODY));
                let wrong = part.checksum_crc32(crc32(OTHER)).set_request_payer(self.payer());
                if !self.refuses(wrong.customize().disable_payload_signing().send()).await {
                    return None;
                }
                self.part(&upload, 1, BODY).await.ok()?
            };
            self.complete(&upload, &[part], Require::Anything).await.ok()
        };
        let joined = joined.await.is_some();
        if !joined && let Err(err) = self.abort(&upload).await {
            log::debug!("the upload of a probe could not be aborted: {err}");
        }
        joined
    }

    /// Sends once: what is to be refused is not a fault that another attempt mends.
    async fn refuses<T, E>(&self, sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> bool
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let time = self.limits.attempt(Pace::Quick);
        match timeout(time, Box::pin(sent)).await {
            Ok(Err(err)) => matches!(Cause::of(&err).status(), 400),
            Ok(Ok(_)) | Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_as_the_documentation_has_them() {
        // The check value of CRC-32/ISO-HDLC is cbf43926.
        assert_eq!(crc32(b"123456789"), "y/Q5Jg==");
        assert_eq!(Sum::of(Checksum::Md5, b"").md5.as_deref(), Some("1B2M2Y8AsgTpgAmY7PhCfg=="));
        assert!(!Sum::of(Checksum::None, b"x").is_some());
    }
}
