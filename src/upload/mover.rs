//! The rename of a directory in the bucket: all objects are copied, then all old ones deleted, from a plan on the disk.
//!
//! What is in memory at once is one block of the journal and the requests in flight, however many objects there are.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    copy::copy_object,
    journal::{BLOCK, Draft, Head, Journal},
    layers::{Layer, Layers},
    multipart::Lanes,
};
use crate::{
    error::{Error, Result},
    model::{
        key::Key,
        rename::{Extent, Step, Verdict, delete_source, is_copy, moved},
        version::Version,
    },
    store::{Copy, Entry, Headers, List, Object, PAGE_MAX, Require, SINGLE_MAX, Store, metadata, probe::Conditional},
};

/// Requests in flight: what one host may ask of a bucket without being told to slow down.
const PARALLEL: usize = 16;
/// How often a copy starts again because somebody else changed its source meanwhile.
const TRIES: u32 = 3;
/// Pages of a listing that are read to find the objects of one block; what is on none of them is asked for by itself.
const PAGES: u32 = 2;

/// What a rename needs of its mount.
pub struct Mover<S> {
    pub store: Arc<S>,
    pub lanes: Arc<Lanes>,
    pub conditional: Conditional,
    pub dress: Dress,
}

impl<S> fmt::Debug for Mover<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover").field("conditional", &self.conditional).finish_non_exhaustive()
    }
}

/// The headers of the copy of an object, with its old and new key: of the directory that is renamed itself
/// ([`Extent::Tree`]), or of one that only finds itself elsewhere.
pub type Dress = Arc<dyn Fn(&Object, (&Key, &Key), Extent) -> Headers + Send + Sync>;

impl<S: Store> Mover<S> {
    /// Writes down all objects of a directory, its marker included. Fails with `CrossDevice` if they are more than `limit`,
    /// or if one of them may not have its new key.
    pub async fn plan(
        &self,
        mut draft: Draft,
        head: &Head,
        limit: u64,
        may_be: impl Fn(&Key) -> bool + Send + Sync,
    ) -> Result<Journal> {
        let prefix = head.from.marker();
        let fits = |entry: &Entry| may_be(&moved(&entry.key, &head.from, &head.to));
        let mut token = None;
        loop {
            let list = List { prefix: prefix.as_str().to_owned(), token, ..List::default() };
            let page = match self.store.list(list).await {
                Ok(page) if draft.count() + page.entries.len() as u64 <= limit && page.entries.iter().all(fits) => page,
                other => {
                    draft.discard();
                    return Err(other.err().unwrap_or(Error::CrossDevice));
                }
            };
            let planned = page.entries.iter().try_for_each(|entry| draft.plan(&entry.key, &entry.version));
            if let Err(err) = planned {
                draft.discard();
                return Err(err);
            }
            token = page.next;
            if token.is_none() {
                return draft.begin().await;
            }
        }
    }

    /// Copies everything that is still there. Where the server can tell: fails with `Exists` if somebody else made the
    /// marker of the target meanwhile, and nothing was copied then; with `NotEmpty` if it was another object. Some copies
    /// are there after any other failure than the first.
    pub async fn copy_all(&self, journal: &mut Journal) -> Result<()> {
        let (head, mut steps) = (journal.head().clone(), journal.steps()?);
        loop {
            let (first, block) = steps.next_block()?;
            if block.is_empty() {
                return Ok(());
            }
            // The marker of the directory goes first and alone: where the server can tell, one of two hosts makes it.
            let top = block.iter().position(|step| step.from == head.from.marker());
            let (top, rest): (Vec<_>, Vec<_>) =
                (first..).zip(block).partition(|(n, _)| top == Some(to_index(n - first)));
            for steps in [top, rest] {
                self.copy_some(journal, steps).await?;
            }
        }
    }

