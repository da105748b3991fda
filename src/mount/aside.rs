//! Purges of what a command changes beside a mount. Such a command is a process of its own, so it has an outbox of its
//! own; what it leaves there, because it was killed or a vendor is away, the mount on the same cache directory takes
//! over.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    MountError,
    cdn::{self, OUTBOX},
};
use crate::{
    cdn::purge::purger::Purger,
    clock,
    config::Options,
    store::{s3::S3Store, watched::Watched},
};

/// How long a command that has done everything else waits for its purges. An API of a vendor with few requests a minute
/// lets a directory go in that time; a person waits no longer.
const FINISH_MAX: Duration = Duration::from_secs(30);
/// Between looks at them.
const FINISH_STEP: Duration = Duration::from_millis(50);
/// Between looks of a mount at what commands left: two calls of the local disk.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// A bucket of which changes are purged, if it has a CDN.
pub type Told = Watched<S3Store, Option<Arc<Purger>>>;

/// Who changes a bucket beside its mount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    Adopt,
    Headers,
}

impl Command {
    const ALL: [Self; 2] = [Self::Adopt, Self::Headers];

    fn dir(self, cache: &Path) -> PathBuf {
        let name = match self {
            Self::Adopt => "adopt",
            Self::Headers => "headers",
        };
        cache.join(format!("{OUTBOX}.{name}"))
    }
}

/// The purges of one run of a command.
#[derive(Debug)]
pub struct Aside {
    /// `None`: nobody is to be told.
    purger: Option<Arc<Purger>>,
    /// Where versions are asked for.
    bucket: Arc<OnceLock<Arc<S3Store>>>,
    dir: PathBuf,
    /// Held while somebody may have the outbox open.
    _lock: Option<File>,
}

impl Aside {
    /// What earlier runs left is purged, too. Only one run at a time where there is a CDN. Needs a runtime.
    pub fn open(options: &Options, command: Command) -> Result<Self, MountError> {
        let dir = command.dir(&options.cache.dir);
        if options.cdn.is_empty() {
            return Ok(Self { purger: None, bucket: Arc::default(), dir, _lock: None });
        }
        let wrong = |err: io::Error| MountError::Path(dir.clone(), err.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&options.cache.dir).map_err(wrong)?;
        let lock = lock(&dir).map_err(wrong)?;
        let lock =
            lock.ok_or_else(|| MountError::Path(dir.clone(), "another run of this command is at work".into()))?;
        let bucket = Arc::default();
        let purger = cdn::open_at(options, &dir, Arc::clone(&bucket))?;
        Ok(Self { purger, bucket, dir, _lock: Some(lock) })
    }

    /// `store`, with its changes purged.
    pub fn watch(&self, store: S3Store) -> Told {
        let store = Arc::new(store);
        // It may be watched twice, and is the same bucket then.
        drop(self.bucket.set(Arc::clone(&store)));
        Watched::new(store, self.purger.clone())
    }

    /// Waits for the purges, but not for long. Gives how many are left; these a mount takes over, or the next run.
    pub async fn finish(self) -> u64 {
        let Some(purger) = &self.purger else { return 0 };
        let deadline = clock::now() + FINISH_MAX;
        while !purger.is_drained() && purger.moves_before(deadline) && clock::now() < deadline {
            tokio::time::sleep(FINISH_STEP).await;
        }
        let left = if purger.is_drained() { 0 } else { purger.pending() };
        if left == 0 {
            // It stays where that fails, and is empty.
            fs::remove_dir_all(&self.dir).unwrap_or_default();
        }
        left
    }
}

/// `None`: somebody else has it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = File::create(dir.with_added_extension("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

/// Purges what commands left, for as long as the mount lives.
pub(super) async fn look_after(purger: Arc<Purger>, cache: PathBuf) {
    loop {
        for dir in Command::ALL.map(|command| command.dir(&cache)) {
            match take(&purger, &dir).await {
                Ok(0) => {}
                Ok(count) => log::info!("{}: {count} purges that a command left are made up for", dir.display()),
                Err(err) => log::warn!("{}: {err}", dir.display()),
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn take(purger: &Arc<Purger>, dir: &Path) -> io::Result<u64> {
    if !dir.exists() {
        return Ok(0);
    }
    let Some(_lock) = lock(dir)? else { return Ok(0) };
    let count = purger.take_over(dir).await?;
    fs::remove_dir_all(dir)?;
    Ok(count)
}
