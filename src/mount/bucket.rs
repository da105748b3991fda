//! A mount of an S3 bucket: reaches it, finds out what it can do, opens the cache.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Ended, MountError, Opened, reach::reach, run};
use crate::{
    cache::Contents,
    config::Options,
    fs::Fs,
    store::{
        probe::{Conditional, probe},
        s3::S3Store,
    },
};

/// Mounts the bucket of `options` and serves until a signal or an unmount ends it; see [`run`].
pub fn mount(options: &Options, ready: impl FnOnce(Result<(), &MountError>)) -> Result<Ended, MountError> {
    run(options, async || open(options).await, ready)
}

async fn open(options: &Options) -> Result<Opened<S3Store>, MountError> {
    let (prefix, read_only) = (options.prefix.as_str(), options.fs.read_only);
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(MountError::Bucket)?;
    let reached = reach(options.mount.nofail, async || store.check(prefix).await).await?;
    let conditional =
        if reached && !read_only { probe(&store, prefix, &S3Store::token()).await } else { Conditional::default() };
    log::info!("conditional writes: {conditional}");
    store.set_conditions(conditional);
    let store = Arc::new(store);
    let contents = Contents::open(Arc::clone(&store), &options.cache, Handle::current()).map_err(MountError::Cache)?;
    let (fs, queue) = Fs::new(store, contents, options.fs.clone(), options.prefix.clone(), conditional);
    if reached && !read_only {
        let fs = Arc::clone(&fs);
        // Behind the mount: they cost money, not correctness.
        tokio::spawn(async move {
            match fs.abort_leftovers().await {
                Ok(0) => {}
                Ok(count) => log::info!("ended {count} unfinished uploads of an earlier run"),
                Err(err) => log::warn!("unfinished uploads of an earlier run stay for now: {err}"),
            }
        });
    }
    Ok((fs, queue))
}
