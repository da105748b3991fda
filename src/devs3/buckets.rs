//! All buckets, and the calls about them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        Bucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
        GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsOutput,
    },
    path::check_bucket_name,
    s3_error,
};

use crate::{
    manner::Manner,
    space::Space,
    wire::{self, header, with_headers},
};

/// The only region.
const REGION: &str = "us-east-1";

/// Buckets by name.
#[derive(Debug)]
pub(crate) struct Spaces {
    dir: PathBuf,
    manner: Manner,
    open: Mutex<BTreeMap<String, Arc<Space>>>,
    remembers: Arc<AtomicBool>,
}

impl Spaces {
    /// Opens all buckets below `dir`, which is created. While `remembers`, they keep the versions before.
    pub(crate) fn open(dir: PathBuf, manner: Manner, remembers: Arc<AtomicBool>) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut open = BTreeMap::new();
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if check_bucket_name(&name) {
                open.insert(name.clone(), Arc::new(Space::open(dir.join(&name), manner, Arc::clone(&remembers))?));
            }
        }
        Ok(Self { dir, manner, open: Mutex::new(open), remembers })
    }

    /// Creates the bucket unless it is there.
    pub(crate) fn create_missing(&self, name: &str) -> io::Result<bool> {
        if !check_bucket_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for a bucket")));
        }
        let mut open = self.lock();
        if open.contains_key(name) {
            return Ok(false);
        }
        let space = Space::open(self.dir.join(name), self.manner, Arc::clone(&self.remembers))?;
        open.insert(name.to_owned(), Arc::new(space));
        Ok(true)
    }

    pub(crate) fn get(&self, name: &str) -> S3Result<Arc<Space>> {
        self.lock().get(name).cloned().ok_or_else(|| s3_error!(NoSuchBucket))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Space>>> {
        self.open.lock().expect("a panic left the buckets half-changed")
    }

    pub(crate) fn create(&self, req: &S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        match self.create_missing(&req.input.bucket) {
            Ok(true) => {
                let location = Some(format!("/{}", req.input.bucket));
                Ok(S3Response::new(CreateBucketOutput { location }))
            }
            Ok(false) => Err(s3_error!(BucketAlreadyOwnedByYou)),
            Err(err) => Err(wire::internal(err)),
        }
    }

    pub(crate) fn delete(&self, req: &S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let mut open = self.lock();
        let space = open.get(&req.input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        if !space.lock().objects().is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        fs::remove_dir_all(space.dir()).map_err(wire::internal)?;
        open.remove(&req.input.bucket);
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    pub(crate) fn head(&self, req: &S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.get(&req.input.bucket)?;
        Ok(with_headers(HeadBucketOutput::default(), [header("x-amz-bucket-region", REGION)?]))
    }

    pub(crate) fn location(
        &self,
        req: &S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.get(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    pub(crate) fn list(&self) -> ListBucketsOutput {
        let created = |space: &Space| fs::metadata(space.dir()).and_then(|meta| meta.modified()).ok();
        let buckets = self.lock();
        let buckets = buckets.iter().map(|(name, space)| Bucket {
            name: Some(name.clone()),
            creation_date: created(space).map(Into::into),
            ..Bucket::default()
        });
        let buckets = Some(buckets.collect());
        ListBucketsOutput { buckets, owner: Some(wire::owner()), ..ListBucketsOutput::default() }
    }
}
