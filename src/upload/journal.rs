//! Renames in progress on the local disk, so that the next run of a mount can end what this one could not.
//!
//! One file for each rename. It is made under another name, with all that the rename is going to copy, and gets its own
//! name when it is on the disk, before the first request that changes the bucket. What is copied is appended, without
//! waiting for the disk: a process that is killed leaves what it wrote, and after a power loss the bucket tells what of it
//! is missing. Every line begins with a sum of itself, so a line that was torn at the end is known.
//!
//! ```text
//! SUM {"rename": {"of": "tree", "from": KEY, "to": KEY, ..}}
//! SUM {"plan": {"rest": .., "version": ..}}      once for each object
//! SUM {"planned": COUNT}
//! SUM {"copied": {"n": INDEX, "source": .., "copy": ..}}      in blocks of [`BLOCK`] objects, in any order within
//! SUM "deleting"
//! ```

mod line;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use line::{Copied, Line, Of, Planned, broken, next, text};

use crate::{
    clock,
    error::Result,
    model::{
        key::Key,
        rename::{Extent, Step},
        version::Version,
    },
    store::Headers,
};

/// Objects that are copied, and later deleted, between two looks at the journal: a page of a listing and a batch delete.
/// At 2 KiB for the longest keys, 2 MiB.
pub const BLOCK: usize = 1000;

/// The extension of a rename that has begun.
const BEGUN: &str = "rename";
/// The extension of one that is being planned.
const DRAFT: &str = "draft";
/// The extension of one that nobody understands.
const BROKEN: &str = "broken";

/// What a rename is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    pub extent: Extent,
    /// Without slashes at their ends.
    pub from: Key,
    pub to: Key,
    /// The target directory was there, empty, with its marker.
    pub over: bool,
    /// What the copy of a single object gets.
    pub headers: Option<Headers>,
}

/// A journal that is being planned. Dropping it leaves a draft, which the next start removes.
#[derive(Debug)]
pub struct Draft {
    head: Head,
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
}

/// The journal of a rename that has begun.
#[derive(Debug)]
pub struct Journal {
    head: Head,
    path: PathBuf,
    file: File,
    /// Where the plan and what was done begin, in bytes.
    plan: u64,
    done: u64,
    count: u64,
    deleting: bool,
}

/// Reads the steps of a journal in their order.
#[derive(Debug)]
pub struct Steps {
    head: Head,
    plan: BufReader<File>,
    done: BufReader<File>,
    /// What was read of `done` too early.
    ahead: Option<Copied>,
    left: u64,
    next: u64,
}

/// What was found where journals are.
#[derive(Debug)]
pub enum Found {
    Journal(Box<Journal>),
    /// Nobody can tell what it says. It was given another name, under which it stays.
    Broken(PathBuf, io::Error),
}

