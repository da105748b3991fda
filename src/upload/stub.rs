//! Empty objects that take a name until there is content: written down before they are made, so that none of them
//! outlives its file, whatever becomes of this process.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    clock,
    error::{Error, Result},
    freshness::{fence::Fences, listing::Is},
    model::{attr::Attr, key::Key, version::Version},
    store::{Require, Store},
};

/// How long a request may still arrive after its sender gave up: connections that broke are emptied far sooner.
const LATE: Duration = Duration::from_mins(2);

/// Suffix of the notes, which lie among those of multipart uploads.
const SUFFIX: &str = "stub";

/// A name that was taken by an empty object of ours.
#[derive(Debug)]
pub struct Stub {
    pub key: Key,
    pub version: Version,
    /// What its metadata say.
    pub attr: Attr,
    /// When the request was sent that made it.
    pub at: Instant,
    noted: Noted,
}

/// Something that is, or may become, an empty object of ours.
#[derive(Clone, Debug)]
pub struct Noted {
    key: Key,
    /// The name of the write.
    operation: String,
    path: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct Text {
    key: String,
    operation: String,
}

/// All that a mount made, and that are to go.
#[derive(Debug)]
pub struct Stubs {
    dir: PathBuf,
    left: Mutex<VecDeque<Left>>,
}

/// One that is to go, or is only just being made.
#[derive(Debug)]
struct Left {
    noted: Noted,
    /// Not before this moment: whoever makes it may still hear that it is there.
    from: Instant,
    /// From this moment on, "not there" means that it never will be.
    until: Instant,
}

/// One while it is looked at: whatever happens meanwhile, it is not forgotten.
struct Taken<'a> {
    stubs: &'a Stubs,
    left: Option<Left>,
}

/// What became of one that is to go.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Found {
    /// It was there at this version, and is gone.
    Removed(Version),
    /// Somebody else's object is there, or was when ours was to go.
    Settled,
    Absent,
}

impl Stubs {
    /// `dir` must exist. What an earlier run left there is to go.
    pub fn open(dir: &Path) -> Self {
        let now = clock::now();
        let noted = leftovers(dir).unwrap_or_else(|err| {
            log::warn!("{}: {err}; empty objects of an earlier run may stay", dir.display());
            Vec::new()
        });
        let left = noted.into_iter().map(|noted| Left { noted, from: now, until: now + LATE });
        Self { dir: dir.to_owned(), left: Mutex::new(left.collect()) }
    }

    /// To be called before the request: writes down what it may make. Outlives a kill, not a loss of power. Who is not
    /// told the outcome within two minutes gets it removed.
    pub fn note(&self, key: &Key, operation: &str) -> io::Result<Noted> {
        let path = self.dir.join(operation).with_extension(SUFFIX);
        let text = Text { key: key.as_str().to_owned(), operation: operation.to_owned() };
        fs::write(&path, serde_json::to_string(&text).expect("strings always serialize"))?;
        let noted = Noted { key: key.clone(), operation: operation.to_owned(), path };
        let from = clock::now() + LATE;
        self.left().push_back(Left { noted: noted.clone(), from, until: from });
        Ok(noted)
    }

    /// It was made, and is in use from now on.
    pub fn made(&self, noted: &Noted) {
        self.left().retain(|left| left.noted.operation != noted.operation);
    }

    /// An attempt for `key` that nobody answered, and that the object of the write `operation` is of.
    pub fn recognise(&self, key: &Key, operation: Option<&str>) -> Option<Noted> {
        let mut left = self.left();
        let ours = |left: &Left| left.noted.key == *key && Some(left.noted.operation.as_str()) == operation;
        let at = left.iter().position(ours)?;
        left.remove(at).map(|left| left.noted)
    }

    /// There is content now, or never was an object.
    pub fn done(&self, noted: &Noted) {
        self.made(noted);
        if let Err(err) = fs::remove_file(&noted.path) {
            log::debug!("{}: {err}", noted.path.display());
        }
    }

    /// Nobody knows whether the request arrived.
    pub fn doubt(&self, noted: Noted) {
        self.made(&noted);
        let from = clock::now();
        self.left().push_back(Left { noted, from, until: from + LATE });
    }

    /// It is to go.
    pub fn abandon(&self, stub: Stub) {
        let from = clock::now();
        self.left().push_back(Left { noted: stub.noted, from, until: from });
    }

    /// Removes from the bucket what is to go, as far as it answers; each removal is behind a fence. Gives what it
    /// removed. `conditional`: DELETE can be made to spare an object that is not the one that was looked at.
    pub async fn sweep<S: Store>(&self, store: &S, conditional: bool, fences: &Fences) -> Vec<(Key, Version)> {
        let count = self.left().len();
        let mut removed = Vec::new();
        for _ in 0..count {
            let mut taken = Taken { stubs: self, left: self.left().pop_front() };
            let Some(Left { noted, from, until }) = &taken.left else { break };
            if clock::now() < *from {
                continue;
            }
            match withdraw(store, noted, conditional, fences).await {
                Ok(Found::Absent) if clock::now() < *until => {}
                Ok(found) => {
                    if let Found::Removed(version) = found {
                        removed.push((noted.key.clone(), version));
                    }
                    self.done(noted);
                    taken.left = None;
                }
                Err(err) => log::info!("{} may still be an empty object of ours: {err}", noted.key),
            }
        }
        removed
    }

    /// Whether something is to go now.
    pub fn is_due(&self) -> bool {
        let now = clock::now();
        self.left().iter().any(|left| left.from <= now)
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<Left>> {
        self.left.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            self.stubs.left().push_back(left);
        }
    }
}

impl Stub {
    pub fn new(noted: Noted, version: Version, attr: Attr, at: Instant) -> Self {
        Self { key: noted.key.clone(), version, attr, at, noted }
    }

    pub fn noted(&self) -> &Noted {
        &self.noted
    }
}

fn leftovers(dir: &Path) -> io::Result<Vec<Noted>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|suffix| suffix != SUFFIX) {
            continue;
        }
        match serde_json::from_slice(&fs::read(&path)?) {
            Ok(Text { key, operation }) => left.push(Noted { key: Key::new(&key), operation, path }),
            // The process was killed while it wrote this, so before the request.
            Err(_) => fs::remove_file(&path)?,
        }
    }
    Ok(left)
}

async fn withdraw<S: Store>(store: &S, noted: &Noted, conditional: bool, fences: &Fences) -> Result<Found> {
    let object = match store.head(&noted.key).await {
        Err(Error::NotFound) => return Ok(Found::Absent),
        found => found?,
    };
    if object.version.size > 0 || object.operation.as_deref() != Some(&noted.operation) {
        return Ok(Found::Settled);
    }
    let require = if conditional { Require::Version(object.version.etag.clone()) } else { Require::Anything };
    let fence = fences.raise(&noted.key);
    match store.delete(&noted.key, require).await {
        Ok(()) => {
            fence.made(Is::Absent);
            Ok(Found::Removed(object.version))
        }
        Err(Error::Stale | Error::NotFound) => Ok(Found::Settled),
        Err(err) => Err(err),
    }
}
