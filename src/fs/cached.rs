//! What of the bucket is in the cache of this host: shown, checked, dropped.
//!
//! The cache knows contents by a hash of key and version, so the bucket is listed to tell whose they are. What it holds
//! of versions that the bucket has no more is reached by eviction alone.

use std::{fs::File, io::Read as _, time::Duration};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::{Fs, invalidate::found_at, types::NodeId};
use crate::{
    cache::Dropped,
    error::{Error, Result},
    model::{
        key::Key,
        selection::Selection,
        version::{ETag, Version},
    },
    store::{Get, Got, Store},
};

/// Bytes that are read at once for a checksum.
const CHUNK: usize = 1 << 20;

/// What is to be done with what is found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    List,
    Verify,
    Clear,
}

/// What was found, and what became of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cached {
    /// List: all. Clear: what is in use and stayed. Verify: what was broken and is dropped.
    pub entries: Vec<Entry>,
    /// List: in the cache. Clear: dropped. Verify: whose bytes have the sum that their ETag tells.
    pub files: u64,
    pub bytes: u64,
    /// Verify: whose ETag is no sum of their bytes (parts, or encryption with a key of the bucket), or that are not all
    /// here.
    pub unknown: u64,
}

/// A file that the cache has something of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// From the root of the mount.
    pub path: String,
    pub size: u64,
    /// Bytes that are here.
    pub here: u64,
    /// Seconds since 1970, to the hour; `None` if that is not known.
    pub used: Option<i64>,
    /// Somebody has it open.
    pub in_use: bool,
    /// Not in the bucket yet; nothing is ever done to it.
    pub dirty: bool,
}

impl<S: Store> Fs<S> {
    /// Does `act` with what the cache has of the files that `patterns` choose. Dirty files are listed and otherwise left
    /// alone. `wait`: how long the kernel may take to forget what was broken. Fails with `Invalid` for patterns that no
    /// path can match.
    pub async fn cached(&self, patterns: &[String], act: Act, wait: Duration) -> Result<Cached> {
        let selection = Selection::parse(patterns).ok_or(Error::Invalid)?;
        let mut cached = Cached::default();
        let mut dirs = vec![self.tree().key(NodeId::ROOT).ok_or(Error::Stale)?];
        while let Some(dir) = dirs.pop() {
            let listing = self.listing(&dir, None).await?;
            for (name, version) in &listing.names {
                let key = Key::new(&format!("{}{}", dir.marker(), name.as_str()));
                let path = self.path_of(&key);
                match version {
                    None if selection.reaches(&path) => dirs.push(key),
                    Some(version) if selection.covers(&path) => {
                        self.treat(&key, path, version, act, wait, &mut cached).await?;
                    }
                    _ => {}
                }
            }
        }
        if act == Act::List {
            cached.entries.extend(self.dirty_below(&selection));
        }
        Ok(cached)
    }

    /// Does `act` with what the cache has of one file.
    async fn treat(
        &self,
        key: &Key,
        path: String,
        version: &Version,
        act: Act,
        wait: Duration,
        cached: &mut Cached,
    ) -> Result<()> {
        let Some(held) = self.contents.held(key, version) else { return Ok(()) };
        let entry =
            Entry { path, size: version.size, here: held.bytes, used: held.used, in_use: held.in_use, dirty: false };
        match act {
            Act::List => {
                cached.files += 1;
                cached.bytes += entry.here;
                cached.entries.push(entry);
            }
            Act::Clear => match self.contents.drop_unused(key, version) {
                Dropped::Gone => {
                    cached.files += 1;
                    cached.bytes += entry.here;
                }
                Dropped::InUse => cached.entries.push(entry),
            },
            Act::Verify => match (held.file, sum_of(&version.etag)) {
                (Some(file), Some(sum)) => match self.is_sound(key, version, file, &sum).await {
                    Some(true) => {
                        cached.files += 1;
                        cached.bytes += entry.here;
                    }
                    Some(false) => {
                        self.distrust(key, version, wait).await?;
                        cached.entries.push(entry);
                    }
                    None => cached.unknown += 1,
                },
                _ => cached.unknown += 1,
            },
        }
        Ok(())
    }

    /// Whether the bytes are those of the object; `None` if its `ETag` is no sum of them. Where the two differ the bucket
    /// is asked for the bytes: with some kinds of encryption the `ETag` only looks like a sum. `None` also if it does not
    /// answer.
    async fn is_sound(&self, key: &Key, version: &Version, file: File, sum: &str) -> Option<bool> {
        let here = tokio::task::spawn_blocking(move || sum_of_file(file)).await.ok()?.ok();
        if here.as_deref() == Some(sum) {
            return Some(true);
        }
        match self.sum_in_bucket(key, version).await {
            Ok(there) if here.as_ref() == Some(&there) => None,
            Ok(_) | Err(Error::NotFound | Error::Stale) => Some(false),
            // Nobody can tell, and what is here may be all that there is to be had now.
            Err(_) if here.is_some() => None,
            Err(_) => Some(false),
        }
    }

    async fn sum_in_bucket(&self, key: &Key, version: &Version) -> Result<String> {
        let get = Get { if_match: Some(version.etag.clone()), ..Get::default() };
        let Got::Bytes(object, mut body) = self.store.get(key, get).await? else { return Err(Error::Stale) };
        if !object.version.same_content(version) {
            return Err(Error::Stale);
        }
        let mut sum = Md5::new();
        while let Some(chunk) = body.next().await {
            sum.update(&chunk?);
        }
        Ok(hex(&sum.finalize()))
    }

    /// The local bytes are not what they should be: whoever reads next gets them from the bucket. Those who have the file
    /// open read on from there as well, but for what the kernel reads by itself until they close it.
    async fn distrust(&self, key: &Key, version: &Version, wait: Duration) -> Result<()> {
        log::error!("cache: the bytes of {key} are not what they were; they are dropped");
        self.contents.distrust(key, version);
        {
            let mut tree = self.tree();
            if let Some(id) = found_at(&tree, key)
                && tree.get(id).is_some_and(|node| node.opens > 0 && !node.payload.is_local())
            {
                // The next open gets a node that no broken file is tied to.
                self.orphan(&mut tree, id, key);
                self.announce(super::types::Invalidation::Pages(id));
            }
        }
        self.invalidate(key, wait).await.map(drop)
    }

    fn dirty_below(&self, selection: &Selection) -> Vec<Entry> {
        let dirty: Vec<(Key, u64)> = {
            let tree = self.tree();
            let dirty = tree.iter().filter(|(_, node)| node.payload.is_dirty());
            dirty.filter_map(|(id, node)| Some((tree.key(id)?, node.payload.known.attr.size))).collect()
        };
        let entry =
            |(key, size)| Entry { path: self.path_of(&key), size, here: size, used: None, in_use: true, dirty: true };
        dirty.into_iter().map(entry).filter(|entry| selection.covers(&entry.path)).collect()
    }
}

/// The MD5 sum that an `ETag` may be, in lower case.
fn sum_of(etag: &ETag) -> Option<String> {
    let text = etag.unquoted();
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

fn sum_of_file(mut file: File) -> std::io::Result<String> {
    let (mut sum, mut chunk) = (Md5::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&sum.finalize())),
            len => sum.update(&chunk[..len]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
