//! One bucket on disk.
//!
//! `data/` has the bytes in files that never change, `meta/` one JSON file per object named by the hash of its key,
//! `uploads/` one per upload that is under way. Replacing the JSON file (rename) is what makes a write happen; it is
//! done under the one lock of the bucket, together with the check of the condition, so every conditional write is
//! linearizable. Files in `data/` that no JSON file names are left from a crash and removed at the start.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use originfs::{
    clock,
    error::{Error, Result},
    model::{
        key::Key,
        version::{ETag, Version},
    },
    store::{
        Headers, Object, Part, Require, Upload,
        bucket::{Bucket, Record, Segment, check_key, check_meta, hex},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    acl::Acls,
    blob::{Blob, Slices, Writer},
    former::Former,
    lifecycle::Rules,
    manner::Manner,
};

#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    manner: Manner,
    state: Mutex<Bucket<Blob>>,
    /// Tells files of this run apart; [`Self::born`] tells runs apart.
    next: AtomicU64,
    born: String,
    pub(crate) former: Former,
    pub(crate) lifecycle: Mutex<Option<Rules>>,
    pub(crate) acls: Acls,
}

/// An object in `meta/`.
#[derive(Deserialize, Serialize)]
struct Saved {
    key: String,
    etag: String,
    modified: i64,
    headers: Headers,
    segments: Vec<(String, u64)>,
}

/// How the id of an upload ends whose parts have a CRC-32 each.
pub(crate) const SUMMED: &str = "-crc32";

/// An upload in `uploads/`.
#[derive(Deserialize, Serialize)]
struct SavedUpload {
    id: String,
    key: String,
    headers: Headers,
    parts: Vec<(u32, String, u64, String)>,
}

