//! The bucket, as the rest of the program sees it: one small trait that mirrors the S3 API and fakes no disk.
//!
//! Every implementation is held to [`conformance`]. Keys are whole object keys; the mount's prefix is the caller's
//! business. All calls are retried inside the implementation as far as its deadline allows, so an error is final.
//! Every error means what [`Error`] says: only a 404 is [`Error::NotFound`].
//!
//! [`conformance`]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html

pub mod acl;
pub mod bucket;
#[cfg(any(test, feature = "dev-s3"))]
pub mod conformance;
pub mod faulty;
pub mod memory;
pub mod metadata;
pub mod op;
pub mod operation;
pub mod probe;
pub mod s3;
pub mod watched;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
};

/// The most keys of one LIST page and of one batch delete (S3 API).
pub const PAGE_MAX: u16 = 1000;
/// The most parts of a multipart upload (S3 API, "Multipart upload limits").
pub const PARTS_MAX: u32 = 10_000;
/// The largest single PUT or COPY, in bytes (S3 API).
pub const SINGLE_MAX: u64 = 5 << 30;
/// The smallest part but the last, in bytes (S3 API).
pub const PART_MIN: u64 = 5 << 20;

/// What an object carries beside its bytes. What we did not set we keep: see `PROMISE 6` in docs/SEMANTICS.md.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Headers {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    /// As the server sent it (an HTTP date).
    pub expires: Option<String>,
    /// `x-amz-storage-class`, as HEAD shows it; `None` for STANDARD.
    pub storage_class: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub redirect: Option<String>,
    /// `x-amz-meta-*`, names in lower case without the prefix.
    pub user: BTreeMap<String, String>,
}

/// The answer of HEAD, and the head of a GET.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// `size` is that of the whole object, also in the answer to a ranged GET.
    pub version: Version,
    /// Without the name of the write.
    pub headers: Headers,
    /// The name of the write that made it, if it had one (see [`operation`]).
    pub operation: Option<String>,
}

/// One line of a listing. A listing tells no metadata.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub key: Key,
    pub version: Version,
}

/// What to list (ListObjectsV2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List {
    pub prefix: String,
    /// Group keys at the next `/` after the prefix.
    pub delimiter: bool,
    /// Only keys after this one (`start-after`); ignored when there is a token.
    pub after: Option<String>,
    /// [`Page::next`] of the page before.
    pub token: Option<String>,
    /// 1..=[`PAGE_MAX`]; 0 means [`PAGE_MAX`].
    pub max: u16,
}

/// One page of a listing, in the order of the server (UTF-8 byte order on S3; per directory on SeaweedFS).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Common prefixes; each ends in `/`.
    pub prefixes: Vec<Key>,
    /// Present if there is more.
    pub next: Option<String>,
}

/// What to read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Get {
    /// Bytes; `None` is the whole object. Reaching beyond the end gives what there is; starting there is
    /// [`Error::NoPosition`] (416).
    pub range: Option<Range<u64>>,
    /// Fails with [`Error::Stale`] if the object has another ETag.
    pub if_match: Option<ETag>,
    /// Answers [`Got::Same`] if the object has this ETag.
    pub if_none_match: Option<ETag>,
}

/// The answer of GET.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
#[derive(Debug)]
pub enum Got {
    /// The object (all of it, or the range that was asked for).
    Bytes(Object, Body),
    /// 304: the ETag is the one given. `modified` is the Last-Modified of the answer in seconds, if it had one.
    Same { modified: Option<i64> },
}

/// The condition of a write (RFC 9110 section 13.1; S3 API "conditional writes").
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Require {
    #[default]
    Anything,
    /// `If-None-Match: *`. Fails with [`Error::Exists`].
    Absent,
    /// `If-Match`. Fails with [`Error::Stale`], or [`Error::NotFound`] if the key is gone.
    Version(ETag),
}

/// The answer of a write. `modified` of the version is `None`: S3 does not tell it.
pub type Stored = Version;

/// A server-side copy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Copy {
    /// REPLACE: the target gets exactly these, nothing is taken over from the source. `None` is the COPY directive: it
    /// gets what the source has.
    pub headers: Option<Headers>,
    /// Bytes of the source, if the caller knows: the answer of S3 does not tell, and without it costs a HEAD.
    pub size: Option<u64>,
    /// `x-amz-copy-source-if-match`. Fails with [`Error::Stale`]. Some servers ignore it.
    pub source: Option<ETag>,
    pub require: Require,
}

