//! A Unix socket that answers so many at once.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

/// After a connection could not be taken: most likely the process is out of descriptors, so others get time to return
/// some, or this would spin.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket that listens; removed when dropped.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds `path`, where nothing is. `mode`: who may connect. Needs a runtime.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let socket = Self { listener: UnixListener::bind(path)?, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(socket)
    }

    /// Answers until it is dropped, and all conversations with it. At most `askers` at once; more wait in the listen
    /// queue.
    pub(super) async fn serve<F>(self, askers: usize, mut converse: impl FnMut(UnixStream) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let askers = Arc::new(Semaphore::new(askers));
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&askers).acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            let conversation = match self.listener.accept().await {
                Ok((stream, _)) => converse(stream),
                Err(err) => {
                    log::warn!("{}: {err}", self.path.display());
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let path = self.path.clone();
            connections.spawn(async move {
                if let Err(err) = conversation.await {
                    log::debug!("{}: {err}", path.display());
                }
                drop(permit);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_file(&self.path) {
            log::debug!("cannot remove {}: {err}", self.path.display());
        }
    }
}