impl Space {
    /// Opens or creates the bucket in `dir`. While `remembers`, versions that are replaced are kept, one for each key.
    pub(crate) fn open(dir: PathBuf, manner: Manner, remembers: Arc<AtomicBool>) -> io::Result<Self> {
        for part in ["data", "meta", "uploads"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let mut bucket = Bucket::default();
        let mut used: HashSet<String> = HashSet::new();
        for saved in load::<Saved>(&dir.join("meta"))? {
            used.extend(saved.segments.iter().map(|(name, _)| name.clone()));
            bucket.insert(&Key::new(&saved.key), saved.into_record());
        }
        for saved in load::<SavedUpload>(&dir.join("uploads"))? {
            // A crash in the middle of a completion leaves an upload whose bytes belong to the object already.
            if saved.parts.iter().any(|(.., blob)| used.contains(blob)) {
                fs::remove_file(dir.join("uploads").join(format!("{}.json", saved.id)))?;
                continue;
            }
            used.extend(saved.parts.iter().map(|(.., blob)| blob.clone()));
            saved.restore(&mut bucket).map_err(io::Error::other)?;
        }
        for entry in fs::read_dir(dir.join("data"))? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| used.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        let now = clock::wall();
        let born = format!("{:x}.{:x}", now.sec, now.nsec);
        let former = Former::new(remembers);
        Ok(Self {
            dir,
            manner,
            state: Mutex::new(bucket),
            next: AtomicU64::new(1),
            born,
            former,
            lifecycle: Mutex::default(),
            acls: Acls::default(),
        })
    }

    pub(crate) fn manner(&self) -> Manner {
        self.manner
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bucket, for one atomic step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Bucket<Blob>> {
        self.state.lock().expect("a panic left the bucket half-changed")
    }

    /// A name that was never used in this bucket.
    fn fresh(&self) -> String {
        format!("{}-{:x}", self.born, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A new file for bytes.
    pub(crate) fn writer(&self) -> Result<Writer> {
        let name = self.fresh();
        let path = self.dir.join("data").join(&name);
        Ok(Writer::create(Arc::from(name), path)?)
    }

    /// Opens what holds `range` of an object. Under the lock, because an overwrite removes the files.
    pub(crate) fn slices(&self, record: &Record<Blob>, range: Range<u64>) -> Result<Slices> {
        let mut open = Vec::new();
        for (blob, inside) in record.slices(range) {
            open.push((File::open(self.data(&blob))?, inside));
        }
        Ok(Slices::new(open))
    }

    /// Gives the bytes of an object of `from` names of their own here.
    pub(crate) fn adopt(&self, from: &Self, segments: &[Segment<Blob>]) -> Result<Vec<Segment<Blob>>> {
        let mut adopted = Vec::with_capacity(segments.len());
        for segment in segments {
            let name = self.fresh();
            fs::hard_link(from.data(&segment.bytes), self.dir.join("data").join(&name))?;
            adopted.push(Segment { size: segment.size, bytes: Arc::from(name) });
        }
        Ok(adopted)
    }

    /// Writes an object with its ACL, if its condition holds; else its bytes are removed.
    pub(crate) fn commit(
        &self,
        bucket: &mut Bucket<Blob>,
        key: &Key,
        record: Record<Blob>,
        require: &Require,
        acl: Option<String>,
    ) -> Result<Version> {
        let allowed =
            check_key(key).and(check_meta(&record.object.headers)).and_then(|()| bucket.check(key.as_str(), require));
        if let Err(err) = allowed.and_then(|()| self.save(&self.meta(key), &Saved::of(key, &record))) {
            self.discard(record.segments.iter().map(|segment| &segment.bytes));
            return Err(err);
        }
        let version = record.object.version.clone();
        self.replaced(key, bucket.insert(key, record));
        self.acls.set(key, acl);
        Ok(version)
    }

    /// Removes an object, if its condition holds.
    pub(crate) fn delete(&self, bucket: &mut Bucket<Blob>, key: &Key, require: &Require) -> Result<()> {
        bucket.check(key.as_str(), require)?;
        if bucket.get(key.as_str()).is_err() {
            return Ok(());
        }
        fs::remove_file(self.meta(key))?;
        self.replaced(key, bucket.remove(key.as_str()));
        self.acls.set(key, None);
        Ok(())
    }

    fn replaced(&self, key: &Key, old: Option<Record<Blob>>) {
        if let Some(old) = self.former.replace(key, old) {
            self.discard(old.segments.iter().map(|segment| &segment.bytes));
        }
    }

    /// `summed`: each of its parts has a CRC-32, which its id tells.
    pub(crate) fn begin(&self, key: &Key, headers: Headers, summed: bool, acl: Option<String>) -> Result<Upload> {
        let id = format!("{}{}", self.fresh(), if summed { SUMMED } else { "" });
        let upload = Upload { key: key.clone(), id };
        let mut bucket = self.lock();
        bucket.begin(&upload, headers)?;
        self.save_upload(&bucket, &upload)?;
        self.acls.begin(&upload.id, acl);
        Ok(upload)
    }

    /// Keeps a part that was written; removes its bytes if there is no such upload.
    pub(crate) fn part(&self, upload: &Upload, part: Part, blob: &Blob) -> Result<()> {
        let mut bucket = self.lock();
        match bucket.insert_part(upload, part, Arc::clone(blob)) {
            Ok(old) => {
                self.save_upload(&bucket, upload)?;
                self.discard(&old);
                Ok(())
            }
            Err(err) => {
                self.discard([blob]);
                Err(err)
            }
        }
    }

    /// The upload becomes an object, if its condition holds; else it stays.
    pub(crate) fn complete(&self, upload: &Upload, parts: &[(u32, ETag)], require: &Require) -> Result<Version> {
        let mut bucket = self.lock();
        let record = bucket.assemble(upload, parts, clock::wall().sec)?;
        bucket.check(upload.key.as_str(), require)?;
        let used: HashSet<Blob> = record.segments.iter().map(|segment| Arc::clone(&segment.bytes)).collect();
        let acl = self.acls.end(&upload.id);
        let version = self.commit(&mut bucket, &upload.key, record, &Require::Anything, acl)?;
        let parts = bucket.end(upload);
        self.discard(parts.iter().filter(|blob| !used.contains(*blob)));
        self.forget_upload(upload)?;
        Ok(version)
    }

    /// Fails with [`Error::NotFound`] if there is no such upload.
    pub(crate) fn abort(&self, upload: &Upload) -> Result<()> {
        let mut bucket = self.lock();
        bucket.upload(upload)?;
        self.forget_upload(upload)?;
        self.discard(&bucket.end(upload));
        self.acls.end(&upload.id);
        Ok(())
    }

    /// Removes files that nothing names any more. Whoever has them open reads on.
    pub(crate) fn discard<'a>(&self, blobs: impl IntoIterator<Item = &'a Blob>) {
        for blob in blobs {
            if let Err(err) = fs::remove_file(self.data(blob)) {
                log::warn!("cannot remove {blob}: {err}");
            }
        }
    }

    fn data(&self, blob: &Blob) -> PathBuf {
        self.dir.join("data").join(&**blob)
    }

    fn meta(&self, key: &Key) -> PathBuf {
        self.dir.join("meta").join(format!("{}.json", hex(&Sha256::digest(key.as_str().as_bytes()))))
    }

    fn upload_file(&self, upload: &Upload) -> PathBuf {
        self.dir.join("uploads").join(format!("{}.json", upload.id))
    }

    fn forget_upload(&self, upload: &Upload) -> Result<()> {
        Ok(fs::remove_file(self.upload_file(upload))?)
    }

    fn save_upload(&self, bucket: &Bucket<Blob>, upload: &Upload) -> Result<()> {
        let pending = bucket.upload(upload)?;
        let parts = pending
            .parts
            .values()
            .map(|(part, blob)| (part.number, part.etag.as_str().to_owned(), part.size, blob.as_ref().to_owned()));
        let saved = SavedUpload {
            id: upload.id.clone(),
            key: pending.key.as_str().to_owned(),
            headers: pending.headers.clone(),
            parts: parts.collect(),
        };
        self.save(&self.upload_file(upload), &saved)
    }

    fn save(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(Error::unavailable)?;
        let tmp = self.dir.join(self.fresh());
        File::create_new(&tmp)?.write_all(&json)?;
        Ok(fs::rename(&tmp, path)?)
    }
}

impl Saved {
    fn of(key: &Key, record: &Record<Blob>) -> Self {
        let Object { version, headers, .. } = &record.object;
        Self {
            key: key.as_str().to_owned(),
            etag: version.etag.as_str().to_owned(),
            modified: version.modified.unwrap_or_default(),
            headers: headers.clone(),
            segments: record.segments.iter().map(|segment| (segment.bytes.to_string(), segment.size)).collect(),
        }
    }

    fn into_record(self) -> Record<Blob> {
        let segments: Vec<_> =
            self.segments.into_iter().map(|(name, size)| Segment { size, bytes: Arc::from(name) }).collect();
        let size = segments.iter().map(|segment| segment.size).sum();
        let version = Version { etag: ETag::new(&self.etag), modified: Some(self.modified), size };
        Record { object: Object { version, headers: self.headers, operation: None }, segments }
    }
}

impl SavedUpload {
    fn restore(self, bucket: &mut Bucket<Blob>) -> Result<()> {
        let upload = Upload { key: Key::new(&self.key), id: self.id };
        bucket.begin(&upload, self.headers)?;
        for (number, etag, size, blob) in self.parts {
            bucket.insert_part(&upload, Part { number, etag: ETag::new(&etag), size, crc32: None }, Arc::from(blob))?;
        }
        Ok(())
    }
}

fn load<T: DeserializeOwned>(dir: &Path) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let value = serde_json::from_slice(&fs::read(&path)?)
            .map_err(|err| io::Error::other(format!("{}: {err}", path.display())))?;
        found.push(value);
    }
    Ok(found)
}