/// A multipart upload that was begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    pub key: Key,
    pub id: String,
}

/// A part that the server has. Numbers are 1..=[`PARTS_MAX`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    pub number: u32,
    pub etag: ETag,
    /// Bytes.
    pub size: u64,
    /// What the server verified it with, or made of it, if the upload has such sums: its completion names them again.
    pub crc32: Option<String>,
}

/// An S3-compatible bucket. Names follow the S3 API.
pub trait Store: Send + Sync + 'static {
    /// HEAD of an object.
    fn head(&self, key: &Key) -> impl Future<Output = Result<Object>> + Send;

    /// GET of an object, or a range of it, as a stream.
    fn get(&self, key: &Key, get: Get) -> impl Future<Output = Result<Got>> + Send;

    /// One page of ListObjectsV2.
    fn list(&self, list: List) -> impl Future<Output = Result<Page>> + Send;

    /// PUT of a whole object. Success means that the server has all bytes and checked them.
    fn put(
        &self,
        key: &Key,
        body: Bytes,
        headers: &Headers,
        require: Require,
    ) -> impl Future<Output = Result<Stored>> + Send;

    /// CopyObject with REPLACE, up to [`SINGLE_MAX`].
    fn copy(&self, from: &Key, to: &Key, copy: Copy) -> impl Future<Output = Result<Stored>> + Send;

    /// DeleteObject. A missing key is success, unless a version was required.
    fn delete(&self, key: &Key, require: Require) -> impl Future<Output = Result<()>> + Send;

    /// DeleteObjects, up to [`PAGE_MAX`] keys. Gives the keys that failed; missing keys are not failures.
    fn delete_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<(Key, Error)>>> + Send;

    /// CreateMultipartUpload.
    fn begin(&self, key: &Key, headers: &Headers) -> impl Future<Output = Result<Upload>> + Send;

    /// UploadPart.
    fn part(&self, upload: &Upload, number: u32, body: Bytes) -> impl Future<Output = Result<Part>> + Send;

    /// UploadPartCopy of `range` of `from`, which must be at `source` (some servers ignore that).
    fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: Range<u64>,
        source: &ETag,
    ) -> impl Future<Output = Result<Part>> + Send;

    /// CompleteMultipartUpload. `parts` in order of their numbers.
    fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        require: Require,
    ) -> impl Future<Output = Result<Stored>> + Send;

    /// AbortMultipartUpload. An unknown upload is success.
    fn abort(&self, upload: &Upload) -> impl Future<Output = Result<()>> + Send;

    /// Uploads below `prefix` that were begun and not ended, at most [`PAGE_MAX`] of them (ListMultipartUploads).
    fn uploads(&self, prefix: &str) -> impl Future<Output = Result<Vec<Upload>>> + Send;
}

/// Where the chunks of a [`Body`] come from.
pub trait Chunks: Send {
    fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>>;
}

/// The bytes of a GET, in order. A body that ends before its length is an error, never a short read.
pub struct Body {
    chunks: Pin<Box<dyn Chunks>>,
    left: u64,
}

impl Body {
    /// A body of exactly `len` bytes.
    pub fn new(chunks: impl Chunks + 'static, len: u64) -> Self {
        Self { chunks: Box::pin(chunks), left: len }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next chunk; `None` after the last byte.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Self::next`], for bodies that wrap one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.chunks.as_mut().poll_chunk(cx).map(|chunk| match chunk {
            Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(chunk))
                }
                None => Some(Err(Error::unavailable("the body is longer than its length"))),
            },
            Some(Err(err)) => Some(Err(err)),
            None => Some(Err(Error::unavailable(format!("the body ended {} bytes early", self.left)))),
        })
    }

    /// All of it, in memory: for small bodies only.
    pub async fn collect(mut self) -> Result<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(self.left).map_err(|_| Error::TooLarge)?);
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A body that is in memory already.
impl Chunks for Option<Bytes> {
    fn poll_chunk(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        Poll::Ready(self.take().map(Ok))
    }
}
