//! Fetching what nobody has asked for yet, so that whoever does need not wait.
//!
//! One task lists directories, so many others ask for attributes and bytes. All stop when the call is dropped. What is
//! fetched takes spare room alone: nothing that is in the cache goes for it.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex as Turn, mpsc},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    Fs, MEMORY_LEN,
    ask::Hint,
    invalidate::found_at,
    known::{Answer, Known, Seen},
    lock,
    pace::Pace,
    types::NodeId,
};
use crate::{
    cache::SMALL,
    clock,
    error::{Error, Result},
    freshness::{fence::Stamp, listing::Listing, serves, views::place},
    model::{key::Key, patterns::Scope, selection::Selection, version::Version},
    store::{Get, Got, Store, metadata::is_dir_marker},
};

/// The most tasks of one call: more than a bucket likes of one host, and fewer than the requests that it may have.
pub const JOBS_MAX: usize = 64;
/// What a request costs of the rate beside the bytes that it brings.
pub const REQUEST_COST: u64 = 16 << 10;
/// Files that were listed and not yet looked at. At ~250 bytes each, 5 MiB; the listing waits beyond that.
const QUEUE_LEN: usize = 20_000;
/// Bytes of a large file between looks at the rate.
const STEP: u64 = 4 << 20;
/// Failures in a row after which it is the bucket, and not the object.
const FAILURES_MAX: u64 = 10;

/// What is to be warmed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Wish {
    /// Paths and globs from the root of the mount (see [`Selection`]); none: everything.
    pub patterns: Vec<String>,
    /// No content.
    pub metadata: bool,
    /// Bytes in a second; each request counts as [`REQUEST_COST`] more.
    pub rate: u64,
    /// How many files at once; 1 to [`JOBS_MAX`].
    pub jobs: usize,
}

/// How far it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Warmed {
    /// Files that are wanted, as far as they are found, and their bytes.
    pub found: u64,
    pub found_bytes: u64,
    /// All are found.
    pub listed: bool,
    /// Files that are done with, however that ended, and their bytes.
    pub done: u64,
    pub done_bytes: u64,
    /// Bytes that came from the bucket.
    pub fetched_bytes: u64,
    /// Files whose content is not here because there is no room that nothing else takes.
    pub left_out: u64,
    /// Files whose attributes could not be remembered, for the same reason.
    pub not_remembered: u64,
    pub failed: u64,
    /// Of the first that failed.
    pub why: Option<String>,
    /// It ended early.
    pub stopped: bool,
}

/// What the tasks of one call share.
struct Round<S: Store> {
    fs: Arc<Fs<S>>,
    selection: Selection,
    metadata: bool,
    pace: Mutex<Pace>,
    warmed: Arc<Mutex<Warmed>>,
    failures: Mutex<u64>,
}

impl<S: Store> Fs<S> {
    /// Fetches what `wish` says and keeps `warmed` up to date meanwhile. Ends when it is done or dropped. Fails with
    /// `Invalid` for patterns that no path can match.
    pub async fn warm(self: &Arc<Self>, wish: &Wish, warmed: &Arc<Mutex<Warmed>>) -> Result<()> {
        let selection = Selection::parse(&wish.patterns).ok_or(Error::Invalid)?;
        let pace = Mutex::new(Pace::new(wish.rate, clock::now()));
        let (fs, metadata) = (Arc::clone(self), wish.metadata);
        let (warmed, failures) = (Arc::clone(warmed), Mutex::new(0));
        let round = Arc::new(Round { fs, selection, metadata, pace, warmed, failures });
        let (send, files) = mpsc::channel(QUEUE_LEN);
        let files = Arc::new(Turn::new(files));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&round).list(send));
        for _ in 0..wish.jobs.clamp(1, JOBS_MAX) {
            tasks.spawn(Arc::clone(&round).work(Arc::clone(&files)));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|err| Error::unavailable(err.to_string()))?;
        }
        Ok(())
    }

    /// Remembers an answer as if somebody had asked. False if something changed meanwhile, or there is no room.
    pub(super) fn keep_answer(&self, key: &Key, answer: &Answer, stamp: Stamp) -> bool {
        let Some((dir, name)) = place(key) else { return false };
        let mut tree = self.tree();
        if !self.fences.holds(stamp) {
            return false;
        }
        let parent = found_at(&tree, &dir);
        if let Some(parent) = parent.filter(|parent| tree.child(*parent, &name).is_some()) {
            self.settle(&mut tree, parent, &name, key, answer);
            return true;
        }
        let Some(known) = Known::of(&self.options, answer) else { return false };
        let mut memory = lock(&self.memory);
        let older = memory.peek(key).is_none_or(|there| there.asked < known.asked);
        let fits = memory.len() < MEMORY_LEN || memory.contains(key);
        if fits && older {
            memory.put(key.clone(), known);
        }
        fits
    }

    /// Whether the attributes of `key` at the listed version are known.
    fn knows(&self, key: &Key, listed: &Version) -> bool {
        let (age, now) = (self.options.freshness.stat_age(), clock::now());
        let same = |known: &Known| match (&known.version, known.asked) {
            // Its time is too fresh to tell, so its answer has to be.
            (Some(version), Some(asked)) if version.modified.is_none() => {
                version.same_content(listed) && serves(asked, now, age)
            }
            (Some(version), Some(_)) => version.same(listed),
            _ => false,
        };
        let tree = self.tree();
        match found_at(&tree, key).and_then(|id| tree.get(id)) {
            Some(node) => node.payload.is_local() || same(&node.payload.known),
            None => lock(&self.memory).peek(key).is_some_and(same),
        }
    }
}

