//! The [`Store`] of a real bucket, over the AWS SDK. Nothing of the SDK is visible outside.
//!
//! `call` retries within the deadline, `fault` says what errors mean, `keyring` holds the credentials, `read` and
//! `write` are the operations, `check` tells at mount why a bucket cannot be used, `clock` what time the server has.

mod acl;
mod call;
mod check;
mod client;
mod clock;
mod create;
mod fault;
mod keyring;
mod lifecycle;
mod multipart;
pub mod presign;
mod read;
mod stream;
mod sums;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use self::client::public_url;

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::RequestPayer,
};
use bytes::Bytes;
use lru::LruCache;

use self::{
    call::{Limits, Pace},
    client::Connection,
    fault::Fault,
};
pub use self::{check::CheckError, create::Creation, lifecycle::Lifecycle};
use super::{
    Copy, Get, Got, Headers, List, Object, Page, Part, Require, Store, Stored, Upload,
    operation::{OPERATION, operation_id},
    probe::Conditional,
};
use crate::{
    config::S3Options,
    error::{Error, Result},
    model::{key::Key, version::ETag},
};

/// Uploads whose name we remember, at about 200 bytes each; more are not open at once.
const UPLOADS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// A bucket. Clones share everything.
#[derive(Clone, Debug)]
pub struct S3Store {
    connection: Connection,
    bucket: Arc<str>,
    options: Arc<S3Options>,
    limits: Limits,
    conditions: Arc<Mutex<Conditional>>,
    /// The server turned out to take no ACL.
    no_acl: Arc<AtomicBool>,
    /// The server verifies a CRC-32 (`checksum=auto`).
    crc_works: Arc<AtomicBool>,
    /// By upload id.
    uploads: Arc<Mutex<LruCache<String, Begun>>>,
}

/// How an upload was begun.
#[derive(Clone, Debug)]
struct Begun {
    /// The value of [`OPERATION`].
    operation: String,
    /// It is one of parts that have a CRC-32 each.
    crc32: bool,
}

impl S3Store {
    /// Sends nothing yet; [`S3Store::check`] does. Fails with [`Error::Unavailable`] if the endpoint makes no sense.
    pub async fn connect(bucket: &str, options: &S3Options) -> Result<Self> {
        Ok(Self {
            connection: client::connect(bucket, options).await?,
            bucket: Arc::from(bucket),
            options: Arc::new(options.clone()),
            limits: Limits { attempts: options.retries.max(1), timeout: options.timeout },
            conditions: Arc::default(),
            no_acl: Arc::default(),
            crc_works: Arc::default(),
            uploads: Arc::new(Mutex::new(LruCache::new(UPLOADS))),
        })
    }

    /// What [`super::probe::probe`] found. From now on a write with a condition that is known not to work fails with
    /// [`Error::Unsupported`] instead of being done without it, and an `ETag` goes in the form that the server takes.
    pub fn set_conditions(&self, found: Conditional) {
        *self.conditions() = found;
    }

    /// A fresh token for [`super::probe::probe`].
    pub fn token() -> String {
        operation_id()
    }

    /// The name of a write: the caller's, or one of its own where there is a condition. A write whose answer was lost,
    /// and that is refused when it is tried again, finds its own name at the key and knows that it won.
    fn operation(headers: &Headers, require: &Require) -> Option<String> {
        let named = headers.user.get(OPERATION).cloned();
        named.or_else(|| (*require != Require::Anything).then(operation_id))
    }

    fn conditions(&self) -> MutexGuard<'_, Conditional> {
        self.conditions.lock().expect("nothing panics while it is held")
    }

    fn uploads(&self) -> MutexGuard<'_, LruCache<String, Begun>> {
        self.uploads.lock().expect("nothing panics while it is held")
    }

    fn client(&self) -> &Client {
        &self.connection.client
    }

    fn payer(&self) -> Option<RequestPayer> {
        self.options.requester_pays.then_some(RequestPayer::Requester)
    }

    async fn call<T, E, F>(&self, what: &'static str, pace: Pace, send: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.limits.call(&self.connection.keys, what, pace, send).await
    }
}

impl Store for S3Store {
    async fn head(&self, key: &Key) -> Result<Object> {
        self.head_object(key).await.map(|(object, _)| object)
    }

    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        self.get_object(key, get).await
    }

    async fn list(&self, list: List) -> Result<Page> {
        self.list_objects(list).await
    }

    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        self.put_object(key, body, headers, &require).await
    }

    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        self.copy_object(from, to, copy).await
    }

    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        self.delete_object(key, &require).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        self.delete_objects(keys).await
    }

    async fn begin(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        self.create_upload(key, headers).await
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        self.upload_part(upload, number, body).await
    }

    async fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> Result<Part> {
        self.upload_part_copy(upload, number, from, range, source).await
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        self.complete_upload(upload, parts, &require).await
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.abort_upload(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        self.list_uploads(prefix).await
    }
}
