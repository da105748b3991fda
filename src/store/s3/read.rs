//! HEAD, GET and the listings.

use std::{
    collections::HashMap,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime, DateTimeFormat},
    types::EncodingType,
};

use super::{
    OPERATION, S3Store,
    call::Pace,
    fault::{Cause, Fault, classify},
    stream::Stream,
    wire,
};
use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
    store::{Body, Entry, Get, Got, Headers, List, Object, PAGE_MAX, Page, Upload},
};

/// A key that is not UTF-8 was met and logged; once is enough.
static UNREADABLE_LOGGED: AtomicBool = AtomicBool::new(false);

impl S3Store {
    /// The object, and the name of the write that made it.
    pub(super) async fn head_object(&self, key: &Key) -> Result<(Object, Option<String>)> {
        let head = self
            .call("HeadObject", Pace::Quick, || {
                let request = self.client().head_object().bucket(&*self.bucket).key(key.as_str());
                request.set_request_payer(self.payer()).send()
            })
            .await
            .map_err(classify)?;
        object_of_head(head)
    }

    pub(super) async fn get_object(&self, key: &Key, get: Get) -> Result<Got> {
        if get.range.as_ref().is_some_and(Range::is_empty) {
            return Err(Error::Invalid);
        }
        let answer = match self.get_once(key, &get).await {
            Ok(answer) => answer,
            Err(Fault { cause: Cause::Answer(answer), .. }) if answer.status == 304 => {
                let modified =
                    answer.modified.and_then(|text| DateTime::from_str(&text, DateTimeFormat::HttpDate).ok());
                return Ok(Got::Same { modified: modified.map(|at| at.secs()) });
            }
            Err(fault) if fault.is_of_archive() => {
                return Err(Error::unavailable(format!("{key} is in an archive and must be restored first: {fault}")));
            }
            Err(fault) => return Err(classify(fault)),
        };
        let (range, size) = placed(&answer, get.range.as_ref())?;
        let (object, body) = object_of_get(answer, size)?;
        let len = range.end - range.start;
        let stream = Stream::new(self.clone(), key.clone(), object.version.etag.clone(), range, body);
        Ok(Got::Bytes(object, Body::new(stream, len)))
    }

    /// The rest of a body that broke off.
    pub(super) async fn reopen(&self, key: &Key, etag: &ETag, range: Range<u64>) -> Result<ByteStream> {
        let get = Get { range: Some(range.clone()), if_match: Some(etag.clone()), if_none_match: None };
        let answer = self.get_once(key, &get).await.map_err(classify)?;
        let (found, _) = placed(&answer, Some(&range))?;
        // Not every server minds If-Match.
        let same = answer.e_tag().is_some_and(|found| ETag::new(found).unquoted() == etag.unquoted());
        if same && found == range { Ok(answer.body) } else { Err(Error::Stale) }
    }

    async fn get_once(&self, key: &Key, get: &Get) -> Result<GetObjectOutput, Fault> {
        let range = get.range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        self.call("GetObject", Pace::Quick, || {
            let request = self.client().get_object().bucket(&*self.bucket).key(key.as_str());
            request
                .set_range(range.clone())
                .set_if_match(get.if_match.as_ref().map(|etag| etag.as_str().to_owned()))
                .set_if_none_match(get.if_none_match.as_ref().map(|etag| etag.as_str().to_owned()))
                .set_request_payer(self.payer())
                .send()
        })
        .await
    }

    pub(super) async fn list_objects(&self, list: List) -> Result<Page> {
        let max = i32::from(if list.max == 0 { PAGE_MAX } else { list.max.min(PAGE_MAX) });
        let answer = self
            .call("ListObjectsV2", Pace::Quick, || {
                let request = self.client().list_objects_v2().bucket(&*self.bucket).max_keys(max);
                request
                    .set_prefix((!list.prefix.is_empty()).then(|| list.prefix.clone()))
                    .set_delimiter(list.delimiter.then(|| "/".to_owned()))
                    .set_start_after(list.after.clone().filter(|_| list.token.is_none()))
                    .set_continuation_token(list.token.clone())
                    .encoding_type(EncodingType::Url)
                    .set_request_payer(self.payer())
                    .send()
            })
            .await
            .map_err(classify_listing)?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut page = Page {
            next: answer.next_continuation_token.filter(|_| answer.is_truncated != Some(false)),
            ..Page::default()
        };
        if answer.is_truncated == Some(true) && page.next.is_none() {
            return Err(Error::unavailable("ListObjectsV2: there is more, but no token to ask for it"));
        }
        for found in answer.contents.unwrap_or_default() {
            let Some(key) = found.key.and_then(|raw| decode(&raw, encoded)) else { continue };
            let size = found.size.and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or_else(|| Error::unavailable(format!("ListObjectsV2: {key} has no size")))?;
            let etag = ETag::new(found.e_tag.as_deref().unwrap_or_default());
            page.entries.push(Entry {
                key,
                version: Version { etag, modified: found.last_modified.map(|at| at.secs()), size },
            });
        }
        let prefixes = answer.common_prefixes.unwrap_or_default().into_iter();
        page.prefixes = prefixes.filter_map(|common| decode(&common.prefix?, encoded)).collect();
        Ok(page)
    }