impl<S: Store> Round<S> {
    /// Lists the wanted directories, which warms their views, and sends on the wanted files.
    async fn list(self: Arc<Self>, files: mpsc::Sender<(Key, Version)>) {
        let Some(root) = self.fs.tree().key(NodeId::ROOT) else { return };
        let mut dirs = vec![root];
        while let Some(dir) = dirs.pop() {
            let stamp = self.fs.fences.stamp_all();
            self.pay(0).await;
            let listing = match self.fs.listing(&dir).await {
                Ok(listing) => listing,
                Err(err) => {
                    if self.failed(&dir, &err) {
                        return;
                    }
                    continue;
                }
            };
            self.refresh(&dir, &listing, stamp).await;
            let (mut below, mut wanted) = (Vec::new(), Vec::new());
            for (name, version) in &listing.names {
                let key = Key::new(&format!("{}{}", dir.marker(), name.as_str()));
                let path = self.fs.path_of(&key);
                match version {
                    _ if self.fs.scope(&key) == Scope::Local => {}
                    None if self.selection.reaches(&path) => below.push(key),
                    Some(version) if self.selection.covers(&path) => wanted.push((key, version.clone())),
                    _ => {}
                }
            }
            dirs.extend(below.into_iter().rev());
            {
                let mut warmed = lock(&self.warmed);
                warmed.found += wanted.len() as u64;
                warmed.found_bytes += wanted.iter().map(|(_, version)| version.size).sum::<u64>();
            }
            for file in wanted {
                if files.send(file).await.is_err() {
                    return; // the others gave up
                }
            }
        }
        lock(&self.warmed).listed = true;
    }

    /// What the listing of `dir` tells of what is known, and what is still to be asked about the directory itself.
    async fn refresh(&self, dir: &Key, listing: &Arc<Listing>, stamp: Stamp) {
        {
            let mut tree = self.fs.tree();
            match found_at(&tree, dir) {
                Some(id) => self.fs.refresh(&mut tree, id, dir, listing, stamp),
                None if self.fs.fences.holds(stamp) => self.fs.refresh_memory(dir, listing),
                None => {}
            }
        }
        let known = listing.marker.as_ref().is_some_and(|marker| self.fs.knows(dir, marker));
        if known || listing.is_nothing() || *dir == *self.fs.views.root() {
            return;
        }
        let (asked, wall, stamp) = (listing.asked, listing.wall, self.fs.fences.stamp(dir).await);
        let answer = if listing.marker.is_none() {
            Ok(Answer { asked, wall, seen: Seen::Dir(None) })
        } else {
            self.ask(dir, Hint::Listed).await
        };
        match answer {
            Ok(answer) => drop(self.fs.keep_answer(dir, &answer, stamp)),
            Err(err) => drop(self.failed(dir, &err)),
        }
    }

