//! What is to be uploaded, and what can come between.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{
    send::Outcome,
    tree::{self, Found},
};
use crate::{
    error::{Error, Result},
    model::{attr::Time, version::Version},
};

/// Why an attempt ended without an outcome.
pub(super) enum Halt {
    /// Another object is there.
    Found(Version),
    Changed,
    Outcome(Outcome),
}

impl From<Error> for Halt {
    fn from(err: Error) -> Self {
        Self::Outcome(Outcome::Failed { why: err.to_string(), remote: true })
    }
}

impl From<io::Error> for Halt {
    fn from(err: io::Error) -> Self {
        match err.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::Outcome(Outcome::Gone),
            Some(libc::ELOOP | libc::EXDEV) => Self::Changed,
            _ => Self::Outcome(Outcome::Failed { why: err.to_string(), remote: false }),
        }
    }
}

/// What is to be uploaded.
pub(super) struct Matter {
    pub(super) found: Found,
    pub(super) content: Content,
    /// When it was opened.
    pub(super) read: Time,
}

pub(super) enum Content {
    File(Arc<File>),
    /// The target of a symbolic link; nothing, of a special file.
    Bytes(Bytes),
}

impl Matter {
    /// Bytes of the object.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::File(_) => self.found.attr.size,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    pub(super) async fn bytes(&self, range: Range<u64>) -> Result<Bytes, Halt> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::File(file) => {
                let file = Arc::clone(file);
                let len = usize::try_from(range.end - range.start).map_err(|_| Error::TooLarge)?;
                let read = blocking(move || {
                    let mut bytes = vec![0; len];
                    file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
                });
                match read.await {
                    Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => Err(Halt::Changed),
                    read => Ok(read?.into()),
                }
            }
        }
    }

    /// Fails if it is not what it was when it was opened.
    pub(super) fn is_unchanged(&self) -> Result<(), Halt> {
        match &self.content {
            Content::File(file) if tree::stat(file)?.stamp != self.found.stamp => Err(Halt::Changed),
            _ => Ok(()),
        }
    }

    pub(super) fn is_written(&self) -> bool {
        matches!(&self.content, Content::File(file) if tree::is_open_for_writing(file))
    }
}

/// Runs what waits for the disk, on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