    /// The cheapest request that needs the bucket, the credentials and the permission to list `prefix`.
    pub(super) async fn list_once(&self, prefix: &str) -> Result<(), Fault> {
        let list = || {
            let request = self.client().list_objects_v2().bucket(&*self.bucket).max_keys(1);
            request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned())).set_request_payer(self.payer()).send()
        };
        self.call("ListObjectsV2", Pace::Quick, list).await.map(drop)
    }

    /// Without `encoding-type=url`: SeaweedFS says that it encodes here, and does not.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        let answer = self
            .call("ListMultipartUploads", Pace::Quick, || {
                let request = self.client().list_multipart_uploads().bucket(&*self.bucket);
                request
                    .set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()))
                    .max_uploads(i32::from(PAGE_MAX))
                    .set_request_payer(self.payer())
                    .send()
            })
            .await
            .map_err(classify_listing)?;
        let uploads = answer.uploads.unwrap_or_default().into_iter();
        Ok(uploads.filter_map(|found| Some(Upload { key: Key::new(&found.key?), id: found.upload_id? })).collect())
    }
}

/// A listing is never absent: an empty prefix is an empty page, and a 404 is about the bucket or a wrong server.
fn classify_listing(fault: Fault) -> Error {
    if fault.cause.status() == 404 { Error::unavailable(fault) } else { classify(fault) }
}

fn decode(raw: &str, encoded: bool) -> Option<Key> {
    if !encoded {
        return Some(Key::new(raw));
    }
    let key = wire::decode_key(raw);
    if key.is_none() && !UNREADABLE_LOGGED.swap(true, Ordering::Relaxed) {
        log::warn!("the bucket has keys that are not UTF-8, for example {raw}: they are not shown");
    }
    key.map(|key| Key::new(&key))
}

/// Which bytes of the object an answer carries, and how many the object has. Fails unless they are those of `asked`.
fn placed(answer: &GetObjectOutput, asked: Option<&Range<u64>>) -> Result<(Range<u64>, u64)> {
    let wrong = |why: &str| Error::unavailable(format!("GetObject: {why}"));
    let len = answer.content_length.and_then(|len| u64::try_from(len).ok());
    let len = len.ok_or_else(|| wrong("no Content-Length"))?;
    let Some(range) = &answer.content_range else {
        // Either nothing was asked, or the server takes no ranges; then all of it must be what was asked for.
        let whole = asked.is_none_or(|asked| asked.start == 0 && len <= asked.end);
        return if whole { Ok((0..len, len)) } else { Err(wrong("the server ignored the range")) };
    };
    let (first, size) = wire::content_range(range).ok_or_else(|| wrong("a malformed Content-Range"))?;
    let expect = asked.map_or(0..size, |asked| asked.start..asked.end.min(size));
    let found = first..first.saturating_add(len);
    if found == expect { Ok((found, size)) } else { Err(wrong("another range than the one asked for")) }
}

fn version(what: &str, etag: Option<&str>, modified: Option<DateTime>, size: u64) -> Result<Version> {
    let etag = etag.filter(|etag| !etag.is_empty());
    let etag = etag.ok_or_else(|| Error::unavailable(format!("{what}: no ETag")))?;
    Ok(Version { etag: ETag::new(etag), modified: modified.map(|at| at.secs()), size })
}

/// HEAD and GET have different types with the same fields.
macro_rules! headers_of {
    ($answer:expr) => {
        Headers {
            content_type: $answer.content_type,
            cache_control: $answer.cache_control,
            content_disposition: $answer.content_disposition,
            content_encoding: $answer.content_encoding,
            content_language: $answer.content_language,
            expires: $answer.expires_string,
            storage_class: $answer
                .storage_class
                .map(|class| class.as_str().to_owned())
                .filter(|class| class != "STANDARD"),
            redirect: $answer.website_redirect_location,
            user: $answer.metadata.map(lower_case).unwrap_or_default(),
        }
    };
}

fn object_of_head(answer: HeadObjectOutput) -> Result<(Object, Option<String>)> {
    let size = answer.content_length.and_then(|len| u64::try_from(len).ok());
    let size = size.ok_or_else(|| Error::unavailable("HeadObject: no Content-Length"))?;
    let version = version("HeadObject", answer.e_tag(), answer.last_modified, size)?;
    let mut headers = headers_of!(answer);
    let operation = headers.user.remove(OPERATION);
    Ok((Object { version, headers, operation: operation.clone() }, operation))
}

fn object_of_get(answer: GetObjectOutput, size: u64) -> Result<(Object, ByteStream)> {
    let version = version("GetObject", answer.e_tag(), answer.last_modified, size)?;
    let body = answer.body;
    let mut headers = headers_of!(answer);
    let operation = headers.user.remove(OPERATION);
    Ok((Object { version, headers, operation }, body))
}

fn lower_case(user: HashMap<String, String>) -> std::collections::BTreeMap<String, String> {
    user.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}