    async fn copy_some(&self, journal: &mut Journal, steps: Vec<(u64, Step)>) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut steps = steps.into_iter();
        let mut failed = None;
        loop {
            while failed.is_none() && tasks.len() < PARALLEL {
                let Some((n, step)) = steps.next() else { break };
                let copier = self.copier(journal.head());
                tasks.spawn(async move { copier.copy(&step).await.map(|copied| (n, copied)) });
            }
            let Some(done) = tasks.join_next().await else { break };
            let noted = match done {
                Ok(Ok((n, Some((source, copy))))) => journal.copied(n, &source, &copy),
                Ok(Ok((_, None))) => Ok(()),
                Ok(Err(err)) => Err(err),
                Err(err) => Err(Error::unavailable(err)),
            };
            failed = failed.or(noted.err());
        }
        failed.map_or(Ok(()), Err)
    }

    fn copier(&self, head: &Head) -> Copier<S> {
        let (store, lanes) = (Arc::clone(&self.store), Arc::clone(&self.lanes));
        let (top, over) = (head.to.marker(), head.over);
        Copier { store, lanes, conditional: self.conditional, dress: Arc::clone(&self.dress), top, over }
    }

    /// Deletes what was copied and is unchanged; `moving` is told of each object before. `afterwards`: the rename was
    /// interrupted, so others may have believed that it failed, and the copies are looked at, too. Gives the old keys
    /// that stay.
    pub async fn delete_sources(
        &self,
        journal: &Journal,
        afterwards: bool,
        moving: impl Fn(&Step) + Send,
    ) -> Result<u64> {
        let head = journal.head();
        let (mut layers, mut kept) = (Layers::new(journal)?, 0);
        while let Some(Layer { after, steps, bare }) = layers.next()? {
            let from: Vec<&Key> = steps.iter().map(|step| &step.from).collect();
            let now = self.now(&head.from, after.as_ref(), &from).await?;
            let copies = if afterwards {
                let to: Vec<&Key> = steps.iter().map(|step| &step.to).collect();
                let after = after.as_ref().map(|after| moved(after, &head.from, &head.to));
                Some(self.now(&head.to, after.as_ref(), &to).await?)
            } else {
                None
            };
            let mut doomed = Vec::new();
            for step in &steps {
                let copy = copies.as_ref().map(|copies| copies.get(&step.to));
                match delete_source(step, now.get(&step.from), copy) {
                    Verdict::Delete(etag) => {
                        moving(step);
                        doomed.push((step.from.clone(), etag));
                    }
                    Verdict::Absent => {}
                    Verdict::Keep(why) => {
                        kept += 1;
                        log::warn!("rename {} to {}: {} stays: {why}", head.from, head.to, step.from);
                    }
                }
            }
            kept += self.delete(doomed).await?;
            self.delete_bare(&head.from, &bare).await?;
        }
        Ok(kept)
    }

    /// Deletes objects that are still at these versions. Gives how many are not.
    pub(super) async fn delete(&self, doomed: Vec<(Key, crate::model::version::ETag)>) -> Result<u64> {
        if !self.conditional.delete.works() {
            let keys: Vec<Key> = doomed.into_iter().map(|(key, _)| key).collect();
            for batch in keys.chunks(usize::from(PAGE_MAX)) {
                if let Some((key, err)) = self.store.delete_many(batch).await?.into_iter().next() {
                    log::error!("{key} could not be deleted: {err}");
                    return Err(err);
                }
            }
            return Ok(0);
        }
        let delete = |(key, etag): (Key, _)| {
            let store = Arc::clone(&self.store);
            async move {
                match store.delete(&key, Require::Version(etag)).await {
                    Ok(()) | Err(Error::NotFound) => Ok(0),
                    Err(Error::Stale) => Ok(1),
                    Err(err) => Err(err),
                }
            }
        };
        Ok(each(doomed, delete).await?.into_iter().sum())
    }

    /// Directories without a marker are gone with what was in them, but not on a server that keeps a tree (SeaweedFS):
    /// it removes only empty directories, and each of them by itself.
    pub(super) async fn delete_bare(&self, top: &Key, rests: &BTreeSet<String>) -> Result<()> {
        for rest in rests {
            let marker = Key::new(&format!("{top}{rest}"));
            let page = self.store.list(List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() }).await?;
            if page.entries.iter().all(|entry| entry.key == marker) {
                self.store.delete(&marker, Require::Anything).await?;
            }
        }
        Ok(())
    }

    /// What the bucket has of `keys`, which lie below `dir` and behind `after`, as far as a server sorts.
    pub(super) async fn now(&self, dir: &Key, after: Option<&Key>, keys: &[&Key]) -> Result<HashMap<Key, Version>> {
        let wanted: HashSet<&Key> = keys.iter().copied().collect();
        let Some(end) = wanted.iter().max() else { return Ok(HashMap::new()) };
        let (mut found, mut last, mut sorted, mut token) = (HashMap::new(), None::<Key>, true, None);
        let mut whole = false;
        for _ in 0..PAGES {
            let after = after.map(|key| key.as_str().to_owned());
            let wish = List { prefix: dir.marker().as_str().to_owned(), after, token, ..List::default() };
            let page = self.store.list(wish).await?;
            for entry in page.entries {
                sorted &= last.as_ref().is_none_or(|last| *last < entry.key);
                last = Some(entry.key.clone());
                if wanted.contains(&entry.key) {
                    found.insert(entry.key, entry.version);
                }
            }
            token = page.next;
            whole = token.is_none() || last.as_ref().is_some_and(|last| last >= *end);
            if found.len() == wanted.len() || whole && sorted {
                break;
            }
        }
        // Behind the last one that a sorted listing told, nothing is known.
        let absent = |key: &Key| sorted && (whole || last.as_ref().is_some_and(|last| key < last));
        let unknown: Vec<Key> =
            wanted.into_iter().filter(|key| !found.contains_key(*key) && !absent(key)).cloned().collect();
        let ask = |key: Key| {
            let store = Arc::clone(&self.store);
            async move { Ok(there(store.head(&key).await)?.map(|object| (key, object.version))) }
        };
        found.extend(each(unknown, ask).await?.into_iter().flatten());
        Ok(found)
    }
}

