//! The cache over a bucket in memory and a real directory.

mod directory;
mod open;
mod random;
mod reading;
mod room;
mod shelf;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc};

use super::*;
use crate::{
    error::Result,
    patience::eventually,
    store::{Chunks, Headers, faulty::Faulty, memory::MemoryStore, op::Op},
};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
/// Nothing here takes as long, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("originfs-cache-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Bytes and number of the files below `name`.
    fn files(&self, name: &str) -> (u64, usize) {
        fn walk(dir: &Path, sum: &mut (u64, usize)) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => walk(&entry.path(), sum),
                    Ok(meta) => *sum = (sum.0 + meta.len(), sum.1 + 1),
                    Err(_) => {}
                }
            }
        }
        let mut sum = (0, 0);
        walk(&self.0.join(name), &mut sum);
        sum
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

type Bucket = Faulty<MemoryStore>;
type Cache = Arc<Contents<Bucket>>;

struct World {
    cache: Cache,
    bucket: Arc<Bucket>,
    scratch: Scratch,
}

impl World {
    fn new() -> Self {
        Self::sized(1 << 40, 0)
    }

    fn sized(size: u64, min_free: u64) -> Self {
        let scratch = Scratch::new();
        let bucket = Arc::new(Faulty::new(MemoryStore::new()));
        let cache = open(&scratch, &bucket, size, min_free).unwrap();
        Self { cache, bucket, scratch }
    }

    /// Ends the cache as a crash of the process does, lets `between` happen, and starts again.
    async fn restart(self, between: impl FnOnce(&Path)) -> Self {
        let Self { cache, bucket, scratch } = self;
        drop(cache);
        // The scan may hold the lock for a moment.
        let mut last = None;
        eventually("the directory is free", || {
            let dir = Dir::open(&scratch.0);
            let done = dir.is_ok();
            last = dir.err();
            done
        })
        .await;
        assert!(last.is_none());
        between(&scratch.0);
        let cache = open(&scratch, &bucket, 1 << 40, 0).unwrap();
        Self { cache, bucket, scratch }
    }

    fn put(&self, key: &str, len: u64) -> (Key, Version, Bytes) {
        let bytes = pattern(key, len);
        let version = self.bucket.inner().put_foreign(key, bytes.clone(), Headers::default());
        (Key::new(key), version, bytes)
    }

    /// The content of a new object, and what it must be.
    fn object(&self, key: &str, len: u64) -> (Arc<Content>, Bytes) {
        let (key, version, bytes) = self.put(key, len);
        (self.cache.get(&key, &version), bytes)
    }

    /// GETs since the last time.
    fn gets(&self) -> usize {
        self.bucket.take_calls().iter().filter(|call| call.op == Op::Get).count()
    }

    async fn read(&self, content: &Arc<Content>, range: Range<u64>) -> Result<Bytes> {
        let ahead = Readahead::default();
        let read = self.cache.read(content, range, &ahead);
        Box::pin(tokio::time::timeout(DEADLINE, read)).await.expect("the read hangs")
    }

    /// Reads all and lets go.
    async fn read_object(&self, key: &Key, version: &Version) -> Bytes {
        let content = self.cache.get(key, version);
        self.read(&content, 0..version.size).await.unwrap()
    }
}

fn open(scratch: &Scratch, bucket: &Arc<Bucket>, size: u64, min_free: u64) -> Result<Cache, OpenError> {
    let options = CacheOptions { dir: scratch.0.clone(), size: Some(size), min_free: Some(min_free) };
    Contents::open(Arc::clone(bucket), &options, Handle::current())
}

/// Bytes that differ between keys, and at every offset from their neighbours a block or a page away.
fn pattern(key: &str, len: u64) -> Bytes {
    let seed = key.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let word = |at: u64| (at ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    let mut bytes = Vec::new();
    for at in 0..len.div_ceil(8) {
        bytes.extend_from_slice(&word(at));
    }
    bytes.truncate(usize::try_from(len).unwrap());
    bytes.into()
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
}

/// A body whose chunks a test sends one by one.
struct Fed(mpsc::Receiver<Result<Bytes>>);

impl Chunks for Fed {
    fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}
