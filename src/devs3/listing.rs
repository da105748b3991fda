//! `ListObjects`, both versions. `encoding-type=url` is what makes control characters in keys possible.

use originfs::store::{Entry, List, PAGE_MAX, Page};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
        Object, ObjectStorageClass,
    },
    s3_error,
};

use crate::{
    faults::Lie,
    gate,
    space::Space,
    wire::{self, no_key},
};

/// What stays as it is in a URL-encoded key.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How keys are written in an answer.
#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(crate) fn of(asked: Option<&EncodingType>) -> Self {
        if asked.is_some_and(|asked| asked.as_str() == EncodingType::URL) { Self::Url } else { Self::Plain }
    }

    pub(crate) fn text(self, key: &str) -> String {
        match self {
            Self::Plain => key.to_owned(),
            Self::Url => utf8_percent_encode(key, PLAIN).to_string(),
        }
    }
}

/// Whether to group. Only `/` is known.
pub(crate) fn delimiter(asked: Option<&str>) -> S3Result<bool> {
    match asked {
        None | Some("") => Ok(false),
        Some("/") => Ok(true),
        Some(other) => Err(s3_error!(NotImplemented, "the delimiter {other:?}")),
    }
}

/// How many entries at most, up to [`PAGE_MAX`].
pub(crate) fn limit(asked: Option<i32>) -> S3Result<u16> {
    let asked = asked.unwrap_or_else(|| i32::from(PAGE_MAX));
    let asked = u32::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "a negative limit"))?;
    Ok(u16::try_from(asked).map_or(PAGE_MAX, |asked| asked.min(PAGE_MAX)))
}

fn object(entry: &Entry, class: Option<&String>, encoding: Encoding) -> Object {
    let class = class.map_or(ObjectStorageClass::STANDARD, String::as_str);
    Object {
        key: Some(encoding.text(entry.key.as_str())),
        e_tag: Some(wire::etag(&entry.version.etag)),
        last_modified: entry.version.modified.map(wire::time),
        size: i64::try_from(entry.version.size).ok(),
        storage_class: Some(ObjectStorageClass::from(class.to_owned())),
        ..Object::default()
    }
}

pub(crate) fn v2(space: &Space, req: &S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = &req.input;
    let list = List {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter(input.delimiter.as_deref())?,
        after: input.start_after.clone(),
        token: input.continuation_token.clone(),
        max: limit(input.max_keys)?,
    };
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let (page, mut contents) = list_page(space, &list, encoding, gate::lie(req))?;
    if input.fetch_owner == Some(true) {
        own(&mut contents);
    }
    let output = ListObjectsV2Output {
        name: Some(input.bucket.clone()),
        prefix: Some(encoding.text(&list.prefix)),
        delimiter: input.delimiter.clone(),
        start_after: input.start_after.as_deref().map(|after| encoding.text(after)),
        continuation_token: input.continuation_token.clone(),
        encoding_type: input.encoding_type.clone(),
        max_keys: Some(i32::from(list.max)),
        key_count: i32::try_from(page.entries.len() + page.prefixes.len()).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.clone(),
        contents: Some(contents),
        common_prefixes: Some(prefixes(&page, encoding)),
        ..ListObjectsV2Output::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) fn v1(space: &Space, req: &S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = &req.input;
    let list = List {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter(input.delimiter.as_deref())?,
        after: input.marker.clone().filter(|marker| !marker.is_empty()),
        token: None,
        max: limit(input.max_keys)?,
    };
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let (page, mut contents) = list_page(space, &list, encoding, gate::lie(req))?;
    own(&mut contents);
    let last_key = page.entries.last().map(|entry| &entry.key);
    let end = last_key.max(page.prefixes.last()).filter(|_| page.next.is_some());
    let output = ListObjectsOutput {
        name: Some(input.bucket.clone()),
        prefix: Some(encoding.text(&list.prefix)),
        delimiter: input.delimiter.clone(),
        marker: Some(encoding.text(input.marker.as_deref().unwrap_or_default())),
        encoding_type: input.encoding_type.clone(),
        max_keys: Some(i32::from(list.max)),
        is_truncated: Some(page.next.is_some()),
        next_marker: end.map(|end| encoding.text(end.as_str())),
        contents: Some(contents),
        common_prefixes: Some(prefixes(&page, encoding)),
        ..ListObjectsOutput::default()
    };
    Ok(S3Response::new(output))
}

/// One page, with its entries as S3 tells them.
fn list_page(space: &Space, list: &List, encoding: Encoding, lie: Option<Lie>) -> S3Result<(Page, Vec<Object>)> {
    // "Nothing at all" is a page on S3, and no value of ours.
    if list.max == 0 {
        return Ok((Page::default(), Vec::new()));
    }
    let now = space.lock();
    let before = (lie == Some(Lie::Stale)).then(|| space.former.all(&now));
    let bucket = before.as_ref().unwrap_or(&now);
    let page = bucket.list(list).map_err(no_key)?;
    let class = |entry: &Entry| bucket.get(entry.key.as_str()).ok()?.object.headers.storage_class.as_ref();
    let contents = page.entries.iter().map(|entry| object(entry, class(entry), encoding)).collect();
    Ok((page, contents))
}

/// Everything is ours.
fn own(contents: &mut [Object]) {
    for object in contents {
        object.owner = Some(wire::owner());
    }
}

fn prefixes(page: &Page, encoding: Encoding) -> Vec<CommonPrefix> {
    page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.text(prefix.as_str())) }).collect()
}