impl Draft {
    /// A journal in `dir`.
    pub fn new(dir: &Path, head: Head) -> Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let (wall, serial) = (clock::wall(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(format!("{}-{:09}-{}-{serial}.{DRAFT}", wall.sec, wall.nsec, std::process::id()));
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        let mut draft = Self { head, path, file: BufWriter::new(file), count: 0 };
        let Head { extent, from, to, over, headers } = draft.head.clone();
        let of = match extent {
            Extent::Object => Of::Object,
            Extent::Tree => Of::Tree,
        };
        let [from, to] = [from, to].map(|key| key.as_str().to_owned());
        draft.write(&Line::Rename { of, from, to, over, headers })?;
        Ok(draft)
    }

    /// Adds an object at or below the old key.
    pub fn plan(&mut self, key: &Key, version: &Version) -> Result<()> {
        let rest = key.as_str().strip_prefix(self.head.from.as_str()).unwrap_or_default().to_owned();
        self.count += 1;
        self.write(&Line::Plan(Planned { rest, version: version.into() }))
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The rename may begin: the plan is on the disk.
    pub async fn begin(mut self) -> Result<Journal> {
        self.write(&Line::Planned(self.count))?;
        self.file.flush()?;
        blocking(move || {
            let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_data()?;
            let path = self.path.with_extension(BEGUN);
            fs::rename(&self.path, &path)?;
            let journal = Journal::read(path)?;
            File::open(journal.path.parent().expect("it is in a directory"))?.sync_all()?;
            Ok(journal)
        })
        .await
    }

    /// There will be no rename.
    pub fn discard(self) {
        remove(&self.path);
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        Ok(self.file.write_all(text(line).as_bytes())?)
    }
}

impl Journal {
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Objects of the rename.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether old keys may be gone.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// The `n`-th object was copied.
    pub fn copied(&mut self, n: u64, source: &Version, copy: &Version) -> Result<()> {
        let line = Line::Copied(Copied { n, source: source.into(), copy: copy.into() });
        Ok(self.file.write_all(text(&line).as_bytes())?)
    }

    /// Everything is copied, and old keys may go: on the disk when this returns.
    pub async fn begin_deleting(mut self) -> Result<Self, (Self, crate::error::Error)> {
        let file = self.file.try_clone();
        let marked = blocking(move || {
            let mut file = file?;
            file.write_all(text(&Line::Deleting).as_bytes())?;
            file.sync_data()
        });
        match marked.await {
            Ok(()) => {
                self.deleting = true;
                Ok(self)
            }
            Err(err) => Err((self, err)),
        }
    }

    /// The rename has ended, one way or the other.
    pub fn end(self) {
        remove(&self.path);
    }

    /// All objects of the rename.
    pub fn steps(&self) -> Result<Steps> {
        let at = |start| -> io::Result<BufReader<File>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(BufReader::new(file))
        };
        let (plan, done) = (at(self.plan)?, at(self.done)?);
        Ok(Steps { head: self.head.clone(), plan, done, ahead: None, left: self.count, next: 0 })
    }

    /// The journals that an earlier run left in `dir`.
    pub fn leftovers(dir: &Path) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match path.extension().and_then(|ext| ext.to_str()) {
                Some(BEGUN) => match Self::read(path.clone()) {
                    Ok(journal) => found.push(Found::Journal(Box::new(journal))),
                    Err(err) => {
                        let aside = path.with_extension(BROKEN);
                        fs::rename(&path, &aside)?;
                        found.push(Found::Broken(aside, err));
                    }
                },
                // Nothing had begun.
                Some(DRAFT) => remove(&path),
                _ => {}
            }
        }
        Ok(found)
    }

    fn read(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        let mut lines = BufReader::new(File::open(&path)?);
        let (mut at, mut raw) = (0, Vec::new());
        let Some(Line::Rename { of, from, to, over, headers }) = next(&mut lines, &mut raw, &mut at)? else {
            return Err(broken("it does not begin with a rename"));
        };
        let extent = match of {
            Of::Object => Extent::Object,
            Of::Tree => Extent::Tree,
        };
        let head = Head { extent, from: Key::new(&from), to: Key::new(&to), over, headers };
        let (plan, mut count) = (at, 0);
        loop {
            match next(&mut lines, &mut raw, &mut at)? {
                Some(Line::Plan(_)) => count += 1,
                Some(Line::Planned(planned)) if planned == count => break,
                _ => return Err(broken("its plan is not whole")),
            }
        }
        let (done, mut deleting) = (at, false);
        loop {
            match next(&mut lines, &mut raw, &mut at) {
                Ok(Some(Line::Copied(copied))) if copied.n < count && !deleting => {}
                Ok(Some(Line::Deleting)) if !deleting => deleting = true,
                Ok(None) => break,
                // The last line may be torn; what it told is not known, and that is all.
                Err(err) if err.kind() == ErrorKind::InvalidData && lines.fill_buf()?.is_empty() => break,
                Err(err) => return Err(err),
                Ok(Some(_)) => return Err(broken("its lines are out of order")),
            }
        }
        Ok(Self { head, path, file, plan, done, count, deleting })
    }
}

impl Steps {
    /// The next [`BLOCK`] objects with what is known of their copies, and the index of the first; empty at the end.
    pub fn next_block(&mut self) -> Result<(u64, Vec<Step>)> {
        let (first, mut raw, mut at) = (self.next, Vec::new(), 0);
        let len = self.left.min(BLOCK as u64);
        let mut planned = Vec::new();
        for _ in 0..len {
            match next(&mut self.plan, &mut raw, &mut at)? {
                Some(Line::Plan(line)) => planned.push(line),
                _ => return Err(broken("its plan is not whole any more").into()),
            }
        }
        self.next += len;
        self.left -= len;
        let mut copied = self.copied_before(self.next)?;
        let steps = (first..).zip(planned).map(|(n, Planned { rest, version })| {
            let (source, copy) = match copied.remove(&n) {
                Some(Copied { source, copy, .. }) => (source.into(), Some(copy.into())),
                None => (version.into(), None),
            };
            let [from, to] = [&self.head.from, &self.head.to].map(|key| Key::new(&format!("{key}{rest}")));
            Step { from, to, source, copy }
        });
        Ok((first, steps.collect()))
    }

    fn copied_before(&mut self, end: u64) -> Result<HashMap<u64, Copied>> {
        let (mut copied, mut raw, mut at) = (HashMap::new(), Vec::new(), 0);
        loop {
            let line = match self.ahead.take() {
                Some(line) => line,
                None => match next(&mut self.done, &mut raw, &mut at) {
                    Ok(Some(Line::Copied(line))) => line,
                    // The end, torn or not, or the mark.
                    Ok(_) => return Ok(copied),
                    Err(err) if err.kind() == ErrorKind::InvalidData => return Ok(copied),
                    Err(err) => return Err(err.into()),
                },
            };
            if line.n >= end {
                self.ahead = Some(line);
                return Ok(copied);
            }
            copied.insert(line.n, line);
        }
    }
}

fn remove(path: &Path) {
    if let Err(err) = fs::remove_file(path) {
        log::warn!("{}: {err}", path.display());
    }
}

/// Waiting for the disk is not for the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(crate::error::Error::unavailable)?;
    Ok(done?)
}

#[cfg(test)]
mod tests;
