//! Bytes that the bucket does not have yet: in memory while they are few, then in a local file.

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

use crate::{error::Result, model::extents::Extents};

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
    /// Bytes of the whole file, if it was whole.
    pub size: Option<u64>,
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
#[derive(Debug)]
pub struct Staging {
    yard: Arc<Yard>,
    data: Data,
    here: Extents,
    note: Note,
}

#[derive(Debug)]
enum Data {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

impl Staging {
    pub fn new(yard: &Arc<Yard>, note: Note) -> Self {
        Self { yard: Arc::clone(yard), data: Data::Memory(Vec::new()), here: Extents::default(), note }
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
        let mut bytes = vec![0; len];
        match &self.data {
            Data::Memory(memory) => {
                let held = memory.len() as u64;
                let [from, to] = [range.start.min(held), range.end.min(held)]
                    .map(|at| usize::try_from(at).expect("memory is addressable"));
                bytes[..to - from].copy_from_slice(&memory[from..to]);
            }
            Data::File { file, .. } => {
                let mut got = 0;
                while got < len {
                    match file.read_at(&mut bytes[got..], range.start + got as u64)? {
                        0 => break,
                        more => got += more,
                    }
                }
            }
        }
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
                file.set_len(size)?;
                Ok(Some(path))
            }
        }
    }

    /// Puts the bytes where an administrator finds them, with a note beside them. Gives the path.
    pub fn keep(mut self, size: u64, reason: &str) -> Result<PathBuf> {
        reason.clone_into(&mut self.note.reason);
        self.note.size = Some(size);
        self.spill()?.set_len(size)?;
        let Data::File { file, path } = &self.data else { unreachable!("spilled above") };
        file.sync_all()?;
        let name = path.file_name().expect("made with one").to_owned();
        let kept = self.yard.lost.join(name);
        fs::write(kept.with_extension("meta"), note_text(&self.note))?;
        fs::rename(path, &kept)?;
        Ok(kept)
    }

    fn spill(&mut self) -> Result<&File> {
        if let Data::Memory(memory) = &mut self.data {
            let path = self.yard.dir.join(self.yard.name()).with_extension("data");
            fs::write(path.with_extension("meta"), note_text(&self.note))?;
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            file.write_all_at(memory, 0)?;
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

impl Drop for Staging {
    /// Removes what is left in the yard; a kept or adopted file is elsewhere by now.
    fn drop(&mut self) {
        match &self.data {
            Data::Memory(memory) => {
                self.yard.memory.fetch_sub(memory.len() as u64, Ordering::Relaxed);
            }
            Data::File { path, .. } => {
                for path in [path.clone(), path.with_extension("meta")] {
                    match fs::remove_file(&path) {
                        Err(err) if err.kind() != io::ErrorKind::NotFound => log::warn!("{}: {err}", path.display()),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn yard(name: &str) -> (Arc<Yard>, PathBuf) {
        let dir = std::env::temp_dir().join(format!("originfs-yard-{name}-{}", std::process::id()));
        for sub in ["staging", "lost"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        (Yard::new(&dir.join("staging"), &dir.join("lost")), dir)
    }

    #[test]
    fn kept_bytes_are_found_with_their_note() {
        let (yard, dir) = yard("keep");
        let mut staging = Staging::new(&yard, Note { key: "a/b.jpg".into(), ..Note::default() });
        staging.write(0, b"picture").unwrap();
        let kept = staging.keep(7, "the bucket is down").unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"picture");
        let note: Note = serde_json::from_slice(&fs::read(kept.with_extension("meta")).unwrap()).unwrap();
        assert_eq!((note.key.as_str(), note.size), ("a/b.jpg", Some(7)));
        assert_eq!(yard.memory.load(Ordering::Relaxed), 0);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn nothing_is_left_behind() {
        let (yard, dir) = yard("drop");
        let mut staging = Staging::new(&yard, Note::default());
        staging.write(MEMORY_MAX, b"x").unwrap();
        assert!(staging.file(MEMORY_MAX + 1).unwrap().is_some());
        drop(staging);
        assert_eq!(fs::read_dir(dir.join("staging")).unwrap().count(), 0);
        fs::remove_dir_all(dir).unwrap();
    }

    proptest! {
        #[test]
        fn reads_what_was_written(steps in prop::collection::vec((0..600_000_u64, 1..70_000_usize, any::<u8>(), any::<bool>()), 1..20)) {
            let (yard, dir) = yard("prop");
            let mut staging = Staging::new(&yard, Note::default());
            let mut model: Vec<u8> = Vec::new();
            for (offset, len, byte, cut) in steps {
                let at = usize::try_from(offset).unwrap();
                if cut {
                    staging.truncate(offset).unwrap();
                    model.truncate(at);
                } else {
                    staging.write(offset, &vec![byte; len]).unwrap();
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].fill(byte);
                }
                let end = model.len() as u64;
                prop_assert_eq!(&staging.read(0..end).unwrap()[..], &model[..]);
            }
            drop(staging);
            prop_assert_eq!(yard.memory.load(Ordering::Relaxed), 0);
            fs::remove_dir_all(dir).unwrap();
        }
    }
}
