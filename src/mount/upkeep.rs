//! What a mount does when an administrator says so, over the control socket.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc::Sender, time};

use super::{
    cdn::{self, Edges},
    outage::Board,
};
use crate::{
    cdn::{outage::telling::Told, purge::purger::Purger},
    error::Error,
    fs::{Fs, Warmed, Wish, urls::Urls},
    model::key::Key,
    store::{Store, s3::S3Store},
    telemetry::{
        control::Desk,
        status::Status,
        upkeep::{Compared, Done, Invalidated, Job},
    },
};

/// Between lines that tell how far a job is: as often as anybody looks.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);
/// How long the kernel may take to forget. It waits behind requests in progress, and those for the bucket.
const KERNEL_WAIT: Duration = Duration::from_secs(30);

/// A mount that answers and obeys.
pub(super) struct Upkeep<S: Store> {
    pub(super) fs: Arc<Fs<S>>,
    pub(super) status: Box<dyn Fn() -> Status + Send + Sync>,
    pub(super) purger: Option<Arc<Purger>>,
    pub(super) edges: Edges,
    pub(super) board: Option<Arc<Board>>,
    pub(super) bucket: S3Store,
}

impl<S: Store> Desk for Upkeep<S> {
    async fn status(&self) -> Status {
        (self.status)()
    }

    fn base(&self) -> Option<Told> {
        self.board.as_ref().map(|board| board.told())
    }

    async fn work(&self, job: Job, progress: Sender<Warmed>) -> Result<Done, String> {
        match job {
            Job::Warm(wish) => self.warm(&wish, progress).await.map(Done::Warmed),
            Job::Invalidate { paths } => self.invalidate(&paths).await.map(Done::Invalidated),
            Job::Urls { paths, sign } => {
                let mut all = Vec::new();
                for path in &paths {
                    all.push(
                        self.urls(path, sign.map(Duration::from_secs)).await.map_err(|err| format!("{path}: {err}"))?,
                    );
                }
                Ok(Done::Urls(all))
            }
            Job::Purge(wish) => {
                cdn::purge(self.purger.as_deref(), &wish, |path| self.fs.key_of(path).map_err(told)).map(Done::Purged)
            }
            Job::Compare { paths } => self.compare(&paths).await.map(Done::Compared),
            Job::Cache { patterns, act } => {
                self.fs.cached(&patterns, act, KERNEL_WAIT).await.map(Done::Cached).map_err(told)
            }
        }
    }
}

impl<S: Store> Upkeep<S> {
    async fn warm(&self, wish: &Wish, progress: Sender<Warmed>) -> Result<Warmed, String> {
        let warmed = Arc::new(Mutex::new(Warmed::default()));
        let now = || warmed.lock().expect("nothing panics while it holds this lock").clone();
        let mut warming = std::pin::pin!(self.fs.warm(wish, &warmed));
        let mut ticks = time::interval(PROGRESS_PAUSE);
        loop {
            tokio::select! {
                done = &mut warming => return done.map(|()| now()).map_err(told),
                _ = ticks.tick() => drop(progress.send(now()).await),
            }
        }
    }

    async fn urls(&self, path: &str, sign: Option<Duration>) -> Result<Urls, String> {
        let mut urls = self.fs.urls(path).await.map_err(|err| err.to_string())?;
        let key = Key::new(&urls.key);
        urls.origin = Some(self.bucket.plain_url(&key).await.map_err(|err| err.to_string())?);
        if let Some(time) = sign {
            urls.signed = Some(self.bucket.signed_url(&key, time).await.map_err(|err| err.to_string())?);
        }
        Ok(urls)
    }

    async fn invalidate(&self, paths: &[String]) -> Result<Invalidated, String> {
        let mut all = Invalidated::default();
        for path in paths {
            let told = |err: Error| format!("{path}: {err}");
            let key = self.fs.key_of(path).map_err(told)?;
            let forgot = self.fs.invalidate(&key, KERNEL_WAIT).await.map_err(told)?;
            all.names += forgot.names;
            all.kept.extend(forgot.kept.iter().map(|key| self.fs.path_of(key)));
        }
        log::info!("told to forget {}: {} names forgotten", paths.join(", "), all.names);
        Ok(all)
    }
}

impl<S: Store> Upkeep<S> {
    async fn compare(&self, paths: &[String]) -> Result<Vec<Compared>, String> {
        let mut all = Vec::new();
        for path in paths {
            let key = self.fs.key_of(path).map_err(|err| format!("{path}: {}", told(err)))?;
            let etag = match self.fs.etag_of(&key).await {
                Ok(etag) => Some(etag.as_str().to_owned()),
                Err(Error::NotFound) => None,
                Err(err) => return Err(format!("{path}: {err}")),
            };
            all.extend(self.edges.compare(key.as_str(), etag.as_deref()).await?);
        }
        Ok(all)
    }
}

fn told(err: Error) -> String {
    match err {
        Error::Invalid => "a pattern has a component that no path has".to_owned(),
        err => err.to_string(),
    }
}

impl<S: Store> fmt::Debug for Upkeep<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("fs", &self.fs).finish_non_exhaustive()
    }
}
