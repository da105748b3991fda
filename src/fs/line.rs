//! The requests that answer questions about names. They go on although who asked went away, so they hold what they need.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ask::Hint, known::Seen};
use crate::{
    cache::{Contents, SMALL},
    clock,
    error::{Error, Result},
    freshness::{
        batch::Batches,
        listing::{Is, Listing},
        serves,
        views::{Asking, Views, place},
    },
    model::{
        key::{CONTROL, Key, Name},
        version::Version,
    },
    store::{Get, Got, List, Object, Store},
};

/// Names that begin as the one that is asked for, and sort between it and its directory (`name!`, `name-150x150.jpg`).
/// More of them than this cost one more request.
const NAMESAKES: u16 = 100;

/// Who asks, and what is shared by all who do.
#[derive(Debug)]
pub(super) struct Line<S> {
    pub(super) store: Arc<S>,
    pub(super) views: Arc<Views>,
    /// First pages of directories.
    pages: Arc<Batches<Key, Arc<Listing>>>,
    /// How old a view may be that answers.
    age: Duration,
}

impl<S> Clone for Line<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            views: Arc::clone(&self.views),
            pages: Arc::clone(&self.pages),
            age: self.age,
        }
    }
}

impl<S: Store> Line<S> {
    pub(super) fn new(store: Arc<S>, views: Arc<Views>, age: Duration) -> Self {
        Self { store, views, pages: Arc::default(), age }
    }

    /// The view of a directory that may answer at `now`.
    pub(super) fn young(&self, dir: &Key, now: Instant) -> Option<Arc<Listing>> {
        self.views.get(dir).filter(|view| serves(view.asked, now, self.age))
    }

    /// The first page of a directory, from a request that is sent after this call began; it may be shared.
    pub(super) async fn page(&self, dir: &Key) -> Result<Arc<Listing>> {
        let (line, asking) = (self.clone(), dir.clone());
        self.pages.ask(dir.clone(), move || async move { line.list(&asking, 1).await }).await
    }

    /// A directory, up to so many pages of it.
    pub(super) async fn list(&self, dir: &Key, pages: usize) -> Result<Arc<Listing>> {
        let asking = self.views.begin(dir);
        self.go_on(dir, asking, (Listing::new(clock::now(), clock::wall().sec), None), pages).await
    }

    /// Up to so many pages after those that are in `begun`, a view of the directory that began young enough.
    pub(super) async fn rest(&self, dir: &Key, begun: &Listing, pages: usize) -> Result<Arc<Listing>> {
        let asking = self.views.begin(dir);
        // As it is now: with what this host changed, and what somebody else who went on has got.
        match self.views.get(dir).filter(|view| view.asked == begun.asked) {
            Some(view) if view.is_whole() => Ok(view),
            view => match view.and_then(|view| view.resume(&dir.marker())) {
                Some((listing, token)) => self.go_on(dir, asking, (listing, Some(token)), pages).await,
                None => self.list(dir, pages).await,
            },
        }
    }

    async fn go_on(
        &self,
        dir: &Key,
        asking: Asking,
        (mut listing, mut token): (Listing, Option<String>),
        pages: usize,
    ) -> Result<Arc<Listing>> {
        let prefix = dir.marker();
        for _ in 0..pages {
            let below = prefix.as_str().to_owned();
            let list = List { prefix: below, delimiter: true, token: token.take(), ..List::default() };
            let page = self.store.list(list).await?;
            token.clone_from(&page.next);
            listing.add(&prefix, page);
            if token.is_none() {
                break;
            }
        }
        if dir == self.views.root()
            && let Some(name) = Name::from_key(CONTROL)
        {
            listing.names.remove(&name);
        }
        Ok(asking.end(listing))
    }

    /// What the bucket holds at `key`, by requests that are sent after this call began.
    pub(super) async fn seen(&self, key: &Key, hint: Hint) -> Result<Seen> {
        let hint = match hint {
            Hint::Absent => match self.by_name(key).await? {
                Some(hint) => hint,
                None => return Ok(Seen::Absent),
            },
            hint => hint,
        };
        match hint {
            Hint::File(_) => match self.file_at(key).await? {
                Seen::Absent => self.dir_at(key, None).await,
                file => Ok(file),
            },
            Hint::Dir(version) => match self.dir_at(key, version.as_ref()).await? {
                Seen::Absent => self.file_at(key).await,
                dir => Ok(dir),
            },
            Hint::Listed => self.marker_at(key).await,
            Hint::Absent | Hint::Unknown => {
                let (file, dir) = tokio::join!(self.file_at(key), self.dir_at(key, None));
                Ok(both(key, file?, dir?))
            }
            Hint::Cold => {
                let (file, dir) = tokio::join!(self.file_at(key), self.dir_in_page(key));
                Ok(both(key, file?, dir?))
            }
        }
    }

