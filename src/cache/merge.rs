//! A new version of which much is known already: what was written to it, and what it took over from the last one.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use nix::{errno::Errno, fcntl::copy_file_range};

use super::{
    Contents,
    content::Content,
    dir::{self, Dir},
    space::Room,
};
use crate::{
    model::{extents::Extents, key::Key, version::Version},
    store::Store,
};

/// Bytes that are copied at once: no call holds up a thread for long, and none is worth mentioning.
const STEP: u64 = 8 << 20;

/// Where the bytes are that were written.
#[derive(Debug)]
pub enum Written {
    /// At their offsets in a file of the size of the version, in [`Contents::staging_dir`]. It is gone afterwards.
    File(PathBuf),
    /// With their offsets.
    Bytes(Vec<(u64, Bytes)>),
}

impl<S: Store> Contents<S> {
    /// What is known of `version`: `known` ranges of what was written (those without bytes are zeros), and the given
    /// ranges of the content that was below them, as far as they are here. The rest is fetched when somebody reads it.
    pub async fn adopt_over(
        &self,
        key: &Key,
        version: &Version,
        written: Written,
        known: Vec<Range<u64>>,
        below: Option<(Arc<Content>, Vec<Range<u64>>)>,
    ) -> Arc<Content> {
        let content = self.get(key, version);
        let mut have = Extents::default();
        for range in known {
            have.insert(range);
        }
        let below = below.and_then(|(below, shown)| {
            let (file, here) = below.here()?;
            let runs: Vec<_> = shown.into_iter().flat_map(|range| here.within(range)).collect();
            Some((file, runs))
        });
        let (mut below, mut bytes) = (below, have.len());
        let copied: u64 = below.iter().flat_map(|(_, runs)| runs).map(|run| run.end - run.start).sum();
        let fits = content.is_untouched()
            && if self.space.reserve(&content, bytes + copied, Room::Evict) {
                bytes += copied;
                true
            } else {
                // Without what can be fetched again.
                below = None;
                self.space.reserve(&content, bytes, Room::Evict)
            };
        if !fits {
            if let Written::File(path) = &written {
                dir::remove(path);
            }
            return content;
        }
        let (dir, size) = (Arc::clone(&self.dir), version.size);
        let merge = move || merge(&dir, size, written, have, below.as_ref());
        let merged = self.runtime.spawn_blocking(merge).await.map_err(io::Error::other).flatten();
        self.space.landed(bytes);
        match merged {
            Ok((file, path, have)) => {
                if content.install_part(file, path, have) {
                    self.space.finished(&content);
                }
            }
            Err(err) => {
                log::warn!("cache: cannot keep what was written to {key}: {err}");
                self.space.refund(&content, bytes);
            }
        }
        content
    }
}

/// A file, and what to take from it.
type Below = (Arc<File>, Vec<Range<u64>>);

/// One file of all that is known.
fn merge(
    dir: &Dir,
    size: u64,
    written: Written,
    mut have: Extents,
    below: Option<&Below>,
) -> io::Result<(File, PathBuf, Extents)> {
    let (mut file, path) = dir.create_part(size)?;
    let merged = (|| {
        match written {
            Written::File(staged) => {
                fs::rename(&staged, &path)?;
                file = File::options().read(true).write(true).open(&path)?;
            }
            Written::Bytes(runs) => {
                for (at, bytes) in runs {
                    file.write_all_at(&bytes, at)?;
                }
            }
        }
        for (from, run) in below.into_iter().flat_map(|(from, runs)| runs.iter().map(move |run| (from, run))) {
            copy(from, &file, run.clone())?;
            have.insert(run.clone());
        }
        Ok(())
    })();
    match merged {
        Ok(()) => Ok((file, path, have)),
        Err(err) => {
            dir::remove(&path);
            Err(err)
        }
    }
}

/// Copies a range to the same place in another file; where the file system can, without copying any bytes.
fn copy(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(STEP.min(range.end - at)).map_err(io::Error::other)?;
        let offset = i64::try_from(at).map_err(io::Error::other)?;
        let (mut source, mut target) = (offset, offset);
        at += match copy_file_range(from, Some(&mut source), to, Some(&mut target), len) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => copied as u64,
            Err(Errno::EXDEV | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => {
                let mut bytes = vec![0; len];
                from.read_exact_at(&mut bytes, at)?;
                to.write_all_at(&bytes, at)?;
                len as u64
            }
            Err(err) => return Err(err.into()),
        };
    }
    Ok(())
}