/// What one copy needs, in a task of its own.
struct Copier<S> {
    store: Arc<S>,
    lanes: Arc<Lanes>,
    conditional: Conditional,
    dress: Dress,
    /// The marker of the target, and whether it may be replaced.
    top: Key,
    over: bool,
}

impl<S: Store> Copier<S> {
    /// Gives what was copied, and the copy; `None` if there is nothing any more.
    async fn copy(&self, step: &Step) -> Result<Option<(Version, Version)>> {
        for _ in 0..TRIES {
            let Some(source) = there(self.store.head(&step.from).await)? else { return Ok(None) };
            match self.send(step, &source).await {
                Ok(copy) => return Ok(Some((source.version, copy))),
                Err(Error::Stale | Error::NotFound) => {}
                // Two hosts may want the name, and their markers may be equal.
                Err(Error::Exists) if step.to == self.top => return Err(Error::Exists),
                Err(Error::Exists) => {
                    let copy = self.recognize(step, &source).await?;
                    return Ok(Some((source.version, copy)));
                }
                Err(err) => return Err(err),
            }
        }
        Err(Error::Stale)
    }

    async fn send(&self, step: &Step, source: &Object) -> Result<Version> {
        let extent = if step.to == self.top { Extent::Tree } else { Extent::Object };
        let headers = (self.dress)(source, (&step.from, &step.to), extent);
        let absent = |can: bool| if can { Require::Absent } else { Require::Anything };
        if step.from.is_marker() && source.version.size == 0 {
            // Not every server copies markers (SeaweedFS does not); nothing but headers is in them. Those below the first
            // may be there already, where a server makes them with what is in them (SeaweedFS).
            let require = absent(self.conditional.absent.works() && !self.over && step.to == self.top);
            return self.store.put(&step.to, Bytes::new(), &headers, require).await;
        }
        if source.version.size > SINGLE_MAX {
            let require = absent(self.conditional.complete.works());
            let from = (&step.from, &source.version);
            return copy_object(&*self.store, &self.lanes, from, &step.to, headers, require).await;
        }
        // Names stay the same below a directory, and with them types and all other headers. What a plain copy takes along
        // is also what no HEAD shows; but the class and the redirection it does not, nor the time of the source.
        let plain = headers == source.headers && headers.storage_class.is_none() && headers.redirect.is_none();
        let copy = Copy {
            headers: (!plain).then_some(headers),
            size: Some(source.version.size),
            source: Some(source.version.etag.clone()),
            require: absent(self.conditional.copy.works()),
        };
        self.store.copy(&step.from, &step.to, copy).await
    }

    /// There is an object at the target: the copy itself, if the answer to a first request was lost.
    async fn recognize(&self, step: &Step, source: &Object) -> Result<Version> {
        let target = there(self.store.head(&step.to).await)?.ok_or(Error::NotEmpty)?;
        let alike = is_dressed(&target.headers, (self.dress)(source, (&step.from, &step.to), Extent::Object));
        let made = Step { source: source.version.clone(), copy: None, ..step.clone() };
        if is_copy(&made, &target.version, alike) { Ok(target.version) } else { Err(Error::NotEmpty) }
    }
}

/// Whether a copy has the headers that it was to get, but for the time of the rename itself.
pub(super) fn is_dressed(copy: &Headers, mut expect: Headers) -> bool {
    let mut copy = copy.clone();
    for headers in [&mut copy, &mut expect] {
        headers.user.remove(metadata::CTIME);
    }
    copy == expect
}

/// What a HEAD found, if it found anything.
pub(super) fn there(answer: Result<Object>) -> Result<Option<Object>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(Error::NotFound) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Does `work` for all of `items`, some at once. Begins nothing more after a failure, and gives the first one when all
/// that had begun has ended.
pub(super) async fn each<T, R: Send + 'static, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>>
where
    F: Future<Output = Result<R>> + Send + 'static,
{
    let (mut tasks, mut results, mut failed) = (JoinSet::new(), Vec::with_capacity(items.len()), None);
    let mut items = items.into_iter();
    loop {
        while failed.is_none() && tasks.len() < PARALLEL {
            let Some(item) = items.next() else { break };
            tasks.spawn(work(item));
        }
        match tasks.join_next().await {
            None => return failed.map_or(Ok(results), Err),
            Some(Ok(Ok(result))) => results.push(result),
            Some(Ok(Err(err))) => failed = failed.or(Some(err)),
            Some(Err(err)) => failed = failed.or(Some(Error::unavailable(err))),
        }
    }
}

/// An index within a block.
fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(BLOCK)
}
