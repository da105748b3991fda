//! Questions to the bucket about one name, and the requests that answer them.

use std::sync::Arc;

use super::{
    Fs,
    known::{Answer, Known, Seen},
};
use crate::{
    cache::{Contents, SMALL},
    clock,
    error::{Error, Result},
    model::{attr::Kind, key::Key, version::Version},
    store::{Get, Got, List, Object, Store},
};

/// What is known of the name already, which decides what to ask first.
#[derive(Clone, Debug)]
pub(super) enum Hint {
    Unknown,
    /// With its version, if all that is known of it is sure.
    File(Option<Version>),
    /// With the version of its marker.
    Dir(Option<Version>),
}

impl Hint {
    pub(super) fn of(kind: Kind, known: &Known) -> Self {
        match kind {
            Kind::Dir => Self::Dir(known.version.clone()),
            _ => Self::File(known.version.clone().filter(|_| known.asked.is_some())),
        }
    }
}

impl<S: Store> Fs<S> {
    /// As [`Fs::look`], by requests for this name alone.
    pub(super) async fn look_alone(&self, key: Key, hint: Hint) -> Result<Answer> {
        let store = Arc::clone(&self.store);
        let asking = key.clone();
        self.looks
            .ask(key, move || async move {
                let (asked, wall) = (clock::now(), clock::wall().sec);
                let seen = seen(&*store, &asking, hint).await?;
                Ok(Answer { asked, wall, seen })
            })
            .await
    }

    /// As [`Fs::look`], for a file of `version` that is about to be read. If a small one is here already, its new bytes
    /// come along should it have changed; if it is not, it is fetched meanwhile.
    pub(super) async fn look_to_read(&self, key: Key, version: &Version) -> Result<Answer> {
        let content = self.contents.get(&key, version);
        if version.size > SMALL || version.size == 0 {
            return self.look(key, Hint::File(Some(version.clone()))).await;
        }
        if self.contents.file(&content).is_none() {
            let contents = Arc::clone(&self.contents);
            // Whoever reads shares this, and hears what becomes of it.
            tokio::spawn(async move { drop(contents.complete(&content).await) });
            return self.look(key, Hint::File(Some(version.clone()))).await;
        }
        // Without a time to compare, a 304 would not tell whether the metadata are the same.
        if version.modified.is_none() {
            return self.look(key, Hint::File(None)).await;
        }
        self.look_and_fetch(key, Some(version.clone())).await
    }

    /// What the bucket holds at `key`, with its bytes unless they are those of `here`.
    pub(super) async fn look_and_fetch(&self, key: Key, here: Option<Version>) -> Result<Answer> {
        let (store, contents) = (Arc::clone(&self.store), Arc::clone(&self.contents));
        let asking = key.clone();
        let answer = self.looks.ask(key.clone(), move || async move {
            let (asked, wall) = (clock::now(), clock::wall().sec);
            let seen = fetch(&*store, &contents, &asking, here.as_ref()).await?;
            Ok(Answer { asked, wall, seen })
        });
        Ok(self.with_frames(&key, answer.await?))
    }
}

/// One trip that revalidates, and fetches if need be: GET, with If-None-Match if the bytes of some version are here.
async fn fetch<S: Store>(store: &S, contents: &Arc<Contents<S>>, key: &Key, here: Option<&Version>) -> Result<Seen> {
    let get = Get { if_none_match: here.map(|version| version.etag.clone()), ..Get::default() };
    match store.get(key, get).await {
        Ok(Got::Same { modified }) => match here {
            // A COPY onto itself changes metadata and keeps the ETag; Last-Modified tells, where the 304 has it.
            Some(version) if modified.is_some() && modified == version.modified => Ok(Seen::Same(version.clone())),
            _ => seen(store, key, Hint::File(None)).await,
        },
        Ok(Got::Bytes(object, body)) => {
            if object.version.size <= SMALL {
                let content = contents.get(key, &object.version);
                contents.fill(&content, body);
            }
            Ok(Seen::File(Arc::new(object)))
        }
        Err(Error::NotFound) => dir_at(store, key, None).await,
        Err(err) => Err(err),
    }
}

async fn seen<S: Store>(store: &S, key: &Key, hint: Hint) -> Result<Seen> {
    match hint {
        Hint::File(_) => match file_at(store, key).await? {
            Seen::Absent => dir_at(store, key, None).await,
            file => Ok(file),
        },
        Hint::Dir(version) => match dir_at(store, key, version.as_ref()).await? {
            Seen::Absent => file_at(store, key).await,
            dir => Ok(dir),
        },
        Hint::Unknown => {
            let (file, dir) = tokio::join!(file_at(store, key), dir_at(store, key, None));
            match (file?, dir?) {
                (file, Seen::Absent) => Ok(file),
                (Seen::File(_), dir) => {
                    log::warn!("{key} is an object and a directory in the bucket: the directory is shown");
                    Ok(dir)
                }
                (_, dir) => Ok(dir),
            }
        }
    }
}

/// Some servers answer HEAD of a directory without its slash (SeaweedFS), and s3fs can be told to make such objects.
fn is_dir(object: &Object, key: &Key) -> bool {
    crate::store::metadata::is_dir_marker(key, object)
}

async fn file_at<S: Store>(store: &S, key: &Key) -> Result<Seen> {
    match store.head(key).await {
        Ok(object) if is_dir(&object, key) => Ok(Seen::Dir(Some(Arc::new(object)))),
        Ok(object) => Ok(Seen::File(Arc::new(object))),
        Err(Error::NotFound) => Ok(Seen::Absent),
        Err(err) => Err(err),
    }
}

/// A directory is its marker, or anything below it.
async fn dir_at<S: Store>(store: &S, key: &Key, known: Option<&Version>) -> Result<Seen> {
    let marker = key.marker();
    let list = List { prefix: marker.as_str().to_owned(), max: 2, ..List::default() };
    let page = store.list(list).await?;
    let listed = page.entries.iter().find(|entry| entry.key == marker);
    match (listed, known) {
        (Some(entry), Some(known)) if entry.version.same(known) => Ok(Seen::Same(known.clone())),
        (Some(_), _) => match store.head(&marker).await {
            Ok(object) => Ok(Seen::Dir(Some(Arc::new(object)))),
            Err(Error::NotFound) => Ok(Seen::Dir(None)),
            Err(err) => Err(err),
        },
        (None, _) if page.entries.is_empty() => Ok(Seen::Absent),
        (None, _) => Ok(Seen::Dir(None)),
    }
}