    /// One trip that revalidates, and fetches if need be: GET, with If-None-Match if the bytes of some version are here.
    pub(super) async fn fetch(&self, contents: &Arc<Contents<S>>, key: &Key, here: Option<&Version>) -> Result<Seen> {
        let get = Get { if_none_match: here.map(|version| version.etag.clone()), ..Get::default() };
        match self.store.get(key, get).await {
            Ok(Got::Same { modified }) => match here {
                // A COPY onto itself changes metadata and keeps the ETag; Last-Modified tells, where the 304 has it.
                Some(version) if modified.is_some() && modified == version.modified => Ok(Seen::Same(version.clone())),
                _ => self.seen(key, Hint::File(None)).await,
            },
            Ok(Got::Bytes(object, body)) => {
                if object.version.size <= SMALL {
                    let content = contents.get(key, &object.version);
                    contents.fill(&content, body);
                }
                Ok(Seen::File(Arc::new(object)))
            }
            Err(Error::NotFound) => self.dir_at(key, None).await,
            Err(err) => Err(err),
        }
    }

    async fn file_at(&self, key: &Key) -> Result<Seen> {
        match self.store.head(key).await {
            Ok(object) if is_dir(&object, key) => Ok(Seen::Dir(Some(Arc::new(object)))),
            Ok(object) => Ok(Seen::File(Arc::new(object))),
            Err(Error::NotFound) => Ok(Seen::Absent),
            Err(err) => Err(err),
        }
    }

    /// A directory is its marker, or anything below it.
    async fn dir_at(&self, key: &Key, known: Option<&Version>) -> Result<Seen> {
        let (marker, empty) = if self.wants_page(key) {
            let page = self.page(key).await?;
            let is_new = page.marker.as_ref().is_some_and(|marker| known.is_none_or(|known| !marker.same(known)));
            if page.has_rest() && is_new {
                // Whoever wants to list it need not wait for the second page after the marker.
                let (dir, rest) = tokio::join!(self.marker_at(key), self.rest(key, &page, 1));
                drop(rest);
                return dir;
            }
            (page.marker.clone(), page.is_nothing())
        } else {
            let marker = key.marker();
            let page = self.store.list(List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() }).await?;
            let empty = page.entries.is_empty();
            (page.entries.into_iter().find(|entry| entry.key == marker).map(|entry| entry.version), empty)
        };
        match (marker, known) {
            (Some(listed), Some(known)) if listed.same(known) => Ok(Seen::Same(known.clone())),
            (Some(_), _) => self.marker_at(key).await,
            (None, _) if empty => Ok(Seen::Absent),
            (None, _) => Ok(Seen::Dir(None)),
        }
    }

    /// The listing that finds a directory may as well tell what is in it, where nothing is known of that, or nothing
    /// young enough.
    fn wants_page(&self, dir: &Key) -> bool {
        match self.views.get(dir) {
            None => true,
            Some(view) => !self.age.is_zero() && !view.is_long() && !serves(view.asked, clock::now(), self.age),
        }
    }

    /// For a directory that is certainly there.
    async fn marker_at(&self, key: &Key) -> Result<Seen> {
        match self.store.head(&key.marker()).await {
            Ok(object) => Ok(Seen::Dir(Some(Arc::new(object)))),
            Err(Error::NotFound) => Ok(Seen::Dir(None)),
            Err(err) => Err(err),
        }
    }

    /// Whether a name is a directory, by the first page of the one above, which tells what to ask of the next names.
    async fn dir_in_page(&self, key: &Key) -> Result<Seen> {
        let Some((above, name)) = place(key) else { return self.dir_at(key, None).await };
        match self.page(&above).await?.is(&name) {
            Some(Is::Dir) => self.marker_at(key).await,
            Some(Is::File(_) | Is::Absent) => Ok(Seen::Absent),
            None => self.dir_at(key, None).await,
        }
    }

    /// One listing tells file, directory and absence alike, unless the name has too many namesakes. `None`: nothing is
    /// there; else what is to be asked next.
    async fn by_name(&self, key: &Key) -> Result<Option<Hint>> {
        let list = List { prefix: key.as_str().to_owned(), delimiter: true, max: NAMESAKES, ..List::default() };
        let page = self.store.list(list).await?;
        if page.prefixes.contains(&key.marker()) {
            return Ok(Some(Hint::Listed));
        }
        Ok(match page.entries.iter().any(|entry| entry.key == *key) {
            true if page.next.is_some() => Some(Hint::Unknown),
            true => Some(Hint::File(None)),
            false => page.next.map(|_| Hint::Dir(None)),
        })
    }
}

fn both(key: &Key, file: Seen, dir: Seen) -> Seen {
    match (file, dir) {
        (file, Seen::Absent) => file,
        (Seen::File(_), dir) => {
            log::warn!("{key} is an object and a directory in the bucket: the directory is shown");
            dir
        }
        (_, dir) => dir,
    }
}

/// Some servers answer HEAD of a directory without its slash (SeaweedFS), and s3fs can be told to make such objects.
fn is_dir(object: &Object, key: &Key) -> bool {
    crate::store::metadata::is_dir_marker(key, object)
}
