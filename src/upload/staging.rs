//! Bytes that the bucket does not have yet: in memory while they are few, then in a local file.

mod holes;

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    model::extents::Extents,
    pread::{Wait, pread},
};

/// Bytes of one file that stay in memory: thumbnails and most pictures for the web never touch the disk.
const MEMORY_MAX: u64 = 256 << 10;
/// Bytes of all files together that stay in memory; beyond, new bytes go to files at once.
const BUDGET: u64 = 16 << 20;

/// Where staging files are made, and how much memory they share.
#[derive(Debug)]
pub struct Yard {
    dir: PathBuf,
    lost: PathBuf,
    memory: AtomicU64,
    serial: AtomicU64,
}

/// What is written beside a staging file, so that its bytes can be told apart after a crash.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Note {
    pub key: String,
    /// The ETag that the bytes were based on; `None` for a new file.
    pub base: Option<String>,
    /// Bytes of the whole file, if all of them are here.
    pub size: Option<u64>,
    /// Start and end of what was written; all else in the file is no content, but zeros. Empty if the process was
    /// killed: then nobody knows.
    #[serde(default)]
    pub ranges: Vec<[u64; 2]>,
    pub reason: String,
}

impl Yard {
    /// `dir` and `lost` must exist and be on one file system.
    pub fn new(dir: &Path, lost: &Path) -> Arc<Self> {
        let [memory, serial] = [AtomicU64::new(0), AtomicU64::new(0)];
        Arc::new(Self { dir: dir.to_owned(), lost: lost.to_owned(), memory, serial })
    }

    /// A name that no other staging file of any run has.
    fn name(&self) -> String {
        let wall = crate::clock::wall();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        format!("{}-{:09}-{}-{serial}", wall.sec, wall.nsec, std::process::id())
    }
}

/// The bytes of one file that were written, and which they are.
///
/// They are precious until somebody says otherwise: if it is dropped, they stay in the yard, and the next start moves them
/// to where an administrator finds them. Who has them in the bucket, or does not want them, calls [`Staging::discard`].
#[derive(Debug)]
pub struct Staging {
    yard: Arc<Yard>,
    data: Data,
    here: Extents,
    note: Note,
    precious: bool,
}

#[derive(Debug)]
enum Data {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

impl Staging {
    pub fn new(yard: &Arc<Yard>, note: Note) -> Self {
        let (data, here) = (Data::Memory(Vec::new()), Extents::default());
        Self { yard: Arc::clone(yard), data, here, note, precious: true }
    }

    /// Over the `size` bytes of a file that lives elsewhere on this disk. Nothing is in the yard until its owner moves it
    /// to [`Self::path`]; before that it is not precious.
    pub fn over(yard: &Arc<Yard>, note: Note, file: File, size: u64) -> Self {
        let path = yard.dir.join(yard.name()).with_extension("data");
        let mut here = Extents::default();
        here.insert(0..size);
        Self { yard: Arc::clone(yard), data: Data::File { file, path }, here, note, precious: false }
    }

