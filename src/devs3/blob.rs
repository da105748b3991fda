//! Bytes on their way to a file and back. Files are written once and never changed, so an open one is a snapshot.
//!
//! File calls block a worker for as long as the page cache takes (tens of microseconds per chunk): simpler and faster
//! than a hop to another thread, and good enough for a development server.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use md5::{Digest, Md5};
use originfs::{
    model::version::ETag,
    store::bucket::{Segment, etag_of},
};

/// Bytes that one read takes from a file: the largest piece a socket takes at once, roughly.
const READ: u64 = 128 << 10;

/// The name of a file with bytes.
pub(crate) type Blob = Arc<str>;

/// A new file. It is removed again unless it is finished.
#[derive(Debug)]
pub(crate) struct Writer {
    name: Blob,
    path: PathBuf,
    file: File,
    size: u64,
    md5: Md5,
    kept: bool,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: Segment<Blob>,
    pub(crate) etag: ETag,
}

impl Writer {
    pub(crate) fn create(name: Blob, path: PathBuf) -> io::Result<Self> {
        let file = File::create_new(&path)?;
        Ok(Self { name, path, file, size: 0, md5: Md5::new(), kept: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.md5.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Of all bytes so far.
    pub(crate) fn md5(&self) -> Vec<u8> {
        self.md5.clone().finalize().to_vec()
    }

    /// Keeps the file; from now on it is the caller's to remove.
    pub(crate) fn finish(mut self) -> Written {
        self.kept = true;
        let segment = Segment { size: self.size, bytes: Arc::clone(&self.name) };
        Written { segment, etag: etag_of(&self.md5()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.kept
            && let Err(err) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {err}", self.path.display());
        }
    }
}

/// Ranges of open files, one after the other.
#[derive(Debug)]
pub(crate) struct Slices(VecDeque<(File, Range<u64>)>);

impl Slices {
    pub(crate) fn new(slices: impl IntoIterator<Item = (File, Range<u64>)>) -> Self {
        Self(slices.into_iter().filter(|(_, range)| !range.is_empty()).collect())
    }

    /// Then those of `more`.
    pub(crate) fn chain(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    fn left(&self) -> u64 {
        self.0.iter().map(|(_, range)| range.end - range.start).sum()
    }

    /// The next bytes; empty at the end.
    pub(crate) fn read(&mut self) -> io::Result<Bytes> {
        let Some((file, range)) = self.0.front_mut() else { return Ok(Bytes::new()) };
        let len = usize::try_from(READ.min(range.end - range.start)).expect("at most READ");
        let mut chunk = vec![0; len];
        file.read_exact_at(&mut chunk, range.start)?;
        range.start += len as u64;
        if range.is_empty() {
            self.0.pop_front();
        }
        Ok(chunk.into())
    }
}

impl Body for Slices {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.read() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => Some(Ok(Frame::data(chunk))),
            Err(err) => Some(Err(err)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
