//! The state of one bucket, wherever its bytes are: what [`MemoryStore`](super::memory::MemoryStore) and the
//! development server share. No I/O, no clock, no lock; whoever holds it exclusively makes each call atomic.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use md5::{Digest, Md5};

use super::{Entry, Headers, List, Object, PAGE_MAX, PART_MIN, PARTS_MAX, Page, Part, Require, Upload};
use crate::{
    error::{Error, Result},
    model::{
        key::{KEY_MAX, Key},
        version::{ETag, Version},
    },
};

/// The most bytes of user metadata, names and values together (S3 API, "Working with object metadata").
pub const META_MAX: usize = 2048;

/// A run of bytes of an object: the whole of it, or one part.
#[derive(Clone, Debug)]
pub struct Segment<B> {
    /// Bytes.
    pub size: u64,
    pub bytes: B,
}

/// An object with its bytes.
#[derive(Clone, Debug)]
pub struct Record<B> {
    pub object: Object,
    /// In order; their sizes add up to that of the object.
    pub segments: Vec<Segment<B>>,
}

impl<B: Clone> Record<B> {
    /// The pieces that hold `range`: each segment with the range inside it. `range` must be inside the object.
    pub fn slices(&self, range: Range<u64>) -> Vec<(B, Range<u64>)> {
        let mut slices = Vec::new();
        let mut at = 0;
        for segment in &self.segments {
            let end = at + segment.size;
            if end > range.start && at < range.end {
                let inside = range.start.saturating_sub(at)..range.end.min(end) - at;
                slices.push((segment.bytes.clone(), inside));
            }
            at = end;
        }
        slices
    }
}

/// An upload that was begun.
#[derive(Clone, Debug)]
pub struct Pending<B> {
    pub key: Key,
    pub headers: Headers,
    pub parts: BTreeMap<u32, (Part, B)>,
}

/// Objects and uploads, keys in UTF-8 byte order.
#[derive(Debug)]
pub struct Bucket<B> {
    objects: BTreeMap<String, Record<B>>,
    uploads: BTreeMap<String, Pending<B>>,
    /// Bytes that every part but the last has at least.
    part_min: u64,
}

impl<B> Default for Bucket<B> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), uploads: BTreeMap::new(), part_min: PART_MIN }
    }
}

impl<B: Clone> Bucket<B> {
    /// Takes smaller parts than S3 does: for tests of many parts.
    pub fn set_part_min(&mut self, bytes: u64) {
        self.part_min = bytes;
    }

    pub fn get(&self, key: &str) -> Result<&Record<B>> {
        self.objects.get(key).ok_or(Error::NotFound)
    }

    pub fn objects(&self) -> &BTreeMap<String, Record<B>> {
        &self.objects
    }

    pub fn pending(&self) -> &BTreeMap<String, Pending<B>> {
        &self.uploads
    }

    /// Whether a write to `key` may happen.
    pub fn check(&self, key: &str, require: &Require) -> Result<()> {
        let found = self.objects.get(key);
        match (require, found) {
            (Require::Anything, _) | (Require::Absent, None) => Ok(()),
            (Require::Absent, Some(_)) => Err(Error::Exists),
            (Require::Version(_), None) => Err(Error::NotFound),
            (Require::Version(etag), Some(record)) if same(etag, &record.object.version.etag) => Ok(()),
            (Require::Version(_), Some(_)) => Err(Error::Stale),
        }
    }

    /// Replaces the object at `key`; gives the one before. Conditions are the caller's: see [`Self::check`].
    pub fn insert(&mut self, key: &Key, record: Record<B>) -> Option<Record<B>> {
        self.objects.insert(key.as_str().to_owned(), record)
    }

    pub fn remove(&mut self, key: &str) -> Option<Record<B>> {
        self.objects.remove(key)
    }

    /// ListObjectsV2. A start-after inside a common prefix skips all of it, as most servers do.
    pub fn list(&self, list: &List) -> Result<Page> {
        let max = usize::from(if list.max == 0 { PAGE_MAX } else { list.max.min(PAGE_MAX) });
        let group = |key: &str| -> Option<String> {
            let rest = key.strip_prefix(&list.prefix).filter(|_| list.delimiter)?;
            rest.find('/').map(|slash| key[..=list.prefix.len() + slash].to_owned())
        };
        let mut at = match (&list.token, &list.after) {
            (Some(token), _) => Cursor::from_token(token)?,
            (None, Some(after)) if *after >= list.prefix => match group(after) {
                Some(common) => Cursor::behind(&common),
                None => Cursor::After(after.clone()),
            },
            _ => Cursor::At(list.prefix.clone()),
        };
        let mut page = Page::default();
        while let Some((key, record)) = self.objects.range::<str, _>((at.bound(), Bound::Unbounded)).next() {
            if !key.starts_with(&list.prefix) {
                break;
            }
            if page.entries.len() + page.prefixes.len() == max {
                page.next = Some(at.token());
                break;
            }
            if let Some(common) = group(key) {
                at = Cursor::behind(&common);
                page.prefixes.push(Key::new(&common));
            } else {
                at = Cursor::After(key.clone());
                page.entries.push(Entry { key: Key::new(key), version: record.object.version.clone() });
            }
        }
        Ok(page)
    }