    /// Takes files until there are no more, or the bucket fails too often.
    async fn work(self: Arc<Self>, files: Arc<Turn<mpsc::Receiver<(Key, Version)>>>) {
        loop {
            let next = files.lock().await.recv().await;
            let Some((key, version)) = next else { return };
            if lock(&self.warmed).stopped {
                return;
            }
            let done = self.file(&key, &version).await;
            let gives_up = match &done {
                // It went since it was listed.
                Ok(()) | Err(Error::NotFound | Error::Stale) => {
                    *lock(&self.failures) = 0;
                    false
                }
                Err(err) => self.failed(&key, err),
            };
            {
                let mut warmed = lock(&self.warmed);
                warmed.done += 1;
                warmed.done_bytes += version.size;
            }
            if gives_up {
                files.lock().await.close();
                return;
            }
        }
    }

    async fn file(&self, key: &Key, listed: &Version) -> Result<()> {
        let known = self.fs.knows(key, listed);
        let mut wants = !self.metadata && listed.size > 0 && !self.fs.contents.has(key, listed);
        if wants && !self.fs.contents.spares(listed.size) {
            lock(&self.warmed).left_out += 1;
            wants = false;
        }
        if wants && listed.size <= SMALL {
            return self.small(key, listed.size).await;
        }
        if !known {
            let stamp = self.fs.fences.stamp(key).await;
            let answer = self.ask(key, Hint::File(None)).await?;
            self.note(key, &answer, stamp);
        }
        if wants { self.large(key, listed).await } else { Ok(()) }
    }

    /// Attributes and bytes by one request.
    async fn small(&self, key: &Key, size: u64) -> Result<()> {
        self.pay(size).await;
        let stamp = self.fs.fences.stamp(key).await;
        let (asked, wall) = (clock::now(), clock::wall().sec);
        let Got::Bytes(object, body) = self.fs.store.get(key, Get::default()).await? else {
            return Err(Error::unavailable("304 for a GET without If-None-Match"));
        };
        let object = Arc::new(object);
        let (size, dir) = (object.version.size, is_dir_marker(key, &object));
        let seen = if dir { Seen::Dir(Some(Arc::clone(&object))) } else { Seen::File(Arc::clone(&object)) };
        self.note(key, &Answer { asked, wall, seen }, stamp);
        // It may have grown since it was listed.
        if dir || size == 0 || size > SMALL {
            return Ok(());
        }
        let content = self.fs.contents.get(key, &object.version);
        let done = self.fs.contents.warm_with(&content, body).await;
        self.fetched(size, done)
    }

    async fn large(&self, key: &Key, version: &Version) -> Result<()> {
        let content = self.fs.contents.get(key, version);
        let mut at = 0;
        while at < version.size {
            let end = (at + STEP).min(version.size);
            self.pay(end - at).await;
            let done = self.fs.contents.warm(&content, at..end).await;
            let out = matches!(done, Err(Error::NoSpace));
            self.fetched(end - at, done)?;
            if out {
                return Ok(());
            }
            at = end;
        }
        Ok(())
    }

    /// Counts bytes that came, or a file for which there was no room.
    fn fetched(&self, bytes: u64, done: Result<()>) -> Result<()> {
        let mut warmed = lock(&self.warmed);
        match done {
            Ok(()) => warmed.fetched_bytes += bytes,
            Err(Error::NoSpace) => warmed.left_out += 1,
            Err(err) => return Err(err),
        }
        Ok(())
    }

    async fn ask(&self, key: &Key, hint: Hint) -> Result<Answer> {
        self.pay(0).await;
        let (asked, wall) = (clock::now(), clock::wall().sec);
        Ok(Answer { asked, wall, seen: self.fs.line.seen(key, hint).await? })
    }

    fn note(&self, key: &Key, answer: &Answer, stamp: Stamp) {
        if !self.fs.keep_answer(key, answer, stamp) {
            lock(&self.warmed).not_remembered += 1;
        }
    }

    /// Waits until the rate allows a request that brings so many bytes.
    async fn pay(&self, bytes: u64) {
        let begins: Instant = lock(&self.pace).take(bytes.saturating_add(REQUEST_COST), clock::now());
        sleep_until(begins.into()).await;
    }

    /// Counts a failure. Whether it is time to give up.
    fn failed(&self, key: &Key, err: &Error) -> bool {
        let mut failures = lock(&self.failures);
        *failures += 1;
        let mut warmed = lock(&self.warmed);
        warmed.failed += 1;
        warmed.why.get_or_insert_with(|| format!("{key}: {err}"));
        warmed.stopped |= *failures >= FAILURES_MAX;
        warmed.stopped
    }
}