    /// Where the bytes are in the yard; `None` while they are in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.data {
            Data::Memory(_) => None,
            Data::File { path, .. } => Some(path),
        }
    }

    /// The file is in the yard, and somebody wrote to it before: it has `size` bytes, all of them precious.
    pub fn now_has(&mut self, size: u64) {
        self.here.truncate(size);
        self.here.insert(0..size);
        self.precious = true;
    }

    /// Whether the bytes must outlive this. Those of an unlinked file need not, though it is still written and read.
    pub fn set_precious(&mut self, precious: bool) {
        self.precious = precious;
    }

    /// The bytes are in the bucket, or nobody wants them.
    pub fn discard(mut self) {
        self.precious = false;
    }

    /// Which bytes were written.
    pub fn here(&self) -> &Extents {
        &self.here
    }

    /// Fails with `NoSpace` when the disk is full; nothing is changed then.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if let Data::Memory(memory) = &mut self.data {
            let grown = end.saturating_sub(memory.len() as u64);
            if end <= MEMORY_MAX && self.yard.memory.fetch_add(grown, Ordering::Relaxed) + grown <= BUDGET {
                let [from, to] = [offset, end].map(|at| usize::try_from(at).expect("below MEMORY_MAX"));
                memory.resize(memory.len().max(to), 0);
                memory[from..to].copy_from_slice(bytes);
                self.here.insert(offset..end);
                return Ok(());
            }
            if end <= MEMORY_MAX {
                self.yard.memory.fetch_sub(grown, Ordering::Relaxed);
            }
        }
        self.spill()?.write_all_at(bytes, offset)?;
        self.here.insert(offset..end);
        Ok(())
    }

    /// Bytes of `range`; what was not written reads as zeros.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = match &self.data {
            Data::Memory(memory) => {
                let held = memory.len() as u64;
                let [from, to] = [range.start.min(held), range.end.min(held)]
                    .map(|at| usize::try_from(at).expect("memory is addressable"));
                memory[from..to].to_vec()
            }
            Data::File { file, .. } => pread(file, range.start, len, Wait::Disk)?.unwrap_or_default(),
        };
        bytes.resize(len, 0);
        Ok(bytes.into())
    }

    /// Forgets everything from `len` on.
    pub fn truncate(&mut self, len: u64) -> Result<()> {
        match &mut self.data {
            Data::Memory(memory) => {
                let keep = usize::try_from(len).map_or(memory.len(), |len| memory.len().min(len));
                self.yard.memory.fetch_sub((memory.len() - keep) as u64, Ordering::Relaxed);
                memory.truncate(keep);
            }
            Data::File { file, .. } => {
                if file.metadata()?.len() > len {
                    file.set_len(len)?;
                }
            }
        }
        self.here.truncate(len);
        Ok(())
    }

    /// Makes a local file of exactly `size` bytes of it, for the content cache to take. `None`: the bytes are in
    /// memory, take [`Staging::read`].
    pub fn file(&self, size: u64) -> Result<Option<&Path>> {
        match &self.data {
            Data::Memory(_) => Ok(None),
            Data::File { file, path } => {
                // A file that came from elsewhere may be open for reading alone, and has its size.
                if file.metadata()?.len() != size {
                    file.set_len(size)?;
                }
                Ok(Some(path))
            }
        }
    }

    /// Puts the bytes of a file of `size` where an administrator finds them, with a note beside them. Gives the path. If
    /// it fails, they stay in the yard, unless the disk did not take them at all.
    pub fn keep(mut self, size: u64, reason: &str) -> Result<PathBuf> {
        self.precious = true;
        reason.clone_into(&mut self.note.reason);
        self.note.size = self.here.covers(&(0..size)).then_some(size);
        self.leave()?;
        let Data::File { file, path } = &self.data else { unreachable!("left above") };
        file.set_len(size)?;
        file.sync_all()?;
        let kept = self.yard.lost.join(path.file_name().expect("made with one"));
        let note = kept.with_extension("meta");
        if let Err(err) = fs::write(&note, note_text(&self.note)).and_then(|()| fs::rename(path, &kept)) {
            remove(&note);
            return Err(err.into());
        }
        self.precious = false;
        Ok(kept)
    }

    /// Whose bytes they are.
    pub fn key(&self) -> &str {
        &self.note.key
    }

    /// Puts the bytes on the disk with a note that says `reason`, so that a killed process leaves them behind.
    pub fn write_down(&mut self, reason: &str) -> Result<()> {
        reason.clone_into(&mut self.note.reason);
        self.leave()
    }

    /// The bytes and what is known of them are in the yard afterwards.
    fn leave(&mut self) -> Result<()> {
        self.note.ranges = self.here.iter().map(|range| [range.start, range.end]).collect();
        self.spill()?;
        let Data::File { path, .. } = &self.data else { unreachable!("spilled above") };
        // On a full disk the note that is there stays.
        let [note, new] = ["meta", "new"].map(|extension| path.with_extension(extension));
        let noted = fs::write(&new, note_text(&self.note)).and_then(|()| fs::rename(&new, note));
        Ok(noted.inspect_err(|_| remove(&new))?)
    }

    fn spill(&mut self) -> Result<&File> {
        if let Data::Memory(memory) = &mut self.data {
            let path = self.yard.dir.join(self.yard.name()).with_extension("data");
            let file = new_file(&path, memory, &self.note).inspect_err(|_| remove_both(&path))?;
            self.yard.memory.fetch_sub(memory.len() as u64, Ordering::Relaxed);
            self.data = Data::File { file, path };
        }
        match &self.data {
            Data::File { file, .. } => Ok(file),
            Data::Memory(_) => unreachable!("spilled above"),
        }
    }
}

fn note_text(note: &Note) -> String {
    serde_json::to_string(note).expect("strings and numbers always serialize")
}

/// A new file of these bytes at `path`, with its note beside it.
fn new_file(path: &Path, bytes: &[u8], note: &Note) -> io::Result<File> {
    fs::write(path.with_extension("meta"), note_text(note))?;
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(bytes, 0)?;
    Ok(file)
}

fn remove_both(path: &Path) {
    remove(path);
    remove(&path.with_extension("meta"));
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => log::warn!("{}: {err}", path.display()),
        _ => {}
    }
}

impl Drop for Staging {
    /// Removes what is left in the yard, unless it is precious; a kept or adopted file is elsewhere by now.
    fn drop(&mut self) {
        if self.precious && !self.here.is_empty() {
            match self.leave() {
                Ok(()) => log::warn!("{} is not uploaded; the next start finds its bytes", self.note.key),
                Err(err) => log::error!("{} is not uploaded, and its bytes not be kept: {err}", self.note.key),
            }
        } else if let Data::File { path, .. } = &self.data {
            remove_both(path);
        }
        if let Data::Memory(memory) = &self.data {
            self.yard.memory.fetch_sub(memory.len() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