    pub fn begin(&mut self, upload: &Upload, headers: Headers) -> Result<()> {
        check_key(&upload.key)?;
        check_meta(&headers)?;
        let pending = Pending { key: upload.key.clone(), headers, parts: BTreeMap::new() };
        self.uploads.insert(upload.id.clone(), pending);
        Ok(())
    }

    /// The upload, if it was begun for that key and not ended.
    pub fn upload(&self, upload: &Upload) -> Result<&Pending<B>> {
        self.uploads.get(&upload.id).filter(|pending| pending.key == upload.key).ok_or(Error::NotFound)
    }

    /// Replaces a part; gives the bytes before.
    pub fn insert_part(&mut self, upload: &Upload, part: Part, bytes: B) -> Result<Option<B>> {
        if !(1..=PARTS_MAX).contains(&part.number) {
            return Err(Error::Invalid);
        }
        self.upload(upload)?;
        let pending = self.uploads.get_mut(&upload.id).expect("looked up above");
        Ok(pending.parts.insert(part.number, (part, bytes)).map(|(_, bytes)| bytes))
    }

    /// What the upload becomes if it is completed with these parts, numbers and ETags as the client gives them.
    pub fn assemble(&self, upload: &Upload, parts: &[(u32, ETag)], modified: i64) -> Result<Record<B>> {
        let pending = self.upload(upload)?;
        if parts.is_empty() || !parts.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Error::Invalid);
        }
        let (mut segments, mut chosen) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
        for (index, (number, etag)) in parts.iter().enumerate() {
            let (part, bytes) = pending.parts.get(number).ok_or(Error::Invalid)?;
            let too_small = part.size < self.part_min && index + 1 < parts.len();
            if too_small || !same(&part.etag, etag) {
                return Err(Error::Invalid);
            }
            chosen.push(part.clone());
            segments.push(Segment { size: part.size, bytes: bytes.clone() });
        }
        let etag = etag_of_parts(&chosen);
        let size = segments.iter().map(|segment| segment.size).sum();
        let version = Version { etag, modified: Some(modified), size };
        Ok(Record { object: Object { version, headers: pending.headers.clone(), operation: None }, segments })
    }

    /// Forgets an upload; gives the bytes of its parts.
    pub fn end(&mut self, upload: &Upload) -> Vec<B> {
        if self.upload(upload).is_err() {
            return Vec::new();
        }
        let pending = self.uploads.remove(&upload.id).expect("looked up above");
        pending.parts.into_values().map(|(_, bytes)| bytes).collect()
    }

    /// In order of keys, then ids.
    pub fn uploads(&self, prefix: &str) -> Vec<Upload> {
        let below = self.uploads.iter().filter(|(_, pending)| pending.key.as_str().starts_with(prefix));
        let mut found: Vec<_> =
            below.map(|(id, pending)| Upload { key: pending.key.clone(), id: id.clone() }).collect();
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        found
    }
}

/// Where a listing goes on.
enum Cursor {
    At(String),
    After(String),
}

impl Cursor {
    /// The first position behind everything that starts with `common`, which ends in `/` (0x2f).
    fn behind(common: &str) -> Self {
        let stem = common.strip_suffix('/').expect("a common prefix ends in a slash");
        Self::At(format!("{stem}0"))
    }

    fn bound(&self) -> Bound<&str> {
        match self {
            Self::At(key) => Bound::Included(key),
            Self::After(key) => Bound::Excluded(key),
        }
    }

    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(match self {
            Self::At(key) => format!("@{key}"),
            Self::After(key) => format!(">{key}"),
        })
    }

    fn from_token(token: &str) -> Result<Self> {
        let raw = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::Invalid)?;
        let text = String::from_utf8(raw).map_err(|_| Error::Invalid)?;
        match text.split_at_checked(1) {
            Some(("@", key)) => Ok(Self::At(key.to_owned())),
            Some((">", key)) => Ok(Self::After(key.to_owned())),
            _ => Err(Error::Invalid),
        }
    }
}

/// ETags match whether or not they are quoted: clients send both.
pub fn same(a: &ETag, b: &ETag) -> bool {
    a.unquoted() == b.unquoted()
}

/// The ETag of bytes that came in one request, from their MD5.
pub fn etag_of(md5: &[u8]) -> ETag {
    ETag::new(&format!("\"{}\"", hex(md5)))
}

/// The ETag that most servers give an object of parts: the sum of the parts' sums.
pub fn etag_of_parts(parts: &[Part]) -> ETag {
    let mut sums = Md5::new();
    for part in parts {
        sums.update(unhex(part.etag.unquoted()));
    }
    ETag::new(&format!("\"{}-{}\"", hex(&sums.finalize()), parts.len()))
}

/// Fails with [`Error::NameTooLong`] or, for the empty key, [`Error::Invalid`].
pub fn check_key(key: &Key) -> Result<()> {
    match key.as_str().len() {
        0 => Err(Error::Invalid),
        1..=KEY_MAX => Ok(()),
        _ => Err(Error::NameTooLong),
    }
}

/// Fails with [`Error::Invalid`] above [`META_MAX`].
pub fn check_meta(headers: &Headers) -> Result<()> {
    let bytes: usize = headers.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > META_MAX { Err(Error::Invalid) } else { Ok(()) }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Bytes of an ETag that [`etag_of`] made.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map_while(digit).collect()
}
